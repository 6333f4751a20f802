"""remote_test.py - goal: actors do not know where the other one lives. Method: the actors of examples/ping_pong.c, fan_in.c and
topics.c, unchanged, in two processes (tests/remote_node.c) over each kind of link; then one of the processes is killed and comes back.
Who monitors actors of the other node hears of each one's end, once, and why; who is linked to one fails with it, and is restarted by
its supervisor.

SPDX-License-Identifier: Apache-2.0
"""
import os
import subprocess
import tempfile
import time

import zmq

NODE = os.path.join(os.environ["STOA_BUILD"], "tests", "remote_node")
ROUNDS, COUNT, READINGS = 300, 100, 50
WATCHERS, WATCHED = 8, 3  # each watches so many
WAIT_S = 120


class Node:
    def __init__(self, name, how, uri, keys, peer, peer_public):
        secret, public = keys or ("-", "-")
        self.process = subprocess.Popen([NODE, name, how, uri, secret, public, peer, peer_public if keys else "-"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        first = self.process.stdout.readline().split()
        assert first and first[0] == "address", f"{name} {uri}: {first}"
        self.address, self.provider = first[1], " ".join(first[3:])

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer.endswith(" OK"), f"{line}: {answer}"
        return answer

    def end(self):
        self.process.stdin.close()
        self.process.stdout.close()
        status = self.process.wait(timeout=60)
        assert status == 0, status

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def field(answer, name):
    words = answer.split()
    return words[words.index(name) + 1]


def key_pair():
    public, secret = zmq.curve_keypair()
    return secret.decode(), public.decode()


def play(caller, server):
    assert field(caller.ask(f"ping {ROUNDS}"), "rounds") == str(ROUNDS)
    fan = caller.ask(f"fan {COUNT}")
    assert field(fan, "got") == str(8 * COUNT) and field(fan, "out_of_order") == "0", fan
    topic = caller.ask(f"topic {READINGS}")
    assert field(topic, "degrees") == str(READINGS) and field(topic, "topic") == "house.attic.temperature", topic
    assert field(topic, "heard") == "1", topic
    for node in (caller, server):
        peer = node.ask("peer")
        assert field(peer, "malformed") == "0" and field(peer, "lost") == "0", peer


def watch(caller, times):
    watched = caller.ask(f"watch {WATCHERS}")
    assert field(watched, "watched") == str(times * WATCHERS * WATCHED), watched


def all_heard(caller, times):
    """Each watcher of each that it watches, and its child was restarted, once for each time that the node was lost."""
    until = time.monotonic() + WAIT_S
    heard = f"lost {times * WATCHERS * WATCHED} twice 0 other 0 restarts {times * WATCHERS} seen OK"
    while (seen := caller.ask(f"seen {WATCHERS}")) != heard:
        assert field(seen, "twice") == "0" and field(seen, "other") == "0" and time.monotonic() < until, f"{seen}, not {heard}"
        time.sleep(0.05)


def over(uri, keys, folder):
    mine, theirs = (key_pair(), key_pair()) if keys else (None, None)
    server = Node("left", "listen", uri.replace("FOLDER", folder), mine, "right", theirs[1] if keys else "-")
    caller = Node("right", "dial", server.address, theirs, "left", mine[1] if keys else "-")
    server.ask("serve")
    play(caller, server)
    watch(caller, 1)
    assert caller.ask(f"seen {WATCHERS}") == "lost 0 twice 0 other 0 restarts 0 seen OK"
    # it is killed, and is away until it is taken for lost: what is told of its actors is told now
    server.kill()
    all_heard(caller, 1)
    assert field(caller.ask("peer"), "resets") == "0"
    # it comes back: its names are found again
    again = Node("left", "listen", server.address, mine, "right", theirs[1] if keys else "-")
    again.ask("serve")
    assert field(caller.ask(f"ping {ROUNDS}"), "rounds") == str(ROUNDS)
    peer = caller.ask("peer")
    assert field(peer, "lost") == "1" and field(peer, "resets") == "1", peer
    # killed once more, it is back at once: the other one finds that it has restarted, or lost it before
    watch(caller, 2)
    again.kill()
    again = Node("left", "listen", server.address, mine, "right", theirs[1] if keys else "-")
    again.ask("serve")
    all_heard(caller, 2)
    assert field(caller.ask(f"ping {ROUNDS}"), "rounds") == str(ROUNDS)
    peer = caller.ask("peer")
    assert field(peer, "lost") == "2", peer
    all_heard(caller, 2)  # and nobody anything more
    provider = server.provider
    caller.end()
    again.end()
    return provider


def main():
    links = [("shm://FOLDER/remote.sock", False), ("zmq+ipc://FOLDER/remote.ipc", False), ("zmq+tcp://127.0.0.1:0", True),
             ("ucx+tcp://127.0.0.1:0", True), ("ofi+tcp://127.0.0.1:0", True)]
    for uri, keys in links:
        with tempfile.TemporaryDirectory(prefix="stoa-remote-") as folder:
            print(f"{uri.split(':')[0]}: {over(uri, keys, folder)}, as at home", flush=True)


main()
