/* A broker and a launcher of one page each, for mosquitto.c: it sees their clocks, their memory, their clients. Where the
 * versions differ (who frees what was read of a property; empty strings) it does as the version compiled for does. */
#ifndef SIGILLO_ADAPTER_BROKER_H
#define SIGILLO_ADAPTER_BROKER_H

#include "../unit.h"

#include <mosquitto.h>
#if !__has_include(<mosquitto/broker_plugin.h>)
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#include <mqtt_protocol.h>
#endif

#define SECOND INT64_C(1000000000)
#define COUNTERS 13
#define PUBLISHED 4

struct mosquitto {
	const char *id, *username;
	int version;
};

/* A message as it comes, and as it goes on. `properties` are the list's owner's; the payload that goes on is the caller's. */
struct message {
	struct span payload;
	uint8_t qos;
	bool retain;
	mosquitto_property *properties;
	struct bytes out;
};

/* STATE's run time, keys 5 to 8, and the version that the broker has; the test sets it before the start. */
struct settings {
	bool raw_tokens;
	uint64_t rate, largest;
	bool access_list;
	int version; /* 0: the one compiled for */
};

/* What the plugin published itself. */
struct published {
	char topic[256];
	struct bytes payload;
	int qos;
	bool retain;
};

struct broker {
	int64_t real, boot;  /* what the clocks say, ns */
	int64_t pause;       /* how far they go on after a reading */
	int pauses;          /* after how many readings */
	bool unsynchronised; /* what the kernel claims */
	int samples;         /* how often it was asked */
	bool disk_fails;     /* what fdatasync says */
	int no_memory;       /* the allocation that fails, counted from 1; 0: none */
	long walked;         /* properties passed on the way to the end of a list */
	long held;           /* of the broker's own memory; 2.1: also what was read of properties */
	struct published published[PUBLISHED];
	int publishes;       /* how many since the last look */
	struct settings settings;
	uint8_t statement[65536]; /* the plugin's, tagged */
	size_t statement_length;
	int terms;           /* SIGTERMs */
	int lines;           /* written to the log */
	char line[1024];     /* the last */
	char spool[64];      /* folder */
	uint64_t counters[COUNTERS]; /* as last told */
	int launcher;        /* its end of the socket; -1: closed */
};

extern struct broker broker;

/* Start the plugin: STATE with these fields and `broker.settings`, and GO for its statement. */
bool broker_start(struct span fields);
/* Stop it, and remove the spool. */
void broker_stop(void);
void broker_close_launcher(void);
/* Both clocks go on. */
void broker_pass(int64_t ns);
void broker_tick(void);
int broker_reload(void);
/* A client's PUBLISH, as the version compiled for handles it: who frees what of a message that was changed or refused. */
int broker_receive(struct mosquitto *client, const char *topic, struct message *message);
/* The same with a payload of no matter, QoS 1. */
int broker_message(struct mosquitto *client, const char *topic, mosquitto_property **properties);
/* The broker asks about a right; DEFER where nobody registered for that. */
int broker_acl(struct mosquitto *client, const char *topic, int access);
void broker_disconnect(struct mosquitto *client);
/* Forget what the plugin published. */
void broker_forget(void);
/* Send the plugin a packet. */
void broker_send(const uint8_t *packet, size_t length);
/* A number of the newest COUNTERS, a second later. */
uint64_t broker_counter(int index);

#endif
