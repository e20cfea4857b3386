"""The glue between a plugin's classes and the component's exports: what the build imports beside
the plugin. Texts are texts on this side, and bytes on the host's; words of enumerations are texts.
"""

import inspect
import traceback
from enum import Enum
from types import SimpleNamespace

from . import REFUSE, StoreError, host, http
from .settings import SettingsError, describe, make, read

NO_OPINION = 0xFFFF_FFFF
REFUSED = 0xFFFF_FFFE


def text(value):
    return None if value is None else value.decode("utf-8", "replace")


def encoded(value):
    return value.encode() if isinstance(value, str) else value


def texts(values):
    return [text(value) for value in values]


# Functions whose answers are texts, and those whose last argument is one.
ANSWERS = {
    "request": {
        "header": text,
        "cookie": text,
        "header_all": texts,
        "headers": lambda all: [(name, text(value)) for name, value in all],
    },
    "response": {"header": text, "header_all": texts},
    "exchange": {"attribute": text, "key": text},
    "variables": {"variable": text},
    "bodies": {"trailers": lambda all: [(name, text(value)) for name, value in all]},
}
TAKES = {
    "changes": [
        "set_request_header",
        "add_request_header",
        "set_response_header",
        "add_response_header",
        "set_attribute",
        "answer",
    ],
    "attempt": ["add_response_header"],
    "checks": ["verify_password"],
}


def _word(value):
    return value.name.lower().replace("_", "-") if isinstance(value, Enum) else value


def _wrapped(name, module, err):
    functions = dict(inspect.getmembers(module, inspect.isroutine))
    for key, convert in ANSWERS.get(name, {}).items():
        functions[key] = _then(convert, functions[key])
    for key in TAKES.get(name, []):
        functions[key] = _encoding(functions[key])
    if name == "request":
        plain, parts = module.hash, _parts(module)
        functions["hash"] = lambda seed=0, **of: plain(parts(of), seed)
        functions["version"] = _then(_word, functions["version"])
    if name == "attempt":
        functions["failure"] = _then(_word, functions["failure"])
    if name == "store":
        functions = {
            key: _failing(_encoding_all(function), err, lambda word: StoreError(_word(word)))
            for key, function in functions.items()
        }
        functions["get"] = _then(text, functions["get"])
    if name == "files":
        functions["read"] = _failing(functions["read"], err, OSError)
    if name == "upstream_requests":
        for key in ("send", "send_and_leave"):
            functions[key] = _failing(_asking(module, functions[key]), err, http.failed)
    if name == "bodies":
        functions |= _bodies(module)
    if name == "log":
        for key in ("write", "write_exchange"):
            functions[key] = _leveled(module.Level, functions[key])
    return functions


def _failing(function, err, error):
    """What the host refuses is an exception of its own."""

    def call(*given):
        try:
            return function(*given)
        except err as refused:
            raise error(refused.value) from None

    return call


def _asking(module, function):
    """A request by its parts, as the host has it."""

    def call(upstream, target, method, headers, body, timeout_ms, wanted_headers, wanted_body):
        headers = [module.Header(name, encoded(value)) for name, value in headers.items()]
        return function(
            module.Request(
                upstream,
                method,
                target,
                headers,
                encoded(body),
                timeout_ms,
                wanted_headers,
                wanted_body,
            )
        )

    return call


def _bodies(module):
    """Of `"chunks"`, or `whole=65536, beyond="pass"`, as the host has it."""

    def manner(word, whole, beyond):
        if whole is not None:
            return module.Manner_Whole(module.Bound(whole, module.Beyond[beyond.upper()]))
        return getattr(module, f"Manner_{word.title()}")()

    def want_request_body(word=None, *, whole=None, beyond="refuse"):
        return module.want_request_body(manner(word, whole, beyond))

    def want_response_body(word=None, *, form, whole=None, beyond="refuse"):
        form = module.Form[form.upper().replace("-", "_")]
        return module.want_response_body(manner(word, whole, beyond), form)

    return {
        "want_request_body": want_request_body,
        "want_response_body": want_response_body,
        "set_body": lambda body: module.set_body(encoded(body)),
    }


def _then(convert, function):
    return lambda *given: convert(function(*given))


def _encoding(function):
    return lambda first, last: function(first, encoded(last))


def _encoding_all(function):
    return lambda *given: function(*map(encoded, given))


def _leveled(levels, function):
    return lambda level, message: function(levels[level.upper()], message)


def _parts(module):
    """Of `header="x-user"` or `path=True`, as the host has it."""

    def part(of):
        ((name, value),) = of.items()
        made = getattr(module, "Part_" + name.title().replace("_", ""))
        return made(value) if name in ("header", "cookie") else made()

    return part


def indexes(words):
    """The places of the bits that are set in words of 64."""
    all = []
    for at, word in enumerate(words):
        while word:
            lowest = word & -word
            all.append(64 * at + lowest.bit_length() - 1)
            word ^= lowest
    return all


def serve(plugin, imported, types, err, about):
    """The component's exports, by name, for the classes of a plugin and the interfaces that it
    imports.
    """
    for name, module in imported.items():
        host[name].provide(_wrapped(name, module, err))
    fleet, log = host["fleet"], host["log"]
    this = SimpleNamespace(instance=None, count=0)

    def told(called):
        """An exception ends the instance. The engine knows nothing of its text; the log does."""

        def call(_exports, *given):
            try:
                return called(*given)
            except SettingsError as error:
                raise err(types.SettingsError(error.key, error.message)) from None
            except err:
                raise
            except BaseException as error:
                frames = traceback.extract_tb(error.__traceback__)[-4:]
                where = " < ".join(
                    f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in reversed(frames)
                )
                log.write("error", f"{type(error).__name__}: {error} (in {where})")
                raise

        return call

    def configure(kind, settings):
        of = getattr(plugin, _word(kind))
        this.instance = make(of, settings)
        sharing = getattr(this.instance, "sharing", "per-worker")
        if isinstance(sharing, dict):
            return types.Sharing_PerKey(sharing["per_key"])
        return {"per-worker": types.Sharing_PerWorker, "per-process": types.Sharing_PerProcess}[
            sharing
        ]()

    def tell(kind):
        of = getattr(plugin, _word(kind))
        return about(
            (of.__doc__ or "").strip().split("\n")[0].rstrip("."),
            describe(getattr(of, "settings", None)),
            describe(getattr(of, "place_settings", None)),
            getattr(of, "backups", True),
            getattr(of, "streams", True),
        )

    def endpoint(index, endpoint):
        return SimpleNamespace(index=index, **vars(endpoint))

    def update(_generation, endpoints):
        this.count = len(endpoints)
        if hasattr(this.instance, "update"):
            this.instance.update([endpoint(*each) for each in enumerate(endpoints)])

    def change(_generation, endpoints):
        this.count = max([this.count, *(index + 1 for index, _ in endpoints)])
        this.instance.change([endpoint(*each) for each in endpoints])

    def pick(lease, attempt, now_us, random, candidates):
        words = fleet.all_candidates() if this.count > 64 else [candidates]
        picked = this.instance.pick(
            SimpleNamespace(
                lease=lease,
                attempt=attempt,
                now_us=now_us,
                random=random,
                candidates=indexes(words),
            )
        )
        if picked is None:
            return NO_OPINION
        return REFUSED if picked == REFUSE else picked

    def narrow(word, candidates, attempt, now_us, random):
        return this.instance.narrow(
            SimpleNamespace(
                word=word, candidates=candidates, attempt=attempt, now_us=now_us, random=random
            )
        )

    def may_be_ignored():
        return getattr(this.instance, "may_be_ignored", lambda: False)()

    def score(attempt, now_us, random):
        return this.instance.score(SimpleNamespace(attempt=attempt, now_us=now_us, random=random))

    def done(lease, index, outcome):
        told = {key: _word(value) for key, value in vars(outcome).items()}
        this.instance.done(SimpleNamespace(lease=lease, index=index, **told))

    def attach(place, settings):
        given = read(getattr(type(this.instance), "place_settings", None), settings)
        if hasattr(this.instance, "attach"):
            this.instance.attach(place, given)

    def verdict(word):
        return types.Verdict[(word or "proceed").upper()]

    def on_request(exchange, place, now_us, random):
        call = SimpleNamespace(exchange=exchange, place=place, now_us=now_us, random=random)
        return verdict(this.instance.on_request(call))

    def on_check(exchange, place, now_us, passed):
        call = SimpleNamespace(exchange=exchange, place=place, now_us=now_us, passed=passed)
        return verdict(this.instance.on_check(call))

    def on_response(exchange, place, now_us):
        this.instance.on_response(SimpleNamespace(exchange=exchange, place=place, now_us=now_us))

    def piece(exchange, place, now_us, body, last):
        return SimpleNamespace(
            exchange=exchange, place=place, now_us=now_us, body=body, last=last
        )

    def on_request_body(*given):
        return verdict(this.instance.on_request_body(piece(*given)))

    def on_response_body(*given):
        return verdict(this.instance.on_response_body(piece(*given)))

    def on_end(exchange, place, now_us, summary):
        this.instance.on_end(
            SimpleNamespace(exchange=exchange, place=place, now_us=now_us, **vars(summary))
        )

    def import_state(state):
        try:
            this.instance.import_state(state)
        except Exception as error:
            raise err(str(error)) from None  # no fault: it serves with what it has

    exports = {
        "Plugin": {"configure": configure},
        "Description": {"describe": tell},
        "Members": {"update": update},
        "MemberChanges": {"change": change},
        "Balancer": {"pick": pick},
        "Filter": {"narrow": narrow, "may_be_ignored": may_be_ignored},
        "Scorer": {"score": score},
        "Failures": {"failed": lambda index: this.instance.failed(index)},
        "Observer": {"done": done},
        "Hook": {"attach": attach},
        "OnRequest": {"on_request": on_request},
        "OnCheck": {"on_check": on_check},
        "OnResponse": {"on_response": on_response},
        "OnRequestBody": {"on_request_body": on_request_body},
        "OnResponseBody": {"on_response_body": on_response_body},
        "OnEnd": {"on_end": on_end},
        "Keeper": {
            "export_state": lambda: encoded(this.instance.export_state()),
            "import_state": import_state,
        },
        "Ticker": {"tick": lambda now_us: this.instance.tick(now_us) or 0},
        "FileChanges": {"changed": lambda path, content: this.instance.changed(path, content)},
    }
    return {
        name: type(name, (), {key: told(called) for key, called in functions.items()})
        for name, functions in exports.items()
    }
