"""Requests to upstreams, from hooks that wait.

The plugin has `"http"` in its `grants`. An upstream is asked by its name, which has to be a text of
the hook's settings, in `on_request`, `on_check`, and `on_request_body` with a whole body. The host
waits meanwhile with this request alone.

    from waypost import http

    answer = http.request("auth", "/verify", headers={"x-user": "jo"}, timeout=5)
    if answer.status == 200: ...
"""

from collections import namedtuple

from . import host

__all__ = ["Answer", "HttpError", "request", "tell"]

Answer = namedtuple("Answer", ["status", "headers", "body"])
"""A status, a dict of headers by their names in lower case, and bytes."""

MOST = 1 << 20
"""Bytes of a body that are read without `most`."""


class HttpError(Exception):
    """There is no answer: an answer of status 500 is no such error."""


def request(
    upstream, target, method="GET", headers=None, body=b"", timeout=None, most=MOST, wanted=None
):
    """Asks an upstream, and waits for its answer.

    `target` is path and query, `timeout` in seconds, for the connection and then for the answer.
    Headers that frame the message are left out; `wanted` lists those of the answer that are of use,
    all without it. Raises `HttpError`, also where the answer's body has more than `most` bytes.
    """
    if _double is not None:
        asked = {"upstream": upstream, "target": target, "method": method, "body": body}
        return Answer(*_double({**asked, "headers": dict(headers or {})}))
    answer = host["upstream_requests"].send(
        upstream, target, method, dict(headers or {}), body, _millis(timeout), wanted, most
    )
    if not answer.is_whole:
        raise HttpError("its body is too large")
    told = {}
    for header in answer.headers:
        told.setdefault(header.name.lower(), header.value.decode("utf-8", "replace"))
    return Answer(answer.status, told, answer.body)


def tell(upstream, target, method="GET", headers=None, body=b"", timeout=None):
    """Asks an upstream and does not wait: whatever is answered is thrown away."""
    if _double is not None:
        asked = {"upstream": upstream, "target": target, "method": method, "body": body}
        _double({**asked, "headers": dict(headers or {})})
        return
    host["upstream_requests"].send_and_leave(
        upstream, target, method, dict(headers or {}), body, _millis(timeout), [], 0
    )


def failed(word):
    """What the host has no answer for."""
    return HttpError(word.name.lower().replace("_", " "))


def _millis(seconds):
    return None if seconds is None else int(seconds * 1000)


_double = None
"""What answers in place of upstreams, in tests: see `waypost.testing.upstreams`."""
