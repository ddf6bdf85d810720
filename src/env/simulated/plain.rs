//! The bytes of a file of which nobody asks what a loss of power leaves: pages that the system gives when they are written to, and
//! takes back when the file is gone. An allocator would keep them.

use std::io;

use memmap2::MmapMut;

/// Least space of a file that has any.
const SPACE_MIN: u64 = 4 * 1024;

/// One file's bytes.
#[derive(Debug, Default)]
pub(super) struct Plain {
    length: u64,
    /// Nothing but zeros stands from here on, and their pages were not touched.
    used: usize,
    space: Option<MmapMut>,
}

impl Clone for Plain {
    fn clone(&self) -> Self {
        let mut copy = Self::default();
        let used = self.space.as_ref().map_or(&[][..], |space| &space[..self.used]);
        let copied = copy.extend(self.length).and_then(|()| copy.write(used, 0));
        copied.expect("whoever copies a disk has room for two");
        copy
    }
}

impl Plain {
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// Bytes whose pages were touched.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.used
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let left = self.length.saturating_sub(offset);
        let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.used);
        let known = count.min(self.used - start);
        if let Some(space) = &self.space {
            buffer[..known].copy_from_slice(&space[start..start + known]);
        }
        buffer[known..count].fill(0);
        count
    }

    /// # Errors
    /// As [`Plain::extend`].
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).expect("it is in memory");
        self.extend(offset + bytes.len() as u64)?;
        // What is zero already takes no page.
        let past = self.used.saturating_sub(start).min(bytes.len());
        let end = bytes[past..].iter().rposition(|byte| *byte != 0).map_or(past, |last| past + last + 1);
        if end == 0 {
            return Ok(());
        }
        self.used = self.used.max(start + end);
        let space = self.space.as_mut().expect("a file that was extended has space");
        space[start..start + end].copy_from_slice(&bytes[..end]);
        Ok(())
    }

    /// Makes the file at least so long.
    ///
    /// # Errors
    /// The system has no address space for it; the file is as it was. Whoever writes to a disk on which there is no room is told the same.
    pub(super) fn extend(&mut self, length: u64) -> io::Result<()> {
        let space = self.space.as_ref().map_or(0, |space| space.len() as u64);
        if length > space {
            let bytes = length.max(SPACE_MIN).max(space * 2);
            let no_room = |error| io::Error::new(io::ErrorKind::StorageFull, error);
            let bytes = usize::try_from(bytes).expect("it is in memory");
            let mut larger = MmapMut::map_anon(bytes).map_err(no_room)?;
            if let Some(old) = &self.space {
                larger[..self.used].copy_from_slice(&old[..self.used]);
            }
            self.space = Some(larger);
        }
        self.length = self.length.max(length);
        Ok(())
    }

    /// Makes the file just so long; what it loses reads as zeros if it grows again.
    ///
    /// # Errors
    /// As [`Plain::extend`].
    pub(super) fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.extend(length)?;
        let end = usize::try_from(length).expect("it is in memory").min(self.used);
        if let Some(space) = &mut self.space {
            space[end..self.used].fill(0);
        }
        (self.length, self.used) = (length, end);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(plain: &Plain) -> Vec<u8> {
        let mut bytes = vec![0xff; usize::try_from(plain.len()).unwrap()];
        assert_eq!(plain.read(&mut bytes, 0), bytes.len());
        bytes
    }

    #[test]
    fn it_reads_as_it_was_written_and_zeros_take_nothing() {
        let mut plain = Plain::default();
        let mut model = Vec::new();
        for round in 0..2_000_usize {
            let offset = round * 7_919 % 20_000;
            let byte = u8::try_from(round % 3).unwrap();
            let bytes = vec![byte; round * 31 % 5_000];
            if round % 11 == 0 {
                plain.truncate(offset as u64).unwrap();
                model.resize(offset, 0);
            } else {
                plain.write(&bytes, offset as u64).unwrap();
                model.resize(model.len().max(offset + bytes.len()), 0);
                model[offset..offset + bytes.len()].copy_from_slice(&bytes);
            }
            assert_eq!(shown(&plain), model, "round {round}");
        }
        assert_eq!(shown(&plain.clone()), model);

        let mut plain = Plain::default();
        plain.extend(8 << 20).unwrap();
        plain.write(&vec![0; 256 * 1024], 0).unwrap();
        assert_eq!((plain.len(), plain.memory()), (8 << 20, 0));
        plain.write(&[1, 0, 0], 100).unwrap();
        assert_eq!(plain.memory(), 101);
        assert_eq!(plain.read(&mut [0; 10], 9 << 20), 0, "past its end there is nothing");
    }
}
