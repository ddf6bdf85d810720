//! A group that is being put together: the unit of writing, of evidence and of belief.

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
