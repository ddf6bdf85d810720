//! Pauses and cursors, without a thread that waits.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::event::{Pause, Scope, Timestamp};
use crate::manager::EventManager;

impl EventManager {
    /// Has no run of these events begin until somebody ends the pause ([`EventManager::resume`]) or, if there is one, until that time;
    /// an earlier pause of the same scope is replaced. Events are kept meanwhile, and what runs already goes on. Durable once this
    /// returns: the pause outlives the process. For its bounds see [`Store::pause`](crate::Store::pause).
    ///
    /// ```no_run
    /// # async fn example(manager: ledgerline::EventManager) -> Result<(), ledgerline::Error> {
    /// use ledgerline::Scope;
    ///
    /// let deploys = Scope::Type("Deploy".to_owned());
    /// manager.pause(deploys.clone(), None, "a release").await?;
    /// for pause in manager.pauses() {
    ///     println!("{} since {}: {}", pause.scope, pause.since, pause.reason);
    /// }
    /// assert!(manager.resume(&deploys).await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput): the scope names nothing an event can have, or `until` is not in the
    /// future. [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge): there are too many pauses; end some. Otherwise as
    /// [`EventManager::replay`], or [`ErrorKind::Full`](crate::ErrorKind::Full). Nothing is paused then that was not before.
    pub async fn pause(&self, scope: Scope, until: Option<Timestamp>, reason: impl Into<String>) -> Result<(), Error> {
        let reason = reason.into();
        self.call(move |store| store.pause(scope, until, &reason)).await
    }

    /// Ends a pause; false if there is none (any more). Durable once this returns.
    ///
    /// # Errors
    /// As [`EventManager::pause`].
    pub async fn resume(&self, scope: &Scope) -> Result<bool, Error> {
        let scope = scope.clone();
        self.call(move |store| store.resume(&scope)).await
    }

    /// The pauses in force: those of types first, by name.
    pub fn pauses(&self) -> Vec<Pause> {
        self.inner.store.pauses()
    }

    /// Keeps a place in the log under a name: `seq` is the last record that its reader is done with, 0 that it is done with none.
    /// [`SubscribeFrom::Cursor`](crate::SubscribeFrom::Cursor) goes on one later. Setting it back is allowed: somebody reads again.
    /// Durable once this returns. A subscription saves its own place with [`Subscription::save`](crate::Subscription::save).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput): the name is empty or has more than 128 bytes, or `seq` lies behind
    /// the last durable record. [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge): there are 1,000 cursors already, or they and the
    /// pauses take too much; remove some. Otherwise those of [`EventManager::emit_event`].
    pub async fn save_cursor(&self, name: impl Into<String>, seq: u64) -> Result<(), Error> {
        let name = name.into();
        self.call(move |store| store.save_cursor(&name, seq)).await
    }

    /// The place that is kept under this name; none if there is no such cursor.
    pub fn cursor(&self, name: &str) -> Option<u64> {
        self.inner.store.cursor(name)
    }

    /// All cursors, by name.
    pub fn cursors(&self) -> BTreeMap<String, u64> {
        self.inner.store.cursors()
    }

    /// Forgets a cursor; false if there is none. Durable once this returns.
    ///
    /// # Errors
    /// Those of [`EventManager::emit_event`].
    pub async fn remove_cursor(&self, name: impl Into<String>) -> Result<bool, Error> {
        let name = name.into();
        self.call(move |store| store.remove_cursor(&name)).await
    }
}
