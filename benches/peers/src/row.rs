//! The rows of the table: what is done, by how many at once.

/// Records of 1 KiB in one durable batch.
const BATCHES: [usize; 2] = [100, 1_000];
/// Callers, or producers, at once.
const CROWDS: [usize; 4] = [1, 16, 64, 256];
/// Producers of a whole life.
pub(crate) const LIFE_PRODUCERS: usize = 64;
/// Handlers of a whole life, and of a drain.
pub(crate) const HANDLERS: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    /// Blocking callers append a record each, again and again.
    Commit { callers: usize },
    /// One caller appends batches.
    Batch { records: usize },
    /// A log that was closed is opened, and every record seen.
    Reopen,
    /// Producers emit an event each, again and again.
    Emit { producers: usize },
    /// Events are emitted, handled and completed at the same time.
    Life,
    /// Events that wait are handled and completed.
    Drain,
}

impl Row {
    pub(crate) fn all() -> Vec<Self> {
        let mut rows = Vec::new();
        rows.extend(CROWDS.map(|callers| Self::Commit { callers }));
        rows.extend(BATCHES.map(|records| Self::Batch { records }));
        rows.push(Self::Reopen);
        rows.extend(CROWDS.map(|producers| Self::Emit { producers }));
        rows.extend([Self::Life, Self::Drain]);
        rows
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|row| row.name() == name)
    }

    /// How it is asked for, and known in the JSON.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Commit { callers } => format!("commit-{callers}"),
            Self::Batch { records } => format!("batch-{records}"),
            Self::Reopen => "reopen".to_owned(),
            Self::Emit { producers } => format!("emit-{producers}"),
            Self::Life => "life".to_owned(),
            Self::Drain => "drain".to_owned(),
        }
    }

    /// How the table names it.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Commit { callers: 1 } => "durable append, 1 caller, records/s".to_owned(),
            Self::Commit { callers } => format!("durable append, {callers} blocking callers, records/s"),
            Self::Batch { records } => format!("durable batches of {records}, 1 caller, records/s"),
            Self::Reopen => "reopen after a clean close, records/s".to_owned(),
            Self::Emit { producers: 1 } => "durable emit, 1 producer, events/s".to_owned(),
            Self::Emit { producers } => format!("durable emit, {producers} producers, events/s"),
            Self::Life => {
                format!("emit → handle → complete, {LIFE_PRODUCERS} producers, {HANDLERS} handlers, events/s")
            }
            Self::Drain => format!("drain of waiting events, {HANDLERS} handlers, events/s"),
        }
    }

    /// Whether it is work for a log; the others are for queues.
    pub(crate) fn is_of_logs(self) -> bool {
        matches!(self, Self::Commit { .. } | Self::Batch { .. } | Self::Reopen)
    }

    /// Most operations that one sync may acknowledge, where each waits for its own; none where completions need not wait.
    pub(crate) fn operations_per_sync_max(self) -> Option<usize> {
        match self {
            Self::Commit { callers: crowd } | Self::Emit { producers: crowd } | Self::Batch { records: crowd } => {
                Some(crowd)
            }
            Self::Life => Some(LIFE_PRODUCERS),
            Self::Reopen | Self::Drain => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_its_name() {
        for row in Row::all() {
            assert_eq!(Row::of_name(&row.name()), Some(row));
        }
    }
}
