//! One delivery, from proven bytes to an event that can be kept.
//!
//! What the event is comes from the signed body: type, action, key, whether it is late. What it is called comes from the
//! `Linear-Delivery` header, which nobody signs: a wrong one can at worst make this delivery a duplicate of another with the same
//! body, because the same id with another body is kept under a new name.
//!
//! A delivery is refused only if nothing could be done with it ([`Unreadable`]). Whatever else is odd is kept as it came, and told as
//! a [`Note`]: Linear gives an event up after four attempts, so a refusal loses it.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::event::hex;
use crate::event::{NewEvent, Timestamp, limits};
use crate::webhook::body_hash::{body_hash, body_hash_around};
use crate::webhook::envelope::{self, Id, Malformed, SentAt};
use crate::webhook::note::Note;

/// The source of every event that comes from here.
const SOURCE: &str = "linear";

/// What arrived. `body` must be proven: see [`crate::webhook::verify`].
pub struct Delivery {
    /// Names in any case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// As they came: not one byte may differ.
    pub body: Vec<u8>,
    /// When they came.
    pub received_at: Timestamp,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers and body hold what must not reach a log, the signature for one.
        f.debug_struct("Delivery")
            .field("header_count", &self.headers.len())
            .field("body_bytes", &self.body.len())
            .field("received_at", &self.received_at)
            .finish()
    }
}

/// The signed bytes are no delivery, and will not become one when they are sent again.
#[derive(Debug, thiserror::Error)]
#[error("{body_bytes} signed bytes with SHA-256 {sha256} are no delivery: {reason}")]
pub struct Unreadable {
    /// How many there are.
    pub body_bytes: usize,
    /// Of all the bytes, in hexadecimal digits.
    pub sha256: String,
    reason: Malformed,
}

impl Unreadable {
    fn new(body: &[u8], reason: Malformed) -> Self {
        Self { body_bytes: body.len(), sha256: hex::encode(&Sha256::digest(body)), reason }
    }
}

/// Reads a proven delivery. It is stale if it was sent more than `tolerance` before or after it was received.
///
/// # Errors
/// [`Unreadable`]; its text names length and hash, and nothing of the content.
pub fn read(delivery: Delivery, tolerance: Duration) -> Result<(NewEvent, Vec<Note>), Unreadable> {
    let Delivery { headers, body, received_at } = delivery;
    let body = String::from_utf8(body).map_err(|cause| {
        let offset = cause.utf8_error().valid_up_to();
        Unreadable::new(cause.as_bytes(), Malformed::NotUtf8 { offset })
    })?;
    let envelope = envelope::read(&body).map_err(|reason| Unreadable::new(body.as_bytes(), reason))?;
    let hash = match &envelope.sent_at_range {
        Some(sent_at) => body_hash_around(body.as_bytes(), sent_at),
        None => body_hash(body.as_bytes()),
    };

    let mut notes = Vec::new();
    if let Some(header) = header(&headers, "linear-event").filter(|header| *header != envelope.event_type) {
        notes.push(Note::OtherType { header: header.chars().take(limits::TYPE_BYTES_MAX).collect() });
    }
    let mut event = NewEvent::from_checked(envelope.event_type, body);
    event.id = Some(id(&headers, &hash, &mut notes));
    event.action = bounded(envelope.action, limits::ACTION_BYTES_MAX, &mut notes, |len| Note::ActionDropped { len });
    event.source = Cow::Borrowed(SOURCE);
    let key = match envelope.key {
        Id::Text(key) => Some(key),
        Id::Unreadable => {
            notes.push(Note::KeyUnreadable);
            None
        }
        Id::Absent => None,
    };
    event.key = bounded(key, limits::KEY_BYTES_MAX, &mut notes, |len| Note::KeyDropped { len });
    event.received_at = Some(received_at);
    event.stale = is_stale(envelope.sent_at, received_at, tolerance, &mut notes);
    event.headers = kept(headers, &mut notes);
    event.body_hash = Some(hash);
    event.same_body_is_duplicate = true;
    event.rename_on_conflict = true;
    Ok((event, notes))
}

/// The first header of that name.
fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// The delivery's own id, or one made from the body, so that a retry without an id gets the same again.
fn id(headers: &[(String, String)], hash: &[u8], notes: &mut Vec<Note>) -> String {
    // Ids are typed into commands and printed in tables: no spaces, no control characters.
    let usable = |id: &&str| {
        !id.is_empty() && id.len() <= limits::ID_BYTES_MAX && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    header(headers, "linear-delivery").filter(usable).map_or_else(
        || {
            notes.push(Note::NamedByBody);
            format!("body-{}", hex::encode(hash))
        },
        str::to_owned,
    )
}

fn bounded(text: Option<String>, max: usize, notes: &mut Vec<Note>, note: impl Fn(usize) -> Note) -> Option<String> {
    let text = text?;
    if text.len() <= max {
        return Some(text);
    }
    notes.push(note(text.len()));
    None
}

/// Linear's own client takes up to and including the tolerance, to either side, in whole milliseconds, and a body without a time.
fn is_stale(sent_at: SentAt, received_at: Timestamp, tolerance: Duration, notes: &mut Vec<Note>) -> bool {
    let sent_at_ms = match sent_at {
        SentAt::Millis(millis) => millis,
        SentAt::Absent => {
            notes.push(Note::NoTime);
            return false;
        }
        SentAt::Unreadable => {
            notes.push(Note::UnreadableTime);
            return true;
        }
    };
    let received_at_ms = received_at.unix_millis();
    let stale = u128::from(received_at_ms.abs_diff(sent_at_ms)) > tolerance.as_millis();
    if stale {
        notes.push(Note::OutOfTime { late_ms: received_at_ms.saturating_sub(sent_at_ms) });
    }
    stale
}

/// The headers worth keeping, names in lower case, as far as they fit; one that does not leaves room for those after it.
fn kept(headers: Vec<(String, String)>, notes: &mut Vec<Note>) -> Vec<(String, String)> {
    let mut kept = Vec::with_capacity(headers.len().min(limits::HEADER_COUNT_MAX));
    let mut room = limits::HEADER_BYTES_MAX;
    let mut dropped = 0;
    for (mut name, value) in headers {
        name.make_ascii_lowercase();
        if !is_kept(&name) {
            continue;
        }
        match room.checked_sub(name.len() + value.len()) {
            Some(rest) if kept.len() < limits::HEADER_COUNT_MAX => {
                room = rest;
                kept.push((name, value));
            }
            _ => dropped += 1,
        }
    }
    if dropped > 0 {
        notes.push(Note::HeadersDropped { count: dropped });
    }
    kept
}

/// Whether anything reads the header of that name, which is in lower case.
pub(crate) fn is_kept(name: &str) -> bool {
    // The signature proves nothing once the body is kept elsewhere, and helps whoever guesses at the secret.
    matches!(name, "content-type" | "user-agent") || (name.starts_with("linear-") && name != "linear-signature")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::samples;

    const TOLERANCE: Duration = Duration::from_mins(1);
    const NOW_MS: i64 = 1_784_538_872_310;

    fn delivery(headers: &[(&str, &str)], body: &str) -> Delivery {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Delivery { headers, body: body.as_bytes().to_vec(), received_at: Timestamp::from_unix_millis(NOW_MS) }
    }

    fn event(headers: &[(&str, &str)], body: &str) -> (NewEvent, Vec<Note>) {
        let (event, notes) = read(delivery(headers, body), TOLERANCE).unwrap();
        event.validate().unwrap();
        (event, notes)
    }

    /// A body without oddities, and with these members beside.
    fn body(members: &str) -> String {
        format!(r#"{{"type":"Issue","webhookTimestamp":{NOW_MS}{members}}}"#)
    }

    #[test]
    fn an_ordinary_delivery_becomes_an_event_without_notes() {
        let sample = samples::named("issue_create");
        let sent_at: serde_json::Value = serde_json::from_str(sample).unwrap();
        let mut delivery = delivery(
            &[
                ("Host", "example.org"),
                ("Linear-Delivery", "234d1a4e-b617-4388-90fe-adc3633d6b72"),
                ("Linear-Event", "Issue"),
                ("Linear-Signature", "5c322ea2"),
                ("LINEAR-TIMESTAMP", "1784538872310"),
                ("User-Agent", "Linear-Webhook"),
                ("Content-Type", "application/json; charset=utf-8"),
                ("Authorization", "Bearer x"),
            ],
            sample,
        );
        delivery.received_at = Timestamp::from_unix_millis(sent_at["webhookTimestamp"].as_i64().unwrap());
        let received_at = delivery.received_at;
        let (event, notes) = read(delivery, TOLERANCE).unwrap();
        assert_eq!(notes, []);
        event.validate().unwrap();
        assert_eq!(event.id.as_deref(), Some("234d1a4e-b617-4388-90fe-adc3633d6b72"));
        assert_eq!((event.event_type.as_str(), event.action.as_deref()), ("Issue", Some("create")));
        assert_eq!((&*event.source, event.key.as_deref()), ("linear", Some("539068e2-ae88-4d09-bd75-22eb4a59612f")));
        assert_eq!((event.received_at, event.max_retries, event.stale), (Some(received_at), None, false));
        assert_eq!((event.same_body_is_duplicate, event.rename_on_conflict), (true, true));
        assert_eq!((event.body.as_str(), event.body_hash), (sample, Some(body_hash(sample.as_bytes()))));
        let headers: Vec<_> = event.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            headers,
            [
                ("linear-delivery", "234d1a4e-b617-4388-90fe-adc3633d6b72"),
                ("linear-event", "Issue"),
                ("linear-timestamp", "1784538872310"),
                ("user-agent", "Linear-Webhook"),
                ("content-type", "application/json; charset=utf-8"),
            ]
        );
    }

    #[test]
    fn every_sample_is_read_within_the_bounds() {
        for (name, sample) in samples::ALL {
            let (event, _) = event(&[("linear-delivery", name)], sample);
            assert_eq!((event.id.as_deref(), event.body.as_str()), (Some(name), sample));
        }
    }

    #[test]
    fn without_a_usable_id_the_body_names_the_event_whenever_it_was_sent() {
        let later = body("").replace(&NOW_MS.to_string(), "1784538872311");
        let name = format!("body-{}", hex::encode(&body_hash(body("").as_bytes())));
        let long = "x".repeat(limits::ID_BYTES_MAX + 1);
        for headers in [vec![], vec![("Linear-Delivery", "")], vec![("Linear-Delivery", long.as_str())]]
            .into_iter()
            .chain(["a b", "a\tb", "\u{e5}", "\u{7f}"].map(|id| vec![("Linear-Delivery", id)]))
        {
            for body in [&body(""), &later] {
                let (event, notes) = event(&headers, body);
                assert_eq!((event.id.as_ref(), notes), (Some(&name), vec![Note::NamedByBody]), "{headers:?}");
            }
        }
        let longest = "x".repeat(limits::ID_BYTES_MAX);
        assert_eq!(event(&[("linear-delivery", &longest)], &body("")).0.id, Some(longest));
    }

    #[test]
    fn what_is_odd_is_noted_and_the_event_is_kept() {
        let id = ("linear-delivery", "d");
        let long = "x".repeat(300);
        let fat = "x".repeat(limits::HEADER_BYTES_MAX);
        for (headers, members, note) in [
            (vec![id, ("Linear-Event", "Comment")], String::new(), Note::OtherType { header: "Comment".to_owned() }),
            (vec![id, ("linear-event", &long)], String::new(), Note::OtherType { header: "x".repeat(128) }),
            (vec![id], format!(r#","action":"{long}""#), Note::ActionDropped { len: 300 }),
            (vec![id], format!(r#","data":{{"id":"{long}"}},"issueData":{{"id":"i"}}"#), Note::KeyDropped { len: 300 }),
            (vec![id], r#","data":{"id":7}"#.to_owned(), Note::KeyUnreadable),
            (vec![id], r#","data":{"id":"\ud83d"}"#.to_owned(), Note::KeyUnreadable),
            (vec![("linear-fat", &fat), id, ("linear-x", &fat)], String::new(), Note::HeadersDropped { count: 2 }),
        ] {
            let (event, notes) = event(&headers, &body(&members));
            assert_eq!(notes, [note]);
            assert_eq!((event.event_type.as_str(), event.action, event.key), ("Issue", None, None));
            assert_eq!(
                (event.headers.first().map(|(name, _)| name.as_str()), event.stale),
                (Some("linear-delivery"), false)
            );
        }
    }

    #[test]
    fn headers_beyond_the_count_are_dropped() {
        let names: Vec<String> = (0..40).map(|number| format!("Linear-{number}")).collect();
        let mut headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
        headers.insert(0, ("linear-delivery", "d"));
        let (event, notes) = event(&headers, &body(""));
        assert_eq!((event.headers.len(), notes), (limits::HEADER_COUNT_MAX, vec![Note::HeadersDropped { count: 9 }]));
    }

    #[test]
    fn the_tolerance_is_inclusive_to_both_sides_and_a_missing_time_is_no_late_one() {
        let out = |late_ms| vec![Note::OutOfTime { late_ms }];
        for (time, stale, expected) in [
            (format!(r#","webhookTimestamp":{NOW_MS}"#), false, vec![]),
            (format!(r#","webhookTimestamp":{}"#, NOW_MS - 60_000), false, vec![]),
            (format!(r#","webhookTimestamp":{}"#, NOW_MS + 60_000), false, vec![]),
            (format!(r#","webhookTimestamp":{}"#, NOW_MS - 60_001), true, out(60_001)),
            (format!(r#","webhookTimestamp":{}"#, NOW_MS + 60_001), true, out(-60_001)),
            (format!(r#","webhookTimestamp":{}"#, i64::MIN), true, out(i64::MAX)),
            (format!(r#","webhookTimestamp":"{NOW_MS}""#), true, vec![Note::UnreadableTime]),
            (String::new(), false, vec![Note::NoTime]),
        ] {
            let (event, notes) = event(&[("linear-delivery", "d")], &format!(r#"{{"type":"Issue"{time}}}"#));
            assert_eq!((event.stale, notes), (stale, expected), "{time}");
        }
    }

    #[test]
    fn what_is_unreadable_is_named_by_length_and_hash_but_not_shown() {
        for (bytes, says) in [
            (b"\xff{sesame}".to_vec(), "9 signed bytes with SHA-256 "),
            (b"{\"sesame\":\xc3}".to_vec(), "byte 10 begins no UTF-8 character"),
            (b"{sesame}".to_vec(), "they are not JSON"),
            (b"[\"sesame\"]".to_vec(), "no object"),
            (b"{\"type\":[\"sesame\"]}".to_vec(), "no text `type`"),
        ] {
            let sha256 = hex::encode(&Sha256::digest(&bytes));
            let refusal = read(Delivery { body: bytes, ..delivery(&[], "") }, TOLERANCE).unwrap_err();
            let text = refusal.to_string();
            assert!(text.contains(says) && text.contains(&sha256), "{text}");
            assert!(!format!("{refusal:?} {text}").contains("sesame"), "{text}");
        }
    }
}
