/* isolate/isolate.c - the proxy: an actor that gives its child turns and looks at what comes back.
 *
 *     pass      a message goes into the child's ring, and takes a place in the window. Before it go the peers whose names others have, or
 *               nobody, since the child was told: it may find them in this turn
 *     look      frames of the child are taken out and done (obey.c); as long as turns are under way it looks again, then sleeps
 *     ready     the child woke us, said that it is there, or is gone
 *     beat      a quarter of turn_ns; where no turn ended in five of them the child hangs. Beats are counted, not times: a process
 *               that was stopped as a whole does not take its child for one that hangs
 *
 *     ended     the child is gone, and its process was not quite over: why it ended is asked again
 *
 * When the child is to end, the actor exits with the reason, and in the same turn all who asked are answered FAILED, those with them who
 * asked while the reason was not known: who hears FAILED of an end finds that its supervisor has heard of it, and why. stop() then leaves
 * the process to the warden (warden.h), which also started it: a core waits for neither. So a restart begins with a new one.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/isolate/isolate.h"

#include <inttypes.h>
#include <unistd.h>

#include "base/wire.h"
#include "runtime/isolate/proxy.h"
#include "runtime/stand.h"
#include "runtime/turning.h"

STOA_TABLE_DEFINE(stoa_isolate_self)

#define GONE "isolate: gone"
enum { FRAMES_A_LOOK = 256, QUIET_LOOKS = 64, BEATS_A_TURN = 4, END_LOOKS = 2000, END_LOOK_NS = 1000000 };

static _Thread_local _Alignas(16) uint8_t frame[STOA_ISOLATE_FRAME_MAX];

static void release(stoa_isolated *self)
{
    if (!self->ward) { return; }
    stoa_isolate_pipe_close(&self->pipe);
    stoa_ward_release(self->ward);
    self->ward = NULL;
}

void stoa_isolate_stop(void *state)
{
    release(state);
}

/* --- towards the child */

stoa_err stoa_isolate_tell(stoa_isolated *self, stoa_isolate_head *head, const char *topic, const stoa_row *row, const void *payload)
{
    if (self->sent - self->done == STOA_ISOLATE_SLOTS) { return STOA_E_FULL; }
    head->turn = self->sent;
    uint32_t bytes = stoa_isolate_frame_write(frame, head, topic, row, payload);
    if (!bytes) { return STOA_E_TOO_LARGE; }
    stoa_err err = stoa_isolate_pipe_write(&self->pipe, frame, bytes);
    if (err == STOA_E_MALFORMED) {
        self->broken = "isolate: where it says it has read cannot be";
        return STOA_E_FAILED;
    }
    if (err) { return err; }
    uint64_t slot = self->sent++ % STOA_ISOLATE_SLOTS;
    self->turns[slot].row = NULL;
    self->turns[slot].asker = (stoa_asker){0};
    return STOA_OK;
}

static uint64_t names_changes(const stoa_turn *turn)
{
    return stoa_names_changes(((const stoa_turning *)turn)->core->place.node);
}

/* Who was a peer may be sent to as who has sent: the child does not know yet, or keeps its reference. */
static void tell_peers(stoa_turn *turn, stoa_isolated *self)
{
    uint64_t changes = names_changes(turn);
    if (!self->peer_count || changes == self->names_seen) { return; }
    for (uint32_t i = 0; i < self->peer_count; i++) {
        uint64_t ref = stoa_turn_find(turn, self->options.peers[i]).at;
        stoa_isolate_head head = {.word = STOA_ISOLATE_PEER, .row = i, .ref = ref, .ns = turn->now_ns, .wall_ns = turn->wall_ns};
        if (ref == self->peers[i]) { continue; }
        if (stoa_isolate_tell(self, &head, NULL, NULL, NULL)) { return; } /* the next turn has room for it */
        if (self->peers[i]) { self->known_count = stoa_isolate_know(self->known, self->known_count, STOA_ISOLATE_KNOWN_HERE, self->peers[i]); }
        self->peers[i] = ref;
    }
    self->names_seen = changes;
}

/* Have a turn that looks. Where there is no room for it, the next message has one. */
static void look_soon(stoa_turn *turn, stoa_isolated *self)
{
    stoa_isolate_self_look nothing = {0};
    if (self->looking) { return; }
    self->looking = !stoa_turn_send(turn, turn->self, &stoa_isolate_self_rows[stoa_isolate_self_ROW_look], &nothing);
    self->quiet = 0;
}

/* A down as the child knows its monitor; false: it has taken that back. */
static bool translate(stoa_isolated *self, stoa_system_down *down)
{
    for (uint32_t i = 0; i < STOA_ISOLATE_MONITORS; i++) {
        if (self->monitors[i].id != down->token) { continue; }
        self->monitors[i].id = 0;
        down->token = self->monitors[i].token;
        return true;
    }
    return false;
}

/* It is about to end, of what is not known yet: who asks hears with the others. */
static stoa_err ask_amid_end(stoa_turn *turn, stoa_isolated *self, const stoa_row *row)
{
    if (!self->over) { look_soon(turn, self); }
    if (!row->reply) { return STOA_E_FAILED; }
    if (self->sent - self->done == STOA_ISOLATE_SLOTS) { return STOA_E_FULL; }
    stoa_turn_keep(turn, &self->turns[self->sent++ % STOA_ISOLATE_SLOTS].asker);
    return STOA_OK;
}

stoa_err stoa_isolate_pass(stoa_turn *turn, void *state, const void *in, void *out)
{
    stoa_isolated *self = state;
    const stoa_turning *turning = (const stoa_turning *)turn;
    const stoa_row *row = turning->msg->row;
    stoa_system_down down;
    bool answer = row->cls == STOA_ROW_REPLY, told = row >= stoa_system_rows && row < stoa_system_rows + stoa_system_ROW_END_;
    (void)out;
    if (self->broken) { return ask_amid_end(turn, self, row); }
    if (!answer && !told && self->sent - self->done >= STOA_ISOLATE_WINDOW) { return STOA_E_FULL; }
    if (row == &stoa_system_rows[stoa_system_ROW_down]) {
        down = *(const stoa_system_down *)in;
        if (!translate(self, &down)) { return STOA_OK; }
        in = &down;
    }
    tell_peers(turn, self);
    stoa_isolate_head head = {.word = STOA_ISOLATE_MESSAGE,
                              .ref = turn->from.at,
                              .token = turn->token,
                              .ns = turn->now_ns,
                              .wall_ns = turn->wall_ns,
                              .command = turn->command,
                              .error = (int32_t)turn->error};
    stoa_err err = stoa_isolate_tell(self, &head, turning->topic, row, in);
    if (self->broken) { return ask_amid_end(turn, self, row); }
    if (err) { return err; }
    uint64_t slot = (self->sent - 1) % STOA_ISOLATE_SLOTS;
    self->turns[slot].row = row;
    if (row->reply) { stoa_turn_keep(turn, &self->turns[slot].asker); }
    if (answer && self->asks) { self->asks--; }
    if (turn->from.at) {
        self->known_count = stoa_isolate_know(self->known, self->known_count, STOA_ISOLATE_KNOWN_HERE, turn->from.at);
    }
    stoa_isolate_pipe_wake(&self->pipe);
    look_soon(turn, self);
    return STOA_OK;
}

stoa_err stoa_isolate_on_tick(stoa_turn *turn, void *state, const void *in, void *out)
{
    stoa_isolated *self = state;
    stoa_isolate_head head = {.word = STOA_ISOLATE_TICK, .ns = turn->now_ns, .wall_ns = turn->wall_ns};
    (void)in, (void)out;
    self->tick = (stoa_timer){0};
    if (self->broken) { return STOA_OK; }
    tell_peers(turn, self);
    stoa_err err = stoa_isolate_tell(self, &head, NULL, NULL, NULL);
    if (err) { /* it is slow; its timers wait */
        return stoa_turn_after(turn, self->beat_ns, &stoa_isolate_self_rows[stoa_isolate_self_ROW_tick], in, &self->tick);
    }
    stoa_isolate_pipe_wake(&self->pipe);
    look_soon(turn, self);
    return STOA_OK;
}

/* --- its end */

/* The actor ends with this turn. */
static void exit_for(stoa_turn *turn, stoa_isolated *self, const char *why)
{
    for (; self->done < self->sent; self->done++) {
        (void)stoa_turn_answer_kept(turn, &self->turns[self->done % STOA_ISOLATE_SLOTS].asker, NULL, NULL, STOA_E_FAILED);
    }
    for (uint32_t i = 0; i < STOA_ISOLATE_KEEPS; i++) {
        if (self->kept[i].token) { (void)stoa_turn_answer_kept(turn, &self->kept[i].asker, NULL, NULL, STOA_E_FAILED); }
    }
    self->broken = *why ? why : "ended";
    (void)stoa_turn_exit(turn, *why ? why : NULL);
}

/* For what its process ended of. That is over within microseconds of the news; a core does not wait for it. */
static void end_as_process(stoa_turn *turn, stoa_isolated *self)
{
    const stoa_row *row = &stoa_isolate_self_rows[stoa_isolate_self_ROW_ended];
    const char *why = "isolate: its process does not end";
    stoa_isolate_self_ended nothing = {0};
    if (!stoa_ward_ended(self->ward, &why) && self->end_looks++ < END_LOOKS &&
        !stoa_turn_after(turn, END_LOOK_NS, row, &nothing, NULL)) {
        return;
    }
    exit_for(turn, self, why);
}

stoa_err stoa_isolate_on_ended(stoa_turn *turn, void *state, const void *in, void *out)
{
    (void)in, (void)out;
    end_as_process(turn, state);
    return STOA_OK;
}

static void end(stoa_turn *turn, stoa_isolated *self, const char *why)
{
    if (self->over) { return; }
    self->over = true;
    if (strcmp(why, GONE) != 0) {
        exit_for(turn, self, why);
        return;
    }
    self->broken = why;
    end_as_process(turn, self);
}

/* --- from the child */

static const char *drain(stoa_turn *turn, stoa_isolated *self, uint32_t *found_out)
{
    const char *why = self->broken;
    uint32_t size_bytes;
    *found_out = 0;
    while (!why && *found_out < FRAMES_A_LOOK) {
        if (stoa_isolate_pipe_read(&self->pipe, frame, &size_bytes)) { return "isolate: its ring holds no message"; }
        if (!size_bytes) { break; }
        ++*found_out;
        static _Thread_local _Alignas(16) uint8_t copy[STOA_ISOLATE_FRAME_MAX]; /* frame is for what is told meanwhile */
        memcpy(copy, frame, size_bytes);
        why = stoa_isolate_obey(turn, self, copy, size_bytes);
    }
    stoa_isolate_pipe_wake(&self->pipe);
    return why;
}

static void watch(stoa_turn *turn, stoa_isolated *self)
{
    if (!self->watching) { self->watching = !stoa_turn_watch(turn, self->pipe.socket, STOA_READABLE, 0); }
}

static void look(stoa_turn *turn, stoa_isolated *self)
{
    uint32_t found;
    const char *why = drain(turn, self, &found);
    if (why) {
        end(turn, self, why);
        return;
    }
    self->quiet = found ? 0 : self->quiet + 1;
    bool waits = self->done != self->sent;
    if (waits && (self->quiet < QUIET_LOOKS || !stoa_isolate_pipe_sleep(&self->pipe))) {
        uint32_t quiet = self->quiet;
        look_soon(turn, self);
        self->quiet = quiet;
    }
    watch(turn, self);
}

stoa_err stoa_isolate_on_look(stoa_turn *turn, void *state, const void *in, void *out)
{
    stoa_isolated *self = state;
    (void)in, (void)out;
    self->looking = false;
    if (!self->over) { look(turn, self); }
    return STOA_OK;
}

/* What the socket says; why the child is to end, or NULL. */
static const char *hear(stoa_isolated *self)
{
    stoa_shm_note note;
    for (int said = 0; said < STOA_ISOLATE_SAID_MAX; said++) {
        int memory = -1;
        stoa_shm_heard heard = stoa_shm_socket_hear(self->pipe.socket, &note, &memory);
        if (heard == STOA_SHM_NOTHING) { return NULL; }
        if (heard == STOA_SHM_GONE) { return GONE; }
        if (heard == STOA_SHM_NOISE) { return "isolate: noise on its socket"; }
        if (heard == STOA_SHM_NOTE) {
            stoa_err err = stoa_isolate_pipe_meet(&self->pipe, &note, STOA_SHM_WELCOME, memory);
            if (memory >= 0) { (void)close(memory); }
            if (err) { return "isolate: its memory is not what it should be"; }
        }
    }
    return NULL;
}

stoa_err stoa_isolate_on_ready(stoa_turn *turn, void *state, const void *in, void *out)
{
    stoa_isolated *self = state;
    uint32_t found;
    (void)in, (void)out;
    self->watching = false;
    if (self->over) { return STOA_OK; }
    stoa_isolate_pipe_awake(&self->pipe);
    const char *why = hear(self);
    if (why) { /* what it wrote before counts */
        const char *other = drain(turn, self, &found);
        end(turn, self, other ? other : why);
        return STOA_OK;
    }
    look(turn, self);
    return STOA_OK;
}

stoa_err stoa_isolate_on_beat(stoa_turn *turn, void *state, const void *in, void *out)
{
    stoa_isolated *self = state;
    uint32_t found;
    (void)in, (void)out;
    if (self->over) { return STOA_OK; }
    const char *why = drain(turn, self, &found);
    self->still = self->done != self->sent && self->done == self->seen_done ? self->still + 1 : 0;
    self->seen_done = self->done;
    uint64_t start_ns = self->options.start_ns ? self->options.start_ns : STOA_S(10);
    uint64_t most = self->done ? BEATS_A_TURN : start_ns / self->beat_ns;
    if (!why && self->still > most) { why = "isolate: a turn took too long"; }
    if (why) {
        end(turn, self, why);
        return STOA_OK;
    }
    if (found) { look_soon(turn, self); }
    watch(turn, self);
    return STOA_OK;
}

/* --- its beginning */

static stoa_err copy_grants(char to[STOA_ISOLATE_GRANTS][64], const char *const *from, uint32_t *count_out)
{
    for (uint32_t i = 0; from && from[i]; i++) {
        if (i == STOA_ISOLATE_GRANTS || strlen(from[i]) > STOA_NAME_MAX) { return STOA_FAIL(STOA_E_INVALID, "an isolate's topics"); }
        strncpy(to[i], from[i], STOA_NAME_MAX);
        *count_out = i + 1;
    }
    return STOA_OK;
}

static stoa_err find_peers(stoa_turn *turn, stoa_isolated *self, stoa_isolate_given *given)
{
    self->names_seen = names_changes(turn);
    for (uint32_t i = 0; self->options.peers && self->options.peers[i]; i++) {
        if (i == STOA_ISOLATE_PEERS || strlen(self->options.peers[i]) > STOA_NAME_MAX) { return STOA_FAIL(STOA_E_INVALID, "an isolate's peers"); }
        strncpy(given->peers[i].name, self->options.peers[i], sizeof given->peers[i].name - 1);
        self->peers[i] = given->peers[i].ref = stoa_turn_find(turn, self->options.peers[i]).at;
        given->peer_count = self->peer_count = i + 1;
    }
    return STOA_OK;
}

static stoa_err tell_start(stoa_turn *turn, stoa_isolated *self)
{
    uint8_t bytes[sizeof(stoa_isolate_head) + sizeof(stoa_isolate_given) + STOA_ISOLATE_ARGS_MAX];
    stoa_isolate_head head = {.word = STOA_ISOLATE_START, .ref = turn->self.at, .ns = turn->now_ns, .wall_ns = turn->wall_ns};
    stoa_isolate_given given = {.sends = self->options.sends ? self->options.sends : STOA_ISOLATE_SENDS};
    strncpy(given.key, stoa_turn_key(turn), sizeof given.key - 1);
    stoa_err err = find_peers(turn, self, &given);
    if (!err) { err = copy_grants(self->hears, self->options.hears, &self->hears_count); }
    if (!err) { err = copy_grants(self->tells, self->options.tells, &self->tells_count); }
    if (err) { return err; }
    given.hears_count = self->hears_count;
    given.tells_count = self->tells_count;
    memcpy(given.hears, self->hears, sizeof given.hears);
    memcpy(given.tells, self->tells, sizeof given.tells);
    memcpy(bytes, &head, sizeof head);
    memcpy(bytes + sizeof head, &given, sizeof given);
    if (self->options.args_bytes) { memcpy(bytes + sizeof head + sizeof given, self->options.args, self->options.args_bytes); }
    uint32_t size_bytes = (uint32_t)(sizeof head + sizeof given) + self->options.args_bytes;
    err = stoa_isolate_pipe_write(&self->pipe, bytes, size_bytes);
    self->sent += !err;
    return err;
}

static stoa_err begin(stoa_turn *turn, stoa_isolated *self)
{
    stoa_isolate_self_beat nothing = {0};
    stoa_err err = tell_start(turn, self);
    if (!err) { err = stoa_turn_watch(turn, self->pipe.socket, STOA_READABLE, 0); }
    self->watching = !err;
    if (!err) {
        err = stoa_turn_every(turn, self->beat_ns, &stoa_isolate_self_rows[stoa_isolate_self_ROW_beat], &nothing, NULL);
    }
    return err;
}

stoa_err stoa_isolate_start(stoa_turn *turn, void *state, const void *args)
{
    stoa_isolated *self = state;
    int socket = -1;
    stoa_node *node = ((const stoa_turning *)turn)->core->place.node;
    if (node->options.sim) { return STOA_FAIL(STOA_E_UNSUPPORTED, "a simulated node has no child processes"); }
    if (!args) { return STOA_FAIL(STOA_E_INVALID, "an isolate is spawned with a stoa_isolate as its args"); }
    memcpy(&self->options, args, sizeof self->options);
    bool sane = self->options.args_bytes <= STOA_ISOLATE_ARGS_MAX && self->options.sends <= STOA_ISOLATE_SENDS &&
                (self->options.args || !self->options.args_bytes);
    if (!sane) { return STOA_FAIL(STOA_E_INVALID, "an isolate's args or sends"); }
    self->beat_ns = (self->options.turn_ns ? self->options.turn_ns : STOA_S(1)) / BEATS_A_TURN;
    if (!self->beat_ns) { return STOA_FAIL(STOA_E_INVALID, "an isolate's turn_ns"); }
    stoa_err err = stoa_warden_order(node, &self->options, &self->ward, &socket);
    if (err) { return err; }
    self->pipe.socket = -1;
    err = stoa_isolate_pipe_offer(&self->pipe, socket, STOA_SHM_HELLO);
    if (err) { (void)close(socket); }
    if (!err) { err = begin(turn, self); }
    if (err) { release(self); }
    return err;
}

void stoa_isolate_inspect(const void *state, stoa_buf *out)
{
    const stoa_isolated *self = state;
    const char *status = self->broken ? self->broken : self->done ? "serves" : "starts", *comma = "";
    pid_t pid = self->ward ? stoa_ward_pid(self->ward) : 0;
    stoa_buf_puts(out, "{\"pid\":"); /* null until it is known: 0 would be the process group of whoever sends it a signal */
    if (pid) { stoa_buf_printf(out, "%d", (int)pid); } else { stoa_buf_puts(out, "null"); }
    stoa_buf_printf(out, ",\"status\":\"%s\",\"turns\":%" PRIu64 ",\"under_way\":%" PRIu64 ",\"asks\":%u,\"dropped\":{", status,
                    self->done, self->sent - self->done, self->asks);
    for (unsigned reason = 0; reason < STOA_DROP_COUNT; reason++) {
        if (!self->dropped[reason]) { continue; }
        stoa_buf_printf(out, "%s\"%s\":%" PRIu64, comma, stoa_drop_name((stoa_drop)reason), self->dropped[reason]);
        comma = ",";
    }
    stoa_buf_puts(out, "}}");
}
