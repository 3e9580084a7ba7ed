#!/usr/bin/env python3
"""examples_test.py NAME PROGRAM: runs one example as its users do, and looks at what it prints and how it ends."""
import concurrent.futures
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

PROGRAM = ''
PATIENCE = 40  # seconds until what never comes is called missing


def run(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=PATIENCE)


class EchoServer:
    """Running; `address` is what it says that it listens at."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.line = self.process.stdout.readline()
        found = re.fullmatch(r'echo_server: (\S+), (\d+) workers, (\w+) \((.*)\)\n', self.line)
        if not found:
            self.process.kill()
            raise AssertionError(f'it said {self.line!r} and {self.process.stderr.read()!r}')
        self.address, self.workers = found.group(1), int(found.group(2))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def connect(self):
        if self.address.startswith('unix:'):
            peer = socket.socket(socket.AF_UNIX)
            name = self.address[len('unix:'):]
            where = '\0' + name[1:] if name.startswith('@') else name
        else:
            host, _, port = self.address.rpartition(':')
            peer = socket.socket(socket.AF_INET6 if host.startswith('[') else socket.AF_INET)
            where = (host.strip('[]'), int(port))
        peer.settimeout(PATIENCE)
        peer.connect(where)
        return peer

    def end(self, how):
        """Its status and what it said, after that signal."""
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, self.line + out, err


def echoes(peer, data=b'ping\n'):
    sender = threading.Thread(target=peer.sendall, args=(data,))
    sender.start()
    got = b''
    while len(got) < len(data):
        part = peer.recv(65536)
        if not part:
            break
        got += part
    sender.join()
    return got == data


class EchoServerTest(unittest.TestCase):
    def test_it_says_where_it_listens_and_echoes_there(self):
        with tempfile.TemporaryDirectory() as folder:
            for listen in ['127.0.0.1:0', f'unix:{folder}/echo.sock', f'unix:@coir-echo-{os.getpid()}']:
                with self.subTest(listen=listen), EchoServer('--listen', listen, '--workers', '2') as server:
                    print(server.line, end='')
                    self.assertEqual(server.workers, 2)
                    self.assertFalse(server.address.endswith(':0'))
                    peers = [server.connect() for _ in range(20)]
                    with concurrent.futures.ThreadPoolExecutor(len(peers)) as pool:
                        megabyte = os.urandom(1 << 20)
                        self.assertEqual(list(pool.map(lambda p: echoes(p, megabyte), peers)), [True] * len(peers))
                    for peer in peers:
                        peer.close()
                    self.assertEqual(server.end(signal.SIGTERM)[0], 0)
            self.assertEqual(os.listdir(folder), [], 'the socket file is left')

    def test_netcat_and_socat_understand_it(self):
        with EchoServer('--listen', '127.0.0.1:0') as server:
            host, port = server.address.split(':')
            ran = 0
            for tool in (['nc', '-N', host, port], ['socat', '-t5', '-', f'TCP:{server.address}']):
                if not shutil.which(tool[0]):
                    continue
                got = subprocess.run(tool, input=b'hello\nworld\n', capture_output=True, timeout=PATIENCE)
                if tool[0] == 'nc' and got.returncode != 0 and b'hello' not in got.stdout:
                    print('this nc has no -N:', got.stderr.decode())
                    continue
                self.assertEqual(got.stdout, b'hello\nworld\n', tool)
                ran += 1
            print(f'{ran} tools spoke to it')
            with server.connect() as peer:  # and a socket of ours, where there is neither
                self.assertTrue(echoes(peer))
                peer.shutdown(socket.SHUT_WR)
                self.assertEqual(peer.recv(1), b'', 'the end of the stream is not passed on')

    def stopped_by(self, how):
        with EchoServer('--listen', '127.0.0.1:0', '--workers', '4') as server:
            idle, busy = server.connect(), server.connect()
            self.assertTrue(echoes(busy) and echoes(idle))
            start = time.monotonic()
            server.process.send_signal(how)
            # It accepts no more, and lets who is there finish.
            while True:
                try:
                    server.connect().close()
                except ConnectionError:
                    break
                self.assertLess(time.monotonic() - start, PATIENCE, 'it goes on accepting')
            in_grace = time.monotonic() - start < 1.5
            if in_grace:
                self.assertTrue(echoes(busy), 'a connection did not outlive the signal')
            out, err = server.process.communicate(timeout=PATIENCE)
            took = time.monotonic() - start
            self.assertEqual(server.process.returncode, 0, err)
            self.assertEqual(out, 'echo_server: stopped\n')
            self.assertEqual(err, '')
            self.assertEqual((idle.recv(1), busy.recv(1)), (b'', b''))
            return f'{how.name}: stopped after {took:.1f} s with two connections open'

    def test_signals_stop_it_with_status_0_though_connections_are_open(self):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for said in pool.map(self.stopped_by, [signal.SIGINT, signal.SIGTERM]):
                print(said)

    def test_without_connections_it_stops_at_once(self):
        with EchoServer('--listen', '127.0.0.1:0') as server:
            start = time.monotonic()
            status, out, err = server.end(signal.SIGINT)
            self.assertEqual((status, err), (0, ''), out)
            self.assertLess(time.monotonic() - start, 1.9, 'it waited for the grace')

    def refused(self, status, said, *arguments, environment=None):
        ended = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=PATIENCE,
                               env={**os.environ, **(environment or {})})
        print(f'{arguments}: {ended.returncode}, {ended.stderr.strip()}')
        self.assertEqual(ended.returncode, status)
        self.assertIn(said, ended.stderr)
        self.assertEqual(ended.stdout, '')

    def test_bad_input_is_named(self):
        self.refused(2, 'there is no option --bogus', '--bogus', '1')
        self.refused(2, '--listen takes a value', '--listen')
        for bad in ['nowhere', '127.0.0.1', '127.0.0.1:65536', '300.0.0.1:80', '[::1:80', 'unix:', '']:
            self.refused(2, f'"{bad}" is no endpoint', '--listen', bad)
        for bad in ['0', '-1', 'many', '2x', '']:
            self.refused(2, f'not "{bad}"', '--workers', bad)

    def test_what_the_system_refuses_is_named(self):
        with socket.socket() as other:
            other.bind(('127.0.0.1', 0))
            other.listen()
            taken = f'127.0.0.1:{other.getsockname()[1]}'
            self.refused(1, 'Address already in use', '--listen', taken)
        self.refused(1, 'Cannot assign requested address', '--listen', '192.0.2.1:0')
        self.refused(1, 'No such file or directory', '--listen', 'unix:/nowhere/echo.sock')
        self.refused(1, 'at most', '--listen', '127.0.0.1:0', '--workers', '100000')

    def test_a_bad_environment_is_named(self):
        self.refused(2, 'COIR_REACTOR', environment={'COIR_REACTOR': 'abacus'})


class PageServer:
    """Answers each request with its name and path, a line at a time."""

    def __init__(self, name, pause, together=None):
        self.name, self.pause, self.together, self.asked = name, pause, together, []
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.address = '127.0.0.1:%d' % self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                peer = self.listener.accept()[0]
            except OSError:
                return
            with peer:
                request = b''
                while b'\r\n\r\n' not in request:
                    request += peer.recv(4096)
                self.asked.append(request.decode())
                if self.together:
                    self.together.wait(PATIENCE / 2)
                for line in ['HTTP/1.0 200 OK', f'Server: {self.name}', 'Content-Length: 5', '', 'page\n']:
                    peer.sendall((line + '\r\n').encode())
                    time.sleep(self.pause)


class FetchTest(unittest.TestCase):
    def test_three_servers_headers_come_whole_and_each_in_order(self):
        servers = [PageServer('first', 0.05), PageServer('second', 0.02), PageServer('third', 0)]
        pages = [f'{s.address}/{s.name}.html' for s in servers]
        got = run(*pages)
        print(got.stdout, end='')
        self.assertEqual((got.returncode, got.stderr), (0, ''))
        lines = got.stdout.splitlines()
        self.assertEqual(len(lines), 9)
        for server, page in zip(servers, pages):
            own = [line for line in lines if line.startswith(page + ': ')]
            self.assertEqual(own, [f'{page}: {h}' for h in ('HTTP/1.0 200 OK', f'Server: {server.name}',
                                                            'Content-Length: 5')])
            self.assertEqual(len(server.asked), 1)
            self.assertTrue(server.asked[0].startswith(f'GET /{server.name}.html HTTP/1.0\r\n'), server.asked)
            self.assertIn(f'Host: {server.address}\r\n', server.asked[0])

    def test_all_are_asked_at_once(self):
        together = threading.Barrier(3)  # each answers when all have been asked
        got = run(*[PageServer(str(i), 0, together).address for i in range(3)])
        self.assertEqual((got.returncode, got.stderr), (0, ''))

    def test_one_that_fails_is_named_and_the_others_are_printed(self):
        with socket.socket() as nobody:  # bound and not listening
            nobody.bind(('127.0.0.1', 0))
            gone = '127.0.0.1:%d' % nobody.getsockname()[1]
            server = PageServer('there', 0)
            got = run(gone + '/', server.address + '/', 'ftp://host/', '[::1/x', ':80/', 'host:/', 'host:65536/')
        self.assertEqual(got.returncode, 1)
        self.assertIn('Server: there', got.stdout)
        for named in (gone + '/: ', 'Connection refused', 'ftp://host/: ', 'only http and https are known', 'is not closed',
                      'it has no host', 'a port has to follow', 'neither a number from 0 to 65535'):
            self.assertIn(named, got.stderr)

    def test_a_server_is_found_by_name(self):
        server = PageServer('named', 0)
        port = server.address.split(':')[1]
        pages = [f'localhost:{port}/a?b=c:d', f'http://localhost:{port}']
        got = run(*pages)
        self.assertEqual((got.returncode, got.stderr), (0, ''))
        for page in pages:
            self.assertIn(f'{page}: Server: named\n', got.stdout)
        self.assertEqual(sorted(asked.split(' HTTP')[0] for asked in server.asked), ['GET /', 'GET /a?b=c:d'])
        for asked in server.asked:
            self.assertIn(f'\r\nHost: localhost:{port}\r\n', asked)

    def test_without_arguments_it_says_how_it_is_used(self):
        got = run()
        self.assertEqual(got.returncode, 2)
        self.assertIn('usage', got.stderr)


class SleepSortTest(unittest.TestCase):
    def test_they_begin_in_their_order_and_end_in_that_of_time(self):
        for times in ([90, 30, 60], [120, 80, 40, 0], [50]):
            got = run(*map(str, times))
            self.assertEqual((got.returncode, got.stderr), (0, ''))
            self.assertEqual(got.stdout, ''.join(f'sleeping {t} ms\n' for t in times) +
                             ''.join(f'slept {t} ms\n' for t in sorted(times)))

    def test_without_arguments_it_has_times_of_its_own(self):
        self.assertEqual(run().stdout.splitlines()[-4:], [f'slept {t} ms' for t in (50, 100, 200, 300)])


class TasksTest(unittest.TestCase):
    def test_a_task_awaits_another_and_results_come_as_they_are_done(self):
        got = run()
        self.assertEqual((got.returncode, got.stderr), (0, ''))
        self.assertEqual(got.stdout.splitlines(), ['compute 1 + 2 ...', 'print_sum waits for a join', '1 + 2 = 3',
                                                   'done: 9', 'done: 4', 'done: 1'])


class FourRequestsTest(unittest.TestCase):
    def test_all_are_answered_and_both_times_are_printed(self):
        got = run()
        print(got.stdout, end='')
        self.assertEqual((got.returncode, got.stderr), (0, ''))
        lines = got.stdout.splitlines()
        self.assertEqual(lines[:-1], 2 * [f'answer to {i}' for i in (1, 2, 3, 4)])
        times = re.fullmatch(r'one after another: (\d+) ms, all at once: (\d+) ms', lines[-1])
        self.assertGreaterEqual(int(times.group(1)), 400)
        self.assertGreaterEqual(int(times.group(2)), 100)


class ThreadsAndFibersTest(unittest.TestCase):
    def test_both_times_are_printed(self):
        got = run()
        print(got.stdout, end='')
        self.assertEqual((got.returncode, got.stderr), (0, ''))
        self.assertRegex(got.stdout, r'^100 threads: [\d.]+ ms\n100 fibers on \d+ workers: [\d.]+ ms\n$')


if __name__ == '__main__':
    name, PROGRAM = sys.argv[1:]
    sys.stdout.reconfigure(line_buffering=True)
    case = {'echo_server': EchoServerTest, 'fetch': FetchTest, 'sleep_sort': SleepSortTest, 'tasks': TasksTest,
            'four_requests': FourRequestsTest, 'threads_and_fibers': ThreadsAndFibersTest}[name]
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    sys.exit(not result.wasSuccessful())
