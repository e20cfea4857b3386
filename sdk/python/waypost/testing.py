"""A double of the host: runs a policy or a hook in any test runner, without Waypost.

It answers what a test has said, and keeps what a plugin has changed. Hashes are not those of the
host (XXH64), but as good for telling values apart.
"""

import json
from types import SimpleNamespace

from . import GRANTS, REFUSE, http
from .double import Double, request_of
from .guest import encoded, indexes, text
from .settings import describe, make, read

ALL = list(GRANTS)[1:]


def upstreams(answer):
    """Has a function answer what hooks ask of upstreams by `waypost.http`: it gets a dict of
    `upstream`, `target`, `method`, `headers` and `body`, and gives a status, headers and bytes.
    """
    http._double = answer


class Upstream(Double):
    """An upstream with a policy: `Upstream(Policy, settings={}, servers=3)`."""

    def __init__(self, policy, settings=None, servers=1, grants=ALL, files=None):
        super().__init__(grants, files)
        self.memo, self.refusal_status = 0, None
        named = (
            [{"name": f"s{at}"} for at in range(servers)] if isinstance(servers, int) else servers
        )
        self.servers = [_idle(server) for server in named]
        self._enter_with({})
        self.policy = make(policy, json.dumps(settings or {}))
        self.instance = self.policy
        if hasattr(self.policy, "update"):
            self.policy.update([self._endpoint(at) for at in range(len(self.servers))])

    def change(self, servers):
        """Has the policy take other servers: those that stay, by name, keep their index."""
        known = {server.name: at for at, server in enumerate(self.servers) if not server.is_down}
        kept = []
        for server in servers:
            at = known.get(server["name"], len(self.servers))
            self.servers[at : at + 1] = [_idle(server)]
            kept.append(at)
        for at, server in enumerate(self.servers):
            server.is_down = server.is_down or at not in kept
        self._enter_with({})
        self.policy.change([self._endpoint(at) for at in kept])

    def done(self, index, **outcome):
        """Tells the policy how an attempt ended."""
        self._enter_with({})
        none = {"status": 200, "ending": "completed", "connect_us": 0, "header_us": 0}
        told = {**none, "total_us": 0, **outcome}
        self.policy.done(SimpleNamespace(lease=0, index=index, **told))

    def _endpoint(self, at):
        server = self.servers[at]
        return SimpleNamespace(index=at, id=at, address=f"{server.name}:80", weight=server.weight)

    def _words(self):
        words = [0] * -(-len(self.servers) // 64)
        for at, server in enumerate(self.servers):
            words[at // 64] |= (not server.is_down) << at % 64
        return words

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
            for word, candidates in enumerate(self._words())
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
        words = self._words()
        fleet["candidates"] = lambda word: words[word] if word < len(words) else 0
        fleet["all_candidates"] = lambda: words
        self.enter(
            request=request_of(**request),
            fleet=fleet,
            response={
                "status": lambda: 0,
                "header": lambda _: None,
                "header_all": lambda _: [],
                "is_local": lambda: False,
            },
            attempt={
                "memo": lambda: self.memo,
                "set_memo": lambda value: setattr(self, "memo", value),
                "set_refusal_status": lambda status: setattr(self, "refusal_status", status),
                "failure": lambda: "none",
                "bytes_sent": lambda: 0,
                "bytes_received": lambda: 0,
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
    """A hook in use: `Hooked(Hook, settings={}, places=[{}], files={})`."""

    def __init__(self, hook, settings=None, places=({},), grants=ALL, files=None):
        super().__init__(grants, files)
        self.hook = hook  # until there is an instance of it
        self._enter_with(_exchange({}, {}))
        self.hook = self.instance = make(hook, json.dumps(settings or {}))
        for at, place in enumerate(places):
            given = read(getattr(hook, "place_settings", None), json.dumps(place))
            if hasattr(self.hook, "attach"):
                self.hook.attach(at, given)

    def request(self, place=0, attributes=None, **request):
        """What becomes of a request: its verdict, and what was changed. Names of headers in lower
        case.
        """
        exchange = _exchange(attributes or {}, request)
        self._enter_with(exchange)
        if hasattr(self.hook, "on_request"):
            exchange.verdict = self.hook.on_request(self._call(place, random=0))
        exchange.verdict = exchange.verdict or "proceed"
        return exchange

    def check(self, exchange, passed, place=0):
        """Goes on with an exchange: the check that `checks` was asked for is done."""
        self._enter_with(exchange)
        call = self._call(place, passed=passed)
        exchange.verdict = self.hook.on_check(call) or "proceed"
        return exchange

    def response(self, exchange, place=0, status=200, headers=None):
        """Goes on with an exchange: its answer, of this status, is about to be sent."""
        self._enter_with(exchange, status, headers)
        self.hook.on_response(self._call(place))
        return exchange

    def request_body(self, exchange, *pieces, place=0, trailers=()):
        """Goes on with a request: its body comes, in one piece or in several, as the hook has asked
        for it. What it has made of it is `exchange.request_body`.
        """
        called = getattr(self.hook, "on_request_body", None)
        wanted = exchange.wanted.get("request")
        exchange.request_body = self._body(exchange, pieces, wanted, list(trailers), called, place)
        return exchange

    def response_body(self, exchange, *pieces, place=0):
        """The same for an answer: see `exchange.response_body`."""
        called = getattr(self.hook, "on_response_body", None)
        wanted = exchange.wanted.get("response")
        exchange.response_body = self._body(exchange, pieces, wanted, [], called, place)
        return exchange

    def end(self, exchange, place=0, **summary):
        """Tells the hook that an exchange has ended."""
        none = {"status": 200, "complete": True, "duration_us": 0}
        told = {**none, "bytes_sent": 0, "bytes_received": 0, **summary}
        self._enter_with(exchange, told["status"])
        self.hook.on_end(self._call(place, **told))

    def _call(self, place, **more):
        return SimpleNamespace(exchange=1, place=place, now_us=self.now_us, **more)

    def _body(self, exchange, pieces, wanted, trailers, called, place):
        if wanted is None:
            raise AssertionError("the hook has not asked for this body")
        pieces = [encoded(piece) for piece in pieces] or [b""]
        if wanted.whole is not None:
            pieces = [b"".join(pieces)]
            if len(pieces[0]) > wanted.whole:
                if wanted.beyond == "pass":
                    return text(pieces[0])
                raise AssertionError(f"the body has more than {wanted.whole} bytes")
        made = b""
        for at, piece in enumerate(pieces):
            last = at == len(pieces) - 1
            into = SimpleNamespace(
                piece=piece,
                is_watched=wanted.manner == "watch",
                trailers=trailers if last else [],
            )
            self._enter_with(exchange, into=into)
            exchange.verdict = called(self._call(place, body=piece, last=last)) or "proceed"
            made += into.piece
        return text(made)

    def _enter_with(self, exchange, status=0, headers=None, into=None):
        def changing(table):
            def change(name, value=None):
                getattr(exchange, table)[name.lower()] = value
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

        def want(of):
            def want(manner=None, *, whole=None, beyond="refuse", form=None):
                if not hasattr(self.hook, f"on_{of}_body"):
                    return False
                exchange.wanted[of] = SimpleNamespace(
                    manner=manner, whole=whole, beyond=beyond, form=form
                )
                return True

            return want

        def set_body(body):
            if into is None or into.is_watched:
                return False
            into.piece = encoded(body)
            return True

        answered = request_of(headers=headers)
        changes = {f"set_{key}": keep(key) for key in ("method", "path", "query")}
        changes |= {
            "delay": keep("delay_us"),
            "take_route": keep("route"),
            "take_upstream": keep("upstream"),
        }
        changes |= {f"check_{key}": lambda _: None for key in ("route", "upstream")}
        for verb in ("set", "add", "remove"):
            for of in ("request", "response"):
                changes[f"{verb}_{of}_header"] = changing(f"{of}_headers")
        changes |= {"set_attribute": changing("attributes"), "answer": answer}
        self.enter(
            request=request_of(**exchange.request),
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
            bodies={
                "want_request_body": want("request"),
                "want_response_body": want("response"),
                "set_body": set_body,
                "trailers": lambda: into.trailers if into else [],
            },
            upstream_requests={
                "send": _unanswered,
                "send_and_leave": _unanswered,
            },
            checks={
                "verify_password": lambda hash, password: setattr(
                    exchange, "check", (hash, password)
                ),
                "check_hash": lambda _: None,
            },
        )


def _unanswered(upstream, *_):
    raise http.HttpError(f"`{upstream}` answers by `waypost.testing.upstreams`")


def _exchange(attributes, request):
    return SimpleNamespace(
        request=request,
        request_headers={},
        response_headers={},
        attributes=dict(attributes),
        answer=None,
        verdict=None,
        check=None,
        wanted={},
    )


def _idle(server):
    default = {
        "weight": 1,
        "labels": {},
        "in_flight": 0,
        "is_down": False,
        "latency_us": 0,
        "health": 100,
    }
    return SimpleNamespace(**{**default, **server})


def schema_of(plugin):
    """The JSON schema that lists and editors are shown of a plugin's class."""
    return json.loads(describe(getattr(plugin, "settings", None)))
