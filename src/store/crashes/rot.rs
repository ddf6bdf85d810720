//! Bytes that rot: whatever becomes of one file, opening the store refuses and says where, or everything that was acknowledged is
//! there, unchanged (R7, R8, R9, R14).
//!
//! The one exception is what R8 calls the ambiguity left: at the end of the segment that was written last, what no later group attests
//! looks like a write that was never finished. There the log may end before the first group that is not whole, exactly there.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::mutation::{self, Mutation};
use super::opening::open;
use super::specimen::Specimen;
use super::verdict::{Answers, answers_of};
use crate::env::simulated::Disk;
use crate::error::{Error, ErrorKind};
use crate::log::format::RECORD_BYTES_MAX;

/// So many specimens rot side by side, so that a run that is cut short has seen something of each.
const SPECIMENS_ABREAST: u64 = 16;
/// In so many pieces the mutations of a specimen are cut, each with every so manieth of them.
const PIECES: u64 = 128;
/// More is never allocated for one opening.
const ALLOCATED_MAX: u64 = 2 * RECORD_BYTES_MAX as u64;
/// A head and the checksum in it.
const HEAD_BYTES: usize = 40;

/// What came of some mutations.
#[derive(Debug, Default)]
pub(crate) struct Rotted {
    pub(crate) cases: u64,
    /// How many of them were refused; the others did no harm.
    pub(crate) refused: u64,
    /// The log ended earlier, where that is legal.
    pub(crate) torn: u64,
    /// Case and what was found.
    pub(crate) violations: Vec<(u64, String)>,
}

/// Runs what it is given, and tells how many bytes this thread has allocated meanwhile, given back or not.
type AllocatedBy = fn(&mut dyn FnMut()) -> u64;

/// Has the mutations of one piece happen, each to a store of its own.
pub(crate) fn rot_piece(piece: u64, seed: u64, allocated_by: AllocatedBy) -> Rotted {
    let specimen = piece / (SPECIMENS_ABREAST * PIECES) * SPECIMENS_ABREAST + piece % SPECIMENS_ABREAST;
    rotted(specimen, seed, allocated_by, |index| index % PIECES == piece / SPECIMENS_ABREAST % PIECES)
}

/// Has the one mutation happen that a case stands for.
pub(crate) fn rot_case(case: u64, seed: u64, allocated_by: AllocatedBy) -> Rotted {
    rotted(case >> 32, seed, allocated_by, |index| index == case & u64::from(u32::MAX))
}

fn rotted(number: u64, seed: u64, allocated_by: AllocatedBy, wanted: impl Fn(u64) -> bool) -> Rotted {
    let mut sum = Rotted::default();
    let specimen = match Specimen::of(number, seed) {
        Ok(specimen) => specimen,
        Err(what) => {
            sum.violations.push((number << 32, format!("specimen {number}: {what}")));
            return sum;
        }
    };
    let donors: Vec<&[u8]> = specimen.donors.iter().map(Vec::as_slice).collect();
    let mutations = mutation::all(&specimen.files, &donors);
    for (index, mutation) in (0..).zip(mutations).filter(|(index, _)| wanted(*index)) {
        sum.cases += 1;
        let happened = || happen(&specimen, mutation, &donors, allocated_by);
        let fate = catch_unwind(AssertUnwindSafe(happened))
            .unwrap_or_else(|_| Err("whoever judges it panicked; what it said stands above".to_owned()));
        match fate {
            Ok(Fate::Refused) => sum.refused += 1,
            Ok(Fate::Torn) => sum.torn += 1,
            Ok(Fate::Harmless) => {}
            Err(what) => sum.violations.push((number << 32 | index, what)),
        }
    }
    sum
}

/// What became of it, where nothing is wrong with that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Refused,
    Torn,
    Harmless,
}

fn happen(
    specimen: &Specimen,
    mutation: Mutation,
    donors: &[&[u8]],
    allocated_by: AllocatedBy,
) -> Result<Fate, String> {
    let Some((name, sound)) = specimen.files.iter().nth(mutation.file) else { return Err("no such file".into()) };
    let rotten = mutation.rot.of(sound, donors);
    let told = |what: String| format!("{name}, {:?}: {what}", mutation.rot);
    let disk = specimen.disk.copy();
    replace(&disk, name, sound, &rotten);
    let mut opened = None;
    let bytes = allocated_by(&mut || opened = Some(catch_unwind(AssertUnwindSafe(|| answers(&disk, specimen)))));
    if bytes > ALLOCATED_MAX {
        return Err(told(format!("{bytes} bytes were allocated for it")));
    }
    match opened.expect("what is to be measured is run") {
        Err(panic) => Err(told(format!("it panicked: {:?}", panic.downcast_ref::<String>()))),
        Ok(Err(error)) => refusal(&error).map_err(told),
        Ok(Ok(Err(what))) => Err(told(what)),
        Ok(Ok(Ok(answers))) if answers == specimen.whole => Ok(Fate::Harmless),
        Ok(Ok(Ok(answers))) => ending(specimen, name, sound, &rotten, &answers).map_err(told),
    }
}

/// Puts the rotten bytes in the place of the sound ones.
fn replace(disk: &Disk, name: &str, sound: &[u8], rotten: &[u8]) {
    let same = sound.iter().zip(rotten).take_while(|(sound, rotten)| sound == rotten).count();
    let (dir, name) = match name.split_once('/') {
        Some((dir, name)) => (disk.root().open_dir(dir).expect("it is there"), name),
        None => (disk.root(), name),
    };
    let file = dir.open_file(name, true).expect("it is there");
    if rotten.len() < sound.len() {
        file.truncate(rotten.len() as u64).expect("nothing fails on this disk");
    }
    file.write_all_at(&rotten[same..], same as u64).expect("nothing fails on this disk");
    file.sync_all().expect("nothing fails on this disk");
}

/// Why it is not opened, or what the store answers that is; or why it does not, which it has no reason for: all was read to open it.
fn answers(disk: &Disk, specimen: &Specimen) -> Result<Result<Answers, String>, Error> {
    let start = specimen.start;
    let (store, _clock) = open(disk, start.wall, start.number, start.boot)?;
    Ok(answers_of(&store))
}

/// Whether a refusal says what is wrong, and where.
fn refusal(error: &Error) -> Result<Fate, String> {
    let is_told = matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::UnsupportedFormat);
    if is_told && error.path().is_some() { Ok(Fate::Refused) } else { Err(format!("it was refused as {error:?}")) }
}

/// Whether the log may end before the first group that is not whole, and does.
fn ending(specimen: &Specimen, name: &str, sound: &[u8], rotten: &[u8], answers: &Answers) -> Result<Fate, String> {
    let same = |range: std::ops::Range<usize>| rotten.get(range.clone()) == sound.get(range);
    let is_whole = |group: &&super::specimen::Group| same(group.start..group.end);
    let broken = specimen.groups.iter().find(|group| !is_whole(group));
    let Some(broken) = broken.filter(|_| name == specimen.last) else {
        return Err(format!("it answers {answers:?} instead of {:?}", specimen.whole));
    };
    let attests = |group: &super::specimen::Group| {
        group.start > broken.start && same(group.start..group.start + HEAD_BYTES) && group.durable >= broken.first_seq
    };
    if let Some(witness) = specimen.groups.iter().find(|group| attests(group)) {
        return Err(format!("what the group at {} attests, the one at {}, is gone", witness.start, broken.start));
    }
    if *answers == broken.before {
        Ok(Fate::Torn)
    } else {
        Err(format!("cut at {}, it answers {answers:?} instead of {:?}", broken.start, broken.before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uncounted(work: &mut dyn FnMut()) -> u64 {
        work();
        0
    }

    #[test]
    fn whatever_becomes_of_some_bytes_is_refused_or_does_no_harm() {
        // R7, R8, R9, R14: a few hundred mutations of each of some stores; `./tools/check` takes many more.
        let mut sum = Rotted::default();
        for number in 0..8 {
            let rotted = rotted(number, 1, uncounted, |index| index % 1_499 == number);
            sum.cases += rotted.cases;
            sum.refused += rotted.refused;
            sum.torn += rotted.torn;
            sum.violations.extend(rotted.violations);
        }
        for more in [rot_piece(SPECIMENS_ABREAST * PIECES + 9, 1, uncounted), rot_case(0x3_0000_0077, 1, uncounted)] {
            assert!(more.cases > 0);
            sum.violations.extend(more.violations);
        }
        assert!(sum.violations.is_empty(), "{:#?}", sum.violations);
        assert!(sum.refused > sum.cases / 4 && sum.torn > 0, "{sum:?}");
    }
}
