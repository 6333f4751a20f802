"""seeds_test.py - goal: a random test never ends without a word: whatever ends it, its seed and its step are told (runtime/seeds.c).
Method: the sessions' simulator is started as the tests start it, and it, or the child that runs its seeds, is ended amid them by a
signal, one that can be caught or not.

SPDX-License-Identifier: Apache-2.0
"""

import os
import re
import signal
import subprocess
import time
import unittest

PROGRAM = os.path.join(os.environ["STOA_BUILD"], "tests", "test_sim_session_random")
WAIT_S = 120


class Run:
    """The program amid its seeds; child: the process that runs them."""

    def __init__(self, *arguments):
        environment = {name: value for name, value in os.environ.items() if name not in ("STOA_HASHES", "STOA_TEST_SEED")}
        self.process = subprocess.Popen([PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                        text=True, env=environment)
        self.child = None if arguments else self.find_child()

    def find_child(self):
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as file:
                children = file.read().split()
            if children and "--twice" in self.command(children[0]):
                return int(children[0])
            time.sleep(0.01)
        raise AssertionError("it has no child")

    @staticmethod
    def command(pid):
        try:
            with open(f"/proc/{pid}/cmdline", encoding="ascii") as file:
                return file.read().split("\0")
        except OSError:
            return []

    def said(self):
        """All of it: also what its child says after its end."""
        return self.process.communicate(timeout=WAIT_S)[0]


class Seeds(unittest.TestCase):
    def check(self, run, pid, number, expected):
        time.sleep(0.3)  # into some seed; any will do
        os.kill(pid, number)
        said = run.said()
        self.assertRegex(said, expected)
        self.assertNotEqual(run.process.returncode, 0, said)

    def test_who_is_told_to_end_says_where_it_was(self):
        for number in (signal.SIGTERM, signal.SIGALRM):  # others may be ignored where this runs
            run = Run()
            self.check(run, run.process.pid, number, rf"\nended by signal {number:d} in seed \d+ at step \d+\n")
            self.assertEqual(run.process.returncode, -number)

    def test_whose_parent_was_killed_says_where_it_was(self):
        run = Run()
        self.check(run, run.process.pid, signal.SIGKILL, r"\nended by signal 15 in seed \d+ at step \d+\n")

    def test_whose_child_was_killed_says_where_it_was(self):
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGABRT):
            run = Run()
            self.check(run, run.child, number, rf"\nseed \d+ failed at step \d+ \(signal {number:d}\)")
            self.assertEqual(run.process.returncode, 1)

    def test_a_run_by_hand_says_where_it_was(self):
        run = Run("--hash", "1..100000")
        self.check(run, run.process.pid, signal.SIGTERM, r"\nended by signal 15 in seed \d+ at step \d+\n")

    def test_a_long_run_says_how_far_it_is(self):
        said = subprocess.run([PROGRAM], env={**os.environ, "STOA_TEST_SEED": "1..100", "STOA_DEEP": "1"}, capture_output=True, text=True, timeout=5 * WAIT_S,
                              check=True, stdin=subprocess.DEVNULL).stdout
        self.assertEqual(re.findall(r"^(\d+) of 100 seeds done$", said, re.MULTILINE), [str(count) for count in range(10, 100, 10)])
        self.assertIn("seeds 1..100 passed", said)


if __name__ == "__main__":
    unittest.main()
