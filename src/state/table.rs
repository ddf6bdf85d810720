//! What may happen to an event, and where it stands afterwards.
//!
//! ```text
//!               (new)    pending     processing  retrying    completed  failed     cancelled
//! received      pending  –           –           –           –          –          –
//! started       –        processing  –           processing  –          –          –
//! completed     –        –           completed   –           –          –          –
//! failed, again –        –           retrying    –           –          –          –
//! failed        –        –           failed      –           –          –          –
//! released      –        –           pending     –           –          –          –
//! died          –        –           pending     –           –          –          –
//! replayed      –        –           –           pending     pending    pending    pending
//! cancelled     –        cancelled   cancelled   cancelled   –          cancelled  –
//! condemned     –        failed      –           failed      –          –          –
//! snoozed       –        –           retrying    –           –          –          –
//! handled       –        –           processing  –           –          –          –
//! ```
//!
//! A dash is illegal: found in a log it is damage or our mistake, asked for by a caller it is refused.

use std::fmt;

use crate::event::Status;

/// What happens to an event, as far as its status is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Received,
    Started,
    Completed,
    /// Failed, with a retry to come.
    FailedAgain,
    /// Failed for good.
    Failed,
    Released,
    /// The process that ran it is gone: a later one began.
    Died,
    Replayed,
    Cancelled,
    Condemned,
    /// The run put its event off.
    Snoozed,
    /// One of its handlers has succeeded, and it goes on.
    Handled,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Received => "received",
            Self::Started => "started",
            Self::Completed => "completed",
            Self::FailedAgain | Self::Failed => "failed",
            Self::Released => "released",
            Self::Died => "died",
            Self::Replayed => "replayed",
            Self::Cancelled => "cancelled",
            Self::Condemned => "condemned",
            Self::Snoozed => "snoozed",
            Self::Handled => "handled",
        })
    }
}

/// Where an event stands after `step`, or nothing if that cannot happen to one that stands at `from` (none: it is new).
pub(crate) const fn next(from: Option<Status>, step: Step) -> Option<Status> {
    use Status::{Cancelled, Completed, Failed, Pending, Processing, Retrying};
    let Some(from) = from else {
        return if matches!(step, Step::Received) { Some(Pending) } else { None };
    };
    match step {
        Step::Received => None,
        Step::Started => match from {
            Pending | Retrying => Some(Processing),
            Processing | Completed | Failed | Cancelled => None,
        },
        Step::Completed => if_processing(from, Completed),
        Step::FailedAgain | Step::Snoozed => if_processing(from, Retrying),
        Step::Handled => if_processing(from, Processing),
        Step::Failed => if_processing(from, Failed),
        Step::Released | Step::Died => if_processing(from, Pending),
        Step::Replayed => match from {
            Retrying | Completed | Failed | Cancelled => Some(Pending),
            Pending | Processing => None,
        },
        Step::Cancelled => match from {
            Pending | Processing | Retrying | Failed => Some(Cancelled),
            Completed | Cancelled => None,
        },
        Step::Condemned => match from {
            Pending | Retrying => Some(Failed),
            Processing | Completed | Failed | Cancelled => None,
        },
    }
}

const fn if_processing(from: Status, next: Status) -> Option<Status> {
    if matches!(from, Status::Processing) { Some(next) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_one_that_is_drawn() {
        const STEPS: [Step; 12] = [
            Step::Received,
            Step::Started,
            Step::Completed,
            Step::FailedAgain,
            Step::Failed,
            Step::Released,
            Step::Died,
            Step::Replayed,
            Step::Cancelled,
            Step::Condemned,
            Step::Snoozed,
            Step::Handled,
        ];
        let from: Vec<Option<Status>> = [
            None,
            Some(Status::Pending),
            Some(Status::Processing),
            Some(Status::Retrying),
            Some(Status::Completed),
            Some(Status::Failed),
            Some(Status::Cancelled),
        ]
        .to_vec();
        let text = include_str!("table.rs");
        let rows: Vec<&str> = text.lines().skip(4).take(STEPS.len()).collect();
        for (row, step) in rows.iter().zip(STEPS) {
            let cells: Vec<&str> = row.get("//! ".len() + 14..).unwrap().split_whitespace().collect();
            assert_eq!(cells.len(), from.len(), "{row}");
            for (cell, from) in cells.iter().zip(&from) {
                assert_eq!(next(*from, step).map_or("–", Status::as_str), *cell, "{from:?} {step:?}");
            }
        }
    }
}
