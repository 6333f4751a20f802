/* cause.c - climbing to where it began, and down again. See cause.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/cause.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "runtime/fold.h"
#include "runtime/log_reader.h"
#include "runtime/shard.h"

enum { WINDOW = 4096 };             /* positions, between two looks at the bounds */
#define SLACK_NS STOA_MS(50)        /* clocks of two cores, and of an event and its block */

typedef struct telling {
    stoa_shard *const *shards;
    uint32_t count;
    const stoa_cause_to *to;
    uint64_t *events_left, *looked_left;
    bool cut; /* the bound on events was told */
} telling;

typedef struct place {
    stoa_shard *shard;
    uint64_t position;
} place;

/* What of an event is needed when the log goes on. */
typedef struct fact {
    uint32_t row; /* of the shard's own table; 0: an actor's event */
    uint64_t position, cause, wall_ns, commit_ns;
    uint64_t seq, there; /* there: the sender's position */
    uint32_t channel;
    int32_t error;
    stoa_text30 shard;
    stoa_text62 address;
} fact;

static const char *name_of(const stoa_shard *shard)
{
    return shard->name;
}

static stoa_shard *shard_named(const telling *t, const stoa_text30 *name)
{
    for (uint32_t i = 0; i < t->count; i++) {
        if (STOA_TEXT_EQZ(name, name_of(t->shards[i]))) { return t->shards[i]; }
    }
    return NULL;
}

static STOA_PRINTF(5, 6) void note(telling *t, const char *shard, uint64_t position, stoa_err err, const char *fmt, ...)
{
    char text[STOA_CAUSE_TEXT];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    t->to->note(t->to->context, &(stoa_cause_note){.shard = shard, .text = text, .position = position, .err = err});
}

static fact fact_of(const stoa_event_view *event)
{
    fact l = {.position = event->position, .cause = event->cause, .wall_ns = event->wall_ns, .commit_ns = event->commit_ns};
    if (event->stream != 0) { return l; }
    const stoa_shard_log_mailed *mailed = event->payload;
    const stoa_shard_log_delivered *delivered = event->payload;
    const stoa_shard_log_refused *refused = event->payload;
    const stoa_shard_log_returned *returned = event->payload;
    l.row = event->row->id;
    if (l.row == stoa_shard_log_ROW_mailed) {
        l.seq = mailed->seq, l.channel = mailed->channel, l.shard = mailed->shard, l.address = mailed->to;
    } else if (l.row == stoa_shard_log_ROW_delivered) {
        l.seq = delivered->seq, l.there = delivered->position, l.shard = delivered->shard;
    } else if (l.row == stoa_shard_log_ROW_refused) {
        l.seq = refused->seq, l.there = refused->position, l.shard = refused->shard, l.error = refused->error;
    } else if (l.row == stoa_shard_log_ROW_returned) {
        l.seq = returned->seq, l.channel = returned->channel, l.error = returned->error;
    }
    return l;
}

/* --- looking at a log */

static stoa_err take_one(void *context, const stoa_event_view *event)
{
    *(fact *)context = fact_of(event);
    return STOA_E_CANCELLED;
}

static stoa_err read_one(place at, fact *out)
{
    stoa_log_reader *reader;
    *out = (fact){0};
    stoa_err err = stoa_log_open(at.shard, &reader);
    if (err) { return err; }
    err = stoa_log_read(reader, at.position, at.position, take_one, out, NULL);
    stoa_log_close(reader);
    if (!err && !out->position) {
        err = STOA_FAIL(STOA_E_NOT_FOUND, "%s: position %" PRIu64 " is not committed yet; %" PRIu64 " is the last", name_of(at.shard),
                        at.position, stoa_shard_durable(at.shard));
    }
    return err;
}

typedef struct seeking {
    bool (*fits)(const struct seeking *s, const fact *l, bool *over_out);
    const fact *mail;
    const char *from;
    fact found;
    bool over; /* it cannot come any more */
} seeking;

static stoa_err seek(void *context, const stoa_event_view *event)
{
    seeking *s = context;
    fact l = fact_of(event);
    if (s->fits(s, &l, &s->over)) { s->found = l; }
    return s->found.position || s->over ? STOA_E_CANCELLED : STOA_OK;
}

/* Whether the bounds allow to look on; uses them up. */
static bool may_look(telling *t)
{
    if (*t->looked_left == 0 || (t->to->go_on && !t->to->go_on(t->to->context))) { return false; }
    *t->looked_left -= *t->looked_left < WINDOW ? *t->looked_left : WINDOW;
    return true;
}

/* Look for an event of the shard's own, from there up to until. TIMEOUT: a bound. */
static stoa_err look_ahead(telling *t, stoa_log_reader *reader, uint64_t from, uint64_t until, seeking *s)
{
    stoa_err err = STOA_OK;
    uint64_t next = from, begin = 0;
    stoa_log_only(reader, 0);
    while (!err && !s->found.position && !s->over && next != begin && next <= until) {
        uint64_t end = until - next < WINDOW ? until : next + WINDOW - 1;
        begin = next;
        if (!may_look(t)) { return STOA_E_TIMEOUT; }
        err = stoa_log_read(reader, begin, end, seek, s, &next);
    }
    return err;
}

/* The same backwards, from before that position. NOT_FOUND: it is not there. */
static stoa_err look_back(telling *t, stoa_shard *shard, uint64_t before, seeking *s)
{
    stoa_log_reader *reader;
    stoa_err err = stoa_log_open(shard, &reader);
    if (err) { return err; }
    uint64_t first = stoa_journal_first(shard->journal), until = before - 1;
    while (!err && !s->found.position && until >= first) {
        uint64_t from = until - first < WINDOW ? first : until - WINDOW + 1;
        err = look_ahead(t, reader, from, until, s);
        s->over = false;
        until = from - 1;
    }
    stoa_log_close(reader);
    if (err || s->found.position) { return err; }
    return first > 1 ? STOA_E_GONE : STOA_E_NOT_FOUND;
}

/* --- up */

static bool fits_mailed(const seeking *s, const fact *l, bool *over_out)
{
    (void)over_out;
    return l->row == stoa_shard_log_ROW_mailed && l->channel == s->mail->channel && l->seq == s->mail->seq;
}

/* A return came of what this shard mailed itself. */
static stoa_err before_return(telling *t, place *at, const fact *first)
{
    seeking s = {.fits = fits_mailed, .mail = first};
    stoa_err err = look_back(t, at->shard, first->position, &s);
    if (err) {
        note(t, name_of(at->shard), 0, err, "%s", err == STOA_E_GONE
             ? "what came back was mailed before this log begins" : "what came back was not found within the bounds");
        return err;
    }
    at->position = s.found.position;
    return STOA_OK;
}

/* What a channel brought was mailed by its sender. */
static stoa_err before_delivery(telling *t, place *at, const fact *first)
{
    char name[sizeof first->shard.at + 1];
    (void)snprintf(name, sizeof name, "%.*s", STOA_TEXT_ARGS(&first->shard));
    place from = {shard_named(t, &first->shard), first->there};
    fact mailed;
    if (!from.shard) {
        note(t, name, from.position, STOA_E_NOT_FOUND, "shard %s, which mailed it at its position %" PRIu64 ", is not on this node", name,
             from.position);
        return STOA_E_NOT_FOUND;
    }
    stoa_err err = read_one(from, &mailed);
    if (err) {
        note(t, name_of(from.shard), from.position, err, "it was mailed by shard %s at its position %" PRIu64 ", which %s", name, from.position,
             err == STOA_E_GONE ? "was purged" : err == STOA_E_NOT_FOUND ? "its log has not: it has lost its end" : "cannot be read");
        return err;
    }
    if (mailed.row != stoa_shard_log_ROW_mailed || mailed.seq != first->seq) {
        note(t, name_of(from.shard), from.position, STOA_E_FORKED, "shard %s has another event at its position %" PRIu64
             ", where it mailed this: it lost its end and went another way", name, from.position);
        return STOA_E_FORKED;
    }
    *at = from;
    return STOA_OK;
}

/* The first event of the cascade that at is in; at moves there. */
static stoa_err begin_of(place *at, fact *out)
{
    fact one;
    stoa_err err = read_one(*at, &one);
    if (err) { return err; }
    at->position = one.cause;
    if (one.cause == one.position) {
        *out = one;
        return STOA_OK;
    }
    return read_one(*at, out);
}

/* Up to where it began, or as far as the trail goes; *at is a cascade's first event then. */
static stoa_err climb(telling *t, place *at, fact *first)
{
    stoa_err err = begin_of(at, first);
    for (unsigned hops = 0; !err; hops++) {
        place above = *at;
        bool came = first->row == stoa_shard_log_ROW_delivered || first->row == stoa_shard_log_ROW_refused;
        if (!came && first->row != stoa_shard_log_ROW_returned) { return STOA_OK; }
        if (hops == STOA_CAUSE_DEPTH) {
            note(t, name_of(at->shard), at->position, STOA_E_TIMEOUT, "it began more than %d cascades before", STOA_CAUSE_DEPTH);
            return STOA_OK;
        }
        fact next;
        if (came ? before_delivery(t, &above, first) : before_return(t, &above, first)) { return STOA_OK; }
        stoa_err lost = begin_of(&above, &next);
        if (lost) {
            note(t, name_of(above.shard), above.position, lost, "the beginning of the cascade there cannot be read: %s", stoa_err_text(lost));
            return STOA_OK;
        }
        *at = above;
        *first = next;
    }
    return err;
}

/* --- down */

static void tell_cascade(telling *t, place at, unsigned depth);

static bool fits_taken(const seeking *s, const fact *l, bool *over_out)
{
    bool taken = l->row == stoa_shard_log_ROW_delivered || l->row == stoa_shard_log_ROW_refused;
    if (!taken || !STOA_TEXT_EQZ(&l->shard, s->from)) { return false; }
    *over_out = l->there > s->mail->position;
    return l->there == s->mail->position && l->seq == s->mail->seq;
}

static bool fits_returned(const seeking *s, const fact *l, bool *over_out)
{
    if (l->row != stoa_shard_log_ROW_returned || l->channel != s->mail->channel) { return false; }
    *over_out = l->seq > s->mail->seq;
    return l->seq == s->mail->seq;
}

/* Look in the receiver's log behind the time of the mail. GONE: where it would be was purged. */
static stoa_err look_for_taking(telling *t, stoa_shard *receiver, seeking *s)
{
    stoa_log_reader *reader;
    uint64_t before = 0, time = s->mail->wall_ns < s->mail->commit_ns ? s->mail->wall_ns : s->mail->commit_ns;
    stoa_err err = stoa_log_open(receiver, &reader);
    if (err) { return err; }
    uint64_t first = stoa_journal_first(receiver->journal);
    if (stoa_shard_durable(receiver) >= first) { err = stoa_log_position_at(reader, time > SLACK_NS ? time - SLACK_NS : 0, &before); }
    if (before + 1 < first) { before = first - 1; }
    if (!err) { err = look_ahead(t, reader, before + 1, UINT64_MAX, s); }
    stoa_log_close(reader);
    return !err && !s->found.position && first > 1 && before + 1 == first ? STOA_E_GONE : err;
}

static stoa_err look_for_return(telling *t, stoa_shard *sender, seeking *s)
{
    stoa_log_reader *reader;
    stoa_err err = stoa_log_open(sender, &reader);
    if (err) { return err; }
    err = look_ahead(t, reader, s->mail->position + 1, UINT64_MAX, s);
    stoa_log_close(reader);
    return err;
}

typedef struct channel_look {
    const stoa_text30 *to;
    stoa_channel_view view;
    bool there;
} channel_look;

static void look_at_channel(void *context, const stoa_channel_view *view)
{
    channel_look *look = context;
    if (!STOA_TEXT_EQZ(look->to, view->to)) { return; }
    look->view = *view;
    look->there = true;
}

static void note_under_way(telling *t, place from, const fact *mail)
{
    channel_look look = {.to = &mail->shard};
    stoa_channels(from.shard, look_at_channel, &look);
    note(t, name_of(from.shard), mail->position, STOA_E_AGAIN, "not delivered yet: message %" PRIu64 " of the channel to %.*s, which %s%s%s; %" PRIu64
         " wait", mail->seq, STOA_TEXT_ARGS(&mail->shard), look.there ? look.view.status : "is not open",
         look.there && look.view.forked[0] ? ": " : "", look.there ? look.view.forked : "", look.there ? look.view.waiting : 0);
}

/* It came back, or will. */
static void tell_return(telling *t, place from, const fact *mail, const char *refused, bool passed, unsigned depth)
{
    seeking s = {.fits = fits_returned, .mail = mail};
    stoa_err err = look_for_return(t, from.shard, &s);
    if (s.found.position) {
        tell_cascade(t, (place){from.shard, s.found.cause}, depth);
    } else if (err) {
        note(t, name_of(from.shard), 0, err, "its return was not found within the bounds");
    } else if (refused) {
        note(t, name_of(from.shard), mail->position, STOA_E_AGAIN, "refused with %s; who mailed it has not heard so yet", refused);
    } else if (passed) {
        note(t, name_of(from.shard), mail->position, STOA_E_FORKED, "never taken under that number: the channel to %.*s was begun anew behind it",
             STOA_TEXT_ARGS(&mail->shard));
    } else {
        note_under_way(t, from, mail);
    }
}

/* What became of a message. */
static void tell_mail(telling *t, place from, const fact *mail, unsigned depth)
{
    stoa_shard *receiver = shard_named(t, &mail->shard);
    char name[sizeof mail->shard.at + 1];
    (void)snprintf(name, sizeof name, "%.*s", STOA_TEXT_ARGS(&mail->shard));
    seeking s = {.fits = fits_taken, .mail = mail, .from = name_of(from.shard)};
    if (depth > STOA_CAUSE_DEPTH) {
        note(t, name_of(from.shard), mail->position, STOA_E_TIMEOUT, "more came of it; explain event %s %" PRIu64 " goes on from here",
             name_of(from.shard), mail->position);
        return;
    }
    if (!receiver) {
        note(t, name, 0, STOA_E_NOT_FOUND, "it went to shard %s, which is not on this node", name);
        return;
    }
    stoa_err err = look_for_taking(t, receiver, &s);
    if (s.found.position) {
        tell_cascade(t, (place){receiver, s.found.cause}, depth);
        bool refused = s.found.row == stoa_shard_log_ROW_refused;
        if (refused) { tell_return(t, from, mail, stoa_err_name((stoa_err)s.found.error), false, depth); }
    } else if (err == STOA_E_GONE) {
        note(t, name, 0, err, "what came of it in shard %s was purged; its log begins at %" PRIu64, name, stoa_journal_first(receiver->journal));
    } else if (err) {
        note(t, name, 0, err, err == STOA_E_TIMEOUT ? "what came of it in shard %s was not found within the bounds of one look"
                                                    : "the log of shard %s cannot be read", name);
    } else {
        tell_return(t, from, mail, NULL, s.over, depth);
    }
}

typedef struct showing {
    telling *t;
    const char *shard;
    uint64_t cause, next; /* next: 0 behind the cascade */
    fact mail;            /* the event that stopped the reading */
} showing;

static stoa_err show(void *context, const stoa_event_view *event)
{
    showing *s = context;
    telling *t = s->t;
    s->next = 0;
    if (event->cause != s->cause) { return STOA_E_CANCELLED; } /* cascades run one behind the other */
    if (*t->events_left == 0) {
        if (!t->cut) { note(t, s->shard, event->position, STOA_E_TIMEOUT, "more than %d events: the rest is not told", STOA_CAUSE_EVENTS); }
        t->cut = true;
        return STOA_E_CANCELLED;
    }
    --*t->events_left;
    t->to->event(t->to->context, s->shard, event);
    s->next = event->position + 1;
    if (event->stream == 0 && event->row->id == stoa_shard_log_ROW_mailed) {
        s->mail = fact_of(event);
        return STOA_E_CANCELLED; /* first what came of it */
    }
    t->to->end(t->to->context);
    return STOA_OK;
}

/* Each look reads from where the last one stopped: no read goes on while another log, or the same one, is read. */
static void tell_cascade(telling *t, place at, unsigned depth)
{
    stoa_log_reader *reader = NULL;
    showing s = {.t = t, .shard = name_of(at.shard), .cause = at.position, .next = at.position};
    stoa_err err = stoa_log_open(at.shard, &reader);
    while (!err && s.next) {
        uint64_t begin = s.next;
        s.mail.position = 0;
        err = stoa_log_read(reader, begin, UINT64_MAX, show, &s, NULL);
        if (s.mail.position) {
            if (!err) { tell_mail(t, at, &s.mail, depth + 1); }
            t->to->end(t->to->context);
        }
        if (!s.mail.position) { break; }
    }
    stoa_log_close(reader);
    if (err) { note(t, name_of(at.shard), s.next, err, "the log of shard %s cannot be read here: %s", name_of(at.shard), stoa_err_text(err)); }
}

/* --- the root */

typedef struct asking {
    uint64_t cause;
    stoa_cause_root *root;
} asking;

static stoa_err look_for_request(void *context, const stoa_event_view *event)
{
    asking *a = context;
    if (event->cause != a->cause) { return STOA_E_CANCELLED; }
    if (event->stream != 0 || event->row->id != stoa_shard_log_ROW_answered) { return STOA_OK; }
    const stoa_shard_log_answered *e = event->payload;
    a->root->asked = true;
    a->root->client = e->client;
    a->root->session = e->session;
    a->root->number = e->number;
    a->root->state = e->state < stoa_request_state_COUNT ? stoa_request_state_texts[e->state] : "unknown";
    a->root->error = (stoa_err)e->error;
    return STOA_E_CANCELLED;
}

static void tell_root(telling *t, place at, const fact *first)
{
    stoa_log_reader *reader;
    stoa_cause_root root = {.shard = name_of(at.shard), .position = at.position, .wall_ns = first->wall_ns};
    asking a = {.cause = at.position, .root = &root};
    if (!stoa_log_open(at.shard, &reader)) {
        (void)stoa_log_read(reader, at.position, UINT64_MAX, look_for_request, &a, NULL); /* the cascade itself says what is wrong */
        stoa_log_close(reader);
    }
    t->to->root(t->to->context, &root);
}

stoa_err stoa_cause_tell(stoa_shard *const *shards, uint32_t count, stoa_shard *shard, uint64_t position, const stoa_cause_to *to,
                         uint64_t *events_left, uint64_t *looked_left)
{
    uint64_t events = STOA_CAUSE_EVENTS, looked = STOA_CAUSE_LOOKED;
    telling t = {.shards = shards,
                 .count = count,
                 .to = to,
                 .events_left = events_left ? events_left : &events,
                 .looked_left = looked_left ? looked_left : &looked};
    place at = {shard, position};
    fact first;
    stoa_err err = climb(&t, &at, &first);
    if (err) { return err; }
    tell_root(&t, at, &first);
    tell_cascade(&t, at, 0);
    return STOA_OK;
}
