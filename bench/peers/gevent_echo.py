#!/usr/bin/env python3
"""The echo server as gevent programs have it, a greenlet a connection: gevent_echo.py --listen 127.0.0.1:7777."""
import argparse
import socket

from gevent.server import StreamServer


def echo(peer, _):
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as asyncio does
    while data := peer.recv(65536):
        peer.sendall(data)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument('--listen', default='127.0.0.1:0')
    arguments.add_argument('--workers', help='there is one')
    host, port = arguments.parse_args().listen.rsplit(':', 1)
    server = StreamServer((host, int(port)), echo, backlog=4096)
    server.start()
    print(f'gevent_echo: {server.server_host}:{server.server_port}', flush=True)
    server.serve_forever()


if __name__ == '__main__':
    main()
