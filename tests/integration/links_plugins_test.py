"""links_plugins_test.py - goal: a plug-in of another node is asked as one of this node is, by clients and at the REPL alike, over the supervisor
there or the actor's name here; what ended it is told across the link; what one sends to an actor of a node that was lost is
counted, by reason, where an operator looks. Method: two real nodes with plug-ins, of which one is killed, and a client of the other.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import shutil
import subprocess
import tempfile
import unittest

from linked_nodes import WAIT_S, Node, both_up, until
from running_node import BIN
from stoa_client import Client, StoaError

PLUGINS = os.path.join(os.environ["STOA_BUILD"], "plugins")
SHARES = "room, market_book, plugin, tally, helper"


def plugin(name, actors, more=""):
    return "  - {name: %s, library: %s, actors: %s%s}\n" % (name, os.path.join(PLUGINS, name + ".so"), actors, more)


class Plugins(unittest.TestCase):
    def setUp(self):
        folder = tempfile.mkdtemp(prefix="stoa-links-plugins-")
        self.addCleanup(shutil.rmtree, folder)
        uri = f"shm://stoa-links-plugins-{os.getpid()}"
        self.a = Node(folder, "a", "b", uri, "listen: true", "in")
        self.b = Node(folder, "b", "a", uri, "listen: false", "to-a")
        self.settle(self.a, "plugins:\n" + plugin("helper", "g") + plugin("tally", "t") +
                    plugin("odd", "o", ", peers: helper/h, restarts: 100, backoff: 1ms, backoff_max: 1ms"))
        self.settle(self.b, "plugins:\n" + plugin("helper", "h") + plugin("tally", "u"), 'plugins: "tally, odd"')

    def settle(self, node, plugins, client="accounts: \"\""):
        path = os.path.join(node.folder, "stoa.yaml")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace("room, market_book", SHARES).replace("{name: demo}", "{name: demo, %s}" % client) + plugins)
        self.addCleanup(node.close)

    def start(self):
        self.a.start()
        self.b.start()
        both_up(self.a, self.b)
        until(lambda: self.names(self.b) >= {"tally/t", "plugin/odd"} and "helper/h" in self.names(self.a), "the plug-ins' names")
        self.client = Client("zmq+ipc://" + self.b.folder + "/gw", self.b.data + "/keys/server.pub", self.b.data + "/keys/demo")
        self.addCleanup(self.client.close)
        self.client.wait_ready(WAIT_S)

    def names(self, node):
        return set(node.ask("names actors")["names"])

    def by_client(self, name, instance, message, deadline=WAIT_S, **fields):
        return json.loads(self.client.plugin_ask(name, instance, message, json.dumps(fields), deadline=deadline)["payload"])

    def refused_client(self, *words, **fields):
        while True:  # on a busy machine a deadline may pass first
            with self.assertRaises(StoaError) as got:
                self.by_client(*words, deadline=1.0, **fields)
            if got.exception.name != "TIMEOUT":
                return got.exception

    def by_repl(self, node, name, instance, message, **fields):
        done = node.stoa(f"plugin ask {name} {instance} {message} '{json.dumps(fields)}'", "--write")
        said = json.loads(done.stdout)
        return said["answer"] if done.returncode == 0 else (said["error"]["name"], said["error"]["text"])

    def odd(self):
        return next(row for row in self.a.ask("plugins")["plugins"] if row["actor"] == "odd/o")

    def serves(self, ends):
        until(lambda: self.odd()["ends"] == ends and self.odd()["status"] == "serves" and self.odd()["process"]["status"] == "serves", "odd/o",
              self.a.log)

    def test_it_is_asked_as_one_of_this_node(self):
        self.start()
        # both have the plug-in: an actor that is on the other node, by its name
        self.assertEqual(self.by_client("tally", "t", "add", n=5), {"total": 5})
        self.assertEqual(self.by_repl(self.b, "tally", "t", "add", n=1), {"total": 6})
        self.assertEqual(self.by_client("tally", "u", "add", n=1), {"total": 1})
        # one has it
        self.assertEqual(self.by_client("odd", "o", "add", n=2)["sum"], 2)
        self.assertEqual(self.by_repl(self.b, "odd", "o", "add", n=3)["sum"], 5)
        self.assertEqual(self.by_repl(self.b, "odd", "p", "add"), ("NOT_FOUND", "plug-in odd has no actor 'p', or takes no message 'add'"))
        self.assertEqual(self.by_repl(self.b, "odd", "o", "refuse"), ("RANGE", "it answers RANGE"))
        self.assertIn("odd", self.b.ask("names plugins")["names"])
        self.assertIn("another node's", self.b.stoa("plugin odd").stdout)
        self.assertIn("did you mean 'odd'", self.by_repl(self.b, "oddd", "o", "add")[1])
        # of what it ended, from there as from here; and what may have done something is not repeated
        self.assertEqual(self.by_repl(self.b, "odd", "o", "misdo", what="crash"), ("FAILED", "it has ended: isolate: crashed"))
        self.serves(1)
        with self.assertRaises(StoaError) as got:
            self.by_client("odd", "o", "misdo", what="exit")
        self.assertEqual(got.exception.name, "FAILED")
        self.serves(2)
        self.a_lost_peer_is_said_and_what_nobody_gets_is_counted()

    def a_lost_peer_is_said_and_what_nobody_gets_is_counted(self):
        self.assertEqual(self.odd()["dropped"], 0)
        self.by_repl(self.a, "odd", "o", "notes", n=3)
        until(lambda: self.by_repl(self.b, "helper", "h", "look")["notes"] == 3, "notes of another node")
        self.b.kill()
        until(lambda: self.a.node("b")["state"] == "lost", "the loss", self.a.log)
        self.b.start()
        both_up(self.a, self.b)
        until(lambda: "helper/h" in self.names(self.a), "the peer")
        self.by_repl(self.a, "odd", "o", "notes", n=10, kept=1)  # to who it was before
        row = until(lambda: self.odd()["dropped"] and self.odd(), "the count")
        self.assertEqual((row["dropped"], row["dropped_why"], row["process"]["dropped"]), (10, {"closed": 10}, {"closed": 10}))
        self.by_repl(self.a, "odd", "o", "misdo", what="crash")
        self.serves(3)
        self.assertEqual(self.odd()["dropped"], 10)  # over all its lives
        text = until(lambda: 'reason="closed"} 10' in self.a.metrics() and self.a.metrics(), "the figure")
        self.assertIn('stoa_plugin_dropped_total{plugin="odd",actor="o",reason="closed"} 10', text)
        self.assertRegex(text, r'stoa_dropped_total\{core="\d+",reason="closed"\} \d{2,}')
        self.assertRegex(text, r'stoa_session_dropped_total\{link="in",node="b",reason="stale"\} \d')
        self.b.kill()
        until(lambda: self.a.node("b")["state"] == "lost", "the loss", self.a.log)
        self.assertEqual(self.by_repl(self.a, "odd", "o", "notes", n=10)[0], "CLOSED")  # who is away is not sent to
        self.assertEqual(self.odd()["dropped"], 10)
        (node,) = self.a.ask("links")["nodes"]
        self.assertIn("its actors are UNAVAILABLE here", node["note"])
        self.assertTrue(node["since_ns"])

    def test_what_cannot_be_reached_is_said(self):
        self.start()
        self.assertEqual(self.b.ask("links")["nodes"][0]["note"], None)
        self.a.kill()
        until(lambda: self.b.node("a")["state"] == "lost", "the loss", self.b.log)
        self.assertEqual(self.refused_client("tally", "t", "add").name, "UNAVAILABLE")
        error = self.refused_client("odd", "o", "add")
        self.assertEqual((error.name, error.text), ("UNAVAILABLE", "plugin/odd is on node a, which cannot be reached now"))
        for name, instance, absent in (("tally", "t", "tally/t"), ("odd", "o", "plugin/odd")):
            self.assertEqual(self.by_repl(self.b, name, instance, "add"),
                             ("UNAVAILABLE", f"{absent} is on node a, which cannot be reached now; links shows it"))
        self.assertEqual(self.by_client("tally", "u", "add", n=1), {"total": 1})
        self.a.start()
        self.assertEqual(self.by_client("odd", "o", "add", n=7)["sum"], 7)  # it waits, and needs nothing else
        table = subprocess.run([os.path.join(BIN, "stoa"), "--data", self.b.data, "plugins"], capture_output=True, text=True, timeout=WAIT_S,
                               check=True, stdin=subprocess.DEVNULL).stdout
        self.assertRegex(table, r"(?m)^tally/u +serves ")

    def test_a_client_s_plug_in_is_here_or_may_be_elsewhere(self):
        path = os.path.join(self.b.folder, "stoa.yaml")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace(SHARES, "room"))
        done = subprocess.run([os.path.join(BIN, "stoad"), "--check", path], capture_output=True, text=True, timeout=WAIT_S, check=False)
        self.assertEqual((done.returncode, "there is no plug-in 'odd' here; those of linked nodes need 'plugin' in node.shares" in done.stderr),
                         (2, True), done.stderr)


if __name__ == "__main__":
    unittest.main()
