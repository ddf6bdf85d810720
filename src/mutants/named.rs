//! Mutants that break what the store promises about events, by its subject.

use super::table::{Mutant, mutant};

pub(super) const NAMED: &[Mutant] = &[
    mutant(
        "deaths",
        "death-counted-for-innocents",
        "an event is condemned for deaths of the process while others ran too",
        &["state::stories::an_event_that_kills_the_process_runs_alone_and_is_condemned"],
    ),
    mutant(
        "deaths",
        "reboot-counted-as-a-death",
        "an event is condemned for loss of power",
        &["state::stories::an_event_that_kills_the_process_runs_alone_and_is_condemned"],
    ),
    mutant(
        "deaths",
        "close-counted-as-a-death",
        "an event is condemned for restarts in good order",
        &["state::stories::a_close_while_an_event_ran_is_never_taken_for_a_crash"],
    ),
    mutant(
        "deaths",
        "suspect-runs-beside-others",
        "what may kill the process runs beside others",
        &["state::stories::nothing_runs_alone_beside_what_is_left_of_a_cancelled_run_and_nobody_else_waits_for_it"],
    ),
    mutant(
        "duplicates",
        "conflict-taken-for-a-duplicate",
        "other data under a known id is thrown away as if it were the same",
        &["state::stories::a_duplicate_is_refused_while_live_retained_or_remembered"],
    ),
    mutant(
        "duplicates",
        "twins-kept",
        "a batch keeps two events of one id",
        &["store::reception::tests::a_batch_that_names_an_id_twice_is_refused_whole"],
    ),
    mutant(
        "duplicates",
        "id-not-remembered",
        "an id is taken again as soon as its event is forgotten",
        &["state::stories::a_duplicate_is_refused_while_live_retained_or_remembered"],
    ),
    mutant(
        "duplicates",
        "ids-deleted-with-their-segment",
        "compaction deletes a segment and the ids that are to be remembered of it",
        &[
            "store::crashes::copies::an_id_is_still_known_after_compaction_has_forgotten_its_event_and_written_its_segment_anew_twice",
        ],
    ),
    mutant(
        "duplicates",
        "ids-lost-in-a-rewrite",
        "compaction writes a segment anew without the ids that are to be remembered",
        &[
            "store::crashes::copies::an_id_is_still_known_after_compaction_has_forgotten_its_event_and_written_its_segment_anew_twice",
        ],
    ),
    mutant(
        "duplicates",
        "remembered-ids-lost-in-a-rewrite",
        "compaction forgets ids the second time that it writes them anew",
        &[
            "store::crashes::copies::an_id_is_still_known_after_compaction_has_forgotten_its_event_and_written_its_segment_anew_twice",
        ],
    ),
    mutant(
        "keys",
        "key-released-while-its-event-runs",
        "two events of one key run at once",
        &["state::stories::events_of_one_key_run_one_at_a_time_in_order_and_wait_for_a_retry"],
    ),
    mutant(
        "keys",
        "key-released-while-its-event-waits",
        "a later event of a key overtakes one that waits for its retry",
        &["state::stories::events_of_one_key_run_one_at_a_time_in_order_and_wait_for_a_retry"],
    ),
    mutant(
        "keys",
        "cancelled-run-forgotten",
        "the next event of a key runs beside what is left of a cancelled run",
        &["store::oracle::trial::a_store_does_what_the_rules_say"],
    ),
    mutant(
        "keys",
        "replay-keeps-its-place",
        "what is replayed goes before what came meanwhile",
        &["state::stories::events_of_one_key_run_one_at_a_time_in_order_and_wait_for_a_retry"],
    ),
    mutant(
        "retries",
        "retries-never-spent",
        "an event is tried again for ever",
        &["store::oracle::trial::a_store_does_what_the_rules_say"],
    ),
    mutant(
        "retries",
        "retry-count-reset-by-a-restart",
        "an event has all its retries again after each restart",
        &["store::oracle::trial::a_store_does_what_the_rules_say"],
    ),
    mutant(
        "retries",
        "replay-keeps-the-retry-count",
        "what is replayed has no retries left",
        &["store::oracle::trial::a_store_does_what_the_rules_say"],
    ),
    mutant(
        "retries",
        "delay-recomputed-after-a-restart",
        "each restart lets a retry wait its whole delay again",
        &["state::stories::no_jump_of_the_clock_stretches_a_wait_and_none_ends_before_its_time_by_restart"],
    ),
    mutant(
        "retries",
        "wait-stretched-by-the-clock",
        "a clock that was set back lets a retry wait for days",
        &["state::stories::no_jump_of_the_clock_stretches_a_wait_and_none_ends_before_its_time_by_restart"],
    ),
    mutant(
        "statuses",
        "cancelled-event-claimable",
        "what was called off runs all the same",
        &["state::stories::nothing_runs_alone_beside_what_is_left_of_a_cancelled_run_and_nobody_else_waits_for_it"],
    ),
    mutant(
        "salvage",
        "salvaged-orphan-kept",
        "salvage keeps records about events that are lost",
        &["store::mending::tests::what_cannot_be_told_is_left_out_and_orphans_name_their_event"],
    ),
    mutant(
        "salvage",
        "salvaged-run-outlives-its-process",
        "salvage takes a run for one that goes on in the next process",
        &["store::mending::tests::what_survivors_prove_is_put_into_the_gap_and_nothing_else"],
    ),
];
