//! Numbered places for things of one size, in chunks that never move.
//!
//! A vector of a million slots would copy 100 MB when it doubles, under the lock. Here growing means one more chunk of 1,024.

/// Places in one chunk.
const CHUNK_LEN: usize = 1_024;

/// A number that is never given out: it stands for "none" where numbers are kept.
pub(crate) const NONE: u32 = u32::MAX;

/// What can lie in a [`Slab`]: it has room to say, when it is vacant, which place is free next.
pub(crate) trait Vacate {
    /// The thing that a vacant place holds; `next` is the place that is free after it, or [`NONE`].
    fn vacant(next: u32) -> Self;
    /// What [`Vacate::vacant`] was given, or nothing if this is occupied.
    fn next_vacant(&self) -> Option<u32>;
}

/// Things known by a number that stays theirs until they are removed. Numbers are reused, the last freed first.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    /// Each has room for [`CHUNK_LEN`]; only the last may hold fewer.
    chunks: Vec<Vec<T>>,
    /// The first place that is free again.
    vacant: u32,
    len: usize,
}

impl<T: Vacate> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { chunks: Vec::new(), vacant: NONE, len: 0 }
    }

    /// How many things it holds.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Keeps `thing` and returns its number.
    pub(crate) fn insert(&mut self, thing: T) -> u32 {
        debug_assert!(thing.next_vacant().is_none(), "a vacant thing is inserted");
        if self.vacant == NONE {
            return self.push(thing);
        }
        let at = self.vacant;
        let place = self.place(at).expect("the free list names places");
        let next = place.next_vacant().expect("the free list names vacant places");
        *place = thing;
        self.vacant = next;
        self.len += 1;
        at
    }

    /// Removes and returns the thing numbered `at`.
    pub(crate) fn remove(&mut self, at: u32) -> T {
        let next = self.vacant;
        let place = self.place(at).expect("only what is held is removed");
        assert!(place.next_vacant().is_none(), "place {at} is removed twice");
        let thing = std::mem::replace(place, T::vacant(next));
        self.vacant = at;
        self.len -= 1;
        thing
    }

    /// The thing numbered `at`, if there is one.
    pub(crate) fn lookup(&self, at: u32) -> Option<&T> {
        let place = self.chunks.get(at as usize / CHUNK_LEN)?.get(at as usize % CHUNK_LEN)?;
        if place.next_vacant().is_none() { Some(place) } else { None }
    }

    /// Everything, in the order of the numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let places = self.chunks.iter().flat_map(|chunk| chunk.iter());
        (0..NONE).zip(places).filter(|(_, place)| place.next_vacant().is_none())
    }

    fn place(&mut self, at: u32) -> Option<&mut T> {
        self.chunks.get_mut(at as usize / CHUNK_LEN)?.get_mut(at as usize % CHUNK_LEN)
    }

    /// Keeps `thing` where nothing was before.
    fn push(&mut self, thing: T) -> u32 {
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_LEN) {
            self.chunks.push(Vec::with_capacity(CHUNK_LEN));
        }
        let before = (self.chunks.len() - 1) * CHUNK_LEN;
        let chunk = self.chunks.last_mut().expect("one was just pushed");
        let at = u32::try_from(before + chunk.len()).ok().filter(|at| *at != NONE);
        chunk.push(thing);
        self.len += 1;
        at.expect("fewer than 2³² slots fit into memory")
    }
}

impl<T: Vacate> std::ops::Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, at: u32) -> &T {
        let place = self.chunks.get(at as usize / CHUNK_LEN).and_then(|chunk| chunk.get(at as usize % CHUNK_LEN));
        let place = place.expect("numbers name places");
        debug_assert!(place.next_vacant().is_none(), "place {at} is vacant");
        place
    }
}

impl<T: Vacate> std::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, at: u32) -> &mut T {
        let place = self.place(at).expect("numbers name places");
        debug_assert!(place.next_vacant().is_none(), "place {at} is vacant");
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Vacate for Result<u64, u32> {
        fn vacant(next: u32) -> Self {
            Err(next)
        }
        fn next_vacant(&self) -> Option<u32> {
            self.err()
        }
    }

    #[test]
    fn numbers_stay_while_chunks_are_added_and_are_reused_when_freed() {
        let mut slab = Slab::new();
        let numbers: Vec<u32> = (0..3_000).map(|value| slab.insert(Ok(value))).collect();
        for (value, at) in (0..).zip(&numbers) {
            assert_eq!(slab[*at], Ok(value));
        }
        assert_eq!(slab.remove(numbers[1_500]), Ok(1_500));
        assert_eq!(slab.remove(numbers[7]), Ok(7));
        assert_eq!(slab.len(), 2_998);
        assert_eq!(slab.iter().count(), 2_998);
        assert_eq!(slab.insert(Ok(9_000)), numbers[7]);
        assert_eq!(slab.insert(Ok(9_001)), numbers[1_500]);
        assert_eq!(slab.insert(Ok(9_002)), 3_000);
        slab[numbers[7]] = Ok(1);
        assert_eq!(slab[numbers[7]], Ok(1));
    }
}
