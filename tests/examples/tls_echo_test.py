#!/usr/bin/env python3
"""tls_echo_test.py PROGRAM: the TLS echo server as its users run it, and Python's TLS as its client."""
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import unittest

PROGRAM = ''
PATIENCE = 40  # seconds until what never comes is called missing


class TlsEcho(unittest.TestCase):
    def setUp(self):
        if not shutil.which('openssl'):
            self.skipTest('no openssl command, so no certificate')
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.chain, self.key = (os.path.join(folder.name, name) for name in ('chain.pem', 'key.pem'))
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
                        '-days', '2', '-subj', '/CN=coir', '-addext', 'subjectAltName=DNS:localhost',
                        '-keyout', self.key, '-out', self.chain], check=True, capture_output=True)
        self.server = subprocess.Popen([PROGRAM, '127.0.0.1:0', self.chain, self.key], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.server.communicate)
        self.addCleanup(self.server.kill)
        line = self.server.stdout.readline()
        found = re.fullmatch(r'tls_echo: 127\.0\.0\.1:(\d+)\n', line)
        self.assertTrue(found, line)
        self.port = int(found.group(1))

    def connect(self):
        context = ssl.create_default_context(cafile=self.chain)
        plain = socket.create_connection(('127.0.0.1', self.port), timeout=PATIENCE)
        return context.wrap_socket(plain, server_hostname='localhost', suppress_ragged_eofs=False)

    def test_it_echoes_to_several_at_once_and_ends_cleanly(self):
        data = os.urandom(1 << 20)
        stalled = socket.create_connection(('127.0.0.1', self.port))  # keeps nobody else waiting
        peers = [self.connect() for _ in range(5)]
        for peer in peers:
            for at in range(0, len(data), 65536):  # by turns: OpenSSL's connections are not for two threads at once
                sent = data[at:at + 65536]
                peer.sendall(sent)
                got = b''
                while len(got) < len(sent):
                    part = peer.recv(65536)
                    self.assertTrue(part)
                    got += part
                self.assertTrue(got == sent)
            plain = peer.unwrap()  # both close_notify
            plain.close()
        stalled.close()
        self.server.send_signal(signal.SIGTERM)
        self.assertEqual(self.server.wait(PATIENCE), 0)

    def test_a_client_that_does_not_trust_it_is_turned_away_alone(self):
        plain = socket.create_connection(('127.0.0.1', self.port), timeout=PATIENCE)
        with self.assertRaises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(plain, server_hostname='localhost')
        with self.connect() as peer:
            peer.sendall(b'hello')
            self.assertEqual(peer.recv(5), b'hello')

    def test_bad_files_are_named(self):
        for chain, key, said in [('/nowhere.pem', self.key, '"/nowhere.pem": No such file'),
                                 (self.key, self.key, 'no PEM certificate'),
                                 (self.chain, self.chain, 'no PEM private key')]:
            got = subprocess.run([PROGRAM, '127.0.0.1:0', chain, key], capture_output=True, text=True, timeout=PATIENCE)
            print(got.stderr, end='')
            self.assertEqual(got.returncode, 1)
            self.assertIn(said, got.stderr)


if __name__ == '__main__':
    PROGRAM = sys.argv.pop()
    sys.stdout.reconfigure(line_buffering=True)
    unittest.main(testRunner=unittest.TextTestRunner(stream=sys.stdout, verbosity=2))
