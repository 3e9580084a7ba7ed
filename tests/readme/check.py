#!/usr/bin/env python3
"""check.py README PROGRAM: the program prints the README's first block of text, and its example is short."""
import subprocess
import sys

sys.dont_write_bytecode = True
from extract import block  # noqa: E402

expected = block(sys.argv[1], 'text')
got = subprocess.run(sys.argv[2:], stdout=subprocess.PIPE, check=True, text=True, timeout=50).stdout
if got != expected:
    sys.exit(f'expected {expected!r}, got {got!r}')
