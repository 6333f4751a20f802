/* duel.h - two processes on two CPUs and a wire between them: how fast frames go one way, and there and back.
 *
 * The same for ours and for everybody else's: a wire is six functions, and what is timed is here. One process begins to
 * read, says go through a word of shared memory, and stops the clock when it has read the last frame of the run and has
 * added up every word of it; the other one writes. There and back: each round by the clock. A wrong sum ends the program.
 * Needs nothing of Stoa, so that the programs of peers/ are built with it as their users would build them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BENCH_LINKS_DUEL_H
#define STOA_BENCH_LINKS_DUEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { DUEL_RUNS_MAX = 32, DUEL_NOTE_BYTES = 4096 };

/* What the two processes share besides their wire. */
typedef struct duel_page {
    _Alignas(128) _Atomic uint64_t go;       /* number of the run; UINT64_MAX: leave */
    uint64_t steps;                          /* of the run */
    _Atomic bool ready;                      /* side 1 is connected and reads */
    _Alignas(128) _Atomic uint32_t noted[2]; /* whether a side's note is there */
    uint32_t note_bytes[2];
    uint8_t notes[2][DUEL_NOTE_BYTES]; /* addresses, for wires that must swap some */
} duel_page;

/* How a frame that came is handed on. */
typedef void duel_take(void *context, const void *bytes, uint32_t size_bytes);

/* One end; side 0 reads, and was there first, side 1 writes. Functions end the program when something fails. */
typedef struct duel_wire {
    void *(*open)(duel_page *page, int side, const char *how, uint32_t size_bytes); /* returns when connected */
    bool (*send)(void *end, const void *bytes, uint32_t size_bytes); /* false: not now; poll, then again */
    void (*flush)(void *end);                                        /* NULL: nothing is held back */
    void (*poll)(void *end, duel_take *take, void *context);         /* take what is there, do not wait */
    void (*close)(void *end);
} duel_wire;

typedef enum duel_kind { DUEL_FLOW, DUEL_ECHO } duel_kind;

typedef struct duel_result {
    uint32_t runs;
    double value[DUEL_RUNS_MAX]; /* FLOW: million frames a second. ECHO: us there and back, the median of the run */
    double tail[DUEL_RUNS_MAX];  /* ECHO: the 99th percentile */
} duel_result;

/* Runs of some run_ms each, behind others that grow until they take so long. */
void duel_run(const duel_wire *wire, const char *how, duel_kind kind, uint32_t size_bytes, uint32_t runs, double run_ms,
              duel_result *out);

/* Print what and errno, end the program. */
_Noreturn void duel_fail(const char *what);

/* Leave a note for the other side, wait for its own. Returns its size. */
void duel_note(duel_page *page, int side, const void *bytes, uint32_t size_bytes);
uint32_t duel_note_of(duel_page *page, int side, void *to, uint32_t to_bytes);

/* main() of a peer: arguments are HOW KIND SIZE RUNS RUN_MS; prints "peer LABEL" and "sample VALUE TAIL" lines. */
int duel_main(int argc, char **argv, const duel_wire *wire, const char *library);

#endif
