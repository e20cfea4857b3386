"""What a request would cost in a proxy that does nothing but forward messages, beside nginx: how much
of the time is the kernel's, and what would be saved by sending all of a turn at once.

    python3 tests/benches/forwarder/measure.py [--results FOLDER]

Builds forwarder.c beside this file with cc, with work for each message and without. All have core 0
in turns, one after the other in each round; wrk and the server, an nginx, have core 1. Needs nginx,
wrk, taskset and a C compiler; a minute for each number of connections.
"""

import argparse
import os
import pathlib
import socket
import statistics
import subprocess
import tempfile
import time

ROUNDS, SECONDS = 6, 2
CONNECTIONS = [32, 64]
SOURCE = pathlib.Path(__file__).parent / "forwarder.c"
WAYS = ["at-once", "turn", "ring"]
NGINX = """daemon off; master_process off; worker_processes 1; pid {folder}/{name}.pid;
error_log {folder}/{name}.log; events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000;
  client_body_temp_path {folder}/{name}.1; proxy_temp_path {folder}/{name}.2;
  fastcgi_temp_path {folder}/{name}.3; uwsgi_temp_path {folder}/{name}.4;
  scgi_temp_path {folder}/{name}.5; {upstream}
  server {{ listen 127.0.0.1:{port}; location / {{ {location} }} }} }}
"""
PASS = "proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection '';"


def free_port():
    with socket.socket() as at:
        at.bind(("127.0.0.1", 0))
        return at.getsockname()[1]


def started(command, core, port):
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(["taskset", "-c", str(core), *command], **quiet)
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return process
        except OSError:
            assert process.poll() is None, f"{command} has ended"
            time.sleep(0.1)
    process.kill()
    raise TimeoutError(f"{command} does not listen")


def seconds(process):
    """Processor time so far: user, system."""
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return [int(ticks) / os.sysconf("SC_CLK_TCK") for ticks in fields[11:13]]


def cost(process, port, connections):
    """Microseconds of a request: user, system."""
    before = seconds(process)
    load = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s"]
    load = [*load, f"http://127.0.0.1:{port}/"]
    told = subprocess.run(load, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "Non-2xx" not in told and "Socket errors" not in told, told
    requests = int(next(line for line in told.splitlines() if " requests in " in line).split()[0])
    spent = zip(before, seconds(process))
    return [(after - before) * 1e6 / requests for before, after in spent]


def site(folder, name, port, location, upstream=""):
    file = folder / f"{name}.conf"
    fields = {"folder": folder, "name": name, "port": port}
    file.write_text(NGINX.format(location=location, upstream=upstream, **fields))
    return ["nginx", "-c", str(file)]


def measured(folder, processes, out):
    server = free_port()
    answer = "return 200 '" + 100 * "a" + "';"
    processes.append(started(site(folder, "server", server, answer), 1, server))
    programs = []
    port = free_port()
    upstream = f"upstream app {{ server 127.0.0.1:{server}; keepalive 64; }}"
    programs.append(("nginx", started(site(folder, "nginx", port, PASS, upstream), 0, port), port))
    processes.append(programs[-1][1])
    for kind, options in [("work", ["-DWORK"]), ("nothing", [])]:
        binary = folder / kind
        subprocess.run(["cc", "-O2", *options, "-o", binary, SOURCE], check=True)
        for way in WAYS:
            port = free_port()
            process = started([str(binary), str(port), str(server), way], 0, port)
            processes.append(process)
            programs.append((f"{kind} {way}", process, port))
    out("connections,program,round,user_us,system_us")
    for connections in CONNECTIONS:
        sums = {name: [] for name, *_ in programs}
        for number in range(ROUNDS + 1):
            for name, process, port in programs:
                user, system = cost(process, port, connections)
                # The first is for warming up.
                if number > 0:
                    out(f"{connections},{name},{number},{user:.2f},{system:.2f}")
                    sums[name].append(user + system)
        print(f"\n| {connections} connections | µs | beside nginx: median (min to max) |\n| --- | --- | --- |")
        for name, *_ in programs:
            ratios = [one / other for one, other in zip(sums[name], sums["nginx"])]
            spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            print(f"| {name} | {statistics.median(sums[name]):.1f} | {spread} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=pathlib.Path, help="a folder for each round's figures")
    asked = parser.parse_args()
    lines, processes = [], []
    with tempfile.TemporaryDirectory() as folder:
        try:
            measured(pathlib.Path(folder), processes, lines.append)
        finally:
            for process in processes:
                process.terminate()
                process.wait(timeout=60)
    if asked.results:
        asked.results.mkdir(parents=True, exist_ok=True)
        (asked.results / "forwarder.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
