/*
 * run.mjs - the shop in a real browser.
 *
 *	SOUK_URL=http://127.0.0.1:8080 node tests/browser/run.mjs
 *
 * SOUK_URL      the shop, with some products (the sample catalogue)
 * SOUK_SALE_ID  a sale to look at; without it the sale's checks are skipped
 * SOUK_MAILDIR  where the shop's e-mails are delivered ([mail] url); without it
 *               they are not looked at
 * SOUK_SCREENSHOTS  where they go (default: tests/screenshots)
 * CHROMIUM      the browser (default: /usr/bin/chromium)
 * SOUK_ONLY     run only the parts whose name contains this
 *
 * With `soukctl` on PATH, configured for that shop, two products are imported
 * whose pictures this program serves itself, one of them not; and products are
 * bought, in sales made for it, which needs souk-workers and the payment
 * provider sandbox:.
 *
 * Prints a line per check and "N passed, N failed, N skipped"; exit 1 when one
 * failed, 2 when the shop cannot be reached.
 */
import { execFile } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { chromium } from "playwright-core";

const run = promisify(execFile);
const here = path.dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);
const base = (process.env.SOUK_URL ?? "").replace(/\/+$/, "");
const saleId = process.env.SOUK_SALE_ID;
const shots = process.env.SOUK_SCREENSHOTS ?? path.join(here, "..", "screenshots");
const axeSource = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const PHONE = { width: 390, height: 844 };
const DESK = { width: 1280, height: 900 };

/* ---- what happened */

let passed = 0, failed = 0, skipped = 0;

function report(name, why) {
	if (why === undefined) {
		passed++;
		console.log(`ok - ${name}`);
	} else {
		failed++;
		console.log(`FAIL - ${name}: ${why}`);
	}
}

function skip(name, why) {
	skipped++;
	console.log(`skip - ${name}: ${why}`);
}

/* The check's own exception is its failure; the next one runs all the same. */
async function check(name, fn) {
	try {
		await fn();
		report(name);
	} catch (e) {
		report(name, String(e.message ?? e).split("\n").slice(0, 6).join(" | "));
	}
}

function same(got, want, what = "value") {
	if (got !== want)
		throw new Error(`${what}: got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
}

function holds(condition, what) {
	if (!condition)
		throw new Error(what);
}

/* ---- the browser */

let browser;

/* A page that remembers every complaint of the browser (CSP violations are
 * console errors, too). */
async function open(opts = {}) {
	const context = await browser.newContext({
		viewport: DESK, locale: "en-US", reducedMotion: "reduce", ...opts
	});
	const page = await context.newPage();

	page.complaints = [];
	page.on("console", (msg) => {
		if (msg.type() === "error" || msg.type() === "warning")
			page.complaints.push(`${msg.text()} (${msg.location().url})`);
	});
	page.on("pageerror", (e) => page.complaints.push(String(e)));
	page.setDefaultTimeout(10000);
	return page;
}

async function close(page) {
	await page.context().close();
}

async function withPage(opts, fn) {
	const page = await open(opts);
	try {
		return await fn(page);
	} finally {
		await close(page);
	}
}

async function go(page, where, status = 200) {
	const response = await page.goto(base + where, { waitUntil: "load" });

	same(response.status(), status, `status of ${where}`);
	return response;
}

async function shoot(page, name) {
	fs.mkdirSync(shots, { recursive: true });
	await page.screenshot({
		path: path.join(shots, `${name}.png`), fullPage: true
	});
}

async function axe(page) {
	await page.evaluate(axeSource + "; undefined"); /* past the CSP, by CDP */
	const found = await page.evaluate(() => axe.run(document, {
		runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa",
			"best-practice"]
	}));

	return found.violations.map((v) => `${v.id}: ` +
		v.nodes.slice(0, 3).map((n) => n.html.slice(0, 120)).join(" , "));
}

/* Lazy pictures are loaded when they are scrolled to: do so, then go back. */
async function scrollThrough(page) {
	await page.evaluate(async () => {
		for (let y = 0; y < document.body.scrollHeight; y += innerHeight) {
			scrollTo(0, y);
			await new Promise((done) => setTimeout(done, 30));
		}
		scrollTo(0, 0);
	});
	await page.waitForFunction(() => [...document.images].every(
		(img) => img.complete), undefined, { timeout: 5000 })
		.catch(() => undefined); /* a picture that hangs is not ours */
}

const meta = (page, name) => page.evaluate((n) => document.querySelector(
	`meta[name="${n}"], meta[property="${n}"]`)?.content, name);
const canonical = (page) => page.evaluate(() =>
	document.querySelector("link[rel=canonical]")?.href);
const text = async (page, selector) =>
	(await page.locator(selector).first().innerText()).trim();

/* ---- what there is to look at */

/* A product with several variants and pictures where there is one. */
async function pickProduct() {
	const answer = await fetch(`${base}/api/products?limit=100`);
	const { products } = await answer.json();

	holds(products?.length > 0, "the shop has no products");
	let best = null;
	for (const item of products.slice(0, 60)) {
		const one = await (await fetch(`${base}/api/products/${item.id}`)).json();
		const score = Math.min(one.variants.length, 6) * 2 +
			Math.min(one.images.length, 4) * 3 +
			(one.reviews.length > 0 ? 8 : 0);

		if (best === null || score > best.score)
			best = { score, product: one };
	}
	return { products, product: best.product };
}

/* ---- parts */

async function partHome(shop) {
	await withPage({}, async (page) => {
		await check("home: shows products", async () => {
			await go(page, "/");
			holds(await page.locator("h1").count() === 1, "one h1");
			holds(await page.locator(".card").count() > 0, "no product cards");
			same(await canonical(page), `${shop.origin}/`, "canonical");
			holds(await meta(page, "description"), "no description");
			const ld = JSON.parse(await page.locator(
				'script[type="application/ld+json"]').textContent());
			same(ld["@type"], "WebSite", "JSON-LD");
		});
		await check("home: searching from the header finds a product", async () => {
			const word = shop.product.title.split(/\s+/).sort(
				(a, b) => b.length - a.length)[0].replace(/[^\p{L}\p{N}-]/gu, "");

			await page.getByRole("searchbox").fill(word);
			await page.keyboard.press("Enter");
			await page.waitForURL(/\/products\?q=/);
			holds((await text(page, "h1")).includes(word), "heading names the search");
			same(await page.getByRole("searchbox").inputValue(), word, "box keeps the word");
			holds(await page.locator(".card").count() > 0, `nothing found for ${word}`);
			holds((await meta(page, "robots")).includes("noindex"), "search results are noindex");
		});
		await check("home: a card leads to its product", async () => {
			await go(page, "/");
			const title = await text(page, ".card-title");
			await page.locator(".card-link").first().click();
			await page.waitForURL(/\/products\/\d+$/);
			same(await text(page, "h1"), title, "heading");
		});
		await check("search: nothing found is said kindly", async () => {
			await go(page, "/products?q=zzzqqqxxyy");
			same(await page.locator(".card").count(), 0, "cards");
			holds((await text(page, ".empty")).includes("zzzqqqxxyy"), "names the words");
		});
		await check("search: hostile words are only words", async () => {
			await go(page, "/products?q=" + encodeURIComponent(
				'"><script>document.title="hacked"</script>'));
			holds(await page.title() !== "hacked", "script ran");
			same(await page.locator("h1 script, main script").count(), 0, "scripts");
		});
	});
}

async function partProduct(shop) {
	const p = shop.product;

	await withPage({}, async (page) => {
		await check("product: says what the record says", async () => {
			await go(page, `/products/${p.id}`);
			same(await text(page, "h1"), p.title, "heading");
			if (p.variants.length > 1)
				same(await page.locator(".variants tbody tr").count(),
					p.variants.length, "rows of variants");
			same(await page.locator(".review").count(), p.reviews.length, "reviews");
			holds((await page.locator(".price .now").innerText()).match(/\d/), "price");
		});
		await check("product: title, description, canonical, Open Graph", async () => {
			const url = `${shop.origin}/products/${p.id}`;

			holds((await page.title()).startsWith(p.seo.title || p.title), "title");
			holds((await meta(page, "description")).length > 0, "description");
			same(await canonical(page), url, "canonical");
			same(await meta(page, "og:url"), url, "og:url");
			same(await meta(page, "og:type"), "product", "og:type");
			same(await meta(page, "og:title"), p.seo.title || p.title, "og:title");
			if (p.images.length > 0)
				holds(/^https?:\/\//.test(await meta(page, "og:image")), "og:image is absolute");
		});
		await check("product: JSON-LD is a Product with its offers", async () => {
			const ld = JSON.parse(await page.locator(
				'script[type="application/ld+json"]').textContent());
			const product = ld["@graph"].find((x) => x["@type"] === "Product");
			const crumbs = ld["@graph"].find((x) => x["@type"] === "BreadcrumbList");

			same(product.name, p.title, "name");
			same(product.offers.priceCurrency, p.currency, "currency");
			same(product.offers["@type"],
				p.variants.length > 1 ? "AggregateOffer" : "Offer", "offers");
			same(product.offers.availability, "https://schema.org/" +
				(p.available ? "InStock" : "OutOfStock"), "availability");
			const digits = new Intl.NumberFormat("en", { style: "currency",
				currency: p.currency }).resolvedOptions().maximumFractionDigits;
			same(Math.round(Number(product.offers.lowPrice ?? product.offers.price) *
				10 ** digits), p.price.min, "price in minor units");
			if (p.rating.count > 0) {
				same(product.aggregateRating.reviewCount, p.rating.count, "reviewCount");
				same(product.review.length, p.reviews.length, "reviews");
			}
			same(crumbs.itemListElement.length, 3, "breadcrumb");
		});
		if (p.images.length > 1) {
			await check("product: small pictures move the gallery", async () => {
				const at = () => page.evaluate(() => {
					const strip = document.querySelector(".shots");
					return Math.round(strip.scrollLeft / strip.clientWidth);
				});

				same(await at(), 0, "first picture");
				await page.locator(".thumbs a").nth(1).click();
				await page.waitForFunction(() => {
					const strip = document.querySelector(".shots");
					return Math.abs(strip.scrollLeft - strip.clientWidth) < 2;
				});
				same(await page.locator(".thumbs a").nth(1).getAttribute("aria-current"),
					"true", "marked");
				holds(!page.url().includes("#"), "no entry in the history");
			});
		} else {
			skip("product: small pictures move the gallery", "one picture");
		}
		await check("product: answers carry the headers of safety", async () => {
			const response = await go(page, `/products/${p.id}`);
			const headers = response.headers();
			const csp = headers["content-security-policy"] ?? "";

			holds(csp.includes("script-src 'self'") || csp.includes("default-src 'self'"), `CSP: ${csp}`);
			holds(!csp.includes("unsafe-inline"), "CSP allows inline");
			same(headers["x-content-type-options"], "nosniff", "nosniff");
			holds(headers["referrer-policy"], "Referrer-Policy");
		});
	});
}

async function partList(shop) {
	const titles = (page) => page.locator(".card-link").evaluateAll(
		(links) => links.map((a) => a.getAttribute("href")));

	await withPage({}, async (page) => {
		await check("list: the next page goes on where the first ended", async () => {
			await go(page, "/products");
			const first = await titles(page);

			holds(first.length > 0, "no products");
			const next = page.locator("a[rel=next]");
			holds(await next.count() === 1, "a link to the next page");
			await next.click();
			await page.waitForURL(/after=/);
			shop.secondPage = new URL(page.url()).pathname + new URL(page.url()).search;
			const second = await titles(page);
			holds(second.length > 0, "the second page is empty");
			holds(second.every((t) => !first.includes(t)), "no product twice");
			await page.locator("a[rel=first]").click();
			await page.waitForURL(/\/products$/);
			same((await titles(page)).join(), first.join(), "first page again");
		});
		await check("list: pages have addresses of their own", async () => {
			holds(shop.secondPage, "no second page");
			await go(page, shop.secondPage);
			same(await canonical(page), shop.origin + shop.secondPage, "canonical");
		});
	});
}

async function partSale(shop) {
	if (!saleId) {
		skip("sale", "SOUK_SALE_ID is not set");
		return;
	}
	await withPage({}, async (page) => {
		let starts, ends;

		await check("sale: shows title, times and items", async () => {
			await go(page, `/flash-sale/${saleId}`);
			holds((await text(page, "h1")).length > 0, "title");
			holds(await page.locator(".card").count() > 0, "items");
			starts = Date.parse(await page.locator("#sale").getAttribute("data-starts"));
			ends = Date.parse(await page.locator("#sale").getAttribute("data-ends"));
			holds(starts < ends, "start before end");
			same(await canonical(page), `${shop.origin}/flash-sale/${saleId}`, "canonical");
			same(await page.locator("time[datetime]").count(), 2, "times");
		});
		for (const [state, at] of [["upcoming", () => starts - 3600e3],
			["running", () => starts + 1000], ["ended", () => ends]]) {
			await check(`sale: a cached page shows "${state}" when it is`, async () => {
				await withPage({}, async (other) => {
					await other.clock.install({ time: at() });
					await go(other, `/flash-sale/${saleId}`);
					const pill = other.locator("#sale-pill");
					same(await pill.innerText(), await pill.getAttribute(`data-${state}`), "state");
					same(await other.locator("#countdown").isVisible(), state !== "ended", "clock");
					same(await other.locator("#sale-over").isVisible(), state === "ended", "over");
				});
			});
		}
		await check("sale: the page changes by itself when the sale begins", async () => {
			await withPage({}, async (other) => {
				await other.clock.install({ time: starts - 5000 });
				await go(other, `/flash-sale/${saleId}`);
				const pill = other.locator("#sale-pill");
				same(await pill.innerText(), await pill.getAttribute("data-upcoming"), "before");
				await other.clock.runFor(6000);
				same(await pill.innerText(), await pill.getAttribute("data-running"), "after");
			});
		});
	});
}

async function partErrors(shop) {
	await withPage({}, async (page) => {
		await check("errors: 404 is a page with a way on", async () => {
			await go(page, "/no/such/page", 404);
			holds(await page.locator("h1").count() === 1, "heading");
			await page.getByRole("link", { name: "All products" }).first().click();
			await page.waitForURL(/\/products$/);
		});
		await check("errors: a product that is not there is 404", () =>
			go(page, "/products/999999999", 404).then(() => undefined));
		await check("errors: another method is 405 and says which", async () => {
			const answer = await fetch(`${base}/products`, { method: "DELETE" });

			same(answer.status, 405, "status");
			holds((answer.headers.get("allow") ?? "").includes("GET"), "Allow");
			holds((await answer.text()).includes("<h1>"), "a page");
		});
	});
}

async function partRobots(shop) {
	await withPage({}, async (page) => {
		await check("robots.txt names the sitemap, and it lists the shop", async () => {
			const robots = await (await fetch(`${base}/robots.txt`)).text();
			const where = robots.match(/^Sitemap: (.+)$/m)?.[1];

			same(where, `${shop.origin}/sitemap.xml`, "Sitemap");
			const answer = await fetch(`${base}/sitemap.xml`);
			holds(/xml/.test(answer.headers.get("content-type")), "type");
			const xml = await answer.text();
			await go(page, "/");
			const found = await page.evaluate((source) => {
				const doc = new DOMParser().parseFromString(source, "application/xml");
				return {
					root: doc.documentElement.localName,
					at: [...doc.getElementsByTagName("loc")].map((x) => x.textContent)
				};
			}, xml);
			holds(["urlset", "sitemapindex"].includes(found.root), found.root);
			holds(found.at.length > 0 && found.at.every((u) => u.startsWith(shop.origin + "/")),
				"addresses");
			if (found.root === "urlset")
				holds(found.at.includes(`${shop.origin}/products/${shop.product.id}`), "the product");
		});
	});
}

async function partScriptsOff(shop) {
	await withPage({ javaScriptEnabled: false }, async (page) => {
		await check("scripts off: search and products work", async () => {
			await go(page, "/");
			await page.locator("#q").fill(shop.product.title);
			await page.locator(".top-search button").click();
			await page.waitForURL(/\/products\?q=/);
			await page.locator(".card-link").first().click();
			await page.waitForURL(/\/products\/\d+$/);
			holds((await page.locator(".price .now").innerText()).match(/\d/), "price");
		});
		await check("scripts off: small pictures are links into the gallery", async () => {
			await go(page, `/products/${shop.product.id}`);
			if (shop.product.images.length < 2)
				return;
			await page.locator(".thumbs a").nth(1).click();
			holds(page.url().endsWith("#picture-2"), page.url());
			await page.waitForTimeout(300);
			const box = await page.locator("#picture-2").boundingBox();
			const strip = await page.locator(".shots").boundingBox();
			holds(Math.abs(box.x - strip.x) < 3, "the second picture is in sight");
		});
		if (saleId) {
			await check("scripts off: the sale's state and times are there", async () => {
				await go(page, `/flash-sale/${saleId}`);
				holds((await text(page, "#sale-pill")).length > 0, "state");
				same(await page.locator("#countdown").isVisible(), false, "no dead clock");
			});
		}
	});
}

async function partKeyboard(shop) {
	const focused = (page) => page.evaluate(() => {
		const el = document.activeElement;
		const ring = (x) => x && getComputedStyle(x).outlineStyle !== "none";

		return {
			name: (el.getAttribute("aria-label") || el.innerText || el.name || "").trim(),
			tag: el.tagName, id: el.id, cls: el.className,
			ring: ring(el) || ring(el.closest(".card"))
		};
	});

	await withPage({}, async (page) => {
		await check("keyboard: the first stop skips to the content", async () => {
			await go(page, "/");
			await page.keyboard.press("Tab");
			const first = await focused(page);
			same(first.cls, "skip", "first stop");
			const box = await page.locator(".skip").boundingBox();
			holds(box.y >= 0, "is visible when focused");
			await page.keyboard.press("Enter");
			same((await focused(page)).id, "content", "focus");
		});
		await check("keyboard: stops come in reading order, each with a ring", async () => {
			await go(page, "/");
			const seen = [];

			for (let i = 0; i < 9; i++) {
				await page.keyboard.press("Tab");
				const stop = await focused(page);
				seen.push(stop);
				holds(stop.ring, `no ring on ${stop.tag} ${stop.name}`);
			}
			same(seen[1].cls, "brand", "second stop");
			same(seen[2].name, "All products", "third stop");
			same(seen[3].name, "Cart", "fourth stop");
			same(seen[4].name, "Account", "fifth stop");
			same(seen[5].id, "q", "sixth stop");
			same(seen[6].tag, "BUTTON", "seventh stop");
			same(seen[7].cls, "button", "eighth stop");
			same(seen[8].cls, "card-link", "then the cards");
		});
		await check("keyboard: search and open a product without a mouse", async () => {
			await go(page, "/");
			for (let i = 0; i < 6; i++)
				await page.keyboard.press("Tab");
			await page.keyboard.type(shop.product.title);
			await page.keyboard.press("Enter");
			await page.waitForURL(/q=/);
			for (let i = 0; i < 20 && (await focused(page)).cls !== "card-link"; i++)
				await page.keyboard.press("Tab");
			await page.keyboard.press("Enter");
			await page.waitForURL(/\/products\/\d+$/);
		});
		if (shop.product.images.length > 1) {
			await check("keyboard: arrow keys move the gallery", async () => {
				await go(page, `/products/${shop.product.id}`);
				await page.locator(".shots").focus();
				await page.keyboard.press("ArrowRight");
				await page.waitForFunction(() =>
					document.querySelector(".shots").scrollLeft > 10);
			});
		}
	});
}

/* Every kind of page, in both colours and both widths. */
async function partLooks(shop) {
	const pages = [["home", "/", 200], ["list", "/products", 200],
		["list-2", shop.secondPage, 200],
		["search", "/products?q=" + encodeURIComponent(shop.product.title), 200],
		["none-found", "/products?q=zzzqqqxxyy", 200],
		["product", `/products/${shop.product.id}`, 200],
		["sale", saleId && `/flash-sale/${saleId}`, 200],
		["404", "/no/such/page", 404]].filter((p) => p[1]);

	for (const [width, viewport] of [["phone", PHONE], ["desktop", DESK]]) {
		for (const colorScheme of ["light", "dark"]) {
			await withPage({ viewport, colorScheme }, async (page) => {
				for (const [name, where, status] of pages) {
					const what = `${name}, ${width}, ${colorScheme}`;

					page.complaints.length = 0;
					await check(`looks: ${what}`, async () => {
						await go(page, where, status);
						await scrollThrough(page);
						await shoot(page, `${name}-${width}-${colorScheme}`);
						const over = await page.evaluate(() =>
							document.documentElement.scrollWidth - innerWidth);
						holds(over <= 0, `scrolls sideways by ${over} px`);
						/* Another host's picture may fail; a page that is
						 * 404 on purpose is told of, too. */
						const bad = page.complaints.filter((c) =>
							!(c.startsWith("Failed to load resource") &&
							(!c.includes(`(${base}`) || status !== 200)));
						same(bad.join(" ; "), "", "console");
					});
					await check(`axe: ${what}`, async () =>
						same((await axe(page)).join(" ; "), "", "violations"));
				}
			});
		}
	}
	await withPage({ viewport: { width: 320, height: 640 } }, async (page) => {
		for (const [name, where, status] of pages) {
			await check(`looks: ${name} at 320 px does not scroll sideways`, async () => {
				await go(page, where, status);
				const over = await page.evaluate(() =>
					document.documentElement.scrollWidth - innerWidth);
				holds(over <= 0, `by ${over} px`);
			});
		}
	});
	await nu(pages);
}

async function nu(pages) {
	const sources = [];

	for (const [name, where] of pages)
		sources.push([name, await (await fetch(base + where)).text()]);
	await nuSources(sources);
}

/* The Nu checker, once for all pages (it takes seconds to start). */
async function nuSources(pages) {
	const dir = fs.mkdtempSync(path.join(os.tmpdir(), "souk-nu."));

	try {
		for (const [name, html] of pages)
			fs.writeFileSync(path.join(dir, `${name}.html`), html);
		const jar = path.join(path.dirname(require.resolve("vnu-jar/package.json")),
			"build", "dist", "vnu.jar");
		const args = ["-Xss1m", "-jar", jar, "--format", "json", "--exit-zero-always",
			...pages.map(([name]) => path.join(dir, `${name}.html`))];
		let messages = [];

		await check("Nu checker runs", async () => {
			const { stderr } = await run("java", args, { timeout: 120000, maxBuffer: 1 << 26 });
			messages = JSON.parse(stderr).messages;
		});
		for (const [name] of pages) {
			await check(`Nu checker: ${name}`, async () => {
				const mine = messages.filter((m) => m.url?.endsWith(`/${name}.html`));
				same(mine.map((m) => `${m.type} line ${m.lastLine}: ${m.message}`).join(" ; "),
					"", "messages");
			});
		}
	} finally {
		fs.rmSync(dir, { recursive: true });
	}
}

/* Take the test's own products out of the shop again. */
async function archive(tag) {
	if (!process.env.SOUK_ADMIN_TOKEN)
		return;
	const { products } = await (await fetch(`${base}/api/products?q=${tag}`)).json();

	for (const { id } of products) {
		await fetch(`${base}/api/products/${id}`, {
			method: "PUT", body: '{"status":"archived"}',
			headers: { "Content-Type": "application/json",
				"Authorization": `Bearer ${process.env.SOUK_ADMIN_TOKEN}` }
		});
	}
}

/* Pictures come from another host: one that answers, and one that does not. */
async function partPictures(shop) {
	const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="60" height="60">' +
		'<rect width="60" height="60" fill="#2d6f69"/></svg>';
	const server = http.createServer((rq, rs) => {
		const good = rq.url === "/good.svg";

		rs.writeHead(good ? 200 : 404, { "Content-Type": good ? "image/svg+xml" : "text/plain" });
		rs.end(good ? svg : "no");
	});

	await new Promise((done) => server.listen(0, "127.0.0.1", done));
	const host = `http://127.0.0.1:${server.address().port}`;
	const tag = `pict${Date.now().toString(36)}`;
	const file = path.join(os.tmpdir(), `souk-${tag}.jsonl`);
	const line = (which) => JSON.stringify({
		handle: `${tag}-${which}`, title: `Vase ${tag} ${which}`,
		description: "<p>A vase for a test.</p>", vendor: "", type: "", tags: [],
		status: "active", options: [],
		variants: [{ sku: null, options: [], price: 1200, compareAtPrice: null, stock: 3 }],
		images: [{ url: `${host}/${which}.svg`, alt: `${which} vase`, width: 60, height: 60 }],
		reviews: []
	});

	try {
		fs.writeFileSync(file, `${line("good")}\n${line("broken")}\n`);
		try {
			await run("soukctl", ["import", file], { timeout: 60000 });
		} catch (e) {
			if (e.code === "ENOENT")
				skip("pictures", "soukctl is not on PATH");
			else
				report("pictures: import of two products", e.stderr || e.message);
			return;
		}
		await withPage({}, async (page) => {
			/* Pages of the list may be as old as their life in the cache
			 * allows; a search for a new word is not in it. */
			await check("pictures: another host's picture is shown", async () => {
				await go(page, `/products?q=${tag}`);
				same(await page.locator(".card").count(), 2, "cards");
				page.complaints.length = 0; /* the list has the broken one, too */
				await page.locator(".card-link", { hasText: "good" }).click();
				await page.waitForURL(/\/products\/\d+$/);
				await page.waitForFunction(() =>
					document.querySelector(".shots img")?.naturalWidth > 0);
				same(await page.locator(".shots img").isVisible(), true, "visible");
				same(await page.locator(".shots img").getAttribute("alt"), "good vase", "alt");
				same(page.complaints.join(), "", "console");
			});
			await check("pictures: one that does not load leaves a sized placeholder", async () => {
				await go(page, `/products?q=${tag}`);
				await page.locator(".card-link", { hasText: "broken" }).click();
				await page.waitForURL(/\/products\/\d+$/);
				await page.locator(".shots img.broken").waitFor({ state: "attached" });
				const box = await page.locator(".shots .tile").boundingBox();
				holds(box.width > 200 && Math.abs(box.width - box.height) < 2, "size");
				same(await page.locator(".shots .tile-letter").isVisible(), true, "initial");
				await shoot(page, "picture-missing");
			});
		});
		await withPage({ javaScriptEnabled: false }, async (page) => {
			await check("pictures: the placeholder needs no script", async () => {
				await go(page, `/products?q=${tag}`);
				const box = await page.locator(".card", { hasText: "broken" })
					.locator(".tile").boundingBox();
				holds(box.width > 100 && Math.abs(box.width - box.height) < 2, "size");
				await shoot(page, "picture-missing-no-script");
			});
		});
	} finally {
		await archive(tag);
		fs.rmSync(file, { force: true });
		server.close();
	}
}

/* ---- buying */

const soukctl = async (...args) =>
	(await run("soukctl", args, { timeout: 60000 })).stdout.trim();
const unique = () => Date.now().toString(36) + Math.random().toString(36).slice(2, 6);
const PASSWORD = "correct horse battery";

/* A product of its own, so that nobody else buys it away. */
async function makeProduct(stock) {
	const handle = `buy${unique()}`;
	const file = path.join(os.tmpdir(), `souk-${handle}.jsonl`);

	fs.writeFileSync(file, JSON.stringify({
		handle, title: `Lamp ${handle}`, description: "<p>A lamp for a test.</p>",
		vendor: "", type: "", tags: [], status: "active", options: [],
		variants: [{ sku: null, options: [], price: 2500, compareAtPrice: null, stock }],
		images: [], reviews: []
	}) + "\n");
	try {
		await soukctl("import", file);
	} finally {
		fs.rmSync(file, { force: true });
	}
	const found = await (await fetch(`${base}/api/products?q=${handle}`)).json();

	holds(found.products.length === 1, "the product was imported");
	return { id: found.products[0].id, handle, title: `Lamp ${handle}` };
}

async function makeSale(product, allotment, limit, start = "now") {
	const id = await soukctl("sale", "create", "--product", String(product.id),
		"--allotment", String(allotment), "--limit", String(limit),
		"--price", "900", "--start", start, "--end", "+3h");

	await soukctl("sale", "open", id);
	return id;
}

/* A new customer, logged in in this page. */
async function register(page, next = "/") {
	const email = `b${unique()}@example.com`;

	await go(page, `/register?next=${encodeURIComponent(next)}`);
	await page.getByLabel("Name").fill("Bo Buyer");
	await page.getByLabel("E-mail").fill(email);
	await page.getByLabel("Password").fill(PASSWORD);
	await page.locator("main button[type=submit]").click();
	await page.waitForURL(base + next);
	return email;
}

const stockOf = async (product) =>
	(await (await fetch(`${base}/api/products/${product.id}/stock`)).json()).stock;

async function until(what, fn, ms = 20000) {
	const end = Date.now() + ms;

	for (;;) {
		if (await fn())
			return;
		holds(Date.now() < end, `never: ${what}`);
		await new Promise((done) => setTimeout(done, 200));
	}
}

/* Every file of the maildir that names this. */
const mailsAbout = (words) => fs.readdirSync(path.join(process.env.SOUK_MAILDIR, "new"))
	.map((name) => fs.readFileSync(path.join(process.env.SOUK_MAILDIR, "new", name), "utf8"))
	.filter((mail) => words.every((w) => mail.includes(w)));

const said = (page) => page.locator(".card .said").first();

/* ---- pictures of the shop's own */

/* What a camera would send: a JPEG, drawn here. */
async function photo(page, width, height) {
	const url = await page.evaluate(([w, h]) => {
		const canvas = document.createElement("canvas");
		const c = canvas.getContext("2d");

		canvas.width = w;
		canvas.height = h;
		const sky = c.createLinearGradient(0, 0, 0, h);
		sky.addColorStop(0, "#5a8cc8");
		sky.addColorStop(1, "#f3d9b1");
		c.fillStyle = sky;
		c.fillRect(0, 0, w, h);
		c.fillStyle = "#fbe6a8";
		c.beginPath();
		c.arc(w * 0.7, h * 0.3, h * 0.09, 0, 7);
		c.fill();
		["#7d9a86", "#56776a", "#2f4f4a"].forEach((colour, i) => {
			c.fillStyle = colour;
			c.beginPath();
			c.moveTo(0, h);
			for (let x = 0; x <= w; x += w / 60)
				c.lineTo(x, h * (0.55 + 0.13 * i) +
					Math.sin(x / w * 7 + i * 2) * h * 0.08);
			c.lineTo(w, h);
			c.fill();
		});
		for (let i = 0; i < 4000; i++) {
			c.fillStyle = `rgba(255,255,255,${Math.random() * 0.12})`;
			c.fillRect(Math.random() * w, Math.random() * h, 3, 3);
		}
		return canvas.toDataURL("image/jpeg", 0.9);
	}, [width, height]);

	return Buffer.from(url.split(",")[1], "base64");
}

/* Which variant the browser took for the picture, and how wide it draws it: its
 * box is a square that it covers. */
const shown = (page, selector) => page.locator(selector).first().evaluate((img) => {
	const box = img.getBoundingClientRect();

	return { src: new URL(img.currentSrc).pathname,
		wide: Math.max(box.width, box.height * img.naturalWidth / img.naturalHeight) };
});

async function partUploads() {
	const token = await soukctl("token", "create", "--role", "admin");
	const auth = { Authorization: `Bearer ${token}` };
	const product = await makeProduct(3);
	const images = `${base}/api/products/${product.id}/images`;
	const list = async () => (await (await fetch(images, { headers: auth })).json()).images;
	const record = async () =>
		(await (await fetch(`${base}/api/products/${product.id}`)).json());
	let none = false;

	await check("uploads: two pictures are taken", async () => {
		await withPage({}, async (page) => {
			for (const [w, h] of [[2400, 1600], [1200, 1600]]) {
				const form = new FormData();

				form.set("file", new Blob([await photo(page, w, h)], { type: "image/jpeg" }),
					"hills.jpg");
				form.set("alt", `Hills, ${w} wide`);
				const rs = await fetch(images, { method: "POST", headers: auth, body: form });

				none = rs.status === 501;
				if (none)
					return;
				same(rs.status, 201, `status (${await rs.clone().text()})`);
			}
		});
	});
	if (none) {
		skip("uploads", "souk was built without pictures");
		return;
	}
	await check("uploads: a worker makes their variants", () => until("all are ready",
		async () => (await list()).every((i) => i.status === "ready"), 60000));
	await check("uploads: the product's record has them", () => until("variants",
		async () => (await record()).images.length === 2));
	const widths = new Map((await record()).images.flatMap((i) => i.variants ?? [])
		.map((v) => [new URL(v.url, base).pathname, v.width]));

	/* The narrowest that is wide enough. */
	const fits = ({ src, wide }, dpr) => {
		const all = [...new Set(widths.values())].sort((a, b) => a - b);
		const want = all.find((w) => w >= wide * dpr) ?? all.at(-1);

		holds(/\.avif$/.test(src), `an AVIF: ${src}`);
		same(widths.get(src), want, `width of what is shown ${Math.round(wide)} px wide`);
	};

	for (const [name, viewport, dpr] of [["phone", PHONE, 1], ["desk", DESK, 1],
		["sharp phone", PHONE, 2]]) {
		await withPage({ viewport, deviceScaleFactor: dpr }, async (page) => {
			const asked = [];

			page.on("request", (rq) => asked.push(new URL(rq.url()).pathname));
			/* Late, so that whatever moves when they come does move. */
			await page.route("**/media/**", async (route) => {
				await new Promise((done) => setTimeout(done, 300));
				await route.continue();
			});
			await page.addInitScript(() => {
				globalThis.shifts = [];
				new PerformanceObserver((found) => globalThis.shifts.push(
					...found.getEntries().map((s) => s.value)))
					.observe({ type: "layout-shift", buffered: true });
			});
			await go(page, `/products/${product.id}`);
			await page.waitForFunction(() => {
				const img = document.querySelector(".shots img");

				return img.complete && img.naturalWidth > 0;
			});
			await check(`uploads: ${name}: the first picture, as wide as it is shown`,
				async () => fits(await shown(page, ".shots img"), dpr));
			await check(`uploads: ${name}: one width of it is asked for, and a thumbnail`, async () => {
				const first = asked.filter((p) => widths.has(p));

				holds(first.length >= 1 && first.length <= 4, `asked: ${first}`);
				holds(first.every((p) => p.endsWith(".avif")), `no WebP: ${first}`);
			});
			await check(`uploads: ${name}: nothing moves when they come`, async () => {
				await scrollThrough(page);
				same((await page.evaluate(() => globalThis.shifts)).join(), "", "layout shifts");
				same(page.complaints.join(), "", "console");
			});
			await page.evaluate(() => Promise.all([...document.images]
				.filter((img) => img.complete).map((img) => img.decode())));
			await shoot(page, `picture-own-${name.replace(" ", "-")}`);
			await check(`uploads: ${name}: in a list likewise`, async () => {
				await go(page, `/products?q=${product.handle}`);
				await page.waitForFunction(() =>
					document.querySelector(".card img")?.naturalWidth > 0);
				const card = await shown(page, ".card img");

				holds(/\.avif$/.test(card.src), card.src);
				holds(widths.get(card.src) >= Math.min(card.wide * dpr, 640),
					`${widths.get(card.src)} for ${card.wide}`);
				same((await page.evaluate(() => globalThis.shifts)).join(), "", "layout shifts");
			});
		});
	}
	await withPage({}, async (page) => {
		await check("uploads: the cart shows a small one", async () => {
			await go(page, `/cart/add?product=${product.id}&quantity=1`);
			await page.waitForFunction(() =>
				document.querySelector(".line-tile img")?.naturalWidth > 0);
			const line = await shown(page, ".line-tile img");

			holds(line.wide <= 320 && widths.get(line.src) === 320, JSON.stringify(line));
		});
	});
	await nu([["product-with-pictures", `/products/${product.id}`]]);
	await check("uploads: an operator removes them", async () => {
		for (const { id } of await list())
			same((await fetch(`${images}/${id}`, { method: "DELETE", headers: auth })).status,
				204, "status");
		await until("the page has none",
			async () => (await record()).images.length === 0, 5000);
	});
}

async function partBuySale() {
	const product = await makeProduct(50);
	const sale = await makeSale(product, 3, 2);
	const where = `/flash-sale/${sale}`;
	const buy = (page) => page.locator("[data-buy]").first().click();
	let orderPath;

	await withPage({}, async (page) => {
		await check("sale: a stranger who buys is sent to log in, and back", async () => {
			await go(page, where);
			await buy(page);
			await page.waitForURL(/\/login\?next=/);
			same(new URL(page.url()).searchParams.get("next"), where, "next");
		});
		await check("sale: a registered buyer gets one with one press", async () => {
			const keys = [];

			await register(page, where);
			page.on("request", (rq) => {
				if (rq.url().endsWith("/api/flash-sale/purchase"))
					keys.push(rq.headers()["idempotency-key"]);
			});
			page.complaints.length = 0;
			await buy(page);
			const link = said(page).getByRole("link");
			await link.waitFor();
			same(await said(page).getAttribute("role"), "status", "read out");
			orderPath = await link.getAttribute("href");
			holds(/^\/orders\/[0-9a-f]{32}$/.test(orderPath), orderPath);
			holds(/^[0-9a-f]{32}$/.test(keys[0]), "a key");
			same(page.complaints.join(), "", "console");
			await buy(page);
			await page.waitForFunction((first) => {
				const a = document.querySelector(".card .said a");
				return a && a.getAttribute("href") !== first;
			}, orderPath);
			same(keys.length, 2, "requests");
			holds(keys[0] !== keys[1], "a fresh key for each wish");
		});
		await check("sale: more than one may have is refused in words", async () => {
			await buy(page);
			await said(page).filter({ hasText: "as many as one person" }).waitFor();
			same(await page.locator("[data-buy]").first().getAttribute("aria-disabled"),
				null, "the button can be pressed again");
		});
		await check("sale: the order becomes paid before one's eyes", async () => {
			await said(page).page().goto(base + orderPath);
			await page.evaluate(() => { window.here = true; });
			await page.locator("#order-now", { hasText: "Paid" }).waitFor({ timeout: 20000 });
			holds((await text(page, "[aria-current=step]")).startsWith("Paid"), "step");
			same(await page.evaluate(() => window.here), true, "the page was not left");
			await page.waitForFunction(() => !document.querySelector("[data-watch]"));
			let asked = 0;
			page.on("request", () => asked++);
			await page.waitForTimeout(4000);
			same(asked, 0, "asks no more at the end");
		});
		if (process.env.SOUK_MAILDIR)
			await check("sale: its e-mails are delivered", () => until("mail", () =>
				mailsAbout([orderPath.slice(-32)]).length > 0));
		else
			skip("sale: its e-mails are delivered", "SOUK_MAILDIR is not set");
	});
	await withPage({}, async (page) => {
		await register(page, where);
		await check("sale: an answer that is lost is asked for again, and buys once", async () => {
			const keys = [], orders = [];

			await page.route("**/api/flash-sale/purchase", async (route) => {
				keys.push(route.request().headers()["idempotency-key"]);
				if (keys.length === 1) { /* bought, but nobody hears of it */
					orders.push((await (await route.fetch()).json()).orderId);
					await route.abort();
				} else if (keys.length === 2) {
					await route.fulfill({ status: 503, body: "{}",
						headers: { "Retry-After": "1" } });
				} else {
					await route.continue();
				}
			});
			await buy(page);
			await said(page).filter({ hasText: "Very busy" }).waitFor();
			const link = said(page).getByRole("link");
			await link.waitFor({ timeout: 20000 });
			same(new Set(keys).size, 1, "keys");
			same(keys.length, 3, "tries");
			same(await link.getAttribute("href"), `/orders/${orders[0]}`, "the first one's order");
			await page.unroute("**/api/flash-sale/purchase");
		});
		await check("sale: sold out is said", async () => {
			await buy(page);
			await said(page).filter({ hasText: "Sold out" }).waitFor();
		});
		await check("sale: one that has not started says so", async () => {
			const later = await makeSale(await makeProduct(9), 2, 1, "+1h");

			await go(page, `/flash-sale/${later}`);
			await buy(page);
			await said(page).filter({ hasText: "has not started" }).waitFor();
		});
		await check("sale: one that has ended says so", async () => {
			const over = await makeSale(await makeProduct(9), 2, 1);

			await go(page, `/flash-sale/${over}`);
			await soukctl("sale", "close", over);
			await buy(page);
			await said(page).filter({ hasText: "has ended" }).waitFor();
		});
	});
	await withPage({ javaScriptEnabled: false }, async (page) => {
		await check("scripts off: buying in a sale", async () => {
			const mine = await makeSale(await makeProduct(9), 2, 1);

			await register(page, `/flash-sale/${mine}`);
			await page.locator("[data-buy]").first().click();
			await page.waitForURL(/\/buy\/\d+\/\d+/);
			await page.getByRole("button", { name: "Buy for $9.00" }).click();
			await page.waitForURL(/\/orders\/[0-9a-f]{32}$/);
			await until("paid", async () => {
				await page.reload();
				return (await text(page, "#order-now")).startsWith("Paid");
			});
		});
	});
}

async function fillAddress(page, email) {
	if (email)
		await page.getByLabel("E-mail").fill(email);
	await page.getByLabel("Name").fill("Bo Buyer");
	await page.getByLabel("Street and number").fill("1 Souk Street");
	await page.getByLabel("Postal code").fill("30000");
	await page.getByLabel("City").fill("Fez");
	await page.getByLabel(/^Country/).fill("ma");
}

async function partBuyCart() {
	const product = await makeProduct(20);

	async function toCheckout(page, quantity) {
		await go(page, `/products/${product.id}`);
		await page.getByLabel("Quantity").fill(String(quantity));
		await page.getByRole("button", { name: "Add to cart" }).click();
		await page.locator("[data-said] a").click();
		await page.waitForURL(/\/cart$/);
		await page.getByRole("button", { name: "Go to checkout" }).click();
		await page.waitForURL(/\/checkout$/);
	}

	await withPage({}, async (page) => {
		await check("cart: a product goes in without leaving its page", async () => {
			await go(page, `/products/${product.id}`);
			await page.getByLabel("Quantity").fill("2");
			await page.getByRole("button", { name: "Add to cart" }).click();
			await page.locator("[data-said]", { hasText: "in your cart" }).waitFor();
			holds(page.url().endsWith(`/products/${product.id}`), page.url());
			same(page.complaints.join(), "", "console");
		});
		await check("cart: quantities change, and the total with them", async () => {
			await go(page, "/cart");
			same(await page.locator(".line").count(), 1, "lines");
			await page.getByLabel(/^Quantity/).fill("3");
			await page.keyboard.press("Enter");
			await page.waitForURL(/say=updated/);
			same(await page.getByLabel(/^Quantity/).inputValue(), "3", "quantity");
			holds((await text(page, ".line-sum")).endsWith("$75.00"), "sum");
		});
		await check("cart: removed is gone", async () => {
			await page.getByRole("button", { name: /^Remove/ }).click();
			await page.waitForURL(/say=removed/);
			same(await page.locator(".line").count(), 0, "lines");
		});
		await check("checkout: mistakes are listed, tied to their fields, and kept", async () => {
			await toCheckout(page, 2);
			await fillAddress(page, "bo@example.com");
			await page.getByLabel(/^Country/).fill("1");
			await page.getByRole("button", { name: /^Place the order/ }).click();
			const link = page.locator("#errors a");
			await link.waitFor();
			same(await link.count(), 1, "mistakes");
			await link.click();
			const field = page.getByLabel(/^Country/);
			same(await field.getAttribute("aria-invalid"), "true", "marked");
			const why = await field.getAttribute("aria-describedby");
			holds((await text(page, `#${why}`)).length > 0, "described");
			same(await page.getByLabel("City").inputValue(), "Fez", "kept");
		});
		let before;
		await check("checkout: a guest's declined card leaves the order payable", async () => {
			before = await stockOf(product);
			await page.getByLabel(/^Country/).fill("ma");
			await page.getByLabel("Be declined").check();
			await page.getByRole("button", { name: /^Place the order/ }).dblclick();
			await page.waitForURL(/\/orders\/[0-9a-f]{32}\?t=/);
			await page.getByRole("button", { name: "Pay again" }).waitFor({ timeout: 20000 });
			await until("set aside", async () => await stockOf(product) === before - 2);
		});
		await check("order: the next card pays", async () => {
			await page.getByLabel("Pay: it succeeds").check();
			await page.getByRole("button", { name: "Pay again" }).click();
			await page.locator("#order-now", { hasText: "Paid" }).waitFor({ timeout: 20000 });
			same(await page.getByRole("button", { name: /Cancel/ }).count(), 0, "no way back");
		});
		await check("order: cancelled after a decline, its stock returns", async () => {
			before = await stockOf(product);
			await toCheckout(page, 4);
			await fillAddress(page, "bo@example.com");
			await page.getByLabel("Be declined").check();
			await page.getByRole("button", { name: /^Place the order/ }).click();
			await page.getByRole("button", { name: "Pay again" }).waitFor({ timeout: 20000 });
			await until("set aside", async () => await stockOf(product) === before - 4);
			await page.getByRole("button", { name: "Cancel this order" }).click();
			await page.locator("#order-now", { hasText: "cancelled" }).waitFor();
			await until("returned", async () => await stockOf(product) === before);
		});
	});
	await withPage({ javaScriptEnabled: false }, async (page) => {
		await check("scripts off: from a product to an order", async () => {
			await go(page, `/products/${product.id}`);
			await page.getByRole("button", { name: "Add to cart" }).click();
			await page.waitForURL(/\/cart\/add\?/);
			await page.getByRole("button", { name: "Add to cart" }).click();
			await page.waitForURL(/\/cart\?say=added/);
			await page.getByRole("button", { name: "Go to checkout" }).click();
			await fillAddress(page, "bo@example.com");
			await page.getByRole("button", { name: /^Place the order/ }).click();
			await page.waitForURL(/\/orders\/[0-9a-f]{32}\?t=/);
		});
	});
}

async function partSessions() {
	await withPage({}, async (first) => {
		const email = await register(first, "/account");

		await withPage({}, async (second) => {
			await check("sessions: a second browser ends the first one's", async () => {
				await go(second, "/login?next=/account");
				await second.getByLabel("E-mail").fill(email);
				await second.getByLabel("Password").fill(PASSWORD);
				await second.locator("main button[type=submit]").click();
				await second.waitForURL(/\/account$/);
				await go(first, "/account");
				await second.locator('form[action^="/account/sessions/"][action$="/end"] button')
					.filter({ hasNotText: "all" }).first().click();
				await second.waitForLoadState();
				await until("logged out", async () => {
					await first.goto(`${base}/account`);
					return first.url().includes("/login");
				}, 2000);
				await go(second, "/account");
				holds(second.url().endsWith("/account"), "the second goes on");
			});
		});
	});
}

/* The pages of buying, as partLooks does it for the public ones. */
async function partLooksPrivate() {
	const product = await makeProduct(9);
	const sale = await makeSale(product, 5, 5);
	const found = await pickProduct();
	const variant = found.product.variants.find((v) => v.available);

	for (const [width, viewport] of [["phone", PHONE], ["desktop", DESK]]) {
		for (const colorScheme of ["light", "dark"]) {
			await withPage({ viewport, colorScheme }, async (page) => {
				const pages = [["cart-empty", "/cart"],
					["cart-add", `/cart/add?product=${product.id}`],
					["login", "/login"], ["register", "/register"]];

				await look(page, pages, `${width}-${colorScheme}`, width === "phone");
				await register(page);
				for (const [id, v] of [[product.id, 0], [found.product.id, variant.id]]) {
					await go(page, `/cart/add?product=${id}${v ? `&variant=${v}` : ""}`);
					await page.getByRole("button", { name: "Add to cart" }).click();
					await page.waitForURL(/\/cart\?/);
				}
				await look(page, [["cart", "/cart?say=added"], ["checkout", "/checkout"],
					["confirm", `/buy/${sale}/${product.id}`],
					["account", "/account"], ["sale-open", `/flash-sale/${sale}`]],
					`${width}-${colorScheme}`, width === "phone");
				await go(page, "/checkout");
				await page.evaluate(() => { document.querySelector("form.till").noValidate = true; });
				await page.getByRole("button", { name: /^Place the order/ }).click();
				await page.locator("#errors").waitFor();
				await looked(page, `checkout-errors-${width}-${colorScheme}`);
				await fillAddress(page);
				await page.getByLabel("Be declined").check();
				await page.getByRole("button", { name: /^Place the order/ }).click();
				await page.getByRole("button", { name: "Pay again" }).waitFor({ timeout: 20000 });
				await look(page, [["order-declined", new URL(page.url()).pathname]],
					`${width}-${colorScheme}`, width === "phone");
				await page.getByRole("button", { name: "Pay again" }).click();
				await page.locator("#order-now", { hasText: "Paid" }).waitFor({ timeout: 20000 });
				await looked(page, `order-paid-${width}-${colorScheme}`);
			});
		}
	}
}

async function looked(page, name) {
	await check(`looks: ${name}`, async () => {
		await shoot(page, name);
		const over = await page.evaluate(() =>
			document.documentElement.scrollWidth - innerWidth);
		holds(over <= 0, `scrolls sideways by ${over} px`);
	});
	await check(`axe: ${name}`, async () =>
		same((await axe(page)).join(" ; "), "", "violations"));
}

/* narrow: at 320 px with wide letters too, and to the Nu checker. */
async function look(page, pages, how, narrow) {
	const sources = [];

	for (const [name, where] of pages) {
		page.complaints.length = 0;
		await go(page, where);
		await looked(page, `${name}-${how}`);
		await check(`console: ${name}-${how}`, async () =>
			same(page.complaints.join(" ; "), "", "console"));
		if (!narrow)
			continue;
		sources.push([name, await (await page.context().request.get(base + where)).text()]);
		const size = page.viewportSize();
		await page.setViewportSize({ width: 320, height: 640 });
		await check(`looks: ${name} at 320 px with wide letters`, async () => {
			await page.evaluate(() => {
				const sheet = new CSSStyleSheet();
				sheet.replaceSync("* { font-family: 'DejaVu Sans' !important }");
				document.adoptedStyleSheets = [sheet];
			});
			const over = await page.evaluate(() =>
				document.documentElement.scrollWidth - innerWidth);
			holds(over <= 0, `scrolls sideways by ${over} px`);
		});
		await page.setViewportSize(size);
		await page.goto(base + where);
	}
	if (how === "phone-light")
		await nuSources(sources);
}

/* ---- all of it */

async function main() {
	if (!base) {
		console.error("run.mjs: set SOUK_URL to the address of a shop");
		return 2;
	}
	let shop;
	try {
		shop = await pickProduct();
	} catch (e) {
		console.error(`run.mjs: ${base} does not answer as a shop: ${e.message}`);
		return 2;
	}
	browser = await chromium.launch({
		executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
		args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
			"--disable-background-networking", "--disable-component-update",
			"--disable-sync"]
	});
	try {
		/* What the shop calls itself: its base_url, which need not be the
		 * address it is tested at. */
		await withPage({}, async (page) => {
			await go(page, "/");
			shop.origin = (await canonical(page)).replace(/\/$/, "");
		});
		const parts = { home: partHome, product: partProduct, list: partList, sale: partSale,
			errors: partErrors, robots: partRobots, "scripts-off": partScriptsOff,
			keyboard: partKeyboard, looks: partLooks, pictures: partPictures };
		const buying = { uploads: partUploads, "buy-sale": partBuySale, "buy-cart": partBuyCart,
			sessions: partSessions, "buy-looks": partLooksPrivate };

		try {
			await run("soukctl", ["--version"]);
			Object.assign(parts, buying);
		} catch (e) {
			skip("buying", "soukctl is not on PATH");
		}
		for (const [name, part] of Object.entries(parts)) {
			if (!name.includes(process.env.SOUK_ONLY ?? ""))
				continue;
			try {
				await part(shop);
			} catch (e) {
				report(`${name}: the rest of this part`, e.message);
			}
		}
	} finally {
		await browser.close();
	}
	console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
	return failed > 0 ? 1 : 0;
}

process.exitCode = await main();
