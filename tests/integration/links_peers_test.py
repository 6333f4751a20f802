"""links_peers_test.py - goal: a plug-in's peer on another node is found by its name whenever that node is there: also one that comes up behind
the plug-in, or is killed and comes back; what is sent while it is away is refused by name. Method: two real nodes; the plug-in of one sends
notes to that of the other, which counts them and is killed.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import shutil
import tempfile
import unittest

from linked_nodes import OK, Node, both_up, until

PLUGINS = os.path.join(os.environ["STOA_BUILD"], "plugins")


def plugin(name, actors, more=""):
    return "  - {name: %s, library: %s, actors: %s%s}\n" % (name, os.path.join(PLUGINS, name + ".so"), actors, more)


class Peers(unittest.TestCase):
    def node(self, folder, name, other, more, plugins):
        node = Node(folder, name, other, f"shm://stoa-links-peers-{os.getpid()}", more, "l")
        path = os.path.join(node.folder, "stoa.yaml")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace("room, market_book", "room, market_book, helper") + "plugins:\n" + plugins)
        self.addCleanup(node.close)
        return node

    def setUp(self):
        folder = tempfile.mkdtemp(prefix="stoa-links-peers-")
        self.addCleanup(shutil.rmtree, folder)
        # a knows what a helper takes by having that plug-in, too
        self.a = self.node(folder, "a", "b", "listen: true", plugin("helper", "g") + plugin("odd", "o", ", peers: helper/h"))
        self.b = self.node(folder, "b", "a", "listen: false", plugin("helper", "h"))

    def send(self, count):
        """Notes of the plug-in to its peer; the refusal, or None."""
        done = self.a.stoa("plugin ask odd o notes '%s'" % json.dumps({"n": count}), "--write")
        return None if done.returncode == OK else json.loads(done.stdout)["error"]["name"]

    def arrived(self):
        return self.b.write("plugin ask helper h look '{}'")["answer"]["notes"]

    def meet(self):
        both_up(self.a, self.b)
        until(lambda: "helper/h" in self.a.ask("names actors")["names"], "the peer's name")

    def test_a_peer_of_another_node_is_found_again_by_its_name(self):
        self.a.start()
        self.assertEqual(self.send(1), "CLOSED")
        for _ in range(2):
            self.b.start()
            self.meet()
            until(lambda: self.send(1) is None and self.arrived(), "notes", self.a.log)  # on a busy machine a node may be lost for a moment
            self.b.kill()
            until(lambda: self.a.node("b")["state"] == "lost", "the loss", self.a.log)
            until(lambda: self.send(1) == "CLOSED", "the refusal", self.a.log)
        row = next(row for row in self.a.ask("plugins")["plugins"] if row["actor"] == "odd/o")
        self.assertEqual(row["ends"], 0)  # all in one life


if __name__ == "__main__":
    unittest.main()
