//! A peer that is a program of its own: started for one cell, reached by a Unix socket, ended with the cell.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

const START_TIME_MAX: Duration = Duration::from_secs(10);

pub(crate) struct Server {
    child: Child,
    socket: PathBuf,
    /// Outside the store's directory, because a socket's path has a hundred bytes at most.
    _at: TempDir,
}

impl Server {
    /// Starts `program` with the arguments that `arguments` makes of the socket's path, and waits until it answers.
    pub(crate) fn start(program: &str, arguments: impl FnOnce(&str) -> Vec<String>) -> Self {
        let at = tempfile::tempdir().expect("a directory for the socket is made");
        let socket = at.path().join("socket");
        let path = socket.to_str().expect("the path is UTF-8");
        let mut command = Command::new(program);
        command.args(arguments(path)).stdin(Stdio::null()).stdout(Stdio::null());
        let server = Self { child: command.spawn().expect("the server starts"), socket, _at: at };
        let began = Instant::now();
        while UnixStream::connect(&server.socket).is_err() {
            assert!(began.elapsed() < START_TIME_MAX, "{program} does not answer");
            thread::sleep(Duration::from_millis(5));
        }
        server
    }

    pub(crate) fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).expect("the server takes a connection")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
