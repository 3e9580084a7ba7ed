#!/usr/bin/env python3
"""results.py: writes bench/RESULTS.md and a chart for each workload out of bench/charts/results.txt.

compare.py --write does this after its last round; by hand it draws them again.
"""
import datetime
import os
import platform
import re
import subprocess
import sys

import charts
import table

HERE = os.path.dirname(os.path.abspath(__file__))
CHARTS = os.path.join(HERE, 'charts')
VALUES = os.path.join(CHARTS, 'results.txt')
RUN = os.path.join(CHARTS, 'run.txt')  # when and where


def read(path, otherwise=''):
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        return otherwise


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w') as file:
        file.write(text)


def first_line(*command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=HERE)
        return done.stdout.splitlines()[0] if done.returncode == 0 and done.stdout else ''
    except FileNotFoundError:
        return ''


def this_run(words, rounds):
    """A line about the machine and one about the programs."""
    processor = re.search(r'model name\s*: (.*)', read('/proc/cpuinfo'))
    versions = [first_line('c++', '--version'), first_line('go', 'version'), first_line('rustc', '--version')]
    return (f'{datetime.date.today()}, commit {first_line("git", "rev-parse", "--short", "HEAD")}, '
            f'{os.cpu_count()} processors ({processor[1] if processor else platform.machine()}), '
            f'Linux {platform.release().split("-")[0]}, {rounds} rounds: `./dev bench compare --write{words}`.\n'
            f'{"; ".join(v for v in versions if v)}; the load before it was {os.getloadavg()[0]:.1f}.\n')


def charted(figure):
    """Echo has too many figures for one picture: what a request costs, and how long one waits alone."""
    return not figure.startswith('echo_') or figure.endswith('_cpu') or figure == 'echo_c1_p50'


def summary(values):
    yield '| figure | unit | coir | best peer | coir / best peer | limit | coir / limit |'
    yield '|---|---|---|---|---|---|---|'
    for figures in values.workloads.values():
        for figure in filter(charted, figures):
            if table.US not in values.values[figure]:
                continue
            cells = [figure, values.units[figure], table.text_of(values.median(figure, table.US))]
            for other in (values.best_peer(figure), values.best_limit(figure)):
                ratio = other and values.cost_ratio(figure, other)
                cells.append(f'{other} {table.text_of(values.median(figure, other))}' if other else '')
                cells.append(f'{ratio:.2f}' if ratio else '')
            yield '| ' + ' | '.join(cells) + ' |'


# What README.md shows of it all.
OVERVIEW = ('yield_1000_t1', 'spawn_join_t1', 'spawn_many_t1', 'mutex_t1', 'channel_ping_pong', 'skynet_channels_t1',
            'generator', 'echo_c1_p50', 'echo_c64_cpu', 'echo_c1000_cpu')
CONTESTANTS = (table.US, 'boost_fiber', 'boost_coroutine2', 'go', 'tokio', 'asio_coroutines', 'luajit', 'raw_uring',
               'raw_epoll')


def overview(values):
    shown = table.Table()
    for figure in OVERVIEW:
        for contestant in CONTESTANTS:
            for value in values.values[figure].get(contestant, ()):
                shown.add('overview', figure, contestant, value, values.units[figure])
    return charts.bars(shown, 'overview')


def page(values):
    yield '# Figures\n'
    yield read(RUN)
    yield ('Coir and its peers in turn, each figure in a process of its own; medians of the rounds, with the least and the '
           'greatest.\nA ratio below 1 is better for coir, whatever the unit. What each figure is: [README.md](README.md); '
           'all values of all rounds:\n[charts/results.txt](charts/results.txt).\n')
    yield '\n'.join(summary(values)) + '\n'
    yield read(os.path.join(HERE, 'remarks.md'))
    for workload in values.workloads:
        yield f'## {workload}\n\n![{workload}](charts/{workload}.svg)\n'
        yield '\n'.join(values.lines(workload)) + '\n'
    scale = sorted(name for name in os.listdir(CHARTS) if name.startswith('scale_') and name.endswith('.svg'))
    if scale:
        yield '## Among many\n\nBy `./dev bench scale`; the values: [charts/scale.txt](charts/scale.txt).\n'
        yield '\n'.join(f'![{name[:-4]}](charts/{name})\n' for name in scale)


def write_all():
    values = table.Table()
    values.load(read(VALUES).splitlines())
    for workload in values.workloads:
        write(os.path.join(CHARTS, workload + '.svg'), charts.bars(values, workload, charted))
    write(os.path.join(CHARTS, 'overview.svg'), overview(values))
    write(os.path.join(HERE, 'RESULTS.md'), '\n'.join(page(values)))


def save(measured, words, rounds):
    """Keeps what was measured of other workloads before."""
    values = table.Table()
    values.load(measured.dump())
    values.load(read(VALUES).splitlines(), but=measured.workloads)
    write(VALUES, '\n'.join(values.dump()) + '\n')
    write(RUN, this_run(words, rounds))
    write_all()


if __name__ == '__main__':
    if sys.argv[1:] not in ([], ['--help']):
        sys.exit(__doc__)
    print(__doc__) if sys.argv[1:] else write_all()
