//! Zeros written ahead of the records of a segment, so that later commits land in blocks that were written before.
//!
//! ```text
//! │ header │ group │ group │ zeros, written and synced │ reserved, never written │
//!                          ^ used                      ^ filled                  ^ bytes
//!            the writer writes below `filled`      │ the filling writes above
//! ```
//!
//! A sync into written blocks costs the disk two thirds of one into blocks that are merely reserved. Two write into one file, and
//! never in the same place: the writer goes ahead while its groups end below `filled`, for which it looks at one number; once it
//! catches up it ends the filling for good, waiting for at most one step of it, and goes on in the reserved space.
//!
//! The filling has a file handle of its own. The system tells each handle once that bytes were lost: through the writer's, the
//! filling would take for itself what the writer's next sync has to learn (R2).
//!
//! Deliberately absent: threads, pauses, and what a failure means; that is its caller's business.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::env::{Error, File};
use crate::sync::{AtomicU64, Mutex};

/// Written with the header: what an opening writes must not catch up with a filling that has not begun.
pub(crate) const HEAD_START_BYTES: u64 = 256 * 1024;
/// One step in a segment that nobody writes to.
const STEP_BYTES: u64 = 1024 * 1024;
/// One step beside a writer, whose writes wait for it.
const STEP_BESIDE_BYTES: u64 = 256 * 1024;
/// How far ahead of a writer the filling keeps: so many times what was written, because a store that takes little has little filled.
const AHEAD_TIMES: u64 = 8;
/// A writer that is nearer than this is not paused for.
const NEAR_BYTES: u64 = 4 * 1024 * 1024;

/// What `filled` says once nothing is filled any more.
const OVER: u64 = u64::MAX;

/// How far one segment is filled, and whether that goes on.
#[derive(Debug)]
pub(crate) struct Fill {
    /// Nothing below this is written by the filling any more.
    filled: AtomicU64,
    /// Where the segment ends.
    bytes: u64,
    /// Locked while a step is taken; none once the filling is over.
    filler: Mutex<Option<Filler>>,
}

/// What the filling writes with.
#[derive(Debug)]
struct Filler {
    file: File,
    /// As long as the longest step so far.
    zeros: Vec<u8>,
}

/// The next step of a filling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) bytes: u64,
    /// Whether the writer is far enough behind that a pause does no harm.
    pub(crate) paced: bool,
}

/// What went wrong in a step.
#[derive(Debug)]
pub(crate) enum Failed {
    /// Zeros were not written; what the writer wrote is not concerned.
    Write(Error),
    /// Bytes of the file may be lost, the writer's among them.
    Sync(Error),
}

impl Fill {
    /// A segment that is not filled: it is small, or was written before this process began.
    pub(crate) fn over() -> Self {
        Self { filled: AtomicU64::new(OVER), bytes: 0, filler: Mutex::new(None) }
    }

    /// A segment of `bytes` bytes that is written up to `filled`; `file` is a handle that nobody else uses.
    pub(crate) fn begin(file: File, filled: u64, bytes: u64) -> Self {
        Self { filled: AtomicU64::new(filled), bytes, filler: Mutex::new(Some(Filler { file, zeros: Vec::new() })) }
    }

    /// Before the writer writes up to `end`: sees to it that the filling writes nowhere below.
    pub(crate) fn make_way(&self, end: u64) {
        if end > self.filled.load(Ordering::Acquire) {
            self.stop();
        }
    }

    /// Ends the filling for good, after the step that is being taken.
    pub(crate) fn stop(&self) {
        if self.filled.load(Ordering::Acquire) != OVER {
            self.end(&mut self.filler.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn end(&self, filler: &mut Option<Filler>) {
        drop(filler.take());
        self.filled.store(OVER, Ordering::Release);
    }

    /// The next step while nobody writes to the segment.
    pub(crate) fn due(&self) -> Option<Step> {
        self.up_to(self.bytes, STEP_BYTES).map(|bytes| Step { bytes, paced: true })
    }

    /// The next step while records end at `used`: a store that takes little has little filled.
    pub(crate) fn due_beside(&self, used: u64) -> Option<Step> {
        let ahead = used.saturating_mul(AHEAD_TIMES);
        let bytes = self.up_to(used + ahead, STEP_BESIDE_BYTES)?;
        let paced = self.filled.load(Ordering::Acquire) >= used + NEAR_BYTES;
        Some(Step { bytes, paced })
    }

    /// The bytes of a step, unless `target` is filled.
    fn up_to(&self, target: u64, step_bytes: u64) -> Option<u64> {
        let filled = self.filled.load(Ordering::Acquire);
        (filled < target.min(self.bytes)).then(|| step_bytes.min(self.bytes - filled))
    }

    /// Takes one step: writes zeros and syncs them. After a failure the filling is over.
    pub(crate) fn step(&self, step: Step) -> Result<(), Failed> {
        let mut filler = self.filler.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever ended the filling meanwhile writes here now.
        let Some(Filler { file, zeros }) = filler.as_mut() else { return Ok(()) };
        let start = self.filled.load(Ordering::Acquire);
        let length = usize::try_from(step.bytes).unwrap_or(0);
        if zeros.len() < length {
            *zeros = vec![0; length];
        }
        let written = file.write_all_at(zeros.get(..length).unwrap_or_default(), start).map_err(Failed::Write);
        let taken = written.and_then(|()| file.sync_data().map_err(Failed::Sync));
        let end = start + step.bytes;
        if taken.is_err() || end >= self.bytes {
            self.end(&mut filler);
        } else {
            self.filled.store(end, Ordering::Release);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Dir;

    const MIB: u64 = 1024 * 1024;

    /// A filling of `bytes` bytes that has its head start, and another handle to the file.
    fn filling(dir: &std::path::Path, bytes: u64) -> (Fill, File) {
        let dir = Dir::open(dir).unwrap();
        let file = dir.create_file("filled").unwrap();
        (Fill::begin(dir.open_file("filled", true).unwrap(), HEAD_START_BYTES, bytes), file)
    }

    #[test]
    fn what_was_written_stays_whenever_the_writer_catches_up() {
        let dir = tempfile::tempdir().unwrap();
        for steps_before in 0..4 {
            let place = dir.path().join(steps_before.to_string());
            drop(Dir::create(&place).unwrap());
            let (fill, handle) = filling(&place, 3 * MIB);
            let record = [0xa5; 1_000];
            let mut end = 0;
            let mut steps = 0;
            while end + 1_000 <= 3 * MIB {
                if steps < steps_before
                    && let Some(step) = fill.due()
                {
                    fill.step(step).unwrap();
                    steps += 1;
                }
                fill.make_way(end + 1_000);
                handle.write_all_at(&record, end).unwrap();
                end += 1_000;
            }
            // Whoever comes late finds that it is over.
            fill.step(Step { bytes: MIB, paced: false }).unwrap();
            assert_eq!(fill.due(), None);
            let mut bytes = vec![0; usize::try_from(end).unwrap()];
            assert_eq!(handle.read_at(&mut bytes, 0).unwrap(), bytes.len());
            assert!(bytes.iter().all(|byte| *byte == 0xa5), "after {steps_before} steps");
        }
    }

    #[test]
    fn two_threads_in_one_file_never_write_in_the_same_place() {
        let dir = tempfile::tempdir().unwrap();
        let (fill, handle) = filling(dir.path(), 16 * MIB);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while let Some(step) = fill.due() {
                    fill.step(step).unwrap();
                }
            });
            for number in 0..16 * 1024 {
                fill.make_way((number + 1) * 1024);
                handle.write_all_at(&[0xa5; 1024], number * 1024).unwrap();
            }
        });
        let mut bytes = vec![0; usize::try_from(16 * MIB).unwrap()];
        assert_eq!(handle.read_at(&mut bytes, 0).unwrap(), bytes.len());
        assert_eq!(bytes.iter().position(|byte| *byte != 0xa5), None);
    }

    #[test]
    fn beside_a_writer_it_keeps_ahead_by_a_multiple_of_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let (fill, handle) = filling(dir.path(), 64 * MIB);
        assert_eq!(fill.due_beside(400), None, "an opening alone has nothing filled");
        assert_eq!(fill.due_beside(40_000).map(|step| step.paced), Some(false), "what is near is filled at once");
        let used = 2 * MIB;
        let mut steps = 0;
        while let Some(step) = fill.due_beside(used) {
            fill.step(step).unwrap();
            steps += 1;
        }
        assert_eq!(handle.len().unwrap(), used * (1 + AHEAD_TIMES));
        assert_eq!(steps, used * (1 + AHEAD_TIMES) / STEP_BESIDE_BYTES - 1);
        assert_eq!(fill.due_beside(used + MIB).map(|step| step.paced), Some(true));
        while let Some(step) = fill.due() {
            fill.step(step).unwrap();
        }
        assert_eq!((handle.len().unwrap(), fill.due_beside(used)), (64 * MIB, None));
    }

    #[test]
    fn a_failed_step_ends_the_filling() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Dir::open(dir.path()).unwrap();
        drop(dir.create_file("filled").unwrap());
        let fill = Fill::begin(dir.open_file("filled", false).unwrap(), 0, MIB);
        let step = fill.due().unwrap();
        assert!(matches!(fill.step(step), Err(Failed::Write(_))));
        assert_eq!(fill.due(), None);
    }
}
