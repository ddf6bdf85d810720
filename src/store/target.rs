//! The directory that a backup or a salvage writes: a new one, outside of what is read, and gone again if it could not be filled.

use std::path::Path;

use crate::env::Dir;
use crate::error::Error;
use crate::log::manifest::MANIFEST;
use crate::store::failure::of_env;

/// Refuses a directory in which anything is, and one that lies in the store or is it.
pub(super) fn check_target(from: &Dir, to: &Path) -> Result<(), Error> {
    if from.contains(to).map_err(of_env)? {
        let text = "the directory lies in the store that is read; name one outside of it";
        return Err(Error::invalid(text).at_path(to));
    }
    match Dir::open(to) {
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(of_env(error)),
        Ok(dir) => check_empty(&dir, to),
    }
}

fn check_empty(dir: &Dir, to: &Path) -> Result<(), Error> {
    if dir.names().map_err(of_env)?.is_empty() {
        return Ok(());
    }
    Err(Error::invalid("the directory is not empty; name one that is, or that does not exist").at_path(to))
}

/// Fills the directory `to`, created if need be; its name is durable then. After an error nothing is left in it, nor the directory if it
/// was not there. Since [`check_target`] another may have chosen the same one: what that has put there, or is about to, stays.
pub(super) fn fill_target<T>(to: &Path, fill: impl FnOnce(&Dir) -> Result<T, Error>) -> Result<T, Error> {
    let was_there = Dir::open(to).is_ok();
    let dir = Dir::create(to).map_err(of_env)?;
    if !dir.try_lock() {
        return Err(Error::invalid("the directory is in use by another backup, salvage or store").at_path(to));
    }
    let filled = check_empty(&dir, to).and_then(|()| fill_or_clear(&dir, to, was_there, fill));
    // Not by closing it alone: a process that is being started may have a copy.
    dir.unlock();
    filled
}

fn fill_or_clear<T>(
    dir: &Dir,
    to: &Path,
    was_there: bool,
    fill: impl FnOnce(&Dir) -> Result<T, Error>,
) -> Result<T, Error> {
    let filled = dir.sync_ancestors().map_err(of_env).and_then(|()| fill(dir));
    filled.map_err(|error| {
        if clear(dir, was_there).is_ok() {
            return error;
        }
        let text = format!("{}; what is left there is no copy of the store, and could not be removed", error.message());
        Error::new(error.kind(), text).at_path(to).caused_by(error)
    })
}

/// Removes all that is in the directory: first the manifest, without which no store opens whatever else could not be removed.
fn clear(dir: &Dir, was_there: bool) -> Result<(), Error> {
    let unnamed = dir.remove(MANIFEST).and_then(|()| dir.sync());
    // Where it had to stay, a store without a segment does not open either.
    let names = dir.names().map_err(of_env)?;
    let removed = names.iter().map(|name| dir.remove(name)).fold(unnamed, Result::and);
    removed.map_err(of_env)?;
    if was_there { dir.sync() } else { dir.remove_itself() }.map_err(of_env)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn what_could_not_be_filled_is_as_it_was() {
        let place = tempfile::tempdir().unwrap();
        for name in ["old", "new"] {
            let to = place.path().join(name);
            if name == "old" {
                Dir::create(&to).unwrap();
            }
            let error = fill_target(&to, |dir| {
                dir.create_file("0000000001.seg").map_err(of_env)?;
                Err::<(), _>(Error::new(ErrorKind::Full, "no space is left"))
            });
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Full);
            assert_eq!(Dir::open(&to).map(|dir| dir.names().unwrap()).ok(), (name == "old").then(Vec::new));
        }
    }

    #[test]
    fn what_another_puts_there_meanwhile_stays() {
        let place = tempfile::tempdir().unwrap();
        let to = place.path().join("to");
        let second = |dir: &Dir| {
            let refused = fill_target(&to, |_| Ok(())).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput);
            dir.create_file(MANIFEST).map_err(of_env)
        };
        fill_target(&to, second).unwrap();
        let refused = fill_target(&to, |_| Ok(())).unwrap_err();
        assert!(refused.message().contains("not empty"), "{refused}");
        assert_eq!(Dir::open(&to).unwrap().names().unwrap(), [MANIFEST]);
        assert!(Dir::open(&to).unwrap().try_lock());
    }

    #[test]
    fn what_cannot_be_removed_is_left_without_a_manifest() {
        let to = tempfile::tempdir().unwrap();
        let error = fill_target(to.path(), |dir| {
            // A directory is not removed as a file is.
            Dir::create(&to.path().join("0000000001.seg")).map_err(of_env)?;
            for name in ["0000000002.seg", MANIFEST] {
                dir.create_file(name).map_err(of_env)?;
            }
            Err::<(), _>(Error::new(ErrorKind::Io, "it could not be synced"))
        });
        let error = error.unwrap_err();
        assert!(error.kind() == ErrorKind::Io && error.message().contains("could not be removed"), "{error}");
        assert_eq!(Dir::open(to.path()).unwrap().names().unwrap(), ["0000000001.seg"]);
    }
}
