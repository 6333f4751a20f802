/* topic_driver.c - the runtime's topics at the end of a pipe, for integration/nats_test.py: who would hear what.
 *
 * A line is a verb, a space and a text; each gets one line back:
 *   s PATTERN   subscribe with the next number, from 0: "ok", or "invalid"
 *   u N         number N unsubscribes: "ok"
 *   t NAME      make the topic, so that later patterns must find it: "ok", or "invalid"
 *   p NAME      who hears what is published on it: "hears 3 17", in no order, or "invalid"
 *   n           forget everything and begin anew: "ok"
 *
 * It answers from the tables that a core publishes by; and holds each answer against stoa_topic_matches.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/internal.h"

enum { SUBSCRIBERS_MAX = 1 << 16 };

static stoa_node node;
static char patterns[SUBSCRIBERS_MAX][STOA_NAME_MAX + 1]; /* "": refused, or unsubscribed */
static uint32_t count;

static stoa_ref subscriber(uint32_t number)
{
    return stoa_ref_make(1, number % 3, number);
}

static void subscribe(const char *pattern)
{
    if (count == SUBSCRIBERS_MAX) { exit(2); }
    uint32_t number = count++;
    patterns[number][0] = '\0';
    stoa_err err = stoa_topics_subscribe(&node, pattern, subscriber(number));
    if (!err) { (void)snprintf(patterns[number], sizeof patterns[number], "%s", pattern); }
    (void)puts(err ? "invalid" : "ok");
}

static void unsubscribe(const char *text)
{
    uint32_t number = (uint32_t)strtoul(text, NULL, 10);
    if (patterns[number][0]) { stoa_topics_unsubscribe(&node, patterns[number], subscriber(number)); }
    patterns[number][0] = '\0';
    (void)puts("ok");
}

static void make(const char *name)
{
    stoa_topic *topic;
    (void)puts(stoa_topics_open(&node, name, &topic) ? "invalid" : "ok");
}

static uint32_t print_hearers(stoa_topic *topic)
{
    uint32_t hearers = 0;
    stoa_audiences *list = atomic_load(&topic->audiences);
    for (uint32_t i = 0; list && i < atomic_load(&list->used); i++) {
        stoa_audience *audience = atomic_load(&list->at[i]);
        for (uint64_t places = audience ? atomic_load(&audience->places) : 0; places; places &= places - 1) {
            stoa_subscribers *here = atomic_load(&audience->at[__builtin_ctzll(places)]);
            for (uint32_t k = 0; k < atomic_load(&here->used); k++) {
                stoa_ref who = {atomic_load(&here->at[k])};
                if (!who.at) { continue; }
                (void)printf(" %u", stoa_ref_index(who));
                hearers++;
            }
        }
    }
    return hearers;
}

static void publish(const char *name)
{
    stoa_topic *topic;
    if (stoa_topics_open(&node, name, &topic)) {
        (void)puts("invalid");
        return;
    }
    (void)printf("hears");
    uint32_t hearers = print_hearers(topic), matching = 0;
    for (uint32_t i = 0; i < count; i++) { matching += patterns[i][0] && stoa_topic_matches(patterns[i], name); }
    (void)printf("%s\n", hearers == matching ? "" : " (stoa_topic_matches differs)");
}

static void renew(const char *text)
{
    (void)text;
    stoa_topics_deinit(&node.topics);
    if (stoa_topics_init(&node.topics)) { exit(2); }
    count = 0;
    (void)puts("ok");
}

int main(void)
{
    static const struct {
        char verb;
        void (*run)(const char *text);
    } verbs[] = {{'s', subscribe}, {'u', unsubscribe}, {'t', make}, {'p', publish}, {'n', renew}};
    char line[1024];
    if (stoa_topics_init(&node.topics)) { return 2; }
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
            if (verbs[i].verb == line[0]) { verbs[i].run(line[0] && line[1] ? line + 2 : ""); }
        }
        (void)fflush(stdout);
    }
    stoa_topics_deinit(&node.topics);
    return 0;
}
