"""links_test.py - goal: two nodes that know each other, as an operator sees them: `links`, `link X`, paused, resumed, dropped, killed, started
again, stopped, cut off one way, rotated, revoked; each is noticed, named, and over when it is over. Method: two real nodes over each kind of
link that this machine has, with a proxy between them that can hold, mute and cut. Times are the node's own words, never this test's clock.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from linked_nodes import DENIED, HEARTBEAT_NS, NOT_FOUND, SILENCE_NS, USAGE, WAIT_S, Node, Talk, both_up, keys_exchange, until
from running_node import BIN, Proxy, free_port


def own_address():
    """An address of this machine that is not loopback; None: there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            return None
        host = probe.getsockname()[0]
    return None if host.startswith("127.") else host


class Links(unittest.TestCase):
    def two(self, listens, dials=None, memory=False, more="", hasty=True):
        """Two nodes, a listening and b dialling, each with the other's key."""
        self.folder = tempfile.mkdtemp(prefix="stoa-links-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.a = Node(self.folder, "a", "b", listens, "listen: true" + more, "in", hasty)
        self.b = Node(self.folder, "b", "a", dials or listens, "listen: false" + more, "to-a", hasty)
        self.addCleanup(self.a.close)
        self.addCleanup(self.b.close)
        if not memory:
            keys_exchange(self.a, self.b)

    def start(self):
        self.a.start()
        self.b.start()
        self.both_up()

    def both_up(self):
        both_up(self.a, self.b)

    def other_room_is_found(self):
        """Its actors stand here while it is up."""
        names = self.a.ask("links")["nodes"][0]["names"]
        self.assertGreaterEqual(names, 1)

    def down(self, node, other, state=("lost", "away", "greeting")):
        return until(lambda: node.node(other)["state"] in state and node.node(other), f"{node.name}: {other} down",
                     lambda: node.stoa("links").stdout)

    # --- what is shown

    def check_shown(self, scheme, encrypts):
        for node, other, link, role in ((self.a, "b", "in", "listens"), (self.b, "a", "to-a", "dials")):
            (row,) = node.ask("links")["links"]
            self.assertEqual((row["link"], row["role"], row["encrypts"], row["proves"]), (link, role, encrypts, scheme != "shm://"), row)
            self.assertTrue(row["provider"] and row["address"].startswith(scheme), row)
            for name in (other, link):
                shown = node.ask("link " + name)
                self.assertEqual(shown["link"]["link"], link)
                self.assertEqual((shown["session"]["node"], shown["session"]["state"]), (other, "up"))
                self.assertEqual([lane["lane"] for lane in shown["lanes"]], ["control", "normal", "bulk"])
                self.assertTrue(all(lane["credit"] > 0 for lane in shown["lanes"]))
                self.assertEqual(shown["times"]["heartbeat_ns"], HEARTBEAT_NS)
                self.assertEqual(shown["times"]["noticed_within_ns"], HEARTBEAT_NS + SILENCE_NS)
                self.assertTrue(3 * HEARTBEAT_NS <= shown["times"]["silence_ns"] <= SILENCE_NS, shown["times"])
                until(lambda: node.ask("link " + name)["round_trips"], "a round trip")
                trips = node.ask("link " + name)["round_trips"]
                self.assertTrue(all(trip["from_ns"] < trip["to_ns"] and trip["count"] for trip in trips))
                self.assertEqual((shown["faults"]["resets"], shown["faults"]["corrupt"], shown["faults"]["denied"]), (0, 0, 0))
                self.assertEqual(shown["dropped"], [])  # nothing was too late, or reached nobody
                self.assertEqual(shown["traffic"]["bonds"], 0)
            text = node.metrics()
            self.assertIn(f'stoa_session_up{{link="{link}",node="{other}"}} 1', text)
            self.assertIn(f'stoa_link_connections_total{{link="{link}"}}', text)
            self.assertIn("stoa_session_rtt_ns", text)
        self.assertEqual(self.a.stoa("link nobody").returncode, NOT_FOUND)
        self.assertEqual(self.a.stoa("link b stop").returncode, USAGE)
        said = self.a.stoa("link b -o json")
        self.assertEqual((said.returncode, "options of stoa itself stand before the command" in said.stdout + said.stderr), (USAGE, True), said)
        table = subprocess.run([os.path.join(BIN, "stoa"), "--data", self.a.data, "links"], capture_output=True, text=True, timeout=WAIT_S, check=True,
                               stdin=subprocess.DEVNULL).stdout
        self.assertRegex(table, r"(?m)^in +listens ")
        self.assertRegex(table, r"(?m)^b +in +up ")

    def check_deeds(self):
        self.assertEqual(self.a.stoa("link b pause").returncode, DENIED)  # needs --write
        self.assertIn("would be", self.a.ask("link b pause --plan")["link"]["outcome"])
        self.assertEqual(self.a.node("b")["state"], "up")
        self.a.write("link b pause")
        self.assertEqual(self.a.node("b")["state"], "paused")
        trips = sum(trip["count"] for trip in self.b.ask("link a")["round_trips"])
        until(lambda: sum(trip["count"] for trip in self.b.ask("link a")["round_trips"]) > trips, "heartbeats of a paused node")
        self.a.write("link in resume")
        self.both_up()
        self.assertIn("would be", self.b.ask("link a drop --plan")["link"]["outcome"])
        for node, other in ((self.b, "a"), (self.a, "b")):
            before, connections = node.ask("link " + other)["faults"], self.a.ask("link b")["link"]["connections"]
            node.write(f"link {other} drop")
            until(lambda: node.ask("link " + other)["faults"]["downs"] > before["downs"], "a drop")
            self.both_up()
            after = node.ask("link " + other)["faults"]
            self.assertEqual(after["resets"], before["resets"])
            self.assertGreater(self.a.ask("link b")["link"]["connections"], connections)  # who listens has another one

    def check_restart(self):
        at = self.a.size()
        self.b.kill()
        self.down(self.a, "b")
        until(lambda: '"link_lost"' in self.a.log(at), "word of the loss", self.a.log)
        self.assertEqual(self.a.node("b")["names"], 0)
        self.b.start()
        self.both_up()
        until(lambda: self.a.ask("link b")["faults"]["resets"] == 1, "a reset")
        self.assertEqual(self.a.ask("link b")["session"]["peer_incarnation"], self.b.ask("link a")["session"]["incarnation"])
        self.a.kill()
        self.down(self.b, "a")
        self.a.start()
        self.both_up()

    def check_stopped(self):
        silences = self.b.node("a")["silences"]
        self.a.process.send_signal(signal.SIGSTOP)
        row = self.down(self.b, "a")
        self.assertIn(row["last_fault"], ("TIMEOUT", "CLOSED"), row)
        until(lambda: self.b.node("a")["state"] == "lost", "the loss")
        self.a.process.send_signal(signal.SIGCONT)
        self.both_up()
        self.assertEqual(self.b.ask("link a")["faults"]["resets"], 0)  # the same life
        self.assertGreater(self.b.node("a")["silences"], silences)

    # --- over each link

    def over(self, scheme, uri, encrypts, memory=False, more=""):
        self.two(uri, memory=memory, more=more)
        self.start()
        self.check_shown(scheme, encrypts)
        self.check_deeds()
        self.check_stopped()
        self.check_restart()
        self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))

    def test_over_zmq(self):
        self.over("zmq+tcp://", f"zmq+tcp://127.0.0.1:{free_port()}", True)

    def test_over_shared_memory(self):
        self.over("shm://", f"shm://stoa-links-test-{os.getpid()}", False, memory=True)

    def test_over_ucx(self):
        self.over("ucx+tcp://", f"ucx+tcp://127.0.0.1:{free_port()}", True)

    def test_over_libfabric_on_a_trusted_network(self):
        self.over("ofi+tcp://", f"ofi+tcp://127.0.0.1:{free_port()}", False, more=", trusted: true")

    def test_an_address_that_leaves_the_machine_is_refused_unless_it_is_fenced(self):
        host = own_address()
        if not host:
            self.skipTest("this machine has no address but loopback")
        uri = f"ofi+tcp://{host}:{free_port()}"
        self.two(uri)
        with self.assertRaises(AssertionError):
            self.a.start()
        self.assertIn("say that the network is fenced", self.a.log())
        self.two(uri, more=", fenced: true")
        self.start()
        self.check_shown("ofi+tcp://", True)
        self.assertEqual(self.a.ask("link b")["link"]["network"], "fenced")
        self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))

    def test_a_node_that_was_begun_anew_under_its_name_is_another_life(self):
        self.two(f"zmq+tcp://127.0.0.1:{free_port()}")
        self.start()
        self.b.kill()
        for entry in os.listdir(self.b.data):
            if entry != "keys":
                path = os.path.join(self.b.data, entry)
                (shutil.rmtree if os.path.isdir(path) else os.remove)(path)
        self.b.start()
        self.both_up()
        until(lambda: self.a.ask("link b")["faults"]["resets"] == 1, "a reset")
        self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))

    def test_what_is_encrypted_is_what_both_agreed_on(self):
        self.two(f"ofi+tcp://127.0.0.1:{free_port()}")
        with open(os.path.join(self.a.folder, "stoa.yaml"), encoding="utf-8") as file:
            text = file.read()
        with open(os.path.join(self.a.folder, "stoa.yaml"), "w", encoding="utf-8") as file:
            file.write(text.replace("listen: true", "listen: true, trusted: true"))  # only one of them says so
        self.start()
        for node in (self.a, self.b):
            self.assertTrue(node.ask("links")["links"][0]["encrypts"], node.name)

    # --- who is refused

    def stale(self, uri, memory):
        """A copy of a node's folder, as it was before the clock was ahead: who speaks with the right of an earlier life is refused, and both say so."""
        self.two(uri, memory=memory)
        self.start()
        self.b.stop()
        shutil.copytree(self.b.data, self.b.data + ".old", symlinks=True, ignore=shutil.ignore_patterns("*.sock"))
        with open(os.path.join(self.b.data, "node.incarnation"), "w", encoding="utf-8") as out:
            out.write(f"{time.time_ns() // 10**6 + 3600_000}\n")
        self.b.start()
        self.both_up()
        self.b.stop()
        os.rename(self.b.data, self.b.data + ".new")
        os.rename(self.b.data + ".old", self.b.data)
        at = {node: node.size() for node in (self.a, self.b)}
        refused = self.a.ask("links")["links"][0]["refused"]
        self.b.start()
        for node, other, said in ((self.a, "b", "link_turned_away"), (self.b, "a", "link_refused")):
            until(lambda: node.node(other).get("last_fault") == "STALE", f"{node.name}: the fault", lambda: node.stoa("links").stdout)
            (link,) = node.ask("links")["links"]
            until(lambda: node.ask("links")["links"][0]["refused"] >= refused + 3, "more refusals")
            self.assertEqual(link["refused_why"], "STALE")
            self.assertIn("an older copy of a node's data", link["note"])
            self.assertEqual(node.ask("link " + other)["faults"]["refused_why"], "STALE")
            lines = [json.loads(line) for line in node.log(at[node]).splitlines() if f'"{said}"' in line]
            self.assertEqual([(line["node"], line["error"]) for line in lines], [(other, "STALE")], lines)  # once, however often
            self.assertNotEqual(node.node(other)["state"], "up")
            table = subprocess.run([os.path.join(BIN, "stoa"), "--data", node.data, "links"], capture_output=True, text=True, timeout=WAIT_S,
                                   check=True, stdin=subprocess.DEVNULL).stdout
            self.assertEqual(table.count("STALE"), 2, table)  # the link's and the node's
        self.b.stop()
        os.rename(self.b.data, self.b.data + ".old")
        os.rename(self.b.data + ".new", self.b.data)
        self.b.start()
        self.both_up()

    def test_an_older_data_folder_is_a_later_life_when_it_is_started_later(self):
        """It has been started less often than the one that it was copied from."""
        self.two(f"zmq+tcp://127.0.0.1:{free_port()}")
        self.start()
        self.b.stop()
        shutil.copytree(self.b.data, self.b.data + ".old", symlinks=True, ignore=shutil.ignore_patterns("*.sock"))
        for _ in range(2):
            self.b.start()
            self.both_up()
            self.b.stop()
        shutil.rmtree(self.b.data)
        os.rename(self.b.data + ".old", self.b.data)
        at = self.a.size()
        self.b.start()
        self.both_up()
        self.assertNotIn("STALE", self.a.log(at))
        self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))

    def test_a_node_of_an_earlier_life_is_refused_over_zmq(self):
        self.stale(f"zmq+tcp://127.0.0.1:{free_port()}", memory=False)

    def test_a_node_of_an_earlier_life_is_refused_over_shared_memory(self):
        self.stale(f"shm://stoa-links-test-stale-{os.getpid()}", memory=True)

    # --- half open, one way, cut

    def test_what_a_network_does_is_noticed_and_over_when_it_is_over(self):
        port = free_port()
        proxy = Proxy(port)
        self.two(f"zmq+tcp://127.0.0.1:{port}", "zmq+tcp" + proxy.endpoint[len("zmq+tcp"):])
        self.start()
        resets = []

        def over_again():
            for node, other in ((self.a, "b"), (self.b, "a")):
                until(lambda: node.node(other)["state"] == "up", f"{node.name}: {other} up again", lambda: node.stoa("links").stdout)
            resets.append(self.a.ask("link b")["faults"]["resets"] + self.b.ask("link a")["faults"]["resets"])

        proxy.cut()  # a connection that breaks
        over_again()
        proxy.mute(True)  # one way only: what a says is lost, and neither side may take that for a path
        for node, other in ((self.a, "b"), (self.b, "a")):
            self.down(node, other)
        self.assertGreaterEqual(self.b.node("a")["silences"], 1)
        proxy.mute(False)
        proxy.cut()
        over_again()
        proxy.hold(True)  # nobody comes through
        self.down(self.b, "a")
        proxy.hold(False)
        over_again()
        self.assertEqual(set(resets), {0}, "both live: nothing is reset")

    # --- keys

    def test_who_listens_says_of_which_node_it_has_no_key(self):
        folder = tempfile.mkdtemp(prefix="stoa-links-keyless-")
        self.addCleanup(shutil.rmtree, folder)
        node = Node(folder, "a", '"b, c"', f"zmq+tcp://127.0.0.1:{free_port()}", "listen: true", "in")
        self.addCleanup(node.close)
        node.write("key new server")
        node.start()
        rows = [json.loads(line) for line in node.log().splitlines() if "link_without_key" in line]
        self.assertEqual([(row["link"], row["node"]) for row in rows], [("in", "b"), ("in", "c")])
        self.assertIn("no key is known", node.ask("links")["links"][0]["note"])
        self.assertEqual(node.ask("names links")["names"], ["in", "b", "c"])

    def test_keys_of_nodes(self):
        self.two(f"zmq+tcp://127.0.0.1:{free_port()}")
        self.start()
        self.assertEqual([row["use"] for row in self.a.ask("key show b")["keys"]], ["link"])
        # the listener's own: announced, known to the other beside the old one, taken over
        following = self.a.write("key rotate server --overlap 1h")["key"]["key"]
        self.b.write(f"key allow a z85:{following}")
        self.both_up()
        at = self.a.size()
        self.a.write("key rotate server --overlap 0s")
        until(lambda: '"server_key_rotated"' in self.a.log(at), "the rotation")
        until(lambda: self.b.ask("link a")["faults"]["downs"] >= 1, "the switch")
        self.both_up()
        # the dialler's own: let in beside the old one before it takes over
        following = self.b.write("key rotate server --overlap 1h")["key"]["key"]
        self.a.write(f"key rotate b z85:{following} --overlap 1h")
        self.both_up()
        self.b.write("key rotate server --overlap 0s")
        until(lambda: self.b.ask("link a")["link"]["connections"] >= 1 and self.b.node("a")["state"] == "up", "the other key")
        self.both_up()
        for node, other in ((self.a, "b"), (self.b, "a")):
            faults = node.ask("link " + other)["faults"]
            self.assertEqual((faults["resets"], faults["denied"]), (0, 0))
        # and out
        self.a.write("key revoke b")
        self.down(self.b, "a")
        until(lambda: self.b.ask("links")["links"][0]["refused_why"] == "DENIED", "the reason", lambda: self.b.stoa("links").stdout)
        self.a.kill()
        self.a.start()
        self.assertNotEqual(self.b.node("a")["state"], "up")
        # who dials a node that it has no key of any more
        self.b.write("key revoke a")
        until(lambda: "key allow" in (self.b.ask("links")["links"][0]["note"] or ""), "the note")

    def announce(self, node, peer):
        """As the guide says: announced, and brought to the other beside the present one. The present one."""
        present = node.ask("key show server")["keys"][0]["key"]
        following = node.write("key rotate server --overlap 24h")["key"]["key"]
        peer.write(f"key rotate {node.name} z85:{following} --overlap 48h")
        return present

    def take_over(self, node, peer):
        at, downs = node.size(), peer.ask("link " + node.name)["faults"]["downs"]
        node.write("key rotate server --overlap 0s")  # at once, and not after those 24 hours
        until(lambda: '"server_key_rotated"' in node.log(at), "the rotation")
        until(lambda: peer.ask("link " + node.name)["faults"]["downs"] > downs, "the switch")
        self.both_up()

    def nobody_noticed(self, talk):
        self.assertEqual(talk.failed, [])
        self.assertEqual(len(set(talk.seqs)), len(talk.seqs), "a post was done twice")
        for node, other in ((self.a, "b"), (self.b, "a")):
            faults = node.ask("link " + other)["faults"]
            self.assertEqual((faults["lost"], faults["resets"], faults["silences"]), (0, 0, 0), node.log()[-4000:])
            self.assertNotIn("link_lost", node.log())
            self.assertNotRegex(node.log(), "link_refused|link_turned_away")  # a key that is tried is no fault

    def rotated_under_traffic(self, uri, times):
        """The keys of both, so often, with the default times: no node is lost by it, and no request either."""
        self.two(uri, hasty=False)
        self.start()
        talk = Talk(self.b, "room-a")
        talk.start()
        self.addCleanup(talk.stop)
        talk.some_more()
        for _ in range(times):
            self.announce(self.a, self.b)
            self.take_over(self.a, self.b)
            talk.some_more()
        self.announce(self.b, self.a)
        self.take_over(self.b, self.a)
        talk.some_more()
        self.nobody_noticed(talk)
        return talk

    def test_rotated_under_traffic_over_zmq(self):
        talk = self.rotated_under_traffic(f"zmq+tcp://127.0.0.1:{free_port()}", 3)
        # the node has four keys of a now, and the next one finds no room: old ones end one by one
        self.assertEqual([key["standing"] for key in self.b.ask("key show a")["keys"]], ["allowed"] * 4)
        following = self.a.write("key rotate server --overlap 24h")["key"]["key"]
        full = self.b.stoa(f"key rotate a z85:{following} --overlap 48h", "--write")
        self.assertIn("key revoke a KEY", full.stdout + full.stderr)
        for key in [key["key"] for key in self.b.ask("key show a")["keys"]][:3]:
            self.b.write("key revoke a z85:" + key)
        self.assertEqual(self.b.stoa("key revoke a z85:" + self.a.ask("key show server")["keys"][0]["key"], "--write").returncode, USAGE)
        self.b.write(f"key rotate a z85:{following} --overlap 48h")
        self.take_over(self.a, self.b)
        for _ in range(5):  # as the guide says, as often as you like
            present = self.announce(self.a, self.b)
            self.take_over(self.a, self.b)
            self.b.write("key revoke a z85:" + present)
            talk.some_more()
        self.nobody_noticed(talk)

    def test_rotated_under_traffic_over_a_socket_file(self):
        folder = tempfile.mkdtemp(prefix="stoa-links-")
        self.addCleanup(shutil.rmtree, folder)
        self.rotated_under_traffic("zmq+ipc://" + os.path.join(folder, "socket"), 1)

    def test_rotated_under_traffic_over_ucx(self):
        self.rotated_under_traffic(f"ucx+tcp://127.0.0.1:{free_port()}", 1)

    def test_rotated_under_traffic_over_libfabric(self):
        self.rotated_under_traffic(f"ofi+tcp://127.0.0.1:{free_port()}", 1)

    def test_a_stranger_and_a_false_name_stay_out(self):
        port = free_port()
        self.two(f"zmq+tcp://127.0.0.1:{port}")
        self.a.start()
        with open(os.path.join(self.b.folder, "stoa.yaml"), encoding="utf-8") as file:
            text = file.read()
        with open(os.path.join(self.b.folder, "stoa.yaml"), "w", encoding="utf-8") as file:
            file.write(text.replace("name: b,", "name: c,"))  # the right key, another name
        self.b.start()
        until(lambda: self.a.ask("links")["links"][0]["strangers_why"] == "DENIED", "the refusal", lambda: self.a.stoa("links").stdout)
        self.assertEqual([row for row in self.a.ask("links")["nodes"] if row["state"] == "up"], [])

    # --- settings

    def check(self, text):
        path = os.path.join(self.folder, "check.yaml")
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        done = subprocess.run([os.path.join(BIN, "stoad"), "--check", path], capture_output=True, text=True, timeout=WAIT_S, check=False)
        return done.returncode, done.stderr

    def test_faults_of_the_settings_are_named(self):
        self.folder = tempfile.mkdtemp(prefix="stoa-links-")
        self.addCleanup(shutil.rmtree, self.folder)
        rows = [('- {name: x, nodes: b}', r"check.yaml:\d+: links.*uri"),
                ('- {name: x, uri: "zmq+tcp://127.0.0.1:1", heartbeat: 0s, nodes: b}', r"check.yaml:\d+: links.*heartbeat"),
                ('- {name: x, uri: "zmq+tcp://127.0.0.1:1"}', r"check.yaml:\d+: links\[0\].nodes: whose keys"),
                ('- {name: x, uri: "pigeon://roof", nodes: b}', r"check.yaml:\d+: links\[0\].uri: .*pigeon"),
                ('- {name: x, uri: "zmq+tcp://127.0.0.1:1", nodes: "b, c"}', r"check.yaml:\d+: links\[0\].nodes: a link that dials has one node"),
                ('- {name: x, uri: "zmq+tcp://127.0.0.1:1", nodes: stoa}', r"check.yaml:\d+: links\[0\].nodes: stoa is this node's own name"),
                ('- {name: x, uri: "zmq+tcp://127.0.0.1:1", nodes: server}', r"check.yaml:\d+: links\[0\].nodes: server is the node's own key's name"),
                ('- {name: x, uri: "zmq+tcp://127.0.0.1:1", nodes: demo}', r"check.yaml:\d+: links\[0\].nodes: demo is a client"),
                ('- {name: x, uri: "zmq+tcp://127.0.0.1:1", nodes: "b, c", listen: true, key: /b.pub}', r"check.yaml:\d+: links\[0\].key: a key is of one node"),
                ('- {name: x, uri: "zmq+tcp://127.0.0.1:1", nodes: b, heartbeat: 1s, silence: 3s}', r"check.yaml:\d+: links\[0\].silence: less than four"),
                ('- {name: x, uri: "shm://x"}\n  - {name: x, uri: "shm://y"}', r"check.yaml:5: links\[1\].name: x is there twice"),
                ('- name: x\n    nodes: b\n    uri: "zmq+tcp://127.0.0.1"', r"check.yaml:6: links\[0\].uri: .*no port"),
                ('- {name: x, uri: "zmq+tcp://127.0.0.1:99999", nodes: b, listen: true}', r"uri: .*'99999' is no port from 0 to 65535"),
                ('- {name: x, uri: "zmq+tcp://127.0.0.1:0", nodes: b}', r"uri: .*port 0 can be listened at"),
                ('- {name: x, uri: "zmq+tcp://*:7000", nodes: b}', r"uri: .*can be listened at"),
                ('- {name: x, uri: "zmq+tcp://127.0.0.256:1", nodes: b}', r"uri: .*'127.0.0.256' is no host"),
                ('- {name: x, uri: "zmq+tcp://::1:7000", nodes: b}', r"uri: .*brackets"),
                ('- {name: x, uri: "zmq+tcp://:7000", nodes: b}', r"uri: .*no host"),
                ('- {name: x, uri: "shm://"}', r"links\[0\].uri: .*name is empty"),
                ('- {name: x, uri: "zmq+ipc://", nodes: b}', r"links\[0\].uri: .*no path"),
                ('- {name: x, uri: "zmq+ipc:///no/such/folder/x", nodes: b, listen: true}', r"uri: .*no such folder"),
                ('- {name: x, uri: "shm:///no/such/folder/x", listen: true}', r"uri: .*no such folder"),
                ('- {name: x, uri: "sim://x", nodes: b}', r"uri: sim is within one process"),
                ('- {name: x, uri: "fault+sim://x", nodes: b}', r"uri: sim is within one process"),
                ('- {name: x, uri: "fault+shm://x?loss=20&los=20"}', r"uri: .*no option 'los'"),
                ('- {name: x, uri: "fault+shm://x?loss=2000"}', r"uri: .*loss in .* a number up to 1000"),
                ('- {name: x, uri: "ucx+tcp://10.0.0.1:7410", nodes: b}', r"uri: .*leaves this machine: say that the network is fenced"),
                ('- {name: x, uri: "ofi+tcp://*:7410", nodes: b, listen: true}', r"uri: .*leaves this machine"),
                ('- {name: x, uri: "zmq+tcp://127.0.0.1:1", nodes: "a b", listen: true}', r"nodes: 'a b' cannot be a node's name"),
                ('- {name: x, uri: "zmq+tcp://127.0.0.1:1", nodes: "b,,c", listen: true}', r"nodes: '' cannot be a node's name"),
                ('- {name: x, uri: "zmq+tcp://127.0.0.1:1", nodes: "b, b", listen: true}', r"nodes: b is there twice"),
                ('- {name: x, uri: "zmq+tcp://127.0.0.1:1", nodes: " b"}', r"nodes: ' b' has blanks"),
                ('- {name: x, uri: "zmq+tcp://127.0.0.1:1", nodes: b, key: /no/such.pub}', r"links\[0\].key: /no/such.pub: No such file"),
                ('- {name: x, uri: "shm://s", listen: true}\n  - {name: y, uri: "shm://s"}', r"check.yaml:5: links\[1\].uri: shm://s is the address of link x"),
                ('- {name: x, uri: "zmq+tcp://127.0.0.1:9", listen: true, nodes: b}\n  - {name: y, uri: "ofi+tcp://127.0.0.1:9", listen: true, nodes: c}',
                 r"links\[1\].uri: .* is the address of link x"),
                ('- {name: x, uri: "zmq+tcp://127.0.0.1:7400", listen: true, nodes: b}', r"uri: .*gateway.listen"),
                ('- {name: x, uri: "ofi+tcp://127.0.0.1:7401", listen: true, nodes: b}', r"links\[0\].uri: .*http.port")]
        for row, says in rows:
            code, said = self.check("clients:\n  - {name: demo}\nlinks:\n  " + row + "\n")
            self.assertEqual(code, 2, row)
            self.assertRegex(said, says)
        code, said = self.check("node: {shares: \"room, pigeon\"}\n")
        self.assertEqual(code, 2)
        self.assertIn("node.shares: there is no kind 'pigeon'", said)
        code, said = self.check('links:\n  - {name: x, uri: "shm://x", listen: true}\n')
        self.assertEqual((code, said), (0, ""))
        for uri, says in (("zmq+tcp://127.0.0.1:99998", "'99998' is no port"), ("zmq+tcp://127.0.0.1", "no port"), ("sim://x", "within one process"),
                          ("shm://x", "clients have keys"), ("ucx+tcp://10.0.0.1:1", "leaves this machine")):
            code, said = self.check(f'gateway:\n  listen: "{uri}"\n')
            self.assertEqual(code, 2, uri)
            self.assertRegex(said, r"check.yaml:2: gateway.listen: .*" + says)
        good = ("zmq+tcp://10.0.0.1:7410", "zmq+tcp://[::1]:7410", "zmq+tcp://some-host.example:7410", "zmq+ipc://@name", "zmq+ipc:///not/there/yet",
                "ucx+tcp://127.0.0.1:7410", "fault+zmq+tcp://127.0.0.1:1?seed=7&loss=20")
        for uri in good:  # who is dialled may come later
            self.assertEqual(self.check(f'links:\n  - {{name: x, uri: "{uri}", nodes: b}}\n'), (0, ""), uri)

    def test_a_host_that_nobody_knows_is_said(self):
        folder = tempfile.mkdtemp(prefix="stoa-links-")
        self.addCleanup(shutil.rmtree, folder)
        node = Node(folder, "a", "b", "zmq+tcp://no-such-host.invalid:7410", "listen: false", "to-b")
        self.addCleanup(node.close)
        node.start()
        until(lambda: "link_host_unknown" in node.log(), "a word of it", node.log)
        self.assertRegex(node.log(), r'"link_host_unknown".*"link":"to-b".*"host":"no-such-host.invalid"')


if __name__ == "__main__":
    unittest.main()
