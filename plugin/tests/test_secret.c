/* The page of secrets: locked, not in a core file, empty in a child. */
#include "core/secret.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct secret *filled(void)
{
	static const uint8_t seed[32] = {1}, salt_key[32] = {2};
	struct secret *secret = secret_new();
	if (CHECK(secret != NULL))
		secret_fill(secret, seed, salt_key);
	return secret;
}

static void alive_once_filled(void)
{
	struct secret *secret = secret_new();
	CHECK(secret && !secret_alive(secret) && !secret_alive(NULL));
	secret_free(secret);
	secret_free(NULL);
	secret = filled();
	CHECK(secret_alive(secret));
	secret_free(secret);
}

static void child_sees_zeros(void)
{
	static const struct secret zero;
	struct secret *secret = filled();
	pid_t child = fork();
	if (child == 0)
		_exit(!secret_alive(secret) && memcmp(secret, &zero, sizeof zero) == 0 ? 0 : 1);
	int status = -1;
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(secret_alive(secret) && memcmp(secret, &zero, sizeof zero) != 0); /* the parent keeps them */
	secret_free(secret);
}

/* The VmFlags line of the mapping that begins at `page`. */
static bool vm_flags(const void *page, char flags[512])
{
	char line[512], start[32];
	bool inside = false;
	FILE *maps = fopen("/proc/self/smaps", "r");
	(void)snprintf(start, sizeof start, "%lx-", (unsigned long)page);
	flags[0] = 0;
	while (maps && fgets(line, sizeof line, maps)) {
		if (strncmp(line, start, strlen(start)) == 0)
			inside = true;
		if (inside && strncmp(line, "VmFlags:", 8) == 0) {
			(void)snprintf(flags, 512, "%s", line + 8);
			break;
		}
	}
	if (maps)
		(void)fclose(maps);
	return flags[0] != 0;
}

static void page_is_kept_out_of_core_files(void)
{
	char flags[512];
	struct secret *secret = filled();
	if (!vm_flags(secret, flags))
		unit_skip("VmFlags", "this kernel's smaps has none");
	else
		CHECK(strstr(flags, " dd") && strstr(flags, " wf"));
	unit_skip("the lock", "the sanitizer turns mlock off; tests/plugin looks at a running broker");
	secret_free(secret);
}

static void salts_differ(void)
{
	uint8_t first[16], second[16], again[16];
	struct secret *secret = filled();
	secret_salt(secret, 1, first);
	secret_salt(secret, 2, second);
	secret_salt(secret, 1, again);
	CHECK(memcmp(first, second, 16) != 0 && memcmp(first, again, 16) == 0);
	secret_free(secret);
}

void secret_tests(void)
{
	RUN(alive_once_filled);
	RUN(child_sees_zeros);
	RUN(page_is_kept_out_of_core_files);
	RUN(salts_differ);
}
