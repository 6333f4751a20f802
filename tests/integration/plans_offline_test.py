"""plans_offline_test.py - goal: what stoad does with --plan on the data of a node that does not run changes nothing, whatever state that is
in, and says so; done without it, it does what was said. Method: a real stoad leaves a folder; every file below it, and beside it, is
compared byte by byte before and after each plan. Which options may be planned is asked of stoad itself.

SPDX-License-Identifier: Apache-2.0
"""
import glob
import hashlib
import os
import re
import shutil

from archive_node import Archive, HURRIED, main, run

WRITES = {"--backup", "--restore", "--accept-loss", "--rebuild-archive"}


def tree(folder):
    """Each name below it, with what is in it."""
    found = {}
    for path, folders, names in os.walk(folder):
        found.update({os.path.join(path, name): "folder" for name in folders})
        for name in names:
            whole = os.path.join(path, name)
            if os.path.isfile(whole):
                with open(whole, "rb") as file:
                    found[whole] = hashlib.sha256(file.read()).hexdigest()
    return found


class Plans(Archive):
    def plan(self, *arguments):
        """What it says."""
        before = tree(self.folder)
        said = run("stoad", *arguments, "--plan").stdout
        after = tree(self.folder)
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        self.assertEqual(changed, [], (arguments, said))
        self.assertIn("nothing was written", said)
        return said

    def left(self):
        """The folder of a node that has worked, was purged, and was killed: each start would have something to mend."""
        node = self.start(settings=HURRIED)
        self.work(node)
        self.until(node, 300)
        self.purged(node, 1)
        self.rest()
        self.assertEqual(self.errors, [])
        node.kill()
        data = os.path.join(self.folder, "data")
        os.rename(node.path("data"), data)
        return data

    def test_every_option_that_can_be_planned_is_looked_at_here(self):
        said = run("stoad", "--help").stdout
        planned = set(re.findall(r"^stoad (--[a-z-]+)[^\n]*\[--plan\]", said, re.M))
        self.assertEqual(planned, WRITES)

    def test_plans_change_nothing(self):
        data = self.left()

        # a backup: of a folder that is not there, and of one that is
        said = self.plan("--data", data, "--backup", self.backup)
        self.assertFalse(os.path.exists(self.backup))
        run("stoad", "--data", data, "--backup", self.backup)
        for shard in self.catalog()["shards"]:
            self.assertIn(f"{shard['name']}: held 0, to {shard['last']},", said)
            self.assertIn(f"{shard['name']}: held {shard['last']}, to {shard['last']},", self.plan("--data", data, "--backup", self.backup))

        # a restore
        into = os.path.join(self.folder, "into")
        self.assertIn("trade", self.plan("--restore", self.backup, "--into", into))
        self.plan("--restore", self.backup, "--into", into, "--until", "trade:100")
        self.assertFalse(os.path.exists(into))

        # a loss: there is none, and there is one; what is behind the older slot's value is in the archive, or is not
        self.assertIn("no loss to accept", self.plan("--data", data, "--accept-loss", "trade"))
        with open(os.path.join(data, "trade", "commit.mark"), "r+b") as mark:
            whole = mark.read()
            slots = [int.from_bytes(whole[at + 8:at + 16], "little") for at in (0, 4096)]  # storage/rocksdb/mark.h
            mark.seek(4096 * slots.index(max(slots)) + 16)
            mark.write(b"\xff")
        self.assertIn("newest value of its commit mark is lost", self.plan("--data", data, "--accept-loss", "trade"))
        run("stoad", "--data", data, "--accept-loss", "trade")
        self.assertIn("no loss to accept", self.plan("--data", data, "--accept-loss", "trade"))
        os.remove(os.path.join(data, "trade", "commit.mark"))
        self.assertIn("cannot be known", self.plan("--data", data, "--accept-loss", "trade"))
        run("stoad", "--data", data, "--accept-loss", "trade")
        self.assertIn("no loss to accept", self.plan("--data", data, "--accept-loss", "trade"))

        # an archive without its manifest, and with one
        manifest = os.path.join(data, "archive", "trade", "manifest.json")
        self.plan("--data", data, "--rebuild-archive", "trade")
        os.remove(manifest)
        segments = glob.glob(os.path.join(data, "archive", "trade", "*.seg")) + glob.glob(os.path.join(data, "cold", "trade", "*.seg"))
        self.assertIn(f"would name {len(segments)} segments", self.plan("--data", data, "--rebuild-archive", "trade"))
        self.assertFalse(os.path.exists(manifest))
        self.assertIn(f"names {len(segments)} segments", run("stoad", "--data", data, "--rebuild-archive", "trade").stdout)
        shutil.rmtree(self.backup)


if __name__ == "__main__":
    main()
