"""running_node.py - a stoad with a small market and two rooms for tests against real processes, and a proxy before its gateway
that can cut connections.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import random
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time

BIN = os.environ["STOA_BIN"]

CONFIG = """
symbols:
  - {name: BTCUSDT, base: BTC, quote: USDT, tick: 0.01, lot: 0.00001, qty_min: 0.00001, qty_max: 100}
accounts:
  - {name: treasury, issuer: true}
  - {name: alice, funds: "100000000 USDT, 1000 BTC"}
  - {name: bob, funds: "100000000 USDT, 1000 BTC"}
clients:
  - {name: alice, accounts: "alice"}
  - {name: bob, accounts: "bob"}
rooms:
  - {name: lobby}
  - {name: annex}
market: {source: %s}
quoters: []
"""


def free_port():
    """Below those that the system gives to connections: between now and the node's start nobody gets it by chance."""
    while True:
        port = random.SystemRandom().randrange(10000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def find(document, key):
    """The first value under that key, however deep; a state is JSON in a string of the document."""
    if isinstance(document, str) and document.startswith("{"):
        document = json.loads(document)
    if isinstance(document, dict):
        if key in document:
            return document[key]
        document = list(document.values())
    for value in document if isinstance(document, list) else []:
        found = find(value, key)
        if found is not None:
            return found
    return None


class Node:
    """One stoad in a folder of its own; log and data stay there until close."""

    def __init__(self, market="none", plugin=None):
        """plugin: the library of examples/plugins/tally.c; alice may ask it."""
        self.folder = tempfile.mkdtemp(prefix="stoa-node-")
        self.port = free_port()
        self.process = None
        with open(self.path("stoa.yaml"), "w", encoding="utf-8") as out:
            config = CONFIG % market
            if plugin:
                config = config.replace('accounts: "alice"}', 'accounts: "alice", plugins: "tally"}')
                config += f"plugins:\n  - {{name: tally, library: {plugin}, actors: t}}\n"
            out.write(config)

    def path(self, name):
        return os.path.join(self.folder, name)

    def key(self, name):
        """Path of a key pair, without its ending."""
        return os.path.join(self.folder, "data", "keys", name)

    @property
    def endpoint(self):
        return f"zmq+tcp://127.0.0.1:{self.port}"

    def start(self):
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(BIN, "stoad"), "--config", self.path("stoa.yaml"), "--data", self.path("data"),
                 "--gateway.listen=" + self.endpoint, "--http.port=-1"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + 60
        while True:
            try:
                with socket.socket(socket.AF_UNIX) as door:  # its own, whoever may listen at the port
                    door.connect(self.path("data/admin.sock"))
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise AssertionError("the node did not start:\n" + self.log()) from None
                time.sleep(0.02)

    def freeze(self):
        """SIGSTOP, and wait until every thread has stopped."""
        self.process.send_signal(signal.SIGSTOP)
        tasks = f"/proc/{self.process.pid}/task"
        states = ["R"]
        while set(states) != {"T"}:
            states = []
            for task in os.listdir(tasks):
                with open(f"{tasks}/{task}/stat", encoding="ascii") as stat:
                    states.append(stat.read().rpartition(")")[2].split()[0])

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def log(self):
        with open(self.path("log"), encoding="utf-8", errors="replace") as log:
            return log.read()[-6000:]

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.kill()


class Proxy:
    """Passes bytes between clients and a port; cut() breaks all connections there are, hold(True) lets nobody in, mute(True) keeps
    from the clients what the node says."""

    def __init__(self, port):
        self.to = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.pairs, self.lock, self.held, self.muted = [], threading.Lock(), False, False
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def endpoint(self):
        return f"zmq+tcp://127.0.0.1:{self.port}"

    def accept(self):
        while True:
            inside, _ = self.listener.accept()
            try:
                if self.held:
                    raise OSError("held")
                outside = self.dial()
            except OSError:
                inside.close()
                continue
            with self.lock:
                self.pairs.append((inside, outside))
            threading.Thread(target=self.carry, args=(inside, outside), daemon=True).start()

    def dial(self):
        """To the node. While it is away its clients wait at the door: closed in their faces it would look like a refusal."""
        until = time.monotonic() + (60 if self.muted else 0)
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.to), 5)
            except OSError:
                if time.monotonic() >= until:
                    raise
                time.sleep(0.02)

    def carry(self, inside, outside):
        try:
            while True:
                for source in select.select([inside, outside], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        raise OSError("closed")
                    if source is inside or not self.muted:
                        (outside if source is inside else inside).sendall(data)
        except (OSError, ValueError):
            inside.close()
            outside.close()

    def cut(self):
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def hold(self, held):
        self.held = held
        if held:
            self.cut()

    def mute(self, muted):
        """What is kept back is lost: end it with a cut."""
        self.muted = muted
