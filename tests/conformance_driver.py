"""conformance_driver.py - the Python client at the end of a pipe; what conformance_driver.c says.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "sdk", "python"))
import stoa_client  # noqa: E402

CALLS = {
    "order.place": lambda c, target, f, d: {"order": c.place(target, deadline=d, **f)},
    "order.cancel": lambda c, target, f, d: {"order": c.cancel(target, deadline=d, **f)},
    "order.query": lambda c, target, f, d: {"order": c.query(target, deadline=d, **f)},
    "order.list": lambda c, target, f, d: c.orders(target, deadline=d, **f),
    "account.balances": lambda c, target, f, d: c.balances(target, deadline=d),
    "room.post": lambda c, target, f, d: c.post(target, deadline=d, **f),
    "room.history": lambda c, target, f, d: c.history(target, deadline=d, **f),
    "room.join": lambda c, target, f, d: c.join(target, deadline=d),
    "room.leave": lambda c, target, f, d: c.leave(target, deadline=d),
    "plugin.ask": lambda c, target, f, d: c.plugin_ask(target, f["instance"], f["message"], f["payload"], deadline=d),
    "room.members": lambda c, target, f, d: c.members(target, deadline=d),
    "book.depth": lambda c, target, f, d: c.depth(target, deadline=d, **f),
    "market.view": lambda c, target, f, d: c.market(target, deadline=d, **f),
}


class Driver:
    def __init__(self):
        self.client, self.events = None, []

    def open(self, line):
        self.close(line)
        self.client = stoa_client.Client(line["endpoint"], line["server"], line["key"], name="conformance")
        return {}

    def close(self, line):
        if self.client:
            self.client.close()
        self.client = None
        return {}

    def wait(self, line):
        self.client.wait_ready(line.get("deadline_ms", 5000) / 1000)
        return {"identity": self.client.welcome["identity"], "sessions": self.client.sessions}

    def call(self, line):
        deadline = line.get("deadline_ms", 5000) / 1000
        answer = CALLS[line["op"]](self.client, line["target"], line["fields"], deadline)
        stamp = answer["order"].stamp if "order" in answer else answer.stamp
        return {"answer": answer, "durability": stamp.durability, "position": stamp.position}

    def subscribe(self, line):
        handle = self.client.subscribe(line["stream"], line["target"], self.on_item, after=line.get("after"),
                                       deadline=line.get("deadline_ms", 5000) / 1000)
        return {"stream": handle}

    def unsubscribe(self, line):
        self.client.unsubscribe(line["stream"])
        return {}

    def on_item(self, item):
        event = {"stream": item.stream, "kind": item.kind}
        if item.kind == "gap":
            event.update(from_seq=item.from_seq, to_seq=item.to_seq)
        elif item.kind == "end":
            event.update(error=item.error)
        else:
            event.update(seq=item.seq, durability=item.stamp.durability, payload=item.payload)
        self.events.append(event)

    def take_events(self, line):
        until = time.monotonic() + line.get("wait_ms", 0) / 1000
        wanted = line.get("count", 1 << 62)
        self.client.poll(0)
        while len(self.events) < wanted and time.monotonic() < until:
            self.client.poll(until - time.monotonic())
        events, self.events = self.events, []
        return {"events": events}


VERBS = {"open": Driver.open, "wait": Driver.wait, "call": Driver.call, "subscribe": Driver.subscribe,
         "unsubscribe": Driver.unsubscribe, "events": Driver.take_events, "close": Driver.close}


def as_text(value):
    """A decimal as the node writes it: no exponent, no trailing zeros."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def main():
    driver = Driver()
    for text in sys.stdin:
        line = json.loads(text)
        try:
            out = {"ok": True, **VERBS[line["do"]](driver, line)}
        except stoa_client.StoaError as error:
            out = {"error": error.name, "text": error.text}
        print(json.dumps(out, default=as_text, separators=(",", ":")), flush=True)


main()
