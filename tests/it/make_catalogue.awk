# make_catalogue.awk - a catalogue of n products as JSON Lines, the same one at
# every run: awk -v n=100000 -f make_catalogue.awk
BEGIN {
	split("red blue green black white sand olive indigo clay rust", colour, " ")
	split("shirt mug lamp rug bowl belt book soap vase tray", thing, " ")
	split("cotton stone brass wool oak leather paper linen clay silk", matter, " ")
	for (i = 1; i <= n; i++) {
		c = colour[i % 10 + 1]; t = thing[int(i / 10) % 10 + 1]
		m = matter[int(i / 100) % 10 + 1]
		k = i % 3 + 1
		printf "{\"handle\":\"%s-%s-%s-%d\",\"title\":\"%s %s %s No. %d\"," \
		    "\"description\":\"<p>A %s made of %s, in %s. It is sturdy and" \
		    " simple, and lasts for years.</p><ul><li>Number %d</li>" \
		    "<li>Wash by hand</li></ul>\",\"vendor\":\"Vendor %d\"," \
		    "\"type\":\"%s\",\"tags\":[\"%s\",\"%s\"],\"options\":[\"Size\"]," \
		    "\"variants\":[", c, m, t, i, c, m, t, i, t, m, c, i, i % 97,
		    t, c, m
		for (j = 1; j <= k; j++)
			printf "%s{\"sku\":\"SKU-%d-%d\",\"options\":[\"S%d\"]," \
			    "\"price\":%d,\"stock\":%d}", (j > 1 ? "," : ""), i, j, j,
			    500 + i % 9000 + j * 100, i % 20
		printf "],\"images\":["
		for (j = 1; j <= i % 2 + 1; j++)
			printf "%s{\"url\":\"https://img.example/%d-%d.jpg\"," \
			    "\"alt\":\"%s %s\",\"width\":800,\"height\":800}",
			    (j > 1 ? "," : ""), i, j, c, t
		print "]}"
	}
}
