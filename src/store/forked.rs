//! A store in a copy of its process, as `fork` makes one: it shares files and lock with the process that opened it, but not what is known
//! of them. What one of them writes, the other writes over, and an end that is marked by one cuts off what the other appends.
//!
//! So a copy touches nothing: it is found out before each wait, each write, each compaction and the close, where it costs a system call that
//! does not block, and whatever it was to do fails. No thread of the store lives in a copy, and a lock that one of them held is held for
//! ever there: what drops a handle takes none. It is told by its number, which a copy has for itself, unless it is the first of a namespace
//! of processes as its parent was.

use crate::env::process_id;
use crate::error::{Error, ErrorKind};
use crate::store::commit::Shared;
use crate::store::desk::Desk;

const REASON: &str =
    "this process was forked from the one that opened the store, which goes on with it: open a store of its own here";

impl Shared {
    /// Whether this is a copy of the process that opened the store.
    pub(super) fn is_copy(&self) -> bool {
        process_id() != self.opened_by
    }

    /// Whether this is a copy: there the store takes nothing from now on.
    pub(super) fn refuse_copy(&self, desk: &mut Desk) -> bool {
        let is_copy = self.is_copy();
        if is_copy {
            desk.core.poison_with(REASON.to_owned());
        }
        is_copy
    }
}

/// What a copy is told that is to close the store.
pub(super) fn not_ours() -> Error {
    Error::new(ErrorKind::NotAllowed, REASON)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::env::Dir;
    use crate::log::segment::Name;
    use crate::store::closing::Ending;
    use crate::store::options::StoreOptions;
    use crate::store::stories::{keep, receive, store_with};

    /// The bytes of the first segment.
    fn segment(dir: &Path) -> Vec<u8> {
        let file = Dir::open(dir).unwrap().open_file(&Name::original(1).to_string(), false).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
        bytes
    }

    #[test]
    fn a_copy_of_the_process_changes_nothing_and_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let mut shared = store_with(dir.path(), true, StoreOptions::default().segment_bytes(64 * 1024));
        keep(&shared, "a", 10).unwrap();
        let before = segment(dir.path());
        shared.opened_by += 1;
        let error = keep(&shared, "b", 10).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
        assert!(error.to_string().contains("forked"), "{error}");
        assert_eq!(receive(&shared, "c", 10).unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(Ending::new(Some(Vec::new())).close(&shared).unwrap_err().kind(), ErrorKind::NotAllowed);
        assert_eq!(segment(dir.path()), before);
    }

    #[test]
    fn a_copy_of_the_process_waits_for_no_leader_that_it_does_not_have_and_compacts_nothing() {
        let of_copy = |dir: &Path| {
            let mut shared = store_with(dir, true, StoreOptions::default().segment_bytes(64 * 1024));
            shared.opened_by += 1;
            shared
        };
        let dir = tempfile::tempdir().unwrap();
        let shared = of_copy(dir.path());
        // Whoever led was in the midst of it.
        let tail = shared.desk().tail.take();
        assert_eq!(keep(&shared, "b", 10).unwrap_err().kind(), ErrorKind::OutcomeUnknown);
        drop(tail);
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(of_copy(dir.path()).compact().unwrap_err().kind(), ErrorKind::Poisoned);
    }

    #[test]
    fn a_copy_of_the_process_begins_no_run() {
        let dir = tempfile::tempdir().unwrap();
        let mut shared = store_with(dir.path(), true, StoreOptions::default().segment_bytes(64 * 1024));
        keep(&shared, "a", 10).unwrap();
        shared.opened_by += 1;
        let claims = shared.step(|core, now| core.claim(1, now)).unwrap();
        let error = shared.wait_written(claims[0].token.started).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    }
}
