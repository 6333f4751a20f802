/* market.c - setting a market up: mirrors and what feeds them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "actors/market/market.h"

#include "actors/market/venue.h"

/* Spawn "kind/key"; one that is there already is as good. */
static stoa_err spawn(stoa_node *node, const stoa_kind *kind, const char *key, uint32_t core, const void *args,
                      stoa_ref *out)
{
    char text[STOA_NAME_MAX + 1];
    stoa_buf name = STOA_BUF_FIXED(text);
    stoa_buf_printf(&name, "%s/%s", kind->name, key);
    if (name.cut) { return STOA_FAIL(STOA_E_INVALID, "the name %s/%s is too long", kind->name, key); }
    stoa_err err = stoa_spawn(node, kind, text, &(stoa_spawn_options){.core = core, .args = args}, out);
    return err ? STOA_PASS(err, "spawning %s", text) : STOA_OK;
}

static stoa_err spawn_mirror(stoa_node *node, const char *venue, const stoa_text14 *symbol, uint32_t core)
{
    char text[STOA_NAME_MAX + 1];
    stoa_buf key = STOA_BUF_FIXED(text);
    stoa_ref ignored;
    stoa_buf_printf(&key, "%s.%.*s", venue, STOA_TEXT_ARGS(symbol));
    stoa_err err = spawn(node, &market_book_kind, text, core, NULL, &ignored);
    return err == STOA_E_EXISTS ? STOA_OK : err;
}

stoa_err market_spawn_venue(stoa_node *node, const market_connector_options *options, uint32_t core,
                            stoa_ref *connector_out)
{
    const market_venue *venue = market_venue_find(options->venue.at, options->venue.len);
    if (!venue) { return STOA_FAIL(STOA_E_INVALID, "no venue \"%.*s\"", STOA_TEXT_ARGS(&options->venue)); }
    if (options->symbol_count == 0 || options->symbol_count > MARKET_CONNECTOR_SYMBOLS_MAX) {
        return STOA_FAIL(STOA_E_INVALID, "1 to %d symbols a venue", MARKET_CONNECTOR_SYMBOLS_MAX);
    }
    for (uint32_t i = 0; i < options->symbol_count; i++) {
        stoa_err err = spawn_mirror(node, venue->name, &options->symbols[i], core);
        if (err) { return err; }
    }
    return spawn(node, &market_connector_kind, venue->name, core, options, connector_out);
}

stoa_err market_spawn_exchange(stoa_node *node, const market_exchange_options *options, uint32_t core,
                               stoa_ref *exchange_out)
{
    char text[STOA_NAME_MAX + 1];
    stoa_buf key = STOA_BUF_FIXED(text);
    stoa_buf_printf(&key, "%.*s", STOA_TEXT_ARGS(&options->symbol.name));
    stoa_err err = spawn_mirror(node, "sim", &options->symbol.name, core);
    return err ? err : spawn(node, &market_exchange_kind, text, core, options, exchange_out);
}
