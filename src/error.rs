//! The one public error.

use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

/// What kind of thing went wrong; what to do about it follows from this alone.
///
/// As text and in JSON it is its name in snake case: [`ErrorKind::as_str`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A value is not acceptable; the message names it. Nothing changed.
    InvalidInput,
    /// The event does not fit into a record, or there are too many pauses or readers' cursors. Nothing changed.
    TooLarge,
    /// The id is taken by an event with other data. Nothing changed.
    IdConflict,
    /// There is no such event, store or pause.
    NotFound,
    /// The event's status, or the claim's token, does not allow this; or the store was opened read-only, has no workers, or is in no service.
    /// Nothing changed.
    NotAllowed,
    /// The disk is full, or too many callers wait for it. Nothing changed; try again later.
    Full,
    /// Another process holds the store; the message names it.
    Locked,
    /// A write or a sync failed: the store takes nothing more until it is reopened (R2). Reading goes on.
    Poisoned,
    /// The store failed before it could tell whether this reached the disk. Reopen it; giving the same id again is safe.
    OutcomeUnknown,
    /// Bytes on the disk are not what was written. [`Error::path`], [`Error::offset`] and [`Error::seq`] name the place.
    Corrupt,
    /// The files were written by another version; the message names what is unknown.
    UnsupportedFormat,
    /// The store or manager was closed.
    Closed,
    /// The operating system refused; its own words are the source.
    Io,
}

impl ErrorKind {
    /// The kind in snake case, as it stands in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid_input",
            Self::TooLarge => "too_large",
            Self::IdConflict => "id_conflict",
            Self::NotFound => "not_found",
            Self::NotAllowed => "not_allowed",
            Self::Full => "full",
            Self::Locked => "locked",
            Self::Poisoned => "poisoned",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Corrupt => "corrupt",
            Self::UnsupportedFormat => "unsupported_format",
            Self::Closed => "closed",
            Self::Io => "io",
        }
    }

    /// The kind that [`ErrorKind::as_str`] names.
    pub fn from_name(name: &str) -> Option<Self> {
        const ALL: [ErrorKind; 13] = [
            ErrorKind::InvalidInput,
            ErrorKind::TooLarge,
            ErrorKind::IdConflict,
            ErrorKind::NotFound,
            ErrorKind::NotAllowed,
            ErrorKind::Full,
            ErrorKind::Locked,
            ErrorKind::Poisoned,
            ErrorKind::OutcomeUnknown,
            ErrorKind::Corrupt,
            ErrorKind::UnsupportedFormat,
            ErrorKind::Closed,
            ErrorKind::Io,
        ];
        ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl Serialize for ErrorKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What went wrong, where, and what to do next. [`Error::kind`] is for programs, the text for people.
///
/// [`Error::path`], [`Error::offset`] and [`Error::seq`] name the place where there is one; `source()` holds the cause.
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: ErrorKind,
    message: String,
    path: Option<PathBuf>,
    /// Whether the message ends with what was done to the path, which is told as its last word.
    ends_with_path: bool,
    offset: Option<u64>,
    seq: Option<u64>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            inner: Box::new(Inner {
                kind,
                message,
                path: None,
                ends_with_path: false,
                offset: None,
                seq: None,
                source: None,
            }),
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    pub(crate) fn caused_by(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.inner.source = Some(cause.into());
        self
    }

    /// As [`Error::at_path`], where the message says what could not be done to it.
    pub(crate) fn of_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.inner.ends_with_path = true;
        self.at_path(path)
    }

    pub(crate) fn at_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.inner.path = Some(path.into());
        self
    }

    pub(crate) fn at_offset(mut self, offset: u64) -> Self {
        self.inner.offset = Some(offset);
        self
    }

    pub(crate) fn at_seq(mut self, seq: u64) -> Self {
        self.inner.seq = Some(seq);
        self
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// What went wrong, without its place.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The file or directory it happened in.
    pub fn path(&self) -> Option<&Path> {
        self.inner.path.as_deref()
    }

    /// The byte offset within that file.
    pub fn offset(&self) -> Option<u64> {
        self.inner.offset
    }

    /// The number of the record it is about.
    pub fn seq(&self) -> Option<u64> {
        self.inner.seq
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)?;
        let path = self.inner.path.as_deref();
        let (object, within) = if self.inner.ends_with_path { (path, None) } else { (None, path) };
        if let Some(path) = object {
            write!(f, " {}", path.display())?;
        }
        let mut separator = " (";
        let mut place = |name: &str, value: &dyn fmt::Display| {
            let written = write!(f, "{separator}{name} {value}");
            separator = ", ";
            written
        };
        if let Some(path) = within {
            place("in", &path.display())?;
        }
        if let Some(offset) = self.inner.offset {
            place("at offset", &offset)?;
        }
        if let Some(seq) = self.inner.seq {
            place("seq", &seq)?;
        }
        if separator == ", " { f.write_str(")") } else { Ok(()) }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.inner.kind)?;
        let mut source = self.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, "an input or output failed").caused_by(error)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_and_where_and_keeps_its_cause() {
        let error = Error::new(ErrorKind::Corrupt, "the record does not verify")
            .at_path("/d/1.seg")
            .at_offset(64)
            .at_seq(7)
            .caused_by("rot");
        assert_eq!(error.to_string(), "the record does not verify (in /d/1.seg, at offset 64, seq 7)");
        assert_eq!(format!("{error:?}"), "Corrupt: the record does not verify (in /d/1.seg, at offset 64, seq 7): rot");
        assert_eq!(Error::invalid("no").to_string(), "no");
    }

    #[test]
    fn every_kind_is_found_by_its_name() {
        assert_eq!(ErrorKind::from_name("outcome_unknown"), Some(ErrorKind::OutcomeUnknown));
        assert_eq!(ErrorKind::from_name("io"), Some(ErrorKind::Io));
        assert_eq!(ErrorKind::from_name("nonsense"), None);
    }
}
