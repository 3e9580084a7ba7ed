#!/usr/bin/env python3
"""kv_server_test.py PROGRAM: the key-value server, spoken to by a client of the test's, by redis-cli and by
redis-benchmark, and compared with redis-server, where these are there."""
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from kv_client import PATIENCE, Client, Error, Server, encode, until

PROGRAM = ''
SCALE = int(os.environ.get('COIR_TEST_SCALE', '1'))
WRONG_TYPE, ERR = Error('WRONGTYPE'), Error('ERR')


class Case(unittest.TestCase):
    def serve(self, *arguments, **how):
        server = Server(PROGRAM, *arguments, **how)
        self.addCleanup(server.__exit__)
        return server

    def client(self, server, **how):
        client = server.client(**how)
        self.addCleanup(client.close)
        return client

    def check(self, client, *dialogue):
        """Pairs of a request, as words in a string, and its reply."""
        for request, expected in dialogue:
            got = client.do(*request.split())
            self.assertEqual(type(got), type(expected), (request, got))
            self.assertEqual(got, expected, request)


class CommandsTest(Case):
    def test_strings(self):
        c = self.client(self.serve())
        self.check(c, ('PING', 'PONG'), ('ping x', b'x'), ('ECHO hello', b'hello'), ('SELECT 0', 'OK'), ('SELECT 1', ERR),
                   ('GET a', None), ('SET a 1', 'OK'), ('get a', b'1'), ('SETNX a 2', 0), ('SETNX b 2', 1),
                   ('SET a 3 NX', None), ('SET a 3 XX', 'OK'), ('SET c 3 XX', None), ('SET a 3 NX XX', ERR),
                   ('SET a 3 EX', ERR), ('SET a 3 EX 0', ERR), ('SET a 3 PX x', ERR), ('SET a 3 EX 9223372036854775807', ERR),
                   ('GETSET a 4', b'3'), ('GETSET d 5', None), ('APPEND a 56', 3), ('STRLEN a', 3), ('STRLEN none', 0),
                   ('INCR a', 457), ('DECR a', 456), ('INCRBY a 10', 466), ('DECRBY a 6', 460), ('INCR new', 1),
                   ('SET s x', 'OK'), ('INCR s', ERR), ('SET m 9223372036854775807', 'OK'), ('INCR m', ERR),
                   ('GET m', b'9223372036854775807'), ('DECRBY m -9223372036854775808', ERR), ('INCRBY m 1.5', ERR),
                   ('MSET x 1 y 2 x 3', 'OK'), ('MSET x', ERR), ('MSET x 1 y', ERR), ('MGET x y none', [b'3', b'2', None]),
                   ('DEL x y none x', 2), ('EXISTS a a none', 2), ('TYPE a', 'string'), ('TYPE none', 'none'))
        blob = bytes(range(256)) * 5000
        self.assertEqual(c.do('SET', blob[:1000], blob), 'OK')
        self.assertEqual(c.do('GET', blob[:1000]), blob)
        self.assertEqual(c.do('SET', b'', b''), 'OK')
        self.assertEqual(c.do('GET', b''), b'')

    def test_lists(self):
        c = self.client(self.serve())
        self.check(c, ('RPUSH l a b c', 3), ('LPUSH l z y', 5), ('LLEN l', 5), ('LRANGE l 0 -1', [b'y', b'z', b'a', b'b', b'c']),
                   ('LRANGE l -2 -1', [b'b', b'c']), ('LRANGE l 3 1', []), ('LRANGE l -100 100', [b'y', b'z', b'a', b'b', b'c']),
                   ('LRANGE none 0 -1', []), ('LRANGE l 0 x', ERR), ('LPOP l', b'y'), ('RPOP l', b'c'), ('LPOP l 2', [b'z', b'a']),
                   ('LPOP l 0', []), ('LPOP l -1', ERR), ('RPOP l 5', [b'b']), ('EXISTS l', 0), ('LPOP l', None),
                   ('LPOP l 2', None), ('LLEN l', 0), ('SET s 1', 'OK'), ('LPUSH s 1', WRONG_TYPE), ('LRANGE s 0 -1', WRONG_TYPE),
                   ('RPUSH l a', 1), ('GET l', WRONG_TYPE), ('INCR l', WRONG_TYPE), ('TYPE l', 'list'), ('SET l 1', 'OK'),
                   ('GET l', b'1'), ('LPUSH l', ERR))

    def test_hashes(self):
        c = self.client(self.serve())
        self.check(c, ('HSET h a 1 b 2', 2), ('HSET h a 3 c 4', 1), ('HGET h a', b'3'), ('HGET h none', None), ('HGET none a', None),
                   ('HLEN h', 3), ('HLEN none', 0), ('HEXISTS h a', 1), ('HEXISTS h z', 0), ('HSET h a', ERR), ('HSET h a 1 b', ERR),
                   ('HINCRBY h a 4', 7), ('HINCRBY h new -1', -1), ('HINCRBY h a x', ERR), ('HDEL h new b zz', 2),
                   ('HDEL h a c', 2), ('EXISTS h', 0), ('HGETALL h', []), ('HSET h f v', 1), ('HGETALL h', [b'f', b'v']),
                   ('HSET h t x', 1), ('HINCRBY h t 1', ERR), ('GET h', WRONG_TYPE), ('LPUSH h x', WRONG_TYPE), ('TYPE h', 'hash'))

    def test_keys_and_the_server(self):
        c = self.client(self.serve())
        names = ['user:%d' % n for n in range(700)] + ['h?llo', 'hallo', 'hello', 'h^llo']
        c.pipeline(*[('SET', n, 1) for n in names])
        self.assertEqual(c.do('DBSIZE'), len(names))

        def keys(pattern):
            return sorted(k.decode() for k in c.do('KEYS', pattern))
        self.assertEqual(keys('*'), sorted(names))
        self.assertEqual(keys('user:1?'), sorted('user:1%d' % n for n in range(10)))
        self.assertEqual(keys('h[ae]llo'), ['hallo', 'hello'])
        self.assertEqual(keys('h[^e]llo'), sorted(['hallo', 'h?llo', 'h^llo']))
        self.assertEqual(keys('h[a-e]llo'), ['hallo', 'hello'])
        self.assertEqual(keys('h\\?llo'), ['h?llo'])
        self.assertEqual(keys('*:*9*9'), sorted(n for n in names if n[5:].count('9') >= 2 and n.endswith('9')))
        self.assertEqual(keys('nothing'), [])
        found, cursor, turns = [], '0', 0
        while cursor != '0' or turns == 0:
            cursor, some = c.do('SCAN', cursor, 'MATCH', 'user:*', 'COUNT', 50)
            cursor, turns = cursor.decode(), turns + 1
            found += [k.decode() for k in some]
        self.assertEqual(sorted(found), sorted(n for n in names if n.startswith('user:')))
        self.assertGreater(turns, 3)
        self.check(c, ('SCAN x', ERR), ('SCAN 0 COUNT 0', ERR), ('SCAN 0 COUNT', ERR), ('SCAN 99999', [b'0', []]),
                   ('CONFIG GET save', [b'save', b'']), ('CONFIG GET none', []), ('CONFIG SET x y', ERR),
                   ('COMMAND DOCS', []), ('PUBLISH nobody x', 0), ('BOGUS', ERR), ('GET', ERR), ('GET a b', ERR),
                   ('FLUSHALL', 'OK'), ('DBSIZE', 0), ('UNSUBSCRIBE', [b'unsubscribe', None, 0]), ('QUIT', 'OK'))
        self.assertEqual(c.end(), b'')

    def test_expiry(self):
        server = self.serve()
        c = self.client(server)
        self.check(c, ('SET a 1 EX 100', 'OK'), ('TTL a', 100), ('SET a 1', 'OK'), ('TTL a', -1), ('TTL none', -2),
                   ('EXPIRE a 50', 1), ('TTL a', 50), ('PERSIST a', 1), ('PERSIST a', 0), ('PTTL a', -1), ('EXPIRE none 5', 0),
                   ('PEXPIRE a 100000', 1), ('APPEND a x', 2), ('TTL a', 100), ('SET a 2 KEEPTTL', 'OK'), ('TTL a', 100),
                   ('GETSET a 3', b'2'), ('TTL a', -1), ('EXPIRE a -1', 1), ('EXISTS a', 0), ('EXPIRE a x', ERR),
                   ('RPUSH l a', 1), ('PEXPIRE l 1', 1), ('HSET h f v', 1), ('PEXPIREAT h 1', 1), ('HLEN h', 0))
        c.do('SET', 'late', 1, 'PX', 30)
        until(lambda: c.do('GET', 'late') is None)  # whoever asks
        c.pipeline(*[('SET', f'k{n}', n, 'PX', 1 + n % 50) for n in range(3000)])
        until(lambda: c.do('DBSIZE') == 0)  # nobody asks
        self.assertGreaterEqual(int(server.info()['expired_keys']), 3000)

    def test_many_requests_in_any_pieces(self):
        c = self.client(self.serve())
        got = c.pipeline(*[('INCR', 'n') for _ in range(5000)], *[('GET', 'n') for _ in range(5000)])
        self.assertEqual(got, list(range(1, 5001)) + [b'5000'] * 5000)
        dice = random.Random(3)
        stream = b''.join(encode('APPEND', 'a', 'x' * dice.randrange(200)) for _ in range(300)) + b'PING\r\n'
        while stream:
            n = dice.choice((1, 2, 3, 7, 100, 1000))
            c.socket.sendall(stream[:n])
            stream = stream[n:]
        replies = [c.reply() for _ in range(301)]
        self.assertEqual(replies[300], 'PONG')
        self.assertEqual(len(c.do('GET', 'a')), replies[299])

    def test_inline_requests(self):
        c = self.client(self.serve())
        c.socket.sendall(b'SET a "two words\\x21\\n"\r\n\r\n   GET   a  \nset b \'it\\\'s\'\r\nGET b\r\n')
        self.assertEqual([c.reply() for _ in range(4)], ['OK', b'two words!\n', 'OK', b"it's"])

    def test_a_big_pipeline_whose_replies_are_not_read_does_not_grow_in_the_server(self):
        server = self.serve(workers=1)
        c, other = self.client(server, receive_buffer=4096), self.client(server)
        c.do('SET', 'big', 'x' * 100_000)
        asked, sent = 20_000, encode('GET', 'big') * 20_000
        sender = threading.Thread(target=c.socket.sendall, args=(sent,))
        sender.start()
        for _ in range(200):
            self.assertEqual(other.do('PING'), 'PONG')
        with open(f'/proc/{server.process.pid}/status', encoding='ascii') as f:
            resident = [int(line.split()[1]) for line in f if line.startswith('VmRSS')][0]
        self.assertLess(resident, 200_000)  # KiB; of 2 GB asked for
        for _ in range(asked // 100):
            self.assertEqual(len(c.reply()), 100_000)
        c.socket.shutdown(socket.SHUT_RDWR)
        sender.join()

    def test_more_clients_than_allowed_are_told_so(self):
        server = self.serve('--max-clients', 2)
        a, b = self.client(server), self.client(server)
        self.assertEqual((a.do('PING'), b.do('PING')), ('PONG', 'PONG'))
        c = self.client(server)
        self.assertEqual(c.reply(), ERR)
        self.assertEqual(c.end(), b'')
        b.close()

        def served():
            with server.client() as d:
                try:
                    return d.do('PING') == 'PONG'
                except (OSError, EOFError):
                    return False
        until(served)
        self.assertEqual(a.do('PING'), 'PONG')

    def test_arguments_that_are_bad_are_named(self):
        for arguments, said in ((['--listen'], 'takes a value'), (['--port', '1'], 'no option --port'),
                                (['--appendfsync', 'soon'], '"soon"'), (['--workers', '0'], '"0"'),
                                (['--listen', 'nowhere'], '"nowhere"')):
            ended = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual((ended.returncode, ended.stdout), (2, ''))
            self.assertIn(said, ended.stderr)
            self.assertIn('usage', ended.stderr)

    def test_a_stop_is_orderly(self):
        server = self.serve()
        clients = [self.client(server) for _ in range(20)]
        for c in clients[:5]:
            c.send('BLPOP', 'nothing', 0)
        clients[5].do('SUBSCRIBE', 'x')
        clients[6].socket.sendall(b'*2\r\n$3\r\nGET')
        for c in clients[7:]:
            self.assertEqual(c.do('PING'), 'PONG')
        self.assertEqual((server.stop(), server.errors()), (0, ''))
        for c in clients:
            self.assertEqual(c.end(), b'')


class TogetherTest(Case):
    """Many clients at once, at several numbers of workers."""

    def test_counts_are_exact_and_sets_of_keys_are_seen_whole(self):
        for workers in (1, 2, 4, 8):
            with self.subTest(workers=workers), Server(PROGRAM, workers=workers) as server:
                stop, torn = threading.Event(), []

                def watch():
                    with server.client() as c:
                        while not stop.is_set():
                            seen = c.do('MGET', *[f'm{n}' for n in range(10)])
                            if len(set(seen)) != 1:
                                torn.append(seen)
                watcher = threading.Thread(target=watch)
                watcher.start()

                def count(number):
                    with server.client() as c:
                        for turn in range(30):
                            c.pipeline(*[('INCR', 'n'), ('HINCRBY', 'h', 'f', 2), ('RPUSH', 'l', number)] * 10,
                                       ('MSET', *[w for n in range(10) for w in (f'm{n}', f'{number} {turn}')]))
                threads = [threading.Thread(target=count, args=(n,)) for n in range(8)]
                for t in threads:
                    t.start()
                for t in threads:
                    t.join()
                stop.set()
                watcher.join()
                self.assertEqual(torn, [])
                with server.client() as c:
                    self.assertEqual((c.do('GET', 'n'), c.do('HGET', 'h', 'f'), c.do('LLEN', 'l')), (b'2400', b'4800', 2400))

    def test_waiting_clients_get_each_item_once(self):
        for workers in (1, 4):
            with self.subTest(workers=workers), Server(PROGRAM, workers=workers) as server:
                got, lock = [], threading.Lock()

                def take():
                    mine = []
                    with server.client() as c:
                        while True:
                            key, item = c.do('BLPOP', 'q1', 'q2', 'q3', 0)
                            if item == b'end':
                                break
                            mine.append((key, item))
                    with lock:
                        got.extend(mine)

                def give(queue):
                    with server.client() as c:
                        for n in range(400):
                            c.do('RPUSH' if n % 2 else 'LPUSH', queue, n)
                takers = [threading.Thread(target=take) for _ in range(6)]
                givers = [threading.Thread(target=give, args=(q,)) for q in ('q1', 'q2', 'q3')]
                for t in takers + givers:
                    t.start()
                for t in givers:
                    t.join()
                with server.client() as c:
                    until(lambda: c.do('EXISTS', 'q1', 'q2', 'q3') == 0)
                    c.do('RPUSH', 'q1', *['end'] * 6)
                    for t in takers:
                        t.join()
                    self.assertEqual(c.do('DBSIZE'), 0)
                self.assertEqual(sorted(got), sorted((q.encode(), b'%d' % n) for q in ('q1', 'q2', 'q3') for n in range(400)))


class WaitingTest(Case):
    def test_those_who_wait_are_served_in_their_order(self):
        server = self.serve()
        c = self.client(server)
        waiting = []
        for n in range(5):
            w = self.client(server)
            w.send('BRPOP' if n == 4 else 'BLPOP', 'other', 'q', 0)
            waiting.append(w)
            until(lambda n=n: self.blocked(server, n + 1))
        self.assertEqual(c.do('RPUSH', 'q', 'a', 'b', 'c', 'd', 'e', 'f'), 6)
        self.assertEqual([w.reply() for w in waiting],
                         [[b'q', b'a'], [b'q', b'b'], [b'q', b'c'], [b'q', b'd'], [b'q', b'f']])
        self.assertEqual(c.do('LRANGE', 'q', 0, -1), [b'e'])

    def blocked(self, server, count):
        return int(server.info()['blocked_clients']) == count

    def test_a_wait_ends_in_time(self):
        c = self.client(self.serve())
        start = time.monotonic()
        self.assertEqual(c.do('BLPOP', 'q', 0.05), None)
        self.assertGreaterEqual(time.monotonic() - start, 0.05)
        self.check(c, ('BLPOP q -1', ERR), ('BLPOP q x', ERR), ('BLPOP q nan', ERR), ('SET s 1', 'OK'), ('BLPOP s 1', WRONG_TYPE))
        self.assertEqual(c.pipeline(('RPUSH', 'q', 1), ('BLPOP', 'q', 0), ('PING',)), [1, [b'q', b'1'], 'PONG'])

    def test_what_follows_in_the_pipeline_waits_too(self):
        server = self.serve()
        c, other = self.client(server), self.client(server)
        c.socket.sendall(encode('SET', 'before', 1) + encode('BLPOP', 'q', 0) + encode('GET', 'q2') + b'PING\r\n')
        self.assertEqual(c.reply(), 'OK')
        until(lambda: self.blocked(server, 1))
        c.socket.sendall(encode('ECHO', 'x' * 100_000))
        self.assertEqual(other.pipeline(('SET', 'q2', 5), ('RPUSH', 'q', 1)), ['OK', 1])
        self.assertEqual([c.reply() for _ in range(4)], [[b'q', b'1'], b'5', 'PONG', b'x' * 100_000])

    def test_a_client_that_has_gone_takes_no_item(self):
        server = self.serve()
        c = self.client(server)
        for _ in range(20):
            gone = server.client()
            gone.send('BLPOP', 'q', 'q', 0)
            until(lambda: self.blocked(server, 1))
            gone.close()
            until(lambda: self.blocked(server, 0))
            self.assertEqual(c.pipeline(('RPUSH', 'q', 'x'), ('LPOP', 'q')), [1, b'x'])


class ChannelsTest(Case):
    def test_messages_reach_all_who_listen(self):
        server = self.serve()
        a, b, c = (self.client(server) for _ in range(3))
        self.assertEqual([a.do('SUBSCRIBE', 'x', 'y'), a.reply()], [[b'subscribe', b'x', 1], [b'subscribe', b'y', 2]])
        self.assertEqual(b.do('SUBSCRIBE', 'x', 'x')[2], 1)
        self.assertEqual(b.reply()[2], 1)
        self.assertEqual([c.do('PUBLISH', 'x', 'hello'), c.do('PUBLISH', 'y', 'you'), c.do('PUBLISH', 'z', '-')], [2, 1, 0])
        self.assertEqual([a.reply(), a.reply()], [[b'message', b'x', b'hello'], [b'message', b'y', b'you']])
        self.assertEqual(b.reply(), [b'message', b'x', b'hello'])
        self.assertEqual([a.do('PING'), a.do('PING', 'p'), a.do('GET', 'k')], [[b'pong', b''], [b'pong', b'p'], ERR])
        self.assertEqual(a.do('UNSUBSCRIBE', 'x'), [b'unsubscribe', b'x', 1])
        self.assertEqual(c.do('PUBLISH', 'x', 'hello'), 1)
        self.assertEqual(a.do('UNSUBSCRIBE'), [b'unsubscribe', b'y', 0])
        self.assertEqual(a.pipeline(('SET', 'k', 1), ('GET', 'k'), ('PING',)), ['OK', b'1', 'PONG'])
        b.reply()
        b.send('QUIT')
        self.assertEqual((b.reply(), b.end()), ('OK', b''))
        until(lambda: c.do('PUBLISH', 'x', 'hello') == 0)

    def test_one_that_does_not_read_is_cut_off_and_the_others_get_all(self):
        server = self.serve('--output-limit', 1_000_000)
        slow, good, c = self.client(server, receive_buffer=4096), self.client(server), self.client(server)
        slow.do('SUBSCRIBE', 'x')
        good.do('SUBSCRIBE', 'x')
        text, sent, reached = 'x' * 10_000, 0, 2
        while reached == 2:
            reached = c.do('PUBLISH', 'x', text)
            self.assertEqual(len(good.reply()[2]), 10_000)
            sent += 1
        self.assertEqual(reached, 1)
        until(lambda: 'a subscriber that does not read is cut off' in server.errors())
        self.assertGreater(sent, 100)
        try:
            taken = len(slow.end())
        except ConnectionError:
            taken = 0
        self.assertLess(taken, sent * 10_000)
        self.assertEqual(c.do('PUBLISH', 'x', 'last'), 1)
        self.assertEqual(good.reply()[2], b'last')

    def test_messages_of_many_come_in_the_order_of_each(self):
        server = self.serve(workers=4)
        listeners = [self.client(server) for _ in range(3)]
        for listener in listeners:
            listener.do('SUBSCRIBE', 'x')

        def talk(number):
            with server.client() as c:
                for batch in range(0, 500, 25):
                    c.pipeline(*[('PUBLISH', 'x', f'{number} {n}') for n in range(batch, batch + 25)])
        talkers = [threading.Thread(target=talk, args=(n,)) for n in range(4)]
        for t in talkers:
            t.start()
        for listener in listeners:
            last = {}
            for _ in range(2000):
                who, n = listener.reply()[2].split()
                self.assertEqual(int(n), last.get(who, -1) + 1)
                last[who] = int(n)
        for t in talkers:
            t.join()


class ToolsTest(Case):
    @unittest.skipUnless(shutil.which('redis-cli'), 'there is no redis-cli')
    def test_redis_cli_understands_it(self):
        server = self.serve()

        def cli(*words, **how):
            return subprocess.run(['redis-cli', '-p', str(server.port), *words], capture_output=True, text=True,
                                  timeout=PATIENCE, **how).stdout
        self.assertEqual(cli('SET', 'a', 'b c'), 'OK\n')
        self.assertEqual(cli('GET', 'a'), 'b c\n')
        self.assertEqual(cli('--no-raw', 'RPUSH', 'l', '1', '2'), '(integer) 2\n')
        self.assertEqual(cli('--no-raw', 'LRANGE', 'l', '0', '-1'), '1) "1"\n2) "2"\n')
        self.assertEqual(cli(input='SET x 1\nINCR x\nGET nothing\n'), 'OK\n2\n\n')
        self.assertIn('WRONGTYPE', cli('GET', 'l'))
        self.assertIn('errors: 0, replies: 1000', cli('--pipe', input=''.join(f'SET k{n} {n}\r\n' for n in range(1000))))
        self.assertEqual(len(cli('--scan', '--pattern', 'k*').split()), 1000)
        self.assertIn('Sampled 1003 keys', cli('--bigkeys'))

    @unittest.skipUnless(shutil.which('redis-benchmark'), 'there is no redis-benchmark')
    def test_redis_benchmark_runs_on_it(self):
        server = self.serve()
        ran = subprocess.run(['redis-benchmark', '-p', str(server.port), '-n', '2000', '-P', '4', '-r', '100', '--csv', '-t',
                              'ping,set,get,incr,lpush,rpush,lpop,rpop,hset,lrange_100,mset'],
                             capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        rows = [line.split(',') for line in ran.stdout.splitlines() if line.startswith('"') and 'test' not in line]
        self.assertGreaterEqual(len(rows), 11, ran.stdout)
        self.assertNotIn('rror', ran.stderr)


@unittest.skipUnless(shutil.which('redis-server'), 'there is no redis-server')
class ComparisonTest(Case):
    """The same requests to kv_server and to redis-server: the same replies."""

    def start_redis(self):
        folder = tempfile.TemporaryDirectory(prefix='coir-')
        self.addCleanup(folder.cleanup)
        for _ in range(20):
            with socket.create_server(('127.0.0.1', 0)) as s:
                port = s.getsockname()[1]
            redis = subprocess.Popen(['redis-server', '--port', str(port), '--save', '', '--dir', folder.name],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

            def ready():
                if redis.poll() is not None:
                    return True
                try:
                    Client(port).close()
                    return True
                except OSError:
                    return False
            until(ready)
            if redis.poll() is None:
                self.addCleanup(lambda: (redis.kill(), redis.wait()))
                return port
        raise AssertionError('redis-server does not start')

    KEYS = ['a', 'b', 'c', 'list', 'hash', '']
    TEXTS = ['', '0', '1', '-5', '9223372036854775807', 'text', '3.5', ' 1', '+1', '01', 'x' * 300]
    SHAPES = '''GET k|SET k t|SET k t NX|SET k t XX|SET k t EX n|SET k t KEEPTTL|SET k t PX x|SETNX k t|GETSET k t|APPEND k t|STRLEN k
      INCR k|DECR k|INCRBY k t|DECRBY k t|DEL k|DEL k k|EXISTS k k|TYPE k|EXPIRE k n|TTL k|PERSIST k|MGET k k k|MSET k t k t
      LPUSH k t|RPUSH k t t|LPOP k|RPOP k|LPOP k t|RPOP k n|LLEN k|LRANGE k t t|LRANGE k 0 -1|LRANGE k -3 n|BLPOP k k 0.001|BRPOP k 0.001
      HSET k t t|HSET k t t t t|HGET k t|HDEL k t t|HLEN k|HEXISTS k t|HINCRBY k t t|PING|PING t|ECHO t|DBSIZE|GET|SET k|MSET k|HSET k t
      EXPIRE k -1|SELECT 0|PUBLISH k t|BOGUS k|FLUSHALL|LRANGE k x y|SET k t EX 0|SET k t PX -1|SET k t XX NX|EXPIRE k t'''

    def request(self, dice):
        shape = dice.choice([s.strip() for line in self.SHAPES.splitlines() for s in line.split('|')])
        if shape == 'FLUSHALL' and dice.random() < 0.9:
            shape = 'DBSIZE'
        pick = {'k': lambda: dice.choice(self.KEYS), 't': lambda: dice.choice(self.TEXTS), 'n': lambda: str(dice.randrange(10_000, 20_000))}
        return [pick[w]() if w in pick else w for w in shape.split()]

    def test_random_requests(self):
        ours, theirs = self.client(self.serve()), Client(self.start_redis())
        self.addCleanup(theirs.close)
        seed = int(os.environ.get('COIR_TEST_SEED', '5'))
        dice, done = random.Random(seed), 0
        for _ in range(150 * SCALE):
            batch = [self.request(dice) for _ in range(100)]
            for request, a, b in zip(batch, ours.pipeline(*batch), theirs.pipeline(*batch)):
                if request[0] == 'TTL' and isinstance(b, int) and b > 0:
                    self.assertAlmostEqual(a, b, delta=500, msg=request)
                else:
                    self.assertEqual(type(a), type(b), (request, a, b))
                    self.assertEqual(a, b, request)
                done += 1
        print(f'{done} requests, replied to as by redis-server')


if __name__ == '__main__':
    PROGRAM = sys.argv.pop(1)
    sys.stdout.reconfigure(line_buffering=True)
    unittest.main(testRunner=unittest.TextTestRunner(stream=sys.stdout, verbosity=2))
