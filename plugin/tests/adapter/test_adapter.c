/* `adapter VECTORS`: mosquitto.c between a broker and a launcher of our own, for what the real broker of one version on
 * one machine does not show: clocks that step, memory that ends, names that are no text, the other version. */
#include "broker.h"

#include "core/cbor.h"
#include "core/spool.h"

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

enum { LAST_SEQUENCE, REFUSED_CLOCK, REFUSED_SPOOL, REFUSED_TABLE, REFUSED_TOPIC, REFUSED_NAME, STRIPPED };

static struct mosquitto modern = {"crate-1", "crate-1", 5}, old = {"crate-1", "crate-1", 4};
static struct bytes fields; /* of a statement: on_bad_clock is "refuse" */

static void start(void)
{
	if (!CHECK(broker_start(span_of(fields)))) {
		printf("  %s\n", broker.line);
		exit(1);
	}
	broker_tick();
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

static void start_that_fails_leaves_nothing(void)
{
	struct bytes more = {malloc(fields.length + 4), fields.length + 4};
	memcpy(more.data, fields.data, fields.length);
	memcpy(more.data + fields.length, "\x14\x81\x61\x62", 4); /* key 20, bridge principals */
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
	RUN(no_memory_is_no_way_round);
	RUN(step_refuses_for_good);
	RUN(refusal_leaves_what_came);
	RUN(pause_between_the_readings_is_no_step);
	RUN(unsynchronised_refuses_while_it_lasts);
	RUN(kernel_is_asked_once_a_second);
	RUN(without_ticks_messages_do_their_work);
	RUN(launcher_gone_ends_the_epoch);
	RUN(reload_ends_the_epoch);
	RUN(child_refuses);
	RUN(refusals_are_logged_once_a_minute);
	RUN(start_that_fails_leaves_nothing);
	RUN(second_plugin_does_not_start);
	free(fields.data);
	return unit_end();
}
