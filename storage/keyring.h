/* keyring.h - a keyring's memory. Internal to storage/.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_STORAGE_KEYRING_H
#define STOA_STORAGE_KEYRING_H

#include <limits.h>
#include <openssl/types.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "storage/seal.h"

typedef struct stoa_key {
    uint32_t id;
    uint8_t secret[STOA_KEY_SECRET_BYTES];
} stoa_key;

struct stoa_keyring {
    stoa_key keys[STOA_KEYS_MAX]; /* ids rise; those below count never change */
    _Atomic uint32_t count;
    EVP_CIPHER *cipher;
    pthread_mutex_t lock; /* of reload */
    char path[PATH_MAX];
};

#endif
