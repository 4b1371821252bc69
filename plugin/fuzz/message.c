/* mosquitto.c and property.c: any messages of any clients on every carrier, in any order with clocks, rights and want of
 * memory. Input: a script of events, a byte for what happens and those it needs. */
#include "tests/adapter/broker.h"

#include "core/cbor.h"
#include "core/datagram.h"
#include "fuzz.h"

#include <sodium.h>

#define EVENTS_MOST 8
#define FRESH_EVERY 2000 /* messages: then the spool goes, and the table of principals */

static struct mosquitto clients[] = {{"c", "c", 5}, {"c", "c", 4}, {"b", "bridge-1", 5}, {"", "", 5}, {"d", "d", 3}, {NULL, NULL, 5}};
static const char *const topics[] = {
	"braid/agent/crate-1/shadow/reported/", "braid/agent/x/shadow/reported/y", "cantina/red", "cantina/", "t", "a/b/c", "sigillo/x",
	"sigillo", "$SYS/x", "/",
};
static int left; /* messages until all is fresh */

/* Linked with --wrap: signatures are no parser's matter, and would be most of the time. */
int __wrap_crypto_sign_detached(uint8_t *signature, unsigned long long *length, const uint8_t *message, unsigned long long size,
                                const uint8_t *key);
int __wrap_crypto_sign_detached(uint8_t *signature, unsigned long long *length, const uint8_t *message, unsigned long long size,
                                const uint8_t *key)
{
	(void)length, (void)key;
	REQUIRE(size > 0);
	memset(signature, message[size - 1], crypto_sign_BYTES);
	return 0;
}

/* And what the adapter's broker only notes ends a run here. */
bool __wrap_unit_check(bool good, const char *condition, const char *file, int line);
bool __wrap_unit_check(bool good, const char *condition, const char *file, int line)
{
	if (!good)
		fuzz_fail(condition, file, line);
	return true;
}

/* Statement fields with each carrier and two bridges: spec/epoch.md. */
static struct span fields(void)
{
	static uint8_t made[1024], hash[32];
	uint8_t *at = cbor_put_head(made, CBOR_MAP, 17);
	static const struct {
		const char *filter;
		uint8_t carrier;
	} rules[] = {{"braid/agent/+/shadow/reported/#", 1}, {"cantina/+", 2}, {"t", 0}, {"a/#", 0}};
	for (uint64_t key = 1; key <= 20; key++) {
		if (key >= 4 && key <= 6)
			continue;
		at = cbor_put_head(at, CBOR_UINT, key);
		switch (key) {
		case 1: case 2: at = cbor_put_head(at, CBOR_UINT, 1); break;
		case 3: case 18: at = cbor_put_head(at, CBOR_SIMPLE, CBOR_NULL); break;
		case 12:
			at = cbor_put_bytes(cbor_put_text(cbor_put_head(at, CBOR_ARRAY, 4), "x/y", 3), hash, 32);
			(void)crypto_hash_sha256(hash, NULL, 0);
			at = cbor_put_bytes(cbor_put_head(at, CBOR_UINT, 0), hash, 32);
			break;
		case 14:
			at = cbor_put_head(at, CBOR_ARRAY, sizeof rules / sizeof *rules);
			for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
				at = cbor_put_text(cbor_put_head(at, CBOR_ARRAY, 3), rules[i].filter, strlen(rules[i].filter));
				at = cbor_put_head(cbor_put_head(at, CBOR_UINT, 0), CBOR_UINT, rules[i].carrier);
			}
			break;
		case 16: case 17: at = cbor_put_head(at, CBOR_ARRAY, 0); break;
		case 20: at = cbor_put_text(cbor_put_head(at, CBOR_ARRAY, 1), "bridge-1", 8); break;
		default: at = cbor_put_head(at, CBOR_UINT, 0);
		}
	}
	return (struct span){made, (size_t)(at - made)};
}

static void fresh(bool raw_tokens)
{
	static bool running, with_tokens;
	if (running && left > 0 && raw_tokens == with_tokens)
		return;
	if (running)
		broker_stop();
	else
		REQUIRE(atexit(broker_stop) == 0); /* the last spool goes too */
	broker.settings = (struct settings){.raw_tokens = raw_tokens, .rate = 1000000, .largest = 200, .access_list = true};
	REQUIRE(sodium_init() >= 0 && broker_start(fields()));
	running = true;
	with_tokens = raw_tokens;
	left = FRESH_EVERY;
}

/* Texts of an input, the zero at their end. */
static const char *text_of(struct span *input, char text[256])
{
	struct span bytes = take_bytes(input, take_byte(input) % 40);
	size_t length = 0;
	for (size_t i = 0; i < bytes.length; i++)
		if (bytes.data[i])
			text[length++] = (char)bytes.data[i];
	text[length] = 0;
	return text;
}

static mosquitto_property *some_properties(struct span *input)
{
	static const char *const names[] = {"time-mark", "time-mark-before", "Time-Mark", "", "a"};
	mosquitto_property *list = NULL;
	char text[256];
	int result = 0;
	for (int count = take_byte(input) % 6; count > 0; count--) {
		uint8_t kind = take_byte(input);
		switch (kind % 8) {
		case 0: result |= mosquitto_property_add_byte(&list, MQTT_PROP_PAYLOAD_FORMAT_INDICATOR, kind / 8); break;
		case 1: result |= mosquitto_property_add_int32(&list, MQTT_PROP_MESSAGE_EXPIRY_INTERVAL, kind); break;
		case 2: result |= mosquitto_property_add_string(&list, MQTT_PROP_CONTENT_TYPE, text_of(input, text)); break;
		case 3: result |= mosquitto_property_add_string(&list, MQTT_PROP_RESPONSE_TOPIC, text_of(input, text)); break;
		case 4: result |= mosquitto_property_add_binary(&list, MQTT_PROP_CORRELATION_DATA, text_of(input, text), kind / 32); break;
		default:
			result |= mosquitto_property_add_string_pair(&list, MQTT_PROP_USER_PROPERTY, names[kind / 8 % 5], text_of(input, text));
		}
	}
	REQUIRE(result == 0);
	return list;
}

/* How many properties of this name; whether the last of all is one. */
static int named(const mosquitto_property *list, const char *wanted, bool *last)
{
	int count = 0;
	*last = false;
	for (; list; list = mosquitto_property_next(list)) {
		char *name = NULL;
		if (mosquitto_property_identifier(list) == MQTT_PROP_USER_PROPERTY)
			(void)mosquitto_property_read_string_pair(list, MQTT_PROP_USER_PROPERTY, &name, NULL, false);
		*last = name && strcmp(name, wanted) == 0;
		count += *last;
#if LIBMOSQUITTO_VERSION_NUMBER >= 2001000
		mosquitto_free(name);
#else
		free(name);
#endif
	}
	return count;
}

/* What must hold of a message that goes on. */
static void check_delivered(const char *topic, const struct message *message, bool raw_tokens)
{
	struct datagram unused;
	bool last, same_payload = same_bytes(span_of(message->out), message->payload);
	bool inside = strncmp(topic, "braid", 5) == 0, beside = strncmp(topic, "cantina", 7) == 0;
	bool is_marked = inside || beside || *topic == 't' || *topic == 'a';
	int marks = named(message->properties, "time-mark", &last);
	REQUIRE(strncmp(topic, "sigillo", 7) != 0);
	bool changed = inside && datagram_read(message->payload, &unused) == DATAGRAM_SIGNED;
	REQUIRE(same_payload == !changed);
	REQUIRE(!changed || datagram_read(span_of(message->out), &unused) == DATAGRAM_TAKEN);
	REQUIRE(marks == (is_marked && (!changed || raw_tokens)) && last == (marks == 1));
	bool deletes = message->retain && message->payload.length == 0;
	REQUIRE(broker.publishes == (beside ? 1 + deletes : 0));
}

static void receive(struct span *input, struct mosquitto *client, bool raw_tokens)
{
	uint8_t kind = take_byte(input), length = take_byte(input);
	char text[256];
	const char *topic = kind % 16 < 10 ? topics[kind % 16] : text_of(input, text);
	struct message message = {.qos = kind / 16 % 3, .retain = kind >= 128};
	if (!*topic || strlen(topic) > 100)
		topic = "t";
	message.properties = client->version == 5 ? some_properties(input) : NULL;
	message.payload = take_bytes(input, length);
	broker.no_memory = length % 4 == 3 ? take_byte(input) % 32 : 0;
	bool rule = kind % 16 < 10; /* what a text of its own matches is not known here */
	int result = broker_receive(client, topic, &message);
	broker.no_memory = 0;
	REQUIRE((result == MOSQ_ERR_SUCCESS) == (message.out.data != NULL));
	REQUIRE(result == MOSQ_ERR_SUCCESS || broker.publishes <= 1);
	if (result == MOSQ_ERR_SUCCESS && rule)
		check_delivered(topic, &message, raw_tokens);
	free(message.out.data);
	mosquitto_property_free_all(&message.properties);
	broker_forget();
	left--;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span input = {data, size};
	bool raw_tokens = take_byte(&input) % 2;
	fresh(raw_tokens);
	for (int events = 0; input.length && events < EVENTS_MOST; events++) {
		uint8_t what = take_byte(&input);
		struct mosquitto *client = &clients[what / 16 % 6];
		switch (what % 16) {
		case 0: broker_tick(); break;
		case 1: broker_pass((int64_t)take_byte(&input) * SECOND / 10); break;
		case 2: broker_disconnect(client); break;
		case 3: (void)broker_acl(client, topics[take_byte(&input) % 10], take_byte(&input) % 5); break;
		default: receive(&input, client, raw_tokens);
		}
	}
	broker_pass(SECOND / 10);
	broker_tick(); /* room in the spool */
	return 0;
}
