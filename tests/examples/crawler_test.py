#!/usr/bin/env python3
"""crawler_test.py PROGRAM: the crawler on its own site, and on sites of the test's that misbehave."""
import collections
import http.server
import re
import signal
import subprocess
import sys
import threading
import time
import unittest

from http_support import PATIENCE

PROGRAM = ''
SAID = re.compile(r'crawler: (\d+) pages, (\d+) bytes, (\d+) failed, (\d+) tried again, at most (\d+) at once and (\d+) from one '
                  r'host, in [0-9.]+ s\n$')


class Site:
    """Answers a path by answer(path, how often it was asked): (status, body, fields), or None to hang up."""

    def __init__(self, answer):
        self.asked, self.now, self.most, lock, site = collections.Counter(), 0, 0, threading.Lock(), self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_GET(self):
                with lock:
                    site.asked[self.path] += 1
                    count = site.asked[self.path]
                    site.now += 1
                    site.most = max(site.most, site.now)
                try:
                    got = answer(self.path, count)
                finally:
                    with lock:
                        site.now -= 1
                if got is None:
                    self.close_connection = True
                    return
                status, body, fields = got
                self.send_response(status)
                for name, value in {'Content-Type': 'text/html', 'Content-Length': str(len(body)), **fields}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 256

            def handle_error(self, *_):  # clients that vanish are what is tested
                pass

        self.server = Server(('127.0.0.1', 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f'http://127.0.0.1:{self.server.server_port}/'

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def page(*links):
    return 200, ''.join(f'<a href="{link}">x</a>' for link in links), {}


class CrawlerTest(unittest.TestCase):
    def site(self, answer):
        site = Site(answer)
        self.addCleanup(site.close)
        return site

    def crawl(self, *arguments, status=0):
        got = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(got.returncode, status, got.stdout + got.stderr)
        numbers = SAID.search(got.stdout)
        self.assertTrue(numbers, got.stdout)
        names = ('pages', 'bytes', 'failed', 'again', 'at_once', 'per_host')
        return dict(zip(names, map(int, numbers.groups()))), got

    def test_its_own_site_is_fetched_as_a_whole(self):
        for workers in ('1', '4'):
            said, got = self.crawl('--pages', '300', '--workers', workers, '--pause', '10', '--tries', '20', status=1)
            print(got.stdout, end='')
            # 300, and what pages 7, 57, ... say is there and is not, and what 8, 58, ... say and has moved to where we were.
            self.assertEqual((said['pages'], said['failed']), (312, 6))
            self.assertGreater(said['again'], 0)
            self.assertEqual(sorted(re.findall(r'failed: http://\S+/gone/(\d+): 404', got.stdout), key=int),
                             ['7', '57', '107', '157', '207', '257'])
            self.assertIn('status 200: 300 pages', got.stdout)
            self.assertIn('status 302: 6 pages', got.stdout)
            self.assertRegex(got.stderr, r'\b312 of 312 pages, 6 failed \n$')

    def test_links_are_followed_once_each_and_within_the_site(self):
        pages = {'/': page('a/', 'a/b', '/a/b', 'http://127.0.0.1:1/elsewhere', 'mailto:x', '#here', '?q=1', '//127.0.0.1:1/x', ''),
                 '/a/': page('../c', './d', 'b', '../../../../c'), '/a/b': page('/'), '/c': page('/c?x#y'), '/a/d': page('d/../d'),
                 '/?q=1': page(), '/c?x': page()}
        site = self.site(lambda path, _: pages[path])
        said, got = self.crawl('--start', site.url)
        self.assertEqual((said['pages'], said['failed'], said['again']), (7, 0, 0), got.stdout)
        self.assertEqual(site.asked, {path: 1 for path in pages})

    def test_no_more_at_once_than_allowed(self):
        def answer(path, _):
            time.sleep(0.02)
            return page(*[f'/{i}' for i in range(60)])
        for at_once, per_host in ((7, 100), (100, 5)):
            site = self.site(answer)
            said, _ = self.crawl('--start', site.url, '--at-once', str(at_once), '--per-host', str(per_host))
            most = min(at_once, per_host)
            self.assertEqual((said['pages'], said['at_once'], said['per_host']), (61, most, most))
            self.assertLessEqual(site.most, most)
            self.assertGreater(site.most, 1)

    def test_what_fails_for_a_while_is_tried_again_after_longer_and_longer_pauses(self):
        times = []

        def answer(path, count):
            if path == '/':
                return page('/busy', '/hangs_up')
            if path == '/busy':
                times.append(time.monotonic())
            if count < 4:
                return (503, 'busy', {}) if path == '/busy' else None
            return page()
        site = self.site(answer)
        said, _ = self.crawl('--start', site.url, '--pause', '50')
        self.assertEqual((said['pages'], said['failed'], said['again']), (3, 0, 6))
        pauses = [after - before for before, after in zip(times, times[1:])]
        for pause, least in zip(pauses, (0.05, 0.1, 0.2)):
            self.assertGreaterEqual(pause, least)

    def test_what_fails_for_good_is_named(self):
        hanging = threading.Event()
        self.addCleanup(hanging.set)

        def answer(path, _):
            if path == '/':
                return page('/busy', '/gone', '/hangs_up', '/silent')
            if path == '/silent':
                hanging.wait(PATIENCE)
            return {'/busy': (503, 'busy', {}), '/gone': (404, '', {})}.get(path)
        site = self.site(answer)
        said, got = self.crawl('--start', site.url, '--tries', '2', '--pause', '1', '--time', '1000', status=1)
        self.assertEqual((said['pages'], said['failed'], said['again']), (3, 4, 3))
        self.assertEqual(site.asked['/gone'], 1, 'what is not there was asked for again')
        self.assertIn('/busy: 503', got.stdout)
        self.assertIn('/gone: 404', got.stdout)
        self.assertIn(f'failed: {site.url}hangs_up: ', got.stdout)
        self.assertIn(f'failed: {site.url}silent: ', got.stdout)

    def test_ctrl_c_ends_it_with_a_summary(self):
        def answer(path, _):
            return page(path + 'x', path + 'y')
        site = self.site(answer)
        with subprocess.Popen([PROGRAM, '--start', site.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as crawler:
            while sum(site.asked.values()) < 50:
                time.sleep(0.01)
            crawler.send_signal(signal.SIGINT)
            out, _ = crawler.communicate(timeout=PATIENCE)
            self.assertEqual(crawler.returncode, 1)
            self.assertRegex(out, SAID)

    def test_bad_arguments_are_named(self):
        for said, arguments in (('--start: "x" is no page: it has to begin with http://', ['--start', 'x']),
                                ('--start: "http://:80/" is no page: it has no host', ['--start', 'http://:80/']),
                                ('--at-once takes a number from 1, not "0"', ['--at-once', '0'])):
            got = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual((got.returncode, got.stdout), (2, ''))
            self.assertIn(said, got.stderr)


if __name__ == '__main__':
    PROGRAM = sys.argv.pop()
    sys.stdout.reconfigure(line_buffering=True)
    unittest.main(testRunner=unittest.TextTestRunner(stream=sys.stdout, verbosity=2))
