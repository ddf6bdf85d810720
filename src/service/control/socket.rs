//! The socket as a name in the data directory.

use std::io;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, chmod, fchmod};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use tokio::net::{UnixListener, UnixSocket};

use crate::env::Dir;
use crate::error::{Error, ErrorKind};
use crate::service::named_file::refused;

/// The socket's name in the data directory.
const NAME: &str = "control.sock";

/// Commands that may wait to be accepted; further ones wait for a place among them.
const BACKLOG: u32 = 64;

/// How long a command waits for such a place.
const CONNECT_TIMEOUT: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(10) };

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
    if matches!(source.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename) {
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
    let address = match SocketAddrUnix::new(&path) {
        Ok(address) => address,
        // One may be there all the same, bound by a shorter name.
        Err(source) if Dir::open(data).is_ok_and(|dir| dir.has(NAME)) => return Err(not_bound(&path, source.into())),
        Err(_) => return Ok(None),
    };
    let connected = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags(), None).and_then(|socket| {
        set_socket_timeout(&socket, Timeout::Send, Some(CONNECT_TIMEOUT))?;
        rustix::net::connect(&socket, &address)?;
        set_socket_timeout(&socket, Timeout::Send, None)?;
        Ok(UnixStream::from(socket))
    });
    match connected {
        Ok(stream) => Ok(Some((path, stream))),
        // No such name, or one that a process left behind.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::CONNREFUSED) => Ok(None),
        // Nobody has been let in for this long, so waiting longer would be waiting for ever.
        Err(source @ Errno::AGAIN) => {
            Err(unreachable(&path, "not let in within 10 s, as if it were stuck, by", source.into()))
        }
        Err(source) => Err(unreachable(&path, "cannot reach", source.into())),
    }
}

fn unreachable(path: &Path, what: &str, source: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("{what} the service at {}", path.display())).caused_by(source)
}

/// Other systems have no such flag at this place.
fn flags() -> SocketFlags {
    #[cfg(target_os = "linux")]
    return SocketFlags::CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    SocketFlags::empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_finds_nobody_who_lets_him_in_is_told_and_does_not_wait() {
        let place = tempfile::tempdir().unwrap();
        assert!(connect(place.path()).unwrap().is_none());
        let socket = UnixSocket::new_stream().unwrap();
        socket.bind(place.path().join(NAME)).unwrap();
        let listener = socket.listen(1).unwrap();
        let mut waiting = Vec::new();
        let error = loop {
            match connect(place.path()) {
                Ok(stream) => waiting.push(stream.unwrap()),
                Err(error) => break error,
            }
            assert!(waiting.len() < 10, "so few may wait");
        };
        assert!(error.to_string().contains("as if it were stuck"), "{error}");
        drop(listener);
        assert!(connect(place.path()).unwrap().is_none(), "nobody is there any more");
        let long = place.path().join("d".repeat(100));
        drop(Dir::create(&long).unwrap());
        assert!(connect(&long).unwrap().is_none());
        drop(Dir::open(&long).unwrap().create_file(NAME).unwrap());
        assert_eq!(connect(&long).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
