/*
 * What a parcel needs to arrive, and nothing that could break the label: text
 * on one line, bounded. No format per country: people know their addresses
 * better than a table does.
 */
#include <jansson.h>
#include <string.h>

#include "base/text.h"
#include "shop/order.h"

static const struct {
	const char *name;
	size_t max; /* bytes */
	bool wanted;
} members[] = {
	{ "name", 200, true },
	{ "line1", 200, true },
	{ "line2", 200, false },
	{ "city", 100, true },
	{ "postalCode", 20, true },
	{ "region", 100, false },
	{ "country", 2, true },
};

/* No control character at all, not even a line's end. */
static bool
one_line(const char *s)
{
	return text_plain(s) && strpbrk(s, "\t\r\n") == NULL;
}

static struct span
trim(const char *s)
{
	size_t n = strlen(s);

	while (n > 0 && s[n - 1] == ' ')
		n--;
	while (n > 0 && *s == ' ') {
		s++;
		n--;
	}
	return (struct span){ s, n };
}

/* ISO 3166-1 alpha-2 as of 2024; kept as one sorted string. */
static const char countries[] =
    "ADAEAFAGAIALAMAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZ"
    "CACCCDCFCGCHCICKCLCMCNCOCRCUCVCWCXCYCZDEDJDKDMDODZECEEEGEHERESETFIFJFKFMFO"
    "FRGAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHMHNHRHTHUIDIEILIMINIOIQIRISITJE"
    "JMJOJPKEKGKHKIKMKNKPKRKWKYKZLALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMKMLMMMNMO"
    "MPMQMRMSMTMUMVMWMXMYMZNANCNENFNGNINLNONPNRNUNZOMPAPEPFPGPHPKPLPMPNPRPSPTPW"
    "PYQARERORSRURWSASBSCSDSESGSHSISJSKSLSMSNSOSRSSSTSVSXSYSZTCTDTFTGTHTJTKTLTM"
    "TNTOTRTTTVTWTZUAUGUMUSUYUZVAVCVEVGVIVNVUWFWSYEYTZAZMZW";

static bool
is_country(struct span code)
{
	for (const char *p = countries; code.n == 2 && *p != '\0'; p += 2) {
		if (memcmp(p, code.p, 2) == 0)
			return true;
	}
	return false;
}

static enum rc
wrong(struct err *e, const char *name, const char *what)
{
	return err_set(
	    e, RC_INVALID, "invalid_field", "address.%s: %s", name, what);
}

static enum rc
member(const json_t *address, size_t i, json_t *out, struct err *e)
{
	const char *name = members[i].name;
	const json_t *v = json_object_get(address, name);
	const char *s = json_string_value(v);
	struct span text;

	if (v != NULL && !json_is_null(v) && s == NULL)
		return wrong(e, name, "must be text");
	if (s != NULL && (strlen(s) != json_string_length(v) || !one_line(s)))
		return wrong(e, name, "one line of text is wanted");
	text = s == NULL ? (struct span){ "", 0 } : trim(s);
	if (text.n == 0)
		return members[i].wanted ? wrong(e, name, "is missing") : RC_OK;
	if (text.n > members[i].max)
		return wrong(e, name, "is too long");
	if (strcmp(name, "country") == 0 && !is_country(text))
		return wrong(
		    e, name, "two letters of ISO 3166 are wanted, such as DE");
	(void)json_object_set_new(out, name, json_stringn(text.p, text.n));
	return RC_OK;
}

enum rc
order_address_check(const json_t *address, json_t **out, struct err *e)
{
	json_t *clean;

	if (!json_is_object(address))
		return err_set(e, RC_INVALID, "invalid_field",
		    "address: an object is wanted");
	clean = json_object();
	for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
		enum rc rc = member(address, i, clean, e);

		if (rc != RC_OK) {
			json_decref(clean);
			return rc;
		}
	}
	*out = clean;
	return RC_OK;
}
