#!/usr/bin/env python3
"""websocket_fuzz.py PROGRAM [--seconds N] [--seed N]: mutated upgrades and frames at the chat.

Case n of a seed is always the same bytes but for the masks (--only N sends just that one). Whatever is sent, the chat ends
the connection when its client has, what it says are whole frames as RFC 6455 wants them of a server, two guests who behave
hear each other, in order, all the time, and in the end nothing is left behind."""
import codecs
import contextlib
import itertools
import json
import random
import re
import socket
import struct
import sys
import threading
import time

import fuzzing
from running import Running
from websocket_client import BINARY, CLOSE, CONTINUATION, PATIENCE, PING, PONG, TEXT, Guest, frame

UPGRADE = (b'GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
           b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n')
EXTRA = (b'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n', b'Sec-WebSocket-Protocol: chat\r\n',
         b'Origin: http://a\r\n', b'Origin: http://b\r\n', b'Sec-WebSocket-Version: 14\r\n', b'Content-Length: 3\r\n')
TEXTS = (b'', b'x', b'line', 'é€😀'.encode(), 'é€😀'.encode()[:-1], b'\xff', b'\0', b'"\\\n', b'y' * 125, b'y' * 126, b'y' * 4000,
         b'y' * 4001, b'y' * 70_000)
CODES = (0, 999, 1000, 1001, 1004, 1005, 1006, 1007, 1015, 2999, 3000, 4999, 5000, 65535)


def one_frame(dice):
    kind = dice.randrange(12)
    if kind < 4:
        return frame(TEXT, dice.choice(TEXTS))
    if kind < 6:  # in parts, with what may come between them
        text = dice.choice(TEXTS)
        cut = dice.randint(0, len(text))
        between = frame(dice.choice((PING, PONG, TEXT, CLOSE)), b'') if dice.random() < 0.4 else b''
        return frame(TEXT, text[:cut], final=False) + between + frame(CONTINUATION, text[cut:], final=dice.random() < 0.8)
    if kind < 8:
        return frame(dice.choice((PING, PONG)), dice.choice(TEXTS)[:dice.choice((0, 125, 126))], final=dice.random() < 0.9)
    if kind == 8:
        return frame(CLOSE, dice.choice((b'', b'1', struct.pack('>H', dice.choice(CODES)) + dice.choice(TEXTS)[:123])))
    if kind == 9:
        return frame(BINARY, dice.choice(TEXTS))
    if kind == 10:
        return frame(dice.randrange(16), dice.choice(TEXTS), masked=dice.random() < 0.7)
    # A length that is no length: not the shortest form, with its first bit set, or of what never comes.
    return bytes([dice.choice((0x81, 0x82, 0x89, 0xc1)), 0xff]) + struct.pack('>Q', dice.choice((0, 5, 65536, 1 << 40, 1 << 63))) + b'mask'


def mutated(dice):
    head = UPGRADE + b''.join(e for e in EXTRA if dice.random() < 0.15) + b'\r\n'
    frames = [] if dice.random() < 0.2 else [frame(TEXT, dice.choice((b'n%d' % dice.randrange(1000), b'', b'n' * 41, b'\xe9')))]
    data = bytearray(b''.join(frames + [one_frame(dice) for _ in range(dice.choice((0, 1, 2, 10)))]))
    if dice.random() < 0.1:
        head = bytearray(head)
        for _ in range(dice.choice((1, 5))):
            head[dice.randrange(len(head))] = dice.randrange(256)
    for _ in range(dice.choice((0, 0, 1, 1, 4, 20))):
        at, what = dice.randrange(len(data) + 1), dice.randrange(4)
        if what == 0 and at < len(data):
            data[at] ^= 1 << dice.randrange(8)
        elif what == 1:
            del data[at:at + dice.choice((1, 2, 4, 100))]
        elif what == 2:
            data[at:at] = dice.randbytes(dice.choice((1, 4, 14, 300)))
        elif what == 3:
            data[at:at] = data[dice.randrange(len(data) + 1):][:50]
    return bytes(head + data)


def objection(said):
    """What is wrong with the bytes that the chat sent before it ended the connection; nothing: None."""
    if not said:
        return None
    head, found, rest = said.partition(b'\r\n\r\n')
    if not re.match(rb'HTTP/1\.1 \d{3} ', said) or not found:
        return 'no answer of HTTP'
    if not head.startswith(b'HTTP/1.1 101 '):
        return None  # http_fuzz.py looks at these
    closed = False
    while rest:
        if closed:
            return 'something after the closing frame'
        if len(rest) < 2:
            return None  # it was cut off, as we were
        kind, size, at = rest[0] & 15, rest[1], 2
        if size > 127 or not rest[0] & 0x80 or rest[0] & 0x70 or kind not in (TEXT, CLOSE, PING, PONG):
            return f'a frame that begins with {rest[:2]!r}'
        if size > 125:
            if kind != TEXT:
                return 'a long control frame'
            at = 4 if size == 126 else 10
            if len(rest) < at:
                return None
            size = int.from_bytes(rest[2:at], 'big')
        data, whole = rest[at:at + size], len(rest) >= at + size
        rest = rest[at + size:]
        if not whole:
            return None
        if kind == TEXT and set(json.loads(codecs.decode(data, 'utf-8'))) != {'at', 'from', 'text'}:
            return f'the line {data[:200]!r}'
        if kind == CLOSE:
            closed = True
            if len(data) >= 2 and struct.unpack('>H', data[:2])[0] in (1005, 1006, 1015):
                return f'a code that is for no frame: {data!r}'
    return None


class Fuzzer:
    def __init__(self, server, seed):
        self.server, self.seed, self.lock = server, seed, threading.Lock()
        self.numbers, self.failures, self.cases, self.heard, self.codes = itertools.count(), [], 0, 0, {}

    def one(self, number):
        dice = random.Random(self.seed * 1_000_003 + number)
        data, said = mutated(dice), b''
        try:
            with self.server.connect() as peer:
                peer.settimeout(PATIENCE)
                try:
                    while data:
                        n = dice.choice((1, 7, 200, 100_000, 100_000))
                        peer.sendall(data[:n])
                        data = data[n:]
                    if dice.random() < 0.2:  # it vanishes
                        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                        return
                    with contextlib.suppress(OSError):  # it is not connected any more
                        peer.shutdown(socket.SHUT_WR)
                    while part := peer.recv(65536):
                        said += part
                except ConnectionError:
                    pass
            wrong = objection(said)
        except (OSError, ValueError) as error:  # TimeoutError: the connection is not ended
            wrong = repr(error)
        if wrong:
            self.failures.append((number, wrong))
        with self.lock:
            answer = said[9:12].decode('latin-1') or 'none'
            self.codes[answer] = self.codes.get(answer, 0) + 1

    def work(self, end):
        while time.monotonic() < end and not self.failures:
            with self.lock:
                number, self.cases = next(self.numbers), self.cases + 1
            self.one(number)

    def listen(self, guest, last):
        """The lines of `talker` in order, whatever else is said."""
        expected = 0
        try:
            while True:
                line = guest.line()
                if line == last:
                    return
                if line.startswith('talker: '):
                    if line != f'talker: {expected}':
                        self.failures.append(f'{line!r} instead of number {expected}')
                    expected += 1
                    self.heard += 1
        except Exception as error:  # pylint: disable=broad-except
            self.failures.append(f'who behaves hears no more: {error!r}')


def fuzz(server, given):
    fuzzer, last = Fuzzer(server, given.seed), 'talker: the end'
    if given.only is not None:
        fuzzer.one(given.only)
    else:
        guests = [Guest(server.port, name) for name in ('listener', 'talker')]
        for guest in guests:
            guest.line()  # what the program opens once is open
        before = server.descriptors() - len(guests)
        ears = [threading.Thread(target=fuzzer.listen, args=(g, last)) for g in guests]
        end = time.monotonic() + given.seconds
        hands = [threading.Thread(target=fuzzer.work, args=(end,)) for _ in range(6)]
        for thread in ears + hands:
            thread.start()
        for number in itertools.count():
            if time.monotonic() > end or fuzzer.failures:
                break
            guests[1].say(str(number))
            time.sleep(0.02)  # how often is no part of the test
        for thread in hands:
            thread.join()
        guests[1].say('the end')
        for thread in ears:
            thread.join(PATIENCE)
            if thread.is_alive():
                fuzzer.failures.append('who behaves does not hear the last line')
        for guest in guests:
            guest.close()
        fuzzer.failures += fuzzing.objections_to_descriptors(server, before)
    status, _, err = server.end()
    fuzzer.failures += fuzzing.objections_to_end(status, err, lambda line: line.endswith(' does not read'))
    print(f'seed {given.seed}: {fuzzer.cases} cases, answers {dict(sorted(fuzzer.codes.items()))}, {fuzzer.heard} lines heard')
    return fuzzer.failures


def main():
    given = fuzzing.arguments(__doc__, 3)
    with Running(given.program, '--workers', '2', '--ping', '3000', '--unread', '100000') as server:
        failures = fuzz(server, given)
    return fuzzing.exit_status(failures)


if __name__ == '__main__':
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(main())
