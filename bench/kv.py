#!/usr/bin/env python3
"""kv.py BUILD [OPTION...]: examples/kv_server beside redis-server under redis-benchmark, in turn, in rounds.

Each server has the first processor that this process may use and one worker, redis-benchmark the second; nothing is
kept on disk. Prints the median over the rounds with the range: requests a second, and the server's CPU time a request,
which says more than the rate where redis-benchmark itself or a busy machine is the limit.
"""
import argparse
import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time

from echo import processors, run_pinned

TICK = os.sysconf('SC_CLK_TCK')


def cpu_seconds(pid):
    with open(f'/proc/{pid}/stat', encoding='ascii') as f:
        fields = f.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


@contextlib.contextmanager
def started(command, port, environment=None):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, **(environment or {})},
                               preexec_fn=run_pinned(processors()[0]))
    try:
        for _ in range(500):
            try:
                socket.create_connection(('127.0.0.1', port)).close()
                break
            except OSError:
                time.sleep(0.01)
        else:
            raise RuntimeError(f'{command[0]} does not listen')
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def load(port, pid, test, depth, requests, clients):
    before = cpu_seconds(pid)
    out = subprocess.run(
        ['redis-benchmark', '-p', str(port), '-t', test, '-P', str(depth), '-n', str(requests), '-c', str(clients), '-r', '100000',
         '-q'], capture_output=True, text=True, check=True, preexec_fn=run_pinned(processors()[1])).stdout
    rates = re.findall(r': ([0-9.]+) requests per second', out)
    return float(rates[-1]), (cpu_seconds(pid) - before) / requests * 1e6


def free_port():
    with socket.create_server(('127.0.0.1', 0)) as s:
        return s.getsockname()[1]


def servers(build):
    ours = f'{build}/examples/kv_server'
    command = [ours, '--workers', '1', '--listen', '127.0.0.1:{port}']
    contestants = {'kv_server': (command, {}), 'kv_server_nopoll': (command, {'COIR_IDLE_POLL': '0'}),
                   'redis': (['redis-server', '--port', '{port}', '--save', '', '--appendonly', 'no'], {})}
    found, running = {}, contextlib.ExitStack()
    for name, (words, environment) in contestants.items():
        port = free_port()
        pid = running.enter_context(started([w.replace('{port}', str(port)) for w in words], port, environment))
        found[name] = port, pid
    return found, running


def show(name, values, unit):
    print(f'{name} {statistics.median(values):.4g} {unit} ({min(values):.4g} to {max(values):.4g})', flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument('build')
    arguments.add_argument('--rounds', type=int, default=3)
    arguments.add_argument('--clients', type=int, default=50)
    arguments.add_argument('--requests', type=int, default=300_000, help='of each load; with a pipeline ten times as many')
    arguments.add_argument('--test', action='append', help='of redis-benchmark; may be repeated; get and set')
    given = arguments.parse_args()
    if not shutil.which('redis-server') or not shutil.which('redis-benchmark'):
        sys.exit('kv.py: there is no redis-server, or no redis-benchmark')
    found, running = servers(given.build)
    with running:
        for depth in (1, 16):
            for test in given.test or ('get', 'set'):
                rates, costs = {n: [] for n in found}, {n: [] for n in found}
                for _ in range(given.rounds):
                    for name, (port, pid) in found.items():
                        rate, cost = load(port, pid, test, depth, given.requests * (10 if depth > 1 else 1), given.clients)
                        rates[name].append(rate)
                        costs[name].append(cost)
                for name in found:
                    show(f'kv_{test}_p{depth}_{name}_rate', rates[name], 'requests/s')
                    show(f'kv_{test}_p{depth}_{name}_cpu', costs[name], 'us')


if __name__ == '__main__':
    main()
