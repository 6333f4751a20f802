/* note.c - storage/archive/note.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/archive/note.h"

#include <string.h>

#include "storage/archive/file.h"

static const char check_key[] = ",\n  \"check\": \"", end[] = "\"\n}\n";

void stoa_note_put_text(stoa_buf *out, const char *key, const char *text)
{
    stoa_buf_printf(out, "  \"%s\": ", key);
    stoa_buf_json_string(out, text, strlen(text));
}

void stoa_note_put_hash(stoa_buf *out, const char *key, const stoa_hash256 *hash)
{
    char text[STOA_HASH256_TEXT];
    stoa_hash256_print(hash, text);
    stoa_buf_printf(out, "\"%s\": \"%s\"", key, text);
}

stoa_err stoa_note_save(const char *folder, const char *name, stoa_buf *text)
{
    stoa_hash256 check;
    char digits[STOA_HASH256_TEXT];
    if (text->cut) { return STOA_FAIL(STOA_E_NOMEM, "%s/%s", folder, name); }
    stoa_hash256_parts(&check, text->at, text->used_bytes, NULL, 0);
    stoa_hash256_print(&check, digits);
    stoa_buf_printf(text, "%s%s%s", check_key, digits, end);
    return text->cut ? STOA_FAIL(STOA_E_NOMEM, "%s/%s", folder, name)
                     : stoa_file_put(folder, name, text->at, text->used_bytes);
}

/* --- reading */

/* The text up to the check must have the hash that the check names. */
static stoa_err check_text(const char *folder, const char *name, const stoa_buf *text)
{
    const char *found = NULL;
    for (const char *at = text->at; at && (at = strstr(at, check_key)) != NULL; at++) { found = at; }
    const char *digits = found ? found + sizeof check_key - 1 : NULL;
    stoa_hash256 named, hash;
    if (!found || !stoa_hash256_parse(digits, &named)) {
        return STOA_FAIL(STOA_E_CORRUPT, "%s/%s: it does not end in a check", folder, name);
    }
    stoa_hash256_parts(&hash, text->at, (size_t)(found - text->at), NULL, 0);
    bool same = memcmp(&hash, &named, sizeof hash) == 0 && strcmp(digits + STOA_HASH256_TEXT - 1, end) == 0;
    return same ? STOA_OK : STOA_FAIL(STOA_E_CORRUPT, "%s/%s: its check does not match its text", folder, name);
}

stoa_err stoa_note_load(const char *folder, const char *name, size_t limit_bytes,
                        stoa_err (*take)(void *context, stoa_json root), void *context)
{
    stoa_buf text = STOA_BUF_GROWING;
    stoa_json_parser *parser = NULL;
    stoa_json root;
    stoa_err err = stoa_file_get(folder, name, limit_bytes, &text);
    if (!err) { err = check_text(folder, name, &text); }
    if (!err) { err = stoa_json_parser_new(limit_bytes, &parser); }
    if (!err) { err = stoa_json_parse(parser, text.at, text.used_bytes, &root); }
    if (err == STOA_E_MALFORMED) { err = STOA_PASS(STOA_E_CORRUPT, "%s/%s", folder, name); }
    if (!err) { err = take(context, root); }
    stoa_json_parser_free(parser);
    stoa_buf_deinit(&text);
    return err;
}

stoa_json stoa_note_get(stoa_note_reading *r, stoa_json object, const char *key)
{
    stoa_json value = object;
    if (!r->fault && stoa_json_get(object, key, &value)) { r->fault = key; }
    return value;
}

uint64_t stoa_note_uint(stoa_note_reading *r, stoa_json object, const char *key)
{
    uint64_t value = 0;
    stoa_json found = stoa_note_get(r, object, key);
    if (!r->fault && stoa_json_uint(found, &value)) { r->fault = key; }
    return value;
}

void stoa_note_text(stoa_note_reading *r, stoa_json object, const char *key, char *out, size_t room)
{
    const char *text = "";
    size_t bytes = 0;
    stoa_json found = stoa_note_get(r, object, key);
    if (!r->fault && (stoa_json_text(found, &text, &bytes) || bytes >= room || memchr(text, '\0', bytes))) { r->fault = key; }
    memset(out, 0, room);
    if (!r->fault) { memcpy(out, text, bytes); }
}

void stoa_note_hash(stoa_note_reading *r, stoa_json object, const char *key, stoa_hash256 *out)
{
    char text[STOA_HASH256_TEXT + 1];
    stoa_note_text(r, object, key, text, sizeof text);
    if (!r->fault && (text[STOA_HASH256_TEXT - 1] != '\0' || !stoa_hash256_parse(text, out))) { r->fault = key; }
}
