//! Everything that a disk holds, durable or not. Copies share what they have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher as _;
use std::sync::Arc;

use super::bytes::Bytes;
use super::choices::Choices;
use super::folder::{Folder, Names};
use super::sector::SECTOR_BYTES;

/// The inode of the root directory.
pub(super) const ROOT: u64 = 0;

/// What an inode is.
#[derive(Debug, Clone)]
pub(super) enum Node {
    File(Bytes),
    Folder(Folder),
}

/// All inodes.
#[derive(Debug, Clone)]
pub(super) struct Image {
    nodes: BTreeMap<u64, Arc<Node>>,
    next: u64,
    /// A name whose bytes nobody relies on: of them a loss of power always leaves the newest, which spares many equal cases.
    pub(super) indifferent: &'static str,
    /// Whether space cannot be reserved, so that files grow as they are written.
    pub(super) grows: bool,
    /// Whether everything is durable at once.
    settled: bool,
}

impl Image {
    pub(super) fn new(settled: bool) -> Self {
        let root = Arc::new(Node::Folder(Folder::default()));
        Self { nodes: BTreeMap::from([(ROOT, root)]), next: ROOT + 1, indifferent: "", grows: false, settled }
    }

    /// The memory that all files take.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        let memory = |node: &Arc<Node>| match &**node {
            Node::File(bytes) => bytes.memory(),
            Node::Folder(_) => 0,
        };
        self.nodes.values().map(memory).sum()
    }

    /// A file without bytes or a name.
    pub(super) fn add_file(&mut self) -> u64 {
        self.add(Node::File(Bytes::new(self.settled)))
    }

    /// Forgets the bytes of a file that nobody has open, unless a name leads to it or may do so again.
    pub(super) fn let_go(&mut self, folder: u64, inode: u64) {
        if !self.folder(folder).refers_to(inode) {
            self.nodes.remove(&inode);
        }
    }

    /// Forgets the bytes of all files that no name leads to, and none may lead to again, unless they are open.
    pub(super) fn sweep(&mut self, is_open: impl Fn(u64) -> bool) {
        let folders = self.nodes.values().filter_map(|node| match &**node {
            Node::Folder(folder) => Some(folder),
            Node::File(_) => None,
        });
        let named: BTreeSet<u64> = folders.flat_map(Folder::inodes).collect();
        self.nodes.retain(|inode, node| matches!(**node, Node::Folder(_)) || named.contains(inode) || is_open(*inode));
    }

    pub(super) fn add(&mut self, node: Node) -> u64 {
        let inode = self.next;
        self.next += 1;
        self.nodes.insert(inode, Arc::new(node));
        inode
    }

    pub(super) fn is_folder(&self, inode: u64) -> bool {
        matches!(self.nodes.get(&inode).map(|node| &**node), Some(Node::Folder(_)))
    }

    pub(super) fn file(&self, inode: u64) -> &Bytes {
        match self.nodes.get(&inode).map(|node| &**node) {
            Some(Node::File(bytes)) => bytes,
            other => panic!("inode {inode} is no file: {other:?}"),
        }
    }

    pub(super) fn file_mut(&mut self, inode: u64) -> &mut Bytes {
        match self.nodes.get_mut(&inode).map(Arc::make_mut) {
            Some(Node::File(bytes)) => bytes,
            other => panic!("inode {inode} is no file: {other:?}"),
        }
    }

    pub(super) fn folder(&self, inode: u64) -> &Folder {
        match self.nodes.get(&inode).map(|node| &**node) {
            Some(Node::Folder(folder)) => folder,
            other => panic!("inode {inode} is no directory: {other:?}"),
        }
    }

    pub(super) fn folder_mut(&mut self, inode: u64) -> &mut Folder {
        match self.nodes.get_mut(&inode).map(Arc::make_mut) {
            Some(Node::Folder(folder)) => folder,
            other => panic!("inode {inode} is no directory: {other:?}"),
        }
    }

    /// Bytes that all files with a name take.
    pub(super) fn used(&self) -> u64 {
        self.used_in(ROOT)
    }

    fn used_in(&self, inode: u64) -> u64 {
        let names = self.folder(inode).names();
        names
            .values()
            .map(|inode| if self.is_folder(*inode) { self.used_in(*inode) } else { span(self.file(*inode).len()) })
            .sum()
    }

    /// What a loss of power leaves.
    pub(super) fn after_crash(&self, choices: &mut Choices) -> Self {
        let mut left = Self { nodes: BTreeMap::new(), ..*self };
        left.take_folder(self, ROOT, choices);
        left
    }

    fn take_folder(&mut self, from: &Self, inode: u64, choices: &mut Choices) {
        let folder = from.folder(inode);
        let names = folder.names_after_crash(choices);
        for (name, inode) in &names {
            if from.is_folder(*inode) {
                self.take_folder(from, *inode, choices);
            } else {
                self.take_file(from, name, *inode, choices);
            }
        }
        self.nodes.insert(inode, Arc::new(Node::Folder(Folder::settled(names))));
    }

    fn take_file(&mut self, from: &Self, name: &str, inode: u64, choices: &mut Choices) {
        let bytes = from.file(inode);
        let left = if *name == *self.indifferent {
            bytes.after_crash(&mut Choices::everything())
        } else {
            bytes.after_crash(choices)
        };
        self.nodes.insert(inode, Arc::new(Node::File(left)));
    }

    /// Reads all files below a directory.
    pub(super) fn read_all(&self, inode: u64, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
        for (name, inode) in self.folder(inode).names() {
            let name = format!("{prefix}{name}");
            if self.is_folder(*inode) {
                self.read_all(*inode, &format!("{name}/"), files);
                continue;
            }
            let bytes = self.file(*inode);
            let mut read = vec![0; usize::try_from(bytes.len()).expect("it is in memory")];
            bytes.read(&mut read, 0);
            files.insert(name, read);
        }
    }

    /// Whether a loss of power would change nothing.
    pub(super) fn is_settled(&self) -> bool {
        self.nodes.values().all(|node| match &**node {
            Node::File(bytes) => bytes.is_settled(),
            Node::Folder(folder) => folder.is_settled(),
        })
    }

    /// What the disk shows, as a number that differs where it does.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        self.fingerprint_of(ROOT, &mut hasher);
        hasher.finish()
    }

    fn fingerprint_of(&self, inode: u64, hasher: &mut std::hash::DefaultHasher) {
        let names: &Names = self.folder(inode).names();
        hasher.write_usize(names.len());
        for (name, inode) in names {
            hasher.write(name.as_bytes());
            hasher.write_u8(0xff);
            if self.is_folder(*inode) {
                self.fingerprint_of(*inode, hasher);
            } else {
                self.file(*inode).fingerprint(&mut |number| hasher.write_u64(number));
            }
        }
    }
}

/// The space that a file of this length takes.
pub(super) fn span(length: u64) -> u64 {
    length.next_multiple_of(SECTOR_BYTES as u64)
}
