"""lib_install_test.py - goal: who has only what 'cmake --install' puts somewhere can build and run actors, and gets no surprise.
Method: install the component lib to a fresh prefix and move it; build hello_actor as docs/guide/actors.md says, with a
compiler and with CMake, and the other programs beside it, shared and static each, with a base/error.h of the program's own in the way;
run all of them, two_nodes over each kind of link. Compare what the
shared library shows with what the installed headers declare, and what they install with what they include.

SPDX-License-Identifier: Apache-2.0
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

import two_nodes

SOURCE, BUILD = os.environ["STOA_SOURCE"], os.environ["STOA_BUILD"]
PROGRAMS = {"hello_actor": os.path.join(SOURCE, "examples", "hello_actor.c"),
            "simulate": os.path.join(SOURCE, "examples", "simulate.c"),
            "supervision": os.path.join(SOURCE, "examples", "supervision.c"),
            "two_nodes": os.path.join(SOURCE, "examples", "two_nodes.c"),
            "plugin": os.path.join(SOURCE, "examples", "plugin.c"),
            "embed": os.path.join(SOURCE, "tests", "integration", "embed.c")}
PACKAGES = {"shared": ("stoa", "Stoa::stoa"), "static": ("stoa-static", "Stoa::stoa_static")}


def run(*command, **words):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **words)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def cached(name):
    with open(os.path.join(BUILD, "CMakeCache.txt"), encoding="utf-8") as cache:
        found = re.search(rf"^{name}:\w+=(.*)$", cache.read(), re.M)
    return found.group(1) if found else ""


def headers_of(prefix):
    texts = {}
    top = os.path.join(prefix, "include")
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, encoding="utf-8") as header:
                texts[os.path.relpath(path, top)] = header.read()
    return texts


def guide(language, word):
    """The first block of that language in the guide that has the word."""
    with open(os.path.join(SOURCE, "docs", "guide", "actors.md"), encoding="utf-8") as file:
        blocks = re.findall(rf"^```{language}\n(.*?)^```$", file.read(), re.M | re.S)
    return next(block for block in blocks if word in block)


def check_headers(prefix, cc, work):
    """Each stands alone, in strict C11 and later; none is internal to a room, none includes what is not there."""
    texts = headers_of(prefix)
    assert {"stoa/stoa.h", "stoa/runtime/sim.h"} <= set(texts) and "stoa/runtime/core.h" not in texts, sorted(texts)
    assert not any(re.search(r"Internal to \w", text) for text in texts.values()), "an internal header is installed"
    macros = {name for text in texts.values() for name in re.findall(r"^\s*#\s*define\s+(\w+)", text, re.M)}
    foreign = {name for name in macros if not re.match(r"STOA_|stoa_", name)}
    assert not foreign, f"macros of other names: {foreign}"
    for name in sorted(name for name in texts if name.endswith(".h")):
        source = os.path.join(work, "alone.c")
        with open(source, "w", encoding="utf-8") as out:
            out.write(f"#include <{name}>\n#include <{name}>\n")
        for standard in ("c11", "gnu17"):
            run(cc, f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I" + prefix + "/include", source)


def symbols(which, library):
    return {line.split()[2] for line in run("nm", "--defined-only", which, library).splitlines() if len(line.split()) == 3}


def check_symbols(prefix, cc, work):
    """Shown is what the headers declare, and all of it; what is in the archive begins with stoa_ or is C++."""
    library = os.path.join(prefix, "lib", "libstoa.so")
    shown = symbols("-D", library)
    source = os.path.join(work, "all.c")
    with open(source, "w", encoding="utf-8") as out:
        out.writelines(f"#include <{name}>\n" for name in sorted(headers_of(prefix)) if name.endswith(".h"))
    text = run(cc, "-E", "-P", "-I" + os.path.join(prefix, "include"), source)
    while "{" in text:
        text = re.sub(r"\{[^{}]*\}", ";", text)
    declared = set()
    for statement in text.split(";"):
        if re.search(r"\b(typedef|static)\b", statement) or "stoa_" not in statement:
            continue
        found = re.search(r"\b(stoa_\w+)\s*\(", statement)
        if found:
            declared.add(found.group(1))
        elif "extern" in statement:
            declared |= {re.findall(r"\w+", re.sub(r"\[.*", "", one))[-1] for one in statement.split(",")}
    assert len(declared) > 100, declared
    assert shown == declared, f"only shown: {sorted(shown - declared)}, only declared: {sorted(declared - shown)}"
    defined = symbols("-g", os.path.join(prefix, "lib", "libstoa.a"))
    stray = {name for name in defined if not re.match(r"stoa_|_Z|DW\.ref\.|__odr_asan", name)}
    assert not stray, f"the archive defines {sorted(stray)}"
    needed = re.findall(r"NEEDED.*\[(.*)\]", run("readelf", "-d", library))
    known = r"ld-linux|lib(c|m|stdc\+\+|gcc_s|rocksdb|zmq|sodium|crypto|asan|ubsan|tsan)\.so"
    assert all(re.match(known, name) for name in needed), needed


def copy_programs(folder):
    os.makedirs(os.path.join(folder, "base"))
    shutil.copytree(os.path.join(SOURCE, "examples", "plugins"), os.path.join(folder, "plugins"))
    for source in PROGRAMS.values():
        shutil.copy(source, folder)
    with open(os.path.join(folder, "base", "error.h"), "w", encoding="utf-8") as out:
        out.write('#error "the program\'s own base/error.h, which nobody asked for"\n')


def build_by_pkgconfig(prefix, cc, flags, package, folder):
    """With the guide's command; flags and the program's own headers in front."""
    copy_programs(folder)
    env = {**os.environ, "PKG_CONFIG_PATH": os.path.join(prefix, "lib", "pkgconfig")}
    run("pkg-config", "--exists", "--print-errors", package + " = 0.1.0", env=env)
    command = guide("sh", "pkg-config").replace("libs stoa)", f"libs {package})")
    assert command.startswith("cc ") and command.count(package) == 1, command
    words = " ".join([cc, "-Werror", "-I.", "-iquote.", *flags, command[len("cc "):]])
    for name in PROGRAMS:
        run("bash", "-c", words.replace("hello_actor", name), env=env, cwd=folder)
    return folder


def build_plugin(prefix, cc, work):
    """With the guide's command, of its two files alone: linked to nothing."""
    folder = os.path.join(work, "plugin")
    shutil.copytree(os.path.join(SOURCE, "examples", "plugins"), folder)
    command = guide("sh", "-shared")
    assert command.startswith("cc ") and "tally.c" in command, command
    words = " ".join([cc, "-Wextra", "-Werror", command[len("cc "):]])
    run("bash", "-c", words, env={**os.environ, "PKG_CONFIG_PATH": os.path.join(prefix, "lib", "pkgconfig")}, cwd=folder)
    return os.path.join(folder, "tally.so")


def build_by_cmake(prefix, cc, flags, target, folder):
    """With the guide's project, and its last lines again for the other programs."""
    copy_programs(folder)
    project = guide("cmake", "find_package").replace("Stoa::stoa)", target + ")")
    again = "".join(line + "\n" for line in project.split("\n") if "hello_actor" in line)
    with open(os.path.join(folder, "CMakeLists.txt"), "w", encoding="utf-8") as out:
        out.write(project + "".join(again.replace("hello_actor", name) for name in PROGRAMS if name != "hello_actor"))
    run("cmake", "-S", folder, "-B", folder + "/build", "-DCMAKE_PREFIX_PATH=" + prefix, "-DCMAKE_C_COMPILER=" + cc,
        "-DCMAKE_C_FLAGS=" + " ".join(flags))
    run("cmake", "--build", folder + "/build")
    return folder + "/build"


def run_programs(folder, prefix, plugin, shared, sanitize):
    env = {**os.environ, "LD_LIBRARY_PATH": os.path.join(prefix, "lib")}
    for name in PROGRAMS:
        linked = "libstoa.so" in run("readelf", "-d", os.path.join(folder, name))
        assert linked == shared, f"{name} is linked with the {'archive' if shared else 'shared library'}"
    with tempfile.TemporaryDirectory(prefix="stoa-hello-") as empty:
        for visitor in (1, 2):
            told = run(os.path.join(folder, "hello_actor"), cwd=empty, env=env)
            assert told == f"Hello Ada, visitor {visitor}\n", told
    for name, line in (("simulate", "after 52 weeks: 52000 cents\n"), ("supervision", "2 ended, because of a cramp\n")):
        told = run(os.path.join(folder, name), env=env)
        assert line in told, told
    if not shared:  # who is not beside the library has stoa-isolate beside himself
        shutil.copy(os.path.join(prefix, "bin", "stoa-isolate"), folder)
    told = run(os.path.join(folder, "plugin"), plugin, env=env)
    assert told == "total 1\ntotal 3\ntotal 6\nFAILED\nisolate: crashed\ntotal 5\n", told
    modules = {} if shared else {"STOA_MODULES": os.path.join(prefix, "lib", "stoa")}  # a program of its own is anywhere
    for uri, keys in two_nodes.LINKS:
        two_nodes.play(os.path.join(folder, "two_nodes"), uri, keys, {**env, **modules})
    with tempfile.TemporaryDirectory(prefix="stoa-embed-") as empty:
        done = subprocess.run([os.path.join(folder, "embed"), "" if sanitize else "memory"], capture_output=True,
                              text=True, check=False, cwd=empty, env=env)
        assert done.returncode == 0 and done.stderr == "", f"{folder}: {done.returncode}\n{done.stdout}{done.stderr}"


def main():
    sanitize, cc = cached("STOA_SANITIZE"), cached("CMAKE_C_COMPILER")
    flags = [f"-fsanitize={sanitize}"] if sanitize else []
    work = tempfile.mkdtemp(prefix="stoa-lib-")
    try:
        prefix = os.path.join(work, "first")
        run("cmake", "--install", BUILD, "--prefix", prefix, "--component", "lib")
        shutil.move(prefix, os.path.join(work, "prefix"))  # nothing may depend on where it was
        prefix = os.path.join(work, "prefix")
        run("cmake", "--install", BUILD, "--prefix", prefix, "--component", "lib")  # twice is no harm
        check_headers(prefix, cc, work)
        check_symbols(prefix, cc, work)
        plugin = build_plugin(prefix, cc, work)
        for form, (package, target) in PACKAGES.items():
            for build, what in ((build_by_pkgconfig, package), (build_by_cmake, target)):
                folder = build(prefix, cc, flags, what, os.path.join(work, build.__name__ + form))
                run_programs(folder, prefix, plugin, form == "shared", sanitize)
        print("installed, and used four ways")
        return 0
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
