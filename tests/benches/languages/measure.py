#!/usr/bin/env python3
"""What the example plugins cost in each language: the table in docs/languages.md.

    cargo build --release --workspace --bin waypost
    tests/benches/languages/measure.py target/release/waypost

Wants the examples built (`examples/LANGUAGE/README.md`), and h2load. For each of them, one worker,
one client, and 20,000 requests that all have a tenant: `waypost plugin list` tells the mean time of
`pick` and of `on-request` as two plugins of the same file.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LANGUAGES = {"C": "c", "Go": "go", "JavaScript": "javascript", "Python": "python"}
REQUESTS = 20_000

CONFIGURATION = """
[admin]
address = "unix:{folder}/admin.sock"
[server]
workers = 1
access_log = false
plugin_cache = "{folder}/cache"
[[listen]]
address = "127.0.0.1:0"
[plugin.picks]
file = "{file}"
grants = ["request", "changes"]
budget = 100
[plugin.counts]
file = "{file}"
grants = ["request", "changes"]
budget = 100
[hook.counted]
plugin = "counts"
tenants = ["acme"]
[upstream.backend]
policy = "picks"
keepalive = 8
servers = ["unix:{folder}/toy.sock", "unix:{folder}/toy.sock"]
[[route]]
hooks = ["counted"]
proxy = "backend"
"""
TOY = '[server]\nworkers = 1\naccess_log = false\n[[listen]]\naddress = "unix:{folder}/toy.sock"\n[[route]]\nreturn = {{ body = "toy" }}\n'


def run(waypost, folder, name, text):
    """A running Waypost, and what it said until it listens."""
    (folder / name).write_text(text)
    process = subprocess.Popen([waypost, "run", "-c", folder / name], stderr=subprocess.PIPE, text=True)
    said = ""
    for line in process.stderr:
        said += line
        if "listening on " in line:
            return process, said
    sys.exit(said)


def measure(waypost, language, file):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        toy, _ = run(waypost, folder, "toy.toml", TOY.format(folder=folder))
        proxy, said = run(waypost, folder, "waypost.toml", CONFIGURATION.format(folder=folder, file=file))
        try:
            address = said.split("listening on ")[1].split()[0]
            subprocess.run(
                ["h2load", "--h1", "-c1", f"-n{REQUESTS}", "-Hx-tenant: acme", f"http://{address}/"],
                check=True, stdout=subprocess.DEVNULL)
            listed = subprocess.run(
                [waypost, "plugin", "list", "--admin", f"unix:{folder}/admin.sock"],
                check=True, capture_output=True, text=True).stdout.splitlines()
        finally:
            for process in (proxy, toy):
                process.terminate()
                process.wait()
    head = listed[0]

    def column(plugin, name):
        line = next(line for line in listed if line.startswith(plugin + " "))
        return line[head.rindex(f" {name} ") + 1:].split("  ")[0].strip()

    compiled = re.search(r"compiled plugin `\w+` in (\S+)", said)
    size = file.stat().st_size
    size = f"{size / 1e6:.1f} MB" if size > 1e6 else f"{size / 1e3:.0f} kB"
    print(f"| {language} | {size} | {compiled[1]} | {column('picks', 'MEMORY')} | "
          f"{column('picks', 'MEAN')} | {column('counts', 'MEAN')} |", flush=True)


def main():
    waypost = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/release/waypost").resolve()
    print("| language | component | compiled in | memory of an instance | `pick` | `on-request` |")
    print("| --- | --- | --- | --- | --- | --- |")
    for language, folder in LANGUAGES.items():
        file = ROOT / "examples" / folder / "plugin.wasm"
        if file.exists():
            measure(waypost, language, file)
        else:
            print(f"| {language} | is not built | | | | |")


main()
