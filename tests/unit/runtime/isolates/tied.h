/* isolates/tied.h - the table of a kind that has ties: monitors, links, topics, rooms; and of those that it has them with.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TESTS_ISOLATES_TIED_H
#define STOA_TESTS_ISOLATES_TIED_H

#include "runtime/isolate/isolate.h"

#define victim_poke_FIELDS(F, S)   F(S, uint64_t, n)
#define victim_news_FIELDS(F, S)   F(S, uint64_t, n)
#define victim_tell_FIELDS         STOA_NO_FIELDS
#define victim_die_FIELDS          STOA_NO_FIELDS
#define victim_look_FIELDS         STOA_NO_FIELDS
#define victim_count_FIELDS(F, S)  F(S, uint64_t, pokes) F(S, uint64_t, echoes)
#define victim_ROWS(ROW, K)                                   \
    ROW(K, CAST, poke, _, "Count.")                           \
    ROW(K, TOPIC, news, _, "What is told on tied.news.now.")  \
    ROW(K, COMMAND, tell, count, "Publish news of 7.")        \
    ROW(K, COMMAND, die, count, "Fail.")                      \
    ROW(K, COMMAND, look, count, "What was heard.")           \
    ROW(K, REPLY, count, _, "That was.")
STOA_TABLE(victim)

#define tied_deed_FIELDS(F, S) F(S, uint64_t, n) F(S, stoa_text30, what)
#define tied_seen_FIELDS(F, S)                                                                                         \
    F(S, uint64_t, downs) F(S, uint64_t, matched) F(S, uint64_t, refused) F(S, int64_t, refusal) F(S, uint64_t, rooms) F(S, uint64_t, news) \
    F(S, stoa_text62, topic)
#define tied_echo_FIELDS(F, S) F(S, uint64_t, n)
#define tied_ROWS(ROW, K)                              \
    ROW(K, COMMAND, deed, seen, "Do it; then look.")   \
    ROW(K, REPLY, seen, _, "What was heard so far.")   \
    ROW(K, TOPIC, echo, _, "What it publishes.")
STOA_TABLE(tied)
#define tied_HEARS(HEAR, K)                                                                                            \
    HEAR(K, stoa_system, down) HEAR(K, stoa_system, refused) HEAR(K, stoa_system, room) HEAR(K, victim, news)

#endif
