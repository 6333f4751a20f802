/* address.c - see address.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "transport/shm/socket.h"

enum { PORT_MAX = 65535, PORT_CHARS_MAX = 5, HOST_BYTES = 256, PATH_BYTES = sizeof(((struct sockaddr_un *)0)->sun_path) };

stoa_err stoa_address_name_check(const char *place, bool listen)
{
    (void)listen;
    return stoa_shm_name_check(place);
}

stoa_err stoa_address_path_check(const char *place, bool listen)
{
    (void)listen;
    if (!place[0] || strcmp(place, "@") == 0) { return STOA_FAIL(STOA_E_INVALID, "it has no path: zmq+ipc://PATH, or @NAME"); }
    if (strlen(place) >= PATH_BYTES) { return STOA_FAIL(STOA_E_INVALID, "a socket's path has at most %d bytes", (int)PATH_BYTES - 1); }
    return STOA_OK;
}

/* --- HOST:PORT */

static bool bracketed(const char *place)
{
    const char *colon = strrchr(place, ':');
    return place[0] == '[' && colon && colon - place > 2 && colon[-1] == ']';
}

bool stoa_address_host(const char *place, char *host, size_t host_bytes)
{
    const char *colon = strrchr(place, ':');
    size_t skips = bracketed(place), size_bytes = colon ? (size_t)(colon - place) - 2 * skips : 0;
    if (size_bytes == 0 || size_bytes >= host_bytes) { return false; }
    memcpy(host, place + skips, size_bytes);
    host[size_bytes] = '\0';
    return true;
}

/* A number in the form that the resolver takes for one without asking anybody: 127.0.0.1, ::1, fe80::1%eth0. */
static bool numeric(const char *host, struct sockaddr_storage *out)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    if (getaddrinfo(host, NULL, &hints, &found)) { return false; }
    memcpy(out, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return true;
}

bool stoa_address_leaves(const char *host)
{
    struct sockaddr_storage is;
    if (strcmp(host, "*") == 0) { return true; }
    if (!numeric(host, &is)) { return false; }
    const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)&is;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)&is;
    return is.ss_family == AF_INET ? ntohl(four->sin_addr.s_addr) >> 24 != 127 : !IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
}

bool stoa_address_is_name(const char *host)
{
    struct sockaddr_storage is;
    return strcmp(host, "*") != 0 && !numeric(host, &is);
}

static stoa_err host_check(const char *host, bool in_brackets, bool listen)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    struct sockaddr_storage is;
    if (strcmp(host, "*") == 0) { return listen ? STOA_OK : STOA_FAIL(STOA_E_INVALID, "'*' can be listened at, not dialled"); }
    if (strchr(host, ':') && !in_brackets) { return STOA_FAIL(STOA_E_INVALID, "a host with colons stands in brackets: [::1]:PORT"); }
    bool digits = in_brackets || host[strspn(host, "0123456789.")] == '\0';
    if (digits ? !numeric(host, &is) : host[strspn(host, plain)] != '\0') { return STOA_FAIL(STOA_E_INVALID, "'%s' is no host", host); }
    return STOA_OK;
}

stoa_err stoa_address_port_check(const char *place, bool listen)
{
    char host[HOST_BYTES];
    const char *colon = strrchr(place, ':'), *port = colon ? colon + 1 : "";
    if (!colon || strchr(colon, ']')) { return STOA_FAIL(STOA_E_INVALID, "it has no port: HOST:PORT"); }
    if (!stoa_address_host(place, host, sizeof host)) { return STOA_FAIL(STOA_E_INVALID, "it has no host, or one that is too long: HOST:PORT"); }
    bool digits = port[0] && port[strspn(port, "0123456789")] == '\0' && strlen(port) <= PORT_CHARS_MAX;
    if (!digits || strtoul(port, NULL, 10) > PORT_MAX) { return STOA_FAIL(STOA_E_INVALID, "'%s' is no port from 0 to %d", port, PORT_MAX); }
    if (!listen && strtoul(port, NULL, 10) == 0) { return STOA_FAIL(STOA_E_INVALID, "port 0 can be listened at, not dialled"); }
    return host_check(host, bracketed(place), listen);
}
