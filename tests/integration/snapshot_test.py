"""snapshot_test.py - goal: a real node makes snapshots while it works, comes back from them when it is killed, comes back without them
when they are gone, and answers for its past. Method: stoad with a simulated market and a quoter, snapshots every few events, SIGKILL.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

BIN = os.environ["STOA_BIN"]
folder = tempfile.mkdtemp(prefix="stoa-snapshot-")
data = os.path.join(folder, "data")
log_path = os.path.join(folder, "log")


def start(every_events=20, every="500ms"):
    with open(log_path, "ab") as log:
        return subprocess.Popen(
            [os.path.join(BIN, "stoad"), "--data", data, "--gateway.listen=", "--http.port=-1", f"--snapshot.every_events={every_events}",
             f"--snapshot.every={every}", "--market.interval=2ms"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def ask(*command, fails=False):
    """The document that the command answers with; None while the node does not answer."""
    done = subprocess.run([os.path.join(BIN, "stoa"), "--data", data, "--write", "-o", "json", "--timeout", "60000", *command],
                          capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL)
    if fails:
        assert done.returncode != 0, done.stdout
        return done.stderr + done.stdout
    return json.loads(done.stdout) if done.returncode == 0 else None


def until(what, why):
    for _ in range(1200):
        found = what()
        if found:
            return found
        time.sleep(0.1)
    with open(log_path, encoding="utf-8", errors="replace") as log:
        raise AssertionError(why + "\n" + log.read()[-4000:])


def shard(name):
    answer = ask("shards")
    return next((s for s in answer["shards"] if s["name"] == name), None) if answer else None


def following(name):
    answer = ask("snapshots", name)
    return answer["shards"][0] if answer and answer["shards"] else None


def running_from(position):
    """The trade shard once it runs, with a history at least that long."""
    return until(lambda: (lambda s: s if s and s["committed"] > position else None)(shard("trade")), "trade does not go on")


def logged(word):
    with open(log_path, encoding="utf-8", errors="replace") as log:
        return word in log.read()


def the_past(last):
    """What `state`, `diff` and `explain event` say of positions that are committed."""
    early = ask("state", "trade_account/maker", "--at", str(last // 2))
    late = ask("state", "trade_account/maker", "--at", str(last))
    assert early["at"]["position"] == last // 2 and late["at"]["position"] == last
    assert early["at"]["events"] < late["at"]["events"], (early["at"], late["at"])
    diff = ask("diff", "trade_account/maker", str(last // 2), str(last))
    assert diff["change_count"] > 0 and diff["before"]["events"] == early["at"]["events"]
    for change in diff["changes"]:
        assert change["before"] != change["after"], change
    same = ask("diff", "trade_account/maker", str(last), str(last))
    assert same["change_count"] == 0
    at_time = ask("state", "trade_account/maker", "--at", "2100-01-01T00:00:00Z")
    assert at_time["at"]["position"] >= last
    assert "NOT_FOUND" in ask("state", "trade_account/maker", "--at", "1", fails=True)
    assert "INVALID" in ask("state", "trade_account/maker", "--at", str(last + 10 ** 9), fails=True)
    assert ask("state", "trade", "--at", str(last))["state"]["streams"] > 0  # what the shard itself remembers
    story = ask("explain", "event", "trade", str(last))
    assert len(story["tree"]) == 1 and story["tree"][0]["event"] == "beginning", story
    events = story["tree"][0]["children"]
    assert last in [e["position"] for e in events if e["shard"] == "trade"]
    assert len({e["cause"] for e in events}) == 1, events


def proven():
    """The log from its first event, and the running state, are the same."""
    answer = until(lambda: ask("hash", "trade"), "no hash")
    assert answer["hash"]["equal"], answer


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def the_newest_three():
    """Where snapshots are made only when they are asked for: those that stand are the last three, and no older one."""
    made = []
    for _ in range(8):
        running_from(made[-1] if made else 0)
        made.append(ask("snapshot", "trade")["shards"][0]["snapshot"])
    assert made == sorted(set(made)), made
    until(lambda: [s["position"] for s in ask("snapshots", "trade")["snapshots"]] == made[-3:],
          f"of {made} the last three were to be kept: {ask('snapshots', 'trade')}")


def run():
    process = start()
    try:
        running_from(30)
        made = ask("snapshot", "trade")
        assert made["shards"][0]["snapshot"] > 0 and made["shards"][0]["failures"] == 0, made
        assert following("trade")["differences"] == 0
        now0 = made["shards"][0]["followed"]
        until(lambda: following("trade")["made"] >= 3, "no more snapshots")
        kept = ask("snapshots", "trade")["snapshots"]
        assert 1 <= len(kept) <= 4, kept  # the one that is being made may be there already
        assert [s["position"] for s in kept] == sorted(s["position"] for s in kept)
        last = running_from(now0 + 5)["committed"]
        the_past(last)
        proven()
        for _ in range(3):
            kill(process)
            process = start()
            now = running_from(last)
            assert now["snapshot"] > 0 and now["recovered"] >= last, now
            last = now["committed"]
            proven()
        assert not logged("state_differs_from_log") and not logged("snapshot_refused")
        kill(process)
        shutil.rmtree(os.path.join(data, "trade", "side"))
        process = start()
        now = running_from(last)
        assert now["snapshot"] == 0 and now["recovered"] >= last, now
        proven()
        until(lambda: following("trade")["made"] > 0, "no snapshots behind a lost store")
        kill(process)
        process = start(every_events=10 ** 9, every="24h")
        running_from(last)
        the_newest_three()
        process.terminate()
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            kill(process)
    shutil.rmtree(folder)


run()
print("ok")
