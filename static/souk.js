/*
 * souk.js - what is nicer with a script; nothing on the site needs it.
 * Pictures that do not load, the gallery's small pictures, the sale's clock;
 * buying in a sale, putting into the cart, an order's progress.
 */
"use strict";

(function pictures() {
	function hide(img) {
		if (img.closest(".tile"))
			img.classList.add("broken");
	}

	/* "error" does not bubble, but it can be captured. */
	document.addEventListener("error", function (ev) {
		if (ev.target instanceof HTMLImageElement)
			hide(ev.target);
	}, true);
	for (const img of document.images) {
		if (img.complete && img.naturalWidth === 0 && img.currentSrc)
			hide(img);
	}
})();

(function gallery() {
	const strip = document.querySelector(".shots");
	const links = Array.from(document.querySelectorAll(".thumbs a"));

	if (!strip || links.length === 0)
		return;

	function mark(i) {
		links.forEach(function (link, n) {
			if (n === i)
				link.setAttribute("aria-current", "true");
			else
				link.removeAttribute("aria-current");
		});
	}

	function shown() {
		return Math.round(strip.scrollLeft / strip.clientWidth);
	}

	links.forEach(function (link, i) {
		link.addEventListener("click", function (ev) {
			const still = matchMedia("(prefers-reduced-motion: reduce)");

			ev.preventDefault(); /* no entry in the history per picture */
			strip.scrollTo({
				left: i * strip.clientWidth,
				behavior: still.matches ? "instant" : "smooth"
			});
			mark(i);
		});
	});

	let wait = 0;

	strip.addEventListener("scroll", function () {
		clearTimeout(wait);
		wait = setTimeout(function () {
			mark(shown());
		}, 80);
	}, { passive: true });
	mark(shown());
})();

/*
 * The page may be some seconds old when it arrives (it comes from a cache), so
 * what it says is only true for the time it was made: from then on the clock
 * here decides. It is the visitor's clock, as good as it is set; the shop
 * decides by its own what is sold.
 */
(function sale() {
	const head = document.getElementById("sale");
	const box = document.getElementById("countdown");

	if (!head || !box)
		return;

	const starts = Date.parse(head.dataset.starts);
	const ends = Date.parse(head.dataset.ends);
	const pill = document.getElementById("sale-pill");
	const over = document.getElementById("sale-over");
	const caption = document.createElement("small");
	const digits = document.createElement("span");

	if (isNaN(starts) || isNaN(ends))
		return;
	box.append(caption, digits);

	function words(ms) {
		const s = Math.ceil(ms / 1000);
		const two = function (n) {
			return String(n).padStart(2, "0");
		};
		/* A line may end between "29 d" and "23 h", not within. */
		const unit = function (n, name) {
			return n + "\u00a0" + name;
		};
		const d = Math.floor(s / 86400);
		const parts = [];

		if (d > 0)
			parts.push(unit(d, box.dataset.d));
		parts.push(unit(two(Math.floor(s / 3600) % 24), box.dataset.h));
		parts.push(unit(two(Math.floor(s / 60) % 60), box.dataset.m));
		if (d === 0)
			parts.push(unit(two(s % 60), box.dataset.s));
		return parts.join(" ");
	}

	function tick() {
		const now = Date.now();
		const state = now < starts ? "upcoming" :
			now < ends ? "running" : "ended";

		if (!head.classList.contains("sale-" + state)) {
			head.classList.remove("sale-upcoming", "sale-running",
				"sale-ended");
			head.classList.add("sale-" + state);
		}
		if (pill.textContent !== pill.dataset[state])
			pill.textContent = pill.dataset[state];
		over.hidden = state !== "ended";
		box.hidden = state === "ended";
		if (state === "ended")
			return;
		caption.textContent = state === "upcoming" ?
			box.dataset.before : box.dataset.during;
		digits.textContent = words(
			(state === "upcoming" ? starts : ends) - now);
		setTimeout(tick, 1000 - Date.now() % 1000);
	}

	tick();
})();

/* Words, and a link behind them, in a region that is read out. */
function say(box, words, link, linkWords) {
	box.textContent = words;
	if (link) {
		const a = document.createElement("a");

		a.href = link;
		a.textContent = linkWords;
		box.append(" ", a);
	}
}

/*
 * Buying in a sale. A key stands for one wish to buy: it is made when the
 * button is pressed and kept until there is a definite answer, over a reload
 * too, so that whatever is lost on the way one press buys once.
 */
(function buying() {
	const words = document.getElementById("sale-items");
	const TRIES = 6;

	if (!words)
		return;

	function makeKey() {
		const bytes = crypto.getRandomValues(new Uint8Array(16));

		return Array.from(bytes, function (b) {
			return b.toString(16).padStart(2, "0");
		}).join("");
	}

	/* Storage may be forbidden: then a key lives as long as the page. */
	const kept = new Map();

	function keyOf(name) {
		let key = kept.get(name);

		try {
			key = key || sessionStorage.getItem(name);
		} catch (e) { /* as above */ }
		if (!key) {
			key = makeKey();
			try {
				sessionStorage.setItem(name, key);
			} catch (e) { /* as above */ }
		}
		kept.set(name, key);
		return key;
	}

	function forget(name) {
		kept.delete(name);
		try {
			sessionStorage.removeItem(name);
		} catch (e) { /* as above */ }
	}

	async function post(button, key) {
		const wish = {
			saleId: Number(button.dataset.sale),
			productId: Number(button.dataset.product),
			variantId: Number(button.dataset.variant)
		};
		const answer = await fetch("/api/flash-sale/purchase", {
			method: "POST",
			headers: {
				"Content-Type": "application/json",
				"Idempotency-Key": key
			},
			body: JSON.stringify(wish),
			signal: AbortSignal.timeout ?
				AbortSignal.timeout(15000) : undefined
		});
		let body = {};

		try {
			body = await answer.json();
		} catch (e) { /* not ours: a proxy's page */ }
		return { answer: answer, body: body };
	}

	function wait(answer, tries) {
		const after = answer && Number(answer.headers.get("Retry-After"));
		const s = after > 0 ? Math.min(after, 10) : Math.min(1 << tries, 8);

		/* Not all at the same moment. */
		return new Promise(function (done) {
			setTimeout(done, s * 1000 * (0.75 + Math.random() / 2));
		});
	}

	/* True: it is decided. */
	function outcome(box, got) {
		const said = {
			sold_out: words.dataset.soldOut,
			limit_reached: words.dataset.limitReached,
			sale_not_started: words.dataset.saleNotStarted,
			sale_ended: words.dataset.saleEnded
		};

		if (got.answer.ok && got.body.orderId) {
			say(box, words.dataset.bought,
				"/orders/" + got.body.orderId, words.dataset.order);
			return true;
		}
		if (got.answer.status === 401) {
			location.assign("/login?next=" +
				encodeURIComponent(location.pathname));
			return true;
		}
		if (got.answer.status >= 500 || got.answer.status === 429)
			return false;
		say(box, said[got.body.code] || words.dataset.other);
		return true;
	}

	async function buy(button, box) {
		const name = "buy:" + button.dataset.sale + ":" +
			button.dataset.variant;
		const key = keyOf(name);

		say(box, words.dataset.working);
		for (let tries = 0; tries < TRIES; tries++) {
			let got = null;

			try {
				got = await post(button, key);
			} catch (e) { /* nobody knows what became of it */ }
			if (got && outcome(box, got)) {
				forget(name);
				return;
			}
			say(box, words.dataset.busy);
			await wait(got && got.answer, tries);
		}
		say(box, words.dataset.again);
	}

	document.addEventListener("click", function (ev) {
		const button = ev.target.closest("[data-buy]");

		/* Into another tab: to the page that needs no script. */
		if (!button || ev.ctrlKey || ev.metaKey || ev.shiftKey)
			return;
		ev.preventDefault();
		if (button.getAttribute("aria-disabled") === "true")
			return;
		button.setAttribute("aria-disabled", "true");
		buy(button, button.closest(".card").querySelector(".said"))
			.finally(function () {
				button.removeAttribute("aria-disabled");
			});
	});
})();

/*
 * Into the cart without leaving the product: the private page that the form
 * leads to holds the token, so it is fetched and its own form is sent. What
 * it refuses is shown there.
 */
(function cart() {
	const form = document.querySelector("form[data-add]");

	if (!form)
		return;

	const box = form.querySelector("[data-said]");
	const button = form.querySelector("button");

	async function add() {
		const where = form.getAttribute("action") + "?" +
			new URLSearchParams(new FormData(form));
		const page = await fetch(where);
		const theirs = page.ok && new DOMParser().parseFromString(
			await page.text(), "text/html").getElementById("add-form");

		if (!theirs) {
			say(box, box.dataset.failed);
			return;
		}
		const answer = await fetch(theirs.getAttribute("action"), {
			method: "POST",
			body: new URLSearchParams(new FormData(theirs))
		});

		if (answer.ok && answer.redirected)
			say(box, box.dataset.added, "/cart", box.dataset.link);
		else
			location.assign(where); /* it says what is wrong */
	}

	form.addEventListener("submit", function (ev) {
		ev.preventDefault();
		if (button.disabled)
			return;
		button.disabled = true;
		add().catch(function () {
			say(box, box.dataset.failed);
		}).finally(function () {
			button.disabled = false;
		});
	});
})();

/*
 * An order that is under way: asked about every few seconds, less often as
 * time goes by, and shown anew when it has moved. Stops at an end state, which
 * the page tells by not asking to be watched, and after half an hour.
 */
(function order() {
	let shown = document.getElementById("order");
	const until = Date.now() + 30 * 60 * 1000;
	let pause = 1000;

	if (!shown || !shown.dataset.watch)
		return;

	/* The line that says how it stands is read out: it stays the same
	 * element, beside what is replaced. */
	async function renew() {
		const page = await fetch(location.href);

		if (!page.ok)
			return;
		const doc = new DOMParser().parseFromString(
			await page.text(), "text/html");
		const fresh = doc.getElementById("order");

		if (!fresh)
			return;
		shown.replaceWith(fresh);
		shown = fresh;
		document.getElementById("order-now").textContent =
			doc.getElementById("order-now").textContent;
	}

	async function look() {
		if (document.hidden)
			return;
		const answer = await fetch(shown.dataset.watch);

		if (!answer.ok)
			return;
		const order = await answer.json();
		const payment = order.payment ? order.payment.status : "";

		if (order.status !== shown.dataset.status ||
		    payment !== shown.dataset.payment) {
			pause = 1000;
			await renew();
		}
	}

	function turn() {
		look().catch(function () {
			/* away: asked again */
		}).finally(function () {
			if (!shown.dataset.watch || Date.now() > until)
				return;
			pause = Math.min(pause * 1.25, 10000);
			setTimeout(turn, pause);
		});
	}

	setTimeout(turn, pause);
})();

/* A form that is sent twice makes one order all the same; the button says that
 * something is happening. Back in this page it can be pressed again. */
(function once() {
	document.addEventListener("submit", function (ev) {
		const button = ev.submitter;

		if (!button || ev.target.method !== "post")
			return;
		setTimeout(function () {
			button.setAttribute("aria-disabled", "true");
		});
	});
	addEventListener("pageshow", function () {
		for (const button of document.querySelectorAll(
			"button[aria-disabled]"))
			button.removeAttribute("aria-disabled");
	});
})();
