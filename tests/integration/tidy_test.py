"""tidy_test.py - goal: tools/tidy.py finds each fault it promises to find, and none in a clean tree. Method: a small tree
that is clean; each test breaks one thing in a copy and names the line that must be reported.

SPDX-License-Identifier: Apache-2.0
"""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

TIDY = os.path.join(os.environ["STOA_SOURCE"], "tools", "tidy.py")


def head(name):
    return f"/* {name} - an example.\n *\n * SPDX-License-Identifier: Apache-2.0 */\n"


CLEAN = {
    "README.md": "# Example\n",
    "CMakeLists.txt": "stoa_room(base EXTERNAL msgpack)\nstoa_room(transport ON base)\nstoa_room(runtime ON base)\n"
                      "stoa_room(actors ON base runtime tables)\nstoa_room(sdk ON base transport tables)\n",
    "tools/layers.txt": "# rooms\nbase:\ntransport: base\nruntime: base transport/link.h\nactors: base runtime\n"
                        "sdk: base transport actors/*_msgs.h\ntests: base transport runtime actors sdk\n",
    "base/README.md": "# base\n",
    "base/error.h": head("error.h"),
    "base/wire.c": head("wire.c") + '#include <stdint.h>\n#include <sys/types.h>\n#include <msgpack/pack.h>\n'
                                    '#include "base/error.h"\n',
    "transport/README.md": "# transport\n",
    "transport/link.h": head("transport/link.h"),
    "transport/keys.h": head("keys.h"),
    "runtime/README.md": "# runtime\n",
    "runtime/core.h": "/* core.h - a core. Internal to runtime/.\n *\n * SPDX-License-Identifier: Apache-2.0 */\n",
    "runtime/core.c": head("core.c") + '#include "runtime/core.h"\n#include "transport/link.h"\n',
    "actors/README.md": "# actors\n",
    "actors/trade/trade_msgs.h": head("trade_msgs.h"),
    "actors/trade/book.h": head("book.h"),
    "actors/risk/risk.c": head("risk.c") + '#include "actors/trade/trade_msgs.h"\n#include "base/error.h"\n',
    "sdk/README.md": "# sdk\n",
    "sdk/client.c": head("client.c") + '#include "actors/trade/trade_msgs.h"\n',
    "tests/README.md": "# tests\n",
    "tests/run": "#!/usr/bin/env bash\n# run - the tests.\n#\n# SPDX-License-Identifier: Apache-2.0\n",
}


class Tidy(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="stoa-tidy-")
        self.addCleanup(shutil.rmtree, self.root)
        for path, text in CLEAN.items():
            self.write(path, text)

    def write(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)

    def add(self, path, text):
        self.write(path, CLEAN[path] + text)

    def tidy(self, *arguments):
        run = subprocess.run([sys.executable, TIDY, self.root, *arguments], capture_output=True, text=True, check=False)
        self.assertEqual(run.stderr, "")
        faults = run.stdout.splitlines()[:-1]
        self.assertEqual(run.returncode, 1 if faults else 0, run.stdout)
        return faults

    def expect(self, begin, *words, arguments=()):
        """Exactly one fault, which begins so and holds the words."""
        faults = self.tidy(*arguments)
        self.assertEqual(len(faults), 1, faults)
        self.assertTrue(faults[0].startswith(begin), faults[0])
        for word in words:
            self.assertIn(word, faults[0])

    def test_a_clean_tree_has_no_fault(self):
        self.assertEqual(self.tidy(), [])

    def test_an_include_that_points_up_is_named_with_its_line_and_the_rule(self):
        self.add("base/error.h", '#include "runtime/core.c"\n')
        self.expect("base/error.h:4: [includes]", 'base may not include "runtime/core.c"', "nothing")

    def test_a_room_may_include_the_single_header_it_was_given_and_no_other(self):
        self.add("runtime/core.c", '#  include "transport/keys.h"\n')
        self.expect("runtime/core.c:6: [includes]", "transport/keys.h", "base transport/link.h")

    def test_a_client_may_include_tables_but_no_handlers(self):
        self.add("sdk/client.c", '#include "actors/trade/book.h"\n')
        self.expect("sdk/client.c:5: [includes]", "actors/*_msgs.h")

    def test_a_kind_sees_another_only_through_its_table(self):
        self.add("actors/risk/risk.c", '#include "actors/trade/book.h"\n')
        self.expect("actors/risk/risk.c:6: [includes]", "actors/trade", "_msgs.h")

    def test_an_include_is_written_from_the_root(self):
        self.add("base/wire.c", '#include "error.h"\n')
        self.expect("base/wire.c:8: [includes]", "no file from the root")

    def test_a_source_lives_in_a_room(self):
        self.write("misc/x.c", head("x.c"))
        self.expect("misc/x.c:1: [includes]", "outside the rooms")

    def test_an_internal_header_stays_inside(self):
        self.write("actors/trade/book.c", head("book.c") + '#include "runtime/core.h"\n')
        self.expect("actors/trade/book.c:4: [internal]", "internal to runtime/")
        os.remove(os.path.join(self.root, "actors/trade/book.c"))
        self.write("tests/unit/runtime/core_test.c", head("core_test.c") + '#include "runtime/core.h"\n')
        self.write("tests/sim/x_test.c", head("x_test.c") + '#include "runtime/core.h"\n')
        self.assertEqual(self.tidy(), [])
        self.write("tests/contract/x_test.c", head("x_test.c") + '#include "runtime/core.h"\n')
        self.expect("tests/contract/x_test.c:4: [internal]", "internal to runtime/")

    def test_layers_have_no_cycle(self):
        self.write("tools/layers.txt", CLEAN["tools/layers.txt"].replace("base:", "base: sdk"))
        self.write("CMakeLists.txt", CLEAN["CMakeLists.txt"].replace("base EXT", "base ON sdk EXT"))
        self.expect("tools/layers.txt:2: [layers]", "base may include sdk")

    def test_the_build_may_not_link_what_the_layers_forbid(self):
        self.write("CMakeLists.txt", CLEAN["CMakeLists.txt"].replace("(runtime ON base)", "(runtime ON base sdk)"))
        self.expect("CMakeLists.txt:3: [cmake]", "runtime", "sdk")

    def test_only_who_may_include_tables_may_link_them(self):
        self.write("CMakeLists.txt", CLEAN["CMakeLists.txt"].replace("(runtime ON base)", "(runtime ON base tables)"))
        self.expect("CMakeLists.txt:3: [cmake]", "tables")

    def test_the_build_links_what_the_layers_promise(self):
        self.write("CMakeLists.txt", CLEAN["CMakeLists.txt"].replace("ON base runtime tables", "ON base tables"))
        self.expect("CMakeLists.txt:4: [cmake]", "actors", "runtime")

    def test_a_room_with_sources_is_built(self):
        self.write("CMakeLists.txt", CLEAN["CMakeLists.txt"].replace("stoa_room(sdk ON base transport tables)\n", ""))
        self.expect("CMakeLists.txt:1: [cmake]", "sdk/ has sources")

    def test_a_room_that_is_commented_out_is_not_built(self):
        self.write("CMakeLists.txt", CLEAN["CMakeLists.txt"].replace("stoa_room(sdk", "# stoa_room(sdk"))
        self.expect("CMakeLists.txt:1: [cmake]", "sdk/ has sources")

    def test_an_external_library_is_spoken_to_in_one_room(self):
        self.add("transport/link.h", "#include <msgpack/unpack.h>\n")
        self.expect("transport/link.h:4: [externals]", "msgpack", "base/wire.c")

    def test_standard_headers_are_free_and_tests_may_use_any_library(self):
        self.add("transport/link.h", "#include <stdint.h>\n#include <netinet/tcp.h>\n#include <pthread.h>\n")
        self.write("tests/x_test.c", head("x_test.c") + "#include <msgpack/unpack.h>\n")
        self.assertEqual(self.tidy(), [])

    def test_a_room_has_a_readme(self):
        os.remove(os.path.join(self.root, "transport/README.md"))
        self.expect("transport/README.md:1: [readme]")

    def test_a_rooms_readme_is_at_most_40_lines(self):
        self.write("base/README.md", "line\n" * 40)
        self.assertEqual(self.tidy(), [])
        self.write("base/README.md", "line\n" * 41)
        self.expect("base/README.md:41: [readme]", "41 lines")

    def test_the_first_screen_is_at_most_60_lines(self):
        self.write("README.md", "line\n" * 60 + "---\n" + "line\n" * 50)
        self.assertEqual(self.tidy(), [])
        self.write("README.md", "line\n" * 61)
        self.expect("README.md:61: [readme]", "61 lines")

    def test_a_source_says_what_it_is_for(self):
        self.write("base/error.h", "/* SPDX-License-Identifier: Apache-2.0 */\n")
        self.expect("base/error.h:1: [heads]", "error.h - what it is for")

    def test_a_head_comment_names_its_own_file(self):
        self.write("base/error.h", head("errors.h"))
        self.expect("base/error.h:1: [heads]", "error.h - what it is for")
        self.write("base/error.h", head("base/error.h ARGUMENT"))
        self.assertEqual(self.tidy(), [])

    def test_a_source_names_its_licence_once(self):
        self.write("base/error.h", "/* error.h - an example. */\n")
        self.expect("base/error.h:1: [heads]", "0 lines")
        self.write("base/error.h", head("error.h").replace(" *\n", " * SPDX-License-Identifier: Apache-2.0\n"))
        self.expect("base/error.h:1: [heads]", "2 lines")

    def test_scripts_have_heads_too(self):
        self.write("tests/run", "#!/bin/sh\nexit 0\n")
        self.assertEqual(len(self.tidy()), 2)
        self.write("tests/run", CLEAN["tests/run"])
        self.write("tests/a.py", '"""a.py - an example.\n\nSPDX-License-Identifier: Apache-2.0\n"""\n')
        self.assertEqual(self.tidy(), [])

    def test_tabs_and_trailing_spaces_are_found(self):
        self.add("base/wire.c", "\tint a;\n")
        self.expect("base/wire.c:8: [spaces]", "tab")
        self.add("base/wire.c", "int a; \n")
        self.expect("base/wire.c:8: [spaces]", "end")

    def test_what_is_built_or_hidden_is_not_read(self):
        for path in ("build/x.c", ".cache/x.c", "base/__pycache__/x.c"):
            self.write(path, "int x;\n")
        self.assertEqual(self.tidy(), [])

    def test_an_actor_reads_no_cycle_counter(self):
        self.add("actors/risk/risk.c", "static int f(void) { return (int)__rdtsc(); }\n")
        self.expect("actors/risk/risk.c:6: [symbols]", "cycle counter")

    def test_an_archive_that_reaches_for_a_clock_or_chance_is_found(self):
        archive = self.archive("#include <stdlib.h>\n#include <time.h>\nint roll(void);\nint roll(void) { return rand(); }\n"
                               "long now(void);\nlong now(void) { return time(NULL); }\n")
        faults = self.tidy("--symbols", archive)
        self.assertEqual(len(faults), 2, faults)
        self.assertIn("refers to rand: chance", faults[0])
        self.assertIn("refers to time: time", faults[1])

    def test_an_archive_without_them_is_clean_and_own_functions_may_be_named_alike(self):
        archive = self.archive("#include <string.h>\nsize_t time_of(const char *s);\n"
                               "size_t time_of(const char *s) { return strlen(s); }\n")
        self.assertEqual(self.tidy("--symbols", archive), [])

    def test_an_archive_that_cannot_be_read_is_a_fault(self):
        self.expect("/nonexistent.a:1: [symbols]", arguments=("--symbols", "/nonexistent.a"))

    def test_every_sort_of_symbol_is_found(self):
        for symbol, what in (("clock_gettime", "time"), ("gettimeofday", "time"), ("random", "chance"), ("drand48", "chance"),
                             ("getrandom", "chance"), ("arc4random_uniform", "chance"), ("nanosleep", "waiting"),
                             ("pthread_mutex_lock", "threads and locks"), ("fork", "threads and locks"), ("malloc", "memory"),
                             ("posix_memalign", "memory"), ("free", "memory"), ("open64", "the system"),
                             ("socket", "the system"), ("read", "the system"), ("write", "the system"),
                             ("stoa_clock_real", "time"), ("stoa_random_system", "chance")):
            archive = self.archive(f"extern void {symbol}(void);\nvoid f(void);\nvoid f(void) {{ {symbol}(); }}\n")
            self.expect(f"{archive}[x.o]:1: [symbols]", f"refers to {symbol}: {what}", arguments=("--symbols", archive))

    def test_an_archive_that_reads_the_processors_counter_or_chance_is_found(self):
        for instruction in ("rdtsc", "rdtscp", "rdrand %rax", "syscall"):
            archive = self.archive(f'void f(void);\nvoid f(void) {{ __asm__ volatile("{instruction}"); }}\n')
            self.expect("x.o:1: [symbols]", f"uses the instruction {instruction.split()[0]}", arguments=("--symbols", archive))

    KIND = ("#include <stdio.h>\n#include <stdlib.h>\n#include <time.h>\n"
            "typedef long (*handler)(void *state);\n"
            "static __attribute__((noinline)) long helper(void) { return HELP; }\n"
            "static long on_tick(void *state) { (void)state; return HANDLE; }\n"
            "static long on_read(void *state) { return *(long *)state; }\n"
            "const handler kind_handlers[] = {on_tick, on_read};\n"
            "int main(void) { long state = time(NULL) + rand() + helper(); puts(\"begun\"); return (int)kind_handlers[1](&state); }\n")

    def kind(self, help_with, handle_with, *options):
        return self.object(self.KIND.replace("HELP", help_with).replace("HANDLE", handle_with), *options)

    def test_a_handler_that_calls_time_is_found_in_a_program_that_may(self):
        for options in (("-O0",), ("-O2",), ("-O2", "-fPIC", "-g")):
            self.expect(self.kind("1", "time(NULL)", *options) + ":1: [handlers]", "on_tick refers to time",
                        arguments=("--handlers", os.path.join(self.root, "build", "x.o")))

    def test_a_handler_that_calls_it_through_a_function_is_found(self):
        for options in (("-O0",), ("-O2",), ("-O2", "-fPIC", "-g")):
            self.expect(self.kind("time(NULL)", "helper() + 1", *options) + ":1: [handlers]", "helper refers to time",
                        arguments=("--handlers", os.path.join(self.root, "build", "x.o")))

    def test_a_handler_that_reads_the_counter_is_found(self):
        self.expect(self.kind("1", "(long)__builtin_ia32_rdtsc()", "-O2") + ":1: [handlers]", "on_tick uses the instruction rdtsc",
                    arguments=("--handlers", os.path.join(self.root, "build", "x.o")))

    def test_what_only_the_program_around_the_handlers_calls_is_its_own_affair(self):
        for options in (("-O0",), ("-O2",), ("-O2", "-fPIC", "-g")):
            self.assertEqual(self.tidy("--handlers", self.kind("time(NULL)", "7", *options)), [])

    def test_an_object_that_cannot_be_read_is_a_fault(self):
        self.expect("/nonexistent.o:1: [handlers]", arguments=("--handlers", "/nonexistent.o"))

    def object(self, text, *options):
        source, built = os.path.join(self.root, "build", "x.c"), os.path.join(self.root, "build", "x.o")
        self.write("build/x.c", text)
        subprocess.run(["cc", "-fno-builtin", *options, "-c", source, "-o", built], check=True)
        return built

    def archive(self, text):
        built = self.object(text)
        archive = built[:-1] + "a"
        if os.path.exists(archive):
            os.remove(archive)
        subprocess.run(["ar", "rcs", archive, built], check=True)
        return archive


if __name__ == "__main__":
    unittest.main()
