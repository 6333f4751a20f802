/* session_pulse.c - heartbeats: is the other side there, does it hear us, how far is it.
 *
 * Each side sends a numbered pulse every heartbeat_ns while it is up, which also says which of the other side's pulses came
 * last, and how long ago. A pulse or an acknowledgement that answers something of ours proves that both ways work; nothing
 * else does. So a peer that hears nothing, one that cannot be heard, one that is stopped and a connection of which one end is gone look the same, and
 * do so on both sides.
 *
 * The threshold is that of TCP's timeout over the times between answers (Jacobson, "Congestion avoidance and control",
 * 1988): their mean and six mean deviations, but not less than four heartbeats and two round trips, and not more than
 * silence_max_ns. After a silence there is more patience with the same connection, and with a new one (ten heartbeats), until answers
 * come regularly. A process that was itself stopped does not count that time against its peer: from one step to the next there is one pulse to
 * answer, and two heartbeats at most of the silence. So where all steps are late, it is over after a number of them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "transport/session_internal.h"

enum { LEAST_BEATS = 4, DEVIATIONS = 6, STEP_BEATS = 2 };

static uint64_t clamp(uint64_t value, uint64_t least, uint64_t most)
{
    return value < least ? least : value > most ? most : value;
}

/* RFC 6298: mean and deviation take in a sample by an eighth and a quarter. */
static void smooth(uint64_t *mean, uint64_t *spread, uint64_t sample)
{
    uint64_t off = sample > *mean ? sample - *mean : *mean - sample;
    *spread = (*spread * 3 + off) / 4;
    *mean = (*mean * 7 + sample) / 8;
}

void stoa_session_rtt(stoa_session *s, uint64_t rtt_ns, uint64_t now_ns)
{
    stoa_histogram_add(&s->rtt, rtt_ns);
    stoa_flow_sample(s, rtt_ns, now_ns);
    if (s->rtt_ns == 0) {
        s->rtt_ns = rtt_ns;
        s->rtt_spread_ns = rtt_ns / 2;
        return;
    }
    smooth(&s->rtt_ns, &s->rtt_spread_ns, rtt_ns);
}

uint64_t stoa_session_timeout_ns(const stoa_session *s)
{
    uint64_t timeout_ns = s->rtt_ns + 4 * s->rtt_spread_ns + 2 * s->options.ack_ns;
    return clamp(timeout_ns, s->options.heartbeat_ns, s->options.silence_max_ns);
}

uint64_t stoa_session_silence_ns(const stoa_session *s)
{
    uint64_t least_ns = LEAST_BEATS * s->options.heartbeat_ns;
    uint64_t most_ns = s->options.silence_max_ns > least_ns ? s->options.silence_max_ns : least_ns;
    uint64_t wanted_ns = s->gap_ns + DEVIATIONS * s->gap_spread_ns;
    return clamp(wanted_ns, stoa_sooner(least_ns + 2 * s->rtt_ns, most_ns), most_ns);
}

void stoa_pulse_forget(stoa_session *s)
{
    s->gap_ns = s->options.heartbeat_ns;
    s->gap_spread_ns = s->options.heartbeat_ns * 3 / 2; /* patience for a second, as what is sent first may be much */
}

void stoa_pulse_begin(stoa_session *s, uint64_t now_ns)
{
    s->heard = s->pulse_number; /* answers to older ones prove nothing of this connection */
    s->confirmed_ns = s->answered_ns = now_ns;
    s->pulse_due_ns = now_ns;
    s->peer_pulse = 0;
}

void stoa_pulse_confirmed(stoa_session *s, uint64_t now_ns)
{
    if (now_ns > s->confirmed_ns) { s->confirmed_ns = now_ns; }
}

static void beat(stoa_session *s, uint64_t now_ns)
{
    stoa_pulse pulse = {.number = s->pulse_number + 1, .heard = s->peer_pulse};
    if (s->peer_pulse) { pulse.held_ns = now_ns - s->peer_pulse_ns; }
    for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
        pulse.lanes[i] = stoa_lane_mark_of(s, (stoa_lane)i);
    }
    if (stoa_session_say(s, STOA_ENVELOPE_PULSE, &pulse, sizeof pulse, s->id_out)) { return; }
    s->pulse_number++;
    s->pulse_at_ns[s->pulse_number % STOA_PULSES_KEPT] = now_ns;
    s->pulse_due_ns = now_ns + s->options.heartbeat_ns;
}

uint64_t stoa_pulse_step(stoa_session *s, uint64_t now_ns)
{
    uint64_t since_ns = now_ns - s->stepped_ns, counts_ns = STEP_BEATS * s->options.heartbeat_ns;
    if (since_ns > counts_ns) {
        s->confirmed_ns = stoa_sooner(s->confirmed_ns + since_ns - counts_ns, now_ns);
        s->answered_ns = stoa_sooner(s->answered_ns + since_ns - counts_ns, now_ns);
    }
    uint64_t over_ns = s->confirmed_ns + stoa_session_silence_ns(s);
    if (now_ns >= over_ns) {
        s->counts.silences++;
        s->gap_spread_ns = 2 * stoa_session_silence_ns(s) / DEVIATIONS; /* more patience with this connection, for a while */
        stoa_session_lost(s, STOA_E_TIMEOUT, now_ns);
        return now_ns;
    }
    if (now_ns >= s->pulse_due_ns) { beat(s, now_ns); }
    return stoa_sooner(over_ns, s->pulse_due_ns > now_ns ? s->pulse_due_ns : over_ns);
}

static void confirm(stoa_session *s, const stoa_pulse *pulse, uint64_t now_ns)
{
    bool known =
        pulse->heard > s->heard && pulse->heard <= s->pulse_number && s->pulse_number - pulse->heard < STOA_PULSES_KEPT;
    if (!known) { return; }
    uint64_t took_ns = now_ns - s->pulse_at_ns[pulse->heard % STOA_PULSES_KEPT];
    /* Else they were too near: clocks are read once a step. */
    if (took_ns > pulse->held_ns) { stoa_session_rtt(s, took_ns - pulse->held_ns, now_ns); }
    if (now_ns > s->answered_ns) { smooth(&s->gap_ns, &s->gap_spread_ns, now_ns - s->answered_ns); }
    s->heard = pulse->heard;
    s->answered_ns = now_ns > s->answered_ns ? now_ns : s->answered_ns;
    stoa_pulse_confirmed(s, now_ns);
}

stoa_err stoa_session_take_pulse(stoa_session *s, const void *bytes, uint32_t size_bytes, uint64_t now_ns)
{
    stoa_pulse pulse;
    stoa_err err = stoa_pulse_read(bytes, size_bytes, &pulse);
    if (err) { return err; }
    if (pulse.number <= s->peer_pulse) { return STOA_E_STALE; }
    for (unsigned i = 0; i < STOA_LANE_COUNT && !err; i++) {
        err = stoa_lane_mark_check(s, (stoa_lane)i, pulse.lanes[i]);
    }
    if (err) { return err; }
    for (unsigned i = 0; i < STOA_LANE_COUNT; i++) {
        (void)stoa_lane_acked(s, (stoa_lane)i, pulse.lanes[i], now_ns);
    }
    s->peer_pulse = pulse.number;
    s->peer_pulse_ns = now_ns;
    confirm(s, &pulse, now_ns);
    return STOA_OK;
}
