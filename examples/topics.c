/* topics.c - who publishes does not know who listens: sensors, and listeners by pattern.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>

#include <stoa/stoa.h>

/* --- a sensor publishes what it measures on house.<its key>.temperature */
#define sensor_measure_FIELDS(F, S) F(S, int64_t, degrees)
#define sensor_done_FIELDS          STOA_NO_FIELDS
#define sensor_reading_FIELDS(F, S) F(S, int64_t, degrees)
#define sensor_ROWS(ROW, K)                             \
    ROW(K, COMMAND, measure, done, "Measure, publish.") \
    ROW(K, REPLY, done, _, "Done.")                     \
    ROW(K, TOPIC, reading, _, "A temperature.")
STOA_TABLE_HERE(sensor)
typedef struct sensor {
    uint64_t measured;
} sensor;
#define sensor_HEARS STOA_HEARS_NOTHING
static stoa_err sensor_start(stoa_turn *turn, void *state, const void *args);
STOA_PLAIN_KIND(sensor, .start = sensor_start)

static stoa_err sensor_start(stoa_turn *turn, void *state, const void *args)
{
    char topic[STOA_NAME_MAX + 1];
    (void)state, (void)args;
    snprintf(topic, sizeof topic, "house.%s.temperature", stoa_turn_key(turn));
    return stoa_turn_bind(turn, 0, topic); /* a lock is taken here, and none when it publishes */
}

static stoa_err sensor_on_measure(stoa_turn *turn, sensor *self, const sensor_measure *in, sensor_done *out)
{
    (void)out;
    self->measured++;
    return sensor_publish_reading(turn, 0, &(sensor_reading){in->degrees});
}

/* --- a listener hears what its key matches: '*' is one segment, '>' the rest */
#define listener_tell_FIELDS       STOA_NO_FIELDS
#define listener_told_FIELDS(F, S) F(S, uint64_t, readings) F(S, int64_t, degrees) F(S, stoa_text62, topic)
#define listener_ROWS(ROW, K)                           \
    ROW(K, COMMAND, tell, told, "What have you heard?") \
    ROW(K, REPLY, told, _, "How many, and what came last.")
STOA_TABLE_HERE(listener)
typedef struct listener {
    listener_told heard;
} listener;
#define listener_HEARS(HEAR, K) HEAR(K, sensor, reading)
static stoa_err listener_start(stoa_turn *turn, void *state, const void *args);
STOA_PLAIN_KIND(listener, .start = listener_start, .mailbox_limit = 64, .when_full = STOA_FULL_DROP_OLDEST)

static stoa_err listener_start(stoa_turn *turn, void *state, const void *args)
{
    (void)state, (void)args;
    return stoa_turn_subscribe(turn, stoa_turn_key(turn)); /* again after each restart */
}

static stoa_err listener_on_sensor_reading(stoa_turn *turn, listener *self, const sensor_reading *in)
{
    self->heard.readings++;
    self->heard.degrees = in->degrees;
    return STOA_TEXT_SETZ(&self->heard.topic, stoa_turn_topic(turn));
}

static stoa_err listener_on_tell(stoa_turn *turn, listener *self, const listener_tell *in, listener_told *out)
{
    (void)turn, (void)in;
    *out = self->heard;
    return STOA_OK;
}

int main(void)
{
    static const char *const names[] = {"listener/house.*.temperature", "listener/house.attic.>", "listener/garden.>"};
    stoa_node *node = NULL;
    stoa_ref listeners[3], kitchen = {0}, attic = {0};
    sensor_done done;
    listener_told told = {0};
    stoa_err err = stoa_node_open(&(stoa_options){.cores = 1}, &node);
    for (int i = 0; i < 3 && !err; i++) { err = stoa_spawn(node, &listener_kind, names[i], NULL, &listeners[i]); }
    if (!err) { err = stoa_spawn(node, &sensor_kind, "sensor/kitchen", NULL, &kitchen); }
    if (!err) { err = stoa_spawn(node, &sensor_kind, "sensor/attic", NULL, &attic); }
    if (!err) { err = sensor_call_measure(node, attic, (sensor_measure){31}, STOA_S(10), &done); }
    if (!err) { err = sensor_call_measure(node, kitchen, (sensor_measure){22}, STOA_S(10), &done); }
    for (int i = 0; i < 3 && !err; i++) {
        err = listener_call_tell(node, listeners[i], (listener_tell){0}, STOA_S(10), &told);
        printf("%s: %" PRIu64 ", the last %" PRId64 " %.*s\n", names[i], told.readings, told.degrees,
               STOA_TEXT_ARGS(&told.topic));
    }
    if (err) { fprintf(stderr, "%s\n", stoa_err_trail()); }
    stoa_node_close(node, STOA_MS(100));
    return err ? 1 : 0;
}
