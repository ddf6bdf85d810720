//! Everything that may happen to the bytes of a file that nobody wrote to, one by one.

use super::format::Files;

/// Bytes of a sector.
const SECTOR: usize = 512;

/// What becomes of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rot {
    /// One bit is another.
    Bit { at: usize, bit: u8 },
    /// One byte is another.
    Byte { at: usize, byte: u8 },
    /// A sector is filled with a byte.
    Fill { sector: usize, byte: u8 },
    /// Two sectors change places.
    Swap { one: usize, other: usize },
    /// The file ends earlier.
    Cut { length: usize },
    /// A sector holds what another file holds, or held once, in one of its own.
    Graft { sector: usize, donor: usize, from: usize },
    /// The file holds all that another one holds, or held once.
    Whole { donor: usize },
}

/// One thing that happens to one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mutation {
    /// Which of the files, in order of their names.
    pub(super) file: usize,
    pub(super) rot: Rot,
}

/// All mutations of `files`, as far as they change anything; sectors and whole files are taken from `donors`.
pub(super) fn all(files: &Files, donors: &[&[u8]]) -> Vec<Mutation> {
    let mut found = Vec::new();
    for (file, bytes) in files.values().enumerate() {
        let sectors = bytes.len().div_ceil(SECTOR);
        let bits = (0..bytes.len()).flat_map(|at| (0..8).map(move |bit| Rot::Bit { at, bit }));
        let ends = (0..bytes.len()).flat_map(|at| [0, 0xff].map(|byte| Rot::Byte { at, byte }));
        let filled = (0..sectors).flat_map(|sector| [0, 0xff].map(|byte| Rot::Fill { sector, byte }));
        let swaps = (0..sectors).flat_map(|one| (one + 1..sectors).map(move |other| Rot::Swap { one, other }));
        let cuts = (0..bytes.len()).map(|length| Rot::Cut { length });
        let grafts = (0..sectors).flat_map(|sector| {
            let from =
                |(donor, bytes): (usize, &&[u8])| (0..bytes.len().div_ceil(SECTOR)).map(move |from| (donor, from));
            let places: Vec<(usize, usize)> = donors.iter().enumerate().flat_map(from).collect();
            places.into_iter().map(move |(donor, from)| Rot::Graft { sector, donor, from })
        });
        let wholes = (0..donors.len()).map(|donor| Rot::Whole { donor });
        let rots = bits.chain(ends).chain(filled).chain(swaps).chain(cuts).chain(grafts).chain(wholes);
        found.extend(rots.filter(|rot| rot.changes(bytes, donors)).map(|rot| Mutation { file, rot }));
    }
    found
}

impl Rot {
    /// Whether anything would be another.
    fn changes(self, bytes: &[u8], donors: &[&[u8]]) -> bool {
        match self {
            Self::Bit { .. } | Self::Cut { .. } => true,
            Self::Byte { at, byte } => bytes[at] != byte,
            Self::Fill { sector, byte } => sector_of(bytes, sector).iter().any(|found| *found != byte),
            Self::Swap { one, other } => differ(sector_of(bytes, one), sector_of(bytes, other)),
            Self::Graft { sector, donor, from } => differ(sector_of(bytes, sector), sector_of(donors[donor], from)),
            Self::Whole { donor } => bytes != donors[donor],
        }
    }

    /// The file as it is then.
    pub(super) fn of(self, bytes: &[u8], donors: &[&[u8]]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        match self {
            Self::Bit { at, bit } => bytes[at] ^= 1 << bit,
            Self::Byte { at, byte } => bytes[at] = byte,
            Self::Fill { sector, byte } => sector_mut(&mut bytes, sector).fill(byte),
            Self::Swap { one, other } => {
                // The last sector may be short: as much of both as both have.
                let (first, second) = (sector_of(&bytes, one).to_vec(), sector_of(&bytes, other).to_vec());
                put(&mut bytes, one, &second);
                put(&mut bytes, other, &first);
            }
            Self::Cut { length } => bytes.truncate(length),
            Self::Graft { sector, donor, from } => put(&mut bytes, sector, sector_of(donors[donor], from)),
            Self::Whole { donor } => bytes = donors[donor].to_vec(),
        }
        bytes
    }
}

/// Whether two sectors differ, as far as both go.
fn differ(one: &[u8], other: &[u8]) -> bool {
    one.iter().zip(other).any(|(one, other)| one != other)
}

fn sector_of(bytes: &[u8], sector: usize) -> &[u8] {
    &bytes[sector * SECTOR..bytes.len().min((sector + 1) * SECTOR)]
}

fn sector_mut(bytes: &mut [u8], sector: usize) -> &mut [u8] {
    let end = bytes.len().min((sector + 1) * SECTOR);
    &mut bytes[sector * SECTOR..end]
}

fn put(bytes: &mut [u8], sector: usize, new: &[u8]) {
    let old = sector_mut(bytes, sector);
    let length = old.len().min(new.len());
    old[..length].copy_from_slice(&new[..length]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutation_changes_the_file_and_no_bit_is_left_out() {
        let files = Files::from([("a".to_owned(), vec![7; 700]), ("b".to_owned(), vec![0; 512])]);
        let donors: [&[u8]; 2] = [&[7; 700], &[9; 1_200]];
        let all = all(&files, &donors);
        for mutation in &all {
            let bytes = files.values().nth(mutation.file).unwrap();
            assert_ne!(mutation.rot.of(bytes, &donors), *bytes, "{mutation:?}");
        }
        let bits = all.iter().filter(|mutation| matches!(mutation.rot, Rot::Bit { .. })).count();
        let cuts = all.iter().filter(|mutation| matches!(mutation.rot, Rot::Cut { .. })).count();
        assert_eq!((bits, cuts), (8 * 1_212, 1_212));
        assert!(all.contains(&Mutation { file: 0, rot: Rot::Graft { sector: 1, donor: 1, from: 2 } }));
        assert!(all.contains(&Mutation { file: 1, rot: Rot::Whole { donor: 0 } }));
    }
}
