"""archive_node.py - for the tests of archives, backups and restores: a stoad with traders and talkers that do not stop, what the REPL's
commands say of it, and states compared by their hashes.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from running_node import BIN, Node
from stoa_client import Client, StoaError

SEED = int(os.environ.get("STOA_SEED", time.time_ns() & 0xFFFFFFFF))

SETTINGS = """
archive: {interval: 200ms, segment: 8KiB}
"""

# hot for a second, so that the journal is purged while the test looks
HURRIED = """
archive: {interval: 100ms, segment: 8KiB}
retention: {orders: {hot: 1s, warm: 3s}, trades: {hot: 1s, warm: 3s}, chat: {hot: 1s, warm: 3s}}
snapshot: {every_events: 200, every: 500ms}
"""


def run(program, *arguments, code=0):
    done = subprocess.run([os.path.join(BIN, program), *arguments], capture_output=True, text=True, timeout=300, check=False,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == code, (arguments, done.returncode, done.stdout[-2000:], done.stderr[-4000:])
    return done


class Archive(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="stoa-archive-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.backup = os.path.join(self.folder, "backup")
        self.nodes, self.clients, self.threads, self.over = [], [], [], threading.Event()
        self.errors = []
        self.addCleanup(self.end)
        self.number = 0

    def end(self):
        self.rest()
        for client in self.clients:
            client.close()
        for node in self.nodes:
            node.close()
            shutil.rmtree(node.folder, True)

    def start(self, data=None, settings=SETTINGS, without="", config=None):
        """config: in the place of what running_node.py has."""
        node = Node("none")
        self.nodes.append(node)
        with open(node.path("stoa.yaml"), encoding="utf-8") as file:
            text = config or file.read()
        with open(node.path("stoa.yaml"), "w", encoding="utf-8") as out:
            out.write(text.replace(without, "") + settings)
        if data:
            os.rename(data, node.path("data"))
        node.start()
        return node

    def client(self, node, name):
        keys = node.path(os.path.join("data", "keys"))
        client = Client(node.endpoint, os.path.join(keys, "server.pub"), os.path.join(keys, name))
        client.wait_ready(60)
        self.clients.append(client)
        return client

    def ask(self, node, *words, write=True, code=0):
        done = run("stoa", "--data", node.path("data"), "--timeout", "120000", "-o", "json", *(["--write"] if write else []), *words,
                   code=code)
        return json.loads(done.stdout) if code == 0 else done.stdout + done.stderr

    def order(self, client, name, price="60000", qty="0.001", side="buy"):
        self.number += 1
        return client.place(name, self.number, "BTCUSDT", side, price, qty, deadline=60)

    def work(self, node):
        """Traders and a talker that do not stop, some hundred events a second: segments are small here, and each is synced.
        Numbers of orders only grow: an account forgets the oldest."""
        begin = self.number + 1000000
        self.number += 3000000

        def trade(name, side, first):
            try:
                client, number = self.client(node, name), first
                while not self.over.wait(0.003):
                    number += 1
                    client.place(name, number, "BTCUSDT", side, "60000", "0.001", deadline=60)
            except (StoaError, OSError) as error:
                self.errors.append(error)

        def talk():
            try:
                client, number = self.client(node, "alice"), 0
                client.join("lobby", 60)
                while not self.over.wait(0.003):
                    number += 1
                    client.post("lobby", number, f"number {number}", deadline=60)
            except (StoaError, OSError) as error:
                self.errors.append(error)
        self.over.clear()
        for target, arguments in ((trade, ("alice", "buy", begin)), (trade, ("bob", "sell", begin)), (talk, ())):
            thread = threading.Thread(target=target, args=arguments)
            thread.start()
            self.threads.append(thread)

    def rest(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
        self.threads = []

    def catalog(self):
        with open(os.path.join(self.backup, "backup.json"), encoding="utf-8") as file:
            return json.load(file)

    def positions(self, node):
        return {shard["name"]: shard["applied"] for shard in self.ask(node, "shards")["shards"] if shard["durability"] != "none"}

    def until(self, node, more):
        """The trading log has grown by so much."""
        wanted, end = self.positions(node)["trade"] + more, time.monotonic() + 120
        while self.positions(node)["trade"] < wanted:
            self.assertLess(time.monotonic(), end, node.log())
            time.sleep(0.05)

    def hash(self, node, shard, position):
        return self.ask(node, "hash", shard, str(position))["hash"]["replay"]

    def world(self, node):
        """The epoch that its shards write, and the session that it gives to somebody new."""
        epoch = {shard["epoch"] for shard in self.ask(node, "shards")["shards"] if shard["durability"] != "none"}
        self.assertEqual(len(epoch), 1)
        return epoch.pop(), self.client(node, "bob").session

    def shown(self, node, shard):
        return self.ask(node, "archive", shard, write=False)["archives"][0]

    def purged(self, node, beyond, shard="trade"):
        """The journal has been purged beyond a position."""
        end = time.monotonic() + 120
        while self.shown(node, shard)["log_first"] <= beyond:
            self.assertLess(time.monotonic(), end, (self.shown(node, shard), node.log()))
            time.sleep(0.1)


def main():
    print(f"seed {SEED}", flush=True)
    unittest.main(verbosity=2, argv=sys.argv)
