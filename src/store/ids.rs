//! Ids for events whose sender gave none.

use std::sync::atomic::{AtomicU64, Ordering};

use siphasher::sip128::SipHasher24;

use crate::event::Timestamp;

/// Makes UUIDs of version 7, so that they sort by time.
pub(crate) struct Ids {
    seed: [u8; 16],
    count: AtomicU64,
}

impl Ids {
    pub(crate) fn new(seed: [u8; 16]) -> Self {
        Self { seed, count: AtomicU64::new(0) }
    }

    pub(super) fn next(&self, now: Timestamp) -> String {
        // Unpredictable to others, and never the same twice: a keyed hash of a count.
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let hash = SipHasher24::new_with_key(&self.seed).hash(&count.to_le_bytes()).as_bytes();
        let random = hash.first_chunk().expect("ten bytes are fewer than sixteen");
        let millis = u64::try_from(now.unix_millis()).unwrap_or(0);
        let id = uuid::Builder::from_unix_timestamp_millis(millis, random).into_uuid();
        id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()).to_owned()
    }
}
