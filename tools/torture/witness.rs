//! The witness: outside of the process that may die, it holds what that process said, and later compares it with what is kept.
//!
//! A process says a line for each of these, in one write, so that what was said before its death is heard:
//!
//! ```text
//! opening …, opened           a store is being opened; it is open
//! rolling …, rolled           the next event does not fit into the segment; it is kept in a new one
//! compacting …, compacted     retention is at work; it has ended
//! acknowledged <id>           the event is durable
//! anew <id>                   it was acknowledged to another process before, and was not taken for the same
//! running <id> <attempt>      a run begins
//! ending <id>                 the run is about to be settled as done
//! completed <id>              that was seen to be durable
//! refused <kind> <text>       something failed
//! fault <text>                the store did something else than it was to do
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
    end: End,
    /// Whether retention was at work since it was last found, and may have taken it for done.
    may_be_forgotten: bool,
    /// Whether it was found gone: whatever is gone is never there again (R6). For 24 hours not even its sender can bring it back.
    gone: bool,
}

/// Whether it is done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    #[default]
    No,
    /// A run of it may have been settled as done.
    Perhaps,
    /// For ever.
    Durable,
}

/// An event that is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept<'e> {
    pub(crate) id: &'e str,
    pub(crate) status: Status,
    pub(crate) data: &'e str,
}

impl<'e> From<&'e Event> for Kept<'e> {
    fn from(event: &'e Event) -> Self {
        Self { id: event.id(), status: event.status(), data: event.data() }
    }
}

/// What may have been lost beside what the process held in its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Nothing: the process died, and what it had written the system still has.
    Process,
    /// What was not synced: the power failed.
    Power,
}

impl Known {
    fn reaches(&mut self, end: End) {
        self.end = self.end.max(end);
    }
}

/// All that was said about one store.
#[derive(Debug, Clone)]
pub(crate) struct Witness {
    loss: Loss,
    events: BTreeMap<String, Known>,
    /// Whether the process that speaks does one thing after the other, so that the order of what it says is that of what it did.
    in_order: bool,
    /// Whether it said that its log takes nothing more.
    poisoned: bool,
    faults: Vec<String>,
    /// Every line that was heard.
    heard: String,
}

impl Witness {
    pub(crate) fn new(loss: Loss) -> Self {
        Self {
            loss,
            events: BTreeMap::new(),
            in_order: false,
            poisoned: false,
            faults: Vec::new(),
            heard: String::new(),
        }
    }

    /// From here on another process speaks: one that does one thing after the other, or not.
    pub(crate) fn next_process(&mut self, in_order: bool) {
        self.heard.push_str("-- another process\n");
        self.in_order = in_order;
        self.poisoned = false;
    }

    /// Whether anything was acknowledged, so that there must be a store.
    pub(crate) fn is_owed(&self) -> bool {
        self.events.values().any(|known| known.acknowledged)
    }

    /// One of the acknowledged events, whichever `drawn` is; where some are gone by now, every second time one of those.
    pub(crate) fn any_acknowledged(&self, drawn: u64) -> Option<&str> {
        let those = |gone: bool| {
            let events = self.events.iter().filter(move |(_, known)| known.acknowledged && (known.gone || !gone));
            events.map(|(id, _)| id.as_str()).collect::<Vec<_>>()
        };
        let some = Some(those(drawn.is_multiple_of(2))).filter(|some| !some.is_empty()).unwrap_or_else(|| those(false));
        let at = (drawn / 2).checked_rem(some.len() as u64)?;
        some.get(usize::try_from(at).ok()?).copied()
    }

    /// All that was heard, and from which processes.
    pub(crate) fn heard(&self) -> &str {
        &self.heard
    }

    /// Takes a line. What it should not say is a fault.
    pub(crate) fn hear(&mut self, line: &str) {
        self.heard.push_str(line);
        self.heard.push('\n');
        let mut words = line.split(' ');
        let (word, id) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match word {
            "acknowledged" => self.acknowledged(id),
            "fault" => self.faults.push(line.to_owned()),
            "anew" => self.faults.push(format!("{id} was acknowledged before, and was received anew")),
            "running" => self.running(id, words.next().and_then(|attempt| attempt.parse().ok()).unwrap_or(0)),
            "ending" => self.known(id).reaches(End::Perhaps),
            "completed" => self.known(id).reaches(End::Durable),
            "compacting" => self.compacting(),
            "refused" => self.poisoned |= self.in_order && matches!(id, "Poisoned" | "OutcomeUnknown"),
            _ => {}
        }
    }

    /// Somebody was told that the event is durable.
    fn acknowledged(&mut self, id: &str) {
        if self.poisoned {
            self.faults.push(format!("{id} was acknowledged after the log was poisoned"));
        }
        self.known(id).acknowledged = true;
    }

    /// A run of the event begins; 0: which one is not known.
    fn running(&mut self, id: &str, attempt: u32) {
        let loss = self.loss;
        let known = self.known(id);
        known.reaches(if attempt == 0 { End::Perhaps } else { End::No });
        let last = known.attempt;
        known.attempt = last.max(attempt);
        if known.gone {
            self.faults.push(format!("{id} runs, and was gone"));
        } else if known.end == End::Durable {
            self.faults.push(format!("{id} runs, and its completion was durable"));
        } else if attempt > 0 && attempt <= last && loss == Loss::Process {
            self.faults.push(format!("{id} runs as attempt {attempt}, and that was attempt {last} already"));
        }
    }

    /// Retention is at work in a process that bounds the bytes of its log, so that whatever is done may be forgotten, however young.
    /// What is done only later is not. None of these trials comes to that by itself: a store does so a minute after its opening.
    fn compacting(&mut self) {
        for known in self.events.values_mut() {
            known.may_be_forgotten |= known.end >= End::Perhaps;
        }
    }

    fn known(&mut self, id: &str) -> &mut Known {
        self.events.entry(id.to_owned()).or_default()
    }

    /// Compares what was said with what is kept now that the process is dead; returns every fault so far.
    pub(crate) fn check(&mut self, kept: &[Kept<'_>]) -> Vec<String> {
        let mut times: BTreeMap<&str, (u64, Status)> = BTreeMap::new();
        for event in kept {
            let seen = times.entry(event.id).or_insert((0, event.status));
            seen.0 += 1;
            if event.data != body(event.id) {
                self.faults.push(format!("{} carries other data: {:.200}", event.id, event.data));
            }
        }
        for (id, known) in &mut self.events {
            let found = times.get(id.as_str());
            match found {
                Some(_) if known.gone => self.faults.push(format!("{id} was gone, and is there again")),
                Some((1, Status::Completed)) => {}
                Some((1, status)) if known.end == End::Durable => {
                    self.faults.push(format!("{id} was completed for ever, and is {status:?}"));
                }
                Some((1, _)) => {}
                Some((times, _)) => self.faults.push(format!("{id} is there {times} times")),
                None if known.acknowledged && !known.may_be_forgotten => {
                    self.faults.push(format!("{id} was acknowledged, and is lost"));
                }
                None => {}
            }
            known.gone |= found.is_none();
            // What retention has left does not vanish before it is at work again.
            known.may_be_forgotten &= found.is_none();
            // Completed where that can no longer be lost.
            if found.is_some_and(|(_, status)| *status == Status::Completed) {
                known.reaches(End::Durable);
            }
        }
        std::mem::take(&mut self.faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a witness makes of lines; `kept` stands for all of what is kept then, each with its status: `?` for pending, `+` for done.
    fn faults(loss: Loss, lines: &[&str]) -> Vec<String> {
        let mut witness = Witness::new(loss);
        witness.next_process(true);
        let mut faults = Vec::new();
        for line in lines {
            let Some(kept) = line.strip_prefix("kept") else {
                witness.hear(line);
                continue;
            };
            let names: Vec<&str> = kept.split_whitespace().collect();
            let data: Vec<String> = names.iter().map(|name| body(&name[1..])).collect();
            let status = |name: &str| if name.starts_with('+') { Status::Completed } else { Status::Pending };
            let kept = names.iter().zip(&data).map(|(name, data)| Kept { id: &name[1..], status: status(name), data });
            faults.extend(witness.check(&kept.collect::<Vec<_>>()));
        }
        faults
    }

    /// Each row: lines, and the words that the one fault of them holds; none if they hold no fault.
    fn check(rows: &[(&[&str], &str)]) {
        for (lines, expected) in rows {
            let found = faults(Loss::Process, lines);
            if expected.is_empty() {
                assert!(found.is_empty(), "{lines:?}: {found:?}");
            } else {
                assert!(matches!(&found[..], [fault] if fault.contains(expected)), "{lines:?}: {found:?}");
            }
        }
    }

    #[test]
    fn only_what_was_done_when_retention_was_at_work_may_vanish() {
        check(&[
            (&["acknowledged a-1-9", "kept"], "is lost"),
            (&["acknowledged a-1-9", "kept ?a-1-9"], ""),
            (&["acknowledged a-1-9", "ending a-1-9", "kept"], "is lost"),
            (&["acknowledged a-1-9", "ending a-1-9", "compacting store", "kept"], ""),
            (&["acknowledged a-1-9", "compacting store", "kept"], "is lost"),
            // A compaction of the past excuses nothing that was done, or was received, after it.
            (&["acknowledged a-1-9", "compacting store", "compacted", "ending a-1-9", "kept"], "is lost"),
            (
                &["compacting store", "compacted", "acknowledged a-1-9", "running a-1-9 1", "ending a-1-9", "kept"],
                "is lost",
            ),
            // What a compaction has left is there until the next one.
            (&["acknowledged a-1-9", "ending a-1-9", "compacting store", "kept +a-1-9", "kept"], "is lost"),
            (
                &["acknowledged a-1-9", "ending a-1-9", "compacting store", "kept +a-1-9", "compacting store", "kept"],
                "",
            ),
            // Nobody said that it ended, but it was found completed.
            (&["acknowledged a-1-9", "kept +a-1-9", "compacting store", "kept"], ""),
        ]);
    }

    #[test]
    fn what_is_gone_never_comes_back() {
        check(&[
            (&["acknowledged a-1-9", "ending a-1-9", "compacting store", "kept", "kept +a-1-9"], "there again"),
            (&["acknowledged a-1-9", "ending a-1-9", "compacting store", "kept", "kept ?a-1-9"], "there again"),
            (
                &["acknowledged a-1-9", "ending a-1-9", "compacting store", "kept", "running a-1-9 2", "kept"],
                "was gone",
            ),
            (&["acknowledged a-1-9", "ending a-1-9", "compacting store", "kept", "kept"], ""),
            // Its sender sends it once more, and nothing is kept.
            (&["acknowledged a-1-9", "ending a-1-9", "compacting store", "kept", "acknowledged a-1-9", "kept"], ""),
            (&["acknowledged a-1-9", "anew a-1-9", "kept ?a-1-9"], "received anew"),
            // Nobody was told of it, and it was cut off with the end of the log.
            (&["running a-1-9 1", "kept", "kept ?a-1-9"], "there again"),
        ]);
    }

    #[test]
    fn what_comes_again_was_acknowledged_and_is_often_gone() {
        let mut witness = Witness::new(Loss::Process);
        assert_eq!(witness.any_acknowledged(0), None);
        for line in ["running c-3-9 1", "acknowledged a-1-9", "acknowledged b-2-9"] {
            witness.hear(line);
        }
        let drawn =
            |witness: &Witness| (0..4).map(|at| witness.any_acknowledged(at).unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(drawn(&witness), ["a-1-9", "a-1-9", "b-2-9", "b-2-9"]);
        witness.hear("ending b-2-9");
        witness.hear("compacting store");
        let data = body("a-1-9");
        let faults = witness.check(&[Kept { id: "a-1-9", status: Status::Pending, data: &data }]);
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(drawn(&witness), ["b-2-9", "a-1-9", "b-2-9", "b-2-9"]);
    }

    #[test]
    fn what_is_done_for_ever_neither_runs_again_nor_becomes_undone() {
        check(&[
            (
                &["acknowledged a-1-9", "completed a-1-9", "running a-1-9 2", "kept +a-1-9"],
                "its completion was durable",
            ),
            (&["acknowledged a-1-9", "completed a-1-9", "kept ?a-1-9"], "was completed for ever"),
            (&["acknowledged a-1-9", "kept +a-1-9", "kept ?a-1-9"], "was completed for ever"),
            (&["acknowledged a-1-9", "running a-1-9 1", "running a-1-9 1", "kept ?a-1-9"], "attempt 1 already"),
            (&["acknowledged a-1-9", "running a-1-9 1", "running a-1-9 2", "kept ?a-1-9"], ""),
            (&["acknowledged a-1-9", "kept ?a-1-9 ?a-1-9"], "is there 2 times"),
        ]);
    }

    #[test]
    fn after_a_log_was_poisoned_nothing_is_acknowledged() {
        check(&[
            (&["refused Poisoned by a test", "acknowledged a-1-9", "kept ?a-1-9"], "after the log was poisoned"),
            (&["refused Full by a test", "acknowledged a-1-9", "kept ?a-1-9"], ""),
        ]);
    }

    #[test]
    fn a_fault_that_the_process_found_itself_is_one() {
        check(&[(&["fault nothing was rolled", "kept"], "nothing was rolled")]);
    }

    #[test]
    fn an_event_that_carries_other_data_is_seen() {
        let mut witness = Witness::new(Loss::Power);
        let found = witness.check(&[Kept { id: "a-1-9", status: Status::Pending, data: "{}" }]);
        assert!(matches!(&found[..], [fault] if fault.contains("other data")), "{found:?}");
    }
}
