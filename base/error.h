/* error.h - the one error vocabulary of Stoa.
 *
 * Every fallible function returns stoa_err: 0 is success, every failure is negative. errors.def is the only place an
 * error exists: enum, name, text, docs/reference/errors.md and the clients' wire codes are all expanded from it.
 *
 * The code says what the caller can do; the trail says what happened. The trail is per thread, of fixed size, and never
 * allocates. Cold paths add to it (STOA_FAIL, STOA_PASS); a message handler returns the bare code.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_ERROR_H
#define STOA_BASE_ERROR_H

#include "base/api.h"

STOA_API_BEGIN

typedef enum stoa_err {
    STOA_OK = 0,
#define STOA_ERROR(code, name, text, remedy) STOA_E_##name = (code),
#include "base/errors.def"
#undef STOA_ERROR
} stoa_err;

#define STOA_NODISCARD         __attribute__((warn_unused_result))
#define STOA_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Short name of err, "FULL"; "UNKNOWN" for a code of another version. Static string. Core: any. */
const char *stoa_err_name(stoa_err err);

/* One-line text of err: what happened. Static string. Core: any. */
const char *stoa_err_text(stoa_err err);

/* What the caller can do about err. Static string. Core: any. */
const char *stoa_err_remedy(stoa_err err);

/* All errors in table order, for documentation and coverage: the i-th code, or STOA_OK behind the last. Core: any. */
stoa_err stoa_err_at(unsigned index);

/* Start the calling thread's trail with err; returns err. Use STOA_FAIL. Core: any. */
stoa_err stoa_err_begin(stoa_err err, const char *where, const char *fmt, ...) STOA_PRINTF(3, 4);

/* Add the caller's context to the trail; returns err. Use STOA_PASS. Core: any. */
stoa_err stoa_err_add(stoa_err err, const char *where, const char *fmt, ...) STOA_PRINTF(3, 4);

/* The calling thread's trail, innermost first, one line each. Valid until the next begin. Core: any. */
const char *stoa_err_trail(void);

#define STOA_STR2(x)        #x
#define STOA_STR(x)         STOA_STR2(x)
#define STOA_HERE           __FILE__ ":" STOA_STR(__LINE__)
#define STOA_FAIL(err, ...) stoa_err_begin((err), STOA_HERE, __VA_ARGS__)
#define STOA_PASS(err, ...) stoa_err_add((err), STOA_HERE, __VA_ARGS__)

/* Programmer errors only; stays on in release. */
__attribute__((noreturn)) void stoa_panic(const char *where, const char *what); /* spelled so that C++ reads it too */
/* Call hook when an assertion breaks, before the process aborts; NULL: nobody. For who records how a process ended. Any thread. */
void stoa_panic_hook_set(void (*hook)(const char *where, const char *what));
/* Run what(context); an assertion that breaks within it does not end the process but what, and is returned as its text (where it
 * stands, and what it says), valid until the thread's next call; NULL: none broke. For pure functions over bytes that were read, and
 * what they would leave undone: no lock, no memory, nothing of C++. Does not nest. Any thread. */
const char *stoa_panic_caught(void (*what)(void *context), void *context);
#define STOA_ASSERT(cond) (__builtin_expect(!!(cond), 1) ? (void)0 : stoa_panic(STOA_HERE, #cond))

STOA_API_END

#endif
