"""seeing_test.py - goal: what a node does can be followed from outside: one order through account, risk and book as a tree; how long
turns take and messages wait; what an actor knows. Method: a real stoad, orders from the Python client, `stoa` beside it.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
import urllib.request

import admin_test
from admin_test import DENIED, NOT_FOUND, OK, TIMEOUT, USAGE, stoa


def flat(spans):
    for span in spans:
        yield span
        yield from flat(span.get("children", []))


class Seeing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="stoa-seeing-")
        cls.node = admin_test.Node(cls.folder)
        cls.client = cls.node.client()
        cls.orders = 0
        cls.place("alice", "sell", "5")

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        code = cls.node.stop()
        shutil.rmtree(cls.folder)
        assert code == 0, code

    @classmethod
    def place(cls, account, side, qty):
        cls.orders += 1
        return cls.client.place(account, cls.orders, "BTCUSDT", side, "50000", qty)

    def ask(self, *arguments, code=OK):
        done = stoa("-o", "json", *arguments, data=self.node.data)
        self.assertEqual(done.returncode, code, done)
        return json.loads(done.stdout)

    def trace_an_order(self, pattern):
        """Orders go on until one was traced: nobody tells when the wait for it has begun. The tree as it is in the end."""
        command = [admin_test.STOA, "--data", self.node.data, "-o", "json", "--timeout", "60000", "trace", "next", pattern]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waits:
            while waits.poll() is None:
                self.place("bob", "buy", "0.001")
            self.assertEqual(waits.returncode, OK, waits.stderr.read())
            *spans, end = [json.loads(line) for line in waits.stdout.read().splitlines()]
        self.assertEqual((end["trace"]["ended"], end["trace"]["turns"]), ("quiet", len(spans)))
        return self.ask("trace", str(end["trace"]["id"]), "--for", "0")

    def test_an_order_is_followed_through_account_risk_and_book(self):
        found = self.trace_an_order("trade_account.place")
        trace, spans = found["trace"], list(flat(found["spans"]))
        self.assertEqual(trace["turns"], len(spans))
        by_id = {span["span"]: span for span in spans}
        self.assertEqual(len(by_id), len(spans))

        self.assertEqual(len(found["spans"]), 1)
        root = found["spans"][0]
        self.assertEqual((root["message"], root["actor"], root["parent"]), ("trade_account.place", "trade_account/bob", 0))
        self.assertIsNotNone(root["queue_ns"])  # from where it was sent: the gateway's port
        for span in spans:
            for child in span["children"]:
                self.assertEqual(child["parent"], span["span"])
                self.assertGreaterEqual(child["at_ns"], span["at_ns"])
                self.assertLessEqual(child["at_ns"], trace["took_ns"])

        def path(span):
            way = []
            while span:
                way.append((span["actor"], span["message"]))
                span = by_id.get(span["parent"])
            return way[::-1]

        ways = [path(span) for span in spans]
        place = [("trade_account/bob", "trade_account.place")]
        risk = place + [("risk/main", "risk.ask"), ("trade_account/bob", "trade_account.verdict")]
        book = risk + [("trade_book/BTCUSDT", "trade_book.place")]
        self.assertIn(book, ways)
        fills = {way[4][0] for way in ways if way[:4] == book and way[4:] and way[4][1] == "trade_account.fill"}
        self.assertEqual(fills, {"trade_account/alice", "trade_account/bob"})
        answers = [span for span in spans if span["message"] == "trade_account.order"]
        self.assertTrue(answers and answers[0]["actor"].startswith("port/"), answers)

        shown = stoa("trace", "last", data=self.node.data).stdout
        self.assertRegex(shown, r"message +actor +core +at +waited +turn +outcome")
        self.assertRegex(shown, r"└─|├─")

    def test_a_trace_by_the_actors_name(self):
        found = self.trace_an_order("risk/*")
        self.assertEqual((found["spans"][0]["actor"], found["spans"][0]["parent"]), ("risk/main", 0))

    def test_one_turn_in_so_many(self):
        self.assertEqual(stoa("trace", "every", "1", data=self.node.data).returncode, DENIED)
        before = self.ask("--eval", "trace next * --for 0")["trace"]["id"]
        self.ask("--write", "trace", "every", "100")
        found = self.ask("trace", "last")["trace"]["id"]
        while found <= before:
            self.place("bob", "buy", "0.001")
            found = self.ask("trace", "last")["trace"]["id"]
        self.ask("--write", "trace", "every", "0")

    def test_what_does_not_come(self):
        done = stoa("--timeout", "1000", "trace", "next", "nobody/at_all", data=self.node.data)
        self.assertEqual(done.returncode, TIMEOUT, done)
        self.assertIn("nobody/at_all", done.stderr)
        self.assertEqual(stoa("trace", "999999999", data=self.node.data).returncode, NOT_FOUND)
        self.assertEqual(stoa("trace", "0", data=self.node.data).returncode, USAGE)

    def test_an_actors_state(self):
        state = self.ask("actor", "trade_account/alice", "inspect")
        self.assertEqual(list(state), ["state"])
        self.assertTrue(state["state"]["open"])
        self.assertIn("balances", stoa("actor", "trade_account/alice", "inspect", data=self.node.data).stdout)
        missing = stoa("actor", "trade_account/alise", "inspect", data=self.node.data)
        self.assertEqual(missing.returncode, NOT_FOUND)
        self.assertIn("did you mean 'trade_account/alice'?", missing.stderr)
        self.assertEqual(stoa("actor", "trade_account/alice", "everything", data=self.node.data).returncode, USAGE)

    def metrics(self):
        port = [line for line in self.node.lines() if line["event"] == "http_listens"][-1]["port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
            return page.read().decode()

    def test_how_long_turns_take_and_messages_wait(self):
        def samples():
            return {row["kind"]: (row["turns"], row["waits"]) for row in self.ask("times")["times"]}
        while min(samples().get("trade_account", (0, 0))) == 0 or not any(waits for _, waits in samples().values()):
            for _ in range(100):
                self.place("bob", "buy", "0.00001")
        for row in self.ask("times")["times"]:
            if row["waits"]:
                self.assertLessEqual(row["queue_p50_ns"], row["queue_p99_ns"])
            if row["turns"]:
                self.assertLessEqual(row["turn_p50_ns"], row["turn_p99_ns"])
        text = self.metrics()
        counted = re.search(r'^stoa_queue_seconds_count\{kind="trade_account",core="0"\} (\d+)$', text, re.M)
        self.assertGreater(int(counted.group(1)), 0)
        self.assertIn('stoa_turn_seconds_bucket{kind="trade_account",core="0",le=', text)
        if shutil.which("promtool"):
            checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
            self.assertEqual(checked.returncode, 0, checked)


if __name__ == "__main__":
    unittest.main(verbosity=2)
