/* fan.c - one for many: runtime.fanout (one publication to a thousand) and runtime.choose (a member of a group by key).
 *
 * fanout: a speaker publishes so many items on a topic that a thousand listeners hear; each adds up what it reads and tells the
 * speaker its sum behind the last one. The last listener of each core tells the speaker of every GRANT items that it has read,
 * and the speaker is never more than WINDOW ahead of the slowest core: no mailbox fills. The figure counts what was heard. On two
 * cores every other listener is on the second one.
 *
 * choose: an actor chooses among ten members of a group, by a new key each time, and sends nothing.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "bench/runtime/rig.h"

enum { LISTENERS = 1000, MEMBERS = 10, WINDOW = 8, GRANT = 4, CHOICES = 256 };

// clang-format off
#define listener_read_FIELDS(F, S) F(S, uint64_t, sum)
#define speaker_start_FIELDS(F, S) F(S, uint64_t, items)
#define speaker_credit_FIELDS(F, S) F(S, uint64_t, core)
#define speaker_sum_FIELDS(F, S) F(S, uint64_t, sum)
#define speaker_choose_FIELDS(F, S) F(S, uint64_t, left) F(S, uint64_t, sum)
#define speaker_item_FIELDS(F, S) F(S, uint64_t, value) F(S, uint64_t, last)
#define listener_ROWS(ROW, K) ROW(K, CAST, read, _, "Nothing.")
#define speaker_ROWS(ROW, K)                                                    \
    ROW(K, CAST, start, _, "Publish so many items.")                            \
    ROW(K, CAST, credit, _, "A core has read GRANT more.")                      \
    ROW(K, CAST, sum, _, "A listener has heard the last one.")                  \
    ROW(K, CAST, choose, _, "Choose a member for so many keys.")                \
    ROW(K, TOPIC, item, _, "One to add.")
// clang-format on
STOA_TABLE(listener)
STOA_TABLE_DEFINE(listener)
STOA_TABLE(speaker)
STOA_TABLE_DEFINE(speaker)

typedef struct listener {
    uint64_t sum, heard, core;
    bool grants;
} listener;
typedef struct listener_args {
    uint64_t core;
    bool grants, joins;
} listener_args;
typedef struct speaker {
    uint64_t left, room[BENCH_CORES_MAX], cores, sum, sums;
} speaker;
typedef struct speaker_args {
    uint64_t cores;
} speaker_args;

static stoa_err listener_begin(stoa_turn *turn, void *state, const void *args)
{
    const listener_args *given = args;
    listener *self = state;
    self->core = given->core;
    self->grants = given->grants;
    return given->joins ? stoa_turn_join(turn, "bench.crew") : stoa_turn_subscribe(turn, "bench.items");
}
#define listener_HEARS(HEAR, K) HEAR(K, speaker, item)
STOA_PLAIN_KIND(listener, .start = listener_begin, .args_bytes = sizeof(listener_args))

static stoa_err speaker_begin(stoa_turn *turn, void *state, const void *args)
{
    speaker *self = state;
    const speaker_args *given = args;
    self->cores = given->cores;
    stoa_err err = stoa_turn_bind(turn, 0, "bench.items");
    return err ? err : stoa_turn_bind(turn, 1, "bench.crew");
}
#define speaker_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(speaker, .start = speaker_begin, .args_bytes = sizeof(speaker_args), .mailbox_limit = 4096)

/* --- fanout */

static stoa_err listener_on_read(stoa_turn *turn, listener *self, const listener_read *in)
{
    (void)turn;
    (void)self;
    (void)in;
    return STOA_OK;
}

static stoa_err listener_on_speaker_item(stoa_turn *turn, listener *self, const speaker_item *in)
{
    stoa_err err = STOA_OK;
    self->sum += in->value;
    if (self->grants && ++self->heard % GRANT == 0) {
        err = speaker_send_credit(turn, turn->from, (speaker_credit){self->core});
    }
    if (!in->last || err) { return err; }
    speaker_sum sum = {self->sum};
    self->sum = self->heard = 0;
    return speaker_send_sum(turn, turn->from, sum);
}

static stoa_err publish_some(stoa_turn *turn, speaker *self)
{
    stoa_err err = STOA_OK;
    while (self->left && self->room[0] && self->room[self->cores - 1] && !err) {
        speaker_item item = {self->left, self->left == 1};
        err = speaker_publish_item(turn, 0, &item);
        self->left--;
        for (uint64_t i = 0; i < self->cores; i++) { self->room[i]--; }
    }
    return err;
}

static stoa_err speaker_on_start(stoa_turn *turn, speaker *self, const speaker_start *in)
{
    self->left = in->items;
    self->sum = self->sums = 0;
    for (uint64_t i = 0; i < self->cores; i++) { self->room[i] = WINDOW; }
    return publish_some(turn, self);
}

static stoa_err speaker_on_credit(stoa_turn *turn, speaker *self, const speaker_credit *in)
{
    self->room[in->core] += GRANT;
    return publish_some(turn, self);
}

static stoa_err speaker_on_sum(stoa_turn *turn, speaker *self, const speaker_sum *in)
{
    (void)turn;
    self->sum += in->sum;
    if (++self->sums == LISTENERS) { bench_ended(self->sum); }
    return STOA_OK;
}

typedef struct setting {
    stoa_node *node;
    stoa_ref speaker;
} setting;

static double fan_out_once(const bench_task *task, void *context)
{
    setting *s = context;
    bench_begin();
    bench_must(speaker_post_start(s->node, s->speaker, (speaker_start){task->steps}), "start");
    uint64_t ns = bench_wait(task, LISTENERS * (task->steps * (task->steps + 1) / 2));
    return bench_mega(task->steps * LISTENERS, ns);
}

/* The last listener of a core is its last in the list, too: what it has read, all have. */
static setting open_setting(const bench_task *task, uint32_t listeners, bool joins)
{
    setting s = {.node = bench_open(task->cores, STOA_IDLE_LATENCY)};
    for (uint32_t i = 0; i < listeners; i++) {
        listener_args args = {.core = i % task->cores, .grants = i + task->cores >= listeners, .joins = joins};
        (void)bench_spawn(s.node, &listener_kind, i % task->cores, &args);
    }
    s.speaker = bench_spawn(s.node, &speaker_kind, 0, &(speaker_args){task->cores});
    return s;
}

void bench_fan_out(const bench_task *task, bench_samples *out)
{
    setting s = open_setting(task, LISTENERS, false);
    bench_repeat(task, fan_out_once, &s, out);
    bench_close(s.node);
}

/* --- choose */

static stoa_err speaker_on_choose(stoa_turn *turn, speaker *self, const speaker_choose *in)
{
    uint64_t count = in->left < CHOICES ? in->left : CHOICES, sum = in->sum;
    (void)self;
    for (uint64_t i = 0; i < count; i++) { sum += stoa_turn_member(turn, 1, in->left + i).at != 0; }
    if (count < in->left) { return speaker_send_choose(turn, turn->self, (speaker_choose){in->left - count, sum}); }
    bench_ended(sum);
    return STOA_OK;
}

static double choose_once(const bench_task *task, void *context)
{
    setting *s = context;
    bench_begin();
    bench_must(speaker_post_choose(s->node, s->speaker, (speaker_choose){task->steps, 0}), "choose");
    return (double)bench_wait(task, task->steps) / (double)task->steps;
}

void bench_choose(const bench_task *task, bench_samples *out)
{
    setting s = open_setting(task, MEMBERS, true);
    bench_repeat(task, choose_once, &s, out);
    bench_close(s.node);
}
