//! Who has waited longest of each type, looked for while the simulation goes on.

use super::World;
use crate::event::Status;
use crate::state::OfType;
use crate::state::model::Toy;

impl World {
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
