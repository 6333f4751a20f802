"""silence_test.py - goal: whatever becomes of the other side, a session tells it as down within the times that transport/README.md
states, on every kind of link, and goes on where it was when the other side comes back. Method: two processes that talk; one is
killed, stopped, stopped when the one who is to notice was so
itself often before, killed behind a cut so that no word of it gets out (a connection of which one end is gone), or packets pass one
way only, which both must notice. When it held and when it was noticed are of the same clock.

The verdict is no race with the machine: a fifth more than the stated time is allowed, and the time that the one who noticed slept or
worked for longer than it meant to (LATE of chaos_talker). Over zmq+tcp, ucx+tcp and ofi+tcp between network namespaces with keys,
where these are permitted, and over shm and zmq+ipc.

SPDX-License-Identifier: Apache-2.0
"""
import os
import shutil
import signal
import sys
import tempfile
import threading
import time

import wired

STATED_NS = 2100000000   # a heartbeat and the longest silence; about 500 ms is usual
ALLOWED = 1.2
NAPS, NAP_S = 10, 0.35    # each longer than two heartbeats and shorter than any silence
LATE_NS = 100000000      # later than that, and silence may be noticed before the link's word is read
SEED = int(os.environ.get("STOA_SEED", time.time_ns() & 0xFFFFFFFF))
ON_WIRE = ("zmq", "ucx", "ofi")
LOCAL = {"shm": "shm://{}/link", "zmq+ipc": "zmq+ipc://{}/link"}


class Pair:
    """Two that talk over a link, one of which may be replaced."""

    def __init__(self, link):
        self.link, self.clock = link, 0
        self.folder = tempfile.mkdtemp(prefix="stoa-silence-")
        self.wire = wired.Wire(SEED) if link in ON_WIRE else None
        self.keys = wired.Keys() if self.wire else None
        self.now = {}
        self.results = []
        for side in "ab":
            self.start(side)
        self.settle(0)

    def start(self, side):
        self.clock += 1
        listens = side == "a"
        options = {"net": self.wire.net[0 if listens else 1], **self.keys.of(side)} if self.wire else {}
        address = f"{self.link}+tcp://10.88.0.1:7000" if self.wire else LOCAL[self.link].format(self.folder)
        life = wired.Talker("listen" if listens else "dial", address, self.folder, self.clock, name=side,
                            peer="b" if listens else "a", seed=SEED + self.clock, pace_us=2000, trusts=int(self.link == "shm"),
                            **options)
        life.order("talk")
        self.now[side] = life

    def settle(self, start):
        """Until both are up, and messages come both ways."""
        for life in self.now.values():
            life.check_alive_or_killed()
            wired.wait_until(f"{life.side} of {self.link} is up", lambda life=life: life.state()[0])
        came = {life: life.came() for life in self.now.values()}
        wired.wait_until(f"messages come over {self.link}", lambda: all(life.came() > came[life] for life in came))

    def noticed(self, what, side, start, held_ns, by_link):
        """The down that follows; what it took beyond what this side was late itself."""
        life = self.now[side]
        _, at_ns, why, late_ns = life.wait_line("down", start)
        took_ns = max(int(at_ns) - held_ns, 0)
        wired.demand(took_ns <= ALLOWED * STATED_NS + int(late_ns),
                     f"{self.link}: {side} noticed {what} after {took_ns / 1e6:.0f} ms, late itself by {int(late_ns) / 1e6:.0f}")
        wired.demand(not by_link or why == "CLOSED" or int(late_ns) > LATE_NS,
                     f"{self.link}: {side} noticed {what} by silence, not by the link, after {took_ns / 1e6:.0f} ms")
        self.results.append(f"{what} {took_ns / 1e6:.0f} ms")

    def marked(self, side):
        """From now on lateness counts; the number of the next line."""
        self.now[side].ask("mark", "marked")
        return len(self.now[side].read())

    def killed(self, victim, witness):
        start = self.marked(witness)
        self.now[victim].kill()
        self.noticed("killed", witness, start, time.monotonic_ns(), True)
        self.start(victim)
        self.settle(start)

    def stopped(self, victim, witness):
        start = self.marked(witness)
        self.now[victim].signal(signal.SIGSTOP)
        self.noticed("stopped", witness, start, time.monotonic_ns(), False)
        self.now[victim].signal(signal.SIGCONT)
        self.settle(start)
        resumed = [line for line in self.now[witness].read()[start:] if line[0] == "up"]
        wired.demand(resumed and resumed[-1][3] == "1", f"{self.link}: not resumed after a stop")

    def dozed(self, victim, witness):
        """Who was held up often itself is no slower to notice afterwards."""
        for _ in range(NAPS):
            self.now[witness].signal(signal.SIGSTOP)
            time.sleep(NAP_S)
            self.now[witness].signal(signal.SIGCONT)
            time.sleep(NAP_S / 2)
        self.settle(0)
        self.stopped(victim, witness)

    def half_open(self, victim, witness):
        start = self.marked(witness)
        held_ns = self.wire.cut(1, 1)
        self.now[victim].kill()
        self.noticed("unplugged", witness, start, held_ns, False)
        self.wire.cut(0, 0)
        self.start(victim)
        self.settle(start)

    def one_way(self, victim, _):
        starts = {side: self.marked(side) for side in self.now}
        held_ns = self.wire.cut(victim == "a", victim == "b")
        for side, start in starts.items():
            self.noticed("one way " + ("unheard" if side == victim else "deaf"), side, start, held_ns, False)
        self.wire.cut(0, 0)
        self.settle(0)

    def run(self):
        for fault in (self.stopped, self.dozed, self.killed) + ((self.one_way, self.half_open) if self.wire else ()):
            fault("a", "b")
            fault("b", "a")

    def close(self):
        for life in self.now.values():
            life.end()
        if self.wire:
            self.wire.end()
        shutil.rmtree(self.folder, ignore_errors=True)


def try_link(link, results):
    pair = None
    try:
        pair = Pair(link)
        pair.run()
        results[link], text = 0, ", ".join(pair.results)
    except wired.Skipped as why:
        results[link], text = 77, f"skipped: {why}"
    except Exception as why:  # pylint: disable=broad-except
        results[link], text = 1, f"WRONG: {type(why).__name__}: {why}"
    if pair:
        pair.close()
    print(f"{link}: {text}", flush=True)


def main():
    print(f"STOA_SEED={SEED}: noticed after", flush=True)
    results = {}
    threads = [threading.Thread(target=try_link, args=(link, results)) for link in (*LOCAL, *ON_WIRE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(results.values(), key=lambda code: (code == 1, code))


if __name__ == "__main__":
    sys.exit(main())
