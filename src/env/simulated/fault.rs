//! Calls that fail on purpose.

use super::choices::Choices;

/// What a call changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Create,
    Write,
    Reserve,
    Truncate,
    Sync,
    Rename,
    Remove,
    MakeDir,
    SyncDir,
}

impl Kind {
    pub(super) fn is_sync(self) -> bool {
        matches!(self, Self::Sync | Self::SyncDir)
    }
}

/// What a failing call does all the same.
#[derive(Debug, Clone)]
pub(crate) enum Effect {
    /// Nothing.
    Nothing,
    /// A write: its first half.
    Half,
    /// All of it: only the answer says otherwise.
    All,
    /// A sync: this much is durable, the rest is lost and called clean.
    Loss(Choices),
}

/// A plan that a call fails.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// Calls of this kind only; none: of any kind.
    pub(super) kind: Option<Kind>,
    /// Calls on files whose name, when they were opened, contains this.
    pub(super) name: &'static str,
    /// So many such calls are spared.
    pub(super) spared: u64,
    /// So many of those that follow fail.
    pub(super) count: u64,
    pub(super) error: i32,
    pub(super) effect: Effect,
}

impl Fault {
    /// The next call of this kind fails with EIO and does nothing.
    pub(crate) fn of(kind: Kind) -> Self {
        let error = rustix::io::Errno::IO.raw_os_error();
        Self { kind: Some(kind), name: "", spared: 0, count: 1, error, effect: Effect::Nothing }
    }

    /// The next call fails, whatever its kind is.
    pub(crate) fn of_any() -> Self {
        Self { kind: None, ..Self::of(Kind::Write) }
    }

    /// Only on files whose name contains this.
    pub(crate) fn on(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// Only after so many were spared.
    pub(crate) fn after(self, spared: u64) -> Self {
        Self { spared, ..self }
    }

    /// So many calls fail, one after the other.
    pub(crate) fn times(self, count: u64) -> Self {
        Self { count, ..self }
    }

    /// There is no space.
    pub(crate) fn full(self) -> Self {
        Self { error: rustix::io::Errno::NOSPC.raw_os_error(), ..self }
    }

    /// It does this all the same.
    pub(crate) fn with(self, effect: Effect) -> Self {
        Self { effect, ..self }
    }

    /// Whether a call fails by this plan, which counts it.
    pub(super) fn strikes(&mut self, kind: Kind, name: &str) -> bool {
        if self.kind.is_some_and(|wanted| wanted != kind) || !name.contains(self.name) || self.count == 0 {
            return false;
        }
        if self.spared > 0 {
            self.spared -= 1;
            return false;
        }
        self.count -= 1;
        true
    }
}
