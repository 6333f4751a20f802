"""progress_grows_test.py - goal: while a backup or a restore is under way, `progress` has a figure for it that is between nothing and all,
and grows. Method: a real stoad with tests/shim/disk.c between it and the folder that is written, which lets a few writes pass at a
time; between them the figure is asked for.

SPDX-License-Identifier: Apache-2.0
"""
import os
import subprocess
import time

from archive_node import Archive, SETTINGS, main
from running_node import BIN

TESTS = os.path.join(os.environ["STOA_BUILD"], "tests")
WRITES, WAIT_S = 4, 120


class Grows(Archive):
    def start_held(self):
        """A node whose writes below out/ wait for let()."""
        self.out, self.hold, self.said = (os.path.join(self.folder, name) for name in ("out", "hold", "said"))
        os.mkdir(self.out)
        names = {"LD_PRELOAD": os.path.join(TESTS, "disk_shim.so"), "STOA_DISK_ROOT": self.out, "STOA_DISK_HOLD": self.hold,
                 "STOA_DISK_SAID": self.said, "ASAN_OPTIONS": "verify_asan_link_order=0"}
        before = {name: os.environ.get(name) for name in names}
        os.environ.update(names)
        try:
            return self.start(settings=SETTINGS)
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                os.environ.update({name: value} if value is not None else {})

    def let(self, writes):
        with open(self.hold + ".new", "w", encoding="ascii") as out:
            out.write(str(writes))
        os.replace(self.hold + ".new", self.hold)

    def held_at(self):
        """The newest write that waited; 0: none has."""
        if not os.path.exists(self.said):
            return 0
        with open(self.said, encoding="utf-8") as said:
            return max((int(line.split()[2]) for line in said if line.startswith("held ")), default=0)

    def figures(self, node, *words):
        """Of each step, what was said of it one after the other, until it is done."""
        done = subprocess.Popen([os.path.join(BIN, "stoa"), "--data", node.path("data"), "--write", "--timeout", "600000", *words],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(done.kill)
        seen, passed, end = {}, self.held_at(), time.monotonic() + WAIT_S
        while done.poll() is None:
            if self.held_at() > passed:  # it stands still
                for work in self.ask(node, "progress", write=False)["work"]:
                    self.assertEqual(work["command"], words[0], work)
                    if work["permille"] is not None:
                        seen.setdefault((work["shard"], work["step"]), []).append(work["permille"])
                passed = self.held_at() + WRITES
                self.let(passed)
                end = time.monotonic() + WAIT_S
            self.assertLess(time.monotonic(), end, (words, seen))
            time.sleep(0.002)
        self.assertEqual(done.returncode, 0, done.stdout.read())
        done.stdout.close()
        return seen

    def grew(self, seen, shard):
        """Some step of the shard was seen at three places between nothing and all, and none ever went back."""
        for step, figures in seen.items():
            self.assertEqual(figures, sorted(figures), step)
            self.assertTrue(all(0 <= figure <= 1000 for figure in figures), (step, figures))
        between = {step: len({figure for figure in figures if 0 < figure < 1000}) for step, figures in seen.items() if step[0] == shard}
        self.assertGreaterEqual(max(between.values(), default=0), 3, seen)

    def test_a_backup_and_a_restore_say_how_far_they_are(self):
        node = self.start_held()
        alice = self.client(node, "alice")
        for _ in range(200):
            self.order(alice, "alice", price="50000", qty="0.00001")
        backup, into = os.path.join(self.out, "backup"), os.path.join(self.out, "into")
        self.let(0)
        self.grew(self.figures(node, "backup", backup), "trade")
        self.grew(self.figures(node, "restore", backup, into), "trade")
        self.assertTrue(os.path.exists(os.path.join(into, "trade", "commit.mark")))


if __name__ == "__main__":
    main()
