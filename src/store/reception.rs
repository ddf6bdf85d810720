//! Events on their way in: validated, named, hashed and encoded before anybody takes a lock.

use std::borrow::{Borrow, Cow};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::error::{Error, ErrorKind};
use crate::event::entry::{Flags, Received};
use crate::event::{Moment, NewEvent, Timestamp, hex, limits};
use crate::log::draft::Draft;
use crate::log::format::Body;
use crate::mutants::mutant;
use crate::state::{FORESEEN_COUNT, Gist, IdHasher, Known, Reception, View, body_hash as hash_of_body};
use crate::store::answers::Duplicate;
use crate::store::commit::Shared;
use crate::store::core::{Core, Refused, Urgency};
use crate::store::fate::{Decision, Fate, Judged};
use crate::store::ids::Ids;
use crate::store::runs::condemned_bytes_max;

/// The bytes of a record besides its event's own body, mostly.
const HEAD_BYTES_AIM: usize = 192;

/// An event on its way in: what there is to know of it before it has its place.
pub(crate) struct Incoming<'e> {
    event: &'e NewEvent,
    id: Cow<'e, str>,
    gist: Gist,
    body_hash: Option<[u8; 32]>,
    /// What became of it when it was last received.
    fate: Option<Fate>,
    /// Whether its id was found to be taken by other data then.
    is_taken: bool,
    /// The reception that has its id, of whose data there is no hash, and whether that is the same; none: nobody has looked.
    likeness: Option<(u64, Option<bool>)>,
}

/// One event that only waits for its place.
pub(crate) struct Single<'e> {
    incoming: Incoming<'e>,
    /// The bytes of its record but for the event's own body, which follows them.
    head: Vec<u8>,
}

/// Several, which are kept as one group or not at all.
pub(crate) struct Batch<'e> {
    incoming: Vec<Incoming<'e>>,
    /// Their records.
    draft: Draft,
}

/// What is given to events without an id or a limit of their own.
pub(crate) struct Givens<'a> {
    pub(crate) ids: &'a Ids,
    pub(crate) hasher: IdHasher,
    pub(crate) max_retries: u32,
    pub(crate) now: Moment,
}

impl<'e> Incoming<'e> {
    /// Checks `event` against its bounds, and names and hashes it.
    fn new(event: &'e NewEvent, givens: &Givens<'_>) -> Result<Self, Error> {
        event.validate()?;
        let Givens { ids, hasher, max_retries, now } = *givens;
        let own_id = event.id.is_none();
        let id = event.id.as_deref().map_or_else(|| Cow::Owned(ids.next(now.wall)), Cow::Borrowed);
        // An id of ours cannot come again, so nothing is ever compared with its body.
        let body_hash = (!own_id || event.same_body_is_duplicate).then(|| event.hash_of_body());
        let flags = Flags::default()
            .with(Flags::STALE, event.stale)
            .with(Flags::OWN_ID, own_id)
            .with(Flags::BODY_IS_IDENTITY, event.same_body_is_duplicate);
        let gist = Gist {
            id: hasher.id(&id),
            body: body_hash.as_ref().map(hash_of_body),
            key: event.key.as_deref().map(|key| hasher.key(key)),
            received_at: event.received_at.unwrap_or(now.wall).unix_micros(),
            not_before: event.starts_at(now.wall).map(Timestamp::unix_micros),
            priority: event.priority,
            max_retries: event.max_retries.unwrap_or(max_retries),
            flags,
        };
        Ok(Self { event, id, gist, body_hash, fate: None, is_taken: false, likeness: None })
    }

    fn has_own_id(&self) -> bool {
        self.gist.flags.contains(Flags::OWN_ID)
    }

    fn is_new(&self) -> bool {
        self.fate.is_none()
    }

    /// The reception that it is to be compared with.
    fn doubt(&self) -> Option<u64> {
        self.likeness.filter(|(_, is_same)| is_same.is_none()).map(|(seq, _)| seq)
    }

    /// Compares it with that. What cannot be read is taken for the same: nobody can show that it is not.
    fn compare(&mut self, shared: &Shared) {
        if let Some(seq) = self.doubt() {
            self.likeness = Some((seq, Some(shared.has_data(seq, self.event.body.as_bytes()).unwrap_or(true))));
        }
    }

    fn received(&self) -> Received<'_> {
        let event = &self.event;
        Received {
            id: &self.id,
            event_type: &event.event_type,
            action: event.action.as_deref(),
            source: &event.source,
            key: event.key.as_deref(),
            received_at: self.gist.received_at,
            not_before: self.gist.not_before,
            priority: self.gist.priority,
            max_retries: self.gist.max_retries,
            flags: self.gist.flags,
            body_hash: self.body_hash,
            headers: event.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            body: event.body.as_bytes(),
        }
    }

    /// What became of it, and the id that it has, once it was received.
    pub(crate) fn into_fate(self) -> (Fate, String) {
        (self.fate.expect("it was received"), self.id.into_owned())
    }

    /// What to do about an id that is taken by other data: a webhook is kept under another id, anything else is refused.
    fn resolve_conflict(&mut self, hasher: IdHasher) -> Result<(), Error> {
        if !self.event.rename_on_conflict || self.gist.flags.contains(Flags::RENAMED) {
            let text = format!(
                "the id {:?} is taken by an event with other data, or of another type; give another id",
                self.id
            );
            return Err(Error::new(ErrorKind::IdConflict, text));
        }
        let hash = self.body_hash.unwrap_or_default();
        let suffix = hex::encode(hash.get(..8).unwrap_or_default());
        let room = limits::ID_BYTES_MAX - suffix.len() - 1;
        let kept = self.id.get(..self.id.floor_char_boundary(room)).unwrap_or_default();
        self.id = Cow::Owned(format!("{kept}~{suffix}"));
        self.gist.flags = self.gist.flags.with(Flags::RENAMED, true);
        self.gist.id = hasher.id(&self.id);
        Ok(())
    }
}

impl<'e> Single<'e> {
    /// Checks `event` against its bounds and encodes it.
    pub(crate) fn new(event: &'e NewEvent, givens: &Givens<'_>) -> Result<Self, Error> {
        let mut single = Self { incoming: Incoming::new(event, givens)?, head: Vec::with_capacity(HEAD_BYTES_AIM) };
        single.incoming.received().encode_head(&mut single.head);
        Ok(single)
    }

    /// The body of its record.
    fn body(&self) -> Body<'_> {
        Body { head: &self.head, data: self.incoming.event.body.as_bytes() }
    }

    /// See [`Incoming::compare`].
    pub(crate) fn compare(&mut self, shared: &Shared) {
        self.incoming.compare(shared);
    }

    /// See [`Incoming::resolve_conflict`].
    pub(crate) fn resolve_conflict(&mut self, hasher: IdHasher) -> Result<(), Error> {
        self.incoming.resolve_conflict(hasher)?;
        self.head.clear();
        self.incoming.received().encode_head(&mut self.head);
        Ok(())
    }

    /// The event, without what is written of it.
    pub(crate) fn into_incoming(self) -> Incoming<'e> {
        self.incoming
    }

    /// What became of it, once it was received.
    #[cfg(any(test, feature = "torture"))]
    pub(crate) fn fate(&self) -> Option<Fate> {
        self.incoming.fate
    }
}

impl<'e> Batch<'e> {
    /// Checks `events` against their bounds and encodes them, into a buffer that is used again.
    pub(crate) fn new<E: Borrow<NewEvent>>(
        events: &'e [E],
        givens: &Givens<'_>,
        buffer: Vec<u8>,
    ) -> Result<Self, Error> {
        // Room for all of them at once: a collection of results does not know how many there will be.
        let mut incoming = Vec::with_capacity(events.len());
        for event in events {
            incoming.push(Incoming::new(event.borrow(), givens)?);
        }
        let mut batch = Self { incoming, draft: Draft::new(buffer) };
        batch.encode();
        Ok(batch)
    }

    fn encode(&mut self) {
        let body_bytes = self.incoming.iter().map(|incoming| incoming.event.body.len() + HEAD_BYTES_AIM).sum();
        self.draft.reserve(self.incoming.len(), body_bytes);
        for incoming in &self.incoming {
            self.draft.push(|buffer| {
                incoming.received().encode_head(buffer);
                buffer.extend_from_slice(incoming.event.body.as_bytes());
            });
        }
    }

    /// See [`Incoming::compare`].
    pub(crate) fn compare(&mut self, shared: &Shared) {
        self.incoming.iter_mut().for_each(|incoming| incoming.compare(shared));
    }

    /// Resolves the conflicts that were found; see [`Incoming::resolve_conflict`].
    pub(crate) fn resolve_conflicts(&mut self, hasher: IdHasher) -> Result<(), Error> {
        let mut taken = self.incoming.iter_mut().filter(|incoming| incoming.is_taken);
        taken.try_for_each(|incoming| incoming.resolve_conflict(hasher))?;
        self.draft.clear();
        self.encode();
        Ok(())
    }

    /// The events, without what is written of them, and the buffer to be used again.
    pub(crate) fn into_parts(self) -> (Vec<Incoming<'e>>, Vec<u8>) {
        (self.incoming, self.draft.into_buffer())
    }
}

impl Core {
    /// What an event would be now.
    pub(crate) fn judge_single(&self, single: &mut Single<'_>) -> Result<Judged, Error> {
        self.check_open()?;
        let incoming = &mut single.incoming;
        self.judge_incoming(incoming);
        if incoming.is_new() {
            self.check_types(std::iter::once(incoming.event.event_type.as_str()))?;
        }
        Ok(match (incoming.doubt(), incoming.fate) {
            (Some(seq), _) => Judged::Doubtful { seq },
            (None, _) if incoming.is_taken => Judged::Taken,
            (None, Some(fate)) => Judged::Known(fate),
            (None, None) => Judged::New,
        })
    }

    /// Keeps an event, which then knows its fate. If there is a reason, it has `failed` for good: both are said in one group, so that no
    /// crash makes it one that waits to run.
    pub(crate) fn receive(
        &mut self,
        single: &mut Single<'_>,
        failed: Option<&str>,
        now: Moment,
    ) -> Result<Decision, Refused> {
        let fate = match self.judge_single(single)? {
            Judged::Doubtful { seq } => return Ok(Decision::Doubt { seq }),
            Judged::Taken => return Ok(Decision::Conflict),
            Judged::Known(fate) => Some(fate),
            Judged::New => None,
        };
        if fate.is_none() {
            let bodies = std::iter::once(single.body().len());
            let bodies = bodies.chain(failed.map(|reason| condemned_bytes_max(reason, now)));
            self.make_room(bodies, Urgency::Reception, now)?;
            let Incoming { gist, event, .. } = &single.incoming;
            let seq = self.put_reception(gist, &event.event_type, single.body(), now);
            if let Some(reason) = failed {
                self.put_condemned(seq, reason, now);
            }
            single.incoming.fate = Some(Fate::Kept { seq });
        }
        Ok(Decision::Done { seq: single.incoming.fate.and_then(|fate| fate.seq()) })
    }

    /// Keeps a batch, whole or not at all, as one group; each then knows its fate.
    pub(crate) fn receive_all(&mut self, batch: &mut Batch<'_>, now: Moment) -> Result<Decision, Refused> {
        self.check_open()?;
        let Batch { incoming, draft } = batch;
        for incoming in incoming.iter_mut() {
            self.judge_incoming(incoming);
        }
        if let Some(seq) = incoming.iter().filter_map(Incoming::doubt).max() {
            return Ok(Decision::Doubt { seq });
        }
        if incoming.iter().any(|incoming| incoming.is_taken) {
            return Ok(Decision::Conflict);
        }
        refuse_twins(incoming)?;
        let same_bodies = find_same_bodies(incoming);
        let new_count = incoming.iter().filter(|incoming| incoming.is_new()).count();
        if new_count > 0 {
            let new = incoming.iter().filter(|incoming| incoming.is_new());
            self.check_types(new.map(|incoming| incoming.event.event_type.as_str()))?;
            let lengths = draft.lengths().zip(incoming.iter());
            let new = lengths.filter(|(_, incoming)| incoming.is_new()).map(|(length, _)| length);
            self.make_room(new, Urgency::Reception, now)?;
            // From here on nothing is refused, and nobody needs the records of duplicates any more.
            if new_count < incoming.len() {
                draft.retain(|number| incoming.get(number).is_some_and(Incoming::is_new));
            }
            self.put_receptions(incoming, draft, now);
        }
        for (of, duplicate) in same_bodies {
            let seq = incoming.get(of).and_then(|first| first.fate?.seq()).unwrap_or(0);
            if let Some(incoming) = incoming.get_mut(duplicate) {
                incoming.fate = Some(Fate::Duplicate { why: Duplicate::SameBody, seq, is_kept: true });
            }
        }
        Ok(Decision::Done { seq: incoming.iter().filter_map(|incoming| incoming.fate?.seq()).max() })
    }

    /// Stages a draft and applies those of a batch that are new, whose records it holds.
    fn put_receptions(&mut self, incoming: &mut [Incoming<'_>], draft: &mut Draft, now: Moment) {
        let mut places = self.stage_receptions(draft);
        for chunk in incoming.chunks_mut(FORESEEN_COUNT) {
            self.state.foresee(chunk.iter().map(|incoming| incoming.gist.id));
            for incoming in chunk.iter_mut().filter(|incoming| incoming.is_new()) {
                let at = places.next().expect("the draft holds every new one");
                self.apply_reception(at, &incoming.gist, &incoming.event.event_type, now);
                incoming.fate = Some(Fate::Kept { seq: at.0 });
            }
        }
    }

    /// Gives an event its fate unless it is new, or its id is taken by other data.
    fn judge_incoming(&self, incoming: &mut Incoming<'_>) {
        let Gist { id, body, flags, .. } = incoming.gist;
        let is_identity = flags.contains(Flags::BODY_IS_IDENTITY);
        // An id of ours is nobody else's.
        let judged = if incoming.has_own_id() && !is_identity {
            Reception::New
        } else {
            self.state.judge_reception(id, body, is_identity)
        };
        let judged = match judged {
            Reception::SameId(known) if known.kept && !incoming.has_own_id() => self.judge_same_id(known, incoming),
            judged => judged,
        };
        incoming.is_taken = matches!(judged, Reception::Conflict(_));
        incoming.fate = match judged {
            Reception::Conflict(_) | Reception::New => None,
            Reception::SameId(known) => Some(Fate::duplicate(Duplicate::SameId, known)),
            Reception::SameBody(known) => Some(Fate::duplicate(Duplicate::SameBody, known)),
        };
    }

    /// Refuses more types than there may be.
    fn check_types<'n>(&self, event_types: impl Iterator<Item = &'n str>) -> Result<(), Error> {
        if self.state.type_room(event_types) {
            return Ok(());
        }
        let text = "there would be more than 65,536 event types; those of which no event is left are forgotten once the store is reopened";
        Err(Error::invalid(text))
    }

    /// What an event is that has the id of one that is kept, and whose data may be the same.
    fn judge_same_id(&self, known: Known, incoming: &mut Incoming<'_>) -> Reception {
        let is_of_type = |view: View| *view.event_type == *incoming.event.event_type;
        if !self.state.view(known.seq).is_some_and(is_of_type) {
            return Reception::Conflict(known);
        }
        // Events that were named here have no hash of their data: nobody was to know their ids, but whoever was told one may give it.
        if self.state.has_body_hash(known.seq) {
            return Reception::SameId(known);
        }
        incoming.likeness = incoming.likeness.filter(|(seq, _)| *seq == known.seq).or(Some((known.seq, None)));
        match incoming.likeness {
            Some((_, Some(false))) => Reception::Conflict(known),
            _ => Reception::SameId(known),
        }
    }
}

/// A batch that names an id twice contradicts itself.
fn refuse_twins(batch: &[Incoming<'_>]) -> Result<(), Error> {
    if batch.len() < 2 || mutant!("twins-kept") {
        return Ok(());
    }
    let mut seen = HashSet::new();
    // Ids of ours are no twins.
    let mut named = batch.iter().filter(|incoming| !incoming.has_own_id());
    match named.find(|incoming| !seen.insert(incoming.gist.id)) {
        Some(twin) => Err(Error::invalid(format!("the batch holds the id {:?} twice; nothing was appended", twin.id))),
        None => Ok(()),
    }
}

/// Those of a batch that are new but for one before them with the same body, where that is what they are known by: each after the number
/// of that one. They are not new any more; which record theirs is, is not known before that one has its place.
fn find_same_bodies(batch: &mut [Incoming<'_>]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut seen = HashMap::new();
    let is_known_by_body = |incoming: &Incoming<'_>| incoming.gist.flags.contains(Flags::BODY_IS_IDENTITY);
    let new = batch.iter_mut().enumerate().filter(|(_, incoming)| incoming.is_new() && is_known_by_body(incoming));
    for (number, incoming) in new {
        match seen.entry(incoming.gist.body) {
            Entry::Vacant(first) => _ = first.insert(number),
            Entry::Occupied(first) => {
                incoming.fate = Some(Fate::Duplicate { why: Duplicate::SameBody, seq: 0, is_kept: true });
                found.push((*first.get(), number));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Status;
    use crate::event::entry::{self, Horizon};
    use crate::store::desk::Level;
    use crate::store::options::StoreOptions;
    use crate::store::stories::{event, givens, store_with};

    fn store(dir: &std::path::Path) -> Shared {
        store_with(dir, true, StoreOptions::default().segment_bytes(64 * 1024))
    }

    /// Keeps a batch; what became of each, and its id.
    fn keep(shared: &Shared, events: &[NewEvent]) -> Result<Vec<(Fate, String)>, Error> {
        let ids = Ids::new([2; 16]);
        let mut batch = Batch::new(events, &givens(shared, &ids), Vec::new())?;
        let seq = loop {
            match shared.step(|core, now| core.receive_all(&mut batch, now))? {
                Decision::Done { seq } => break seq,
                Decision::Conflict => batch.resolve_conflicts(shared.hasher)?,
                Decision::Doubt { .. } => batch.compare(shared),
            }
        };
        seq.map_or(Ok(()), |seq| shared.wait(seq, Level::Durable))?;
        Ok(batch.into_parts().0.into_iter().map(Incoming::into_fate).collect())
    }

    fn data_of(shared: &Shared, id: &str) -> String {
        shared.get(id).unwrap().unwrap().data().to_owned()
    }

    #[test]
    fn a_batch_that_names_an_id_twice_is_refused_whole() {
        let dir = tempfile::tempdir().unwrap();
        let shared = store(dir.path());
        let before = shared.desk().core.last_seq();
        let refused = keep(&shared, &["a", "b", "a"].map(|id| event(id, 10))).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert_eq!(shared.desk().core.last_seq(), before, "nothing was appended");
    }

    #[test]
    fn of_a_batch_only_what_is_new_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let shared = store(dir.path());
        let first = keep(&shared, &[event("b", 20), event("d", 40)]).unwrap();
        let [Fate::Kept { seq: b }, Fate::Kept { seq: d }] = [first[0].0, first[1].0] else { panic!("{first:?}") };
        assert_eq!(d, b + 1);
        let sizes = [("a", 10), ("b", 20), ("c", 30), ("d", 40), ("e", 50)];
        let again = keep(&shared, &sizes.map(|(id, bytes)| event(id, bytes))).unwrap();
        let fates: Vec<Fate> = again.iter().map(|(fate, _)| *fate).collect();
        let known = |seq| Fate::Duplicate { why: Duplicate::SameId, seq, is_kept: true };
        let kept = |after| Fate::Kept { seq: d + after };
        assert_eq!(fates, [kept(1), known(b), kept(2), known(d), kept(3)]);
        for (id, bytes) in sizes {
            assert_eq!(data_of(&shared, id).len(), bytes + 2, "{id}");
        }
    }

    #[test]
    fn a_body_that_comes_twice_in_a_batch_under_two_ids_is_kept_once() {
        let dir = tempfile::tempdir().unwrap();
        let shared = store(dir.path());
        let known_by_body = |id, bytes| NewEvent { same_body_is_duplicate: true, ..event(id, bytes) };
        let batch = [known_by_body("a", 10), known_by_body("b", 20), known_by_body("c", 10), event("d", 10)];
        let kept = keep(&shared, &batch).unwrap();
        let fates: Vec<Fate> = kept.iter().map(|(fate, _)| *fate).collect();
        let Fate::Kept { seq } = fates[0] else { panic!("{kept:?}") };
        let duplicate = Fate::Duplicate { why: Duplicate::SameBody, seq, is_kept: true };
        assert_eq!(fates[1..], [Fate::Kept { seq: seq + 1 }, duplicate, Fate::Kept { seq: seq + 2 }]);
        assert!(shared.get("c").unwrap().is_none());
        let one_by_one = keep(&shared, &[known_by_body("e", 10)]).unwrap();
        assert_eq!(one_by_one[0].0, duplicate);
    }

    #[test]
    fn a_duplicate_is_answered_once_its_reception_is_durable_though_the_event_was_forgotten() {
        // R1. Nothing of this is written yet, so a loss of power would undo all of it.
        let dir = tempfile::tempdir().unwrap();
        let shared = store(dir.path());
        let ids = Ids::new([2; 16]);
        let receive = || {
            let event = event("a", 10);
            let mut single = Single::new(&event, &givens(&shared, &ids)).unwrap();
            let decision = shared.try_step(&mut |core, now| core.receive(&mut single, None, now));
            (decision.ok().and_then(|decision| decision.seq()), single.fate())
        };
        let (first, _) = receive();
        let seq = first.unwrap();
        let forget = |core: &mut Core, now: Moment| {
            core.cancel(seq, "", now)?;
            let horizon = Horizon { finished_before: now.wall.unix_micros() + 1, ..Horizon::default() };
            core.append(&entry::Entry::Horizon(horizon), Urgency::Transition, now)
        };
        assert!(shared.try_step(&mut { forget }).is_ok());
        let duplicate = Fate::Duplicate { why: Duplicate::SameId, seq, is_kept: false };
        assert_eq!(receive(), (first, Some(duplicate)));
        assert!(shared.desk().core.durable() < seq);
    }

    #[test]
    fn an_event_that_has_failed_elsewhere_is_kept_as_failed_in_one_group() {
        // Were they two, a crash between them would leave an event that runs again unasked.
        let dir = tempfile::tempdir().unwrap();
        let shared = store(dir.path());
        let ids = Ids::new([2; 16]);
        let reason = "x".repeat(limits::MESSAGE_BYTES_MAX + 1);
        // Segments end at all sorts of places within the two records.
        for number in 0..600 {
            let event = event(&number.to_string(), number);
            let mut single = Single::new(&event, &givens(&shared, &ids)).unwrap();
            let decision = shared.step(|core, now| core.receive(&mut single, Some(&reason), now)).unwrap();
            let mut desk = shared.desk();
            let group = desk.core.take().unwrap();
            assert_eq!(Some(group.last_seq), decision.seq().map(|seq| seq + 1));
            group.write().unwrap();
            desk.core.wrote(group);
        }
        shared.wait_for_all().unwrap();
        let failed = shared.get("599").unwrap().unwrap();
        assert_eq!((failed.status(), failed.error_message()), (Status::Failed, reason.get(1..)));
    }

    #[test]
    fn of_a_batch_without_anything_new_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let shared = store(dir.path());
        let batch = ["a", "b"].map(|id| event(id, 10));
        keep(&shared, &batch).unwrap();
        let before = shared.desk().core.last_seq();
        let again = keep(&shared, &batch).unwrap();
        assert!(again.iter().all(|(fate, _)| matches!(fate, Fate::Duplicate { .. })), "{again:?}");
        assert!(keep(&shared, &[]).unwrap().is_empty());
        assert_eq!(shared.desk().core.last_seq(), before);
    }

    #[test]
    fn duplicates_of_a_batch_take_no_room() {
        // A group of this store has 16 KiB at most.
        let dir = tempfile::tempdir().unwrap();
        let shared = store(dir.path());
        let known = ["a", "b"].map(|id| event(id, 7_000));
        keep(&shared, &known).unwrap();
        let batch = ["a", "b", "c", "d"].map(|id| event(id, 7_000));
        assert_eq!(keep(&shared, &batch).unwrap().len(), 4);
        let many = ["e", "f", "g"].map(|id| event(id, 7_000));
        assert_eq!(keep(&shared, &many).unwrap_err().kind(), ErrorKind::TooLarge);
        // What comes next goes on in the next segment, where a batch is staged anew with the same draft.
        let seq = shared.desk().core.next_seq();
        for number in 0..20 {
            let ids = [format!("{number}"), "a".to_owned(), format!("{number}'")];
            let kept = keep(&shared, &[event(&ids[0], 5_000), event(&ids[1], 7_000), event(&ids[2], 5_000)]).unwrap();
            assert!(matches!(kept[1].0, Fate::Duplicate { .. }));
            for id in ids {
                assert!(data_of(&shared, &id).len() >= 5_000, "{id}");
            }
        }
        assert!(shared.desk().core.next_seq() > seq + 40, "segments have begun meanwhile");
    }

    #[test]
    fn an_event_of_a_batch_that_is_kept_under_another_id_is_written_under_that_one() {
        let dir = tempfile::tempdir().unwrap();
        let shared = store(dir.path());
        keep(&shared, &[event("a", 10)]).unwrap();
        keep(&shared, &[event("d", 10)]).unwrap();
        let renamed = |id, bytes| NewEvent { rename_on_conflict: true, ..event(id, bytes) };
        let batch = [event("b", 20), renamed("a", 30), event("c", 40), renamed("d", 50)];
        let kept = keep(&shared, &batch).unwrap();
        assert!(kept.iter().all(|(fate, _)| matches!(fate, Fate::Kept { .. })), "{kept:?}");
        assert!(kept[1].1.starts_with("a~") && kept[3].1.starts_with("d~"), "{kept:?}");
        for ((_, id), bytes) in kept.iter().zip([20, 30, 40, 50]) {
            assert_eq!(data_of(&shared, id).len(), bytes + 2, "{id}");
        }
        let refused = keep(&shared, &[renamed("a", 60), event("b", 60)]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::IdConflict);
    }
}
