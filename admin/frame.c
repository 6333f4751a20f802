/* frame.c - the codec of frame.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "admin/frame.h"

#include <stdlib.h>
#include <string.h>

#include "base/wire.h"

STOA_LIST_DEFINE(admin_words, stoa_text254, STOA_WORDS_MAX)
STOA_RECORD_DEFINE(admin_request)

enum { ANSWER_OVERHEAD = 64, TOKENS_MAX = 256 };

stoa_exit stoa_exit_of(stoa_err err)
{
    static const struct {
        stoa_err err;
        stoa_exit cls;
    } rows[] = {
        {STOA_OK, STOA_EXIT_OK},
        {STOA_E_INVALID, STOA_EXIT_USAGE},
        {STOA_E_NOT_FOUND, STOA_EXIT_NOT_FOUND},
        {STOA_E_UNKNOWN_SYMBOL, STOA_EXIT_NOT_FOUND},
        {STOA_E_DENIED, STOA_EXIT_DENIED},
        {STOA_E_TIMEOUT, STOA_EXIT_TIMEOUT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].err == err) { return rows[i].cls; }
    }
    return STOA_EXIT_FAILED;
}

/* --- writing */

static void put_frame(const stoa_writer *w, stoa_buf *out)
{
    uint32_t size = (uint32_t)w->used_bytes;
    uint8_t head[STOA_FRAME_HEAD] = {(uint8_t)size, (uint8_t)(size >> 8), (uint8_t)(size >> 16), (uint8_t)(size >> 24)};
    stoa_buf_put(out, head, sizeof head);
    stoa_buf_put(out, w->at, w->used_bytes);
}

stoa_err stoa_request_write(const admin_request *request, stoa_buf *out)
{
    uint8_t bytes[STOA_REQUEST_MAX];
    stoa_writer w = {.at = bytes, .cap_bytes = sizeof bytes};
    stoa_err err = stoa_encode(&stoa_type_admin_request, request, &w);
    if (err) { return STOA_FAIL(err, "the command is too long"); }
    put_frame(&w, out);
    return out->cut ? STOA_FAIL(STOA_E_NOMEM, "request") : STOA_OK;
}

stoa_err stoa_answer_write(const stoa_answer *answer, stoa_buf *out)
{
    size_t size_bytes = answer->text_bytes + answer->document_bytes + answer->view_bytes;
    if (size_bytes > STOA_ANSWER_MAX - ANSWER_OVERHEAD) {
        return STOA_FAIL(STOA_E_TOO_LARGE, "an answer of %zu bytes", size_bytes);
    }
    stoa_writer w = {.cap_bytes = size_bytes + ANSWER_OVERHEAD};
    w.at = malloc(w.cap_bytes);
    if (!w.at) { return STOA_FAIL(STOA_E_NOMEM, "an answer of %zu bytes", size_bytes); }
    stoa_write_array(&w, 7);
    stoa_write_uint(&w, STOA_FRAME_VERSION);
    stoa_write_uint(&w, answer->id);
    stoa_write_int(&w, answer->err);
    stoa_write_uint(&w, answer->cls);
    stoa_write_text(&w, answer->text, answer->text_bytes);
    stoa_write_text(&w, answer->document, answer->document_bytes);
    stoa_write_text(&w, answer->view, answer->view_bytes);
    STOA_ASSERT(!w.cut);
    put_frame(&w, out);
    free(w.at);
    return out->cut ? STOA_FAIL(STOA_E_NOMEM, "an answer of %zu bytes", size_bytes) : STOA_OK;
}

/* --- reading */

uint32_t stoa_frame_bytes(const void *head)
{
    const uint8_t *at = head;
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Split a frame whose first field is the version and whose second is an id. */
static stoa_err open_frame(const void *bytes, size_t size_bytes, stoa_token *tokens, uint32_t *count_out,
                           uint64_t *id_out)
{
    uint32_t count;
    if (stoa_tokenize(bytes, size_bytes, tokens, TOKENS_MAX, &count, NULL) || tokens[0].cls != STOA_TOKEN_ARRAY ||
        tokens[0].size < 2 || tokens[1].cls != STOA_TOKEN_UINT || tokens[2].cls != STOA_TOKEN_UINT) {
        return STOA_FAIL(STOA_E_MALFORMED, "not a frame of the admin protocol");
    }
    *id_out = tokens[2].as.u;
    if (tokens[1].as.u != STOA_FRAME_VERSION) {
        return STOA_FAIL(STOA_E_VERSION, "version %llu of the admin protocol; this is version %d",
                         (unsigned long long)tokens[1].as.u, STOA_FRAME_VERSION);
    }
    *count_out = count;
    return STOA_OK;
}

static bool sound_word(const stoa_text254 *word)
{
    for (uint16_t i = 0; i < word->len; i++) {
        unsigned char byte = (unsigned char)word->at[i];
        if (byte < 0x20 || byte == 0x7f) { return false; }
    }
    return word->len <= STOA_WORD_MAX;
}

stoa_err stoa_request_read(const void *bytes, size_t size_bytes, admin_request *out)
{
    stoa_token tokens[TOKENS_MAX];
    uint32_t count;
    stoa_err err = open_frame(bytes, size_bytes, tokens, &count, &out->id);
    if (err) { return err; }
    err = stoa_decode_tokens(&stoa_type_admin_request, tokens, count, out);
    if (err) { return STOA_FAIL(STOA_E_MALFORMED, "not a request of the admin protocol"); }
    if (!out->id || !out->words.count) { return STOA_FAIL(STOA_E_INVALID, "a request without id or words"); }
    for (uint32_t i = 0; i < out->words.count; i++) {
        if (!sound_word(&out->words.at[i])) { return STOA_FAIL(STOA_E_INVALID, "a word that is too long or not text"); }
    }
    return STOA_OK;
}

stoa_err stoa_answer_read(const void *bytes, size_t size_bytes, stoa_answer *out)
{
    stoa_token tokens[TOKENS_MAX];
    uint32_t count;
    stoa_err err = open_frame(bytes, size_bytes, tokens, &count, &out->id);
    if (err) { return err; }
    const stoa_token *error = &tokens[3], *text = &tokens[5];
    bool sound = count >= 8 && (error->cls == STOA_TOKEN_UINT || error->cls == STOA_TOKEN_INT) && error->as.i <= 0 &&
                 error->as.i >= INT32_MIN && tokens[4].cls == STOA_TOKEN_UINT && tokens[4].as.u <= STOA_EXIT_TIMEOUT &&
                 text[0].cls == STOA_TOKEN_TEXT && text[1].cls == STOA_TOKEN_TEXT && text[2].cls == STOA_TOKEN_TEXT;
    if (!sound) { return STOA_FAIL(STOA_E_MALFORMED, "not an answer of the admin protocol"); }
    out->err = (stoa_err)error->as.i;
    out->cls = (stoa_exit)tokens[4].as.u;
    out->text = text[0].as.bytes;
    out->text_bytes = text[0].size;
    out->document = text[1].as.bytes;
    out->document_bytes = text[1].size;
    out->view = text[2].as.bytes;
    out->view_bytes = text[2].size;
    return STOA_OK;
}
