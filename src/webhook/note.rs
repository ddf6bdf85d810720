//! What the log should say about a delivery that is kept.

use std::fmt;

/// Something odd about a delivery that is kept all the same. As text it is for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// `Linear-Delivery` is no id, so the body names the event.
    NamedByBody,
    /// `Linear-Event` names another type than the signed body, which wins.
    OtherType {
        /// What it says.
        header: String,
    },
    /// Too long to keep beside the body. It is dropped, because a part of it could be another action's name.
    ActionDropped {
        /// Its length in bytes.
        len: usize,
    },
    /// Too long for a key. It is dropped: Linear's ids are UUIDs, and a made-up key would be one that nobody can look up.
    KeyDropped {
        /// Its length in bytes.
        len: usize,
    },
    /// What stands where the id of the event's thing should is no text, or empty, or there twice: the event has no key.
    KeyUnreadable,
    /// Some headers did not fit into the bounds.
    HeadersDropped {
        /// How many.
        count: usize,
    },
    /// The body does not say when it was sent.
    NoTime,
    /// The body says when it was sent, but not as a whole number of milliseconds.
    UnreadableTime,
    /// It was sent too long before it arrived, or after.
    OutOfTime {
        /// How many milliseconds before it arrived it was sent; negative: after.
        late_ms: i64,
    },
}

impl Note {
    /// Whether an event that is kept in spite of this is marked as stale.
    pub const fn marks_stale(&self) -> bool {
        matches!(self, Self::UnreadableTime | Self::OutOfTime { .. })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NamedByBody => f.write_str("no usable Linear-Delivery header: the event is named after its body"),
            Self::OtherType { header } => write!(f, "Linear-Event says {header:?}; the type in the signed body counts"),
            Self::ActionDropped { len } => write!(f, "an action of {len} bytes was dropped; the body still has it"),
            Self::KeyDropped { len } => {
                write!(f, "an id of {len} bytes is no key: the event runs beside others of its thing")
            }
            Self::KeyUnreadable => f.write_str(
                "the id of its thing is no text: the event has no key, and runs beside others of that thing",
            ),
            Self::HeadersDropped { count } => write!(f, "{count} headers beyond the bounds were dropped"),
            Self::NoTime => f.write_str("the body has no webhookTimestamp: whether it is late cannot be told"),
            Self::UnreadableTime => f.write_str("webhookTimestamp is no whole number of milliseconds"),
            Self::OutOfTime { late_ms } => {
                let side = if *late_ms < 0 { "after" } else { "before" };
                write!(f, "sent {} ms {side} it arrived", late_ms.unsigned_abs())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_escaped_and_times_have_a_side() {
        for (note, says) in [
            (Note::OtherType { header: "a\nb\u{1b}".to_owned() }, r#"says "a\nb\u{1b}";"#),
            (Note::OutOfTime { late_ms: 60_001 }, "sent 60001 ms before it arrived"),
            (Note::OutOfTime { late_ms: -60_001 }, "sent 60001 ms after it arrived"),
            (Note::OutOfTime { late_ms: i64::MIN }, "sent 9223372036854775808 ms after"),
        ] {
            assert!(note.to_string().contains(says), "{note}");
        }
    }
}
