"""two_nodes.py - runs the two processes of examples/two_nodes.c over a link, for tests that built it in one way or another.

    for uri, keys in LINKS: play(program, uri, keys)
    refused(program)

SPDX-License-Identifier: Apache-2.0
"""
import os
import shutil
import subprocess
import tempfile

LINKS = [("shm://FOLDER/two.sock", False), ("zmq+ipc://FOLDER/two.ipc", False), ("zmq+tcp://127.0.0.1:0", True),
         ("ucx+tcp://127.0.0.1:0", True), ("ofi+tcp://127.0.0.1:0", True)]
WAIT_S = 120


def exchange_keys(program, folder, env):
    folders = {name: os.path.join(folder, name) for name in ("left", "right")}
    for data in folders.values():
        subprocess.run([program, "keys", data], check=True, timeout=WAIT_S, env=env, stderr=subprocess.DEVNULL)
    for name, other in (("left", "right"), ("right", "left")):
        shutil.copy(os.path.join(folders[name], "keys", "server.pub"), os.path.join(folders[other], "keys", name + ".pub"))
    return folders


def play(program, uri, keys, env=None):
    """Left listens, right dials it where it says it does, plays, and says so; both end well."""
    with tempfile.TemporaryDirectory(prefix="stoa-two-") as folder, open(os.path.join(folder, "log"), "w+", encoding="utf-8") as log:
        data = exchange_keys(program, folder, env) if keys else {}
        words = {name: [data[name]] if keys else [] for name in ("left", "right")}
        with subprocess.Popen([program, "left", uri.replace("FOLDER", folder), *words["left"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=log, text=True, env=env) as left:
            said = left.stdout.readline().split()
            told = subprocess.run([program, "right", said[-1] if said else "", *words["right"]], stdout=subprocess.PIPE, stderr=log, text=True,
                                  timeout=WAIT_S, check=False, env=env)
            left.stdin.close()
            code = left.wait(WAIT_S)
        log.seek(0)
        assert (told.returncode, told.stdout, code) == (0, "1000 rounds\n", 0), f"{uri}: {told}, left {code} {said}\n{log.read()}"


def refused(program):
    """Who lacks the other's key says so, on both sides; what cannot be started says why."""
    with tempfile.TemporaryDirectory(prefix="stoa-two-") as folder:
        data = exchange_keys(program, folder, None)
        os.remove(os.path.join(data["left"], "keys", "right.pub"))
        with subprocess.Popen([program, "left", "zmq+tcp://127.0.0.1:0", data["left"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as left:
            uri = left.stdout.readline().split()[-1]
            with subprocess.Popen([program, "right", uri, data["right"]], stderr=subprocess.PIPE, text=True) as right:
                for side, said in ((right, "no link with left: the caller may not do this"), (left, "no link with who comes: the caller may not do this")):
                    line = next((line for line in side.stderr if said in line), None)
                    assert line, f"no word of {said}"
                right.kill()
            left.stdin.close()
    for words, code, says in (([], 2, "keys DATA"), (["keys", "/dev/null"], 1, "/dev/null"), (["up"], 2, "keys DATA"), (["right", "pigeon://x"], 1, "pigeon")):
        done = subprocess.run([program, *words], capture_output=True, text=True, timeout=WAIT_S, check=False)
        assert done.returncode == code and says in done.stderr and "INVALID: INVALID" not in done.stderr, done
