//! Events on their way in: validated, named, hashed and encoded before anybody takes a lock.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ErrorKind};
use crate::event::entry::{Entry, Flags, Received};
use crate::event::{Moment, NewEvent, Timestamp, hex, limits};
use crate::state::{IdHasher, Known, Reception, body_hash};
use crate::store::answers::Duplicate;
use crate::store::core::{Core, Refused, Salts, Urgency};

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
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().to_string()
    }
}

/// An event that only waits for its place.
pub(crate) struct Prepared {
    event: NewEvent,
    id: String,
    received_at: i64,
    max_retries: u32,
    flags: Flags,
    body_hash: Option<[u8; 32]>,
    id_hash: u128,
    encoded: Vec<u8>,
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
            Self::Duplicate { seq, .. } => seq,
        }
    }
}

/// What was decided about a batch.
pub(crate) enum Decision {
    Done(Vec<Fate>),
    /// The event at `index` has an id that is taken by other data. Nothing was appended.
    Conflict {
        index: usize,
    },
}

impl Prepared {
    /// Checks `event` against its bounds and encodes it.
    pub(crate) fn new(
        mut event: NewEvent,
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
        let mut prepared = Self {
            received_at: event.received_at.unwrap_or(now.wall).unix_micros(),
            max_retries: event.max_retries.unwrap_or(max_retries),
            id_hash: hasher.id(&id),
            encoded: Vec::with_capacity(event.body.len() + 256),
            event,
            id,
            flags,
            body_hash,
        };
        prepared.encode();
        Ok(prepared)
    }

    fn encode(&mut self) {
        let mut encoded = std::mem::take(&mut self.encoded);
        encoded.clear();
        Entry::Received(self.received()).encode(&mut encoded);
        self.encoded = encoded;
    }

    fn received(&self) -> Received<'_> {
        let event = &self.event;
        Received {
            id: &self.id,
            event_type: &event.event_type,
            action: event.action.as_deref(),
            source: &event.source,
            key: event.key.as_deref(),
            received_at: self.received_at,
            not_before: event.not_before.map(Timestamp::unix_micros),
            priority: event.priority,
            max_retries: self.max_retries,
            flags: self.flags,
            body_hash: self.body_hash,
            headers: event.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            body: event.body.as_bytes(),
        }
    }

    pub(crate) fn into_id(self) -> String {
        self.id
    }

    /// What to do about an id that is taken by other data: a webhook is kept under another id, anything else is refused.
    pub(crate) fn resolve_conflict(&mut self, hasher: IdHasher) -> Result<(), Error> {
        if !self.event.rename_on_conflict || self.flags.contains(Flags::RENAMED) {
            let text = format!("the id {:?} is taken by an event with other data; give another id", self.id);
            return Err(Error::new(ErrorKind::IdConflict, text));
        }
        let hash = self.body_hash.unwrap_or_default();
        let suffix = hex::encode(hash.get(..8).unwrap_or_default());
        let room = limits::ID_BYTES_MAX - suffix.len() - 1;
        let cut = self.id.floor_char_boundary(room);
        self.id.truncate(cut);
        self.id = format!("{}~{suffix}", self.id);
        self.flags = self.flags.with(Flags::RENAMED, true);
        self.id_hash = hasher.id(&self.id);
        self.encode();
        Ok(())
    }

    fn body_key(&self) -> Option<u128> {
        self.body_hash.as_ref().map(body_hash)
    }
}

fn duplicate(why: Duplicate, known: Known) -> Fate {
    Fate::Duplicate { why, seq: known.kept.then_some(known.seq) }
}

impl Core {
    /// Keeps a batch, whole or not at all, as one group.
    pub(crate) fn receive(&mut self, batch: &[Prepared], now: Moment) -> Result<Decision, Refused> {
        self.check_open()?;
        let mut fates: Vec<Option<Fate>> = Vec::with_capacity(batch.len());
        for (index, event) in batch.iter().enumerate() {
            let identity = event.flags.contains(Flags::BODY_IS_IDENTITY);
            let fate = match self.state.judge_reception(event.id_hash, event.body_key(), identity) {
                Reception::New if self.state.type_room(&event.event.event_type) => None,
                Reception::New => return Err(Error::invalid("there are too many event types already: 65,536").into()),
                Reception::SameId(known) => Some(duplicate(Duplicate::SameId, known)),
                Reception::SameBody(known) => Some(duplicate(Duplicate::SameBody, known)),
                Reception::Conflict(_) => return Ok(Decision::Conflict { index }),
            };
            fates.push(fate);
        }
        Self::refuse_twins(batch)?;
        let new = || batch.iter().zip(&fates).filter(|(_, fate)| fate.is_none()).map(|(event, _)| event);
        let lengths: Vec<usize> = new().map(|event| event.encoded.len()).collect();
        if !lengths.is_empty() {
            self.make_room(&lengths, Urgency::Reception, now)?;
        }
        let kept = batch.iter().zip(fates).map(|(event, fate)| {
            fate.unwrap_or_else(|| {
                let (seq, _) = self.put_encoded(&Entry::Received(event.received()), &event.encoded, now);
                Fate::Kept { seq }
            })
        });
        Ok(Decision::Done(kept.collect()))
    }

    /// A batch that names an id twice contradicts itself.
    fn refuse_twins(batch: &[Prepared]) -> Result<(), Error> {
        if batch.len() < 2 {
            return Ok(());
        }
        let mut seen = std::collections::HashSet::with_capacity(batch.len());
        match batch.iter().find(|event| !seen.insert(event.id_hash)) {
            Some(twin) => {
                Err(Error::invalid(format!("the batch holds the id {:?} twice; nothing was appended", twin.id)))
            }
            None => Ok(()),
        }
    }
}
