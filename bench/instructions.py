#!/usr/bin/env python3
"""instructions.py BUILD [--update]: what one operation executes, counted by Valgrind, against bench/instructions.txt.

Three counts of each: instructions; those that lock (a lock prefix, an exchange with memory, a fence); allocations from the
heap. A run of 2n operations less one of n leaves out what starting and ending cost. The counts depend on the compiler: the
file begins with the one that made it, and with any other the counts are printed and not judged.
"""
import argparse
import collections
import os
import re
import subprocess
import sys
import tempfile

BASELINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'instructions.txt')
TOLERANCE = 0.05  # and a few, for what does not happen in each operation
FEW = {'': 2, '_locked': 0.1, '_heap': 0.05}
LOCKED = re.compile(r'\block\b|\bxchg\b.*\(|\bmfence\b')
ALLOCATORS = ('malloc', 'calloc', 'realloc', 'operator new', 'aligned_alloc', 'posix_memalign')

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
    'deadlines': Workload(['deadlines'], 2_000),
}


def locking_addresses(program):
    listing = subprocess.run(['objdump', '-d', '--no-show-raw-insn', program], stdout=subprocess.PIPE, text=True, check=True)
    lines = (line.split(':', 1) for line in listing.stdout.splitlines() if line.startswith(' '))
    return {int(address, 16) for address, instruction in lines if LOCKED.search(instruction)}


def tally(profile, program, locking):
    """Of one run. A call's line is followed by one with what was spent inside of it, which its own lines say again."""
    found = collections.Counter()
    here = inside = allocates = False
    for line in profile:
        if line.startswith('0x'):
            address, spent = line.split()
            if not inside:
                found[''] += int(spent)
                if here and int(address, 16) in locking:
                    found['_locked'] += int(spent)
            inside = False
        elif line.startswith('ob='):
            here = line.rstrip().endswith(program)
        elif line.startswith('cfn='):
            allocates = line[4:].startswith(ALLOCATORS)
        elif line.startswith('calls='):
            inside = True
            if allocates:
                found['_heap'] += int(line[6:].split()[0])
    return found


def counted(build, locking, words, count):
    program = f'{build}/bench/coir_bench'
    with tempfile.NamedTemporaryFile('r') as profile:
        command = ['valgrind', '--tool=callgrind', '--dump-instr=yes', '--dump-line=no', '--compress-strings=no',
                   '--compress-pos=no', '--callgrind-out-file=' + profile.name, program, '--here', '--no-reactor',
                   '--workers', '1', '--idle-poll', '0', '--count', str(count)] + words
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f'instructions.py: failed: {" ".join(command)}\n{done.stderr}')
        return tally(profile, os.path.basename(program), locking)


def measured(build):
    locking = locking_addresses(f'{build}/bench/coir_bench')
    for name, (words, count) in FIGURES.items():
        more, less = (counted(build, locking, words, n * count) for n in (2, 1))
        for kind in FEW:
            yield name + kind, (more[kind] - less[kind]) / count


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
            out.write(made_by + '\n' + ''.join(f'{name} {value:.2f}\n' for name, value in now.items()))
        return
    expected_by, expected = baseline()
    worse = []
    for name, value in now.items():
        before = expected.get(name)
        kind = next(k for k in ('_locked', '_heap', '') if name.endswith(k))
        print(f'{name} {value:.2f}' + ('' if before is None else f' (was {before:.2f})'))
        if before is None or value > before * (1 + TOLERANCE) + FEW[kind]:
            worse.append(name)
    if made_by != expected_by:
        print(f'not judged: bench/instructions.txt is from {expected_by}, this is {made_by}')
    elif worse:
        sys.exit(f'instructions.py: more than before: {", ".join(worse)}. If the gain is worth it: --update')


if __name__ == '__main__':
    main()
