//! The receiver: what is served on the published address, and in which order a delivery is looked at.
//!
//! ```text
//! limits ──► signature over the raw body ──► JSON ──► store ──► 200
//!   413, 408, 503  401                        400      503
//! ```
//!
//! This listener is published through tunnels, so it serves the webhook and four bare codes of health, and nothing else: no lists, no
//! numbers, no version. Nothing of a body is looked at before its signature is proven, and what an unproven sender is told is one
//! uniform answer. 200 is said once the event is durable, never earlier.

use std::fmt::Display;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::answer::{self, Answer};
use super::config::Stale;
use super::recurrence::Recurrence;
use super::server::Answers;
use crate::env::Clock;
use crate::error::{Error, ErrorKind};
use crate::event::{NewEvent, Timestamp};
use crate::manager::EventManager;
use crate::store::Receipt;
use crate::webhook::{self, Delivery, Note, Secret};

/// Where Linear posts to.
pub(super) const PATH: &str = "/webhooks/linear";

/// How long a body may take to arrive. Linear itself gives up after 5 s.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Room made for a body before its bytes are there: a declared length is only a claim.
const BODY_BYTES_AHEAD: usize = 16 * 1024;

/// What bodies that are arriving may hold together, beyond [`BODY_BYTES_AHEAD`] of each: nobody fills the memory with what he cannot sign,
/// and whoever tries keeps out none of ordinary length.
const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Room for bodies that are arriving.
pub(super) fn bodies() -> Semaphore {
    Semaphore::new(BODIES_BYTES_MAX)
}

/// For how long, and for how many bytes, the rest of a refused body is still read and thrown away: where bytes are left unread the
/// system resets the connection, and the answer may be lost with it.
const DRAIN_TIME: Duration = Duration::from_secs(1);
const DRAIN_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What it takes to judge and keep a delivery.
pub(super) struct Receiver {
    pub(super) manager: EventManager,
    pub(super) secrets: Vec<Secret>,
    pub(super) body_bytes_max: usize,
    /// A permit is a byte.
    pub(super) bodies: Semaphore,
    pub(super) body_timeout: Duration,
    pub(super) stale_tolerance: Duration,
    pub(super) stale: Stale,
    pub(super) clock: Clock,
    /// Refusals of what nobody has proven.
    pub(super) unproven: Recurrence,
    /// Deliveries that the store did not take: on a full disk that is every one.
    pub(super) unkept: Recurrence,
}

/// Everything that this listener serves. So few paths need no router.
pub(super) fn service(door: Arc<Door>) -> impl Answers {
    service_fn(move |request| {
        let door = Arc::clone(&door);
        async move { Ok(door.answer(request).await) }
    })
}

/// Where deliveries come in. Before it is opened, while a store is recovered, whoever knocks is told that somebody lives here, and to
/// come again.
#[derive(Default)]
pub(super) struct Door {
    receiver: OnceLock<Receiver>,
}

impl Door {
    /// Lets deliveries in from now on.
    pub(super) fn open(&self, receiver: Receiver) {
        assert!(self.receiver.set(receiver).is_ok(), "a door is opened once");
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let receiver = self.receiver.get();
        let health = match request.uri().path() {
            PATH if request.method() == Method::POST => {
                return match receiver {
                    Some(receiver) => receiver.receive(request).await,
                    None => turned_away(request),
                };
            }
            PATH => return answer::not_allowed("POST"),
            "/livez" => |_: Option<&Receiver>| true,
            "/readyz" => |receiver: Option<&Receiver>| receiver.is_some_and(Receiver::is_ready),
            "/healthz" => |receiver: Option<&Receiver>| receiver.is_some_and(|it| it.manager.health().healthy),
            _ => return answer::bare(StatusCode::NOT_FOUND),
        };
        match *request.method() {
            Method::GET | Method::HEAD => answer::bare(code(health(receiver))),
            _ => answer::not_allowed("GET,HEAD"),
        }
    }
}

/// Has a delivery come again, because the store is still being recovered.
fn turned_away(request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    drain(body, &head.headers);
    closing(answer::recovering())
}

fn code(well: bool) -> StatusCode {
    if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// Why there is no whole body.
enum Incomplete {
    TooLong,
    /// Those that are arriving take all the room.
    Crowded,
    Broken(hyper::Error),
}

/// All bytes of `body`, unless they are, or claim to be, more than `bytes_max`; and the room among `bodies` that they take.
async fn whole<'b>(
    body: &mut Incoming,
    bytes_max: usize,
    bodies: &'b Semaphore,
) -> Result<(Vec<u8>, SemaphorePermit<'b>), Incomplete> {
    let claimed = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if claimed > bytes_max {
        return Err(Incomplete::TooLong);
    }
    let mut bytes = Vec::with_capacity(claimed.min(BODY_BYTES_AHEAD));
    let room = |bytes: usize| {
        let bytes = u32::try_from(bytes).map_err(|_| Incomplete::TooLong)?;
        bodies.try_acquire_many(bytes).map_err(|_| Incomplete::Crowded)
    };
    let mut held = room(0)?;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Incomplete::Broken)?.into_data() else { continue };
        if data.len() > bytes_max - bytes.len() {
            return Err(Incomplete::TooLong);
        }
        let beyond = (bytes.len() + data.len()).saturating_sub(BODY_BYTES_AHEAD);
        held.merge(room(beyond - held.num_permits())?);
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, held))
}

/// Reads on, beside the answer, what is still arriving of a body. A sender that said to wait until he is told to go on (`Expect`) is
/// left to do so.
fn drain(mut body: Incoming, headers: &HeaderMap) {
    if headers.contains_key(header::EXPECT) {
        return;
    }
    tokio::spawn(tokio::time::timeout(DRAIN_TIME, async move {
        let mut left = DRAIN_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                Some(less) => left = less,
                None => break,
            }
        }
    }));
}

/// The connection ends with this answer: the rest of the body is not waited for.
fn closing(mut response: Answer) -> Answer {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

impl Receiver {
    /// Tells that what nobody has proven was refused, if it is time to.
    fn tell_refusal(&self, why: &dyn Display) {
        match self.unproven.count(self.clock.steady()) {
            Some(0) => tracing::warn!("a delivery was refused: {why}"),
            Some(untold) => tracing::warn!(untold, "a delivery was refused, as were others that were not told: {why}"),
            None => tracing::debug!("a delivery was refused: {why}"),
        }
    }

    /// Tells what could not be done for a proven delivery, if it is time to.
    fn tell_failure(&self, what: &str, error: &Error) {
        match self.unkept.count(self.clock.steady()) {
            Some(0) => tracing::error!(?error, "{what}"),
            Some(untold) => tracing::error!(untold, ?error, "{what}, nor could others be served that were not told"),
            None => tracing::debug!(?error, "{what}"),
        }
    }

    /// Whether deliveries are taken.
    fn is_ready(&self) -> bool {
        self.manager.is_running() && self.manager.store().is_taking()
    }

    async fn receive(&self, request: Request<Incoming>) -> Answer {
        let (head, mut body) = request.into_parts();
        let whole = whole(&mut body, self.body_bytes_max, &self.bodies);
        let refused = match tokio::time::timeout(self.body_timeout, whole).await {
            Ok(Ok((body, _room))) => return self.judge(&head.headers, body).await,
            Ok(Err(Incomplete::Crowded)) => {
                self.tell_refusal(&"those that are arriving take all the room for bodies");
                answer::busy()
            }
            Ok(Err(Incomplete::TooLong)) => {
                self.tell_refusal(&format_args!(
                    "its body has more than {} bytes (body_bytes_max)",
                    self.body_bytes_max
                ));
                answer::refused(ErrorKind::TooLarge)
            }
            Ok(Err(Incomplete::Broken(error))) => {
                tracing::debug!(%error, "a delivery broke off");
                return closing(answer::bare(StatusCode::BAD_REQUEST));
            }
            Err(_) => {
                self.tell_refusal(&format_args!("its body did not arrive within {:?}", self.body_timeout));
                answer::timeout()
            }
        };
        drain(body, &head.headers);
        closing(refused)
    }

    async fn judge(&self, headers: &HeaderMap, body: Vec<u8>) -> Answer {
        if let Err(unproven) = webhook::verify(&self.secrets, &body, signature(headers)) {
            self.tell_refusal(&unproven);
            return answer::unauthorized();
        }
        let received_at = Timestamp::from(self.clock.read().wall);
        let delivery = Delivery { headers: texts(headers), body, received_at };
        let (event, notes) = match webhook::read(delivery, self.stale_tolerance) {
            Ok(read) => read,
            Err(unreadable) => {
                tracing::warn!("a signed delivery was refused: {unreadable}");
                return answer::refused(ErrorKind::InvalidInput);
            }
        };
        if event.stale && self.stale == Stale::Rejected {
            return self.judge_stale(&event, &notes).await;
        }
        let delivery = event.id.clone().unwrap_or_default();
        match self.manager.try_emit_event(event).await {
            Ok(receipt) => {
                for note in notes {
                    tell_note(&note, &receipt);
                }
                if receipt.duplicate.is_none() && receipt.id != delivery {
                    tell_renamed(&delivery, &receipt);
                }
                tracing::debug!(id = %receipt.id.escape_debug(), duplicate = ?receipt.duplicate, "kept");
                answer::kept(&receipt)
            }
            Err(error) => {
                self.tell_failure("a proven delivery was not kept", &error);
                answer::refused(error.kind())
            }
        }
    }

    /// Refuses a delivery whose time is off, unless it was kept before: then it is one that was sent again because its sender has missed
    /// the answer, and he would count it lost.
    async fn judge_stale(&self, event: &NewEvent, notes: &[Note]) -> Answer {
        match self.manager.known(event).await {
            Ok(Some(receipt)) => answer::kept(&receipt),
            Ok(None) => {
                let why = notes.iter().find(|note| note.marks_stale());
                let (id, why) =
                    (event.id.as_deref().unwrap_or_default(), why.map_or_else(String::new, Note::to_string));
                tracing::warn!(id = %id.escape_debug(), "a signed delivery was refused, because its time is off: {why}");
                answer::unauthorized()
            }
            Err(error) => {
                self.tell_failure("whether a proven delivery was kept before cannot be told", &error);
                answer::refused(error.kind())
            }
        }
    }
}

/// Tells what is odd about a delivery, and what became of it.
fn tell_note(note: &Note, receipt: &Receipt) {
    let id = receipt.id.escape_debug();
    match receipt.duplicate {
        Some(_) => tracing::warn!(%id, "a duplicate, of which nothing is kept: {note}"),
        None if note.marks_stale() => tracing::warn!(%id, "{note}: marked as stale"),
        None => tracing::warn!(%id, "{note}"),
    }
}

/// Tells that a delivery is not found under its own id.
fn tell_renamed(delivery: &str, receipt: &Receipt) {
    let (delivery, id) = (delivery.escape_debug(), receipt.id.escape_debug());
    tracing::warn!(%delivery, %id, "the delivery's id was taken by another body: it is kept under another id");
}

/// The one signature. Where there are several, none of them counts.
fn signature(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all("linear-signature").iter();
    let first = values.next()?;
    Some(if values.next().is_some() { b"" } else { first.as_bytes() })
}

/// The headers that are worth copying.
fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let kept = headers.iter().filter(|(name, _)| webhook::is_kept(name.as_str()));
    kept.map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::event::Event;
    use crate::service::server::{self, Limits};
    use crate::service::told::Told;

    const SECRET: &[u8] = b"a secret for these tests";

    /// A receiver whose bodies may take 50 ms, before a manager without workers.
    async fn receiver(directory: &tempfile::TempDir) -> (SocketAddr, EventManager) {
        receiver_as(directory, |receiver| receiver).await
    }

    async fn receiver_as(
        directory: &tempfile::TempDir,
        other: impl FnOnce(Receiver) -> Receiver,
    ) -> (SocketAddr, EventManager) {
        let manager = EventManager::builder(directory.path().join("data")).open().await.unwrap();
        let door = Arc::new(Door::default());
        door.open(other(before(manager.clone())));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(server::run(listener, service(door), Limits::connections(8), std::future::pending()));
        (address, manager)
    }

    fn before(manager: EventManager) -> Receiver {
        Receiver {
            manager,
            secrets: vec![Secret::new(SECRET).unwrap()],
            body_bytes_max: 1024,
            bodies: Semaphore::new(0),
            body_timeout: Duration::from_millis(50),
            stale_tolerance: Duration::from_mins(1),
            stale: Stale::Kept,
            clock: Clock::system(),
            unproven: Recurrence::default(),
            unkept: Recurrence::default(),
        }
    }

    fn signed_headers(body: &[u8]) -> HeaderMap {
        let signature = Secret::new(SECRET).unwrap().sign(body);
        let headers = [("linear-signature", signature), ("linear-delivery", "d".to_owned())];
        headers.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    async fn answer(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    fn delivery(event_type: &str) -> String {
        signed(&format!(r#"{{"type":"{event_type}"}}"#))
    }

    fn signed(body: &str) -> String {
        let signature = Secret::new(SECRET).unwrap().sign(body.as_bytes());
        format!(
            "POST {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nLinear-Signature: {signature}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    #[tokio::test]
    async fn a_body_that_does_not_arrive_in_time_is_given_up_with_its_connection() {
        let directory = tempfile::tempdir().unwrap();
        let (address, _manager) = receiver(&directory).await;
        let request = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345");
        let answer = answer(address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }

    #[tokio::test]
    async fn before_the_store_is_recovered_it_lives_and_takes_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let door = Arc::new(Door::default());
        let limits = Limits::connections(8);
        tokio::spawn(server::run(listener, service(door), limits, std::future::pending()));
        let told = answer(address, &delivery("Issue")).await;
        assert!(told.starts_with("HTTP/1.1 503") && told.contains("retry-after: "), "{told}");
        assert!(told.ends_with("{\"error\":\"recovering\"}"), "{told}");
        for (path, status) in
            [("/livez", "200"), ("/readyz", "503"), ("/healthz", "503"), ("/stats", "404"), (PATH, "405")]
        {
            let told = answer(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
            assert!(told.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {told}");
        }
    }

    #[tokio::test]
    async fn after_the_manager_has_closed_deliveries_are_asked_to_come_again() {
        let directory = tempfile::tempdir().unwrap();
        let (address, manager) = receiver(&directory).await;
        assert!(answer(address, &delivery("Issue")).await.starts_with("HTTP/1.1 200"));
        manager.shutdown().await.unwrap();
        let answer_to_delivery = answer(address, &delivery("Comment")).await;
        assert!(answer_to_delivery.starts_with("HTTP/1.1 503"), "{answer_to_delivery}");
        assert!(answer_to_delivery.contains("retry-after: "), "{answer_to_delivery}");
        assert!(answer_to_delivery.ends_with("{\"error\":\"closed\"}"), "{answer_to_delivery}");
        for (path, status) in [("/livez", "200"), ("/readyz", "503"), ("/healthz", "503")] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let answer = answer(address, &request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
        }
    }

    #[tokio::test]
    async fn bodies_that_are_arriving_share_their_room_and_those_of_ordinary_length_need_none() {
        let directory = tempfile::tempdir().unwrap();
        let (length, timeout) = (BODY_BYTES_AHEAD * 2, Duration::from_mins(1));
        let roomy = |receiver| Receiver {
            body_bytes_max: length,
            bodies: Semaphore::new(BODY_BYTES_AHEAD * 3 / 2),
            body_timeout: timeout,
            ..receiver
        };
        let (address, _manager) = receiver_as(&directory, roomy).await;
        let head = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        let most = format!("{head}{}", "x".repeat(length - 1));
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_all(most.as_bytes()).await.unwrap();
        // It is refused as soon as it holds too much; whether that is the first or the second to arrive.
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(most.as_bytes()).await.unwrap();
        let refused = async |stream: &mut TcpStream| {
            let mut start = [0; 12];
            stream.read_exact(&mut start).await.map(|_| String::from_utf8_lossy(&start).into_owned())
        };
        let (status, mut other) = tokio::select! {
            status = refused(&mut first) => (status, second),
            status = refused(&mut second) => (status, first),
        };
        assert_eq!(status.unwrap(), "HTTP/1.1 503");
        assert!(answer(address, &delivery("Issue")).await.starts_with("HTTP/1.1 200"));
        // What the refused one had is free again.
        other.write_all(b"x").await.unwrap();
        assert_eq!(refused(&mut other).await.unwrap(), "HTTP/1.1 401");
        let whole = format!(r#"{{"type":"Issue","data":"{}"}}"#, "x".repeat(length - 30));
        assert!(answer(address, &signed(&whole)).await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn of_a_delivery_whose_time_is_off_the_log_says_what_became_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let manager = EventManager::builder(directory.path().join("data")).open().await.unwrap();
        let clock = Clock::manual(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(61));
        let (told, _guard) = Told::here();
        let body = br#"{"type":"Issue","webhookTimestamp":0}"#;
        for (stale, status, begins, ends) in [
            (Stale::Rejected, 401, "WARN a signed delivery was refused, because", ": sent 61000 ms before it arrived"),
            (Stale::Kept, 200, "WARN sent 61000 ms before it arrived: marked as stale", ""),
            (Stale::Kept, 200, "WARN a duplicate, of which nothing is kept: sent 61000 ms before it arrived", ""),
        ] {
            let receiver = Receiver { stale, clock: clock.clone(), ..before(manager.clone()) };
            assert_eq!(receiver.judge(&signed_headers(body), body.to_vec()).await.status(), status);
            let told = told.take();
            assert!(told.len() == 1 && told[0].starts_with(begins) && told[0].contains(ends), "{told:?}");
        }
    }

    #[tokio::test]
    async fn a_delivery_that_is_kept_under_another_id_is_told_with_both() {
        let directory = tempfile::tempdir().unwrap();
        let receiver = before(EventManager::builder(directory.path().join("data")).open().await.unwrap());
        let (told, _guard) = Told::here();
        for (number, lines) in [(1, 0), (1, 0), (2, 1), (2, 0)] {
            let body = format!(r#"{{"type":"Issue","webhookTimestamp":{},"n":{number}}}"#, {
                receiver.clock.read().wall.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()
            });
            let answer = receiver.judge(&signed_headers(body.as_bytes()), body.into_bytes()).await;
            assert_eq!(answer.status(), StatusCode::OK);
            let told = told.take();
            assert_eq!(told.len(), lines, "{number}: {told:?}");
            let names = |line: &String| line.contains("delivery=d id=d~") && line.contains("kept under another id");
            assert!(told.iter().all(names), "{told:?}");
        }
    }

    #[tokio::test]
    async fn that_deliveries_are_not_kept_is_told_once_a_minute_however_many_there_are() {
        let directory = tempfile::tempdir().unwrap();
        let manager = EventManager::builder(directory.path().join("data")).open().await.unwrap();
        manager.shutdown().await.unwrap();
        let receiver = Receiver { clock: Clock::manual(std::time::SystemTime::UNIX_EPOCH), ..before(manager) };
        let (told, _guard) = Told::here();
        for says in ["ERROR a proven delivery was not kept error=Closed", "ERROR a proven delivery was not kept, nor "]
        {
            for _ in 0..100 {
                let body = br#"{"type":"Issue"}"#.to_vec();
                assert_eq!(
                    receiver.judge(&signed_headers(&body), body).await.status(),
                    StatusCode::SERVICE_UNAVAILABLE
                );
            }
            let told = told.take();
            assert!(told.len() == 1 && told[0].starts_with(says), "{told:?}");
            receiver.clock.advance(Duration::from_mins(1));
        }
    }

    #[tokio::test]
    async fn a_stale_delivery_is_kept_unless_that_is_not_wanted() {
        let old = signed(r#"{"type":"Issue","webhookTimestamp":1000}"#);
        for stale in [Stale::Kept, Stale::Rejected] {
            let directory = tempfile::tempdir().unwrap();
            let (address, manager) = receiver_as(&directory, |receiver| Receiver { stale, ..receiver }).await;
            let (status, kept) = if stale == Stale::Kept { ("200", vec![true]) } else { ("401", vec![]) };
            let answer_to_delivery = answer(address, &old).await;
            assert!(answer_to_delivery.starts_with(&format!("HTTP/1.1 {status}")), "{answer_to_delivery}");
            let events = manager.list(crate::store::Filter::all()).await.unwrap();
            assert_eq!(events.iter().map(Event::is_stale).collect::<Vec<_>>(), kept);
            assert!(answer(address, &delivery("Issue")).await.starts_with("HTTP/1.1 200"), "without a time it is not");
        }
    }

    #[tokio::test]
    async fn a_delivery_that_comes_late_because_its_first_answer_was_missed_is_a_duplicate_and_not_refused() {
        let directory = tempfile::tempdir().unwrap();
        let as_if_new = |receiver| Receiver { stale_tolerance: Duration::from_secs(u64::MAX / 1_000), ..receiver };
        let old = signed(r#"{"type":"Issue","webhookTimestamp":1000}"#);
        let (address, manager) = receiver_as(&directory, as_if_new).await;
        assert!(answer(address, &old).await.starts_with("HTTP/1.1 200"));
        manager.shutdown().await.unwrap();
        let (address, _manager) =
            receiver_as(&directory, |receiver| Receiver { stale: Stale::Rejected, ..receiver }).await;
        let again = answer(address, &old).await;
        assert!(again.starts_with("HTTP/1.1 200") && again.contains("\"duplicate\":true"), "{again}");
        let other = signed(r#"{"type":"Issue","webhookTimestamp":1001,"n":1}"#);
        assert!(answer(address, &other).await.starts_with("HTTP/1.1 401"));
    }

    #[tokio::test]
    async fn whoever_sends_too_much_hears_so_though_he_sends_on() {
        let directory = tempfile::tempdir().unwrap();
        let (address, _manager) = receiver(&directory).await;
        for body in [100_000, 4_000_000] {
            let request =
                format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {body}\r\n\r\n{}", "x".repeat(body));
            let answer = answer(address, &request).await;
            assert!(answer.starts_with("HTTP/1.1 413") && answer.ends_with("{\"error\":\"too_large\"}"), "{answer}");
        }
    }
}
