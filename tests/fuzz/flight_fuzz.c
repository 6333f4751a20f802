/* flight_fuzz.c - any bytes as a flight recorder's file: nothing is read outside them, what is told is in order and
 * terminated, and the document is JSON. Method: the input as it is; and a file around it whose head and checks are
 * sound, so that what lies behind them is reached.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "admin/flight.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes);

typedef struct seen {
    uint64_t count, time_ns;
} seen;

static void check_text(const char *text, size_t max)
{
    STOA_ASSERT(strnlen(text, max + 1) <= max);
}

static void visit(void *context, const stoa_flight_event *event)
{
    seen *s = context;
    STOA_ASSERT(event->time_ns >= s->time_ns && event->seq);
    STOA_ASSERT(event->frame_count <= STOA_FLIGHT_FRAMES_MAX && event->code != STOA_FLIGHT_FRAME);
    check_text(event->text, STOA_FLIGHT_WORD);
    check_text(event->name, STOA_FLIGHT_TEXT);
    check_text(event->message, STOA_FLIGHT_TEXT);
    check_text(event->actor_name, STOA_FLIGHT_ACTOR_TEXT);
    check_text(event->b_label, STOA_FLIGHT_WORD);
    for (uint32_t i = 0; i < event->frame_count; i++) {
        check_text(event->frames[i].in, STOA_FLIGHT_TEXT);
    }
    s->time_ns = event->time_ns;
    s->count++;
}

static void try_document(const void *bytes, size_t size_bytes, const stoa_flight_query *query)
{
    static stoa_json_parser *parser;
    stoa_buf document = STOA_BUF_GROWING, view = STOA_BUF_GROWING;
    stoa_json root;
    if (!parser) { STOA_ASSERT(stoa_json_parser_new(16 << 20, &parser) == STOA_OK); }
    STOA_ASSERT(stoa_flight_document("fuzz", bytes, size_bytes, query, &document, &view) == STOA_OK);
    STOA_ASSERT(stoa_json_parse(parser, document.at, document.used_bytes, &root) == STOA_OK);
    stoa_buf_deinit(&document);
    stoa_buf_deinit(&view);
}

static void try_file(const void *bytes, size_t size_bytes, const stoa_flight_query *query)
{
    stoa_flight_summary summary;
    seen s = {0};
    if (stoa_flight_read(bytes, size_bytes, query, &summary, visit, &s)) { return; }
    STOA_ASSERT(s.count <= summary.records && (!query->last || s.count <= query->last));
    try_document(bytes, size_bytes, query);
}

/* Make each record that the input asks for pass its check: bit 0 of its last byte; bit 1: where it lies too. */
static void mend(char *file, const stoa_flight_head *head)
{
    for (uint32_t lane = 0; lane < head->lanes; lane++) {
        char *at = file + head->lanes_at + lane * head->lane_bytes;
        for (uint32_t i = 0; i < head->names; i++, at += sizeof(stoa_flight_name)) {
            stoa_flight_name *name = (stoa_flight_name *)(void *)at;
            if (name->check & 1) { name->check = stoa_crc32c(0, name->text, sizeof name->text); }
        }
        for (uint32_t i = 0; i < head->actors; i++, at += sizeof(stoa_flight_actor)) {
            stoa_flight_actor *actor = (stoa_flight_actor *)(void *)at;
            if (actor->check & 1) { actor->check = stoa_crc32c(0, actor, offsetof(stoa_flight_actor, check)); }
        }
        for (uint32_t i = 0; i < head->rings * head->records; i++, at += sizeof(stoa_flight_record)) {
            stoa_flight_record *record = (stoa_flight_record *)(void *)at;
            bool sound = record->check & 1, placed = record->check & 2;
            if (placed) { record->seq = record->seq / head->records * head->records + i % head->records + 1; }
            if (sound) { record->check = stoa_flight_check(record); }
        }
    }
}

static void try_inside(const uint8_t *bytes, size_t size_bytes, const stoa_flight_query *query)
{
    if (size_bytes < 8) { return; }
    stoa_flight_head head = {.magic = STOA_FLIGHT_MAGIC,
                             .version = STOA_FLIGHT_VERSION,
                             .head_bytes = sizeof head,
                             .lanes = 1 + bytes[0] % 3,
                             .rings = STOA_FLIGHT_RINGS,
                             .records = 1 + bytes[1] % 9,
                             .names = 1 + bytes[2] % 3,
                             .actors = 1 + bytes[3] % 3,
                             .classes = bytes[4] % 4};
    head.lanes_at = stoa_flight_lanes_at(head.classes);
    head.lane_bytes = stoa_flight_lane_bytes(&head);
    head.file_bytes = head.lanes_at + head.lanes * head.lane_bytes;
    char *file = calloc(1, head.file_bytes);
    STOA_ASSERT(file);
    size_t classes = head.classes * sizeof(stoa_flight_class), rest = size_bytes - 8;
    size_t first = rest < classes ? rest : classes, room = head.file_bytes - head.lanes_at;
    memcpy(file, &head, sizeof head);
    memcpy(file + sizeof head, bytes + 8, first);
    memcpy(file + head.lanes_at, bytes + 8 + first, rest - first < room ? rest - first : room);
    mend(file, &head);
    head.check = stoa_flight_head_check(file, head.classes);
    memcpy(file, &head, sizeof head);
    seen s = {0};
    stoa_flight_summary summary;
    STOA_ASSERT(stoa_flight_read(file, head.file_bytes, query, &summary, visit, &s) == STOA_OK);
    try_file(file, head.file_bytes, query);
    STOA_ASSERT(stoa_flight_read(file, head.file_bytes - 1, query, &summary, visit, &s) == STOA_E_CORRUPT);
    free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
    stoa_flight_query all = {0},
                      some = {.one_core = true, .core = size_bytes ? bytes[size_bytes - 1] % 4u : 0, .last = 3};
    try_file(bytes, size_bytes, &all);
    try_inside(bytes, size_bytes, &all);
    try_inside(bytes, size_bytes, &some);
    return 0;
}
