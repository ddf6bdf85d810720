//! A second thread that verifies segments, decodes what they hold and hashes its texts, a few megabytes ahead of the one that replays
//! them.
//!
//! ```text
//! verifying  ── scan: checksums, seqs, digests ──► Began, Sound: these records, …, Whole │ Unsound
//! replaying                     ◄── applies what is sound, and does not read the segment ──
//! ```
//!
//! It only saves work: what it does not find sound is not believed either way, the replaying thread scans that segment itself and
//! comes to the verdict that it would have come to alone. So errors come in the order of the log, and in the same words.
//!
//! Both map the sealed segments, under the lock of the directory (R11), and read the last one: the thread ends before the replay does.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope};

use crate::env::File;
use crate::log::format::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::log::scan::{self, Record, Scan, Seqs, Standing, Stopped, Visitor};
use crate::log::source::Source;
use crate::log::survey::SegmentFile;
use crate::log::verdict::Role;
use crate::store::parsed::{Fact, Parsed, Parser};

/// A log with fewer bytes is replayed before a thread would have helped.
const LOG_BYTES_MIN: u64 = 32 * 1024 * 1024;

/// What is verified before it is told: so many bytes, or records.
const PASSAGE_BYTES: u64 = if cfg!(test) { 1024 } else { 1024 * 1024 };
const PASSAGE_RECORDS: usize = 2_048;

/// So many passages may be verified and not yet replayed.
const PASSAGES_AHEAD: usize = 8;

/// What the verifying thread tells, for each segment in order.
enum News {
    /// With this seq.
    Began(u64),
    /// The next records.
    Sound(Passage),
    /// To its end, and nothing stands behind it.
    Whole(Scan),
    Unsound,
}

/// Some records that follow one another, as they were verified.
#[derive(Default)]
pub(crate) struct Passage {
    pub(crate) records: Vec<Parsed>,
    /// The bodies of those that are not taken apart, one behind the other: what was verified is what is applied (R11).
    pub(crate) bodies: Vec<u8>,
    /// The names of types that they are the first to have.
    names: Vec<String>,
}

/// The verifying thread, as the replaying one sees it.
pub(crate) struct Ahead {
    news: Option<Receiver<News>>,
    /// The names of the types, by number.
    names: Vec<String>,
}

/// How far the verifying thread helped with a segment.
pub(crate) enum Help {
    /// All of it was shown.
    Whole(Scan),
    /// The records before this offset were shown; the rest is to be scanned.
    Until(u64),
}

impl Ahead {
    /// Nobody verifies ahead.
    pub(crate) const fn none() -> Self {
        Self { news: None, names: Vec::new() }
    }

    /// Verifies `files` ahead of the caller, if there is enough of them. It ends when this is dropped.
    pub(crate) fn of<'scope, 'f: 'scope>(
        scope: &'scope Scope<'scope, '_>,
        files: impl Iterator<Item = (&'f SegmentFile, Role)> + Clone + Send + 'scope,
        store_id: [u8; 16],
    ) -> Self {
        if files.clone().map(|(file, _)| file.bytes).sum::<u64>() < LOG_BYTES_MIN {
            return Self::none();
        }
        Self::start(scope, files, store_id)
    }

    fn start<'scope, 'f: 'scope>(
        scope: &'scope Scope<'scope, '_>,
        mut files: impl Iterator<Item = (&'f SegmentFile, Role)> + Send + 'scope,
        store_id: [u8; 16],
    ) -> Self {
        let (sender, news) = sync_channel(PASSAGES_AHEAD);
        let spawned = Builder::new().name("ledgerline-verify".to_owned()).spawn_scoped(scope, move || {
            let mut verifier = Verifier { store_id, parser: Parser::new(store_id), news: sender };
            // Nobody listening any more is a reason to stop, and none to complain.
            let _ = files.try_for_each(|(file, role)| verifier.verify(file, role));
        });
        Self { news: spawned.is_ok().then_some(news), names: Vec::new() }
    }

    /// Shows what is verified of the next segment, which is to begin as `seqs` says; waits until all of it is. The records come with
    /// the names of the types they mention.
    pub(crate) fn show<E>(
        &mut self,
        header: &SegmentHeader,
        seqs: Seqs,
        mut apply: impl FnMut(&Passage, &[String]) -> Result<(), E>,
    ) -> Result<Help, E> {
        let (mut shown, mut shown_count) = (SEGMENT_HEADER_BYTES, 0);
        let mut is_next = false;
        while let Some(news) = self.news.as_ref().and_then(|news| news.recv().ok()) {
            match news {
                News::Began(first_seq) => is_next = scan::begins_as(header, first_seq, seqs),
                News::Sound(mut passage) => {
                    self.names.append(&mut passage.names);
                    if let Some(last) = passage.records.last().filter(|_| is_next) {
                        apply(&passage, &self.names)?;
                        shown = last.offset + 1;
                        shown_count += passage.records.len() as u64;
                    }
                }
                News::Whole(scan) if shown_count == scan.record_count => return Ok(Help::Whole(scan)),
                News::Whole(_) | News::Unsound => break,
            }
        }
        Ok(Help::Until(shown))
    }
}

/// Why a segment is not verified to its end.
enum Stop {
    /// The replaying thread has gone.
    Gone,
    /// Something is wrong in it. What that is, and what stands behind it, the replaying thread finds out.
    Unsound,
}

/// A segment's bytes, for whoever holds the directory's lock: mapped if it is sealed, and read if it is the last one.
pub(crate) fn source_under_lock(file: &File, role: Role) -> Source<'_> {
    match role {
        // Some file systems map nothing, and there may be no room for it.
        Role::Sealed => Source::mapped(file).unwrap_or_else(|_| Source::windowed(file)),
        Role::Last => Source::windowed(file),
    }
}

/// The verifying thread, as it sees itself.
struct Verifier {
    store_id: [u8; 16],
    parser: Parser,
    news: SyncSender<News>,
}

impl Verifier {
    fn verify(&mut self, file: &SegmentFile, role: Role) -> Result<(), Stop> {
        let told = match self.scan(file, role) {
            Some(Ok(scan)) if scan.finding.is_none() => News::Whole(scan),
            Some(Err(Stopped::ByVisitor(Stop::Gone))) => return Err(Stop::Gone),
            _ => News::Unsound,
        };
        self.news.send(told).map_err(|_| Stop::Gone)
    }

    fn scan(&mut self, file: &SegmentFile, role: Role) -> Option<Result<Scan, Stopped<Stop>>> {
        let header = file.checked_header(&self.store_id).ok()?;
        let mut source = source_under_lock(&file.file, role);
        let (parser, news, passage) = (&mut self.parser, &self.news, Passage::default());
        let mut telling = Telling { has_begun: false, parser, told: SEGMENT_HEADER_BYTES, passage, news };
        let scan = scan::scan(&mut source, file.bytes, &header, Seqs::Any, &mut telling);
        // Also if something is wrong behind them, because names are told once.
        let told = telling.tell().map_err(Stopped::ByVisitor);
        Some(scan.and_then(|scan| told.map(|()| scan)))
    }
}

/// Tells from time to time what a scan came past.
struct Telling<'a> {
    has_begun: bool,
    parser: &'a mut Parser,
    told: u64,
    passage: Passage,
    news: &'a SyncSender<News>,
}

impl Telling<'_> {
    fn tell(&mut self) -> Result<(), Stop> {
        let next = Passage { records: Vec::with_capacity(PASSAGE_RECORDS), ..Passage::default() };
        self.news.send(News::Sound(std::mem::replace(&mut self.passage, next))).map_err(|_| Stop::Gone)
    }
}

impl Visitor for Telling<'_> {
    type Stop = Stop;

    fn record(&mut self, record: &Record<'_>, standing: Standing) -> Result<(), Stop> {
        if standing != Standing::Sound {
            return Err(Stop::Unsound);
        }
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        if is_first {
            self.news.send(News::Began(record.seq)).map_err(|_| Stop::Gone)?;
        }
        if record.offset >= self.told + PASSAGE_BYTES || self.passage.records.len() >= PASSAGE_RECORDS {
            self.told = record.offset;
            self.tell()?;
        }
        // Whether it may stand there at all is asked of the first record of a segment, whatever it says.
        let parsed = if is_first { Parsed::untold(record) } else { self.parser.parse(record, &mut self.passage.names) };
        if matches!(parsed.fact, Fact::Other) {
            self.passage.bodies.extend_from_slice(record.body);
        }
        self.passage.records.push(parsed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Dir;
    use crate::event::{Moment, NewEvent, Outcome, Timestamp};
    use crate::log::survey::Survey;
    use crate::state::{Policy, State, View};
    use crate::store::replay::{Ending, Replaying, Rigour};
    use crate::store::{Store, StoreOptions};

    /// Some segments with all that happens to events in ordinary life.
    fn write(dir: &std::path::Path) {
        let store = Store::open(dir, StoreOptions::default().segment_bytes(64 * 1024)).unwrap();
        for batch in 0..40 {
            let event = |number: usize| {
                // More types than are known by number.
                let event = NewEvent::new(["Issue", "Comment", "Label"][number % 3], &"x".repeat(300)).unwrap();
                event.id(format!("{batch} {number}")).key(format!("{}", number % 7))
            };
            store.append_many((0..30).map(event)).unwrap();
            for claim in store.claim(5).unwrap() {
                store.settle(&claim, Outcome::Done).unwrap();
            }
        }
        store.close().unwrap();
    }

    /// What a replay makes of a directory: its events, how many records and bytes, and how each segment ends.
    type Replayed = (Vec<View>, u64, u64, Vec<Ending>);

    /// What a replay of the directory makes of it, with or without somebody who verifies ahead.
    fn replayed(dir: &std::path::Path, is_helped: bool) -> Result<Replayed, String> {
        let survey = Survey::of(&Dir::open(dir).unwrap(), true).map_err(|error| error.to_string())?;
        let manifest = survey.manifest.unwrap();
        let now = Moment { wall: Timestamp::from_unix_micros(1), steady: 0 };
        let mut replay =
            Replaying::new(State::replaying(manifest.store_id, Policy::default()), &manifest, Rigour::Strict, now);
        let sealed = survey.files.len() - 1;
        let role = |number| if number < sealed { Role::Sealed } else { Role::Last };
        let files = survey.files.iter().enumerate().map(|(number, file)| (file, role(number)));
        let result = std::thread::scope(|scope| {
            let help = is_helped.then(|| Ahead::start(scope, files.clone(), manifest.store_id));
            let mut ahead = help.unwrap_or(Ahead::none());
            files.map(|(file, role)| replay.segment(file, role, &mut ahead)).collect::<Result<Vec<_>, _>>()
        });
        let endings = result.map_err(|error| format!("{error:?}"))?;
        replay.state.arrange();
        Ok((replay.state.list(0).collect(), replay.record_count, replay.byte_count, endings))
    }

    fn file(dir: &std::path::Path, ordinal: u64) -> File {
        Dir::open(dir).unwrap().open_file(&format!("{ordinal:010}.seg"), true).unwrap()
    }

    #[test]
    fn a_replay_that_is_helped_comes_to_the_same_state() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path());
        let alone = replayed(dir.path(), false).unwrap();
        assert!(alone.1 > 1_500 && file(dir.path(), 5).len().unwrap() > 0, "{} records", alone.1);
        assert_eq!(replayed(dir.path(), true).unwrap(), alone);
    }

    #[test]
    fn whatever_is_damaged_is_judged_in_the_same_words() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path());
        let (mut refused, mut sound) = (0, 0);
        let last =
            (1..100).take_while(|ordinal| dir.path().join(format!("{ordinal:010}.seg")).exists()).last().unwrap();
        for ordinal in [1, 2, 4, last] {
            let file = file(dir.path(), ordinal);
            let bytes = file.len().unwrap();
            for offset in (0..bytes).step_by(usize::try_from(bytes / 40).unwrap()) {
                let mut byte = [0];
                file.read_at(&mut byte, offset).unwrap();
                file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
                let alone = replayed(dir.path(), false);
                assert_eq!(replayed(dir.path(), true), alone, "segment {ordinal}, offset {offset}");
                *if alone.is_err() { &mut refused } else { &mut sound } += 1;
                file.write_all_at(&byte, offset).unwrap();
            }
            let cut = bytes / 2 / 8 * 8;
            let mut tail = vec![0; usize::try_from(bytes - cut).unwrap()];
            file.read_at(&mut tail, cut).unwrap();
            file.truncate(cut).unwrap();
            assert_eq!(replayed(dir.path(), true), replayed(dir.path(), false), "segment {ordinal} is cut");
            file.write_all_at(&tail, cut).unwrap();
        }
        assert!(refused > 150 && sound == 0, "{refused} refused, {sound} not");
    }

    #[test]
    fn the_last_segment_may_end_in_zeros_or_torn_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path());
        let whole = replayed(dir.path(), true).unwrap();
        let last = file(dir.path(), u64::try_from(whole.3.len()).unwrap());
        let end = last.len().unwrap();
        assert_eq!(whole.3.last().map(|ending| (ending.end, ending.torn)), Some((end, false)));
        // What is prepared ahead of the writer; then what a group leaves of which only the first bytes arrived; then rubbish behind zeros.
        for (tail, is_torn) in
            [(vec![0; 8_192], false), (vec![7; 100], true), ([vec![0; 4_096], vec![7; 8]].concat(), true)]
        {
            last.write_all_at(&tail, end).unwrap();
            let alone = replayed(dir.path(), false);
            assert_eq!(replayed(dir.path(), true), alone);
            let (events, .., endings) = alone.unwrap();
            assert_eq!(events, whole.0);
            assert_eq!(endings.last().map(|ending| (ending.end, ending.torn)), Some((end, is_torn)));
            last.truncate(end).unwrap();
        }
        let head = file(dir.path(), 1);
        head.write_all_at(&[0; 4_096], head.len().unwrap()).unwrap();
        assert_eq!(replayed(dir.path(), true), replayed(dir.path(), false));
    }
}
