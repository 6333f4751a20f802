/* isolate.c - bench_isolate: an ask through a child process, beside the same ask of the same kind in the node.
 *
 *     isolate.ask_1        there and back, one under way
 *     isolate.ask_64       per ask, 64 under way
 *     isolate.spawn        until who spawns it outside the node has its reference: to the core and back, the order for the child given
 *     isolate.life         from a spawn to the first answer, and its end
 *
 *     bench_isolate [--quick]      quick: every row once, for a moment: for tests, no figure
 *
 * The kind is bench/isolate/asked.c, as a library and in this program. One core asks, on whose CPU the asked one in the
 * node runs, too; the child has another CPU, where there is one. Both sides spin while asks are under way. "in the node" is the peer of
 * the first two rows: what the process boundary costs is the ratio.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "bench/common/arguments.h"
#include "bench/common/figure.h"
#include "bench/isolate/asked.h"
#include "runtime/stoa.h"

STOA_PROXY(asked)

enum { RUNS = 11, ASKS = 20000, ASKS_QUICK = 200, STARTS = 20, STARTS_QUICK = 2 };

/* --- who asks */
#define asker_run_FIELDS(F, S) F(S, uint64_t, ref) F(S, uint64_t, asks) F(S, uint64_t, window)
#define asker_ran_FIELDS(F, S) F(S, uint64_t, sum)
#define asker_ROWS(ROW, K)                                                 \
    ROW(K, COMMAND, run, ran, "Ask so often, so many under way.")          \
    ROW(K, REPLY, ran, _, "All were answered.")
STOA_TABLE_HERE(asker)
typedef struct asker {
    stoa_ref to;
    stoa_asker who;
    uint64_t left, under_way, sum;
} asker;
#define asker_HEARS(HEAR, K) HEAR(K, asked, total)
STOA_PLAIN_KIND(asker, .mailbox_limit = 1024)

static stoa_err ask_next(stoa_turn *turn, asker *self)
{
    stoa_err err = asked_ask_add(turn, self->to, (asked_add){1}, STOA_S(60), 1);
    if (err) { return err; }
    self->left--;
    self->under_way++;
    return STOA_OK;
}

static stoa_err asker_on_run(stoa_turn *turn, asker *self, const asker_run *in, asker_ran *out)
{
    stoa_err err = STOA_OK;
    (void)out;
    *self = (asker){.to = {in->ref}, .left = in->asks};
    stoa_turn_keep(turn, &self->who);
    for (uint64_t i = 0; i < in->window && self->left && !err; i++) { err = ask_next(turn, self); }
    return err;
}

static stoa_err asker_on_asked_total(stoa_turn *turn, asker *self, const asked_total *in)
{
    if (turn->error) { bench_must(turn->error, "an ask"); }
    self->under_way--;
    self->sum = in->total;
    if (self->left) { return ask_next(turn, self); }
    asker_ran ran = {self->sum};
    return self->under_way ? STOA_OK : stoa_turn_answer_kept(turn, &self->who, &asker_rows[asker_ROW_ran], &ran, STOA_OK);
}

/* --- who is asked: the kind in the node, and the same with its handlers in a child */

static const stoa_handler passes[asked_ROW_END_ + 1] = {[asked_ROW_add] = stoa_isolate_pass};
static const stoa_hear hears[] = {STOA_ISOLATE_HEARS_{NULL, NULL}};
static stoa_kind isolated;
static stoa_isolate isolate;
static char library[512];

static void find_library(void)
{
    ssize_t length = readlink("/proc/self/exe", library, sizeof library - 32);
    if (length <= 0) { bench_fail("where is this program?"); }
    library[length] = '\0';
    *strrchr(library, '/') = '\0';
    (void)strcpy(strrchr(library, '/'), "/plugins/bench_asked.so");
    isolate = (stoa_isolate){.library = library, .turn_ns = STOA_S(60)};
    isolated = asked_kind;
    isolated.handlers = passes;
    isolated.hears = hears;
    isolated.state_bytes = STOA_ISOLATE_STATE_BYTES;
    isolated.start = stoa_isolate_start;
    isolated.args_bytes = sizeof(stoa_isolate);
    isolated.stop = stoa_isolate_stop;
}

typedef struct stage {
    stoa_node *node;
    stoa_ref asker, inside, outside;
} stage;

static void open_stage(stage *s)
{
    asked_total total;
    bench_must(stoa_node_open(&(stoa_options){.cores = 1, .idle = STOA_IDLE_LATENCY}, &s->node), "node");
    bench_must(stoa_spawn(s->node, &asker_kind, "asker/a", NULL, &s->asker), "asker");
    bench_must(stoa_spawn(s->node, &asked_kind, "asked/inside", NULL, &s->inside), "inside");
    bench_must(stoa_spawn(s->node, &isolated, "asked/outside", &(stoa_spawn_options){.args = &isolate}, &s->outside), "outside");
    bench_must(asked_call_add(s->node, s->outside, (asked_add){0}, STOA_S(60), &total), "its first answer");
}

static double asks_us(stage *s, stoa_ref to, uint64_t asks, uint64_t window)
{
    asker_ran ran;
    uint64_t from_ns = bench_now_ns();
    bench_must(asker_call_run(s->node, s->asker, (asker_run){to.at, asks, window}, STOA_S(120), &ran), "asks");
    return (double)(bench_now_ns() - from_ns) / 1000.0 / (double)asks;
}

static void measure_asks(stage *s, const char *name, uint64_t asks, uint64_t window, uint32_t runs)
{
    bench_figure figure = {.name = name, .unit = "us", .peer = "in the node", .less = true};
    for (uint32_t i = 0; i < runs; i++) {
        bench_add(&figure.ours, asks_us(s, s->outside, asks, window));
        bench_add(&figure.theirs, asks_us(s, s->inside, asks, window));
    }
    bench_print(&figure);
}

static void measure_lives(stage *s, uint32_t starts)
{
    bench_figure core = {.name = "isolate.spawn", .unit = "us", .less = true}, life = {.name = "isolate.life", .unit = "us", .less = true};
    for (uint32_t i = 0; i < starts; i++) {
        stoa_ref ref;
        asked_total total;
        uint64_t from_ns = bench_now_ns();
        bench_must(stoa_spawn(s->node, &isolated, "asked/short", &(stoa_spawn_options){.args = &isolate}, &ref), "a start");
        bench_add(&core.ours, (double)(bench_now_ns() - from_ns) / 1000.0);
        bench_must(asked_call_add(s->node, ref, (asked_add){1}, STOA_S(60), &total), "its first answer");
        bench_must(stoa_stop(s->node, ref), "its end");
        bench_add(&life.ours, (double)(bench_now_ns() - from_ns) / 1000.0);
    }
    bench_print(&core);
    bench_print(&life);
}

int main(int argc, char **argv)
{
    bench_arguments arguments = bench_arguments_of(argc, argv);
    stage s;
    uint64_t asks = arguments.quick ? ASKS_QUICK : ASKS;
    uint32_t runs = arguments.quick ? 1 : RUNS;
    stoa_log_level_set(STOA_LOG_ERROR);
    find_library();
    open_stage(&s);
    measure_asks(&s, "isolate.ask_1", asks, 1, runs);
    measure_asks(&s, "isolate.ask_64", asks, 64, runs);
    measure_lives(&s, arguments.quick ? STARTS_QUICK : STARTS);
    stoa_node_close(s.node, STOA_S(5));
    return 0;
}
