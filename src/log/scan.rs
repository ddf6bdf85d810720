//! The one scan over a segment. Opening, dump and audit are visitors of it.
//!
//! The scan reports, its caller decides ([`super::verdict`]). It visits sound groups in order; at the first bad place it goes on to
//! the end of the file, because what lies beyond may prove that the bad place was once durable (R8):
//!
//! ```text
//! │ header │ group │ group │ bad … │ group: durable 17 │ zeros … │
//!                          ^ end    visited as Beyond: evidence = 17
//! ```
//!
//! It believes a length only after the checksum that covers it, and bounds it before anything is read (R7, R14).

use crate::log::format::{
    ALIGNMENT, GROUP_BYTES_MAX, GROUP_HEAD_BYTES, GROUP_MAGIC, GROUP_SPARSE, GroupHead, RECORD_BYTES_MAX,
    RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader, aligned, is_sealed_with_some_salt,
    record_span,
};
use crate::log::source::Source;
use crate::mutants::mutant;

/// No store reaches this seq; beyond it a number is a mistake, and no arithmetic is done on it.
pub(crate) const SEQ_MAX: u64 = 1 << 63;

/// Bytes that the search beyond a bad place looks at together.
const SEARCH_BYTES: usize = 256 * 1024;

/// What is wrong at a place in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Defect {
    #[error("no group head verifies here")]
    Head,
    #[error("unknown group or record flags {flags:#x}: a newer version of ledgerline wrote it")]
    Flags { flags: u32 },
    #[error("a group of {length} bytes does not fit the {left} bytes that are left")]
    Length { length: u32, left: u64 },
    #[error("the header of the group's record number {index} does not verify")]
    RecordHeader { index: u32 },
    #[error("the body of record {seq} does not verify")]
    RecordBody { seq: u64 },
    #[error("the group's records are not those that its head counts")]
    Records,
    #[error("record {found} stands where {expected} is due")]
    Seq { expected: u64, found: u64 },
    #[error("the group here was written under another header than the segment has")]
    Salt,
}

/// A defect and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) offset: u64,
    pub(crate) defect: Defect,
}

/// One record as a scan shows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) seq: u64,
    /// Offset of its header.
    pub(crate) offset: u64,
    pub(crate) body: &'a [u8],
}

/// How a record that is shown stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Its group and all before it verify.
    Sound,
    /// Its group verifies, but a bad place lies before it.
    Beyond,
    /// Its own checksums hold; its group's do not, or not all of them.
    Torn,
    /// Its header holds; its body does not.
    Damaged,
}

/// What looks at the records of a segment.
pub(crate) trait Visitor {
    /// Why a visitor stops a scan.
    type Stop;

    /// One record. Only [`Standing::Sound`] ones belong to the log for certain.
    fn record(&mut self, record: &Record<'_>, standing: Standing) -> Result<(), Self::Stop>;
}

/// What a scan found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Where the sound groups end.
    pub(crate) end: u64,
    /// First seq of the sound groups.
    pub(crate) first_seq: Option<u64>,
    /// Last seq of the sound groups.
    pub(crate) last_seq: Option<u64>,
    pub(crate) record_count: u64,
    /// Sound groups.
    pub(crate) group_count: u64,
    /// Checksum over the header checksums of the sound records.
    pub(crate) digest: u32,
    /// The highest seq that any verifying head, before or beyond a bad place, knew durable.
    pub(crate) evidence: u64,
    /// What stands at `end`, unless the file ends there or holds only zeros from there on.
    pub(crate) finding: Option<Finding>,
    /// The first group beyond it that was sealed for its place, but with another salt than the header has.
    pub(crate) stray: Option<Finding>,
    /// The first group beyond it that a newer version wrote.
    pub(crate) unknown: Option<Finding>,
    /// Length of the file.
    pub(crate) file_bytes: u64,
}

/// Why a scan ended early.
#[derive(Debug)]
pub(crate) enum Stopped<S> {
    /// The bytes could not be read.
    Unreadable(crate::env::Error),
    /// The visitor had enough.
    ByVisitor(S),
}

impl<S> From<crate::env::Error> for Stopped<S> {
    fn from(error: crate::env::Error) -> Self {
        Self::Unreadable(error)
    }
}

/// Where a segment's seqs may begin. They go on without a gap, except in a segment that compaction wrote: there they ascend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seqs {
    /// With this one.
    From(u64),
    /// With whatever the first group says.
    Any,
}

/// What a group must be to verify in its segment.
#[derive(Debug, Clone, Copy)]
struct Ground {
    salt: u64,
    /// The flags of all groups.
    flags: u32,
    file_bytes: u64,
}

impl Ground {
    fn of(header: &SegmentHeader, file_bytes: u64) -> Self {
        Self { salt: header.salt, flags: header.group_flags(), file_bytes }
    }

    const fn is_sparse(self) -> bool {
        self.flags & GROUP_SPARSE != 0
    }

    /// Whether `found` may stand where `expected` is the next seq.
    const fn follows(self, expected: u64, found: u64) -> bool {
        if self.is_sparse() { found >= expected } else { found == expected }
    }
}

/// Scans a segment of `file_bytes` bytes whose header verified as `header`.
pub(crate) fn scan<V: Visitor>(
    source: &mut Source<'_>,
    file_bytes: u64,
    header: &SegmentHeader,
    seqs: Seqs,
    visitor: &mut V,
) -> Result<Scan, Stopped<V::Stop>> {
    let mut scan = Scan { end: SEGMENT_HEADER_BYTES.min(file_bytes), file_bytes, ..Scan::default() };
    let mut digest = crc32fast::Hasher::new();
    let mut checksums = Vec::new();
    let mut expected = match seqs {
        Seqs::From(seq) => Some(seq),
        Seqs::Any => None,
    };
    let ground = Ground::of(header, file_bytes);
    while scan.end < file_bytes {
        let group = match read_group(source, ground, scan.end, expected, &mut checksums)? {
            Ok(group) => group,
            Err(finding) => {
                scan.finding = Some(finding);
                break;
            }
        };
        group.show(Standing::Sound, visitor)?;
        let head = group.head;
        digest.update(&checksums);
        scan.first_seq.get_or_insert(head.first_seq);
        scan.last_seq = Some(group.last_seq);
        scan.record_count += u64::from(head.record_count);
        scan.group_count += 1;
        scan.evidence = scan.evidence.max(head.durable);
        expected = Some(group.last_seq + 1);
        scan.end += u64::from(head.length);
    }
    scan.digest = digest.finalize();
    if scan.finding.is_some() {
        look_beyond(source, ground, &mut scan, visitor)?;
    }
    Ok(scan)
}

/// Where a sound group ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupEnd {
    /// Where the next one would begin.
    pub(crate) offset: u64,
    pub(crate) last_seq: u64,
}

/// Visits the one group at `offset`, whatever seq it begins with; or says what is wrong there.
pub(crate) fn visit_group<V: Visitor>(
    source: &mut Source<'_>,
    file_bytes: u64,
    header: &SegmentHeader,
    offset: u64,
    visitor: &mut V,
) -> Result<Result<GroupEnd, Finding>, Stopped<V::Stop>> {
    let group = match read_group(source, Ground::of(header, file_bytes), offset, None, &mut Vec::new())? {
        Ok(group) => group,
        Err(finding) => return Ok(Err(finding)),
    };
    group.show(Standing::Sound, visitor)?;
    Ok(Ok(GroupEnd { offset: offset + u64::from(group.head.length), last_seq: group.last_seq }))
}

/// Whether a segment whose first group begins with `first_seq` begins where it should.
pub(crate) fn begins_as(header: &SegmentHeader, first_seq: u64, seqs: Seqs) -> bool {
    match seqs {
        Seqs::From(expected) => Ground::of(header, 0).follows(expected, first_seq),
        Seqs::Any => true,
    }
}

/// A group whose records all verify.
struct Group<'a> {
    head: GroupHead,
    last_seq: u64,
    offset: u64,
    /// The whole group, head included.
    bytes: &'a [u8],
}

impl<'a> Group<'a> {
    fn show<V: Visitor>(&self, standing: Standing, visitor: &mut V) -> Result<(), Stopped<V::Stop>> {
        self.records().try_for_each(|record| visitor.record(&record, standing)).map_err(Stopped::ByVisitor)
    }

    /// Its records, whose headers were verified and are not verified again.
    fn records(&self) -> impl Iterator<Item = Record<'a>> + use<'a> {
        let (bytes, base) = (self.bytes, self.offset);
        let mut at = GROUP_HEAD_BYTES;
        std::iter::from_fn(move || {
            let header = RecordHeader::unverified(bytes.get(at..)?.first_chunk()?);
            let body = bytes.get(at + RECORD_HEADER_BYTES..at + RECORD_HEADER_BYTES + header.length as usize)?;
            let record = Record { seq: header.seq, offset: base + at as u64, body };
            at += aligned(RECORD_HEADER_BYTES + body.len());
            Some(record)
        })
    }
}

/// Whether a whole group stands at `offset` now. A reader beside a writer may have met a place before it was written; before it calls
/// that damage, it looks again.
pub(crate) fn is_sound_at(
    file: &crate::env::File,
    header: &SegmentHeader,
    offset: u64,
) -> Result<bool, crate::env::Error> {
    let mut source = Source::windowed(file);
    Ok(read_group(&mut source, Ground::of(header, file.len()?), offset, None, &mut Vec::new())?.is_ok())
}

/// The group at `offset`, if it is whole, or what is wrong with it. Leaves the checksums of its headers, which the digests are made
/// of: four bytes for each record.
fn read_group<'s>(
    source: &'s mut Source<'_>,
    ground: Ground,
    offset: u64,
    expected: Option<u64>,
    checksums: &mut Vec<u8>,
) -> Result<Result<Group<'s>, Finding>, crate::env::Error> {
    let here = |defect| Finding { offset, defect };
    let Some(head) = GroupHead::decode(source.view(offset, GROUP_HEAD_BYTES)?, ground.salt, offset) else {
        return Ok(Err(here(Defect::Head)));
    };
    if let Err(defect) = check_head(&head, ground, offset, expected) {
        return Ok(Err(here(defect)));
    }
    let bytes = source.view(offset, head.length as usize)?;
    Ok(verify_records(bytes, &head, ground, offset, checksums).map(|last_seq| Group { head, last_seq, offset, bytes }))
}

fn check_head(head: &GroupHead, ground: Ground, offset: u64, expected: Option<u64>) -> Result<(), Defect> {
    let GroupHead { length, first_seq, flags, record_count, .. } = *head;
    let left = ground.file_bytes.saturating_sub(offset);
    if flags != ground.flags && !mutant!("unknown-flags-ignored") {
        return Err(Defect::Flags { flags });
    }
    let is_bounded = length <= GROUP_BYTES_MAX || mutant!("group-limit-ignored");
    let fits = is_bounded && (u64::from(length) <= left || mutant!("length-past-the-end"));
    if !fits || (length as usize) < GROUP_HEAD_BYTES || !(length as usize).is_multiple_of(ALIGNMENT) {
        return Err(Defect::Length { length, left });
    }
    if record_count == 0 || first_seq > SEQ_MAX - u64::from(record_count) {
        return Err(Defect::Records);
    }
    match expected {
        Some(expected) if !ground.follows(expected, first_seq) && !mutant!("gap-between-groups-ignored") => {
            Err(Defect::Seq { expected, found: first_seq })
        }
        _ => Ok(()),
    }
}

/// Verifies every record of a group, and that they are just those which its head counts; returns the last one's seq.
fn verify_records(
    bytes: &[u8],
    head: &GroupHead,
    ground: Ground,
    offset: u64,
    checksums: &mut Vec<u8>,
) -> Result<u64, Finding> {
    let mut at = GROUP_HEAD_BYTES;
    let mut last_seq = head.first_seq;
    checksums.clear();
    for index in 0..head.record_count {
        let place = offset + at as u64;
        let finding = |defect| Finding { offset: place, defect };
        let header = bytes.get(at..).and_then(|rest| RecordHeader::decode(rest, ground.salt, place));
        let header = header.ok_or(finding(Defect::RecordHeader { index }))?;
        let expected = if index == 0 { head.first_seq } else { last_seq + 1 };
        if header.flags != 0 {
            return Err(finding(Defect::Flags { flags: header.flags }));
        }
        let follows = if index == 0 { header.seq == expected } else { ground.follows(expected, header.seq) };
        if !follows || header.seq >= SEQ_MAX {
            return Err(finding(Defect::Seq { expected, found: header.seq }));
        }
        last_seq = header.seq;
        let body = bytes.get(at + RECORD_HEADER_BYTES..at + RECORD_HEADER_BYTES + header.length as usize);
        let body = body.ok_or(finding(Defect::Records))?;
        if crc32fast::hash(body) != header.body_checksum && !mutant!("body-believed-unverified") {
            return Err(finding(Defect::RecordBody { seq: header.seq }));
        }
        checksums.extend_from_slice(&header.checksum.to_le_bytes());
        let end = at + RECORD_HEADER_BYTES + body.len();
        at = aligned(end);
        // No checksum covers the padding, so nothing may hide there.
        let is_hidden = bytes.get(end..at).is_none_or(|padding| padding.iter().any(|byte| *byte != 0));
        if is_hidden && !mutant!("padding-ignored") {
            return Err(finding(Defect::RecordBody { seq: header.seq }));
        }
    }
    let is_digest = crc32fast::hash(checksums) == head.digest || mutant!("group-digest-unchecked");
    if at != bytes.len() || !is_digest {
        return Err(Finding { offset, defect: Defect::Records });
    }
    Ok(last_seq)
}

/// Goes on from a bad place to the end of the file: gathers evidence, shows what still verifies, and takes the finding back if all
/// that follows is zeros, which is space that was prepared and never used.
fn look_beyond<V: Visitor>(
    source: &mut Source<'_>,
    ground: Ground,
    scan: &mut Scan,
    visitor: &mut V,
) -> Result<(), Stopped<V::Stop>> {
    let mut only_zeros = true;
    // Each byte of a file that nobody forged lies in one group and in one record.
    let mut unsound_bytes_left = 2 * scan.file_bytes;
    let mut at = scan.end;
    while at < scan.file_bytes {
        // No more than there is, or a window would be filled anew for each candidate at the end.
        let left = usize::try_from(scan.file_bytes - at).unwrap_or(usize::MAX);
        let bytes = source.view(at, SEARCH_BYTES.min(left))?;
        if bytes.is_empty() {
            break;
        }
        if mutant!("zeros-end-the-log") && bytes.iter().take(ALIGNMENT).all(|byte| *byte == 0) {
            break;
        }
        if bytes.iter().all(|byte| *byte == 0) {
            at += bytes.len().next_multiple_of(ALIGNMENT) as u64;
            continue;
        }
        only_zeros = false;
        let (skip, candidate) = find_candidate(bytes, ground.salt, at);
        at += skip as u64;
        at += match candidate {
            None => 0,
            Some(_) if mutant!("search-ends-at-the-bad-place") => ALIGNMENT as u64,
            Some(Candidate::Group) => look_at_group(source, ground, at, scan, &mut unsound_bytes_left, visitor)?,
            Some(Candidate::Record(header)) => {
                look_at_record(source, &header, at, scan.file_bytes, &mut unsound_bytes_left, visitor)?
            }
        };
    }
    if only_zeros {
        scan.finding = None;
    }
    Ok(())
}

/// What the search beyond a bad place stops at.
enum Candidate {
    /// Bytes that might be a group's head.
    Group,
    /// The header of a record verifies here; its group's head was passed over, or did not verify.
    Record(RecordHeader),
}

/// The first candidate within `bytes`, which begin at the aligned place `at`, and how many bytes before it hold none. Where a header
/// might go on behind them, the last of them are left for the next search.
fn find_candidate(bytes: &[u8], salt: u64, at: u64) -> (usize, Option<Candidate>) {
    let mut index = 0;
    while let Some(rest) = bytes.get(index..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(&GROUP_MAGIC) {
            return (index, Some(Candidate::Group));
        }
        if rest.len() < RECORD_HEADER_BYTES && bytes.len() == SEARCH_BYTES {
            return (index, None);
        }
        let plausible = rest.first_chunk().map(RecordHeader::unverified).filter(|header| {
            header.flags == 0 && header.length <= RECORD_BYTES_MAX && (1..SEQ_MAX).contains(&header.seq)
        });
        if let Some(header) = plausible.and_then(|_| RecordHeader::decode(rest, salt, at + index as u64)) {
            return (index, Some(Candidate::Record(header)));
        }
        index += ALIGNMENT;
    }
    (index, None)
}

/// Looks at what might be a group beyond the bad place; returns how many bytes are dealt with. What does not verify is read whole until it
/// was as many bytes as there may be: more there are only where somebody made groups and records overlap, to keep a reader busy (R14).
fn look_at_group<V: Visitor>(
    source: &mut Source<'_>,
    ground: Ground,
    offset: u64,
    scan: &mut Scan,
    unsound_bytes_left: &mut u64,
    visitor: &mut V,
) -> Result<u64, Stopped<V::Stop>> {
    let bytes = source.view(offset, GROUP_HEAD_BYTES + RECORD_HEADER_BYTES)?;
    let Some(head) = GroupHead::decode(bytes, ground.salt, offset) else {
        // No crash leaves that: a segment has its header before anything is written behind it.
        if scan.stray.is_none() && is_sealed_with_some_salt(bytes, offset) && !mutant!("stray-header-believed") {
            scan.stray = Some(Finding { offset, defect: Defect::Salt });
        }
        return Ok(ALIGNMENT as u64);
    };
    // A head that verifies was written by us, whatever became of its records: its evidence counts.
    scan.evidence = scan.evidence.max(head.durable);
    let readable = u64::from(head.length).min(scan.file_bytes - offset);
    let left = unsound_bytes_left.checked_sub(readable);
    if let Some(left) = left {
        match read_group(source, ground, offset, None, &mut Vec::new())? {
            Ok(group) => {
                group.show(Standing::Beyond, visitor)?;
                return Ok(group.bytes.len() as u64);
            }
            Err(finding) if matches!(finding.defect, Defect::Flags { .. }) => {
                scan.unknown = scan.unknown.or(Some(finding));
            }
            Err(_) => {}
        }
        *unsound_bytes_left = left;
    }
    // Its records are looked for one by one.
    Ok(GROUP_HEAD_BYTES as u64)
}

/// Shows a record whose header verifies and whose group does not; returns how many bytes are dealt with. Of one that is damaged that is
/// its header: evidence may stand behind it.
fn look_at_record<V: Visitor>(
    source: &mut Source<'_>,
    header: &RecordHeader,
    offset: u64,
    file_bytes: u64,
    unsound_bytes_left: &mut u64,
    visitor: &mut V,
) -> Result<u64, Stopped<V::Stop>> {
    let readable = u64::from(header.length).min(file_bytes - offset);
    let Some(left) = unsound_bytes_left.checked_sub(readable) else {
        return Ok(RECORD_HEADER_BYTES as u64);
    };
    let bytes = source.view(offset, RECORD_HEADER_BYTES + header.length as usize)?;
    let body = bytes.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + header.length as usize);
    let sound = body.is_some_and(|body| crc32fast::hash(body) == header.body_checksum);
    let torn = if mutant!("torn-group-believed") { Standing::Sound } else { Standing::Torn };
    let standing = if sound { torn } else { Standing::Damaged };
    let record = Record { seq: header.seq, offset, body: body.unwrap_or_default() };
    visitor.record(&record, standing).map_err(Stopped::ByVisitor)?;
    if sound {
        return Ok(record_span(header.length as usize) as u64);
    }
    *unsound_bytes_left = left;
    Ok(RECORD_HEADER_BYTES as u64)
}
