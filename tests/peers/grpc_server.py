"""A gRPC server of bytes: every kind of call, without generated code.

Says `listening on ADDRESS`; then a line per call that was cancelled, and one for the time that a call was given.
"""

import sys
import threading
import time
from concurrent import futures

import grpc

import watch


def unary(request, context):
    names = {key for key, _ in context.invocation_metadata()}
    if "x-ask" in names:
        context.send_initial_metadata((("x-answer", "first"), ("x-bytes-bin", b"\x00\xff")))
    context.set_trailing_metadata((("x-last", "word"),))
    left = context.time_remaining()
    if left is not None and left < 1e6:
        print(f"time remaining {left:.3f}", flush=True)
    return request[::-1]


def collect(requests, context):
    return b"|".join(requests)


def repeat(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def talk(requests, context):
    for request in requests:
        yield request.upper()


def fail(request, context):
    context.set_trailing_metadata((("x-detail", "why"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today, żaden")


def sleep(request, context):
    done = threading.Event()
    context.add_callback(done.set)
    if done.wait(float(request)):
        print("cancelled", flush=True)
    return b"late"


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Collect": grpc.stream_unary_rpc_method_handler(collect),
    "Repeat": grpc.unary_stream_rpc_method_handler(repeat),
    "Talk": grpc.stream_stream_rpc_method_handler(talk),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Sleep": grpc.unary_unary_rpc_method_handler(sleep),
}


def main():
    watch.end_with_parent()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    handler = grpc.method_handlers_generic_handler("bytes.Echo", METHODS)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


main()
