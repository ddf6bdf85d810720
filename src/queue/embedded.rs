//! The engine within the process: a [`Store`].
//!
//! Nothing here blocks a thread of the runtime: the store stages an event or a claim under its lock, and its own thread wakes whoever
//! waits for the disk.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::Error;
use crate::event::{NewEvent, Scope, Timestamp};
use crate::queue::blocking;
use crate::store::{Claim, Handled, Mishap, Receipt, Settling, Store};

#[derive(Clone)]
pub(crate) struct Embedded {
    store: Store,
}

impl Embedded {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    pub(crate) fn id(&self) -> String {
        self.store.id()
    }

    pub(crate) async fn append(&self, event: Box<NewEvent>) -> Result<Receipt, Error> {
        self.store.append_async(event).await
    }

    #[cfg(feature = "service")]
    pub(crate) async fn known(&self, event: &NewEvent) -> Result<Option<Receipt>, Error> {
        self.store.known_async(event).await
    }

    /// On a thread of its own: a batch may take milliseconds to be written down.
    pub(crate) async fn append_many(
        &self,
        events: Vec<NewEvent>,
        held: impl Send + 'static,
    ) -> Result<Vec<Receipt>, Error> {
        let store = self.store.clone();
        blocking(move || {
            let appended = store.append_many(&events);
            drop(held);
            appended
        })
        .await
    }

    pub(crate) async fn claim(&self, count: usize) -> Result<Vec<Claim>, Error> {
        self.store.claim_async(count).await
    }

    pub(crate) async fn settle(&self, runs: &[Settling<'_>]) -> Vec<Result<(), Error>> {
        self.store.settle_async(runs).await
    }

    pub(crate) async fn record_handled(&self, claim: &Claim, handler: &str) -> Result<(), Error> {
        self.store.record_handled_async(claim, handler).await
    }

    pub(crate) async fn pause(&self, scope: Scope, until: Timestamp, reason: &str) -> Result<(), Error> {
        self.store.pause_async(scope, until, reason).await
    }

    pub(crate) fn set_limits(&self, limits: BTreeMap<String, u32>) {
        self.store.set_limits(limits);
    }

    pub(crate) fn lose_slot(&self, claim: &Claim) {
        self.store.lose_slot(claim);
    }

    pub(crate) fn note_mishap(&self, claim: &Claim, mishap: Mishap) {
        self.store.note_mishap(claim, mishap);
    }

    pub(crate) async fn work(&self) {
        self.store.work().await;
    }

    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.store.next_due()
    }

    pub(crate) fn set_handled(&self, handled: Handled) {
        self.store.set_handled(handled);
    }

    pub(crate) fn add_handled(&self, more: Handled) {
        self.store.add_handled(more);
    }
}
