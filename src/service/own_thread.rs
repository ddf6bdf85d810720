//! A thread of its own for what many short requests go through.
//!
//! On a runtime of several threads a request wanders between them, and each wake-up may begin with waking a thread. On one thread
//! whatever is ready is simply next.

use std::future::Future;
use std::panic::resume_unwind;

use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind};

/// Runs what `work` makes on a thread called `name`, with a runtime of its own, and gives what it gives. Dropping the future ends the
/// work, as it would end work that it did by itself.
///
/// # Errors
/// [`ErrorKind::Io`] if there can be no such thread.
pub(super) async fn run<F>(name: &str, work: impl FnOnce() -> F + Send + 'static) -> Result<F::Output, Error>
where
    F: Future<Output: Send>,
    F::Output: 'static,
{
    let failed = |source| Error::new(ErrorKind::Io, format!("cannot start the thread {name}")).caused_by(source);
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    // Both ends are noticed at the other when they are dropped.
    let (_wanted, unwanted) = oneshot::channel::<()>();
    let (give, given) = oneshot::channel();
    let life = move || {
        let output = runtime.block_on(async {
            tokio::select! {
                output = work() => Some(output),
                _ = unwanted => None,
            }
        });
        // Tasks that are left end before anybody is told that the work has.
        drop(runtime);
        if let Some(output) = output {
            // Whoever has gone needs nothing.
            let _ = give.send(output);
        }
    };
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(life).map_err(failed)?;
    match given.await {
        Ok(output) => Ok(output),
        // It has panicked; so do we.
        Err(_) => match thread.join() {
            Err(panic) => resume_unwind(panic),
            Ok(()) => Err(Error::new(ErrorKind::Io, format!("the thread {name} has ended"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn work_is_done_on_a_thread_of_that_name_and_its_value_comes_back() {
        let name = || std::thread::current().name().map(str::to_owned);
        let given = run("a-thread", move || async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            name()
        });
        assert_eq!(given.await.unwrap().as_deref(), Some("a-thread"));
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_is_dropped() {
        struct Held(Option<oneshot::Sender<()>>);
        impl Drop for Held {
            fn drop(&mut self) {
                let _ = self.0.take().unwrap().send(());
            }
        }
        let ((start, begun), (dropped, was_dropped)) = (oneshot::channel(), oneshot::channel());
        let work = run("a-thread", move || async move {
            let _held = Held(Some(dropped));
            let _ = start.send(());
            std::future::pending::<()>().await;
        });
        tokio::select! {
            _ = work => {}
            _ = begun => {}
        }
        was_dropped.await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_of_the_work_is_one_of_whoever_waits() {
        let waiting = tokio::spawn(run("a-thread", || async { panic!("a mistake") }));
        assert!(waiting.await.unwrap_err().is_panic());
    }
}
