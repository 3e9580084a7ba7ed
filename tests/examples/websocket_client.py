"""A WebSocket client (RFC 6455) for the tests of the chat."""
import base64
import hashlib
import json
import os
import socket
import struct
import time

PATIENCE = 60  # seconds until what never comes is called missing
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(opcode, data, final=True, masked=True):
    head = bytes([opcode | (0x80 if final else 0)])
    size, mask = len(data), os.urandom(4) if masked else b''
    bit = 0x80 if masked else 0
    head += bytes([bit | size]) if size < 126 else bytes([bit | 126]) + struct.pack('>H', size) if size < 65536 else \
        bytes([bit | 127]) + struct.pack('>Q', size)
    return head + mask + (bytes(b ^ mask[i % 4] for i, b in enumerate(data)) if masked else data)


class Guest:
    """A WebSocket client (RFC 6455)."""

    def __init__(self, port, name=None, origin=None, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(('127.0.0.1', port))
        self.input = self.socket.makefile('rb')
        key = base64.b64encode(os.urandom(16)).decode()
        lines = ['GET /ws HTTP/1.1', f'Host: 127.0.0.1:{port}', 'Upgrade: websocket', 'Connection: Upgrade',
                 f'Sec-WebSocket-Key: {key}', 'Sec-WebSocket-Version: 13'] + ([f'Origin: {origin}'] if origin else [])
        self.socket.sendall(('\r\n'.join(lines) + '\r\n\r\n').encode())
        self.status = int(self.input.readline().split()[1])
        head = b''.join(iter(self.input.readline, b'\r\n'))
        if self.status == 101:
            accept = base64.b64encode(hashlib.sha1((key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').encode()).digest())
            assert accept in head, head
        if name is not None:
            self.say(name)

    def close(self):
        self.input.close()
        self.socket.close()

    def say(self, text):
        self.socket.sendall(frame(TEXT, text.encode()))

    def frame(self):
        """The next one; None at the end."""
        head = self.input.read(2)
        if len(head) < 2:
            return None
        size = head[1]
        if size > 125:
            size = struct.unpack('>H', self.input.read(2))[0] if size == 126 else struct.unpack('>Q', self.input.read(8))[0]
        return head[0] & 15, self.input.read(size)

    def line(self):
        while True:
            opcode, data = self.frame()
            if opcode == PING:
                self.socket.sendall(frame(PONG, data))
            elif opcode == TEXT:
                message = json.loads(data)
                assert abs(message['at'] / 1000 - time.time()) < 1000
                return (message['from'] + ': ' if message['from'] else '* ') + message['text']
            else:
                raise AssertionError((opcode, data))

    def close_code(self):
        """Reads to the closing frame, answers it, and sees the end."""
        code = None
        while (got := self.frame()) is not None:
            if got[0] == CLOSE:
                assert code is None, 'a second closing frame'
                code = struct.unpack('>H', got[1][:2])[0]
                self.socket.sendall(frame(CLOSE, got[1]))
        return code
