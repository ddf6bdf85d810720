//! Claiming: events are handed out to be run, each once.

use std::time::Duration;

use crate::error::{Error, ErrorKind};
#[cfg(doc)]
use crate::event::NewEvent;
use crate::event::{Moment, Outcome};
use crate::store::answers::Claim;
#[cfg(doc)]
use crate::store::answers::Stats;
use crate::store::commit::Shared;
use crate::store::crash_point::CrashPoint;
use crate::store::desk::Desk;
use crate::store::handle::Store;
use crate::store::keeper::IDLE;
use crate::store::runs::Claimed;
use crate::store::stretch::Stretch;

impl Store {
    /// Claims up to `count` events to be run: the most urgent first ([`NewEvent::priority`]), among equals types in turn, and of a type the
    /// oldest first; of one key at most one at a time, and none that is paused ([`Store::pause`]). Whoever has a [`Claim`] must settle it,
    /// also after a panic ([`Outcome::Release`]): until then the event and its key stay taken. If this process dies first, the next one to
    /// open the store runs the event again.
    ///
    /// An event whose bytes turn out to be damaged is not handed out: it has failed for good. One that the disk does not give back is
    /// retried. [`Stats::damaged_events`] counts both.
    ///
    /// # Errors
    /// [`ErrorKind::Full`], [`ErrorKind::OutcomeUnknown`], [`ErrorKind::Poisoned`], [`ErrorKind::Closed`], [`ErrorKind::NotAllowed`]
    /// (opened for reading only).
    pub fn claim(&self, count: usize) -> Result<Vec<Claim>, Error> {
        loop {
            self.shared().prepare_claim();
            let claimed = self.shared().step(|core, now| core.claim(count, now))?;
            let Some(last) = claimed.last() else { return Ok(Vec::new()) };
            self.shared().wait_written(last.token.started)?;
            drop(self.shared().pass(CrashPoint::Started));
            let claims = self.read_claims(claimed);
            // Where none could be read, that is settled, and others may be claimable.
            if !claims.is_empty() {
                return Ok(claims);
            }
        }
    }

    /// As [`Store::claim`]; where nothing can be claimed, it waits for something, for as long as `timeout`: until an event arrives, its time
    /// has come, or another of its key has ended. Empty when the time is up.
    ///
    /// ```no_run
    /// # fn example(store: ledgerline::Store) -> Result<(), ledgerline::Error> {
    /// use std::time::Duration;
    /// use ledgerline::{ErrorKind, Outcome};
    ///
    /// loop {
    ///     let claims = match store.claim_timeout(10, Duration::from_secs(60)) {
    ///         Err(error) if error.kind() == ErrorKind::Closed => return Ok(()), // by another thread
    ///         claims => claims?,
    ///     };
    ///     for claim in claims {
    ///         println!("{}", claim.event().data());
    ///         store.settle(&claim, Outcome::Done)?;
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Store::claim`]; [`ErrorKind::Closed`] also as soon as the store is closed.
    pub fn claim_timeout(&self, count: usize, timeout: Duration) -> Result<Vec<Claim>, Error> {
        let until = self.shared().clock.steady().saturating_add(timeout);
        loop {
            let claims = self.claim(count)?;
            if !claims.is_empty() || count == 0 || !self.shared().wait_for_work(until) {
                return Ok(claims);
            }
        }
    }

    /// Reads the bodies of what was claimed. One that cannot be read is settled here: nobody else knows that it is claimed.
    pub(super) fn read_claims(&self, claimed: Vec<Claimed>) -> Vec<Claim> {
        let mut claims = Vec::with_capacity(claimed.len());
        let (mut claimed, mut stretch) = (claimed.into_iter(), Stretch::default());
        while let Some(Claimed { view, token }) = claimed.next() {
            let next = claimed.as_slice().iter().map(|claimed| claimed.view.place);
            let outcome = match self.shared().read_beside(&mut stretch, &view, std::iter::once(view.place).chain(next))
            {
                Ok(event) => {
                    let hasher = self.shared().hasher;
                    claims.push(Claim { event, attempt: view.attempt, token, handled: view.handled, hasher });
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Corrupt => Outcome::Fail(format!("damaged: {error}")),
                Err(error) => Outcome::Retry(format!("cannot be read: {error:?}")),
            };
            match self.shared().step(|core, now| core.settle(view.seq, token, &outcome, now)) {
                Ok(_) => {}
                // It was called off in between, and its run ends here.
                Err(error) if error.kind() == ErrorKind::NotAllowed => self.let_go(view.seq, token),
                Err(error) => {
                    tracing::error!(?error, seq = view.seq, "an event that cannot be read could not be settled either");
                }
            }
        }
        claims
    }
}

impl Shared {
    /// Does in steps for which a claim would hold the lock too long.
    fn prepare_claim(&self) {
        let mut now = self.now();
        while self.prepare_some(now) {
            self.rest_since(Duration::from_micros(now.steady));
            now = self.now();
        }
    }

    /// One step of that: some events are released that were held until their type was handled, or some waits ended that are over. False
    /// if it was the last.
    pub(super) fn prepare_some(&self, now: Moment) -> bool {
        let mut desk = self.desk();
        let state = &mut desk.core.state;
        state.release_held() || state.end_waits(now)
    }

    /// Blocks until a claim is worth it, or will be refused; false once it is `until`, by the steady clock, and it is not.
    fn wait_for_work(&self, until: Duration) -> bool {
        let mut desk = self.desk();
        loop {
            let now = self.now();
            if desk.core.check_open().is_err() || desk.core.is_ready(now) {
                return true;
            }
            let left = until.saturating_sub(self.clock.steady());
            if left.is_zero() || !self.clock.goes() {
                // Somebody else must look out for the time for which this one did.
                self.call_claimers(&desk);
                return false;
            }
            let due = desk.core.state.next_due();
            desk.claimers.waiting += 1;
            desk.claimers.told_due = due;
            let due = due.map(|due| Duration::from_micros(due.saturating_sub(now.steady)));
            // Nothing wakes whoever waits for a time; and nobody waits longer for what he was not woken for.
            let wait = left.min(IDLE).min(due.unwrap_or(IDLE)).max(Duration::from_micros(1));
            desk = self.work.wait_timeout(desk, wait).expect("no step of the core panics").0;
            desk.claimers.waiting -= 1;
            desk.claimers.told_due = None;
        }
    }

    /// Wakes one of those who wait to claim, if that is worth it or there is a time that none of them looks out for; all, if they will be
    /// refused. What is left when that one has claimed, the commit of its claim calls the next for: a thousand who wait cost a commit what
    /// one does.
    pub(super) fn call_claimers(&self, desk: &Desk) {
        if desk.claimers.waiting == 0 {
            return;
        }
        if desk.core.check_open().is_err() {
            self.work.notify_all();
        } else if desk.claimers.have_not_heard_of(desk.core.state.next_due()) || desk.core.is_ready(self.now()) {
            self.work.notify_one();
        }
    }
}

/// Threads that wait for something to claim.
#[derive(Debug, Default)]
pub(super) struct Claimers {
    waiting: usize,
    /// When the first wait ends, for which the last of them to come looks out, in microseconds of running time; none once one of them has
    /// gone, which may have been that one.
    told_due: Option<u64>,
}

impl Claimers {
    fn have_not_heard_of(&self, due: Option<u64>) -> bool {
        due.is_some_and(|due| self.told_due.is_none_or(|told| due < told))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::simulated::Disk;
    use crate::event::{NewEvent, Scope};
    use crate::store::crashes::opening::{first_day, open_with};
    use crate::store::options::StoreOptions;

    const LONG: Duration = Duration::from_mins(1);

    fn event(id: &str) -> NewEvent {
        NewEvent::new("Issue", &id).unwrap().id(id).key("k")
    }

    /// What somebody who waits is handed out because of what somebody else does meanwhile.
    fn claimed_after(store: &Store, meanwhile: impl FnOnce() + Send) -> Vec<Claim> {
        std::thread::scope(|scope| {
            let claiming = scope.spawn(|| store.claim_timeout(5, LONG));
            while store.shared().desk().claimers.waiting == 0 {
                std::thread::yield_now();
            }
            meanwhile();
            claiming.join().unwrap().unwrap()
        })
    }

    #[test]
    fn waits_that_are_over_end_some_at_a_time() {
        let options = StoreOptions::default().segment_bytes(1024 * 1024);
        let (store, clock) = open_with(options, &Disk::new(), first_day(), 1, 0).unwrap();
        let delayed = |number: u32| event(&number.to_string()).delay(LONG);
        store.append_many((0..600).map(delayed)).unwrap();
        clock.advance(LONG);
        let waiting = || store.shared().desk().core.state.waiting_count();
        assert_eq!((waiting(), store.shared().prepare_some(store.shared().now()), waiting()), (600, true, 344));
        assert_eq!(store.claim(1).unwrap().len(), 1);
        assert_eq!(waiting(), 0);
    }

    #[cfg(feature = "manager")]
    #[test]
    fn events_that_were_held_are_released_some_at_a_time_once_their_type_is_handled() {
        use crate::state::Handled;

        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default().segment_bytes(1024 * 1024)).unwrap();
        store.set_handled(Handled::Only([].into()));
        store.append_many((0..600).map(|number: u32| event(&number.to_string()))).unwrap();
        let held = || store.shared().desk().core.state.counts().held;
        let more = |name: &str| store.add_handled(Handled::Only([name.to_owned()].into()));
        more("Comment");
        assert_eq!(held(), 600);
        more("Issue");
        assert_eq!(held(), 344, "no more under one lock");
        assert_eq!((store.shared().prepare_some(store.shared().now()), held()), (true, 88));
        assert_eq!(store.claim(1).unwrap().len(), 1);
        assert_eq!(held(), 0);
    }

    #[test]
    fn whoever_waits_to_claim_is_woken_by_whatever_becomes_claimable() {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions::default().segment_bytes(64 * 1024).retry_interval(Duration::from_millis(20));
        let store = Store::open(dir.path(), options).unwrap();
        let began = store.shared().clock.steady();
        let passed = || store.shared().clock.steady().saturating_sub(began);
        assert!(store.claim_timeout(0, LONG).unwrap().is_empty());
        assert!(store.claim_timeout(1, Duration::from_millis(5)).unwrap().is_empty());
        assert!(passed() >= Duration::from_millis(5));
        let first = claimed_after(&store, || drop(store.append_many(["a", "b"].map(event)).unwrap())).remove(0);
        assert_eq!(first.event().id(), "a");
        let second = claimed_after(&store, || store.settle(&first, Outcome::Done).unwrap()).remove(0);
        assert_eq!(second.event().id(), "b", "its key is free");
        let again = claimed_after(&store, || store.settle(&second, Outcome::Retry("e".to_owned())).unwrap()).remove(0);
        assert_eq!(again.attempt(), 2, "its time has come");
        let scope = Scope::Type("Issue".to_owned());
        store.pause(scope.clone(), None, "").unwrap();
        store.settle(&again, Outcome::Release).unwrap();
        assert_eq!(claimed_after(&store, || assert!(store.resume(&scope).unwrap())).len(), 1);
        assert!(passed() < LONG, "nobody has waited for his time to be up");
        let closed = std::thread::scope(|scope| {
            let claiming = scope.spawn(|| store.claim_timeout(1, LONG));
            while store.shared().desk().claimers.waiting == 0 {
                std::thread::yield_now();
            }
            store.close().unwrap();
            claiming.join().unwrap().unwrap_err()
        });
        assert_eq!(closed.kind(), ErrorKind::Closed);
        assert!(passed() < LONG);
    }
}
