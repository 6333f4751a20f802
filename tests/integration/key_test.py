"""key_test.py - goal: `stoa key new|show|allow|revoke|rotate` as an operator uses them, with a node and without: who is let in comes in, who
is revoked is cut off by name, a rotation loses no order and needs no restart, and nothing secret is ever shown. Method: a real
stoad, the REPL, and clients with keys of every kind: right, wrong, strange, of a careless mode, rotated under their feet.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import re
import shutil
import stat
import subprocess
import threading
import time
import unittest

from running_node import BIN, Node
from stoa_client import Client, StoaError

WAIT_S = 120
OK, FAILED, USAGE, NOT_FOUND, DENIED = range(5)


def until(look, what="it"):
    end = time.monotonic() + WAIT_S
    while not look():
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0.05)


class Keys(unittest.TestCase):
    def setUp(self):
        self.node = Node()
        self.data = self.node.path("data")
        self.addCleanup(shutil.rmtree, self.node.folder)
        self.addCleanup(self.node.close)
        self.clients = []
        self.addCleanup(lambda: [client.close() for client in self.clients])

    def run_key(self, line, *flags, env=None):
        return subprocess.run([os.path.join(BIN, "stoa"), "-o", "json", "--data", self.data, "--timeout", "60000", *flags, "--eval", "key " + line],
                              capture_output=True, text=True, timeout=WAIT_S, check=False, stdin=subprocess.DEVNULL, env=env)

    def key(self, line, *flags):
        done = self.run_key(line, *flags)
        self.assertEqual(done.returncode, OK, (line, done.stdout, done.stderr, self.node.log() if self.node.process else ""))
        self.assert_no_secret(done.stdout)
        return json.loads(done.stdout)

    def write(self, line):
        return self.key(line, "--write")["key"]

    def refused(self, line, name, text, code=None):
        done = self.run_key(line, "--write")
        error = json.loads(done.stdout)["error"]
        self.assertEqual(error["name"], name, done.stdout)
        self.assertRegex(error["text"], text)
        if code:
            self.assertEqual(done.returncode, code)
        self.assert_no_secret(done.stdout)

    def assert_no_secret(self, text):
        for folder, _, files in os.walk(self.node.folder):
            for file in files:
                if file.endswith(".key"):
                    with open(os.path.join(folder, file), encoding="ascii") as secret:
                        self.assertNotIn(secret.read().strip(), text, file)

    def shown(self, name):
        return {row["key"]: row for row in self.key("show " + name)["keys"]}

    def path(self, name):
        return self.node.key(name)

    def public(self, name):
        with open(self.path(name) + ".pub", encoding="ascii") as file:
            return file.read().strip()

    def pair(self, name):
        """Made on another machine, as it were: in a folder of its own."""
        folder = self.node.path("elsewhere-" + name)
        os.makedirs(os.path.join(folder, "data"))
        subprocess.run([os.path.join(BIN, "stoa"), "--write", "--data", os.path.join(folder, "data"), "key", "new", name], check=True,
                       capture_output=True, timeout=WAIT_S)
        return os.path.join(folder, "data", "keys", name)

    def client(self, key, server=None):
        client = Client(self.node.endpoint, server or self.path("server") + ".pub", key)
        self.clients.append(client)
        return client

    def comes_in(self, key, server=None):
        client = self.client(key, server)
        client.wait_ready(WAIT_S)
        return client

    def stays_out(self, key, server=None):
        with self.assertRaises(StoaError) as caught:
            self.client(key, server).wait_ready(WAIT_S)
        self.assertEqual(caught.exception.name, "DENIED")

    # --- without a node

    def test_keys_of_a_node_that_does_not_run(self):
        made = self.write("new alice")
        self.assertEqual(made["key"], self.public("alice"))
        self.assertEqual(stat.S_IMODE(os.stat(self.path("alice") + ".key").st_mode), 0o600)
        self.assertRegex(made["fingerprint"], r"^([0-9a-f]{4}-){4}[0-9a-f]{4}$")
        self.refused("new alice", "EXISTS", "alice has a pair in .*: key rotate alice")
        self.refused("new al/ice", "INVALID", "letters, digits")
        self.refused("new ../alice", "INVALID", "letters, digits")
        self.refused("revoke carol", "NOT_FOUND", "no key of carol", NOT_FOUND)
        self.refused("show carol", "NOT_FOUND", "no key of carol", NOT_FOUND)
        self.refused("allow bob " + made["key"], "EXISTS", "this key is alice's")
        self.assertIn("no stoad answers here", made["outcome"])
        self.write("new eve")
        self.write("revoke eve")
        again = self.write("new eve")["key"]
        self.assertEqual(self.shown("eve")[again]["standing"], "allowed")
        self.assertNotEqual(self.write("rotate eve")["key"], again)
        self.assertNotIn("client or a link", self.write("new server")["outcome"])
        self.refused("allow bob /nowhere.pub", "NOT_FOUND", "nowhere")
        self.refused("allow bob z85:nonsense", "INVALID", "40 characters")
        self.refused("allow server " + made["key"], "INVALID", "cannot be let in, only rotated")
        self.refused("revoke server", "INVALID", "only rotated")
        self.refused("rotate alice --overlap soon", "INVALID", "soon")
        other = self.pair("bob")
        self.assertEqual(self.write(f"allow bob {other}.pub")["old"], [])
        self.node.start()  # with all that
        self.comes_in(self.path("alice"))
        self.comes_in(other)
        self.assertFalse(os.path.exists(self.path("bob") + ".key"), "bob has a key of his own")
        self.node.kill()
        plan = self.key("revoke alice --plan")["key"]
        self.assertIn("would be: 1 key is revoked", plan["outcome"])
        self.assertEqual(self.shown("alice")[made["key"]]["standing"], "allowed")
        self.write("revoke alice")
        self.node.start()
        self.stays_out(self.path("alice"))
        self.comes_in(other)

    def test_only_who_may_write_changes_anything(self):
        for line in ("new alice", "allow alice " + "x" * 40, "revoke alice", "rotate alice"):
            self.assertEqual(self.run_key(line).returncode, DENIED, line)
        self.assertFalse(os.path.exists(os.path.join(self.data, "keys")))

    def age_days(self, name):
        """Of each of its keys, with its standing, the oldest first."""
        return [(row["age_ns"] // 86400_000_000_000, row["standing"]) for row in sorted(self.shown(name).values(), key=lambda row: -row["age_ns"])]

    def test_a_key_keeps_its_age_through_a_rotation(self):
        for name, standings in (("alice", ("allowed", "allowed")), ("server", ("own", "next"))):
            old = self.write("new " + name)["key"]
            made = int(time.time()) - 10 * 86400
            os.utime(self.path(name) + ".pub", (made, made))
            self.assertEqual(self.age_days(name), [(10, standings[0])])
            new = self.write(f"rotate {name} --overlap 24h")
            self.assertEqual(self.age_days(name), [(10, standings[0]), (0, standings[1])], name)
            rows = self.shown(name)
            self.assertEqual((rows[old]["since_ns"], rows[old]["until_ns"], rows[old]["from_ns"]), (made * 10**9, new["until_ns"], None))
            self.assertEqual((rows[new["key"]]["until_ns"], rows[new["key"]]["from_ns"]), (None, new["until_ns"] if name == "server" else None))
        self.write("rotate server --overlap 0s")
        self.assertEqual(self.age_days("server"), [(0, "own")])
        self.write("revoke alice")
        self.assertEqual(self.age_days("alice"), [(10, "revoked"), (0, "revoked")])
        given = self.pair("bob")
        old = self.write(f"allow bob {given}.pub")["key"]
        changed = self.write(f"rotate bob {self.pair('second')}.pub --overlap 24h")
        self.assertEqual((changed["old"], len(changed["old_fingerprints"])), ([old], 1))
        self.assertEqual(changed["old_fingerprints"], [self.shown("bob")[old]["fingerprint"]])

    # --- with a node

    def test_a_client_is_let_in_and_cut_off_while_the_node_runs(self):
        self.node.start()
        own = self.comes_in(self.path("alice"))
        self.stays_out(self.pair("stranger"))
        second = self.pair("alice")
        self.stays_out(second)
        self.write(f"allow alice {second}.pub")
        also = self.comes_in(second)
        also.place("alice", 1, "BTCUSDT", "buy", "100", "1", deadline=WAIT_S)  # as alice
        bob = self.comes_in(self.path("bob"))
        plan = self.key("revoke alice --plan")["key"]
        self.assertIn("2 keys are revoked", plan["outcome"])
        own.place("alice", 2, "BTCUSDT", "buy", "100", "1", deadline=WAIT_S)  # the plan did nothing
        self.write("revoke alice")
        for client in (own, also):
            with self.assertRaises(StoaError) as caught:
                client.place("alice", 3, "BTCUSDT", "buy", "100", "1", deadline=WAIT_S)
            self.assertEqual(caught.exception.name, "DENIED")
        bob.place("bob", 1, "BTCUSDT", "buy", "100", "1", deadline=WAIT_S)  # nobody else is disturbed
        self.assertEqual({row["standing"] for row in self.shown("alice").values()}, {"revoked"})
        self.refused(f"allow alice {second}.pub", "DENIED", "revoked, and does not come back")
        self.refused("rotate alice", "DENIED", "was revoked")
        self.node.kill()
        self.node.start()
        self.stays_out(self.path("alice"))  # not even after a restart
        self.write("new alice")  # in place of the one that is of no use
        self.comes_in(self.path("alice"))
        third = self.pair("alice-third")
        self.write(f"rotate alice {third}.pub")  # as anybody's
        self.comes_in(third)
        self.comes_in(self.path("alice"))  # until its overlap is over

    def test_who_is_revoked_has_no_fifth_key(self):
        keys = [self.pair(f"bob{number}") for number in range(5)]
        for key in keys[:4]:
            self.write(f"allow bob {key}.pub")
        shutil.copy(keys[4] + ".pub", self.path("bob") + ".pub")  # behind them: the other way to let bob in
        self.node.start()
        self.comes_in(keys[4])
        self.refused(f"allow bob {self.pair('sixth')}.pub", "FULL", "4 keys already")
        self.write(f"revoke bob {keys[3]}.pub")  # the newest, which waited
        self.assertIn("4 keys are revoked", self.write("revoke bob")["outcome"])
        for key in keys:
            self.stays_out(key)

    def test_what_is_changed_beside_a_running_node_counts_too(self):
        self.node.start()
        client = self.comes_in(self.path("alice"))
        keys = os.path.join(self.data, "keys")
        with open(os.path.join(keys, "draft"), "w", encoding="ascii") as out:
            out.write(f"alice {self.public('alice')} revoked 2026-01-01T00:00:00Z -\nalice - revoked 2026-01-01T00:00:00Z -\n")
        os.rename(os.path.join(keys, "draft"), os.path.join(keys, "allowed"))

        def cut_off():
            try:
                client.balances("alice", deadline=1)
            except StoaError as error:
                return error.name == "DENIED"
            return False
        until(cut_off, "the cut")

    def test_a_careless_file_is_refused(self):
        self.node.start()
        keys = os.path.join(self.data, "keys")
        self.assertEqual(self.shown("alice")[self.public("alice")]["mode"], "0600")
        os.chmod(self.path("alice") + ".key", 0o644)
        row = self.shown("alice")[self.public("alice")]
        self.assertEqual((row["mode"], "others may read" in row["fault"]), ("0644", True))
        with self.assertRaises(StoaError) as caught:
            self.client(self.path("alice"))
        self.assertEqual(caught.exception.name, "DENIED")
        os.chmod(self.path("alice") + ".key", 0o600)
        self.write("allow bob " + self.pair("bob") + ".pub")
        os.chmod(os.path.join(keys, "allowed"), 0o666)
        self.refused("show", "DENIED", "may be written by others", DENIED)
        os.chmod(os.path.join(keys, "allowed"), 0o644)
        with open(os.path.join(keys, "allowed"), "a", encoding="ascii") as out:
            out.write("nonsense\n")
        self.refused("show", "MALFORMED", r"allowed:\d+: not NAME KEY")
        self.comes_in(self.path("bob"))  # and the node goes on with what it has
        until(lambda: "keys_refused" in self.node.log(), "a word of it in the log")

    def test_a_rotated_client_loses_no_order(self):
        self.node.start()
        old, client = self.public("alice"), self.comes_in(self.path("alice"))
        placed, stop, failed = [], threading.Event(), []

        def trade():
            try:
                while not stop.is_set():
                    number = len(placed) + 1
                    placed.append(client.place("alice", number, "BTCUSDT", "buy", "100", "0.01", deadline=WAIT_S)["order_id"])
            except Exception as error:  # seen below
                failed.append(error)
        thread = threading.Thread(target=trade)
        thread.start()
        try:
            until(lambda: len(placed) > 20 or failed)
            change = self.write("rotate alice --overlap 1h")
            self.assertEqual((change["key"], change["old"]), (self.public("alice"), [old]))
            mark = len(placed)
            until(lambda: len(placed) > mark + 20 or failed)  # by the old key
            self.comes_in(self.path("alice"))  # by the new one, beside it
            self.assertEqual(self.shown("alice")[old]["standing"], "allowed")
            self.assertTrue(self.shown("alice")[old]["until_ns"])
            self.refused("rotate carol", "NOT_FOUND", "secret half")
            sooner = [self.key("rotate alice --plan --overlap " + time)["key"]["outcome"] for time in ("1h", "2h", "1m")]
            self.assertEqual([" as was said before" in said for said in sooner], [False, False, True], sooner)
            self.write("rotate alice --overlap 0s")  # twice in one run; all before end now, and who runs reads the file again
            mark = len(placed)
            until(lambda: len(placed) > mark + 20 or failed)
        finally:
            stop.set()
            thread.join(WAIT_S)
        self.assertEqual(failed, [])
        self.assertEqual(len(set(placed)), len(placed))
        self.assertEqual(len(self.orders(client)), len(placed), "each order once")
        self.assertEqual(self.shown("alice")[old]["standing"], "revoked")

    def orders(self, client):
        """The numbers that the orders of alice have, all pages."""
        found, after = [], 0
        while True:
            page = client.orders("alice", after_order_id=after, deadline=WAIT_S)["orders"]
            if not page:
                return found
            found += [order["order_id"] for order in page]
            after = found[-1]

    def test_an_overlap_ends_by_itself(self):
        self.node.start()
        elsewhere = self.pair("alice")
        by_old = self.comes_in(self.path("alice"))
        change = self.write(f"rotate alice {elsewhere}.pub --overlap 2s")
        self.assertTrue(change["until_ns"])
        self.comes_in(elsewhere)

        def ended():
            try:
                by_old.balances("alice", deadline=1)
            except StoaError as error:
                return error.name == "DENIED"
            return False
        until(ended, "the end of the overlap")
        self.comes_in(elsewhere)
        self.assertEqual(self.shown("alice")[self.public("alice")]["standing"], "revoked")

    def test_the_node_s_own_key_is_rotated_and_no_order_is_lost(self):
        self.node.start()
        far = self.node.path("far")  # a client elsewhere: it has copies of what it was given
        os.makedirs(far)
        shutil.copy(self.path("server") + ".pub", os.path.join(far, "server.pub"))
        near, remote = self.comes_in(self.path("alice")), self.comes_in(self.path("bob"), os.path.join(far, "server.pub"))
        old = self.public("server")
        plan = self.key("rotate server --plan")["key"]
        self.assertIn("would be", plan["outcome"])
        self.assertEqual(list(self.shown("server")), [old])
        change = self.write("rotate server --overlap 1h")
        self.assertEqual(change["key"], self.public("server.next"))
        self.assertEqual({row["standing"] for row in self.shown("server").values()}, {"own", "next"})
        self.assertEqual(stat.S_IMODE(os.stat(self.path("server.next") + ".key").st_mode), 0o600)
        self.comes_in(self.path("alice"))  # nothing has changed yet
        shutil.copy(self.path("server.next") + ".pub", os.path.join(far, "server.next.pub"))
        self.node.kill()  # what was announced outlives the node
        self.node.start()
        near.place("alice", 1, "BTCUSDT", "buy", "100", "1", deadline=WAIT_S)
        remote.place("bob", 1, "BTCUSDT", "buy", "100", "1", deadline=WAIT_S)
        again = self.write("rotate server --overlap 2s")  # another time for it
        self.assertEqual(again["key"], change["key"])
        number, end = 1, time.monotonic() + WAIT_S
        while "gateway_rekeyed" not in self.node.log():
            self.assertLess(time.monotonic(), end, "the new key is never taken over")
            for _ in range(20):
                number += 1
                near.place("alice", number, "BTCUSDT", "buy", "100", "0.01", deadline=WAIT_S)
                remote.place("bob", number, "BTCUSDT", "buy", "100", "0.01", deadline=WAIT_S)
        self.assertEqual(self.public("server"), change["key"])
        for client, name in ((near, "alice"), (remote, "bob")):
            client.place(name, number + 1, "BTCUSDT", "buy", "100", "0.01", deadline=WAIT_S)
            self.assertEqual(client.sessions >= 2, True)
        self.assertEqual(len(self.orders(near)), number + 1)
        shutil.copy(self.path("server") + ".pub", os.path.join(far, "new.pub"))
        self.comes_in(self.path("bob"), os.path.join(far, "new.pub"))
        with open(os.path.join(far, "old.pub"), "w", encoding="ascii") as out:
            out.write(old + "\n")
        self.stays_out(self.path("bob"), os.path.join(far, "old.pub"))
        self.assertEqual([row["standing"] for row in self.shown("server").values()], ["own"])

    def test_a_rotation_that_a_crash_cut_in_two_is_finished_or_taken_back(self):
        self.node.start()
        self.node.kill()
        old = self.public("alice")
        shutil.copy(self.path("alice") + ".key", self.node.path("copy.key"))
        self.write("rotate alice --overlap 1h")
        new = self.public("alice")
        # as it was before the renames: the pair as .next, the old one in place
        for ending in (".key", ".pub"):
            os.rename(self.path("alice") + ending, self.path("alice.next") + ending)
        shutil.copy(self.node.path("copy.key"), self.path("alice") + ".key")
        with open(self.path("alice") + ".pub", "w", encoding="ascii") as out:
            out.write(old + "\n")
        self.node.start()  # finishes it
        self.assertEqual(self.public("alice"), new)
        self.comes_in(self.path("alice"))
        self.node.kill()
        stray = self.pair("alice")  # a fresh pair whose list was never written
        for ending in (".key", ".pub"):
            shutil.copy(stray + ending, self.path("alice.next") + ending)
        self.node.start()
        self.assertEqual(self.public("alice"), new)
        self.assertFalse([file for file in os.listdir(os.path.join(self.data, "keys")) if ".next" in file])

    def test_a_secret_half_is_never_taken_for_a_public_one(self):
        theirs = self.pair("bob")
        self.write("new alice")
        self.refused(f"allow bob {theirs}.key", "INVALID", "bob.key is a secret half.*bob.pub")
        shutil.copy(self.path("alice") + ".key", self.node.path("harmless"))  # under another name
        for name in ("alice", "bob"):
            self.refused(f"allow {name} {self.node.path('harmless')}", "INVALID", "secret half of a key of alice")
        self.write(f"allow bob {theirs}.pub")
        shutil.copy(theirs + ".key", self.node.path("theirs"))
        self.refused(f"allow bob {self.node.path('theirs')}", "INVALID", "secret half of a key of bob")
        self.refused(f"rotate bob {self.node.path('theirs')}", "INVALID", "secret half of a key of bob")
        for path in (theirs + ".key", self.path("alice") + ".key"):
            with open(path, encoding="ascii") as secret, open(os.path.join(self.data, "keys", "allowed"), encoding="ascii") as listed:
                self.assertNotIn(secret.read().strip(), listed.read())

    def corrected(self, running):
        theirs = self.pair("bob")
        with open(theirs + ".pub", encoding="ascii") as file:
            key = file.read().strip()
        self.write(f"allow zed {theirs}.pub")
        self.write("revoke zed")  # whoever let it in by mistake does this first, and it is no way out
        self.refused(f"allow bob {theirs}.pub", "EXISTS", "this key is zed's; if that was a mistake: key allow bob KEY --from zed")
        self.refused(f"allow bob {theirs}.pub --from nobody", "NOT_FOUND", "never let in as nobody")
        change = self.write(f"allow bob {theirs}.pub --from zed")
        self.assertRegex(change["outcome"], "let in as bob; .*no more" + (", which is a name that the settings do not have" if running else "; whether the settings"))
        self.assertEqual(self.shown("bob")[key]["standing"], "allowed")
        self.assertEqual([row["name"] for row in self.key("show")["keys"] if row["key"] == key], ["bob"])
        return theirs

    def test_a_key_let_in_under_a_wrong_name_can_be_corrected(self):
        self.corrected(False)

    def test_a_key_let_in_under_a_wrong_name_can_be_corrected_while_the_node_runs(self):
        self.node.start()
        self.comes_in(self.corrected(True))
        elsewhere = self.pair("alice")
        self.write(f"rotate alice {elsewhere}.pub --overlap 0s")
        self.write("revoke alice")  # a client's of the settings: for ever
        self.refused(f"allow bob {elsewhere}.pub --from alice", "EXISTS", "alice is a client of the settings")
        self.refused(f"allow bob {elsewhere}.pub", "EXISTS", "this key is alice's, a client of the settings, and stays its own: make another one for bob")
        self.refused(f"allow alice {elsewhere}.pub", "DENIED", "revoked")
        self.refused(f"allow bob {self.path('server')}.pub --from zed", "NOT_FOUND", "never let in as zed")

    def test_words_of_a_shell(self):
        for words, says in ((["--write", "key", "allow", "bob", "hello"], r"^stoa: NOT_FOUND: 'hello' is neither a public key's 40 characters nor a file"),
                            (["key show nobody"], r"^stoa: NOT_FOUND: "),  # one quoted word is a line
                            (["key", "shwo"], r"^stoa: INVALID: .*key show")):
            done = subprocess.run([os.path.join(BIN, "stoa"), "--data", self.data, *words], capture_output=True, text=True, timeout=WAIT_S,
                                  check=False, stdin=subprocess.DEVNULL)
            self.assertRegex(done.stderr, says, words)
            self.assertNotEqual(done.returncode, OK)

    def test_on_a_terminal_it_reads_well(self):
        self.write("new alice")
        done = subprocess.run([os.path.join(BIN, "stoa"), "--data", self.data, "key", "show"], capture_output=True, text=True, timeout=WAIT_S,
                              check=True, stdin=subprocess.DEVNULL)
        self.assertRegex(done.stdout, r"name\s+use\s+standing")
        self.assertRegex(done.stdout, re.compile(r"^alice .*allowed .*0600", re.M))


if __name__ == "__main__":
    unittest.main()
