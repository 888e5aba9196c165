//! Request of a free unit and its return, for 10 … 1 000 000 units of 8 kinds and 0, 50, 90 % of them busy; the kind that
//! is deepest in the textbook's list. `ratios` compares the two in one run.

mod pools;

use divan::Bencher;
use pools::{BUSY_PERCENTS, DEEPEST, Ours, SIZES, Textbook, bank, one};
use reserve::Core;

fn main() {
    divan::main();
}

fn cases() -> impl Iterator<Item = String> {
    SIZES.into_iter().flat_map(|size| BUSY_PERCENTS.map(|busy| format!("{size}, {busy} % busy")))
}

fn parse(case: &str) -> (usize, usize) {
    let mut numbers = case.split([',', ' ', '%']).filter_map(|word| word.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[divan::bench(args = cases())]
fn ours(bencher: Bencher<'_, '_>, case: &str) {
    let (size, busy) = parse(case);
    let ours = Ours::new(size, busy);
    let cost = one(DEEPEST);
    bencher.bench_local(|| ours.cycle(Core(0), &cost, DEEPEST));
}

#[divan::bench(args = cases())]
fn textbook(bencher: Bencher<'_, '_>, case: &str) {
    let (size, busy) = parse(case);
    let textbook = Textbook::new(size, busy);
    bencher.bench_local(|| textbook.cycle(DEEPEST));
}

/// `prealloc` of 0x1000 units of 4 KiB from the bank, and their release.
#[divan::bench]
fn prealloc_and_release_0x1000(bencher: Bencher<'_, '_>) {
    let reserve = bank(0x1000);
    bencher.bench_local(|| {
        reserve.prealloc(0, 0x1000).unwrap();
        reserve.release(0, 0x1000).unwrap();
    });
}
