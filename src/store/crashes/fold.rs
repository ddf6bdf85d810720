//! What the entries of a log come to, in plain maps: the second opinion on `state`.

use std::collections::BTreeMap;

use siphasher::sip128::SipHasher24;

use super::entry::{Entry, Posts};
use super::format::Log;
use crate::event::Status;

/// One event that is still kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) status: Status,
    received_at: i64,
    made_up: bool,
    finished_at: i64,
}

/// What is true after a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fold {
    /// By the seq of its reception.
    pub(super) events: BTreeMap<u64, Known>,
    /// Hashes of ids of forgotten events, and when they were received.
    pub(super) remembered: BTreeMap<u128, i64>,
    pub(super) finished_before: i64,
    pub(super) remembered_before: i64,
    pub(super) posts: Posts,
    epoch: u64,
    store_id: [u8; 16],
}

impl Fold {
    /// Folds a whole log. An entry that cannot be is an error.
    pub(super) fn of(log: &Log) -> Result<Self, String> {
        let mut fold = Self {
            events: BTreeMap::new(),
            remembered: BTreeMap::new(),
            finished_before: i64::MIN,
            remembered_before: i64::MIN,
            posts: Posts::new(),
            epoch: 0,
            store_id: log.store_id.unwrap_or_default(),
        };
        for (seq, entry) in &log.entries {
            fold.apply(*seq, entry, log).map_err(|what| format!("record {seq}, {entry:?}: {what}"))?;
        }
        Ok(fold)
    }

    fn apply(&mut self, seq: u64, entry: &Entry, log: &Log) -> Result<(), String> {
        use Status::{Cancelled, Completed, Failed, Pending, Processing, Retrying};
        match entry {
            Entry::Begun { epoch, .. } if *epoch > self.epoch => {
                self.epoch = *epoch;
                let died = self.events.values_mut().filter(|event| event.status == Processing);
                died.for_each(|event| event.status = Pending);
            }
            Entry::Begun { epoch, .. } if *epoch < self.epoch => return Err("an epoch went back".into()),
            Entry::Begun { .. } | Entry::Mark => {}
            Entry::State { finished_before, remembered_before, posts } => {
                self.posts.clone_from(posts);
                self.forget(*finished_before, *remembered_before);
            }
            Entry::Posted { name, value } => {
                self.posts.remove(name);
                self.posts.extend(value.clone().map(|value| (name.clone(), value)));
            }
            Entry::Horizon { finished_before, remembered_before } => {
                self.forget(*finished_before, *remembered_before);
            }
            Entry::Received { .. } => self.receive(seq, entry)?,
            Entry::Started { of } => self.go(*of, &[Pending, Retrying], Processing, 0, log)?,
            Entry::Completed { of, at } => self.go(*of, &[Processing], Completed, *at, log)?,
            Entry::Failed { of, again } => {
                self.go(*of, &[Processing], if *again { Retrying } else { Failed }, 0, log)?;
            }
            Entry::Released { of } => self.go(*of, &[Processing], Pending, 0, log)?,
            Entry::Replayed { of } => self.go(*of, &[Retrying, Completed, Failed, Cancelled], Pending, 0, log)?,
            Entry::Cancelled { of, at } => {
                self.go(*of, &[Pending, Processing, Retrying, Failed], Cancelled, *at, log)?;
            }
            Entry::Snoozed { of } => self.go(*of, &[Processing], Retrying, 0, log)?,
            Entry::Handled { of, .. } => self.go(*of, &[Processing], Processing, 0, log)?,
            Entry::Condemned { of } => self.go(*of, &[Pending, Retrying], Failed, 0, log)?,
            Entry::Remembered { ids } => {
                let before = self.remembered_before;
                self.remembered.extend(ids.iter().copied().filter(|(_, received_at)| *received_at >= before));
            }
        }
        Ok(())
    }

    fn receive(&mut self, seq: u64, entry: &Entry) -> Result<(), String> {
        let Entry::Received { id, received_at, made_up, text } = entry else { return Ok(()) };
        if self.events.values().any(|event| event.id == *id) || self.remembered.contains_key(&self.hash(id)) {
            return Err("the id was there before".into());
        }
        let known = Known {
            id: id.clone(),
            text: text.clone(),
            status: Status::Pending,
            received_at: *received_at,
            made_up: *made_up,
            finished_at: 0,
        };
        self.events.insert(seq, known);
        Ok(())
    }

    fn go(&mut self, of: u64, from: &[Status], to: Status, at: i64, log: &Log) -> Result<(), String> {
        match self.events.get_mut(&of) {
            Some(event) if from.contains(&event.status) => {
                event.status = to;
                event.finished_at = at;
                Ok(())
            }
            Some(event) => Err(format!("the event is {}", event.status)),
            None if log.has_dropped(of) => Ok(()),
            None => Err("there is no such event".into()),
        }
    }

    fn forget(&mut self, finished_before: i64, remembered_before: i64) {
        self.finished_before = self.finished_before.max(finished_before);
        self.remembered_before = self.remembered_before.max(remembered_before);
        let (finished_before, remembered_before) = (self.finished_before, self.remembered_before);
        let is_old = |event: &Known| {
            matches!(event.status, Status::Completed | Status::Cancelled) && event.finished_at < finished_before
        };
        let old: Vec<u64> = self.events.iter().filter(|(_, event)| is_old(event)).map(|(seq, _)| *seq).collect();
        for seq in old {
            if let Some(event) = self.events.remove(&seq)
                && !event.made_up
            {
                self.remembered.insert(self.hash(&event.id), event.received_at);
            }
        }
        self.remembered.retain(|_, received_at| *received_at >= remembered_before);
    }

    /// The hash by which an id is remembered.
    pub(super) fn hash(&self, id: &str) -> u128 {
        SipHasher24::new_with_key(&self.store_id).hash(id.as_bytes()).as_u128()
    }
}
