//! The real service, `ledgerline serve`, and how to talk to it.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use ledgerline::webhook::Secret;

use super::trial::Skipped;
use super::witness;

const SECRET: &str = "a secret for torture only";
/// Longer no answer is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The command `ledgerline`, which is built beside this program.
pub(crate) fn command() -> Result<PathBuf, Skipped> {
    let here =
        std::env::current_exe().map_err(|error| Skipped(format!("this program does not know itself: {error}")))?;
    let command = here.with_file_name("ledgerline");
    if command.is_file() { Ok(command) } else { Err(Skipped(format!("{} is not built", command.display()))) }
}

pub(crate) fn secret() -> io::Result<Secret> {
    Secret::new(SECRET.as_bytes()).map_err(io::Error::other)
}

/// A service on a store; killed with SIGKILL when it is dropped.
pub(crate) struct Service {
    child: Child,
    /// Writes down what it logs, until its end.
    logging: Option<JoinHandle<()>>,
    address: Mutex<mpsc::Receiver<SocketAddr>>,
}

impl Service {
    /// Starts one on the store in `place/store`; what it prints is added to `place/printed`, what it logs to `place/log`.
    pub(crate) fn start(command: &Path, place: &Path) -> io::Result<Self> {
        std::fs::write(place.join("secret"), SECRET)?;
        let printed = File::options().create(true).append(true).open(place.join("printed"))?;
        let mut child = Command::new(command)
            .args(["serve", "--listen", "127.0.0.1:0", "--segment-bytes", "65536", "--process-deaths-max", "0"])
            .arg("--data")
            .arg(place.join("store"))
            .arg("--secret-file")
            .arg(place.join("secret"))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(printed)
            .stderr(Stdio::piped())
            .spawn()?;
        let output = child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut log = File::options().create(true).append(true).open(place.join("log"))?;
        let (told, address) = mpsc::channel();
        // Somebody must go on reading, or the service would wait for its log to be read.
        let logging = std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                drop(writeln!(log, "{line}"));
                let address = line.split_once("http://").and_then(|(_, rest)| rest.split('/').next()?.parse().ok());
                if let Some(address) = address {
                    let _ = told.send(address);
                }
            }
        });
        Ok(Self { child, logging: Some(logging), address: Mutex::new(address) })
    }

    /// Where it listens, once it does.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        let told = self.address.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(PATIENCE);
        told.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the service does not say where it listens"))
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it, and returns how it ended; all that it logged is written down then.
    pub(crate) fn stop(&mut self) -> io::Result<ExitStatus> {
        drop(self.child.kill());
        let ended = self.child.wait()?;
        match self.logging.take().map(JoinHandle::join) {
            Some(Err(_)) => Err(io::Error::other("whoever wrote down its log panicked")),
            _ => Ok(ended),
        }
    }

    /// As [`Service::stop`], and returns whether it had said where it listens, too.
    pub(crate) fn kill(mut self) -> io::Result<(bool, ExitStatus)> {
        let ended = self.stop()?;
        Ok((self.address().is_ok(), ended))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A connection on which answers are waited for in patience.
pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    Ok(connection)
}

/// A delivery as Linear would send it, under this id, on a connection that stays.
pub(crate) fn delivery(secret: &Secret, id: &str) -> Vec<u8> {
    let body = witness::body(id);
    let (signature, length) = (secret.sign(body.as_bytes()), body.len());
    format!(
        "POST /webhooks/linear HTTP/1.1\r\nhost: test\r\nlinear-delivery: {id}\r\nlinear-signature: {signature}\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Sends a request on a connection that stays; the answer's code, once the whole answer is there.
pub(crate) fn exchange(connection: &mut TcpStream, request: &[u8]) -> io::Result<u16> {
    connection.write_all(request)?;
    let mut answer = Vec::new();
    let mut buffer = [0; 1_024];
    loop {
        let read = connection.read(&mut buffer)?;
        answer.extend_from_slice(buffer.get(..read).unwrap_or_default());
        let text = String::from_utf8_lossy(&answer);
        if is_whole(&text) {
            return code(&text).ok_or_else(|| io::ErrorKind::InvalidData.into());
        }
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Whether the first answer in this text is there to its end.
pub(crate) fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    body.len() >= length
}

/// The code of the first answer in this text.
pub(crate) fn code(text: &str) -> Option<u16> {
    text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}
