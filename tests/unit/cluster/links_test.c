/* links_test.c - goal: who opens links is told by name what is wrong with them, and the keys of a folder decide who is met while they are
 * open. Method: options that cannot be; two nodes of this process, each with a folder, whose keys come, go and rotate.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/kit.h"

#include <poll.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "cluster/links.h"
#include "runtime/stoa.h"
#include "transport/key_list.h"

#define bell_ring_FIELDS       STOA_NO_FIELDS
#define bell_rung_FIELDS(F, S) F(S, uint64_t, times)
#define bell_ROWS(ROW, K)                \
    ROW(K, COMMAND, ring, rung, "Ring.") \
    ROW(K, REPLY, rung, _, "So often.")
STOA_TABLE_HERE(bell)
typedef struct bell {
    uint64_t times;
} bell;
#define bell_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(bell, .mailbox_limit = 16)

static stoa_err bell_on_ring(stoa_turn *turn, bell *self, const bell_ring *in, bell_rung *out)
{
    (void)turn, (void)in;
    out->times = ++self->times;
    return STOA_OK;
}

typedef struct side {
    stoa_node *node;
    stoa_links *links;
    char data[KIT_PATH_MAX], address[256];
    atomic_int told[STOA_REMOTE_TURNED_AWAY + 1], why;
} side;

static void note_told(void *context, const char *node, stoa_remote_what what, stoa_err why)
{
    side *s = context;
    (void)node;
    s->why = why;
    s->told[what]++;
}

static void note_address(void *context, const stoa_links_link_view *view)
{
    side *s = context;
    assert_int_equal(view->index, 0);
    assert_true(view->encrypts == (s->data[0] != '\0'));
    (void)snprintf(s->address, sizeof s->address, "%s", view->address);
}

/* Its name is that of the side; it listens where it has no address yet. */
static void open_side(side *s, const char *name, const char *other, const char *uri, bool listen)
{
    stoa_links_options options = {.kinds = STOA_KINDS(&bell_kind), .name = name, .data = s->data[0] ? s->data : NULL,
                                  .links = {{.uri = uri, .listen = listen, .nodes = other, .heartbeat_ns = STOA_MS(50)}},
                                  .told = note_told, .context = s, .lost_ns = STOA_MS(200)};
    kit_ok(stoa_node_open(&(stoa_options){.cores = 1}, &s->node));
    options.node = s->node;
    kit_ok(stoa_links_open(&options, &s->links));
    stoa_links_visit(s->links, note_address, s);
}

static void close_side(side *s)
{
    stoa_links_close(s->links, STOA_MS(100));
    stoa_node_close(s->node, STOA_S(1));
}

static void give_key(const side *from, const side *to, const char *name)
{
    char path[KIT_PATH_MAX + 64], key[STOA_KEY_TEXT_BYTES];
    (void)snprintf(path, sizeof path, "%s/keys/server.pub", from->data);
    kit_ok(stoa_key_load_public(path, key));
    (void)snprintf(path, sizeof path, "%s/keys/%s.pub", to->data, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    (void)fprintf(out, "%s\n", key);
    (void)fclose(out);
}

/* Look at both sides' keys until that was told once more. */
static void look_until(side *a, side *b, const atomic_int *told, int before)
{
    for (int i = 0; i < 60000 && *told == before; i++, (void)poll(NULL, 0, 1)) {
        if (i % 100) { continue; }
        stoa_links_look(a->links);
        stoa_links_look(b->links);
    }
    assert_true(*told > before);
}

static void ring(side *from, uint64_t *times)
{
    stoa_ref ref;
    bell_rung out = {0};
    kit_ok(stoa_links_find(from->links, "bell/b", STOA_S(60), &ref));
    kit_ok(bell_call_ring(from->node, ref, (bell_ring){0}, STOA_S(60), &out));
    *times = out.times;
}

static void sides_deinit(side *a, side *b)
{
    close_side(b);
    close_side(a);
}

static void without_a_folder_there_are_no_keys(void **state)
{
    (void)state;
    side a = {0}, b = {0};
    stoa_ref ref;
    uint64_t times;
    open_side(&a, "a", "b", "zmq+tcp://127.0.0.1:0", true);
    open_side(&b, "b", "a", a.address, false);
    kit_ok(stoa_spawn(a.node, &bell_kind, "bell/b", NULL, &ref));
    ring(&b, &times);
    assert_int_equal(times, 1);
    stoa_links_look(a.links);
    assert_int_equal(stoa_links_find(b.links, "bell/none", STOA_MS(1), &ref), STOA_E_NOT_FOUND);
    sides_deinit(&a, &b);
}

static void the_keys_of_the_folder_decide(void **state)
{
    (void)state;
    side a = {0}, b = {0};
    stoa_ref ref;
    stoa_key_change change;
    uint64_t times;
    char path[KIT_PATH_MAX + 64], folder[KIT_PATH_MAX + 8];
    kit_folder(a.data);
    kit_folder(b.data);
    kit_ok(stoa_links_pair(a.data));
    open_side(&a, "a", "b", "zmq+tcp://127.0.0.1:0", true);
    open_side(&b, "b", "a", a.address, false); /* neither has the other's */
    kit_ok(stoa_spawn(a.node, &bell_kind, "bell/b", NULL, &ref));
    assert_int_equal(stoa_links_find(b.links, "bell/b", STOA_MS(300), &ref), STOA_E_NOT_FOUND);
    give_key(&a, &b, "a");
    give_key(&b, &a, "b");
    look_until(&a, &b, &b.told[STOA_REMOTE_UP], 0);
    ring(&b, &times);
    assert_int_equal(times, 1);
    /* a key that is gone cuts off */
    (void)snprintf(path, sizeof path, "%s/keys/b.pub", a.data);
    assert_int_equal(unlink(path), 0);
    look_until(&a, &b, &b.told[STOA_REMOTE_LOST], 0);
    assert_int_equal(stoa_links_find(b.links, "bell/b", STOA_MS(300), &ref), STOA_E_NOT_FOUND);
    /* and brings back */
    int ups = b.told[STOA_REMOTE_UP];
    give_key(&b, &a, "b");
    look_until(&a, &b, &b.told[STOA_REMOTE_UP], ups);
    ring(&b, &times);
    assert_int_equal(times, 2);
    /* a's own is rotated, and it listens where it did; b, which was given the next one, tries both */
    ups = b.told[STOA_REMOTE_UP];
    (void)snprintf(folder, sizeof folder, "%s/keys", a.data);
    kit_ok(stoa_keys_rotate(folder, STOA_KEY_SERVER, NULL, NULL, 0, stoa_clock_real.wall_ns(&stoa_clock_real), false, &change));
    (void)snprintf(folder, sizeof folder, "%s/keys", b.data);
    kit_ok(stoa_keys_allow(folder, "a", change.key, NULL, NULL, stoa_clock_real.wall_ns(&stoa_clock_real), &change));
    look_until(&a, &b, &b.told[STOA_REMOTE_UP], ups);
    ring(&b, &times);
    assert_int_equal(times, 3);
    sides_deinit(&a, &b);
    kit_remove(a.data);
    kit_remove(b.data);
}

/* Nobody looks: who is refused for its key, and who refused it, are told all the same. */
static void a_refusal_is_told_without_a_look(void **state)
{
    (void)state;
    side a = {0}, b = {0};
    kit_folder(a.data);
    kit_folder(b.data);
    open_side(&a, "a", "b", "zmq+tcp://127.0.0.1:0", true);
    open_side(&b, "b", "a", a.address, false);
    for (int i = 0; i < 60000 && !(a.told[STOA_REMOTE_TURNED_AWAY] && b.told[STOA_REMOTE_REFUSED]); i++) { (void)poll(NULL, 0, 1); }
    assert_true(a.told[STOA_REMOTE_TURNED_AWAY] && b.told[STOA_REMOTE_REFUSED]);
    assert_int_equal(a.why, STOA_E_DENIED);
    assert_int_equal(b.why, STOA_E_DENIED);
    assert_int_equal(a.told[STOA_REMOTE_UP] + b.told[STOA_REMOTE_UP], 0);
    sides_deinit(&a, &b);
    kit_remove(a.data);
    kit_remove(b.data);
}

static unsigned lines_of(FILE *log, const char *what)
{
    char line[1024];
    unsigned count = 0;
    rewind(log);
    while (fgets(line, sizeof line, log)) { count += strstr(line, what) != NULL; }
    return count;
}

static void a_key_of_two_names_lets_in_neither_and_leaves_the_rest(void **state)
{
    (void)state;
    side a = {0}, b = {0}, d = {0};
    char path[KIT_PATH_MAX + 64];
    FILE *log = tmpfile();
    int err_fd = dup(STDERR_FILENO);
    assert_true(log && err_fd >= 0);
    kit_folder(a.data), kit_folder(b.data), kit_folder(d.data);
    kit_ok(stoa_links_pair(a.data));
    kit_ok(stoa_links_pair(b.data));
    kit_ok(stoa_links_pair(d.data));
    give_key(&b, &a, "b"), give_key(&d, &a, "d"), give_key(&a, &b, "a"), give_key(&a, &d, "a");
    open_side(&a, "a", "b, c, d", "zmq+tcp://127.0.0.1:0", true);
    open_side(&b, "b", "a", a.address, false);
    open_side(&d, "d", "a", a.address, false);
    look_until(&a, &b, &b.told[STOA_REMOTE_UP], 0);
    look_until(&a, &d, &d.told[STOA_REMOTE_UP], 0);
    /* by mistake b's is c's, too, and d is let in no more */
    assert_true(dup2(fileno(log), STDERR_FILENO) >= 0);
    stoa_log_level_set(STOA_LOG_WARN);
    give_key(&b, &a, "c");
    (void)snprintf(path, sizeof path, "%s/keys/d.pub", a.data);
    assert_int_equal(unlink(path), 0);
    look_until(&a, &d, &d.told[STOA_REMOTE_LOST], 0);
    look_until(&a, &b, &b.told[STOA_REMOTE_LOST], 0);
    stoa_links_look(a.links);
    stoa_log_level_set(STOA_LOG_OFF);
    assert_true(dup2(err_fd, STDERR_FILENO) >= 0);
    assert_int_equal(lines_of(log, "link_keys_refused"), 0);
    assert_int_equal(lines_of(log, "link_key_ambiguous"), 2); /* each name once */
    /* the mistake is taken back */
    int ups = b.told[STOA_REMOTE_UP];
    (void)snprintf(path, sizeof path, "%s/keys/c.pub", a.data);
    assert_int_equal(unlink(path), 0);
    look_until(&a, &b, &b.told[STOA_REMOTE_UP], ups);
    close_side(&d);
    sides_deinit(&a, &b);
    (void)fclose(log);
    (void)close(err_fd);
    kit_remove(a.data), kit_remove(b.data), kit_remove(d.data);
}

static void what_cannot_be_is_refused_by_name(void **state)
{
    (void)state;
    char data[KIT_PATH_MAX], longer[STOA_LINKS_NODES_BYTES + 1];
    kit_folder(data);
    memset(longer, 'b', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    const struct {
        const char *name, *uri, *nodes, *says;
        bool keys, listen;
        stoa_err err;
    } rows[] = {
        {"a", "zmq+tcp://127.0.0.1:1", "b, c", "who dials names one node", true, false, STOA_E_INVALID},
        {"a", "zmq+tcp://127.0.0.1:1", NULL, "who dials names one node", true, false, STOA_E_INVALID},
        {"a", "zmq+tcp://127.0.0.1:0", "B", "no names of nodes", true, true, STOA_E_INVALID},
        {"a", "zmq+tcp://127.0.0.1:0", "../b", "no names of nodes", true, true, STOA_E_INVALID},
        {"a", "zmq+tcp://127.0.0.1:0", longer, "too long", true, true, STOA_E_INVALID},
        {"A b", "zmq+tcp://127.0.0.1:0", "b", "", true, true, STOA_E_INVALID},
        {"a", "zmq+tpc://127.0.0.1:0", "b", "zmq+tpc://127.0.0.1:0: there are shm, zmq+ipc, zmq+tcp, ", true, true, STOA_E_UNSUPPORTED},
        {"a", "pigeon://127.0.0.1:0", "b", "pigeon", true, true, STOA_E_UNSUPPORTED},
        {"a", "zmq+tcp://127.0.0.1", "b", "", true, true, STOA_E_INVALID},
        {"a", "zmq+tcp://0.0.0.0:0", "b", "", false, true, STOA_E_INVALID},
        {"a", "ucx+tcp://0.0.0.0:0", "b", "", true, true, STOA_E_INVALID},
    };
    stoa_node *node;
    kit_ok(stoa_node_open(&(stoa_options){.cores = 1}, &node));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        stoa_links *links = NULL;
        stoa_links_options options = {.node = node, .name = rows[i].name, .data = rows[i].keys ? data : NULL,
                                      .links = {{.uri = rows[i].uri, .listen = rows[i].listen, .nodes = rows[i].nodes}}};
        stoa_err err = stoa_links_open(&options, &links);
        if (err != rows[i].err || !strstr(stoa_err_trail(), rows[i].says)) { print_error("%s: %s\n", rows[i].uri, stoa_err_trail()); }
        assert_int_equal(err, rows[i].err);
        assert_non_null(strstr(stoa_err_trail(), rows[i].says));
        assert_null(links);
    }
    stoa_links *links = NULL;
    stoa_links_options nameless = {.node = node, .name = "a", .data = "", .links = {{.uri = "zmq+ipc://stoa-nameless", .listen = true, .nodes = "b"}}};
    assert_int_equal(stoa_links_open(&nameless, &links), STOA_E_INVALID); /* and nothing is written at the root of the disk */
    assert_non_null(strstr(stoa_err_trail(), "has no name"));
    assert_int_equal(stoa_links_pair(""), STOA_E_INVALID);
    char file[KIT_PATH_MAX + 16];
    (void)snprintf(file, sizeof file, "%s/no/../../file", "/dev/null");
    assert_int_not_equal(stoa_links_pair(file), STOA_OK);
    stoa_node_close(node, STOA_S(1));
    kit_remove(data);
}

/* It was b's by mistake: who has it does not go on as b on the connection that it has. */
static void a_key_that_is_another_node_s_now_ends_where_it_is_connected(void **state)
{
    (void)state;
    side a = {0}, b = {0};
    stoa_ref ref;
    uint64_t times;
    char of_b[KIT_PATH_MAX + 64], of_c[KIT_PATH_MAX + 64];
    kit_folder(a.data);
    kit_folder(b.data);
    kit_ok(stoa_links_pair(a.data));
    kit_ok(stoa_links_pair(b.data));
    give_key(&b, &a, "b");
    give_key(&a, &b, "a");
    open_side(&a, "a", "b, c", "zmq+tcp://127.0.0.1:0", true);
    open_side(&b, "b", "a", a.address, false);
    kit_ok(stoa_spawn(a.node, &bell_kind, "bell/b", NULL, &ref));
    look_until(&a, &b, &b.told[STOA_REMOTE_UP], 0);
    ring(&b, &times);
    (void)snprintf(of_b, sizeof of_b, "%s/keys/b.pub", a.data);
    (void)snprintf(of_c, sizeof of_c, "%s/keys/c.pub", a.data);
    assert_int_equal(rename(of_b, of_c), 0);
    look_until(&a, &b, &b.told[STOA_REMOTE_LOST], 0);
    look_until(&a, &b, &b.told[STOA_REMOTE_REFUSED], 0);
    assert_int_equal(stoa_links_find(b.links, "bell/b", STOA_MS(300), &ref), STOA_E_NOT_FOUND);
    int ups = b.told[STOA_REMOTE_UP];
    assert_int_equal(rename(of_c, of_b), 0);
    look_until(&a, &b, &b.told[STOA_REMOTE_UP], ups);
    ring(&b, &times);
    assert_int_equal(times, 2);
    sides_deinit(&a, &b);
    kit_remove(a.data);
    kit_remove(b.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_folder_there_are_no_keys),
        cmocka_unit_test(the_keys_of_the_folder_decide),
        cmocka_unit_test(a_refusal_is_told_without_a_look),
        cmocka_unit_test(a_key_that_is_another_node_s_now_ends_where_it_is_connected),
        cmocka_unit_test(a_key_of_two_names_lets_in_neither_and_leaves_the_rest),
        cmocka_unit_test(what_cannot_be_is_refused_by_name),
    };
    stoa_log_level_set(STOA_LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
