//! The lines of the protocol.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind};
use crate::service::operations::Operation;

/// Counts incompatible changes of the protocol.
pub(in crate::service) const VERSION: u32 = 1;

/// Longest request: an event of the longest record, all of whose characters had to be escaped.
pub(super) const REQUEST_BYTES_MAX: u64 = 36 * 1024 * 1024;

/// Longest line of an answer: an event of the longest record, with a long history.
pub(super) const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Longest hello.
pub(super) const HELLO_BYTES_MAX: u64 = 4 * 1024;

/// The service's first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::service) struct Hello {
    /// [`VERSION`].
    pub(in crate::service) ledgerline: u32,
    /// The store's id.
    pub(in crate::service) store: String,
    /// The process start.
    pub(in crate::service) epoch: u64,
    pub(in crate::service) pid: u32,
}

/// One line of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::service) enum Reply {
    /// A document of the answer.
    Line(Box<RawValue>),
    /// The answer is complete.
    Done(bool),
    /// The operation failed; lines before it hold all the same.
    Error(Failure),
}

/// An error on its way to a command.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::service) struct Failure {
    kind: String,
    message: String,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let mut message = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self { kind: error.kind().as_str().to_owned(), message }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        // A kind that this version does not know is a service of another version: all that can be told is its text.
        Self::new(ErrorKind::from_name(&failure.kind).unwrap_or(ErrorKind::Io), failure.message)
    }
}

/// What a command asks for by this line.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] if it is nothing that this version knows.
pub(in crate::service) fn request(line: &[u8]) -> Result<Operation, Error> {
    serde_json::from_slice(line)
        .map_err(|cause| Error::new(ErrorKind::InvalidInput, "the service does not know this request").caused_by(cause))
}

/// `value` as one line, with its end.
pub(in crate::service) fn line(value: &impl Serialize) -> Result<String, Error> {
    let mut line = serde_json::to_string(value)
        .map_err(|cause| Error::invalid("a line of the control socket cannot be written as JSON").caused_by(cause))?;
    line.push('\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_what_the_drawing_says() {
        let hello = Hello { ledgerline: VERSION, store: "ab".to_owned(), epoch: 3, pid: 7 };
        let document = RawValue::from_string(r#"{"a":1.0}"#.to_owned()).unwrap();
        let error = Error::new(ErrorKind::NotFound, "no event").caused_by("a cause");
        for (written, expected) in [
            (line(&hello), r#"{"ledgerline":1,"store":"ab","epoch":3,"pid":7}"#),
            (line(&Reply::Line(document)), r#"{"line":{"a":1.0}}"#),
            (line(&Reply::Done(true)), r#"{"done":true}"#),
            (
                line(&Reply::Error(Failure::from(&error))),
                r#"{"error":{"kind":"not_found","message":"no event: a cause"}}"#,
            ),
        ] {
            assert_eq!(written.unwrap(), format!("{expected}\n"));
        }
    }

    #[test]
    fn an_error_keeps_its_kind_on_the_way() {
        let error = Error::from(Failure::from(&Error::new(ErrorKind::NotAllowed, "no")));
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::NotAllowed, "no".to_owned()));
        let foreign = Failure { kind: "new_in_2".to_owned(), message: "no".to_owned() };
        assert_eq!(Error::from(foreign).kind(), ErrorKind::Io);
    }
}
