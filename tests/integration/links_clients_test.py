"""links_clients_test.py - goal: who uses a room of another node that is lost hears UNAVAILABLE, in words, and goes on when the node is back; a
name that never was is NOT_FOUND; and a client is one person at all nodes. Method: two real nodes and a client of b, whose room is at a; a is
killed, and started again.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import shutil
import tempfile
import unittest

from linked_nodes import WAIT_S, Node, both_up, keys_exchange, until
from running_node import free_port
from stoa_client import Client, StoaError


class Clients(unittest.TestCase):
    def two(self, uri, keys):
        folder = tempfile.mkdtemp(prefix="stoa-links-clients-")
        self.addCleanup(shutil.rmtree, folder)
        self.a = Node(folder, "a", "b", uri, "listen: true", "in")
        self.b = Node(folder, "b", "a", uri, "listen: false", "to-a")
        for node in (self.a, self.b):
            self.addCleanup(node.close)
        with open(os.path.join(self.a.folder, "stoa.yaml"), encoding="utf-8") as file:
            settings = file.read()
        with open(os.path.join(self.a.folder, "stoa.yaml"), "w", encoding="utf-8") as file:
            file.write(settings.replace("source: none", "source: sim"))  # a has the book of a market, which b sees
        if keys:
            keys_exchange(self.a, self.b)
        self.a.start()
        self.b.start()
        both_up(self.a, self.b)
        until(lambda: self.b.node("a")["names"] >= 2, "the room and the book")
        self.client = self.client_of(self.b)

    def client_of(self, node):
        client = Client("zmq+ipc://" + node.folder + "/gw", node.data + "/keys/server.pub", node.data + "/keys/demo")
        self.addCleanup(client.close)
        client.wait_ready(WAIT_S)
        return client

    def lost(self):
        self.a.kill()
        until(lambda: self.b.node("a")["state"] == "lost", "the loss", self.b.log)

    def refused(self, ask):
        """Why, in the node's words: on a busy machine a deadline may pass first."""
        while True:
            with self.assertRaises(StoaError) as got:
                ask()
            if got.exception.name != "TIMEOUT":
                return got.exception

    def refused_post(self, room):
        return self.refused(lambda: self.client.post(room, 1, "m", deadline=1.0))

    def said(self, line):
        error = json.loads(self.b.stoa(line, "--write").stdout)["error"]
        return error["name"], error["text"]

    def check_door(self):
        """The admin door says the same as clients hear, also of names that are keys alone."""
        for line, name in (("actor room/room-a", "room/room-a"), ("actor room/room-a inspect", "room/room-a"), ("actors room/room-a", "room/room-a"),
                           ("move room/room-a 0", "room/room-a"), ("room room-a", "room/room-a"), ("book sim.BTCUSDT", "market_book/sim.BTCUSDT")):
            self.assertEqual(self.said(line), ("UNAVAILABLE", f"{name} is on node a, which cannot be reached now; links shows it"), line)
        for line in ("room room-nowhere", "book sim.NOWHERE", "actor room/room-nowhere", "room room"):
            self.assertEqual(self.said(line)[0], "NOT_FOUND", line)

    def check(self, uri, keys):
        self.two(uri, keys)
        seen = []
        self.client.join("room-a", deadline=WAIT_S)
        first = self.client.post("room-a", 1, "one", deadline=WAIT_S)["seq"]
        self.client.subscribe("room", "room-a", seen.append, after=first)
        self.assertEqual(self.refused_post("room-nowhere").name, "NOT_FOUND")
        self.lost()
        error = self.refused_post("room-a")
        self.assertEqual((error.name, error.text), ("UNAVAILABLE", "room/room-a is on node a, which cannot be reached now"))
        error = self.refused(lambda: self.client.subscribe("room", "room-a", lambda item: None, deadline=1.0))
        self.assertEqual((error.name, "node a" in error.text), ("UNAVAILABLE", True))
        self.check_door()
        error = self.refused_post("room-nowhere")
        self.assertEqual((error.name, error.text), ("NOT_FOUND", "no room/room-nowhere"))
        self.a.start()
        self.assertEqual(self.client.post("room-a", 2, "two", deadline=WAIT_S)["seq"], first + 1)  # it waits, and needs nothing else
        until(lambda: self.client.poll(0.1) is None or [item for item in seen if item.seq == first + 1], "the stream")
        self.assertEqual([(item.kind, item.seq) for item in seen], [("message", first + 1)])

    def test_who_is_not_met_yet_is_waited_for(self):
        """The client's own node starts again while the other is away: it knows no names of that one, but that it is to come."""
        self.two(f"shm://stoa-links-clients-unmet-{os.getpid()}", False)
        self.client.join("room-a", deadline=WAIT_S)
        seen = []
        first = self.client.post("room-a", 1, "one", deadline=WAIT_S)["seq"]
        self.client.subscribe("room", "room-a", seen.append, after=first)
        self.a.stop()
        self.b.stop()
        with open(os.path.join(self.b.folder, "stoa.yaml"), "r+", encoding="utf-8") as settings:
            text = settings.read().replace("lost: 1s", "lost: 300s")
            settings.seek(0)
            settings.write(text)
        self.b.start()
        for room in ("room-a", "room-nowhere"):
            error = self.refused_post(room)
            self.assertEqual((error.name, error.text), ("UNAVAILABLE", f"no room/{room} here, and not met yet: a"))
        self.assertEqual(self.said("room room-a"), ("UNAVAILABLE", "no room/room-a here, and not met yet since the start: a; links shows it"))
        self.assertEqual(self.said("actor trade_account/nobody")[0], "NOT_FOUND")
        self.a.start()
        self.assertEqual(self.client.post("room-a", 2, "two", deadline=WAIT_S)["seq"], first + 1)
        until(lambda: self.client.poll(0.1) is None or [item for item in seen if item.seq == first + 1], "the stream")
        until(lambda: self.refused_post("room-nowhere").name == "NOT_FOUND", "all of its names")

    def test_a_client_is_one_person_at_all_nodes(self):
        self.two(f"shm://stoa-links-clients-one-{os.getpid()}", False)
        self.client.join("room-a", deadline=WAIT_S)
        seq = self.client.post("room-a", 1, "one", deadline=WAIT_S)["seq"]
        at_a = self.client_of(self.a)  # the same name, by another key
        self.assertEqual(at_a.members("room-a", deadline=WAIT_S)["members"], ["demo"])
        self.assertEqual(at_a.post("room-a", 1, "one", deadline=WAIT_S)["seq"], seq)  # a retry at the other node posts nothing twice
        with self.assertRaises(StoaError) as got:
            at_a.post("room-a", 1, "two", deadline=WAIT_S)
        self.assertEqual(got.exception.name, "DUPLICATE")

    def test_over_zmq(self):
        self.check(f"zmq+tcp://127.0.0.1:{free_port()}", True)

    def test_over_shared_memory(self):
        self.check(f"shm://stoa-links-clients-{os.getpid()}", False)


if __name__ == "__main__":
    unittest.main()
