//! Closing a store: everything durable, the end marked, the space behind it given back, the lock released.

use std::sync::PoisonError;

use crate::error::{Error, ErrorKind};
use crate::event::entry::Mark;
use crate::mutants::mutant;
use crate::store::commit::Shared;
use crate::store::core::{Core, Refused};
use crate::store::desk::Level;
use crate::store::failure::of_env;

impl Shared {
    /// Ends the log in good order, and takes nothing more.
    pub(crate) fn close_log(&self) -> Result<(), Error> {
        let marked = self.mark_end();
        if marked.is_err() {
            self.desk().core.close();
        }
        self.wait(marked?, Level::Durable)?;
        self.trim()
    }

    /// Marks the end once all before it is durable: the head of the mark's group attests to that, so that no rot in it passes for a
    /// write that a crash tore (R8). Returns the seq to wait for.
    fn mark_end(&self) -> Result<u64, Error> {
        loop {
            let last_seq = self.desk().core.last_seq();
            if !mutant!("end-marked-before-durable") {
                self.wait(last_seq, Level::Durable)?;
            }
            let marked = self.step(|core: &mut Core, now| {
                if core.durable() < core.last_seq() && !mutant!("end-marked-before-durable") {
                    return Ok(None);
                }
                let seq = match core.mark(Mark::Close, now) {
                    // A full disk must not keep anybody from closing: all before the mark is durable all the same.
                    Err(Refused::Error(error)) if error.kind() == ErrorKind::Full => core.last_seq(),
                    marked => marked?,
                };
                core.close();
                Ok(Some(seq))
            })?;
            if let Some(seq) = marked {
                return Ok(seq);
            }
        }
    }

    /// Releases the directory: whoever locks it next must find nobody at work in it.
    pub(crate) fn release(&self) -> Result<(), Error> {
        drop(self.compacting.lock().unwrap_or_else(PoisonError::into_inner));
        self.wait_for_scrub();
        self.wait_for_leader();
        self.trim_prepared();
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        lock.map_or(Ok(()), |lock| lock.release().map_err(of_env))
    }
}
