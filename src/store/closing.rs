//! Closing a store: everything durable, the end marked, the space behind it given back, the lock released.

use std::sync::PoisonError;

use crate::error::{Error, ErrorKind};
use crate::event::entry::Mark;
use crate::store::commit::{Level, Shared};
use crate::store::core::{Core, Refused};
use crate::store::failure::of_env;

impl Shared {
    /// Ends the log in good order, and takes nothing more.
    pub(crate) fn close_log(&self) -> Result<(), Error> {
        let marked = self.step(|core: &mut Core, now| {
            let seq = match core.mark(Mark::Close, now) {
                // A full disk must not keep anybody from closing: all before the mark is made durable all the same.
                Err(Refused::Error(error)) if error.kind() == ErrorKind::Full => core.last_seq(),
                marked => marked?,
            };
            core.close();
            Ok(seq)
        });
        if marked.is_err() {
            self.desk().core.close();
        }
        self.wait(marked?, Level::Durable)?;
        self.trim()
    }

    /// Releases the directory: whoever locks it next must find nobody at work in it.
    pub(crate) fn release(&self) -> Result<(), Error> {
        drop(self.compacting.lock().unwrap_or_else(PoisonError::into_inner));
        self.wait_for_scrub();
        self.wait_for_leader();
        self.trim_prepared();
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        lock.map_or(Ok(()), |lock| lock.unlock().map_err(of_env))
    }
}
