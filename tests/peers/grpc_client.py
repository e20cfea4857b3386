"""A gRPC client of bytes: every kind of call to `grpc_server.py` or its like, at the address given.

`tonic` as a second argument says whose server it is: that one has no trailing metadata, and calls a deadline that
passed a cancellation. Ends with an error at the first answer that is not the right one; says `all calls are well` after the last.
"""

import queue
import sys

import grpc

PREFIX = "/bytes.Echo/"


def expect(found, wanted):
    if found != wanted:
        raise SystemExit(f"found {found!r}, wanted {wanted!r}")


def status_of(call):
    try:
        result = call()
    except grpc.RpcError as error:
        return error.code()
    raise SystemExit(f"an answer instead of an error: {result!r}")


def main(address, tonic=False):
    channel = grpc.insecure_channel(address)
    unary = channel.unary_unary(PREFIX + "Unary")
    result, call = unary.with_call(b"abc", metadata=(("x-ask", "please"),), timeout=5)
    expect(result, b"cba")
    expect(dict(call.initial_metadata()).get("x-answer"), "first")
    expect(dict(call.initial_metadata()).get("x-bytes-bin"), b"\x00\xff")
    if not tonic:
        expect(dict(call.trailing_metadata()).get("x-last"), "word")
    expect(call.code(), grpc.StatusCode.OK)
    expect(unary(b""), b"")
    large = bytes(range(256)) * 8000
    expect(unary(large), large[::-1])

    expect(channel.stream_unary(PREFIX + "Collect")(iter([b"a", b"b", b"c"])), b"a|b|c")
    many = list(channel.unary_stream(PREFIX + "Repeat")(b"500"))
    expect((len(many), many[-1]), (500, b"499"))

    # Each word is sent after the answer to the one before: nothing may wait for the end of either side.
    words = queue.SimpleQueue()
    answers = channel.stream_stream(PREFIX + "Talk")(iter(words.get, None), timeout=8)
    for word in [b"one", b"two", b"three"]:
        words.put(word)
        expect(next(answers), word.upper())
    words.put(None)
    expect(list(answers), [])

    try:
        channel.unary_unary(PREFIX + "Fail")(b"")
        raise SystemExit("no failure")
    except grpc.RpcError as error:
        expect(error.code(), grpc.StatusCode.FAILED_PRECONDITION)
        expect(error.details(), "not today, żaden")
        expect(dict(error.trailing_metadata()).get("x-detail"), "why")

    expect(status_of(lambda: channel.unary_unary(PREFIX + "Nowhere")(b"")), grpc.StatusCode.UNIMPLEMENTED)
    late = lambda: channel.unary_unary(PREFIX + "Sleep")(b"5", timeout=0.3)
    status = status_of(late)
    if not (tonic and status == grpc.StatusCode.CANCELLED):
        expect(status, grpc.StatusCode.DEADLINE_EXCEEDED)
    cancelled = channel.unary_unary(PREFIX + "Sleep").future(b"8")
    cancelled.cancel()
    expect(cancelled.code(), grpc.StatusCode.CANCELLED)
    expect(unary(b"still"), b"llits")
    print("all calls are well")


main(sys.argv[1], tonic="tonic" in sys.argv)
