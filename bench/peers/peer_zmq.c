/* peer_zmq.c - the libzmq peer of bench_links: HOW flow|echo SIZE RUNS RUN_MS, see bench/links/duel.h.
 *
 * PAIR sockets whose queues are as long as our link's, over `ipc`, `tcp` or `tcp+curve`; a message a frame. Both sides sleep while
 * there is nothing to do, for a millisecond at most: libzmq's I/O threads need the processors that they would else spin on.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include "bench/links/duel.h"

enum { POLL_MAX = 64, KEY_BYTES = 41, QUEUE_MESSAGES = 4096, NAP_MS = 1 };

typedef struct end {
    void *context, *socket;
} end;

typedef struct meeting {
    char address[256], public_key[KEY_BYTES], secret_key[KEY_BYTES];
} meeting;

static void secure(void *socket, int side, const meeting *m)
{
    char public_key[KEY_BYTES], secret_key[KEY_BYTES];
    int yes = 1, failed = 0;
    if (side == 0) {
        failed |= zmq_setsockopt(socket, ZMQ_CURVE_SERVER, &yes, sizeof yes);
        failed |= zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, m->secret_key, KEY_BYTES);
    } else {
        failed |= zmq_curve_keypair(public_key, secret_key);
        failed |= zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, m->public_key, KEY_BYTES);
        failed |= zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, public_key, KEY_BYTES);
        failed |= zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, secret_key, KEY_BYTES);
    }
    if (failed) { duel_fail("CURVE"); }
}

static void queues(void *socket)
{
    int messages = QUEUE_MESSAGES, nap = NAP_MS;
    int failed = zmq_setsockopt(socket, ZMQ_SNDHWM, &messages, sizeof messages) || zmq_setsockopt(socket, ZMQ_RCVHWM, &messages, sizeof messages) ||
                 zmq_setsockopt(socket, ZMQ_SNDTIMEO, &nap, sizeof nap) || zmq_setsockopt(socket, ZMQ_RCVTIMEO, &nap, sizeof nap);
    if (failed) { duel_fail("queues"); }
}

static void *zmq_end_open(duel_page *page, int side, const char *how, uint32_t size_bytes)
{
    (void)size_bytes;
    meeting m = {0};
    int linger = 0;
    end *e = calloc(1, sizeof *e);
    if (!e) { duel_fail("no memory"); }
    e->context = zmq_ctx_new();
    e->socket = zmq_socket(e->context, ZMQ_PAIR);
    if (!e->socket || zmq_setsockopt(e->socket, ZMQ_LINGER, &linger, sizeof linger)) { duel_fail("socket"); }
    queues(e->socket);
    if (side == 0) {
        if (strcmp(how, "ipc") == 0) {
            (void)snprintf(m.address, sizeof m.address, "ipc://@stoa-peer-%d", (int)getpid());
        } else {
            (void)snprintf(m.address, sizeof m.address, "tcp://127.0.0.1:*");
        }
        if (zmq_curve_keypair(m.public_key, m.secret_key)) { duel_fail("keys"); }
    } else {
        (void)duel_note_of(page, 0, &m, sizeof m);
    }
    if (strcmp(how, "tcp+curve") == 0) { secure(e->socket, side, &m); }
    if (side == 0) {
        size_t bytes = sizeof m.address;
        if (zmq_bind(e->socket, m.address) || zmq_getsockopt(e->socket, ZMQ_LAST_ENDPOINT, m.address, &bytes)) {
            duel_fail("bind");
        }
        duel_note(page, 0, &m, sizeof m);
    } else if (zmq_connect(e->socket, m.address)) {
        duel_fail("connect");
    }
    return e;
}

static bool zmq_end_send(void *of, const void *bytes, uint32_t size_bytes)
{
    end *e = of;
    if (zmq_send(e->socket, bytes, size_bytes, 0) >= 0) { return true; }
    if (errno != EAGAIN) { duel_fail("send"); }
    return false;
}

static void zmq_end_poll(void *of, duel_take *take, void *context)
{
    end *e = of;
    zmq_msg_t message;
    for (int i = 0; i < POLL_MAX; i++) {
        (void)zmq_msg_init(&message);
        if (zmq_msg_recv(&message, e->socket, i ? ZMQ_DONTWAIT : 0) < 0) {
            if (errno != EAGAIN) { duel_fail("recv"); }
            return;
        }
        take(context, zmq_msg_data(&message), (uint32_t)zmq_msg_size(&message));
        (void)zmq_msg_close(&message);
    }
}

static void zmq_end_close(void *of)
{
    end *e = of;
    (void)zmq_close(e->socket);
    (void)zmq_ctx_term(e->context);
    free(e);
}

int main(int argc, char **argv)
{
    static const duel_wire wire = {zmq_end_open, zmq_end_send, NULL, zmq_end_poll, zmq_end_close};
    return duel_main(argc, argv, &wire, "libzmq");
}
