//! Signed deliveries of 2 KiB over HTTP, each durable before it is answered: 64 connections that are kept alive, against the service
//! as the command runs it. What is received is printed (to nowhere) and completed meanwhile, and the load comes from one thread of
//! this process, so that all share the machine's cores. And the same beside a compaction of segments that are mostly dead.
//!
//! The floor is a loop that reads the same requests over the same kind of sockets and answers bytes that never change: it shows what
//! the load and the system's sockets leave.
#![expect(clippy::disallowed_methods, reason = "a bench reads clocks and writes files")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures have three digits"
)]

use std::net::{SocketAddr, TcpListener};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ledgerline::service::{Config, Given, Operation, Service, Setting, perform};
use ledgerline::webhook::Secret;
use ledgerline::{NewEvent, Selection, Store, StoreOptions, Timestamp};
use tokio::sync::oneshot;

use rig::directory::directory;
use rig::latency::Latencies;
use rig::load::{Load, answer_blindly};
use rig::mode::full_or_quick;
use rig::row::{Row, Unit};
use rig::run::Run;

#[expect(dead_code, reason = "each bench uses a part")]
mod rig;

const CONNECTIONS: usize = 64;
const BODY_BYTES: usize = 2_048;
const SECRET: &[u8] = b"the secret of this bench";
/// The row of what compaction does to deliveries.
const BESIDE: &str = "signed webhook beside compaction, p99";
/// How many times as long it may take as without.
const BESIDE_TIMES: f64 = 2.0;
/// Deliveries between two looks at whether compaction is done.
const PART: u64 = 1_280;
/// Small, so that compaction finds whole segments to write anew.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// What has been finished for this long may be forgotten.
const AGE: Duration = Duration::from_secs(2);
/// Events that are appended together, how many of them die, and the bytes of each one's data.
const BATCH: usize = 1_000;
const DEAD: usize = 600;
const DATA_BYTES: usize = 200;
/// Digits of a delivery's number.
const DIGITS: usize = 12;
/// Digits of a signature.
const SIGNATURE_DIGITS: usize = 64;

/// Signed requests, each with an id, a key and a body of its own, and all of the same length.
struct Requests {
    secret: Secret,
    /// One request, and where in it the number and the signature stand.
    request: Vec<u8>,
    places: Vec<usize>,
    signature: usize,
    body: usize,
    /// Signatures of the deliveries that come next, the last of them first.
    signatures: Vec<(u64, String)>,
    number: u64,
}

impl Requests {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis();
        let zeros = "#".repeat(DIGITS);
        let start = format!(
            "{{\"action\":\"update\",\"type\":\"Issue\",\"webhookTimestamp\":{now},\"data\":{{\"id\":\"{zeros}\",\"title\":\""
        );
        let body = format!("{start}{}\"}}}}", "x".repeat(BODY_BYTES - start.len() - 3));
        let request = format!(
            "POST /webhooks/linear HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json; charset=utf-8\r\n\
             Linear-Delivery: {zeros}\r\nLinear-Event: Issue\r\nLinear-Signature: {}\r\nContent-Length: {}\r\n\r\n{body}",
            "@".repeat(SIGNATURE_DIGITS),
            body.len(),
        );
        Self {
            secret: Secret::new(SECRET).expect("it is long enough"),
            places: request.match_indices(&zeros).map(|(at, _)| at).collect(),
            signature: request.find('@').expect("it is there"),
            body: request.len() - body.len(),
            request: request.into_bytes(),
            signatures: Vec::new(),
            number: 0,
        }
    }

    /// Signs `count` deliveries, which costs more than sending them.
    fn sign(&mut self, count: u64) {
        self.signatures.clear();
        for _ in 0..count {
            self.number += 1;
            write(&mut self.request, &self.places, &digits(self.number));
            let body = self.request.get(self.body..).expect("a request ends with its body");
            self.signatures.push((self.number, self.secret.sign(body)));
        }
    }

    /// Writes the next one that is signed.
    fn render(&mut self, into: &mut Vec<u8>) {
        let (number, signature) = self.signatures.pop().expect("it was signed before");
        into.clear();
        into.extend_from_slice(&self.request);
        write(into, &self.places, &digits(number));
        write(into, &[self.signature], signature.as_bytes());
    }
}

fn digits(number: u64) -> [u8; DIGITS] {
    let mut digits = [b'0'; DIGITS];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

fn write(request: &mut [u8], places: &[usize], bytes: &[u8]) {
    for place in places {
        request.get_mut(*place..place + bytes.len()).expect("the place is in the request").copy_from_slice(bytes);
    }
}

/// A service on threads of its own.
struct Running {
    config: Config,
    address: SocketAddr,
    end: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Running {
    fn start(dir: &Path) -> Self {
        let secret = dir.join("linear-secret");
        std::fs::write(&secret, SECRET).expect("the directory is ours");
        let flags = [
            ("listen", "127.0.0.1:0".to_owned()),
            ("max-age-hours", hours(AGE)),
            ("segment-bytes", SEGMENT_BYTES.to_string()),
        ];
        let given = Given::new().data(data(dir)).secret_file(secret);
        let given = flags.into_iter().fold(given, |given, (flag, value)| given.flag(setting(flag), value));
        let config = given.resolve().expect("the settings are within bounds");
        let of_service = config.clone();
        let (end, ended) = oneshot::channel();
        let (started, address) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
            runtime.block_on(async {
                let service = Service::start(of_service, Box::new(std::io::sink())).await.expect("the service starts");
                started.send(service.address()).expect("somebody waits");
                let asked = async {
                    let _ = ended.await;
                };
                service.run(asked).await.expect("the service ends in good order");
            });
        });
        Self { config, address: address.recv().expect("the service starts"), end, thread }
    }

    /// Has it compact, and waits until that is done; returns what the command would print.
    fn compact(&self) -> String {
        let mut answer = String::new();
        let damage = perform(&self.config, &Operation::Compact {}, &mut |line| {
            answer.push_str(&line);
            ControlFlow::Continue(())
        });
        assert!(damage.expect("the service compacts").is_empty(), "nothing is damaged");
        answer
    }

    fn end(self) {
        let _ = self.end.send(());
        self.thread.join().expect("the service ends");
    }
}

/// Requests per second, and their latencies.
fn loaded(run: &mut Run, name: &str, address: SocketAddr) -> (f64, Latencies) {
    let mut requests = Requests::new();
    let (mut first, count) = (Vec::new(), CONNECTIONS as u64);
    requests.sign(1);
    requests.render(&mut first);
    let mut load = Load::open(address, CONNECTIONS, &first);
    let rate = run.rate(name, count, |rounds| {
        requests.sign(rounds * count);
        load.time(rounds * count, None, |into| requests.render(into))
    });
    let mut latencies = Latencies::new();
    let rounds = full_or_quick(800, 5);
    requests.sign(rounds * count);
    load.time(rounds * count, Some(&mut latencies), |into| requests.render(into));
    (rate, latencies)
}

fn main() {
    let Some(mut run) = Run::begin("webhook") else { return };
    let name = format!("signed webhook, {CONNECTIONS} connections");
    if run.wants(&name) {
        let dir = directory();
        let service = Running::start(dir.path());
        let (rate, latencies) = loaded(&mut run, &name, service.address);
        service.end();

        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let answer = answer();
        let request_bytes = Requests::new().request.len();
        let blind = std::thread::spawn(move || answer_blindly(&listener, CONNECTIONS, request_bytes, &answer));
        let (floor, _) = loaded(&mut run, &format!("{name}, floor"), address);
        blind.join().expect("it ends with its connections");
        let row = Row::new(name, Unit::PerSecond, rate).floor(floor).target((60e3, 85e3));
        run.tell(row.percentiles(latencies.percentiles()));
    }
    if run.wants(BESIDE) {
        run.tell(beside_compaction());
    }
    run.end();
}

/// What a delivery takes while the service compacts, and what it takes otherwise.
fn beside_compaction() -> Row {
    let dir = directory();
    fill(&data(dir.path()));
    let service = Running::start(dir.path());
    let mut requests = Requests::new();
    let mut first = Vec::new();
    requests.sign(1);
    requests.render(&mut first);
    let mut load = Load::open(service.address, CONNECTIONS, &first);
    std::thread::sleep(AGE);
    requests.sign(full_or_quick(600_000, 60_000));
    let mut part = |latencies: &mut Latencies| {
        load.time(PART, Some(latencies), |into| requests.render(into));
    };
    let (mut warm, mut without, mut beside) = (Latencies::new(), Latencies::new(), Latencies::new());
    (0..4).for_each(|_| part(&mut warm));
    (0..full_or_quick(40, 4)).for_each(|_| part(&mut without));
    let answer = std::thread::scope(|scope| {
        let compaction = scope.spawn(|| service.compact());
        while !compaction.is_finished() {
            part(&mut beside);
        }
        compaction.join().expect("nobody panics")
    });
    drop(load);
    service.end();
    let report: serde_json::Value = serde_json::from_str(&answer).expect("an answer is JSON");
    assert!(
        report.get("segments_rewritten").and_then(serde_json::Value::as_u64).is_some_and(|count| count > 0),
        "{answer}"
    );
    let (without, beside) = (without.percentiles(), beside.percentiles());
    let row = Row::new(BESIDE, Unit::Seconds, beside.p99).floor(without.p99);
    row.target((without.p99 * BESIDE_TIMES, without.p99)).percentiles(beside)
}

/// Leaves a store whose segments are mostly dead once [`AGE`] has passed; what is alive in them waits for another day.
fn fill(data: &Path) {
    let store = Store::open(data, StoreOptions::default().segment_bytes(SEGMENT_BYTES)).expect("the store opens");
    let tomorrow = Timestamp::from(SystemTime::now() + Duration::from_hours(24));
    let event = |event_type: &str| NewEvent::new(event_type, &"x".repeat(DATA_BYTES)).expect("it is JSON");
    for _ in 0..full_or_quick(600, 60) {
        let mut batch = vec![event("Dies"); DEAD];
        batch.resize(BATCH, event("Waits").not_before(tomorrow));
        store.append_many(batch).expect("a batch succeeds");
    }
    store.cancel_all(Selection::all().event_type("Dies"), "short-lived").expect("what waits is called off");
    store.close().expect("the store closes");
}

fn data(dir: &Path) -> PathBuf {
    dir.join("data")
}

fn hours(time: Duration) -> String {
    format!("{:.6}", time.as_secs_f64() / 3_600.0)
}

fn setting(flag: &str) -> &'static Setting {
    Setting::all().iter().find(|setting| setting.flag() == flag).expect("there is such a flag")
}

/// As long as the service's answer.
fn answer() -> Vec<u8> {
    let body = format!("{{\"id\":\"{}\",\"duplicate\":false}}", "0".repeat(DIGITS));
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ndate: Sat, 28 Nov 2026 00:00:00 GMT\r\n";
    format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
