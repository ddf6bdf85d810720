//! Hostile senders before the real service: what they send is refused, an honest one hardly notices, and nothing unproven is kept.
//!
//! Some send as fast as they can, a request on each connection ([`super::requests`]); another holds many connections and sends byte by
//! byte. Meanwhile an honest sender's time is taken, and the service's memory watched. In the end everything that is kept is held
//! against what was signed.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ledgerline::webhook::Secret;
use ledgerline::{Filter, Store};

use super::process::tells_of_a_panic;
use super::requests::{self, May};
use super::scratch::{self, Scratch};
use super::service::{self, PATIENCE, Service};
use super::trial::{Skipped, Trial, unkept};
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
/// Faults of one sort that are kept: the first few show what is wrong.
const FAULTS_MAX: usize = 5;
/// After this many failures in a row the service counts as gone.
const FAILURES_MAX: u64 = 10;

pub(crate) fn run(trial: &mut Trial) -> Result<(), Skipped> {
    let command = service::command()?;
    let scratch =
        Scratch::in_memory().map_err(|error| Skipped(format!("there is no place for the service: {error}")))?;
    // From here on whatever goes wrong is the service's fault, and is reported with all that was found before.
    let found = match Attack::begin(trial.seed(), &command, scratch.path()) {
        Ok(mut attack) => {
            if let Err(error) = attack.go(trial) {
                attack.whole("the attack ends before its time", &error.to_string());
            }
            let found = attack.judged(scratch.path());
            trial.remark(attack.told());
            found
        }
        Err(error) => {
            let mut found = Found::default();
            found.add(None, "the service does not start".to_owned(), error.to_string());
            found
        }
    };
    report(trial, found, scratch.path()).map_err(unkept)
}

/// Reports every fault; what the service left is copied once, beside the first.
fn report(trial: &mut Trial, found: Found, place: &Path) -> io::Result<()> {
    for (at, (case, fault)) in found.all().into_iter().enumerate() {
        let has_folder = trial.has_folders();
        let folder = match case {
            Some(case) => trial.violated(case, &fault)?,
            None => trial.violated_as_a_whole(&fault)?,
        };
        if let (Some(case), true) = (case, has_folder) {
            let request = requests::drawn(trial.seed(), case, &service::secret()?);
            std::fs::write(folder.join("request"), request.bytes)?;
        }
        if at == 0 && has_folder {
            scratch::copy(place, &folder.join("place"))?;
        }
    }
    Ok(())
}

/// What was found: of each sort a few, and how many there were.
#[derive(Debug, Default)]
struct Found {
    sorts: BTreeMap<String, Faults>,
}

/// Faults of one sort.
#[derive(Debug, Default)]
struct Faults {
    /// Case, where one is to blame, and what there is to say; never more than [`FAULTS_MAX`].
    kept: Vec<(Option<u64>, String)>,
    count: u64,
}

impl Found {
    fn add(&mut self, case: Option<u64>, sort: String, detail: String) {
        let faults = self.sorts.entry(sort).or_default();
        faults.count += 1;
        if faults.kept.len() < FAULTS_MAX {
            faults.kept.push((case, detail));
        }
    }

    /// The first of every sort, with how many there are; then the second of each, and so on.
    fn all(self) -> Vec<(Option<u64>, String)> {
        let mut all = Vec::new();
        for (sort, Faults { kept, count }) in self.sorts {
            let count = if count > 1 { format!("\n{count} times in all") } else { String::new() };
            for (at, (case, detail)) in kept.into_iter().enumerate() {
                let count = if at == 0 { count.as_str() } else { "" };
                all.push((at, case, format!("{sort}: {detail}{count}")));
            }
        }
        all.sort_by_key(|(at, case, _)| (*at, case.is_some()));
        all.into_iter().map(|(_, case, fault)| (case, fault)).collect()
    }
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
    /// Slow connections that the service closed.
    slow_closed: AtomicU64,
    /// Hashes of the bodies that were signed.
    signed: Mutex<BTreeSet<u64>>,
    /// Ids of the honest sender's deliveries that were answered with 200.
    acknowledged: Mutex<Vec<String>>,
    times: Mutex<Vec<Duration>>,
    found: Mutex<Found>,
    calm_kib: u64,
    most_kib: u64,
    calm_sockets: usize,
    /// How long it went on.
    attacked: Duration,
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
            slow_closed: AtomicU64::new(0),
            signed: Mutex::default(),
            acknowledged: Mutex::default(),
            times: Mutex::default(),
            found: Mutex::default(),
            calm_kib: 0,
            most_kib: 0,
            calm_sockets: 0,
            attacked: Duration::ZERO,
        })
    }

    /// Attacks for as long as the trial goes on.
    fn go(&mut self, trial: &mut Trial) -> io::Result<()> {
        self.honest(0..CALM);
        // Where the highest mark may not be taken back, what starting took counts as calm too.
        drop(std::fs::write(self.process("clear_refs"), "5"));
        (self.calm_kib, self.calm_sockets) = (self.peak_kib()?, self.sockets()?);
        self.most_kib = self.calm_kib;
        if let Some(case) = trial.only_case() {
            self.send(case);
            trial.counted(1);
            self.most_kib = self.peak_kib()?;
            return Ok(());
        }
        locked(&self.times).clear();
        let began = Instant::now();
        let watched = std::thread::scope(|scope| {
            let this = &*self;
            for _ in 0..SENDERS {
                scope.spawn(|| {
                    while !this.stop.load(Ordering::Relaxed) {
                        if this.send(this.next.fetch_add(1, Ordering::Relaxed)) {
                            this.done.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
            scope.spawn(|| this.slow());
            scope.spawn(|| this.honest(CALM..u64::MAX));
            let watched = this.watch(trial);
            this.stop.store(true, Ordering::Relaxed);
            watched
        });
        self.attacked = began.elapsed();
        self.most_kib = watched?.max(self.peak_kib()?);
        Ok(())
    }

    /// Counts the cases while the trial goes on, and the service lives; returns the most memory that it took.
    fn watch(&self, trial: &mut Trial) -> io::Result<u64> {
        let (mut told, mut most_kib) = (0, 0);
        while trial.goes_on() {
            std::thread::sleep(Duration::from_millis(100));
            let done = self.done.load(Ordering::Relaxed);
            trial.counted(done - told);
            told = done;
            most_kib = self.peak_kib()?.max(most_kib);
        }
        Ok(most_kib)
    }

    /// `sort` says what is wrong, `detail` where; a case that repeats it is named, where one is to blame.
    fn fault(&self, case: Option<u64>, sort: String, detail: impl Into<String>) {
        locked(&self.found).add(case, sort, detail.into());
    }

    /// Of no case: what all of them together came to.
    fn whole(&self, sort: &str, detail: &str) {
        self.fault(None, sort.to_owned(), detail);
    }

    /// Deliveries as they should be, one after the other, each timed from its first byte to the end of its answer.
    fn honest(&self, numbers: std::ops::Range<u64>) {
        let mut connection = None;
        let mut failures = 0;
        for number in numbers {
            if failures == FAILURES_MAX {
                return self.whole("the honest sender gives up", &format!("after {failures} failures"));
            }
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
                    failures = 0;
                    std::thread::sleep(HONEST_PAUSE);
                    continue;
                }
                Ok((_, code)) => self.whole("the honest sender is refused", &format!("{id} is answered with {code}")),
                Err(error) => self.whole("the honest sender is not answered", &format!("{id}: {error}")),
            }
            failures += 1;
            std::thread::sleep(HONEST_PAUSE);
        }
    }

    /// One hostile request, on a connection of its own. Returns whether it came to the service.
    fn send(&self, case: u64) -> bool {
        let request = requests::drawn(self.seed, case, &self.secret);
        if let Some(signed) = &request.signed {
            locked(&self.signed).insert(hash(signed));
        }
        let fault = |sort: &str, detail: &str| self.fault(Some(case), format!("{}: {sort}", request.shape), detail);
        let mut connection = match service::connect(self.address) {
            Ok(connection) => connection,
            Err(error) => {
                // Not this request's doing: one of those before it.
                self.fault(Some(case), "nobody listens".to_owned(), format!("{}: {error}", request.shape));
                return false;
            }
        };
        // The receiver may answer, and close, before it has everything.
        let sent = connection.write_all(&request.bytes);
        if request.may == May::Nothing {
            return true;
        }
        let Some(answer) = answered(&mut connection) else {
            fault("the connection is neither answered nor closed", &format!("{PATIENCE:?} are over"));
            return true;
        };
        let text = String::from_utf8_lossy(&answer);
        let answers = text.matches("HTTP/1.1 ").count();
        let code = service::code(&text);
        if code == Some(200) && request.may != May::Keep || text.contains("HTTP/1.1 5") {
            fault("it must not be answered so", &text);
        }
        if request.may == May::RefuseAlone && answers > 1 {
            fault("what follows it is answered too", &text);
        }
        if code.is_none() && sent.is_ok() && answer.is_empty() && request.bytes.len() < 4_096 {
            fault("there is no answer", &format!("to {} bytes", request.bytes.len()));
        }
        true
    }

    /// Many connections, on each a byte now and then.
    fn slow(&self) {
        let mut held: Vec<(TcpStream, Instant, Vec<u8>, usize)> = Vec::new();
        let mut number = 0;
        while !self.stop.load(Ordering::Relaxed) {
            while held.len() < SLOW {
                let Ok(connection) = service::connect(self.address) else { break };
                drop(connection.set_nonblocking(true));
                held.push((connection, Instant::now(), slow_request(number), 0));
                number += 1;
            }
            held.retain_mut(|(connection, began, bytes, at)| {
                let byte = bytes.get(*at..*at + 1).unwrap_or(b"x");
                let alive = match connection.write(byte) {
                    Ok(_) => true,
                    Err(error) => error.kind() == ErrorKind::WouldBlock,
                };
                *at += 1;
                let closed = matches!(connection.read(&mut [0; 512]), Ok(0));
                let is_late = began.elapsed() > SLOW_MAX;
                if is_late {
                    self.whole("a slow sender is still served", &format!("after {SLOW_MAX:?}"));
                } else if closed || !alive {
                    // It was a case once it came to its end.
                    self.slow_closed.fetch_add(1, Ordering::Relaxed);
                    self.done.fetch_add(1, Ordering::Relaxed);
                }
                alive && !closed && !is_late
            });
            std::thread::sleep(SLOW_PAUSE);
        }
    }

    fn process(&self, name: &str) -> std::path::PathBuf {
        Path::new("/proc").join(self.service.process_id().to_string()).join(name)
    }

    /// The most memory that it took since the mark was taken back.
    fn peak_kib(&self) -> io::Result<u64> {
        let status = std::fs::read_to_string(self.process("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kib.ok_or_else(|| io::Error::other("the service has ended"))
    }

    /// Open connections, and what else is a socket.
    fn sockets(&self) -> io::Result<usize> {
        let open = std::fs::read_dir(self.process("fd"))?.flatten();
        let targets = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        Ok(targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count())
    }

    fn told(&self) -> String {
        let times = locked(&self.times);
        format!(
            "an honest sender's p99 {} ms in {} deliveries; {} slow ones were cut off; memory grew by {} KiB from {}",
            p99(&times).as_millis(),
            times.len(),
            self.slow_closed.load(Ordering::Relaxed),
            self.most_kib.saturating_sub(self.calm_kib),
            self.calm_kib
        )
    }

    /// Whether the service is well again, and all that was found. It is killed meanwhile.
    fn judged(&mut self, place: &Path) -> Found {
        let unserved = unserved(&locked(&self.times), self.attacked);
        if let Some(why) = unserved {
            self.whole("the honest sender is ill served", &why);
        }
        if self.most_kib > self.calm_kib + GROWTH_KIB_MAX {
            self.whole("memory grew", &format!("from {} KiB to {} KiB", self.calm_kib, self.most_kib));
        }
        let began = Instant::now();
        while let Err(why) = self.well() {
            if began.elapsed() > WELL_WITHIN || !self.service.is_alive() {
                self.whole("the service is not well again", &format!("{why}, {:?} after the attack", began.elapsed()));
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        // Its log is whole only after its end.
        match self.service.stop().and_then(|_| std::fs::read(place.join("log"))) {
            Ok(log) => panics(&String::from_utf8_lossy(&log)).for_each(|line| self.whole("the service panicked", line)),
            Err(error) => self.whole("the service's log cannot be read", &error.to_string()),
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
            Err(error) => return self.whole("what was kept cannot be read", &error.to_string()),
        };
        let mut bodies: BTreeMap<u64, u64> = BTreeMap::new();
        for event in &kept {
            let body = hash(event.data().as_bytes());
            let case = requests::case_of(event.id()).or_else(|| requests::case_of(event.data()));
            let times = bodies.entry(body).or_default();
            *times += 1;
            if *times > 1 {
                let detail = format!("{} is kept {times} times: {:.200}", event.id(), event.data());
                self.fault(case, "one delivery is kept more than once".to_owned(), detail);
            }
            if !locked(&self.signed).contains(&body) {
                let detail = format!("{} is kept: {:.200}", event.id(), event.data());
                self.fault(case, "what nobody signed is kept".to_owned(), detail);
            }
        }
        for id in locked(&self.acknowledged).iter() {
            if !bodies.contains_key(&hash(witness::body(id).as_bytes())) {
                self.whole("what was acknowledged is not kept", id);
            }
        }
    }
}

/// Everything that is answered until the connection is closed; none if it stays open in silence. Whoever has heard that it is about to be
/// closed sends no more, and need not be waited for.
fn answered(connection: &mut TcpStream) -> Option<Vec<u8>> {
    let mut answer = Vec::new();
    let mut buffer = [0; 4_096];
    let mut is_told = false;
    loop {
        match connection.read(&mut buffer) {
            Ok(0) => return Some(answer),
            Ok(count) => {
                answer.extend_from_slice(buffer.get(..count).unwrap_or_default());
                let text = String::from_utf8_lossy(&answer);
                if !is_told && text.contains("\r\nconnection: close\r\n") && service::is_whole(&text) {
                    is_told = true;
                    drop(connection.shutdown(Shutdown::Write));
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
            // Reset, because what was sent is not read.
            Err(_) => return Some(answer),
        }
    }
}

fn p99(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied().unwrap_or_default()
}

/// Why the honest sender had a hard time of it: too slow, or too seldom for one that is hardly ever so slow.
fn unserved(times: &[Duration], attacked: Duration) -> Option<String> {
    let least = (attacked.as_millis() / (P99_MAX + HONEST_PAUSE).as_millis()).max(1);
    if p99(times) > P99_MAX {
        return Some(format!("its p99 is {:?}", p99(times)));
    }
    let served = times.len() as u128;
    (served < least).then(|| format!("{served} deliveries in {attacked:?}, and {least} are the least"))
}

/// The lines of a log that tell of a panic: one in a connection's task only closes that connection, and nothing else would show it.
fn panics(log: &str) -> impl Iterator<Item = &str> {
    log.lines().filter(|line| tells_of_a_panic(line))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_faults_a_few_of_each_sort_are_kept_and_all_are_counted() {
        let mut found = Found::default();
        for case in 0..1_000 {
            found.add(Some(case), "nobody listens".to_owned(), "refused".to_owned());
        }
        found.add(None, "the service panicked".to_owned(), "panicked at x".to_owned());
        let all = found.all();
        assert_eq!(all.len(), FAULTS_MAX + 1);
        assert_eq!(all[0], (None, "the service panicked: panicked at x".to_owned()));
        assert_eq!(all[1], (Some(0), "nobody listens: refused\n1000 times in all".to_owned()));
        assert_eq!(all[2], (Some(1), "nobody listens: refused".to_owned()));
    }

    #[test]
    fn an_honest_sender_is_served_fast_and_often() {
        let ms = Duration::from_millis;
        for (times, attacked, well) in [
            (vec![ms(1); 100], ms(10_000), true),
            (vec![ms(1); 100], ms(30_000), false),
            (vec![], ms(0), false),
            (vec![], ms(60_000), false),
            ([vec![ms(1); 990], vec![ms(300); 10]].concat(), ms(5_000), false),
            ([vec![ms(1); 991], vec![ms(300); 9]].concat(), ms(5_000), true),
        ] {
            assert_eq!(unserved(&times, attacked).is_none(), well, "{} in {attacked:?}", times.len());
        }
    }

    #[test]
    fn a_panic_is_found_wherever_the_log_tells_of_it() {
        let log = "12:00 INFO listens\nthread 'main' panicked at src/a.rs:1:2:\nbad\n{\"message\":\"panicked at b\"}\n";
        let found: Vec<&str> = panics(log).collect();
        assert_eq!(found, ["thread 'main' panicked at src/a.rs:1:2:", "{\"message\":\"panicked at b\"}"]);
    }
}
