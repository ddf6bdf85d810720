//! Backup: a store as it stands, or stood at a record, as a directory of its own.
//!
//! ```text
//! survey of one generation ──► audit of all of it ──► sync the tail ──► link or copy ──► close mark ──► MANIFEST, last
//! ```
//!
//! It takes no lock and asks nobody, so it is the same beside a service and without one. What was acknowledged before it began stands in
//! the files and is read; what it reads it has synced where it stands before it is copied, so the copy never knows more than the
//! original. Only whole groups are copied. A directory without a manifest is no backup: it was cut short.
//!
//! A file is linked only if nothing will ever be written to it or cut from it again: a sealed segment, or one that compaction wrote,
//! which ends where its last group ends. Whoever frees segments for reuse must therefore never write into one that has a second name.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::env::{Dir, File};
use crate::error::{Error, ErrorKind};
use crate::event::entry::{Entry, Mark};
use crate::event::hex;
use crate::log::fill::Fill;
use crate::log::format::{GROUP_HEAD_BYTES, record_span};
use crate::log::manifest::Manifest;
use crate::log::segment::{Name, Segment};
use crate::log::survey::{SegmentFile, count_written};
use crate::log::writer::Stage;
use crate::store::audit::{self, Item, Seen, Witness};
use crate::store::failure::{of_env, of_log};
use crate::store::forgotten::Forgotten;
use crate::store::open::is_held;
use crate::store::target::{check_target, fill_target};

/// Bytes that are copied together.
const CHUNK_BYTES: u64 = 256 * 1024;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Backup {
    /// What identifies the store, and its copy, in hexadecimal digits.
    pub store: String,
    /// The last record of the store that is in the copy.
    pub last_seq: u64,
    /// Whether nothing may be missing that counted at that record: false where events were forgotten and dropped since. The copy is
    /// sound all the same, and what is in it stands as it stood.
    pub complete: bool,
    /// Whether nothing can have been lost behind that record: false where the log does not end with a mark and no process has it in use, as
    /// after a crash. Then the copy does not end with a mark either.
    pub end_proven: bool,
    /// Segment files in the copy.
    pub segments: u64,
    /// Those among them that are second names of the store's own files, and take no space of their own.
    pub segments_linked: u64,
    /// Bytes that were copied.
    pub bytes_copied: u64,
}

/// Copies the store at `from`, in service or not, into `to`, which must not exist or be empty. With `to_seq` the copy ends with the
/// last group whose records are all at or before that; [`Backup::last_seq`] says which record that came to, and [`Backup::complete`]
/// whether all that counted there is still retained. Everything is read and verified on the way. The copy ends with a mark of its own if
/// the end of the log is proven, is durable once this returns, and opens as the same store: what was finished does not run again, what was
/// running then does.
///
/// # Errors
/// [`ErrorKind::NotFound`]: there is no store. [`ErrorKind::InvalidInput`]: `to` is not empty or lies in `from`, or `to_seq` lies before what
/// compaction has left as it was. [`ErrorKind::Corrupt`]: the store is damaged; salvage it. [`ErrorKind::Full`], [`ErrorKind::Io`],
/// [`ErrorKind::UnsupportedFormat`]. After an error `to` is as it was before, unless the error says
/// otherwise; even then its manifest goes first, and without one no store opens there.
pub fn backup(from: impl AsRef<Path>, to: impl AsRef<Path>, to_seq: Option<u64>) -> Result<Backup, Error> {
    let from = audit::enter(from.as_ref())?;
    check_target(&from, to.as_ref())?;
    copy_dir(&from, to.as_ref(), to_seq, false)
}

/// As [`backup`], of a directory that is open; whether whoever asks has it in use.
pub(super) fn backup_dir(dir: &Dir, to: &Path, in_use: bool) -> Result<Backup, Error> {
    check_target(dir, to)?;
    copy_dir(dir, to, None, in_use)
}

fn copy_dir(dir: &Dir, to: &Path, to_seq: Option<u64>, in_use: bool) -> Result<Backup, Error> {
    let in_use = in_use || is_held(dir);
    let (survey, manifest) = audit::survey(dir)?;
    let mut cutting = Cutting {
        cut: to_seq.unwrap_or(u64::MAX),
        found: BTreeMap::new(),
        closed_at: None,
        in_use,
        is_followed: false,
        forgotten: Forgotten::NOTHING,
    };
    let written = count_written(&survey.files).map_err(of_log)?;
    // After a failed sync the cache serves bytes that are lost (R3), and the copy would have them.
    for file in survey.files.iter().take(written).skip(written.saturating_sub(2)) {
        file.file.sync_all().and_then(|()| file.file.drop_cache()).map_err(of_env)?;
    }
    examine(&survey.files, &manifest, &mut cutting)?;
    let last = cutting.last_file(&manifest)?;
    let files: Vec<&SegmentFile> = survey.files.iter().filter(|file| file.name <= last).collect();
    // What was read may be newer than that. The copy never knows more than the original.
    for file in files.iter().rev().take(2) {
        file.file.sync_all().map_err(of_env)?;
    }
    fill_target(to, |to| cutting.copy(dir, to, &files, &manifest, last))
}

/// Reads everything; what is damaged is not copied as if it were sound.
fn examine(files: &[SegmentFile], manifest: &Manifest, cutting: &mut Cutting) -> Result<(), Error> {
    let mut path = None;
    let mut first = None;
    audit::examine(files, manifest, cutting, &mut |item| {
        match item {
            Item::Segment { path: of, .. } => path = Some(of),
            Item::Finding { offset, damage: true, text, .. } if first.is_none() => {
                let text = format!(
                    "the store is damaged, and damage is not backed up: {text}; `ledgerline verify` names every place, and `ledgerline \
                     salvage` keeps what verifies"
                );
                let error = Error::new(ErrorKind::Corrupt, text).at_offset(offset);
                first = Some(path.iter().fold(error, Error::at_path));
            }
            _ => {}
        }
        Ok(())
    })?;
    first.map_or(Ok(()), Err)
}

/// Where a group ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    offset: u64,
    last_seq: u64,
    /// How far the log had forgotten there.
    forgotten: Forgotten,
}

/// Where the groups of a file end.
#[derive(Debug, Default)]
struct Ends {
    /// The first group.
    first: Option<End>,
    /// The last group that is within the cut.
    last: Option<End>,
    /// What was read so far of the group that is being read.
    open: Option<End>,
}

impl Ends {
    /// The group that was being read has ended.
    fn close(&mut self, cut: u64) {
        let Some(open) = self.open.take() else { return };
        self.first.get_or_insert(open);
        if open.last_seq <= cut {
            self.last = Some(open);
        }
    }
}

/// Finds where the copy ends.
struct Cutting {
    /// With the last group whose records are all at or before this.
    cut: u64,
    found: BTreeMap<Name, Ends>,
    /// Seq of the last mark within the cut that closes the store.
    closed_at: Option<u64>,
    /// Whoever writes the log knows its end.
    in_use: bool,
    /// Whether the last record that was seen is a mark or stands behind the cut: then nothing was lost there.
    is_followed: bool,
    /// How far the log has forgotten.
    forgotten: Forgotten,
}

impl Cutting {
    /// The file that the copy ends with.
    fn last_file(&mut self, manifest: &Manifest) -> Result<Name, Error> {
        let cut = self.cut;
        self.found.values_mut().for_each(|ends| ends.close(cut));
        let least = manifest.first_after_dropped();
        let within = self.found.iter().rev().find(|(name, ends)| **name >= least && ends.last.is_some());
        if let Some((name, _)) = within {
            return Ok(*name);
        }
        let first = self.found.range(least..).find_map(|(_, ends)| ends.first);
        Err(match first {
            Some(first) => Error::invalid(format!(
                "the log cannot be cut at record {cut}: choose {} or a later one, for before that compaction has changed it or \
                 the first group has not ended",
                first.last_seq
            )),
            None if manifest.rewritten_count() > 0 => Error::new(
                ErrorKind::NotFound,
                "nothing was written to the store since it was salvaged or compacted; open it once, then back it up",
            ),
            None => {
                Error::new(ErrorKind::NotFound, "nothing was ever written to the store; there is nothing to back up")
            }
        })
    }

    /// Copies the files, up to where the copy ends.
    fn copy(
        &self,
        dir: &Dir,
        to: &Dir,
        files: &[&SegmentFile],
        manifest: &Manifest,
        last: Name,
    ) -> Result<Backup, Error> {
        let mut backup = Backup {
            store: hex::encode(&manifest.store_id),
            last_seq: 0,
            complete: true,
            end_proven: self.in_use || self.is_followed,
            segments: files.len() as u64,
            segments_linked: 0,
            bytes_copied: 0,
        };
        for file in files {
            let Some(end) = self.found.get(&file.name).and_then(|ends| ends.last) else { continue };
            if file.name != last && link(dir, file, end.offset, to)? {
                backup.segments_linked += 1;
                continue;
            }
            let copy = copy(file, end.offset, to, file.name == last)?;
            backup.bytes_copied += end.offset;
            if file.name == last {
                backup.last_seq = end.last_seq;
                backup.complete = end.forgotten.is_all_there(self.forgotten, manifest);
                if backup.end_proven && self.closed_at != Some(end.last_seq) {
                    mark(file, copy, end)?;
                }
            }
        }
        to.sync().map_err(of_env)?;
        manifest.write_aside(to).map_err(of_log)?.put().map_err(of_env)?;
        Ok(backup)
    }
}

impl Witness for Cutting {
    fn entry(&mut self, seen: &Seen<'_>) -> Result<Option<String>, Error> {
        let Seen { file, record, entry, .. } = *seen;
        let cut = self.cut;
        let ends = self.found.entry(file.name).or_default();
        // Records of one group follow one another; between groups stands a head.
        if ends.open.is_some_and(|open| record.offset == open.offset + GROUP_HEAD_BYTES as u64) {
            ends.close(cut);
        }
        let offset = record.offset + record_span(record.body.len()) as u64;
        self.forgotten.see(entry);
        ends.open = Some(End { offset, last_seq: record.seq, forgotten: self.forgotten });
        self.is_followed = record.seq > cut || matches!(entry, Entry::Mark(_));
        if matches!(entry, Entry::Mark(Mark::Close)) {
            self.closed_at = self.closed_at.max(Some(record.seq).filter(|seq| *seq <= cut));
        }
        Ok(None)
    }
}

/// Gives a file that will never change a second name; false if it may change, or cannot be linked.
fn link(dir: &Dir, file: &SegmentFile, end: u64, to: &Dir) -> Result<bool, Error> {
    let name = file.name.to_string();
    if file.file.len().map_err(of_env)? != end || dir.link(&name, to).is_err() {
        return Ok(false);
    }
    // It was linked by its name; what was read is an open file.
    let linked = to.open_file(&name, false).map_err(of_env)?;
    if Segment::read_header(&linked).map_err(of_log)? == file.header {
        return Ok(true);
    }
    to.remove(&name).map_err(of_env)?;
    Ok(false)
}

/// Copies a file up to `end`; its bytes are durable once this returns. The last one is never linked, so its copy may lie on the store's
/// own disk: it is synced in pieces, because whoever commits meanwhile would wait for all that piles up. Others are copied only where
/// they cannot be linked, as a rule onto another disk.
fn copy(file: &SegmentFile, end: u64, to: &Dir, is_last: bool) -> Result<File, Error> {
    let copy = to.create_file(&file.name.to_string()).map_err(of_env)?;
    let mut buffer = vec![0; usize::try_from(CHUNK_BYTES.min(end)).unwrap_or(usize::MAX)];
    let mut at = 0;
    while at < end {
        let left = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let chunk = buffer.get_mut(..left).unwrap_or_default();
        let read = file.file.read_at(chunk, at).map_err(of_env)?;
        if read < chunk.len() {
            let text = "the file became shorter while it was copied; try again";
            return Err(Error::new(ErrorKind::Io, text).at_path(file.file.path()));
        }
        copy.write_all_at(chunk, at).map_err(of_env)?;
        if is_last {
            copy.sync_data().map_err(of_env)?;
        }
        at += read as u64;
    }
    copy.sync_all().map_err(of_env)?;
    Ok(copy)
}

/// Ends the copy with a mark that attests to all before it.
fn mark(file: &SegmentFile, copy: File, end: End) -> Result<(), Error> {
    let header = file.any_header().map_err(of_log)?;
    let segment = Arc::new(Segment { header, file: copy, fill: Fill::over() });
    let mut stage = Stage::resume(Arc::clone(&segment), end.offset, end.last_seq + 1);
    let mut body = Vec::new();
    Entry::Mark(Mark::Close).encode(&mut body);
    stage.stage(body.as_slice().into());
    let group = stage.take(end.last_seq).expect("a record was just staged");
    segment.file.write_all_at(&group.bytes, group.offset).map_err(of_env)?;
    segment.file.sync_all().map_err(of_env)
}
