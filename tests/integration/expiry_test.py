"""expiry_test.py - goal: a log whose beginning has expired is backed up, restored and opened from a snapshot that stands for what is gone;
without one nothing is forgotten. Method: a real stoad under load whose classes are over after seconds.

SPDX-License-Identifier: Apache-2.0
"""
import os
import shutil
import time

from archive_node import Archive, main, run

# and over after some seconds
OVER = """
archive: {interval: 100ms, segment: 8KiB, expire: true}
retention:
  orders: {hot: 500ms, warm: 1s, cold: 2s, archive: 3s}
  trades: {hot: 500ms, warm: 1s, cold: 2s, archive: 3s}
  chat: {hot: 500ms, warm: 1s, cold: 2s, archive: 3s}
snapshot: {every_events: 200, every: 300ms}
"""


class Expiry(Archive):
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

    def test_a_log_that_has_fallen_silent_is_forgotten(self):
        """Some orders and words, then nothing more: they go from journal and archive, and what they made stays."""
        node = self.start(settings=OVER)
        alice = self.client(node, "alice")
        for _ in range(5):
            self.order(alice, "alice", price="50000")
        alice.join("lobby", 60)
        alice.post("lobby", 1, "goodbye", deadline=60)
        for client in self.clients:
            client.close()
        said = {"trade": 0, "room": 0}
        for shard in said:
            said[shard] = self.positions(node)[shard]
        end = time.monotonic() + 180
        for shard, last in said.items():
            while min(self.shown(node, shard)[first] for first in ("first", "log_first")) <= last:
                self.assertLess(time.monotonic(), end, (self.shown(node, shard), self.ask(node, "archive", "run", "--plan", write=False), node.log()))
                time.sleep(0.1)
            self.assertEqual(self.shown(node, shard)["fault"], "")
            self.assertLess(self.positions(node)[shard] - last, 100)
            self.assertTrue(self.ask(node, "hash", shard)["hash"]["equal"])
        orders = self.ask(node, "orders", "alice", write=False)["orders"]
        self.assertEqual(len(orders), 5)
        self.ask(node, "backup", self.backup)
        node.kill()
        node.start()
        self.assertEqual(self.ask(node, "orders", "alice", write=False)["orders"], orders)
        into = os.path.join(self.folder, "data")
        run("stoad", "--restore", self.backup, "--into", into)
        self.assertEqual(self.ask(self.start(into, settings=OVER), "orders", "alice", write=False)["orders"], orders)

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


if __name__ == "__main__":
    main()
