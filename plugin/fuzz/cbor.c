/* core/cbor.c: what the reader takes as an item, the writer writes to the same bytes. */
#include "core/cbor.h"
#include "fuzz.h"

static uint8_t out[1 << 16];

/* Read one item by its parts and write it again. */
static uint8_t *again(struct cbor_reader *reader, uint8_t *at)
{
	REQUIRE(reader->at < reader->end);
	enum cbor_major major = (enum cbor_major)(*reader->at >> 5);
	if (major == CBOR_BYTES || major == CBOR_TEXT) {
		struct span string = cbor_get_string(reader, major);
		return major == CBOR_TEXT ? cbor_put_text(at, (const char *)string.data, string.length) : cbor_put_bytes(at, string.data, string.length);
	}
	if (major == CBOR_SIMPLE) {
		if (cbor_get_null(reader))
			return cbor_put_head(at, CBOR_SIMPLE, CBOR_NULL);
		return cbor_put_head(at, CBOR_SIMPLE, cbor_get_bool(reader) ? CBOR_TRUE : CBOR_FALSE);
	}
	uint64_t value = cbor_get_head(reader, major);
	at = cbor_put_head(at, major, value);
	for (uint64_t i = 0; major == CBOR_ARRAY && i < value; i++)
		at = again(reader, at);
	return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span input = {data, size};
	int open = take_byte(&input) % 17;
	if (input.length > sizeof out)
		return 0;
	struct cbor_reader reader = cbor_reader(input);
	struct span item = cbor_get_item(&reader, open);
	REQUIRE(reader.failed ? item.length == 0 : item.length > 0 && item.length <= input.length);
	if (!reader.failed) {
		struct cbor_reader parts = cbor_reader(item);
		size_t written = (size_t)(again(&parts, out) - out);
		REQUIRE(cbor_done(&parts) && same_bytes(item, (struct span){out, written}));
	}
	for (int major = CBOR_UINT; major <= CBOR_SIMPLE; major++) { /* each kind of reading, to the end */
		struct cbor_reader other = cbor_reader(input);
		while (!other.failed && other.at < other.end)
			(void)(major == CBOR_BYTES || major == CBOR_TEXT ? cbor_get_string(&other, (enum cbor_major)major).length
			                                                : cbor_get_head(&other, (enum cbor_major)major));
		REQUIRE(other.at <= other.end);
	}
	return 0;
}
