/* fabric/allowed.h - the keys a listener lets in, with the names their frames are reported with.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_FABRIC_ALLOWED_H
#define STOA_TRANSPORT_FABRIC_ALLOWED_H

#include <stdint.h>

#include "transport/link.h"

typedef struct stoa_allowed_row {
    uint8_t key[32];
    char name[64];
} stoa_allowed_row;

typedef struct stoa_allowed {
    stoa_allowed_row *rows;
    uint32_t count;
} stoa_allowed;

/* Replace the list; on an error it stays. Errors: INVALID (key, name, a key twice), NOMEM. */
stoa_err stoa_allowed_set(stoa_allowed *allowed, const stoa_link_allowed *rows, uint32_t count);
void stoa_allowed_free(stoa_allowed *allowed);

/* The name of a key, or NULL. */
const char *stoa_allowed_name(const stoa_allowed *allowed, const uint8_t key[32]);

#endif
