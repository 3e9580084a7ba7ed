#!/usr/bin/env python3
"""links.py ROOT: what the documents link to is there, headings too; so are the files that they name between backquotes."""
import os
import re
import sys

FOLDERS = ('docs', 'examples', 'tools', 'tests', 'bench', 'fiber', 'sched', 'io')


def anchors(path):
    with open(path, encoding='utf-8') as f:
        headings = re.findall(r'^#+ (.*)$', f.read(), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', h.lower()).replace(' ', '-') for h in headings}


def documents(root):
    for folder, folders, names in os.walk(root):
        folders[:] = [d for d in folders if not d.startswith(('.', 'build')) and d != 'subprojects']
        yield from (os.path.join(folder, name) for name in names if name.endswith('.md'))


def main():
    root = os.path.abspath(sys.argv[1])
    wrong = links = 0
    for path in sorted(documents(root)):
        with open(path, encoding='utf-8') as f:
            text = re.sub(r'^```.*?^```$', '', f.read(), flags=re.MULTILINE | re.DOTALL)
        beside = os.path.dirname(path)
        for to in re.findall(r'\]\(([^)\s]+)\)', re.sub(r'`[^`\n]*`', 'code', text)):
            if re.match(r'[a-z]+:', to):
                continue
            links += 1
            name, _, anchor = to.partition('#')
            target = os.path.normpath(os.path.join(beside, name)) if name else path
            if not os.path.exists(target) or anchor and anchor not in anchors(target):
                wrong += 1
                print(f'{os.path.relpath(path, root)}: {to} is not there')
        for to in re.findall(r'`((?:' + '|'.join(FOLDERS) + r')/[\w./-]+)`', text):
            links += 1
            # A program is named as its source without the ending; NAME stands for any.
            if 'NAME' not in to and not any(os.path.exists(os.path.join(base, to + end)) for base in (root, beside)
                                            for end in ('', '.cpp')):
                wrong += 1
                print(f'{os.path.relpath(path, root)}: {to} is not there')
    print(f'{links} links and names, {wrong} wrong')
    return 1 if wrong or links < 20 else 0


if __name__ == '__main__':
    sys.exit(main())
