//! What may be appended. Nothing here changes anything; whoever is told yes appends and applies under the same lock.

use crate::event::Status;
use crate::event::entry::Token;
use crate::mutants::mutant;
use crate::state::machine::State;
use crate::state::table::{self, Step};
use crate::state::verdict::{Known, Reception, Refused};
use crate::state::view::View;

/// Where an event that stands at `status` is after `step`.
///
/// # Errors
/// [`Refused::Status`] if that cannot happen to it.
pub(crate) fn judge_step(status: Status, step: Step) -> Result<Status, Refused> {
    table::next(Some(status), step).ok_or(Refused::Status { status, step })
}

impl State {
    /// What a reception would be.
    ///
    /// An id is compared first: known with another body it is a conflict, even if that body is known as well. Where one of the two
    /// has no recorded body hash, nothing speaks against their being the same.
    pub(crate) fn judge_reception(&self, id_hash: u128, body_hash: Option<u128>, body_is_identity: bool) -> Reception {
        if let Some(known) = self.known(id_hash) {
            let kept = self.events.slots.by_id(id_hash).map(|at| self.events.slots[at].body());
            let theirs = kept.or_else(|| self.memory.by_id(id_hash).map(|id| id.body_hash)).flatten();
            return match (theirs, body_hash) {
                (Some(theirs), Some(ours)) if theirs != ours && !mutant!("conflict-taken-for-a-duplicate") => {
                    Reception::Conflict(known)
                }
                _ => Reception::SameId(known),
            };
        }
        let same = body_hash.filter(|_| body_is_identity).and_then(|body| self.known_body(body));
        same.map_or(Reception::New, Reception::SameBody)
    }

    /// Whether the data of the event that is received as `seq` can be compared by its hash.
    pub(crate) fn has_body_hash(&self, seq: u64) -> bool {
        self.events.slots.by_seq(seq).is_some_and(|at| self.events.slots[at].body().is_some())
    }

    /// Whether there is room for receptions of these types: there are at most
    /// [`TYPE_COUNT_MAX`](crate::state::types::TYPE_COUNT_MAX).
    pub(crate) fn type_room<'n>(&self, event_types: impl Iterator<Item = &'n str>) -> bool {
        self.events.types.have_room(event_types)
    }

    /// The event as it runs, if it runs under this very claim (R17).
    ///
    /// # Errors
    /// [`Refused::Unknown`], [`Refused::Status`] if it does not run, [`Refused::Token`] if it runs under another claim.
    pub(crate) fn judge_settle(&self, seq: u64, token: Token) -> Result<View, Refused> {
        let view = self.view(seq).ok_or(Refused::Unknown)?;
        match view.token {
            Some(current) if current == token || mutant!("stale-token-accepted") => Ok(view),
            Some(_) => Err(Refused::Token),
            None => Err(Refused::Status { status: view.status, step: Step::Completed }),
        }
    }

    /// The event as it stands, if it may be replayed.
    ///
    /// # Errors
    /// [`Refused::Unknown`], or [`Refused::Status`] if it is pending or processing.
    pub(crate) fn judge_replay(&self, seq: u64) -> Result<View, Refused> {
        self.judge(seq, Step::Replayed)
    }

    /// The event as it stands, if it may be cancelled.
    ///
    /// # Errors
    /// [`Refused::Unknown`], or [`Refused::Status`] if it is completed or cancelled.
    pub(crate) fn judge_cancel(&self, seq: u64) -> Result<View, Refused> {
        self.judge(seq, Step::Cancelled)
    }

    /// The event as it stands, if the store may give it up.
    ///
    /// # Errors
    /// [`Refused::Unknown`], or [`Refused::Status`] unless it waits to run.
    pub(crate) fn judge_condemn(&self, seq: u64) -> Result<View, Refused> {
        self.judge(seq, Step::Condemned)
    }

    fn judge(&self, seq: u64, step: Step) -> Result<View, Refused> {
        let view = self.view(seq).ok_or(Refused::Unknown)?;
        judge_step(view.status, step).map(|_| view)
    }

    /// The event with this id, be it only remembered.
    pub(super) fn known(&self, id_hash: u128) -> Option<Known> {
        let kept = self.events.slots.by_id(id_hash).map(|at| self.events.slots[at].seq);
        let kept = kept.map(|seq| Known { seq, id_hash, kept: true });
        kept.or_else(|| self.memory.by_id(id_hash).map(|id| Known { seq: id.seq, id_hash, kept: false }))
    }

    fn known_body(&self, body_hash: u128) -> Option<Known> {
        let kept = self.events.slots.by_body(body_hash).map(|at| &self.events.slots[at]);
        let kept = kept.map(|slot| Known { seq: slot.seq, id_hash: slot.id(), kept: true });
        let remembered = || self.memory.by_body(body_hash);
        kept.or_else(|| remembered().map(|id| Known { seq: id.seq, id_hash: id.id_hash, kept: false }))
    }
}
