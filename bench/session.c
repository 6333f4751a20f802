/* session.c - bench_session: what a session costs above its link (transport/session.h), per message.
 *
 *     session.64 .1024          both sides of it: queue, envelope, check, tell, acknowledge; over a ring in this process
 *     session.checked.64 ..     the same with checksums, as on a network
 *     session.bare.64 ..        the ring alone, one frame a message
 *
 * One thread, so that nothing waits for another core; messages go in rounds of 256, time is given by hand once a round, as a core
 * does; times are of the processor. What came is counted and summed.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/common/figure.h"
#include "transport/session.h"

enum { RUNS = 9, ROUND = 256, ROUNDS = 4000, RING_BYTES = 1 << 20, SIZE_MAX_BYTES = 1024 };

static uint64_t processor_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* --- a link whose frames lie in a ring of this process */

typedef struct ring_link {
    stoa_link link;
    uint64_t head, tail;
    uint8_t ring[RING_BYTES + 65536];
} ring_link;

static stoa_err ring_send(stoa_link *link, stoa_peer peer, const void *bytes, uint32_t size_bytes)
{
    ring_link *r = (ring_link *)(void *)link;
    (void)peer;
    uint32_t room = 8 + ((size_bytes + 7) & ~7U);
    if (r->tail + room > r->head + RING_BYTES) { return STOA_E_FULL; }
    uint8_t *at = r->ring + r->tail % RING_BYTES;
    memcpy(at, &size_bytes, sizeof size_bytes);
    memcpy(at + 8, bytes, size_bytes);
    r->tail += room;
    return STOA_OK;
}

static const void *ring_next(ring_link *r, uint32_t *size_out)
{
    if (r->head == r->tail) { return NULL; }
    const uint8_t *at = r->ring + r->head % RING_BYTES;
    memcpy(size_out, at, sizeof *size_out);
    r->head += 8 + ((*size_out + 7) & ~7U);
    return at + 8;
}

static const stoa_link_ops ring_ops = {.scheme = "ring", .send = ring_send};
static ring_link to_a = {.link.ops = &ring_ops}, to_b = {.link.ops = &ring_ops};

/* --- two sessions */

static uint64_t told, sum;

static void on_message(void *context, stoa_session *session, const stoa_session_message *m)
{
    uint64_t number;
    (void)context, (void)session;
    memcpy(&number, m->bytes, sizeof number);
    told++;
    sum += number;
}
static void on_up(void *context, stoa_session *session, bool resumed)
{
    (void)context, (void)session, (void)resumed;
}
static void on_down(void *context, stoa_session *session, stoa_err why)
{
    (void)context, (void)session, (void)why;
    bench_fail("a session went down");
}
static void on_reset(void *context, stoa_session *session, const stoa_session_reset *reset)
{
    (void)context, (void)session, (void)reset;
}
static void on_refused(void *context, stoa_session *session, stoa_err why, bool here)
{
    (void)context, (void)session, (void)why, (void)here;
    bench_fail("a session was refused");
}
static void on_expired(void *context, stoa_session *session, const stoa_session_message *message, bool here)
{
    (void)context, (void)session, (void)message, (void)here;
}
static void on_room(void *context, stoa_session *session, stoa_lane lane)
{
    (void)context, (void)session, (void)lane;
}

static uint64_t now_ns = STOA_S(1);

static void take_all(stoa_session *session, ring_link *from)
{
    uint32_t size_bytes;
    for (const void *bytes; (bytes = ring_next(from, &size_bytes));) {
        bench_must(stoa_session_take(session, "", bytes, size_bytes, now_ns), "take");
    }
}

static stoa_session *session_of(const char *name, bool trusts)
{
    static const stoa_session_events events = {.message = on_message,
                                               .up = on_up,
                                               .down = on_down,
                                               .reset = on_reset,
                                               .refused = on_refused,
                                               .expired = on_expired,
                                               .room = on_room};
    stoa_session *session = NULL;
    stoa_session_options options = {.name = name, .incarnation = 1, .trusts_link = trusts, .events = &events};
    bench_must(stoa_session_new(&options, &session), "new");
    return session;
}

typedef struct pair {
    stoa_session *a, *b;
} pair;

/* What both owners do once a turn. */
static void turn(const pair *p)
{
    now_ns += 10000;
    (void)stoa_session_step(p->a, now_ns);
    take_all(p->b, &to_b);
    (void)stoa_session_step(p->b, now_ns);
    take_all(p->a, &to_a);
}

static double through_sessions(const pair *p, uint32_t size_bytes)
{
    uint8_t message[SIZE_MAX_BYTES] = {0};
    uint64_t seq, number = 0, before = told, expected = sum, began_ns = processor_ns();
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < ROUND; i++, number++) {
            memcpy(message, &number, sizeof number);
            expected += number;
            stoa_err err;
            while ((err = stoa_session_send(p->a, STOA_LANE_NORMAL, 1, 2, 3, 0, message, size_bytes, now_ns, &seq)) == STOA_E_FULL) {
                turn(p); /* the first rounds, before it is known what the path carries */
            }
            bench_must(err, "send");
        }
        turn(p);
    }
    while (told - before < number) {
        turn(p);
    }
    if (sum != expected) { bench_fail("what came is not what was sent"); }
    return (double)(processor_ns() - began_ns) / (double)number;
}

static double through_ring(uint32_t size_bytes)
{
    uint8_t message[SIZE_MAX_BYTES] = {0};
    uint64_t number = 0, got = 0, total = 0, began_ns = processor_ns();
    uint32_t came_bytes;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < ROUND; i++, number++) {
            memcpy(message, &number, sizeof number);
            bench_must(ring_send(&to_b.link, 0, message, size_bytes), "send");
        }
        for (const void *bytes; (bytes = ring_next(&to_b, &came_bytes)); got++) {
            uint64_t is;
            memcpy(&is, bytes, sizeof is);
            total += is;
        }
    }
    if (got != number || total != number * (number - 1) / 2) { bench_fail("what came is not what was sent"); }
    return (double)(processor_ns() - began_ns) / (double)number;
}

/* Both sides of a session, up. */
static void begin(pair *p, bool trusts)
{
    p->a = session_of("a", trusts);
    p->b = session_of("b", trusts);
    stoa_session_up(p->a, &to_b.link, 1, now_ns);
    stoa_session_up(p->b, &to_a.link, 1, now_ns);
    for (int i = 0; i < 4; i++) {
        turn(p);
    }
}

static void end(pair *p)
{
    stoa_session_view view;
    stoa_session_look(p->a, &view);
    if (view.counts.resent || view.state != STOA_SESSION_UP) { bench_fail("batches were sent again"); }
    stoa_session_free(p->a);
    stoa_session_free(p->b);
}

static void figures(uint32_t size_bytes, double goal)
{
    char names[3][32];
    (void)snprintf(names[0], sizeof names[0], "session.%u", size_bytes);
    (void)snprintf(names[1], sizeof names[1], "session.checked.%u", size_bytes);
    (void)snprintf(names[2], sizeof names[2], "session.bare.%u", size_bytes);
    bench_figure trusts = {.name = names[0], .unit = "ns", .less = true, .goal = goal};
    bench_figure checked = {.name = names[1], .unit = "ns", .less = true},
                 bare = {.name = names[2], .unit = "ns", .less = true};
    for (int i = 0; i <= RUNS; i++) {
        pair p;
        begin(&p, true);
        double ns[3];
        ns[0] = through_sessions(&p, size_bytes);
        end(&p);
        begin(&p, false);
        ns[1] = through_sessions(&p, size_bytes);
        end(&p);
        ns[2] = through_ring(size_bytes);
        if (i == 0) { continue; } /* warm now */
        bench_add(&trusts.ours, ns[0]);
        bench_add(&checked.ours, ns[1]);
        bench_add(&bare.ours, ns[2]);
    }
    bench_print(&trusts);
    bench_print(&checked);
    bench_print(&bare);
}

int main(void)
{
    figures(64, 50);
    figures(SIZE_MAX_BYTES, 0);
    return 0;
}
