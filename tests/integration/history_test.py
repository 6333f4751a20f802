"""history_test.py - goal: a log is never purged, read or rescued with the archive of another history, and gets back from its own what it
lost. Method: a real stoad that is restored, or begun anew, where an archive stands; a rotten mark beside an archive that is ahead of the
log; purges looked for in the journal, hashes compared.

SPDX-License-Identifier: Apache-2.0
"""
import glob
import os
import re
import shutil
import struct
import time

from archive_node import Archive, HURRIED, main, run


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x40]))


class History(Archive):
    def grow(self, node, more):
        self.work(node)
        self.until(node, more)
        self.rest()
        self.assertEqual(self.errors, [])

    def first(self, node):
        return self.ask(node, "journal", "trade", write=False)["journal"]["first"]

    def stays_out(self, node):
        """All that a purge waits for is there, but the archive is another's."""
        time.sleep(1.2)  # nothing is hot any more
        self.ask(node, "snapshot", "trade")
        self.ask(node, "archive", "run")
        self.assertEqual(self.first(node), 1)
        self.assertTrue(self.ask(node, "hash", "trade")["hash"]["equal"])
        shown = self.shown(node, "trade")
        self.assertIn("FORKED", shown["fault"])
        self.assertIn("docs/guide/backup.md", shown["fault"])
        self.assertNotIn("sealed", shown)
        self.assertEqual(self.metric(node), {"trade": "1", "room": "0" if self.shown(node, "room")["fault"] == "" else "1"})
        said = [line for line in node.log().splitlines() if '"archive_unavailable"' in line and '"trade"' in line]
        self.assertIn("FORKED", said[-1])

    def metric(self, node):
        found = self.ask(node, "metrics", "stoa_archive_unavailable*", write=False)["metrics"]
        return {re.search('shard="([a-z]+)"', m["labels"])[1]: m["value"] for m in found}

    def is_kept_again(self, node):
        self.assertEqual((self.shown(node, "trade")["fault"], self.metric(node)["trade"]), ("", "0"))
        self.work(node)
        self.purged(node, 1)
        self.rest()
        self.assertTrue(self.ask(node, "hash", "trade")["hash"]["equal"])  # from its first event on
        self.assertEqual(node.stop(), 0)

    def test_a_restored_log_is_not_purged_against_the_archive_of_what_was(self):
        place = os.path.join(self.folder, "srv")
        settings = HURRIED.replace("segment: 8KiB", f"segment: 8KiB, path: {place}/warm, cold_path: {place}/cold")
        node = self.start(settings=settings)
        self.grow(node, 200)
        self.ask(node, "backup", self.backup)
        self.grow(node, 1500)
        self.ask(node, "archive", "run")
        sealed = self.shown(node, "trade")["sealed"]
        self.assertEqual(node.stop(), 0)
        into = os.path.join(self.folder, "data")
        run("stoad", "--restore", self.backup, "--into", into)
        node = self.start(data=into, settings=settings)
        self.grow(node, 300)
        self.assertLess(self.positions(node)["trade"], sealed)
        order = self.order(self.client(node, "alice"), "alice", price="12345")["order_id"]
        self.stays_out(node)
        self.assertIn("12345", str(self.ask(node, "explain", "order", str(order), write=False)))
        self.ask(node, "backup", self.backup + "-2")
        self.assertEqual(node.stop(), 0)
        shutil.rmtree(os.path.join(node.path("data"), "trade", "side"))
        node.start()  # with nothing but the log, and with blocks of its own by now
        self.stays_out(node)
        self.assertIn("another history", self.shown(node, "trade")["fault"])
        self.assertEqual(node.stop(), 0)
        os.rename(place, place + "-of-what-was")
        node.start()
        self.is_kept_again(node)

    def test_a_log_that_is_begun_anew_is_not_purged_against_its_old_archive(self):
        node = self.start(settings=HURRIED)
        self.grow(node, 800)
        self.ask(node, "archive", "run")
        self.assertEqual(node.stop(), 0)
        data = node.path("data")
        for shard in ("trade", "room"):
            shutil.rmtree(os.path.join(data, shard))
        with self.assertRaises(AssertionError) as raised:
            node.start()
        for words in ("move its archive away", "archive.path/", "archive.cold_path/", "/shards"):
            self.assertIn(words, str(raised.exception))
        os.remove(os.path.join(data, "shards"))
        node.start()  # half of what was said: the archive stands
        self.grow(node, 300)
        self.stays_out(node)
        self.assertEqual(node.stop(), 0)
        for tier in ("archive", "cold"):
            os.rename(os.path.join(data, tier), os.path.join(data, tier + "-of-what-was"))
        node.start()
        self.is_kept_again(node)

    def rotten(self, node, lost):
        """The mark's newest slot, or there is none any more, and the last block of the log."""
        folder = os.path.join(node.path("data"), "trade")
        mark = os.path.join(folder, "commit.mark")  # storage/rocksdb/mark.h
        with open(mark, "rb") as file:
            slots = file.read().ljust(8192, b"\0")
        if lost:
            os.remove(mark)
        else:
            flip(mark, max((struct.unpack_from("<Q", slots, at + 8)[0], at) for at in (0, 4096))[1] + 40)
        log = max(glob.glob(os.path.join(folder, "db", "*.log")), key=lambda path: int(os.path.basename(path)[:-4]))
        flip(log, os.path.getsize(log) - 20)
        with self.assertRaises(AssertionError) as raised:
            node.start()
        self.assertIn("accept-loss", str(raised.exception))

    def test_what_the_log_lost_comes_back_from_its_archive(self):
        self.comes_back(lost=False)

    def test_what_a_log_without_its_mark_lost_comes_back_from_its_archive(self):
        self.comes_back(lost=True)

    def comes_back(self, lost):
        node = self.start(settings=HURRIED)
        self.ask(node, "archive", "hold", "trade", "nothing else writes to the log")
        self.grow(node, 200)
        until = time.monotonic() + 120
        while True:  # all is in the archive
            shown = self.shown(node, "trade")
            if shown["sealed"] == shown["log_last"]:
                break
            self.assertLess(time.monotonic(), until, (shown, node.log()))
            time.sleep(0.1)
        last = shown["log_last"]
        live = self.hash(node, "trade", last)
        node.kill()
        self.rotten(node, lost)
        data = node.path("data")
        manifest = os.path.join(data, "archive", "trade", "manifest.json")
        os.rename(manifest, manifest + ".aside")
        for plan in (["--plan"], []):  # what may be in it is not given up by the way
            said = run("stoad", "--data", data, "--accept-loss", "trade", *plan, code=1).stderr
            self.assertIn("move it away", said)
        os.rename(manifest + ".aside", manifest)
        said = run("stoad", "--data", data, "--accept-loss", "trade", "--plan").stdout
        found = re.search(r"its archive has (\d+) to (\d+) behind the log's end: that would be put back", said)
        self.assertTrue(found, said)
        self.assertIn("nothing was written", said)
        self.assertLessEqual(int(found[1]), last)
        self.assertEqual(int(found[2]), last)
        self.assertIn("is put back", run("stoad", "--data", data, "--accept-loss", "trade").stdout)
        self.assertIn("no loss", run("stoad", "--data", data, "--accept-loss", "trade").stdout)
        node.start()
        self.assertEqual(self.hash(node, "trade", last), live)
        self.grow(node, 50)
        self.ask(node, "archive", "release", "trade")
        self.is_kept_again(node)


if __name__ == "__main__":
    main()
