/* query.c - see query.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/query.h"

#include <string.h>

/* One option: [at, at + size), of which key_bytes are the key. */
typedef struct option {
    const char *at, *next;
    size_t size_bytes, key_bytes;
} option;

static bool option_next(option *o)
{
    if (!o->next) { return false; }
    o->at = o->next;
    o->size_bytes = strcspn(o->at, "&");
    o->key_bytes = strcspn(o->at, "=&");
    o->next = o->at[o->size_bytes] ? o->at + o->size_bytes + 1 : NULL;
    return true;
}

static option options_of(const char *address)
{
    const char *mark = strchr(address, '?');
    return (option){.next = mark ? mark + 1 : NULL};
}

bool stoa_query_text(const char *address, const char *key, char *value, size_t value_bytes)
{
    size_t key_bytes = strlen(key);
    for (option o = options_of(address); option_next(&o);) {
        if (o.key_bytes != key_bytes || memcmp(o.at, key, key_bytes) != 0 || o.size_bytes == key_bytes) { continue; }
        size_t size_bytes = o.size_bytes - key_bytes - 1;
        if (size_bytes >= value_bytes) { return false; }
        memcpy(value, o.at + key_bytes + 1, size_bytes);
        value[size_bytes] = '\0';
        return true;
    }
    return false;
}

stoa_err stoa_query_number(const char *address, const char *key, uint64_t most, uint64_t *out)
{
    char text[24] = "";
    uint64_t number = 0;
    size_t key_bytes = strlen(key);
    bool there = false;
    for (option o = options_of(address); option_next(&o);) {
        there = there || (o.key_bytes == key_bytes && memcmp(o.at, key, key_bytes) == 0);
    }
    if (!there) { return STOA_OK; }
    bool good = stoa_query_text(address, key, text, sizeof text) && text[0] != '\0';
    for (const char *digit = text; good && *digit; digit++) {
        good = *digit >= '0' && *digit <= '9' && !__builtin_mul_overflow(number, 10, &number) &&
               !__builtin_add_overflow(number, (uint64_t)(*digit - '0'), &number);
    }
    if (!good || number > most) {
        return STOA_FAIL(STOA_E_INVALID, "%s in %s is a number up to %llu", key, address, (unsigned long long)most);
    }
    *out = number;
    return STOA_OK;
}

stoa_err stoa_query_without(const char *address, bool (*has)(const char *key, size_t key_bytes), char *out,
                            size_t out_bytes)
{
    size_t used_bytes = strcspn(address, "?");
    char mark = '?';
    if (strlen(address) >= out_bytes) {
        return STOA_FAIL(STOA_E_INVALID, "an address longer than %zu bytes", out_bytes);
    }
    memcpy(out, address, used_bytes);
    for (option o = options_of(address); option_next(&o);) {
        if (has(o.at, o.key_bytes)) { continue; }
        out[used_bytes++] = mark;
        memcpy(out + used_bytes, o.at, o.size_bytes);
        used_bytes += o.size_bytes;
        mark = '&';
    }
    out[used_bytes] = '\0';
    return STOA_OK;
}
