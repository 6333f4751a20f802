/* journal.c - storage/archive/journal.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "storage/archive/journal.h"

#include <inttypes.h>
#include <stdlib.h>

#include "storage/archive/seam.h"
#include "storage/block.h"

typedef struct archived {
    stoa_journal base;
    stoa_journal *log;
    stoa_archive *archive;
} archived;

static const stoa_journal_ops archived_ops;

static archived *self_of(stoa_journal *journal)
{
    return (archived *)journal;
}

/* --- reading across the seam */

/* Who visits: one of the two. */
typedef struct crossing {
    stoa_journal *log;
    stoa_err (*block)(void *context, const stoa_block *block);
    stoa_err (*stored)(void *context, const void *bytes, size_t size_bytes);
    void *context;
    uint64_t next;     /* position to be read */
    stoa_hash256 hash; /* of the last block from the archive */
} crossing;

static stoa_err cross(void *context, const void *bytes, size_t size_bytes)
{
    crossing *c = context;
    stoa_block_view view;
    stoa_err err = stoa_block_decode(bytes, size_bytes, &view);
    if (!err) { err = c->block ? c->log->ops->show(c->log, bytes, size_bytes, c->block, c->context) : c->stored(c->context, bytes, size_bytes); }
    if (err) { return err; }
    c->next = stoa_block_last(&view.block) + 1;
    c->hash = view.hash;
    return STOA_OK;
}

static stoa_err read_log(crossing *c)
{
    const stoa_journal_ops *ops = c->log->ops;
    return c->block ? ops->read(c->log, c->next, c->block, c->context) : ops->read_stored(c->log, c->next, c->stored, c->context);
}

static stoa_err read_archive(archived *self, crossing *c, uint64_t first)
{
    uint64_t begin = c->next;
    stoa_err err = stoa_archive_read(self->archive, begin, first - 1, cross, c);
    if (err == STOA_E_NOT_FOUND && c->next == begin) {
        return STOA_PASS(STOA_E_GONE, "position %" PRIu64 " is neither in the log nor in its archive", begin);
    }
    if (err) { return err; }
    stoa_journal_state state;
    c->log->ops->state(c->log, &state);
    if (c->next != state.first) { return STOA_OK; } /* purged meanwhile: on in the archive */
    err = stoa_seam_passes(c->log, c->next - 1, &c->hash);
    return err == STOA_E_GONE ? STOA_OK : err;
}

/* A purge may overtake the read at any moment: what is gone from the log is in the archive then. */
static stoa_err read_across(archived *self, uint64_t from, crossing *c)
{
    c->log = self->log;
    c->next = from;
    for (;;) {
        stoa_journal_state state;
        self->log->ops->state(self->log, &state);
        uint64_t begin = c->next;
        if (begin >= state.first || begin == 0) {
            stoa_err err = read_log(c);
            if (err != STOA_E_GONE || begin == 0) { return err; }
            self->log->ops->state(self->log, &state);
        }
        if (begin >= state.first) { return STOA_FAIL(STOA_E_GONE, "position %" PRIu64, begin); }
        stoa_err err = read_archive(self, c, state.first);
        if (err) { return err; }
        if (c->next > state.last) { return STOA_OK; }
    }
}

static stoa_err archived_read(stoa_journal *journal, uint64_t from, stoa_err (*visit)(void *context, const stoa_block *block),
                              void *context)
{
    return read_across(self_of(journal), from, &(crossing){.block = visit, .context = context});
}

static stoa_err archived_read_stored(stoa_journal *journal, uint64_t from, stoa_stored_visit visit, void *context)
{
    return read_across(self_of(journal), from, &(crossing){.stored = visit, .context = context});
}

/* --- the rest is the log's */

static void archived_state(stoa_journal *journal, stoa_journal_state *out)
{
    archived *self = self_of(journal);
    self->log->ops->state(self->log, out);
    uint64_t first = stoa_archive_first(self->archive);
    if (first < out->first && stoa_archive_last(self->archive, false) + 1 >= out->first) { out->first = first; }
}

void stoa_journal_log_state(stoa_journal *journal, stoa_journal_state *out)
{
    stoa_journal *log = journal->ops == &archived_ops ? self_of(journal)->log : journal;
    log->ops->state(log, out);
}

static stoa_err archived_append(stoa_journal *journal, const stoa_block *block, bool sync)
{
    stoa_journal *log = self_of(journal)->log;
    return log->ops->append(log, block, sync);
}

static stoa_err archived_append_stored(stoa_journal *journal, const void *bytes, size_t size_bytes, bool sync)
{
    stoa_journal *log = self_of(journal)->log;
    return log->ops->append_stored(log, bytes, size_bytes, sync);
}

static stoa_err archived_begin(stoa_journal *journal, const stoa_journal_state *anchor)
{
    stoa_journal *log = self_of(journal)->log;
    return log->ops->begin(log, anchor);
}

static stoa_err archived_sync(stoa_journal *journal)
{
    stoa_journal *log = self_of(journal)->log;
    return log->ops->sync(log);
}

static stoa_err archived_show(stoa_journal *journal, const void *bytes, size_t size_bytes,
                              stoa_err (*visit)(void *context, const stoa_block *block), void *context)
{
    stoa_journal *log = self_of(journal)->log;
    return log->ops->show(log, bytes, size_bytes, visit, context);
}

static stoa_err archived_lookup(stoa_journal *journal, uint64_t id, stoa_err (*visit)(void *context, uint64_t position),
                                void *context)
{
    stoa_journal *log = self_of(journal)->log;
    return log->ops->lookup(log, id, visit, context);
}

static void archived_seal(stoa_journal *journal, const struct stoa_keyring *keys)
{
    stoa_journal *log = self_of(journal)->log;
    log->ops->seal(log, keys);
}

static void archived_measure(stoa_journal *journal, stoa_journal_figures *out)
{
    stoa_journal *log = self_of(journal)->log;
    log->ops->measure(log, out);
}

static stoa_err archived_reindex(stoa_journal *journal, stoa_reindexed *out)
{
    stoa_journal *log = self_of(journal)->log;
    return log->ops->reindex(log, out);
}

static uint64_t archived_room(stoa_journal *journal)
{
    stoa_journal *log = self_of(journal)->log;
    return log->ops->room(log);
}

static stoa_err archived_purge(stoa_journal *journal, uint64_t below)
{
    stoa_journal *log = self_of(journal)->log;
    return log->ops->purge(log, below);
}

static stoa_err archived_put(stoa_journal *journal, stoa_space space, const stoa_side_entry *entries, uint32_t count, bool sync)
{
    stoa_journal *log = self_of(journal)->log;
    return log->ops->put(log, space, entries, count, sync);
}

static stoa_err archived_erase(stoa_journal *journal, stoa_space space, const void *from, uint32_t from_bytes, const void *to,
                               uint32_t to_bytes)
{
    stoa_journal *log = self_of(journal)->log;
    return log->ops->erase(log, space, from, from_bytes, to, to_bytes);
}

static stoa_err archived_scan(stoa_journal *journal, stoa_space space, const void *from, uint32_t from_bytes,
                              stoa_err (*visit)(void *context, const stoa_side_entry *entry), void *context)
{
    stoa_journal *log = self_of(journal)->log;
    return log->ops->scan(log, space, from, from_bytes, visit, context);
}

static stoa_err archived_scan_stored(stoa_journal *journal, stoa_space space, const void *from, uint32_t from_bytes,
                                     stoa_err (*visit)(void *context, const stoa_side_entry *entry), void *context)
{
    stoa_journal *log = self_of(journal)->log;
    return log->ops->scan_stored(log, space, from, from_bytes, visit, context);
}

static stoa_err archived_put_stored(stoa_journal *journal, stoa_space space, const stoa_side_entry *entries, uint32_t count, bool sync)
{
    stoa_journal *log = self_of(journal)->log;
    return log->ops->put_stored(log, space, entries, count, sync);
}

static void archived_close(stoa_journal *journal)
{
    if (!journal) { return; }
    archived *self = self_of(journal);
    self->log->ops->close(self->log);
    free(self);
}

static stoa_err archived_open(const char *path, stoa_journal **out)
{
    (void)out;
    return STOA_FAIL(STOA_E_UNSUPPORTED, "%s: an archive is put in front of a journal that is open", path);
}

static const stoa_journal_ops archived_ops = {.scheme = "archived",
                                              .open = archived_open,
                                              .seal = archived_seal,
                                              .append = archived_append,
                                              .begin = archived_begin,
                                              .append_stored = archived_append_stored,
                                              .sync = archived_sync,
                                              .read = archived_read,
                                              .read_stored = archived_read_stored,
                                              .show = archived_show,
                                              .lookup = archived_lookup,
                                              .state = archived_state,
                                              .measure = archived_measure,
                                              .reindex = archived_reindex,
                                              .room = archived_room,
                                              .purge = archived_purge,
                                              .put = archived_put,
                                              .erase = archived_erase,
                                              .scan = archived_scan,
                                              .scan_stored = archived_scan_stored,
                                              .put_stored = archived_put_stored,
                                              .close = archived_close};

/* An operation that the interface gained has been given here, too: every member is a pointer. */
static bool complete(const stoa_journal_ops *ops)
{
    void *const *members = (void *const *)(const void *)ops;
    for (size_t i = 0; i < sizeof *ops / sizeof *members; i++) {
        if (!members[i]) { return false; }
    }
    return true;
}

stoa_err stoa_journal_archived(stoa_journal *log, stoa_archive *archive, stoa_journal **out)
{
    stoa_err err = stoa_seam_check(archive, log);
    if (err) { return err; }
    archived *self = calloc(1, sizeof *self);
    if (!self) { return STOA_FAIL(STOA_E_NOMEM, "journal"); }
    STOA_ASSERT(complete(&archived_ops));
    *self = (archived){.base = {.ops = &archived_ops}, .log = log, .archive = archive};
    *out = &self->base;
    return STOA_OK;
}
