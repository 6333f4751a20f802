/* address_fuzz.c - goal: any text as the address of a link is opened or refused by name, and its options say the same however they are
 * asked for. Method: the input is an address. What a query finds lies in it, is whole, and is there no more when it is taken out;
 * an address of a simulated link, with faults or without, is opened at both ends, and one that was opened says where it is.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "transport/link.h"
#include "transport/query.h"
#include "transport/sim/link.h"

enum { ADDRESS_MAX = 512 };
static const char *const keys[] = {"seed", "loss", "delay_us", "as", "key", "server", ""};
enum { KEYS = sizeof keys / sizeof keys[0] };

static bool is_seed(const char *key, size_t key_bytes)
{
    return key_bytes == strlen(keys[0]) && memcmp(key, keys[0], key_bytes) == 0;
}

static void look_at_options(const char *address)
{
    char value[ADDRESS_MAX], rest[ADDRESS_MAX], again[ADDRESS_MAX];
    for (size_t i = 0; i < KEYS; i++) {
        uint64_t number = 77;
        bool there = stoa_query_text(address, keys[i], value, sizeof value);
        STOA_ASSERT(!there || strstr(address, value));
        stoa_err err = stoa_query_number(address, keys[i], 1000, &number);
        STOA_ASSERT(err == STOA_OK || (err == STOA_E_INVALID && number == 77));
        STOA_ASSERT(err || number <= 1000);
        if (there && !err) { STOA_ASSERT(strtoull(value, NULL, 10) == number); }
    }
    STOA_ASSERT(stoa_query_without(address, is_seed, rest, sizeof rest) == STOA_OK);
    STOA_ASSERT(strlen(rest) <= strlen(address) && !stoa_query_text(rest, keys[0], value, sizeof value));
    STOA_ASSERT(stoa_query_without(rest, is_seed, again, sizeof again) == STOA_OK && strcmp(rest, again) == 0);
    STOA_ASSERT(stoa_query_without(address, is_seed, rest, strlen(address)) == STOA_E_INVALID);
}

/* Of modules and of the network nothing is opened: what they do with a place is theirs. */
static bool is_simulated(const char *address)
{
    while (strncmp(address, "fault+", 6) == 0) { address += 6; }
    return strncmp(address, "sim://", 6) == 0;
}

static void open_both_ends(const char *address)
{
    stoa_link *ends[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        stoa_link_options options = {.listen = i == 0, .frame_limit = 4096, .queue_frames = 4};
        if (stoa_link_open(address, &options, &ends[i])) { continue; }
        STOA_ASSERT(ends[i]->ops->address(ends[i])[0]);
        stoa_link_traits traits;
        stoa_link_describe(ends[i], &traits);
    }
    for (int i = 0; i < 2; i++) {
        if (ends[i]) { ends[i]->ops->close(ends[i], 0); }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
    static stoa_clock_virtual clock;
    static stoa_sim_net *net;
    char address[ADDRESS_MAX];
    if (!net) {
        stoa_log_level_set(STOA_LOG_OFF);
        stoa_clock_virtual_init(&clock, 1);
        STOA_ASSERT(stoa_sim_net_new("net", &(stoa_sim_net_options){.seed = 1, .clock = &clock.clock, .delay_ns_max = 1000}, &net) == STOA_OK);
    }
    if (size_bytes >= sizeof address) { return 0; }
    if (size_bytes) { memcpy(address, bytes, size_bytes); }
    address[size_bytes] = '\0';
    look_at_options(address);
    if (is_simulated(address)) { open_both_ends(address); }
    return 0;
}
