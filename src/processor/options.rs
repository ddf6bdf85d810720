//! What the workers can be told.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::Error;
use crate::event::Event;
use crate::processor::RetryPolicy;
use crate::processor::handlers::ANY_TYPE;
use crate::processor::type_options::PerType;

/// Bounds and times of the workers. Documented for users at the builder's methods of the same names.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) batch_size: usize,
    pub(crate) concurrency: usize,
    pub(crate) processing_interval: Duration,
    pub(crate) handler_timeout: Duration,
    pub(crate) handler_grace: Duration,
    pub(crate) drain_timeout: Duration,
    /// Whether more than one event may be claimed at once.
    pub(crate) batch_processing: bool,
    /// Whether events run without being asked for.
    pub(crate) background_processing: bool,
    /// Whether a paused clock of tokio's stands still while a blocking handler runs.
    pub(crate) holds_clock: bool,
    /// None: as the engine does by itself.
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) per_type: PerType,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch_size: 10,
            concurrency: 16,
            processing_interval: Duration::from_secs(5),
            handler_timeout: Duration::from_mins(1),
            handler_grace: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(25),
            batch_processing: true,
            background_processing: true,
            holds_clock: false,
            retry: None,
            per_type: PerType::default(),
        }
    }
}

impl Options {
    /// Refuses what is out of bounds, by name.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        const MILLISECOND: Duration = Duration::from_millis(1);
        const MINUTE: Duration = Duration::from_mins(1);
        const HOUR: Duration = Duration::from_hours(1);
        const DAY: Duration = Duration::from_hours(24);
        count("batch_size", self.batch_size)?;
        count("concurrency", self.concurrency)?;
        time("processing_interval", self.processing_interval, MILLISECOND, HOUR)?;
        time("handler_timeout", self.handler_timeout, MILLISECOND, DAY)?;
        time("handler_grace", self.handler_grace, Duration::ZERO, MINUTE)?;
        time("drain_timeout", self.drain_timeout, Duration::ZERO, HOUR)?;
        self.retry.as_ref().map_or(Ok(()), |policy| policy.validate("the retry policy"))?;
        self.per_type.validate()
    }

    /// The types that may have only so many runs at once.
    pub(super) fn limits(&self) -> BTreeMap<String, u32> {
        self.per_type.limits()
    }

    /// How many runs of this type there can be at once.
    pub(super) fn slots(&self, event_type: &str) -> usize {
        let own = self.per_type.concurrency(event_type).and_then(|runs| usize::try_from(runs).ok());
        own.unwrap_or(usize::MAX).min(self.concurrency)
    }

    /// How long a run of this type may take.
    pub(super) fn timeout(&self, event_type: &str) -> Duration {
        self.per_type.timeout(event_type).unwrap_or(self.handler_timeout)
    }

    /// The shortest timeout of all types whose events come to the handlers of `event_type`, after the type that has it; `are_elsewhere`
    /// says which types have handlers of their own.
    pub(super) fn shortest_timeout<'a>(
        &'a self,
        event_type: &'a str,
        are_elsewhere: impl Fn(&str) -> bool,
    ) -> (&'a str, Duration) {
        let own = (event_type, self.timeout(event_type));
        if event_type != ANY_TYPE {
            return own;
        }
        let others = self.per_type.shortest_timeout(|event_type| !are_elsewhere(event_type));
        others.filter(|(_, timeout)| *timeout < own.1).unwrap_or(own)
    }

    /// How long `event` waits for its retry after its `attempt`-th run has failed; `origin` names the store. None: as the engine does
    /// by itself.
    pub(super) fn retry_delay(&self, event: &Event, attempt: u32, origin: &str) -> Option<Duration> {
        let policy = self.per_type.retry(event.event_type()).or(self.retry.as_ref())?;
        policy.delay(event.retry_count() + 1, event, attempt, origin)
    }
}

fn count(name: &str, value: usize) -> Result<(), Error> {
    const MAX: usize = 10_000;
    if (1..=MAX).contains(&value) {
        return Ok(());
    }
    Err(Error::invalid(format!("{name} is {value}; it must be from 1 to {MAX}")))
}

fn time(name: &str, value: Duration, min: Duration, max: Duration) -> Result<(), Error> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Error::invalid(format!("{name} is {value:?}; it must be from {min:?} to {max:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_bounds_are_refused_by_name() {
        let good = Options::default;
        good().validate().unwrap();
        for (options, says) in [
            (Options { batch_size: 0, ..good() }, "batch_size is 0; it must be from 1 to 10000"),
            (Options { concurrency: 10_001, ..good() }, "concurrency is 10001; it must be from 1 to 10000"),
            (Options { processing_interval: Duration::ZERO, ..good() }, "processing_interval is 0ns"),
            (Options { handler_timeout: Duration::MAX, ..good() }, "handler_timeout is"),
            (
                Options { handler_grace: Duration::from_secs(61), ..good() },
                "handler_grace is 61s; it must be from 0ns to 60s",
            ),
            (Options { drain_timeout: Duration::MAX, ..good() }, "drain_timeout is"),
        ] {
            let error = options.validate().unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
