/* groups.c - a group is a topic with members: one is chosen for each message, by key or in turn, or all get it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>

#include <stoa/stoa.h>

/* --- a cook joins the group "kitchen" */
#define cook_dish_FIELDS(F, S) F(S, uint64_t, table)
#define cook_close_FIELDS      STOA_NO_FIELDS
#define cook_tell_FIELDS       STOA_NO_FIELDS
#define cook_told_FIELDS(F, S) F(S, uint64_t, dishes) F(S, uint64_t, closed)
#define cook_ROWS(ROW, K)                            \
    ROW(K, CAST, dish, _, "Cook for a table.")       \
    ROW(K, CAST, close, _, "That was it for today.") \
    ROW(K, COMMAND, tell, told, "What was done?")    \
    ROW(K, REPLY, told, _, "What was done.")
STOA_TABLE_HERE(cook)
typedef struct cook {
    cook_told done;
} cook;
#define cook_HEARS STOA_HEARS_NOTHING
static stoa_err cook_start(stoa_turn *turn, void *state, const void *args)
{
    (void)state, (void)args;
    return stoa_turn_join(turn, "kitchen"); /* again after each restart; who ends has left */
}
STOA_PLAIN_KIND(cook, .start = cook_start)

static stoa_err cook_on_dish(stoa_turn *turn, cook *self, const cook_dish *in)
{
    (void)turn, (void)in;
    self->done.dishes++;
    return STOA_OK;
}

static stoa_err cook_on_close(stoa_turn *turn, cook *self, const cook_close *in)
{
    (void)in;
    self->done.closed++;
    return stoa_turn_leave(turn, "kitchen");
}

static stoa_err cook_on_tell(stoa_turn *turn, cook *self, const cook_tell *in, cook_told *out)
{
    (void)turn, (void)in;
    *out = self->done;
    return STOA_OK;
}

/* --- a waiter chooses among them; table 0 closes the kitchen */
#define waiter_order_FIELDS(F, S)   F(S, uint64_t, table)
#define waiter_ordered_FIELDS(F, S) F(S, uint64_t, cooks)
#define waiter_ROWS(ROW, K)                        \
    ROW(K, COMMAND, order, ordered, "Two dishes.") \
    ROW(K, REPLY, ordered, _, "How many cooks there are.")
STOA_TABLE_HERE(waiter)
typedef struct waiter {
    uint64_t orders;
} waiter;
#define waiter_HEARS STOA_HEARS_NOTHING
static stoa_err waiter_start(stoa_turn *turn, void *state, const void *args)
{
    (void)state, (void)args;
    return stoa_turn_bind(turn, 0, "kitchen"); /* the only look-up by name */
}
STOA_PLAIN_KIND(waiter, .start = waiter_start)

static stoa_err waiter_on_order(stoa_turn *turn, waiter *self, const waiter_order *in, waiter_ordered *out)
{
    self->orders++;
    out->cooks = stoa_turn_members(turn, 0);
    if (in->table == 0) { return cook_publish_close(turn, 0, &(cook_close){0}); } /* to all */
    stoa_ref tables = stoa_turn_member(turn, 0, in->table), next = stoa_turn_member_next(turn, 0);
    stoa_err err = cook_send_dish(turn, tables, (cook_dish){in->table}); /* a table has its cook */
    return err ? err : cook_send_dish(turn, next, (cook_dish){in->table}); /* anybody, in turn */
}

int main(void)
{
    static const char *const names[] = {"cook/ada", "cook/bob", "cook/eve"};
    stoa_node *node = NULL;
    stoa_ref cooks[3], max = {0};
    waiter_ordered there = {0};
    cook_told told = {0};
    stoa_err err = stoa_node_open(&(stoa_options){.cores = 1}, &node);
    for (int i = 0; i < 3 && !err; i++) { err = stoa_spawn(node, &cook_kind, names[i], NULL, &cooks[i]); }
    if (!err) { err = stoa_spawn(node, &waiter_kind, "waiter/max", NULL, &max); }
    for (uint64_t t = 13; t-- && !err;) { err = waiter_call_order(node, max, (waiter_order){t}, STOA_S(1), &there); }
    for (int i = 0; i < 3 && !err; i++) {
        err = cook_call_tell(node, cooks[i], (cook_tell){0}, STOA_S(1), &told);
        printf("%s, one of %" PRIu64 ": %" PRIu64 " dishes, %s\n", names[i], there.cooks, told.dishes,
               told.closed ? "closed" : "open");
    }
    if (err) { fprintf(stderr, "%s\n", stoa_err_trail()); }
    stoa_node_close(node, STOA_MS(100));
    return err ? 1 : 0;
}
