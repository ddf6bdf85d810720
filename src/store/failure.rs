//! What goes wrong below, as the one public error.

use crate::env;
use crate::error::{Error, ErrorKind};
use crate::event::codec::Refusal;
use crate::log;
use crate::log::scan::Stopped;

/// A system call that failed.
pub(crate) fn of_env(error: env::Error) -> Error {
    let kind = if error.is_full() { ErrorKind::Full } else { ErrorKind::Io };
    Error::new(kind, format!("cannot {}", error.operation)).of_path(&error.path).caused_by(error.source)
}

/// Whether memory or file descriptors were missing, which tells nothing about what was to be read.
pub(crate) fn lacks_means(error: &Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(env::is_for_want_of_means)
}

/// What stopped the log.
pub(crate) fn of_log(error: log::Error) -> Error {
    let text = error.to_string();
    let corrupt = |text: String| Error::new(ErrorKind::Corrupt, text);
    match error {
        log::Error::Env(error) => of_env(error),
        log::Error::Corrupt { path, offset, seq, defect, .. } => {
            let unsupported = matches!(defect, log::scan::Defect::Flags { .. });
            let kind = if unsupported { ErrorKind::UnsupportedFormat } else { ErrorKind::Corrupt };
            let error = Error::new(kind, format!("{text}; the store can still be opened for reading"))
                .at_path(path)
                .at_offset(offset);
            match seq {
                Some(seq) => error.at_seq(seq),
                None => error,
            }
        }
        log::Error::Header { path, defect } => {
            let unsupported = matches!(defect, log::format::HeaderDefect::Unsupported { .. });
            let kind = if unsupported { ErrorKind::UnsupportedFormat } else { ErrorKind::Corrupt };
            Error::new(kind, text).at_path(path)
        }
        log::Error::Manifest { path, unsupported, .. } => {
            let kind = if unsupported { ErrorKind::UnsupportedFormat } else { ErrorKind::Corrupt };
            Error::new(kind, text).at_path(path)
        }
        log::Error::Foreign { path } | log::Error::Misnamed { path, .. } | log::Error::Missing { path, .. } => {
            corrupt(format!("{text}; put the file that belongs here back from a backup")).at_path(path)
        }
        log::Error::Exhausted { path } => Error::new(ErrorKind::UnsupportedFormat, text).at_path(path),
        log::Error::Damaged { path, offset, seq } => {
            let error = corrupt(text).at_path(path).at_offset(offset);
            match seq {
                Some(seq) => error.at_seq(seq),
                None => error,
            }
        }
    }
}

/// What ended a scan early.
pub(crate) fn of_stopped(stopped: Stopped<Error>) -> Error {
    match stopped {
        Stopped::Unreadable(error) => of_env(error),
        Stopped::ByVisitor(error) => error,
    }
}

/// A record whose checksums hold and whose body is no entry.
pub(crate) fn of_refusal(refusal: Refusal) -> Error {
    let kind = if refusal.is_unsupported() { ErrorKind::UnsupportedFormat } else { ErrorKind::Corrupt };
    Error::new(kind, refusal.to_string())
}
