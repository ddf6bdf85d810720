//! What is left of a store after a death, held against the witness.

use std::io;
use std::path::Path;

use ledgerline::{ErrorKind, Event, Filter, Store};

use super::trial::Trial;
use super::witness::{Kept, Witness};
use super::{life, scratch};

/// Every fault that is found: as a reader sees the store, and if `recovers`, as a writer who opens it and closes it in good order.
pub(crate) fn faults(witness: &mut Witness, dir: &Path, recovers: bool) -> Vec<String> {
    let mut faults = match read(dir) {
        Ok(kept) => check(witness, &kept),
        // What died at once may have left nothing.
        Err(error) if error.kind() == ErrorKind::NotFound && !witness.is_owed() => witness.check(&[]),
        Err(error) => vec![format!("what is left cannot be read: {error}")],
    };
    if recovers && faults.is_empty() {
        match recovered(dir) {
            Ok(kept) => faults.extend(check(witness, &kept)),
            Err(fault) => faults.push(fault),
        }
    }
    faults
}

/// Reports what a case found, and leaves a copy of its folder beside that.
pub(crate) fn report(trial: &mut Trial, case: u64, found: &str, place: Option<&Path>) {
    let kept = trial
        .violated(case, found)
        .and_then(|folder| place.map_or(Ok(()), |place| scratch::copy(place, &folder.join("place"))));
    if let Err(error) = kept {
        trial.remark(format!("what case {case} found could not be kept: {error}"));
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
