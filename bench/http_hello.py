#!/usr/bin/env python3
"""http_hello.py BUILD [OPTION...]: http_server's /hello under wrk, beside nginx's and Go's, each on one processor.

Prints `name value unit` lines: the processor time that a server takes for a request, user and system together, and the
requests a second. The contestants take turns for some rounds; the figures are medians, with the least and the greatest.
wrk has the second processor that this process may use, the servers have the first. Who is not installed is left out.
"""
import argparse
import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from echo import processors, raise_descriptor_limit, run_pinned, server

NGINX = '''
daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log stderr crit;
events { worker_connections 8192; }
http {
  access_log off; keepalive_requests 1000000000; default_type text/plain;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server { listen 127.0.0.1:%d backlog=4096; location = /hello { return 200 hello; } }
}
'''


def cpu_seconds(pid):
    """Of all threads of a process, to the nanosecond."""
    total = 0
    for thread in os.listdir(f'/proc/{pid}/task'):
        with contextlib.suppress(OSError), open(f'/proc/{pid}/task/{thread}/schedstat', encoding='ascii') as f:
            total += int(f.read().split()[0])
    return total / 1e9


@contextlib.contextmanager
def nginx():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + '/nginx.conf', 'w', encoding='ascii') as f:
            f.write(NGINX % port)
        process = subprocess.Popen([shutil.which('nginx', path='/usr/sbin:' + os.environ['PATH']), '-p', folder, '-c', f.name],
                                   preexec_fn=run_pinned(processors()[0]))
        try:
            for _ in range(500):
                with contextlib.suppress(OSError), socket.create_connection(('127.0.0.1', port)):
                    break
                time.sleep(0.01)
            yield f'127.0.0.1:{port}', process
        finally:
            process.terminate()
            process.wait()


def contestants(build, folder, reactors):
    """Name to a context that runs one."""
    ours = [f'{build}/examples/http_server', '--listen', '127.0.0.1:0', '--workers', '1', '--access-log', 'none']
    found = {f'coir_{r}': lambda r=r: server(ours, {'COIR_REACTOR': r}) for r in reactors}
    if shutil.which('nginx', path='/usr/sbin:' + os.environ['PATH']):
        found['nginx'] = nginx
    if shutil.which('go'):
        program = folder + '/go_http'
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'peers/go_http.go')
        subprocess.run(['go', 'build', '-o', program, source], check=True, env={**os.environ, 'GOFLAGS': '-mod=mod'})
        found['go'] = lambda: server([program])
    return found


def wrk(address, connections, seconds):
    command = ['wrk', '-t1', f'-c{connections}', f'-d{seconds}', f'http://{address}/hello']
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True,
                          preexec_fn=run_pinned(processors()[1])).stdout
    errors = re.search(r'Non-2xx.*|Socket errors: (?!connect 0, read 0, write 0).*', said)
    if errors:
        print(f'http_hello.py: {errors.group()}', file=sys.stderr)
    return int(re.search(r'(\d+) requests in', said).group(1)), float(re.search(r'Requests/sec:\s*([0-9.]+)', said).group(1))


def measure(context, connections, seconds):
    with context() as (address, process):
        wrk(address, connections, 1)
        before = cpu_seconds(process.pid)
        requests, rate = wrk(address, connections, seconds)
        return (cpu_seconds(process.pid) - before) / requests * 1e6, rate


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument('build')
    arguments.add_argument('--rounds', type=int, default=3)
    arguments.add_argument('--seconds', type=int, default=3, help='for each figure of a round')
    arguments.add_argument('--connections', action='append', type=int, help='only that many; may be repeated')
    arguments.add_argument('--reactor', action='append', help="coir's; may be repeated (automatic)")
    arguments.add_argument('--only', action='append', help='one of them: coir_REACTOR, nginx, go; may be repeated')
    given = arguments.parse_args()
    if not shutil.which('wrk'):
        sys.exit('http_hello.py: there is no wrk')
    raise_descriptor_limit()
    with tempfile.TemporaryDirectory() as folder:
        found = contestants(given.build, folder, given.reactor or ['automatic'])
        for connections in given.connections or (64, 1000):
            figures = {name: [] for name in found if not given.only or name in given.only}
            for _ in range(given.rounds):
                for name, taken in figures.items():
                    taken.append(measure(found[name], connections, given.seconds))
            for name, taken in figures.items():
                for figure, unit, values in zip(('cpu', 'rate'), ('us', '1/s'), zip(*taken)):
                    print(f'http_hello_c{connections}_{name}_{figure} {statistics.median(values):.4g} {unit} '
                          f'[{min(values):.4g} - {max(values):.4g}]', flush=True)


if __name__ == '__main__':
    try:
        main()
    except (RuntimeError, subprocess.CalledProcessError) as error:
        sys.exit(f'http_hello.py: {error}')
