"""soak_test.py - goal: links and sessions may run for as long as they like: no growth of memory, descriptors, threads or files in
/dev/shm, and who is killed leaves nothing behind that the next start does not clean. Method: over each kind of link two pairs of
processes talk and send large things to each other; in one the listener stays and who dials is killed with -9 again and again, in
the other it is the other way round. Of those that stay, what they hold at the end is compared with what they held when they
were warm, in the same state: up, with messages that come. By then a transfer that a kill broke off has been resumed, and of such
no more is kept than what is under way. Under a sanitizer memory is not compared.

15 seconds, or 5 minutes with STOA_DEEP. The seed of what is sent and when is printed; STOA_SEED repeats it. Every start at an
address where a killed process listened is such a cleaning; order, resets and their counts are partition_test.py's.

SPDX-License-Identifier: Apache-2.0
"""
import os
import random
import shutil
import statistics
import sys
import tempfile
import time

import wired
from soak import soak

DEEP = bool(os.environ.get("STOA_DEEP"))
WARM_S, SOAK_S = (60, 240) if DEEP else (6, 9)
LIFE_S = (0.5, 3.0)
LIVES_MAX = 100  # that one of them breaks no transfer off is chance
GROWTH_KIB = 4096 if DEEP else 12288  # libraries' pools take a while to fill; a connection has two rings of 4 MiB
PER_LIFE_KIB = 16
WAVES_KIB = {"ofi+tcp": 8192}  # an endpoint's pools are touched more and more, 20 MiB, until another one takes its place
SEED = int(os.environ.get("STOA_SEED", time.time_ns() & 0xFFFFFFFF))
LINKS = {"shm": "shm://{}/link", "zmq+ipc": "zmq+ipc://{}/link", "zmq+tcp": "zmq+tcp://127.0.0.1:0",
         "ucx+tcp": "ucx+tcp://127.0.0.1:0", "ofi+tcp": "ofi+tcp://127.0.0.1:0"}


class Pair:
    """Two that talk over a link; the one that stays, and the lives of the other."""

    def __init__(self, link, stays):
        self.link, self.stays, self.dies = link, stays, "b" if stays == "a" else "a"
        self.chance = random.Random(f"{SEED} {link} {stays}")
        self.folder = tempfile.mkdtemp(prefix="stoa-soak-")
        self.address = LINKS[link].format(self.folder)
        self.keys = wired.Keys() if link.endswith("tcp") else None
        self.now, self.clock, self.ended_resumed = {}, 0, 0
        for side in "ab":
            self.start(side)

    def start(self, side):
        self.clock += 1
        options = self.keys.of(side) if self.keys else {}
        life = wired.Talker("listen" if side == "a" else "dial", self.address, self.folder, self.clock, env=wired.QUIET, name=side,
                            peer="b" if side == "a" else "a", seed=self.chance.getrandbits(32), pace_us=5000,
                            transfers=SEED + 1, keep=f"{self.folder}/keep-{side}", trusts=int(self.link == "shm"), **options)
        self.address = life.address
        life.order("talk")
        self.now[side] = life

    def replace(self):
        life = self.now[self.dies]
        life.kill()
        self.ended_resumed += life.transfers()[2]
        life.map.close()
        self.start(self.dies)

    def talking(self):
        """Up, and messages and a transfer have come, both ways, since."""
        for life in self.now.values():
            life.check_alive_or_killed()
            wired.wait_until(f"{self.what()} is up", lambda life=life: life.state()[0])
        before = {life: (life.came(), life.transfers()[1]) for life in self.now.values()}
        wired.wait_until(lambda: f"{self.what()}: more comes than {list(before.values())}: "
                                 f"{[life.read()[-3:] for life in self.now.values()]}",
                         lambda: all(life.came() > before[life][0] and life.transfers()[1] > before[life][1] for life in before))

    def what(self):
        return f"{self.link}, where {self.stays} stays"

    def resumed(self):
        """So many transfers that a death broke off went on where they were, to either side."""
        return self.ended_resumed + sum(life.transfers()[2] for life in self.now.values())

    def kept(self):
        return [name for side in "ab" for name in os.listdir(f"{self.folder}/keep-{side}") if name.endswith(".part")]

    def soak(self, seconds):
        """How often the other one died, at least until a transfer was resumed; and how many KiB the one that stays held in the second
        half, by the median."""
        lives, begun, held = 0, time.monotonic(), []
        while time.monotonic() < begun + seconds or (self.resumed() == 0 and lives < LIVES_MAX):
            time.sleep(self.chance.uniform(*LIFE_S))
            self.replace()
            lives += 1
            if self.chance.random() < 0.7:
                self.talking()
                if time.monotonic() > begun + seconds / 2:
                    held.append(wired.held_by(self.now[self.stays].process)[0])
        self.talking()
        return lives, int(statistics.median([*held, wired.held_by(self.now[self.stays].process)[0]]))

    def run(self):
        _, before = self.soak(WARM_S)
        life = self.now[self.stays]
        _, descriptors, threads = wired.held_by(life.process)
        lives, after = self.soak(SOAK_S)
        most = GROWTH_KIB + PER_LIFE_KIB * lives + WAVES_KIB.get(self.link, 0)
        wired.demand(after - before <= most or wired.is_sanitized(life.process), f"{self.what()} grew by {after - before} KiB in {lives} lives, which is more than {most}")
        wired.wait_until(lambda: f"{self.what()} holds no more than {descriptors, threads} after {lives} lives: {wired.held_by(life.process)}",
                         lambda: all(is_now <= limit for is_now, limit in zip(wired.held_by(life.process)[1:], (descriptors, threads))))
        wired.demand(self.resumed() > 0, f"{self.what()}: none of {life.transfers()[1]} transfers was resumed in {lives} lives")
        wired.demand(len(self.kept()) <= 2, f"{self.what()}: kept are {self.kept()}")
        return (f"{self.what()}: {lives} deaths, {life.came()} messages and {life.transfers()[1]} transfers came, {self.resumed()} were "
                f"resumed; {before} KiB grew by {after - before}, {descriptors} descriptors, {threads} threads")

    def close(self):
        for life in self.now.values():
            life.end()
        shutil.rmtree(self.folder, ignore_errors=True)


def main():
    print(f"STOA_SEED={SEED}, {WARM_S + SOAK_S} s", flush=True)
    return soak(Pair, [(link, stays) for link in LINKS for stays in "ab"])


if __name__ == "__main__":
    sys.exit(main())
