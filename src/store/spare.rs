//! A buffer for batches, so that one after the other needs no new memory.

use std::sync::PoisonError;

use crate::sync::Mutex;

/// A longer buffer is not kept: what one batch has needed once is no reason to hold that much for ever.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// The buffer of whichever batch ended last.
#[derive(Default)]
pub(super) struct Spare(Mutex<Vec<u8>>);

impl Spare {
    /// The buffer, or an empty one while another batch has it.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        if buffer.capacity() <= BYTES_MAX {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = buffer;
        }
    }
}
