/* ucx/worker.c - as ucx/worker.h says.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/ucx/worker.h"

#include <pthread.h>
#include <string.h>

static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER; /* what was free for one is not taken by another */

stoa_err stoa_ucx_fail(stoa_err err, const char *what, ucs_status_t status)
{
    return STOA_FAIL(err, "UCX: %s: %s", what, ucs_status_string(status));
}

static stoa_err address_take(stoa_ucx_worker *worker)
{
    if (worker->tcp) { return stoa_ucx_address_take(&worker->own, worker->address, worker->address_bytes); }
    return worker->address_bytes <= STOA_CARRIER_ADDRESS_BYTES ? STOA_OK : STOA_E_UNSUPPORTED;
}

stoa_err stoa_ucx_worker_open(stoa_ucx_worker *out, ucp_context_h context, const stoa_ucx_ports *ports,
                              ucp_am_recv_callback_t on_message, void *argument)
{
    ucp_worker_params_t params = {.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
                                  .thread_mode = UCS_THREAD_MODE_SINGLE};
    ucp_am_handler_param_t handler = {.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB |
                                                    UCP_AM_HANDLER_PARAM_FIELD_ARG,
                                      .id = STOA_UCX_MESSAGE_ID,
                                      .cb = on_message,
                                      .arg = argument};
    *out = (stoa_ucx_worker){.tcp = ports != NULL, .fd = -1};
    ucs_status_t status = UCS_OK;
    (void)pthread_mutex_lock(&making);
    stoa_err err = stoa_ucx_means(ports);
    if (!err) { status = ucp_worker_create(context, &params, &out->worker); }
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
