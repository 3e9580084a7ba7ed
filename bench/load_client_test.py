#!/usr/bin/env python3
"""load_client_test.py COIR_LOAD: the load client believes a server that is right, and no other."""
import concurrent.futures
import itertools
import socket
import subprocess
import sys
import threading


def flip_late(data, at):
    """Changes the 1000th byte of the stream."""
    if not at <= 1000 < at + len(data):
        return data
    changed = bytearray(data)
    changed[1000 - at] ^= 1
    return bytes(changed)


def serve(listener, answer):
    while True:
        try:
            peer = listener.accept()[0]
        except OSError:
            return
        threading.Thread(target=serve_one, args=(peer, answer), daemon=True).start()


def serve_one(peer, answer):
    at = 0
    with peer:
        try:
            while data := peer.recv(65536):
                reply = answer(data, at)
                if reply is None:
                    return
                peer.sendall(reply)
                at += len(data)
        except ConnectionError:
            pass


SERVERS = {  # what it answers, and what the client has to say to that
    'right': (lambda data, at: data, ()),
    'wrong byte': (flip_late, ('a wrong byte',)),
    'lost byte': (lambda data, at: data[1:] if at == 0 else data, ('a wrong byte',)),
    'closes': (lambda data, at: None if at > 500 else data, ('the server closed', 'reset by peer')),
    'too much': (lambda data, at: data + data if at == 0 else data, ('more came back', 'a wrong byte')),
    'silent': (lambda data, at: b'' if at > 500 else data, ('did not come back',)),
}
LOADS = (
    ['--connections', '1'],
    ['--connections', '5', '--threads', '2', '--depth', '3', '--size', '1000'],
    ['--connections', '1', '--size', '300000', '--depth', '2'],
)
CHURN = ['--connections', '5', '--churn']


def check(program, name, options):
    answer, complaints = SERVERS[name]
    with socket.create_server(('127.0.0.1', 0)) as listener:
        threading.Thread(target=serve, args=(listener, answer), daemon=True).start()
        address = '127.0.0.1:%d' % listener.getsockname()[1]
        command = [program, '--connect', address, '--seconds', '1', '--warm-up', '0'] + options
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if complaints:
        good = done.returncode == 1 and any(c in done.stderr for c in complaints)
    else:
        good = done.returncode == 0 and not done.stderr
    return '' if good else f'{name} {options}: status {done.returncode}, {done.stderr!r}'


def main():
    program = sys.argv[1]
    closed = subprocess.run([program, '--connect', '127.0.0.1:1', '--seconds', '1'], stderr=subprocess.PIPE, text=True)
    if closed.returncode != 1 or 'connect:' not in closed.stderr:
        sys.exit(f'nobody there: status {closed.returncode}, {closed.stderr!r}')
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        cases = [*itertools.product(SERVERS, LOADS), ('right', CHURN), ('lost byte', CHURN)]
        verdicts = list(pool.map(lambda case: check(program, *case), cases))
    wrong = [v for v in verdicts if v]
    print(f'{len(verdicts)} cases, {len(wrong)} wrong', *wrong, sep='\n')
    sys.exit(1 if wrong else 0)


if __name__ == '__main__':
    main()
