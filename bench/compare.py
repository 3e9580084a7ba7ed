#!/usr/bin/env python3
"""compare.py BUILD [WORKLOAD...]: coir and its peers, taken in turn for several rounds on the same machine.

Prints a table: the median of the rounds with the least and the greatest, and coir's share of each peer's. Workloads
are those of coir_bench, and echo.
"""
import argparse
import collections
import os
import re
import shutil
import statistics
import subprocess
import sys

import echo

MICRO = ('yield', 'spawn_join', 'spawn_many', 'fork_join', 'mutex', 'channel_ping_pong', 'channel_throughput',
         'skynet_channels', 'wake', 'deadlines', 'sleepers', 'parked', 'generator')


class Table:
    """Values by figure and contestant, in the order in which they first came."""

    def __init__(self):
        self.values = collections.defaultdict(lambda: collections.defaultdict(list))
        self.units = {}

    def add(self, figure, contestant, value, unit):
        self.values[figure][contestant].append(value)
        self.units[figure] = unit

    def add_lines(self, contestant, text):
        for line in text.splitlines():
            figure, value, unit = line.split()
            self.add(figure, contestant, float(value), unit)

    def print(self, us='coir'):
        print('| figure | unit | contestant | median [least - greatest] | ' + us + ' / it |')
        print('|---|---|---|---|---|')
        for figure, row in self.values.items():
            ours = statistics.median(row[us]) if us in row else None
            for contestant, values in row.items():
                median = statistics.median(values)
                ratio = f'{ours / median:.2f}' if ours is not None and contestant != us and median else ''
                print(f'| {figure} | {self.units[figure]} | {contestant} | '
                      f'{text_of(median)} [{text_of(min(values))} - {text_of(max(values))}] | {ratio} |')


def text_of(value):
    return f'{value:,.0f}' if value >= 1000 else f'{value:.3g}'


def output_of(command, environment=None):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True,
                          env={**os.environ, **(environment or {})})
    return done.stdout


def micro_round(table, build, workloads, others):
    for workload in workloads:
        table.add_lines('coir', output_of([f'{build}/bench/coir_bench', '--pin', workload]))
        for name, command in others.items():
            table.add_lines(name, output_of(command + ['--pin', workload]))


def peers(build):
    """Name to command, of what is built or installed. Each passes over a workload that it does not have."""
    built = ('boost_fiber', 'boost_coroutine2', 'go', 'tokio')
    commands = {name: [f'{build}/bench/{name}_bench'] for name in built}
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'peers', 'lua_bench.lua')
    commands |= {name: [name, script] for name in ('lua5.4', 'luajit')}
    return {name: command for name, command in commands.items() if shutil.which(command[0])}


def echo_contestants(build, extra):
    """Name to command and environment."""
    raw = [f'{build}/bench/uring_echo', '--listen', '127.0.0.1:0']
    contestants = {
        'coir': (echo.coir(build), {}),
        'coir_nopoll': (echo.coir(build), {'COIR_IDLE_POLL': '0'}),
        'coir_oneshot': (echo.coir(build), {'COIR_REACTOR': 'uring_oneshot'}),
        'coir_epoll': (echo.coir(build), {'COIR_REACTOR': 'epoll'}),
        'coir_epoll_nopoll': (echo.coir(build), {'COIR_REACTOR': 'epoll', 'COIR_IDLE_POLL': '0'}),
        'raw_uring': (raw, {}),
        'raw_uring_poll20': (raw + ['--idle-poll', '20'], {}),
        'raw_epoll': ([f'{build}/bench/epoll_echo', '--listen', '127.0.0.1:0'], {}),
    }
    return contestants | {name: (command.split(), {}) for name, command in extra.items()}


def echo_round(table, build, contestants, connections, seconds):
    for name, (command, environment) in contestants.items():
        with echo.server(command, environment) as (address, process):
            for n in connections:
                for figure, (value, unit) in echo.load(build, address, process.pid, n, seconds).items():
                    table.add(f'echo_c{n}_{figure}', name, value, unit)


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
    given = arguments.parse_args()
    wanted = given.workload or MICRO + ('echo',)
    if unknown := set(wanted) - set(MICRO) - {'echo'}:
        arguments.error('there is no workload ' + ', '.join(sorted(unknown)))
    echo.raise_descriptor_limit()

    others = {name: command for name, command in peers(given.build).items() if re.search(given.only or '', name)}
    contestants = echo_contestants(given.build, dict(entry.split('=', 1) for entry in given.server))
    contestants = {name: c for name, c in contestants.items() if re.search(given.only or '', name)}
    table = Table()
    try:
        for number in range(given.rounds):
            print(f'round {number + 1} of {given.rounds}', file=sys.stderr)
            micro_round(table, given.build, [w for w in wanted if w != 'echo'], others)
            if 'echo' in wanted:
                echo_round(table, given.build, contestants, given.connections or echo.CONNECTIONS, given.seconds)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        sys.exit(f'compare.py: {error}')
    finally:
        table.print()


if __name__ == '__main__':
    main()
