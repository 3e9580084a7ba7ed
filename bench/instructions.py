#!/usr/bin/env python3
"""instructions.py BUILD [--update]: instructions of one operation, counted by Valgrind, against bench/instructions.txt.

A run of 2n operations less one of n leaves out what starting and ending cost. The counts depend on the compiler: the file
begins with the one that made it, and with any other the counts are printed and not judged.
"""
import argparse
import collections
import os
import re
import subprocess
import sys

BASELINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'instructions.txt')
TOLERANCE = 0.05  # and an instruction or two, for what does not happen in each operation

# Figure: workload and its options, operations a run.
Workload = collections.namedtuple('Workload', 'words count')
FIGURES = {
    'yield': Workload(['yield', '--fibers', '2'], 10_000),
    'spawn_join': Workload(['spawn_join'], 3_000),
    'spawn_many': Workload(['spawn_many'], 2_000),
    'mutex': Workload(['mutex'], 5_000),
    'channel_ping_pong': Workload(['channel_ping_pong'], 3_000),
    'channel_throughput': Workload(['channel_throughput'], 10_000),
    'generator': Workload(['generator'], 5_000),
}


def counted(build, words, count):
    command = ['valgrind', '--tool=callgrind', '--callgrind-out-file=/dev/null', f'{build}/bench/coir_bench', '--here',
               '--no-reactor', '--workers', '1', '--idle-poll', '0', '--count', str(count)] + words
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    found = re.search(r'Collected : (\d+)', done.stderr)
    if done.returncode != 0 or not found:
        sys.exit(f'instructions.py: failed: {" ".join(command)}\n{done.stderr}')
    return int(found[1])


def measured(build):
    for name, (words, count) in FIGURES.items():
        yield name, (counted(build, words, 2 * count) - counted(build, words, count)) / count


def compiler(build):
    """As the build folder was configured: its C++ compiler's full version, and the machine's kind."""
    with open(os.path.join(build, 'compile_commands.json')) as commands:
        program = re.search(r'"command": "(?:ccache )?(\S+)', commands.read())[1]
    command = [program, '-dumpfullversion', '-dumpversion']
    version = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    return f'{os.path.basename(program)} {version} {os.uname().machine}'


def baseline():
    with open(BASELINE) as lines:
        first, *rest = [line.strip() for line in lines if line.strip()]
    return first, {name: float(value) for name, value in (line.split() for line in rest)}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument('build')
    arguments.add_argument('--update', action='store_true', help='write the file anew')
    given = arguments.parse_args()
    now = dict(measured(given.build))
    made_by = compiler(given.build)
    if given.update:
        with open(BASELINE, 'w') as out:
            out.write(made_by + '\n' + ''.join(f'{name} {value:.1f}\n' for name, value in now.items()))
        return
    expected_by, expected = baseline()
    worse = []
    for name, value in now.items():
        before = expected.get(name)
        print(f'{name} {value:.1f} instructions' + (f' (was {before:.1f})' if before else ''))
        if before is None or value > before * (1 + TOLERANCE) + 2:
            worse.append(name)
    if made_by != expected_by:
        print(f'not judged: bench/instructions.txt is from {expected_by}, this is {made_by}')
    elif worse:
        sys.exit(f'instructions.py: more than before: {", ".join(worse)}. If the gain is worth it: --update')


if __name__ == '__main__':
    main()
