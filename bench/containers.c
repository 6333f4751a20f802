/* containers.c - bench_containers: containers for states beside what one would write instead.
 *
 *     containers.put.N      a random key more, into an ordered map that grows to N entries
 *     containers.append.N   the same, keys ascending
 *     containers.get.N      the value of a random key that is there
 *     containers.churn.N    a random key out, another one in
 *     containers.scan.N     one entry, in order
 *     containers.text.get   the value of a name of 8 bytes, of 6,144
 *     containers.texts      a text of some 100 bytes out, another one in, of 10,000, in a heap that is three quarters full
 *
 * base/omap.h beside a sorted array and a textbook red-black tree (both with 32-bit values in plain memory), the same keys in the
 * same order for all, in turn; what was read is summed and compared. Times are of the processor. A sorted array of a million is
 * only read.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/omap.h"
#include "base/random.h"
#include "base/text_map.h"
#include "base/texts.h"
#include "bench/containers/rbtree.h"

enum { LARGEST = 1000000, RUNS = 5, STEPS = 200000, NAMES = 6144, TEXTS = 10000, TEXT_BYTES = 100 };

typedef STOA_OMAP(LARGEST) omap;
typedef struct sorted {
    uint32_t count;
    uint64_t keys[LARGEST + 1];
    uint32_t values[LARGEST + 1];
} sorted;

static omap map;
static sorted array;
static rb_node rb_nodes[LARGEST + 2];
static rb_tree tree = {.nodes = rb_nodes};
static uint64_t keys[2 * LARGEST], order[STEPS];

/* --- the three under one roof */

static uint32_t array_place(uint64_t key)
{
    uint32_t from = 0, to = array.count;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (array.keys[middle] < key) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

static void array_put(uint64_t key, uint32_t value)
{
    uint32_t at = array_place(key);
    memmove(array.keys + at + 1, array.keys + at, (array.count - at) * sizeof array.keys[0]);
    memmove(array.values + at + 1, array.values + at, (array.count - at) * sizeof array.values[0]);
    array.keys[at] = key;
    array.values[at] = value;
    array.count++;
}
static void array_remove(uint64_t key)
{
    uint32_t at = array_place(key);
    array.count--;
    memmove(array.keys + at, array.keys + at + 1, (array.count - at) * sizeof array.keys[0]);
    memmove(array.values + at, array.values + at + 1, (array.count - at) * sizeof array.values[0]);
}
static uint64_t array_get(uint64_t key)
{
    return array.values[array_place(key)];
}
static uint64_t array_scan(void)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < array.count; i++) { sum += array.keys[i] ^ array.values[i]; }
    return sum;
}
static void array_clear(void)
{
    array.count = 0;
}

static void map_put(uint64_t key, uint32_t value)
{
    STOA_OMAP_PUT(&map, key, value);
}
static void map_remove(uint64_t key)
{
    (void)STOA_OMAP_REMOVE(&map, key);
}
static uint64_t map_get(uint64_t key)
{
    return STOA_OMAP_GET(&map, key);
}
static uint64_t map_scan(void)
{
    uint64_t sum = 0;
    for (stoa_omap_at it = STOA_OMAP_FIRST(&map); it.value; STOA_OMAP_NEXT(&map, &it)) { sum += it.key ^ it.value; }
    return sum;
}
static void map_clear(void)
{
    memset(&map, 0, sizeof map);
}

static void tree_put(uint64_t key, uint32_t value)
{
    rb_put(&tree, key, value);
}
static void tree_remove(uint64_t key)
{
    (void)rb_remove(&tree, key);
}
static uint64_t tree_get(uint64_t key)
{
    return rb_get(&tree, key);
}
static uint64_t tree_scan(void)
{
    uint64_t sum = 0;
    for (uint32_t at = rb_first(&tree); at; at = rb_next(&tree, at)) { sum += rb_nodes[at].key ^ rb_nodes[at].value; }
    return sum;
}
static void tree_clear(void)
{
    memset(rb_nodes, 0, sizeof rb_nodes);
    tree = (rb_tree){.nodes = rb_nodes};
}

static const struct contender {
    const char *name;
    void (*put)(uint64_t key, uint32_t value);
    void (*remove)(uint64_t key);
    uint64_t (*get)(uint64_t key);
    uint64_t (*scan)(void);
    void (*clear)(void);
} contenders[] = {
    {"omap", map_put, map_remove, map_get, map_scan, map_clear},
    {"sorted array", array_put, array_remove, array_get, array_scan, array_clear},
    {"red-black tree", tree_put, tree_remove, tree_get, tree_scan, tree_clear},
};
enum { CONTENDERS = sizeof contenders / sizeof contenders[0] };

/* --- measuring */

typedef struct figure {
    double at[RUNS];
    uint64_t sum; /* of what was read */
    bool measured;
} figure;

/* What this thread has run: others on the machine do not count. */
static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(figure *f)
{
    qsort(f->at, RUNS, sizeof f->at[0], by_value);
    return f->at[RUNS / 2];
}

static void print(const char *name, figure *f, const char *peer, double ours)
{
    double value = median(f);
    if (peer) {
        printf("{\"bench\":\"%s\",\"value\":%.2f,\"unit\":\"ns\",\"n\":%d,\"peer\":\"%s\",\"peer_value\":%.2f,\"ratio\":%.2f}\n", name, ours,
               RUNS, peer, value, value / ours);
    } else {
        printf("{\"bench\":\"%s\",\"value\":%.2f,\"unit\":\"ns\",\"n\":%d,\"min\":%.2f,\"max\":%.2f}\n", name, value, RUNS, f->at[0],
               f->at[RUNS - 1]);
    }
    (void)fflush(stdout);
}

static void print_all(const char *what, uint32_t n, figure figures[CONTENDERS])
{
    char name[64];
    (void)snprintf(name, sizeof name, "containers.%s.%u", what, n);
    print(name, &figures[0], NULL, 0);
    for (int i = 1; i < CONTENDERS; i++) {
        if (!figures[i].measured) { continue; }
        if (figures[i].sum != figures[0].sum) {
            (void)fprintf(stderr, "bench_containers: %s: %s read something else\n", name, contenders[i].name);
            exit(EXIT_FAILURE);
        }
        print(name, &figures[i], contenders[i].name, median(&figures[0]));
    }
}

/* --- workloads; each returns ns a step */

typedef double (*workload)(const struct contender *c, uint32_t n, uint64_t *sum);

static double fill(const struct contender *c, uint32_t n, uint64_t *sum)
{
    c->clear();
    uint64_t began = now_ns();
    for (uint32_t i = 0; i < n; i++) { c->put(keys[i], i + 1); }
    double ns = (double)(now_ns() - began) / n;
    *sum = c->scan();
    return ns;
}

static double append(const struct contender *c, uint32_t n, uint64_t *sum)
{
    c->clear();
    uint64_t began = now_ns();
    for (uint32_t i = 0; i < n; i++) { c->put(i * UINT64_C(10), i + 1); }
    double ns = (double)(now_ns() - began) / n;
    *sum = c->scan();
    return ns;
}

static double get(const struct contender *c, uint32_t n, uint64_t *sum)
{
    uint64_t began = now_ns(), read = 0;
    for (uint32_t i = 0; i < STEPS; i++) { read += c->get(keys[order[i] % n]); }
    *sum = read;
    return (double)(now_ns() - began) / STEPS;
}

/* keys[from .. from + n) are there before and after. */
static double churn(const struct contender *c, uint32_t n, uint64_t *sum)
{
    uint32_t steps = n < STEPS ? n : STEPS;
    uint64_t began = now_ns();
    for (uint32_t i = 0; i < steps; i++) {
        c->remove(keys[i]);
        c->put(keys[n + i], i + 1);
    }
    double ns = (double)(now_ns() - began) / steps;
    *sum = c->scan();
    for (uint32_t i = 0; i < steps; i++) {
        c->remove(keys[n + i]);
        c->put(keys[i], i + 1);
    }
    return ns;
}

static double scan(const struct contender *c, uint32_t n, uint64_t *sum)
{
    uint64_t rounds = n < 100000 ? 1000000 / n : 3, began = now_ns(), read = 0;
    for (uint64_t i = 0; i < rounds; i++) { read += c->scan(); }
    *sum = read;
    return (double)(now_ns() - began) / (double)(rounds * n);
}

/* A sorted array of many takes minutes to fill at random: it gets what the map has. */
static void copy_to_array(void)
{
    array.count = 0;
    for (stoa_omap_at it = STOA_OMAP_FIRST(&map); it.value; STOA_OMAP_NEXT(&map, &it)) {
        array.keys[array.count] = it.key;
        array.values[array.count++] = it.value;
    }
}

static void measure(const char *what, workload run, uint32_t n, bool array_too)
{
    figure figures[CONTENDERS] = {0};
    for (int k = -1; k < RUNS; k++) { /* the first warms up */
        for (int i = 0; i < CONTENDERS; i++) {
            if (i == 1 && !array_too) { continue; }
            figures[i].at[k < 0 ? 0 : k] = run(&contenders[i], n, &figures[i].sum);
            figures[i].measured = true;
        }
    }
    print_all(what, n, figures);
}

static void measure_size(uint32_t n)
{
    bool small = n <= 65536;
    measure("append", append, n, true);
    measure("put", fill, n, small);
    if (!small) { copy_to_array(); }
    measure("get", get, n, true);
    measure("scan", scan, n, true);
    measure("churn", churn, n, small);
}

/* --- the others, alone */

static void measure_names(void)
{
    static STOA_TEXT_MAP(stoa_text14, 8192) names;
    static stoa_text14 name[NAMES];
    figure f = {0};
    for (uint32_t i = 0; i < NAMES; i++) {
        char text[16];
        (void)snprintf(text, sizeof text, "SYM%05u", i);
        (void)STOA_TEXT_SETZ(&name[i], text);
        STOA_TEXT_MAP_PUT(&names, &name[i], i + 1);
    }
    for (int k = 0; k < RUNS; k++) {
        uint64_t began = now_ns();
        for (uint32_t i = 0; i < STEPS; i++) { f.sum += STOA_TEXT_MAP_GET(&names, &name[order[i] % NAMES]); }
        f.at[k] = (double)(now_ns() - began) / STEPS;
    }
    if (f.sum == 0) { exit(EXIT_FAILURE); }
    print("containers.text.get", &f, NULL, 0);
}

static void measure_texts(void)
{
    enum { BYTES = (TEXTS * (TEXT_BYTES + 16) * 4 / 3) / 8 * 8 };
    static STOA_TEXTS(BYTES, TEXTS) texts;
    static uint32_t ids[TEXTS];
    static const char text[2 * TEXT_BYTES] = "what somebody wrote";
    figure f = {0};
    for (uint32_t i = 0; i < TEXTS; i++) { ids[i] = STOA_TEXTS_PUT(&texts, text, TEXT_BYTES); }
    for (int k = 0; k < RUNS; k++) {
        uint64_t began = now_ns();
        for (uint32_t i = 0; i < STEPS; i++) {
            uint32_t *id = &ids[order[i] % TEXTS];
            STOA_TEXTS_GIVE(&texts, *id);
            *id = STOA_TEXTS_PUT(&texts, text, TEXT_BYTES - 8 + order[i] % 17);
        }
        f.at[k] = (double)(now_ns() - began) / STEPS;
    }
    print("containers.texts", &f, NULL, 0);
}

int main(void)
{
    static const uint32_t sizes[] = {1000, 65536, LARGEST};
    stoa_random random;
    stoa_random_seed(&random, 1);
    for (uint32_t i = 0; i < 2 * LARGEST; i++) { keys[i] = stoa_random_next(&random); }
    for (uint32_t i = 0; i < STEPS; i++) { order[i] = stoa_random_next(&random); }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) { measure_size(sizes[i]); }
    measure_names();
    measure_texts();
    return EXIT_SUCCESS;
}
