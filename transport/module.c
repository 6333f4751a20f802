/* module.c - finding and loading what transport/module.h describes.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/module.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef STOA_LIBDIR
#define STOA_LIBDIR "lib"
#endif

enum { MODULES_MAX = 8, NAME_BYTES = 32, WHY_BYTES = 400 };

/* Settings of the libraries that modules are made from; each is set where the environment has no opinion. */
static const struct {
    const char *name, *value;
} settings[] = {
    {"IPATH_NO_BACKTRACE", "1"},          /* libfabric's PSM provider: no handlers of its own for seven signals */
    {"HFI_NO_BACKTRACE", "1"},            /* PSM2: the same */
    {"FI_PROVIDER", "tcp,ofi_rxm,verbs"}, /* libfabric: the others, with all that they load and start, stay away */
    {"UCX_HANDLE_ERRORS", "none"},        /* UCX: none for five more */
    {"UCX_ERROR_SIGNALS", ""},            /* and for none */
    {"UCX_MEM_EVENTS", "n"},              /* no hooks in mmap and free: without a NIC nothing is gained by them */
    {"FI_OFI_RXM_MSG_RX_SIZE", "128"},    /* else each link takes and clears some 50 MiB more for messages to come */
    {"UCX_WARN_UNUSED_ENV_VARS", "n"},    /* nothing on our stdout */
    {"UCX_LOG_LEVEL", "fatal"}, /* what goes wrong with a peer is an event of the link, not a line on stdout */
};
enum { SETTING_COUNT = sizeof settings / sizeof settings[0] };

typedef struct row {
    char name[NAME_BYTES];
    const stoa_link_module *module;
} row;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of what follows */
static row rows[MODULES_MAX];
static unsigned row_count;

static void host_panic(const char *where, const char *what)
{
    stoa_panic(where, what);
}

static const stoa_link_host host = {stoa_err_begin, stoa_err_add, stoa_err_trail, stoa_err_name, host_panic};

/* --- where modules lie */

static bool folder_of(char path[PATH_MAX])
{
    char *slash = strrchr(path, '/');
    if (slash) { *slash = '\0'; }
    return slash != NULL;
}

/* The folder of this program's file, or of the object this code is in. */
static bool folder_of_program(char out[PATH_MAX])
{
    ssize_t size_bytes = readlink("/proc/self/exe", out, PATH_MAX - 1);
    if (size_bytes <= 0) { return false; }
    out[size_bytes] = '\0';
    return folder_of(out);
}

static bool folder_of_code(char out[PATH_MAX])
{
    Dl_info info;
    if (!dladdr(settings, &info) || !info.dli_fname || !realpath(info.dli_fname, out)) { return false; }
    return folder_of(out);
}

enum { PLACE_COUNT = 4 };

/* The i-th place to look for a module; path_out is empty where there is no such place. */
static void place(unsigned i, const char *name, char path_out[PATH_MAX])
{
    char folder[PATH_MAX] = "";
    const char *given = secure_getenv("STOA_MODULES");
    const char *below = i == 1 ? "/../" STOA_LIBDIR "/stoa" : i == 2 ? "/../lib/stoa" : i == 3 ? "/stoa" : "";
    bool known = i == 0 ? given && *given : i == 3 ? folder_of_code(folder) : folder_of_program(folder);
    if (i == 0 && known) { (void)snprintf(folder, sizeof folder, "%s", given); }
    int size_bytes = known ? snprintf(path_out, PATH_MAX, "%s%s/link_%s.so", folder, below, name) : 0;
    if (size_bytes <= 0 || size_bytes >= PATH_MAX) { path_out[0] = '\0'; }
}

/* --- loading */

/* dlopen, after which every signal does what it did before. */
static void *load_guarded(const char *path)
{
    struct sigaction before[NSIG], after;
    bool known[NSIG] = {false};
    for (int number = 1; number < NSIG; number++) {
        known[number] = sigaction(number, NULL, &before[number]) == 0;
    }
    for (unsigned i = 0; i < SETTING_COUNT; i++) {
        (void)setenv(settings[i].name, settings[i].value, 0);
    }
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    for (int number = 1; number < NSIG; number++) {
        if (known[number] && sigaction(number, NULL, &after) == 0 &&
            (after.sa_handler != before[number].sa_handler || after.sa_flags != before[number].sa_flags)) {
            (void)sigaction(number, &before[number], NULL);
        }
    }
    return object;
}

static stoa_err take(void *object, const char *path, const stoa_link_module **out)
{
    stoa_link_module_entry *entry = NULL;
    *(void **)&entry = dlsym(object, STOA_LINK_MODULE_ENTRY);
    const stoa_link_module *module = entry ? entry(&host) : NULL;
    if (!module) { return STOA_FAIL(STOA_E_UNSUPPORTED, "%s is not a link module", path); }
    if (strcmp(module->version, STOA_VERSION) != 0) {
        return STOA_FAIL(STOA_E_UNSUPPORTED, "%s is of version %s, and this program of %s", path, module->version,
                         STOA_VERSION);
    }
    *out = module;
    return STOA_OK;
}

static stoa_err load(const char *name, const stoa_link_module **out)
{
    char path[PATH_MAX];
    for (unsigned i = 0; i < PLACE_COUNT; i++) {
        place(i, name, path);
        if (!path[0] || access(path, R_OK) != 0) { continue; }
        void *object = load_guarded(path);
        if (!object) {
            char why[WHY_BYTES]; /* "libucp.so.0: cannot open shared object file: No such file or directory" */
            (void)snprintf(why, sizeof why, "%s", dlerror());
            return STOA_FAIL(STOA_E_UNSUPPORTED, "the module %s cannot be loaded: %s", path, why);
        }
        stoa_err err = take(object, path, out);
        if (err) { (void)dlclose(object); }
        return err;
    }
    place(1, name, path);
    return STOA_FAIL(STOA_E_UNSUPPORTED, "the module link_%s.so is not installed: neither in STOA_MODULES nor at %s",
                     name, path);
}

static stoa_err find_module(const char *name, const stoa_link_module **out)
{
    for (unsigned i = 0; i < row_count; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            *out = rows[i].module;
            return STOA_OK;
        }
    }
    STOA_ASSERT(row_count < MODULES_MAX && strlen(name) < NAME_BYTES);
    stoa_err err = load(name, out);
    if (err) { return err; }
    (void)snprintf(rows[row_count].name, NAME_BYTES, "%s", name);
    rows[row_count++].module = *out;
    return STOA_OK;
}

stoa_err stoa_link_module_find(const char *name, const char *scheme, const stoa_link_ops **out)
{
    const stoa_link_module *module = NULL;
    pthread_mutex_lock(&lock);
    stoa_err err = find_module(name, &module);
    pthread_mutex_unlock(&lock);
    if (err) { return err; }
    for (unsigned i = 0; module->schemes[i]; i++) {
        if (strcmp(module->schemes[i]->scheme, scheme) == 0) {
            *out = module->schemes[i];
            return STOA_OK;
        }
    }
    return STOA_FAIL(STOA_E_UNSUPPORTED, "the module link_%s.so has no %s", name, scheme);
}
