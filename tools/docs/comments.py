#!/usr/bin/env python3
"""comments.py HEADER: the header with its plain comments as those that Doxygen takes: its input filter.

The first block says what the file is, a block before a declaration is its, one behind a declaration on its line too. Nothing
in them is markup of Doxygen's. Specialisations of std's templates are left out: they belong to another's namespace.
"""
import re
import sys


def escaped(text):
    # What stands between backquotes is code to Doxygen, too.
    return ''.join(part if part.startswith('`') else re.sub(r'([\\@#<>&$%"]|(?<!\w)::)', r'\\\1', part)
                   for part in re.split(r'(`[^`]*`)', text))


def main():
    with open(sys.argv[1], encoding='utf-8') as f:
        lines = f.read().splitlines()
    out = []
    in_head, skip_to = True, None
    for line, following in zip(lines, lines[1:] + ['']):
        if skip_to is not None:
            skip_to = None if line == skip_to else skip_to
            out.append('')
        elif m := re.match(r'(\s*)//(.*)$', line):
            # The first line alone names the file; the others go on.
            mark = '/// \\file\n///' if in_head and not out else m.group(1) + '///'
            out.append(mark + escaped(m.group(2)))
        elif line == 'template <>' and following.startswith('struct std::'):
            out.append('')
            skip_to = following if following.endswith('};') else '};'
        else:
            in_head = False
            out.append(re.sub(r'([;,{}])  ?//(.*)$', lambda m: m.group(1) + ' ///<' + escaped(m.group(2)), line))
    print('\n'.join(out))


if __name__ == '__main__':
    main()
