#!/usr/bin/env python3
"""network_test.py NAME PROGRAM: runs chat or tcp_proxy with real clients, and looks at what these see."""
import concurrent.futures
import http.server
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.dont_write_bytecode = True
from running import PATIENCE, Running  # noqa: E402

PROGRAM = ''


def refused(test, said, *arguments):
    ended = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=PATIENCE)
    test.assertEqual((ended.returncode, ended.stdout), (2, ''))
    test.assertIn(said, ended.stderr)
    test.assertIn('usage', ended.stderr)


class Guest:
    """A client of the chat, which has said its name."""

    def __init__(self, chat, name, **options):
        self.socket = chat.connect(**options)
        self.lines = self.socket.makefile('r', encoding='utf-8', newline='\n')
        assert self.line() == 'your name?'
        self.say(name)

    def say(self, *lines):
        self.socket.sendall(''.join(line + '\n' for line in lines).encode())

    def line(self):
        return self.lines.readline().rstrip('\n')

    def close(self):
        self.lines.close()
        self.socket.close()


class ChatTest(unittest.TestCase):
    def test_what_one_says_all_others_hear(self):
        with Running(PROGRAM) as chat:
            ann = Guest(chat, 'ann')
            self.assertEqual(ann.line(), '* ann has come')
            bob = Guest(chat, 'bob')
            self.assertEqual((ann.line(), bob.line()), ('* bob has come', '* bob has come'))
            carl = Guest(chat, 'carl')
            for guest in (ann, bob, carl):
                self.assertEqual(guest.line(), '* carl has come')
            ann.say('hello')
            self.assertEqual((bob.line(), carl.line()), ('ann: hello', 'ann: hello'))
            bob.say('hello ann', 'how are you?')
            self.assertEqual((ann.line(), ann.line()), ('bob: hello ann', 'bob: how are you?'))
            bob.close()
            self.assertEqual(ann.line(), '* bob has gone')
            ann.say('x' * 5000, 'short')
            self.assertEqual([carl.line() for _ in range(5)],
                             ['bob: hello ann', 'bob: how are you?', '* bob has gone',
                              '* a line of ann was too long', 'ann: short'])
            self.assertEqual(chat.end(), (0, 'chat: closed\n', ''))
            ann.close()
            carl.close()

    def test_netcat_and_socat_understand_it(self):
        with Running(PROGRAM) as chat:
            ann = Guest(chat, 'ann')
            self.assertEqual(ann.line(), '* ann has come')
            ran = 0
            for tool in (['nc', '127.0.0.1', str(chat.port)], ['socat', '-', f'TCP:{chat.address}']):
                if not shutil.which(tool[0]):
                    continue
                client = subprocess.Popen(tool, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                self.assertEqual(client.stdout.readline(), 'your name?\n')
                client.stdin.write(tool[0] + '\n')
                client.stdin.flush()
                self.assertEqual(client.stdout.readline(), f'* {tool[0]} has come\n')
                self.assertEqual(ann.line(), f'* {tool[0]} has come')
                client.stdin.write('hello\n')
                client.stdin.flush()
                self.assertEqual(ann.line(), f'{tool[0]}: hello')
                ann.say('bye')
                self.assertEqual(client.stdout.readline(), 'ann: bye\n')
                client.kill()
                client.communicate()
                self.assertEqual(ann.line(), f'* {tool[0]} has gone')
                ran += 1
            print(f'{ran} tools spoke to it')
            ann.close()

    def test_a_client_that_does_not_read_holds_up_nobody(self):
        with Running(PROGRAM) as chat:
            slow = Guest(chat, 'slow', receive_buffer=4096)
            ann = Guest(chat, 'ann')
            while ann.line() != '* ann has come':  # or bob may be there first
                pass
            bob = Guest(chat, 'bob')
            while ann.line() != '* bob has come':
                pass
            while bob.line() != '* bob has come':
                pass
            text = 'x' * 900
            for batch in range(150):  # no more at once than the room keeps, so that bob misses none
                ann.say(*[f'{batch} {n} {text}' for n in range(64)])
                for n in range(64):
                    self.assertEqual(bob.line(), f'ann: {batch} {n} {text}')
            ann.say('the last')
            missed, line = 0, ''
            while not line.endswith('the last'):
                line = slow.line()
                self.assertNotEqual(line, '', 'its connection has ended')
                if line.startswith('* you have missed '):
                    missed += int(line.split()[4])
            print(f'the slow one has missed {missed} lines of {150 * 64}')
            self.assertGreater(missed, 0)
            for guest in (slow, ann, bob):
                guest.close()

    def test_bad_input_is_named(self):
        refused(self, '--listen takes a value', '--listen')
        refused(self, '"nowhere" is no endpoint', '--listen', 'nowhere')


class Backend:
    """Reads to the end of each connection, then sends back what it got, the last byte first."""

    def __init__(self):
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=128)
        self.address = '127.0.0.1:%d' % self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                peer = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.answer, args=(peer,), daemon=True).start()

    @staticmethod
    def answer(peer):
        with peer:
            got = b''.join(iter(lambda: peer.recv(65536), b''))
            peer.sendall(got[::-1])


def ask(peer, data):
    with peer:
        sender = threading.Thread(target=lambda: (peer.sendall(data), peer.shutdown(socket.SHUT_WR)))
        sender.start()
        got = b''.join(iter(lambda: peer.recv(65536), b''))
        sender.join()
    return got


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class TcpProxyTest(unittest.TestCase):
    def test_both_ways_and_half_closed(self):
        backend = Backend()
        with Running(PROGRAM, '--to', backend.address) as proxy:
            self.assertEqual(ask(proxy.connect(), b''), b'')
            data = [os.urandom(300_000) for _ in range(30)]
            with concurrent.futures.ThreadPoolExecutor(len(data)) as pool:
                answers = list(pool.map(lambda d: ask(proxy.connect(), d), data))
            self.assertTrue(answers == [d[::-1] for d in data])
            ran = 0
            for tool in (['nc', '-N', '127.0.0.1', str(proxy.port)], ['socat', '-t20', '-', f'TCP:{proxy.address}']):
                if shutil.which(tool[0]):
                    got = subprocess.run(tool, input=b'ab', capture_output=True, timeout=PATIENCE)
                    self.assertEqual(got.stdout, b'ba', tool)
                    ran += 1
            print(f'{ran} tools spoke through it')
            self.assertEqual(proxy.end(), (0, 'tcp_proxy: stopped\n', ''))

    @unittest.skipUnless(shutil.which('curl'), 'there is no curl')
    def test_curl_fetches_through_it(self):
        with tempfile.TemporaryDirectory() as folder:
            content = os.urandom(3_000_000)
            with open(folder + '/page', 'wb') as f:
                f.write(content)
            web = http.server.ThreadingHTTPServer(
                ('127.0.0.1', 0), lambda *a: QuietHandler(*a, directory=folder))
            threading.Thread(target=web.serve_forever, daemon=True).start()
            with Running(PROGRAM, '--to', '127.0.0.1:%d' % web.server_port) as proxy:
                url = f'http://{proxy.address}/page'
                got = subprocess.run(['curl', '-sS', '--parallel', url, url, url], capture_output=True, timeout=PATIENCE)
                self.assertEqual((got.returncode, len(got.stdout)), (0, 3 * len(content)), got.stderr)
                alone = subprocess.run(['curl', '-sS', url], capture_output=True, timeout=PATIENCE)
                self.assertTrue(alone.stdout == content)
            web.shutdown()
            web.server_close()

    def test_an_upstream_that_refuses_is_named_and_the_next_connection_served(self):
        with socket.create_server(('127.0.0.1', 0)) as taken:
            gone = '127.0.0.1:%d' % taken.getsockname()[1]
        with Running(PROGRAM, '--to', gone) as proxy:
            for _ in range(3):
                self.assertEqual(ask_nothing(proxy.connect()), b'')
            status, _, err = proxy.end()
            self.assertEqual(status, 0)
            self.assertEqual(err.count(f'connect to {gone}: Connection refused'), 3, err)

    def test_an_idle_connection_is_ended_where_that_is_asked_for(self):
        backend = Backend()
        with Running(PROGRAM, '--to', backend.address, '--idle', '1') as proxy:
            start = time.monotonic()
            self.assertEqual(ask_nothing(proxy.connect()), b'')
            self.assertGreater(time.monotonic() - start, 0.9)
            self.assertIn('timed out', proxy.end()[2])

    def test_a_reset_ends_both_and_is_no_news(self):
        backend = Backend()
        with Running(PROGRAM, '--to', backend.address) as proxy:
            peer = proxy.connect()
            peer.sendall(b'abc')
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
            peer.close()
            self.assertEqual(ask(proxy.connect(), b'xy'), b'yx')
            self.assertEqual(proxy.end(), (0, 'tcp_proxy: stopped\n', ''))

    def test_bad_input_is_named(self):
        refused(self, '--listen and --to are needed')
        refused(self, '--listen and --to are needed', '--listen', '127.0.0.1:0')
        refused(self, '--to takes a value', '--to')
        refused(self, 'there is no option --from', '--from', 'x')
        refused(self, 'not "0"', '--idle', '0')
        refused(self, '"x" is no endpoint', '--to', 'x')


def ask_nothing(peer):
    """What comes without a word of ours, to the end."""
    with peer:
        return b''.join(iter(lambda: peer.recv(65536), b''))


if __name__ == '__main__':
    name, PROGRAM = sys.argv[1:]
    sys.stdout.reconfigure(line_buffering=True)
    case = {'chat': ChatTest, 'tcp_proxy': TcpProxyTest}[name]
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    sys.exit(not result.wasSuccessful())
