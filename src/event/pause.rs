//! What a person stopped from being run.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::event::entry::Scoped;
use crate::event::{Timestamp, limits};

/// Events that can be paused together. As JSON `{"type": …}` or `{"key": …}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scope {
    /// All events of this type: 1 to 128 bytes.
    Type(String),
    /// All events of this key: 1 to 256 bytes.
    Key(String),
}

/// A pause in force: events of its scope are kept, but no run of them begins. What runs already goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Pause {
    /// What is paused.
    pub scope: Scope,
    /// When it ends by itself; none: it lasts until somebody ends it.
    pub until: Option<Timestamp>,
    /// Since when.
    pub since: Timestamp,
    /// Why, in the words of whoever paused it.
    pub reason: String,
}

impl Scope {
    /// Refuses a name that no event can have, by its bounds.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let (what, name, max) = match self {
            Self::Type(name) => ("type", name, limits::TYPE_BYTES_MAX),
            Self::Key(name) => ("key", name, limits::KEY_BYTES_MAX),
        };
        limits::check(&format!("the {what} to pause"), name.as_str(), 1, max)
    }

    /// Also refuses what looks like all types and is none.
    pub(crate) fn validate_to_pause(&self) -> Result<(), Error> {
        if *self == Self::Type("*".to_owned()) {
            return Err(Error::invalid(
                "a pause is of one type, and \"*\" is the name of none: pause each that is to rest",
            ));
        }
        self.validate()
    }

    pub(crate) fn borrowed(&self) -> Scoped<'_> {
        match self {
            Self::Type(name) => Scoped::Type(name),
            Self::Key(name) => Scoped::Key(name),
        }
    }
}

impl From<Scoped<'_>> for Scope {
    fn from(scope: Scoped<'_>) -> Self {
        match scope {
            Scoped::Type(name) => Self::Type(name.to_owned()),
            Scoped::Key(name) => Self::Key(name.to_owned()),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(name) => write!(f, "type {name:?}"),
            Self::Key(name) => write!(f, "key {name:?}"),
        }
    }
}
