//! Many lives. `ledgerline-torture --only soak` lives hundreds of thousands.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::life::Life;

/// Operations of a life.
const STEPS: usize = 80;

/// What came to pass in many lives.
#[derive(Debug, Default)]
struct Sum {
    crashes: u64,
    forgotten: u64,
    settled: u64,
    violations: Vec<String>,
}

/// Lives a life for each seed, on every core.
fn live(seeds: std::ops::Range<u64>) -> Sum {
    let seeds: Vec<u64> = seeds.collect();
    let (next, sum) = (AtomicUsize::new(0), Mutex::new(Sum::default()));
    let work = || {
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut life = Life::new(*seed);
            let lived = life.live(STEPS);
            let mut sum = sum.lock().unwrap();
            sum.crashes += life.crashes;
            sum.forgotten += life.forgotten;
            sum.settled += life.settled;
            if let Err(what) = lived {
                sum.violations.push(format!("seed {seed}: {what}\n{}", life.told.join("\n")));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    sum.into_inner().unwrap()
}

fn assert_sound(seeds: std::ops::Range<u64>) {
    let count = seeds.end - seeds.start;
    let sum = live(seeds);
    let Sum { crashes, forgotten, settled, violations } = sum;
    println!("oracle: {count} lives of {STEPS} steps, {settled} settled, {crashes} crashes, {forgotten} forgotten");
    if let Some(first) = violations.first() {
        panic!("{} of {count} lives went wrong; the first: {first}", violations.len());
    }
    assert!(crashes > count && settled > 2 * count && forgotten > count / 20, "all of it took part");
}

/// A seed that failed is run alone by setting both ends to it.
#[test]
fn a_store_does_what_the_rules_say() {
    assert_sound(0..60);
}
