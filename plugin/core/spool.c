/* Spool segments: spec/spool.md, with the durability contract.
 *
 * Invariants: a segment is fully allocated before it is mapped, so that writing into it cannot raise SIGBUS on a full
 * disk; a record's length is stored last and with release order, so that a reader sees a whole record or none; a
 * segment that is full says "go on in the next" only once the next one exists. */
#include "spool.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER 64
#define RECORD 24
#define CONTINUED UINT32_MAX
#define NAME_ROOM 32
#define CRC_POLYNOMIAL 0xedb88320
#define CRC_STEP 8 /* bytes, at least 4 */

/* CRC-32 (IEEE 802.3, reflected, as zlib's), CRC_STEP bytes at a time: `crc_table[k][b]` is what the byte b does to the sum
 * when k more bytes follow it, and the sum is linear, so that bytes are looked up each on its own. */
static uint32_t crc_table[CRC_STEP][256];

static void crc_begin(void)
{
	for (uint32_t byte = 0; byte < 256; byte++) {
		uint32_t crc = byte;
		for (int bit = 0; bit < 8 * CRC_STEP; bit++) {
			crc = crc >> 1 ^ (crc & 1 ? CRC_POLYNOMIAL : 0);
			if (bit % 8 == 7)
				crc_table[bit / 8][byte] = crc;
		}
	}
}

static uint32_t crc32(const uint8_t *data, size_t length)
{
	uint32_t crc = UINT32_MAX;
	for (; length >= CRC_STEP; data += CRC_STEP, length -= CRC_STEP) {
		uint32_t sum = 0;
		for (int i = 0; i < CRC_STEP; i++)
			sum ^= crc_table[CRC_STEP - 1 - i][data[i] ^ (i < 4 ? crc >> 8 * i & 0xff : 0)];
		crc = sum;
	}
	while (length--)
		crc = crc >> 8 ^ crc_table[0][(crc ^ *data++) & 0xff];
	return ~crc;
}

static size_t padded(size_t length)
{
	return (length + 7) & ~(size_t)7;
}

static void store_length(uint8_t *record, uint32_t length)
{
	__atomic_store_n((uint32_t *)(void *)record, htobe32(length), __ATOMIC_RELEASE);
}

static void path_of(const struct spool *spool, uint32_t number, const char *suffix, char out[sizeof spool->folder + NAME_ROOM])
{
	(void)snprintf(out, sizeof spool->folder + NAME_ROOM, "%s/%06u.spool%s", spool->folder, number, suffix);
}

static void drop(struct spool_segment *segment, size_t size)
{
	if (!segment->map)
		return;
	(void)munmap(segment->map, size);
	(void)close(segment->fd);
	segment->map = NULL;
}

static void write_header(const struct spool *spool, uint8_t *map, uint32_t number)
{
	memcpy(map, "sigillo-spool-1\n", 16);
	put_u32(map + 16, spool->epoch);
	put_u32(map + 20, number);
	memcpy(map + 24, spool->epoch_id, 32);
	put_u64(map + 56, spool->size);
}

static bool make_segment(struct spool *spool, struct spool_segment *segment, uint32_t number)
{
	char made[sizeof spool->folder + NAME_ROOM], name[sizeof spool->folder + NAME_ROOM];
	path_of(spool, number, ".tmp", made);
	path_of(spool, number, "", name);
	int fd = open(made, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd < 0)
		return false;
	int failed = posix_fallocate(fd, 0, (off_t)spool->size);
	void *map = failed ? MAP_FAILED : mmap(NULL, spool->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (map != MAP_FAILED) {
		write_header(spool, map, number);
		if (rename(made, name) == 0) {
			*segment = (struct spool_segment){map, fd, number};
			return true;
		}
		failed = errno;
		(void)munmap(map, spool->size);
	} else if (!failed) {
		failed = errno;
	}
	(void)close(fd);
	(void)unlink(made);
	errno = failed;
	return false;
}

/* The log deletes what it has from this folder, as a member of its group; the set-group-id bit comes from the one above.
 * Nobody else holds the lock for longer than a look. */
static bool make_folder(struct spool *spool)
{
	mode_t mask = umask(0007);
	int failed = mkdir(spool->folder, 0770);
	(void)umask(mask);
	if (failed)
		return false;
	spool->lock = open(spool->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return spool->lock >= 0 && flock(spool->lock, LOCK_EX) == 0;
}

bool spool_open(struct spool *spool, const char *root, size_t segment_size, uint32_t epoch, const uint8_t epoch_id[32], bool strict)
{
	memset(spool, 0, sizeof *spool);
	crc_begin();
	spool->size = segment_size;
	spool->epoch = epoch;
	spool->strict = strict;
	spool->lock = -1;
	memcpy(spool->epoch_id, epoch_id, sizeof spool->epoch_id);
	int length = snprintf(spool->folder, sizeof spool->folder, "%s/%010u", root, epoch);
	if (length < 0 || (size_t)length >= sizeof spool->folder) {
		errno = ENAMETOOLONG;
		return false;
	}
	if (!make_folder(spool) || !make_segment(spool, &spool->current, 0))
		return false;
	spool->used = HEADER;
	return spool_prepare(spool);
}

bool spool_prepare(struct spool *spool)
{
	return spool->next.map || make_segment(spool, &spool->next, spool->current.number + 1);
}

/* P2 (spec/log-storage.md) of the segment that is being written. */
static bool flush_segment(struct spool *spool)
{
	if (!spool->failed && fdatasync(spool->current.fd) != 0)
		spool->failed = true;
	return !spool->failed;
}

/* P2 of the names: the segment's in the epoch's folder, the folder's in the one above. */
static bool flush_names(struct spool *spool)
{
	int above = openat(spool->lock, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	spool->named = above >= 0 && fsync(spool->lock) == 0 && fsync(above) == 0;
	spool->failed = !spool->named;
	if (above >= 0)
		(void)close(above);
	return spool->named;
}

bool spool_flush(struct spool *spool)
{
	return !spool->strict || (flush_segment(spool) && (spool->named || flush_names(spool)));
}

static bool turn_over(struct spool *spool)
{
	if (!spool->next.map)
		return false;
	if (spool->size - spool->used >= RECORD)
		store_length(spool->current.map + spool->used, CONTINUED);
	if (spool->strict && !flush_segment(spool))
		return false;
	spool->named = false;
	drop(&spool->current, spool->size);
	spool->current = spool->next;
	spool->next.map = NULL;
	spool->used = HEADER;
	return true;
}

bool spool_append(struct spool *spool, uint8_t kind, uint64_t sequence, const uint8_t *object, size_t length)
{
	size_t room = RECORD + padded(length);
	if (!spool->current.map || spool->failed || room > spool->size - HEADER)
		return false;
	if (room > spool->size - spool->used && !turn_over(spool))
		return false;
	uint8_t *record = spool->current.map + spool->used;
	memset(record + 8, 0, 8);
	record[8] = kind;
	put_u64(record + 16, sequence);
	memcpy(record + RECORD, object, length);
	put_u32(record + 4, crc32(record + 8, RECORD - 8 + length));
	store_length(record, (uint32_t)length);
	spool->used += room;
	return true;
}

void spool_close(struct spool *spool)
{
	char name[sizeof spool->folder + NAME_ROOM];
	if (spool->next.map) {
		path_of(spool, spool->next.number, "", name);
		(void)unlink(name);
		drop(&spool->next, spool->size);
	}
	if (spool->current.map) {
		/* unmapped first: nobody may touch pages behind the new end */
		(void)munmap(spool->current.map, spool->size);
		spool->current.map = NULL;
		if (!spool->failed && ftruncate(spool->current.fd, (off_t)spool->used) != 0)
			(void)0; /* a longer segment reads the same */
		if (!spool->failed)
			(void)fsync(spool->current.fd);
		(void)close(spool->current.fd);
	}
	if (spool->lock >= 0)
		(void)close(spool->lock); /* the last: now others may take the epoch for over */
	spool->lock = -1;
}
