/* realm.c - chaos_realm: a whole node, as stoad is, whose accounts in three shards pay each other and trade until something ends
 * the process; and, started again, the audit of what is left. Driven by realm_test.py.
 *
 *     chaos_realm NOTEBOOK LIFE PATH=VALUE ...     settings, as flags of stoad without their dashes
 *
 * NOTEBOOK is a file away from the node's disk. What is acknowledged is noted there at once, over all lives; LIFE counts them, and
 * ids of payments and orders begin with it. Says "up", or "refused NAME" and ends with 1; then from each line of input:
 *
 *     load     every account but the treasury pays and trades from now on, as fast as it is answered
 *     stop     no longer; "stopped"
 *     probe    "probe NAME NAME": how a payment and a read are answered now
 *     audit    "good PAYMENTS ORDERS", when all holds that is listed below; "rotten NAME" when a log cannot be read from its
 *              beginning and says so by name, and all accounts hold what they held at the last good audit; otherwise it ends
 *              with 3 and says on stderr what is wrong
 *     quit     closes the node; the end of input kills it
 *
 * The audit waits until nothing is under way between shards. Then it reads each log from its first event: each payment that was
 * noted is there once, and so is each order, with the id that was answered; what left an account came to the one it was for, or came
 * back, once; and nothing came that had not left. Each account holds, to the last unit, what the events say; all together hold
 * nothing, the treasury owes the rest; each shard sums to zero. A replay from the first event gives each shard's live hash.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdatomic.h>

#include "base/log.h"
#include "base/random.h"
#include "tests/chaos/audit.h"

static const char settings_text[] =
    "symbols:\n"
    "  - {name: BTCUSDT, base: BTC, quote: USDT, tick: 0.01, lot: 0.00001, qty_min: 0.00001, qty_max: 100}\n"
    "accounts:\n"
    "  - {name: treasury, issuer: true}\n"
    "  - {name: alice, funds: \"100000000 USDT, 1000 BTC\"}\n"
    "  - {name: bob, funds: \"100000000 USDT, 1000 BTC\"}\n"
    "  - {name: safe, shard: vault, funds: \"1000000 USDT, 10 BTC\"}\n"
    "  - {name: chest, shard: vault, funds: \"1000000 USDT, 10 BTC\"}\n"
    "  - {name: pension, shard: fund, funds: \"1000000 USDT, 10 BTC\"}\n"
    "  - {name: charity, shard: fund, funds: \"1000000 USDT, 10 BTC\"}\n"
    "clients: [{name: demo, accounts: \"alice, bob\"}]\n"
    "rooms: [{name: lobby}]\n"
    "quoters: []\n"
    "market: {source: none}\n";

enum { ID_BITS = 24, ORDERS_OPEN = 16 };
#define PROBE_DEADLINE STOA_S(2)

static uint64_t life;
static _Atomic bool paying;

static void say(const char *what)
{
    (void)printf("%s\n", what);
    (void)fflush(stdout);
}

/* --- paying and trading */

typedef struct payer {
    uint32_t account;
    uint64_t next_id, orders;
    stoa_random random;
} payer;

static stoa_err pay(payer *p)
{
    trade_account_done done;
    uint32_t to = 1 + (uint32_t)stoa_random_below(&p->random, NAMES - 1);
    bool btc = stoa_random_below(&p->random, 4) == 0;
    trade_account_transfer t = {.transfer_id = p->next_id++, .amount = 1 + (stoa_decimal)stoa_random_below(&p->random, 100000)};
    if (STOA_TEXT_SETZ(&t.to, names[to]) || STOA_TEXT_SETZ(&t.asset, btc ? "BTC" : "USDT")) { die("a payment"); }
    if (to == p->account) { return STOA_OK; }
    stoa_err err = trade_account_call_transfer(platform->node, accounts[p->account], t, DEADLINE, &done);
    if (!err) { note_down((note){.id = t.transfer_id, .account = p->account}); }
    return err;
}

static void cancel(const payer *p, uint64_t id)
{
    trade_account_order out;
    (void)trade_account_call_cancel(platform->node, accounts[p->account], (trade_account_cancel){.client_order_id = id}, DEADLINE, &out);
}

static stoa_err trade(payer *p, uint64_t last[ORDERS_OPEN])
{
    trade_account_order out;
    trade_account_place order = {.client_order_id = p->next_id++, .symbol = stoa_text("BTCUSDT")};
    order.side = (trade_side)stoa_random_below(&p->random, 2);
    order.tif = stoa_random_chance(&p->random, 300) ? trade_tif_IOC : trade_tif_GTC;
    order.price = (stoa_decimal)(60000 - 5 + (int64_t)stoa_random_below(&p->random, 11)) * STOA_DECIMAL_ONE;
    order.qty = (stoa_decimal)(1 + stoa_random_below(&p->random, 50)) * (STOA_DECIMAL_ONE / 100000);
    uint64_t *oldest = &last[p->orders++ % ORDERS_OPEN];
    if (*oldest) { cancel(p, *oldest); }
    *oldest = order.client_order_id;
    stoa_err err = trade_account_call_place(platform->node, accounts[p->account], order, DEADLINE, &out);
    if (!err) { note_down((note){.id = order.client_order_id, .order_id = out.order.order_id, .account = p->account}); }
    return err;
}

static void *payer_main(void *context)
{
    static uint64_t next_ids[ACCOUNTS]; /* of this life */
    payer p = {.account = (uint32_t)(uintptr_t)context};
    p.next_id = next_ids[p.account] ? next_ids[p.account] : (life << ID_BITS) + 1;
    uint64_t last[ORDERS_OPEN] = {0};
    stoa_random_seed(&p.random, p.next_id * NAMES + p.account);
    while (atomic_load(&paying)) {
        bool trades = homes[p.account] == 0 && stoa_random_below(&p.random, 2) == 0;
        stoa_err err = trades ? trade(&p, last) : pay(&p);
        if (err == STOA_E_FULL || err == STOA_E_UNAVAILABLE) { pause_ms(1); }
    }
    next_ids[p.account] = p.next_id;
    return NULL;
}

static pthread_t payers[ACCOUNTS];

static void load(void)
{
    atomic_store(&paying, true);
    for (uintptr_t i = ALICE; i < ACCOUNTS; i++) {
        if (pthread_create(&payers[i], NULL, payer_main, (void *)i)) { die("thread"); }
    }
}

static void stop(void)
{
    if (!atomic_exchange(&paying, false)) { return; }
    for (uint32_t i = ALICE; i < ACCOUNTS; i++) { (void)pthread_join(payers[i], NULL); }
}

static void probe(void)
{
    static uint64_t id;
    trade_account_done done;
    trade_account_holdings holdings;
    trade_account_transfer t = {.transfer_id = (life << ID_BITS) + (1 << (ID_BITS - 1)) + ++id, .to = stoa_text("charity"),
                                .asset = stoa_text("USDT"), .amount = 1};
    stoa_err paid = trade_account_call_transfer(platform->node, accounts[SAFE], t, PROBE_DEADLINE, &done);
    if (!paid) { note_down((note){.id = t.transfer_id, .account = SAFE}); }
    stoa_err read = trade_account_call_balances(platform->node, accounts[PENSION], (trade_account_balances){{0}}, PROBE_DEADLINE, &holdings);
    (void)printf("probe %s %s\n", paid ? stoa_err_name(paid) : "OK", read ? stoa_err_name(read) : "OK");
    (void)fflush(stdout);
}

/* --- life */

static stoa_err find_all(void)
{
    shards[0] = platform->trade;
    shards[1] = platform->vaults[0];
    shards[2] = platform->vaults[1];
    for (uint32_t i = 0; i < SHARDS; i++) {
        stoa_shard_view view;
        if (stoa_shard_glance(shards[i], &view) || strcmp(view.name, shard_names[i]) != 0) { return STOA_FAIL(STOA_E_INVALID, "shards"); }
    }
    stoa_spawn_options closed = {.shard = shards[2]}; /* never opened: it refuses what it is paid */
    stoa_err err = stoa_spawn(platform->node, &trade_account_kind, "trade_account/closed", &closed, &accounts[CLOSED]);
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "trade_account/%s", names[i]);
        accounts[i] = stoa_find(platform->node, name);
    }
    return err;
}

static stoa_err open_realm(char **overrides)
{
    static stoa_settings settings;
    stoa_buf faults = STOA_BUF_GROWING;
    stoa_config_source source = {.text = settings_text, .overrides = (const char *const *)overrides};
    if (stoa_settings_load(&source, &settings, &faults)) {
        (void)fprintf(stderr, "%s", faults.at ? faults.at : stoa_err_trail());
        exit(2);
    }
    stoa_buf_deinit(&faults);
    stoa_log_level_set((stoa_log_level)settings.log_level);
    stoa_err err = stoa_platform_open(&settings, &platform);
    return err ? err : find_all();
}

static void obey(void)
{
    static const struct {
        const char *line;
        void (*step)(void);
    } steps[] = {{"load\n", load}, {"probe\n", probe}, {"audit\n", run_audit}};
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
            if (strcmp(line, steps[i].line) == 0) { steps[i].step(); }
        }
        if (strcmp(line, "stop\n") == 0) {
            stop();
            say("stopped");
        }
        if (strcmp(line, "quit\n") == 0) {
            stop();
            stoa_platform_close(platform);
            exit(0);
        }
    }
    _exit(0);
}

int main(int argc, char **argv)
{
    if (argc < 3) { return 2; }
    notebook = open(argv[1], O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    life = strtoull(argv[2], NULL, 10);
    (void)snprintf(books_path, sizeof books_path, "%s.books", argv[1]);
    if (notebook < 0 || life == 0) { return 2; }
    stoa_err err = open_realm(argv + 3);
    if (err) {
        (void)printf("refused %s\n", stoa_err_name(err));
        return EXIT_FAILURE;
    }
    say("up");
    obey();
}
