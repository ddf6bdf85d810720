//! The disk: who may call, what is counted, what fails, and what is recorded.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::choices::Choices;
use super::fault::{Effect, Fault, Kind};
use super::handle::FolderHandle;
use super::image::{Image, ROOT, span};
use super::watch::Watcher;
use crate::env::Dir;

/// What its root directory is called: no path of the system's.
const IN_MEMORY: &str = "(memory)";

/// A disk in memory. Clones are handles of the same one.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    machine: Arc<Mutex<Machine>>,
    pub(super) watcher: Watcher,
}

/// What a disk is, and what is to happen to it.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) image: Image,
    /// Who holds the lock of an inode.
    pub(super) locks: BTreeMap<u64, u64>,
    next_handle: u64,
    /// How many handles of an inode are open.
    open: BTreeMap<u64, usize>,
    faults: Vec<Fault>,
    counts: BTreeMap<Kind, u64>,
    capacity: Option<u64>,
    lies: bool,
    /// Calls that change something until the power fails; none: it does not.
    power: Option<u64>,
    dead: bool,
    /// The place in the code at which the power fails, and how often it is passed before.
    trap: Option<(&'static str, u64)>,
    film: Option<Film>,
}

/// What was recorded.
#[derive(Debug, Default)]
struct Film {
    frames: Vec<Image>,
    /// Whether something happened since the last frame.
    moved: bool,
}

impl Disk {
    /// An empty disk.
    pub(crate) fn new() -> Self {
        Self::of(Image::new(false))
    }

    /// An empty disk that nobody will ask what a loss of power leaves: everything is durable at once, and a sync costs next to nothing.
    pub(crate) fn settled() -> Self {
        Self::of(Image::new(true))
    }

    fn of(image: Image) -> Self {
        let machine = Machine {
            image,
            locks: BTreeMap::new(),
            next_handle: 0,
            open: BTreeMap::new(),
            faults: Vec::new(),
            counts: BTreeMap::new(),
            capacity: None,
            lies: false,
            power: None,
            dead: false,
            trap: None,
            film: None,
        };
        Self { machine: Arc::new(Mutex::new(machine)), watcher: Watcher::default() }
    }

    /// Has `watch` told when a write or a sync of a file begins and when it has ended, and by which name it was opened.
    #[cfg(test)]
    pub(crate) fn watch(&self, watch: impl Fn(&str, super::Call, super::Progress) + Send + Sync + 'static) {
        self.watcher.set(watch);
    }

    pub(super) fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its one directory, open.
    pub(crate) fn root(&self) -> Dir {
        Dir::simulated(Path::new(IN_MEMORY), FolderHandle::new(self.clone(), ROOT))
    }

    /// Another disk that stands where this one does now, what is not durable included. Nothing fails on it, and nobody holds a lock.
    pub(crate) fn copy(&self) -> Self {
        Self::of(self.machine().image.clone())
    }

    /// What a loss of power now leaves, as another disk.
    pub(crate) fn after_crash(&self, choices: &mut Choices) -> Self {
        Self::of(self.machine().image.after_crash(choices))
    }

    /// What a loss of power now may leave: with nothing, with everything, and with every legal part of what is not durable if there
    /// are at most `bound` of them, otherwise with `bound` that the seed chooses. The same disk may come more than once.
    pub(crate) fn crashes(&self, bound: usize, seed: u64) -> Vec<Self> {
        let image = self.machine().image.clone();
        let mut everything = Choices::everything();
        let whole = image.after_crash(&mut everything);
        if image.is_settled() {
            return vec![Self::of(whole)];
        }
        let nothing = image.after_crash(&mut Choices::nothing());
        let mut disks = vec![Self::of(nothing), Self::of(whole)];
        if everything.product() <= bound {
            let mut turn = Some(Choices::first());
            while let Some(mut choices) = turn {
                disks.push(Self::of(image.after_crash(&mut choices)));
                turn = choices.next();
            }
        } else {
            let seeds = (0..bound as u64).map(|number| seed.wrapping_mul(0x1000_0000_01b3).wrapping_add(number));
            disks.extend(seeds.map(|seed| Self::of(image.after_crash(&mut Choices::seeded(seed)))));
        }
        disks
    }

    /// From now on a frame is kept before each sync and after each other call that changes something: together they show all that a
    /// process could leave by dying.
    pub(crate) fn record(&self) {
        self.machine().film = Some(Film { frames: Vec::new(), moved: true });
    }

    /// How many frames there are. What is learned now holds from the frame of this number on.
    pub(crate) fn frames(&self) -> usize {
        let mut machine = self.machine();
        let Some(film) = &mut machine.film else { return 0 };
        // Nothing changed on the disk, but somebody knows more about it than at the last frame.
        film.moved = true;
        film.frames.len()
    }

    /// Ends the recording; the last frame is the disk as it stands.
    pub(crate) fn stop(&self) -> Vec<Self> {
        let mut machine = self.machine();
        machine.keep_frame();
        machine.film.take().map(|film| film.frames.into_iter().map(Self::of).collect()).unwrap_or_default()
    }

    /// Has a call fail.
    pub(crate) fn fail(&self, fault: Fault) {
        self.machine().faults.push(fault);
    }

    /// Forgets what was to fail.
    pub(crate) fn heal(&self) {
        self.machine().faults.clear();
    }

    /// Has every sync succeed without doing anything.
    pub(crate) fn lie(&self) {
        self.machine().lies = true;
    }

    /// Has reserving succeed without doing anything, as where a file system cannot: files grow as they are written.
    pub(crate) fn let_files_grow(&self) {
        self.machine().image.grows = true;
    }

    /// Bounds the space that all files take together.
    pub(crate) fn set_capacity(&self, bytes: Option<u64>) {
        self.machine().capacity = bytes;
    }

    /// The space that all files take together.
    pub(crate) fn used(&self) -> u64 {
        self.machine().image.used()
    }

    /// The memory that its files take, named or not.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.machine().image.memory()
    }

    /// The power fails at the call after so many that change something: that one may have done anything or nothing, and every later
    /// call fails, reads too.
    pub(crate) fn cut_power_after(&self, calls: u64) {
        self.machine().power = Some(calls);
    }

    /// The power fails where the code passes the place of this name, after it has done so `spared` times: nothing is under way then, and
    /// every later call fails.
    #[cfg(feature = "manager")]
    pub(crate) fn cut_power_at(&self, place: &'static str, spared: u64) {
        self.machine().trap = Some((place, spared));
    }

    /// The power fails now.
    #[cfg(feature = "manager")]
    pub(crate) fn cut_power(&self) {
        self.machine().dead = true;
    }

    /// Whether the power has failed.
    #[cfg(feature = "manager")]
    pub(crate) fn is_without_power(&self) -> bool {
        self.machine().dead
    }

    /// Of the bytes under this name a loss of power leaves the newest: nobody relies on them.
    pub(crate) fn be_indifferent_to(&self, name: &'static str) {
        self.machine().image.indifferent = name;
    }

    /// Calls of a kind so far.
    pub(crate) fn count(&self, kind: Kind) -> u64 {
        self.machine().counts.get(&kind).copied().unwrap_or(0)
    }

    /// Calls so far that change something.
    pub(crate) fn calls(&self) -> u64 {
        self.machine().counts.values().sum()
    }

    /// What the disk shows, as a number that differs where it does.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.machine().image.fingerprint()
    }

    /// All files, as the cache shows them, by their names from the root on.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        self.machine().image.read_all(ROOT, "", &mut files);
        files
    }
}

impl Machine {
    /// Refuses whoever calls after the power has failed.
    pub(super) fn check_power(&self) -> io::Result<()> {
        if self.dead { Err(error(rustix::io::Errno::IO)) } else { Ok(()) }
    }

    /// Notes that a file is opened once more; returns what tells this handle apart.
    pub(super) fn open(&mut self, inode: u64) -> u64 {
        *self.open.entry(inode).or_default() += 1;
        self.next_handle += 1;
        self.next_handle
    }

    /// Notes that a handle is closed: bytes that nothing leads to any more take no memory.
    pub(super) fn close(&mut self, folder: u64, inode: u64) {
        let Some(count) = self.open.get_mut(&inode) else { return };
        *count -= 1;
        if *count == 0 {
            self.open.remove(&inode);
            self.image.let_go(folder, inode);
        }
    }

    /// Forgets the bytes of files that nothing leads to.
    pub(super) fn sweep(&mut self) {
        let open = &self.open;
        self.image.sweep(|inode| open.contains_key(&inode));
    }

    /// The code passes a place: an error where the power fails, or has failed.
    pub(super) fn pass(&mut self, place: &'static str) -> io::Result<()> {
        if let Some((trap, spared)) = &mut self.trap
            && *trap == place
        {
            self.dead |= *spared == 0;
            *spared = spared.saturating_sub(1);
        }
        self.check_power()
    }

    /// Takes a call that changes something: `change` does all of it, or as much as it is told.
    pub(super) fn change<T>(
        &mut self,
        kind: Kind,
        name: &str,
        mut change: impl FnMut(&mut Image, &Effect) -> io::Result<T>,
    ) -> io::Result<T> {
        self.check_power()?;
        *self.counts.entry(kind).or_default() += 1;
        if let Some(left) = &mut self.power {
            if *left == 0 {
                self.dead = true;
                if !kind.is_sync() {
                    drop(change(&mut self.image, &Effect::All));
                }
                return Err(error(rustix::io::Errno::IO));
            }
            *left -= 1;
        }
        if kind.is_sync() {
            self.keep_frame();
        }
        let struck = self.faults.iter_mut().find_map(|fault| fault.strikes(kind, name).then(|| fault.clone()));
        let done = match struck {
            Some(fault) => {
                if !matches!(fault.effect, Effect::Nothing) {
                    drop(change(&mut self.image, &fault.effect));
                }
                Err(io::Error::from_raw_os_error(fault.error))
            }
            None if self.lies && kind.is_sync() => change(&mut self.image, &Effect::Nothing),
            None => change(&mut self.image, &Effect::All),
        };
        if let Some(film) = &mut self.film {
            film.moved = true;
        }
        if !kind.is_sync() {
            self.keep_frame();
        }
        done
    }

    fn keep_frame(&mut self) {
        if let Some(film) = &mut self.film
            && std::mem::take(&mut film.moved)
        {
            film.frames.push(self.image.clone());
        }
    }

    /// Refuses to let a file grow past the disk's capacity.
    pub(super) fn check_room(&self, inode: u64, length: u64) -> io::Result<()> {
        let Some(capacity) = self.capacity else { return Ok(()) };
        let growth = span(length).saturating_sub(span(self.image.file(inode).len()));
        if growth > 0 && self.image.used() + growth > capacity {
            return Err(error(rustix::io::Errno::NOSPC));
        }
        Ok(())
    }
}

pub(super) fn error(errno: rustix::io::Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.raw_os_error())
}
