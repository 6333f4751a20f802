/* ucx/address.c - the form of ucx/address.h, and UCX's own, version 1, as far as it is needed:
 *
 *     u8 0x20 (version, has a uuid), u64 uuid, then for each interface
 *     u8 memory domain, u8 length of the device's address (0x80 the last, 0x40 paths follow, 0x20 a system device follows),
 *     device's address: u8 1 for loopback, u8 family, IP address (loopback: of the machine and the network namespace),
 *     u16 transport, 16 bytes what it can do, u8 length 2 with 0x80 (the last transport), u16 port
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/ucx/address.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

enum {
    FORM = 1,
    AT_KIND = 1,
    AT_PORT = 2,
    AT_UUID = 4,
    AT_IP = 12,
    IP_BYTES_MAX = 16,
    KIND_LOOPBACK = 0,
    KIND_FOUR = 4,
    KIND_SIX = 6,
};

enum {
    BLOB_HEAD = 0x20,
    BLOB_UUID_AT = 1,
    BLOB_DEVICES_AT = 9,
    UUID_BYTES = 8,
    PORT_BYTES = 2,
    DEVICE_LAST = 0x80,
    DEVICE_PATHS = 0x40,
    DEVICE_SYSTEM = 0x20,
    DEVICE_LENGTH = 0x1f,
    DEVICE_IP_AT = 2,
    TRANSPORT_BYTES = 18,
    PORT_LENGTH = DEVICE_LAST | PORT_BYTES,
};

/* --- UCX's form */

/* The interface at a place of the blob; false: it is of another form. */
static bool device_take(const stoa_ucx_address *own, size_t at, stoa_ucx_device *out)
{
    const uint8_t *blob = own->blob;
    stoa_ucx_device device = {.at = at, .length_at = at + 1};
    if (at + 2 > own->blob_bytes || (blob[at] & DEVICE_LAST)) { return false; }
    uint8_t length = blob[at + 1];
    size_t address_bytes = length & DEVICE_LENGTH;
    size_t address_at = at + 2 + !!(length & DEVICE_PATHS) + !!(length & DEVICE_SYSTEM);
    size_t length_at = address_at + address_bytes + TRANSPORT_BYTES;
    device.ip_at = address_at + DEVICE_IP_AT;
    device.port_at = length_at + 1;
    device.bytes = device.port_at + PORT_BYTES - at;
    if (at + device.bytes > own->blob_bytes || address_bytes < DEVICE_IP_AT || blob[length_at] != PORT_LENGTH) {
        return false;
    }
    bool loops = blob[address_at] == 1, plain = blob[address_at] == 0;
    if (plain) { device.ip_bytes = (uint8_t)(address_bytes - DEVICE_IP_AT); }
    bool known = loops || (blob[address_at + 1] == AF_INET && device.ip_bytes == sizeof(struct in_addr)) ||
                 (blob[address_at + 1] == AF_INET6 && device.ip_bytes == sizeof(struct in6_addr));
    if (known) { *out = device; }
    return known && (loops || plain);
}

stoa_err stoa_ucx_address_take(stoa_ucx_address *own, const void *blob, size_t blob_bytes)
{
    *own = (stoa_ucx_address){.blob_bytes = blob_bytes};
    bool known = blob_bytes > BLOB_DEVICES_AT && blob_bytes <= sizeof own->blob, last = false;
    if (known) { memcpy(own->blob, blob, blob_bytes); }
    known = known && own->blob[0] == BLOB_HEAD;
    for (size_t at = BLOB_DEVICES_AT; known && !last; own->count++) {
        stoa_ucx_device *device = &own->devices[own->count];
        known = own->count < STOA_UCX_DEVICES && device_take(own, at, device);
        last = known && (own->blob[device->length_at] & DEVICE_LAST);
        at += known ? device->bytes : 0;
        known = known && (!last || at == blob_bytes);
    }
    return known ? STOA_OK : STOA_FAIL(STOA_E_UNSUPPORTED, "UCX: its addresses have a form that is not known");
}

/* --- ours */

static uint8_t kind_of(const stoa_ucx_device *device)
{
    return device->ip_bytes == 0                        ? KIND_LOOPBACK
           : device->ip_bytes == sizeof(struct in_addr) ? KIND_FOUR
                                                        : KIND_SIX;
}

static bool leads(const stoa_ucx_address *own, const stoa_ucx_device *device, const struct sockaddr *here)
{
    const uint8_t *ip = own->blob + device->ip_at;
    const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)here;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)here;
    bool is_four = here && here->sa_family == AF_INET, is_six = here && here->sa_family == AF_INET6;
    if (device->ip_bytes == 0) {
        return (is_four && ntohl(four->sin_addr.s_addr) >> 24 == 127) ||
               (is_six && IN6_IS_ADDR_LOOPBACK(&six->sin6_addr));
    }
    return (is_four && device->ip_bytes == sizeof four->sin_addr && memcmp(ip, &four->sin_addr, 4) == 0) ||
           (is_six && device->ip_bytes == sizeof six->sin6_addr && memcmp(ip, &six->sin6_addr, 16) == 0);
}

void stoa_ucx_address_write(const stoa_ucx_address *own, const struct sockaddr *here,
                            uint8_t out[STOA_UCX_ADDRESS_BYTES])
{
    unsigned i = 0;
    while (i < own->count && !leads(own, &own->devices[i], here)) {
        i++;
    }
    const stoa_ucx_device *device = &own->devices[i < own->count ? i : 0];
    memset(out, 0, STOA_UCX_ADDRESS_BYTES);
    out[0] = FORM;
    out[AT_KIND] = kind_of(device);
    memcpy(out + AT_PORT, own->blob + device->port_at, PORT_BYTES);
    memcpy(out + AT_UUID, own->blob + BLOB_UUID_AT, UUID_BYTES);
    memcpy(out + AT_IP, own->blob + device->ip_at, device->ip_bytes);
}

stoa_err stoa_ucx_address_read(const stoa_ucx_address *own, const uint8_t *bytes, size_t size_bytes,
                               uint8_t blob_out[STOA_UCX_BLOB_BYTES])
{
    static const uint8_t zeros[UUID_BYTES];
    unsigned i = 0;
    if (size_bytes != STOA_UCX_ADDRESS_BYTES || bytes[0] != FORM || memcmp(bytes + AT_PORT, zeros, PORT_BYTES) == 0 ||
        memcmp(bytes + AT_UUID, zeros, UUID_BYTES) == 0 ||
        memcmp(bytes + AT_UUID, own->blob + BLOB_UUID_AT, UUID_BYTES) == 0) { /* that is us */
        return STOA_E_MALFORMED;
    }
    while (i < own->count && kind_of(&own->devices[i]) != bytes[AT_KIND]) {
        i++;
    }
    if (i == own->count) { return STOA_FAIL(STOA_E_UNSUPPORTED, "UCX: no interface leads to the other side"); }
    const stoa_ucx_device *device = &own->devices[i];
    uint8_t *at = blob_out + BLOB_DEVICES_AT;
    memset(blob_out, 0, STOA_UCX_BLOB_BYTES);
    blob_out[0] = BLOB_HEAD;
    memcpy(blob_out + BLOB_UUID_AT, bytes + AT_UUID, UUID_BYTES);
    memcpy(at, own->blob + device->at, device->bytes);
    at[device->length_at - device->at] |= DEVICE_LAST;
    memcpy(at + (device->ip_at - device->at), bytes + AT_IP, device->ip_bytes);
    memcpy(at + (device->port_at - device->at), bytes + AT_PORT, PORT_BYTES);
    return STOA_OK;
}
