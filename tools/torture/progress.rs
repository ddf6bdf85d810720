//! What is told while a kind runs: one line that is refreshed on a terminal, and elsewhere a line now and then.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the line is refreshed on a terminal.
const REFRESHED: Duration = Duration::from_millis(500);
/// How often a line is written elsewhere.
const WRITTEN: Duration = Duration::from_secs(10);

/// How far a kind is. Shared by all its threads.
pub(crate) struct Progress {
    kind: &'static str,
    cases_wanted: u64,
    cases: AtomicU64,
    violations: AtomicU64,
    remarks: Mutex<Vec<String>>,
    /// Numbers of the pieces of work that are under way.
    under_way: Mutex<BTreeSet<u64>>,
    began: Instant,
    /// Whether the kind has ended, under a lock so that whoever waits for the next line sees it at once.
    ended: Mutex<bool>,
    end: Condvar,
}

impl Progress {
    pub(crate) fn new(kind: &'static str, cases_wanted: u64) -> Arc<Self> {
        let (cases, violations) = (AtomicU64::new(0), AtomicU64::new(0));
        let (ended, end) = (Mutex::new(false), Condvar::new());
        let (remarks, under_way) = (Mutex::default(), Mutex::default());
        Arc::new(Self { kind, cases_wanted, cases, violations, remarks, under_way, began: Instant::now(), ended, end })
    }

    pub(crate) fn cases(&self) -> u64 {
        self.cases.load(Ordering::Relaxed)
    }

    pub(crate) fn violations(&self) -> u64 {
        self.violations.load(Ordering::Relaxed)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn count(&self, cases: u64) {
        self.cases.fetch_add(cases, Ordering::Relaxed);
    }

    /// Counts a violation; returns how many there were before.
    pub(crate) fn violate(&self) -> u64 {
        self.violations.fetch_add(1, Ordering::Relaxed)
    }

    /// A piece of work begins.
    pub(crate) fn begins(&self, number: u64) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
    }

    /// A piece of work has ended.
    pub(crate) fn ends(&self, number: u64) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    /// What is under way: where a kind hangs, one of these does.
    pub(crate) fn under_way(&self) -> Vec<u64> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// Says something that belongs to the result.
    pub(crate) fn remark(&self, text: String) {
        say(&format!("{:<10} {text}", self.kind));
        self.remarks.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }

    pub(crate) fn remarks(&self) -> Vec<String> {
        self.remarks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells how far it is, until [`end`](Self::end).
    pub(crate) fn told(self: &Arc<Self>) -> JoinHandle<()> {
        let progress = Arc::clone(self);
        std::thread::spawn(move || progress.tell())
    }

    /// The kind has ended: waits until nothing more is told of it, and says what it came to.
    pub(crate) fn end(&self, teller: JoinHandle<()>, skipped: Option<&str>) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.end.notify_all();
        drop(teller.join());
        match skipped {
            Some(why) => say(&format!("{:<10} SKIPPED: {why}", self.kind)),
            None => say(&self.line()),
        }
    }

    fn tell(&self) {
        let on_terminal = io::stderr().is_terminal();
        let pause = if on_terminal { REFRESHED } else { WRITTEN };
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        while !*ended {
            (ended, _) = self.end.wait_timeout(ended, pause).unwrap_or_else(PoisonError::into_inner);
            if *ended {
                return;
            }
            if on_terminal {
                drop(write!(io::stderr(), "\r\x1b[K{}", self.line()).and_then(|()| io::stderr().flush()));
            } else {
                drop(writeln!(io::stderr(), "{}", self.line()));
            }
        }
    }

    fn line(&self) -> String {
        let (cases, violations, seconds) = (self.cases(), self.violations(), self.elapsed().as_secs());
        let of =
            if self.cases_wanted == u64::MAX { String::new() } else { format!(" of {}", grouped(self.cases_wanted)) };
        let rate = grouped(per_second(cases, self.elapsed()));
        format!(
            "{:<10} {}{of} cases, {} violations, {seconds} s, {rate} per second",
            self.kind,
            grouped(cases),
            grouped(violations)
        )
    }
}

/// Says something between the lines.
pub(crate) fn say(text: &str) {
    // Whatever stands on the refreshed line is written over.
    let clear = if io::stderr().is_terminal() { "\r\x1b[K" } else { "" };
    drop(writeln!(io::stderr(), "{clear}{text}"));
}

fn per_second(cases: u64, elapsed: Duration) -> u64 {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    cases.saturating_mul(1_000) / millis
}

/// A number with a comma before every three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let lead = digits.len() % 3;
    let mut text = digits.get(..lead).unwrap_or_default().to_owned();
    for three in digits.get(lead..).unwrap_or_default().as_bytes().chunks(3) {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&String::from_utf8_lossy(three));
    }
    text
}
