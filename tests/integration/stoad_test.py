"""stoad_test.py - goal: the node's own face: flags, settings and their faults, health, metrics, drain, restart with the same
state, the recorded day. Method: a real stoad, asked from outside.

SPDX-License-Identifier: Apache-2.0
"""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

SOURCE, BIN = os.environ["STOA_SOURCE"], os.environ["STOA_BIN"]
STOAD = os.path.join(BIN, "stoad")
WAIT_S = 90  # for what takes a moment on an idle machine
CAPTURE = os.path.join(os.environ.get("STOA_DATA", os.path.join(SOURCE, "..", "shared", "data")), "binance_spot_btcusdt_20240808.gz")


def run(*args, env=None):
    return subprocess.run([STOAD, *args], capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **(env or {})})


def get(port, path, host="127.0.0.1"):
    try:
        with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=WAIT_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Node:
    started = []

    def __init__(self, folder, *args):
        self.log_path = os.path.join(folder, "log")
        with open(self.log_path, "ab") as log:
            self.offset = log.tell()
            self.process = subprocess.Popen(
                [STOAD, "--data", os.path.join(folder, "data"), "--http.port=0",
                 "--gateway.listen=zmq+ipc://" + os.path.join(folder, "gw.sock"), *args],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        Node.started.append(self.process)
        self.port = int(self.wait_for("http_listens")["port"])
        self.wait_for("ready")

    def lines(self):
        with open(self.log_path) as log:
            log.seek(self.offset)
            return [json.loads(line) for line in log.read().splitlines() if line.strip()]

    def wait_for(self, event):
        until = time.monotonic() + WAIT_S
        while self.process.poll() is None and time.monotonic() < until:
            for line in self.lines():
                if line.get("event") == event:
                    return line
            time.sleep(0.02)
        raise AssertionError(f"no {event}: {open(self.log_path).read()[-3000:]}")

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(WAIT_S)


BAD_NAMES = """
symbols:
  - {name: A B, base: A, quote: B, tick: 0.01, lot: 0.01, qty_min: 1, qty_max: 2}
  - {name: C, base: A, quote: A, tick: 0.01, lot: 0.01, qty_min: 1, qty_max: 2}
accounts:
  - {name: w, shard: archive, funds: "1 A"}
  - {name: t}
clients: [{name: ../x}, {name: server}]
rooms: [{name: a/b}, {name: lobby}, {name: lobby}]
quoters:
  - {name: q, account: t, symbol: C, qty: 1, half_spread: 1, requote: 1, inventory_max: 1}
  - {name: q, account: t, symbol: C, qty: 1, half_spread: 1, requote: 1, inventory_max: 1}
"""


def flags_and_settings(folder):
    assert run("--version").stdout.startswith("stoad ")
    usage = run("--help").stdout
    assert "--gateway.listen" in usage and "--replay FILE" in usage
    assert run("--nonsense").returncode == 2
    assert run("--config").returncode == 2
    assert run("--config", os.path.join(folder, "none.yaml")).returncode == 2
    assert "no such file" in run("--check", os.path.join(folder, "none.yaml")).stderr
    data = os.path.join(folder, "untouched")
    for args, said in ((("--live", "foo"), "there is no venue 'foo'; there are: binance"),
                       (("--replay", os.path.join(folder, "none.gz") + "@max"), "No such file")):
        done = run("--data", data, "--http.port=-1", "--gateway.listen=", *args)
        assert done.returncode == 2 and said in done.stderr and not os.path.exists(data), done
    for args, said in ((("--plan",), "--plan goes with"), (("--into", "x"), "goes with --restore"), (("--until", "3"), "goes with --restore"),
                       (("--exit",), "goes with --replay"), (("--backup", "a", "--restore", "b"), "at a time"),
                       (("--node.cores", "2"), "--node.cores=VALUE"), (("--dump-docs", "x"), "config errors kinds protocol\n")):
        done = run("--data", data, *args)
        assert done.returncode == 2 and said in done.stderr and not os.path.exists(data), done
    bad = os.path.join(folder, "bad.yaml")
    with open(bad, "w") as out:
        out.write("node:\n  cores: 99\n  nmae: x\nhttp: {port: high}\nsymbols:\n"
                  "  - {name: X, base: A, quote: B, tick: 0.01, lot: 0.0000001, qty_min: 1, qty_max: 2}\n")
    done = run("--check", bad)
    assert done.returncode == 2, done
    for part in ("bad.yaml:2", "node.cores", "bad.yaml:3", "nmae", "bad.yaml:4", "http.port"):
        assert part in done.stderr, (part, done.stderr)
    with open(bad, "w") as out:
        out.write(BAD_NAMES)
    done = run("--check", bad)
    assert done.returncode == 2, done
    for part in (":3: symbols[0].name: 'A B'", ":4: symbols[1].quote: base and quote are the same", ":8: clients[0].name: '../x'", ":9: rooms[0].name: 'a/b'",
                 ":9: rooms[2].name: lobby is there twice", ":12: quoters[1].name: q is there twice", ":6: accounts[0].shard: 'archive' cannot",
                 ":6: accounts[0].funds: funds come from an issuer", ":8: clients[1].name: server"):
        assert f"bad.yaml{part}" in done.stderr, (part, done.stderr)
    with open(bad, "w") as out:
        out.write("accounts: [{name: a, issuer: true}, {name: b, issuer: true}]\nmarket: {source: replay}\ncores: [{idle: eco}, {idle: eco}]\nnode: {cores: 1}\n"
                  "quoters:\n  - {name: q, account: b, symbol: Z, qty: 1, half_spread: 1, requote: 1, inventory_max: 1}\n"
                  "  - {name: r, account: c, symbol: Z, qty: 1, half_spread: 1, requote: 1, inventory_max: 1}\n"
                  "symbols:\n  - {name: X, base: A, quote: B, tick: 0.01, lot: 0.1, qty_min: 0.15, qty_max: 0.1}\n"
                  "retention:\n  orders:\n    hot: 2h\n    warm: 1h\nprojection: {schema: 1x}\n")
    said = run("--check", bad).stderr
    for part in (":1: accounts[1].issuer: there is one: a", ":2: market.file: a replay needs one", ":3: cores: 2 are described",
                 ":6: quoters[0].symbol: there is no symbol 'Z'", ":7: quoters[1].account: there is no account 'c'",
                 ":9: symbols[0].qty_min: it must be whole lots", ":9: symbols[0].qty_max: it is below qty_min",
                 ":13: retention.orders.warm: it is shorter than retention.orders.hot", ":14: projection.schema: '1x' must be"):
        assert f"bad.yaml{part}" in said, (part, said)
    with open(bad, "w") as out:
        out.write("accounts:\n" + "".join(f"  - {{name: a{i}, shard: s{i}}}\n" for i in range(9)))
    said = run("--check", bad, "--market.source=replay", env={"STOA_RETENTION_CHAT_WARM": "1s"}).stderr
    for part in ("bad.yaml:10: accounts[8].shard: more than 8 shards", "--market.source: market.file: a replay",
                 "STOA_RETENTION_CHAT_WARM: retention.chat.warm: it is shorter"):
        assert part in said, (part, said)
    good = os.path.join(folder, "good.yaml")
    printed = run("--print-config", env={"STOA_NODE_NAME": "from-environment"}).stdout
    assert "from-environment" in printed
    with open(good, "w") as out:
        out.write(printed)
    assert run("--check", good).returncode == 0, run("--check", good).stderr
    assert "from-flag" in run("--config", good, "--node.name=from-flag", "--print-config", env={"STOA_NODE_NAME": "y"}).stdout


def health_and_metrics(folder):
    node = Node(folder)
    assert get(node.port, "/healthz") == (200, "ok\n")
    assert get(node.port, "/readyz") == (200, "ready\n")
    assert get(node.port, "/nothing")[0] == 404
    status, text = get(node.port, "/metrics")
    assert status == 200
    if shutil.which("promtool"):
        checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked
    assert re.search(r'stoa_shard_committed_position\{shard="trade"\} [1-9]', text), text[:2000]
    second = run("--data", os.path.join(folder, "data"), "--http.port=-1", "--gateway.listen=")
    assert second.returncode == 1 and "DENIED" in second.stderr, second  # the journal is another node's
    for host, port, said in (("127.0.0.1", node.port, "Address already in use"), ("192.0.2.1", 0, "Cannot assign")):
        other = run("--data", os.path.join(folder, "other"), f"--http.host={host}", f"--http.port={port}", "--gateway.listen=")
        assert other.returncode == 1 and said in other.stderr and "see --http" in other.stderr, other
    assert node.stop(signal.SIGHUP) == 0, open(node.log_path).read()[-2000:]  # its terminal went: in order, too
    assert all("event" in line and "time" in line for line in node.lines())


def listens_at(process):
    """The kernel's word: HOST:PORT of each socket that a process listens on over TCP."""
    own, found = set(), set()
    for fd in os.listdir(f"/proc/{process.pid}/fd"):
        try:
            own.add(os.readlink(f"/proc/{process.pid}/fd/{fd}"))
        except FileNotFoundError:
            continue
    for table, family, width in (("tcp", socket.AF_INET, 8), ("tcp6", socket.AF_INET6, 32)):
        try:
            with open(f"/proc/{process.pid}/net/{table}") as lines:
                rows = [line.split() for line in lines][1:]
        except FileNotFoundError:
            continue
        for row in rows:
            if row[3] != "0A" or f"socket:[{row[9]}]" not in own:
                continue
            host, port = row[1].split(":")
            words = [bytes.fromhex(host[at:at + 8])[::-1] for at in range(0, width, 8)]
            found.add((socket.inet_ntop(family, b"".join(words)), int(port, 16)))
    return found


def http_listens_where_it_is_told(folder):
    hosts = [("127.0.0.1", {"127.0.0.1"}), ("127.0.0.2", {"127.0.0.2"}), ("localhost", {"127.0.0.1", "::1"}), ("0.0.0.0", {"0.0.0.0"})]
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        hosts.append(("::1", {"::1"}))
    for host, allowed in hosts:
        node = Node(folder, "--http.host=" + host)
        listens = listens_at(node.process)
        assert len(listens) == 1, (host, listens)
        bound, port = listens.pop()
        assert bound in allowed and port == node.port, (host, bound, port, node.port)
        address = node.wait_for("http_listens")["address"]
        assert address == (f"[{bound}]:{port}" if ":" in bound else f"{bound}:{port}"), address
        assert get(port, "/healthz", address.rsplit(":", 1)[0].replace("0.0.0.0", "127.0.0.1")) == (200, "ok\n")
        assert node.stop() == 0
    for host in ("no-such-host.invalid", "lo", "127.0.0.256"):  # nobody's name, an interface's, no address
        refused = run("--data", os.path.join(folder, "other"), "--http.host=" + host, "--http.port=0", "--gateway.listen=")
        assert refused.returncode == 1 and f"'{host}'" in refused.stderr and "see --http.host" in refused.stderr, refused


def more_connections_than_it_takes(folder):
    node = Node(folder)
    many = [socket.create_connection(("127.0.0.1", node.port), timeout=WAIT_S) for _ in range(100)]
    assert any(connection.recv(1) == b"" for connection in many[64:]), "none is refused"
    for connection in many:
        connection.close()
    until = time.monotonic() + WAIT_S
    while True:
        with contextlib.suppress(OSError):
            assert get(node.port, "/healthz")[0] == 200
            break
        assert time.monotonic() < until, "nobody is let in any more"
    assert node.stop() == 0


def committed(node):
    return int(re.search(r'stoa_shard_committed_position\{shard="trade"\} (\d+)', get(node.port, "/metrics")[1]).group(1))


def kill_and_restart(folder):
    node = Node(folder)
    before, until = 0, time.monotonic() + WAIT_S
    while before <= 10 and time.monotonic() < until:
        time.sleep(0.1)
        before = committed(node)
    node.stop(signal.SIGKILL)
    node = Node(folder, "--market.source=none")
    recovered = int(next(line for line in node.lines() if line.get("shard") == "trade")["events"])
    assert recovered >= before > 10, (recovered, before)
    assert node.stop() == 0


ACCOUNTS = """
symbols:
  - {name: BTCUSDT, base: BTC, quote: USDT, tick: 0.01, lot: 0.00001, qty_min: 0.00001, qty_max: 100}
market: {source: none}
accounts:
"""


def free_of(folder, account):
    """What the account has free, as the REPL tells it."""
    done = subprocess.run([os.path.join(BIN, "stoa"), "--data", os.path.join(folder, "data"), "-o", "json", "--eval",
                           f"actor trade_account/{account}"], capture_output=True, text=True, timeout=WAIT_S, check=True)
    return re.search(r'"free":"([0-9.]+)"', done.stdout).group(1)


def funds_are_given_once(folder):
    config = os.path.join(folder, "stoa.yaml")
    for rows, warned in ((["{name: treasury, issuer: true}", "{name: alice, funds: 1000 USDT}"], False),
                         (["{name: treasury, issuer: true}", "{name: carol}", "{name: alice, funds: 1000 USDT}"], False),
                         (["{name: treasury, issuer: true}", "{name: alice, funds: 1500 USDT}"], True)):
        with open(config, "w") as out:
            out.write(ACCOUNTS + "".join(f"  - {row}\n" for row in rows))
        node = Node(folder, "--config", config)
        assert free_of(folder, "alice") == "1000", rows
        assert any(line.get("event") == "funds_given_before" for line in node.lines()) == warned
        assert node.stop() == 0


def recorded_day(folder):
    if not os.path.exists(CAPTURE):
        print(f"skipped: the recorded day is not here ({CAPTURE})")
        return
    done = run("--data", os.path.join(folder, "replay"), "--http.port=-1", "--gateway.listen=", "--replay", CAPTURE + "@max", "--exit")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    expected = {"diffs_applied": 3449, "gaps": 0, "resyncs": 0, "last_update_id": 50093421584, "best_bid": "61685.99",
                "best_ask": "61686.00", "trades": 9757}
    assert {key: result[key] for key in expected} == expected, result
    assert result["events_per_s"] > 0


def main():
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # who runs this may have it ignored, and children inherit that
    for case in (flags_and_settings, health_and_metrics, http_listens_where_it_is_told, more_connections_than_it_takes, kill_and_restart,
                 funds_are_given_once, recorded_day):
        folder = tempfile.mkdtemp(prefix="stoa-node-")
        try:
            case(folder)
            print(f"ok {case.__name__}", flush=True)
        finally:
            for process in Node.started:
                process.kill()
                process.wait()
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
