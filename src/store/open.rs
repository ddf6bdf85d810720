//! Opening a store: a list of named steps.
//!
//! ```text
//! enter the directory ─► lock it ─► survey ─► create, if nothing is there
//!                                      └────► settle ─► replay ─► cut ─► clear debris ─► begin the next epoch ─► merge
//! ```
//!
//! Cut anywhere, the next opening does the same again: nothing is removed before what replaces it is durable.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "service")]
use crate::env::foreign_owner;
use crate::env::{self, Chance, Clock, Dir, File, Lock};
use crate::error::{Error, ErrorKind};
use crate::event::Moment;
use crate::log::cut::{cut_tail, end_file};
use crate::log::fill::Fill;
use crate::log::format::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::log::manifest::{MANIFEST, Manifest};
use crate::log::segment::{Name, Segment};
use crate::log::survey::{SegmentFile, Survey, count_perhaps_written, count_written};
use crate::mutants::mutant;
use crate::state::{Policy, State};
use crate::store::answers::Recovery;
use crate::store::commit::{Shared, moment};
use crate::store::core::{Core, Replayed, Salts};
use crate::store::failure::{of_env, of_log};
use crate::store::options::StoreOptions;
use crate::store::replay::{Ending, Replaying, Rigour};
use crate::store::standing::check_room;

/// The file whose lock makes one writer (R12).
const LOCK: &str = "LOCK";

/// What may be in a directory in which a store is created: what a service keeps beside it, or what a file system begins with.
const BESIDE: [&str; 4] = [LOCK, "control.sock", "secret", "lost+found"];
/// How often the lock is tried, and the pause between.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(1);
/// What a lock holds is a process number; whatever is this long is another file.
const LOCK_BYTES_MAX: u64 = 4 * 1024;

/// What an opening may do where there is no store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Creation {
    Allowed,
    Refused,
}

/// What a store has of the outside. Where all of it is simulated, the store is a pure function of what it is asked.
pub(crate) struct Outside {
    pub(crate) dir: Dir,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
}

/// Opens the store at `path` for writing.
pub(crate) fn open(path: &Path, options: StoreOptions, creation: Creation) -> Result<(Shared, Recovery), Error> {
    options.validate()?;
    let clock = Clock::system();
    let dir = enter(path, creation)?;
    open_in(Outside { dir, clock, chance: Chance::Machine }, options, creation)
}

/// Opens the store in a directory for writing.
pub(crate) fn open_in(
    outside: Outside,
    options: StoreOptions,
    creation: Creation,
) -> Result<(Shared, Recovery), Error> {
    let Outside { dir, clock, mut chance } = outside;
    if !holds_files_of_a_store(&dir)? {
        if creation == Creation::Refused {
            return Err(no_store(dir.path()));
        }
        check_ours(&dir)?;
    }
    let lock = lock(&dir, &chance)?;
    // What a process before this one renamed or removed may still be in memory only (R5).
    if !mutant!("names-believed-unsynced") {
        dir.sync().map_err(of_env)?;
    }
    let mut salts = Salts::new(chance.random().map_err(of_env)?);
    let (survey, created) = survey_or_create(&dir, creation, &mut chance, &mut salts)?;
    let manifest = survey.manifest.clone().ok_or_else(|| no_store(dir.path()))?;
    settle_cache(&survey.files)?;
    // Anew: what the cache alone held is gone.
    let written = count_written(&survey.files).map_err(of_log)?;
    let now = moment(&clock);
    let began = clock.steady();
    let mut replay = new_replay(&manifest, Rigour::Strict, &options, now);
    let (kept, cut) = replay_all(&mut replay, &survey.files, written)?;
    let mut recovery = report(&replay, &kept, created, clock.steady().saturating_sub(began));
    let readings = replay.readings;
    let replayed = finish(replay, manifest.clone());
    let next = next_name(&dir, &replayed)?;
    recovery.bytes_cut = cut_torn(&dir, &manifest.store_id, &cut)?;
    clear(&dir, &survey, &kept, next)?;
    let ground = Ground { dir, lock, clock, chance, options: Arc::new(options), salts, now };
    let (shared, condemned) = ground.begin(replayed, next, open_segments(survey, &kept))?;
    recovery.events_condemned = condemned;
    shared.note(|notes, _| notes.go_on_from(&readings, now));
    shared.merge_small();
    recovery.elapsed_ms = shared.now().steady / 1_000;
    Ok((shared, recovery))
}

/// Opens a store for reading only: no lock, nothing written, damage reported instead of refused.
pub(crate) fn open_read_only(path: &Path) -> Result<(Shared, Recovery), Error> {
    let clock = Clock::system();
    let options = StoreOptions::default();
    let dir = enter(path, Creation::Refused)?;
    let survey = Survey::of(&dir, false).map_err(of_log)?;
    let Some(manifest) = survey.manifest.clone() else {
        check_new(&dir, &survey)?;
        return Err(no_store(path));
    };
    let now = moment(&clock);
    let written = count_perhaps_written(&survey.files);
    let began = clock.steady();
    let mut replay = new_replay(&manifest, Rigour::Lenient, &options, now);
    let (kept, _) = replay_all(&mut replay, &survey.files, written)?;
    let mut recovery = report(&replay, &kept, false, clock.steady().saturating_sub(began));
    recovery.damage = replay.take_damage();
    if let Err(emptied) = check_not_emptied(&dir, &survey) {
        recovery.damage.push(emptied.to_string());
    }
    let replayed = finish(replay, manifest.clone());
    let files = open_segments(survey, &kept);
    let shared = Shared::new(dir, clock, Core::read_only(replayed, Arc::new(options)), files, None);
    recovery.elapsed_ms = shared.now().steady / 1_000;
    Ok((shared, recovery))
}

fn no_store(path: &Path) -> Error {
    let text = format!("no store at {}: name its directory, or create one by keeping an event", path.display());
    Error::new(ErrorKind::NotFound, text)
}

/// Refuses a path that names nothing.
pub(super) fn check_path(path: &Path) -> Result<(), Error> {
    if path.as_os_str().is_empty() { Err(Error::invalid("the path of the store is empty")) } else { Ok(()) }
}

fn enter(path: &Path, creation: Creation) -> Result<Dir, Error> {
    check_path(path)?;
    let entered = match creation {
        Creation::Allowed => Dir::create(path),
        Creation::Refused => Dir::open(path),
    };
    entered.map_err(|error| match creation {
        Creation::Refused if error.is_not_found() => no_store(path),
        Creation::Allowed if error.is_not_found() => no_directory(path, error),
        _ => of_env(error),
    })
}

/// Where even creating a directory does not make one.
fn no_directory(path: &Path, error: env::Error) -> Error {
    let text = format!(
        "no directory can be created at {}: a symbolic link in it leads nowhere, or its file system takes none there",
        path.display()
    );
    Error::new(ErrorKind::Io, text).caused_by(error.source)
}

/// Refuses a store that another user's processes have locked so far: whatever opens it for writing begins a segment, and they could not
/// open that.
///
/// # Errors
/// [`ErrorKind::Locked`] if one of them runs; else [`ErrorKind::NotAllowed`], naming both users.
#[cfg(feature = "service")]
pub(crate) fn check_owner(path: &Path) -> Result<(), Error> {
    let Some((owner, me)) = foreign_owner(&path.join(LOCK)) else { return Ok(()) };
    // Where one of them runs, that is what matters.
    check_unlocked(path)?;
    let path = path.display();
    let text = format!(
        "the store at {path} belongs to user {owner}, and this is user {me}: {owner} could not open what this would write; run it as that \
         user, for example with `sudo -u '#{owner}'`"
    );
    Err(Error::new(ErrorKind::NotAllowed, text))
}

/// Whether a process, this one or another, holds the store in the directory, which the asker has opened for himself.
pub(super) fn is_held(dir: &Dir) -> bool {
    Lock::is_held(dir, dir.open_file(LOCK, false).ok().as_ref()).unwrap_or(false)
}

/// Refuses if another process holds the store at `path`. That there is no store is fine, and so is what only an opening would tell.
#[cfg(feature = "service")]
pub(crate) fn check_unlocked(path: &Path) -> Result<(), Error> {
    let Ok(dir) = Dir::open(path) else { return Ok(()) };
    let Ok(file) = dir.open_file(LOCK, false) else { return Ok(()) };
    match Lock::is_held(&dir, Some(&file)) {
        Ok(true) => Err(locked(&dir, &file, Chance::Machine.process_id())),
        Ok(false) | Err(_) => Ok(()),
    }
}

/// Takes the lock of a directory in which no store is to be opened: it is created if it is not there.
/// One that holds a store is refused, because that store would be passed over in silence.
#[cfg(feature = "service")]
pub(crate) fn lock_without_store(path: &Path) -> Result<Lock, Error> {
    let dir = enter(path, Creation::Allowed)?;
    if holds_files_of_a_store(&dir)? {
        let text = "a store is in the directory, and would be passed over: name another directory, or move it away";
        return Err(Error::new(ErrorKind::NotAllowed, text).at_path(path));
    }
    check_ours(&dir)?;
    lock(&dir, &Chance::Machine)
}

/// Whether there is anything to open: if not, not even a lock is left behind.
fn holds_files_of_a_store(dir: &Dir) -> Result<bool, Error> {
    let names = dir.names().map_err(of_env)?;
    Ok(names.iter().any(|name| is_of_a_store(name)))
}

fn is_of_a_store(name: &str) -> bool {
    name == MANIFEST || Name::parse(name).is_some()
}

/// Refuses a directory without a store in which anything is that is not ours: somebody else works in it, perhaps with a `LOCK` or a
/// `secret` of his own.
fn check_ours(dir: &Dir) -> Result<(), Error> {
    let is_debris = |name: &str| name.strip_suffix(".tmp").is_some();
    let is_beside = |name: &str| BESIDE.contains(&name) || name.starts_with('.') || is_debris(name);
    let names = dir.names().map_err(of_env)?;
    // Whoever is just creating a store here holds the lock, which will tell.
    let stranger = names.iter().map(String::as_str).find(|name| !is_beside(name) && !is_of_a_store(name));
    let lock = dir.read(LOCK, LOCK_BYTES_MAX).map_err(of_env)?.unwrap_or_default();
    let is_number = lock.iter().all(|byte| byte.is_ascii_digit() || *byte == b'\n');
    match stranger.or((!is_number).then_some(LOCK)) {
        None => Ok(()),
        Some(name) => {
            let text = format!(
                "no store is created in a directory with other things in it, such as {name:?}; name an empty one"
            );
            Err(Error::new(ErrorKind::NotAllowed, text).at_path(dir.path()))
        }
    }
}

/// Takes the directory's lock for life. The file is never removed: a lock on a removed file would lock nothing.
fn lock(dir: &Dir, chance: &Chance) -> Result<Lock, Error> {
    let mut file = dir.open_or_create_file(LOCK).map_err(of_env)?;
    let mut tries = if dir.is_in_memory() { 1 } else { LOCK_TRIES };
    let lock = loop {
        match Lock::take(dir, file).map_err(of_env)? {
            Ok(lock) => break lock,
            Err(given) if mutant!("lock-not-taken") => break Lock::pretended(given),
            Err(given) if tries > 1 => file = given,
            Err(given) => return Err(locked(dir, &given, chance.process_id())),
        }
        // Whoever only asks whether somebody holds it has it for a moment.
        std::thread::sleep(LOCK_PAUSE);
        tries -= 1;
    };
    let file = lock.file();
    if !file.is_still_at_its_path().map_err(of_env)? {
        return Err(locked(dir, file, chance.process_id()));
    }
    let holder = format!("{}\n", chance.process_id());
    file.truncate(0).map_err(of_env)?;
    file.write_all_at(holder.as_bytes(), 0).map_err(of_env)?;
    Ok(lock)
}

fn locked(dir: &Dir, file: &File, me: u32) -> Error {
    let mut bytes = [0; 20];
    let read = file.read_at(&mut bytes, 0).unwrap_or(0);
    let holder = String::from_utf8_lossy(bytes.get(..read).unwrap_or_default()).trim().to_owned();
    let text = match holder.parse::<u32>() {
        Ok(holder) if holder == me => {
            format!(
                "this process ({me}) has the store open already: use that handle, or close it first; a start that was given \
                     up lets go of it by itself"
            )
        }
        Ok(holder) => {
            format!("process {holder} holds the store; stop it first, or ask it through its socket if it is a service")
        }
        Err(_) => {
            "another process holds the store; stop it first, or ask it through its socket if it is a service".to_owned()
        }
    };
    Error::new(ErrorKind::Locked, text).at_path(dir.path())
}

/// What is in the directory, once there is a store in it; and whether it was created just now.
fn survey_or_create(
    dir: &Dir,
    creation: Creation,
    chance: &mut Chance,
    salts: &mut Salts,
) -> Result<(Survey, bool), Error> {
    let survey = Survey::of(dir, true).map_err(of_log)?;
    if survey.manifest.is_some() {
        if !mutant!("emptied-store-opened") {
            check_not_emptied(dir, &survey)?;
        }
        return Ok((survey, false));
    }
    if !mutant!("lost-manifest-made-anew") {
        check_new(dir, &survey)?;
    }
    if creation == Creation::Refused {
        return Err(no_store(dir.path()));
    }
    // From the first record on the store is relied on, and so is its name.
    dir.sync_ancestors().map_err(of_env)?;
    let store_id = chance.random().map_err(of_env)?;
    let header = SegmentHeader { store_id, ordinal: 1, generation: 0, salt: salts.next() };
    Segment::create(dir, header, 0).map_err(|error| of_log(error.into()))?;
    Manifest::new(store_id).write_aside(dir).map_err(of_log)?.put().map_err(of_env)?;
    Survey::of(dir, true).map_err(of_log).map(|survey| (survey, true))
}

/// Refuses a directory that holds a store without its manifest. That is written right after the first segment was created, so without
/// one there can be at most that segment, and nothing in it but its header, with which it got its name.
fn check_new(dir: &Dir, survey: &Survey) -> Result<(), Error> {
    let rewritten = survey.debris.iter().filter(|name| Name::parse(name).is_some()).count();
    match (survey.files.as_slice(), count_written(&survey.files).map_err(of_log)?, rewritten) {
        ([], 0, 0) => Ok(()),
        ([file], 0, 0) if file.name == Name::original(1) && file.header.is_ok() => Ok(()),
        (files, _, rewritten) => Err(Error::new(
            ErrorKind::Corrupt,
            format!(
                "the manifest is missing, and {} segments are there; put it back from a backup, or salvage what is here",
                files.len() + rewritten
            ),
        )
        .at_path(dir.path())),
    }
}

/// A manifest means that a first segment was created, and what has no successor is never dropped: one as the log wrote it is always
/// there after all that was dropped.
fn check_not_emptied(dir: &Dir, survey: &Survey) -> Result<(), Error> {
    let Some(manifest) = &survey.manifest else { return Ok(()) };
    let name = manifest.first_after_dropped();
    if survey.files.iter().any(|file| file.name >= name) {
        return Ok(());
    }
    Err(of_log(crate::log::Error::Missing { path: dir.path().join(name.to_string()), name }))
}

/// Before the last segments are believed: what the system may still hold of them goes to the disk, and what it holds in its cache
/// goes away, because after a failed sync the cache serves bytes that are lost (R3). That is the last one written to, however many were
/// prepared behind it, and the one before.
fn settle_cache(files: &[SegmentFile]) -> Result<(), Error> {
    let written = count_written(files).map_err(of_log)?;
    let written = if mutant!("prepared-counts-as-written") { files.len() } else { written };
    for file in files.iter().take(written).skip(written.saturating_sub(2)) {
        if !mutant!("tail-believed-unsynced") {
            file.file.sync_all().map_err(of_env)?;
        }
        if !mutant!("cache-believed") {
            file.file.drop_cache().map_err(of_env)?;
        }
    }
    Ok(())
}

fn new_replay<'a>(manifest: &'a Manifest, rigour: Rigour, options: &StoreOptions, now: Moment) -> Replaying<'a> {
    let policy = Policy { process_deaths_max: options.process_deaths_max };
    Replaying::new(State::replaying(manifest.store_id, policy), manifest, rigour, now)
}

/// The segments that hold records, and those that are damaged where that is tolerated.
type Kept = BTreeMap<Name, Ending>;

/// The files that are longer than what is sound in them.
type Torn<'f> = Vec<(&'f SegmentFile, Ending)>;

/// Replays the written segments; returns those that are kept, and those whose tail is torn.
fn replay_all<'f>(
    replay: &mut Replaying<'_>,
    files: &'f [SegmentFile],
    written: usize,
) -> Result<(Kept, Torn<'f>), Error> {
    let mut kept = Kept::new();
    let mut cut = Torn::new();
    let roles = files.iter().take(written).enumerate().map(|(index, file)| (file, file.role(index, written)));
    std::thread::scope(|scope| {
        let mut ahead = replay.ahead(scope, roles.clone());
        for (file, role) in roles {
            let ending = replay.segment(file, role, &mut ahead)?;
            if ending.torn || file.bytes > ending.end {
                cut.push((file, ending));
            }
            if ending.is_kept {
                kept.insert(file.name, ending);
            }
        }
        Ok::<_, Error>(())
    })?;
    let last_written = written.checked_sub(1).and_then(|last| files.get(last));
    replay.prepared(last_written, files.get(written..).unwrap_or_default())?;
    replay.state.arrange();
    Ok((kept, cut))
}

/// Ends every file where its records end; what a crash tore is kept aside.
fn cut_torn(dir: &Dir, store_id: &[u8; 16], cut: &[(&SegmentFile, Ending)]) -> Result<u64, Error> {
    let mut bytes = 0;
    if mutant!("tail-not-cut") {
        return Ok(bytes);
    }
    for (file, ending) in cut {
        if ending.torn {
            let header = file.checked_header(store_id).map_err(of_log)?;
            bytes += cut_tail(dir, &file.file, &header, ending.end).map_err(of_log)?;
        } else {
            end_file(&file.file, ending.end).map_err(of_log)?;
        }
    }
    Ok(bytes)
}

/// Removes what holds no record: prepared segments, dropped ones, temporary files. The one that bears the `next` ordinal stays until
/// it is replaced, but not the space that it was given: what replaces it needs as much, and there may be no more.
fn clear(dir: &Dir, survey: &Survey, kept: &Kept, next: Name) -> Result<(), Error> {
    let empty = survey.files.iter().filter(|file| !kept.contains_key(&file.name) && file.name != next);
    let names: Vec<String> = survey.debris.iter().cloned().chain(empty.map(|file| file.name.to_string())).collect();
    for name in &names {
        dir.remove(name).map_err(of_env)?;
    }
    let prepared = survey.files.iter().find(|file| file.name == next && !kept.contains_key(&file.name));
    if let Some(file) = prepared.filter(|file| file.bytes > SEGMENT_HEADER_BYTES && !mutant!("prepared-space-kept")) {
        file.file.truncate(SEGMENT_HEADER_BYTES).map_err(of_env)?;
    }
    if names.is_empty() { Ok(()) } else { dir.sync().map_err(of_env) }
}

/// The segment that a process start begins, if there can be one.
fn next_name(dir: &Dir, replayed: &Replayed) -> Result<Name, Error> {
    let name = Name::original(replayed.end.map_or(1, |end| end.ordinal + 1));
    let exhausted = || of_log(crate::log::Error::Exhausted { path: dir.path().to_owned() });
    name.key().map(|_| name).ok_or_else(exhausted)
}

fn report(replay: &Replaying<'_>, kept: &Kept, created: bool, took: Duration) -> Recovery {
    Recovery {
        created,
        closed_cleanly: replay.closed,
        segments: kept.len() as u64,
        records: replay.record_count,
        bytes: replay.byte_count,
        events_released: replay.state.counts().of(crate::event::Status::Processing),
        replay_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        ..Recovery::default()
    }
}

fn finish(replay: Replaying<'_>, manifest: Manifest) -> Replayed {
    let Replaying { state, sealed, epoch, last_seq, chain, .. } = replay;
    Replayed { state, manifest, sealed, epoch, last_seq, end: chain.end }
}

fn open_segments(survey: Survey, kept: &Kept) -> BTreeMap<u32, Arc<Segment>> {
    let kept = survey.files.into_iter().filter(|file| kept.contains_key(&file.name));
    kept.filter_map(|file| {
        let (key, header) = (file.name.key()?, file.header.ok()?);
        Some((key, Arc::new(Segment { header, file: file.file, fill: Fill::over() })))
    })
    .collect()
}

/// What an opening stands on.
struct Ground {
    dir: Dir,
    lock: Lock,
    clock: Clock,
    chance: Chance,
    options: Arc<StoreOptions>,
    salts: Salts,
    now: Moment,
}

impl Ground {
    /// Begins the next epoch in a new segment, `next`, gives up the events that killed the process too often, and makes that durable.
    /// Returns how many those are, too.
    fn begin(
        mut self,
        replayed: Replayed,
        next: Name,
        mut files: BTreeMap<u32, Arc<Segment>>,
    ) -> Result<(Shared, u64), Error> {
        check_room(&replayed.state, &self.options, self.now)?;
        let store_id = replayed.manifest.store_id;
        let header = SegmentHeader { store_id, ordinal: next.ordinal, generation: 0, salt: self.salts.next() };
        let active = match files.values().next_back() {
            Some(last) if mutant!("appended-after-a-cut") => Arc::clone(last),
            _ => {
                let created = Segment::create(&self.dir, header, self.options.segment_bytes);
                created.map_err(|error| of_log(error.into()))?
            }
        };
        files.insert(active.key(), Arc::clone(&active));
        let core = Core::begin(replayed, self.options, active, boot_hash(&self.chance), self.salts, self.now);
        let shared = Shared::new(self.dir, self.clock, core, files, Some(self.lock));
        let mut condemned = 0;
        while shared.step(Core::condemn_next)? {
            condemned += 1;
        }
        shared.wait_for_all()?;
        Ok((shared, condemned))
    }
}

fn boot_hash(chance: &Chance) -> u64 {
    use std::hash::Hasher as _;
    let mut hasher = siphasher::sip::SipHasher24::new();
    hasher.write(&chance.boot_id());
    hasher.finish()
}
