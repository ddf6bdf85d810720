//! Waiting for the disk without blocking a thread: futures that leave a waker and have the keeper commit. They need no runtime.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::Error;
use crate::event::Moment;
use crate::store::commit::{Level, Shared};
use crate::store::core::{Core, Refused};

impl Shared {
    /// As [`Shared::step`], for callers that must not block.
    pub(crate) async fn step_async<T>(
        &self,
        mut step: impl FnMut(&mut Core, Moment) -> Result<T, Refused>,
    ) -> Result<T, Error> {
        loop {
            let seen = self.desk().commits();
            match self.try_step(&mut step) {
                Ok(value) => return Ok(value),
                Err(Refused::Error(error)) => return Err(error),
                Err(Refused::Busy | Refused::Rolled) => Progress { shared: self, seen }.await,
            }
        }
    }

    /// Resolves once `seq` has come as far as `level`.
    pub(crate) fn reached(&self, seq: u64, level: Level) -> Reached<'_> {
        Reached { shared: self, seq, level }
    }

    /// Resolves when an event may be claimed, or the store was closed or poisoned.
    pub(crate) fn work(&self) -> Work<'_> {
        Work { shared: self }
    }
}

/// See [`Shared::reached`].
pub(crate) struct Reached<'a> {
    shared: &'a Shared,
    seq: u64,
    level: Level,
}

impl Future for Reached<'_> {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut desk = self.shared.desk();
        if let Some(outcome) = desk.outcome(self.seq, self.level) {
            return Poll::Ready(outcome);
        }
        desk.leave_waker(self.seq, self.level, context.waker().clone());
        self.shared.call_keeper();
        Poll::Pending
    }
}

/// Resolves once there were more commits than were `seen` before the step was refused, or nothing will come any more.
struct Progress<'a> {
    shared: &'a Shared,
    seen: u64,
}

impl Future for Progress<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut desk = self.shared.desk();
        if desk.commits() != self.seen || desk.core.check_open().is_err() {
            return Poll::Ready(());
        }
        desk.leave_refused(context.waker().clone());
        self.shared.call_keeper();
        Poll::Pending
    }
}

/// See [`Shared::work`].
pub(crate) struct Work<'a> {
    shared: &'a Shared,
}

impl Future for Work<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let now = self.shared.now();
        let mut desk = self.shared.desk();
        let durable = desk.core.durable();
        if desk.core.poison().is_some() || desk.core.is_closed() || desk.core.state.ready(now, durable) {
            return Poll::Ready(());
        }
        desk.leave_work_waker(context.waker().clone());
        Poll::Pending
    }
}
