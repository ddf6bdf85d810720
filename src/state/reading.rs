//! What is true: events one by one and counted. Shown is what was applied; what of it is durable, the caller compares by seq.

use std::ops::Range;
use std::sync::Arc;

use crate::event::Status;
use crate::event::entry::Token;
use crate::state::events::Events;
use crate::state::machine::State;
use crate::state::slot::{ascending, descending};
use crate::state::tally::Stands;
use crate::state::view::{Counts, View};

/// The event that has waited longest is still being looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sought;

/// The events of a type.
#[derive(Debug)]
pub(crate) struct OfType {
    pub(crate) name: Arc<str>,
    pub(crate) stands: Stands,
    /// When that one was received that waits to run and has waited longest.
    pub(crate) oldest_waiting: Option<i64>,
}

impl State {
    /// The event received as `seq`.
    pub(crate) fn view(&self, seq: u64) -> Option<View> {
        self.events.slots.by_seq(seq).map(|at| self.view_of(at))
    }

    /// When the forgotten event whose id is still refused was received.
    pub(crate) fn remembered_since(&self, id_hash: u128) -> Option<i64> {
        self.memory.by_id(id_hash).map(|id| id.received_at)
    }

    /// The hash by which the name of a handler is known in [`View::handled`].
    pub(crate) fn handler(&self, name: &str) -> u64 {
        self.hasher.key(name)
    }

    /// Seq of the event with this id, live or retained.
    pub(crate) fn find(&self, id_hash: u128) -> Option<u64> {
        self.events.slots.by_id(id_hash).map(|at| self.events.slots[at].seq)
    }

    /// The events received as `from_seq` or later, ascending.
    pub(crate) fn list(&self, from_seq: u64) -> impl Iterator<Item = View> {
        self.events.slots.from(from_seq).map(|at| self.view_of(at))
    }

    /// The same, but shown is only what stands at `status`. Of those that failed or are being run no others are passed over, however many
    /// there are: as a rule they are few.
    pub(crate) fn list_at(&self, from_seq: u64, status: Option<Status>) -> impl Iterator<Item = (u64, Option<View>)> {
        let (slots, lanes) = (&self.events.slots, &self.events.lanes);
        let order = match status {
            Some(Status::Failed) => &lanes.failed,
            Some(Status::Processing) => &lanes.in_flight,
            _ => slots.order(),
        };
        order.from(from_seq).map(move |(seq, at)| {
            let is_shown = status.is_none_or(|status| status == slots[at].status());
            (seq, is_shown.then(|| self.view_of(at)))
        })
    }

    /// How many events there are. Costs the same however many.
    pub(crate) fn counts(&self) -> Counts {
        let lanes = &self.events.lanes;
        let (held, by_status) = lanes.counts();
        let oldest = [lanes.ready.oldest(), lanes.suspects.first()].into_iter().flatten().min();
        Counts {
            by_status,
            held,
            remembered: self.memory.len() as u64,
            oldest_ready: oldest.map(|(_, at)| self.events.slots[at].received_at),
        }
    }

    /// How many types there were.
    pub(crate) fn kind_count(&self) -> usize {
        self.events.lanes.tally.len()
    }

    /// The events of the type with this number. `Err` says that the one is being looked for that has waited longest: see
    /// [`State::look_for_oldest`].
    pub(crate) fn of_type(&self, number: usize) -> Result<Option<OfType>, Sought> {
        let tally = &self.events.lanes.tally;
        if tally.is_sought(number) {
            return Err(Sought);
        }
        let Some(kind) = u32::try_from(number).ok().filter(|_| number < tally.len()) else { return Ok(None) };
        let (stands, oldest_waiting) = (tally.stands(number), tally.oldest_waiting(number));
        Ok(Some(OfType { name: self.events.types.name(kind), stands, oldest_waiting }))
    }

    /// Has the events be looked for that have waited longest, each of its type: of those of these types of which they are not known.
    pub(crate) fn seek_oldest(&mut self, numbers: Range<usize>) {
        self.events.lanes.tally.seek(numbers);
    }

    /// Looks for them, for those of all types in one walk along the events. It goes on past about `count_max` of them, and returns past
    /// how many it went.
    pub(crate) fn look_for_oldest(&mut self, count_max: usize) -> usize {
        let Events { slots, lanes, .. } = &mut self.events;
        lanes.tally.walk(slots, count_max)
    }

    /// The next `remembered_before` on the way to `target`, or further to leave at most `count_max` remembered ids, and whether there is
    /// more of the way. It forgets about `step` of them, and costs a walk over those.
    pub(crate) fn next_remembered_horizon(&self, target: i64, count_max: usize, step: usize) -> (i64, bool) {
        self.memory.next_horizon(target, count_max, step)
    }

    /// When the completed or cancelled event finished that is next to be forgotten after `count` others. Costs a walk over those.
    pub(crate) fn finished_after(&self, count: usize) -> Option<i64> {
        let (_, at) = self.events.lanes.finished.from(0).nth(count)?;
        self.events.slots[at].finished_at()
    }

    /// When the last of the completed and cancelled events finished that had finished by this moment.
    pub(crate) fn finished_by(&self, moment: i64) -> Option<i64> {
        self.events.lanes.finished.last_up_to(ascending(moment)).map(descending)
    }

    fn view_of(&self, at: u32) -> View {
        let slot = &self.events.slots[at];
        let status = slot.status();
        View {
            seq: slot.seq,
            id_hash: slot.id(),
            place: slot.place(),
            event_type: self.events.types.name(slot.kind()),
            kind: slot.kind(),
            key: slot.key,
            status,
            held: self.events.is_held(slot),
            retry_count: u32::from(slot.retry_count),
            max_retries: u32::from(slot.max_retries),
            attempt: u32::from(slot.attempt),
            last_attempt: slot.last_attempt(),
            received_at: slot.received_at,
            finished_at: slot.finished_at(),
            last_seq: slot.last_seq,
            error_at: self.events.slots.error_at(at),
            due: slot.due(),
            token: (status == Status::Processing).then_some(Token { epoch: self.epoch, started: slot.last_seq }),
            waits_behind_key: self.events.is_behind(at),
            snoozes: self.events.slots.snoozes(at),
            handled: self.events.slots.handled(at).to_vec(),
        }
    }
}
