//! One row of the table: what was measured, beside its floor and its target.

use serde::{Deserialize, Serialize};

use super::latency::Percentiles;

/// What a row's figures are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// More is better.
    PerSecond,
    /// Less is better, as with all that follow.
    Seconds,
    Bytes,
    Count,
}

/// What a figure should be.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Target {
    /// It has to reach this at least.
    pub(crate) least: f64,
    /// This is what we want to publish.
    pub(crate) aim: f64,
}

/// How a figure stands to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Met {
    Missed,
    Least,
    Aim,
}

/// What a row that is bound by the disk has to reach of its floor.
pub(crate) const FLOOR_SHARE_MIN: f64 = 0.85;

/// One row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) work: String,
    pub(crate) unit: Unit,
    pub(crate) figure: f64,
    pub(crate) floor: Option<f64>,
    pub(crate) target: Option<Target>,
    /// Whether it has to come close to its floor.
    pub(crate) is_bound_by_disk: bool,
    pub(crate) percentiles: Option<Percentiles>,
}

impl Row {
    /// A row of so much.
    pub(crate) fn new(work: impl Into<String>, unit: Unit, figure: f64) -> Self {
        let work = work.into();
        Self { work, unit, figure, floor: None, target: None, is_bound_by_disk: false, percentiles: None }
    }

    /// Beside it: what a bare loop reaches that does only what cannot be left out.
    pub(crate) fn floor(mut self, floor: f64) -> Self {
        self.floor = Some(floor);
        self
    }

    /// Beside it: what the disk gives, of which a certain share has to be reached.
    pub(crate) fn disk_floor(mut self, floor: f64) -> Self {
        self.is_bound_by_disk = true;
        self.floor(floor)
    }

    /// What it should be; none for rows that only inform.
    pub(crate) fn target(mut self, target: impl Into<Option<(f64, f64)>>) -> Self {
        self.target = target.into().map(|(least, aim)| Target { least, aim });
        self
    }

    pub(crate) fn percentiles(mut self, percentiles: Percentiles) -> Self {
        self.percentiles = Some(percentiles);
        self
    }

    /// The share of its floor that it reaches: 1 is as fast as the floor.
    pub(crate) fn share(&self) -> Option<f64> {
        let floor = self.floor?;
        Some(if self.unit == Unit::PerSecond { self.figure / floor } else { floor / self.figure })
    }

    /// How it stands to its target, if it has one.
    pub(crate) fn met(&self) -> Option<Met> {
        let target = self.target?;
        let reaches = |bound| if self.unit == Unit::PerSecond { self.figure >= bound } else { self.figure <= bound };
        Some(match (reaches(target.aim), reaches(target.least)) {
            (true, _) => Met::Aim,
            (false, true) => Met::Least,
            (false, false) => Met::Missed,
        })
    }

    /// Whether it is close enough to its floor, if it has to be.
    pub(crate) fn is_close_to_floor(&self) -> Option<bool> {
        self.share().filter(|_| self.is_bound_by_disk).map(|share| share >= FLOOR_SHARE_MIN)
    }
}
