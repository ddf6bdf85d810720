//! One bench's part of a run: which rows are wanted, how they are sampled, and where they go.

use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput};

use super::mode::{measurement, warm_up};
use super::report::Report;
use super::row::Row;

/// Samples of one row.
const SAMPLE_COUNT: usize = 10;

/// What a bench measures with.
pub(crate) struct Run {
    bench: &'static str,
    criterion: Criterion,
    filters: Vec<String>,
    report: Report,
}

impl Run {
    /// The part of the bench with this name. None under `cargo test`, which runs benches only to see that they build.
    pub(crate) fn begin(bench: &'static str) -> Option<Self> {
        let report = Report::of_this_run(bench);
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        if report.is_by_cargo() && !arguments.iter().any(|argument| argument == "--bench") {
            return None;
        }
        let filters = arguments.into_iter().filter(|argument| !argument.starts_with('-')).collect();
        let criterion = Criterion::default().without_plots().sample_size(SAMPLE_COUNT).nresamples(10_000);
        let criterion = criterion.warm_up_time(warm_up()).measurement_time(measurement());
        Some(Self { bench, criterion, filters, report })
    }

    /// Whether a row was asked for: `cargo bench -- WORDS` runs those that have one of the words in `bench/work`.
    pub(crate) fn wants(&self, work: &str) -> bool {
        let name = format!("{}/{work}", self.bench);
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str()))
    }

    /// Elements per second, the median of criterion's samples. `timed` runs so many rounds, of `elements` each, and says how long
    /// they took.
    pub(crate) fn rate(&mut self, work: &str, elements: u64, mut timed: impl FnMut(u64) -> Duration) -> f64 {
        let mut rates = Vec::new();
        let mut group = self.criterion.benchmark_group(self.bench);
        group.throughput(Throughput::Elements(elements)).sampling_mode(SamplingMode::Flat);
        group.bench_function(work, |bencher| {
            bencher.iter_custom(|rounds| {
                let took = timed(rounds);
                rates.push((rounds * elements) as f64 / took.as_secs_f64());
                took
            });
        });
        group.finish();
        // What came before the samples was for warming up.
        let mut rates = rates.split_off(rates.len().saturating_sub(SAMPLE_COUNT));
        rates.sort_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied().expect("criterion takes samples")
    }

    /// A row is measured.
    pub(crate) fn tell(&mut self, row: Row) {
        self.report.add(row);
    }

    /// All are; prints the table if this is the last bench of the run.
    pub(crate) fn end(self) {
        self.report.end();
    }
}
