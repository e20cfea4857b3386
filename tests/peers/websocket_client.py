"""A WebSocket client that talks to an echo at the address given.

Ends with an error at the first answer that is not the right one; says `all messages are well` after the last.
"""

import asyncio
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


def expect(found, wanted):
    if found != wanted:
        raise SystemExit(f"found {str(found)[:200]!r}, wanted {str(wanted)[:200]!r}")


async def parts():
    for part in ["three ", "fragments, ", "one message"]:
        yield part


async def main(address):
    url = f"ws://{address}/chat"
    async with connect(url, subprotocols=["chat"], max_size=None) as socket:
        expect(socket.subprotocol, "chat")
        for message in ["", "hello", "zażółć", b"\x00\xff" * 10, "x" * 500_000, bytes(300_000)]:
            await socket.send(message)
            expect(await socket.recv(), message)
        await socket.send(parts())
        expect(await socket.recv(), "three fragments, one message")
        await asyncio.wait_for(await socket.ping(), 5)
        await socket.send("goodbye")
        try:
            await socket.recv()
            raise SystemExit("no end")
        except ConnectionClosed:
            expect((socket.close_code, socket.close_reason), (4001, "as you wish"))
    # Without compression, and closed from this side.
    async with connect(url, subprotocols=["chat"], compression=None) as socket:
        await socket.send("again")
        expect(await socket.recv(), "again")
    expect(socket.close_code, 1000)
    print("all messages are well")


asyncio.run(main(sys.argv[1]))
