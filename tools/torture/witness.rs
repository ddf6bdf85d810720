//! The witness: outside of the process that may die, it holds what that process said, and later compares it with what is kept.
//!
//! A process says a line for each of these, in one write, so that what was said before its death is heard:
//!
//! ```text
//! opening …, opened           a store is being opened; it is open
//! rolling …, rolled           the next event does not fit into the segment; it is kept, and the segment after that is prepared
//! compacting …, compacted     retention is at work; it has ended
//! acknowledged <id>           the event is durable
//! running <id> <attempt>      a run begins
//! ending <id>                 the run is about to be settled as done
//! completed <id>              that was seen to be durable
//! refused <kind> <text>       something failed
//! ```

use std::collections::BTreeMap;

use ledgerline::{Event, Status};

/// What an event carries follows from its id: whatever is kept under one must be this.
pub(crate) fn body(id: &str) -> String {
    let filler_bytes = id.rsplit_once('-').and_then(|(_, bytes)| bytes.parse().ok()).unwrap_or(0);
    let letters = id.bytes().cycle().map(char::from).step_by(3);
    let filler: String = letters.take(filler_bytes).collect();
    format!(
        r#"{{"type":"Issue","action":"create","data":{{"id":"thing-{}","title":"{id}"}},"filler":"{filler}"}}"#,
        key(id)
    )
}

/// The id of the event of this number, which carries about so many bytes.
pub(crate) fn id(number: u64, bytes: u64) -> String {
    format!("event-{number}-{bytes}")
}

/// One of a few things that events are about: those of one run one after the other.
pub(crate) fn key(id: &str) -> u64 {
    number(id).unwrap_or(0) % 7
}

fn number(id: &str) -> Option<u64> {
    id.split('-').nth(1)?.parse().ok()
}

/// What is known of an event.
#[derive(Debug, Default, Clone)]
struct Known {
    acknowledged: bool,
    attempt: u32,
    /// Whether a run of it may have been settled as done.
    may_be_done: bool,
    /// Whether it is done for ever.
    completed: bool,
}

/// What may have been lost beside what the process held in its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Nothing: the process died, and what it had written the system still has.
    Process,
    /// What was not synced: the power failed.
    Power,
}

/// All that was said about one store.
#[derive(Debug, Clone)]
pub(crate) struct Witness {
    loss: Loss,
    events: BTreeMap<String, Known>,
    /// Whether retention was ever at work: then what is done may be forgotten.
    compacts: bool,
    /// Whether the process that speaks does one thing after the other, so that the order of what it says is that of what it did.
    in_order: bool,
    /// Whether it said that its log takes nothing more.
    poisoned: bool,
    last_acknowledged: Option<String>,
    faults: Vec<String>,
}

impl Witness {
    pub(crate) fn new(loss: Loss) -> Self {
        Self {
            loss,
            events: BTreeMap::new(),
            compacts: false,
            in_order: false,
            poisoned: false,
            last_acknowledged: None,
            faults: Vec::new(),
        }
    }

    /// From here on another process speaks: one that does one thing after the other, or not.
    pub(crate) fn next_process(&mut self, in_order: bool) {
        self.in_order = in_order;
        self.poisoned = false;
    }

    /// Whether anything was acknowledged, so that there must be a store.
    pub(crate) fn is_owed(&self) -> bool {
        self.events.values().any(|known| known.acknowledged)
    }

    pub(crate) fn last_acknowledged(&self) -> Option<&str> {
        self.last_acknowledged.as_deref()
    }

    /// Takes a line. What it should not say is a fault.
    pub(crate) fn hear(&mut self, line: &str) {
        let mut words = line.split(' ');
        let (word, id) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match word {
            "acknowledged" => self.acknowledged(id),
            "running" => self.running(id, words.next().and_then(|attempt| attempt.parse().ok()).unwrap_or(0)),
            "ending" => self.known(id).may_be_done = true,
            "completed" => self.known(id).completed = true,
            "compacting" => self.compacts = true,
            "refused" => self.poisoned |= self.in_order && matches!(id, "Poisoned" | "OutcomeUnknown"),
            _ => {}
        }
    }

    /// Somebody was told that the event is durable.
    pub(crate) fn acknowledged(&mut self, id: &str) {
        if self.poisoned {
            self.faults.push(format!("{id} was acknowledged after the log was poisoned"));
        }
        self.known(id).acknowledged = true;
        self.last_acknowledged = Some(id.to_owned());
    }

    /// A run of the event begins; 0: which one is not known.
    pub(crate) fn running(&mut self, id: &str, attempt: u32) {
        let loss = self.loss;
        let known = self.known(id);
        known.may_be_done |= attempt == 0;
        let last = known.attempt;
        known.attempt = last.max(attempt);
        if known.completed {
            self.faults.push(format!("{id} runs, and its completion was durable"));
        } else if attempt > 0 && attempt <= last && loss == Loss::Process {
            self.faults.push(format!("{id} runs as attempt {attempt}, and that was attempt {last} already"));
        }
    }

    fn known(&mut self, id: &str) -> &mut Known {
        self.events.entry(id.to_owned()).or_default()
    }

    /// Compares what was said with what is kept now that the process is dead; returns every fault so far.
    pub(crate) fn check(&mut self, kept: &[Event]) -> Vec<String> {
        let mut times: BTreeMap<&str, (u64, Status)> = BTreeMap::new();
        for event in kept {
            let seen = times.entry(event.id()).or_insert((0, event.status()));
            seen.0 += 1;
            if event.data() != body(event.id()) {
                self.faults.push(format!("{} carries other data: {:.200}", event.id(), event.data()));
            }
        }
        for (id, known) in &mut self.events {
            let found = times.get(id.as_str());
            match found {
                Some((1, Status::Completed)) => {}
                Some((1, status)) if known.completed => {
                    self.faults.push(format!("{id} was completed for ever, and is {status:?}"));
                }
                Some((1, _)) => {}
                Some((times, _)) => self.faults.push(format!("{id} is there {times} times")),
                None if known.acknowledged && !(self.compacts && known.may_be_done) => {
                    self.faults.push(format!("{id} was acknowledged, and is lost"));
                }
                None => {}
            }
            // Forgotten, or completed where that can no longer be lost.
            known.completed |= found.is_some_and(|(_, status)| *status == Status::Completed);
        }
        std::mem::take(&mut self.faults)
    }
}
