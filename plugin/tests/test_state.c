/* STATE (spec/handshake.md): one good packet, what is wrong with others, and many thousand damaged ones. */
#include "core/cbor.h"
#include "core/epoch.h"
#include "core/state.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define H32 "5820202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
#define EMPTY_ROOT "5820e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define PREVIOUS "840258200101010101010101010101010101010101010101010101010101010101010101091b187afca76f25cd15"

/* A good STATE as hex values by key; NULL: absent. A test changes what it is about. */
struct draft {
	const char *head, *fields[24], *run_time[12], *tail;
	int extra_fields; /* what the map's head says beyond the pairs there are */
};

static struct draft good_draft(void)
{
	return (struct draft){
		.head = "82",
		.fields = {
			[1] = "01", [2] = "08", [3] = PREVIOUS, [7] = "82646e6f6e65f4", [8] = "00", [9] = "01", [10] = "00",
			[11] = "624f70", [12] = "8463782f79" H32 "00" EMPTY_ROOT, [13] = "84" H32 H32 H32 "f6", [14] = "82836161000083632b2f230000",
			[15] = "00", [16] = "816477696c6c", [17] = "80", [18] = "f6", [19] = "f4",
		},
		.run_time = {
			[1] = "622f73", [2] = "1a00010000", [3] = "0a", [4] = "f5", [5] = "f4", [6] = "00", [7] = "00", [8] = "f4",
		},
		.tail = "",
	};
}

static void put_map(char *hex, const char *const *values, int keys, int extra)
{
	int count = extra;
	for (int key = 0; key < keys; key++)
		count += values[key] != NULL;
	hex += strlen(hex);
	hex += sprintf(hex, "%02x", 0xa0 | count);
	for (int key = 0; key < keys; key++)
		if (values[key])
			hex += sprintf(hex, "%02x%s", key, values[key]);
}

static struct bytes built(const struct draft *draft)
{
	static char hex[65536];
	(void)strcpy(hex, draft->head);
	put_map(hex, draft->fields, 24, draft->extra_fields);
	put_map(hex, draft->run_time, 12, 0);
	(void)strcat(hex, draft->tail);
	return from_hex(hex);
}

static const char *decode(const struct draft *draft, struct state *state)
{
	struct bytes body = built(draft);
	const char *error = state_decode(span_of(body), state);
	free(body.data);
	return error;
}

static void good_state_is_read(void)
{
	struct state state;
	struct draft draft = good_draft();
	struct bytes body = built(&draft);
	CHECK(state_decode(span_of(body), &state) == NULL);
	CHECK(state.epoch == 8 && state.floor == INT64_C(1764000000123456789) && !state.refuse_unsynchronised);
	CHECK(state.checkpoint.size == 0 && state.checkpoint.root[0] == 0xe3 && state.rule_count == 2);
	CHECK(state.rules[1].filter.length == 3 && memcmp(state.rules[1].filter.data, "+/#", 3) == 0);
	CHECK(state.rules[1].carrier == CARRIER_PROPERTY && state.bridge_count == 0);
	CHECK(state.spool_folder.length == 2 && memcmp(state.spool_folder.data, "/s", 2) == 0);
	CHECK(state.segment_size == 65536 && state.principal_limit == 10 && state.bound_meaningful);
	CHECK(!state.raw_tokens && !state.access_list && state.most_a_second == 0 && state.largest == 0);
	free(body.data);
	draft.fields[18] = "818181818181818181818181818100"; /* 16 deep */
	CHECK(decode(&draft, &state) == NULL);
	draft.fields[18] = "f6";
	CHECK(!state.strict);
	draft.fields[10] = "01";
	CHECK(decode(&draft, &state) == NULL && state.strict);
	draft.fields[2] = "01", draft.fields[3] = "f6", draft.fields[9] = "00", draft.run_time[4] = "f4";
	draft.fields[12] = "8463782f79" H32 "05" H32;
	CHECK(decode(&draft, &state) == NULL && state.floor == 0 && state.refuse_unsynchronised && !state.bound_meaningful);
	CHECK(state.checkpoint.size == 5);
}

static void carriers_bridges_and_limits_are_read(void)
{
	struct state state;
	struct draft draft = good_draft();
	draft.fields[14] = "83836161000183616200028361630000";
	draft.fields[20] = "8261626163";
	draft.run_time[5] = "f5", draft.run_time[6] = "1a000f4240", draft.run_time[7] = "1a0fffffff", draft.run_time[8] = "f5";
	struct bytes body = built(&draft);
	CHECK(state_decode(span_of(body), &state) == NULL);
	CHECK(state.rule_count == 3 && state.rules[0].carrier == CARRIER_DATAGRAM);
	CHECK(state.rules[1].carrier == CARRIER_TOPIC && state.rules[2].carrier == CARRIER_PROPERTY);
	CHECK(state.bridge_count == 2 && state.bridges[1].length == 1 && *state.bridges[1].data == 'c');
	CHECK(state.raw_tokens && state.access_list && state.most_a_second == 1000000 && state.largest == 268435455);
	free(body.data);
}

struct refusal {
	const char *what;
	int map, key; /* 0 fields, 1 run time */
	const char *value; /* hex; NULL: without it */
};

static const struct refusal refusals[] = {
	{"no version", 0, 1, NULL},
	{"no number", 0, 2, NULL},
	{"no previous", 0, 3, NULL},
	{"no clock source", 0, 7, NULL},
	{"no clock correction", 0, 8, NULL},
	{"no on bad clock", 0, 9, NULL},
	{"no durability", 0, 10, NULL},
	{"no operator", 0, 11, NULL},
	{"no log", 0, 12, NULL},
	{"no hashes", 0, 13, NULL},
	{"no filters", 0, 14, NULL},
	{"no principal source", 0, 15, NULL},
	{"no unmarked paths", 0, 16, NULL},
	{"no TLS keys", 0, 17, NULL},
	{"no attester", 0, 18, NULL},
	{"no separated", 0, 19, NULL},
	{"key 0", 0, 0, "00"},
	{"the plugin's key 4", 0, 4, H32},
	{"the plugin's key 5", 0, 5, H32},
	{"the plugin's key 6", 0, 6, "00"},
	{"unknown key 21", 0, 21, "00"},
	{"version 0", 0, 1, "00"},
	{"version 2", 0, 1, "02"},
	{"number 0", 0, 2, "00"},
	{"number 2^32", 0, 2, "1b0000000100000000"},
	{"number not minimal", 0, 2, "1808"},
	{"number negative", 0, 2, "20"},
	{"number as text", 0, 2, "6138"},
	{"number as float", 0, 2, "f94800"},
	{"number tagged", 0, 2, "c208"},
	{"null previous of a later epoch", 0, 3, "f6"},
	{"previous of three", 0, 3, "8302" H32 "09"},
	{"previous of five", 0, 3, "8502" H32 "090900"},
	{"previous, ending 0", 0, 3, "8400" H32 "0909"},
	{"previous, ending 4", 0, 3, "8404" H32 "0909"},
	{"previous, id of 31 bytes", 0, 3, "8402581f01010101010101010101010101010101010101010101010101010101010101010909"},
	{"previous, time above 2^63", 0, 3, "8402" H32 "091b8000000000000000"},
	{"previous a map", 0, 3, "a0"},
	{"previous false", 0, 3, "f4"},
	{"on bad clock 2", 0, 9, "02"},
	{"on bad clock a bool", 0, 9, "f5"},
	{"durability 2", 0, 10, "02"},
	{"operator not UTF-8", 0, 11, "62ffff"},
	{"operator indefinite", 0, 11, "7f624f70ff"},
	{"log of three", 0, 12, "8363782f79" H32 "00"},
	{"log origin as bytes", 0, 12, "8443782f79" H32 "00" EMPTY_ROOT},
	{"log, key id of 1 byte", 0, 12, "8463782f79410000" EMPTY_ROOT},
	{"log, root of 1 byte", 0, 12, "8463782f79" H32 "004100"},
	{"log, size negative", 0, 12, "8463782f79" H32 "20" EMPTY_ROOT},
	{"log, size 0 with another root", 0, 12, "8463782f79" H32 "00" H32},
	{"log null", 0, 12, "f6"},
	{"hashes hold a map", 0, 13, "81a0"},
	{"no filter at all", 0, 14, "80"},
	{"filter of two", 0, 14, "8182616100"},
	{"filter of four", 0, 14, "81846161000000"},
	{"filter empty", 0, 14, "8183600000"},
	{"filter a#", 0, 14, "81836261230000"},
	{"filter as bytes", 0, 14, "818341610000"},
	{"filter with U+0000", 0, 14, "818361000000"},
	{"filter not UTF-8", 0, 14, "818361ff0000"},
	{"mode batch", 0, 14, "818361610100"},
	{"mode batch, second filter", 0, 14, "828361610000836162" "0100"},
	{"mode 2", 0, 14, "818361610200"},
	{"filters indefinite", 0, 14, "9f8361610000ff"},
	{"filters say three, hold two", 0, 14, "8383616100008361620000"},
	{"unmarked paths, one with a long head", 0, 16, "81780477696c6c"},
	{"simple value", 0, 18, "f0"},
	{"undefined", 0, 18, "f7"},
	{"tag 18", 0, 18, "d2f6"},
	{"float", 0, 18, "fb0000000000000000"},
	{"nested 17 deep, STATE's own two included", 0, 18, "81818181818181818181818181818100"},
	{"carrier 3", 0, 14, "818361610003"},
	{"no bridge principals", 0, 20, "80"},
	{"a bridge principal without a name", 0, 20, "82616260"},
	{"a bridge principal as bytes", 0, 20, "814162"},
	{"a bridge principal not UTF-8", 0, 20, "8161ff"},
	{"bridge principals a text", 0, 20, "6162"},
	{"bridge principals null", 0, 20, "f6"},
	{"no folder", 1, 1, NULL},
	{"no segment size", 1, 2, NULL},
	{"no limit", 1, 3, NULL},
	{"no bound meaningful", 1, 4, NULL},
	{"no raw tokens", 1, 5, NULL},
	{"no rate", 1, 6, NULL},
	{"no largest payload", 1, 7, NULL},
	{"no access list", 1, 8, NULL},
	{"unknown run time key", 1, 9, "00"},
	{"run time key 0", 1, 0, "00"},
	{"folder relative", 1, 1, "6173"},
	{"folder empty", 1, 1, "60"},
	{"folder as bytes", 1, 1, "422f73"},
	{"folder with U+0000", 1, 1, "632f0073"},
	{"folder not UTF-8", 1, 1, "622fff"},
	{"segment too small", 1, 2, "19f000"},
	{"segment odd", 1, 2, "1a00010001"},
	{"segment too big", 1, 2, "1a40001000"},
	{"segment above 64 bits of size", 1, 2, "1bffffffffffff0000"},
	{"segment not minimal", 1, 2, "1b0000000000010000"},
	{"limit 0", 1, 3, "00"},
	{"limit too big", 1, 3, "1a00100001"},
	{"limit null", 1, 3, "f6"},
	{"bound meaningful 1", 1, 4, "01"},
	{"bound meaningful null", 1, 4, "f6"},
	{"raw tokens, and no filter for them", 1, 5, "f5"},
	{"raw tokens 0", 1, 5, "00"},
	{"rate above 10^6", 1, 6, "1a000f4241"},
	{"rate negative", 1, 6, "20"},
	{"rate a bool", 1, 6, "f4"},
	{"payload larger than a packet", 1, 7, "1a10000000"},
	{"largest payload null", 1, 7, "f6"},
	{"access list 1", 1, 8, "01"},
	{"access list null", 1, 8, "f6"},
};

static void wrong_states_are_refused(void)
{
	struct state state;
	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		struct draft draft = good_draft();
		*(refusals[i].map ? &draft.run_time[refusals[i].key] : &draft.fields[refusals[i].key]) = refusals[i].value;
		if (!CHECK(decode(&draft, &state) != NULL))
			unit_skip(refusals[i].what, "was taken");
	}
}

static void wrong_frames_are_refused(void)
{
	struct state state;
	struct draft draft = good_draft();
	static const char *const heads[] = {"", "81", "83", "9f", "9802", "d282", "a2", "8282"};
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
		draft.head = heads[i];
		CHECK(decode(&draft, &state) != NULL);
	}
	draft = good_draft();
	draft.tail = "00"; /* a byte behind */
	CHECK(decode(&draft, &state) != NULL);
	for (int extra = -1; extra <= 1; extra += 2) { /* the head counts another number of pairs */
		draft = good_draft();
		draft.extra_fields = extra;
		CHECK(decode(&draft, &state) != NULL);
	}
	draft = good_draft();
	draft.fields[19] = "f413f4", draft.extra_fields = 1; /* a key twice */
	CHECK(decode(&draft, &state) != NULL);
	draft.fields[19] = "f402f4"; /* out of order */
	CHECK(decode(&draft, &state) != NULL);
	draft.fields[19] = "f41814f4"; /* key 20 in two bytes */
	CHECK(decode(&draft, &state) != NULL);
	draft.fields[19] = "f46114f4"; /* a text key */
	CHECK(decode(&draft, &state) != NULL);
	draft.fields[19] = "f420f4"; /* a negative key */
	CHECK(decode(&draft, &state) != NULL);
	CHECK(state_decode((struct span){(const uint8_t *)"", 0}, &state) != NULL);
}

static void every_truncation_is_refused(void)
{
	struct state state;
	struct draft draft = good_draft();
	struct bytes whole = built(&draft);
	for (size_t length = 0; length < whole.length; length++) {
		uint8_t *part = malloc(length ? length : 1);
		memcpy(part, whole.data, length);
		CHECK(state_decode((struct span){part, length}, &state) != NULL);
		free(part);
	}
	free(whole.data);
}

static void bridges_have_a_limit(void)
{
	static char hex[2 * 1024];
	struct state state;
	for (int count = STATE_MAX_BRIDGES; count <= STATE_MAX_BRIDGES + 1; count++) {
		struct draft draft = good_draft();
		char *at = hex + sprintf(hex, "98%02x", (unsigned)count);
		for (int i = 0; i < count; i++)
			at += sprintf(at, "6161");
		draft.fields[20] = hex;
		CHECK((decode(&draft, &state) == NULL) == (count == STATE_MAX_BRIDGES));
	}
}

static void filters_have_a_limit(void)
{
	static char hex[2 * 1024];
	struct state state;
	for (int count = STATE_MAX_FILTERS; count <= STATE_MAX_FILTERS + 1; count++) {
		struct draft draft = good_draft();
		char *at = hex + sprintf(hex, "98%02x", (unsigned)count);
		for (int i = 0; i < count; i++)
			at += sprintf(at, "8361610000");
		draft.fields[14] = hex;
		CHECK((decode(&draft, &state) == NULL) == (count == STATE_MAX_FILTERS));
	}
}

/* A statement too long for a packet is not written, one just below is. */
static void long_statements_are_refused(void)
{
	static uint8_t out[EPOCH_ROOM], value[EPOCH_ROOM];
	uint8_t id[32], seed[32] = {0};
	struct state state;
	struct draft draft = good_draft();
	struct bytes body = built(&draft);
	struct secret *secret = secret_new();
	secret_fill(secret, seed, seed);
	CHECK(state_decode(span_of(body), &state) == NULL);
	size_t longest = 0;
	for (size_t length = 1; length < sizeof value; length += 13) {
		state.values[11] = (struct span){value, length};
		size_t written = epoch_write_statement(&state, secret, 1, out, id);
		CHECK(written < EPOCH_ROOM && (written == 0 || (written > length && written > longest)));
		longest = written ? written : longest;
	}
	CHECK(longest > 60000);
	secret_free(secret);
	free(body.data);
}

static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint32_t random_below(size_t limit) /* xorshift: the same on every run */
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)((random_state >> 11) % limit);
}

static size_t damage(uint8_t *data, size_t length)
{
	static const uint8_t heads[] = {0x00, 0x18, 0x1b, 0x3b, 0x58, 0x5b, 0x5f, 0x7b, 0x80, 0x9b, 0x9f, 0xa0, 0xbb, 0xbf, 0xd2, 0xf6, 0xf7, 0xfb, 0xff};
	size_t at = random_below(length), many = 1 + random_below(8);
	switch (random_below(6)) {
	case 0: data[at] ^= (uint8_t)(1 << random_below(8)); return length;
	case 1: data[at] = (uint8_t)random_below(256); return length;
	case 2: data[at] = heads[random_below(sizeof heads)]; return length;
	case 3: return at + 1;
	case 4: /* take some out */
		many = many < length - at ? many : length - at - 1;
		memmove(data + at, data + at + many, length - at - many);
		return length - many;
	default: /* say some twice */
		memmove(data + at + many, data + at, length - at);
		return length + many;
	}
}

static void damage_never_crashes(void)
{
	enum { MUTATIONS = 200000, ROOM = 2048 };
	static uint8_t out[EPOCH_ROOM];
	uint8_t id[32], seed[32] = {0}, work[ROOM];
	int taken = 0;
	struct state *state = malloc(sizeof *state);
	struct draft draft = good_draft();
	struct bytes whole = built(&draft);
	struct secret *secret = secret_new();
	secret_fill(secret, seed, seed);
	for (int i = 0; i < MUTATIONS; i++) {
		size_t length = whole.length;
		memcpy(work, whole.data, length);
		for (uint32_t times = 1 + random_below(3); times; times--)
			length = damage(work, length);
		uint8_t *exact = malloc(length);
		memcpy(exact, work, length);
		if (!state_decode((struct span){exact, length}, state)) {
			taken++;
			CHECK(state->epoch && state->rule_count && state->principal_limit && state->spool_folder.length);
			CHECK(taken > 2000 || epoch_write_statement(state, secret, 1, out, id) > 0);
		}
		free(exact);
	}
	CHECK(taken > 0 && taken < MUTATIONS / 2); /* hashes and names may be anything; the frame may not */
	secret_free(secret);
	free(whole.data);
	free(state);
}

void state_tests(void)
{
	RUN(good_state_is_read);
	RUN(carriers_bridges_and_limits_are_read);
	RUN(wrong_states_are_refused);
	RUN(wrong_frames_are_refused);
	RUN(every_truncation_is_refused);
	RUN(filters_have_a_limit);
	RUN(bridges_have_a_limit);
	RUN(long_statements_are_refused);
	RUN(damage_never_crashes);
}
