#!/usr/bin/env python3
"""names_test.py FETCH: fetch by name, in a network of its own with a name server and pages of the test's own.

The network is a namespace, which not every system lets a test have; then it is skipped.
"""
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

PROGRAM = ''
PATIENCE = 40
SKIPPED = 77
A, AAAA, SERVFAIL, NXDOMAIN = 1, 28, 2, 3


class NameServer:
    """Answers from `names`: name -> (A records, AAAA records), or an RCODE, or None: never."""

    def __init__(self, names):
        self.names, self.asked = names, []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(('127.0.0.1', 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            query, sender = self.socket.recvfrom(4096)
            at, labels = 12, []
            while query[at]:
                labels.append(query[at + 1:at + 1 + query[at]].decode())
                at += 1 + query[at]
            kind, = struct.unpack('!H', query[at + 1:at + 3])
            name = '.'.join(labels)
            self.asked.append((name, kind))
            known = self.names.get(name, NXDOMAIN)
            if known is None:
                continue
            code, records = (known, []) if isinstance(known, int) else (0, known[kind == AAAA] if kind in (A, AAAA) else [])
            reply = query[:2] + struct.pack('!HHHHH', 0x8180 | code, 1, len(records), 0, 0) + query[12:at + 5]
            for record in records:
                family = socket.AF_INET6 if kind == AAAA else socket.AF_INET
                data = socket.inet_pton(family, record)
                reply += struct.pack('!HHHIH', 0xC00C, kind, 1, 5, len(data)) + data
            self.socket.sendto(reply, sender)


class PageServer:
    def __init__(self, host, port, name):
        family = socket.AF_INET6 if ':' in host else socket.AF_INET
        self.listener = socket.create_server((host, port), family=family)
        self.port, self.name = self.listener.getsockname()[1], name
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            with self.listener.accept()[0] as peer:
                request = b''
                while b'\r\n\r\n' not in request:
                    request += peer.recv(4096)
                peer.sendall(f'HTTP/1.0 200 OK\r\nServer: {self.name}\r\n\r\n'.encode())


def fetch(*pages):
    return subprocess.run([PROGRAM, *pages], capture_output=True, text=True, timeout=PATIENCE)


class NamesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.pages = PageServer('127.0.0.1', 0, 'four')
        cls.port = cls.pages.port
        cls.six = None
        try:
            cls.six = PageServer('::1', cls.port, 'six')
        except OSError:
            print('no IPv6 here')
        cls.names = NameServer({
            'four.test': (['127.0.0.1'], []),
            'both.test': (['127.0.0.1'], ['::1']),
            'second.test': (['127.0.0.9', '127.0.0.1'], []),
            'gone.test': (['127.0.0.8', '127.0.0.9'], []),
            'empty.test': ([], []),
            'ill.test': SERVFAIL,
            'silent.test': None,
        })

    def page(self, host):
        return f'{host}:{self.port}/'

    def test_names_of_dns_and_of_the_hosts_file_are_found(self):
        for host in ('four.test', 'both.test', 'second.test', 'from-the-hosts-file.test'):
            got = fetch(self.page(host))
            self.assertEqual((got.returncode, got.stderr), (0, ''), host)
            self.assertIn('Server: ', got.stdout)
        if self.six:
            self.assertIn('Server: six', fetch(self.page('both.test')).stdout, 'IPv6 comes first: RFC 6724')

    def test_each_failure_is_named(self):
        for host, said in (('nothing.test', 'there is no such host'), ('ill.test', 'no name server could answer'),
                           ('empty.test', 'the host has no address'), ('gone.test', '127.0.0.9:'),
                           ('gone.test', 'Connection refused'), ('x' * 64 + '.test', 'no such host')):
            got = fetch(self.page(host))
            self.assertEqual((got.returncode, got.stdout), (1, ''), host)
            self.assertIn(said, got.stderr)

    def test_a_server_that_is_silent_holds_up_nobody(self):
        start = time.monotonic()
        process = subprocess.Popen([PROGRAM, self.page('silent.test'), self.page('four.test')], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        while 'Server: four' not in (line := process.stdout.readline()):
            self.assertNotEqual(line, '')
        self.assertIsNone(process.poll(), 'silent.test has been answered')
        process.kill()
        process.communicate()
        print(f'{time.monotonic() - start:.2f} s')


def enter_namespace(arguments):
    """This program again, where it may bind port 53 and has files of its own in /etc."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (('resolv.conf', 'nameserver 127.0.0.1\noptions timeout:2 attempts:2\n'),
                           ('hosts', '127.0.0.1 localhost\n127.0.0.1 from-the-hosts-file.test\n'),
                           ('nsswitch.conf', 'hosts: files dns\nservices: files\n')):
            with open(os.path.join(folder, name), 'w', encoding='utf-8') as f:
                f.write(text)
        script = ('for f in resolv.conf hosts nsswitch.conf; do '
                  '[ -e /etc/$f ] || exit 77; mount --bind "$0/$f" "$(readlink -f /etc/$f)" || exit 77; done; '
                  'ip link set lo up || exit 77; exec "$@"')
        inside = [sys.executable, os.path.abspath(__file__), '--inside', *arguments]
        for unshare in (['unshare', '-nm'], ['unshare', '-Urnm']):
            if shutil.which('unshare') is None or shutil.which('ip') is None:
                break
            status = subprocess.run([*unshare, 'sh', '-c', script, folder, *inside]).returncode
            if status not in (1, SKIPPED):
                return status
        print('skipped: this system gives the test no network of its own')
        return SKIPPED


if __name__ == '__main__':
    if sys.argv[1] != '--inside':
        sys.exit(enter_namespace(sys.argv[1:]))
    PROGRAM = sys.argv[2]
    sys.stdout.reconfigure(line_buffering=True)
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(NamesTest)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    sys.exit(0 if result.wasSuccessful() else 2)
