"""rotten_log_test.py - goal: an event that has the right hash and cannot be - of a hostile archive, of a build with a bug - makes a node
say which one it is, and refuse to start; restore says the same of a backup that has it. What is to be done outside and never
will be is shown, counted, and settled by an operator, for good. Method: a real stoad; between two of its lives log_writer puts an
event behind the end of a log.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from running_node import BIN, Node
from stoa_client import Client

WRITER = os.path.join(os.environ["STOA_BUILD"], "tests", "log_writer")
WAIT_S = 300
DENIED, NOT_FOUND = 4, "NOT_FOUND"
BOOK, ACCOUNT = "2", "3"  # numbers of trade_book/BTCUSDT and of an account in the shard


def run(*words):
    return subprocess.run(words, capture_output=True, text=True, timeout=WAIT_S, check=False, stdin=subprocess.DEVNULL)


class RottenLog(unittest.TestCase):
    def setUp(self):
        self.node = Node("none")
        self.addCleanup(self.end)
        self.node.start()
        keys = self.node.path(os.path.join("data", "keys"))
        client = Client(self.node.endpoint, os.path.join(keys, "server.pub"), os.path.join(keys, "alice"))
        client.wait_ready(60)
        client.place("alice", 1, "BTCUSDT", "buy", "60000", "0.001", deadline=60)
        client.close()

    def end(self):
        self.node.close()
        shutil.rmtree(self.node.folder, True)

    def stoa(self, *words):
        return run(os.path.join(BIN, "stoa"), "--data", self.node.path("data"), "--timeout", "60000", "-o", "json", *words)

    def ask(self, *words):
        done = self.stoa(*words)
        self.assertEqual(done.returncode, 0, done.stdout[-2000:] + done.stderr[-2000:])
        return json.loads(done.stdout)

    def write(self, *words):
        done = run(WRITER, self.node.path(os.path.join("data", "trade")), *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return int(done.stdout)

    def refuses(self, position, row):
        """To start, by name; and so does who restores a backup of it."""
        done = run(os.path.join(BIN, "stoad"), "--config", self.node.path("stoa.yaml"), "--data", self.node.path("data"))
        self.assertEqual(done.returncode, 1, done.stderr[-3000:])
        self.assertRegex(done.stderr, rf"CORRUPT.*position {position}: {re.escape(row)} cannot be applied")
        self.assertNotIn("panic", done.stderr)
        with tempfile.TemporaryDirectory(prefix="stoa-rotten-") as folder:
            backup = os.path.join(folder, "backup")
            done = run(os.path.join(BIN, "stoad"), "--data", self.node.path("data"), "--backup", backup)
            self.assertNotIn("panic", done.stderr)
            self.assertGreaterEqual(done.returncode, 0)
            if done.returncode == 0:
                done = run(os.path.join(BIN, "stoad"), "--restore", backup, "--into", os.path.join(folder, "data"))
                self.assertNotIn("panic", done.stderr)
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertRegex(done.stderr, rf"CORRUPT.*position {position}: {re.escape(row)} cannot be applied")

    def test_mail_by_a_channel_that_cannot_be(self):
        self.assertEqual(self.node.stop(), 0)
        self.refuses(self.write("mailed"), "stoa_shard_log.mailed")

    def test_a_trade_with_an_order_that_is_not_there(self):
        self.assertEqual(self.node.stop(), 0)
        self.refuses(self.write("traded", BOOK), "trade_book.traded")

    def test_a_fill_of_an_order_that_is_not_there(self):
        self.assertEqual(self.node.stop(), 0)
        self.refuses(self.write("filled", ACCOUNT), "trade_account.filled")

    def test_what_nobody_will_have_done_is_settled(self):
        self.assertEqual(self.node.stop(), 0)
        self.write("effect")
        self.node.start()
        shown = self.ask("outbox", "trade")
        self.assertEqual([box["pending"] for box in shown["outboxes"]], [1])
        effect = shown["pending"][0]
        self.assertEqual((effect["status"], effect["table"]), ("nobody serves it", "till"))
        figures = {(m["name"], m["labels"]): m["value"] for m in self.ask("metrics", "stoa_outbox_*")["metrics"]}
        self.assertEqual(figures["stoa_outbox_pending", 'shard="trade"'], "1")
        self.assertEqual(figures["stoa_outbox_unreadable", 'shard="trade"'], "0")
        line = ["outbox", "settle", "trade", effect["name"], "failed"]
        self.assertIn("would be", self.ask(*line, "--plan")["settle"]["outcome"])
        self.assertEqual(self.stoa(*line).returncode, DENIED)
        self.assertEqual(len(self.ask("outbox", "trade")["pending"]), 1)
        self.assertIn("done: it is pending no more", self.ask("--write", *line)["settle"]["outcome"])
        self.assertIn(NOT_FOUND, self.stoa("--write", *line).stdout + self.stoa("--write", *line).stderr)
        for _ in range(2):
            box = self.ask("outbox", "trade")["outboxes"][0]
            self.assertEqual((box["pending"], box["done"], box["failed"]), (0, 0, 1))
            self.assertTrue(self.ask("hash", "trade")["hash"]["equal"])
            self.assertEqual(self.node.stop(), 0)
            self.node.start()


if __name__ == "__main__":
    sys.exit(not unittest.main(exit=False, verbosity=2).result.wasSuccessful())
