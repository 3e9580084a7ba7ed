#!/usr/bin/env python3
"""recipes.py DOCUMENT OUTPUT: a program of a document whose first block of C++ is what the others need; each other one is
run on a fiber, by its number.
recipes.py DOCUMENT --run PROGRAM: runs each of them: it prints what the block of text behind it says, or nothing.
"""
import os
import re
import subprocess
import sys
import tempfile

LEAST = 25
HEAD = '''#include <cstdlib>
{includes}
namespace {{
{rest}
'''
MAIN = '''}}  // namespace
int main(int, char** argv) {{
  using recipe = void (*)();
  const recipe all[] = {{{names}}};
  coir::options o = coir::options::from_environment();
  if (o.workers == 0) o.workers = 2;
  coir::run(o, all[std::atoi(argv[1])]);
}}
'''


def blocks(path):
    """What the others need, and title, code and output of each recipe."""
    with open(path, encoding='utf-8') as f:
        parts = re.split(r'^#+ (.*)$', f.read(), flags=re.MULTILINE)
    first = re.search(r'^```cpp\n(.*?)^```$', parts[2], re.MULTILINE | re.DOTALL).group(1)
    recipes = []
    for title, text in zip(parts[3::2], parts[4::2]):
        for m in re.finditer(r'^```cpp\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?', text, re.MULTILINE | re.DOTALL):
            recipes.append((title, m.group(1), m.group(2) or ''))
    if len(recipes) < LEAST:
        sys.exit(f'{path}: {len(recipes)} recipes')
    return first, recipes


def write(document, output):
    first, recipes = blocks(document)
    lines = first.splitlines()
    with open(output, 'w', encoding='utf-8') as out:
        out.write(HEAD.format(includes='\n'.join(x for x in lines if x.startswith('#')),
                              rest='\n'.join(x for x in lines if not x.startswith('#'))))
        for n, (title, code, _) in enumerate(recipes):
            out.write(f'// {title}\nvoid recipe_{n}() {{\n{code}}}\n')
        out.write(MAIN.format(names=', '.join(f'recipe_{n}' for n in range(len(recipes)))))


def run(document, program):
    program = os.path.abspath(program)
    wrong = 0
    for n, (title, _, expected) in enumerate(blocks(document)[1]):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([program, str(n)], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0 or done.stdout != expected:
            wrong += 1
            print(f'{title}: ended with {done.returncode}, {done.stderr!r}\nexpected {expected!r}\n     got {done.stdout!r}')
    print(f'{n + 1} recipes, {wrong} wrong')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(run(sys.argv[1], sys.argv[3]) if sys.argv[2] == '--run' else write(sys.argv[1], sys.argv[2]))
