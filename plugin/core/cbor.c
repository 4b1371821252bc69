/* Deterministic CBOR: spec/encoding.md. The reader accepts the shortest form only, definite lengths only, and never
 * looks past the end of its input. */
#include "cbor.h"

#include <string.h>

#define MAX_OPEN 16 /* arrays, maps and tags open at once */

uint8_t *cbor_put_head(uint8_t *out, enum cbor_major major, uint64_t value)
{
	uint8_t type = (uint8_t)((unsigned)major << 5);
	if (value < 24) {
		*out++ = (uint8_t)(type | value);
		return out;
	}
	int extra = value <= 0xff ? 0 : value <= 0xffff ? 1 : value <= 0xffffffff ? 2 : 3;
	*out++ = (uint8_t)(type | (24 + extra));
	for (int shift = (8 << extra) - 8; shift >= 0; shift -= 8)
		*out++ = (uint8_t)(value >> shift);
	return out;
}

static uint8_t *put_string(uint8_t *out, enum cbor_major major, const void *data, size_t length)
{
	out = cbor_put_head(out, major, length);
	if (length)
		memcpy(out, data, length);
	return out + length;
}

uint8_t *cbor_put_bytes(uint8_t *out, const void *data, size_t length)
{
	return put_string(out, CBOR_BYTES, data, length);
}

uint8_t *cbor_put_text(uint8_t *out, const char *text, size_t length)
{
	return put_string(out, CBOR_TEXT, text, length);
}

struct cbor_reader cbor_reader(struct span input)
{
	const uint8_t *end = input.length ? input.data + input.length : input.data; /* nothing may be NULL */
	return (struct cbor_reader){input.data, end, false};
}

static uint64_t fail(struct cbor_reader *reader)
{
	reader->failed = true;
	return 0;
}

/* Any head, in its shortest form. */
static uint64_t any_head(struct cbor_reader *reader, unsigned *major)
{
	if (reader->failed || reader->at == reader->end)
		return fail(reader);
	unsigned first = *reader->at++;
	unsigned info = first & 31;
	*major = first >> 5;
	if (info < 24)
		return info;
	if (info > 27)
		return fail(reader);
	size_t extra = (size_t)1 << (info - 24);
	if ((size_t)(reader->end - reader->at) < extra)
		return fail(reader);
	uint64_t value = 0;
	for (size_t i = 0; i < extra; i++)
		value = value << 8 | *reader->at++;
	uint64_t smaller = info == 24 ? 23 : info == 25 ? 0xff : info == 26 ? 0xffff : 0xffffffff;
	return value <= smaller ? fail(reader) : value;
}

uint64_t cbor_get_head(struct cbor_reader *reader, enum cbor_major major)
{
	unsigned found = 0;
	uint64_t value = any_head(reader, &found);
	return reader->failed || found != (unsigned)major ? fail(reader) : value;
}

static const uint8_t *skip(struct cbor_reader *reader, uint64_t length)
{
	const uint8_t *start = reader->at;
	if (reader->failed || (uint64_t)(reader->end - reader->at) < length) {
		reader->failed = true;
		return start;
	}
	reader->at += length;
	return start;
}

struct span cbor_get_string(struct cbor_reader *reader, enum cbor_major major)
{
	uint64_t length = cbor_get_head(reader, major);
	const uint8_t *data = skip(reader, length);
	if (reader->failed || (major == CBOR_TEXT && !utf8_valid((const char *)data, (size_t)length))) {
		reader->failed = true;
		return (struct span){data, 0};
	}
	return (struct span){data, (size_t)length};
}

bool cbor_get_bool(struct cbor_reader *reader)
{
	uint64_t value = cbor_get_head(reader, CBOR_SIMPLE);
	if (value != CBOR_FALSE && value != CBOR_TRUE)
		reader->failed = true;
	return !reader->failed && value == CBOR_TRUE;
}

bool cbor_get_null(struct cbor_reader *reader)
{
	if (reader->failed || reader->at == reader->end || *reader->at != (CBOR_SIMPLE << 5 | CBOR_NULL))
		return false;
	reader->at++;
	return true;
}

static void skip_item(struct cbor_reader *reader, int open)
{
	unsigned major = 0;
	uint64_t value = any_head(reader, &major);
	if ((major == CBOR_ARRAY && open == MAX_OPEN) || (major == CBOR_SIMPLE && (value < CBOR_FALSE || value > CBOR_NULL)) || major == CBOR_TAG || major == CBOR_MAP)
		reader->failed = true;
	if (major == CBOR_BYTES || major == CBOR_TEXT) {
		const uint8_t *data = skip(reader, value);
		if (!reader->failed && major == CBOR_TEXT && !utf8_valid((const char *)data, (size_t)value))
			reader->failed = true;
	}
	for (uint64_t i = 0; major == CBOR_ARRAY && i < value && !reader->failed; i++)
		skip_item(reader, open + 1);
}

struct span cbor_get_item(struct cbor_reader *reader, int open)
{
	const uint8_t *start = reader->at;
	skip_item(reader, open);
	return (struct span){start, reader->failed ? 0 : (size_t)(reader->at - start)};
}

bool cbor_done(const struct cbor_reader *reader)
{
	return !reader->failed && reader->at == reader->end;
}

/* RFC 3629: shortest form, no surrogates, at most U+10FFFF. */
bool utf8_valid(const char *text, size_t length)
{
	const uint8_t *at = (const uint8_t *)text;
	const uint8_t *end = at + length;
	while (at < end) {
		unsigned first = *at++;
		if (first < 0x80)
			continue;
		int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
		if (first < 0xc2 || first > 0xf4 || end - at < more)
			return false;
		unsigned low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
		unsigned high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
		for (; more > 0; more--, at++, low = 0x80, high = 0xbf)
			if (*at < low || *at > high)
				return false;
	}
	return true;
}
