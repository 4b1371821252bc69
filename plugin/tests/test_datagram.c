/* Signed datagrams (spec/marked-datagram.md): the shared vectors, every truncation, and where the walks end. */
#include "core/cbor.h"
#include "core/datagram.h"
#include "unit.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static enum datagram_kind kind_of(struct span payload, struct datagram *found)
{
	memset(found, 0, sizeof *found);
	return datagram_read(payload, found);
}

/* A copy that ends where the memory ends. */
static enum datagram_kind kind_of_part(const uint8_t *data, size_t length)
{
	struct datagram unused;
	uint8_t *part = malloc(length ? length : 1);
	memcpy(part, data, length);
	enum datagram_kind kind = kind_of((struct span){part, length}, &unused);
	free(part);
	return kind;
}

static struct bytes marked(const struct datagram *datagram, int64_t time, struct span token)
{
	struct bytes out = {malloc(datagram->pairs.length + token.length + DATAGRAM_ADDED), 0};
	out.length = datagram_write(datagram, time, token, out.data);
	return out;
}

/* The token of the vector, or what the token key of the vector makes. */
static struct bytes token_of(const struct vector *vector, const struct datagram *datagram, int64_t time)
{
	uint8_t public_key[crypto_sign_PUBLICKEYBYTES], secret_key[crypto_sign_SECRETKEYBYTES];
	if (!vector_text(vector, "token_seed"))
		return vector_bytes(vector, "token");
	struct bytes seed = vector_bytes(vector, "token_seed"), message = marked(datagram, time, (struct span){NULL, 0});
	struct bytes token = {malloc(crypto_sign_BYTES), crypto_sign_BYTES};
	(void)crypto_sign_seed_keypair(public_key, secret_key, seed.data);
	(void)crypto_sign_detached(token.data, NULL, message.data, message.length, secret_key);
	free(message.data);
	free(seed.data);
	return token;
}

static void accept_vector(const struct vector *vector)
{
	struct datagram found, unused;
	struct bytes payload = vector_bytes(vector, "payload"), expected = vector_bytes(vector, "marked");
	int64_t time = (int64_t)vector_number(vector, "time");
	if (CHECK(kind_of(span_of(payload), &found) == DATAGRAM_SIGNED)) {
		struct bytes token = token_of(vector, &found, time), made = marked(&found, time, span_of(token));
		CHECK(made.length == expected.length && memcmp(made.data, expected.data, made.length) == 0);
		CHECK(made.length <= found.pairs.length + token.length + DATAGRAM_ADDED);
		free(token.data);
		free(made.data);
	}
	CHECK(kind_of(span_of(expected), &unused) == DATAGRAM_TAKEN); /* sent again by a client */
	free(payload.data);
	free(expected.data);
}

static void reject_vector(const struct vector *vector)
{
	struct datagram unused;
	const char *answer = vector_text(vector, "answer");
	if (!answer) /* for readers of marked datagrams, which this is none of */
		return;
	struct bytes payload = vector_bytes(vector, "payload");
	CHECK(kind_of(span_of(payload), &unused) == (strcmp(answer, "taken") == 0 ? DATAGRAM_TAKEN : DATAGRAM_PLAIN));
	free(payload.data);
}

static void vectors(void)
{
	each_vector("marked-datagram/accept", accept_vector);
	each_vector("marked-datagram/reject", reject_vector);
}

static void device_vector(const struct vector *vector)
{
	struct datagram found;
	struct bytes payload = vector_bytes(vector, "payload");
	enum datagram_kind kind = kind_of(span_of(payload), &found);
	bool many = strncmp(vector->name, "pairs-25", 8) == 0; /* 255, 256, 257 */
	many = many && strcmp(vector->name, "pairs-25.txt") != 0;
	CHECK(kind == (many ? DATAGRAM_PLAIN : DATAGRAM_SIGNED));
	CHECK(!datagram_is_reading(span_of(payload)));
	free(payload.data);
}

static void reading_vector(const struct vector *vector)
{
	struct datagram unused;
	struct bytes payload = vector_bytes(vector, "payload");
	CHECK(datagram_is_reading(span_of(payload)) && kind_of(span_of(payload), &unused) == DATAGRAM_PLAIN);
	for (size_t length = 0; length < payload.length; length++) {
		uint8_t *part = malloc(length ? length : 1);
		memcpy(part, payload.data, length);
		CHECK(!datagram_is_reading((struct span){part, length}));
		free(part);
	}
	free(payload.data);
}

static void devices_messages_are_known(void)
{
	each_vector("datagram/accept", device_vector);
	each_vector("reading/accept", reading_vector);
}

static void truncated_vector(const struct vector *vector)
{
	struct bytes payload = vector_bytes(vector, "payload"), whole = vector_bytes(vector, "marked");
	for (size_t length = 0; length < payload.length; length++)
		CHECK(kind_of_part(payload.data, length) == DATAGRAM_PLAIN);
	size_t found = 0;
	for (size_t length = 0; length <= whole.length; length++) {
		bool taken = kind_of_part(whole.data, length) == DATAGRAM_TAKEN;
		CHECK(taken || !found); /* from the end of the first key on, always */
		found = taken && !found ? length : found;
	}
	const uint8_t *key = memmem(whole.data, whole.length, "\x6eINGESTION_TIME", 15);
	CHECK(key && whole.data + found >= key + 15);
	free(payload.data);
	free(whole.data);
}

static void truncations(void)
{
	each_vector("marked-datagram/accept", truncated_vector);
}

/* Deep nesting costs nothing: no recursion, and the depth is bounded whatever opens. */
static void bombs_are_flat(void)
{
	static const uint8_t openers[] = {0x81, 0x9f, 0xc1, 0xbf, 0xa1};
	enum { SIZE = 1 << 20 };
	uint8_t *bomb = malloc(SIZE);
	for (size_t i = 0; i < sizeof openers; i++) {
		memset(bomb, openers[i], SIZE);
		memcpy(bomb, "\xbf\x61X", 3);
		CHECK(kind_of_part(bomb, SIZE) == DATAGRAM_TAKEN); /* deeper than anybody looks */
	}
	memset(bomb, 0xc1, SIZE); /* tags alone end nowhere */
	CHECK(kind_of_part(bomb, SIZE) == DATAGRAM_PLAIN);
	memset(bomb, 0x9f, 1000);
	memset(bomb + 1000, 0xff, 1000);
	CHECK(kind_of_part(bomb, 2000) == DATAGRAM_PLAIN);
	free(bomb);
}

/* What ends the input is cut off, however deep. */
static void cut_off_comes_before_too_deep(void)
{
	uint8_t payload[2000] = {0xbf, 0x61, 'X'};
	static const uint8_t heads[] = {0xc1, 0x81};
	memset(payload + 3, 0x81, 1023);
	for (size_t i = 0; i < sizeof heads; i++) { /* the 1,025th */
		payload[3 + 1023] = heads[i];
		CHECK(kind_of_part(payload, 3 + 1024) == DATAGRAM_PLAIN && kind_of_part(payload, 3 + 1025) == DATAGRAM_TAKEN);
	}
}

void datagram_tests(void)
{
	RUN(vectors);
	RUN(devices_messages_are_known);
	RUN(truncations);
	RUN(bombs_are_flat);
	RUN(cut_off_comes_before_too_deep);
}
