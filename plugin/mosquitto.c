/* The plugin as Mosquitto 2.0 and 2.1 see it; the only file with their headers. Specs: spec/mark.md (what a message
 * gets), spec/epoch.md, spec/handshake.md.
 *
 * Invariants: a message on a marked filter goes on only with a mark, and the mark is in the spool before; sequence,
 * count and chain advance with the spool record and never otherwise; after the epoch end nothing is marked. The broker
 * calls from one thread. The hot path makes no system call but clock_gettime. */
#include "core/cbor.h"
#include "core/clock.h"
#include "core/epoch.h"
#include "core/filter.h"
#include "core/mark.h"
#include "core/principal.h"
#include "core/secret.h"
#include "core/spool.h"
#include "core/state.h"

#include <errno.h>
#include <fcntl.h>
#include <mosquitto.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#if !__has_include(<mosquitto/broker_plugin.h>) /* before 2.1, whose mosquitto.h brings all; the old names warn there */
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#include <mqtt_protocol.h>
#endif

#if LIBMOSQUITTO_VERSION_NUMBER >= 2001000
#define REFUSAL MOSQ_ERR_QUOTA_EXCEEDED
#define free_property mosquitto_free /* what is read of a property is counted as the broker's memory */
#else
#define REFUSAL MOSQ_ERR_ACL_DENIED
#define free_property free
#endif

#define LAUNCHER 0 /* fd */
#define PACKET_ROOM 65536
#define STEP_MS 30000
#define SECOND INT64_C(1000000000)
#define TICK_PAUSE (SECOND / 50)
#define TICK_STALE (2 * SECOND)
#define READING_WIDTH (SECOND / 1000)
#define READING_TRIES 10
#define PROPERTY "time-mark"
#define OWN_TOPICS "sigillo/#"
#define EXPORT __attribute__((visibility("default")))

enum packet { PACKET_STATE = 1, PACKET_STATEMENT, PACKET_GO, PACKET_CHECKPOINT, PACKET_COUNTERS };
enum counter { LAST_SEQUENCE, REFUSED_CLOCK, REFUSED_SPOOL, REFUSED_TABLE, REFUSED_TOPIC, REFUSED_NAME, STRIPPED, COUNTERS };

static const char *const refusal[COUNTERS] = {
	[REFUSED_CLOCK] = "the clock was set or is not synchronised",
	[REFUSED_SPOOL] = "the spool has no room or the epoch has ended",
	[REFUSED_TABLE] = "the table of principals is full",
	[REFUSED_TOPIC] = "the topics of sigillo/# are the broker's own",
	[REFUSED_NAME] = "topic, client id or user name is too long or not UTF-8",
};

static struct {
	mosquitto_plugin_id_t *id;
	struct state state;
	uint8_t state_packet[PACKET_ROOM];
	struct secret *secret;
	uint8_t epoch_id[32];
	struct clock_guard clock;
	struct spool spool;
	struct principal_table principals;
	struct mark_writer writer;
	struct checkpoint checkpoint;
	uint8_t last[32];
	bool ended;
	uint64_t counters[COUNTERS], sent[COUNTERS];
	int64_t logged[COUNTERS], ticked, reported, prepare_again;
} plugin;

/* Clock */

static int64_t read_clock(clockid_t which)
{
	struct timespec now;
	return clock_gettime(which, &now) == 0 ? now.tv_sec * SECOND + now.tv_nsec : -1;
}

/* Both clocks at one instant: a pause of the process between the readings would look like a step, and refuse for good. */
static struct clock_reading read_clocks(void)
{
	struct clock_reading now;
	int64_t width;
	int tries = 0;
	do {
		int64_t before = read_clock(CLOCK_BOOTTIME);
		now.real = read_clock(CLOCK_REALTIME);
		width = read_clock(CLOCK_BOOTTIME) - before;
		now.boot = before + width / 2;
	} while (width > READING_WIDTH && ++tries < READING_TRIES);
	return now;
}

static struct clock_sample sample_clock(int64_t boot)
{
	struct timex kernel = {0};
	int status = ntp_adjtime(&kernel);
	bool synchronised = status >= 0 && status != TIME_ERROR && !(kernel.status & STA_UNSYNC);
	return (struct clock_sample){synchronised, kernel.maxerror * INT64_C(1000), boot};
}

/* Refusals */

/* A publisher that cannot read a reason is disconnected: a bare PUBACK would read as success. A topic that is nobody's to
 * write is a matter of rights, and answered as an ACL answers. */
static int refuse(const struct mosquitto *client, enum counter why)
{
	int64_t now = read_clock(CLOCK_BOOTTIME);
	plugin.counters[why]++;
	if (plugin.counters[why] == 1 || now - plugin.logged[why] >= 60 * SECOND) {
		plugin.logged[why] = now;
		mosquitto_log_printf(MOSQ_LOG_WARNING, "sigillo: refused %llu message(s) so far: %s",
		                     (unsigned long long)plugin.counters[why], refusal[why]);
	}
	if (why == REFUSED_TOPIC)
		return MOSQ_ERR_ACL_DENIED;
	if (mosquitto_client_protocol_version(client) < 5)
		return MOSQ_ERR_ADMINISTRATIVE_ACTION;
	return REFUSAL;
}

/* Epoch end */

static void end_epoch(enum end_reason reason)
{
	uint8_t object[512];
	struct clock_stamp stamp;
	if (plugin.ended || !secret_alive(plugin.secret))
		return;
	plugin.ended = true;
	(void)clock_stamp(&plugin.clock, read_clocks(), &stamp);
	uint64_t sequence = plugin.counters[LAST_SEQUENCE];
	size_t length = epoch_write_end(plugin.secret, plugin.epoch_id, sequence, &stamp, reason, plugin.last, object);
	(void)spool_prepare(&plugin.spool);
	if (!spool_append(&plugin.spool, SPOOL_END, sequence, object, length))
		mosquitto_log_printf(MOSQ_LOG_ERR, "sigillo: no room in the spool for the epoch end: %s", strerror(errno));
}

static void stop_broker(enum end_reason reason, const char *why)
{
	if (plugin.ended)
		return;
	mosquitto_log_printf(MOSQ_LOG_NOTICE, "sigillo: %s: the epoch ends", why);
	end_epoch(reason);
	(void)raise(SIGTERM);
}

/* Properties. Reading one returns NULL where there is no memory for the copy; an empty string is NULL on 2.1, "" on 2.0. */

static const char *or_empty(const char *text)
{
	return text ? text : "";
}

static int is_forged(const mosquitto_property *property, bool *forged)
{
	char *name = NULL;
	*forged = false;
	if (mosquitto_property_identifier(property) != MQTT_PROP_USER_PROPERTY)
		return MOSQ_ERR_SUCCESS;
	if (!mosquitto_property_read_string_pair(property, MQTT_PROP_USER_PROPERTY, &name, NULL, false))
		return MOSQ_ERR_NOMEM;
	*forged = strcmp(or_empty(name), PROPERTY) == 0;
	free_property(name);
	return MOSQ_ERR_SUCCESS;
}

static int copy_text(mosquitto_property **to, const mosquitto_property *property, int identifier)
{
	char *text = NULL;
	if (!mosquitto_property_read_string(property, identifier, &text, false))
		return MOSQ_ERR_NOMEM;
	int result = mosquitto_property_add_string(to, identifier, or_empty(text));
	free_property(text);
	return result;
}

static int copy_data(mosquitto_property **to, const mosquitto_property *property, int identifier)
{
	void *data = NULL;
	uint16_t length = 0;
	if (!mosquitto_property_read_binary(property, identifier, &data, &length, false))
		return MOSQ_ERR_NOMEM;
	int result = mosquitto_property_add_binary(to, identifier, data, length);
	free_property(data);
	return result;
}

static int copy_pair(mosquitto_property **to, const mosquitto_property *property, int identifier)
{
	char *name = NULL, *text = NULL;
	if (!mosquitto_property_read_string_pair(property, identifier, &name, &text, false))
		return MOSQ_ERR_NOMEM;
	int result = mosquitto_property_add_string_pair(to, identifier, or_empty(name), or_empty(text));
	free_property(name);
	free_property(text);
	return result;
}

/* Append a copy of one property that a PUBLISH carries into the broker. */
static int copy_property(mosquitto_property **to, const mosquitto_property *property)
{
	int identifier = mosquitto_property_identifier(property);
	uint8_t byte = 0;
	uint32_t number = 0;
	switch (identifier) {
	case MQTT_PROP_PAYLOAD_FORMAT_INDICATOR:
		(void)mosquitto_property_read_byte(property, identifier, &byte, false);
		return mosquitto_property_add_byte(to, identifier, byte);
	case MQTT_PROP_MESSAGE_EXPIRY_INTERVAL:
		(void)mosquitto_property_read_int32(property, identifier, &number, false);
		return mosquitto_property_add_int32(to, identifier, number);
	case MQTT_PROP_CONTENT_TYPE:
	case MQTT_PROP_RESPONSE_TOPIC:
		return copy_text(to, property, identifier);
	case MQTT_PROP_CORRELATION_DATA:
		return copy_data(to, property, identifier);
	case MQTT_PROP_USER_PROPERTY:
		return copy_pair(to, property, identifier);
	default: /* topic alias and subscription identifier are the broker's business, not the message's */
		return MOSQ_ERR_SUCCESS;
	}
}

static int count_forged(const mosquitto_property *properties, uint64_t *count)
{
	*count = 0;
	for (const mosquitto_property *at = properties; at; at = mosquitto_property_next(at)) {
		bool forged;
		int result = is_forged(at, &forged);
		if (result != MOSQ_ERR_SUCCESS)
			return result;
		*count += forged;
	}
	return MOSQ_ERR_SUCCESS;
}

/* Take every `time-mark` that the client sent out of the list; the others keep their order. */
static int strip_forged(mosquitto_property **properties)
{
	mosquitto_property *kept = NULL;
	uint64_t stripped;
	int result = count_forged(*properties, &stripped);
	if (result != MOSQ_ERR_SUCCESS || stripped == 0)
		return result;
	for (const mosquitto_property *at = *properties; at; at = mosquitto_property_next(at)) {
		bool forged;
		result = is_forged(at, &forged);
		if (result == MOSQ_ERR_SUCCESS && !forged)
			result = copy_property(&kept, at);
		if (result != MOSQ_ERR_SUCCESS) {
			mosquitto_property_free_all(&kept);
			return result;
		}
	}
	mosquitto_property_free_all(properties);
	*properties = kept;
	plugin.counters[STRIPPED] += stripped;
	return MOSQ_ERR_SUCCESS;
}

/* Launcher */

static bool send_packet(enum packet type, const uint8_t *body, size_t length)
{
	static uint8_t packet[PACKET_ROOM];
	if (length >= sizeof packet)
		return false;
	packet[0] = (uint8_t)type;
	memcpy(packet + 1, body, length);
	return send(LAUNCHER, packet, length + 1, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)(length + 1);
}

/* NULL and the body in `packet`, or what went wrong. */
static const char *expect_packet(enum packet type, uint8_t packet[PACKET_ROOM], struct span *body)
{
	struct pollfd launcher = {.fd = LAUNCHER, .events = POLLIN};
	int ready;
	do
		ready = poll(&launcher, 1, STEP_MS);
	while (ready < 0 && errno == EINTR);
	if (ready == 0)
		return "the launcher said nothing for 30 s";
	ssize_t length = recv(LAUNCHER, packet, PACKET_ROOM, MSG_DONTWAIT | MSG_TRUNC);
	if (length <= 0)
		return "the launcher closed the connection";
	if (length > PACKET_ROOM || packet[0] != (uint8_t)type)
		return "the launcher sent another packet than the one due";
	*body = (struct span){packet + 1, (size_t)length - 1};
	return NULL;
}

static void read_launcher(void)
{
	uint8_t packet[PACKET_ROOM];
	for (;;) {
		ssize_t length = recv(LAUNCHER, packet, sizeof packet, MSG_DONTWAIT);
		if (length < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (length <= 0) {
			stop_broker(END_LAUNCHER_GONE, "the launcher is gone");
			return;
		}
		struct checkpoint newest = {.size = length == 41 ? get_u64(packet + 1) : 0};
		if (length == 41)
			memcpy(newest.root, packet + 9, sizeof newest.root);
		if (packet[0] != PACKET_CHECKPOINT || length != 41 || newest.size < plugin.checkpoint.size || !checkpoint_valid(&newest)) {
			mosquitto_log_printf(MOSQ_LOG_WARNING, "sigillo: ignored a packet of the launcher, type %d, %zd bytes", packet[0], length);
			continue;
		}
		plugin.checkpoint = newest;
	}
}

static void send_counters(void)
{
	uint8_t body[1 + COUNTERS * CBOR_MAX_HEAD], *at = cbor_put_head(body, CBOR_ARRAY, COUNTERS);
	if (memcmp(plugin.counters, plugin.sent, sizeof plugin.counters) == 0)
		return;
	for (int i = 0; i < COUNTERS; i++)
		at = cbor_put_head(at, CBOR_UINT, plugin.counters[i]);
	if (send_packet(PACKET_COUNTERS, body, (size_t)(at - body)))
		memcpy(plugin.sent, plugin.counters, sizeof plugin.sent);
}

static int on_tick(int event_kind, void *event_data, void *userdata)
{
	(void)event_kind, (void)event_data, (void)userdata;
	int64_t now = read_clock(CLOCK_BOOTTIME);
	if (!secret_alive(plugin.secret)) /* a forked child: spool and launcher are the parent's */
		return MOSQ_ERR_SUCCESS;
	/* nothing to do while one is ready; a refusal says when the disk is full, which costs too much to ask every time */
	if (now >= plugin.prepare_again && !spool_prepare(&plugin.spool))
		plugin.prepare_again = now + TICK_PAUSE;
	if (plugin.ended || now - plugin.ticked < TICK_PAUSE)
		return MOSQ_ERR_SUCCESS;
	plugin.ticked = now;
	if (now - plugin.clock.sample.boot >= SECOND)
		plugin.clock.sample = sample_clock(now);
	read_launcher();
	if (now - plugin.reported >= SECOND) {
		plugin.reported = now;
		send_counters();
	}
	return MOSQ_ERR_SUCCESS;
}

/* Messages */

static bool is_marked(const char *topic, size_t length)
{
	for (size_t i = 0; i < plugin.state.filter_count; i++) {
		struct span filter = plugin.state.filters[i];
		if (filter_matches((const char *)filter.data, filter.length, topic, length))
			return true;
	}
	return false;
}

static struct span text_of(const char *text)
{
	return (struct span){(const uint8_t *)(text ? text : ""), text ? strlen(text) : 0};
}

static bool names_good(const struct mark *mark)
{
	return mark_fits(mark) && utf8_valid((const char *)mark->topic.data, mark->topic.length) &&
	       utf8_valid((const char *)mark->client_id.data, mark->client_id.length) &&
	       utf8_valid((const char *)mark->principal.data, mark->principal.length);
}

static int mark_message(struct mosquitto_evt_message *event)
{
	static char value[sodium_base64_ENCODED_LEN(MARK_MAX_OBJECT, sodium_base64_VARIANT_URLSAFE_NO_PADDING)];
	struct clock_reading now = read_clocks();
	if (now.boot - plugin.ticked > TICK_STALE) /* 2.0.11 gives no ticks under `per_listener_settings true` */
		(void)on_tick(MOSQ_EVT_TICK, NULL, NULL);
	struct mark mark = {
		.sequence = plugin.counters[LAST_SEQUENCE] + 1,
		.topic = text_of(event->topic),
		.client_id = text_of(mosquitto_client_id(event->client)),
		.principal = text_of(mosquitto_client_username(event->client)),
		.qos = event->qos,
		.retain = event->retain,
		.payload = {event->payload, event->payloadlen},
		.checkpoint = plugin.checkpoint,
	};
	if (plugin.ended || !secret_alive(plugin.secret))
		return refuse(event->client, REFUSED_SPOOL);
	if (!names_good(&mark))
		return refuse(event->client, REFUSED_NAME);
	if (clock_stamp(&plugin.clock, now, &mark.stamp) != CLOCK_GOOD)
		return refuse(event->client, REFUSED_CLOCK);
	struct principal *principal = principal_find(&plugin.principals, (const char *)mark.principal.data, mark.principal.length);
	if (!principal)
		return refuse(event->client, REFUSED_TABLE);
	mark.count = principal->count + 1;
	mark.previous = principal->count ? principal->last : plugin.epoch_id;
	mark_write(&plugin.writer, &mark);
	if (!spool_append(&plugin.spool, SPOOL_MARK, mark.sequence, plugin.writer.object, plugin.writer.length))
		return refuse(event->client, REFUSED_SPOOL);
	plugin.counters[LAST_SEQUENCE] = mark.sequence;
	principal_advance(&plugin.principals, principal, plugin.writer.hash);
	memcpy(plugin.last, plugin.writer.hash, sizeof plugin.last);
	(void)sodium_bin2base64(value, sizeof value, plugin.writer.object, plugin.writer.length, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	return mosquitto_property_add_string_pair(&event->properties, MQTT_PROP_USER_PROPERTY, PROPERTY, value);
}

static int on_message(int event_kind, void *event_data, void *userdata)
{
	struct mosquitto_evt_message *event = event_data;
	(void)event_kind, (void)userdata;
	if (!event->client) /* the broker or a plugin publishes: not marked */
		return MOSQ_ERR_SUCCESS;
	if (filter_matches(OWN_TOPICS, sizeof OWN_TOPICS - 1, event->topic, strlen(event->topic)))
		return refuse(event->client, REFUSED_TOPIC);
	int result = strip_forged(&event->properties);
	if (result == MOSQ_ERR_SUCCESS && is_marked(event->topic, strlen(event->topic)))
		result = mark_message(event);
	return result;
}

/* DEFER: any other answer keeps the broker from reading its ACL file again. */
static int on_reload(int event_kind, void *event_data, void *userdata)
{
	(void)event_kind, (void)event_data, (void)userdata;
	stop_broker(END_RELOAD, "the configuration was reloaded");
	return MOSQ_ERR_PLUGIN_DEFER;
}

/* Start */

static const char *check_launcher(void)
{
	int type = 0, domain = 0;
	socklen_t length = sizeof type;
	if (getsockopt(LAUNCHER, SOL_SOCKET, SO_TYPE, &type, &length) != 0 || type != SOCK_SEQPACKET ||
	    getsockopt(LAUNCHER, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0 || domain != AF_UNIX)
		return "start the broker with \"sigillo up\"";
	(void)fcntl(LAUNCHER, F_SETFD, FD_CLOEXEC);
	return NULL;
}

static const char *make_table(void)
{
	uint8_t key[PRINCIPAL_KEY];
	randombytes_buf(key, sizeof key);
	return principal_table_init(&plugin.principals, plugin.state.principal_limit, key) ? NULL : "no memory for the table of principals";
}

static const char *make_secret(void)
{
	uint8_t seed[crypto_sign_SEEDBYTES], salt_key[32];
	if (prctl(PR_SET_DUMPABLE, 0) != 0 || !(plugin.secret = secret_new()))
		return "cannot protect the epoch key in memory (is RLIMIT_MEMLOCK 0?)";
	randombytes_buf(seed, sizeof seed);
	randombytes_buf(salt_key, sizeof salt_key);
	secret_fill(plugin.secret, seed, salt_key);
	sodium_memzero(seed, sizeof seed);
	sodium_memzero(salt_key, sizeof salt_key);
	return NULL;
}

static const char *begin_clock(struct clock_stamp *start)
{
	struct clock_reading now = read_clocks();
	plugin.clock.refuse_unsynchronised = plugin.state.refuse_unsynchronised;
	plugin.clock.bound_meaningful = plugin.state.bound_meaningful;
	if (!clock_begin(&plugin.clock, now, sample_clock(now.boot), plugin.state.floor))
		return "the clock is before the end of the previous epoch";
	if (clock_stamp(&plugin.clock, now, start) != CLOCK_GOOD)
		return "the clock is not synchronised, and on_bad_clock is \"refuse\"";
	return NULL;
}

static const char *open_spool(const uint8_t *statement, size_t length)
{
	char root[4096 + 1];
	struct span folder = plugin.state.spool_folder;
	(void)snprintf(root, sizeof root, "%.*s", (int)folder.length, (const char *)folder.data);
	if (!spool_open(&plugin.spool, root, plugin.state.segment_size, plugin.state.epoch, plugin.epoch_id)) {
		mosquitto_log_printf(MOSQ_LOG_ERR, "sigillo: spool folder %s: %s", root, strerror(errno));
		return "cannot open the spool";
	}
	if (!spool_append(&plugin.spool, SPOOL_STATEMENT, 0, statement, length))
		return "the epoch statement does not fit a spool segment";
	return NULL;
}

/* STATE in, STATEMENT out, GO in: nothing is marked, and no listener opens, before all three. */
static const char *shake_hands(void)
{
	static uint8_t statement[EPOCH_ROOM], go[PACKET_ROOM];
	struct span body;
	struct clock_stamp start;
	const char *error = expect_packet(PACKET_STATE, plugin.state_packet, &body);
	error = error ? error : state_decode(body, &plugin.state);
	error = error ? error : begin_clock(&start);
	error = error ? error : make_table();
	error = error ? error : make_secret();
	if (error)
		return error;
	size_t length = epoch_write_statement(&plugin.state, plugin.secret, start.time, statement, plugin.epoch_id);
	if (length == 0 || !send_packet(PACKET_STATEMENT, statement, length))
		return "cannot send the epoch statement";
	error = expect_packet(PACKET_GO, go, &body);
	if (error)
		return error;
	if (body.length != sizeof plugin.epoch_id || memcmp(body.data, plugin.epoch_id, body.length) != 0)
		return "the launcher confirmed another epoch";
	return open_spool(statement, length);
}

/* What is left still knows the filters, and refuses: a secret that is not there is not alive. */
static void wipe(void)
{
	principal_table_free(&plugin.principals);
	secret_free(plugin.secret);
	plugin.secret = NULL;
}

EXPORT int mosquitto_plugin_version(int supported_version_count, const int *supported_versions)
{
	for (int i = 0; i < supported_version_count; i++)
		if (supported_versions[i] == MOSQ_PLUGIN_VERSION)
			return MOSQ_PLUGIN_VERSION;
	return -1;
}

static const char *begin_marking(mosquitto_plugin_id_t *identifier)
{
	plugin.checkpoint = plugin.state.checkpoint;
	memcpy(plugin.last, plugin.epoch_id, sizeof plugin.last);
	mark_writer_init(&plugin.writer, plugin.secret, plugin.epoch_id);
	if (mosquitto_callback_register(identifier, MOSQ_EVT_MESSAGE, on_message, NULL, NULL) != MOSQ_ERR_SUCCESS ||
	    mosquitto_callback_register(identifier, MOSQ_EVT_TICK, on_tick, NULL, NULL) != MOSQ_ERR_SUCCESS ||
	    mosquitto_callback_register(identifier, MOSQ_EVT_RELOAD, on_reload, NULL, NULL) != MOSQ_ERR_SUCCESS)
		return "the broker takes no callbacks";
	plugin.id = identifier;
	return NULL;
}

EXPORT int mosquitto_plugin_init(mosquitto_plugin_id_t *identifier, void **userdata, struct mosquitto_opt *options, int option_count)
{
	(void)userdata, (void)options, (void)option_count;
	if (plugin.id) {
		mosquitto_log_printf(MOSQ_LOG_ERR, "sigillo: the broker does not start: the plugin is loaded twice");
		return MOSQ_ERR_UNKNOWN;
	}
	memset(&plugin, 0, sizeof plugin);
	const char *error = sodium_init() < 0 ? "libsodium does not start" : check_launcher();
	error = error ? error : shake_hands();
	error = error ? error : begin_marking(identifier);
	if (error) {
		mosquitto_log_printf(MOSQ_LOG_ERR, "sigillo: the broker does not start: %s", error);
		wipe();
		return MOSQ_ERR_UNKNOWN;
	}
	return MOSQ_ERR_SUCCESS;
}

EXPORT int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int option_count)
{
	(void)userdata, (void)options, (void)option_count;
	if (!plugin.id) /* the start failed */
		return MOSQ_ERR_SUCCESS;
	if (secret_alive(plugin.secret)) { /* not in a forked child: spool and launcher are the parent's */
		end_epoch(END_STOP);
		send_counters();
		spool_close(&plugin.spool);
	}
	(void)mosquitto_callback_unregister(plugin.id, MOSQ_EVT_MESSAGE, on_message, NULL);
	(void)mosquitto_callback_unregister(plugin.id, MOSQ_EVT_TICK, on_tick, NULL);
	(void)mosquitto_callback_unregister(plugin.id, MOSQ_EVT_RELOAD, on_reload, NULL);
	wipe();
	plugin.id = NULL;
	return MOSQ_ERR_SUCCESS;
}
