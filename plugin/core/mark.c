/* Time marks: spec/mark.md. Written straight into a buffer: no tree, no allocation. */
#include "mark.h"

#include "cbor.h"
#include <string.h>

#define TYP "application/vnd.sigillo.mark+cose"
#define PAYLOAD_AT 256

static const char domain_payload[] = "sigillo/v1/payload\n";
static const uint8_t array_of_4 = 0x84, empty_map = 0xa0;

void object_hash(const char *domain, const struct span *parts, size_t count, uint8_t hash[32])
{
	crypto_hash_sha256_state state;
	uint8_t number[8];
	uint64_t length = 0;
	for (size_t i = 0; i < count; i++)
		length += parts[i].length;
	put_u64(number, length);
	(void)crypto_hash_sha256_init(&state);
	(void)crypto_hash_sha256_update(&state, (const uint8_t *)domain, strlen(domain));
	(void)crypto_hash_sha256_update(&state, number, sizeof number);
	for (size_t i = 0; i < count; i++)
		(void)crypto_hash_sha256_update(&state, parts[i].data, parts[i].length);
	(void)crypto_hash_sha256_final(&state, hash);
}

void mark_writer_init(struct mark_writer *writer, const struct secret *secret, const uint8_t epoch_id[32])
{
	uint8_t header[128], *at = header;
	at = cbor_put_head(at, CBOR_MAP, 3);
	at = cbor_put_head(at, CBOR_UINT, 1); /* alg */
	at = cbor_put_head(at, CBOR_NINT, 18); /* -19, Ed25519 */
	at = cbor_put_head(at, CBOR_UINT, 4); /* kid */
	at = cbor_put_bytes(at, epoch_id, 32);
	at = cbor_put_head(at, CBOR_UINT, 16); /* typ */
	at = cbor_put_text(at, TYP, sizeof TYP - 1);
	memset(writer, 0, sizeof *writer);
	writer->secret = secret;
	at = cbor_put_bytes(writer->protected_header, header, (size_t)(at - header));
	writer->protected_length = (size_t)(at - writer->protected_header);
	at = cbor_put_head(writer->prefix, CBOR_ARRAY, 4);
	at = cbor_put_text(at, "Signature1", 10);
	memcpy(at, writer->protected_header, writer->protected_length);
	at = cbor_put_bytes(at + writer->protected_length, NULL, 0); /* external_aad */
	writer->prefix_length = (size_t)(at - writer->prefix);
}

bool checkpoint_valid(const struct checkpoint *checkpoint)
{
	uint8_t empty_root[32];
	(void)crypto_hash_sha256(empty_root, NULL, 0);
	return checkpoint->size != 0 || memcmp(checkpoint->root, empty_root, sizeof empty_root) == 0;
}

bool mark_fits(const struct mark *mark)
{
	/* 512: more than all but the names ever takes */
	return mark->topic.length + mark->client_id.length + mark->principal.length + 512 <= MARK_MAX_OBJECT;
}

uint8_t *mark_put_clock(uint8_t *out, const struct clock_stamp *stamp)
{
	out = cbor_put_head(out, CBOR_ARRAY, stamp->state == CLOCK_BOUNDED ? 2 : 1);
	out = cbor_put_head(out, CBOR_UINT, (uint64_t)stamp->state);
	return stamp->state == CLOCK_BOUNDED ? cbor_put_head(out, CBOR_UINT, (uint64_t)stamp->bound) : out;
}

static void commit(const uint8_t salt[16], struct span payload, uint8_t commitment[32])
{
	crypto_hash_sha256_state state;
	(void)crypto_hash_sha256_init(&state);
	(void)crypto_hash_sha256_update(&state, (const uint8_t *)domain_payload, sizeof domain_payload - 1);
	(void)crypto_hash_sha256_update(&state, salt, 16);
	(void)crypto_hash_sha256_update(&state, payload.data, payload.length);
	(void)crypto_hash_sha256_final(&state, commitment);
}

static uint8_t *put_text(uint8_t *out, uint64_t key, struct span text)
{
	return cbor_put_text(cbor_put_head(out, CBOR_UINT, key), (const char *)text.data, text.length);
}

static uint8_t *put_number(uint8_t *out, uint64_t key, uint64_t value)
{
	return cbor_put_head(cbor_put_head(out, CBOR_UINT, key), CBOR_UINT, value);
}

static uint8_t *put_hash(uint8_t *out, uint64_t key, const uint8_t hash[32])
{
	return cbor_put_bytes(cbor_put_head(out, CBOR_UINT, key), hash, 32);
}

static uint8_t *put_payload(uint8_t *out, const struct mark *mark, const uint8_t salt[16])
{
	uint8_t commitment[32];
	commit(salt, mark->payload, commitment);
	out = cbor_put_head(out, CBOR_MAP, 13u + (mark->repeat_of != 0) + (mark->before != NULL));
	out = put_number(out, 1, 1);
	out = put_number(out, 2, mark->sequence);
	out = put_number(out, 3, (uint64_t)mark->stamp.time);
	out = mark_put_clock(cbor_put_head(out, CBOR_UINT, 4), &mark->stamp);
	out = put_text(out, 5, mark->topic);
	out = put_text(out, 6, mark->client_id);
	out = put_text(out, 7, mark->principal);
	out = put_number(out, 8, mark->qos);
	out = cbor_put_head(cbor_put_head(out, CBOR_UINT, 9), CBOR_SIMPLE, mark->retain ? CBOR_TRUE : CBOR_FALSE);
	out = put_hash(out, 10, commitment);
	out = put_number(out, 11, mark->count);
	out = put_hash(out, 12, mark->previous);
	out = cbor_put_head(cbor_put_head(out, CBOR_UINT, 13), CBOR_ARRAY, 2);
	out = cbor_put_head(out, CBOR_UINT, mark->checkpoint.size);
	out = cbor_put_bytes(out, mark->checkpoint.root, 32);
	if (mark->repeat_of)
		out = put_number(out, 14, mark->repeat_of);
	return mark->before ? put_hash(out, 15, mark->before) : out;
}

void mark_write(struct mark_writer *writer, const struct mark *mark)
{
	uint8_t salt[16], signature[2 + crypto_sign_BYTES], head[CBOR_MAX_HEAD];
	secret_salt(writer->secret, mark->sequence, salt);
	uint8_t *payload = writer->signed_bytes + PAYLOAD_AT;
	size_t length = (size_t)(put_payload(payload, mark, salt) - payload);
	size_t head_length = (size_t)(cbor_put_head(head, CBOR_BYTES, length) - head);
	uint8_t *body = payload - head_length; /* the payload as a CBOR byte string */
	memcpy(body, head, head_length);
	uint8_t *start = body - writer->prefix_length;
	memcpy(start, writer->prefix, writer->prefix_length);
	(void)cbor_put_head(signature, CBOR_BYTES, crypto_sign_BYTES);
	(void)crypto_sign_detached(signature + 2, NULL, start, (unsigned long long)(payload + length - start), writer->secret->signing_key);

	uint8_t *at = cbor_put_head(writer->object, CBOR_TAG, 18);
	*at++ = array_of_4;
	memcpy(at, writer->protected_header, writer->protected_length);
	at = cbor_put_head(at + writer->protected_length, CBOR_MAP, 1);
	at = cbor_put_head(at, CBOR_NINT, 65536); /* -65537, salt */
	at = cbor_put_bytes(at, salt, sizeof salt);
	memcpy(at, body, head_length + length);
	at += head_length + length;
	memcpy(at, signature, sizeof signature);
	writer->length = (size_t)(at + sizeof signature - writer->object);

	struct span parts[] = {
		{&array_of_4, 1},
		{writer->protected_header, writer->protected_length},
		{&empty_map, 1},
		{body, head_length + length},
		{signature, sizeof signature},
	};
	object_hash("sigillo/v1/mark\n", parts, sizeof parts / sizeof *parts, writer->hash);
}
