#!/usr/bin/env python3
"""counts.py BUILD [WORD]: one line about the last `meson test` in BUILD: programs run, those that failed, cases,
and the sum of N over all lines that say "of N races".

With WORD, also how many lines of output contained it.
"""
import json
import re
import sys

log = sys.argv[1] + '/meson-logs/testlog.json'
programs = failed = cases = lines = races = 0
with open(log, encoding='utf-8') as f:
    for entry in map(json.loads, f):
        programs += 1
        failed += entry['result'] not in ('OK', 'SKIP', 'EXPECTEDFAIL')
        out = entry.get('stdout', '')
        cases += sum(int(n) for n in re.findall(r'\[  PASSED  \] (\d+) test', out))
        races += sum(int(n) for n in re.findall(r'\bof (\d+) races\b', out))
        if len(sys.argv) > 2:
            lines += sum(sys.argv[2] in line for line in out.splitlines())
words = [f'{programs} programs', f'{failed} failed', f'{cases} cases']
if races:
    words.append(f'{races} races')
if len(sys.argv) > 2:
    words.append(f'{lines} lines with "{sys.argv[2]}"')
print(', '.join(words))
