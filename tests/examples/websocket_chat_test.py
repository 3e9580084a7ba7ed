#!/usr/bin/env python3
"""websocket_chat_test.py PROGRAM [SCREENSHOT]: the chat, by a WebSocket client of the test's and by its page in headless
Chromium, where that is installed. SCREENSHOT: a file for a picture of the page."""
import base64
import itertools
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

from websocket_client import CLOSE, PATIENCE, PING, PONG, TEXT, Guest, frame

PROGRAM = SCREENSHOT = ''


def until(condition):
    give_up = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < give_up, 'it never came'
        time.sleep(0.02)
    return found


class Case(unittest.TestCase):
    def serve(self, *arguments, workers=2):
        self.process = subprocess.Popen([PROGRAM, '--listen', '127.0.0.1:0', '--workers', str(workers), *map(str, arguments)],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end)
        line = self.process.stdout.readline()
        self.port = int(re.search(r'127\.0\.0\.1:(\d+)', line).group(1))
        return self.port

    def end(self):
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err

    def guest(self, name=None, **how):
        g = Guest(self.port, name, **how)
        self.addCleanup(g.close)
        return g

    def hear(self, guest, *lines):
        self.assertEqual([guest.line() for _ in lines], list(lines))


class RoomTest(Case):
    def test_all_hear_all_and_who_comes_late_hears_the_last(self):
        for workers in (1, 4):
            self.serve('--keep', 4, workers=workers)
            ann = self.guest('ann')
            self.hear(ann, '* ann has come')
            bob = self.guest('bob "x" <b>é\n')
            self.hear(ann, '* bob "x" <b>é\n has come')
            self.hear(bob, '* ann has come', '* bob "x" <b>é\n has come')
            for n in range(5):
                ann.say(f'line {n}')
            expected = [f'ann: line {n}' for n in range(5)]
            self.hear(ann, *expected)
            self.hear(bob, *expected)
            late = self.guest('late')
            self.hear(late, *expected[1:], '* late has come')
            bob.close()
            self.hear(late, '* bob "x" <b>é\n has gone')
            self.end()

    def test_many_talk_at_once_and_each_hears_all_in_the_order_of_each(self):
        self.serve('--keep', 10, '--unread', 5000, workers=4)
        guests = []
        for n in range(8):
            guests.append(self.guest(f'g{n}'))
            while guests[0].line() != f'* g{n} has come':
                pass

        def talk(n):
            for i in range(100):
                guests[n].say(f'{i}')
        talkers = [threading.Thread(target=talk, args=(n,)) for n in range(8)]
        for t in talkers:
            t.start()
        for g in guests:
            last = {}
            while len(last) < 8 or any(v < 99 for v in last.values()):
                who, text = re.split('[:*] ', g.line(), maxsplit=1)
                if who:
                    self.assertEqual(int(text), last.get(who, -1) + 1)
                    last[who] = int(text)
        for t in talkers:
            t.join()
        self.assertEqual(self.stop()[0], 0)

    def test_one_that_does_not_read_is_cut_off_and_holds_up_nobody(self):
        self.serve('--unread', 200, '--keep', 10)
        slow = self.guest('slow', receive_buffer=4096)
        self.hear(slow, '* slow has come')
        ann = self.guest('ann')
        while ann.line() != '* ann has come':
            pass
        text, said, gone = 'x' * 3000, 0, False
        while not gone:
            ann.say(text)
            said += 1
            line = ann.line()
            gone = line == '* slow has gone'
            self.assertTrue(gone or line == 'ann: ' + text)
        print(f'cut off after {said} lines')
        self.assertGreater(said, 200)
        if line == '* slow has gone':
            self.hear(ann, 'ann: ' + text)
        status, _, err = self.stop()
        self.assertEqual((status, err), (0, 'websocket_chat: slow does not read\n'))
        slow.close()

    def test_the_quiet_are_pinged_and_the_dead_are_found(self):
        self.serve('--ping', 1000)
        ann, dead = self.guest('ann'), self.guest('dead')
        pings, lines, start = 0, [], time.monotonic()
        while 'dead has gone' not in ''.join(lines):
            opcode, data = ann.frame()
            if opcode == PING:
                pings += 1
                ann.socket.sendall(frame(PONG, data))
            elif opcode == TEXT:
                lines.append(data.decode())
        self.assertGreaterEqual(pings, 2)
        self.assertGreater(time.monotonic() - start, 2)
        ann.say('still here')
        self.hear(ann, 'ann: still here')
        dead.close()

    def test_a_stop_says_going_away(self):
        self.serve()
        guests = [self.guest(f'g{n}') for n in range(5)]
        for g in guests:
            while not g.line().startswith('* g4'):
                pass
        codes, idle = [], socket.create_connection(('127.0.0.1', self.port))
        threads = [threading.Thread(target=lambda g=g: codes.append(g.close_code())) for g in guests]
        for t in threads:
            t.start()
        self.assertEqual(self.stop(), (0, 'websocket_chat: stopped\n', ''))
        for t in threads:
            t.join()
        self.assertEqual(codes, [1001] * 5)
        idle.close()

    def test_a_close_and_a_ping_are_answered(self):
        self.serve()
        ann = self.guest('ann')
        self.hear(ann, '* ann has come')
        ann.socket.sendall(frame(PING, b'abc'))
        self.assertEqual(ann.frame(), (PONG, b'abc'))
        ann.socket.sendall(frame(TEXT, b'in ', final=False) + frame(PING, b'x') + frame(0, b'parts'))
        self.assertEqual(ann.frame(), (PONG, b'x'))
        self.hear(ann, 'ann: in parts')
        ann.socket.sendall(frame(CLOSE, struct.pack('>H', 1000)))
        self.assertEqual(ann.close_code(), 1000)

    def test_broken_frames_close_their_own_connection(self):
        self.serve()
        good = self.guest('good')
        self.hear(good, '* good has come')
        long = 'x' * 4001
        broken = [(frame(TEXT, b'not masked', masked=False), 1002), (frame(3, b'reserved'), 1002), (frame(TEXT, b'\xff\xfe'), 1007),
                  (b'\xf1' + frame(TEXT, b'x')[1:], 1002), (frame(0, b'nothing to go on with'), 1002),
                  (frame(PING, b'x' * 126), 1002), (frame(TEXT, long.encode()), 1009), (frame(CLOSE, b'x'), 1002),
                  (b'\x81\xff' + b'\x7f' * 8 + b'abcd', 1009), (frame(PING, b'', final=False), 1002)]
        for number, (data, code) in enumerate(broken):
            bad = self.guest(f'bad{number}')
            while bad.line() != f'* bad{number} has come':
                pass
            bad.socket.sendall(data)
            self.assertEqual(bad.close_code(), code, data[:20])
            self.hear(good, f'* bad{number} has come', f'* bad{number} has gone')
        for name in ('', 'n' * 41):
            self.assertEqual(self.guest(name).close_code(), 1008)
        good.say('fine')
        self.hear(good, 'good: fine')
        good.close()
        self.assertEqual(self.stop()[0], 0)

    def test_who_only_listens_to_a_busy_room_is_pinged_and_stays(self):
        self.serve('--ping', 100)
        talker, listener = self.guest('talker'), self.guest('listener')
        said, enough = itertools.count(), threading.Event()

        def chatter():
            while not enough.is_set():
                talker.say(f'line {next(said)}')
                while not talker.line().startswith('talker: '):
                    pass
        talking = threading.Thread(target=chatter)
        talking.start()
        try:
            pings = 0
            while pings < 10:  # by then it has been silent, but for its answers, longer than is borne
                got = listener.frame()
                self.assertIsNotNone(got, f'cut off after {pings} pings')
                if got[0] == PING:
                    pings += 1
                    listener.socket.sendall(frame(PONG, got[1]))
        finally:
            enough.set()
            talking.join()
        self.assertEqual(self.stop()[0], 0)

    def test_the_page_and_what_is_no_page(self):
        self.serve()
        base = f'http://127.0.0.1:{self.port}'
        with urllib.request.urlopen(base + '/', timeout=PATIENCE) as page:
            self.assertEqual(page.headers['Content-Type'], 'text/html; charset=utf-8')
            self.assertIn(b'WebSocket', page.read())
        for path, status in (('/nothing', 404), ('/ws', 403)):
            with self.assertRaises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(base + path, timeout=PATIENCE)
            self.assertEqual(refused.exception.code, status)
            refused.exception.close()
        self.assertEqual(self.guest(origin='http://elsewhere.example').status, 403)
        self.assertEqual(self.guest(origin=base).status, 101)


class Browser:
    """Headless Chromium, driven by its DevTools protocol over a pipe."""

    def __init__(self, program):
        self.folder = tempfile.TemporaryDirectory(prefix='coir-', ignore_cleanup_errors=True)
        theirs_in, self.to = os.pipe()
        self.back, theirs_out = os.pipe()
        high = [os.dup2(theirs_in, 103), os.dup2(theirs_out, 104)]

        def before():
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)
        self.process = subprocess.Popen(
            [program, '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
             '--disable-background-networking', '--window-size=560,500', '--remote-debugging-pipe',
             f'--user-data-dir={self.folder.name}', 'about:blank'],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=before, close_fds=False, start_new_session=True)
        for fd in (theirs_in, theirs_out, *high):
            os.close(fd)
        self.numbers, self.buffer = itertools.count(1), b''

    def close(self):
        os.killpg(self.process.pid, signal.SIGKILL)  # a group of its own
        self.process.wait()
        os.close(self.to)
        os.close(self.back)
        self.folder.cleanup()

    def message(self):
        while b'\0' not in self.buffer:
            got = os.read(self.back, 1 << 20)
            if not got:
                raise AssertionError('Chromium has ended')
            self.buffer += got
        one, self.buffer = self.buffer.split(b'\0', 1)
        return json.loads(one)

    def tell(self, method, session=None, **parameters):
        number = next(self.numbers)
        request = {'id': number, 'method': method, 'params': parameters} | ({'sessionId': session} if session else {})
        os.write(self.to, json.dumps(request).encode() + b'\0')
        return number

    def ask(self, method, session=None, **parameters):
        number = self.tell(method, session, **parameters)
        while (answer := self.message()).get('id') != number:
            pass
        if 'error' in answer:
            raise AssertionError((method, answer['error']))
        return answer['result']

    def tab(self, url):
        target = self.ask('Target.createTarget', url=url)['targetId']
        return Tab(self, target, self.ask('Target.attachToTarget', targetId=target, flatten=True)['sessionId'])


class Tab:
    def __init__(self, browser, target, session):
        self.browser, self.target, self.session = browser, target, session

    def evaluate(self, expression):
        got = self.browser.ask('Runtime.evaluate', self.session, expression=expression, returnByValue=True)
        return got['result'].get('value')

    def type(self, text):
        until(lambda: self.evaluate("document.readyState === 'complete' && !!document.getElementById('form').onsubmit"))
        self.evaluate(f"document.getElementById('text').value = {json.dumps(text)}; document.getElementById('form').requestSubmit()")

    def lines(self):
        return self.evaluate("[...document.querySelectorAll('#lines p')].map(p => p.textContent.slice(5))") or []

    def sees(self, *lines):
        try:
            until(lambda: self.lines() == list(lines))
        except AssertionError:
            raise AssertionError(f'{self.lines()} and not {list(lines)}') from None


@unittest.skipUnless(shutil.which('chromium'), 'there is no chromium (tools/install.sh browser)')
class PageTest(Case):
    def test_tabs_see_each_others_lines_one_comes_late_and_one_is_killed(self):
        self.serve()
        browser = Browser(shutil.which('chromium'))
        self.addCleanup(browser.close)
        page = f'http://127.0.0.1:{self.port}/'
        ann, bob = browser.tab(page), browser.tab(page)
        ann.type('Ann')
        ann.sees('Ann has come')
        bob.type('Bob')
        ann.sees('Ann has come', 'Bob has come')
        ann.type('Hello, is anybody here?')
        bob.sees('Ann has come', 'Bob has come', 'Ann: Hello, is anybody here?')
        bob.type('I am, on a fiber of my own. <b>Really</b> & truly.')
        said = ['Ann has come', 'Bob has come', 'Ann: Hello, is anybody here?',
                'Bob: I am, on a fiber of my own. <b>Really</b> & truly.']
        ann.sees(*said)
        late = browser.tab(page)
        late.type('Carla')
        said.append('Carla has come')
        late.sees(*said)
        late.type('Sorry, I am late. What did I miss?')
        said.append('Carla: Sorry, I am late. What did I miss?')
        ann.sees(*said)
        ann.type('Nothing: the last lines were kept for you.')
        said.append('Ann: Nothing: the last lines were kept for you.')
        for tab in (ann, bob, late):
            tab.sees(*said)
        browser.tell('Page.crash', bob.session)
        said.append('Bob has gone')
        ann.sees(*said)
        if SCREENSHOT:
            browser.ask('Target.activateTarget', targetId=ann.target)
            picture = browser.ask('Page.captureScreenshot', ann.session, format='png')
            with open(SCREENSHOT, 'wb') as f:
                f.write(base64.b64decode(picture['data']))
        late.type('Bye')
        said.append('Carla: Bye')
        ann.sees(*said)
        self.assertEqual(self.stop()[0], 0)
        until(lambda: ann.evaluate("document.getElementById('state').textContent") == 'not connected (1001)')


if __name__ == '__main__':
    PROGRAM = sys.argv.pop(1)
    if len(sys.argv) > 1 and sys.argv[1].endswith('.png'):
        SCREENSHOT = sys.argv.pop(1)
    sys.stdout.reconfigure(line_buffering=True)
    unittest.main(testRunner=unittest.TextTestRunner(stream=sys.stdout, verbosity=2))
