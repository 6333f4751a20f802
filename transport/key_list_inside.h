/* key_list_inside.h - what the list and its changes share. Internal to transport/.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_KEY_LIST_INSIDE_H
#define STOA_TRANSPORT_KEY_LIST_INSIDE_H

#include <limits.h>

#include "transport/key_list.h"

/* FOLDER/NAME and what follows it. Errors: INVALID (too long). */
stoa_err stoa_key_path(const char *folder, const char *name, const char *more, char out[PATH_MAX]);
/* Names in it are on the disk. */
stoa_err stoa_key_folder_sync(const char *folder);
/* The list takes the place of the one there is. Errors: DENIED, FULL, IO. */
stoa_err stoa_key_list_write(const char *folder, const stoa_key_list *list);

/* Whether it lets the name in at a time. */
bool stoa_key_row_lets(const stoa_key_row *row, const char *name, uint64_t now_ns);
/* Whether the key of the name's file lets it in: no row is against it. */
bool stoa_key_file_lets(const stoa_key_list *list, const char *name, const char *file_key);

#endif
