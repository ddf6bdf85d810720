//! The service as its neighbours see it: Linear over HTTP, commands over the control socket, a reader of its output.
//!
//! Requests are written byte by byte, so that nothing between here and the receiver makes them better than they are. Signatures are
//! made by the HMAC crate alone, not by the code that proves them.
#![cfg(feature = "service")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "what its own scaffolding cannot do fails a test, and that includes files and clocks"
)]

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hmac::{Hmac, KeyInit as _, Mac as _};
use ledgerline::service::{Config, Ended, Given, Operation, Service, Setting, perform};
use ledgerline::{Error, ErrorKind, Filter, Status, Store};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

const SECRET: &str = "the secret of these tests";
const HOOK: &str = "/webhooks/linear";

/// Events as they are printed, and a way to wait for so many of them.
#[derive(Clone)]
struct Printed {
    text: Arc<Mutex<String>>,
    lines: watch::Sender<usize>,
    /// Whether the reader has gone away.
    closed: bool,
}

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut text = self.text.lock().unwrap();
        text.push_str(str::from_utf8(bytes).unwrap());
        self.lines.send_replace(text.lines().count());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Printed {
    fn new(closed: bool) -> Self {
        Self { text: Arc::default(), lines: watch::Sender::new(0), closed }
    }

    async fn lines(&self, count: usize) -> Vec<String> {
        self.lines.subscribe().wait_for(|lines| *lines >= count).await.unwrap();
        self.text.lock().unwrap().lines().map(str::to_owned).collect()
    }
}

/// A service in this process, on a free port and a directory of its own.
struct Running {
    directory: tempfile::TempDir,
    address: SocketAddr,
    banner: String,
    printed: Printed,
    end: oneshot::Sender<()>,
    ended: JoinHandle<Result<Ended, Error>>,
}

fn setting(flag: &str) -> &'static Setting {
    Setting::all().iter().find(|setting| setting.flag() == flag).unwrap()
}

fn given(directory: &Path) -> Given {
    Given::new().data(directory.join("data")).flag(setting("listen"), "127.0.0.1:0")
}

/// One whose secret is [`SECRET`].
fn given_secret(directory: &Path) -> Given {
    let path = directory.join("linear-secret");
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    given(directory).secret_file(path)
}

impl Running {
    async fn start() -> Self {
        Self::start_with(tempfile::tempdir().unwrap(), given_secret, Printed::new(false)).await
    }

    async fn start_with(directory: tempfile::TempDir, given: impl Fn(&Path) -> Given, printed: Printed) -> Self {
        let config = given(directory.path()).resolve().unwrap();
        let service = Service::start(config, Box::new(printed.clone())).await.unwrap();
        let (address, banner) = (service.address(), service.banner("ledgerline"));
        let (end, asked) = oneshot::channel();
        let ended = tokio::spawn(service.run(async {
            let _ = asked.await;
        }));
        Self { directory, address, banner, printed, end, ended }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn config(&self) -> Config {
        given(self.directory.path()).resolve().unwrap()
    }

    async fn post(&self, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        exchange(self.address, &request("POST", HOOK, headers, body)).await
    }

    /// Posts as Linear would, under this name.
    async fn deliver(&self, id: &str, body: &str) -> Answer {
        let signature = sign(SECRET, body.as_bytes());
        self.post(&[("Linear-Delivery", id), ("Linear-Signature", &signature)], body.as_bytes()).await
    }

    /// Asks through the control socket, as a command would.
    async fn ask(&self, operation: Operation) -> Vec<Value> {
        let config = self.config();
        tokio::task::spawn_blocking(move || documents(&config, &operation)).await.unwrap()
    }

    async fn end(self) -> (tempfile::TempDir, Ended) {
        let _ = self.end.send(());
        (self.directory, self.ended.await.unwrap().unwrap())
    }
}

/// A list of whatever there is.
fn all(limit: usize) -> Operation {
    let (status, event_type, key, since, until, after) = Default::default();
    Operation::List { status, event_type, key, since, until, after, limit }
}

fn documents(config: &Config, operation: &Operation) -> Vec<Value> {
    let mut documents = Vec::new();
    perform(config, operation, &mut |line| {
        documents.push(serde_json::from_str(&line).unwrap());
        ControlFlow::Continue(())
    })
    .unwrap();
    documents
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: receiver\r\nConnection: close\r\n");
    for (name, value) in headers {
        write!(request, "{name}: {value}\r\n").unwrap();
    }
    if !body.is_empty() {
        write!(request, "Content-Length: {}\r\n", body.len()).unwrap();
    }
    request.push_str("\r\n");
    [request.as_bytes(), body].concat()
}

async fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_lowercase(), value.to_owned())
    };
    Answer { status, headers: lines.map(header).collect(), body: body.to_owned() }
}

fn sign(secret: &str, body: &[u8]) -> String {
    let code = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(body).finalize();
    hex(&code.into_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"))
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// A body that was sent just now.
fn issue(title: &str) -> String {
    format!(
        r#"{{"action":"create","type":"Issue","data":{{"id":"key-1","title":"{title}"}},"webhookTimestamp":{}}}"#,
        now_ms()
    )
}

#[tokio::test]
async fn a_delivery_is_answered_with_its_id_and_printed_once() {
    let service = Running::start().await;
    let body = issue("one");
    let answer = service.deliver("delivery-1", &body).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"id":"delivery-1","duplicate":false}"#));
    assert_eq!(answer.header("content-type"), Some("application/json"));

    let lines = service.printed.lines(1).await;
    let event: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(
        (&event["id"], &event["event_type"], &event["action"]),
        (&json!("delivery-1"), &json!("Issue"), &json!("create"))
    );
    assert_eq!((&event["key"], &event["source"]), (&json!("key-1"), &json!("linear")));
    assert!(lines[0].contains(&body), "the body is printed as it came");

    let (directory, ended) = service.end().await;
    assert_eq!(ended, Ended::Asked);
    let store = Store::open_read_only(directory.path().join("data")).unwrap();
    let events = store.list(&Filter::all()).unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].status(), events[0].data()), (Status::Completed, body.as_str()));
}

#[tokio::test]
async fn every_refusal_has_its_code_and_tells_no_more_than_that() {
    let service = Running::start().await;
    let good = issue("one");
    let signature = sign(SECRET, good.as_bytes());
    let signed = |body: &'static str| (sign(SECRET, body.as_bytes()), body);

    let unproven: [(&str, &[(&str, &str)]); 7] = [
        ("none", &[]),
        ("empty", &[("Linear-Signature", "")]),
        ("short", &[("Linear-Signature", "5c32")]),
        ("uppercase", &[("Linear-Signature", &signature.to_uppercase())]),
        ("prefixed", &[("Linear-Signature", &format!("sha256={signature}"))]),
        ("of another secret", &[("Linear-Signature", &sign("a secret of somebody else", good.as_bytes()))]),
        ("twice", &[("Linear-Signature", &signature), ("Linear-Signature", &signature)]),
    ];
    let mut answers = Vec::new();
    for (name, headers) in unproven {
        let answer = service.post(headers, good.as_bytes()).await;
        assert_eq!((answer.status, answer.body.as_str()), (401, r#"{"error":"unauthorized"}"#), "{name}");
        answers.push(Answer {
            headers: answer.headers.into_iter().filter(|(name, _)| name != "date").collect(),
            ..answer
        });
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "one uniform answer: {answers:?}");

    for (signature, body) in
        [signed("no json"), signed("[1]"), signed("{}"), signed(r#"{"type":7}"#), signed(r#"{"type":""}"#)]
    {
        let answer = service.post(&[("Linear-Signature", &signature)], body.as_bytes()).await;
        assert_eq!((answer.status, answer.body.as_str()), (400, r#"{"error":"invalid_input"}"#), "{body}");
    }

    for path in ["/webhooks/linear?x=1", HOOK] {
        for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"] {
            let answer = exchange(service.address, &request(method, path, &[], b"")).await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method} {path}");
        }
    }
    assert!(service.ask(all(10)).await.is_empty());
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_before_it_is_read_and_while_it_is() {
    let limited = |directory: &Path| given_secret(directory).flag(setting("body-bytes-max"), "1024");
    let service = Running::start_with(tempfile::tempdir().unwrap(), limited, Printed::new(false)).await;

    // The length alone is enough: not one byte of the body is sent.
    let claimed = format!("POST {HOOK} HTTP/1.1\r\nHost: x\r\nContent-Length: 1025\r\n\r\n");
    let answer = exchange(service.address, claimed.as_bytes()).await;
    assert_eq!((answer.status, answer.body.as_str()), (413, r#"{"error":"too_large"}"#));

    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    let unannounced = format!("POST {HOOK} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}1\r\nx\r\n");
    let answer = exchange(service.address, unannounced.as_bytes()).await;
    assert_eq!(answer.status, 413);

    let body = format!(r#"{{"type":"Issue","x":"{}"}}"#, "x".repeat(1024 - 23));
    assert_eq!(body.len(), 1024);
    assert_eq!(service.deliver("exactly", &body).await.status, 200);
}

#[tokio::test]
async fn nothing_is_parsed_before_its_signature_is_proven() {
    let service = Running::start().await;
    for body in ["no json", "{\"type\":7}", "{}", "\u{0}"] {
        assert_eq!(service.post(&[("Linear-Signature", &"0".repeat(64))], body.as_bytes()).await.status, 401, "{body}");
    }
    assert_eq!(service.post(&[], b"").await.status, 401);
}

#[tokio::test]
async fn nothing_else_is_served_on_the_published_listener() {
    let service = Running::start().await;
    for path in ["/livez", "/readyz", "/healthz"] {
        let answer = exchange(service.address, &request("GET", path, &[], b"")).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path}");
        let answer = exchange(service.address, &request("POST", path, &[], b"x")).await;
        assert_eq!((answer.status, answer.body.as_str()), (405, ""), "{path}");
    }
    let paths = "
        / /webhooks /webhooks/ /webhooks/linear/ /webhooks/linear/x /webhooks/other //webhooks/linear
        /Webhooks/Linear /webhooks/../livez /webhooks%2Flinear /livez/ /metrics /stats /events /events/1
        /health /control /control.sock /admin /debug /dashboard /favicon.ico /robots.txt /.env
        /index.html /api /v1/events /replay /emit /list /show /compact /secret
    ";
    for path in paths.split_whitespace() {
        for method in ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"] {
            let answer = exchange(service.address, &request(method, path, &[], b"")).await;
            assert_eq!((answer.status, answer.body.as_str()), (404, ""), "{method} {path}");
            let names: Vec<_> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
            assert!(names.iter().all(|name| ["content-length", "connection", "date"].contains(name)), "{names:?}");
        }
    }
}

#[tokio::test]
async fn a_duplicate_is_known_by_its_delivery_and_by_its_body() {
    let service = Running::start().await;
    let body = issue("one");
    let kept = |id: &str, duplicate: bool| json!({ "id": id, "duplicate": duplicate });
    assert_eq!(service.deliver("first", &body).await.json(), kept("first", false));
    assert_eq!(service.deliver("first", &body).await.json(), kept("first", true));

    let (before, after) = body.split_once("\"webhookTimestamp\":").unwrap();
    let restamped = format!("{before}\"webhookTimestamp\":1{after}");
    assert_eq!(
        service.deliver("first", &restamped).await.json(),
        kept("first", true),
        "the same delivery, sent again later"
    );
    assert_eq!(
        service.deliver("second", &restamped).await.json(),
        kept("first", true),
        "the same body under another name"
    );

    let other = service.deliver("first", &issue("two")).await.json();
    assert_eq!(other["duplicate"], json!(false));
    assert!(other["id"].as_str().unwrap().starts_with("first~"), "{other}");
    assert_eq!(service.printed.lines(2).await.len(), 2, "two different events were printed");
}

#[tokio::test]
async fn what_is_kept_of_a_delivery_is_told_by_show() {
    let service = Running::start().await;
    let fresh = issue("fresh");
    let signature = sign(SECRET, fresh.as_bytes());
    let headers = [
        ("Linear-Delivery", "fresh"),
        ("Linear-Event", "Comment"),
        ("Linear-Signature", &signature),
        ("Linear-Timestamp", "1"),
        ("User-Agent", "Linear-Webhook"),
        ("Content-Type", "application/json; charset=utf-8"),
        ("Cookie", "private"),
    ];
    assert_eq!(service.post(&headers, fresh.as_bytes()).await.status, 200);
    service.printed.lines(1).await;
    let shown = service.ask(Operation::Show { id: "fresh".into() }).await.remove(0);
    assert_eq!(
        (&shown["event_type"], &shown["stale"]),
        (&json!("Issue"), &json!(false)),
        "the signed body says what it is"
    );
    let mut kept: Vec<_> = shown["headers"].as_array().unwrap().iter().map(|header| header["name"].clone()).collect();
    kept.sort_by_key(Value::to_string);
    assert_eq!(kept, ["content-type", "linear-delivery", "linear-event", "linear-timestamp", "user-agent"]);

    let (before, _) = fresh.split_once("\"webhookTimestamp\":").unwrap();
    let late = format!("{}\"webhookTimestamp\":1000}}", before.replace("fresh", "late"));
    assert_eq!(service.deliver("late", &late).await.json(), json!({ "id": "late", "duplicate": false }));
    assert_eq!(service.ask(Operation::Show { id: "late".into() }).await[0]["stale"], json!(true));

    let nameless = r#"{"type":"Project"}"#;
    let signature = sign(SECRET, nameless.as_bytes());
    let answer = service.post(&[("Linear-Signature", &signature)], nameless.as_bytes()).await;
    let id = format!("body-{}", hex(&Sha256::digest(nameless.as_bytes())));
    assert_eq!(answer.json(), json!({ "id": id, "duplicate": false }));
    let long = [("Linear-Delivery", "x".repeat(257)), ("Linear-Signature", signature)];
    let long: Vec<_> = long.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(service.post(&long, nameless.as_bytes()).await.json(), json!({ "id": id, "duplicate": true }));
}

#[tokio::test]
async fn every_configured_secret_proves_and_the_generated_one_only_for_lack_of_them() {
    let service = Running::start_with(tempfile::tempdir().unwrap(), given, Printed::new(false)).await;
    assert!(
        service.banner.contains("the generated ") && service.banner.contains("is for trying"),
        "{}",
        service.banner
    );
    let path = service.data().join("secret");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let generated = std::fs::read_to_string(&path).unwrap().trim_end().to_owned();
    assert!(!service.banner.contains(&generated));
    let body = issue("one");
    let posted = async |service: &Running, secret: &str| {
        service.post(&[("Linear-Signature", &sign(secret, body.as_bytes()))], body.as_bytes()).await.status
    };
    assert_eq!(posted(&service, &generated).await, 200);
    let (directory, _) = service.end().await;

    let two = |directory: &Path| {
        let new = directory.join("new-secret");
        std::fs::write(&new, "the new secret, without a newline").unwrap();
        given_secret(directory).secret_file(new)
    };
    let service = Running::start_with(directory, two, Printed::new(false)).await;
    assert!(service.banner.contains("linear-secret") && service.banner.contains("new-secret"), "{}", service.banner);
    assert!(!service.banner.contains("generated"), "{}", service.banner);
    for (secret, status) in [(SECRET, 200), ("the new secret, without a newline", 200), (&generated, 401)] {
        assert_eq!(posted(&service, secret).await, status);
    }
}

#[tokio::test]
async fn too_many_at_once_are_asked_to_come_again_and_none_is_lost() {
    let narrow = |directory: &Path| given_secret(directory).flag(setting("queue-size"), "1");
    let service = Arc::new(Running::start_with(tempfile::tempdir().unwrap(), narrow, Printed::new(false)).await);
    let mut deliveries = tokio::task::JoinSet::new();
    for number in 0..32 {
        let service = Arc::clone(&service);
        deliveries.spawn(async move {
            let (id, body) = (format!("delivery-{number}"), issue(&number.to_string()));
            loop {
                let answer = service.deliver(&id, &body).await;
                match answer.status {
                    200 => return answer.json()["id"] == json!(id),
                    503 => assert!(answer.header("retry-after").is_some() && answer.body == r#"{"error":"full"}"#),
                    other => panic!("{other}"),
                }
            }
        });
    }
    assert!(deliveries.join_all().await.into_iter().all(|kept| kept));
    assert_eq!(service.printed.lines(32).await.len(), 32);
}

#[tokio::test]
async fn an_event_is_one_line_whatever_its_data_holds() {
    let service = Running::start().await;
    let body = "{\n  \"type\": \"Issue\",\r\n\t\"title\": \"\u{9b}2J\u{7f}\u{202e}\"\n}\n";
    assert_eq!(service.deliver("lines", body).await.status, 200);
    let lines = service.printed.lines(1).await;
    assert_eq!(lines.len(), 1);
    assert!(!lines[0].contains(char::is_control), "{:?}", lines[0]);
    let event: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(event["data"]["title"], json!("\u{9b}2J\u{7f}\u{202e}"));
}

#[tokio::test]
async fn a_closed_output_ends_the_service_and_keeps_the_event() {
    let service = Running::start_with(tempfile::tempdir().unwrap(), given_secret, Printed::new(true)).await;
    assert_eq!(service.deliver("unread", &issue("unread")).await.status, 200);
    let Running { directory, ended, end, .. } = service;
    assert_eq!(ended.await.unwrap().unwrap(), Ended::OutputClosed);
    drop(end);
    let store = Store::open_read_only(directory.path().join("data")).unwrap();
    let event = store.get("unread").unwrap().unwrap();
    assert_eq!((event.status(), event.retry_count()), (Status::Pending, 0));
}

#[tokio::test]
async fn the_control_socket_is_private_says_whom_it_has_reached_and_goes_with_the_service() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("data")).unwrap();
    // A process that was killed leaves its socket behind.
    drop(std::os::unix::net::UnixListener::bind(directory.path().join("data/control.sock")).unwrap());
    let service = Running::start_with(directory, given_secret, Printed::new(false)).await;
    let path = service.data().join("control.sock");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let mut stream = BufReader::new(UnixStream::connect(&path).await.unwrap());
    let mut said = async |request: &str| -> Value {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        serde_json::from_str(&line).unwrap()
    };
    let hello = said("").await;
    assert_eq!(
        (&hello["ledgerline"], &hello["epoch"], &hello["pid"]),
        (&json!(1), &json!(1), &json!(std::process::id()))
    );
    assert!(service.banner.contains(hello["store"].as_str().unwrap()), "{hello}");
    assert_eq!(said("nonsense\n").await["error"]["kind"], json!("invalid_input"));
    assert_eq!(said("{\"operation\":\"drop\"}\n").await["error"]["kind"], json!("invalid_input"));
    assert_eq!(said("{\"operation\":\"health\"}\n").await["line"], json!({ "healthy": true, "reasons": [] }));
    assert_eq!(said("").await, json!({ "done": true }));
    assert_eq!(said("{\"operation\":\"show\",\"id\":\"x\"}\n").await["error"]["kind"], json!("not_found"));

    let (_directory, ended) = service.end().await;
    assert_eq!(ended, Ended::Asked);
    assert!(!path.exists());
}

#[tokio::test]
async fn operations_do_the_same_beside_a_service_and_without_one() {
    let service = Running::start().await;
    let emit = |id: &str| Operation::Emit {
        not_before: None,
        priority: 0,
        event_type: "Deploy".into(),
        data: "{\"n\":\n1}".into(),
        id: Some(id.into()),
        key: Some("k".into()),
    };
    let emitted = service.ask(emit("one")).await;
    assert_eq!((&emitted[0]["id"], &emitted[0]["duplicate"]), (&json!("one"), &json!(false)));
    service.printed.lines(1).await;
    assert_eq!(service.ask(emit("one")).await[0]["duplicate"], json!(true));
    assert_eq!(service.ask(Operation::Replay { ids: vec!["one".into(), "none".into()] }).await[1]["id"], json!("none"));
    service.printed.lines(2).await;
    assert!(service.ask(Operation::ReplayFailed {}).await.is_empty());
    assert_eq!(service.ask(Operation::Compact {}).await[0]["segments_deleted"], json!(0));
    let stats = service.ask(Operation::Stats {}).await.remove(0);
    assert_eq!((&stats["is_running"], &stats["failed_events"]), (&json!(true), &json!(0)));

    let config = service.config();
    let (_directory, _) = service.end().await;
    tokio::task::spawn_blocking(move || {
        assert_eq!(documents(&config, &emit("one"))[0]["duplicate"], json!(true));
        assert_eq!(documents(&config, &emit("two"))[0]["duplicate"], json!(false));
        let replayed = documents(&config, &Operation::Replay { ids: vec!["one".into()] });
        assert_eq!(replayed, [json!({ "id": "one", "refused": null, "kind": null })]);
        let stats = documents(&config, &Operation::Stats {}).remove(0);
        assert_eq!((&stats["is_running"], &stats["pending_events"]), (&json!(false), &json!(2)));
        assert_eq!((&stats["events_processed"], &stats["batch_operations"]), (&json!(2), &json!(2)));
        assert_eq!(documents(&config, &Operation::Health {})[0]["healthy"], json!(false));
        let shown = documents(&config, &Operation::Show { id: "one".into() }).remove(0);
        assert_eq!(
            (&shown["status"], &shown["key"], &shown["data"]),
            (&json!("pending"), &json!("k"), &json!({ "n": 1 }))
        );
        let what: Vec<_> = shown["history"].as_array().unwrap().iter().map(|step| step["what"].clone()).collect();
        let life = ["received", "started", "completed", "replayed", "started", "completed", "replayed"];
        assert_eq!(what, life);
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_second_service_on_the_directory_is_refused_and_disturbs_nothing() {
    let service = Running::start().await;
    let config = given_secret(service.directory.path()).resolve().unwrap();
    let error = Service::start(config, Box::new(io::sink())).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    assert_eq!(service.deliver("after", &issue("after")).await.status, 200);
    assert_eq!(service.ask(Operation::Health {}).await[0]["healthy"], json!(true));
}

#[tokio::test]
async fn an_address_that_is_taken_leaves_the_store_free() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let given = Given::new().data(directory.path().join("data")).flag(setting("listen"), &address);
    let error = Service::start(given.resolve().unwrap(), Box::new(io::sink())).await.err().unwrap();
    assert!(error.to_string().contains(&address) && error.to_string().contains("--listen"), "{error}");
    let service = Running::start_with(directory, given_secret, Printed::new(false)).await;
    assert!(service.banner.contains("a new store was created"), "{}", service.banner);
}
