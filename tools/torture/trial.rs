//! What a kind is given, and what it gives back.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::progress::{self, Progress};

/// Violations of one kind that leave a folder: the first few show what is wrong, millions would only fill the disk.
const FOLDERS_MAX: u64 = 20;

/// One way of breaking promises.
pub(crate) struct Kind {
    /// As `--only` and the result file name it.
    pub(crate) name: &'static str,
    /// What it does, in a line of `--list`.
    pub(crate) says: &'static str,
    /// Cases of a campaign.
    pub(crate) cases_full: u64,
    /// Its share of the time, beside those of the others.
    pub(crate) weight: u32,
    pub(crate) needs_root: bool,
    /// Does cases for as long as the trial goes on, counts each, and reports what broke.
    pub(crate) run: fn(&mut Trial) -> Result<(), Skipped>,
}

/// Why a kind could not run here.
#[derive(Debug)]
pub(crate) struct Skipped(pub(crate) String);

/// Why a kind gives up that has found something: nobody would learn of it.
pub(crate) fn unkept(error: io::Error) -> Skipped {
    Skipped(format!("what it found could not be kept: {error}"))
}

/// One run of a kind: from which seed, how far, and where to leave what it finds.
pub(crate) struct Trial {
    kind: &'static str,
    seed: u64,
    until: Instant,
    cases_wanted: u64,
    only_case: Option<u64>,
    keeps: PathBuf,
    progress: Arc<Progress>,
}

impl Trial {
    pub(crate) fn new(
        kind: &'static str,
        seed: u64,
        until: Instant,
        cases: (u64, Option<u64>),
        violations: &Path,
        progress: Arc<Progress>,
    ) -> Self {
        let keeps = violations.join(format!("{kind}-{seed}"));
        Self { kind, seed, until, cases_wanted: cases.0, only_case: cases.1, keeps, progress }
    }

    /// The seed from which everything is drawn: the same one gives the same cases, whichever of them is run.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// The one case that is to be repeated, if this is such a run: no other one is done, but for those that it needs before it.
    pub(crate) fn only_case(&self) -> Option<u64> {
        self.only_case
    }

    /// Whether there is time left, and cases are wanted; a case that is to be repeated takes as long as it takes.
    pub(crate) fn goes_on(&self) -> bool {
        self.only_case.is_some() || self.progress.cases() < self.cases_wanted && Instant::now() < self.until
    }

    /// Does blocks of `size` cases, one after the other. A case that is to be repeated comes with those before it in its block.
    pub(crate) fn blocks(
        &mut self,
        size: u64,
        mut block: impl FnMut(&mut Self, Range<u64>) -> Result<(), Skipped>,
    ) -> Result<(), Skipped> {
        if let Some(case) = self.only_case {
            return block(self, case / size * size..case + 1);
        }
        let mut first = 0;
        while self.goes_on() {
            block(self, first..first + size)?;
            first += size;
        }
        Ok(())
    }

    /// Where its threads say what they are at.
    pub(crate) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// So many more cases are done.
    pub(crate) fn counted(&mut self, cases: u64) {
        self.progress.count(cases);
    }

    /// Says something that belongs to the result: what was measured, how often something was met.
    pub(crate) fn remark(&self, text: impl Into<String>) {
        self.progress.remark(text.into());
    }

    /// A case broke a promise. It is printed, and a folder is made that says what was found and how to repeat it: returned, so that
    /// evidence may be left beside that. After the first violations of a kind the others are only counted, and share a folder.
    pub(crate) fn violated(&mut self, case: u64, found: &str) -> io::Result<PathBuf> {
        self.keep(Some(case), found)
    }

    /// The same where no single case is to blame: the kind hangs or panics, or what it measures over all cases is out of bounds.
    pub(crate) fn violated_as_a_whole(&mut self, found: &str) -> io::Result<PathBuf> {
        self.keep(self.only_case, found)
    }

    /// Whether what is reported next gets a folder of its own, so that evidence is worth leaving there.
    pub(crate) fn has_folders(&self) -> bool {
        self.progress.violations() < FOLDERS_MAX
    }

    fn keep(&mut self, case: Option<u64>, found: &str) -> io::Result<PathBuf> {
        let before = self.progress.violate();
        if before >= FOLDERS_MAX {
            let folder = self.keeps.join("more");
            std::fs::create_dir_all(&folder)?;
            return Ok(folder);
        }
        let (at, again) = case.map_or_else(
            || (String::new(), String::new()),
            |case| (format!(", case {case}"), format!(" --case {case}")),
        );
        let command = format!("ledgerline-torture --only {} --seed {}{again}", self.kind, self.seed);
        let first = found.lines().next().unwrap_or_default();
        progress::say(&format!("VIOLATION of {}{at}: {first}\n  again: {command}", self.kind));
        std::fs::create_dir_all(&self.keeps)?;
        let folder = match case {
            Some(case) => self.keeps.join(case.to_string()),
            None => self.next_whole(),
        };
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("found.txt"), format!("{found}\n\n{command}\n"))?;
        Ok(folder)
    }

    /// A folder for what no single case is to blame for: each fault has its own, so that none replaces what another left.
    fn next_whole(&self) -> PathBuf {
        let mut number = 1_u64;
        loop {
            let folder = self.keeps.join(format!("whole-{number}"));
            if !folder.exists() {
                return folder;
            }
            number += 1;
        }
    }

    /// Skips the kind unless a program of this name is on the PATH.
    pub(crate) fn require(&self, tool: &str) -> Result<(), Skipped> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if std::env::split_paths(&path).any(|place| place.join(tool).is_file()) {
            return Ok(());
        }
        Err(Skipped(format!("{tool}, which {} needs, is not installed", self.kind)))
    }
}
