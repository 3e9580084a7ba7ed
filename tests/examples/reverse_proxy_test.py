#!/usr/bin/env python3
"""reverse_proxy_test.py PROGRAM: reverse_proxy before back ends of the test's own, which do what it says, or misbehave."""
import contextlib
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from http_support import PATIENCE, Answer, Client, Running, eventually

PROGRAM = ''


class BackEnd:
    """Answers each request by answer(request, peer), which may do as it likes; health checks are answered with 204."""

    def __init__(self, answer=None, port=0):
        self.answer = answer or (lambda asked, peer: text(asked.path))
        self.asked, self.healthy, self.connections = [], True, []
        self.listener = socket.create_server(('127.0.0.1', port), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.address = f'127.0.0.1:{self.port}'
        threading.Thread(target=self.serve, daemon=True).start()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for peer in self.connections:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)

    def serve(self):
        while True:
            try:
                peer = self.listener.accept()[0]
            except OSError:
                return
            self.connections.append(peer)
            threading.Thread(target=self.talk, args=(peer,), daemon=True).start()

    def talk(self, peer):
        with contextlib.suppress(OSError, ValueError), peer, peer.makefile('rb') as stream:
            while asked := Asked.read(stream):
                if asked.path == '/health':
                    peer.sendall(b'HTTP/1.1 204 No Content\r\n\r\n' if self.healthy else
                                 b'HTTP/1.1 503 Sick\r\nContent-Length: 0\r\n\r\n')
                    continue
                self.asked.append(asked)
                answer = self.answer(asked, peer)
                if answer is None:
                    return
                peer.sendall(answer)


class Asked:
    """A request, as the back end sees it; `body` is read whole."""

    @classmethod
    def read(cls, stream):
        line = stream.readline()
        if not line:
            return None
        self = cls()
        self.method, self.path, self.version = line.decode().split()
        self.fields = []
        while (line := stream.readline().decode('latin-1').rstrip('\r\n')):
            name, value = line.split(': ', 1)
            self.fields.append((name.lower(), value))
        self.body = b''
        if self.field('transfer-encoding') == 'chunked':
            while size := int(stream.readline(), 16):
                self.body += stream.read(size)
                stream.readline()
            stream.readline()
        elif self.field('content-length'):
            self.body = stream.read(int(self.field('content-length')))
        return self

    def field(self, name):
        return ', '.join(v for n, v in self.fields if n == name)


def text(body, fields=''):
    body = body if isinstance(body, bytes) else body.encode()
    return f'HTTP/1.1 200 OK\r\n{fields}Content-Length: {len(body)}\r\n\r\n'.encode() + body


def reset(peer):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    peer.close()


class ReverseProxyTest(unittest.TestCase):
    def back_end(self, *arguments, **options):
        one = BackEnd(*arguments, **options)
        self.addCleanup(one.close)
        return one

    def proxy(self, *servers, options=()):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.log = folder.name + '/log'
        backends = [word for s in servers for word in ('--backend', s if isinstance(s, str) else s.address)]
        running = Running(PROGRAM, *backends, '--check-path', '/health', '--check-time', '100', '--access-log', self.log,
                          *options)
        self.addCleanup(running.__exit__)
        return running

    def logged(self):
        with open(self.log, encoding='ascii') as f:
            return f.read().splitlines()

    def test_requests_and_answers_pass_as_they_are_but_for_what_is_hop_by_hop(self):
        answer = ('HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nKeep-Alive: timeout=5\r\nX-Mine: 1\r\n'
                  'Connection: X-Mine, keep-alive\r\nContent-Length: 2\r\n\r\nok').encode()
        server = self.back_end(lambda asked, peer: answer)
        proxy = self.proxy(server)
        with Client(proxy) as client:
            got = client.ask('/path?query', 'PUT', b'body', fields=['Connection: X-Secret, host', 'X-Secret: 1', 'TE: trailers',
                                                                   'Upgrade: h2c', 'X-Forwarded-For: 1.2.3.4', 'X-Other: 2',
                                                                   'Proxy-Connection: keep-alive', 'Keep-Alive: 5'])
            self.assertEqual(got, (200, b'ok'))
            self.assertEqual(got.fields, {'set-cookie': 'b', 'content-length': '2'})
            asked = server.asked[0]
            self.assertEqual((asked.method, asked.path, asked.version, asked.body), ('PUT', '/path?query', 'HTTP/1.1', b'body'))
            self.assertEqual(sorted(asked.fields), [('content-length', '4'), ('host', 'test'), ('x-forwarded-for', '1.2.3.4, 127.0.0.1'),
                                                    ('x-other', '2')])
            self.assertEqual(client.ask('http://other:81/again'), (200, b'ok'))
            self.assertEqual((server.asked[1].path, server.asked[1].field('host')), ('/again', 'other:81'))
            self.assertEqual(client.ask('http://other?query'), (200, b'ok'))
            self.assertEqual((server.asked[2].path, server.asked[2].field('host')), ('/?query', 'other'))
        self.assertTrue(eventually(lambda: len(self.logged()) == 3))
        self.assertRegex(self.logged()[0], r'"PUT /path\?query" 200 2$')
        self.assertEqual(proxy.end(), (0, 'reverse_proxy: stopped\n', ''))

    def test_bodies_of_every_frame_arrive_whole(self):
        data = os.urandom(2_000_000)

        def answer(asked, peer):
            body = asked.body or data
            if asked.path == '/length':
                return text(body)
            if asked.path == '/chunks':
                parts = [body[i:i + 70_000] for i in range(0, len(body), 70_000)]
                return (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n' +
                        b''.join(b'%x\r\n%b\r\n' % (len(p), p) for p in parts) + b'0\r\n\r\n')
            if asked.path == '/end':
                peer.sendall(b'HTTP/1.1 200 OK\r\n\r\n' + body)
                return None
            return b'HTTP/1.1 204 No Content\r\n\r\n' if asked.path == '/none' else text('')
        server = self.back_end(answer)
        with Client(self.proxy(server, options=['--workers', '2'])) as client:
            for path in ('/length', '/chunks', '/end', '/length'):
                with self.subTest(path=path):
                    self.assertEqual(client.ask(path), (200, data))
                    self.assertEqual(client.ask(path, 'POST', data[:1_000_000]), (200, data[:1_000_000]))
                    client.send(f'POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n')
                    for i in range(0, 300_000, 50_000):
                        client.send(b'%x\r\n%b\r\n' % (50_000, data[i:i + 50_000]))
                    client.send(b'0\r\n\r\n')
                    self.assertEqual(client.answer(), (200, data[:300_000]))
            self.assertEqual(client.ask('/none').status, 204)
            self.assertEqual(client.ask('/empty'), (200, b''))
            head = client.ask('/length', 'HEAD')
            self.assertEqual(head.fields['content-length'], str(len(data)))

    def test_head_answers_keep_the_connections(self):
        def answer(asked, _):
            return b'HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n' if asked.method == 'HEAD' else text('whole')
        server = self.back_end(answer)
        with Client(self.proxy(server)) as client:
            for _ in range(3):
                self.assertEqual(client.ask('/x', 'HEAD').fields['content-length'], '12345')
                self.assertEqual(client.ask('/x'), (200, b'whole'))

    def test_an_http_1_0_client_gets_its_answer_to_the_end_of_the_connection(self):
        chunks = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n'
        with Client(self.proxy(self.back_end(lambda asked, peer: chunks))) as client:
            client.send('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n')
            got = client.answer()
            self.assertEqual(got, (200, b'abcdef'))
            self.assertEqual(got.fields, {'connection': 'close'})

    def test_a_client_that_asks_to_continue_is_asked_to(self):
        server = self.back_end(lambda asked, peer: text(asked.body))
        with Client(self.proxy(server)) as client:
            client.send('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n')
            self.assertEqual(client.answer().status, 100)
            client.send('abc')
            self.assertEqual(client.answer(), (200, b'abc'))
            self.assertEqual(server.asked[0].field('expect'), '')

    @unittest.skipUnless(shutil.which('curl'), 'there is no curl')
    def test_curl_gets_what_is_there_through_it(self):
        proxy = self.proxy(self.back_end(lambda asked, peer: text(asked.path * 100_000)))
        got = subprocess.run(['curl', '-sS', '--parallel', *[f'http://{proxy.address}/ab'] * 5], capture_output=True,
                             timeout=PATIENCE)
        self.assertEqual((got.returncode, len(got.stdout)), (0, 1_500_000), got.stderr)  # they come in between each other
        alone = subprocess.run(['curl', '-sS', f'http://{proxy.address}/ab'], capture_output=True, timeout=PATIENCE)
        self.assertTrue(alone.stdout == b'/ab' * 100_000)

    def test_who_has_the_least_to_do_gets_the_next_request(self):
        release = threading.Event()

        def answer(asked, _):
            if asked.path == '/slow':
                release.wait(PATIENCE)
            return text('done')
        servers = [self.back_end(answer) for _ in range(3)]
        proxy = self.proxy(*servers)
        slow = [Client(proxy) for _ in range(2)]
        for number, client in enumerate(slow):
            client.send('GET /slow HTTP/1.1\r\nHost: x\r\n\r\n')
            self.assertTrue(eventually(lambda n=number: sum(len(s.asked) for s in servers) == n + 1))
        self.assertEqual(sorted(len(s.asked) for s in servers), [0, 1, 1])
        with Client(proxy) as client:
            for _ in range(30):
                self.assertEqual(client.ask('/fast'), (200, b'done'))
        self.assertEqual(sorted(len(s.asked) for s in servers), [1, 1, 30])
        release.set()
        for client in slow:
            self.assertEqual(client.answer(), (200, b'done'))
            client.close()

    def test_who_is_sick_is_left_out_until_well_again(self):
        sick, well = self.back_end(), self.back_end()
        sick.healthy = False
        proxy = self.proxy(sick, well)
        self.assertEqual(proxy.process.stderr.readline(), f'{sick.address} is left out: its health check says 503\n')
        with Client(proxy) as client:
            for _ in range(10):
                self.assertEqual(client.ask('/x'), (200, b'/x'))
            self.assertEqual((len(sick.asked), len(well.asked)), (0, 10))
            sick.healthy = True
            self.assertEqual(proxy.process.stderr.readline(), f'{sick.address} is back: its health check says 204\n')
            for _ in range(10):
                self.assertEqual(client.ask('/x'), (200, b'/x'))
            self.assertEqual((len(sick.asked), len(well.asked)), (5, 15))

    def test_where_nobody_is_well_the_answer_is_503(self):
        with socket.create_server(('127.0.0.1', 0)) as taken:
            gone = '127.0.0.1:%d' % taken.getsockname()[1]
        proxy = self.proxy(gone)
        self.assertRegex(proxy.process.stderr.readline(), f'^{gone} is left out: .*Connection refused')
        with Client(proxy) as client:
            self.assertEqual(client.ask('/').status, 503)
            came = self.back_end(port=int(gone.split(':')[1]))
            self.assertIn('is back', proxy.process.stderr.readline())
            self.assertEqual(client.ask('/now'), (200, b'/now'))
            came.close()

    def test_what_may_be_repeated_is_asked_of_another(self):
        for broken in (lambda asked, peer: None, lambda asked, peer: reset(peer), lambda asked, peer: b'GARBAGE\r\n\r\n',
                       lambda asked, peer: b'HTTP/1.1 200 OK\r\nX: ' + b'x' * 200_000):
            bad, good = self.back_end(broken), self.back_end()
            with Client(self.proxy(bad, good)) as client:
                for method in ('GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS'):
                    for _ in range(4):
                        self.assertEqual(client.ask('/x', method).status, 200, method)
                self.assertGreater(len(bad.asked), 0)
                self.assertEqual(len(good.asked), 20)

    def test_what_may_not_be_repeated_is_sent_once(self):
        bad = self.back_end(lambda asked, peer: reset(peer))
        good = self.back_end()
        with Client(self.proxy(bad, good)) as client:
            statuses = []
            for i in range(10):
                statuses.append(client.ask(f'/{i}', 'POST', b'').status)
            self.assertEqual(sorted(set(statuses)), [200, 502])
            paths = [asked.path for s in (bad, good) for asked in s.asked]
            self.assertEqual(sorted(paths), [f'/{i}' for i in range(10)])
        with Client(self.proxy(bad, bad)) as client:
            self.assertEqual(client.ask('/put', 'PUT', b'body').status, 502)
            self.assertEqual(sum(asked.path == '/put' for asked in bad.asked), 1)

    def test_an_idle_connection_that_its_server_has_closed_is_no_error(self):
        def answer(asked, peer):
            peer.sendall(text('one'))
            return None  # and closes, though it did not say so
        server = self.back_end(answer)
        with Client(self.proxy(server)) as client:
            for _ in range(20):
                self.assertEqual(client.ask('/x'), (200, b'one'))
                time.sleep(0.005)

    def test_a_back_end_that_dies_in_mid_answer_ends_that_connection_alone(self):
        heads = {'/length': b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n' + b'x' * 500,
                 '/chunks': b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n',
                 '/in_a_chunk': b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100\r\nabc',
                 '/bad_chunk': b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\n'}

        def answer(asked, peer):
            if asked.path not in heads:
                return text('well')
            peer.sendall(heads[asked.path])
            return None
        server = self.back_end(answer)
        proxy = self.proxy(server, options=['--workers', '2'])
        with Client(proxy) as other:
            self.assertEqual(other.ask('/x'), (200, b'well'))
            before = proxy.descriptors()
            for number, path in enumerate(heads):
                with self.subTest(path=path), Client(proxy) as client:
                    with self.assertRaises(EOFError):
                        client.ask(path)
                    self.assertEqual(other.ask('/x'), (200, b'well'))
                    self.assertTrue(eventually(lambda n=number: len(self.logged()) == 2 * n + 3), self.logged())
            self.assertTrue(proxy.settles_at(before))
            self.assertEqual([line for line in self.logged() if ' 502 ' in line][0].split()[2:5], ['"GET', '/length"', '502'])
        self.assertEqual(proxy.end()[:2], (0, 'reverse_proxy: stopped\n'))

    def test_who_takes_too_long_is_given_up(self):
        never = threading.Event()
        self.addCleanup(never.set)

        def answer(asked, peer):
            if asked.path == '/stalls':
                peer.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc')
            never.wait(PATIENCE)
        server = self.back_end(answer)
        proxy = self.proxy(server, options=['--answer-time', '300', '--body-time', '300'])
        before = proxy.descriptors()
        with Client(proxy) as client:
            self.assertEqual(client.ask('/silent').status, 504)
            self.assertEqual(client.ask('/silent', 'POST', b'x').status, 504)
            self.assertEqual(len(server.asked), 2, 'a request that took too long was repeated')
            with self.assertRaises(EOFError):
                client.ask('/stalls')
        with Client(proxy) as client:  # and clients
            client.send('POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc')
            self.assertEqual(client.answer().status, 408)
            self.assertIsNone(client.answer())
        self.assertTrue(proxy.settles_at(before))

    def test_who_reads_slowly_slows_down_who_sends(self):
        sent = [0]

        def answer(asked, peer):
            peer.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n')
            for _ in range(2000):
                peer.sendall(b'x' * 100_000)
                sent[0] += 100_000
        server = self.back_end(answer)
        proxy = self.proxy(server)
        with Client(proxy, receive_buffer=4096) as client:
            client.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
            client.stream.read(1000)
            last = -1
            while last != sent[0]:  # until it sends no more
                last = sent[0]
                time.sleep(0.3)
            self.assertLess(sent[0], 100_000_000)
            with open(f'/proc/{proxy.process.pid}/statm', encoding='ascii') as f:
                self.assertLess(int(f.read().split()[1]) * 4096, 100_000_000)
            print(f'the back end was stopped after {sent[0]} bytes')

    def test_clients_that_vanish_leave_nothing_behind(self):
        server = self.back_end(lambda asked, peer: text(b'x' * 5_000_000))
        proxy = self.proxy(server, options=['--workers', '2'])
        with Client(proxy) as other:
            other.ask('/x')
            before = proxy.descriptors()
            for i in range(30):
                client = Client(proxy, receive_buffer=4096)
                client.send(('GET / HTTP/1.1\r\nHost: x\r\n\r\n', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab')[i % 2])
                if i % 2 == 0:
                    client.socket.recv(100)
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                client.close()
            self.assertTrue(proxy.settles_at(before))
            self.assertEqual(len(other.ask('/x').body), 5_000_000)
        self.assertEqual(proxy.end()[:2], (0, 'reverse_proxy: stopped\n'))

    BAD = ((b'GARBAGE\r\n\r\n', 400), (b'GET / HTTP/1.1\r\n\r\n', 400), (b'CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n', 400),
           (b'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400),
           (b'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n', 501),
           (b'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXY\r\n', 400),
           (b'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999\r\n\r\n', 413),
           (b'GET / HTTP/1.1\r\nHost: a\r\nX: ' + b'x' * 20_000 + b'\r\n\r\n', 431), (b'GET / HT', 400))

    def test_bad_requests_get_their_status_and_one_line_and_reach_nobody(self):
        server = self.back_end()
        proxy = self.proxy(server)
        before = proxy.descriptors()
        for number, (sent, status) in enumerate(self.BAD):
            with self.subTest(sent=sent[:60]), Client(proxy) as client:
                client.send(sent)
                client.socket.shutdown(socket.SHUT_WR)
                self.assertEqual(client.answer().status, status)
                self.assertIsNone(client.answer())
                self.assertTrue(eventually(lambda n=number: len(self.logged()) == n + 1), self.logged())
        self.assertTrue(proxy.settles_at(before))
        self.assertEqual(server.asked, [])

    def test_no_request_is_lost_when_it_is_told_to_stop(self):
        proxy = self.proxy(self.back_end(lambda asked, peer: text('slow', '') if time.sleep(0.05) is None else None),
                           options=['--workers', '2'])
        answered, lost = [], []

        def ask_on():
            with Client(proxy) as client:
                before = time.monotonic()
                while True:
                    since, before = before, time.monotonic()
                    client.send('GET /x HTTP/1.1\r\nHost: x\r\n\r\n')
                    late = time.monotonic() - since > 0.14  # its answer takes 0.05 s; then it need not have been waited for
                    answer = client.answer()
                    if answer is None or answer != (200, b'slow'):
                        if not late:
                            lost.append(answer)
                        return
                    answered.append(1)
                    if answer.fields.get('connection') == 'close':
                        return
        clients = [threading.Thread(target=ask_on) for _ in range(8)]
        for c in clients:
            c.start()
        self.assertTrue(eventually(lambda: len(answered) > 20))
        proxy.process.send_signal(signal.SIGTERM)
        for c in clients:
            c.join(PATIENCE)
        self.assertEqual(lost, [])
        self.assertEqual(proxy.process.wait(PATIENCE), 0)

    def test_bad_arguments_are_named(self):
        for said, arguments in (('--backend is needed', []), ('--backend: coir: "x" is no endpoint', ['--backend', 'x']),
                                ('--tries takes a number from 1, not "0"', ['--backend', '127.0.0.1:1', '--tries', '0'])):
            got = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual((got.returncode, got.stdout), (2, ''))
            self.assertIn(said, got.stderr)


if __name__ == '__main__':
    PROGRAM = sys.argv.pop()
    sys.stdout.reconfigure(line_buffering=True)
    unittest.main(testRunner=unittest.TextTestRunner(stream=sys.stdout, verbosity=2))
