"""What the tests of the HTTP examples share: a program that runs, raw exchanges with it, and what it holds open."""
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


def everything(peer):
    """What comes, to the end or a reset."""
    parts = []
    try:
        while part := peer.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    return b''.join(parts)


class Answer:
    def __init__(self, status, fields, body):
        self.status, self.fields, self.body = status, fields, body

    def __eq__(self, other):
        return (self.status, self.body) == other

    def __repr__(self):
        return f'({self.status}, {self.fields}, {self.body[:100]})'


class Client:
    """A connection on which requests are asked and answered."""

    def __init__(self, server, **options):
        self.socket = server.connect(**options)
        self.stream = self.socket.makefile('rb')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.stream.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode('latin-1'))

    def answer(self, head=False):
        """The next answer; None at the end of the stream. An answer that ends too soon is an EOFError."""
        line = self.stream.readline()
        if not line:
            return None
        status = int(re.fullmatch(rb'HTTP/1\.1 (\d{3}) .*\r\n', line).group(1))
        fields = {}
        while (line := self.stream.readline()) != b'\r\n':
            if not line.endswith(b'\r\n'):
                raise EOFError(f'a head ends with {line!r}')
            name, value = line.decode('latin-1').rstrip('\r\n').split(': ', 1)
            fields[name.lower()] = value
        if status == 100:
            return Answer(status, fields, b'')
        if head or status in (204, 304):
            return Answer(status, fields, b'')
        return Answer(status, fields, self.body(fields))

    def body(self, fields):
        if fields.get('transfer-encoding') == 'chunked':
            body = b''
            while size := int(self.line(), 16):
                body += self.exactly(size)
                assert self.line() == b''
            while self.line():
                pass
            return body
        if 'content-length' in fields:
            return self.exactly(int(fields['content-length']))
        return self.stream.read()

    def line(self):
        line = self.stream.readline()
        if not line.endswith(b'\r\n'):
            raise EOFError(f'a line ends with {line!r}')
        return line[:-2]

    def exactly(self, size):
        data = self.stream.read(size)
        if len(data) != size:
            raise EOFError(f'a body ends after {len(data)} of {size} bytes')
        return data

    def ask(self, target, method='GET', body=None, fields=()):
        lines = [f'{method} {target} HTTP/1.1', 'Host: test', *fields]
        if body is not None:
            lines.append(f'Content-Length: {len(body)}')
        self.send('\r\n'.join(lines + ['', '']).encode('latin-1') + (body or b''))
        return self.answer(head=method == 'HEAD')
