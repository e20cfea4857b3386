#!/usr/bin/env python3
"""What the example plugins cost in each language: the table in docs/languages.md.

    cargo build --release --workspace --bin waypost
    tests/benches/languages/measure.py target/release/waypost

Wants the examples built, as `examples/LANGUAGE/README.md` says. The time to compile is processor time
of the compiler's process; all else is what `waypost plugin bench` says, of three servers, about
requests that mostly have no tenant.
"""

import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BUILT = "target/wasm32-wasip2/release"
# The policy and the hook; in one file, but in Rust, where a component is of one kind.
LANGUAGES = {
    "Rust": [f"rust/{BUILT}/by_tenant.wasm", f"rust/{BUILT}/count_tenants.wasm"],
    "C": ["c/plugin.wasm"],
    "Go": ["go/plugin.wasm"],
    "JavaScript": ["javascript/plugin.wasm"],
    "Python": ["python/plugin.wasm"],
}


def processor_time():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def bench(waypost, file, kind, settings):
    """The first line of figures: nanoseconds, the time for an instance, and its memory."""
    command = [waypost, "plugin", "bench", file, "--kind", kind, "--settings", settings]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    nanoseconds, instance, unit, memory, memory_unit = lines[1].split()[2:7]
    return int(nanoseconds), f"{instance} {unit}", f"{memory} {memory_unit}"


def measure(waypost, language, policy, hook):
    before = processor_time()
    subprocess.run([waypost, "plugin", "inspect", policy], check=True, stdout=subprocess.DEVNULL)
    compiled = processor_time() - before
    pick, instance, memory = bench(waypost, policy, "policy", "")
    decide, _, _ = bench(waypost, hook, "hook", 'tenants = ["acme"]')
    size = policy.stat().st_size
    size = f"{size / 1e6:.1f} MB" if size > 1e6 else f"{size / 1e3:.0f} kB"
    print(f"| {language} | {size} | {compiled:.1f} s | {instance} | {memory} | {pick} ns | {decide} ns |", flush=True)


def main():
    waypost = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/release/waypost").resolve()
    print("| language | component | compiled in | instance in | its memory | `pick` | `on-request` |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for language, built in LANGUAGES.items():
        files = [ROOT / "examples" / path for path in built]
        if all(file.exists() for file in files):
            measure(waypost, language, files[0], files[-1])
        else:
            print(f"| {language} | is not built | | | | | |")


main()
