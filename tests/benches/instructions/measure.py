"""What a small request costs in user space, counted: instructions and misses of the first caches for
each request, by valgrind's callgrind, of Waypost and of nginx beside it.

    python3 tests/benches/instructions/measure.py target/release/waypost

Counts do not depend on the machine's load, and differ by less than a percent from run to run: they
show what a change of the code does, where times are too coarse. They are no times: the caches are
modelled (32 KiB and 48 KiB, without prefetching), and what the kernel does is not in them.

Needs valgrind, nginx and h2load. `--keep FOLDER` keeps callgrind's files, for callgrind_annotate.
"""

import argparse
import ctypes
import os
import pathlib
import socket
import struct
import subprocess
import tempfile
import time
import urllib.request

REQUESTS = 4000
CONNECTIONS = 8
EVENTS = ["Ir", "I1mr", "D1mr", "D1mw"]
CACHES = ["--I1=32768,8,64", "--D1=49152,12,64"]

SITE = """worker_processes 1; daemon off; master_process off; pid {folder}/{name}.pid;
error_log {folder}/{name}.log; events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 100000000;
  client_body_temp_path {folder}/{name}.1; proxy_temp_path {folder}/{name}.2;
  fastcgi_temp_path {folder}/{name}.3; uwsgi_temp_path {folder}/{name}.4;
  scgi_temp_path {folder}/{name}.5;
  {upstream}
  server {{ listen 127.0.0.1:{port}; {location} }} }}
"""
PROXIED = "proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection '';"
WAYPOST = """[server]
workers = 1
access_log = false
[[listen]]
address = "127.0.0.1:{port}"
keepalive_requests = 100000000
[upstream.app]
servers = ["127.0.0.1:{server}"]
keepalive = 64
[[route]]
path = "/"
proxy = "http://app"
"""


def free_port():
    with socket.socket() as at:
        at.bind(("127.0.0.1", 0))
        return at.getsockname()[1]


def without_real_auxv():
    """Has prctl(PR_GET_AUXV) fail from here on, for this process and those that it becomes.

    The kernel's own answer tells of a vDSO that valgrind has unmapped; without one, programs use
    the vector that valgrind gives them.
    """

    def instruction(code, when, otherwise, value):
        return struct.pack("HBBI", code, when, otherwise, value)

    load, equal, end = 0x20, 0x15, 0x06
    program = b"".join(
        [
            instruction(load, 0, 0, 0),  # the call's number
            instruction(equal, 0, 3, 157),  # prctl on x86_64
            instruction(load, 0, 0, 16),  # its first argument
            instruction(equal, 0, 1, 0x41555856),  # PR_GET_AUXV
            instruction(end, 0, 0, 0x00050000 | 22),  # EINVAL
            instruction(end, 0, 0, 0x7FFF0000),  # allowed
        ]
    )
    text = ctypes.create_string_buffer(program)

    class Filter(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("program", ctypes.c_void_p)]

    given = Filter(len(program) // 8, ctypes.cast(text, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in [(38, 1, 0, 0, 0), (22, 2, ctypes.byref(given), 0, 0)]:
        if libc.prctl(*call) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


def load(port, requests):
    address = f"http://127.0.0.1:{port}/"
    command = ["h2load", "--h1", "-n", str(requests), "-c", str(CONNECTIONS), address]
    told = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    assert f"status codes: {requests} 2xx" in told, told


def answers(port, process):
    for _ in range(600):
        assert process.poll() is None, "it has ended"
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read()
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"nothing answers at port {port}")


def counted(command, port, file, options=("--cache-sim=yes", *CACHES)):
    """The events for each request of what answers at the port: those that callgrind was asked for."""
    valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", *options]
    command = [*valgrind, f"--callgrind-out-file={file}", *command]
    log = open(f"{file}.log", "w")
    process = subprocess.Popen(command, preexec_fn=without_real_auxv, stdout=log, stderr=log)
    try:
        answers(port, process)
        load(port, 500)
        control = ["callgrind_control", "-i"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True}
        subprocess.run([*control, "on", str(process.pid)], **quiet)
        load(port, REQUESTS)
        subprocess.run([*control, "off", str(process.pid)], **quiet)
    finally:
        process.terminate()
        process.wait(timeout=60)
    names = totals = None
    for line in pathlib.Path(file).read_text(errors="replace").splitlines():
        if line.startswith("events: "):
            names = line.split()[1:]
        elif line.startswith(("summary: ", "totals: ")):
            totals = [int(number) for number in line.split()[1:]]
    of = dict(zip(names, totals))
    return [of.get(event, 0) / REQUESTS for event in EVENTS]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("waypost", nargs="+", help="binaries of Waypost, one after the other")
    parser.add_argument("--keep", help="a folder for callgrind's files")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or temporary
        os.makedirs(folder, exist_ok=True)
        server, nginx, port = free_port(), free_port(), free_port()
        text = SITE.format(
            folder=temporary,
            name="server",
            port=server,
            upstream="",
            location="location / { return 200 'app'; }",
        )
        pathlib.Path(temporary, "server.conf").write_text(text)
        text = SITE.format(
            folder=temporary,
            name="nginx",
            port=nginx,
            upstream=f"upstream app {{ server 127.0.0.1:{server}; keepalive 64; }}",
            location=f"location / {{ {PROXIED} }}",
        )
        pathlib.Path(temporary, "nginx.conf").write_text(text)
        text = WAYPOST.format(port=port, server=server)
        pathlib.Path(temporary, "waypost.toml").write_text(text)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        origin = subprocess.Popen(["nginx", "-c", f"{temporary}/server.conf"], **quiet)
        try:
            answers(server, origin)
            print("| program | instructions | I1 misses | D1 read misses | D1 write misses |")
            print("| --- | --- | --- | --- | --- |")
            programs = [("nginx", ["nginx", "-c", f"{temporary}/nginx.conf"], nginx)]
            for binary in asked.waypost:
                programs.append((binary, [binary, "run", "-c", f"{temporary}/waypost.toml"], port))
            for name, command, at in programs:
                file = os.path.join(folder, f"{os.path.basename(name)}.callgrind")
                counts = counted(command, at, file)
                print(f"| {name} | " + " | ".join(f"{count:,.0f}" for count in counts) + " |", flush=True)
        finally:
            origin.terminate()
            origin.wait(timeout=10)


if __name__ == "__main__":
    main()
