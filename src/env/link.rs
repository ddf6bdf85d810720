//! A second name for a file.

use crate::env::{Dir, Error};

impl Dir {
    /// Gives the file `name` the same name in the directory `to`; it must not be there. Not durable before `to` is synced. Where file
    /// systems differ or do not offer it, this is an error.
    pub(crate) fn link(&self, name: &str, to: &Self) -> Result<(), Error> {
        let path = self.path().join(name);
        let linked = if self.is_in_memory() || to.is_in_memory() {
            Err(std::io::ErrorKind::Unsupported.into())
        } else {
            let placed = self.check_place().and_then(|()| to.check_place());
            placed.and_then(|()| std::fs::hard_link(self.place_of(name), to.place_of(name)))
        };
        linked.map_err(|source: std::io::Error| Error::new("link", &path, source))
    }
}
