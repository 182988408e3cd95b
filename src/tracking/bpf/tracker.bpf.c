// SPDX-License-Identifier: MIT OR GPL-2.0-only
//
// The change tracker: marks which chunks of a disk are written, before the driver sees the write.
//
// Two regimes, one for each kind of disk:
//
//   request disks (blk-mq)   block_rq_issue ----> mark, put the request into the slot of its tag
//                            block_rq_complete -> count, empty the slot
//   bio disks (zram, brd)    block_bio_queue, block_bio_remap -> mark, remember the bio
//                            block_bio_complete -------------> forget the bio
//
// A completion that finds no record of its issue marks late and says so (FLAG_HEALED). Whatever cannot be recorded raises a flag, and
// a flag makes the answer "unknown". Bits of a map are only ever set here; clearing is replacing the map, which the loader does.
//
// src/tracking/layout.rs holds the same numbers. Change both, and LAYOUT in them.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define NULL ((void *)0)

// What a map definition is made of, as every loader reads it from the BTF of this object.
#define MAP_TYPE(number) int(*type)[number]
#define MAP_FLAGS(number) int(*map_flags)[number]
#define MAP_ENTRIES(number) int(*max_entries)[number]
#define MAP_KEY(name) typeof(name) *key
#define MAP_VALUE(name) typeof(name) *value
// Inside another map both are only measured: clang leaves structures that are named there incomplete.
#define MAP_KEY_BYTES(number) int(*key_size)[number]
#define MAP_VALUE_BYTES(number) int(*value_size)[number]

enum { HASH = 1, ARRAY = 2, PERCPU_ARRAY = 6, ARRAY_OF_MAPS = 12 };
enum { MMAPABLE = 1 << 10, INNER_MAP = 1 << 12 };

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static long (*const map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*const map_delete)(void *map, const void *key) = (void *)3;

// The fields of the kernel's structures that are read. The loader moves each access to where this kernel has the field.
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct gendisk {
	u64 diskseq;
	struct request_queue *queue;
};
struct block_device {
	struct gendisk *bd_disk;
};
struct bvec_iter {
	u64 bi_sector;
	u32 bi_size;
};
struct bio {
	struct bio *bi_next;
	struct block_device *bi_bdev;
	u32 bi_opf;
	u8 bi_status;
	struct bvec_iter bi_iter;
	void *bi_private;
};
struct queue_limits {
	u16 max_discard_segments;
};
struct request_queue {
	struct gendisk *disk;
	void *mq_ops;
	struct queue_limits limits;
};
struct blk_mq_hw_ctx {
	u32 queue_num;
};
struct request {
	struct request_queue *q;
	struct blk_mq_hw_ctx *mq_hctx;
	u32 cmd_flags;
	int tag;
	u32 __data_len;
	u64 __sector;
	struct bio *bio;
};
#pragma clang attribute pop

// The operations whose numbers have never moved. Every operation that writes is odd.
enum { OP_MASK = 0xff, OP_WRITE = 1, OP_DISCARD = 3, OP_SECURE_ERASE = 5, OP_WRITE_ZEROES = 9, OP_DRIVER_OUT = 35 };
// "Not supported", as blk_status_t and as the error number that older kernels pass. It is how mkfs learns what a disk can do.
enum { STATUS_OK = 0, STATUS_NOT_SUPPORTED = 1, ERROR_NOT_SUPPORTED = -95 };

enum { BY_REQUEST = 1, BY_BIO = 2 };
enum { WRITTEN = 0, DISCARDED = 1 };
enum {
	FLAG_BEYOND = 1,          // a write past the end of the bitmap
	FLAG_PASSTHROUGH = 2,     // a command that does not say what it writes
	FLAG_FLIGHT_LOST = 4,     // a write on its way could not be recorded
	FLAG_OPERATION = 8,       // an operation that is not known here, such as those on zones
	FLAG_DISCARD_CHAIN = 16,  // a discard of more ranges than are looked at
	FLAG_HEALED = 32,         // a write was seen only when it was over
	FLAG_FAILED = 64,         // a write failed, and may have changed anything in its range, even later
};
enum { MAX_DISKS = 1024, MAX_PROBES = 4, MAX_EARLY = 65536, MAX_BIOS = 16384, MAX_RANGES = 256 };
// A line is a cache line of bits. No request is longer than 4 GiB, which is this many lines of the smallest chunks (16 KiB).
enum { LINE_SHIFT = 9, LINE_BITS = 512, LINE_WORDS = 8, MAX_LINES = 514 };

struct line {
	u64 words[LINE_WORDS];
};
// The first line of every bitmap map. Then come `lines` lines of what was written, then as many of what was discarded.
struct header {
	u64 generation;
	u64 chunks;
	u64 sector_shift; // a chunk is 1 << sector_shift sectors
	u64 lines;
	u64 flags;
	u64 reserved[3];
};
// A tracked disk lies at the place of its number modulo MAX_DISKS, or shortly after; that place is its index everywhere.
struct disk {
	u64 diskseq; // a name or device number may be used again, this never; 0 where there is none
	u32 regime;
	u32 tags;
	u32 queues;
	u32 reserved;
};
// A write that the driver has. The owner is the address of the request or bio; none is 0.
struct flight {
	u64 owner;
	u64 generation;
	u64 first;
	u64 last_and_kind; // the kind is the uppermost bit
};
struct bio_flight {
	u64 index;
	struct flight flight;
};
struct tally {
	u64 sectors; // of request disks when they are completed, of bio disks when they are queued
	u64 issued;  // of request disks when they are issued
};
struct instance {
	u64 layout;
	u64 reserved;
	u64 identity[2];
	u64 newest_disk[2]; // the highest diskseq when the request programs were attached, and the bio programs
};

struct bitmap_map {
	MAP_TYPE(ARRAY);
	MAP_FLAGS(MMAPABLE | INNER_MAP);
	MAP_ENTRIES(1);
	MAP_KEY_BYTES(sizeof(u32));
	MAP_VALUE_BYTES(sizeof(struct line));
};
struct flight_map {
	MAP_TYPE(ARRAY);
	MAP_FLAGS(MMAPABLE | INNER_MAP);
	MAP_ENTRIES(1);
	MAP_KEY_BYTES(sizeof(u32));
	MAP_VALUE_BYTES(sizeof(struct flight));
};

struct {
	MAP_TYPE(ARRAY);
	MAP_ENTRIES(MAX_DISKS);
	MAP_KEY(u32);
	MAP_VALUE(struct disk);
} disks SEC(".maps");
struct {
	MAP_TYPE(ARRAY_OF_MAPS);
	MAP_ENTRIES(MAX_DISKS);
	MAP_KEY(u32);
	struct bitmap_map *values[];
} bitmaps SEC(".maps");
struct {
	MAP_TYPE(ARRAY_OF_MAPS);
	MAP_ENTRIES(MAX_DISKS);
	MAP_KEY(u32);
	struct flight_map *values[];
} flights SEC(".maps");
struct {
	MAP_TYPE(HASH);
	MAP_ENTRIES(MAX_BIOS);
	MAP_KEY(u64);
	MAP_VALUE(struct bio_flight);
} bios SEC(".maps");
struct {
	MAP_TYPE(PERCPU_ARRAY);
	MAP_ENTRIES(MAX_DISKS);
	MAP_KEY(u32);
	MAP_VALUE(struct tally);
} tallies SEC(".maps");
// A bit for each disk that was written before it was adopted, at its number modulo MAX_EARLY.
struct {
	MAP_TYPE(ARRAY);
	MAP_ENTRIES(MAX_EARLY / 64);
	MAP_KEY(u32);
	MAP_VALUE(u64);
} early SEC(".maps");
struct {
	MAP_TYPE(ARRAY);
	MAP_ENTRIES(1);
	MAP_KEY(u32);
	MAP_VALUE(struct instance);
} instance SEC(".maps");

// Faults that tests switch on to see that they are noticed. They are constants for the verifier, so none of it is left at run time.
enum { FAULT_WALK_EVERY_DISCARD = 1, FAULT_TRUST_SHORT_WALK = 2, FAULT_FORGET_FLIGHTS = 4 };
const volatile u32 faults = 0;

struct range {
	u64 first;
	u64 last;
	u32 kind;
};

INLINE void set_bits(u64 *word, u64 mask)
{
	// Most writes hit chunks that are marked already, and reading shares the cache line where an atomic would claim it.
	if ((*(volatile u64 *)word & mask) != mask)
		__sync_fetch_and_or(word, mask);
}

INLINE struct header *header_of(void *bitmap)
{
	u32 at = 0;
	return bitmap ? map_lookup(bitmap, &at) : NULL;
}

INLINE struct line *line_at(void *bitmap, u64 number)
{
	u32 at = number;
	return map_lookup(bitmap, &at);
}

// Marks bits `from` to `to` of a line. The shape of this loop and of the next keeps the verifier's work small.
INLINE int mark_part(void *bitmap, u64 number, u32 from, u32 to)
{
	struct line *line = line_at(bitmap, number);
	if (!line)
		return -1;
	for (u32 step = 0; step < LINE_WORDS; step++) {
		u32 word = (from >> 6) + step;
		u64 mask = ~0ULL;
		if (word > to >> 6)
			break;
		if (step == 0)
			mask <<= from & 63;
		if (word == to >> 6)
			mask &= ~0ULL >> (63 - (to & 63));
		// clang knows that this is in bounds, and would leave out the proof that the verifier asks for.
		asm volatile("" : "+r"(word));
		set_bits(&line->words[word & (LINE_WORDS - 1)], mask);
	}
	return 0;
}

// Marks whole lines, without those at either end.
INLINE int mark_whole_lines(void *bitmap, u64 after, u64 before)
{
	for (u32 step = 1; step < MAX_LINES; step++) {
		if (after + step >= before)
			return 0;
		struct line *line = line_at(bitmap, after + step);
		if (!line)
			return -1;
		// To set every bit takes no atomic: there is none that it could undo.
#pragma unroll
		for (u32 word = 0; word < LINE_WORDS; word++)
			*(volatile u64 *)&line->words[word] = ~0ULL;
	}
	return -1;
}

// Marks any chunks. Global, so that the verifier looks at it once and not at every call.
__attribute__((noinline)) int mark_range(u32 index, u64 first, u64 last, u32 kind)
{
	void *bitmap = map_lookup(&bitmaps, &index);
	struct header *header = header_of(bitmap);
	if (!header)
		return 0;
	if (last >= header->chunks) {
		set_bits(&header->flags, FLAG_BEYOND);
		if (first >= header->chunks)
			return 0;
		last = header->chunks - 1;
	}
	u64 base = 1 + (kind == DISCARDED ? header->lines : 0);
	u64 first_line = base + (first >> LINE_SHIFT), last_line = base + (last >> LINE_SHIFT);
	u32 from = first & (LINE_BITS - 1), to = last & (LINE_BITS - 1);
	int failed;
	if (first_line == last_line)
		failed = mark_part(bitmap, first_line, from, to);
	else
		failed = mark_part(bitmap, first_line, from, LINE_BITS - 1) | mark_part(bitmap, last_line, 0, to) |
			 mark_whole_lines(bitmap, first_line, last_line);
	if (failed)
		set_bits(&header->flags, FLAG_BEYOND);
	return 0;
}

// Most writes lie in one chunk of the disk.
INLINE void mark(u32 index, void *bitmap, struct header *header, struct range range)
{
	if (range.first != range.last || range.last >= header->chunks) {
		mark_range(index, range.first, range.last, range.kind);
		return;
	}
	u64 base = 1 + (range.kind == DISCARDED ? header->lines : 0);
	struct line *line = line_at(bitmap, base + (range.first >> LINE_SHIFT));
	if (line)
		set_bits(&line->words[(range.first >> 6) & (LINE_WORDS - 1)], 1ULL << (range.first & 63));
	else
		set_bits(&header->flags, FLAG_BEYOND);
}

INLINE struct range range_of(struct header *header, u64 sector, u32 bytes, u32 op)
{
	u32 shift = header->sector_shift & 63;
	u64 sectors = (bytes + 511ULL) >> 9;
	return (struct range){
		.first = sector >> shift,
		.last = (sector + sectors - 1) >> shift,
		.kind = op == OP_DISCARD ? DISCARDED : WRITTEN,
	};
}

INLINE struct flight flight_of(void *owner, struct header *header, struct range range)
{
	return (struct flight){
		.owner = (u64)owner,
		.generation = header->generation,
		.first = range.first,
		.last_and_kind = range.last | (u64)range.kind << 63,
	};
}

INLINE struct range range_of_flight(struct flight *flight)
{
	return (struct range){
		.first = flight->first,
		.last = flight->last_and_kind & ~(1ULL << 63),
		.kind = flight->last_and_kind >> 63,
	};
}

// A tracked disk and its index.
struct found {
	struct disk *disk;
	u32 index;
};

// Remembers that a disk was written before it was adopted. Numbers that fall together are all noted, which is on the safe side.
INLINE void note_early(u64 diskseq)
{
	u32 at = (diskseq & (MAX_EARLY - 1)) >> 6;
	u64 *word = map_lookup(&early, &at);
	if (word)
		set_bits(word, 1ULL << (diskseq & 63));
}

INLINE struct found find_disk(u64 diskseq, u32 regime)
{
	struct found none = { .disk = NULL, .index = 0 };
	// Queues without a disk, such as those for administration, read as 0.
	if (!diskseq)
		return none;
#pragma unroll
	for (u32 probe = 0; probe < MAX_PROBES; probe++) {
		u32 at = (diskseq + probe) & (MAX_DISKS - 1);
		struct disk *disk = map_lookup(&disks, &at);
		if (disk && disk->diskseq == diskseq)
			return disk->regime == regime ? (struct found){ .disk = disk, .index = at } : none;
	}
	note_early(diskseq);
	return none;
}

INLINE int is_known(u32 op)
{
	return op == OP_WRITE || op == OP_DISCARD || op == OP_SECURE_ERASE || op == OP_WRITE_ZEROES;
}

INLINE void taint_operation(struct header *header, u32 op)
{
	set_bits(&header->flags, op == OP_DRIVER_OUT ? FLAG_PASSTHROUGH : FLAG_OPERATION);
}

INLINE int is_failure(u32 status)
{
	return status != STATUS_OK && status != STATUS_NOT_SUPPORTED && status != (u32)ERROR_NOT_SUPPORTED;
}

// Marks each range of a discard that may have several; the range of such a request means nothing.
INLINE void mark_chain(u32 index, struct header *header, struct bio *bio)
{
	for (u32 step = 0; step < MAX_RANGES && bio; step++) {
		struct range one = range_of(header, bio->bi_iter.bi_sector, bio->bi_iter.bi_size, OP_DISCARD);
		if (bio->bi_iter.bi_size)
			mark_range(index, one.first, one.last, DISCARDED);
		bio = bio->bi_next;
	}
	if (bio && !(faults & FAULT_TRUST_SHORT_WALK))
		set_bits(&header->flags, FLAG_DISCARD_CHAIN);
}

INLINE struct range mark_request(u32 index, void *bitmap, struct header *header, struct request *request, u32 op)
{
	struct range range = range_of(header, request->__sector, request->__data_len, op);
	if (op == OP_DISCARD && (faults & FAULT_WALK_EVERY_DISCARD || request->q->limits.max_discard_segments > 1)) {
		mark_chain(index, header, request->bio);
		// Should it be carried, then as one that may be anywhere.
		return (struct range){ .first = 0, .last = header->chunks - 1, .kind = DISCARDED };
	}
	mark(index, bitmap, header, range);
	return range;
}

// The slot of a request. A tag is a request's alone from before it is issued until after it is completed.
INLINE struct flight *slot_of(struct found found, struct request *request)
{
	struct disk *disk = found.disk;
	u32 queue = request->mq_hctx->queue_num;
	u32 tag = request->tag;
	if (queue >= disk->queues || tag >= disk->tags)
		return NULL;
	void *slots = map_lookup(&flights, &found.index);
	u32 at = queue * disk->tags + tag;
	return slots ? map_lookup(slots, &at) : NULL;
}

SEC("tp_btf/block_rq_issue")
int request_issued(u64 *ctx)
{
	struct request *request = (struct request *)ctx[0];
	u32 op = request->cmd_flags & OP_MASK;
	if (!(op & 1))
		return 0;
	struct found disk = find_disk(request->q->disk->diskseq, BY_REQUEST);
	if (!disk.disk)
		return 0;
	void *bitmap = map_lookup(&bitmaps, &disk.index);
	struct header *header = header_of(bitmap);
	if (!header)
		return 0;
	if (!is_known(op)) {
		taint_operation(header, op);
		return 0;
	}
	// An empty write is only a flush.
	if (!request->__data_len)
		return 0;
	struct range range = mark_request(disk.index, bitmap, header, request, op);
	if (faults & FAULT_FORGET_FLIGHTS)
		return 0;
	struct flight *slot = slot_of(disk, request);
	if (!slot) {
		set_bits(&header->flags, FLAG_FLIGHT_LOST);
		return 0;
	}
	struct flight flight = flight_of(request, header, range);
	// What its driver has sent back is issued again, and counted once.
	int is_again = slot->owner == flight.owner && slot->first == flight.first && slot->last_and_kind == flight.last_and_kind;
	*slot = flight;
	struct tally *tally = map_lookup(&tallies, &disk.index);
	if (tally && !is_again)
		tally->issued += request->__data_len >> 9;
	return 0;
}

SEC("tp_btf/block_rq_complete")
int request_completed(u64 *ctx)
{
	struct request *request = (struct request *)ctx[0];
	u32 status = ctx[1];
	u32 bytes = ctx[2];
	u32 op = request->cmd_flags & OP_MASK;
	// When a write that needed a flush after it is over, it is completed a second time with nothing left in it.
	if (!(op & 1) || (is_known(op) && !request->__data_len))
		return 0;
	struct found disk = find_disk(request->q->disk->diskseq, BY_REQUEST);
	if (!disk.disk)
		return 0;
	void *bitmap = map_lookup(&bitmaps, &disk.index);
	struct header *header = header_of(bitmap);
	if (!header)
		return 0;
	if (!is_known(op)) {
		taint_operation(header, op);
		return 0;
	}
	struct flight *slot = slot_of(disk, request);
	int is_recorded = slot && slot->owner == (u64)request;
	u64 flags = 0;
	if (is_failure(status))
		flags = FLAG_FAILED;
	else if (!is_recorded && status == STATUS_OK && !(faults & FAULT_FORGET_FLIGHTS))
		// What was refused before it was issued changed nothing; this was not refused.
		flags = FLAG_HEALED;
	if (flags) {
		set_bits(&header->flags, flags);
		mark_request(disk.index, bitmap, header, request, op);
	}
	if (!is_recorded)
		return 0;
	struct tally *tally = map_lookup(&tallies, &disk.index);
	if (tally)
		tally->sectors += bytes >> 9;
	// A request may be completed in parts; it is on its way until the last one.
	if (bytes >= request->__data_len)
		slot->owner = 0;
	return 0;
}

INLINE struct found disk_of_bio(struct bio *bio)
{
	struct gendisk *disk = bio->bi_bdev->bd_disk;
	// Request disks have their own regime; leaving here costs them a few loads.
	if (disk->queue->mq_ops)
		return (struct found){ .disk = NULL, .index = 0 };
	return find_disk(disk->diskseq, BY_BIO);
}

INLINE int bio_begins(struct bio *bio, int is_queued)
{
	u32 op = bio->bi_opf & OP_MASK;
	u32 bytes = bio->bi_iter.bi_size;
	if (!(op & 1))
		return 0;
	struct found disk = disk_of_bio(bio);
	if (!disk.disk)
		return 0;
	void *bitmap = map_lookup(&bitmaps, &disk.index);
	struct header *header = header_of(bitmap);
	if (!header)
		return 0;
	if (!is_known(op)) {
		taint_operation(header, op);
		return 0;
	}
	// An empty write is only a flush. It is remembered all the same, in a generation that never is, so that its completion finds it.
	struct range range = { .first = 0, .last = 0, .kind = WRITTEN };
	if (bytes) {
		range = range_of(header, bio->bi_iter.bi_sector, bytes, op);
		mark(disk.index, bitmap, header, range);
	}
	struct tally *tally = map_lookup(&tallies, &disk.index);
	if (tally && op == OP_WRITE && is_queued)
		tally->sectors += bytes >> 9;
	struct bio_flight entry = { .index = disk.index, .flight = flight_of(bio, header, range) };
	if (!bytes)
		entry.flight.generation = ~0ULL;
	u64 key = (u64)bio;
	if (!(faults & FAULT_FORGET_FLIGHTS) && map_update(&bios, &key, &entry, 0))
		set_bits(&header->flags, FLAG_FLIGHT_LOST);
	return 0;
}

SEC("tp_btf/block_bio_queue")
int bio_queued(u64 *ctx)
{
	return bio_begins((struct bio *)ctx[0], 1);
}

// A partition, or a driver above, hands the same bio on: it is not queued a second time.
SEC("tp_btf/block_bio_remap")
int bio_remapped(u64 *ctx)
{
	return bio_begins((struct bio *)ctx[0], 0);
}

SEC("tp_btf/block_bio_complete")
int bio_completed(u64 *ctx)
{
	struct bio *bio = (struct bio *)ctx[1];
	u32 op = bio->bi_opf & OP_MASK;
	u32 status = bio->bi_status;
	if (!(op & 1) || !is_known(op))
		return 0;
	struct found disk = disk_of_bio(bio);
	if (!disk.disk)
		return 0;
	void *bitmap = map_lookup(&bitmaps, &disk.index);
	struct header *header = header_of(bitmap);
	if (!header)
		return 0;
	u64 key = (u64)bio;
	struct bio_flight *found = map_lookup(&bios, &key);
	if (is_failure(status))
		set_bits(&header->flags, FLAG_FAILED);
	if (found) {
		if (is_failure(status) && found->flight.generation != ~0ULL)
			mark(disk.index, bitmap, header, range_of_flight(&found->flight));
		map_delete(&bios, &key);
		return 0;
	}
	// The front of a bio that was split has no record; the rest of it, which it reports to, has one for both.
	key = (u64)bio->bi_private;
	if (map_lookup(&bios, &key) || status != STATUS_OK || faults & FAULT_FORGET_FLIGHTS)
		return 0;
	u32 bytes = bio->bi_iter.bi_size;
	if (bytes)
		mark(disk.index, bitmap, header, range_of(header, bio->bi_iter.bi_sector, bytes, op));
	// Some drivers use a bio up on its way, so that its range is gone; the flag says enough.
	set_bits(&header->flags, FLAG_HEALED);
	return 0;
}

char program_license[] SEC("license") = "Dual MIT/GPL";
