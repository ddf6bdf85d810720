//! A process that embeds the crate, works, and waits for its death: this program, started by itself.
//!
//! What it does is said line by line on its output, in the words of the witness; and nothing is said before it is so. It ends by itself
//! only if it is forgotten: when nobody reads any more, or after a minute.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ledgerline::{Context, Error, Event, EventManager, NewEvent, Outcome, Status, Store, StoreOptions};

use super::dice::Dice;
use super::{script, witness};

/// The first argument of such a process.
pub(crate) const WORD: &str = "live";

/// The smallest there is: it is full after a few large events.
pub(crate) const SEGMENT_BYTES: u64 = 64 * 1024;
/// Of such events four fit into a segment, with all that is said about them.
const LARGE_BYTES: u64 = 15_000;
const LARGE_FIT: u64 = 4;
const LIFETIME: Duration = Duration::from_mins(1);
const NAPS: u32 = 600;

/// What a life is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Threads that append, one that runs.
    Steady,
    /// Large events, so that segments come and go.
    Rotation,
    /// Batches that are run, and retention after each.
    Compaction,
    /// As steady, on an `EventManager`.
    Manager,
    /// A few of everything, one after the other, and then the end.
    Script,
}

impl Sort {
    const ALL: [Self; 5] = [Self::Steady, Self::Rotation, Self::Compaction, Self::Manager, Self::Script];

    /// Whether one thing is done after the other.
    pub(crate) fn is_in_order(self) -> bool {
        matches!(self, Self::Rotation | Self::Compaction | Self::Script)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Rotation => "rotation",
            Self::Compaction => "compaction",
            Self::Manager => "manager",
            Self::Script => "script",
        }
    }
}

/// What a life is told.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) sort: Sort,
    pub(crate) dir: PathBuf,
    /// The number of its first event; it has all from there on.
    pub(crate) first: u64,
    pub(crate) seed: u64,
    /// An event that was acknowledged to an earlier one, and comes again: it must be known, whether it is still kept or not.
    pub(crate) again: Option<String>,
}

impl Life {
    /// As the arguments of a process.
    pub(crate) fn arguments(&self) -> Vec<std::ffi::OsString> {
        let (first, seed) = (self.first.to_string(), self.seed.to_string());
        let again = self.again.clone().unwrap_or_default();
        vec![WORD.into(), self.sort.name().into(), self.dir.clone().into(), first.into(), seed.into(), again.into()]
    }

    fn parse(arguments: &[String]) -> Option<Self> {
        let [word, sort, dir, first, seed, again] = arguments else { return None };
        let sort = Sort::ALL.into_iter().find(|known| known.name() == sort)?;
        let again = (!again.is_empty()).then(|| again.clone());
        (word == WORD).then_some(())?;
        Some(Self { sort, dir: dir.into(), first: first.parse().ok()?, seed: seed.parse().ok()?, again })
    }
}

/// Lives such a life, if that is what this process was started for.
pub(crate) fn asked() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let life = Life::parse(&arguments)?;
    std::thread::spawn(|| {
        // In short naps: while the machine, or somebody, holds the process up, no lifetime passes.
        for _ in 0..NAPS {
            std::thread::sleep(LIFETIME / NAPS);
        }
        std::process::exit(3);
    });
    let lived = match life.sort {
        Sort::Manager => managed(&life),
        Sort::Script => script::run(&life),
        Sort::Steady => opened(&life).and_then(|store| steady(&life, &store)),
        Sort::Rotation => opened(&life).and_then(|store| rotation(&life, &store)),
        Sort::Compaction => opened(&life).and_then(|store| compaction(&life, &store)),
    };
    Some(match lived {
        Ok(()) => ExitCode::SUCCESS,
        Err(Died) => ExitCode::from(1),
    })
}

/// It was said why.
pub(crate) struct Died;

/// Says a line, in one write. Where nobody listens any more, there is nothing left to live for.
pub(crate) fn say(line: &str) {
    let line = format!("{line}\n");
    if io::stdout().lock().write_all(line.as_bytes()).is_err() {
        std::process::exit(2);
    }
}

/// Says what failed.
pub(crate) fn refused(error: &Error) -> Died {
    say(&format!("refused {:?} {}", error.kind(), error.to_string().replace('\n', " ")));
    Died
}

pub(crate) fn options() -> StoreOptions {
    StoreOptions::default()
        .segment_bytes(SEGMENT_BYTES)
        .log_bytes_max(4 * SEGMENT_BYTES)
        .max_event_age(Duration::from_secs(1))
        .retry_interval(Duration::from_millis(1))
        .process_deaths_max(0)
}

pub(crate) fn event(id: &str) -> Result<NewEvent, Error> {
    Ok(NewEvent::from_json("Issue", witness::body(id))?.id(id).key(format!("thing-{}", witness::key(id))))
}

/// Keeps an event, and says so.
pub(crate) fn append(store: &Store, id: &str) -> Result<(), Died> {
    event(id).and_then(|event| store.append(event)).map_err(|error| refused(&error))?;
    say(&format!("acknowledged {id}"));
    Ok(())
}

/// Claims up to `count` events and runs them; one in `one_fails_in` fails, unless that is 0. Returns those that are done.
pub(crate) fn run(store: &Store, count: usize, dice: &mut Dice, one_fails_in: u64) -> Result<Vec<String>, Died> {
    let mut done = Vec::new();
    for claim in store.claim(count).map_err(|error| refused(&error))? {
        let id = claim.event().id().to_owned();
        say(&format!("running {id} {}", claim.attempt()));
        let outcome = if one_fails_in > 0 && dice.one_in(one_fails_in) {
            Outcome::Retry("this run fails on purpose".to_owned())
        } else {
            say(&format!("ending {id}"));
            done.push(id);
            Outcome::Done
        };
        store.settle(&claim, outcome).map_err(|error| refused(&error))?;
    }
    Ok(done)
}

/// Waits until these are completed for ever, and says so.
pub(crate) fn confirm(store: &Store, done: &[String]) -> Result<(), Died> {
    for id in done {
        let seen = store.get(id).map_err(|error| refused(&error))?;
        if seen.is_none_or(|event| event.status() == Status::Completed) {
            say(&format!("completed {id}"));
        }
    }
    Ok(())
}

fn opened(life: &Life) -> Result<Store, Died> {
    say("opening store");
    let store = Store::open(&life.dir, options()).map_err(|error| refused(&error))?;
    say("opened");
    if let Some(again) = &life.again {
        let receipt = event(again).and_then(|event| store.append(event)).map_err(|error| refused(&error))?;
        say(&format!("{} {again}", if receipt.duplicate.is_some() { "acknowledged" } else { "anew" }));
    }
    Ok(store)
}

fn steady(life: &Life, store: &Store) -> Result<(), Died> {
    let next = AtomicU64::new(life.first);
    let append_all = |number: u64| -> Result<(), Died> {
        let mut dice = Dice::of(life.seed, number);
        loop {
            let bytes = dice.between(10, 2_000);
            append(store, &witness::id(next.fetch_add(1, Ordering::Relaxed), bytes))?;
        }
    };
    std::thread::scope(|scope| {
        let appending = [scope.spawn(|| append_all(1)), scope.spawn(|| append_all(2))];
        let mut dice = Dice::of(life.seed, 0);
        let ended = loop {
            match run(store, 4, &mut dice, 8).and_then(|done| confirm(store, &done).map(|()| done.is_empty())) {
                Ok(true) => std::thread::sleep(Duration::from_micros(500)),
                Ok(false) => {}
                Err(died) => break died,
            }
        };
        // The log is poisoned for the others as well.
        for thread in appending {
            drop(thread.join());
        }
        Err(ended)
    })
}

fn rotation(life: &Life, store: &Store) -> Result<(), Died> {
    let mut dice = Dice::of(life.seed, 0);
    // An opening begins a segment of its own, in which nothing large is yet: what came again was a duplicate.
    let mut in_segment = 0;
    for number in life.first.. {
        let id = witness::id(number, LARGE_BYTES);
        if in_segment < LARGE_FIT {
            append(store, &id)?;
            in_segment += 1;
            continue;
        }
        let before = store.stats().segments;
        say(&format!("rolling {id}"));
        append(store, &id)?;
        let after = store.stats().segments;
        if after != before + 1 {
            say(&format!("fault {id} was to begin a segment: there were {before}, and are {after}"));
            return Err(Died);
        }
        say("rolled");
        in_segment = 1;
        let done = run(store, 6, &mut dice, 0)?;
        confirm(store, &done)?;
    }
    Ok(())
}

fn compaction(life: &Life, store: &Store) -> Result<(), Died> {
    let mut dice = Dice::of(life.seed, 0);
    let mut number = life.first;
    loop {
        for _ in 0..dice.between(8, 24) {
            let bytes = dice.between(500, 8_000);
            append(store, &witness::id(number, bytes))?;
            number += 1;
        }
        // Some are left, so that segments are neither wholly dead nor wholly alive.
        for _ in 0..3 {
            run(store, 8, &mut dice, 6)?;
        }
        say("compacting store");
        store.compact().map_err(|error| refused(&error))?;
        say("compacted");
    }
}

/// Nothing is told of its durable ends here: what has ended is found completed afterwards.
fn managed(life: &Life) -> Result<(), Died> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|_| Died)?;
    runtime.block_on(async {
        say("opening manager");
        let manager = manager(&life.dir).start().await.map_err(|error| refused(&error))?;
        say("opened");
        let mut dice = Dice::of(life.seed, 0);
        for number in (life.first..).step_by(3) {
            let emitted =
                (number..number + 3).map(|number| emit(&manager, witness::id(number, dice.between(10, 4_000))));
            let emitted: Vec<_> = emitted.map(tokio::spawn).collect();
            for ended in emitted {
                ended.await.map_err(|_| Died)??;
            }
        }
        Ok(())
    })
}

fn manager(dir: &Path) -> ledgerline::EventManagerBuilder {
    let handler = |event: Event, context: Context| async move {
        say(&format!("running {} {}", event.id(), context.attempt()));
        say(&format!("ending {}", event.id()));
    };
    EventManager::builder(dir).store_options(options()).on("Issue", handler)
}

fn emit(manager: &EventManager, id: String) -> impl Future<Output = Result<(), Died>> + Send + 'static {
    let manager = manager.clone();
    async move {
        let event = event(&id).map_err(|error| refused(&error))?;
        manager.emit_event(event).await.map_err(|error| refused(&error))?;
        say(&format!("acknowledged {id}"));
        Ok(())
    }
}
