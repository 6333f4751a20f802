/* trie.c - names and patterns in one tree by segments. See topic.h.
 *
 * A word is found by one look into a hash table with its parent and its text; the list of children serves the walks of '*' and
 * '>'. A walk down a name goes at most three ways at each word (the segment, '*', '>'), and only where there are patterns.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "runtime/topic.h"

stoa_err stoa_words_init(stoa_words *words)
{
    *words = (stoa_words){.root = calloc(1, sizeof(stoa_word))};
    if (!words->root) { return STOA_FAIL(STOA_E_NOMEM, "words"); }
    return stoa_chains_init(&words->chains, 256);
}

void stoa_words_deinit(stoa_words *words)
{
    for (uint32_t i = 0; i < words->chains.size; i++) {
        while (words->chains.at[i]) {
            stoa_link *link = words->chains.at[i];
            words->chains.at[i] = link->next;
            free(link);
        }
    }
    stoa_chains_deinit(&words->chains);
    free(words->root);
}

static size_t segment(const char *text)
{
    return strcspn(text, ".");
}

/* What follows the segment of len bytes; NULL: it was the last. */
static const char *rest_of(const char *text, size_t len)
{
    return text[len] ? text + len + 1 : NULL;
}

static bool is_wild(const stoa_word *word)
{
    return word->len == 1 && (word->text[0] == '*' || word->text[0] == '>');
}

static uint64_t hash_of(const stoa_word *parent, const char *text, size_t len)
{
    return stoa_hash64((uint64_t)(uintptr_t)parent, text, len);
}

static stoa_word *child_of(const stoa_words *words, const stoa_word *parent, const char *text, size_t len)
{
    uint64_t hash = hash_of(parent, text, len);
    for (stoa_link *link = stoa_chains_first(&words->chains, hash); link; link = link->next) {
        stoa_word *word = (stoa_word *)link;
        if (link->hash == hash && word->parent == parent && word->len == len && memcmp(word->text, text, len) == 0) {
            return word;
        }
    }
    return NULL;
}

stoa_word *stoa_words_find(stoa_words *words, const char *text)
{
    stoa_word *word = words->root;
    while (text && word) {
        size_t len = segment(text);
        word = child_of(words, word, text, len);
        text = rest_of(text, len);
    }
    return word;
}

static stoa_word *child_new(stoa_words *words, stoa_word *parent, const char *text, size_t len)
{
    stoa_word *word = calloc(1, sizeof *word + len);
    if (!word) { return NULL; }
    memcpy(word->text, text, len);
    word->len = (uint8_t)len;
    word->parent = parent;
    word->next = parent->child;
    if (parent->child) { parent->child->previous = word; }
    parent->child = word;
    stoa_chains_add(&words->chains, &word->link, hash_of(parent, text, len));
    return word;
}

stoa_word *stoa_words_make(stoa_words *words, const char *text)
{
    stoa_word *word = words->root;
    while (text) {
        size_t len = segment(text);
        stoa_word *child = child_of(words, word, text, len);
        if (!child) { child = child_new(words, word, text, len); }
        if (!child) {
            stoa_words_prune(words, word);
            return NULL;
        }
        word = child;
        text = rest_of(text, len);
    }
    return word;
}

void stoa_words_prune(stoa_words *words, stoa_word *word)
{
    while (word->parent && !word->child && !word->topic && !word->audience) {
        stoa_word *parent = word->parent;
        if (word->next) { word->next->previous = word->previous; }
        if (word->previous) {
            word->previous->next = word->next;
        } else {
            parent->child = word->next;
        }
        stoa_chains_remove(&words->chains, &word->link);
        free(word);
        word = parent;
    }
}

/* --- walks; as deep as a name has segments */

static stoa_err visit_below(stoa_word *word, stoa_word_visit visit, void *context)
{
    stoa_err err = STOA_OK;
    for (stoa_word *child = word->child; child && !err; child = child->next) {
        if (is_wild(child)) { continue; }
        if (child->topic) { err = visit(context, child); }
        if (!err) { err = visit_below(child, visit, context); }
    }
    return err;
}

static stoa_err visit_topics(stoa_words *words, stoa_word *word, const char *pattern, stoa_word_visit visit, void *context)
{
    if (!pattern) { return word->topic ? visit(context, word) : STOA_OK; }
    size_t len = segment(pattern);
    const char *rest = rest_of(pattern, len);
    if (len == 1 && *pattern == '>') { return visit_below(word, visit, context); }
    if (len != 1 || *pattern != '*') {
        stoa_word *child = child_of(words, word, pattern, len);
        return child ? visit_topics(words, child, rest, visit, context) : STOA_OK;
    }
    stoa_err err = STOA_OK;
    for (stoa_word *child = word->child; child && !err; child = child->next) {
        if (!is_wild(child)) { err = visit_topics(words, child, rest, visit, context); }
    }
    return err;
}

stoa_err stoa_words_topics(stoa_words *words, const char *pattern, stoa_word_visit visit, void *context)
{
    return visit_topics(words, words->root, pattern, visit, context);
}

static stoa_err visit_audiences(stoa_words *words, stoa_word *word, const char *name, stoa_word_visit visit, void *context)
{
    if (!name) { return word->audience ? visit(context, word) : STOA_OK; }
    size_t len = segment(name);
    const char *rest = rest_of(name, len);
    stoa_word *all = child_of(words, word, ">", 1), *any = child_of(words, word, "*", 1);
    stoa_word *child = child_of(words, word, name, len);
    stoa_err err = all && all->audience ? visit(context, all) : STOA_OK;
    if (!err && any) { err = visit_audiences(words, any, rest, visit, context); }
    if (!err && child) { err = visit_audiences(words, child, rest, visit, context); }
    return err;
}

stoa_err stoa_words_audiences(stoa_words *words, const char *name, stoa_word_visit visit, void *context)
{
    return visit_audiences(words, words->root, name, visit, context);
}
