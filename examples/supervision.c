/* supervision.c - a boat and its rowers: one fails, the boat's kind says what becomes of all, the boat hears of it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>

#include <stoa/base/log.h>
#include <stoa/stoa.h>

/* --- a rower counts its strokes until it has a cramp */
#define rower_stroke_FIELDS      STOA_NO_FIELDS
#define rower_cramp_FIELDS       STOA_NO_FIELDS
#define rower_count_FIELDS(F, S) F(S, uint64_t, strokes)
#define rower_ROWS(ROW, K)                  \
    ROW(K, COMMAND, stroke, count, "Pull.") \
    ROW(K, COMMAND, cramp, count, "Fail.")  \
    ROW(K, REPLY, count, _, "So many strokes.")
STOA_TABLE_HERE(rower)
typedef struct rower {
    uint64_t strokes;
} rower;
#define rower_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(rower, .mailbox_limit = 16)

static stoa_err rower_on_stroke(stoa_turn *turn, rower *self, const rower_stroke *in, rower_count *out)
{
    (void)turn, (void)in;
    out->strokes = ++self->strokes;
    return STOA_OK;
}

static stoa_err rower_on_cramp(stoa_turn *turn, rower *self, const rower_cramp *in, rower_count *out)
{
    (void)self, (void)in, (void)out;
    return stoa_fail(turn, "a cramp"); /* this actor fails; what the turn did is taken back, and its asker is told */
}

/* --- a boat spawns its rowers, and watches them: when one fails, both begin anew */
#define boat_look_FIELDS       STOA_NO_FIELDS
#define boat_seen_FIELDS(F, S) F(S, uint64_t, ends) F(S, stoa_text62, reason)
#define boat_ROWS(ROW, K)                                 \
    ROW(K, COMMAND, look, seen, "What have you seen?")    \
    ROW(K, REPLY, seen, _, "How many ended, and why.")
STOA_TABLE_HERE(boat)
typedef struct boat {
    boat_seen seen;
} boat;
#define boat_HEARS(HEAR, K) HEAR(K, stoa_system, down)
static stoa_err boat_start(stoa_turn *turn, void *state, const void *args);
STOA_PLAIN_KIND(boat, .start = boat_start,
                .supervision = {.strategy = STOA_ONE_FOR_ALL, .restarts = 3, .per_ms = 5000})

static stoa_err boat_start(stoa_turn *turn, void *state, const void *args)
{
    static const char *const names[] = {"rower/left", "rower/right"};
    stoa_err err = STOA_OK;
    (void)state, (void)args;
    for (int i = 0; i < 2 && !err; i++) {
        stoa_ref ref;
        err = stoa_turn_spawn(turn, &rower_kind, &(stoa_child){.name = names[i], .restart = STOA_PERMANENT}, &ref);
        if (!err && !stoa_turn_monitor(turn, ref)) { err = STOA_E_FULL; }
    }
    return err;
}

static stoa_err boat_on_stoa_system_down(stoa_turn *turn, boat *self, const stoa_system_down *in)
{
    self->seen.ends++;
    if (in->reason == stoa_end_FAILED) { self->seen.reason = in->text; }
    return stoa_turn_monitor(turn, (stoa_ref){in->ref}) ? STOA_OK : STOA_E_FULL; /* a monitor tells once */
}

static stoa_err boat_on_look(stoa_turn *turn, boat *self, const boat_look *in, boat_seen *out)
{
    (void)turn, (void)in;
    *out = self->seen;
    return STOA_OK;
}

int main(void)
{
    stoa_node *node = NULL;
    stoa_ref eight = {0}, left = {0}, right = {0};
    rower_count l = {0}, r = {0};
    boat_seen seen = {0};
    stoa_log_level_set(STOA_LOG_ERROR); /* the log has a warning for each failure */
    stoa_err err = stoa_node_open(&(stoa_options){.cores = 1}, &node);
    if (!err) { err = stoa_spawn(node, &boat_kind, "boat/eight", NULL, &eight); }
    left = stoa_find(node, "rower/left"), right = stoa_find(node, "rower/right");
    for (int i = 0; i < 2 && !err; i++) { err = rower_call_stroke(node, left, (rower_stroke){0}, STOA_S(10), &l); }
    if (!err) { err = rower_call_stroke(node, right, (rower_stroke){0}, STOA_S(10), &r); }
    printf("left %" PRIu64 ", right %" PRIu64 "\n", l.strokes, r.strokes);
    if (!err) { puts(stoa_err_name(rower_call_cramp(node, left, (rower_cramp){0}, STOA_S(10), &l))); }
    if (!err) { err = rower_call_stroke(node, left, (rower_stroke){0}, STOA_S(10), &l); }
    if (!err) { err = rower_call_stroke(node, right, (rower_stroke){0}, STOA_S(10), &r); }
    if (!err) { err = boat_call_look(node, eight, (boat_look){0}, STOA_S(10), &seen); }
    printf("left %" PRIu64 ", right %" PRIu64 "; %" PRIu64 " ended, because of %.*s\n", l.strokes, r.strokes, seen.ends,
           STOA_TEXT_ARGS(&seen.reason));
    if (err) { fprintf(stderr, "%s\n", stoa_err_trail()); }
    stoa_node_close(node, STOA_MS(100));
    return err ? 1 : 0;
}
