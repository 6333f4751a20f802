/* rig.c - folders and the raw database of bench/journal/rig.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "bench/journal/rig.h"

#include <errno.h>
#include <ftw.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char root[BENCH_PATH_BYTES / 2];

/* --- folders */

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)info, (void)type, (void)where;
    return remove(path);
}

void bench_remove(const char *path)
{
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) && errno != ENOENT) { perror(path); }
}

static void remove_root(void)
{
    bench_remove(root);
}

static void make_root(void)
{
    const char *where = getenv("TMPDIR");
    int bytes = snprintf(root, sizeof root, "%s/bench_journal.XXXXXX", where && *where ? where : "/tmp");
    if (bytes >= (int)sizeof root || !mkdtemp(root)) { bench_fail("no folder in $TMPDIR"); }
    (void)atexit(remove_root);
}

void bench_path(char out[BENCH_PATH_BYTES], const char *name)
{
    static uint32_t number;
    if (!*root) { make_root(); }
    (void)snprintf(out, BENCH_PATH_BYTES, "%s/%s.%u", root, name, ++number);
}

static uint64_t counted_bytes;

static int count_one(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)path, (void)where;
    if (type == FTW_F) { counted_bytes += (uint64_t)info->st_size; }
    return 0;
}

uint64_t bench_folder_bytes(const char *path)
{
    counted_bytes = 0;
    (void)nftw(path, count_one, 16, FTW_PHYS);
    return counted_bytes;
}

/* --- the raw database */

struct bench_raw {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *synced;
    uint64_t next;
};

static void check(char *text, const char *what)
{
    if (!text) { return; }
    (void)fprintf(stderr, "%s: %s\n", what, text);
    bench_fail("RocksDB");
}

bench_raw *bench_raw_open(const char *path)
{
    char *text = NULL;
    bench_raw *raw = calloc(1, sizeof *raw);
    if (!raw) { bench_fail("no memory"); }
    raw->options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(raw->options, 1);
    raw->db = rocksdb_open(raw->options, path, &text);
    check(text, "open");
    raw->synced = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(raw->synced, 1);
    return raw;
}

void bench_raw_write(bench_raw *raw, const void *values, size_t bytes, uint32_t count)
{
    char *text = NULL;
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    for (uint32_t i = 0; i < count; i++) {
        uint64_t key = __builtin_bswap64(++raw->next);
        rocksdb_writebatch_put(batch, (const char *)&key, sizeof key, (const char *)values + i * bytes, bytes);
    }
    rocksdb_write(raw->db, raw->synced, batch, &text);
    check(text, "write");
    rocksdb_writebatch_destroy(batch);
}

void bench_raw_close(bench_raw *raw)
{
    rocksdb_close(raw->db);
    rocksdb_writeoptions_destroy(raw->synced);
    rocksdb_options_destroy(raw->options);
    free(raw);
}
