/* See broker.h. Linked with --wrap for clock_gettime, ntp_adjtime, fdatasync. */
#include "broker.h"

#include "core/cbor.h"
#include "core/mark.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 32
#define SOME_ID ((mosquitto_plugin_id_t *)&broker)

struct broker broker;
static MOSQ_FUNC_generic_callback callbacks[EVENTS];
static MOSQ_FUNC_generic_callback on_message; /* kept when it is unregistered: a message may come after the plugin's end */

/* Clocks */

int __wrap_clock_gettime(clockid_t which, struct timespec *now);
int __wrap_clock_gettime(clockid_t which, struct timespec *now)
{
	int64_t value = which == CLOCK_REALTIME ? broker.real : broker.boot;
	*now = (struct timespec){value / SECOND, value % SECOND};
	if (broker.pauses > 0) {
		broker.pauses--;
		broker_pass(broker.pause);
	}
	return 0;
}

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	errno = EIO;
	return broker.disk_fails ? -1 : __real_fdatasync(fd);
}

int __wrap_ntp_adjtime(struct timex *kernel);
int __wrap_ntp_adjtime(struct timex *kernel)
{
	broker.samples++;
	kernel->status = broker.unsynchronised ? STA_UNSYNC : 0;
	kernel->maxerror = 1000;
	return broker.unsynchronised ? TIME_ERROR : TIME_OK;
}

void broker_pass(int64_t ns)
{
	broker.real += ns;
	broker.boot += ns;
}

/* What the plugin asks of a broker */

int mosquitto_lib_version(int *major, int *minor, int *revision)
{
	int version = broker.settings.version ? broker.settings.version : LIBMOSQUITTO_VERSION_NUMBER;
	*major = version / 1000000;
	*minor = version / 1000 % 1000;
	*revision = version % 1000;
	return version;
}

#if LIBMOSQUITTO_VERSION_NUMBER >= 2001000
int mosquitto_plugin_set_info(mosquitto_plugin_id_t *id, const char *name, const char *version)
{
	(void)id, (void)name, (void)version;
	return MOSQ_ERR_SUCCESS;
}
#endif

int mosquitto_callback_register(mosquitto_plugin_id_t *id, int event, MOSQ_FUNC_generic_callback callback, const void *data, void *user)
{
	(void)id, (void)data, (void)user;
	callbacks[event] = callback;
	if (event == MOSQ_EVT_MESSAGE)
		on_message = callback;
	return MOSQ_ERR_SUCCESS;
}

int mosquitto_callback_unregister(mosquitto_plugin_id_t *id, int event, MOSQ_FUNC_generic_callback callback, const void *data)
{
	(void)id, (void)data;
	CHECK(callbacks[event] == callback);
	callbacks[event] = NULL;
	return MOSQ_ERR_SUCCESS;
}

void mosquitto_log_printf(int level, const char *format, ...)
{
	va_list values;
	(void)level;
	va_start(values, format);
	(void)vsnprintf(broker.line, sizeof broker.line, format, values);
	va_end(values);
	broker.lines++;
}

const char *mosquitto_client_id(const struct mosquitto *client)
{
	return client->id;
}

const char *mosquitto_client_username(const struct mosquitto *client)
{
	return client->username;
}

int mosquitto_client_protocol_version(const struct mosquitto *client)
{
	return client->version;
}

/* Properties */

struct mqtt5__property {
	mosquitto_property *next;
	int identifier;
	uint32_t number;
	char *name, *text;
	uint16_t name_length, length;
};

static void *take(size_t size)
{
	if (broker.no_memory && --broker.no_memory == 0)
		return NULL;
	return calloc(1, size);
}

static char *copy(const void *data, size_t length)
{
	char *made = take(length + 1);
	if (made && length)
		memcpy(made, data, length);
	return made;
}

/* The same, for the test itself: never without memory. */
static char *copy_of(const void *data, size_t length)
{
	char *made = calloc(1, length + 1);
	if (length)
		memcpy(made, data, length);
	return made;
}

/* A copy for the plugin; false where there is no memory. */
static bool hand_out(const char *data, size_t length, char **out)
{
#if LIBMOSQUITTO_VERSION_NUMBER >= 2001000
	*out = NULL;
	if (length == 0)
		return true;
	*out = copy(data, length);
	broker.held += *out != NULL;
#else
	*out = copy(data, length);
#endif
	return *out != NULL;
}

/* The broker's own memory, which it counts. */
void *mosquitto_malloc(size_t size)
{
	if (broker.no_memory && --broker.no_memory == 0)
		return NULL;
	broker.held++;
	return malloc(size ? size : 1);
}

void mosquitto_free(void *memory)
{
	broker.held -= memory != NULL;
	free(memory);
}

#if LIBMOSQUITTO_VERSION_NUMBER >= 2001000
mosquitto_property *mosquitto_property_next(const mosquitto_property *property)
#else
const mosquitto_property *mosquitto_property_next(const mosquitto_property *property)
#endif
{
	return property->next;
}

int mosquitto_property_identifier(const mosquitto_property *property)
{
	return property->identifier;
}

void mosquitto_property_free_all(mosquitto_property **list)
{
	while (*list) {
		mosquitto_property *next = (*list)->next;
		free((*list)->name);
		free((*list)->text);
		free(*list);
		*list = next;
	}
}

static int add(mosquitto_property **list, mosquitto_property values, const void *name, const void *text)
{
	mosquitto_property *made = take(sizeof *made);
	if (!made)
		return MOSQ_ERR_NOMEM;
	*made = values;
	made->name = copy(name, values.name_length);
	made->text = made->name ? copy(text, values.length) : NULL;
	if (!made->text) {
		mosquitto_property_free_all(&made);
		return MOSQ_ERR_NOMEM;
	}
	for (; *list; broker.walked++)
		list = &(*list)->next;
	*list = made;
	return MOSQ_ERR_SUCCESS;
}

int mosquitto_property_add_byte(mosquitto_property **list, int identifier, uint8_t value)
{
	return add(list, (mosquitto_property){.identifier = identifier, .number = value}, "", "");
}

int mosquitto_property_add_int32(mosquitto_property **list, int identifier, uint32_t value)
{
	return add(list, (mosquitto_property){.identifier = identifier, .number = value}, "", "");
}

int mosquitto_property_add_string(mosquitto_property **list, int identifier, const char *text)
{
	return add(list, (mosquitto_property){.identifier = identifier, .length = (uint16_t)strlen(text)}, "", text);
}

int mosquitto_property_add_binary(mosquitto_property **list, int identifier, const void *data, uint16_t length)
{
	return add(list, (mosquitto_property){.identifier = identifier, .length = length}, "", data);
}

int mosquitto_property_add_string_pair(mosquitto_property **list, int identifier, const char *name, const char *text)
{
	mosquitto_property values = {.identifier = identifier, .name_length = (uint16_t)strlen(name), .length = (uint16_t)strlen(text)};
	return add(list, values, name, text);
}

static const mosquitto_property *find(const mosquitto_property *list, int identifier)
{
	while (list && list->identifier != identifier)
		list = list->next;
	return list;
}

const mosquitto_property *mosquitto_property_read_byte(const mosquitto_property *list, int identifier, uint8_t *value, bool skip)
{
	(void)skip;
	list = find(list, identifier);
	*value = list ? (uint8_t)list->number : 0;
	return list;
}

const mosquitto_property *mosquitto_property_read_int32(const mosquitto_property *list, int identifier, uint32_t *value, bool skip)
{
	(void)skip;
	list = find(list, identifier);
	*value = list ? list->number : 0;
	return list;
}

const mosquitto_property *mosquitto_property_read_string(const mosquitto_property *list, int identifier, char **text, bool skip)
{
	(void)skip;
	list = find(list, identifier);
	return list && hand_out(list->text, list->length, text) ? list : NULL;
}

const mosquitto_property *mosquitto_property_read_binary(const mosquitto_property *list, int identifier, void **data, uint16_t *length, bool skip)
{
	char *out = NULL;
	(void)skip;
	list = find(list, identifier);
	*length = list ? list->length : 0; /* also where there is then no memory for the data */
	bool good = list && hand_out(list->text, list->length, &out);
	*data = out;
	return good ? list : NULL;
}

const mosquitto_property *mosquitto_property_read_string_pair(const mosquitto_property *list, int identifier, char **name, char **text, bool skip)
{
	(void)skip;
	list = find(list, identifier);
	if (!list || (name && !hand_out(list->name, list->name_length, name)))
		return NULL;
	if (!text || hand_out(list->text, list->length, text))
		return list;
	if (name) {
#if LIBMOSQUITTO_VERSION_NUMBER >= 2001000
		mosquitto_free(*name);
#else
		free(*name);
#endif
		*name = NULL;
	}
	return NULL;
}

/* Publishing: the payload is the broker's where it succeeds */

int mosquitto_broker_publish(const char *client_id, const char *topic, int length, void *payload, int qos, bool retain,
                             mosquitto_property *properties)
{
	char *name = take(strlen(topic) + 1); /* two allocations, as the broker's: the message and its topic */
	void *unused = name ? take(1) : NULL;
	bool good = unused != NULL;
	CHECK(client_id == NULL && properties == NULL && length >= 0 && (length == 0 || payload));
	if (good && broker.publishes < PUBLISHED) {
		struct published *made = &broker.published[broker.publishes];
		(void)snprintf(made->topic, sizeof made->topic, "%s", topic);
		made->payload = (struct bytes){(uint8_t *)copy_of(payload, (size_t)length), (size_t)length};
		made->qos = qos;
		made->retain = retain;
	}
	broker.publishes += good;
	free(name);
	free(unused);
	if (good)
		mosquitto_free(payload);
	return good ? MOSQ_ERR_SUCCESS : MOSQ_ERR_NOMEM;
}

void broker_forget(void)
{
	for (int i = 0; i < broker.publishes && i < PUBLISHED; i++)
		free(broker.published[i].payload.data);
	broker.publishes = 0;
}

/* The launcher */

static uint8_t *put_flag(uint8_t *at, uint64_t key, bool flag)
{
	return cbor_put_head(cbor_put_head(at, CBOR_UINT, key), CBOR_SIMPLE, flag ? CBOR_TRUE : CBOR_FALSE);
}

static uint8_t *put_number(uint8_t *at, uint64_t key, uint64_t number)
{
	return cbor_put_head(cbor_put_head(at, CBOR_UINT, key), CBOR_UINT, number);
}

static size_t state_packet(struct span fields, uint8_t *out)
{
	uint8_t *at = out;
	*at++ = 1;
	at = cbor_put_head(at, CBOR_ARRAY, 2);
	memcpy(at, fields.data, fields.length);
	at = cbor_put_head(at + fields.length, CBOR_MAP, 8);
	at = cbor_put_text(cbor_put_head(at, CBOR_UINT, 1), broker.spool, strlen(broker.spool));
	at = put_number(put_number(at, 2, 65536), 3, 2);
	at = put_flag(put_flag(at, 4, false), 5, broker.settings.raw_tokens);
	at = put_number(put_number(at, 6, broker.settings.rate), 7, broker.settings.largest);
	at = put_flag(at, 8, broker.settings.access_list);
	return (size_t)(at - out);
}

static void *confirm(void *unused)
{
	static uint8_t statement[65536];
	uint8_t go[33] = {3};
	ssize_t length = recv(broker.launcher, statement, sizeof statement, 0);
	memcpy(broker.statement, statement + 1, length > 0 ? (size_t)length - 1 : 0);
	broker.statement_length = length > 0 ? (size_t)length - 1 : 0;
	if (length < 3 || statement[0] != 2)
		return unused; /* the start failed before */
	struct span array = {statement + 2, (size_t)length - 2}; /* type and tag taken off */
	object_hash("sigillo/v1/epoch-statement\n", &array, 1, go + 1);
	broker_send(go, sizeof go);
	return unused;
}

static void count_term(int signal_number)
{
	(void)signal_number;
	broker.terms++;
}

bool broker_start(struct span fields)
{
	static uint8_t state[65536];
	int pair[2];
	pthread_t launcher;
	(void)signal(SIGTERM, count_term);
	struct settings settings = broker.settings;
	memset(&broker, 0, sizeof broker);
	broker.settings = settings;
	broker.real = INT64_C(1800000000) * SECOND;
	broker.boot = 1000 * SECOND;
	folder_make(broker.spool);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) != 0 || dup2(pair[1], STDIN_FILENO) < 0)
		abort();
	(void)close(pair[1]);
	broker.launcher = pair[0];
	broker_send(state, state_packet(fields, state));
	if (pthread_create(&launcher, NULL, confirm, NULL) != 0)
		abort();
	bool started = mosquitto_plugin_init(SOME_ID, NULL, NULL, 0) == MOSQ_ERR_SUCCESS;
	if (!started)
		(void)shutdown(broker.launcher, SHUT_RD); /* ends the thread's wait */
	(void)pthread_join(launcher, NULL);
	return started;
}

void broker_close_launcher(void)
{
	if (broker.launcher >= 0)
		(void)close(broker.launcher);
	broker.launcher = -1;
}

void broker_stop(void)
{
	CHECK(mosquitto_plugin_cleanup(NULL, NULL, 0) == MOSQ_ERR_SUCCESS);
	broker_forget();
	CHECK(broker.held == 0);
	for (int event = 0; event < EVENTS; event++)
		CHECK(callbacks[event] == NULL);
	broker_close_launcher(); /* standard input stays: the next start takes its place */
	folder_remove(broker.spool);
}

void broker_send(const uint8_t *packet, size_t length)
{
	CHECK(send(broker.launcher, packet, length, MSG_NOSIGNAL) == (ssize_t)length);
}

/* Events */

void broker_tick(void)
{
	CHECK(callbacks[MOSQ_EVT_TICK](MOSQ_EVT_TICK, NULL, NULL) == MOSQ_ERR_SUCCESS);
}

int broker_reload(void)
{
	return callbacks[MOSQ_EVT_RELOAD](MOSQ_EVT_RELOAD, NULL, NULL);
}

/* What each version does with what the plugin replaced: plugin__handle_message. */
static bool takes(int result)
{
	return result == MOSQ_ERR_SUCCESS || LIBMOSQUITTO_VERSION_NUMBER < 2001000;
}

/* The event, and what the version compiled for makes of its outcome; the properties that stay are the caller's. */
static int handle(struct mosquitto_evt_message *event)
{
	struct mosquitto_evt_message came = *event;
	int result = on_message(MOSQ_EVT_MESSAGE, event, NULL);
	if (!takes(result)) {
		*event = came;
		return result;
	}
	if (event->payload != came.payload)
		mosquitto_free(came.payload);
	if (event->properties != came.properties && LIBMOSQUITTO_VERSION_NUMBER >= 2000015)
		mosquitto_property_free_all(&came.properties);
	return result;
}

int broker_receive(struct mosquitto *client, const char *topic, struct message *message)
{
	int no_memory = broker.no_memory;
	struct mosquitto_evt_message event = {.client = client, .qos = message->qos, .retain = message->retain};
	broker.no_memory = 0; /* until the plugin has it */
	event.topic = copy_of(topic, strlen(topic));
	event.payloadlen = (uint32_t)message->payload.length;
	event.payload = event.payloadlen ? mosquitto_malloc(event.payloadlen) : NULL;
	if (event.payload)
		memcpy(event.payload, message->payload.data, event.payloadlen);
	event.properties = message->properties;
	broker.no_memory = no_memory;
	int result = handle(&event);
	message->properties = event.properties;
	message->out = (struct bytes){NULL, 0};
	if (result == MOSQ_ERR_SUCCESS)
		message->out = (struct bytes){(uint8_t *)copy_of(event.payload, event.payloadlen), event.payloadlen};
	mosquitto_free(event.payload);
	free(event.topic);
	return result;
}

int broker_message(struct mosquitto *client, const char *topic, mosquitto_property **properties)
{
	struct message message = {.payload = {(const uint8_t *)"payload", 7}, .qos = 1, .properties = *properties};
	int result = broker_receive(client, topic, &message);
	*properties = message.properties;
	free(message.out.data);
	return result;
}

int broker_acl(struct mosquitto *client, const char *topic, int access)
{
	struct mosquitto_evt_acl_check event = {.client = client, .topic = topic, .access = access};
	return callbacks[MOSQ_EVT_ACL_CHECK] ? callbacks[MOSQ_EVT_ACL_CHECK](MOSQ_EVT_ACL_CHECK, &event, NULL) : MOSQ_ERR_PLUGIN_DEFER;
}

void broker_disconnect(struct mosquitto *client)
{
	struct mosquitto_evt_disconnect event = {.client = client};
	if (callbacks[MOSQ_EVT_DISCONNECT])
		CHECK(callbacks[MOSQ_EVT_DISCONNECT](MOSQ_EVT_DISCONNECT, &event, NULL) == MOSQ_ERR_SUCCESS);
}

static void read_counters(void)
{
	uint8_t packet[256];
	ssize_t length;
	while ((length = recv(broker.launcher, packet, sizeof packet, MSG_DONTWAIT)) > 0) {
		struct cbor_reader reader = cbor_reader((struct span){packet + 1, (size_t)length - 1});
		CHECK(packet[0] == 5 && cbor_get_head(&reader, CBOR_ARRAY) == COUNTERS);
		for (int i = 0; i < COUNTERS; i++)
			broker.counters[i] = cbor_get_head(&reader, CBOR_UINT);
		CHECK(cbor_done(&reader));
	}
}

uint64_t broker_counter(int index)
{
	read_counters(); /* makes room: a packet that would block is dropped */
	broker_pass(SECOND);
	broker_tick();
	read_counters();
	return broker.counters[index];
}
