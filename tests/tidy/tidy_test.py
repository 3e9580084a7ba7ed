#!/usr/bin/env python3
"""Seeds one breach of each rule into a small tree that is clean without it; tidy.py has to name its place."""
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from tidy import Tree  # noqa: E402

CLEAN = {
    'fiber/meson.build': "fiber_lib = static_library('coir_fiber', 'a.cpp', 'context.cpp')\n",
    'fiber/include/coir/fiber/a.hpp': '// A thing.\n#pragma once\nint a();\n',
    'fiber/a.cpp': '#include <coir/fiber/a.hpp>\nint a() { return 1; }\n',
    'fiber/context.cpp': '#include <boost/context/detail/fcontext.hpp>\n// errno, thread_local: words only\n',
    'sched/meson.build': "foreach name : ['host']\n  files(name + '.cpp')\nendforeach\n",
    'sched/host.cpp': '#include <coir/fiber/a.hpp>\n#include "host.hpp"\nthread_local host* current;\n',
    'sched/host.hpp': '#pragma once\nstruct host {};\n',
    'io/meson.build': "io_lib = static_library('coir_io', 'ring.cpp')\n",
    'io/ring.cpp': '#include <liburing.h>\n#include <coir/sched/run.hpp>\n',
    'tests/meson.build': "executable('x', 'io/x_test.cpp')\n",
    'tests/sched/meson.build': "foreach name : ['z']\n  executable(name, name + '_test.cpp')\nendforeach\n",
    'tests/sched/z_test.cpp': '',
    'tests/io/x_test.cpp': '#include "host.hpp"\nconst char* text = "errno thread_local";\n',
}


def breaches(changes):
    with tempfile.TemporaryDirectory() as root:
        for path, text in {**CLEAN, **changes}.items():
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, 'w', encoding='utf-8') as f:
                f.write(text)
        return [b[:3] for b in Tree(root).check()]


class Tidy(unittest.TestCase):
    def finds(self, rule, line, path, text):
        self.assertEqual(breaches({path: text}), [(path, line, rule)])

    def test_a_clean_tree_has_no_breach(self):
        self.assertEqual(breaches({}), [])

    def test_script_names(self):
        self.finds('script-name', 1, 'bench/http.py', '')
        self.assertEqual(breaches({'bench/http_hello.py': ''}), [])

    def test_width(self):
        self.finds('width', 2, 'fiber/a.cpp', '\n//' + 'x' * 99 + '\n')
        self.assertEqual(breaches({'fiber/a.cpp': '//' + 'x' * 98 + '\n'}), [])

    def test_length(self):
        self.finds('length', 501, 'fiber/a.cpp', '\n' * 501)
        self.assertEqual(breaches({'fiber/a.cpp': '\n' * 500}), [])

    def test_white_space(self):
        self.finds('trailing-space', 1, 'fiber/a.cpp', 'int a; \n')
        self.finds('tab', 1, 'fiber/a.cpp', '\tint a;\n')
        self.finds('last-line', 1, 'fiber/a.cpp', 'int a;')
        self.finds('trailing-space', 2, 'README.md', '\nx \n')

    def test_words(self):
        self.finds('word', 1, 'fiber/a.cpp', '// TO' + 'DO: later\n')
        self.finds('word', 2, 'sched/host.hpp', '#pragma once\n// X' + 'XX\n')

    def test_layers(self):
        self.finds('layer', 1, 'fiber/a.cpp', '#include <coir/sched/run.hpp>\n')
        self.finds('layer', 1, 'fiber/a.cpp', '#include <coir/sync/mutex.hpp>\n')
        self.finds('layer', 1, 'fiber/a.cpp', '#  include "../sched/host.hpp"\n')
        self.finds('layer', 1, 'fiber/a.cpp', '#include <coir/coir.hpp>\n')
        self.finds('layer', 2, 'sched/host.cpp', '#include "host.hpp"\n#include "io/ring.hpp"\n')
        self.finds('layer', 1, 'sched/host.cpp', '#include <coir/io/tcp.hpp>\n')

    def test_foreign_headers(self):
        self.finds('foreign-header', 1, 'fiber/a.cpp', '#include <boost/context/fiber.hpp>\n')
        self.finds('foreign-header', 3, 'fiber/include/coir/fiber/a.hpp', '// A.\n#pragma once\n#include <liburing.h>\n')
        self.finds('foreign-header', 1, 'sched/host.cpp', '#include <liburing/io_uring.h>\n')
        self.finds('foreign-header', 1, 'io/ring.cpp', '#include <openssl/ssl.h>\n')

    def test_thread_local(self):
        self.finds('thread-local', 1, 'io/ring.cpp', 'thread_local int a;\n')
        self.finds('thread-local', 1, 'fiber/a.cpp', 'static __thread int a;\n')
        self.finds('thread-local', 2, 'sched/host.cpp', 'thread_local int a;\nthread_local int b;\n')

    def test_errno(self):
        self.finds('errno', 1, 'sched/host.cpp', 'int a = errno;\n')
        self.assertEqual(breaches({'io/ring.cpp': 'int a = errno;\n'}), [])

    def test_semaphores(self):
        self.finds('semaphore', 1, 'sched/host.cpp', 'std::binary_semaphore a;\n')

    def test_headers(self):
        self.finds('pragma-once', 1, 'sched/host.hpp', 'struct host {};\n')
        self.finds('says-what', 1, 'fiber/include/coir/fiber/a.hpp', '#pragma once\nint a();\n')

    def test_dead_files(self):
        self.finds('dead', 1, 'sched/old.cpp', 'int a;\n')
        self.finds('dead', 1, 'sched/old.hpp', '#pragma once\n')
        self.finds('dead', 1, 'tests/io/y_test.cpp', 'int a;\n')

    def test_comments_and_literals_are_no_code(self):
        self.assertEqual(breaches({'sched/host.cpp': '/* errno\n errno */ auto a = R"(errno "\n)"; char c = \'"\'; // errno\n'}), [])
        self.finds('errno', 2, 'sched/host.cpp', "int million = 1'000'000;\nint b = errno;\n")


if __name__ == '__main__':
    unittest.main()
