/* net.h - for programs of chaos tests that live in a network namespace of their own (chaos_wire makes them).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_CHAOS_NET_H
#define STOA_TESTS_CHAOS_NET_H

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

enum { NET_SKIPPED = 77 };

/* With a /sys that shows this namespace's devices: UCX looks for them there. */
static inline void net_enter(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool in = fd >= 0 && setns(fd, CLONE_NEWNET) == 0 && unshare(CLONE_NEWNS) == 0 &&
              mount("", "/", NULL, MS_REC | MS_SLAVE, NULL) == 0 && mount("sysfs", "/sys", "sysfs", 0, NULL) == 0;
    if (!in) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(NET_SKIPPED);
    }
    (void)close(fd);
}

#endif
