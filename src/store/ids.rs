//! Ids for events whose sender gave none.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::event::Timestamp;
use crate::store::core::Salts;

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
