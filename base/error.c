/* error.c - names, texts and the per-thread trail of base/error.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRAIL_BYTES_MAX = 2048 };

static _Thread_local struct {
    size_t used_bytes;
    char text[TRAIL_BYTES_MAX];
} trail;

typedef struct row {
    stoa_err err;
    const char *name, *text, *remedy;
} row;

static const row rows[] = {
#define STOA_ERROR(code, name, text, remedy) {STOA_E_##name, #name, text, remedy},
#include "base/errors.def"
#undef STOA_ERROR
};
enum { ROW_COUNT = sizeof rows / sizeof rows[0] };

static const row *find(stoa_err err)
{
    static const row ok = {STOA_OK, "OK", "success", "none"};
    static const row unknown = {STOA_OK, "UNKNOWN", "an error of another version", "upgrade the older side"};
    if (err == STOA_OK) { return &ok; }
    for (unsigned i = 0; i < ROW_COUNT; i++) {
        if (rows[i].err == err) { return &rows[i]; }
    }
    return &unknown;
}

const char *stoa_err_name(stoa_err err)
{
    return find(err)->name;
}

const char *stoa_err_text(stoa_err err)
{
    return find(err)->text;
}

const char *stoa_err_remedy(stoa_err err)
{
    return find(err)->remedy;
}

stoa_err stoa_err_at(unsigned index)
{
    return index < ROW_COUNT ? rows[index].err : STOA_OK;
}

/* A file of this tree is named from the tree's root on, wherever it was built. */
static const char *in_tree(const char *where)
{
    static const char self[] = __FILE__, name[] = "base/error.c";
    size_t root = sizeof self - sizeof name;
    return strncmp(where, self, root) == 0 ? where + root : where;
}

/* Append one line; a line that does not fit is cut, the trail never overflows. */
STOA_PRINTF(3, 0) static void trail_line(stoa_err err, const char *where, const char *fmt, va_list args)
{
    size_t left_bytes = TRAIL_BYTES_MAX - trail.used_bytes;
    char *at = trail.text + trail.used_bytes;
    int head = snprintf(at, left_bytes, "%s%s %s: ", trail.used_bytes ? "\n" : "", stoa_err_name(err), in_tree(where));
    if (head < 0 || (size_t)head >= left_bytes) { return; }

    int body = vsnprintf(at + head, left_bytes - (size_t)head, fmt, args);
    if (body < 0) { return; }

    size_t line_bytes = (size_t)head + (size_t)body;
    trail.used_bytes += line_bytes < left_bytes ? line_bytes : left_bytes - 1;
}

stoa_err stoa_err_begin(stoa_err err, const char *where, const char *fmt, ...)
{
    va_list args;
    trail.used_bytes = 0;
    trail.text[0] = '\0';
    va_start(args, fmt);
    trail_line(err, where, fmt, args);
    va_end(args);
    return err;
}

stoa_err stoa_err_add(stoa_err err, const char *where, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    trail_line(err, where, fmt, args);
    va_end(args);
    return err;
}

const char *stoa_err_trail(void)
{
    return trail.text;
}

static _Atomic(void (*)(const char *where, const char *what)) panic_hook;

void stoa_panic_hook_set(void (*hook)(const char *where, const char *what))
{
    atomic_store(&panic_hook, hook);
}

/* The thread's call of stoa_panic_caught. */
static _Thread_local struct {
    bool armed;
    jmp_buf back;
    char text[256];
} caught;

const char *stoa_panic_caught(void (*what)(void *context), void *context)
{
    STOA_ASSERT(!caught.armed);
    if (_setjmp(caught.back)) {
        caught.armed = false;
        return caught.text;
    }
    caught.armed = true;
    what(context);
    caught.armed = false;
    return NULL;
}

_Noreturn void stoa_panic(const char *where, const char *what)
{
    where = in_tree(where);
    if (caught.armed) {
        (void)snprintf(caught.text, sizeof caught.text, "%s: %s", where, what);
        _longjmp(caught.back, 1);
    }
    (void)fprintf(stderr, "stoa: panic at %s: %s\n", where, what);
    void (*hook)(const char *, const char *) = atomic_load(&panic_hook);
    if (hook) { hook(where, what); }
    abort();
}
