/* The table of principals: full is full, nothing is ever forgotten. */
#include "core/principal.h"
#include "unit.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

static const uint8_t key[PRINCIPAL_KEY] = {7};

static struct principal *mark_once(struct principal_table *table, const char *name, uint8_t fill)
{
	uint8_t hash[32];
	struct principal *slot = principal_find(table, name, strlen(name));
	memset(hash, fill, sizeof hash);
	if (slot)
		principal_advance(table, slot, hash);
	return slot;
}

static void full_table_never_evicts(void)
{
	enum { LIMIT = 512 };
	struct principal_table table;
	char name[32];
	CHECK(principal_table_init(&table, LIMIT, key));
	for (int i = 0; i < LIMIT; i++) {
		(void)snprintf(name, sizeof name, "tracker-%d", i);
		CHECK(mark_once(&table, name, (uint8_t)i) != NULL);
	}
	for (int i = LIMIT; i < 4 * LIMIT; i++) {
		(void)snprintf(name, sizeof name, "tracker-%d", i);
		CHECK(principal_find(&table, name, strlen(name)) == NULL);
	}
	for (int i = 0; i < LIMIT; i++) {
		(void)snprintf(name, sizeof name, "tracker-%d", i);
		struct principal *slot = principal_find(&table, name, strlen(name));
		CHECK(slot && slot->count == 1 && slot->last[0] == (uint8_t)i && slot->last[31] == (uint8_t)i);
		CHECK(mark_once(&table, name, 9) == slot && slot->count == 2);
	}
	principal_table_free(&table);
}

static void new_only_after_its_first_mark(void)
{
	struct principal_table table;
	CHECK(principal_table_init(&table, 1, key));
	CHECK(principal_find(&table, "a", 1)->count == 0); /* its spool record did not fit, say */
	struct principal *slot = mark_once(&table, "b", 1);
	CHECK(slot && slot->count == 1);
	CHECK(principal_find(&table, "a", 1) == NULL);
	CHECK(principal_find(&table, "b", 1) == slot);
	CHECK(principal_find(&table, "", 0) == NULL); /* nobody is a principal like any other */
	principal_table_free(&table);
}

static bool falls_on(const char *name, size_t capacity, size_t place)
{
	uint8_t digest[32], keyed[PRINCIPAL_KEY + 32];
	size_t at, length = strlen(name);
	memcpy(keyed, key, sizeof key);
	memcpy(keyed + sizeof key, name, length);
	(void)crypto_hash_sha256(digest, keyed, sizeof key + length);
	memcpy(&at, digest, sizeof at);
	return (at & (capacity - 1)) == place;
}

static void collisions_chain_over_the_end(void)
{
	enum { LIMIT = 8, TRIED = 9 };
	struct principal_table table;
	char names[TRIED][32];
	CHECK(principal_table_init(&table, LIMIT, key));
	for (int found = 0, i = 0; found < TRIED; i++) {
		(void)snprintf(names[found], sizeof *names, "p%d", i);
		found += falls_on(names[found], table.capacity, table.capacity - 1);
	}
	for (int i = 0; i < LIMIT; i++)
		for (int again = 0; again <= i; again++)
			CHECK(mark_once(&table, names[again], (uint8_t)again) != NULL);
	for (int i = 0; i < LIMIT; i++) {
		struct principal *slot = principal_find(&table, names[i], strlen(names[i]));
		CHECK(slot == &table.slots[(table.capacity - 1 + (size_t)i) % table.capacity]);
		CHECK(slot && slot->count == (uint64_t)(LIMIT - i) && slot->last[0] == i);
	}
	CHECK(principal_find(&table, names[LIMIT], strlen(names[LIMIT])) == NULL);
	principal_table_free(&table);
}

#define SECOND INT64_C(1000000000)

/* How many go through when asked every `pause` ns, `times` times. */
static int passed(struct principal *slot, int64_t *now, uint64_t rate, int64_t pause, int times)
{
	int passed = 0;
	for (int i = 0; i < times; i++, *now += pause)
		passed += principal_may(slot, *now, rate);
	return passed;
}

static void rate_is_a_bucket_of_one_second(void)
{
	static const uint64_t rates[] = {1, 2, 3, 7, 10, 1000, 999999, 1000000};
	for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
		struct principal slot = {.count = 1};
		int rate = (int)rates[i];
		int64_t now = 5 * SECOND;
		int at_once = passed(&slot, &now, rates[i], 0, 2 * rate + 10);
		CHECK(at_once >= rate && at_once <= rate + rate / 1000 + 1); /* full at the start, and not more */
		now += SECOND / 2;
		int half = passed(&slot, &now, rates[i], 0, rate + 10);
		CHECK(half >= rate / 2 && half <= rate / 2 + rate / 1000 + 1); /* refilled evenly */
		now += 1000 * SECOND;
		CHECK(passed(&slot, &now, rates[i], 0, 2 * rate + 10) == at_once); /* no fuller after a pause */
		now += 1000 * SECOND;
		CHECK(passed(&slot, &now, rates[i], SECOND / rate, 3 * rate < 10000 ? 3 * rate : 10000) == (3 * rate < 10000 ? 3 * rate : 10000));
	}
}

static void no_rate_is_no_limit(void)
{
	struct principal slot = {.count = 1};
	int64_t now = SECOND;
	CHECK(passed(&slot, &now, 0, 0, 100000) == 100000 && slot.due == 0);
	slot.due = INT64_MAX / 2;
	CHECK(principal_may(&slot, now, 0));
	CHECK(!principal_may(&slot, now, 1000000));
}

static void principal_with_a_full_bucket_leaves_others_theirs(void)
{
	struct principal_table table;
	CHECK(principal_table_init(&table, 4, key));
	struct principal *loud = mark_once(&table, "loud", 1), *quiet = mark_once(&table, "quiet", 2);
	int64_t now = SECOND;
	CHECK(passed(loud, &now, 5, 0, 100) == 5 && passed(quiet, &now, 5, 0, 1) == 1);
	struct principal *fresh = principal_find(&table, "new", 3);
	CHECK(fresh && fresh->count == 0 && passed(fresh, &now, 5, 0, 100) == 5);
	principal_table_free(&table);
}

void principal_tests(void)
{
	RUN(full_table_never_evicts);
	RUN(new_only_after_its_first_mark);
	RUN(collisions_chain_over_the_end);
	RUN(rate_is_a_bucket_of_one_second);
	RUN(no_rate_is_no_limit);
	RUN(principal_with_a_full_bucket_leaves_others_theirs);
}
