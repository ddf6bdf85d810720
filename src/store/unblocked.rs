//! The same store for callers that must not block: what the queue's engine calls.

use std::task::Poll;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::event::{Moment, NewEvent, Outcome, Scope, Timestamp};
use crate::state::Handled;
use crate::store::answers::{Claim, Receipt};
use crate::store::core::{Core, Refused};
use crate::store::crash_point::CrashPoint;
use crate::store::desk::Level;
use crate::store::fate::Decision;
#[cfg(feature = "service")]
use crate::store::fate::Judged;
use crate::store::handle::Store;
use crate::store::reception::Single;

/// How the run of a claim has ended.
pub(crate) struct Settling<'a> {
    pub(crate) claim: &'a Claim,
    pub(crate) outcome: &'a Outcome,
    /// How long a retry waits, if there is one; none: as long as the store's own backoff says.
    pub(crate) delay: Option<Duration>,
}

/// Lets those tasks run that are ready by now. tokio's own way to yield also looks for news of sockets first.
pub(crate) async fn give_way() {
    let mut has_waited = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Settling<'_> {
    /// An error is the answer to this one alone; a refusal is for the disk to end.
    fn settle(&self, core: &mut Core, now: Moment) -> Result<Result<(), Error>, Refused> {
        let (seq, token) = (self.claim.event.seq(), self.claim.token);
        match core.settle_after(seq, token, self.outcome, self.delay, now) {
            Ok(_) => Ok(Ok(())),
            Err(Refused::Error(error)) => {
                if error.kind() == ErrorKind::NotAllowed {
                    core.state.let_go(seq, token);
                }
                Ok(Err(error))
            }
            Err(refused) => Err(refused),
        }
    }
}

impl Store {
    /// As [`Store::append`], for callers that must not block. It is staged when first polled.
    pub(crate) async fn append_async(&self, event: Box<NewEvent>) -> Result<Receipt, Error> {
        let mut now = self.shared().now();
        let mut single = Single::new(&event, &self.givens(now))?;
        let reached = loop {
            match self
                .shared()
                .step_and_reach(now, |core, now| core.receive(&mut single, None, now), Decision::seq)
                .await?
            {
                (Decision::Done { .. }, reached) => break reached,
                (Decision::Conflict, _) => single.resolve_conflict(self.shared().hasher)?,
                (Decision::Doubt { seq }, _) => self.compare(&mut single, seq).await?,
            }
            now = self.shared().now();
        };
        drop(self.shared().pass(CrashPoint::AppendStaged));
        if let Some(reached) = reached {
            reached.await?;
        }
        Ok(self.receipt(single.into_incoming()))
    }

    /// What an append of this event would be answered with, if it is a duplicate of one that is or was there.
    #[cfg(feature = "service")]
    pub(crate) async fn known_async(&self, event: &NewEvent) -> Result<Option<Receipt>, Error> {
        let mut single = Single::new(event, &self.givens(self.shared().now()))?;
        let fate = loop {
            let judged = self.shared().desk().core.judge_single(&mut single)?;
            match judged {
                Judged::New => return Ok(None),
                Judged::Known(fate) => break fate,
                Judged::Taken => single.resolve_conflict(self.shared().hasher)?,
                Judged::Doubtful { seq } => self.compare(&mut single, seq).await?,
            }
        };
        if let Some(seq) = fate.seq() {
            self.shared().reached(seq, Level::Durable).await?;
        }
        Ok(Some(self.receipt(single.into_incoming())))
    }

    /// Compares an event with the one that has its id, once that is durable.
    async fn compare(&self, single: &mut Single<'_>, seq: u64) -> Result<(), Error> {
        self.shared().reached(seq, Level::Durable).await?;
        single.compare(self.shared());
        Ok(())
    }

    /// As [`Store::claim`], for callers that must not block. Nothing is left to claim when it finds nothing; until then others have their
    /// turn between its steps.
    pub(crate) async fn claim_async(&self, count: usize) -> Result<Vec<Claim>, Error> {
        loop {
            while self.shared().prepare_some(self.shared().now()) {
                give_way().await;
            }
            let claimed = self.shared().step_async(|core, now| core.claim(count, now)).await?;
            if let Some(last) = claimed.last() {
                self.shared().written(last.token.started).await?;
                drop(self.shared().pass(CrashPoint::Started));
                let claims = self.read_claims(claimed);
                // Where none could be read, that is settled, and others may be claimable.
                if !claims.is_empty() {
                    return Ok(claims);
                }
            } else if !self.shared().desk().core.ends_held() {
                // A claim ends some of those without a handler: it has found nothing only when none of them is left.
                break;
            }
            give_way().await;
        }
        if self.shared().dir.is_in_memory() {
            // Whoever waits for quiet is not woken by a commit when there is none.
            self.shared().wake_workers();
        }
        Ok(Vec::new())
    }

    /// As [`Store::settle`], for callers that must not block, and of several runs in one step: it never waits for the disk to sync. The
    /// answers are in the order of the runs.
    pub(crate) async fn settle_async(&self, runs: &[Settling<'_>]) -> Vec<Result<(), Error>> {
        for _ in runs {
            drop(self.shared().pass(CrashPoint::Settling));
        }
        let mut settled: Vec<Result<(), Error>> = Vec::with_capacity(runs.len());
        while settled.len() < runs.len() {
            let step = |core: &mut Core, now| {
                while let Some(run) = runs.get(settled.len()) {
                    settled.push(run.settle(core, now)?);
                }
                Ok(())
            };
            if let Err(error) = self.shared().step_async(step).await {
                settled.push(Err(error));
            }
        }
        for _ in settled.iter().filter(|run| run.is_ok()) {
            drop(self.shared().pass(CrashPoint::SettleStaged));
        }
        // Also where an outcome is of no account any more: the run has ended.
        self.shared().wake_workers();
        settled
    }

    /// As [`Store::record_handled`], for callers that must not block.
    pub(crate) async fn record_handled_async(&self, claim: &Claim, handler: &str) -> Result<(), Error> {
        self.shared().step_async(|core, now| core.record_handled(claim.event.seq(), claim.token, handler, now)).await
    }

    /// As [`Store::pause`], for callers that must not block, and that have nothing to say of a pause which lasts longer: it stays.
    pub(crate) async fn pause_async(&self, scope: Scope, until: Timestamp, reason: &str) -> Result<(), Error> {
        scope.validate()?;
        let seq = self.shared().step_async(|core, now| core.pause_at_least(&scope, until, reason, now)).await?;
        self.shared().reached(seq, Level::Durable).await?;
        self.shared().wake_workers();
        Ok(())
    }

    /// Resolves when an event may be claimed, or nothing will come any more.
    pub(crate) async fn work(&self) {
        self.shared().work().await;
    }

    /// Resolves when nothing may be claimed and nothing that was claimed is unsettled, or nothing will come any more; if nobody claims who
    /// is not asked to (`is_asked`), also when something may be claimed. Returns whether it may.
    pub(crate) async fn quiet(&self, is_asked: bool) -> bool {
        self.shared().quiet(is_asked).await
    }

    /// Makes durable whatever was taken.
    pub(crate) fn settle_down(&self) -> Result<(), Error> {
        self.shared().wait_for_all()
    }

    /// Seq of the next record.
    pub(crate) fn next_seq(&self) -> u64 {
        self.shared().desk().core.next_seq()
    }

    /// See [`Shared::clock_moved`](crate::store::commit::Shared::clock_moved).
    pub(crate) fn clock_moved(&self) {
        self.shared().clock_moved();
    }

    /// How long it takes until the earliest wait is over, if anything waits for its time.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let now = self.shared().now().steady;
        let due = self.shared().desk().tell_due()?;
        Some(Duration::from_micros(due.saturating_sub(now)))
    }

    /// Says which types have a handler; events of others are held.
    pub(crate) fn set_handled(&self, handled: Handled) {
        self.shared().desk().core.state.set_handled(handled);
        self.shared().wake_workers();
    }

    /// Says that these types have a handler as well. Of their events that were held some are released at once, and the rest with the next
    /// claim, which does so in steps.
    pub(crate) fn add_handled(&self, more: Handled) {
        {
            let mut desk = self.shared().desk();
            desk.core.state.add_handled(more);
            desk.core.state.release_held();
        }
        self.shared().wake_workers();
    }
}
