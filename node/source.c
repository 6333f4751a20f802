/* source.c - replay and live sources by one table. See source.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "node/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/market/venue.h"
#include "node/ports/live.h"
#include "node/ports/replay.h"

struct stoa_market_source {
    stoa_replay *replay;
    stoa_live *live;
};

static const uint64_t REPLAY_DEADLINE_NS = UINT64_C(24) * 3600 * 1000000000;

static stoa_err venue_of(const stoa_settings *s, const market_venue **out)
{
    *out = market_venue_find(s->market_venue, strlen(s->market_venue));
    return *out ? STOA_OK : STOA_FAIL(STOA_E_NOT_FOUND, "no venue '%s'", s->market_venue);
}

static stoa_err open_replay(stoa_platform *p, uint32_t core, stoa_market_source *source)
{
    const stoa_settings *s = &p->settings;
    stoa_replay_options options;
    const market_venue *venue;
    char text[STOA_PATH_MAX + 32];
    (void)snprintf(text, sizeof text, "%s@%s", s->market_file, s->market_speed);
    stoa_err err = stoa_replay_parse(text, &options);
    if (!err) { err = venue_of(s, &venue); }
    if (!err) { err = stoa_replay_market(p->node, venue, &options, core); }
    return err ? err : stoa_replay_start(p->node, &options, &source->replay);
}

static const char *given(const char *text)
{
    return text[0] ? text : NULL;
}

static stoa_err open_live(stoa_platform *p, uint32_t core, stoa_market_source *source)
{
    const stoa_settings *s = &p->settings;
    const market_venue *venue;
    market_connector_options connector = {.symbol_count = s->symbol_count};
    stoa_live_options options = {.stream_host = given(s->market_host),
                                 .stream_port = (uint16_t)s->market_port,
                                 .snapshot_host = given(s->market_rest_host),
                                 .snapshot_port = (uint16_t)s->market_rest_port,
                                 .ca_file = given(s->market_ca),
                                 .symbol_count = s->symbol_count};
    stoa_err err = venue_of(s, &venue);
    if (!err) { err = STOA_TEXT_SETZ(&connector.venue, s->market_venue); }
    for (uint32_t i = 0; i < s->symbol_count && !err; i++) { err = STOA_TEXT_SETZ(&connector.symbols[i], s->symbols[i].name); }
    if (!err) { err = market_spawn_venue(p->node, &connector, core, &options.connector); }
    if (err) { return err; }
    options.venue = venue;
    memcpy(options.symbols, connector.symbols, sizeof options.symbols);
    return stoa_live_start(p->node, &options, &source->live);
}

typedef stoa_err (*opener)(stoa_platform *p, uint32_t core, stoa_market_source *source);
static const opener openers[] = {[STOA_SOURCE_NONE] = NULL, [STOA_SOURCE_SIM] = NULL, [STOA_SOURCE_REPLAY] = open_replay, [STOA_SOURCE_LIVE] = open_live};

stoa_err stoa_source_open(stoa_platform *p, uint32_t core, stoa_market_source **out)
{
    opener open = openers[p->settings.source];
    if (!open) {
        *out = NULL;
        return STOA_OK;
    }
    stoa_market_source *source = calloc(1, sizeof *source);
    if (!source) { return STOA_FAIL(STOA_E_NOMEM, "market source"); }
    stoa_err err = open(p, core, source);
    if (err) {
        stoa_source_close(source);
        return err;
    }
    *out = source;
    return STOA_OK;
}

stoa_err stoa_source_result(stoa_platform *p, stoa_market_source *source, stoa_buf *out)
{
    if (!source || !source->replay) { return STOA_FAIL(STOA_E_INVALID, "--exit goes with --replay"); }
    stoa_err err = stoa_replay_wait(source->replay, REPLAY_DEADLINE_NS);
    return err ? err : stoa_replay_report(p->node, source->replay, out);
}

void stoa_source_close(stoa_market_source *source)
{
    if (!source) { return; }
    stoa_replay_stop(source->replay);
    stoa_live_stop(source->live);
    free(source);
}
