/* flight_test.c - goal: what a recorder wrote is read back, in order and by name, whatever became of the file
 * meanwhile. Method: real files in a folder of our own, wrapped, cut, bent, with records torn and with classes of
 * another version.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "runtime/flight.h"

enum { CORES = 2, EVENTS_MAX = 8192, RECORDS = STOA_FLIGHT_CORE_BYTES_MIN / STOA_FLIGHT_RINGS / 64 };
static const uint64_t T0 = UINT64_C(1767225600000000000);

static const stoa_row ball = {.kind = "ping", .name = "ball"};

/* --- a recorder in a file, and its file as bytes */

typedef struct world {
    char folder[64], path[96];
    stoa_flight *flight;
    char *bytes;
    size_t size;
    stoa_flight_summary summary;
    stoa_flight_event *events;
    uint32_t count;
} world;

static stoa_flight_options options_of(const world *w)
{
    return (stoa_flight_options){.path = w->path,
                                 .node = "test",
                                 .build = "9.9.9",
                                 .cores = CORES,
                                 .core_bytes = STOA_FLIGHT_CORE_BYTES_MIN,
                                 .wall_ns = T0};
}

static int set_up(void **state)
{
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    (void)snprintf(w->folder, sizeof w->folder, "/tmp/stoa-flight-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    (void)snprintf(w->path, sizeof w->path, "%s/flight", w->folder);
    stoa_flight_options options = options_of(w);
    assert_int_equal(stoa_flight_open(&options, &w->flight), STOA_OK);
    w->events = calloc(EVENTS_MAX, sizeof *w->events);
    assert_non_null(w->events);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    world *w = *state;
    char path[128];
    stoa_flight_close(w->flight);
    for (int i = 0; i <= STOA_FLIGHT_KEPT; i++) {
        (void)snprintf(path, sizeof path, i ? "%s.%d" : "%s", w->path, i);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(w->folder), 0);
    free(w->events);
    free(w->bytes);
    free(w);
    return 0;
}

static void load(world *w)
{
    struct stat status;
    int fd = open(w->path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &status), 0);
    free(w->bytes);
    w->size = (size_t)status.st_size;
    w->bytes = malloc(w->size);
    assert_non_null(w->bytes);
    assert_int_equal(read(fd, w->bytes, w->size), (ssize_t)w->size);
    (void)close(fd);
}

static void keep(void *context, const stoa_flight_event *event)
{
    world *w = context;
    assert_true(w->count < EVENTS_MAX);
    w->events[w->count++] = *event;
}

static stoa_err parse(world *w, stoa_flight_query query)
{
    w->count = 0;
    return stoa_flight_read(w->bytes, w->size, &query, &w->summary, keep, w);
}

static void look(world *w)
{
    load(w);
    assert_int_equal(parse(w, (stoa_flight_query){0}), STOA_OK);
}

static stoa_flight_note note_of(uint32_t core, uint64_t a)
{
    return (stoa_flight_note){
        .code = STOA_FLIGHT_STALL, .core = core, .actor = 77, .actor_name = "ping/one", .row = &ball, .a = a, .b = 2};
}

/* --- tests */

static void a_record_comes_back_with_all_its_words(void **state)
{
    world *w = *state;
    stoa_flight_note note = {.code = STOA_FLIGHT_FAILED,
                             .core = 1,
                             .actor = 42,
                             .actor_name = "ping/two",
                             .row = &ball,
                             .name = "the net tore",
                             .a = 3};
    stoa_flight_put(stoa_flight_lane_of(w->flight, 1), T0 + 5, &note);
    look(w);
    assert_int_equal(w->count, 1);
    const stoa_flight_event *event = &w->events[0];
    assert_string_equal(event->text, "failed");
    assert_string_equal(event->actor_name, "ping/two");
    assert_string_equal(event->message, "ping.ball");
    assert_string_equal(event->name_label, "reason");
    assert_string_equal(event->name, "the net tore");
    assert_string_equal(event->a_label, "restarts/n");
    assert_int_equal(event->a, 3);
    assert_int_equal(event->core, 1);
    assert_int_equal(event->time_ns, T0 + 5);
    assert_string_equal(w->summary.node, "test");
    assert_string_equal(w->summary.build, "9.9.9");
    assert_int_equal(w->summary.cores, CORES);
    assert_int_equal(w->summary.pid, getpid());
    assert_int_equal(w->summary.records, 1);
}

static void a_full_ring_keeps_the_newest(void **state)
{
    world *w = *state;
    enum { ALL = 3 * RECORDS + 17 };
    for (uint64_t i = 1; i <= ALL; i++) {
        stoa_flight_note note = note_of(0, i);
        stoa_flight_put(stoa_flight_lane_of(w->flight, 0), T0 + i, &note);
    }
    look(w);
    assert_int_equal(w->count, RECORDS);
    for (uint32_t i = 0; i < w->count; i++) {
        assert_int_equal(w->events[i].a, ALL - RECORDS + 1 + i);
    }
    assert_int_equal(w->summary.overwritten, ALL - RECORDS);
    assert_int_equal(w->summary.torn, 0);
    assert_int_equal(parse(w, (stoa_flight_query){.last = 5}), STOA_OK);
    assert_int_equal(w->count, 5);
    assert_int_equal(w->events[0].a, ALL - 4);
}

static void lanes_are_merged_by_time_and_told_apart_by_core(void **state)
{
    world *w = *state;
    for (uint64_t i = 0; i < 20; i++) {
        stoa_flight_note note = note_of((uint32_t)(i % CORES), i);
        stoa_flight_put(stoa_flight_lane_of(w->flight, (uint32_t)(i % CORES)), T0 + i, &note);
    }
    stoa_flight_note all = {.code = STOA_FLIGHT_EXIT, .core = STOA_FLIGHT_NO_CORE, .name = "closed"};
    stoa_flight_put_shared(w->flight, T0 + 100, &all, NULL);
    look(w);
    assert_int_equal(w->count, 21);
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(w->events[i].a, i);
    }
    assert_string_equal(w->events[20].text, "exit");
    assert_int_equal(parse(w, (stoa_flight_query){.one_core = true, .core = 1}), STOA_OK);
    assert_int_equal(w->count, 10);
    for (uint32_t i = 0; i < w->count; i++) {
        assert_int_equal(w->events[i].core, 1);
    }
}

static void frames_belong_to_their_record(void **state)
{
    world *w = *state;
    stoa_flight_frames frames = {
        .count = 3, .address = {10, 20, 30}, .offset = {1, 2, 3}, .in = {"inner", "middle", "main"}};
    stoa_flight_note note = note_of(0, 1);
    stoa_flight_put_shared(w->flight, T0, &note, &frames);
    stoa_flight_put_shared(w->flight, T0 + 1, &note, NULL);
    look(w);
    assert_int_equal(w->count, 2);
    assert_int_equal(w->events[0].frame_count, 3);
    assert_string_equal(w->events[0].frames[1].in, "middle");
    assert_int_equal(w->events[0].frames[2].address, 30);
    assert_int_equal(w->events[0].frames[2].offset, 3);
    assert_int_equal(w->events[1].frame_count, 0);
    assert_int_equal(parse(w, (stoa_flight_query){.last = 2}), STOA_OK);
    assert_int_equal(w->count, 2);
    assert_int_equal(w->events[0].frame_count, 3);
}

/* Names outnumber what the table of actors and of texts holds: the record stays, its word is gone or another's was
 * never shown. */
static void names_are_right_or_missing(void **state)
{
    world *w = *state;
    static char reasons[900][16], actors[900][24];
    uint32_t named = 0, reasoned = 0;
    for (uint32_t i = 0; i < 200; i++) { /* below the limits of a second, one second after the other */
        uint32_t n = i * 4;
        (void)snprintf(reasons[n], sizeof reasons[n], "reason %u", n);
        (void)snprintf(actors[n], sizeof actors[n], "ping/%u", n);
        stoa_flight_note note = {
            .code = STOA_FLIGHT_FAILED, .actor = 1000 + n, .actor_name = actors[n], .name = reasons[n], .a = n};
        stoa_flight_put(stoa_flight_lane_of(w->flight, 0), T0 + STOA_S(i), &note);
    }
    for (uint32_t n = 0; n < 900; n++) {
        (void)snprintf(reasons[n], sizeof reasons[n], "reason %u", n);
        (void)snprintf(actors[n], sizeof actors[n], "ping/%u", n);
        stoa_flight_note note = {
            .code = STOA_FLIGHT_FAILED, .actor = 1000 + n, .actor_name = actors[n], .name = reasons[n], .a = n};
        stoa_flight_put(stoa_flight_lane_of(w->flight, 0), T0 + STOA_S(1000 + n), &note);
    }
    look(w);
    assert_int_equal(w->count, RECORDS);
    for (uint32_t i = 0; i < w->count; i++) {
        const stoa_flight_event *event = &w->events[i];
        if (event->name[0]) { assert_string_equal(event->name, reasons[event->a]); }
        if (event->actor_name[0]) { assert_string_equal(event->actor_name, actors[event->a]); }
        reasoned += event->name[0] != '\0';
        named += event->actor_name[0] != '\0';
    }
    assert_in_range(reasoned, 1, w->count - 1);
    assert_in_range(named, w->count / 4, w->count);
}

static void a_storm_of_one_class_leaves_room_for_others(void **state)
{
    world *w = *state;
    stoa_flight_note exit = {.code = STOA_FLIGHT_EXIT, .core = 0, .name = "before the storm"};
    stoa_flight_put(stoa_flight_lane_of(w->flight, 0), T0, &exit);
    for (uint64_t i = 0; i < 100000; i++) { /* a second and a half of it */
        stoa_flight_note letter = {.code = STOA_FLIGHT_DEAD_LETTER, .core = 0, .a = i};
        stoa_flight_note turn = {.code = STOA_FLIGHT_TURN, .core = 0, .a = i};
        stoa_flight_put(stoa_flight_lane_of(w->flight, 0), T0 + i * 15000, &letter);
        stoa_flight_put(stoa_flight_lane_of(w->flight, 0), T0 + i * 15000, &turn);
    }
    look(w);
    uint64_t letters = 0, turns = 0, stand_for = 0;
    for (uint32_t i = 0; i < w->count; i++) {
        bool letter = w->events[i].code == STOA_FLIGHT_DEAD_LETTER;
        letters += letter;
        stand_for += letter ? 1 + w->events[i].skipped : 0;
        turns += w->events[i].code == STOA_FLIGHT_TURN;
    }
    assert_string_equal(w->events[0].name, "before the storm");
    assert_int_equal(letters, 128);
    assert_int_equal(stand_for, 66667 + 64); /* all of the first second, and what the second one wrote */
    assert_in_range(turns, 64, 128);
}

static void a_torn_record_is_counted_and_left_out(void **state)
{
    world *w = *state;
    for (uint64_t i = 1; i <= 10; i++) {
        stoa_flight_note note = note_of(0, i);
        stoa_flight_put(stoa_flight_lane_of(w->flight, 0), T0 + i, &note);
    }
    look(w);
    stoa_flight_head head;
    memcpy(&head, w->bytes, sizeof head);
    char *first =
        w->bytes + head.lanes_at + head.names * sizeof(stoa_flight_name) + head.actors * sizeof(stoa_flight_actor);
    for (size_t byte = 0; byte < sizeof(stoa_flight_record); byte++) { /* wherever it tore */
        if (byte >= offsetof(stoa_flight_record, check)) { break; }
        first[4 * 64 + byte] ^= 0x10;
        assert_int_equal(parse(w, (stoa_flight_query){0}), STOA_OK);
        first[4 * 64 + byte] ^= 0x10;
        assert_int_equal(w->count, 9);
        assert_int_equal(w->summary.torn, 1);
    }
    memcpy(first + 5 * 64, first + 6 * 64, 64); /* whole, but where another belongs */
    assert_int_equal(parse(w, (stoa_flight_query){0}), STOA_OK);
    assert_int_equal(w->count, 9);
    assert_int_equal(w->summary.torn, 1);
}

static void what_is_no_such_file_is_refused_by_name(void **state)
{
    world *w = *state;
    stoa_flight_note note = note_of(0, 1);
    stoa_flight_put(stoa_flight_lane_of(w->flight, 0), T0, &note);
    look(w);
    size_t whole = w->size;
    for (w->size = 0; w->size < whole; w->size += w->size < 16384 ? 7 : 4099) {
        stoa_err err = parse(w, (stoa_flight_query){0});
        assert_int_equal(err, w->size < 8 ? STOA_E_MALFORMED : STOA_E_CORRUPT);
        assert_int_equal(w->count, 0);
    }
    w->size = whole;
    assert_int_equal(parse(w, (stoa_flight_query){0}), STOA_OK);
    stoa_flight_head *head = (stoa_flight_head *)(void *)w->bytes;
    head->version = 2;
    assert_int_equal(parse(w, (stoa_flight_query){0}), STOA_E_VERSION);
    head->version = STOA_FLIGHT_VERSION;
    for (size_t at = 12; at < offsetof(stoa_flight_head, check); at++) { /* no byte of the head may change */
        w->bytes[at] ^= 1;
        assert_int_equal(parse(w, (stoa_flight_query){0}), STOA_E_CORRUPT);
        w->bytes[at] ^= 1;
    }
    w->bytes[sizeof *head + 40] ^= 1; /* nor of the classes */
    assert_int_equal(parse(w, (stoa_flight_query){0}), STOA_E_CORRUPT);
    w->bytes[0] = 'X';
    assert_int_equal(parse(w, (stoa_flight_query){0}), STOA_E_MALFORMED);
}

/* Another build's file: its classes have other words, and one that we have never heard of. */
static void the_words_are_those_of_the_file(void **state)
{
    world *w = *state;
    stoa_flight_note note = note_of(0, 1);
    stoa_flight_put(stoa_flight_lane_of(w->flight, 0), T0, &note);
    look(w);
    stoa_flight_head *head = (stoa_flight_head *)(void *)w->bytes;
    for (uint32_t i = 0; i < head->classes; i++) {
        stoa_flight_class *cls = (stoa_flight_class *)(void *)(w->bytes + sizeof *head + i * sizeof(stoa_flight_class));
        if (cls->code != STOA_FLIGHT_STALL) { continue; }
        memset(cls->text, 0, sizeof cls->text);
        memcpy(cls->text, "standstill", 10);
        memset(cls->a, 'x', sizeof cls->a); /* not even an end */
    }
    head->check = stoa_flight_head_check(w->bytes, head->classes);
    assert_int_equal(parse(w, (stoa_flight_query){0}), STOA_OK);
    assert_string_equal(w->events[0].text, "standstill");
    assert_string_equal(w->events[0].a_label, "xxxxxxxxxxxxxxxx");
    char *first =
        w->bytes + head->lanes_at + head->names * sizeof(stoa_flight_name) + head->actors * sizeof(stoa_flight_actor);
    stoa_flight_record *record = (stoa_flight_record *)(void *)first;
    record->code = 4711;
    record->check = stoa_flight_check(record);
    assert_int_equal(parse(w, (stoa_flight_query){0}), STOA_OK);
    assert_string_equal(w->events[0].text, "class 4711");
    assert_string_equal(w->events[0].a_label, "a/hex");
}

static void the_files_of_earlier_runs_are_kept(void **state)
{
    world *w = *state;
    stoa_flight_options options = options_of(w);
    char path[128];
    for (uint64_t run = 1; run <= STOA_FLIGHT_KEPT + 2; run++) {
        stoa_flight_note note = note_of(0, run);
        stoa_flight_put(stoa_flight_lane_of(w->flight, 0), T0, &note);
        stoa_flight_close(w->flight);
        w->flight = NULL;
        assert_int_equal(stoa_flight_open(&options, &w->flight), STOA_OK);
    }
    for (int i = 1; i <= STOA_FLIGHT_KEPT; i++) {
        (void)snprintf(path, sizeof path, "%s/flight.%d", w->folder, i);
        assert_int_equal(rename(path, w->path), 0);
        look(w);
        assert_int_equal(w->events[0].a, STOA_FLIGHT_KEPT + 3 - i);
    }
    options.path = "/nowhere/at/all/flight";
    stoa_flight *none = NULL;
    assert_int_equal(stoa_flight_open(&options, &none), STOA_E_IO);
    options.core_bytes = 100;
    assert_int_equal(stoa_flight_open(&options, &none), STOA_E_RANGE);
    assert_null(none);
}

enum { WRITERS = 4, EACH = 200 };

static void *write_shared(void *argument)
{
    stoa_flight_frames frames = {.count = 2, .address = {1, 2}, .in = {"inner", "outer"}};
    for (uint64_t i = 0; i < EACH; i++) {
        stoa_flight_note note = note_of(0, i);
        stoa_flight_put_shared(argument, T0 + i, &note, i % 8 ? NULL : &frames);
    }
    return NULL;
}

static void many_threads_share_the_last_lane(void **state)
{
    world *w = *state;
    pthread_t threads[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_shared, w->flight), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    look(w);
    assert_int_equal(w->summary.torn, 0);
    assert_int_equal(w->summary.overwritten, WRITERS * (EACH + EACH / 8 * 2) - RECORDS);
    for (uint32_t i = 0; i < w->count; i++) {
        assert_string_equal(w->events[i].message, "ping.ball");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_record_comes_back_with_all_its_words, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_ring_keeps_the_newest, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lanes_are_merged_by_time_and_told_apart_by_core, set_up, tear_down),
        cmocka_unit_test_setup_teardown(frames_belong_to_their_record, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_are_right_or_missing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_storm_of_one_class_leaves_room_for_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_torn_record_is_counted_and_left_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_such_file_is_refused_by_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_words_are_those_of_the_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_files_of_earlier_runs_are_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_threads_share_the_last_lane, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
