/* isolate_stage.h - for the tests of isolates: a boss that spawns a child of odd.h, watches it and says how it ended, and the helper beside
 * it, which still answers; when the stage is closed no child is left, and the process has as many descriptors as before.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_UNIT_RUNTIME_ISOLATE_STAGE_H
#define STOA_TESTS_UNIT_RUNTIME_ISOLATE_STAGE_H

#include <dirent.h>
#include <errno.h>
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
#include "runtime/isolate/isolate.h"
#include "runtime/stoa.h"
#include "tests/unit/runtime/isolates/helper.h"

STOA_TABLE_DEFINE(odd)
STOA_ISOLATED_KIND(odd, .mailbox_limit = 512)

/* --- the boss */
#define boss_look_FIELDS       STOA_NO_FIELDS
#define boss_seen_FIELDS(F, S) F(S, uint64_t, ends) F(S, uint64_t, reason) F(S, stoa_text62, text)
#define boss_ROWS(ROW, K)                                \
    ROW(K, COMMAND, look, seen, "What has it seen?")     \
    ROW(K, REPLY, seen, _, "How often its child ended, and why last.")
STOA_TABLE_HERE(boss)
typedef struct boss {
    boss_seen seen;
} boss;
typedef struct boss_args {
    stoa_isolate isolate;
    stoa_restart restart;
} boss_args;
#define boss_HEARS(HEAR, K) HEAR(K, stoa_system, down)
static stoa_err boss_start(stoa_turn *turn, void *state, const void *args);
STOA_PLAIN_KIND(boss, .start = boss_start, .args_bytes = sizeof(boss_args))
static stoa_err boss_start(stoa_turn *turn, void *state, const void *args)
{
    boss_args with;
    stoa_ref ref;
    (void)state;
    memcpy(&with, args, sizeof with);
    stoa_err err = stoa_turn_spawn(turn, &odd_kind, &(stoa_child){.name = "odd/o", .args = &with.isolate, .restart = with.restart}, &ref);
    if (!err && !stoa_turn_monitor(turn, ref)) { err = STOA_E_FULL; }
    return err;
}
static stoa_err boss_on_stoa_system_down(stoa_turn *turn, boss *self, const stoa_system_down *in)
{
    self->seen.ends++;
    self->seen.reason = in->reason;
    self->seen.text = in->text;
    if (in->returns) { (void)stoa_turn_monitor(turn, (stoa_ref){in->ref}); }
    return STOA_OK;
}
static stoa_err boss_on_look(stoa_turn *turn, boss *self, const boss_look *in, boss_seen *out)
{
    (void)turn, (void)in;
    *out = self->seen;
    return STOA_OK;
}

static char host[512], library[512], hostile[512];
static const char *const peers[] = {"helper/h", NULL};
static const stoa_table *const tables[] = {&helper_table, NULL};

typedef struct stage {
    stoa_node *node;
    stoa_ref helper, boss, odd;
    uint32_t files;
} stage;

static inline uint32_t open_files(void)
{
    uint32_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder)) { count++; }
    (void)closedir(folder);
    return count;
}

static inline stoa_isolate plug_in(void)
{
    return (stoa_isolate){.host = host, .library = library, .peers = peers, .tables = tables};
}

static inline void open_with(stage *s, stoa_isolate isolate, stoa_restart restart)
{
    *s = (stage){.files = open_files()};
    boss_args args = {.isolate = isolate, .restart = restart};
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 1}, &s->node), STOA_OK);
    assert_int_equal(stoa_spawn(s->node, &helper_kind, "helper/h", NULL, &s->helper), STOA_OK);
    assert_int_equal(stoa_spawn(s->node, &boss_kind, "boss/b", &(stoa_spawn_options){.args = &args}, &s->boss), STOA_OK);
    s->odd = stoa_find(s->node, "odd/o");
}

static inline void close_stage(stage *s)
{
    stoa_node_close(s->node, STOA_S(10));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left, dead or alive */
    assert_int_equal(errno, ECHILD);
    assert_int_equal(open_files(), s->files);
}

static inline boss_seen wait_for_end(stage *s, uint64_t ends)
{
    boss_seen seen = {0};
    while (seen.ends < ends) {
        assert_int_equal(boss_call_look(s->node, s->boss, (boss_look){0}, STOA_S(60), &seen), STOA_OK);
        (void)usleep(1000);
    }
    helper_doubled doubled; /* who was beside it serves */
    assert_int_equal(helper_call_double(s->node, s->helper, (helper_double){21}, STOA_S(60), &doubled), STOA_OK);
    assert_int_equal(doubled.n, 42);
    return seen;
}

static inline void assert_ended(const boss_seen *seen, const char *text)
{
    char was[64];
    (void)snprintf(was, sizeof was, "%.*s", STOA_TEXT_ARGS(&seen->text));
    assert_string_equal(was, text);
}

static inline odd_sum add(stage *s, uint64_t n)
{
    odd_sum sum = {0};
    assert_int_equal(odd_call_add(s->node, s->odd, (odd_add){n}, STOA_S(60), &sum), STOA_OK);
    return sum;
}

/* STOA_BIN and STOA_BUILD say where they are. */
static inline void find_programs(void)
{
    const char *bin = getenv("STOA_BIN"), *build = getenv("STOA_BUILD");
    if (!bin || !build) { exit(1); }
    (void)snprintf(host, sizeof host, "%s/stoa-isolate", bin);
    (void)snprintf(library, sizeof library, "%s/plugins/odd.so", build);
    (void)snprintf(hostile, sizeof hostile, "%s/tests/isolate_hostile", build);
    stoa_log_level_set(STOA_LOG_ERROR);
}

#endif
