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
    let (mut medians, mut bests) = (Vec::new(), Vec::new());
    for busy in BUSY_PERCENTS {
        // All sizes in turns too: the machine is slower at some times than at others.
        let pools = SIZES.map(|size| (Ours::new(size, busy), Textbook::new(size, busy)));
        let mut times: [[Vec<f64>; 4]; SIZES.len()] = Default::default();
        let cost = one(DEEPEST);
        for _ in 0..ROUNDS {
            for ((times, (ours, textbook)), size) in times.iter_mut().zip(&pools).zip(SIZES) {
                let calls = (10_000_000 / u32::try_from(size).unwrap()).clamp(3, 20_000);
                times[0].push(time(20_000, || ours.ticket(Core(0), &cost)));
                times[1].push(time(20_000, || ours.cycle(Core(0), &cost, DEEPEST)));
                times[2].push(time(calls, || textbook.cycle(DEEPEST)));
                times[3].push(time(calls, || textbook.cycle_by_node(DEEPEST)));
            }
        }
        for (times, size) in times.into_iter().zip(SIZES) {
            bests.push(times[1].iter().copied().fold(f64::MAX, f64::min));
            let [ticket, owned, list, node] = times.map(median);
            medians.push(owned);
            println!(
                "{size:>9} {busy:>4}% {ticket:>7.1} {owned:>7.1} {list:>11.1} {node:>11.1} {:>12.2} {:>12.2}",
                list / ticket,
                list / owned
            );
        }
    }
    let spread = |times: &[f64]| {
        let least = times.iter().copied().fold(f64::MAX, f64::min);
        times.iter().copied().fold(0.0, f64::max) / least
    };
    let (by_median, by_best) = (spread(&medians), spread(&bests));
    println!("owned is flat within {by_median:.2} by median, {by_best:.2} by the best round (promised 1.5)\n");
}

/// Cycles per second of several threads together; each has its core and its kind.
fn throughput(ours: &Ours, threads: &[(Core, usize)]) -> f64 {
    // Long enough that the scheduler puts two threads on two cores in some of the rounds at least.
    const CALLS: u32 = 2_000_000;
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
    let cases = [
        ("one alone", [(Core(0), 3)].as_slice()),
        ("two, one kind (promised 1.0)", &[(Core(0), 3), (Core(1), 3)]),
        ("two, two kinds (promised 1.6)", &[(Core(0), 3), (Core(1), 4)]),
        ("two, one kind and one core's number", &[(Core(0), 3), (Core(0), 3)]),
    ];
    let mut totals = cases.map(|_| Vec::new());
    for _ in 0..4 * ROUNDS {
        cases.iter().zip(&mut totals).for_each(|((_, threads), totals)| totals.push(throughput(&ours, threads)));
    }
    println!("million request-and-returns a second of all threads, and over those of one alone");
    println!("(best: of {} rounds; the scheduler often leaves both threads on one core, then only it tells)", 4 * ROUNDS);
    println!("{:>36} {:>8} {:>8} {:>8} {:>8}", "", "median", "times", "best", "times");
    let best = |totals: &[f64]| totals.iter().copied().fold(0.0, f64::max);
    let (one_median, one_best) = (median(totals[0].clone()), best(&totals[0]));
    for ((name, _), totals) in cases.into_iter().zip(totals) {
        let (best, median) = (best(&totals), median(totals));
        let (by_median, by_best) = (median / one_median, best / one_best);
        println!("{name:>36} {:>8.1} {by_median:>8.2} {:>8.1} {by_best:>8.2}", median / 1e6, best / 1e6);
    }
    println!();
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
