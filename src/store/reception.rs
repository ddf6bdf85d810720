//! Events on their way in: validated, named, hashed and encoded before anybody takes a lock.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ErrorKind};
use crate::event::entry::{Flags, Received};
use crate::event::{Moment, NewEvent, Timestamp, hex, limits};
use crate::log::format::Body;
use crate::mutants::mutant;
use crate::state::{Gist, IdHasher, Known, Reception, body_hash as hash_of_body};
use crate::store::answers::Duplicate;
use crate::store::core::{Core, Refused, Salts, Urgency};

/// So many events of a batch are looked for in the index before the first of them is put there.
const FORESEEN_COUNT: usize = 32;

/// Makes ids for events whose sender gave none: UUIDs of version 7, so that they sort by time.
pub(crate) struct Ids {
    seed: [u8; 16],
    count: AtomicU64,
}

impl Ids {
    pub(crate) fn new(seed: [u8; 16]) -> Self {
        Self { seed, count: AtomicU64::new(0) }
    }

    fn next(&self, now: Timestamp) -> String {
        // Unpredictable to others, and never the same twice: a keyed hash of a count.
        let count = self.count.fetch_add(2, Ordering::Relaxed);
        let mut random = [0; 10];
        let values = [Salts::at(&self.seed, count), Salts::at(&self.seed, count + 1)];
        for (byte, value) in random.iter_mut().zip(values.into_iter().flat_map(u64::to_le_bytes)) {
            *byte = value;
        }
        let millis = u64::try_from(now.unix_millis()).unwrap_or(0);
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()).to_owned()
    }
}

/// An event that only waits for its place.
pub(crate) struct Prepared {
    event: Box<NewEvent>,
    id: String,
    gist: Gist,
    body_hash: Option<[u8; 32]>,
    /// The bytes of its record but for the event's own body, which follows them.
    head: Vec<u8>,
    /// What became of it when it was last received.
    fate: Option<Fate>,
}

/// What became of a prepared event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Kept {
        seq: u64,
    },
    /// `seq` is the reception that was there before, where it is still kept.
    Duplicate {
        why: Duplicate,
        seq: Option<u64>,
    },
}

impl Fate {
    /// The reception that must be durable before anybody is told.
    pub(crate) fn seq(&self) -> Option<u64> {
        match *self {
            Self::Kept { seq } => Some(seq),
            Self::Duplicate { .. } if mutant!("duplicate-answered-before-durable") => None,
            Self::Duplicate { seq, .. } => seq,
        }
    }
}

/// What was decided about a batch.
pub(crate) enum Decision {
    /// Each has its fate; this seq must be durable before anybody is told.
    Done { seq: Option<u64> },
    /// The event at `index` has an id that is taken by other data. Nothing was appended.
    Conflict { index: usize },
}

impl Decision {
    /// What must be durable before anybody is told.
    pub(crate) fn seq(&self) -> Option<u64> {
        match *self {
            Self::Done { seq } => seq,
            Self::Conflict { .. } => None,
        }
    }
}

impl Prepared {
    /// Checks `event` against its bounds and encodes it.
    pub(crate) fn new(
        mut event: Box<NewEvent>,
        ids: &Ids,
        hasher: IdHasher,
        max_retries: u32,
        now: Moment,
    ) -> Result<Self, Error> {
        event.validate()?;
        let own_id = event.id.is_none();
        let id = event.id.take().unwrap_or_else(|| ids.next(now.wall));
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
            not_before: event.not_before.map(Timestamp::unix_micros),
            priority: event.priority,
            max_retries: event.max_retries.unwrap_or(max_retries),
            flags,
        };
        let mut prepared = Self { event, id, gist, body_hash, head: Vec::with_capacity(192), fate: None };
        prepared.encode();
        Ok(prepared)
    }

    fn encode(&mut self) {
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        self.received().encode_head(&mut head);
        self.head = head;
    }

    fn has_own_id(&self) -> bool {
        self.gist.flags.contains(Flags::OWN_ID)
    }

    /// The body of its record.
    fn body(&self) -> Body<'_> {
        Body { head: &self.head, data: self.event.body.as_bytes() }
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
        (self.fate.expect("it was received"), self.id)
    }

    /// What became of it, once it was received.
    #[cfg(any(test, feature = "torture"))]
    pub(crate) fn fate(&self) -> Option<Fate> {
        self.fate
    }

    /// What to do about an id that is taken by other data: a webhook is kept under another id, anything else is refused.
    pub(crate) fn resolve_conflict(&mut self, hasher: IdHasher) -> Result<(), Error> {
        if !self.event.rename_on_conflict || self.gist.flags.contains(Flags::RENAMED) {
            let text = format!("the id {:?} is taken by an event with other data; give another id", self.id);
            return Err(Error::new(ErrorKind::IdConflict, text));
        }
        let hash = self.body_hash.unwrap_or_default();
        let suffix = hex::encode(hash.get(..8).unwrap_or_default());
        let room = limits::ID_BYTES_MAX - suffix.len() - 1;
        let cut = self.id.floor_char_boundary(room);
        self.id.truncate(cut);
        self.id = format!("{}~{suffix}", self.id);
        self.gist.flags = self.gist.flags.with(Flags::RENAMED, true);
        self.gist.id = hasher.id(&self.id);
        self.encode();
        Ok(())
    }
}

fn duplicate(why: Duplicate, known: Known) -> Fate {
    Fate::Duplicate { why, seq: known.kept.then_some(known.seq) }
}

impl Core {
    /// Keeps a batch, whole or not at all, as one group; each then knows its fate.
    pub(crate) fn receive(&mut self, batch: &mut [Prepared], now: Moment) -> Result<Decision, Refused> {
        self.check_open()?;
        for (index, event) in batch.iter_mut().enumerate() {
            let Gist { id, body, flags, .. } = event.gist;
            let is_identity = flags.contains(Flags::BODY_IS_IDENTITY);
            // An id of ours is nobody else's.
            let judged = if event.has_own_id() && !is_identity {
                Reception::New
            } else {
                self.state.judge_reception(id, body, is_identity)
            };
            event.fate = match judged {
                Reception::New if self.state.type_room(&event.event.event_type) => None,
                Reception::New => return Err(Error::invalid("there are too many event types already: 65,536").into()),
                Reception::SameId(known) => Some(duplicate(Duplicate::SameId, known)),
                Reception::SameBody(known) => Some(duplicate(Duplicate::SameBody, known)),
                Reception::Conflict(_) => return Ok(Decision::Conflict { index }),
            };
        }
        Self::refuse_twins(batch)?;
        let new = batch.iter().filter(|event| event.fate.is_none());
        if new.clone().next().is_some() {
            self.make_room(new.map(|event| event.body().len()), Urgency::Reception, now)?;
        }
        for chunk in batch.chunks_mut(FORESEEN_COUNT) {
            if chunk.len() > 1 {
                self.state.foresee(chunk.iter().map(|event| event.gist.id));
            }
            for event in chunk.iter_mut().filter(|event| event.fate.is_none()) {
                let seq = self.put_reception(&event.gist, &event.event.event_type, event.body(), now);
                event.fate = Some(Fate::Kept { seq });
            }
        }
        Ok(Decision::Done { seq: batch.iter().filter_map(|event| event.fate?.seq()).max() })
    }

    /// A batch that names an id twice contradicts itself.
    fn refuse_twins(batch: &[Prepared]) -> Result<(), Error> {
        if batch.len() < 2 || mutant!("twins-kept") {
            return Ok(());
        }
        let mut seen = std::collections::HashSet::new();
        // Ids of ours are no twins.
        let mut named = batch.iter().filter(|event| !event.has_own_id());
        match named.find(|event| !seen.insert(event.gist.id)) {
            Some(twin) => {
                Err(Error::invalid(format!("the batch holds the id {:?} twice; nothing was appended", twin.id)))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::options::StoreOptions;
    use crate::store::stories::{prepared, store_with};

    #[test]
    fn a_batch_that_names_an_id_twice_is_refused_whole() {
        let dir = tempfile::tempdir().unwrap();
        let shared = store_with(dir.path(), true, StoreOptions::default().segment_bytes(64 * 1024));
        let before = shared.desk().core.last_seq();
        let mut batch = ["a", "b", "a"].map(|id| prepared(&shared, id, 10));
        let refused = shared.step(|core, now| core.receive(&mut batch, now).map(drop)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert_eq!(shared.desk().core.last_seq(), before, "nothing was appended");
    }
}
