//! The service is killed in the middle of its work, again and again, and a witness outside it holds what it was told: every delivery
//! that was answered with 200 is there afterwards, once, and is completed in the end.
#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what its own scaffolding cannot do fails a test")]
#![expect(clippy::disallowed_methods, reason = "a witness outside the service has its own clock and files")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ledgerline::webhook::Secret;
use serde_json::Value;

const SECRET: &str = "a secret for tests only";
const SENDERS: usize = 4;

/// A running service; killed with SIGKILL when it is dropped.
struct Service {
    child: Child,
    address: SocketAddr,
}

impl Service {
    /// One that appends what it prints to a file.
    fn printing(dir: &Path) -> Self {
        Self::start(dir, File::options().create(true).append(true).open(dir.join("printed")).unwrap())
    }

    fn start(dir: &Path, stdout: impl Into<Stdio>) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ledgerline"))
            .args(["serve", "--listen", "127.0.0.1:0", "--segment-bytes", "65536", "--data"])
            .arg(dir.join("data"))
            .arg("--secret-file")
            .arg(dir.join("secret"))
            .env_remove("LINEAR_WEBHOOK_SECRET")
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let address = loop {
            assert!(said.len() < 100, "the service tells no address: {said:#?}");
            let line = lines.next().unwrap().unwrap();
            let address = line.split_once("http://").and_then(|(_, rest)| rest.split('/').next()?.parse().ok());
            said.push(line);
            if let Some(address) = address {
                break address;
            }
        };
        // Somebody must go on reading, or the service would wait for its log to be read.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Posts one delivery; true if it was answered with 200.
fn deliver(connection: &mut TcpStream, secret: &Secret, id: &str) -> std::io::Result<bool> {
    let body = format!(
        "{{\"type\":\"Issue\",\"action\":\"create\",\"data\":{{\"id\":\"thing-{}\",\"title\":\"{id}\"}}}}",
        id.bytes().last().unwrap_or(0) % 5
    );
    let request = format!(
        "POST /webhooks/linear HTTP/1.1\r\nhost: test\r\nlinear-delivery: {id}\r\nlinear-signature: {}\r\ncontent-length: {}\r\n\r\n{body}",
        secret.sign(body.as_bytes()),
        body.len()
    );
    // In one piece: what is sent in several waits for the other side to acknowledge the first, 40 ms each time.
    connection.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 1_024];
    loop {
        let read = connection.read(&mut buffer)?;
        answer.extend_from_slice(&buffer[..read]);
        if read == 0 || answer.windows(4).any(|end| end == b"\r\n\r\n") && answer.ends_with(b"}") {
            return Ok(answer.starts_with(b"HTTP/1.1 200"));
        }
    }
}

/// Sends until it is told to stop or the connection is gone, and notes what was acknowledged.
fn send(address: SocketAddr, next: &AtomicUsize, acknowledged: &Mutex<BTreeSet<String>>, stop: &AtomicBool) {
    let secret = Secret::new(SECRET.as_bytes()).unwrap();
    let Ok(mut connection) = TcpStream::connect(address) else { return };
    connection.set_nodelay(true).unwrap();
    while !stop.load(Ordering::Relaxed) {
        let id = format!("delivery-{}", next.fetch_add(1, Ordering::Relaxed));
        match deliver(&mut connection, &secret, &id) {
            Ok(true) => drop(acknowledged.lock().unwrap().insert(id)),
            _ => return,
        }
    }
}

fn list(dir: &Path) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_ledgerline"))
        .args(["list", "--json", "--limit", "100000", "--data"])
        .arg(dir.join("data"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn no_acknowledged_delivery_is_lost_by_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret"), SECRET).unwrap();
    let next = AtomicUsize::new(0);
    let acknowledged = Mutex::new(BTreeSet::new());
    for round in 0_u32..12 {
        let service = Service::printing(dir.path());
        let (address, stop) = (service.address, AtomicBool::new(false));
        let before = acknowledged.lock().unwrap().len();
        let (next, acknowledged, stop) = (&next, &acknowledged, &stop);
        std::thread::scope(|scope| {
            for _ in 0..SENDERS {
                scope.spawn(move || send(address, next, acknowledged, stop));
            }
            // Each round dies at another point of the work.
            let wanted = before + 20 + 37 * round as usize;
            let deadline = Instant::now() + Duration::from_secs(30);
            while acknowledged.lock().unwrap().len() < wanted && Instant::now() < deadline {
                std::thread::yield_now();
            }
            drop(service);
            stop.store(true, Ordering::Relaxed);
        });
        let count = acknowledged.lock().unwrap().len();
        assert!(count > before, "round {round}: nothing was acknowledged");
        check_all_there(dir.path(), &acknowledged.lock().unwrap(), next.load(Ordering::Relaxed));
    }
    check_all_completed(dir.path(), &acknowledged.into_inner().unwrap());
}

/// Acknowledged ⊆ kept ⊆ sent, each once.
fn check_all_there(dir: &Path, acknowledged: &BTreeSet<String>, sent: usize) {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for event in list(dir) {
        *times.entry(event["id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    for id in acknowledged {
        assert_eq!(times.get(id), Some(&1), "{id} was acknowledged");
    }
    assert!(times.len() <= sent && times.values().all(|times| *times == 1));
}

/// Left alone, the service completes everything; each acknowledged event was printed at least once.
fn check_all_completed(dir: &Path, acknowledged: &BTreeSet<String>) {
    let service = Service::printing(dir);
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let left = list(dir).into_iter().filter(|event| event["status"] != "completed").count();
        if left == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{left} events are not completed");
    }
    drop(service);
    let printed = std::fs::read_to_string(dir.join("printed")).unwrap();
    let printed: BTreeSet<String> = printed
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|event| Some(event["id"].as_str()?.to_owned()))
        .collect();
    let missing: Vec<_> = acknowledged.iter().filter(|id| !printed.contains(*id)).collect();
    assert!(missing.is_empty(), "completed but never handled: {missing:?}");
}

#[test]
fn what_was_being_processed_runs_again_at_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret"), SECRET).unwrap();
    let secret = Secret::new(SECRET.as_bytes()).unwrap();
    // A reader that never reads: the handler hangs in the middle of its line once the pipe is full.
    let (reader, writer) = std::io::pipe().unwrap();
    let hung = Service::start(dir.path(), writer);
    let mut connection = TcpStream::connect(hung.address).unwrap();
    let count = 600;
    for number in 0..count {
        assert!(deliver(&mut connection, &secret, &format!("delivery-{number}")).unwrap());
    }
    let processing = || list(dir.path()).iter().filter(|event| event["status"] == "processing").count();
    let deadline = Instant::now() + Duration::from_secs(30);
    while processing() == 0 {
        assert!(Instant::now() < deadline, "no handler hangs");
    }
    drop(hung);
    drop(reader);
    let in_flight = processing();
    assert!(in_flight > 0);
    check_all_completed(dir.path(), &BTreeSet::new());
}
