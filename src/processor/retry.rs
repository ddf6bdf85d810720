//! How long a failed event waits for its next run.

use std::fmt;
use std::hash::Hasher as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use siphasher::sip::SipHasher24;

use crate::error::Error;
use crate::event::Event;
use crate::event::backoff::Backoff;

const MILLISECOND: Duration = Duration::from_millis(1);

/// Longest wait that a policy may give.
const DELAY_MAX: Duration = Duration::from_hours(30 * 24);

/// Most delays of a list: an event has at most so many retries.
const DELAYS_MAX: usize = 1_000;

type Function = dyn Fn(u32, &Event) -> Duration + Send + Sync;

/// How long an event waits after a failure that leaves it retries: for all types by `EventManagerBuilder::retry_policy`, or for one by
/// [`TypeOptions::retry`](crate::TypeOptions::retry). The wait is decided once, when the run has failed, and recorded: another policy
/// after a restart changes nothing for events that wait already.
///
/// Default: [`RetryPolicy::exponential`] from `retry_interval`. Bounds are checked when the manager starts.
#[derive(Clone)]
pub struct RetryPolicy {
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Exponential(Backoff),
    Delays(Arc<[Duration]>),
    Function(Arc<Function>),
}

impl RetryPolicy {
    /// `base` after the first failure, twice as long after each further one, up to an hour, ± 20 %. A `base` of more than an hour does not
    /// grow. `base`: 1 ms to 30 days.
    pub fn exponential(base: Duration) -> Self {
        Self { kind: Kind::Exponential(Backoff::exponential(base)) }
    }

    /// `base` after the first failure, `factor` times as long after each further one, up to `cap`, then ± `jitter_percent` of that.
    /// Jitter keeps events that failed together from coming back together. `base`: 1 ms to `cap`, which is at most 30 days, `factor`: 1
    /// to 100, `jitter_percent`: 0 to 100.
    pub fn exponential_with(base: Duration, factor: u32, cap: Duration, jitter_percent: u32) -> Self {
        Self { kind: Kind::Exponential(Backoff { base, factor, cap, jitter_percent }) }
    }

    /// The first of these after the first failure, and so on; the last one repeats. 1 to 1,000 delays of at most 30 days, exact to the
    /// microsecond (no jitter). How often an event is retried is for `max_retries` to say.
    pub fn delays(delays: impl IntoIterator<Item = Duration>) -> Self {
        Self { kind: Kind::Delays(delays.into_iter().collect()) }
    }

    /// What `function` gives for the number of the failure (1 for the first that counts) and the event. It must not block. Longer than
    /// 30 days is cut to that; if it panics, the default policy decides.
    pub fn function(function: impl Fn(u32, &Event) -> Duration + Send + Sync + 'static) -> Self {
        Self { kind: Kind::Function(Arc::new(function)) }
    }

    /// The wait after the `failures`-th counted failure (the first is 1) of a run of `event`, which was its `attempt`-th; `origin`
    /// names the store. None: nobody knows, and the default decides.
    pub(super) fn delay(&self, failures: u32, event: &Event, attempt: u32, origin: &str) -> Option<Duration> {
        let delay = match &self.kind {
            Kind::Exponential(backoff) => backoff.delay(failures, chance(origin, event.seq(), attempt)),
            Kind::Delays(delays) => {
                let at = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
                *delays.get(at).or(delays.last())?
            }
            Kind::Function(function) => {
                let given = catch_unwind(AssertUnwindSafe(|| function(failures, event)));
                given.inspect_err(|_| panicked(event)).ok()?
            }
        };
        Some(delay.min(DELAY_MAX))
    }

    /// Refuses what is out of bounds, by name; `of` says whose policy it is.
    pub(super) fn validate(&self, of: &str) -> Result<(), Error> {
        match &self.kind {
            Kind::Exponential(backoff) => {
                within(of, "base", backoff.base, MILLISECOND)?;
                within(of, "cap", backoff.cap, MILLISECOND)?;
                if backoff.base > backoff.cap {
                    let Backoff { base, cap, .. } = backoff;
                    return Err(Error::invalid(format!(
                        "the base of {of} is {base:?}; it must be at most its cap, {cap:?}"
                    )));
                }
                counted(of, "factor", backoff.factor as usize, 1, 100)?;
                counted(of, "jitter_percent", backoff.jitter_percent as usize, 0, 100)
            }
            Kind::Delays(delays) => {
                counted(of, "number of delays", delays.len(), 1, DELAYS_MAX)?;
                delays.iter().try_for_each(|delay| within(of, "delay", *delay, Duration::ZERO))
            }
            Kind::Function(_) => Ok(()),
        }
    }
}

fn panicked(event: &Event) {
    let (event_id, event_type) = (event.id(), event.event_type());
    tracing::error!(event_id, event_type, "the function of a retry policy has panicked; the default policy decides");
}

/// A number that differs between events and their runs, and never for the same.
fn chance(origin: &str, seq: u64, attempt: u32) -> u64 {
    let mut hasher = SipHasher24::new();
    hasher.write(origin.as_bytes());
    hasher.write_u64(seq);
    hasher.write_u32(attempt);
    hasher.finish()
}

fn within(of: &str, name: &str, value: Duration, min: Duration) -> Result<(), Error> {
    if (min..=DELAY_MAX).contains(&value) {
        return Ok(());
    }
    Err(Error::invalid(format!("the {name} of {of} is {value:?}; it must be from {min:?} to 30 days")))
}

fn counted(of: &str, name: &str, value: usize, min: usize, max: usize) -> Result<(), Error> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Error::invalid(format!("the {name} of {of} is {value}; it must be from {min} to {max}")))
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Exponential(backoff) => write!(f, "{backoff:?}"),
            Kind::Delays(delays) => f.debug_tuple("Delays").field(delays).finish(),
            Kind::Function(_) => f.write_str("Function"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventParts, Status, Timestamp};

    const SECOND: Duration = Duration::from_secs(1);

    fn event(seq: u64) -> Event {
        Event::new(EventParts {
            seq,
            id: "one".to_owned(),
            event_type: "Issue".to_owned(),
            action: None,
            source: "emit".to_owned(),
            key: None,
            headers: Vec::new(),
            stale: false,
            data: "1".to_owned(),
            timestamp: Timestamp::default(),
            status: Status::Processing,
            retry_count: 0,
            max_retries: 3,
            last_attempt: None,
            error_message: None,
            priority: 0,
            not_before: None,
            waiting: None,
        })
    }

    #[test]
    fn each_policy_gives_its_delays() {
        let doubling = RetryPolicy::exponential_with(SECOND, 2, 5 * SECOND, 0);
        let tripling = RetryPolicy::exponential_with(SECOND, 3, 60 * SECOND, 0);
        let listed = RetryPolicy::delays([SECOND, 9 * SECOND, 2 * SECOND]);
        let counted = RetryPolicy::function(|failures, event| {
            assert!(event.id() == "one" && failures != 4, "no delay for this one");
            if failures == 3 { Duration::MAX } else { failures * SECOND }
        });
        for (policy, delays) in [
            (&doubling, [Some(1), Some(2), Some(4), Some(5)]),
            (&tripling, [Some(1), Some(3), Some(9), Some(27)]),
            (&listed, [Some(1), Some(9), Some(2), Some(2)]),
            (&counted, [Some(1), Some(2), Some(30 * 24 * 3_600), None]),
        ] {
            let given = [1, 2, 3, 4].map(|failures| policy.delay(failures, &event(1), failures, "store"));
            assert_eq!(given, delays.map(|seconds| seconds.map(Duration::from_secs)), "{policy:?}");
        }
    }

    #[test]
    fn jitter_differs_between_events_and_stays_within_its_bounds() {
        let policy = RetryPolicy::exponential(10 * SECOND);
        let mut delays: Vec<Duration> = (1..=100).filter_map(|seq| policy.delay(1, &event(seq), 1, "store")).collect();
        assert!(delays.iter().all(|delay| (8 * SECOND..=12 * SECOND).contains(delay)));
        assert_eq!(policy.delay(1, &event(1), 1, "store"), Some(delays[0]));
        assert_ne!(policy.delay(1, &event(1), 2, "store"), Some(delays[0]));
        delays.sort();
        delays.dedup();
        assert_eq!(delays.len(), 100);
        assert!(delays[0] < 9 * SECOND && delays[99] > 11 * SECOND, "it is spread");
    }

    #[test]
    fn values_out_of_bounds_are_refused_by_name() {
        for (policy, says) in [
            (RetryPolicy::exponential(Duration::ZERO), "the base of it is 0ns; it must be from 1ms to 30 days"),
            (RetryPolicy::exponential_with(SECOND, 0, SECOND, 0), "the factor of it is 0; it must be from 1 to 100"),
            (RetryPolicy::exponential_with(SECOND, 1, Duration::MAX, 0), "the cap of it is"),
            (
                RetryPolicy::exponential_with(2 * SECOND, 1, SECOND, 0),
                "the base of it is 2s; it must be at most its cap, 1s",
            ),
            (RetryPolicy::exponential_with(SECOND, 1, SECOND, 101), "the jitter_percent of it is 101"),
            (RetryPolicy::delays([]), "the number of delays of it is 0; it must be from 1 to 1000"),
            (RetryPolicy::delays([SECOND, Duration::MAX]), "the delay of it is"),
        ] {
            let error = policy.validate("it").unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
        RetryPolicy::delays([Duration::ZERO]).validate("it").unwrap();
        RetryPolicy::exponential(SECOND).validate("it").unwrap();
        RetryPolicy::exponential(DELAY_MAX).validate("it").unwrap();
    }
}
