#!/usr/bin/env python3
"""http_server_test.py PROGRAM: http_server with curl, wrk and raw sockets, and with clients that mean no good."""
import concurrent.futures
import email.utils
import json
import os
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

from http_support import PATIENCE, Client, Running, eventually, everything

PROGRAM = ''
BIG = os.urandom(3_000_000)
PAGE = b'<p>the page</p>\n'


def curl(*arguments):
    return subprocess.run(['curl', '-sS', *arguments], capture_output=True, timeout=PATIENCE, check=False)


class HttpServerTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.root = os.path.join(self.folder, 'root')
        self.log = os.path.join(self.folder, 'log')
        os.makedirs(os.path.join(self.root, 'sub', 'deeper'))
        for name, content in (('index.html', PAGE), ('big.bin', BIG), ('small.txt', b'0123456789'), ('empty', b''),
                              ('sub/index.html', b'in a folder'), ('a b.txt', b'with a space')):
            with open(os.path.join(self.root, name), 'wb') as f:
                f.write(content)
        with open(os.path.join(self.folder, 'secret'), 'wb') as f:
            f.write(b'secret')

    def server(self, *arguments):
        running = Running(PROGRAM, '--root', self.root, '--access-log', self.log, *arguments)
        self.addCleanup(running.__exit__)
        return running

    def logged(self):
        with open(self.log, encoding='ascii') as f:
            return f.read().splitlines()

    def logs(self, count):
        """Whether the log comes to have so many lines."""
        return eventually(lambda: len(self.logged()) >= count) and len(self.logged()) == count

    # What it serves.

    def test_routes_and_files_are_answered(self):
        server = self.server()
        with Client(server) as client:
            self.assertEqual(client.ask('/hello'), (200, b'hello'))
            self.assertEqual(client.ask('/'), (200, PAGE))
            self.assertEqual(client.ask('/?query'), (200, PAGE))
            self.assertEqual(client.ask('/a%20b.txt'), (200, b'with a space'))
            self.assertEqual(client.ask('/empty'), (200, b''))
            self.assertEqual(client.ask('/sub/'), (200, b'in a folder'))
            self.assertEqual(client.ask('/sub').fields['location'], '/sub/')
            self.assertEqual(client.ask('//sub').fields['location'], '/sub/')
            self.assertEqual(client.ask('/sub/deeper/').status, 404)
            self.assertEqual(client.ask('http://elsewhere/small.txt'), (200, b'0123456789'))
            self.assertEqual(client.ask('/big.bin'), (200, BIG))
            self.assertEqual(client.ask('/nothing').status, 404)
            self.assertEqual(client.ask('/small.txt/').status, 404)
            self.assertEqual(client.ask('/hello', 'DELETE').fields['allow'], 'GET, HEAD')
            self.assertEqual(client.ask('/echo').fields['allow'], 'POST')
            status = json.loads(client.ask('/status').body)
            self.assertEqual((status['connections'], status['requests']), (1, 16))
        self.assertEqual(server.end(), (0, 'http_server: stopped\n', ''))
        lines = self.logged()
        self.assertEqual(len(lines), 16)
        self.assertRegex(lines[0], r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ 127\.0\.0\.1:\d+ "GET /hello" 200 5$')

    def test_head_is_get_without_the_body(self):
        with Client(self.server()) as client:
            for target in ('/hello', '/', '/big.bin', '/nothing'):
                got, head = client.ask(target), client.ask(target, 'HEAD')
                self.assertEqual(got.status, head.status)
                self.assertEqual(got.fields['content-length'], head.fields['content-length'])
                self.assertEqual(int(head.fields['content-length']), len(got.body))

    @unittest.skipUnless(shutil.which('curl'), 'there is no curl')
    def test_curl_gets_what_is_there(self):
        server = self.server('--workers', '2')
        url = f'http://{server.address}'
        got = curl('--parallel', *[f'{url}/big.bin'] * 4)
        self.assertEqual((got.returncode, len(got.stdout)), (0, 4 * len(BIG)), got.stderr)
        self.assertEqual(curl(f'{url}/big.bin').stdout, BIG)
        self.assertEqual(curl('-r', '1000000-', f'{url}/big.bin').stdout, BIG[1_000_000:])
        self.assertEqual(curl('-0', f'{url}/hello').stdout, b'hello')
        self.assertEqual(curl('-L', f'{url}/sub').stdout, b'in a folder')
        self.assertEqual(curl('--data-binary', 'abc', f'{url}/echo').stdout, b'abc')
        with open(os.path.join(self.folder, 'body'), 'wb') as f:
            f.write(BIG[:900_000])
        body = '@' + f.name
        self.assertEqual(curl('-H', 'Expect: 100-continue', '--data-binary', body, f'{url}/echo').stdout, BIG[:900_000])
        chunked = curl('-H', 'Transfer-Encoding: chunked', '--data-binary', body, f'{url}/echo')
        self.assertEqual(chunked.stdout, BIG[:900_000])

    def test_pipelined_requests_are_answered_in_order(self):
        with Client(self.server()) as client:
            for count in (2, 50, 1000):
                parts = []
                for i in range(count):
                    parts += [f'POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {len(str(i))}\r\n\r\n{i}',
                              'GET /small.txt HTTP/1.1\r\nHost: x\r\n\r\n']
                sender = threading.Thread(target=client.send, args=(''.join(parts),))
                sender.start()
                for i in range(count):
                    self.assertEqual(client.answer(), (200, str(i).encode()))
                    self.assertEqual(client.answer(), (200, b'0123456789'))
                sender.join()

    def test_a_request_may_come_byte_by_byte(self):
        with Client(self.server()) as client:
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in b'POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n':
                client.send(bytes([byte]))
            self.assertEqual(client.answer(), (200, b'abc'))

    def test_a_client_that_asks_to_continue_is_asked_to(self):
        with Client(self.server()) as client:
            client.send('POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n')
            self.assertEqual(client.answer().status, 100)
            client.send('abc')
            self.assertEqual(client.answer(), (200, b'abc'))
            client.send('POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n')
            self.assertEqual(client.answer().status, 413)
            self.assertIsNone(client.answer())

    def test_http_1_0_is_spoken_too(self):
        server = self.server()
        with Client(server) as client:
            client.send('GET /hello HTTP/1.0\r\n\r\n')
            answer = client.answer()
            self.assertEqual(answer, (200, b'hello'))
            self.assertEqual(answer.fields['connection'], 'close')
            self.assertIsNone(client.answer())
        with Client(server) as client:
            for _ in range(3):
                client.send('GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n')
                self.assertEqual(client.answer().fields['connection'], 'keep-alive')

    def test_ranges_are_parts(self):
        with Client(self.server()) as client:
            whole = client.ask('/small.txt')
            tag, date = whole.fields['etag'], whole.fields['last-modified']
            text = b'0123456789'
            for wanted, part in (('0-0', text[:1]), ('3-5', text[3:6]), ('7-', text[7:]), ('-4', text[-4:]),
                                 ('-400', text), ('5-400', text[5:])):
                got = client.ask('/small.txt', fields=[f'Range: bytes={wanted}'])
                self.assertEqual(got, (206, part), wanted)
                first = text.index(part)
                self.assertEqual(got.fields['content-range'], f'bytes {first}-{first + len(part) - 1}/10')
            for wanted in ('10-', '-0', '99999999999-'):
                got = client.ask('/small.txt', fields=[f'Range: bytes={wanted}'])
                self.assertEqual((got.status, got.fields['content-range']), (416, 'bytes */10'), wanted)
            for wanted in ('bytes=', 'bytes=5-3', 'bytes=x-', 'bytes=1-2,4-5', 'lines=1-2', 'bytes=--1', 'bytes=-',
                           'bytes=99999999999999999999-'):
                self.assertEqual(client.ask('/small.txt', fields=[f'Range: {wanted}']), (200, text), wanted)
            self.assertEqual(client.ask('/empty', fields=['Range: bytes=0-']).status, 416)
            self.assertEqual(client.ask('/big.bin', fields=['Range: bytes=100-2000099']), (206, BIG[100:2000100]))
            for condition, status in ((tag, 206), (date, 206), ('"other"', 200),
                                      ('Sun, 06 Nov 1994 08:49:37 GMT', 200)):
                got = client.ask('/small.txt', fields=['Range: bytes=1-1', f'If-Range: {condition}'])
                self.assertEqual(got.status, status, condition)

    def test_what_the_client_has_already_is_not_sent_again(self):
        with Client(self.server()) as client:
            whole = client.ask('/small.txt')
            tag, date = whole.fields['etag'], whole.fields['last-modified']
            later = email.utils.formatdate(time.time() + 1000, usegmt=True)
            for field in (f'If-None-Match: {tag}', 'If-None-Match: *', f'If-None-Match: "x", {tag}',
                          f'If-Modified-Since: {date}', f'If-Modified-Since: {later}'):
                self.assertEqual(client.ask('/small.txt', fields=[field]).status, 304, field)
            for field in ('If-None-Match: "x"', 'If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT',
                          'If-Modified-Since: whenever'):
                self.assertEqual(client.ask('/small.txt', fields=[field]).status, 200, field)
            with open(os.path.join(self.root, 'small.txt'), 'wb') as f:
                f.write(b'another')
            self.assertEqual(client.ask('/small.txt', fields=[f'If-None-Match: {tag}']), (200, b'another'))

    @unittest.skipUnless(shutil.which('curl') and shutil.which('openssl'), 'there is no curl, or no openssl')
    def test_tls_is_spoken_where_there_is_a_certificate(self):
        chain, key = (os.path.join(self.folder, name) for name in ('chain.pem', 'key.pem'))
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
                        '-days', '2', '-subj', '/CN=coir', '-addext', 'subjectAltName=IP:127.0.0.1',
                        '-keyout', key, '-out', chain], check=True, capture_output=True)
        server = self.server('--certificate', chain, '--key', key)
        got = curl('--cacert', chain, f'https://{server.address}/hello', f'https://{server.address}/big.bin')
        self.assertTrue(got.stdout == b'hello' + BIG, got.stderr)
        echoed = curl('--cacert', chain, '--data-binary', 'abc', f'https://{server.address}/echo')
        self.assertEqual(echoed.stdout, b'abc')
        with server.connect() as plain:
            plain.sendall(b'GET /hello HTTP/1.1\r\nHost: x\r\n\r\n')
            self.assertNotIn(b'hello', everything(plain))
        self.assertTrue(self.logs(4))
        self.assertIn('TLS: ', self.logged()[3])
        self.assertEqual(server.end(), (0, 'http_server: stopped\n', ''))

    # What clients do to it.

    def test_nothing_outside_of_the_root_is_served(self):
        os.symlink('../secret', os.path.join(self.root, 'way_out'))
        os.symlink('/etc', os.path.join(self.root, 'etc'))
        os.symlink('small.txt', os.path.join(self.root, 'link'))
        os.mkfifo(os.path.join(self.root, 'fifo'))
        with Client(self.server()) as client:
            self.assertEqual(client.ask('/link'), (200, b'0123456789'))
            self.assertEqual(client.ask('/sub/../small.txt'), (200, b'0123456789'))
            for target in ('/../secret', '/sub/../../secret', '/%2e%2e/secret', '/..%2fsecret', '/way_out', '/etc/passwd',
                           '//etc/passwd', '/./../secret', '/sub/%2e%2e/%2e%2e/secret', '/fifo', '/proc/self/environ'):
                self.assertEqual(client.ask(target).status, 404, target)

    BAD = (  # what is sent, and the status that answers it
        (b'GARBAGE\r\n\r\n', 400),
        (b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a ClientHello', 400),
        (b'GET /hello HTTP/1.1\r\n\r\n', 400),
        (b'GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400),
        (b'GET /hello HTTP/3.1\r\nHost: a\r\n\r\n', 400),
        (b'GET hello HTTP/1.1\r\nHost: a\r\n\r\n', 400),
        (b'GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n', 400),
        (b'GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n', 400),
        (b'GET /% HTTP/1.1\r\nHost: a\r\n\r\n', 400),
        (b'GET /hello HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n', 400),
        (b'GET /hello HTTP/1.1\r\nHost : a\r\n\r\n', 400),
        (b'GET /hello HTTP/1.1\nHost: a\n\n', 400),
        (b'GET /' + b'x' * 20_000 + b' HTTP/1.1\r\nHost: a\r\n\r\n', 431),
        (b'GET /hello HTTP/1.1\r\nHost: a\r\nX: ' + b'x' * 20_000 + b'\r\n\r\n', 431),
        (b'GET /hello HTTP/1.1\r\nHost: a\r\n' + b'X: y\r\n' * 5_000 + b'\r\n', 431),
        (b'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400),
        (b'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc', 400),
        (b'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n', 400),
        (b'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n', 400),
        (b'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n', 413),
        (b'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n', 501),
        (b'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n', 501),
        (b'POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400),
        (b'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n', 400),
        (b'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n', 400),
        (b'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n', 413),
        (b'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n' + b'fffff\r\n' + b'x' * 0xfffff + b'\r\n2\r\nab\r\n',
         413),
        (b'GET /hel', 400),  # half of it, and the end
        (b'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc', 400),
    )

    def test_bad_requests_get_their_status_and_one_line_and_others_notice_nothing(self):
        server = self.server('--workers', '2')
        with Client(server) as other:
            self.assertEqual(other.ask('/hello'), (200, b'hello'))
            self.assertTrue(self.logs(1))
            before = server.descriptors()
            for sent, status in self.BAD:
                lines = len(self.logged())
                with self.subTest(sent=sent[:60]), Client(server) as client:
                    client.send(sent)
                    client.socket.shutdown(socket.SHUT_WR)
                    self.assertEqual(client.answer().status, status)
                    self.assertIsNone(client.answer())
                    self.assertTrue(self.logs(lines + 1), self.logged()[lines:])
                    self.assertEqual(other.ask('/hello'), (200, b'hello'))
                    self.assertTrue(self.logs(lines + 2))
            self.assertTrue(server.settles_at(before))
        self.assertEqual(server.end(), (0, 'http_server: stopped\n', ''))

    def test_what_follows_a_bad_request_is_no_request(self):
        with Client(self.server()) as client:
            client.send(b'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n')
            self.assertEqual(client.answer().status, 501)
            self.assertIsNone(client.answer())

    def test_who_is_slow_is_told_so(self):
        server = self.server('--header-time', '300', '--body-time', '300', '--idle-time', '2000')
        before = server.descriptors()
        for sent in (b'G', b'GET /hello HTTP/1.1\r\nHost: ', b'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab'):
            with Client(server) as client:
                client.send(sent)
                self.assertEqual(client.answer().status, 408)
                self.assertIsNone(client.answer())
        with Client(server) as client:  # a byte now and then is too slow as well
            start = time.monotonic()
            try:
                while time.monotonic() - start < PATIENCE:
                    client.send(b'G')
                    time.sleep(0.05)
                    if client.socket.recv(1, socket.MSG_DONTWAIT):
                        break
            except BlockingIOError:
                self.fail('it waits for ever')
            except ConnectionError:
                pass
        self.assertTrue(self.logs(4))
        with Client(server) as client:  # silence between requests is no news
            self.assertEqual(client.ask('/hello'), (200, b'hello'))
            self.assertIsNone(client.answer())
        self.assertTrue(server.settles_at(before))
        self.assertEqual(server.end()[0], 0)
        self.assertEqual(len(self.logged()), 5)

    def test_a_client_that_does_not_read_is_ended_and_holds_up_nobody(self):
        server = self.server('--idle-time', '1000')
        before = server.descriptors()
        slow = Client(server, receive_buffer=4096)
        slow.send('GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n' * 20)
        with Client(server) as other:
            for _ in range(10):
                self.assertEqual(other.ask('/big.bin'), (200, BIG))
        self.assertTrue(server.settles_at(before))
        slow.close()

    def test_clients_that_vanish_leave_nothing_behind(self):
        server = self.server('--workers', '2')
        with Client(server) as other:
            self.assertEqual(other.ask('/hello'), (200, b'hello'))
            before = server.descriptors()
            for i in range(60):
                client = Client(server, receive_buffer=4096)
                client.send((b'GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n', b'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab',
                             b'GET /big.bin HT')[i % 3])
                if i % 3 == 0:
                    client.socket.recv(100)
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                client.close()
            self.assertTrue(server.settles_at(before))
            self.assertEqual(other.ask('/hello'), (200, b'hello'))
        self.assertEqual(server.end(), (0, 'http_server: stopped\n', ''))

    def judge(self, server, lost, answered):
        """Asks on until it is told to go; a request that was sent on a connection that lived must be answered."""
        try:
            while True:
                with Client(server) as client:
                    told, before = False, 0
                    for number in range(1_000_000):
                        since, before = before, time.monotonic()
                        try:
                            client.send('GET /hello HTTP/1.1\r\nHost: x\r\n\r\n')
                            late = time.monotonic() - since > 0.09  # or so; then the server need not have waited for it
                            answer = client.answer()
                        except (OSError, EOFError):
                            answer = None
                        if answer is None:
                            if number != 0 and not late:
                                lost.append(number)
                            return
                        self.assertEqual(answer, (200, b'hello'))
                        answered.append(1)
                        if told := answer.fields.get('connection') == 'close':
                            break
                    self.assertTrue(told)
        except ConnectionError:  # nobody is at the door
            pass

    def test_no_request_is_lost_when_it_is_told_to_stop_under_load(self):
        for how in (signal.SIGTERM, signal.SIGINT):
            with Running(PROGRAM, '--workers', '2', '--access-log', 'none') as server, \
                    concurrent.futures.ThreadPoolExecutor(8) as pool:
                load = None
                if shutil.which('wrk'):
                    load = subprocess.Popen(['wrk', '-t1', '-c16', '-d2', f'http://{server.address}/hello'],
                                            stdout=subprocess.PIPE, text=True)
                lost, answered = [], []
                judges = [pool.submit(self.judge, server, lost, answered) for _ in range(8)]
                idle = Client(server)
                self.assertEqual(idle.ask('/hello'), (200, b'hello'))
                self.assertTrue(eventually(lambda: len(answered) > 500))
                server.process.send_signal(how)
                for judge in judges:
                    judge.result(PATIENCE)
                self.assertIsNone(idle.answer())
                out, err = server.process.communicate(timeout=PATIENCE)
                self.assertEqual((server.process.returncode, out, err), (0, 'http_server: stopped\n', ''))
                self.assertEqual(lost, [])
                print(f'{how.name}: {len(answered)} requests of the judges were answered, none lost')
                if load:
                    said = load.communicate(timeout=PATIENCE)[0]
                    print('wrk: ' + ', '.join(line.strip() for line in said.splitlines() if 'requests in' in line or 'errors' in line))
                    self.assertNotIn('Non-2xx', said)

    def stopped_beside_idle_connections(self):
        """How long those waited for their end, and the program for its own, with a request under way."""
        server = self.server('--workers', '2')
        idle = [Client(server) for _ in range(100)]
        for client in idle:
            self.assertEqual(client.ask('/hello'), (200, b'hello'))
        busy = Client(server)
        busy.send('POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc')
        self.assertTrue(self.logs(100) and eventually(
            lambda: json.loads(curl(f'http://{server.address}/status').stdout)['requests'] > 101))
        time.sleep(0.15)  # idle is who has asked nothing for 0.1 s
        begun = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        for client in idle:
            self.assertIsNone(client.answer())
        told = time.monotonic() - begun
        self.assertIsNone(server.process.poll())
        busy.send('def')
        self.assertEqual(busy.answer(), (200, b'abcdef'))
        self.assertIsNone(busy.answer())
        busy.close()
        answered = time.monotonic()
        self.assertEqual(server.process.wait(PATIENCE), 0)  # though the others have not closed their ends
        ended = time.monotonic() - answered
        for client in idle:
            client.close()
        return told, ended

    def test_idle_connections_end_at_once_when_it_is_told_to_stop_and_a_request_under_way_is_answered(self):
        for _ in range(10):  # once on a machine that is not too busy
            told, ended = self.stopped_beside_idle_connections()
            print(f'a hundred idle connections ended within {told:.3f} s, the program {ended:.3f} s after its last answer')
            if told < 0.5 and ended < 0.5:
                return
        self.fail('it waits for who asks nothing')

    def test_requests_that_have_come_when_it_is_told_to_stop_are_answered(self):
        server = self.server('--workers', '2')
        clients = [Client(server) for _ in range(100)]
        for client in clients:
            self.assertEqual(client.ask('/hello'), (200, b'hello'))
        time.sleep(0.15)  # all are idle
        server.process.send_signal(signal.SIGSTOP)
        for client in clients:
            client.send('GET /hello HTTP/1.1\r\nHost: x\r\n\r\n')
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGCONT)
        for client in clients:
            self.assertEqual(client.answer(), (200, b'hello'))
            self.assertIsNone(client.answer())
            client.close()
        self.assertEqual(server.process.wait(PATIENCE), 0)

    def test_an_upload_under_way_is_finished_after_the_signal(self):
        server = self.server()
        with Client(server) as client:
            client.send('POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc')
            self.assertTrue(eventually(lambda: json.loads(curl(f'http://{server.address}/status').stdout)['requests'] > 1))
            server.process.send_signal(signal.SIGTERM)
            time.sleep(1.5)  # longer than an idle connection is kept
            client.send('def')
            self.assertEqual(client.answer(), (200, b'abcdef'))
            self.assertIsNone(client.answer())
        self.assertEqual(server.process.wait(PATIENCE), 0)

    def test_bad_arguments_are_named(self):
        for said, status, arguments in (('--certificate and --key go together', 2, ['--key', 'x']),
                                        ('--header-time takes a number of milliseconds from 1, not "0"', 2,
                                         ['--header-time', '0']),
                                        ('there is no option --rot', 2, ['--rot', '.']),
                                        ('"x" belongs to no option', 2, ['x']),
                                        ('/no/such/folder: No such file', 1, ['--root', '/no/such/folder']),
                                        ('/no/such/log: No such file', 1, ['--access-log', '/no/such/log']),
                                        ('/nowhere.pem', 1, ['--certificate', '/nowhere.pem', '--key', '/nowhere.pem'])):
            got = subprocess.run([PROGRAM, '--listen', '127.0.0.1:0', *arguments], capture_output=True, text=True,
                                 timeout=PATIENCE)
            self.assertEqual((got.returncode, got.stdout), (status, ''), got.stderr)
            self.assertIn(said, got.stderr)
        helped = subprocess.run([PROGRAM, '--help'], capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual((helped.returncode, helped.stderr), (0, ''))
        self.assertIn('--root DIR', helped.stdout)


if __name__ == '__main__':
    PROGRAM = sys.argv.pop()
    sys.stdout.reconfigure(line_buffering=True)
    unittest.main(testRunner=unittest.TextTestRunner(stream=sys.stdout, verbosity=2))
