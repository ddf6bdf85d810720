//! The choice of an engine.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::Error;
use crate::event::{NewEvent, Scope, Timestamp};
use crate::queue::embedded::Embedded;
use crate::store::{Claim, Handled, Mishap, Receipt, Settling, Store};

/// An engine, by the contract of [`crate::queue`]. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Queue {
    /// A store in this process, on the disk of this machine.
    Embedded(Embedded),
}

impl Queue {
    pub(crate) fn embedded(store: Store) -> Self {
        Self::Embedded(Embedded::new(store))
    }

    /// Names the engine's data, for ever.
    pub(crate) fn id(&self) -> String {
        match self {
            Self::Embedded(engine) => engine.id(),
        }
    }

    /// Keeps an event: durable once this returns. Dropped after its first poll, it leaves unknown whether the event was kept.
    pub(crate) async fn append(&self, event: Box<NewEvent>) -> Result<Receipt, Error> {
        match self {
            Self::Embedded(engine) => engine.append(event).await,
        }
    }

    /// Keeps several events, all or none: durable once this returns. Dropped after its first poll, it leaves unknown whether they were.
    /// `held` is dropped once it is over, which may be later than that.
    pub(crate) async fn append_many(
        &self,
        events: Vec<NewEvent>,
        held: impl Send + 'static,
    ) -> Result<Vec<Receipt>, Error> {
        match self {
            Self::Embedded(engine) => engine.append_many(events, held).await,
        }
    }

    /// What keeping this event would be answered with, if it is a duplicate: durable once this returns.
    #[cfg(feature = "service")]
    pub(crate) async fn known(&self, event: &NewEvent) -> Result<Option<Receipt>, Error> {
        match self {
            Self::Embedded(engine) => engine.known(event).await,
        }
    }

    /// At most `count` events to be run now; possibly none. Not to be dropped before its end.
    pub(crate) async fn claim(&self, count: usize) -> Result<Vec<Claim>, Error> {
        match self {
            Self::Embedded(engine) => engine.claim(count).await,
        }
    }

    /// Ends claims, together; the answers are in their order. It waits for the disk only while the engine cannot take more without it.
    ///
    /// # Errors
    /// Of each for itself: `NotAllowed` if the claim is no longer in force. No event has changed then, and nothing is to be done about it;
    /// the engine has learnt from it that a run whose event was cancelled has ended.
    pub(crate) async fn settle(&self, runs: &[Settling<'_>]) -> Vec<Result<(), Error>> {
        match self {
            Self::Embedded(engine) => engine.settle(runs).await,
        }
    }

    /// Keeps that of several handlers of a claimed event the one of this name has succeeded: [`Claim::is_handled_by`] says so in the
    /// event's next run. It waits for the disk as [`Queue::settle`] does.
    ///
    /// # Errors
    /// `NotAllowed` if the claim is no longer in force; `InvalidInput` if the name is none, or one too many.
    pub(crate) async fn record_handled(&self, claim: &Claim, handler: &str) -> Result<(), Error> {
        match self {
            Self::Embedded(engine) => engine.record_handled(claim, handler).await,
        }
    }

    /// Has no run of an event of this scope begin before `until`, or before the end of a pause that lasts longer. Durable once this
    /// returns.
    pub(crate) async fn pause(&self, scope: Scope, until: Timestamp, reason: &str) -> Result<(), Error> {
        match self {
            Self::Embedded(engine) => engine.pause(scope, until, reason).await,
        }
    }

    /// Says how many events of a type may run at once; until this is called, and for types that it does not name, any number may.
    pub(crate) fn set_limits(&self, limits: BTreeMap<String, u32>) {
        match self {
            Self::Embedded(engine) => engine.set_limits(limits),
        }
    }

    /// Says that a run does not end though it was told to: until it is settled it holds up nothing but its key, and what must run alone.
    pub(crate) fn lose_slot(&self, claim: &Claim) {
        match self {
            Self::Embedded(engine) => engine.lose_slot(claim),
        }
    }

    /// Counts a run that was settled for what else is to be said of it.
    pub(crate) fn note_mishap(&self, claim: &Claim, mishap: Mishap) {
        match self {
            Self::Embedded(engine) => engine.note_mishap(claim, mishap),
        }
    }

    /// Resolves when a claim may find something that the last one did not.
    pub(crate) async fn work(&self) {
        match self {
            Self::Embedded(engine) => engine.work().await,
        }
    }

    /// How long until time alone makes an event claimable; none: no event waits for its time. What was due at the last claim is not
    /// told again.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        match self {
            Self::Embedded(engine) => engine.next_due(),
        }
    }

    /// Says which types have a handler. Until this is called, all have.
    pub(crate) fn set_handled(&self, handled: Handled) {
        match self {
            Self::Embedded(engine) => engine.set_handled(handled),
        }
    }

    /// Says that these types have a handler as well.
    pub(crate) fn add_handled(&self, more: Handled) {
        match self {
            Self::Embedded(engine) => engine.add_handled(more),
        }
    }
}
