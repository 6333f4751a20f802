/* offline.c - node/archive/offline.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/archive/offline.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/archive/closed.h"
#include "node/archive/report.h"
#include "node/said.h"
#include "node/world.h"
#include "storage/archive/file.h"
#include "storage/archive/seam.h"
#include "storage/rocksdb/accept.h"
#include "storage/rocksdb/journal.h"

enum { EXIT_USAGE = 2, SHARDS = STOA_CATALOG_SHARDS };

bool stoa_offline_asked(const stoa_offline *asked)
{
    return asked->backup || asked->verify || asked->restore || asked->accept || asked->rebuild;
}

static int ended(stoa_err err, const char *what)
{
    if (!err) { return EXIT_SUCCESS; }
    char said[STOA_SAID_MAX];
    (void)fprintf(stderr, "stoad: %s: %s: %s\n", what, stoa_err_name(err), stoa_said(said));
    return EXIT_FAILURE;
}

static void say(stoa_buf *text)
{
    if (text->used_bytes) { (void)fwrite(text->at, 1, text->used_bytes, stdout); }
    stoa_buf_deinit(text);
}

/* --- backup of a node that does not run */

static stoa_err open_all(stoa_closed *all, const stoa_settings *s, const stoa_keyring *keys, bool plan, stoa_backup_source *sources,
                         uint32_t *count)
{
    stoa_err err = stoa_closed_open(all, s, keys, plan, sources, count);
    if (err == STOA_E_DENIED) { return STOA_PASS(err, "of a node that runs, the backup is the REPL's: stoa --write backup DIR"); }
    return err || *count > 0 ? err : STOA_FAIL(STOA_E_NOT_FOUND, "%s holds no journals", s->data);
}

static int verify(const char *folder)
{
    static stoa_catalog catalog;
    static stoa_backup_step steps[STOA_CATALOG_SHARDS];
    stoa_progress_print print = {0};
    stoa_buf text = STOA_BUF_GROWING;
    stoa_err err = stoa_backup_verify(folder, &(const stoa_progress_to){stoa_progress_print_tell, &print}, &catalog, steps);
    if (!err) {
        stoa_print_steps(steps, catalog.shard_count, &text);
        stoa_print_left_out(&catalog, &text);
        stoa_buf_printf(&text, "%s: verified\n", folder);
    }
    say(&text);
    return ended(err, "verification of the backup");
}

static int back_up(const stoa_offline *asked, const stoa_settings *settings)
{
    static stoa_closed all;
    static stoa_backup_source sources[SHARDS];
    static stoa_backup_step steps[SHARDS];
    stoa_keyring *keys = NULL;
    uint32_t count = 0;
    stoa_progress_print print = {0};
    stoa_buf text = STOA_BUF_GROWING;
    stoa_err err = settings->key_file[0] ? stoa_keyring_open(settings->key_file, &keys) : STOA_OK;
    if (!err) { err = open_all(&all, settings, keys, asked->plan, sources, &count); }
    stoa_backup backup = {.folder = asked->backup,
                          .node_name = settings->node_name,
                          .sources = sources,
                          .source_count = count,
                          .kinds = stoa_world_kinds,
                          .keys = keys,
                          .segment_bytes = settings->archive_segment_bytes,
                          .settings = stoa_settings_fingerprint(settings)};
    if (!err && asked->plan) { err = stoa_backup_plan(&backup, steps); }
    if (!err && !asked->plan) { err = stoa_backup_run(&backup, &(const stoa_progress_to){stoa_progress_print_tell, &print}, steps); }
    if (!err) { stoa_print_steps(steps, count, &text); }
    if (!err && asked->plan) { stoa_buf_puts(&text, "nothing was written\n"); }
    stoa_closed_close(&all);
    stoa_keyring_close(keys);
    say(&text);
    return err || asked->plan ? ended(err, "backup") : verify(asked->backup);
}

/* --- restore */

static int bring_back(const stoa_offline *asked, const stoa_settings *settings)
{
    static stoa_restored restored;
    stoa_keyring *keys = NULL;
    stoa_progress_print print = {0};
    stoa_buf text = STOA_BUF_GROWING;
    if (!asked->into) {
        (void)fprintf(stderr, "stoad: --restore needs --into DATA\n");
        return EXIT_USAGE;
    }
    stoa_err err = settings->key_file[0] ? stoa_keyring_open(settings->key_file, &keys) : STOA_OK;
    stoa_restore restore = {.from = asked->restore,
                            .into = asked->into,
                            .until = asked->until,
                            .kinds = stoa_world_kinds,
                            .journal = &stoa_journal_rocksdb,
                            .keys = keys};
    if (!err) { err = stoa_restore_run(&restore, asked->plan, &(const stoa_progress_to){stoa_progress_print_tell, &print}, &restored); }
    if (!err) {
        stoa_print_restored(&restored, asked->plan, &text);
        stoa_buf_printf(&text, "%s%s\n", asked->into, asked->plan ? ": nothing was written" : ": restored");
    }
    stoa_keyring_close(keys);
    say(&text);
    return ended(err, "restore");
}

/* --- repairs */

static const char *beside(const stoa_settings *s, const char *given, const char *name, char path[STOA_PATH_MAX + 16])
{
    (void)snprintf(path, STOA_PATH_MAX + 16, "%s%s", given[0] ? given : s->data, given[0] ? "" : name);
    return path;
}

static bool there(const char *folder, const char *shard)
{
    char path[PATH_MAX];
    return stoa_file_path(folder, shard, path) == STOA_OK && access(path, F_OK) == 0;
}

/* What the archive has sealed behind the log's end: *last_out, the last position, the log's where there is nothing. */
static stoa_err ask_archive(const stoa_settings *s, const char *shard, const stoa_journal_loss *loss, stoa_archive **out, uint64_t *last_out)
{
    char warm[STOA_PATH_MAX + 16], cold[STOA_PATH_MAX + 16];
    stoa_archive_options options = {.folder = beside(s, s->archive_path, "/archive", warm),
                                    .cold_folder = beside(s, s->archive_cold_path, "/cold", cold),
                                    .shard = shard,
                                    .read_only = true};
    *last_out = loss->kept;
    stoa_err err = stoa_archive_open(&options, out);
    if (err == STOA_E_NOT_FOUND && !there(options.folder, shard)) { return STOA_OK; }
    if (!err) { err = stoa_seam_behind(*out, &(const stoa_journal_state){.last = loss->kept, .hash = loss->hash}, last_out); }
    return err ? STOA_PASS(err, "the archive in %s/%s cannot give back what the log lost: mend it, or move it away to go on without it", options.folder, shard)
               : STOA_OK;
}

static stoa_err take_back(const char *path, stoa_archive *archive)
{
    stoa_journal *log;
    stoa_progress_print print = {0};
    stoa_err err = stoa_journal_rocksdb.open(path, &log);
    if (err) { return err; }
    err = stoa_seam_give_back(archive, log, &(const stoa_progress_to){stoa_progress_print_tell, &print});
    log->ops->close(log);
    return err;
}

static void say_damaged(const char *shard, const stoa_journal_loss *loss, uint64_t last, const char *is)
{
    (void)printf("shard %s: the newest value of its commit mark is lost; the older one vouches for all up to %" PRIu64 "\n"
                 "the log is whole up to %" PRIu64 ": that %s kept, and what was behind it, acknowledged or not, %s gone%s\n",
                 shard, loss->mark, loss->kept, is, is, last > loss->kept ? ", but for what its archive has" : "");
}

static void say_lost(const char *shard, const stoa_journal_loss *loss, const char *is)
{
    (void)printf("shard %s: its commit mark is gone, or has no valid value: nothing says up to where there was an acknowledgement\n", shard);
    if (loss->kept < loss->first) {
        (void)printf("the log has no whole block: nothing %s kept\n", is);
    } else {
        (void)printf("the log is whole from %" PRIu64 " to %" PRIu64 ": that %s kept, and a new mark vouches for it\n", loss->first, loss->kept, is);
    }
    (void)printf("whether something behind %" PRIu64 " was acknowledged cannot be known%s%s%s\n", loss->kept,
                 loss->broken ? "; what is stored there is broken, and " : "", loss->broken ? is : "", loss->broken ? " gone" : "");
}

static void say_loss(const char *shard, const stoa_journal_loss *loss, uint64_t last, bool plan)
{
    const char *is = plan ? "would be" : "is";
    if (loss->damaged) {
        say_damaged(shard, loss, last, is);
    } else if (loss->lost) {
        say_lost(shard, loss, is);
    } else {
        (void)printf("shard %s: its commit mark is sound, at %" PRIu64 "; there is no loss to accept\n", shard, loss->mark);
    }
    if (last > loss->kept) {
        (void)printf("its archive has %" PRIu64 " to %" PRIu64 " behind the log's end: that %s put back into the log\n", loss->kept + 1, last, is);
    }
    if (plan) { (void)printf("nothing was written\n"); }
}

static int accept_loss(const stoa_offline *asked, const stoa_settings *settings)
{
    char path[PATH_MAX];
    stoa_journal_loss loss, now;
    stoa_archive *archive = NULL;
    uint64_t last = 0;
    stoa_err err = stoa_file_path(settings->data, asked->accept, path);
    if (!err && access(path, F_OK) != 0) { err = STOA_FAIL(STOA_E_NOT_FOUND, "%s has no journal of shard %s", settings->data, asked->accept); }
    if (!err) { err = stoa_journal_rocksdb_accept(path, true, &loss); }
    if (!err) { err = ask_archive(settings, asked->accept, &loss, &archive, &last); }
    if (!err && !asked->plan && (loss.damaged || loss.lost)) { err = stoa_journal_rocksdb_accept(path, false, &now); }
    if (!err && !asked->plan && last > loss.kept) { err = take_back(path, archive); }
    stoa_archive_close(archive);
    if (err) { return ended(err, "accept-loss"); }
    say_loss(asked->accept, &loss, last, asked->plan);
    return EXIT_SUCCESS;
}

static int rebuild_archive(const stoa_offline *asked, const stoa_settings *s)
{
    char warm[STOA_PATH_MAX + 16], cold[STOA_PATH_MAX + 16];
    stoa_archive_options options = {.folder = beside(s, s->archive_path, "/archive", warm),
                                    .cold_folder = beside(s, s->archive_cold_path, "/cold", cold),
                                    .shard = asked->rebuild};
    stoa_archive_rebuilt made;
    stoa_err err = stoa_archive_rebuild(&options, asked->plan, &made);
    if (err) { return ended(err, "rebuild-archive"); }
    (void)printf("shard %s: the manifest %s %" PRIu32 " segments, positions %" PRIu64 " to %" PRIu64 "; %" PRIu32 " files are not whole%s\n",
                 asked->rebuild, asked->plan ? "would name" : "names", made.segments, made.first, made.last, made.rotten,
                 made.held ? "; it is held" : "");
    if (asked->plan) { (void)printf("nothing was written\n"); }
    return EXIT_SUCCESS;
}

int stoa_offline_run(const stoa_offline *asked, const stoa_settings *settings)
{
    if (asked->backup) { return back_up(asked, settings); }
    if (asked->verify) { return verify(asked->verify); }
    if (asked->accept) { return accept_loss(asked, settings); }
    if (asked->rebuild) { return rebuild_archive(asked, settings); }
    return bring_back(asked, settings);
}
