#!/usr/bin/env python3
"""slow_api_test.py PROGRAM: the slow server and who asks it, in one process and in two."""
import re
import signal
import subprocess
import sys
import threading
import time
import unittest

from http_support import PATIENCE, Client, Running

PROGRAM = ''
SAID = re.compile(r'(\d+) requests at once on (fibers|threads): (\d+) ms')


class SlowApiTest(unittest.TestCase):
    def asked(self, *arguments):
        got = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual((got.returncode, got.stderr), (0, ''), got.stdout)
        print(got.stdout, end='')
        return {on: (int(times), int(ms)) for times, on, ms in SAID.findall(got.stdout)}

    def test_requests_at_once_take_as_long_as_one(self):
        for workers in ('1', '4'):
            took = self.asked('--delay', '2000', '--workers', workers)
            for on in ('fibers', 'threads'):
                self.assertEqual(took[on][0], 4)
                self.assertGreaterEqual(took[on][1], 2000)
                self.assertLess(took[on][1], 8000, 'they have waited for each other')

    def test_one_process_serves_and_another_asks(self):
        with Running(PROGRAM, '--delay', '300') as server:
            took = self.asked('--ask', server.address, '--times', '20')
            self.assertEqual((took['fibers'][0], took['threads'][0]), (20, 20))
            with Client(server) as client:
                self.assertEqual(client.ask('/slow'), (200, b'it took its time\n'))
                self.assertEqual(client.ask('/other').status, 404)
            self.assertEqual(server.end()[0], 0)

    def test_the_answer_under_way_comes_after_the_signal(self):
        with Running(PROGRAM, '--delay', '1000') as server, Client(server) as client:
            answers = []
            asking = threading.Thread(target=lambda: answers.append(client.ask('/slow')))
            asking.start()
            time.sleep(0.5)
            server.process.send_signal(signal.SIGTERM)
            asking.join(PATIENCE)
            self.assertEqual(answers, [(200, b'it took its time\n')])
            self.assertEqual(server.process.wait(PATIENCE), 0)

    def test_who_is_not_there_is_named(self):
        got = subprocess.run([PROGRAM, '--ask', '127.0.0.1:1'], capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual((got.returncode, got.stdout), (1, ''))
        self.assertIn('127.0.0.1:1: Connection refused', got.stderr)


if __name__ == '__main__':
    PROGRAM = sys.argv.pop()
    sys.stdout.reconfigure(line_buffering=True)
    unittest.main(testRunner=unittest.TextTestRunner(stream=sys.stdout, verbosity=2))
