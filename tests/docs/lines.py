#!/usr/bin/env python3
"""lines.py DOCUMENT OUTPUT: a program of the document's first block of C++, and of each line of code in the second
column of its tables, as a function of its own."""
import re
import sys

# What the lines use and the document does not declare. A line is a block of its own, so that it may hide a parameter.
LINE = '''void line_{number}([[maybe_unused]] counter& co, [[maybe_unused]] counter& dead,
                [[maybe_unused]] counter::yield_type& yield,
                [[maybe_unused]] coir::generator<int>::yield_type& yield_each) {{
  {{ {code} }}
}}
'''
HEAD = '#include <cstdio>\n#include <vector>\n'
USE = 'int used = 0;\nvoid use(int v) { used += v; }\n'
MAIN = '''int main() {
  counter co(body);
  const bool right = co.resume(5) == 6 && co.resume(9) == 9;
  return right && co.status() == coir::coroutine_status::dead ? 0 : 1;
}
'''

with open(sys.argv[1], encoding='utf-8') as f:
    text = f.read()
block = re.search(r'^```cpp\n(.*?)^```$', text, re.MULTILINE | re.DOTALL).group(1)
rows = re.findall(r'^\| `.*$', text, re.MULTILINE)
lines = re.findall(r'^\| `[^`]*` \| `([^`]*)` \|', text, re.MULTILINE)
if not lines or len(lines) != len(rows):
    sys.exit(f'{sys.argv[1]}: {len(rows)} rows, {len(lines)} lines of code')
with open(sys.argv[2], 'w', encoding='utf-8') as out:
    out.write(HEAD + block + USE)
    out.writelines(LINE.format(number=n, code=code) for n, code in enumerate(lines))
    out.write(MAIN)
