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

/// What is needed of a body. Action and key are as long as they came; bounding them is up to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Envelope {
    /// Not empty, and within its bound: without a type no handler can be chosen.
    pub(super) event_type: String,
    pub(super) action: Option<String>,
    /// The id of the thing that the event is about; not empty.
    pub(super) key: Option<String>,
    pub(super) sent_at: SentAt,
    /// Where the value that says so stands in the body; none if there is none, or it is null.
    pub(super) sent_at_range: Option<Range<usize>>,
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
#[derive(Default, Deserialize)]
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

/// The first id there is. An entity's own comes before that of the session or notification it appears in.
fn key(members: &Members<'_>) -> Option<String> {
    [
        thing(members.data).id,
        thing(members.issue_data).id,
        thing(members.agent_session).id,
        thing(members.notification).issue_id,
    ]
    .into_iter()
    .find_map(|id| text(id).filter(|id| !id.is_empty()))
}

/// The member as a thing; without ids if it is no object, or names one of them twice: an event without a key is still an event.
fn thing(member: Option<&RawValue>) -> Thing<'_> {
    let object = member.map(RawValue::get).filter(|json| json.starts_with('{'));
    object.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

fn text(member: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(member?.get()).ok()
}

fn sent_at(member: Option<&RawValue>) -> SentAt {
    member.map_or(SentAt::Absent, |json| serde_json::from_str(json.get()).map_or(SentAt::Unreadable, SentAt::Millis))
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
            assert_eq!((envelope.action.as_deref(), envelope.key.as_deref()), (Some(action), key), "{name}");
            assert!(matches!(envelope.sent_at, SentAt::Millis(1_784_000_000_000..1_785_000_000_000)), "{name}");
            let sent_at = &body[envelope.sent_at_range.unwrap()];
            assert_eq!(envelope.sent_at, SentAt::Millis(sent_at.parse().unwrap()), "{name}");
        }
    }

    #[test]
    fn members_of_unexpected_shapes_are_as_good_as_absent() {
        for (members, action, key, sent_at) in [
            ("", None, None, SentAt::Absent),
            (r#","action":null,"data":null,"webhookTimestamp":null"#, None, None, SentAt::Absent),
            (r#","action":["create"],"data":["x"],"webhookTimestamp":"17""#, None, None, SentAt::Unreadable),
            (r#","action":"","data":{"id":""},"webhookTimestamp":17.0"#, Some(""), None, SentAt::Unreadable),
            (r#","action":"\ud800","data":{"id":"\ud800"},"webhookTimestamp":1e3"#, None, None, SentAt::Unreadable),
            (r#","webhookTimestamp":9223372036854775808"#, None, None, SentAt::Unreadable),
            (r#","webhookTimestamp":-1,"data":{"issueId":"i"}"#, None, None, SentAt::Millis(-1)),
            (r#","data":{"id":7},"issueData":{"id":"i"}"#, None, Some("i"), SentAt::Absent),
            (r#","data":{"id":"a","id":"b"},"agentSession":{"id":"s"}"#, None, Some("s"), SentAt::Absent),
            (r#","notification":{"id":"n","issueId":"i"}"#, None, Some("i"), SentAt::Absent),
            (r#","notification":{"issueId":"i"},"data":{"id":"d"}"#, None, Some("d"), SentAt::Absent),
            (r#","\u0061ction":"cr\u0065ate","id":"x","updatedFrom":{"id":"y"}"#, Some("create"), None, SentAt::Absent),
        ] {
            let envelope = read(&format!(r#" {{"type":"Issue"{members}}} "#)).unwrap();
            assert_eq!((envelope.action.as_deref(), envelope.key.as_deref()), (action, key), "{members}");
            assert_eq!(envelope.sent_at, sent_at, "{members}");
            assert_eq!(envelope.sent_at_range.is_some(), sent_at != SentAt::Absent, "{members}");
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
        assert_eq!(read(&body).unwrap().key.as_deref(), Some("d"));
        assert!(matches!(read(&deep), Err(Malformed::NotAnObject)));
        assert!(matches!(read(&open), Err(Malformed::NotJson(_))));
    }
}
