"""follow_test.py - goal: `trace next` and `trace N` follow one causality tree while it grows: drawn again in place on a terminal, a
line for each turn elsewhere, until it is quiet, --for is over, or Ctrl-C. Method: a node with a chain of timers that takes
seconds; how long a chain's links wait grows until a turn was seen before the chain had ended.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import re
import select
import shutil
import subprocess
import tempfile
import unittest

import admin_test
from admin_test import OK, TIMEOUT, USAGE, Terminal, stoa

STUCK = os.path.join(os.environ["STOA_BUILD"], "tests", "stuck_node")
LINKS = 8
TURNS = 1 + 3 * LINKS
PROMPT = r"stoa> "


def flat(spans):
    for span in spans:
        yield span
        yield from flat(span.get("children", []))


class Following(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="stoa-follow-")
        cls.data = os.path.join(cls.folder, "data")
        cls.log = open(os.path.join(cls.folder, "log"), "wb")
        cls.node = subprocess.Popen([STUCK, "node.data=" + cls.data, "gateway.listen=zmq+ipc://" + cls.folder + "/gw",
                                     "http.port=-1", "market.source=none"],
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=cls.log)
        assert cls.node.stdout.readline() == b"ready\n"

    @classmethod
    def tearDownClass(cls):
        cls.node.stdin.write(b"quit\n")
        cls.node.stdin.close()
        assert cls.node.wait(60) == 0
        cls.node.stdout.close()
        cls.log.close()
        shutil.rmtree(cls.folder)

    def chain(self, wait_ms, links=LINKS):
        self.node.stdin.write(f"chain {links} {wait_ms}\n".encode())
        self.node.stdin.flush()

    def now(self, trace):
        """The tree as it is now, as one document."""
        done = stoa("-o", "json", "trace", str(trace), "--for", "0", data=self.data)
        self.assertEqual(done.returncode, OK, done)
        return json.loads(done.stdout)

    def follow(self, *arguments, wait_ms, output="json"):
        """Its lines as they come; chains begin until one is followed, as nobody tells when the wait for it begins."""
        command = [admin_test.STOA, "--data", self.data, "-o", output, "--timeout", "60000", "trace", "next", "chain.begin",
                   *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=admin_test.CLEAN) as follows:
            while not select.select([follows.stdout], [], [], LINKS * wait_ms / 1000)[0]:
                self.chain(wait_ms)
            for line in follows.stdout:
                yield line.decode()
            self.assertEqual(follows.wait(), OK, follows.stderr.read())

    def test_each_turn_has_its_line_when_it_has_ended(self):
        grew, wait_ms = False, 250
        while not grew:
            seconds, seen, end = LINKS * wait_ms // 1000 + 3, {}, None
            for line in self.follow("--for", str(seconds), wait_ms=wait_ms):
                self.assertIsNone(end, "nothing comes behind the trace")
                said = json.loads(line)
                end = said.get("trace")
                if end:
                    continue
                span = said["span"]
                self.assertEqual(list(span), ["message", "actor", "core", "at_ns", "queue_ns", "turn_ns", "outcome", "span", "parent"])
                self.assertNotIn(span["span"], seen)
                self.assertTrue(not seen or span["parent"] in seen, "behind that which it followed from")
                seen[span["span"]] = span
                if len(seen) == 2:
                    trace = json.loads(stoa("-o", "json", "trace", "last", data=self.data).stdout)["trace"]
                    grew = trace["turns"] < TURNS
            self.assertEqual(end["ended"], "time")
            self.assertEqual(end["turns"], len(seen))
            wait_ms *= 3
            if len(seen) < TURNS:
                grew = False  # the machine is slow: the time was over before the chain
        tree = self.now(end["id"])
        self.assertEqual({span["span"] for span in flat(tree["spans"])}, set(seen))
        self.assertEqual(sum(span["message"] == "chain.word" for span in seen.values()), LINKS)
        links = [span for span in seen.values() if span["message"] == "chain.link"]
        self.assertEqual([span["at_ns"] for span in links], sorted(span["at_ns"] for span in links))
        self.assertGreater(links[-1]["at_ns"], (LINKS - 1) * 250_000_000 * 9 // 10)

    def test_in_a_pipe_fields_have_tabs_between(self):
        lines = [line.rstrip("\n").split("\t") for line in self.follow(wait_ms=20, output="table")]
        self.assertEqual(lines[0], ["message", "actor", "core", "at_ns", "queue_ns", "turn_ns", "outcome", "span", "parent"])
        self.assertEqual(lines[1][:2] + lines[1][-1:], ["chain.begin", "chain/first", "0"])
        self.assertEqual({len(line) for line in lines}, {9})
        self.assertNotIn("\x1b", str(lines))

    def test_it_ends_when_it_is_quiet(self):
        *spans, end = [json.loads(line) for line in self.follow(wait_ms=20)]
        self.assertEqual(end["trace"]["ended"], "quiet")
        self.assertGreaterEqual(end["trace"]["quiet_ns"], 1_000_000_000)
        self.assertEqual(end["trace"]["turns"], len(spans))
        again = stoa("-o", "json", "trace", str(end["trace"]["id"]), data=self.data)  # it is quiet already
        *lines, last = [json.loads(line) for line in again.stdout.splitlines()]
        self.assertEqual(last["trace"]["ended"], "quiet")
        self.assertEqual(*(sorted(line["span"]["span"] for line in one) for one in (lines, spans)))

    def terminal(self, *arguments):
        t = Terminal("--data", self.data, "--timeout", "60000", *arguments)
        self.addCleanup(lambda: os.path.exists(f"/proc/{t.pid}") and os.kill(t.pid, 9))
        return t

    def wait_for_tree(self, t, wait_ms):
        while not re.search("it grows; Ctrl-C ends", t.seen[t.at:]):
            self.chain(wait_ms)
            for _ in range(LINKS * wait_ms // 100):
                t.read(0.1)
        t.expect("it grows; Ctrl-C ends")

    def test_a_terminal_shows_the_tree_in_place(self):
        t = self.terminal("trace", "next", "chain.begin")
        self.wait_for_tree(t, 250)
        self.assertEqual(t.end(), OK)
        drawn = re.split(r"\x1b\[\d+A\r\x1b\[J", t.seen)
        self.assertGreater(len(drawn), 2)  # again and again
        sizes = [page.count("chain.link") for page in drawn]
        self.assertEqual(sizes, sorted(sizes))
        self.assertGreater(sizes[-1], sizes[0])
        self.assertNotIn("it grows", drawn[-1])
        self.assertRegex(drawn[-1], r"└─ chain\.link")
        self.assertNotIn("\x1b[?1049h", t.seen)  # what was seen stays

    def test_ctrl_c_ends_it_and_not_the_prompt(self):
        t = self.terminal()
        t.expect(PROMPT)
        t.type("trace next chain.begin --for 600\n")
        self.wait_for_tree(t, 250)
        t.type("\x03")
        t.expect(PROMPT)
        t.type("names shards\n")
        t.expect(r"trade\r\n")
        t.expect(PROMPT)
        t.type("quit\n")
        self.assertEqual(t.end(), OK)

    def test_a_tree_that_is_longer_than_the_screen(self):
        words = 0
        while words < LINKS:  # fewer: it was quiet for a second, because the machine was
            t = self.terminal("trace", "next", "chain.begin")
            t.size(100, lines=12)
            self.wait_for_tree(t, 250)
            self.assertEqual(t.end(), OK)
            drawn = re.split(r"\x1b\[\d+A\r\x1b\[J", t.seen)
            self.assertTrue(all(page.count("\n") < 12 for page in drawn[:-1]))
            self.assertIn("... it grows", t.seen)
            words = drawn[-1].count("chain.word")  # all of it in the end

    def test_what_does_not_fit(self):
        for line, code, words in (("trace next --for", USAGE, "--for needs <seconds>: trace next [root] [--for seconds]"),
                                  ("trace next --for soon", USAGE, "seconds is a number from 0 to 86400, not 'soon'"),
                                  ("trace 1 --fur 5", USAGE, "trace has no option '--fur': <trace> [--for seconds]"),
                                  ("node --for 5", USAGE, "node has no option '--for'")):
            done = stoa("--eval", line, data=self.data)
            self.assertEqual((done.returncode, done.stderr), (code, f"stoa: INVALID: {words}\n"))
        done = stoa("--timeout", "500", "trace", "next", "nobody/*", "--for", "1", data=self.data)
        self.assertEqual(done.returncode, TIMEOUT, done)


if __name__ == "__main__":
    unittest.main(verbosity=2)
