/* The shared vectors: what this plugin writes is, byte for byte, what spec/ says. */
#include "core/epoch.h"
#include "core/mark.h"
#include "core/spool.h"
#include "core/state.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool same(struct bytes expected, const void *data, size_t length)
{
	return expected.length == length && memcmp(expected.data, data, length) == 0;
}

static bool value_is(const struct vector *vector, const char *name, const void *data, size_t length)
{
	struct bytes expected = vector_bytes(vector, name);
	bool good = same(expected, data, length);
	free(expected.data);
	return good;
}

static void copy_32(const struct vector *vector, const char *name, uint8_t out[32])
{
	struct bytes bytes = vector_bytes(vector, name);
	if (CHECK(bytes.length == 32))
		memcpy(out, bytes.data, 32);
	free(bytes.data);
}

static struct secret *secret_of(const struct vector *vector)
{
	uint8_t seed[32] = {0}, salt_key[32] = {0};
	struct secret *secret = secret_new();
	copy_32(vector, "seed", seed);
	if (vector_text(vector, "salt_key"))
		copy_32(vector, "salt_key", salt_key);
	if (!secret)
		abort();
	secret_fill(secret, seed, salt_key);
	if (vector_text(vector, "token_seed")) {
		copy_32(vector, "token_seed", seed);
		secret_fill_token(secret, seed);
	}
	return secret;
}

static struct clock_stamp stamp_of(const struct vector *vector)
{
	const char *clock = vector_text(vector, "clock");
	struct clock_stamp stamp = {.time = (int64_t)vector_number(vector, "time")};
	if (clock && strcmp(clock, "unsynchronised") == 0)
		stamp.state = CLOCK_UNSYNCHRONISED;
	else if (clock && strcmp(clock, "synchronised") == 0)
		stamp.state = CLOCK_BOUND_UNKNOWN;
	else
		stamp.state = CLOCK_BOUNDED, stamp.bound = (int64_t)vector_number(vector, "clock");
	return stamp;
}

static struct span text_of(const struct vector *vector, const char *name)
{
	const char *text = vector_text(vector, name);
	return (struct span){(const uint8_t *)(text ? text : ""), text ? strlen(text) : 0};
}

static void mark_vector(const struct vector *vector)
{
	struct mark mark = {
		.sequence = vector_number(vector, "sequence"),
		.stamp = stamp_of(vector),
		.topic = text_of(vector, "topic"),
		.client_id = text_of(vector, "client_id"),
		.principal = text_of(vector, "principal"),
		.qos = (uint8_t)vector_number(vector, "qos"),
		.retain = strcmp(vector_text(vector, "retain"), "true") == 0,
		.count = vector_number(vector, "count"),
		.checkpoint.size = vector_number(vector, "checkpoint_size"),
		.repeat_of = vector_text(vector, "repeat_of") ? vector_number(vector, "repeat_of") : 0,
	};
	if (!mark_fits(&mark)) {
		unit_skip(vector->name, "does not fit a property: refused");
		return;
	}
	uint8_t epoch_id[32], previous[32], before[32];
	struct bytes payload = vector_bytes(vector, "payload");
	struct secret *secret = secret_of(vector);
	struct mark_writer *writer = malloc(sizeof *writer);
	copy_32(vector, "epoch_id", epoch_id);
	copy_32(vector, "previous", previous);
	copy_32(vector, "checkpoint_root", mark.checkpoint.root);
	mark.previous = previous;
	if (vector_text(vector, "before")) {
		copy_32(vector, "before", before);
		mark.before = before;
	}
	mark.payload = span_of(payload);
	mark_writer_init(writer, secret, epoch_id);
	for (int again = 0; again < 2; again++) { /* a writer keeps nothing of the mark before */
		mark_write(writer, &mark);
		CHECK(value_is(vector, "object", writer->object, writer->length));
		CHECK(value_is(vector, "object_hash", writer->hash, sizeof writer->hash));
	}
	free(writer);
	free(payload.data);
	secret_free(secret);
}

static void marks(void)
{
	each_vector("mark/accept", mark_vector);
}

static void longest_mark_fits_a_property(void)
{
	static char name[MARK_MAX_OBJECT];
	static const uint8_t id[32] = {1}, seed[32] = {0};
	struct mark mark = {
		.sequence = UINT64_MAX,
		.stamp = {INT64_MAX, CLOCK_BOUNDED, INT64_MAX},
		.qos = 2,
		.count = UINT64_MAX,
		.previous = id,
		.repeat_of = UINT64_MAX - 1,
		.before = id,
	};
	struct mark_writer *writer = malloc(sizeof *writer);
	struct secret *secret = secret_new();
	memset(name, 'a', sizeof name);
	memset(&mark.checkpoint, 0xff, sizeof mark.checkpoint);
	secret_fill(secret, seed, seed);
	mark_writer_init(writer, secret, id);
	size_t third = (MARK_MAX_OBJECT - 512) / 3;
	mark.topic = mark.client_id = mark.principal = (struct span){(const uint8_t *)name, third};
	CHECK(mark_fits(&mark));
	mark_write(writer, &mark);
	CHECK(writer->length <= MARK_MAX_OBJECT && writer->length > MARK_MAX_OBJECT - 512);
	mark.topic.length = 65535;
	CHECK(!mark_fits(&mark));
	secret_free(secret);
	free(writer);
}

/* STATE's body: the fields, and run time settings that are good. */
static struct bytes state_of(struct bytes fields)
{
	static const uint8_t run_time[] = {0xa8, 1, 0x62, '/', 's', 2, 0x1a, 0, 1, 0, 0, 3, 10, 4, 0xf4, 5, 0xf4, 6, 0, 7, 0, 8, 0xf4};
	struct bytes body = {malloc(1 + fields.length + sizeof run_time), 1 + fields.length + sizeof run_time};
	body.data[0] = 0x82;
	memcpy(body.data + 1, fields.data, fields.length);
	memcpy(body.data + 1 + fields.length, run_time, sizeof run_time);
	return body;
}

static void statement_vector(const struct vector *vector)
{
	static uint8_t statement[EPOCH_ROOM];
	uint8_t id[32];
	struct state state;
	struct bytes fields = vector_bytes(vector, "fields"), body = state_of(fields);
	struct secret *secret = secret_of(vector);
	const char *error = state_decode(span_of(body), &state);
	if (strcmp(vector->name, "all-fields.txt") == 0) {
		CHECK(error != NULL);
		unit_skip(vector->name, "this plugin has one mode: refused");
	} else if (CHECK(error == NULL)) {
		size_t length = epoch_write_statement(&state, secret, (int64_t)vector_number(vector, "start"), statement, id);
		CHECK(value_is(vector, "object", statement, length));
		CHECK(value_is(vector, "object_hash", id, sizeof id));
		CHECK(value_is(vector, "epoch_key", secret->public_key, sizeof secret->public_key));
		CHECK(secret_has_token(secret) == (vector_text(vector, "token_key") != NULL));
		if (secret_has_token(secret))
			CHECK(value_is(vector, "token_key", secret_token_public(secret), crypto_sign_PUBLICKEYBYTES));
	}
	secret_free(secret);
	free(body.data);
	free(fields.data);
}

static void statements(void)
{
	each_vector("epoch-statement/accept", statement_vector);
}

static void end_vector(const struct vector *vector)
{
	uint8_t object[512], id[32], last[32], hash[32];
	struct clock_stamp stamp = stamp_of(vector);
	struct secret *secret = secret_of(vector);
	copy_32(vector, "epoch_id", id);
	copy_32(vector, "last", last);
	enum end_reason reason = (enum end_reason)vector_number(vector, "reason");
	size_t length = epoch_write_end(secret, id, vector_number(vector, "last_sequence"), &stamp, reason, last, object);
	CHECK(value_is(vector, "object", object, length));
	struct span untagged = {object + 1, length - 1};
	object_hash("sigillo/v1/epoch-end\n", &untagged, 1, hash);
	CHECK(value_is(vector, "object_hash", hash, sizeof hash));
	secret_free(secret);
}

static void ends(void)
{
	each_vector("epoch-end/accept", end_vector);
}

static void append_records(struct spool *spool, const struct vector *vector)
{
	uint64_t count = vector_number(vector, "records");
	for (uint64_t i = 1; i <= count; i++) {
		char kind[16], sequence[24], object[24];
		(void)snprintf(kind, sizeof kind, "kind_%d", (int)i);
		(void)snprintf(sequence, sizeof sequence, "sequence_%d", (int)i);
		(void)snprintf(object, sizeof object, "object_%d", (int)i);
		struct bytes bytes = vector_bytes(vector, object);
		CHECK(spool_append(spool, (uint8_t)vector_number(vector, kind), vector_number(vector, sequence), bytes.data, bytes.length));
		free(bytes.data);
	}
}

/* What a crash in the middle of a record leaves: everything but its length, or a part of it. */
static void leave_half_record(struct spool *spool, struct bytes segment)
{
	uint8_t *record = spool->current.map + spool->used;
	memcpy(record + 4, segment.data + spool->used + 4, segment.length - spool->used - 4);
}

static void spool_vector(const struct vector *vector)
{
	char root[64], path[256];
	struct spool spool;
	struct bytes segment = vector_bytes(vector, "segment");
	uint32_t epoch = (uint32_t)(get_u64(segment.data + 16) >> 32), number = (uint32_t)get_u64(segment.data + 16);
	size_t size = (size_t)get_u64(segment.data + 56);
	bool continues = strcmp(vector_text(vector, "ending"), "continues") == 0;
	static uint8_t longest[65536];
	folder_make(root);
	CHECK(spool_open(&spool, root, size, epoch, segment.data + 24, false));
	for (uint32_t i = 0; i < number; i++) /* a record fills each segment before */
		CHECK(spool_append(&spool, SPOOL_MARK, 1, longest, size - 64 - 24) && spool_prepare(&spool));
	append_records(&spool, vector);
	if (continues) /* the next record does not fit */
		CHECK(spool_prepare(&spool) && spool_append(&spool, SPOOL_MARK, 99, longest, size - 64 - 24));
	if (strcmp(vector->name, "half-written.txt") == 0)
		leave_half_record(&spool, segment);
	if (segment.length < size)
		spool_close(&spool);
	(void)snprintf(path, sizeof path, "%s/%010u/%06u.spool", root, epoch, number);
	struct bytes written = file_read(path);
	CHECK(same(segment, written.data, written.length));
	spool_close(&spool);
	folder_remove(root);
	free(written.data);
	free(segment.data);
}

static void spools(void)
{
	each_vector("spool/accept", spool_vector);
}

static const char *decode_packet(struct bytes packet, struct state *state)
{
	struct bytes body = {malloc(packet.length), packet.length - 1}; /* without the type */
	memcpy(body.data, packet.data + 1, body.length);
	const char *error = state_decode(span_of(body), state);
	free(body.data);
	return error;
}

static bool flag_is(const struct vector *vector, const char *name, bool flag)
{
	const char *text = vector_text(vector, name);
	return text && strcmp(text, flag ? "true" : "false") == 0;
}

static void state_vector(const struct vector *vector)
{
	struct state state;
	struct bytes packet = vector_bytes(vector, "packet");
	bool is_state = packet.length && packet.data[0] == 1;
	if (is_state && CHECK(decode_packet(packet, &state) == NULL)) {
		CHECK(state.segment_size == vector_number(vector, "segment_size"));
		CHECK(state.principal_limit == vector_number(vector, "max_principals"));
		CHECK(flag_is(vector, "clock_bound_meaningful", state.bound_meaningful));
		CHECK(flag_is(vector, "raw_tokens", state.raw_tokens));
		CHECK(state.most_a_second == vector_number(vector, "max_rate"));
		CHECK(state.largest == vector_number(vector, "max_payload"));
		CHECK(flag_is(vector, "access_list", state.access_list));
	}
	free(packet.data);
}

static void state_rejected(const struct vector *vector)
{
	struct state state;
	struct bytes packet = vector_bytes(vector, "packet");
	if (packet.length && packet.data[0] == 1)
		CHECK(decode_packet(packet, &state) != NULL);
	free(packet.data);
}

static void handshakes(void)
{
	each_vector("handshake/accept", state_vector);
	each_vector("handshake/reject", state_rejected);
}

void vector_tests(void)
{
	RUN(marks);
	RUN(longest_mark_fits_a_property);
	RUN(statements);
	RUN(ends);
	RUN(spools);
	RUN(handshakes);
}
