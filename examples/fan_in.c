/* fan_in.c - many senders, one receiver: each of them comes in its own order, and nobody waits for another.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <stoa/stoa.h>

enum { SOURCES = 8 };

#define sink_put_FIELDS(F, S)   F(S, uint64_t, source) F(S, uint64_t, n)
#define sink_done_FIELDS        STOA_NO_FIELDS
#define sink_count_FIELDS       STOA_NO_FIELDS
#define sink_sum_FIELDS(F, S)   F(S, uint64_t, got) F(S, uint64_t, out_of_order)
#define sink_ROWS(ROW, K)                          \
    ROW(K, COMMAND, put, done, "The next number.") \
    ROW(K, REPLY, done, _, "It came.")             \
    ROW(K, COMMAND, count, sum, "How many came?")  \
    ROW(K, REPLY, sum, _, "So many.")
STOA_TABLE_HERE(sink)
typedef struct sink {
    uint64_t last[SOURCES];
    sink_sum sum;
} sink;
#define sink_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(sink, .mailbox_limit = 64)

static stoa_err sink_on_put(stoa_turn *turn, sink *self, const sink_put *in, sink_done *out)
{
    (void)turn, (void)out;
    if (in->source >= SOURCES) { return STOA_E_INVALID; }
    self->sum.out_of_order += in->n != ++self->last[in->source];
    self->sum.got++;
    return STOA_OK;
}

static stoa_err sink_on_count(stoa_turn *turn, sink *self, const sink_count *in, sink_sum *out)
{
    (void)turn, (void)in;
    *out = self->sum;
    return STOA_OK;
}

#define source_go_FIELDS(F, S) F(S, stoa_text62, to) F(S, uint64_t, source) F(S, uint64_t, count)
#define source_ROWS(ROW, K)    ROW(K, CAST, go, _, "Send so many, each when the one before has come.")
STOA_TABLE_HERE(source)
typedef struct source {
    source_go job;
    uint64_t sent;
} source;
#define source_HEARS(HEAR, K) HEAR(K, sink, done)
STOA_PLAIN_KIND(source, .mailbox_limit = 16)

static stoa_err next(stoa_turn *turn, source *self)
{
    char name[sizeof self->job.to.at + 1] = "";
    if (self->sent == self->job.count) { return STOA_OK; }
    memcpy(name, self->job.to.at, self->job.to.len);
    sink_put put = {self->job.source, self->sent + 1};
    stoa_err err = sink_ask_put(turn, stoa_turn_find(turn, name), put, STOA_S(10), 0);
    self->sent += !err;
    return err;
}

static stoa_err source_on_go(stoa_turn *turn, source *self, const source_go *in)
{
    *self = (source){.job = *in};
    return next(turn, self);
}

static stoa_err source_on_sink_done(stoa_turn *turn, source *self, const sink_done *in)
{
    (void)in;
    return turn->error ? turn->error : next(turn, self);
}

int main(void)
{
    stoa_node *node = NULL;
    stoa_ref all = {0}, from = {0};
    sink_sum sum = {0};
    stoa_err err = stoa_node_open(&(stoa_options){.cores = 2}, &node);
    if (!err) { err = stoa_spawn(node, &sink_kind, "sink/all", NULL, &all); }
    for (uint64_t i = 0; i < SOURCES && !err; i++) {
        char name[32];
        snprintf(name, sizeof name, "source/%" PRIu64, i);
        err = stoa_spawn(node, &source_kind, name, &(stoa_spawn_options){.core = i % 2}, &from);
        if (!err) { err = source_post_go(node, from, (source_go){stoa_text("sink/all"), i, 1000}); }
    }
    while (!err && sum.got < SOURCES * 1000) { err = sink_call_count(node, all, (sink_count){0}, STOA_S(10), &sum); }
    if (err) { fprintf(stderr, "%s\n", stoa_err_trail()); }
    printf("%" PRIu64 " came, %" PRIu64 " out of order\n", sum.got, sum.out_of_order);
    stoa_node_close(node, STOA_MS(100));
    return err ? 1 : 0;
}
