//! Why an event does not run now.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::{Scope, Timestamp};

/// Why an event that is pending or retrying does not run now. Where several things are in its way, the first of these is named.
///
/// As JSON an object whose `why` is the name in lower case: `handler`, `time`, `pause`, `key`, `run`, `alone`, `limit`, `turn`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Waiting {
    /// Nobody handles its type.
    Handler,
    /// It is not to run, or not to be tried again, before this time.
    Time {
        /// By the clock as it stands now.
        until: Timestamp,
    },
    /// Its type or its key is paused.
    Pause {
        /// What is paused.
        scope: Scope,
        /// When the pause ends by itself; none: when somebody ends it.
        until: Option<Timestamp>,
    },
    /// Another event of its key comes first.
    Key {
        /// That event; none where it cannot be read.
        id: Option<String>,
        /// Seq of its reception.
        seq: u64,
    },
    /// A run goes on although its event was cancelled: an earlier run of this event, or one of its key.
    Run {
        /// Seq of the cancelled event's reception.
        seq: u64,
    },
    /// The process died while it ran, so it runs alone, and others run; or another one runs alone now.
    Alone,
    /// As many events of its type run as may at once.
    Limit {
        /// So many.
        runs: u32,
    },
    /// Nothing is in its way: it runs as soon as it is its turn and a worker is free.
    Turn,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler => f.write_str("for a handler of its type"),
            Self::Time { until } => write!(f, "until {until}"),
            Self::Pause { scope, until: Some(until) } => write!(f, "{scope} is paused until {until}"),
            Self::Pause { scope, until: None } => write!(f, "{scope} is paused"),
            Self::Key { id: Some(id), .. } => write!(f, "for event {id:?} of its key"),
            Self::Key { id: None, seq } => write!(f, "for the event of its key with seq {seq}"),
            Self::Run { seq } => write!(f, "for a run to end whose event, with seq {seq}, was cancelled"),
            Self::Alone => f.write_str("until nothing else runs: one must run alone"),
            Self::Limit { runs } => write!(f, "for one of its type to end: {runs} may run at once"),
            Self::Turn => f.write_str("for its turn"),
        }
    }
}
