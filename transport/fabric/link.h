/* fabric/link.h - links over a messaging library: everything of transport/link.h but the library itself.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_FABRIC_LINK_H
#define STOA_TRANSPORT_FABRIC_LINK_H

#include "transport/fabric/carrier.h"
#include "transport/link.h"

/* ops->open over a carrier, for an address "kind+transport://HOST:PORT". */
stoa_err stoa_fabric_open(const stoa_link_ops *ops, const stoa_carrier_ops *kind, const char *address,
                          const stoa_link_options *options, stoa_link **out);

/* The other operations. */
stoa_err stoa_fabric_send(stoa_link *link, stoa_peer peer, const void *bytes, uint32_t size_bytes);
uint32_t stoa_fabric_poll(stoa_link *link, const stoa_link_events *events, uint32_t max);
int stoa_fabric_fd(stoa_link *link);
void stoa_fabric_spin(stoa_link *link, bool on);
const char *stoa_fabric_address(stoa_link *link);
stoa_err stoa_fabric_allow(stoa_link *link, const stoa_link_allowed *allowed, uint32_t count);
void stoa_fabric_part(stoa_link *link, stoa_peer peer);
void stoa_fabric_counts(stoa_link *link, stoa_link_counts *out);
stoa_err stoa_fabric_expose(stoa_link *link, void *memory, uint64_t size_bytes, stoa_link_window *out);
void stoa_fabric_conceal(stoa_link *link, const stoa_link_window *window);
stoa_err stoa_fabric_put(stoa_link *link, stoa_peer peer, const stoa_link_window *window, uint64_t offset,
                         const void *bytes, uint32_t size_bytes);
stoa_err stoa_fabric_flush(stoa_link *link, stoa_peer peer, uint64_t token);
void stoa_fabric_describe(stoa_link *link, stoa_link_traits *out);
void stoa_fabric_close(stoa_link *link, uint32_t linger_ms);

#define STOA_FABRIC_OPS(scheme_, open_)                                                                                \
    {                                                                                                                  \
        .scheme = (scheme_), .open = (open_), .send = stoa_fabric_send, .poll = stoa_fabric_poll,                      \
        .fd = stoa_fabric_fd, .spin = stoa_fabric_spin, .address = stoa_fabric_address, .allow = stoa_fabric_allow,    \
        .part = stoa_fabric_part, .counts = stoa_fabric_counts, .describe = stoa_fabric_describe,                      \
        .expose = stoa_fabric_expose, .conceal = stoa_fabric_conceal, .put = stoa_fabric_put,                          \
        .flush = stoa_fabric_flush, .close = stoa_fabric_close                                                         \
    }

#endif
