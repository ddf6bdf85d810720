//! Mutants that break a promise of `RULES.md` about what is kept: R1 to R6.

use super::table::{Mutant, mutant};

pub(super) const KEPT: &[Mutant] = &[
    mutant(
        "R1",
        "acknowledged-before-sync",
        "callers are told that their event is kept although nothing was synced",
        &["store::crashes::poison::after_a_failed_sync_nothing_is_synced_again_and_opening_finds_what_the_disk_has"],
    ),
    mutant(
        "R1",
        "sync-covers-what-came-beside-it",
        "what was written while a sync was under way counts as synced by it",
        &["store::beside::tests::a_sync_is_not_believed_to_cover_what_came_while_it_was_under_way"],
    ),
    mutant(
        "R1",
        "write-beside-a-sync-forgotten",
        "what was written beside a sync is never synced, because nobody notes it",
        &["store::beside::tests::what_is_written_beside_a_sync_is_made_durable_by_the_next"],
    ),
    mutant(
        "R1",
        "duplicate-answered-before-durable",
        "whoever gives an id again is told that the event is kept before it is",
        &["store::unsynced::whoever_gives_an_id_again_is_answered_once_what_has_it_is_durable"],
    ),
    mutant(
        "R1",
        "event-shown-before-durable",
        "a look at an event shows what a crash may take back",
        &["store::unsynced::what_is_shown_is_durable_by_then"],
    ),
    mutant(
        "R1",
        "list-shows-what-is-not-durable",
        "a list shows what a crash may take back",
        &["store::unsynced::what_is_shown_is_durable_by_then"],
    ),
    mutant(
        "R1",
        "staged-events-rehearsed",
        "a rehearsal tells of events that a crash may take back, and calls them damaged because they cannot be read yet",
        &["store::pass::tests::a_rehearsal_passes_over_what_cannot_be_read_yet"],
    ),
    mutant(
        "R1",
        "stream-shows-what-is-staged",
        "whoever follows the log is shown what a crash may take back",
        &["store::unsynced::whoever_follows_the_log_is_not_shown_what_is_staged"],
    ),
    mutant(
        "R1",
        "task-shown-what-is-staged",
        "a task that follows the log is shown what a crash may take back",
        &["store::following::tests::a_follower_is_woken_when_its_record_is_durable_and_leaves_nothing_behind"],
    ),
    mutant(
        "R1",
        "claim-before-durable",
        "an event is run that a crash may take back",
        &["store::unsynced::an_event_that_a_crash_may_still_take_back_is_not_claimed"],
    ),
    mutant(
        "R1",
        "round-not-called",
        "threads that wait for a sync sleep on after it",
        &["store::waiters::tests::after_poison_all_are_called_and_told_no"],
    ),
    mutant(
        "R1",
        "leader-not-called",
        "nobody is asked to lead, and those who wait sleep on",
        &["store::waiters::tests::a_sync_calls_the_threads_that_came_before_it_and_no_others"],
    ),
    mutant(
        "R1",
        "follower-not-woken",
        "whoever follows the log sleeps on though a record became durable",
        &["store::following::tests::a_follower_is_woken_when_its_record_is_durable_and_leaves_nothing_behind"],
    ),
    mutant(
        "R1",
        "lane-forgotten-at-the-end",
        "tasks sleep on though their events are durable, because the store is closed before the keeper has passed on to them",
        &["store::keeper::tests::who_is_left_in_a_lane_when_the_keeper_ends_is_woken"],
    ),
    mutant(
        "R1",
        "lane-woken-under-the-lock",
        "a waker that calls the store stops the keeper for ever, and everybody after it",
        &["store::keeper::tests::whoever_the_keeper_wakes_may_call_the_store"],
    ),
    mutant(
        "R2",
        "failed-sync-retried",
        "a failed sync is tried again, and its second answer believed",
        &["store::crashes::poison::after_a_failed_sync_nothing_is_synced_again_and_opening_finds_what_the_disk_has"],
    ),
    mutant(
        "R2",
        "failed-sync-forgiven",
        "a failed sync counts as one that succeeded",
        &["store::crashes::poison::after_a_failed_sync_nothing_is_synced_again_and_opening_finds_what_the_disk_has"],
    ),
    mutant(
        "R2",
        "failed-write-forgiven",
        "a failed write counts as one that succeeded",
        &["store::stories::after_a_failed_write_nothing_is_acknowledged_and_nothing_is_taken"],
    ),
    mutant(
        "R2",
        "beside-write-forgiven",
        "a failed write of what begins runs counts as one that succeeded",
        &["store::beside::tests::a_write_of_what_begins_runs_that_fails_poisons"],
    ),
    mutant(
        "R2",
        "filling-sync-forgiven",
        "a failed sync of zeros in the segment that is written to stops nothing, though what it lost may be a record",
        &["store::preparer::tests::a_filling_whose_sync_fails_in_a_segment_in_use_poisons"],
    ),
    mutant(
        "R2",
        "poison-ignored",
        "a poisoned store goes on to take events",
        &[
            "store::stories::after_a_failed_write_nothing_is_acknowledged_and_nothing_is_taken",
            "store::crashes::poison::after_a_failed_sync_nothing_is_synced_again_and_opening_finds_what_the_disk_has",
        ],
    ),
    mutant(
        "R2",
        "sync-believed-after-poison",
        "a sync that ends after compaction has poisoned the store makes records durable",
        &["store::stories::what_fails_while_a_sync_is_under_way_poisons_and_nothing_becomes_durable"],
    ),
    mutant(
        "R2",
        "unknown-outcome-acknowledged",
        "after poison those who wait are told that their event is kept",
        &["store::stories::after_a_failed_write_nothing_is_acknowledged_and_nothing_is_taken"],
    ),
    mutant(
        "R2",
        "unknown-listed",
        "after poison lists show what is unknown",
        &["store::crashes::poison::after_a_failed_sync_nothing_is_synced_again_and_opening_finds_what_the_disk_has"],
    ),
    mutant(
        "R2",
        "unknown-manifest-forgiven",
        "compaction goes on though nobody knows which manifest is in force",
        &["store::crashes::poison::a_failed_rename_or_sync_of_the_directory_poisons_and_opening_is_sound"],
    ),
    mutant(
        "R2",
        "unknown-name-forgiven",
        "a segment whose name may not be durable is tried again instead of poisoning",
        &["store::crashes::poison::a_failed_rename_or_sync_of_the_directory_poisons_and_opening_is_sound"],
    ),
    mutant(
        "R2",
        "directory-synced-after-a-failure",
        "a name counts as durable because a sync succeeded after another has failed",
        &["env::dir::tests::a_directory_whose_sync_has_failed_is_not_synced_again"],
    ),
    mutant(
        "R3",
        "tail-believed-unsynced",
        "an opening builds on what a dead process left in memory",
        &[
            "store::crashes::survival::what_a_dead_process_wrote_past_what_was_filled_is_durable_before_the_next_goes_on_from_it",
        ],
    ),
    mutant(
        "R3",
        "cache-believed",
        "an opening reads from the cache what a failed sync has lost",
        &["store::crashes::poison::after_a_failed_sync_nothing_is_synced_again_and_opening_finds_what_the_disk_has"],
    ),
    mutant(
        "R3",
        "prepared-counts-as-written",
        "an opening makes the last files durable, and the last one that was written to may be none of them",
        &[
            "store::crashes::survival::what_a_dead_process_wrote_is_durable_before_the_next_goes_on_whatever_was_prepared_behind_it",
        ],
    ),
    mutant(
        "R3",
        "tail-not-cut",
        "a torn tail stays in the file, behind which the log goes on",
        &[
            "store::crashes::survival::names_that_a_dead_process_left_in_memory_are_durable_before_anything_is_built_on_them",
        ],
    ),
    mutant(
        "R8",
        "stray-header-believed",
        "a segment whose header is of another time passes for one whose groups are all torn",
        &["store::refusals::a_header_that_the_segment_had_at_another_time_is_not_believed"],
    ),
    mutant(
        "R3",
        "appended-after-a-cut",
        "an opening goes on in the file whose tail it has cut",
        &["store::crashes::survival::where_files_grow_an_opening_makes_durable_what_it_believes"],
    ),
    mutant(
        "R3",
        "cut-unsynced",
        "a torn tail is cut, but may be back after a loss of power",
        &["store::crashes::survival::where_files_grow_an_opening_makes_durable_what_it_believes"],
    ),
    mutant(
        "R3",
        "tail-not-kept-aside",
        "what is cut is destroyed",
        &["log::cut::tests::what_was_kept_of_a_torn_tail_is_not_replaced_by_the_less_that_a_loss_of_power_left"],
    ),
    mutant(
        "R4",
        "segment-unsynced",
        "a segment gets its name before its header is durable",
        &["store::crashes::survival::where_files_grow_an_opening_makes_durable_what_it_believes"],
    ),
    mutant(
        "R4",
        "segment-name-unsynced",
        "a new segment is written to before its name is durable",
        &["store::crashes::poison::a_failed_rename_or_sync_of_the_directory_poisons_and_opening_is_sound"],
    ),
    mutant(
        "R4",
        "created-over-another",
        "a file is created though one of that name is there",
        &["env::dir::tests::a_file_is_created_for_its_owner_alone_and_only_where_nothing_is"],
    ),
    mutant(
        "R4",
        "links-followed",
        "a symbolic link leads a store to a file of somebody else",
        &["env::dir::tests::a_file_is_created_for_its_owner_alone_and_only_where_nothing_is"],
    ),
    mutant(
        "R4",
        "files-for-everybody",
        "what a store writes can be read by all users",
        &["env::dir::tests::a_file_is_created_for_its_owner_alone_and_only_where_nothing_is"],
    ),
    mutant(
        "R5",
        "replaced-in-place",
        "the manifest is written over itself: a crash leaves half of it",
        &["env::dir::tests::what_replaces_a_file_stands_whole_beside_it_until_it_takes_its_name"],
    ),
    mutant(
        "R5",
        "replacement-unsynced",
        "a manifest takes its name before its bytes are durable",
        &[
            "store::crashes::survival::names_that_a_dead_process_left_in_memory_are_durable_before_anything_is_built_on_them",
        ],
    ),
    mutant(
        "R5",
        "replacement-name-unsynced",
        "old files go before the name of the manifest that names them no more is durable",
        &[
            "store::crashes::survival::names_that_a_dead_process_left_in_memory_are_durable_before_anything_is_built_on_them",
        ],
    ),
    mutant(
        "R5",
        "names-believed-unsynced",
        "an opening builds on names that a dead process left in memory",
        &[
            "store::crashes::survival::names_that_a_dead_process_left_in_memory_are_durable_before_anything_is_built_on_them",
        ],
    ),
    mutant(
        "R5",
        "deleted-before-the-manifest",
        "segments of which nothing is needed any more go before the manifest says so",
        &[
            "store::crashes::survival::segments_of_which_nothing_is_needed_go_only_after_the_manifest_names_them_no_more",
        ],
    ),
    mutant(
        "R5",
        "replaced-before-the-manifest",
        "segments go before the manifest names the one that was written anew of them",
        &[
            "store::crashes::survival::names_that_a_dead_process_left_in_memory_are_durable_before_anything_is_built_on_them",
        ],
    ),
    mutant(
        "R5",
        "rewritten-unsynced",
        "the manifest names a file whose bytes are not durable",
        &[
            "store::crashes::survival::names_that_a_dead_process_left_in_memory_are_durable_before_anything_is_built_on_them",
        ],
    ),
    mutant(
        "R5",
        "rewritten-name-unsynced",
        "the manifest names a file whose name is not durable",
        &[
            "store::crashes::survival::names_that_a_dead_process_left_in_memory_are_durable_before_anything_is_built_on_them",
        ],
    ),
    mutant(
        "R5",
        "dropped-file-accepted",
        "a file that was dropped and is back after a crash counts as part of the log",
        &["log::manifest::tests::what_is_left_of_segments_follows_in_their_place_and_can_go_in_its_turn"],
    ),
    mutant(
        "R5",
        "older-generation-accepted",
        "a file that was replaced and is back after a crash counts as part of the log",
        &["log::manifest::tests::what_is_left_of_segments_follows_in_their_place_and_can_go_in_its_turn"],
    ),
    mutant(
        "R5",
        "emptied-store-opened",
        "a store whose segments are gone opens as an empty one",
        &["store::refusals::a_store_without_its_segments_is_not_opened_as_an_empty_one"],
    ),
    mutant(
        "R5",
        "lost-manifest-made-anew",
        "a store whose manifest is gone is created anew over what is there",
        &["store::refusals::a_store_without_its_manifest_is_not_created_anew"],
    ),
    mutant(
        "R6",
        "ending-dropped-before-its-event",
        "compaction drops what ended an event while its reception is still on the disk",
        &["store::oracle::trial::a_store_does_what_the_rules_say"],
    ),
    mutant(
        "R6",
        "segment-deleted-before-its-events",
        "a segment is deleted though what it ended would come back",
        &["state::stories::compaction_never_brings_a_finished_event_back"],
    ),
    mutant(
        "R6",
        "end-of-runs-deleted",
        "a segment is deleted though it alone says that runs ended",
        &["state::segments::tests::an_end_of_runs_is_needed_while_what_ran_is_known_wherever_it_lies"],
    ),
    mutant(
        "R6",
        "horizon-not-awaited",
        "compaction acts on a horizon that a crash may take back",
        &["store::crashes::poison::a_failed_rename_or_sync_of_the_directory_poisons_and_opening_is_sound"],
    ),
    mutant(
        "R6",
        "compacted-before-the-next-is-durable",
        "a segment goes before the one that says anew what it held is durable",
        &["store::standing::tests::a_segment_is_not_touched_before_the_state_after_it_is_durable"],
    ),
    mutant(
        "R6",
        "generations-mixed",
        "a reader takes the files of one generation by the manifest of another",
        &["log::survey::tests::a_reader_whose_files_compaction_replaces_under_it_looks_again"],
    ),
];
