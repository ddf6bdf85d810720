//! Small files that a person named: a configuration, a secret, a body to send.

use std::path::Path;

use crate::env::{self, File};
use crate::error::{Error, ErrorKind};

/// The whole of the file at `path`, which may be a symbolic link, as mounted secrets often are, or a pipe. Longer than `bytes_max` is an
/// error.
pub(super) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Error> {
    File::read_named(path, bytes_max).map_err(refused)
}

/// What the operating system refused, as the public error.
pub(super) fn refused(error: env::Error) -> Error {
    let kind = if error.is_not_found() { ErrorKind::NotFound } else { ErrorKind::Io };
    Error::new(kind, format!("cannot {} {}", error.operation, error.path.display())).caused_by(error.source)
}
