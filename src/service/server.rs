//! Connections: how many, how slow, how long.
//!
//! One task accepts and deals the connections out to a few threads, each with a runtime of its own; there a task serves each. On a
//! runtime of several threads a request would wander between them, and its wake-ups begin with waking a thread. Whoever sends its headers
//! too slowly is cut off, and so is whoever keeps a connection for too long without need: a peer that never reads its answers would
//! otherwise hold its place for ever.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{JoinError, JoinSet};

use super::own_thread;
use super::recurrence::Recurrence;
use crate::env::Clock;
use crate::error::Error;

/// What a connection buffers of a request's head. The bound is soft: a read may pass it, and about three times as much arrives before
/// the answer is 431. Linear's heads have less than 1 KiB.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// How long a connection that waits for a place lets others close before the next of them is asked to.
const CROWD_PAUSE: Duration = Duration::from_millis(100);

/// A connection that is younger is not asked to close.
const AGE_MIN: Duration = Duration::from_secs(1);

/// Wait after a connection could not be accepted, for example because all file descriptors are in use.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Threads that serve. One has no more than a core; more than two only keep others from the processor, because all that they take goes
/// through one log.
const THREADS: usize = 2;

/// What answers requests; every connection has a clone.
pub(super) trait Answers:
    Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> Answers for S where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// Bounds of the connections.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// Served at once; of further ones one waits for a place, the others in the system's backlog.
    pub(super) connections_max: usize,
    /// From the first moment, or the last answer, to the end of a request's head.
    pub(super) head_timeout: Duration,
    /// After this a connection ends with the request that it is busy with.
    pub(super) age_max: Duration,
    /// How long that request may still take, and how long all may take when the server ends.
    pub(super) grace: Duration,
}

impl Limits {
    /// Limits that suit deliveries, with at most this many connections at once.
    pub(super) fn connections(connections_max: usize) -> Self {
        Self {
            connections_max,
            head_timeout: Duration::from_secs(10),
            age_max: Duration::from_mins(5),
            grace: Duration::from_secs(10),
        }
    }
}

/// A connection, and its place among those that are served at once.
type Arrival = (std::net::TcpStream, Option<OwnedSemaphorePermit>);

/// Where connections are served at once.
struct Places {
    count: usize,
    free: Arc<Semaphore>,
    /// Asks one connection after the other to close.
    crowd: Arc<Notify>,
    /// That none was free.
    taken: Recurrence,
    clock: Clock,
}

/// Serves `service` on `listener` until `shutdown`. Then nothing more is accepted, requests that are being served may end, and after
/// the grace the rest is cut off.
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io) if a thread cannot be started.
pub(super) async fn run(
    listener: TcpListener,
    service: impl Answers,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let places = Places::new(limits.connections_max);
    let mut threads = JoinSet::new();
    let mut ways = Vec::new();
    for _ in 0..THREADS {
        let (way, arrivals) = mpsc::unbounded_channel();
        let (service, limits, crowd) = (service.clone(), limits.clone(), Arc::clone(&places.crowd));
        threads.spawn(own_thread::run("ledgerline-receive", move || serve_all(arrivals, service, limits, crowd)));
        ways.push(way);
    }
    let mut shutdown = pin!(shutdown);
    for way in ways.iter().cycle() {
        let arrival = tokio::select! {
            arrival = places.accept(&listener) => arrival,
            ended = threads.join_next() => return ended.map_or(Ok(()), passed_on),
            () = &mut shutdown => break,
        };
        // A thread that takes nothing has ended, and that is noticed above.
        let _ = way.send(arrival);
    }
    drop((listener, ways));
    while let Some(ended) = threads.join_next().await {
        passed_on(ended)?;
    }
    Ok(())
}

/// A panic of a thread, or of the server, is one of whoever runs it.
pub(super) fn passed_on(ended: Result<Result<(), Error>, JoinError>) -> Result<(), Error> {
    ended.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Ok(()),
    })
}

/// Serves what arrives. Once nothing more can, requests may end.
async fn serve_all(
    mut arrivals: mpsc::UnboundedReceiver<Arrival>,
    service: impl Answers,
    limits: Limits,
    crowd: Arc<Notify>,
) {
    let (close, closing) = watch::channel(false);
    let mut connections = JoinSet::new();
    while let Some((stream, slot)) = arrivals.recv().await {
        match TcpStream::from_std(stream) {
            Ok(stream) => {
                let served = serve(stream, service.clone(), limits.clone(), closing.clone(), Arc::clone(&crowd));
                connections.spawn(async move {
                    served.await;
                    drop(slot);
                });
            }
            Err(error) => tracing::warn!(%error, "cannot serve a connection"),
        }
        while connections.try_join_next().is_some() {}
    }
    close.send_replace(true);
    while connections.join_next().await.is_some() {}
}

impl Places {
    fn new(count: usize) -> Self {
        let (free, crowd) = (Arc::new(Semaphore::new(count)), Arc::new(Notify::new()));
        Self { count, free, crowd, taken: Recurrence::default(), clock: Clock::system() }
    }

    /// The next connection and its place. While it waits for one, those that were first are asked to close, one by one: most of them have
    /// nothing to say now.
    async fn accept(&self, listener: &TcpListener) -> Arrival {
        let stream = loop {
            match listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
                Ok(stream) => break stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        };
        let mut place = Arc::clone(&self.free).try_acquire_owned().ok();
        if place.is_none() && self.taken.count(self.clock.steady()).is_some() {
            let count = self.count;
            tracing::warn!("all {count} places for connections are taken (connections_max): new ones wait for one");
        }
        while place.is_none() {
            self.crowd.notify_one();
            // Nobody closes the semaphore, so there always is a place at last.
            let freed = tokio::time::timeout(CROWD_PAUSE, Arc::clone(&self.free).acquire_owned()).await;
            place = freed.ok().and_then(Result::ok);
        }
        (stream, place)
    }
}

async fn serve(
    stream: TcpStream,
    service: impl Answers,
    limits: Limits,
    mut closing: watch::Receiver<bool>,
    crowd: Arc<Notify>,
) {
    // Answers are small and single: waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        // Whoever has said all that he wants to say still waits for the answer.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let asked_to_close = async {
        // Whoever has just come has hardly said anything yet.
        tokio::time::sleep(AGE_MIN).await;
        crowd.notified().await;
    };
    // What has been said is heard before anything else.
    tokio::select! {
        biased;
        ended = connection.as_mut() => return told(ended),
        () = asked_to_close => {}
        () = tokio::time::sleep(limits.age_max) => {}
        _ = closing.wait_for(|closing| *closing) => {}
    }
    connection.as_mut().graceful_shutdown();
    if let Ok(ended) = tokio::time::timeout(limits.grace, connection).await {
        told(ended);
    }
}

/// Most connections that end badly were ended by the other side, and say nothing about this one.
fn told(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended badly");
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use hyper::service::service_fn;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::oneshot;

    use super::*;
    use crate::service::told::Told;

    fn limits() -> Limits {
        Limits { grace: Duration::from_millis(200), ..Limits::connections(2) }
    }

    /// A server on a free port, and what ends it.
    async fn server(limits: Limits) -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<Result<(), Error>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = service_fn(async |request: Request<Incoming>| {
            if request.uri().path() == "/slow" {
                std::future::pending::<()>().await;
            }
            Ok(Response::new(Full::from("hello")))
        });
        let (end, ended) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = ended.await;
        };
        (address, end, tokio::spawn(run(listener, service, limits, shutdown)))
    }

    async fn asked(address: SocketAddr, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The server may answer, and close, before it has read everything.
        let _ = stream.write_all(request.as_bytes()).await;
        stream
    }

    async fn rest(mut stream: TcpStream) -> String {
        let mut text = String::new();
        // A connection that is cut off may be reset.
        let _ = stream.read_to_string(&mut text).await;
        text
    }

    #[tokio::test]
    async fn whoever_sends_its_head_too_slowly_is_cut_off_and_frees_its_place() {
        let limits = Limits { connections_max: 1, head_timeout: Duration::from_millis(50), ..limits() };
        let (address, _end, _task) = server(limits).await;
        let slow = asked(address, "GET / HTTP/1.1\r\nHost: x\r\n").await;
        let waiting = asked(address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(!rest(slow).await.contains("hello"));
        assert!(rest(waiting).await.ends_with("hello"));
    }

    #[tokio::test]
    async fn an_idle_connection_is_closed() {
        let (address, _end, _task) = server(Limits { head_timeout: Duration::from_millis(50), ..limits() }).await;
        let idle = asked(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(rest(idle).await.ends_with("hello"));
        let silent = asked(address, "").await;
        assert_eq!(rest(silent).await, "");
    }

    #[tokio::test]
    async fn where_all_places_are_taken_a_connection_that_rests_makes_way() {
        let (address, _end, _task) = server(Limits { connections_max: 1, ..limits() }).await;
        let mut resting = asked(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let mut start = [0; 12];
        resting.read_exact(&mut start).await.unwrap();
        let began = tokio::time::Instant::now();
        let (told, _guard) = Told::here();
        for _ in 0..2 {
            let other = asked(address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
            assert!(rest(other).await.ends_with("hello"));
        }
        let expected = "WARN all 1 places for connections are taken (connections_max): new ones wait for one";
        assert_eq!(told.take(), [expected], "and that once, however many have waited");
        assert!(began.elapsed() < limits().head_timeout / 2, "it did not wait for that");
        assert!(rest(resting).await.ends_with("hello"), "its answer was whole");
    }

    #[tokio::test]
    async fn a_connection_that_has_just_come_is_not_asked_to_close_before_it_could_say_something() {
        let (address, _end, _task) = server(Limits { connections_max: 2, ..limits() }).await;
        let slow = asked(address, "GET / HTTP/1.1\r\n").await;
        let mut late = asked(address, "").await;
        // It takes the place of one of them, whose time has come.
        let other = asked(address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        tokio::time::sleep(AGE_MIN / 5).await;
        late.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        assert!(rest(late).await.ends_with("hello"));
        assert!(rest(other).await.ends_with("hello"));
        drop(slow);
    }

    #[tokio::test]
    async fn an_old_connection_is_closed_even_if_it_is_busy() {
        let (address, _end, _task) = server(Limits { age_max: Duration::from_millis(50), ..limits() }).await;
        let busy = asked(address, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(rest(busy).await, "");
    }

    #[tokio::test]
    async fn a_head_that_is_too_long_is_refused() {
        let (address, _end, _task) = server(limits()).await;
        let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(4 * HEAD_BYTES_MAX));
        assert!(rest(asked(address, &head).await).await.starts_with("HTTP/1.1 431"));
    }

    #[tokio::test]
    async fn the_end_waits_for_requests_no_longer_than_the_grace_and_closes_idle_connections() {
        let (address, end, task) = server(limits()).await;
        let idle = asked(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let mut answered = idle;
        let mut start = [0; 12];
        answered.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
        let busy = asked(address, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
        end.send(()).unwrap();
        task.await.unwrap().unwrap();
        assert!(rest(answered).await.ends_with("hello"));
        assert_eq!(rest(busy).await, "");
        TcpStream::connect(address).await.unwrap_err();
    }
}
