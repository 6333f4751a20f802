"""admin_test.py - goal: the REPL shows what a node does, tells an order's story over a restart, and behaves on a
terminal and in a pipe as its help says. Method: a real node with orders from the Python client; every command in both outputs,
every exit code, and a terminal of our own (a pty) to type into.

SPDX-License-Identifier: Apache-2.0
"""
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

from stoa_client import Client

SOURCE, BIN = os.environ["STOA_SOURCE"], os.environ["STOA_BIN"]
STOA, STOAD = os.path.join(BIN, "stoa"), os.path.join(BIN, "stoad")
OK, FAILED, USAGE, NOT_FOUND, DENIED, UNREACHABLE, TIMEOUT = range(7)
OTHER_USER = 65534
WAIT_S = 60  # for what takes a moment on an idle machine
CLEAN = {k: v for k, v in os.environ.items() if k not in ("STOA_ADMIN", "STOA_NODE_DATA", "NO_COLOR")}


SETTINGS = """
symbols:
  - {name: BTCUSDT, base: BTC, quote: USDT, tick: 0.01, lot: 0.00001, qty_min: 0.00001, qty_max: 100}
accounts:
  - {name: treasury, issuer: true}
  - {name: alice, funds: "1000000 USDT, 10 BTC"}
  - {name: bob, funds: "1000000 USDT, 10 BTC"}
clients:
  - {name: demo, accounts: "alice, bob"}
rooms:
  - {name: lobby}
"""


class Node:
    """A node in a folder of its own, and how to look into it. Nobody trades there but the test."""

    def __init__(self, folder, more=""):
        self.folder, self.data = folder, os.path.join(folder, "data")
        self.gateway = "zmq+ipc://" + os.path.join(folder, "gw.sock")
        self.settings = os.path.join(folder, "settings.yaml")
        with open(self.settings, "w") as out:
            out.write(SETTINGS + more)
        self.process = None
        self.start()

    def start(self):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.offset = log.tell()
            self.process = subprocess.Popen(
                [STOAD, "--config", self.settings, "--data", self.data, "--http.port=0",
                 "--gateway.listen=" + self.gateway], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.wait_for("ready")

    def lines(self):
        with open(os.path.join(self.folder, "log")) as log:
            log.seek(self.offset)
            return [json.loads(line) for line in log.read().splitlines() if line.startswith("{")]

    def wait_for(self, event):
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            found = [line for line in self.lines() if line.get("event") == event]
            if found:
                return found[0]
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"no {event}: {open(os.path.join(self.folder, 'log')).read()[-3000:]}")

    def kill(self):
        self.process.kill()
        self.process.wait(WAIT_S)

    def stop(self):
        self.process.terminate()
        return self.process.wait(WAIT_S)

    def client(self):
        keys = os.path.join(self.data, "keys")
        return Client(self.gateway, os.path.join(keys, "server.pub"), os.path.join(keys, "demo"))


def stoa(*arguments, data=None, stdin=None, env=None):
    """Run the REPL without a terminal."""
    where = ["--data", data] if data else []
    return subprocess.run([STOA, *where, *arguments], capture_output=True, text=True, timeout=120, check=False,
                          stdin=None if stdin is not None else subprocess.DEVNULL, input=stdin,
                          env={**CLEAN, "LC_ALL": "C.UTF-8", **(env or {})})


class WithoutNode(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="stoa-admin-")
        self.addCleanup(shutil.rmtree, self.folder)

    def test_the_reference_page_is_what_the_binary_prints(self):
        path = os.path.join(SOURCE, "docs", "reference", "commands.md")
        done = stoa("--dump-docs")
        self.assertEqual(done.returncode, OK)
        if os.environ.get("STOA_UPDATE"):
            with open(path, "w") as out:
                out.write(done.stdout)
        with open(path) as page:
            self.assertEqual(page.read(), done.stdout, f"STOA_UPDATE=1, or build/dev/bin/stoa --dump-docs > {path}")

    def test_flags(self):
        self.assertIn("Exit codes", stoa("--help").stdout)
        self.assertRegex(stoa("--version").stdout, r"^stoa \d+\.\d+\.\d+\n$")
        for wrong in (["--nonsense"], ["-o", "xml"], ["--timeout", "0"], ["--timeout", "-5"],
                      ["--timeout", "9999999999"], ["--timeout", "soon"], ["--eval"], ["--data"],
                      ["--eval", "help", "help"]):
            done = stoa(*wrong)
            self.assertEqual((done.returncode, done.stdout), (USAGE, ""), wrong)
            self.assertIn("see stoa --help", done.stderr)

    def test_nobody_listens(self):
        done = stoa("node", data=self.folder)
        self.assertEqual((done.returncode, done.stdout), (UNREACHABLE, ""))
        self.assertIn(f"no node at {self.folder}/admin.sock; start one with stoad", done.stderr)
        done = stoa("-o", "json", "node", data=self.folder)
        error = json.loads(done.stdout)["error"]
        self.assertEqual((done.returncode, error["exit"], done.stderr), (UNREACHABLE, UNREACHABLE, ""))
        long = stoa("node", data=self.folder + "/x" * 60)
        self.assertEqual(long.returncode, UNREACHABLE)
        self.assertIn("at most 107", long.stderr)

    def test_where_it_looks_for_a_node(self):
        home = {"HOME": self.folder + "/home"}
        for env, arguments, expected in (
                (home, [], f"{self.folder}/home/.stoa/admin.sock"),
                ({**home, "STOA_NODE_DATA": "/nowhere/data"}, [], "/nowhere/data/admin.sock"),
                ({**home, "STOA_NODE_DATA": "/nowhere/data", "STOA_ADMIN": "/nowhere/a"}, [], "/nowhere/a"),
                ({**home, "STOA_ADMIN": "/nowhere/a"}, ["--data", "/nowhere/d"], "/nowhere/d/admin.sock"),
                ({**home, "STOA_ADMIN": "/nowhere/a"}, ["--socket", "/nowhere/s", "--data", "/x"], "/nowhere/s")):
            done = stoa(*arguments, "node", env=env)
            self.assertEqual(done.returncode, UNREACHABLE)
            self.assertIn(f"no node at {expected};", done.stderr)

    def test_help_needs_no_node(self):
        for arguments in (["help"], ["help", "explain", "order"], ["--eval", "help book"]):
            self.assertEqual(stoa(*arguments, data=self.folder).returncode, OK)
        self.assertIn("a number from 1 to 64", stoa("help", "book", data=self.folder).stdout)
        done = stoa("help", "bok", data=self.folder)
        self.assertEqual(done.returncode, USAGE)
        self.assertIn("did you mean 'book'?", done.stderr)

    def test_something_else_listens(self):
        import socket
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(self.folder + "/admin.sock")
            door.listen()
            silent = stoa("--timeout", "200", "node", data=self.folder)
            self.assertEqual(silent.returncode, TIMEOUT)


class WithNode(unittest.TestCase):
    """One node for all; what changes it has a node of its own."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="stoa-admin-")
        cls.node = Node(cls.folder)
        client = cls.node.client()
        try:
            resting = client.place("alice", 1, "BTCUSDT", "sell", "50000", "0.5")
            taking = client.place("bob", 1, "BTCUSDT", "buy", "50000", "0.2")
            refused = client.place("bob", 2, "BTCUSDT", "buy", "50000", "99")
            cancelled = client.place("alice", 2, "BTCUSDT", "sell", "70000", "0.1")
            client.cancel("alice", order_id=cancelled["order_id"])
            cls.orders = [order["order_id"] for order in (resting, taking, refused, cancelled)]
            client.join("lobby")
            for number in range(1, 41):
                client.post("lobby", number, f"post number {number}")
            client.post("lobby", 41, "turned \u202e round")
        finally:
            client.close()

    @classmethod
    def tearDownClass(cls):
        code = cls.node.stop()
        shutil.rmtree(cls.folder)
        assert code == 0, code

    def table(self, line, *flags):
        done = stoa(*flags, "--eval", line, data=self.node.data)
        self.assertEqual((done.returncode, done.stderr), (OK, ""), line)
        return done.stdout

    def json(self, line, *flags):
        return json.loads(self.table(line, "-o", "json", *flags))

    def refused(self, line, code, *words):
        done = stoa("--eval", line, data=self.node.data)
        self.assertEqual((done.returncode, done.stdout), (code, ""), line)
        for word in words:
            self.assertIn(word, done.stderr)
        document = stoa("-o", "json", "--eval", line, data=self.node.data)
        error = json.loads(document.stdout)["error"]
        self.assertEqual((document.returncode, error["exit"]), (code, code))
        self.assertEqual((document.stderr, f"stoa: {error['name']}: {error['text']}\n"), ("", done.stderr))

    # --- every command

    def test_every_command_answers_as_a_table_and_as_json(self):
        lines = {
            "node": ("node", "phase +ready"),
            "top": ("node", r"busy +messages"),
            "actors": ("actors", r"trade_account/alice +0 +trade"),
            "actor": ("state", r"balances"),
            "tree": ("cores", r"│  ├─ risk/main +event-sourced"),
            "topics": ("topics", r"market\.sim\.BTCUSDT\.diff"),
            "groups": ("groups", r"no groups"),
            "plugins": ("plugins", r"no plugins"),
            "shards": ("shards", r"trade +disk"),
            "outbox": ("outboxes", r"trade +0"),
            "outbox unreadable": ("pending", r"no pending"),
            "drop": ("drop", r"would be: \d+ actors"),
            "orders": ("orders", r"alice +BTCUSDT +sell"),
            "book": ("levels", r"bid qty +bid +ask"),
            "room": ("posts", r"post number 30"),
            "explain order": ("steps", r"risk approved: sell 0\.5 BTCUSDT at 50000"),
            "dead-letters": ("dead_letters", r"no dead letters|time +message"),
            "stalls": ("stalls", r"no stalls|time +core"),
            "move": ("move", r"core +0"),
            "trace next": ("spans", r"message +actor"),
            "trace last": ("spans", r"message +actor"),
            "trace": ("spans", r"id +1\b"),
            "trace every": ("trace", r"every +0"),
            "times": ("times", r"kind +core"),
            "metrics": ("metrics", r"stoa_door_commands_total"),
            "config": ("settings", r"(?m)^node:\n"),
            "log level": ("log", r"level +info"),
            "hash": ("hash", r"equal +yes"),
            "progress": ("work", r"no work"),
            "names": ("names", r"(?m)^trade_account/bob$"),
            "links": ("links", r"no links"),
            "key show": ("keys", r"demo +client +allowed"),
            "help": ("commands", r"explain order <order>"),
        }
        arguments = {"drop": "room --plan", "actor": "trade_account/alice", "move": "market_book/sim.BTCUSDT 0", "book": "BTCUSDT",
                     "room": "lobby", "hash": "trade",
                     "names": "actors", "explain order": str(self.orders[0]), "trace": "1 --for 0",
                     "trace next": "--for 0", "trace every": "0"}
        elsewhere = ["projection status", "projection rebuild", "projection pause", "projection resume",  # projection_test.py
                     "backup", "backup status", "backup verify", "restore", "archive", "archive run", "archive hold",
                     "archive release",  # archive_test.py
                     "channels", "channel restart",  # channels_test.py
                     "plugin", "plugin start", "plugin ask",  # plugins_test.py
                     "outbox settle",  # rotten_log_test.py
                     "state", "diff", "snapshot", "snapshots", "explain event",  # snapshot_test.py
                     "journal", "journal verify", "journal reindex", "journal rekey",  # journal_test.py
                     "key new", "key allow", "key revoke", "key rotate", "link"]  # key_test.py
        known = [command["name"] for command in self.json("help")["commands"]]
        self.assertEqual(sorted(known), sorted([*lines, *elsewhere, "quit", "exit"]))
        for name, (key, pattern) in lines.items():
            line, flags = f"{name} {arguments.get(name, '')}", ["--write"] if name in ("move", "trace every") else []
            self.assertRegex(self.table(line, *flags), pattern, line)
            self.assertIn(key, self.json(line, *flags), line)

    def test_a_dropped_shard_comes_back_as_its_log_has_it(self):
        before = self.json("shards")["shards"]
        self.assertRegex(self.table("drop trade", "--write"), r"done: \d+ actors")
        after = self.json("shards")["shards"]
        self.assertEqual([s["name"] for s in before], [s["name"] for s in after])
        self.assertTrue(self.json("hash trade")["hash"]["equal"])

    def test_the_node_says_what_it_is(self):
        node = self.json("node")["node"]
        self.assertEqual((node["phase"], node["data"]), ("ready", self.node.data))
        self.assertEqual(node["process"], self.node.process.pid)
        self.assertEqual((node["market"], node["gateway"]), ("simulated", self.node.gateway))
        self.assertGreater(node["messages"], 0)
        self.assertGreater(node["memory_bytes"], 1 << 20)

    def test_top_counts_what_happened_meanwhile(self):
        top = self.json("top")
        self.assertGreaterEqual(top["node"]["interval_ns"], 200_000_000)
        self.assertGreater(top["node"]["message_rate"], 10)
        self.assertLess(top["node"]["message_rate"], 1_000_000)
        rates = [actor["message_rate"] for actor in top["actors"]]
        self.assertEqual(rates, sorted(rates, reverse=True))
        self.assertIn("venue", [shard["shard"] for shard in top["shards"]])
        with subprocess.Popen([STOA, "--data", self.node.data, "-o", "json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True, bufsize=1, env={**CLEAN, "LC_ALL": "C.UTF-8"}) as one:
            for pause in (1.0, 0):
                one.stdin.write("top\n")
                again = json.loads(one.stdout.readline())
                time.sleep(pause)
        self.assertGreaterEqual(again["node"]["interval_ns"], 1_000_000_000)  # since the same connection asked last

    def test_actors_and_their_states(self):
        everyone = [actor["name"] for actor in self.json("actors")["actors"]]
        self.assertEqual(everyone, sorted(everyone))
        accounts = [actor["name"] for actor in self.json("actors trade_account/*")["actors"]]
        self.assertEqual(accounts, [name for name in everyone if name.startswith("trade_account/")])
        alice = self.json("actor trade_account/alice")
        self.assertEqual(alice["actor"]["kind"], "trade_account")
        funds = {balance["asset"]: balance for balance in alice["state"]["balances"]}
        self.assertEqual((funds["BTC"]["free"], funds["BTC"]["reserved"]), ("9.5", "0.3"))
        self.refused("actor trade_account/alise", NOT_FOUND, "did you mean 'trade_account/alice'?")
        self.refused("actors nobody*", NOT_FOUND, "names actors lists all")

    def test_the_tree_holds_every_actor_once(self):
        def leaves(node):
            if "children" not in node:
                return [node["name"]]
            return [name for child in node["children"] for name in leaves(child)]
        found = [name for core in self.json("tree")["cores"] for name in leaves(core)]
        self.assertEqual(sorted(found), [actor["name"] for actor in self.json("actors")["actors"]])

    def test_topics(self):
        names = [topic["name"] for topic in self.json("topics market.sim.*.>")["topics"]]
        self.assertEqual(names, sorted(names))
        self.assertTrue(names and all(name.startswith("market.sim.") for name in names))
        self.refused("topics nothing.at.all", NOT_FOUND)
        self.refused("groups nobody.joined", NOT_FOUND)
        self.refused("groups nobody.*", NOT_FOUND)

    def test_orders(self):
        resting, taking, refused, cancelled = self.orders
        self.assertEqual([order["order_id"] for order in self.json("orders alice")["orders"]], [resting])
        all_of_alice = {order["order_id"]: order for order in self.json("orders alice all")["orders"]}
        self.assertEqual(all_of_alice[cancelled]["status"], "cancelled")
        self.assertEqual(all_of_alice[resting]["filled_qty"], "0.2")
        of_bob = {order["order_id"]: order for order in self.json("orders bob all")["orders"]}
        self.assertEqual((of_bob[taking]["status"], of_bob[refused]["reason"]), ("filled", "insufficient_funds"))
        everybody = self.json("orders")["orders"]
        self.assertEqual([order["order_id"] for order in everybody], [resting])
        everything = [*all_of_alice, *of_bob]
        self.assertEqual(sorted(everything), sorted(self.orders))
        self.assertIn("'orders bob all' shows closed ones too", self.table("orders bob"))
        self.refused("orders allice", NOT_FOUND, "no account 'allice'; did you mean 'alice'?")

    def test_books(self):
        book = self.json("book BTCUSDT 3")
        self.assertLessEqual(len(book["levels"]), 3)
        self.assertEqual((book["levels"][0]["ask"], book["levels"][0]["ask_qty"]), ("50000", "0.3"))
        mirror = self.json("book sim.BTCUSDT")
        self.assertEqual((mirror["book"]["status"], mirror["book"]["gaps"]), ("live", 0))
        self.assertEqual(len(mirror["levels"]), 10)
        self.refused("book BTCUSD", NOT_FOUND, "did you mean 'BTCUSDT'?")

    def test_rooms(self):
        room = self.json("room lobby 20")
        self.assertEqual([post["seq"] for post in room["posts"]], list(range(22, 42)))
        self.assertEqual(room["posts"][0]["author"], "demo")
        self.assertEqual((room["room"]["members"], room["room"]["last"]), (["demo"], 41))
        self.assertEqual(len(self.json("room lobby 1000")["posts"]), 41)
        self.assertEqual(room["posts"][-1]["text"], "turned \u202e round")
        self.assertIn("turned \\u202e round", self.table("room lobby 1"))  # nothing said in a room steers a terminal
        self.refused("room loby", NOT_FOUND, "did you mean 'lobby'?")

    def test_an_order_is_explained_step_by_step(self):
        resting, taking, refused, cancelled = self.orders
        steps = self.json(f"explain order {taking}")["steps"]
        said = [step["what"] for step in steps]
        for expected in (r"^risk approved: buy 0\.2 BTCUSDT at 50000$", r"^accepted, gtc; reserved 10000 USDT$",
                         rf"^matched 0\.2 at 50000 with resting order {resting} \(trade \d+\)$",
                         r"^settled 0\.2 at 50000, 10000 USDT, as taker \(trade \d+\); filled 0\.2 of 0\.2: closed$"):
            self.assertEqual(len([what for what in said if re.search(expected, what)]), 1, (expected, said))
        positions = [step["position"] for step in steps]
        self.assertEqual(positions, sorted(set(positions)))
        self.assertEqual(steps[0]["since_ns"], 0)
        for step in steps:
            self.assertEqual(step["since_ns"], step["at_ns"] - steps[0]["at_ns"])
            self.assertEqual((step["durability"], step["commit_after_ns"]), ("disk", step["commit_ns"] - step["at_ns"]))
        maker = [step["what"] for step in self.json(f"explain order {resting}")["steps"]]
        self.assertTrue(any(f"order {taking} took it" in what for what in maker), maker)
        self.assertTrue(any("reserved 0.5 BTC" in what for what in maker), maker)
        self.assertEqual(self.json(f"explain order {taking}")["order"]["status"], "filled")
        self.assertEqual(self.json(f"explain order {resting}")["order"]["status"], "open")
        story = self.json(f"explain order {refused}")
        self.assertEqual((story["order"]["status"], story["order"]["reason"]), ("rejected", "insufficient_funds"))
        self.assertIn("risk refused: insufficient_funds; buy 99 BTCUSDT at 50000", story["steps"][0]["what"])
        self.assertIn("closed: cancelled (client)", self.table(f"explain order {cancelled}"))
        self.refused("explain order 999999999", NOT_FOUND, "no order 999999999 in the journal")

    def test_metrics(self):
        counters = {(m["name"], m["labels"]): m["value"] for m in self.json("metrics stoa_door_*")["metrics"]}
        self.assertGreater(int(counters["stoa_door_commands_total", ""]), 0)
        self.assertEqual(counters["stoa_door_refused_total", 'why="malformed"'], "0")
        self.assertIn("stoa_door_commands_total", self.json("names metrics")["names"])
        self.refused("metrics stoa_door_comands_total", NOT_FOUND, "did you mean 'stoa_door_commands_total'?")

    def test_the_printed_settings_load_again(self):
        path = os.path.join(self.folder, "printed.yaml")
        with open(path, "w") as out:
            out.write(self.table("config"))
        checked = subprocess.run([STOAD, "--check", path], capture_output=True, text=True, check=False)
        self.assertEqual((checked.returncode, checked.stderr), (0, ""))
        settings = self.json("config")["settings"]
        self.assertEqual((settings["node.data"], settings["symbols"][0]["tick"]), (self.node.data, "0.01"))

    def test_the_replayed_state_is_the_live_one(self):
        for shard in ("trade", "room"):
            found = self.json(f"hash {shard}")["hash"]
            self.assertEqual((found["equal"], found["live"]), (True, found["replay"]))
            self.assertEqual(found["events"], found["position"])
        found = self.json("hash trade")["hash"]
        earlier = self.json("hash trade 5")["hash"]
        self.assertEqual((earlier["position"], earlier["events"], earlier["equal"]), (5, 5, None))
        self.assertNotEqual(earlier["replay"], found["replay"])
        self.refused("hash trade 99999999", NOT_FOUND, "has come to position")
        self.refused("hash venue", FAILED, "keeps no journal")
        self.refused("hash trde", NOT_FOUND, "did you mean 'trade'?")

    # --- usage

    def test_what_is_wrong_is_said(self):
        self.refused("actrs", USAGE, "unknown command 'actrs'; did you mean 'actors'?")
        self.refused("book", USAGE, "book needs <symbol>: book <symbol> [levels]")
        self.refused("book BTCUSDT many", USAGE, "levels is a number from 1 to 64, not 'many'")
        self.refused("actor 'a", USAGE, "a quote ' is not closed")
        self.refused("log level debug", DENIED, "stoa --write")

    def test_words_behind_the_flags_are_a_command(self):
        done = stoa("book", "BTCUSDT", "1", data=self.node.data)
        self.assertEqual(done.returncode, OK)
        self.assertIn("50000", done.stdout)
        self.assertEqual(stoa("actor", "no such actor", data=self.node.data).returncode, NOT_FOUND)

    def test_evals_stop_at_the_first_that_fails(self):
        done = stoa("-o", "json", "--eval", "log level", "--eval", "actrs", "--eval", "node", data=self.node.data)
        self.assertEqual(done.returncode, USAGE)
        self.assertEqual(len(done.stdout.splitlines()), 2)
        self.assertIn("error", json.loads(done.stdout.splitlines()[1]))

    def test_commands_on_standard_input_all_run(self):
        done = stoa("-o", "json", data=self.node.data, stdin="# a script\n\nlog level\nactrs\n\tnames rooms  \r\n")
        self.assertEqual(done.returncode, OK)  # of the last one
        self.assertEqual([list(json.loads(line))[0] for line in done.stdout.splitlines()], ["log", "error", "names"])
        done = stoa(data=self.node.data, stdin="names rooms\nroom nowhere\nquit\nnode\n")
        self.assertEqual((done.returncode, done.stdout), (NOT_FOUND, "lobby\n"))
        self.assertEqual(stoa(data=self.node.data, stdin="").returncode, OK)
        self.assertEqual(stoa(data=self.node.data, stdin="names rooms").stdout, "lobby\n")  # without a newline
        self.assertEqual(stoa(data=self.node.data, stdin="x" * 5000 + "\n").returncode, USAGE)
        self.assertEqual(stoa(data=self.node.data, stdin="\xff\x1b\n").returncode, USAGE)

    def test_a_pipe_gets_no_colours_and_is_not_folded(self):
        out = self.table("help")
        self.assertNotIn("\x1b", out)
        self.assertTrue(any(len(line) > 80 for line in out.splitlines()))

    @unittest.skipUnless(os.geteuid() == 0, "only root can become somebody else")
    def test_another_user_is_denied(self):
        os.chmod(self.folder, 0o755)
        os.chmod(self.node.data, 0o755)
        program = shutil.copy(STOA, self.folder)  # where that user can get at it
        done = subprocess.run([program, "--data", self.node.data, "node"], capture_output=True, text=True, timeout=60,
                              check=False, user=OTHER_USER, env=CLEAN, cwd="/")
        os.chmod(self.node.data, 0o700)
        self.assertEqual(done.returncode, DENIED, done.stderr)
        self.assertIn("belongs to another user", done.stderr)


class Changing(unittest.TestCase):
    """What stops, kills or changes a node."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="stoa-admin-")
        self.node = Node(self.folder)

    def tearDown(self):
        if self.node.process.poll() is None:
            self.node.process.send_signal(signal.SIGCONT)
            self.node.kill()
        shutil.rmtree(self.folder)

    def test_the_log_level_is_changed_by_who_may_write(self):
        done = stoa("--write", "-o", "json", "log", "level", "debug", data=self.node.data)
        self.assertEqual(json.loads(done.stdout), {"log": {"level": "debug", "before": "info"}})
        after = json.loads(stoa("-o", "json", "log", "level", data=self.node.data).stdout)
        self.assertEqual(after["log"]["level"], "debug")
        self.node.wait_for("admin_write")

    def test_a_node_that_does_not_answer_is_a_timeout(self):
        self.node.process.send_signal(signal.SIGSTOP)
        done = stoa("--timeout", "300", "node", data=self.node.data)
        self.assertEqual(done.returncode, TIMEOUT, done.stderr)

    def test_a_story_is_the_same_after_the_node_was_killed(self):
        client = self.node.client()
        order = client.place("alice", 1, "BTCUSDT", "buy", "1000", "0.5")["order_id"]
        client.close()
        line = f"explain order {order}"
        before = stoa("-o", "json", "--eval", line, data=self.node.data).stdout
        self.node.kill()
        self.assertTrue(os.path.exists(os.path.join(self.node.data, "admin.sock")))  # stale: replaced
        self.assertEqual(stoa(line, data=self.node.data).returncode, UNREACHABLE)  # one quoted word with blanks is a line
        self.assertEqual(stoa("node", data=self.node.data).returncode, UNREACHABLE)
        self.node.start()
        self.assertEqual(json.loads(stoa("-o", "json", "--eval", line, data=self.node.data).stdout), json.loads(before))
        self.assertEqual(json.loads(stoa("-o", "json", line, data=self.node.data).stdout), json.loads(before))

    def test_two_nodes_do_not_share_a_door(self):
        other = subprocess.run([STOAD, "--data", os.path.join(self.folder, "other"), "--http.port=-1",
                                "--gateway.listen=", "--admin.socket=" + os.path.join(self.node.data, "admin.sock")],
                               capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(other.returncode, 1)
        self.assertIn("another node listens there", other.stderr)
        self.assertEqual(stoa("node", data=self.node.data).returncode, OK)

    def test_a_stopped_node_takes_its_socket_along(self):
        self.assertEqual(self.node.stop(), 0)
        self.assertFalse(os.path.exists(os.path.join(self.node.data, "admin.sock")))


# --- typing at a terminal


class Terminal:
    """The REPL on a pty; what it prints is kept as it came."""

    def __init__(self, *arguments, columns=100, env=None):
        self.seen = ""
        self.at = 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(STOA, [STOA, *arguments], {**CLEAN, "TERM": "xterm", "LC_ALL": "C.UTF-8", **(env or {})})
        self.size(columns)

    def size(self, columns, lines=30):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, text):
        os.write(self.fd, text.encode())

    def read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            more = os.read(self.fd, 65536)
        except OSError:
            return False
        self.seen += re.sub(r"\r?\x1b\[\d+G", "", more.decode(errors="replace"))  # the editor moves to where it is
        return bool(more)

    def expect(self, pattern, seconds=WAIT_S):
        """Wait for the pattern behind what was expected last; returns the match."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = re.search(pattern, self.seen[self.at:])
            if found:
                self.at += found.end()
                return found
            self.read(0.1)
        raise AssertionError(f"no {pattern!r} in {self.seen[self.at:]!r}")

    def end(self):
        """The exit code."""
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            self.read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError(f"does not end: {self.seen[-500:]!r}")


PROMPT = r"stoa> "


class Typing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="stoa-admin-")
        cls.node = Node(cls.folder)

    @classmethod
    def tearDownClass(cls):
        if cls.node.process.poll() is None:
            cls.node.kill()
        shutil.rmtree(cls.folder)

    def setUp(self):
        self.home = tempfile.mkdtemp(prefix="stoa-home-")
        self.addCleanup(shutil.rmtree, self.home)

    def open(self, *arguments, env=None, **more):
        terminal = Terminal("--data", self.node.data, *arguments, env={"HOME": self.home, **(env or {})}, **more)
        terminal.expect("attached to stoa; help lists the commands")
        terminal.expect(PROMPT if "--write" not in arguments else r"stoa \(write\)> ")
        return terminal

    def test_lines_are_run_and_the_exit_code_is_the_last_ones(self):
        t = self.open()
        t.type("names rooms\n")
        t.expect(r"lobby\r\n")
        t.expect(PROMPT)
        t.type("room nowhere\n")
        t.expect("no room 'nowhere'")
        t.expect(PROMPT)
        t.type("exit\n")
        self.assertEqual(t.end(), NOT_FOUND)

    def test_ctrl_d_leaves(self):
        t = self.open()
        t.type("\x04")
        self.assertEqual(t.end(), OK)

    def test_the_prompt_says_when_one_may_write(self):
        t = self.open("--write")
        t.type("log level warn\n")
        t.expect(r"before +info")
        t.expect(r"stoa \(write\)> ")
        t.type("log level info\nquit\n")
        self.assertEqual(t.end(), OK)

    def test_tab_completes_commands_and_names_of_the_node(self):
        t = self.open()
        t.type("tre\t")
        t.expect("tree ")
        t.type("\n")
        t.expect("core 0")
        t.expect(PROMPT)
        t.type("actor trade_acc\t")
        t.expect("trade_account/")
        t.type("al\t")
        t.expect("alice ")
        t.type("\n")
        t.expect(r"kind +trade_account")
        t.expect(PROMPT)
        t.type("expl\t")
        t.expect("explain ")
        t.type("\t")
        t.expect(r"event +order")
        t.type("o\t")
        t.expect("order ")
        t.type("\x15actor trade_account/\t")  # ^U; several: they are listed
        t.expect(r"trade_account/alice +trade_account/bob +trade_account/treasury")
        t.expect(r"stoa> actor trade_account/")
        t.type("bob\n")
        t.expect(r"known_orders")
        t.expect(PROMPT)
        t.type("quit\n")
        self.assertEqual(t.end(), OK)

    def test_history_is_walked_searched_and_kept(self):
        t = self.open()
        t.type("names rooms\n")
        t.expect(r"lobby\r\n")
        t.expect(PROMPT)
        t.type("log level\n")
        t.expect(r"level +info")
        t.expect(PROMPT)
        t.type("\x1b[A\x1b[A")  # up, up
        t.expect("names rooms")
        t.type("\n")
        t.expect(r"lobby\r\n")
        t.expect(PROMPT)
        t.type("\x12lev")  # ^R
        t.expect("log level")
        t.type("\n")
        t.type("\n")
        t.expect(r"level +info")
        t.expect(PROMPT)
        t.type("quit\n")
        self.assertEqual(t.end(), OK)
        path = os.path.join(self.home, ".stoa", "history")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        t = self.open()
        t.type("\x1b[A\x1b[A")  # quit, log level
        t.expect("log level")
        t.type("\n")
        t.expect(r"level +info")
        t.expect(PROMPT)
        t.type("\x04")
        self.assertEqual(t.end(), OK)

    def test_ctrl_c_drops_the_line(self):
        t = self.open()
        for _ in range(20):
            t.type("names symb")
            t.type("\x03")
            t.expect(PROMPT)
        t.type("actor \u00e4\u6f22\n")  # not a byte of it is lost
        t.expect("no actor '\u00e4\u6f22'")
        t.expect(PROMPT)
        t.type("names rooms\n")
        t.expect(r"lobby\r\n")
        t.expect(PROMPT)
        t.type("quit\n")
        self.assertEqual(t.end(), OK)

    def test_ctrl_c_ends_the_wait_for_an_answer(self):
        t = self.open("--timeout", "60000")
        self.node.process.send_signal(signal.SIGSTOP)
        try:
            t.type("node\n")
            t.expect("node\r\n")
            until = time.monotonic() + WAIT_S
            while "interrupted" not in t.seen and time.monotonic() < until:
                t.type("\x03")
                for _ in range(20):  # one that came before the wait began ended the line: then there is a prompt
                    if not t.read(0.5) or re.search("interrupted|" + PROMPT, t.seen[t.at:]):
                        break
                if "interrupted" not in t.seen and re.search(PROMPT, t.seen[t.at:]):
                    t.at = len(t.seen)
                    t.type("node\n")
                    t.expect("node\r\n")
            t.expect("interrupted")
        finally:
            self.node.process.send_signal(signal.SIGCONT)
        t.expect(r"> ")
        for _ in range(5):  # a Ctrl-C too many ends the line that is typed when it arrives
            t.type("names rooms\n")
            until = time.monotonic() + 5
            while "lobby\r\n" not in t.seen[t.at:] and time.monotonic() < until:
                t.read(0.1)
            if "lobby\r\n" in t.seen[t.at:]:
                break
        t.expect(r"lobby\r\n")
        t.expect(PROMPT)
        t.type("quit\n")
        self.assertEqual(t.end(), OK)

    def test_top_is_drawn_again_until_q(self):
        t = self.open()
        for leave in ("q", "\x03"):
            t.type("top\n")
            t.expect(r"\x1b\[\?1049h")  # a screen of its own
            first = t.expect(r"uptime +([0-9.]+) ").group(1)
            t.expect("q leaves")
            second = t.expect(r"uptime +([0-9.]+) ").group(1)
            self.assertNotEqual(first, second)
            t.expect("q leaves")
            t.type(leave)
            t.expect(r"\x1b\[\?1049l")
            t.expect(PROMPT)
        t.type("names rooms\n")
        t.expect(r"lobby\r\n")  # the terminal is as it was
        t.expect(PROMPT)
        t.type("quit\n")
        self.assertEqual(t.end(), OK)

    def test_top_from_the_command_line(self):
        t = Terminal("--data", self.node.data, "top")
        t.expect("q leaves")
        t.type("q")
        self.assertEqual(t.end(), OK)
        t = Terminal("--data", self.node.data, "top", env={"TERM": "dumb"})
        t.expect(r"busy +messages")
        self.assertEqual(t.end(), OK)
        self.assertNotIn("\x1b", t.seen)

    def test_tables_fit_the_terminal(self):
        t = Terminal("--data", self.node.data, "help", columns=60, env={"NO_COLOR": "1"})
        t.expect("Leave; also Ctrl-D")
        self.assertEqual(t.end(), OK)
        widths = [len(line) for line in t.seen.replace("\r", "").split("\n")]
        self.assertLessEqual(max(widths), 60)
        self.assertNotIn("\x1b", t.seen)
        t = Terminal("--data", self.node.data, "help", columns=60)
        t.expect("\x1b\\[1mcommand")
        self.assertEqual(t.end(), OK)

    def test_it_finds_the_node_again(self):
        t = self.open()
        self.node.kill()
        t.type("node\n")
        t.expect("no node at .*start one with stoad")
        t.expect(r"stoa \(no node\)> ")
        self.node.start()
        t.type("names rooms\n")
        t.expect("it was restarted")
        t.expect(r"lobby\r\n")
        t.expect(PROMPT)
        self.node.kill()
        self.node.start()
        t.type("names rooms\n")  # the old connection is dead; nobody is bothered
        t.expect(r"lobby\r\n")
        t.expect(PROMPT)
        t.type("quit\n")
        self.assertEqual(t.end(), OK)

    def test_it_starts_without_a_node(self):
        t = Terminal("--data", self.home, env={"HOME": self.home})
        t.expect("no node at")
        t.expect(r"stoa \(no node\)> ")
        t.type("help book\n")
        t.expect("a number from 1 to 64")
        t.expect(r"stoa \(no node\)> ")
        t.type("\x04")
        self.assertEqual(t.end(), OK)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    unittest.main(verbosity=2)
