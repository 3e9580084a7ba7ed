//! The workloads of coir_bench as Tokio runs them, under the same names: tokio_bench [WORKLOAD...].
//! One worker is the current-thread scheduler, two are the multi-thread one. Options of coir_bench are passed over.
use std::future::Future;
use std::pin::Pin;
use std::process::{exit, Command};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, Mutex, Notify};
use tokio::task::JoinHandle;

const WORKLOADS: &[(&str, &[usize])] = &[
    ("yield", &[1, 2]),
    ("spawn_join", &[1, 2]),
    ("spawn_many", &[1, 2]),
    ("fork_join", &[1, 2]),
    ("mutex", &[1, 2]),
    ("channel_ping_pong", &[1, 2]),
    ("channel_throughput", &[1, 2]),
    ("skynet_channels", &[1, 2]),
    ("wake", &[2]),
    ("sleepers", &[1, 2]),
    ("parked", &[1]),
];

fn report(name: String, value: f64, unit: &str) {
    println!("{name} {value:.5} {unit}");
}

fn each(begin: Instant, count: u64) -> f64 {
    begin.elapsed().as_nanos() as f64 / count as f64
}

fn named(name: &str, workers: usize) -> String {
    format!("{name}_t{workers}")
}

/// As coir's own figures are named. Where the two run is the scheduler's choice.
fn unless_one(name: &str, workers: usize) -> String {
    if workers == 1 { name.into() } else { named(name, workers) }
}

/// Processor seconds so far, and the peak of memory in bytes.
fn usage() -> (f64, f64) {
    let mut r: libc::rusage = unsafe { std::mem::zeroed() };
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut r) };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 * 1e-6;
    (seconds(r.ru_utime) + seconds(r.ru_stime), r.ru_maxrss as f64 * 1024.0)
}

async fn join(all: Vec<JoinHandle<()>>) {
    for one in all {
        one.await.unwrap();
    }
}

async fn yields(workers: usize) {
    for n in [2, 200, 1000] {
        let turns = 5_000_000 / n;
        let begin = Instant::now();
        let turn = || async move {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
        };
        join((0..n).map(|_| tokio::spawn(turn())).collect()).await;
        report(named(&format!("yield_{n}"), workers), each(begin, n * turns), "ns");
    }
}

async fn spawn_join(workers: usize) {
    let count = 2_000_000;
    let begin = Instant::now();
    for _ in 0..count {
        tokio::spawn(async {}).await.unwrap();
    }
    report(named("spawn_join", workers), each(begin, count), "ns");
}

async fn spawn_many(workers: usize) {
    let count = 1_000_000;
    for name in ["spawn_many", "spawn_many_warm"] {
        let begin = Instant::now();
        join((0..count).map(|_| tokio::spawn(async {})).collect()).await;
        report(named(name, workers), each(begin, count), "ns");
    }
}

fn fibonacci(n: u32) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(async move {
        if n < 2 {
            return n as u64;
        }
        let larger = tokio::spawn(fibonacci(n - 1));
        let smaller = fibonacci(n - 2).await;
        larger.await.unwrap() + smaller
    })
}

async fn fork_join(workers: usize) {
    let begin = Instant::now();
    assert_eq!(fibonacci(27).await, 196_418);
    report(named("fork_join_fib27", workers), each(begin, 1_000_000), "ms");
}

async fn contend(workers: usize) {
    let (count, turns) = (100, 10_000);
    let counter = Arc::new(Mutex::new(0));
    let begin = Instant::now();
    let contender = |counter: Arc<Mutex<u64>>| async move {
        for _ in 0..turns {
            let mut held = counter.lock().await;
            *held += 1;
            tokio::task::yield_now().await;
        }
    };
    join((0..count).map(|_| tokio::spawn(contender(counter.clone()))).collect()).await;
    report(named("mutex", workers), each(begin, count * turns), "ns");
    assert_eq!(*counter.lock().await, count * turns);
}

/// Tokio's channels have room for one item at least.
async fn ping_pong(workers: usize) {
    let count = 1_000_000;
    let (there, mut at_other) = mpsc::channel(1);
    let (back, mut at_home) = mpsc::channel(1);
    let begin = Instant::now();
    let other = tokio::spawn(async move {
        for _ in 0..count {
            back.send(at_other.recv().await.unwrap()).await.unwrap();
        }
    });
    for i in 0..count {
        there.send(i).await.unwrap();
        at_home.recv().await.unwrap();
    }
    other.await.unwrap();
    report(unless_one("channel_ping_pong", workers), each(begin, count), "ns");
}

async fn throughput(workers: usize) {
    let count = 10_000_000;
    let (items, mut received) = mpsc::channel(128);
    let begin = Instant::now();
    tokio::spawn(async move {
        for i in 0..count {
            items.send(i).await.unwrap();
        }
    });
    for _ in 0..count {
        received.recv().await.unwrap();
    }
    report(unless_one("channel_throughput", workers), each(begin, count), "ns");
}

fn tree(parent: mpsc::Sender<u64>, first: u64, leaves: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        if leaves == 1 {
            parent.send(first).await.unwrap();
            return;
        }
        let (children, mut sums) = mpsc::channel(1);
        for i in 0..10 {
            tokio::spawn(tree(children.clone(), first + i * (leaves / 10), leaves / 10));
        }
        let mut sum = 0;
        for _ in 0..10 {
            sum += sums.recv().await.unwrap();
        }
        parent.send(sum).await.unwrap();
    })
}

async fn skynet(workers: usize) {
    let begin = Instant::now();
    let (root, mut sum) = mpsc::channel(1);
    tokio::spawn(tree(root, 0, 1_000_000));
    assert_eq!(sum.recv().await, Some(499_999_500_000));
    report(named("skynet_channels", workers), each(begin, 1_000_000), "ms");
}

/// The waker is a plain thread: a worker that computes would keep the woken task to itself.
async fn wake(_: usize) {
    let count = 20_000;
    let origin = Instant::now();
    let now = move || origin.elapsed().as_nanos() as i64;
    let (sent, received) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicU64::new(0)));
    let (items, mut at_waiter) = mpsc::channel(1);
    let waker = {
        let (sent, received) = (sent.clone(), received.clone());
        tokio::task::spawn_blocking(move || {
            for i in 1..=count {
                let until = now() + 30_000;
                while now() < until {}
                sent.store(now(), SeqCst);
                items.try_send(()).unwrap();
                while received.load(SeqCst) < i {}
            }
        })
    };
    let mut latency = Vec::new();
    for i in 1..=count {
        at_waiter.recv().await.unwrap();
        latency.push(now() - sent.load(SeqCst));
        received.store(i, SeqCst);
    }
    waker.await.unwrap();
    latency.sort();
    report("wake_default_p50".into(), latency[latency.len() / 2] as f64 / 1000.0, "us");
    report("wake_default_p99".into(), latency[latency.len() * 99 / 100] as f64 / 1000.0, "us");
}

async fn sleepers(workers: usize) {
    let (before, _) = usage();
    let begin = Instant::now();
    let mut state: u64 = 1;
    let mut all = Vec::with_capacity(1_000_000);
    for _ in 0..1_000_000 {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let d = Duration::from_micros((state >> 32) * 1_000_000 >> 32);
        all.push(tokio::spawn(async move { tokio::time::sleep(d).await }));
    }
    join(all).await;
    let (after, peak) = usage();
    report(named("sleepers_wall", workers), begin.elapsed().as_secs_f64(), "s");
    report(named("sleepers_cpu", workers), after - before, "s");
    report(named("sleepers_peak_memory", workers), peak / 1048576.0, "MiB");
}

async fn parked(_: usize) {
    let count = 1_000_000;
    let (_, before) = usage();
    let (running, end) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let begin = Instant::now();
    for _ in 0..count {
        let (running, end) = (running.clone(), end.clone());
        tokio::spawn(async move {
            running.fetch_add(1, SeqCst);
            end.notified().await;
        });
    }
    while running.load(SeqCst) < count {
        tokio::task::yield_now().await;
    }
    let (_, peak) = usage();
    report("parked_default_bytes".into(), (peak - before) / count as f64, "B");
    report("parked_default_create".into(), begin.elapsed().as_secs_f64(), "s");
}

async fn run(name: String, workers: usize) {
    match name.as_str() {
        "yield" => yields(workers).await,
        "spawn_join" => spawn_join(workers).await,
        "spawn_many" => spawn_many(workers).await,
        "fork_join" => fork_join(workers).await,
        "mutex" => contend(workers).await,
        "channel_ping_pong" => ping_pong(workers).await,
        "channel_throughput" => throughput(workers).await,
        "skynet_channels" => skynet(workers).await,
        "wake" => wake(workers).await,
        "sleepers" => sleepers(workers).await,
        "parked" => parked(workers).await,
        _ => panic!("there is no workload {name}"),
    }
}

fn here(name: String, workers: usize) {
    let runtime = if workers == 1 {
        Builder::new_current_thread().enable_all().build()
    } else {
        Builder::new_multi_thread().worker_threads(workers).enable_all().build()
    };
    runtime.unwrap().block_on(async move { tokio::spawn(run(name, workers)).await.unwrap() });
}

/// Each figure in a process of its own, as coir_bench has it: tokio_bench --here WORKLOAD WORKERS.
fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.len() == 3 && words[0] == "--here" {
        return here(words[1].clone(), words[2].parse().unwrap());
    }
    let wanted: Vec<&String> = words.iter().filter(|w| !w.starts_with("--")).collect();
    for (name, counts) in WORKLOADS {
        if !wanted.is_empty() && !wanted.iter().any(|w| w == name) {
            continue;
        }
        for workers in *counts {
            let status = Command::new("/proc/self/exe").args(["--here", name, &workers.to_string()]).status();
            if !status.unwrap().success() {
                eprintln!("tokio_bench: {name} failed");
                exit(1);
            }
        }
    }
}
