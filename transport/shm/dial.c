/* shm/dial.c - the dialling side of shm: attempts and the pauses between them.
 *
 * An attempt that finds nobody, and a connection that did not last, is followed by the next after 20 ms, then twice as
 * much, up to 500 ms; a refusal by the next after a second. Who listens must be the user it is expected to be (our own,
 * or server_key), because anybody can take a name.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "base/clock.h"
#include "transport/shm/inner.h"

enum { PAUSE_MIN_MS = 20, PAUSE_MAX_MS = 500 };

static void dial_again(stoa_shm_link *link)
{
    uint64_t now_ns = stoa_clock_real.now_ns(&stoa_clock_real);
    link->dial_ns = now_ns + STOA_MS(link->pause_ms);
    link->pause_ms = link->pause_ms * 2 < PAUSE_MAX_MS ? link->pause_ms * 2 : PAUSE_MAX_MS;
}

/* socket is taken. */
static stoa_err greet(stoa_shm_link *link, int socket)
{
    stoa_shm_process process;
    stoa_shm_conn *conn = NULL;
    stoa_err err = stoa_shm_socket_process(socket, &process);
    if (!err && process.uid != link->server_uid) {
        stoa_shm_link_refused(link, STOA_E_DENIED);
        err = STOA_E_DENIED;
    }
    if (!err) { err = stoa_shm_conn_new(link, socket, &conn); }
    if (err) {
        (void)close(socket);
        return err;
    }
    stoa_shm_identity(process.uid, conn->identity);
    if (stoa_shm_conn_greet(link, conn, STOA_SHM_HELLO)) { stoa_shm_conn_end(link, conn); }
    return STOA_OK;
}

static void dial_look(stoa_shm_link *link, uint64_t now_ns)
{
    int socket = -1;
    if (!link->dial_ns || now_ns < link->dial_ns || link->live_count) { return; }
    link->dial_ns = 0;
    stoa_err err = stoa_shm_socket_connect(link->name, &socket);
    if (!err) { err = greet(link, socket); }
    if (err) { dial_again(link); }
}

static stoa_err dial_open(stoa_shm_link *link)
{
    int socket = -1;
    link->pause_ms = PAUSE_MIN_MS;
    link->dial_ns = link->looked_ns;
    stoa_err err = stoa_shm_socket_connect(link->name, &socket); /* the name is checked, too */
    if (err == STOA_E_AGAIN) { return STOA_OK; }
    if (err) { return err; }
    link->dial_ns = 0;
    if (greet(link, socket)) { dial_again(link); }
    return STOA_OK;
}

static void dial_greeted(stoa_shm_link *link, stoa_shm_conn *conn, const stoa_shm_note *note, int memory)
{
    stoa_err err = note->word == STOA_SHM_WELCOME ? STOA_OK : STOA_E_MALFORMED;
    if (!err) { err = stoa_shm_conn_meet(link, conn, note, memory); }
    if (err == STOA_E_MALFORMED) { stoa_shm_conn_refuse(link, conn, err); }
    if (err) { stoa_shm_conn_end(link, conn); }
}

static void dial_over(stoa_shm_link *link, const stoa_shm_conn *conn)
{
    bool lasted = conn->up_ns && stoa_clock_real.now_ns(&stoa_clock_real) - conn->up_ns > STOA_S(1);
    if (lasted && link->pause_ms <= PAUSE_MAX_MS) { link->pause_ms = PAUSE_MIN_MS; }
    dial_again(link);
}

const stoa_shm_side stoa_shm_dial = {.open = dial_open, .look = dial_look, .greeted = dial_greeted, .over = dial_over};
