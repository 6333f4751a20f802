/* command.c - the table of admin/commands.def, and how a line becomes a command.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "admin/command.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "admin/document.h"
#include "base/utf8.h"

/* --- the table */

#define ARGUMENT(name, cls, low, high, complete, summary)                                                              \
    {#name, STOA_ARGUMENT_##cls, (low), (high), complete, summary},
#define COMMAND(name, handler, args, right, since, summary)
#define LOCAL(name, handler, args, right, since, summary)
static const stoa_argument arguments[] = {
#include "admin/commands.def"
};
#undef ARGUMENT
#undef COMMAND
#undef LOCAL

#define ARGUMENT(name, cls, low, high, complete, summary)
#define COMMAND(name, handler, args, right, since, summary)                                                            \
    {name, args, since, summary, STOA_COMMAND_##handler, STOA_RIGHT_##right},
#define LOCAL(name, handler, args, right, since, summary) COMMAND(name, handler, args, right, since, summary)
static const stoa_command commands[] = {
#include "admin/commands.def"
};
#undef ARGUMENT
#undef COMMAND
#undef LOCAL

enum { COMMANDS = sizeof commands / sizeof commands[0], ARGUMENTS = sizeof arguments / sizeof arguments[0] };

const stoa_command *stoa_command_at(size_t index)
{
    return index < COMMANDS ? &commands[index] : NULL;
}

const stoa_argument *stoa_argument_at(size_t index)
{
    return index < ARGUMENTS ? &arguments[index] : NULL;
}

static const stoa_argument *argument_named(const char *name, size_t size_bytes)
{
    for (size_t i = 0; i < ARGUMENTS; i++) {
        if (strlen(arguments[i].name) == size_bytes && memcmp(arguments[i].name, name, size_bytes) == 0) {
            return &arguments[i];
        }
    }
    return NULL;
}

/* "--for seconds]" */
static const char *read_option(const char *at, stoa_signature *out)
{
    stoa_option option = {.name = at + 2, .name_bytes = strcspn(at + 2, " ]")};
    const char *end = option.name + option.name_bytes;
    if (*end == ' ') {
        option.takes = argument_named(end + 1, strcspn(end + 1, "]"));
        STOA_ASSERT(option.takes);
    }
    STOA_ASSERT(out->option_count < STOA_COMMAND_OPTIONS_MAX);
    out->options[out->option_count++] = option;
    return end;
}

void stoa_command_signature(const stoa_command *command, stoa_signature *out)
{
    *out = (stoa_signature){0};
    for (const char *at = strpbrk(command->args, "<["); at; at = strpbrk(at, "<[")) {
        bool required = *at++ == '<';
        if (*at == '-') {
            at = read_option(at, out);
            continue;
        }
        size_t size_bytes = strcspn(at, ".>]");
        out->more = at[size_bytes] == '.';
        const stoa_argument *argument = argument_named(at, size_bytes);
        STOA_ASSERT(argument && out->count < STOA_COMMAND_ARGS_MAX && (!required || out->required == out->count));
        out->at[out->count++] = argument;
        out->required += required;
    }
}

/* --- words */

/* Where a line is being cut: the word under way ends at bytes[used]. */
typedef struct cutter {
    stoa_words *words;
    size_t used, word; /* bytes written; where the word under way began */
    bool open;         /* there is one */
    char quote;        /* or 0 */
} cutter;

static stoa_err end_word(cutter *c)
{
    if (!c->open) { return STOA_OK; }
    if (c->used - c->word > STOA_WORD_MAX) {
        return STOA_FAIL(STOA_E_TOO_LARGE, "a word has at most %d bytes", STOA_WORD_MAX);
    }
    if (c->words->count == STOA_WORDS_MAX) {
        return STOA_FAIL(STOA_E_TOO_LARGE, "a command has at most %d words", STOA_WORDS_MAX);
    }
    c->words->bytes[c->used++] = '\0';
    c->words->at[c->words->count++] = &c->words->bytes[c->word];
    c->open = false;
    return STOA_OK;
}

static void put(cutter *c, char byte)
{
    if (!c->open) { c->word = c->used; }
    c->open = true;
    c->words->bytes[c->used++] = byte;
}

/* Take line[at]; returns how many bytes were taken: two for an escape. */
static size_t cut(cutter *c, const char *line, size_t left, stoa_err *err)
{
    char byte = *line;
    if (c->quote) {
        bool escape = c->quote == '"' && byte == '\\' && left > 1 && (line[1] == '"' || line[1] == '\\');
        if (byte == c->quote) {
            c->quote = 0;
        } else {
            put(c, escape ? line[1] : byte);
        }
        return escape ? 2 : 1;
    }
    if (byte == '"' || byte == '\'') {
        if (!c->open) { c->word = c->used; }
        c->open = true; /* "" is an empty word */
        c->quote = byte;
    } else if (byte == ' ' || byte == '\t') {
        *err = end_word(c);
    } else {
        put(c, byte);
    }
    return 1;
}

static bool has_control(const char *text, size_t size_bytes)
{
    for (size_t i = 0; i < size_bytes; i++) {
        unsigned char byte = (unsigned char)text[i];
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f) { return true; }
    }
    return false;
}

static stoa_err split(const char *line, size_t size_bytes, stoa_words *words)
{
    cutter c = {.words = words};
    stoa_err err = STOA_OK;
    for (size_t at = 0; at < size_bytes && !err;) { at += cut(&c, line + at, size_bytes - at, &err); }
    if (!err && c.quote) { return STOA_FAIL(STOA_E_INVALID, "a quote %c is not closed", c.quote); }
    return err ? err : end_word(&c);
}

stoa_err stoa_words_split(const char *line, size_t size_bytes, stoa_words *out)
{
    while (size_bytes && strchr("\r\n", line[size_bytes - 1])) { size_bytes--; }
    if (size_bytes > STOA_LINE_MAX) {
        return STOA_FAIL(STOA_E_TOO_LARGE, "a line has at most %d bytes", STOA_LINE_MAX);
    }
    if (has_control(line, size_bytes) || stoa_utf8_prefix(line, size_bytes) != size_bytes) {
        return STOA_FAIL(STOA_E_INVALID, "a line is UTF-8 without control characters");
    }
    size_t blank = 0;
    while (blank < size_bytes && (line[blank] == ' ' || line[blank] == '\t')) { blank++; }
    if (blank == size_bytes || line[blank] == '#') {
        out->count = 0;
        return STOA_OK;
    }
    stoa_words words = {0};
    stoa_err err = split(line, size_bytes, &words);
    if (err) { return err; }
    memcpy(out->bytes, words.bytes, sizeof words.bytes);
    for (uint32_t i = 0; i < words.count; i++) { out->at[i] = out->bytes + (words.at[i] - words.bytes); }
    out->count = words.count;
    return STOA_OK;
}

/* --- which command */

static bool word_is(const char *word, const char *text, size_t size_bytes)
{
    return strlen(word) == size_bytes && memcmp(word, text, size_bytes) == 0;
}

/* How many of the words go along with the command's name, and how many words the name has. */
static uint32_t matching_words(const stoa_command *command, const char *const *words, uint32_t count, uint32_t *of_out)
{
    uint32_t matching = 0, of = 0;
    for (const char *at = command->name; *at; of++) {
        size_t size_bytes = strcspn(at, " ");
        if (matching == of && of < count && word_is(words[of], at, size_bytes)) { matching++; }
        at += size_bytes;
        at += *at == ' ';
    }
    *of_out = of;
    return matching;
}

/* All commands whose name begins with a word that is none by itself. */
static stoa_err goes_on(const char *word)
{
    char text[STOA_LINE_MAX];
    stoa_buf all = STOA_BUF_FIXED(text);
    for (size_t i = 0; i < COMMANDS; i++) {
        uint32_t of;
        if (!matching_words(&commands[i], &word, 1, &of)) { continue; }
        stoa_buf_printf(&all, "%s%s%s%s", all.used_bytes ? ", " : "", commands[i].name, *commands[i].args ? " " : "", commands[i].args);
    }
    return STOA_FAIL(STOA_E_INVALID, "'%s' goes on: %.*s", word, (int)all.used_bytes, text);
}

static stoa_err unknown(const char *const *words, uint32_t count)
{
    char said[2 * STOA_WORD_MAX + 2];
    const stoa_command *nearest = NULL, *begun = NULL;
    uint32_t best = UINT32_MAX;
    for (size_t i = 0; i < COMMANDS; i++) {
        uint32_t of_this;
        if (matching_words(&commands[i], words, count, &of_this)) { begun = &commands[i]; }
        stoa_buf text = STOA_BUF_FIXED(said);
        stoa_buf_puts(&text, words[0]);
        if (of_this > 1 && count > 1) { stoa_buf_printf(&text, " %s", words[1]); }
        uint32_t distance = text.cut ? UINT32_MAX : stoa_word_distance(said, commands[i].name);
        if (distance < best && stoa_word_near(said, commands[i].name, distance)) {
            best = distance;
            nearest = &commands[i];
        }
    }
    uint32_t of;
    if (nearest && (!begun || matching_words(nearest, words, count, &of))) {
        return STOA_FAIL(STOA_E_INVALID, "unknown command '%s'; did you mean '%s'?", words[0], nearest->name);
    }
    if (begun) { return goes_on(words[0]); }
    return STOA_FAIL(STOA_E_INVALID, "unknown command '%s'; help lists all", words[0]);
}

/* The command whose whole name the words begin with; the longest. */
static const stoa_command *find(const char *const *words, uint32_t count, uint32_t *used_out)
{
    const stoa_command *found = NULL;
    *used_out = 0;
    for (size_t i = 0; i < COMMANDS; i++) {
        uint32_t of, matching = matching_words(&commands[i], words, count, &of);
        if (matching < of || of <= *used_out) { continue; }
        found = &commands[i];
        *used_out = of;
    }
    return found;
}

stoa_err stoa_command_named(const char *const *words, uint32_t count, const stoa_command **out)
{
    uint32_t used;
    if (!count) { return STOA_FAIL(STOA_E_INVALID, "no command"); }
    const stoa_command *found = find(words, count, &used);
    if (!found) { return unknown(words, count); }
    if (used < count) { return STOA_FAIL(STOA_E_INVALID, "'%s' is a command, '%s %s' is none", found->name, found->name, words[used]); }
    *out = found;
    return STOA_OK;
}

/* --- its arguments */

static bool parse_number(const char *text, uint64_t *out)
{
    uint64_t value = 0;
    if (!*text) { return false; }
    for (; *text; text++) {
        if (*text < '0' || *text > '9') { return false; }
        uint64_t digit = (uint64_t)(*text - '0');
        if (value > (UINT64_MAX - digit) / 10) { return false; }
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

uint64_t stoa_argument_number(const char *text)
{
    uint64_t value = 0;
    bool number = parse_number(text, &value);
    STOA_ASSERT(number);
    return value;
}

/* The i-th word of a choice; NULL behind the last, and for other classes. */
static const char *choice(const stoa_argument *argument, uint32_t i, size_t *size_out)
{
    const char *at = argument->cls == STOA_ARGUMENT_CHOICE ? argument->complete : NULL;
    for (; i && at; i--) {
        at = strchr(at, '|');
        at = at ? at + 1 : NULL;
    }
    if (at) { *size_out = strcspn(at, "|"); }
    return at;
}

static void print_takes(const stoa_argument *argument, stoa_buf *out)
{
    size_t size_bytes;
    const char *word;
    if (argument->cls == STOA_ARGUMENT_NUMBER) {
        stoa_buf_printf(out, "a number from %llu", (unsigned long long)argument->low);
        if (argument->high < UINT64_MAX) { stoa_buf_printf(out, " to %llu", (unsigned long long)argument->high); }
        return;
    }
    if (argument->cls == STOA_ARGUMENT_TEXT) {
        stoa_buf_printf(out, "text of %llu to %llu bytes", (unsigned long long)argument->low,
                        (unsigned long long)argument->high);
        return;
    }
    for (uint32_t i = 0; (word = choice(argument, i, &size_bytes)) != NULL; i++) {
        stoa_buf_puts(out, i ? ", " : "one of ");
        stoa_buf_put(out, word, size_bytes);
    }
}

static bool fits(const stoa_argument *argument, const char *text)
{
    uint64_t value;
    size_t size_bytes;
    const char *word;
    if (argument->cls == STOA_ARGUMENT_NUMBER) {
        return parse_number(text, &value) && value >= argument->low && value <= argument->high;
    }
    if (argument->cls == STOA_ARGUMENT_TEXT) {
        return strlen(text) >= argument->low && strlen(text) <= argument->high;
    }
    for (uint32_t i = 0; (word = choice(argument, i, &size_bytes)) != NULL; i++) {
        if (word_is(text, word, size_bytes)) { return true; }
    }
    return false;
}

static stoa_err misfit(const stoa_argument *argument, const char *text)
{
    char takes[256], word[STOA_WORD_MAX + 1], nearest[STOA_WORD_MAX + 1] = "";
    stoa_buf buf = STOA_BUF_FIXED(takes);
    uint32_t best = UINT32_MAX;
    size_t size_bytes;
    const char *at;
    print_takes(argument, &buf);
    for (uint32_t i = 0; (at = choice(argument, i, &size_bytes)) != NULL; i++) {
        memcpy(word, at, size_bytes);
        word[size_bytes] = '\0';
        uint32_t distance = stoa_word_distance(text, word);
        if (distance >= best || !stoa_word_near(text, word, distance)) { continue; }
        best = distance;
        memcpy(nearest, word, size_bytes + 1);
    }
    return STOA_FAIL(STOA_E_INVALID, "%s is %s, not '%s'%s%s%s", argument->name, takes, text,
                     *nearest ? "; did you mean '" : "", nearest, *nearest ? "'?" : "");
}

static stoa_err check_count(const stoa_command *command, const stoa_signature *takes, uint32_t count, bool option)
{
    const char *name = command->name, *args = command->args;
    if (count < takes->required) {
        return STOA_FAIL(STOA_E_INVALID, "%s needs <%s>: %s %s", name, takes->at[count]->name, name, args);
    }
    if (count <= takes->count || takes->more) { return STOA_OK; }
    if (!takes->count) { return STOA_FAIL(STOA_E_INVALID, "%s takes no arguments", name); }
    return STOA_FAIL(STOA_E_INVALID, "%s takes at most %u argument%s: %s %s%s", name, takes->count, takes->count > 1 ? "s" : "", name, args,
                     option ? "; options of stoa itself stand before the command" : "");
}

/* Which of the signature's options a word names; option_count: none. */
static uint32_t option_at(const stoa_signature *takes, const char *word)
{
    uint32_t i = 0;
    while (i < takes->option_count && !word_is(word + 2, takes->options[i].name, takes->options[i].name_bytes)) { i++; }
    return i;
}

/* Take the option that words[*at] is, and what it is given. */
static stoa_err take_option(const stoa_signature *takes, const char *const *words, uint32_t count, uint32_t *at,
                            stoa_invocation *out)
{
    const stoa_command *command = out->command;
    uint32_t i = option_at(takes, words[*at]);
    if (i == takes->option_count) {
        return STOA_FAIL(STOA_E_INVALID, "%s has no option '%s'%s%s", command->name, words[*at],
                         takes->option_count ? ": " : "", takes->option_count ? command->args : "");
    }
    out->options[i] = "";
    const stoa_argument *argument = takes->options[i].takes;
    if (!argument) { return STOA_OK; }
    if (++*at == count) {
        return STOA_FAIL(STOA_E_INVALID, "%s needs <%s>: %s %s", words[*at - 1], argument->name, command->name, command->args);
    }
    out->options[i] = words[*at];
    return fits(argument, words[*at]) ? STOA_OK : misfit(argument, words[*at]);
}

const char *stoa_invocation_option(const stoa_invocation *said, const char *name)
{
    stoa_signature takes;
    stoa_command_signature(said->command, &takes);
    for (uint32_t i = 0; i < takes.option_count; i++) {
        if (word_is(name, takes.options[i].name, takes.options[i].name_bytes)) { return said->options[i]; }
    }
    return NULL;
}

bool stoa_command_writes(const stoa_invocation *said)
{
    stoa_signature takes;
    stoa_command_signature(said->command, &takes);
    switch (said->command->right) {
    case STOA_RIGHT_WRITE: return true;
    case STOA_RIGHT_SETS: return said->count > takes.required && !stoa_invocation_option(said, "plan");
    case STOA_RIGHT_PLANS: return !stoa_invocation_option(said, "plan");
    case STOA_RIGHT_READ: break;
    }
    return false;
}

stoa_err stoa_command_resolve(const char *const *words, uint32_t count, stoa_invocation *out)
{
    uint32_t used;
    stoa_signature takes;
    bool option = false;
    stoa_err err = STOA_OK;
    if (!count) { return STOA_FAIL(STOA_E_INVALID, "no command"); }
    const stoa_command *found = find(words, count, &used);
    if (!found) { return unknown(words, count); }
    stoa_invocation invocation = {.command = found};
    stoa_command_signature(found, &takes);
    for (uint32_t at = used; at < count && !err; at++) {
        if (strncmp(words[at], "--", 2) == 0) {
            err = take_option(&takes, words, count, &at, &invocation);
        } else {
            option |= words[at][0] == '-' && isalpha((unsigned char)words[at][1]);
            invocation.args[invocation.count++] = words[at];
        }
    }
    if (!err) { err = check_count(found, &takes, invocation.count, option); }
    for (uint32_t i = 0; i < invocation.count && !err; i++) {
        const stoa_argument *argument = takes.at[i < takes.count ? i : takes.count - 1];
        if (!fits(argument, invocation.args[i])) { err = misfit(argument, invocation.args[i]); }
    }
    if (!err) { *out = invocation; }
    return err;
}

/* --- help and the reference page */

static const char *right_text(stoa_right right)
{
    static const char *const texts[] = {[STOA_RIGHT_READ] = "read",
                                        [STOA_RIGHT_WRITE] = "write",
                                        [STOA_RIGHT_SETS] = "read; write to change",
                                        [STOA_RIGHT_PLANS] = "write; read to plan"};
    return texts[right];
}

static void help_command(stoa_doc *doc, const stoa_command *command)
{
    stoa_doc_text(doc, "name", command->name);
    stoa_doc_printf(doc, "usage", "%s%s%s", command->name, *command->args ? " " : "", command->args);
    stoa_doc_text(doc, "right", right_text(command->right));
    stoa_doc_text(doc, "since", command->since);
    stoa_doc_text(doc, "summary", command->summary);
}

static void help_all(stoa_doc *doc, stoa_buf *view)
{
    stoa_doc_open(doc, "commands", '[');
    for (size_t i = 0; i < COMMANDS; i++) {
        stoa_doc_open(doc, NULL, '{');
        help_command(doc, &commands[i]);
        stoa_doc_close(doc, '}');
    }
    stoa_doc_close(doc, ']');
    stoa_buf_puts(view, "table commands: usage=command, summary/wrap");
}

static void help_argument(stoa_doc *doc, const stoa_argument *argument)
{
    char text[256];
    stoa_buf buf = STOA_BUF_FIXED(text);
    print_takes(argument, &buf);
    stoa_doc_open(doc, NULL, '{');
    stoa_doc_text(doc, "name", argument->name);
    stoa_doc_text(doc, "takes", text);
    stoa_doc_text(doc, "summary", argument->summary);
    stoa_doc_close(doc, '}');
}

static void help_one(stoa_doc *doc, const stoa_command *command, stoa_buf *view)
{
    stoa_signature takes;
    stoa_command_signature(command, &takes);
    stoa_doc_open(doc, "command", '{');
    help_command(doc, command);
    stoa_doc_close(doc, '}');
    stoa_buf_puts(view, "fields command: usage, summary/wrap, right=needs, since");
    if (!takes.count && !takes.option_count) { return; }
    stoa_doc_open(doc, "arguments", '[');
    for (uint32_t i = 0; i < takes.count; i++) { help_argument(doc, takes.at[i]); }
    for (uint32_t i = 0; i < takes.option_count; i++) {
        if (takes.options[i].takes) { help_argument(doc, takes.options[i].takes); }
    }
    stoa_doc_close(doc, ']');
    stoa_buf_puts(view, "\ntable arguments: name=argument, takes, summary/wrap");
}

void stoa_command_help(const stoa_command *command, stoa_buf *document, stoa_buf *view)
{
    stoa_doc doc = stoa_doc_to(document);
    stoa_doc_open(&doc, NULL, '{');
    if (command) {
        help_one(&doc, command, view);
    } else {
        help_all(&doc, view);
    }
    stoa_doc_close(&doc, '}');
}

static void put_cell(stoa_buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|') { stoa_buf_puts(out, "\\"); }
        stoa_buf_put(out, text, 1);
    }
}

void stoa_command_docs(stoa_buf *out)
{
    stoa_buf_puts(out, "# Commands of `stoa`\n\nWritten by `stoa --dump-docs` from admin/commands.def.\n\n"
                       "| command | needs | since | |\n|---|---|---|---|\n");
    for (size_t i = 0; i < COMMANDS; i++) {
        const stoa_command *c = &commands[i];
        stoa_buf_printf(out, "| `%s%s%s` | %s | %s | %s |\n", c->name, *c->args ? " " : "", c->args,
                        right_text(c->right), c->since, c->summary);
    }
    stoa_buf_puts(out, "\n## Arguments\n\n| argument | takes | |\n|---|---|---|\n");
    for (size_t i = 0; i < ARGUMENTS; i++) {
        char text[256];
        stoa_buf takes = STOA_BUF_FIXED(text);
        print_takes(&arguments[i], &takes);
        stoa_buf_printf(out, "| %s | ", arguments[i].name);
        put_cell(out, text);
        stoa_buf_puts(out, " | ");
        put_cell(out, arguments[i].summary);
        stoa_buf_puts(out, " |\n");
    }
}

/* --- completion */

void stoa_candidates_add(stoa_candidates *candidates, const char *prefix, const char *name)
{
    size_t size_bytes = strlen(name);
    if (candidates->count == STOA_CANDIDATES_MAX || !size_bytes || size_bytes > STOA_WORD_MAX) { return; }
    if (strncmp(name, prefix, strlen(prefix)) != 0) { return; }
    memcpy(candidates->at[candidates->count++], name, size_bytes + 1);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void sort(stoa_candidates *candidates)
{
    uint32_t kept = 0;
    qsort(candidates->at, candidates->count, sizeof candidates->at[0], by_bytes);
    for (uint32_t i = 0; i < candidates->count; i++) {
        if (kept && strcmp(candidates->at[kept - 1], candidates->at[i]) == 0) { continue; }
        if (kept != i) { memcpy(candidates->at[kept], candidates->at[i], sizeof candidates->at[0]); }
        kept++;
    }
    candidates->count = kept;
}

/* The words of commands that may follow words[0..count), which are all of their names so far. */
static void complete_command(const char *const *words, uint32_t count, const char *prefix, stoa_candidates *out)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        char word[STOA_WORD_MAX + 1];
        uint32_t of, matching = matching_words(&commands[i], words, count, &of);
        const char *at = commands[i].name;
        if (matching < count || of <= count) { continue; }
        for (uint32_t skip = count; skip; skip--) { at = strchr(at, ' ') + 1; }
        size_t size_bytes = strcspn(at, " ");
        memcpy(word, at, size_bytes);
        word[size_bytes] = '\0';
        stoa_candidates_add(out, prefix, word);
    }
}

static void complete_argument(const stoa_argument *argument, const char *prefix, stoa_names names, void *context,
                              stoa_candidates *out)
{
    size_t size_bytes;
    const char *at;
    for (uint32_t i = 0; (at = choice(argument, i, &size_bytes)) != NULL; i++) {
        char word[STOA_WORD_MAX + 1];
        memcpy(word, at, size_bytes);
        word[size_bytes] = '\0';
        stoa_candidates_add(out, prefix, word);
    }
    if (argument->cls == STOA_ARGUMENT_TEXT && names && *argument->complete) {
        names(context, argument->complete, prefix, out);
    }
}

static void complete_option(const stoa_signature *takes, const char *prefix, stoa_candidates *out)
{
    for (uint32_t i = 0; i < takes->option_count; i++) {
        char word[STOA_WORD_MAX + 1] = "--";
        memcpy(word + 2, takes->options[i].name, takes->options[i].name_bytes);
        word[2 + takes->options[i].name_bytes] = '\0';
        stoa_candidates_add(out, prefix, word);
    }
}

/* Which argument follows these words, which stand behind the command: its number; *option_out: an option's, or NULL. */
static uint32_t next_argument(const stoa_signature *takes, const char *const *words, uint32_t count,
                              const stoa_argument **option_out)
{
    uint32_t at = 0;
    *option_out = NULL;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t option = strncmp(words[i], "--", 2) ? takes->option_count : option_at(takes, words[i]);
        const stoa_argument *argument = option < takes->option_count ? takes->options[option].takes : NULL;
        at += strncmp(words[i], "--", 2) != 0;
        i += argument != NULL;
        if (i == count) { *option_out = argument; }
    }
    return at;
}

static void complete_words(const char *const *words, uint32_t count, const char *prefix, stoa_names names,
                           void *context, stoa_candidates *out)
{
    uint32_t used;
    stoa_signature takes;
    complete_command(words, count, prefix, out);
    const stoa_command *command = count ? find(words, count, &used) : NULL;
    if (!command) { return; }
    stoa_command_signature(command, &takes);
    const stoa_argument *of_option;
    uint32_t at = next_argument(&takes, words + used, count - used, &of_option);
    if (of_option) {
        complete_argument(of_option, prefix, names, context, out);
        return;
    }
    if (*prefix == '-') {
        complete_option(&takes, prefix, out);
        return;
    }
    if (at >= takes.count && !(takes.more && takes.count)) { return; }
    const stoa_argument *argument = takes.at[at < takes.count ? at : takes.count - 1];
    if (strcmp(argument->complete, "commands") == 0) {
        complete_command(words + used, at, prefix, out);
    } else {
        complete_argument(argument, prefix, names, context, out);
    }
}

void stoa_complete(const char *line, size_t size_bytes, stoa_names names, void *context, stoa_candidates *out)
{
    stoa_words words = {0};
    const char *prefix = "";
    memset(out, 0, sizeof *out);
    out->from_bytes = size_bytes;
    if (stoa_words_split(line, size_bytes, &words)) { return; }
    bool begins = !size_bytes || line[size_bytes - 1] == ' ' || line[size_bytes - 1] == '\t';
    if (!begins && words.count) {
        prefix = words.at[--words.count];
        size_t prefix_bytes = strlen(prefix);
        if (prefix_bytes > size_bytes || memcmp(line + size_bytes - prefix_bytes, prefix, prefix_bytes) != 0) {
            return;
        }
        out->from_bytes = size_bytes - prefix_bytes; /* a word with quotes is left alone */
    } else if (!begins) {
        return; /* a comment */
    }
    complete_words(words.at, words.count, prefix, names, context, out);
    sort(out);
    out->whole = out->count == 1;
}

size_t stoa_candidates_common(const stoa_candidates *candidates)
{
    if (!candidates->count) { return 0; }
    const char *first = candidates->at[0], *last = candidates->at[candidates->count - 1];
    size_t common = 0;
    while (first[common] && first[common] == last[common]) { common++; }
    while (common && ((unsigned char)first[common] & 0xc0) == 0x80) { common--; } /* whole characters */
    return common;
}

/* --- misspelt words */

/* Optimal string alignment: Damerau-Levenshtein in which no part is edited twice. Three rows are enough. */
uint32_t stoa_word_distance(const char *a, const char *b)
{
    size_t a_bytes = strnlen(a, STOA_WORD_MAX + 1), b_bytes = strnlen(b, STOA_WORD_MAX + 1);
    uint32_t rows[3][STOA_WORD_MAX + 1] = {{0}};
    if (a_bytes > STOA_WORD_MAX || b_bytes > STOA_WORD_MAX) { return UINT32_MAX; }
    for (size_t j = 0; j <= b_bytes; j++) { rows[0][j] = (uint32_t)j; }
    for (size_t i = 1; i <= a_bytes; i++) {
        uint32_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *higher = rows[(i + 1) % 3];
        row[0] = (uint32_t)i;
        for (size_t j = 1; j <= b_bytes; j++) {
            int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
            uint32_t best = above[j - 1] + (x != y);
            if (above[j] + 1 < best) { best = above[j] + 1; }
            if (row[j - 1] + 1 < best) { best = row[j - 1] + 1; }
            bool swapped = i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]);
            swapped = swapped && y == tolower((unsigned char)a[i - 2]);
            if (swapped && higher[j - 2] + 1 < best) { best = higher[j - 2] + 1; }
            row[j] = best;
        }
    }
    return rows[a_bytes % 3][b_bytes];
}

bool stoa_word_near(const char *a, const char *b, uint32_t distance)
{
    size_t shorter = strlen(a) < strlen(b) ? strlen(a) : strlen(b);
    return distance <= 2 && distance < shorter;
}
