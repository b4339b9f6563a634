#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* RFC 3629, section 4. The second byte's range depends on the first one. */
size_t
utf8_sequence(const char *p, size_t n)
{
	const unsigned char *s = (const unsigned char *)p;
	unsigned char lo = 0x80, hi = 0xbf;
	size_t len;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	len = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (n < len)
		return 0;
	if (s[0] == 0xe0)
		lo = 0xa0; /* overlong */
	else if (s[0] == 0xed)
		hi = 0x9f; /* surrogates */
	else if (s[0] == 0xf0)
		lo = 0x90; /* overlong */
	else if (s[0] == 0xf4)
		hi = 0x8f; /* above U+10FFFF */
	if (s[1] < lo || s[1] > hi)
		return 0;
	for (size_t i = 2; i < len; i++) {
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	}
	return len;
}

/* Most text is: eight bytes at a time. */
static bool
ascii8(const char *s)
{
	uint64_t x;

	memcpy(&x, s, sizeof x);
	return (x & UINT64_C(0x8080808080808080)) == 0;
}

bool
utf8_valid(const char *s, size_t n)
{
	for (size_t i = 0; i < n;) {
		while (n - i >= 8 && ascii8(s + i))
			i += 8;
		if (i == n)
			break;
		size_t len = utf8_sequence(s + i, n - i);

		if (len == 0)
			return false;
		i += len;
	}
	return true;
}

size_t
utf8_cut(const char *s, size_t n, size_t max)
{
	if (n <= max)
		return n;
	while (max > 0 && ((unsigned char)s[max] & 0xc0) == 0x80)
		max--;
	return max;
}

static const char white[] = " \t\n\r";

bool
text_plain(const char *s)
{
	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == 0x7f || (c < 0x20 && strchr(white, c) == NULL))
			return false;
	}
	return true;
}

bool
text_blank(const char *s)
{
	return s[strspn(s, white)] == '\0';
}

bool
text_is_secure_url(const char *s)
{
	static const char *const fronts[] = { "https://", "http://127.0.0.1:",
		"http://localhost:", "http://[::1]:" };

	for (size_t i = 0; i < sizeof fronts / sizeof *fronts; i++) {
		if (strncmp(s, fronts[i], strlen(fronts[i])) == 0)
			return true;
	}
	return false;
}

bool
text_int(struct span s, int64_t min, int64_t max, int64_t *out)
{
	bool negative = s.n > 0 && s.p[0] == '-';
	size_t i = negative ? 1 : 0;
	int64_t value = 0;

	if (i == s.n)
		return false;
	for (; i < s.n; i++) {
		int digit = s.p[i] - '0';

		if (digit < 0 || digit > 9 ||
		    __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_sub_overflow(value, digit, &value))
			return false; /* kept negative: INT64_MIN fits */
	}
	if (!negative && __builtin_mul_overflow(value, -1, &value))
		return false;
	if (value < min || value > max)
		return false;
	*out = value;
	return true;
}

char *
text_num(int64_t value, char out[TEXT_NUM])
{
	uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
	char digits[TEXT_NUM], *p = digits + sizeof digits;

	*--p = '\0';
	do {
		*--p = (char)('0' + left % 10);
		left /= 10;
	} while (left > 0);
	if (value < 0)
		*--p = '-';
	return memcpy(out, p, (size_t)(digits + sizeof digits - p));
}

void
text_hex(const unsigned char *p, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		*out++ = digits[p[i] >> 4];
		*out++ = digits[p[i] & 15];
	}
	*out = '\0';
}

void
text_random_id(char out[33])
{
	unsigned char raw[16];

	/* 16 bytes come at once, or not at all (getrandom(2)). */
	if (getrandom(raw, sizeof raw, 0) != (ssize_t)sizeof raw)
		abort();
	text_hex(raw, sizeof raw, out);
}
