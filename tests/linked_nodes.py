"""linked_nodes.py - two stoads that know each other by a link, as an operator has them, and a client of one that posts in a room of the
other's; for tests against real processes.

    a = Node(folder, "a", "b", uri, "listen: true", "in")
    b = Node(folder, "b", "a", uri, "listen: false", "to-a")
    keys_exchange(a, b)     but over shared memory, which has none
    a.start(); b.start(); both_up(a, b)

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import signal
import subprocess
import threading
import time
import urllib.request

from running_node import BIN
from stoa_client import Client, StoaError

WAIT_S = 120
OK, FAILED, USAGE, NOT_FOUND, DENIED = range(5)
HEARTBEAT_NS, SILENCE_NS = 50_000_000, 1_000_000_000
HASTY, HASTY_LINK = ", lost: 1s", ", heartbeat: 50ms, silence: 1s"  # else: the defaults

CONFIG = """
node: {name: %(name)s, shares: "room, market_book"%(hasty)s}
symbols:
  - {name: BTCUSDT, base: BTC, quote: USDT, tick: 0.01, lot: 0.00001, qty_min: 0.00001, qty_max: 100}
accounts:
  - {name: treasury, issuer: true}
clients:
  - {name: demo}
rooms:
  - {name: %(room)s}
market: {source: none}
quoters: []
links:
  - {name: %(link)s, uri: "%(uri)s", nodes: %(other)s, %(more)s%(hasty_link)s}
"""


def until(look, what="it", more=lambda: ""):
    end = time.monotonic() + WAIT_S
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"{what} did not come; {more()}"
        time.sleep(0.05)


class Node:
    def __init__(self, folder, name, other, uri, more, link, hasty=True):
        self.name, self.folder = name, os.path.join(folder, name)
        self.data = os.path.join(self.folder, "data")
        os.makedirs(self.folder)
        self.process = None
        with open(os.path.join(self.folder, "stoa.yaml"), "w", encoding="utf-8") as out:
            out.write(CONFIG % {"name": name, "other": other, "uri": uri, "more": more, "link": link, "room": "room-" + name,
                                "hasty": HASTY if hasty else "", "hasty_link": HASTY_LINK if hasty else ""})

    def stoa(self, line, *flags):
        return subprocess.run([os.path.join(BIN, "stoa"), "-o", "json", "--data", self.data, "--timeout", "60000", *flags, "--eval", line],
                              capture_output=True, text=True, timeout=WAIT_S, check=False, stdin=subprocess.DEVNULL)

    def ask(self, line, *flags):
        done = self.stoa(line, *flags)
        assert done.returncode == OK, (line, done.stdout, done.stderr, self.log())
        return json.loads(done.stdout)

    def write(self, line):
        return self.ask(line, "--write")

    def public(self):
        return os.path.join(self.data, "keys", "server.pub")

    def start(self):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            at = log.tell()
            self.process = subprocess.Popen([os.path.join(BIN, "stoad"), "--config", os.path.join(self.folder, "stoa.yaml"), "--data", self.data,
                                             "--http.port=0", "--gateway.listen=zmq+ipc://" + self.folder + "/gw"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def ready():
            assert self.process.poll() is None, self.log()
            return '"event":"ready"' in self.log(at)
        until(ready, "ready", self.log)
        self.port = json.loads(next(line for line in self.log(at).splitlines() if '"http_listens"' in line))["port"]

    def log(self, at=0):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as log:
            log.seek(at)
            return log.read()

    def size(self):
        return os.path.getsize(os.path.join(self.folder, "log"))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        return self.process.wait(WAIT_S)

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.kill()

    def node(self, name):
        return next((row for row in self.ask("links")["nodes"] if row["node"] == name), {"state": "none", "names": 0})

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=WAIT_S) as page:
            return page.read().decode()


def keys_exchange(a, b):
    """Before the first start of either."""
    for node in (a, b):
        node.write("key new server")
    for node, other in ((a, b), (b, a)):
        node.write(f"key allow {other.name} {other.public()}")


def both_up(a, b):
    for one, other in ((a, b), (b, a)):
        until(lambda: one.node(other.name)["state"] == "up" and one.node(other.name)["names"] >= 1, f"{one.name}: {other.name} up",
              lambda: one.stoa("links").stdout + one.log()[-3000:])


class Talk(threading.Thread):
    """A client of one node that posts in a room of the other's all the time, each post once, until stop."""

    def __init__(self, node, room, deadline_s=WAIT_S, pause_s=0.005):
        super().__init__()
        self.deadline_s, self.pause_s = deadline_s, pause_s
        self.client = Client("zmq+ipc://" + node.folder + "/gw", node.data + "/keys/server.pub", node.data + "/keys/demo")
        self.client.wait_ready(WAIT_S)
        self.client.join(room)
        self.room, self.over, self.seqs, self.failed = room, threading.Event(), [], []

    def run(self):
        while not self.over.is_set():
            try:
                self.seqs.append(self.client.post(self.room, len(self.seqs) + len(self.failed) + 1, "m", deadline=self.deadline_s)["seq"])
            except StoaError as fault:
                self.failed.append(repr(fault))
            time.sleep(self.pause_s)

    def some_more(self):
        count = len(self.seqs)
        until(lambda: len(self.seqs) >= count + 3 or self.failed, "posts")

    def stop(self):
        self.over.set()
        self.join()
        self.client.close()
