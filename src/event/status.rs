//! Where an event stands.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where an event stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Kept, and waiting for a handler.
    Pending,
    /// Claimed: a handler runs.
    Processing,
    /// A run failed or put the event off; the next one waits for its time.
    Retrying,
    /// Done. Final, unless somebody replays it.
    Completed,
    /// Failed for good. It waits for a person, who replays or cancels it.
    Failed,
    /// Called off. Final, unless somebody replays it.
    Cancelled,
}

/// The text names no status.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text:?} is no status: use pending, processing, retrying, completed, failed or cancelled")]
pub struct ParseStatusError {
    text: String,
}

impl Status {
    /// Every status, in the order of an event's life.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Processing, Self::Retrying, Self::Completed, Self::Failed, Self::Cancelled];

    /// The status in lower case, as it stands in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Retrying => "retrying",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Status {
    type Err = ParseStatusError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| ParseStatusError { text: text.chars().take(64).collect() })
    }
}
