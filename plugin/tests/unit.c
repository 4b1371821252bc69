/* The harness of unit.h. */
#include "unit.h"

#include <dirent.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *vectors = ".";
static int passed, failed;
static bool good_so_far;
static const char *subject; /* the vector at hand */

void unit_vectors(const char *folder)
{
	vectors = folder;
}

bool unit_check(bool good, const char *condition, const char *file, int line)
{
	if (!good) {
		printf("  %s:%d: %s%s%s\n", file, line, subject ? subject : "", subject ? ": " : "", condition);
		good_so_far = false;
	}
	return good;
}

void unit_run(const char *name, void (*test)(void))
{
	good_so_far = true;
	subject = NULL;
	test();
	subject = NULL;
	good_so_far ? passed++ : failed++;
	printf("%s %s\n", good_so_far ? "ok    " : "FAILED", name);
	(void)fflush(stdout);
}

void unit_skip(const char *what, const char *why)
{
	printf("  skipped %s: %s\n", what, why);
}

struct bytes from_hex(const char *hex)
{
	size_t length = strlen(hex) / 2, written = 0;
	uint8_t *data = malloc(length ? length : 1);
	if (sodium_hex2bin(data, length, hex, strlen(hex), NULL, &written, NULL) != 0 || written != length)
		abort(); /* the test itself is wrong */
	return (struct bytes){data, length};
}

struct span span_of(struct bytes bytes)
{
	return (struct span){bytes.data, bytes.length};
}

struct bytes file_read(const char *path)
{
	struct bytes bytes = {NULL, 0};
	FILE *file = fopen(path, "rb");
	if (!file)
		return bytes;
	(void)fseek(file, 0, SEEK_END);
	bytes.length = (size_t)ftell(file);
	rewind(file);
	bytes.data = malloc(bytes.length + 1);
	if (fread(bytes.data, 1, bytes.length, file) != bytes.length)
		abort();
	bytes.data[bytes.length] = 0;
	(void)fclose(file);
	return bytes;
}

static void split_lines(struct vector *vector)
{
	char *rest = NULL;
	for (char *line = strtok_r(vector->text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		char *colon = strstr(line, ":");
		if (line[0] == '#' || !colon)
			continue;
		if (vector->count == VECTOR_LINES)
			abort();
		*colon = 0;
		vector->names[vector->count] = line;
		vector->values[vector->count++] = colon + 1 + (colon[1] == ' ');
	}
}

static int is_vector(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);
	return length > 4 && strcmp(entry->d_name + length - 4, ".txt") == 0;
}

void each_vector(const char *folder, void (*use)(const struct vector *vector))
{
	char path[4096];
	struct dirent **entries = NULL;
	(void)snprintf(path, sizeof path, "%s/%s", vectors, folder);
	int count = scandir(path, &entries, is_vector, alphasort);
	subject = folder;
	CHECK(count > 0);
	for (int i = 0; i < count; i++) {
		struct vector vector = {.name = entries[i]->d_name};
		(void)snprintf(path, sizeof path, "%s/%s/%s", vectors, folder, vector.name);
		vector.text = (char *)file_read(path).data;
		split_lines(&vector);
		subject = vector.name;
		use(&vector);
		free(vector.text);
		free(entries[i]);
	}
	free(entries);
}

const char *vector_text(const struct vector *vector, const char *name)
{
	for (size_t i = 0; i < vector->count; i++)
		if (strcmp(vector->names[i], name) == 0)
			return vector->values[i];
	return NULL;
}

struct bytes vector_bytes(const struct vector *vector, const char *name)
{
	const char *text = vector_text(vector, name);
	CHECK(text != NULL);
	return from_hex(text ? text : "");
}

uint64_t vector_number(const struct vector *vector, const char *name)
{
	const char *text = vector_text(vector, name);
	CHECK(text != NULL);
	return text ? strtoull(text, NULL, 10) : 0;
}

void folder_make(char path[64])
{
	const char *above = getenv("TMPDIR");
	(void)snprintf(path, 64, "%.40s/sigillo-unit-XXXXXX", above ? above : "/tmp");
	if (!mkdtemp(path))
		abort();
}

void folder_remove(const char *path)
{
	char inner[4096];
	DIR *folder = opendir(path);
	for (struct dirent *entry; folder && (entry = readdir(folder));) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		(void)snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
		entry->d_type == DT_DIR ? folder_remove(inner) : (void)unlink(inner);
	}
	(void)closedir(folder);
	(void)rmdir(path);
}

int unit_end(void)
{
	printf("%d passed, %d failed\n", passed, failed);
	return failed ? 1 : 0;
}
