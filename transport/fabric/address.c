/* fabric/address.c - "ucx+tcp://HOST:PORT" to a socket address and back.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "transport/fabric/inner.h"

enum { PORT_MAX = 65535, PORT_CHARS_MAX = 5 };

/* "HOST:PORT" in two; the brackets of an IPv6 host are left out. */
static bool split(const char *text, char host[STOA_FABRIC_ADDRESS_BYTES], char port[PORT_CHARS_MAX + 1])
{
    const char *colon = strrchr(text, ':');
    size_t host_bytes = colon ? (size_t)(colon - text) : 0;
    if (host_bytes == 0 || host_bytes >= STOA_FABRIC_ADDRESS_BYTES) { return false; }
    size_t port_bytes = strlen(colon + 1);
    bool bracketed = text[0] == '[' && host_bytes > 2 && colon[-1] == ']';
    if (port_bytes == 0 || port_bytes > PORT_CHARS_MAX || strspn(colon + 1, "0123456789") != port_bytes ||
        strtoul(colon + 1, NULL, 10) > PORT_MAX || (!bracketed && memchr(text, ':', host_bytes))) {
        return false;
    }
    memcpy(port, colon + 1, port_bytes + 1);
    (void)snprintf(host, STOA_FABRIC_ADDRESS_BYTES, "%.*s", (int)(host_bytes - 2 * bracketed), text + bracketed);
    return true;
}

stoa_err stoa_fabric_resolve(stoa_fabric *link, const char *address)
{
    char host[STOA_FABRIC_ADDRESS_BYTES], port[PORT_CHARS_MAX + 1];
    const char *text = strstr(address, "://");
    if (strnlen(address, STOA_FABRIC_ADDRESS_BYTES) == STOA_FABRIC_ADDRESS_BYTES || !text ||
        !split(text + 3, host, port)) {
        return STOA_FAIL(STOA_E_INVALID, "%s is not SCHEME://HOST:PORT, or longer than %d bytes", address,
                         STOA_FABRIC_ADDRESS_BYTES - 1);
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found = NULL;
    bool any = strcmp(host, "*") == 0;
    if (any) { hints.ai_flags |= AI_PASSIVE, hints.ai_family = AF_INET; }
    int rc = getaddrinfo(any ? NULL : host, port, &hints, &found);
    if (rc != 0) { return STOA_FAIL(STOA_E_INVALID, "no address for the host of %s: %s", address, gai_strerror(rc)); }
    memcpy(&link->where, found->ai_addr, found->ai_addrlen);
    link->where_bytes = found->ai_addrlen;
    freeaddrinfo(found);
    return STOA_OK;
}

void stoa_fabric_name(stoa_fabric *link, const char *scheme)
{
    char host[INET6_ADDRSTRLEN] = "", port[PORT_CHARS_MAX + 1] = "";
    (void)getnameinfo((const struct sockaddr *)&link->where, link->where_bytes, host, sizeof host, port, sizeof port,
                      NI_NUMERICHOST | NI_NUMERICSERV);
    bool six = link->where.ss_family == AF_INET6;
    (void)snprintf(link->address, sizeof link->address, "%s://%s%s%s:%s", scheme, six ? "[" : "", host, six ? "]" : "",
                   port);
}

bool stoa_fabric_is_local(const stoa_fabric *link)
{
    const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)&link->where;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)&link->where;
    if (strcmp(link->transport, "tcp") != 0) { return false; } /* an adapter's port is where its cable leads */
    return link->where.ss_family == AF_INET ? ntohl(four->sin_addr.s_addr) >> 24 == 127
                                            : IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
}

static bool is_any(const struct sockaddr_storage *where)
{
    const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)where;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)where;
    return where->ss_family == AF_INET ? four->sin_addr.s_addr == 0 : IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr);
}

bool stoa_fabric_local(const stoa_fabric *link, struct sockaddr_storage *out)
{
    if (link->listens) {
        *out = link->where;
        return !is_any(&link->where);
    }
    /* which of our addresses the kernel would send from; nothing is sent */
    int fd = socket(link->where.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t size_bytes = sizeof *out;
    bool known = fd >= 0 && connect(fd, (const struct sockaddr *)&link->where, link->where_bytes) == 0 &&
                 getsockname(fd, (struct sockaddr *)out, &size_bytes) == 0;
    if (fd >= 0) { (void)close(fd); }
    return known;
}
