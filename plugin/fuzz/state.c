/* core/state.c and epoch.c: what STATE the reader takes, a statement can be made of. */
#include "core/cbor.h"
#include "core/epoch.h"
#include "core/filter.h"
#include "core/state.h"
#include "fuzz.h"

static struct secret *secret_of(bool token)
{
	static struct secret *secrets[2];
	static const uint8_t seed[32] = {1};
	if (!secrets[token]) {
		REQUIRE(sodium_init() >= 0 && (secrets[token] = secret_new()));
		secret_fill(secrets[token], seed, seed);
		if (token)
			secret_fill_token(secrets[token], seed);
	}
	return secrets[token];
}

static bool within(struct span part, struct span whole)
{
	return part.data >= whole.data && part.data + part.length <= whole.data + whole.length;
}

static void check_taken(const struct state *state, struct span body)
{
	REQUIRE(state->epoch && state->principal_limit && state->principal_limit <= 1 << 20 && state->floor >= 0);
	REQUIRE(state->segment_size >= 65536 && state->segment_size <= 1 << 30 && state->segment_size % 4096 == 0);
	REQUIRE(state->spool_folder.length && within(state->spool_folder, body) && *state->spool_folder.data == '/');
	REQUIRE(state->rule_count >= 1 && state->rule_count <= STATE_MAX_FILTERS && state->bridge_count <= STATE_MAX_BRIDGES);
	bool inside = false;
	for (size_t i = 0; i < state->rule_count; i++) {
		struct span filter = state->rules[i].filter;
		REQUIRE(within(filter, body) && filter_valid((const char *)filter.data, filter.length));
		inside = inside || state->rules[i].carrier == CARRIER_DATAGRAM;
	}
	for (size_t i = 0; i < state->bridge_count; i++)
		REQUIRE(state->bridges[i].length && within(state->bridges[i], body));
	REQUIRE(!state->raw_tokens || inside);
	REQUIRE(state->most_a_second <= 1000000 && state->largest <= 268435455);
}

/* The statement has the launcher's values byte for byte, and the plugin's own. */
static void check_statement(const struct state *state)
{
	static uint8_t out[EPOCH_ROOM];
	uint8_t id[32];
	size_t length = epoch_write_statement(state, secret_of(state->raw_tokens), 1, out, id);
	if (length == 0)
		return; /* too long for a packet */
	struct cbor_reader object = cbor_reader((struct span){out, length});
	REQUIRE(cbor_get_head(&object, CBOR_TAG) == 18 && cbor_get_head(&object, CBOR_ARRAY) == 4);
	(void)cbor_get_string(&object, CBOR_BYTES);
	REQUIRE(cbor_get_head(&object, CBOR_MAP) == 0);
	struct cbor_reader payload = cbor_reader(cbor_get_string(&object, CBOR_BYTES));
	REQUIRE(cbor_get_string(&object, CBOR_BYTES).length == 64 && cbor_done(&object));
	uint64_t pairs = cbor_get_head(&payload, CBOR_MAP), before = 0;
	for (uint64_t i = 0; i < pairs; i++) {
		uint64_t key = cbor_get_head(&payload, CBOR_UINT);
		struct span value = cbor_get_item(&payload, 0);
		REQUIRE(key > before && key < STATE_KEYS && value.length);
		REQUIRE((key >= 4 && key <= 6) || same_bytes(value, state->values[key]));
		before = key;
	}
	REQUIRE(cbor_done(&payload));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct state state;
	struct span body = {data, size};
	if (state_decode(body, &state) != NULL)
		return 0;
	check_taken(&state, body);
	check_statement(&state);
	return 0;
}
