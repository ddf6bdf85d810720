//! What time it is, and how much of it has passed.

use std::time::{Duration, SystemTime};

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// What the wall clock says; it may jump.
    pub(crate) wall: SystemTime,
    /// How long ago the clock was made; it never jumps.
    pub(crate) steady: Duration,
}

/// The clocks of the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    made: std::time::Instant,
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clocks")]
impl Clock {
    pub(crate) fn system() -> Self {
        Self { made: std::time::Instant::now() }
    }

    pub(crate) fn read(&self) -> Reading {
        Reading { wall: SystemTime::now(), steady: self.made.elapsed() }
    }

    pub(crate) fn steady(&self) -> Duration {
        self.made.elapsed()
    }
}
