/* stand.h - actors that stand for others that are elsewhere, and a port that speaks for those: what cluster/remote/ needs of a node.
 *
 * A stand is an actor of this node in every way: it can be found, sent to, asked, monitored and linked to, and has a bounded
 * mailbox. Its turns hand what it gets to a port, with who sent it, who asked and until when (stoa_delivery.passed). The port
 * sends in the name of stands, so that who hears knows whom to answer and whom to watch. What becomes of links to it the port is told
 * of by rows of stoa_stand, past its mailbox: whose link it is is the sender.
 *
 * All calls by the port's thread, outside of turns. Those that say so wait for a core (at most one batch of it).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_RUNTIME_STAND_H
#define STOA_RUNTIME_STAND_H

#include "base/clock.h"
#include "runtime/node.h"

#define stoa_stand_linked_FIELDS   STOA_NO_FIELDS
#define stoa_stand_unlinked_FIELDS STOA_NO_FIELDS
#define stoa_stand_over_FIELDS(F, S)                                                                                   \
    F(S, stoa_text62, text) F(S, stoa_end, why) F(S, uint8_t, pad0) F(S, uint16_t, pad1) F(S, uint32_t, pad2)
#define stoa_stand_ROWS(ROW, K)                                                                                        \
    ROW(K, CAST, linked, _, "To the port: the sender has linked itself to who is stood for.")                          \
    ROW(K, CAST, unlinked, _, "To the port: there is no link between the two any more, whoever made it.")              \
    ROW(K, CAST, over, _, "To the port: the sender, which had linked itself, has ended.")
STOA_TABLE(stoa_stand)

/* What a stand has handed over; stoa_delivery.passed. */
struct stoa_passed {
    stoa_ref stand;
    uint64_t word;     /* the stand's, as it was made with */
    stoa_asker asker;  /* who is to be answered; who NONE: nobody */
    uint64_t due_ns;   /* of the node's clock: it is not to be handled after that; 0: never mind */
    uint64_t told;     /* where tells is set: the token that delivery.from is told of a refusal with */
    bool tells;
    bool urgent;       /* it came on the control lane */
};

/* A stand without a name on a core; word comes with all that it hands over. Waits for the core. Errors: NOMEM, UNAVAILABLE (the node
 * is ending), INVALID. */
stoa_err stoa_stand_new(stoa_port *port, uint32_t core, uint64_t word, stoa_ref *out);
/* Give it a name, "kind/key", by which it is found from now on. Waits. Errors: EXISTS (somebody else's), CLOSED, NOMEM, INVALID. */
stoa_err stoa_stand_name(stoa_port *port, stoa_ref stand, const char *name);
/* It is found by that no more. Waits. */
void stoa_stand_unname(stoa_port *port, stoa_ref stand);
/* They end (all of one core): who watches them hears why, who is linked to one fails unless it was normal, and what waits in their
 * mailboxes is refused with CLOSED. text: a static string. Waits. */
void stoa_stand_end(stoa_port *port, const stoa_ref *stands, uint32_t count, stoa_end why, const char *text);
/* Its mailbox is full from now on (but for control rows), or as it is. Waits. */
void stoa_stand_hold(stoa_port *port, stoa_ref stand, bool held);

/* In whose name a port sends, and how. */
typedef struct stoa_sending {
    stoa_ref from;   /* a stand, or NONE */
    uint64_t due_ns; /* not handled after that; 0: none */
    uint64_t told;   /* with tells (and without due_ns): from is handed stoa_system.refused with this token where it is refused */
    bool tells;
} stoa_sending;
/* Errors: as stoa_port_send, stoa_port_ask. */
stoa_err stoa_port_send_as(stoa_port *port, const stoa_sending *how, stoa_ref to, const stoa_row *row, const void *payload);
/* The answer comes to the port. */
stoa_err stoa_port_ask_as(stoa_port *port, stoa_ref from, stoa_ref to, const stoa_row *row, const void *payload,
                          uint64_t deadline_ns, uint64_t token);
/* Answer who asked a stand, with a payload of row or, where error is not OK, with that. Errors: FULL, TOO_LARGE. */
stoa_err stoa_port_answer(stoa_port *port, const struct stoa_passed *passed, const stoa_row *row, const void *payload,
                          stoa_err error);
/* What was handed over cannot be done: who asked, or wanted to be told, hears so. False: nobody did. */
bool stoa_port_refuse(stoa_port *port, stoa_ref from, const struct stoa_passed *passed, const stoa_row *row, stoa_err why);

/* about, which had linked itself to `to`, has ended elsewhere: as if that link had said so. text: a static string. */
void stoa_port_exit(stoa_port *port, stoa_ref to, stoa_ref about, stoa_end why, const char *text);
/* The same of a link that `to` had made itself to the stand about, and which is there no more; nothing where there is none. */
void stoa_port_break(stoa_port *port, stoa_ref to, stoa_ref about, stoa_end why, const char *text);
/* What link `to` had made to the stand is taken back. */
void stoa_port_unlink(stoa_port *port, stoa_ref to, stoa_ref stand);

/* What the port dropped since its deadline had passed is a dead letter (STALE) where `to` lives; NONE: on that core. */
void stoa_port_letter(stoa_port *port, uint32_t core, stoa_ref to, stoa_ref from, const stoa_row *row);

/* --- names of the node */
/* Count of changes since the node was opened. Any thread. */
uint64_t stoa_names_changes(stoa_node *node);
/* Ring the port's bell at each change of names, and of patterns (NULL: nobody's). One port. */
void stoa_names_watch(stoa_node *node, stoa_port *port);
/* When the stand of this name ends, the name stays as one of an actor that is absent (stoa_find_or_absent) with the node `of`, copied, until somebody
 * has it again. Any thread; takes memory, and without it the name goes. */
void stoa_names_keep(stoa_node *node, const char *name, const char *of);
/* These nodes ("b, c"; "": none any more) were not met yet, and may have actors of these kinds (ends with NULL; NULL: of any), which live until
 * they are told others. Any thread; takes a lock. */
void stoa_names_await(stoa_node *node, const char *nodes, const stoa_kind *const *kinds);
/* That node is there: what nobody has again of its absent names is gone. Any thread. */
void stoa_names_forget(stoa_node *node, const char *of);
/* Visit all, in no order, under their lock: no call into the node from visit. */
void stoa_names_each(stoa_node *node, void (*visit)(void *context, const char *name, stoa_ref ref), void *context);

/* When the port is to be polled at the latest, for asks past their deadline; UINT64_MAX: never. */
uint64_t stoa_port_due(const stoa_port *port);
/* --- topics: patterns that somebody subscribed to, or groups with members, other than this port alone; as names above */
uint64_t stoa_patterns_changes(stoa_node *node);
void stoa_patterns_each(stoa_port *port, void (*visit)(void *context, const char *pattern), void *context);
/* Publish on a topic in the name of `from`, by way of a core; the port itself does not hear it. Takes a lock. Errors: as
 * stoa_port_send; INVALID (no name of a topic), NOMEM. */
stoa_err stoa_port_publish_as(stoa_port *port, stoa_ref from, uint32_t core, const char *topic, const stoa_row *row,
                              const void *payload);
bool stoa_pattern_hears(const char *pattern, const char *topic);

/* Whether it names a port, or nobody's place. */
bool stoa_ref_is_port(stoa_node *node, stoa_ref ref);
/* The clock that the node lives by: virtual in the simulator. */
stoa_clock *stoa_node_clock(stoa_node *node);

#endif
