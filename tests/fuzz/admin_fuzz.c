/* admin_fuzz.c - any bytes as a frame, as a command line and as a view: what is read writes to the same frame again,
 * words stay within their limits, a command that resolves has the arguments its table asks for, candidates go on from
 * what is typed, and a page has no byte that steers a terminal.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "admin/frame.h"
#include "admin/page.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes);

static void check_request(const uint8_t *bytes, size_t size_bytes)
{
    static admin_request request, again;
    stoa_buf frame = STOA_BUF_GROWING;
    if (size_bytes > STOA_REQUEST_MAX || stoa_request_read(bytes, size_bytes, &request)) { return; }
    STOA_ASSERT(request.id && request.words.count && request.words.count <= STOA_WORDS_MAX);
    STOA_ASSERT(stoa_request_write(&request, &frame) == STOA_OK);
    uint32_t written = stoa_frame_bytes(frame.at);
    STOA_ASSERT(written == frame.used_bytes - STOA_FRAME_HEAD);
    STOA_ASSERT(stoa_request_read(frame.at + STOA_FRAME_HEAD, written, &again) == STOA_OK);
    STOA_ASSERT(memcmp(&request, &again, sizeof request) == 0);
    stoa_buf_deinit(&frame);
}

static void check_answer(const uint8_t *bytes, size_t size_bytes)
{
    stoa_answer answer, again;
    stoa_buf frame = STOA_BUF_GROWING;
    if (stoa_answer_read(bytes, size_bytes, &answer)) { return; }
    STOA_ASSERT(answer.err <= 0 && answer.cls <= STOA_EXIT_TIMEOUT);
    STOA_ASSERT(stoa_answer_write(&answer, &frame) == STOA_OK);
    STOA_ASSERT(stoa_answer_read(frame.at + STOA_FRAME_HEAD, stoa_frame_bytes(frame.at), &again) == STOA_OK);
    STOA_ASSERT(again.id == answer.id && again.err == answer.err && again.document_bytes == answer.document_bytes);
    STOA_ASSERT(memcmp(again.document, answer.document, answer.document_bytes) == 0);
    stoa_buf_deinit(&frame);
}

static void add_names(void *context, const char *cls, const char *prefix, stoa_candidates *candidates)
{
    (void)context;
    stoa_candidates_add(candidates, prefix, cls);
    stoa_candidates_add(candidates, prefix, "trade_account/alice");
}

static void check_line(const char *line, size_t size_bytes)
{
    static stoa_candidates candidates;
    stoa_words words;
    stoa_invocation said;
    if (stoa_words_split(line, size_bytes, &words) == STOA_OK) {
        STOA_ASSERT(words.count <= STOA_WORDS_MAX);
        for (uint32_t i = 0; i < words.count; i++) { STOA_ASSERT(strlen(words.at[i]) <= STOA_WORD_MAX); }
        if (words.count && stoa_command_resolve(words.at, words.count, &said) == STOA_OK) {
            stoa_signature takes;
            stoa_command_signature(said.command, &takes);
            STOA_ASSERT(said.count >= takes.required && (takes.more || said.count <= takes.count));
        }
    }
    stoa_complete(line, size_bytes, add_names, NULL, &candidates);
    STOA_ASSERT(candidates.from_bytes <= size_bytes && candidates.count <= STOA_CANDIDATES_MAX);
    for (uint32_t i = 0; i < candidates.count; i++) {
        size_t typed = size_bytes - candidates.from_bytes;
        STOA_ASSERT(typed <= strlen(candidates.at[i]));
        STOA_ASSERT(memcmp(candidates.at[i], line + candidates.from_bytes, typed) == 0);
    }
}

/* The first line is a view, the rest a document. */
static void check_page(const char *text, size_t size_bytes)
{
    static stoa_json_parser *parser;
    const char *stop = memchr(text, '\n', size_bytes);
    size_t view_bytes = stop ? (size_t)(stop - text) : 0, from = stop ? view_bytes + 1 : 0;
    stoa_style style = {.columns = size_bytes % 90, .utf8 = true};
    stoa_buf out = STOA_BUF_GROWING;
    if (!parser) { STOA_ASSERT(stoa_json_parser_new(1 << 20, &parser) == STOA_OK); }
    if (stoa_page_print(parser, text + from, size_bytes - from, text, view_bytes, &style, 0, &out) == STOA_OK) {
        STOA_ASSERT(stoa_utf8_prefix(out.at ? out.at : "", out.used_bytes) == out.used_bytes);
        for (size_t i = 0; i < out.used_bytes; i++) {
            unsigned char byte = (unsigned char)out.at[i];
            STOA_ASSERT((byte >= 0x20 && byte != 0x7f) || byte == '\n' || byte == '\t');
        }
    }
    stoa_buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
    check_request(bytes, size_bytes);
    check_answer(bytes, size_bytes);
    check_line((const char *)bytes, size_bytes);
    check_page((const char *)bytes, size_bytes);
    return 0;
}
