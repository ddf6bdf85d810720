//! Ids, keys and bodies as hashes.
//!
//! The indexes hold no text. An id is its SipHash-2-4 of 128 bits under the store's own id, so nobody outside can aim at a
//! collision, and an honest one is not to be expected before 2⁶⁴ events.

use siphasher::sip128::SipHasher24;

/// Hashes ids and keys under the id of one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IdHasher {
    store_id: [u8; 16],
}

impl IdHasher {
    pub(crate) const fn new(store_id: [u8; 16]) -> Self {
        Self { store_id }
    }

    /// The hash by which an id is known.
    pub(crate) fn id(self, id: &str) -> u128 {
        self.hash(id)
    }

    /// The hash by which an ordering key is known; never 0, which stands for none. Two keys that share one (once in 2⁶⁴) merely wait for
    /// each other.
    pub(crate) fn key(self, key: &str) -> u64 {
        low(self.hash(key)).max(1)
    }

    fn hash(self, text: &str) -> u128 {
        SipHasher24::new_with_key(&self.store_id).hash(text.as_bytes()).as_u128()
    }
}

/// What is kept of the SHA-256 of a body: its first 128 bits.
pub(crate) fn body(sha256: &[u8; 32]) -> u128 {
    let (first, _) = sha256.split_first_chunk::<16>().expect("32 is more than 16");
    u128::from_be_bytes(*first)
}

/// The low 64 bits, by which transitions name an id ([`crate::event::entry::Of`]).
pub(crate) const fn low(hash: u128) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
    let low = hash as u64;
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_reference_vectors_and_differ_between_stores() {
        // The vectors of SipHash-2-4-128: key 00..0f, input empty.
        let key = std::array::from_fn(|at| u8::try_from(at).unwrap());
        let empty = IdHasher::new(key).id("");
        assert_eq!(empty.to_le_bytes()[..4], [0xa3, 0x81, 0x7f, 0x04]);
        assert_ne!(IdHasher::new([1; 16]).id("a"), IdHasher::new([2; 16]).id("a"));
        assert_eq!(IdHasher::new(key).key("a"), low(IdHasher::new(key).id("a")));
    }

    #[test]
    fn a_body_is_kept_as_its_first_sixteen_bytes() {
        let mut sha256 = [0; 32];
        sha256[15] = 1;
        sha256[16] = 0xff;
        assert_eq!(body(&sha256), 1);
    }
}
