/* follow.c - following one shard, step by step. See follow.h; follower.c has the thread.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/follow.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "runtime/internal.h"
#include "runtime/shard.h"
#include "runtime/sparse.h"

enum {
    EVENTS_A_STEP = 2048,
    CHUNKS_A_STEP = 16,
    SLICE_BYTES = 64 << 10,
    LOOKED_MAX = 1024, /* states looked at at one go */
    COMPARED_MAX = 64 << 20, /* bytes compared for one snapshot; the rest is for the next */
    KEEP = 3,
    RETRY_S = 5,
};

struct stoa_follow {
    struct stoa_shard *shard;
    stoa_log_reader *reader;
    stoa_fold fold;
    stoa_log_end end; /* of the fold's last block */
    stoa_snapshot_store *store;
    stoa_imaging imaging;
    stoa_snapshot *verifying;
    uint64_t verified; /* chunks of it */
    uint64_t *before;  /* seqs when the last snapshot was made */
    uint32_t before_count, before_cap;
    uint64_t *compared; /* seqs when a state was last found equal */
    uint32_t compared_cap;
    uint64_t slice, slices_bytes; /* COMPARE: offset in the state of stream; compared so far, but for zeros in large ones */
    uint32_t stream;
    uint64_t began_ns;            /* the snapshot under way; or the last one, or the following */
    uint64_t retry_ns;            /* not before */
    uint32_t slot;                /* among the shard's readers */
    _Atomic uint32_t asked, answered; /* snapshots that somebody waits for */
    _Atomic uint64_t asked_at;        /* the position that the last one of them must reach */
    pthread_mutex_t lock;
    _Atomic stoa_follow_phase phase;
    stoa_following_view view; /* under lock */
};

static const char *const phases[STOA_FOLLOW_PHASES] = {"starts", "follows", "compares", "writes", "verifies", "prunes", "failed"};

/* --- life */

stoa_err stoa_follow_new(struct stoa_shard *shard, stoa_follow **out)
{
    stoa_follow *f = calloc(1, sizeof *f);
    if (!f) { return STOA_FAIL(STOA_E_NOMEM, "follower of %s", shard->name); }
    f->shard = shard;
    f->slot = STOA_READERS_MAX;
    f->view.phase = phases[STOA_FOLLOW_START];
    (void)pthread_mutex_init(&f->lock, NULL);
    stoa_err err = stoa_log_open(shard, &f->reader);
    if (!err) { err = stoa_fold_init(&f->fold, f->reader); }
    if (!err) { err = stoa_readers_add(&shard->readers, STOA_READER_SNAPSHOT, 0, &f->slot); }
    if (err) {
        stoa_follow_free(f);
        return err;
    }
    stoa_log_whole(f->reader);
    f->began_ns = shard->node->clock->now_ns(shard->node->clock);
    *out = f;
    return STOA_OK;
}

void stoa_follow_free(stoa_follow *f)
{
    if (!f) { return; }
    stoa_imaging_end(&f->imaging);
    stoa_snapshot_close(f->verifying);
    stoa_snapshot_store_close(f->store);
    if (f->slot < STOA_READERS_MAX) { stoa_readers_leave(&f->shard->readers, f->slot); }
    stoa_fold_deinit(&f->fold);
    stoa_log_close(f->reader);
    (void)pthread_mutex_destroy(&f->lock);
    free(f->before);
    free(f->compared);
    free(f);
}

void stoa_follow_look(stoa_follow *f, stoa_following_view *out)
{
    (void)pthread_mutex_lock(&f->lock);
    *out = f->view;
    (void)pthread_mutex_unlock(&f->lock);
}

static void show(stoa_follow *f, stoa_follow_phase phase, uint64_t done, uint64_t total)
{
    const stoa_snapshot_info *last = f->store ? stoa_snapshot_last(f->store) : NULL;
    const stoa_snapshot_info *first = f->store ? stoa_snapshot_first(f->store) : NULL;
    (void)pthread_mutex_lock(&f->lock);
    f->view.phase = phases[phase];
    f->view.followed = f->fold.applied;
    f->view.snapshot = last ? last->position : 0;
    f->view.oldest = first ? first->position : 0;
    f->view.done = done;
    f->view.total = total;
    (void)pthread_mutex_unlock(&f->lock);
    atomic_store(&f->phase, phase);
}

static void count(stoa_follow *f, uint64_t *figure, uint64_t by)
{
    (void)pthread_mutex_lock(&f->lock);
    *figure += by;
    (void)pthread_mutex_unlock(&f->lock);
}

/* --- when */

static const stoa_options *options_of(const stoa_follow *f)
{
    return &f->shard->node->options;
}

static uint64_t last_snapshot(const stoa_follow *f)
{
    const stoa_snapshot_info *last = f->store ? stoa_snapshot_last(f->store) : NULL;
    return last ? last->position : 0;
}

static bool wanted(const stoa_follow *f)
{
    return atomic_load(&f->asked) != atomic_load(&f->answered);
}

static bool snapshot_due(const stoa_follow *f, uint64_t now_ns)
{
    const stoa_options *o = options_of(f);
    uint64_t last = last_snapshot(f), events = f->fold.applied > last ? f->fold.applied - last : 0; /* one that is broken may be ahead */
    if (events == 0 || now_ns < f->retry_ns) { return false; }
    return (o->snapshot_events && events >= o->snapshot_events) || (o->snapshot_ns && now_ns - f->began_ns >= o->snapshot_ns) ||
           (wanted(f) && f->fold.applied >= atomic_load(&f->asked_at));
}

static bool answer_due(const stoa_follow *f)
{
    return wanted(f) && last_snapshot(f) >= atomic_load(&f->asked_at);
}

bool stoa_follow_due(stoa_follow *f, uint64_t now_ns)
{
    stoa_follow_phase phase = atomic_load(&f->phase);
    if (phase == STOA_FOLLOW_FAILED) { return false; }
    if (phase != STOA_FOLLOW_FOLLOW) { return now_ns >= f->retry_ns; }
    return stoa_shard_durable(f->shard) > f->fold.applied || snapshot_due(f, now_ns) || answer_due(f);
}

uint64_t stoa_follow_due_ns(const stoa_follow *f)
{
    stoa_follow_phase phase = atomic_load(&f->phase);
    if (phase == STOA_FOLLOW_FAILED) { return UINT64_MAX; }
    if (phase != STOA_FOLLOW_FOLLOW) { return f->retry_ns; }
    if (f->fold.applied <= last_snapshot(f) || !options_of(f)->snapshot_ns) { return UINT64_MAX; }
    uint64_t due = stoa_time_after(f->began_ns, options_of(f)->snapshot_ns);
    return due > f->retry_ns ? due : f->retry_ns;
}

/* Who asked meanwhile for more than there is asks on. */
static void answer(stoa_follow *f, bool failed)
{
    uint32_t asked = atomic_load(&f->asked);
    if (failed || last_snapshot(f) >= atomic_load(&f->asked_at)) { atomic_store(&f->answered, asked); }
}

/* --- following */

static void fail(stoa_follow *f, stoa_err err)
{
    if (err != STOA_E_CLOSED) { stoa_log_error("follow_failed", err); } /* CLOSED: the machine is gone (a simulated crash) */
    show(f, STOA_FOLLOW_FAILED, 0, 0);
}

static void follow(stoa_follow *f)
{
    uint64_t before = f->fold.applied;
    stoa_err err = stoa_fold_until(&f->fold, before + EVENTS_A_STEP);
    if (f->fold.applied > before) { f->end = stoa_log_ended(f->reader); }
    if (err) {
        fail(f, err);
    } else {
        show(f, STOA_FOLLOW_FOLLOW, 0, 0);
    }
}

/* What is there but not of this log must not be taken for it later. */
static stoa_err drop_foreign(stoa_follow *f)
{
    stoa_err err = stoa_snapshot_prune(f->store, UINT32_MAX, stoa_shard_durable(f->shard));
    for (const stoa_snapshot_info *last; !err && (last = stoa_snapshot_last(f->store)) != NULL;) {
        stoa_err fits = stoa_snapshot_stands(f->shard->journal, last);
        if (!fits) { break; } /* those before it are of its own past */
        if (fits != STOA_E_CORRUPT) { return fits; }
        err = stoa_snapshot_drop(f->store, last->position);
    }
    return err;
}

static void begin_fold(stoa_follow *f)
{
    stoa_snapshot *snapshot;
    stoa_image_directory directory;
    uint64_t at_most = UINT64_MAX;
    while (!f->fold.applied && stoa_shard_snapshot_find(f->shard, at_most, false, &snapshot, &directory) == STOA_OK) {
        uint64_t position = stoa_snapshot_look(snapshot)->position;
        stoa_image_close(&directory);
        f->end = (stoa_log_end){.position = position, .epoch = stoa_snapshot_look(snapshot)->epoch, .hash = stoa_snapshot_look(snapshot)->block};
        if (stoa_image_fold(snapshot, options_of(f)->kinds, &f->fold)) {
            stoa_log_error("snapshot_broken", STOA_E_CORRUPT);
            (void)stoa_snapshot_drop(f->store, position); /* where that fails, it is passed over again */
        }
        stoa_snapshot_close(snapshot);
        at_most = position ? position - 1 : 0;
    }
}

/* The store may be out of order or space for a while: following goes on as soon as it can be looked at. */
static void start(stoa_follow *f, uint64_t now_ns)
{
    stoa_err err = f->store ? STOA_OK : stoa_snapshot_store_open(f->shard->journal, &f->store);
    if (!err) { err = drop_foreign(f); }
    if (err == STOA_E_CLOSED) {
        fail(f, err);
        return;
    }
    if (err) {
        f->retry_ns = stoa_time_after(now_ns, STOA_S(RETRY_S));
        count(f, &f->view.failures, 1);
        return;
    }
    begin_fold(f);
    const stoa_snapshot_info *first = stoa_snapshot_first(f->store);
    if (first) { stoa_readers_move(&f->shard->readers, f->slot, first->position); }
    show(f, STOA_FOLLOW_FOLLOW, 0, 0);
}

/* --- comparing with the running states */

typedef struct slicing {
    stoa_follow *follow;
    uint32_t equal; /* states of which the last slice was found equal */
    uint64_t bytes; /* compared */
    const void *theirs; /* the running state that was looked at last */
    bool differs;
} slicing;

static bool touched(const stoa_follow *f)
{
    return f->compared[f->stream] != f->fold.seqs[f->stream];
}

static uint64_t bytes_of(const stoa_follow *f)
{
    return f->shard->streams.at[f->stream].kind->state_bytes;
}

static bool is_large(const stoa_follow *f)
{
    return bytes_of(f) >= STOA_SPARSE_BYTES;
}

/* What fits of the state that is next; whether to go on with the one behind it. */
static bool compare_slice(slicing *s, uint64_t *room)
{
    stoa_follow *f = s->follow;
    const struct stoa_shard *shard = f->shard;
    uint64_t left = bytes_of(f) - f->slice, bytes = left < *room ? left : *room;
    bool large = is_large(f);
    s->theirs = stoa_shard_state(shard, f->stream);
    if (shard->seqs[f->stream] == f->fold.seqs[f->stream] && !shard->down) {
        s->differs = memcmp((const uint8_t *)s->theirs + f->slice, (const uint8_t *)f->fold.states[f->stream] + f->slice, bytes) != 0;
        *room -= bytes;
        f->slice += bytes;
        if (s->differs || bytes < left) { return false; }
        f->compared[f->stream] = f->fold.seqs[f->stream];
        s->equal++;
    }
    f->stream++;
    f->slice = 0;
    return *room > 0 && !large;
}

/* One visit: as many small states as fit into a slice, or a slice of a large one. */

static void compare_on_core(stoa_core *core, void *context)
{
    slicing *s = context;
    stoa_follow *f = s->follow;
    uint64_t room = SLICE_BYTES;
    (void)core;
    for (uint32_t looked = 0; f->stream <= f->fold.count && looked < LOOKED_MAX; looked++) {
        if (!touched(f)) {
            f->stream++;
        } else if ((is_large(f) && room < SLICE_BYTES) || !compare_slice(s, &room)) {
            break;
        }
    }
    s->bytes = SLICE_BYTES - room;
}

/* The log is what counts: of what was folded here nothing is kept, and of the running state nothing is changed. */
static void differs(stoa_follow *f)
{
    stoa_log(STOA_LOG_ERROR, "state_differs_from_log", STOA_KV("shard", f->shard->name),
             STOA_KV("actor", f->shard->streams.at[f->stream].name), STOA_KU("position", f->fold.applied));
    STOA_ASSERT(!options_of(f)->sim); /* a broken kind, or a broken fold: tests do not go on with it */
    count(f, &f->view.differences, 1);
    stoa_fold_clear(&f->fold);
    f->retry_ns = stoa_time_after(f->shard->node->clock->now_ns(f->shard->node->clock), STOA_S(RETRY_S));
    answer(f, true);
    show(f, STOA_FOLLOW_START, 0, 0);
}

static bool reserve(uint64_t **at, uint32_t *cap, uint32_t count_needed)
{
    if (count_needed <= *cap) { return true; }
    uint64_t *grown = realloc(*at, count_needed * 2 * sizeof *grown);
    if (!grown) { return false; }
    memset(grown + *cap, 0, (count_needed * 2 - *cap) * sizeof *grown);
    *at = grown;
    *cap = count_needed * 2;
    return true;
}

static void begin_image(stoa_follow *f, uint64_t now_ns);

/* A large state, in as many visits as it takes. Slices that neither side ever touched are zero in both, and passed over but for the
 * first and the last; others that are zero do not count: how far this goes depends on nothing but the states. */
static void compare_large(stoa_follow *f, slicing *s)
{
    uint32_t stream = f->stream;
    uint64_t bytes = bytes_of(f);
    const uint8_t *state = f->fold.states[stream];
    stoa_sparse_walk mine = {.at = state, .bytes = bytes}, theirs = {.bytes = bytes};
    while (f->stream == stream && !s->differs) {
        uint64_t from = f->slice, to = from + SLICE_BYTES;
        if (from && to < bytes && !stoa_sparse_touched(&mine, from, to) && !stoa_sparse_touched(&theirs, from, to)) {
            f->slice = to;
            continue;
        }
        stoa_core_do(f->shard->core, compare_on_core, s);
        theirs.at = s->theirs;
        if (!stoa_all_zero(state + from, s->bytes)) { f->slices_bytes += s->bytes; }
    }
}

static void compare(stoa_follow *f, uint64_t now_ns)
{
    slicing s = {.follow = f};
    while (f->stream <= f->fold.count && !touched(f)) { f->stream++; }
    if (f->stream > f->fold.count || f->slices_bytes >= COMPARED_MAX) {
        begin_image(f, now_ns);
        return;
    }
    if (is_large(f)) {
        compare_large(f, &s);
    } else {
        stoa_core_do(f->shard->core, compare_on_core, &s);
        f->slices_bytes += s.bytes;
    }
    count(f, &f->view.compared, s.equal);
    if (s.differs) { differs(f); }
}

static void begin_compare(stoa_follow *f, uint64_t now_ns)
{
    f->began_ns = now_ns;
    f->stream = 0;
    f->slice = f->slices_bytes = 0;
    if (reserve(&f->compared, &f->compared_cap, f->fold.count + 1)) {
        show(f, STOA_FOLLOW_COMPARE, 0, 0);
    } else {
        begin_image(f, now_ns);
    }
}

/* --- writing */

static void give_up(stoa_follow *f, stoa_err err, uint64_t now_ns)
{
    stoa_imaging_end(&f->imaging);
    stoa_snapshot_close(f->verifying);
    f->verifying = NULL;
    if (err == STOA_E_CLOSED) {
        fail(f, err);
        return;
    }
    stoa_log_error("snapshot_failed", err);
    f->before_count = 0;
    f->retry_ns = stoa_time_after(now_ns, STOA_S(RETRY_S));
    count(f, &f->view.failures, 1);
    answer(f, true);
    show(f, STOA_FOLLOW_FOLLOW, 0, 0);
}

static void begin_image(stoa_follow *f, uint64_t now_ns)
{
    stoa_snapshot_info info = {.position = f->fold.applied,
                               .epoch = f->end.epoch,
                               .block = f->end.hash,
                               .wall_ns = f->shard->node->clock->wall_ns(f->shard->node->clock)};
    STOA_ASSERT(f->end.position == f->fold.applied);
    stoa_err err = stoa_imaging_begin(&f->imaging, f->store, &f->fold, &info, f->before, f->before_count);
    if (err) {
        give_up(f, err, now_ns);
    } else {
        show(f, STOA_FOLLOW_IMAGE, 0, f->imaging.total);
    }
}

/* What was written is what the next one is compared with. */
static void remember_seqs(stoa_follow *f)
{
    f->before_count = 0;
    if (!reserve(&f->before, &f->before_cap, f->fold.count + 1)) { return; }
    memcpy(f->before, f->fold.seqs, (f->fold.count + 1) * sizeof *f->before);
    f->before_count = f->fold.count + 1;
}

static void image(stoa_follow *f, uint64_t now_ns)
{
    bool more;
    stoa_snapshot_info info;
    uint64_t put_bytes = 0;
    stoa_err err = stoa_imaging_go(&f->imaging, CHUNKS_A_STEP, &more);
    if (!err && more) {
        show(f, STOA_FOLLOW_IMAGE, f->imaging.done, f->imaging.total);
        return;
    }
    if (!err) { err = stoa_snapshot_end(f->store, f->imaging.bytes, &info, &put_bytes); }
    if (!err) { err = stoa_snapshot_open(f->shard->journal, f->fold.applied, &f->verifying); }
    if (err) {
        give_up(f, err, now_ns);
        return;
    }
    stoa_imaging_end(&f->imaging);
    remember_seqs(f);
    f->verified = 0;
    count(f, &f->view.put_bytes, put_bytes - f->view.put_bytes);
    show(f, STOA_FOLLOW_VERIFY, 0, info.chunks);
}

static void verify(stoa_follow *f, uint64_t now_ns)
{
    uint64_t next, chunks = stoa_snapshot_look(f->verifying)->chunks;
    stoa_err err = stoa_snapshot_look(f->verifying)->position == f->fold.applied
                       ? stoa_snapshot_verify(f->verifying, f->verified, CHUNKS_A_STEP, &next)
                       : STOA_FAIL(STOA_E_CORRUPT, "the snapshot is not there");
    if (err) {
        if (err == STOA_E_CORRUPT) { (void)stoa_snapshot_drop(f->store, f->fold.applied); }
        give_up(f, err, now_ns);
        return;
    }
    f->verified = next;
    show(f, next ? STOA_FOLLOW_VERIFY : STOA_FOLLOW_PRUNE, next ? next : chunks, chunks);
}

static void prune(stoa_follow *f, uint64_t now_ns)
{
    uint32_t keep = options_of(f)->snapshot_keep ? options_of(f)->snapshot_keep : KEEP;
    uint64_t chunks = stoa_snapshot_look(f->verifying)->chunks;
    stoa_snapshot_close(f->verifying);
    f->verifying = NULL;
    stoa_err err = stoa_snapshot_prune(f->store, keep, UINT64_MAX);
    if (err) {
        give_up(f, err, now_ns);
        return;
    }
    const stoa_snapshot_info *first = stoa_snapshot_first(f->store);
    if (first) { stoa_readers_move(&f->shard->readers, f->slot, first->position); }
    (void)pthread_mutex_lock(&f->lock);
    f->view.made++;
    f->view.took_ns = now_ns - f->began_ns;
    (void)pthread_mutex_unlock(&f->lock);
    stoa_log(STOA_LOG_INFO, "snapshot", STOA_KV("shard", f->shard->name), STOA_KU("position", f->fold.applied),
             STOA_KU("chunks", chunks), STOA_KU("put_bytes", f->view.put_bytes), STOA_KU("took_us", f->view.took_ns / 1000));
    answer(f, false);
    show(f, STOA_FOLLOW_FOLLOW, 0, 0);
}

void stoa_follow_ask(stoa_follow *f)
{
    atomic_store(&f->asked_at, stoa_shard_durable(f->shard));
    (void)atomic_fetch_add(&f->asked, 1);
}

bool stoa_follow_answered(stoa_follow *f)
{
    return !wanted(f) || atomic_load(&f->phase) == STOA_FOLLOW_FAILED;
}

void stoa_follow_step(stoa_follow *f, uint64_t now_ns)
{
    switch (atomic_load(&f->phase)) {
    case STOA_FOLLOW_START: start(f, now_ns); break;
    case STOA_FOLLOW_COMPARE: compare(f, now_ns); break;
    case STOA_FOLLOW_IMAGE: image(f, now_ns); break;
    case STOA_FOLLOW_VERIFY: verify(f, now_ns); break;
    case STOA_FOLLOW_PRUNE: prune(f, now_ns); break;
    case STOA_FOLLOW_FOLLOW:
        if (snapshot_due(f, now_ns)) {
            begin_compare(f, now_ns);
        } else if (answer_due(f)) {
            answer(f, false);
        } else {
            follow(f);
        }
        break;
    case STOA_FOLLOW_FAILED:
    case STOA_FOLLOW_PHASES: break;
    }
}
