//! What the receiver answers.
//!
//! | answer | when |
//! |---|---|
//! | 200 `{"id":…,"duplicate":…}` | the event is durable, now or since earlier; with `"forgotten":true` if then, under an id that is forgotten |
//! | 400 `{"error":"invalid_input"}` | signed bytes that are no delivery |
//! | 401 `{"error":"unauthorized"}` | no signature, a malformed one, a wrong one: one answer, so that it tells nothing |
//! | 404, 405 | anything else than this listener serves |
//! | 408 `{"error":"timeout"}` | the body did not arrive in time |
//! | 413 `{"error":"too_large"}` | the body is longer than the limit, or than a record |
//! | 500 `{"error":…}` | what cannot happen to a delivery |
//! | 503 `{"error":…}` and `Retry-After` | try again: the disk is full, slow or refuses, the store is being recovered, poisoned or closing, too much arrives at once |
//!
//! Linear takes 200 alone as success and tries again after everything else, so all the others differ for people only.

use std::ops::Not;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::error::ErrorKind;
use crate::store::{Duplicate, Receipt};

/// How long a sender is asked to wait. Linear waits by its own rules: 1 minute, 1 hour, 6 hours.
const RETRY_AFTER_SECONDS: &str = "10";

/// An answer is small and whole.
pub(super) type Answer = Response<Full<Bytes>>;

#[derive(Serialize)]
struct Kept<'a> {
    id: &'a str,
    duplicate: bool,
    #[serde(skip_serializing_if = "Not::not")]
    forgotten: bool,
}

impl<'a> Kept<'a> {
    fn of(receipt: &'a Receipt) -> Self {
        // Of what is forgotten hashes are left, and of another id's body no more than that it is known.
        let forgotten = receipt.duplicate == Some(Duplicate::SameBody) && receipt.seq == 0;
        Self { id: &receipt.id, duplicate: receipt.duplicate.is_some(), forgotten }
    }
}

/// 200: the event is durable.
pub(super) fn kept(receipt: &Receipt) -> Answer {
    // Text and truth values are always writable as JSON.
    json(StatusCode::OK, serde_json::to_string(&Kept::of(receipt)).unwrap_or_default())
}

/// 401, the same whatever is wrong.
pub(super) fn unauthorized() -> Answer {
    error(StatusCode::UNAUTHORIZED, "unauthorized")
}

/// 408.
pub(super) fn timeout() -> Answer {
    error(StatusCode::REQUEST_TIMEOUT, "timeout")
}

/// 503: what is arriving already takes all the room that there is.
pub(super) fn busy() -> Answer {
    error(StatusCode::SERVICE_UNAVAILABLE, "busy")
}

/// 503: the store is being recovered.
pub(super) fn recovering() -> Answer {
    error(StatusCode::SERVICE_UNAVAILABLE, "recovering")
}

/// What an error of this kind is to the sender of a delivery.
pub(super) fn refused(kind: ErrorKind) -> Answer {
    error(status(kind), kind.as_str())
}

/// An empty answer.
pub(super) fn bare(status: StatusCode) -> Answer {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// 405: this path is for `methods`.
pub(super) fn not_allowed(methods: &'static str) -> Answer {
    let mut response = bare(StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}

fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidInput => StatusCode::BAD_REQUEST,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Full | ErrorKind::Poisoned | ErrorKind::OutcomeUnknown | ErrorKind::Closed | ErrorKind::Io => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ErrorKind::IdConflict
        | ErrorKind::NotFound
        | ErrorKind::NotAllowed
        | ErrorKind::Locked
        | ErrorKind::Corrupt
        | ErrorKind::UnsupportedFormat => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn error(status: StatusCode, name: &str) -> Answer {
    let mut response = json(status, format!("{{\"error\":\"{name}\"}}"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    }
    response
}

fn json(status: StatusCode, text: String) -> Answer {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_which_only_the_body_is_known_is_called_forgotten() {
        for (duplicate, seq, told) in [
            (None, 7, r#"{"id":"a","duplicate":false}"#),
            (Some(Duplicate::SameId), 7, r#"{"id":"a","duplicate":true}"#),
            (Some(Duplicate::SameId), 0, r#"{"id":"a","duplicate":true}"#),
            (Some(Duplicate::SameBody), 7, r#"{"id":"a","duplicate":true}"#),
            (Some(Duplicate::SameBody), 0, r#"{"id":"a","duplicate":true,"forgotten":true}"#),
        ] {
            let receipt = Receipt { id: "a".to_owned(), seq, duplicate };
            assert_eq!(serde_json::to_string(&Kept::of(&receipt)).unwrap(), told);
        }
    }

    #[test]
    fn whatever_may_pass_is_answered_with_503_and_a_time_to_wait() {
        for kind in [ErrorKind::Full, ErrorKind::Poisoned, ErrorKind::OutcomeUnknown, ErrorKind::Closed, ErrorKind::Io]
        {
            let response = refused(kind);
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{kind:?}");
            assert_eq!(response.headers().get(header::RETRY_AFTER).unwrap(), RETRY_AFTER_SECONDS);
        }
    }

    #[test]
    fn no_other_answer_asks_to_wait() {
        for (kind, status) in [
            (ErrorKind::InvalidInput, StatusCode::BAD_REQUEST),
            (ErrorKind::TooLarge, StatusCode::PAYLOAD_TOO_LARGE),
            (ErrorKind::IdConflict, StatusCode::INTERNAL_SERVER_ERROR),
        ] {
            let response = refused(kind);
            assert_eq!(response.status(), status, "{kind:?}");
            assert!(response.headers().get(header::RETRY_AFTER).is_none());
        }
        assert_eq!(unauthorized().status(), StatusCode::UNAUTHORIZED);
    }
}
