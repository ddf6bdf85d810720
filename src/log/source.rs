//! Where a scan takes its bytes from.

use crate::env::{Error, File, Map};

/// Bytes that are read ahead of what was asked for, and read at once where there are pauses between.
pub(crate) const WINDOW_BYTES: usize = 1024 * 1024;
/// The same, where little is expected to be read.
const NARROW_BYTES: usize = 64 * 1024;

/// What is mapped is populated so far ahead of what was asked for.
const POPULATED_BYTES: usize = 512 * 1024;

/// Asked before each read, with its offset, whether to go on; it may take its time.
type Pace<'a> = Box<dyn FnMut(u64) -> bool + Send + 'a>;

/// Told of each piece that cannot be read: its offset, where it ends, and why.
type Holes<'a> = Box<dyn FnMut(u64, u64, Error) + Send + 'a>;

/// What is read alone where reading more fails: what disks and page caches fail in.
const PIECE_BYTES: u64 = 4096;

/// The bytes of one segment.
pub(crate) enum Source<'a> {
    /// A sealed segment, mapped under the directory's lock; the system has mapped its pages up to `populated`.
    Mapped { file: &'a File, map: Map, populated: usize },
    /// Any segment, through a window that moves forward.
    Windowed {
        file: &'a File,
        start: u64,
        window: Vec<u8>,
        ahead: usize,
        pace: Option<Pace<'a>>,
        holes: Option<Holes<'a>>,
    },
    /// Bytes that are in memory anyway.
    #[cfg(any(test, fuzzing))]
    Memory(&'a [u8]),
}

impl<'a> Source<'a> {
    pub(crate) fn windowed(file: &'a File) -> Self {
        Self::Windowed { file, start: 0, window: Vec::new(), ahead: WINDOW_BYTES, pace: None, holes: None }
    }

    /// As [`Source::windowed`], for whoever reads a few groups and then comes again.
    pub(crate) fn narrow(file: &'a File) -> Self {
        Self::Windowed { file, start: 0, window: Vec::new(), ahead: NARROW_BYTES, pace: None, holes: None }
    }

    /// Through a window that is filled by reads of at most [`WINDOW_BYTES`], before each of which `pace` is asked. After a no the bytes
    /// cannot be read.
    pub(crate) fn paced(file: &'a File, pace: impl FnMut(u64) -> bool + Send + 'a) -> Self {
        let pace: Option<Pace<'a>> = Some(Box::new(pace));
        Self::Windowed { file, start: 0, window: Vec::new(), ahead: WINDOW_BYTES, pace, holes: None }
    }

    /// As [`Source::windowed`], but what cannot be read counts as zeros, in pieces, and `holes` is told of each.
    pub(crate) fn around_holes(file: &'a File, holes: impl FnMut(u64, u64, Error) + Send + 'a) -> Self {
        let holes: Option<Holes<'a>> = Some(Box::new(holes));
        Self::Windowed { file, start: 0, window: Vec::new(), ahead: WINDOW_BYTES, pace: None, holes }
    }

    /// As memory, for as long as all of it can be read: from a bad place on through a window, which says so.
    pub(crate) fn mapped(file: &'a File) -> Result<Self, Error> {
        Map::sealed(file).map(|map| Self::Mapped { file, map, populated: 0 })
    }

    /// The bytes from `offset`: `length` of them, or fewer where the file ends.
    ///
    /// The caller bounds `length`; the window never holds more than that and one megabyte.
    pub(crate) fn view(&mut self, offset: u64, length: usize) -> Result<&[u8], Error> {
        if let Self::Mapped { file, map, populated } = self {
            let end = usize::try_from(offset).unwrap_or(usize::MAX).saturating_add(length).min(map.bytes().len());
            if end > *populated {
                let until = end.saturating_add(POPULATED_BYTES).min(map.bytes().len());
                match map.populate(*populated..until) {
                    Ok(()) => *populated = until,
                    // Or a system that cannot say.
                    Err(_) => *self = Self::windowed(file),
                }
            }
        }
        match self {
            Self::Mapped { map, .. } => Ok(slice(map.bytes(), offset, length)),
            #[cfg(any(test, fuzzing))]
            Self::Memory(bytes) => Ok(slice(bytes, offset, length)),
            Self::Windowed { file, start, window, ahead, pace, holes } => {
                let held = offset.checked_sub(*start).is_some_and(|skip| skip + length as u64 <= window.len() as u64);
                if !held {
                    // Short files are many, and a window has to be cleared before it is filled.
                    let left = usize::try_from(file.len()?.saturating_sub(offset)).unwrap_or(usize::MAX);
                    window.resize(length.max(*ahead).min(left), 0);
                    let read = match (pace, holes) {
                        (Some(pace), _) => read_paced(file, window, offset, pace)?,
                        (None, Some(holes)) => read_around(file, window, offset, holes),
                        (None, None) => file.read_at(window, offset)?,
                    };
                    window.truncate(read);
                    *start = offset;
                }
                Ok(slice(window, offset - *start, length))
            }
        }
    }
}

fn read_paced(file: &File, window: &mut [u8], offset: u64, pace: &mut Pace<'_>) -> Result<usize, Error> {
    let mut read = 0;
    for part in window.chunks_mut(WINDOW_BYTES) {
        let at = offset + read as u64;
        if !pace(at) {
            return Err(Error::new("go on reading", file.path(), std::io::ErrorKind::Interrupted));
        }
        let count = file.read_at(part, at)?;
        read += count;
        if count < part.len() {
            break;
        }
    }
    Ok(read)
}

fn read_around(file: &File, window: &mut [u8], offset: u64, holes: &mut Holes<'_>) -> usize {
    if let Ok(read) = file.read_at(window, offset) {
        return read;
    }
    let (mut rest, mut at) = (&mut *window, offset);
    while !rest.is_empty() {
        let piece = usize::try_from(PIECE_BYTES - at % PIECE_BYTES).unwrap_or(usize::MAX).min(rest.len());
        let (part, further) = rest.split_at_mut(piece);
        let end = at + piece as u64;
        if let Err(error) = file.read_at(part, at) {
            part.fill(0);
            holes(at, end, error);
        }
        (rest, at) = (further, end);
    }
    window.len()
}

fn slice(bytes: &[u8], offset: u64, length: usize) -> &[u8] {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let end = start.saturating_add(length).min(bytes.len());
    bytes.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Dir;

    #[test]
    fn a_mapped_page_that_cannot_be_read_is_an_answer_and_no_signal() {
        // As a bad sector is: the file has no such page any more, and to touch it would end the process.
        let place = tempfile::tempdir().unwrap();
        let file = Dir::open(place.path()).unwrap().create_file("a").unwrap();
        file.write_all_at(&vec![7; 3 * WINDOW_BYTES], 0).unwrap();
        let mut source = Source::mapped(&file).unwrap();
        assert_eq!(source.view(5, 3).unwrap(), [7; 3]);
        file.truncate(WINDOW_BYTES as u64 + 10).unwrap();
        assert_eq!(source.view(2 * WINDOW_BYTES as u64, 10).unwrap(), [0; 0]);
        assert_eq!(source.view(WINDOW_BYTES as u64, 20).unwrap(), [7; 10]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_cannot_be_read_counts_as_zeros_and_is_told_in_pieces() {
        // Nothing is mapped at the beginning of a process's memory, so reading there fails.
        let file = Dir::open(std::path::Path::new("/proc/self")).unwrap().open_file("mem", false).unwrap();
        let (mut window, mut told) = (vec![7; 5_000], Vec::new());
        let mut holes: Holes<'_> = Box::new(|from, to, _| told.push((from, to)));
        assert_eq!(read_around(&file, &mut window, 4_000, &mut holes), 5_000);
        drop(holes);
        assert_eq!((window, told), (vec![0; 5_000], vec![(4_000, 4_096), (4_096, 8_192), (8_192, 9_000)]));
    }
}
