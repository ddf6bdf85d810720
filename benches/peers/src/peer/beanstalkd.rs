//! beanstalkd, made to sync each write of its log. A connection per producer and per handler; a completed job is gone.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Made, Peer, Queue};
use crate::load::{self, Extent, Measured, Tally};
use crate::server::Server;

pub(super) const PEER: Peer = Peer {
    name: "beanstalkd",
    made: Made::Program("beanstalkd", "-v"),
    how: "`-b … -f 0`, by a Unix socket; completed jobs are deleted, so it keeps no history",
    log: None,
    queue: Some(|dir| Box::new(Tube::new(dir))),
};

/// Bytes of one file of its log, as ledgerline's segments.
const FILE_BYTES: u32 = 64 * 1024 * 1024;
/// Puts that are sent before the answers are read, where a queue is filled.
const FILL_BATCH: u64 = 100;

struct Tube(Server);

impl Tube {
    fn new(dir: &Path) -> Self {
        let dir = dir.to_str().expect("the path is UTF-8").to_owned();
        Self(Server::start("beanstalkd", |socket| {
            let listen = format!("unix:{socket}");
            ["-b", &dir, "-f", "0", "-s", &FILE_BYTES.to_string(), "-l", &listen].map(str::to_owned).into()
        }))
    }

    fn connect(&self) -> Connection {
        let stream = self.0.connect();
        Connection { answers: BufReader::new(stream.try_clone().expect("a descriptor is free")), stream }
    }
}

struct Connection {
    stream: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Connection {
    fn send(&mut self, request: &str) -> io::Result<()> {
        self.stream.write_all(request.as_bytes())
    }

    /// The next line of an answer, which must begin as `expected`; what follows that.
    fn answer(&mut self, expected: &str) -> io::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let rest = line.strip_prefix(expected).ok_or_else(|| io::Error::other(format!("it answered {line:?}")))?;
        Ok(rest.trim().to_owned())
    }

    /// A job that was reserved: its id; its body is put into `body`.
    fn job(&mut self, body: &mut Vec<u8>) -> io::Result<String> {
        let reserved = self.answer("RESERVED ")?;
        let (id, len) = reserved.split_once(' ').ok_or(io::ErrorKind::InvalidData)?;
        body.resize(len.parse::<usize>().map_err(io::Error::other)? + "\r\n".len(), 0);
        self.answers.read_exact(body)?;
        body.truncate(body.len() - "\r\n".len());
        Ok(id.to_owned())
    }

    /// Handles jobs one by one until the server is gone.
    fn handle(&mut self, tally: &Tally) -> io::Result<()> {
        let mut body = Vec::new();
        self.send("reserve\r\n")?;
        loop {
            let id = self.job(&mut body)?;
            tally.handle(&body);
            self.send(&format!("delete {id}\r\nreserve\r\n"))?;
            self.answer("DELETED")?;
            tally.complete(1);
        }
    }
}

/// `put`, with an hour to run.
fn put() -> String {
    let payload = load::payload();
    format!("put 0 0 3600 {}\r\n{payload}\r\n", payload.len())
}

impl Queue for Tube {
    fn emit(&mut self, producers: usize, extent: Extent) -> Measured {
        let connections: Vec<_> = (0..producers).map(|_| Mutex::new(self.connect())).collect();
        let put = put();
        load::by_threads(producers, extent, 1, |producer| {
            let mut connection = connections[producer].lock().unwrap_or_else(PoisonError::into_inner);
            connection.send(&put).expect("a put is sent");
            connection.answer("INSERTED").expect("a put succeeds");
        })
    }

    fn fill(&mut self, events: u64, time: Duration) -> u64 {
        let mut connection = self.connect();
        let puts = put().repeat(usize::try_from(FILL_BATCH).expect("batches are small"));
        let until = Instant::now() + time;
        let mut filled = 0;
        while filled < events && Instant::now() < until {
            connection.send(&puts).expect("puts are sent");
            for _ in 0..FILL_BATCH {
                connection.answer("INSERTED").expect("a put succeeds");
            }
            filled += FILL_BATCH;
        }
        filled
    }

    fn handle(&mut self, handlers: usize, tally: &Arc<Tally>) {
        for _ in 0..handlers {
            let (mut connection, tally) = (self.connect(), Arc::clone(tally));
            // Its error is the end of the server; were it another, the count would never be reached, which is told.
            thread::spawn(move || connection.handle(&tally));
        }
    }

    fn finish(&mut self, tally: &Tally, events: u64) {
        tally.wait(events);
    }
}
