//! The ratios that `docs/reserve.md` promises, each measured in turns within one run: the machine may be busy, but it is
//! busy for both. Prints a table and asserts nothing, for a loaded machine proves nothing.

mod pools;

use pools::{BUSY_PERCENTS, DEEPEST, Ours, SIZES, Textbook, bank, one};
use reserve::Core;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Rounds in turns; the median counts.
const ROUNDS: usize = 31;

fn main() {
    // `cargo test --benches` runs this too, without this word: then it has nothing to prove.
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    depth();
    threads();
    prealloc();
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Nanoseconds of one call.
fn time(calls: u32, mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..calls {
        work();
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
}

fn depth() {
    println!("request and return of one unit, deepest kind, ns (median of {ROUNDS} rounds in turns)");
    println!("ticket:  reserved and dropped");
    println!("owned:   reserved, spent on an owner, returned by handle");
    println!("list:    the textbook's; by node: if a return did not have to search it");
    println!(
        "{:>9} {:>5} {:>7} {:>7} {:>11} {:>11} {:>12} {:>12}",
        "units", "busy", "ticket", "owned", "list", "by node", "list/ticket", "list/owned"
    );
    let mut flat: (f64, f64) = (f64::MAX, 0.0);
    for busy in BUSY_PERCENTS {
        for size in SIZES {
            let (ours, textbook, cost) = (Ours::new(size, busy), Textbook::new(size, busy), one(DEEPEST));
            let calls = (20_000_000 / u32::try_from(size).unwrap()).clamp(3, 20_000);
            let mut times: [Vec<f64>; 4] = Default::default();
            for _ in 0..ROUNDS {
                times[0].push(time(20_000, || ours.ticket(Core(0), &cost)));
                times[1].push(time(20_000, || ours.cycle(Core(0), &cost, DEEPEST)));
                times[2].push(time(calls, || textbook.cycle(DEEPEST)));
                times[3].push(time(calls, || textbook.cycle_by_node(DEEPEST)));
            }
            let [ticket, owned, list, node] = times.map(median);
            flat = (flat.0.min(owned), flat.1.max(owned));
            println!(
                "{size:>9} {busy:>4}% {ticket:>7.1} {owned:>7.1} {list:>11.1} {node:>11.1} {:>12.2} {:>12.2}",
                list / ticket,
                list / owned
            );
        }
    }
    println!("owned is flat within {:.2} (promised 1.5)\n", flat.1 / flat.0);
}

/// Cycles per second of several threads together; each has its core and its kind.
fn throughput(ours: &Ours, threads: &[(Core, usize)]) -> f64 {
    const CALLS: u32 = 200_000;
    let barrier = Barrier::new(threads.len());
    let spans: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
        let handles: Vec<_> = threads
            .iter()
            .map(|&(core, kind)| {
                let (barrier, cost) = (&barrier, one(kind));
                scope.spawn(move || {
                    barrier.wait();
                    let start = Instant::now();
                    for _ in 0..CALLS {
                        ours.cycle(core, &cost, kind);
                    }
                    (start, Instant::now())
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    let start = spans.iter().map(|span| span.0).min().unwrap();
    let end = spans.iter().map(|span| span.1).max().unwrap();
    f64::from(CALLS) * threads.len() as f64 / (end - start).as_secs_f64()
}

fn threads() {
    let ours = Ours::new(1000, 50);
    let (mut same, mut other, mut lane) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let alone = throughput(&ours, &[(Core(0), 3)]);
        same.push(throughput(&ours, &[(Core(0), 3), (Core(1), 3)]) / alone);
        lane.push(throughput(&ours, &[(Core(0), 3), (Core(0), 3)]) / alone);
        other.push(throughput(&ours, &[(Core(0), 3), (Core(1), 4)]) / alone);
    }
    println!("two threads, total over that of one (median of {ROUNDS})");
    println!("one kind              {:.2} (promised 1.0)", median(same));
    println!("two kinds             {:.2} (promised 1.6)", median(other));
    println!("one kind and one lane {:.2} (cores that give the same number; nothing promised)\n", median(lane));
}

fn prealloc() {
    let reserve = bank(0x1000);
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        reserve.prealloc(0, 0x1000).unwrap();
        times.push(start.elapsed());
        reserve.release(0, 0x1000).unwrap();
    }
    times.sort();
    let median: Duration = times[ROUNDS / 2];
    println!("prealloc of 0x1000 units of 4 KiB from the bank: {median:?}, {:?} each", median / 0x1000);
}
