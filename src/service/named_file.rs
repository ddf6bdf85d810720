//! Small files that a person named: a configuration, a secret, a body to send.

use std::path::Path;

use crate::env::{self, Dir};
use crate::error::{Error, ErrorKind};

/// The whole of the file at `path`, which may be a symbolic link: secrets are often mounted as such. Longer than `bytes_max` is an
/// error.
pub(super) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Error> {
    // Directories open nothing through a link; what the person named is resolved first.
    let real = path.canonicalize().map_err(|source| refused(env::Error::new("find", path, source)))?;
    let (Some(parent), Some(name)) = (real.parent(), real.file_name().and_then(|name| name.to_str())) else {
        return Err(Error::invalid(format!("{} names no file, or not in UTF-8", path.display())));
    };
    let bytes = Dir::open(parent).and_then(|dir| dir.read_file_or_pipe(name, bytes_max)).map_err(refused)?;
    bytes.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no file {}", path.display())))
}

/// What the operating system refused, as the public error.
pub(super) fn refused(error: env::Error) -> Error {
    let kind = if error.is_not_found() { ErrorKind::NotFound } else { ErrorKind::Io };
    Error::new(kind, format!("cannot {} {}", error.operation, error.path.display())).caused_by(error.source)
}
