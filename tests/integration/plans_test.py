"""plans_test.py - goal: every command that destroys or replaces something says with --plan what it would do, to who may only read, and does
nothing; without it, it is refused to who may only read, and does it. A command that writes and is in no table here fails the test.
Method: one table over all of them, on a real node with a forked channel, keys, archives, backups and rows in PostgreSQL; all that the
node shows of itself is compared before and behind each plan.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

from postgres_server import Postgres
from running_node import BIN, Node
from stoa_client import Client

WAIT_S, DENIED = 120, 4

# They write, and destroy nothing: what they change is changed back by themselves.
HARMLESS = {"move", "trace every", "log level", "snapshot", "projection pause", "projection resume", "key new", "key allow", "link",
            "plugin start", "plugin ask"}

# line, what the plan says, what else the doing needs
PLANS = [
    ("drop trade", "would be: [0-9]+ actors begin anew"),
    ("channel restart trade vault return", "would be: the channel begins anew"),
    ("outbox settle trade {effect} failed", "would be: it is pending no more"),
    ("journal reindex trade", "all entries of the index"),
    ("journal rekey", "new blocks are sealed with the new key"),
    ("projection rebuild", "schema stoa_shadow"),
    ("backup {new}", "what is new behind each shard's sealed end"),
    ("restore {old} {into}", "nothing was written"),
    ("archive run", "purge the log below|archives"),
    ("archive hold trade 'case 7'", "nothing is purged, moved or forgotten"),
    ("archive release trade", "what is due is purged"),
    ("key rotate alice", "would be: alice gets in by a new key"),
    ("key rotate server", "would be: the next key is in server.next.pub"),
    ("key revoke bob", "would be: 1 key is revoked"),
]


class Planned:
    def __init__(self, postgres):
        self.postgres = postgres
        self.node = Node()
        self.places = {name: self.node.path(name) for name in ("new", "old", "into")}
        self.keys = self.node.path("keyfile")
        with open(self.node.path("stoa.yaml"), encoding="utf-8") as file:
            text = file.read()
        text = text.replace("clients:", '  - {name: safe, shard: vault, funds: "5000 USDT"}\nclients:')
        text += "archive: {interval: 24h}\nsnapshot: {every: 24h}\n"
        text += f"projection: {{postgres: \"{postgres.conninfo}\"}}\nstorage: {{key_file: {self.keys}}}\n"
        with open(self.node.path("stoa.yaml"), "w", encoding="utf-8") as file:
            file.write(text)
        self.new_key()

    def new_key(self):
        subprocess.run([os.path.join(BIN, "stoad"), "--new-key", self.keys], check=True, capture_output=True, timeout=WAIT_S)

    def run(self, line, *flags):
        return subprocess.run([os.path.join(BIN, "stoa"), "-o", "json", "--data", self.node.path("data"), "--timeout", "60000", *flags,
                               "--eval", line.format(**self.places)],
                              capture_output=True, text=True, timeout=WAIT_S, check=False, stdin=subprocess.DEVNULL)

    def ask(self, line, *flags):
        done = self.run(line, *flags)
        assert done.returncode == 0, (line, done.stdout[-3000:], done.stderr[-3000:], self.node.log())
        return json.loads(done.stdout)

    def forked(self):
        return [c for c in self.ask("channels")["channels"] if c["to"] == "vault" and c["status"] == "forked"]

    def rows(self):
        return {shard["shard"]: shard for shard in self.ask("projection status")["shards"]}

    def level(self):
        """The vault's rows are of the log that was taken away, and say so."""
        shards = self.rows()
        vault = shards.pop("vault")
        return vault["state"] == "stopped" and "STALE" in vault["error"] and are_level(shards)

    def start(self):
        """A node whose channel is forked, with a backup, and nothing under way."""
        self.node.start()
        until(lambda: [c for c in self.ask("channels")["channels"] if c["to"] == "vault" and c["waiting"] == 0 and c["mailed"]])
        keys = os.path.join(self.node.path("data"), "keys")
        client = Client(self.node.endpoint, os.path.join(keys, "server.pub"), os.path.join(keys, "alice"))
        client.wait_ready(60)
        for number in (1, 2, 3):  # an event that journals what was acknowledged
            client.place("alice", number, "BTCUSDT", "buy", "60000", "0.001", deadline=60)
        client.close()
        until(lambda: [c for c in self.ask("channels")["channels"] if c["to"] == "vault" and c["journaled"] == c["mailed"]])
        self.ask("snapshot", "--write")
        self.ask("backup {old}", "--write")  # of a node whose shards agree
        until(lambda: are_level(self.rows()))  # else the rows may know nothing of a vault
        self.node.process.send_signal(signal.SIGTERM)
        assert self.node.process.wait(WAIT_S) == 0
        shutil.rmtree(os.path.join(self.node.path("data"), "vault"))
        os.remove(os.path.join(self.node.path("data"), "shards"))  # on purpose: the node would refuse
        subprocess.run([os.path.join(os.environ["STOA_BUILD"], "tests", "log_writer"), os.path.join(self.node.path("data"), "trade"), "effect"],
                       check=True, capture_output=True, timeout=WAIT_S)
        self.node.start()
        self.places["effect"] = self.ask("outbox trade")["pending"][0]["name"]
        until(self.forked)
        self.new_key()
        until(self.level)

    def shown(self):
        """All that must not change, as the node and the disk show it."""
        journals = []
        for name in ("trade", "room", "vault"):
            journal = self.ask(f"journal {name}")["journal"]
            journals.append({key: journal[key] for key in ("first", "last", "proven", "epoch", "oldest_key", "newest_key", "seals_with")})
        shards = [{key: s[key] for key in ("name", "applied", "committed", "epoch", "actors", "drops") if key in s}
                  for s in self.ask("shards")["shards"]]
        channels = [{key: c[key] for key in ("status", "mailed", "acknowledged", "generation", "cursor")}
                    for c in self.ask("channels")["channels"]]
        archives = [{key: a.get(key) for key in ("hold", "log_first", "first", "sealed", "warm_segments", "cold_segments")}
                    for a in self.ask("archive")["archives"]]
        keys = [{key: k[key] for key in ("name", "standing", "key", "until_ns")} for k in self.ask("key show")["keys"]]
        rows = {key: self.ask("projection status")["projection"][key] for key in ("rebuilds", "rebuild", "paused")}
        schemas = self.postgres.sql("SELECT nspname, oid FROM pg_namespace ORDER BY 1")
        places = {name: sorted(os.listdir(path)) if os.path.isdir(path) else None for name, path in self.places.items() if name != "effect"}
        pending = [effect["name"] for effect in self.ask("outbox")["pending"]]
        snapshots = [s["position"] for s in self.ask("snapshots")["snapshots"]]
        return [keys, journals, shards, channels, archives, rows, schemas, places, pending, snapshots, self.ask("hash trade")["hash"]["replay"]]


def are_level(shards):
    return all(shard["state"] == "live" and shard["behind"] == 0 for shard in shards.values())


def until(look):
    end = time.monotonic() + WAIT_S
    while not (found := look()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
    return found


def check_tables(planned):
    """Every command that may write is in one of the tables above."""
    writing = {c["name"]: c["right"] for c in planned.ask("help")["commands"] if c["right"] != "read"}
    tabled = {name for name in writing if any(line.startswith(name + " ") or line == name for line, _ in PLANS)}
    assert set(writing) == tabled | HARMLESS and not tabled & HARMLESS, set(writing) ^ (tabled | HARMLESS)
    for name in tabled:
        assert "plan" in writing[name], (name, writing[name])


def main():

    postgres = Postgres()
    planned = Planned(postgres)
    try:
        planned.start()
        check_tables(planned)
        for line, says in PLANS:
            before = planned.shown()
            done = planned.run(line + " --plan")
            assert done.returncode == 0 and re.search(says, done.stdout), (line, done.stdout[-2000:], done.stderr[-2000:])
            assert planned.shown() == before, (line, before, planned.shown())
            refused = planned.run(line)
            assert refused.returncode == DENIED, (line, refused.returncode, refused.stdout)
            assert planned.shown() == before, line
        for line, _ in PLANS:
            before = planned.shown()
            planned.ask(line, "--write")
            if line.split()[0] in ("backup", "restore") or "rekey" in line or "hold" in line or "restart" in line or "settle" in line \
                    or line.startswith("key "):
                assert planned.shown() != before, line
        until(lambda: planned.ask("projection status")["projection"]["rebuilds"] == 1)
        planned.node.process.send_signal(signal.SIGTERM)
        assert planned.node.process.wait(WAIT_S) == 0
        print(f"{len(PLANS)} plans said what would be done, and did nothing")
        return 0
    finally:
        planned.node.close()
        shutil.rmtree(planned.node.folder, ignore_errors=True)
        postgres.close()


if __name__ == "__main__":
    sys.exit(main())
