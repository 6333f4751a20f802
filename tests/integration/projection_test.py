"""projection_test.py - goal: what stands in PostgreSQL is what the journal says: nothing is missing, nothing is there twice, whoever
was killed in between; the platform trades on while PostgreSQL is away, says so, and the rows catch up.

Method: a real stoad under orders from the SDK, real PostgreSQL servers in temporary folders. Servers are away at the start, killed
with -9, full, without rights, replaced by their standby; the node is killed with -9. Then SQL's counts and sums are compared with
the accounts', the book's and the journal's, and a rebuild from position 1 must give the same checksums. The seed is printed;
STOA_SEED repeats it (the moments of the kills are real time), STOA_SCENE runs one scene only.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from postgres_server import Postgres, programs

BIN, SOURCE = os.environ["STOA_BIN"], os.environ["STOA_SOURCE"]
DRIVER = os.path.join(os.environ["STOA_BUILD"], "tests", "chaos_orders")
ROUNDS = 60 if os.environ.get("STOA_DEEP") else 8
KILLS = 200 if os.environ.get("STOA_DEEP") else 12  # of PostgreSQL alone
SEED = int(os.environ.get("STOA_SEED", time.time_ns() & 0xFFFFFFFF))
WAIT_S = 120
TABLES = ("exchanges users symbols risk_limits api_keys balances positions orders trades order_history market_data").split()

CONFIG = """
symbols:
  - {name: BTCUSDT, base: BTC, quote: USDT, tick: 0.01, lot: 0.00001, qty_min: 0.00001, qty_max: 100}
accounts:
  - {name: treasury, issuer: true}
  - {name: maker}
  - {name: alice, funds: "100000000 USDT, 1000 BTC"}
  - {name: bob, funds: "100000000 USDT, 1000 BTC"}
  - {name: safe, shard: vault, funds: "5000 USDT, 3 BTC"}
  - {name: chest, shard: fund, funds: "700 USDT"}
clients:
  - {name: demo, accounts: "treasury, maker, alice, bob, safe, chest"}
rooms:
  - {name: lobby}
market: {source: none}
quoters: []
"""


def wait_until(what, condition):
    until = time.monotonic() + WAIT_S
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"{what} did not happen")
        time.sleep(0.05)


class Node:
    environment = dict(os.environ)

    def __init__(self, conninfo, **settings):
        self.folder = tempfile.mkdtemp(prefix="stoa-projection-")
        self.endpoint = "zmq+ipc://" + os.path.join(self.folder, "gateway.sock")
        self.settings = {"projection.postgres": conninfo, "projection.interval": "5ms", **settings}
        self.process = self.driver = None
        with open(os.path.join(self.folder, "stoa.yaml"), "w", encoding="utf-8") as out:
            out.write(CONFIG)
        self.start()

    def start(self):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(BIN, "stoad"), "--config", os.path.join(self.folder, "stoa.yaml"), "--data", self.data,
                 "--gateway.listen=" + self.endpoint, "--http.port=0", *(f"--{key}={value}" for key, value in self.settings.items())],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment)
        wait_until("the node's door", lambda: self.stoa("node", check=False) is not None)

    @property
    def data(self):
        return os.path.join(self.folder, "data")

    def stoa(self, command, check=True):
        done = subprocess.run([os.path.join(BIN, "stoa"), "--data", self.data, "--write", "-o", "json", "--eval", command],
                              capture_output=True, text=True, timeout=WAIT_S, check=False)
        if done.returncode and check:
            raise AssertionError(f"{command}: {done.stdout} {done.stderr}\n{self.log()}")
        return json.loads(done.stdout) if done.returncode == 0 else None

    def shard(self, name="trade"):
        return next(shard for shard in self.stoa("projection status")["shards"] if shard["shard"] == name)

    def wait_level(self):
        """Until every committed event is in the rows."""
        def level():
            shards = self.stoa("projection status")["shards"]
            return all(shard["state"] == "live" and shard["behind"] == 0 for shard in shards) and shards
        return wait_until("the rows' being level", level)

    def metrics(self):
        port = next(json.loads(line)["port"] for line in reversed(self.lines()) if '"http_listens"' in line)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=WAIT_S) as answer:
            return answer.read().decode()

    def metric(self, name):
        for line in self.metrics().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise AssertionError(f"no metric {name}")

    def lines(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8") as log:
            return log.read().splitlines()

    def log(self):
        return "\n".join(self.lines()[-20:])

    # --- orders

    def begin_orders(self, count):
        if not self.driver:
            keys = os.path.join(self.data, "keys")
            wait_until("the client's key", lambda: os.path.exists(os.path.join(keys, "demo.pub")))
            self.driver = subprocess.Popen([DRIVER, self.endpoint, os.path.join(keys, "server.pub"), os.path.join(keys, "demo"), "BTCUSDT",
                                            str(SEED), "safe", "chest"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ask(f"place {count}")

    def ask(self, line):
        self.driver.stdin.write(line + "\n")
        self.driver.stdin.flush()

    def end_orders(self):
        """Acknowledged orders; all of them are as they were acknowledged."""
        self.ask("verify")  # also ends the placing
        placed, verified = json.loads(self.driver.stdout.readline()), json.loads(self.driver.stdout.readline())
        wrong = [key for key in ("lost", "changed", "twice", "unbalanced", "drift", "unanswered") if verified[key]]
        assert not wrong and not placed["errors"], f"{placed} {verified}\n{self.log()}"
        return placed["acknowledged"]

    def orders(self, count):
        self.begin_orders(count)
        time.sleep(0.4)
        return self.end_orders()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        for process in (self.driver, self.process):
            if process and process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def sums(server, schema="stoa"):
    """Count and checksum of every table."""
    return {table: server.sql(f"SELECT count(*), sum(hashtextextended(r::text, 0)) FROM {schema}.{table} r")[0] for table in TABLES}


def check_against_the_journal(node, server, acknowledged):
    """SQL's numbers are those of the journal, the accounts and the book."""
    shards = {shard["shard"]: shard for shard in node.wait_level()}
    for name, shard in shards.items():
        replayed = node.stoa(f"hash {name}")["hash"]
        assert replayed["equal"], replayed
        assert str(shard["position"]) == server.one(f"SELECT position FROM stoa.cursors WHERE shard = '{name}'"), name
    last = node.stoa("actor risk/main")["state"]["last_order_id"]
    counted = server.sql("SELECT count(*), count(DISTINCT number), max(number), count(*) FILTER (WHERE client_order_id > 0) FROM stoa.orders")[0]
    assert counted == [str(last)] * 4, (last, counted)
    assert last >= acknowledged, (last, acknowledged)
    accounts = server.sql("SELECT name, shard FROM stoa.users WHERE stream IS NOT NULL")
    assert {"treasury", "alice", "bob", "safe", "chest"} <= {name for name, _ in accounts} and len(accounts) >= 6, accounts
    for name, shard in accounts:  # of all shards
        for balance in node.stoa(f"actor trade_account/{name}")["state"]["balances"]:
            row = server.sql("SELECT available = {free}, locked = {reserved} FROM stoa.balances b JOIN stoa.users u ON u.id = b.user_id "
                             "WHERE u.name = '{name}' AND u.shard = '{shard}' AND currency = '{asset}'".format(name=name, shard=shard, **balance))
            assert row == [["t", "t"]], (name, balance, row)
    empty = {
        "money is conserved": "SELECT currency FROM stoa.balances GROUP BY 1 HAVING sum(total) <> 0",
        "a trade has two sides": "SELECT number FROM stoa.trades GROUP BY 1 HAVING count(*) <> 2 OR count(DISTINCT side) <> 2",
        "fills are trades": "SELECT id FROM stoa.orders o WHERE filled_quantity <> coalesce((SELECT sum(quantity) FROM stoa.trades t "
                            "WHERE t.order_id = o.id), 0)",
        "the last change is the state": "SELECT o.id FROM stoa.orders o JOIN stoa.order_history h ON h.order_id = o.id AND h.seq = o.seq "
                                        "WHERE h.status <> o.status",
        "every order has its history": "SELECT id FROM stoa.orders o WHERE NOT EXISTS (SELECT FROM stoa.order_history h WHERE h.order_id = o.id AND h.seq = o.seq)",
        "no orphans": "SELECT id FROM stoa.trades t WHERE NOT EXISTS (SELECT FROM stoa.orders o WHERE o.id = t.order_id) UNION ALL "
                      "SELECT id FROM stoa.orders o WHERE NOT EXISTS (SELECT FROM stoa.users u WHERE u.id = o.user_id)",
        "volume": "SELECT 1 FROM (SELECT sum(volume) v FROM stoa.market_data) m, (SELECT sum(quantity) q FROM stoa.trades WHERE maker) t WHERE v <> q",
        "limits, one to one": "SELECT id FROM stoa.users u WHERE (SELECT count(*) FROM stoa.risk_limits r WHERE r.user_id = u.id) <> 1",
    }
    for what, sql in empty.items():
        assert server.sql(sql) == [], what


class Reader(threading.Thread):
    """Somebody who counts a table's rows again and again in one session; ends at a wrong count or an error."""

    def __init__(self, server, table):
        super().__init__()
        self.sql, self.right = f"SELECT count(*) FROM stoa.{table};", server.one(f"SELECT count(*) FROM stoa.{table}")
        self.process = subprocess.Popen([os.path.join(programs(), "psql"), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h",
                                         server.folder, "-U", "stoa", "-d", "stoa"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        self.reads, self.wrong, self.done = 0, None, threading.Event()
        self.start()

    def run(self):
        while not self.done.is_set() and self.wrong is None:
            self.process.stdin.write(self.sql + "\n")
            self.process.stdin.flush()
            said = self.process.stdout.readline().strip()
            self.wrong = None if said == self.right else f"{self.sql} {said} instead of {self.right}"
            self.reads += 1
            time.sleep(0.001)

    def end(self):
        self.done.set()
        self.join()
        self.process.communicate()
        assert self.wrong is None and self.reads, self.wrong


def check_rebuild(node, server):
    """Writing all anew gives the same rows, and who reads meanwhile sees them all the time."""
    node.wait_level()
    before = sums(server)
    rebuilds = node.stoa("projection status")["projection"]["rebuilds"]
    plan = node.stoa("projection rebuild --plan")["plan"]
    assert plan["events"] >= node.shard()["position"] and "stoa_shadow" in plan["writes"], plan
    readers = [Reader(server, table) for table in ("orders", "cursors")]
    node.stoa("projection rebuild")
    wait_until("the rebuild", lambda: node.stoa("projection status")["projection"]["rebuilds"] == rebuilds + 1)
    node.wait_level()
    after = sums(server)
    assert before == after, (before, after)
    wait_until("the end of the old rows", lambda: server.sql("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'stoa\\_%'") == [])
    for reader in readers:
        reader.end()


# --- scenes

def slow_and_stuck():
    """A server that takes its time and one that has stopped both fall behind. A slow one moves, and each step ends the quiet; a stuck
    one does not, and the quiet is as long as it has been watched."""
    server = Postgres()
    node = Node(server.conninfo, **{"projection.batch": 20})

    def look():
        before = time.monotonic()
        shard = node.shard()
        return shard["position"], shard["behind"], shard["quiet_ns"] / 1e9, before, time.monotonic()
    try:
        acknowledged = node.orders(100)
        node.wait_level()
        server.sql("CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END'")
        server.sql("CREATE TRIGGER slow BEFORE INSERT ON stoa.order_history FOR EACH ROW EXECUTE FUNCTION public.slow()")
        acknowledged += node.orders(2000)
        steps, last = 0, look()
        assert last[1] > 0, last
        while steps < 5:
            now = look()
            assert now[1] > 0, "it is level before it was seen to be slow"
            if now[0] > last[0]:  # a step since then: no quiet is older than the look before
                steps += 1
                assert now[2] <= now[4] - last[3], (last, now)
            last = now
        server.signal_all(signal.SIGSTOP)
        first = look()
        while True:  # what was on its way may still have come
            now = look()
            if now[0] == first[0] and now[3] - first[4] > 3:
                break
            if now[0] > first[0]:
                first = now
        assert now[1] > 0 and now[2] >= now[3] - first[4], (first, now)
        name = '{shard="trade"}'
        assert node.metric("stoa_projection_quiet_seconds" + name) >= int(now[2]) > 0
        assert node.metric("stoa_projection_behind_positions" + name) > 0
        server.signal_all(signal.SIGCONT)
        server.sql("DROP FUNCTION public.slow() CASCADE")
        check_against_the_journal(node, server, acknowledged)
        assert node.metric("stoa_projection_quiet_seconds" + name) == 0
    finally:
        server.signal_all(signal.SIGCONT)
        node.close()
        server.close()


def beside_schemas_of_others():
    """What has a name that a rebuild would use, and is not the projection's, stays; a rebuild says so."""
    server = Postgres()
    node = None
    try:
        for schema in ("stoa_old", "stoa_shadow"):
            server.sql(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.payroll (x int); INSERT INTO {schema}.payroll VALUES (42)")
        node = Node(server.conninfo)
        acknowledged = node.orders(100)
        check_against_the_journal(node, server, acknowledged)
        for schema in ("stoa_shadow", "stoa_old"):
            node.stoa("projection rebuild")
            wait_until("a refusal", lambda: f"schema {schema} has 'payroll'" in str(node.stoa("projection status")["projection"]["rebuild_error"]))
            for other in ("stoa_old", "stoa_shadow"):
                there = server.sql(f"SELECT 1 FROM pg_tables WHERE schemaname = '{other}' AND tablename = 'payroll'")
                assert len(there) == (schema == "stoa_shadow" or other == "stoa_old"), (schema, other, there)
            acknowledged += node.orders(100)  # and it goes on
            check_against_the_journal(node, server, acknowledged)
            server.sql(f"DROP SCHEMA {schema} CASCADE")
        check_rebuild(node, server)
    finally:
        if node:
            node.close()
        server.close()


def each_way_at_its_time():
    """What was missed comes by COPY; what then happens little by little comes through the pipeline, and nothing by COPY."""
    def batches(way):
        return node.metric(f'stoa_projection_batches_total{{way="{way}"}}')
    server = Postgres()
    server.stop()
    node = Node(server.conninfo)
    try:
        node.begin_orders(100000)
        wait_until("more than a pipeline takes", lambda: node.shard()["behind"] > 2000)
        acknowledged = node.end_orders()
        server.start()
        node.stoa("projection resume")
        check_against_the_journal(node, server, acknowledged)
        copied, piped = batches("copy"), batches("pipeline")
        assert copied > 0, (copied, piped)
        for _ in range(3):
            acknowledged += node.orders(5)
            node.wait_level()
        assert batches("copy") == copied and batches("pipeline") > piped, (copied, piped, node.metrics())
        check_against_the_journal(node, server, acknowledged)
    finally:
        node.close()
        server.close()


def nothing_configured():
    node = Node("")
    try:
        assert node.stoa("projection status", check=False) is None
        for secret in ("host=x password=hunter2", "postgresql://stoa:hunter2@host/stoa"):
            done = subprocess.run([os.path.join(BIN, "stoad"), f"--projection.postgres={secret}", "--print-config"], capture_output=True,
                                  text=True, check=False, timeout=WAIT_S)
            assert done.returncode == 2 and "hunter2" not in done.stdout + done.stderr and "PGPASSFILE" in done.stderr, done
    finally:
        node.close()


def away_at_the_start_then_under_load():
    server = Postgres()
    server.stop()
    node = Node(server.conninfo)
    try:
        acknowledged = node.orders(500)
        assert acknowledged > 0
        shard = node.shard()
        status = node.stoa("projection status")["projection"]
        assert shard["state"] == "waiting" and shard["position"] == 0 and shard["behind"] > 0 and shard["behind_ns"] > 0, shard
        assert not status["connected"] and status["error"], status
        assert node.metric('stoa_projection_state{shard="trade"}') == 2
        assert node.metric('stoa_projection_behind_positions{shard="trade"}') > 0
        if shutil.which("promtool"):
            subprocess.run(["promtool", "check", "metrics"], input=node.metrics(), text=True, check=True, timeout=WAIT_S)
        server.start()
        acknowledged += node.orders(500)
        check_against_the_journal(node, server, acknowledged)
        assert node.metric('stoa_projection_state{shard="trade"}') == 0
        assert node.metric('stoa_projection_behind_positions{shard="trade"}') == 0

        node.stoa("projection pause")
        acknowledged += node.orders(200)
        assert node.shard()["state"] == "paused" and node.shard()["behind"] > 0
        node.stoa("projection resume")
        check_against_the_journal(node, server, acknowledged)
        check_rebuild(node, server)
    finally:
        node.close()
        server.close()


def killed_again_and_again(chance):
    """Either of the two, or both, at random moments under load."""
    server = Postgres()
    node = Node(server.conninfo, **{"projection.batch": 200})
    acknowledged = 0
    try:
        for number in range(ROUNDS):
            node.begin_orders(1500)
            time.sleep(chance.uniform(0.02, 0.3))
            victims = chance.choice([("postgres",), ("node",), ("postgres", "node"), ("rebuild", "postgres"), ("rebuild", "node")])
            if "rebuild" in victims:
                node.stoa("projection rebuild", check=False)
                time.sleep(chance.uniform(0.0, 0.1))
            if "postgres" in victims:
                server.kill()
            if "node" in victims:
                time.sleep(chance.uniform(0.0, 0.1))
                node.kill()
                node.start()
            time.sleep(chance.uniform(0.0, 0.2))
            if "postgres" in victims:
                server.start()
            acknowledged += node.end_orders()
            print(f"round {number + 1}: {' and '.join(victims)}; {acknowledged} orders acknowledged", flush=True)
        wait_until("the end of a rebuild", lambda: node.stoa("projection status")["projection"]["rebuild"] == "none")
        check_against_the_journal(node, server, acknowledged)
        check_rebuild(node, server)
    finally:
        node.close()
        server.close()


def killed_while_it_writes(chance):
    """PostgreSQL alone, again and again under one load that does not stop; nobody who trades notices."""
    server = Postgres()
    node = Node(server.conninfo, **{"projection.batch": 100})
    try:
        acknowledged, reconnects = 0, 0
        for number in range(KILLS):
            if number % 4 == 0:
                acknowledged += node.end_orders() if number else 0
                node.begin_orders(2000)
            time.sleep(chance.uniform(0.0, 0.3))
            server.kill()
            time.sleep(chance.uniform(0.0, 0.1))
            server.start()
            node.stoa("projection resume")  # at once, and not when it would try again by itself
        acknowledged += node.end_orders()  # all of them answered, whether or not there was a database
        check_against_the_journal(node, server, acknowledged)
        reconnects = node.stoa("projection status")["projection"]["reconnects"]
        assert reconnects > 0
        check_rebuild(node, server)
        print(f"PostgreSQL killed {KILLS} times under load: {acknowledged} orders acknowledged, back {reconnects} times, rows and cursors "
              "equal to the logs", flush=True)
    finally:
        node.close()
        server.close()


def without_rights_and_full():
    server = Postgres()
    server.sql("CREATE ROLE poor LOGIN; REVOKE CREATE ON DATABASE stoa FROM PUBLIC")
    node = Node(server.conninfo.replace("user=stoa", "user=poor"))
    try:
        node.orders(100)
        wait_until("a refusal", lambda: "permission denied" in (node.stoa("projection status")["projection"]["error"] or ""))
        assert node.shard()["state"] == "waiting"
        server.sql("GRANT CREATE ON DATABASE stoa TO poor")
        node.stoa("projection resume")
        acknowledged = node.orders(100)
        check_against_the_journal(node, server, acknowledged)
        check_full(node, server)
        check_against_the_journal(node, server, acknowledged)
    finally:
        node.close()
        server.close()


def by_password():
    """A wrong one is DENIED and waited for; the right one comes from a file; neither is told to anybody."""
    server = Postgres()
    server.sql("CREATE ROLE secretive LOGIN PASSWORD 'correct horse'; GRANT CREATE ON DATABASE stoa TO secretive")
    with open(os.path.join(server.data, "pg_hba.conf"), "r+", encoding="ascii") as rules:
        old = rules.read()
        rules.seek(0)
        rules.write("local all secretive scram-sha-256\n" + old)
    server.process.send_signal(signal.SIGHUP)
    file = os.path.join(server.folder, "pgpass")
    with open(file, "w", encoding="ascii") as out:
        out.write("*:*:*:secretive:wrong battery\n")
    os.chmod(file, 0o600)
    Node.environment = {**os.environ, "PGPASSFILE": file}
    node = Node(server.conninfo.replace("user=stoa", "user=secretive"))
    try:
        wait_until("a refusal", lambda: "password authentication failed" in (node.stoa("projection status")["projection"]["error"] or ""))
        assert node.stoa("projection status")["projection"]["error"].startswith("DENIED")
        with open(file, "w", encoding="ascii") as out:
            out.write("*:*:*:secretive:correct horse\n")
        check_against_the_journal(node, server, node.orders(100))
        said = "\n".join(node.lines()) + json.dumps(node.stoa("projection status")) + json.dumps(node.stoa("config"))
        assert "horse" not in said and "battery" not in said
    finally:
        Node.environment = dict(os.environ)
        node.close()
        server.close()


def check_full(node, server):
    """A tablespace on a disk of a few MiB; where nothing can be mounted, this part is left out."""
    disk = os.path.join(server.folder, "disk")
    os.mkdir(disk)
    options = "size=4m,uid=nobody,gid=nogroup,mode=700"
    if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", disk], check=False, stderr=subprocess.DEVNULL).returncode:
        print("full disk: left out, nothing can be mounted here", flush=True)
        return
    try:
        server.sql(f"CREATE TABLESPACE small LOCATION '{disk}'")
        server.sql("GRANT CREATE ON TABLESPACE small TO PUBLIC; ALTER ROLE poor SET default_tablespace = small")
        node.stoa("projection rebuild")  # its tables lie there
        for _ in range(200):
            node.orders(400)
            error = (node.stoa("projection status")["projection"]["error"] or "")
            if "No space left" in error or "53100" in error:
                break
        assert "FULL" in error or "53100" in error, error
        assert node.shard()["state"] == "waiting" and node.orders(20) > 0  # the platform trades on
        subprocess.run(["mount", "-o", "remount,size=256m", disk], check=True)
        node.wait_level()
        server.sql("ALTER ROLE poor RESET default_tablespace")
        node.kill()
        node.start()  # sessions know the new setting
        check_rebuild(node, server)
    finally:
        server.stop()
        subprocess.run(["umount", "-l", disk], check=False)
        server.start()


def replaced_by_its_standby():
    """Two hosts in the conninfo; the first dies, the second, which followed it, is promoted."""
    primary = Postgres(wal_level="replica")
    standby = Postgres.__new__(Postgres)
    standby.__dict__.update(primary.__dict__)
    standby.folder = tempfile.mkdtemp(prefix="stoa-pg-", dir="/tmp")
    standby.data, standby.process = os.path.join(standby.folder, "main"), None
    if primary.user:
        shutil.chown(standby.folder, "nobody", "nogroup")
    node = None
    try:
        standby.run("pg_basebackup", "-h", primary.folder, "-U", "stoa", "-D", standby.data, "-R", "-X", "stream", "-c", "fast",
                    "--no-sync")
        standby.start()
        node = Node(f"host={primary.folder},{standby.folder} dbname=stoa user=stoa target_session_attrs=read-write")
        acknowledged = node.orders(500)
        node.wait_level()
        node.begin_orders(1500)
        time.sleep(0.1)
        primary.kill()
        time.sleep(0.3)
        wait_until("waiting", lambda: node.shard()["state"] == "waiting")
        standby.sql("SELECT pg_promote()")
        acknowledged += node.end_orders()
        check_against_the_journal(node, standby, acknowledged)
        check_rebuild(node, standby)
        assert standby.folder in node.stoa("projection status")["projection"]["database"]
    finally:
        if node:
            node.close()
        standby.close()
        primary.close()


def main():
    print(f"seed {SEED}", flush=True)
    chance = random.Random(SEED)
    for scene, arguments in ((nothing_configured, ()), (beside_schemas_of_others, ()), (slow_and_stuck, ()),
                             (each_way_at_its_time, ()), (away_at_the_start_then_under_load, ()), (killed_again_and_again, (chance,)),
                             (killed_while_it_writes, (chance,)), (without_rights_and_full, ()), (by_password, ()),
                             (replaced_by_its_standby, ())):
        if os.environ.get("STOA_SCENE", scene.__name__) == scene.__name__:
            scene(*arguments)
            print(f"{scene.__name__}: ok", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
