/* commands_explain.c - `explain order`: the story of an order, told from the journal alone, so also after a restart and
 * when its account has forgotten it; from the archive, where the journal has forgotten it, too. Behind the steps stands what led to
 * them, and what came of them in other shards (commands_cause.h).
 *
 * Every event that carries the order's id is one step; a table says for each kind of event how it is put into words.
 * Ticks and lots become prices and quantities through the symbol's rules in the settings; a symbol that is no longer
 * there is told in ticks and lots.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "actors/risk/risk_msgs.h"
#include "actors/strategy/quoter_msgs.h"
#include "actors/trade/account_msgs.h"
#include "actors/trade/book_msgs.h"
#include "base/wire.h"
#include "node/archive/archives.h"
#include "node/commands_cause.h"
#include "storage/archive/journal.h"

enum { STEPS_MAX = 2000, CAUSES_MAX = 64 };

/* What the steps add up to. */
typedef struct order_story {
    char account[STOA_NAME_MAX + 1];
    stoa_text14 symbol;
    trade_side side;
    trade_tif tif;
    trade_status status;
    trade_reason reason;
    stoa_decimal price, qty, filled_qty, filled_notional;
    uint64_t client_order_id;
    uint32_t fills;
    bool placed; /* the account's own words about it were seen */
} order_story;

typedef struct teller {
    const stoa_settings *settings;
    uint64_t order_id;
    const char *durability;
    stoa_doc *doc;
    order_story story;
    uint64_t first_ns;
    uint64_t steps;
    uint64_t causes[CAUSES_MAX]; /* cascades that the steps are of */
    uint32_t cause_count;
    bool causes_cut;
} teller;

/* --- figures */

static void put_decimal(stoa_buf *out, stoa_decimal value)
{
    char text[STOA_DECIMAL_TEXT_MAX];
    stoa_buf_put(out, text, stoa_decimal_print(value, 0, text));
}

static const stoa_settings_symbol *symbol_of(const teller *t, const char *name, size_t size_bytes)
{
    for (uint32_t i = 0; i < t->settings->symbol_count; i++) {
        const stoa_settings_symbol *symbol = &t->settings->symbols[i];
        if (strlen(symbol->name) == size_bytes && memcmp(symbol->name, name, size_bytes) == 0) { return symbol; }
    }
    return NULL;
}

/* The symbol whose book an event is of: "trade_book/BTCUSDT". */
static const stoa_settings_symbol *symbol_of_book(const teller *t, const stoa_event_view *event)
{
    const char *slash = strchr(event->actor, '/');
    return slash ? symbol_of(t, slash + 1, strlen(slash + 1)) : NULL;
}

static void put_steps(stoa_buf *out, int64_t count, stoa_decimal step, const char *unit)
{
    int64_t value;
    if (step && stoa_muldiv(count, step, 1, &value) == STOA_OK) {
        put_decimal(out, value);
        return;
    }
    stoa_buf_printf(out, "%" PRId64 " %s", count, unit);
}

/* "0.5 at 61000" */
static void put_lots_at(const teller *t, const stoa_event_view *event, int64_t qty_lots, int64_t price_ticks,
                        stoa_buf *out)
{
    const stoa_settings_symbol *symbol = symbol_of_book(t, event);
    put_steps(out, qty_lots, symbol ? symbol->lot : 0, "lots");
    stoa_buf_puts(out, " at ");
    put_steps(out, price_ticks, symbol ? symbol->tick : 0, "ticks");
}

/* "buy 0.5 BTCUSDT at 61000" */
static void put_wish(trade_side side, stoa_decimal qty, const stoa_text14 *symbol, stoa_decimal price, stoa_buf *out)
{
    stoa_buf_printf(out, "%s ", trade_side_texts[side]);
    put_decimal(out, qty);
    stoa_buf_printf(out, " %.*s at ", STOA_TEXT_ARGS(symbol));
    put_decimal(out, price);
}

/* " 30500 USDT", for as much as the settings tell. */
static void put_notional(const teller *t, const stoa_text14 *name, stoa_decimal price, stoa_decimal qty, stoa_buf *out)
{
    const stoa_settings_symbol *symbol = symbol_of(t, name->at, name->len);
    stoa_decimal notional;
    if (trade_notional(price, qty, &notional)) { return; }
    put_decimal(out, notional);
    if (symbol) { stoa_buf_printf(out, " %s", symbol->quote); }
}

/* --- steps in words */

static void tell_checked(teller *t, const stoa_event_view *event, stoa_buf *out)
{
    const risk_checked *e = event->payload;
    if (e->reason) {
        stoa_buf_printf(out, "risk refused: %s; ", trade_reason_texts[e->reason]);
    } else {
        stoa_buf_puts(out, "risk approved: ");
    }
    put_wish(e->side, e->qty, &e->symbol, e->price, out);
    t->story.symbol = e->symbol;
    t->story.side = e->side;
    t->story.price = e->price;
    t->story.qty = e->qty;
}

static void note_request(teller *t, const stoa_event_view *event, const trade_request *order)
{
    const char *slash = strchr(event->actor, '/');
    stoa_buf account = STOA_BUF_FIXED(t->story.account);
    stoa_buf_puts(&account, slash ? slash + 1 : event->actor);
    t->story.symbol = order->symbol;
    t->story.side = order->side;
    t->story.tif = order->tif;
    t->story.price = order->price;
    t->story.qty = order->qty;
    t->story.client_order_id = order->client_order_id;
    t->story.placed = true;
}

static void tell_ordered(teller *t, const stoa_event_view *event, stoa_buf *out)
{
    const trade_account_ordered *e = event->payload;
    const stoa_settings_symbol *symbol = symbol_of(t, e->order.symbol.at, e->order.symbol.len);
    note_request(t, event, &e->order);
    t->story.status = trade_status_NEW;
    stoa_buf_printf(out, "accepted, %s; reserved ", trade_tif_texts[e->order.tif]);
    if (e->order.side == trade_side_BUY) {
        put_notional(t, &e->order.symbol, e->order.price, e->order.qty, out);
    } else {
        put_decimal(out, e->order.qty);
        if (symbol) { stoa_buf_printf(out, " %s", symbol->base); }
    }
}

static void tell_rejected(teller *t, const stoa_event_view *event, stoa_buf *out)
{
    const trade_account_rejected *e = event->payload;
    note_request(t, event, &e->order);
    t->story.status = trade_status_REJECTED;
    t->story.reason = e->reason;
    stoa_buf_printf(out, "rejected: %s; nothing was reserved", trade_reason_texts[e->reason]);
}

static void tell_account_rested(teller *t, const stoa_event_view *event, stoa_buf *out)
{
    (void)event;
    t->story.status = trade_status_OPEN;
    stoa_buf_puts(out, "open: what is left rests in the book");
}

static void tell_filled(teller *t, const stoa_event_view *event, stoa_buf *out)
{
    const trade_account_filled *e = event->payload;
    stoa_decimal notional;
    stoa_err err = trade_notional(e->price, e->qty, &notional);
    if (!err) { err = stoa_add(t->story.filled_notional, notional, &notional); }
    if (!err) { t->story.filled_notional = notional; }
    t->story.filled_qty += e->qty;
    t->story.fills++;
    stoa_buf_puts(out, "settled ");
    put_decimal(out, e->qty);
    stoa_buf_puts(out, " at ");
    put_decimal(out, e->price);
    stoa_buf_puts(out, ", ");
    put_notional(t, &t->story.symbol, e->price, e->qty, out);
    stoa_buf_printf(out, ", as %s (trade %" PRIu64 "); filled ", e->maker ? "maker" : "taker", e->trade_id);
    put_decimal(out, t->story.filled_qty);
    stoa_buf_puts(out, " of ");
    put_decimal(out, t->story.qty);
    if (t->story.filled_qty < t->story.qty) { return; }
    t->story.status = trade_status_FILLED; /* no event of its own says so */
    stoa_buf_puts(out, ": closed");
}

static void tell_closed(teller *t, const stoa_event_view *event, stoa_buf *out)
{
    const trade_account_closed *e = event->payload;
    t->story.status = e->status;
    t->story.reason = e->reason;
    stoa_buf_printf(out, "closed: %s", trade_status_texts[e->status]);
    if (e->reason) { stoa_buf_printf(out, " (%s)", trade_reason_texts[e->reason]); }
    if (t->story.filled_qty < t->story.qty) { stoa_buf_puts(out, "; the rest of the reserve is free again"); }
}

static void tell_book_rested(teller *t, const stoa_event_view *event, stoa_buf *out)
{
    const trade_book_rested *e = event->payload;
    stoa_buf_puts(out, "rests in the book: ");
    put_lots_at(t, event, e->qty_lots, e->price_ticks, out);
}

static void tell_traded(teller *t, const stoa_event_view *event, stoa_buf *out)
{
    const trade_book_traded *e = event->payload;
    bool maker = e->maker_order_id == t->order_id;
    stoa_buf_puts(out, "matched ");
    put_lots_at(t, event, e->qty_lots, e->price_ticks, out);
    stoa_buf_printf(out, maker ? "; order %" PRIu64 " took it" : " with resting order %" PRIu64,
                    maker ? e->order_id : e->maker_order_id);
    stoa_buf_printf(out, " (trade %" PRIu64 ")", e->trade_id);
}

static void tell_removed(teller *t, const stoa_event_view *event, stoa_buf *out)
{
    const trade_book_removed *e = event->payload;
    const stoa_settings_symbol *symbol = symbol_of_book(t, event);
    stoa_buf_puts(out, "taken out of the book with ");
    put_steps(out, e->qty_lots, symbol ? symbol->lot : 0, "lots");
    stoa_buf_printf(out, " left: %s", e->reason < trade_reason_COUNT ? trade_reason_texts[e->reason] : "unknown");
}

static void tell_reported(teller *t, const stoa_event_view *event, stoa_buf *out)
{
    const strategy_quoter_reported *e = event->payload;
    (void)t;
    stoa_buf_printf(out, "the strategy heard: %s", trade_status_texts[e->status]);
    if (e->reason) { stoa_buf_printf(out, " (%s)", trade_reason_texts[e->reason]); }
    stoa_buf_puts(out, ", filled ");
    put_decimal(out, e->filled_qty);
}

static const struct {
    const stoa_row *row;
    void (*tell)(teller *t, const stoa_event_view *event, stoa_buf *out);
} words[] = {
    {&risk_rows[risk_ROW_checked], tell_checked},
    {&trade_account_rows[trade_account_ROW_ordered], tell_ordered},
    {&trade_account_rows[trade_account_ROW_rejected], tell_rejected},
    {&trade_account_rows[trade_account_ROW_rested], tell_account_rested},
    {&trade_account_rows[trade_account_ROW_filled], tell_filled},
    {&trade_account_rows[trade_account_ROW_closed], tell_closed},
    {&trade_book_rows[trade_book_ROW_rested], tell_book_rested},
    {&trade_book_rows[trade_book_ROW_traded], tell_traded},
    {&trade_book_rows[trade_book_ROW_removed], tell_removed},
    {&strategy_quoter_rows[strategy_quoter_ROW_reported], tell_reported},
};

static void tell(teller *t, const stoa_event_view *event, stoa_buf *out)
{
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (words[i].row == event->row) {
            words[i].tell(t, event, out);
            return;
        }
    }
    stoa_buf_puts(out, event->row->doc); /* an event that has no words of its own */
}

/* --- the document */

static void put_event(void *context, const stoa_event_view *event)
{
    teller *t = context;
    stoa_buf what = STOA_BUF_GROWING, payload = STOA_BUF_GROWING;
    if (!t->steps) { t->first_ns = event->wall_ns; }
    tell(t, event, &what); /* all of them, for the story's sake */
    if (++t->steps <= STEPS_MAX) {
        stoa_print_json(&event->row->payload, event->payload, &payload);
        stoa_doc_open(t->doc, NULL, '{');
        stoa_doc_uint(t->doc, "position", event->position);
        stoa_doc_uint(t->doc, "at_ns", event->wall_ns);
        stoa_doc_uint(t->doc, "since_ns", event->wall_ns > t->first_ns ? event->wall_ns - t->first_ns : 0);
        stoa_doc_text(t->doc, "actor", event->actor);
        stoa_doc_printf(t->doc, "event", "%s.%s", event->row->kind, event->row->name);
        stoa_doc_bytes(t->doc, "what", what.used_bytes ? what.at : "", what.used_bytes);
        stoa_doc_uint(t->doc, "commit_ns", event->commit_ns);
        stoa_doc_uint(t->doc, "commit_after_ns",
                      event->commit_ns > event->wall_ns ? event->commit_ns - event->wall_ns : 0);
        stoa_doc_text(t->doc, "durability", t->durability);
        if (!payload.cut) { stoa_doc_json(t->doc, "payload", payload.at, payload.used_bytes); }
        stoa_doc_close(t->doc, '}');
    }
    stoa_buf_deinit(&what);
    stoa_buf_deinit(&payload);
}

static void put_story(const teller *t, stoa_doc *doc)
{
    const order_story *story = &t->story;
    stoa_doc_open(doc, "order", '{');
    stoa_doc_uint(doc, "order_id", t->order_id);
    if (story->placed) {
        stoa_doc_text(doc, "account", story->account);
        stoa_doc_uint(doc, "client_order_id", story->client_order_id);
        stoa_doc_text(doc, "tif", trade_tif_texts[story->tif]);
        stoa_doc_text(doc, "status", trade_status_texts[story->status]);
        stoa_doc_text(doc, "reason", story->reason ? trade_reason_texts[story->reason] : NULL);
    }
    stoa_doc_bytes(doc, "symbol", story->symbol.at, story->symbol.len);
    stoa_doc_text(doc, "side", trade_side_texts[story->side]);
    stoa_doc_decimal(doc, "price", story->price);
    stoa_doc_decimal(doc, "qty", story->qty);
    stoa_doc_decimal(doc, "filled_qty", story->filled_qty);
    stoa_doc_decimal(doc, "filled_notional", story->filled_notional);
    stoa_doc_uint(doc, "fills", story->fills);
    stoa_doc_close(doc, '}');
}

/* --- where it is found */

/* What of the order is where: the log alone has an index. */
typedef struct finding {
    uint64_t log_first, first; /* of the log; with the archive in front */
    uint64_t looked;           /* below log_first: looked at up to here */
    stoa_err err;              /* that ended this */
} finding;

static void note_placing(void *context, const stoa_event_view *event)
{
    const stoa_row *row = event->row;
    bool placing = row == &trade_account_rows[trade_account_ROW_ordered] || row == &trade_account_rows[trade_account_ROW_rejected];
    *(bool *)context = *(bool *)context || placing;
}

static void put_log_event(void *context, const stoa_event_view *event)
{
    teller *t = context;
    bool known = t->cause_count && t->causes[t->cause_count - 1] == event->cause;
    if (!known && t->cause_count == CAUSES_MAX) {
        t->causes_cut = true;
    } else if (!known) {
        t->causes[t->cause_count++] = event->cause;
    }
    put_event(t, event);
}

/* All steps: what was purged first, unless the log has the order from its beginning on. */
static stoa_err find_steps(stoa_platform *platform, stoa_door_call *call, teller *t, finding *f)
{
    stoa_journal *journal = stoa_shard_journal(platform->trade);
    stoa_journal_state log, whole;
    bool placed = false;
    stoa_journal_log_state(journal, &log);
    journal->ops->state(journal, &whole);
    *f = (finding){.log_first = log.first, .first = whole.first, .looked = log.first - 1};
    stoa_err err = stoa_shard_lookup(platform->trade, t->order_id, note_placing, &placed);
    if (err) { return err; }
    if (log.first > 1 && !placed) {
        f->err = stoa_shard_lookup_scan(platform->trade, t->order_id, whole.first, log.first - 1, stoa_call_has_time, call, put_log_event, t,
                                        &f->looked);
    }
    return stoa_shard_lookup(platform->trade, t->order_id, put_log_event, t);
}

/* What was not looked at of what was purged; empty: all was. */
static void say_unseen(stoa_platform *platform, const finding *f, stoa_buf *out)
{
    if (f->first > 1) {
        stoa_buf_printf(out, "positions up to %" PRIu64 " are not at hand: ", f->first - 1);
        stoa_archives_where(platform->archives, "trade", f->first - 1, out);
    }
    if (f->looked + 1 >= f->log_first) { return; }
    stoa_buf_printf(out, "%sthe archive was looked through up to position %" PRIu64 " of %" PRIu64 ": %s", out->used_bytes ? "; " : "",
                    f->looked, f->log_first - 1, f->err ? stoa_err_text(f->err) : "--timeout gives it more time");
}

static stoa_err no_order(stoa_platform *platform, const teller *t, const finding *f)
{
    char text[STOA_CAUSE_TEXT];
    stoa_buf unseen = STOA_BUF_FIXED(text);
    if (f->log_first == 1) { return STOA_FAIL(STOA_E_NOT_FOUND, "no order %" PRIu64 " in the journal; orders lists them", t->order_id); }
    say_unseen(platform, f, &unseen);
    if (unseen.used_bytes) {
        return STOA_FAIL(f->looked + 1 < f->log_first && !f->err ? STOA_E_TIMEOUT : STOA_E_GONE,
                         "order %" PRIu64 " is not in the log of trade, which begins at position %" PRIu64 ": it is below that, or never was; %.*s",
                         t->order_id, f->log_first, (int)unseen.used_bytes, unseen.at);
    }
    return STOA_FAIL(STOA_E_NOT_FOUND, "no order %" PRIu64 " in the log of trade, which begins at position %" PRIu64
                     ", nor in its archive, which has all before", t->order_id, f->log_first);
}

/* --- what led to the steps */

static void forget_cause(void *context, const char *shard, const stoa_event_view *event)
{
    teller *t = context;
    if (strcmp(shard, "trade") != 0) { return; }
    for (uint32_t i = 0; i < t->cause_count; i++) {
        if (t->causes[i] == event->cause) { t->causes[i] = 0; } /* told */
    }
}

static stoa_err put_tree(stoa_platform *platform, stoa_door_call *call, teller *t)
{
    stoa_causes causes;
    stoa_err err = STOA_OK;
    stoa_causes_begin(&causes, platform, call, t->doc);
    causes.on_event = forget_cause;
    causes.on_event_context = t;
    stoa_doc_open(t->doc, "tree", '[');
    for (uint32_t i = 0; i < t->cause_count && !err && causes.events_left; i++) {
        if (t->causes[i]) { err = stoa_causes_put(&causes, platform->trade, t->causes[i]); }
    }
    stoa_doc_close(t->doc, ']');
    t->causes_cut = t->causes_cut || causes.events_left == 0;
    return err;
}

static void put_notes(stoa_platform *platform, const teller *t, const finding *f)
{
    char text[STOA_CAUSE_TEXT];
    stoa_buf unseen = STOA_BUF_FIXED(text);
    if (t->steps > STEPS_MAX) {
        stoa_doc_printf(t->doc, "note", "the first %d of %" PRIu64 " steps are shown", STEPS_MAX, t->steps);
    }
    if (t->causes_cut) { stoa_doc_text(t->doc, "causes", "there are more causes than are shown; explain event trade POSITION shows one"); }
    if (!t->story.placed && f->log_first > 1) { say_unseen(platform, f, &unseen); }
    if (unseen.used_bytes) { stoa_doc_printf(t->doc, "missing", "how it began is missing: %.*s", (int)unseen.used_bytes, unseen.at); }
}

stoa_err stoa_command_explain_order(stoa_platform *platform, stoa_door_call *call)
{
    stoa_doc doc = stoa_doc_to(&call->document);
    stoa_shard_view shard;
    finding found;
    stoa_err err = stoa_shard_glance(platform->trade, &shard);
    if (err) { return err; }
    teller t = {.settings = &platform->settings,
                .order_id = stoa_call_number(call, 0, 0),
                .durability = stoa_durability_texts[shard.durability],
                .doc = &doc};
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "steps", '[');
    err = find_steps(platform, call, &t, &found);
    stoa_doc_close(&doc, ']');
    if (!err && t.steps) { err = put_tree(platform, call, &t); }
    if (err || !t.steps) {
        stoa_buf_clear(&call->document);
        return err ? err : no_order(platform, &t, &found);
    }
    put_story(&t, &doc);
    stoa_doc_uint(&doc, "step_count", t.steps);
    put_notes(platform, &t, &found);
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(&call->view,
                  "fields order: order_id=order/id, account, client_order_id=client id/id, symbol, side, price/dec, "
                  "qty/dec, tif, "
                  "status, reason, filled_qty=filled/dec, filled_notional=for/dec, fills/n\n"
                  "table steps: position/id, at_ns=time/time?, since_ns=after/ns, commit_after_ns=journaled after/ns, "
                  "durability?, actor, what/wrap\n"
                  "text note\ntext missing\n");
    stoa_buf_puts(&call->view, stoa_causes_view);
    stoa_buf_puts(&call->view, "\ntext causes");
    return STOA_OK;
}
