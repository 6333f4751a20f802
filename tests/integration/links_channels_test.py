"""links_channels_test.py - goal: money reaches accounts of another node by channels between shards, once, whatever happens to the link and
to the nodes. Method: two real nodes over each kind of link that this machine has, both with a shard trade and one of wallets. Each funds
accounts of the other, from a shard that the other has one of the same name of: before the other was ever there, while the connection
is dropped again and again, while the one that pays and the one that is paid are killed with SIGKILL. Then every account has what it was
given, all ledgers of both nodes sum to zero, and a replay of each log gives the live state.

The seed is printed; STOA_SEED repeats its choices (what the machine makes of them is real time, and printed: how many of the kills found
money under way).

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import random
import shutil
import subprocess
import tempfile
import threading
import time
import unittest
from fractions import Fraction

from linked_nodes import OK, WAIT_S, Node, keys_exchange, until
from running_node import BIN, find, free_port

SEED = int(os.environ.get("STOA_SEED", time.time_ns() & 0xFFFFFFFF))
ASSETS = ["USDT", "BTC", "ETH", "EUR"] + [f"X{i}" for i in range(8)]
WAVES, ACCOUNTS = 3, 12  # so many accounts are paid with each
PART = len(ASSETS) * ACCOUNTS

CONFIG = """
node: {name: %(name)s, lost: 1s}
symbols:
  - {name: BTCUSDT, base: BTC, quote: USDT, tick: 0.01, lot: 0.00001, qty_min: 0.00001, qty_max: 100}
accounts:
%(accounts)s
rooms: []
clients: []
market: {source: none}
quoters: []
links:
  - {name: to-%(other)s, uri: "%(uri)s", nodes: %(other)s, listen: %(listen)s, heartbeat: 50ms, silence: 1s}
"""
VAULTS = {"a": "strongroom", "b": "vault"}  # the shard of each one's wallets


class Bank(Node):
    """A node that has accounts of its own and pays those of the other."""

    def __init__(self, folder, name, other, uri, chance):
        super().__init__(folder, name, other, uri, "listen: false", "to-" + other)
        self.other, self.uri, self.chance, self.wave = other, uri, chance, 0
        self.given = {}  # to accounts of the other: name -> asset -> amount

    def next_wave(self):
        """More accounts of the other are funded with the next start."""
        self.wave += 1
        for i in range(ACCOUNTS):
            self.given[f"{self.other}-{self.wave}-{i}"] = {asset: self.chance.randrange(1, 10**11) for asset in ASSETS}
        rows = [f"  - {{name: treasury-{self.name}, issuer: true}}"]
        for wave in range(1, WAVES + 1):
            rows += [f"  - {{name: {self.name}-{wave}-{i}, shard: {VAULTS[self.name]}}}" for i in range(ACCOUNTS)]
        for name, amounts in self.given.items():
            funds = ", ".join(f"{decimal(amount)} {asset}" for asset, amount in amounts.items())
            rows.append(f"  - {{name: {name}, node: {self.other}, shard: {VAULTS[self.other]}, funds: \"{funds}\"}}")
        self.configure("\n".join(rows))

    def configure(self, accounts):
        with open(os.path.join(self.folder, "stoa.yaml"), "w", encoding="utf-8") as out:
            out.write(CONFIG % {"name": self.name, "accounts": accounts, "other": self.other, "uri": self.uri,
                                "listen": "true" if self.name == "a" else "false"})

    def mails(self):
        return self.wave * PART

    def channel(self):
        """To the other's wallets."""
        rows = [row for row in self.ask("channels")["channels"] if row["to"] == f"{VAULTS[self.other]}@{self.other}"]
        assert len(rows) == 1 and rows[0]["from"] == "trade", rows
        return rows[0]

    def has_paid(self):
        row = self.channel()
        assert row["status"] != "forked" and row["returned"] == 0 and row["mailed"] == self.mails(), row
        return row["status"] == "runs" and row["waiting"] == 0

    def balances(self, accounts):
        """Of each, by asset."""
        lines = [word for account in accounts for word in ("--eval", f"actor trade_account/{account} inspect")]
        text = self.ask_text(*lines)
        for _ in accounts:
            state, end = json.JSONDecoder().raw_decode(text)
            text = text[end:].lstrip()
            yield {row["asset"]: {part: units(row[part]) for part in ("free", "reserved", "transit")} for row in find(state, "balances")}

    def ask_text(self, *words):
        done = subprocess.run([os.path.join(BIN, "stoa"), "-o", "json", "--data", self.data, *words], capture_output=True, text=True,
                              timeout=WAIT_S, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == OK, (done.stdout, done.stderr, self.log())
        return done.stdout

    def meets(self, at):
        """Wait until it has met the other since then, and no longer."""
        end = time.monotonic() + WAIT_S
        while '"link_up"' not in self.log(at):
            assert time.monotonic() < end, self.log()[-3000:]
            time.sleep(0.0005)


def decimal(amount):
    return f"{amount // 10**8}.{amount % 10**8:08}"


def units(text):
    return int(Fraction(text) * 10**8)


class LinksChannels(unittest.TestCase):
    def two(self, uri, memory):
        self.chance, self.drops, self.midway = random.Random(SEED), 0, 0
        self.folder = tempfile.mkdtemp(prefix="stoa-links-channels-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.a = Bank(self.folder, "a", "b", uri, self.chance)
        self.b = Bank(self.folder, "b", "a", uri, self.chance)
        for bank in (self.a, self.b):
            self.addCleanup(bank.close)
            bank.next_wave()
        if not memory:
            keys_exchange(self.a, self.b)


    def all_paid(self):
        for bank in (self.a, self.b):
            until(bank.has_paid, f"{bank.name}: all paid", lambda: "".join(n.stoa("channels").stdout + n.log()[-3000:] for n in (self.a, self.b)))

    def check_books(self):
        """Every account has what it was given, and there is no money but what the issuers owe."""
        sums = {asset: 0 for asset in ASSETS}
        transits = dict(sums)
        for bank, payer in ((self.a, self.b), (self.b, self.a)):
            own = [f"{bank.name}-{wave}-{i}" for wave in range(1, WAVES + 1) for i in range(ACCOUNTS)]
            accounts = ["treasury-" + bank.name] + own
            for account, books in zip(accounts, bank.balances(accounts)):
                if account in own:
                    self.assertEqual({asset: row["free"] for asset, row in books.items()}, payer.given.get(account, {}), account)
                for asset, row in books.items():
                    sums[asset] += row["free"] + row["reserved"]
                    transits[asset] += row["transit"]
            for shard in ("trade", VAULTS[bank.name]):
                self.assertTrue(bank.ask(f"hash {shard}")["hash"]["equal"], shard)
        self.assertEqual(set(sums.values()) | set(transits.values()), {0})

    def check_waiting(self):
        """Nobody has heard of b, and what is mailed to it waits, to be seen."""
        row = self.a.channel()
        self.assertEqual((row["status"], row["mailed"], row["acknowledged"], row["waiting"], row["forked"]),
                         ("apart", self.a.mails(), 0, self.a.mails(), None))
        table = subprocess.run([os.path.join(BIN, "stoa"), "--data", self.a.data, "channels"], capture_output=True, text=True, timeout=WAIT_S,
                               check=True, stdin=subprocess.DEVNULL).stdout
        self.assertRegex(table, r"(?m)^trade +vault@b +apart +")

    def killed_and_back(self, bank, more=False):
        """Where its log is written from then on."""
        bank.kill()
        if more:
            bank.next_wave()
        at = bank.size()
        bank.start()
        return at

    def check_dropped(self, payer, paid):
        """The connection ends again and again while money is under way."""
        downs = paid.ask("link " + payer.name)["faults"]["downs"]
        with subprocess.Popen([os.path.join(BIN, "stoa"), "--write", "--data", paid.data], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, text=True) as steering:
            over = threading.Event()

            def drop():
                while not over.wait(self.chance.choice((0.001, 0.005, 0.02, 0.1))):
                    steering.stdin.write(f"link {payer.name} drop\n")
                    steering.stdin.flush()
            dropping = threading.Thread(target=drop)
            dropping.start()
            try:
                self.killed_and_back(payer, more=True)
                time.sleep(0.5)  # some go on when all is paid, as a rule
            finally:
                over.set()
                dropping.join()
                steering.stdin.close()
        self.all_paid()
        self.drops += paid.ask("link " + payer.name)["faults"]["downs"] - downs - 1  # one was the kill

    def check_killed(self, payer, paid):
        """payer comes back with more to pay; when that is under way the one, and then the other, is killed."""
        payer.kill()
        payer.next_wave()
        at = paid.size()
        payer.start()
        paid.meets(at)
        time.sleep(self.chance.uniform(0, 0.03))
        paid.kill()
        waits = payer.channel()["waiting"]
        self.midway += waits % PART != 0
        at = payer.size()
        paid.start()
        payer.meets(at)
        time.sleep(self.chance.uniform(0, 0.03))
        self.killed_and_back(payer)
        self.all_paid()

    def over(self, uri, memory=False, both_ways=True):
        self.two(uri, memory)
        ways = [(self.a, self.b), (self.b, self.a)] if both_ways else [self.chance.choice([(self.a, self.b), (self.b, self.a)])]
        self.a.start()
        self.check_waiting()
        self.b.start()
        self.all_paid()
        self.check_books()
        for payer, paid in ways:
            self.check_dropped(payer, paid)
            self.check_killed(payer, paid)
        self.check_books()
        for bank in (self.a, self.b):
            self.assertNotIn("remote_shard_refused", bank.log())
            self.assertNotIn("channel_forked", bank.log())
        self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))
        print(f"{uri.split(':')[0]}: seed {SEED}, {self.a.mails()} and {self.b.mails()} transfers, {self.drops} drops, {4 * len(ways)} kills "
              f"({self.midway} of {len(ways)} saw some arrived and some not): exact", flush=True)

    def test_the_example_of_the_guide(self):
        """docs/guide/links.md, as it is written."""
        with open(os.path.join(os.environ["STOA_SOURCE"], "docs", "guide", "links.md"), encoding="utf-8") as file:
            text = file.read().partition("## Accounts of other nodes")[2]
        lines = [line for line in text.splitlines() if line.startswith("    ")][:4]
        column = lines[0].index("# node b")
        self.two(f"shm://stoa-links-channels-guide-{os.getpid()}", memory=True)
        for bank, part in ((self.a, slice(4, column)), (self.b, slice(column, None))):
            bank.configure("\n".join(line[part].rstrip() for line in lines).replace("accounts:\n", ""))
            bank.start()
        until(lambda: list(self.b.balances(["safe"])) == [{"USDT": {"free": 5000 * 10**8, "reserved": 0, "transit": -5000 * 10**8}}], "the money",
              lambda: self.a.stoa("channels").stdout + self.b.log())
        self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))

    def with_an_attic(self, funds):
        """a pays somebody in a shard of b's; the accounts of b with that shard, and without."""
        self.two(f"shm://stoa-links-channels-attic-{os.getpid()}", memory=True)
        self.a.configure(f"  - {{name: treasury, issuer: true}}\n  - {{name: ghost, node: b, shard: attic, funds: \"{funds}\"}}")
        return "  - {name: ghost, shard: attic}\n  - {name: safe, shard: vault}", "  - {name: safe, shard: vault}"

    def attic(self, status, waiting):
        """The one channel of a's gets there; what is measured says the same."""
        def there():
            rows = [row for row in self.a.ask("channels")["channels"] if row["to"] == "attic@b"]
            return [(row["status"], row["waiting"] if waiting is not None else None) for row in rows] == [(status, waiting)]
        until(there, f"{status}, {waiting} wait", lambda: self.a.stoa("channels").stdout + self.a.log()[-3000:])
        measured = f'stoa_channel_absent{{from="trade",to="attic@b"}} {int(status == "absent")}\n'
        until(lambda: measured in self.a.metrics(), measured, self.a.metrics)

    def back(self, bank, accounts):
        self.assertEqual(bank.stop(), 0)
        bank.configure(accounts)
        bank.start()

    def test_a_shard_that_the_other_node_has_not_is_named(self):
        """Money for it waits, and is there once when the shard is; one that is gone again is absent, too."""
        present, absent = self.with_an_attic("12 USDT")
        self.a.start()
        self.attic("apart", 1)
        self.b.configure(absent)
        self.b.start()
        self.attic("absent", 1)
        self.assertEqual(self.b.stop(), 0)
        self.attic("apart", 1)
        self.b.start()
        self.attic("absent", 1)
        told = [json.loads(line) for line in self.a.log().splitlines() if '"channel_absent"' in line]
        self.assertEqual([(line["from"], line["to"], line["waiting"]) for line in told], [("trade", "attic@b", 1)])
        self.back(self.b, present)
        self.attic("runs", 0)
        self.assertEqual([row["USDT"]["free"] for row in self.b.balances(["ghost"])], [12 * 10**8])
        self.back(self.b, absent)
        self.attic("absent", 0)
        self.back(self.a, "  - {name: treasury, issuer: true}")  # nobody expects it any more, and the channel is there
        self.attic("absent", None)  # what it had heard of b's commits is not all in its log: nobody here may say that b has none of it
        self.back(self.b, present)
        self.attic("runs", 0)
        self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))

    def restart(self, *words, write=True):
        """channel restart trade attic@b return: what is said of it, or the refusal."""
        done = self.a.stoa("channel restart trade attic@b return" + "".join(f" --{word}" for word in words), *(["--write"] if write else []))
        return json.loads(done.stdout)["restart"] if done.returncode == OK else done.stdout + done.stderr

    def treasury(self, free, transit):
        """What a's issuer has given, as it sees it."""
        def there():
            (books,) = self.a.balances(["treasury"])
            return [units(text) for text in (free, transit)] == [books["USDT"][part] for part in ("free", "transit")]
        until(there, f"{free}, {transit} in transit", lambda: str(list(self.a.balances(["treasury"]))))

    def test_what_waits_for_a_shard_that_never_was_can_be_had_back(self):
        """No word is asked for, and what came back is given to nobody; new money goes on when the shard is there."""
        present, absent = self.with_an_attic("12 USDT")
        self.b.configure(absent)
        self.a.start()
        self.b.start()
        self.attic("absent", 1)
        self.assertEqual([row["met"] for row in self.a.ask("channels")["channels"] if row["to"] == "attic@b"], ["never"])
        self.a.kill()  # it knows so behind a crash, too
        self.a.start()
        self.attic("absent", 1)
        planned = self.restart("plan", write=False)
        self.assertEqual((planned["waiting"], planned["taken"], planned["doubtful"]), (1, 0, 0))
        self.assertIn("nothing was ever sent", planned["why"])
        self.assertTrue(planned["outcome"].startswith("would be: "), planned)
        self.attic("absent", 1)
        self.treasury("-12", "12")
        done = self.restart()
        self.assertEqual((done["waiting"], done["outcome"].split(":")[0]), (1, "done"))
        self.treasury("0", "0")
        self.attic("absent", 0)
        self.assertIn("nothing waits in it", self.restart())
        self.back(self.a, "  - {name: treasury, issuer: true}\n  - {name: ghost, node: b, shard: attic, funds: \"12 USDT, 5 BTC\"}")
        self.assertIn('"funds_came_back"', self.a.log())  # those are cancelled for good; what is new goes there
        self.attic("absent", 1)
        self.back(self.b, present)
        self.attic("runs", 0)
        (ghost,) = self.b.balances(["ghost"])
        self.assertEqual({asset: row["free"] for asset, row in ghost.items()}, {"BTC": 5 * 10**8})
        self.treasury("0", "0")
        for bank, shard in ((self.a, "trade"), (self.b, "attic")):
            self.assertTrue(bank.ask(f"hash {shard}")["hash"]["equal"], shard)
        self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))

    def test_what_was_acknowledged_is_not_had_back(self):
        present, absent = self.with_an_attic("12 USDT")
        self.b.configure(present)
        self.a.start()
        self.b.start()
        self.attic("runs", 0)
        self.back(self.b, absent)
        self.back(self.a, "  - {name: treasury, issuer: true}\n  - {name: ghost, node: b, shard: attic, funds: \"12 USDT, 5 BTC\"}")
        self.attic("absent", None)
        for words in ((), ("none-taken",), ("none-taken", "plan")):
            refused = self.restart(*words)
            self.assertIn("the channel from trade to attic@b is absent, ", refused)
            self.assertIn("was not always", refused)
        self.back(self.b, present)
        self.attic("runs", 0)
        self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))

    # --- a data folder that was begun anew

    def lives_again(self, kept):
        """a's data folder is begun anew, but for kept, after more starts than it will have had; b has met it, and was paid."""
        present, _ = self.with_an_attic("12 USDT")
        self.b.configure(present)
        self.b.start()
        paying = "  - {name: treasury, issuer: true}\n  - {name: ghost, node: b, shard: attic, funds: \"%s USDT\"}"
        for accounts in ("  - {name: treasury, issuer: true}",) * 2 + (paying % 12,):
            self.a.configure(accounts)
            self.a.start()
            until(lambda: self.b.node("a")["state"] == "up", "b meets a", lambda: self.b.stoa("links").stdout)
            if accounts == paying % 12:
                self.attic("runs", 0)
            self.assertEqual(self.a.stop(), 0)
        for entry in os.listdir(self.a.data):
            if entry not in kept:
                path = os.path.join(self.a.data, entry)
                (shutil.rmtree if os.path.isdir(path) else os.remove)(path)
        self.a.configure(paying % 7)
        at, resets = self.b.size(), self.b.ask("link a")["faults"]["resets"]
        self.a.start()
        until(lambda: self.b.node("a")["state"] == "up", "b meets a's new life", lambda: self.b.stoa("links").stdout + self.b.log(at))
        self.assertEqual(self.b.ask("link a")["faults"]["resets"], resets + 1)
        self.assertNotIn("STALE", self.b.log(at))

    def begins_again(self, kept):
        self.lives_again(kept)
        self.attic("forked", 1)
        (row,) = (row for row in self.a.ask("channels")["channels"] if row["to"] == "attic@b")
        self.assertIn("its log was begun anew", row["forked"])
        done = self.a.ask("channel restart trade attic@b again --none-taken", "--write")["restart"]
        self.assertEqual((done["waiting"], done["taken"]), (1, 0))
        self.attic("runs", 0)
        self.assertEqual([books["USDT"]["free"] for books in self.b.balances(["ghost"])], [19 * 10**8])  # a's new life has paid, too
        self.assertIn('"channel_begun_anew"', self.b.log())
        self.back(self.a, "  - {name: treasury, issuer: true}")
        self.attic("runs", 0)
        self.assertEqual((self.a.stop(), self.b.stop()), (0, 0))

    def test_a_log_that_was_begun_anew_is_forked_and_its_channel_begins_again(self):
        self.begins_again(("keys",))

    def test_so_it_is_where_the_number_of_its_start_was_kept(self):
        self.begins_again(("keys", "node.incarnation"))

    def test_faults_of_the_settings_are_named(self):
        folder = tempfile.mkdtemp(prefix="stoa-links-channels-")
        self.addCleanup(shutil.rmtree, folder)
        link = 'links:\n  - {name: x, uri: "shm://x", listen: true}\n'
        rows = [("{name: safe, node: b}", "", "check.yaml:2: accounts[0].node: there are no links to b"),
                ("{name: safe, node: b/c}", link, "check.yaml:2: accounts[0].node: 'b/c' cannot be a node's name"),
                ("{name: safe, node: a-name-of-twenty-seven-bytes, shard: vault}", link, "is longer than 30 characters"),
                ("{name: safe, node: b, shard: room}", link, "'room' cannot be a shard's name"),
                ("{name: safe, node: b}", link + "clients:\n  - {name: c, accounts: safe}\n", "check.yaml:7: clients[0].accounts: account safe is used on its node, b"),
                ("{name: safe, node: b}", link, None), ("{name: safe, node: stoa}", "", None)]
        for account, more, says in rows:
            path = os.path.join(folder, "check.yaml")
            with open(path, "w", encoding="utf-8") as out:
                out.write(f"accounts:\n  - {account}\nquoters: []\n{more if 'clients' in more else more + 'clients: []'}\n")
            done = subprocess.run([os.path.join(BIN, "stoad"), "--check", path], capture_output=True, text=True, timeout=WAIT_S, check=False)
            self.assertEqual(done.returncode, 2 if says else 0, (account, done.stderr))
            self.assertIn(says or "", done.stderr)

    def test_over_zmq(self):
        self.over(f"zmq+tcp://127.0.0.1:{free_port()}")

    def test_over_shared_memory(self):
        self.over(f"shm://stoa-links-channels-{os.getpid()}", memory=True)

    def test_over_ucx(self):
        self.over(f"ucx+tcp://127.0.0.1:{free_port()}", both_ways=False)

    def test_over_libfabric(self):
        self.over(f"ofi+tcp://127.0.0.1:{free_port()}", both_ways=False)


if __name__ == "__main__":
    unittest.main()
