//! Where a scan takes its bytes from.

use crate::env::{Error, File, Map};

/// Bytes that are read ahead of what was asked for.
const WINDOW_BYTES: usize = 1024 * 1024;

/// The bytes of one segment.
pub(crate) enum Source<'a> {
    /// A sealed segment, mapped under the directory's lock.
    Mapped(Map),
    /// Any segment, through a window that moves forward.
    Windowed { file: &'a File, start: u64, window: Vec<u8> },
    /// Bytes that are in memory anyway.
    #[cfg(any(test, fuzzing))]
    Memory(&'a [u8]),
}

impl<'a> Source<'a> {
    pub(crate) fn windowed(file: &'a File) -> Self {
        Self::Windowed { file, start: 0, window: Vec::new() }
    }

    pub(crate) fn mapped(file: &File) -> Result<Self, Error> {
        Map::sealed(file).map(Self::Mapped)
    }

    /// The bytes from `offset`: `length` of them, or fewer where the file ends.
    ///
    /// The caller bounds `length`; the window never holds more than that and one megabyte.
    pub(crate) fn view(&mut self, offset: u64, length: usize) -> Result<&[u8], Error> {
        match self {
            Self::Mapped(map) => Ok(slice(map.bytes(), offset, length)),
            #[cfg(any(test, fuzzing))]
            Self::Memory(bytes) => Ok(slice(bytes, offset, length)),
            Self::Windowed { file, start, window } => {
                let held = offset.checked_sub(*start).is_some_and(|skip| skip + length as u64 <= window.len() as u64);
                if !held {
                    window.resize(length.max(WINDOW_BYTES), 0);
                    let read = file.read_at(window, offset)?;
                    window.truncate(read);
                    *start = offset;
                }
                Ok(slice(window, offset - *start, length))
            }
        }
    }
}

fn slice(bytes: &[u8], offset: u64, length: usize) -> &[u8] {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let end = start.saturating_add(length).min(bytes.len());
    bytes.get(start..end).unwrap_or_default()
}
