/* remote/bonds.c - links that actors elsewhere have made to actors here: what these hear when the other end is gone.
 *
 * Who is linked from here is told by the runtime: its link is to a stand. For a link that was made there a bond is kept here, by the
 * numbers of both, from LINK until one of them has ended or takes it back (UNLINK), or the node is lost. Then the actor here hears of
 * it as of any link. What a peer says may fail EXITS actors here within WITHIN_S at most, since it must not be able to bring down
 * supervisors above them; the rest hears of it later, in order. Who loses sight of a node has its actors hear at once, and tells
 * the other one, which may not have noticed.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "cluster/remote/inner.h"

enum { EXITS = 20, WITHIN_S = 10 };

/* --- what goes to the other side */

static stoa_err send_end(stoa_remote *remote, stoa_remote_peer *peer, uint64_t source, uint64_t target, stoa_end why, const char *text)
{
    size_t length = strnlen(text, sizeof ((stoa_text62 *)0)->at);
    uint8_t bytes[2 + sizeof ((stoa_text62 *)0)->at] = {why, 0};
    memcpy(bytes + 2, text, length);
    return stoa_remote_send(remote, peer, STOA_LANE_NORMAL, STOA_REMOTE_EXIT, source, target, 0, bytes, 2U + (uint32_t)length, false);
}

static void linked(stoa_remote *remote, stoa_remote_peer *peer, const stoa_remote_stand *stand, const stoa_delivery *d)
{
    uint64_t source = stoa_remote_number(remote, peer, d->from);
    stoa_err err = source ? STOA_OK : STOA_E_FULL;
    if (!err) { err = stoa_remote_send(remote, peer, STOA_LANE_NORMAL, STOA_REMOTE_LINK, source, stand->number, 0, NULL, 0, true); }
    if (err) { stoa_port_break(remote->port, d->from, stand->ref, stoa_end_NO_MEMORY, "no room for a link to its node"); }
}

static void unlinked(stoa_remote *remote, stoa_remote_peer *peer, const stoa_remote_stand *stand, const stoa_delivery *d)
{
    const stoa_remote_local *local = stoa_remote_local_at(remote, d->from);
    if (!local) { return; } /* it is linked to nobody elsewhere */
    bool was = stoa_remote_bond_forget(peer, stand->number, local->number);
    (void)stoa_remote_send(remote, peer, STOA_LANE_NORMAL, STOA_REMOTE_UNLINK, local->number, stand->number, 0, NULL, 0, !was);
}

static void over(stoa_remote *remote, stoa_remote_peer *peer, const stoa_remote_stand *stand, const stoa_delivery *d)
{
    const stoa_stand_over *says = d->payload;
    const stoa_remote_local *local = stoa_remote_local_at(remote, d->from);
    char text[sizeof says->text.at + 1] = "";
    memcpy(text, says->text.at, says->text.len);
    if (local) { (void)send_end(remote, peer, local->number, stand->number, says->why, text); } /* else the other side knows by GONE */
}

bool stoa_remote_bond_told(stoa_remote *remote, stoa_remote_peer *peer, const stoa_remote_stand *stand, const stoa_delivery *d)
{
    static const struct {
        unsigned row;
        void (*take)(stoa_remote *, stoa_remote_peer *, const stoa_remote_stand *, const stoa_delivery *);
    } takers[] = {{stoa_stand_ROW_linked, linked}, {stoa_stand_ROW_unlinked, unlinked}, {stoa_stand_ROW_over, over}};
    for (size_t i = 0; i < sizeof takers / sizeof takers[0]; i++) {
        if (d->row != &stoa_stand_rows[takers[i].row]) { continue; }
        takers[i].take(remote, peer, stand, d);
        return true;
    }
    return false;
}

/* --- bonds */

static void take_out(stoa_remote_peer *peer, uint32_t at)
{
    peer->bond_count--;
    memmove(&peer->bonds[at], &peer->bonds[at + 1], (peer->bond_count - at) * sizeof *peer->bonds);
}

/* Of actors here that have ended: nobody tells. */
static void sweep(stoa_remote *remote, stoa_remote_peer *peer)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < peer->bond_count; i++) {
        if (stoa_remote_local_of(remote, peer, peer->bonds[i].target)) { peer->bonds[kept++] = peer->bonds[i]; }
    }
    peer->bond_count = kept;
}

static bool has_room(stoa_remote *remote, stoa_remote_peer *peer)
{
    if (peer->bond_count < peer->bond_room) { return true; }
    sweep(remote, peer);
    if (peer->bond_count < peer->bond_room) { return true; }
    uint32_t room = peer->bond_room ? peer->bond_room * 2 : 16;
    if (room > STOA_REMOTE_BONDS) { return false; }
    stoa_remote_bond *more = realloc(peer->bonds, room * sizeof *more);
    if (!more) { return false; }
    peer->bonds = more;
    peer->bond_room = room;
    return true;
}

static stoa_remote_bond *find(const stoa_remote_peer *peer, uint64_t maker, uint64_t target)
{
    for (uint32_t i = 0; i < peer->bond_count; i++) {
        stoa_remote_bond *bond = &peer->bonds[i];
        if (!bond->over && bond->maker == maker && bond->target == target) { return bond; }
    }
    return NULL;
}

void stoa_remote_bond_make(stoa_remote *remote, stoa_remote_peer *peer, uint64_t maker, uint64_t target)
{
    stoa_remote_bond bond = {.maker = maker, .target = target};
    if (find(peer, maker, target)) { return; }
    uint32_t stand = stoa_remote_stand_of(remote, peer, maker, true);
    if (!stoa_remote_local_of(remote, peer, target)) {
        (void)send_end(remote, peer, target, maker, stoa_end_GONE, "no such actor");
    } else if (!stand || !has_room(remote, peer)) {
        peer->counts.dropped[STOA_DROP_FULL]++;
        (void)send_end(remote, peer, target, maker, stoa_end_NO_MEMORY, "too many links of that node");
    } else {
        bond.about = remote->stands[stand].ref;
        peer->bonds[peer->bond_count++] = bond;
    }
}

bool stoa_remote_bond_forget(stoa_remote_peer *peer, uint64_t maker, uint64_t target)
{
    stoa_remote_bond *bond = find(peer, maker, target);
    if (bond) { take_out(peer, (uint32_t)(bond - peer->bonds)); }
    return bond != NULL;
}

bool stoa_remote_bonds_over(stoa_remote_peer *peer, uint64_t maker, uint64_t target, stoa_end why, const char *text)
{
    bool any = false;
    for (uint32_t i = 0; i < peer->bond_count; i++) {
        stoa_remote_bond *bond = &peer->bonds[i];
        if (bond->over || bond->maker != maker || (target && bond->target != target)) { continue; }
        bond->over = any = true;
        bond->why = why;
        bond->text = text;
    }
    return any;
}

/* --- who hears */

static bool fails(stoa_end why)
{
    return why != stoa_end_NORMAL && why != stoa_end_SHUTDOWN;
}

/* When the bucket has another one. */
static uint64_t next_ns(const stoa_remote *remote, const stoa_remote_peer *peer)
{
    const uint64_t each = STOA_S(WITHIN_S) / EXITS;
    uint64_t full_ns = peer->exits_ns > remote->now_ns ? peer->exits_ns : remote->now_ns;
    return full_ns + each <= remote->now_ns + STOA_S(WITHIN_S) ? remote->now_ns : full_ns + each - STOA_S(WITHIN_S);
}

static void hear(stoa_remote *remote, const stoa_remote_peer *peer, const stoa_remote_bond *bond, stoa_end why, const char *text)
{
    const stoa_remote_local *local = stoa_remote_local_of(remote, peer, bond->target);
    if (local) { stoa_port_exit(remote->port, local->ref, bond->about, why, text); }
}

uint64_t stoa_remote_bonds_step(stoa_remote *remote, stoa_remote_peer *peer)
{
    uint64_t wake_ns = UINT64_MAX;
    for (uint32_t i = 0; i < peer->bond_count && wake_ns == UINT64_MAX;) {
        const stoa_remote_bond *bond = &peer->bonds[i];
        if (!bond->over) {
            i++;
            continue;
        }
        uint64_t at = fails(bond->why) ? next_ns(remote, peer) : remote->now_ns;
        if (at > remote->now_ns) {
            wake_ns = at;
            continue;
        }
        if (fails(bond->why)) {
            peer->exits_ns = (peer->exits_ns > remote->now_ns ? peer->exits_ns : remote->now_ns) + STOA_S(WITHIN_S) / EXITS;
        }
        hear(remote, peer, bond, bond->why, bond->text);
        take_out(peer, i);
    }
    return wake_ns;
}

void stoa_remote_bonds_lost(stoa_remote *remote, stoa_remote_peer *peer, bool tells)
{
    for (uint32_t i = 0; i < peer->bond_count; i++) {
        const stoa_remote_bond *bond = &peer->bonds[i];
        hear(remote, peer, bond, bond->over ? bond->why : stoa_end_LOST, bond->over ? bond->text : "node lost");
        if (tells && !bond->over) { (void)send_end(remote, peer, bond->target, bond->maker, stoa_end_LOST, "node lost"); }
    }
    peer->bond_count = 0;
}
