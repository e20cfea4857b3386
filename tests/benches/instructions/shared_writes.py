"""Atomic writes of a small proxied request, counted: how often it runs instructions that lock a
cache line, and in which functions, by valgrind's callgrind.

    python3 tests/benches/instructions/shared_writes.py target/release/waypost

An instruction that locks costs some twenty cycles where its line is this core's, and a hundred
nanoseconds where another core has written to it since. Which of the two it is does not show in a
count: what is printed is where to look. Those of the event loop are on lines of their worker's own;
those of an endpoint's figures are shared by nature. Plain stores do not show at all.

Needs valgrind, binutils, nginx and h2load, and a binary with symbols. `--workers 1 2` and `--policies
round_robin random` count one after the other.
"""

import argparse
import collections
import os
import pathlib
import re
import subprocess
import tempfile

import measure

LOCKED = re.compile(r"^\s*([0-9a-f]+):\s+(lock |xchg\s.*\()")
SYMBOL = re.compile(r"^([0-9a-f]+) <(.*)>:$")


def locking(binary):
    """The function of each instruction of the binary that locks a line, by address."""
    disassemble = ["objdump", "-d", "--no-show-raw-insn", "--demangle=rust", binary]
    found, function = {}, ""
    with subprocess.Popen(disassemble, stdout=subprocess.PIPE, text=True, errors="replace") as told:
        for line in told.stdout:
            if symbol := SYMBOL.match(line):
                function = symbol.group(2)
            elif instruction := LOCKED.match(line):
                found[int(instruction.group(1), 16)] = function
    return found


def executed(file):
    """How often each instruction was executed, by address as the binary has it."""
    counts, is_call = collections.Counter(), False
    for line in pathlib.Path(file).read_text(errors="replace").splitlines():
        if line.startswith("calls="):
            is_call = True  # the line behind it has what the call cost
        elif line.startswith("0x"):
            if not is_call:
                place, _, cost = line.split()[:3]
                counts[int(place, 16)] += int(cost)
            is_call = False
    return counts


def load_address(counts, locks):
    """How far the addresses that ran are from those of the binary: a program that may lie anywhere
    is put there by valgrind."""
    matches = {}
    for away in [0, 0x400000, 0x108000, 0x4000000, 0x100000]:
        matches[away] = sum(1 for address in locks if address + away in counts)
    return max(matches, key=matches.get)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("waypost")
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    parser.add_argument("--policies", nargs="+", default=["round_robin"])
    parser.add_argument("--keep", help="a folder for callgrind's file")
    asked = parser.parse_args()
    locks = locking(asked.waypost)
    for workers in asked.workers:
        for policy in asked.policies:
            counts, instructions = requests(asked, workers, policy)
            told(locks, counts, f"{workers} workers, {policy}, {instructions:,.0f} instructions")


def requests(asked, workers, policy):
    """How often each instruction ran, and how many of them a request takes."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or temporary
        os.makedirs(folder, exist_ok=True)
        server, port = measure.free_port(), measure.free_port()
        origin = measure.SITE.format(
            folder=temporary,
            name="server",
            port=server,
            upstream="",
            location="location / { return 200 'app'; }",
        )
        pathlib.Path(temporary, "server.conf").write_text(origin)
        config = measure.WAYPOST.format(port=port, server=server)
        config = config.replace("workers = 1", f"workers = {workers}")
        config = config.replace("keepalive = 64", f'keepalive = 64\npolicy = "{policy}"')
        pathlib.Path(temporary, "waypost.toml").write_text(config)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(["nginx", "-c", f"{temporary}/server.conf"], **quiet)
        try:
            measure.answers(server, process)
            file = os.path.join(folder, f"shared_writes-{workers}-{policy}.callgrind")
            command = [asked.waypost, "run", "-c", f"{temporary}/waypost.toml"]
            options = ["--dump-instr=yes", "--compress-pos=no"]
            instructions = measure.counted(command, port, file, options)[0]
        finally:
            process.terminate()
            process.wait(timeout=10)
        return executed(file), instructions


def told(locks, counts, title):
    """Prints how often a request runs which of the locking instructions."""
    away = load_address(counts, locks)
    by_function = collections.Counter()
    for address, function in locks.items():
        by_function[function] += counts[address + away]
    total = sum(by_function.values()) / measure.REQUESTS
    print(f"{title} in a request, of which {total:.2f} lock a line:")
    for function, count in by_function.most_common():
        if count * 100 >= measure.REQUESTS:
            print(f"{count / measure.REQUESTS:8.2f} {function}")


main()
