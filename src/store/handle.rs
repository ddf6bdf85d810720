//! `Store`: the shared handle.

use std::borrow::Borrow;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::env::Chance;
use crate::error::{Error, ErrorKind};
use crate::event::entry::Token;
use crate::event::{Event, Moment, NewEvent, Outcome, hex};
use crate::state::IdHasher;
use crate::store::answers::{
    CalledOff, Claim, CompactionReport, Duplicate, Filter, HistoryEntry, Receipt, Recovery, Replay, Stats,
};
use crate::store::backup::{Backup, backup_dir};
use crate::store::closing::Ending;
use crate::store::commit::Shared;
use crate::store::core::{Core, Refused, Salts};
use crate::store::crash_point::CrashPoint;
use crate::store::desk::Level;
use crate::store::failure::of_env;
use crate::store::fate::{Decision, Fate};
use crate::store::ids::Ids;
use crate::store::keeper::Chore;
use crate::store::open::{self, Creation};
use crate::store::options::StoreOptions;
use crate::store::reader::Reader;
use crate::store::reception::{Batch, Givens, Incoming, Single};
use crate::store::selection::Selection;
use crate::store::spare::Spare;
#[cfg(feature = "manager")]
use crate::store::standing::Bookmarks;
#[cfg(feature = "manager")]
use crate::store::statistics::Mishap;
use crate::store::verify::{Verification, verify_dir};

/// A crash-safe event store in one directory: append, claim, settle, read.
///
/// A handle is cheap to clone and may be used from any thread. All calls block for as long as the disk takes, commit for one another,
/// and need no runtime. One process at a time opens a directory for writing; any number may read beside it. A process that is forked from
/// it gets an error from every handle that would write, and changes nothing by dropping one.
///
/// | call | when it returns |
/// |---|---|
/// | [`append`](Self::append), [`append_many`](Self::append_many), [`replay`](Self::replay), [`cancel`](Self::cancel) | durable: survives the loss of power |
/// | [`claim`](Self::claim) | written: survives the death of the process |
/// | [`settle`](Self::settle) | staged: its sync begins within 10 ms; lost with the process before, the event runs again |
/// | [`get`](Self::get), [`list`](Self::list), [`history`](Self::history) | what they show is durable |
///
/// After a failed write or sync the store takes nothing more ([`ErrorKind::Poisoned`]) until it is opened anew; reading goes on.
/// The last handle that is dropped closes the store; [`close`](Self::close) also says whether that worked.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    ids: Ids,
    recovery: Recovery,
    /// For the records of batches.
    spare: Spare,
    ending: Ending,
}

impl Store {
    /// Opens the store in `dir` for writing, creating directory and store if there is none, and recovers from whatever happened to
    /// the process or the machine before. Each opening begins a segment of the log; one that finds more than 64 small ones merges them
    /// before it returns.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`]: an option is out of bounds, or the path is empty. [`ErrorKind::NotFound`]: the path is a link that
    /// leads nowhere. [`ErrorKind::Locked`]: another process holds it; stop that first.
    /// [`ErrorKind::Corrupt`]: acknowledged bytes are missing or changed; [`Store::open_read_only`] still shows what verifies.
    /// [`ErrorKind::UnsupportedFormat`]: a newer version wrote it. [`ErrorKind::Full`]: the disk has no room. [`ErrorKind::Io`]: the
    /// operating system refused, and says why; where too many files are open, as each segment of the log is one, allow more (`ulimit -n`).
    pub fn open(dir: impl AsRef<Path>, options: StoreOptions) -> Result<Self, Error> {
        Self::start(open::open(dir.as_ref(), options, Creation::Allowed)?)
    }

    /// As [`Store::open`], but does not create anything.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no store; otherwise as [`Store::open`].
    pub fn open_existing(dir: impl AsRef<Path>, options: StoreOptions) -> Result<Self, Error> {
        Self::start(open::open(dir.as_ref(), options, Creation::Refused)?)
    }

    /// Opens the store in `dir` for reading: takes no lock, writes nothing, and shows what the log holds at this moment, even beside a
    /// process that writes: the last few milliseconds may not be durable yet. Damage does not refuse it: [`Recovery::damage`] names it,
    /// and what verifies is shown.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no store; [`ErrorKind::InvalidInput`] if the path is empty; [`ErrorKind::UnsupportedFormat`],
    /// [`ErrorKind::Io`].
    pub fn open_read_only(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let (shared, recovery) = open::open_read_only(dir.as_ref())?;
        Ok(Self::of(Arc::new(shared), recovery, Ids::new([0; 16]), None))
    }

    pub(super) fn start((shared, recovery): (Shared, Recovery)) -> Result<Self, Error> {
        let shared = Arc::new(shared);
        let ids = Ids::new(Chance::Machine.random().map_err(of_env)?);
        // From here on whatever fails closes the store, and with that ends the threads that were started.
        let store = Self::of(Arc::clone(&shared), recovery, ids, Some(Vec::new()));
        let keeper = Arc::clone(&shared);
        let seed = Chance::Machine.random().map_err(of_env)?;
        store.run("ledgerline-keeper", move || keeper.keep(&mut chores(&keeper, seed)))?;
        if !shared.dir.is_in_memory() {
            store.run("ledgerline-preparer", move || shared.prepare())?;
        }
        Ok(store)
    }

    fn run(&self, name: &str, life: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(life);
        let thread = thread
            .map_err(|cause| Error::new(ErrorKind::Io, format!("cannot start the thread {name}")).caused_by(cause))?;
        self.inner.ending.await_too(thread);
        Ok(())
    }

    /// A handle of an open store. Without `threads` nothing happens but what is called for, and whoever drops it leaves the store as
    /// a dead process would.
    pub(super) fn of(shared: Arc<Shared>, recovery: Recovery, ids: Ids, threads: Option<Vec<JoinHandle<()>>>) -> Self {
        let ending = Ending::new(threads);
        Self { inner: Arc::new(Inner { shared, ids, recovery, spare: Spare::default(), ending }) }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// Whether an ordinary event would be kept now: the store is open and sound, and there is room.
    #[cfg(feature = "service")]
    pub(crate) fn is_taking(&self) -> bool {
        self.shared().desk().core.is_taking()
    }

    /// The store's directory; `(memory)` if it is in none.
    pub fn path(&self) -> &Path {
        self.shared().dir.path()
    }

    /// What identifies the store, in hexadecimal digits.
    pub fn id(&self) -> String {
        hex::encode(&self.shared().desk().core.manifest.store_id)
    }

    /// How often the store was opened for writing, this time included.
    pub fn epoch(&self) -> u64 {
        self.shared().desk().core.epoch
    }

    /// What opening found and did.
    pub fn recovery(&self) -> &Recovery {
        &self.inner.recovery
    }

    /// Keeps one event. It is durable once this returns, or was so before: see [`Receipt::duplicate`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`], [`ErrorKind::TooLarge`]: it exceeds a bound. [`ErrorKind::IdConflict`]: its id is taken by other
    /// data. [`ErrorKind::Full`]: no room; try later. [`ErrorKind::Io`]: no further segment can be created for another reason, as where too
    /// many files are open (`ulimit -n`); the store tries again by itself. [`ErrorKind::NotAllowed`]: opened for reading only. In these
    /// cases nothing was appended. [`ErrorKind::OutcomeUnknown`]: the disk failed meanwhile; give the same id again after reopening.
    /// [`ErrorKind::Poisoned`], [`ErrorKind::Closed`]: reopen.
    pub fn append(&self, event: NewEvent) -> Result<Receipt, Error> {
        self.append_as(event, None)
    }

    /// As [`Store::append`], of an event that has `failed` for good somewhere else if there is a reason: here it waits for a person, too.
    pub(crate) fn append_as(&self, event: NewEvent, failed: Option<&str>) -> Result<Receipt, Error> {
        let now = self.shared().now();
        let mut single = Single::new(&event, &self.givens(now))?;
        let receive = |core: &mut Core, single: &mut Single<'_>, now| core.receive(single, failed, now);
        self.keep(&mut single, now, receive, Single::resolve_conflict, Single::compare)?;
        Ok(self.receipt(single.into_incoming()))
    }

    /// Keeps several events, given or lent, in one group: after a crash all of them are there, or none. The receipts are in the order of
    /// the events. No events are kept at once.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// use ledgerline::{NewEvent, Store, StoreOptions};
    ///
    /// let store = Store::open(dir.path(), StoreOptions::default())?;
    /// let events = ["opened", "closed"].map(|what| NewEvent::new("Issue", &what)).into_iter().collect::<Result<Vec<_>, _>>()?;
    /// let receipts = store.append_many(&events)?;
    /// assert_eq!(receipts.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Store::append`]; together they may take a quarter of a segment, and no id may come twice.
    pub fn append_many<E: Borrow<NewEvent>>(&self, events: impl IntoIterator<Item = E>) -> Result<Vec<Receipt>, Error> {
        let events: Vec<E> = events.into_iter().collect();
        let now = self.shared().now();
        let mut batch = Batch::new(&events, &self.givens(now), self.inner.spare.take())?;
        self.keep(&mut batch, now, Core::receive_all, Batch::resolve_conflicts, Batch::compare)?;
        let (incoming, buffer) = batch.into_parts();
        self.inner.spare.give_back(buffer);
        Ok(incoming.into_iter().map(|incoming| self.receipt(incoming)).collect())
    }

    /// Keeps what comes in, one event or a batch: durable once this returns.
    fn keep<T>(
        &self,
        incoming: &mut T,
        mut now: Moment,
        receive: impl Fn(&mut Core, &mut T, Moment) -> Result<Decision, Refused>,
        resolve: impl Fn(&mut T, IdHasher) -> Result<(), Error>,
        compare: impl Fn(&mut T, &Shared),
    ) -> Result<(), Error> {
        let (seq, in_line) = loop {
            match self.shared().step_in_line(now, |core, now| receive(core, incoming, now), Decision::seq)? {
                (Decision::Done { seq }, in_line) => break (seq, in_line),
                (Decision::Conflict, _) => resolve(incoming, self.shared().hasher)?,
                (Decision::Doubt { seq }, _) => {
                    self.shared().wait(seq, Level::Durable)?;
                    compare(incoming, self.shared());
                }
            }
            now = self.shared().now();
        };
        drop(self.shared().pass(CrashPoint::AppendStaged));
        seq.map_or(Ok(()), |seq| self.shared().wait_in_line(seq, in_line))
    }

    /// What events that come in `now` are given.
    pub(super) fn givens(&self, now: Moment) -> Givens<'_> {
        let shared = self.shared();
        Givens { ids: &self.inner.ids, hasher: shared.hasher, max_retries: shared.options.max_retries, now }
    }

    /// What is said of an event that was received. Nothing can go wrong any more: what is durable is durable.
    pub(super) fn receipt(&self, event: Incoming<'_>) -> Receipt {
        match event.into_fate() {
            (Fate::Kept { seq }, id) => Receipt { id, seq, duplicate: None },
            (Fate::Duplicate { why, seq, is_kept }, given) => {
                let seq = Some(seq).filter(|_| is_kept);
                // Where only hashes are remembered, or the bytes are damaged, the id that was given is the best there is.
                let other = seq.filter(|_| why == Duplicate::SameBody);
                let id = other.and_then(|seq| self.shared().read_id(seq).ok().flatten());
                Receipt { id: id.unwrap_or(given), seq: seq.unwrap_or(0), duplicate: Some(why) }
            }
        }
    }

    /// The event `id` as it stands, or nothing if there is none (any more).
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: its bytes are damaged. [`ErrorKind::OutcomeUnknown`]: the store failed before its last step was
    /// durable. [`ErrorKind::Io`].
    pub fn get(&self, id: &str) -> Result<Option<Event>, Error> {
        self.shared().get(id)
    }

    /// Every step of the event's life that the log still has, oldest first; empty if there is no such event. It reads the log from
    /// the event's reception to its last step, so it takes as long as that is.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn history(&self, id: &str) -> Result<Vec<HistoryEntry>, Error> {
        self.shared().history(id)
    }

    /// Every durable entry of the log from the record `seq` on (1 is the first), in order; once they are read, each as it becomes durable.
    /// What compaction has dropped is named as a range, and where it keeps ids of forgotten events, whoever reads later finds a `remembered`
    /// with the seq of a record that was another before. It ends when the store is closed; of a store that was opened for reading it
    /// yields what was there. Keep [`Reader::position`] to go on later.
    pub fn read_from(&self, seq: u64) -> Reader {
        Reader::new(Arc::clone(&self.inner.shared), seq)
    }

    /// As [`Store::read_from`], from the next record on that becomes durable.
    #[cfg(feature = "manager")]
    pub(crate) fn read_from_now(&self) -> Reader {
        let durable = self.shared().desk().core.durable();
        self.read_from(durable + 1)
    }

    /// The place to save cursors, which does not keep the store open.
    #[cfg(feature = "manager")]
    pub(crate) fn bookmarks(&self) -> Bookmarks {
        Bookmarks::new(Arc::clone(&self.inner.shared))
    }

    /// The events that match `filter`, oldest first; those whose bytes turn out to be damaged are left out, and [`Stats::damaged_events`]
    /// counts them. Their data is read from the log: set a limit where there may be many.
    ///
    /// # Errors
    /// As [`Store::get`]; also [`ErrorKind::InvalidInput`] names a condition that no event can match.
    pub fn list(&self, filter: &Filter) -> Result<Vec<Event>, Error> {
        self.shared().list(filter)
    }

    /// Shows one after another, until `each` wants no more; returns how many were left out because their bytes are damaged.
    #[cfg(feature = "service")]
    pub(crate) fn list_each(
        &self,
        filter: &Filter,
        each: impl FnMut(Event) -> std::ops::ControlFlow<()>,
    ) -> Result<u64, Error> {
        self.shared().list_each(filter, each)
    }

    /// Says how the run of a claim ended. Its sync begins within 10 ms; [`Outcome::Cancel`] is durable once this returns.
    ///
    /// To be called even if the event was cancelled meanwhile: only then may it, and the next of its key, be claimed again.
    ///
    /// # Errors
    /// [`ErrorKind::NotAllowed`]: the claim is of another store, or no longer holds, because the event was cancelled or replayed
    /// meanwhile, or another process start claimed it. Otherwise as [`Store::claim`].
    pub fn settle(&self, claim: &Claim, outcome: Outcome) -> Result<(), Error> {
        self.check_ours(claim)?;
        let waits = matches!(outcome, Outcome::Cancel(_));
        drop(self.shared().pass(CrashPoint::Settling));
        let settled = self.shared().step(|core, now| core.settle(claim.event.seq(), claim.token, &outcome, now));
        match &settled {
            Ok(_) => {
                drop(self.shared().pass(CrashPoint::SettleStaged));
                self.shared().wake_workers();
            }
            // Its outcome is of no account any more, and still it has ended.
            Err(error) if error.kind() == ErrorKind::NotAllowed => self.let_go(claim.event.seq(), claim.token),
            Err(_) => {}
        }
        let seq = settled?;
        if waits { self.shared().wait(seq, Level::Durable) } else { Ok(()) }
    }

    /// The run of a claim does not end though it was told to, and goes on without a slot: until it ends, it holds up nothing but its key
    /// and what must run alone.
    #[cfg(feature = "manager")]
    pub(crate) fn lose_slot(&self, claim: &Claim) {
        if self.shared().desk().core.state.lose_slot(claim.event.seq(), claim.token) {
            self.shared().wake_workers();
        }
    }

    /// The run of a claim has ended, though its event may have been cancelled before: what it kept from being claimed is free. Nothing
    /// happens where that is so already. Settling does this by itself.
    pub(crate) fn let_go(&self, seq: u64, token: Token) {
        if self.shared().desk().core.state.let_go(seq, token) {
            self.shared().wake_workers();
        }
    }

    /// Keeps that one of several handlers of a claimed event has succeeded, by its name of 1 to 128 bytes, at most 64 of an event; the run
    /// goes on. Should it fail, or its process die, the next claim says so ([`Claim::is_handled_by`]), and that handler need not run
    /// again. It is forgotten once the event is completed or cancelled; a replay of one that has failed leaves it as it is. Its sync
    /// begins within 10 ms; lost with the process before, the handler runs again. The same name again changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`]: the name is out of bounds, or one more than 64. Otherwise as [`Store::settle`].
    pub fn record_handled(&self, claim: &Claim, handler: &str) -> Result<(), Error> {
        self.check_ours(claim)?;
        self.shared().step(|core, now| core.record_handled(claim.event.seq(), claim.token, handler, now))
    }

    /// Numbers of events and of starts are the same in many stores.
    fn check_ours(&self, claim: &Claim) -> Result<(), Error> {
        if claim.hasher == self.shared().hasher {
            return Ok(());
        }
        let text = format!("the claim of {:?} is of another store; settle it there", claim.event.id());
        Err(Error::new(ErrorKind::NotAllowed, text))
    }

    /// Lets events run anew: retries start from 0, and each joins the end of its key. What may not be replayed is named, and the
    /// rest goes on. Durable once this returns.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub fn replay(&self, ids: &[impl AsRef<str>]) -> Result<Vec<Replay>, Error> {
        self.replay_each(Selection::ids(ids.iter().map(AsRef::as_ref)))
    }

    /// Lets every event that has failed for good run anew. Durable once this returns.
    ///
    /// # Errors
    /// As [`Store::replay`].
    pub fn replay_failed(&self) -> Result<Vec<Replay>, Error> {
        self.replay_each(Selection::failed())
    }

    pub(super) fn find(&self, id: &str) -> Option<u64> {
        self.shared().desk().core.state.find(self.shared().hasher.id(id))
    }

    /// Calls an event off, for this reason. A handler that runs it goes on, but its verdict no longer counts. Until that run ends,
    /// which whoever claimed it says by settling, the event keeps its key and is not claimed again, even if it is replayed; another
    /// process that opens the store need not wait for it. Durable once this returns.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: there is no such event. [`ErrorKind::NotAllowed`]: it is completed or cancelled already. Otherwise
    /// as [`Store::append`].
    pub fn cancel(&self, id: &str, reason: &str) -> Result<(), Error> {
        self.call_off(id, reason).map(drop)
    }

    /// As [`Store::cancel`]; returns what its handler is to be told.
    pub(crate) fn call_off(&self, id: &str, reason: &str) -> Result<CalledOff, Error> {
        let missing = || Error::new(ErrorKind::NotFound, format!("there is no event {id:?}"));
        let hash = self.shared().hasher.id(id);
        let called_off = self.shared().step(|core, now| {
            core.check_open()?;
            let event = core.state.find(hash).ok_or_else(missing)?;
            Ok(CalledOff { event, cancelled: core.cancel(event, reason, now)? })
        });
        match called_off {
            Ok(called_off) => {
                self.shared().wait(called_off.cancelled, Level::Durable)?;
                Ok(called_off)
            }
            Err(error) => Err(self.shared().refusal(error)),
        }
    }

    /// Reads everything in the store again and says whether it is as it was written. As [`verify`](crate::verify()).
    ///
    /// # Errors
    /// As [`verify`](crate::verify()).
    pub fn verify(&self) -> Result<Verification, Error> {
        verify_dir(&self.shared().dir)
    }

    /// Copies the store into `to`, which must not exist or be empty, while it is in use; everything that was acknowledged before is in
    /// the copy. As [`backup`](crate::backup()).
    ///
    /// # Errors
    /// As [`backup`](crate::backup()). [`ErrorKind::OutcomeUnknown`]: the store failed, and what is on its disk is not known.
    pub fn backup(&self, to: impl AsRef<Path>) -> Result<Backup, Error> {
        self.shared().wait_for_all()?;
        let in_use = self.shared().desk().core.check_writable().is_ok();
        backup_dir(&self.shared().dir, to.as_ref(), in_use)
    }

    /// How the store is doing.
    pub fn stats(&self) -> Stats {
        self.shared().stats()
    }

    /// As [`Store::stats`], without what is counted by type, and without attempts: it costs the same however many there are.
    #[cfg(feature = "manager")]
    pub(crate) fn gauges(&self) -> Stats {
        self.shared().gauges()
    }

    /// Counts a run that has failed, and was settled, for what else is to be said of it.
    #[cfg(feature = "manager")]
    pub(crate) fn note_mishap(&self, claim: &Claim, mishap: Mishap) {
        let mut desk = self.shared().desk();
        let core = &mut desk.core;
        if let Some(view) = core.state.view(claim.event.seq()) {
            core.tallies.mishap(&view, mishap);
        }
    }

    /// Applies retention now instead of within the hour: forgets finished events that are old enough, or too many for
    /// [`StoreOptions::log_bytes_max`], deletes the segments that nothing needs any more, and writes anew what is left of those that are
    /// mostly dead. Durable once this returns; events can be kept and run meanwhile. It rests half of the time, so that they hardly
    /// notice.
    ///
    /// # Errors
    /// As [`Store::append`]. A segment that is damaged, or for which there is no room, is left as it is; that is no error here. Where
    /// there is not even room to say what is forgotten, what was forgotten before is freed all the same: [`ErrorKind::Full`] means that
    /// this did not suffice. [`ErrorKind::NotAllowed`] also to a task that a compaction wakes on its own thread.
    pub fn compact(&self) -> Result<CompactionReport, Error> {
        self.shared().compact()
    }

    /// Closes the store in good order: all is made durable, the end is marked, unused space is given back, the lock is released.
    /// From its beginning on every call that changes anything answers [`ErrorKind::Closed`], on any handle; what reads shows the store as it
    /// was closed. Closing again does nothing, and tells again what the first time could not do.
    ///
    /// # Errors
    /// [`ErrorKind::OutcomeUnknown`], [`ErrorKind::Io`]: the last steps may not be durable. The store is closed all the same. The former
    /// also where it is being closed at this moment by whoever waits for the thread that calls, as the waker of a task may.
    pub fn close(&self) -> Result<(), Error> {
        self.inner.ending.close(self.shared())
    }
}

/// How long after the opening retention runs first.
const FIRST_RETENTION: Duration = Duration::from_mins(1);

/// What the keeper starts from time to time.
fn chores(shared: &Arc<Shared>, seed: [u8; 16]) -> Vec<Chore<'_>> {
    let mut chores = Vec::new();
    if let Some(interval) = shared.options.compaction_interval {
        // Or no process that lives less than an hour would ever do it. The start is busy enough.
        let now = shared.clock.steady();
        let due = now + interval.min(FIRST_RETENTION);
        let run = Box::new(|| beside(shared, "ledgerline-retention", retain));
        chores.push(Chore { due, interval, made_room: Some(now), run });
    }
    // There is no disk in memory that could rot.
    if !shared.dir.is_in_memory() {
        let interval = shared.options.scrub_interval;
        // A process that is started again and again comes to every part of the log only if each begins at another.
        let due = Duration::from_secs(Salts::at(&seed, 0) % interval.as_secs().max(1));
        let mut count = 0;
        let scrub = move || {
            count += 1;
            let start = Salts::at(&seed, count);
            beside(shared, "ledgerline-scrub", move |shared| shared.scrub_paced(start));
        };
        chores.push(Chore { due, interval, made_room: None, run: Box::new(scrub) });
    }
    chores
}

/// Runs `work` on a thread of its own.
fn beside(shared: &Arc<Shared>, name: &str, work: impl FnOnce(&Shared) + Send + 'static) {
    let shared = Arc::clone(shared);
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&shared));
    if let Err(error) = started {
        tracing::warn!(%error, name, "a thread could not be started; it is tried again at the next interval");
    }
}

fn retain(shared: &Shared) {
    if let Err(error) = shared.retain()
        && error.kind() != ErrorKind::Closed
    {
        tracing::warn!(?error, "retention failed; it is tried again at the next interval");
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.shared.is_copy() {
            return;
        }
        let is_open = self.ending.is_to_come();
        if let Err(error) = self.ending.close(&self.shared)
            && is_open
        {
            tracing::error!(%error, "the store was not closed in good order; the next opening recovers it");
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path()).finish_non_exhaustive()
    }
}
