/* isolates/odd.c - the kind of odd.h, as a library for stoa-isolate.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/runtime/isolates/odd.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

STOA_TABLE_DEFINE(helper)
STOA_TABLE_DEFINE(odd)
STOA_PROXY(helper)

enum { FIRST_WAITING = 100, FLOOD = 999 }; /* a tick of so many is followed by ten */
typedef struct odd {
    odd_sum sum;
    stoa_timer beat;
    stoa_ref kept; /* of the helper that notes went to */
    stoa_asker waiting[8]; /* by token, from FIRST_WAITING on */
} odd;
static stoa_err odd_start(stoa_turn *turn, void *state, const void *args);
STOA_PLAIN_KIND(odd, .start = odd_start, .args_bytes = sizeof(odd_args))
STOA_PLUGIN(odd)

static stoa_err odd_start(stoa_turn *turn, void *state, const void *args)
{
    odd *self = state;
    (void)turn;
    if (args) { memcpy(&self->sum.sum, args, sizeof self->sum.sum); }
    return self->sum.sum == 13 ? STOA_E_RANGE : STOA_OK;
}

static stoa_err odd_on_add(stoa_turn *turn, odd *self, const odd_add *in, odd_sum *out)
{
    (void)turn;
    self->sum.sum += in->n;
    *out = self->sum;
    return STOA_OK;
}

static stoa_err odd_on_refuse(stoa_turn *turn, odd *self, const odd_refuse *in, odd_sum *out)
{
    (void)turn, (void)self, (void)in, (void)out;
    return STOA_E_RANGE;
}

static stoa_err odd_on_ask(stoa_turn *turn, odd *self, const odd_ask *in, odd_sum *out)
{
    *out = self->sum;
    return helper_ask_double(turn, stoa_turn_find(turn, "helper/h"), (helper_double){in->n}, STOA_S(10), 7);
}

static stoa_err odd_on_later(stoa_turn *turn, odd *self, const odd_later *in, odd_sum *out)
{
    stoa_asker *asker = &self->waiting[in->n % 8];
    (void)out;
    stoa_turn_keep(turn, asker);
    return helper_ask_double(turn, stoa_turn_find(turn, "helper/h"), (helper_double){in->n}, STOA_S(10), FIRST_WAITING + in->n % 8);
}

static stoa_err answer_later(stoa_turn *turn, const stoa_asker *asker, uint64_t doubled)
{
    odd_sum sum = {.doubled = doubled};
    stoa_err error = doubled == 26 ? STOA_E_RANGE : STOA_OK;
    return stoa_turn_answer_kept(turn, asker, &odd_rows[odd_ROW_sum], &sum, error);
}

static stoa_err odd_on_helper_doubled(stoa_turn *turn, odd *self, const helper_doubled *in)
{
    if (turn->token >= FIRST_WAITING) { return answer_later(turn, &self->waiting[turn->token - FIRST_WAITING], in->n); }
    self->sum.doubled = turn->error ? 0 : in->n + (turn->token == 7 ? 0 : 1000);
    return STOA_OK;
}

static stoa_err odd_on_notes(stoa_turn *turn, odd *self, const odd_notes *in, odd_sum *out)
{
    stoa_err err = STOA_OK;
    stoa_ref to = in->kept ? self->kept : stoa_turn_find(turn, "helper/h");
    self->kept = to;
    for (uint64_t i = 0; i < in->n && !err; i++) { err = helper_send_note(turn, to, (helper_note){i}); }
    *out = self->sum;
    return in->fail ? STOA_E_RANGE : err;
}

static stoa_err odd_on_tick(stoa_turn *turn, odd *self, const odd_tick *in)
{
    stoa_err err = STOA_OK;
    self->sum.ticks += in->n;
    for (int i = 0; i < 10 && in->n == FLOOD && !err; i++) { err = odd_send_tick(turn, turn->self, (odd_tick){FLOOD}); }
    return err;
}

static stoa_err odd_on_timer(stoa_turn *turn, odd *self, const odd_timer *in, odd_sum *out)
{
    stoa_err err = STOA_OK;
    if (in->after_ns) { err = odd_after_tick(turn, in->after_ns, (odd_tick){100}, NULL); }
    if (in->every_ns) { err = odd_every_tick(turn, in->every_ns, (odd_tick){1}, &self->beat); }
    if (in->cancel) { stoa_turn_cancel(turn, self->beat); }
    *out = self->sum;
    return err;
}

/* --- what is to end it */

static void do_crash(void)
{
    static int *volatile nowhere;
    *nowhere = 1;
}
static void do_hang(void)
{
    for (volatile int i = 0;; i = !i) {}
}
static void do_abort(void)
{
    abort();
}
static void do_kill(void)
{
    (void)kill(getpid(), SIGKILL);
}
static void do_open(void)
{
    (void)open("/etc/passwd", O_RDONLY);
}
static void do_fork(void)
{
    (void)fork();
}
static void do_connect(void)
{
    (void)socket(AF_INET, SOCK_STREAM, 0);
}
static void do_exec(void)
{
    (void)execl("/bin/true", "true", (char *)NULL);
}
static void do_code(void)
{
    (void)mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
static void do_memory(void)
{
    for (;;) {
        volatile char *at = malloc(1 << 20);
        at[0] = 1;
    }
}
static void do_exit(void)
{
    _exit(0);
}
static void do_noise(void)
{
    for (;;) { (void)send(3, "a noise", 7, 0); }
}

static stoa_err odd_on_misdo(stoa_turn *turn, odd *self, const odd_misdo *in, odd_sum *out)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } deeds[] = {{"crash", do_crash}, {"hang", do_hang},       {"abort", do_abort}, {"kill", do_kill},     {"open", do_open}, {"fork", do_fork},
                 {"exec", do_exec},   {"connect", do_connect}, {"code", do_code},   {"memory", do_memory}, {"exit", do_exit}, {"noise", do_noise}};
    for (unsigned i = 0; i < sizeof deeds / sizeof deeds[0]; i++) {
        bool named = strlen(deeds[i].name) == in->what.len && memcmp(deeds[i].name, in->what.at, in->what.len) == 0;
        if (named) { deeds[i].run(); }
    }
    *out = self->sum;
    if (STOA_TEXT_EQZ(&in->what, "flood")) { return odd_send_tick(turn, turn->self, (odd_tick){FLOOD}); }
    return in->what.len == 4 && memcmp(in->what.at, "fail", 4) == 0 ? stoa_fail(turn, "it was asked to") : stoa_turn_exit(turn, NULL);
}
