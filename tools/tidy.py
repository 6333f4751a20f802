#!/usr/bin/env python3
"""tidy.py - what the house asks of its files and a machine can check; prints one line per fault, exits 1 where there is one.

    tools/tidy.py [ROOT]                 the checks below, over the tree (default: this one)
    tools/tidy.py --symbols FILE ...     also: objects and archives of actors reach for nothing that a handler may not have
    tools/tidy.py --handlers OBJECT ...  also: no handler in these does, nor what it calls; the rest of the object may
    tools/tidy.py --format               also: clang-format 14 would change nothing

A fault reads 'path:line: [check] what is wrong'. The checks are the functions of CHECKS; each yields faults and knows no
other. Rooms and who may include whom are in tools/layers.txt.

SPDX-License-Identifier: Apache-2.0
"""
import argparse
import fnmatch
import os
import re
import subprocess
import sys

SOURCES = (".c", ".h", ".cc", ".def")
README_LINES_MAX = 40
FIRST_SCREEN_LINES_MAX = 60
FOLDERS_WITH_README = {"tests", "bench", "deploy", "docs", "examples", "web"}

# What a handler may not reach for: time and chance come with its turn, memory with its state, and it never waits, locks or
# talks to the system. By what it is, names as patterns.
FORBIDDEN = {
    "time": "clock clock_get* ftime gettimeofday time times timespec_get* localtime* gmtime* mktime timer_* timerfd_* "
            "getrusage stoa_clock_real",
    "chance": "rand rand_r srand random random_r srandom srandom_r initstate* setstate* getentropy getrandom [del]rand48* [jmn]rand48* "
              "srand48* seed48* lcong48* arc4random* rand_s __rdrand* RAND_* randombytes* stoa_random_system",
    "waiting": "*nanosleep sleep usleep thrd_sleep pause poll ppoll select pselect epoll_* wait waitpid wait3 wait4 waitid "
               "sigwait* sigsuspend sem_* sched_yield futex",
    "threads and locks": "pthread_* thrd_* mtx_* cnd_* call_once fork vfork clone posix_spawn* execl* execv* execle system popen signal "
                         "sigaction kill raise",
    "memory": "malloc calloc realloc reallocarray free aligned_alloc memalign posix_memalign valloc pvalloc strdup strndup "
              "asprintf vasprintf mmap mmap64 munmap mprotect mremap brk sbrk _Znwm _Znam _ZdlPv*",
    "the system": "open open64 openat* creat* close read pread* readv write pwrite* writev lseek* fsync fdatasync rename "
                  "unlink* mkdir* rmdir opendir readdir* stat stat64 fstat* lstat* __xstat* ioctl fcntl* pipe pipe2 eventfd dup dup2 dup3 "
                  "socket* bind listen accept* connect send sendto sendmsg* recv recvfrom recvmsg* shutdown getaddrinfo "
                  "gethostby* getsockopt setsockopt syscall getpid gettid getenv secure_getenv setenv putenv "
                  "fopen* fdopen freopen* fclose fread fwrite fgets fputs fputc fputwc fgetc getline getchar puts putchar "
                  "printf vprintf fprintf vfprintf dprintf vdprintf fflush perror __printf_chk __fprintf_chk __vfprintf_chk "
                  "exit _exit _Exit quick_exit abort atexit stoa_log_write stoa_log_error",
}
FORBIDDEN_PATTERNS = [(pattern, what) for what, patterns in FORBIDDEN.items() for pattern in patterns.split()]
FORBIDDEN_INSTRUCTIONS = re.compile(r"\t(rdtscp?|rdrand|rdseed|rdpmc|syscall|sysenter|cpuid)\b")
CYCLE_COUNTERS = re.compile(r"\b_*(rdtscp?|builtin_ia32_rdtscp?)\b")

# Headers of the C library, the kernel and the compiler; every other <header> belongs to an external library.
STANDARD = set(
    "assert ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic stdbool stddef "
    "stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype complex "
    "aio cpio dirent dlfcn endian err execinfo fcntl features fmtmsg fnmatch ftw getopt glob grp iconv ifaddrs langinfo "
    "libgen link malloc memory mntent monetary mqueue ndbm netdb nl_types paths poll pthread pty pwd regex resolv sched "
    "search semaphore spawn stropts syslog syscall sysexits tar termios ucontext ulimit unistd utime utmpx values wordexp "
    "byteswap cpuid immintrin nmmintrin smmintrin tmmintrin wmmintrin x86intrin xmmintrin emmintrin arm_acle".split())
STANDARD_FOLDERS = {"sys", "linux", "arpa", "net", "netinet", "asm", "bits", "sanitizer"}

INCLUDE = re.compile(r'\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')


class Fault:
    def __init__(self, path, line, check, text):
        self.path, self.line, self.check, self.text = path, line, check, text

    def __str__(self):
        return f"{self.path}:{self.line}: [{self.check}] {self.text}"


class Tree:
    """The files under a root, without what is built or hidden; each file's lines are read once."""

    def __init__(self, root):
        self.root = root
        self.files = []
        self.cache = {}
        for folder, folders, names in os.walk(root):
            relative = os.path.relpath(folder, root)
            folders[:] = sorted(f for f in folders if self.is_ours(relative, f))
            self.files += [os.path.normpath(os.path.join(relative, n)) for n in sorted(names)]
        self.rooms, self.order = read_layers(self)

    @staticmethod
    def is_ours(parent, name):
        if name == "__pycache__" or (parent == "." and name == "build"):
            return False
        return not name.startswith(".") or name == ".ci"

    def lines(self, path):
        if path not in self.cache:
            with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as file:
                self.cache[path] = file.read().split("\n")
        return self.cache[path]

    def sources(self, *suffixes):
        return [f for f in self.files if f.endswith(suffixes or SOURCES)]

    def has(self, path):
        return os.path.isfile(os.path.join(self.root, path))

    def includes(self, path):
        """(line number, path in quotes or None, path in angle brackets or None) of every include."""
        for number, line in enumerate(self.lines(path), 1):
            match = INCLUDE.match(line)
            if match:
                yield number, match.group(1), match.group(2)


def room_of(path):
    return path.split("/")[0] if "/" in path else ""


class Layer:
    """One line of layers.txt: what a room may include."""

    def __init__(self, line, names):
        self.line = line
        self.rooms = [n for n in names if "/" not in n]
        self.headers = [n for n in names if "/" in n]

    def allows(self, room, path):
        return room in self.rooms or any(fnmatch.fnmatchcase(path, h) for h in self.headers)

    def __str__(self):
        return " ".join(self.rooms + self.headers) or "nothing"


def read_layers(tree):
    rooms, order = {}, []
    if not tree.has("tools/layers.txt"):
        return rooms, order
    for number, line in enumerate(tree.lines("tools/layers.txt"), 1):
        line = line.split("#")[0].strip()
        if line:
            name, _, names = line.partition(":")
            rooms[name.strip()] = Layer(number, names.split())
            order.append(name.strip())
    return rooms, order


# --- the checks


def check_layers(tree):
    """layers.txt has no cycle: a room stands only on rooms named above it."""
    if not tree.rooms:
        yield Fault("tools/layers.txt", 1, "layers", "is missing or names no room")
    for at, name in enumerate(tree.order):
        for below in tree.rooms[name].rooms:
            if below not in tree.order[:at]:
                yield Fault("tools/layers.txt", tree.rooms[name].line, "layers",
                            f"{name} may include {below}, which is not above it in the list")


def check_includes(tree):
    """Includes are written from the root and point down; a kind sees another kind only through its tables."""
    for path in tree.sources():
        room = room_of(path)
        if room not in tree.rooms:
            yield Fault(path, 1, "includes", "a source outside the rooms of tools/layers.txt")
            continue
        for number, target, _ in tree.includes(path):
            if target is not None:
                reason = include_fault(tree, path, room, target)
                if reason:
                    yield Fault(path, number, "includes", reason)


def include_fault(tree, path, room, target):
    if room == "examples" and tree.has(os.path.join(os.path.dirname(path), target)):
        return None  # they are built outside this tree, too
    if not tree.has(target):
        return f'"{target}" is no file from the root'
    other = room_of(target)
    if other != room:
        layer = tree.rooms[room]
        return None if layer.allows(other, target) else f'{room} may not include "{target}"; it may include: {layer}'
    if room == "actors":
        kind, sibling = os.path.dirname(path), os.path.dirname(target)
        if kind != sibling and not target.endswith(("_msgs.h", ".def")):
            return f'{kind} may see {sibling} only through its *_msgs.h, not "{target}"'
    return None


def check_internal(tree):
    """A header whose head says 'Internal to FOLDER/' is included from that folder and its tests only: unit tests, fuzz targets, and for
    runtime those under the simulator, which is a part of it."""
    inside = {}
    for path in tree.sources(".h", ".def"):
        match = re.search(r"\bInternal to ([\w/]+)/", " ".join(head_comment(tree.lines(path))))
        if match:
            inside[path] = match.group(1)
    for path in tree.sources():
        for number, target, _ in tree.includes(path):
            folder = inside.get(target)
            tests = (f"tests/unit/{folder}/", f"tests/fuzz/{folder}/") + (("tests/sim/",) if folder == "runtime" else ())
            if folder and not path.startswith((f"{folder}/", *tests)):
                yield Fault(path, number, "internal", f'"{target}" is internal to {inside[target]}/')


# Ciphers and hashes are spoken to where they are needed: at rest, on the way.
SHARED_EXTERNALS = {"openssl": {"storage", "transport"}, "sodium": {"base", "transport"}}


def check_externals(tree):
    """The headers of an external library are included in one room; tests may use any, benchmarks those they are held against."""
    first = {}
    for path in tree.sources():
        room = room_of(path)
        if room in ("tests", "bench"):
            continue
        for number, _, header in tree.includes(path):
            library = external_library(header) if header else None
            if room in SHARED_EXTERNALS.get(library, ()):
                continue
            if library and first.setdefault(library, (room, path))[0] != room:
                yield Fault(path, number, "externals",
                            f"<{header}>: {library} is spoken to in {first[library][0]} ({first[library][1]}) already")


def external_library(header):
    """The library a header belongs to, or None for the C and C++ libraries, the kernel and the compiler."""
    folder, _, _ = header.partition("/")
    if "/" in header:
        return None if folder in STANDARD_FOLDERS else folder
    if not header.endswith(".h"):
        return None
    return None if header[:-2] in STANDARD else header[:-2]


def check_cmake(tree):
    """What CMakeLists.txt lets a room link is what layers.txt lets it include."""
    text = "\n".join(line.split("#")[0] for line in tree.lines("CMakeLists.txt")) if tree.has("CMakeLists.txt") else ""
    built = {}
    for match in re.finditer(r"\bstoa_room\(\s*(\w+)([^)]*)\)", text):
        number = text.count("\n", 0, match.start()) + 1
        built[match.group(1)] = number
        yield from compare_room(tree, number, match.group(1), cmake_list(match.group(2), "ON"))
    for name in tree.order:
        if has_sources(tree, name) and name not in built and name not in FOLDERS_WITH_README:
            yield Fault("CMakeLists.txt", 1, "cmake", f"{name}/ has sources but no stoa_room({name} ...)")


def compare_room(tree, number, name, on):
    if name not in tree.rooms:
        yield Fault("CMakeLists.txt", number, "cmake", f"stoa_room({name}) is not in tools/layers.txt")
        return
    layer = tree.rooms[name]
    for other in on:
        allowed = layer.allows("", "actors/x/x_msgs.h") or "actors" in layer.rooms or name == "actors" \
            if other == "tables" else other in layer.rooms
        if not allowed:
            yield Fault("CMakeLists.txt", number, "cmake",
                        f"stoa_room({name}) stands ON {other}, which tools/layers.txt does not allow")
    for other in layer.rooms:
        if other not in on and has_sources(tree, other):
            yield Fault("CMakeLists.txt", number, "cmake",
                        f"tools/layers.txt lets {name} include {other}, but stoa_room({name}) is not ON it")


def cmake_list(words, keyword):
    """The words after the keyword, up to the next one in capitals."""
    found, on = [], False
    for word in words.split():
        if word.isupper():
            on = word == keyword
        elif on:
            found.append(word)
    return found


def has_sources(tree, room):
    return any(room_of(path) == room for path in tree.sources())


def check_readmes(tree):
    """Every room has a README of at most 40 lines; the root's shows what matters on its first screen."""
    rooms = {r for r in tree.order if has_sources(tree, r)}
    rooms |= {room_of(path) for path in tree.files if room_of(path) in FOLDERS_WITH_README}
    for room in sorted(rooms):
        if not tree.has(f"{room}/README.md"):
            yield Fault(f"{room}/README.md", 1, "readme", "a room says in a README what it is and where to start reading")
    for path in tree.files:
        if os.path.basename(path) == "README.md" and path != "README.md":
            count = count_lines(tree.lines(path))
            if count > README_LINES_MAX:
                yield Fault(path, count, "readme", f"{count} lines; a room's README has at most {README_LINES_MAX}")
    if not tree.has("README.md"):
        yield Fault("README.md", 1, "readme", "is missing")
        return
    lines = tree.lines("README.md")
    screen = lines.index("---") if "---" in lines else count_lines(lines)
    if screen > FIRST_SCREEN_LINES_MAX:
        yield Fault("README.md", screen, "readme",
                    f"the first screen, up to '---' or the end, has {screen} lines; at most {FIRST_SCREEN_LINES_MAX}")


def count_lines(lines):
    return len(lines) - (1 if lines and lines[-1] == "" else 0)


def check_heads(tree):
    """Every source begins with a comment that says what it is for and names the licence once."""
    for path in tree.files:
        lines = tree.lines(path) if path.endswith(SOURCES + (".py", ".bash")) or is_script(tree, path) else None
        if lines is None:
            continue
        head = head_comment(lines)
        before, dash, _ = head[0].partition(" - ") if head else ("", "", "")
        if not dash or not f"/{path}".endswith("/" + before.split(" ")[0]):
            yield Fault(path, 1, "heads", f"the head comment begins '{os.path.basename(path)} - what it is for'")
        marks = sum(line.startswith("SPDX-License-Identifier: Apache-2.0") for line in head)
        if marks != 1:
            yield Fault(path, 1, "heads", f"the head comment has {marks} lines 'SPDX-License-Identifier: Apache-2.0', not one")


def is_script(tree, path):
    if "." in os.path.basename(path):
        return False
    with open(os.path.join(tree.root, path), "rb") as file:
        return file.read(2) == b"#!"


def head_comment(lines):
    """The first comment's lines without their marks: of C (/* */), shell (#) or Python (a docstring)."""
    body = [line.strip() for line in lines]
    if body and body[0].startswith("#!"):
        body = body[1:]
    if body and body[0].startswith("/*"):
        return delimited(body, "/*", "*/")
    if body and body[0].startswith('"""'):
        return delimited(body, '"""', '"""')
    head = []
    for line in body:
        if not line.startswith("#"):
            break
        head.append(line.lstrip("# "))
    return head


def delimited(body, begin, end):
    head = []
    body = [body[0][len(begin):]] + body[1:]
    for line in body:
        text, closed, _ = line.partition(end)
        head.append(re.sub(r"^\*+ ?", "", text.strip()).strip() if begin == "/*" else text.strip())
        if closed:
            break
    return head


def check_spaces(tree):
    """Code has no tab and no space at a line's end."""
    for path in tree.sources(*SOURCES, ".py", ".bash"):
        for number, line in enumerate(tree.lines(path), 1):
            if "\t" in line:
                yield Fault(path, number, "spaces", "a tab")
            if line != line.rstrip():
                yield Fault(path, number, "spaces", "space at the line's end")


def check_counters(tree):
    """No actor reads the processor's cycle counter, which no symbol would show."""
    for path in tree.sources():
        if room_of(path) == "actors":
            for number, line in enumerate(tree.lines(path), 1):
                if CYCLE_COUNTERS.search(line):
                    yield Fault(path, number, "symbols", "an actor reads the cycle counter; time comes with the turn")


def check_decisions(tree):
    """A decision's number is its own."""
    taken = {}
    for path in sorted(tree.files):
        number = os.path.basename(path)[:4]
        if os.path.dirname(path) != "docs/decisions" or not number.isdigit():
            continue
        if number in taken:
            yield Fault(path, 1, "decisions", f"{taken[number]} has the number {number} already")
        taken.setdefault(number, path)


CHECKS = (check_layers, check_includes, check_internal, check_externals, check_cmake, check_readmes, check_heads,
          check_spaces, check_counters, check_decisions)


# --- checks that need more than the tree


def forbidden(symbol):
    """What a symbol is that no handler may reach for, or None."""
    name = symbol.split("@")[0]
    for pattern, what in FORBIDDEN_PATTERNS:
        if fnmatch.fnmatchcase(name, pattern):
            return what
    return None


def tool(*command):
    """The output's lines and None, or no lines and what went wrong."""
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    return (run.stdout.splitlines(), None) if run.returncode == 0 else ([], run.stderr.strip() or f"{command[0]} failed")


def check_symbols(archive):
    """No object of the archive refers to what a handler may not have, nor reads a counter of the processor."""
    listing, wrong = tool("nm", "--undefined-only", "--format=posix", archive)
    code, wrong = tool("objdump", "-d", "--no-show-raw-insn", archive) if not wrong else ([], wrong)
    if wrong:
        yield Fault(archive, 1, "symbols", wrong)
        return
    member = archive
    for line in listing:
        if line.endswith(":"):
            member = line[:-1]
            continue
        symbol = line.split(" ")[0]
        if forbidden(symbol):
            yield Fault(member, 1, "symbols", f"refers to {symbol}: {forbidden(symbol)} is nothing for an actor")
    for line in code:
        if line and not line[0].isspace() and ": " in line:
            member = line.split(": ")[0]
        match = FORBIDDEN_INSTRUCTIONS.search(line)
        if match:
            yield Fault(member, 1, "symbols", f"uses the instruction {match.group(1)}: nothing for an actor")


class Object:
    """The functions of one object file: what each refers to, and which ones tables point to."""

    def __init__(self, path):
        self.at, self.refers, self.uses, self.tables = {}, {}, {}, set()
        symbols, self.wrong = tool("objdump", "-t", path)
        code, self.wrong = tool("objdump", "-dr", "--no-show-raw-insn", path) if not self.wrong else ([], self.wrong)
        data, self.wrong = tool("objdump", "-r", path) if not self.wrong else ([], self.wrong)
        for line in symbols:
            match = re.match(r"([0-9a-f]+) .{5}.F (\S+)\t[0-9a-f]+ +(?:\.hidden )?(\S+)$", line)
            if match:
                self.at[match.group(2), int(match.group(1), 16)] = match.group(3)
        self.functions = set(self.at.values())
        self.read_code(code)
        self.read_tables(data)

    def target(self, text, distance):
        """The symbol that a relocation 'name+0x12' means; distance: from where it counts to the instruction's end."""
        name, sign, offset = re.match(r"(.+?)(?:([+-])0x([0-9a-f]+))?$", text).groups()
        value = (int(offset or "0", 16) if sign != "-" else -int(offset, 16)) + distance
        return self.at.get((name, value), name)

    def read_code(self, lines):
        function = None
        for line in lines:
            begins = re.match(r"[0-9a-f]+ <(.+)>:$", line)
            relocation = re.search(r"\tR_X86_64_(\w+)\t(\S+)$", line) or re.search(r": R_X86_64_(\w+)\s+(\S+)$", line)
            inside = re.search(r"<([^>+]+)(?:\+0x[0-9a-f]+)?>$", line)
            instruction = FORBIDDEN_INSTRUCTIONS.search(line)
            if begins:
                function = begins.group(1)
            elif relocation:
                relative = relocation.group(1) in ("PC32", "PLT32", "GOTPCREL", "GOTPCRELX", "REX_GOTPCRELX")
                self.refers.setdefault(function, set()).add(self.target(relocation.group(2), 4 if relative else 0))
            elif inside:
                self.refers.setdefault(function, set()).add(inside.group(1))
            if instruction:
                self.uses.setdefault(function, set()).add(instruction.group(1))

    def read_tables(self, lines):
        section = ""
        for line in lines:
            match = re.match(r"RELOCATION RECORDS FOR \[(.*)\]", line)
            section = match.group(1) if match else section
            match = re.match(r"[0-9a-f]+ R_X86_64_64 +(\S+)", line)
            if match and section.startswith((".data", ".rodata")):
                self.tables.add(self.target(match.group(1), 0))

    def reach(self):
        """Every function and symbol that the tables lead to, with the one it was reached from."""
        reached = {name: None for name in self.tables if name in self.functions}
        queue = sorted(reached)
        while queue:
            name = queue.pop()
            for other in sorted(self.refers.get(name, ())):
                if other not in reached:
                    reached[other] = name
                    queue.append(other)
        return reached


def check_handlers(path):
    """What tables point to in an object - a kind's handlers - reaches for nothing forbidden, itself or through a function."""
    found = Object(path)
    if found.wrong:
        yield Fault(path, 1, "handlers", found.wrong)
        return
    reached = found.reach()
    for symbol in sorted(reached):
        if symbol not in found.functions and forbidden(symbol):
            yield Fault(path, 1, "handlers", f"{reached[symbol]} refers to {symbol}: {forbidden(symbol)} is nothing for a handler")
        for instruction in sorted(found.uses.get(symbol, ())):
            yield Fault(path, 1, "handlers", f"{symbol} uses the instruction {instruction}: nothing for a handler")


def check_format(tree):
    """clang-format would change nothing."""
    paths = [os.path.join(tree.root, path) for path in tree.sources(".c", ".h", ".cc")]
    for at in range(0, len(paths), 50):
        run = subprocess.run(["clang-format-14", "--dry-run", "--style=file", *paths[at:at + 50]],
                             capture_output=True, text=True)
        for line in run.stderr.splitlines():
            match = re.match(r"(.+?):(\d+):\d+: (?:warning|error): (.*)", line)
            if match:
                yield Fault(os.path.relpath(match.group(1), tree.root), int(match.group(2)), "format", match.group(3))


def main():
    parser = argparse.ArgumentParser(description="Check what the house asks of its files.")
    parser.add_argument("root", nargs="?", default=os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parser.add_argument("--symbols", action="append", default=[], metavar="FILE")
    parser.add_argument("--handlers", nargs="+", default=[], metavar="OBJECT")
    parser.add_argument("--format", action="store_true")
    arguments = parser.parse_args()
    tree = Tree(arguments.root)
    faults = [fault for check in CHECKS for fault in check(tree)]
    faults += [fault for archive in arguments.symbols for fault in check_symbols(archive)]
    faults += [fault for path in arguments.handlers for fault in check_handlers(path)]
    faults += check_format(tree) if arguments.format else []
    for fault in faults:
        print(fault)
    print(f"tidy: {len(tree.files)} files, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
