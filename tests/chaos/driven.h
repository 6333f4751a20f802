/* driven.h - for programs of chaos tests, which a script drives: arguments KEY=VALUE, and orders, a line each on standard input. Who is
 * told nothing more ends.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_CHAOS_DRIVEN_H
#define STOA_TESTS_CHAOS_DRIVEN_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ORDER_BYTES = 256 };

/* The value of a key, or NULL. */
static inline const char *value_of(char **argv, const char *key)
{
    size_t length = strlen(key);
    for (; *argv; argv++) {
        if (strncmp(*argv, key, length) == 0 && (*argv)[length] == '=') { return *argv + length + 1; }
    }
    return NULL;
}

/* 0 where there is none. */
static inline uint64_t number_of(char **argv, const char *key)
{
    const char *value = value_of(argv, key);
    return value ? strtoull(value, NULL, 10) : 0;
}

/* Obey every order that is whole; to be called when there is something to read. */
static inline void orders_read(void (*obey)(const char *line))
{
    static char text[ORDER_BYTES];
    static size_t length;
    ssize_t size_bytes = read(STDIN_FILENO, text + length, sizeof text - 1 - length);
    if (size_bytes <= 0) { _exit(0); }
    length += (size_t)size_bytes;
    text[length] = '\0';
    for (char *end; (end = strchr(text, '\n')) != NULL;) {
        *end = '\0';
        obey(text);
        length -= (size_t)(end + 1 - text);
        memmove(text, end + 1, length + 1);
    }
}

#endif
