/* shm/listen.c - the listening side of shm: who may connect, and greetings answered.
 *
 * A process of another user is refused before anything it says is read, and nothing is allocated for it. Whoever may
 * connect gets memory when it has said HELLO; 64 at most may be about to, for 5 s each, beside those that are served. One
 * more, and the oldest of them is refused: who says nothing shuts nobody out.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "transport/shm/inner.h"

/* --- users */

bool stoa_shm_key_uid(const char *key, uid_t *uid_out)
{
    unsigned long uid;
    int end = 0;
    bool is_uid =
        sscanf(key, "uid:%10lu%n", &uid, &end) == 1 && !key[end] && key[4] >= '0' && key[4] <= '9' && uid < UINT32_MAX;
    if (is_uid) { *uid_out = (uid_t)uid; }
    return is_uid;
}

void stoa_shm_identity(uid_t uid, char identity[STOA_SHM_IDENTITY_BYTES])
{
    (void)snprintf(identity, STOA_SHM_IDENTITY_BYTES, "uid:%lu", (unsigned long)uid);
}

bool stoa_shm_link_allows(const stoa_shm_link *link, uid_t uid, char identity[STOA_SHM_IDENTITY_BYTES])
{
    uid_t at;
    for (uint32_t i = 0; i < link->allowed_count; i++) {
        if (stoa_shm_key_uid(link->allowed[i].public_key, &at) && at == uid) {
            (void)snprintf(identity, STOA_SHM_IDENTITY_BYTES, "%s", link->allowed[i].name);
            return true;
        }
    }
    if (link->listed || uid != geteuid()) { return false; }
    stoa_shm_identity(uid, identity);
    return true;
}

static stoa_err list_check(const stoa_link_allowed *allowed, uint32_t count)
{
    uid_t uid, other;
    for (uint32_t i = 0; i < count; i++) {
        bool is_name = allowed[i].name[0] && strnlen(allowed[i].name, sizeof allowed[i].name) < sizeof allowed[i].name;
        bool is_key = strnlen(allowed[i].public_key, STOA_KEY_TEXT_BYTES) < STOA_KEY_TEXT_BYTES &&
                      stoa_shm_key_uid(allowed[i].public_key, &uid);
        if (!is_name || !is_key) {
            return STOA_FAIL(STOA_E_INVALID, "entry %u has no name, or is not \"uid:\" and a number", i);
        }
        for (uint32_t j = 0; j < i; j++) {
            bool twice = stoa_shm_key_uid(allowed[j].public_key, &other) && other == uid;
            if (twice) { return STOA_FAIL(STOA_E_INVALID, "user %lu is listed twice", (unsigned long)uid); }
        }
    }
    return STOA_OK;
}

stoa_err stoa_shm_allow(stoa_link *link, const stoa_link_allowed *allowed, uint32_t count)
{
    stoa_shm_link *self = (stoa_shm_link *)(void *)link;
    if (self->side != &stoa_shm_listen) { return STOA_FAIL(STOA_E_INVALID, "who dials has no list"); }
    stoa_err err = list_check(allowed, count);
    if (err) { return err; }
    stoa_link_allowed *list = calloc(count ? count : 1, sizeof *list);
    if (!list) { return STOA_FAIL(STOA_E_NOMEM, "no memory for a list of %u users", count); }
    if (count) { memcpy(list, allowed, count * sizeof *list); }
    free(self->allowed);
    self->allowed = list;
    self->allowed_count = count;
    self->listed = true;
    for (uint32_t i = 0; i < self->live_count; i++) {
        stoa_shm_conn *conn = self->conns[self->live[i]];
        char identity[STOA_SHM_IDENTITY_BYTES];
        if (!stoa_shm_link_allows(self, conn->process.uid, identity)) {
            stoa_shm_conn_refuse(self, conn, STOA_E_DENIED);
        } else if (conn->state < STOA_SHM_UP) {
            memcpy(conn->identity, identity, sizeof identity);
        } else if (strcmp(conn->identity, identity) != 0) {
            stoa_shm_conn_refuse(self, conn, STOA_E_CLOSED);
        }
    }
    return STOA_OK;
}

/* --- connections */

static stoa_err listen_open(stoa_shm_link *link)
{
    stoa_err err = stoa_shm_socket_listen(link->name, &link->listener);
    if (!err) { stoa_shm_link_listens(link, true); }
    return err;
}

/* Room for one more that has not said who it is. */
static void make_room(stoa_shm_link *link)
{
    stoa_shm_conn *oldest = NULL;
    uint32_t count = 0;
    for (uint32_t i = 0; i < link->live_count; i++) {
        stoa_shm_conn *conn = link->conns[link->live[i]];
        if (conn->state != STOA_SHM_GREETING) { continue; }
        count++;
        if (!oldest || conn->peer < oldest->peer) { oldest = conn; } /* numbers grow */
    }
    if (count >= STOA_SHM_GREETING_MAX) { stoa_shm_conn_refuse(link, oldest, STOA_E_FULL); }
}

static void admit(stoa_shm_link *link, int socket)
{
    static const stoa_shm_note refusal = {
        .magic = STOA_SHM_MAGIC, .version = STOA_SHM_VERSION, .word = STOA_SHM_REFUSED};
    stoa_shm_note note = refusal;
    stoa_shm_process process = {0};
    stoa_shm_conn *conn = NULL;
    char identity[STOA_SHM_IDENTITY_BYTES];
    stoa_err err = stoa_shm_socket_process(socket, &process);
    if (!err && !stoa_shm_link_allows(link, process.uid, identity)) { err = STOA_E_DENIED; }
    if (!err && link->served >= link->peer_limit) { err = STOA_E_FULL; }
    if (!err) {
        make_room(link);
        err = stoa_shm_conn_new(link, socket, &conn);
    }
    if (!err) {
        memcpy(conn->identity, identity, sizeof identity);
        return;
    }
    note.why = err == STOA_E_DENIED ? STOA_E_DENIED : STOA_E_FULL;
    stoa_shm_link_refused(link, note.why);
    (void)stoa_shm_socket_say(socket, &note, -1);
    (void)close(socket);
}

static void listen_look(stoa_shm_link *link, uint64_t now_ns)
{
    (void)now_ns;
    if (link->listener < 0) { return; }
    if (link->deaf) { stoa_shm_link_listens(link, true); }
    for (uint32_t i = 0; i < STOA_SHM_ACCEPT_MAX; i++) {
        int socket = -1;
        stoa_err err = stoa_shm_socket_accept(link->listener, &socket);
        if (err == STOA_E_AGAIN) { return; }
        if (err) { /* nothing can be accepted for now, and who waits would keep us awake */
            stoa_shm_link_listens(link, false);
            return;
        }
        admit(link, socket);
    }
}

static void listen_greeted(stoa_shm_link *link, stoa_shm_conn *conn, const stoa_shm_note *note, int memory)
{
    stoa_err err = note->word == STOA_SHM_HELLO ? STOA_OK : STOA_E_MALFORMED;
    if (!err && link->served >= link->peer_limit) { err = STOA_E_FULL; }
    if (!err) { err = stoa_shm_conn_meet(link, conn, note, memory); }
    if (err) { stoa_shm_conn_refuse(link, conn, err == STOA_E_MALFORMED ? STOA_E_MALFORMED : STOA_E_FULL); }
}

static void listen_over(stoa_shm_link *link, const stoa_shm_conn *conn)
{
    (void)link, (void)conn;
}

const stoa_shm_side stoa_shm_listen = {
    .open = listen_open, .look = listen_look, .greeted = listen_greeted, .over = listen_over};
