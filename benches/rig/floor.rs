//! The floor of whatever is bound by the disk: a bare loop that writes the bytes that the store has written, in groups of the same
//! sizes in the same order, and syncs where the store did. It encodes nothing, knows no events and has one thread.
//!
//! ```text
//! writer   │ group, sync │ group, sync │ … half of the segment is used ─► asks for the next one … roll │ group, sync │
//! filler                                     creates it, fills it with zeros in paced, synced steps
//! ```
//!
//! It has what the store has: segments of 64 MiB, zero-filled ahead in the background, and all of them stay, as the store's own do
//! until it was measured. With deleted ones it would get memory back that was used just before, and where a machine's memory is its
//! host's, pages that nobody has used yet cost more than the disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::log::Groups;
use super::segment::{SEGMENT_BYTES, Segment};

/// A loop that can be run again and again, each time for some bytes.
pub(crate) struct Floor<'g> {
    groups: &'g Groups,
    next_group: usize,
    bytes: Vec<u8>,
    active: Arc<Segment>,
    asked: bool,
    /// Bytes that were written beyond what was asked for, because groups are whole.
    ahead: u64,
    want: Option<Sender<()>>,
    made: Receiver<Arc<Segment>>,
    filler: Option<JoinHandle<()>>,
}

impl<'g> Floor<'g> {
    /// One that writes `groups` into `dir`. When this returns, its first segment is filled.
    pub(crate) fn begin(dir: &Path, groups: &'g Groups) -> Self {
        let longest = groups.groups.iter().map(|group| group.bytes).max().unwrap_or(0);
        let active = Arc::new(Segment::create(dir, 0));
        // As if it had been used up: the filling does not pause.
        active.used.store(SEGMENT_BYTES, Ordering::Release);
        active.fill();
        active.used.store(0, Ordering::Release);
        let (want, wanted) = channel();
        let (hand_over, made) = channel();
        let dir = dir.to_owned();
        let filler = std::thread::spawn(move || filler(&dir, &wanted, &hand_over));
        Self {
            groups,
            next_group: 0,
            bytes: vec![0x5a; longest as usize],
            active,
            asked: false,
            ahead: 0,
            want: Some(want),
            made,
            filler: Some(filler),
        }
    }

    /// The time for writing `bytes` bytes.
    pub(crate) fn time(&mut self, bytes: u64) -> Duration {
        let began = Instant::now();
        let mut written = self.ahead;
        while written < bytes {
            written += self.write_group();
        }
        self.ahead = written - bytes;
        began.elapsed()
    }

    fn write_group(&mut self) -> u64 {
        let group = self.groups.groups.get(self.next_group).expect("there are groups");
        self.next_group = (self.next_group + 1) % self.groups.groups.len();
        let length = u64::from(group.bytes);
        let used = self.active.used.load(Ordering::Acquire);
        if used + length > SEGMENT_BYTES {
            self.roll();
        } else if used > SEGMENT_BYTES / 2 && !self.asked {
            self.ask_for_segment();
        }
        self.active.write(self.bytes.get(..group.bytes as usize).expect("it is as long as the longest group"));
        if group.synced {
            self.active.file.sync_data().expect("a sync succeeds");
        }
        length
    }

    fn roll(&mut self) {
        if !self.asked {
            self.ask_for_segment();
        }
        // What was written last without a sync is synced before anything is written elsewhere.
        self.active.file.sync_data().expect("a sync succeeds");
        let next = self.made.recv().expect("the filler lives");
        std::mem::replace(&mut self.active, next).stop();
        self.asked = false;
    }

    fn ask_for_segment(&mut self) {
        self.asked = true;
        self.want.as_ref().expect("it has not ended").send(()).expect("the filler lives");
    }
}

impl Drop for Floor<'_> {
    fn drop(&mut self) {
        drop(self.want.take());
        self.active.stop();
        while let Ok(segment) = self.made.recv() {
            segment.stop();
        }
        if let Some(filler) = self.filler.take() {
            let _ = filler.join();
        }
    }
}

/// The filler's life.
fn filler(dir: &Path, wanted: &Receiver<()>, hand_over: &Sender<Arc<Segment>>) {
    for (ordinal, ()) in (1..).zip(wanted) {
        let segment = Arc::new(Segment::create(dir, ordinal));
        if hand_over.send(Arc::clone(&segment)).is_err() {
            return;
        }
        segment.fill();
    }
}
