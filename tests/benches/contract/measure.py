#!/usr/bin/env python3
"""What each function of the contract costs: the last column of docs/contract.md.

    cargo build --release --workspace --bin waypost
    tests/benches/contract/measure.py target/release/waypost --fill

Builds `plugin.c` with Zig, and has `waypost plugin bench` call each function a hundred times in each
request, and not at all: the difference is what a call costs, the host's part included. A phase costs
what a plugin takes longer that has it. The fastest of 15 rounds of 50 ms counts, so that what others
do meanwhile only adds to a figure that is not taken.

Writes `raw.csv` and the machine into a folder of tests/benches/results, named by the date; with
`--fill` the page as well. `--only request` measures the functions whose names begin so.
"""

import argparse
import csv
import datetime
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PAGE = ROOT / "docs" / "contract.md"
TIMES = 100

# The set of exports by which a function is measured.
POLICY, HOOK, RESPONSE, BODY = (
    ("policy", "POLICY"),
    ("hook", "HOOK"),
    ("hook", "HOOK", "RESPONSE"),
    ("hook", "HOOK", "BODY"),
)
OF_POLICIES = ("fleet.", "upstream.", "attempt.", "nginx.max-fails", "nginx.fail", "nginx.route")


def exports_of(function):
    if function.startswith(OF_POLICIES):
        return POLICY
    if function.startswith("response.") or function == "bodies.want-response-body":
        return RESPONSE
    return BODY if function in ("bodies.set-body", "bodies.trailers") else HOOK


# Phases: what is measured with them, and without.
PHASES = {
    "balancer.pick": (POLICY, None),
    "observer.done": ((*POLICY, "DONE"), POLICY),
    "on-request.on-request": (HOOK, None),
    "on-response.on-response": (RESPONSE, HOOK),
    "on-request-body.on-request-body": (BODY, HOOK),
    "on-response-body.on-response-body": ((*RESPONSE, "RESPONSE_BODY"), RESPONSE),
    "on-end.on-end": ((*HOOK, "END"), HOOK),
}
# Those that work before `round_robin`, against `round_robin` alone.
BEFORE = {"filter.narrow": ("filter", "FILTER"), "scorer.score": ("scorer", "SCORER")}


class Bench:
    def __init__(self, waypost, python, folder):
        self.waypost, self.python, self.folder = waypost, python, Path(folder)
        self.built, self.measured = {}, {}

    def build(self, exports):
        """The plugin with these exports."""
        if exports not in self.built:
            file = self.folder / f"{'-'.join(exports).lower()}.wasm"
            command = [self.python, "-m", "ziglang", "cc", "-target", "wasm32-wasi"]
            command += ["-mexec-model=reactor", "-z", "stack-size=65536", "-s", "-O2"]
            command += ["-I", ROOT / "sdk" / "c", *(f"-DWITH_{name}" for name in exports[1:])]
            subprocess.run([*command, HERE / "plugin.c", "-o", file], check=True)
            self.built[exports] = file
        return self.built[exports]

    def row(self, what, kind, settings="", rows=1):
        """Nanoseconds of a request in the last one of so many rows."""
        command = [self.waypost, "plugin", "bench", what, "--kind", kind, "--settings", settings]
        running = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            lines = [running.stdout.readline() for _ in range(1 + rows)]
        finally:
            running.kill()  # what it measures besides is not wanted
            running.wait()
        if not lines[-1].strip():
            sys.exit(f"{command} says {lines}")
        return float(re.split(r"\s{2,}", lines[-1].strip())[2])

    def request(self, exports):
        if exports not in self.measured:
            self.measured[exports] = self.row(self.build(exports), exports[0])
        return self.measured[exports]

    def call(self, function):
        exports = exports_of(function)
        settings = f'call = "{function}", times = {TIMES}'
        with_calls = self.row(self.build(exports), exports[0], settings)
        return (with_calls - self.request(exports)) / TIMES

    def phase(self, phase):
        if phase in BEFORE:
            exports = BEFORE[phase]
            return self.row(self.build(exports), exports[0]) - self.row("round_robin", "policy")
        with_it, without = PHASES[phase]
        return self.request(with_it) - (self.request(without) if without else 0)


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(": ", 1)[1]
    return platform.machine()


def commit():
    command = ["git", "-C", ROOT, "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def told(nanoseconds):
    """To two digits: more would say nothing."""
    if nanoseconds < 1:
        return "< 1"
    digits = max(0, len(str(round(nanoseconds))) - 2)
    return f"{round(nanoseconds, -digits):,.0f}"


def fill(costs, machine):
    """Writes the last column of the page's tables, and by what it was measured."""
    lines = []
    for line in PAGE.read_text().split("\n"):
        row = re.match(r"\| `([a-z-]+\.[a-z-]+)` \|", line)
        if row and row[1] in costs:
            line = f"{line.rsplit(' | ', 1)[0]} | {told(costs[row[1]])} |"
        lines.append(line)
    page = "\n".join(lines)
    begin, end = "<!-- measured -->\n", "<!-- /measured -->"
    page = page.split(begin)[0] + begin + machine + "\n" + end + page.split(end)[1]
    PAGE.write_text(page)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("waypost", nargs="?", default=ROOT / "target/release/waypost", type=Path)
    parser.add_argument("--fill", action="store_true", help="write docs/contract.md as well")
    parser.add_argument("--only", default="", help="functions whose names begin so")
    parser.add_argument("--python", default=ROOT / "target/peers/bin/python", help="with ziglang")
    given = parser.parse_args()
    source = (HERE / "plugin.c").read_text()
    functions = re.findall(r'TRY\("([a-z.-]+)"', source)
    load = os.getloadavg()[0]
    costs = {}
    with tempfile.TemporaryDirectory(prefix="waypost-") as folder:
        bench = Bench(given.waypost.resolve(), given.python, folder)
        for name in [*PHASES, *BEFORE, *functions]:
            if name.startswith(given.only):
                is_phase = name in PHASES or name in BEFORE
                costs[name] = bench.phase(name) if is_phase else bench.call(name)
                print(f"{name:<40} {costs[name]:>9.1f} ns", flush=True)
    today = datetime.date.today().isoformat()
    cores = os.cpu_count()
    machine = (
        f"Measured on {today}, {processor()}, {cores} cores, Linux {platform.release()}, commit "
        f"{commit()};\nload {load:.1f} when it began, {os.getloadavg()[0]:.1f} when it ended."
    )
    if given.only:
        return
    results = ROOT / "tests/benches/results" / f"{today}-{cores}core-contract"
    results.mkdir(parents=True, exist_ok=True)
    with (results / "raw.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["function", "nanoseconds"])
        writer.writerows((name, f"{cost:.2f}") for name, cost in costs.items())
    (results / "README.md").write_text(
        f"# What each function of the contract costs, {today}\n\n{machine} A release build of"
        "\n`tests/benches/contract/measure.py`, whose figures `raw.csv` has.\n"
    )
    if given.fill:
        fill(costs, machine)


main()
