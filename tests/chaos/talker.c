/* talker.c - chaos_talker: one end of a session over a real link, that talks until it is killed. Driven by tests/wired.py.
 *
 *     chaos_talker keys                              a fresh pair: "PUBLIC SECRET"
 *     chaos_talker listen|dial ADDRESS KEY=VALUE...
 *
 *     name, peer             of this node and of the other
 *     incarnation, seed
 *     ledger                 path of a file for what it has done (ledger.h)
 *     net                    path of the network namespace to be in; 77 is the end where that is not permitted
 *     secret, public         keys of its own; trusted of the other side: "theirs"
 *     transfers              the seed of large things, which are sent, too, one after the other; the same for both, in all lives. Who sends
 *                            one that did not go whole sends it again, in its next life as well
 *     keep                   folder for what has come of them, and gone; with transfers
 *     most                   bytes of the largest; 1 MiB
 *     tells                  1: each of them is told
 *     halts                  it stops itself (SIGSTOP) when so many bytes of one have come, once
 *     trusts                 1: no checksums (shared memory)
 *     pace_us                so often it sends some messages; 0: as often as it can
 *
 * Each message carries its sender's incarnation, its number on its lane and a pattern made of both; who gets one checks all of
 * it, and that its number is the next. What is wrong is said as "wrong ..." and ends the process with 3. Lines of its output
 * begin with a word and the time, CLOCK_MONOTONIC in ns:
 *
 *     ready NS ADDRESS
 *     up NS INCARNATION RESUMED SILENCE_NS    down NS WHY LATE_NS     refused NS WHY HERE
 *     reset NS OLD NEW {ACKED LOST RECEIVED} of each lane
 *     offered NS NUMBER SIZE HAVE     halted NS NUMBER HAVE     came NS NUMBER HAVE WHY     gone NS NUMBER WHY      of large things
 *     state NS UP QUEUED REFUSED WHY          answer to "state"; refused, by the link and of strangers, and the last reason
 *
 * LATE_NS: how much longer than it asked for it has slept, or been busy, since "mark". Orders: "talk", "rest", "state", "mark".
 * It ends when its input does.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/random.h"
#include "tests/chaos/driven.h"
#include "tests/chaos/ledger.h"
#include "tests/chaos/net.h"
#include "tests/session_ignored.h"
#include "transport/keep.h"
#include "transport/keys.h"
#include "transport/sessions.h"

enum {
    SMALL_BYTES = 128,
    LARGE_BYTES = 8000,
    LARGE_PERMILLE = 10,
    BURST = 64,
    POLL_MAX = 64,
    WAIT_MAX_MS = 100,
    FRAME_LIMIT = 64 << 10,
    QUEUE_FRAMES = 64,
    TRANSFER_MAX = 1 << 20,
    TRANSFER_MOST = 64 << 20
};

static stoa_link *link_to;
static stoa_sessions *sessions;
static ledger *done;
static stoa_random chance;
static bool listens, talks, sends_transfers, tells;
static uint64_t late_ns, pace_ns, burst_ns; /* burst: when the next one is due */
static struct {
    stoa_keep *keep;
    uint64_t seed, most, halts;
    uint64_t *gone; /* in a file: so many went whole, in all lives */
    bool under_way;
    uint8_t *out, *expected; /* most bytes */
    uint64_t from[STOA_TRANSFERS]; /* what was there of the one of that slot, id modulo so many, when it was offered */
} large;

static uint64_t now_ns(void)
{
    return stoa_clock_real.now_ns(&stoa_clock_real);
}

__attribute__((format(printf, 1, 0))) static void say_these(const char *format, va_list values)
{
    char line[512];
    int size = vsnprintf(line, sizeof line, format, values);
    if (write(STDOUT_FILENO, line, (size_t)size) != size) { exit(1); }
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    say_these(format, values);
    va_end(values);
}

/* Of large things. */
__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    if (tells) { say_these(format, values); }
    va_end(values);
}

static void check(bool good, const char *what, uint64_t is, uint64_t wanted)
{
    if (good) { return; }
    say("wrong %s: %" PRIu64 ", not %" PRIu64 "\n", what, is, wanted);
    exit(3);
}

static _Noreturn void die(const char *what)
{
    (void)fprintf(stderr, "%s: %s\n", what, stoa_err_trail());
    exit(1);
}

static void *map_file(const char *path, int how, size_t size_bytes)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | how, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)size_bytes)) { die(path); }
    void *at = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) { die(path); }
    (void)close(fd);
    return at;
}

static ledger_book *book(void)
{
    return &done->book[done->books - 1];
}

static uint8_t pattern(uint64_t incarnation, stoa_lane lane, uint64_t number)
{
    return (uint8_t)(incarnation * 31 + number * 7 + (uint64_t)lane);
}

/* --- what the session tells */

static void on_message(void *context, stoa_session *session, const stoa_session_message *m)
{
    ledger_book *b = book();
    uint64_t number;
    (void)context, (void)session;
    check(m->size_bytes >= sizeof number, "size", m->size_bytes, sizeof number);
    memcpy(&number, m->bytes, sizeof number);
    check(m->source == b->peer_incarnation, "sender", m->source, b->peer_incarnation);
    check(number == b->lanes[m->lane].came + 1, "number", number, b->lanes[m->lane].came + 1);
    check(sends_transfers || m->seq == number, "number of the session", m->seq, number); /* transfers take some, too */
    for (uint32_t i = sizeof number; i < m->size_bytes; i++) {
        uint8_t is = ((const uint8_t *)m->bytes)[i];
        check(is == pattern(m->source, m->lane, number), "byte", is, pattern(m->source, m->lane, number));
    }
    b->lanes[m->lane].came = number;
}

static void on_up(void *context, stoa_session *session, bool resumed)
{
    stoa_session_view view;
    (void)context;
    stoa_session_look(session, &view);
    uint64_t known = book()->peer_incarnation;
    check(known == 0 || known == view.peer_incarnation, "up without a reset, with", view.peer_incarnation, known);
    book()->peer_incarnation = view.peer_incarnation;
    say("up %" PRIu64 " %" PRIu64 " %d %" PRIu64 "\n", now_ns(), view.peer_incarnation, resumed, view.silence_ns);
}

static void on_down(void *context, stoa_session *session, stoa_err why)
{
    (void)context, (void)session;
    say("down %" PRIu64 " %s %" PRIu64 "\n", now_ns(), stoa_err_name(why), late_ns);
}

static void on_reset(void *context, stoa_session *session, const stoa_session_reset *r)
{
    (void)context, (void)session;
    uint64_t known = book()->peer_incarnation;
    check(known == 0 || known == r->old_incarnation, "reset of", r->old_incarnation, known);
    check(done->books < LEDGER_BOOKS, "books", done->books, LEDGER_BOOKS);
    book()->peer_incarnation = r->old_incarnation;
    done->book[done->books].peer_incarnation = r->new_incarnation;
    done->books++;
    char lanes[256];
    int at = 0;
    for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
        at += snprintf(lanes + at, sizeof lanes - (size_t)at, " %" PRIu64 " %" PRIu64 " %" PRIu64, r->lanes[i].acked,
                       r->lanes[i].lost, r->lanes[i].received);
    }
    say("reset %" PRIu64 " %" PRIu64 " %" PRIu64 "%s\n", now_ns(), r->old_incarnation, r->new_incarnation, lanes);
}

static void on_refused(void *context, stoa_session *session, stoa_err why, bool here)
{
    (void)context, (void)session;
    say("refused %" PRIu64 " %s %d\n", now_ns(), stoa_err_name(why), here);
}

static void on_expired(void *context, stoa_session *session, const stoa_session_message *message, bool here)
{
    (void)context, (void)session, (void)here;
    check(false, "expired", message->seq, 0); /* none has a deadline */
}

static const stoa_session_events events = {.message = on_message,
                                           .up = on_up,
                                           .down = on_down,
                                           .reset = on_reset,
                                           .refused = on_refused,
                                           .expired = on_expired,
                                           .room = ignore_room};

/* --- large things: number n of a side is the same in all lives of both, so that who gets it can tell whether it did, and who was
 * killed can offer it again */

static uint64_t large_size(bool listener, uint64_t number)
{
    uint64_t least = large.most / 2;
    return least + stoa_mix64(large.seed + 2 * number + listener) % (large.most - least) + 1;
}

static void large_fill(uint8_t *bytes, bool listener, uint64_t number)
{
    uint64_t size_bytes = large_size(listener, number), word = stoa_mix64(~large.seed - 2 * number - listener);
    for (uint64_t at = 0; at < size_bytes; at += sizeof word, word += UINT64_C(0x9e3779b97f4a7c15)) {
        memcpy(bytes + at, &word, size_bytes - at < sizeof word ? size_bytes - at : sizeof word);
    }
}

static stoa_err on_offered(void *context, stoa_session *session, const stoa_transfer *offer, void **into_out,
                           uint64_t *have_out)
{
    (void)context, (void)session;
    check(offer->size_bytes == large_size(!listens, offer->target), "size of a transfer", offer->size_bytes,
          large_size(!listens, offer->target));
    stoa_err err = stoa_keep_offered(large.keep, offer, into_out, have_out);
    check(err == STOA_OK, "keep", (uint64_t)-err, 0);
    large.from[offer->id % STOA_TRANSFERS] = *have_out;
    tell("offered %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", now_ns(), offer->target, offer->size_bytes, *have_out);
    return STOA_OK;
}

static void on_grew(void *context, stoa_session *session, const stoa_transfer *offer, uint64_t have)
{
    (void)context, (void)session;
    stoa_err err = stoa_keep_grew(large.keep, offer, have);
    check(err == STOA_OK, "keep", (uint64_t)-err, 0);
    if (large.halts == 0 || have < large.halts) { return; }
    large.halts = 0;
    tell("halted %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", now_ns(), offer->target, have);
    (void)raise(SIGSTOP);
}

static void on_came(void *context, stoa_session *session, const stoa_transfer *offer, uint64_t have, stoa_err why)
{
    (void)context, (void)session;
    check(why == STOA_OK || why == STOA_E_CLOSED, "transfer came", (uint64_t)-why, 0);
    if (!why) {
        large_fill(large.expected, !listens, offer->target);
        check(have == offer->size_bytes, "transfer", have, offer->size_bytes);
        check(memcmp(stoa_keep_bytes(large.keep, offer), large.expected, have) == 0, "bytes of transfer", offer->target, have);
        done->transfers_came++;
        done->transfers_resumed += large.from[offer->id % STOA_TRANSFERS] > 0;
    }
    stoa_keep_came(large.keep, offer, why);
    tell("came %" PRIu64 " %" PRIu64 " %" PRIu64 " %s\n", now_ns(), offer->target, have, stoa_err_name(why));
}

static void on_gone(void *context, stoa_session *session, uint64_t id, stoa_err why)
{
    (void)context, (void)session, (void)id;
    check(why == STOA_OK || why == STOA_E_CLOSED, "transfer gone", (uint64_t)-why, 0);
    tell("gone %" PRIu64 " %" PRIu64 " %s\n", now_ns(), *large.gone, stoa_err_name(why));
    done->transfers_gone += why == STOA_OK;
    *large.gone += why == STOA_OK;
    large.under_way = false;
}

static const stoa_transfer_events transfer_events = {
    .offered = on_offered, .grew = on_grew, .came = on_came, .gone = on_gone};

static void large_begin(stoa_session *session)
{
    uint64_t id;
    if (large.under_way) { return; }
    large_fill(large.out, listens, *large.gone);
    large.under_way =
        stoa_session_transfer(session, *large.gone, large.out, large_size(listens, *large.gone), &id) == STOA_OK;
}

static void large_open(char **argv)
{
    const char *folder = value_of(argv, "keep");
    char path[512];
    large.seed = number_of(argv, "transfers");
    large.halts = number_of(argv, "halts");
    large.most = value_of(argv, "most") ? number_of(argv, "most") : TRANSFER_MAX;
    if (large.seed == 0) { return; }
    if (!folder || large.most < 2 || large.most > TRANSFER_MOST) { die("transfers"); }
    const stoa_keep_options options = {.folder = folder, .size_max_bytes = large.most};
    large.out = malloc(large.most);
    large.expected = malloc(large.most);
    if (stoa_keep_open(&options, &large.keep) || !large.out || !large.expected) { die("keep"); }
    (void)snprintf(path, sizeof path, "%s/gone", folder);
    large.gone = map_file(path, O_CREAT, sizeof *large.gone);
    sends_transfers = true;
}

/* --- talking */

static bool message_send(stoa_session *session)
{
    static uint8_t bytes[LARGE_BYTES];
    stoa_lane lane = (stoa_lane)stoa_random_below(&chance, STOA_LANE_COUNT);
    uint64_t *sending = &book()->lanes[lane].sending, number = book()->lanes[lane].sent + 1, seq;
    uint64_t most = stoa_random_chance(&chance, LARGE_PERMILLE) ? LARGE_BYTES : SMALL_BYTES;
    uint32_t size_bytes = (uint32_t)(sizeof number + stoa_random_below(&chance, most - sizeof number));
    memset(bytes, pattern(done->incarnation, lane, number), size_bytes);
    memcpy(bytes, &number, sizeof number);
    *sending = number;
    if (stoa_session_send(session, lane, 1, done->incarnation, 0, 0, bytes, size_bytes, now_ns(), &seq)) {
        *sending = number - 1;
        return false;
    }
    check(sends_transfers || seq == number, "number given", seq, number);
    book()->lanes[lane].sent = number;
    return true;
}

static void talk(uint64_t is_ns)
{
    stoa_session *session = stoa_sessions_at(sessions, 0);
    if (!talks || !session || is_ns < burst_ns) { return; }
    burst_ns = is_ns + pace_ns;
    for (unsigned i = 0; i < BURST && message_send(session); i++) {}
    if (sends_transfers) { large_begin(session); }
}

static void note_acked(void)
{
    stoa_session *session = stoa_sessions_at(sessions, 0);
    stoa_session_view view;
    if (!session || sends_transfers) { return; }
    stoa_session_look(session, &view);
    for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
        book()->lanes[i].acked = view.lanes[i].acked;
    }
}

/* --- orders */

static void state_say(void)
{
    stoa_session *session = stoa_sessions_at(sessions, 0);
    stoa_sessions_counts counts;
    stoa_session_view view = {0};
    uint64_t queued = 0;
    stoa_sessions_counted(sessions, &counts);
    if (session) { stoa_session_look(session, &view); }
    for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
        queued += view.lanes[i].queued;
    }
    stoa_err why = counts.strangers_refused ? counts.stranger_why : counts.link_why;
    say("state %" PRIu64 " %d %" PRIu64 " %" PRIu64 " %s\n", now_ns(), view.state == STOA_SESSION_UP, queued,
        counts.strangers_refused + counts.link_refused, stoa_err_name(why));
}

static void obey(const char *line)
{
    if (strcmp(line, "state") == 0) { state_say(); }
    if (strcmp(line, "mark") == 0) {
        late_ns = 0;
        say("marked %" PRIu64 "\n", now_ns());
    }
    if (strcmp(line, "talk") == 0 || strcmp(line, "rest") == 0) { talks = line[0] == 't'; }
}

static void run(void)
{
    uint64_t began_ns = now_ns(), asked_ns = 0; /* to sleep */
    for (;;) {
        uint64_t is_ns = now_ns();
        if (is_ns - began_ns > asked_ns) { late_ns += is_ns - began_ns - asked_ns; }
        began_ns = is_ns;
        uint32_t told = stoa_sessions_poll(sessions, is_ns, POLL_MAX);
        talk(is_ns);
        is_ns = now_ns();
        uint64_t next_ns = stoa_sessions_step(sessions, is_ns);
        note_acked();
        asked_ns = next_ns > is_ns ? next_ns - is_ns : 0;
        if (asked_ns > STOA_MS(WAIT_MAX_MS)) { asked_ns = STOA_MS(WAIT_MAX_MS); }
        if (talks && pace_ns > 0 && asked_ns > pace_ns) { asked_ns = pace_ns; }
        if (told == POLL_MAX) { asked_ns = 0; }
        struct pollfd fds[] = {{link_to->ops->fd(link_to), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
        const struct timespec wait = {0, (long)asked_ns};
        (void)ppoll(fds, 2, &wait, NULL);
        if (fds[1].revents) { orders_read(obey); }
    }
}

/* --- beginning */

static void ledger_open(const char *path, uint64_t incarnation)
{
    done = map_file(path, O_CREAT | O_EXCL, sizeof *done);
    done->incarnation = incarnation;
    done->books = 1;
}

static void open_all(const char *address, char **argv)
{
    stoa_link_allowed allowed = {{0}, {0}};
    const char *theirs = value_of(argv, "theirs"), *peer = value_of(argv, "peer");
    stoa_link_options options = {.listen = listens,
                                 .secret_key = value_of(argv, "secret"),
                                 .fenced = true, /* two namespaces, and nobody else in them */
                                 .frame_limit = FRAME_LIMIT,
                                 .queue_frames = QUEUE_FRAMES};
    if (listens && theirs) {
        (void)snprintf(allowed.name, sizeof allowed.name, "%s", peer);
        (void)snprintf(allowed.public_key, sizeof allowed.public_key, "%s", theirs);
        options.allowed = &allowed;
        options.allowed_count = 1;
    }
    if (!listens) {
        options.public_key = value_of(argv, "public");
        options.server_key = theirs;
    }
    if (stoa_link_open(address, &options, &link_to)) { die(address); }
    stoa_sessions_options all = {.link = link_to, .listens = listens};
    all.session = (stoa_session_options){.name = value_of(argv, "name"),
                                         .peer = listens ? NULL : peer,
                                         .incarnation = done->incarnation,
                                         .trusts_link = number_of(argv, "trusts") > 0,
                                         .transfers = &transfer_events,
                                         .events = &events};
    if (stoa_sessions_new(&all, &sessions)) { die("sessions"); }
    say("ready %" PRIu64 " %s\n", now_ns(), link_to->ops->address(link_to));
}

static int keys_say(void)
{
    stoa_key_pair pair;
    if (stoa_key_new(&pair)) { die("keys"); }
    say("%s %s\n", pair.public_key, pair.secret_key);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "keys") == 0) { return keys_say(); }
    if (argc < 4 || !value_of(argv, "ledger")) { return 2; }
    if (value_of(argv, "net")) { net_enter(value_of(argv, "net")); }
    stoa_random_seed(&chance, number_of(argv, "seed"));
    tells = number_of(argv, "tells") > 0;
    listens = strcmp(argv[1], "listen") == 0;
    pace_ns = number_of(argv, "pace_us") * 1000;
    ledger_open(value_of(argv, "ledger"), number_of(argv, "incarnation"));
    large_open(argv);
    open_all(argv[2], argv);
    run();
}
