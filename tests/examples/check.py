#!/usr/bin/env python3
"""check.py EXPECTED PROGRAM...: the program prints what the file says."""
import subprocess
import sys

with open(sys.argv[1], encoding='utf-8') as f:
    expected = f.read()
got = subprocess.run(sys.argv[2:], stdout=subprocess.PIPE, check=True, text=True, timeout=50).stdout
if got != expected:
    sys.exit(f'expected {expected!r}, got {got!r}')
