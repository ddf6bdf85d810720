//! What to do about a bad place: the one table that decides.
//!
//! ```text
//!                       │ nothing │ unknown flags, │ bad, at or below │ bad, above
//!                       │ bad     │ here or beyond;│ the evidence     │ the evidence
//!                       │         │ a wrong seq,   │                  │
//!                       │         │ another salt   │                  │
//! ──────────────────────┼─────────┼────────────────┼──────────────────┼─────────────
//! sealed by a successor │ keep    │ refuse         │ refuse           │ refuse
//! last                  │ keep    │ refuse         │ refuse           │ cut
//! ```
//!
//! "At or below the evidence" means that some verifying group head knew as durable what is missing here (R8): damage, not a write
//! that a crash tore. A torn tail is cut, because nobody was promised anything about it (R1, R3).

use crate::log::scan::{Defect, Scan};
use crate::mutants::mutant;

/// What a segment is to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A later segment has begun, which happens only after this one was synced for the last time.
    Sealed,
    /// Nothing was written after it.
    Last,
}

/// What is to be done with a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is whole.
    Keep,
    /// Its tail was torn by a crash: keep it aside and end the file at the scan's end.
    Cut,
    /// What it should hold is not there; the reason completes "…, and".
    Refuse(&'static str),
}

/// Judges a segment by its role and what a scan found; `last_seq` is the last one known before the scan's end.
pub(crate) fn verdict(role: Role, scan: &Scan, last_seq: u64) -> Verdict {
    let Some(finding) = scan.finding else { return Verdict::Keep };
    let missing_was_durable = scan.evidence > last_seq && !mutant!("evidence-ignored");
    let role = if mutant!("sealed-tail-cut") { Role::Last } else { role };
    match (role, finding.defect) {
        (_, Defect::Flags { .. }) => Verdict::Refuse("this version must not touch it: use the one that wrote it"),
        _ if scan.unknown.is_some() => Verdict::Refuse("behind it stands what a newer version wrote: use that one"),
        // Its checksums hold, so no crash tore it: what should stand before it is gone.
        (_, Defect::Seq { .. }) => Verdict::Refuse("the records between are lost"),
        (Role::Sealed, _) => Verdict::Refuse("this segment was complete before the next one began"),
        (Role::Last, _) if scan.stray.is_some() => {
            Verdict::Refuse("behind it stands what was written under another header: the header is not the file's own")
        }
        (Role::Last, _) if missing_was_durable => Verdict::Refuse("a later group proves that it was durable"),
        (Role::Last, _) => Verdict::Cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::scan::Finding;

    #[test]
    fn only_a_tail_above_the_evidence_is_ever_cut() {
        let defects = [
            None,
            Some(Defect::Head),
            Some(Defect::Flags { flags: 1 }),
            Some(Defect::Length { length: 1, left: 0 }),
            Some(Defect::RecordHeader { index: 0 }),
            Some(Defect::RecordBody { seq: 6 }),
            Some(Defect::Records),
            Some(Defect::Seq { expected: 6, found: 7 }),
        ];
        for role in [Role::Sealed, Role::Last] {
            for defect in defects {
                for evidence in [0, 5, 6, 9] {
                    let finding = defect.map(|defect| Finding { offset: 64, defect });
                    let scan = Scan { evidence, finding, ..Scan::default() };
                    let stray = Some(Finding { offset: 640, defect: Defect::Salt });
                    let under_another_header = verdict(role, &Scan { stray, ..scan.clone() }, 5);
                    assert_ne!(under_another_header, Verdict::Cut, "{role:?} {defect:?} {evidence}");
                    let unknown = Some(Finding { offset: 640, defect: Defect::Flags { flags: 2 } });
                    let before_newer = verdict(role, &Scan { unknown, ..scan.clone() }, 5);
                    assert_ne!(before_newer, Verdict::Cut, "{role:?} {defect:?} {evidence}");
                    let verdict = verdict(role, &scan, 5);
                    let unknown = matches!(defect, Some(Defect::Flags { .. } | Defect::Seq { .. }));
                    match (defect, role) {
                        (None, _) => assert_eq!(verdict, Verdict::Keep),
                        (Some(_), Role::Last) if !unknown && evidence <= 5 => assert_eq!(verdict, Verdict::Cut),
                        _ => assert!(matches!(verdict, Verdict::Refuse(_)), "{role:?} {defect:?} {evidence}"),
                    }
                }
            }
        }
    }
}
