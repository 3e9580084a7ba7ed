#!/usr/bin/env python3
"""The workloads of coir_bench as asyncio runs them, under the same names: asyncio_bench.py [WORKLOAD...].

On uvloop with --uvloop. Other options of coir_bench are passed over; one thread is all there is.
"""
import asyncio
import sys
import time


def report(name, begin, count, unit='ns', scale=1e9):
    print(f'{name} {(time.perf_counter() - begin) * scale / count:.5g} {unit}', flush=True)


async def turns(count):
    for _ in range(count):
        await asyncio.sleep(0)


async def nothing():
    pass


async def measure_yield():
    for n in (2, 200, 1000):
        each = 500_000 // n
        begin = time.perf_counter()
        await asyncio.gather(*(turns(each) for _ in range(n)))
        report(f'yield_{n}_t1', begin, n * each)


async def measure_spawn_join():
    count = 100_000
    begin = time.perf_counter()
    for _ in range(count):
        await asyncio.create_task(nothing())
    report('spawn_join_t1', begin, count)


async def measure_spawn_many():
    count = 200_000
    begin = time.perf_counter()
    await asyncio.gather(*(nothing() for _ in range(count)))
    report('spawn_many_t1', begin, count)


async def measure_mutex():
    mutex = asyncio.Lock()

    async def contend(times):
        for _ in range(times):
            async with mutex:
                await asyncio.sleep(0)

    begin = time.perf_counter()
    await asyncio.gather(*(contend(1_000) for _ in range(100)))
    report('mutex_t1', begin, 100_000)


async def measure_channel_ping_pong():
    """A queue has room for one item at least."""
    count = 50_000
    there, back = asyncio.Queue(1), asyncio.Queue(1)

    async def pong():
        for _ in range(count):
            await back.put(await there.get())

    other = asyncio.create_task(pong())
    begin = time.perf_counter()
    for i in range(count):
        await there.put(i)
        await back.get()
    report('channel_ping_pong', begin, count)
    await other


def measure_generator():
    count = 5_000_000
    begin = time.perf_counter()
    if sum(1 for _ in (1 for _ in range(count))) != count:
        sys.exit('asyncio_bench.py: values are missing')
    report('generator', begin, count)


def main():
    words = [w for w in sys.argv[1:] if not w.startswith('--')]
    if '--uvloop' in sys.argv:
        import uvloop
        uvloop.install()
    loops = {'yield': measure_yield, 'spawn_join': measure_spawn_join, 'spawn_many': measure_spawn_many,
             'mutex': measure_mutex, 'channel_ping_pong': measure_channel_ping_pong}
    for name, measure in loops.items():
        if not words or name in words:
            asyncio.run(measure())
    if not words or 'generator' in words:
        measure_generator()


if __name__ == '__main__':
    main()
