//! One directory: its names, and the changes to them that are not durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::choices::Choices;

/// Names and the inodes that they stand for.
pub(super) type Names = BTreeMap<Arc<str>, u64>;

/// One change of names.
#[derive(Debug, Clone)]
enum Change {
    Add { name: Arc<str>, inode: u64 },
    Remove { name: Arc<str> },
    Rename { from: Arc<str>, to: Arc<str>, inode: u64 },
}

impl Change {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Add { name, inode } => {
                names.insert(Arc::clone(name), *inode);
            }
            Self::Remove { name } => {
                names.remove(name);
            }
            Self::Rename { from, to, inode } => {
                names.remove(from);
                names.insert(Arc::clone(to), *inode);
            }
        }
    }
}

/// One directory.
#[derive(Debug, Clone, Default)]
pub(super) struct Folder {
    names: Names,
    durable: Names,
    /// Changes since the last sync, oldest first.
    pending: Vec<Change>,
}

impl Folder {
    /// A directory whose names are all durable.
    pub(super) fn settled(names: Names) -> Self {
        Self { durable: names.clone(), names, pending: Vec::new() }
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn get(&self, name: &str) -> Option<u64> {
        self.names.get(name).copied()
    }

    pub(super) fn add(&mut self, name: &str, inode: u64) {
        self.change(Change::Add { name: name.into(), inode });
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.change(Change::Remove { name: name.into() });
    }

    /// Gives what `from` stands for the name `to`; false if there is no `from`.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> bool {
        let Some(inode) = self.get(from) else { return false };
        self.change(Change::Rename { from: from.into(), to: to.into(), inode });
        true
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        self.durable.clone_from(&self.names);
        self.pending.clear();
    }

    /// What a failed sync does: some changes are durable, the others are lost, and the names go on to be shown.
    pub(super) fn fail_sync(&mut self, choices: &mut Choices) {
        self.durable = self.names_after_crash(choices);
        self.pending.clear();
    }

    /// The names that are left after a loss of power.
    pub(super) fn names_after_crash(&self, choices: &mut Choices) -> Names {
        let mut names = self.durable.clone();
        for change in &self.pending {
            if choices.pick(2) == 1 {
                change.apply(&mut names);
            }
        }
        names
    }

    /// Whether `inode` has a name, or may have one after a loss of power.
    pub(super) fn refers_to(&self, inode: u64) -> bool {
        self.inodes().any(|named| named == inode)
    }

    /// Every inode that has a name, or may have one after a loss of power; some more than once.
    pub(super) fn inodes(&self) -> impl Iterator<Item = u64> {
        let pending = self.pending.iter().filter_map(|change| match change {
            Change::Add { inode, .. } | Change::Rename { inode, .. } => Some(*inode),
            Change::Remove { .. } => None,
        });
        self.names.values().chain(self.durable.values()).copied().chain(pending)
    }

    pub(super) fn is_settled(&self) -> bool {
        self.pending.is_empty()
    }
}
