"""archive_test.py - goal: a backup taken while a node works restores, on an empty folder, to the very states that the live node
had, whole or as they were before a moment; damage is named; whenever a backup is killed, the next one is whole. Method: a real
stoad with traders and talkers that do not stop, the REPL's commands and stoad's own, hashes compared at equal positions.

SPDX-License-Identifier: Apache-2.0
"""
import fcntl
import glob
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from running_node import BIN, Node
from stoa_client import Client, StoaError

SEED = int(os.environ.get("STOA_SEED", time.time_ns() & 0xFFFFFFFF))
KILLS = 100 if os.environ.get("STOA_DEEP") else 10
SETTINGS = """
archive: {interval: 200ms, segment: 8KiB}
"""

# hot for a second, so that the journal is purged while the test looks
HURRIED = """
archive: {interval: 100ms, segment: 8KiB}
retention: {orders: {hot: 1s, warm: 3s}, trades: {hot: 1s, warm: 3s}, chat: {hot: 1s, warm: 3s}}
snapshot: {every_events: 200, every: 500ms}
"""

# and over after some seconds
OVER = """
archive: {interval: 100ms, segment: 8KiB, expire: true}
retention:
  orders: {hot: 500ms, warm: 1s, cold: 2s, archive: 3s}
  trades: {hot: 500ms, warm: 1s, cold: 2s, archive: 3s}
  chat: {hot: 500ms, warm: 1s, cold: 2s, archive: 3s}
snapshot: {every_events: 200, every: 300ms}
"""


def run(program, *arguments, code=0):
    done = subprocess.run([os.path.join(BIN, program), *arguments], capture_output=True, text=True, timeout=300, check=False,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == code, (arguments, done.returncode, done.stdout[-2000:], done.stderr[-4000:])
    return done


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)


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

    def start(self, data=None, settings=SETTINGS, without=""):
        node = Node("none")
        self.nodes.append(node)
        with open(node.path("stoa.yaml"), encoding="utf-8") as file:
            text = file.read()
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

    # --- the tests

    def test_backup_while_it_works_and_restore_on_an_empty_folder(self):
        node = self.start()
        self.work(node)
        self.until(node, 300)
        plan = self.ask(node, "backup", self.backup, "--plan", write=False)
        self.assertIn("plan", plan)
        self.assertFalse(os.path.exists(self.backup))
        first = self.ask(node, "backup", self.backup)
        self.assertEqual(first["job"]["state"], "done", first)
        self.until(node, 300)
        second = {shard["shard"]: shard for shard in self.ask(node, "backup", self.backup)["shards"]}
        for shard in first["shards"]:  # incremental: on from where it was
            self.assertGreaterEqual(second[shard["shard"]]["held"], shard["last"])
        self.assertGreater(second["trade"]["segments"], 2)
        self.until(node, 100)
        self.rest()
        self.assertEqual(self.errors, [])
        self.assertEqual(self.ask(node, "backup", "verify", self.backup, write=False)["job"]["state"], "done")
        self.assertEqual([shard["state_position"] > 0 for shard in self.catalog()["shards"]], [True, True])

        # offline, by stoad; planned, then done; into a folder that is not there, and never into one that is
        into = os.path.join(self.folder, "data")
        self.assertIn("nothing was written", run("stoad", "--restore", self.backup, "--into", into, "--plan").stdout)
        self.assertFalse(os.path.exists(into))
        done = run("stoad", "--restore", self.backup, "--into", into).stdout
        self.assertEqual(done.count("as live at"), 2, done)
        self.assertIn("EXISTS", run("stoad", "--restore", self.backup, "--into", into, code=1).stderr)

        # by the REPL of the running node, into another
        other = os.path.join(self.folder, "other")
        restored = self.ask(node, "restore", self.backup, other)
        self.assertEqual([shard["compared"] > 0 for shard in restored["shards"]], [True, True], restored)

        again = self.start(into)
        for shard in restored["shards"]:
            live = self.hash(node, shard["shard"], shard["last"])
            self.assertEqual(self.hash(again, shard["shard"], shard["last"]), live)
            self.assertEqual(shard["hash"].lstrip("0"), live.removeprefix("0x").lstrip("0"))
        self.order(self.client(again, "alice"), "alice")  # and it works on
        self.assertEqual(again.stop(), 0)

    def test_a_shard_without_events_is_backed_up_too(self):
        rooms = "rooms:\n  - {name: lobby}\n  - {name: annex}\n"
        node = self.start(without=rooms)
        self.order(self.client(node, "alice"), "alice")
        self.assertEqual(self.positions(node)["room"], 0)
        self.assertEqual(self.ask(node, "backup", self.backup)["job"]["state"], "done")
        run("stoad", "--verify-backup", self.backup)
        position = self.positions(node)["trade"]
        live = self.hash(node, "trade", position)
        self.assertEqual(node.stop(), 0)
        offline = os.path.join(self.folder, "offline")
        run("stoad", "--data", node.path("data"), "--backup", offline)
        for backup in (self.backup, offline):
            into = os.path.join(self.folder, "from-" + os.path.basename(backup))
            run("stoad", "--restore", backup, "--into", into)
            again = self.start(into, without=rooms)
            self.assertEqual(self.positions(again)["room"], 0)
            self.assertEqual(self.hash(again, "trade", position), live)

    def test_a_restore_removes_nothing_that_is_not_its_own(self):
        node = self.start()
        self.order(self.client(node, "alice"), "alice")
        self.ask(node, "backup", self.backup)
        into = os.path.join(self.folder, "mine")
        write(into + ".unfinished/thesis", "precious")
        for plan in (["--plan"], []):
            self.assertIn("EXISTS", run("stoad", "--restore", self.backup, "--into", into, *plan, code=1).stderr)
        self.assertIn("EXISTS", self.ask(node, "restore", self.backup, into, code=1))
        self.assertEqual(os.listdir(into + ".unfinished"), ["thesis"])
        self.assertFalse(os.path.exists(into))

        # what a restore left that was killed: said, and replaced; one that still works: left alone
        left = os.path.join(self.folder, "left")
        write(left + ".unfinished/restore.unfinished", "")
        write(left + ".unfinished/trade/db/half", "of one")
        self.assertIn("would remove", run("stoad", "--restore", self.backup, "--into", left, "--plan").stdout)
        self.assertTrue(os.path.exists(left + ".unfinished/trade/db/half"))
        held = os.open(left + ".unfinished", os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
        self.assertIn("DENIED", run("stoad", "--restore", self.backup, "--into", left, code=1).stderr)
        self.assertTrue(os.path.exists(left + ".unfinished/trade/db/half"))
        os.close(held)
        run("stoad", "--restore", self.backup, "--into", left)
        self.assertFalse(os.path.exists(left + ".unfinished"))
        self.assertNotIn("restore.unfinished", os.listdir(left))

        # a slash behind the folder's name is none within it
        slash = os.path.join(self.folder, "slash")
        run("stoad", "--restore", self.backup, "--into", slash + "//", "--plan")
        run("stoad", "--restore", self.backup, "--into", slash + "//")
        self.assertTrue(os.path.exists(os.path.join(slash, "trade", "commit.mark")))
        for odd in (".", "..", os.path.join(self.folder, "."), "/"):
            for plan in (["--plan"], []):
                self.assertIn("INVALID", run("stoad", "--restore", self.backup, "--into", odd, *plan, code=1).stderr)

    def test_each_log_goes_when_the_last_class_of_it_may(self):
        """Orders and executions are in one log, what is said in another."""
        classes = "retention: {orders: {hot: 1s, warm: 2h}, trades: {hot: %s, warm: 2h}, chat: {hot: %s, warm: 2h}}\n"
        rest = HURRIED.replace("retention: {orders: {hot: 1s, warm: 3s}, trades: {hot: 1s, warm: 3s}, chat: {hot: 1s, warm: 3s}}\n", "")
        self.assertNotIn("retention", rest)
        stays, goes = "trade", "room"
        node = self.start(settings=rest + classes % ("1h", "1s"))
        for trades, chat in (("1h", "1s"), ("1s", "1h")):
            self.work(node)
            self.until(node, 300)
            before = self.shown(node, stays)["log_first"]
            self.purged(node, 1, goes)  # while snapshots are made
            self.rest()
            self.assertEqual(self.shown(node, stays)["log_first"], before)
            if trades == "1h":
                self.assertEqual((before, self.shown(node, stays)["purge_waits_for"]), (1, "it is hot"))
                node.stop()
                with open(node.path("stoa.yaml"), encoding="utf-8") as file:
                    text = file.read()
                with open(node.path("stoa.yaml"), "w", encoding="utf-8") as out:
                    out.write(text.replace(classes % ("1h", "1s"), classes % ("1s", "1h")))
                node.start()
                stays, goes = goes, stays
        self.assertEqual(self.errors, [])

    def test_a_log_that_nobody_waits_for_is_sealed_and_purged_too(self):
        node = self.start(settings=HURRIED + "trade: {durability: memory}\n")
        self.work(node)
        self.until(node, 300)
        self.purged(node, 1)
        self.rest()
        shown = self.shown(node, "trade")
        self.assertGreater(shown["sealed"], 100)
        journal = self.ask(node, "journal", "trade", write=False)["journal"]
        self.assertGreaterEqual(journal["proven"], shown["sealed"])
        self.assertEqual(self.errors, [])
        position = self.positions(node)["trade"]
        live = self.hash(node, "trade", position)
        node.kill()  # the death of the process takes nothing from it
        node.start()
        self.assertGreaterEqual(self.positions(node)["trade"], position)
        self.assertEqual(self.hash(node, "trade", position), live)
        self.assertTrue(self.ask(node, "hash", "trade")["hash"]["equal"])
        self.assertEqual(node.stop(), 0)

    def test_what_is_unproven_above_the_mark_is_reported(self):
        def opened(node):
            events = [json.loads(line) for line in node.log().splitlines() if '"shard_open"' in line]
            return [event for event in events if event["shard"] == "trade"][-1]
        node = self.start(settings="trade: {durability: memory}\nsnapshot: {every_events: 100000, every: 1h}\n")
        alice = self.client(node, "alice")
        for _ in range(20):
            self.order(alice, "alice")
        node.kill()
        with open(os.path.join(node.path("data"), "trade", "commit.mark"), "rb") as file:
            slots = file.read().ljust(8192, b"\0")
        mark = max(struct.unpack_from("<QQ", slots, at + 8) for at in (0, 4096))[1]  # storage/rocksdb/mark.h
        node.start()
        event = opened(node)
        self.assertGreater(event["unproven"], 20)
        self.assertEqual(event["unproven"], event["events"] - mark)
        shard = [shard for shard in self.ask(node, "shards", write=False)["shards"] if shard["name"] == "trade"][0]
        self.assertEqual(shard["unproven"], event["unproven"])
        self.assertEqual(node.stop(), 0)
        node.start()  # what was synced at its end is proven
        self.assertEqual(opened(node)["unproven"], 0)

    def test_a_manifest_that_is_gone_is_made_anew(self):
        node = self.start(settings=HURRIED)
        self.work(node)
        self.until(node, 300)
        self.purged(node, 1)
        self.rest()
        position = self.positions(node)["trade"]
        live = self.hash(node, "trade", position)
        self.assertEqual(node.stop(), 0)
        data = node.path("data")
        segments = sorted(glob.glob(os.path.join(data, "archive", "trade", "*.seg")) + glob.glob(os.path.join(data, "cold", "trade", "*.seg")))
        manifest = os.path.join(data, "archive", "trade", "manifest.json")
        os.remove(manifest)
        node.start()  # from its snapshot; the archive waits for somebody to look, and nothing of it goes
        self.assertIn("rebuild-archive", self.shown(node, "trade")["fault"])
        self.assertEqual(node.stop(), 0)
        self.assertIn("nothing was written", run("stoad", "--data", data, "--rebuild-archive", "trade", "--plan").stdout)
        self.assertFalse(os.path.exists(manifest))
        self.assertIn(f"names {len(segments)} segments, positions 1 to", run("stoad", "--data", data, "--rebuild-archive", "trade").stdout)
        node.start()
        self.assertEqual((self.shown(node, "trade")["fault"], self.shown(node, "trade")["purge_waits_for"]), ("", "a hold"))
        self.ask(node, "archive", "release", "trade")
        self.assertEqual(self.hash(node, "trade", position), live)  # folded from the first event on
        self.assertEqual(node.stop(), 0)

    def test_to_just_before_a_bad_command(self):
        node = self.start()
        alice, bob = self.client(node, "alice"), self.client(node, "bob")
        for _ in range(40):
            self.order(alice, "alice")
            good = self.order(bob, "bob", side="sell")
        before = good.stamp.position
        hash_before = self.hash(node, "trade", before)
        funds = bob.balances("bob")
        time.sleep(0.01)
        moment = time.time()
        time.sleep(0.01)
        bad = self.order(alice, "alice", price="99999", qty="90")  # what should never have been sent
        for _ in range(10):
            self.order(bob, "bob", side="sell", price="99999", qty="1")
        self.assertEqual(node.stop(), 0)
        node.start()  # a later life of the original, behind the cut
        self.order(self.client(node, "alice"), "alice")
        self.ask(node, "backup", self.backup)

        into = os.path.join(self.folder, "by-position")
        plan = run("stoad", "--restore", self.backup, "--into", into, "--until", f"trade:{before}", "--plan").stdout
        self.assertIn(f"trade: would restore up to {before} of", plan)
        run("stoad", "--restore", self.backup, "--into", into, "--until", f"trade:{before}")
        then = self.start(into)
        self.assertEqual(self.hash(then, "trade", before), hash_before)
        self.assertEqual(self.client(then, "bob").balances("bob"), funds)
        worlds = [self.world(node), self.world(then)]
        with self.assertRaises(StoaError) as raised:
            self.client(then, "alice").query("alice", order_id=bad["order_id"])
        self.assertEqual(raised.exception.name, "NOT_FOUND")

        into = os.path.join(self.folder, "by-time")
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f"{moment % 1:.6f}"[1:] + "Z"
        now = self.ask(node, "state", "trade", write=False)
        then, same = (self.ask(node, "state", "trade", "--at", when, write=False) for when in (text, str(before)))
        self.assertEqual(then, same)  # a moment within the log is the last position before it
        self.assertNotEqual(then, now)
        run("stoad", "--restore", self.backup, "--into", into, "--until", text)
        then = self.start(into)
        self.assertEqual(self.hash(then, "trade", before), hash_before)
        self.assertEqual(self.client(then, "bob").balances("bob"), funds)
        # from here on they go on apart: no name that is made of an epoch or of a session's number is ever in two of them
        worlds = sorted(worlds + [self.world(then)])
        self.assertGreater(worlds[1][0], worlds[0][0] + 4096, worlds)
        self.assertGreater(worlds[2][0], worlds[1][0] + 16, worlds)
        for epoch, session in worlds:
            self.assertEqual(session >> 20, epoch, worlds)
        self.assertIn("RANGE", run("stoad", "--restore", self.backup, "--into", into + "2", "--until", "2999-01-01T00:00:00Z",
                                   code=1).stderr)
        self.assertIn("it is before the first event", run("stoad", "--restore", self.backup, "--into", into + "2", "--until", "2001-01-01T00:00:00Z",
                                                    code=1).stderr)
        self.assertIn("INVALID", run("stoad", "--restore", self.backup, "--into", into + "2", "--until", "soon", code=1).stderr)
        self.assertFalse(os.path.exists(into + "2"))

    def test_damage_is_named(self):
        node = self.start()
        self.work(node)
        self.until(node, 300)
        self.rest()
        self.ask(node, "backup", self.backup)
        segments = sorted(glob.glob(os.path.join(self.backup, "trade", "*.seg")))
        self.assertGreater(len(segments), 2)
        with open(segments[1], "r+b") as file:
            whole = file.read()
            file.seek(len(whole) // 2)
            file.write(bytes([whole[len(whole) // 2] ^ 1]))
        into = os.path.join(self.folder, "data")
        for arguments in (("--verify-backup", self.backup), ("--restore", self.backup, "--into", into)):
            done = run("stoad", *arguments, code=1)
            self.assertIn("CORRUPT", done.stderr)
            self.assertIn(os.path.basename(segments[1]), done.stderr)
        self.assertIn(os.path.basename(segments[1]), self.ask(node, "backup", "verify", self.backup, code=1))
        os.remove(segments[1])
        for arguments in (("--verify-backup", self.backup), ("--restore", self.backup, "--into", into)):
            self.assertIn("GAP", run("stoad", *arguments, code=1).stderr)
        self.assertFalse(os.path.exists(into))
        self.assertFalse(os.path.exists(into + ".unfinished"))
        with open(segments[1], "wb") as file:
            file.write(whole)
        run("stoad", "--verify-backup", self.backup)
        other = self.start()  # another node's log is not this backup's
        self.order(self.client(other, "alice"), "alice")
        self.assertIn("FORKED", self.ask(other, "backup", self.backup, code=1))
        run("stoad", "--verify-backup", self.backup)

    def test_whenever_it_is_killed_the_next_backup_is_whole(self):
        node = self.start()
        chance = random.Random(SEED)
        alice = self.client(node, "alice")
        for _ in range(200):
            self.order(alice, "alice", price="50000", qty="0.00001")
        self.assertEqual(node.stop(), 0)
        data = node.path("data")
        run("stoad", "--data", data, "--archive.segment=4KiB", "--backup", self.backup)
        whole = self.catalog()
        for _ in range(KILLS):
            node.start()
            alice = self.client(node, "alice")
            for _ in range(20):
                self.order(alice, "alice", price="50000", qty="0.00001")
            self.assertEqual(node.stop(), 0)
            process = subprocess.Popen([os.path.join(BIN, "stoad"), "--data", data, "--archive.segment=4KiB", "--backup", self.backup],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
            time.sleep(chance.random() * 0.3)
            process.kill()
            process.wait()
            run("stoad", "--verify-backup", self.backup)  # what it was, or more
            into = os.path.join(self.folder, "data")
            run("stoad", "--restore", self.backup, "--into", into)
            shutil.rmtree(into)
        run("stoad", "--data", data, "--archive.segment=4KiB", "--backup", self.backup)
        self.assertGreater(self.catalog()["shards"][0]["last"], whole["shards"][0]["last"] + 20 * KILLS)

    def test_archives_are_kept_shown_and_held(self):
        node = self.start()
        self.work(node)
        self.until(node, 400)
        self.ask(node, "archive", "run")
        shown = {shard["shard"]: shard for shard in self.ask(node, "archive", write=False)["archives"]}
        self.assertEqual(shown["trade"]["class"], "orders")
        self.assertEqual(shown["room"]["class"], "chat")
        self.assertGreater(shown["trade"]["sealed"], 0)
        self.assertGreater(shown["trade"]["warm_segments"], 0)
        self.assertEqual([s["shard"] for s in self.ask(node, "archive", "room", write=False)["archives"]], ["room"])
        self.assertIn("archives", self.ask(node, "archive", "run", "--plan", write=False))
        self.ask(node, "archive", "hold", "trade", "case 7", "--plan", write=False)
        self.assertEqual(self.ask(node, "archive", "trade", write=False)["archives"][0]["hold"], "")
        self.ask(node, "archive", "hold", "trade", "case 7")
        shown = self.ask(node, "archive", "trade", write=False)["archives"][0]
        self.assertEqual((shown["hold"], shown["purge_waits_for"]), ("case 7", "a hold"))
        self.ask(node, "archive", "release", "trade")
        self.assertEqual(self.ask(node, "archive", "trade", write=False)["archives"][0]["hold"], "")
        self.rest()
        node.kill()  # and it comes back with its archive
        sealed = shown["sealed"]
        node.start()
        shown = self.ask(node, "archive", "trade", write=False)["archives"][0]
        self.assertGreaterEqual(shown["sealed"], sealed)
        self.assertEqual(shown["fault"], "")
        self.assertEqual(node.stop(), 0)

    def shown(self, node, shard):
        return self.ask(node, "archive", shard, write=False)["archives"][0]

    def purged(self, node, beyond, shard="trade"):
        """The journal has been purged beyond a position."""
        end = time.monotonic() + 120
        while self.shown(node, shard)["log_first"] <= beyond:
            self.assertLess(time.monotonic(), end, (self.shown(node, shard), node.log()))
            time.sleep(0.1)

    def forgotten(self, node, beyond):
        """The archive of the trading log has let go of more than that."""
        end = time.monotonic() + 180
        while self.shown(node, "trade")["first"] <= beyond:
            self.assertLess(time.monotonic(), end, (self.shown(node, "trade"), node.log()))
            time.sleep(0.1)

    def test_a_log_whose_beginning_has_expired_is_backed_up_and_restored(self):
        node = self.start(settings=OVER)
        self.work(node)
        self.until(node, 300)
        self.forgotten(node, 100)
        for shard in ("trade", "room"):  # else the log may outrun what the second backup goes on from
            self.ask(node, "archive", "hold", shard, "two backups")
        plan = {shard["shard"]: shard for shard in self.ask(node, "backup", self.backup, "--plan", write=False)["shards"]}
        self.assertGreater(plan["trade"]["first"], 100)
        self.assertGreaterEqual(plan["trade"]["snapshot"] + 1, plan["trade"]["first"])
        self.assertFalse(os.path.exists(self.backup))
        made = self.ask(node, "backup", self.backup)
        self.assertEqual(made["job"]["state"], "done", made)
        first = {shard["shard"]: shard for shard in made["shards"]}["trade"]
        self.assertGreater(first["first"], 100)
        self.assertGreaterEqual(first["snapshots"], 1)
        again = {shard["shard"]: shard for shard in self.ask(node, "backup", self.backup)["shards"]}["trade"]  # on from there
        self.assertEqual((again["first"], again["snapshot"]), (first["first"], first["snapshot"]))
        self.assertGreaterEqual(again["held"], first["last"])
        for shard in ("trade", "room"):
            self.ask(node, "archive", "release", shard)
        self.rest()
        self.assertEqual(self.errors, [])
        self.assertEqual(self.shown(node, "trade")["fault"], "")
        catalog = {shard["name"]: shard for shard in self.catalog()["shards"]}
        live = {name: shard["state_hash"] for name, shard in catalog.items()}  # the node itself cannot go back there any more

        into = os.path.join(self.folder, "data")
        self.assertIn(f"from {first['first']}, behind a snapshot at {first['snapshot']}",
                      run("stoad", "--restore", self.backup, "--into", into, "--plan").stdout)
        done = run("stoad", "--restore", self.backup, "--into", into).stdout
        self.assertEqual(done.count("as live at"), 2, done)
        for position, error in ((1, "RANGE"), (first["first"] - 1, "RANGE"), (first["snapshot"] - 1, "RANGE")):
            for much in (["--plan"], []):
                done = run("stoad", "--restore", self.backup, "--into", into + "2", "--until", f"trade:{position}", *much, code=1)
                self.assertIn(error, done.stderr)
        self.assertFalse(os.path.exists(into + "2") or os.path.exists(into + "2.unfinished"))
        run("stoad", "--restore", self.backup, "--into", into + "2", "--until", f"trade:{catalog['trade']['state_position'] - 1}")

        restored = self.start(into, settings=OVER)
        for name, shard in catalog.items():
            self.assertEqual(int(self.hash(restored, name, shard["state_position"]), 16), live[name])
        self.order(self.client(restored, "alice"), "alice")
        self.assertEqual(self.shown(restored, "trade")["fault"], "")  # its archive begins where its log does
        self.assertGreaterEqual(self.shown(restored, "trade")["first"], first["first"])
        second = os.path.join(self.folder, "second")
        self.work(restored)
        self.until(restored, 200)
        self.forgotten(restored, first["first"])
        self.assertEqual(self.ask(restored, "backup", second)["job"]["state"], "done")
        self.rest()
        done = run("stoad", "--restore", second, "--into", into + "3").stdout
        self.assertEqual(done.count("as live at"), 2, done)
        self.assertEqual(restored.stop(), 0)

        # what lies beside the log is lost: the archive has what stands for its beginning
        position = self.positions(node)["trade"]
        then = self.hash(node, "trade", position)
        self.assertEqual(node.stop(), 0)
        shutil.rmtree(os.path.join(node.path("data"), "trade", "side"))
        node.start()
        self.assertIn("archive_snapshot_given", node.log())
        self.assertEqual(self.hash(node, "trade", position), then)
        self.assertEqual(node.stop(), 0)

        # a backup of the node that does not run; what the folder holds ends before what is left begins
        offline = os.path.join(self.folder, "offline")
        self.assertIn("behind a snapshot at", run("stoad", "--data", node.path("data"), "--backup", offline).stdout)
        self.assertIn("verified", run("stoad", "--verify-backup", offline).stdout)
        node.start()
        self.work(node)
        self.forgotten(node, self.positions(node)["trade"])
        for much in (["--plan"], []):
            self.assertIn("GAP", self.ask(node, "backup", offline, *much, code=1))
        self.rest()
        run("stoad", "--verify-backup", offline)  # it is what it was

    def test_nothing_is_forgotten_without_a_snapshot(self):
        without = OVER.replace("every_events: 200, every: 300ms", "every_events: 0, every: 0s")
        node = self.start(settings=without)
        self.work(node)
        self.until(node, 300)
        time.sleep(5)  # everything is over
        self.rest()
        shown = self.ask(node, "archive", "run", "--plan", write=False)["archives"][0]
        self.assertEqual((shown["first"], shown["forget_up_to"], shown["snapshots"]), (1, 0, 0))
        self.assertNotEqual(shown["forget_waits_for"], "nothing: it is due")
        self.assertEqual(self.ask(node, "backup", self.backup)["job"]["state"], "done")

    def test_restores_of_one_second_lie_apart(self):
        node = self.start()
        self.order(self.client(node, "alice"), "alice")
        self.ask(node, "backup", self.backup)
        intos = [os.path.join(self.folder, f"into{i}") for i in range(4)]
        processes = [subprocess.Popen([os.path.join(BIN, "stoad"), "--restore", self.backup, "--into", into], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL) for into in intos]
        self.assertEqual([process.wait(120) for process in processes], [0] * len(intos))
        epochs = sorted(self.world(self.start(into))[0] for into in intos)
        for before, after in zip(epochs, epochs[1:]):
            self.assertGreater(after - before, 2000, epochs)

    def test_killed_while_it_archives_and_purges_it_loses_nothing(self):
        node, chance = self.start(settings=HURRIED), random.Random(SEED + 1)
        for _ in range(max(3, KILLS // 3)):
            first = self.shown(node, "trade")["log_first"]
            self.work(node)
            self.until(node, 200)
            self.purged(node, first)
            time.sleep(chance.random())
            node.kill()
            self.over.set()  # those who ask hear of it, or try until it is back
            node.start()
            self.rest()
            self.assertEqual(self.errors, [])
            self.assertEqual(self.shown(node, "trade")["fault"], "")
            self.assertGreater(self.shown(node, "trade")["log_first"], 1)
            for shard in ("trade", "room"):  # folded from the first event on, through the archive
                self.assertTrue(self.ask(node, "hash", shard)["hash"]["equal"])
        self.assertGreater(self.shown(node, "trade")["cold_segments"], 0)
        positions = self.positions(node)
        hashes = {shard: self.hash(node, shard, position) for shard, position in positions.items()}

        # a backup has what was purged, too; so has a rebuild from the beginning, with nothing derived left
        self.ask(node, "backup", self.backup)
        into = os.path.join(self.folder, "data")
        self.assertEqual(run("stoad", "--restore", self.backup, "--into", into).stdout.count("as live at"), 2)
        self.assertEqual(node.stop(), 0)
        for shard in positions:
            shutil.rmtree(os.path.join(node.path("data"), shard, "side"), True)
        node.start()
        self.assertEqual({shard: self.hash(node, shard, position) for shard, position in positions.items()}, hashes)
        self.assertTrue(self.ask(node, "hash", "trade")["hash"]["equal"])
        self.assertEqual(node.stop(), 0)

        # without snapshots and archive the beginning is gone: said, not passed over
        for shard in positions:
            shutil.rmtree(os.path.join(node.path("data"), shard, "side"), True)
        shutil.rmtree(os.path.join(node.path("data"), "archive"))
        with self.assertRaises(AssertionError) as raised:
            node.start()
        self.assertIn("archive_unavailable", str(raised.exception))
        self.assertIn("start_failed", str(raised.exception))


if __name__ == "__main__":
    print(f"seed {SEED}", flush=True)
    unittest.main(verbosity=2, argv=sys.argv)
