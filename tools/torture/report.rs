//! The file that is left in the end: what ran where, how often, and what broke. A kind's entry is that of the last run that had it; those
//! of others stay as they are.

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

/// Puts these results into the file at `path`.
pub(crate) fn write(path: &Path, outcomes: &[Outcome]) -> std::io::Result<()> {
    let mut kinds = read(path)?;
    kinds.extend(outcomes.iter().map(|outcome| (outcome.kind.to_owned(), described(outcome))));
    let written = path.with_extension("json.tmp");
    std::fs::write(&written, format!("{:#}\n", json!({ "kinds": kinds })))?;
    std::fs::rename(written, path)
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

fn described(outcome: &Outcome) -> Value {
    let Outcome { cases, wanted, violations, seed, time, .. } = outcome;
    let mut said = json!({
        "cases": cases, "wanted": wanted, "violations": violations, "seeds": [seed], "seconds": time.as_secs(),
        "commit": machine::commit(), "machine": machine::described(),
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
