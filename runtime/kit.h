/* kit.h - the test kit for authors of actors: spawn, send, expect, let time go on, make things fail. No threads, no
 * waiting, no flaky test: everything runs in the simulator (runtime/sim.h) under virtual time, from a seed.
 *
 *     stoa_kit *kit = stoa_kit_open(&(stoa_kit_options){.kinds = kinds});
 *     stoa_ref door = stoa_kit_spawn(kit, &greeter_kind, "greeter/door", NULL);
 *     stoa_kit_send(kit, door, greeter, hello, {.name = stoa_text("Ada")});
 *     stoa_kit_expect(kit, greeter, welcome, it->visitor == 1);
 *     stoa_kit_crash(kit);                             the process dies; what was acknowledged comes back
 *     stoa_kit_check(kit, stoa_kit_state(kit, greeter, stoa_kit_find(kit, "greeter/door"))->visitors == 1);
 *     stoa_kit_close(kit);
 *
 * The test is an actor of its own, "port/kit": what is sent to stoa_kit_self, answered to it or published on what it
 * subscribed to waits in its inbox until it is expected. Event-sourced kinds live in one shard with durability DISK on
 * a simulated disk. An expectation that fails tells what came instead, the seed and the command that replays it, to
 * options.fail, which ends the test in the way of your test framework; by default it is printed and the process aborts.
 *
 * docs/guide/testing.md goes from nothing to a tested actor; examples/test_actor.c is its code. Not for production: it
 * allocates, and says what is wrong by ending the test. One thread; one kit at a time.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_KIT_H
#define STOA_RUNTIME_KIT_H

#include "base/api.h"
#include "runtime/sim.h"

STOA_API_BEGIN

typedef struct stoa_kit stoa_kit;

typedef struct stoa_kit_options {
    const stoa_kind *const *kinds;  /* NULL-terminated: the event-sourced kinds that are spawned */
    uint64_t seed;                  /* 0: from STOA_TEST_SEED, else 1 */
    uint32_t cores;                 /* 0 means 1 */
    uint64_t memory_bytes;          /* per core, for messages; 0 means 16 MiB */
    uint64_t patience_ns;           /* how long an expectation waits, in virtual time; 0 means 1 s */
    const stoa_sim_plan *faults;    /* what goes wrong by chance; NULL: nothing */
    void (*fail)(const char *text); /* called with the report of what failed; NULL: print it and abort */
} stoa_kit_options;

/* Open a node with one shard and the test's port. Never NULL. */
stoa_kit *stoa_kit_open(const stoa_kit_options *options);
/* Closes and forgets everything, disks too. NULL is allowed. */
void stoa_kit_close(stoa_kit *kit);

stoa_node *stoa_kit_node(stoa_kit *kit);
stoa_sim *stoa_kit_sim(stoa_kit *kit);
/* The test as an actor sees it. */
stoa_ref stoa_kit_self(const stoa_kit *kit);

/* The actor "kind/key": in the shard (event-sourced; found there, if it came back), or on one core after the other
 * (plain, with the arguments of its start). */
stoa_ref stoa_kit_spawn(stoa_kit *kit, const stoa_kind *kind, const char *name, const void *args);
stoa_ref stoa_kit_spawn_on(stoa_kit *kit, uint32_t core, const stoa_kind *kind, const char *name, const void *args);
/* References end with their process: look up again what came back after a crash. Fails when there is none. */
stoa_ref stoa_kit_find(stoa_kit *kit, const char *name);

/* --- messages. The payload is written as an initializer and is checked as the row's struct. */
/* Send a command or a cast; the answer to a command comes to the inbox. */
#define stoa_kit_send(kit, to, K, row, ...)                                                                            \
    stoa_kit_send_row((kit), (to), &K##_rows[K##_ROW_##row], &(K##_##row)__VA_ARGS__, STOA_HERE)
/* Send a command and run until it is answered: stoa_kit_call(kit, door, greeter, hello, &welcome, {.name = ...}).
 * Returns the answer's error. Needs STOA_PROXY(K), or the kind in the same file. */
#define stoa_kit_call(kit, to, K, command, out, ...)                                                                   \
    K##_call_##command(stoa_kit_node(kit), (to), (K##_##command)__VA_ARGS__, stoa_kit_patience(kit), (out))
/* The next message of that row, sent, answered or published, must meet the condition, in which it is called `it`.
 * Messages of other rows stay. Runs until one comes. */
#define stoa_kit_expect(kit, K, row, ...)                                                                              \
    do {                                                                                                               \
        const K##_##row *it = stoa_kit_next((kit), &K##_rows[K##_ROW_##row], #__VA_ARGS__, STOA_HERE);                 \
        if (it && !(__VA_ARGS__)) { stoa_kit_differs((kit), #__VA_ARGS__, STOA_HERE); }                                \
    } while (0)
/* The next answer to that command must be a refusal with this error. */
#define stoa_kit_expect_refusal(kit, K, command, err)                                                                  \
    stoa_kit_refused((kit), &K##_rows[K##_ROW_##command], (err), STOA_HERE)
/* A message of that row must be among the dead letters since the last look, with this reason. */
#define stoa_kit_expect_dead_letter(kit, K, row, err)                                                                  \
    stoa_kit_dead((kit), &K##_rows[K##_ROW_##row], (err), STOA_HERE)
/* Nothing at all comes for so long, and nothing has come. */
#define stoa_kit_expect_nothing(kit, for_ns) stoa_kit_nothing((kit), (for_ns), STOA_HERE)
/* Anything else that must hold. */
#define stoa_kit_check(kit, ...) ((__VA_ARGS__) ? (void)0 : stoa_kit_failed((kit), #__VA_ARGS__, STOA_HERE))
/* The state of an actor of a kind whose struct is seen here; const, until time goes on. */
#define stoa_kit_state(kit, K, actor) ((const K *)stoa_kit_state_of((kit), (actor), #K, STOA_HERE))
/* Hear topics: "orders.*". Holds over crashes; at most 16. */
void stoa_kit_subscribe(stoa_kit *kit, const char *pattern);
/* All dead letters so far. */
uint64_t stoa_kit_dead_letters(const stoa_kit *kit);

/* --- time */
void stoa_kit_advance(stoa_kit *kit, uint64_t for_ns);
/* Until nothing happens but timers further than a second away. */
void stoa_kit_settle(stoa_kit *kit);

/* --- what goes wrong */
/* The actor fails now, between two turns. reason: a static string. */
void stoa_kit_fail(stoa_kit *kit, stoa_ref actor, const char *reason);
/* The next turn of the actor so named (a glob pattern) fails: its message is refused, nothing of it happens, nor of a cascade that it is
 * in the middle of. */
void stoa_kit_fail_turn(stoa_kit *kit, const char *name);
/* Any fault of the simulator's, once. */
void stoa_kit_inject(stoa_kit *kit, stoa_sim_injection injection);
/* The process dies and starts again; the disk keeps what was written. Plain actors are gone. */
void stoa_kit_crash(stoa_kit *kit);
/* The machine dies: the disk keeps what was synced, and of the rest as much as chance says, perhaps torn. */
void stoa_kit_power_cut(stoa_kit *kit);
/* The states of the shard are what its journal says. */
#define stoa_kit_check_replay(kit) stoa_kit_replay((kit), STOA_HERE)

/* --- chance */
/* A number below `below`, from the seed. */
uint64_t stoa_kit_random(stoa_kit *kit, uint64_t below);
/* All that happened, in one number: equal for equal seeds. */
uint64_t stoa_kit_hash(stoa_kit *kit);

/* Behind the macros. */
void stoa_kit_send_row(stoa_kit *kit, stoa_ref to, const stoa_row *row, const void *payload, const char *where);
const void *stoa_kit_next(stoa_kit *kit, const stoa_row *row, const char *condition, const char *where);
void stoa_kit_differs(stoa_kit *kit, const char *condition, const char *where);
void stoa_kit_refused(stoa_kit *kit, const stoa_row *row, stoa_err err, const char *where);
void stoa_kit_dead(stoa_kit *kit, const stoa_row *row, stoa_err err, const char *where);
void stoa_kit_nothing(stoa_kit *kit, uint64_t for_ns, const char *where);
void stoa_kit_failed(stoa_kit *kit, const char *condition, const char *where);
const void *stoa_kit_state_of(stoa_kit *kit, stoa_ref actor, const char *kind, const char *where);
void stoa_kit_replay(stoa_kit *kit, const char *where);
uint64_t stoa_kit_patience(const stoa_kit *kit);

/* --- many seeds: a random test is a function of its seed, run for a range of them.
 *
 *     static const stoa_seeds seeds = {.count = 1000, .run = random_run};
 *     int main(int argc, char **argv)
 *     {
 *         int status;
 *         if (stoa_seeds_main(&seeds, argc, argv, &status)) { return status; }
 *         ... the other tests, and among them stoa_seeds_run(&seeds), which is to be STOA_OK ...
 *     }
 *
 *     program --seed 17           that run alone; with --trace every decision is printed
 *     program --hash 1..300       a line "seed hash" each: the same in every build
 *     program --twice 1..300      the same, each seed run twice with equal hashes */
typedef struct stoa_seeds {
    uint64_t count;                 /* seeds 1 .. count */
    uint64_t deep;                  /* so many where STOA_DEEP is set; 0: count */
    uint64_t (*run)(uint64_t seed); /* returns the simulation's hash; ends the process where it fails */
} stoa_seeds;

/* Does what the arguments ask for, if they ask for one of the above; then *status_out is what main returns. */
bool stoa_seeds_main(const stoa_seeds *seeds, int argc, char **argv, int *status_out);
/* Runs all seeds (STOA_TEST_SEED: only that one), each twice, in a child process that is this program with --twice.
 * Prints a failing seed, its step and the command that replays it, also where a signal ends this process or the child. Where STOA_HASHES names a folder, for who compares builds,
 * or STOA_DEEP is set, each runs once; in that folder PROGRAM.hashes has the lines. Errors: FAILED, IO. */
stoa_err stoa_seeds_run(const stoa_seeds *seeds);
/* For stoa_sim_options.trace: stdout with --trace, else NULL. The kit uses it by itself. */
FILE *stoa_seeds_trace(void);
/* The run is at this step, by a count or a clock of the test's own: said where it ends as nobody expected. The kit does it by itself, by
 * its clock. Any thread of the run; cheap. */
void stoa_seeds_at(uint64_t step);
/* "STOA_TEST_SEED=17 build/tests/test_x --seed 17", into a buffer of its own. */
const char *stoa_seeds_command(uint64_t seed);

STOA_API_END

#endif
