//! What tasks do, which must not block: a keeper leads for them.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::scenes::{SEGMENT_BYTES, all};
use super::stage::Stage;
use crate::store::desk::Level;
use crate::store::stories::receive;
use crate::sync::{Condvar, Mutex, thread};

/// Tasks, each on a thread of its own, beside threads, and a keeper that leads for the tasks.
pub(super) fn tasks_are_served_by_the_keeper(tasks: usize, threads: usize) {
    let stage = Stage::new(SEGMENT_BYTES, &[]);
    let (keeper, caller) = (stage.keeper(), stage.caller());
    let told = all(tasks + threads, move |number| {
        let id = number.to_string();
        vec![if number < tasks { block_on(caller.append_async(&id, 10)) } else { caller.append(&id, 10) }]
    });
    assert!(told.iter().all(|told| told.receipt.is_ok()));
    stage.end([keeper]);
    stage.check(&told);
}

/// Two tasks of one thread: the keeper wakes one of them, and that one the other; or, where it is gone by then (`is_left`), the keeper
/// does before it rests.
pub(super) fn tasks_of_a_thread_wake_one_another(is_left: bool) {
    let stage = Stage::new(SEGMENT_BYTES, &[]);
    let (keeper, caller) = (stage.keeper(), stage.caller());
    let mut told = Vec::new();
    let mut waiting = Vec::new();
    for id in ["a", "b"] {
        let alarm = Arc::<Alarm>::default();
        let waker = Waker::from(Arc::clone(&alarm));
        let mut task = Box::pin(caller.append_async(id, 10));
        match task.as_mut().poll(&mut Context::from_waker(&waker)) {
            // The keeper was faster.
            Poll::Ready(done) => told.push(done),
            Poll::Pending => waiting.push((task, alarm, waker)),
        }
    }
    if is_left && waiting.len() == 2 {
        drop(waiting.swap_remove(0));
    }
    told.extend(waiting.into_iter().map(|(task, alarm, waker)| finish(task, &alarm, &waker)));
    assert!(told.iter().all(|told| told.receipt.is_ok()));
    stage.end([keeper]);
    stage.check(&told);
}

/// Two tasks of one thread, of which the first is gone before it can wake the other, while another thread closes the store: it may have
/// told the keeper to end before that one has woken anybody.
pub(super) fn a_close_leaves_no_task_of_a_thread_asleep() {
    let stage = Stage::new(SEGMENT_BYTES, &[]);
    let (keeper, caller, shared) = (stage.keeper(), stage.caller(), Arc::clone(&stage.shared));
    let mut waiting: Vec<_> = ["a", "b"]
        .into_iter()
        .map(|id| {
            let alarm = Arc::<Alarm>::default();
            let waker = Waker::from(Arc::clone(&alarm));
            let mut task = Box::pin(caller.append_async(id, 10));
            let done = task.as_mut().poll(&mut Context::from_waker(&waker));
            (task, alarm, waker, done)
        })
        .collect();
    let closing = thread::spawn(move || {
        shared.close_log().unwrap();
        shared.stop();
    });
    let (second, alarm, waker, done) = waiting.pop().unwrap();
    drop(waiting);
    let told = match done {
        Poll::Ready(told) => told,
        Poll::Pending => finish(second, &alarm, &waker),
    };
    assert!(told.receipt.is_ok());
    closing.join().unwrap();
    stage.end([keeper]);
    stage.check(&[told]);
}

/// What begins runs is written by whoever waits for it, tasks and threads, beside one another and beside the keeper's syncs.
pub(super) fn runs_begin_once_their_records_are_written(tasks: usize, threads: usize) {
    let stage = Stage::new(SEGMENT_BYTES, &[]);
    let (keeper, caller, shared) = (stage.keeper(), stage.caller(), Arc::clone(&stage.shared));
    let told = all(tasks + threads, move |number| {
        let seq = receive(&shared, &number.to_string(), 10).unwrap();
        let written = if number < tasks { block_on(shared.written(seq)) } else { shared.wait_written(seq) };
        written.unwrap();
        vec![caller.told_of(seq, Level::Written)]
    });
    stage.end([keeper]);
    stage.check(&told);
}

/// Polls a task whenever it is woken, until it is done.
fn finish<T>(mut task: Pin<Box<impl Future<Output = T>>>, alarm: &Alarm, waker: &Waker) -> T {
    loop {
        alarm.wait();
        if let Poll::Ready(value) = task.as_mut().poll(&mut Context::from_waker(waker)) {
            return value;
        }
    }
}

/// A task follows the log while a thread writes to it, and is woken by the first record that comes.
pub(super) fn a_task_that_follows_is_woken(threads: usize) {
    let stage = Stage::new(SEGMENT_BYTES, &[]);
    let (caller, shared) = (stage.caller(), Arc::clone(&stage.shared));
    let told = all(threads + 1, move |number| {
        if number > 0 {
            return vec![caller.append(&number.to_string(), 10)];
        }
        // The first two records are what every segment begins with.
        caller.shown(3, block_on(shared.follow_async(3)).unwrap())
    });
    stage.check(&told);
}

/// Segments that are full after a few events: tasks wait for the next, which somebody else makes.
pub(super) fn tasks_go_on_across_segments(tasks: usize, threads: usize, events: usize, has_preparer: bool) {
    let stage = Stage::new(SEGMENT_BYTES, &[]);
    let (keeper, caller, shared) = (stage.keeper(), stage.caller(), Arc::clone(&stage.shared));
    let preparer = has_preparer.then(|| thread::spawn(move || shared.prepare()));
    let told = all(tasks + threads, move |number| {
        let append = |event| {
            let id = format!("{number}-{event}");
            if number < tasks { block_on(caller.append_async(&id, 10_000)) } else { caller.append(&id, 10_000) }
        };
        (0..events).map(append).collect()
    });
    assert!(told.iter().all(|told| told.receipt.is_ok()));
    stage.end(std::iter::once(keeper).chain(preparer));
    stage.check(&told);
}

/// What wakes a thread that runs tasks.
#[derive(Default)]
struct Alarm {
    rung: Mutex<bool>,
    bell: Condvar,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        *self.rung.lock().unwrap() = true;
        self.bell.notify_one();
    }
}

impl Alarm {
    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !std::mem::take(&mut *rung) {
            rung = self.bell.wait(rung).unwrap();
        }
    }
}

/// Runs a task on this thread.
fn block_on<T>(task: impl Future<Output = T>) -> T {
    let alarm = Arc::<Alarm>::default();
    let waker = Waker::from(Arc::clone(&alarm));
    let mut task = pin!(task);
    loop {
        if let Poll::Ready(value) = task.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        alarm.wait();
    }
}
