#!/usr/bin/env python3
"""http_fuzz.py http_server|reverse_proxy PROGRAM [--seconds N] [--seed N]: mutated requests, and for the proxy mutated answers.

Case n of a seed is always the same bytes (--only N sends just that one). Whatever is sent, the program has to go on,
answer who behaves, end each connection, hold nothing open in the end, and say nothing on stderr but what the health of
back ends is; behind the proxy only requests arrive that have one meaning.
"""
import contextlib
import os
import random
import re
import socket
import struct
import sys
import tempfile
import threading
import time

import fuzzing
from http_support import PATIENCE, Client, Running, everything

REQUESTS = (
    b'GET /hello HTTP/1.1\r\nHost: a\r\n\r\n',
    b'GET /small.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=2-5\r\nIf-None-Match: "x"\r\n\r\n',
    b'HEAD /big.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    b'GET /sub/../%73mall.txt?x=1#y HTTP/1.1\r\nHost: a\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n',
    b'GET http://a/status HTTP/1.0\r\nConnection: keep-alive\r\n\r\n',
    b'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello',
    b'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x="y"\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nTrailer: x\r\n\r\n',
    b'PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\nX-Forwarded-For: 1.2.3.4\r\n\r\nabc',
    b'GET /hello HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Secret\r\nX-Secret: 1\r\nTE: trailers\r\nUpgrade: h2c\r\n\r\n' * 3,
)
ANSWERS = (
    b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n',
    b'HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nto the end',
    b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n',
    b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nConnection: X\r\nX: 1\r\n\r\n',
)
WORDS = (b'\r\n', b'\r\n\r\n', b'\n', b'\0', b' ', b':', b'Content-Length: ', b'Content-Length: 7\r\n', b'Transfer-Encoding: chunked\r\n',
         b'Transfer-Encoding: gzip, chunked\r\n', b'Transfer-Encoding : chunked\r\n', b'Expect: 100-continue\r\n', b'Host: b\r\n', b'HTTP/1.0',
         b'HTTP/9.9', b'ffffffffffffffff', b'99999999999999999999', b'-1', b'%00', b'%', b'../', b'//', b'GET ', b'Connection: close\r\n',
         b'Connection: Host, Content-Length\r\n', b'Range: bytes=', b'0\r\n\r\n', b'\xff\xfe', b'x' * 5000, b'X: y\r\n' * 2000, b'"')


def mutated(seeds, rng):
    data = rng.choice(seeds)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 8))):
        a, b = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
        how = rng.randrange(7)
        if how == 0:
            data = data[:a] + bytes([rng.randrange(256)]) + data[a + 1:]
        elif how == 1:
            data = data[:a] + data[min(b, a + 20):]
        elif how == 2:
            data = data[:b] + data[a:b] + data[b:]
        elif how in (3, 4):
            data = data[:a] + rng.choice(WORDS) + data[a:]
        elif how == 5:
            data = data[:a] + rng.choice(seeds)[rng.randrange(20):]
        else:
            data = data[:a]
    return data


class Strict:
    """A back end that notes each request with more than one meaning, and answers some with what it should not."""

    def __init__(self):
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=512)
        self.address = '127.0.0.1:%d' % self.listener.getsockname()[1]
        self.breaches, self.requests, self.rng, self.lock = [], 0, random.Random(0), threading.Lock()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                peer = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.talk, args=(peer,), daemon=True).start()

    def talk(self, peer):
        peer.settimeout(PATIENCE)
        with contextlib.suppress(OSError, EOFError), peer, peer.makefile('rb') as stream:
            while self.read(stream):
                with self.lock:
                    self.requests += 1
                    answer = mutated(ANSWERS, self.rng) if self.path.startswith(b'/') and self.rng.randrange(4) == 0 else None
                peer.sendall(answer if answer is not None else b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
                if answer is not None:
                    return

    path = b''

    def read(self, stream):
        head = b''
        while not head.endswith(b'\r\n\r\n'):
            line = stream.readline()
            if not line:
                if head:
                    raise EOFError
                return False
            head += line
        lines = head[:-4].split(b'\r\n')
        if b' /check ' in lines[0]:
            return True
        fields = [line.split(b': ', 1) for line in lines[1:]]
        if not re.fullmatch(rb'[!-~]+ \S+ HTTP/1\.1', lines[0]) or any(len(f) != 2 for f in fields):
            self.breaches.append(head)
            return True
        values = {}
        for name, value in fields:
            values.setdefault(name.lower(), []).append(value)
        lengths, codings = values.get(b'content-length', []), values.get(b'transfer-encoding', [])
        right = (len(values.get(b'host', [])) <= 1 and len(values.get(b'x-forwarded-for', [])) == 1 and
                 values[b'x-forwarded-for'][0].endswith((b'127.0.0.1', b'unknown')) and  # unknown: it has vanished len(lengths) + len(codings) <= 1 and
                 codings in ([], [b'chunked']) and
                 lines[0].split()[1].startswith((b'/', b'*')) and
                 all(re.fullmatch(rb'\d+', n) for n in lengths) and
                 not any(n in values for n in (b'connection', b'upgrade', b'te', b'expect', b'proxy-connection')))
        if not right:
            self.breaches.append(head)
        self.read_body(stream, lengths, codings)
        return True

    @staticmethod
    def exactly(stream, size):
        if len(stream.read(size)) != size:
            raise EOFError

    def read_body(self, stream, lengths, codings):
        if lengths:
            self.exactly(stream, int(lengths[0]))
        while codings:
            line = stream.readline()
            if not line:
                raise EOFError
            if not re.fullmatch(rb'[0-9a-f]+\r\n', line, re.IGNORECASE):
                self.breaches.append(line)
                return
            self.exactly(stream, int(line, 16) + 2)
            if int(line, 16) == 0:
                return


class Fuzzer:
    def __init__(self, server, seed):
        self.server, self.seed = server, seed
        self.failures, self.cases, self.answers, self.statuses, self.lock = [], 0, 0, {}, threading.Lock()

    def one(self, number):
        rng = random.Random(self.seed * 1_000_003 + number)
        data, how = mutated(REQUESTS, rng), rng.randrange(10)
        try:
            with self.server.connect() as peer:
                cut = rng.randint(0, len(data)) if how < 4 else len(data)
                with contextlib.suppress(ConnectionError):
                    peer.sendall(data[:cut])
                    if cut < len(data):
                        time.sleep(0.001)
                        peer.sendall(data[cut:])
                    if how == 9:  # it vanishes
                        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                        return
                    peer.shutdown(socket.SHUT_WR)
                got = everything(peer)
        except OSError as error:  # TimeoutError: the connection is not ended
            self.failures.append((number, data, repr(error)))
            return
        if got and not re.match(rb'HTTP/1\.[01] \d{3} ', got):
            self.failures.append((number, data, got[:200]))
        with self.lock:
            status = got[9:12].decode('latin-1') or 'none'
            self.statuses[status] = self.statuses.get(status, 0) + 1

    def work(self, end, numbers):
        while time.monotonic() < end and not self.failures:
            with self.lock:
                number = next(numbers)
                self.cases += 1
            self.one(number)

    def behaves(self):
        try:
            with Client(self.server) as client:
                return client.ask('/check').status in (200, 404)
        except (OSError, EOFError, AttributeError):
            return False


def fuzz(server, given, strict):
    fuzzer = Fuzzer(server, given.seed)
    if given.only is not None:
        fuzzer.one(given.only)
    else:
        if not fuzzer.behaves():
            fuzzer.failures.append('it does not answer from the beginning')
        descriptors = server.descriptors() if server.process.poll() is None else 0
        end, numbers = time.monotonic() + given.seconds, iter(range(1 << 62))
        threads = [threading.Thread(target=fuzzer.work, args=(end, numbers)) for _ in range(8)]
        for thread in threads:
            thread.start()
        while time.monotonic() < end and not fuzzer.failures and server.process.poll() is None:
            if not fuzzer.behaves():
                fuzzer.failures.append('who behaves gets no answer')
            time.sleep(0.05)
        for thread in threads:
            thread.join()
        if server.process.poll() is None:
            fuzzer.failures += fuzzing.objections_to_descriptors(server, descriptors + (64 if strict else 0))  # the proxy keeps some
    status, out, err = server.end() if server.process.poll() is None else (server.process.poll(), '', server.process.stderr.read())
    fuzzer.failures += fuzzing.objections_to_end(status, err, lambda line: re.search(r' is (back|left out): ', line))
    if strict:
        fuzzer.failures += [f'passed on: {breach[:300]!r}' for breach in strict.breaches]
        print(f'{strict.requests} requests reached the back end')
    print(f'seed {given.seed}: {fuzzer.cases} cases, first statuses {dict(sorted(fuzzer.statuses.items()))}')
    return fuzzer.failures


def main():
    given = fuzzing.arguments(__doc__, 4, ('http_server', 'reverse_proxy'))
    limits = ['--header-time', '500', '--body-time', '500', '--workers', '2', '--access-log', 'none']
    with tempfile.TemporaryDirectory() as root:
        os.mkdir(root + '/sub')
        for name, size in (('small.txt', 10), ('big.bin', 300_000)):
            with open(os.path.join(root, name), 'wb') as f:
                f.write(b'x' * size)
        strict = Strict() if given.name == 'reverse_proxy' else None
        special = ['--backend', strict.address, '--check-path', '/check', '--check-time', '100', '--answer-time', '5000'] if strict \
            else ['--root', root]
        with Running(given.program, *limits, *special) as server:
            failures = fuzz(server, given, strict)
    return fuzzing.exit_status(failures)


if __name__ == '__main__':
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(main())
