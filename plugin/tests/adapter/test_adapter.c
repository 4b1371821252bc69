/* `adapter VECTORS`: mosquitto.c between a broker and a launcher of our own, for what the real broker of one version on
 * one machine does not show: clocks that step, memory that ends, names that are no text, the other version. */
#include "broker.h"

#include "core/cbor.h"
#include "core/datagram.h"
#include "core/repeat.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MARKED "braid/agent/crate-1/shadow/reported/"
#define USER MQTT_PROP_USER_PROPERTY
#define DAY (86400 * SECOND)

#if LIBMOSQUITTO_VERSION_NUMBER >= 2001000
#define REFUSED MOSQ_ERR_QUOTA_EXCEEDED
#else
#define REFUSED MOSQ_ERR_ACL_DENIED
#endif

enum {
	LAST_SEQUENCE,
	REFUSED_CLOCK,
	REFUSED_SPOOL,
	REFUSED_TABLE,
	REFUSED_TOPIC,
	REFUSED_NAME,
	REFUSED_DATAGRAM,
	REFUSED_RATE,
	REFUSED_SIZE,
	STRIPPED,
	REPEATS,
	PLAIN,
	DROPPED_WILLS,
};

#define INSIDE MARKED /* with the fields of each carrier */
#define BESIDE "cantina/red"
#define OTHER "other" /* by property then, else unmarked */

static struct mosquitto modern = {"crate-1", "crate-1", 5}, old = {"crate-1", "crate-1", 4}, bridge = {"b", "bridge-1", 5};
/* Of a statement: on_bad_clock is "refuse"; `carriers` have each carrier, and bridges. */
static struct bytes fields, carriers;

static void start_with(struct bytes chosen, struct settings settings)
{
	broker.settings = settings;
	if (!CHECK(broker_start(span_of(chosen)))) {
		printf("  %s\n", broker.line);
		exit(1);
	}
	broker_tick();
}

static void start(void)
{
	start_with(fields, (struct settings){.rate = 0});
}

/* A value of our property, decoded; nothing where there is none. */
static struct bytes mark_of(const mosquitto_property *properties)
{
	struct bytes found = {NULL, 0};
	for (; properties; properties = mosquitto_property_next(properties)) {
		char *name = NULL, *value = NULL;
		if (mosquitto_property_identifier(properties) != USER)
			continue;
		CHECK(mosquitto_property_read_string_pair(properties, USER, &name, &value, false) != NULL);
		if (name && value && strcmp(name, "time-mark") == 0) {
			CHECK(found.data == NULL && mosquitto_property_next(properties) == NULL); /* one, the last */
			found.data = malloc(strlen(value));
			CHECK(sodium_base642bin(found.data, strlen(value), value, strlen(value), NULL, &found.length, NULL,
			                        sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0);
		}
#if LIBMOSQUITTO_VERSION_NUMBER >= 2001000
		mosquitto_free(name);
		mosquitto_free(value);
#else
		free(name);
		free(value);
#endif
	}
	return found;
}

/* Publish; whether the message goes on with a mark that holds these bytes. */
static bool marked_with(struct mosquitto *client, const void *bytes, size_t length)
{
	mosquitto_property *properties = NULL;
	CHECK(broker_message(client, MARKED, &properties) == MOSQ_ERR_SUCCESS);
	struct bytes mark = mark_of(properties);
	bool good = mark.length > 300 && memmem(mark.data, mark.length, bytes, length);
	free(mark.data);
	mosquitto_property_free_all(&properties);
	return good;
}

static bool marked(struct mosquitto *client)
{
	return marked_with(client, "\xd2\x84", 2);
}

/* Publish without properties; the broker's answer. A message that does not go on has no mark. */
static int answer(struct mosquitto *client, const char *topic)
{
	mosquitto_property *properties = NULL;
	int result = broker_message(client, topic, &properties);
	struct bytes mark = mark_of(properties);
	CHECK(result == MOSQ_ERR_SUCCESS || !mark.data);
	free(mark.data);
	mosquitto_property_free_all(&properties);
	return result;
}

static void messages_are_marked(void)
{
	static const uint8_t first[] = {2, 1, 3}, second[] = {2, 2, 3}; /* sequence, then the key of the time */
	start();
	CHECK(marked_with(&modern, first, sizeof first));
	CHECK(marked_with(&old, second, sizeof second));
	CHECK(answer(&modern, "other") == MOSQ_ERR_SUCCESS);
	CHECK(broker_counter(LAST_SEQUENCE) == 2);
	broker_stop();
}

static void broker_itself_is_not_marked(void)
{
	mosquitto_property *properties = NULL;
	start();
	CHECK(broker_message(NULL, MARKED, &properties) == MOSQ_ERR_SUCCESS && !properties);
	CHECK(broker_message(NULL, "sigillo/checkpoint", &properties) == MOSQ_ERR_SUCCESS && !properties);
	CHECK(marked(&modern));
	CHECK(broker_counter(LAST_SEQUENCE) == 1);
	broker_stop();
}

static void own_topics_are_closed(void)
{
	start();
	CHECK(answer(&modern, "sigillo") == MOSQ_ERR_ACL_DENIED);
	CHECK(answer(&modern, "sigillo/") == MOSQ_ERR_ACL_DENIED);
	CHECK(answer(&old, "sigillo/mark/x") == MOSQ_ERR_ACL_DENIED);
	CHECK(answer(&modern, "sigillox") == MOSQ_ERR_SUCCESS);
	CHECK(answer(&modern, "a/sigillo/x") == MOSQ_ERR_SUCCESS);
	CHECK(broker_counter(REFUSED_TOPIC) == 3);
	broker_stop();
}

static void names_that_are_no_text_are_refused(void)
{
	struct mosquitto nobody = {NULL, NULL, 5}, bad_id = {"\xff", "crate-1", 5}, bad_name = {"crate-1", "\xed\xa0\x80", 4};
	static const uint8_t no_names[] = {6, 0x60, 7, 0x60, 8};
	start();
	CHECK(answer(&bad_id, MARKED) == REFUSED);
	CHECK(answer(&bad_name, MARKED) == MOSQ_ERR_ADMINISTRATIVE_ACTION);
	CHECK(answer(&modern, MARKED "\xc0\x80") == REFUSED);
	CHECK(marked_with(&nobody, no_names, sizeof no_names));
	CHECK(broker_counter(REFUSED_NAME) == 3);
	CHECK(broker_counter(LAST_SEQUENCE) == 1);
	broker_stop();
}

static void full_table_refuses_new_names_only(void)
{
	struct mosquitto second = {"b", "b", 5}, third = {"c", "c", 5}, third_old = {"c", "c", 3};
	start();
	CHECK(marked(&modern) && marked(&second));
	CHECK(answer(&third, MARKED) == REFUSED);
	CHECK(answer(&third_old, MARKED) == MOSQ_ERR_ADMINISTRATIVE_ACTION);
	CHECK(marked(&modern) && marked(&second));
	CHECK(broker_counter(REFUSED_TABLE) == 2);
	broker_stop();
}

static void full_spool_refuses_until_there_is_room(void)
{
	start();
	int count = 0;
	while (count < 1000 && answer(&modern, MARKED) == MOSQ_ERR_SUCCESS) /* no ticks: two segments, no third */
		count++;
	CHECK(count > 200 && count < 1000);
	CHECK(answer(&old, MARKED) == MOSQ_ERR_ADMINISTRATIVE_ACTION);
	broker_pass(SECOND);
	broker_tick();
	CHECK(marked(&modern));
	CHECK(broker_counter(LAST_SEQUENCE) == (uint64_t)count + 1);
	broker_stop();
}

/* Properties of every kind, empty ones too, with forged marks between. */
static mosquitto_property *many_properties(bool forged)
{
	mosquitto_property *list = NULL;
	int result = mosquitto_property_add_byte(&list, MQTT_PROP_PAYLOAD_FORMAT_INDICATOR, 1);
	result |= forged ? mosquitto_property_add_string_pair(&list, USER, "time-mark", "x") : 0;
	result |= mosquitto_property_add_int32(&list, MQTT_PROP_MESSAGE_EXPIRY_INTERVAL, 600);
	result |= mosquitto_property_add_string_pair(&list, USER, "", "");
	result |= mosquitto_property_add_string(&list, MQTT_PROP_CONTENT_TYPE, "");
	result |= forged ? mosquitto_property_add_string_pair(&list, USER, "time-mark", "") : 0;
	result |= mosquitto_property_add_string_pair(&list, USER, "a", "");
	result |= mosquitto_property_add_string(&list, MQTT_PROP_RESPONSE_TOPIC, "answers");
	result |= mosquitto_property_add_binary(&list, MQTT_PROP_CORRELATION_DATA, "\0\1", 2);
	result |= mosquitto_property_add_string_pair(&list, USER, "Time-Mark", "kept");
	CHECK(result == 0);
	return list;
}

struct seen {
	char text[1024];
};

static struct seen seen(const mosquitto_property *list)
{
	struct seen all = {""};
	for (; list; list = mosquitto_property_next(list)) {
		char *name = NULL, *text = NULL, *at = all.text + strlen(all.text);
		size_t room = sizeof all - strlen(all.text);
		void *data = NULL;
		uint32_t number = 0;
		uint16_t length = 0;
		uint8_t byte = 0;
		int kind = mosquitto_property_identifier(list);
		if (kind == USER)
			(void)mosquitto_property_read_string_pair(list, kind, &name, &text, false);
		else if (kind == MQTT_PROP_CORRELATION_DATA)
			(void)mosquitto_property_read_binary(list, kind, &data, &length, false);
		else if (kind == MQTT_PROP_PAYLOAD_FORMAT_INDICATOR)
			(void)mosquitto_property_read_byte(list, kind, &byte, false);
		else if (kind == MQTT_PROP_MESSAGE_EXPIRY_INTERVAL)
			(void)mosquitto_property_read_int32(list, kind, &number, false);
		else
			(void)mosquitto_property_read_string(list, kind, &text, false);
		(void)snprintf(at, room, "%d:%s=%.8s;%d%u%d,", kind, name ? name : "", text ? text : "", byte, number, length);
#if LIBMOSQUITTO_VERSION_NUMBER >= 2001000
		mosquitto_free(name), mosquitto_free(text), mosquitto_free(data);
#else
		free(name), free(text), free(data);
#endif
	}
	return all;
}

static void only_forged_properties_go(void)
{
	mosquitto_property *sent = many_properties(true), *expected = many_properties(false);
	start();
	CHECK(broker_message(&modern, "other", &sent) == MOSQ_ERR_SUCCESS);
	struct seen kept = seen(sent), clean = seen(expected);
	CHECK(strcmp(kept.text, clean.text) == 0);
	mosquitto_property_free_all(&sent);
	sent = many_properties(true);
	CHECK(broker_message(&modern, MARKED, &sent) == MOSQ_ERR_SUCCESS);
	kept = seen(sent);
	CHECK(strncmp(kept.text, clean.text, strlen(clean.text)) == 0 && strncmp(kept.text + strlen(clean.text), "38:time-mark=0oRY", 16) == 0);
	struct bytes mark = mark_of(sent);
	CHECK(mark.length > 300);
	free(mark.data);
	CHECK(broker_counter(STRIPPED) == 4);
	mosquitto_property_free_all(&sent);
	mosquitto_property_free_all(&expected);
	broker_stop();
}

/* A packet of a megabyte has 200,000 properties: what they cost may not grow with their square. */
static void many_properties_cost_no_square(void)
{
	enum { MANY = 3000 };
	mosquitto_property *sent = NULL;
	int result = 0, count = 0;
	start();
	for (int i = 0; i < MANY; i++)
		result |= mosquitto_property_add_string_pair(&sent, USER, i == 1 ? "time-mark" : "a", "b");
	CHECK(result == 0);
	broker.walked = 0;
	CHECK(broker_message(&modern, MARKED, &sent) == MOSQ_ERR_SUCCESS);
	CHECK(broker.walked < 3 * MANY);
	for (const mosquitto_property *at = sent; at; at = mosquitto_property_next(at))
		count++;
	CHECK(count == MANY); /* one less, and the mark */
	struct bytes mark = mark_of(sent);
	CHECK(mark.length > 300);
	free(mark.data);
	mosquitto_property_free_all(&sent);
	broker_stop();
}

/* Whichever allocation fails, no forged mark goes on, and no message without its mark. */
static void no_memory_is_no_way_round(void)
{
	int failures = 0;
	start();
	for (int nth = 1; nth < 100; nth++) {
		mosquitto_property *sent = many_properties(true);
		broker.no_memory = nth;
		int result = broker_message(&modern, MARKED, &sent);
		bool reached = broker.no_memory == 0;
		broker.no_memory = 0;
		CHECK(result == (reached ? MOSQ_ERR_NOMEM : MOSQ_ERR_SUCCESS));
		if (result == MOSQ_ERR_SUCCESS) {
			struct bytes mark = mark_of(sent);
			CHECK(mark.length > 300);
			free(mark.data);
		}
		failures += reached;
		mosquitto_property_free_all(&sent);
	}
	CHECK(failures > 20 && failures < 99);
	broker_stop();
}

static void step_refuses_for_good(void)
{
	static const int64_t steps[] = {2 * SECOND, -2 * SECOND, DAY, -DAY};
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		start();
		CHECK(marked(&modern));
		broker.real += steps[i];
		CHECK(answer(&modern, MARKED) == REFUSED && answer(&old, MARKED) == MOSQ_ERR_ADMINISTRATIVE_ACTION);
		CHECK(answer(&modern, "other") == MOSQ_ERR_SUCCESS); /* unmarked: no matter of the clock */
		broker.real -= steps[i];
		CHECK(answer(&modern, MARKED) == REFUSED);
		CHECK(broker_counter(REFUSED_CLOCK) == 3 && broker_counter(LAST_SEQUENCE) == 1);
		broker_stop();
	}
}

/* A broker of 2.1 takes nothing for a refused message, an older one frees it: either way what came is whole. */
static void refusal_leaves_what_came(void)
{
	mosquitto_property *sent = many_properties(true), *same = many_properties(true);
	start();
	broker.real += DAY;
	CHECK(broker_message(&modern, MARKED, &sent) == REFUSED);
	struct seen left = seen(sent), came = seen(same);
	CHECK(strcmp(left.text, came.text) == 0);
	mosquitto_property_free_all(&sent);
	mosquitto_property_free_all(&same);
	broker_stop();
}

static void pause_between_the_readings_is_no_step(void)
{
	start();
	for (int pauses = 1; pauses <= 12; pauses++) {
		broker.pause = 5 * SECOND;
		broker.pauses = pauses;
		CHECK(marked(&modern));
		broker.pauses = 0;
	}
	broker_stop();
}

static void unsynchronised_refuses_while_it_lasts(void)
{
	start();
	CHECK(marked(&modern));
	broker.unsynchronised = true;
	broker_pass(SECOND);
	broker_tick();
	CHECK(answer(&modern, MARKED) == REFUSED);
	broker.unsynchronised = false;
	broker_pass(SECOND);
	broker_tick();
	CHECK(marked(&modern));
	broker_stop();
}

static void kernel_is_asked_once_a_second(void)
{
	start();
	broker.samples = 0;
	for (int i = 0; i < 1000; i++) {
		broker_pass(SECOND / 100);
		broker_tick();
		if (i % 7 == 0)
			CHECK(marked(&modern));
	}
	CHECK(broker.samples == 10);
	broker_stop();
}

/* Mosquitto 2.0.11 gives no ticks under `per_listener_settings true`. */
static void without_ticks_messages_do_their_work(void)
{
	uint8_t checkpoint[41] = {4, 0, 0, 0, 0, 0, 0, 0, 9, 0xab, 0xcd, 0xef, 0x12, 0x34};
	CHECK(broker_start(span_of(fields)));
	broker_send(checkpoint, sizeof checkpoint);
	broker_pass(3 * SECOND);
	CHECK(marked_with(&modern, checkpoint + 9, 32));
	for (int i = 0; i < 1000; i++) { /* more than two segments */
		broker_pass(SECOND / 10);
		CHECK(marked(&modern));
	}
	broker.unsynchronised = true;
	broker_pass(3 * SECOND);
	CHECK(answer(&modern, MARKED) == REFUSED);
	broker.unsynchronised = false;
	broker_close_launcher();
	broker_pass(3 * SECOND);
	CHECK(answer(&modern, MARKED) == REFUSED && broker.terms == 1);
	broker_stop();
}

static void launcher_gone_ends_the_epoch(void)
{
	start();
	CHECK(marked(&modern));
	broker_close_launcher();
	broker_pass(SECOND);
	broker_tick();
	CHECK(broker.terms == 1 && strstr(broker.line, "the launcher is gone"));
	CHECK(answer(&modern, MARKED) == REFUSED && answer(&old, MARKED) == MOSQ_ERR_ADMINISTRATIVE_ACTION);
	CHECK(answer(&modern, "other") == MOSQ_ERR_SUCCESS);
	broker_pass(SECOND);
	broker_tick();
	CHECK(broker.terms == 1); /* once */
	broker_stop();
}

static void reload_ends_the_epoch(void)
{
	start();
	CHECK(marked(&modern));
	CHECK(broker_reload() == MOSQ_ERR_PLUGIN_DEFER); /* any other answer spoils the broker's ACL file */
	CHECK(broker.terms == 1 && answer(&modern, MARKED) == REFUSED);
	CHECK(broker_reload() == MOSQ_ERR_PLUGIN_DEFER && broker.terms == 1);
	broker_stop();
}

/* Under `strict`: what is not on disk is not delivered, and nothing says that the epoch ended well. */
static void failing_disk_stops_without_an_end(void)
{
	static const uint8_t before[] = {10, 0, 11}; /* the key durability, its value, the key behind it */
	struct bytes strict = {malloc(fields.length), fields.length};
	memcpy(strict.data, fields.data, fields.length);
	uint8_t *durability = memmem(strict.data, strict.length, before, sizeof before);
	if (!CHECK(durability != NULL))
		return;
	durability[1] = 1;
	start_with(strict, (struct settings){.rate = 0});
	CHECK(marked(&modern) && marked(&old));
	broker.disk_fails = true;
	CHECK(answer(&modern, MARKED) == REFUSED && broker.terms == 1);
	broker.disk_fails = false;
	CHECK(answer(&modern, MARKED) == REFUSED && answer(&old, MARKED) == MOSQ_ERR_ADMINISTRATIVE_ACTION);
	CHECK(answer(&modern, "other") == MOSQ_ERR_SUCCESS && broker.terms == 1);
	char path[128];
	(void)snprintf(path, sizeof path, "%s/0000000001/000000.spool", broker.spool);
	(void)mosquitto_plugin_cleanup(NULL, NULL, 0);
	struct bytes segment = file_read(path);
	CHECK(segment.data && memmem(segment.data, segment.length, "time-mark+cose", 14) == NULL);
	CHECK(memmem(segment.data, segment.length, "sigillo.epoch-end", 17) == NULL);
	free(segment.data);
	broker_stop();
	free(strict.data);
}

/* The note of a CHECKPOINT is published as it came, retained; an older one is not. */
static void beacon_is_published(void)
{
	uint8_t packet[1 + 40 + 4] = {4, 0, 0, 0, 0, 0, 0, 0, 9};
	memcpy(packet + 41, "note", 4);
	start();
	broker_send(packet, 41); /* without a note: nothing to publish */
	broker_pass(SECOND);
	broker_tick();
	CHECK(broker.publishes == 0);
	broker_send(packet, sizeof packet);
	broker_pass(SECOND);
	broker_tick();
	const struct published *beacon = &broker.published[0];
	if (CHECK(broker.publishes == 1))
		CHECK(strcmp(beacon->topic, "sigillo/checkpoint") == 0 && beacon->qos == 1 && beacon->retain &&
		      beacon->payload.length == 4 && memcmp(beacon->payload.data, "note", 4) == 0);
	packet[8] = 8;
	broker_send(packet, sizeof packet);
	broker_pass(SECOND);
	broker_tick();
	CHECK(broker.publishes == 1 && strstr(broker.line, "ignored a packet"));
	broker_forget();
	packet[8] = 10;
	broker.no_memory = 1;
	broker_send(packet, sizeof packet);
	broker_pass(SECOND);
	broker_tick();
	broker.no_memory = 0;
	CHECK(broker.publishes == 0);
	broker_stop();
}

static void child_refuses(void)
{
	start();
	for (int i = 0; i < 200; i++) /* into the second segment: there is one to prepare */
		CHECK(marked(&modern));
	pid_t child = fork();
	if (child == 0) {
		bool refused = answer(&modern, MARKED) == REFUSED && answer(&old, MARKED) == MOSQ_ERR_ADMINISTRATIVE_ACTION;
		broker_pass(3 * SECOND);
		broker_tick();
		refused = refused && answer(&modern, MARKED) == REFUSED;
		(void)mosquitto_plugin_cleanup(NULL, NULL, 0);
		_exit(refused ? 0 : 1);
	}
	int status = -1;
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	for (int i = 0; i < 300; i++) { /* the child cut, removed and prepared nothing of the parent's spool */
		CHECK(marked(&modern));
		broker_pass(SECOND);
		broker_tick();
	}
	CHECK(broker_counter(LAST_SEQUENCE) == 500);
	broker_stop();
}

static void refusals_are_logged_once_a_minute(void)
{
	start();
	int lines = broker.lines;
	for (int i = 0; i < 1000; i++)
		CHECK(answer(&modern, "sigillo/x") == MOSQ_ERR_ACL_DENIED);
	CHECK(broker.lines == lines + 1);
	broker_pass(61 * SECOND);
	CHECK(answer(&modern, "sigillo/x") == MOSQ_ERR_ACL_DENIED && broker.lines == lines + 2);
	CHECK(strstr(broker.line, "refused 1001 message(s)"));
	CHECK(broker_counter(REFUSED_TOPIC) == 1001);
	broker_stop();
}

static bool same(struct span a, struct span b)
{
	return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

/* A signed datagram of one number. */
static struct bytes datagram(uint8_t number, bool indefinite)
{
	static const uint8_t signed_part[] = {0x61, 'N', 0x18, 0, 0x64, 'S', 'I', 'G', 'N', 0x58, 64};
	size_t length = 1 + sizeof signed_part + 64 + indefinite;
	struct bytes made = {calloc(1, length), length};
	made.data[0] = indefinite ? 0xbf : 0xa2;
	memcpy(made.data + 1, signed_part, sizeof signed_part);
	made.data[4] = number;
	memset(made.data + 1 + sizeof signed_part, 7, 64);
	if (indefinite)
		made.data[length - 1] = 0xff;
	return made;
}

/* What is in a marked datagram as the token. */
static struct span token_in(struct bytes payload)
{
	static const char key[] = "\x72VERIFICATION_TOKEN";
	const uint8_t *at = memmem(payload.data, payload.length, key, sizeof key - 1);
	if (!CHECK(at != NULL))
		return (struct span){NULL, 0};
	at += sizeof key - 1;
	struct cbor_reader reader = cbor_reader((struct span){at, payload.length - (size_t)(at - payload.data)});
	return cbor_get_string(&reader, CBOR_BYTES);
}

/* Whether `out` is `in` with the broker's keys of now. */
static bool marked_inside(struct bytes in, struct bytes out, int64_t time)
{
	struct datagram found;
	struct span token = token_in(out);
	uint8_t *expected = malloc(out.length + DATAGRAM_ADDED);
	CHECK(datagram_read(span_of(in), &found) == DATAGRAM_SIGNED);
	size_t length = datagram_write(&found, time, token, expected);
	bool good = length == out.length && memcmp(expected, out.data, length) == 0;
	free(expected);
	return good;
}

static struct message message_of(struct bytes payload, uint8_t qos)
{
	return (struct message){.payload = span_of(payload), .qos = qos};
}

static void drop(struct message *message)
{
	free(message->out.data);
	mosquitto_property_free_all(&message->properties);
}

static void datagram_is_marked_inside(void)
{
	start_with(carriers, (struct settings){.rate = 0});
	for (int i = 0; i < 6; i++) {
		struct bytes payload = datagram((uint8_t)(100 + i), i % 2);
		struct message message = message_of(payload, (uint8_t)(i / 2));
		broker_pass(SECOND / 1000 * 7);
		CHECK(broker_receive(i % 2 ? &old : &modern, INSIDE, &message) == MOSQ_ERR_SUCCESS);
		CHECK(marked_inside(payload, message.out, broker.real) && message.properties == NULL);
		struct span token = token_in(message.out);
		CHECK(token.length > 300 && memcmp(token.data, "\xd2\x84", 2) == 0);
		CHECK(memmem(token.data, token.length, INSIDE, sizeof INSIDE - 1) != NULL);
		drop(&message);
		free(payload.data);
	}
	CHECK(broker.publishes == 0 && broker_counter(LAST_SEQUENCE) == 6 && broker_counter(PLAIN) == 0);
	broker_stop();
}

/* The statement's key 5. */
static struct span token_key(void)
{
	struct cbor_reader object = cbor_reader((struct span){broker.statement, broker.statement_length});
	(void)cbor_get_head(&object, CBOR_TAG), (void)cbor_get_head(&object, CBOR_ARRAY);
	(void)cbor_get_string(&object, CBOR_BYTES), (void)cbor_get_head(&object, CBOR_MAP);
	struct cbor_reader payload = cbor_reader(cbor_get_string(&object, CBOR_BYTES));
	uint64_t pairs = cbor_get_head(&payload, CBOR_MAP);
	for (uint64_t i = 0; i < pairs; i++) {
		uint64_t key = cbor_get_head(&payload, CBOR_UINT);
		struct span value = cbor_get_item(&payload, 0);
		struct cbor_reader reader = cbor_reader(value);
		if (key == 5)
			return cbor_get_string(&reader, CBOR_BYTES);
	}
	return (struct span){NULL, 0};
}

static void raw_token_is_a_signature(void)
{
	start_with(carriers, (struct settings){.raw_tokens = true});
	struct span key = token_key();
	CHECK(key.length == crypto_sign_PUBLICKEYBYTES);
	for (int i = 0; i < 2; i++) {
		struct bytes payload = datagram(100, i);
		struct message message = message_of(payload, 1);
		struct datagram found;
		CHECK(broker_receive(&modern, INSIDE, &message) == MOSQ_ERR_SUCCESS);
		CHECK(marked_inside(payload, message.out, broker.real));
		struct span token = token_in(message.out);
		uint8_t *message_signed = malloc(payload.length + DATAGRAM_ADDED);
		CHECK(datagram_read(span_of(payload), &found) == DATAGRAM_SIGNED);
		size_t length = datagram_write(&found, broker.real, (struct span){NULL, 0}, message_signed);
		CHECK(token.length == crypto_sign_BYTES && crypto_sign_verify_detached(token.data, message_signed, length, key.data) == 0);
		struct bytes mark = mark_of(message.properties); /* goes along */
		CHECK(mark.length > 300);
		free(mark.data);
		free(message_signed);
		drop(&message);
		free(payload.data);
	}
	broker_stop();
	start_with(carriers, (struct settings){.rate = 0});
	CHECK(token_key().length == 0);
	broker_stop();
}

static void other_payloads_on_a_datagram_filter(void)
{
	struct message plain = {.payload = {(const uint8_t *)"21.5", 4}, .qos = 1}, empty = {.qos = 1};
	struct message taken = {.payload = {(const uint8_t *)"\xa1\x6eINGESTION_TIME\x01", 17}, .qos = 1}, bridged = taken;
	start_with(carriers, (struct settings){.rate = 0});
	struct message *all[] = {&plain, &empty, &bridged};
	for (size_t i = 0; i < 3; i++) {
		CHECK(broker_receive(i == 2 ? &bridge : &modern, INSIDE, all[i]) == MOSQ_ERR_SUCCESS);
		CHECK(same(span_of(all[i]->out), all[i]->payload));
		struct bytes mark = mark_of(all[i]->properties);
		CHECK(mark.length > 300);
		free(mark.data);
		drop(all[i]);
	}
	CHECK(broker_receive(&modern, INSIDE, &taken) == MOSQ_ERR_ACL_DENIED);
	CHECK(broker_receive(&old, INSIDE, &taken) == MOSQ_ERR_ADMINISTRATIVE_ACTION);
	CHECK(broker_receive(&modern, OTHER, &taken) == MOSQ_ERR_SUCCESS); /* other carriers do not look */
	drop(&taken);
	CHECK(broker_counter(PLAIN) == 3 && broker_counter(REFUSED_DATAGRAM) == 2 && broker_counter(LAST_SEQUENCE) == 4);
	broker_stop();
}

static bool is_companion(const struct published *made, struct bytes object, int qos, bool retain)
{
	return strcmp(made->topic, "sigillo/mark/" BESIDE) == 0 && made->qos == qos && made->retain == retain &&
	       same(span_of(made->payload), span_of(object));
}

static void companion_follows_its_message(void)
{
	struct bytes none = {NULL, 0};
	start_with(carriers, (struct settings){.rate = 0});
	for (int i = 0; i < 12; i++) {
		struct message message = {.payload = {(const uint8_t *)"21.5", i < 6 ? 4 : 0}, .qos = (uint8_t)(i % 3), .retain = i % 6 >= 3};
		CHECK(broker_receive(&modern, BESIDE, &message) == MOSQ_ERR_SUCCESS);
		struct bytes mark = mark_of(message.properties);
		bool deletes = message.retain && i >= 6;
		CHECK(same(span_of(message.out), message.payload) && broker.publishes == (deletes ? 2 : 1));
		CHECK(is_companion(&broker.published[0], mark, message.qos, message.retain && !deletes));
		CHECK(!deletes || is_companion(&broker.published[1], none, message.qos, true));
		free(mark.data);
		drop(&message);
		broker_forget();
	}
	broker_stop();
}

static void repeats_name_the_first(void)
{
	static const uint8_t names_first[] = {14, 1};
	struct bytes payload = datagram(100, false), other = datagram(101, false);
	struct mosquitto same_name = {"crate-2", "crate-1", 5};
	start_with(carriers, (struct settings){.rate = 0});
	for (int i = 0; i < 7; i++) {
		struct message message = message_of(i == 3 ? other : payload, i == 4 ? 0 : 1);
		message.retain = i == 5;
		CHECK(broker_receive(i == 6 ? &same_name : &modern, OTHER, &message) == MOSQ_ERR_SUCCESS);
		struct bytes mark = mark_of(message.properties);
		bool named = memmem(mark.data + mark.length - 68, 4, names_first, sizeof names_first) != NULL; /* before the signature */
		CHECK(named == (i == 1 || i == 2));
		free(mark.data);
		drop(&message);
	}
	for (int i = 0; i < 3; i++) { /* nobody can tell two of these from one sent twice */
		struct message message = {.payload = {(const uint8_t *)"21.5", 4}, .qos = 1};
		CHECK(broker_receive(&modern, OTHER, &message) == MOSQ_ERR_SUCCESS);
		drop(&message);
	}
	CHECK(broker_counter(REPEATS) == 2 && broker_counter(LAST_SEQUENCE) == 10);
	free(payload.data);
	free(other.data);
	broker_stop();
}

/* Send the same datagram with QoS 2; the payload that goes on. */
static struct bytes sent_inside(struct bytes payload, mosquitto_property **properties)
{
	struct message message = message_of(payload, 2);
	broker_pass(SECOND);
	CHECK(broker_receive(&modern, INSIDE, &message) == MOSQ_ERR_SUCCESS);
	*properties = message.properties;
	return message.out;
}

static void qos_2_repeat_shows_the_first_bytes(void)
{
	for (int raw = 0; raw < 2; raw++) {
		mosquitto_property *first_property, *second_property;
		struct bytes payload = datagram(100, raw);
		start_with(carriers, (struct settings){.raw_tokens = raw});
		struct bytes first = sent_inside(payload, &first_property), second = sent_inside(payload, &second_property);
		CHECK(same(span_of(first), span_of(second)));
		struct bytes mark = mark_of(first_property), again = mark_of(second_property);
		CHECK(same(span_of(mark), span_of(again)) && (mark.length > 0) == raw);
		CHECK(broker_counter(LAST_SEQUENCE) == 2 && broker_counter(REPEATS) == 1);
		free(mark.data), free(again.data), free(first.data), free(second.data), free(payload.data);
		mosquitto_property_free_all(&first_property);
		mosquitto_property_free_all(&second_property);
		broker_stop();
	}
}

/* The bytes of a first mark are kept for a while; then a repeat has a mark of its own, and still names the first. */
static void forgotten_bytes_are_not_shown(void)
{
	mosquitto_property *none;
	struct bytes payload = datagram(255, false);
	start_with(carriers, (struct settings){.rate = 0});
	struct bytes first = sent_inside(payload, &none);
	size_t each = token_in(first).length;
	for (size_t i = 0; i * each < REPEAT_BYTES; i++) {
		struct bytes other = datagram((uint8_t)i, false);
		memcpy(other.data + 20, &i, sizeof i); /* in what stands for a signature */
		struct bytes out = sent_inside(other, &none);
		free(out.data), free(other.data);
		broker_tick();
	}
	struct bytes last = sent_inside(payload, &none);
	struct span token = token_in(last);
	CHECK(marked_inside(payload, last, broker.real) && memcmp(token.data + token.length - 68, "\x0e\x01", 2) == 0);
	CHECK(broker_counter(REPEATS) == 1);
	free(first.data), free(last.data), free(payload.data);
	broker_stop();
}

static void bridge_keeps_one_foreign_mark(void)
{
	uint8_t hash[32];
	mosquitto_property *one = NULL, *expected = NULL, *several = many_properties(true), *clean = many_properties(false);
	CHECK(mosquitto_property_add_string_pair(&one, USER, "a", "b") == 0 && mosquitto_property_add_string_pair(&expected, USER, "a", "b") == 0);
	CHECK(mosquitto_property_add_string_pair(&one, USER, "time-mark", "foreign") == 0);
	CHECK(mosquitto_property_add_string_pair(&expected, USER, "time-mark-before", "foreign") == 0);
	CHECK(mosquitto_property_add_byte(&one, MQTT_PROP_PAYLOAD_FORMAT_INDICATOR, 1) == 0);
	CHECK(mosquitto_property_add_byte(&expected, MQTT_PROP_PAYLOAD_FORMAT_INDICATOR, 1) == 0);
	start_with(carriers, (struct settings){.rate = 0});
	CHECK(broker_message(&bridge, OTHER, &one) == MOSQ_ERR_SUCCESS && broker_message(&bridge, OTHER, &several) == MOSQ_ERR_SUCCESS);
	struct bytes mark = mark_of(one), no_before = mark_of(several);
	struct seen kept = seen(one), wanted = seen(expected), stripped = seen(several), others = seen(clean);
	CHECK(strncmp(kept.text, wanted.text, strlen(wanted.text)) == 0 && strncmp(stripped.text, others.text, strlen(others.text)) == 0);
	(void)crypto_hash_sha256(hash, (const uint8_t *)"foreign", 7);
	CHECK(memcmp(mark.data + mark.length - 66 - 32, hash, 32) == 0 && memcmp(mark.data + mark.length - 66 - 35, "\x0f\x58\x20", 3) == 0);
	CHECK(no_before.length == mark.length - 35);
	CHECK(broker_counter(STRIPPED) == 2);
	free(mark.data), free(no_before.data);
	mosquitto_property *lists[] = {one, expected, several, clean};
	for (size_t i = 0; i < 4; i++)
		mosquitto_property_free_all(&lists[i]);
	broker_stop();
}

struct way {
	const char *topic;
	struct mosquitto *client;
	uint8_t qos;
	bool datagram, retain, properties;
	int publishes; /* of a message that goes on */
	bool foreign;  /* one mark, for a bridge to keep */
};

/* One message where the nth allocation fails; whether one did. */
static bool without_memory(const struct way *way, struct bytes payload, int nth)
{
	struct message message = message_of(payload, way->qos);
	message.retain = way->retain;
	message.properties = way->properties ? many_properties(!way->foreign) : NULL;
	if (way->foreign)
		CHECK(mosquitto_property_add_string_pair(&message.properties, USER, "time-mark", "foreign") == 0);
	broker.no_memory = nth;
	int result = broker_receive(way->client, way->topic, &message);
	bool failed = broker.no_memory == 0;
	broker.no_memory = 0;
	CHECK(result == (failed ? MOSQ_ERR_NOMEM : MOSQ_ERR_SUCCESS));
	if (failed) { /* it goes no further; where a retained one is deleted, at most word of its arrival is out */
		CHECK(message.out.data == NULL && broker.publishes <= (way->publishes == 2));
		CHECK(way->properties || message.properties == NULL);
	} else {
		struct bytes mark = mark_of(message.properties);
		CHECK(broker.publishes == way->publishes && (mark.length > 300 || token_in(message.out).length > 300));
		free(mark.data);
	}
	drop(&message);
	broker_forget();
	return failed;
}

static void no_memory_is_never_half_a_message(void)
{
	static const struct way ways[] = {
		{INSIDE, &modern, 1, true, false, false, 0, false}, {INSIDE, &modern, 2, true, false, true, 0, false},
		{INSIDE, &bridge, 0, true, true, true, 0, true},    {INSIDE, &modern, 1, false, false, true, 0, false},
		{BESIDE, &modern, 1, true, false, false, 1, false}, {BESIDE, &bridge, 2, false, true, true, 2, true},
		{OTHER, &modern, 1, true, false, true, 0, false},   {OTHER, &old, 2, false, true, false, 0, false},
	};
	struct bytes payload = datagram(100, false), empty = {payload.data, 0};
	for (int raw = 0; raw < 2; raw++) {
		start_with(carriers, (struct settings){.raw_tokens = raw});
		for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
			int nth = 1;
			while (nth < 200 && without_memory(&ways[i], ways[i].datagram ? payload : empty, nth))
				nth++;
			CHECK(nth > 1 && nth < 200);
			broker_pass(SECOND);
			broker_tick();
		}
		broker_stop();
	}
	free(payload.data);
}

static void rate_is_limited_for_each(void)
{
	struct mosquitto second = {"b", "b", 5};
	start_with(fields, (struct settings){.rate = 5});
	for (int i = 0; i < 5; i++)
		CHECK(marked(&modern));
	CHECK(answer(&modern, MARKED) == REFUSED && answer(&old, MARKED) == MOSQ_ERR_ADMINISTRATIVE_ACTION);
	CHECK(answer(&modern, OTHER) == MOSQ_ERR_SUCCESS && marked(&second));
	broker_pass(SECOND / 5);
	CHECK(marked(&modern) && answer(&modern, MARKED) == REFUSED);
	broker_pass(100 * SECOND);
	for (int i = 0; i < 5; i++)
		CHECK(marked(&modern));
	CHECK(answer(&modern, MARKED) == REFUSED);
	CHECK(broker_counter(REFUSED_RATE) == 4 && broker_counter(LAST_SEQUENCE) == 12);
	broker_stop();
}

static void size_is_limited(void)
{
	struct message small = {.payload = {(const uint8_t *)"1234567", 7}}, large = {.payload = {(const uint8_t *)"12345678", 8}};
	start_with(carriers, (struct settings){.largest = 7});
	CHECK(broker_receive(&modern, OTHER, &small) == MOSQ_ERR_SUCCESS);
	drop(&small);
	CHECK(broker_receive(&modern, OTHER, &large) == REFUSED);
	CHECK(broker_receive(&old, BESIDE, &large) == MOSQ_ERR_ADMINISTRATIVE_ACTION && broker.publishes == 0);
	CHECK(broker_counter(REFUSED_SIZE) == 2 && broker_counter(LAST_SEQUENCE) == 1);
	broker_stop();
}

static void will_is_dropped_right_after_the_disconnect(void)
{
	start_with(fields, (struct settings){.access_list = true});
	CHECK(broker_acl(&modern, MARKED, MOSQ_ACL_WRITE) == MOSQ_ERR_PLUGIN_DEFER);
	broker_disconnect(&modern);
	CHECK(broker_acl(&modern, MARKED, MOSQ_ACL_WRITE) == MOSQ_ERR_ACL_DENIED);
	CHECK(broker_acl(&modern, MARKED, MOSQ_ACL_WRITE) == MOSQ_ERR_PLUGIN_DEFER); /* once */
	broker_disconnect(&modern);
	CHECK(broker_acl(&modern, OTHER, MOSQ_ACL_WRITE) == MOSQ_ERR_PLUGIN_DEFER); /* nobody marks it */
	CHECK(broker_acl(&modern, MARKED, MOSQ_ACL_WRITE) == MOSQ_ERR_PLUGIN_DEFER);
	broker_disconnect(&modern);
	CHECK(broker_acl(&old, MARKED, MOSQ_ACL_WRITE) == MOSQ_ERR_PLUGIN_DEFER); /* another client's */
	broker_disconnect(&old);
	CHECK(broker_acl(&old, MARKED, MOSQ_ACL_READ) == MOSQ_ERR_PLUGIN_DEFER); /* another right */
	CHECK(broker_acl(&old, MARKED, MOSQ_ACL_WRITE) == MOSQ_ERR_PLUGIN_DEFER);
	broker_disconnect(&modern);
	broker_tick(); /* no more a will: the same memory may be another client by now */
	CHECK(broker_acl(&modern, MARKED, MOSQ_ACL_WRITE) == MOSQ_ERR_PLUGIN_DEFER);
	broker_disconnect(&modern);
	CHECK(marked(&old));
	CHECK(broker_acl(&modern, MARKED, MOSQ_ACL_WRITE) == MOSQ_ERR_PLUGIN_DEFER);
	CHECK(broker_counter(DROPPED_WILLS) == 1 && broker_counter(REFUSED_TOPIC) == 0);
	broker_stop();
	start(); /* without an access list the broker is not asked: everything would be denied */
	broker_disconnect(&modern);
	CHECK(broker_acl(&modern, MARKED, MOSQ_ACL_WRITE) == MOSQ_ERR_PLUGIN_DEFER);
	broker_stop();
}

static void rights_below_sigillo_are_nobodys(void)
{
	static const int others[] = {MOSQ_ACL_READ, MOSQ_ACL_SUBSCRIBE};
	start_with(fields, (struct settings){.access_list = true});
	CHECK(broker_acl(&modern, "sigillo/mark/x", MOSQ_ACL_WRITE) == MOSQ_ERR_ACL_DENIED);
	CHECK(broker_acl(&modern, "sigillo", MOSQ_ACL_WRITE) == MOSQ_ERR_ACL_DENIED);
	CHECK(broker_acl(&modern, "sigillox", MOSQ_ACL_WRITE) == MOSQ_ERR_PLUGIN_DEFER);
	CHECK(broker_acl(NULL, "sigillo/x", MOSQ_ACL_WRITE) == MOSQ_ERR_PLUGIN_DEFER); /* the broker itself */
	for (size_t i = 0; i < 2; i++)
		CHECK(broker_acl(&modern, "sigillo/x", others[i]) == MOSQ_ERR_PLUGIN_DEFER);
	broker_disconnect(&modern);
	CHECK(broker_acl(&modern, "sigillo/x", MOSQ_ACL_WRITE) == MOSQ_ERR_ACL_DENIED); /* a will's */
	CHECK(broker_counter(REFUSED_TOPIC) == 3 && broker_counter(DROPPED_WILLS) == 0);
	broker_stop();
}

static void message_after_the_end_is_refused(void)
{
	struct bytes payload = datagram(100, false);
	start_with(carriers, (struct settings){.raw_tokens = true});
	broker_stop();
	static const char *const topics[] = {INSIDE, BESIDE, OTHER};
	for (size_t i = 0; i < 3; i++) {
		struct message message = message_of(payload, 2);
		CHECK(broker_receive(&modern, topics[i], &message) == REFUSED);
		CHECK(broker_receive(&old, topics[i], &message) == MOSQ_ERR_ADMINISTRATIVE_ACTION);
		CHECK(broker_receive(&modern, "sigillo/x", &message) == MOSQ_ERR_ACL_DENIED);
	}
	CHECK(broker.publishes == 0 && broker.held == 0);
	free(payload.data);
}

static void start_that_fails_leaves_nothing(void)
{
	struct bytes more = {malloc(fields.length + 3), fields.length + 3};
	memcpy(more.data, fields.data, fields.length);
	memcpy(more.data + fields.length, "\x14\x81\x60", 3); /* key 20, bridge principals: one without a name */
	more.data[0]++;
	CHECK(!broker_start(span_of(more)) && strstr(broker.line, "bridge principals"));
	broker_stop();
	free(more.data);
	start(); /* and does not stand in the way */
	CHECK(marked(&modern));
	broker_stop();
}

static void second_plugin_does_not_start(void)
{
	start();
	CHECK(marked(&modern));
	CHECK(mosquitto_plugin_init(NULL, NULL, NULL, 0) != MOSQ_ERR_SUCCESS && strstr(broker.line, "loaded twice"));
	CHECK(marked(&modern)); /* the first goes on */
	broker_stop();
}

/* Of the three sides one is the plugin's; there the revision does not matter. */
static void other_side_of_a_version_does_not_start(void)
{
	static const int first[] = {2000000, 2000015, 2001000, 3000000};
	for (int side = 0; side < 3; side++)
		for (int last = 0; last < 2; last++) {
			int version = last ? first[side + 1] - 1 : first[side];
			bool same = LIBMOSQUITTO_VERSION_NUMBER >= first[side] && LIBMOSQUITTO_VERSION_NUMBER < first[side + 1];
			broker.settings = (struct settings){.version = version};
			CHECK(broker_start(span_of(fields)) == same);
			CHECK(same || (strstr(broker.line, "is built for Mosquitto 2.") && strstr(broker.line, "rebuild it")));
			broker_stop();
		}
}

static void version_is_negotiated(void)
{
	static const int versions[] = {2, 3, 4, MOSQ_PLUGIN_VERSION, MOSQ_PLUGIN_VERSION + 1};
	CHECK(mosquitto_plugin_version(5, versions) == MOSQ_PLUGIN_VERSION);
	CHECK(mosquitto_plugin_version(3, versions) == -1);
}

static void take_fields(const struct vector *vector)
{
	if (strcmp(vector->name, "first.txt") == 0)
		fields = vector_bytes(vector, "fields");
	if (strcmp(vector->name, "carriers.txt") == 0)
		carriers = vector_bytes(vector, "fields");
}

int main(int count, char **arguments)
{
	if (count != 2 || sodium_init() < 0)
		return 2;
	unit_vectors(arguments[1]);
	each_vector("epoch-statement/accept", take_fields);
	printf("Mosquitto %d.%d:\n", LIBMOSQUITTO_VERSION_NUMBER / 1000000, LIBMOSQUITTO_VERSION_NUMBER / 1000 % 1000);
	RUN(version_is_negotiated);
	RUN(messages_are_marked);
	RUN(broker_itself_is_not_marked);
	RUN(own_topics_are_closed);
	RUN(names_that_are_no_text_are_refused);
	RUN(full_table_refuses_new_names_only);
	RUN(full_spool_refuses_until_there_is_room);
	RUN(only_forged_properties_go);
	RUN(many_properties_cost_no_square);
	RUN(no_memory_is_no_way_round);
	RUN(step_refuses_for_good);
	RUN(refusal_leaves_what_came);
	RUN(pause_between_the_readings_is_no_step);
	RUN(unsynchronised_refuses_while_it_lasts);
	RUN(kernel_is_asked_once_a_second);
	RUN(without_ticks_messages_do_their_work);
	RUN(launcher_gone_ends_the_epoch);
	RUN(reload_ends_the_epoch);
	RUN(failing_disk_stops_without_an_end);
	RUN(beacon_is_published);
	RUN(child_refuses);
	RUN(refusals_are_logged_once_a_minute);
	RUN(datagram_is_marked_inside);
	RUN(raw_token_is_a_signature);
	RUN(other_payloads_on_a_datagram_filter);
	RUN(companion_follows_its_message);
	RUN(repeats_name_the_first);
	RUN(qos_2_repeat_shows_the_first_bytes);
	RUN(forgotten_bytes_are_not_shown);
	RUN(bridge_keeps_one_foreign_mark);
	RUN(no_memory_is_never_half_a_message);
	RUN(rate_is_limited_for_each);
	RUN(size_is_limited);
	RUN(will_is_dropped_right_after_the_disconnect);
	RUN(rights_below_sigillo_are_nobodys);
	RUN(message_after_the_end_is_refused);
	RUN(start_that_fails_leaves_nothing);
	RUN(second_plugin_does_not_start);
	RUN(other_side_of_a_version_does_not_start);
	free(fields.data);
	free(carriers.data);
	return unit_end();
}
