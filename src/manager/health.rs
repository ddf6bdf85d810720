//! Whether a manager is well.

use serde::Serialize;

use crate::processor::{Backlog, Options};
use crate::store::Stats;

/// How many batches of events may be pending; from this many on there are too many.
const BATCHES_PENDING_MAX: u64 = 10;
/// From this many on, too many events have failed for good.
const FAILED_MAX: u64 = 100;

/// What to do about damage in a store that is in service.
const MEND: &str = "the next start will refuse it; put the segment back from an earlier backup, or stop and salvage";

/// Whether a manager is well, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// Whether there is no reason to worry.
    pub healthy: bool,
    /// What is wrong, for an operator; empty if nothing is.
    pub reasons: Vec<String>,
}

impl Health {
    /// Judges a manager whose workers run with `options`, and have this left of runs.
    pub(crate) fn judge(stats: &Stats, backlog: Backlog, options: &Options) -> Self {
        let Backlog { stuck, unsettled } = backlog;
        let pending_max = BATCHES_PENDING_MAX * options.batch_size as u64;
        // What waits for its time is not late. While something is paused, only events that could run now count: those that wait behind a
        // paused one of their key cannot be told from those that wait behind any other.
        let pending = match stats.pauses {
            0 => stats.pending_events.saturating_sub(stats.waiting_events),
            _ => stats.ready_events,
        };
        let judged = [
            (!stats.is_running, "no workers run".to_owned()),
            (pending >= pending_max, format!("{pending} events are pending; fewer than {pending_max} are normal")),
            (
                stats.failed_events >= FAILED_MAX,
                format!("{} events have failed for good: replay or cancel them", stats.failed_events),
            ),
            (stats.damaged_events > 0, {
                let events = if stats.damaged_events == 1 { "event" } else { "events" };
                format!("the bytes of {} {events} are damaged: {MEND}", stats.damaged_events)
            }),
            (stats.damaged_places > 0, {
                let (places, are) = if stats.damaged_places == 1 { ("place", "is") } else { ("places", "are") };
                format!("{} {places} in the log {are} damaged: {MEND}", stats.damaged_places)
            }),
            (
                stuck > options.concurrency,
                format!("{stuck} handlers neither end nor stop when they are told to: nothing more is claimed"),
            ),
            (
                unsettled > 0,
                format!(
                    "{unsettled} runs have ended, but it cannot be said in the log: free space, or see to what else is wrong"
                ),
            ),
        ];
        let poisoned =
            stats.poisoned.iter().map(|why| format!("the store takes nothing more until it is reopened: {why}"));
        let full = stats.full.iter().map(|why| format!("new events are refused, or soon will be: {why}"));
        let reasons: Vec<String> =
            judged.into_iter().filter(|(bad, _)| *bad).map(|(_, why)| why).chain(poisoned).chain(full).collect();
        Self { healthy: reasons.is_empty(), reasons }
    }

    /// The same, where there is one more reason.
    pub(crate) fn and(mut self, reason: Option<String>) -> Self {
        self.healthy &= reason.is_none();
        self.reasons.extend(reason);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_is_a_reason_of_its_own() {
        let options = Options { batch_size: 20, concurrency: 2, ..Options::default() };
        let well =
            Stats { is_running: true, pending_events: 199, failed_events: 99, held_events: 5_000, ..Stats::default() };
        let resting = Stats { pending_events: 300, waiting_events: 51, pauses: 1, ready_events: 199, ..well.clone() };
        let stuck = |stuck| Backlog { stuck, unsettled: 0 };
        for stats in [&well, &resting] {
            assert_eq!(Health::judge(stats, stuck(2), &options), Health { healthy: true, reasons: vec![] });
        }
        let well = || well.clone();
        for (stats, backlog, says) in [
            (Stats { is_running: false, ..well() }, stuck(0), "no workers run"),
            (Stats { pending_events: 200, ..well() }, stuck(0), "200 events are pending; fewer than 200 are normal"),
            (
                Stats { pauses: 1, ready_events: 200, ..well() },
                stuck(0),
                "200 events are pending; fewer than 200 are normal",
            ),
            (Stats { failed_events: 100, ..well() }, stuck(0), "100 events have failed for good"),
            (Stats { damaged_events: 1, ..well() }, stuck(0), "the bytes of 1 event are damaged: the next"),
            (Stats { damaged_places: 1, ..well() }, stuck(0), "1 place in the log is damaged: the next start"),
            (
                Stats { poisoned: Some("a sync failed".to_owned()), ..well() },
                stuck(0),
                "until it is reopened: a sync failed",
            ),
            (
                Stats { full: Some("no space left".to_owned()), ..well() },
                stuck(0),
                "new events are refused, or soon will be: no space left",
            ),
            (well(), stuck(3), "3 handlers neither end nor stop"),
            (
                well(),
                Backlog { stuck: 0, unsettled: 1 },
                "1 runs have ended, but it cannot be said in the log: free space",
            ),
        ] {
            let health = Health::judge(&stats, backlog, &options);
            assert!(!health.healthy);
            assert_eq!(health.reasons.len(), 1);
            assert!(health.reasons[0].contains(says), "{:?}", health.reasons);
        }
        let well = Health::judge(&well(), stuck(0), &options);
        assert_eq!(well.clone().and(None), well);
        let ill = well.and(Some("nobody reads".to_owned()));
        assert_eq!(ill, Health { healthy: false, reasons: vec!["nobody reads".to_owned()] });
    }
}
