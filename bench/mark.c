/* CPU time of what the plugin does for one message, part by part. Argument: the payload in hex. One line in, the name of a
 * part; one line out, the nanoseconds of one. "version": libsodium's. */
#include "core/base64url.h"
#include "core/datagram.h"
#include "core/mark.h"
#include "core/principal.h"
#include "core/repeat.h"
#include "core/spool.h"
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TIMES 1000
#define SEGMENT (8 << 20)

static struct {
	struct secret *secret;
	struct mark mark;
	struct mark_writer writer;
	struct principal_table principals;
	struct repeat_table repeats;
	struct spool spool;
	uint8_t payload[PAYLOAD];
	size_t signed_length; /* of a mark without its signature: about as much is signed */
} bench;

static void sign(void)
{
	uint8_t signature[crypto_sign_BYTES];
	(void)crypto_sign_detached(signature, NULL, bench.writer.object, bench.signed_length, bench.secret->signing_key);
}

static void mark(void)
{
	bench.mark.sequence++;
	bench.mark.count++;
	mark_write(&bench.writer, &bench.mark);
	bench.mark.previous = bench.writer.hash;
}

static void salt(void)
{
	uint8_t made[16];
	secret_salt(bench.secret, bench.mark.sequence, made);
}

static void hash_of(const uint8_t *data, size_t length)
{
	uint8_t hash[32];
	struct span parts[] = {{data, length}};
	object_hash("sigillo/v1/mark\n", parts, 1, hash);
}

static void commitment(void)
{
	hash_of(bench.payload, sizeof bench.payload);
}

static void hash(void)
{
	hash_of(bench.writer.object, bench.writer.length);
}

static void repeat(void)
{
	uint8_t id[REPEAT_ID];
	repeat_identify(&bench.repeats, &bench.mark, id);
	if (!repeat_find(&bench.repeats, id))
		repeat_add(&bench.repeats, id, 1, 1, (struct span){NULL, 0});
}

static void principal(void)
{
	(void)principal_find(&bench.principals, (const char *)bench.mark.principal.data, bench.mark.principal.length);
}

static void datagram(void)
{
	struct datagram found;
	if (datagram_read(bench.mark.payload, &found) != DATAGRAM_SIGNED)
		abort();
}

static void base64(void)
{
	static char value[BASE64URL_ROOM(MARK_MAX_OBJECT)];
	base64url((struct span){bench.writer.object, bench.writer.length}, value);
}

static void spool(void)
{
	uint32_t full = bench.spool.current.number;
	char name[sizeof bench.spool.folder + 32];
	if (!spool_prepare(&bench.spool) ||
	    !spool_append(&bench.spool, SPOOL_MARK, bench.mark.sequence, bench.writer.object, bench.writer.length))
		abort();
	(void)snprintf(name, sizeof name, "%s/%06u.spool", bench.spool.folder, full);
	if (full != bench.spool.current.number)
		(void)unlink(name);
}

static const struct part {
	const char *name;
	void (*work)(void);
} parts[] = {
	{"sign", sign},     {"mark", mark},           {"salt", salt},         {"commitment", commitment}, {"hash", hash},
	{"repeat", repeat}, {"principal", principal}, {"datagram", datagram}, {"base64", base64},         {"spool", spool},
};

static double cpu_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return 1e9 * (double)now.tv_sec + (double)now.tv_nsec;
}

static double measure(const char *name)
{
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		if (strcmp(parts[i].name, name) != 0)
			continue;
		double start = cpu_ns();
		for (int j = 0; j < TIMES; j++)
			parts[i].work();
		return (cpu_ns() - start) / TIMES;
	}
	abort();
}

static struct span text(const char *string)
{
	return (struct span){(const uint8_t *)string, strlen(string)};
}

/* An all-zero seed and keys: they vouch for nothing. */
static bool begin(const char *payload, const char *folder)
{
	static const uint8_t zero[32];
	if (sodium_init() < 0 || !(bench.secret = secret_new()) || !repeat_init(&bench.repeats, zero) ||
	    !principal_table_init(&bench.principals, 1000, zero) || !spool_open(&bench.spool, folder, SEGMENT, 1, zero, false) ||
	    sodium_hex2bin(bench.payload, sizeof bench.payload, payload, strlen(payload), NULL, NULL, NULL) != 0)
		return false;
	secret_fill(bench.secret, zero, zero);
	mark_writer_init(&bench.writer, bench.secret, zero);
	bench.mark = (struct mark){
		.sequence = 100000, /* as a broker has them after a while */
		.count = 25000,
		.stamp = {1795000000000000000, CLOCK_BOUNDED, 1000000},
		.topic = text("braid/agent/7c:9e:bd:01:02:03/shadow/reported/"),
		.client_id = text("7c:9e:bd:01:02:03"),
		.principal = text("7c:9e:bd:01:02:03"),
		.payload = {bench.payload, sizeof bench.payload},
		.previous = zero,
	};
	mark();
	bench.signed_length = bench.writer.length - crypto_sign_BYTES;
	return true;
}

static void end(const char *folder)
{
	char name[sizeof bench.spool.folder + 32];
	spool_close(&bench.spool);
	(void)snprintf(name, sizeof name, "%s/%06u.spool", bench.spool.folder, bench.spool.current.number);
	(void)unlink(name);
	(void)rmdir(bench.spool.folder);
	(void)rmdir(folder);
}

int main(int count, char **arguments)
{
	char folder[] = "/tmp/sigillo-bench-XXXXXX", line[16];
	if (count != 2 || !mkdtemp(folder) || !begin(arguments[1], folder))
		return 1;
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (strcmp(line, "version") == 0)
			printf("%s\n", sodium_version_string());
		else
			printf("%.1f\n", measure(line));
		fflush(stdout);
	}
	end(folder);
	return 0;
}
