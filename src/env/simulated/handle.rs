//! Open files and directories of a simulated disk: what [`crate::env::File`] and [`crate::env::Dir`] call.

use std::io;

use rustix::io::Errno;

use super::choices::Choices;
use super::disk::{Disk, error};
use super::fault::{Effect, Kind};
use super::folder::Folder;
use super::image::Node;
use super::watch::Call;

/// An open file.
#[derive(Debug)]
pub(in crate::env) struct FileHandle {
    disk: Disk,
    folder: u64,
    inode: u64,
    /// Tells apart open files of one inode.
    id: u64,
    /// The name by which it was opened.
    name: String,
    writable: bool,
}

/// An open directory.
#[derive(Debug)]
pub(in crate::env) struct FolderHandle {
    disk: Disk,
    inode: u64,
}

impl FolderHandle {
    pub(super) fn new(disk: Disk, inode: u64) -> Self {
        Self { disk, inode }
    }

    pub(in crate::env) fn sync(&self) -> io::Result<()> {
        let inode = self.inode;
        let mut machine = self.disk.machine();
        machine.change(Kind::SyncDir, "", |image, effect| {
            match effect {
                Effect::Nothing => {}
                Effect::Loss(choices) => image.folder_mut(inode).fail_sync(&mut choices.clone()),
                Effect::Half => image.folder_mut(inode).fail_sync(&mut Choices::seeded(1)),
                Effect::All => image.folder_mut(inode).sync(),
            }
            Ok(())
        })?;
        machine.sweep();
        Ok(())
    }

    pub(in crate::env) fn pass(&self, place: &'static str) -> io::Result<()> {
        self.disk.machine().pass(place)
    }

    pub(in crate::env) fn names(&self) -> io::Result<Vec<String>> {
        let machine = self.disk.machine();
        machine.check_power()?;
        Ok(machine.image.folder(self.inode).names().keys().map(ToString::to_string).collect())
    }

    pub(in crate::env) fn has(&self, name: &str) -> bool {
        self.disk.machine().image.folder(self.inode).get(name).is_some()
    }

    /// Opens a file; `create` if it is not there, and only then if `exclusive`.
    pub(in crate::env) fn open(
        &self,
        name: &str,
        writable: bool,
        create: bool,
        exclusive: bool,
    ) -> io::Result<FileHandle> {
        let (disk, folder) = (self.disk.clone(), self.inode);
        let mut machine = self.disk.machine();
        machine.check_power()?;
        let found = machine.image.folder(folder).get(name);
        let inode = match found {
            Some(_) if exclusive => return Err(error(Errno::EXIST)),
            Some(inode) => inode,
            None if create => machine.change(Kind::Create, name, |image, _| {
                let inode = image.add_file();
                image.folder_mut(folder).add(name, inode);
                Ok(inode)
            })?,
            None => return Err(error(Errno::NOENT)),
        };
        let id = machine.open(inode);
        drop(machine);
        Ok(FileHandle { disk, folder, inode, id, name: name.to_owned(), writable })
    }

    /// Opens the directory `name`, which must be there.
    pub(in crate::env) fn open_dir(&self, name: &str) -> io::Result<Self> {
        let machine = self.disk.machine();
        machine.check_power()?;
        let found = machine.image.folder(self.inode).get(name).filter(|inode| machine.image.is_folder(*inode));
        found.map(|inode| Self::new(self.disk.clone(), inode)).ok_or_else(|| error(Errno::NOENT))
    }

    /// Opens the directory `name`, creating it if need be; says whether it did.
    pub(in crate::env) fn make_dir(&self, name: &str) -> io::Result<(Self, bool)> {
        let folder = self.inode;
        let mut machine = self.disk.machine();
        machine.check_power()?;
        let found = machine.image.folder(folder).get(name);
        let inode = match found {
            Some(inode) => inode,
            None => machine.change(Kind::MakeDir, name, |image, _| {
                let inode = image.add(Node::Folder(Folder::default()));
                image.folder_mut(folder).add(name, inode);
                Ok(inode)
            })?,
        };
        drop(machine);
        Ok((Self::new(self.disk.clone(), inode), found.is_none()))
    }

    pub(in crate::env) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let inode = self.inode;
        self.disk.machine().change(Kind::Rename, from, |image, _| {
            if image.folder_mut(inode).rename(from, to) { Ok(()) } else { Err(error(Errno::NOENT)) }
        })
    }

    pub(in crate::env) fn remove(&self, name: &str) -> io::Result<()> {
        let inode = self.inode;
        let mut machine = self.disk.machine();
        machine.check_power()?;
        if machine.image.folder(inode).get(name).is_none() {
            return Err(error(Errno::NOENT));
        }
        machine.change(Kind::Remove, name, |image, _| {
            image.folder_mut(inode).remove(name);
            Ok(())
        })
    }
}

impl FileHandle {
    pub(in crate::env) fn len(&self) -> io::Result<u64> {
        let machine = self.disk.machine();
        machine.check_power()?;
        Ok(machine.image.file(self.inode).len())
    }

    pub(in crate::env) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let machine = self.disk.machine();
        machine.check_power()?;
        Ok(machine.image.file(self.inode).read(buffer, offset))
    }

    pub(in crate::env) fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        self.disk.watcher.around(&self.name, Call::Write { offset, end }, || {
            self.check_writable()?;
            let mut machine = self.disk.machine();
            machine.check_room(self.inode, end)?;
            machine.change(Kind::Write, &self.name, |image, effect| {
                let taken = if matches!(effect, Effect::Half) { bytes.len() / 2 } else { bytes.len() };
                image.file_mut(self.inode).write(&bytes[..taken], offset)
            })
        })
    }

    pub(in crate::env) fn sync(&self) -> io::Result<()> {
        self.disk.watcher.around(&self.name, Call::Sync, || {
            self.disk.machine().change(Kind::Sync, &self.name, |image, effect| {
                match effect {
                    Effect::Nothing => {}
                    Effect::Loss(choices) => image.file_mut(self.inode).fail_sync(&mut choices.clone()),
                    Effect::Half => image.file_mut(self.inode).fail_sync(&mut Choices::seeded(1)),
                    Effect::All => image.file_mut(self.inode).sync(),
                }
                Ok(())
            })
        })
    }

    pub(in crate::env) fn truncate(&self, length: u64) -> io::Result<()> {
        self.check_writable()?;
        self.disk.machine().change(Kind::Truncate, &self.name, |image, _| image.file_mut(self.inode).truncate(length))
    }

    /// As `fallocate`: the file is at least so long, and all of it has its space.
    pub(in crate::env) fn reserve(&self, length: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut machine = self.disk.machine();
        if machine.image.grows {
            return machine.check_power();
        }
        machine.check_room(self.inode, length)?;
        machine.change(Kind::Reserve, &self.name, |image, _| image.file_mut(self.inode).extend(length))
    }

    pub(in crate::env) fn drop_cache(&self) -> io::Result<()> {
        let mut machine = self.disk.machine();
        machine.check_power()?;
        machine.image.file_mut(self.inode).drop_cache();
        Ok(())
    }

    pub(in crate::env) fn try_lock(&self) -> io::Result<bool> {
        let mut machine = self.disk.machine();
        machine.check_power()?;
        Ok(*machine.locks.entry(self.inode).or_insert(self.id) == self.id)
    }

    pub(in crate::env) fn unlock(&self) {
        let mut machine = self.disk.machine();
        if machine.locks.get(&self.inode) == Some(&self.id) {
            machine.locks.remove(&self.inode);
        }
    }

    pub(in crate::env) fn is_named(&self, name: &str) -> io::Result<bool> {
        let machine = self.disk.machine();
        machine.check_power()?;
        Ok(machine.image.folder(self.folder).get(name) == Some(self.inode))
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(error(Errno::BADF)) }
    }
}

impl Drop for FileHandle {
    fn drop(&mut self) {
        self.unlock();
        self.disk.machine().close(self.folder, self.inode);
    }
}
