#!/usr/bin/env python3
"""compare.py BUILD [WORKLOAD...]: coir and its peers, taken in turn for several rounds on the same machine.

Prints tables: the median of the rounds with the least and the greatest, and coir's share of each peer's. Workloads
are those of coir_bench, and echo. With --write they also go to RESULTS.md, with charts: results.py.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys

import echo
import results
import table

MICRO = ('yield', 'spawn_join', 'spawn_many', 'fork_join', 'mutex', 'channel_ping_pong', 'channel_throughput',
         'skynet_channels', 'wake', 'deadlines', 'sleepers', 'parked', 'generator', 'balance', 'stream', 'udp_echo',
         'file_copy')


UNPINNED = ('balance', 'stream', 'udp_echo', 'file_copy')  # they say themselves who runs where
SHOWN = ('cpu', 'p50', 'p99', 'rate')  # of what the load client says


def output_of(command, environment=None):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True,
                          env={**os.environ, **(environment or {})})
    return done.stdout


def micro_round(values, build, workloads, others):
    for workload in workloads:
        pin = [] if workload in UNPINNED else ['--pin']
        values.add_lines(workload, 'coir', output_of([f'{build}/bench/coir_bench', *pin, workload]))
        for name, command in others.items():
            values.add_lines(workload, name, output_of(command + ['--pin', workload]))


def peers(build):
    """Name to command, of what is built or installed. Each passes over a workload that it does not have."""
    built = ('limit', 'boost_fiber', 'boost_coroutine2', 'go', 'tokio')
    commands = {name: [f'{build}/bench/{name}_bench'] for name in built}
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'peers', 'lua_bench.lua')
    commands |= {name: [name, script] for name in ('lua5.4', 'luajit')}
    commands['asyncio'] = [sys.executable, os.path.join(os.path.dirname(script), 'asyncio_bench.py')]
    return {name: command for name, command in commands.items() if shutil.which(command[0])}


def python_with(module):
    """This Python or the distribution's, whichever has it; empty: neither."""
    for python in (sys.executable, '/usr/bin/python3'):
        if shutil.which(python) and subprocess.run([python, '-c', 'import ' + module], stderr=subprocess.DEVNULL).returncode == 0:
            return python
    return ''


def echo_contestants(build, extra):
    """Name to command and environment."""
    here = ['--listen', '127.0.0.1:0']
    raw = [f'{build}/bench/uring_echo'] + here
    python = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'peers')
    asyncio = [python + '/asyncio_echo.py'] + here
    contestants = {
        'coir': (echo.coir(build), {}),
        'coir_nopoll': (echo.coir(build), {'COIR_IDLE_POLL': '0'}),
        'coir_oneshot': (echo.coir(build), {'COIR_REACTOR': 'uring_oneshot'}),
        'coir_epoll': (echo.coir(build), {'COIR_REACTOR': 'epoll'}),
        'coir_epoll_nopoll': (echo.coir(build), {'COIR_REACTOR': 'epoll', 'COIR_IDLE_POLL': '0'}),
        'coir_2_workers': (echo.coir(build, workers=2), {}),  # on one processor, as all the others
        'raw_uring': (raw, {}),
        'raw_uring_poll20': (raw + ['--idle-poll', '20'], {}),
        'raw_epoll': ([f'{build}/bench/epoll_echo'] + here, {}),
        'go': ([f'{build}/bench/go_echo'] + here, {}),
        'tokio': ([f'{build}/bench/tokio_echo'] + here, {}),
        'asio': ([f'{build}/bench/asio_echo'] + here, {}),
        'asio_coroutines': ([f'{build}/bench/asio_echo', '--coroutines'] + here, {}),
        'asyncio': ([sys.executable] + asyncio, {}),
        'asyncio_uvloop': ([python_with('uvloop')] + asyncio + ['--uvloop'], {}),
        'gevent': ([python_with('gevent'), python + '/gevent_echo.py'] + here, {}),
    }
    there = {name: c for name, c in contestants.items() if shutil.which(c[0][0])}
    return there | {name: (command.split(), {}) for name, command in extra.items()}


def echo_round(values, build, contestants, loads, seconds):
    for name, (command, environment) in contestants.items():
        with echo.server(command, environment) as (address, process):
            for load, options in loads:
                for figure, (value, unit) in echo.load(build, address, process.pid, options, seconds).items():
                    if figure in SHOWN:
                        values.add('echo', f'echo_{load}_{figure}', name, value, unit)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument('build')
    arguments.add_argument('workload', nargs='*', help=', '.join(MICRO + ('echo',)))
    arguments.add_argument('--rounds', type=int, default=5)
    arguments.add_argument('--seconds', type=int, default=1, help='for each echo figure')
    arguments.add_argument('--connections', action='append', type=int, help='of echo; may be repeated')
    arguments.add_argument('--only', help='a regular expression: which peers, and which contestants of echo')
    arguments.add_argument('--server', action='append', default=[], metavar='NAME=COMMAND',
                           help='another contestant of echo, which prints where it listens')
    arguments.add_argument('--write', action='store_true', help='RESULTS.md and charts')
    given = arguments.parse_args()
    wanted = given.workload or MICRO + ('echo',)
    if unknown := set(wanted) - set(MICRO) - {'echo'}:
        arguments.error('there is no workload ' + ', '.join(sorted(unknown)))
    echo.raise_descriptor_limit()

    others = {name: command for name, command in peers(given.build).items() if re.search(given.only or '', name)}
    contestants = echo_contestants(given.build, dict(entry.split('=', 1) for entry in given.server))
    contestants = {name: c for name, c in contestants.items() if re.search(given.only or '', name)}
    values = table.Table()
    loads = echo.loads_of(given.connections)
    try:
        for number in range(given.rounds):
            print(f'round {number + 1} of {given.rounds}', file=sys.stderr)
            micro_round(values, given.build, [w for w in wanted if w != 'echo'], others)
            if 'echo' in wanted:
                echo_round(values, given.build, contestants, loads, given.seconds)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        sys.exit(f'compare.py: {error}')
    finally:
        for workload in values.workloads:
            print('\n'.join(values.lines(workload)))
    if given.write:
        results.save(values, ''.join(' ' + w for w in given.workload), given.rounds)


if __name__ == '__main__':
    main()
