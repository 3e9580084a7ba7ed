#!/usr/bin/env python3
"""fetch_tls_test.py FETCH: https, against Python's TLS and openssl s_server, whom an authority of the test's own names."""
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import unittest

PROGRAM = ''
PATIENCE = 40  # seconds until what never comes is called missing


def fetch(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=PATIENCE)


def openssl(*arguments):
    subprocess.run(['openssl', *arguments], check=True, capture_output=True)


class Server:
    """Answers one request after another with two headers; `cut`: the connection ends in the middle of them."""

    def __init__(self, chain, key, cut=False):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(chain, key)
        self.cut, self.names = cut, []
        self.context.sni_callback = lambda _, name, __: self.names.append(name)
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            plain = self.listener.accept()[0]
            try:
                with self.context.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False) as peer:
                    request = b''
                    while b'\r\n\r\n' not in request:
                        request += peer.recv(4096)
                    if self.cut:
                        peer.sendall(b'HTTP/1.0 200 OK\r\nSer')
                        continue  # closed, with no word of TLS
                    peer.sendall(b'HTTP/1.0 200 OK\r\nServer: ' + request.split()[1] + b'\r\n\r\npage')
            except OSError:  # it was turned away
                pass


class FetchTls(unittest.TestCase):
    def setUp(self):
        if not shutil.which('openssl'):
            self.skipTest('no openssl command, so no certificate')
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        at = lambda name: os.path.join(folder.name, name)
        self.ca, self.chain, self.key = at('ca.pem'), at('chain.pem'), at('key.pem')
        ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
        openssl('req', '-x509', *ec, '-days', '2', '-subj', '/CN=authority', '-keyout', at('ca.key'), '-out', self.ca)
        openssl('req', *ec, '-subj', '/CN=server', '-keyout', self.key, '-out', at('wish.pem'))
        with open(at('names'), 'w', encoding='utf-8') as f:
            f.write('subjectAltName=DNS:localhost\n')
        openssl('x509', '-req', '-in', at('wish.pem'), '-CA', self.ca, '-CAkey', at('ca.key'), '-CAcreateserial',
                '-days', '2', '-extfile', at('names'), '-out', self.chain)

    def test_a_trusted_server_is_fetched_from_by_name(self):
        server = Server(self.chain, self.key)
        pages = [f'https://localhost:{server.port}/{name}' for name in 'abc']
        got = fetch('--ca', self.ca, *pages)
        self.assertEqual((got.returncode, got.stderr), (0, ''))
        self.assertEqual(sorted(got.stdout.splitlines()),
                         sorted(f'{p}: {h}' for p in pages for h in ('HTTP/1.0 200 OK', 'Server: /' + p[-1])))
        self.assertEqual(server.names, ['localhost'] * 3)

    def test_whom_nobody_vouches_for_is_told_nothing(self):
        server = Server(self.chain, self.key)
        got = fetch(f'https://localhost:{server.port}/')
        self.assertEqual((got.returncode, got.stdout), (1, ''))
        print(got.stderr, end='')
        self.assertRegex(got.stderr, 'certificate')

    def test_a_certificate_for_another_host_is_refused(self):
        server = Server(self.chain, self.key)
        got = fetch('--ca', self.ca, f'https://127.0.0.1:{server.port}/')
        self.assertEqual((got.returncode, got.stdout), (1, ''))
        print(got.stderr, end='')
        self.assertRegex(got.stderr, 'certificate|host|IP')

    def test_an_end_in_mid_air_is_an_error(self):
        server = Server(self.chain, self.key, cut=True)
        got = fetch('--ca', self.ca, f'https://localhost:{server.port}/')
        print(got.stderr, end='')
        self.assertEqual(got.returncode, 1)
        self.assertEqual(got.stdout, f'https://localhost:{server.port}/: HTTP/1.0 200 OK\n')

    def test_s_server_is_fetched_from(self):
        process = subprocess.Popen(['openssl', 's_server', '-www', '-accept', '127.0.0.1:0', '-cert', self.chain, '-key',
                                    self.key], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        while not (line := process.stdout.readline()).startswith('ACCEPT '):
            self.assertNotEqual(line, '')
        got = fetch('--ca', self.ca, 'https://localhost:' + line.strip().rpartition(':')[2] + '/')
        self.assertEqual((got.returncode, got.stderr), (0, ''))
        self.assertIn(': HTTP/1.0 200 ok\n', got.stdout)

    def test_a_bad_authority_is_named(self):
        for file in ('/nowhere.pem', self.key):
            got = fetch('--ca', file, 'https://localhost:1/')
            self.assertEqual(got.returncode, 1)
            self.assertIn(file, got.stderr)
        self.assertEqual(fetch('--ca', self.ca).returncode, 2)


if __name__ == '__main__':
    PROGRAM = sys.argv.pop()
    sys.stdout.reconfigure(line_buffering=True)
    unittest.main(testRunner=unittest.TextTestRunner(stream=sys.stdout, verbosity=2))
