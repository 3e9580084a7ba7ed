"""Figures of several contestants, in rounds, and what is read off them."""
import collections
import statistics

LIMITS = ('limit', 'raw_uring', 'raw_uring_poll20', 'raw_epoll')  # what is no peer, but what the machine allows
US = 'coir'


def text_of(value):
    return f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.3g}'


class Table:
    """Values by workload, figure and contestant, in the order in which they first came."""

    def __init__(self):
        self.workloads = collections.defaultdict(list)  # to its figures
        self.values = collections.defaultdict(lambda: collections.defaultdict(list))
        self.units = {}

    def add(self, workload, figure, contestant, value, unit):
        if figure not in self.workloads[workload]:
            self.workloads[workload].append(figure)
        self.values[figure][contestant].append(value)
        self.units[figure] = unit

    def add_lines(self, workload, contestant, text):
        for line in text.splitlines():
            figure, value, unit = line.split()
            self.add(workload, figure, contestant, float(value), unit)

    def more_is_better(self, figure):
        return self.units[figure] in ('per_second', '1/s', 'GB/s', 'MiB/s')

    def median(self, figure, contestant):
        return statistics.median(self.values[figure][contestant])

    def range_text(self, figure, contestant):
        values = self.values[figure][contestant]
        return f'{text_of(statistics.median(values))} [{text_of(min(values))} - {text_of(max(values))}]'

    def cost_ratio(self, figure, other):
        """Ours to another's: below 1 is better, whatever the unit. None: one of them is missing, or zero."""
        if US not in self.values[figure] or other not in self.values[figure]:
            return None
        ours, theirs = self.median(figure, US), self.median(figure, other)
        if self.more_is_better(figure):
            ours, theirs = theirs, ours
        return ours / theirs if theirs else None

    def best(self, figure, among):
        """The contestant with the best median of those that `among` accepts; None."""
        wanted = [c for c in self.values[figure] if among(c)]
        best = max if self.more_is_better(figure) else min
        return best(wanted, key=lambda c: self.median(figure, c), default=None)

    def best_peer(self, figure):
        return self.best(figure, lambda c: not c.startswith(US) and c not in LIMITS)

    def best_limit(self, figure):
        return self.best(figure, lambda c: c in LIMITS)

    def lines(self, workload):
        """A table in Markdown of one workload's figures."""
        yield '| figure | unit | contestant | median [least - greatest] | coir / it |'
        yield '|---|---|---|---|---|'
        for figure in self.workloads[workload]:
            for contestant in self.values[figure]:
                ratio = None if contestant == US else self.cost_ratio(figure, contestant)
                yield (f'| {figure} | {self.units[figure]} | {contestant} | {self.range_text(figure, contestant)} | '
                       f'{"" if ratio is None else f"{ratio:.2f}"} |')

    # --- as text, so that charts can be drawn again and a part be measured again

    def dump(self):
        for workload, figures in self.workloads.items():
            for figure in figures:
                for contestant, values in self.values[figure].items():
                    yield ' '.join([workload, figure, contestant, self.units[figure], *(f'{v:.6g}' for v in values)])

    def load(self, lines, but=()):
        """All lines but those of some workloads."""
        for line in lines:
            workload, figure, contestant, unit, *values = line.split()
            if workload not in but:
                for value in values:
                    self.add(workload, figure, contestant, float(value), unit)
