//! The socket as a name in the data directory.

use std::io;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, chmod, fchmod};
use tokio::net::{UnixListener, UnixSocket};

use crate::env::Dir;
use crate::error::{Error, ErrorKind};
use crate::service::named_file::refused;

/// The socket's name in the data directory.
const NAME: &str = "control.sock";

/// Commands that may wait to be accepted.
const BACKLOG: u32 = 64;

/// The socket of a running service. Its name goes when it is dropped.
pub(in crate::service) struct Socket {
    dir: Dir,
    pub(super) listener: UnixListener,
}

impl Socket {
    /// Checks that there can be a socket in the directory, which need not be there yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the directory's path is too long for the name of a socket.
    pub(in crate::service) fn check(data: &Path) -> Result<(), Error> {
        let path = data.join(NAME);
        SocketAddr::from_pathname(&path).map(drop).map_err(|source| not_bound(&path, source))
    }

    /// Binds the socket, private to this user. Only for the holder of the directory's lock: what is there under its name was left by
    /// a process that has ended, and is removed.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the directory's path is too long for the name of a socket.
    pub(in crate::service) fn bind(data: &Path) -> Result<Self, Error> {
        let dir = Dir::open(data).map_err(refused)?;
        dir.remove(NAME).map_err(refused)?;
        let path = data.join(NAME);
        let bound = UnixSocket::new_stream().and_then(|socket| {
            // Linux gives the name the socket's own mode, so that nobody else can connect even for a moment; other systems have no
            // mode before there is a name.
            let _ = fchmod(&socket, Mode::RUSR | Mode::WUSR);
            socket.bind(&path)?;
            chmod(&path, Mode::RUSR | Mode::WUSR)?;
            socket.listen(BACKLOG)
        });
        let listener = bound.map_err(|source| not_bound(&path, source))?;
        Ok(Self { dir, listener })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Err(error) = self.dir.remove(NAME) {
            tracing::warn!(%error, "the control socket stays behind; the next service removes it");
        }
    }
}

fn not_bound(path: &Path, source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::InvalidInput {
        let message = format!(
            "{} is too long for the name of a socket: choose a data directory with a shorter path, or name it relative to the \
             working directory",
            path.display()
        );
        return Error::invalid(message).caused_by(source);
    }
    Error::new(ErrorKind::Io, format!("cannot bind {}", path.display())).caused_by(source)
}

/// Connects to the service that runs on `data`; none if none does.
pub(super) fn connect(data: &Path) -> Result<Option<(PathBuf, UnixStream)>, Error> {
    let path = data.join(NAME);
    match UnixStream::connect(&path) {
        Ok(stream) => Ok(Some((path, stream))),
        // No such name, or one that a process left behind. A path too long for a socket has none.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::InvalidInput
            ) =>
        {
            Ok(None)
        }
        Err(source) => {
            Err(Error::new(ErrorKind::Io, format!("cannot reach the service at {}", path.display())).caused_by(source))
        }
    }
}
