//! A group that is being put together: the unit of writing, of evidence and of belief.

use crate::log::draft::Draft;
use crate::log::format::{Body, GROUP_HEAD_BYTES, GroupHead, RECORD_HEADER_BYTES, RecordHeader, record_span};

/// Records on their way into one group, encoded for the place where the group will stand.
#[derive(Debug)]
pub(crate) struct OpenGroup {
    /// Where its head stands.
    pub(crate) offset: u64,
    bytes: Vec<u8>,
    first_seq: u64,
    last_seq: u64,
    record_count: u32,
    digest: crc32fast::Hasher,
}

impl OpenGroup {
    /// An empty group at `offset`, in a buffer that is used again.
    pub(crate) fn new(offset: u64, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.resize(GROUP_HEAD_BYTES, 0);
        Self { offset, bytes: buffer, first_seq: 0, last_seq: 0, record_count: 0, digest: crc32fast::Hasher::new() }
    }

    /// Adds a record; returns the offset of its header and that header's checksum.
    pub(crate) fn push(&mut self, body: Body<'_>, seq: u64, salt: u64) -> (u64, u32) {
        let start = self.bytes.len();
        let offset = self.offset + start as u64;
        let mut header = [0; RECORD_HEADER_BYTES];
        let checksum = RecordHeader::encode(&mut header, body, seq, salt, offset);
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(body.head);
        self.bytes.extend_from_slice(body.data);
        self.bytes.resize(start + record_span(body.len()), 0);
        self.digest.update(&checksum.to_le_bytes());
        if self.record_count == 0 {
            self.first_seq = seq;
        }
        self.last_seq = seq;
        self.record_count += 1;
        (offset, checksum)
    }

    /// Adds the records of a draft, which begin with `seq`; returns the offset of the first header, and the checksums of all.
    pub(crate) fn append(&mut self, draft: &mut Draft, seq: u64, salt: u64) -> (u64, Vec<u8>) {
        let start = self.bytes.len();
        // An empty group is nothing but space for a head, with which a draft begins as well.
        if self.is_empty() {
            std::mem::swap(&mut self.bytes, draft.buffer());
        } else {
            self.bytes.extend_from_slice(draft.records());
        }
        let first_offset = self.offset + start as u64;
        let (mut next_seq, mut checksums) = (seq, Vec::with_capacity(draft.len() * size_of::<u32>()));
        let mut rest = self.bytes.get_mut(start..).unwrap_or_default();
        for (offset, length) in draft.places(first_offset) {
            let (record, behind) = std::mem::take(&mut rest).split_at_mut(record_span(length));
            rest = behind;
            let header = record.first_chunk_mut().expect("a record begins with its header");
            let checksum = RecordHeader::place(header, length, next_seq, salt, offset);
            checksums.extend_from_slice(&checksum.to_le_bytes());
            next_seq += 1;
        }
        assert!(rest.is_empty() && next_seq > seq, "a draft holds what it says, and something");
        self.digest.update(&checksums);
        if self.record_count == 0 {
            self.first_seq = seq;
        }
        self.last_seq = next_seq - 1;
        self.record_count += u32::try_from(draft.len()).expect("a group is within its limit");
        (first_offset, checksums)
    }

    /// Bytes of the group as it stands, head included.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    pub(crate) fn first_seq(&self) -> u64 {
        self.first_seq
    }

    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// The group's bytes, its head stamped with what is durable now.
    pub(crate) fn close(self, salt: u64, durable: u64, flags: u32) -> Vec<u8> {
        let Self { offset, mut bytes, first_seq, record_count, digest, .. } = self;
        let head = GroupHead {
            length: u32::try_from(bytes.len()).expect("a group is within its limit"),
            record_count,
            first_seq,
            durable,
            digest: digest.finalize(),
            flags,
        };
        if let Some(front) = bytes.first_chunk_mut::<GROUP_HEAD_BYTES>() {
            *front = head.encode(salt, offset);
        }
        bytes
    }
}
