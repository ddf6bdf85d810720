//! What must stand where records are lost, so that the histories around the gap can be told.
//!
//! ```text
//! received 3 │ lost 4–9 │ completed (claim of 7) 12        the run that 12 ended began with 7: a `started` goes there
//! started  3 │ lost 4–9 │ started 12                       the run before ended somehow: a `released` goes into the gap
//! failed   3 │ lost 4–9 │ started 12                       somebody replayed it: a `replayed` goes into the gap
//! done     3 │ lost 4–9 │ received 12 under the same id    it was forgotten meanwhile: a `horizon` goes into the gap
//! ```
//!
//! Nothing is made up that the survivors do not prove, but for its time, which is that of the record that proves it. What is put in
//! takes seqs that are lost, so every survivor keeps its own. What cannot be told even so is left out and named.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::event::Status;
use crate::event::entry::{Begun, Cancelled, Entry, Horizon, Of, Released, Replayed, Started, Token};
use crate::mutants::mutant;
use crate::state::{Step, next};
use crate::store::replay::at_of;

/// Why a surviving record is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeftOut {
    /// The reception that it is about is lost.
    Orphan(Of),
    /// What came before it is lost, and no gap is left to put it into.
    Untold,
}

/// Follows the survivors in order, and decides what goes into the gaps.
pub(super) struct Mending<'l> {
    lost: &'l [(u64, u64)],
    /// What goes into the gaps, by seq.
    pub(super) put_in: BTreeMap<u64, Entry<'static>>,
    /// Of seqs in gaps that are taken, one that may be free.
    taken: HashMap<u64, u64>,
    lives: HashMap<u64, Life>,
    running: BTreeSet<u64>,
    epoch: u64,
    /// The last record that belongs to the epoch.
    last_of_epoch: u64,
}

/// An event that must have been forgotten before a survivor that has the same id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Namesake {
    /// None if only its id is remembered, so that it is known to have finished.
    pub(super) event: Option<Of>,
    /// Seq of the last record about it.
    pub(super) last_seq: u64,
    /// When it finished; none if no survivor says so.
    pub(super) finished_at: Option<i64>,
    /// The time of the last that survives of it.
    pub(super) last_at: i64,
    /// Before this its id was forgotten, too; the least there is if that is not known.
    pub(super) remembered_before: i64,
}

#[derive(Debug, Clone, Copy)]
struct Life {
    of: Of,
    status: Status,
    last_seq: u64,
    attempt: u32,
}

impl<'l> Mending<'l> {
    pub(super) fn new(lost: &'l [(u64, u64)]) -> Self {
        Self {
            lost,
            put_in: BTreeMap::new(),
            taken: HashMap::new(),
            lives: HashMap::new(),
            running: BTreeSet::new(),
            epoch: 0,
            last_of_epoch: 0,
        }
    }

    /// Goes on with a survivor; says why it must be left out, if it must.
    pub(super) fn entry(&mut self, seq: u64, entry: &Entry<'_>, id_hash: impl Fn(&str) -> u64) -> Option<LeftOut> {
        match entry {
            Entry::Begun(begun) => {
                self.begin(begun.epoch);
                self.last_of_epoch = seq;
                None
            }
            Entry::Received(received) => {
                let of = Of { seq, id_hash: id_hash(received.id) };
                self.lives.insert(seq, Life { of, status: Status::Pending, last_seq: seq, attempt: 0 });
                None
            }
            _ => entry.of().and_then(|of| self.transition(seq, of, entry).err()),
        }
    }

    fn begin(&mut self, epoch: u64) {
        if epoch <= self.epoch {
            return;
        }
        self.epoch = epoch;
        if mutant!("salvaged-run-outlives-its-process") {
            return;
        }
        for seq in std::mem::take(&mut self.running) {
            self.lives.entry(seq).and_modify(|life| life.status = Status::Pending);
        }
    }

    fn transition(&mut self, seq: u64, of: Of, entry: &Entry<'_>) -> Result<(), LeftOut> {
        if !self.lives.contains_key(&of.seq) {
            return if self.is_lost(of.seq) && !mutant!("salvaged-orphan-kept") {
                Err(LeftOut::Orphan(of))
            } else {
                Ok(())
            };
        }
        let at = at_of(entry).unwrap_or_default();
        let (step, token) = match entry {
            Entry::Started(started) => (Step::Started, Some(Token { epoch: started.epoch, started: seq })),
            Entry::Completed(completed) => (Step::Completed, Some(completed.token)),
            Entry::Failed(failed) if failed.retry.is_some() => (Step::FailedAgain, Some(failed.token)),
            Entry::Failed(failed) => (Step::Failed, Some(failed.token)),
            Entry::Released(released) => (Step::Released, Some(released.token)),
            Entry::Replayed(_) => (Step::Replayed, None),
            Entry::Snoozed(snoozed) => (Step::Snoozed, Some(snoozed.token)),
            Entry::Handled(handled) => (Step::Handled, Some(handled.token)),
            Entry::Cancelled(_) => (Step::Cancelled, None),
            _ => (Step::Condemned, None),
        };
        if let Some(token) = token {
            self.reach_epoch(token.epoch, token.started, at)?;
            if step != Step::Started {
                self.reach_run(of, token, at)?;
            }
        }
        if next(Some(self.life(of)?.status), step).is_none() {
            self.bridge(of, step, seq, at)?;
        }
        let status = next(Some(self.life(of)?.status), step).ok_or(LeftOut::Untold)?;
        let attempt = if let Entry::Started(started) = entry { Some(started.attempt) } else { None };
        // What started a run stays the event's last record while it runs.
        if step != Step::Handled {
            self.stand(of, status, seq, attempt);
        }
        if token.is_some() {
            self.last_of_epoch = self.last_of_epoch.max(seq);
        }
        Ok(())
    }

    fn life(&self, of: Of) -> Result<Life, LeftOut> {
        self.lives.get(&of.seq).filter(|life| life.of == of).copied().ok_or(LeftOut::Untold)
    }

    fn stand(&mut self, of: Of, status: Status, seq: u64, attempt: Option<u32>) {
        self.running.remove(&of.seq);
        if status == Status::Processing {
            self.running.insert(of.seq);
        }
        self.lives.entry(of.seq).and_modify(|life| {
            (life.status, life.last_seq) = (status, seq);
            life.attempt = attempt.unwrap_or(life.attempt);
        });
    }

    /// A process start whose beginning is lost.
    fn reach_epoch(&mut self, epoch: u64, before: u64, at: i64) -> Result<(), LeftOut> {
        if epoch <= self.epoch {
            return Ok(());
        }
        let seq = self.free(self.last_of_epoch, before).ok_or(LeftOut::Untold)?;
        // That it differs from the boot before means that no death is held against what was running.
        self.put(seq, Entry::Begun(Begun { first_seq: seq, epoch, boot: 0, at, predecessor: None }));
        self.begin(epoch);
        self.last_of_epoch = seq;
        Ok(())
    }

    /// A run whose beginning is lost, and whose end is not.
    fn reach_run(&mut self, of: Of, token: Token, at: i64) -> Result<(), LeftOut> {
        let life = self.life(of)?;
        if life.status == Status::Processing && life.last_seq == token.started {
            return Ok(());
        }
        let is_free = token.started > life.last_seq
            && self.is_lost(token.started)
            && !self.put_in.contains_key(&token.started)
            && token.epoch == self.epoch;
        if !is_free {
            return Err(LeftOut::Untold);
        }
        if next(Some(life.status), Step::Started).is_none() {
            self.bridge(of, Step::Started, token.started, at)?;
        }
        let attempt = life.attempt.saturating_add(1);
        let (epoch, alone, opens_claim) = (token.epoch, false, false);
        self.put(token.started, Entry::Started(Started { of, epoch, attempt, alone, opens_claim, at }));
        self.stand(of, Status::Processing, token.started, Some(attempt));
        Ok(())
    }

    /// What must have happened between the event's last record and a `step` at `before`.
    fn bridge(&mut self, of: Of, step: Step, before: u64, at: i64) -> Result<(), LeftOut> {
        let life = self.life(of)?;
        let token = Token { epoch: self.epoch, started: life.last_seq };
        let bridge = match (life.status, step) {
            (Status::Processing, Step::Started | Step::Condemned) => Entry::Released(Released { of, token, at }),
            (Status::Completed | Status::Failed | Status::Cancelled, _) => Entry::Replayed(Replayed { of, at }),
            _ => return Err(LeftOut::Untold),
        };
        let seq = self.free(life.last_seq, before).ok_or(LeftOut::Untold)?;
        self.put(seq, bridge);
        self.stand(of, Status::Pending, seq, None);
        Ok(())
    }

    /// Puts into a gap what the survivor at `before` proves: that an event was over by then, and forgotten. False if there is no gap.
    pub(super) fn forget(&mut self, namesake: Namesake, before: u64) -> bool {
        let Namesake { event, last_seq, finished_at, last_at, remembered_before } = namesake;
        let (mut after, mut finished_before) = (last_seq, i64::MIN);
        let mut ended = None;
        if let Some(of) = event {
            finished_before = finished_at.unwrap_or(last_at).saturating_add(1);
            if finished_at.is_none() {
                let Some(seq) = self.free(last_seq, before) else { return false };
                let reason = "salvage: how it ended is lost; its id was free again later";
                self.put(seq, Entry::Cancelled(Cancelled { of, reason, at: last_at }));
                (after, ended) = (seq, Some(seq));
            }
        }
        for entry in self.put_in.range_mut(after + 1..before.max(after + 1)).map(|(_, entry)| entry) {
            if let Entry::Horizon(horizon) = entry {
                horizon.finished_before = horizon.finished_before.max(finished_before);
                horizon.remembered_before = horizon.remembered_before.max(remembered_before);
                return true;
            }
        }
        if let Some(seq) = self.free(after, before) {
            self.put(seq, Entry::Horizon(Horizon { finished_before, remembered_before }));
            return true;
        }
        if let Some(seq) = ended {
            self.put_in.remove(&seq);
        }
        false
    }

    fn put(&mut self, seq: u64, entry: Entry<'static>) {
        self.taken.insert(seq, seq + 1);
        self.put_in.insert(seq, entry);
    }

    fn is_lost(&self, seq: u64) -> bool {
        let index = self.lost.partition_point(|(_, to)| *to < seq);
        self.lost.get(index).is_some_and(|(from, _)| *from <= seq)
    }

    /// The first seq between both that is lost and not taken.
    fn free(&mut self, after: u64, before: u64) -> Option<u64> {
        let first = self.lost.partition_point(|(_, to)| *to <= after);
        for (from, to) in self.lost.iter().skip(first) {
            let start = (*from).max(after + 1);
            let mut seq = start;
            while let Some(further) = self.taken.get(&seq) {
                seq = *further;
            }
            // The next search from here need not go the same way.
            if seq != start {
                self.taken.insert(start, seq);
            }
            if seq >= before {
                return None;
            }
            if seq <= *to {
                return Some(seq);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::entry::{Completed, Flags, Handled, Received, Snoozed, Wait};

    const OF: Of = Of { seq: 3, id_hash: 7 };

    fn received() -> Entry<'static> {
        Entry::Received(Received {
            id: "a",
            event_type: "T",
            action: None,
            source: "s",
            key: None,
            received_at: 1,
            not_before: None,
            priority: 0,
            max_retries: 3,
            flags: Flags::default(),
            body_hash: None,
            headers: Vec::new(),
            body: b"1",
        })
    }

    fn started(epoch: u64, attempt: u32) -> Entry<'static> {
        Entry::Started(Started { of: OF, epoch, attempt, alone: false, opens_claim: true, at: 9 })
    }

    fn completed(epoch: u64, started: u64) -> Entry<'static> {
        Entry::Completed(Completed { of: OF, token: Token { epoch, started }, at: 9 })
    }

    fn begun(epoch: u64) -> Entry<'static> {
        Entry::Begun(Begun { first_seq: 1, epoch, boot: 1, at: 0, predecessor: None })
    }

    /// What is put in, by name, where these survive; and why the last of them is left out, if it is.
    fn mended(lost: &[(u64, u64)], survivors: &[(u64, Entry<'_>)]) -> (Vec<(u64, &'static str)>, Option<LeftOut>) {
        let mut mending = Mending::new(lost);
        let mut why = None;
        for (seq, entry) in survivors {
            why = mending.entry(*seq, entry, |_| OF.id_hash);
        }
        (mending.put_in.iter().map(|(seq, entry)| (*seq, entry.name())).collect(), why)
    }

    #[test]
    fn what_survivors_prove_is_put_into_the_gap_and_nothing_else() {
        let (first, reception) = ((1, begun(1)), (3, received()));
        let gap = [(4, 9)];
        for (survivors, put_in) in [
            (vec![(10, started(1, 1)), (11, completed(1, 10))], vec![]),
            (vec![(12, completed(1, 7))], vec![(7, "started")]),
            (vec![(12, started(1, 2))], vec![]),
            (vec![(12, completed(2, 7))], vec![(4, "begun"), (7, "started")]),
        ] {
            let survivors = [vec![first.clone(), reception.clone()], survivors].concat();
            assert_eq!(mended(&gap, &survivors), (put_in, None), "{survivors:?}");
        }
        let running = [first.clone(), reception.clone(), (4, started(1, 1))];
        for (survivors, put_in) in [
            (vec![(12, started(1, 2))], vec![(5, "released")]),
            (vec![(12, completed(1, 8))], vec![(5, "released"), (8, "started")]),
            (vec![(5, completed(1, 4)), (12, started(1, 2))], vec![(6, "replayed")]),
            (vec![(10, begun(2)), (12, started(2, 2))], vec![]),
        ] {
            let survivors = [running.to_vec(), survivors].concat();
            let lost = [(if put_in.iter().any(|(seq, _)| *seq == 6) { 6 } else { 5 }, 9)];
            assert_eq!(mended(&lost, &survivors), (put_in, None), "{survivors:?}");
        }
    }

    #[test]
    fn what_a_handler_did_proves_its_run_and_leaves_it_going_and_what_is_put_off_ends_it() {
        let token = Token { epoch: 1, started: 7 };
        let handled = Entry::Handled(Handled { of: OF, token, handler: "mail", at: 9 });
        let snoozed = Entry::Snoozed(Snoozed { of: OF, token, at: 9, wait: Wait { due: 9, delay: 0 }, count: 1 });
        let survivors = [(1, begun(1)), (3, received()), (12, handled), (13, snoozed), (14, started(1, 2))];
        for last in 3..=survivors.len() {
            assert_eq!(mended(&[(4, 9)], &survivors[..last]), (vec![(7, "started")], None), "{last} survive");
        }
    }

    #[test]
    fn what_cannot_be_told_is_left_out_and_orphans_name_their_event() {
        let orphan = mended(&[(2, 9)], &[(1, begun(1)), (12, completed(1, 7))]);
        assert_eq!(orphan, (Vec::new(), Some(LeftOut::Orphan(OF))));
        let compacted = mended(&[(5, 9)], &[(1, begun(1)), (12, completed(1, 7))]);
        assert_eq!(compacted, (Vec::new(), None), "its reception was dropped with good reason");
        let survivors = [(1, begun(1)), (3, received()), (12, completed(1, 7))];
        assert_eq!(mended(&[], &survivors), (Vec::new(), Some(LeftOut::Untold)), "there is no gap");
    }

    #[test]
    fn what_was_forgotten_in_a_gap_is_forgotten_there_once() {
        let lost = [(4, 5)];
        let mut mending = Mending::new(&lost);
        let finished = |at| Namesake {
            event: Some(OF),
            last_seq: 3,
            finished_at: Some(at),
            last_at: 9,
            remembered_before: at - 2,
        };
        assert!(!mending.forget(finished(7), 4), "there is no gap before it");
        assert!(mending.forget(finished(7), 12) && mending.forget(finished(6), 12) && mending.forget(finished(8), 12));
        let horizon = Horizon { finished_before: 9, remembered_before: 6 };
        assert_eq!(mending.put_in, BTreeMap::from([(4, Entry::Horizon(horizon))]));
        let mut mending = Mending::new(&lost);
        assert!(mending.forget(Namesake { finished_at: None, ..finished(7) }, 12));
        assert_eq!(mending.put_in.values().map(Entry::name).collect::<Vec<_>>(), ["cancelled", "horizon"]);
        let mut mending = Mending::new(&[(4, 4)]);
        assert!(!mending.forget(Namesake { finished_at: None, ..finished(7) }, 12) && mending.put_in.is_empty());
    }

    #[test]
    fn free_seqs_are_lost_ones_in_order_and_each_is_taken_once() {
        let lost = [(4, 5), (8, 9)];
        let mut mending = Mending::new(&lost);
        let mut taken = Vec::new();
        while let Some(seq) = mending.free(4, 9) {
            mending.put(seq, Entry::Replayed(Replayed { of: OF, at: 0 }));
            taken.push(seq);
        }
        assert_eq!(taken, [5, 8]);
        assert_eq!((mending.free(0, 9), mending.free(8, 20)), (Some(4), Some(9)));
    }
}
