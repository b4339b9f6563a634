/*
 * run.mjs - the shop in a real browser.
 *
 *	SOUK_URL=http://127.0.0.1:8080 node tests/browser/run.mjs
 *
 * SOUK_URL      the shop, with some products (the sample catalogue)
 * SOUK_SALE_ID  a sale to look at; without it the sale's checks are skipped
 * SOUK_SCREENSHOTS  where they go (default: tests/screenshots)
 * CHROMIUM      the browser (default: /usr/bin/chromium)
 * SOUK_ONLY     run only the parts whose name contains this
 *
 * With `soukctl` on PATH, configured for that shop, two products are imported
 * whose pictures this program serves itself, one of them not.
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
			same(seen[3].id, "q", "fourth stop");
			same(seen[4].tag, "BUTTON", "fifth stop");
			same(seen[5].cls, "button", "sixth stop");
			same(seen[6].cls, "card-link", "then the cards");
		});
		await check("keyboard: search and open a product without a mouse", async () => {
			await go(page, "/");
			for (let i = 0; i < 4; i++)
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

/* The Nu checker, once for all pages (it takes seconds to start). */
async function nu(pages) {
	const dir = fs.mkdtempSync(path.join(os.tmpdir(), "souk-nu."));

	try {
		for (const [name, where] of pages) {
			const answer = await fetch(base + where);
			fs.writeFileSync(path.join(dir, `${name}.html`), await answer.text());
		}
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
