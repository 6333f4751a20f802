/* flight.c - writes the flight recorder's file. See flight.h, and base/flight.h for the format.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/flight.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    NAMES = 512,         /* texts a lane may refer to; what comes later has no text */
    ACTORS = 1024,       /* names of actors a lane keeps */
    KEYS = 2 * NAMES,    /* slots of the map from a text's address to its number */
    PATIENCE = 10 << 20, /* looks at the lock of the shared lane, before a dying thread goes on without it */
    PATH_BYTES = 4096,
    SECOND_NS = 1000000000,
};

typedef struct key {
    const void *of;
    uint32_t number;
} key;

struct stoa_flight_lane {
    stoa_flight_name *names; /* these three are in the file */
    stoa_flight_actor *actors;
    stoa_flight_record *rings[STOA_FLIGHT_RINGS];
    uint64_t seq[STOA_FLIGHT_RINGS]; /* of the last record */
    uint32_t mask;
    uint32_t name_count;
    key keys[KEYS];
    uint64_t since_ns[STOA_FLIGHT_CODES]; /* LOG: begin of the second that is counted; PULSE: the last record */
    uint32_t written[STOA_FLIGHT_CODES];  /* LOG: in that second */
    uint32_t skipped[STOA_FLIGHT_CODES];  /* since the last record */
    atomic_flag busy;                     /* of the last lane: somebody writes */
};

struct stoa_flight {
    char *map;
    uint64_t bytes;
    uint32_t lane_count;
    stoa_flight_lane lanes[];
};

static const struct {
    uint32_t ring, limit;
} classes[STOA_FLIGHT_CODES] = {
#define FLIGHT(code, NAME, text, ring, limit, name, a, b, doc) [(code)] = {STOA_FLIGHT_##ring, (limit)},
#include "base/flight.def"
#undef FLIGHT
};

/* --- opening */

static stoa_err keep_earlier(const char *path)
{
    char from[PATH_BYTES], to[PATH_BYTES];
    if (strlen(path) + 8 > sizeof from) {
        return STOA_FAIL(STOA_E_RANGE, "the path of the flight recorder is too long");
    }
    for (int i = STOA_FLIGHT_KEPT; i > 0; i--) {
        (void)snprintf(to, sizeof to, "%s.%d", path, i);
        (void)snprintf(from, sizeof from, i > 1 ? "%s.%d" : "%s", path, i - 1);
        if (rename(from, to) && errno != ENOENT) {
            return STOA_FAIL(STOA_E_IO, "%s to %s: %s", from, to, strerror(errno));
        }
    }
    return STOA_OK;
}

/* All its space now: a full disk would show as SIGBUS later. */
static stoa_err map_file(const char *path, uint64_t bytes, char **out)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) { return STOA_FAIL(STOA_E_IO, "%s: %s", path, strerror(errno)); }
    int failed = posix_fallocate(fd, 0, (off_t)bytes);
    void *at = failed ? MAP_FAILED : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (!failed && at == MAP_FAILED) { failed = errno; }
    (void)close(fd);
    if (failed) {
        (void)unlink(path);
        return STOA_FAIL(failed == ENOSPC ? STOA_E_FULL : STOA_E_IO, "%s of %" PRIu64 " bytes: %s", path, bytes,
                         strerror(failed));
    }
    *out = at;
    return STOA_OK;
}

static void put_text(char *at, size_t cap, const char *text)
{
    size_t size = strnlen(text, cap);
    memcpy(at, text, size);
    memset(at + size, 0, cap - size);
}

static void write_classes(char *file)
{
    const stoa_flight_row *row;
    for (uint32_t count = 0; (row = stoa_flight_row_at(count)) != NULL; count++) {
        stoa_flight_class cls = {.code = row->code, .ring = row->ring};
        put_text(cls.text, sizeof cls.text, row->text);
        put_text(cls.name, sizeof cls.name, row->name);
        put_text(cls.a, sizeof cls.a, row->a);
        put_text(cls.b, sizeof cls.b, row->b);
        memcpy(file + sizeof(stoa_flight_head) + count * sizeof cls, &cls, sizeof cls);
    }
}

static uint32_t class_count(void)
{
    uint32_t count = 0;
    while (stoa_flight_row_at(count)) {
        count++;
    }
    return count;
}

/* The largest power of two of records that fits. */
static uint32_t records_in(uint64_t bytes)
{
    uint64_t records = bytes / STOA_FLIGHT_RINGS / sizeof(stoa_flight_record);
    return UINT32_C(1) << (63 - __builtin_clzll(records));
}

static stoa_flight_head head_of(const stoa_flight_options *o)
{
    stoa_flight_head head = {.magic = STOA_FLIGHT_MAGIC,
                             .version = STOA_FLIGHT_VERSION,
                             .head_bytes = sizeof head,
                             .lanes = o->cores + 1,
                             .rings = STOA_FLIGHT_RINGS,
                             .records = records_in(o->core_bytes),
                             .names = NAMES,
                             .actors = ACTORS,
                             .classes = class_count(),
                             .pid = (uint64_t)getpid(),
                             .opened_ns = o->wall_ns};
    put_text(head.build, sizeof head.build, o->build ? o->build : "");
    put_text(head.node, sizeof head.node, o->node ? o->node : "");
    head.lanes_at = stoa_flight_lanes_at(head.classes);
    head.lane_bytes = stoa_flight_lane_bytes(&head);
    head.file_bytes = head.lanes_at + head.lanes * head.lane_bytes;
    return head;
}

static void lane_init(stoa_flight_lane *lane, char *at, const stoa_flight_head *head)
{
    lane->names = (stoa_flight_name *)(void *)at;
    at += head->names * sizeof(stoa_flight_name);
    lane->actors = (stoa_flight_actor *)(void *)at;
    at += head->actors * sizeof(stoa_flight_actor);
    for (uint32_t ring = 0; ring < STOA_FLIGHT_RINGS; ring++) {
        lane->rings[ring] = (stoa_flight_record *)(void *)at;
        at += head->records * sizeof(stoa_flight_record);
    }
    lane->mask = head->records - 1;
    atomic_flag_clear(&lane->busy);
}

stoa_err stoa_flight_open(const stoa_flight_options *options, stoa_flight **out)
{
    if (options->core_bytes < STOA_FLIGHT_CORE_BYTES_MIN || options->core_bytes > UINT64_C(1) << 31) {
        return STOA_FAIL(STOA_E_RANGE, "a flight recorder has 64 KiB to 2 GiB a core");
    }
    stoa_flight_head head = head_of(options);
    stoa_flight *flight = calloc(1, sizeof *flight + head.lanes * sizeof(stoa_flight_lane));
    if (!flight) { return STOA_FAIL(STOA_E_NOMEM, "flight recorder"); }
    stoa_err err = keep_earlier(options->path);
    if (!err) { err = map_file(options->path, head.file_bytes, &flight->map); }
    if (err) {
        free(flight);
        return err;
    }
    flight->bytes = head.file_bytes;
    flight->lane_count = head.lanes;
    write_classes(flight->map);
    memcpy(flight->map, &head, sizeof head);
    head.check = stoa_flight_head_check(flight->map, head.classes);
    memcpy(flight->map, &head, sizeof head);
    for (uint32_t i = 0; i < head.lanes; i++) {
        lane_init(&flight->lanes[i], flight->map + head.lanes_at + i * head.lane_bytes, &head);
    }
    *out = flight;
    return STOA_OK;
}

void stoa_flight_close(stoa_flight *flight)
{
    if (!flight) { return; }
    (void)munmap(flight->map, flight->bytes);
    free(flight);
}

stoa_flight_lane *stoa_flight_lane_of(stoa_flight *flight, uint32_t index)
{
    return flight && index < flight->lane_count ? &flight->lanes[index] : NULL;
}

/* --- writing */

/* The slot where the text at that address is known, or would be; NULL when all are taken. */
static key *locate(stoa_flight_lane *lane, const void *of)
{
    uint64_t at = stoa_mix64((uint64_t)(uintptr_t)of);
    for (uint32_t i = 0; i < KEYS; i++, at++) {
        key *slot = &lane->keys[at % KEYS];
        if (slot->of == of || !slot->of) { return slot; }
    }
    return NULL;
}

/* The number of a text, which is first, then second. */
static uint32_t number_of(stoa_flight_lane *lane, const void *of, const char *first, const char *second)
{
    if (!of) { return 0; }
    key *slot = locate(lane, of);
    if (slot && slot->of) { return slot->number; }
    if (!slot || lane->name_count == NAMES) { return 0; }
    uint32_t number = ++lane->name_count; /* first, so that who interrupts us takes the next one */
    stoa_flight_name name = {.text = ""};
    size_t size = strnlen(first, sizeof name.text);
    memcpy(name.text, first, size);
    if (second) {
        size_t more = strnlen(second, sizeof name.text - size);
        memcpy(name.text + size, second, more);
    }
    name.check = stoa_crc32c(0, name.text, sizeof name.text);
    lane->names[number - 1] = name;
    slot->number = number;
    slot->of = of;
    return number;
}

static uint32_t row_number(stoa_flight_lane *lane, const stoa_row *row)
{
    char kind[STOA_FLIGHT_TEXT];
    if (!row) { return 0; }
    key *slot = locate(lane, row);
    if (slot && slot->of) { return slot->number; }
    size_t size = strnlen(row->kind, sizeof kind - 2);
    memcpy(kind, row->kind, size);
    memcpy(kind + size, ".", 2);
    return number_of(lane, row, kind, row->name);
}

static void keep_actor(stoa_flight_lane *lane, uint64_t ref, const char *text)
{
    stoa_flight_actor *slot = &lane->actors[stoa_flight_slot(ref, ACTORS)];
    if (slot->ref == ref || !text || !text[0]) { return; }
    stoa_flight_actor actor = {.ref = ref};
    put_text(actor.text, sizeof actor.text, text);
    actor.check = stoa_crc32c(0, &actor, offsetof(stoa_flight_actor, check));
    *slot = actor;
}

static void write_record(stoa_flight_lane *lane, uint64_t wall_ns, const stoa_flight_note *note)
{
    uint32_t ring = classes[note->code].ring;
    stoa_flight_record record = {.seq = ++lane->seq[ring], /* first: see number_of */
                                 .time_ns = wall_ns,
                                 .actor = note->actor,
                                 .a = note->a,
                                 .b = note->b,
                                 .row = row_number(lane, note->row),
                                 .name = number_of(lane, note->name, note->name, NULL),
                                 .code = (uint16_t)note->code,
                                 .core = (uint16_t)note->core,
                                 .skipped = lane->skipped[note->code]};
    if (note->actor) { keep_actor(lane, note->actor, note->actor_name); }
    lane->skipped[note->code] = 0;
    record.check = stoa_flight_check(&record);
    lane->rings[ring][(record.seq - 1) & lane->mask] = record;
}

/* What is rare may come in a burst; what is common is spread evenly. A clock that was set back is followed. */
static bool within_limit(stoa_flight_lane *lane, uint64_t wall_ns, stoa_flight_code code)
{
    uint32_t limit = classes[code].limit;
    uint64_t passed_ns = wall_ns - lane->since_ns[code];
    if (!limit) { return true; }
    if (classes[code].ring == STOA_FLIGHT_LOG && passed_ns < SECOND_NS) { return ++lane->written[code] <= limit; }
    if (classes[code].ring == STOA_FLIGHT_PULSE && passed_ns < SECOND_NS / limit) { return false; }
    lane->since_ns[code] = wall_ns;
    lane->written[code] = 1;
    return true;
}

void stoa_flight_put(stoa_flight_lane *lane, uint64_t wall_ns, const stoa_flight_note *note)
{
    if (!within_limit(lane, wall_ns, note->code)) {
        lane->skipped[note->code]++;
        return;
    }
    write_record(lane, wall_ns, note);
}

void stoa_flight_put_frames(stoa_flight_lane *lane, uint64_t wall_ns, const stoa_flight_note *note,
                            const stoa_flight_frames *frames)
{
    write_record(lane, wall_ns, note);
    for (uint32_t i = 0; frames && i < frames->count; i++) {
        stoa_flight_note frame = {.code = STOA_FLIGHT_FRAME,
                                  .core = note->core,
                                  .name = frames->in[i],
                                  .a = frames->address[i],
                                  .b = frames->offset[i]};
        write_record(lane, wall_ns, &frame);
    }
}

void stoa_flight_put_shared(stoa_flight *flight, uint64_t wall_ns, const stoa_flight_note *note,
                            const stoa_flight_frames *frames)
{
    if (!flight) { return; }
    stoa_flight_lane *lane = &flight->lanes[flight->lane_count - 1];
    bool ours = false;
    for (uint32_t i = 0; i < PATIENCE && !ours; i++) {
        ours = !atomic_flag_test_and_set_explicit(&lane->busy, memory_order_acquire);
    }
    stoa_flight_put_frames(lane, wall_ns, note, frames);
    if (ours) { atomic_flag_clear_explicit(&lane->busy, memory_order_release); }
}
