//! A file that is zero-filled ahead of whoever writes to it: the floor's own, so that it owes nothing to the code that is measured.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes of one segment, as the store's are by default.
pub(crate) const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// One step of a filling.
const STEP_BYTES: usize = 1024 * 1024;
/// As long as the filling is so far ahead of the writer, it pauses after each step.
const AHEAD_BYTES: u64 = 4 * 1024 * 1024;
/// Least pause between two steps.
const PAUSE: Duration = Duration::from_millis(2);

/// A segment of the floor.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) file: File,
    path: PathBuf,
    /// The writer is here.
    pub(crate) used: AtomicU64,
    /// Zeros are written up to here; everything is allowed once the filling is over.
    filled: AtomicU64,
    is_over: AtomicBool,
    /// Held while a step is taken.
    step: Mutex<()>,
}

impl Segment {
    /// Creates one with its space reserved, file and directory synced.
    pub(crate) fn create(dir: &Path, ordinal: u64) -> Self {
        let path = dir.join(format!("{ordinal:010}.floor"));
        let file = File::create_new(&path).expect("a file is created");
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, SEGMENT_BYTES).expect("space is reserved");
        file.sync_all().expect("a sync succeeds");
        File::open(dir).and_then(|dir| dir.sync_all()).expect("a sync succeeds");
        let (used, filled, is_over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        Self { file, path, used, filled, is_over, step: Mutex::new(()) }
    }

    /// Fills it step by step, each synced, with pauses of twice a step's time, until it is full or the writer has caught up.
    pub(crate) fn fill(&self) {
        let zeros = vec![0; STEP_BYTES];
        let file = File::options().write(true).open(&self.path).expect("the file is there");
        while !self.is_over.load(Ordering::Acquire) {
            let began = Instant::now();
            if !self.fill_step(&file, &zeros) {
                return;
            }
            if self.filled.load(Ordering::Acquire) > self.used.load(Ordering::Acquire) + AHEAD_BYTES {
                std::thread::sleep(PAUSE.max(began.elapsed() * 2));
            }
        }
    }

    fn fill_step(&self, file: &File, zeros: &[u8]) -> bool {
        let _step = self.step.lock().expect("no step panics");
        let filled = self.filled.load(Ordering::Acquire);
        if self.is_over.load(Ordering::Acquire) || filled >= SEGMENT_BYTES {
            self.is_over.store(true, Ordering::Release);
            return false;
        }
        file.write_all_at(zeros, filled).expect("a write succeeds");
        file.sync_data().expect("a sync succeeds");
        self.filled.store(filled + STEP_BYTES as u64, Ordering::Release);
        true
    }

    /// Writes the next bytes, ending the filling if it is not far enough.
    pub(crate) fn write(&self, bytes: &[u8]) {
        let used = self.used.load(Ordering::Acquire);
        let end = used + bytes.len() as u64;
        if end > self.filled.load(Ordering::Acquire) && !self.is_over.load(Ordering::Acquire) {
            let _step = self.step.lock().expect("no step panics");
            self.is_over.store(true, Ordering::Release);
        }
        self.file.write_all_at(bytes, used).expect("a write succeeds");
        self.used.store(end, Ordering::Release);
    }

    /// Ends the filling after the step that is being taken.
    pub(crate) fn stop(&self) {
        self.is_over.store(true, Ordering::Release);
    }
}
