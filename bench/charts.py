"""Charts as SVG, written by hand: bars for the figures of a workload, and lines for how cost grows."""
import math
from xml.sax.saxutils import escape

import table

WIDTH, NAME, VALUE, ROW, HEAD = 760, 150, 130, 17, 30
OURS, PEER, LIMIT, FAINT = '#1f6feb', '#9aa4b0', '#d29922', '#d0d7de'
LINES = (OURS, '#d1242f', '#1a7f37', '#8250df', '#bf8700', '#57606a')


def document(width, height, body):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            f'font-family="sans-serif" font-size="12">\n<rect width="{width}" height="{height}" fill="white"/>\n'
            + '\n'.join(body) + '\n</svg>\n')


def text(x, y, words, anchor='start', more=''):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(words)}</text>'


def line(x1, y1, x2, y2, colour, width=1):
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{colour}" stroke-width="{width}" fill="none"/>'


def colour_of(contestant):
    return LIMIT if contestant in table.LIMITS else OURS if contestant.startswith(table.US) else PEER


def bars(values, workload, wanted=lambda figure: True):
    """The medians of each figure, a bar a contestant, with a line from the least to the greatest."""
    body, y = [], 8
    for figure in filter(wanted, values.workloads[workload]):
        row = values.values[figure]
        most = max(max(v) for v in row.values()) or 1
        better = 'more' if values.more_is_better(figure) else 'less'
        y += HEAD
        body.append(text(8, y - 8, f'{figure}, {values.units[figure]} ({better} is better)', more='font-weight="bold"'))
        scale = (WIDTH - NAME - VALUE) / most
        for contestant, rounds in row.items():
            median, middle = values.median(figure, contestant), y + ROW / 2
            body.append(text(NAME - 6, middle + 4, contestant, 'end'))
            body.append(f'<rect x="{NAME}" y="{y + 2}" width="{max(median * scale, 1):.1f}" height="{ROW - 4}" '
                        f'fill="{colour_of(contestant)}"/>')
            body.append(line(NAME + min(rounds) * scale, middle, NAME + max(rounds) * scale, middle, '#24292f'))
            body.append(text(NAME + max(rounds) * scale + 6, middle + 4, table.text_of(median)))
            y += ROW
    return document(WIDTH, y + 12, body)


def powers(least, most):
    return range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)


def curves(title, unit, across, series):
    """Lines over a logarithmic scale both ways. `series`: name to a list of (x, y)."""
    points = [p for line_ in series.values() for p in line_ if p[1] > 0]
    left, top, width, height = 70, 40, 480, 260
    xs, ys = powers(min(p[0] for p in points), max(p[0] for p in points)), powers(min(p[1] for p in points),
                                                                                  max(p[1] for p in points))

    def at(x, y):
        return (left + (math.log10(x) - xs[0]) / max(len(xs) - 1, 1) * width,
                top + height - (math.log10(y) - ys[0]) / max(len(ys) - 1, 1) * height)

    body = [text(left, 22, f'{title}, {unit}', more='font-weight="bold"'),
            text(left + width / 2, top + height + 34, across, 'middle')]
    for power in ys:
        y = at(10 ** xs[0], 10 ** power)[1]
        body += [line(left, y, left + width, y, FAINT), text(left - 6, y + 4, f'{10.0 ** power:g}', 'end')]
    for power in xs:
        x = at(10 ** power, 10 ** ys[0])[0]
        body += [line(x, top, x, top + height, FAINT), text(x, top + height + 16, f'{10 ** power:,}', 'middle')]
    for n, (name, line_) in enumerate(series.items()):
        colour = LINES[n % len(LINES)]
        places = [at(x, y) for x, y in line_ if y > 0]
        body.append('<path d="M' + 'L'.join(f'{x:.1f} {y:.1f}' for x, y in places) +
                    f'" stroke="{colour}" stroke-width="2" fill="none"/>')
        body += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in places]
        body.append(text(left + width + 12, top + 12 + 18 * n, name, more=f'fill="{colour}"'))
    return document(left + width + 190, top + height + 46, body)
