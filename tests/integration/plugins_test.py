"""plugins_test.py - goal: a node runs plug-ins from its settings: they are reached by name, restarted, given up and begun anew, and
whatever one does - crash, hang, flood, take memory, make a forbidden call, never come to an end of loading - is told at its
supervisor and nobody else's. A node that is killed leaves no process of theirs. What is loaded reads nothing of the node. Method: a real
node, the example's plug-in and one that misbehaves on request (tests/unit/runtime/isolates/odd.c); after each deed the example's plug-in
and the market still answer.

SPDX-License-Identifier: Apache-2.0
"""
import errno
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

BIN, BUILD = os.environ["STOA_BIN"], os.environ["STOA_BUILD"]
STOA, STOAD = os.path.join(BIN, "stoa"), os.path.join(BIN, "stoad")
PLUGINS = os.path.join(BUILD, "plugins")
WAIT_S = 120
BASE = """
symbols:
  - {name: BTCUSDT, base: BTC, quote: USDT, tick: 0.01, lot: 0.00001, qty_min: 0.00001, qty_max: 100}
accounts:
  - {name: treasury, issuer: true}
"""
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith("STOA_")}


def lives(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def ticks(pid):
    """Processor time that it has used."""
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rsplit(")", 1)[1].split()[11])


def wait_until(what, why):
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(why)


class Node:
    """beside: plug-ins that are copied into its folder, which rows call FOLDER, as more does: other settings."""

    def __init__(self, plugins, beside=(), more=""):
        self.closed = None
        self.folder = tempfile.mkdtemp(prefix="stoa-plugins-")
        for name in beside:
            shutil.copy(os.path.join(PLUGINS, name), self.folder)
        self.settings = os.path.join(self.folder, "settings.yaml")
        with open(self.settings, "w") as out:
            out.write((BASE + "plugins:\n" + "".join(f"  - {row}\n" for row in plugins) + more).replace("FOLDER", self.folder))
        self.data = os.path.join(self.folder, "data")
        self.log = open(os.path.join(self.folder, "log"), "w+")
        self.process = subprocess.Popen(
            [STOAD, "--config", self.settings, "--data", self.data, "--http.port=-1", "--node.cores=2",
             "--gateway.listen=zmq+ipc://" + os.path.join(self.folder, "gw")],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, env=CLEAN,
            preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))  # some launchers leave it so
        wait_until(lambda: '"event":"ready"' in self.text() or self.process.poll() is not None, "it does not come up")
        assert self.process.poll() is None, self.text()

    def text(self):
        with open(os.path.join(self.folder, "log")) as log:
            return log.read()

    def run(self, *words):
        done = subprocess.run([STOA, "--data", self.data, "--write", "-o", "json", "--timeout", "60000", *words],
                              capture_output=True, text=True, timeout=WAIT_S, env=CLEAN)
        return done.returncode, done.stdout, json.loads(done.stdout)["error"]["text"] if done.returncode else ""

    def ok(self, *words):
        code, out, err = self.run(*words)
        assert code == 0, (words, out, err)
        return json.loads(out)

    def ask(self, plugin, key, message, **fields):
        return self.ok("plugin", "ask", plugin, key, message, json.dumps(fields))["answer"]

    def fails(self, plugin, key, message, **fields):
        code, _, err = self.run("plugin", "ask", plugin, key, message, json.dumps(fields))
        assert code != 0
        return err

    def actor(self, name):
        return next(row for row in self.ok("plugins")["plugins"] if row["actor"] == name)

    def serves(self, name, ends=0):
        def look():
            row = self.actor(name)
            served = row["ends"] >= ends and row["process"] and row["process"]["status"] == "serves" and row["process"]["pid"]
            return row if served else None
        return wait_until(look, f"{name} does not serve")

    def gone(self, name):
        return wait_until(lambda: next((row for row in [self.actor(name)] if row["status"] == "gone"), None), f"{name} is not gone")

    def pids(self):
        def look():
            pids = [row["process"]["pid"] for row in self.ok("plugins")["plugins"] if row["process"]]
            return pids if all(pids) else None
        return wait_until(look, "a plug-in has no pid")

    def close(self):
        if self.closed is not None:
            return self.closed
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.closed = self.process.wait(WAIT_S)
        self.log.close()
        shutil.rmtree(self.folder)
        return self.closed


def tally(more=""):
    return "{name: tally, library: %s, actors: \"t, u\"%s}" % (os.path.join(PLUGINS, "tally.so"), more)


def helper():
    return "{name: helper, library: %s, actors: h}" % os.path.join(PLUGINS, "helper.so")


def odd(more=""):
    return "{name: odd, library: %s, actors: o, peers: \"helper/h\"%s}" % (os.path.join(PLUGINS, "odd.so"), more)


class Test(unittest.TestCase):
    def node(self, plugins, beside=(), more=""):
        node = Node(plugins, beside, more)
        self.addCleanup(node.close)
        return node

    def assert_others_serve(self, node, total):
        self.assertEqual(node.ask("tally", "u", "add", n=1), {"total": total})
        self.assertEqual(len(node.ok("book", "SIM.BTCUSDT", "1")["levels"]), 1)

    def test_it_is_reached_by_name_and_shown(self):
        node = self.node([tally()])
        self.assertEqual(node.ask("tally", "t", "add", n=5), {"total": 5})
        self.assertEqual(node.ask("tally", "t", "add", n=6), {"total": 11})
        self.assertEqual(node.ask("tally", "u", "add"), {"total": 0})
        shown = node.ok("plugin", "tally")
        self.assertEqual([row["name"] for row in shown["messages"]], ["add", "total", "crash"])
        self.assertEqual((shown["plugin"]["peers"], shown["plugin"]["hears"], shown["plugin"]["tells"]), ([], [], []))
        self.assertEqual(node.ok("actor", "tally/t")["actor"]["kind"], "tally")
        self.assertEqual(node.ok("actor", "tally/t", "inspect")["state"]["status"], "serves")
        self.assertIn("tally/t", json.dumps(node.ok("tree")))
        self.assertEqual(node.ok("names", "plugins")["names"], ["tally"])
        self.assertIn("no field 'm'", node.fails("tally", "t", "add", m=1))
        self.assertIn("takes no message", node.fails("tally", "t", "total"))
        self.assertIn("did you mean 'tally/t'", node.run("plugin", "ask", "tally", "tt", "add")[2])
        self.assertIn("did you mean 'tally'", node.run("plugin", "tallly")[2])
        pids = node.pids()
        self.assertEqual(len(pids), 2)
        self.assertEqual(node.close(), 0)
        self.assertFalse([pid for pid in pids if lives(pid)])

    def call(self, node, *words):
        done = subprocess.run([os.path.join(BUILD, "tests", "tally_caller"), *words], capture_output=True, text=True, timeout=WAIT_S,
                              check=False, env=CLEAN)
        self.assertEqual((done.returncode, done.stdout), (0, "total 6\nFAILED\ntotal 5\n"), done.stderr + node.text())

    def test_programs_of_ones_own_ask_it(self):
        node = self.node([tally(), "{name: early_read, library: FOLDER/early_read.so, actors: e}"], beside=["early_read.so"],
                         more="node: {name: a, shares: \"tally, early_read\"}\n"
                              "links:\n  - {name: near, uri: \"shm://FOLDER/link.sock\", listen: true, nodes: caller}\n"
                              "  - {name: keyed, uri: \"zmq+ipc://FOLDER/link.ipc\", listen: true, nodes: other}\n")
        self.call(node, "caller", f"shm://{node.folder}/link.sock", "a", "t")
        self.assertEqual(node.ask("tally", "t", "add", n=1), {"total": 6})
        data = os.path.join(node.folder, "other")  # keys change hands, as between nodes
        subprocess.run([os.path.join(BIN, "example_two_nodes"), "keys", data], check=True, timeout=WAIT_S, stderr=subprocess.DEVNULL, env=CLEAN)
        node.ok("key", "allow", "other", os.path.join(data, "keys", "server.pub"))
        shutil.copy(os.path.join(node.data, "keys", "server.pub"), os.path.join(data, "keys", "a.pub"))
        self.call(node, "other", f"zmq+ipc://{node.folder}/link.ipc", "a", "u", data)
        self.assertEqual(node.close(), 0)

    def test_what_one_does_is_its_supervisors_problem(self):
        deeds = {"crash": "isolate: crashed", "hang": "isolate: a turn took too long", "memory": "isolate: above its memory",
                 "open": "isolate: a system call that it may not make", "fork": "isolate: a system call that it may not make",
                 "noise": "isolate: noise on its socket", "exit": "isolate: its process ended", "fail": "isolate: its turn failed",
                 "normal": "normal"}
        node = self.node([helper(), tally(),
                     odd(", turn: 2s, memory: 64MiB, restarts: 1000, backoff: 1ms, backoff_max: 1ms")])
        for total, (deed, why) in enumerate(deeds.items(), 1):
            row = node.serves("odd/o", total - 1)
            said = node.run("plugin", "ask", "odd", "o", "misdo", json.dumps({"what": deed}))
            if said[0]:  # as it was found; a turn of `normal` may be answered
                self.assertEqual(said[2], f"it has ended: {why}")
            self.assertTrue(said[0] or deed in ("normal", "exit", "noise"), (deed, said))
            ended = node.serves("odd/o", total)
            self.assertEqual((ended["last_why"], ended["ends"]), (why, total))
            self.assertNotEqual(ended["process"]["pid"], row["process"]["pid"])
            self.assertFalse(lives(row["process"]["pid"]))
            self.assert_others_serve(node, total)
        self.assertEqual(node.close(), 0)

    def test_a_constructor_reads_nothing_of_the_node(self):
        node = self.node(["{name: early_read, library: FOLDER/early_read.so, actors: e}"], beside=["early_read.so"])
        self.assertTrue(os.path.getsize(os.path.join(node.data, "keys", "server.key")))
        os.kill(node.serves("early_read/e")["process"]["pid"], signal.SIGKILL)
        node.serves("early_read/e", 1)  # it was loaded when the node had all that a node has
        found = {}
        while True:
            row = node.ask("early_read", "e", "look", n=len(found))
            if not row["path"]:
                break
            found[row["path"]] = (row["error"], row["size_bytes"], row["bytes"])
        for path in (os.path.join(node.data, "keys", "server.key"), node.settings, f"/proc/{node.process.pid}/mem",
                     f"/proc/{node.process.pid}/environ", "/etc/passwd"):
            self.assertTrue(os.path.exists(path))
            self.assertIn(found[path], ((errno.EACCES, 0, 0), (errno.EPERM, 0, 0)), path)
        read = {path for path, (_, size_bytes, _) in found.items() if size_bytes}
        self.assertEqual(read, {os.path.join(node.folder, "early_read.so"), "/etc/ld.so.cache"})
        self.assertEqual(node.ask("early_read", "e", "sum", text="123456789", n=27)["crc"], 0xcbf43926)
        self.assertEqual(node.close(), 0)

    def test_one_asks_another(self):
        node = self.node([helper(), tally(), odd(", restarts: 5, backoff: 1ms")])
        node.ask("odd", "o", "ask", n=21)
        wait_until(lambda: node.ask("odd", "o", "add")["doubled"] == 42, "no answer came")
        self.assertEqual(node.fails("odd", "o", "refuse"), "it answers RANGE")
        node.ask("odd", "o", "notes", n=10)
        wait_until(lambda: node.ask("helper", "h", "look") == {"notes": 10, "sum": 45}, "no notes came")
        self.assertEqual(node.close(), 0)

    def test_a_flood_is_bounded(self):
        node = self.node([helper(), tally(), odd()])
        node.run("plugin", "ask", "odd", "o", "misdo", '{"what": "flood"}')
        for total in range(1, 21):
            self.assert_others_serve(node, total)
        self.assertLessEqual(node.ok("actor", "odd/o")["actor"]["queued"], 1024)
        self.assertEqual(node.close(), 0)

    def test_it_is_given_up_and_begun_anew(self):
        node = self.node([helper(), tally(), odd(", restarts: 3, per: 1h, backoff: 1ms, backoff_max: 5ms")])
        for ends in range(4):
            node.serves("odd/o", ends)
            node.run("plugin", "ask", "odd", "o", "misdo", '{"what": "crash"}')
        row = node.gone("odd/o")
        self.assertEqual((row["ends"], row["last_why"], row["process"]), (4, "isolate: crashed", None))
        self.assertIn("plugin start odd", row["note"])
        self.assertTrue(row["ended_ns"])
        self.assertIn("no actor", node.fails("odd", "o", "add", n=1))
        self.assertIn('"plugin_given_up"', node.text())
        self.assert_others_serve(node, 1)
        self.assertEqual(node.ok("plugin", "start", "odd")["plugin"]["started"], 1)
        node.serves("odd/o")
        self.assertEqual(node.ask("odd", "o", "add", n=2)["sum"], 2)
        self.assertEqual(node.close(), 0)

    def test_what_cannot_be_had_is_refused_and_the_node_comes_up(self):
        stuck, sourced = (os.path.join(PLUGINS, name + ".so") for name in ("stuck", "sourced"))
        node = self.node([f"{{name: stuck, library: {stuck}, start: 500ms}}", f"{{name: sourced, library: {sourced}}}",
                     tally().replace("name: tally", "name: tilly"), "{name: nowhere, library: /nowhere.so}",
                     "{name: rotten, library: /etc/passwd}", tally(", peers: \"nobody/n\"")])
        rows = {row["actor"]: row for row in node.ok("plugins")["plugins"]}
        for name, why in {"stuck": "TIMEOUT", "sourced": "its kind is event-sourced", "tilly": "the kind of its library is tally",
                          "nowhere": "NOT_FOUND: /nowhere.so: No such file", "rotten": "FAILED: /etc/passwd: ",
                          "tally": "there is no such kind here"}.items():
            self.assertEqual(rows[name]["status"], "refused")
            self.assertIn(why, rows[name]["last_why"])
            self.assertIn(why, node.ok("plugin", name)["plugin"]["refused"])
        self.assertIn("refused when the node came up", node.run("plugin", "start", "stuck")[2])
        self.assertEqual(node.close(), 0)

    def test_its_actors_start_with_the_args_of_the_settings(self):
        node = self.node([helper(), tally(), odd(", restarts: 1000, backoff: 1ms, backoff_max: 1ms, args: '{\"sum\": 40}'")])
        self.assertEqual(node.ask("odd", "o", "add", n=2)["sum"], 42)
        node.run("plugin", "ask", "odd", "o", "misdo", '{"what": "crash"}')
        node.serves("odd/o", 1)
        self.assertEqual(node.ask("odd", "o", "add", n=1)["sum"], 41)  # anew, with the same
        self.assertEqual(node.close(), 0)

    def test_args_that_it_cannot_have_are_refused_by_name(self):
        for args, why in {'{"some": 1}': "INVALID: odd.args has no field 'some'", '{"sum": -1}': "RANGE", '{"sum": "much"}': "INVALID"}.items():
            node = self.node([helper(), odd(f", args: '{args}'")])
            row = next(row for row in node.ok("plugins")["plugins"] if row["actor"] == "odd")
            self.assertEqual(row["status"], "refused")
            self.assertIn(why, row["last_why"])
            self.assertIn("args", row["last_why"])
            self.assertIn('"plugin_refused"', node.text())
            self.assertEqual(node.close(), 0)
        node = self.node([helper(), tally(", args: '{}'")])
        self.assertIn("the kind tally takes none", next(row for row in node.ok("plugins")["plugins"] if row["actor"] == "tally")["last_why"])
        self.assertEqual(node.close(), 0)

    def test_a_killed_node_leaves_no_child(self):
        node = self.node([helper(), tally(), odd(", turn: 10m")])
        for name in ("tally/t", "tally/u"):
            node.serves(name)
        hung = node.serves("odd/o")["process"]["pid"]
        pids = node.pids()
        self.assertEqual(len(pids), 4)
        used = ticks(hung)

        def hangs():
            """What was asked too late for its deadline is asked again."""
            node.run("--timeout", "1000", "plugin", "ask", "odd", "o", "misdo", '{"what": "hang"}')
            return ticks(hung) > used + 5
        wait_until(hangs, "it does not hang")
        node.process.kill()
        node.process.wait(WAIT_S)
        wait_until(lambda: not [pid for pid in pids if lives(pid)], "children are left")
        node.close()

    def test_settings_are_checked_with_lines(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "s.yaml")

            def check(rows):
                with open(path, "w") as out:
                    out.write(BASE.lstrip() + "plugins:\n" + "".join(f"  - {row}\n" for row in rows))
                done = subprocess.run([STOAD, "--check", path], capture_output=True, text=True, env=CLEAN)
                return done.returncode, done.stderr
            self.assertEqual(check([tally()])[0], 0)
            self.assertEqual(check([tally(), "{name: nowhere, library: /nowhere.so}"]),
                             (2, f"{path}:7: plugins[1].library: /nowhere.so: No such file or directory\n"))
            code, said = check([tally(", memory: 1KiB"), tally(", turn: soon, restart: often")])
            self.assertEqual(code, 2)
            for line in ("s.yaml:6: plugins[0].memory:", "s.yaml:7: plugins[1].turn:", "s.yaml:7: plugins[1].restart:"):
                self.assertIn(line, said)
            code, said = check([tally(), odd(", args: '{\"sum\": 4'"), odd(", args: \"[1]\"").replace("name: odd", "name: even")])
            self.assertEqual(code, 2)
            for line in ("s.yaml:7: plugins[1].args: no JSON object: {\"sum\": 4", "s.yaml:8: plugins[2].args: no JSON object: [1]"):
                self.assertIn(line, said)
            code, said = check([tally() + "\nclients:\n  - {name: c, plugins: \"tally, none\"}"])
            self.assertEqual((code, "there is no plug-in 'none'" in said, "'tally'" in said), (2, True, False))
            code, said = check([tally(), "{name: tally, library: /nowhere.so, actors: \"a, a, b/c\"}",
                                "{name: 9lives, library: /bin/true, peers: nobody, hears: \"a..b, >.a\", core: 7, backoff: 1h}"])
            self.assertEqual(code, 2)
            for line in ("s.yaml:7: plugins[1].name: tally is there twice", "s.yaml:7: plugins[1].library: /nowhere.so: No such file", "actors: a is there twice",
                         "'b/c' is not a key", "9lives: a kind's name", "'nobody' is not the name of an actor",
                         "'a..b' is not a pattern", "'>.a' is not a pattern", "s.yaml:8: plugins[2].core: 7, and node.cores is", "s.yaml:8: plugins[2].backoff: it is above"):
                self.assertIn(line, said)


if __name__ == "__main__":
    unittest.main(verbosity=2)
