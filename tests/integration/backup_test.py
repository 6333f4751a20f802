"""backup_test.py - goal: a backup taken while a node works restores, on an empty folder, to the very states that the live node had;
damage is named; whenever a backup is killed, the next one is whole. Method: a real stoad under load, the REPL's commands and stoad's
own, hashes compared at equal positions.

SPDX-License-Identifier: Apache-2.0
"""
import glob
import os
import random
import shutil
import subprocess
import time

from archive_node import Archive, SEED, main, run
from running_node import BIN

KILLS = 100 if os.environ.get("STOA_DEEP") else 10


class Backup(Archive):
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


if __name__ == "__main__":
    main()
