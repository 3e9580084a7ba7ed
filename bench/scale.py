#!/usr/bin/env python3
"""scale.py BUILD [--most N]: what an operation costs among ten to a million fibers, timers and connections.

Writes bench/charts/scale.txt (`workload across many value unit` lines) and a chart for each workload. Connections go up to
what the process may have open; workers to what the machine has.
"""
import argparse
import os
import resource
import subprocess
import sys

import charts
import echo
import results
import table

DATA = os.path.join(results.CHARTS, 'scale.txt')
WORKERS = (1, 2, 4, 8, 16)


def steps(least, most):
    n = least
    while n < most:
        yield n
        n *= 10
    yield most


def points(build, what, many, workers):
    """(figure, value, unit) of coir_bench scale_WHAT with that many."""
    command = [f'{build}/bench/coir_bench', 'scale_' + what, '--fibers', str(many), '--workers', str(workers)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    for line in done.stdout.splitlines():
        figure, value, unit = line.split()
        yield figure, float(value), unit


def measured(build, most):
    workers = [n for n in WORKERS if n <= len(os.sched_getaffinity(0))]
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100
    for what, least, limit in (('fibers', 10, most), ('timers', 10, most), ('connections', 10, min(most, descriptors // 2))):
        for n in workers:
            for many in steps(least, limit):
                for figure, value, unit in points(build, what, many, n):
                    yield what, f'{figure}_t{n}', many, value, unit


def draw(lines):
    workloads = {}
    for what, figure, many, value, unit in lines:
        workloads.setdefault((what, unit), {}).setdefault(figure, []).append((int(many), float(value)))
    for (what, unit), series in workloads.items():
        name = f'scale_{what}' + ('_memory' if unit == 'B' else '')
        results.write(os.path.join(results.CHARTS, name + '.svg'), charts.curves(name, unit, f'how many {what}', series))


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument('build')
    arguments.add_argument('--most', type=int, default=1_000_000)
    given = arguments.parse_args()
    echo.raise_descriptor_limit()
    lines = []
    for what, figure, many, value, unit in measured(given.build, given.most):
        print(f'{what} {figure} {many} {table.text_of(value)} {unit}', flush=True)
        lines.append((what, figure, many, f'{value:.6g}', unit))
    results.write(DATA, ''.join(' '.join(map(str, each)) + '\n' for each in lines))
    draw(lines)
    if os.path.exists(results.VALUES):
        results.write_all()


if __name__ == '__main__':
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f'scale.py: {error}')
