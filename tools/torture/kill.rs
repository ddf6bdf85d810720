//! Processes killed with SIGKILL in the middle of their work, again and again, on the same store.
//!
//! A case is one process: it opens the store as the one before left it, works, and is killed at a moment that was chosen for it. Then
//! what is kept is held against the witness. The moments are spans between two lines that the process says, and how far into the
//! span it is killed is drawn: a kill counts for the moment only if the span's end was not said any more.
//!
//! Cases come in blocks that share a store; a case is repeated together with those before it in its block.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use super::dice::Dice;
use super::judge::{self, Evidence};
use super::life::{Life, Sort};
use super::process::{self, Process};
use super::scratch::Scratch;
use super::service::{self, Service};
use super::trial::{Skipped, Trial};
use super::witness::{Loss, Witness};

/// Cases that share a store.
const BLOCK: u64 = 40;
/// Numbers of events that each case has.
const NUMBERS: u64 = 1_000_000;
/// Bounds of what a span is taken to last.
const SPAN_MIN: Duration = Duration::from_micros(50);
const SPAN_MAX: Duration = Duration::from_secs(1);
/// What it is taken to last at first.
const SPAN_FIRST: Duration = Duration::from_micros(500);
/// Each moment is met in at least one of this many cases; judged only once there are enough of them.
const MET_ONCE_IN: u64 = 10;
const MET_FROM: u64 = 1_000;

/// When a process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    /// After so many acknowledgements.
    Load,
    Rotation,
    Compaction,
    /// Before recovery is over.
    Opening,
}

impl Moment {
    const ALL: [Self; 4] = [Self::Load, Self::Rotation, Self::Compaction, Self::Opening];

    /// The words between which it is; load has none.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Load => ("acknowledged", ""),
            Self::Rotation => ("rolling", "rolled"),
            Self::Compaction => ("compacting", "compacted"),
            Self::Opening => ("opening", "opened"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Rotation => "rotation",
            Self::Compaction => "compaction",
            Self::Opening => "opening",
        }
    }
}

/// Who is killed, and when, in turn; none is the service. Openings follow each other, so that a recovery that was cut off is recovered.
const AIMS: [(Option<Sort>, Moment); 12] = [
    (Some(Sort::Steady), Moment::Load),
    (Some(Sort::Rotation), Moment::Rotation),
    (Some(Sort::Compaction), Moment::Compaction),
    (Some(Sort::Steady), Moment::Opening),
    (Some(Sort::Compaction), Moment::Opening),
    (Some(Sort::Manager), Moment::Load),
    (Some(Sort::Rotation), Moment::Rotation),
    (None, Moment::Load),
    (Some(Sort::Compaction), Moment::Compaction),
    (None, Moment::Opening),
    (Some(Sort::Rotation), Moment::Rotation),
    (Some(Sort::Compaction), Moment::Compaction),
];

/// How a kill is aimed, and how often it has met.
#[derive(Default)]
struct Aim {
    /// How long a span lasts, on a store in memory or not, as far as is known from kills that met it and others that did not.
    spans: BTreeMap<(Moment, bool, bool), Duration>,
    met: BTreeMap<Moment, u64>,
    cases: u64,
}

pub(crate) fn run(trial: &mut Trial) -> Result<(), Skipped> {
    let command = service::command()?;
    let mut aim = Aim::default();
    trial.blocks(BLOCK, |trial, cases| block(trial, &command, &mut aim, cases))?;
    let met: Vec<String> = Moment::ALL.iter().map(|at| format!("{} in {}", aim.met(*at), at.name())).collect();
    trial.remark(format!("killed {}", met.join(", ")));
    let least = aim.cases / MET_ONCE_IN;
    match Moment::ALL.iter().find(|at| aim.met(**at) < least) {
        Some(missed) if trial.only_case().is_none() && aim.cases >= MET_FROM => {
            let found = format!("too few kills met the {}: {}", missed.name(), met.join(", "));
            if let Err(error) = trial.violated_as_a_whole(&found) {
                trial.remark(format!("what was found could not be kept: {error}"));
            }
        }
        _ => {}
    }
    Ok(())
}

/// Cases on a store of their own. What stands in the way of the first case of all is a reason to do none; whatever fails later is
/// what that case found.
fn block(trial: &mut Trial, command: &Path, aim: &mut Aim, cases: Range<u64>) -> Result<(), Skipped> {
    let unwatched = |error: io::Error| format!("a process cannot be watched: {error}");
    let mut stand = match Stand::new((cases.start / BLOCK).is_multiple_of(2)) {
        Ok(stand) => stand,
        Err(error) if aim.cases == 0 => return Err(Skipped(unwatched(error))),
        Err(error) => {
            trial.counted(1);
            judge::report(trial, cases.start, &unwatched(error), &Evidence::default());
            return Ok(());
        }
    };
    for case in cases {
        if !trial.goes_on() {
            break;
        }
        let mut dice = Dice::of(trial.seed(), case);
        let faults = match stand.faults(command, case, &mut dice, aim) {
            Ok(faults) => faults,
            Err(error) if aim.cases == 0 => return Err(Skipped(unwatched(error))),
            Err(error) => vec![unwatched(error)],
        };
        trial.counted(1);
        aim.cases += 1;
        if !faults.is_empty() {
            judge::report(trial, case, &faults.join("\n"), &stand.evidence());
            // What is broken stays so; the next block begins anew.
            break;
        }
    }
    Ok(())
}

impl Aim {
    fn met(&self, moment: Moment) -> u64 {
        self.met.get(&moment).copied().unwrap_or(0)
    }

    fn span(&mut self, key: (Moment, bool, bool)) -> &mut Duration {
        self.spans.entry(key).or_insert(SPAN_FIRST)
    }

    /// How far into the span the kill is.
    fn wait(&mut self, key: (Moment, bool, bool), dice: &mut Dice) -> Duration {
        let span = u64::try_from(self.span(key).as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(dice.below(span))
    }

    /// Kills come to be spread over the whole span: one that met lengthens it, one that came too late shortens it.
    fn learn(&mut self, key: (Moment, bool, bool), met: bool) {
        let span = self.span(key);
        *span = if met { *span * 23 / 20 } else { *span * 3 / 5 }.clamp(SPAN_MIN, SPAN_MAX);
    }
}

/// A store, and what is known of it.
struct Stand {
    scratch: Scratch,
    in_memory: bool,
    witness: Witness,
    /// Bytes of what the service printed that were heard.
    heard: usize,
}

impl Stand {
    fn new(in_memory: bool) -> io::Result<Self> {
        let scratch = if in_memory { Scratch::in_memory()? } else { Scratch::on_disk()? };
        Ok(Self { scratch, in_memory, witness: Witness::new(Loss::Process), heard: 0 })
    }

    /// A process lives and is killed; returns what is wrong then.
    fn faults(&mut self, command: &Path, case: u64, dice: &mut Dice, aim: &mut Aim) -> io::Result<Vec<String>> {
        let (sort, moment) =
            *AIMS.get(usize::try_from(case % AIMS.len() as u64).unwrap_or(0)).unwrap_or(&(None, Moment::Load));
        self.witness.next_process(sort.is_some_and(Sort::is_in_order));
        let fate = match sort {
            Some(sort) => self.kill_life(sort, moment, case, dice, aim)?,
            None => self.kill_service(command, moment, case, dice, aim)?,
        };
        let mut faults = Vec::new();
        match fate {
            Ok(met) => *aim.met.entry(moment).or_default() += u64::from(met),
            Err(fault) => faults.push(fault),
        }
        let said = if sort.is_some() { self.said() } else { self.scratch.path().join("log") };
        faults.extend(process::panic_in(&said)?);
        let store = self.store();
        faults.extend(judge::faults(&mut self.witness, &store, dice.one_in(4)));
        Ok(faults)
    }

    fn store(&self) -> PathBuf {
        self.scratch.path().join("store")
    }

    fn evidence(&self) -> Evidence<'_> {
        let parts = ["store", judge::BEFORE, "said", "printed", "log"].map(|name| self.scratch.path().join(name));
        Evidence { heard: self.witness.heard(), parts: parts.into() }
    }

    /// What a life says of its own failure.
    fn said(&self) -> PathBuf {
        self.scratch.path().join("said")
    }

    /// Whether a kill met the moment; a process that ends by itself is a fault.
    fn kill_life(
        &mut self,
        sort: Sort,
        moment: Moment,
        case: u64,
        dice: &mut Dice,
        aim: &mut Aim,
    ) -> io::Result<Result<bool, String>> {
        let again = self.witness.any_acknowledged(dice.roll()).map(str::to_owned);
        let life = Life { sort, dir: self.store(), first: case * NUMBERS, seed: dice.roll(), again };
        let (key, words) = ((moment, self.in_memory, false), moment.words());
        let wanted = match moment {
            Moment::Load if self.in_memory => dice.between(1, 100),
            Moment::Load => dice.between(1, 20),
            Moment::Rotation => dice.between(1, 2),
            Moment::Compaction | Moment::Opening => 1,
        };
        let mut process = Process::living(&life, &self.said())?;
        let (mut begun, mut killed, mut met, mut last) = (0, false, true, String::new());
        while let Some(line) = process.line() {
            self.witness.hear(&line);
            let word = line.split(' ').next().unwrap_or_default();
            met &= !(killed && word == words.1);
            begun += u64::from(word == words.0);
            if !killed && begun == wanted {
                std::thread::sleep(aim.wait(key, dice));
                process.kill()?;
                killed = true;
            }
            last = line;
        }
        let ended = process.end()?;
        if !process::was_killed(ended) {
            return Ok(Err(format!("the process ended by itself, {ended}; the last it said: {last}")));
        }
        aim.learn(key, met);
        Ok(Ok(met))
    }

    /// The same of the service.
    fn kill_service(
        &mut self,
        command: &Path,
        moment: Moment,
        case: u64,
        dice: &mut Dice,
        aim: &mut Aim,
    ) -> io::Result<Result<bool, String>> {
        let key = (moment, self.in_memory, true);
        let service = Service::start(command, self.scratch.path())?;
        let met = if moment == Moment::Opening {
            std::thread::sleep(aim.wait(key, dice));
            let (told, ended) = service.kill()?;
            if !process::was_killed(ended) {
                return Ok(Err(format!("the service ended by itself, {ended}")));
            }
            aim.learn(key, !told);
            !told
        } else {
            let wanted = dice.between(1, if self.in_memory { 100 } else { 20 });
            let acknowledged = loaded(service, case * NUMBERS, wanted, dice);
            match acknowledged {
                Ok(acknowledged) => {
                    for id in acknowledged {
                        self.witness.hear(&format!("acknowledged {id}"));
                    }
                }
                Err(error) => return Ok(Err(format!("the service does not serve: {error}"))),
            }
            true
        };
        self.hear_printed()?;
        Ok(Ok(met))
    }

    /// What the service has printed was run.
    fn hear_printed(&mut self) -> io::Result<()> {
        let printed = String::from_utf8_lossy(&std::fs::read(self.scratch.path().join("printed"))?).into_owned();
        for line in printed.get(self.heard..).unwrap_or_default().lines() {
            // Death may have cut the last one off.
            let event: Option<serde_json::Value> = serde_json::from_str(line).ok();
            if let Some(id) = event.as_ref().and_then(|event| event.get("id")?.as_str()) {
                self.witness.hear(&format!("running {id} 0"));
            }
        }
        self.heard = printed.len();
        Ok(())
    }
}

/// Sends deliveries until so many were acknowledged, and kills the service then; returns all that were.
fn loaded(service: Service, first: u64, wanted: u64, dice: &mut Dice) -> io::Result<Vec<String>> {
    let (address, secret) = (service.address()?, service::secret()?);
    let (next, stop, acknowledged) = (AtomicU64::new(first), AtomicBool::new(false), Mutex::new(Vec::new()));
    let (bytes, wait) = (dice.between(10, 12_000), Duration::from_micros(dice.below(2_000)));
    let send = || -> io::Result<()> {
        let mut connection = service::connect(address)?;
        while !stop.load(Ordering::Relaxed) {
            let id = super::witness::id(next.fetch_add(1, Ordering::Relaxed), bytes);
            let code = service::exchange(&mut connection, &service::delivery(&secret, &id))?;
            if code != 200 {
                return Err(io::Error::other(format!("a signed delivery was answered with {code}")));
            }
            acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        }
        Ok(())
    };
    let count = || acknowledged.lock().map_or(0, |acknowledged| acknowledged.len() as u64);
    std::thread::scope(|scope| {
        let senders = [scope.spawn(send), scope.spawn(send)];
        while count() < wanted && !senders.iter().all(ScopedJoinHandle::is_finished) {
            std::thread::sleep(Duration::from_micros(100));
        }
        let served = count() >= wanted;
        std::thread::sleep(wait);
        let (_, ended) = service.kill()?;
        stop.store(true, Ordering::Relaxed);
        let ends: Vec<_> = senders.into_iter().map(ScopedJoinHandle::join).collect();
        // After the kill both end with an error, and only before it that says something.
        match ends.into_iter().find_map(|end| end.ok()?.err()) {
            _ if !process::was_killed(ended) => Err(io::Error::other(format!("it ended by itself, {ended}"))),
            Some(error) if !served => Err(error),
            _ => Ok(()),
        }
    })?;
    Ok(acknowledged.into_inner().unwrap_or_else(PoisonError::into_inner))
}
