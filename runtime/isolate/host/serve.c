/* host/serve.c - turns: from a frame of the node's to a handler, and the loop that looks for frames.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/isolate/host/host.h"

#define host (&stoa_the_host)
enum { SPINS = 2000 }; /* looks before it sleeps, some tens of us */

static void *decoded; /* room for the largest payload that is heard */
static uint32_t decoded_bytes;

/* --- what the kind takes */

typedef struct handled {
    const stoa_row *row;
    stoa_handler handler;
} handled;

static handled find(const stoa_isolate_head *head)
{
    const stoa_kind *kind = host->kind;
    bool own = strcmp(head->table, kind->name) == 0 && head->row < kind->rows_bytes / sizeof(stoa_row);
    if (own && kind->handlers[head->row]) { return (handled){&kind->rows[head->row], kind->handlers[head->row]}; }
    for (const stoa_hear *hear = kind->hears; hear->row; hear++) {
        if (hear->row->id == head->row && strcmp(hear->row->kind, head->table) == 0) { return (handled){hear->row, hear->handler}; }
    }
    return (handled){0};
}

static handled find_row(const stoa_row *row)
{
    stoa_isolate_head head = {.row = row->id};
    strncpy(head.table, row->kind, sizeof head.table - 1);
    return find(&head);
}

/* Rooms for what is heard and answered. */
void stoa_host_take(const stoa_kind *kind)
{
    uint32_t answer_bytes = 8;
    host->kind = kind;
    decoded_bytes = 8;
    for (size_t i = 1; i < kind->rows_bytes / sizeof(stoa_row); i++) {
        uint32_t bytes = kind->rows[i].payload.size_bytes;
        if (bytes > decoded_bytes) { decoded_bytes = bytes; }
        if (bytes > answer_bytes) { answer_bytes = bytes; }
    }
    for (const stoa_hear *hear = kind->hears; hear->row; hear++) {
        if (hear->row->payload.size_bytes > decoded_bytes) { decoded_bytes = hear->row->payload.size_bytes; }
    }
    host->answer = calloc(1, answer_bytes);
    decoded = calloc(1, decoded_bytes);
    host->state = calloc(1, kind->state_bytes ? kind->state_bytes : 1);
}

/* --- turns */

static stoa_err handle(handled what, const void *payload)
{
    if (!what.handler) { return STOA_E_NO_HANDLER; }
    host->reply = what.row->reply;
    if (host->reply) { memset(host->answer, 0, host->reply->payload.size_bytes); }
    void *room = host->answer;
    stoa_err err = what.handler(&host->turn, host->state, payload, room);
    return err || !host->later ? err : STOA_E_UNSUPPORTED;
}

static void on_start(const stoa_isolate_head *head, const uint8_t *payload, uint32_t payload_bytes)
{
    stoa_err err = STOA_OK;
    if (payload_bytes < sizeof host->given) { _exit(STOA_ISOLATE_NOT_HEARD); }
    memcpy(&host->given, payload, sizeof host->given);
    host->turn.self = (stoa_ref){head->ref};
    stoa_isolate_head first = *head;
    first.ref = 0;
    stoa_host_begin(&first, "");
    const void *args = payload_bytes > sizeof host->given ? payload + sizeof host->given : NULL;
    bool fits = payload_bytes - sizeof host->given == host->kind->args_bytes || !args;
    if (!fits) { err = STOA_E_INVALID; }
    if (!err && host->kind->start) { err = host->kind->start(&host->turn, host->state, args); }
    stoa_host_settle(err);
}

static void on_message(const stoa_isolate_head *head, const uint8_t *payload, uint32_t payload_bytes)
{
    char topic[STOA_NAME_MAX + 1];
    stoa_isolate_frame_text(head, payload, topic);
    stoa_host_begin(head, topic);
    if (head->ref) { host->known_count = stoa_isolate_know(host->known, host->known_count, STOA_ISOLATE_KNOWN, head->ref); }
    handled what = find(head);
    stoa_err err = what.row ? stoa_isolate_payload_read(&what.row->payload, payload, payload_bytes, decoded) : STOA_E_NO_HANDLER;
    if (what.row && what.row->cls == STOA_ROW_REPLY && host->asks) { host->asks--; }
    bool down = !err && strcmp(head->table, stoa_system_table.name) == 0 && head->row == stoa_system_ROW_down;
    if (down) { stoa_host_went_down(((const stoa_system_down *)decoded)->token); }
    stoa_host_settle(err ? err : handle(what, decoded));
}

/* The earliest timer that is due, one a turn; the next one asks for a turn of its own. */
static void on_tick(const stoa_isolate_head *head, const uint8_t *payload, uint32_t payload_bytes)
{
    stoa_host_timer *next = NULL;
    (void)payload, (void)payload_bytes;
    stoa_host_begin(head, "");
    host->turn.from = host->turn.self;
    host->woken_ns = 0;
    for (int i = 0; i < STOA_ISOLATE_TIMERS; i++) {
        stoa_host_timer *timer = &host->timers[i];
        bool due = timer->id && timer->due_ns <= head->ns;
        if (due && (!next || timer->due_ns < next->due_ns)) { next = timer; }
    }
    stoa_err err = STOA_OK;
    if (next) {
        handled what = find_row(next->row);
        memcpy(decoded, next->payload, next->row->payload.size_bytes);
        if (next->period_ns) {
            uint64_t late = (head->ns - next->due_ns) / next->period_ns;
            next->due_ns += (late + 1) * next->period_ns;
        } else {
            free(next->payload);
            *next = (stoa_host_timer){0};
        }
        err = handle(what, decoded);
        host->reply = NULL;
    }
    if (err) { stoa_host_arm(); }
    stoa_host_settle(err);
}

static void on_peer(const stoa_isolate_head *head, const uint8_t *payload, uint32_t payload_bytes)
{
    (void)payload, (void)payload_bytes;
    if (head->row >= host->given.peer_count) { _exit(STOA_ISOLATE_NOT_HEARD); }
    stoa_host_begin(head, "");
    stoa_host_has_peer(head->row, head->ref);
    stoa_host_settle(STOA_OK);
}

static void on_describe(const stoa_isolate_head *head, const uint8_t *payload, uint32_t payload_bytes)
{
    (void)payload, (void)payload_bytes;
    stoa_host_begin(head, "");
    stoa_host_describe(head);
    stoa_host_settle(STOA_OK);
}

void stoa_host_turn(const uint8_t *frame, uint32_t size_bytes)
{
    static const struct {
        uint32_t word;
        void (*run)(const stoa_isolate_head *head, const uint8_t *payload, uint32_t payload_bytes);
    } words[] = {{STOA_ISOLATE_START, on_start}, {STOA_ISOLATE_MESSAGE, on_message}, {STOA_ISOLATE_TICK, on_tick},
                 {STOA_ISOLATE_DESCRIBE, on_describe}, {STOA_ISOLATE_PEER, on_peer}};
    stoa_isolate_head head;
    const uint8_t *payload;
    uint32_t payload_bytes;
    if (stoa_isolate_frame_read(frame, size_bytes, &head, &payload, &payload_bytes)) { _exit(STOA_ISOLATE_NOT_HEARD); }
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (words[i].word == head.word) {
            words[i].run(&head, payload, payload_bytes);
            return;
        }
    }
    _exit(STOA_ISOLATE_NOT_HEARD);
}

/* --- the loop */

void stoa_host_wait(void)
{
    struct pollfd on = {.fd = STOA_ISOLATE_FD, .events = POLLIN};
    stoa_shm_note note;
    int memory = -1;
    (void)poll(&on, 1, -1);
    stoa_shm_heard heard = stoa_shm_socket_hear(STOA_ISOLATE_FD, &note, &memory);
    if (heard == STOA_SHM_GONE || heard == STOA_SHM_NOISE) { _exit(STOA_ISOLATE_NOT_HEARD); }
    if (heard == STOA_SHM_NOTE && stoa_isolate_pipe_meet(&host->pipe, &note, STOA_SHM_HELLO, memory)) { _exit(STOA_ISOLATE_NOT_HEARD); }
    if (memory >= 0) { (void)close(memory); }
}

void stoa_host_serve(void)
{
    static uint8_t frame[STOA_ISOLATE_FRAME_MAX];
    uint32_t size_bytes, quiet = 0;
    for (;;) {
        if (stoa_isolate_pipe_read(&host->pipe, frame, &size_bytes)) { _exit(STOA_ISOLATE_NOT_HEARD); }
        if (size_bytes) {
            stoa_host_turn(frame, size_bytes);
            stoa_isolate_pipe_wake(&host->pipe);
            quiet = 0;
        } else if (++quiet > SPINS && stoa_isolate_pipe_sleep(&host->pipe)) {
            stoa_host_wait();
            stoa_isolate_pipe_awake(&host->pipe);
            quiet = 0;
        }
    }
}
