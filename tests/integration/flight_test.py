"""flight_test.py - goal: what happened in a node is on record whatever became of it, and a turn that does not end is named
by everything that tells of one. Method: a real stoad, killed and broken by signals, and a node with an actor that runs in
circles; then what `stoa flight`, `stalls`, the metrics and the log say.

SPDX-License-Identifier: Apache-2.0
"""
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import urllib.request

BIN, BUILD = os.environ["STOA_BIN"], os.environ["STOA_BUILD"]
STOA, STOAD, STUCK = os.path.join(BIN, "stoa"), os.path.join(BIN, "stoad"), os.path.join(BUILD, "tests", "stuck_node")
OK, FAILED, USAGE, NOT_FOUND, DENIED = range(5)
# The sanitizers' own handlers would end the process in their way.
KEEP = ":".join(f"handle_{name}=0" for name in ("segv", "sigbus", "sigfpe", "sigill", "abort"))
ENV = {**os.environ, "LC_ALL": "C.UTF-8", "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":" + KEEP}


def stoa(*arguments):
    return subprocess.run([STOA, *arguments], capture_output=True, text=True, timeout=120, check=False, env=ENV,
                          stdin=subprocess.DEVNULL)


def functions(told):
    """Of a record's or stall's frames; compilers make kin of a function, f.isra.0."""
    return [frame["in"].partition(".")[0] for frame in told["frames"]]


def records(path, *arguments):
    done = stoa("flight", path, "-o", "json", *arguments)
    assert done.returncode == OK, done
    return json.loads(done.stdout)


class Flight(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="stoa-flight-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.data, self.log = os.path.join(self.folder, "data"), os.path.join(self.folder, "log")
        self.file = os.path.join(self.data, "flight")
        self.process = None
        self.addCleanup(self.kill)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def lines(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return [json.loads(line) for line in log.read().splitlines() if line.startswith('{"time"')]

    def wait_for(self, found, what):
        for _ in range(3000):
            answer = found()
            if answer:
                return answer
            time.sleep(0.02)
        with open(self.log, encoding="utf-8", errors="replace") as log:
            raise AssertionError(f"no {what}:\n{log.read()[-4000:]}")

    def event(self, name):
        return self.wait_for(lambda: [line for line in self.lines() if line["event"] == name], name)[-1]

    def start(self, *arguments):
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [STOAD, "--data", self.data, "--http.port=-1", "--gateway.listen=zmq+ipc://" + self.folder + "/gw",
                 *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=ENV)
        self.event("ready")

    def start_stuck(self, *settings):
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [STUCK, "node.data=" + self.data, "gateway.listen=zmq+ipc://" + self.folder + "/gw", "http.port=0",
                 "market.source=none", *settings], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=ENV)
        self.assertEqual(self.process.stdout.readline(), b"ready\n")
        self.addCleanup(self.process.stdout.close)
        self.addCleanup(self.process.stdin.close)

    def tell(self, word):
        self.process.stdin.write(word.encode() + b"\n")
        self.process.stdin.flush()

    def signal_core(self, number):
        """To the thread of core 0 itself, as a fault on it would be."""
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{task}/comm", encoding="ascii") as name:
                if name.read() == "stoa-core-0\n":
                    libc = ctypes.CDLL(None, use_errno=True)
                    self.assertEqual(libc.syscall(234, self.process.pid, int(task), int(number)), 0)  # tgkill
                    return
        self.fail("no core's thread")

    # --- how a process ended

    def test_a_killed_node_left_its_records(self):
        self.start()
        self.wait_for(lambda: [r for r in records(self.file)["records"] if r["what"] == "turn"], "turn while it runs")
        self.process.kill()
        self.assertEqual(self.process.wait(60), -signal.SIGKILL)
        document = records(self.file)
        flight, found = document["flight"], document["records"]
        self.assertEqual(flight["pid"], self.process.pid)
        self.assertEqual(flight["cores"], 1)
        self.assertLessEqual(flight["torn"], 2)  # what each writer was at
        whats = {record["what"] for record in found}
        self.assertLessEqual({"boot", "spawn", "sleep", "wake", "turn", "sealed", "committed"}, whats)
        self.assertNotIn("exit", whats)
        spawned = {record["actor"] for record in found if record["what"] == "spawn"}
        self.assertLessEqual({"trade_book/BTCUSDT", "trade_account/alice", "room/lobby"}, spawned)
        turn = [record for record in found if record["what"] == "turn"][-1]
        self.assertRegex(turn["actor"], r"^[a-z_]+/\S+$")
        self.assertRegex(turn["message"], r"^[a-z_]+\.[a-z_]+$")
        self.assertGreater(turn["with"]["took"], 0)
        self.assertEqual([r["at_ns"] for r in found], sorted(r["at_ns"] for r in found))
        # the next run keeps the file, and closes its own in order
        self.start()
        self.process.terminate()
        self.assertEqual(self.process.wait(60), 0)
        self.assertEqual(records(self.file + ".1")["flight"], {**flight, "file": self.file + ".1"})
        ended = [r for r in records(self.file)["records"] if r["what"] == "exit"]
        self.assertEqual([r["with"]["reason"] for r in ended], ["closed"])

    def test_a_signal_is_recorded_and_ends_the_process(self):
        for number in (signal.SIGSEGV, signal.SIGABRT):
            self.start()
            self.signal_core(number)
            self.assertEqual(self.process.wait(60), -number)
            told = [r for r in records(self.file)["records"] if r["what"] == "signal"]
            self.assertEqual(len(told), 1)
            self.assertEqual(told[0]["with"]["signal"], number.name)
            self.assertEqual(told[0]["core"], 0)
            self.assertIn("core_main", functions(told[0]))
            line = self.event("fatal_signal")
            self.assertEqual((line["signal"], line["core"]), (number.name, 0))
            self.assertIn("core_main", line["backtrace"])

    # --- a turn that does not end

    def test_a_stall_is_seen_everywhere(self):
        self.start_stuck("watch.limit=0s")
        self.assertEqual(json.loads(stoa("--data", self.data, "-o", "json", "stalls").stdout), {"stalls": []})
        self.tell("spin")
        find = lambda state: [s for s in json.loads(stoa("--data", self.data, "-o", "json", "stalls").stdout)["stalls"]
                              if s["state"] == state and s["actor"] == "spinner/dervish" and s["frames"]]
        stall = self.wait_for(lambda: find("runs"), "stall")[0]
        self.assertEqual((stall["core"], stall["message"]), (0, "spinner.spin"))
        self.assertGreaterEqual(stall["ns"], 50_000_000)
        self.assertIn("run_in_circles", functions(stall))
        table = stoa("--data", self.data, "stalls").stdout
        self.assertRegex(table, r"spinner/dervish +spinner\.spin")
        self.assertRegex(table, r"run_in_circles[.a-z0-9]*\+")
        line = self.wait_for(lambda: [line for line in self.lines()
                                      if line["event"] == "stall" and "+" in line["backtrace"]], "line of log")[0]
        self.assertIn("run_in_circles", line["backtrace"])
        longer = self.wait_for(lambda: [s for s in find("runs") if s["ns"] > stall["ns"]], "longer stall")[0]
        self.assertEqual(longer["number"], stall["number"])
        self.tell("go")
        over = self.wait_for(lambda: find("over"), "end of the stall")[0]
        self.assertGreaterEqual(over["ns"], longer["ns"])
        port = self.event("http_listens")["port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as page:
            counted = re.search(r'^stoa_stalls_total\{core="0"\} (\d+)$', page.read().decode(), re.M)
        self.assertGreaterEqual(int(counted.group(1)), 1)
        self.tell("quit")
        self.assertEqual(self.process.wait(60), 0)
        found = [r for r in records(self.file)["records"] if r["actor"] == "spinner/dervish"]
        told = [r["what"] for r in found if r["what"] in ("spawn", "stall", "stalled")]
        self.assertEqual((told[:2], told[-1]), (["spawn", "stall"], "stalled"))

    def test_a_handler_stuck_for_ten_seconds_ends_the_process(self):
        self.start_stuck()
        self.tell("spin")
        self.assertEqual(self.process.wait(120), -signal.SIGABRT)
        told = [r for r in records(self.file)["records"] if r["what"] == "overrun"]
        self.assertEqual([(r["actor"], r["message"], r["core"]) for r in told],
                         [("spinner/dervish", "spinner.spin", 0)])
        self.assertGreaterEqual(told[0]["with"]["took"], 10_000_000_000)
        self.assertIn("run_in_circles", functions(told[0]))
        self.assertGreaterEqual(self.event("overrun")["took_ms"], 10_000)

    def test_a_process_that_was_stopped_is_not_taken_for_stuck(self):
        self.start_stuck("watch.limit=5s")
        self.tell("spin")
        self.event("stall")
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(6)  # its clock goes on meanwhile
        self.process.send_signal(signal.SIGCONT)
        stalls = json.loads(stoa("--data", self.data, "-o", "json", "stalls").stdout)["stalls"]
        self.assertEqual([(s["actor"], s["state"]) for s in stalls], [("spinner/dervish", "runs")])
        self.assertLess(stalls[0]["ns"], 5_000_000_000)
        self.tell("go")
        self.tell("quit")
        self.assertEqual(self.process.wait(60), 0)

    def test_a_node_runs_without_a_recorder_that_cannot_be_made(self):
        self.start("--flight.file=" + self.folder + "/no/such/folder/flight")
        self.assertIn("no/such/folder/flight", self.event("no_flight_recorder")["trail"])
        self.process.terminate()
        self.assertEqual(self.process.wait(60), 0)

    # --- the reader

    def test_bad_files_have_names_and_exit_codes(self):
        self.start()
        self.process.terminate()
        self.assertEqual(self.process.wait(60), 0)
        with open(self.file, "rb") as file:
            whole = file.read()
        other = os.path.join(self.folder, "other")

        def refused(content, exit_code, words):
            with open(other, "wb") as out:
                out.write(content)
            done = stoa("flight", other)
            self.assertEqual((done.returncode, done.stdout), (exit_code, ""), words)
            self.assertIn(words, done.stderr)
            error = json.loads(stoa("flight", other, "-o", "json").stdout)["error"]
            self.assertEqual(error["exit"], exit_code)
            return error["name"]

        self.assertEqual(refused(b"", FAILED, "not the file of a flight recorder"), "MALFORMED")
        self.assertEqual(refused(b"#!/bin/sh\n" * 1000, FAILED, "not the file of a flight recorder"), "MALFORMED")
        self.assertEqual(refused(whole[:-1], FAILED, "cut off"), "CORRUPT")
        self.assertEqual(refused(whole[:100], FAILED, "cut off"), "CORRUPT")
        self.assertEqual(refused(whole[:8] + b"\x02" + whole[9:], FAILED, "version 2"), "VERSION")
        self.assertEqual(refused(whole[:200] + b"\xff" + whole[201:], FAILED, "fails its check"), "CORRUPT")
        self.assertEqual(stoa("flight", self.folder).returncode, FAILED)
        self.assertEqual(stoa("flight", os.path.join(self.folder, "none")).returncode, NOT_FOUND)
        for wrong in ([], [self.file, other], [self.file, "--core"], [self.file, "--core", "x"],
                      [self.file, "-o", "xml"], [self.file, "--last", "-1"], [self.file, "--nonsense"]):
            done = stoa("flight", *wrong)
            self.assertEqual((done.returncode, done.stdout), (USAGE, ""), wrong)
            self.assertIn("stoa flight FILE", done.stderr)

    def test_which_records_are_shown(self):
        self.start("--node.cores=2")
        self.process.terminate()
        self.assertEqual(self.process.wait(60), 0)
        everything = records(self.file)["records"]
        first = records(self.file, "--core", "0")["records"]
        self.assertEqual({r["core"] for r in first}, {0})
        self.assertEqual(len(first), sum(r["core"] == 0 for r in everything))
        self.assertEqual(records(self.file, "--last", "3")["records"], everything[-3:])
        table = stoa("flight", self.file, "--last", "3").stdout.splitlines()
        self.assertRegex(table[-1], r"^\d\d:\d\d:\d\d\.\d{6} +- +exit +- +- +reason closed")
        self.assertEqual(stoa("-o", "json", "flight", self.file).stdout, stoa("flight", "-o", "json", self.file).stdout)


if __name__ == "__main__":
    unittest.main()
