/* host/files.c - what the child may open: what the loader reads for its library, and nothing else, whoever its user is.
 *
 * The filter of loading lets files be read, because the loader reads them; which ones only the kernel can tell, by
 * Landlock (Documentation/userspace-api/landlock.rst of Linux). /proc is not among them, so a constructor reads
 * neither keys, nor logs, nor the memory of its node; and who is restricted may not trace who is not. All rights of
 * Landlock's first version are taken; what later ones can take (truncate, sockets, signals) the filters have taken.
 * What it cannot take is looking a path up: whether it is there, its size and its times.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/isolate/host/host.h"

#define ALL_RIGHTS (2 * LANDLOCK_ACCESS_FS_MAKE_SYM - 1) /* the last one of the first version */

/* Where the loader looks for what a library needs, and what it keeps of that; links count as where they lead. */
static const char *const folders[] = {"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"};
static const char cache[] = "/etc/ld.so.cache";

/* What is not there, or is something else, stays closed: the loader will say that it cannot be had. */
static bool may_read(int rules, const char *path, mode_t type)
{
    struct stat is;
    int at = open(path, O_PATH | O_CLOEXEC);
    if (at < 0) { return true; }
    struct landlock_path_beneath_attr beneath = {.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE, .parent_fd = at};
    bool fits = fstat(at, &is) == 0 && (is.st_mode & S_IFMT) == type;
    bool done = !fits || syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) == 0;
    (void)close(at);
    return done;
}

stoa_err stoa_host_close_files(const char *library)
{
    struct landlock_ruleset_attr taken = {.handled_access_fs = ALL_RIGHTS};
    int rules = (int)syscall(SYS_landlock_create_ruleset, &taken, sizeof taken, 0);
    if (rules < 0) { return STOA_E_UNSUPPORTED; }
    bool done = may_read(rules, library, S_IFREG) && may_read(rules, cache, S_IFREG);
    for (unsigned i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        done = done && may_read(rules, folders[i], S_IFDIR);
    }
    done = done && syscall(SYS_landlock_restrict_self, rules, 0) == 0;
    (void)close(rules);
    return done ? STOA_OK : STOA_E_IO;
}
