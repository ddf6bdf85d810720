//! What a store was asked and what it promised: against this, and not against itself, what survives is judged.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::{Entry, Posts};
use super::fold::Fold;
use super::format::Log;
use crate::event::Status;

/// Something that was asked of the store and staged as one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    /// An event arrived, with others of its batch: the seqs from the first to the last of them.
    Received {
        id: String,
        text: String,
        at: i64,
        batch: (u64, u64),
    },
    Started {
        of: u64,
    },
    Completed {
        of: u64,
        at: i64,
    },
    Failed {
        of: u64,
        again: bool,
    },
    Cancelled {
        of: u64,
        at: i64,
    },
    Replayed {
        of: u64,
    },
    Snoozed {
        of: u64,
    },
    /// Of the event's handlers this one has succeeded, and its run goes on.
    Handled {
        of: u64,
        handler: String,
    },
    /// A pause or a cursor was set, or was over.
    Posted {
        name: String,
        value: Option<String>,
    },
}

impl Fact {
    fn of(&self) -> Option<u64> {
        match self {
            Self::Received { .. } | Self::Posted { .. } => None,
            Self::Started { of }
            | Self::Completed { of, .. }
            | Self::Failed { of, .. }
            | Self::Cancelled { of, .. }
            | Self::Snoozed { of }
            | Self::Replayed { of }
            | Self::Handled { of, .. } => Some(*of),
        }
    }

    /// Whether a record says just this.
    fn is(&self, entry: &Entry) -> bool {
        match (self, entry) {
            (Self::Received { id, text, at, .. }, Entry::Received { id: id_2, text: text_2, received_at, .. }) => {
                id == id_2 && text == text_2 && at == received_at
            }
            (Self::Started { of }, Entry::Started { of: of_2 })
            | (Self::Snoozed { of }, Entry::Snoozed { of: of_2 })
            | (Self::Replayed { of }, Entry::Replayed { of: of_2 }) => of == of_2,
            (Self::Handled { of, handler }, Entry::Handled { of: of_2, handler: handler_2 }) => {
                of == of_2 && handler == handler_2
            }
            (Self::Completed { of, at }, Entry::Completed { of: of_2, at: at_2 })
            | (Self::Cancelled { of, at }, Entry::Cancelled { of: of_2, at: at_2 }) => of == of_2 && at == at_2,
            (Self::Failed { of, again }, Entry::Failed { of: of_2, again: again_2 }) => of == of_2 && again == again_2,
            (Self::Posted { name, value }, Entry::Posted { name: name_2, value: value_2 }) => {
                name == name_2 && value == value_2
            }
            _ => false,
        }
    }
}

/// What was promised: from the frame of this number on it holds.
#[derive(Debug, Clone)]
pub(super) struct Promise {
    pub(super) frame: usize,
    /// All up to this seq is durable.
    pub(super) seq: u64,
    /// These receptions are forgotten.
    pub(super) forgotten: Vec<u64>,
}

/// Everything that was asked and promised.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    pub(super) facts: BTreeMap<u64, Fact>,
    pub(super) promises: Vec<Promise>,
    /// Nothing that finished later may be forgotten; microseconds since 1970.
    pub(super) finished_before_max: i64,
    /// No id that was received later may be.
    pub(super) remembered_before_max: i64,
    /// Seq of the last record that was staged.
    pub(super) last_seq: u64,
    /// Ids and data of all events that were tried, whatever came of it.
    pub(super) tried: BTreeMap<String, String>,
    /// Whether a call failed: then there may be records past `last_seq`, of which nobody was told.
    pub(super) loose: bool,
}

impl Ledger {
    /// Goes on from what a loss of power at `frame` left.
    pub(super) fn rebase(&mut self, left: &Log, frame: usize) {
        self.promises.retain(|promise| promise.frame <= frame);
        for promise in &mut self.promises {
            promise.frame = 0;
        }
        self.lose_after(left.last_seq());
    }

    /// What was staged after `seq` is gone with its process.
    pub(super) fn lose_after(&mut self, seq: u64) {
        self.facts.retain(|fact, _| *fact <= seq);
        self.last_seq = seq;
        let promised = self.promises.iter().map(|promise| promise.seq).max().unwrap_or(0);
        assert!(promised <= seq, "what was promised up to {promised} is not even written past {seq}");
    }

    /// Another process goes on after `seq`, and may write there what it writes by itself.
    pub(super) fn start_over(&mut self, seq: u64) {
        self.facts.retain(|fact, _| *fact <= seq);
        self.last_seq = u64::MAX;
    }

    /// The receptions of events that are finished, and were so before `at`.
    pub(super) fn finished_before(&self, at: i64) -> Vec<u64> {
        let received = self.facts.iter().filter(|(_, fact)| fact.of().is_none());
        received
            .filter(|(seq, _)| self.finished_at(**seq, u64::MAX).is_some_and(|end| end < at))
            .map(|(seq, _)| *seq)
            .collect()
    }

    /// Seq, id and data of every event that arrived.
    pub(super) fn receptions(&self) -> impl Iterator<Item = (u64, &str, &str)> {
        self.facts.iter().filter_map(|(seq, fact)| match fact {
            Fact::Received { id, text, .. } => Some((*seq, id.as_str(), text.as_str())),
            _ => None,
        })
    }

    /// Seq and time of the last reception of this id.
    pub(super) fn last_reception(&self, id: &str) -> Option<(u64, i64)> {
        self.facts.iter().rev().find_map(|(seq, fact)| match fact {
            Fact::Received { id: known, at, .. } if known == id => Some((*seq, *at)),
            _ => None,
        })
    }

    /// When the event finished, if the records up to `last_seq` say that it did.
    fn finished_at(&self, seq: u64, last_seq: u64) -> Option<i64> {
        match self.facts.range(..=last_seq).rfind(|(_, fact)| fact.of() == Some(seq))?.1 {
            Fact::Completed { at, .. } | Fact::Cancelled { at, .. } => Some(*at),
            _ => None,
        }
    }

    /// Judges what a loss of power left where all promises before `frame` had been made.
    pub(super) fn judge(&self, left: &Log, fold: &Fold, frame: usize) -> Result<(), String> {
        let last_seq = left.last_seq();
        let kept: Vec<&Promise> = self.promises.iter().filter(|promise| promise.frame <= frame).collect();
        let promised = kept.iter().map(|promise| promise.seq).max().unwrap_or(0);
        if last_seq < promised {
            return Err(format!("promised up to {promised}, found up to {last_seq}"));
        }
        if last_seq > self.last_seq && !self.loose {
            return Err(format!("asked up to {}, found up to {last_seq}", self.last_seq));
        }
        self.judge_entries(left)?;
        self.judge_batches(last_seq)?;
        self.judge_posts(last_seq, fold)?;
        self.judge_events(left, fold)?;
        let forgotten: BTreeSet<u64> = kept.iter().flat_map(|promise| promise.forgotten.iter().copied()).collect();
        match forgotten.iter().find(|seq| fold.events.contains_key(seq)) {
            Some(seq) => Err(format!("event {seq} was forgotten and is back")),
            None => Ok(()),
        }
    }

    /// Every record is what was asked for in its place, or the store's own.
    fn judge_entries(&self, left: &Log) -> Result<(), String> {
        for (seq, entry) in &left.entries {
            match self.facts.get(seq) {
                Some(fact) if fact.is(entry) => {}
                // Compaction may leave a record of ids where a reception stood.
                Some(Fact::Received { .. }) if left.has_dropped(*seq) && matches!(entry, Entry::Remembered { .. }) => {}
                Some(fact) => return Err(format!("record {seq} is {entry:?}, but what was asked is {fact:?}")),
                None if is_own(entry) => {}
                None if self.loose && *seq > self.last_seq && self.was_tried(entry) => {}
                None => return Err(format!("record {seq} is {entry:?}, for which nobody asked")),
            }
        }
        let last_seq = left.last_seq();
        for seq in self.facts.range(..=last_seq).map(|(seq, _)| *seq) {
            if !left.entries.contains_key(&seq) && !left.has_dropped(seq) {
                return Err(format!("record {seq} is not there"));
            }
        }
        Ok(())
    }

    /// Pauses and cursors are those that were asked for last, whatever became of the records that said so.
    fn judge_posts(&self, last_seq: u64, fold: &Fold) -> Result<(), String> {
        let mut expected = Posts::new();
        for (_, fact) in self.facts.range(..=last_seq) {
            let Fact::Posted { name, value } = fact else { continue };
            expected.remove(name);
            expected.extend(value.clone().map(|value| (name.clone(), value)));
        }
        if fold.posts == expected || self.loose {
            return Ok(());
        }
        Err(format!("in force is {:?}, and should be {expected:?}", fold.posts))
    }

    /// Whether a record may be there of which nobody was told.
    fn was_tried(&self, entry: &Entry) -> bool {
        match entry {
            Entry::Received { id, text, .. } => self.tried.get(id) == Some(text),
            _ => true,
        }
    }

    /// Whether something may have happened to the event of which nobody was told.
    fn may_have_moved(&self, seq: u64, left: &Log) -> bool {
        self.loose && left.entries.range(self.last_seq + 1..).any(|(_, entry)| entry.of() == Some(seq))
    }

    fn judge_batches(&self, last_seq: u64) -> Result<(), String> {
        let torn = self.facts.values().find_map(|fact| match fact {
            Fact::Received { batch: (first, last), .. } if (*first..*last).contains(&last_seq) => Some((first, last)),
            _ => None,
        });
        torn.map_or(Ok(()), |(first, last)| Err(format!("of the batch {first} to {last} only a part is there")))
    }

    /// Every event that arrived is there as it last was, or was forgotten when it might be, and then its id is remembered.
    fn judge_events(&self, left: &Log, fold: &Fold) -> Result<(), String> {
        let last_seq = left.last_seq();
        if fold.finished_before > self.finished_before_max || fold.remembered_before > self.remembered_before_max {
            return Err("more is forgotten than time allows".into());
        }
        for (seq, fact) in self.facts.range(..=last_seq) {
            let Fact::Received { id, text, at, .. } = fact else { continue };
            if let Some(event) = fold.events.get(seq) {
                let expected = if self.may_have_moved(*seq, left) { event.status } else { self.status(*seq, left) };
                if event.id != *id || event.text != *text || event.status != expected {
                    return Err(format!("event {seq} is {event:?}, and should be {expected} {id} {text}"));
                }
                continue;
            }
            if self.may_have_moved(*seq, left) {
                continue;
            }
            if self.finished_at(*seq, last_seq).is_none_or(|finished_at| finished_at >= fold.finished_before) {
                return Err(format!("event {seq}, {id}, is gone, and was not to be forgotten"));
            }
            if *at >= fold.remembered_before && !fold.remembered.contains_key(&fold.hash(id)) {
                return Err(format!("the id {id} of event {seq} is not remembered"));
            }
        }
        Ok(())
    }

    /// Where an event stands by what was asked up to the log's end.
    fn status(&self, seq: u64, left: &Log) -> Status {
        // What one of its handlers did moves no event.
        let moves = |fact: &Fact| fact.of() == Some(seq) && !matches!(fact, Fact::Handled { .. });
        let last = self.facts.range(..=left.last_seq()).rfind(|(_, fact)| moves(fact));
        match last {
            None | Some((_, Fact::Replayed { .. })) => Status::Pending,
            // A process that began later found it running, and nobody runs it any more.
            Some((at, Fact::Started { .. })) => {
                let epoch = |entry: &Entry| if let Entry::Begun { epoch, .. } = entry { Some(*epoch) } else { None };
                let before = left.entries.range(..at).rev().find_map(|(_, entry)| epoch(entry));
                let after = left.entries.range(at..).rev().find_map(|(_, entry)| epoch(entry));
                if after.is_some_and(|after| Some(after) > before) { Status::Pending } else { Status::Processing }
            }
            Some((_, Fact::Completed { .. })) => Status::Completed,
            Some((_, Fact::Failed { again: true, .. } | Fact::Snoozed { .. })) => Status::Retrying,
            Some((_, Fact::Failed { .. })) => Status::Failed,
            Some((_, Fact::Cancelled { .. })) => Status::Cancelled,
            Some((_, Fact::Received { .. } | Fact::Handled { .. } | Fact::Posted { .. })) => {
                unreachable!("none of them moves an event")
            }
        }
    }
}

/// Whether the store writes this by itself.
fn is_own(entry: &Entry) -> bool {
    matches!(
        entry,
        Entry::Begun { .. }
            | Entry::State { .. }
            | Entry::Mark
            | Entry::Horizon { .. }
            | Entry::Remembered { .. }
            | Entry::Condemned { .. }
    )
}
