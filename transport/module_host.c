/* module_host.c - in a module, base/error.h is this: it passes everything on to the program that loaded the module. Not
 * part of the room's library.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/module_host.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { TEXT_BYTES = 512 };

static const stoa_link_host *host;

void stoa_link_host_set(const stoa_link_host *of)
{
    host = of;
}

stoa_err stoa_err_begin(stoa_err err, const char *where, const char *fmt, ...)
{
    char text[TEXT_BYTES];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return host->begin(err, where, "%s", text);
}

stoa_err stoa_err_add(stoa_err err, const char *where, const char *fmt, ...)
{
    char text[TEXT_BYTES];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return host->add(err, where, "%s", text);
}

const char *stoa_err_trail(void)
{
    return host->trail();
}

const char *stoa_err_name(stoa_err err)
{
    return host->name(err);
}

void stoa_panic(const char *where, const char *what)
{
    host->panic(where, what);
    abort();
}
