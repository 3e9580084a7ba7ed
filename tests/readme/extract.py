#!/usr/bin/env python3
"""extract.py FILE LANGUAGE TO: writes the first fenced block of that language to a file."""
import re
import sys


def block(path, language):
    with open(path, encoding='utf-8') as f:
        found = re.search(r'^```' + language + r'\n(.*?)^```$', f.read(), re.MULTILINE | re.DOTALL)
    if not found:
        sys.exit(f'{path}: no block of {language}')
    return found.group(1)


if __name__ == '__main__':
    with open(sys.argv[3], 'w', encoding='utf-8') as out:
        out.write(block(sys.argv[1], sys.argv[2]))
