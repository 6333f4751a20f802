/* isolates/tied.c - the kind of tied.h, as a library for stoa-isolate.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/runtime/isolates/tied.h"

#include <string.h>

#include "base/hash.h"
#include "base/random.h"
#include "base/text_map.h"

STOA_TABLE_DEFINE(victim)
STOA_TABLE_DEFINE(tied)
STOA_PROXY(victim)

typedef struct tied {
    tied_seen seen;
    uint64_t monitor;
    stoa_ref kept;
} tied;
STOA_PLAIN_KIND(tied, .mailbox_limit = 64)
STOA_PLUGIN(tied)

static stoa_ref peer(stoa_turn *turn)
{
    return stoa_turn_find(turn, "victim/v");
}
static stoa_err do_look(stoa_turn *turn, tied *self, uint64_t n)
{
    (void)turn, (void)self, (void)n;
    return STOA_OK;
}
static stoa_err do_monitor(stoa_turn *turn, tied *self, uint64_t n)
{
    (void)n;
    self->monitor = stoa_turn_monitor(turn, peer(turn));
    return self->monitor ? STOA_OK : STOA_E_FULL;
}
static stoa_err do_poke(stoa_turn *turn, tied *self, uint64_t n)
{
    (void)self;
    return victim_send_poke(turn, peer(turn), (victim_poke){n});
}
static stoa_err do_keep(stoa_turn *turn, tied *self, uint64_t n)
{
    (void)n;
    self->kept = peer(turn);
    return STOA_OK;
}
static stoa_err do_kept(stoa_turn *turn, tied *self, uint64_t n)
{
    return victim_send_poke(turn, self->kept, (victim_poke){n});
}
static stoa_err do_demonitor(stoa_turn *turn, tied *self, uint64_t n)
{
    (void)n;
    stoa_turn_demonitor(turn, self->monitor);
    return STOA_OK;
}
static stoa_err do_link(stoa_turn *turn, tied *self, uint64_t n)
{
    (void)self, (void)n;
    return stoa_turn_link(turn, peer(turn));
}
static stoa_err do_unlink(stoa_turn *turn, tied *self, uint64_t n)
{
    (void)self, (void)n;
    stoa_turn_unlink(turn, peer(turn));
    return STOA_OK;
}
static stoa_err do_told(stoa_turn *turn, tied *self, uint64_t n)
{
    stoa_err err = STOA_OK;
    (void)self;
    for (uint64_t i = 0; i < n && !err; i++) { err = victim_told_poke(turn, peer(turn), (victim_poke){i}, 70 + i); }
    return err;
}
static stoa_err do_within(stoa_turn *turn, tied *self, uint64_t n)
{
    (void)self;
    return victim_within_poke(turn, peer(turn), (victim_poke){n}, STOA_S(60));
}
static stoa_err do_room(stoa_turn *turn, tied *self, uint64_t n)
{
    (void)self;
    return stoa_turn_when_room(turn, peer(turn), n);
}
static stoa_err do_subscribe(stoa_turn *turn, tied *self, uint64_t n)
{
    (void)self, (void)n;
    return stoa_turn_subscribe(turn, "tied.news.*");
}
static stoa_err do_unsubscribe(stoa_turn *turn, tied *self, uint64_t n)
{
    (void)self, (void)n;
    return stoa_turn_unsubscribe(turn, "tied.news.*");
}
static stoa_err do_join(stoa_turn *turn, tied *self, uint64_t n)
{
    (void)self, (void)n;
    return stoa_turn_join(turn, "tied.news.now");
}
static stoa_err do_leave(stoa_turn *turn, tied *self, uint64_t n)
{
    (void)self, (void)n;
    return stoa_turn_leave(turn, "tied.news.now");
}
static stoa_err do_overreach(stoa_turn *turn, tied *self, uint64_t n)
{
    (void)self, (void)n;
    return stoa_turn_subscribe(turn, ">");
}
static stoa_err do_forge(stoa_turn *turn, tied *self, uint64_t n)
{
    (void)self, (void)n;
    return stoa_turn_bind(turn, 0, "tied.news.now");
}
static stoa_err do_unbound(stoa_turn *turn, tied *self, uint64_t n)
{
    (void)self;
    return tied_publish_echo(turn, 1, &(tied_echo){n});
}
static stoa_err do_half(stoa_turn *turn, tied *self, uint64_t n)
{
    (void)self, (void)n;
    stoa_err err = stoa_turn_bind(turn, 1, "tied.echo");
    return err ? err : STOA_E_RANGE;
}
static stoa_err do_publish(stoa_turn *turn, tied *self, uint64_t n)
{
    (void)self;
    stoa_err err = stoa_turn_bind(turn, 0, "tied.echo");
    return err ? err : tied_publish_echo(turn, 0, &(tied_echo){n});
}
static stoa_err do_refuse(stoa_turn *turn, tied *self, uint64_t n)
{
    (void)self;
    stoa_err err = victim_send_poke(turn, peer(turn), (victim_poke){n});
    return err ? err : stoa_turn_refuse(turn, STOA_E_RANGE);
}
/* What base has for kinds is there. */
static stoa_err do_base(stoa_turn *turn, tied *self, uint64_t n)
{
    STOA_TEXT_MAP(stoa_text30, 16) map = {0};
    stoa_text30 name = stoa_text("name");
    stoa_random random;
    (void)turn;
    STOA_TEXT_MAP_PUT(&map, &name, 7);
    stoa_random_seed(&random, n);
    self->seen.matched = stoa_hash64(STOA_TEXT_MAP_GET(&map, &name), "bytes", 5) ^ stoa_random_next(&random);
    return STOA_OK;
}

static stoa_err tied_on_deed(stoa_turn *turn, tied *self, const tied_deed *in, tied_seen *out)
{
    static const struct {
        const char *name;
        stoa_err (*run)(stoa_turn *turn, tied *self, uint64_t n);
    } deeds[] = {{"look", do_look},           {"monitor", do_monitor},         {"demonitor", do_demonitor}, {"link", do_link},
                 {"unlink", do_unlink},       {"told", do_told},               {"within", do_within},       {"room", do_room},
                 {"subscribe", do_subscribe}, {"unsubscribe", do_unsubscribe}, {"join", do_join},           {"leave", do_leave},
                 {"overreach", do_overreach}, {"forge", do_forge},             {"unbound", do_unbound},     {"publish", do_publish},
                 {"half", do_half},           {"refuse", do_refuse},       {"base", do_base},
                 {"poke", do_poke},           {"keep", do_keep},               {"kept", do_kept}};
    for (unsigned i = 0; i < sizeof deeds / sizeof deeds[0]; i++) {
        if (!STOA_TEXT_EQZ(&in->what, deeds[i].name)) { continue; }
        stoa_err err = deeds[i].run(turn, self, in->n);
        *out = self->seen;
        return err;
    }
    return STOA_E_INVALID;
}

static stoa_err tied_on_stoa_system_down(stoa_turn *turn, tied *self, const stoa_system_down *in)
{
    (void)turn;
    self->seen.downs++;
    self->seen.matched += in->token == self->monitor;
    return STOA_OK;
}
static stoa_err tied_on_stoa_system_refused(stoa_turn *turn, tied *self, const stoa_system_refused *in)
{
    (void)turn;
    self->seen.refused++;
    self->seen.refusal = in->token >= 70 && in->row == victim_ROW_poke ? in->error : 1;
    return STOA_OK;
}
static stoa_err tied_on_stoa_system_room(stoa_turn *turn, tied *self, const stoa_system_room *in)
{
    (void)turn;
    self->seen.rooms += in->token;
    return STOA_OK;
}
static stoa_err tied_on_victim_news(stoa_turn *turn, tied *self, const victim_news *in)
{
    self->seen.news += in->n;
    return STOA_TEXT_SETZ(&self->seen.topic, stoa_turn_topic(turn));
}
