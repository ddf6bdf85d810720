//! What is done in steps while the simulation goes on: who has waited longest of each type is looked for, and who was held is released.

use super::{TYPES, World};
use crate::event::Status;
use crate::state::model::Toy;
use crate::state::{Handled, OfType};

impl World {
    /// More types are handled, now and then twice before those are released that were held, or others are.
    pub(super) fn add_handled(&mut self) {
        for _ in 0..=self.chance.below(2) {
            let number = usize::try_from(self.chance.below(4)).unwrap();
            let more = TYPES.get(number).map(|name| Handled::Only([(*name).to_owned()].into()));
            let more = more.unwrap_or(Handled::All);
            self.model.handled = match (self.model.handled.clone(), more.clone()) {
                (Handled::Only(some), Handled::Only(more)) => Handled::Only(&some | &more),
                _ => Handled::All,
            };
            self.state.add_handled(more);
            self.state.check();
            for _ in 0..self.chance.below(4) {
                self.release_some();
            }
            if self.chance.below(4) == 0 {
                self.set_handled();
                self.state.check();
            }
        }
        while self.release_some() {
            assert!(self.state.held().next().is_none(), "who is to be released is not told as held");
        }
    }

    fn release_some(&mut self) -> bool {
        let [passed_max, count_max] = [6, 3].map(|most| usize::try_from(1 + self.chance.below(most)).unwrap());
        let count = self.state.counts().held;
        let is_more = self.state.events.release(passed_max, count_max);
        self.state.check();
        self.released += count - self.state.counts().held;
        is_more
    }

    /// Looks for them along a few events; now and then until all are found, who are those that the model says.
    pub(super) fn look_for_oldest(&mut self) {
        let count = self.state.kind_count();
        self.state.seek_oldest(0..count);
        let count_max = usize::try_from(1 + self.chance.below(40)).unwrap();
        self.state.look_for_oldest(count_max);
        if self.chance.below(4) > 0 {
            return;
        }
        // Twice: of a type of which one has come to wait behind the first walk, that one is told.
        for _ in 0..2 {
            while (0..count).any(|number| self.state.of_type(number).is_err()) {
                self.state.look_for_oldest(count_max);
            }
            self.state.seek_oldest(0..count);
        }
        while self.state.look_for_oldest(count_max) > 0 {}
        for number in 0..count {
            let OfType { name, oldest_waiting, .. } = self.state.of_type(number).unwrap().unwrap();
            let waits =
                |toy: &&Toy| toy.event_type == *name && matches!(toy.status, Status::Pending | Status::Retrying);
            let first = self.model.toys.iter().filter(waits).min_by_key(|toy| toy.seq);
            assert_eq!(oldest_waiting, first.map(|toy| toy.received_at), "{name}");
        }
    }
}
