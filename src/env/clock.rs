//! What time it is, and how much of it has passed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// What the wall clock says; it may jump.
    pub(crate) wall: SystemTime,
    /// How long ago the clock was made; it never jumps.
    pub(crate) steady: Duration,
}

/// The clocks of the machine, or some that only go when they are told to.
#[derive(Debug, Clone)]
pub(crate) enum Clock {
    System {
        made: std::time::Instant,
    },
    Manual(Arc<Mutex<Reading>>),
    /// It goes on by this much whenever it is read.
    #[cfg(test)]
    Ticking(Arc<Mutex<Reading>>, Duration),
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clocks")]
impl Clock {
    pub(crate) fn system() -> Self {
        Self::System { made: std::time::Instant::now() }
    }

    /// A clock that was made now, when the wall clock says `wall`, and stands still until it is moved. Its copies move with it.
    pub(crate) fn manual(wall: SystemTime) -> Self {
        Self::Manual(Arc::new(Mutex::new(Reading { wall, steady: Duration::ZERO })))
    }

    /// A clock that goes on by so much whenever it is read: what it tells is a matter of who read it before, and of nothing else.
    #[cfg(test)]
    pub(crate) fn ticking(tick: Duration) -> Self {
        let start = Reading { wall: SystemTime::UNIX_EPOCH + Duration::from_hours(24), steady: Duration::ZERO };
        Self::Ticking(Arc::new(Mutex::new(start)), tick)
    }

    /// Moves a manual clock: both of what it tells go on by so much.
    pub(crate) fn advance(&self, by: Duration) {
        if let Self::Manual(reading) = self {
            let mut reading = reading.lock().unwrap_or_else(PoisonError::into_inner);
            reading.wall += by;
            reading.steady += by;
        }
    }

    /// Sets the wall clock of a manual clock.
    pub(crate) fn set_wall(&self, wall: SystemTime) {
        if let Self::Manual(reading) = self {
            reading.lock().unwrap_or_else(PoisonError::into_inner).wall = wall;
        }
    }

    /// Whether it goes by itself: whoever waits for another one's time to pass waits for ever.
    pub(crate) fn goes(&self) -> bool {
        !matches!(self, Self::Manual(_))
    }

    pub(crate) fn read(&self) -> Reading {
        match self {
            Self::System { made } => Reading { wall: SystemTime::now(), steady: made.elapsed() },
            Self::Manual(reading) => *reading.lock().unwrap_or_else(PoisonError::into_inner),
            #[cfg(test)]
            Self::Ticking(reading, tick) => {
                let mut reading = reading.lock().unwrap_or_else(PoisonError::into_inner);
                reading.wall += *tick;
                reading.steady += *tick;
                *reading
            }
        }
    }

    pub(crate) fn steady(&self) -> Duration {
        match self {
            Self::System { made } => made.elapsed(),
            Self::Manual(_) => self.read().steady,
            #[cfg(test)]
            Self::Ticking(..) => self.read().steady,
        }
    }
}

/// The processor's time that this thread has used: unlike time itself, it does not go on while others run.
#[cfg(feature = "torture")]
pub(crate) fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.try_into().expect("a thread has used some time, or none")
}
