"""partition_test.py - goal: what transport/sessions.h promises holds between two machines with a bad network between them: order is
kept, nothing is lost or comes twice while both incarnations live, and each restart is a reset that says what was lost. Method:
two processes in two network namespaces, joined by a wire of our own (chaos_wire), talk over a link with keys while the wire is
cut, one way or both, loses, delays, doubles and mixes up packets, and while either process is killed with -9, sometimes behind
a cut, so that no word of it gets out. What each reset says is compared with what the other side had written down (wired.py).

Over zmq+tcp (CURVE), ucx+tcp and ofi+tcp at once, for each: 20,000 messages through 5 cuts and 5 restarts; with STOA_DEEP
1,000,000 messages through 50 and 50, one link after the other. The seed is printed; STOA_SEED repeats its choices (what the
machine makes of them is real time). STOA_LINKS: only these, as "zmq ofi". Needs the right to make network namespaces; without it
the test is skipped and says so.

SPDX-License-Identifier: Apache-2.0
"""
import os
import random
import shutil
import sys
import tempfile
import threading
import time

import wired

DEEP = bool(os.environ.get("STOA_DEEP"))
MESSAGES, CUTS, RESTARTS = (1000000, 50, 50) if DEEP else (20000, 5, 5)
SEED = int(os.environ.get("STOA_SEED", time.time_ns() & 0xFFFFFFFF))
LINKS = os.environ.get("STOA_LINKS", "zmq ucx ofi").split()
CUT_MAX_S = 3.0 if DEEP else 1.5
# of the wire: delay and jitter in us, loss, doubles and early ones of a thousand
WEATHER = [wired.Wire.CLEAR, (2000, 1000, 0, 0, 0), (20000, 20000, 0, 0, 0), (1000, 0, 20, 0, 0), (1000, 1000, 5, 20, 20)]


class World:
    """Two nodes on a wire, all their lives, and what happens to them."""

    def __init__(self, link, seed):
        self.link, self.chance = link, random.Random(seed)
        self.folder = tempfile.mkdtemp(prefix="stoa-partition-")
        self.wire = wired.Wire(seed)
        self.keys = wired.Keys()
        self.lives = {"a": [], "b": []}
        self.clock = 0

    def start(self, side):
        self.clock += 1
        listens = side == "a"
        life = wired.Talker("listen" if listens else "dial", f"{self.link}+tcp://10.88.0.1:7000", self.folder, self.clock,
                            name=side, peer="b" if listens else "a", net=self.wire.net[0 if listens else 1],
                            seed=self.chance.getrandbits(32), **self.keys.of(side))
        self.lives[side].append(life)
        life.order("talk")
        return life

    def now(self, side):
        return self.lives[side][-1]

    def came(self):
        for side in self.lives:
            self.now(side).check_alive_or_killed()
        return sum(life.came() for side in self.lives.values() for life in side)

    def restart(self, side):
        self.now(side).kill()
        time.sleep(self.chance.uniform(0, 0.2))
        self.start(side)

    def cut_off(self, with_restart):
        """Nothing passes, one way or both, for a while; and somebody may be killed meanwhile, of whom nothing is heard."""
        ways = self.chance.choice([(1, 1), (1, 1), (1, 0), (0, 1)]) if not with_restart else (1, 1)
        self.wire.cut(*ways)
        time.sleep(self.chance.uniform(0.05, CUT_MAX_S))
        if with_restart:
            self.restart(self.chance.choice("ab"))
            time.sleep(self.chance.uniform(0, 0.5))
        self.wire.cut(0, 0)

    def events(self):
        """What happens, in order; every third restart is behind a cut."""
        events = [lambda: self.cut_off(False)] * (CUTS - RESTARTS // 3) + [lambda: self.cut_off(True)] * (RESTARTS // 3)
        events += [lambda: self.restart(self.chance.choice("ab"))] * (RESTARTS - RESTARTS // 3)
        self.chance.shuffle(events)
        return events

    def drained(self):
        states = [self.now(side).state() for side in self.lives]
        return all(up and queued == 0 for up, queued, _, _ in states)

    def run(self):
        self.start("a")
        self.start("b")
        events = self.events()
        for event in events:
            self.wait_for(self.came() + MESSAGES // (len(events) + 1), self.chance.random() < 0.75)
            self.wire.weather(*self.chance.choice(WEATHER))
            event()
        self.wire.weather(*wired.Wire.CLEAR)
        self.wait_for(MESSAGES, True)
        for side in self.lives:
            self.now(side).order("rest")
        wired.wait_until(lambda: f"all has come: {[self.now(s).state() for s in 'ab']}", self.drained)
        wired.check_drained(self.now("a"), self.now("b"))
        return wired.check_all(self.lives)

    def wait_for(self, goal, both):
        """Until so many messages have come in all, or also some to each of the two that live; it is wrong that none comes for a
        minute."""
        while (before := self.came()) < goal or both and not all(self.now(side).came() for side in self.lives):
            wired.wait_until(lambda: f"more than {before} come: {[self.now(s).read()[-3:] for s in 'ab']}",
                             lambda: self.came() > before)

    def close(self):
        for side in self.lives.values():
            for life in side:
                life.end()
        passed, lost, cut = self.wire.counts()
        self.wire.end()
        shutil.rmtree(self.folder, ignore_errors=True)
        return f"{passed} packets passed, {lost} were lost, {cut} cut off"


def try_link(link, results):
    """Put what became of it to results."""
    began, world = time.monotonic(), None
    try:
        world = World(link, SEED)
        resets = world.run()
        downs = [line[2] for side in world.lives.values() for life in side for line in life.read() if line[0] == "down"]
        came = world.came()
        results[link] = 0
        text = (f"{came} messages came, {CUTS} cuts, {RESTARTS} restarts, {resets} resets, each as the other side says; down by "
                f"silence {downs.count('TIMEOUT')} times, by the link {downs.count('CLOSED')} times")
    except wired.Skipped as why:
        results[link], text = 77, f"skipped: {why}"
    except Exception as why:  # pylint: disable=broad-except
        results[link], text = 1, f"WRONG: {type(why).__name__}: {why}"
    packets = world.close() if world else "no wire"
    print(f"{link}+tcp: {text}; {packets}; {time.monotonic() - began:.0f} s", flush=True)


def main():
    print(f"STOA_SEED={SEED}: {MESSAGES} messages through {CUTS} cuts and {RESTARTS} restarts, over each link", flush=True)
    results = {}
    threads = [threading.Thread(target=try_link, args=(link, results)) for link in LINKS]
    for thread in threads:
        thread.start()
        if DEEP:
            thread.join()
    for thread in threads:
        thread.join()
    return max(results.values(), key=lambda code: (code == 1, code))


if __name__ == "__main__":
    sys.exit(main())
