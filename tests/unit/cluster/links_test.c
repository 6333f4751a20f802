/* links_test.c - goal: who opens links is told by name what is wrong with them, the keys of a folder decide who is met while they are
 * open, and the log says what became of each node, whoever else says a name. Method: options that cannot be; two nodes of this process, each
 * with a folder, whose keys come, go and rotate; a stranger with many names; what is logged, read back.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/kit.h"

#include <poll.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "cluster/links.h"
#include "cluster/remote/remote.h"
#include "cluster/links/inside.h"
#include "runtime/stoa.h"
#include "transport/envelope.h"
#include "transport/key_list.h"
#include "transport/link.h"

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
    atomic_int told[STOA_REMOTE_WHATS], why;
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
    stoa_links_close(s->links, STOA_S(5)); /* so much only where the other side does not read */
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

/* --- what is logged, while it is kept */

typedef struct kept_log {
    FILE *file;
    int err_fd;
} kept_log;

static kept_log log_keep(stoa_log_level level)
{
    kept_log log = {.file = tmpfile(), .err_fd = dup(STDERR_FILENO)};
    assert_true(log.file && log.err_fd >= 0);
    assert_true(dup2(fileno(log.file), STDERR_FILENO) >= 0);
    stoa_log_level_set(level);
    return log;
}

static void log_let_go(const kept_log *log)
{
    stoa_log_level_set(STOA_LOG_OFF);
    assert_true(dup2(log->err_fd, STDERR_FILENO) >= 0);
    (void)close(log->err_fd);
}

/* Lines with an event of a node; node "": of any. */
static unsigned lines_of(const kept_log *log, const char *event, const char *node)
{
    char line[1024], is[64], of[128];
    unsigned count = 0;
    (void)snprintf(is, sizeof is, "\"%s\"", event);
    (void)snprintf(of, sizeof of, "\"node\":\"%s\"", node);
    off_t size_bytes = lseek(fileno(log->file), 0, SEEK_CUR); /* who writes has the same place in the file */
    FILE *read = fdopen(dup(fileno(log->file)), "r");
    assert_non_null(read);
    rewind(read);
    while (fgets(line, sizeof line, read)) { count += strstr(line, is) && (!node[0] || strstr(line, of)); }
    (void)fclose(read);
    (void)lseek(fileno(log->file), size_bytes, SEEK_SET);
    return count;
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

static void a_key_of_two_names_lets_in_neither_and_leaves_the_rest(void **state)
{
    (void)state;
    side a = {0}, b = {0}, d = {0};
    char path[KIT_PATH_MAX + 64];
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
    kept_log log = log_keep(STOA_LOG_WARN);
    give_key(&b, &a, "c");
    (void)snprintf(path, sizeof path, "%s/keys/d.pub", a.data);
    assert_int_equal(unlink(path), 0);
    look_until(&a, &d, &d.told[STOA_REMOTE_LOST], 0);
    look_until(&a, &b, &b.told[STOA_REMOTE_LOST], 0);
    stoa_links_look(a.links);
    log_let_go(&log);
    assert_int_equal(lines_of(&log, "link_keys_refused", ""), 0);
    assert_int_equal(lines_of(&log, "link_key_ambiguous", ""), 2); /* each name once */
    /* the mistake is taken back */
    int ups = b.told[STOA_REMOTE_UP];
    (void)snprintf(path, sizeof path, "%s/keys/c.pub", a.data);
    assert_int_equal(unlink(path), 0);
    look_until(&a, &b, &b.told[STOA_REMOTE_UP], ups);
    close_side(&d);
    sides_deinit(&a, &b);
    (void)fclose(log.file);
    kit_remove(a.data), kit_remove(b.data), kit_remove(d.data);
}

/* --- who says many names */

enum { NAMES = 2 * STOA_REMOTE_PEERS, STRANGERS_SAID = 40 };

static void ignore_frame(void *context, stoa_peer peer, const char *identity, const void *bytes, uint32_t size_bytes)
{
    (void)context, (void)peer, (void)identity, (void)bytes, (void)size_bytes;
}

static void ignore_peer(void *context, stoa_peer peer)
{
    (void)context, (void)peer;
}

/* Say hello under a name, in a version that nobody speaks, until the side has refused it. */
static void say_hello(stoa_link *stranger, side *to, const char *name)
{
    static const stoa_link_events nobody = {.frame = ignore_frame, .up = ignore_peer, .down = ignore_peer};
    struct {
        stoa_envelope e;
        stoa_hello body;
    } piece = {.e = {.flags = stoa_envelope_flags(STOA_ENVELOPE_HELLO, STOA_LANE_CONTROL)},
               .body = {.version_min = 999, .version_max = 999, .number = 1, .incarnation = 1}};
    int before = to->told[STOA_REMOTE_TURNED_AWAY];
    bool said = false;
    (void)snprintf(piece.body.name, sizeof piece.body.name, "%s", name);
    stoa_envelope_seal(&piece.e, sizeof piece, 0);
    for (int i = 0; i < 60000 && to->told[STOA_REMOTE_TURNED_AWAY] == before; i++) {
        said = said || stranger->ops->send(stranger, 0, &piece, sizeof piece) == STOA_OK;
        (void)stranger->ops->poll(stranger, &nobody, 64);
        (void)poll(NULL, 0, 1);
    }
    assert_int_equal(to->told[STOA_REMOTE_TURNED_AWAY], before + 1);
}

static void say_hello_as_many(stoa_link *stranger, side *to, const char *first)
{
    char name[32];
    for (unsigned i = 0; i < NAMES; i++) {
        (void)snprintf(name, sizeof name, "%s-%u", first, i);
        say_hello(stranger, to, name);
    }
}

static void many_names_neither_silence_a_node_nor_fill_the_log(void **state)
{
    (void)state;
    side a = {0}, b = {0};
    char uri[64];
    stoa_link *stranger = NULL;
    (void)snprintf(uri, sizeof uri, "shm://stoa-links-names-%d", getpid());
    kept_log log = log_keep(STOA_LOG_INFO);
    open_side(&a, "a", "b", uri, true);
    kit_ok(stoa_link_open(uri, &(stoa_link_options){.frame_limit = 1024, .queue_frames = 16}, &stranger));
    say_hello_as_many(stranger, &a, "m");
    assert_in_range(lines_of(&log, "link_turned_away", ""), 1, STRANGERS_SAID);
    unsigned before = lines_of(&log, "link_turned_away", "");
    say_hello_as_many(stranger, &a, "n");
    assert_int_equal(lines_of(&log, "link_turned_away", ""), before); /* however many there are */
    say_hello(stranger, &a, "b");
    assert_int_equal(lines_of(&log, "link_turned_away", "b"), 1);
    say_hello_as_many(stranger, &a, "o");
    say_hello(stranger, &a, "b");
    assert_int_equal(lines_of(&log, "link_turned_away", "b"), 1); /* what was said of it is remembered */
    open_side(&b, "b", "a", uri, false);
    look_until(&a, &b, &a.told[STOA_REMOTE_UP], 0);
    say_hello_as_many(stranger, &a, "p");
    close_side(&b);
    look_until(&a, &a, &a.told[STOA_REMOTE_LEFT], 0);
    log_let_go(&log);
    assert_int_equal(lines_of(&log, "link_up", "b"), 1);
    assert_int_equal(lines_of(&log, "link_left", "b"), 1);
    assert_int_equal(lines_of(&log, "link_turned_away", ""), before + 1);
    stranger->ops->close(stranger, 0);
    close_side(&a);
    (void)fclose(log.file);
}

/* --- who ends in order */

static void check_orderly_end(const char *uri, bool who_listens)
{
    side a = {0}, b = {0}, *ends = who_listens ? &a : &b, *stays = who_listens ? &b : &a;
    const char *end = who_listens ? "a" : "b", *stay = who_listens ? "b" : "a";
    kept_log log = log_keep(STOA_LOG_INFO);
    open_side(&a, "a", "b", uri, true);
    open_side(&b, "b", "a", a.address, false);
    look_until(&a, &b, &a.told[STOA_REMOTE_UP], 0);
    look_until(&a, &b, &b.told[STOA_REMOTE_UP], 0);
    close_side(ends);
    look_until(stays, stays, &stays->told[STOA_REMOTE_LEFT], 0);
    (void)poll(NULL, 0, 300); /* the time of a loss */
    stoa_links_look(stays->links);
    log_let_go(&log);
    assert_int_equal(lines_of(&log, "link_closed", stay), 1); /* said by who ends */
    assert_int_equal(lines_of(&log, "link_left", end), 1);    /* and by who stays */
    assert_int_equal(lines_of(&log, "link_down", "") + lines_of(&log, "link_lost", "") + lines_of(&log, "remote_lost", ""), 0);
    assert_int_equal(ends->told[STOA_REMOTE_LOST] + ends->told[STOA_REMOTE_DOWN] + stays->told[STOA_REMOTE_LOST] + stays->told[STOA_REMOTE_DOWN], 0);
    close_side(stays);
    (void)fclose(log.file);
}

static void an_orderly_end_is_no_loss(void **state)
{
    (void)state;
    char uri[64];
    (void)snprintf(uri, sizeof uri, "shm://stoa-links-ends-%d", getpid());
    check_orderly_end("zmq+tcp://127.0.0.1:0", true);
    check_orderly_end("zmq+tcp://127.0.0.1:0", false);
    check_orderly_end(uri, true);
    check_orderly_end(uri, false);
}

/* --- who is cut off by this node's own keys, and keys that change while a link is not open */

static void remove_key(const side *of, const char *name)
{
    char path[KIT_PATH_MAX + 64];
    (void)snprintf(path, sizeof path, "%s/keys/%s.pub", of->data, name);
    assert_int_equal(unlink(path), 0);
}

static void pair_open(side *a, side *b, const char *uri)
{
    kit_folder(a->data), kit_folder(b->data);
    kit_ok(stoa_links_pair(a->data));
    kit_ok(stoa_links_pair(b->data));
    give_key(a, b, "a"), give_key(b, a, "b");
    open_side(a, "a", "b", uri, true);
    open_side(b, "b", "a", a->address, false);
    look_until(a, b, &a->told[STOA_REMOTE_UP], 0);
    look_until(a, b, &b->told[STOA_REMOTE_UP], 0);
}

static void pair_close(side *a, side *b)
{
    sides_deinit(a, b);
    kit_remove(a->data), kit_remove(b->data);
}

static void who_takes_a_key_away_has_lost_nobody(void **state)
{
    (void)state;
    for (int listens = 0; listens < 2; listens++) {
        side a = {0}, b = {0}, *takes = listens ? &a : &b;
        const char *other = listens ? "b" : "a";
        pair_open(&a, &b, "zmq+tcp://127.0.0.1:0");
        kept_log log = log_keep(STOA_LOG_INFO);
        remove_key(takes, other);
        look_until(takes, takes, &takes->told[STOA_REMOTE_CLOSED], 0);
        look_until(&a, &b, listens ? &b.told[STOA_REMOTE_LOST] : &a.told[STOA_REMOTE_LEFT], 0); /* who is turned away has lost the other one */
        (void)poll(NULL, 0, 300);                                                               /* the time of a loss */
        log_let_go(&log);
        assert_int_equal(lines_of(&log, "link_closed", other), 1);
        assert_int_equal(lines_of(&log, "link_lost", other) + lines_of(&log, "remote_lost", other) + lines_of(&log, "link_down", other), 0);
        assert_int_equal(takes->told[STOA_REMOTE_LOST] + takes->told[STOA_REMOTE_DOWN], 0);
        int ups = a.told[STOA_REMOTE_UP];
        give_key(listens ? &b : &a, takes, other);
        look_until(&a, &b, &a.told[STOA_REMOTE_UP], ups);
        pair_close(&a, &b);
        (void)fclose(log.file);
    }
}

static void keys_that_go_while_a_link_is_not_open_are_gone_when_it_is(void **state)
{
    (void)state;
    side a = {0}, b = {0};
    stoa_key_change change;
    char folder[KIT_PATH_MAX], away[KIT_PATH_MAX + 8], uri[KIT_PATH_MAX + 32], keys[KIT_PATH_MAX + 8];
    kit_folder(folder);
    (void)snprintf(away, sizeof away, "%s.away", folder);
    (void)snprintf(uri, sizeof uri, "zmq+ipc://%s/socket", folder);
    pair_open(&a, &b, uri);
    int lefts = a.told[STOA_REMOTE_DOWN], refusals = b.told[STOA_REMOTE_REFUSED];
    kept_log log = log_keep(STOA_LOG_WARN);
    /* a's own key is rotated, and it cannot listen again: the place is gone */
    assert_int_equal(rename(folder, away), 0);
    (void)snprintf(keys, sizeof keys, "%s/keys", a.data);
    kit_ok(stoa_keys_rotate(keys, STOA_KEY_SERVER, NULL, NULL, 0, stoa_clock_real.wall_ns(&stoa_clock_real), false, &change));
    (void)snprintf(keys, sizeof keys, "%s/keys", b.data);
    kit_ok(stoa_keys_allow(keys, "a", change.key, NULL, NULL, stoa_clock_real.wall_ns(&stoa_clock_real), &change));
    look_until(&a, &a, &a.told[STOA_REMOTE_DOWN], lefts);
    /* now b's key goes, too, and then the place is back */
    remove_key(&a, "b");
    stoa_links_look(a.links);
    assert_int_equal(rename(away, folder), 0);
    int ups = a.told[STOA_REMOTE_UP];
    look_until(&a, &b, &b.told[STOA_REMOTE_REFUSED], refusals);
    assert_int_equal(a.told[STOA_REMOTE_UP], ups);
    log_let_go(&log);
    assert_int_equal(lines_of(&log, "link_reopen_failed", ""), 1);
    assert_int_equal(lines_of(&log, "link_keys_refused", ""), 0);
    give_key(&b, &a, "b");
    look_until(&a, &b, &a.told[STOA_REMOTE_UP], ups);
    pair_close(&a, &b);
    kit_remove(folder);
    (void)fclose(log.file);
}

static void what_cannot_be_is_refused_by_name(void **state)
{
    (void)state;
    char data[KIT_PATH_MAX], longer[STOA_LINKS_NODES_BYTES + 1];
    kit_folder(data);
    memset(longer, 'b', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    const struct {
        const char *name, *uri, *nodes, *key, *says;
        bool keys, listen;
        stoa_err err;
    } rows[] = {
        {"a", "zmq+tcp://127.0.0.1:1", "b, c", NULL, "who dials names one node", true, false, STOA_E_INVALID},
        {"a", "zmq+tcp://127.0.0.1:1", NULL, NULL, "who dials names one node", true, false, STOA_E_INVALID},
        {"a", "zmq+tcp://127.0.0.1:0", "B", NULL, "no names of nodes", true, true, STOA_E_INVALID},
        {"a", "zmq+tcp://127.0.0.1:0", "../b", NULL, "no names of nodes", true, true, STOA_E_INVALID},
        {"a", "zmq+tcp://127.0.0.1:0", longer, NULL, "too long", true, true, STOA_E_INVALID},
        {"a", "zmq+tcp://127.0.0.1:0", "b, c", "/b.pub", "a key is of one node", true, true, STOA_E_INVALID},
        {"a", "zmq+tcp://127.0.0.1:0", NULL, "/b.pub", "a key is of one node", true, true, STOA_E_INVALID},
        {"A b", "zmq+tcp://127.0.0.1:0", "b", NULL, "", true, true, STOA_E_INVALID},
        {"a", "zmq+tpc://127.0.0.1:0", "b", NULL, "zmq+tpc://127.0.0.1:0: there are shm, zmq+ipc, zmq+tcp, ", true, true, STOA_E_UNSUPPORTED},
        {"a", "pigeon://127.0.0.1:0", "b", NULL, "pigeon", true, true, STOA_E_UNSUPPORTED},
        {"a", "zmq+tcp://127.0.0.1", "b", NULL, "", true, true, STOA_E_INVALID},
        {"a", "zmq+tcp://0.0.0.0:0", "b", NULL, "", false, true, STOA_E_INVALID},
        {"a", "ucx+tcp://0.0.0.0:0", "b", NULL, "", true, true, STOA_E_INVALID},
    };
    stoa_node *node;
    kit_ok(stoa_node_open(&(stoa_options){.cores = 1}, &node));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        stoa_links *links = NULL;
        stoa_links_options options = {.node = node, .name = rows[i].name, .data = rows[i].keys ? data : NULL,
                                      .links = {{.uri = rows[i].uri, .listen = rows[i].listen, .nodes = rows[i].nodes, .key = rows[i].key}}};
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

static void note_shut(void *context, const stoa_remote_link_view *view)
{
    *(stoa_err *)context = view->shut;
}

/* Keys have changed, and it cannot listen with them: INVALID, as an address is that is not this machine's for a while. */
static void a_link_that_cannot_be_opened_with_new_keys_has_the_old_ones_no_more(void **state)
{
    (void)state;
    side a = {0}, b = {0};
    stoa_key_change change;
    stoa_err shut = STOA_OK;
    char keys[KIT_PATH_MAX + 8];
    kit_folder(a.data);
    kit_folder(b.data);
    kit_ok(stoa_links_pair(a.data));
    kit_ok(stoa_links_pair(b.data));
    give_key(&b, &a, "b");
    give_key(&a, &b, "a");
    open_side(&a, "a", "b", "zmq+tcp://127.0.0.1:0", true);
    open_side(&b, "b", "a", a.address, false);
    look_until(&a, &b, &b.told[STOA_REMOTE_UP], 0);
    stoa_remote *remote = stoa_links_remote(a.links);
    int losts = b.told[STOA_REMOTE_LOST], ups = b.told[STOA_REMOTE_UP];
    assert_int_equal(stoa_remote_reopen(remote, 0, &(stoa_link_options){.secret_key = "none"}, false), STOA_E_INVALID);
    stoa_remote_links(remote, note_shut, &shut);
    assert_int_equal(shut, STOA_E_INVALID);
    look_until(&b, &b, &b.told[STOA_REMOTE_LOST], losts);
    assert_int_equal(b.told[STOA_REMOTE_UP], ups);
    (void)snprintf(keys, sizeof keys, "%s/keys", a.data);
    kit_ok(stoa_keys_rotate(keys, STOA_KEY_SERVER, NULL, NULL, 0, stoa_clock_real.wall_ns(&stoa_clock_real), false, &change));
    (void)snprintf(keys, sizeof keys, "%s/keys", b.data);
    kit_ok(stoa_keys_allow(keys, "a", change.key, NULL, NULL, stoa_clock_real.wall_ns(&stoa_clock_real), &change));
    look_until(&a, &b, &b.told[STOA_REMOTE_UP], ups);
    stoa_remote_links(remote, note_shut, &shut);
    assert_int_equal(shut, STOA_OK);
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
        cmocka_unit_test(a_link_that_cannot_be_opened_with_new_keys_has_the_old_ones_no_more),
        cmocka_unit_test(a_key_of_two_names_lets_in_neither_and_leaves_the_rest),
        cmocka_unit_test(many_names_neither_silence_a_node_nor_fill_the_log),
        cmocka_unit_test(an_orderly_end_is_no_loss),
        cmocka_unit_test(who_takes_a_key_away_has_lost_nobody),
        cmocka_unit_test(keys_that_go_while_a_link_is_not_open_are_gone_when_it_is),
        cmocka_unit_test(what_cannot_be_is_refused_by_name),
    };
    stoa_log_level_set(STOA_LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
