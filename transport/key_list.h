/* key_list.h - whose keys may connect: a list beside the pairs of a folder, and what changes both: new, allow, revoke, rotate.
 *
 *     FOLDER/NAME.key, NAME.pub        a pair (keys.h); NAME.pub alone: the secret half is with who uses it
 *     FOLDER/server.key, server.pub    the node's own pair
 *     FOLDER/NAME.next.key, .next.pub  a pair on its way: of NAME for a moment, of the node until it takes over
 *     FOLDER/allowed                   the list, a line a row, oldest first: NAME KEY STANDING SINCE UNTIL
 *
 * What holds: a key belongs to one name for ever, but that a mistaken name can be taken back. The key in NAME.pub lets NAME in without a row, unless a row says otherwise. A key
 * whose time is over is revoked, and a revoked one never comes back. A row without a key (-) revokes the name: from then on NAME gets in by
 * its rows alone. server has at most one row, `next`: the key that takes over at the time it names.
 *
 * The list is replaced whole (written beside, synced, renamed), by one at a time: each function that changes something holds a lock on the
 * folder. A change that a crash has cut in two is finished, or taken back, by the next one and by stoa_keys_settle.
 * Nothing secret is in the list. Who can write it lets in whom he likes: a list that others may write is refused.
 *
 * Limits: STOA_KEYS_PER_NAME keys of a name at once; STOA_KEY_ROWS_MAX rows, and STOA_KEY_ROWS_KEPT more for what ends: a list that lets in
 * nobody more can still revoke. A name that has more keys (by hand, or by a file put there behind its rows) gets in by the first of them, and
 * loses all. All functions read or write the disk; any thread.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_TRANSPORT_KEY_LIST_H
#define STOA_TRANSPORT_KEY_LIST_H

#include "transport/keys.h"

enum { STOA_KEY_NAME_MAX = 30, STOA_KEY_ROWS_MAX = 4096, STOA_KEY_ROWS_KEPT = 1024, STOA_KEYS_PER_NAME = 4, STOA_KEYS_ENDED_SHOWN = 16 };

#define STOA_KEY_SERVER "server" /* the name of the node's own pair */

typedef enum stoa_key_standing { STOA_KEY_ALLOWED, STOA_KEY_REVOKED, STOA_KEY_NEXT } stoa_key_standing;
/* "allowed", "revoked", "next" */
const char *stoa_key_standing_name(stoa_key_standing standing);

typedef struct stoa_key_row {
    char name[STOA_KEY_NAME_MAX + 1];
    char key[STOA_KEY_TEXT_BYTES]; /* "": the name itself (revoked) */
    stoa_key_standing standing;
    uint64_t since_ns, until_ns; /* UTC, whole seconds; since: made, or let in; until 0: for good */
} stoa_key_row;

typedef struct stoa_key_list {
    stoa_key_row *rows;
    uint32_t count;
} stoa_key_list;

/* The folder's list; none is an empty one. Errors: DENIED (others may write it), MALFORMED (the trail names the line), NOMEM, IO. */
stoa_err stoa_key_list_read(const char *folder, stoa_key_list *out);
void stoa_key_list_free(stoa_key_list *list);

/* What it says of a key; NULL: nothing. */
const stoa_key_row *stoa_key_list_of(const stoa_key_list *list, const char *key);
bool stoa_key_list_knows(const stoa_key_list *list, const char *name); /* whether it has a row of that name */

/* The keys by which name gets in at a time: file_key (NULL: there is no file) where no row is against it, then the rows'. Returns
 * how many, at most STOA_KEYS_PER_NAME. */
uint32_t stoa_key_list_keys(const stoa_key_list *list, const char *name, const char *file_key, uint64_t now_ns,
                            char keys_out[STOA_KEYS_PER_NAME][STOA_KEY_TEXT_BYTES]);

/* A name: 1 to STOA_KEY_NAME_MAX letters, digits, - and _. */
bool stoa_key_name_good(const char *name);
/* Five groups of four hexadecimal digits of a public key's hash, for people to compare. */
enum { STOA_KEY_PRINT_BYTES = 25 };
void stoa_key_print(const char *key, char text[STOA_KEY_PRINT_BYTES]);

/* --- changes. now_ns is UTC. plan: only say what would be, in full. */

typedef struct stoa_key_change {
    char key[STOA_KEY_TEXT_BYTES];     /* made or let in; "" none */
    char old[STOA_KEYS_ENDED_SHOWN][STOA_KEY_TEXT_BYTES]; /* that end, or have ended: the first of them */
    uint32_t old_count;                                  /* of all */
    uint64_t until_ns; /* rotate: when the old ones end, or the node's next one takes over; 0: at once */
    uint64_t sooner_ns; /* rotate: an old one was to end then, which is later than it will now; 0: none was */
} stoa_key_change;

/* Make the pair NAME. One whose key was revoked is replaced; who was revoked gets in by the new one. Errors: EXISTS, INVALID (name), FULL
 * (who was revoked: keys of the name, rows), and those of stoa_key_save. */
stoa_err stoa_keys_new(const char *folder, const char *name, uint64_t now_ns, stoa_key_change *out);
/* Let key in as name. from: the name that it was let in as by mistake, allowed or revoked, and is no more (NULL: none); the caller knows that
 * nobody has that name. file_key: of a key file elsewhere that is the name's and counts instead of FOLDER/NAME.pub, or NULL. Errors: INVALID (name, key, a secret half that is known here), NOT_FOUND (it is not from's), EXISTS (it is another
 * name's), DENIED (it was revoked), FULL (keys of the name, rows). */
stoa_err stoa_keys_allow(const char *folder, const char *name, const char *key, const char *from, const char *file_key, uint64_t now_ns,
                         stoa_key_change *out);
/* Let name in no more, by whatever key it has; or by key only (NULL: all), where it has another one. file_key: as above. Errors:
 * NOT_FOUND, INVALID (name; its only key), FULL (also the rows that are kept for this). */
stoa_err stoa_keys_revoke(const char *folder, const char *name, const char *key, const char *file_key, uint64_t now_ns, bool plan,
                          stoa_key_change *out);
/* Give name another key, a fresh pair's or the one given; those it has end overlap_ns later. Of the node itself: the fresh pair is announced
 * (server.next.pub) and takes over overlap_ns later; again: at that time instead. Errors: NOT_FOUND (no key of that name, or none whose
 * secret half is here), DENIED (the key was revoked, or the name, and no key let in since), EXISTS (the key is another name's), FULL, INVALID. */
stoa_err stoa_keys_rotate(const char *folder, const char *name, const char *key, const char *file_key, uint64_t overlap_ns,
                          uint64_t now_ns, bool plan, stoa_key_change *out);
/* Do what is due: keys whose time is over are revoked, the node's next pair takes over. next_ns_out: when something is due next,
 * UINT64_MAX never. */
stoa_err stoa_keys_settle(const char *folder, uint64_t now_ns, uint64_t *next_ns_out);

#endif
