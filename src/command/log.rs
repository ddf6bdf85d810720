//! The log of a running service: lines on stderr, which a thread of its own writes.
//!
//! ```text
//! whoever logs ─► queue │ line │ line │ … │ ─► writer ─► stderr
//!                  full: the line is left out and counted; the next that has room says how many
//! ```
//!
//! Whoever logs must not wait for whoever reads: a pager that pauses, a terminal that is held or a full pipe would stop receivers,
//! workers and the service's own end.

use std::ffi::OsStr;
use std::io::{self, IsTerminal as _, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::time::Duration;

use ledgerline::service::Config;
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::trouble::Trouble;

/// Most lines that may wait for stderr.
const LINES_MAX: usize = 4_096;

/// How long to pause before looking again whether the queue has room.
const PAUSE: Duration = Duration::from_millis(5);

/// Whose levels can be set: nothing else logs here.
const MODULES: [&str; 3] = ["ledgerline", "hyper", "tokio"];

/// The way to the log. Writing never waits.
#[derive(Clone)]
pub(super) struct Log {
    queue: SyncSender<Item>,
    left_out: Arc<AtomicU64>,
}

enum Item {
    Line(Vec<u8>),
    /// Everything before this was written.
    Written(Sender<()>),
}

impl Log {
    /// Begins to log as `config` says.
    pub(super) fn begin(config: &Config) -> Result<Self, Trouble> {
        let levels = levels(config.log())
            .map_err(|why| Trouble::new(format!("the log filter {:?} is not one: {why}", config.log())))?;
        let log = Self::to(io::stderr())?;
        let writer = log.clone();
        let variable = |name| std::env::var_os(name).unwrap_or_default();
        let is_coloured = io::stderr().is_terminal() && takes_colours(&variable("NO_COLOR"), &variable("TERM"));
        let lines = tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).with_ansi(is_coloured);
        let subscriber = tracing_subscriber::registry().with(lines).with(levels);
        subscriber.try_init().map_err(|error| Trouble::new(error.to_string()))?;
        Ok(log)
    }

    fn to(output: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, items) = sync_channel(LINES_MAX);
        let left_out = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&left_out);
        std::thread::Builder::new().name("ledgerline-log".into()).spawn(move || write_all(&items, &counted, output))?;
        Ok(Self { queue, left_out })
    }

    /// Has something written that is no line of the log, behind what was logged before.
    pub(super) fn tell(&self, text: String) {
        self.take(text.into_bytes());
    }

    fn take(&self, line: Vec<u8>) {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Item::Line(line)) {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all that was logged is written, but no longer than `wait`.
    pub(super) fn settle(&self, wait: Duration) {
        let (written, told) = channel();
        let mut item = Item::Written(written);
        let mut waited = Duration::ZERO;
        while let Err(TrySendError::Full(refused)) = self.queue.try_send(item) {
            if waited >= wait {
                return;
            }
            item = refused;
            std::thread::sleep(PAUSE);
            waited += PAUSE;
        }
        // Whoever does not write in time keeps nobody.
        let _ = told.recv_timeout(wait.saturating_sub(waited));
    }
}

impl Write for Log {
    /// Takes one line, as the subscriber gives it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.take(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(items: &Receiver<Item>, left_out: &AtomicU64, mut output: impl Write) {
    for item in items {
        // Where stderr is gone there is nobody to tell.
        match item {
            Item::Line(line) => {
                let _ = output.write_all(&line);
            }
            Item::Written(told) => {
                let _ = told.send(());
            }
        }
        let count = left_out.swap(0, Ordering::Relaxed);
        if count > 0 {
            let _ = writeln!(output, "{count} lines of the log were left out here: stderr is read too slowly");
        }
    }
}

/// Whether a terminal is to show colours, by what the environment says of it: `NO_COLOR` (<https://no-color.org>) and `TERM`.
fn takes_colours(no_color: &OsStr, term: &OsStr) -> bool {
    no_color.is_empty() && term != "dumb"
}

/// Levels by module. What would be taken for the name of a module that nobody has, and silence all others, is refused here.
fn levels(filter: &str) -> Result<Targets, String> {
    let parts: Vec<&str> = filter.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    let is_level = |text: &str| !text.is_empty() && text.parse::<LevelFilter>().is_ok();
    let is_module = |text: &str| {
        let is_plain = text.chars().all(|char| char.is_ascii_alphanumeric() || "_:".contains(char));
        is_plain && text.split("::").next().is_some_and(|first| MODULES.contains(&first))
    };
    let is_known = |part: &str| match part.split_once('=') {
        Some((module, level)) => is_module(module) && is_level(level),
        None => is_level(part),
    };
    match parts.iter().find(|part| !is_known(part)) {
        Some(part) => Err(format!(
            "{part:?} is neither a level nor module=level: levels are off, error, warn, info, debug and trace, a module is one of ours, \
             such as ledgerline::store"
        )),
        None => parts.join(",").parse().map_err(|error: ParseError| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Takes nothing until it is let.
    struct Held(Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Held {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Once nobody holds it any more it takes all.
            let _ = self.0.recv();
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_a_stderr_that_is_held_and_what_was_left_out_is_counted() {
        let (grip, stderr) = channel();
        let written = Arc::default();
        let mut log = Log::to(Held(stderr, Arc::clone(&written))).unwrap();
        let lines = LINES_MAX + 1_000;
        for number in 0..lines {
            assert_eq!(log.write(format!("{number}\n").as_bytes()).unwrap(), format!("{number}\n").len());
        }
        log.settle(Duration::from_millis(1));
        drop(grip);
        // There is room once the first of them are written.
        while log.left_out.load(Ordering::Relaxed) > 0 {
            std::thread::yield_now();
        }
        log.settle(Duration::from_secs(10));
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let left_out: Vec<usize> =
            text.lines().filter_map(|line| line.split_once(" lines of")?.0.parse().ok()).collect();
        assert_eq!(text.lines().count() - left_out.len() + left_out.iter().sum::<usize>(), lines);
        assert!(left_out.iter().sum::<usize>() >= 999, "{left_out:?}");
    }

    #[test]
    fn colours_are_left_out_where_the_environment_says_so() {
        for (no_color, term, expected) in
            [("", "xterm", true), ("", "", true), ("1", "xterm", false), ("0", "", false), ("", "dumb", false)]
        {
            assert_eq!(takes_colours(no_color.as_ref(), term.as_ref()), expected, "{no_color:?} {term:?}");
        }
    }

    #[test]
    fn what_is_no_level_of_ours_is_refused() {
        for filter in ["info", "ledgerline=debug", "warn, ledgerline::store=trace", "off", ""] {
            assert!(levels(filter).is_ok(), "{filter:?}");
        }
        for filter in ["warning", "foo", "=debug", "ledgerlin=debug", "ledgerline=", "ledgerline=loud", "ledgerline"] {
            assert!(levels(filter).is_err(), "{filter:?}");
        }
    }
}
