/* commands_journal.c - what a shard's journal is like, proving it, its index, its keys.
 *
 * All of it reads beside the writer, on a runner's thread: neither the shard's core nor its journal's thread waits.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "base/clock.h"
#include "node/commands.h"
#include "runtime/readers.h"
#include "storage/archive/journal.h"
#include "storage/block.h"
#include "storage/seal.h"

static stoa_err find(stoa_platform *platform, stoa_door_call *call, stoa_shard **shard_out, stoa_journal **journal_out)
{
    const char *name = stoa_call_arg(call, 0);
    stoa_shard *shard = stoa_shard_named(platform, name);
    if (!shard) { return stoa_not_found(platform, "shard", "shards", name); }
    stoa_journal *journal = stoa_shard_journal(shard);
    if (!journal) { return STOA_FAIL(STOA_E_UNSUPPORTED, "shard %s keeps no journal", name); }
    *shard_out = shard;
    *journal_out = journal;
    return STOA_OK;
}

/* --- journal */

static void put_reader(void *context, const char *name, uint64_t position)
{
    stoa_doc *doc = context;
    stoa_doc_open(doc, NULL, '{');
    stoa_doc_text(doc, "reader", name);
    stoa_doc_uint(doc, "position", position);
    stoa_doc_close(doc, '}');
}

static void put_key(stoa_doc *doc, const char *name, uint32_t key)
{
    if (key) {
        stoa_doc_uint(doc, name, key);
    } else {
        stoa_doc_text(doc, name, "none");
    }
}

static stoa_err take_key(void *context, const void *bytes, size_t size_bytes)
{
    (void)size_bytes;
    stoa_block_view view;
    stoa_block_peek(bytes, &view);
    *(uint32_t *)context = view.block.key;
    return STOA_E_CANCELLED;
}

/* What the block that holds the position is sealed with; 0: nothing, or there is no such block. */
static uint32_t key_at(stoa_journal *journal, uint64_t position)
{
    uint32_t key = 0;
    if (position) { (void)journal->ops->read_stored(journal, position, take_key, &key); }
    return key;
}

static void put_journal(stoa_platform *platform, stoa_doc *doc, const char *name, stoa_journal *journal)
{
    stoa_journal_state state;
    stoa_journal_figures figures;
    stoa_journal_state whole; /* with the archive in front */
    journal->ops->state(journal, &whole);
    stoa_journal_log_state(journal, &state);
    journal->ops->measure(journal, &figures);
    bool empty = state.last == 0;
    stoa_doc_open(doc, "journal", '{');
    stoa_doc_text(doc, "shard", name);
    stoa_doc_text(doc, "engine", journal->ops->scheme);
    stoa_doc_uint(doc, "first", state.first);
    stoa_doc_uint(doc, "last", state.last);
    stoa_doc_uint(doc, "proven", state.proven);
    stoa_doc_uint(doc, "purged", state.first - 1);
    stoa_doc_uint(doc, "readable", whole.first);
    stoa_doc_uint(doc, "epoch", state.epoch);
    stoa_doc_uint(doc, "blocks", figures.blocks);
    stoa_doc_uint(doc, "log_bytes", figures.log_bytes);
    stoa_doc_uint(doc, "side_bytes", figures.side_bytes);
    stoa_doc_uint(doc, "room_bytes", journal->ops->room(journal));
    put_key(doc, "oldest_key", key_at(journal, empty ? 0 : state.first));
    put_key(doc, "newest_key", key_at(journal, state.last));
    put_key(doc, "seals_with", platform->keys ? stoa_keyring_newest(platform->keys) : 0);
    stoa_doc_close(doc, '}');
}

stoa_err stoa_command_journal(stoa_platform *platform, stoa_door_call *call)
{
    stoa_shard *shard;
    stoa_journal *journal;
    stoa_err err = find(platform, call, &shard, &journal);
    if (err) { return err; }
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    put_journal(platform, &doc, stoa_call_arg(call, 0), journal);
    stoa_doc_open(&doc, "readers", '[');
    stoa_readers_visit(stoa_shard_readers(shard), put_reader, &doc);
    stoa_doc_close(&doc, ']');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "fields journal: shard, engine, first/id, last/id, proven/id, purged=purged up to/id, readable=readable from/id, epoch/id, "
                               "blocks/n, log_bytes=log/bytes, side_bytes=side store/bytes, room_bytes=disk has/bytes, "
                               "oldest_key=oldest block's key, newest_key=newest block's key, seals_with=key now\n"
                               "table readers: reader, position/id");
    return STOA_OK;
}

/* --- verify */

enum { ANSWER_NS = 200000000 }; /* kept of the deadline, to say how far it came */

typedef struct verifying {
    const stoa_door_call *call;
    stoa_journal_check check; /* of the runner */
    uint64_t from, last;
    _Atomic uint64_t verified;
} verifying;

static bool go_on(void *context)
{
    verifying *v = context;
    atomic_store_explicit(&v->verified, v->check.verified, memory_order_relaxed);
    return !atomic_load(&v->call->left) && stoa_clock_real.now_ns(&stoa_clock_real) + ANSWER_NS < v->call->deadline_ns;
}

static void look_at_verify(void *context, stoa_work_view *view)
{
    const verifying *v = context;
    uint64_t verified = atomic_load_explicit(&v->verified, memory_order_relaxed);
    view->step = "verify";
    view->from = v->from - 1;
    view->position = verified ? verified : view->from;
    view->last = v->last;
}

static void put_check(stoa_doc *doc, const char *name, const stoa_journal_check *check, uint64_t last, uint64_t took_ns)
{
    stoa_doc_open(doc, NULL, '{');
    stoa_doc_open(doc, "verify", '{');
    stoa_doc_text(doc, "shard", name);
    stoa_doc_uint(doc, "from", check->from);
    stoa_doc_uint(doc, "verified", check->verified);
    stoa_doc_uint(doc, "last", last);
    stoa_doc_uint(doc, "blocks", check->blocks);
    stoa_doc_uint(doc, "events", check->events);
    stoa_doc_uint(doc, "bytes", check->bytes);
    stoa_doc_uint(doc, "took_ns", took_ns);
    stoa_doc_close(doc, '}');
    stoa_doc_open(doc, "keys", '[');
    for (uint32_t i = 0; i < check->key_count; i++) {
        stoa_doc_open(doc, NULL, '{');
        put_key(doc, "key", check->keys[i].id);
        stoa_doc_uint(doc, "blocks", check->keys[i].blocks);
        stoa_doc_close(doc, '}');
    }
    stoa_doc_close(doc, ']');
    stoa_doc_close(doc, '}');
}

stoa_err stoa_command_journal_verify(stoa_platform *platform, stoa_door_call *call)
{
    stoa_shard *shard;
    stoa_journal *journal;
    stoa_err err = find(platform, call, &shard, &journal);
    if (err) { return err; }
    stoa_journal_state state;
    journal->ops->state(journal, &state);
    uint64_t begin = stoa_clock_real.now_ns(&stoa_clock_real);
    verifying v = {.call = call, .from = stoa_call_number(call, 1, state.first), .last = state.last};
    stoa_work work = {.command = "journal verify", .shard = stoa_call_arg(call, 0), .look = look_at_verify, .context = &v};
    stoa_work_begin(&platform->works, &work);
    err = stoa_journal_check_from(journal, stoa_call_number(call, 1, 0), go_on, &v, &v.check);
    stoa_work_end(&platform->works, &work);
    stoa_doc doc = stoa_doc_to(&call->document);
    put_check(&doc, stoa_call_arg(call, 0), &v.check, state.last, stoa_clock_real.now_ns(&stoa_clock_real) - begin);
    stoa_buf_puts(&call->view, "fields verify: shard, from/id, verified=sound up to/id, last/id, blocks/n, events/n, bytes/bytes, "
                               "took_ns=took/ns\ntable keys: key, blocks/n");
    if (err != STOA_E_CANCELLED) { return err; }
    return STOA_FAIL(STOA_E_TIMEOUT, "sound up to position %" PRIu64 " of %" PRIu64 "; journal verify %s %" PRIu64
                     " goes on from there, --timeout gives it longer", v.check.verified, state.last, stoa_call_arg(call, 0),
                     v.check.verified);
}

/* --- reindex and rekey */

typedef struct reindexing {
    stoa_journal *journal;
    uint64_t first, last;
} reindexing;

static void look_at_reindex(void *context, stoa_work_view *view)
{
    const reindexing *r = context;
    stoa_journal_figures figures;
    r->journal->ops->measure(r->journal, &figures);
    view->step = figures.reindexed ? "index" : "count";
    view->from = r->first - 1;
    view->position = figures.reindexed ? figures.reindexed : view->from;
    view->last = r->last;
}

static void plan_reindex(stoa_door_call *call, stoa_journal *journal)
{
    stoa_journal_state state;
    stoa_journal_figures figures;
    stoa_journal_log_state(journal, &state);
    journal->ops->measure(journal, &figures);
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "plan", '{');
    stoa_doc_text(&doc, "shard", stoa_call_arg(call, 0));
    stoa_doc_printf(&doc, "removes", "all entries of the index");
    stoa_doc_printf(&doc, "reads", "blocks from position %" PRIu64 " to %" PRIu64 ", about %" PRIu64 " of them, %" PRIu64 " MiB with the index",
                    state.first, state.last, figures.blocks, figures.log_bytes >> 20);
    stoa_doc_text(&doc, "writes", "the entries that the blocks have");
    stoa_doc_text(&doc, "meanwhile", "lookups by id, as explain order, are UNAVAILABLE; all else goes on");
    stoa_doc_close(&doc, '}');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "fields plan: shard, removes/wrap, reads/wrap, writes/wrap, meanwhile/wrap");
}

stoa_err stoa_command_journal_reindex(stoa_platform *platform, stoa_door_call *call)
{
    stoa_shard *shard;
    stoa_journal *journal;
    stoa_err err = find(platform, call, &shard, &journal);
    stoa_reindexed done;
    stoa_journal_state state;
    uint64_t begin = stoa_clock_real.now_ns(&stoa_clock_real);
    if (err) { return err; }
    if (stoa_invocation_option(&call->said, "plan")) {
        plan_reindex(call, journal);
        return STOA_OK;
    }
    stoa_journal_log_state(journal, &state);
    reindexing r = {journal, state.first, state.last};
    stoa_work work = {.command = "journal reindex", .shard = stoa_call_arg(call, 0), .look = look_at_reindex, .context = &r};
    stoa_work_begin(&platform->works, &work);
    err = journal->ops->reindex(journal, &done);
    stoa_work_end(&platform->works, &work);
    if (err) { return err; }
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "reindex", '{');
    stoa_doc_text(&doc, "shard", stoa_call_arg(call, 0));
    stoa_doc_uint(&doc, "entries", done.entries);
    stoa_doc_uint(&doc, "before", done.entries_before);
    stoa_doc_printf(&doc, "hash", "%016" PRIx64, done.hash);
    stoa_doc_bool(&doc, "equal", done.entries == done.entries_before && done.hash == done.hash_before);
    stoa_doc_uint(&doc, "took_ns", stoa_clock_real.now_ns(&stoa_clock_real) - begin);
    stoa_doc_close(&doc, '}');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "fields reindex: shard, entries/n, before/n, hash, equal, took_ns=took/ns");
    return STOA_OK;
}

/* The file is read beside the keys in use. */
static stoa_err plan_rekey(stoa_platform *platform, stoa_door_call *call)
{
    stoa_keyring *read;
    stoa_err err = stoa_keyring_open(platform->settings.key_file, &read);
    if (err) { return err; }
    uint32_t now = stoa_keyring_newest(platform->keys), then = stoa_keyring_newest(read);
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "plan", '{');
    stoa_doc_text(&doc, "reads", platform->settings.key_file);
    stoa_doc_uint(&doc, "known", stoa_keyring_count(platform->keys));
    stoa_doc_uint(&doc, "in_file", stoa_keyring_count(read));
    stoa_doc_uint(&doc, "seals_with", now);
    stoa_doc_uint(&doc, "would_seal_with", then > now ? then : now);
    stoa_doc_text(&doc, "meaning", then > now ? "new blocks are sealed with the new key; nothing is rewritten" : "nothing changes: the file has no newer key");
    stoa_doc_close(&doc, '}');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "fields plan: reads/wrap, known/n, in_file=in the file/n, seals_with=seals with/id, would_seal_with=would seal with/id, meaning/wrap");
    stoa_keyring_close(read);
    return STOA_OK;
}

stoa_err stoa_command_journal_rekey(stoa_platform *platform, stoa_door_call *call)
{
    if (!platform->keys) {
        return STOA_FAIL(STOA_E_NOT_FOUND, "there is no key file: the setting storage.key_file names one, from the next start on");
    }
    if (stoa_invocation_option(&call->said, "plan")) { return plan_rekey(platform, call); }
    stoa_err err = stoa_keyring_reload(platform->keys);
    if (err) { return err; }
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "keys", '{');
    stoa_doc_uint(&doc, "known", stoa_keyring_count(platform->keys));
    stoa_doc_uint(&doc, "seals_with", stoa_keyring_newest(platform->keys));
    stoa_doc_close(&doc, '}');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view, "fields keys: known/n, seals_with=seals with/id");
    return STOA_OK;
}
