//! The file that is left in the end: what ran where, how often, and what broke.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use super::machine;

/// What one kind came to.
pub(crate) struct Outcome {
    pub(crate) kind: &'static str,
    pub(crate) cases: u64,
    pub(crate) violations: u64,
    pub(crate) seed: u64,
    pub(crate) time: Duration,
    /// What else there is to say.
    pub(crate) remarks: Vec<String>,
    /// Why it did not run, if it did not.
    pub(crate) skipped: Option<String>,
}

/// Writes the results of a run that took `time` to `path`.
pub(crate) fn write(path: &Path, outcomes: &[Outcome], time: Duration) -> std::io::Result<()> {
    let kinds: Map<String, Value> =
        outcomes.iter().map(|outcome| (outcome.kind.to_owned(), described(outcome))).collect();
    let report = json!({
        "commit": machine::commit(),
        "machine": machine::described(),
        "date": ledgerline::Timestamp::from(SystemTime::now()).to_string(),
        "seconds": time.as_secs(),
        "kinds": kinds,
    });
    std::fs::write(path, format!("{report:#}\n"))
}

fn described(outcome: &Outcome) -> Value {
    let Outcome { cases, violations, seed, time, .. } = outcome;
    let mut said = json!({ "cases": cases, "violations": violations, "seeds": [seed], "seconds": time.as_secs() });
    if let (Some(why), Some(said)) = (&outcome.skipped, said.as_object_mut()) {
        said.insert("skipped".to_owned(), json!(why));
    }
    if let (false, Some(said)) = (outcome.remarks.is_empty(), said.as_object_mut()) {
        said.insert("remarks".to_owned(), json!(outcome.remarks));
    }
    said
}
