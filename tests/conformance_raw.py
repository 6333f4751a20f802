"""conformance_raw.py ENDPOINT SERVER_KEY OWN_KEY - frames that no client would send, each with the error it must be refused
with. Keys are paths without their endings. Prints a count; exits 1 with the first frame that was answered otherwise.

SPDX-License-Identifier: Apache-2.0
"""
import os
import random
import sys

import msgpack
import zmq

MALFORMED, VERSION, NO_HANDLER, INVALID, DENIED, CLOSED, TOO_LARGE, RANGE = -13, -11, -26, -1, -6, -4, -12, -15


def connect(endpoint, server, own):
    with open(server + ".pub", "rb") as file:
        server_key = file.read().strip()
    with open(own + ".key", "rb") as file:
        secret = file.read().strip()
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.linger = 0
    socket.rcvtimeo = 10000
    socket.curve_serverkey, socket.curve_secretkey, socket.curve_publickey = server_key, secret, zmq.curve_public(secret)
    socket.connect(endpoint.replace("zmq+", ""))
    return socket


def ask(socket, frame):
    socket.send(frame)
    while True:
        answer = socket.recv()
        if answer:
            return msgpack.unpackb(answer)


def expect(socket, what, frame, id_, error):
    answer = ask(socket, frame)
    if answer[:4] != [1, 100, id_, error] or not isinstance(answer[6], str) or not answer[6]:
        sys.exit(f"{what}: {frame.hex(' ')}\n  was answered {answer}, expected id {id_} and error {error}")


def pack(*words):
    return msgpack.packb(list(words))


def main():
    endpoint, server, own = sys.argv[1:4]
    socket = connect(endpoint, server, own)
    hello = pack(1, 1, 9, "", [1, 1, 0, "raw"])
    before = [
        ("before hello", pack(1, 2, 7, "", [1]), 7, CLOSED),
        ("a version to come", pack(1, 1, 7, "", [2, 3, 0, "raw"]), 7, VERSION),
    ]
    after = [
        ("no msgpack", b"\xc1", 0, MALFORMED),
        ("empty array", b"\x90", 0, MALFORMED),
        ("map", msgpack.packb({1: 2}), 0, MALFORMED),
        ("text", msgpack.packb("hello"), 0, MALFORMED),
        ("float", pack(1, 2.5, 7, "", [1]), 0, MALFORMED),
        ("two frames in one", pack(1, 2, 7, "", [1]) * 2, 0, MALFORMED),
        ("id that is a text", pack(1, 2, "7", "", [1]), 0, MALFORMED),
        ("no payload", pack(1, 2, 7, ""), 7, MALFORMED),
        ("target that is a number", pack(1, 2, 7, 8, [1]), 7, MALFORMED),
        ("deadline that is a text", pack(1, 2, 7, "", [1], "soon"), 7, MALFORMED),
        ("version 2", pack(2, 2, 7, "", [1]), 7, VERSION),
        ("no such operation", pack(1, 99, 7, "", [1]), 7, NO_HANDLER),
        ("target where none belongs", pack(1, 2, 7, "x", [1]), 7, INVALID),
        ("wrong target", pack(1, 10, 7, "../alice", [1]), 7, INVALID),
        ("somebody else's account", pack(1, 10, 7, "treasury", [1]), 7, DENIED),
        ("payload that is no array", pack(1, 2, 7, "", 1), 7, INVALID),
        ("field of another type", pack(1, 2, 7, "", ["x"]), 7, INVALID),
        ("negative number", pack(1, 2, 7, "", [-1]), 7, RANGE),
        ("enumeration beyond its values", pack(1, 10, 7, "alice", [1, "BTCUSDT", 2, 0, 0, 0, "1", "1"]), 7, INVALID),
        ("price as integer", pack(1, 10, 7, "alice", [1, "BTCUSDT", 0, 0, 0, 0, 1, "1"]), 7, INVALID),
        ("symbol too long", pack(1, 10, 7, "alice", [1, "B" * 15, 0, 0, 0, 0, "1", "1"]), 7, TOO_LARGE),
        ("text that is not UTF-8", b"\x95\x01\x0a\x07\xa5alice\x98\x01\xa2\xff\xfe\x00\x00\x00\x00\xa11\xa11", 7, INVALID),
        ("request too large", pack(1, 2, 7, "", ["x" * 20000]), 7, TOO_LARGE),
        ("nested deeply", b"\x95\x01\x02\x07\xa0" + b"\x91" * 40 + b"\x01", 0, MALFORMED),
        ("array that promises more", b"\xdd\xff\xff\xff\xff\x01\x02", 0, MALFORMED),
    ]
    for row in before:
        expect(socket, *row)
    assert ask(socket, hello)[:4] == [1, 100, 9, 0]
    for row in after:
        expect(socket, *row)
    longer = ask(socket, pack(1, 2, 7, "", [5, "unknown"], 0, "unknown", [1, [2]]))
    assert longer[:4] == [1, 100, 7, 0] and longer[6][0] == 5, longer
    seed = int(os.environ.get("STOA_SEED", random.getrandbits(32)))
    chance = random.Random(seed)
    good = pack(1, 10, 7, "alice", [1 << 40, "BTCUSDT", 0, 0, 0, 0, "1", "0.00001"], 1000)
    for _ in range(500):  # one flipped byte: refused by name, or still a request; nothing else
        spoilt = bytearray(good)
        spoilt[chance.randrange(len(spoilt))] ^= 1 << chance.randrange(8)
        answer = ask(socket, bytes(spoilt))
        assert answer[:2] == [1, 100] and isinstance(answer[3], int) and answer[3] <= 0, (seed, spoilt.hex(), answer)
    assert ask(socket, pack(1, 2, 8, "", [6]))[6][0] == 6
    print(f"{len(before) + len(after)} raw frames refused by name, 500 spoilt ones answered (seed {seed})")


main()
