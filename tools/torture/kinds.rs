//! The table of kinds.

use std::fmt::Write as _;

use super::trial::Kind;
use super::{disk, hostile, kill, power, rot, soak, syscalls};

/// All kinds, in the order in which they run.
pub(crate) const KINDS: &[Kind] = &[
    Kind {
        name: "disk",
        says: "a simulated disk loses power at every call, and again during recovery",
        cases_full: 50_000_000,
        weight: 60,
        needs_root: false,
        run: disk::run,
    },
    Kind {
        name: "rot",
        says: "every bit, byte and sector of a store's files flipped, zeroed, swapped, cut, or those of others",
        cases_full: 20_000_000,
        weight: 20,
        needs_root: false,
        run: rot::run,
    },
    Kind {
        name: "soak",
        says: "random lives beside an oracle: load, compaction, restarts, losses of power, jumps of the clock; how long a compaction is in the way",
        cases_full: 200_000,
        weight: 10,
        needs_root: false,
        run: soak::run,
    },
    Kind {
        name: "kill",
        says: "the service and programs that embed the crate die by SIGKILL: under load, in rotation, compaction, opening",
        cases_full: 5_000,
        weight: 10,
        needs_root: false,
        run: kill::run,
    },
    Kind {
        name: "power",
        says: "ext4 and xfs lose their power under a store; and where syncs are lies, that is noticed",
        cases_full: 2_000,
        weight: 10,
        needs_root: true,
        run: power::run,
    },
    Kind {
        name: "syscalls",
        says: "each call of a short life for its files, maps and threads fails in turn, with each error, once or from then on, or kills",
        cases_full: syscalls::CASES,
        weight: 6,
        needs_root: false,
        run: syscalls::run,
    },
    Kind {
        name: "hostile",
        says: "hostile HTTP before the real service: forged, smuggled, oversized, slow, broken, sent again",
        cases_full: 500_000,
        weight: 6,
        needs_root: false,
        run: hostile::run,
    },
];

/// What `--list` prints.
pub(crate) fn list() -> String {
    let mut text = String::new();
    for kind in KINDS {
        let root = if kind.needs_root { " (needs root)" } else { "" };
        writeln!(text, "{:<10} {:>11} cases a campaign: {}{root}", kind.name, kind.cases_full, kind.says)
            .unwrap_or_default();
    }
    text
}
