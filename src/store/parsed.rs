//! Records as a replay takes them: what most of a log consists of is decoded and hashed, and borrows nothing.

use std::collections::BTreeMap;

use crate::event::codec;
use crate::event::entry::{Completed, Entry, Started};
use crate::log::scan::Record;
use crate::state::{Gist, IdHasher};

/// So many types are known by number; records of more are left to whoever applies them.
const TYPE_COUNT_MAX: usize = if cfg!(test) { 2 } else { 4_096 };

/// A record that verified.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parsed {
    pub(crate) seq: u64,
    /// Offset of its header in the segment.
    pub(crate) offset: u64,
    /// Length of its body.
    pub(crate) length: usize,
    pub(crate) fact: Fact,
}

/// What a record says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fact {
    /// An event of the type with this number arrived.
    Received(Gist, u32),
    Started(Started),
    Completed(Completed),
    /// Something else, or nothing that decodes: its body is to be looked at.
    Other,
}

impl Parsed {
    /// A record of which nothing is told but its body.
    pub(crate) fn untold(record: &Record<'_>) -> Self {
        Self { seq: record.seq, offset: record.offset, length: record.body.len(), fact: Fact::Other }
    }

    /// The hash of the id that it receives.
    pub(crate) fn id(&self) -> Option<u128> {
        match &self.fact {
            Fact::Received(gist, _) => Some(gist.id),
            _ => None,
        }
    }
}

/// Takes records apart, for one store.
#[derive(Debug)]
pub(crate) struct Parser {
    hasher: IdHasher,
    numbers: BTreeMap<String, u32>,
    /// The type of the last reception: types come in rows.
    last: (String, u32),
}

impl Parser {
    pub(crate) fn new(store_id: [u8; 16]) -> Self {
        Self { hasher: IdHasher::new(store_id), numbers: BTreeMap::new(), last: (String::new(), u32::MAX) }
    }

    /// Takes a record apart; the names of types that were not met before are added to `names`.
    pub(crate) fn parse(&mut self, record: &Record<'_>, names: &mut Vec<String>) -> Parsed {
        let fact = match codec::decode(record.body) {
            Ok(Entry::Received(received)) => self
                .number(received.event_type, names)
                .map_or(Fact::Other, |number| Fact::Received(self.hasher.gist(&received), number)),
            Ok(Entry::Started(started)) => Fact::Started(started),
            Ok(Entry::Completed(completed)) => Fact::Completed(completed),
            Ok(_) | Err(_) => Fact::Other,
        };
        Parsed { fact, ..Parsed::untold(record) }
    }

    fn number(&mut self, name: &str, names: &mut Vec<String>) -> Option<u32> {
        if self.last.0 == name && self.last.1 != u32::MAX {
            return Some(self.last.1);
        }
        let next = self.numbers.len();
        let number = match self.numbers.get(name) {
            Some(number) => *number,
            None if next >= TYPE_COUNT_MAX => return None,
            None => {
                let number = u32::try_from(next).ok()?;
                self.numbers.insert(name.to_owned(), number);
                names.push(name.to_owned());
                number
            }
        };
        self.last = (name.to_owned(), number);
        Some(number)
    }
}
