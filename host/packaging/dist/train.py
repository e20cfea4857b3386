#!/usr/bin/env python3
"""The load that a build counts under: what a proxy does most, in proportions of a busy site.

    python3 train.py BINARY [--rounds N]

Starts the binary twice, on loopback: as a proxy, and as the servers behind it, so that both sides of
HTTP/1 and of HTTP/2 are at work. Asks for small answers, most of all, for some that are larger, sends
bodies, under five of the stock policies and some hooks, with an access log and without, over plain connections
and TLS, over kept ones and new ones. It needs Python and openssl, and ends by itself after a minute
or two.
"""

import argparse
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

CONNECTIONS = 6
POLICIES = {
    "turns": '"round_robin"',
    "least": '"least_conn"',
    "client": '"ip_hash"',
    "key": '{ plugin = "hash", key = "$request_uri", consistent = true }',
    "chance": '{ plugin = "random", two = "least_conn" }',
}
SERVERS = """[server]
workers = 1
keepalive_requests = 100000000
error_log = "{folder}/servers-error.log"
access_log = "{folder}/servers.log"
[[listen]]
address = "127.0.0.1:{servers}"
[[listen]]
address = "127.0.0.2:{servers}"
[[listen]]
address = "127.0.0.3:{servers}"
[[route]]
path = "/"
return = {{ status = 200, body = "{small}" }}
[[route]]
path = "/files/"
files = "{folder}/files"
"""
PROXY = """[server]
workers = 1
access_log = false
keepalive_requests = 100000000
error_log = "{folder}/proxy-error.log"
[[listen]]
address = "127.0.0.1:{plain}"
client_max_body_size = "10m"
[[listen]]
address = "127.0.0.1:{tls}"
client_max_body_size = "10m"
tls = {{ certificate = "{folder}/cert.pem", key = "{folder}/key.pem" }}
[upstream.http2]
servers = ["127.0.0.1:{servers}"]
http2 = true
[[route]]
path = "/http2/"
proxy = "http://http2/"
[hook.limit]
plugin = "limit_req"
key = "$binary_remote_addr"
rate = "1000000r/s"
[[route]]
path = "/hooks/"
proxy = "http://turns/"
hooks = ["request_id", {{ plugin = "access", rules = ["allow 127.0.0.0/8", "deny all"] }}, {{ use = "limit", burst = 1000000, nodelay = true }}]
[[route]]
path = "/own"
return = {{ status = 200, body = "own" }}
"""
POLICY = """[upstream.{name}]
policy = {policy}
keepalive = 64
keepalive_requests = 100000000
servers = [
  "127.0.0.1:{servers}",
  {{ address = "127.0.0.2:{servers}", weight = 2 }},
  {{ address = "127.0.0.3:{servers}", weight = 3 }},
]
[[route]]
path = "/{name}/"
proxy = "http://{name}/"
"""
HEADERS = (
    "Host: site.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n"
    "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\nAccept-Encoding: gzip, br\r\n"
    "Accept-Language: en-US,en;q=0.5\r\nCookie: session=0123456789abcdef; theme=dark\r\n"
)


def free_port():
    with socket.socket() as at:
        at.bind(("127.0.0.1", 0))
        return at.getsockname()[1]


def request(method, path, body=b"", close=False):
    head = f"{method} {path} HTTP/1.1\r\n{HEADERS}"
    if body:
        head += f"Content-Length: {len(body)}\r\n"
    if close:
        head += "Connection: close\r\n"
    return f"{head}\r\n".encode() + body


# One round of a connection: small answers, most of all, and what else there is.
PATHS = [f"/{name}/small" for name in POLICIES for _ in range(8 if name == "turns" else 2)]
ROUND = [request("GET", path) for path in PATHS]
ROUND += [request("GET", f"/http2/small?{number}") for number in range(4)]
ROUND += [request("GET", "/hooks/small"), request("GET", "/own"), request("HEAD", "/own")]
ROUND += [request("GET", "/turns/files/10k"), request("GET", "/http2/files/10k")]
ROUND += [request("POST", "/turns/small", b"x" * 600), request("POST", "/http2/small", b"x" * 600)]
SELDOM = [request("GET", "/turns/files/1m"), request("GET", "/http2/files/1m")]
SELDOM += [request("POST", "/turns/small", b"x" * 200_000), request("GET", "/turns/files/none")]


def answered(stream, asked):
    """Sends a request and reads its answer."""
    stream.write(asked)
    stream.flush()
    status = int(stream.readline().split()[1])
    length = 0
    while (line := stream.readline()) not in (b"\r\n", b""):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    if not asked.startswith(b"HEAD"):
        assert len(stream.read(length)) == length, "an answer broke off"
    assert status in (200, 404), f"{status} for {asked[:60]}"


def connection(port, context):
    stream = socket.create_connection(("127.0.0.1", port), timeout=60)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context:
        stream = context.wrap_socket(stream, server_hostname="site.example")
    return stream.makefile("rwb")


def client(port, context, rounds, failures):
    try:
        stream = connection(port, context)
        for number in range(rounds):
            for asked in ROUND:
                answered(stream, asked)
            if number % 20 == 0:
                for asked in SELDOM:
                    answered(stream, asked)
            if number % 4 == 0:
                with connection(port, context) as once:
                    answered(once, request("GET", "/turns/small", close=True))
    except Exception as failure:  # told by the one who waits for this thread
        failures.append(failure)


def started(binary, folder, name, text, port):
    file = folder / f"{name}.toml"
    file.write_text(text)
    process = subprocess.Popen([binary, "run", "-c", str(file)])
    for _ in range(1200):
        if process.poll() is not None:
            sys.exit(f"{name} has ended with {process.returncode}:\n{text}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return process
        except OSError:
            time.sleep(0.1)
    process.kill()
    process.wait()
    sys.exit(f"{name} does not listen")


def train(binary, rounds, folder):
    (folder / "files").mkdir()
    (folder / "files" / "10k").write_bytes(b"k" * 10_240)
    (folder / "files" / "1m").write_bytes(b"m" * (1 << 20))
    certificate = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    certificate += ["-nodes", "-subj", "/CN=site.example", "-days", "2"]
    certificate += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(certificate, check=True, capture_output=True)
    names = {"folder": folder, "small": "s" * 100}
    names |= {name: free_port() for name in ("servers", "plain", "tls")}
    text = PROXY + "".join(
        POLICY.replace("{name}", name).replace("{policy}", policy.replace("{", "{{").replace("}", "}}"))
        for name, policy in POLICIES.items()
    )
    processes = [started(binary, folder, "servers", SERVERS.format(**names), names["servers"])]
    try:
        processes.append(started(binary, folder, "proxy", text.format(**names), names["plain"]))
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        failures = []
        kinds = [(names["plain"], None)] * (CONNECTIONS - 2) + [(names["tls"], context)] * 2
        clients = [threading.Thread(target=client, args=(*kind, rounds, failures)) for kind in kinds]
        for each in clients:
            each.start()
        for each in clients:
            each.join()
        if failures:
            logs = "".join(file.read_text() for file in sorted(folder.glob("*-error.log")))
            sys.exit(f"a client failed: {failures[0]!r}\n{logs}")
    finally:
        # In order, so that each writes down what it has counted.
        for process in reversed(processes):
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--rounds", type=int, default=1000, help="of some thirty requests for each connection")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        train(asked.binary, asked.rounds, pathlib.Path(folder))


if __name__ == "__main__":
    main()
