#!/usr/bin/env python3
"""kv_log_test.py PROGRAM: kv_server's append-only file: what it acknowledged is there after a SIGKILL, a full disk and a
torn file."""
import os
import random
import resource
import shutil
import signal
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
MISCONF = Error('MISCONF')


class Case(unittest.TestCase):
    def setUp(self):
        made = tempfile.TemporaryDirectory(prefix='coir-')
        self.addCleanup(made.cleanup)
        self.folder = made.name
        self.path = self.folder + '/appendonly.aof'

    def serve(self, policy='always', **how):
        server = Server(PROGRAM, '--dir', self.folder, '--appendfsync', policy, **how)
        self.addCleanup(server.__exit__)
        return server

    def refused(self):
        """What it says instead of starting."""
        server = Server(PROGRAM, '--dir', self.folder, fails=True)
        self.assertEqual(server.process.returncode, 1)
        return server.errors()


def contents(client):
    found = {}
    for key in client.do('KEYS', '*'):
        kind = client.do('TYPE', key)
        read = {'string': ('GET', key), 'list': ('LRANGE', key, 0, -1), 'hash': ('HGETALL', key)}[kind]
        value = client.do(*read)
        found[key] = (kind, sorted(zip(value[::2], value[1::2])) if kind == 'hash' else value, client.do('TTL', key) > 0)
    return found


def change_everything(client, dice, count):
    keys = [f'{kind}{n}' for kind in 'slh' for n in range(8)]
    for turn in range(count):
        k, text = dice.choice(keys), str(dice.randrange(-5, 1000)) * dice.choice((1, 1, 1, 40))
        requests = {
            's': [('SET', k, text), ('SET', k, text, 'EX', 1000), ('SETNX', k, text), ('SET', k, text, 'NX', 'PX', 100_000),
                  ('GETSET', k, text), ('APPEND', k, text), ('INCRBY', k, 5), ('DECR', k), ('PERSIST', k), ('EXPIRE', k, 500),
                  ('MSET', k, 1, 's0', 2), ('SET', k, text, 'KEEPTTL'), ('SET', k, 1, 'XX'), ('SET', k, 1, 'PX', 1)],
            'l': [('RPUSH', k, text, 'x'), ('LPUSH', k, text), ('LPOP', k), ('RPOP', k, 2), ('BLPOP', k, 'l0', 0.001), ('EXPIRE', k, 500)],
            'h': [('HSET', k, text[:2], text), ('HSET', k, 'a', 1, 'b', text), ('HDEL', k, 'a', text[:2]), ('HINCRBY', k, 'c', 7)],
        }
        client.do(*dice.choice(requests[k[0]] + [('DEL', k, 's1'), ('PEXPIRE', k, 3), ('EXPIRE', k, -1)]))
        if turn == count // 3:
            client.do('FLUSHALL')


class ReplayTest(Case):
    def test_everything_is_there_again(self):
        for policy in ('always', 'everysec', 'no'):
            dice, before = random.Random(7), None
            for turn in range(4):
                with self.subTest(policy=policy, turn=turn):
                    server = self.serve(policy)
                    with server.client() as c:
                        if before is not None:
                            self.assertEqual(contents(c), before)
                        change_everything(c, dice, 700)
                        time.sleep(0.02)  # what lives for 3 ms is gone, whichever way
                        before = contents(c)
                        self.assertGreater(len(before), 3)
                    self.assertEqual((server.stop(), server.errors()), (0, ''))
            os.unlink(self.path)

    @unittest.skipUnless(shutil.which('redis-server'), 'there is no redis-server')
    def test_redis_reads_the_file(self):
        server = self.serve()
        with server.client() as c:
            change_everything(c, random.Random(9), 700)
            time.sleep(0.02)
            expected = contents(c)
        server.stop()
        at = self.folder + '/redis.sock'
        with open(self.folder + '/log', 'w', encoding='utf-8') as log:
            redis = subprocess.Popen(['redis-server', '--port', '0', '--unixsocket', at, '--save', '', '--appendonly', 'yes',
                                      '--dir', self.folder], stdout=log, stderr=log)
        self.addCleanup(lambda: (redis.kill(), redis.wait()))

        def ask(*words):
            return subprocess.run(['redis-cli', '-s', at, *words], capture_output=True, text=True, timeout=PATIENCE).stdout
        until(lambda: redis.poll() is not None or ask('PING') == 'PONG\n')
        self.assertEqual(int(ask('DBSIZE') or -1), len(expected))
        for key, (kind, value, expires) in expected.items():
            name = key.decode()
            if kind == 'string':
                self.assertEqual(ask('GET', name), value.decode() + '\n')
            elif kind == 'list':
                self.assertEqual(ask('LRANGE', name, '0', '-1').split('\n')[:-1], [i.decode() for i in value])
            else:
                lines = ask('HGETALL', name).split('\n')[:-1]
                self.assertEqual(sorted(zip(lines[::2], lines[1::2])), [(a.decode(), b.decode()) for a, b in value])
            self.assertEqual(int(ask('TTL', name)) > 0, expires)

    def test_a_key_that_expired_does_not_come_back_nor_touch_its_successor(self):
        server = self.serve()
        with server.client() as c:
            c.do('SET', 'a', 'old', 'PX', 20)
            until(lambda: c.do('GET', 'a') is None)
            c.do('APPEND', 'a', 'new')
            c.do('SET', 'b', '1', 'EX', 1000)
            c.do('APPEND', 'b', '2')
            c.do('SET', 'soon', '1', 'PX', 200)
        server.kill()
        time.sleep(0.25)
        server = self.serve()
        with server.client() as c:
            self.assertEqual(c.do('MGET', 'a', 'b', 'soon'), [b'new', b'12', None])
            self.assertEqual(c.do('TTL', 'a'), -1)
            self.assertGreater(c.do('TTL', 'b'), 900)

    def test_one_process_at_a_time(self):
        self.serve()
        self.assertIn('another process has it open', self.refused())


class KillTest(Case):
    def load(self, port, name, acknowledged, stop):
        """Numbers under a key, a list and a hash, in batches; the last one whose replies came."""
        dice = random.Random(name)
        try:
            with Client(port) as c:
                n = 0
                while not stop.is_set():
                    batch = []
                    for _ in range(dice.choice((1, 1, 5, 20))):
                        n += 1
                        batch += [('SET', f'{name}:{n}', n), ('RPUSH', f'{name}:list', n), ('HSET', f'{name}:hash', n, n)]
                    replies = c.pipeline(*batch)
                    assert not any(isinstance(r, Error) for r in replies), replies
                    acknowledged[name] = n
        except (OSError, EOFError):
            pass

    def kill_under_load(self, policy, workers, round_):
        server = self.serve(policy, workers=workers)
        acknowledged, stop = {}, threading.Event()
        names = [f'{round_}-{n}' for n in range(6)]
        threads = [threading.Thread(target=self.load, args=(server.port, n, acknowledged, stop)) for n in names]
        for t in threads:
            t.start()
        until(lambda: len(acknowledged) == len(names))
        time.sleep(random.Random(round_).random() * 0.3)
        server.kill()
        stop.set()
        for t in threads:
            t.join()
        return acknowledged

    def test_nothing_that_was_acknowledged_is_lost(self):
        everything, torn = {}, 0
        for round_ in range(6 * SCALE):
            everything.update(self.kill_under_load('always', (1, 2, 4)[round_ % 3], round_))
            server = self.serve()
            torn += 'cut off' in server.errors()
            with server.client() as c:
                for name, count in everything.items():
                    self.assertEqual(c.pipeline(*[('GET', f'{name}:{n}') for n in range(1, count + 1)]),
                                     [b'%d' % n for n in range(1, count + 1)], name)
                    items = c.do('LRANGE', f'{name}:list', 0, -1)
                    self.assertEqual(items, [b'%d' % n for n in range(1, len(items) + 1)])
                    self.assertGreaterEqual(len(items), count)
                    self.assertGreaterEqual(c.do('HLEN', f'{name}:hash'), count)
            server.kill()
        print(f'{6 * SCALE} kills, {sum(everything.values()) * 3} changes acknowledged and found again, {torn} torn ends')

    def test_with_everysec_at_most_the_last_moments_are_lost(self):
        for round_ in range(2):
            acknowledged = self.kill_under_load('everysec', 2, round_)
            server = self.serve('everysec')
            with server.client() as c:
                for name in acknowledged:
                    items = c.do('LRANGE', f'{name}:list', 0, -1)
                    self.assertEqual(items, [b'%d' % n for n in range(1, len(items) + 1)])
            server.kill()

    def test_each_reply_has_had_its_sync_and_one_sync_serves_many(self):
        server = self.serve(workers=1)
        with server.client() as c:
            for n in range(50):
                c.do('SET', n, n)
        self.assertGreaterEqual(int(server.info()['aof_fsyncs']), 50)
        before = int(server.info()['aof_fsyncs'])

        def write(name):
            with server.client() as c:
                for n in range(40):
                    c.do('SET', name, n)
        threads = [threading.Thread(target=write, args=(n,)) for n in range(20)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        syncs = int(server.info()['aof_fsyncs']) - before
        print(f'{syncs} syncs for 800 changes by 20 clients')
        self.assertLess(syncs, 600)
        self.assertGreaterEqual(syncs, 40)


class DamageTest(Case):
    def fill(self):
        server = self.serve()
        with server.client() as c:
            for n in range(30):
                c.do('SET', f'k{n}', 'v' * n)
        server.stop()
        with open(self.path, 'rb') as f:
            return f.read()

    def write(self, data):
        with open(self.path, 'wb') as f:
            f.write(data)

    def test_a_torn_end_is_cut_off_wherever_it_is_torn(self):
        whole = self.fill()
        last = whole.rindex(b'#kv ')
        for size in [last, *range(last + 1, len(whole), 7), len(whole) - 1]:
            self.write(whole[:size])
            server = self.serve()
            with server.client() as c:
                self.assertEqual((c.do('DBSIZE'), c.do('SET', 'after', 1)), (29, 'OK'))
            server.stop()
            self.assertEqual('cut off' in server.errors(), size > last, (size, server.errors()))
            server = self.serve()
            with server.client() as c:
                self.assertEqual((c.do('DBSIZE'), c.do('GET', 'after')), (30, b'1'))
            server.stop()
            self.assertEqual(server.errors(), '')

    def test_zeros_at_the_end_are_cut_off(self):
        whole = self.fill()
        self.write(whole + bytes(5000))
        server = self.serve()
        with server.client() as c:
            self.assertEqual(c.do('DBSIZE'), 30)
        server.stop()
        self.assertIn('5000 bytes', server.errors())
        self.assertEqual(os.path.getsize(self.path), len(whole))

    def test_a_damaged_middle_is_refused_and_nothing_changed(self):
        whole = self.fill()
        last = whole.rindex(b'#kv ')
        dice = random.Random(1)
        for _ in range(60):
            at = dice.randrange(last)
            bad = bytearray(whole)
            bad[at] ^= 1 << dice.randrange(8)
            self.write(bad)
            said = self.refused()
            self.assertIn('is damaged at byte', said)
            self.assertIn('truncate -s', said)
            with open(self.path, 'rb') as f:
                self.assertEqual(f.read(), bad)
        self.write(whole[:last // 2] + whole[last // 2 + 5:])
        self.assertIn('is damaged at byte', self.refused())
        remedy = self.refused().split('rest: ')[1].split()
        subprocess.run(remedy, check=True)
        server = self.serve()
        with server.client() as c:
            self.assertTrue(5 < c.do('DBSIZE') < 29)

    def test_what_is_no_log_of_ours_is_refused(self):
        for data in (b'hello', b'*1\r\n$4\r\nPING\r\n' * 100, b'#kv 00000001 0000000000000000 0000000000000000\r\n' + b'x' * 90):
            self.write(data)
            self.assertIn('is damaged at byte 0', self.refused())
        os.unlink(self.path)
        os.rmdir(self.folder)
        self.assertIn('No such file or directory', self.refused())
        os.mkdir(self.folder)


class FullDiskTest(Case):
    """A limit on the size of its files stands for the full disk: the write ends early, or fails."""

    def limit(self, size, pid=0):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def start(self, policy, size):
        def before():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            self.limit(size)
        return self.serve(policy, preexec=before)

    def test_nothing_is_acknowledged_that_is_not_on_the_disk(self):
        for size in (20_000, 20_011, 23_456):
            server = self.start('always', size)
            good = []
            with server.client() as c, server.client() as other:
                for n in range(10_000):
                    if c.do('SET', f'k{n}', 'x' * 50) != 'OK':
                        break
                    good.append(n)
                self.assertGreater(len(good), 100)
                self.assertLess(len(good), 1000)
                self.assertEqual(c.do('SET', 'a', 1), MISCONF)
                self.assertEqual(c.pipeline(('INCR', 'b'), ('PING',)), [MISCONF, 'PONG'])
                # What shares a lock with a change that failed is not read either.
                read = c.pipeline(*(('GET', f'k{n}') for n in good[:64]))
                self.assertTrue(all(r in (b'x' * 50, MISCONF) for r in read), read)
                self.assertGreater(read.count(b'x' * 50), 32)
                self.assertEqual(other.do('LPUSH', 'l', 1), MISCONF)
                self.assertEqual(server.info()['aof_last_write_status'], 'err')
                until(lambda: 'no change is accepted' in server.errors())
                self.assertLessEqual(os.path.getsize(self.path), size)
                server.kill()
            server = self.serve()
            with server.client() as c:
                self.assertEqual(c.do('EXISTS', *[f'k{n}' for n in good]), len(good))
                self.assertEqual(c.do('EXISTS', 'a', 'b', 'l'), 0)
            server.stop()
            os.unlink(self.path)

    def test_when_there_is_room_again_it_goes_on(self):
        for policy in ('always', 'everysec', 'no'):
            server = self.start(policy, 20_000)
            with server.client() as c:
                def full():
                    return c.do('APPEND', 'k', 'x' * 50) == MISCONF
                until(full)
                self.limit(resource.RLIM_INFINITY, server.process.pid)
                until(lambda: c.do('SET', 'after', 1) == 'OK')
                kept = c.do('GET', 'k')
            self.assertEqual(server.stop(), 0)
            self.assertIn('can be written again', server.errors())
            server = self.serve()
            with server.client() as c:
                self.assertEqual((c.do('GET', 'after'), c.do('GET', 'k')), (b'1', kept))
            server.stop()
            self.assertEqual(server.errors(), '')
            os.unlink(self.path)

    def test_of_a_pipeline_each_change_is_told_the_truth(self):
        server = self.start('always', 20_000)
        with server.client() as c:
            requests = [r for n in range(1000) for r in (('SET', f'k{n}', 'x' * 50), ('PING',))]
            # In pieces, so that some are written before it is full.
            replies = [r for at in range(0, 2000, 20) for r in c.pipeline(*requests[at:at + 20])]
            self.assertEqual(replies[1::2], ['PONG'] * 1000)
            good = [n for n in range(1000) if replies[2 * n] == 'OK']
            self.assertTrue(50 < len(good) < 500)
        server.kill()
        server = self.serve()
        with server.client() as c:
            self.assertEqual(c.do('EXISTS', *[f'k{n}' for n in good]), len(good))


if __name__ == '__main__':
    PROGRAM = sys.argv.pop(1)
    sys.stdout.reconfigure(line_buffering=True)
    unittest.main(testRunner=unittest.TextTestRunner(stream=sys.stdout, verbosity=2))
