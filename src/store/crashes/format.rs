//! A second reader of the bytes, written from FORMAT.md alone, so that the code under test does not judge itself.
//!
//! It shares nothing with `log` and `event`: its own checksum, its own integers, its own idea of where a log ends. What it cannot
//! explain is an error, in words.

use std::collections::BTreeMap;

use super::entry::{Entry, decode};

const HEADER: usize = 64;
const HEAD: usize = 40;
const RECORD: usize = 24;

/// The files of a directory.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// What a directory holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Log {
    /// None where no store was created yet.
    pub(super) store_id: Option<[u8; 16]>,
    /// First and last seq of each range that the manifest calls dropped.
    pub(super) dropped: Vec<(u64, u64)>,
    /// Every record that counts, by seq.
    pub(super) entries: BTreeMap<u64, Entry>,
    /// The torn tail, if there is one: the name under which it is to be kept aside, and its bytes without trailing zeros.
    pub(super) tail: Option<(String, Vec<u8>)>,
}

impl Log {
    /// Seq of the last record.
    pub(super) fn last_seq(&self) -> u64 {
        let dropped = self.dropped.last().map_or(0, |range| range.1);
        self.entries.keys().next_back().copied().unwrap_or(0).max(dropped)
    }

    /// Where the last process start begins.
    #[cfg(test)]
    pub(super) fn last_epoch_from(&self) -> u64 {
        let epochs = self.entries.iter().filter_map(|(seq, entry)| match entry {
            Entry::Begun { epoch, .. } => Some((*epoch, *seq)),
            _ => None,
        });
        epochs.reduce(|last, next| if next.0 > last.0 { next } else { last }).map_or(0, |(_, seq)| seq)
    }

    pub(super) fn has_dropped(&self, seq: u64) -> bool {
        self.dropped.iter().any(|(first, last)| (*first..=*last).contains(&seq))
    }
}

/// One extent of the manifest.
struct Extent {
    ordinals: (u64, u64),
    /// 0: dropped. Otherwise a file stands for what is left.
    generation: u64,
    seqs: (u64, u64),
    count: u64,
    length: u64,
    digest: u32,
}

/// How a segment ended: ordinal, last seq, length, digest.
type End = (u64, u64, u64, u32);

/// Reads the log that the files hold.
pub(super) fn read(files: &Files) -> Result<Log, String> {
    let segments = segments(files);
    let Some(manifest) = files.get("MANIFEST") else {
        let written = segments.values().any(|bytes| bytes.get(HEADER..).is_some_and(|rest| !is_zero(rest)));
        return if written || segments.len() > 1 {
            Err("segments, but no manifest".into())
        } else {
            Ok(Log::default())
        };
    };
    let (store_id, extents) = manifest_of(manifest)?;
    let mut log = Log { store_id: Some(store_id), ..Log::default() };
    let (dropped, rewritten): (Vec<_>, Vec<_>) = extents.iter().partition(|extent| extent.generation == 0);
    log.dropped = dropped.iter().map(|extent| extent.seqs).collect();
    let mut end: Option<End> = None;
    let mut next = 1;
    let originals = || segments.iter().filter(|((_, generation), _)| *generation == 0);
    let last = originals().next_back().map_or(0, |((ordinal, _), _)| *ordinal);
    let last_written = originals().rfind(|(_, bytes)| bytes.get(HEADER..).is_some_and(|rest| !is_zero(rest)));
    let last_written = last_written.map_or(0, |((ordinal, _), _)| *ordinal);
    while next <= last {
        if let Some(gone) = dropped.iter().find(|extent| (extent.ordinals.0..=extent.ordinals.1).contains(&next)) {
            for extent in rewritten.iter().filter(|extent| (next..=gone.ordinals.1).contains(&extent.ordinals.0)) {
                read_rewritten(extent, &segments, &store_id, &mut log)?;
            }
            end = Some((gone.ordinals.1, gone.seqs.1, gone.length, gone.digest));
            next = gone.ordinals.1 + 1;
            continue;
        }
        let bytes = segments.get(&(next, 0)).ok_or_else(|| format!("segment {next} is missing"))?;
        let segment = Segment { ordinal: next, bytes, salt: salt_of(bytes, (next, 0), &store_id)?, is_sparse: false };
        if let Some(ended) = segment.read(end, &mut log, next == last_written)? {
            end = Some(ended);
        }
        next += 1;
    }
    if let Some((name, tail)) = &mut log.tail
        && let Some(kept) = files.get(name)
    {
        // It was cut before, when there may have been more of it.
        tail.clone_from(kept);
    }
    if extents.iter().any(|extent| extent.ordinals.1 >= last) {
        return Err("no segment follows those that were dropped".into());
    }
    Ok(log)
}

/// Segments by ordinal and generation.
type Segments<'f> = BTreeMap<(u64, u64), &'f Vec<u8>>;

fn segments(files: &Files) -> Segments<'_> {
    let key = |name: &str| {
        let stem = name.strip_suffix(".seg")?;
        let (ordinal, generation) = stem.split_once('-').unwrap_or((stem, "0"));
        if ordinal.len() < 10 { None } else { Some((ordinal.parse().ok()?, generation.parse().ok()?)) }
    };
    files.iter().filter_map(|(name, bytes)| Some((key(name)?, bytes))).collect()
}

/// Reads a file that stands for what is left of others: all of it, and exactly what the manifest says.
fn read_rewritten(extent: &Extent, segments: &Segments<'_>, store_id: &[u8; 16], log: &mut Log) -> Result<(), String> {
    let key = (extent.ordinals.0, extent.generation);
    let bytes = segments.get(&key).ok_or_else(|| format!("the rewritten segment {key:?} is missing"))?;
    let segment = Segment { ordinal: key.0, bytes, salt: salt_of(bytes, key, store_id)?, is_sparse: true };
    let mut found = Log::default();
    let end = segment.read(None, &mut found, false)?;
    let seqs = (found.entries.keys().next().copied().unwrap_or(0), found.last_seq());
    let is_told = (seqs, found.entries.len() as u64) == (extent.seqs, extent.count)
        && end.is_some_and(|end| (end.2, end.3) == (extent.length, extent.digest))
        && bytes.len() as u64 == extent.length;
    log.entries.append(&mut found.entries);
    if is_told { Ok(()) } else { Err(format!("the rewritten segment {key:?} is not what the manifest says")) }
}

fn manifest_of(bytes: &[u8]) -> Result<([u8; 16], Vec<Extent>), String> {
    let wrong = |what: &str| Err(format!("the manifest {what}"));
    let Some((covered, sum)) = bytes.split_last_chunk::<4>() else { return wrong("is too short") };
    if u32::from_le_bytes(*sum) != crc(&[covered]) || !covered.starts_with(b"ledgrman\x01\0\0\0") {
        return wrong("does not verify");
    }
    let count = u32_at(covered, 12) as usize;
    if covered.len() != 40 + 64 * count {
        return wrong("has another length than it says");
    }
    let extent = |at: &[u8]| {
        let (generation, flags) = (u64_at(at, 16), u32_at(at, 60));
        if flags != if generation == 0 { 1 } else { 2 } {
            return Err(format!("the manifest has an extent of generation {generation} with flags {flags}"));
        }
        Ok(Extent {
            ordinals: (u64_at(at, 0), u64_at(at, 8)),
            generation,
            seqs: (u64_at(at, 24), u64_at(at, 32)),
            count: u64_at(at, 40),
            length: u64_at(at, 48),
            digest: u32_at(at, 56),
        })
    };
    let extents = covered[40..].chunks(64).map(extent).collect::<Result<_, _>>()?;
    Ok((covered[16..32].try_into().expect("16 bytes"), extents))
}

fn salt_of(bytes: &[u8], key: (u64, u64), store_id: &[u8; 16]) -> Result<u64, String> {
    let header = bytes.get(..HEADER).ok_or_else(|| format!("segment {key:?} has no whole header"))?;
    let sound = header.starts_with(b"ledgrseg\x01\0")
        && u32_at(header, 60) == crc(&[&header[..60]])
        && header[16..32] == *store_id
        && (u64_at(header, 32), u64_at(header, 40)) == key;
    if sound { Ok(u64_at(header, 48)) } else { Err(format!("the header of segment {key:?} does not verify")) }
}

pub(super) struct Segment<'a> {
    ordinal: u64,
    bytes: &'a [u8],
    salt: u64,
    /// Whether seqs may have gaps, because compaction wrote it.
    is_sparse: bool,
}

struct Group {
    length: usize,
    first_seq: u64,
    bodies: Vec<(u64, Entry)>,
    /// Checksums of the headers of its records.
    sums: Vec<u8>,
}

impl<'f> Segment<'f> {
    /// The segment that was written last, with its name, if one was.
    pub(super) fn last_written(files: &'f Files) -> Option<(String, Self)> {
        let segments = segments(files);
        let written = |bytes: &Vec<u8>| bytes.get(HEADER..).is_some_and(|rest| !is_zero(rest));
        let (key, bytes) = segments.iter().rfind(|((_, generation), bytes)| *generation == 0 && written(bytes))?;
        let name = format!("{:010}.seg", key.0);
        Some((name, Self { ordinal: key.0, bytes, salt: u64_at(bytes, 48), is_sparse: false }))
    }

    /// Its groups, as their heads tell: offset, length, first seq, and what was durable before.
    pub(super) fn heads(&self) -> Vec<(usize, usize, u64, u64)> {
        let (mut at, mut heads) = (HEADER, Vec::new());
        while let Some((length, first_seq, durable, ..)) = self.head(at) {
            heads.push((at, length, first_seq, durable));
            at += length;
        }
        heads
    }

    /// Reads the segment into `log`; returns how it ends, if it holds records.
    fn read(&self, before: Option<End>, log: &mut Log, is_last: bool) -> Result<Option<End>, String> {
        let ordinal = self.ordinal;
        let (mut at, mut sums, mut last_seq) = (HEADER, Vec::new(), before.map_or(0, |end| end.1));
        let is_first = |at: usize| at == HEADER;
        while at < self.bytes.len() {
            let Some(group) = self.group(at)? else { break };
            if group.first_seq != last_seq + 1 && !(self.is_sparse && group.first_seq > last_seq) {
                return Err(format!("segment {ordinal}: seq {} after {last_seq}", group.first_seq));
            }
            for (index, (seq, entry)) in group.bodies.into_iter().enumerate() {
                last_seq = seq;
                if is_first(at) && index == 0 && !self.is_sparse {
                    check_begun(&entry, before, ordinal)?;
                } else if !self.is_sparse && matches!(entry, Entry::Begun { .. }) {
                    // R3: whoever opens a store writes into a new segment.
                    return Err(format!("segment {ordinal} is appended to by another process: record {seq}"));
                }
                log.entries.insert(seq, entry);
            }
            sums.extend(group.sums);
            at += group.length;
        }
        if self.bytes.get(at..).is_some_and(|rest| !is_zero(rest)) {
            let evidence =
                (HEADER..self.bytes.len()).step_by(8).filter_map(|at| self.head(at)).map(|head| head.2).max();
            if !is_last || evidence.is_some_and(|durable| durable > last_seq) {
                return Err(format!("segment {ordinal} is damaged at {at}, evidence {evidence:?}"));
            }
            let end = self.bytes.iter().rposition(|byte| *byte != 0).map_or(at, |last| last + 1);
            let name = format!("cut/{ordinal:010}-{at}-{:016x}.bytes", self.salt);
            log.tail = Some((name, self.bytes[at..end].to_vec()));
        }
        Ok((at > HEADER).then(|| (ordinal, last_seq, at as u64, crc(&[&sums]))))
    }

    /// The head at `at`, if it verifies: length, first seq, known durable, count, digest.
    fn head(&self, at: usize) -> Option<(usize, u64, u64, u32, u32)> {
        let head = self.bytes.get(at..at + HEAD).filter(|head| head.starts_with(b"LGRP"))?;
        let sum = crc(&[&self.salt.to_le_bytes(), &(at as u64).to_le_bytes(), &head[..4], &head[8..]]);
        (sum == u32_at(head, 4) && u32_at(head, 36) == u32::from(self.is_sparse))
            .then(|| (u32_at(head, 8) as usize, u64_at(head, 16), u64_at(head, 24), u32_at(head, 12), u32_at(head, 32)))
    }

    fn group(&self, at: usize) -> Result<Option<Group>, String> {
        let Some((length, first_seq, _, count, digest)) = self.head(at) else { return Ok(None) };
        let (mut bodies, mut sums, mut place) = (Vec::new(), Vec::new(), at + HEAD);
        let mut due = first_seq;
        for index in 0..u64::from(count) {
            let Some((seq, body, sum)) = self.record(place) else { return Ok(None) };
            if seq != due && !(self.is_sparse && index > 0 && seq > due) {
                return Err(format!("record {seq} stands where {due} is due"));
            }
            due = seq + 1;
            bodies.push((seq, decode(body).map_err(|what| format!("record {seq}: {what}"))?));
            sums.extend_from_slice(&sum.to_le_bytes());
            place = (place + RECORD + body.len()).next_multiple_of(8);
        }
        let sound = place == at + length && crc(&[&sums]) == digest;
        Ok(sound.then_some(Group { length, first_seq, bodies, sums }))
    }

    fn record(&self, at: usize) -> Option<(u64, &[u8], u32)> {
        let header = self.bytes.get(at..at + RECORD)?;
        let sum = crc(&[&self.salt.to_le_bytes(), &(at as u64).to_le_bytes(), &header[4..]]);
        let body = self.bytes.get(at + RECORD..at + RECORD + u32_at(header, 8) as usize)?;
        let sound = sum == u32_at(header, 0) && u32_at(header, 12) == 0 && crc(&[body]) == u32_at(header, 4);
        sound.then(|| (u64_at(header, 16), body, sum))
    }
}

fn check_begun(entry: &Entry, before: Option<End>, ordinal: u64) -> Result<(), String> {
    match entry {
        Entry::Begun { predecessor, .. } if *predecessor == before => Ok(()),
        other => Err(format!("segment {ordinal} begins with {other:?}, but before it ended {before:?}")),
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    // Whole pieces are compared at once, which matters where nothing is optimised.
    const ZEROS: [u8; 512] = [0; 512];
    bytes.chunks(ZEROS.len()).all(|piece| *piece == ZEROS[..piece.len()])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// CRC-32 (ISO-HDLC) over all parts.
fn crc(parts: &[&[u8]]) -> u32 {
    const TABLE: [u32; 256] = table();
    let bytes = parts.iter().flat_map(|part| part.iter());
    !bytes.fold(!0, |sum: u32, byte| TABLE[((sum ^ u32::from(*byte)) & 0xff) as usize] ^ (sum >> 8))
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index: u32 = 0;
    while index < 256 {
        let (mut value, mut bit) = (index, 0);
        while bit < 8 {
            value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        table[index as usize] = value;
        index += 1;
    }
    table
}

#[test]
fn the_checksum_is_the_one_of_zip_and_ethernet() {
    assert_eq!(crc(&[b"1234", b"56789"]), 0xcbf4_3926);
}
