/* Clock guard: spec/mark.md, "Clock" (keys 3 and 4 of a mark).
 *
 * Invariants: stamps never fall, also not below the floor that the epochs before left; a step of the clock larger than
 * the tolerance, in either direction, refuses for the rest of the epoch. Small steps backward are held: the stamp stays
 * until the clock has caught up. A step is seen as a change of real - boot since the epoch began, because slewing and
 * suspend move both clocks alike; many small steps add up to a large one. */
#include "clock.h"

static int64_t grown_bound(const struct clock_guard *guard, int64_t boot)
{
	int64_t age = boot > guard->sample.boot ? boot - guard->sample.boot : 0;
	return guard->sample.bound + age / 1000000 * CLOCK_DRIFT_PPM;
}

static enum clock_state state_of(const struct clock_guard *guard)
{
	if (!guard->sample.synchronised)
		return CLOCK_UNSYNCHRONISED;
	return guard->bound_meaningful ? CLOCK_BOUNDED : CLOCK_BOUND_UNKNOWN;
}

static int64_t tolerance(const struct clock_guard *guard, int64_t boot)
{
	if (state_of(guard) != CLOCK_BOUNDED)
		return CLOCK_TOLERANCE_NS;
	int64_t bound = grown_bound(guard, boot);
	return bound < CLOCK_LEAST_TOLERANCE_NS ? CLOCK_LEAST_TOLERANCE_NS : bound;
}

bool clock_begin(struct clock_guard *guard, struct clock_reading now, struct clock_sample sample, int64_t floor)
{
	guard->sample = sample;
	guard->floor = floor;
	guard->offset = now.real - now.boot;
	guard->stepped = now.real < 0 || now.real < floor - tolerance(guard, now.boot);
	return !guard->stepped;
}

enum clock_verdict clock_stamp(struct clock_guard *guard, struct clock_reading now, struct clock_stamp *stamp)
{
	int64_t moved = now.real - now.boot - guard->offset;
	int64_t allowed = tolerance(guard, now.boot);
	if (moved > allowed || moved < -allowed || now.real < guard->floor - allowed)
		guard->stepped = true;
	if (now.real > guard->floor && !guard->stepped)
		guard->floor = now.real;
	stamp->time = guard->floor;
	stamp->state = guard->stepped ? CLOCK_UNSYNCHRONISED : state_of(guard);
	stamp->bound = grown_bound(guard, now.boot);
	if (guard->stepped)
		return CLOCK_REFUSED_STEP;
	if (guard->refuse_unsynchronised && stamp->state == CLOCK_UNSYNCHRONISED)
		return CLOCK_REFUSED_UNSYNCHRONISED;
	return CLOCK_GOOD;
}
