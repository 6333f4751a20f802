/* measure.c - one row per figure of a core or a shard.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/measure.h"

#include <stdio.h>
#include <string.h>

#include "node/figures.h"
#include "node/links.h"
#include "node/plugin/plugins.h"
#include "node/projection/projection.h"

#define CORE(member)  STOA_FIGURE(stoa_core_view, member)
#define SHARD(member) STOA_FIGURE(stoa_shard_view, member)

static const stoa_figure core_figures[] = {
    {"stoa_core_actors", "Actors that live on the core.", CORE(actors)},
    {"stoa_core_queued", "Messages that wait in mailboxes.", CORE(queued)},
    {"stoa_core_messages_total", "Messages handled.", CORE(messages)},
    {"stoa_core_cross_total", "Messages sent to other cores and ports.", CORE(cross)},
    {"stoa_core_sleeps_total", "Times the core went to sleep.", CORE(wakeups)},
    {"stoa_core_timers_total", "Timers fired.", CORE(timers)},
    {"stoa_core_dead_letters_total", "Messages that reached nobody.", CORE(dead_letters)},
    {"stoa_core_restarts_total", "Actors restarted.", CORE(restarts)},
    {"stoa_core_conflated_total", "Messages that became one with another that waited.", CORE(conflated)},
    {"stoa_core_memory_bytes", "Memory mapped for messages.", CORE(memory_bytes)},
    {"stoa_core_used_bytes", "Memory that messages are in.", CORE(used_bytes)},
};

static const stoa_figure shard_figures[] = {
    {"stoa_shard_applied_position", "Last event applied.", SHARD(applied)},
    {"stoa_shard_committed_position", "Last event committed.", SHARD(committed)},
    {"stoa_shard_epoch", "Epoch of the writer.", SHARD(epoch)},
    {"stoa_shard_actors", "Actors of the shard.", SHARD(actors)},
    {"stoa_shard_blocks_total", "Blocks written.", SHARD(blocks)},
    {"stoa_shard_waiting", "Messages behind the wall.", SHARD(waiting)},
    {"stoa_shard_recovered_events", "Events replayed at start.", SHARD(recovered)},
    {"stoa_shard_recovery_snapshot_position", "The snapshot that recovery began with; 0: the log's beginning.", SHARD(snapshot)},
    {"stoa_shard_unproven_events", "Recovered events above the commit mark.", SHARD(unproven)},
};

#define FOLLOWING(member) STOA_FIGURE(stoa_following_view, member)

static const stoa_figure following_figures[] = {
    {"stoa_snapshot_position", "The newest snapshot.", FOLLOWING(snapshot)},
    {"stoa_snapshot_oldest_position", "The oldest snapshot.", FOLLOWING(oldest)},
    {"stoa_snapshot_followed_position", "How far the follower has folded the committed log.", FOLLOWING(followed)},
    {"stoa_snapshot_made_total", "Snapshots made.", FOLLOWING(made)},
    {"stoa_snapshot_failures_total", "Snapshots given up.", FOLLOWING(failures)},
    {"stoa_snapshot_compared_total", "States that were found equal to the log's.", FOLLOWING(compared)},
    {"stoa_snapshot_differences_total", "States that were not what the log says.", FOLLOWING(differences)},
    {"stoa_snapshot_put_bytes", "What was new in the last one.", FOLLOWING(put_bytes)},
};

#define CHANNEL(member) STOA_FIGURE(stoa_channel_view, member)

static const stoa_figure channel_figures[] = {
    {"stoa_channel_mailed_total", "Messages mailed from one shard to another.", CHANNEL(mailed)},
    {"stoa_channel_acknowledged_total", "Of those, the ones that the receiver has committed.", CHANNEL(acknowledged)},
    {"stoa_channel_returned_total", "Of those, the ones that it refused.", CHANNEL(returned)},
    {"stoa_channel_waiting", "Messages mailed and not acknowledged.", CHANNEL(waiting)},
    {"stoa_channel_bytes", "What they take of the channel's room.", CHANNEL(bytes)},
};

#define OUTBOX(member) STOA_FIGURE(stoa_outbox_view, member)

static const stoa_figure outbox_figures[] = {
    {"stoa_outbox_pending", "Outside effects that are not done.", OUTBOX(pending)},
    {"stoa_outbox_unreadable", "Of those, the ones that this build cannot read: see outbox unreadable.", OUTBOX(unreadable)},
    {"stoa_outbox_done_total", "Outside effects that were done.", OUTBOX(done)},
    {"stoa_outbox_failed_total", "Outside effects that were given up.", OUTBOX(failed)},
};

static void measure_channel(void *context, const stoa_channel_view *view)
{
    stoa_platform *p = context;
    char labels[96];
    stoa_counter *forked, *absent;
    (void)snprintf(labels, sizeof labels, "from=\"%s\",to=\"%s\"", view->from, view->to);
    stoa_figures_set(p->metrics, channel_figures, sizeof channel_figures / sizeof channel_figures[0], labels, view);
    if (!stoa_metrics_gauge(p->metrics, "stoa_channel_forked", labels, "1: the channel stopped, an operator has to decide.", &forked)) {
        stoa_gauge_set(forked, view->forked[0] != '\0');
    }
    if (!stoa_metrics_gauge(p->metrics, "stoa_channel_absent", labels, "1: the other node is here, and serves no such shard.", &absent)) {
        stoa_gauge_set(absent, strcmp(view->status, "absent") == 0);
    }
}

static void measure_shard(stoa_platform *p, stoa_shard *shard)
{
    stoa_shard_view view;
    char labels[64];
    if (!shard || stoa_shard_glance(shard, &view)) { return; }
    (void)snprintf(labels, sizeof labels, "shard=\"%s\"", view.name);
    stoa_figures_set(p->metrics, shard_figures, sizeof shard_figures / sizeof shard_figures[0], labels, &view);
    stoa_channels(shard, measure_channel, p);
    stoa_outbox_view outbox;
    stoa_shard_outbox(shard, &outbox, NULL, NULL);
    stoa_figures_set(p->metrics, outbox_figures, sizeof outbox_figures / sizeof outbox_figures[0], labels, &outbox);
    stoa_following_view following;
    if (stoa_shard_following(shard, &following)) { return; }
    stoa_figures_set(p->metrics, following_figures, sizeof following_figures / sizeof following_figures[0], labels, &following);
}

static void measure_drops(stoa_platform *p, const char *labels, const uint64_t *dropped)
{
    stoa_figures_set_drops(p->metrics, "stoa_dropped_total", labels, "Messages that reached nobody, by reason.", dropped);
}

void stoa_measure(stoa_platform *p)
{
    for (uint32_t i = 0; p->node && i < stoa_core_count(p->node); i++) {
        stoa_core_view view;
        char labels[32];
        if (stoa_core_look(p->node, i, &view)) { continue; }
        (void)snprintf(labels, sizeof labels, "core=\"%u\"", i);
        stoa_figures_set(p->metrics, core_figures, sizeof core_figures / sizeof core_figures[0], labels, &view);
        measure_drops(p, labels, view.dropped);
    }
    if (p->node) {
        stoa_ports_view ports;
        stoa_ports_look(p->node, &ports);
        measure_drops(p, "core=\"ports\"", ports.dropped);
    }
    measure_shard(p, p->trade);
    for (uint32_t i = 0; i < p->settings.vault_count; i++) { measure_shard(p, p->vaults[i]); }
    measure_shard(p, p->room);
    measure_shard(p, p->venue);
    stoa_node_links_measure(p->links);
    stoa_plugins_measure(p, p->plugins);
    if (p->projection) { stoa_projector_measure(stoa_projection_projector(p->projection)); }
}
