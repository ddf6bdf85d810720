//! A second name for a file.

use rustix::fs::{AtFlags, linkat};

use crate::env::{Dir, Error};

impl Dir {
    /// Gives the file `name` the same name in the directory `to`; it must not be there. Not durable before `to` is synced. Where file
    /// systems differ or do not offer it, this is an error.
    pub(crate) fn link(&self, name: &str, to: &Self) -> Result<(), Error> {
        let path = self.path().join(name);
        let linked = match (self.handle(), to.handle()) {
            (Some(from), Some(to)) => linkat(from, name, to, name, AtFlags::empty()).map_err(std::io::Error::from),
            _ => Err(std::io::ErrorKind::Unsupported.into()),
        };
        linked.map_err(|source: std::io::Error| Error::new("link", &path, source))
    }
}
