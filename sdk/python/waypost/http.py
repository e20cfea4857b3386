"""Requests to upstreams, from hooks that wait.

The plugin has `"http"` in its `grants`. An upstream is asked by its name, which has to be a text of
the hook's settings, in `on_request` and `on_check` only. The host waits meanwhile with this request
alone.

    from waypost import http

    answer = http.request("auth", "/verify", headers={"x-user": "jo"}, timeout=5)
    if answer.status == 200: ...
"""

from collections import namedtuple

__all__ = ["Answer", "HttpError", "request"]

Answer = namedtuple("Answer", ["status", "headers", "body"])
"""A status, a dict of headers by their names in lower case, and bytes."""

MOST = 1 << 20
"""Bytes of a body that are read without `most`."""


class HttpError(Exception):
    """There is no answer: an answer of status 500 is no such error."""


def request(upstream, target, method="GET", headers=None, body=b"", timeout=None, most=MOST):
    """Asks an upstream, and waits for all of its answer.

    `target` is path and query, `timeout` in seconds, for the connection and then for the answer.
    Headers that frame the message are left out. Raises `HttpError`, also where the answer's body has
    more than `most` bytes.
    """
    if _double is not None:
        asked = {"upstream": upstream, "target": target, "method": method, "body": body}
        return Answer(*_double({**asked, "headers": dict(headers or {})}))
    return _ask(upstream, target, method, dict(headers or {}), body, timeout, most)


_double = None
"""What answers in place of upstreams, in tests: see `waypost.testing.upstreams`."""


_bound = None
"""A component's own bindings to wasi:http."""


def bind(*bindings):
    """Takes the bindings of the component that this is a part of."""
    global _bound
    _bound = bindings


def _ask(upstream, target, method, headers, body, timeout, most):
    if _bound is None:
        raise HttpError('nothing can be asked here: has your plugin `grants = ["http"]`?')
    Err, outgoing_handler, streams, types = _bound
    fields = types.Fields()
    for name, value in headers.items():
        try:
            fields.append(name, value.encode() if isinstance(value, str) else value)
        except Err:
            pass
    outgoing = types.OutgoingRequest(fields)
    options = types.RequestOptions()
    try:
        outgoing.set_method(_method(types, method))
        outgoing.set_scheme(types.Scheme_Http())
        outgoing.set_authority(upstream)
        outgoing.set_path_with_query(target)
        if timeout is not None:
            nanos = int(timeout * 1e9)
            options.set_connect_timeout(nanos)
            options.set_first_byte_timeout(nanos)
            options.set_between_bytes_timeout(nanos)
        written = outgoing.body() if body else None
        future = outgoing_handler.handle(outgoing, options)
        if written is not None:
            with written.write() as stream:
                for at in range(0, len(body), 4096):
                    stream.blocking_write_and_flush(body[at : at + 4096])
            types.OutgoingBody.finish(written, None)
        with future.subscribe() as answered:
            answered.block()
        got = future.get()
        answer = got.value
        if isinstance(answer, Err):
            raise answer
        response = answer.value
        all_headers = {}
        with response.headers() as entries:
            for name, value in entries.entries():
                all_headers.setdefault(name.lower(), value.decode("utf-8", "replace"))
        read = bytearray()
        with response.consume() as incoming, incoming.stream() as stream:
            while True:
                try:
                    read += stream.blocking_read(65536)
                except Err as end:
                    if isinstance(end.value, streams.StreamError_Closed):
                        break
                    raise HttpError("its body broke off") from None
                if len(read) > most:
                    raise HttpError("its body is too large")
        return Answer(response.status(), all_headers, bytes(read))
    except Err as error:
        raise HttpError(_words(error.value)) from None


def _method(types, name):
    known = getattr(types, f"Method_{name.title()}", None)
    return known() if known and name.isupper() else types.Method_Other(name)


def _words(code):
    words = type(code).__name__.removeprefix("ErrorCode_")
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in words).strip()
