"""backup_whole_test.py - goal: no shard drops out of a backup without a word: what the data folder's roll or the folder's older backup names
is in the next one, or the next one is refused by name and the older stays as it is. Method: a real stoad with wallets in a shard of their
own; folders and marks taken away, an account taken out of the settings; backups by the REPL and by stoad, restored and looked into.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import shutil

from archive_node import Archive, main, run
from channels_test import find

SAFE = '  - {name: safe, shard: vaults, funds: "5000 USDT, 3 BTC"}\n'


class Whole(Archive):
    def config(self, accounts):
        """As running_node.py has it, with more accounts."""
        with open(self.node.path("stoa.yaml"), encoding="utf-8") as file:
            text = file.read()
        return text.replace(SAFE, "").replace("clients:", accounts + "clients:")

    def begin(self):
        self.node = self.start()
        self.assertEqual(self.node.stop(), 0)
        self.start_with(self.node, SAFE)
        self.order(self.client(self.node, "alice"), "alice")
        while self.holdings(self.node) != {"USDT": "5000", "BTC": "3"}:
            pass
        self.data = self.node.path("data")
        return self.node

    def holdings(self, node):
        balances = find(self.ask(node, "actor", "trade_account/safe", "inspect", write=False), "balances")
        return {b["asset"]: b["free"] for b in balances}

    def start_with(self, node, accounts):
        config = self.config(accounts)
        with open(node.path("stoa.yaml"), "w", encoding="utf-8") as out:
            out.write(config)
        node.start()

    def leave_out(self, node):
        """Starts it with settings that do not name the wallets' shard."""
        self.assertEqual(node.stop(), 0)
        self.start_with(node, "")

    def names(self, folder=None):
        with open(os.path.join(folder or self.backup, "backup.json"), encoding="utf-8") as file:
            return [shard["name"] for shard in json.load(file)["shards"]]

    def stays(self):
        """What a backup that is refused leaves alone."""
        with open(os.path.join(self.backup, "backup.json"), encoding="utf-8") as file:
            return file.read()

    def test_of_a_stopped_node(self):
        node = self.begin()
        self.assertEqual(node.stop(), 0)
        run("stoad", "--data", self.data, "--backup", self.backup)
        self.assertEqual(self.names(), ["trade", "room", "vaults"])
        before = self.stays()
        away = os.path.join(self.folder, "away")

        def refused(error, *words):
            for folder in (self.backup, self.backup + "-new"):
                for plan in (["--plan"], []):
                    said = run("stoad", "--data", self.data, "--backup", folder, *plan, code=1)
                    self.assertNotIn("verified", said.stdout)
                    for word in (error, *words):
                        self.assertIn(word, said.stderr)
            self.assertEqual(self.stays(), before)
            self.assertFalse(os.path.exists(self.backup + "-new"))

        for shard in ("trade", "vaults"):
            path = os.path.join(self.data, shard)
            os.rename(path, away)  # the whole folder
            refused("NOT_FOUND", f"shard {shard} has been there", "Bring it back")
            os.rename(away, path)
            os.rename(os.path.join(path, "commit.mark"), away)  # its mark alone
            refused("CORRUPT", f"shard {shard}: {path} has no commit.mark")
            roll = os.path.join(self.data, "shards")
            os.rename(roll, roll + ".away")
            refused("CORRUPT", f"shard {shard}: {path} has no commit.mark")
            os.rename(roll + ".away", roll)
            os.rename(away, os.path.join(path, "commit.mark"))
        self.assertIn("held", run("stoad", "--data", self.data, "--backup", self.backup).stdout)

        # what is left of a journal that is gone: folders, and a mark without a word
        before = self.stays()

        def no_file(path):
            for folder, _, names in os.walk(os.path.join(path, "db")):
                for name in names:
                    os.remove(os.path.join(folder, name))
            os.remove(os.path.join(path, "commit.mark"))

        def no_word(path):
            shutil.rmtree(os.path.join(path, "db"))
            os.truncate(os.path.join(path, "commit.mark"), 0)

        def only_zeros(path):
            no_word(path)
            os.truncate(os.path.join(path, "commit.mark"), 8192)

        def no_part(path):
            shutil.rmtree(path)
            os.mkdir(path)

        for shard, spoil in (("trade", no_file), ("vaults", no_word), ("room", only_zeros), ("vaults", no_part)):
            path = os.path.join(self.data, shard)
            shutil.copytree(path, away)
            spoil(path)
            refused("NOT_FOUND", f"shard {shard} has been there", "Bring it back")
            said = run("stoad", "--config", node.path("stoa.yaml"), "--data", self.data, "--http.port=-1", code=1).stderr
            self.assertIn(f"the journal in {path} is gone, and shard {shard} has been there", said)
            shutil.rmtree(path)
            os.rename(away, path)
        node.start()
        self.assertEqual(self.holdings(node), {"USDT": "5000", "BTC": "3"})

    def test_a_log_that_ends_before_what_the_backup_has(self):
        node = self.begin()
        self.assertEqual(node.stop(), 0)
        older = os.path.join(self.folder, "older")
        shutil.copytree(os.path.join(self.data, "trade"), older)
        node.start()
        self.order(self.client(node, "alice"), "alice")
        self.assertEqual(node.stop(), 0)
        run("stoad", "--data", self.data, "--backup", self.backup)
        before = self.stays()
        shutil.rmtree(os.path.join(self.data, "trade"))
        os.rename(older, os.path.join(self.data, "trade"))
        for plan in (["--plan"], []):
            said = run("stoad", "--data", self.data, "--backup", self.backup, *plan, code=1)
            self.assertNotIn("verified", said.stdout)
            for word in ("FORKED", "the backup has trade up to position", "its end is lost", "into another folder"):
                self.assertIn(word, said.stderr)
        self.assertEqual(self.stays(), before)
        run("stoad", "--verify-backup", self.backup)
        run("stoad", "--data", self.data, "--backup", self.backup + "-new")

    def test_what_the_older_backup_names(self):
        node = self.begin()
        self.assertEqual(node.stop(), 0)
        run("stoad", "--data", self.data, "--backup", self.backup)
        before = self.stays()
        shutil.move(os.path.join(self.data, "vaults"), self.folder)  # given up, as the refusal says
        roll = os.path.join(self.data, "shards")
        with open(roll, encoding="ascii") as file:
            lines = [line for line in file if not line.startswith("vaults ")]
        with open(roll, "w", encoding="ascii") as out:
            out.writelines(lines)
        for plan in (["--plan"], []):
            said = run("stoad", "--data", self.data, "--backup", self.backup, *plan, code=1).stderr
            for word in ("NOT_FOUND", "has shard vaults, and the node has none", "into another folder"):
                self.assertIn(word, said)
        self.start_with(node, "")
        for plan in (["--plan"], []):
            said = self.ask(node, "backup", self.backup, *plan, code=3)
            self.assertIn("has shard vaults, and the node has none", said)
        self.assertEqual(self.stays(), before)
        other = self.backup + "-2"
        self.ask(node, "backup", other)
        self.assertEqual(self.names(other), ["trade", "room"])
        run("stoad", "--verify-backup", self.backup)

        # which shards an unreadable one has nobody knows
        with open(os.path.join(other, "backup.json"), "r+b") as file:
            file.seek(30)
            file.write(b"#")
        for plan in (["--plan"], []):
            said = self.ask(node, "backup", other, *plan, code=1)
            self.assertIn("CORRUPT", said)
            self.assertIn("into another folder", said)

    def test_a_shard_that_the_settings_name_no_more_is_carried_on(self):
        node = self.begin()
        self.ask(node, "backup", self.backup)
        self.assertEqual(sorted(self.names()), ["room", "trade", "vaults"])
        position = self.positions(node)["vaults"]
        state = self.hash(node, "vaults", position)
        self.assertNotIn('"shard_left_out"', node.log())
        self.leave_out(node)
        self.assertNotIn("vaults", self.positions(node))
        said = [json.loads(line) for line in node.log().splitlines() if '"shard_left_out"' in line]
        self.assertEqual([(line["level"], line["shard"]) for line in said], [("warn", "vaults")])

        plan = {shard["shard"]: shard["last"] for shard in self.ask(node, "backup", self.backup, "--plan", write=False)["shards"]}
        self.assertEqual(plan["vaults"], position)
        new = self.backup + "-new"
        for folder in (self.backup, new):
            done = self.ask(node, "backup", folder)
            self.assertEqual({shard["shard"]: shard["last"] for shard in done["shards"]}["vaults"], position, done)
            self.assertEqual(sorted(self.names(folder)), ["room", "trade", "vaults"])
        before = self.stays()
        for number, folder in enumerate((self.backup, new)):
            into = os.path.join(self.folder, f"into{number}")
            self.assertIn(f"vaults: would restore up to {position} of {position}", run("stoad", "--restore", folder, "--into", into, "--plan").stdout)
            run("stoad", "--restore", folder, "--into", into)
            again = self.start(into, config=self.config(SAFE), settings="")
            self.assertEqual(self.hash(again, "vaults", position), state)
            self.assertEqual(self.holdings(again), {"USDT": "5000", "BTC": "3"})
            self.leave_out(again)  # what was restored is on the new node's roll
            self.assertIn('"shard_left_out"', again.log())

        away = os.path.join(self.folder, "vaults")
        os.rename(os.path.join(self.data, "vaults"), away)
        for plan in (["--plan"], []):
            said = self.ask(node, "backup", self.backup, *plan, code=3)
            self.assertIn("NOT_FOUND", said)
            self.assertIn("shard vaults has been there", said)
        self.assertEqual(self.stays(), before)
        os.rename(away, os.path.join(self.data, "vaults"))
        self.ask(node, "backup", self.backup)

        # and it comes back as it was
        self.assertEqual(node.stop(), 0)
        self.start_with(node, SAFE)
        self.assertEqual(self.holdings(node), {"USDT": "5000", "BTC": "3"})
        self.ask(node, "backup", self.backup)

    def test_what_is_missing_is_said(self):
        node = self.begin()
        self.ask(node, "backup", self.backup)
        self.assertEqual(node.stop(), 0)
        into, without = os.path.join(self.folder, "into"), os.path.join(self.folder, "without")
        os.rename(os.path.join(self.backup, "vaults"), os.path.join(self.folder, "vaults"))
        for arguments in (("--verify-backup", self.backup), ("--restore", self.backup, "--into", into, "--plan"),
                          ("--restore", self.backup, "--into", into)):
            said = run("stoad", *arguments, code=1).stderr
            self.assertIn("GAP", said)
            self.assertIn("the archive of shard vaults is missing", said)
        os.rename(os.path.join(self.folder, "vaults"), os.path.join(self.backup, "vaults"))

        # an archive that the catalogue does not name: as by a shard that has dropped out
        roll = os.path.join(self.data, "shards")
        os.remove(roll)
        os.rename(os.path.join(self.data, "vaults"), os.path.join(self.folder, "vaults"))
        run("stoad", "--data", self.data, "--backup", without)
        shutil.copytree(os.path.join(self.backup, "vaults"), os.path.join(without, "vaults"))
        for arguments in (("--verify-backup", without), ("--restore", without, "--into", into, "--plan"),
                          ("--restore", without, "--into", into)):
            self.assertIn("vaults: not in this backup", run("stoad", *arguments).stdout)
            self.assertNotIn("not in this backup", run("stoad", "--verify-backup", self.backup).stdout)
        self.start_with(node, "")
        for words in (("backup", "verify", without), ("restore", without, into + "2")):
            self.assertEqual([left["shard"] for left in self.ask(node, *words)["left_out"]], ["vaults"])
        self.assertNotIn("left_out", self.ask(node, "backup", "verify", self.backup))


if __name__ == "__main__":
    main()
