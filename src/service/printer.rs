//! The handler of a service without a configuration of its own: every event as one line of JSON.
//!
//! ```text
//! run ─► waiting │ event, whom to tell │ … │ ─► one thread, while there are any ─► output
//!  ▲                                                   │
//!  └──────────── told once its line is flushed ────────┘
//! ```
//!
//! However many runs wait for a reader that pauses, they keep one thread. And to hand each line to a thread of its own would cost more
//! than to write it: whoever writes goes on with what has come meanwhile.

use std::io::{self, Write};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::printable::json_line;
use super::recurrence::Recurrence;
use crate::env::Clock;
use crate::event::{Event, Outcome};

/// Wait before an event is tried again that could not be printed because the output's disk is full.
const FULL: Duration = Duration::from_secs(1);

/// Wait before an output is tried again that does not block and takes nothing now.
const PAUSE: Duration = Duration::from_millis(10);

/// One line takes no longer where somebody reads, and whoever found no room tries again sooner.
const STALLED: Duration = Duration::from_secs(10);

/// What [`Printer::concern`] says where there is no room.
const NO_ROOM: &str = "standard output takes nothing: its disk is full, or its file may not grow";

/// While no more than this wait, there is no need to look for those whose runs have given up.
const FEW: usize = 64;

#[derive(Debug, thiserror::Error)]
#[error("no thread can be started to write them")]
struct NoThread;

/// Where lines go.
struct Output {
    to: Box<dyn Write + Send>,
    /// Whether it may end in the fragment of a line: writing one has begun and did not come to its end.
    is_torn: bool,
}

/// An event that waits for the output, and its run, unless that has given up.
struct Waiting {
    event: Event,
    run: oneshot::Sender<io::Result<()>>,
}

struct Desk {
    waiting: Vec<Waiting>,
    /// Once this many wait, those whose runs have given up are dropped: while a reader pauses for long, the same events are tried and given
    /// up again and again.
    crowded_at: usize,
    /// None while a thread writes.
    output: Option<Output>,
    /// Whether one was told to and has not begun yet.
    is_called: bool,
    /// When it has begun with the line that it is at, in running time.
    writing_since: Option<Duration>,
    /// When the last line that was tried found no room; none: it found some.
    no_room_at: Option<Duration>,
}

/// Writes events to an output. A line is flushed before its event is done; if it cannot be written the event is kept: it is retried,
/// and where the reader pauses or has gone away, or the output's disk is full, that counts as no failure.
pub(super) struct Printer {
    desk: Arc<Mutex<Desk>>,
    /// How long one event waits for the output. It must end before the handler's timeout, which would count as a failure.
    patience: Duration,
    closed: watch::Sender<bool>,
    clock: Clock,
    /// That events were given back because nobody reads.
    stalls: Recurrence,
    /// That there was no room for one.
    shortages: Recurrence,
    /// That there was no thread to write one.
    missing_threads: Recurrence,
}

impl Printer {
    /// Prints to `output`; each run may take `handler_timeout`.
    pub(super) fn new(output: Box<dyn Write + Send>, handler_timeout: Duration, clock: Clock) -> Arc<Self> {
        let output = Some(Output { to: output, is_torn: false });
        let desk = Desk {
            waiting: Vec::new(),
            crowded_at: FEW,
            output,
            is_called: false,
            writing_since: None,
            no_room_at: None,
        };
        Arc::new(Self {
            desk: Arc::new(Mutex::new(desk)),
            patience: handler_timeout / 2,
            closed: watch::Sender::new(false),
            clock,
            stalls: Recurrence::default(),
            shortages: Recurrence::default(),
            missing_threads: Recurrence::default(),
        })
    }

    /// What is wrong with the output: an operator sees no event, and no error but now and then in the log.
    pub(super) fn concern(&self) -> Option<String> {
        let lacks_room = || look(&self.desk).lacks_room(self.clock.steady());
        self.stall().or_else(|| lacks_room().then(|| NO_ROOM.to_owned()))
    }

    fn stall(&self) -> Option<String> {
        let stalled = look(&self.desk).is_stalled(self.clock.steady());
        stalled.then(|| "standard output takes nothing: whoever reads it has stopped".to_owned())
    }

    /// Resolves once nobody reads the output any more.
    pub(super) async fn closed(&self) {
        let mut closed = self.closed.subscribe();
        // The sender lives as long as this borrow, so waiting cannot fail.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    /// Prints one event.
    pub(super) async fn print(self: Arc<Self>, event: Event) -> Outcome {
        match tokio::time::timeout(self.patience, self.written_once_there_is_room(event)).await {
            Ok(Ok(())) => Outcome::Done,
            Ok(Err(error)) if has_gone(error.kind()) => {
                self.closed.send_replace(true);
                Outcome::Release
            }
            Ok(Err(error)) if error.get_ref().and_then(|cause| cause.downcast_ref::<NoThread>()).is_some() => {
                if self.missing_threads.count(self.clock.steady()).is_some() {
                    tracing::warn!("events cannot be printed, and wait: {error}");
                }
                Outcome::Release
            }
            Ok(Err(error)) => Outcome::Retry(format!("cannot print the event: {error}")),
            Err(_) => {
                self.tell_stall();
                Outcome::Release
            }
        }
    }

    /// Tells that nobody reads, if it is time to.
    fn tell_stall(&self) {
        if let Some(why) = self.stall()
            && self.stalls.count(self.clock.steady()).is_some()
        {
            tracing::warn!("events cannot be printed, and wait: {why}");
        }
    }

    async fn written_once_there_is_room(&self, event: Event) -> io::Result<()> {
        loop {
            let written = self.written(event.clone()).await;
            let full = written.as_ref().err().filter(|error| is_full(error.kind()));
            look(&self.desk).no_room_at = full.map(|_| self.clock.steady());
            let Some(error) = full else { return written };
            if self.shortages.count(self.clock.steady()).is_some() {
                tracing::warn!(%error, "events cannot be printed: they wait until there is room");
            }
            tokio::time::sleep(FULL).await;
        }
    }

    async fn written(&self, event: Event) -> io::Result<()> {
        self.begin(event).await.map_err(io::Error::other)?
    }

    /// Has the event wait for whoever writes, or for a thread that begins to.
    fn begin(&self, event: Event) -> oneshot::Receiver<io::Result<()>> {
        let (run, told) = oneshot::channel();
        let mut desk = look(&self.desk);
        if desk.output.is_some() && !desk.is_called {
            let (called, clock) = (Arc::clone(&self.desk), self.clock.clone());
            // Tokio panics where no thread can be started, and may run what it was given later all the same.
            let call = || tokio::task::spawn_blocking(move || write_all(&called, &clock));
            desk.is_called = catch_unwind(AssertUnwindSafe(call)).is_ok();
            if !desk.is_called {
                // Whoever has given up need not be told.
                let _ = run.send(Err(io::Error::other(NoThread)));
                return told;
            }
        }
        desk.admit(Waiting { event, run });
        told
    }
}

impl Desk {
    fn admit(&mut self, newcomer: Waiting) {
        if self.waiting.len() >= self.crowded_at {
            self.waiting.retain(|waiting| !waiting.run.is_closed());
            self.crowded_at = FEW.max(2 * self.waiting.len());
        }
        self.waiting.push(newcomer);
    }

    /// Whether events wait for room. Where none does any more, as when they were called off, nobody can tell whether there would be some.
    fn lacks_room(&self, now: Duration) -> bool {
        self.no_room_at.is_some_and(|at| now < at + STALLED)
    }

    fn is_stalled(&self, now: Duration) -> bool {
        self.writing_since.is_some_and(|since| now >= since + STALLED)
    }
}

fn look(desk: &Mutex<Desk>) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes what waits until nothing does, and puts the output back under the same look: whoever finds it gone is seen by the one who
/// has it.
fn write_all(desk: &Mutex<Desk>, clock: &Clock) {
    let begun = {
        let mut desk = look(desk);
        desk.is_called = false;
        desk.output.take()
    };
    let Some(mut output) = begun else { return };
    loop {
        let waiting = {
            let mut desk = look(desk);
            if desk.waiting.is_empty() {
                (desk.output, desk.writing_since) = (Some(output), None);
                return;
            }
            mem::take(&mut desk.waiting)
        };
        for Waiting { event, run } in waiting {
            // Whoever has given up comes again.
            if !run.is_closed() {
                look(desk).writing_since = Some(clock.steady());
                let written = catch_unwind(AssertUnwindSafe(|| write(&mut output, &event)));
                let _ = run.send(written.unwrap_or_else(|_| Err(io::Error::other("the output panicked"))));
            }
        }
    }
}

/// Whether nobody reads any more, at the other end of a pipe or a connection.
fn has_gone(error: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    matches!(error, BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected)
}

/// Whether there may be room later.
fn is_full(error: io::ErrorKind) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error, FileTooLarge | QuotaExceeded | StorageFull)
}

fn write(output: &mut Output, event: &Event) -> io::Result<()> {
    let mut line = json_line(event).map_err(io::Error::other)?;
    line.push('\n');
    output.line(&line)
}

impl Output {
    /// Writes a line, all of it or with an error. After an error the fragment is ended first, or whoever reads lines would find this one
    /// behind it and understand neither.
    fn line(&mut self, line: &str) -> io::Result<()> {
        if self.is_torn {
            self.whole("\n")?;
        }
        self.is_torn = true;
        self.whole(line)?;
        self.is_torn = false;
        Ok(())
    }

    fn whole(&mut self, text: &str) -> io::Result<()> {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let taken = patiently(|| self.to.write(rest))?;
            rest = rest.get(taken..).filter(|_| taken > 0).ok_or(io::ErrorKind::WriteZero)?;
        }
        patiently(|| self.to.flush())
    }
}

/// Repeats `call` until it does not ask to come again. The output stays ours meanwhile, as with a reader that pauses, so that no other
/// line comes between the parts of this one.
fn patiently<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::event::{EventParts, Status, Timestamp};
    use crate::service::told::Told;

    fn event(id: &str) -> Event {
        Event::new(EventParts {
            seq: 1,
            id: id.to_owned(),
            event_type: "Issue".to_owned(),
            action: None,
            source: "test".to_owned(),
            key: None,
            headers: Vec::new(),
            stale: false,
            data: "null".to_owned(),
            timestamp: Timestamp::from_unix_micros(0),
            status: Status::Processing,
            retry_count: 0,
            max_retries: 3,
            last_attempt: None,
            error_message: None,
            priority: 0,
            not_before: None,
            waiting: None,
        })
    }

    #[test]
    fn where_no_thread_can_be_started_the_output_stays_for_whoever_comes_later() {
        let printer = printer(Box::new(io::sink()), Duration::from_secs(10));
        // Without a runtime there is none either.
        let refused = printer.begin(event("a")).try_recv().unwrap().unwrap_err();
        assert!(refused.get_ref().unwrap().is::<NoThread>());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        assert_eq!(runtime.block_on(printer.print(event("a"))), Outcome::Done);
    }

    fn printer(output: Box<dyn Write + Send>, handler_timeout: Duration) -> Arc<Printer> {
        Printer::new(output, handler_timeout, Clock::system())
    }

    /// Takes a line only once it is told to, and then tells that it has.
    struct Paused {
        go_on: mpsc::Receiver<()>,
        written: mpsc::Sender<()>,
    }

    impl Write for Paused {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.go_on.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.written.send(()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn while_the_reader_pauses_no_event_fails_and_only_one_takes_a_thread() {
        let ((go_on, wait), (written, done)) = (mpsc::channel(), mpsc::channel());
        let paused = Paused { go_on: wait, written };
        let printer = printer(Box::new(paused), Duration::from_millis(40));
        let waiting = ["first", "second", "third"].map(|id| tokio::spawn(Arc::clone(&printer).print(event(id))));
        for run in waiting {
            assert_eq!(run.await.unwrap(), Outcome::Release);
        }
        go_on.send(()).unwrap();
        done.recv().unwrap();
        let patient = Printer {
            desk: Arc::clone(&printer.desk),
            patience: Duration::MAX,
            closed: watch::Sender::default(),
            clock: Clock::system(),
            stalls: Recurrence::default(),
            shortages: Recurrence::default(),
            missing_threads: Recurrence::default(),
        };
        go_on.send(()).unwrap();
        assert_eq!(Arc::new(patient).print(event("second")).await, Outcome::Done);
        assert_eq!(done.try_iter().count(), 1, "those that were given back wrote nothing");
    }

    #[tokio::test]
    async fn a_reader_that_has_stopped_is_told_and_is_a_reason_until_it_goes_on() {
        let ((go_on, wait), (written, done)) = (mpsc::channel(), mpsc::channel());
        let clock = Clock::manual(std::time::SystemTime::UNIX_EPOCH);
        let paused = Box::new(Paused { go_on: wait, written });
        let printer = Printer::new(paused, Duration::from_millis(20), clock.clone());
        let (told, _guard) = Told::here();
        // Until it has begun to write.
        while look(&printer.desk).writing_since.is_none() {
            assert_eq!(Arc::clone(&printer).print(event("first")).await, Outcome::Release);
        }
        assert_eq!((printer.concern(), told.take()), (None, vec![]), "it may just be slow");
        clock.advance(STALLED);
        let why = "standard output takes nothing: whoever reads it has stopped";
        assert_eq!(printer.concern().as_deref(), Some(why));
        for _ in 0..2 {
            for _ in 0..3 {
                assert_eq!(Arc::clone(&printer).print(event("second")).await, Outcome::Release);
            }
            assert_eq!(told.take(), [format!("WARN events cannot be printed, and wait: {why}")]);
            clock.advance(Duration::from_mins(1));
        }
        go_on.send(()).unwrap();
        done.recv().unwrap();
        while look(&printer.desk).writing_since.is_some() {
            tokio::time::sleep(PAUSE).await;
        }
        assert_eq!(printer.concern(), None);
    }

    #[tokio::test]
    async fn while_the_reader_pauses_those_that_have_given_up_are_let_go() {
        let ((_go_on, wait), (written, _done)) = (mpsc::channel(), mpsc::channel());
        let paused = Paused { go_on: wait, written };
        let printer = printer(Box::new(paused), Duration::from_micros(2));
        for _ in 0..10 * FEW {
            assert_eq!(Arc::clone(&printer).print(event("a")).await, Outcome::Release);
        }
        assert!(look(&printer.desk).waiting.len() <= FEW);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_written_is_retried_unless_the_reader_has_gone() {
        let failing = |kind| printer(Box::new(Failing(kind)), Duration::from_mins(1));
        let outcome = failing(io::ErrorKind::PermissionDenied).print(event("a")).await;
        assert!(matches!(outcome, Outcome::Retry(why) if why.starts_with("cannot print the event: ")));
        assert_eq!(failing(io::ErrorKind::StorageFull).print(event("a")).await, Outcome::Release);
        let printer = failing(io::ErrorKind::BrokenPipe);
        assert_eq!(Arc::clone(&printer).print(event("a")).await, Outcome::Release);
        printer.closed().await;
    }

    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Panics when it is first written to.
    struct Panicking(bool);

    impl Write for Panicking {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            assert!(mem::replace(&mut self.0, true), "it is a test of that");
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn an_output_that_panics_is_written_to_again() {
        let printer = printer(Box::new(Panicking(false)), Duration::from_mins(1));
        assert!(matches!(Arc::clone(&printer).print(event("a")).await, Outcome::Retry(_)));
        assert_eq!(printer.print(event("a")).await, Outcome::Done);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_event_of_many_is_written_and_its_run_told() {
        let disk = Disk::default();
        disk.0.lock().unwrap().1 = usize::MAX;
        let printer = printer(Box::new(disk.clone()), Duration::from_mins(1));
        let ids: Vec<_> = (0..1_000).map(|number| number.to_string()).collect();
        let runs: Vec<_> = ids.iter().map(|id| tokio::spawn(Arc::clone(&printer).print(event(id)))).collect();
        for run in runs {
            assert_eq!(run.await.unwrap(), Outcome::Done);
        }
        let text = String::from_utf8(disk.0.lock().unwrap().0.clone()).unwrap();
        let mut expected: Vec<_> = ids.iter().map(|id| json_line(&event(id)).unwrap()).collect();
        let mut lines: Vec<_> = text.lines().collect();
        expected.sort_unstable();
        lines.sort_unstable();
        assert_eq!(lines, expected);
    }

    /// Takes what there is room for; whoever shares the room may make more.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (taken, room) = &mut *self.0.lock().unwrap();
            let fits = bytes.len().min(*room - taken.len());
            taken.extend_from_slice(&bytes[..fits]);
            if fits == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(fits) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_disk_is_told_once_a_minute_and_is_a_reason_until_there_is_room() {
        let clock = Clock::manual(std::time::SystemTime::UNIX_EPOCH);
        let disk = Disk::default();
        let printer = Printer::new(Box::new(disk.clone()), 10 * FULL, clock.clone());
        let (told, _guard) = Told::here();
        assert_eq!(printer.concern(), None);
        for _ in 0..2 {
            for _ in 0..3 {
                assert_eq!(Arc::clone(&printer).print(event("a")).await, Outcome::Release);
            }
            assert_eq!(printer.concern().as_deref(), Some(NO_ROOM));
            let told = told.take();
            assert!(told.len() == 1 && told[0].contains("wait until there is room"), "{told:?}");
            clock.advance(Duration::from_mins(1));
            assert_eq!(printer.concern(), None, "nothing has tried for long, so nothing waits any more");
        }
        disk.0.lock().unwrap().1 = usize::MAX;
        assert_eq!(Arc::clone(&printer).print(event("a")).await, Outcome::Done);
        assert_eq!((printer.concern(), told.take()), (None, vec![]));
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_fragment_of_a_line_the_next_one_stands_for_itself() {
        let whole = json_line(&event("a")).unwrap();
        // However much of the line had room before the disk was full, its end among it.
        for room in 1..=whole.len() {
            let disk = Disk::default();
            disk.0.lock().unwrap().1 = room;
            let printer = printer(Box::new(disk.clone()), FULL);
            for _ in 0..2 {
                assert_eq!(Arc::clone(&printer).print(event("a")).await, Outcome::Release, "room for {room}");
            }
            disk.0.lock().unwrap().1 = usize::MAX;
            for _ in 0..2 {
                assert_eq!(Arc::clone(&printer).print(event("a")).await, Outcome::Done);
            }
            let text = String::from_utf8(disk.0.lock().unwrap().0.clone()).unwrap();
            let expected = format!("{}\n{whole}\n{whole}\n", &whole[..room]);
            assert_eq!(text, expected, "room for {room}");
        }
    }
}
