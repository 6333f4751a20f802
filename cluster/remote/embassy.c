/* remote/embassy.c - see embassy.h. What finds no room at the port is told again in a while.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "cluster/remote/embassy.h"

#include <string.h>

STOA_TABLE_DEFINE(stoa_embassy)

enum { WATCHED_AT_ONCE = 1 << 18 };
#define AGAIN_NS STOA_MS(1)

#define stoa_embassy_HEARS(HEAR, K)    \
    HEAR(K, stoa_system, down)    \
    HEAR(K, stoa_system, room)
static stoa_err start(stoa_turn *turn, void *state, const void *args);
STOA_PLAIN_KIND(stoa_embassy, .mailbox_limit = WATCHED_AT_ONCE, .start = start, .args_bytes = sizeof(stoa_ref))

static stoa_err start(stoa_turn *turn, void *state, const void *args)
{
    (void)turn;
    memcpy(&((stoa_embassy *)state)->port, args, sizeof(stoa_ref));
    return STOA_OK;
}

static stoa_err stoa_embassy_on_watch(stoa_turn *turn, stoa_embassy *self, const stoa_embassy_watch *in)
{
    (void)self;
    return stoa_turn_monitor(turn, (stoa_ref){in->ref}) ? STOA_OK : stoa_embassy_after_watch(turn, AGAIN_NS, *in, NULL);
}

static stoa_err stoa_embassy_on_ended(stoa_turn *turn, stoa_embassy *self, const stoa_embassy_ended *in)
{
    stoa_err err = stoa_embassy_send_ended(turn, self->port, *in);
    return err == STOA_E_FULL ? stoa_embassy_after_ended(turn, AGAIN_NS, *in, NULL) : err;
}

static stoa_err stoa_embassy_on_stoa_system_down(stoa_turn *turn, stoa_embassy *self, const stoa_system_down *in)
{
    stoa_embassy_ended ended = {.ref = in->ref, .text = in->text, .why = in->reason, .returns = in->returns};
    return stoa_embassy_on_ended(turn, self, &ended);
}

static stoa_err stoa_embassy_on_await(stoa_turn *turn, stoa_embassy *self, const stoa_embassy_await *in)
{
    (void)self;
    stoa_err err = stoa_turn_when_room(turn, (stoa_ref){in->ref}, in->ref);
    return err == STOA_E_FULL ? stoa_embassy_after_await(turn, AGAIN_NS, *in, NULL) : err;
}

static stoa_err stoa_embassy_on_roomy(stoa_turn *turn, stoa_embassy *self, const stoa_embassy_roomy *in)
{
    stoa_err err = stoa_embassy_send_roomy(turn, self->port, *in);
    return err == STOA_E_FULL ? stoa_embassy_after_roomy(turn, AGAIN_NS, *in, NULL) : err;
}

static stoa_err stoa_embassy_on_stoa_system_room(stoa_turn *turn, stoa_embassy *self, const stoa_system_room *in)
{
    if (in->error == STOA_E_FULL) { return stoa_embassy_after_await(turn, AGAIN_NS, (stoa_embassy_await){.ref = in->token}, NULL); }
    return stoa_embassy_on_roomy(turn, self, &(stoa_embassy_roomy){.ref = in->token});
}
