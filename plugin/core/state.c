/* STATE: spec/handshake.md. Reads what the plugin acts on and checks that the rest is well-formed; the launcher compares
 * the finished statement with what it sent. */
#include "state.h"

#include "cbor.h"
#include "filter.h"
#include <string.h>

#define OPEN_AROUND_VALUES 2 /* STATE's array, and a map */
#define BRIDGE_PRINCIPALS 20
#define RUN_TIME_KEYS 9 /* 1…8 */

static const char *get_previous(struct span value, struct state *state)
{
	struct cbor_reader reader = cbor_reader(value);
	if (cbor_get_null(&reader))
		return state->epoch == 1 ? NULL : "previous epoch: null, and this is not the first";
	if (state->epoch == 1)
		return "previous epoch: there is none before the first";
	if (cbor_get_head(&reader, CBOR_ARRAY) != 4)
		return "previous epoch";
	uint64_t ending = cbor_get_head(&reader, CBOR_UINT);
	struct span id = cbor_get_string(&reader, CBOR_BYTES);
	(void)cbor_get_head(&reader, CBOR_UINT);
	uint64_t time = cbor_get_head(&reader, CBOR_UINT);
	if (!cbor_done(&reader) || ending < 1 || ending > 3 || id.length != 32 || time > INT64_MAX)
		return "previous epoch";
	state->floor = (int64_t)time;
	return NULL;
}

static const char *get_log(struct span value, struct state *state)
{
	struct cbor_reader reader = cbor_reader(value);
	if (cbor_get_head(&reader, CBOR_ARRAY) != 4)
		return "log";
	(void)cbor_get_string(&reader, CBOR_TEXT);
	struct span key_id = cbor_get_string(&reader, CBOR_BYTES);
	state->checkpoint.size = cbor_get_head(&reader, CBOR_UINT);
	struct span root = cbor_get_string(&reader, CBOR_BYTES);
	if (!cbor_done(&reader) || key_id.length != 32 || root.length != sizeof state->checkpoint.root)
		return "log";
	memcpy(state->checkpoint.root, root.data, root.length);
	return checkpoint_valid(&state->checkpoint) ? NULL : "log: size 0 with a root";
}

static const char *get_rules(struct span value, struct state *state)
{
	struct cbor_reader reader = cbor_reader(value);
	uint64_t count = cbor_get_head(&reader, CBOR_ARRAY);
	if (count == 0 || count > STATE_MAX_FILTERS)
		return "filters: there must be 1 to 64";
	for (uint64_t i = 0; i < count; i++) {
		uint64_t length = cbor_get_head(&reader, CBOR_ARRAY);
		struct span filter = cbor_get_string(&reader, CBOR_TEXT);
		uint64_t mode = cbor_get_head(&reader, CBOR_UINT);
		uint64_t carrier = cbor_get_head(&reader, CBOR_UINT);
		if (reader.failed || length != 3 || !filter_valid((const char *)filter.data, filter.length))
			return "filters";
		if (mode != 0)
			return "mode: this plugin has only \"each\"";
		if (carrier > CARRIER_TOPIC)
			return "carrier: must be property, datagram or topic";
		state->rules[i] = (struct rule){filter, (enum carrier)carrier};
	}
	state->rule_count = (size_t)count;
	return cbor_done(&reader) ? NULL : "filters";
}

static const char *get_bridges(struct span value, struct state *state)
{
	struct cbor_reader reader = cbor_reader(value);
	if (!value.length)
		return NULL;
	uint64_t count = cbor_get_head(&reader, CBOR_ARRAY);
	if (count == 0 || count > STATE_MAX_BRIDGES)
		return "bridge principals: there must be 1 to 64";
	for (uint64_t i = 0; i < count; i++) {
		state->bridges[i] = cbor_get_string(&reader, CBOR_TEXT);
		if (!state->bridges[i].length) /* it would be every client without a name */
			return "bridge principals";
	}
	state->bridge_count = (size_t)count;
	return cbor_done(&reader) ? NULL : "bridge principals";
}

static uint64_t get_number(struct span value, uint64_t most, bool *wrong)
{
	struct cbor_reader reader = cbor_reader(value);
	uint64_t number = cbor_get_head(&reader, CBOR_UINT);
	if (!cbor_done(&reader) || number > most)
		*wrong = true;
	return number;
}

/* The values of a map with ascending keys below `limit`, by key. */
static bool get_map(struct cbor_reader *reader, struct span *values, uint64_t limit)
{
	uint64_t count = cbor_get_head(reader, CBOR_MAP), before = 0;
	for (uint64_t i = 0; i < count && !reader->failed; i++) {
		uint64_t key = cbor_get_head(reader, CBOR_UINT);
		if (key <= before || key >= limit)
			return false;
		values[key] = cbor_get_item(reader, OPEN_AROUND_VALUES);
		before = key;
	}
	return !reader->failed;
}

static const char *get_fields(struct state *state)
{
	for (int key = 1; key <= 19; key++) {
		bool own = key >= 4 && key <= 6; /* the plugin's to add */
		if (own != (state->values[key].length == 0))
			return own ? "fields: a key that is the plugin's" : "fields: a key is missing";
	}
	bool wrong = false;
	uint64_t version = get_number(state->values[1], 1, &wrong);
	state->epoch = (uint32_t)get_number(state->values[2], UINT32_MAX, &wrong);
	state->refuse_unsynchronised = get_number(state->values[9], 1, &wrong) == 0;
	state->strict = get_number(state->values[10], 1, &wrong) == 1;
	if (wrong || version != 1 || state->epoch == 0)
		return "fields: version, epoch number, on bad clock or durability";
	const char *error = get_previous(state->values[3], state);
	error = error ? error : get_log(state->values[12], state);
	error = error ? error : get_bridges(state->values[BRIDGE_PRINCIPALS], state);
	return error ? error : get_rules(state->values[14], state);
}

static bool get_flag(struct span value, bool *wrong)
{
	struct cbor_reader reader = cbor_reader(value);
	bool flag = cbor_get_bool(&reader);
	if (!cbor_done(&reader))
		*wrong = true;
	return flag;
}

static bool has_carrier(const struct state *state, enum carrier carrier)
{
	for (size_t i = 0; i < state->rule_count; i++)
		if (state->rules[i].carrier == carrier)
			return true;
	return false;
}

static const char *get_run_time(struct span values[RUN_TIME_KEYS], struct state *state)
{
	bool wrong = false;
	struct cbor_reader folder = cbor_reader(values[1]);
	state->spool_folder = cbor_get_string(&folder, CBOR_TEXT);
	state->segment_size = (size_t)get_number(values[2], UINT64_C(1) << 30, &wrong);
	state->principal_limit = (size_t)get_number(values[3], UINT64_C(1) << 20, &wrong);
	state->bound_meaningful = get_flag(values[4], &wrong);
	state->raw_tokens = get_flag(values[5], &wrong);
	state->most_a_second = get_number(values[6], 1000000, &wrong);
	state->largest = get_number(values[7], 268435455, &wrong);
	state->access_list = get_flag(values[8], &wrong);
	if (wrong || !cbor_done(&folder))
		return "run time";
	if (state->raw_tokens && !has_carrier(state, CARRIER_DATAGRAM))
		return "raw tokens: no filter has the carrier \"datagram\"";
	struct span path = state->spool_folder;
	if (path.length == 0 || path.length > 4096 || path.data[0] != '/' || memchr(path.data, 0, path.length))
		return "spool folder: must be an absolute path of at most 4,096 bytes";
	if (state->segment_size < 65536 || state->segment_size % 4096)
		return "segment size: must be a multiple of 4,096 from 65,536 to 2^30";
	return state->principal_limit ? NULL : "principals: there must be room for one";
}

const char *state_decode(struct span body, struct state *state)
{
	struct cbor_reader reader = cbor_reader(body);
	struct span run_time[RUN_TIME_KEYS] = {{NULL, 0}};
	memset(state, 0, sizeof *state);
	if (cbor_get_head(&reader, CBOR_ARRAY) != 2 || !get_map(&reader, state->values, STATE_KEYS) ||
	    !get_map(&reader, run_time, RUN_TIME_KEYS) || !cbor_done(&reader))
		return "not an array of two maps in deterministic CBOR";
	const char *error = get_fields(state);
	return error ? error : get_run_time(run_time, state);
}
