//! Receptions with their texts as hashes.

use crate::event::entry::{Flags, Received};
use crate::state::hash::{self, IdHasher};

/// What the state takes from a reception, beside the name of its type. It borrows nothing, and making it needs no state: so another
/// thread than the one that applies it may do the hashing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gist {
    pub(crate) id: u128,
    pub(crate) body: Option<u128>,
    pub(crate) key: Option<u64>,
    pub(crate) received_at: i64,
    pub(crate) not_before: Option<i64>,
    pub(crate) priority: u8,
    pub(crate) max_retries: u32,
    pub(crate) flags: Flags,
}

impl IdHasher {
    /// The gist of a reception in this store.
    pub(crate) fn gist(self, received: &Received<'_>) -> Gist {
        Gist {
            id: self.id(received.id),
            body: received.body_hash.as_ref().map(hash::body),
            key: received.key.map(|key| self.key(key)),
            received_at: received.received_at,
            not_before: received.not_before,
            priority: received.priority,
            max_retries: received.max_retries,
            flags: received.flags,
        }
    }
}
