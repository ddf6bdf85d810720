//! Redis streams with a consumer group, made to sync before each answer. A connection per producer and per consumer; consumers take
//! and acknowledge up to 16 entries at once, and delete what is completed.

use std::fmt::Write as _;
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
    name: "Redis",
    made: Made::Program("redis-server", "--version"),
    how: "streams, `appendfsync always`, by a Unix socket; consumers take and acknowledge batches of 16, and completed \
          entries are deleted, so it keeps no history",
    log: None,
    queue: Some(|dir| Box::new(Stream::new(dir))),
};

const STREAM: &str = "events";
const GROUP: &str = "handlers";
/// Entries that a consumer takes at once.
const TAKEN_MAX: &str = "16";
/// Entries that are sent before the answers are read, where a stream is filled.
const FILL_BATCH: u64 = 500;

struct Stream(Server);

impl Stream {
    fn new(dir: &Path) -> Self {
        let dir = dir.to_str().expect("the path is UTF-8").to_owned();
        let stream = Self(Server::start("redis-server", |socket| {
            let always = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""];
            // Rewriting its log would be in its way.
            let place = ["--auto-aof-rewrite-percentage", "0", "--dir", &dir, "--port", "0", "--unixsocket", socket];
            always.iter().chain(&place).map(|argument| (*argument).to_owned()).collect()
        }));
        let mut connection = stream.connect();
        connection.send(&request(&["XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM"])).expect("a request is sent");
        connection.answer().expect("a group is created");
        stream
    }

    fn connect(&self) -> Connection {
        let stream = self.0.connect();
        Connection { answers: BufReader::new(stream.try_clone().expect("a descriptor is free")), stream }
    }
}

/// A request as it travels.
fn request(words: &[&str]) -> String {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        let _ = write!(request, "${}\r\n{word}\r\n", word.len());
    }
    request
}

enum Answer {
    /// A number, a status, or nothing: no row looks at which.
    Word,
    Bytes(Vec<u8>),
    List(Vec<Answer>),
}

impl Answer {
    fn list(self) -> Vec<Answer> {
        if let Self::List(list) = self { list } else { Vec::new() }
    }

    fn bytes(self) -> Vec<u8> {
        if let Self::Bytes(bytes) = self { bytes } else { Vec::new() }
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

    fn answer(&mut self) -> io::Result<Answer> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let kind = line.chars().next().ok_or(io::ErrorKind::UnexpectedEof)?;
        let rest = line[kind.len_utf8()..].trim_end();
        match kind {
            '+' | ':' => Ok(Answer::Word),
            '$' | '*' if rest == "-1" => Ok(Answer::Word),
            '$' => {
                let len: usize = rest.parse().map_err(io::Error::other)?;
                let mut bytes = vec![0; len + "\r\n".len()];
                self.answers.read_exact(&mut bytes)?;
                bytes.truncate(len);
                Ok(Answer::Bytes(bytes))
            }
            '*' => {
                let len: usize = rest.parse().map_err(io::Error::other)?;
                (0..len).map(|_| self.answer()).collect::<io::Result<_>>().map(Answer::List)
            }
            _ => Err(io::Error::other(format!("it answered {line:?}"))),
        }
    }

    /// The ids and bodies of the entries that were taken.
    fn taken(&mut self) -> io::Result<Vec<(String, Vec<u8>)>> {
        let streams = self.answer()?.list();
        let entries = streams.into_iter().flat_map(|stream| stream.list().into_iter().flat_map(Answer::list));
        let read = entries.filter_map(|entry| {
            let mut parts = entry.list().into_iter();
            let id = String::from_utf8(parts.next()?.bytes()).ok()?;
            Some((id, parts.next()?.list().pop()?.bytes()))
        });
        Ok(read.collect())
    }

    /// Handles entries until the server is gone.
    fn handle(&mut self, consumer: &str, tally: &Tally) -> io::Result<()> {
        let take = request(&[
            "XREADGROUP",
            "GROUP",
            GROUP,
            consumer,
            "COUNT",
            TAKEN_MAX,
            "BLOCK",
            "0",
            "STREAMS",
            STREAM,
            ">",
        ]);
        self.send(&take)?;
        loop {
            let taken = self.taken()?;
            for (_, body) in &taken {
                tally.handle(body);
            }
            let ids = taken.iter().map(|(id, _)| id.as_str());
            let acknowledge: Vec<&str> = ["XACK", STREAM, GROUP].into_iter().chain(ids.clone()).collect();
            let delete: Vec<&str> = ["XDEL", STREAM].into_iter().chain(ids).collect();
            self.send(&[request(&acknowledge), request(&delete), take.clone()].concat())?;
            self.answer()?;
            self.answer()?;
            tally.complete(taken.len() as u64);
        }
    }
}

fn add() -> String {
    request(&["XADD", STREAM, "*", "body", &load::payload()])
}

impl Queue for Stream {
    fn emit(&mut self, producers: usize, extent: Extent) -> Measured {
        let connections: Vec<_> = (0..producers).map(|_| Mutex::new(self.connect())).collect();
        let add = add();
        load::by_threads(producers, extent, 1, |producer| {
            let mut connection = connections[producer].lock().unwrap_or_else(PoisonError::into_inner);
            connection.send(&add).expect("an entry is sent");
            connection.answer().expect("an entry is added");
        })
    }

    fn fill(&mut self, events: u64, time: Duration) -> u64 {
        let mut connection = self.connect();
        let adds = add().repeat(usize::try_from(FILL_BATCH).expect("batches are small"));
        let until = Instant::now() + time;
        let mut filled = 0;
        while filled < events && Instant::now() < until {
            connection.send(&adds).expect("entries are sent");
            for _ in 0..FILL_BATCH {
                connection.answer().expect("an entry is added");
            }
            filled += FILL_BATCH;
        }
        filled
    }

    fn handle(&mut self, handlers: usize, tally: &Arc<Tally>) {
        for consumer in 0..handlers {
            let (mut connection, tally) = (self.connect(), Arc::clone(tally));
            // Its error is the end of the server; were it another, the count would never be reached, which is told.
            thread::spawn(move || connection.handle(&consumer.to_string(), &tally));
        }
    }

    fn finish(&mut self, tally: &Tally, events: u64) {
        tally.wait(events);
    }
}
