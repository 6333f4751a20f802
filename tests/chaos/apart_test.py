"""apart_test.py - goal: durable channels between shards of two nodes are exact, whatever happens to the network between them and to
the nodes, while casts and asks go over the same connection: those are in order, none is twice, and none is missing unless its sender was told of a
loss, and each restart is reported as a reset. Method: two nodes, each with two shards on RocksDB, in two network namespaces joined by a wire of our own (chaos_wire) that
is cut one way or both, loses, delays, doubles and mixes up packets; their purses pay each other without a pause, and either node
is killed with -9. Then both come to rest and are compared: no acknowledged payment is gone, all that was sent has come or come
back, once, no money was lost or made, and a replay of each log gives the live state. Meanwhile each node tells and asks the other
numbers without a pause; the one that hears them checks them (gossip.h), and ends by name where they are wrong.

Over zmq+tcp (CURVE), with STOA_DEEP over ucx+tcp and ofi+tcp, too: 2 rounds of 3 cuts and 2 kills each, with STOA_DEEP 25 rounds, of 50 kills and 75 cuts. The seed is
printed; STOA_SEED repeats its choices (what the machine makes of them is real time). STOA_LINKS: only these, as "zmq". Without the right
to make network namespaces the test is skipped and says so.

SPDX-License-Identifier: Apache-2.0
"""
import os
import random
import shutil
import sys
import tempfile
import time

import wired

DEEP = bool(os.environ.get("STOA_DEEP"))
ROUNDS = 25 if DEEP else 2
SEED = int(os.environ.get("STOA_SEED", time.time_ns() & 0xFFFFFFFF))
LINKS = os.environ.get("STOA_LINKS", "zmq ucx ofi" if DEEP else "zmq").split()
PURSES = 4
WEATHER = [wired.Wire.CLEAR, (2000, 1000, 0, 0, 0), (20000, 10000, 0, 0, 0), (1000, 0, 20, 0, 0), (1000, 1000, 5, 20, 20)]
EVENTS = ["cut", "cut", "cut", "kill", "kill"]


class Node(wired.Program):
    """One life of a node."""

    def ask(self, order, word):
        start = len(self.read())
        self.order(order)
        return self.wait_line(word, start)

    def paid(self):
        """Of each purse the last payment that was acknowledged."""
        last = [0] * PURSES
        for words in self.read():
            if words[0] == "paid":
                last[int(words[1])] = max(last[int(words[1])], int(words[2]))
        return last


class Apart:
    def __init__(self, link, seed):
        self.link, self.chance = link, random.Random(seed)
        self.folder = tempfile.mkdtemp(prefix="stoa-apart-")
        self.wire = wired.Wire(seed)
        self.keys = wired.Keys()
        self.nodes = [None, None]
        self.acknowledged = [[0] * PURSES, [0] * PURSES]
        self.lives = 0
        self.heard = ""
        for side in (0, 1):
            os.mkdir(os.path.join(self.folder, str(side)))
            self.start(side)

    def start(self, side):
        self.lives += 1
        options = {"incarnation": self.lives, "seed": self.chance.getrandbits(32), "net": self.wire.net[side], **self.keys.of("ab"[side])}
        self.nodes[side] = Node("chaos_apart", side, os.path.join(self.folder, str(side)), f"{self.link}+tcp://10.88.0.1:7000",
                                *(f"{key}={value}" for key, value in options.items()))
        self.nodes[side].wait_line("up")
        self.nodes[side].order("pay")

    def kill(self, side):
        node = self.nodes[side]
        code = node.process.poll()
        if code is not None:
            node.ended(code)
        node.process.kill()
        node.process.wait()
        self.acknowledged[side] = [max(pair) for pair in zip(self.acknowledged[side], node.paid())]
        node.end()
        time.sleep(self.chance.uniform(0, 0.3))
        self.start(side)

    def cut(self):
        self.wire.cut(*self.chance.choice([(1, 1), (1, 1), (1, 0), (0, 1)]))
        time.sleep(self.chance.uniform(0.05, 2.5))
        if self.chance.random() < 0.3:  # nobody hears of it
            self.kill(self.chance.randrange(2))
        self.wire.cut(0, 0)

    def looks(self):
        return [[int(word) for word in node.ask("look", "look")[1:]] for node in self.nodes]

    def at_rest(self):
        """What both have, where nothing waits and nothing was handed on meanwhile."""
        before, now = self.looks(), self.looks()
        return now if before == now and all(look[0] == 0 for look in now) else None

    def gossip(self):
        """Both hear each other, now."""
        before = [int(node.ask("heard", "heard")[1]) for node in self.nodes]
        wired.wait_until("both hear each other", lambda: all(int(node.ask("heard", "heard")[1]) > then for node, then in zip(self.nodes, before)))
        count, lives, resets = (sum(int(node.ask("heard", "heard")[i]) for node in self.nodes) for i in (1, 2, 3))
        self.heard = f"the last two have heard {count} casts and asks of {lives + 2} lives, and were told of {resets} resets"

    def compare(self):
        self.gossip()
        for node in self.nodes:
            node.ask("rest", "resting")
        a, b = wired.wait_until(lambda: f"the channels come to rest: {self.looks()}", self.at_rest)
        money, sent, got, back = (a[i] + b[i] for i in range(1, 5))
        if money != 0 or sent != got + back:
            raise wired.Wrong(f"money {money}; sent {sent}, got {got}, back {back}")
        for side, node in enumerate(self.nodes):
            self.acknowledged[side] = [max(pair) for pair in zip(self.acknowledged[side], node.paid())]
            node.ask("audit " + " ".join(map(str, self.acknowledged[side])), "good")
            node.order("pay")
        return sent

    def run(self):
        sent = 0
        for _ in range(ROUNDS):
            self.chance.shuffle(EVENTS)
            for event in EVENTS:
                time.sleep(self.chance.uniform(0, 0.8))
                self.wire.weather(*self.chance.choice(WEATHER))
                if event == "cut":
                    self.cut()
                else:
                    self.kill(self.chance.randrange(2))
            self.wire.weather(*wired.Wire.CLEAR)
            before, sent = sent, self.compare()
            if sent <= before:
                raise wired.Wrong(f"nothing was sent in a round: {before}, {sent}")
        return sent

    def close(self):
        for node in self.nodes:
            if node:
                node.end()
        passed, lost, cut = self.wire.counts()
        self.wire.end()
        shutil.rmtree(self.folder, ignore_errors=True)
        return f"{passed} packets passed, {lost} were lost, {cut} cut off"


def try_link(link):
    began, world = time.monotonic(), None
    try:
        world = Apart(link, SEED)
        text, code = f"{world.run()} payments sent, each has come once or come back; {world.heard}; {world.lives - 2} kills", 0
    except wired.Skipped as why:
        text, code = f"skipped: {why}", 77
    except wired.Wrong as why:
        text, code = f"WRONG: {why}", 1
    packets = world.close() if world else "no wire"
    print(f"{link}+tcp: {text}; {packets}; {time.monotonic() - began:.0f} s", flush=True)
    return code


def main():
    print(f"STOA_SEED={SEED}: {ROUNDS} rounds over each link", flush=True)
    codes = [try_link(link) for link in LINKS]
    return max(codes, key=lambda code: (code == 1, code))


if __name__ == "__main__":
    sys.exit(main())
