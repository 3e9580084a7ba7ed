"""A program that listens at a port of its own, and what the tests of such programs ask of it."""
import os
import re
import signal
import socket
import subprocess
import time

PATIENCE = 40  # seconds until what never comes is called missing


class Running:
    """An example that listens; `port` is where."""

    def __init__(self, program, *arguments):
        self.name = os.path.basename(program)
        self.process = subprocess.Popen([program, '--listen', '127.0.0.1:0', *arguments], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        found = re.fullmatch(self.name + r': (127\.0\.0\.1:(\d+)).*\n', line)
        if not found:
            self.process.kill()
            raise AssertionError(f'it said {line!r} and {self.process.stderr.read()!r}')
        self.address, self.port = found.group(1), int(found.group(2))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def connect(self, receive_buffer=None):
        peer = socket.socket()
        if receive_buffer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        peer.settimeout(PATIENCE)
        peer.connect(('127.0.0.1', self.port))
        return peer

    def descriptors(self):
        return len(os.listdir(f'/proc/{self.process.pid}/fd'))

    def settles_at(self, descriptors):
        """Whether it comes to hold only so many open."""
        return eventually(lambda: self.descriptors() <= descriptors)

    def end(self, how=signal.SIGTERM):
        """Its status and what it said, after that signal."""
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


def eventually(holds):
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
