/* ucx/worker.c - as ucx/worker.h says.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/ucx/worker.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { PATIENCE_MS = 500 }; /* a worker takes less than one */

static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER; /* what was free for one is not taken by another */

stoa_err stoa_ucx_fail(stoa_err err, const char *what, ucs_status_t status)
{
    return STOA_FAIL(err, "UCX: %s: %s", what, ucs_status_string(status));
}

/* --- made by a thread of its own: another process may have taken the ports that were free, and then UCX does not return */

typedef struct job {
    ucp_context_h context;
    ucp_worker_h worker;
    ucs_status_t status;
    int bell;                  /* readable once it is done */
    bool done, given_up, last; /* under the lock. last: the context goes with it */
} job;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static job *stuck; /* the one that was given up; under the lock. Until it is over no other is begun */

static ucs_status_t create(ucp_context_h context, ucp_worker_h *out)
{
    ucp_worker_params_t params = {.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE, .thread_mode = UCS_THREAD_MODE_SINGLE};
    return ucp_worker_create(context, &params, out);
}

static void job_free(job *of)
{
    if (of->bell >= 0) { (void)close(of->bell); }
    free(of);
}

/* A port has come free for whom nobody waits any more. */
static void job_bury(job *of)
{
    if (of->status == UCS_OK) { ucp_worker_destroy(of->worker); }
    (void)pthread_mutex_lock(&lock);
    bool last = of->last;
    stuck = NULL;
    (void)pthread_mutex_unlock(&lock);
    if (last) { ucp_cleanup(of->context); }
    job_free(of);
}

static void *job_run(void *context)
{
    job *of = context;
    of->status = create(of->context, &of->worker);
    (void)pthread_mutex_lock(&lock);
    bool given_up = of->given_up;
    of->done = true;
    (void)eventfd_write(of->bell, 1);
    (void)pthread_mutex_unlock(&lock); /* else it is its owner's from here on */
    if (given_up) { job_bury(of); }
    return NULL;
}

/* NULL: no memory, thread or descriptor. */
static job *job_begin(ucp_context_h context)
{
    pthread_t thread;
    sigset_t all, before;
    job *of = calloc(1, sizeof *of);
    if (!of) { return NULL; }
    of->context = context;
    of->bell = eventfd(0, EFD_CLOEXEC);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    bool runs = of->bell >= 0 && pthread_create(&thread, NULL, job_run, of) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!runs) {
        job_free(of);
        return NULL;
    }
    (void)pthread_detach(thread);
    return of;
}

static stoa_err create_patiently(ucp_context_h context, const stoa_ucx_ports *ports, ucp_worker_h *worker, ucs_status_t *status)
{
    (void)pthread_mutex_lock(&lock);
    bool waits = stuck != NULL;
    (void)pthread_mutex_unlock(&lock);
    job *of = waits ? NULL : job_begin(context);
    if (!of && !waits) { return STOA_FAIL(STOA_E_IO, "no memory, thread or descriptor for UCX"); }
    if (of) {
        (void)poll(&(struct pollfd){.fd = of->bell, .events = POLLIN}, 1, PATIENCE_MS);
        (void)pthread_mutex_lock(&lock);
        waits = of->given_up = !of->done;
        if (waits) { stuck = of; }
        (void)pthread_mutex_unlock(&lock);
    }
    if (waits || !of) {
        return STOA_FAIL(STOA_E_FULL, "UCX_TCP_PORT_RANGE: others took the ports %u to %u while a connection was being made", ports->first, ports->last);
    }
    *worker = of->worker;
    *status = of->status;
    job_free(of);
    return STOA_OK;
}

void stoa_ucx_context_close(ucp_context_h context)
{
    (void)pthread_mutex_lock(&lock);
    bool waits = stuck && stuck->context == context;
    if (waits) { stuck->last = true; }
    (void)pthread_mutex_unlock(&lock);
    if (context && !waits) { ucp_cleanup(context); }
}

/* --- its life */

static stoa_err address_take(stoa_ucx_worker *worker)
{
    if (worker->tcp) { return stoa_ucx_address_take(&worker->own, worker->address, worker->address_bytes); }
    return worker->address_bytes <= STOA_CARRIER_ADDRESS_BYTES ? STOA_OK : STOA_E_UNSUPPORTED;
}

stoa_err stoa_ucx_worker_open(stoa_ucx_worker *out, ucp_context_h context, const stoa_ucx_ports *ports,
                              ucp_am_recv_callback_t on_message, void *argument)
{
    ucp_am_handler_param_t handler = {.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB |
                                                    UCP_AM_HANDLER_PARAM_FIELD_ARG,
                                      .id = STOA_UCX_MESSAGE_ID,
                                      .cb = on_message,
                                      .arg = argument};
    *out = (stoa_ucx_worker){.tcp = ports != NULL, .fd = -1};
    ucs_status_t status = UCS_OK;
    (void)pthread_mutex_lock(&making);
    stoa_err err = stoa_ucx_means(ports);
    if (!err && ports && ports->last) {
        err = create_patiently(context, ports, &out->worker, &status);
    } else if (!err) {
        status = create(context, &out->worker);
    }
    (void)pthread_mutex_unlock(&making);
    if (err) { return err; }
    if (status == UCS_OK) { status = ucp_worker_set_am_recv_handler(out->worker, &handler); }
    if (status == UCS_OK) { status = ucp_worker_get_efd(out->worker, &out->fd); }
    if (status == UCS_OK) { status = ucp_worker_get_address(out->worker, &out->address, &out->address_bytes); }
    err = status == UCS_OK              ? address_take(out)
          : status == UCS_ERR_NO_MEMORY ? stoa_ucx_fail(STOA_E_NOMEM, "no worker", status)
                                        : stoa_ucx_fail(STOA_E_IO, "no worker", status);
    if (err) { stoa_ucx_worker_close(out); }
    return err;
}

void stoa_ucx_worker_close(stoa_ucx_worker *worker)
{
    if (!worker->worker) { return; }
    if (worker->address) { ucp_worker_release_address(worker->worker, worker->address); }
    ucp_worker_destroy(worker->worker);
    *worker = (stoa_ucx_worker){.fd = -1};
}

uint32_t stoa_ucx_worker_address(const stoa_ucx_worker *worker, const struct sockaddr *here,
                                 uint8_t out[STOA_CARRIER_ADDRESS_BYTES])
{
    if (worker->tcp) {
        stoa_ucx_address_write(&worker->own, here, out);
        return STOA_UCX_ADDRESS_BYTES;
    }
    memcpy(out, worker->address, worker->address_bytes);
    return (uint32_t)worker->address_bytes;
}

stoa_err stoa_ucx_worker_address_read(const stoa_ucx_worker *worker, const void *address, uint32_t size_bytes,
                                      uint8_t blob_out[STOA_UCX_BLOB_BYTES])
{
    if (worker->tcp) { return stoa_ucx_address_read(&worker->own, address, size_bytes, blob_out); }
    memset(blob_out, 0, STOA_UCX_BLOB_BYTES);
    if (size_bytes != worker->address_bytes) { return STOA_E_MALFORMED; }
    memcpy(blob_out, address, size_bytes);
    return STOA_OK;
}
