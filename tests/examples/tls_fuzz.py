#!/usr/bin/env python3
"""tls_fuzz.py PROGRAM [--seconds N] [--seed N]: http_server behind TLS, and clients whose bytes are mutated on their way.

Case n of a seed mutates the same flight in the same way (--only N does just that one; keys differ each time). Whatever
comes, the server ends the connection when its client has; who is not touched gets its whole answer and a close_notify; in
the end nothing is left behind."""
import contextlib
import itertools
import os
import random
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

import fuzzing
from running import PATIENCE, Running

BIG = bytes(range(256)) * 1200
ALERT = b'\x15\x03\x03\x00\x02'


def mutated(dice, data):
    """What arrives instead of a flight of the client's."""
    data, what = bytearray(data), dice.randrange(9)
    at = dice.randrange(len(data) + 1)
    if what == 0 and at < len(data):
        data[at] ^= 1 << dice.randrange(8)
    elif what == 1:
        del data[at:at + dice.choice((1, 2, 5, 100))]
    elif what == 2:
        data[at:at] = dice.randbytes(dice.choice((1, 5, 300, 20_000)))
    elif what == 3:
        data += bytes(data)  # a replay
    elif what == 4:
        del data[at:]  # and then the end, with no close_notify
    elif what == 5:  # a record of a kind and a length that may be none
        data[0:0] = bytes([dice.choice((0, 20, 21, 22, 23, 24, 255)), 3, dice.choice((0, 1, 3, 4))]) + struct.pack(
            '>H', dice.choice((0, 1, 16384, 18433, 65535))) + dice.randbytes(dice.choice((0, 1, 16384)))
    elif what == 6:
        data += ALERT + bytes([dice.choice((1, 2)), dice.choice((0, 10, 40, 90, 100, 255))])
    elif what == 7 and len(data) > 5:  # the length of the first record
        data[3:5] = struct.pack('>H', dice.choice((0, 1, len(data), 16640, 16641, 65535)))
    elif what == 8:
        data = bytearray(b'GET /hello HTTP/1.1\r\nHost: a\r\n\r\n')
    return bytes(data)


class Visit:
    """A client whose TLS is Python's, and whose bytes pass through here."""

    def __init__(self, peer, dice, context):
        self.peer, self.dice = peer, dice
        self.flight, self.struck = 0, dice.choice((None, 0, 0, 1, 1, 2, 3, 5))
        self.into, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.into, self.out, server_hostname='localhost')

    def send(self):
        """False: what went out was mutated, so that there is nothing more to say."""
        data = self.out.read()
        if not data:
            return True
        whole, self.flight = self.struck != self.flight, self.flight + 1
        if not whole:
            data = mutated(self.dice, data)
        while data:
            n = self.dice.choice((1, 50, 100_000, 100_000))
            self.peer.sendall(data[:n])
            data = data[n:]
        return whole

    def step(self, action):
        """What the action returns once it has what it waits for; None: the visit is over."""
        while True:
            try:
                done = action()
                return done if self.send() else None
            except ssl.SSLWantReadError:
                if not self.send():
                    return None
                part = self.peer.recv(65536)
                if part:
                    self.into.write(part)
                else:
                    self.into.write_eof()

    def ask(self):
        """Whether the answers were right, or the visit is over."""
        if self.step(lambda: self.tls.do_handshake() or True) is None:
            return True
        asked = self.dice.choice((('/hello', b'hello'), ('/big', BIG)))
        times = self.dice.choice((1, 1, 4))
        got = b''
        for number in range(times):
            close = b'Connection: close\r\n' if number + 1 == times else b''
            request = b'GET ' + asked[0].encode() + b' HTTP/1.1\r\nHost: a\r\n' + close + b'\r\n'
            if self.step(lambda request=request: self.tls.write(request)) is None:
                return True
        while True:
            try:
                part = self.step(lambda: self.tls.read(65536))
            except ssl.SSLZeroReturnError:
                break
            if part is None:
                return True
            if not part:
                break
            got += part
        return got.count(b'HTTP/1.1 200 OK\r\n') == times and got.count(b'\r\n\r\n' + asked[1]) == times


class Fuzzer:
    def __init__(self, server, seed, certificate):
        self.server, self.seed, self.lock = server, seed, threading.Lock()
        self.numbers, self.failures, self.cases, self.ends = itertools.count(), [], 0, {}
        self.contexts = [ssl.create_default_context(cafile=certificate) for _ in range(2)]
        self.contexts[1].maximum_version = ssl.TLSVersion.TLSv1_2

    def one(self, number):
        dice = random.Random(self.seed * 1_000_003 + number)
        how = 'answered'
        try:
            with self.server.connect() as peer:
                visit = Visit(peer, dice, self.contexts[dice.randrange(2)])
                try:
                    if not visit.ask():
                        self.failures.append((number, 'a wrong answer'))
                except (ssl.SSLError, ConnectionError) as error:
                    how = getattr(error, 'reason', None) or type(error).__name__
                    if visit.struck is None or visit.struck >= visit.flight:
                        self.failures.append((number, f'nobody touched it: {error!r}'))
                if visit.struck is not None and visit.struck < visit.flight:
                    how = how if how != 'answered' else 'mutated'
                    if dice.random() < 0.2:
                        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                    else:
                        with contextlib.suppress(OSError):
                            peer.shutdown(socket.SHUT_WR)
                            while peer.recv(65536):
                                pass
        except Exception as error:  # TimeoutError: the connection is not ended. pylint: disable=broad-except
            self.failures.append((number, repr(error)))
        with self.lock:
            self.ends[how] = self.ends.get(how, 0) + 1

    def work(self, end):
        while time.monotonic() < end and not self.failures:
            with self.lock:
                number, self.cases = next(self.numbers), self.cases + 1
            self.one(number)


def fuzz(server, given, certificate):
    fuzzer, before = Fuzzer(server, given.seed, certificate), server.descriptors()
    if given.only is not None:
        fuzzer.one(given.only)
    else:
        end = time.monotonic() + given.seconds
        hands = [threading.Thread(target=fuzzer.work, args=(end,)) for _ in range(6)]
        for thread in hands:
            thread.start()
        for thread in hands:
            thread.join()
    fuzzer.failures += fuzzing.objections_to_descriptors(server, before)
    status, _, err = server.end()
    fuzzer.failures += fuzzing.objections_to_end(status, err)
    print(f'seed {given.seed}: {fuzzer.cases} cases, ends {dict(sorted(fuzzer.ends.items()))}')
    return fuzzer.failures


def main():
    given = fuzzing.arguments(__doc__, 3)
    if not shutil.which('openssl'):
        print('no openssl command, so no certificate')
        return 77
    with tempfile.TemporaryDirectory() as folder:
        chain, key = (os.path.join(folder, name) for name in ('chain.pem', 'key.pem'))
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
                        '-subj', '/CN=coir', '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', chain],
                       check=True, capture_output=True)
        os.mkdir(folder + '/root')
        with open(folder + '/root/big', 'wb') as f:
            f.write(BIG)
        with Running(given.program, '--workers', '2', '--access-log', 'none', '--root', folder + '/root', '--certificate', chain,
                     '--key', key, '--idle-time', str(PATIENCE * 250)) as server:
            failures = fuzz(server, given, chain)
    return fuzzing.exit_status(failures)


if __name__ == '__main__':
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(main())
