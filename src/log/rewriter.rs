//! Writing a segment in place of others: the records that compaction keeps of them, under their old seqs.
//!
//! The file has a name of its own, so nothing is touched that the manifest names: cut anywhere, it is debris. Once
//! [`Rewriter::finish`] returns, the file and its name are durable, and the manifest may name it.

use std::sync::Arc;

use crate::env::Dir;
use crate::log::Error;
use crate::log::fill::Fill;
use crate::log::format::{SEGMENT_HEADER_BYTES, SegmentHeader, record_span};
use crate::log::group::OpenGroup;
use crate::log::manifest::Extent;
use crate::log::segment::{NotCreated, Segment};
use crate::mutants::mutant;

/// A group is written once it has grown to this: whoever commits meanwhile waits for the disk to be done with it.
const GROUP_BYTES_AIM: usize = 256 * 1024;

/// A segment that is being written.
pub(crate) struct Rewriter {
    segment: Segment,
    group: OpenGroup,
    digest: crc32fast::Hasher,
    first_seq: Option<u64>,
    last_seq: u64,
    record_count: u64,
}

impl Rewriter {
    /// Begins the file of a segment whose generation is above 0. One that a crash left behind under this name is removed.
    pub(crate) fn create(dir: &Dir, header: SegmentHeader) -> Result<Self, Error> {
        assert!(header.is_sparse(), "only segments of a later generation have gaps");
        let name = header.name().to_string();
        dir.remove(&name)?;
        let file = dir.create_file(&name)?;
        file.write_all_at(&header.encode(), 0)?;
        Ok(Self {
            segment: Segment { header, file, fill: Fill::over() },
            group: OpenGroup::new(SEGMENT_HEADER_BYTES, Vec::new()),
            digest: crc32fast::Hasher::new(),
            first_seq: None,
            last_seq: 0,
            record_count: 0,
        })
    }

    /// Adds a record; seqs ascend. Returns the offset of its header.
    pub(crate) fn put(&mut self, seq: u64, body: &[u8]) -> Result<u64, Error> {
        assert!(self.first_seq.is_none() || seq > self.last_seq, "seqs ascend");
        if !self.group.is_empty() && self.group.len() + record_span(body.len()) > GROUP_BYTES_AIM {
            self.write()?;
        }
        let (offset, checksum) = self.group.push(body.into(), seq, self.segment.salt());
        self.digest.update(&checksum.to_le_bytes());
        self.first_seq.get_or_insert(seq);
        self.last_seq = seq;
        self.record_count += 1;
        Ok(offset)
    }

    /// Whether nothing was put.
    pub(crate) fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Where the next group begins once this one is written.
    fn end(&self) -> u64 {
        self.group.offset + if self.group.is_empty() { 0 } else { self.group.len() as u64 }
    }

    fn write(&mut self) -> Result<(), Error> {
        let (offset, end) = (self.group.offset, self.end());
        let group = std::mem::replace(&mut self.group, OpenGroup::new(end, Vec::new()));
        // All of it was durable long ago, under its old address; as everywhere, a group attests to what stands before it.
        let durable = group.first_seq().saturating_sub(1);
        let header = &self.segment.header;
        let bytes = group.close(header.salt, durable, header.group_flags());
        self.segment.file.write_all_at(&bytes, offset)?;
        self.group = OpenGroup::new(end, bytes);
        if mutant!("rewritten-unsynced") {
            return Ok(());
        }
        // Bytes that pile up would go to the disk all at once, and whoever commits then would wait for them.
        Ok(self.segment.file.sync_data()?)
    }

    /// Makes the segment durable; says what it holds in place of the segments from its own ordinal to `last_ordinal`.
    pub(crate) fn finish(mut self, dir: &Dir, last_ordinal: u64) -> Result<(Arc<Segment>, Extent), NotCreated> {
        if !self.group.is_empty() {
            self.write().map_err(NotCreated::Nothing)?;
        }
        if !mutant!("rewritten-unsynced") {
            self.segment.file.sync_all().map_err(|error| NotCreated::Nothing(error.into()))?;
        }
        if !mutant!("rewritten-name-unsynced") {
            dir.sync().map_err(|error| NotCreated::Unknown(error.into()))?;
        }
        let extent = Extent {
            first_ordinal: self.segment.ordinal(),
            last_ordinal,
            generation: self.segment.header.generation,
            first_seq: self.first_seq.unwrap_or(0),
            last_seq: self.last_seq,
            record_count: self.record_count,
            length: self.end(),
            digest: self.digest.finalize(),
        };
        Ok((Arc::new(self.segment), extent))
    }

    /// Gives up; what was written is removed.
    pub(crate) fn abandon(self, dir: &Dir) -> Result<(), Error> {
        Ok(dir.remove(&self.segment.header.name().to_string())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::scan::{Record, Seqs, Standing, Visitor, scan};
    use crate::log::source::Source;

    struct Found(Vec<(u64, u64, Vec<u8>)>);

    impl Visitor for Found {
        type Stop = ();

        fn record(&mut self, record: &Record<'_>, standing: Standing) -> Result<(), ()> {
            assert_eq!(standing, Standing::Sound);
            self.0.push((record.seq, record.offset, record.body.to_vec()));
            Ok(())
        }
    }

    #[test]
    fn what_was_rewritten_is_what_the_extent_says_and_what_a_scan_finds() {
        let directory = tempfile::tempdir().unwrap();
        let dir = Dir::open(directory.path()).unwrap();
        let header = SegmentHeader { store_id: [7; 16], ordinal: 3, generation: 2, salt: 9 };
        // A crash left one behind.
        drop(Rewriter::create(&dir, header).unwrap());
        let mut rewriter = Rewriter::create(&dir, header).unwrap();
        assert!(rewriter.is_empty());
        let records = [(10, vec![1; 100]), (17, vec![2; 3 * 1024 * 1024]), (18, vec![3; 5]), (40, vec![4; 70_000])];
        let put = records.map(|(seq, body)| (seq, rewriter.put(seq, &body).unwrap(), body));
        let (segment, extent) = rewriter.finish(&dir, 5).unwrap();
        assert_eq!((extent.first_ordinal, extent.last_ordinal, extent.generation), (3, 5, 2));
        let mut found = Found(Vec::new());
        let bytes = segment.file.len().unwrap();
        let scan = scan(&mut Source::windowed(&segment.file), bytes, &header, Seqs::Any, &mut found).unwrap();
        assert_eq!(scan.finding, None);
        assert_eq!(found.0, put);
        assert!(extent.is_what_was_found(&scan), "{extent:?} {scan:?}");
        for wrong in [
            Extent { record_count: 3, ..extent },
            Extent { digest: 1, ..extent },
            Extent { length: 64, ..extent },
            Extent { first_seq: 9, ..extent },
            Extent { last_seq: 41, ..extent },
        ] {
            assert!(!wrong.is_what_was_found(&scan));
        }
    }
}
