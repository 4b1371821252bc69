/* core/datagram.c. Input: two bytes that choose time and token, then the payload. What is marked comes off again to the
 * byte; a payload with the broker's keys has them behind any tag, and whatever follows. */
#include "core/cbor.h"
#include "core/datagram.h"
#include "fuzz.h"

static const int64_t times[] = {0, 23999999, 24000000, 255000000, INT64_C(1764000000123456789), INT64_MAX};
static const size_t token_lengths[] = {0, 1, 23, 24, 64, 255, 256, 400, 65535, 65536};
static uint8_t token_bytes[65536], out[65536 + 65536 + DATAGRAM_ADDED];

/* Head, pairs, break: the datagram that `found` describes. */
static bool is_whole(struct span payload, const struct datagram *found)
{
	uint8_t head[CBOR_MAX_HEAD] = {0xbf};
	size_t length = found->definite ? (size_t)(cbor_put_head(head, CBOR_MAP, found->count) - head) : 1;
	size_t tail = found->definite ? 0 : 1;
	return payload.length == length + found->pairs.length + tail && memcmp(payload.data, head, length) == 0 &&
	       payload.data + length == found->pairs.data && (found->definite || payload.data[payload.length - 1] == 0xff);
}

/* What stands between the device's pairs and the end. */
static void check_added(struct span added, const struct datagram *found, int64_t time, struct span token)
{
	struct cbor_reader reader = cbor_reader((struct span){added.data, added.length - !found->definite});
	REQUIRE(same_bytes(cbor_get_string(&reader, CBOR_TEXT), (struct span){(const uint8_t *)"INGESTION_TIME", 14}));
	REQUIRE(cbor_get_head(&reader, CBOR_UINT) == (uint64_t)time / 1000000);
	if (token.data) {
		REQUIRE(same_bytes(cbor_get_string(&reader, CBOR_TEXT), (struct span){(const uint8_t *)"VERIFICATION_TOKEN", 18}));
		REQUIRE(same_bytes(cbor_get_string(&reader, CBOR_BYTES), token));
	}
	REQUIRE(cbor_done(&reader));
	REQUIRE(found->definite || added.data[added.length - 1] == 0xff);
}

static void check_marked(const struct datagram *found, int64_t time, struct span token)
{
	struct datagram unused;
	size_t length = datagram_write(found, time, token, out);
	REQUIRE(length <= found->pairs.length + token.length + DATAGRAM_ADDED);
	REQUIRE(datagram_read((struct span){out, length}, &unused) == DATAGRAM_TAKEN);
	uint8_t head[CBOR_MAX_HEAD] = {0xbf};
	size_t head_length = found->definite ? (size_t)(cbor_put_head(head, CBOR_MAP, found->count + (token.data ? 2 : 1)) - head) : 1;
	REQUIRE(memcmp(out, head, head_length) == 0);
	REQUIRE(memcmp(out + head_length, found->pairs.data, found->pairs.length) == 0);
	size_t start = head_length + found->pairs.length;
	check_added((struct span){out + start, length - start}, found, time, token);
}

static void check_taken_stays(struct span payload, bool taken)
{
	struct datagram unused;
	uint8_t *longer = malloc(payload.length + 2);
	longer[0] = 0xc1; /* a tag before */
	memcpy(longer + 1, payload.data, payload.length);
	longer[payload.length + 1] = 0xff; /* a byte behind */
	REQUIRE((datagram_read((struct span){longer, payload.length + 1}, &unused) == DATAGRAM_TAKEN) == taken);
	if (taken)
		REQUIRE(datagram_read((struct span){longer + 1, payload.length + 1}, &unused) == DATAGRAM_TAKEN);
	free(longer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span payload = {data, size};
	struct datagram found;
	int64_t time = times[take_byte(&payload) % (sizeof times / sizeof *times)];
	struct span token = {token_bytes, token_lengths[take_byte(&payload) % (sizeof token_lengths / sizeof *token_lengths)]};
	if (payload.length > 65536)
		return 0;
	uint8_t *exact = malloc(payload.length ? payload.length : 1); /* so that a read behind it is seen */
	if (payload.length)
		memcpy(exact, payload.data, payload.length);
	payload.data = exact;
	enum datagram_kind kind = datagram_read(payload, &found);
	if (kind == DATAGRAM_SIGNED) {
		REQUIRE(found.count >= 1 && found.count <= 64);
		REQUIRE(is_whole(payload, &found));
		REQUIRE(!datagram_is_reading(payload));
		check_marked(&found, time, token);
		check_marked(&found, time, (struct span){NULL, 0});
	}
	check_taken_stays(payload, kind == DATAGRAM_TAKEN);
	(void)datagram_is_reading(payload);
	free(exact);
	return 0;
}
