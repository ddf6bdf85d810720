//! Reading the events of one claim: most were received one after another, and so they lie beside one another. One call of the system
//! reads them all, and each record is verified for itself (R11).

use std::sync::Arc;

use crate::error::Error;
use crate::event::entry::Entry;
use crate::event::{Event, Place, codec};
use crate::log::format::record_span;
use crate::log::reader::verified;
use crate::log::segment::Segment;
use crate::state::View;
use crate::store::commit::Shared;
use crate::store::reading::event;

/// Longest stretch that is read at once.
const STRETCH_BYTES_MAX: u64 = 256 * 1024;

/// Between two records there may be so many bytes of others, which cost less to read than a call.
const GAP_BYTES_MAX: u64 = 4 * 1024;

/// A part of a segment, as it was read.
#[derive(Default)]
pub(super) struct Stretch {
    segment: Option<Arc<Segment>>,
    offset: u64,
    bytes: Vec<u8>,
}

impl Shared {
    /// As [`Shared::read_event`]; `places` are those of this event and of the next ones to be read in the same way.
    pub(super) fn read_beside(
        &self,
        stretch: &mut Stretch,
        view: &View,
        places: impl Iterator<Item = Place>,
    ) -> Result<Event, Error> {
        if !stretch.covers(view.place) {
            self.read_stretch(stretch, places);
        }
        // Whatever is wrong with it, or just not as it was, shows when it is read for itself.
        stretch.event(view).map_or_else(|| self.read_event(view), Ok)
    }

    /// Reads on from the first of the `places`, as far as the next ones follow closely. A failure leaves the stretch empty.
    fn read_stretch(&self, stretch: &mut Stretch, mut places: impl Iterator<Item = Place>) {
        stretch.bytes.clear();
        let Some(first) = places.next() else { return };
        let (from, mut to) = (u64::from(first.offset), end(first));
        for place in places.take_while(|place| place.segment == first.segment) {
            let follows = u64::from(place.offset).checked_sub(to).is_some_and(|gap| gap <= GAP_BYTES_MAX);
            if !follows || end(place) - from > STRETCH_BYTES_MAX {
                break;
            }
            to = end(place);
        }
        stretch.offset = from;
        stretch.segment = self.segment(first.segment).filter(|_| to > end(first));
        let Some(segment) = &stretch.segment else { return };
        stretch.bytes.resize(usize::try_from(to - from).unwrap_or(0), 0);
        let read = segment.file.read_at(&mut stretch.bytes, from).unwrap_or(0);
        stretch.bytes.truncate(read);
    }
}

impl Stretch {
    fn covers(&self, place: Place) -> bool {
        self.bytes_at(place).is_some()
    }

    /// Its bytes from there on, if the record is within.
    fn bytes_at(&self, place: Place) -> Option<(&Segment, &[u8])> {
        let segment = self.segment.as_deref().filter(|segment| segment.key() == place.segment)?;
        let at = usize::try_from(u64::from(place.offset).checked_sub(self.offset)?).ok()?;
        let bytes = self.bytes.get(at..)?;
        (bytes.len() as u64 >= end(place) - u64::from(place.offset)).then_some((segment, bytes))
    }

    fn event(&self, view: &View) -> Option<Event> {
        // What failed before has a text, and that lies elsewhere.
        let place = Some(view.place).filter(|_| view.error_at.is_none())?;
        let (segment, bytes) = self.bytes_at(place)?;
        let body = verified(bytes, &segment.header, u64::from(place.offset), place.length, Some(view.seq))?;
        let Entry::Received(received) = codec::decode(body).ok()? else { return None };
        event(view, &received, None, None).ok()
    }
}

/// Where the record ends.
fn end(place: Place) -> u64 {
    u64::from(place.offset) + record_span(place.length as usize) as u64
}

#[cfg(test)]
mod tests {
    use crate::event::{NewEvent, Status};
    use crate::log::segment::Name;
    use crate::state::Handled;
    use crate::store::handle::Store;
    use crate::store::options::StoreOptions;

    #[test]
    fn what_is_claimed_together_is_read_whole_however_it_lies_and_damage_is_that_of_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let data = |number: usize| char::from(b'a' + u8::try_from(number).unwrap()).to_string();
        // Beside one another, with a gap that is not worth reading, longer than a stretch, and beside one another again.
        let lengths = [1_000, 10, 1_000, 6_000, 10, 300_000, 10, 1_000];
        for (number, length) in lengths.into_iter().enumerate() {
            let event_type = if number == 3 { "Skipped" } else { "Issue" };
            let event = NewEvent::new(event_type, &data(number).repeat(length)).unwrap();
            store.append(event.id(number.to_string())).unwrap();
        }
        let place = store.shared().view_durable("2").unwrap().unwrap().place;
        let file = store.shared().dir.open_file(&Name::original(1).to_string(), true).unwrap();
        file.write_all_at(b"!", u64::from(place.offset) + 500).unwrap();
        store.shared().desk().core.state.set_handled(Handled::Only(["Issue".to_owned()].into()));
        let claims = store.claim(10).unwrap();
        let ids: Vec<&str> = claims.iter().map(|claim| claim.event().id()).collect();
        assert_eq!(ids, ["0", "1", "4", "5", "6", "7"]);
        for claim in &claims {
            let number: usize = claim.event().id().parse().unwrap();
            assert_eq!(claim.event().json::<String>().unwrap(), data(number).repeat(lengths[number]));
        }
        let damaged = store.shared().view_durable("2").unwrap().unwrap();
        assert_eq!((damaged.status, store.stats().damaged_events), (Status::Failed, 1));
    }
}
