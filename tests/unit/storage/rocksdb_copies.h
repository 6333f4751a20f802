/* rocksdb_copies.h - what the tests that spoil a journal share: it is set aside, and copies of it take its place.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_UNIT_STORAGE_ROCKSDB_COPIES_H
#define STOA_TESTS_UNIT_STORAGE_ROCKSDB_COPIES_H

#include "tests/unit/storage/rocksdb_kit.h"

static inline void copy_file(const char *from, const char *to)
{
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(in >= 0 && out >= 0);
    char bytes[65536];
    for (ssize_t got = read(in, bytes, sizeof bytes); got > 0; got = read(in, bytes, sizeof bytes)) {
        assert_int_equal(syscall(SYS_write, out, bytes, got), got);
    }
    assert_int_equal(close(in) | close(out), 0);
}

/* What a copy of a journal consists of. */
typedef struct files {
    name names[64];
    unsigned count;
} files;

static inline void copy_files(const char *from, const char *to, files *copies)
{
    assert_int_equal(mkdir(to, 0700), 0);
    DIR *dir = opendir(from);
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (entry->d_type != DT_REG) { continue; }
        assert_true(copies->count < sizeof copies->names / sizeof copies->names[0]);
        name *copy = &copies->names[copies->count++];
        *copy = name_in(to, entry->d_name);
        copy_file(name_in(from, entry->d_name).at, copy->at);
    }
    assert_int_equal(closedir(dir), 0);
}

/* The journal under test is set aside; copies of it take its place. */
static inline void set_aside(void)
{
    assert_int_equal(rename(path, name_in(folder, "original").at), 0);
}

static inline void copy_journal(files *copies)
{
    name original = name_in(folder, "original");
    kit_remove(path);
    copies->count = 0;
    copy_files(original.at, path, copies);
    copy_files(name_in(original.at, "db").at, name_in(path, "db").at, copies);
}

static inline const char *log_of(const files *copies)
{
    const char *found = NULL;
    for (unsigned i = 0; i < copies->count; i++) {
        if (strstr(copies->names[i].at, ".log")) { found = copies->names[i].at; }
    }
    assert_non_null(found);
    return found;
}

static inline void flip_byte(const char *file, off_t at)
{
    int fd = open(file, O_RDWR);
    uint8_t byte = 0;
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    assert_int_equal(close(fd), 0);
}

#endif
