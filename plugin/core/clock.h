/* Clock guard: time never runs backward, and a clock that was set refuses. No system call here: readings come in. */
#ifndef SIGILLO_CLOCK_H
#define SIGILLO_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Steps up to this are held where nobody quotes an error bound; a quoted bound below the least is raised to it. */
#define CLOCK_TOLERANCE_NS INT64_C(1000000000)
#define CLOCK_LEAST_TOLERANCE_NS INT64_C(10000000)
/* How fast a bound grows between two samples: the kernel's own allowance. */
#define CLOCK_DRIFT_PPM 500

enum clock_state { CLOCK_UNSYNCHRONISED = 0, CLOCK_BOUND_UNKNOWN = 1, CLOCK_BOUNDED = 2 };
enum clock_verdict { CLOCK_GOOD, CLOCK_REFUSED_STEP, CLOCK_REFUSED_UNSYNCHRONISED };

/* CLOCK_REALTIME and CLOCK_BOOTTIME, ns, read one right after the other. */
struct clock_reading {
	int64_t real;
	int64_t boot;
};

/* What the kernel claims (ntp_adjtime), and when (ns of CLOCK_BOOTTIME). */
struct clock_sample {
	bool synchronised;
	int64_t bound;
	int64_t boot;
};

struct clock_guard {
	bool refuse_unsynchronised;
	bool bound_meaningful;
	bool stepped;
	int64_t floor;
	int64_t offset; /* real - boot when the epoch began */
	struct clock_sample sample;
};

struct clock_stamp {
	int64_t time;
	enum clock_state state;
	int64_t bound;
};

/* Begin an epoch; `floor`: no stamp is below it. False where the clock is already more than the tolerance below. */
bool clock_begin(struct clock_guard *guard, struct clock_reading now, struct clock_sample sample, int64_t floor);
/* The stamp for now. Once a step was seen every later call refuses: only a new epoch ends that. */
enum clock_verdict clock_stamp(struct clock_guard *guard, struct clock_reading now, struct clock_stamp *stamp);

#endif
