/* CPU time of time marks, and of the bare signature in them. One line in, "mark" or "sign"; one line out, ns for one. */
#include "core/mark.h"
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define ROUNDS 2000
#define PAYLOAD 281 /* a BRAID datagram of a tracker */

static double cpu_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return 1e9 * (double)now.tv_sec + (double)now.tv_nsec;
}

static struct span text(const char *string)
{
	return (struct span){(const uint8_t *)string, strlen(string)};
}

static double marks(struct mark_writer *writer, struct mark *mark)
{
	double start = cpu_ns();
	for (int i = 0; i < ROUNDS; i++) {
		mark->sequence++;
		mark->count++;
		mark_write(writer, mark);
		mark->previous = writer->hash;
	}
	return (cpu_ns() - start) / ROUNDS;
}

/* libsodium's signature over as many bytes as a mark has without its own: it signs about as many. */
static double signatures(const struct secret *secret, const uint8_t *message, size_t length)
{
	uint8_t signature[crypto_sign_BYTES];
	double start = cpu_ns();
	for (int i = 0; i < ROUNDS; i++)
		crypto_sign_detached(signature, NULL, message, length, secret->signing_key);
	return (cpu_ns() - start) / ROUNDS;
}

int main(void)
{
	static struct mark_writer writer;
	static uint8_t payload[PAYLOAD], zero[32], message[sizeof writer.object];
	char line[16];
	if (sodium_init() < 0)
		return 1;
	struct secret *secret = secret_new();
	if (!secret)
		return 1;
	secret_fill(secret, zero, zero); /* an all-zero seed: these keys vouch for nothing */
	mark_writer_init(&writer, secret, zero);
	struct mark mark = {.stamp = {1795000000000000000, CLOCK_BOUNDED, 1000000},
			    .topic = text("braid/agent/7c:9e:bd:01:02:03/shadow/reported/"),
			    .client_id = text("7c:9e:bd:01:02:03"),
			    .principal = text("7c:9e:bd:01:02:03"),
			    .qos = 1,
			    .payload = {payload, sizeof payload},
			    .previous = zero};
	marks(&writer, &mark);
	size_t length = writer.length - crypto_sign_BYTES;
	memcpy(message, writer.object, length);
	while (fgets(line, sizeof line, stdin)) {
		double ns = !strcmp(line, "mark\n") ? marks(&writer, &mark) : signatures(secret, message, length);
		printf("%.1f\n", ns);
		fflush(stdout);
	}
	return 0;
}
