//! The bytes of one file: what the cache shows, what is durable, and what lies between.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::choices::Choices;
use super::plain::Plain;
use super::sector::{Content, SECTOR_BYTES, Sector, bytes_of, content, torn};

const SECTOR: u64 = SECTOR_BYTES as u64;

/// One file's bytes. Sectors that are absent hold zeros.
#[derive(Debug, Clone, Default)]
pub(super) struct Bytes {
    length: u64,
    durable_length: u64,
    /// Lengths it had since the last sync, oldest first.
    lengths: Vec<u64>,
    durable: BTreeMap<u64, Arc<Sector>>,
    /// What was written since the last sync, oldest first.
    unsynced: BTreeMap<u64, Vec<Content>>,
    /// What a failed sync lost and the cache still shows.
    ghosts: BTreeMap<u64, Content>,
    /// Holds all of it where everything is durable at once: nobody asks what a loss of power leaves, and nothing is kept twice.
    plain: Option<Plain>,
}

impl Bytes {
    /// A file that has no bytes; of a `settled` one everything is durable at once.
    pub(super) fn new(settled: bool) -> Self {
        Self { plain: settled.then(Plain::default), ..Self::default() }
    }

    /// The memory that its sectors take.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        if let Some(plain) = &self.plain {
            return plain.memory();
        }
        let unsynced: usize = self.unsynced.values().map(Vec::len).sum();
        (self.durable.len() + self.ghosts.len() + unsynced) * size_of::<Sector>()
    }

    pub(super) fn len(&self) -> u64 {
        self.plain.as_ref().map_or(self.length, Plain::len)
    }

    fn sector(&self, index: u64) -> Option<&Arc<Sector>> {
        let unsynced = self.unsynced.get(&index).and_then(|versions| versions.last());
        match unsynced.or_else(|| self.ghosts.get(&index)) {
            Some(shown) => shown.as_ref(),
            None => self.durable.get(&index),
        }
    }

    /// Reads what the cache shows from `offset` on; returns how many bytes there were.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        if let Some(plain) = &self.plain {
            return plain.read(buffer, offset);
        }
        let left = self.length.saturating_sub(offset);
        let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut done = 0;
        while done < count {
            let (index, skip) = place(offset + done as u64);
            let step = (SECTOR_BYTES - skip).min(count - done);
            match self.sector(index) {
                Some(sector) => buffer[done..done + step].copy_from_slice(&sector.bytes[skip..skip + step]),
                None => buffer[done..done + step].fill(0),
            }
            done += step;
        }
        count
    }

    /// Writes to the cache. What changes nothing is no version.
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Some(plain) = &mut self.plain {
            return plain.write(bytes, offset);
        }
        let mut done = 0;
        while done < bytes.len() {
            let (index, skip) = place(offset + done as u64);
            let step = (SECTOR_BYTES - skip).min(bytes.len() - done);
            let before = bytes_of(self.sector(index));
            let mut after = before;
            after[skip..skip + step].copy_from_slice(&bytes[done..done + step]);
            if after != before {
                self.put(index, content(&after));
            }
            done += step;
        }
        self.extend(offset + bytes.len() as u64)
    }

    fn put(&mut self, index: u64, content: Content) {
        self.ghosts.remove(&index);
        self.unsynced.entry(index).or_default().push(content);
    }

    /// Makes the file at least so long.
    pub(super) fn extend(&mut self, length: u64) -> io::Result<()> {
        if let Some(plain) = &mut self.plain {
            return plain.extend(length);
        }
        if length > self.length {
            self.length = length;
            self.lengths.push(length);
        }
        Ok(())
    }

    /// Makes the file just so long; what it loses reads as zeros if it grows again.
    pub(super) fn truncate(&mut self, length: u64) -> io::Result<()> {
        if let Some(plain) = &mut self.plain {
            return plain.truncate(length);
        }
        if length >= self.length {
            return self.extend(length);
        }
        for (index, kept) in self.sectors_past(length) {
            let mut bytes = bytes_of(self.sector(index));
            bytes[kept..].fill(0);
            self.put(index, content(&bytes));
        }
        self.length = length;
        self.lengths.push(length);
        Ok(())
    }

    /// Sectors that hold anything past `length`, and how much of each lies before it.
    fn sectors_past(&self, length: u64) -> Vec<(u64, usize)> {
        let (boundary, kept) = place(length);
        let mut indexes: Vec<u64> = self.unsynced.range(boundary..).map(|(index, _)| *index).collect();
        indexes.extend(self.ghosts.range(boundary..).map(|(index, _)| *index));
        indexes.extend(self.durable.range(boundary..).map(|(index, _)| *index));
        indexes.sort_unstable();
        indexes.dedup();
        let kept_of = |index| if index == boundary { kept } else { 0 };
        let holds = |&(index, kept): &(u64, usize)| bytes_of(self.sector(index))[kept..].iter().any(|byte| *byte != 0);
        indexes.into_iter().map(|index| (index, kept_of(index))).filter(holds).collect()
    }

    /// Makes everything durable.
    pub(super) fn sync(&mut self) {
        for (index, versions) in std::mem::take(&mut self.unsynced) {
            self.harden(index, versions.into_iter().next_back().flatten());
        }
        self.durable_length = self.length;
        self.lengths.clear();
    }

    fn harden(&mut self, index: u64, content: Content) {
        match content {
            Some(sector) => self.durable.insert(index, sector),
            None => self.durable.remove(&index),
        };
    }

    /// What a failed sync does: some of it is durable, the rest is lost, and all of it counts as clean.
    pub(super) fn fail_sync(&mut self, choices: &mut Choices) {
        for (index, mut versions) in std::mem::take(&mut self.unsynced) {
            let shown = versions.pop().flatten();
            if choices.pick(2) == 1 {
                self.harden(index, shown);
            } else {
                self.ghosts.insert(index, shown);
            }
        }
    }

    /// Forgets clean pages: what was lost is seen to be lost.
    pub(super) fn drop_cache(&mut self) {
        self.ghosts.clear();
    }

    /// What is left of the file after a loss of power.
    pub(super) fn after_crash(&self, choices: &mut Choices) -> Self {
        let mut durable = self.durable.clone();
        let mut left = Self::default();
        let tearable = self.unsynced.len();
        let torn_one = choices.tear(tearable);
        for (place, (index, versions)) in self.unsynced.iter().enumerate() {
            let old = durable.get(index);
            let last = versions.last().and_then(Option::as_ref);
            let tear = if torn_one == Some(place) { torn(old, last) } else { None };
            let chosen = tear.unwrap_or_else(|| match choices.pick(1 + versions.len()).checked_sub(1) {
                None => old.cloned(),
                Some(version) => versions[version].clone(),
            });
            match chosen {
                Some(sector) => durable.insert(*index, sector),
                None => durable.remove(index),
            };
        }
        left.durable = durable;
        left.length = match choices.pick(1 + self.lengths.len()).checked_sub(1) {
            None => self.durable_length,
            Some(length) => self.lengths[length],
        };
        left.durable_length = left.length;
        // What lies past the end is gone for good.
        for (index, kept) in left.sectors_past(left.length) {
            let mut bytes = bytes_of(left.durable.get(&index));
            bytes[kept..].fill(0);
            left.harden(index, content(&bytes));
        }
        left
    }

    /// Whether everything is durable.
    pub(super) fn is_settled(&self) -> bool {
        self.unsynced.is_empty() && self.lengths.is_empty()
    }

    /// Tells what the cache shows to `tell`, as numbers that differ where the bytes do.
    pub(super) fn fingerprint(&self, tell: &mut impl FnMut(u64)) {
        tell(self.length);
        let mut indexes: Vec<u64> =
            self.durable.keys().chain(self.unsynced.keys()).chain(self.ghosts.keys()).copied().collect();
        indexes.sort_unstable();
        indexes.dedup();
        for index in indexes {
            if let Some(sector) = self.sector(index) {
                tell(index);
                tell(sector.hash());
            }
        }
    }
}

/// The sector of an offset, and the offset within it.
fn place(offset: u64) -> (u64, usize) {
    (offset / SECTOR, usize::try_from(offset % SECTOR).expect("a sector is short"))
}
