//! What tests of managers on real stores begin with.

use std::future::Future;
use std::time::Duration;

use ledgerline::{Event, EventManager, EventManagerBuilder, Status};
use tempfile::TempDir;

pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);

pub(crate) fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Retries come at once, and nothing is noticed merely because time has passed.
pub(crate) fn builder(dir: &TempDir) -> EventManagerBuilder {
    EventManager::builder(dir.path()).retry_interval(MILLISECOND).processing_interval(Duration::from_hours(1))
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it comes within half a minute")
}

/// Looks until there is something to see.
pub(crate) async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    within(async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// The event, once it stands so.
pub(crate) async fn stands(manager: &EventManager, id: &str, status: Status) -> Event {
    until(async || manager.get(id).await.unwrap().filter(|event| event.status() == status)).await
}
