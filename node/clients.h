/* clients.h - the keys of the node and of its clients, and the gateway that lets them in.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_NODE_CLIENTS_H
#define STOA_NODE_CLIENTS_H

#include "node/platform.h"

/* Make DATA/keys/server.key and the pairs of clients that have none, open the gateway. OK with NULL where it listens nowhere. */
stoa_err stoa_clients_open(stoa_platform *platform, struct stoa_gateway **out);

/* A client's public key (41 bytes with NUL), and when its file was written (UTC). Errors: NOT_FOUND (it has none yet), IO,
 * MALFORMED. */
stoa_err stoa_clients_key(const stoa_settings *settings, const stoa_settings_client *client, char *key_out,
                          uint64_t *written_ns_out);

#endif
