"""sdk_install_test.py - goal: who has only what 'cmake --install' puts somewhere can build and run programs against a node.
Method: install the component client to a fresh prefix, build examples/sdk_order.c with pkg-config and examples/sdk_room.c with
find_package, and run both against a node.

SPDX-License-Identifier: Apache-2.0
"""
import os
import re
import shutil
import subprocess
import tempfile

from running_node import Node

SOURCE, BUILD = os.environ["STOA_SOURCE"], os.environ["STOA_BUILD"]

PROJECT = """
cmake_minimum_required(VERSION 3.25)
project(elsewhere LANGUAGES C)
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_FLAGS "%s")
find_package(StoaClient 0.1 REQUIRED)
add_executable(talk sdk_room.c)
target_link_libraries(talk PRIVATE Stoa::client)
"""


def run(*command, **words):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **words)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def cached(name):
    with open(os.path.join(BUILD, "CMakeCache.txt"), encoding="utf-8") as cache:
        found = re.search(rf"^{name}:\w+=(.*)$", cache.read(), re.M)
    return found.group(1) if found else ""


def check_library(prefix):
    library = os.path.join(prefix, "lib", "libstoa-client.so")
    assert os.path.exists(library), os.listdir(prefix)
    names = [line.split()[2] for line in run("nm", "-D", "--defined-only", library).splitlines() if len(line.split()) == 3]
    stray = [name for name in names if not name.startswith("stoa_client_") and name not in ("_init", "_fini")]
    assert names and not stray, stray
    needed = re.findall(r"NEEDED.*\[(.*)\]", run("readelf", "-d", library))
    foreign = [name for name in needed if re.match(r"lib(rocksdb|websockets|curl|fyaml|simdjson)", name)]
    assert not foreign, needed


def main():
    work = tempfile.mkdtemp(prefix="stoa-install-")
    prefix = os.path.join(work, "prefix")
    sanitize = cached("STOA_SANITIZE")
    flags = [f"-fsanitize={sanitize}"] if sanitize else []
    cc = cached("CMAKE_C_COMPILER")
    run("cmake", "--install", BUILD, "--prefix", prefix, "--component", "client")
    shutil.move(prefix, prefix + "-moved")  # nothing may depend on where it was
    prefix += "-moved"
    run("cmake", "--install", BUILD, "--prefix", prefix, "--component", "client")  # twice is no harm
    check_library(prefix)

    env = {**os.environ, "PKG_CONFIG_PATH": os.path.join(prefix, "lib", "pkgconfig"),
           "LD_LIBRARY_PATH": os.path.join(prefix, "lib")}
    words = run("pkg-config", "--cflags", "--libs", "stoa-client", env=env).split()
    order = os.path.join(work, "order")
    run(cc, "-std=c11", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Werror", *flags,
        os.path.join(SOURCE, "examples", "sdk_order.c"), "-o", order, *words)

    project = os.path.join(work, "project")
    os.mkdir(project)
    shutil.copy(os.path.join(SOURCE, "examples", "sdk_room.c"), project)
    with open(os.path.join(project, "CMakeLists.txt"), "w", encoding="utf-8") as out:
        out.write(PROJECT % " ".join(["-D_POSIX_C_SOURCE=200809L", *flags]))
    run("cmake", "-S", project, "-B", project + "/build", "-DCMAKE_PREFIX_PATH=" + prefix, "-DCMAKE_C_COMPILER=" + cc)
    run("cmake", "--build", project + "/build")

    node = Node()
    try:
        node.start()
        keys = [node.endpoint, node.key("server") + ".pub", node.key("alice")]
        told = run(order, *keys, "alice", "BTCUSDT", "buy", "100", "0.01", "1", env=env)
        assert "durable: disk" in told and told.count("order ") >= 2, told
        run(project + "/build/talk", *keys, "lobby", input="hello from elsewhere\n", env=env)
        heard = run(project + "/build/talk", *keys, "lobby", input="", env=env)
        assert "alice: hello from elsewhere" in heard, heard
    finally:
        node.close()
    shutil.rmtree(node.folder)
    shutil.rmtree(work)


main()
