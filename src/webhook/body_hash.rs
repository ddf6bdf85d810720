//! What counts as the same body: all of it but the time of sending.
//!
//! Nobody says whether Linear stamps a retry with a new `webhookTimestamp`. So the hash leaves that one member out, together with
//! one comma and its whitespace ([`crate::webhook::member`] draws which): bodies that differ in its value, or in whether it is there
//! at all, have one hash. All other bytes count as they are; an equal JSON value in other bytes is another body.

use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::webhook::member::{Spot, around, locate, whole};

/// The member that says when a delivery was sent, in Unix milliseconds.
pub(super) const SENT_AT: &str = "webhookTimestamp";

/// SHA-256 of `body` without the outermost object's `webhookTimestamp`; of all bytes where there is none to leave out.
pub(crate) fn body_hash(body: &[u8]) -> [u8; 32] {
    match locate(body, SENT_AT) {
        Some(Spot::Present { whole, .. }) => hash_without(body, &whole),
        _ => hash_without(body, &(body.len()..body.len())),
    }
}

/// As [`body_hash`], for a body that is known to be JSON, and whose `webhookTimestamp` is known to have its value at `sent_at`.
pub(super) fn body_hash_around(body: &[u8], sent_at: &Range<usize>) -> [u8; 32] {
    whole(body, sent_at).map_or_else(|| body_hash(body), |whole| hash_without(body, &whole))
}

fn hash_without(body: &[u8], whole: &Range<usize>) -> [u8; 32] {
    let (before, after) = around(body, whole).unwrap_or((body, &[]));
    Sha256::new().chain_update(before).chain_update(after).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::hex;
    use crate::webhook::samples;

    fn plain(body: &str) -> [u8; 32] {
        Sha256::digest(body.as_bytes()).into()
    }

    #[test]
    fn the_time_is_left_out_wherever_and_however_it_stands() {
        for (with, without) in [
            (r#"{"a":1,"b":[2],@}"#, r#"{"a":1,"b":[2]}"#),
            (r#"{"a":1,@,"b":[2]}"#, r#"{"a":1,"b":[2]}"#),
            (r#"{@,"a":1,"b":[2]}"#, r#"{"a":1,"b":[2]}"#),
            ("{@}", "{}"),
            (" { @ } ", " {  } "),
            ("{\n  \"a\": 1,\n  @\n}\n", "{\n  \"a\": 1\n}\n"),
            ("{\n  \"a\": 1,\n  @,\n  \"b\": 2\n}\n", "{\n  \"a\": 1,\n  \"b\": 2\n}\n"),
            ("{\n  @,\n  \"a\": 1\n}\n", "{\n  \"a\": 1\n}\n"),
            (r#"{"a":{"webhookTimestamp":1},@}"#, r#"{"a":{"webhookTimestamp":1}}"#),
            (r#"{"a":"\",\"webhookTimestamp\":1",@}"#, r#"{"a":"\",\"webhookTimestamp\":1"}"#),
        ] {
            for name in [r#""webhookTimestamp""#, r#""webhook\u0054imestamp""#] {
                for colon in [":", " : ", ":\n\t"] {
                    for value in ["0", "1784538872310", "-1.5e3", "null", r#""17,}""#, r#"{"webhookTimestamp":[1,2]}"#]
                    {
                        let body = with.replacen('@', &format!("{name}{colon}{value}"), 1);
                        assert_eq!(body_hash(body.as_bytes()), plain(without), "{body}");
                        let Some(Spot::Present { value, .. }) = locate(body.as_bytes(), SENT_AT) else {
                            panic!("{body}")
                        };
                        assert_eq!(body_hash_around(body.as_bytes(), &value), plain(without), "{body}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_other_byte_counts() {
        let body = r#"{"a":1,"webhookTimestamp":5,"webhookId":"x","b":{"webhookTimestamp":7}}"#;
        for other in [
            body.replace("\"a\":1", "\"a\":2"),
            body.replace("\"a\":1", "\"a\": 1"),
            body.replace("\"x\"", "\"y\""),
            body.replace(":7", ":8"),
            format!("{body}\n"),
            body.replace("Timestamp\":5", "timestamp\":5"),
        ] {
            assert_ne!(body_hash(other.as_bytes()), body_hash(body.as_bytes()), "{other}");
        }
    }

    #[test]
    fn without_a_time_all_bytes_are_hashed() {
        for body in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"a":{"webhookTimestamp":1}}"#,
            r#"[{"webhookTimestamp":1}]"#,
            r#"{"webhookTimestamp":1"#,
        ] {
            assert_eq!(body_hash(body.as_bytes()), plain(body), "{body}");
        }
    }

    #[test]
    fn hashes_of_stored_events_do_not_change_with_the_program() {
        let body = samples::named("issue_create");
        let hash = hex::encode(&body_hash(body.as_bytes()));
        assert_eq!(hash, "621d5f20f69acbb1ff47fb4b9deaad7d870ac83fe14716636707b864d2bce453");
    }
}
