"""links_two_test.py - goal: two nodes on two links have one session; one link carries it, the other is spare and says so, and takes over by itself:
when the first ends, and when a node comes back by the other one alone. Method: two real nodes with two links between them, dialled by one
of them or each by another; a client of b posts in a room of a meanwhile.

SPDX-License-Identifier: Apache-2.0
"""
import os
import shutil
import tempfile
import unittest

from linked_nodes import NOT_FOUND, WAIT_S, Node, Talk, keys_exchange, until
from running_node import free_port

LINK = '  - {name: %s, uri: "%s", nodes: %s, listen: %s, heartbeat: 50ms, silence: 1s}\n'


class Two(Node):
    """A node with any links: rows of name, uri, whether it listens."""

    def __init__(self, folder, name, other, links):
        super().__init__(folder, name, other, "shm://none", "listen: false", "none")
        self.other, self.path = other, os.path.join(self.folder, "stoa.yaml")
        with open(self.path, encoding="utf-8") as given:
            self.settings = given.read().split("links:\n")[0]
        self.links(links)

    def links(self, links):
        rows = "".join(LINK % (name, uri, self.other, "true" if listens else "false") for name, uri, listens in links)
        with open(self.path, "w", encoding="utf-8") as out:
            out.write(self.settings + "links:\n" + rows)

    def rows(self):
        return {row["link"]: row for row in self.ask("links")["nodes"] if row["node"] == self.other}

    def carried(self):
        """The link over which the other node is up, with its names; None: none."""
        up = [row["link"] for row in self.rows().values() if row["state"] == "up" and row["names"] >= 1]
        return up[0] if up else None


class TwoLinks(unittest.TestCase):
    def begin(self, one, two, mixed=False, keys=False):
        folder = tempfile.mkdtemp(prefix="stoa-links-two-")
        self.addCleanup(shutil.rmtree, folder)
        self.uris = {"one": one, "two": two}
        self.a = Two(folder, "a", "b", [("one", one, True), ("two", two, not mixed)])
        self.b = Two(folder, "b", "a", [("one", one, False), ("two", two, mixed)])
        for node in (self.a, self.b):
            self.addCleanup(node.close)
        if keys:
            keys_exchange(self.a, self.b)
        self.a.start()
        self.b.start()
        self.both_up()

    def both_up(self, link=None):
        def same():
            a, b = self.a.carried(), self.b.carried()
            return a == b and a and (not link or a == link)
        until(same, f"both up over {link or 'one of them'}", lambda: str((self.a.rows(), self.b.rows())) + self.a.log()[-2000:] + self.b.log()[-2000:])
        return self.a.carried()

    def check_one_is_up(self):
        for node in (self.a, self.b):
            rows = node.rows()
            self.assertEqual([row["state"] for row in rows.values()].count("up"), 1, rows)
            over = next(name for name, row in rows.items() if row["state"] == "up")
            for name, row in rows.items():
                if name != over:
                    self.assertIn(row["state"], ("spare", "elsewhere", "away"))
                    self.assertEqual((row["over"], row["names"]), (over, 0))
            self.assertNotIn("remote_node_twice", node.log())

    def test_one_carries_and_a_node_that_comes_by_the_other_alone_is_met_there(self):
        name = os.path.basename(tempfile.mkdtemp(prefix="two"))
        self.begin(f"shm://{name}x", f"shm://{name}y")
        self.check_one_is_up()
        spare = "two" if self.b.carried() == "one" else "one"
        until(lambda: self.b.rows()[spare]["state"] == "spare", "the spare link")
        done = self.b.stoa(f"link {spare} pause", "--write")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("a is here over", done.stdout + done.stderr)
        over = self.b.carried()
        self.assertEqual(self.b.write("link a pause")["link"]["link"], over)
        self.b.write("link a resume")
        self.assertEqual(self.b.carried(), over)
        self.b.stop()
        self.b.links([(spare, self.uris[spare], False)])
        self.b.start()
        self.both_up(spare)
        self.check_one_is_up()
        self.assertIn("room-a", self.b.stoa("room room-a").stdout)
        self.assertEqual(self.b.stoa("room room-c").returncode, NOT_FOUND)

    def test_the_spare_one_takes_over_and_nothing_is_lost(self):
        one, two = f"zmq+tcp://127.0.0.1:{free_port()}", f"zmq+tcp://127.0.0.1:{free_port()}"
        self.begin(one, two, keys=True)
        talk = Talk(self.b, "room-a")
        talk.start()
        talk.some_more()
        for _ in range(4):
            self.b.write("link a drop")
            self.both_up()
            talk.some_more()
        talk.stop()
        self.assertEqual((talk.failed, talk.seqs), ([], sorted(set(talk.seqs))))
        self.check_one_is_up()
        self.assertEqual([row["resets"] for row in self.b.rows().values()], [0, 0])

    def test_two_that_dial_each_other_meet_over_one(self):
        folder = tempfile.mkdtemp(prefix="stoa-links-two-")
        self.addCleanup(shutil.rmtree, folder)
        self.begin(f"zmq+ipc://{folder}/one", f"zmq+ipc://{folder}/two", mixed=True, keys=True)
        self.check_one_is_up()
        self.a.kill()
        until(lambda: not self.b.carried(), "the loss")
        self.a.start()
        self.both_up()
        self.check_one_is_up()


if __name__ == "__main__":
    unittest.main(verbosity=2)
