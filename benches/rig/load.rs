//! Many connections that are kept alive, each asking again as soon as it was answered, driven by one thread: non-blocking sockets,
//! requests of one length that differ in a few places, answers of one length that are looked at for their status only. It is to cost
//! as little as possible, because it runs on the cores of the server that it loads.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::latency::Latencies;

/// Open connections to one server.
pub(crate) struct Load {
    connections: Vec<Connection>,
    events: rustix::fd::OwnedFd,
    /// Bytes of every answer.
    answer_bytes: usize,
}

struct Connection {
    socket: TcpStream,
    /// The request that is under way.
    request: Vec<u8>,
    /// Bytes of the answer so far.
    received: usize,
    began: Instant,
    is_busy: bool,
}

impl Load {
    /// Opens `count` connections, and learns from one answer to `request` how long all are.
    pub(crate) fn open(address: SocketAddr, count: usize, request: &[u8]) -> Self {
        let connect = || TcpStream::connect(address).expect("the server listens");
        let mut sockets: Vec<TcpStream> = (0..count).map(|_| connect()).collect();
        let answer_bytes = sockets.first_mut().map_or(0, |socket| {
            socket.write_all(request).expect("the server reads");
            one_answer(socket)
        });
        let events = epoll::create(CreateFlags::CLOEXEC).expect("an epoll is created");
        let watched = sockets.into_iter().zip(0..).map(|(socket, number)| {
            socket.set_nodelay(true).expect("it is a socket");
            socket.set_nonblocking(true).expect("it is a socket");
            let readable = EventFlags::IN | EventFlags::ET;
            epoll::add(&events, &socket, EventData::new_u64(number), readable).expect("it is watched");
            Connection { socket, request: Vec::new(), received: 0, began: Instant::now(), is_busy: false }
        });
        Self { connections: watched.collect(), events, answer_bytes }
    }

    /// The time until `count` requests were answered with 200. `render` writes the next one into a buffer.
    pub(crate) fn time(
        &mut self,
        count: u64,
        mut latencies: Option<&mut Latencies>,
        mut render: impl FnMut(&mut Vec<u8>),
    ) -> Duration {
        let began = Instant::now();
        let is_timed = latencies.is_some();
        let (mut asked, mut answered) = (0, 0);
        for connection in self.connections.iter_mut().take(usize::try_from(count).unwrap_or(usize::MAX)) {
            connection.ask(&mut render, is_timed);
            asked += 1;
        }
        let mut ready = Vec::with_capacity(self.connections.len());
        while answered < count {
            ready.clear();
            let second = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
            epoll::wait(&self.events, spare_capacity(&mut ready), Some(&second)).expect("sockets are watched");
            assert!(!ready.is_empty(), "a request was not answered within ten seconds");
            for event in &ready {
                let number = usize::try_from(event.data.u64()).expect("it is one of ours");
                let connection = self.connections.get_mut(number).expect("it is one of ours");
                if !connection.hears(self.answer_bytes) {
                    continue;
                }
                answered += 1;
                if let Some(latencies) = &mut latencies {
                    latencies.count(connection.began.elapsed());
                }
                if asked < count {
                    connection.ask(&mut render, is_timed);
                    asked += 1;
                }
            }
        }
        began.elapsed()
    }
}

impl Connection {
    fn ask(&mut self, render: &mut impl FnMut(&mut Vec<u8>), is_timed: bool) {
        render(&mut self.request);
        if is_timed {
            self.began = Instant::now();
        }
        // One request fits into every socket's buffer, and the one before was read.
        let sent = self.socket.write(&self.request).expect("the server reads");
        assert_eq!(sent, self.request.len(), "a request is sent at once");
        self.received = 0;
        self.is_busy = true;
    }

    /// Takes what has come; true once the answer is whole.
    fn hears(&mut self, answer_bytes: usize) -> bool {
        let mut bytes = [0; 1024];
        while self.is_busy {
            match self.socket.read(&mut bytes) {
                Ok(0) => unreachable!("the server has closed a connection"),
                Ok(count) => {
                    if self.received == 0 {
                        assert!(bytes.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&bytes));
                    }
                    self.received += count;
                    self.is_busy = self.received < answer_bytes;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => unreachable!("a connection is broken: {error}"),
            }
            if !self.is_busy {
                return true;
            }
        }
        false
    }
}

/// Reads one answer, and says how long it was.
fn one_answer(socket: &mut TcpStream) -> usize {
    let mut answer = Vec::new();
    let mut bytes = [0; 1024];
    loop {
        let count = socket.read(&mut bytes).expect("the server answers");
        assert!(count > 0, "the server has closed a connection");
        answer.extend_from_slice(bytes.get(..count).unwrap_or_default());
        let text = String::from_utf8_lossy(&answer).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
        if body.len() == length.expect("answers say how long they are") {
            return answer.len();
        }
    }
}

/// Answers requests of `request_bytes` on `count` connections with `answer`, knowing nothing of HTTP, until all are closed.
pub(crate) fn answer_blindly(listener: &std::net::TcpListener, count: usize, request_bytes: usize, answer: &[u8]) {
    let events = epoll::create(CreateFlags::CLOEXEC).expect("an epoll is created");
    let mut connections = Vec::new();
    for number in 0..count {
        let (socket, _) = listener.accept().expect("somebody connects");
        socket.set_nodelay(true).expect("it is a socket");
        socket.set_nonblocking(true).expect("it is a socket");
        epoll::add(&events, &socket, EventData::new_u64(number as u64), EventFlags::IN).expect("it is watched");
        connections.push((socket, 0));
    }
    let mut ready = Vec::with_capacity(count);
    let mut bytes = vec![0; 16 * 1024];
    let mut open = count;
    while open > 0 {
        ready.clear();
        epoll::wait(&events, spare_capacity(&mut ready), None).expect("sockets are watched");
        for event in &ready {
            let number = usize::try_from(event.data.u64()).expect("it is one of ours");
            let (socket, received) = connections.get_mut(number).expect("it is one of ours");
            match socket.read(&mut bytes) {
                Ok(0) | Err(_) => {
                    epoll::delete(&events, &*socket).expect("it was watched");
                    open -= 1;
                }
                Ok(count) => *received += count,
            }
            if *received >= request_bytes {
                *received -= request_bytes;
                socket.write_all(answer).expect("the load reads");
            }
        }
    }
}
