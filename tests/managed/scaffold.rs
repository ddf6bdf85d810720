//! What tests of managers on real stores begin with.

use std::future::Future;
use std::time::Duration;

use ledgerline::{EventManager, EventManagerBuilder};
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
