"""journal_test.py - goal: an operator sees what a journal is like, proves it, makes its index anew and changes its key while the
node runs; a node whose key is missing, open to others or another one refuses to start and names the key; one whose commit mark
is rotten or lost, too, until the loss is accepted. Method: a real node
with a key file.

SPDX-License-Identifier: Apache-2.0
"""
import glob
import json
import os
import re
import shutil
import struct
import subprocess
import tempfile
import time

BIN = os.environ["STOA_BIN"]
WAIT_S = 60
OK, FAILED, NOT_FOUND, DENIED, TIMEOUT = 0, 1, 3, 4, 6

SETTINGS = """
symbols:
  - {name: BTCUSDT, base: BTC, quote: USDT, tick: 0.01, lot: 0.00001, qty_min: 0.00001, qty_max: 100}
accounts:
  - {name: treasury, issuer: true}
  - {name: alice, funds: "1000000 USDT, 10 BTC"}
rooms:
  - {name: lobby}
market: {source: none}
"""


class Node:
    def __init__(self, folder):
        self.folder, self.data = folder, os.path.join(folder, "data")
        self.settings, self.keys = os.path.join(folder, "settings.yaml"), os.path.join(folder, "keys")
        with open(self.settings, "w") as out:
            out.write(SETTINGS)
        self.process = None

    def start(self, *flags):
        with open(os.path.join(self.folder, "log"), "wb") as log:
            self.process = subprocess.Popen(
                [os.path.join(BIN, "stoad"), "--config", self.settings, "--data", self.data, "--http.port=-1",
                 "--gateway.listen=", *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def started(self, *flags):
        self.start(*flags)
        until = time.monotonic() + WAIT_S
        while self.stoa("node").returncode:
            assert self.process.poll() is None and time.monotonic() < until, self.log()
            time.sleep(0.05)

    def refused(self, *flags):
        self.start(*flags)
        assert self.process.wait(WAIT_S) == FAILED, self.log()
        return self.log()

    def stop(self):
        self.process.terminate()
        assert self.process.wait(WAIT_S) == 0, self.log()

    def log(self):
        with open(os.path.join(self.folder, "log")) as log:
            return log.read()

    def stoa(self, line, *flags):
        return subprocess.run([os.path.join(BIN, "stoa"), "--data", self.data, *flags, "--eval", line], capture_output=True,
                              text=True)

    def json(self, line, *flags):
        done = self.stoa(line, "-o", "json", *flags)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)


def add_account(node, name):
    """Something for the next start to write."""
    with open(node.settings) as file:
        text = file.read()
    with open(node.settings, "w") as out:
        out.write(text.replace("rooms:", f'  - {{name: {name}, funds: "1 BTC"}}\nrooms:'))


def new_key(path):
    done = subprocess.run([os.path.join(BIN, "stoad"), "--new-key", path], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def check_figures(node):
    journal = node.json("journal trade")["journal"]
    assert journal["first"] == 1 and journal["purged"] == 0 and journal["readable"] == 1, journal
    assert journal["proven"] == journal["last"] > 0, journal
    assert journal["blocks"] > 0 and journal["log_bytes"] > 0 and journal["room_bytes"] > 0, journal
    assert (journal["oldest_key"], journal["newest_key"], journal["seals_with"]) == (1, 1, 1), journal
    assert re.search(r"sealed|key now +1", node.stoa("journal trade").stdout)
    for line, code, words in (("journal nobody", NOT_FOUND, "shard"), ("journal verify trade 99999999", NOT_FOUND, "99999999")):
        done = node.stoa(line)
        assert done.returncode == code and words in done.stderr, done
    return journal["last"]


def check_proof(node, last):
    found = node.json("journal verify trade")
    assert (found["verify"]["verified"], found["verify"]["last"], found["verify"]["from"]) == (last, last, 1), found
    assert [row["key"] for row in found["keys"]] == [1], found
    assert node.json(f"journal verify trade {last}")["verify"]["blocks"] == 1
    assert "sound up to" in node.stoa("journal verify room").stdout


def check_index(node):
    assert node.stoa("journal reindex trade").returncode == DENIED
    found = node.json("journal reindex trade", "--write")["reindex"]
    assert found["equal"] and found["entries"] == found["before"], found


def check_rotation(node):
    assert new_key(node.keys)[0] == 0
    assert node.stoa("journal rekey").returncode == DENIED
    assert node.json("journal rekey", "--write")["keys"] == {"known": 2, "seals_with": 2}
    node.stop()
    add_account(node, "bob")
    node.started("--storage.key_file=" + node.keys)
    found = node.json("journal trade")["journal"]
    assert (found["oldest_key"], found["newest_key"], found["seals_with"]) == (1, 2, 2), found
    assert [row["key"] for row in node.json("journal verify trade")["keys"]] == [1, 2]
    assert node.json("hash trade")["hash"]["equal"] is True
    node.stop()


def check_refusals(node):
    text = node.refused()
    assert "SEALED" in text and "key 2" in text, text
    other = os.path.join(node.folder, "other")
    assert new_key(other)[0] == 0
    text = node.refused("--storage.key_file=" + other)
    assert "SEALED" in text and "key 2" in text, text
    os.chmod(node.keys, 0o640)
    text = node.refused("--storage.key_file=" + node.keys)
    assert "DENIED" in text and "0640" in text, text
    os.chmod(node.keys, 0o600)
    assert "NOT_FOUND" in node.refused("--storage.key_file=/nowhere")
    node.started("--storage.key_file=" + node.keys)
    node.stop()


def check_backup_of_a_stopped_one(node):
    """It reads what it writes, so sealed data needs its key; what has no key to compare states with is told no hash."""
    backup, into = os.path.join(node.folder, "backup"), os.path.join(node.folder, "into")
    code, said = stoad(node, "--backup", backup)
    assert code == FAILED and "SEALED" in said, said
    code, said = stoad(node, "--backup", backup, "--storage.key_file=" + node.keys)
    assert code == 0, said
    code, said = stoad(node, "--restore", backup, "--into", into)
    assert code == 0 and "trade: restored" in said and "state hash" not in said, said
    code, said = stoad(node, "--restore", backup, "--into", into + "2", "--storage.key_file=" + node.keys)
    assert code == 0 and "state hash" in said and "hash 0000000000000000" not in said, said


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x40]))


def stoad(node, *flags):
    done = subprocess.run([os.path.join(BIN, "stoad"), "--data", node.data, *flags], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def check_rotten_mark(node):
    """The newest slot of the mark and the log's end are rotten: no node starts on that until somebody accepts the loss."""
    flags = ["--storage.key_file=" + node.keys]
    code, said = stoad(node, "--accept-loss", "trade")
    assert code == 0 and "no loss" in said, said
    add_account(node, "carol")
    node.started(*flags)
    node.process.kill()
    node.process.wait()
    mark = os.path.join(node.data, "trade", "commit.mark")  # storage/rocksdb/mark.h
    with open(mark, "rb") as file:
        slots = file.read().ljust(8192, b"\0")
    flip(mark, max((struct.unpack_from("<Q", slots, at + 8)[0], at) for at in (0, 4096))[1] + 40)
    logs = sorted(glob.glob(os.path.join(node.data, "trade", "db", "*.log")), key=lambda path: int(os.path.basename(path)[:-4]))
    flip(logs[-1], os.path.getsize(logs[-1]) - 20)
    for _ in range(2):
        text = node.refused(*flags)
        assert "CORRUPT" in text and "accept-loss" in text, text
    code, said = stoad(node, "--accept-loss", "trade", "--plan")
    assert code == 0 and "would be kept" in said and "nothing was written" in said, said
    assert "accept-loss" in node.refused(*flags)
    code, said = stoad(node, "--accept-loss", "trade")
    assert code == 0 and "is kept" in said, said
    code, said = stoad(node, "--accept-loss", "nobody")
    assert code == FAILED and "NOT_FOUND" in said, said
    node.started(*flags)
    assert "journal_tail_cut" in node.log()
    assert node.json("hash trade")["hash"]["equal"] is True
    node.stop()


def check_lost_mark(node):
    """Without its mark no node starts, however whole the log is; the plan changes nothing, and what it promises is there."""
    flags = ["--storage.key_file=" + node.keys]
    mark = os.path.join(node.data, "trade", "commit.mark")
    for lose in (os.remove, lambda path: flip(path, 20) or flip(path, 4096 + 20)):
        node.started(*flags)
        last = node.json("journal trade")["journal"]["last"]
        os.rename(mark, mark + ".away")
        code, said = stoad(node, "--accept-loss", "trade")
        assert code == FAILED and "DENIED" in said and not os.path.exists(mark), said
        os.rename(mark + ".away", mark)
        node.process.kill()
        node.process.wait()
        lose(mark)
        there = os.path.exists(mark)
        text = node.refused(*flags)
        assert "CORRUPT" in text and "accept-loss" in text, text
        for flag in ([], ["--plan"]):
            code, said = stoad(node, "--backup", os.path.join(node.folder, "backup-of-lost"), *flag, *flags)
            assert code == FAILED and "CORRUPT" in said and "accept-loss" in said, said
        assert os.path.exists(mark) == there
        code, said = stoad(node, "--accept-loss", "trade", "--plan")
        promised = f"the log is whole from 1 to {last}: that would be kept"
        assert code == 0 and promised in said and f"behind {last} was acknowledged cannot be known" in said and "nothing was written" in said, said
        assert os.path.exists(mark) == there
        assert "accept-loss" in node.refused(*flags)
        code, said = stoad(node, "--accept-loss", "trade")
        assert code == 0 and "that is kept" in said, said
        code, said = stoad(node, "--accept-loss", "trade")
        assert code == 0 and f"sound, at {last}; there is no loss" in said, said
        node.started(*flags)
        assert node.json("journal trade")["journal"]["last"] >= last
        assert node.json("hash trade")["hash"]["equal"] is True
        node.stop()


def main():
    folder = tempfile.mkdtemp(prefix="stoa-journal-")
    node = Node(folder)
    try:
        code, said = new_key(node.keys)
        assert code == 0 and "key 1 " in said and os.stat(node.keys).st_mode & 0o777 == 0o600, said
        node.started("--storage.key_file=" + node.keys)
        last = check_figures(node)
        check_proof(node, last)
        check_index(node)
        check_rotation(node)
        check_refusals(node)
        check_backup_of_a_stopped_one(node)
        check_rotten_mark(node)
        check_lost_mark(node)
        print("figures, proof, index, keys, a rotten mark, a lost one")
    finally:
        if node.process and node.process.poll() is None:
            node.process.kill()
            node.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
