//! One setting: its names, what its value must be, and how that is told.
//!
//! `--help` and the README are made from what stands here, so they cannot say anything else than what is checked.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::settings::TABLE;

/// One setting: what it is called in each place, and what it may be.
#[derive(Debug)]
pub struct Setting {
    /// What it is called in sentences: `batch size`.
    pub(super) name: &'static str,
    /// Without its dashes: `batch-size`.
    pub(super) flag: &'static str,
    /// The first that is set counts.
    pub(super) environment: &'static [Variable],
    /// In the configuration file: `batch_size`.
    pub(super) key: &'static str,
    pub(super) kind: Kind,
    /// As it would be written; empty: none.
    pub(super) default: &'static str,
    pub(super) purpose: &'static str,
}

/// A name in the environment.
#[derive(Debug)]
pub(super) struct Variable {
    pub(super) name: &'static str,
    pub(super) meaning: Meaning,
}

/// What a variable's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// What the flag would take.
    Same,
    /// As the flag, but in seconds.
    Seconds,
    /// The former program's file, beside which the directory lies.
    FormerFile,
    /// A signing secret, where the flag names a file that holds one.
    Secret,
}

/// What a value must be.
#[derive(Debug)]
pub(super) enum Kind {
    /// Text of this sort.
    Text(&'static str),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Names of files; the flag may be given several times.
    Files,
    /// A whole number of something, within bounds.
    Whole { unit: &'static str, min: u64, max: u64 },
    /// A time, within bounds; a fraction is fine.
    Time { unit: Unit, min: Duration, max: Duration },
}

/// What times are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Hours,
}

impl Unit {
    pub(super) fn seconds(self) -> f64 {
        match self {
            Self::Seconds => 1.0,
            Self::Hours => 3_600.0,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Hours => "hours",
        }
    }
}

impl Setting {
    /// Every setting.
    pub fn all() -> &'static [&'static Self] {
        &TABLE
    }

    /// The name of its flag, without the dashes.
    pub fn flag(&self) -> &'static str {
        self.flag
    }

    /// Whether its flag may be given several times.
    pub fn is_repeatable(&self) -> bool {
        matches!(self.kind, Kind::Files)
    }

    /// Whether its values name files or directories.
    pub(super) fn is_path(&self) -> bool {
        matches!(self.kind, Kind::Files | Kind::Text("DIR"))
    }

    /// What stands for the flag's value in `--help`.
    pub fn placeholder(&self) -> &'static str {
        match self.kind {
            Kind::Text(sort) => sort,
            Kind::Choice(_) => "WORD",
            Kind::Files => "FILE",
            Kind::Whole { .. } => "NUMBER",
            Kind::Time { unit: Unit::Seconds, .. } => "SECONDS",
            Kind::Time { unit: Unit::Hours, .. } => "HOURS",
        }
    }

    /// What `--help` says about it, with everything that the table knows.
    pub fn help(&self) -> String {
        let mut help = format!("{} [environment: {}] [file: {}]", self.purpose, self.variables(", "), self.key);
        if !self.default.is_empty() {
            // Writing to a String does not fail.
            let _ = write!(help, " [default: {}]", self.default_told());
        }
        if let Some(bounds) = self.bounds() {
            let _ = write!(help, " [{bounds}]");
        }
        help
    }

    /// The whole table as Markdown, as it stands in the README.
    pub fn markdown() -> String {
        let mut table = String::from(
            "| setting | flag | environment | file key | unit | default | bounds |\n|---|---|---|---|---|---|---|\n",
        );
        for setting in TABLE {
            let _ = writeln!(
                table,
                "| {} | `--{}` | `{}` | `{}` | {} | {} | {} |",
                setting.name,
                setting.flag,
                setting.variables("`, `"),
                setting.key,
                setting.unit(),
                if setting.default.is_empty() { "–".to_owned() } else { format!("`{}`", setting.default) },
                setting.bounds().unwrap_or_else(|| "–".to_owned()),
            );
        }
        table
    }

    /// What a value must be, as the end of a sentence, where it was given under a name of this meaning.
    pub(super) fn must_be(&self, meaning: Meaning) -> String {
        let bounds = self.bounds().map(|bounds| format!(" from {bounds}")).unwrap_or_default();
        match self.kind {
            Kind::Text(_) | Kind::Files => format!("the {} must be text, and not empty", self.name),
            Kind::Choice(words) => format!("the {} must be {}", self.name, words.join(" or ")),
            Kind::Whole { unit, .. } => format!("the {} must be a whole number of {unit}{bounds}", self.name),
            Kind::Time { unit, .. } => {
                let unit = if meaning == Meaning::Seconds { Unit::Seconds } else { unit };
                format!("the {} must be a number of {}{bounds}", self.name, unit.as_str())
            }
        }
    }

    fn variables(&self, separator: &str) -> String {
        let names: Vec<_> = self.environment.iter().map(|variable| variable.name).collect();
        names.join(separator)
    }

    fn unit(&self) -> &'static str {
        match self.kind {
            Kind::Text(_) | Kind::Choice(_) => "text",
            Kind::Files => "files",
            Kind::Whole { unit, .. } => unit,
            Kind::Time { unit, .. } => unit.as_str(),
        }
    }

    fn default_told(&self) -> String {
        match self.kind {
            Kind::Text(_) | Kind::Choice(_) | Kind::Files => self.default.to_owned(),
            Kind::Whole { .. } | Kind::Time { .. } => format!("{} {}", self.default, self.unit()),
        }
    }

    fn bounds(&self) -> Option<String> {
        match self.kind {
            Kind::Text(_) | Kind::Files => None,
            Kind::Choice(words) => Some(words.join(" or ")),
            Kind::Whole { min, max, .. } => Some(format!("{} to {}", Grouped(min), Grouped(max))),
            Kind::Time { min, max, .. } => Some(format!("{} to {}", Told(min), Told(max))),
        }
    }
}

/// A number with its digits in groups of three.
struct Grouped(u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// A time in the largest unit of which it is a whole number.
struct Told(Duration);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HOUR: u64 = 3_600;
        const DAY: u64 = 24 * HOUR;
        let (seconds, millis) = (self.0.as_secs(), self.0.subsec_millis());
        if millis > 0 {
            write!(f, "{} ms", self.0.as_millis())
        } else if seconds > DAY && seconds.is_multiple_of(DAY) {
            write!(f, "{} days", Grouped(seconds / DAY))
        } else if seconds > HOUR && seconds.is_multiple_of(HOUR) {
            write!(f, "{} h", seconds / HOUR)
        } else {
            write!(f, "{} s", Grouped(seconds))
        }
    }
}
