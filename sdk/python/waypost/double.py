"""What both doubles of the host are made of: a request, the store, and what a plugin may ask for
wherever it is used. `testing.py` has the doubles themselves.
"""

import hashlib
import time
from types import SimpleNamespace
from urllib.parse import unquote

from . import GRANTS, StoreError, host
from .guest import encoded


def request_of(method="GET", path="/", query="", authority="test", headers=None, cookies=None):
    headers, cookies = headers or {}, cookies or {}
    lower = {name.lower(): value for name, value in headers.items()}

    def every(name):
        value = lower.get(name.lower(), [])
        return [value] if isinstance(value, str) else value

    def hash(seed=0, **of):
        ((part, name),) = of.items()
        parts = {
            "authority": authority,
            "path": path,
            "query": query,
            "client_address": "127.0.0.1",
        }
        if part == "header":
            value = next(iter(every(name)), "")
        else:
            value = cookies.get(name, "") if part == "cookie" else parts[part]
        return int.from_bytes(
            hashlib.blake2b(value.encode(), digest_size=8, salt=seed.to_bytes(8, "big")).digest(),
            "big",
        )

    return {
        "method": lambda: method,
        "scheme": lambda: "http",
        "authority": lambda: authority,
        "path": lambda: path,
        "query": lambda: query,
        "decoded_path": lambda: unquote(path),
        "version": lambda: "http11",
        "header": lambda name: next(iter(every(name)), None),
        "header_all": every,
        "headers": lambda: [(name, one) for name in headers for one in every(name)],
        "cookie": cookies.get,
        "hash": hash,
    }


_LOCAL = SimpleNamespace(value=(127, 0, 0, 1))
CONNECTION = {
    **{f"{of}_address": lambda: _LOCAL for of in ("client", "peer", "local")},
    "peer_port": lambda: 50000,
    "local_port": lambda: 80,
    **{
        name: lambda: None
        for name in (
            "server_name",
            "alpn",
            "tls_version",
            "certificate_subject",
            "certificate_fingerprint",
        )
    },
}
"""A client that came by TCP, without TLS."""


def _store(entries):
    """What plugins share, by key and without a clock: nothing expires."""

    def name(key):
        return key.decode() if isinstance(key, bytes) else key

    def put(key, value, _ttl_ms):
        entries[name(key)] = name(value)

    def number(key):
        try:
            return int(entries.get(name(key), "0"))
        except ValueError:
            raise StoreError("wrong-kind") from None

    def add(key, amount, ttl_ms):
        put(key, str(number(key) + amount), ttl_ms)
        return number(key)

    def compare_and_swap(key, expected, value, ttl_ms):
        if entries.get(name(key)) != name(expected):
            return False
        put(key, value, ttl_ms)
        return True

    def fill(key, amount, _leak, capacity):
        level = number(key) + amount if name(key) in entries else 0
        if level <= capacity:
            put(key, str(level), 0)
        return level

    return {
        "is_elsewhere": lambda: False,
        "get": lambda key: entries.get(name(key)),
        "set": put,
        "add": add,
        "compare_and_swap": compare_and_swap,
        "delete": lambda key: entries.pop(name(key), None) is not None,
        "fill": fill,
    }


class Double:
    """What every double has: an instance, its counters, its log and its part of the store."""

    def __init__(self, grants, files=None):
        self.grants, self.counters, self.now_us = grants, {}, 0
        self.log, self.notes = [], []
        self.store, self.files = {}, dict(files or {})
        self.instance = None

    def change_file(self, path, content=None):
        """Puts something else into a file, and tells the plugin, as the host does; `None`: gone."""
        self.files[path] = content
        if content is None:
            del self.files[path]
        self.instance.changed(path, encoded(content))

    def enter(self, **functions):
        """The interfaces that are granted, with these functions; all others are not there."""

        def counter(name):
            self.counters.setdefault(name, 0)
            return list(self.counters).index(name)

        def add(counter, value):
            self.counters[list(self.counters)[counter]] += value

        def write(level, message):
            self.log.append(f"{level}: {message}")

        everything = {
            "clock": {"wall_ms": lambda: int(time.time() * 1000)},
            "metrics": {"counter": counter, "add": add},
            "store": _store(self.store),
            "files": {
                "read": lambda path: encoded(self.files.get(path)),
                "is_there": lambda path: path in self.files,
            },
            "connection": CONNECTION,
            "variables": {"variable": lambda _: None},
            "log": {"write": write, "write_exchange": write},
            "upstream": {
                "name": lambda: "test",
                "has_backups": lambda: False,
                "carries_streams": lambda: False,
            },
            "nginx": {
                "check_variable": lambda _: None,
                "check_early_variable": lambda _: None,
                "max_fails": lambda _: 1,
                "fail_timeout": lambda _: 10,
                "route": lambda _: "",
            },
            **functions,
        }
        granted = {name for grant in ["free", *self.grants] for name in GRANTS[grant]}
        for name, interface in host.items():
            interface.provide(everything.get(name, {}) if name in granted else {})
