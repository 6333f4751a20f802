/* timers.c - a message to oneself, later: an egg timer that counts down, and a guard that is cancelled in time.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

#include <stoa/stoa.h>

#define egg_boil_FIELDS(F, S) F(S, uint64_t, ticks) F(S, uint64_t, tick_ns)
#define egg_tick_FIELDS       STOA_NO_FIELDS
#define egg_burnt_FIELDS      STOA_NO_FIELDS
#define egg_left_FIELDS(F, S) F(S, uint64_t, ticks)
#define egg_ROWS(ROW, K)                                          \
    ROW(K, CAST, boil, _, "Begin anew with so many ticks to go.") \
    ROW(K, CAST, tick, _, "Timer: one tick less.")                \
    ROW(K, CAST, burnt, _, "Timer: nobody took it off.")          \
    ROW(K, TOPIC, left, _, "So many ticks are left.")
STOA_TABLE_HERE(egg)
typedef struct egg {
    egg_boil boiling;
    stoa_ref cook;
    stoa_timer tick, guard;
} egg;
#define egg_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(egg, .mailbox_limit = 16)

static stoa_err egg_on_boil(stoa_turn *turn, egg *self, const egg_boil *in)
{
    stoa_turn_cancel(turn, self->tick); /* of an egg before this one; if it fired, or was none, nothing happens */
    stoa_turn_cancel(turn, self->guard);
    self->boiling = *in;
    self->cook = turn->from;
    stoa_err err = egg_every_tick(turn, in->tick_ns, (egg_tick){0}, &self->tick);
    return err ? err : egg_after_burnt(turn, STOA_S(600), (egg_burnt){0}, &self->guard);
}

static stoa_err egg_on_tick(stoa_turn *turn, egg *self, const egg_tick *in)
{
    (void)in;
    if (self->boiling.ticks == 0) { return STOA_OK; } /* it was under way when it was cancelled */
    if (--self->boiling.ticks == 0) {
        stoa_turn_cancel(turn, self->tick);
        stoa_turn_cancel(turn, self->guard);
    }
    return egg_send_left(turn, self->cook, &(egg_left){self->boiling.ticks});
}

static stoa_err egg_on_burnt(stoa_turn *turn, egg *self, const egg_burnt *in)
{
    (void)self, (void)in;
    return stoa_fail(turn, "the kitchen burns");
}

static void print_left(void *context, const stoa_delivery *delivery)
{
    const egg_left *left = delivery->payload;
    uint64_t *ticks = context;
    *ticks = left->ticks;
    printf("%" PRIu64 " to go\n", *ticks);
}

int main(void)
{
    stoa_node *node = NULL;
    stoa_port *port = NULL;
    stoa_ref ref = {0};
    uint64_t left = 3;
    stoa_err err = stoa_node_open(&(stoa_options){.cores = 1}, &node);
    if (!err) { err = stoa_spawn(node, &egg_kind, "egg/sunday", NULL, &ref); }
    if (!err) { err = stoa_port_open(node, "cook", &port); }
    if (!err) { err = stoa_port_send(port, ref, &egg_rows[egg_ROW_boil], &(egg_boil){9, STOA_S(60)}, 0); }
    if (!err) { err = stoa_port_send(port, ref, &egg_rows[egg_ROW_boil], &(egg_boil){left, STOA_MS(20)}, 0); }
    if (!err) { stoa_port_flush(port); }
    while (!err && left > 0) {
        poll(&(struct pollfd){.fd = stoa_port_fd(port), .events = POLLIN}, 1, 100);
        stoa_port_poll(port, print_left, &left, 1);
    }
    if (err) { fprintf(stderr, "%s\n", stoa_err_trail()); }
    if (!err) { puts("ready"); }
    stoa_port_close(port);
    stoa_node_close(node, STOA_MS(100));
    return err ? 1 : 0;
}
