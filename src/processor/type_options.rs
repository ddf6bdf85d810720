//! What the workers can be told about one type of events.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::Error;
use crate::event::limits;
use crate::processor::RetryPolicy;
use crate::processor::handlers::{ANY_TYPE, check_type};

/// What is different for the events of one type: given to `EventManagerBuilder::type_options`. What is not said is as for all types.
/// Bounds are checked when the manager starts.
#[derive(Debug, Clone, Default)]
#[must_use = "options do nothing until they are given to a builder"]
pub struct TypeOptions {
    timeout: Option<Duration>,
    retry: Option<RetryPolicy>,
    concurrency: Option<u32>,
    max_retries: Option<u32>,
}

impl TypeOptions {
    /// Nothing is different.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a run may take: 1 ms to 24 hours. Default: the builder's `handler_timeout` (60 s).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How long an event waits after a failure. Default: the builder's `retry_policy`, or else exponential from `retry_interval`.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// Most runs of the type at once: 1 to 10,000. They take slots of the builder's `concurrency` like all others; an event beyond it is
    /// not claimed until one of them ends. One that goes on though its time was over counts no more. Default: no bound of its own. Not for
    /// `"*"`.
    pub fn concurrency(mut self, runs: u32) -> Self {
        self.concurrency = Some(runs);
        self
    }

    /// Runs after the first counted failure: 0 to 1,000, for events that do not say. Decided when the event is emitted through this
    /// manager, and kept with it. Default: the builder's `max_retries` (3).
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = Some(retries);
        self
    }

    fn validate(&self, event_type: &str) -> Result<(), Error> {
        check_type(event_type, "type_options")?;
        let refuse = |name: &str, value: String, bounds: &str| {
            Err(Error::invalid(format!("the {name} of type {event_type:?} is {value}; it must be from {bounds}")))
        };
        if let Some(timeout) = self.timeout
            && !(Duration::from_millis(1)..=Duration::from_hours(24)).contains(&timeout)
        {
            return refuse("timeout", format!("{timeout:?}"), "1 ms to 24 hours");
        }
        if let Some(runs) = self.concurrency {
            if event_type == ANY_TYPE {
                return Err(Error::invalid(
                    "\"*\" has no concurrency of its own: the builder's bounds all types together",
                ));
            }
            if !(1..=10_000).contains(&runs) {
                return refuse("concurrency", runs.to_string(), "1 to 10000");
            }
        }
        if let Some(retries) = self.max_retries.filter(|retries| *retries > limits::RETRIES_MAX) {
            return refuse("max_retries", retries.to_string(), "0 to 1000");
        }
        self.retry
            .as_ref()
            .map_or(Ok(()), |policy| policy.validate(&format!("the retry policy of type {event_type:?}")))
    }
}

/// The options of all types that have some; those of `"*"` are for all others.
#[derive(Debug, Clone, Default)]
pub(crate) struct PerType {
    by_type: BTreeMap<String, TypeOptions>,
}

impl PerType {
    /// Sets the options of a type, in place of those it had.
    pub(crate) fn set(&mut self, event_type: String, options: TypeOptions) {
        self.by_type.insert(event_type, options);
    }

    pub(super) fn timeout(&self, event_type: &str) -> Option<Duration> {
        self.of(event_type, |options| options.timeout.as_ref()).copied()
    }

    /// The type with the shortest timeout of its own, of those that `are_meant`.
    pub(super) fn shortest_timeout(&self, are_meant: impl Fn(&str) -> bool) -> Option<(&str, Duration)> {
        let own = self.by_type.iter().filter_map(|(event_type, options)| Some((&**event_type, options.timeout?)));
        own.filter(|(event_type, _)| are_meant(event_type)).min_by_key(|(_, timeout)| *timeout)
    }

    pub(super) fn retry(&self, event_type: &str) -> Option<&RetryPolicy> {
        self.of(event_type, |options| options.retry.as_ref())
    }

    /// How many retries an event of this type has that does not say.
    pub(crate) fn max_retries(&self, event_type: &str) -> Option<u32> {
        self.of(event_type, |options| options.max_retries.as_ref()).copied()
    }

    /// How many runs of this type there may be at once, if that is bounded.
    pub(super) fn concurrency(&self, event_type: &str) -> Option<u32> {
        self.by_type.get(event_type)?.concurrency
    }

    /// The types that may have only so many runs at once.
    pub(super) fn limits(&self) -> BTreeMap<String, u32> {
        let limit = |(event_type, options): (&String, &TypeOptions)| Some((event_type.clone(), options.concurrency?));
        self.by_type.iter().filter_map(limit).collect()
    }

    fn of<T>(&self, event_type: &str, option: impl Fn(&TypeOptions) -> Option<&T>) -> Option<&T> {
        [event_type, ANY_TYPE].into_iter().find_map(|name| option(self.by_type.get(name)?))
    }

    pub(super) fn validate(&self) -> Result<(), Error> {
        self.by_type.iter().try_for_each(|(event_type, options)| options.validate(event_type))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_option_is_the_types_own_or_that_of_the_star() {
        let mut options = PerType::default();
        options.set("*".to_owned(), TypeOptions::new().timeout(9 * SECOND).max_retries(9));
        options.set("Issue".to_owned(), TypeOptions::new().timeout(SECOND).concurrency(2));
        options.set("Comment".to_owned(), TypeOptions::new().max_retries(0).concurrency(1));
        for (event_type, timeout, retries) in [("Issue", 1, 9), ("Comment", 9, 0), ("Other", 9, 9)] {
            assert_eq!(options.timeout(event_type), Some(timeout * SECOND), "{event_type}");
            assert_eq!(options.max_retries(event_type), Some(retries), "{event_type}");
        }
        assert_eq!(options.limits(), BTreeMap::from([("Issue".to_owned(), 2), ("Comment".to_owned(), 1)]));
        assert_eq!(PerType::default().timeout("Issue"), None);
    }

    #[test]
    fn values_out_of_bounds_are_refused_by_name() {
        let new = TypeOptions::new;
        for (event_type, options, says) in [
            ("Issue", new().timeout(Duration::ZERO), "the timeout of type \"Issue\" is 0ns; it must be from 1 ms"),
            ("Issue", new().concurrency(0), "the concurrency of type \"Issue\" is 0; it must be from 1 to 10000"),
            ("Issue", new().max_retries(1_001), "the max_retries of type \"Issue\" is 1001"),
            ("Issue", new().retry(RetryPolicy::delays([])), "of the retry policy of type \"Issue\" is 0"),
            ("*", new().concurrency(1), "\"*\" has no concurrency of its own"),
            ("", new(), "is empty"),
        ] {
            let mut all = PerType::default();
            all.set(event_type.to_owned(), options);
            let error = all.validate().unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
