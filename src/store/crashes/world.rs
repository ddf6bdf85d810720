//! A store that lives on a simulated disk, and the ledger of its life.

use std::time::{Duration, SystemTime};

use super::format::Log;
use super::ledger::{Fact, Ledger, Promise};
use super::opening::{AGE, MEMORY, SEGMENT_BYTES, open_with, options};
use crate::env::Clock;
use crate::env::simulated::Disk;
use crate::event::{NewEvent, Outcome, Scope, Status, Timestamp};
use crate::store::answers::Claim;
use crate::store::desk::Level;
use crate::store::handle::Store;

/// One thing that happens to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    /// An event arrives; of every second one something is run, with any outcome.
    Append,
    /// Three events arrive together, and two are run.
    Batch,
    /// Events arrive until the next segment is begun, and everything is run.
    Rotate,
    /// Everything is run, time passes, and what is old is forgotten.
    Compact,
    /// The store is closed in good order.
    Close,
    /// The process dies, and another one opens the store.
    Reopen,
    /// An event that has ended, or waits for its next run, is to run again.
    Replay,
    /// An event that has not ended is called off.
    Cancel,
    /// An id arrives that arrived before.
    Again,
    /// Everything is run, and compacted before any of it is old: only that the log is too long lets anything be forgotten.
    Squeeze,
}

impl Op {
    /// Those of which every sequence is tried.
    pub(super) const ALL: [Self; 6] =
        [Self::Append, Self::Batch, Self::Rotate, Self::Compact, Self::Close, Self::Reopen];

    /// Those of which long lives are made: some more often than others.
    pub(super) const MANY: [Self; 12] = [
        Self::Append,
        Self::Batch,
        Self::Rotate,
        Self::Rotate,
        Self::Compact,
        Self::Close,
        Self::Reopen,
        Self::Replay,
        Self::Replay,
        Self::Cancel,
        Self::Again,
        Self::Squeeze,
    ];
}

/// From here on a log is too long.
const LOG_BYTES_MAX: u64 = 4 * SEGMENT_BYTES;

/// The store, its disk and its ledger.
pub(super) struct World {
    pub(super) disk: Disk,
    pub(super) ledger: Ledger,
    pub(super) wall: SystemTime,
    /// Starts of processes so far.
    pub(super) starts: u64,
    /// Starts of the machine so far.
    pub(super) boot: u64,
    /// Segments that compaction deleted so far.
    pub(super) deleted: u64,
    /// Segments that it replaced by what was left of them.
    pub(super) rewritten: u64,
    store: Option<(Store, Clock)>,
    arrived: usize,
    run: usize,
}

type Done = Result<(), String>;

impl World {
    /// A store on `disk`, not opened yet.
    pub(super) fn new(disk: Disk, wall: SystemTime) -> Self {
        // Who holds the lock is for people to read.
        disk.be_indifferent_to("LOCK");
        let ledger = Ledger { finished_before_max: i64::MIN, remembered_before_max: i64::MIN, ..Ledger::default() };
        Self { disk, ledger, wall, starts: 0, boot: 0, deleted: 0, rewritten: 0, store: None, arrived: 0, run: 0 }
    }

    /// Goes on with what a loss of power at `frame` left on `disk`.
    pub(super) fn go_on(&mut self, disk: Disk, left: &Log, frame: usize) {
        self.store = None;
        self.ledger.rebase(left, frame);
        self.disk = disk;
        self.boot += 1;
    }

    /// Lets it happen. What the store refuses is an error: nothing fails here but the power.
    pub(super) fn take(&mut self, op: Op) -> Done {
        self.open()?;
        self.pass(Duration::from_secs(1));
        if self.arrived.is_multiple_of(3) {
            // Now and then there was time to make durable what nobody waits for, and to mark the end.
            // Where a segment cannot be prepared the keeper never ends trying.
            for _ in 0..3 {
                if self.store().shared().tend() {
                    self.pass(Duration::from_secs(1));
                }
            }
            self.promise_durable(Vec::new());
        }
        match op {
            Op::Append => self.append(),
            Op::Batch => self.batch(),
            Op::Rotate => self.rotate(),
            Op::Compact => self.compact(),
            Op::Close => self.close(),
            Op::Reopen => self.reopen(),
            Op::Replay => self.replay(),
            Op::Cancel => self.cancel(),
            Op::Again => self.again(),
            Op::Squeeze => self.squeeze(),
        }
    }

    /// Opens the store, unless it is open.
    pub(super) fn open(&mut self) -> Done {
        if self.store.is_none() {
            self.starts += 1;
            let opened =
                open_with(options().log_bytes_max(LOG_BYTES_MAX), &self.disk, self.wall, self.starts, self.boot)
                    .map_err(|error| format!("opening: {error:?}"))?;
            self.store = Some(opened);
            self.promise_durable(Vec::new());
        }
        Ok(())
    }

    /// Time passes in which nobody asks for anything: all becomes durable, the log's end is marked, and the next segment prepared.
    pub(super) fn rest(&mut self) {
        for _ in 0..3 {
            self.pass(Duration::from_secs(2));
            self.store().shared().tend();
        }
        self.promise_durable(Vec::new());
    }

    pub(super) fn store(&self) -> &Store {
        &self.store.as_ref().expect("it is open").0
    }

    /// The store, if it is open.
    #[cfg(test)]
    pub(super) fn living(&self) -> Option<&Store> {
        self.store.as_ref().map(|(store, _)| store)
    }

    fn pass(&mut self, time: Duration) {
        self.wall += time;
        if let Some((_, clock)) = &self.store {
            clock.advance(time);
        }
    }

    fn now(&self) -> i64 {
        Timestamp::from(self.wall).unix_micros()
    }

    /// Notes what the store calls durable now as promised.
    fn promise_durable(&mut self, forgotten: Vec<u64>) {
        let (durable, last_seq) = {
            let desk = self.store().shared().desk();
            (desk.core.durable(), desk.core.last_seq())
        };
        self.ledger.last_seq = last_seq;
        self.ledger.promises.push(Promise { frame: self.disk.frames(), seq: durable, forgotten });
    }

    fn arrive(&mut self, lengths: &[usize]) -> Done {
        let mut events = Vec::new();
        let mut facts = Vec::new();
        for length in lengths {
            let number = self.arrived;
            self.arrived += 1;
            let (id, text) = (format!("e{number}"), format!("{number}:{}", "x".repeat(*length)));
            let mut event = NewEvent::new("Issue", &text).map_err(|error| error.to_string())?.id(id.clone());
            if number % 4 == 3 {
                event = event.key("k");
            }
            events.push(event);
            facts.push((id, format!("\"{text}\"")));
        }
        let at = self.now();
        self.ledger.tried.extend(facts.iter().cloned());
        let receipts = self.store().append_many(events).map_err(|error| format!("appending: {error:?}"))?;
        let batch =
            (receipts.first().map_or(0, |receipt| receipt.seq), receipts.last().map_or(0, |receipt| receipt.seq));
        for (receipt, (id, text)) in receipts.iter().zip(facts) {
            if receipt.id != id || receipt.duplicate.is_some() {
                return Err(format!("{id} was answered with {receipt:?}"));
            }
            self.ledger.facts.insert(receipt.seq, Fact::Received { id, text, at, batch });
        }
        self.promise(batch.1);
        Ok(())
    }

    /// Notes that the store promised all up to `seq`.
    fn promise(&mut self, seq: u64) {
        self.note_staged();
        self.ledger.promises.push(Promise { frame: self.disk.frames(), seq, forgotten: Vec::new() });
    }

    fn note_staged(&mut self) {
        let last_seq = self.store().shared().desk().core.last_seq();
        self.ledger.last_seq = last_seq;
    }

    /// Claims up to `count` events and settles each as `outcome` says; none: it is left running.
    fn run(&mut self, count: usize, outcome: impl Fn(usize) -> Option<Outcome>) -> Result<usize, String> {
        let claims = self.store().claim(count).map_err(|error| format!("claiming: {error:?}"))?;
        for claim in &claims {
            let (of, at) = (claim.event().seq(), self.now());
            self.ledger.facts.insert(claim.token.started, Fact::Started { of });
            let number = self.run;
            self.run += 1;
            let Some(outcome) = outcome(number) else { continue };
            if number.is_multiple_of(2) {
                self.handle(claim)?;
            }
            let shared = self.store().shared();
            let settled = shared.step(|core, now| core.settle(of, claim.token, &outcome, now));
            let seq = settled.map_err(|error| format!("settling: {error:?}"))?;
            let fact = match &outcome {
                Outcome::Done => Fact::Completed { of, at },
                Outcome::Retry(_) => Fact::Failed { of, again: !claim.is_last() },
                Outcome::Fail(_) => Fact::Failed { of, again: false },
                Outcome::Snooze(_) => Fact::Snoozed { of },
                _ => Fact::Cancelled { of, at },
            };
            if matches!(outcome, Outcome::Cancel(_)) {
                shared.wait(seq, Level::Durable).map_err(|error| format!("cancelling: {error:?}"))?;
                self.promise(seq);
            }
            self.ledger.facts.insert(seq, fact);
        }
        self.note_staged();
        Ok(claims.len())
    }

    /// One of the handlers of a claimed event succeeds, unless it did in an earlier run.
    fn handle(&mut self, claim: &Claim) -> Done {
        let handler = "mail".to_owned();
        if claim.is_handled_by(&handler) {
            return Ok(());
        }
        self.store().record_handled(claim, &handler).map_err(|error| format!("handling: {error:?}"))?;
        let seq = self.store().shared().desk().core.last_seq();
        self.ledger.facts.insert(seq, Fact::Handled { of: claim.event().seq(), handler });
        Ok(())
    }

    /// Runs everything that may run, and completes it.
    fn run_all(&mut self) -> Done {
        while self.run(100, |_| Some(Outcome::Done))? > 0 {}
        Ok(())
    }

    fn append(&mut self) -> Done {
        self.arrive(&[40 + self.arrived * 97 % 300])?;
        if self.arrived % 5 == 1 {
            self.post()?;
        }
        if self.arrived.is_multiple_of(2) { self.run(1, any).map(drop) } else { Ok(()) }
    }

    /// A pause that concerns no event begins or ends, or a reader keeps its place.
    fn post(&mut self) -> Done {
        let (number, at) = (self.arrived / 5, self.now());
        let key = format!("nobody's {}", number % 2);
        let shared = self.store().shared();
        let (name, value, seq) = match number % 3 {
            0 => {
                let scope = Scope::Key(key.clone());
                let seq = shared.step(|core, now| core.pause(&scope, None, "why not", now));
                (format!("key {key}"), Some(format!("since {at} until None: why not")), seq.map(Some))
            }
            1 => {
                let place = shared.desk().core.durable();
                let seq = shared.step(|core, now| core.save_cursor("reader", place, now));
                ("cursor reader".to_owned(), Some(place.to_string()), seq.map(Some))
            }
            _ => {
                let scope = Scope::Key(key.clone());
                (format!("key {key}"), None, shared.step(|core, now| core.resume(&scope, now)))
            }
        };
        let Some(seq) = seq.map_err(|error| format!("posting: {error:?}"))? else { return Ok(()) };
        shared.wait(seq, Level::Durable).map_err(|error| format!("posting: {error:?}"))?;
        self.ledger.facts.insert(seq, Fact::Posted { name, value });
        self.promise(seq);
        Ok(())
    }

    fn batch(&mut self) -> Done {
        self.arrive(&[20, 150, 300])?;
        self.run(2, any).map(drop)
    }

    fn rotate(&mut self) -> Done {
        let ordinal = |world: &Self| world.store().shared().desk().core.active().map(|segment| segment.ordinal());
        let before = ordinal(self);
        while ordinal(self) == before {
            self.arrive(&[780])?;
            // What nobody waits for stands at the end of the segment when the next one is begun.
            self.run(1, |_| Some(Outcome::Done))?;
        }
        self.run_all()
    }

    fn compact(&mut self) -> Done {
        // What waits for a retry may run again.
        self.pass(Duration::from_secs(5));
        self.run_all()?;
        self.pass(AGE + Duration::from_mins(30));
        let before = |age: Duration| Timestamp::from(self.wall - age).unix_micros();
        let (finished_before, remembered_before) = (before(AGE), before(MEMORY));
        self.ledger.finished_before_max = self.ledger.finished_before_max.max(finished_before);
        self.ledger.remembered_before_max = self.ledger.remembered_before_max.max(remembered_before);
        let report = self.store().compact().map_err(|error| format!("compacting: {error:?}"))?;
        if let Some(why) = report.suspended {
            return Err(format!("compaction is suspended: {why}"));
        }
        self.deleted += report.segments_deleted;
        self.rewritten += report.segments_rewritten;
        self.promise_durable(self.ledger.finished_before(finished_before));
        Ok(())
    }

    fn squeeze(&mut self) -> Done {
        self.run_all()?;
        // Nothing is old; but everything that has ended may go, if the log is too long.
        self.ledger.finished_before_max = self.ledger.finished_before_max.max(self.now() + 1);
        let remembered_before = Timestamp::from(self.wall - MEMORY).unix_micros();
        self.ledger.remembered_before_max = self.ledger.remembered_before_max.max(remembered_before);
        let report = self.store().compact().map_err(|error| format!("compacting: {error:?}"))?;
        self.deleted += report.segments_deleted;
        self.rewritten += report.segments_rewritten;
        let horizon = self.store().shared().desk().core.state.totals().horizon;
        self.promise_durable(self.ledger.finished_before(horizon.finished_before));
        Ok(())
    }

    /// One of the events that stand so, another one each time; none, if there is none.
    fn one_of(&self, stands: impl Fn(Status) -> bool) -> Option<u64> {
        let desk = self.store().shared().desk();
        let seqs: Vec<u64> = desk.core.state.list(0).filter(|view| stands(view.status)).map(|view| view.seq).collect();
        let turn = (self.arrived * 7 + self.run).checked_rem(seqs.len())?;
        seqs.get(turn).copied()
    }

    fn replay(&mut self) -> Done {
        use Status::{Cancelled, Completed, Failed, Retrying};
        let stands = |status| matches!(status, Retrying | Completed | Failed | Cancelled);
        let Some(of) = self.one_of(stands) else { return Ok(()) };
        let shared = self.store().shared();
        let seq = shared.step(|core, now| core.replay(of, now)).map_err(|error| format!("replaying: {error:?}"))?;
        shared.wait(seq, Level::Durable).map_err(|error| format!("replaying: {error:?}"))?;
        self.ledger.facts.insert(seq, Fact::Replayed { of });
        self.promise(seq);
        // Now and then it has begun before anything else happens.
        if seq.is_multiple_of(2) { self.run(1, any).map(drop) } else { Ok(()) }
    }

    fn cancel(&mut self) -> Done {
        use Status::{Failed, Pending, Processing, Retrying};
        let stands = |status| matches!(status, Pending | Processing | Retrying | Failed);
        let Some(of) = self.one_of(stands) else { return Ok(()) };
        let (at, shared) = (self.now(), self.store().shared());
        let seq = shared.step(|core, now| core.cancel(of, "called off", now));
        let seq = seq.map_err(|error| format!("cancelling: {error:?}"))?;
        shared.wait(seq, Level::Durable).map_err(|error| format!("cancelling: {error:?}"))?;
        self.ledger.facts.insert(seq, Fact::Cancelled { of, at });
        self.promise(seq);
        Ok(())
    }

    /// As long as the id is kept or remembered the event is refused as a duplicate; afterwards it is a new one.
    fn again(&mut self) -> Done {
        let Some(turn) = (self.arrived * 5 + self.run).checked_rem(self.ledger.tried.len()) else { return Ok(()) };
        let Some((id, text)) = self.ledger.tried.iter().nth(turn) else { return Ok(()) };
        let (id, text, at) = (id.clone(), text.clone(), self.now());
        let event = NewEvent::from_json("Issue", &text).map_err(|error| error.to_string())?.id(id.as_str());
        let last = self.ledger.last_reception(&id);
        let receipt = self.store().append(event).map_err(|error| format!("sending {id} again: {error:?}"))?;
        let is_known = receipt.duplicate.is_some();
        let is_kept = last.is_some_and(|(seq, _)| self.store().shared().desk().core.state.view(seq).is_some());
        let is_remembered = last.is_some_and(|(_, at)| at >= self.ledger.remembered_before_max);
        let is_right = if is_known { last.is_some() } else { !is_kept && !is_remembered };
        if !is_right {
            return Err(format!("{id}, which arrived before as {last:?}, was answered with {receipt:?}"));
        }
        if !is_known {
            self.ledger.facts.insert(receipt.seq, Fact::Received { id, text, at, batch: (receipt.seq, receipt.seq) });
            self.promise(receipt.seq);
        }
        Ok(())
    }

    fn close(&mut self) -> Done {
        self.store().shared().close_log().map_err(|error| format!("closing: {error:?}"))?;
        self.promise_durable(Vec::new());
        drop(self.store().shared().release());
        self.store = None;
        Ok(())
    }

    fn reopen(&mut self) -> Done {
        let written = self.store().shared().desk().core.written();
        self.ledger.lose_after(written);
        self.store = None;
        self.open()
    }
}

/// Every outcome in turn.
fn any(number: usize) -> Option<Outcome> {
    match number % 7 {
        0 | 2 => Some(Outcome::Done),
        1 => Some(Outcome::Retry("later".to_owned())),
        3 => None,
        6 => Some(Outcome::Snooze(Duration::from_secs(2))),
        4 => Some(Outcome::Cancel("called off".to_owned())),
        _ => Some(Outcome::Fail("no".to_owned())),
    }
}
