"""A collector of traces, over HTTP and over gRPC, which decodes what it gets by OpenTelemetry's own schema.

Says `listening on ADDRESS OTHER`, the first for HTTP, the second for gRPC; then each span as a line of JSON.
Whoever sends `x-busy: once` is turned away with its first batch. Ends when its standard input does.
"""

import json
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

lock = threading.Lock()
turned_away = set()


def value(any_value):
    return getattr(any_value, any_value.WhichOneof("value"))


def attributes(pairs):
    return {pair.key: value(pair.value) for pair in pairs}


def tell(request, via, headers):
    for of_resource in request.resource_spans:
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                told = {
                    "via": via,
                    "authorization": headers.get("authorization", ""),
                    "resource": attributes(of_resource.resource.attributes),
                    "trace": span.trace_id.hex(),
                    "span": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "state": span.trace_state,
                    "flags": span.flags,
                    "name": span.name,
                    "kind": span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    "start": span.start_time_unix_nano,
                    "took": span.end_time_unix_nano - span.start_time_unix_nano,
                    "attributes": attributes(span.attributes),
                    "error": span.status.code == span.status.STATUS_CODE_ERROR,
                    "message": span.status.message,
                }
                with lock:
                    print(json.dumps(told), flush=True)


def is_busy(via, headers):
    with lock:
        first = via not in turned_away
        turned_away.add(via)
    return headers.get("x-busy") == "once" and first


class OverHttp(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/v1/traces" or self.headers["Content-Type"] != "application/x-protobuf":
            return self.answer(400)
        if is_busy("http", self.headers):
            return self.answer(503)
        tell(trace_service_pb2.ExportTraceServiceRequest.FromString(body), "http", self.headers)
        self.answer(200, trace_service_pb2.ExportTraceServiceResponse().SerializeToString())

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        if status == 503:
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class OverGrpc(trace_service_pb2_grpc.TraceServiceServicer):
    def Export(self, request, context):
        headers = dict(context.invocation_metadata())
        if is_busy("grpc", headers):
            context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
        tell(request, "grpc", headers)
        return trace_service_pb2.ExportTraceServiceResponse()


def main():
    over_http = ThreadingHTTPServer(("127.0.0.1", 0), OverHttp)
    threading.Thread(target=over_http.serve_forever, daemon=True).start()
    over_grpc = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(OverGrpc(), over_grpc)
    port = over_grpc.add_insecure_port("127.0.0.1:0")
    over_grpc.start()
    print(f"listening on 127.0.0.1:{over_http.server_port} 127.0.0.1:{port}", flush=True)
    # It ends with whoever has started it, as its standard input does.
    sys.stdin.read()


main()
