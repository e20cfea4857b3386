"""A double of the host: runs a policy or a hook in any test runner, without Waypost.

It answers what a test has said, and keeps what a plugin has changed. Hashes are not those of the
host (XXH64), but as good for telling values apart.
"""

import hashlib
import json
import time
from types import SimpleNamespace
from urllib.parse import unquote

from . import GRANTS, REFUSE, host, http
from .guest import indexes
from .settings import describe, make, read

ALL = list(GRANTS)[1:]


def upstreams(answer):
    """Has a function answer what hooks ask of upstreams by `waypost.http`: it gets a dict of
    `upstream`, `target`, `method`, `headers` and `body`, and gives a status, headers and bytes.
    """
    http._double = answer


def _request(method="GET", path="/", query="", authority="test", headers=None, cookies=None):
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


def _store(entries):
    """What plugins share, by key and without a clock: nothing expires."""

    def name(key):
        return key.decode() if isinstance(key, bytes) else key

    def put(key, value, _ttl_ms):
        entries[name(key)] = name(value)

    def add(key, amount, ttl_ms):
        put(key, str(int(entries.get(name(key), "0")) + amount), ttl_ms)
        return int(entries[name(key)])

    def compare_and_swap(key, expected, value, ttl_ms):
        if entries.get(name(key)) != name(expected):
            return False
        put(key, value, ttl_ms)
        return True

    def fill(key, amount, _leak, capacity):
        before = entries.get(name(key))
        level = 0 if before is None else int(before) + amount
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

    def __init__(self, grants):
        self.grants, self.counters, self.now_us = grants, {}, 0
        self.log, self.notes = [], []
        self.store = {}

    def _enter(self, **functions):
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


class Upstream(Double):
    """An upstream with a policy: `Upstream(Policy, settings={}, servers=3)`."""

    def __init__(self, policy, settings=None, servers=1, grants=ALL):
        super().__init__(grants)
        named = (
            [{"name": f"s{at}"} for at in range(servers)] if isinstance(servers, int) else servers
        )
        default = {
            "weight": 1,
            "labels": {},
            "in_flight": 0,
            "is_down": False,
            "latency_us": 0,
            "health": 100,
        }
        self.servers = [SimpleNamespace(**{**default, **server}) for server in named]
        self._enter_with({})
        self.policy = make(policy, json.dumps(settings or {}))
        if hasattr(self.policy, "update"):
            self.policy.update(
                [
                    SimpleNamespace(
                        index=at, id=at, address=f"{server.name}:80", weight=server.weight
                    )
                    for at, server in enumerate(self.servers)
                ]
            )

    def pick(self, attempt=0, tried=(), random=0, **request):
        """The index that is picked for a request; `None`: the fallback chooses."""
        self._enter_with(request)
        candidates = [
            at for at, server in enumerate(self.servers) if not server.is_down and at not in tried
        ]
        picked = self.policy.pick(
            SimpleNamespace(
                lease=0, attempt=attempt, now_us=self.now_us, random=random, candidates=candidates
            )
        )
        if picked not in (None, REFUSE) and picked not in candidates:
            raise AssertionError(f"picked {picked}, which is no candidate")
        return picked

    def narrow(self, attempt=0, random=0, **request):
        """The indexes that a filter leaves for a request: `Upstream(Filter, ...)`."""
        self._enter_with(request)
        words = [0] * -(-len(self.servers) // 64)
        for at, server in enumerate(self.servers):
            words[at // 64] |= (not server.is_down) << at % 64
        left = [
            candidates
            & self.policy.narrow(
                SimpleNamespace(
                    word=word,
                    candidates=candidates,
                    attempt=attempt,
                    now_us=self.now_us,
                    random=random,
                )
            )
            for word, candidates in enumerate(words)
        ]
        return indexes(left)

    def score(self, attempt=0, random=0, **request):
        """How a scorer ranks the servers for a request: `Upstream(Scorer, ...)`."""
        self._enter_with(request)
        call = SimpleNamespace(attempt=attempt, now_us=self.now_us, random=random)
        return list(self.policy.score(call))

    def _enter_with(self, request):
        def of(key, none):
            return lambda index: (
                getattr(self.servers[index], key) if index < len(self.servers) else none
            )

        def every(key):
            return lambda: [getattr(server, key) for server in self.servers]

        self.response_headers = {}
        fleet = {
            key: of(key, none)
            for key, none in (
                ("name", ""),
                ("is_down", False),
                ("in_flight", 0),
                ("latency_us", 0),
                ("health", 0),
            )
        }
        fleet |= {f"all_{key}": every(key) for key in ("in_flight", "latency_us", "health")}
        fleet["label"] = lambda index, name: self.servers[index].labels.get(name)
        self._enter(
            request=_request(**request),
            fleet=fleet,
            attempt={
                "memo": lambda: 0,
                "set_memo": lambda _: None,
                "set_refusal_status": lambda _: None,
                "failure": lambda: "none",
                "add_response_header": lambda name, value: self.response_headers.update(
                    {name.lower(): value}
                ),
            },
            exchange={
                "attribute": lambda _: None,
                "key": lambda: "",
                "note": self.notes.append,
                "is_note_wanted": lambda: True,
            },
        )


class Hooked(Double):
    """A hook in use: `Hooked(Hook, settings={}, places=[{}])`."""

    def __init__(self, hook, settings=None, places=({},), grants=ALL):
        super().__init__(grants)
        self._enter_with({}, _exchange({}), 0, {})
        self.hook = make(hook, json.dumps(settings or {}))
        for at, place in enumerate(places):
            given = read(getattr(hook, "place_settings", None), json.dumps(place))
            if hasattr(self.hook, "attach"):
                self.hook.attach(at, given)

    def request(self, place=0, attributes=None, **request):
        """What becomes of a request: its verdict, and what was changed. Names of headers in lower
        case.
        """
        exchange = _exchange(attributes or {})
        self._enter_with(request, exchange, 0, {})
        call = SimpleNamespace(exchange=1, place=place, now_us=self.now_us, random=0)
        exchange.verdict = self.hook.on_request(call) or "proceed"
        return exchange

    def response(self, exchange, place=0, status=200, headers=None):
        """Goes on with an exchange: its answer, of this status, is about to be sent."""
        self._enter_with({}, exchange, status, headers or {})
        self.hook.on_response(SimpleNamespace(exchange=1, place=place, now_us=self.now_us))
        return exchange

    def _enter_with(self, request, exchange, status, headers):
        def into(table, value_of=lambda value: value):
            def change(name, value=None):
                getattr(exchange, table)[name.lower()] = value_of(value)
                return True

            return change

        def keep(key):
            def change(value):
                setattr(exchange, key, value)
                return True

            return change

        def answer(status, body):
            exchange.answer = (status, body)
            return True

        answered = _request(headers=headers)
        changes = {f"set_{key}": keep(key) for key in ("method", "path", "query")}
        changes |= {
            "delay": keep("delay_us"),
            "take_route": keep("route"),
            "take_upstream": keep("upstream"),
        }
        changes |= {f"check_{key}": lambda _: None for key in ("route", "upstream")}
        for verb in ("set", "add", "remove"):
            for of in ("request", "response"):
                changes[f"{verb}_{of}_header"] = into(f"{of}_headers")
        changes |= {"set_attribute": into("attributes"), "answer": answer}
        self._enter(
            request=_request(**request),
            response={
                "status": lambda: status,
                "header": answered["header"],
                "header_all": answered["header_all"],
                "is_local": lambda: False,
            },
            exchange={
                "attribute": exchange.attributes.get,
                "key": lambda: "",
                "note": self.notes.append,
                "is_note_wanted": lambda: True,
            },
            changes=changes,
        )


def _exchange(attributes):
    return SimpleNamespace(
        request_headers={},
        response_headers={},
        attributes=dict(attributes),
        answer=None,
        verdict=None,
    )


def schema_of(plugin):
    """The JSON schema that lists and editors are shown of a plugin's class."""
    return json.loads(describe(getattr(plugin, "settings", None)))
