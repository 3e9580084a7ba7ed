#!/usr/bin/env python3
"""echo.py BUILD [OPTION...]: the echo server under load, on each reactor, with and without idle polling.

Prints `name value unit` lines. The server has the first processor that this process may use, the load client the
second. compare.py uses the same functions for the peers.
"""
import argparse
import collections
import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import time

REACTORS = ('uring', 'uring_oneshot', 'epoll')

Load = collections.namedtuple('Load', 'name options')
LOADS = (Load('c1', ['--connections', '1']), Load('c64', ['--connections', '64']),
         Load('c1000', ['--connections', '1000']), Load('c64_pipelined', ['--connections', '64', '--depth', '16']),
         Load('c64_churn', ['--connections', '64', '--churn']))
FIGURES = {'server_cpu': 'cpu', 'latency_p50': 'p50', 'latency_p99': 'p99', 'requests': 'rate',
           'server_cores': 'server_cores', 'client_cores': 'client_cores'}


def processors():
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[1 % len(usable)]


def raise_descriptor_limit():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run_pinned(processor):
    return lambda: os.sched_setaffinity(0, {processor})


@contextlib.contextmanager
def server(command, environment=None, processor=None):
    """Starts a server that prints where it listens; gives the address and the process."""
    processor = processors()[0] if processor is None else processor
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})},
                               preexec_fn=run_pinned(processor))
    try:
        line = process.stdout.readline()
        address = re.search(r'[0-9.]+:[0-9]+', line)
        if address is None:
            raise RuntimeError(f'{command[0]}: it does not say where it listens, but "{line.strip()}"')
        yield address.group(), process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def loads_of(connections):
    """The usual ones, or one for each number of connections that was asked for."""
    return [Load(f'c{n}', ['--connections', str(n)]) for n in connections] if connections else LOADS


def load(build, address, pid, options, seconds=2):
    """Puts a server under load: a dictionary of name to (value, unit)."""
    command = [f'{build}/bench/coir_load', '--connect', address, '--seconds', seconds, '--pid', pid] + options
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, check=True,
                          preexec_fn=run_pinned(processors()[1]))
    lines = (line.split() for line in done.stdout.splitlines())
    return {FIGURES[name]: (float(value), unit) for name, value, unit in lines if name in FIGURES}


def coir(build, workers=1):
    return [f'{build}/examples/echo_server', '--listen', '127.0.0.1:0', '--workers', str(workers)]


def name_of(reactor, idle_poll):
    return reactor + ('' if idle_poll is None else '_nopoll' if idle_poll == 0 else f'_poll{idle_poll}')


def environment_of(reactor, idle_poll):
    polling = {} if idle_poll is None else {'COIR_IDLE_POLL': str(idle_poll)}
    return {'COIR_REACTOR': reactor, **polling}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument('build')
    arguments.add_argument('--seconds', type=int, default=2, help='for each figure')
    arguments.add_argument('--reactor', action='append', choices=REACTORS, help='only this one; may be repeated')
    arguments.add_argument('--connections', action='append', type=int, help='only that many; may be repeated')
    arguments.add_argument('--quick', action='store_true', help='does it run at all?')
    given = arguments.parse_args()
    raise_descriptor_limit()
    loads = loads_of(given.connections or ((1, 8) if given.quick else None))
    for reactor in given.reactor or REACTORS:
        for idle_poll in (None, 0):
            with server(coir(given.build), environment_of(reactor, idle_poll)) as (address, process):
                for name, options in loads:
                    figures = load(given.build, address, process.pid, options, 1 if given.quick else given.seconds)
                    for figure, (value, unit) in figures.items():
                        print(f'echo_{name}_{name_of(reactor, idle_poll)}_{figure} {value:g} {unit}', flush=True)
            time.sleep(0.1)


if __name__ == '__main__':
    try:
        main()
    except (RuntimeError, subprocess.CalledProcessError) as error:
        sys.exit(f'echo.py: {error}')
