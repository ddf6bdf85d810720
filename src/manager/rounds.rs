//! Running what is pending on demand.

use crate::error::{Error, ErrorKind};
use crate::manager::EventManager;
use crate::processor::Processed;

impl EventManager {
    /// Runs what is claimable now, and what becomes so meanwhile, until nothing is; then says how many runs there were. Events that wait
    /// for a later time, for a handler, or for another of their key that waits, are not claimable. This is how events run where
    /// [`background_processing`](crate::EventManagerBuilder::background_processing) is off; where it is on, it waits until all is run.
    ///
    /// Several calls at once share the runs. Dropped, it claims nothing more; what runs then is run to its end. Not to be awaited within
    /// a handler, for which it would wait.
    ///
    /// # Errors
    /// [`ErrorKind::NotAllowed`] if the manager was opened without handlers: give it some with `on`, and
    /// `background_processing(false)`. [`ErrorKind::Closed`] after a shutdown, or if one comes in between; otherwise what claiming met
    /// with ([`ErrorKind::Poisoned`], [`ErrorKind::Full`], [`ErrorKind::Io`]): what had run by then is settled.
    pub async fn process_pending(&self) -> Result<Processed, Error> {
        match &self.inner.workers {
            Some(workers) => workers.process().await,
            None => Err(Error::new(
                ErrorKind::NotAllowed,
                "this manager was opened without handlers: give it some with on(), and background_processing(false)",
            )),
        }
    }

    /// Whether events run without being asked for.
    pub(crate) fn runs_in_background(&self) -> bool {
        self.inner.options.background_processing
    }
}
