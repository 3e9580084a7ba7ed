"""What the tests of the HTTP examples share: raw exchanges with a program that runs."""
import re

from running import PATIENCE, Running, eventually

__all__ = ['PATIENCE', 'Answer', 'Client', 'Running', 'eventually', 'everything']


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
