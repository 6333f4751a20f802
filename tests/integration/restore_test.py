"""restore_test.py - goal: a node comes back as it was before a moment, in a world of its own, and a restore removes nothing that is not
its own. Method: a real stoad, stoad's own commands and the REPL's, hashes and epochs compared.

SPDX-License-Identifier: Apache-2.0
"""
import fcntl
import os
import subprocess
import time

from archive_node import Archive, main, run
from running_node import BIN
from stoa_client import StoaError


class Restore(Archive):
    @staticmethod
    def write(path, text):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)

    def test_a_restore_removes_nothing_that_is_not_its_own(self):
        node = self.start()
        self.order(self.client(node, "alice"), "alice")
        self.ask(node, "backup", self.backup)
        into = os.path.join(self.folder, "mine")
        self.write(into + ".unfinished/thesis", "precious")
        for plan in (["--plan"], []):
            self.assertIn("EXISTS", run("stoad", "--restore", self.backup, "--into", into, *plan, code=1).stderr)
        self.assertIn("EXISTS", self.ask(node, "restore", self.backup, into, code=1))
        self.assertEqual(os.listdir(into + ".unfinished"), ["thesis"])
        self.assertFalse(os.path.exists(into))

        # what a restore left that was killed: said, and replaced; one that still works: left alone
        left = os.path.join(self.folder, "left")
        self.write(left + ".unfinished/restore.unfinished", "")
        self.write(left + ".unfinished/trade/db/half", "of one")
        self.assertIn("would remove", run("stoad", "--restore", self.backup, "--into", left, "--plan").stdout)
        self.assertTrue(os.path.exists(left + ".unfinished/trade/db/half"))
        held = os.open(left + ".unfinished", os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
        self.assertIn("DENIED", run("stoad", "--restore", self.backup, "--into", left, code=1).stderr)
        self.assertTrue(os.path.exists(left + ".unfinished/trade/db/half"))
        os.close(held)
        run("stoad", "--restore", self.backup, "--into", left)
        self.assertFalse(os.path.exists(left + ".unfinished"))
        self.assertNotIn("restore.unfinished", os.listdir(left))

        # a slash behind the folder's name is none within it
        slash = os.path.join(self.folder, "slash")
        run("stoad", "--restore", self.backup, "--into", slash + "//", "--plan")
        run("stoad", "--restore", self.backup, "--into", slash + "//")
        self.assertTrue(os.path.exists(os.path.join(slash, "trade", "commit.mark")))
        for odd in (".", "..", os.path.join(self.folder, "."), "/"):
            for plan in (["--plan"], []):
                self.assertIn("INVALID", run("stoad", "--restore", self.backup, "--into", odd, *plan, code=1).stderr)

    def test_to_just_before_a_bad_command(self):
        node = self.start()
        alice, bob = self.client(node, "alice"), self.client(node, "bob")
        for _ in range(40):
            self.order(alice, "alice")
            good = self.order(bob, "bob", side="sell")
        before = good.stamp.position
        hash_before = self.hash(node, "trade", before)
        funds = bob.balances("bob")
        time.sleep(0.01)
        moment = time.time()
        time.sleep(0.01)
        bad = self.order(alice, "alice", price="99999", qty="90")  # what should never have been sent
        for _ in range(10):
            self.order(bob, "bob", side="sell", price="99999", qty="1")
        self.assertEqual(node.stop(), 0)
        node.start()  # a later life of the original, behind the cut
        self.order(self.client(node, "alice"), "alice")
        self.ask(node, "backup", self.backup)

        into = os.path.join(self.folder, "by-position")
        plan = run("stoad", "--restore", self.backup, "--into", into, "--until", f"trade:{before}", "--plan").stdout
        self.assertIn(f"trade: would restore up to {before} of", plan)
        run("stoad", "--restore", self.backup, "--into", into, "--until", f"trade:{before}")
        then = self.start(into)
        self.assertEqual(self.hash(then, "trade", before), hash_before)
        self.assertEqual(self.client(then, "bob").balances("bob"), funds)
        worlds = [self.world(node), self.world(then)]
        with self.assertRaises(StoaError) as raised:
            self.client(then, "alice").query("alice", order_id=bad["order_id"])
        self.assertEqual(raised.exception.name, "NOT_FOUND")

        into = os.path.join(self.folder, "by-time")
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f"{moment % 1:.6f}"[1:] + "Z"
        now = self.ask(node, "state", "trade", write=False)
        then, same = (self.ask(node, "state", "trade", "--at", when, write=False) for when in (text, str(before)))
        self.assertEqual(then, same)  # a moment within the log is the last position before it
        self.assertNotEqual(then, now)
        run("stoad", "--restore", self.backup, "--into", into, "--until", text)
        then = self.start(into)
        self.assertEqual(self.hash(then, "trade", before), hash_before)
        self.assertEqual(self.client(then, "bob").balances("bob"), funds)
        # from here on they go on apart: no name that is made of an epoch or of a session's number is ever in two of them
        worlds = sorted(worlds + [self.world(then)])
        self.assertGreater(worlds[1][0], worlds[0][0] + 4096, worlds)
        self.assertGreater(worlds[2][0], worlds[1][0] + 16, worlds)
        for epoch, session in worlds:
            self.assertEqual(session >> 20, epoch, worlds)
        self.assertIn("RANGE", run("stoad", "--restore", self.backup, "--into", into + "2", "--until", "2999-01-01T00:00:00Z",
                                   code=1).stderr)
        self.assertIn("it is before the first event", run("stoad", "--restore", self.backup, "--into", into + "2", "--until", "2001-01-01T00:00:00Z",
                                                    code=1).stderr)
        self.assertIn("INVALID", run("stoad", "--restore", self.backup, "--into", into + "2", "--until", "soon", code=1).stderr)
        self.assertFalse(os.path.exists(into + "2"))

    def test_restores_of_one_second_lie_apart(self):
        node = self.start()
        self.order(self.client(node, "alice"), "alice")
        self.ask(node, "backup", self.backup)
        intos = [os.path.join(self.folder, f"into{i}") for i in range(4)]
        processes = [subprocess.Popen([os.path.join(BIN, "stoad"), "--restore", self.backup, "--into", into], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL) for into in intos]
        self.assertEqual([process.wait(120) for process in processes], [0] * len(intos))
        epochs = sorted(self.world(self.start(into))[0] for into in intos)
        for before, after in zip(epochs, epochs[1:]):
            self.assertGreater(after - before, 2000, epochs)


if __name__ == "__main__":
    main()
