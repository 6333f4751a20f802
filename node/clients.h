/* clients.h - the clients of the settings, and the gateway that lets them in by their keys.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_CLIENTS_H
#define STOA_NODE_CLIENTS_H

#include "node/platform.h"
#include "transport/key_list.h"

/* Open the gateway for the clients of the settings, with the keys that let them in. OK with NULL where it listens nowhere. */
stoa_err stoa_clients_open(stoa_platform *platform, const stoa_key_pair *own, const stoa_key_list *list, struct stoa_gateway **out);

/* The list, or a key file, is another one: who has lost a key is cut off. Nothing changes on an error. */
stoa_err stoa_clients_allow(stoa_platform *platform, const stoa_key_list *list);

/* A client's public key (41 bytes with NUL), and when its file was written (UTC). Errors: NOT_FOUND (it has none yet), IO,
 * MALFORMED. */
stoa_err stoa_clients_key(const stoa_settings *settings, const stoa_settings_client *client, char *key_out,
                          uint64_t *written_ns_out);

#endif
