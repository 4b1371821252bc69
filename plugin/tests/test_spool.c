/* Spool segments (spec/spool.md), read back by a reader of its own. */
#include "core/spool.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEGMENT 65536
#define HEADER 64
#define RECORD 24
#define EPOCH 7

static const uint8_t epoch_id[32] = {1, 2, 3};
static char root[64];

/* What the spool asks of the disk. The flush number `failing` fails, counted over both; 0: none. */
static int data_flushes, name_flushes, failing;

static bool flush_fails(void)
{
	errno = EIO;
	return data_flushes + name_flushes == failing;
}

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	data_flushes++;
	return flush_fails() ? -1 : __real_fdatasync(fd);
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	name_flushes++;
	return flush_fails() ? -1 : __real_fsync(fd);
}

/* CRC-32 of IEEE 802.3, bit by bit. */
static uint32_t crc32(const uint8_t *data, size_t length)
{
	uint32_t crc = UINT32_MAX;
	for (size_t i = 0; i < length; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static uint32_t get_u32(const uint8_t *in)
{
	return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

static struct bytes segment(unsigned number)
{
	char path[128];
	(void)snprintf(path, sizeof path, "%s/%010u/%06u.spool", root, EPOCH, number);
	return file_read(path);
}

struct reading {
	size_t records;
	uint64_t last_sequence;
	size_t used;
	uint32_t ending; /* the length that ended it; 1: end of the file; 2: a record that does not hold */
};

static struct reading read_segment(unsigned number)
{
	struct bytes bytes = segment(number);
	struct reading reading = {.used = HEADER, .ending = 1};
	while (bytes.length >= reading.used + RECORD) {
		const uint8_t *record = bytes.data + reading.used;
		uint32_t length = get_u32(record);
		reading.ending = length;
		if (length == 0 || length == UINT32_MAX)
			break;
		reading.ending = 2;
		if (length > bytes.length - reading.used - RECORD || get_u32(record + 4) != crc32(record + 8, RECORD - 8 + length))
			break;
		reading.ending = 1;
		reading.records++;
		reading.last_sequence = get_u64(record + 16);
		reading.used += (RECORD + length + 7) & ~(size_t)7;
	}
	free(bytes.data);
	return reading;
}

static bool append(struct spool *spool, uint64_t sequence, size_t length)
{
	uint8_t *object = malloc(length ? length : 1); /* exactly: a read behind it is seen */
	memset(object, 0xa5, length);
	bool good = spool_append(spool, SPOOL_MARK, sequence, object, length);
	free(object);
	return good;
}

static void open_spool(struct spool *spool)
{
	folder_make(root);
	CHECK(spool_open(spool, root, SEGMENT, EPOCH, epoch_id, false));
}

static void close_spool(struct spool *spool)
{
	spool_close(spool);
	folder_remove(root);
}

static void crc_is_that_of_zlib(void)
{
	struct spool spool;
	CHECK(crc32((const uint8_t *)"123456789", 9) == 0xcbf43926);
	open_spool(&spool);
	for (size_t length = 1; length < 300; length++)
		CHECK(append(&spool, length, length));
	CHECK(read_segment(0).records == 299 && read_segment(0).ending == 0);
	close_spool(&spool);
}

static void segment_begins_with_its_header(void)
{
	char path[128];
	struct stat status;
	struct spool spool;
	(void)umask(022);
	open_spool(&spool);
	for (unsigned number = 0; number < 2; number++) {
		struct bytes bytes = segment(number);
		CHECK(bytes.length == SEGMENT && memcmp(bytes.data, "sigillo-spool-1\n", 16) == 0);
		CHECK(get_u32(bytes.data + 16) == EPOCH && get_u32(bytes.data + 20) == number);
		CHECK(memcmp(bytes.data + 24, epoch_id, 32) == 0 && get_u64(bytes.data + 56) == SEGMENT);
		for (size_t i = HEADER; i < SEGMENT; i++)
			if (!CHECK(bytes.data[i] == 0))
				break;
		free(bytes.data);
	}
	(void)snprintf(path, sizeof path, "%s/%010u/000000.spool", root, EPOCH);
	CHECK(stat(path, &status) == 0 && (status.st_mode & 0777) == 0640 && status.st_blocks * 512 >= SEGMENT);
	CHECK(stat(spool.folder, &status) == 0 && (status.st_mode & 0777) == 0770); /* whatever the umask */
	close_spool(&spool);
}

static void rolls_over(void)
{
	struct spool spool;
	open_spool(&spool);
	uint64_t sequence = 0;
	for (int i = 0; i < 2000; i++) {
		CHECK(append(&spool, ++sequence, 100 + (size_t)i % 700));
		CHECK(spool_prepare(&spool));
	}
	unsigned last = spool.current.number;
	CHECK(last > 10);
	uint64_t seen = 0;
	size_t records = 0;
	for (unsigned number = 0; number <= last; number++) {
		struct reading reading = read_segment(number);
		CHECK(reading.records > 0 && reading.last_sequence == seen + reading.records);
		CHECK(number == last ? reading.ending == 0 : reading.ending == UINT32_MAX || reading.ending == 1);
		seen = reading.last_sequence;
		records += reading.records;
	}
	CHECK(records == 2000 && seen == sequence);
	close_spool(&spool);
}

static void record_may_fill_a_segment_and_no_more(void)
{
	struct spool spool;
	open_spool(&spool);
	CHECK(!append(&spool, 1, SEGMENT - HEADER - RECORD + 1));
	CHECK(spool.used == HEADER && spool.current.number == 0); /* refused before anything was touched */
	CHECK(append(&spool, 1, SEGMENT - HEADER - RECORD));
	CHECK(read_segment(0).ending == 1 && read_segment(0).used == SEGMENT); /* no room for "go on": the end of the file says it */
	CHECK(append(&spool, 2, 1));
	CHECK(spool.current.number == 1 && read_segment(1).last_sequence == 2);
	close_spool(&spool);
}

/* With room for a record's head left, and only then, "go on" is said. */
static void full_segment_says_go_on(void)
{
	for (size_t left = 0; left <= 2 * RECORD; left += 8) {
		struct spool spool;
		open_spool(&spool);
		CHECK(append(&spool, 1, SEGMENT - HEADER - RECORD - left) && append(&spool, 2, 100));
		CHECK(read_segment(0).used == SEGMENT - left && read_segment(0).ending == (left < RECORD ? 1 : UINT32_MAX));
		CHECK(read_segment(1).last_sequence == 2);
		close_spool(&spool);
	}
}

static void no_next_segment_is_no_room_until_there_is_one(void)
{
	struct spool spool;
	open_spool(&spool);
	uint64_t sequence = 0;
	while (append(&spool, sequence + 1, 1000)) /* fills both, nobody prepares */
		sequence++;
	CHECK(spool.current.number == 1 && sequence > 100);
	struct reading full = read_segment(1);
	CHECK(full.ending == 0 && full.last_sequence == sequence); /* not "go on": nothing to go on in */
	CHECK(!append(&spool, sequence + 1, 1000));
	CHECK(append(&spool, sequence + 1, 8)); /* what fits still goes in */
	CHECK(spool_prepare(&spool));
	CHECK(append(&spool, sequence + 2, 1000) && spool.current.number == 2);
	CHECK(read_segment(1).ending == UINT32_MAX && read_segment(1).last_sequence == sequence + 1);
	CHECK(read_segment(2).records == 1 && read_segment(2).last_sequence == sequence + 2);
	close_spool(&spool);
}

static void prepare_fails_without_harm(void)
{
	struct spool spool;
	char folder[96], away[96];
	open_spool(&spool);
	(void)snprintf(folder, sizeof folder, "%s/%010u", root, EPOCH);
	(void)snprintf(away, sizeof away, "%s/away", root);
	CHECK(append(&spool, 1, SEGMENT - HEADER - RECORD) && append(&spool, 2, 1) && !spool.next.map);
	CHECK(rename(folder, away) == 0);
	CHECK(!spool_prepare(&spool) && !spool.next.map);
	CHECK(append(&spool, 3, 1)); /* the present one is mapped and goes on */
	CHECK(rename(away, folder) == 0);
	CHECK(spool_prepare(&spool) && read_segment(1).last_sequence == 3);
	close_spool(&spool);
}

static void clean_end_cuts_and_tidies(void)
{
	struct spool spool;
	open_spool(&spool);
	CHECK(append(&spool, 1, 5) && append(&spool, 2, 100));
	spool_close(&spool);
	struct bytes first = segment(0), second = segment(1);
	CHECK(first.length == HEADER + 32 + 128 && !second.data);
	CHECK(read_segment(0).records == 2 && read_segment(0).ending == 1);
	free(first.data);
	folder_remove(root);
}

static void folder_that_exists_is_refused(void)
{
	struct spool first, second;
	open_spool(&first);
	CHECK(append(&first, 1, 5));
	CHECK(!spool_open(&second, root, SEGMENT, EPOCH, epoch_id, false)); /* an epoch's marks are never written over */
	CHECK(read_segment(0).records == 1);
	CHECK(!spool_open(&second, "/nonexistent", SEGMENT, EPOCH, epoch_id, false));
	close_spool(&first);
}

/* The writer is killed between the bytes of a record and its length: what was whole stands, the torn one is not there. */
static void killed_writer_leaves_whole_records(void)
{
	folder_make(root);
	pid_t child = fork();
	if (child == 0) {
		struct spool spool;
		if (!spool_open(&spool, root, SEGMENT, EPOCH, epoch_id, false) || !append(&spool, 1, 50) || !append(&spool, 2, 51))
			_exit(1);
		uint8_t *torn = spool.current.map + spool.used;
		torn[8] = SPOOL_MARK;
		put_u64(torn + 16, 3);
		memset(torn + RECORD, 0x77, 30);
		(void)kill(getpid(), SIGKILL);
	}
	int status = 0;
	CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	struct reading reading = read_segment(0);
	CHECK(reading.records == 2 && reading.last_sequence == 2 && reading.ending == 0);
	struct bytes bytes = segment(0);
	CHECK(bytes.length == SEGMENT && bytes.data[reading.used + RECORD] == 0x77);
	free(bytes.data);
	folder_remove(root);
}

static void open_strict(struct spool *spool, int number)
{
	folder_make(root);
	CHECK(spool_open(spool, root, SEGMENT, EPOCH, epoch_id, true));
	data_flushes = name_flushes = 0;
	failing = number;
}

static bool keep(struct spool *spool, uint64_t sequence, size_t length)
{
	return append(spool, sequence, length) && spool_flush(spool);
}

static void buffered_never_waits_for_the_disk(void)
{
	struct spool spool;
	open_spool(&spool);
	data_flushes = name_flushes = 0;
	for (uint64_t i = 1; i < 300; i++)
		CHECK(keep(&spool, i, 1000) && spool_prepare(&spool));
	CHECK(spool.current.number > 3 && data_flushes == 0 && name_flushes == 0);
	close_spool(&spool);
}

/* Each mark, and with a segment's first the one before it, the segment's name and the folder's. */
static void strict_flushes_each_mark(void)
{
	struct spool spool;
	open_strict(&spool, 0);
	CHECK(keep(&spool, 1, 1000) && data_flushes == 1 && name_flushes == 2);
	CHECK(keep(&spool, 2, 1000) && data_flushes == 2 && name_flushes == 2);
	uint64_t sequence = 2;
	while (spool.current.number == 0)
		CHECK(keep(&spool, ++sequence, 1000));
	CHECK(data_flushes == (int)sequence + 1 && name_flushes == 4);
	CHECK(spool_prepare(&spool) && keep(&spool, ++sequence, 1000) && data_flushes == (int)sequence + 1 && name_flushes == 4);
	close_spool(&spool);
}

/* Whichever flush it is: mark 2 does not go on, nothing goes in any more, no flush is tried again. */
static void failed_flush_is_the_last(void)
{
	for (int number = 1; number <= 7; number++) {
		struct spool spool;
		open_strict(&spool, number); /* 1…3 are of the first mark; 4: the full segment; 5…7: the second mark's */
		bool first = keep(&spool, 1, SEGMENT - HEADER - RECORD - 64), second = keep(&spool, 2, 100);
		CHECK(first == (number > 3) && !second && spool.failed);
		int flushes = data_flushes + name_flushes;
		CHECK(flushes == number && !keep(&spool, 3, 1) && !spool_flush(&spool));
		spool_close(&spool);
		CHECK(data_flushes + name_flushes == flushes);
		folder_remove(root);
	}
	failing = 0;
}

/* Others see by the lock whether the writer lives: also after its death by a signal. */
static void folder_is_locked_as_long_as_the_writer_lives(void)
{
	struct spool spool;
	char folder[96];
	open_spool(&spool);
	(void)snprintf(folder, sizeof folder, "%s/%010u", root, EPOCH);
	int fd = open(folder, O_RDONLY | O_DIRECTORY);
	CHECK(flock(fd, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK);
	CHECK(fcntl(spool.lock, F_GETFD) == FD_CLOEXEC);
	spool_close(&spool);
	CHECK(flock(fd, LOCK_EX | LOCK_NB) == 0);
	(void)close(fd);
	folder_remove(root);
}

void spool_tests(void)
{
	RUN(crc_is_that_of_zlib);
	RUN(segment_begins_with_its_header);
	RUN(rolls_over);
	RUN(record_may_fill_a_segment_and_no_more);
	RUN(full_segment_says_go_on);
	RUN(no_next_segment_is_no_room_until_there_is_one);
	RUN(prepare_fails_without_harm);
	RUN(clean_end_cuts_and_tidies);
	RUN(folder_that_exists_is_refused);
	RUN(killed_writer_leaves_whole_records);
	RUN(buffered_never_waits_for_the_disk);
	RUN(strict_flushes_each_mark);
	RUN(failed_flush_is_the_last);
	RUN(folder_is_locked_as_long_as_the_writer_lives);
}
