"""first_start_test.py - goal: a node that dies at whatever moment of its first starts starts again: what it had begun is not taken for a
journal that is gone, or for a broken one; nor by a backup. Method: a new data folder, a stoad killed with -9 as soon as a drawn entry of that
folder is there, or a drawn moment later; again and again, then started for good, twice.

SPDX-License-Identifier: Apache-2.0
"""
import os
import random
import shutil
import subprocess
import time
import unittest

from running_node import BIN, Node

SEED = int(os.environ.get("STOA_SEED", time.time_ns() & 0xFFFFFFFF))
ROUNDS = int(os.environ.get("STOA_ROUNDS", 6))
KILLS = 3
PARTS = ["", "commit.mark", "db", "db/CURRENT", "db/MANIFEST-000005", "side/CURRENT"]
ENTRIES = ["", "node.lock", "shards", "admin.sock", *[os.path.join(shard, part) for shard in ("trade", "room") for part in PARTS]]


class FirstStart(unittest.TestCase):
    def begin_and_die(self, node, chance):
        entry = node.path(os.path.join("data", chance.choice(ENTRIES)))
        delay = chance.choice([0, 0, chance.uniform(0, 0.1)])
        with open(node.path("log"), "ab") as log:
            process = subprocess.Popen([os.path.join(BIN, "stoad"), "--config", node.path("stoa.yaml"), "--data", node.path("data"),
                                        "--gateway.listen=" + node.endpoint, "--http.port=-1"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while not os.path.exists(entry) and process.poll() is None:
            pass
        time.sleep(delay)
        process.kill()
        self.assertEqual(process.wait(), -9, node.log())

    def back_up(self, node):
        """What there is, where there is something."""
        done = subprocess.run([os.path.join(BIN, "stoad"), "--data", node.path("data"), "--backup", node.path("backup")],
                              capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            self.assertIn("holds no journals", done.stderr)

    def test_a_first_start_that_dies_is_begun_again(self):
        print(f"seed {SEED}", flush=True)
        chance = random.Random(SEED)
        for number in range(ROUNDS):
            node = Node("none")
            self.addCleanup(shutil.rmtree, node.folder, True)
            self.addCleanup(node.close)
            with self.subTest(round=number):
                for _ in range(chance.randint(1, KILLS)):
                    self.begin_and_die(node, chance)
                if chance.random() < 0.5:
                    self.back_up(node)
                for _ in range(2):
                    node.start()
                    self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
