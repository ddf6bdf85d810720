//! What the network brings: a delivery's headers, its signature, its body.

use std::time::Duration;

use serde_json::Value;

use crate::event::{NewEvent, Timestamp, limits};
use crate::webhook::{Delivery, Note, Secret, body_hash, rate_limit, read, renew, stamp, verify};

/// A time of sending that is within the tolerance in some samples and not in others.
const NOW_MS: i64 = 1_784_538_872_310;
const TOLERANCE: Duration = Duration::from_mins(1);
/// Longest wait that a sender's headers may impose.
const WAIT_MAX: Duration = Duration::from_hours(30 * 24);

/// Headers, one a line (`name: value`), then an empty line, then the body: whatever its signature, and whatever it is.
pub fn delivery(bytes: &[u8]) {
    let (headers, body) = parts(bytes);
    signed(&headers, body);
    limited(&headers);
    let delivery = Delivery { headers, body: body.to_vec(), received_at: Timestamp::from_unix_millis(NOW_MS) };
    match read(delivery, TOLERANCE) {
        Ok((event, notes)) => kept(&event, &notes, body),
        Err(unreadable) => {
            assert_eq!(unreadable.body_bytes, body.len());
            assert!(unreadable.to_string().len() < 400, "a refusal is a sentence: {unreadable}");
        }
    }
    altered(body);
}

type Headers = Vec<(String, String)>;

fn parts(bytes: &[u8]) -> (Headers, &[u8]) {
    let (mut headers, mut rest) = (Vec::new(), bytes);
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        rest = after.strip_prefix(b"\n").unwrap_or_default();
        if line.is_empty() {
            return (headers, rest);
        }
        let line = String::from_utf8_lossy(line);
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

/// A signature proves a body if, and only if, it is what one of the secrets gives, to the letter.
fn signed(headers: &Headers, body: &[u8]) {
    let secrets = [b"the old secret of the team", b"the new secret of the team"].map(|bytes| Secret::new(bytes));
    let [Ok(old), Ok(new)] = secrets else { unreachable!("both are long enough") };
    let codes = [old.sign(body), new.sign(body)];
    let secrets = [old, new];
    let given = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("linear-signature"));
    let given = given.map(|(_, value)| value.as_bytes());
    let proven = verify(&secrets, body, given).is_ok();
    assert_eq!(proven, given.is_some_and(|given| codes.iter().any(|code| code.as_bytes() == given)));
    for code in &codes {
        assert_eq!(verify(&secrets, body, Some(code.as_bytes())), Ok(()));
    }
    let longer = [body, b" "].concat();
    assert!(verify(&secrets, &longer, codes.first().map(String::as_bytes)).is_err(), "every byte is signed");
}

fn limited(headers: &Headers) {
    let now = Timestamp::from_unix_millis(NOW_MS);
    let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    if let Some(limit) = rate_limit(pairs, now) {
        assert!((now..=now.saturating_add(WAIT_MAX)).contains(&limit.until()), "{:?}", limit.until());
    }
}

fn kept(event: &NewEvent, notes: &[Note], body: &[u8]) {
    assert!(event.validate().is_ok(), "an event that was read can be kept: {event:?}");
    assert_eq!(event.body.as_bytes(), body, "a body is kept byte for byte");
    assert_eq!(event.body_hash, Some(body_hash(body)), "the parser and the scanner leave the same member out");
    assert_eq!(event.stale, notes.iter().any(|note| matches!(note, Note::OutOfTime { .. } | Note::UnreadableTime)));
    assert!(event.headers.iter().all(|(name, _)| name != "linear-signature" && name != "authorization"));
    let named_by_body = notes.contains(&Note::NamedByBody);
    assert!(event.id.as_deref().is_some_and(|id| !named_by_body || id.starts_with("body-")), "{:?}", event.id);
    for note in notes {
        assert!(note.to_string().len() <= 20 * limits::TYPE_BYTES_MAX, "a note is a sentence");
    }
    // What was found is what a handler sees that parses all of it; where it nests too deeply to be parsed, nobody sees anything else.
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return };
    assert_eq!(value.get("type").and_then(Value::as_str), Some(event.event_type.as_str()));
    if let Some(action) = &event.action {
        assert_eq!(value.get("action").and_then(Value::as_str), Some(action.as_str()));
    }
    if let Some(key) = &event.key {
        let places = ["/data/id", "/issueData/id", "/agentSession/id", "/notification/issueId"];
        let mut keys = places.iter().filter_map(|place| value.pointer(place)).filter_map(Value::as_str);
        assert!(keys.any(|found| found == key), "{key} is not in the body");
    }
}

/// A body that is stamped is the same event sent at another time; what was stamped once is stamped again to the same bytes.
fn altered(body: &[u8]) {
    let Ok(stamped) = stamp(body, -1) else { return };
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
    if is_json {
        assert_eq!(body_hash(&stamped), body_hash(body), "the time of sending is no part of a body's hash");
        assert_eq!(stamp(&stamped, -1).ok(), Some(stamped.clone()));
        if let Ok(value) = serde_json::from_slice::<Value>(body) {
            let told: Option<Value> = serde_json::from_slice(&stamped).ok();
            let same = |told: &Value| others(told, "webhookTimestamp") == others(&value, "webhookTimestamp");
            assert!(told.as_ref().is_some_and(same), "only the one member changes");
        }
    }
    match renew(&stamped, "2026-01-01T00:00:00Z") {
        Ok(renewed) => {
            let is_json_again = serde_json::from_slice::<serde::de::IgnoredAny>(&renewed).is_ok();
            assert!(!is_json || is_json_again, "what was JSON is JSON");
        }
        // Of what is no JSON the scanner sees as much as it has to.
        Err(_) => assert!(!is_json, "what was stamped is an object"),
    }
}

/// All members of an object but this one.
fn others(value: &Value, name: &str) -> Vec<(String, Value)> {
    let members = value.as_object().into_iter().flatten().filter(|(found, _)| *found != name);
    members.map(|(found, value)| (found.clone(), value.clone())).collect()
}
