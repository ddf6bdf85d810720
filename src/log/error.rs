//! What stops the log.

use std::path::PathBuf;

use crate::env;
use crate::log::format::HeaderDefect;
use crate::log::scan::Defect;
use crate::log::segment::{Name, ORDINAL_MAX};

/// What stops the log. What a reader merely finds wrong in bytes is a [`Defect`]; it becomes an error where it is fatal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Env(#[from] env::Error),
    #[error("{defect}, and {because}")]
    Corrupt { path: PathBuf, offset: u64, seq: Option<u64>, defect: Defect, because: &'static str },
    #[error("{defect}")]
    Header { path: PathBuf, defect: HeaderDefect },
    #[error("the segment belongs to another store")]
    Foreign { path: PathBuf },
    #[error("the segment says that it is {found}, and its file is {expected}")]
    Misnamed { path: PathBuf, expected: Name, found: Name },
    #[error("the manifest {reason}")]
    Manifest { path: PathBuf, reason: String, unsupported: bool },
    #[error("a file of the log is missing: {name}")]
    Missing { path: PathBuf, name: Name },
    #[error(
        "no segment can follow {ORDINAL_MAX}, and no store comes that far by itself; put the directory back from a backup"
    )]
    Exhausted { path: PathBuf },
    #[error("the record does not verify")]
    Damaged { path: PathBuf, offset: u64, seq: Option<u64> },
}
