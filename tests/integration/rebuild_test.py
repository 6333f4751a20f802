"""rebuild_test.py - goal: what can be derived from the logs may be lost: with all snapshots, indexes, memories of requests, outboxes
and projections deleted, everything comes back byte for byte; and where a log has lost its beginning, rows come from the archive
or are refused with a sentence that says what to do.

Method: a whole node (tests/chaos/realm.c) with three shards that pay each other, a room, orders of a client that has its requests
remembered, snapshots and rows in a real PostgreSQL. It is stopped, everything derived is deleted, it is started again. Compared
are the state hash of every shard, what each shard remembers itself, all rows of all tables as text; the realm audits itself
besides. The same for a node whose outside effects are pending (tests/effect_node.c). Then a node that purges its logs.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import outbox_test
from postgres_server import Postgres
from projection_test import TABLES, check_against_the_journal, wait_until

BIN, TESTS = os.environ["STOA_BIN"], os.path.join(os.environ["STOA_BUILD"], "tests")
WAIT_S = 120
SHARDS = ("trade", "vault", "fund", "room")
SNAPSHOTS = ["snapshot.every_events=200", "snapshot.every=300ms"]
PURGED = ["archive.interval=100ms", "archive.segment=8KiB", "retention.orders.hot=1s", "retention.orders.warm=3s",
          "retention.trades.hot=1s", "retention.trades.warm=3s",
          "retention.chat.hot=1s", "retention.chat.warm=3s", *SNAPSHOTS]


class Realm:
    """chaos_realm with a projection, and a client that places orders."""

    def __init__(self, server, flags):
        self.folder = tempfile.mkdtemp(prefix="stoa-rebuild-")
        self.data, self.lives, self.process = os.path.join(self.folder, "data"), 0, None
        self.flags = ["projection.postgres=" + server.conninfo, "projection.interval=5ms", *flags]

    def start(self):
        self.lives += 1
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(TESTS, "chaos_realm"), os.path.join(self.folder, "notes"), str(self.lives), "node.data=" + self.data,
                 "gateway.listen=" + self.endpoint, "http.port=-1", "log.level=warn", *self.flags],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout.readline() == "up\n", self.log()

    @property
    def endpoint(self):
        return "zmq+ipc://" + os.path.join(self.folder, "gw")

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()

    def pay(self, seconds):
        """Payments between the shards, orders, and the audit of all of it."""
        self.process.stdin.write("load\n")
        self.process.stdin.flush()
        time.sleep(seconds)
        assert self.ask("stop") == ["stopped"], self.log()
        self.audit()

    def audit(self):
        answer = self.ask("audit")
        assert answer[:1] == ["good"] and int(answer[1]) > 100, (answer, self.log())

    def orders(self, count):
        """Of a client at the gateway, whose requests are remembered. How many were acknowledged."""
        keys = os.path.join(self.data, "keys")
        command = [os.path.join(TESTS, "chaos_orders"), self.endpoint, os.path.join(keys, "server.pub"), os.path.join(keys, "demo"),
                   "BTCUSDT", "1"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as driver:
            driver.stdin.write(f"place {count}\n")
            driver.stdin.flush()
            return json.loads(driver.stdout.readline())["acknowledged"]

    def stoa(self, command, check=True):
        done = subprocess.run([os.path.join(BIN, "stoa"), "--data", self.data, "--write", "-o", "json", "--timeout", "60000", "--eval", command],
                              capture_output=True, text=True, timeout=WAIT_S, check=False)
        assert not check or done.returncode == 0, (command, done.stdout, done.stderr, self.log())
        return json.loads(done.stdout) if done.returncode == 0 else done.stdout + done.stderr if not check else None

    def shards(self):
        return self.stoa("projection status")["shards"]

    def wait_level(self):
        def level():
            shards = self.shards()
            return all(shard["state"] == "live" and shard["behind"] == 0 for shard in shards) and shards
        return wait_until("the rows' being level", level)

    def stop(self):
        self.process.stdin.write("quit\n")
        self.process.stdin.flush()
        assert self.process.wait(WAIT_S) == 0, self.log()

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as log:
            return log.read()[-4000:]

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def dump(server):
    """Every row of every table, as PostgreSQL writes it out; cursors are compared with the logs, which a start may add to."""
    return {table: server.sql(f"SELECT r::text FROM stoa.{table} r ORDER BY 1") for table in TABLES}


def assert_same_rows(before, after):
    for table, rows in before.items():
        assert rows == after[table], (table, len(rows), len(after[table]), [row for row in rows if row not in after[table]][:3])


def hashes(realm, positions):
    """At those positions, from the first event on; live where the shard stands there."""
    found = {}
    for name in SHARDS:
        answer = realm.stoa(f"hash {name} {positions[name]}")["hash"]
        found[name] = answer["replay"]
        assert realm.stoa(f"hash {name}")["hash"]["equal"], name
    return found


def committed(realm):
    return {shard["name"]: shard["committed"] for shard in realm.stoa("shards")["shards"] if shard["name"] in SHARDS}


def memories(realm, positions):
    """What the shards remember themselves: channels, requests, effects."""
    return {name: realm.stoa(f"state {name} --at {positions[name]}")["state"] for name in SHARDS}


def everything_derived_is_deleted():
    server = Postgres()
    realm = Realm(server, SNAPSHOTS)
    try:
        realm.start()
        acknowledged = realm.orders(300)
        realm.pay(1.5)
        realm.wait_level()
        positions = committed(realm)
        assert all(realm.stoa(f"snapshots {name}")["shards"][0]["made"] > 0 for name in ("trade", "vault", "fund"))
        assert any(channel["mailed"] > 100 for channel in realm.stoa("channels")["channels"])
        check_against_the_journal(realm, server, acknowledged)
        before, remembered = hashes(realm, positions), memories(realm, positions)
        rows = dump(server)
        assert int(server.one("SELECT count(*) FROM stoa.orders")) > acknowledged > 0
        realm.stop()

        for name in SHARDS:  # snapshots, and with them the images of what is remembered of requests and effects
            shutil.rmtree(os.path.join(realm.data, name, "side"))
        shutil.rmtree(os.path.join(realm.data, "archive"))
        server.sql("DROP SCHEMA stoa CASCADE")
        realm.start()
        for shard in realm.stoa("shards")["shards"]:
            assert shard["name"] not in SHARDS or (shard["snapshot"] == 0 and shard["recovered"] >= positions[shard["name"]]), shard
        for name in SHARDS:  # empties the index, makes it anew from the log and compares the two
            made = realm.stoa(f"journal reindex {name}")["reindex"]
            assert made["equal"] and made["entries"] == made["before"], made
        realm.audit()
        realm.wait_level()
        assert hashes(realm, positions) == before
        assert memories(realm, positions) == remembered
        assert_same_rows(rows, dump(server))
        check_against_the_journal(realm, server, acknowledged)
        realm.pay(0.3)  # and it goes on
        realm.stop()
        print(f"{sum(positions.values())} events in {len(SHARDS)} shards, {sum(map(len, rows.values()))} rows: all that is derived was deleted and "
              "is the same again", flush=True)
    finally:
        realm.close()
        server.close()


def effects_that_are_pending_are_deleted_too():
    """An outbox is part of the log: without its images the same effects are pending, and are done once."""
    folder, outside = tempfile.mkdtemp(prefix="stoa-rebuild-"), outbox_test.Outside()
    outbox_test.threading.Thread(target=outside.serve_forever, daemon=True).start()
    outside.slow = 0.05
    node = None

    def say(line):
        node.stdin.write(line + "\n")
        node.stdin.flush()
        return node.stdout.readline().split()

    try:
        node = outbox_test.start(folder, outside)
        for number in range(1, 201):
            assert say(str(number)) == ["ok", str(number)]
        _, position, live = say("hash")
        pending = int(say("outbox")[1])
        assert pending > 50, pending
        wait_until("a snapshot", lambda: os.path.exists(os.path.join(folder, "side")))
        node.kill()
        node.wait()
        shutil.rmtree(os.path.join(folder, "side"))
        node = outbox_test.start(folder, outside)
        assert say(f"hash {position}")[2] == live
        outside.slow = 0.0
        wait_until("the end of the outbox", lambda: say("outbox")[1:] == ["0", "200", "0"])
        with outside.lock:
            assert sorted(outside.done.values()) == list(range(1, 201))
        print(f"{pending} effects were pending when everything derived was deleted: each was done once", flush=True)
    finally:
        if node and node.poll() is None:
            node.kill()
            node.wait()
        outside.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def purged(realm):
    """Until the logs of the shards with money have lost their beginning."""
    def gone():
        firsts = {shard["shard"]: shard["log_first"] for shard in realm.stoa("archive")["archives"]}
        return all(firsts[name] > 1 for name in ("trade", "vault", "fund")) and firsts
    return wait_until("the purge", gone)


def rows_of_a_purged_log():
    server = Postgres()
    realm = Realm(server, PURGED)
    archive, aside = os.path.join(realm.data, "archive"), os.path.join(realm.folder, "aside")
    cold, cold_aside = os.path.join(realm.data, "cold"), os.path.join(realm.folder, "cold-aside")
    try:
        realm.start()
        for _ in range(4):
            realm.pay(0.7)
        firsts = purged(realm)
        realm.wait_level()
        rows = dump(server)

        # a rebuild reads the archive, then the log
        rebuilds = realm.stoa("projection status")["projection"]["rebuilds"]
        realm.stoa("projection rebuild")
        wait_until("the rebuild", lambda: realm.stoa("projection status")["projection"]["rebuilds"] == rebuilds + 1)
        realm.wait_level()
        assert_same_rows(rows, dump(server))
        check_against_the_journal(realm, server, 1)
        # so do rows that begin from nothing
        realm.stop()
        server.sql("DROP SCHEMA stoa CASCADE")
        realm.start()
        realm.wait_level()
        assert_same_rows(rows, dump(server))
        realm.stop()

        # without its archive the beginning is nowhere: said, with what to do, and no row is touched
        os.rename(archive, aside)
        os.rename(cold, cold_aside)
        realm.start()
        for command in ("projection rebuild --plan", "projection rebuild"):
            said = realm.stoa(command, check=False)
            assert "GONE" in said and "archive.path" in said, said
        realm.wait_level()
        assert_same_rows(rows, dump(server))
        realm.stop()
        server.sql("DROP SCHEMA stoa CASCADE")
        realm.start()

        def stopped():
            return {shard["shard"]: shard for shard in realm.shards() if shard["state"] == "stopped"}
        wait_until("a refusal of each", lambda: set(stopped()) >= {"trade", "vault", "fund"})
        for shard in stopped().values():
            assert "GONE" in shard["error"] and "archive.path" in shard["error"] and shard["position"] == 0, shard
        assert server.one("SELECT count(*) FROM stoa.balances") == "0"
        realm.stop()

        # put back, it is whole
        for path, back in ((archive, aside), (cold, cold_aside)):
            shutil.rmtree(path)
            os.rename(back, path)
        realm.start()
        realm.wait_level()
        assert_same_rows(rows, dump(server))
        realm.pay(0.3)
        realm.stop()
        print(f"logs that begin at {firsts}: {sum(map(len, rows.values()))} rows from the archive, or refused as GONE", flush=True)
    finally:
        realm.close()
        server.close()


def main():
    for scene in (everything_derived_is_deleted, effects_that_are_pending_are_deleted_too, rows_of_a_purged_log):
        if os.environ.get("STOA_SCENE", scene.__name__) == scene.__name__:
            scene()
            print(f"{scene.__name__}: ok", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
