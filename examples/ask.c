/* ask.c - one actor asks three others at once and waits for none: an answer is a message, and so is the lack of one.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include <stoa/stoa.h>

/* --- a stall answers with its price, refuses, or says nothing: as it is called */
#define stall_price_FIELDS       STOA_NO_FIELDS
#define stall_offer_FIELDS(F, S) F(S, uint64_t, cents)
#define stall_ROWS(ROW, K)                                \
    ROW(K, COMMAND, price, offer, "What does a loaf cost?") \
    ROW(K, REPLY, offer, _, "So much.")
STOA_TABLE_HERE(stall)
typedef struct stall {
    uint64_t asked;
} stall;
#define stall_HEARS STOA_HEARS_NOTHING
STOA_PLAIN_KIND(stall, .mailbox_limit = 16)

static stoa_err stall_on_price(stoa_turn *turn, stall *self, const stall_price *in, stall_offer *out)
{
    (void)in;
    self->asked++;
    out->cents = 250;
    if (strcmp(stoa_turn_key(turn), "asleep") == 0) { stoa_turn_no_answer(turn); }
    return strcmp(stoa_turn_key(turn), "sold_out") == 0 ? STOA_E_NOT_FOUND : STOA_OK; /* the error is the answer */
}

/* --- a buyer asks all stalls, and tells who sent it what came of it */
enum { STALLS = 3 };
static const char *const stalls[STALLS] = {"stall/baker", "stall/sold_out", "stall/asleep"};

#define buyer_find_FIELDS        STOA_NO_FIELDS
#define buyer_found_FIELDS(F, S) F(S, uint64_t, stall) F(S, uint64_t, cents) F(S, stoa_text14, word)
#define buyer_ROWS(ROW, K)                       \
    ROW(K, CAST, find, _, "Find a loaf.")        \
    ROW(K, TOPIC, found, _, "What a stall said.")
STOA_TABLE_HERE(buyer)
typedef struct buyer {
    stoa_ref sender;
} buyer;
#define buyer_HEARS(HEAR, K) HEAR(K, stall, offer)
STOA_PLAIN_KIND(buyer, .mailbox_limit = 16)

static stoa_err buyer_on_find(stoa_turn *turn, buyer *self, const buyer_find *in)
{
    stoa_err err = STOA_OK;
    (void)in;
    self->sender = turn->from;
    for (uint64_t i = 0; i < STALLS && !err; i++) { /* all are under way at once; i comes back as the answer's token */
        err = stall_ask_price(turn, stoa_turn_find(turn, stalls[i]), (stall_price){0}, STOA_S(1), i);
    }
    return err; /* an error takes back what was asked so far */
}

static stoa_err buyer_on_stall_offer(stoa_turn *turn, buyer *self, const stall_offer *in)
{
    buyer_found found = {.stall = turn->token, .cents = in->cents}; /* zero, where the answer is an error */
    stoa_err err = STOA_TEXT_SETZ(&found.word, turn->error ? stoa_err_name(turn->error) : "cents");
    return err ? err : buyer_send_found(turn, self->sender, &found);
}

/* --- this thread looks like an actor to them: a port */
static void print_found(void *context, const stoa_delivery *delivery)
{
    const buyer_found *found = delivery->payload;
    unsigned *heard = context;
    printf("%s: %" PRIu64 " %.*s\n", stalls[found->stall], found->cents, STOA_TEXT_ARGS(&found->word));
    ++*heard;
}

int main(void)
{
    stoa_node *node = NULL;
    stoa_port *port = NULL;
    stoa_ref ref = {0}, man = {0};
    unsigned heard = 0;
    stoa_err err = stoa_node_open(&(stoa_options){.cores = 1}, &node);
    for (int i = 0; i < STALLS && !err; i++) { err = stoa_spawn(node, &stall_kind, stalls[i], NULL, &ref); }
    if (!err) { err = stoa_spawn(node, &buyer_kind, "buyer/bo", NULL, &man); }
    if (!err) { err = stoa_port_open(node, "main", &port); }
    if (!err) { err = stoa_port_send(port, man, &buyer_rows[buyer_ROW_find], &(buyer_find){0}, 0); }
    if (!err) { stoa_port_flush(port); }
    while (!err && heard < STALLS) {
        poll(&(struct pollfd){.fd = stoa_port_fd(port), .events = POLLIN}, 1, 100);
        stoa_port_poll(port, print_found, &heard, STALLS);
    }
    if (err) { fprintf(stderr, "%s\n", stoa_err_trail()); }
    stoa_port_close(port);
    stoa_node_close(node, STOA_MS(100));
    return err ? 1 : 0;
}
