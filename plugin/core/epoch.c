/* Epoch statement and epoch end: spec/epoch.md. Once per epoch each, so written for reading, not for speed. */
#include "epoch.h"

#include "cbor.h"
#include <string.h>

#define STATEMENT_TYP "application/vnd.sigillo.epoch-statement+cose"
#define END_TYP "application/vnd.sigillo.epoch-end+cose"

/* Sign and wrap: [protected, {}, payload, signature], tagged. Returns the length. */
static size_t put_sign1(uint8_t *out, const struct secret *secret, struct span header, struct span payload)
{
	static uint8_t signed_bytes[EPOCH_ROOM + 512];
	uint8_t signature[crypto_sign_BYTES], *at = signed_bytes;
	at = cbor_put_head(at, CBOR_ARRAY, 4);
	at = cbor_put_text(at, "Signature1", 10);
	at = cbor_put_bytes(at, header.data, header.length);
	at = cbor_put_bytes(at, NULL, 0);
	at = cbor_put_bytes(at, payload.data, payload.length);
	(void)crypto_sign_detached(signature, NULL, signed_bytes, (unsigned long long)(at - signed_bytes), secret->signing_key);
	at = cbor_put_head(out, CBOR_TAG, 18);
	at = cbor_put_head(at, CBOR_ARRAY, 4);
	at = cbor_put_bytes(at, header.data, header.length);
	at = cbor_put_head(at, CBOR_MAP, 0);
	at = cbor_put_bytes(at, payload.data, payload.length);
	at = cbor_put_bytes(at, signature, sizeof signature);
	return (size_t)(at - out);
}

/* The value of a key that the plugin adds, as CBOR; empty for the launcher's keys. */
static size_t own_value(int key, const struct secret *secret, int64_t start, uint8_t out[48])
{
	if (key == 4)
		return (size_t)(cbor_put_bytes(out, secret->public_key, sizeof secret->public_key) - out);
	if (key == 5 && secret_has_token(secret))
		return (size_t)(cbor_put_bytes(out, secret_token_public(secret), crypto_sign_PUBLICKEYBYTES) - out);
	if (key == 6)
		return (size_t)(cbor_put_head(out, CBOR_UINT, (uint64_t)start) - out);
	return 0;
}

size_t epoch_write_statement(const struct state *state, const struct secret *secret, int64_t start, uint8_t *out, uint8_t id[32])
{
	static uint8_t payload[EPOCH_ROOM];
	uint8_t header[64], own[48], *at = header;
	size_t count = 0, room = 256;
	at = cbor_put_head(at, CBOR_MAP, 2);
	at = cbor_put_head(cbor_put_head(at, CBOR_UINT, 1), CBOR_NINT, 18);
	at = cbor_put_text(cbor_put_head(at, CBOR_UINT, 16), STATEMENT_TYP, sizeof STATEMENT_TYP - 1);
	struct span protected_header = {header, (size_t)(at - header)};

	for (int key = 1; key < STATE_KEYS; key++) {
		count += state->values[key].length || own_value(key, secret, start, own);
		room += state->values[key].length + 1;
	}
	if (room > EPOCH_ROOM - 512)
		return 0;
	at = cbor_put_head(payload, CBOR_MAP, count);
	for (int key = 1; key < STATE_KEYS; key++) {
		size_t own_length = own_value(key, secret, start, own);
		struct span value = own_length ? (struct span){own, own_length} : state->values[key];
		if (!value.length)
			continue;
		at = cbor_put_head(at, CBOR_UINT, (uint64_t)key);
		memcpy(at, value.data, value.length);
		at += value.length;
	}
	size_t length = put_sign1(out, secret, protected_header, (struct span){payload, (size_t)(at - payload)});
	struct span array = {out + 1, length - 1}; /* untagged; its unprotected map is empty */
	object_hash("sigillo/v1/epoch-statement\n", &array, 1, id);
	return length;
}

size_t epoch_write_end(const struct secret *secret, const uint8_t id[32], uint64_t sequence, const struct clock_stamp *stamp,
                       enum end_reason reason, const uint8_t last[32], uint8_t *out)
{
	uint8_t header[128], payload[128], *at = header;
	at = cbor_put_head(at, CBOR_MAP, 3);
	at = cbor_put_head(cbor_put_head(at, CBOR_UINT, 1), CBOR_NINT, 18);
	at = cbor_put_bytes(cbor_put_head(at, CBOR_UINT, 4), id, 32);
	at = cbor_put_text(cbor_put_head(at, CBOR_UINT, 16), END_TYP, sizeof END_TYP - 1);
	struct span protected_header = {header, (size_t)(at - header)};
	at = cbor_put_head(payload, CBOR_MAP, 6);
	at = cbor_put_head(cbor_put_head(at, CBOR_UINT, 1), CBOR_UINT, 1);
	at = cbor_put_head(cbor_put_head(at, CBOR_UINT, 2), CBOR_UINT, sequence);
	at = cbor_put_head(cbor_put_head(at, CBOR_UINT, 3), CBOR_UINT, (uint64_t)stamp->time);
	at = mark_put_clock(cbor_put_head(at, CBOR_UINT, 4), stamp);
	at = cbor_put_head(cbor_put_head(at, CBOR_UINT, 5), CBOR_UINT, (uint64_t)reason);
	at = cbor_put_bytes(cbor_put_head(at, CBOR_UINT, 6), last, 32);
	return put_sign1(out, secret, protected_header, (struct span){payload, (size_t)(at - payload)});
}
