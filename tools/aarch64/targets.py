#!/usr/bin/env python3
"""targets.py BUILD SUITE...: the programs that the tests of these suites run, as ninja calls them."""
import json
import os
import subprocess
import sys

build = os.path.realpath(sys.argv[1])
chosen = set(sys.argv[2:])
tests = json.loads(subprocess.check_output(['meson', 'introspect', '--tests', build]))
for test in tests:
    suites = {suite.split(':')[-1] for suite in test['suite']}
    if suites & chosen and not suites & {'long', 'model', 'package', 'style'}:
        for word in test['cmd']:
            if word.startswith(build + '/'):
                print(os.path.relpath(word, build))
