#!/usr/bin/env python3
"""kv_fuzz_test.py PROGRAM: bad input to kv_server: named ones, and random ones from a seed (COIR_TEST_SEED; as many as
COIR_TEST_SCALE says). Each is an error and the end of its own connection; nothing is left behind."""
import os
import random
import socket
import struct
import sys
import time
import unittest

from kv_client import PATIENCE, Error, Server, encode, until

PROGRAM = ''
SCALE = int(os.environ.get('COIR_TEST_SCALE', '1'))
SEED = int(os.environ.get('COIR_TEST_SEED', '11'))


class Case(unittest.TestCase):
    def serve(self, *arguments, **how):
        server = Server(PROGRAM, *arguments, **how)
        self.addCleanup(server.__exit__)
        return server

    def rest(self, server):
        """Descriptors and fibers once nobody is connected but who asks."""
        with server.client() as c:
            until(lambda: server.info(c)['connected_clients'] == '1')
            return server.descriptors(), server.info(c)['fibers']

    def comes_to_rest(self, server, before):
        """A connection's fiber ends a moment after it is no longer counted."""
        seen = []
        try:
            until(lambda: seen.append(self.rest(server)) or seen[-1] == before)
        except AssertionError:
            self.assertEqual(seen[-1], before)


class BadInputTest(Case):
    def test_each_is_an_error_a_line_and_the_end_of_its_connection(self):
        server = self.serve('--max-request', 100_000, '--request-timeout', 200)
        before = self.rest(server)
        bad = {
            b'*-1\r\n': 'number of words', b'*x\r\n': 'number of words', b'*1048577\r\n': 'number of words',
            b'*99999999999999999999\r\n': 'number of words', b'*\r\n': 'number of words', b'*' + b'1' * 100: 'number of words',
            b'*1\r\n:4\r\n': "does not begin with '$'", b'*1\r\n\r\n': "does not begin with '$'",
            b'*1\r\n$-1\r\n': 'bad length', b'*1\r\n$4x\r\nPING\r\n': 'bad length', b'*1\r\n$9999999999999\r\n': 'too big',
            b'*1\r\n$18446744073709551615\r\n': 'bad length', b'*2\r\n$3\r\nGET\r\n$100001\r\n': 'too big',
            b'*3\r\n$60000\r\n' + b'x' * 60_000 + b'\r\n$60000\r\n': 'too big', b'*1\r\n$4\r\nPINGS\r\n': 'does not end',
            b'*1\r\n$4\r\nPING\n\n': 'does not end', b'x' * 70_000: 'too long', b'GET "a\r\n': 'quoted', b'GET "a"b\r\n': 'quoted',
            b'*2\r\n$3\r\nGET': 'half a request', b'*1\r\n$4\r\nPIN': 'half a request', b'*': 'half a request', b'PING': 'half a request',
        }
        for data, said in bad.items():
            count = len(server.said)
            with server.client() as c:
                c.socket.sendall(encode('SET', 'a', 1) + data)
                self.assertEqual(c.reply(), 'OK', data[:50])
                self.assertEqual(c.reply(), Error('ERR'), data[:50])
                self.assertEqual(c.end(), b'', data[:50])
            until(lambda: len(server.said) == count + 1)
            self.assertIn(said, server.said[-1], data[:50])
        self.comes_to_rest(server, before)
        self.assertEqual((server.stop(), len(server.said)), (0, len(bad)))

    def test_a_slow_request_that_comes_on_is_no_half_one(self):
        server = self.serve('--request-timeout', 2000)
        with server.client() as c:
            for byte in encode('SET', 'a', '12345'):
                c.socket.sendall(bytes([byte]))
                time.sleep(0.1)
            self.assertEqual(c.reply(), 'OK')
            time.sleep(2.5)  # nothing of a request is no half one
            self.assertEqual(c.do('GET', 'a'), b'12345')

    def test_lengths_that_are_announced_cost_nothing(self):
        server = self.serve()
        clients = [server.client() for _ in range(200)]
        for n, c in enumerate(clients):
            c.socket.sendall(b'*1000000\r\n$3\r\nSET\r\n' if n % 2 else b'*3\r\n$3\r\nSET\r\n$1\r\na\r\n$60000000\r\nabc')
        with server.client() as c:
            self.assertEqual(c.do('PING'), 'PONG')
        with open(f'/proc/{server.process.pid}/status', encoding='ascii') as f:
            resident = [int(line.split()[1]) for line in f if line.startswith('VmRSS')][0]
        self.assertLess(resident, 100_000)
        for c in clients:
            c.close()
        self.rest(server)
        self.assertEqual((server.stop(), server.errors()), (0, ''))


class FuzzTest(Case):
    NAMES = '''PING ECHO SELECT GET SET SETNX GETSET APPEND STRLEN INCR DECR INCRBY DECRBY MGET MSET DEL UNLINK EXISTS TYPE EXPIRE
      PEXPIRE EXPIREAT PEXPIREAT TTL PTTL PERSIST KEYS SCAN DBSIZE FLUSHALL LPUSH RPUSH LPOP RPOP LLEN LRANGE BLPOP BRPOP HSET HGET
      HDEL HGETALL HLEN HEXISTS HINCRBY QUIT SUBSCRIBE UNSUBSCRIBE PUBLISH CONFIG COMMAND INFO NOTHING'''.split()
    WORDS = [b'a', b'b', b'c', b'', b'0', b'1', b'-1', b'9223372036854775807', b'-9223372036854775808', b'nan', b'inf', b'1e400',
             b'EX', b'PX', b'NX', b'XX', b'GET', b'COUNT', b'MATCH', b'*', b'[a', b'[^', b'\\', b'?' * 50, b'*a' * 30, b'\0\r\n$', b'x' * 5000]

    def request(self, dice):
        words = [dice.choice(self.NAMES)] + [dice.choice(self.WORDS) for _ in range(dice.choice((0, 1, 1, 2, 2, 3, 4, 5, 9)))]
        if dice.random() < 0.1:
            return b' '.join(w if isinstance(w, bytes) else w.encode() for w in words) + b'\r\n'
        if words[0] in ('BLPOP', 'BRPOP'):
            words[-1] = dice.choice((b'0', b'0.001', b'0.01', b'5'))
        return encode(*words)

    def mutate(self, dice, data):
        data = bytearray(data)
        for _ in range(dice.choice((1, 1, 2, 5, 20))):
            at = dice.randrange(len(data) + 1)
            what = dice.randrange(6)
            if what == 0:
                data[at:at + 1] = bytes([dice.randrange(256)])
            elif what == 1:
                del data[at:at + dice.choice((1, 2, 10, 1000))]
            elif what == 2:
                data[at:at] = dice.choice((b'*', b'$', b'\r\n', b'-1', b'*3\r\n', b'$5\r\n', b'99999999', b'"', b"'", b'\\x'))
            elif what == 3:
                data[at:at] = data[dice.randrange(len(data) + 1):][:50]
            elif what == 4:
                data[at:] = b''
            elif what == 5:
                data[at:at] = dice.randbytes(dice.choice((1, 10, 300)))
        return bytes(data)

    def visit(self, dice, server, open_clients):
        c = server.client()
        c.socket.settimeout(0.02)
        data = b''.join(self.request(dice) for _ in range(dice.choice((1, 3, 30))))
        if dice.random() < 0.7:
            data = self.mutate(dice, data)
        try:
            while data:
                n = dice.choice((1, 10, 1000, 100_000))
                c.socket.sendall(data[:n])
                data = data[n:]
            if dice.random() < 0.5:
                c.socket.recv(100_000)
        except OSError:
            pass
        how = dice.random()
        if how < 0.3:  # a reset
            c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        elif how < 0.5:
            open_clients.append(c)  # goes later
            if len(open_clients) > 30:
                open_clients.pop(dice.randrange(30)).close()
            return
        c.close()

    def test_nothing_is_left_behind_and_everybody_else_is_served(self):
        server = self.serve('--request-timeout', 100, '--max-request', 100_000, '--output-limit', 100_000, workers=2)
        before, dice, good, open_clients = self.rest(server), random.Random(SEED), server.client(), []
        end, visits = time.monotonic() + 3 * SCALE, 0
        while visits < 300 or time.monotonic() < end:
            self.visit(dice, server, open_clients)
            visits += 1
            if visits % 10 == 0:
                self.assertEqual(good.do('ECHO', visits), b'%d' % visits)
        for c in open_clients + [good]:
            c.close()
        self.comes_to_rest(server, before)
        print(f'{visits} visits, {len(server.said)} refused')
        self.assertGreater(len(server.said), 0)
        self.assertEqual(server.stop(), 0)
        for line in server.said:
            self.assertRegex(line, r'^kv_server: (127\.0\.0\.1:\d+|a client that has gone): ')


if __name__ == '__main__':
    PROGRAM = sys.argv.pop(1)
    sys.stdout.reconfigure(line_buffering=True)
    unittest.main(testRunner=unittest.TextTestRunner(stream=sys.stdout, verbosity=2))
