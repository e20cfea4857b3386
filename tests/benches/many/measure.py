"""What many of something cost: processor time of a request, and memory, of a Waypost that has many
upstreams, routes or keys beside one that has few, both loaded at the same time.

    python3 tests/benches/many/measure.py target/release/waypost

- 1,000 upstreams of ten servers, each asked in turn over kept connections, beside one of ten
- 10,000 routes, each asked in turn, beside one
- `limit_req` with a million keys, each asked in turn, beside one key; and what a zone does that has
  room for fewer keys

Both have one worker, on core 0; the generators and the servers have core 1. The ratio counts: other
load on the machine concerns both. Needs nginx, wrk and taskset, and some 11,000 descriptors.
"""

import argparse
import pathlib
import resource
import socket
import statistics
import subprocess
import tempfile
import time

ROUNDS = 5
SECONDS = 4
UPSTREAMS, SERVERS, ROUTES, KEYS = 1_000, 10, 10_000, 1_000_000

NGINX = """daemon off; worker_processes 1; {user} pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 16384; }}
http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  server {{ {listen} location / {{ return 200 'served'; }} }} }}
"""
HEAD = """[server]
workers = 1
access_log = false
keepalive_requests = 1000000000
error_log = "{folder}/{name}.log"
[[listen]]
address = "127.0.0.1:{port}"
"""
LIMIT = """[hook.limit]
plugin = "limit_req"
key = "$arg_k"
rate = "1000000r/s"
{zone}
[[route]]
path = "/"
hooks = [{{ use = "limit", burst = 1000000, nodelay = true }}]
return = {{ status = 200, body = "served" }}
"""


def free_port():
    with socket.socket() as at:
        at.bind(("127.0.0.1", 0))
        return at.getsockname()[1]


def upstreams(number, port):
    servers = ", ".join(f'"127.0.0.{1 + server}:{port}"' for server in range(SERVERS))
    for at in range(number):
        yield f'[upstream.u{at}]\nservers = [{servers}]\nkeepalive = 64\nkeepalive_requests = 1000000000\n'
        yield f'[[route]]\npath = "= /{at}"\nproxy = "u{at}"\n'


def routes(number):
    for at in range(number):
        yield f'[[route]]\npath = "= /{at}"\nreturn = {{ status = 200, body = "served" }}\n'


class Proxy:
    """A Waypost, and what it is asked for: `number` different targets, in turn."""

    def __init__(self, binary, folder, name, text, target, number):
        self.port, self.folder, self.name = free_port(), folder, name
        file = folder / f"{name}.toml"
        file.write_text(HEAD.format(folder=folder, name=name, port=self.port) + text)
        self.script = folder / f"{name}.lua"
        # Each `wrk` goes on where the one before has stopped.
        self.script.write_text(
            f"local at, number = tonumber(os.getenv('FROM')), {number}\n"
            f"request = function() at = (at + 1) % number return wrk.format('GET', '{target}' .. at) end\n"
        )
        self.asked = 0
        begun = time.monotonic()
        self.process = subprocess.Popen(["taskset", "-c", "0", binary, "run", "-c", str(file)])
        self.answers()
        self.start = time.monotonic() - begun

    def answers(self):
        for _ in range(1200):
            if self.process.poll() is not None:
                log = pathlib.Path(self.folder, f"{self.name}.log")
                told = log.read_text(errors="replace") if log.exists() else ""
                raise SystemExit(f"{self.name} has ended: {told}")
            try:
                return socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            except OSError:
                time.sleep(0.1)
        raise SystemExit(f"{self.name} does not listen")

    def ticks(self):
        """Of processor time, hundredths of a second."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def memory(self):
        """MiB, pages of the binary not counted."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024

    def loaded(self, seconds):
        command = ["taskset", "-c", "1", "wrk", "-t1", "-c32", f"-d{seconds}s", "-s", str(self.script)]
        return subprocess.Popen(
            [*command, f"http://127.0.0.1:{self.port}"],
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "FROM": str(self.asked)},
        )


def seen(load):
    """Requests, and how many of them were not answered as they should be."""
    told, failed, requests = load.communicate()[0], 0, 0
    for line in told.splitlines():
        if " requests in " in line:
            requests = int(line.split()[0])
        if "Non-2xx" in line or "Socket errors" in line:
            failed += sum(int(word) for word in line.replace(",", " ").split() if word.isdigit())
    return requests, failed


def both(proxies, seconds):
    """Microseconds of processor time for each request of each, both loaded at once."""
    before = [proxy.ticks() for proxy in proxies]
    loads = [proxy.loaded(seconds) for proxy in proxies]
    costs = []
    for proxy, load, ticks in zip(proxies, loads, before):
        requests, failed = seen(load)
        assert failed == 0, f"{failed} of {requests} requests to {proxy.name} failed"
        proxy.asked += requests
        costs.append((proxy.ticks() - ticks) * 10_000 / max(requests, 1))
    return costs


def compare(what, many, few, warm):
    try:
        # As many as it takes to have asked for each once.
        while many.asked < warm:
            both([many, few], SECONDS)
        rounds = [both([many, few], SECONDS) for _ in range(ROUNDS)]
        ratios = [one / other for one, other in rounds]
        costs = [statistics.median(each) for each in zip(*rounds)]
        print(
            f"| {what} | {costs[0]:.1f} | {costs[1]:.1f} | {statistics.median(ratios):.2f}"
            f" ({min(ratios):.2f} to {max(ratios):.2f}) | {many.memory():.1f} | {few.memory():.1f}"
            f" | {many.start:.1f} s |",
            flush=True,
        )
    finally:
        for proxy in (many, few):
            proxy.process.terminate()
            proxy.process.wait(timeout=60)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("waypost")
    binary = parser.parse_args().waypost
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as temporary:
        folder, server = pathlib.Path(temporary), free_port()
        listen = " ".join(f"listen 127.0.0.{1 + at}:{server};" for at in range(SERVERS))
        user = "user root;" if folder.owner() == "root" else ""
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, listen=listen, user=user))
        nginx = subprocess.Popen(["taskset", "-c", "1", "nginx", "-c", str(folder / "nginx.conf")])
        try:
            print("| many | µs many | µs few | ratio: median (min to max) | MiB many | MiB few | start |")
            print("| --- | --- | --- | --- | --- | --- | --- |")

            def proxy(name, text, target, number):
                return Proxy(binary, folder, name, text, target, number)

            compare(
                f"{UPSTREAMS:,} upstreams of {SERVERS} servers, beside one",
                proxy("upstreams", "".join(upstreams(UPSTREAMS, server)), "/", UPSTREAMS),
                proxy("upstream", "".join(upstreams(1, server)), "/", 1),
                2 * UPSTREAMS * SERVERS,
            )
            compare(
                f"{ROUTES:,} routes, beside one",
                proxy("routes", "".join(routes(ROUTES)), "/", ROUTES),
                proxy("route", "".join(routes(1)), "/", 1),
                ROUTES,
            )
            for what, zone in [
                (f"`limit_req`, {KEYS:,} keys, beside one", 'size = "256m"'),
                (f"`limit_req`, {KEYS:,} keys in a zone of 10 MiB, beside one", 'size = "10m"'),
            ]:
                text = LIMIT.format(zone=zone)
                many = proxy("keys", text, "/?k=", KEYS)
                compare(what, many, proxy("key", text, "/?k=", 1), KEYS)
        finally:
            nginx.terminate()
            nginx.wait(timeout=10)


if __name__ == "__main__":
    main()
