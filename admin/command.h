/* command.h - the table of admin commands and what follows from it: words, checks, help, completion, the reference
 * page.
 *
 * Pure: no input or output, no state, nothing allocated but by growing buffers. The REPL and the node both stand on it;
 * the node checks again what the REPL has checked.
 *
 * A line is words with blanks between. "double quotes" keep blanks and know \" and \\; 'single quotes' keep everything.
 * A line that begins with # is a comment. Limits: STOA_LINE_MAX bytes, STOA_WORDS_MAX words of STOA_WORD_MAX bytes,
 * UTF-8, no control characters.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_ADMIN_COMMAND_H
#define STOA_ADMIN_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

enum {
    STOA_LINE_MAX = 2048,
    STOA_WORD_MAX = 127,
    STOA_WORDS_MAX = 12,
    STOA_COMMAND_ARGS_MAX = 4,
    STOA_COMMAND_OPTIONS_MAX = 4,
    STOA_CANDIDATES_MAX = 256,
};

/* --- the table */

typedef enum stoa_argument_class { STOA_ARGUMENT_TEXT, STOA_ARGUMENT_NUMBER, STOA_ARGUMENT_CHOICE } stoa_argument_class;

typedef struct stoa_argument {
    const char *name;
    stoa_argument_class cls;
    uint64_t low, high;
    const char *complete, *summary;
} stoa_argument;

typedef enum stoa_right { STOA_RIGHT_READ, STOA_RIGHT_WRITE, STOA_RIGHT_SETS, STOA_RIGHT_PLANS } stoa_right;

/* As the .def names their handlers: STOA_COMMAND_explain_order, ... in table order; first those that the node runs. */
typedef enum stoa_command_id {
#define ARGUMENT(name, cls, low, high, complete, summary)
#define COMMAND(name, handler, args, right, since, summary) STOA_COMMAND_##handler,
#define LOCAL(name, handler, args, right, since, summary)
#include "admin/commands.def"
#undef ARGUMENT
#undef COMMAND
#undef LOCAL
    STOA_COMMAND_REMOTE_END,
    STOA_COMMAND_help = STOA_COMMAND_REMOTE_END,
    STOA_COMMAND_quit,
} stoa_command_id;

typedef struct stoa_command {
    const char *name, *args, *since, *summary;
    stoa_command_id id;
    stoa_right right;
} stoa_command;

/* All commands and arguments in table order; NULL behind the last. Static. */
const stoa_command *stoa_command_at(size_t index);
const stoa_argument *stoa_argument_at(size_t index);

/* One that is given by its name, anywhere behind the command: --for 5. Not NUL-terminated. */
typedef struct stoa_option {
    const char *name; /* without the dashes */
    size_t name_bytes;
    const stoa_argument *takes; /* NULL: nothing */
} stoa_option;

/* The arguments of a command in their order, and its options. Static storage is referred to. */
typedef struct stoa_signature {
    const stoa_argument *at[STOA_COMMAND_ARGS_MAX];
    uint32_t count, required;
    bool more; /* the last one may be repeated */
    stoa_option options[STOA_COMMAND_OPTIONS_MAX];
    uint32_t option_count;
} stoa_signature;
void stoa_command_signature(const stoa_command *command, stoa_signature *out);

static inline bool stoa_command_local(const stoa_command *command)
{
    return command->id >= STOA_COMMAND_REMOTE_END;
}

/* --- words */

typedef struct stoa_words {
    uint32_t count;
    const char *at[STOA_WORDS_MAX]; /* into bytes, NUL-terminated */
    char bytes[STOA_LINE_MAX + STOA_WORDS_MAX + 1];
} stoa_words;

/* Split size bytes into words; blank lines and comments give none. Errors, with words for the user in the trail:
 * INVALID (a quote that is not closed, bytes that are not UTF-8, control characters), TOO_LARGE (line, word, too
 * many words). out is unchanged on error. */
stoa_err stoa_words_split(const char *line, size_t size_bytes, stoa_words *out);

/* --- from words to a command */

typedef struct stoa_invocation {
    const stoa_command *command;
    uint32_t count;
    const char *args[STOA_WORDS_MAX]; /* the words' */
    const char *options[STOA_COMMAND_OPTIONS_MAX]; /* by the signature's: NULL where it was not given */
} stoa_invocation;
/* What was given to the command's option of that name: "" where it takes nothing; NULL: it was not given. */
const char *stoa_invocation_option(const stoa_invocation *said, const char *name);
/* Whether this use of it changes the node. */
bool stoa_command_writes(const stoa_invocation *said);

/* Find the command that the first words name and check its arguments: how many, and that each is what the table
 * says. Errors, with a sentence for the user in the trail ("unknown command 'actrs'; did you mean 'actors'?"):
 * INVALID. */
stoa_err stoa_command_resolve(const char *const *words, uint32_t count, stoa_invocation *out);

/* The number that an argument of class NUMBER is; it was checked by resolve. */
uint64_t stoa_argument_number(const char *text);

/* --- help and the reference page */

/* Append one JSON document for `help` (command NULL) or `help COMMAND`, and how to show it to view (see document.h). */
void stoa_command_help(const stoa_command *command, stoa_buf *document, stoa_buf *view);
/* The command that the words name, all of them. Errors, with a sentence in the trail: INVALID. */
stoa_err stoa_command_named(const char *const *words, uint32_t count, const stoa_command **out);
/* docs/reference/commands.md. */
void stoa_command_docs(stoa_buf *out);

/* --- completion */

typedef struct stoa_candidates {
    size_t from_bytes; /* where in the line the word begins that they would replace */
    uint32_t count;
    bool whole;        /* a single candidate is a whole word: a blank may follow */
    char at[STOA_CANDIDATES_MAX][STOA_WORD_MAX + 1];
} stoa_candidates;

/* Add name to the candidates if it goes on from prefix; a full list takes no more. */
void stoa_candidates_add(stoa_candidates *candidates, const char *prefix, const char *name);

/* What may stand at the end of line[0..size): commands, the words of a choice, or the names of a class, for which
 * names is called (may be NULL) and which adds them. Sorted, each once. */
typedef void (*stoa_names)(void *context, const char *cls, const char *prefix, stoa_candidates *candidates);
void stoa_complete(const char *line, size_t size_bytes, stoa_names names, void *context, stoa_candidates *out);
/* How many bytes all candidates have in common. */
size_t stoa_candidates_common(const stoa_candidates *candidates);

/* --- misspelt words */

/* Edits (insert, delete, replace, swap of neighbours) from a to b, each at most STOA_WORD_MAX bytes; case does not
 * count. */
uint32_t stoa_word_distance(const char *a, const char *b);
/* Whether b is near enough to a to be proposed in its place. */
bool stoa_word_near(const char *a, const char *b, uint32_t distance);

#endif
