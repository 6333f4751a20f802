/* remote/embassy.c - see embassy.h. What finds no room at the port is told again in a while.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "cluster/remote/embassy.h"

#include <string.h>

STOA_TABLE_DEFINE(embassy)

enum { WATCHED_AT_ONCE = 1 << 18 };
#define AGAIN_NS STOA_MS(1)

#define embassy_HEARS(HEAR, K)    \
    HEAR(K, stoa_system, down)    \
    HEAR(K, stoa_system, room)
static stoa_err start(stoa_turn *turn, void *state, const void *args);
STOA_PLAIN_KIND(embassy, .mailbox_limit = WATCHED_AT_ONCE, .start = start, .args_bytes = sizeof(stoa_ref))

static stoa_err start(stoa_turn *turn, void *state, const void *args)
{
    (void)turn;
    memcpy(&((embassy *)state)->port, args, sizeof(stoa_ref));
    return STOA_OK;
}

static stoa_err embassy_on_watch(stoa_turn *turn, embassy *self, const embassy_watch *in)
{
    (void)self;
    return stoa_turn_monitor(turn, (stoa_ref){in->ref}) ? STOA_OK : embassy_after_watch(turn, AGAIN_NS, *in, NULL);
}

static stoa_err embassy_on_ended(stoa_turn *turn, embassy *self, const embassy_ended *in)
{
    stoa_err err = embassy_send_ended(turn, self->port, *in);
    return err == STOA_E_FULL ? embassy_after_ended(turn, AGAIN_NS, *in, NULL) : err;
}

static stoa_err embassy_on_stoa_system_down(stoa_turn *turn, embassy *self, const stoa_system_down *in)
{
    embassy_ended ended = {.ref = in->ref, .text = in->text, .why = in->reason, .returns = in->returns};
    return embassy_on_ended(turn, self, &ended);
}

static stoa_err embassy_on_await(stoa_turn *turn, embassy *self, const embassy_await *in)
{
    (void)self;
    stoa_err err = stoa_turn_when_room(turn, (stoa_ref){in->ref}, in->ref);
    return err == STOA_E_FULL ? embassy_after_await(turn, AGAIN_NS, *in, NULL) : err;
}

static stoa_err embassy_on_roomy(stoa_turn *turn, embassy *self, const embassy_roomy *in)
{
    stoa_err err = embassy_send_roomy(turn, self->port, *in);
    return err == STOA_E_FULL ? embassy_after_roomy(turn, AGAIN_NS, *in, NULL) : err;
}

static stoa_err embassy_on_stoa_system_room(stoa_turn *turn, embassy *self, const stoa_system_room *in)
{
    if (in->error == STOA_E_FULL) { return embassy_after_await(turn, AGAIN_NS, (embassy_await){.ref = in->token}, NULL); }
    return embassy_on_roomy(turn, self, &(embassy_roomy){.ref = in->token});
}
