/* fabric/carrier.h - what a messaging library (UCX, libfabric) has to do for the links of fabric/: move a message to an end
 * whose address is known. Who the ends are, when they are gone, how much may be under way and what a frame is, is not its
 * business.
 *
 * One thread. What a carrier tells, it tells from within progress, send, disconnect and close; the answer may
 * call send, and nothing else.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_FABRIC_CARRIER_H
#define STOA_TRANSPORT_FABRIC_CARRIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"

enum {
    STOA_CARRIER_HEADER_BYTES = 64,   /* of every message; its body may be empty */
    STOA_CARRIER_ADDRESS_BYTES = 1024 /* an address is not longer */
};

typedef struct stoa_carrier stoa_carrier;
typedef struct stoa_carrier_end stoa_carrier_end; /* of a connection: where messages are sent to */

/* --- what a carrier tells (fabric/batch.c) */

/* A message has come, or a large one is about to. Where its body is to be written, and what landed is called with; NULL:
 * it is dropped, or has no body and was taken. header lives until return. context is that of the settings. */
void *stoa_carrier_place(void *context, const void *header, uint32_t body_bytes, void **token_out);
/* The body is where place said; or, not whole, never will be. */
void stoa_carrier_landed(void *token, bool whole);
/* What send was given is not needed any more. Not done: it was not sent, and nothing more will be. */
void stoa_carrier_sent(void *token, bool done);
/* Nothing can be sent to owner's end any more. May come more than once. */
void stoa_carrier_broken(void *owner);

/* --- what a carrier does */

typedef struct stoa_carrier_settings {
    const char *transport;        /* the part of the scheme behind '+': "tcp" */
    const struct sockaddr *local; /* of this machine, seen from the other ends; NULL where it is not known */
    uint32_t body_limit;          /* bytes; no message that comes has a longer body */
    bool one_sided;               /* memory may be written and read from afar; else the library is not to know how */
    bool listens;                 /* the other sides send first: until one has, send to it may say AGAIN */
    int epoll;                    /* a set that it adds the descriptors to which the owner sleeps on */
    void *context;
} stoa_carrier_settings;

typedef struct stoa_carrier_ops {
    const char *name; /* "ucx"; both ends must have the same */

    /* May block (start-up). Errors: UNSUPPORTED (no such transport on this machine), FULL (no descriptors), NOMEM, IO. */
    stoa_err (*open)(const stoa_carrier_settings *settings, stoa_carrier **out);
    /* Every message that is under way is told as sent or landed, not whole, or forgotten: nothing of the caller's memory
     * is used afterwards. */
    void (*close)(stoa_carrier *wire);

    /* An end for owner, the connection: messages may come for it as soon as the other side knows its address. What it takes is
     * the carrier's until disconnect. Errors: FULL (no descriptor is left for it), NOMEM, UNSUPPORTED, IO. */
    stoa_err (*begin)(stoa_carrier *wire, void *owner, stoa_carrier_end **out);
    /* Where who is connected to us at here finds the end; here is NULL where it is not known. Returns its size. */
    uint32_t (*address)(stoa_carrier *wire, const stoa_carrier_end *end, const struct sockaddr *here,
                        uint8_t out[STOA_CARRIER_ADDRESS_BYTES]);
    /* Be ready to send to address, which came from the other side and is not to be believed: once, for an end that has begun.
     * Does not wait for it. Errors: MALFORMED, UNSUPPORTED (it cannot be reached), NOMEM, IO. */
    stoa_err (*connect)(stoa_carrier *wire, stoa_carrier_end *end, const void *address, uint32_t size_bytes);
    /* The end is gone, connected or not; broken is not called for it any more. sent and landed are, for what is under way. */
    void (*disconnect)(stoa_carrier *wire, stoa_carrier_end *end);

    /* Send header and body, in order with what was sent before. Both stay as they are until sent(token), which may come
     * before the return. Never blocks. Errors: AGAIN (no room; later), CLOSED (broken). */
    stoa_err (*send)(stoa_carrier *wire, stoa_carrier_end *end, const void *header, const void *body,
                     uint32_t body_bytes, void *token);

    /* Do what is to be done now; how much happened, 0: nothing. Never blocks. */
    uint32_t (*progress)(stoa_carrier *wire);
    /* Once it has said true, a descriptor in settings->epoll is readable when progress has work. False: there is work now. */
    bool (*arm)(stoa_carrier *wire);

    /* Optional, all or none, and only where settings say one_sided: memory that is written and read from afar.
     *
     * Let the others reach memory; the key (up to key_bytes_max) and the region are given back. Errors: NOMEM, IO. */
    stoa_err (*expose)(stoa_carrier *carrier, void *memory, uint64_t size_bytes, uint8_t *key_out,
                       uint32_t key_bytes_max, uint32_t *key_bytes_out, void **region_out);
    void (*conceal)(stoa_carrier *carrier, void *region);
    /* Use a key of the other side's; far is the end's and goes with it. Errors: MALFORMED, FULL. */
    stoa_err (*reach)(stoa_carrier *carrier, stoa_carrier_end *end, const uint8_t *key, uint32_t key_bytes,
                      void **far_out);
    /* Write, read, wait until all that was written is there; sent(token) when done, which may come before the return.
     * Errors: AGAIN, CLOSED. */
    stoa_err (*write)(stoa_carrier *carrier, stoa_carrier_end *end, void *far, uint64_t address, const void *bytes,
                      uint32_t size_bytes, void *token);
    stoa_err (*read)(stoa_carrier *carrier, stoa_carrier_end *end, void *far, uint64_t address, void *bytes,
                     uint32_t size_bytes, void *token);
    stoa_err (*settle)(stoa_carrier *carrier, stoa_carrier_end *end, void *token);

    /* Words for the operator: provider, and a note or "". */
    void (*describe)(stoa_carrier *wire, char *provider, size_t provider_bytes, char *note, size_t note_bytes);
} stoa_carrier_ops;

#endif
