/* settings_faults.h - faults of the settings that their table cannot see, told like those that it sees: "stoa.yaml:12: accounts[1].shard: ...".
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_SETTINGS_FAULTS_H
#define STOA_NODE_SETTINGS_FAULTS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/config.h"

typedef struct stoa_settings_faults {
    const stoa_buf *places; /* where keys stand, as stoa_config_load notes it; or NULL */
    stoa_buf *lines;        /* one is appended for each fault */
} stoa_settings_faults;

/* A fault of a key ("market.venue"); of one that may not have been given, but for another one that was, its cause ("market.file",
 * "market.source"); of a member of a list's element ("accounts", 1, "shard"). faults NULL: nobody wants to hear of it. */
void stoa_settings_fault(const stoa_settings_faults *faults, const char *key, const char *fmt, ...) STOA_PRINTF(3, 4);
void stoa_settings_fault_by(const stoa_settings_faults *faults, const char *key, const char *cause, const char *fmt, ...) STOA_PRINTF(4, 5);
void stoa_settings_fault_of(const stoa_settings_faults *faults, const char *list, uint32_t index, const char *member, const char *fmt, ...)
    STOA_PRINTF(5, 6);

#endif
