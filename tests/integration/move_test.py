"""move_test.py - goal: an operator moves an actor of a running node to another core, by a session that may write, and is told why where
that cannot be. Method: a real stoad with three cores and a simulated market, whose mirror goes on while it is moved about.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import shutil
import tempfile
import unittest

import admin_test
from admin_test import DENIED, FAILED, NOT_FOUND, OK, USAGE, stoa

MIRROR, EXCHANGE = "market_book/sim.BTCUSDT", "market_exchange/BTCUSDT"


class Moving(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="stoa-move-")
        cls.node = admin_test.Node(cls.folder, "node: {cores: 3}\n")

    @classmethod
    def tearDownClass(cls):
        code = cls.node.stop()
        shutil.rmtree(cls.folder)
        assert code == 0, code

    def move(self, *arguments):
        return stoa("--write", "move", *arguments, data=self.node.data)

    def ask(self, *arguments):
        done = stoa("-o", "json", *arguments, data=self.node.data)
        self.assertEqual(done.returncode, OK, done)
        return json.loads(done.stdout)

    def actor(self, name):
        return self.ask("actor", name)["actor"]

    def refused(self, code, text, *arguments):
        done = self.move(*arguments)
        self.assertEqual(done.returncode, code, done)
        self.assertIn(text, done.stderr)
        self.assertEqual(done.stdout, "")

    def test_the_mirror_goes_on_wherever_it_is(self):
        for core in (1, 2, 0, 2):
            done = self.move(MIRROR, str(core))
            while done.returncode != OK:  # it had something to do just then
                self.assertEqual(done.returncode, FAILED, done)
                self.assertIn(f"{MIRROR} cannot be moved: ", done.stderr)
                done = self.move(MIRROR, str(core))
            self.assertRegex(done.stdout, rf"core +{core}")
            before = self.actor(MIRROR)
            self.assertEqual(before["core"], core)
            while self.actor(MIRROR)["messages"] <= before["messages"] + 50:
                pass
            after = self.ask("actor", MIRROR)
            self.assertEqual((after["actor"]["core"], after["actor"]["restarts"]), (core, 0))
            self.assertEqual(after["state"]["status"], "live")
        records = json.loads(stoa("flight", os.path.join(self.node.data, "flight"), "-o", "json").stdout)["records"]
        moved = [(record["actor"], record["core"]) for record in records if record["what"] == "moved"]
        self.assertEqual(moved[-3:], [(MIRROR, 2), (MIRROR, 0), (MIRROR, 2)])

    def test_who_may_only_read_moves_nobody(self):
        done = stoa("move", MIRROR, "1", data=self.node.data)
        self.assertEqual(done.returncode, DENIED)
        self.assertIn("stoa --write", done.stderr)

    def test_why_not_is_said(self):
        self.refused(FAILED, "trade_account/alice cannot be moved: it is event-sourced", "trade_account/alice", "1")
        self.refused(FAILED, f"{EXCHANGE} cannot be moved: it has subscriptions or is in a group", EXCHANGE, "1")
        self.refused(NOT_FOUND, f"did you mean '{MIRROR}'?", MIRROR[:-1], "1")
        self.refused(USAGE, "no core 3: there are 3", MIRROR, "3")
        self.refused(USAGE, "core is a number from 0 to 15, not '16'", MIRROR, "16")
        self.refused(USAGE, "move needs <core>: move <actor> <core>", MIRROR)

    def test_a_program_gets_it_as_json(self):
        core = self.actor(EXCHANGE)["core"]
        done = stoa("--write", "-o", "json", "move", EXCHANGE, str(core), data=self.node.data)  # it is there: nothing to do
        self.assertEqual(json.loads(done.stdout), {"move": {"name": EXCHANGE, "core": core}})
        done = stoa("--write", "-o", "json", "move", EXCHANGE, str((core + 1) % 3), data=self.node.data)
        error = json.loads(done.stdout)["error"]
        self.assertEqual((error["name"], error["exit"]), ("UNSUPPORTED", done.returncode))


if __name__ == "__main__":
    unittest.main(verbosity=2)
