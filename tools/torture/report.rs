//! The file that is left: what ran where, how often, and what broke. A kind's entry is that of the last run in which it ended; those of
//! others stay as they are.

use std::io::{Error, ErrorKind};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use super::machine;

/// What one kind came to.
pub(crate) struct Outcome {
    pub(crate) kind: &'static str,
    pub(crate) cases: u64,
    /// How many of them there were to be; none: as many as came.
    pub(crate) wanted: Option<u64>,
    pub(crate) violations: u64,
    pub(crate) seed: u64,
    pub(crate) time: Duration,
    /// What else there is to say.
    pub(crate) remarks: Vec<String>,
    /// Why it did not run, if it did not.
    pub(crate) skipped: Option<String>,
}

/// The file, and what is the same of every entry that this run puts into it.
pub(crate) struct Report<'p> {
    path: &'p Path,
    /// What was checked out when the run began.
    commit: String,
}

impl<'p> Report<'p> {
    /// Looks that the file at `path` can be written before hours are spent on what it is to hold.
    pub(crate) fn begin(path: &'p Path) -> Result<Self, String> {
        let report = Self { path, commit: machine::commit() };
        report.extend(None)?;
        Ok(report)
    }

    /// Puts this result into the file.
    pub(crate) fn add(&self, outcome: &Outcome) -> Result<(), String> {
        self.extend(Some((outcome.kind.to_owned(), described(outcome, &self.commit))))
    }

    fn extend(&self, entry: Option<(String, Value)>) -> Result<(), String> {
        let written = self.path.with_extension("json.tmp");
        let extended = read(self.path).and_then(|mut kinds| {
            kinds.extend(entry);
            std::fs::write(&written, format!("{:#}\n", json!({ "kinds": kinds })))?;
            std::fs::rename(written, self.path)
        });
        extended.map_err(|error| format!("cannot write {}: {error}", self.path.display()))
    }
}

/// The entries that are there.
fn read(path: &Path) -> std::io::Result<Map<String, Value>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Map::new()),
        text => text?,
    };
    let kinds = serde_json::from_str::<Value>(&text).ok().and_then(|report| report.get("kinds")?.as_object().cloned());
    kinds.ok_or_else(|| Error::new(ErrorKind::InvalidData, "it holds something else than results"))
}

fn described(outcome: &Outcome, commit: &str) -> Value {
    let Outcome { cases, wanted, violations, seed, time, .. } = outcome;
    let mut said = json!({
        "cases": cases, "wanted": wanted, "violations": violations, "seeds": [seed], "seconds": time.as_secs(),
        "commit": commit, "machine": machine::described(),
        "date": ledgerline::Timestamp::from(SystemTime::now()).to_string(),
    });
    if let (Some(why), Some(said)) = (&outcome.skipped, said.as_object_mut()) {
        said.insert("skipped".to_owned(), json!(why));
    }
    if let (false, Some(said)) = (outcome.remarks.is_empty(), said.as_object_mut()) {
        said.insert("remarks".to_owned(), json!(outcome.remarks));
    }
    said
}
