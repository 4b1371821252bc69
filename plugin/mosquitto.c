/* The plugin as Mosquitto 2.0 and 2.1 see it. With property.c the only file that knows them. Specs: spec/mark.md (what a
 * message gets), spec/marked-datagram.md, spec/epoch.md, spec/handshake.md, spec/path.md (which messages come here at all).
 *
 * Invariants: a message on a marked filter goes on only with a mark, and the mark is in the spool before; sequence,
 * count and chain advance with the spool record and never otherwise; after the epoch end nothing is marked. The broker
 * calls from one thread. The hot path makes no system call but clock_gettime, under `strict` fdatasync, and where a spool
 * segment is full those that put it away. docs/plugin-review.md has the argument for each. */
#include "broker.h"
#include "core/cbor.h"
#include "core/clock.h"
#include "core/datagram.h"
#include "core/epoch.h"
#include "core/filter.h"
#include "core/mark.h"
#include "core/principal.h"
#include "core/repeat.h"
#include "core/secret.h"
#include "core/spool.h"
#include "core/state.h"
#include "property.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define LAUNCHER 0 /* fd */
#define PACKET_ROOM 65536
#define STEP_MS 30000
#define SECOND INT64_C(1000000000)
#define TICK_PAUSE (SECOND / 50)
#define TICK_STALE (2 * SECOND)
#define READING_WIDTH (SECOND / 1000)
#define READING_TRIES 10
#define OWN_TOPICS "sigillo/#"
#define COMPANION "sigillo/mark/"
#define BEACON "sigillo/checkpoint"
#define CHECKPOINT_SIZE 40 /* size and root; behind them the note */
#define MAX_BEACON 8192
#define MAX_CARRIED (268435455 - 131072) /* an MQTT packet, less room for all that is not topic and payload */
#define EXPORT __attribute__((visibility("default")))

enum packet { PACKET_STATE = 1, PACKET_STATEMENT, PACKET_GO, PACKET_CHECKPOINT, PACKET_COUNTERS };
enum counter {
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
	COUNTERS,
};

static const char *const refusal[COUNTERS] = {
	[REFUSED_CLOCK] = "the clock was set or is not synchronised",
	[REFUSED_SPOOL] = "the spool has no room or the epoch has ended",
	[REFUSED_TABLE] = "the table of principals is full",
	[REFUSED_TOPIC] = "the topics of sigillo/# are the broker's own",
	[REFUSED_NAME] = "topic, client id or user name is too long or not UTF-8",
	[REFUSED_DATAGRAM] = "the payload has the broker's keys INGESTION_TIME or VERIFICATION_TOKEN",
	[REFUSED_RATE] = "more messages a second than the settings allow one principal",
	[REFUSED_SIZE] = "a payload larger than the settings, or an MQTT packet with a mark, allow",
	[DROPPED_WILLS] = "a last will on a marked topic, which cannot be marked",
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
	struct repeat_table repeats;
	struct mark_writer writer;
	struct checkpoint checkpoint;
	uint8_t last[32];
	const struct mosquitto *leaving; /* whose DISCONNECT was the event before this one */
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
 * write is a matter of rights, and answered as an ACL answers; so are, where a reason can be read, the broker's keys. */
static int refuse(const struct mosquitto *client, enum counter why)
{
	int64_t now = read_clock(CLOCK_BOOTTIME);
	plugin.counters[why]++;
	if (plugin.counters[why] == 1 || now - plugin.logged[why] >= 60 * SECOND) {
		plugin.logged[why] = now;
		mosquitto_log_printf(MOSQ_LOG_WARNING, "sigillo: refused %llu message(s) so far: %s",
		                     (unsigned long long)plugin.counters[why], refusal[why]);
	}
	if (why == REFUSED_TOPIC || why == DROPPED_WILLS)
		return MOSQ_ERR_ACL_DENIED;
	if (mosquitto_client_protocol_version(client) < 5)
		return MOSQ_ERR_ADMINISTRATIVE_ACTION;
	return why == REFUSED_DATAGRAM ? MOSQ_ERR_ACL_DENIED : REFUSAL;
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

/* `strict`: what a failed flush covered is not believed and not tried again. Nothing more is marked, and no end is signed:
 * the next epoch says that this one ended without. */
static void give_up(void)
{
	if (plugin.ended)
		return;
	plugin.ended = true;
	mosquitto_log_printf(MOSQ_LOG_ERR, "sigillo: spool folder %s: cannot be flushed (%s): the broker stops, without an epoch end",
	                     plugin.spool.folder, strerror(errno));
	(void)raise(SIGTERM);
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

/* The beacon, for everybody who may read it: spec/log.md. */
static void publish_beacon(struct span note)
{
	uint8_t *payload = note.length ? mosquitto_malloc(note.length) : NULL;
	if (!payload)
		return;
	memcpy(payload, note.data, note.length);
	if (mosquitto_broker_publish(NULL, BEACON, (int)note.length, payload, 1, true, NULL) != MOSQ_ERR_SUCCESS)
		mosquitto_free(payload); /* the next one comes */
}

/* The body of a CHECKPOINT. False where it is none, or names less than the one before. */
static bool take_checkpoint(struct span body)
{
	struct checkpoint newest;
	if (body.length < CHECKPOINT_SIZE || body.length > CHECKPOINT_SIZE + MAX_BEACON)
		return false;
	newest.size = get_u64(body.data);
	memcpy(newest.root, body.data + 8, sizeof newest.root);
	if (newest.size < plugin.checkpoint.size || !checkpoint_valid(&newest))
		return false;
	plugin.checkpoint = newest;
	publish_beacon((struct span){body.data + CHECKPOINT_SIZE, body.length - CHECKPOINT_SIZE});
	return true;
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
		if (packet[0] != PACKET_CHECKPOINT || !take_checkpoint((struct span){packet + 1, (size_t)length - 1}))
			mosquitto_log_printf(MOSQ_LOG_WARNING, "sigillo: ignored a packet of the launcher, type %d, %zd bytes", packet[0], length);
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
	plugin.leaving = NULL;
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

/* What a message on a marked topic is, and what becomes of it. */
struct passage {
	struct mosquitto_evt_message *event;
	const struct rule *rule;
	struct mark mark;
	enum datagram_kind kind;
	struct datagram datagram; /* where it is a signed one */
	bool identified;          /* one that can be a repeat, then under `id` */
	uint8_t id[REPEAT_ID];
	const struct repeat *first; /* the mark of the same message before */
};

static const struct rule *rule_of(const char *topic, size_t length)
{
	for (size_t i = 0; i < plugin.state.rule_count; i++) {
		struct span filter = plugin.state.rules[i].filter;
		if (filter_matches((const char *)filter.data, filter.length, topic, length))
			return &plugin.state.rules[i];
	}
	return NULL;
}

static struct span text_of(const char *text)
{
	return (struct span){(const uint8_t *)(text ? text : ""), text ? strlen(text) : 0};
}

static bool is_bridge(struct span principal)
{
	for (size_t i = 0; i < plugin.state.bridge_count; i++) {
		struct span bridge = plugin.state.bridges[i];
		if (bridge.length == principal.length && memcmp(bridge.data, principal.data, bridge.length) == 0)
			return true;
	}
	return false;
}

static bool names_good(const struct mark *mark)
{
	return mark_fits(mark) && utf8_valid((const char *)mark->topic.data, mark->topic.length) &&
	       utf8_valid((const char *)mark->client_id.data, mark->client_id.length) &&
	       utf8_valid((const char *)mark->principal.data, mark->principal.length);
}

static bool size_good(const struct mark *mark)
{
	if (plugin.state.largest && mark->payload.length > plugin.state.largest)
		return false;
	return mark->payload.length + mark->topic.length <= MAX_CARRIED;
}

/* Read the payload: whether the carrier changes it, and whether the same message was marked before. */
static void examine(struct passage *passage)
{
	struct mark *mark = &passage->mark;
	passage->kind = datagram_read(mark->payload, &passage->datagram);
	passage->identified = passage->kind == DATAGRAM_SIGNED || datagram_is_reading(mark->payload);
	if (!passage->identified)
		return;
	repeat_identify(&plugin.repeats, mark, passage->id);
	passage->first = repeat_find(&plugin.repeats, passage->id);
	mark->repeat_of = passage->first ? passage->first->sequence : 0;
}

/* Whether the message is not the broker's to take on its carrier; only here is the payload walked, which costs most. */
static bool has_keys_of_broker(struct passage *passage, bool bridge)
{
	examine(passage);
	return passage->rule->carrier == CARRIER_DATAGRAM && passage->kind == DATAGRAM_TAKEN && !bridge;
}

/* Why a message is not marked, what costs least first; COUNTERS, and its principal, where it is. */
static enum counter objection(struct passage *passage, bool bridge, struct clock_reading now, struct principal **principal)
{
	struct mark *mark = &passage->mark;
	if (plugin.ended || !secret_alive(plugin.secret))
		return REFUSED_SPOOL;
	if (!names_good(mark))
		return REFUSED_NAME;
	if (!size_good(mark))
		return REFUSED_SIZE;
	if (clock_stamp(&plugin.clock, now, &mark->stamp) != CLOCK_GOOD)
		return REFUSED_CLOCK;
	*principal = principal_find(&plugin.principals, (const char *)mark->principal.data, mark->principal.length);
	if (!*principal)
		return REFUSED_TABLE;
	if (!principal_may(*principal, now.boot, plugin.state.most_a_second))
		return REFUSED_RATE;
	return has_keys_of_broker(passage, bridge) ? REFUSED_DATAGRAM : COUNTERS;
}

static bool goes_inside(const struct passage *passage)
{
	return passage->rule->carrier == CARRIER_DATAGRAM && passage->kind == DATAGRAM_SIGNED;
}

/* The mark to show: its own; of a QoS 2 message whose payload the carrier changes the first one, for the broker knows a
 * duplicate by its bytes. */
static struct span shown_mark(const struct passage *passage, int64_t *time)
{
	static uint8_t first[MARK_MAX_OBJECT];
	*time = passage->mark.stamp.time;
	if (goes_inside(passage) && passage->mark.qos == 2 && passage->first) {
		size_t length = repeat_object(&plugin.repeats, passage->first, first);
		if (length) {
			*time = passage->first->time;
			return (struct span){first, length};
		}
	}
	return (struct span){plugin.writer.object, plugin.writer.length};
}

/* The payload with the broker's keys, in Mosquitto's memory; NULL where there is none. */
static uint8_t *mark_inside(const struct passage *passage, struct span object, int64_t time, size_t *length)
{
	uint8_t signature[crypto_sign_BYTES];
	struct span token = object;
	uint8_t *payload = mosquitto_malloc(passage->datagram.pairs.length + object.length + sizeof signature + DATAGRAM_ADDED);
	if (!payload)
		return NULL;
	if (secret_has_token(plugin.secret)) {
		size_t signed_length = datagram_write(&passage->datagram, time, (struct span){NULL, 0}, payload);
		(void)crypto_sign_detached(signature, NULL, payload, signed_length, plugin.secret->token_key);
		token = (struct span){signature, sizeof signature};
	}
	*length = datagram_write(&passage->datagram, time, token, payload);
	return payload;
}

/* Publish the mark beside the message; with the message that deletes a retained one, delete the retained companion too. */
static int publish_companion(const struct passage *passage, struct span object)
{
	static char topic[sizeof COMPANION + MARK_MAX_OBJECT]; /* a mark that fits has a shorter topic */
	const struct mark *mark = &passage->mark;
	bool deletes = mark->retain && mark->payload.length == 0;
	uint8_t *payload = mosquitto_malloc(object.length);
	if (!payload)
		return MOSQ_ERR_NOMEM;
	memcpy(payload, object.data, object.length);
	(void)snprintf(topic, sizeof topic, "%s%.*s", COMPANION, (int)mark->topic.length, (const char *)mark->topic.data);
	int result = mosquitto_broker_publish(NULL, topic, (int)object.length, payload, mark->qos, mark->retain && !deletes, NULL);
	if (result != MOSQ_ERR_SUCCESS)
		mosquitto_free(payload);
	else if (deletes)
		result = mosquitto_broker_publish(NULL, topic, 0, NULL, mark->qos, true, NULL);
	return result;
}

/* The mark is in the spool: everything that names it moves on. */
static void advance(struct passage *passage, struct principal *principal)
{
	struct span object = {plugin.writer.object, goes_inside(passage) && passage->mark.qos == 2 ? plugin.writer.length : 0};
	plugin.counters[LAST_SEQUENCE] = passage->mark.sequence;
	principal_advance(&plugin.principals, principal, plugin.writer.hash);
	memcpy(plugin.last, plugin.writer.hash, sizeof plugin.last);
	plugin.counters[REPEATS] += passage->first != NULL;
	plugin.counters[PLAIN] += passage->rule->carrier == CARRIER_DATAGRAM && !goes_inside(passage);
	if (passage->identified && !passage->first)
		repeat_add(&plugin.repeats, passage->id, passage->mark.sequence, passage->mark.stamp.time, object);
}

/* P1, P2: spec/log-storage.md. */
static bool keep_mark(uint64_t sequence)
{
	bool kept = spool_append(&plugin.spool, SPOOL_MARK, sequence, plugin.writer.object, plugin.writer.length) &&
	            spool_flush(&plugin.spool);
	if (plugin.spool.failed)
		give_up();
	return kept;
}

/* Have the mark in the spool, then on its carrier. What can fail for want of memory is done before, as far as it can be. */
static int mark_and_carry(struct passage *passage, struct principal *principal)
{
	struct mosquitto_evt_message *event = passage->event;
	int64_t time;
	size_t length = 0;
	uint8_t *payload = NULL;
	mark_write(&plugin.writer, &passage->mark);
	struct span object = shown_mark(passage, &time);
	if (goes_inside(passage) && !(payload = mark_inside(passage, object, time, &length)))
		return MOSQ_ERR_NOMEM;
	if (!keep_mark(passage->mark.sequence)) {
		mosquitto_free(payload);
		return refuse(event->client, REFUSED_SPOOL);
	}
	advance(passage, principal);
	if (payload) { /* the broker frees the one before */
		event->payload = payload;
		event->payloadlen = (uint32_t)length;
	}
	int result = MOSQ_ERR_SUCCESS;
	if (!payload || secret_has_token(plugin.secret))
		result = property_add_mark(&event->properties, object);
	if (result == MOSQ_ERR_SUCCESS && passage->rule->carrier == CARRIER_TOPIC)
		result = publish_companion(passage, object);
	return result;
}

static int mark_message(struct mosquitto_evt_message *event, const struct rule *rule, bool bridge, const struct foreign *foreign)
{
	struct clock_reading now = read_clocks();
	if (now.boot - plugin.ticked > TICK_STALE) /* 2.0.11 gives no ticks under `per_listener_settings true` */
		(void)on_tick(MOSQ_EVT_TICK, NULL, NULL);
	struct passage passage = {
		.event = event,
		.rule = rule,
		.mark = {
			.sequence = plugin.counters[LAST_SEQUENCE] + 1,
			.topic = text_of(event->topic),
			.client_id = text_of(mosquitto_client_id(event->client)),
			.principal = text_of(mosquitto_client_username(event->client)),
			.qos = event->qos,
			.retain = event->retain,
			.payload = {event->payload, event->payloadlen},
			.checkpoint = plugin.checkpoint,
			.before = foreign->kept ? foreign->hash : NULL,
		},
	};
	struct principal *principal;
	enum counter why = objection(&passage, bridge, now, &principal);
	if (why != COUNTERS)
		return refuse(event->client, why);
	passage.mark.count = principal->count + 1;
	passage.mark.previous = principal->count ? principal->last : plugin.epoch_id;
	return mark_and_carry(&passage, principal);
}

static bool is_own(const char *topic)
{
	return filter_matches(OWN_TOPICS, sizeof OWN_TOPICS - 1, topic, strlen(topic));
}

/* What becomes of what a plugin replaced: the broker frees the payload that came; the properties that came only since 2.0.15
 * (before, nobody does); and 2.1 takes nothing for a message that is refused. So a refusal puts back what came. */
static int settle(struct mosquitto_evt_message *event, struct mosquitto_evt_message came, int result)
{
	bool payload_replaced = event->payload != came.payload, properties_replaced = event->properties != came.properties;
	if (result == MOSQ_ERR_SUCCESS) {
		if (properties_replaced && !BROKER_FREES_PROPERTIES)
			mosquitto_property_free_all(&came.properties);
		return result;
	}
	if (payload_replaced)
		mosquitto_free(event->payload);
	if (properties_replaced)
		mosquitto_property_free_all(&event->properties);
	*event = came;
	return result;
}

static int strip_and_mark(struct mosquitto_evt_message *event)
{
	struct foreign foreign;
	bool bridge = plugin.state.bridge_count && is_bridge(text_of(mosquitto_client_username(event->client)));
	int result = property_strip(&event->properties, bridge, &foreign);
	if (result != MOSQ_ERR_SUCCESS)
		return result;
	plugin.counters[STRIPPED] += foreign.stripped;
	const struct rule *rule = rule_of(event->topic, strlen(event->topic));
	return rule ? mark_message(event, rule, bridge, &foreign) : MOSQ_ERR_SUCCESS;
}

static int on_message(int event_kind, void *event_data, void *userdata)
{
	struct mosquitto_evt_message *event = event_data;
	(void)event_kind, (void)userdata;
	plugin.leaving = NULL;
	if (!event->client) /* the broker or a plugin publishes: not marked */
		return MOSQ_ERR_SUCCESS;
	if (is_own(event->topic))
		return refuse(event->client, REFUSED_TOPIC);
	struct mosquitto_evt_message came = *event;
	return settle(event, came, strip_and_mark(event));
}

/* Last wills do not come as messages. Where the broker asks about rights, whoever writes below sigillo/ is denied there too,
 * and a write right after the client's DISCONNECT is its will's: one on a marked topic goes no further. */
static int on_acl_check(int event_kind, void *event_data, void *userdata)
{
	const struct mosquitto_evt_acl_check *event = event_data;
	const struct mosquitto *leaving = plugin.leaving;
	(void)event_kind, (void)userdata;
	plugin.leaving = NULL;
	if (event->access != MOSQ_ACL_WRITE || !event->client)
		return MOSQ_ERR_PLUGIN_DEFER;
	if (is_own(event->topic))
		return refuse(event->client, REFUSED_TOPIC);
	if (event->client == leaving && rule_of(event->topic, strlen(event->topic)))
		return refuse(event->client, DROPPED_WILLS);
	return MOSQ_ERR_PLUGIN_DEFER;
}

static int on_disconnect(int event_kind, void *event_data, void *userdata)
{
	const struct mosquitto_evt_disconnect *event = event_data;
	(void)event_kind, (void)userdata;
	plugin.leaving = event->client;
	return MOSQ_ERR_SUCCESS;
}

/* DEFER: any other answer keeps the broker from reading its ACL file again. */
static int on_reload(int event_kind, void *event_data, void *userdata)
{
	(void)event_kind, (void)event_data, (void)userdata;
	stop_broker(END_RELOAD, "the configuration was reloaded");
	return MOSQ_ERR_PLUGIN_DEFER;
}

/* Start */

/* On the other side of a version where the broker began to free what the plugin frees, every forged mark would be freed twice.
 * No broker tells its own version: the library's is taken for it, and what only 2.1 exports. */
static const char *check_broker(void)
{
	static char error[128];
	int major, minor, revision, running = mosquitto_lib_version(&major, &minor, &revision), built = LIBMOSQUITTO_VERSION_NUMBER;
	if (SIDE_OF(running) == SIDE_OF(built) && (mosquitto_plugin_set_info != NULL) == (running >= 2001000))
		return NULL;
	if (SIDE_OF(running) != SIDE_OF(built))
		(void)snprintf(error, sizeof error, "the plugin is built for Mosquitto %d.%d.%d, running in %d.%d.%d: rebuild it",
		               built / 1000000, built / 1000 % 1000, built % 1000, major, minor, revision);
	else
		(void)snprintf(error, sizeof error, "libmosquitto is %d.%d.%d, the broker is not: install those of one version", major, minor,
		               revision);
	return error;
}

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

static const char *make_tables(void)
{
	uint8_t key[PRINCIPAL_KEY], repeat_key[REPEAT_KEY];
	randombytes_buf(key, sizeof key);
	randombytes_buf(repeat_key, sizeof repeat_key);
	if (!principal_table_init(&plugin.principals, plugin.state.principal_limit, key))
		return "no memory for the table of principals";
	return repeat_init(&plugin.repeats, repeat_key) ? NULL : "no memory for the table of repeats";
}

static const char *make_secret(void)
{
	uint8_t seed[crypto_sign_SEEDBYTES], salt_key[32];
	if (prctl(PR_SET_DUMPABLE, 0) != 0 || !(plugin.secret = secret_new()))
		return "cannot protect the epoch key in memory (is RLIMIT_MEMLOCK 0?)";
	randombytes_buf(seed, sizeof seed);
	randombytes_buf(salt_key, sizeof salt_key);
	secret_fill(plugin.secret, seed, salt_key);
	if (plugin.state.raw_tokens) {
		randombytes_buf(seed, sizeof seed);
		secret_fill_token(plugin.secret, seed);
	}
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
	struct state *state = &plugin.state;
	if (!spool_open(&plugin.spool, root, state->segment_size, state->epoch, plugin.epoch_id, state->strict)) {
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
	error = error ? error : make_tables();
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
	repeat_free(&plugin.repeats);
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

/* The events that the plugin takes. Of ACL checks only where there is an access list: where nobody else answers them, the
 * broker would deny everything. */
static const struct {
	int event;
	MOSQ_FUNC_generic_callback callback;
	bool with_access_list;
} callbacks[] = {
	{MOSQ_EVT_MESSAGE, on_message, false},
	{MOSQ_EVT_TICK, on_tick, false},
	{MOSQ_EVT_RELOAD, on_reload, false},
	{MOSQ_EVT_ACL_CHECK, on_acl_check, true},
	{MOSQ_EVT_DISCONNECT, on_disconnect, true},
};
#define CALLBACKS (sizeof callbacks / sizeof *callbacks)

static const char *begin_marking(mosquitto_plugin_id_t *identifier)
{
	plugin.checkpoint = plugin.state.checkpoint;
	memcpy(plugin.last, plugin.epoch_id, sizeof plugin.last);
	mark_writer_init(&plugin.writer, plugin.secret, plugin.epoch_id);
	for (size_t i = 0; i < CALLBACKS; i++)
		if ((plugin.state.access_list || !callbacks[i].with_access_list) &&
		    mosquitto_callback_register(identifier, callbacks[i].event, callbacks[i].callback, NULL, NULL) != MOSQ_ERR_SUCCESS)
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
	const char *error = sodium_init() < 0 ? "libsodium does not start" : check_broker();
	error = error ? error : check_launcher();
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
	for (size_t i = 0; i < CALLBACKS; i++)
		if (plugin.state.access_list || !callbacks[i].with_access_list)
			(void)mosquitto_callback_unregister(plugin.id, callbacks[i].event, callbacks[i].callback, NULL);
	wipe();
	plugin.id = NULL;
	return MOSQ_ERR_SUCCESS;
}
