"""What the fuzzers of the example servers have in common: their arguments, how a server has to end, and what is said of it."""
import argparse


def arguments(document, seconds, names=()):
    """What was asked for, with `name` if there are names to choose from."""
    parser = argparse.ArgumentParser(description=document.splitlines()[0])
    if names:
        parser.add_argument('name', choices=names)
    parser.add_argument('program')
    parser.add_argument('--seconds', type=float, default=seconds)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--only', type=int)
    return parser.parse_args()


def objections_to_descriptors(server, before):
    if server.settles_at(before):
        return []
    return [f'{server.descriptors()} descriptors are open, {before} were in the beginning']


def objections_to_end(status, said, is_expected=lambda line: False):
    unexpected = [line for line in said.splitlines() if not is_expected(line)]
    if status == 0 and not unexpected:
        return []
    return [f'it ended with {status} and said:\n' + '\n'.join(unexpected[:50])]


def exit_status(failures):
    for failure in failures[:20]:
        print('FAILED:', failure)
    return 1 if failures else 0
