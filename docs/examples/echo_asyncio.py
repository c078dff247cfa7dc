"""An echo server on a port of 127.0.0.1, with asyncio: `python3 echo_asyncio.py 8000`.

It runs until it is stopped, so it is run by test/examples.test.ts.
"""
# #region program
import asyncio
import sys


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


async def main(port=8000):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", int(port))
    host, port = server.sockets[0].getsockname()
    print(f"listening on {host}:{port}")
    await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
# #endregion
