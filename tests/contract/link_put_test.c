/* link_put_test.c - the contract of the one-sided half of transport/link.h, over every scheme.
 *
 * Goal: what is put to a window is in the other side's memory when its flush is told, whichever way it went; what is put
 * elsewhere is refused; who cannot put says so. Over faults: what was put is late and doubled, or it is lost as if it had never been
 * put, and nothing else is; a flush that is told is told in order. Method: two ends in this process, over UCX (one-sided writes,
 * after they were seen to work), over UCX with keys and over libfabric (in frames); pieces at random, from a printed seed, with frames
 * in between.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "tests/contract/link_end.h"
#include "transport/fault/link.h"
#include "transport/keys.h"

enum { WINDOW_BYTES = 1 << 20, PIECE_MAX = 65536, PIECES = 400, DEADLINE_MS = 30000, FRAME_LIMIT = 65536 };

#define ROUGH "?seed=%llu&loss=100&dup=100&reorder=100&delay_us=300&jitter_us=300"

typedef struct variant {
    const char *name, *address; /* %llu: the seed */
    bool keys, writes; /* writes: by the provider, which has to be asked for */
} variant;

static const variant variants[] = {
    {"ucx", "ucx+tcp://127.0.0.1:0", false, true},
    {"ucx in frames", "ucx+tcp://127.0.0.1:0", false, false},
    {"ucx with keys", "ucx+tcp://127.0.0.1:0", true, false},
    {"ofi", "ofi+tcp://127.0.0.1:0", false, false},
    {"ofi with keys", "ofi+tcp://127.0.0.1:0", true, false},
    {"fault+ucx", "fault+ucx+tcp://127.0.0.1:0", false, true},
    {"fault+ofi", "fault+ofi+tcp://127.0.0.1:0", false, false},
};
static const variant rough[] = {
    {"rough fault+ucx", "fault+ucx+tcp://127.0.0.1:0" ROUGH, false, true},
    {"rough fault+ucx with keys", "fault+ucx+tcp://127.0.0.1:0" ROUGH, true, false},
    {"rough fault+ofi", "fault+ofi+tcp://127.0.0.1:0" ROUGH, false, false},
};

typedef struct world {
    const variant *as;
    end ends[2]; /* listens, dials */
    uint8_t *memory, *copy;
    stoa_link_window window;
} world;

static stoa_random chance;
static uint64_t seed;

static void run(world *w)
{
    for (unsigned i = 0; i < 2; i++) {
        stoa_link_events events = {on_frame, on_down, on_up, on_refused, on_flushed, &w->ends[i]};
        while (w->ends[i].link->ops->poll(w->ends[i].link, &events, 16) == 16) {}
    }
}

static void wait_for(world *w, const uint32_t *count, uint32_t least)
{
    for (int i = 0; *count < least && i < DEADLINE_MS; i++) {
        run(w);
        struct pollfd fds[2] = {{.fd = w->ends[0].link->ops->fd(w->ends[0].link), .events = POLLIN},
                                {.fd = w->ends[1].link->ops->fd(w->ends[1].link), .events = POLLIN}};
        if (*count < least) { (void)poll(fds, 2, 1000); } /* sleeps only on descriptors */
    }
    assert_true(*count >= least);
}

static void address_of(const variant *as, char *out, size_t out_bytes)
{
    size_t plain = strcspn(as->address, "%");
    const char *rest = as->address + plain + (as->address[plain] ? strlen("%llu") : 0);
    (void)snprintf(out, out_bytes, "%.*s", (int)plain, as->address);
    if (!as->address[plain]) { return; }
    (void)snprintf(out + plain, out_bytes - plain, "%llu%s", (unsigned long long)seed, rest);
}

static int world_open(void **state)
{
    world *w = calloc(1, sizeof *w);
    stoa_key_pair keys[2];
    assert_non_null(w);
    w->as = *state;
    assert_int_equal(stoa_key_new(&keys[0]) || stoa_key_new(&keys[1]), 0);
    stoa_link_allowed allowed = {.name = "client"};
    memcpy(allowed.public_key, keys[1].public_key, sizeof allowed.public_key);
    char address[256];
    address_of(w->as, address, sizeof address);
    (void)(w->as->writes ? setenv("STOA_UCX_WRITES", "1", 1) : unsetenv("STOA_UCX_WRITES"));
    for (unsigned i = 0; i < 2; i++) {
        stoa_link_options options = {.listen = i == 0, .frame_limit = FRAME_LIMIT, .queue_frames = 64};
        if (w->as->keys) {
            options.secret_key = keys[i].secret_key;
            options.public_key = i ? keys[1].public_key : NULL;
            options.server_key = i ? keys[0].public_key : NULL;
            options.allowed = i ? NULL : &allowed;
            options.allowed_count = i ? 0 : 1;
        }
        stoa_err err = stoa_link_open(address, &options, &w->ends[i].link);
        if (err) { fail_msg("%s", stoa_err_trail()); }
        (void)snprintf(address, sizeof address, "%s", w->ends[0].link->ops->address(w->ends[0].link));
    }
    w->memory = calloc(1, WINDOW_BYTES);
    w->copy = calloc(1, WINDOW_BYTES);
    assert_true(w->memory && w->copy);
    stoa_link *server = w->ends[0].link;
    assert_int_equal(server->ops->expose(server, w->memory, WINDOW_BYTES, &w->window), STOA_OK);
    wait_for(w, &w->ends[0].ups, 1);
    wait_for(w, &w->ends[1].ups, 1);
    *state = w;
    return 0;
}

static int world_close(void **state)
{
    world *w = *state;
    w->ends[1].link->ops->close(w->ends[1].link, 0);
    w->ends[0].link->ops->close(w->ends[0].link, 0);
    free(w->memory);
    free(w->copy);
    free(w);
    return 0;
}

static void put_patiently(world *w, uint64_t offset, uint32_t size_bytes)
{
    stoa_link *client = w->ends[1].link;
    stoa_err err = STOA_OK;
    while ((err = client->ops->put(client, 0, &w->window, offset, w->copy + offset, size_bytes)) == STOA_E_FULL) {
        run(w);
    }
    assert_int_equal(err, STOA_OK);
}

static void flush_and_wait(world *w, uint64_t token)
{
    stoa_link *client = w->ends[1].link;
    stoa_err err = STOA_OK;
    while ((err = client->ops->flush(client, 0, token)) == STOA_E_FULL) {
        run(w);
    }
    assert_int_equal(err, STOA_OK);
}

static void what_is_flushed_is_there(void **state)
{
    world *w = *state;
    end *client = &w->ends[1];
    uint64_t token = 0;
    for (unsigned i = 0; i < PIECES; i++) {
        uint32_t size_bytes =
            1 + (uint32_t)stoa_random_below(&chance, stoa_random_chance(&chance, 100) ? PIECE_MAX : 500);
        uint64_t offset = stoa_random_below(&chance, WINDOW_BYTES - size_bytes);
        for (uint32_t k = 0; k < size_bytes; k++) {
            w->copy[offset + k] = (uint8_t)stoa_random_next(&chance);
        }
        put_patiently(w, offset, size_bytes);
        if (stoa_random_chance(&chance, 200)) { (void)client->link->ops->send(client->link, 0, "between", 7); }
        flush_and_wait(w, ++token); /* pieces may overlap, so each is flushed before the next */
        if (stoa_random_chance(&chance, 100)) { run(w); }
        wait_for(w, &client->flushes, (uint32_t)token);
        if (i % 50 == 0) { assert_memory_equal(w->memory, w->copy, WINDOW_BYTES); }
    }
    assert_memory_equal(w->memory, w->copy, WINDOW_BYTES);
    stoa_link_traits traits;
    stoa_link_describe(client->link, &traits);
    assert_true(traits.one_sided);
    assert_int_equal(traits.writes_memory, w->as->writes);
    assert_int_equal(w->ends[0].downs + client->downs, 0);
}

static void many_puts_need_one_flush(void **state)
{
    world *w = *state;
    end *client = &w->ends[1];
    for (uint32_t round = 1; round <= 3; round++) {
        for (uint64_t offset = 0; offset < WINDOW_BYTES; offset += 16384) {
            memset(w->copy + offset, (int)(offset / 16384 + round), 16384);
            put_patiently(w, offset, 16384);
        }
        flush_and_wait(w, round);
        wait_for(w, &client->flushes, round);
        assert_memory_equal(w->memory, w->copy, WINDOW_BYTES);
    }
}

static void what_is_not_in_the_window_is_refused(void **state)
{
    world *w = *state;
    stoa_link *client = w->ends[1].link, *server = w->ends[0].link;
    assert_int_equal(client->ops->put(client, 0, &w->window, WINDOW_BYTES, w->copy, 1), STOA_E_INVALID);
    assert_int_equal(client->ops->put(client, 0, &w->window, WINDOW_BYTES - 10, w->copy, 11), STOA_E_INVALID);
    assert_int_equal(client->ops->put(client, 0, &w->window, UINT64_MAX, w->copy, 2), STOA_E_INVALID);
    assert_int_equal(client->ops->put(client, 0, &w->window, 0, w->copy, FRAME_LIMIT + 1), STOA_E_TOO_LARGE);
    stoa_link_window none;
    assert_int_equal(server->ops->expose(server, NULL, 10, &none), STOA_E_INVALID);

    stoa_link_window forged = w->window; /* as somebody who does not keep to the rules has it */
    forged.key_bytes = 0;
    forged.size_bytes = UINT64_MAX;
    assert_int_equal(client->ops->put(client, 0, &forged, WINDOW_BYTES - 1, w->copy, 2), STOA_OK);
    wait_for(w, &w->ends[0].downs, 1);
    wait_for(w, &w->ends[1].downs, 1);
    assert_true(w->ends[0].refusals >= 1);
    wait_for(w, &w->ends[1].ups, 2);
    server->ops->conceal(server, &w->window);
    forged = w->window;
    forged.key_bytes = 0;
    assert_int_equal(client->ops->put(client, 0, &forged, 0, w->copy, 2), STOA_OK);
    wait_for(w, &w->ends[0].downs, 2);
    for (uint32_t i = 0; i < WINDOW_BYTES; i++) {
        assert_int_equal(w->memory[i], 0);
    }
}

/* --- over faults */

enum { SLOT_BYTES = 1024, SLOTS = WINDOW_BYTES / SLOT_BYTES, ROUGH_ROUNDS = 6, SETTLE_MS = 2000 };

static bool poll_until_flushed(world *w, uint64_t token)
{
    end *client = &w->ends[1];
    for (int i = 0; client->token < token && i < SETTLE_MS / 10; i++) {
        run(w);
        struct pollfd fds[2] = {{.fd = w->ends[0].link->ops->fd(w->ends[0].link), .events = POLLIN},
                                {.fd = client->link->ops->fd(client->link), .events = POLLIN}};
        if (client->token < token) { (void)poll(fds, 2, 10); }
    }
    return client->token >= token;
}

/* Each slot is put once a round. Behind a flush that is told a slot has this round's bytes, or, where the put was lost, all of
 * those that it had before; and some were lost, not all. */
static uint32_t rough_rounds(world *w)
{
    end *client = &w->ends[1];
    static uint8_t has[SLOTS];
    uint32_t lost = 0, told = 0;
    uint64_t token = 0;
    memset(has, 0, sizeof has);
    client->may_lose = true;
    for (uint8_t round = 1; round <= ROUGH_ROUNDS; round++) {
        for (uint64_t slot = 0; slot < SLOTS; slot++) {
            memset(w->copy + slot * SLOT_BYTES, round, SLOT_BYTES);
            put_patiently(w, slot * SLOT_BYTES, SLOT_BYTES);
        }
        do { /* a flush may be lost, the next one stands for it */
            flush_and_wait(w, ++token);
        } while (!poll_until_flushed(w, token));
        told++;
        for (uint64_t slot = 0; slot < SLOTS; slot++) {
            uint8_t first = w->memory[slot * SLOT_BYTES];
            assert_true(first == round || first == has[slot]);
            for (uint32_t i = 0; i < SLOT_BYTES; i++) {
                assert_int_equal(w->memory[slot * SLOT_BYTES + i], first);
            }
            lost += first != round;
            has[slot] = first;
        }
    }
    assert_int_equal(told, ROUGH_ROUNDS);
    assert_int_equal(w->ends[0].downs + client->downs, 0);
    return lost;
}

static void what_is_lost_is_lost_whole(void **state)
{
    uint32_t lost = rough_rounds(*state);
    assert_true(lost > 0 && lost < SLOTS);
    print_message("%u of %u puts were lost\n", lost, SLOTS * ROUGH_ROUNDS);
}

static void what_is_late_is_there_when_its_flush_is_told(void **state)
{
    world *w = *state;
    stoa_faults late = {.duplicate = 100, .reorder = 300, .delay_ns = STOA_MS(2), .jitter_ns = STOA_MS(5)};
    assert_int_equal(stoa_fault_set(w->ends[1].link, &late), STOA_OK);
    assert_int_equal(rough_rounds(w), 0);
}

/* What is held for a connection that is gone is not put over the next one, and its bytes are the caller's again. */
static void what_is_held_goes_with_its_connection(void **state)
{
    world *w = *state;
    stoa_link *client = w->ends[1].link;
    stoa_faults slow = {.delay_ns = STOA_MS(300)};
    assert_int_equal(stoa_fault_set(client, &slow), STOA_OK);
    uint8_t *bytes = malloc(SLOT_BYTES);
    assert_non_null(bytes);
    memset(bytes, 1, SLOT_BYTES);
    assert_int_equal(client->ops->put(client, 0, &w->window, 0, bytes, SLOT_BYTES), STOA_OK);
    char address[256];
    (void)snprintf(address, sizeof address, "%s", w->ends[0].link->ops->address(w->ends[0].link));
    w->ends[0].link->ops->close(w->ends[0].link, 0);
    stoa_link_options options = {.listen = true, .frame_limit = FRAME_LIMIT, .queue_frames = 64};
    assert_int_equal(stoa_link_open(address, &options, &w->ends[0].link), STOA_OK);
    wait_for(w, &w->ends[1].downs, 1);
    free(bytes);
    wait_for(w, &w->ends[1].ups, 2);
    stoa_link *server = w->ends[0].link;
    assert_int_equal(server->ops->expose(server, w->memory, WINDOW_BYTES, &w->window), STOA_OK);
    slow.delay_ns = 0;
    assert_int_equal(stoa_fault_set(client, &slow), STOA_OK);
    memset(w->copy, 2, SLOT_BYTES);
    put_patiently(w, SLOT_BYTES, SLOT_BYTES);
    w->ends[1].token = 6;
    flush_and_wait(w, 7);
    wait_for(w, &w->ends[1].flushes, 1);
    assert_int_equal(w->memory[0], 0);
    assert_int_equal(w->ends[0].downs, 0);
}

/* --- who cannot */

static void who_cannot_put_says_so(void **state)
{
    static const char *const addresses[] = {"shm://stoa-no-put-%d", "zmq+tcp://127.0.0.1:0#%d", "sim://no-put-%d",
                                            "fault+shm://stoa-no-fault-put-%d", "fault+sim://no-fault-put-%d"};
    (void)state;
    for (unsigned i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        char address[128];
        (void)snprintf(address, sizeof address, "%.*s%d", (int)strcspn(addresses[i], "#%"), addresses[i], (int)getpid());
        if (strchr(addresses[i], '#')) { address[strlen("zmq+tcp://127.0.0.1:0")] = '\0'; }
        stoa_link_options options = {.listen = true, .frame_limit = FRAME_LIMIT, .queue_frames = 4};
        stoa_link *link = NULL;
        assert_int_equal(stoa_link_open(address, &options, &link), STOA_OK);
        stoa_link_traits traits;
        stoa_link_describe(link, &traits);
        assert_false(traits.one_sided || traits.writes_memory);
        assert_true(!link->ops->put && !link->ops->flush && !link->ops->expose && !link->ops->conceal);
        link->ops->close(link, 0);
    }
}

/* --- running */

typedef struct named {
    const char *name;
    CMUnitTestFunction run;
} named;
#define NAMED(of) {#of, of}

static struct CMUnitTest cases[64];
static uint32_t case_count;

static void cases_add(const variant *over, size_t over_count, const named *tests, size_t test_count)
{
    static char titles[64][128];
    for (size_t v = 0; v < over_count; v++) {
        for (size_t t = 0; t < test_count; t++) {
            (void)snprintf(titles[case_count], sizeof titles[0], "%s: %s", over[v].name, tests[t].name);
            cases[case_count] = (struct CMUnitTest){.name = titles[case_count],
                                                    .test_func = tests[t].run,
                                                    .setup_func = world_open,
                                                    .teardown_func = world_close,
                                                    .initial_state = (void *)(uintptr_t)&over[v]};
            case_count++;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc == 2) { cmocka_set_test_filter(argv[1]); }
    const char *given = getenv("STOA_TEST_SEED");
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    (void)printf("STOA_TEST_SEED=%llu\n", (unsigned long long)seed);
    stoa_random_seed(&chance, seed);
    static const named on_all[] = {NAMED(what_is_flushed_is_there), NAMED(many_puts_need_one_flush),
                                   NAMED(what_is_not_in_the_window_is_refused)};
    static const named on_rough[] = {NAMED(what_is_lost_is_lost_whole), NAMED(what_is_late_is_there_when_its_flush_is_told)};
    static const named on_faults[] = {NAMED(what_is_held_goes_with_its_connection)};
    cases_add(variants, sizeof variants / sizeof variants[0], on_all, 3);
    cases_add(rough, sizeof rough / sizeof rough[0], on_rough, 2);
    cases_add(&variants[5], 2, on_faults, 1);
    cases[case_count++] = (struct CMUnitTest)cmocka_unit_test(who_cannot_put_says_so);
    return _cmocka_run_group_tests("transport/link.h, one-sided", cases, case_count, NULL, NULL);
}
