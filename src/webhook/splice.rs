//! A sample body made into a fresh one, for `send`. Members are replaced in place, byte for byte: a body that was decoded and encoded
//! again would no longer be what Linear sent, and would test less.

use std::ops::Range;

use crate::webhook::body_hash::SENT_AT;
use crate::webhook::member::{Spot, around, locate};

/// The member that says when the thing came about. A body with another one is another event.
const CREATED_AT: &str = "createdAt";

/// There is no outermost object to put a member into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is no JSON object")]
pub struct NotAnObject;

/// `body`, sent at `sent_at_ms` (Unix milliseconds): its `webhookTimestamp` is replaced, or added as the last member. The body hash
/// stays what it was.
pub fn stamp(body: &[u8], sent_at_ms: i64) -> Result<Vec<u8>, NotAnObject> {
    set(body, SENT_AT, &sent_at_ms.to_string())
}

/// `body`, created at `created_at` (RFC 3339): its `createdAt` is replaced, or added as the last member, so that nobody takes it for
/// a duplicate.
pub fn renew(body: &[u8], created_at: &str) -> Result<Vec<u8>, NotAnObject> {
    set(body, CREATED_AT, &serde_json::Value::from(created_at).to_string())
}

/// Gives the member `name` the value that the JSON text `value` is.
fn set(body: &[u8], name: &str, value: &str) -> Result<Vec<u8>, NotAnObject> {
    let spot = locate(body, name).ok_or(NotAnObject)?;
    let (range, text) = match spot {
        Spot::Present { value: range, .. } => (range, value.to_owned()),
        Spot::Absent { offset, empty } => {
            let comma = if empty { "" } else { "," };
            (offset..offset, format!("{comma}\"{name}\":{value}"))
        }
    };
    replace(body, &range, &text).ok_or(NotAnObject)
}

fn replace(body: &[u8], range: &Range<usize>, text: &str) -> Option<Vec<u8>> {
    let (before, after) = around(body, range)?;
    Some([before, text.as_bytes(), after].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::body_hash::body_hash;
    use crate::webhook::samples;

    #[test]
    fn only_the_named_member_changes_and_an_absent_one_is_added_last() {
        for (body, stamped, renewed) in [
            (
                r#"{"createdAt":"x","webhookTimestamp":1,"z":"\u00e9"}"#,
                r#"{"createdAt":"x","webhookTimestamp":99,"z":"\u00e9"}"#,
                r#"{"createdAt":"2026-01-01T00:00:00Z","webhookTimestamp":1,"z":"\u00e9"}"#,
            ),
            (
                r#"{"data":{"createdAt":"x","webhookTimestamp":1}, "n":1.0}"#,
                r#"{"data":{"createdAt":"x","webhookTimestamp":1}, "n":1.0,"webhookTimestamp":99}"#,
                r#"{"data":{"createdAt":"x","webhookTimestamp":1}, "n":1.0,"createdAt":"2026-01-01T00:00:00Z"}"#,
            ),
            ("{}", r#"{"webhookTimestamp":99}"#, r#"{"createdAt":"2026-01-01T00:00:00Z"}"#),
            (
                "{\n  \"webhookTimestamp\" : null\n}\n",
                "{\n  \"webhookTimestamp\" : 99\n}\n",
                "{\n  \"webhookTimestamp\" : null,\"createdAt\":\"2026-01-01T00:00:00Z\"\n}\n",
            ),
        ] {
            assert_eq!(stamp(body.as_bytes(), 99).unwrap(), stamped.as_bytes(), "{body}");
            assert_eq!(renew(body.as_bytes(), "2026-01-01T00:00:00Z").unwrap(), renewed.as_bytes(), "{body}");
        }
    }

    #[test]
    fn stamping_keeps_the_body_hash_and_renewing_changes_it() {
        let written = ["{}", " { } ", "{\n}", r#"{"a":1}"#, "{\n  \"a\": 1\n}", r#"{"webhookTimestamp":1}"#];
        for body in samples::ALL.iter().map(|(_, body)| *body).chain(written) {
            let hash = body_hash(body.as_bytes());
            let stamped = stamp(body.as_bytes(), -1).unwrap();
            serde_json::from_slice::<serde_json::Value>(&stamped).unwrap();
            assert_eq!(body_hash(&stamped), hash, "{body}");
            let renewed = renew(&stamped, "2026-01-01T00:00:00.000001Z").unwrap();
            serde_json::from_slice::<serde_json::Value>(&renewed).unwrap();
            assert_ne!(body_hash(&renewed), hash, "{body}");
        }
    }

    #[test]
    fn a_value_is_written_as_json_whatever_it_holds() {
        let renewed = renew(b"{}", "a\"\\\n").unwrap();
        let parsed: serde_json::Value = serde_json::from_slice(&renewed).unwrap();
        assert_eq!(parsed["createdAt"], "a\"\\\n");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for body in ["", "[]", "null", "{\"a\"", "not json"] {
            assert_eq!(stamp(body.as_bytes(), 1), Err(NotAnObject), "{body}");
            assert_eq!(renew(body.as_bytes(), "x"), Err(NotAnObject), "{body}");
        }
    }
}
