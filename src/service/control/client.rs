//! The command's end of the control socket. It blocks.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::protocol::{ANSWER_BYTES_MAX, HELLO_BYTES_MAX, Hello, Reply, VERSION, line};
use super::socket::connect;
use crate::error::{Error, ErrorKind};
use crate::service::operations::{Line, Operation};

/// A service that says nothing for this long is stuck.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to the service that runs on a directory.
pub(in crate::service) struct Client {
    lines: Lines<UnixStream>,
}

/// What a service says, line by line.
pub(in crate::service) struct Lines<R> {
    /// Of its socket, for messages.
    path: PathBuf,
    stream: BufReader<R>,
}

impl Client {
    /// Connects to the service that runs on `data`; none if none does.
    ///
    /// # Errors
    /// [`ErrorKind::UnsupportedFormat`] if it speaks another version of the protocol; [`ErrorKind::Io`] if it does not answer.
    pub(in crate::service) fn connect(data: &Path) -> Result<Option<Self>, Error> {
        let Some((path, stream)) = connect(data)? else { return Ok(None) };
        let mut client = Self { lines: Lines::new(path, stream) };
        client.time_out(Some(HELLO_TIMEOUT))?;
        let greeted = client.lines.greeting()?;
        // Where nothing came, it closed the socket in this moment: it is ending.
        Ok(greeted.then_some(client))
    }

    /// Whether something listens for commands on `data`, whatever it would say.
    pub(in crate::service) fn has_listener(data: &Path) -> bool {
        !matches!(connect(data), Ok(None))
    }

    /// Has the service do `operation`, and gives its answer line by line.
    pub(in crate::service) fn perform(mut self, operation: &Operation, each: &mut Line<'_>) -> Result<(), Error> {
        // Others take as long as they take.
        if !operation.is_quick() {
            self.time_out(None)?;
        }
        let request = line(operation)?;
        let sent = self.lines.stream.get_mut().write_all(request.as_bytes());
        sent.map_err(|source| self.lines.failed("cannot ask", source))?;
        self.lines.answer(each)
    }

    fn time_out(&self, after: Option<Duration>) -> Result<(), Error> {
        let set = self.lines.stream.get_ref().set_read_timeout(after);
        set.map_err(|source| self.lines.failed("cannot set a timeout for", source))
    }
}

impl<R: io::Read> Lines<R> {
    pub(in crate::service) fn new(path: PathBuf, stream: R) -> Self {
        Self { path, stream: BufReader::new(stream) }
    }

    /// Reads the first line; false if there is none.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub(in crate::service) fn greeting(&mut self) -> Result<bool, Error> {
        let Some(hello) = self.read::<Hello>(HELLO_BYTES_MAX)? else { return Ok(false) };
        if hello.ledgerline == VERSION {
            return Ok(true);
        }
        Err(Error::new(
            ErrorKind::UnsupportedFormat,
            format!(
                "the service at {} (process {}) speaks version {} of the control protocol, this command version {VERSION}: use \
                 the same ledgerline for both",
                self.path.display(),
                hello.pid,
                hello.ledgerline
            ),
        ))
    }

    /// Reads one answer, and gives each document of it.
    pub(in crate::service) fn answer(&mut self, each: &mut Line<'_>) -> Result<(), Error> {
        loop {
            match self.read::<Reply>(ANSWER_BYTES_MAX)? {
                Some(Reply::Line(document)) => {
                    if each(Box::<str>::from(document).into_string()) == ControlFlow::Break(()) {
                        return Ok(());
                    }
                }
                Some(Reply::Done(_)) => return Ok(()),
                Some(Reply::Error(failure)) => return Err(failure.into()),
                None => {
                    let what = "it has ended amid this, or did not wait to be read, and what was answered holds: no complete answer from";
                    return Err(self.failed(what, io::ErrorKind::UnexpectedEof.into()));
                }
            }
        }
    }

    /// The next line; none if the service closed the connection.
    fn read<T: DeserializeOwned>(&mut self, bytes_max: u64) -> Result<Option<T>, Error> {
        let mut line = Vec::new();
        let read = (&mut self.stream).take(bytes_max).read_until(b'\n', &mut line);
        read.map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                self.failed("nothing within 10 s, as if it were stuck, from", source)
            }
            _ => self.failed("no answer from", source),
        })?;
        if line.is_empty() {
            return Ok(None);
        }
        let value = serde_json::from_slice(&line);
        value.map(Some).map_err(|cause| self.failed("cannot understand", cause.into()))
    }

    fn failed(&self, what: &str, source: io::Error) -> Error {
        Error::new(ErrorKind::Io, format!("{what} the service at {}", self.path.display())).caused_by(source)
    }
}
