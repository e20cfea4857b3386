"""A gRPC server with gRPC's own health service: `well` serves, `ill` does not, nothing else is known.

Says `listening on ADDRESS`, and ends when its standard input does. The server as a whole serves.
"""

import sys
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    serving, ill = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    servicer.set("well", serving)
    servicer.set("ill", ill)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    # It ends with whoever has started it, as its standard input does.
    sys.stdin.read()


main()
