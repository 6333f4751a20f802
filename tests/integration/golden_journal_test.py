"""golden_journal_test.py - goal: the data folder that an earlier build left is opened, replayed to the state that it had, and read. Method:
tests/golden/journals/NAME.tar.xz is such a folder, of shipped kinds: a log that was purged behind a snapshot, the segments of its archive,
mail between shards; NAME.json says what its build said of it. This build's node starts on a copy.

    golden_journal_test.py NAME [sealed]     makes one more, by the build at hand; sealed: with a key, which goes along, and without the
                                             snapshots, so that it is read through its archive from its first event on

One is added with each release, and with each change of a stored format: of blocks, segments, manifests, snapshots, sealing, commit marks.
None is ever replaced or edited: what is in it was shipped. The hash of a state is that of its bytes; where the layout of a state changes on
purpose (state_version in runtime/actor.h) this test fails with the new hash, and STOA_UPDATE=1 adds that to "hashes", behind the others. What
the states read (states, explain) has to stay as it is; fields may come.

SPDX-License-Identifier: Apache-2.0
"""
import glob
import json
import os
import sys
import tarfile
import unittest

from archive_node import Archive, main, run

GOLDEN = os.path.join(os.environ["STOA_SOURCE"], "tests", "golden", "journals")
KEY = "STOA_STORAGE_KEY_FILE"
# settings that the folder was made and is opened with; a node's keys are made anew where there are none
CONFIG = """
symbols:
  - {name: BTCUSDT, base: BTC, quote: USDT, tick: 0.01, lot: 0.00001, qty_min: 0.00001, qty_max: 100}
accounts:
  - {name: treasury, issuer: true}
  - {name: maker, funds: "100000000 USDT, 1000 BTC"}
  - {name: alice, funds: "100000000 USDT, 1000 BTC"}
  - {name: bob, funds: "100000000 USDT, 1000 BTC"}
  - {name: purse, shard: w1, funds: "700 USDT, 3 BTC"}
clients:
  - {name: alice, accounts: "alice"}
  - {name: bob, accounts: "bob"}
rooms:
  - {name: lobby}
  - {name: annex}
market: {source: sim, interval: 50ms}
quoters:
  - {name: q, account: maker, symbol: BTCUSDT, qty: 0.01, half_spread: 5, requote: 1, inventory_max: 1}
"""
MAKING = """
archive: {interval: 100ms, segment: 4KiB}
retention: {orders: {hot: 1s, warm: 3s}, trades: {hot: 1s, warm: 3s}, chat: {hot: 1s, warm: 3s}}
snapshot: {every_events: 1000000, every: 1h}
"""
READING = """
archive: {interval: 24h}
"""
SHARD_OF = {"trade_book/BTCUSDT": "trade", "risk/main": "trade", "trade_account/treasury": "trade", "trade_account/maker": "trade",
            "trade_account/alice": "trade", "trade_account/bob": "trade", "strategy_quoter/q": "trade", "trade_account/purse": "w1",
            "room/lobby": "room", "room/annex": "room"}
AT = ("actor", "position", "events", "last_position", "last_at_ns")
STEP = ("position", "at_ns", "actor", "event")
LEFT_OUT = {"keys", "flight", "node.lock", "admin.sock"}


def holds(now, then):
    """All that was said then is said now; a field may have come to a record."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(key in now and holds(now[key], value) for key, value in then.items())
    if isinstance(then, list):
        return isinstance(now, list) and len(now) == len(then) and all(map(holds, now, then))
    return now == then


class Golden(Archive):
    def said(self, node, positions, order):
        """What a build says of a folder, at positions that it is known by."""
        states = {}
        for actor, shard in SHARD_OF.items():
            shown = self.ask(node, "state", actor, "--at", str(positions[shard]), write=False)
            states[actor] = {"at": {key: shown["at"][key] for key in AT if key in shown["at"]}, "state": shown["state"]}
        steps = self.ask(node, "explain", "order", str(order), write=False)["steps"]
        history = json.loads(json.dumps(self.client(node, "alice").history("lobby", 3, 8, deadline=60), default=str))
        return {"states": states, "explain": [{key: step[key] for key in STEP} for step in steps], "history": history}

    def look_at(self, path):
        name = os.path.basename(path)[:-len(".json")]
        with open(path, encoding="utf-8") as file:
            golden = json.load(file)
        folder = os.path.join(self.folder, name)
        with tarfile.open(path[:-len("json")] + "tar.xz") as tar:
            tar.extractall(folder)
        if os.path.exists(os.path.join(folder, "key")):
            os.environ[KEY] = os.path.join(folder, "key")
        imaged = os.path.exists(os.path.join(folder, "data", "trade", "side"))
        node = self.start(os.path.join(folder, "data"), READING, config=CONFIG)
        for shard, then in golden["shards"].items():
            journal = self.ask(node, "journal", shard, write=False)["journal"]
            self.assertEqual(journal["readable"], 1, (name, shard, journal))
            self.assertGreaterEqual(journal["first"], then["first"], (name, shard, journal))
            self.assertGreaterEqual(journal["last"], then["position"], (name, shard))
            self.ask(node, "journal", "verify", shard, write=False)
            now = self.hash(node, shard, then["position"])
            if now != then["hashes"][-1] and os.environ.get("STOA_UPDATE"):
                then["hashes"].append(now)
            self.assertEqual(now, then["hashes"][-1], (name, shard))
            self.assertTrue(self.ask(node, "hash", shard)["hash"]["equal"], (name, shard))
        now = self.said(node, {shard: then["position"] for shard, then in golden["shards"].items()}, golden["order"])
        for actor, then in golden["states"].items():
            self.assertTrue(holds(now["states"][actor], then), (name, then, now["states"][actor]))
        self.assertEqual(now["explain"], golden["explain"], name)
        self.assertTrue(holds(now["history"], golden["history"]), (name, now["history"]))
        trade = golden["shards"]["trade"]
        if imaged and len(trade["hashes"]) == 1:  # of the layout that the stored snapshot has, too
            self.assertGreater(self.ask(node, "state", "risk/main", "--at", str(trade["position"]), write=False)["at"]["snapshot"], 0)
        self.number = 1000000
        self.order(self.client(node, "alice"), "alice")  # and it works on
        self.assertEqual(node.stop(), 0)
        os.environ.pop(KEY, None)
        if os.environ.get("STOA_UPDATE"):
            write(path, golden)

    def test_what_earlier_builds_left_is_opened_replayed_and_read(self):
        found = sorted(glob.glob(os.path.join(GOLDEN, "*.json")))
        self.assertGreater(len(found), 0)
        for path in found:
            with self.subTest(os.path.basename(path)):
                self.look_at(path)


def write(path, golden):
    with open(path, "w", encoding="utf-8") as out:
        json.dump(golden, out, indent=1, ensure_ascii=False)
        out.write("\n")


# --- making one


class Making(Golden):
    name, sealed = "", False

    def trade(self, alice, bob, begin, times):
        """Orders that rest, that trade in part and whole, that are cancelled; things said. The last order that traded."""
        for i in range(begin, begin + times):
            price = str(40000 + 10 * (i % 7))
            order = self.order(alice, "alice", price=price, qty="0.004")["order_id"]
            self.order(bob, "bob", price=price, qty="0.003" if i % 2 else "0.004", side="sell")
            if i % 3 == 0:
                high = self.order(bob, "bob", price="90000", qty="0.1", side="sell")["order_id"]
                bob.cancel("bob", order_id=high, deadline=60)
            alice.post(("lobby", "annex")[i % 2], i, f"number {i}: \u20ac {price}", deadline=60)
        return order

    def making(self):
        if self.sealed:
            os.environ[KEY] = os.path.join(self.folder, "key")
            run("stoad", "--new-key", os.environ[KEY])
        node = self.start(settings=MAKING, config=CONFIG)
        alice, bob = (self.client(node, name) for name in ("alice", "bob"))
        for room in ("lobby", "annex"):
            alice.join(room, 60)
        self.trade(alice, bob, 1, 30)
        for shard in ("trade", "room", "w1"):
            self.ask(node, "snapshot", shard)
        self.purged(node, 1)
        order = self.trade(alice, bob, 31, 20)
        shards = {shard: {"position": position, "first": self.shown(node, shard)["log_first"], "hashes": [self.hash(node, shard, position)]}
                  for shard, position in self.positions(node).items()}
        golden = {"build": run("stoad", "--version").stdout.strip(), "order": order, "shards": shards}
        golden.update(self.said(node, {shard: then["position"] for shard, then in shards.items()}, order))
        self.assertEqual(node.stop(), 0)
        os.makedirs(GOLDEN, exist_ok=True)
        with tarfile.open(os.path.join(GOLDEN, self.name + ".tar.xz"), "x:xz") as tar:
            for path in sorted(os.listdir(node.path("data"))):
                if path not in LEFT_OUT:
                    tar.add(os.path.join(node.path("data"), path), os.path.join("data", path), filter=nobody if not self.sealed else bare)
            if self.sealed:
                tar.add(os.environ[KEY], "key", filter=nobody)
        write(os.path.join(GOLDEN, self.name + ".json"), golden)


def nobody(entry):
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def bare(entry):
    """Snapshots that are sealed cannot be packed: some MiB."""
    return None if os.path.basename(entry.name) == "side" else nobody(entry)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Making.name, Making.sealed = sys.argv[1], sys.argv[2:] == ["sealed"]
        sys.exit(not unittest.TextTestRunner().run(Making("making")).wasSuccessful())
    del Making
    main()
