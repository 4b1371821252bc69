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
#define COUNTERS 7

struct mosquitto {
	const char *id, *username;
	int version;
};

struct broker {
	int64_t real, boot;  /* what the clocks say, ns */
	int64_t pause;       /* how far they go on after a reading */
	int pauses;          /* after how many readings */
	bool unsynchronised; /* what the kernel claims */
	int samples;         /* how often it was asked */
	int no_memory;       /* the allocation that fails, counted from 1; 0: none */
	long held;           /* 2.1: what was read of properties and not given back */
	int terms;           /* SIGTERMs */
	int lines;           /* written to the log */
	char line[1024];     /* the last */
	char spool[64];      /* folder */
	uint64_t counters[COUNTERS]; /* as last told */
	int launcher;        /* its end of the socket; -1: closed */
};

extern struct broker broker;

/* Start the plugin: STATE with these fields, and GO for its statement. */
bool broker_start(struct span fields);
/* Stop it, and remove the spool. */
void broker_stop(void);
void broker_close_launcher(void);
/* Both clocks go on. */
void broker_pass(int64_t ns);
void broker_tick(void);
int broker_reload(void);
int broker_message(struct mosquitto *client, const char *topic, mosquitto_property **properties);
/* Send the plugin a packet. */
void broker_send(const uint8_t *packet, size_t length);
/* A number of the newest COUNTERS, a second later. */
uint64_t broker_counter(int index);

#endif
