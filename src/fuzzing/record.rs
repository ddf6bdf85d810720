//! The body of a record, as an entry.

use crate::event::codec;
use crate::event::entry::Entry;

/// A length is believed before what it counts is there, but for no more than this: what a decoder may reserve.
const LENGTH_BYTES_MAX: usize = 9;

/// As the body of a record. What decodes keeps its meaning: encoded, and decoded again, it is the same entry; by both decoders.
pub fn record(bytes: &[u8]) {
    let decoded = codec::decode(bytes);
    assert_eq!(decoded, codec::decode_slowly(bytes), "the quick decoder and bincode agree");
    let entry = match decoded {
        Ok(entry) => entry,
        Err(refusal) => {
            assert!(refusal.to_string().len() < 500, "a refusal is a sentence: {refusal}");
            return;
        }
    };
    let mut encoded = Vec::new();
    entry.encode(&mut encoded);
    assert_eq!(codec::decode(&encoded).as_ref(), Ok(&entry), "an entry keeps its meaning");
    // A version that is no longer written has no counters for what came later; numbers may have been written longer than needed.
    assert!(encoded.len() <= bytes.len() + 2 * LENGTH_BYTES_MAX, "encoding makes nothing longer");
    assert!(parts(&entry) <= bytes.len(), "everything in an entry took a byte");
    if let Entry::Received(received) = &entry {
        let mut head = Vec::new();
        received.encode_head(&mut head);
        head.extend_from_slice(received.body);
        assert_eq!(head, encoded, "a head is all of a reception but its body");
    }
}

/// How many things the entry holds that a length announced.
fn parts(entry: &Entry<'_>) -> usize {
    match entry {
        Entry::State(summary) => summary.pauses.len() + summary.cursors.len(),
        Entry::Received(received) => received.headers.len() + received.body.len(),
        Entry::Remembered(remembered) => remembered.ids.len(),
        _ => 0,
    }
}
