/* watch.c - watching descriptors. See watch.h and stoa_turn_watch.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "runtime/internal.h"
#include "runtime/system.h"

enum { LOOK_MAX = 64 };

/* --- entries */

static stoa_err watches_init(stoa_watches *watches)
{
    if (watches->at) { return STOA_OK; }
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) { return STOA_FAIL(STOA_E_IO, "epoll: %s", strerror(errno)); }
    stoa_watched *at = calloc(STOA_WATCHES_MAX + 1, sizeof *at);
    if (!at) {
        (void)close(epoll);
        return STOA_FAIL(STOA_E_NOMEM, "watches");
    }
    *watches = (stoa_watches){.at = at, .used = 1, .epoll = epoll};
    return STOA_OK;
}

void stoa_watches_deinit(stoa_watches *watches)
{
    if (!watches->at) { return; }
    free(watches->at);
    (void)close(watches->epoll);
    memset(watches, 0, sizeof *watches);
}

static uint32_t find(const stoa_watches *watches, const stoa_actor_more *more, int fd)
{
    uint32_t index = more ? more->watches : 0;
    while (index && watches->at[index].fd != fd) { index = watches->at[index].next; }
    return index;
}

static uint32_t entry_new(stoa_core *core, stoa_actor_more *more, int fd)
{
    stoa_watches *watches = &core->watches;
    uint32_t index = watches->free;
    if (!index && watches->used > STOA_WATCHES_MAX) { return 0; }
    if (index) {
        watches->free = watches->at[index].next;
    } else {
        index = watches->used++;
    }
    watches->at[index] = (stoa_watched){.fd = fd, .next = more->watches};
    more->watches = index;
    watches->count++;
    return index;
}

static void entry_free(stoa_core *core, stoa_actor_more *more, uint32_t index)
{
    stoa_watches *watches = &core->watches;
    bool armed = watches->at[index].interest != 0;
    uint32_t *at = &more->watches;
    while (*at != index) { at = &watches->at[*at].next; }
    *at = watches->at[index].next;
    if (armed) { (void)epoll_ctl(watches->epoll, EPOLL_CTL_DEL, watches->at[index].fd, NULL); } /* closed: out already */
    watches->at[index].next = watches->free;
    watches->free = index;
    watches->count--;
}

/* Arm the entry with its interest. fresh: it was not watched before by its actor. Errors: INVALID (no descriptor, or one that
 * cannot be watched), EXISTS (another actor watches it). */
static stoa_err arm(stoa_watches *watches, uint32_t index, bool fresh)
{
    const stoa_watched *watch = &watches->at[index];
    struct epoll_event event = {.events = watch->interest | EPOLLONESHOT, .data.u32 = index};
    if (!fresh && epoll_ctl(watches->epoll, EPOLL_CTL_MOD, watch->fd, &event) == 0) { return STOA_OK; }
    if (epoll_ctl(watches->epoll, EPOLL_CTL_ADD, watch->fd, &event) == 0) { return STOA_OK; } /* or closed and open again */
    if (errno == EEXIST) { return STOA_FAIL(STOA_E_EXISTS, "descriptor %d is watched by another actor", watch->fd); }
    return STOA_FAIL(STOA_E_INVALID, "descriptor %d cannot be watched: %s", watch->fd, strerror(errno));
}

/* --- what a turn asks for: done at once, and undone where the turn is refused */

typedef struct change {
    stoa_act act;
    stoa_ref who;
    int fd;
    uint32_t interest; /* before, 0: it was not watched */
    uint64_t token;
} change;

static change *change_of(stoa_msg *msg)
{
    return stoa_msg_body(msg);
}

static void done(stoa_core *core, stoa_msg *msg)
{
    stoa_place_free(&core->place, msg);
}

static void remove_watch(stoa_core *core, stoa_msg *msg)
{
    stoa_actor *actor = stoa_core_actor(core, change_of(msg)->who);
    uint32_t index = actor ? find(&core->watches, actor->more, change_of(msg)->fd) : 0;
    if (index) { entry_free(core, actor->more, index); }
    stoa_place_free(&core->place, msg);
}

static void undo(stoa_core *core, stoa_msg *msg)
{
    const change *c = change_of(msg);
    stoa_actor *actor = stoa_core_actor(core, c->who);
    uint32_t index = actor ? find(&core->watches, actor->more, c->fd) : 0;
    if (index && !c->interest) {
        entry_free(core, actor->more, index);
    } else if (index) {
        core->watches.at[index].interest = c->interest;
        core->watches.at[index].token = c->token;
        (void)arm(&core->watches, index, false);
    }
    stoa_place_free(&core->place, msg);
}

static stoa_msg *change_new(stoa_turning *t, int fd, stoa_act act)
{
    stoa_msg *msg = stoa_slab_new(&t->core->place.slab, sizeof(change), STOA_MSG_ACT);
    if (!msg) { return NULL; }
    msg->to = STOA_REF_NONE;
    msg->from = t->turn.self;
    msg->row = NULL;
    *change_of(msg) = (change){.act = act, .who = t->turn.self, .fd = fd};
    return msg;
}

static stoa_err may_watch(const stoa_turning *t, unsigned events)
{
    bool known = events && !(events & ~(unsigned)(STOA_READABLE | STOA_WRITABLE));
    if (!known) { return STOA_FAIL(STOA_E_INVALID, "nothing to watch for"); }
    if (t->core->place.node->options.sim || t->actor->shard) { return STOA_E_UNSUPPORTED; }
    return stoa_kind_hears(t->actor->kind, &stoa_system_rows[stoa_system_ROW_ready]) ? STOA_OK : STOA_E_NO_HANDLER;
}

stoa_err stoa_turn_watch(stoa_turn *turn, int fd, unsigned events, uint64_t token)
{
    stoa_turning *t = (stoa_turning *)turn;
    stoa_watches *watches = &t->core->watches;
    stoa_err err = may_watch(t, events);
    if (!err) { err = watches_init(watches); }
    if (err) { return err; }
    stoa_actor_more *more = stoa_more(t->core, t->actor);
    stoa_msg *msg = more ? change_new(t, fd, (stoa_act){.run = done, .undo = undo}) : NULL;
    uint32_t index = msg ? find(watches, more, fd) : 0;
    bool fresh = msg && !index;
    if (fresh) { index = entry_new(t->core, more, fd); }
    if (!index) {
        if (msg) { stoa_place_free(&t->core->place, msg); }
        return STOA_E_FULL;
    }
    stoa_watched *watch = &watches->at[index], before = *watch;
    change_of(msg)->interest = before.interest;
    change_of(msg)->token = before.token;
    watch->who = turn->self;
    watch->token = token;
    watch->interest = ((events & STOA_READABLE) ? EPOLLIN | EPOLLRDHUP : 0) | ((events & STOA_WRITABLE) ? EPOLLOUT : 0);
    err = arm(watches, index, fresh);
    if (err) {
        *watch = before;
        if (fresh) { entry_free(t->core, more, index); }
        stoa_place_free(&t->core->place, msg);
        return err;
    }
    stoa_turning_stage(t, msg);
    return STOA_OK;
}

stoa_err stoa_turn_unwatch(stoa_turn *turn, int fd)
{
    stoa_turning *t = (stoa_turning *)turn;
    if (!find(&t->core->watches, t->actor->more, fd)) { return STOA_OK; }
    stoa_msg *msg = change_new(t, fd, (stoa_act){.run = remove_watch});
    if (!msg) { return STOA_E_FULL; }
    stoa_turning_stage(t, msg);
    return STOA_OK;
}

/* --- telling */

static bool tell(stoa_core *core, uint32_t index, uint32_t seen)
{
    const stoa_watched *watch = &core->watches.at[index];
    stoa_msg *msg = stoa_slab_new(&core->place.slab, sizeof(stoa_system_ready), STOA_MSG_FIRED);
    if (!msg) {
        (void)arm(&core->watches, index, false); /* it is ready still at the next look */
        return false;
    }
    uint32_t events = ((seen & (EPOLLIN | EPOLLRDHUP)) ? STOA_READABLE : 0) | ((seen & EPOLLOUT) ? STOA_WRITABLE : 0) |
                      ((seen & (EPOLLERR | EPOLLHUP)) ? STOA_HANGUP : 0);
    msg->to = watch->who;
    msg->from = STOA_REF_NONE;
    msg->row = &stoa_system_rows[stoa_system_ROW_ready];
    stoa_system_ready ready = {.token = watch->token, .fd = watch->fd, .events = events};
    memcpy(stoa_msg_body(msg), &ready, sizeof ready);
    stoa_core_take(core, msg);
    return true;
}

uint32_t stoa_watches_look(stoa_core *core)
{
    struct epoll_event events[LOOK_MAX];
    uint32_t told = 0;
    core->watches.looked_ns = core->now_ns;
    int count = epoll_wait(core->watches.epoll, events, LOOK_MAX, 0);
    for (int i = 0; i < count; i++) { told += tell(core, events[i].data.u32, events[i].events); }
    return told;
}

void stoa_watches_release(stoa_core *core, stoa_actor *actor)
{
    while (actor->more && actor->more->watches) { entry_free(core, actor->more, actor->more->watches); }
}
