"""archive_test.py - goal: the log of a node that works is sealed, held, purged and shown as its classes say, and read through its archive
from its first event on, whenever it was killed. Method: a real stoad under load with small segments and short classes; the
REPL's commands; hashes compared.

SPDX-License-Identifier: Apache-2.0
"""
import glob
import json
import os
import random
import shutil
import struct
import time

from archive_node import Archive, HURRIED, SEED, main, run

KILLS = 33 if os.environ.get("STOA_DEEP") else 3


class Kept(Archive):
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

    def test_what_is_left_is_backed_up_where_a_segment_is_missing(self):
        node = self.start(settings=HURRIED)
        self.work(node)
        self.until(node, 300)
        self.purged(node, 1)
        self.rest()
        position = self.positions(node)["trade"]
        live = self.hash(node, "trade", position)
        data = node.path("data")
        self.assertEqual(node.stop(), 0)
        segments = sorted(glob.glob(os.path.join(data, "archive", "trade", "*.seg")) + glob.glob(os.path.join(data, "cold", "trade", "*.seg")),
                          key=os.path.basename)
        os.remove(segments[1])
        said = run("stoad", "--data", data, "--backup", self.backup, code=1).stderr
        for word in ("GAP", os.path.basename(segments[1]), "put that back", "--archive.path"):
            self.assertIn(word, said)
        empty, rest, into = (os.path.join(self.folder, name) for name in ("empty", "rest", "data"))
        os.mkdir(empty)
        run("stoad", "--data", data, "--backup", rest, "--archive.path=" + empty, "--archive.cold_path=" + empty)
        self.assertIn("trade: restored", run("stoad", "--restore", rest, "--into", into).stdout)
        restored = self.start(data=into)
        self.assertEqual(self.hash(restored, "trade", position), live)
        self.assertEqual(restored.stop(), 0)

    def test_a_log_whose_archive_is_lost_goes_on_from_a_backup(self):
        node = self.start(settings=HURRIED)
        order = self.order(self.client(node, "alice"), "alice", price="12345")["order_id"]
        self.work(node)
        self.until(node, 300)
        self.purged(node, self.positions(node)["trade"] - 200)
        self.rest()
        self.assertEqual(node.stop(), 0)
        for tier in ("archive", "cold"):
            shutil.rmtree(os.path.join(node.path("data"), tier), True)
        node.start()
        fault = self.shown(node, "trade")["fault"]
        for words in ("GAP", "its archive ends at 0", "back this log up into a new folder", "docs/guide/backup.md"):
            self.assertIn(words, fault)
        self.ask(node, "backup", self.backup)  # as it says
        into = os.path.join(self.folder, "data")
        run("stoad", "--restore", self.backup, "--into", into)
        restored = self.start(data=into)
        self.assertEqual(self.shown(restored, "trade")["fault"], "")
        for words in (("order", str(order)), ("event", "trade", "5")):
            said = self.ask(restored, "explain", *words, write=False, code=1)
            self.assertIn("from a backup that has nothing before it", said)
            self.assertNotIn("as the policy says", said)

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

    def test_killed_while_it_archives_and_purges_it_loses_nothing(self):
        node, chance = self.start(settings=HURRIED), random.Random(SEED + 1)
        for _ in range(KILLS):
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
    main()
