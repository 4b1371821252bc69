/* The clock guard (core/clock.h), fed with readings: nobody waits here. */
#include "core/clock.h"
#include "unit.h"

#define MS INT64_C(1000000)
#define SECOND (1000 * MS)
#define DAY (86400 * SECOND)
#define EPOCH_START (INT64_C(1764000000) * SECOND)
#define BOOT (100 * SECOND)

/* `past` ns after the start, with the real clock `step` ns off. */
static struct clock_reading at(int64_t past, int64_t step)
{
	return (struct clock_reading){EPOCH_START + past + step, BOOT + past};
}

static struct clock_sample claim(bool synchronised, int64_t bound, int64_t past)
{
	return (struct clock_sample){synchronised, bound, BOOT + past};
}

static struct clock_guard begun(bool synchronised, bool meaningful, int64_t bound)
{
	struct clock_guard guard = {.bound_meaningful = meaningful};
	CHECK(clock_begin(&guard, at(0, 0), claim(synchronised, bound, 0), 0));
	return guard;
}

static void time_never_falls(void)
{
	struct clock_guard guard = begun(true, false, 0);
	struct clock_stamp stamp;
	int64_t last = 0;
	static const int64_t steps[] = {0, 5 * MS, -5 * MS, 0, -400 * MS, 500 * MS, -450 * MS, 0};
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		CHECK(clock_stamp(&guard, at((int64_t)i * 10 * MS, steps[i]), &stamp) == CLOCK_GOOD);
		CHECK(stamp.time >= last && stamp.time <= EPOCH_START + SECOND + DAY);
		last = stamp.time;
	}
}

static void small_step_back_is_held(void)
{
	struct clock_guard guard = begun(true, false, 0);
	struct clock_stamp stamp;
	CHECK(clock_stamp(&guard, at(SECOND, 0), &stamp) == CLOCK_GOOD && stamp.time == EPOCH_START + SECOND);
	CHECK(clock_stamp(&guard, at(SECOND + MS, -500 * MS), &stamp) == CLOCK_GOOD && stamp.time == EPOCH_START + SECOND);
	CHECK(clock_stamp(&guard, at(SECOND + 499 * MS, -500 * MS), &stamp) == CLOCK_GOOD && stamp.time == EPOCH_START + SECOND);
	CHECK(clock_stamp(&guard, at(2 * SECOND, -500 * MS), &stamp) == CLOCK_GOOD && stamp.time == EPOCH_START + 1500 * MS);
}

static void expect_latched(int64_t step)
{
	struct clock_guard guard = begun(true, false, 0);
	struct clock_stamp stamp;
	CHECK(clock_stamp(&guard, at(SECOND, 0), &stamp) == CLOCK_GOOD);
	CHECK(clock_stamp(&guard, at(SECOND + MS, step), &stamp) == CLOCK_REFUSED_STEP);
	CHECK(stamp.time == EPOCH_START + SECOND && stamp.state == CLOCK_UNSYNCHRONISED); /* what an epoch end then says */
	/* set right again, resampled, a day later: still refused; only a new epoch ends that */
	guard.sample = claim(true, 0, DAY);
	CHECK(clock_stamp(&guard, at(DAY, 0), &stamp) == CLOCK_REFUSED_STEP);
	CHECK(stamp.time == EPOCH_START + SECOND);
	CHECK(clock_begin(&guard, at(DAY, 0), claim(true, 0, DAY), stamp.time));
	CHECK(clock_stamp(&guard, at(DAY, 0), &stamp) == CLOCK_GOOD && stamp.time == EPOCH_START + DAY);
}

static void large_step_back_is_refused_for_good(void)
{
	expect_latched(-SECOND - 2);
	expect_latched(-DAY);
	expect_latched(-EPOCH_START);
}

static void step_forward_is_refused_for_good(void)
{
	expect_latched(SECOND + 1);
	expect_latched(DAY);
	expect_latched(100 * 365 * DAY);
}

static void steps_up_to_the_tolerance_pass(void)
{
	struct clock_guard guard = begun(true, false, 0);
	struct clock_stamp stamp;
	CHECK(clock_stamp(&guard, at(MS, SECOND), &stamp) == CLOCK_GOOD);
	CHECK(clock_stamp(&guard, at(2 * SECOND, -SECOND), &stamp) == CLOCK_GOOD);
	CHECK(clock_stamp(&guard, at(2 * SECOND, -SECOND - 1), &stamp) == CLOCK_REFUSED_STEP);
}

static void many_small_steps_add_up(void)
{
	for (int sign = -1; sign <= 1; sign += 2) {
		struct clock_guard guard = begun(true, false, 0);
		struct clock_stamp stamp;
		int refused_at = 0;
		for (int i = 1; i <= 300 && !refused_at; i++) /* 10 ms each, a minute apart: each alone is far below the tolerance */
			if (clock_stamp(&guard, at(i * 60 * SECOND, sign * i * 10 * MS), &stamp) != CLOCK_GOOD)
				refused_at = i;
		CHECK(refused_at == 101);
	}
}

static void suspend_is_no_step(void)
{
	struct clock_guard guard = begun(true, false, 0);
	struct clock_stamp stamp;
	CHECK(clock_stamp(&guard, at(30 * DAY, 0), &stamp) == CLOCK_GOOD && stamp.time == EPOCH_START + 30 * DAY);
}

static void floor_holds_across_restarts(void)
{
	struct clock_guard guard = {0};
	struct clock_stamp stamp;
	int64_t floor = EPOCH_START + 400 * MS; /* a little ahead: held until the clock has caught up */
	CHECK(clock_begin(&guard, at(0, 0), claim(false, 0, 0), floor));
	CHECK(clock_stamp(&guard, at(0, 0), &stamp) == CLOCK_GOOD && stamp.time == floor);
	CHECK(clock_stamp(&guard, at(300 * MS, 0), &stamp) == CLOCK_GOOD && stamp.time == floor);
	CHECK(clock_stamp(&guard, at(500 * MS, 0), &stamp) == CLOCK_GOOD && stamp.time == EPOCH_START + 500 * MS);

	CHECK(clock_begin(&guard, at(0, 0), claim(false, 0, 0), EPOCH_START + SECOND));
	CHECK(!clock_begin(&guard, at(0, 0), claim(false, 0, 0), EPOCH_START + SECOND + 1));
	CHECK(clock_stamp(&guard, at(0, 0), &stamp) == CLOCK_REFUSED_STEP);
	CHECK(!clock_begin(&guard, at(0, 0), claim(false, 0, 0), INT64_MAX));
	CHECK(!clock_begin(&guard, (struct clock_reading){-1, BOOT}, claim(false, 0, 0), 0)); /* the clock cannot be read */
}

static void bound_grows_by_500_ppm(void)
{
	struct clock_guard guard = begun(true, true, 250000);
	struct clock_stamp stamp;
	CHECK(clock_stamp(&guard, at(0, 0), &stamp) == CLOCK_GOOD && stamp.state == CLOCK_BOUNDED && stamp.bound == 250000);
	CHECK(clock_stamp(&guard, at(SECOND, 0), &stamp) == CLOCK_GOOD && stamp.bound == 250000 + 500000);
	CHECK(clock_stamp(&guard, at(DAY, 0), &stamp) == CLOCK_GOOD && stamp.bound == 250000 + 86400 * INT64_C(500000));
	guard.sample = claim(true, 300000, DAY);
	CHECK(clock_stamp(&guard, at(DAY, 0), &stamp) == CLOCK_GOOD && stamp.bound == 300000);
	/* a sample newer than the reading does not shrink it */
	guard.sample = claim(true, 300000, DAY + SECOND);
	CHECK(clock_stamp(&guard, at(DAY + MS, 0), &stamp) == CLOCK_GOOD && stamp.bound == 300000);
}

static void bound_is_the_tolerance_where_it_means_something(void)
{
	struct clock_stamp stamp;
	struct clock_guard guard = begun(true, true, 50 * MS);
	CHECK(clock_stamp(&guard, at(MS, 51 * MS), &stamp) == CLOCK_REFUSED_STEP);
	guard = begun(true, true, 50 * MS);
	CHECK(clock_stamp(&guard, at(MS, 50 * MS), &stamp) == CLOCK_GOOD);
	guard = begun(true, true, 0); /* never below 10 ms: two clocks are not read at one instant */
	CHECK(clock_stamp(&guard, at(MS, 10 * MS), &stamp) == CLOCK_GOOD);
	CHECK(clock_stamp(&guard, at(MS, 10 * MS + 1), &stamp) == CLOCK_REFUSED_STEP);
	guard = begun(true, false, 0); /* a daemon that writes 0 quotes nothing */
	CHECK(clock_stamp(&guard, at(MS, 500 * MS), &stamp) == CLOCK_GOOD && stamp.state == CLOCK_BOUND_UNKNOWN);
	guard = begun(false, true, 0);
	CHECK(clock_stamp(&guard, at(MS, 500 * MS), &stamp) == CLOCK_GOOD && stamp.state == CLOCK_UNSYNCHRONISED);
}

static void unsynchronised_is_refused_or_said(void)
{
	struct clock_stamp stamp;
	struct clock_guard guard = begun(false, true, 16000 * SECOND);
	CHECK(clock_stamp(&guard, at(MS, 0), &stamp) == CLOCK_GOOD && stamp.state == CLOCK_UNSYNCHRONISED);
	guard.refuse_unsynchronised = true;
	CHECK(clock_stamp(&guard, at(2 * MS, 0), &stamp) == CLOCK_REFUSED_UNSYNCHRONISED);
	/* that is a state, not a step: it ends with the next sample that is good */
	guard.sample = claim(true, 250000, 3 * MS);
	CHECK(clock_stamp(&guard, at(3 * MS, 0), &stamp) == CLOCK_GOOD && stamp.state == CLOCK_BOUNDED);
	guard.sample = claim(false, 0, 4 * MS);
	CHECK(clock_stamp(&guard, at(4 * MS, 0), &stamp) == CLOCK_REFUSED_UNSYNCHRONISED);
	CHECK(clock_stamp(&guard, at(5 * MS, DAY), &stamp) == CLOCK_REFUSED_STEP);
}

void clock_tests(void)
{
	RUN(time_never_falls);
	RUN(small_step_back_is_held);
	RUN(large_step_back_is_refused_for_good);
	RUN(step_forward_is_refused_for_good);
	RUN(steps_up_to_the_tolerance_pass);
	RUN(many_small_steps_add_up);
	RUN(suspend_is_no_step);
	RUN(floor_holds_across_restarts);
	RUN(bound_grows_by_500_ppm);
	RUN(bound_is_the_tolerance_where_it_means_something);
	RUN(unsynchronised_is_refused_or_said);
}
