#!/usr/bin/env python3
"""The echo server as asyncio programs have it: asyncio_echo.py --listen 127.0.0.1:7777 [--uvloop]."""
import argparse
import asyncio


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


async def serve(address):
    host, port = address.rsplit(':', 1)
    server = await asyncio.get_running_loop().create_server(Echo, host, int(port), backlog=4096)
    print('asyncio_echo: %s:%d' % server.sockets[0].getsockname(), flush=True)
    await server.serve_forever()


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument('--listen', default='127.0.0.1:0')
    arguments.add_argument('--workers', help='there is one')
    arguments.add_argument('--uvloop', action='store_true')
    given = arguments.parse_args()
    if given.uvloop:
        import uvloop
        uvloop.install()
    asyncio.run(serve(given.listen))


if __name__ == '__main__':
    main()
