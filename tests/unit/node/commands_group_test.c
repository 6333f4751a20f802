/* commands_group_test.c - goal: `groups` shows groups, and the members of one. Method: actors that join, on a node without
 * anything else; the command's document is compared.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "node/commands.h"
#include "runtime/stoa.h"

#define joiner_hello_FIELDS STOA_NO_FIELDS
#define joiner_ROWS(ROW, K) ROW(K, CAST, hello, _, "Nothing.")
STOA_TABLE(joiner)
STOA_TABLE_DEFINE(joiner)
typedef struct joiner {
    uint64_t unused;
} joiner;
typedef struct joiner_args {
    const char *group;
} joiner_args;
#define joiner_HEARS STOA_HEARS_NOTHING
static stoa_err join(stoa_turn *turn, void *state, const void *args)
{
    (void)state;
    return stoa_turn_join(turn, ((const joiner_args *)args)->group);
}
STOA_PLAIN_KIND(joiner, .start = join, .args_bytes = sizeof(joiner_args))

static stoa_err joiner_on_hello(stoa_turn *turn, joiner *self, const joiner_hello *in)
{
    (void)turn;
    (void)self;
    (void)in;
    return STOA_OK;
}

static void spawn(stoa_node *node, const char *name, uint32_t core, const char *group)
{
    stoa_ref ref;
    joiner_args args = {group};
    assert_int_equal(stoa_spawn(node, &joiner_kind, name, &(stoa_spawn_options){.core = core, .args = &args}, &ref), STOA_OK);
}

static void check(stoa_platform *platform, const char *argument, stoa_err expected, const char *document)
{
    stoa_door_call call = {.said.count = argument ? 1 : 0, .document = STOA_BUF_GROWING, .view = STOA_BUF_GROWING};
    call.said.args[0] = argument;
    assert_int_equal(stoa_command_groups(platform, &call), expected);
    stoa_buf_puts(&call.document, "");
    assert_string_equal(call.document.at ? call.document.at : "", document);
    stoa_buf_deinit(&call.document);
    stoa_buf_deinit(&call.view);
}

static void groups_and_their_members_are_shown(void **state)
{
    (void)state;
    static stoa_platform platform;
    assert_int_equal(stoa_node_open(&(stoa_options){.cores = 2}, &platform.node), STOA_OK);
    check(&platform, NULL, STOA_OK, "{\"groups\":[]}");
    spawn(platform.node, "joiner/b", 1, "night.crew");
    spawn(platform.node, "joiner/a", 0, "night.crew");
    spawn(platform.node, "joiner/c", 0, "day.crew");
    check(&platform, NULL, STOA_OK,
          "{\"groups\":[{\"name\":\"day.crew\",\"members\":1,\"published\":0},"
          "{\"name\":\"night.crew\",\"members\":2,\"published\":0}]}");
    check(&platform, "night.*", STOA_OK, "{\"groups\":[{\"name\":\"night.crew\",\"members\":2,\"published\":0}]}");
    check(&platform, "night.crew", STOA_OK,
          "{\"members\":[{\"name\":\"joiner/a\",\"core\":0},{\"name\":\"joiner/b\",\"core\":1}]}");
    check(&platform, "night.crow", STOA_E_NOT_FOUND, "");
    assert_non_null(strstr(stoa_err_trail(), "did you mean 'night.crew'?"));
    check(&platform, "noon.>", STOA_E_NOT_FOUND, "");
    stoa_node_close(platform.node, STOA_S(1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_and_their_members_are_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
