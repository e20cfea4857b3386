"""A WebSocket server that echoes messages. Says `listening on ADDRESS`, then how each connection ended."""

import asyncio

from websockets.asyncio.server import serve

import watch


async def echo(socket):
    async for message in socket:
        if message == "goodbye":
            await socket.close(4001, "as you wish")
            break
        await socket.send(message)
    print(f"closed {socket.close_code}", flush=True)


async def main():
    watch.end_with_parent()
    async with serve(echo, "127.0.0.1", 0, subprotocols=["chat"], max_size=None) as server:
        port = server.sockets[0].getsockname()[1]
        print(f"listening on 127.0.0.1:{port}", flush=True)
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
