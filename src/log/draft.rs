//! Records that have no place yet, laid out as a group holds them: an empty group adopts them as they lie.

use crate::log::format::{GROUP_HEAD_BYTES, RECORD_HEADER_BYTES, RecordHeader, record_span};

/// Several records, encoded but for what only their place tells: seqs, and the checksums of their headers.
#[derive(Debug)]
pub(crate) struct Draft {
    /// Space for the head of a group, then the records.
    bytes: Vec<u8>,
    /// Length of each body.
    lengths: Vec<usize>,
}

impl Draft {
    /// An empty draft, in a buffer that is used again.
    pub(crate) fn new(buffer: Vec<u8>) -> Self {
        let mut draft = Self { bytes: buffer, lengths: Vec::new() };
        draft.clear();
        draft
    }

    /// Takes all records out.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(GROUP_HEAD_BYTES, 0);
        self.lengths.clear();
    }

    /// Makes room for records that are to come: how many, and the bytes of their bodies in all.
    pub(crate) fn reserve(&mut self, count: usize, body_bytes: usize) {
        self.lengths.reserve(count);
        self.bytes.reserve(body_bytes + count * record_span(0));
    }

    /// Adds a record, whose body `encode` appends to what it is given.
    pub(crate) fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.resize(start + RECORD_HEADER_BYTES, 0);
        encode(&mut self.bytes);
        let record = self.bytes.get_mut(start..).unwrap_or_default();
        let (header, body) = record.split_first_chunk_mut().expect("a record begins with its header");
        let length = body.len();
        RecordHeader::begin(header, (&*body).into());
        self.bytes.resize(start + record_span(length), 0);
        self.lengths.push(length);
    }

    /// Leaves out those records, by their number, that are not to be kept.
    pub(crate) fn retain(&mut self, mut is_kept: impl FnMut(usize) -> bool) {
        let (mut from, mut to, mut number) = (GROUP_HEAD_BYTES, GROUP_HEAD_BYTES, 0);
        let bytes = &mut self.bytes;
        self.lengths.retain(|length| {
            let (span, keeps) = (record_span(*length), is_kept(number));
            if keeps {
                bytes.copy_within(from..from + span, to);
                to += span;
            }
            from += span;
            number += 1;
            keeps
        });
        bytes.truncate(to);
    }

    /// How many records it holds.
    pub(crate) fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Lengths of the bodies.
    pub(crate) fn lengths(&self) -> impl Iterator<Item = usize> + Clone {
        self.lengths.iter().copied()
    }

    /// Where each record stands, and the length of its body, if the first stands at `offset`.
    pub(crate) fn places(&self, offset: u64) -> impl Iterator<Item = (u64, usize)> {
        self.lengths().scan(offset, |next, length| {
            let offset = *next;
            *next += record_span(length) as u64;
            Some((offset, length))
        })
    }

    /// The records, one behind the other.
    pub(super) fn records(&self) -> &[u8] {
        self.bytes.get(GROUP_HEAD_BYTES..).unwrap_or_default()
    }

    /// What holds the records, to be put in another's place.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// What held the records, or took the place of what did: to be used again.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::group::OpenGroup;

    const BODIES: [&[u8]; 4] =
        [b"four", b"a longer one", b"16 bytes in all.", b"and a last one that ends where it likes"];

    fn draft(bodies: &[&[u8]]) -> Draft {
        let mut draft = Draft::new(b"what was here before".to_vec());
        for body in bodies {
            draft.push(|buffer| buffer.extend_from_slice(body));
        }
        draft
    }

    /// The bytes of a group at 64 that begins with some of the bodies, one by one, and goes on with a draft.
    fn group(first: &[&[u8]], draft: &mut Draft) -> (Vec<u8>, Vec<u64>) {
        let mut group = OpenGroup::new(64, Vec::new());
        let mut offsets = Vec::new();
        for (seq, body) in (5..).zip(first) {
            offsets.push(group.push((*body).into(), seq, 9).0);
        }
        let (offset, _) = group.append(draft, 5 + first.len() as u64, 9);
        offsets.extend(draft.places(offset).map(|(offset, _)| offset));
        assert_eq!(group.last_seq(), 4 + offsets.len() as u64);
        (group.close(9, 4, 0), offsets)
    }

    fn one_by_one(bodies: &[&[u8]]) -> (Vec<u8>, Vec<u64>) {
        let mut group = OpenGroup::new(64, Vec::new());
        let offsets = (5..).zip(bodies).map(|(seq, body)| group.push((*body).into(), seq, 9).0).collect();
        (group.close(9, 4, 0), offsets)
    }

    #[test]
    fn a_group_of_drafted_records_is_the_group_of_those_records() {
        for drafted in 1..=BODIES.len() {
            let (first, last) = BODIES.split_at(BODIES.len() - drafted);
            assert_eq!(group(first, &mut draft(last)), one_by_one(&BODIES), "the last {drafted}");
        }
    }

    #[test]
    fn a_record_that_is_left_out_leaves_no_gap() {
        for left_out in 0..1_u32 << BODIES.len() {
            let is_kept = |number: usize| left_out & 1 << number == 0;
            let kept: Vec<&[u8]> =
                (0..).zip(BODIES).filter(|(number, _)| is_kept(*number)).map(|(_, body)| body).collect();
            let mut draft = draft(&BODIES);
            draft.retain(is_kept);
            assert!(draft.lengths().eq(kept.iter().map(|body| body.len())), "{left_out:b}");
            if !kept.is_empty() {
                assert_eq!(group(&[], &mut draft), one_by_one(&kept), "{left_out:b}");
            }
        }
    }
}
