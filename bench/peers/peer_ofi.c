/* peer_ofi.c - the libfabric peer of bench_links: HOW flow|echo SIZE RUNS RUN_MS, see bench/links/duel.h. HOW is a provider:
 * shm, tcp;ofi_rxm.
 *
 * Messages of reliable endpoints; receives are posted ahead, a bounded number of sends is under way from a copy of each frame.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/links/duel.h"

enum { SLOTS = 64, ADDRESS_MAX = 512, READ_MAX = 32 };

typedef struct end end;
typedef struct slot {
    struct fi_context context; /* first, for modes that need it */
    uint8_t *bytes;
    bool busy, is_receive;
} slot;

struct end {
    struct fi_info *info;
    struct fid_fabric *fabric;
    struct fid_domain *domain;
    struct fid_cq *cq;
    struct fid_av *av;
    struct fid_ep *ep;
    struct fid_mr *mr;
    void *desc;
    fi_addr_t peer;
    uint32_t size_bytes, next;
    uint8_t *memory;
    slot sends[SLOTS], receives[SLOTS];
    uint64_t welcomes;
    duel_take *take;
    void *of;
};

static void must(long rc, const char *what)
{
    if (rc == 0) { return; }
    (void)fprintf(stderr, "peer_ofi: %s: %s\n", what, fi_strerror((int)-rc));
    exit(1);
}

static void post(end *e, slot *s)
{
    long rc;
    while ((rc = fi_recv(e->ep, s->bytes, e->size_bytes, e->desc, FI_ADDR_UNSPEC, &s->context)) == -FI_EAGAIN) {}
    must(rc, "fi_recv");
}

static void ofi_poll(void *of, duel_take *take, void *context)
{
    end *e = of;
    struct fi_cq_msg_entry done[READ_MAX];
    e->take = take;
    e->of = context;
    ssize_t count = fi_cq_read(e->cq, done, READ_MAX);
    if (count == -FI_EAGAIN) { return; }
    if (count < 0) { must(count, "completion"); }
    for (ssize_t i = 0; i < count; i++) {
        slot *s = done[i].op_context;
        s->busy = false;
        if (!s->is_receive) { continue; }
        if (done[i].len == 1) {
            e->welcomes++;
        } else if (e->take) {
            e->take(e->of, s->bytes, (uint32_t)done[i].len);
        }
        post(e, s);
    }
}

static bool ofi_send(void *of, const void *bytes, uint32_t size_bytes)
{
    end *e = of;
    slot *s = &e->sends[e->next % SLOTS];
    if (s->busy) { return false; }
    memcpy(s->bytes, bytes, size_bytes);
    long rc = fi_send(e->ep, s->bytes, size_bytes, e->desc, e->peer, &s->context);
    if (rc == -FI_EAGAIN) { return false; }
    must(rc, "fi_send");
    s->busy = true;
    e->next++;
    return true;
}

static void memory_make(end *e)
{
    size_t bytes = (size_t)e->size_bytes * 2 * SLOTS;
    if (posix_memalign((void **)&e->memory, 4096, bytes)) { duel_fail("no memory"); }
    memset(e->memory, 0, bytes);
    if (e->info->domain_attr->mr_mode & FI_MR_LOCAL) {
        must(fi_mr_reg(e->domain, e->memory, bytes, FI_SEND | FI_RECV, 0, 1, 0, &e->mr, NULL), "memory");
        e->desc = fi_mr_desc(e->mr);
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        e->sends[i].bytes = e->memory + (size_t)i * e->size_bytes;
        e->receives[i] = (slot){.bytes = e->memory + (size_t)(SLOTS + i) * e->size_bytes, .is_receive = true};
    }
}

static void meet(end *e, duel_page *page, int side)
{
    uint8_t ours[ADDRESS_MAX], theirs[ADDRESS_MAX];
    size_t bytes = sizeof ours;
    must(fi_getname(&e->ep->fid, ours, &bytes), "address");
    duel_note(page, side, ours, (uint32_t)bytes);
    (void)duel_note_of(page, 1 - side, theirs, sizeof theirs);
    if (fi_av_insert(e->av, theirs, 1, &e->peer, 0, NULL) != 1) { duel_fail("no such address"); }
    for (uint32_t i = 0; i < SLOTS; i++) {
        post(e, &e->receives[i]);
    }
    uint8_t one = 1;
    bool said = false;
    while (!said || !e->welcomes) {
        if (!said) { said = ofi_send(e, &one, 1); }
        ofi_poll(e, NULL, NULL);
    }
}

static struct fi_info *wanted(const char *provider)
{
    struct fi_info *hints = fi_allocinfo(), *found = NULL;
    if (!hints) { duel_fail("no memory"); }
    hints->ep_attr->type = FI_EP_RDM;
    hints->caps = FI_MSG;
    hints->mode = FI_CONTEXT;
    hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
    hints->domain_attr->threading = FI_THREAD_DOMAIN;
    hints->fabric_attr->prov_name = strdup(provider);
    bool is_tcp = strncmp(provider, "tcp", 3) == 0;
    must(fi_getinfo(FI_VERSION(1, 17), is_tcp ? "127.0.0.1" : NULL, NULL, is_tcp ? FI_SOURCE : 0, hints, &found),
         provider);
    fi_freeinfo(hints);
    return found;
}

static void *ofi_open(duel_page *page, int side, const char *how, uint32_t size_bytes)
{
    end *e = calloc(1, sizeof *e);
    if (!e) { duel_fail("no memory"); }
    e->size_bytes = size_bytes;
    e->info = wanted(how);
    must(fi_fabric(e->info->fabric_attr, &e->fabric, NULL), "fabric");
    must(fi_domain(e->fabric, e->info, &e->domain, NULL), "domain");
    struct fi_cq_attr queue = {.format = FI_CQ_FORMAT_MSG, .wait_obj = FI_WAIT_NONE, .size = 4096};
    struct fi_av_attr names = {.type = FI_AV_TABLE, .count = 16};
    must(fi_cq_open(e->domain, &queue, &e->cq, NULL), "queue");
    must(fi_av_open(e->domain, &names, &e->av, NULL), "addresses");
    must(fi_endpoint(e->domain, e->info, &e->ep, NULL), "endpoint");
    must(fi_ep_bind(e->ep, &e->cq->fid, FI_TRANSMIT | FI_RECV), "queue");
    must(fi_ep_bind(e->ep, &e->av->fid, 0), "addresses");
    must(fi_enable(e->ep), "enable");
    memory_make(e);
    meet(e, page, side);
    return e;
}

static void ofi_close(void *of)
{
    end *e = of;
    (void)fi_close(&e->ep->fid);
    if (e->mr) { (void)fi_close(&e->mr->fid); }
    (void)fi_close(&e->cq->fid);
    (void)fi_close(&e->av->fid);
    (void)fi_close(&e->domain->fid);
    (void)fi_close(&e->fabric->fid);
}

int main(int argc, char **argv)
{
    static const duel_wire wire = {ofi_open, ofi_send, NULL, ofi_poll, ofi_close};
    return duel_main(argc, argv, &wire, "libfabric");
}
