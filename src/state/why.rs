//! Why an event does not run now.

use std::time::Duration;

use crate::event::{Moment, Status, Waiting};
use crate::state::machine::State;
use crate::state::pauses::Target;
use crate::state::slot::{Lane, Slot};

impl State {
    /// Why the event received as `seq` does not run now; none: it runs, or is over. Of the event that comes first in its key only the
    /// seq is known here.
    pub(crate) fn why_waiting(&self, seq: u64, now: Moment) -> Option<Waiting> {
        let at = self.events.slots.by_seq(seq)?;
        let slot = &self.events.slots[at];
        if !matches!(slot.status(), Status::Pending | Status::Retrying) {
            return None;
        }
        if self.events.is_held(slot) {
            return Some(Waiting::Handler);
        }
        if let Some(left) = slot.due().and_then(|due| due.checked_sub(now.steady)).filter(|left| *left > 0) {
            return Some(Waiting::Time { until: now.wall.saturating_add(Duration::from_micros(left)) });
        }
        let lanes = &self.events.lanes;
        Some(self.pause_of(slot, now).unwrap_or_else(|| match slot.lane() {
            Lane::Behind if let Some(seq) = self.events.leftovers.before(slot.seq, slot.key) => Waiting::Run { seq },
            Lane::Behind => {
                let first = self.events.first_of_key(slot.key);
                first.map_or(Waiting::Turn, |first| Waiting::Key { id: None, seq: self.events.slots[first].seq })
            }
            Lane::Suspect if !lanes.in_flight.is_empty() || !self.events.leftovers.is_empty() => Waiting::Alone,
            Lane::Ready if self.is_for_suspects() => Waiting::Alone,
            Lane::Ready => {
                let reached = lanes.ready.limit_reached(slot.kind());
                reached.map_or(Waiting::Turn, |runs| Waiting::Limit { runs })
            }
            _ => Waiting::Turn,
        }))
    }

    /// The pause of its key or its type.
    fn pause_of(&self, slot: &Slot, now: Moment) -> Option<Waiting> {
        let of_type = || Target::Type(self.events.types.name(slot.kind()));
        let targets = [(slot.key != 0).then_some(Target::Key(slot.key)), Some(of_type())];
        let found = targets
            .into_iter()
            .flatten()
            .find_map(|target| self.events.pauses.get(&target, now.steady).map(|hold| hold.shown(&target)))?;
        Some(Waiting::Pause { scope: found.scope, until: found.until })
    }
}
