/* host/turn.c - the turn as a handler in a child sees it: the functions of actor.h, for one actor.
 *
 * What a handler sends is put aside as frames and written when it has returned OK. What an isolate cannot do is UNSUPPORTED.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/isolate/host/host.h"

stoa_host stoa_the_host;
#define host (&stoa_the_host)

/* --- staging */

void stoa_host_begin(const stoa_isolate_head *head, const char *topic)
{
    host->turn = (stoa_turn){.now_ns = head->ns,
                             .wall_ns = head->wall_ns,
                             .self = host->turn.self,
                             .from = {head->ref},
                             .token = head->token,
                             .error = (stoa_err)head->error,
                             .command = head->command};
    host->now_ns = head->ns;
    host->turn_number = head->turn;
    host->later = host->exits = host->exits_failed = false;
    host->kept = 0;
    host->reply = NULL;
    host->failed = NULL;
    host->refused = STOA_OK;
    (void)snprintf(host->topic, sizeof host->topic, "%s", topic);
    host->staged_bytes = host->staged_count = host->cancelled_count = host->demonitored_count = host->asked = 0;
    host->timers_before = host->timers_made;
    host->monitors_before = host->monitors_made;
    memcpy(host->bound_before, host->bound, sizeof host->bound);
}

void stoa_host_write(const void *bytes, uint32_t size_bytes)
{
    stoa_err err;
    while ((err = stoa_isolate_pipe_write(&host->pipe, bytes, size_bytes)) == STOA_E_FULL) {
        stoa_isolate_pipe_wish(&host->pipe);
        stoa_isolate_pipe_wake(&host->pipe);
        struct pollfd wait = {.fd = STOA_ISOLATE_FD, .events = POLLIN};
        if (poll(&wait, 1, 100) < 0 || (wait.revents & (POLLHUP | POLLERR))) { _exit(STOA_ISOLATE_NOT_HEARD); }
        stoa_shm_note note;
        int memory = -1;
        (void)stoa_shm_socket_hear(STOA_ISOLATE_FD, &note, &memory);
    }
    if (err) { _exit(STOA_ISOLATE_NOT_HEARD); }
}

stoa_err stoa_host_stage(stoa_isolate_head *head, const char *text, const stoa_row *row, const void *payload)
{
    uint8_t *at = host->staged + host->staged_bytes;
    if (host->staged_count == host->given.sends ||
        host->staged_bytes + STOA_ISOLATE_FRAME_MAX + sizeof(uint32_t) > STOA_HOST_STAGED_BYTES) {
        return STOA_E_FULL;
    }
    head->turn = host->turn_number;
    uint32_t bytes = stoa_isolate_frame_write(at + sizeof bytes, head, text, row, payload);
    if (!bytes) { return STOA_E_TOO_LARGE; }
    memcpy(at, &bytes, sizeof bytes);
    host->staged_bytes += (uint32_t)sizeof bytes + bytes;
    host->staged_count++;
    return STOA_OK;
}

static void write_staged(void)
{
    for (uint32_t at = 0, bytes; at < host->staged_bytes; at += (uint32_t)sizeof bytes + bytes) {
        memcpy(&bytes, host->staged + at, sizeof bytes);
        stoa_host_write(host->staged + at + sizeof bytes, bytes);
    }
}

static void timer_free(stoa_host_timer *timer)
{
    free(timer->payload);
    *timer = (stoa_host_timer){0};
}

static void forget_timer(uint64_t id)
{
    for (int i = 0; i < STOA_ISOLATE_TIMERS; i++) {
        if (host->timers[i].id == id) { timer_free(&host->timers[i]); }
    }
}

static void settle_timers(bool ok)
{
    for (int i = 0; i < STOA_ISOLATE_TIMERS && !ok; i++) {
        if (host->timers[i].id > host->timers_before) { timer_free(&host->timers[i]); }
    }
    for (uint32_t i = 0; i < host->cancelled_count && ok; i++) { forget_timer(host->cancelled[i]); }
}

static void say(uint32_t word, stoa_err error)
{
    stoa_isolate_head head = {.word = word, .turn = host->turn_number, .error = (int32_t)error};
    if (word == STOA_ISOLATE_KEPT) { head.token = host->kept; }
    stoa_host_write(&head, sizeof head);
}

static void say_failed(void)
{
    uint8_t bytes[sizeof(stoa_isolate_head) + 64];
    stoa_isolate_head head = {.word = STOA_ISOLATE_FAILED, .turn = host->turn_number};
    size_t text_bytes = strnlen(host->failed, 63);
    memcpy(bytes, &head, sizeof head);
    memcpy(bytes + sizeof head, host->failed, text_bytes);
    stoa_host_write(bytes, (uint32_t)(sizeof head + text_bytes));
}

void stoa_host_settle(stoa_err error)
{
    static uint8_t frame[STOA_ISOLATE_FRAME_MAX];
    settle_timers(!error && !host->failed);
    stoa_host_settle_ties(!error && !host->failed);
    if (host->failed) {
        say_failed();
        return;
    }
    if (error) {
        say(STOA_ISOLATE_DONE, error);
        return;
    }
    write_staged();
    host->asks += host->asked;
    stoa_host_arm();
    if (host->exits) { say(STOA_ISOLATE_EXIT, host->exits_failed ? STOA_E_FAILED : STOA_OK); }
    if (host->refused || host->kept) {
        say(host->refused ? STOA_ISOLATE_DONE : STOA_ISOLATE_KEPT, host->refused);
        return;
    }
    stoa_isolate_head head = {.word = STOA_ISOLATE_DONE, .turn = host->turn_number};
    uint32_t bytes = stoa_isolate_frame_write(frame, &head, NULL, host->reply, host->answer);
    if (bytes) {
        stoa_host_write(frame, bytes);
    } else {
        say(STOA_ISOLATE_DONE, STOA_E_TOO_LARGE);
    }
}

/* --- sending */

static bool may_send_to(stoa_ref to)
{
    bool may = to.at && to.at == host->turn.self.at;
    for (uint32_t i = 0; i < host->known_count && !may; i++) { may = host->known[i] == to.at; }
    for (uint32_t i = 0; i < host->given.peer_count && !may; i++) { may = host->given.peers[i].ref == to.at; }
    return may && to.at;
}

void stoa_host_has_peer(uint32_t peer, uint64_t ref)
{
    uint64_t was = host->given.peers[peer].ref;
    if (was) { host->known_count = stoa_isolate_know(host->known, host->known_count, STOA_ISOLATE_KNOWN, was); }
    if (was && !ref) { host->ended[peer] = was; }
    host->given.peers[peer].ref = ref;
}

stoa_err stoa_host_may_reach(stoa_ref to)
{
    for (uint32_t i = 0; i < host->given.peer_count && to.at; i++) {
        if (host->ended[i] == to.at) { return STOA_E_CLOSED; }
    }
    if (may_send_to(to)) { return STOA_OK; }
    return to.at ? STOA_E_DENIED : STOA_E_CLOSED;
}

stoa_err stoa_turn_send(stoa_turn *turn, stoa_ref to, const stoa_row *row, const void *payload)
{
    (void)turn;
    stoa_err err = stoa_host_may_reach(to);
    return err ? err : stoa_host_stage(&(stoa_isolate_head){.word = STOA_ISOLATE_SEND, .ref = to.at}, NULL, row, payload);
}

stoa_err stoa_turn_send_within(stoa_turn *turn, stoa_ref to, const stoa_row *row, const void *payload, uint64_t within_ns)
{
    (void)turn;
    stoa_err err = stoa_host_may_reach(to);
    stoa_isolate_head head = {.word = STOA_ISOLATE_SEND, .ref = to.at, .ns = within_ns ? within_ns : 1};
    return err ? err : stoa_host_stage(&head, NULL, row, payload);
}

stoa_err stoa_turn_ask(stoa_turn *turn, stoa_ref to, const stoa_row *row, const void *payload, uint64_t deadline_ns, uint64_t token)
{
    (void)turn;
    if (!row->reply) { return STOA_E_INVALID; }
    stoa_err err = stoa_host_may_reach(to);
    if (!err && host->asks + host->asked >= STOA_ISOLATE_ASKS) { err = STOA_E_FULL; }
    stoa_isolate_head head = {.word = STOA_ISOLATE_ASK, .ref = to.at, .ns = deadline_ns, .token = token};
    if (!err) { err = stoa_host_stage(&head, NULL, row, payload); }
    host->asked += !err;
    return err;
}

stoa_err stoa_turn_answer(stoa_turn *turn, const stoa_row *row, const void *payload)
{
    (void)turn;
    if (!host->reply) { return STOA_OK; }
    if (row != host->reply) { return STOA_E_INVALID; }
    memcpy(host->answer, payload, row->payload.size_bytes);
    return STOA_OK;
}

stoa_err stoa_turn_refuse(stoa_turn *turn, stoa_err why)
{
    (void)turn;
    host->refused = host->reply ? why : STOA_OK;
    return STOA_OK;
}

void stoa_turn_no_answer(stoa_turn *turn)
{
    (void)turn;
    host->later = true;
}

void stoa_turn_keep(stoa_turn *turn, stoa_asker *out)
{
    *out = (stoa_asker){0};
    if (!host->reply) { return; } /* nobody asked */
    if (!host->kept) { host->kept = ++host->keeps_made; }
    *out = (stoa_asker){.who = turn->self, .ask = host->kept, .command = host->reply->id};
}

stoa_err stoa_turn_answer_kept(stoa_turn *turn, const stoa_asker *asker, const stoa_row *row, const void *payload, stoa_err error)
{
    (void)turn;
    stoa_isolate_head head = {.word = STOA_ISOLATE_ANSWER, .token = asker->ask, .error = (int32_t)error};
    if (!asker->who.at) { return STOA_OK; }
    if (error) { return stoa_host_stage(&head, NULL, NULL, NULL); }
    return row->id == asker->command ? stoa_host_stage(&head, NULL, row, payload) : STOA_E_INVALID;
}

/* --- time */

static stoa_err timer_new(uint64_t delay_ns, uint64_t period_ns, const stoa_row *row, const void *payload, stoa_timer *out)
{
    for (int i = 0; i < STOA_ISOLATE_TIMERS; i++) {
        stoa_host_timer *timer = &host->timers[i];
        if (timer->id) { continue; }
        void *copy = malloc(row->payload.size_bytes);
        memcpy(copy, payload, row->payload.size_bytes);
        uint64_t due_ns = host->now_ns + delay_ns < host->now_ns ? UINT64_MAX : host->now_ns + delay_ns;
        *timer = (stoa_host_timer){.id = ++host->timers_made, .due_ns = due_ns, .period_ns = period_ns, .row = row, .payload = copy};
        if (out) { out->at = timer->id; }
        return STOA_OK;
    }
    return STOA_E_FULL;
}

stoa_err stoa_turn_after(stoa_turn *turn, uint64_t delay_ns, const stoa_row *row, const void *payload, stoa_timer *timer_out)
{
    (void)turn;
    return timer_new(delay_ns, 0, row, payload, timer_out);
}

stoa_err stoa_turn_every(stoa_turn *turn, uint64_t period_ns, const stoa_row *row, const void *payload, stoa_timer *timer_out)
{
    (void)turn;
    return period_ns ? timer_new(period_ns, period_ns, row, payload, timer_out) : STOA_E_INVALID;
}

void stoa_turn_cancel(stoa_turn *turn, stoa_timer timer)
{
    (void)turn;
    if (!timer.at) { return; }
    if (timer.at > host->timers_before) {
        forget_timer(timer.at);
    } else if (host->cancelled_count < STOA_ISOLATE_TIMERS) {
        host->cancelled[host->cancelled_count++] = timer.at;
    }
}

void stoa_host_arm(void)
{
    uint64_t next_ns = UINT64_MAX;
    for (int i = 0; i < STOA_ISOLATE_TIMERS; i++) {
        if (host->timers[i].id && host->timers[i].due_ns < next_ns) { next_ns = host->timers[i].due_ns; }
    }
    if (next_ns == UINT64_MAX || (host->woken_ns && host->woken_ns <= next_ns)) { return; }
    host->woken_ns = next_ns;
    uint64_t delay_ns = next_ns > host->now_ns ? next_ns - host->now_ns : 1;
    stoa_isolate_head head = {.word = STOA_ISOLATE_WAKE, .turn = host->turn_number, .ns = delay_ns};
    stoa_host_write(&head, sizeof head);
}

/* --- what is at hand */

const char *stoa_turn_key(const stoa_turn *turn)
{
    (void)turn;
    return host->given.key;
}

stoa_ref stoa_turn_find(stoa_turn *turn, const char *name)
{
    (void)turn;
    for (uint32_t i = 0; i < host->given.peer_count; i++) {
        if (strcmp(host->given.peers[i].name, name) == 0) { return (stoa_ref){host->given.peers[i].ref}; }
    }
    return STOA_REF_NONE;
}

uint64_t stoa_turn_random(stoa_turn *turn)
{
    (void)turn;
    host->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 (Steele, Lea, Flood: Fast splittable generators, 2014) */
    uint64_t z = host->random;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

const char *stoa_turn_topic(const stoa_turn *turn)
{
    (void)turn;
    return host->topic;
}

void *stoa_turn_alloc(stoa_turn *turn, size_t bytes)
{
    (void)turn;
    return bytes <= STOA_ALLOC_MAX ? calloc(1, bytes ? bytes : 1) : NULL;
}

void stoa_turn_free(stoa_turn *turn, void *at)
{
    (void)turn;
    free(at);
}

stoa_err stoa_fail(stoa_turn *turn, const char *reason)
{
    (void)turn;
    host->failed = reason ? reason : "";
    return STOA_E_FAILED;
}

stoa_err stoa_turn_undo(stoa_turn *turn, stoa_err why) /* nothing came before this turn */
{
    (void)turn;
    return why;
}

stoa_err stoa_turn_exit(stoa_turn *turn, const char *reason)
{
    (void)turn;
    host->exits = true;
    host->exits_failed = reason != NULL;
    return STOA_OK;
}
