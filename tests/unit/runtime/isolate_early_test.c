/* isolate_early_test.c - goal: what a library runs when it is loaded reads no file, neither of its node nor of
 * anybody, and what a library needs of the system is loaded all the same; without a kernel that sees to it there are
 * no isolates. Method: a real child with isolates/early_read.c, which opens what it can and tells what came of it, in
 * a folder with a data folder beside it. What it may not have, this program, of the same user, can open. The kernel
 * without Landlock is a filter that says so; it stays, so that is last.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "runtime/isolate/plugin.h"
#include "runtime/isolate/process.h"
#include "runtime/stoa.h"
#include "tests/unit/runtime/isolates/early_read.h"

STOA_TABLE_DEFINE(early_read)

static char host[512], built[512], folder[] = "/tmp/stoa-early-XXXXXX", library[64];
static const char *const folders[] = {"data", "data/keys"}, *const files[] = {"data/keys/server.key", "data/node.id", "settings.yaml"};
static stoa_isolate isolate = {.host = host, .library = library, .start_ns = STOA_S(60)};
static stoa_plugged *plugged;
static stoa_node *node;
static stoa_ref ref;

static void path_of(char path[128], const char *name)
{
    (void)snprintf(path, 128, "%s/%s", folder, name);
}

static void write_file(const char *path, const void *bytes, size_t size_bytes)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size_bytes, file), size_bytes);
    assert_int_equal(fclose(file), 0);
}

static void copy_library(void)
{
    static char bytes[4 << 20];
    FILE *from = fopen(built, "r");
    assert_non_null(from);
    size_t size_bytes = fread(bytes, 1, sizeof bytes, from);
    (void)fclose(from);
    assert_true(size_bytes > 0 && size_bytes < sizeof bytes);
    write_file(library, bytes, size_bytes);
}

static int set_up(void **state)
{
    char path[128];
    (void)state;
    assert_non_null(mkdtemp(folder));
    for (unsigned i = 0; i < sizeof folders / sizeof *folders; i++) {
        path_of(path, folders[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
        path_of(path, files[i]);
        write_file(path, "a secret", 8);
    }
    (void)snprintf(library, sizeof library, "%s/early_read.so", folder);
    copy_library();
    assert_int_equal(stoa_plugged_open(&isolate, NULL, &plugged), STOA_OK);
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 1}, &node), STOA_OK);
    const stoa_kind *kind = stoa_plugged_kind(plugged);
    assert_int_equal(stoa_spawn(node, kind, "early_read/e", &(stoa_spawn_options){.args = &isolate}, &ref), STOA_OK);
    return 0;
}

static int tear_down(void **state)
{
    char path[128];
    (void)state;
    stoa_node_close(node, STOA_S(10));
    stoa_plugged_close(plugged);
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
        path_of(path, files[i]);
        (void)unlink(path);
    }
    (void)unlink(library);
    for (unsigned i = sizeof folders / sizeof *folders; i-- > 0;) {
        path_of(path, folders[i]);
        (void)rmdir(path);
    }
    return rmdir(folder);
}

static void call(uint32_t row, const void *in, void *out, size_t out_bytes)
{
    const stoa_row *rows = stoa_plugged_kind(plugged)->table->rows;
    assert_int_equal(stoa_call(node, ref, &rows[row], in, STOA_S(60), out, out_bytes), STOA_OK);
}

/* That it is a child's doing and no missing file. */
static void assert_here(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) { fail_msg("%s cannot be opened here: %s", path, strerror(errno)); }
    (void)close(fd);
}

static void test_a_constructor_reads_its_library_and_nothing_else(void **state)
{
    early_read_found found;
    uint64_t had = 0, refused = 0;
    (void)state;
    for (early_read_look in = {0};; in.n++) {
        char path[256] = {0};
        memset(&found, 0, sizeof found);
        call(early_read_ROW_look, &in, &found, sizeof found);
        if (!found.path.len) { break; }
        memcpy(path, found.path.at, found.path.len);
        bool may = strcmp(path, library) == 0 || strcmp(path, "/etc/ld.so.cache") == 0;
        if (may) {
            assert_int_equal(found.error, 0);
            assert_int_equal(found.size_bytes, 8);
            had++;
            continue;
        }
        assert_here(path);
        if (found.error != EACCES && found.error != EPERM) {
            fail_msg("%s: error %d, %d bytes", path, (int)found.error, (int)found.size_bytes);
        }
        assert_int_equal(found.size_bytes, 0);
        refused++;
    }
    assert_int_equal(had, 2);
    assert_int_equal(refused, 24);
}

static void test_libraries_of_the_system_are_loaded(void **state)
{
    early_read_sum in = {.n = 27};
    early_read_sums sums;
    (void)state;
    (void)STOA_TEXT_SETZ(&in.text, "123456789");
    call(early_read_ROW_sum, &in, &sums, sizeof sums);
    assert_int_equal(sums.crc, 0xcbf43926); /* the check value of CRC-32 */
    assert_int_equal(sums.root, 3);
    assert_int_equal(sums.descriptors, 0xf); /* /dev/null and the socket */
}

/* Until the end of this program, and for its children. */
static void take_landlock_away(void)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_landlock_create_ruleset, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof rules / sizeof *rules, .filter = rules};
    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void test_without_landlock_there_is_no_isolate(void **state)
{
    stoa_isolate_order order;
    stoa_plugged *none = NULL;
    int socket;
    stoa_isolate_process process;
    const char *why = NULL;
    (void)state;
    assert_int_equal(stoa_isolate_process_order(&isolate, &order, &socket), STOA_OK);
    take_landlock_away();
    assert_int_equal(stoa_plugged_open(&isolate, NULL, &none), STOA_E_UNSUPPORTED);
    assert_non_null(strstr(stoa_err_trail(), "no isolate without Landlock"));
    assert_int_equal(stoa_isolate_process_spawn(&order, &process), 0); /* a node that had not asked */
    (void)close(socket); /* a child that went on would hear that */
    while (!stoa_isolate_process_ended(&process, &why)) { (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); }
    assert_string_equal(why, "isolate: it cannot be confined");
}

int main(void)
{
    const char *bin = getenv("STOA_BIN"), *build_folder = getenv("STOA_BUILD");
    if (!bin || !build_folder) { return 1; }
    (void)snprintf(host, sizeof host, "%s/stoa-isolate", bin);
    (void)snprintf(built, sizeof built, "%s/plugins/early_read.so", build_folder);
    stoa_log_level_set(STOA_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_constructor_reads_its_library_and_nothing_else),
        cmocka_unit_test(test_libraries_of_the_system_are_loaded),
        cmocka_unit_test(test_without_landlock_there_is_no_isolate),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
