//! Going through a selection of events: to replay them, or to cancel them.
//!
//! ```text
//! page: look at 1,024 events (lock) ──► those that match ──► each: does it still? may it? append (lock) ──► durable ──► rest
//!   ▲                                                                                                              │
//!   └──────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The lock is held for one page or one event at a time, whatever the number of events. A pass is driven from outside, step by step,
//! so that whoever may not block can rest without a thread; dropped between two steps, it has done those before and nothing more.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::event::Status;
use crate::mutants::mutant;
use crate::state::{State, Step, View, judge_step};
use crate::store::answers::{CalledOff, Replay};
use crate::store::commit::Shared;
use crate::store::handle::Store;
use crate::store::runs::not_allowed;
use crate::store::selection::{Selected, Selection};

/// Events that are looked at under one lock: some ten microseconds.
const PAGE_COUNT: usize = 1_024;

/// What is to be done to each event.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Replay,
    Cancel(String),
}

/// A pass under way. It keeps the store open.
pub(crate) struct Pass {
    store: Store,
    selection: Selection,
    key_hash: Option<u64>,
    act: Act,
    /// Given by id, and still to come.
    ids: VecDeque<String>,
    /// The next seq to look at, if there is one, and the last; none: events were given by id.
    range: Option<(Option<u64>, u64)>,
    /// Matched when they were looked at, and their turn is still to come.
    found: VecDeque<u64>,
    /// Given by id, and had their turn in a rehearsal: where each would stand by now, because it may have been given twice.
    rehearsed: HashMap<u64, Status>,
    report: Selected,
    rest: Duration,
    /// What ended the last step early; what was done in that step is told first.
    trouble: Option<Error>,
}

/// What was done to one event, or why not.
pub(crate) struct Acted {
    /// None: no event has the id.
    seq: Option<u64>,
    id: Option<String>,
    refused: Option<(ErrorKind, String)>,
    /// What a handler that ran it is to be told.
    #[cfg_attr(
        not(feature = "manager"),
        expect(dead_code, reason = "without a manager there are no handlers to tell")
    )]
    called_off: Option<CalledOff>,
}

impl Acted {
    /// What the handler is to be told that runs the event although it was called off, if one does.
    #[cfg(feature = "manager")]
    pub(crate) fn called_off(&self) -> Option<CalledOff> {
        self.called_off
    }
}

/// What an event's turn came to, under the lock.
enum Turn {
    /// It matches no more.
    Passed,
    Gone,
    Done {
        called_off: Option<CalledOff>,
    },
    /// It would have been done.
    Rehearsed {
        leads_to: Status,
    },
}

impl Act {
    const fn step(&self) -> Step {
        match self {
            Self::Replay => Step::Replayed,
            Self::Cancel(_) => Step::Cancelled,
        }
    }
}

impl Pass {
    /// Begins to do `act` to what is selected.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] names what is out of bounds. Unless this is a rehearsal: [`ErrorKind::NotAllowed`] if the store was
    /// opened for reading only, [`ErrorKind::Closed`], [`ErrorKind::Poisoned`].
    pub(crate) fn begin(store: &Store, selection: Selection, act: Act) -> Result<Self, Error> {
        selection.validate()?;
        let shared = store.shared();
        let key_hash = selection.key_hash(shared.hasher);
        let mut selection = selection;
        let ids = selection.ids.take();
        let last_seq = {
            let desk = shared.desk();
            if selection.dry_run && !mutant!("staged-events-rehearsed") {
                // It waits for nothing, and receptions behind that cannot be read yet, to be named.
                desk.core.durable()
            } else {
                desk.core.check_writable()?;
                desk.core.last_seq()
            }
        };
        let range = if ids.is_some() { None } else { Some((Some(1), last_seq)) };
        let report = Selected { dry_run: selection.dry_run, ..Selected::default() };
        let ids = ids.unwrap_or_default().into();
        Ok(Self {
            store: store.clone(),
            selection,
            key_hash,
            act,
            ids,
            range,
            found: VecDeque::new(),
            rehearsed: HashMap::new(),
            report,
            rest: Duration::ZERO,
            trouble: None,
        })
    }

    /// Does it to the next few events: durable once this returns. None: there are no more.
    ///
    /// # Errors
    /// Those of [`Store::append`]. What was done to events before holds.
    pub(crate) fn step(&mut self) -> Result<Option<Vec<Acted>>, Error> {
        if let Some(error) = self.trouble.take() {
            return Err(error);
        }
        let mut acted = Vec::new();
        let count_max = self.selection.step_count();
        let mut done = 0;
        while acted.len() < count_max {
            let Some((seq, id)) = self.next() else { break };
            let one = match self.act_on(seq, id) {
                Ok(Some(one)) => one,
                Ok(None) => continue,
                Err(error) if acted.is_empty() => return Err(error),
                Err(error) => {
                    self.trouble = Some(error);
                    break;
                }
            };
            done += u64::from(one.refused.is_none());
            acted.push(one);
        }
        // Also for those that were refused: what they were refused for need not be durable yet either.
        if !acted.is_empty() && !self.selection.dry_run {
            self.store.shared().wait_for_all()?;
        }
        // After the last one there is nothing to rest for.
        self.rest = if self.is_over() { Duration::ZERO } else { self.selection.rest(done) };
        let mut report = std::mem::take(&mut self.report);
        for one in &acted {
            report.count(one.refused.as_ref(), || self.name(one));
        }
        self.report = report;
        Ok(if acted.is_empty() { None } else { Some(acted) })
    }

    /// How long to rest after the last step.
    #[cfg(feature = "manager")]
    pub(crate) fn rest(&self) -> Duration {
        self.rest
    }

    /// What came of it so far.
    #[cfg(feature = "manager")]
    pub(crate) fn report(self) -> Selected {
        self.report
    }

    /// The id of an event. It is read from the log, unless the event was given by it.
    fn name(&self, acted: &Acted) -> String {
        if let Some(id) = &acted.id {
            return id.clone();
        }
        let seq = acted.seq.unwrap_or(0);
        // An event whose bytes are damaged has lost its id, but not its place.
        let id = self.store.shared().read_id(seq).ok().flatten();
        id.unwrap_or_else(|| format!("(damaged event {seq})"))
    }

    /// What is told of one event.
    pub(crate) fn answer(&self, acted: &Acted) -> Replay {
        let (kind, refused) = acted.refused.clone().unzip();
        Replay { id: self.name(acted), refused, kind }
    }

    /// Goes through all of it, resting as long as it must, and tells of each event; ends early when nobody wants more.
    pub(crate) fn run(mut self, each: &mut dyn FnMut(&Self, &Acted) -> ControlFlow<()>) -> Result<Selected, Error> {
        while let Some(acted) = self.step()? {
            // What was done is told to the end.
            if acted.iter().filter(|one| each(&self, one).is_break()).count() > 0 {
                break;
            }
            if !self.rest.is_zero() && !self.store.shared().pause(self.rest) {
                return Err(Error::new(ErrorKind::Closed, "the store was closed before all events had their turn"));
            }
        }
        Ok(self.report)
    }

    /// Whether no event is left to have its turn.
    fn is_over(&self) -> bool {
        self.ids.is_empty() && self.found.is_empty() && !matches!(self.range, Some((Some(_), _)))
    }

    /// The next event: its seq, unless no event has the id by which it was given.
    fn next(&mut self) -> Option<(Option<u64>, Option<String>)> {
        if self.range.is_none() {
            let id = self.ids.pop_front()?;
            return Some((self.store.find(&id), Some(id)));
        }
        while self.found.is_empty() && self.look() {}
        self.found.pop_front().map(|seq| (Some(seq), None))
    }

    /// Looks at one page more; false if there is none.
    fn look(&mut self) -> bool {
        let Some((Some(from), to)) = self.range else { return false };
        let wanted = |_: &State, view: View| self.selection.matches(&view, self.key_hash).then_some(view.seq);
        let (found, next) = self.store.shared().page((from, to), self.selection.status_wanted(), usize::MAX, wanted);
        self.found.extend(found);
        self.range = Some((next, to));
        true
    }

    /// Does it to one event, if it matches: what came of it.
    fn act_on(&mut self, seq: Option<u64>, id: Option<String>) -> Result<Option<Acted>, Error> {
        let refused = |kind, reason: &str, id| {
            let refused = Some((kind, reason.to_owned()));
            Acted { seq, id, refused, called_off: None }
        };
        let turn = seq.map_or(Ok(Turn::Gone), |seq| self.turn(seq));
        Ok(Some(match turn {
            Ok(Turn::Done { called_off }) => Acted { seq, id, refused: None, called_off },
            Ok(Turn::Rehearsed { leads_to }) => {
                self.rehearsed.extend(seq.filter(|_| id.is_some()).map(|seq| (seq, leads_to)));
                Acted { seq, id, refused: None, called_off: None }
            }
            Ok(Turn::Passed | Turn::Gone) if id.is_none() => return Ok(None),
            Ok(Turn::Passed) => refused(ErrorKind::NotAllowed, "it does not match the rest of the selection", id),
            Ok(Turn::Gone) => refused(ErrorKind::NotFound, "there is no such event", id),
            Err(error) if error.kind() == ErrorKind::NotAllowed => refused(error.kind(), &error.to_string(), id),
            Err(error) => return Err(error),
        }))
    }

    fn turn(&self, seq: u64) -> Result<Turn, Error> {
        self.store.shared().step(|core, now| {
            if !self.selection.dry_run {
                core.check_writable()?;
            }
            let Some(mut view) = core.state.view(seq) else { return Ok(Turn::Gone) };
            view.status = self.rehearsed.get(&seq).copied().unwrap_or(view.status);
            if !self.selection.matches(&view, self.key_hash) {
                return Ok(Turn::Passed);
            }
            if self.selection.dry_run {
                let leads_to = judge_step(view.status, self.act.step()).map_err(|refused| not_allowed(&refused))?;
                return Ok(Turn::Rehearsed { leads_to });
            }
            let runs = view.status == Status::Processing;
            let appended = match &self.act {
                Act::Replay => core.replay(seq, now)?,
                Act::Cancel(reason) => core.cancel(seq, reason, now)?,
            };
            let called_off = runs.then_some(CalledOff { event: seq, cancelled: appended });
            Ok(Turn::Done { called_off })
        })
    }
}

impl Store {
    /// Lets every selected event run anew: retries start from 0, and each joins the end of its key. What may not be replayed (what is
    /// pending or being run) is named in the report, and the rest goes on. Durable once this returns. With a
    /// [`rate`](Selection::rate) it blocks for as long as that takes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] names what is out of bounds, and nothing changed. [`ErrorKind::NotAllowed`]: opened for reading
    /// only, where a dry run is all that can be asked. [`ErrorKind::Closed`], or as [`Store::append`]: events whose turn had come
    /// before are replayed; ask again for the rest.
    pub fn replay_all(&self, selection: impl Into<Selection>) -> Result<Selected, Error> {
        self.go_through(selection.into(), Act::Replay)
    }

    /// Calls off every selected event, for this reason, of which 4 KiB are kept: see [`Store::cancel`]. What may not be cancelled (what
    /// is completed or cancelled already) is named in the report, and the rest goes on. Durable once this returns.
    ///
    /// # Errors
    /// As [`Store::replay_all`].
    pub fn cancel_all(&self, selection: impl Into<Selection>, reason: &str) -> Result<Selected, Error> {
        self.go_through(selection.into(), Act::Cancel(reason.to_owned()))
    }

    fn go_through(&self, selection: Selection, act: Act) -> Result<Selected, Error> {
        Pass::begin(self, selection, act)?.run(&mut |_, _| ControlFlow::Continue(()))
    }

    /// As [`Store::replay_all`], with an answer for each event.
    pub(super) fn replay_each(&self, selection: Selection) -> Result<Vec<Replay>, Error> {
        let mut replays = Vec::new();
        Pass::begin(self, selection, Act::Replay)?.run(&mut |pass, one| {
            replays.push(pass.answer(one));
            ControlFlow::Continue(())
        })?;
        Ok(replays)
    }
}

impl Shared {
    /// Some of the events that were received as `from` to `to` and stand at `status`, ascending: those among the next page that `wanted`
    /// says, `found_max` at most, and where the page after that begins, if there is one.
    pub(super) fn page<T>(
        &self,
        (from, to): (u64, u64),
        status: Option<Status>,
        found_max: usize,
        mut wanted: impl FnMut(&State, View) -> Option<T>,
    ) -> (Vec<T>, Option<u64>) {
        let mut found = Vec::new();
        let desk = self.desk();
        let looked_at = desk.core.state.list_at(from, status).take_while(|(seq, _)| *seq <= to);
        for (count, (seq, view)) in (1..).zip(looked_at) {
            found.extend(view.and_then(|view| wanted(&desk.core.state, view)));
            if count == PAGE_COUNT || found.len() == found_max {
                return (found, seq.checked_add(1).filter(|next| *next <= to));
            }
        }
        (found, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::simulated::Disk;
    use crate::store::crashes::opening::{first_day, open};
    use crate::store::stories::{event, receive};

    #[test]
    fn a_rehearsal_passes_over_what_cannot_be_read_yet() {
        let (store, _) = open(&Disk::new(), first_day(), 1, 0).unwrap();
        store.append(event("a", 10)).unwrap();
        receive(store.shared(), "b", 10).unwrap();
        let mut ids = Vec::new();
        let rehearsal = Pass::begin(&store, Selection::all().dry_run(), Act::Cancel(String::new())).unwrap();
        let selected = rehearsal.run(&mut |pass, one| {
            ids.push(pass.answer(one).id);
            ControlFlow::Continue(())
        });
        assert_eq!((ids, selected.unwrap().done), (vec!["a".to_owned()], 1));
        assert_eq!(store.stats().damaged_events, 0);
    }
}
