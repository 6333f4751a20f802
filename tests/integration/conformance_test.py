"""conformance_test.py - goal: both clients do what docs/reference/protocol.md says, against a real node. Method: one suite of
cases, run through a driver program per client (tests/conformance_driver.c and .py, one JSON object a line), and raw frames
over a plain ZeroMQ socket for what no client would send. At the end every operation and stream of the page must have been used.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import shutil
import subprocess
import sys
import time

from running_node import Node, Proxy

SOURCE, BUILD = os.environ["STOA_SOURCE"], os.environ["STOA_BUILD"]


def python_with_zmq():
    """This Python, or the system's, for which python3-zmq and python3-msgpack are installed."""
    for candidate in (sys.executable, "/usr/bin/python3"):
        if subprocess.run([candidate, "-c", "import zmq, msgpack"], capture_output=True, check=False).returncode == 0:
            return candidate
    raise AssertionError("no Python has zmq and msgpack: install python3-zmq and python3-msgpack")


DRIVERS = {
    "C": [os.path.join(BUILD, "tests", "conformance_driver")],
    "Python": [python_with_zmq(), os.path.join(SOURCE, "tests", "conformance_driver.py")],
}


WAIT_S, WAIT_MS = 60, 60000  # for what takes a moment on an idle machine


class Refused(Exception):
    def __init__(self, name, text):
        super().__init__(f"{name}: {text}")
        self.name, self.text = name, text


class Client:
    """A driver with an open client."""

    ops, streams = set(), set()

    def __init__(self, command, node, who, endpoint=None, server="server"):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            self.do("open", endpoint=endpoint or node.endpoint, server=node.key(server) + ".pub", key=node.key(who))
        except Refused:
            self.close()
            raise

    def do(self, verb, **words):
        self.process.stdin.write(json.dumps({"do": verb, **words}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the driver died at {verb} {words}"
        out = json.loads(line)
        if "error" in out:
            raise Refused(out["error"], out["text"])
        return out

    def call(self, op, target, deadline_ms=WAIT_MS, **fields):
        self.ops.add(op)
        return self.do("call", op=op, target=target, fields=fields, deadline_ms=deadline_ms)

    def place(self, account, number, price, qty="0.01", side="buy", symbol="BTCUSDT", **more):
        return self.call("order.place", account, client_order_id=number, symbol=symbol, side=side, price=price, qty=qty,
                         **more)["answer"]["order"]

    def post(self, room, number, text="hello"):
        return self.call("room.post", room, client_post_id=number, text=text)["answer"]["seq"]

    def subscribe(self, stream, target, **more):
        self.streams.add(stream)
        return self.do("subscribe", stream=stream, target=target, deadline_ms=WAIT_MS, **more)["stream"]

    def events(self, count, wait_ms=WAIT_MS):
        return self.do("events", wait_ms=wait_ms, count=count)["events"]

    def events_until(self, complete, events=()):
        """Events, behind those given, until they are complete, and what comes within the next moment, which should be nothing."""
        events, until = list(events), time.monotonic() + WAIT_S
        while not complete(events) and time.monotonic() < until:
            events += self.events(1, wait_ms=200)
        return events + self.events(1 << 30, wait_ms=200)

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(WAIT_S) == 0, "the driver failed"


def refused(name, function, *args, **words):
    try:
        function(*args, **words)
    except Refused as error:
        assert error.name == name, f"{error.name} instead of {name}: {error.text}"
        return error
    raise AssertionError(f"not refused, {name} was expected")


class World:
    """What the cases of one driver share. Ids count upwards over all cases; accounts are the driver's own pair."""

    def __init__(self, node, command):
        self.node, self.command, self.number = node, command, 0

    def open(self, who, **words):
        return Client(self.command, self.node, who, **words)

    def next(self):
        self.number += 1
        return self.number


# --- cases: each gets a world, whose node runs when it begins and when it ends

def an_order_is_placed_and_answered_with_its_durability(w):
    alice = w.open("alice")
    number = w.next()
    out = alice.call("order.place", "alice", client_order_id=number, symbol="BTCUSDT", side="buy", price="60000.5",
                     qty="0.01")
    order = out["answer"]["order"]
    assert out["durability"] == "disk" and out["position"] > 0, out
    assert order["status"] == "open" and order["price"] == "60000.5" and order["qty"] == "0.01", order
    assert order["client_order_id"] == number and order["filled_qty"] == "0" and order["order_id"] > 0, order
    again = alice.call("order.place", "alice", client_order_id=number, symbol="BTCUSDT", side="buy", price="60000.5",
                       qty="0.01")
    assert again["answer"] == out["answer"], again
    for other in ({"price": "60000.51"}, {"qty": "0.02"}, {"side": "sell"}, {"tif": "ioc"}):
        fields = {"client_order_id": number, "symbol": "BTCUSDT", "side": "buy", "price": "60000.5", "qty": "0.01", **other}
        refused("DUPLICATE", alice.call, "order.place", "alice", **fields)
    by_id = alice.call("order.query", "alice", order_id=order["order_id"])["answer"]["order"]
    by_client = alice.call("order.query", "alice", client_order_id=number)["answer"]["order"]
    assert by_id == by_client == order
    cancelled = alice.call("order.cancel", "alice", client_order_id=number)["answer"]["order"]
    assert cancelled["status"] == "cancelled" and cancelled["reason"] == "client", cancelled
    assert alice.call("order.cancel", "alice", order_id=order["order_id"])["answer"]["order"] == cancelled
    alice.close()


def orders_trade_and_balances_follow(w):
    alice, bob = w.open("alice"), w.open("bob")
    before = {b["asset"]: b for b in bob.call("account.balances", "bob")["answer"]["balances"]}
    sold = alice.place("alice", w.next(), "70000", side="sell")
    bought = bob.place("bob", w.next(), "70000", side="buy")
    assert bought["status"] == "filled" and bought["filled_qty"] == "0.01" and bought["filled_notional"] == "700", bought
    assert alice.call("order.query", "alice", order_id=sold["order_id"])["answer"]["order"]["status"] == "filled"
    holdings = bob.call("account.balances", "bob")
    after = {b["asset"]: b for b in holdings["answer"]["balances"]}
    assert round(float(after["BTC"]["free"]) - float(before["BTC"]["free"]), 8) == 0.01, after
    assert round(float(after["USDT"]["free"]) - float(before["USDT"]["free"]), 8) == -700, after
    rejected = bob.place("bob", w.next(), "60000", qty="100")
    big = [bob.place("bob", w.next(), "60000", qty="100") for _ in range(20)]
    reasons = [o["reason"] for o in [rejected] + big if o["status"] == "rejected"]
    assert "insufficient_funds" in reasons, reasons
    for order in [rejected] + big:
        bob.call("order.cancel", "bob", order_id=order["order_id"])
    alice.close()
    bob.close()


def orders_are_listed_in_pages(w):
    alice = w.open("alice")
    first = alice.place("alice", w.next(), "10")
    for _ in range(69):
        alice.place("alice", w.next(), "10")
    listed, after = [], first["order_id"] - 1
    while True:
        page = alice.call("order.list", "alice", after_order_id=after, open_only=1)["answer"]
        listed += page["orders"]
        if not page["more"]:
            break
        after = page["orders"][-1]["order_id"]
    assert len(listed) == 70 and [o["order_id"] for o in listed] == sorted(o["order_id"] for o in listed)
    for order in listed:
        alice.call("order.cancel", "alice", order_id=order["order_id"])
    assert alice.call("account.balances", "alice")["answer"]["open_orders"] == 0
    alice.close()


def bad_input_is_refused_by_name(w):
    alice = w.open("alice")
    good = {"client_order_id": w.next(), "symbol": "BTCUSDT", "side": "buy", "price": "60000", "qty": "0.01"}
    rows = [
        ("INVALID", {"client_order_id": 0}), ("INVALID", {"price": "0"}), ("INVALID", {"price": "-1"}),
        ("INVALID", {"qty": "0"}), ("INVALID", {"qty": "-0.01"}), ("PRECISION", {"price": "60000.001"}),
        ("PRECISION", {"qty": "0.000001"}), ("UNKNOWN_SYMBOL", {"symbol": "XYZ"}), ("RANGE", {"price": "92000000000"}),
    ]
    before = alice.call("account.balances", "alice")["answer"]
    for name, wrong in rows:
        refused(name, alice.call, "order.place", "alice", **{**good, **wrong})
    refused("DENIED", alice.call, "order.place", "bob", **good)
    refused("DENIED", alice.call, "account.balances", "nobody")
    refused("INVALID", alice.call, "account.balances", "not a name")
    refused("NOT_FOUND", alice.call, "order.query", "alice", order_id=999999999)
    refused("NOT_FOUND", alice.call, "order.cancel", "alice", client_order_id=999999999)
    refused("UNKNOWN_SYMBOL", alice.call, "book.depth", "XYZ")
    refused("UNKNOWN_SYMBOL", alice.call, "market.view", "binance.XYZ")
    refused("NOT_FOUND", alice.call, "room.join", "nowhere")
    assert alice.call("account.balances", "alice")["answer"] == before
    alice.close()


def a_wrong_key_is_denied(w):
    stranger = w.open("stranger")
    refused("DENIED", stranger.call, "account.balances", "alice")
    refused("DENIED", stranger.do, "wait", deadline_ms=WAIT_MS)
    stranger.close()
    mistaken = w.open("alice", server="bob")
    refused("DENIED", mistaken.do, "wait", deadline_ms=WAIT_MS)
    mistaken.close()
    refused("NOT_FOUND", w.open, "nobody-has-this-key")


def a_room_is_joined_written_and_read(w):
    alice, bob = w.open("alice"), w.open("bob")
    alice.call("room.leave", "annex")
    refused("DENIED", alice.call, "room.post", "annex", client_post_id=w.next(), text="hello")
    refused("DENIED", alice.call, "room.history", "annex")
    refused("DENIED", alice.call, "room.members", "annex")
    refused("DENIED", alice.subscribe, "room", "annex")
    alice.call("room.join", "annex")
    alice.call("room.join", "annex")
    bob.call("room.join", "annex")
    assert alice.call("room.members", "annex")["answer"]["members"][-2:] in (["alice", "bob"], ["bob", "alice"])
    number = w.next()
    first = alice.post("annex", number, "stoa \u03c3\u03c4\u03bf\u03ac \U0001f3db")
    assert alice.post("annex", number, "stoa \u03c3\u03c4\u03bf\u03ac \U0001f3db") == first
    refused("DUPLICATE", alice.post, "annex", number, "another text")
    assert bob.post("annex", number, "bob has ids of his own") == first + 1
    for text in ("", "bell \a", "esc \x1b[31m", "\r\n", "\u0085"):
        refused("INVALID", alice.post, "annex", w.next(), text)
    refused("INVALID", alice.post, "annex", 0, "no id")
    refused("TOO_LARGE", alice.post, "annex", w.next(), "x" * 1023)
    assert alice.post("annex", w.next(), "x" * 1022) == first + 2
    page = bob.call("room.history", "annex", from_seq=first, limit=2)
    entries = page["answer"]["entries"]
    assert [(e["seq"], e["author"]) for e in entries] == [(first, "alice"), (first + 1, "bob")], entries
    assert entries[0]["text"] == "stoa \u03c3\u03c4\u03bf\u03ac \U0001f3db" and page["durability"] == "disk"
    assert page["answer"]["last"] == first + 2
    alice.close()
    bob.close()


def a_plug_in_is_asked_by_who_was_given_it(w):
    alice, bob = w.open("alice"), w.open("bob")

    def ask(who, plugin="tally", instance="t", message="add", payload='{"n": 3}'):
        return who.call("plugin.ask", plugin, instance=instance, message=message, payload=payload)["answer"]["payload"]
    before = json.loads(ask(alice, payload=""))["total"]
    assert json.loads(ask(alice)) == {"total": before + 3}
    assert json.loads(ask(alice, payload="{}")) == {"total": before + 3}
    refused("DENIED", ask, bob)
    refused("DENIED", ask, alice, plugin="other")
    refused("NOT_FOUND", ask, alice, instance="nobody")
    refused("NOT_FOUND", ask, alice, message="total")
    refused("MALFORMED", ask, alice, payload='{"n": ')
    refused("INVALID", ask, alice, payload='{"m": 1}')
    refused("INVALID", ask, alice, payload='{"n": "three"}')
    refused("FAILED", ask, alice, message="crash", payload="")
    until = time.monotonic() + WAIT_S
    answer = None
    while not answer:  # it is begun anew
        try:
            answer = json.loads(ask(alice))
        except Refused as why:
            assert why.name == "FAILED" and time.monotonic() < until, why
    assert answer == {"total": 3}
    alice.close()
    bob.close()


def streams_tell_every_change_in_order(w):
    alice, bob = w.open("alice"), w.open("bob")
    for client in (alice, bob):
        client.call("room.join", "lobby")
    orders = alice.subscribe("orders", "alice")
    book = alice.subscribe("book", "BTCUSDT")
    trades = alice.subscribe("trades", "BTCUSDT")
    room = alice.subscribe("room", "lobby")
    refused("DENIED", alice.subscribe, "orders", "bob")
    refused("UNKNOWN_SYMBOL", alice.subscribe, "trades", "XYZ")
    refused("NOT_FOUND", alice.subscribe, "room", "nowhere")
    refused("UNKNOWN_SYMBOL", alice.subscribe, "market.top", "binance.XYZ")
    seq = bob.post("lobby", w.next())
    sold = alice.place("alice", w.next(), "71000", side="sell", qty="0.03")
    bob.place("bob", w.next(), "71000", side="buy", qty="0.02")
    alice.call("order.cancel", "alice", order_id=sold["order_id"])

    def complete(events):
        heard, told = [e["stream"] for e in events], [e["payload"]["order"] for e in events if e["kind"] == "order"]
        return trades in heard and room in heard and heard.count(book) >= 4 and told and told[-1]["status"] == "cancelled"

    events = alice.events_until(complete)
    of = {handle: [e for e in events if e["stream"] == handle] for handle in (orders, book, trades, room)}
    assert of[orders][0]["kind"] == "orders", of[orders]
    changes = [e for e in of[orders] if e["kind"] == "order"]
    assert [e["seq"] for e in changes] == list(range(changes[0]["seq"], changes[0]["seq"] + len(changes)))
    assert changes[0]["seq"] == of[orders][0]["seq"] + 1
    assert changes[-1]["payload"]["order"]["status"] == "cancelled", changes[-1]
    assert changes[-1]["payload"]["order"]["filled_qty"] == "0.02" and changes[-1]["durability"] == "disk"
    assert [e["kind"] for e in of[book]][0] == "book" and len(of[book]) >= 4, of[book]
    last = of[book][0]["seq"]
    for event in of[book][1:]:
        assert event["payload"]["first_id"] == last + 1, event
        last = event["payload"]["last_id"]
    assert len(of[trades]) == 1 and of[trades][0]["payload"]["qty"] == "0.02" and of[trades][0]["payload"]["taker_side"] == 0
    assert [(e["kind"], e["seq"], e["payload"]["entry"]["author"]) for e in of[room]] == [("message", seq, "bob")], of[room]
    for handle in (orders, book, trades):
        alice.do("unsubscribe", stream=handle)
    refused("NOT_FOUND", alice.do, "unsubscribe", stream=orders)
    alice.call("room.leave", "lobby")
    ends = alice.events(1)
    assert [(e["stream"], e["kind"], e["error"]) for e in ends] == [(room, "end", "DENIED")], ends
    alice.close()
    bob.close()


def check_dense(events, handle, kind, last):
    """Changes of the stream follow each other from last on, but for gaps that are told; the last number and the gaps."""
    gaps = 0
    for event in events:
        if event["stream"] != handle:
            continue
        if event["kind"] == "gap":
            assert event["from_seq"] == last + 1, (event, last)
            last = event["to_seq"]
            gaps += 1
        elif event["kind"] == kind:
            assert event["payload"].get("first_id", event["seq"]) == last + 1, (event, last)
            last = event["seq"]
        else:
            last = event["seq"]
    return last, gaps


def streams_go_on_after_a_cut_connection(w):
    proxy = Proxy(w.node.port)
    alice, bob = w.open("alice", endpoint=proxy.endpoint), w.open("bob")
    for client in (alice, bob):
        client.call("room.join", "lobby")
    seen = bob.post("lobby", w.next())
    room, trades = alice.subscribe("room", "lobby"), alice.subscribe("trades", "BTCUSDT")
    alice.place("alice", w.next(), "72000", side="sell", qty="1")
    events, sessions = [], alice.do("wait", deadline_ms=WAIT_MS)["sessions"]
    for round_ in range(4):
        for _ in range(5):
            posted = bob.post("lobby", w.next())
            bob.place("bob", w.next(), "72000", side="buy", qty="0.01")
        proxy.cut()
        if round_ % 2:  # away for longer
            proxy.hold(True)
            for _ in range(30):
                posted = bob.post("lobby", w.next())
                bob.place("bob", w.next(), "72000", side="buy", qty="0.01")
            proxy.hold(False)
        until = time.monotonic() + WAIT_S
        while alice.do("wait", deadline_ms=WAIT_MS)["sessions"] == sessions:  # it dials again
            assert time.monotonic() < until, sessions
            events += alice.events(1, wait_ms=100)
        sessions = alice.do("wait", deadline_ms=WAIT_MS)["sessions"]
    events = alice.events_until(lambda events: max((e["seq"] for e in events if e["stream"] == room), default=0) >= posted
                                and sum(e["stream"] == trades for e in events) >= 80, events)
    last, gaps = check_dense(events, room, "message", seen)
    assert last == posted and gaps == 0, (last, posted, gaps)
    start = next(e["seq"] for e in events if e["stream"] == trades) - 1
    last, gaps = check_dense(events, trades, "trade", start)
    assert last - start == 80 and gaps == 0, (last - start, gaps)
    for order in alice.call("order.list", "alice", after_order_id=0, open_only=1)["answer"]["orders"]:
        alice.call("order.cancel", "alice", order_id=order["order_id"])
    alice.close()
    bob.close()


def calls_go_on_after_a_cut_connection(w):
    proxy = Proxy(w.node.port)
    alice = w.open("alice", endpoint=proxy.endpoint)
    alice.do("wait")
    for _ in range(5):
        proxy.cut()
        number = w.next()
        order = alice.place("alice", number, "11")
        assert order["client_order_id"] == number and order["status"] == "open"
        alice.call("order.cancel", "alice", order_id=order["order_id"])
    alice.close()


def a_program_resumes_where_an_earlier_one_stopped(w):
    alice = w.open("alice")
    alice.call("room.join", "annex")
    first = alice.post("annex", w.next())
    for _ in range(20):
        last = alice.post("annex", w.next())
    alice.close()
    alice = w.open("alice")
    room = alice.subscribe("room", "annex", after=first)
    seqs = [e["seq"] for e in alice.events(20)]
    assert seqs == list(range(first + 1, last + 1)), seqs
    alice.do("unsubscribe", stream=room)
    room = alice.subscribe("room", "annex", after=last + 1000)  # more than there is
    gap = alice.events(1)[0]
    assert (gap["kind"], gap["from_seq"], gap["to_seq"]) == ("gap", last + 1001, last), gap
    posted = alice.post("annex", w.next())
    assert [e["seq"] for e in alice.events(1)] == [posted]
    alice.close()


def a_stopped_node_is_a_timeout_and_the_retry_is_the_same_order(w):
    alice = w.open("alice")
    alice.do("wait")
    number = w.next()
    before = alice.call("account.balances", "alice")["answer"]["open_orders"]
    w.node.freeze()
    began = time.monotonic()
    try:
        refused("TIMEOUT", alice.call, "order.place", "alice", deadline_ms=500, client_order_id=number, symbol="BTCUSDT",
                side="buy", price="12", qty="0.01")
        assert time.monotonic() - began > 0.4
    finally:
        w.node.thaw()
    order = alice.place("alice", number, "12")
    assert order["status"] == "open"
    assert alice.call("account.balances", "alice")["answer"]["open_orders"] == before + 1
    alice.call("order.cancel", "alice", order_id=order["order_id"])
    alice.close()


def a_killed_node_comes_back_with_everything_answered(w):
    alice = w.open("alice")
    alice.call("room.join", "lobby")
    room = alice.subscribe("room", "lobby")
    orders = alice.subscribe("orders", "alice")
    kept = [alice.place("alice", w.next(), "13") for _ in range(3)]
    posted = alice.post("lobby", w.next())
    w.node.kill()
    refused("TIMEOUT", alice.call, "account.balances", "alice", deadline_ms=300)
    w.node.start()
    for order in kept:
        assert alice.call("order.query", "alice", order_id=order["order_id"])["answer"]["order"] == order
    again = alice.post("lobby", w.next())
    assert again == posted + 1
    events = alice.events_until(lambda events: any(e["stream"] == room and e.get("seq") == again for e in events)
                                and sum(e["kind"] == "order" for e in events) >= len(kept))
    last, gaps = check_dense(events, room, "message", posted - 1)
    assert last == again and gaps == 0, (last, gaps)
    told = [e for e in events if e["stream"] == orders]
    last, _ = check_dense(told, orders, "order", told[0]["seq"])
    for order in kept:
        alice.call("order.cancel", "alice", order_id=order["order_id"])
    events = alice.events_until(lambda events: any(e["stream"] == orders and e.get("seq") == last + 3 for e in events))
    assert check_dense(events, orders, "order", last) == (last + 3, 0)
    alice.close()


def a_stopping_node_says_so(w):
    alice = w.open("alice")
    alice.do("wait")
    assert w.node.stop() == 0
    w.node.start()
    assert alice.call("account.balances", "alice")["ok"]
    alice.close()


CASES = [
    an_order_is_placed_and_answered_with_its_durability,
    orders_trade_and_balances_follow,
    orders_are_listed_in_pages,
    bad_input_is_refused_by_name,
    a_wrong_key_is_denied,
    a_room_is_joined_written_and_read, a_plug_in_is_asked_by_who_was_given_it,
    streams_tell_every_change_in_order,
    streams_go_on_after_a_cut_connection,
    calls_go_on_after_a_cut_connection,
    a_program_resumes_where_an_earlier_one_stopped,
    a_stopped_node_is_a_timeout_and_the_retry_is_the_same_order,
    a_killed_node_comes_back_with_everything_answered,
    a_stopping_node_says_so,
]


def outside_markets_are_seen(command):
    """The mirror's operations and streams need a node with a market; the simulated one never stands still."""
    node = Node(market="sim")
    node.start()
    try:
        alice = Client(command, node, "alice")
        until = time.monotonic() + WAIT_S
        while True:
            view = alice.call("market.view", "sim.BTCUSDT", limit=5)["answer"]
            if view["status"] == "live" and view["bids"] and view["asks"]:
                break
            assert time.monotonic() < until, view
            time.sleep(0.1)
        assert len(view["bids"]) <= 5 and float(view["bids"][0]["price"]) < float(view["asks"][0]["price"])
        top = alice.subscribe("market.top", "sim.BTCUSDT")
        diff = alice.subscribe("market.diff", "sim.BTCUSDT")
        trade = alice.subscribe("market.trade", "sim.BTCUSDT")
        events = []
        until = time.monotonic() + WAIT_S
        while not all(any(e["stream"] == handle for e in events) for handle in (top, trade)) or \
                sum(e["stream"] == diff for e in events) < 20:
            events += alice.events(50, wait_ms=1000)
            assert time.monotonic() < until, len(events)
        changes = [e for e in events if e["stream"] == diff]
        assert changes[0]["kind"] == "mirror"
        last = changes[0]["seq"]
        for event in changes[1:]:
            assert event["payload"]["first_id"] <= last + 1 and event["payload"]["last_id"] > last, (event, last)
            last = event["payload"]["last_id"]
        alice.close()
    finally:
        node.close()
        shutil.rmtree(node.folder)


def used_everything(command):
    """The page's tables of operations and streams, but for what the clients do by themselves."""
    with open(os.path.join(SOURCE, "docs", "reference", "protocol.md"), encoding="utf-8") as page:
        text = page.read()
    rows = [line.split("|")[1:4] for line in text.splitlines() if line.startswith("| ")]
    ops = {name.strip() for number, name, _ in rows if number.strip().isdigit() and "." in name and "`" not in name}
    streams = {"orders", "book", "trades", "room"} | {name for name in ops if name.startswith("market.") and name != "market.view"}
    ops -= streams
    assert len(ops) >= 12 and len(streams) >= 7, (ops, streams)
    assert ops == Client.ops, (command, ops ^ Client.ops)
    assert streams == Client.streams, (command, streams ^ Client.streams)


def raw_frames_are_refused(node):
    """Frames that no client sends, over a plain socket; run in a Python that has zmq."""
    script = os.path.join(SOURCE, "tests", "conformance_raw.py")
    done = subprocess.run([python_with_zmq(), script, node.endpoint, node.key("server"), node.key("alice")], check=False,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    print("  " + done.stdout.strip())


def main():
    for name, command in DRIVERS.items():
        node = Node(plugin=os.path.join(BUILD, "plugins", "tally.so"))
        node.start()
        script = "import zmq,sys;p,s=zmq.curve_keypair();open(sys.argv[1]+'.pub','wb').write(p);open(sys.argv[1]+'.key','wb').write(s)"
        subprocess.run([python_with_zmq(), "-c", script, node.key("stranger")], check=True)
        os.chmod(node.key("stranger") + ".key", 0o600)
        Client.ops, Client.streams = set(), set()
        world = World(node, command)
        try:
            for case in CASES:
                began = time.monotonic()
                case(world)
                print(f"{name}: {case.__name__} {time.monotonic() - began:.1f}s", flush=True)
            raw_frames_are_refused(node)
            outside_markets_are_seen(command)
            print(f"{name}: outside_markets_are_seen", flush=True)
            used_everything(name)
        except BaseException:
            print(f"{name}: failed; the node's log ends:\n{node.log()}", flush=True)
            raise
        finally:
            node.close()
        shutil.rmtree(node.folder)


if __name__ == "__main__":
    main()
