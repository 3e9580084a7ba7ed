#!/usr/bin/env python3
"""exports.py MAP OUT INCLUDE... -- ARCHIVE...: MAP, and what of the archives no public header names, as local.

What a program refers to it has from a header: a function by its name, in classes and namespaces that are defined there.
So a name stays private that is in no header, or is in a class that headers at most declare. Words of a header may mean something
else; then too much is exported. Without nm and c++filt OUT is MAP."""
import pathlib
import re
import shutil
import subprocess
import sys

SCOPE = re.compile(r'\b(?:class|struct|union|namespace)\s+(?:\[\[[^\]]*\]\]\s*|alignas\([^)]*\)\s*)*([\w:]+)[^;{}()=]*\{')
NAME = re.compile(r'\bcoir::((?:\w+::)*)~?(\w+)')


def said_in(headers):
    """All words of the headers, and the names of what they define."""
    code = ''.join(re.sub(r'//.*', '', h.read_text(encoding='utf-8')) for h in headers)
    return set(re.findall(r'\w+', code)), {part for found in SCOPE.findall(code) for part in found.split('::')}


def defined_in(archives):
    listed = subprocess.run(['nm', '--defined-only', '--extern-only', '--format=posix', *archives], check=True,
                            capture_output=True, text=True).stdout
    return sorted({words[0] for words in map(str.split, listed.splitlines()) if len(words) > 1 and '4coir' in words[0]})


def is_private(name, words, scopes):
    found = NAME.search(re.sub(r'\(.*', '', name)) or NAME.search(name)
    return found is not None and not (found[2] in words and set(found[1].split('::')[:-1]) <= scopes)


def main():
    base, out, *rest = sys.argv[1:]
    split = rest.index('--')
    text = pathlib.Path(base).read_text(encoding='utf-8')
    if shutil.which('nm') and shutil.which('c++filt'):
        words, scopes = said_in(sorted(h for folder in rest[:split] for h in pathlib.Path(folder).rglob('*.hpp')))
        symbols = defined_in(rest[split + 1:])
        names = subprocess.run(['c++filt'], input='\n'.join(symbols), check=True, capture_output=True,
                               text=True).stdout.splitlines()
        private = [s for s, name in zip(symbols, names) if is_private(name, words, scopes)]
        text = text.replace('local: *;', 'local: *;\n' + ''.join(f'    {s};\n' for s in private).rstrip('\n'))
    pathlib.Path(out).write_text(text, encoding='utf-8')


if __name__ == '__main__':
    main()
