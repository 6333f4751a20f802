/* module.h - links whose libraries are loaded only when an address asks for them: a shared object each.
 *
 * Some libraries change the process that loads them: constructors that take over signals, hooks in the allocator, threads.
 * So a link over such a library is a module, link_NAME.so. It is looked for, and the first that is found is loaded, in
 *
 *     1. the folder that STOA_MODULES names
 *     2. ../lib/stoa, seen from the program's own folder; or another name of lib that was given at installation
 *     3. stoa, in the folder of the shared library that this code is in (libstoa, libstoa-client)
 *
 * A module is loaded once, by whichever thread asks first, and stays. While it is loaded, every signal's action is put back
 * as it was, and the settings that keep its library from interfering are in the environment (the list is in module.c), where
 * the operator has not set them to something else: setenv while another thread reads the environment is a race in
 * glibc, so open the first link of a kind at start-up.
 *
 * The module has code of this tree inside, but not its error trail: it reports through stoa_link_host.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_MODULE_H
#define STOA_TRANSPORT_MODULE_H

#include "base/error.h"
#include "transport/link.h"

/* What a module uses of the program that loaded it. */
typedef struct stoa_link_host {
    stoa_err (*begin)(stoa_err err, const char *where, const char *fmt, ...) STOA_PRINTF(3, 4);
    stoa_err (*add)(stoa_err err, const char *where, const char *fmt, ...) STOA_PRINTF(3, 4);
    const char *(*trail)(void);
    const char *(*name)(stoa_err err);
    void (*panic)(const char *where, const char *what);
} stoa_link_host;

/* What a module is. */
typedef struct stoa_link_module {
    const char *version;                 /* STOA_VERSION of the build; another one is refused */
    const stoa_link_ops *const *schemes; /* NULL behind the last */
} stoa_link_module;

/* The one symbol a module shows. Called once, before anything else of it. */
typedef const stoa_link_module *stoa_link_module_entry(const stoa_link_host *host);
#define STOA_LINK_MODULE_ENTRY "stoa_link_module_open"

/* The implementation of address' scheme out of the module name; loads it. Errors: UNSUPPORTED (no such module, its library
 * is not installed, it is of another build). The trail has the words of the loader. Any thread; may block. */
stoa_err stoa_link_module_find(const char *name, const char *scheme, const stoa_link_ops **out);

#endif
