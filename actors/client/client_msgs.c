/* client_msgs.c - the tables of actors/client/protocol.def and the codec of the frames around the payloads.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/client/client_msgs.h"

#include <string.h>

STOA_TABLE_DEFINE(client)

/* --- tables */

const stoa_protocol_target stoa_protocol_targets[] = {
#define CLIENT_TARGET(id, kind_, missing_, listen_, example_, text_)                                                   \
    {.name = #id,                                                                                                      \
     .kind = kind_,                                                                                                    \
     .example = example_,                                                                                              \
     .text = text_,                                                                                                    \
     .missing = STOA_E_##missing_,                                                                                     \
     .listen = STOA_RIGHT_##listen_},
#include "actors/client/protocol.def"
};

#define AUTHOR_AUTHOR(payload) (int32_t) offsetof(payload, author)
#define AUTHOR_PLAIN(payload)  (-1)

const stoa_protocol_op stoa_protocol_ops[] = {
#define CLIENT_OP(id, no_, name_, table, row_, target_, right_, author_)                                               \
    {.no = (no_),                                                                                                      \
     .name = name_,                                                                                                    \
     .row = &table##_rows[table##_ROW_##row_],                                                                         \
     .target = STOA_TARGET_##target_,                                                                                  \
     .right = STOA_RIGHT_##right_,                                                                                     \
     .author = AUTHOR_##author_(table##_##row_)},
#include "actors/client/protocol.def"
};

const stoa_protocol_item stoa_protocol_items[] = {
#define CLIENT_ITEM(id, no_, name_, table, row_, cls_)                                                                 \
    {.no = (no_), .name = name_, .row = &table##_rows[table##_ROW_##row_], .cls = STOA_ITEM_##cls_},
#include "actors/client/protocol.def"
};

const stoa_protocol_stream stoa_protocol_streams[] = {
#define CLIENT_STREAM(id, no_, name_, target_, topic_, snapshot_, change_, order_)                                     \
    {.no = (no_),                                                                                                      \
     .name = name_,                                                                                                    \
     .target = STOA_TARGET_##target_,                                                                                  \
     .topic = topic_,                                                                                                  \
     .snapshot = STOA_ITEM_##snapshot_,                                                                                \
     .change = STOA_ITEM_##change_,                                                                                    \
     .order = STOA_STREAM_##order_},
#include "actors/client/protocol.def"
};

const uint32_t stoa_protocol_op_count = STOA_COUNT_OF_(stoa_protocol_ops);
const uint32_t stoa_protocol_item_count = STOA_COUNT_OF_(stoa_protocol_items);
const uint32_t stoa_protocol_stream_count = STOA_COUNT_OF_(stoa_protocol_streams);

/* Few rows and in order: a walk is as fast as anything. */
#define FIND(rows, count, wanted)                                                                                      \
    for (uint32_t i = 0; i < (count); i++) {                                                                           \
        if ((rows)[i].no == (wanted)) { return &(rows)[i]; }                                                           \
    }                                                                                                                  \
    return NULL

const stoa_protocol_op *stoa_protocol_op_find(uint64_t no)
{
    FIND(stoa_protocol_ops, stoa_protocol_op_count, no);
}

const stoa_protocol_item *stoa_protocol_item_find(uint64_t no)
{
    FIND(stoa_protocol_items, stoa_protocol_item_count, no);
}

const stoa_protocol_stream *stoa_protocol_stream_find(uint64_t no)
{
    FIND(stoa_protocol_streams, stoa_protocol_stream_count, no);
}

/* --- fields */

static bool is_from_one(const void *value)
{
    return *(const uint64_t *)value != 0;
}

static bool is_above_zero(const void *value)
{
    return *(const stoa_decimal *)value > 0;
}

static bool is_prose(const void *value)
{
    return room_text_is_good(value);
}

typedef struct field_rule {
    const char *text;
    bool (*holds)(const void *value);
} field_rule;
static const field_rule must_be_FROM_ONE = {"1 or more", is_from_one}, must_be_ABOVE_ZERO = {"above 0", is_above_zero},
                        must_be_PROSE = {"1 byte or more, of UTF-8 without control characters but tab and newline", is_prose};

typedef struct field_row {
    uint32_t op;
    const stoa_row *row;
    const char *field;
    size_t offset;
    const field_rule *rule;
} field_row;
static const field_row fields[] = {
#define CLIENT_FIELD(id, table, row_, field_, rule_)                                                                   \
    {STOA_OP_##id, &table##_rows[table##_ROW_##row_], #field_, offsetof(table##_##row_, field_), &must_be_##rule_},
#include "actors/client/protocol.def"
};

static const struct {
    uint32_t op;
    stoa_err error;
    const char *text;
} refusals[] = {
#define CLIENT_REFUSAL(id, error_, text_) {STOA_OP_##id, STOA_E_##error_, text_},
#include "actors/client/protocol.def"
};

stoa_err stoa_protocol_check(const stoa_protocol_op *op, const void *payload)
{
    for (size_t i = 0; i < STOA_COUNT_OF_(fields); i++) {
        const field_row *f = &fields[i];
        if (f->op != op->no || f->rule->holds((const uint8_t *)payload + f->offset)) { continue; }
        return STOA_FAIL(STOA_E_INVALID, "%s.%s is to be %s", op->row->payload.name, f->field, f->rule->text);
    }
    return STOA_OK;
}

const char *stoa_protocol_field_rule(const stoa_row *row, const char *field)
{
    for (size_t i = 0; i < STOA_COUNT_OF_(fields); i++) {
        if (fields[i].row == row && strcmp(fields[i].field, field) == 0) { return fields[i].rule->text; }
    }
    return NULL;
}

const char *stoa_protocol_refusal(const stoa_protocol_op *op, stoa_err error)
{
    for (size_t i = 0; i < STOA_COUNT_OF_(refusals); i++) {
        if (refusals[i].op == op->no && refusals[i].error == error) { return refusals[i].text; }
    }
    return NULL;
}

/* --- sequence numbers of items */

typedef struct seqs {
    uint64_t first, last;
    bool whole;
} seqs;

static seqs order_seqs(const void *payload)
{
    const trade_account_update *update = payload;
    return (seqs){update->seq, update->seq, true};
}

static seqs orders_seqs(const void *payload)
{
    const trade_account_page *page = payload;
    return (seqs){page->seq, page->seq, !page->more};
}

static seqs book_seqs(const void *payload)
{
    const trade_book_view *view = payload;
    return (seqs){view->last_id, view->last_id, true};
}

static seqs diff_seqs(const void *payload)
{
    const market_feed_diff *diff = payload;
    return (seqs){diff->first_id, diff->last_id, !diff->more};
}

static seqs trade_seqs(const void *payload)
{
    const market_feed_trade *trade = payload;
    return (seqs){trade->trade_id, trade->trade_id, true};
}

static seqs message_seqs(const void *payload)
{
    const room_message *message = payload;
    return (seqs){message->entry.seq, message->entry.seq, true};
}

static seqs mirror_seqs(const void *payload)
{
    const market_book_state *state = payload;
    return (seqs){state->last_id, state->last_id, true};
}

static seqs top_seqs(const void *payload)
{
    const market_feed_top *top = payload;
    return (seqs){top->last_id, top->last_id, true};
}

void stoa_protocol_item_seq(uint32_t item_no, const void *payload, uint64_t *first_out, uint64_t *last_out,
                            bool *whole_out)
{
    static seqs (*const by_item[])(const void *payload) = {
        [STOA_ITEM_ORDER] = order_seqs,     [STOA_ITEM_ORDERS] = orders_seqs, [STOA_ITEM_BOOK] = book_seqs,
        [STOA_ITEM_DIFF] = diff_seqs,       [STOA_ITEM_TRADE] = trade_seqs,   [STOA_ITEM_TOP] = top_seqs,
        [STOA_ITEM_MESSAGE] = message_seqs, [STOA_ITEM_MIRROR] = mirror_seqs,
    };
    STOA_ASSERT(item_no < STOA_COUNT_OF_(by_item) && by_item[item_no]);
    seqs found = by_item[item_no](payload);
    *first_out = found.first;
    *last_out = found.last;
    *whole_out = found.whole;
}

/* --- targets */

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

bool stoa_protocol_target_valid(stoa_protocol_target_id target, const char *text, size_t size_bytes)
{
    if (target == STOA_TARGET_NONE) { return size_bytes == 0; }
    if (size_bytes == 0 || size_bytes > STOA_PROTOCOL_NAME_MAX) { return false; }
    size_t dots = 0;
    for (size_t i = 0; i < size_bytes; i++) {
        if (text[i] == '.' && i > 0 && i + 1 < size_bytes) {
            dots++;
        } else if (!is_word(text[i])) {
            return false;
        }
    }
    return dots == (target == STOA_TARGET_VENUE ? 1 : 0);
}

const char *stoa_protocol_target_text(stoa_protocol_target_id target)
{
    if (target == STOA_TARGET_NONE) { return "target: empty for this operation"; }
    if (target == STOA_TARGET_VENUE) { return "target: VENUE.SYMBOL, 3 to 30 bytes of A-Z a-z 0-9 _ - and one ."; }
    return "target: 1 to 30 bytes of A-Z a-z 0-9 _ -";
}

/* --- reading frames */

/* Steps over a frame's elements. */
typedef struct cursor {
    const stoa_token *tokens;
    uint32_t at, left; /* token of the next element, elements left */
} cursor;

static const stoa_token *next(cursor *c)
{
    if (c->left == 0) { return NULL; }
    const stoa_token *token = &c->tokens[c->at];
    c->at = token->next;
    c->left--;
    return token;
}

static bool next_uint(cursor *c, uint64_t *out)
{
    const stoa_token *token = next(c);
    if (!token || token->cls != STOA_TOKEN_UINT) { return false; }
    *out = token->as.u;
    return true;
}

static bool next_err(cursor *c, stoa_err *out)
{
    const stoa_token *token = next(c);
    if (!token || (token->cls != STOA_TOKEN_UINT && token->cls != STOA_TOKEN_INT)) { return false; }
    if (token->as.i > 0 || token->as.i < INT16_MIN) { return false; }
    *out = (stoa_err)token->as.i;
    return true;
}

static bool next_text(cursor *c, const char **text_out, uint32_t *size_out)
{
    const stoa_token *token = next(c);
    if (!token || token->cls != STOA_TOKEN_TEXT) { return false; }
    *text_out = token->as.bytes;
    *size_out = token->size;
    return true;
}

static bool next_value(cursor *c, stoa_frame_value *out)
{
    const stoa_token *token = next(c);
    if (!token) { return false; }
    *out = (stoa_frame_value){token, token->next - (uint32_t)(token - c->tokens)};
    return true;
}

/* The frame's array and its version. A frame of another version is read on, so that its id can be answered.
 */
static stoa_err open_frame(const void *bytes, size_t size_bytes, stoa_frame_tokens *tokens, cursor *out,
                           stoa_err *version_out)
{
    uint32_t count;
    uint64_t version = 0;
    stoa_err err = stoa_tokenize(bytes, size_bytes, tokens->at, STOA_COUNT_OF_(tokens->at), &count, NULL);
    if (err) { return err; }
    if (tokens->at[0].cls != STOA_TOKEN_ARRAY) { return STOA_FAIL(STOA_E_MALFORMED, "frame: not an array"); }
    *out = (cursor){.tokens = tokens->at, .at = 1, .left = tokens->at[0].size};
    if (!next_uint(out, &version)) { return STOA_FAIL(STOA_E_MALFORMED, "frame: no version"); }
    *version_out = STOA_OK;
    if (version != STOA_PROTOCOL_VERSION) {
        *version_out = STOA_FAIL(STOA_E_VERSION, "frame: version %llu", (unsigned long long)version);
    }
    return STOA_OK;
}

stoa_err stoa_request_frame_read(const void *bytes, size_t size_bytes, stoa_frame_tokens *tokens,
                                 stoa_request_frame *out)
{
    cursor c = {0};
    stoa_err version = STOA_OK;
    *out = (stoa_request_frame){0};
    stoa_err err = open_frame(bytes, size_bytes, tokens, &c, &version);
    if (err) { return err; }
    bool op = next_uint(&c, &out->op), id = next_uint(&c, &out->id);
    if (!op || !id) { return STOA_FAIL(STOA_E_MALFORMED, "request: op or id is no unsigned integer"); }
    if (version) { return version; }
    if (!next_text(&c, &out->target, &out->target_bytes)) {
        return STOA_FAIL(STOA_E_MALFORMED, "request: target is no text");
    }
    if (!next_value(&c, &out->payload)) { return STOA_FAIL(STOA_E_MALFORMED, "request: no payload"); }
    if (c.left > 0 && !next_uint(&c, &out->deadline_ms)) {
        return STOA_FAIL(STOA_E_MALFORMED, "request: deadline_ms is no unsigned integer");
    }
    return STOA_OK;
}

typedef bool read_function(cursor *c, stoa_server_frame *out);

static bool read_answer(cursor *c, stoa_server_frame *out)
{
    return next_uint(c, &out->id) && next_err(c, &out->error) && next_uint(c, &out->durability) &&
           next_uint(c, &out->position) &&
           (out->error ? next_text(c, &out->text, &out->text_bytes) : next_value(c, &out->payload));
}

static bool read_item(cursor *c, stoa_server_frame *out)
{
    return next_uint(c, &out->id) && next_uint(c, &out->item) && next_uint(c, &out->seq) &&
           next_uint(c, &out->durability) && next_uint(c, &out->position) && next_value(c, &out->payload);
}

static bool read_gap(cursor *c, stoa_server_frame *out)
{
    return next_uint(c, &out->id) && next_uint(c, &out->from_seq) && next_uint(c, &out->to_seq);
}

static bool read_end(cursor *c, stoa_server_frame *out)
{
    return next_uint(c, &out->id) && next_err(c, &out->error) && next_text(c, &out->text, &out->text_bytes);
}

stoa_err stoa_server_frame_read(const void *bytes, size_t size_bytes, stoa_frame_tokens *tokens, stoa_server_frame *out)
{
    static read_function *const readers[] = {read_answer, read_item, read_gap, read_end};
    cursor c = {0};
    stoa_err version = STOA_OK;
    uint64_t cls;
    *out = (stoa_server_frame){0};
    stoa_err err = open_frame(bytes, size_bytes, tokens, &c, &version);
    if (err) { return err; }
    if (version) { return version; }
    if (!next_uint(&c, &cls) || cls < STOA_FRAME_ANSWER || cls > STOA_FRAME_END) {
        return STOA_FAIL(STOA_E_MALFORMED, "frame: no such class");
    }
    out->cls = (stoa_frame_class)cls;
    if (!readers[cls - STOA_FRAME_ANSWER](&c, out)) {
        return STOA_FAIL(STOA_E_MALFORMED, "frame of class %u: an element is missing or of another type",
                         (unsigned)cls);
    }
    return STOA_OK;
}

/* --- writing frames */

static void begin(stoa_writer *w, uint32_t elements, uint32_t op_or_class, uint64_t id)
{
    stoa_write_array(w, elements);
    stoa_write_uint(w, STOA_PROTOCOL_VERSION);
    stoa_write_uint(w, op_or_class);
    stoa_write_uint(w, id);
}

/* Cut to what an error's text may be, between two characters. */
static void write_short_text(stoa_writer *w, const char *text)
{
    size_t size_bytes = strlen(text);
    if (size_bytes > STOA_PROTOCOL_TEXT_MAX) {
        size_bytes = STOA_PROTOCOL_TEXT_MAX;
        while (size_bytes > 0 && ((unsigned char)text[size_bytes] & 0xc0) == 0x80) {
            size_bytes--;
        }
    }
    stoa_write_text(w, text, size_bytes);
}

/* A payload that does not fit sets w->cut, which is where callers look. */
static void write_payload(stoa_writer *w, const stoa_type *type, const void *payload)
{
    (void)stoa_encode(type, payload, w);
}

void stoa_request_frame_write(stoa_writer *w, uint32_t op, uint64_t id, const char *target, uint32_t deadline_ms,
                              const void *payload, size_t payload_bytes)
{
    begin(w, 6, op, id);
    stoa_write_text(w, target, strlen(target));
    stoa_write_raw(w, payload, payload_bytes);
    stoa_write_uint(w, deadline_ms);
}

static void begin_answer(stoa_writer *w, uint64_t id, stoa_stamp stamp)
{
    begin(w, 7, STOA_FRAME_ANSWER, id);
    stoa_write_int(w, stamp.error);
    stoa_write_uint(w, stamp.durability);
    stoa_write_uint(w, stamp.position);
}

void stoa_answer_frame_write(stoa_writer *w, uint64_t id, stoa_stamp stamp, const stoa_type *type, const void *payload)
{
    begin_answer(w, id, stamp);
    write_payload(w, type, payload);
}

void stoa_refusal_frame_write(stoa_writer *w, uint64_t id, stoa_stamp stamp, const char *text)
{
    begin_answer(w, id, stamp);
    write_short_text(w, text);
}

void stoa_gap_frame_write(stoa_writer *w, uint64_t stream, uint64_t from_seq, uint64_t to_seq)
{
    begin(w, 5, STOA_FRAME_GAP, stream);
    stoa_write_uint(w, from_seq);
    stoa_write_uint(w, to_seq);
}

void stoa_end_frame_write(stoa_writer *w, uint64_t stream, stoa_err error, const char *text)
{
    begin(w, 5, STOA_FRAME_END, stream);
    stoa_write_int(w, error);
    write_short_text(w, text);
}

void stoa_item_tail_write(stoa_writer *w, uint32_t item, uint64_t seq, stoa_stamp stamp, const stoa_type *type,
                          const void *payload)
{
    stoa_write_uint(w, item);
    stoa_write_uint(w, seq);
    stoa_write_uint(w, stamp.durability);
    stoa_write_uint(w, stamp.position);
    write_payload(w, type, payload);
}

void stoa_item_frame_write(stoa_writer *w, uint64_t stream, const void *tail, size_t tail_bytes)
{
    begin(w, 8, STOA_FRAME_ITEM, stream);
    stoa_write_raw(w, tail, tail_bytes);
}
