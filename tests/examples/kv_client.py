"""What the tests of kv_server share: the program, running, and a client that speaks RESP."""
import os
import signal
import socket
import subprocess
import threading
import time

PATIENCE = 60  # seconds until what never comes is called missing


def until(condition):
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up, 'it never came'
        time.sleep(0.005)


class Error(str):
    """A reply that is an error; equal to another one of the same code."""

    def __eq__(self, other):
        return isinstance(other, Error) and self.split(' ')[0] == other.split(' ')[0]

    __hash__ = None


def encode(*words):
    words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
    return b'*%d\r\n' % len(words) + b''.join(b'$%d\r\n%s\r\n' % (len(w), w) for w in words)


class Client:
    def __init__(self, port, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(('127.0.0.1', port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = self.socket.makefile('rb')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.input.close()
        self.socket.close()

    def send(self, *words):
        self.socket.sendall(encode(*words))

    def reply(self):
        line = self.input.readline()
        if not line.endswith(b'\r\n'):
            raise EOFError(line)
        kind, rest = line[:1], line[1:-2]
        if kind == b'+':
            return rest.decode()
        if kind == b'-':
            return Error(rest.decode())
        if kind == b':':
            return int(rest)
        if kind == b'$':
            if int(rest) < 0:
                return None
            data = self.input.read(int(rest) + 2)
            if len(data) != int(rest) + 2 or data[-2:] != b'\r\n':
                raise EOFError(data[-20:])
            return data[:-2]
        if kind == b'*':
            return None if int(rest) < 0 else [self.reply() for _ in range(int(rest))]
        raise ValueError(line)

    def do(self, *words):
        self.send(*words)
        return self.reply()

    def pipeline(self, *requests):
        self.socket.sendall(b''.join(encode(*r) for r in requests))
        return [self.reply() for _ in requests]

    def end(self):
        """What comes until the end."""
        return self.input.read()


class Server:
    """The program, listening on a free port. What it says on stderr is in `said`."""

    def __init__(self, program, *arguments, workers=2, preexec=None, fails=False):
        self.said = []
        self.process = subprocess.Popen(
            [program, '--listen', '127.0.0.1:0', '--workers', str(workers), *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=preexec)
        self.reader = threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True)
        self.reader.start()
        self.loaded = None
        for line in self.process.stdout:
            words = line.split()
            if 'changes' in words:
                self.loaded = int(words[1])
            elif 'workers,' in words:
                self.port = int(words[1].rstrip(',').split(':')[1])
                return
        self.wait()
        if not fails:
            raise AssertionError(f'it did not start: {self.errors()}')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()

    def client(self, **how):
        return Client(self.port, **how)

    def wait(self):
        status = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        self.process.stdout.close()
        self.process.stderr.close()
        return status

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.wait()

    def stop(self):
        """Its status after a SIGTERM; what it said then is in errors()."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def errors(self):
        return ''.join(self.said)

    def descriptors(self):
        return len(os.listdir(f'/proc/{self.process.pid}/fd'))

    def info(self, client=None):
        if client is None:
            with self.client() as c:
                return self.info(c)
        return dict(line.split(':', 1) for line in client.do('INFO').decode().splitlines() if ':' in line)
