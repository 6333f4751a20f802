/* supervise_test.c - goal: with real cores, actors that fail at random under load lose no acknowledged ask and leave the tree
 * whole; every monitor across cores hears exactly once; a crash loop ends the process with a reason; a node closes in order and
 * in time. Method: supervisors, workers that fail, watchers and clients on three cores, callers outside; meant for TSan.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "runtime/internal.h"
#include "runtime/stoa.h"
#include "storage/rocksdb/journal.h"

enum { CORES = 3, WORKERS = 8, CALLERS = 2 };

/* --- ledger: event-sourced, fails now and then */

#define ledger_add_FIELDS(F, S)   F(S, uint64_t, amount)
#define ledger_read_FIELDS        STOA_NO_FIELDS
#define ledger_total_FIELDS(F, S) F(S, uint64_t, total)
#define ledger_added_FIELDS(F, S) F(S, uint64_t, amount)
#define ledger_ROWS(ROW, K)                                                                                            \
    ROW(K, CAST, add, _, "Add for a worker, or fail.")                                                                 \
    ROW(K, COMMAND, read, total, "The total.")                                                                         \
    ROW(K, REPLY, total, _, "The total.")                                                                              \
    ROW(K, EVENT, added, _, "Added.")
STOA_TABLE(ledger)
STOA_TABLE_DEFINE(ledger)
typedef struct ledger {
    uint64_t total;
} ledger;
#define ledger_HEARS STOA_HEARS_NOTHING
STOA_KIND(ledger, .mailbox_limit = 1024)
static stoa_err ledger_on_read(stoa_turn *turn, const ledger *self, const ledger_read *in, ledger_total *out)
{
    (void)turn;
    (void)in;
    out->total = self->total;
    return STOA_OK;
}
static void ledger_apply_added(ledger *self, const ledger_added *event)
{
    self->total += event->amount;
}

/* --- worker: hands additions on to the ledger, unless it fails, exits or takes too much */

#define worker_add_FIELDS(F, S) F(S, uint64_t, amount)
#define worker_end_FIELDS       STOA_NO_FIELDS
#define worker_total_FIELDS(F, S) F(S, uint64_t, total)
#define worker_ROWS(ROW, K)                                                                                            \
    ROW(K, COMMAND, add, total, "Have the ledger add.")                                                                \
    ROW(K, CAST, end, _, "Exit or fail.")                                                                              \
    ROW(K, REPLY, total, _, "The total.")
STOA_TABLE(worker)
STOA_TABLE_DEFINE(worker)
typedef struct worker {
    uint64_t handled;
} worker;
#define worker_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(worker, .memory_quota_bytes = 64 << 10)
/* The answer is the worker's, to who asked that one. */
static stoa_err ledger_on_add(stoa_turn *turn, const ledger *self, const ledger_add *in)
{
    stoa_err err = ledger_emit_added(turn, (ledger_added){in->amount});
    if (!err && stoa_turn_random(turn) % 4096 == 0) { return stoa_fail(turn, "bad luck"); }
    return err ? err : worker_answer_total(turn, (worker_total){self->total + in->amount});
}

static stoa_err worker_on_add(stoa_turn *turn, worker *self, const worker_add *in, worker_total *out)
{
    (void)out;
    uint64_t random = stoa_turn_random(turn);
    self->handled++;
    if (random % 32 == 0) { return stoa_fail(turn, "bad luck"); }
    if (random % 32 == 1) { /* an answer, and an end: both take effect */
        stoa_err err = stoa_turn_refuse(turn, STOA_E_CANCELLED);
        return err ? err : stoa_turn_exit(turn, "left");
    }
    if (random % 32 == 2) { return stoa_turn_alloc(turn, 10000) ? STOA_E_DENIED : STOA_E_NOMEM; }
    return ledger_forward_add(turn, stoa_turn_find(turn, "ledger/one"), (ledger_add){in->amount});
}
static stoa_err worker_on_end(stoa_turn *turn, worker *self, const worker_end *in)
{
    (void)in;
    return self->handled % 2 ? stoa_fail(turn, "ended") : stoa_turn_exit(turn, NULL);
}

/* --- boss: supervises workers, and spawns short-lived ones for watchers */

#define boss_hire_FIELDS(F, S)  F(S, uint64_t, temporary)
#define boss_hired_FIELDS(F, S) F(S, uint64_t, ref)
#define boss_ROWS(ROW, K)                                                                                              \
    ROW(K, COMMAND, hire, hired, "A worker.")                                                                          \
    ROW(K, REPLY, hired, _, "Its ref.")
STOA_TABLE(boss)
STOA_TABLE_DEFINE(boss)
typedef struct boss {
    uint64_t hired;
} boss;
#define boss_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(boss, .supervision = {.restarts = 1 << 30, .per_ms = 1})
static const stoa_kind *like_boss(stoa_strategy strategy, stoa_kind *out)
{
    *out = boss_kind;
    out->supervision.strategy = strategy;
    return out;
}
static stoa_err boss_on_hire(stoa_turn *turn, boss *self, const boss_hire *in, boss_hired *out)
{
    stoa_child child = {.restart = in->temporary ? STOA_TEMPORARY : STOA_PERMANENT};
    stoa_ref ref;
    stoa_err err = stoa_turn_spawn(turn, &worker_kind, &child, &ref);
    self->hired += !err;
    out->ref = err ? 0 : ref.at;
    return err;
}

/* --- watcher: has a worker hired elsewhere, watches it, ends it, and hears of it; again and again */

#define watcher_next_FIELDS       STOA_NO_FIELDS
#define watcher_rest_FIELDS       STOA_NO_FIELDS
#define watcher_seen_FIELDS(F, S) F(S, uint64_t, rounds) F(S, uint64_t, downs) F(S, uint64_t, exits) F(S, uint64_t, wrong)
#define watcher_ROWS(ROW, K)                                                                                           \
    ROW(K, CAST, next, _, "Another round.")                                                                            \
    ROW(K, COMMAND, rest, seen, "No more rounds; what was seen.")                                                      \
    ROW(K, REPLY, seen, _, "Counts.")
STOA_TABLE(watcher)
STOA_TABLE_DEFINE(watcher)
typedef struct watcher {
    watcher_seen seen;
    stoa_ref boss;
    uint64_t monitor; /* whose down is due */
    bool resting;
} watcher;
typedef struct watcher_args {
    stoa_ref boss;
} watcher_args;
#define watcher_HEARS(HEAR, K) HEAR(K, boss, hired) HEAR(K, stoa_system, down) HEAR(K, stoa_system, exit)
static stoa_err watcher_start(stoa_turn *turn, void *state, const void *args);
STOA_PLAIN_KIND(watcher, .start = watcher_start, .args_bytes = sizeof(watcher_args), .trap_exits = true)

static stoa_err watcher_start(stoa_turn *turn, void *state, const void *args)
{
    ((watcher *)state)->boss = ((const watcher_args *)args)->boss;
    return watcher_send_next(turn, turn->self, (watcher_next){{0}});
}
static stoa_err watcher_on_next(stoa_turn *turn, watcher *self, const watcher_next *in)
{
    (void)in;
    return self->resting ? STOA_OK : boss_ask_hire(turn, self->boss, (boss_hire){1}, STOA_S(20), 0);
}
static stoa_err watcher_on_boss_hired(stoa_turn *turn, watcher *self, const boss_hired *in)
{
    if (turn->error) { return watcher_after_next(turn, STOA_MS(1), (watcher_next){{0}}, NULL); }
    uint64_t random = stoa_turn_random(turn);
    stoa_ref whom = {in->ref};
    self->seen.rounds++;
    self->monitor = stoa_turn_monitor(turn, whom);
    if (random % 2) { (void)stoa_turn_link(turn, whom); }
    if (random / 2 % 4) { (void)worker_send_end(turn, whom, (worker_end){{0}}); } /* it ends itself, or ... */
    if (random / 8 % 4) { (void)stoa_turn_stop(turn, whom, NULL); }               /* it is stopped, or both */
    if (random % 2 && random / 32 % 2) { stoa_turn_unlink(turn, whom); }
    if (random / 64 % 4) { return STOA_OK; }
    stoa_turn_demonitor(turn, self->monitor); /* not to be heard of any more: on with the next */
    self->monitor = 0;
    (void)stoa_turn_stop(turn, whom, NULL);
    return watcher_send_next(turn, turn->self, (watcher_next){{0}});
}
static stoa_err watcher_on_stoa_system_down(stoa_turn *turn, watcher *self, const stoa_system_down *in)
{
    self->seen.downs++;
    self->seen.wrong += in->token != self->monitor;
    self->monitor = 0;
    return watcher_send_next(turn, turn->self, (watcher_next){{0}});
}
static stoa_err watcher_on_stoa_system_exit(stoa_turn *turn, watcher *self, const stoa_system_exit *in)
{
    (void)turn;
    self->seen.exits++;
    self->seen.wrong += in->reason >= stoa_end_COUNT;
    return STOA_OK;
}
static stoa_err watcher_on_rest(stoa_turn *turn, watcher *self, const watcher_rest *in, watcher_seen *out)
{
    (void)turn;
    (void)in;
    self->resting = true;
    *out = self->seen;
    return STOA_OK;
}

/* --- callers outside */

typedef struct caller {
    stoa_node *node;
    const stoa_ref *workers;
    uint64_t until_ns, seed, acknowledged, refused, unknown;
} caller;

static void *call(void *argument)
{
    caller *c = argument;
    for (uint64_t i = c->seed; stoa_clock_real.now_ns(&stoa_clock_real) < c->until_ns; i = i * 6364136223846793005u + 1) {
        worker_total out;
        stoa_err err = worker_call_add(c->node, c->workers[(i >> 33) % WORKERS], (worker_add){1}, STOA_S(20), &out);
        c->acknowledged += err == STOA_OK;
        c->unknown += err == STOA_E_TIMEOUT;
        c->refused += err && err != STOA_E_TIMEOUT;
    }
    return NULL;
}

/* --- the stage */

typedef struct stage {
    char folder[32];
    stoa_node *node;
    stoa_ref ledger, bosses[CORES], watchers[CORES], workers[WORKERS];
    stoa_kind kinds[CORES];
} stage;

static void open_ledger(stage *s)
{
    char path[48];
    stoa_shard *shard;
    (void)snprintf(path, sizeof path, "%s/log", s->folder);
    stoa_shard_options options = {.name = "s", .durability = stoa_durability_MEMORY, .journal = &stoa_journal_rocksdb, .path = path};
    assert_int_equal(stoa_shard_open(s->node, &options, &shard), STOA_OK);
    assert_int_equal(stoa_spawn(s->node, &ledger_kind, "ledger/one", &(stoa_spawn_options){.shard = shard}, &s->ledger), STOA_OK);
}

static void stage_open(stage *s)
{
    static const stoa_kind *const kinds[] = {&ledger_kind, NULL};
    (void)snprintf(s->folder, sizeof s->folder, "/tmp/stoa-supervise-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = CORES, .kinds = kinds}, &s->node), STOA_OK);
    open_ledger(s);
    for (uint32_t i = 0; i < CORES; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "boss/%u", i);
        const stoa_kind *kind = like_boss((stoa_strategy)i, &s->kinds[i]);
        assert_int_equal(stoa_spawn(s->node, kind, name, &(stoa_spawn_options){.core = i}, &s->bosses[i]), STOA_OK);
    }
    for (uint32_t i = 0; i < CORES; i++) {
        char name[32];
        watcher_args args = {s->bosses[(i + 1) % CORES]};
        stoa_spawn_options options = {.core = i, .args = &args};
        (void)snprintf(name, sizeof name, "watcher/%u", i);
        assert_int_equal(stoa_spawn(s->node, &watcher_kind, name, &options, &s->watchers[i]), STOA_OK);
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        boss_hired out;
        assert_int_equal(boss_call_hire(s->node, s->bosses[i % CORES], (boss_hire){0}, STOA_S(20), &out), STOA_OK);
        s->workers[i] = (stoa_ref){out.ref};
    }
}

static void stage_close(stage *s)
{
    char remove[64];
    stoa_node_close(s->node, STOA_S(5));
    (void)snprintf(remove, sizeof remove, "rm -rf %s", s->folder);
    assert_int_equal(system(remove), 0);
}

static void look(stoa_core *core, void *context)
{
    uint64_t *left = context; /* actors, ties */
    const char *wrong = stoa_tree_check(core);
    if (wrong) { fail_msg("core %u: %s", core->place.index, wrong); }
    left[0] += core->actor_alive;
    left[1] += core->ties.count;
}

/* Until nobody but the ledger is left, and nobody watches anybody. */
static void wait_until_empty(stage *s)
{
    uint64_t left[2] = {0};
    for (int i = 0; i < 2000; i++) {
        left[0] = left[1] = 0;
        for (uint32_t k = 0; k < CORES; k++) { stoa_core_do(s->node->cores[k], look, left); }
        if (left[0] == 1 && left[1] == 0) { return; }
        (void)poll(NULL, 0, 10);
    }
    fail_msg("%llu actors and %llu ties are left", (unsigned long long)left[0], (unsigned long long)left[1]);
}

static void no_acknowledged_ask_is_lost_and_the_tree_is_whole(void **state)
{
    (void)state;
    stage s;
    caller callers[CALLERS];
    pthread_t threads[CALLERS];
    stoa_log_level_set(STOA_LOG_ERROR);
    uint64_t seconds = getenv("STOA_DEEP") ? 60 : 3, acknowledged = 0, unknown = 0, refused = 0;
    stage_open(&s);
    for (uint32_t i = 0; i < CALLERS; i++) {
        uint64_t until = stoa_clock_real.now_ns(&stoa_clock_real) + STOA_S(seconds);
        callers[i] = (caller){.node = s.node, .workers = s.workers, .until_ns = until, .seed = i + 1};
        assert_int_equal(pthread_create(&threads[i], NULL, call, &callers[i]), 0);
    }
    for (uint32_t i = 0; i < CALLERS; i++) {
        (void)pthread_join(threads[i], NULL);
        acknowledged += callers[i].acknowledged;
        refused += callers[i].refused;
        unknown += callers[i].unknown;
    }
    uint64_t rounds = 0, downs = 0, exits = 0;
    for (uint32_t i = 0; i < CORES; i++) {
        watcher_seen seen;
        assert_int_equal(watcher_call_rest(s.node, s.watchers[i], (watcher_rest){{0}}, STOA_S(20), &seen), STOA_OK);
        assert_int_equal(seen.wrong, 0);
        rounds += seen.rounds;
        downs += seen.downs;
        exits += seen.exits;
    }
    for (uint32_t i = 0; i < WORKERS; i++) { /* permanent: there, whatever happened to them */
        worker_total out;
        stoa_err err = STOA_E_FAILED;
        for (int k = 0; k < 1000 && err; k++) { /* it, or the ledger, may be down for a moment */
            err = worker_call_add(s.node, s.workers[i], (worker_add){1}, STOA_S(20), &out);
            unknown += err == STOA_E_TIMEOUT;
            if (err) { (void)poll(NULL, 0, 10); }
        }
        assert_int_equal(err, STOA_OK);
        acknowledged++;
    }
    ledger_total total;
    while (ledger_call_read(s.node, s.ledger, (ledger_read){{0}}, STOA_S(20), &total)) { (void)poll(NULL, 0, 10); }
    printf("%llu acknowledged, %llu refused, %llu unknown, %llu in the ledger; %llu rounds, %llu downs, %llu exits\n",
           (unsigned long long)acknowledged, (unsigned long long)refused, (unsigned long long)unknown,
           (unsigned long long)total.total, (unsigned long long)rounds, (unsigned long long)downs, (unsigned long long)exits);
    assert_true(total.total >= acknowledged && total.total <= acknowledged + unknown);
    assert_true(acknowledged > WORKERS && refused && downs);
    for (uint32_t i = 0; i < CORES; i++) {
        assert_int_equal(stoa_stop(s.node, s.watchers[i]), STOA_OK);
        assert_int_equal(stoa_stop(s.node, s.bosses[i]), STOA_OK);
    }
    wait_until_empty(&s);
    stage_close(&s);
}

/* --- a state that its events did not make, by a broken kind or memory */

static void spoil(stoa_core *core, void *context)
{
    stoa_actor *actor = stoa_core_actor(core, *(stoa_ref *)context);
    STOA_ASSERT(actor);
    ((ledger *)actor->state)->total += 1000000;
    stoa_actor_fail(core, actor, "spoilt");
}

static void a_spoilt_state_is_replaced_by_what_the_log_says(void **state)
{
    (void)state;
    stage s;
    worker_total out;
    stage_open(&s);
    stoa_log_level_set(STOA_LOG_OFF);
    stoa_core_do(s.node->cores[0], spoil, &s.ledger);
    stoa_err err = STOA_E_FAILED;
    while (err) { err = worker_call_add(s.node, s.workers[0], (worker_add){1}, STOA_S(20), &out); }
    assert_int_equal(out.total, 1);
    stage_close(&s);
    stoa_log_level_set(STOA_LOG_WARN);
}

/* --- the end of the node */

#define clinger_go_FIELDS STOA_NO_FIELDS
#define clinger_ROWS(ROW, K) ROW(K, CAST, go, _, "Have a child that does not end, or fail for ever.")
STOA_TABLE(clinger)
STOA_TABLE_DEFINE(clinger)
typedef struct clinger {
    uint64_t spawned;
} clinger;
#define clinger_HEARS STOA_HEARS_NOTHING
static char ends[64];
static stoa_err clinger_stopping(stoa_turn *turn, void *state)
{
    const char *key = stoa_turn_key(turn);
    (void)state;
    if (*key == 'x') { return STOA_E_AGAIN; }
    (void)strncat(ends, key, sizeof ends - strlen(ends) - 1);
    return STOA_OK;
}
STOA_PLAIN_KIND(clinger, .stopping = clinger_stopping)
static stoa_err clinger_on_go(stoa_turn *turn, clinger *self, const clinger_go *in)
{
    static const char *const names[] = {"clinger/a", "clinger/x", "clinger/b"};
    (void)in;
    stoa_err err = STOA_OK;
    for (; self->spawned < 3 && !err; self->spawned++) {
        stoa_child child = {.name = names[self->spawned], .restart = STOA_PERMANENT, .shutdown_ms = 100000};
        stoa_ref ref;
        err = stoa_turn_spawn(turn, &clinger_kind, &child, &ref);
    }
    return err;
}

static void a_node_closes_in_order_and_leaves_behind_who_will_not_end(void **state)
{
    (void)state;
    stoa_node *node;
    stoa_ref top;
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 1}, &node), STOA_OK);
    assert_int_equal(stoa_spawn(node, &clinger_kind, "clinger/top", NULL, &top), STOA_OK);
    assert_int_equal(clinger_post_go(node, top, (clinger_go){{0}}), STOA_OK);
    while (!stoa_find(node, "clinger/b").at) { (void)poll(NULL, 0, 1); }
    uint64_t began = stoa_clock_real.now_ns(&stoa_clock_real);
    stoa_node_close(node, STOA_MS(300));
    assert_true(stoa_clock_real.now_ns(&stoa_clock_real) - began >= STOA_MS(150)); /* it was waited for, */
    assert_string_equal(ends, "b"); /* x in the middle keeps a and top from being asked */
}

/* A crash loop below the root, in a process of its own. */
static void crash(void)
{
    stoa_node *node;
    if (stoa_node_open(&(stoa_options){.cores = 1}, &node)) { _exit(1); }
    for (int i = 0; i < 100000; i++) {
        char name[32];
        stoa_ref ref;
        (void)snprintf(name, sizeof name, "worker/%d", i);
        if (stoa_spawn(node, &worker_kind, name, NULL, &ref)) { _exit(2); }
        worker_add add = {1};
        worker_total out;
        for (int k = 0; k < 100; k++) { (void)worker_call_add(node, ref, add, STOA_S(5), &out); } /* it fails often */
    }
    _exit(0);
}

static void a_crash_loop_ends_the_process_with_its_reason(void **state)
{
    (void)state;
    int log[2], status;
    char line[65536];
    size_t got = 0;
    assert_int_equal(pipe(log), 0);
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(log[1], 2);
        crash();
    }
    (void)close(log[1]);
    for (ssize_t n; got < sizeof line - 1 && (n = read(log[0], line + got, sizeof line - 1 - got)) > 0; got += (size_t)n) {}
    line[got] = '\0';
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 71);
    assert_non_null(strstr(line, "\"event\":\"node_exit\",\"reason\":"));
    size_t lines = 0;
    for (const char *at = line; (at = strstr(at, "\"event\":\"actor_failed\"")); at++) { lines++; }
    assert_true(lines > 0 && lines < 100); /* a hundred failures, but not a line for each */
    (void)close(log[0]);
}

static void count_escalation(void *context, const char *reason)
{
    (void)reason;
    atomic_fetch_add((_Atomic int *)context, 1);
}

static void after_escalate_returned_who_failed_stays_down_until_it_is_stopped(void **state)
{
    (void)state;
    stoa_node *node;
    stoa_ref ref = STOA_REF_NONE, again;
    _Atomic int escalations = 0;
    char name[32] = "";
    worker_total out;
    stoa_log_level_set(STOA_LOG_OFF);
    stoa_options options = {.cores = 1, .seed = 1, .escalate = count_escalation, .context = &escalations};
    assert_int_equal(stoa_node_open(&options, &node), STOA_OK);
    for (int i = 0; i < 10000 && !atomic_load(&escalations); i++) {
        (void)snprintf(name, sizeof name, "worker/%d", i);
        assert_int_equal(stoa_spawn(node, &worker_kind, name, NULL, &ref), STOA_OK);
        assert_int_equal(worker_call_add(node, ref, (worker_add){0}, STOA_S(30), &out) != STOA_OK, true);
        for (int k = 0; k < 100 && !atomic_load(&escalations); k++) { (void)worker_call_add(node, ref, (worker_add){0}, STOA_S(30), &out); }
    }
    assert_int_equal(atomic_load(&escalations), 1);
    assert_int_equal(worker_call_add(node, ref, (worker_add){0}, STOA_S(30), &out), STOA_E_FAILED);
    assert_int_equal(stoa_stop(node, ref), STOA_OK);
    assert_int_equal(stoa_spawn(node, &worker_kind, name, NULL, &again), STOA_OK); /* its name is free */
    assert_int_equal(worker_call_add(node, ref, (worker_add){0}, STOA_S(30), &out), STOA_E_CLOSED);
    stoa_node_close(node, 0);
    stoa_log_level_set(STOA_LOG_WARN);
}

int main(void)
{
    stoa_log_level_set(STOA_LOG_WARN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crash_loop_ends_the_process_with_its_reason), /* first: it forks */
        cmocka_unit_test(after_escalate_returned_who_failed_stays_down_until_it_is_stopped),
        cmocka_unit_test(a_node_closes_in_order_and_leaves_behind_who_will_not_end),
        cmocka_unit_test(a_spoilt_state_is_replaced_by_what_the_log_says),
        cmocka_unit_test(no_acknowledged_ask_is_lost_and_the_tree_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
