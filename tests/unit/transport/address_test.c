/* address_test.c - goal: stoa_link_check and stoa_link_open name an address that cannot be one, before anything is opened; port 99999 is
 * not port 34463. Method: addresses of every scheme, good and bad.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "transport/address.h"
#include "transport/link.h"

enum { DIAL = 1, LISTEN = 2, BOTH = 3 };

static const struct {
    const char *address;
    int good; /* for whom */
} rows[] = {
    {"zmq+tcp://127.0.0.1:7000", BOTH},
    {"zmq+tcp://127.0.0.1:65535", BOTH},
    {"zmq+tcp://127.0.0.1:0", LISTEN},
    {"zmq+tcp://*:7000", LISTEN},
    {"zmq+tcp://[::1]:7000", BOTH},
    {"zmq+tcp://[fe80::1%lo]:7000", BOTH},
    {"zmq+tcp://a-host.example:7000", BOTH},
    {"zmq+tcp://127.0.0.1:65536", 0},
    {"zmq+tcp://127.0.0.1:99999", 0},
    {"zmq+tcp://127.0.0.1:7000x", 0},
    {"zmq+tcp://127.0.0.1:-1", 0},
    {"zmq+tcp://127.0.0.1:", 0},
    {"zmq+tcp://127.0.0.1", 0},
    {"zmq+tcp://[::1]", 0},
    {"zmq+tcp://[]:7000", 0},
    {"zmq+tcp://[::g]:7000", 0},
    {"zmq+tcp://::1:7000", 0},
    {"zmq+tcp://:7000", 0},
    {"zmq+tcp://", 0},
    {"zmq+tcp://127.0.0.256:7000", 0},
    {"zmq+tcp://a host:7000", 0},
    {"zmq+tcp://127.0.0.1:7000?loss=1", 0},
    {"zmq+ipc:///tmp/x", BOTH},
    {"zmq+ipc://@x", BOTH},
    {"zmq+ipc://", 0},
    {"zmq+ipc://@", 0},
    {"zmq+ipc:///aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0},
    {"shm://name", BOTH},
    {"shm:///tmp/name", BOTH},
    {"shm://", 0},
    {"shm://a name", 0},
    {"shm://x?loss=1", 0},
    {"sim://x", BOTH},
    {"fault+shm://x", BOTH},
    {"fault+shm://x?seed=7&loss=20", BOTH},
    {"fault+fault+shm://x?loss=20", BOTH},
    {"fault+sim://net/x?loss=20&as=y", BOTH},
    {"fault+shm://x?los=20", 0},
    {"fault+shm://x?loss=20&los=20", 0},
    {"fault+shm://x?loss=1001", 0},
    {"fault+shm://x?loss=", 0},
    {"fault+zmq+tcp://127.0.0.1:7000?loss=20", BOTH},
    {"fault+zmq+tcp://127.0.0.1:70000?loss=20", 0},
    {"pigeon://roof", 0},
    {"fault+pigeon://roof", 0},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static void the_text_of_an_address_is_checked(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROWS; i++) {
        for (int who = DIAL; who <= LISTEN; who++) {
            bool good = stoa_link_check(rows[i].address, who == LISTEN) == STOA_OK;
            if (good != !!(rows[i].good & who)) { fail_msg("%s, %s: %s", rows[i].address, who == LISTEN ? "listen" : "dial", stoa_err_trail()); }
        }
    }
}

static void what_is_refused_is_not_opened(void **state)
{
    const stoa_link_options options = {.listen = true, .frame_limit = 4096, .queue_frames = 8};
    (void)state;
    for (unsigned i = 0; i < ROWS; i++) {
        stoa_link *link = NULL;
        if (rows[i].good) { continue; }
        stoa_err err = stoa_link_open(rows[i].address, &options, &link);
        if (err != STOA_E_INVALID && err != STOA_E_UNSUPPORTED) { fail_msg("%s: %s", rows[i].address, stoa_err_name(err)); }
        assert_null(link);
    }
}

static void who_leaves_the_machine_is_known_of_numbers(void **state)
{
    (void)state;
    static const char *const away[] = {"10.0.0.1", "0.0.0.0", "::", "2001:db8::1", "*", "::ffff:10.0.0.1"};
    static const char *const not_said[] = {"127.0.0.1", "127.9.9.9", "::1", "localhost", "a-host.example"};
    for (unsigned i = 0; i < sizeof away / sizeof away[0]; i++) { assert_true(stoa_address_leaves(away[i])); }
    for (unsigned i = 0; i < sizeof not_said / sizeof not_said[0]; i++) { assert_false(stoa_address_leaves(not_said[i])); }
    assert_true(stoa_address_is_name("localhost"));
    assert_false(stoa_address_is_name("127.0.0.1"));
    assert_false(stoa_address_is_name("*"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_of_an_address_is_checked),
        cmocka_unit_test(what_is_refused_is_not_opened),
        cmocka_unit_test(who_leaves_the_machine_is_known_of_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
