#!/usr/bin/env python3
"""processes_test.py NAME PROGRAM: runs an example that is made of processes, files and signals."""
import os
import signal
import subprocess
import sys
import tempfile
import unittest

PROGRAM = ''
PATIENCE = 40  # seconds until what never comes is called missing


def run(*arguments, **more):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=PATIENCE, **more)


class ShellPipelineTest(unittest.TestCase):
    def test_three_processes_are_joined_by_pipes(self):
        lines = [f'{i * 7919 % 100}' for i in range(20000)]
        got = run('cat', '|', 'sort', '-n', '|', 'uniq', '-c', input='\n'.join(lines) + '\n')
        self.assertEqual((got.returncode, got.stderr), (0, ''))
        self.assertEqual(got.stdout.split(), [word for n in range(100) for word in ('200', str(n))])

    def test_one_that_reads_no_more_ends_the_one_before_it(self):
        got = run('yes', '|', 'cat', '|', 'head', '-n', '2')
        self.assertEqual((got.returncode, got.stdout), (0, 'y\ny\n'))
        self.assertIn('yes: signal 13', got.stderr)

    def test_its_status_is_the_last_ones_and_failures_are_named(self):
        got = run('false', '|', 'sh', '-c', 'exit 7')
        self.assertEqual(got.returncode, 7)
        self.assertEqual(got.stderr, 'shell_pipeline: false: status 1\nshell_pipeline: sh: status 7\n')

    def test_what_cannot_be_started_is_named(self):
        got = run('sleep', '1000', '|', 'no-such-program', '|', 'cat')
        self.assertEqual((got.returncode, got.stdout), (1, ''))
        self.assertIn('no-such-program', got.stderr)
        self.assertEqual(run('cat', '|').returncode, 2)
        self.assertEqual(run().returncode, 2)

    def test_ctrl_c_ends_all_of_them(self):
        with subprocess.Popen([PROGRAM, 'sh', '-c', 'trap "" INT; echo ready; exec sleep 1000', '|', 'cat'],
                              stdout=subprocess.PIPE, text=True) as pipeline:
            self.assertEqual(pipeline.stdout.readline(), 'ready\n')
            pipeline.send_signal(signal.SIGINT)
            self.assertEqual(pipeline.wait(PATIENCE), 130)
            self.assertEqual(pipeline.stdout.read(), '', 'a child holds the pipe')


class TailFollowTest(unittest.TestCase):
    def follow(self, path):
        tail = subprocess.Popen([PROGRAM, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(tail.wait)
        self.addCleanup(tail.kill)
        return tail

    def test_it_prints_what_is_appended(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'log')
            with open(path, 'w', encoding='utf-8') as log:
                log.write('before\n')
                log.flush()
                tail = self.follow(path)
                self.assertEqual(tail.stdout.readline(), 'before\n')
                for i in range(200):
                    log.write(f'line {i}\n')
                    log.flush()
                    self.assertEqual(tail.stdout.readline(), f'line {i}\n')
                log.write('x' * 300_000 + '\n')
                log.flush()
                self.assertEqual(len(tail.stdout.readline()), 300_001)
                tail.send_signal(signal.SIGTERM)
                self.assertEqual(tail.communicate(timeout=PATIENCE), ('', ''))
                self.assertEqual(tail.returncode, 0)

    def test_it_follows_the_name_through_rotation_and_truncation(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'log')
            tail = self.follow(path)
            def append(text, mode='a'):
                with open(path, mode, encoding='utf-8') as log:
                    log.write(text)
            append('it was not there\n')
            self.assertEqual(tail.stdout.readline(), 'it was not there\n')
            for i in range(20):
                append(f'last of number {i}\n')
                os.rename(path, f'{path}.{i}')
                append(f'first of number {i + 1}\n')
                self.assertEqual(tail.stdout.readline(), f'last of number {i}\n')
                self.assertEqual(tail.stdout.readline(), f'first of number {i + 1}\n')
            append('cut\n', 'w')
            self.assertEqual(tail.stdout.readline(), 'cut\n')
            tail.send_signal(signal.SIGINT)
            out, err = tail.communicate(timeout=PATIENCE)
            self.assertEqual((tail.returncode, out), (0, ''))
            self.assertEqual(err, 'tail_follow: the file was cut off\n')

    def test_what_is_wrong_is_named(self):
        self.assertEqual(run().returncode, 2)
        got = run('/no/such/folder/log')
        self.assertEqual(got.returncode, 1)
        self.assertIn('/no/such/folder', got.stderr)


if __name__ == '__main__':
    name, PROGRAM = sys.argv[1:]
    case = {'shell_pipeline': ShellPipelineTest, 'tail_follow': TailFollowTest}[name]
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    sys.exit(not unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite).wasSuccessful())
