//! Hostile senders before the real service: what they send is refused, an honest one hardly notices, and nothing unproven is kept.
//!
//! Some send as fast as they can, a request on each connection ([`super::requests`]); another holds many connections and sends byte by
//! byte. Meanwhile an honest sender's time is taken, and the service's memory watched. In the end everything that is kept is held
//! against what was signed.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ledgerline::webhook::Secret;
use ledgerline::{Filter, Store};

use super::requests::{self, May};
use super::scratch::{self, Scratch};
use super::service::{self, Service};
use super::trial::{Skipped, Trial};
use super::witness;

/// Those who send as fast as they can.
const SENDERS: u64 = 3;
/// Connections of the one who sends byte by byte.
const SLOW: usize = 128;
/// A slow one is cut off after 10 s, however it is slow; later than this is never.
const SLOW_MAX: Duration = Duration::from_secs(40);
const SLOW_PAUSE: Duration = Duration::from_millis(100);
const HONEST_PAUSE: Duration = Duration::from_millis(5);
/// The honest sender's requests at first, while nobody is hostile.
const CALM: u64 = 200;
const P99_MAX: Duration = Duration::from_millis(250);
const GROWTH_KIB_MAX: u64 = 64 * 1024;
/// Within this the service is well again.
const WELL_WITHIN: Duration = Duration::from_secs(30);
/// Sockets that it may have open more than before.
const SOCKETS_MORE_MAX: usize = 16;

pub(crate) fn run(trial: &mut Trial) -> Result<(), Skipped> {
    let command = service::command()?;
    let attacked = Scratch::in_memory().and_then(|scratch| {
        let mut attack = Attack::begin(trial.seed(), &command, scratch.path())?;
        attack.go(trial)?;
        let found = attack.judged(scratch.path());
        for (case, fault) in found {
            let folder = match case {
                Some(case) => {
                    let folder = trial.violated(case, &fault)?;
                    let request = requests::drawn(trial.seed(), case, &service::secret()?);
                    std::fs::write(folder.join("request"), request.bytes)?;
                    folder
                }
                None => trial.violated_as_a_whole(&fault)?,
            };
            scratch::copy(scratch.path(), &folder.join("place"))?;
        }
        trial.remark(attack.told());
        Ok(())
    });
    attacked.map_err(|error| Skipped(format!("the service cannot be attacked: {error}")))
}

/// A service that is attacked, and what is known of it.
struct Attack {
    seed: u64,
    service: Service,
    address: SocketAddr,
    secret: Secret,
    stop: AtomicBool,
    next: AtomicU64,
    done: AtomicU64,
    /// Hashes of the bodies that were signed.
    signed: Mutex<BTreeSet<u64>>,
    /// Ids of the honest sender's deliveries that were answered with 200.
    acknowledged: Mutex<Vec<String>>,
    times: Mutex<Vec<Duration>>,
    /// Case, where one is to blame, and fault.
    found: Mutex<Vec<(Option<u64>, String)>>,
    calm_kib: u64,
    most_kib: u64,
    calm_sockets: usize,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hash(body: &[u8]) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(body)
}

impl Attack {
    fn begin(seed: u64, command: &Path, place: &Path) -> io::Result<Self> {
        let service = Service::start(command, place)?;
        let address = service.address()?;
        Ok(Self {
            seed,
            service,
            address,
            secret: service::secret()?,
            stop: AtomicBool::new(false),
            next: AtomicU64::new(0),
            done: AtomicU64::new(0),
            signed: Mutex::default(),
            acknowledged: Mutex::default(),
            times: Mutex::default(),
            found: Mutex::default(),
            calm_kib: 0,
            most_kib: 0,
            calm_sockets: 0,
        })
    }

    /// Attacks for as long as the trial goes on.
    fn go(&mut self, trial: &mut Trial) -> io::Result<()> {
        self.honest(0..CALM);
        (self.calm_kib, self.calm_sockets) = (self.resident_kib()?, self.sockets()?);
        if let Some(case) = trial.only_case() {
            self.send(case);
            trial.counted(1);
            return Ok(());
        }
        locked(&self.times).clear();
        let mut most_kib = 0;
        std::thread::scope(|scope| {
            let this = &*self;
            for _ in 0..SENDERS {
                scope.spawn(|| {
                    while !this.stop.load(Ordering::Relaxed) {
                        this.send(this.next.fetch_add(1, Ordering::Relaxed));
                        this.done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            scope.spawn(|| this.slow());
            scope.spawn(|| this.honest(CALM..u64::MAX));
            let mut told = 0;
            while trial.goes_on() {
                std::thread::sleep(Duration::from_millis(100));
                let done = this.done.load(Ordering::Relaxed);
                trial.counted(done - told);
                told = done;
                let Ok(kib) = this.resident_kib() else { break };
                most_kib = most_kib.max(kib);
            }
            this.stop.store(true, Ordering::Relaxed);
        });
        self.most_kib = most_kib;
        Ok(())
    }

    /// Of no case: what all of them together came to.
    fn fault(&self, case: Option<u64>, fault: String) {
        locked(&self.found).push((case, fault));
    }

    /// Deliveries as they should be, one after the other, each timed from its first byte to the end of its answer.
    fn honest(&self, numbers: std::ops::Range<u64>) {
        let mut connection = None;
        for number in numbers {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            if number % 50 == 0 {
                connection = None;
            }
            let id = witness::id(number, 500);
            locked(&self.signed).insert(hash(witness::body(&id).as_bytes()));
            let began = Instant::now();
            let answered = match connection.take() {
                Some(connection) => Ok(connection),
                None => service::connect(self.address),
            }
            .and_then(|mut connection| {
                let code = service::exchange(&mut connection, &service::delivery(&self.secret, &id))?;
                Ok((connection, code))
            });
            match answered {
                Ok((open, 200)) => {
                    locked(&self.times).push(began.elapsed());
                    locked(&self.acknowledged).push(id);
                    connection = Some(open);
                }
                Ok((_, code)) => self.fault(None, format!("the honest sender is answered with {code}")),
                Err(error) => self.fault(None, format!("the honest sender is not answered: {error}")),
            }
            std::thread::sleep(HONEST_PAUSE);
        }
    }

    /// One hostile request, on a connection of its own.
    fn send(&self, case: u64) {
        let request = requests::drawn(self.seed, case, &self.secret);
        if let Some(signed) = &request.signed {
            locked(&self.signed).insert(hash(signed));
        }
        let mut connection = match service::connect(self.address) {
            Ok(connection) => connection,
            Err(error) => return self.fault(Some(case), format!("{}: nobody listens: {error}", request.shape)),
        };
        // The receiver may answer, and close, before it has everything.
        let sent = connection.write_all(&request.bytes);
        if request.may == May::Nothing {
            return;
        }
        let mut answer = Vec::new();
        let mut buffer = [0; 4_096];
        loop {
            match connection.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => answer.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return self.fault(
                        Some(case),
                        format!("{}: the connection is neither answered nor closed", request.shape),
                    );
                }
                // Reset, because what was sent is not read.
                Err(_) => break,
            }
        }
        let text = String::from_utf8_lossy(&answer);
        let answers = text.matches("HTTP/1.1 ").count();
        let code = service::code(&text);
        if code == Some(200) && request.may != May::Keep || text.contains("HTTP/1.1 5") {
            self.fault(Some(case), format!("{}: it is answered with\n{text}", request.shape));
        }
        if request.may == May::RefuseAlone && answers > 1 {
            self.fault(Some(case), format!("{}: what follows it is answered too:\n{text}", request.shape));
        }
        if code.is_none() && sent.is_ok() && answer.is_empty() && request.bytes.len() < 4_096 {
            self.fault(Some(case), format!("{}: there is no answer", request.shape));
        }
    }

    /// Many connections, on each a byte now and then.
    fn slow(&self) {
        let mut held: Vec<(TcpStream, Instant, Vec<u8>, usize)> = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            while held.len() < SLOW {
                let Ok(connection) = service::connect(self.address) else { break };
                drop(connection.set_nonblocking(true));
                let number = self.done.load(Ordering::Relaxed);
                held.push((connection, Instant::now(), slow_request(number), 0));
                self.done.fetch_add(1, Ordering::Relaxed);
            }
            held.retain_mut(|(connection, began, bytes, at)| {
                let byte = bytes.get(*at..*at + 1).unwrap_or(b"x");
                let alive = match connection.write(byte) {
                    Ok(_) => true,
                    Err(error) => error.kind() == ErrorKind::WouldBlock,
                };
                *at += 1;
                let closed = matches!(connection.read(&mut [0; 512]), Ok(0));
                if began.elapsed() > SLOW_MAX {
                    self.fault(None, format!("a slow sender is served after {SLOW_MAX:?}"));
                }
                alive && !closed && began.elapsed() <= SLOW_MAX
            });
            std::thread::sleep(SLOW_PAUSE);
        }
    }

    fn process(&self, name: &str) -> std::path::PathBuf {
        Path::new("/proc").join(self.service.process_id().to_string()).join(name)
    }

    fn resident_kib(&self) -> io::Result<u64> {
        let status = std::fs::read_to_string(self.process("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kib.ok_or_else(|| io::Error::other("the service has ended"))
    }

    /// Open connections, and what else is a socket.
    fn sockets(&self) -> io::Result<usize> {
        let open = std::fs::read_dir(self.process("fd"))?.flatten();
        let targets = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        Ok(targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count())
    }

    fn p99(&self) -> Duration {
        let mut times = locked(&self.times).clone();
        times.sort_unstable();
        times.get(times.len() * 99 / 100).copied().unwrap_or_default()
    }

    fn told(&self) -> String {
        format!(
            "an honest sender's p99 {} ms in {} deliveries; memory grew by {} KiB from {}",
            self.p99().as_millis(),
            locked(&self.times).len(),
            self.most_kib.saturating_sub(self.calm_kib),
            self.calm_kib
        )
    }

    /// Whether the service is well again, and all that was found.
    fn judged(&mut self, place: &Path) -> Vec<(Option<u64>, String)> {
        if self.p99() > P99_MAX {
            self.fault(None, format!("the honest sender's p99 is {:?}", self.p99()));
        }
        if self.most_kib > self.calm_kib + GROWTH_KIB_MAX {
            self.fault(None, format!("memory grew from {} KiB to {} KiB", self.calm_kib, self.most_kib));
        }
        let began = Instant::now();
        while let Err(why) = self.well() {
            if began.elapsed() > WELL_WITHIN {
                self.fault(None, format!("{why}, {WELL_WITHIN:?} after the attack"));
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        self.compare(place);
        std::mem::take(&mut *locked(&self.found))
    }

    fn well(&mut self) -> Result<(), String> {
        if !self.service.is_alive() {
            return Err("the service has ended".to_owned());
        }
        let healthy = service::connect(self.address).and_then(|mut connection| {
            service::exchange(&mut connection, b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n")
        });
        match healthy {
            Ok(200) => {}
            Ok(code) => return Err(format!("health is {code}")),
            Err(error) => return Err(format!("health is not told: {error}")),
        }
        match self.sockets() {
            Ok(now) if now > self.calm_sockets + SOCKETS_MORE_MAX => Err(format!("{now} sockets are open")),
            _ => Ok(()),
        }
    }

    /// All that was acknowledged is kept; all that is kept was signed, and each of it once.
    fn compare(&self, place: &Path) {
        let listed = Store::open_read_only(place.join("store")).and_then(|store| store.list(&Filter::all()));
        let kept = match listed {
            Ok(kept) => kept,
            Err(error) => return self.fault(None, format!("what was kept cannot be read: {error}")),
        };
        let mut bodies: BTreeMap<u64, u64> = BTreeMap::new();
        for event in &kept {
            let body = hash(event.data().as_bytes());
            let times = bodies.entry(body).or_default();
            *times += 1;
            if *times > 1 {
                self.fault(None, format!("{} is kept {times} times: {:.200}", event.id(), event.data()));
            }
            if !locked(&self.signed).contains(&body) {
                self.fault(None, format!("{} is kept, and nobody signed it: {:.200}", event.id(), event.data()));
            }
        }
        for id in locked(&self.acknowledged).iter() {
            if !bodies.contains_key(&hash(witness::body(id).as_bytes())) {
                self.fault(None, format!("{id} was acknowledged, and is not kept"));
            }
        }
    }
}

/// What a slow sender sends: a head that does not end, a body that does not, or chunks without end.
fn slow_request(number: u64) -> Vec<u8> {
    match number % 3 {
        0 => format!("POST /webhooks/linear HTTP/1.1\r\nhost: test\r\nx-slow: {}", "x".repeat(4_000)),
        1 => {
            format!("POST /webhooks/linear HTTP/1.1\r\nhost: test\r\ncontent-length: 4000\r\n\r\n{}", "x".repeat(4_000))
        }
        _ => {
            let head = "POST /webhooks/linear HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n";
            format!("{head}{}", "1\r\nx\r\n".repeat(1_000))
        }
    }
    .into_bytes()
}
