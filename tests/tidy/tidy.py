#!/usr/bin/env python3
"""tidy.py ROOT: the rules of style and layering that a program can check.

Prints `file:line: rule: what is wrong` for each breach and exits with 1 if there is one. The exceptions are named
below, so that a new one shows in a change.
"""
import os
import re
import sys

LIBRARY = ('fiber', 'sched', 'io')
FOLDERS = LIBRARY + ('tests', 'examples', 'bench')
WIDTH = 100
LENGTH = 500

LONG_FILES = set()
LOCK_CHECK = 'sched/native_locks.cpp'  # of one build option; touched where no switch comes between
BOOST_CONTEXT = {'fiber/context.cpp'}
LIBURING = {'io/ring.hpp', 'io/ring.cpp'}
OPENSSL = {f'io/tls/{name}' for name in ('credentials.cpp', 'engine_bio.hpp', 'openssl.hpp', 'tls_engine.cpp',
                                         'tls_errors.cpp')}
# Where the number of an error is read, each in a function that does not block.
ERRNO = re.compile(r'fiber/(context|overflow|stack_guard|stack_pool)\.cpp$|sched/(futex|signal_hub)\.cpp$|'
                   r'io/(addresses|child|epoll_calls|epoll_reactor|file_calls|file_request|ring|system_calls|unix|start_child|uring_reactor)\.cpp$|'
                   r'(tests|examples|bench)/')

# Which layers a layer may not include, as the quoted or the bracketed path would begin.
ABOVE = {'fiber': ('sched', 'sync', 'io'), 'sched': ('io',), 'io': ()}

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')
WORDS = re.compile(r'\b(TODO|FIXME|XXX|HACK)\b|not (yet )?implemented', re.IGNORECASE)


def read(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


def code_of(text):
    """The text with comments and literals blanked, line for line."""
    token = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<!\w)\'(?:\\.|[^\'\\\n])+\'',
                       re.DOTALL)
    return token.sub(lambda m: re.sub(r'[^\n]', ' ', m.group()), text)


def walk(root):
    """Every file of the tree that somebody wrote, relative to its root."""
    for folder, folders, names in os.walk(root):
        top = folder == root
        folders[:] = sorted(d for d in folders if not d.startswith(('.git', '.cache', '__pycache__'))
                            and not (top and (d.startswith('build') or d == 'subprojects')))
        for name in sorted(names):
            yield os.path.relpath(os.path.join(folder, name), root)


class Tree:
    def __init__(self, root):
        self.root = root
        self.breaches = []
        self.text = {}
        for path in walk(root):
            if path.endswith(('.cpp', '.hpp', '.md', '.py', '.sh', 'meson.build', 'meson_options.txt')) or path == 'dev':
                self.text[path] = read(os.path.join(root, path))
        self.sources = [p for p in self.text if p.endswith(('.cpp', '.hpp')) and p.split('/')[0] in FOLDERS]
        self.includes = {p: [(n, m.group(1)) for n, line in enumerate(self.text[p].splitlines(), 1)
                             if (m := INCLUDE.match(line))] for p in self.sources}
        self.code = {p: code_of(self.text[p]).splitlines() for p in self.sources}

    def breach(self, path, line, rule, what):
        self.breaches.append((path, line, rule, what))

    def in_library(self):
        return [p for p in self.sources if p.split('/')[0] in LIBRARY]

    def check(self):
        for rule in (self.white_space, self.width, self.length, self.words, self.layers, self.foreign_headers,
                     self.thread_locals, self.error_numbers, self.semaphores, self.headers, self.dead_files, self.scripts):
            rule()
        return sorted(self.breaches)

    def white_space(self):
        for path, text in self.text.items():
            for n, line in enumerate(text.split('\n'), 1):
                if line != line.rstrip():
                    self.breach(path, n, 'trailing-space', 'white space at the end of the line')
                if '\t' in line:
                    self.breach(path, n, 'tab', 'a tab')
            if text and not text.endswith('\n'):
                self.breach(path, text.count('\n') + 1, 'last-line', 'no newline at the end')

    def width(self):
        for path in self.sources:
            for n, line in enumerate(self.text[path].splitlines(), 1):
                if len(line) > WIDTH:
                    self.breach(path, n, 'width', f'{len(line)} columns, {WIDTH} at most')

    def length(self):
        for path in self.sources:
            lines = self.text[path].count('\n')
            if lines > LENGTH and path not in LONG_FILES:
                self.breach(path, lines, 'length', f'{lines} lines, {LENGTH} at most: which second concept hides here?')

    def words(self):
        for path in self.sources:
            for n, line in enumerate(self.text[path].splitlines(), 1):
                if m := WORDS.search(line):
                    self.breach(path, n, 'word', f'"{m.group()}"')

    def layers(self):
        for path in self.in_library():
            for n, header in self.includes[path]:
                plain = re.sub(r'^(\.\./)*(coir/)?', '', header)
                if plain.split('/')[0] in ABOVE[path.split('/')[0]] and '/' in plain or header == 'coir/coir.hpp':
                    self.breach(path, n, 'layer', f'{path.split("/")[0]} lies below {header}')

    def foreign_headers(self):
        for path in self.in_library():
            for n, header in self.includes[path]:
                for library, owners in (('boost/context', BOOST_CONTEXT), ('liburing', LIBURING), ('openssl/', OPENSSL)):
                    if header.startswith(library) and path not in owners:
                        self.breach(path, n, 'foreign-header', f'only {", ".join(sorted(owners))} may include {library}')

    def thread_locals(self):
        found = [(path, n) for path in self.in_library() if path != LOCK_CHECK for n, line in enumerate(self.code[path], 1)
                 if re.search(r'\b(thread_local|__thread)\b', line)]
        for path, n in found:
            if not path.startswith('sched/'):
                self.breach(path, n, 'thread-local', 'the one thread-local of the library is the current host, in sched')
        in_sched = [f for f in found if f[0].startswith('sched/')]
        for path, n in in_sched[1:]:
            self.breach(path, n, 'thread-local', f'a second one; the first is {in_sched[0][0]}:{in_sched[0][1]}')

    def error_numbers(self):
        for path in self.sources:
            for n, line in enumerate(self.code[path], 1):
                if re.search(r'\berrno\b', line) and not ERRNO.match(path):
                    self.breach(path, n, 'errno', 'read where a switch cannot come between; see ERRNO in tidy.py')

    def semaphores(self):
        for path in self.in_library():
            for n, line in enumerate(self.code[path], 1):
                if re.search(r'\bstd::(binary|counting)_semaphore\b', line):
                    self.breach(path, n, 'semaphore', "std's semaphores lose wake-ups in libstdc++ 12 on one platform")

    def headers(self):
        for path in self.sources:
            if not path.endswith('.hpp'):
                continue
            if '#pragma once' not in self.text[path].splitlines():
                self.breach(path, 1, 'pragma-once', 'missing')
            if '/include/' in path and not self.text[path].startswith('//'):
                self.breach(path, 1, 'says-what', 'a public header begins with a comment that says what it is')

    def dead_files(self):
        included = {os.path.basename(h) for headers in self.includes.values() for _, h in headers}
        for path in self.sources:
            if path.endswith('.hpp'):
                if '/include/' not in path and os.path.basename(path) not in included:
                    self.breach(path, 1, 'dead', 'nothing includes it')
            elif not self.built(path):
                self.breach(path, 1, 'dead', 'no meson.build names it')

    def built(self, path):
        """Whether a meson.build beside or above the file has its path in quotes: whole, without the ending, or put
        together from two strings, as a loop over names does."""
        folder, name = os.path.split(path)
        while True:
            strings = set(re.findall(r"'([^'\n]*)'", self.text.get(os.path.join(folder, 'meson.build'), '')))
            if name in strings or any(name[:i] in strings and name[i:] in strings | {'.cpp'} for i in range(1, len(name))):
                return True
            if not folder:
                return False
            folder, last = os.path.split(folder)
            name = last + '/' + name

    def scripts(self):
        """One beside it that is named as a module of Python's library hides that from every script of its folder."""
        for path in self.text:
            folder, name = os.path.split(path)
            if name.endswith('.py') and name[:-3] in sys.stdlib_module_names:
                self.breach(path, 1, 'script-name', f'Python has a module {name[:-3]} of its own')


def main():
    root = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else '.')
    tree = Tree(root)
    breaches = tree.check()
    for path, line, rule, what in breaches:
        print(f'{path}:{line}: {rule}: {what}')
    print(f'{len(tree.sources)} sources, {len(breaches)} breaches')
    return 1 if breaches else 0


if __name__ == '__main__':
    sys.exit(main())
