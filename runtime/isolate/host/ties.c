/* host/ties.c - what a handler in a child has with others beside messages: rooms, monitors, links, topics, groups.
 *
 * What it may not do it hears at once; the node looks again, and ends who did not ask here.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/isolate/host/host.h"

#define host (&stoa_the_host)

static bool hears(unsigned row)
{
    for (const stoa_hear *hear = host->kind->hears; hear->row; hear++) {
        if (hear->row->id == row && strcmp(hear->row->kind, stoa_system_table.name) == 0) { return true; }
    }
    return false;
}

/* A frame that names an actor and has no payload. */
static stoa_err stage_actor(stoa_isolate_word word, stoa_ref to, uint64_t token)
{
    stoa_err err = stoa_host_may_reach(to);
    return err ? err : stoa_host_stage(&(stoa_isolate_head){.word = word, .ref = to.at, .token = token}, NULL, NULL, NULL);
}

/* --- flow */

stoa_err stoa_turn_send_told(stoa_turn *turn, stoa_ref to, const stoa_row *row, const void *payload, uint64_t token)
{
    (void)turn;
    if (!hears(stoa_system_ROW_refused)) { return STOA_E_NO_HANDLER; }
    stoa_err err = stoa_host_may_reach(to);
    return err ? err : stoa_host_stage(&(stoa_isolate_head){.word = STOA_ISOLATE_TOLD, .ref = to.at, .token = token}, NULL, row, payload);
}

stoa_err stoa_turn_when_room(stoa_turn *turn, stoa_ref to, uint64_t token)
{
    (void)turn;
    return hears(stoa_system_ROW_room) ? stage_actor(STOA_ISOLATE_WHEN_ROOM, to, token) : STOA_E_NO_HANDLER;
}

/* --- monitors and links */

static void forget_monitor(uint64_t id)
{
    for (int i = 0; i < STOA_ISOLATE_MONITORS; i++) {
        if (host->monitors[i] == id) { host->monitors[i] = 0; }
    }
}

void stoa_host_went_down(uint64_t token)
{
    forget_monitor(token);
}

uint64_t stoa_turn_monitor(stoa_turn *turn, stoa_ref actor)
{
    (void)turn;
    if (!hears(stoa_system_ROW_down)) { return 0; }
    for (int i = 0; i < STOA_ISOLATE_MONITORS; i++) {
        if (host->monitors[i]) { continue; }
        if (stage_actor(STOA_ISOLATE_MONITOR, actor, host->monitors_made + 1)) { return 0; }
        return host->monitors[i] = ++host->monitors_made;
    }
    return 0;
}

void stoa_turn_demonitor(stoa_turn *turn, uint64_t id)
{
    (void)turn;
    if (!id || host->demonitored_count == STOA_ISOLATE_MONITORS) { return; }
    if (stoa_host_stage(&(stoa_isolate_head){.word = STOA_ISOLATE_DEMONITOR, .token = id}, NULL, NULL, NULL)) { return; }
    host->demonitored[host->demonitored_count++] = id;
}

stoa_err stoa_turn_link(stoa_turn *turn, stoa_ref actor)
{
    return actor.at == turn->self.at ? STOA_E_INVALID : stage_actor(STOA_ISOLATE_LINK, actor, 0);
}

void stoa_turn_unlink(stoa_turn *turn, stoa_ref actor)
{
    (void)turn;
    (void)stage_actor(STOA_ISOLATE_UNLINK, actor, 0);
}

void stoa_host_settle_ties(bool ok)
{
    for (int i = 0; i < STOA_ISOLATE_MONITORS && !ok; i++) {
        if (host->monitors[i] > host->monitors_before) { host->monitors[i] = 0; }
    }
    for (uint32_t i = 0; i < host->demonitored_count && ok; i++) { forget_monitor(host->demonitored[i]); }
    if (!ok) { memcpy(host->bound, host->bound_before, sizeof host->bound); }
}

/* --- topics and groups */

static stoa_err stage_topic(stoa_isolate_topic what, unsigned slot, const char *name)
{
    stoa_isolate_given *given = &host->given;
    bool binds = what == STOA_ISOLATE_BIND;
    if (strlen(name) > STOA_NAME_MAX) { return STOA_E_INVALID; }
    bool may = binds ? stoa_isolate_grants(given->tells, given->tells_count, name) : stoa_isolate_grants(given->hears, given->hears_count, name);
    stoa_isolate_head head = {.word = STOA_ISOLATE_TOPIC, .token = what, .row = slot};
    return may ? stoa_host_stage(&head, name, NULL, NULL) : STOA_E_DENIED;
}

stoa_err stoa_turn_subscribe(stoa_turn *turn, const char *pattern)
{
    (void)turn;
    return stage_topic(STOA_ISOLATE_SUBSCRIBE, 0, pattern);
}

stoa_err stoa_turn_unsubscribe(stoa_turn *turn, const char *pattern)
{
    (void)turn;
    return stage_topic(STOA_ISOLATE_UNSUBSCRIBE, 0, pattern);
}

stoa_err stoa_turn_join(stoa_turn *turn, const char *group)
{
    (void)turn;
    return stage_topic(STOA_ISOLATE_JOIN, 0, group);
}

stoa_err stoa_turn_leave(stoa_turn *turn, const char *group)
{
    (void)turn;
    return stage_topic(STOA_ISOLATE_LEAVE, 0, group);
}

stoa_err stoa_turn_bind(stoa_turn *turn, unsigned slot, const char *topic)
{
    (void)turn;
    stoa_err err = slot < STOA_TOPIC_SLOTS ? stage_topic(STOA_ISOLATE_BIND, slot, topic) : STOA_E_INVALID;
    if (!err) { host->bound[slot] = true; }
    return err;
}

stoa_err stoa_turn_publish(stoa_turn *turn, unsigned slot, const stoa_row *row, const void *payload)
{
    (void)turn;
    if (slot >= STOA_TOPIC_SLOTS || !host->bound[slot] || row->cls == STOA_ROW_COMMAND) { return STOA_E_INVALID; }
    return stoa_host_stage(&(stoa_isolate_head){.word = STOA_ISOLATE_PUBLISH, .token = slot}, NULL, row, payload);
}
