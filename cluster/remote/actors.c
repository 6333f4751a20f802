/* remote/actors.c - actors of this node that others know, stands of theirs, and who has which name.
 *
 * A local gets its number when it is first spoken of: as a name that others may find, or as the sender of something. The embassy
 * watches it, and when it ends each node that knows it is told. A stand is made when its number is first seen, and gets its name
 * when that is told and nobody has it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "cluster/remote/inner.h"

enum { TEXTS_MAX = 256, ENDED_AT_ONCE = 256 };

stoa_err stoa_remote_actors_init(stoa_remote *remote)
{
    remote->locals = calloc(STOA_REMOTE_ACTORS, sizeof *remote->locals);
    remote->stands = calloc(STOA_REMOTE_ACTORS, sizeof *remote->stands);
    remote->local_used = remote->stand_used = 1;
    return remote->locals && remote->stands ? STOA_OK : STOA_FAIL(STOA_E_NOMEM, "a remote");
}

void stoa_remote_actors_deinit(stoa_remote *remote)
{
    stoa_remote_index_clear(&remote->by_ref);
    stoa_remote_index_clear(&remote->by_stand);
    free(remote->locals);
    free(remote->stands);
}

/* --- actors of this node */

stoa_remote_local *stoa_remote_local_at(stoa_remote *remote, stoa_ref ref)
{
    uint32_t at = stoa_remote_index_get(&remote->by_ref, ref.at);
    return at ? &remote->locals[at] : NULL;
}

static stoa_remote_local *local_new(stoa_remote *remote, stoa_ref ref)
{
    uint32_t at = remote->local_free;
    if (!at && remote->local_used == STOA_REMOTE_ACTORS) { return NULL; }
    stoa_embassy_watch watch = {.ref = ref.at};
    if (stoa_port_send(remote->port, remote->embassy, &stoa_embassy_rows[stoa_embassy_ROW_watch], &watch, 0)) { return NULL; }
    if (stoa_remote_index_put(&remote->by_ref, ref.at, at ? at : remote->local_used)) { return NULL; }
    if (at) {
        remote->local_free = remote->locals[at].next;
    } else {
        at = remote->local_used++;
    }
    stoa_remote_local *local = &remote->locals[at];
    uint64_t before = local->number >> STOA_REMOTE_PLACE_BITS;
    *local = (stoa_remote_local){.ref = ref, .number = (before + 1) << STOA_REMOTE_PLACE_BITS | at};
    return local;
}

static bool told_room(stoa_remote_peer *peer, uint32_t place)
{
    if (place < peer->told_size) { return true; }
    uint32_t size = peer->told_size ? peer->told_size : 64;
    while (size <= place) { size *= 2; }
    uint8_t *more = realloc(peer->told, size);
    if (!more) { return false; }
    memset(more + peer->told_size, 0, size - peer->told_size);
    peer->told = more;
    peer->told_size = size;
    return true;
}

static uint8_t told(const stoa_remote_peer *peer, uint32_t place)
{
    return place < peer->told_size ? peer->told[place] : STOA_REMOTE_TOLD_NOT;
}

uint64_t stoa_remote_number(stoa_remote *remote, stoa_remote_peer *peer, stoa_ref ref)
{
    if (!ref.at || stoa_ref_is_port(remote->node, ref)) { return 0; }
    stoa_remote_local *local = stoa_remote_local_at(remote, ref);
    if (!local) { local = local_new(remote, ref); }
    if (!local) { return 0; }
    uint32_t place = stoa_remote_place(local->number);
    if (!told_room(peer, place)) { return 0; }
    if (!peer->told[place]) {
        peer->told[place] = STOA_REMOTE_TOLD_OF;
        peer->told_count++;
        if (local->name[0] && place < peer->tell_from) { peer->tell_from = place; }
    }
    return local->number;
}

stoa_remote_local *stoa_remote_local_of(stoa_remote *remote, const stoa_remote_peer *peer, uint64_t number)
{
    uint32_t place = stoa_remote_place(number);
    if (!place || place >= remote->local_used || !told(peer, place)) { return NULL; }
    stoa_remote_local *local = &remote->locals[place];
    return local->ref.at && local->number == number ? local : NULL;
}

static void tell_gone(stoa_remote *remote, stoa_remote_peer *peer, uint64_t number, const stoa_embassy_ended *ended)
{
    uint8_t bytes[2 + sizeof ended->text.at] = {ended->why, ended->returns};
    uint32_t place = stoa_remote_place(number), length = ended->text.len;
    if (!told(peer, place)) { return; }
    peer->told[place] = STOA_REMOTE_TOLD_NOT;
    peer->told_count--;
    memcpy(bytes + 2, ended->text.at, length);
    (void)stoa_remote_send(remote, peer, STOA_LANE_NORMAL, STOA_REMOTE_GONE, number, 0, 0, bytes, 2 + length, false);
}

void stoa_remote_local_ended(stoa_remote *remote, const stoa_embassy_ended *ended)
{
    stoa_remote_local *local = stoa_remote_local_at(remote, (stoa_ref){ended->ref});
    if (!local) { return; }
    for (uint32_t i = 0; i < remote->peer_count; i++) { tell_gone(remote, &remote->peers[i], local->number, ended); }
    stoa_remote_index_remove(&remote->by_ref, local->ref.at);
    local->ref = STOA_REF_NONE;
    local->name[0] = '\0';
    local->next = remote->local_free;
    remote->local_free = stoa_remote_place(local->number);
    remote->names_again = true; /* who comes back under its name is another one to them */
}

/* --- their names */

typedef struct look {
    stoa_remote *remote;
    struct {
        char name[STOA_NAME_MAX + 1];
        stoa_ref ref;
    } *found;
    uint32_t count, room;
} look;

static bool serves(const stoa_remote *remote, const char *name)
{
    const char *slash = strchr(name, '/');
    size_t length = slash ? (size_t)(slash - name) : 0;
    for (const stoa_kind **kind = remote->kinds; length && *kind; kind++) {
        if (strncmp((*kind)->name, name, length) == 0 && (*kind)->name[length] == '\0') { return true; }
    }
    return false;
}

static void find_name(void *context, const char *name, stoa_ref ref)
{
    look *l = context;
    if (!serves(l->remote, name) || l->count == STOA_REMOTE_ACTORS) { return; }
    if (l->count == l->room) {
        uint32_t room = l->room ? l->room * 2 : 256;
        void *more = realloc(l->found, room * sizeof *l->found);
        if (!more) { return; }
        l->found = more;
        l->room = room;
    }
    memcpy(l->found[l->count].name, name, strlen(name) + 1);
    l->found[l->count++].ref = ref;
}

static void name_found(stoa_remote *remote, const char *name, stoa_ref ref)
{
    stoa_remote_local *local = stoa_remote_local_at(remote, ref);
    if (stoa_remote_index_get(&remote->by_stand, ref.at)) { return; } /* no name goes on to a third node */
    if (!local) { local = local_new(remote, ref); }
    if (!local) {
        remote->names_again = true; /* no room now */
        return;
    }
    local->seen = remote->names_look;
    if (strcmp(local->name, name) == 0) { return; }
    memcpy(local->name, name, strlen(name) + 1);
    uint32_t place = stoa_remote_place(local->number);
    for (uint32_t i = 0; i < remote->peer_count; i++) {
        if (place < remote->peers[i].tell_from) { remote->peers[i].tell_from = place; }
    }
}

void stoa_remote_names_look(stoa_remote *remote)
{
    uint64_t changes = stoa_names_changes(remote->node);
    if (changes == remote->names_seen && !remote->names_again) { return; }
    remote->names_seen = changes;
    remote->names_again = false;
    remote->names_look++;
    look l = {.remote = remote};
    stoa_names_each(remote->node, find_name, &l);
    for (uint32_t i = 0; i < l.count; i++) { name_found(remote, l.found[i].name, l.found[i].ref); }
    free(l.found);
}

void stoa_remote_names_tell(stoa_remote *remote, stoa_remote_peer *peer)
{
    while (peer->tell_from < remote->local_used && !peer->backlog[STOA_LANE_NORMAL].head) {
        uint32_t place = peer->tell_from++;
        stoa_remote_local *local = &remote->locals[place];
        if (!local->ref.at || !local->name[0] || told(peer, place) == STOA_REMOTE_TOLD_NAME) { continue; }
        if (!stoa_remote_number(remote, peer, local->ref)) { continue; }
        peer->told[place] = STOA_REMOTE_TOLD_NAME;
        if (peer->tell_from <= place) { peer->tell_from = place + 1; }
        (void)stoa_remote_send(remote, peer, STOA_LANE_NORMAL, STOA_REMOTE_NAME, local->number, 0, 0, local->name,
                               (uint32_t)strlen(local->name), false);
        remote->busy++;
    }
    if (peer->named || remote->names_again || peer->tell_from < remote->local_used || peer->backlog[STOA_LANE_NORMAL].head) { return; }
    peer->named = true;
    (void)stoa_remote_send(remote, peer, STOA_LANE_NORMAL, STOA_REMOTE_NAMED, 0, 0, 0, NULL, 0, false);
}

/* --- stands */

stoa_remote_stand *stoa_remote_stand_at(stoa_remote *remote, const stoa_passed *passed)
{
    uint32_t at = (uint32_t)passed->word;
    stoa_remote_stand *stand = at < remote->stand_used ? &remote->stands[at] : NULL;
    return stand && stoa_ref_equal(stand->ref, passed->stand) ? stand : NULL;
}

static uint32_t stand_new(stoa_remote *remote, stoa_remote_peer *peer, uint64_t number)
{
    uint32_t at = remote->stand_free ? remote->stand_free : remote->stand_used;
    stoa_ref ref;
    if (at == STOA_REMOTE_ACTORS || stoa_stand_new(remote->port, remote->options.core, at, &ref)) { return 0; }
    if (stoa_remote_index_put(&remote->by_stand, ref.at, at)) {
        stoa_stand_end(remote->port, &ref, 1, stoa_end_NO_MEMORY, "no memory");
        return 0;
    }
    if (remote->stand_free) {
        remote->stand_free = remote->stands[at].next;
    } else {
        remote->stand_used++;
    }
    remote->stands[at] = (stoa_remote_stand){.ref = ref, .number = number, .peer = stoa_remote_peer_index(remote, peer)};
    peer->stands++;
    return at;
}

static stoa_remote_known *known_at(stoa_remote_peer *peer, uint32_t place)
{
    if (place < peer->known_size) { return &peer->known[place]; }
    uint32_t size = peer->known_size ? peer->known_size : 64;
    while (size <= place) { size *= 2; }
    stoa_remote_known *more = realloc(peer->known, size * sizeof *more);
    if (!more) { return NULL; }
    memset(more + peer->known_size, 0, (size - peer->known_size) * sizeof *more);
    peer->known = more;
    peer->known_size = size;
    return &peer->known[place];
}

uint32_t stoa_remote_stand_of(stoa_remote *remote, stoa_remote_peer *peer, uint64_t number, bool make)
{
    uint32_t place = stoa_remote_place(number);
    if (!place || place >= STOA_REMOTE_ACTORS || peer->lost) { return 0; }
    stoa_remote_known *known = known_at(peer, place);
    if (!known) { return 0; }
    if (known->number == number) { return known->stand; }
    /* A control row may overtake the end of who had the place before: it is from nobody then. */
    if (!make || known->stand || number < known->number) { return 0; }
    uint32_t stand = stand_new(remote, peer, number);
    if (stand) { *known = (stoa_remote_known){.number = number, .stand = stand}; }
    return stand;
}

/* Who has the name among stands, but for one. */
static stoa_remote_stand *holder_of(stoa_remote *remote, const char *name)
{
    for (uint32_t i = 1; i < remote->stand_used; i++) {
        if (remote->stands[i].ref.at && remote->stands[i].found && strcmp(remote->stands[i].name, name) == 0) {
            return &remote->stands[i];
        }
    }
    return NULL;
}

static const char *node_of(const stoa_remote *remote, const stoa_remote_stand *stand)
{
    return remote->peers[stand->peer].name;
}

/* The lesser node's name wins among others; what is here wins over them. */
static void claim(stoa_remote *remote, stoa_remote_stand *stand)
{
    stoa_err err = stoa_stand_name(remote->port, stand->ref, stand->name);
    if (err == STOA_E_EXISTS) {
        stoa_remote_stand *holder = holder_of(remote, stand->name);
        const char *other = holder ? node_of(remote, holder) : remote->name;
        stoa_log(STOA_LOG_WARN, "remote_name_twice", STOA_KV("name", stand->name), STOA_KV("node", node_of(remote, stand)),
                 STOA_KV("other", other));
        if (!holder || strcmp(other, node_of(remote, stand)) < 0) { return; }
        stoa_stand_unname(remote->port, holder->ref);
        holder->found = false;
        remote->waiting_names++;
        remote->peers[holder->peer].names--;
        err = stoa_stand_name(remote->port, stand->ref, stand->name);
    }
    stand->found = !err;
    remote->waiting_names -= !err;
    remote->peers[stand->peer].names += !err;
}

void stoa_remote_stand_named(stoa_remote *remote, stoa_remote_peer *peer, uint64_t number, const char *name)
{
    uint32_t at = stoa_remote_stand_of(remote, peer, number, true);
    stoa_remote_stand *stand = &remote->stands[at];
    if (!at || !serves(remote, name) || strcmp(stand->name, name) == 0) { return; }
    if (stand->name[0]) { /* an actor has one name */
        peer->counts.malformed++;
        return;
    }
    memcpy(stand->name, name, strlen(name) + 1);
    remote->waiting_names++;
    claim(remote, stand);
}

/* Somebody else may have waited for the name. */
static void name_is_free(stoa_remote *remote, const char *name)
{
    stoa_remote_stand *heir = NULL;
    for (uint32_t i = 1; i < remote->stand_used; i++) {
        stoa_remote_stand *stand = &remote->stands[i];
        if (!stand->ref.at || strcmp(stand->name, name) != 0) { continue; }
        if (!heir || strcmp(node_of(remote, stand), node_of(remote, heir)) < 0) { heir = stand; }
    }
    if (heir && !heir->found) { claim(remote, heir); }
}

static void stand_forget(stoa_remote *remote, stoa_remote_peer *peer, uint32_t at)
{
    stoa_remote_stand *stand = &remote->stands[at];
    char name[sizeof stand->name];
    bool found = stand->found;
    memcpy(name, stand->name, sizeof name);
    stoa_remote_index_remove(&remote->by_stand, stand->ref.at);
    peer->names -= found;
    remote->waiting_names -= name[0] && !found;
    peer->stands--;
    *stand = (stoa_remote_stand){.next = remote->stand_free};
    remote->stand_free = at;
    if (found && remote->waiting_names) { name_is_free(remote, name); }
}

/* Reasons are static texts here: the first so many that ever came are kept for good. */
const char *stoa_remote_text(const char *text)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static char texts[TEXTS_MAX][STOA_NAME_MAX + 1];
    static uint32_t count;
    const char *kept = "ended elsewhere";
    (void)pthread_mutex_lock(&lock);
    uint32_t i = 0;
    while (i < count && strcmp(texts[i], text) != 0) { i++; }
    if (i == count && count < TEXTS_MAX) { memcpy(texts[count++], text, strlen(text) + 1); }
    if (i < count) { kept = texts[i]; }
    (void)pthread_mutex_unlock(&lock);
    return kept;
}

void stoa_remote_stand_gone(stoa_remote *remote, stoa_remote_peer *peer, uint64_t number, stoa_end why, const char *text)
{
    uint32_t place = stoa_remote_place(number);
    stoa_remote_known *known = place && place < STOA_REMOTE_ACTORS ? known_at(peer, place) : NULL;
    if (!known || number < known->number) { return; }
    uint32_t at = known->number == number ? known->stand : 0;
    if (known->stand && !at) { /* another one is still there: their numbers are not in order */
        peer->counts.malformed++;
        return;
    }
    *known = (stoa_remote_known){.number = number};
    if (!at) { return; }
    stoa_stand_end(remote->port, &remote->stands[at].ref, 1, why, stoa_remote_text(text));
    stand_forget(remote, peer, at);
}

void stoa_remote_stands_lost(stoa_remote *remote, stoa_remote_peer *peer)
{
    stoa_ref ended[ENDED_AT_ONCE];
    uint32_t count = 0;
    for (uint32_t place = 0; place < peer->known_size; place++) {
        const stoa_remote_stand *stand = &remote->stands[peer->known[place].stand];
        if (!peer->known[place].stand) { continue; }
        if (stand->found) { stoa_names_keep(remote->node, stand->name, peer->name); }
        ended[count++] = remote->stands[peer->known[place].stand].ref;
        if (count == ENDED_AT_ONCE) {
            stoa_stand_end(remote->port, ended, count, stoa_end_LOST, "node lost");
            count = 0;
        }
    }
    stoa_stand_end(remote->port, ended, count, stoa_end_LOST, "node lost");
    for (uint32_t place = 0; place < peer->known_size; place++) {
        stoa_remote_known *known = &peer->known[place];
        uint32_t at = known->stand;
        if (!at) { continue; } /* who had ended before stays so: a control row of its may still be on its way */
        *known = (stoa_remote_known){.number = known->number - 1}; /* who is told of again is another one here */
        stand_forget(remote, peer, at);
    }
}

void stoa_remote_stand_hold(stoa_remote *remote, stoa_remote_stand *stand, bool full, bool backed)
{
    bool was = stand->full || stand->backed, is = full || backed;
    stand->full = full;
    stand->backed = backed;
    if (backed) { remote->peers[stand->peer].held = true; }
    if (was != is) { stoa_stand_hold(remote->port, stand->ref, is); }
}

void stoa_remote_stands_release(stoa_remote *remote, stoa_remote_peer *peer)
{
    peer->held = false;
    for (uint32_t place = 0; place < peer->known_size; place++) {
        stoa_remote_stand *stand = &remote->stands[peer->known[place].stand];
        if (peer->known[place].stand && stand->backed) { stoa_remote_stand_hold(remote, stand, stand->full, false); }
    }
}
