/* isolate_fuzz.c - goal: whatever a child writes into its ring, its node takes it apart or says why it ends. Method: one node
 * whose actor holds the state of a proxy with turns under way and obeys the frames that the input is cut into, as if a child had
 * written them; an input is then also read as the ring itself.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "runtime/isolate/proxy.h"
#include "runtime/stoa.h"
#include "transport/shm/ring.h"

#define stand_try_FIELDS(F, S)   F(S, uint64_t, n)
#define stand_tried_FIELDS(F, S) F(S, uint64_t, n) F(S, stoa_text30, text)
#define stand_cast_FIELDS(F, S)  F(S, uint64_t, n) F(S, stoa_text62, text) F(S, stoa_decimal, price)
#define stand_ROWS(ROW, K)                     \
    ROW(K, COMMAND, try, tried, "Obey.")       \
    ROW(K, REPLY, tried, _, "Done.")           \
    ROW(K, CAST, cast, _, "What is sent.")
STOA_TABLE_HERE(stand)
typedef struct stand {
    stoa_isolated proxy;
} stand;
#define stand_HEARS(HEAR, K)                                                                                           \
    HEAR(K, stoa_isolate_self, tick) HEAR(K, stand, tried) HEAR(K, stoa_system, down) HEAR(K, stoa_system, refused)      \
    HEAR(K, stoa_system, room)
STOA_PLAIN_KIND(stand, .mailbox_limit = 64)

static const uint8_t *input;
static size_t input_bytes;
static stoa_node *node;
static stoa_ref ref;
static uint8_t ring[2 * STOA_SHM_RING_MIN]; /* as if mapped twice */

static stoa_err stand_on_cast(stoa_turn *turn, stand *self, const stand_cast *in)
{
    (void)turn, (void)self;
    return in->text.len <= sizeof in->text.at ? STOA_OK : STOA_E_INVALID;
}
static stoa_err stand_on_stand_tried(stoa_turn *turn, stand *self, const stand_tried *in)
{
    (void)turn, (void)self, (void)in;
    return STOA_OK;
}
static stoa_err stand_on_stoa_system_down(stoa_turn *turn, stand *self, const stoa_system_down *in)
{
    (void)turn, (void)self, (void)in;
    return STOA_OK;
}
static stoa_err stand_on_stoa_system_refused(stoa_turn *turn, stand *self, const stoa_system_refused *in)
{
    (void)turn, (void)self, (void)in;
    return STOA_OK;
}
static stoa_err stand_on_stoa_system_room(stoa_turn *turn, stand *self, const stoa_system_room *in)
{
    (void)turn, (void)self, (void)in;
    return STOA_OK;
}
static stoa_err stand_on_stoa_isolate_self_tick(stoa_turn *turn, stand *self, const stoa_isolate_self_tick *in)
{
    (void)turn, (void)in;
    self->proxy.tick = (stoa_timer){0};
    return STOA_OK;
}

/* The state of a proxy whose child has `turns` turns under way; its ring is nobody's. */
static void reset(stoa_isolated *proxy, stoa_ref self)
{
    memset(proxy, 0, sizeof *proxy);
    proxy->pipe.socket = -1;
    proxy->sent = 3;
    proxy->turns[1].row = &stand_rows[stand_ROW_try];
    proxy->known[0] = self.at;
    proxy->known_count = 1;
    proxy->hears_count = proxy->tells_count = 1;
    proxy->hears[0][0] = proxy->tells[0][0] = '>';
}

/* Frames of [size, size, bytes]; where a frame asks for the actor itself by ref 1, it is meant. */
static stoa_err stand_on_try(stoa_turn *turn, stand *self, const stand_try *in, stand_tried *out)
{
    static uint8_t frame[STOA_ISOLATE_FRAME_MAX];
    if (in->n == 0) { return STOA_OK; } /* from the fuzzer's input as a message */
    stoa_timer tick = self->proxy.tick;
    reset(&self->proxy, turn->self);
    self->proxy.tick = tick;
    const char *why = NULL;
    for (size_t at = 0; at + 2 <= input_bytes && !why;) {
        size_t size = (size_t)input[at] << 8 | input[at + 1];
        at += 2;
        if (size > input_bytes - at) { size = input_bytes - at; }
        if (size > sizeof frame) { size = sizeof frame; }
        memcpy(frame, input + at, size);
        at += size;
        stoa_isolate_head head;
        if (size >= sizeof head) {
            memcpy(&head, frame, sizeof head);
            if (head.ref == 1) { head.ref = turn->self.at; }
            memcpy(frame, &head, sizeof head);
        }
        self->proxy.pipe.writer = (stoa_shm_writer){0}; /* what it is told finds no room */
        static const stoa_shm_face nobody;
        self->proxy.pipe.writer.reader = &nobody;
        why = stoa_isolate_obey(turn, &self->proxy, frame, (uint32_t)size);
    }
    out->n = why != NULL;
    return STOA_OK;
}

static void read_ring(const uint8_t *data, size_t size)
{
    static stoa_shm_face face;
    static uint8_t frame[STOA_ISOLATE_FRAME_MAX];
    memset(ring, 0, sizeof ring);
    memcpy(ring, data, size < STOA_SHM_RING_MIN ? size : STOA_SHM_RING_MIN);
    memcpy(ring + STOA_SHM_RING_MIN, ring, STOA_SHM_RING_MIN);
    stoa_shm_reader reader = {.ring = ring, .mask = STOA_SHM_RING_MIN - 1, .face = &face, .frame_limit = STOA_ISOLATE_FRAME_MAX};
    stoa_isolate_pipe pipe = {.reader = reader, .other.face = &face, .socket = -1};
    uint32_t size_bytes = 1, payload_bytes;
    const uint8_t *payload;
    stoa_isolate_head head;
    for (int i = 0; i < 4096 && size_bytes && !stoa_isolate_pipe_read(&pipe, frame, &size_bytes); i++) {
        stand_cast cast;
        if (stoa_isolate_frame_read(frame, size_bytes, &head, &payload, &payload_bytes)) { continue; }
        (void)stoa_isolate_payload_read(&stand_rows[stand_ROW_cast].payload, payload, payload_bytes, &cast);
    }
}

int LLVMFuzzerInitialize(int *count, char ***args);
int LLVMFuzzerInitialize(int *count, char ***args)
{
    (void)count, (void)args;
    if (stoa_node_open(&(stoa_options){.cores = 1}, &node)) { abort(); }
    if (stoa_spawn(node, &stand_kind, "stand/s", NULL, &ref)) { abort(); }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    stand_tried tried;
    input = data;
    input_bytes = size;
    if (stand_call_try(node, ref, (stand_try){1}, STOA_S(60), &tried)) { abort(); }
    read_ring(data, size);
    return 0;
}
