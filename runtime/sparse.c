/* sparse.c - which pages were touched, as /proc/self/pagemap says. See sparse.h.
 *
 * The file is opened for each look: it shows the process that opened it, and a fork is another one.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/sparse.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* --- memory */

void *stoa_sparse_map(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) { return NULL; }
    (void)madvise(at, bytes, MADV_NOHUGEPAGE); /* a byte that is used is to cost 4 KiB and not 2 MiB; a kernel without has none */
    return at;
}

void stoa_sparse_unmap(void *at, size_t bytes)
{
    if (at) { (void)munmap(at, bytes); }
}

void stoa_sparse_clear(void *at, size_t bytes)
{
    if (bytes < STOA_SPARSE_BYTES || madvise(at, bytes, MADV_DONTNEED)) { memset(at, 0, bytes); }
}

/* --- what was touched */

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

enum { ENTRIES = 512 };
#define PRESENT (UINT64_C(1) << 63)
#define SWAPPED (UINT64_C(1) << 62)

/* A bit for each of count pages from number on; false: nobody knows. */
static bool read_map(int file, uintptr_t number, size_t count, uint64_t *bits)
{
    uint64_t entries[ENTRIES];
    for (size_t done = 0; done < count;) {
        size_t want = count - done < ENTRIES ? count - done : ENTRIES;
        ssize_t got = pread(file, entries, want * sizeof *entries, (off_t)((number + done) * sizeof *entries));
        if (got != (ssize_t)(want * sizeof *entries)) { return false; }
        for (size_t i = 0; i < want; i++, done++) {
            if (entries[i] & (PRESENT | SWAPPED)) { bits[done / 64] |= UINT64_C(1) << done % 64; }
        }
    }
    return true;
}

static void look(stoa_sparse_walk *walk, size_t first)
{
    size_t page = page_bytes(), pages = (walk->bytes + page - 1) / page, count = pages - first;
    if (count > STOA_SPARSE_WINDOW) { count = STOA_SPARSE_WINDOW; }
    memset(walk->touched, 0, sizeof walk->touched);
    int file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    bool known = file >= 0 && read_map(file, (uintptr_t)walk->at / page + first, count, walk->touched);
    if (!known) { memset(walk->touched, 0xff, sizeof walk->touched); }
    if (file >= 0) { (void)close(file); }
    walk->first = first;
    walk->known = count;
}

static bool is_touched(stoa_sparse_walk *walk, size_t page)
{
    if (page - walk->first >= walk->known) { look(walk, page); }
    size_t bit = page - walk->first;
    return walk->touched[bit / 64] >> bit % 64 & 1;
}

bool stoa_sparse_next(stoa_sparse_walk *walk)
{
    if (walk->bytes < STOA_SPARSE_BYTES) {
        bool first = walk->to < walk->bytes;
        walk->to = walk->bytes;
        return first;
    }
    size_t size = page_bytes(), pages = (walk->bytes + size - 1) / size, page = (walk->to + size - 1) / size;
    while (page < pages && !is_touched(walk, page)) { page++; }
    if (page >= pages) { return false; }
    walk->from = page * size;
    while (page < pages && is_touched(walk, page)) { page++; }
    walk->to = page < pages ? page * size : walk->bytes;
    return true;
}

bool stoa_sparse_touched(stoa_sparse_walk *walk, size_t from, size_t to)
{
    size_t size = page_bytes();
    if (walk->bytes < STOA_SPARSE_BYTES) { return true; }
    for (size_t page = from / size; page * size < to; page++) {
        if (is_touched(walk, page)) { return true; }
    }
    return false;
}

/* --- contents */

bool stoa_all_zero(const void *at, size_t bytes)
{
    const unsigned char *b = at;
    return bytes == 0 || (b[0] == 0 && memcmp(b, b + 1, bytes - 1) == 0);
}

static bool equal_where_touched(const void *a, const void *b, size_t bytes)
{
    stoa_sparse_walk walk = {.at = a, .bytes = bytes};
    while (stoa_sparse_next(&walk)) {
        if (memcmp((const uint8_t *)a + walk.from, (const uint8_t *)b + walk.from, walk.to - walk.from) != 0) { return false; }
    }
    return true;
}

bool stoa_sparse_equal(const void *a, const void *b, size_t bytes)
{
    return equal_where_touched(a, b, bytes) && (bytes < STOA_SPARSE_BYTES || equal_where_touched(b, a, bytes));
}
