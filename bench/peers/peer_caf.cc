/* peer_caf.cc - the CAF peer of bench_runtime: NAME THREADS RUNS STEPS, see bench/runtime/peer.h.
 *
 * Event-based actors with typed state on the work-stealing scheduler, as CAF's manual would have it; optimised, no logging, no
 * output streams. Where two cores are meant (runtime.cross, runtime.wake) the actors are detached and pinned, each to a CPU:
 * workers would hand both to one of them. Producers are paced as ours are, which measured faster than letting mailboxes grow. What each
 * workload does is said in bench/runtime; sums are compared here as there.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <caf/all.hpp>

using caf::actor;
using caf::actor_system;
using caf::behavior;
using caf::scoped_actor;
using caf::stateful_actor;

using start_atom = caf::atom_constant<caf::atom("start")>;
using link_atom = caf::atom_constant<caf::atom("link")>;
using expect_atom = caf::atom_constant<caf::atom("expect")>;
using credit_atom = caf::atom_constant<caf::atom("credit")>;
using ping_atom = caf::atom_constant<caf::atom("ping")>;
using pong_atom = caf::atom_constant<caf::atom("pong")>;
using other_atom = caf::atom_constant<caf::atom("other")>;
using meet_atom = caf::atom_constant<caf::atom("meet")>;
using fail_atom = caf::atom_constant<caf::atom("fail")>;
using tick_atom = caf::atom_constant<caf::atom("tick")>;

namespace {

constexpr uint64_t ring_size = 100, crowd_size = 64, creature_count = 100, source_count = 100, chunk = 256, pause_ms = 2;

constexpr unsigned long_runs = 3; /* of what takes seconds */

struct task {
    size_t threads;
    unsigned runs;
    uint64_t steps;
};

uint64_t now_ns()
{
    auto since = std::chrono::steady_clock::now().time_since_epoch();
    return uint64_t(std::chrono::duration_cast<std::chrono::nanoseconds>(since).count());
}

[[noreturn]] void fail(const char *what)
{
    fprintf(stderr, "peer_caf: %s\n", what);
    _exit(1);
}

/* This thread to the index-th of the CPUs it may use. */
void pin(uint64_t index)
{
    cpu_set_t may, one;
    if (sched_getaffinity(0, sizeof may, &may)) { return; }
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &may) || index--) { continue; }
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        (void)sched_setaffinity(0, sizeof one, &one);
        return;
    }
}

void label()
{
    printf("peer caf %d.%d.%d\n", CAF_MAJOR_VERSION, CAF_MINOR_VERSION, CAF_PATCH_VERSION);
    fflush(stdout);
}

void sample(double value)
{
    printf("sample %.6f\n", value);
    fflush(stdout);
}

double mega(uint64_t count, uint64_t ns)
{
    return double(count) * 1e3 / double(ns);
}

/* Twice to warm up, and the samples. */
void measure(const task &t, const std::function<double()> &once)
{
    label();
    once();
    once();
    for (unsigned i = 0; i < t.runs; i++) { sample(once()); }
}

/* Wait for the sum that ends a run. */
uint64_t until(scoped_actor &self, uint64_t began, uint64_t sum)
{
    self->receive([&](uint64_t got) {
        if (got != sum) { fail("read another sum than was sent"); }
    });
    return now_ns() - began;
}

/* --- passing on */

struct passer_state {
    actor next, main;
};

behavior passer(stateful_actor<passer_state> *self)
{
    return {
        [=](link_atom, const actor &next, const actor &main, int64_t cpu) {
            if (cpu >= 0) { pin(uint64_t(cpu)); }
            self->state.next = next;
            self->state.main = main;
        },
        [=](uint64_t left, uint64_t sum) {
            if (left == 0) {
                self->send(self->state.main, sum);
            } else {
                self->send(self->state.next, left - 1, sum + left);
            }
        },
    };
}

void pass(actor_system &system, const task &t, uint64_t actors, uint64_t passes, bool detached)
{
    scoped_actor self{system};
    std::vector<actor> at;
    for (uint64_t i = 0; i < actors; i++) {
        at.push_back(detached ? system.spawn<caf::detached>(passer) : system.spawn(passer));
    }
    for (uint64_t i = 0; i < actors; i++) {
        self->send(at[i], link_atom::value, at[(i + 1) % actors], actor{self}, detached ? int64_t(i) : int64_t{-1});
    }
    uint64_t left = t.steps * passes;
    measure(t, [&] {
        uint64_t began = now_ns();
        self->send(at[0], left, uint64_t{0});
        return double(until(self, began, left * (left + 1) / 2)) / double(t.steps);
    });
    for (auto &a : at) { self->send_exit(a, caf::exit_reason::user_shutdown); }
}

/* --- one way */

struct sink_state {
    uint64_t left = 0, sum = 0, grant = 0;
    std::vector<uint64_t> got;
    actor main;
    std::vector<actor> sources;
};

behavior sink(stateful_actor<sink_state> *self)
{
    return {
        [=](expect_atom, uint64_t items, uint64_t grant, const std::vector<actor> &sources, const actor &main) {
            auto &s = self->state;
            s.left = items;
            s.sum = 0;
            s.grant = grant;
            s.got.assign(sources.size(), 0);
            s.sources = sources;
            s.main = main;
        },
        [=](uint64_t value, uint64_t source) {
            auto &s = self->state;
            s.sum += value;
            if (--s.left == 0) { self->send(s.main, s.sum); }
            if (++s.got[source] < s.grant) { return; }
            s.got[source] = 0;
            self->send(s.sources[source], credit_atom::value, s.grant);
        },
    };
}

struct source_state {
    uint64_t left = 0, room = 0;
};

behavior source(stateful_actor<source_state> *self, const actor &to, uint64_t index)
{
    auto flow = [=] {
        auto &s = self->state;
        for (; s.left && s.room; s.left--, s.room--) { self->send(to, s.left, index); }
    };
    return {
        [=](start_atom, uint64_t items, uint64_t window) {
            self->state.left = items;
            self->state.room = window;
            flow();
        },
        [=](credit_atom, uint64_t items) {
            self->state.room += items;
            flow();
        },
    };
}

void flow(actor_system &system, const task &t, uint64_t sources, uint64_t grant)
{
    scoped_actor self{system};
    actor to = system.spawn(sink);
    std::vector<actor> at;
    for (uint64_t i = 0; i < sources; i++) { at.push_back(system.spawn(source, to, i)); }
    uint64_t each = t.steps / sources;
    measure(t, [&] {
        self->send(to, expect_atom::value, each * sources, grant, at, actor{self});
        uint64_t began = now_ns();
        for (auto &a : at) { self->send(a, start_atom::value, each, 4 * grant); }
        return mega(each * sources, until(self, began, sources * (each * (each + 1) / 2)));
    });
    for (auto &a : at) { self->send_exit(a, caf::exit_reason::user_shutdown); }
    self->send_exit(to, caf::exit_reason::user_shutdown);
}

/* --- many to many */

struct tally_state {
    uint64_t done = 0, sum = 0;
};

behavior tally(stateful_actor<tally_state> *self, const actor &main)
{
    return {
        [=](uint64_t part) {
            auto &s = self->state;
            s.sum += part;
            if (++s.done < crowd_size) { return; }
            self->send(main, s.sum);
            s = tally_state{};
        },
    };
}

struct member_state {
    std::vector<actor> all;
    uint64_t left = 0, sum = 0, random = 1;
    const actor &draw()
    {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        return all[random % crowd_size];
    }
};

behavior member(stateful_actor<member_state> *self, const actor &to, uint64_t index)
{
    self->state.random = 0x9e3779b97f4a7c15 * (index + 1);
    return {
        [=](link_atom, const std::vector<actor> &all) { self->state.all = all; },
        [=](start_atom, uint64_t pings) {
            auto &s = self->state;
            s.left = pings;
            s.sum = 0;
            self->send(s.draw(), ping_atom::value, s.left);
        },
        [=](ping_atom, uint64_t n) {
            self->send(caf::actor_cast<actor>(self->current_sender()), pong_atom::value, n + 1);
        },
        [=](pong_atom, uint64_t n) {
            auto &s = self->state;
            s.sum += n;
            if (--s.left == 0) {
                self->send(to, s.sum);
            } else {
                self->send(s.draw(), ping_atom::value, s.left);
            }
        },
    };
}

void big(actor_system &system, const task &t)
{
    scoped_actor self{system};
    actor to = system.spawn(tally, actor{self});
    std::vector<actor> at;
    for (uint64_t i = 0; i < crowd_size; i++) { at.push_back(system.spawn(member, to, i)); }
    for (auto &a : at) { self->send(a, link_atom::value, at); }
    uint64_t pings = t.steps;
    measure(t, [&] {
        uint64_t began = now_ns();
        for (auto &a : at) { self->send(a, start_atom::value, pings); }
        return mega(2 * crowd_size * pings, until(self, began, crowd_size * (pings * (pings + 1) / 2 + pings)));
    });
    for (auto &a : at) { self->send(a, link_atom::value, std::vector<actor>{}); } /* they hold each other */
    for (auto &a : at) { self->send_exit(a, caf::exit_reason::user_shutdown); }
    self->send_exit(to, caf::exit_reason::user_shutdown);
}

struct mall_state {
    caf::strong_actor_ptr waits;
    uint64_t colour = 0, left = 0, gone = 0, met = 0;
    actor main;
};

behavior mall(stateful_actor<mall_state> *self)
{
    return {
        [=](start_atom, uint64_t meetings, const actor &main) {
            self->state = mall_state{};
            self->state.left = meetings;
            self->state.main = main;
        },
        [=](meet_atom, uint64_t colour, uint64_t met) {
            auto &s = self->state;
            if (s.left == 0) {
                s.met += met;
                if (++s.gone == creature_count) { self->send(s.main, s.met); }
            } else if (!s.waits) {
                s.waits = self->current_sender();
                s.colour = colour;
            } else {
                s.left--;
                self->send(caf::actor_cast<actor>(s.waits), other_atom::value, colour);
                self->send(caf::actor_cast<actor>(self->current_sender()), other_atom::value, s.colour);
                s.waits = nullptr;
            }
        },
    };
}

struct creature_state {
    uint64_t colour = 0, met = 0;
};

behavior creature(stateful_actor<creature_state> *self, const actor &to)
{
    return {
        [=](start_atom, uint64_t colour) {
            self->state.colour = colour;
            self->state.met = 0;
            self->send(to, meet_atom::value, colour, uint64_t{0});
        },
        [=](other_atom, uint64_t colour) {
            auto &s = self->state;
            if (colour != s.colour) { s.colour = 3 - colour - s.colour; }
            s.met++;
            self->send(to, meet_atom::value, s.colour, s.met);
        },
    };
}

void chameneos(actor_system &system, const task &t)
{
    scoped_actor self{system};
    actor to = system.spawn(mall);
    std::vector<actor> at;
    for (uint64_t i = 0; i < creature_count; i++) { at.push_back(system.spawn(creature, to)); }
    measure(t, [&] {
        self->send(to, start_atom::value, t.steps, actor{self});
        uint64_t began = now_ns();
        for (uint64_t i = 0; i < creature_count; i++) { self->send(at[i], start_atom::value, i % 3); }
        return mega(t.steps, until(self, began, 2 * t.steps));
    });
    for (auto &a : at) { self->send_exit(a, caf::exit_reason::user_shutdown); }
    self->send_exit(to, caf::exit_reason::user_shutdown);
}

/* --- births and deaths */

behavior mayfly(caf::event_based_actor *self)
{
    return {
        [=](uint64_t n) {
            self->send(caf::actor_cast<actor>(self->current_sender()), n + 1);
            self->quit();
        },
    };
}

struct parent_state {
    uint64_t left = 0, waiting = 0, sum = 0;
};

behavior parent(stateful_actor<parent_state> *self, const actor &main)
{
    auto bear = [=] {
        auto &s = self->state;
        s.waiting = std::min(s.left, chunk);
        for (uint64_t i = 0; i < s.waiting; i++) { self->send(self->spawn<caf::lazy_init>(mayfly), s.left--); }
    };
    return {
        [=](start_atom, uint64_t actors) {
            self->state.left = actors;
            self->state.sum = 0;
            bear();
        },
        [=](uint64_t n) {
            auto &s = self->state;
            s.sum += n;
            if (--s.waiting) { return; }
            if (s.left) {
                bear();
            } else {
                self->send(main, s.sum);
            }
        },
    };
}

void create(actor_system &system, const task &t)
{
    scoped_actor self{system};
    actor to = system.spawn(parent, actor{self});
    measure(t, [&] {
        uint64_t began = now_ns();
        self->send(to, start_atom::value, t.steps);
        return mega(t.steps, until(self, began, t.steps * (t.steps + 1) / 2 + t.steps));
    });
    self->send_exit(to, caf::exit_reason::user_shutdown);
}

uint64_t resident()
{
    unsigned long all, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%lu %lu", &all, &pages) != 2) { fail("/proc/self/statm cannot be read"); }
    fclose(file);
    return uint64_t(pages) * uint64_t(sysconf(_SC_PAGESIZE));
}

struct idler_state {
    uint64_t sum = 0;
};

behavior idler(stateful_actor<idler_state> *self)
{
    return {
        [=](uint64_t n) {
            self->state.sum += n;
            self->send(caf::actor_cast<actor>(self->current_sender()), self->state.sum);
        },
    };
}

/* A process of its own for each sample, which ends without ending its actors. */
void idle_here(const task &t)
{
    caf::actor_system_config config;
    config.set("scheduler.max-threads", t.threads);
    actor_system system{config};
    scoped_actor self{system};
    std::vector<actor> all;
    all.reserve(t.steps);
    for (uint64_t i = 0; i < t.steps; i++) { all.emplace_back(nullptr); }
    uint64_t before = resident();
    for (uint64_t i = 0; i < t.steps; i += chunk) {
        uint64_t end = std::min(i + chunk, t.steps);
        for (uint64_t k = i; k < end; k++) {
            all[k] = system.spawn(idler);
            self->send(all[k], uint64_t{1});
        }
        for (uint64_t k = i; k < end; k++) { self->receive([](uint64_t) {}); }
    }
    sample(double(resident() - before) / double(t.steps));
    _exit(0);
}

void idle(const task &t)
{
    label();
    for (unsigned i = 0; i < std::min(t.runs, long_runs); i++) {
        pid_t child = fork();
        if (child == 0) { idle_here(t); }
        int status = 1;
        if (child < 0 || waitpid(child, &status, 0) != child || status) { fail("a million actors ended early"); }
    }
}

behavior victim(caf::event_based_actor *self)
{
    return {[=](fail_atom) { self->quit(caf::exit_reason::unhandled_exception); }};
}

struct watcher_state {
    uint64_t left = 0, restarts = 0;
};

behavior watcher(stateful_actor<watcher_state> *self, const actor &main)
{
    auto bear = [=] { self->send(self->spawn<caf::monitored + caf::lazy_init>(victim), fail_atom::value); };
    self->set_down_handler([=](caf::down_msg &) {
        auto &s = self->state;
        s.restarts++;
        if (--s.left) {
            bear();
        } else {
            self->send(main, s.restarts);
        }
    });
    return {
        [=](start_atom, uint64_t restarts) {
            self->state.left = restarts;
            self->state.restarts = 0;
            bear();
        },
    };
}

void restart(actor_system &system, const task &t)
{
    scoped_actor self{system};
    actor to = system.spawn(watcher, actor{self});
    measure(t, [&] {
        uint64_t began = now_ns();
        self->send(to, start_atom::value, t.steps);
        return mega(t.steps, until(self, began, t.steps));
    });
    self->send_exit(to, caf::exit_reason::user_shutdown);
}

/* --- calls */

behavior server()
{
    return {[](uint64_t n) { return n + 1; }};
}

struct client_state {
    uint64_t left = 0, sum = 0;
};

void ask(stateful_actor<client_state> *self, const actor &to, const actor &main)
{
    self->request(to, std::chrono::seconds(1), self->state.left).then([=](uint64_t n) {
        auto &s = self->state;
        s.sum += n;
        if (--s.left) {
            ask(self, to, main);
        } else {
            self->send(main, s.sum);
        }
    });
}

behavior client(stateful_actor<client_state> *self, const actor &to, const actor &main)
{
    return {
        [=](start_atom, uint64_t questions) {
            self->state.left = questions;
            self->state.sum = 0;
            ask(self, to, main);
        },
    };
}

void request(actor_system &system, const task &t)
{
    scoped_actor self{system};
    actor to = system.spawn(server);
    actor from = system.spawn(client, to, actor{self});
    measure(t, [&] {
        uint64_t began = now_ns();
        self->send(from, start_atom::value, t.steps);
        return double(until(self, began, t.steps * (t.steps + 1) / 2 + t.steps)) / double(t.steps);
    });
    self->send_exit(from, caf::exit_reason::user_shutdown);
    self->send_exit(to, caf::exit_reason::user_shutdown);
}

/* --- waking: the median of a run, in microseconds */

struct sleeper_state {
    std::vector<uint64_t> took;
};

behavior sleeper(stateful_actor<sleeper_state> *self, const actor &main, uint64_t wakes)
{
    return {
        [=](start_atom) { pin(1); },
        [=](uint64_t sent) {
            auto &took = self->state.took;
            took.push_back(now_ns() - sent);
            if (took.size() < wakes) { return; }
            std::sort(took.begin(), took.end());
            self->send(main, took[wakes / 2]);
            took.clear();
        },
    };
}

struct waker_state {
    uint64_t left = 0;
};

behavior waker(stateful_actor<waker_state> *self, const actor &to)
{
    auto rest = [=] { self->delayed_send(self, std::chrono::milliseconds(pause_ms), tick_atom::value); };
    return {
        [=](start_atom, uint64_t wakes) {
            pin(0);
            self->state.left = wakes;
            rest();
        },
        [=](tick_atom) {
            self->send(to, now_ns());
            if (--self->state.left) { rest(); }
        },
    };
}

void wake(actor_system &system, const task &t)
{
    scoped_actor self{system};
    actor to = system.spawn<caf::detached>(sleeper, actor{self}, t.steps);
    actor from = system.spawn<caf::detached>(waker, to);
    self->send(to, start_atom::value);
    measure(t, [&] {
        double us = 0;
        self->send(from, start_atom::value, t.steps);
        self->receive([&](uint64_t ns) { us = double(ns) / 1e3; });
        return us;
    });
    self->send_exit(from, caf::exit_reason::user_shutdown);
    self->send_exit(to, caf::exit_reason::user_shutdown);
}

const std::map<std::string, std::function<void(actor_system &, const task &)>> rows = {
    {"runtime.pingpong", [](actor_system &system, const task &t) { pass(system, t, 2, 2, false); }},
    {"runtime.cross", [](actor_system &system, const task &t) { pass(system, t, 2, 2, true); }},
    {"runtime.ring", [](actor_system &system, const task &t) { pass(system, t, ring_size, 1, false); }},
    {"runtime.counting", [](actor_system &system, const task &t) { flow(system, t, 1, 256); }},
    {"runtime.fanin", [](actor_system &system, const task &t) { flow(system, t, source_count, 32); }},
    {"runtime.big", big},
    {"runtime.chameneos", chameneos},
    {"runtime.create", create},
    {"runtime.restart", restart},
    {"runtime.restart_10k", restart},
    {"runtime.request", request},
    {"runtime.wake", wake},
};

} // namespace

int main(int argc, char **argv)
{
    if (argc != 5) { fail("NAME THREADS RUNS STEPS"); }
    task t{strtoull(argv[2], nullptr, 10), unsigned(strtoul(argv[3], nullptr, 10)), strtoull(argv[4], nullptr, 10)};
    std::string name = argv[1];
    if (name == "runtime.idle") {
        idle(t); /* forks: no thread may be there yet */
        return 0;
    }
    auto row = rows.find(name);
    if (row == rows.end()) { return 0; }
    caf::actor_system_config config;
    config.set("scheduler.max-threads", t.threads);
    actor_system system{config};
    row->second(system, t);
}
