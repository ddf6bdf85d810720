//! Who decides which thread goes on: the same scenes under each of them.

use super::scenes;
use crate::env::simulated::{Call, Kind};

/// Loom tries every order in which threads are preempted no more often than this.
#[cfg(loom)]
const PREEMPTIONS_MAX: usize = 3;

/// So many orders by chance, and as many in which threads have priorities that change a few times.
#[cfg(shuttle)]
const ORDERS: usize = 1_000;

/// The machine decides so often.
#[cfg(not(any(loom, shuttle)))]
const ROUNDS: usize = 10;

#[cfg(loom)]
fn run(name: &str, scene: impl Fn() + Send + Sync + 'static) {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    let orders = Arc::new(AtomicU64::new(0));
    let mut model = loom::model::Builder::new();
    model.preemption_bound.get_or_insert(PREEMPTIONS_MAX);
    // A thread may come to this many points at which another could go on; the longest scene needs a tenth.
    model.max_branches = 100_000;
    let counted = Arc::clone(&orders);
    model.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        scene();
    });
    println!("{name}: {} orders", orders.load(Ordering::Relaxed));
}

#[cfg(shuttle)]
fn run(name: &str, scene: impl Fn() + Send + Sync + 'static) {
    use shuttle::scheduler::{PctScheduler, RandomScheduler};
    let scene = std::sync::Arc::new(scene);
    // The store's steps need more than the little that is the default.
    let mut config = shuttle::Config::new();
    config.stack_size = 256 * 1024;
    let again = std::sync::Arc::clone(&scene);
    shuttle::Runner::new(RandomScheduler::new(ORDERS), config.clone()).run(move || again());
    shuttle::Runner::new(PctScheduler::new(4, ORDERS), config).run(move || scene());
    println!("{name}: {ORDERS} orders by chance, and as many by priorities");
}

#[cfg(not(any(loom, shuttle)))]
fn run(_: &str, scene: impl Fn() + Send + Sync + 'static) {
    (0..ROUNDS).for_each(|_| scene());
}

/// So many where every order is tried, otherwise as many as there may be.
const fn few_or(few: usize, many: usize) -> usize {
    if cfg!(loom) { few } else { many }
}

#[test]
fn two_threads_commit_for_one_another() {
    // R1.
    run("two threads", || scenes::threads_commit_for_one_another(2, 1));
}

#[test]
fn more_threads_commit_for_one_another() {
    // R1.
    run("more threads", || scenes::threads_commit_for_one_another(few_or(3, 5), few_or(1, 3)));
}

#[test]
fn duplicates_wait_for_what_another_has_staged() {
    run("duplicates", || scenes::duplicates_wait_for_what_another_has_staged(few_or(3, 4)));
}

#[test]
fn after_a_failed_sync_nobody_waits() {
    // R2.
    run("a failed sync", || scenes::after_poison_nobody_waits(few_or(3, 4), Kind::Sync, 0));
}

#[test]
fn after_a_failed_write_nobody_waits() {
    // R2.
    run("a failed write", || scenes::after_poison_nobody_waits(few_or(3, 4), Kind::Write, 1));
}

#[test]
fn after_a_panic_at_the_disk_nobody_waits() {
    // R2.
    run("a panic at a sync", || scenes::after_a_panic_nobody_waits(few_or(3, 4), |call| call == Call::Sync));
    run("a panic at a write", || scenes::after_a_panic_nobody_waits(few_or(2, 4), |call| call != Call::Sync));
}

#[test]
fn what_is_written_beside_a_sync_waits_for_the_next() {
    // R1, R16.
    run("beside a sync", || scenes::what_is_written_beside_a_sync_waits_for_the_next(few_or(3, 4)));
}

#[test]
fn closing_leaves_nobody_without_an_answer() {
    run("closing", || scenes::closing_leaves_nobody_without_an_answer(few_or(1, 3)));
}

#[test]
fn whoever_follows_learns_what_becomes_durable() {
    run("following", || scenes::whoever_follows_learns_what_becomes_durable(few_or(2, 3)));
}

#[test]
fn whoever_waits_to_claim_is_called() {
    run("claiming", || scenes::whoever_waits_to_claim_is_called(few_or(2, 3), false));
    run("claiming one after another", || scenes::whoever_waits_to_claim_is_called(few_or(2, 3), true));
}

#[test]
#[cfg_attr(loom, ignore = "nobody lives to see every order of it")]
fn segments_follow_one_another() {
    // R1, R9.
    run("segments", || scenes::segments_follow_one_another(3, 4, false));
    run("segments that are prepared", || scenes::segments_follow_one_another(3, 4, true));
}

#[cfg(feature = "manager")]
mod with_tasks {
    use super::super::tasks;
    use super::{few_or, run};

    #[test]
    fn a_task_is_served_by_the_keeper() {
        run("a task", || tasks::tasks_are_served_by_the_keeper(1, 0));
    }

    #[test]
    fn tasks_and_threads_are_served_beside_one_another() {
        run("tasks and threads", || tasks::tasks_are_served_by_the_keeper(few_or(1, 3), few_or(1, 2)));
    }

    #[test]
    fn tasks_of_a_thread_wake_one_another() {
        run("a lane", || tasks::tasks_of_a_thread_wake_one_another(false));
    }

    #[test]
    fn tasks_are_woken_though_the_one_before_them_is_gone() {
        run("a lane without its first", || tasks::tasks_of_a_thread_wake_one_another(true));
    }

    #[test]
    fn a_close_leaves_no_task_of_a_thread_asleep() {
        run("a lane at the close", tasks::a_close_leaves_no_task_of_a_thread_asleep);
    }

    #[test]
    fn runs_begin_once_their_records_are_written() {
        // R16.
        run("what begins runs", || tasks::runs_begin_once_their_records_are_written(few_or(1, 2), few_or(1, 2)));
    }

    #[test]
    fn a_task_that_follows_is_woken() {
        run("a task that follows", || tasks::a_task_that_follows_is_woken(few_or(2, 3)));
    }

    #[test]
    #[cfg_attr(loom, ignore = "nobody lives to see every order of it")]
    fn tasks_go_on_across_segments() {
        run("tasks across segments", || tasks::tasks_go_on_across_segments(2, 1, 4, false));
        run("tasks across segments that are prepared", || tasks::tasks_go_on_across_segments(2, 1, 4, true));
    }
}
