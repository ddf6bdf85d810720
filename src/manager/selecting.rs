//! Replay and cancel by selection, without a thread that waits.

use crate::error::Error;
use crate::manager::EventManager;
use crate::queue::blocking;
use crate::store::{Act, Acted, CalledOff, Pass, Selected, Selection};

impl EventManager {
    /// Runs every selected event anew: retries count from 0, and each joins the end of its key. What may not be replayed (what is
    /// pending or being run) is named in the report, and the rest goes on. Durable once this returns.
    ///
    /// ```no_run
    /// # async fn example(manager: ledgerline::EventManager) -> Result<(), ledgerline::Error> {
    /// use ledgerline::Selection;
    ///
    /// let failed = Selection::failed().event_type("Issue");
    /// println!("{} would run", manager.replay_all(failed.clone().dry_run()).await?.done);
    /// let selected = manager.replay_all(failed.rate(50)).await?; // at most 50 a second
    /// for refusal in &selected.refusals {
    ///     println!("{}: {}", refusal.id, refusal.reason);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// It goes in steps, each durable before the next: dropped before its end, it leaves the rest as it is.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) names what is out of bounds, and nothing changed.
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed), or those of [`EventManager::emit_event`]: events whose turn had come before are
    /// replayed; ask again for the rest.
    pub async fn replay_all(&self, selection: impl Into<Selection>) -> Result<Selected, Error> {
        self.go_through(selection.into(), Act::Replay).await
    }

    /// Calls off every selected event, for this reason, of which 4 KiB are kept: see [`EventManager::cancel`]. What may not be cancelled
    /// (what is completed or cancelled already) is named in the report, and the rest goes on. Durable once this returns. It goes in
    /// steps as [`EventManager::replay_all`] does.
    ///
    /// # Errors
    /// As [`EventManager::replay_all`].
    pub async fn cancel_all(
        &self,
        selection: impl Into<Selection>,
        reason: impl Into<String>,
    ) -> Result<Selected, Error> {
        self.go_through(selection.into(), Act::Cancel(reason.into())).await
    }

    async fn go_through(&self, selection: Selection, act: Act) -> Result<Selected, Error> {
        let mut pass = Pass::begin(&self.inner.store, selection, act)?;
        loop {
            let (stepped, called_off);
            (pass, stepped, called_off) = blocking(move || {
                let stepped = pass.step()?;
                let acted = stepped.as_deref().unwrap_or_default();
                let called_off: Vec<CalledOff> = acted.iter().filter_map(Acted::called_off).collect();
                Ok((pass, stepped.is_some(), called_off))
            })
            .await?;
            for one in called_off {
                self.tell_called_off(one).await;
            }
            if !stepped {
                return Ok(pass.report());
            }
            tokio::time::sleep(pass.rest()).await;
        }
    }

    /// Tells the run of an event that the event was called off.
    pub(crate) async fn tell_called_off(&self, called_off: CalledOff) {
        if let Some(workers) = &self.inner.workers {
            workers.tell_called_off(called_off).await;
        }
    }
}
