/* isolate_host_test.c - goal: what the child does with a turn is right, and clean under the sanitizers, which stoa-isolate itself cannot be
 * built with. Method: its files, compiled into this program with a plug-in's; frames go in as from a node, and what comes out of the
 * ring is read as a node would. Then many turns from a printed seed, with payloads that are broken, too.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/wire.h"
#include "runtime/isolate/host/describe.c"
#include "runtime/isolate/host/serve.c"
#include "runtime/isolate/host/ties.c"
#include "runtime/isolate/host/turn.c"
#include "runtime/isolate/host/unsupported.c"
#include "tests/unit/runtime/isolates/tied.c"

enum { SELF = 11, PEER = 22, STRANGER = 33, ROUNDS = 20000, FRAMES = 128 };

static stoa_isolate_pipe node;
static uint64_t next_turn;

typedef struct told {
    stoa_isolate_head head;
    uint32_t payload_bytes;
    uint8_t payload[STOA_ISOLATE_PAYLOAD_MAX];
} told;
static told answers[FRAMES];
static uint32_t answer_count;

static void meet(stoa_isolate_pipe *pipe, int socket, stoa_shm_word word)
{
    stoa_shm_note note;
    int memory = -1;
    stoa_shm_heard heard;
    do { heard = stoa_shm_socket_hear(socket, &note, &memory); } while (heard == STOA_SHM_RING);
    assert_int_equal(heard, STOA_SHM_NOTE);
    assert_int_equal(stoa_isolate_pipe_meet(pipe, &note, word, memory), STOA_OK);
    (void)close(memory);
}

/* What the child has written. */
static void take_answers(void)
{
    static uint8_t frame[STOA_ISOLATE_FRAME_MAX];
    uint32_t size_bytes = 1;
    for (answer_count = 0; size_bytes; answer_count += size_bytes > 0) {
        told *answer = &answers[answer_count];
        const uint8_t *payload = frame;
        assert_int_equal(stoa_isolate_pipe_read(&node, frame, &size_bytes), STOA_OK);
        if (!size_bytes) { break; }
        assert_true(answer_count < FRAMES);
        assert_int_equal(stoa_isolate_frame_read(frame, size_bytes, &answer->head, &payload, &answer->payload_bytes), STOA_OK);
        memcpy(answer->payload, payload, answer->payload_bytes);
        assert_int_equal(answer->head.turn, next_turn - 1);
    }
}

static void turn_of(stoa_isolate_head head, const char *topic, const stoa_row *row, const void *payload)
{
    static uint8_t frame[STOA_ISOLATE_FRAME_MAX];
    head.turn = next_turn++;
    uint32_t size_bytes = stoa_isolate_frame_write(frame, &head, topic, row, payload);
    assert_int_not_equal(size_bytes, 0);
    stoa_host_turn(frame, size_bytes);
    take_answers();
}

/* The last frame of a turn, which says how it went. */
static const told *ended(stoa_isolate_word word, stoa_err err)
{
    assert_true(answer_count > 0);
    const told *last = &answers[answer_count - 1];
    assert_int_equal(last->head.word, word);
    assert_int_equal(last->head.error, err);
    return last;
}

static void start(void)
{
    uint8_t frame[sizeof(stoa_isolate_head) + sizeof(stoa_isolate_given)];
    stoa_isolate_head head = {.word = STOA_ISOLATE_START, .ref = SELF, .ns = 1, .turn = next_turn++};
    stoa_isolate_given given = {.key = "t", .sends = 8, .peer_count = 1, .hears_count = 1, .tells_count = 1};
    (void)snprintf(given.peers[0].name, sizeof given.peers[0].name, "victim/v");
    given.peers[0].ref = PEER;
    (void)snprintf(given.hears[0], sizeof given.hears[0], "tied.news.>");
    (void)snprintf(given.tells[0], sizeof given.tells[0], "tied.echo");
    memcpy(frame, &head, sizeof head);
    memcpy(frame + sizeof head, &given, sizeof given);
    stoa_host_turn(frame, sizeof frame);
    take_answers();
    (void)ended(STOA_ISOLATE_DONE, STOA_OK);
}

static int set_up(void **state)
{
    int ends[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
    stoa_the_host.pipe.socket = node.socket = -1;
    assert_int_equal(stoa_isolate_pipe_offer(&node, ends[0], STOA_SHM_HELLO), STOA_OK);
    assert_int_equal(stoa_isolate_pipe_offer(&stoa_the_host.pipe, ends[1], STOA_SHM_WELCOME), STOA_OK);
    meet(&stoa_the_host.pipe, ends[1], STOA_SHM_HELLO);
    meet(&node, ends[0], STOA_SHM_WELCOME);
    stoa_host_take(&tied_kind);
    start();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(stoa_the_host.state);
    free(stoa_the_host.answer);
    free(decoded);
    stoa_isolate_pipe_close(&node);
    stoa_isolate_pipe_close(&stoa_the_host.pipe);
    return 0;
}

static void deed(const char *what, uint64_t n)
{
    tied_deed in = {.n = n};
    (void)STOA_TEXT_SETZ(&in.what, what);
    turn_of((stoa_isolate_head){.word = STOA_ISOLATE_MESSAGE, .ref = STRANGER, .ns = 5}, NULL, &tied_rows[tied_ROW_deed], &in);
}

static void test_a_turn_that_takes_effect_is_told_in_order(void **state)
{
    (void)state;
    deed("told", 3);
    assert_int_equal(answer_count, 4);
    for (uint32_t i = 0; i < 3; i++) {
        victim_poke poke;
        assert_int_equal(answers[i].head.word, STOA_ISOLATE_TOLD);
        assert_int_equal(answers[i].head.ref, PEER);
        assert_int_equal(answers[i].head.token, 70 + i);
        assert_string_equal(answers[i].head.table, "victim");
        assert_int_equal(stoa_isolate_payload_read(&victim_rows[victim_ROW_poke].payload, answers[i].payload, answers[i].payload_bytes, &poke), STOA_OK);
        assert_int_equal(poke.n, i);
    }
    (void)ended(STOA_ISOLATE_DONE, STOA_OK);
    deed("told", 9); /* eight are all it may send */
    assert_int_equal(answer_count, 1);
    (void)ended(STOA_ISOLATE_DONE, STOA_E_FULL);
}

static void test_what_it_may_not_is_refused_before_the_node_hears_of_it(void **state)
{
    static const struct {
        const char *deed;
        stoa_err err;
    } all[] = {{"overreach", STOA_E_DENIED}, {"forge", STOA_E_DENIED}, {"unbound", STOA_E_INVALID}, {"no such deed", STOA_E_INVALID}};
    (void)state;
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        deed(all[i].deed, 1);
        assert_int_equal(answer_count, 1);
        (void)ended(STOA_ISOLATE_DONE, all[i].err);
    }
}

static void test_topics_monitors_and_refusals(void **state)
{
    (void)state;
    deed("subscribe", 0);
    assert_int_equal(answers[0].head.word, STOA_ISOLATE_TOPIC);
    assert_int_equal(answers[0].head.text_bytes, strlen("tied.news.*"));
    victim_news news = {7};
    turn_of((stoa_isolate_head){.word = STOA_ISOLATE_MESSAGE, .ref = PEER}, "tied.news.now", &victim_rows[victim_ROW_news], &news);
    (void)ended(STOA_ISOLATE_DONE, STOA_OK);
    deed("publish", 3);
    assert_int_equal(answers[0].head.token, STOA_ISOLATE_BIND);
    assert_int_equal(answers[1].head.word, STOA_ISOLATE_PUBLISH);
    deed("monitor", 0);
    uint64_t monitor = answers[0].head.token;
    stoa_system_down down = {.ref = PEER, .token = monitor};
    turn_of((stoa_isolate_head){.word = STOA_ISOLATE_MESSAGE}, NULL, &stoa_system_rows[stoa_system_ROW_down], &down);
    deed("refuse", 1);
    assert_int_equal(answers[0].head.word, STOA_ISOLATE_SEND);
    (void)ended(STOA_ISOLATE_DONE, STOA_E_RANGE);
    deed("look", 0);
    tied_seen seen;
    const told *last = ended(STOA_ISOLATE_DONE, STOA_OK);
    assert_int_equal(stoa_isolate_payload_read(&tied_rows[tied_ROW_seen].payload, last->payload, last->payload_bytes, &seen), STOA_OK);
    assert_int_equal(seen.news, 7);
    assert_int_equal(seen.downs, 1);
    assert_int_equal(seen.matched, 1);
    assert_true(STOA_TEXT_EQZ(&seen.topic, "tied.news.now"));
}

static void test_it_describes_itself(void **state)
{
    static stoa_description description;
    static uint8_t bytes[STOA_DESCRIBED_BYTES];
    size_t size_bytes = 0;
    (void)state;
    turn_of((stoa_isolate_head){.word = STOA_ISOLATE_DESCRIBE}, NULL, NULL, NULL);
    for (uint32_t i = 0; i + 1 < answer_count; i++) {
        assert_int_equal(answers[i].head.word, STOA_ISOLATE_DESCRIPTION);
        memcpy(bytes + size_bytes, answers[i].payload, answers[i].payload_bytes);
        size_bytes += answers[i].payload_bytes;
    }
    assert_int_equal(stoa_decode(STOA_TYPE(stoa_description), bytes, size_bytes, &description, NULL), STOA_OK);
    assert_true(STOA_TEXT_EQZ(&description.kind, "tied"));
    assert_int_equal(description.rows.count, tied_table.row_count);
    assert_int_equal(description.hears.count, 4);
}

static void test_any_row_with_any_payload_ends_in_one_answer(void **state)
{
    static const char *const deeds[] = {"look", "monitor", "demonitor", "link", "unlink", "told", "within", "room", "subscribe",
                                        "unsubscribe", "join", "leave", "overreach", "forge", "publish", "refuse", "base"};
    static uint8_t frame[STOA_ISOLATE_FRAME_MAX];
    stoa_random random;
    uint64_t seed;
    (void)state;
    stoa_random_system(&seed, sizeof seed);
    print_message("seed %llu\n", (unsigned long long)seed);
    stoa_random_seed(&random, seed);
    for (int i = 0; i < ROUNDS; i++) {
        if (stoa_random_chance(&random, 500)) {
            deed(deeds[stoa_random_below(&random, sizeof deeds / sizeof deeds[0])], stoa_random_below(&random, 12));
        } else {
            stoa_isolate_head head = {.word = stoa_random_chance(&random, 800) ? STOA_ISOLATE_MESSAGE : STOA_ISOLATE_TICK,
                                      .ref = stoa_random_below(&random, 400),
                                      .row = (uint32_t)stoa_random_below(&random, 9),
                                      .token = stoa_random_below(&random, 100),
                                      .ns = stoa_random_next(&random) >> 8,
                                      .turn = next_turn++};
            static const char *const names[] = {"tied", "victim", "stoa_system", "nobody"};
            (void)snprintf(head.table, sizeof head.table, "%s", names[stoa_random_below(&random, 4)]);
            uint32_t bytes = (uint32_t)stoa_random_below(&random, 40);
            memcpy(frame, &head, sizeof head);
            for (uint32_t at = 0; at < bytes; at++) { frame[sizeof head + at] = (uint8_t)stoa_random_next(&random); }
            stoa_host_turn(frame, (uint32_t)sizeof head + bytes);
            take_answers();
        }
        assert_true(answer_count > 0);
        assert_int_equal(answers[answer_count - 1].head.word, STOA_ISOLATE_DONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_turn_that_takes_effect_is_told_in_order),
        cmocka_unit_test(test_what_it_may_not_is_refused_before_the_node_hears_of_it),
        cmocka_unit_test(test_topics_monitors_and_refusals),
        cmocka_unit_test(test_it_describes_itself),
        cmocka_unit_test(test_any_row_with_any_payload_ends_in_one_answer),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
