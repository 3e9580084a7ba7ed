#!/usr/bin/env python3
"""follow.py DOCUMENT BUILD: does what a reader of the document does, in an empty folder, with the coir of that build folder.

A block of C++ behind a line that ends in "`NAME`:" is written to NAME; any other block so named, too. Blocks of sh are run, in
one shell, in the source tree's root as they see it (docs/ and tools/ are there), in their order. Each ends well, and if a block
of text follows it prints exactly that, where a line "..." stands for any lines, ... in a line for anything, and {} for a word.
Ports from 7000 to 7099 become free ones. Where a tool is missing that a command begins with (REQUIRES), or a command ends with
77, the test is skipped.
"""
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

REQUIRES = {'openssl': 'openssl', 'curl': 'curl', 'c++': 'c++', 'pkg-config': 'pkg-config', 'systemd-analyze': 'systemd-analyze',
            'systemd-socket-activate': 'systemd-socket-activate'}
LIMIT = 500  # seconds: it compiles
MARK = '=== follow: '
BLOCK = re.compile(r'(?:`([\w./-]+)`:\n\n)?^```(\w+)\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def pattern(text):
    """What a block of text matches."""
    return ''.join('(?:.*\n)*' if line == '...' else
                   re.escape(line).replace(r'\{\}', r'\S+').replace(r'\.\.\.', '.*') + '\n' for line in text.splitlines())


def free_port():
    """Below those that the kernel gives away by itself, so that it stays free for a while."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as s:
            try:
                s.bind(('127.0.0.1', port))
                return str(port)
            except OSError:
                pass


def with_free_ports(text):
    ports = {port: free_port() for port in sorted(set(re.findall(r'\b70\d\d\b', text)))}
    return re.sub(r'\b70\d\d\b', lambda m: ports[m.group()], text)


def environment(build, home):
    """With the coir of that build installed in a folder beside the reader's, and found there."""
    root = os.path.join(home, '.root')
    subprocess.run(['meson', 'install', '-C', build, '--no-rebuild', '--destdir', root], check=True, stdout=subprocess.DEVNULL)
    for folder, _, names in os.walk(root):
        if 'coir.pc' in names:
            path = os.path.join(folder, 'coir.pc')
            with open(path, encoding='utf-8') as f:
                text = re.sub('^prefix=', 'prefix=' + root, f.read(), flags=re.MULTILINE)
            with open(path, 'w', encoding='utf-8') as f:
                f.write(text)
            libraries = os.path.dirname(folder)
            return dict(os.environ, HOME=home, LC_ALL='C', PKG_CONFIG_PATH=folder,
                        LD_LIBRARY_PATH=':'.join(filter(None, [libraries, os.environ.get('LD_LIBRARY_PATH')])))
    sys.exit(f'{build} installs no coir.pc')


def run(script, folder, env):
    """Its code, output and errors; what it left running is ended."""
    with tempfile.TemporaryFile('w+') as out, tempfile.TemporaryFile('w+') as errors, open(
            os.path.join(folder, '.script'), 'w', encoding='utf-8') as f:
        f.write(script)
        f.flush()
        shell = subprocess.Popen(['bash', f.name], cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env=env,
                                 start_new_session=True)
        try:
            code = shell.wait(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            code = 'the limit of time'
        try:
            os.killpg(shell.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        out.seek(0)
        errors.seek(0)
        return code, out.read(), errors.read()


def main():
    document, build = sys.argv[1], os.path.abspath(sys.argv[2])
    with open(document, encoding='utf-8') as f:
        found = BLOCK.findall(with_free_ports(f.read()))
    steps, script = [], 'set -e\n'
    with tempfile.TemporaryDirectory() as folder:
        for n, (name, language, text) in enumerate(found):
            if name:
                # In its turn, because a later one may replace it.
                kept = os.path.join(folder, f'.{n}')
                with open(kept, 'w', encoding='utf-8') as f:
                    f.write(text)
                script += f'mkdir -p "$(dirname {name})"; cp .{n} {name}\n'
            elif language == 'sh':
                expected = found[n + 1][2] if n + 1 < len(found) and found[n + 1][1] == 'text' else None
                steps.append((text, expected))
                script += f'echo "{MARK}{len(steps) - 1}"\n{text}'
        absent = [tool for word, tool in REQUIRES.items()
                  if any(re.search(rf'^{re.escape(word)}\b', text, re.MULTILINE) for text, _ in steps) and not shutil.which(tool)]
        if absent:
            print('not here:', *absent)
            return 77
        for shared in ('docs', 'tools'):
            os.symlink(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(document))), shared), os.path.join(folder, shared))
        code, out, errors = run(script, folder, environment(build, folder))
    outputs = out.split(MARK)[1:]
    wrong = 0
    for n, (text, expected) in enumerate(steps):
        got = outputs[n].split('\n', 1)[1] if n < len(outputs) else None
        if got is None or expected is not None and not re.fullmatch(pattern(expected), got):
            wrong += 1
            print(f'{text}expected {expected!r}\n     got {got!r}')
    if code == 77:
        print(errors)
        return 77
    if code != 0 or wrong:
        print(f'{document}: ended with {code}\n{errors}')
        return 1
    print(f'{document}: {len(steps)} blocks of commands')
    return 0


if __name__ == '__main__':
    sys.exit(main())
