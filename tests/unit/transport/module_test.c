/* module_test.c - goal: who uses no link of a library is not disturbed by it, who does keeps his signals, and what is missing
 * is named. Method: look at this process' maps and at the action of every signal before and after links are opened.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "transport/keys.h"
#include "transport/link.h"
#include "transport/module.h"

enum { LINE_BYTES = 1024 };

static const char *const libraries[] = {"libucp", "libucs", "libuct", "libfabric", "libpsm", "libinfinipath", "link_"};
enum { LIBRARY_COUNT = sizeof libraries / sizeof libraries[0] };

static bool is_mapped(const char *what)
{
    char line[LINE_BYTES];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    while (!found && fgets(line, sizeof line, maps)) {
        const char *file = strrchr(line, '/');
        found = file && strstr(file, what);
    }
    (void)fclose(maps);
    return found;
}

static void on_signal(int number)
{
    (void)number;
}

/* Handlers of our own for all that can be caught, so that any change is seen. */
static void actions_set(struct sigaction out[NSIG])
{
    static const int left_alone[] = {SIGKILL, SIGSTOP, SIGCHLD, SIGPROF, SIGABRT};
    for (int number = 1; number < NSIG; number++) {
        struct sigaction action = {.sa_handler = on_signal};
        bool ours = true;
        for (unsigned i = 0; i < sizeof left_alone / sizeof left_alone[0]; i++) {
            ours = ours && number != left_alone[i];
        }
        if (ours) { (void)sigaction(number, &action, NULL); }
        memset(&out[number], 0, sizeof out[number]);
        (void)sigaction(number, NULL, &out[number]);
    }
}

static void assert_actions(const struct sigaction before[NSIG])
{
    for (int number = 1; number < NSIG; number++) {
        struct sigaction now = {0};
        if (sigaction(number, NULL, &now) != 0) { continue; }
        if (now.sa_handler != before[number].sa_handler) { fail_msg("signal %d has another handler", number); }
    }
}

static void open_and_close(const char *address)
{
    stoa_link_options options = {.listen = true, .frame_limit = 64 * 1024, .queue_frames = 16};
    stoa_link *link = NULL;
    stoa_err err = stoa_link_open(address, &options, &link);
    if (err) { fail_msg("%s: %s", address, stoa_err_trail()); }
    stoa_link_traits traits;
    stoa_link_describe(link, &traits);
    print_message("%s: %s; %s\n", address, traits.provider, traits.note);
    assert_true(traits.provider[0]);
    link->ops->close(link, 0);
}

static void a_link_without_a_module_loads_none(void **state)
{
    (void)state;
    stoa_key_pair pair;
    assert_int_equal(stoa_key_new(&pair), STOA_OK);
    open_and_close("zmq+tcp://127.0.0.1:0");
    for (unsigned i = 0; i < LIBRARY_COUNT; i++) {
        if (is_mapped(libraries[i])) { fail_msg("%s is loaded", libraries[i]); }
    }
}

static void loading_a_module_leaves_the_signals_alone(void **state)
{
    struct sigaction before[NSIG];
    (void)state;
    actions_set(before);
    open_and_close("ucx+tcp://127.0.0.1:0");
    assert_true(is_mapped("libucp") && is_mapped("link_ucx"));
    assert_actions(before);
    open_and_close("ofi+tcp://127.0.0.1:0");
    assert_true(is_mapped("libfabric") && is_mapped("link_ofi"));
    assert_actions(before);
    open_and_close("ucx+tcp://127.0.0.1:0");
    assert_actions(before);
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    char folder[] = "/tmp/stoa-module-XXXXXX", path[64];
    const stoa_link_ops *ops = NULL;
    assert_int_equal(stoa_link_module_find("none", "none+tcp", &ops), STOA_E_UNSUPPORTED);
    assert_non_null(strstr(stoa_err_trail(), "link_none.so is not installed"));
    assert_int_equal(stoa_link_module_find("ucx", "none+tcp", &ops), STOA_E_UNSUPPORTED);
    assert_non_null(strstr(stoa_err_trail(), "has no none+tcp"));

    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/link_bad.so", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fputs("not an object at all, but longer than the header of one would be: a program would have to be here\n",
                file);
    (void)fclose(file);
    assert_int_equal(setenv("STOA_MODULES", folder, 1), 0);
    assert_int_equal(stoa_link_module_find("bad", "bad+tcp", &ops), STOA_E_UNSUPPORTED);
    assert_non_null(strstr(stoa_err_trail(), path));
    assert_non_null(strstr(stoa_err_trail(), "cannot be loaded"));
    assert_int_equal(unsetenv("STOA_MODULES"), 0);
    assert_null(ops);
    (void)unlink(path);
    (void)rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_link_without_a_module_loads_none),
        cmocka_unit_test(loading_a_module_leaves_the_signals_alone),
        cmocka_unit_test(what_is_missing_is_named),
    };
    return cmocka_run_group_tests_name("transport/module.h", tests, NULL, NULL);
}
