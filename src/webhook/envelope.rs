//! What the body says about itself: type, action, key, and when it was sent.
//!
//! Types and actions are open: unknown ones are taken as they are, and so are unknown members. Only what is needed is decoded; the
//! rest is checked to be JSON and passed over without recursion, so no depth overflows the stack.
//!
//! A body that names one of these members twice is refused. Parsers differ in which of two they take, and what was judged here must
//! be what a handler sees later.

use std::ops::Range;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::event::limits;

/// As many decimal digits as the largest number has.
const I64_DIGITS: usize = 19;

/// What is needed of a body. Action and key are as long as they came; bounding them is up to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Envelope {
    /// Not empty, and within its bound: without a type no handler can be chosen.
    pub(super) event_type: String,
    pub(super) action: Option<String>,
    /// That of the thing that the event is about.
    pub(super) key: Id,
    pub(super) sent_at: SentAt,
    /// Where the value that says so stands in the body; none if there is none, or it is null.
    pub(super) sent_at_range: Option<Range<usize>>,
}

/// What stands where the id of a thing is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Id {
    /// Nothing, or null.
    Absent,
    /// Something that is no text, or an empty one; or two of them.
    Unreadable,
    /// Not empty.
    Text(String),
}

/// What the body says about when it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SentAt {
    /// Unix milliseconds.
    Millis(i64),
    /// Nothing, or null.
    Absent,
    /// Something that is no whole number of milliseconds.
    Unreadable,
}

/// Why signed bytes are no body of a delivery. What serde_json says about it names a place, and no content.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    #[error("byte {offset} begins no UTF-8 character")]
    NotUtf8 { offset: usize },
    #[error("they are not JSON: {0}")]
    NotJson(serde_json::Error),
    #[error("they are JSON, but no object")]
    NotAnObject,
    #[error("a member is there twice: {0}")]
    Ambiguous(serde_json::Error),
    #[error("there is no text `type`, or an empty one")]
    NoType,
    #[error("`type` has {len} bytes; at most {} are allowed", limits::TYPE_BYTES_MAX)]
    TypeTooLong { len: usize },
}

/// The members that are looked at, each still as text: one of an unexpected shape is no reason to refuse the others.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members<'a> {
    #[serde(borrow)]
    r#type: Option<&'a RawValue>,
    #[serde(borrow)]
    action: Option<&'a RawValue>,
    #[serde(borrow)]
    webhook_timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    issue_data: Option<&'a RawValue>,
    #[serde(borrow)]
    agent_session: Option<&'a RawValue>,
    #[serde(borrow)]
    notification: Option<&'a RawValue>,
}

/// Members of the things that events are about.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Thing<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    issue_id: Option<&'a RawValue>,
}

/// Reads the envelope of `body`.
///
/// # Errors
/// [`Malformed`], for bodies that are never kept. Everything else about them may be odd.
pub(super) fn read(body: &str) -> Result<Envelope, Malformed> {
    // Asked for a struct, serde also reads an array: the members in their order.
    if !body.trim_start().starts_with('{') {
        return Err(
            serde_json::from_str::<IgnoredAny>(body).map_or_else(Malformed::NotJson, |_| Malformed::NotAnObject)
        );
    }
    let members: Members<'_> = serde_json::from_str(body).map_err(|cause| match cause.classify() {
        Category::Data => Malformed::Ambiguous(cause),
        _ => Malformed::NotJson(cause),
    })?;
    let event_type = text(members.r#type).filter(|name| !name.is_empty()).ok_or(Malformed::NoType)?;
    if event_type.len() > limits::TYPE_BYTES_MAX {
        return Err(Malformed::TypeTooLong { len: event_type.len() });
    }
    Ok(Envelope {
        event_type,
        action: text(members.action),
        key: key(&members),
        sent_at: sent_at(members.webhook_timestamp),
        sent_at_range: members.webhook_timestamp.and_then(|member| range(body, member.get())),
    })
}

/// Where `part`, which was borrowed from `text`, stands in it.
fn range(text: &str, part: &str) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
    let range = start..start.checked_add(part.len())?;
    (text.get(range.clone()) == Some(part)).then_some(range)
}

/// The first id that is a text, else what there is. An entity's own comes before that of the session or notification it appears in.
fn key(members: &Members<'_>) -> Id {
    let ids = [
        id(members.data, |thing| thing.id),
        id(members.issue_data, |thing| thing.id),
        id(members.agent_session, |thing| thing.id),
        id(members.notification, |thing| thing.issue_id),
    ];
    ids.into_iter().fold(Id::Absent, |found, next| match (found, next) {
        (found @ Id::Text(_), _) | (found, Id::Absent) => found,
        (_, next) => next,
    })
}

/// The id in the thing that the member is.
fn id<'a>(member: Option<&'a RawValue>, of: impl Fn(Thing<'a>) -> Option<&'a RawValue>) -> Id {
    let Some(object) = member.map(RawValue::get).filter(|json| json.starts_with('{')) else { return Id::Absent };
    // One that names an id twice has none: an event without a key is still an event.
    let Ok(thing) = serde_json::from_str(object) else { return Id::Unreadable };
    match of(thing) {
        None => Id::Absent,
        found => text(found).filter(|id| !id.is_empty()).map_or(Id::Unreadable, Id::Text),
    }
}

fn text(member: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(member?.get()).ok()
}

fn sent_at(member: Option<&RawValue>) -> SentAt {
    member.map_or(SentAt::Absent, |json| whole(json.get()).map_or(SentAt::Unreadable, SentAt::Millis))
}

/// The whole number that a JSON value is, however it is written: `1796`, `1796.0`, `1.796e3`. Digits are moved instead of computed with, so
/// that none is lost.
fn whole(json: &str) -> Option<i64> {
    if let Ok(number) = json.parse() {
        return Some(number);
    }
    let (digits, exponent) = json.split_once(['e', 'E']).unwrap_or((json, "0"));
    let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
    let (sign, before) = before.strip_prefix('-').map_or(("", before), |digits| ("-", digits));
    // What is no number begins otherwise.
    before.starts_with(|first: char| first.is_ascii_digit()).then_some(())?;
    let digits = format!("{before}{after}");
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    let zeros = exponent.parse::<i64>().ok()?;
    let zeros = zeros.checked_add_unsigned((digits.len() - significant.len()) as u64)?;
    let zeros = usize::try_from(zeros.checked_sub_unsigned(after.len() as u64)?).ok()?;
    // No more digits than fit, or somebody's exponent would take the memory for them.
    (zeros < I64_DIGITS).then(|| format!("{sign}{significant}{}", "0".repeat(zeros)).parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::samples;

    const ISSUE: &str = "539068e2-ae88-4d09-bd75-22eb4a59612f";
    const SESSION: &str = "4d23d4ad-b4bb-4ef1-853f-c9c03439d37e";
    const COMMENT: &str = "2174add1-f7c8-44e3-bbf3-2d60b5ea8bc9";
    const PROJECT: &str = "3c9a8b7d-6e5f-4a3b-9c2d-1e0f9a8b7c01";
    const UPDATE: &str = "d4c3b2a1-0f9e-4d8c-b7a6-5f4e3d2c1b01";

    #[test]
    fn every_sample_has_its_type_action_key_and_time() {
        let expected = [
            ("agentsession_created", "AgentSessionEvent", "created", Some(SESSION)),
            ("agentsession_prompted", "AgentSessionEvent", "prompted", Some(SESSION)),
            ("appusernotification_issueassignedtoyou", "AppUserNotification", "issueAssignedToYou", Some(ISSUE)),
            ("appusernotification_issuecommentmention", "AppUserNotification", "issueCommentMention", Some(ISSUE)),
            ("comment_create", "Comment", "create", Some(COMMENT)),
            ("issue_create", "Issue", "create", Some(ISSUE)),
            ("issue_remove", "Issue", "remove", Some(ISSUE)),
            ("issue_update", "Issue", "update", Some(ISSUE)),
            ("issue_update_by_integration", "Issue", "update", Some(ISSUE)),
            ("issuesla_breached", "IssueSLA", "breached", Some(ISSUE)),
            ("issuesla_highrisk", "IssueSLA", "highRisk", Some(ISSUE)),
            ("issuesla_set", "IssueSLA", "set", Some(ISSUE)),
            ("oauthapp_revoked", "OAuthApp", "revoked", None),
            ("permissionchange_teamaccesschanged", "PermissionChange", "teamAccessChanged", None),
            ("project_update", "Project", "update", Some(PROJECT)),
            ("projectupdate_create", "ProjectUpdate", "create", Some(UPDATE)),
        ];
        for ((name, body), (expected_name, event_type, action, key)) in samples::ALL.into_iter().zip(expected) {
            let envelope = read(body).unwrap();
            assert_eq!((name, envelope.event_type.as_str()), (expected_name, event_type));
            let key = key.map_or(Id::Absent, |key| Id::Text(key.to_owned()));
            assert_eq!((envelope.action.as_deref(), envelope.key), (Some(action), key), "{name}");
            assert!(matches!(envelope.sent_at, SentAt::Millis(1_784_000_000_000..1_785_000_000_000)), "{name}");
            let sent_at = &body[envelope.sent_at_range.unwrap()];
            assert_eq!(envelope.sent_at, SentAt::Millis(sent_at.parse().unwrap()), "{name}");
        }
    }

    #[test]
    fn members_of_unexpected_shapes_are_as_good_as_absent() {
        let text = |id: &str| Id::Text(id.to_owned());
        for (members, action, key, sent_at) in [
            ("", None, Id::Absent, SentAt::Absent),
            (r#","action":null,"data":null,"webhookTimestamp":null"#, None, Id::Absent, SentAt::Absent),
            (r#","action":["create"],"data":["x"],"webhookTimestamp":"17""#, None, Id::Absent, SentAt::Unreadable),
            (r#","action":"","data":{"id":""},"webhookTimestamp":17.5"#, Some(""), Id::Unreadable, SentAt::Unreadable),
            (
                r#","action":"\ud800","data":{"id":"\ud800"},"webhookTimestamp":1e3"#,
                None,
                Id::Unreadable,
                SentAt::Millis(1_000),
            ),
            (r#","webhookTimestamp":9223372036854775808"#, None, Id::Absent, SentAt::Unreadable),
            (r#","webhookTimestamp":-1,"data":{"issueId":"i"}"#, None, Id::Absent, SentAt::Millis(-1)),
            (r#","data":{"id":7},"issueData":{"id":"i"}"#, None, text("i"), SentAt::Absent),
            (r#","data":{"id":"a","id":"b"},"agentSession":{"id":"s"}"#, None, text("s"), SentAt::Absent),
            (r#","notification":{"id":"n","issueId":"i"}"#, None, text("i"), SentAt::Absent),
            (r#","notification":{"issueId":"i"},"data":{"id":"d"}"#, None, text("d"), SentAt::Absent),
            (
                r#","\u0061ction":"cr\u0065ate","id":"x","updatedFrom":{"id":"y"}"#,
                Some("create"),
                Id::Absent,
                SentAt::Absent,
            ),
            (r#","data":{"id":7},"issueData":{}"#, None, Id::Unreadable, SentAt::Absent),
            (r#","data":{"id":"a","id":"b"}"#, None, Id::Unreadable, SentAt::Absent),
            (r#","data":{"id":null},"notification":{"id":"n"}"#, None, Id::Absent, SentAt::Absent),
        ] {
            let envelope = read(&format!(r#" {{"type":"Issue"{members}}} "#)).unwrap();
            assert_eq!((envelope.action.as_deref(), envelope.key), (action, key), "{members}");
            assert_eq!(envelope.sent_at, sent_at, "{members}");
            assert_eq!(envelope.sent_at_range.is_some(), sent_at != SentAt::Absent, "{members}");
        }
    }

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        for (written, number) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("-0.00e9", Some(0)),
            ("0e99999999999999999999", Some(0)),
            ("1796000000000.0", Some(1_796_000_000_000)),
            ("1.796e12", Some(1_796_000_000_000)),
            ("1.796E+12", Some(1_796_000_000_000)),
            ("17960000000000000e-4", Some(1_796_000_000_000)),
            ("-1.5e1", Some(-15)),
            ("0.5e1", Some(5)),
            ("9223372036854775807.0", Some(i64::MAX)),
            ("-9.223372036854775808e18", Some(i64::MIN)),
            ("9.223372036854775808e18", None),
            ("1e19", None),
            ("1e9223372036854775807", None),
            ("10e9223372036854775807", None),
            ("1.5", None),
            ("1796000000000.0000001", None),
            ("1e-1", None),
            ("\"17\"", None),
            ("\"17.0\"", None),
            ("true", None),
            ("[1.0]", None),
        ] {
            assert_eq!(whole(written), number, "{written}");
        }
    }

    #[test]
    fn what_is_no_body_of_a_delivery_is_refused_by_name() {
        for (body, says) in [
            ("", "not JSON"),
            ("{", "not JSON"),
            (r#"{"type":"Issue"} x"#, "not JSON"),
            (r#"{"type":"Issue",}"#, "not JSON"),
            ("\u{feff}{\"type\":\"Issue\"}", "not JSON"),
            ("\u{a0}{\"type\":\"Issue\"}", "not JSON"),
            ("[1,", "not JSON"),
            (r#"["Issue","create"]"#, "no object"),
            ("null", "no object"),
            (r#""Issue""#, "no object"),
            ("{}", "no text `type`"),
            (r#"{"type":null}"#, "no text `type`"),
            (r#"{"type":7}"#, "no text `type`"),
            (r#"{"type":""}"#, "no text `type`"),
            (r#"{"type":"\ud800"}"#, "no text `type`"),
            (r#"{"Type":"Issue"}"#, "no text `type`"),
            (r#"{"type":"Issue","type":"Issue"}"#, "twice"),
            (r#"{"type":"Issue","\u0074ype":"Comment"}"#, "twice"),
            (r#"{"type":"Issue","webhookTimestamp":1,"webhookTimestamp":2}"#, "twice"),
            (r#"{"type":"Issue","data":{},"data":{}}"#, "twice"),
        ] {
            let refusal = read(body).unwrap_err().to_string();
            assert!(refusal.contains(says), "{body}: {refusal}");
        }
    }

    #[test]
    fn a_type_is_taken_up_to_its_bound() {
        let body = |len: usize| format!(r#"{{"type":"{}"}}"#, "x".repeat(len));
        assert_eq!(read(&body(limits::TYPE_BYTES_MAX)).unwrap().event_type.len(), limits::TYPE_BYTES_MAX);
        let refusal = read(&body(limits::TYPE_BYTES_MAX + 1)).unwrap_err();
        assert_eq!(refusal.to_string(), "`type` has 129 bytes; at most 128 are allowed");
    }

    #[test]
    fn no_depth_overflows_the_stack() {
        let (open, close) = ("[".repeat(1 << 19), "]".repeat(1 << 19));
        let deep = format!("{open}{close}");
        for member in ["x", "data", "type", "action", "webhookTimestamp"] {
            let body = format!(r#"{{"kind":0,"{member}":{deep},"agentSession":{{"x":{deep},"id":"s"}}}}"#);
            assert!(matches!(read(&body), Err(Malformed::NoType)), "{member}");
        }
        let body = format!(r#"{{"type":"Issue","data":{{"x":{deep},"id":"d"}}}}"#);
        assert_eq!(read(&body).unwrap().key, Id::Text("d".to_owned()));
        assert!(matches!(read(&deep), Err(Malformed::NotAnObject)));
        assert!(matches!(read(&open), Err(Malformed::NotJson(_))));
    }
}
