#!/usr/bin/env python3
"""interop_test.py NAME PROGRAM: an example with a foreign library, against a server that the test starts itself: in a
folder of its own, at a Unix-domain socket or a free port, and ended by its process id."""
import glob
import http.server
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

PROGRAM = ''
PATIENCE = 60  # seconds until what never comes is called missing
SKIPPED = 77


def run(*arguments):
    got = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=PATIENCE)
    print(got.stdout + got.stderr, end='')
    return got


class Service(unittest.TestCase):
    def start(self, command, ready, **how):
        """A server, and waits until it is ready."""
        log = tempfile.TemporaryFile('w+')
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **how)

        def end():
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            log.close()
        self.addCleanup(end)
        give_up = time.monotonic() + PATIENCE
        while not ready():
            if process.poll() is not None or time.monotonic() > give_up:
                log.seek(0)
                self.fail(f'{command[0]} did not start: {log.read()}')
            time.sleep(0.02)
        return process

    def folder(self):
        made = tempfile.TemporaryDirectory(prefix='coir-')
        self.addCleanup(made.cleanup)
        return made.name


class RedisCommands(Service):
    needs = ['redis-server']

    def test_commands_of_many_fibers_are_answered(self):
        at = self.folder() + '/redis.sock'
        self.start(['redis-server', '--port', '0', '--unixsocket', at, '--save', '', '--appendonly', 'no',
                    '--dir', os.path.dirname(at)], lambda: self.accepts(at))
        got = run('unix:' + at)
        self.assertEqual((got.returncode, got.stderr), (0, ''))
        self.assertEqual(got.stdout.splitlines(), [
            'counter: 1000', 'queue: one, two, three', 'big: 1000000 bytes',
            'error: ERR value is not an integer or out of range'])

    def accepts(self, at):
        with socket.socket(socket.AF_UNIX) as peer:
            return peer.connect_ex(at) == 0

    def test_nobody_there_is_an_error(self):
        got = run('unix:' + self.folder() + '/nobody.sock')
        self.assertEqual((got.returncode, got.stdout), (1, ''))
        self.assertIn('No such file or directory', got.stderr)
        got = run('127.0.0.1:1')
        self.assertEqual((got.returncode, got.stdout), (1, ''))
        self.assertIn('Connection refused', got.stderr)


def postgres_programs():
    """The folder of initdb and postgres; None: there is none."""
    found = shutil.which('initdb')
    folders = sorted(glob.glob('/usr/lib/postgresql/*/bin'), key=lambda f: int(f.split('/')[-2]))
    return os.path.dirname(found) if found else folders[-1] if folders else None


class Postgres(Service):
    needs = [postgres_programs]

    def as_user(self, folder):
        """PostgreSQL's server refuses to run as root."""
        if os.getuid() != 0:
            return {}
        user = pwd.getpwnam('postgres')
        os.chown(folder, user.pw_uid, user.pw_gid)
        return {'user': user.pw_uid, 'group': user.pw_gid, 'extra_groups': []}

    def database(self, *where):
        """Its folder, with its socket. where: further options of the server."""
        folder, programs = self.folder(), postgres_programs()
        how = {'cwd': folder, 'env': {**os.environ, 'LC_ALL': 'C', 'HOME': folder}, **self.as_user(folder)}
        subprocess.run([programs + '/initdb', '-D', folder + '/data', '-U', 'coir', '-A', 'trust', '--no-sync'],
                       check=True, capture_output=True, timeout=PATIENCE, **how)
        self.start([programs + '/postgres', '-D', folder + '/data', '-k', folder, '-F', *where],
                   lambda: self.accepts(folder), **how)
        return folder

    def accepts(self, folder):
        status = folder + '/data/postmaster.pid'  # its last line says so
        if not os.path.exists(status):
            return False
        with open(status, encoding='utf-8') as f:
            return f.read().rstrip().endswith('ready')


class PostgresQueries(Postgres):
    def test_queries_of_many_fibers_are_answered(self):
        settings = f'host={self.database("-h", "")} user=coir dbname=postgres'
        got = run(settings)
        self.assertEqual((got.returncode, got.stderr), (0, ''))
        lines = got.stdout.splitlines()
        self.assertRegex(lines[0], r'^squares: 30, after \d+ ms$')
        self.assertEqual(lines[1:], ['big: 1000000 bytes', 'notified: hello', 'error: ERROR:  division by zero'])
        got = run(settings + 'x')
        self.assertEqual((got.returncode, got.stdout), (1, ''))
        self.assertIn('"postgresx" does not exist', got.stderr)

    def test_nobody_there_is_an_error(self):
        got = run(f'host={self.folder()} dbname=x')
        self.assertEqual((got.returncode, got.stdout), (1, ''))
        self.assertIn('No such file or directory', got.stderr)


class TcpProxy(Postgres):
    """PostgreSQL's own client, through tcp_proxy."""
    needs = [postgres_programs, 'psql']

    def test_psql_speaks_to_its_server_through_it(self):
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            server = str(free.getsockname()[1])
        self.database('-h', '127.0.0.1', '-p', server)
        proxy = subprocess.Popen([PROGRAM, '--listen', '127.0.0.1:0', '--to', '127.0.0.1:' + server],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            port = proxy.stdout.readline().split()[1].rpartition(':')[2]
            psql = ['psql', '-h', '127.0.0.1', '-p', port, '-U', 'coir', '-X', '-At', '-d', 'postgres', '-c']
            asked = [subprocess.Popen([*psql, f'select {n} * {n}; select length(repeat(\'x\', 1000000))'],
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for n in range(8)]
            for n, client in enumerate(asked):
                self.assertEqual(client.communicate(timeout=PATIENCE)[0].splitlines(), [str(n * n), '1000000'])
            big = subprocess.run([*psql, 'copy (select repeat(\'y\', 1000) from generate_series(1, 5000)) to stdout'],
                                 capture_output=True, timeout=PATIENCE)
            self.assertEqual((big.stderr, big.stdout), (b'', (b'y' * 1000 + b'\n') * 5000))
        finally:
            proxy.terminate()
            said = proxy.communicate(timeout=PATIENCE)
        self.assertEqual((proxy.returncode, said[1]), (0, ''))


class Pages(http.server.BaseHTTPRequestHandler):
    together = threading.Barrier(3)

    def do_GET(self):
        if self.path == '/none':
            return self.send_error(404)
        if self.path.startswith('/together'):
            self.together.wait(PATIENCE)  # until as many have come
        size = int(self.path.rpartition('/')[2])
        self.send_response(200)
        self.send_header('Content-Length', str(size))
        self.end_headers()
        for _ in range(10):
            self.wfile.write(b'x' * (size // 10))
            self.wfile.flush()
            time.sleep(0.01)

    def log_message(self, *_):
        pass


class CurlFetch(Service):
    needs = []

    def setUp(self):
        os.environ['no_proxy'] = os.environ['NO_PROXY'] = '*'
        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Pages)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.at = f'http://127.0.0.1:{server.server_port}'
        self.by_name = f'http://localhost:{server.server_port}'

    def test_all_pages_are_fetched_at_once(self):
        pages = [f'{self.at}/together/{size}' for size in (10, 1_000, 1_000_000)]
        got = run(*pages)
        self.assertEqual((got.returncode, got.stderr), (0, ''))
        self.assertEqual(got.stdout.splitlines(), [f'{p}: {p.rpartition("/")[2]} bytes' for p in pages])

    def test_names_are_resolved(self):
        got = run(f'{self.by_name}/50')
        self.assertEqual((got.returncode, got.stdout), (0, f'{self.by_name}/50: 50 bytes\n'))

    def test_errors_are_the_transfers_own(self):
        got = run(f'{self.at}/none', f'{self.at}/30', 'http://127.0.0.1:1/', 'nonsense://x')
        self.assertEqual(got.returncode, 1)
        said = got.stdout.splitlines()
        self.assertIn('HTTP response code said error', said[0])
        self.assertIn('30 bytes', said[1])
        self.assertIn("Couldn't connect", said[2])
        self.assertIn('Unsupported protocol', said[3])


if __name__ == '__main__':
    name, PROGRAM = sys.argv[1:]
    sys.stdout.reconfigure(line_buffering=True)
    case = {'redis_commands': RedisCommands, 'postgres_queries': PostgresQueries, 'curl_fetch': CurlFetch,
            'tcp_proxy': TcpProxy}[name]
    for need in case.needs:
        if not (need() if callable(need) else shutil.which(need)):
            print(f'skipped: {need if isinstance(need, str) else "postgres"} is not installed')
            sys.exit(SKIPPED)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(
        unittest.defaultTestLoader.loadTestsFromTestCase(case))
    sys.exit(not result.wasSuccessful())
