#!/usr/bin/env python3
"""udp_echo_test.py PROGRAM: runs udp_echo with real clients, and looks at what these see."""
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

PROGRAM = ''
PATIENCE = 40  # seconds until what never comes is called missing


class Running:
    """udp_echo, listening; `address` is what it says."""

    def __init__(self, listen='127.0.0.1:0'):
        self.process = subprocess.Popen([PROGRAM, '--listen', listen], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True)
        line = self.process.stdout.readline()
        if not line.startswith('udp_echo: '):
            self.process.kill()
            raise AssertionError(f'it said {line!r} and {self.process.stderr.read()!r}')
        self.address = line.split()[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def client(self, family=socket.AF_INET):
        peer = socket.socket(family, socket.SOCK_DGRAM)
        peer.settimeout(PATIENCE)
        if family == socket.AF_UNIX:
            peer.bind('')  # a name of the kernel's choice
            peer.connect(self.address[len('unix:'):])
        else:
            host, _, port = self.address.rpartition(':')
            peer.connect((host.strip('[]'), int(port)))
        return peer

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


class UdpEchoTest(unittest.TestCase):
    def peers(self, server, family=socket.AF_INET):
        return [server.client(family) for _ in range(5)]

    def exchange(self, peers):
        for data in (b'x', b'', os.urandom(1400)):
            for number, peer in enumerate(peers):
                peer.send(data + str(number).encode())
            for number, peer in enumerate(peers):
                self.assertEqual(peer.recv(70000), data + str(number).encode())
        longest = os.urandom(65507)  # one at a time: a full buffer drops what comes
        for peer in peers:
            peer.send(longest)
            self.assertTrue(peer.recv(70000) == longest)
        peers[0].send(b'')
        self.assertEqual(peers[0].recv(10), b'')
        for peer in peers:
            peer.close()

    def test_it_says_where_it_listens_and_echoes_there(self):
        for how in (signal.SIGTERM, signal.SIGINT):
            with Running() as server:
                self.exchange(self.peers(server))
                self.assertEqual(server.end(how), (0, 'udp_echo: stopped\n', ''))

    def test_other_families_echo_too(self):
        if socket.has_ipv6:
            with Running('[::1]:0') as server:
                self.exchange(self.peers(server, socket.AF_INET6))
        with tempfile.TemporaryDirectory() as folder:
            path = folder + '/echo.sock'
            with Running('unix:' + path) as server:
                self.exchange(self.peers(server, socket.AF_UNIX))
                nameless = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                nameless.sendto(b'nobody can answer this', path)
                nameless.close()
                gone = server.client(socket.AF_UNIX)
                gone.send(b'nor this')
                gone.close()
                self.exchange(self.peers(server, socket.AF_UNIX))
                self.assertEqual(server.end(), (0, 'udp_echo: stopped\n', ''))
            self.assertEqual(os.listdir(folder), [], 'the socket file is left')

    def test_netcat_and_socat_understand_it(self):
        with Running() as server:
            host, port = server.address.split(':')
            ran = 0
            for tool in (['nc', '-u', host, port], ['socat', '-', f'UDP:{server.address}']):
                if not shutil.which(tool[0]):
                    continue
                client = subprocess.Popen(tool, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                for line in (b'hello\n', b'world\n'):
                    client.stdin.write(line)
                    client.stdin.flush()
                    self.assertEqual(client.stdout.readline(), line, tool)
                client.kill()
                client.communicate()
                ran += 1
            print(f'{ran} tools spoke to it')

    def test_a_client_that_goes_before_its_answer_harms_nobody(self):
        with Running() as server:
            peers = self.peers(server)  # before the others, so that none of these has the port of one that has gone
            for _ in range(100):
                with server.client() as peer:
                    peer.send(b'no answer is awaited')
            self.exchange(peers)

    def test_bad_input_is_named(self):
        for said, status, arguments in (('--listen takes a value', 2, ['--listen']),
                                        ('"nowhere" is no endpoint', 2, ['--listen', 'nowhere']),
                                        ('Cannot assign requested address', 1, ['--listen', '192.0.2.1:0'])):
            ended = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual((ended.returncode, ended.stdout), (status, ''))
            self.assertIn(said, ended.stderr)


if __name__ == '__main__':
    PROGRAM = sys.argv.pop()
    sys.stdout.reconfigure(line_buffering=True)
    unittest.main(testRunner=unittest.TextTestRunner(stream=sys.stdout, verbosity=2))
