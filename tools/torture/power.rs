//! Power cuts of real file systems: ext4 and xfs, each in an image of its own under a loop device.
//!
//! A process works on the mounted image; then the file system is shut down as if the machine had lost its power: what it holds in memory
//! is gone, and nothing more goes to the image. It is mounted anew, and what is kept is held against the witness. The image lies in
//! memory itself, and loses nothing that was written to it: that the file system flushes the disk's own cache is not tried here.
//!
//! A test of this kind that can lose nothing proves nothing. So first come runs in which the system lies to the process, about every sync
//! or about those of one sort: events that were acknowledged must be lost then, and the witness must see it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::dice::Dice;
use super::judge::{self, Evidence};
use super::life::{Life, Sort};
use super::process::{self, Process};
use super::scratch::Scratch;
use super::trial::{Skipped, Trial};
use super::witness::{Loss, Witness};

/// Cases that share a file system and a store.
const BLOCK: u64 = 10;
/// Numbers of events that each case has.
const NUMBERS: u64 = 1_000_000;
/// How many runs there are with each lie on each file system: at least the first number, and up to the second until one is caught. The
/// rarest is caught in every second run.
const RUNS_MIN: u64 = 3;
const RUNS_MAX: u64 = 24;
/// Numbers of the cases that are such runs.
const LIES_FROM: u64 = 1 << 32;

/// A sync that does nothing and says that it did.
struct Lie {
    about: &'static str,
    injected: &'static str,
    /// Whether only the store's directory is lied about.
    of_directory: bool,
    /// Where it can be caught.
    on: &'static [&'static str],
}

#[rustfmt::skip]
const LIES: [Lie; 4] = [
    Lie {
        about: "every sync", injected: "inject=fdatasync,fsync,sync_file_range,syncfs:retval=0", of_directory: false,
        on: &["ext4", "xfs"],
    },
    Lie { about: "fdatasync", injected: "inject=fdatasync:retval=0", of_directory: false, on: &["ext4", "xfs"] },
    Lie { about: "fsync", injected: "inject=fsync:retval=0", of_directory: false, on: &["ext4", "xfs"] },
    // When a file is synced, xfs writes its name as well, though nothing promises that: there this lie never lost anything.
    Lie { about: "the directory's fsync", injected: "inject=fsync:retval=0", of_directory: true, on: &["ext4"] },
];

/// A kind of file system, and the least that it can be made on.
struct FileSystem {
    name: &'static str,
    maker: &'static str,
    flags: &'static [&'static str],
    bytes: u64,
}

const FILE_SYSTEMS: [FileSystem; 2] = [
    FileSystem { name: "ext4", maker: "mkfs.ext4", flags: &["-q", "-F"], bytes: 64 << 20 },
    FileSystem { name: "xfs", maker: "mkfs.xfs", flags: &["-q", "-f"], bytes: 320 << 20 },
];

const SORTS: [Sort; 4] = [Sort::Steady, Sort::Rotation, Sort::Compaction, Sort::Manager];

pub(crate) fn run(trial: &mut Trial) -> Result<(), Skipped> {
    for tool in ["mount", "umount", "xfs_io", "strace", "mkfs.ext4", "mkfs.xfs"] {
        trial.require(tool)?;
    }
    let mut cuts = Cuts::default();
    if trial.only_case().is_none_or(|case| case >= LIES_FROM) {
        lies(trial, &mut cuts)?;
    }
    if trial.only_case().is_none_or(|case| case < LIES_FROM) {
        trial.blocks(BLOCK, |trial, cases| block(trial, cases, &mut cuts))?;
    }
    let [ext4, xfs] = cuts.honest;
    trial.remark(format!("cut {ext4} on ext4, {xfs} on xfs"));
    Ok(())
}

/// How often the power was cut.
#[derive(Default)]
struct Cuts {
    /// On each file system, under processes that were told the truth.
    honest: [u64; 2],
    /// Under all.
    all: u64,
}

impl Cuts {
    /// What is to be made of an error: a reason to do nothing, where nothing was done yet; else what that case found.
    fn found(&self, error: &io::Error) -> Result<String, Skipped> {
        let text = format!("the power cannot be cut: {error}");
        if self.all == 0 { Err(Skipped(text)) } else { Ok(text) }
    }
}

/// Cases on a file system of their own; the two sorts come in turn.
fn block(trial: &mut Trial, cases: Range<u64>, cuts: &mut Cuts) -> Result<(), Skipped> {
    let turn = usize::from(cases.start / BLOCK % 2 == 1);
    let Some(system) = FILE_SYSTEMS.get(turn) else { return Ok(()) };
    let mut disk = match Disk::new(system) {
        Ok(disk) => disk,
        Err(error) => {
            let found = cuts.found(&error)?;
            trial.counted(1);
            judge::report(trial, cases.start, &found, &Evidence::default());
            return Ok(());
        }
    };
    let mut witness = Witness::new(Loss::Power);
    for case in cases {
        if !trial.goes_on() {
            break;
        }
        let mut dice = Dice::of(trial.seed(), case);
        let faults = match disk.lose_power(&mut witness, case, &mut dice, None) {
            Ok(mut faults) => {
                faults.extend(judge::judged(&mut witness, &disk.store(), dice.one_in(2).then_some(&disk.before())));
                faults
            }
            Err(error) => vec![cuts.found(&error)?],
        };
        trial.counted(1);
        cuts.all += 1;
        if let Some(count) = cuts.honest.get_mut(turn) {
            *count += 1;
        }
        if !faults.is_empty() {
            judge::report(trial, case, &format!("{}: {}", system.name, faults.join("\n")), &disk.evidence(&witness));
            break;
        }
    }
    Ok(())
}

/// The negative control: where syncs are lies, acknowledged events are lost, and that is seen.
fn lies(trial: &mut Trial, cuts: &mut Cuts) -> Result<(), Skipped> {
    let mut first = LIES_FROM;
    for system in &FILE_SYSTEMS {
        for lie in LIES.iter().filter(|lie| lie.on.contains(&system.name)) {
            let (mut caught, mut runs) = (0, 0);
            while runs < RUNS_MIN || caught == 0 && runs < RUNS_MAX {
                let case = first + runs;
                match catches(trial, system, case, lie) {
                    Ok(is_caught) => caught += u64::from(is_caught),
                    Err(error) => {
                        let found = format!("{}: {}", system.name, cuts.found(&error)?);
                        judge::report(trial, case, &found, &Evidence::default());
                    }
                }
                cuts.all += 1;
                runs += 1;
            }
            trial.remark(format!("{}: a lie about {} was caught in {caught} of {runs} runs", system.name, lie.about));
            if caught == 0 {
                let found = format!("a lie about {} was not caught: on {} nothing was lost", lie.about, system.name);
                judge::report(trial, first, &found, &Evidence::default());
            }
            first += RUNS_MAX;
        }
    }
    Ok(())
}

/// A run under a lie; whether that was caught. That the process panics, or ends too early, is no such catch.
fn catches(trial: &mut Trial, system: &FileSystem, case: u64, lie: &Lie) -> io::Result<bool> {
    let mut disk = Disk::new(system)?;
    let mut witness = Witness::new(Loss::Power);
    let mut dice = Dice::of(trial.seed(), case);
    let faults = disk.lose_power(&mut witness, case, &mut dice, Some(lie))?;
    if !faults.is_empty() {
        judge::report(trial, case, &format!("{}: {}", system.name, faults.join("\n")), &disk.evidence(&witness));
    }
    let lost = judge::judged(&mut witness, &disk.store(), Some(&disk.before()));
    Ok(!lost.is_empty())
}

/// A file system in an image, mounted. Unmounted and gone once this is dropped.
struct Disk {
    mounted: bool,
    scratch: Scratch,
}

impl Disk {
    fn new(system: &FileSystem) -> io::Result<Self> {
        let scratch = Scratch::in_memory()?;
        let image = scratch.path().join("image");
        File::create(&image)?.set_len(system.bytes)?;
        std::fs::create_dir(scratch.path().join("mounted"))?;
        ran(Command::new(system.maker).args(system.flags).arg(image))?;
        let mut disk = Self { mounted: false, scratch };
        disk.mount()?;
        Ok(disk)
    }

    fn place(&self) -> PathBuf {
        self.scratch.path().join("mounted")
    }

    fn store(&self) -> PathBuf {
        self.place().join("store")
    }

    /// Outside of the image, where the copy changes nothing of what is tried.
    fn before(&self) -> PathBuf {
        self.scratch.path().join(judge::BEFORE)
    }

    fn evidence<'w>(&self, witness: &'w Witness) -> Evidence<'w> {
        let parts = vec![self.store(), self.before(), self.scratch.path().join("said")];
        Evidence { heard: witness.heard(), parts }
    }

    fn mount(&mut self) -> io::Result<()> {
        ran(Command::new("mount").args(["-o", "loop"]).arg(self.scratch.path().join("image")).arg(self.place()))?;
        self.mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> io::Result<()> {
        ran(Command::new("umount").arg(self.place()))?;
        self.mounted = false;
        Ok(())
    }

    /// This program, lied to.
    fn lied_to(&self, lie: &Lie) -> io::Result<Command> {
        let mut command = Command::new("strace");
        command.args(["-f", "--seccomp-bpf", "-o", "/dev/null", "-e", lie.injected]);
        if lie.of_directory {
            command.arg("-P").arg(self.store());
        }
        command.arg(std::env::current_exe()?);
        Ok(command)
    }

    /// Lets a process work, cuts the power under it, and mounts what is left. Returns what the process did wrong.
    fn lose_power(
        &mut self,
        witness: &mut Witness,
        case: u64,
        dice: &mut Dice,
        lie: Option<&Lie>,
    ) -> io::Result<Vec<String>> {
        let faults = self.cut(witness, case, dice, lie)?;
        self.unmount()?;
        self.mount()?;
        Ok(faults)
    }

    fn cut(&mut self, witness: &mut Witness, case: u64, dice: &mut Dice, lie: Option<&Lie>) -> io::Result<Vec<String>> {
        let sort =
            usize::try_from(dice.below(4)).ok().and_then(|sort| SORTS.get(sort)).copied().unwrap_or(Sort::Steady);
        witness.next_process(sort.is_in_order());
        let again = witness.any_acknowledged(dice.roll()).map(str::to_owned);
        let told = Life { sort, dir: self.store(), first: case * NUMBERS, seed: dice.roll(), again };
        // One in eight is cut while it opens.
        let (word, wanted) =
            if case > 0 && dice.one_in(8) { ("opening", 1) } else { ("acknowledged", dice.between(1, 60)) };
        let wait = Duration::from_micros(dice.below(5_000));
        let said = self.scratch.path().join("said");
        let mut process = match lie {
            None => Process::living(&told, &said)?,
            Some(lie) => Process::start(self.lied_to(lie)?.args(told.arguments()).stderr(File::create(&said)?))?,
        };
        let (mut heard, mut dark, mut last) = (0, false, String::new());
        while let Some(line) = process.line() {
            witness.hear(&line);
            heard += u64::from(line.split(' ').next() == Some(word));
            if !dark && heard == wanted {
                std::thread::sleep(wait);
                ran(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(self.place()))?;
                dark = true;
                if lie.is_none() {
                    std::thread::sleep(Duration::from_micros(dice.below(3_000)));
                    process.kill()?;
                }
            }
            last = line;
        }
        // One that is lied to notices that nothing can be written any more, and ends by itself.
        let ended = process.end()?;
        let mut faults: Vec<String> = process::panic_in(&said)?.into_iter().collect();
        if !dark {
            faults.push(format!("the process ended by itself, {ended}; the last it said: {last}"));
        }
        Ok(faults)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted && self.unmount().is_err() {
            // Whoever still holds a file there does not keep the name.
            drop(ran(Command::new("umount").arg("--lazy").arg(self.place())));
        }
    }
}

/// Runs a tool that must succeed.
fn ran(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{}: {said}", command.get_program().to_string_lossy())))
}
