"""links_denied_test.py - goal: a link that is refused for a key says so on both sides, wherever docs/guide/links.md says it does: in `links`,
in `link X`, in the log, each reason once, and in /metrics; and again when other keys are refused. Method: two real nodes over each link that
has keys, the one with a key that the other does not let in, or with another key of the other, or with another name than its key's.

SPDX-License-Identifier: Apache-2.0
"""
import json
import re
import shutil
import tempfile
import unittest

from linked_nodes import Node, both_up, keys_exchange, until
from running_node import free_port


def refused(node):
    """Its only link's row."""
    return node.ask("links")["links"][0]


class Denied(unittest.TestCase):
    def two(self, scheme):
        self.folder = tempfile.mkdtemp(prefix="stoa-denied-")
        self.addCleanup(shutil.rmtree, self.folder)
        uri = f"{scheme}://127.0.0.1:{free_port()}"
        self.a = Node(self.folder, "a", "b", uri, "listen: true", "in")
        self.b = Node(self.folder, "b", "a", uri, "listen: false", "to-a")
        for node in (self.a, self.b):
            self.addCleanup(node.close)

    def stranger(self):
        """The public half of a pair that nobody uses."""
        node = Node(self.folder, "stranger", "a", "zmq+tcp://127.0.0.1:1", "listen: false", "to-a")
        node.write("key new server")
        return node.public()

    def start(self):
        self.a.start()
        self.b.start()

    def said(self, node, event):
        lines = [json.loads(line) for line in node.log().splitlines() if f'"{event}"' in line]
        return [(line.get("link"), line["node"], line["error"]) for line in lines]

    def both_say(self, times=1):
        """DENIED, so often in the log, however many connections are refused meanwhile."""
        row = until(lambda: self.b.node("a")["last_fault"] == "DENIED" and self.b.node("a"), "the node's row", lambda: self.b.stoa("links").stdout)
        self.assertNotEqual(row["state"], "up")
        for node, event, line in ((self.a, "link_turned_away", ("in", "", "DENIED")), (self.b, "link_refused", ("to-a", "a", "DENIED"))):
            until(lambda: len(self.said(node, event)) >= times, f"{node.name}: {event}", node.log)
            count = until(lambda: refused(node)["refused"], "refusals")
            until(lambda: refused(node)["refused"] >= count + 4, "more of them")
            self.assertEqual(refused(node)["refused_why"], "DENIED")
            self.assertEqual(self.said(node, event), [line] * times)
            shown = node.ask("link " + line[0])
            self.assertEqual(shown["link"]["refused_why"], "DENIED")
            metric = re.search(r'stoa_link_refused_total\{link="' + line[0] + r'"\} (\d+)', node.metrics())
            self.assertGreaterEqual(int(metric[1]), count + 4)
        shown = self.b.ask("link a")
        self.assertEqual(shown["faults"]["refused_why"], "DENIED")
        self.assertTrue(shown["times"]["refused_ns"])

    def over(self, scheme):
        self.two(scheme)
        for node in (self.a, self.b):
            node.write("key new server")
        self.a.write(f"key allow b {self.stranger()}")  # a does not let b in
        self.b.write(f"key allow a {self.a.public()}")
        self.start()
        said = self.a.stoa("link b")
        self.assertIn("node b was not met since the start; link in leads to it", said.stdout + said.stderr)
        self.both_say()
        self.a.write(f"key allow b {self.b.public()}")
        both_up(self.a, self.b)
        self.a.write("key revoke b")
        self.both_say(times=2)

    def test_over_zmq(self):
        self.over("zmq+tcp")

    def test_over_ucx(self):
        self.over("ucx+tcp")

    def test_over_libfabric(self):
        self.over("ofi+tcp")

    def wrong_server(self, scheme):
        """b has another key of a: with CURVE a cannot read its first word, and hangs up without one of its own."""
        self.two(scheme)
        for node in (self.a, self.b):
            node.write("key new server")
        self.a.write(f"key allow b {self.b.public()}")
        self.b.write(f"key allow a {self.stranger()}")
        self.start()
        self.both_say()
        self.b.write(f"key allow a {self.a.public()}")
        both_up(self.a, self.b)

    def test_of_a_wrong_key_of_the_listener_over_zmq(self):
        self.wrong_server("zmq+tcp")

    def test_of_a_wrong_key_of_the_listener_over_ucx(self):
        self.wrong_server("ucx+tcp")

    def test_of_a_wrong_key_of_the_listener_over_libfabric(self):
        self.wrong_server("ofi+tcp")

    def test_of_another_name_than_its_key_s(self):
        self.two("zmq+tcp")
        keys_exchange(self.a, self.b)
        path = self.b.folder + "/stoa.yaml"
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace("name: b,", "name: c,"))
        self.start()
        until(lambda: self.said(self.a, "link_turned_away"), "word at a", self.a.log)
        until(lambda: self.said(self.b, "link_refused"), "word at b", self.b.log)
        self.assertEqual(self.said(self.a, "link_turned_away"), [(None, "b", "DENIED")])  # whose key it is
        self.assertEqual(self.said(self.b, "link_refused"), [(None, "a", "DENIED")])
        for node in (self.a, self.b):
            self.assertEqual(refused(node)["refused_why"], "DENIED")
        self.assertEqual(self.b.node("a")["last_fault"], "DENIED")

    def named(self, a_awaits, b_awaits):
        """Over shared memory, where no key proves names; which nodes each side's settings have."""
        self.folder = tempfile.mkdtemp(prefix="stoa-denied-")
        self.addCleanup(shutil.rmtree, self.folder)
        uri = f"shm://{self.folder}/link"
        self.a = Node(self.folder, "a", a_awaits, uri, "listen: true", "in")
        self.b = Node(self.folder, "b", b_awaits, uri, "listen: false", "to-a")
        for node in (self.a, self.b):
            self.addCleanup(node.close)
        self.start()
        for node in (self.a, self.b):
            until(lambda: refused(node)["refused_why"] == "DENIED" or refused(node)["strangers_why"] == "DENIED", f"the refusal at {node.name}", node.log)
        self.assertNotIn("link_up", self.a.log() + self.b.log())

    def test_of_a_name_that_the_listener_does_not_have_over_shared_memory(self):
        self.named('"c, bb"', "a")
        until(lambda: self.said(self.a, "link_turned_away"), "word at a", self.a.log)
        until(lambda: self.said(self.b, "link_refused"), "word at b", self.b.log)
        self.assertEqual(self.said(self.a, "link_turned_away"), [(None, "b", "DENIED")])
        row = self.b.node("a")
        self.assertEqual((row["state"] != "up", row["last_fault"]), (True, "DENIED"))
        self.assertIn("nodes of this link", row["note"])

    def test_of_a_name_that_who_dials_does_not_have_over_shared_memory(self):
        self.named("b", "c")
        until(lambda: self.said(self.b, "link_turned_away") or self.said(self.b, "link_refused"), "word at b", self.b.log)
        self.assertIn("node.name", refused(self.b)["note"])


if __name__ == "__main__":
    unittest.main()
