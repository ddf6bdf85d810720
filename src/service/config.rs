//! Everything that the service and the commands need to know.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::env::Dir;
use crate::store::StoreOptions;

/// Everything that the service and the commands need to know, judged.
#[derive(Debug, Clone)]
pub struct Config {
    pub(super) data: PathBuf,
    /// Where the former program would have kept events: none if somebody has said where, or that they are not kept.
    pub(super) former_events: Option<&'static str>,
    /// Whether events end with the process; then the directory has the lock, the socket and the generated secret in it, and no store.
    pub(super) in_memory: bool,
    pub(super) listen: String,
    pub(super) secret: SecretFrom,
    pub(super) log: String,
    pub(super) store: StoreOptions,
    pub(super) queue_size: usize,
    pub(super) batch_size: usize,
    pub(super) batch_processing: bool,
    pub(super) background_processing: bool,
    pub(super) processing_interval: Duration,
    pub(super) concurrency: usize,
    pub(super) handler_timeout: Duration,
    pub(super) body_bytes_max: usize,
    pub(super) stale_tolerance: Duration,
    pub(super) stale: Stale,
    pub(super) connections_max: usize,
    pub(super) unknown_variables: Vec<String>,
    pub(super) unused_secrets: Vec<String>,
}

/// What becomes of a delivery that is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stale {
    /// It is kept, and flagged.
    Kept,
    /// It is answered as if its signature were wrong.
    Rejected,
}

/// Where the signing secrets come from.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum SecretFrom {
    /// Files that hold one each.
    Files(Vec<PathBuf>),
    /// What [`super::settings::SECRET_VARIABLE`] holds.
    Variable(Vec<u8>),
    /// Nothing was configured: the one in the data directory.
    Directory,
}

impl fmt::Debug for SecretFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(paths) => f.debug_tuple("Files").field(paths).finish(),
            Self::Variable(_) => f.write_str("Variable(…)"),
            Self::Directory => f.write_str("Directory"),
        }
    }
}

impl Config {
    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The former program's file of events, if it lies in the working directory and nobody has said where events are to be kept.
    pub fn former_events(&self) -> Option<&'static str> {
        self.former_events.filter(|name| Dir::open(Path::new(".")).is_ok_and(|dir| dir.has(name)))
    }

    /// Where the receiver is to listen.
    pub fn listen(&self) -> &str {
        &self.listen
    }

    /// What is to be logged.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// Places that give signing secrets and are not used, because a place that wins over them gives some, too.
    pub fn unused_secrets(&self) -> &[String] {
        &self.unused_secrets
    }

    /// Names in the environment that look like settings of ours and are none.
    pub fn unknown_variables(&self) -> &[String] {
        &self.unknown_variables
    }
}
