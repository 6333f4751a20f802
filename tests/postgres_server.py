"""postgres_server.py - a PostgreSQL 15 of its own for a test, in a temporary folder, as a user without rights.

As a module: Postgres(). As a program, for tests and benchmarks in C: prints the conninfo of a fresh server as its first line, then
does what each line on standard input says and answers it with one line: start, stop, kill (SIGKILL to all of it), freeze, thaw, and
anything else as SQL, answered with the rows, fields with | and rows with ; between. Ends, and takes the server with it, when its
standard input ends.

SPDX-License-Identifier: Apache-2.0
"""
import ctypes
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

WAIT_S = 60
# Small, because several run beside each other. What processes of PostgreSQL share lies in its folder, not in /dev/shm, where it would
# stay when they are killed.
SETTINGS = {"listen_addresses": "", "fsync": "on", "shared_buffers": "32MB", "max_connections": "20", "autovacuum": "off",
            "log_min_messages": "warning", "max_wal_size": "512MB", "dynamic_shared_memory_type": "mmap"}


def programs():
    """The folder of initdb and postgres; Debian keeps it out of PATH."""
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    if not folders:
        raise RuntimeError("no PostgreSQL is installed; deploy/setup installs it")
    return folders[-1]


def end_with_parent():
    """In the child: whoever kills this program, its server goes with it."""
    ctypes.CDLL(None).prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG; SIGQUIT: at once


class Postgres:
    def __init__(self, name="main", **settings):
        self.folder = tempfile.mkdtemp(prefix="stoa-pg-", dir="/tmp")
        self.data = os.path.join(self.folder, name)
        self.settings = {**SETTINGS, **settings}
        self.process = None
        self.user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
        if self.user:
            shutil.chown(self.folder, "nobody", "nogroup")
        try:
            self.run("initdb", "-D", self.data, "-U", "stoa", "--auth=trust", "--no-sync", "--locale=C", "--encoding=UTF8")
            self.start()
            self.sql("CREATE DATABASE stoa", database="postgres")
        except BaseException:
            self.close()
            raise

    def run(self, program, *args):
        done = subprocess.run([os.path.join(programs(), program), *args], capture_output=True, text=True, timeout=WAIT_S, check=False,
                              cwd=self.folder, **self.user)
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr}")
        return done.stdout

    @property
    def conninfo(self):
        return f"host={self.folder} dbname=stoa user=stoa"

    def start(self, wait=True):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            settings = [part for key, value in self.settings.items() for part in ("-c", f"{key}={value}")]
            self.process = subprocess.Popen([os.path.join(programs(), "postgres"), "-D", self.data, "-k", self.folder, *settings],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                                            start_new_session=True, preexec_fn=end_with_parent, **self.user)
        until = time.monotonic() + WAIT_S
        while wait and not self.answers():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("PostgreSQL did not start:\n" + self.log())
            time.sleep(0.05)

    def answers(self):
        return subprocess.run([os.path.join(programs(), "pg_isready"), "-q", "-h", self.folder], check=False).returncode == 0

    def kill(self):
        """SIGKILL to the postmaster and every backend, as the end of a machine would be."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for child in self.children():  # backends have sessions of their own
            os.kill(child, signal.SIGKILL)
        while self.children():
            time.sleep(0.01)

    def children(self):
        """Processes of this server, by the folder they work in."""
        found = []
        for path in glob.glob("/proc/[0-9]*/cwd"):
            try:
                if os.readlink(path) == self.data:
                    found.append(int(path.split("/")[2]))
            except OSError:
                pass
        return found

    def signal_all(self, number):
        for child in self.children():
            os.kill(child, number)

    def stop(self):
        """At once but in order: sessions are ended, what was committed stays."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(WAIT_S)

    def sql(self, text, database="stoa"):
        """Rows of a select as lists of texts."""
        done = subprocess.run([os.path.join(programs(), "psql"), "-X", "-A", "-t", "-q", "-F", "|", "-v", "ON_ERROR_STOP=1", "-h",
                               self.folder, "-U", "stoa", "-d", database, "-c", text], capture_output=True, text=True,
                              timeout=WAIT_S, check=False)
        if done.returncode:
            raise RuntimeError(f"{text}: {done.stderr}")
        return [line.split("|") for line in done.stdout.splitlines() if line]

    def one(self, text):
        return self.sql(text)[0][0]

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as log:
            return log.read()[-4000:]

    def forget(self):
        """The System V segment by which a postmaster knows that another one lives: it stays when that one was killed."""
        try:
            with open(os.path.join(self.data, "postmaster.pid"), encoding="ascii") as pid:
                segment = int(pid.read().splitlines()[6].split()[1])
        except (OSError, IndexError, ValueError):  # none: it has ended in order, or never was
            return
        ctypes.CDLL(None).shmctl(segment, 0, None)  # IPC_RMID

    def close(self):
        if self.process and self.process.poll() is None:
            self.signal_all(signal.SIGCONT)
            self.kill()
        self.forget()
        shutil.rmtree(self.folder, ignore_errors=True)


def serve():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    server = Postgres()
    try:
        print(server.conninfo, flush=True)
        words = {"start": server.start, "stop": server.stop, "kill": server.kill,
                 "freeze": lambda: server.signal_all(signal.SIGSTOP), "thaw": lambda: server.signal_all(signal.SIGCONT)}
        for line in sys.stdin:
            line = line.strip()
            try:
                answer = words[line]() if line in words else ";".join("|".join(row) for row in server.sql(line))
                print(answer or "", flush=True)
            except RuntimeError as error:
                print("error " + str(error).replace("\n", " "), flush=True)
    finally:
        server.close()


if __name__ == "__main__":
    serve()
