//! What is left of a store after a death, held against the witness.

use std::io;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use ledgerline::{ErrorKind, Event, Filter, Store};

use super::trial::Trial;
use super::witness::{Kept, Witness};
use super::{life, scratch};

/// What the copy of a store is called that was made before it was recovered.
pub(crate) const BEFORE: &str = "before-recovery";

/// What is left beside a fault, for whoever looks into it.
#[derive(Default)]
pub(crate) struct Evidence<'e> {
    /// All that the witness heard.
    pub(crate) heard: &'e str,
    /// Files and folders; those that are not there are left out.
    pub(crate) parts: Vec<PathBuf>,
}

/// As [`judged`], with the copy beside the store.
pub(crate) fn faults(witness: &mut Witness, dir: &Path, recovers: bool) -> Vec<String> {
    let before = dir.with_file_name(BEFORE);
    judged(witness, dir, recovers.then_some(&before))
}

/// Every fault that is found: first by a reader, who writes nothing; then, if `before` is given, by a writer, who opens the store and
/// closes it in good order. The writer mends what it finds, so the store is copied to `before` first. That copy stays only if there is
/// a fault.
pub(crate) fn judged(witness: &mut Witness, dir: &Path, before: Option<&PathBuf>) -> Vec<String> {
    let mut faults = match read(dir) {
        Ok(kept) => check(witness, &kept),
        // What died at once may have left nothing.
        Err(error) if error.kind() == ErrorKind::NotFound && !witness.is_owed() => witness.check(&[]),
        Err(error) => vec![format!("what is left cannot be read: {error}")],
    };
    let Some(before) = before.filter(|_| faults.is_empty()) else { return faults };
    // Nothing is there yet where what died at once has left nothing.
    let copied = if dir.exists() { scratch::copy(dir, before) } else { Ok(()) };
    if let Err(error) = copied {
        return vec![format!("what is left cannot be kept aside: {error}")];
    }
    match catch_unwind(|| recovered(dir)) {
        Ok(Ok(kept)) => faults.extend(check(witness, &kept)),
        Ok(Err(fault)) => faults.push(fault),
        Err(_) => faults.push("opening what is left panicked".to_owned()),
    }
    if faults.is_empty() {
        drop(std::fs::remove_dir_all(before));
    }
    faults
}

/// Reports what a case found, and leaves the evidence beside that.
pub(crate) fn report(trial: &mut Trial, case: u64, found: &str, evidence: &Evidence<'_>) {
    let kept = trial.violated(case, found).and_then(|folder| evidence.keep(&folder.join("place")));
    if let Err(error) = kept {
        trial.remark(format!("what case {case} found could not be kept: {error}"));
    }
}

impl Evidence<'_> {
    fn keep(&self, place: &Path) -> io::Result<()> {
        let Some(place) = scratch::fresh(place)? else { return Ok(()) };
        std::fs::write(place.join("heard"), self.heard)?;
        for part in &self.parts {
            let to = place.join(part.file_name().unwrap_or_default());
            if part.is_dir() {
                scratch::copy(part, &to)?;
            } else if part.is_file() {
                std::fs::copy(part, to)?;
            }
        }
        Ok(())
    }
}

fn check(witness: &mut Witness, kept: &[Event]) -> Vec<String> {
    let kept: Vec<Kept<'_>> = kept.iter().map(Kept::from).collect();
    witness.check(&kept)
}

fn read(dir: &Path) -> Result<Vec<Event>, ledgerline::Error> {
    let store = Store::open_read_only(dir)?;
    match store.recovery().damage.first() {
        Some(damage) => Err(io::Error::other(damage.clone()).into()),
        None => store.list(&Filter::all()),
    }
}

fn recovered(dir: &Path) -> Result<Vec<Event>, String> {
    let store = Store::open(dir, life::options()).map_err(|error| format!("what is left cannot be opened: {error}"))?;
    let kept = store.list(&Filter::all()).map_err(|error| format!("what is left cannot be listed: {error}"))?;
    let verified = store.verify().map_err(|error| format!("what is left cannot be verified: {error}"))?;
    if let Some(damage) = verified.damage.first() {
        return Err(format!("what is left is damaged: {damage:?}"));
    }
    store.close().map_err(|error| format!("what is left cannot be closed: {error}"))?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::super::witness::{self, Loss};
    use super::*;

    /// A store that keeps as many events as are asked for.
    fn store(count: u64) -> Scratch {
        let scratch = Scratch::in_memory().unwrap();
        let store = Store::open(scratch.path().join("store"), life::options()).unwrap();
        for number in 0..count {
            store.append(life::event(&witness::id(number, 9)).unwrap()).unwrap();
        }
        scratch
    }

    /// What is found in a store of two events by a witness that has heard these lines; and what is left beside the store.
    fn found(lines: &[&str]) -> (Vec<String>, usize) {
        let scratch = store(2);
        let mut witness = Witness::new(Loss::Process);
        for line in lines {
            witness.hear(line);
        }
        let found = faults(&mut witness, &scratch.path().join("store"), true);
        (found, std::fs::read_dir(scratch.path()).unwrap().count() - 1)
    }

    #[test]
    fn what_is_as_it_was_said_is_no_fault_and_leaves_nothing() {
        assert_eq!(found(&["acknowledged event-0-9", "acknowledged event-1-9"]), (vec![], 0));
    }

    #[test]
    fn what_a_reader_finds_wrong_is_not_recovered() {
        let (faults, beside) = found(&["acknowledged event-2-9"]);
        assert!(matches!(&faults[..], [fault] if fault.contains("is lost")), "{faults:?}");
        assert_eq!(beside, 0);
    }

    #[test]
    fn what_only_a_writer_finds_wrong_is_kept_as_it_was_before() {
        let scratch = store(2);
        let dir = scratch.path().join("store");
        let holder = Store::open(&dir, life::options()).unwrap();
        let found = faults(&mut Witness::new(Loss::Process), &dir, true);
        assert!(matches!(&found[..], [fault] if fault.contains("cannot be opened")), "{found:?}");
        holder.close().unwrap();
        let kept = read(&scratch.path().join(BEFORE)).unwrap();
        assert_eq!(kept.len(), 2);
    }

    #[test]
    fn where_something_must_be_kept_and_no_store_is_there_that_is_a_fault() {
        let scratch = Scratch::in_memory().unwrap();
        let dir = scratch.path().join("store");
        assert_eq!(faults(&mut Witness::new(Loss::Process), &dir, false), Vec::<String>::new());
        let mut witness = Witness::new(Loss::Process);
        witness.hear("acknowledged event-0-9");
        let found = faults(&mut witness, &dir, false);
        assert!(matches!(&found[..], [fault] if fault.contains("cannot be read")), "{found:?}");
    }

    #[test]
    fn evidence_is_kept_once_for_each_fault() {
        let scratch = store(1);
        let parts = vec![scratch.path().join("store"), scratch.path().join("nothing")];
        let place = scratch.path().join("place");
        for heard in ["this", "that"] {
            Evidence { heard, parts: parts.clone() }.keep(&place).unwrap();
        }
        assert_eq!(std::fs::read_to_string(place.join("heard")).unwrap(), "this");
        let other = scratch.path().join("place-2");
        assert_eq!(std::fs::read_to_string(other.join("heard")).unwrap(), "that");
        assert_eq!(read(&other.join("store")).unwrap().len(), 1);
    }
}
