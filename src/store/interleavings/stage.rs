//! A store on a disk that is watched, and what its callers were told.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::env::Clock;
use crate::env::simulated::{Call, Disk, Fault, Progress};
use crate::error::Error;
use crate::event::NewEvent;
use crate::log::segment::Name;
use crate::store::answers::{Receipt, Recovery};
use crate::store::commit::Shared;
use crate::store::desk::Level;
use crate::store::handle::Store;
use crate::store::ids::Ids;
use crate::store::options::StoreOptions;
use crate::store::stories::store_in;
use crate::sync::{AtomicUsize, thread};

/// Two readings apart a leader gives up waiting for those whom it expects.
const TICK: Duration = Duration::from_micros(20);

/// A store, and what is known of its disk.
pub(super) struct Stage {
    pub(super) shared: Arc<Shared>,
    pub(super) store: Store,
    ledger: Arc<Ledger>,
}

/// Where in each file the bytes end that a call has come to; by the name of the file.
type Ends = BTreeMap<String, u64>;

/// What is under way at the disk, and what has come of it.
#[derive(Default)]
struct Ledger {
    writing: AtomicUsize,
    syncing: AtomicUsize,
    /// Touched whenever a call begins or ends: so a checker has others go on between the two, and tries the calls in every order.
    moments: AtomicUsize,
    /// Nobody waits for this lock, so it is std's.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    written: Ends,
    /// What was written when the sync began that is under way.
    covered: u64,
    durable: Ends,
    write_failed: bool,
    sync_failed: bool,
    /// At which calls a thread panics.
    breaks: Option<fn(Call) -> bool>,
}

/// What a caller was told, and how far the disk was at that moment.
pub(super) struct Told {
    pub(super) receipt: Result<Receipt, Error>,
    /// How far it was told that its record is.
    level: Level,
    /// How far that is on the disk.
    ends: Ends,
}

impl Stage {
    /// A store of one segment of this size; the disk fails as these faults say.
    pub(super) fn new(segment_bytes: u64, faults: &[Fault]) -> Self {
        let disk = Disk::settled();
        let options = StoreOptions::default().segment_bytes(segment_bytes);
        let shared = Arc::new(store_in(disk.root().disguised(), Clock::ticking(TICK), true, options));
        let store = Store::of(Arc::clone(&shared), Recovery::default(), Ids::new([2; 16]), None);
        let ledger = Arc::<Ledger>::default();
        let watch = Arc::clone(&ledger);
        disk.watch(move |name, call, progress| watch.note(name.trim_end_matches(".tmp"), call, progress));
        for fault in faults {
            disk.fail(fault.clone());
        }
        Self { shared, store, ledger }
    }

    /// Has a thread panic at the disk, when it begins a call that is so.
    pub(super) fn break_at(&self, is_so: fn(Call) -> bool) {
        self.ledger.known.lock().unwrap().breaks = Some(is_so);
    }

    /// What a thread needs to call for itself.
    pub(super) fn caller(&self) -> Caller {
        Caller { store: self.store.clone(), ledger: Arc::clone(&self.ledger) }
    }

    /// A thread that leads for tasks, until [`Stage::end`].
    pub(super) fn keeper(&self) -> thread::JoinHandle<()> {
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || shared.keep(&mut []))
    }

    /// Ends the store's threads.
    pub(super) fn end(&self, threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
        self.shared.stop();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    /// Nobody is left in line, and what the callers were told was so.
    pub(super) fn check(&self, told: &[Told]) {
        let desk = self.shared.desk();
        assert!(desk.may_lead() && desk.onlookers == 0, "nobody is at work");
        assert_eq!((desk.waiters.for_sync(), desk.waiters.has_tasks()), (0, false), "nobody waits");
        for Told { receipt, level, ends } in told {
            let Ok(receipt) = receipt else {
                assert!(desk.core.poison().is_some() || desk.core.is_closed(), "{receipt:?}");
                continue;
            };
            let place = desk.core.state.view(receipt.seq).unwrap().place;
            let end = u64::from(place.offset) + u64::from(place.length);
            let name = Name::original(u64::from(place.segment >> 1)).to_string();
            let is_there = ends.get(&name).is_some_and(|there| *there >= end);
            match level {
                Level::Written => assert!(is_there, "{receipt:?} was not written: {ends:?}"),
                Level::Durable => assert!(is_there, "{receipt:?} was not durable: {ends:?}"),
            }
            assert!(desk.reached(*level) >= receipt.seq);
        }
    }
}

/// Somebody who has events kept.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) store: Store,
    ledger: Arc<Ledger>,
}

impl Caller {
    /// Keeps an event as blocking callers do.
    pub(super) fn append(&self, id: &str, bytes: usize) -> Told {
        self.told(self.store.append(event(id, bytes)))
    }

    /// Keeps an event as tasks do.
    #[cfg(feature = "manager")]
    pub(super) async fn append_async(&self, id: &str, bytes: usize) -> Told {
        let receipt = self.store.append_async(event(id, bytes).into()).await;
        self.told(receipt)
    }

    fn told(&self, receipt: Result<Receipt, Error>) -> Told {
        Told { receipt, level: Level::Durable, ends: self.ledger.known.lock().unwrap().durable.clone() }
    }

    /// Somebody may go on because the record `seq` has come as far as `level`.
    pub(super) fn told_of(&self, seq: u64, level: Level) -> Told {
        let known = self.ledger.known.lock().unwrap();
        let ends = if level == Level::Written { &known.written } else { &known.durable };
        let receipt = Receipt { id: seq.to_string(), seq, duplicate: None };
        Told { receipt: Ok(receipt), level, ends: ends.clone() }
    }

    /// Somebody who follows the log was shown all from `first` to `last`.
    pub(super) fn shown(&self, first: u64, last: Option<u64>) -> Vec<Told> {
        let last = last.expect("nobody has closed the store");
        assert!(last >= first, "what is waited for is shown");
        (first..=last).map(|seq| self.told_of(seq, Level::Durable)).collect()
    }
}

pub(super) fn event(id: &str, bytes: usize) -> NewEvent {
    NewEvent::new("Issue", &"x".repeat(bytes)).unwrap().id(id)
}

impl Ledger {
    fn note(&self, name: &str, call: Call, progress: Progress) {
        // What a new segment begins with is written, and synced, by whoever makes it.
        let is_made = call == Call::Sync && !self.known.lock().unwrap().written.contains_key(name);
        if is_made || matches!(call, Call::Write { offset: 0, .. }) {
            return;
        }
        let under_way = if call == Call::Sync { &self.syncing } else { &self.writing };
        if progress == Progress::Begins {
            assert_eq!(under_way.fetch_add(1, Ordering::AcqRel), 0, "{call:?} while another is under way");
        }
        if progress != Progress::Begins {
            under_way.fetch_sub(1, Ordering::AcqRel);
        }
        self.moments.fetch_add(1, Ordering::AcqRel);
        let mut known = self.known.lock().unwrap();
        known.note(name, call, progress);
        if progress == Progress::Begins && known.breaks.is_some_and(|is_so| is_so(call)) {
            drop(known);
            // As any other panic, but that it is told nobody.
            std::panic::resume_unwind(Box::new(call));
        }
    }
}

impl Known {
    fn note(&mut self, name: &str, call: Call, progress: Progress) {
        match (call, progress) {
            (Call::Write { .. }, Progress::Begins) => {
                assert!(!self.write_failed, "something is written after a failed write");
                let others = self.written.iter().filter(|(other, _)| *other != name);
                let synced = others.map(|(other, end)| self.durable.get(other) == Some(end));
                assert!(synced.into_iter().all(|synced| synced), "a segment follows one that is not synced");
            }
            (Call::Write { end, .. }, Progress::Done) => {
                self.written.insert(name.to_owned(), end);
            }
            (Call::Sync, Progress::Begins) => {
                // What a second sync says is worth nothing: the system may have dropped what the first one lost.
                assert!(!self.write_failed && !self.sync_failed, "something is synced after a failure");
                self.covered = self.written.get(name).copied().unwrap_or(0);
            }
            (Call::Sync, Progress::Done) => {
                self.durable.insert(name.to_owned(), self.covered);
            }
            (Call::Write { .. }, Progress::Failed) => self.write_failed = true,
            (Call::Sync, Progress::Failed) => self.sync_failed = true,
        }
    }
}
