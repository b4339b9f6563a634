/*
 * souk.js - what is nicer with a script; nothing on the site needs it.
 * Pictures that do not load, the gallery's small pictures, the sale's clock.
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
