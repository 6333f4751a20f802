/* zmq/zap.c - the handler of zmq/zap.h.
 *
 * A request has seven frames or more: version, request id, domain, address, routing id, mechanism, credentials; for
 * CURVE the credentials are the 32 bytes of the client's public key. The answer has six: version, request id, status,
 * text, User-Id, metadata. Nothing in a request is trusted: frames are read into fixed space, longer ones are cut and
 * then fit no check.
 *
 * The list is sorted by key, and shared by the handler's thread and the link's owner under one mutex; both are cold
 * (once per connection).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/zmq/zap.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <zmq.h>

enum { KEY_BYTES = 32, FRAME_BYTES_MAX = 256, FRAMES_MAX = 8, ALLOWED_MAX = 65536 };
enum { VERSION, REQUEST_ID, DOMAIN_, ADDRESS, ROUTING_ID, MECHANISM, CREDENTIALS, FRAMES_MIN };

typedef struct entry {
    uint8_t key[KEY_BYTES];
    char name[sizeof(((stoa_link_allowed *)0)->name)];
} entry;

typedef struct request {
    uint32_t count;
    size_t size_bytes[FRAMES_MAX];
    uint8_t bytes[FRAMES_MAX][FRAME_BYTES_MAX];
} request;

struct stoa_zap {
    void *socket; /* the handler thread's, once it runs */
    pthread_t thread;
    pthread_mutex_t lock; /* guards entries, count */
    entry *entries;
    uint32_t count;
    _Atomic uint64_t refused;
    char domain[32];
};

/* --- the list */

static int compare(const void *a, const void *b)
{
    return memcmp(((const entry *)a)->key, ((const entry *)b)->key, KEY_BYTES);
}

static bool key_decode(const char *text, uint8_t key_out[KEY_BYTES])
{
    return strnlen(text, STOA_KEY_TEXT_BYTES) == STOA_KEY_TEXT_BYTES - 1 && zmq_z85_decode(key_out, text);
}

static stoa_err entry_fill(entry *at, const stoa_link_allowed *from)
{
    size_t name_bytes = strnlen(from->name, sizeof from->name);
    if (name_bytes == 0 || name_bytes == sizeof from->name) {
        return STOA_FAIL(STOA_E_INVALID, "an allowed peer has no name, or one that is too long");
    }
    memcpy(at->name, from->name, name_bytes + 1);
    if (!key_decode(from->public_key, at->key)) {
        return STOA_FAIL(STOA_E_INVALID, "the public key of %s is not a key", at->name);
    }
    return STOA_OK;
}

static stoa_err entries_new(const stoa_link_allowed *allowed, uint32_t count, entry **out)
{
    if (count > ALLOWED_MAX) { return STOA_FAIL(STOA_E_INVALID, "%u allowed keys, at most %d", count, ALLOWED_MAX); }
    entry *entries = calloc((size_t)count + 1, sizeof *entries);
    if (!entries) { return STOA_FAIL(STOA_E_NOMEM, "no memory for %u allowed keys", count); }

    stoa_err err = STOA_OK;
    for (uint32_t i = 0; i < count && err == STOA_OK; i++) {
        err = entry_fill(&entries[i], &allowed[i]);
    }
    qsort(entries, count, sizeof *entries, compare);
    for (uint32_t i = 1; i < count && err == STOA_OK; i++) {
        if (compare(&entries[i - 1], &entries[i]) == 0) {
            err = STOA_FAIL(STOA_E_INVALID, "%s and %s have the same key", entries[i - 1].name, entries[i].name);
        }
    }
    if (err == STOA_OK) {
        *out = entries;
    } else {
        free(entries);
    }
    return err;
}

stoa_err stoa_zap_allow(stoa_zap *zap, const stoa_link_allowed *allowed, uint32_t count)
{
    entry *entries = NULL;
    stoa_err err = entries_new(allowed, count, &entries);
    if (err) { return err; }
    pthread_mutex_lock(&zap->lock);
    entry *old = zap->entries;
    zap->entries = entries;
    zap->count = count;
    pthread_mutex_unlock(&zap->lock);
    free(old);
    return STOA_OK;
}

static bool find(stoa_zap *zap, const uint8_t key[KEY_BYTES], entry *out)
{
    entry wanted = {.name = ""};
    memcpy(wanted.key, key, KEY_BYTES);
    pthread_mutex_lock(&zap->lock);
    const entry *found = bsearch(&wanted, zap->entries, zap->count, sizeof wanted, compare);
    if (found) { *out = *found; }
    pthread_mutex_unlock(&zap->lock);
    return found != NULL;
}

bool stoa_zap_name(stoa_zap *zap, const char *public_key, char name_out[sizeof(((stoa_link_allowed *)0)->name)])
{
    uint8_t key[KEY_BYTES];
    entry found;
    if (!key_decode(public_key, key) || !find(zap, key, &found)) { return false; }
    memcpy(name_out, found.name, sizeof found.name);
    return true;
}

uint64_t stoa_zap_refused(const stoa_zap *zap)
{
    return atomic_load_explicit(&zap->refused, memory_order_relaxed);
}

/* --- the handler's thread */

/* The next request, cut to what fits; false when the context is shut down. */
static bool receive(void *socket, request *out)
{
    int more = 1;
    for (out->count = 0; more;) {
        uint8_t spare[FRAME_BYTES_MAX];
        bool kept = out->count < FRAMES_MAX;
        int size_bytes = zmq_recv(socket, kept ? out->bytes[out->count] : spare, FRAME_BYTES_MAX, 0);
        if (size_bytes < 0 && errno == EINTR) { continue; }
        size_t option_bytes = sizeof more;
        if (size_bytes < 0 || zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &option_bytes) != 0) { return false; }
        if (kept) { out->size_bytes[out->count++] = (size_t)size_bytes; } /* above FRAME_BYTES_MAX: was cut */
    }
    return true;
}

static bool is_text(const request *from, uint32_t frame, const char *text)
{
    return from->size_bytes[frame] == strlen(text) && memcmp(from->bytes[frame], text, strlen(text)) == 0;
}

/* Whether the request is one we know and its key is on the list. */
static bool allows(stoa_zap *zap, const request *from)
{
    entry found;
    return from->count >= FRAMES_MIN && is_text(from, VERSION, "1.0") && is_text(from, DOMAIN_, zap->domain) &&
           is_text(from, MECHANISM, "CURVE") && from->size_bytes[CREDENTIALS] == KEY_BYTES &&
           find(zap, from->bytes[CREDENTIALS], &found);
}

static bool put(void *socket, const void *bytes, size_t size_bytes, int flags)
{
    int rc;
    do {
        rc = zmq_send(socket, bytes, size_bytes, flags);
    } while (rc < 0 && errno == EINTR);
    return rc >= 0;
}

static bool answer(void *socket, const request *from, bool allowed)
{
    char user_id[STOA_KEY_TEXT_BYTES] = "";
    if (allowed) { zmq_z85_encode(user_id, from->bytes[CREDENTIALS], KEY_BYTES); }
    size_t id_bytes = from->count > REQUEST_ID ? from->size_bytes[REQUEST_ID] : 0;
    if (id_bytes > FRAME_BYTES_MAX) { id_bytes = FRAME_BYTES_MAX; }
    return put(socket, "1.0", 3, ZMQ_SNDMORE) && put(socket, from->bytes[REQUEST_ID], id_bytes, ZMQ_SNDMORE) &&
           put(socket, allowed ? "200" : "400", 3, ZMQ_SNDMORE) && put(socket, allowed ? "OK" : "NO", 2, ZMQ_SNDMORE) &&
           put(socket, user_id, strlen(user_id), ZMQ_SNDMORE) && put(socket, "", 0, 0);
}

static void *serve(void *argument)
{
    stoa_zap *zap = argument;
    request got;
    while (receive(zap->socket, &got)) {
        bool allowed = allows(zap, &got);
        if (!allowed) { atomic_fetch_add_explicit(&zap->refused, 1, memory_order_relaxed); }
        if (!answer(zap->socket, &got, allowed)) { break; }
    }
    zmq_close(zap->socket);
    return NULL;
}

/* The thread takes no signals: they belong to the program. */
static int thread_start(stoa_zap *zap)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&zap->thread, NULL, serve, zap);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

/* --- life */

static void release(stoa_zap *zap)
{
    pthread_mutex_destroy(&zap->lock);
    free(zap->entries);
    free(zap);
}

static stoa_err start(stoa_zap *zap, void *context)
{
    int linger_ms = 0;
    zap->socket = zmq_socket(context, ZMQ_REP);
    if (!zap->socket) { return STOA_FAIL(STOA_E_IO, "no socket for the ZAP handler: %s", zmq_strerror(errno)); }
    zmq_setsockopt(zap->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);

    stoa_err err = STOA_OK;
    if (zmq_bind(zap->socket, "inproc://zeromq.zap.01") != 0) {
        err = STOA_FAIL(errno == EADDRINUSE ? STOA_E_EXISTS : STOA_E_IO, "ZAP handler: %s", zmq_strerror(errno));
    } else if (thread_start(zap) != 0) {
        err = STOA_FAIL(STOA_E_NOMEM, "no thread for the ZAP handler");
    }
    if (err) { zmq_close(zap->socket); }
    return err;
}

stoa_err stoa_zap_start(void *context, const char *domain, const stoa_link_allowed *allowed, uint32_t count,
                        stoa_zap **out)
{
    stoa_zap *zap = calloc(1, sizeof *zap);
    if (!zap) { return STOA_FAIL(STOA_E_NOMEM, "no memory for the ZAP handler"); }
    pthread_mutex_init(&zap->lock, NULL);
    STOA_ASSERT(strlen(domain) < sizeof zap->domain);
    memcpy(zap->domain, domain, strlen(domain) + 1);

    stoa_err err = stoa_zap_allow(zap, allowed, count);
    if (!err) { err = start(zap, context); }
    if (err) {
        release(zap);
        return err;
    }
    *out = zap;
    return STOA_OK;
}

void stoa_zap_free(stoa_zap *zap)
{
    if (!zap) { return; }
    pthread_join(zap->thread, NULL);
    release(zap);
}
