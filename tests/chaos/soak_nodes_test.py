"""soak_nodes_test.py - goal: a node may run for as long as it likes beside one that does not: no growth of memory, descriptors, threads or
files in /dev/shm. Method: over each kind of link two real nodes; a client of the one that stays posts in a room of the other, which is
killed with -9 and started again, or stopped until it is held for lost and then goes on, in rounds. What the one that stays holds at the
end is compared with what it held when it was warm, in the same state: both up, and posts answered.

8 rounds, two of them before it is warm; with STOA_DEEP 5 minutes, and each line also with the listener as the one that dies. The seed of
what happens when is printed; STOA_SEED repeats it. soak_test.py is the same of links and sessions alone, more often.

Descriptors are counted without those of files below the node's data folder, which are its database's.

SPDX-License-Identifier: Apache-2.0
"""
import os
import random
import shutil
import signal
import sys
import tempfile
import time

import wired
from linked_nodes import Node, Talk, both_up, keys_exchange, until
from running_node import free_port
from soak import soak

DEEP = bool(os.environ.get("STOA_DEEP"))
WARM_S, SOAK_S = (75, 240) if DEEP else (0, 0)  # a node makes its first snapshot after a minute
WARM_ROUNDS, ROUNDS = 2, 6
GROWTH_KIB = 4096  # pools of libraries, and the database's own memory, take a while to fill
POST_S = 2
SEED = int(os.environ.get("STOA_SEED", time.time_ns() & 0xFFFFFFFF))
LINKS = {"shm": "shm://{}/link", "zmq+tcp": "zmq+tcp://127.0.0.1:{}", "ucx+tcp": "ucx+tcp://127.0.0.1:{}", "ofi+tcp": "ofi+tcp://127.0.0.1:{}",
         "ucx+tcp trusted": "ucx+tcp://127.0.0.1:{}"}
LINES = [("shm", "b"), ("zmq+tcp", "a"), ("ucx+tcp", "b"), ("ofi+tcp", "a")]
MORE_LINES = [("ucx+tcp trusted", "a"), ("ucx+tcp trusted", "b"), ("shm", "a"), ("zmq+tcp", "b"), ("ucx+tcp", "a"), ("ofi+tcp", "b")]


class Line:
    """Two nodes over a link, a listens; the one that stays, and what becomes of the other."""

    def __init__(self, link, stays):
        self.what = f"{link}, where {stays} stays"
        self.chance = random.Random(f"{SEED} {self.what}")
        self.folder = tempfile.mkdtemp(prefix="stoa-soak-")
        self.talk, self.deaths, self.stops, self.asked = None, 0, 0, 0
        uri = LINKS[link].format(self.folder if link == "shm" else free_port())
        more = ", trusted: true" if link.endswith("trusted") else ""
        nodes = {"a": Node(self.folder, "a", "b", uri, "listen: true" + more, "in"),
                 "b": Node(self.folder, "b", "a", uri, "listen: false" + more, "to-a")}
        self.stays, self.dies = nodes.pop(stays), nodes.popitem()[1]
        if link != "shm":
            keys_exchange(self.stays, self.dies)

    def start(self):
        self.stays.start()
        self.dies.start()
        both_up(self.stays, self.dies)
        self.talk = Talk(self.stays, "room-" + self.dies.name, POST_S)
        self.talk.start()

    def lost(self):
        until(lambda: self.stays.node(self.dies.name)["state"] == "lost", f"{self.what}: the loss", self.stays.log)

    def round(self):
        if self.chance.random() < 0.7:
            self.dies.kill()
            if self.chance.random() < 0.5:
                self.lost()
            self.dies.start()
            self.deaths += 1
        else:
            self.dies.process.send_signal(signal.SIGSTOP)
            self.lost()
            self.dies.process.send_signal(signal.SIGCONT)
            self.stops += 1
        both_up(self.stays, self.dies)
        answered = len(self.talk.seqs)
        until(lambda: len(self.talk.seqs) > answered + 10, f"{self.what}: posts in the other's room", lambda: self.talk.failed[-3:])

    def rounds(self, least, seconds):
        until_s = time.monotonic() + seconds
        while least > 0 or time.monotonic() < until_s:
            self.round()
            least -= 1

    def held(self):
        """(KiB resident, descriptors but for the database's files, threads) of the one that stays."""
        rss, _, threads = wired.held_by(self.stays.process)
        folder, count = f"/proc/{self.stays.process.pid}/fd", 0
        for name in os.listdir(folder):
            try:
                count += not os.readlink(f"{folder}/{name}").startswith(self.stays.data + "/")
            except FileNotFoundError:
                pass  # closed meanwhile
        return rss, count, threads

    def run(self):
        self.start()
        self.rounds(WARM_ROUNDS, WARM_S)
        rss, descriptors, threads = self.held()
        self.rounds(ROUNDS, SOAK_S)
        most = (rss + GROWTH_KIB, descriptors, threads)
        wired.wait_until(lambda: f"{self.what} holds no more than {most}: {self.held()}",
                         lambda: all(is_now <= limit for is_now, limit in zip(self.held(), most)))
        self.talk.stop()
        wired.demand(self.stays.process.poll() is None, f"{self.what}: the node has ended")
        grown = self.held()[0] - rss
        codes = (self.stays.stop(), self.dies.stop())
        wired.demand(codes == (0, 0), f"{self.what}: the nodes ended with {codes}")
        return (f"{self.what}: {self.deaths} deaths, {self.stops} stops, {len(self.talk.seqs)} posts answered; {rss} KiB grew by {grown}, "
                f"{descriptors} descriptors, {threads} threads")

    def close(self):
        if self.talk and self.talk.is_alive():
            self.talk.stop()
        for node in (self.stays, self.dies):
            node.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def main():
    print(f"STOA_SEED={SEED}", flush=True)
    os.environ.update(wired.QUIET)
    return soak(Line, LINES + (MORE_LINES if DEEP else []))


if __name__ == "__main__":
    sys.exit(main())
