//! Segments that are written anew while the simulation goes on.

use super::World;
use crate::event::Place;
use crate::event::codec;
use crate::event::entry::{Entry, Remembered};
use crate::state::{Grain, Kept, Leaving, Move, Sieve};

impl World {
    /// What compaction does to some neighbours, with something else between.
    pub(super) fn rewrite(&mut self, sources: &[u32], new: u32) {
        let is_source = |place: &Place| sources.contains(&place.segment);
        let records: Vec<_> = self.log.iter().filter(|(_, place, _)| is_source(place)).cloned().collect();
        let mut sieve = Sieve::new(&self.state, sources.to_vec());
        let mut kept = Vec::new();
        let some = usize::try_from(1 + self.chance.below(5)).unwrap();
        for records in records.chunks(some) {
            let mut lookup = self.state.lookup();
            for (seq, place, bytes) in records {
                let entry = codec::decode(bytes).unwrap();
                sieve.sift(&mut lookup, &Grain { seq: *seq, place: *place, entry, body: bytes }, &mut kept);
            }
            for _ in records {
                self.go_on();
            }
        }
        let sifted = sieve.end(&mut kept, false);
        let written: Vec<_> = kept.into_iter().map(|kept| Self::rewritten(&records, kept, new)).collect();
        self.rewritten += u32::from(!written.is_empty());
        if !written.is_empty() {
            self.state.begin_relocation(sources, new);
        }
        for written in written.chunks(some) {
            let mut moves = Vec::new();
            for (from, seq, to, bytes) in written {
                match codec::decode(bytes).unwrap() {
                    Entry::Remembered(remembered) => {
                        moves.extend(remembered.ids.iter().map(|id| Move::Remembered { id: id.id_hash }));
                    }
                    entry => {
                        moves.extend(Move::of(*seq, &entry, self.state.hasher(), *from, *to));
                        self.model.relocate(entry.of().map_or(*seq, |of| of.seq), *from, *to);
                    }
                }
            }
            self.state.relocate(&moves, sources, new);
            for _ in written {
                self.go_on();
            }
        }
        if !written.is_empty() {
            let mut leaving = Leaving::default();
            self.state.note_leaving(sources, new, &mut leaving);
            let mut next = sources.first().copied();
            while let Some(from) = next {
                next = self.state.redirect_references(&leaving, from, some);
                self.go_on();
            }
            self.state.replace_segments(sources, new, &sifted, 1_000);
        }
        self.state.drop_segments(sources);
        self.log.retain(|(_, place, _)| !sources.contains(&place.segment));
        self.log.extend(written.into_iter().map(|(_, seq, place, bytes)| (seq, place, bytes)));
        self.log.sort_unstable_by_key(|(seq, ..)| *seq);
        self.gone += u32::try_from(sources.len()).unwrap();
    }

    /// What was kept as a record of the new segment, and where it lay.
    fn rewritten(records: &[(u64, Place, Vec<u8>)], kept: Kept, new: u32) -> (Place, u64, Place, Vec<u8>) {
        let (seq, bytes) = match kept {
            Kept::AsItIs { seq, place } => {
                let (_, at, bytes) = records.iter().find(|(found, ..)| *found == seq).unwrap();
                assert_eq!(*at, place);
                (seq, bytes.clone())
            }
            Kept::Held { seq, body } => (seq, body),
            Kept::Remembered { seq, ids } => {
                let mut bytes = Vec::new();
                Entry::Remembered(Remembered { ids }).encode(&mut bytes);
                (seq, bytes)
            }
        };
        let (_, from, _) = records.iter().find(|(found, ..)| *found == seq).unwrap();
        (*from, seq, Place { segment: new, ..*from }, bytes)
    }
}
