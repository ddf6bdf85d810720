//! Waiting for a store that somebody else holds for one action.
//!
//! Without a service each command that writes opens the store, does its one thing and closes it. Several of them, or one amid the start
//! of a service, would otherwise be refused for want of a fraction of a second.

use std::time::Duration;

use crate::env::Clock;
use crate::error::{Error, ErrorKind};

/// How long that may go on. Whoever holds the store for longer holds it for good, or reads a long log.
const PATIENCE: Duration = if cfg!(test) { Duration::from_millis(500) } else { Duration::from_secs(5) };

/// Wait between two attempts.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

/// How long whoever began to open a store goes on trying.
pub(super) struct Patience(Clock);

impl Patience {
    /// From now on.
    pub(super) fn begin() -> Self {
        Self(Clock::system())
    }

    /// Whether what failed so is to be tried again after a pause.
    pub(super) fn is_left(&self, error: &Error) -> bool {
        error.kind() == ErrorKind::Locked && self.0.steady() < PATIENCE
    }
}
