#!/usr/bin/env python3
"""lines.py FILE TO: writes a program of a document's first block of C++ and the code in the last column of its tables,
each line in a function of its own. To be compiled; it is never run."""
import re
import sys

sys.dont_write_bytecode = True
from extract import block  # noqa: E402


def lines(path):
    with open(path, encoding='utf-8') as f:
        rows = [row for row in f if row.startswith('| ')]
    return [m.group(1).replace('\\|', '|') for row in rows if (m := re.search(r'\| `([^`]+)` \|$', row))]


if __name__ == '__main__':
    found = lines(sys.argv[1])
    if len(found) < 10:
        sys.exit(f'{sys.argv[1]}: {len(found)} lines of code')
    with open(sys.argv[2], 'w', encoding='utf-8') as out:
        names = block(sys.argv[1], 'cpp').splitlines(keepends=True)
        includes = [line for line in names if line.startswith('#')]
        out.writelines(includes)
        out.write('namespace from_go {\n')  # global names would shadow those of the headers' templates
        out.writelines(line for line in names if line not in includes)
        out.write('void f() {}\nvoid use(int) {}\n')
        for n, code in enumerate(found, 1):
            line = f'void line_{n}();\nvoid line_{n}() {{ {code} }}\n'
            out.write(f'#if __has_include(<coir/io/tls_stream.hpp>)\n{line}#endif\n' if 'tls_' in code else line)
        out.write('}\n')
        out.write('int main() {}\n')
