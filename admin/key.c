/* key.c - the commands `key ...`. See key.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "admin/key.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "admin/document.h"
#include "base/clock.h"
#include "base/config.h"
#include "transport/key_list.h"

enum { NAMES_MAX = 1024 };

/* --- what is said */

bool stoa_key_command_is(const stoa_command *command)
{
    return strncmp(command->name, "key ", 4) == 0;
}

static bool key_looks(const char *text)
{
    static const char z85[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
    return strlen(text) == STOA_KEY_TEXT_BYTES - 1 && strspn(text, z85) == STOA_KEY_TEXT_BYTES - 1;
}

stoa_err stoa_key_said(const char *text, char *key_out)
{
    bool marked = strncmp(text, "z85:", 4) == 0;
    if (!marked && !key_looks(text)) {
        stoa_err err = stoa_key_load_public(text, key_out);
        return err == STOA_E_NOT_FOUND ? STOA_FAIL(err, "'%s' is neither a public key's 40 characters nor a file that is there", text) : err;
    }
    text += marked ? 4 : 0;
    if (!key_looks(text)) { return STOA_FAIL(STOA_E_INVALID, "a public key is 40 characters of Z85"); }
    memcpy(key_out, text, STOA_KEY_TEXT_BYTES);
    return STOA_OK;
}

static stoa_err overlap_said(const stoa_invocation *said, uint64_t *out)
{
    static const stoa_config_row row = {.path = "overlap", .cls = STOA_CONFIG_DURATION, .min = 0, .max = INT64_C(366) * 86400 * 1000000000};
    const char *text = stoa_invocation_option(said, "overlap"), *why = "";
    *out = STOA_S(86400);
    if (!text || !stoa_config_parse_value(&row, text, out, &why)) { return STOA_OK; }
    return STOA_FAIL(STOA_E_INVALID, "--overlap %s %s", text, why);
}

static const stoa_key_user *user_of(const stoa_key_place *place, const char *name)
{
    for (uint32_t i = 0; i < place->user_count; i++) {
        if (strcmp(place->users[i].name, name) == 0) { return &place->users[i]; }
    }
    return NULL;
}

/* The key in the file that the settings name for it; NULL: they name none. */
static const char *file_key(const stoa_key_place *place, const char *name, char key[STOA_KEY_TEXT_BYTES])
{
    const stoa_key_user *user = user_of(place, name);
    return user && user->file && !stoa_key_load_public(user->file, key) ? key : NULL;
}

/* --- show */

typedef struct shown {
    const stoa_key_place *place;
    const stoa_key_list *list;
    stoa_doc doc;
    uint32_t count;
} shown;

/* How the secret half's file is, if it is here. */
static void put_mode(stoa_doc *doc, const char *path)
{
    struct stat found;
    char file[PATH_MAX];
    (void)snprintf(file, sizeof file, "%.*s.key", PATH_MAX - 8, path);
    bool there = stat(file, &found) == 0;
    if (there) {
        stoa_doc_printf(doc, "mode", "%04o", (unsigned)found.st_mode & 07777U);
    } else {
        stoa_doc_null(doc, "mode");
    }
    stoa_doc_text(doc, "fault", there && found.st_mode & 077U ? "others may read the secret half: chmod 600" : NULL);
}

/* How long a key is there, and when it begins or ends to count; 0: it does already, or never. */
typedef struct times {
    uint64_t since_ns, from_ns, until_ns;
} times;

static void put_time(stoa_doc *doc, const char *key, uint64_t wall_ns)
{
    if (wall_ns) {
        stoa_doc_uint(doc, key, wall_ns);
    } else {
        stoa_doc_null(doc, key);
    }
}

static void put_times(const shown *s, stoa_doc *doc, const times *at)
{
    put_time(doc, "since_ns", at->since_ns);
    stoa_doc_uint(doc, "age_ns", s->place->now_ns > at->since_ns ? s->place->now_ns - at->since_ns : 0);
    put_time(doc, "from_ns", at->from_ns);
    put_time(doc, "until_ns", at->until_ns);
}

static void put_key(shown *s, const char *name, const char *key, const char *standing, const char *path, const times *at)
{
    char print[STOA_KEY_PRINT_BYTES];
    const stoa_key_user *user = user_of(s->place, name);
    bool own = strcmp(name, STOA_KEY_SERVER) == 0;
    stoa_key_print(key, print);
    stoa_doc_open(&s->doc, NULL, '{');
    stoa_doc_text(&s->doc, "name", name);
    stoa_doc_text(&s->doc, "use", own ? "node" : user ? user->use : s->place->users ? "none" : NULL);
    stoa_doc_text(&s->doc, "standing", standing);
    stoa_doc_text(&s->doc, "key", key);
    stoa_doc_text(&s->doc, "fingerprint", print);
    put_times(s, &s->doc, at);
    if (path) {
        put_mode(&s->doc, path);
    } else {
        stoa_doc_null(&s->doc, "mode");
        stoa_doc_null(&s->doc, "fault");
    }
    stoa_doc_close(&s->doc, '}');
    s->count++;
}

static bool name_ended(const shown *s, const char *name)
{
    char keys[STOA_KEYS_PER_NAME][STOA_KEY_TEXT_BYTES];
    char probe[STOA_KEY_TEXT_BYTES] = "";
    return stoa_key_list_keys(s->list, name, probe, s->place->now_ns, keys) == 0 || keys[0][0];
}

/* When the node's next key takes over; 0: there is none. */
static uint64_t next_from_ns(const shown *s)
{
    for (uint32_t i = 0; i < s->list->count; i++) {
        if (s->list->rows[i].standing == STOA_KEY_NEXT) { return s->list->rows[i].until_ns; }
    }
    return 0;
}

/* The key in the name's file; "" where there is none. What a row says of it counts. */
static void show_file(shown *s, const char *name, char key[STOA_KEY_TEXT_BYTES])
{
    char base[PATH_MAX], path[PATH_MAX];
    struct stat found;
    const stoa_key_user *user = user_of(s->place, name);
    bool elsewhere = user && user->file;
    (void)snprintf(base, sizeof base, "%.*s/%s", PATH_MAX - 64, s->place->folder, name);
    (void)snprintf(path, sizeof path, "%.*s%s", PATH_MAX - 8, elsewhere ? user->file : base, elsewhere ? "" : ".pub");
    key[0] = '\0';
    if (stoa_key_load_public(path, key) || stat(path, &found)) { return; }
    const stoa_key_row *row = stoa_key_list_of(s->list, key);
    bool own = strcmp(name, STOA_KEY_SERVER) == 0;
    const char *standing = own ? "own" : row ? stoa_key_standing_name(row->standing) : name_ended(s, name) ? "revoked" : "allowed";
    times at = {.since_ns = STOA_S(found.st_mtim.tv_sec), .until_ns = own ? next_from_ns(s) : row ? row->until_ns : 0};
    if (row && row->since_ns && row->since_ns < at.since_ns) { at.since_ns = row->since_ns; }
    put_key(s, name, key, standing, elsewhere ? NULL : base, &at);
}

static void show_name(shown *s, const char *name)
{
    char key[STOA_KEY_TEXT_BYTES], base[PATH_MAX];
    show_file(s, name, key);
    for (uint32_t i = 0; i < s->list->count; i++) {
        const stoa_key_row *row = &s->list->rows[i];
        if (strcmp(row->name, name) != 0 || !row->key[0] || strcmp(row->key, key) == 0) { continue; }
        (void)snprintf(base, sizeof base, "%.*s/%s.next", PATH_MAX - 64, s->place->folder, name);
        bool next = row->standing == STOA_KEY_NEXT;
        times at = {.since_ns = row->since_ns, .from_ns = next ? row->until_ns : 0, .until_ns = next ? 0 : row->until_ns};
        put_key(s, name, row->key, stoa_key_standing_name(row->standing), next ? base : NULL, &at);
    }
}

typedef char key_name[STOA_KEY_NAME_MAX + 1];

static void note_name(key_name *names, uint32_t *count, const char *name, size_t length)
{
    if (*count == NAMES_MAX || length == 0 || length > STOA_KEY_NAME_MAX) { return; }
    for (uint32_t i = 0; i < *count; i++) {
        if (strncmp(names[i], name, length) == 0 && !names[i][length]) { return; }
    }
    memcpy(names[*count], name, length);
    names[(*count)++][length] = '\0';
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* All names that a file, a row or the settings have. */
static uint32_t list_names(const shown *s, key_name *names)
{
    uint32_t count = 0;
    DIR *folder = opendir(s->place->folder);
    for (const struct dirent *file; folder && (file = readdir(folder)) != NULL;) {
        size_t length = strcspn(file->d_name, ".");
        if (strcmp(file->d_name + length, ".pub") == 0) { note_name(names, &count, file->d_name, length); }
    }
    if (folder) { (void)closedir(folder); }
    for (uint32_t i = 0; i < s->list->count; i++) { note_name(names, &count, s->list->rows[i].name, strlen(s->list->rows[i].name)); }
    for (uint32_t i = 0; i < s->place->user_count; i++) { note_name(names, &count, s->place->users[i].name, strlen(s->place->users[i].name)); }
    qsort(names, count, sizeof *names, compare_names);
    return count;
}

static stoa_err show_all(shown *s)
{
    key_name *names = calloc(NAMES_MAX, sizeof *names);
    uint32_t count = names ? list_names(s, names) : 0;
    for (uint32_t i = 0; i < count; i++) { show_name(s, names[i]); }
    free(names);
    return names ? STOA_OK : STOA_FAIL(STOA_E_NOMEM, "names of keys");
}

static stoa_err run_show(const stoa_key_place *place, const stoa_invocation *said, stoa_buf *document, stoa_buf *view)
{
    struct stat found;
    stoa_key_list list;
    const char *name = said->count ? said->args[0] : NULL;
    if (stat(place->folder, &found)) { return STOA_FAIL(STOA_E_NOT_FOUND, "folder of keys %s: %s", place->folder, strerror(errno)); }
    stoa_err err = stoa_key_list_read(place->folder, &list);
    if (err) { return err; }
    shown s = {.place = place, .list = &list, .doc = stoa_doc_to(document)};
    stoa_doc_open(&s.doc, NULL, '{');
    stoa_doc_text(&s.doc, "folder", place->folder);
    stoa_doc_open(&s.doc, "keys", '[');
    if (name) {
        show_name(&s, name);
    } else {
        err = show_all(&s);
    }
    stoa_doc_close(&s.doc, ']');
    stoa_doc_close(&s.doc, '}');
    stoa_buf_puts(view, "table keys: name, use, standing, fingerprint?, mode, age_ns=age/ns, from_ns=takes over/time?, until_ns=until/time, key?, fault?");
    stoa_key_list_free(&list);
    if (err || !name || s.count) { return err; }
    stoa_buf_clear(document);
    stoa_buf_clear(view);
    return STOA_FAIL(STOA_E_NOT_FOUND, "there is no key of %s in %s", name, place->folder);
}

/* --- what a change came to */

typedef struct outcome {
    const char *name, *file;
    const stoa_key_change *change;
    char says[512];
} outcome;

static void put_outcome(const stoa_key_place *place, const outcome *o, stoa_buf *document, stoa_buf *view)
{
    char print[STOA_KEY_PRINT_BYTES];
    stoa_doc doc = stoa_doc_to(document);
    const stoa_key_change *change = o->change;
    stoa_doc_open(&doc, NULL, '{');
    stoa_doc_open(&doc, "key", '{');
    stoa_doc_text(&doc, "name", o->name);
    stoa_key_print(change->key, print);
    stoa_doc_text(&doc, "key", change->key[0] ? change->key : NULL);
    stoa_doc_text(&doc, "fingerprint", change->key[0] ? print : NULL);
    if (o->file) {
        stoa_doc_printf(&doc, "file", "%s/%s", place->folder, o->file);
    } else {
        stoa_doc_null(&doc, "file");
    }
    stoa_doc_open(&doc, "old", '[');
    for (uint32_t i = 0; i < change->old_count && i < STOA_KEYS_ENDED_SHOWN; i++) { stoa_doc_text(&doc, NULL, change->old[i]); }
    stoa_doc_close(&doc, ']');
    stoa_doc_open(&doc, "old_fingerprints", '[');
    for (uint32_t i = 0; i < change->old_count && i < STOA_KEYS_ENDED_SHOWN; i++) {
        stoa_key_print(change->old[i], print);
        stoa_doc_text(&doc, NULL, print);
    }
    stoa_doc_close(&doc, ']');
    if (change->until_ns) {
        stoa_doc_uint(&doc, "until_ns", change->until_ns);
    } else {
        stoa_doc_null(&doc, "until_ns");
    }
    stoa_doc_text(&doc, "outcome", o->says);
    stoa_doc_close(&doc, '}');
    stoa_doc_close(&doc, '}');
    stoa_buf_puts(view, "fields key: name, key, fingerprint, file, old_fingerprints=old keys, until_ns=old until/time, outcome/wrap");
}

/* What follows from letting the name in, as far as the settings are known. */
static const char *who_is(const stoa_key_place *place, const char *name)
{
    const stoa_key_user *user = user_of(place, name);
    if (strcmp(name, STOA_KEY_SERVER) == 0) { return "it is the node's own from its next start on, and server.pub is for the others"; }
    if (!place->users) { return "no stoad answers here: it counts from its next start on, where its settings have a client or a link of that name; for a program of one's own from its next look on"; }
    return user ? "the node has it at once" : "but the settings have no client and no link of that name: nobody gets in by it until they do";
}

/* Let in by the list, whatever a file says. */
static bool is_listed(const stoa_key_place *place, const char *key)
{
    stoa_key_list list = {0};
    bool listed = !stoa_key_list_read(place->folder, &list) && stoa_key_list_of(&list, key);
    stoa_key_list_free(&list);
    return listed;
}

static stoa_err run_new(const stoa_key_place *place, const stoa_invocation *said, stoa_buf *document, stoa_buf *view)
{
    stoa_key_change change = {0};
    const char *name = said->args[0];
    char file[STOA_KEY_NAME_MAX + 8];
    outcome o = {.name = name, .file = file, .change = &change};
    const stoa_key_user *user = user_of(place, name);
    stoa_err err = stoa_keys_new(place->folder, name, place->now_ns, &change);
    if (err) { return err; }
    (void)snprintf(file, sizeof file, "%s.key", name);
    (void)snprintf(o.says, sizeof o.says, "made, the secret half with mode 0600; %s",
                   user && user->file && !is_listed(place, change.key) ? "the settings name another file for it, so it is let in with key allow only" : who_is(place, name));
    put_outcome(place, &o, document, view);
    return STOA_OK;
}

/* It is another name's: what can be done about it. */
static stoa_err whose(const stoa_key_place *place, const char *name, const char *key)
{
    stoa_key_list list = {0};
    const stoa_key_row *row = stoa_key_list_read(place->folder, &list) ? NULL : stoa_key_list_of(&list, key);
    const stoa_key_user *user = row ? user_of(place, row->name) : NULL;
    stoa_err err = STOA_E_EXISTS; /* a pair's: the trail says so */
    if (user) { err = STOA_FAIL(err, "this key is %s's, a %s of the settings, and stays its own: make another one for %s", user->name, user->use, name); }
    if (row && !user) { err = STOA_FAIL(err, "this key is %s's; if that was a mistake: key allow %s KEY --from %s", row->name, name, row->name); }
    stoa_key_list_free(&list);
    return err;
}

static stoa_err run_allow(const stoa_key_place *place, const stoa_invocation *said, stoa_buf *document, stoa_buf *view)
{
    stoa_key_change change = {0};
    char key[STOA_KEY_TEXT_BYTES], by_file[STOA_KEY_TEXT_BYTES];
    outcome o = {.name = said->args[0], .change = &change};
    const char *from = stoa_invocation_option(said, "from");
    const stoa_key_user *user = from ? user_of(place, from) : NULL;
    stoa_err err = stoa_key_said(said->args[1], key);
    if (!err && user) { err = STOA_FAIL(STOA_E_EXISTS, "%s is a %s of the settings, so its keys are its own for ever: make another one", from, user->use); }
    if (!err) { err = stoa_keys_allow(place->folder, o.name, key, from, file_key(place, o.name, by_file), place->now_ns, &change); }
    if (err == STOA_E_EXISTS && !from) { err = whose(place, o.name, key); }
    if (err) { return err; }
    int used = snprintf(o.says, sizeof o.says, "let in as %s; %s", o.name, who_is(place, o.name));
    if (from && used < (int)sizeof o.says) {
        (void)snprintf(o.says + used, sizeof o.says - (size_t)used, "; it is %s's no more%s", from,
                       place->users ? ", which is a name that the settings do not have" : "; whether the settings know that name is not seen without a node");
    }
    put_outcome(place, &o, document, view);
    return STOA_OK;
}

static stoa_err run_revoke(const stoa_key_place *place, const stoa_invocation *said, stoa_buf *document, stoa_buf *view)
{
    stoa_key_change change = {0};
    char key[STOA_KEY_TEXT_BYTES], given[STOA_KEY_TEXT_BYTES];
    outcome o = {.name = said->args[0], .change = &change};
    bool plan = stoa_invocation_option(said, "plan") != NULL, one = said->count > 1;
    stoa_err err = one ? stoa_key_said(said->args[1], given) : STOA_OK;
    if (!err) { err = stoa_keys_revoke(place->folder, o.name, one ? given : NULL, file_key(place, o.name, key), place->now_ns, plan, &change); }
    if (err) { return err; }
    (void)snprintf(o.says, sizeof o.says, "%s: %u %s revoked, for ever; what %s has open%s is cut off%s", plan ? "would be" : "done",
                   change.old_count, change.old_count == 1 ? "key is" : "keys are", o.name, one ? " by it" : "",
                   place->users ? "" : " when a node runs here");
    put_outcome(place, &o, document, view);
    return STOA_OK;
}

static void say_rotation(outcome *o, bool plan, bool given)
{
    char until[STOA_TIME_TEXT_MAX];
    const char *done = plan ? "would be" : "done";
    stoa_time_print(o->change->until_ns, until);
    if (strcmp(o->name, STOA_KEY_SERVER) == 0 && o->change->until_ns) {
        (void)snprintf(o->says, sizeof o->says,
                       "%s: the next key is in server.next.pub, for who connects to keep beside the present one; it takes over at %s, by itself", done, until);
    } else if (strcmp(o->name, STOA_KEY_SERVER) == 0) {
        (void)snprintf(o->says, sizeof o->says, "%s: it takes over at once; who connects needs the new server.pub", done);
    } else {
        (void)snprintf(o->says, sizeof o->says, "%s: %s gets in by %s key; %u old %s at %s", done, o->name, given ? "the given" : "a new",
                       o->change->old_count, o->change->old_count == 1 ? "one ends" : "ones end", o->change->until_ns ? until : "once");
    }
    if (o->change->sooner_ns) {
        size_t used = strlen(o->says);
        stoa_time_print(o->change->sooner_ns, until);
        (void)snprintf(o->says + used, sizeof o->says - used, ", and not at %s as was said before", until);
    }
}

static stoa_err run_rotate(const stoa_key_place *place, const stoa_invocation *said, stoa_buf *document, stoa_buf *view)
{
    stoa_key_change change = {0};
    uint64_t overlap_ns = 0;
    char given[STOA_KEY_TEXT_BYTES], key[STOA_KEY_TEXT_BYTES], file[STOA_KEY_NAME_MAX + 16];
    const char *name = said->args[0], *new_key = said->count > 1 ? given : NULL;
    bool plan = stoa_invocation_option(said, "plan") != NULL;
    stoa_err err = overlap_said(said, &overlap_ns);
    if (!err && new_key) { err = stoa_key_said(said->args[1], given); }
    if (!err) { err = stoa_keys_rotate(place->folder, name, new_key, file_key(place, name, key), overlap_ns, place->now_ns, plan, &change); }
    if (err) { return err; }
    bool next = strcmp(name, STOA_KEY_SERVER) == 0 && change.until_ns;
    (void)snprintf(file, sizeof file, "%s%s", name, next ? ".next.pub" : ".key");
    outcome o = {.name = name, .file = plan || new_key ? NULL : file, .change = &change};
    say_rotation(&o, plan, new_key != NULL);
    put_outcome(place, &o, document, view);
    return STOA_OK;
}

static const struct {
    stoa_command_id id;
    stoa_err (*run)(const stoa_key_place *place, const stoa_invocation *said, stoa_buf *document, stoa_buf *view);
} runs[] = {
    {STOA_COMMAND_key_new, run_new},       {STOA_COMMAND_key_show, run_show},     {STOA_COMMAND_key_allow, run_allow},
    {STOA_COMMAND_key_revoke, run_revoke}, {STOA_COMMAND_key_rotate, run_rotate},
};

stoa_err stoa_key_command_run(const stoa_key_place *place, const stoa_invocation *said, stoa_buf *document, stoa_buf *view,
                              bool *changed_out)
{
    size_t i = 0;
    while (runs[i].id != said->command->id) { i++; }
    *changed_out = stoa_command_writes(said);
    return runs[i].run(place, said, document, view);
}
