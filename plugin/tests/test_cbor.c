/* spec/encoding.md: the reader takes the one encoding only; UTF-8 as RFC 3629. */
#include "core/cbor.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

static bool item_good_inside(const char *hex, int open)
{
	struct bytes bytes = from_hex(hex);
	struct cbor_reader reader = cbor_reader(span_of(bytes));
	struct span item = cbor_get_item(&reader, open);
	bool good = cbor_done(&reader) && item.length == bytes.length;
	free(bytes.data);
	return good;
}

static bool item_good(const char *hex)
{
	return item_good_inside(hex, 0);
}

static void heads_are_the_shortest(void)
{
	static const struct {
		uint64_t value;
		const char *hex;
	} table[] = {
		{0, "00"},
		{23, "17"},
		{24, "1818"},
		{255, "18ff"},
		{256, "190100"},
		{65535, "19ffff"},
		{65536, "1a00010000"},
		{4294967295, "1affffffff"},
		{4294967296, "1b0000000100000000"},
		{UINT64_MAX, "1bffffffffffffffff"},
	};
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct bytes expected = from_hex(table[i].hex);
		uint8_t *written = malloc(expected.length); /* exactly: a byte too many is seen */
		CHECK((size_t)(cbor_put_head(written, CBOR_UINT, table[i].value) - written) == expected.length);
		CHECK(memcmp(written, expected.data, expected.length) == 0);
		struct cbor_reader reader = cbor_reader(span_of(expected));
		CHECK(cbor_get_head(&reader, CBOR_UINT) == table[i].value && cbor_done(&reader));
		for (size_t cut = 0; cut < expected.length; cut++) {
			uint8_t *part = malloc(cut ? cut : 1);
			memcpy(part, expected.data, cut);
			reader = cbor_reader((struct span){part, cut});
			(void)cbor_get_head(&reader, CBOR_UINT);
			CHECK(reader.failed);
			free(part);
		}
		free(written);
		free(expected.data);
	}
}

static void items_that_are_refused(void)
{
	static const char *const bad[] = {
		"",                     /* nothing */
		"1817",                 /* 23 in two bytes */
		"190018",               /* 24 in three */
		"1a0000ffff",           /* 65535 in five */
		"1b00000000ffffffff",   /* in nine */
		"5801ff",               /* length 1 in two bytes */
		"9800",                 /* empty array in two */
		"1c", "1d", "1e", "1f", /* reserved; indefinite */
		"5fff", "7fff", "9fff", "bfff",
		"ff",
		"18", "19ff", "1aff", "1bff", /* cut */
		"42ff", "6161ff", "8201", "81", /* cut; a byte behind */
		"d200", "d81800",       /* tags */
		"f3", "f7", "f820", "f818",
		"f90000", "fa00000000", "fb0000000000000000", /* floats */
		"5bffffffffffffffff", "9bffffffffffffffff", "bbffffffffffffffff",
		"61ff", "62c080", "8161ff", /* not UTF-8 */
		"a0", "81a10102", /* no value of a statement holds a map */
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (!CHECK(!item_good(bad[i])))
			unit_skip(bad[i], "was taken");
	static const char *const good[] = {"00", "20", "3bffffffffffffffff", "40", "60", "63e282ac", "80", "8201820320", "f4", "f5", "f6"};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		CHECK(item_good(good[i]));
}

static void nesting_is_limited(void)
{
	char hex[2 * 50001 + 1] = "";
	for (int depth = 1; depth <= 50000; depth = depth < 40 ? depth + 1 : depth * 10 + 10000) {
		for (int i = 0; i < depth; i++)
			memcpy(hex + (size_t)2 * (size_t)i, "81", 2);
		memcpy(hex + (size_t)2 * (size_t)depth, "00", 3);
		CHECK(item_good_inside(hex, 0) == (depth <= 16));
		CHECK(item_good_inside(hex, 2) == (depth <= 14));
	}
}

static void failure_stays(void)
{
	static const uint8_t input[] = {0x40, 0x01};
	struct cbor_reader reader = cbor_reader((struct span){input, sizeof input});
	(void)cbor_get_head(&reader, CBOR_TEXT);
	CHECK(reader.failed);
	CHECK(cbor_get_head(&reader, CBOR_UINT) == 0 && !cbor_get_null(&reader) && !cbor_get_bool(&reader));
	CHECK(cbor_get_item(&reader, 0).length == 0 && cbor_get_string(&reader, CBOR_BYTES).length == 0);
	CHECK(!cbor_done(&reader));
}

static void utf8_as_rfc_3629(void)
{
	static const char *const good[] = {"", "61", "00", "7f", "c280", "dfbf", "e0a080", "ed9fbf", "ee8080", "efbfbf", "f0908080", "f48fbfbf"};
	static const char *const bad[] = {
		"80", "bf", "c0", "c080", "c1bf", "c2", "c27f", "c2c0", /* lone, overlong, cut, not followed */
		"e0", "e080", "e08080", "e09fbf", "e2", "e282", "e28228", /* overlong, cut */
		"eda080", "edbfbf", /* surrogates */
		"f0808080", "f08fbfbf", "f0", "f090", "f09080", "f0908028",
		"f4908080", "f5808080", "f8888080", "fe", "ff", /* above U+10FFFF */
		"61ff", "c28080",
	};
	for (size_t i = 0; i < sizeof good / sizeof *good + sizeof bad / sizeof *bad; i++) {
		bool expected = i < sizeof good / sizeof *good;
		struct bytes bytes = from_hex(expected ? good[i] : bad[i - sizeof good / sizeof *good]);
		CHECK(utf8_valid((const char *)bytes.data, bytes.length) == expected);
		free(bytes.data);
	}
}

void cbor_tests(void)
{
	RUN(heads_are_the_shortest);
	RUN(items_that_are_refused);
	RUN(nesting_is_limited);
	RUN(failure_stays);
	RUN(utf8_as_rfc_3629);
}
