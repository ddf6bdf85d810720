//! What may be offered, and whose turn it is.
//!
//! ```text
//! (type, priority) ─► line: events by rank          level 0 ─► turns: (last run of the type, type, rank) ─► line
//!                       first: head, since when     level 1 ─► …
//!                                                   …    9
//! ```
//!
//! A line counts at a level: its priority, less one for each whole minute that its head has waited. Of the lines at the least level
//! that type is next whose last run began longest ago, and of its lines there the one whose head has the least rank. So a flood of
//! one type starves no other, and a low priority costs nine minutes at most. A pick looks at the first turn of ten levels, however
//! many types and events there are; whatever else is to be done is done when a head changes, a type's turn is over, or a minute of
//! a line has passed.
//!
//! A type that is paused, or of which as many run as may, has its lines as before but no turn. Nor has one whose head was not yet
//! known to be durable: it gets its turn with the first pick after.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::limits::PRIORITY_MAX;
use crate::state::line::Line;
use crate::state::slots::Slots;

/// After so much waiting a line counts at the next level. Tests wait for less.
pub(crate) const STEP_MICROS: i64 = if cfg!(test) { 40 } else { 60_000_000 };

/// All lines, by type and priority.
#[derive(Debug)]
pub(crate) struct Ready {
    rows: BTreeMap<u32, Row>,
    kinds: Vec<Kind>,
    /// How many there are, and how many of them are of types that are paused.
    len: u64,
    paused_len: u64,
    /// Heads of the lines of types that are not paused: rank and line.
    heads: BTreeSet<(u64, u32)>,
    levels: [BTreeSet<Turn>; PRIORITY_MAX as usize + 1],
    /// When lines that are not at level 0 go on to the next: by the wall clock.
    steps: BTreeSet<(i64, u32)>,
    /// Heads up to this seq are known to be durable.
    durable: u64,
    /// What the wall clock last said.
    wall: i64,
    /// The type whose turn is being taken: its lines have none until that is over.
    at_turn: Option<u32>,
}

/// A line, and where it has its turn.
#[derive(Debug)]
struct Row {
    line: Line,
    level: Option<u8>,
    /// When it goes on to the next level.
    step_at: i64,
}

/// A type.
#[derive(Debug, Clone, Copy)]
struct Kind {
    /// Seq of the `Started` of its last run; 0: there was none.
    last_run: u64,
    in_flight: u32,
    /// So many may run at once.
    limit: u32,
    paused: bool,
    /// Its priorities that have a line, one bit each.
    lines: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    last_run: u64,
    kind: u32,
    rank: u64,
    line: u32,
}

impl Kind {
    const fn is_open(&self) -> bool {
        !self.paused && self.in_flight < self.limit
    }

    /// Those that have a line.
    fn priorities(&self) -> impl Iterator<Item = u8> + use<> {
        let lines = self.lines;
        (0..=PRIORITY_MAX).filter(move |priority| lines & 1 << priority != 0)
    }
}

/// The number of a line; a type's number takes 20 bits.
const fn line_of(kind: u32, priority: u8) -> u32 {
    kind << 4 | priority as u32
}

const fn kind_of(line: u32) -> u32 {
    line >> 4
}

impl Ready {
    pub(crate) const fn new() -> Self {
        Self {
            rows: BTreeMap::new(),
            kinds: Vec::new(),
            len: 0,
            paused_len: 0,
            heads: BTreeSet::new(),
            levels: [const { BTreeSet::new() }; PRIORITY_MAX as usize + 1],
            steps: BTreeSet::new(),
            durable: 0,
            wall: i64::MIN,
            at_turn: None,
        }
    }

    /// A type with the next number.
    pub(crate) fn add_kind(&mut self, limit: u32, paused: bool) {
        self.kinds.push(Kind { last_run: 0, in_flight: 0, limit, paused, lines: 0 });
    }

    fn kind(&self, kind: u32) -> &Kind {
        self.kinds.get(kind as usize).expect("a type is added when it gets its number")
    }

    fn kind_mut(&mut self, kind: u32) -> &mut Kind {
        self.kinds.get_mut(kind as usize).expect("a type is added when it gets its number")
    }

    pub(crate) fn insert(&mut self, slots: &Slots, at: u32) {
        let (kind, priority, rank) = (slots[at].kind(), slots[at].priority(), slots.rank(at));
        self.len += 1;
        self.paused_len += u64::from(self.kind(kind).paused);
        let line = line_of(kind, priority);
        if let Some(row) = self.rows.get_mut(&line) {
            if row.line.first().is_some_and(|(first, _)| first < rank) {
                return row.line.insert(rank, at);
            }
            self.unplace(line);
        }
        if let Some(row) = self.rows.get_mut(&line) {
            row.line.insert(rank, at);
        } else {
            self.rows.insert(line, Row { line: Line::of(rank, at), level: None, step_at: 0 });
            self.kind_mut(kind).lines |= 1 << priority;
        }
        self.place(slots, line);
    }

    pub(crate) fn remove(&mut self, slots: &Slots, at: u32) {
        let (kind, priority, rank) = (slots[at].kind(), slots[at].priority(), slots.rank(at));
        self.len -= 1;
        self.paused_len -= u64::from(self.kind(kind).paused);
        let line = line_of(kind, priority);
        let row = self.rows.get_mut(&line).expect("only what is there is removed");
        if row.line.first() != Some((rank, at)) {
            row.line.remove(rank, at);
            return;
        }
        self.unplace(line);
        if self.rows.get_mut(&line).is_some_and(|row| row.line.remove(rank, at)) {
            self.place(slots, line);
        } else {
            self.rows.remove(&line);
            self.kind_mut(kind).lines &= !(1 << priority);
        }
    }

    /// A run of this type began, or one that is known to run is counted.
    pub(crate) fn began(&mut self, slots: &Slots, kind: u32) {
        let Kind { in_flight, limit, .. } = *self.kind(kind);
        if in_flight + 1 == limit {
            self.change(slots, kind, |kind| kind.in_flight += 1);
        } else {
            self.kind_mut(kind).in_flight += 1;
        }
    }

    /// A run of this type ended.
    pub(crate) fn ended(&mut self, slots: &Slots, kind: u32) {
        let Kind { in_flight, limit, .. } = *self.kind(kind);
        if in_flight == limit {
            self.change(slots, kind, |kind| kind.in_flight -= 1);
        } else {
            self.kind_mut(kind).in_flight -= 1;
        }
    }

    /// The type takes its turn until [`Ready::end_turn`]. One of its heads leaves its line meanwhile, and that line needs a new turn only
    /// once the type has had its own.
    pub(crate) fn begin_turn(&mut self, kind: u32) {
        self.unplace_all(kind);
        self.at_turn = Some(kind);
    }

    /// The type had its turn, with the `Started` numbered `seq`; none: it did not.
    pub(crate) fn end_turn(&mut self, slots: &Slots, kind: u32, seq: Option<u64>) {
        self.at_turn = None;
        if let Some(seq) = seq {
            self.kind_mut(kind).last_run = seq;
        }
        self.place_all(slots, kind);
    }

    pub(crate) fn set_limit(&mut self, slots: &Slots, kind: u32, limit: u32) {
        self.change(slots, kind, |kind| kind.limit = limit);
    }

    pub(crate) fn set_paused(&mut self, slots: &Slots, kind: u32, paused: bool) {
        match (self.kind(kind).paused, paused) {
            (false, true) => self.paused_len += self.len_of(kind),
            (true, false) => self.paused_len -= self.len_of(kind),
            _ => {}
        }
        self.change(slots, kind, |kind| kind.paused = paused);
    }

    pub(crate) fn is_paused(&self, kind: u32) -> bool {
        self.kind(kind).paused
    }

    /// How many are ready, and not of a type that is paused.
    pub(crate) const fn len(&self) -> u64 {
        self.len - self.paused_len
    }

    fn len_of(&self, kind: u32) -> u64 {
        let lines = self.kind(kind).priorities().filter_map(|priority| self.rows.get(&line_of(kind, priority)));
        lines.map(|row| row.line.len() as u64).sum()
    }

    /// How many of this type may run at once, if so many run.
    pub(crate) fn limit_reached(&self, kind: u32) -> Option<u32> {
        let Kind { in_flight, limit, .. } = *self.kind(kind);
        (in_flight >= limit).then_some(limit)
    }

    /// What is durable up to this seq may have its turn from now on.
    pub(crate) fn admit(&mut self, slots: &Slots, durable: u64) {
        if durable <= self.durable {
            return;
        }
        let range = (self.durable + 1, 0)..=(durable, u32::MAX);
        self.durable = durable;
        let lines: Vec<u32> = self.heads.range(range).map(|(_, line)| *line).collect();
        for line in lines {
            self.unplace(line);
            self.place(slots, line);
        }
    }

    /// Lets lines that have waited go on to their levels, at most `count_max` of them now.
    pub(crate) fn step(&mut self, slots: &Slots, wall: i64, count_max: usize) {
        self.wall = wall;
        for _ in 0..count_max {
            let Some((_, line)) = self.steps.first().copied().filter(|(at, _)| *at <= wall) else { return };
            self.unplace(line);
            self.place(slots, line);
        }
    }

    /// The next to be offered, of those that are durable up to seq `durable`.
    pub(crate) fn first(&self, durable: u64) -> Option<u32> {
        // Whoever has a turn was durable; a caller who says otherwise is a test.
        let turns = self.levels.iter().flatten();
        let turn = turns.filter(|turn| turn.rank <= durable).map(|turn| turn.line).next();
        let line = turn.or_else(|| {
            let unknown = self.durable.saturating_add(1);
            let mut heads = self.heads.range((unknown, 0)..).take_while(|(rank, _)| *rank <= durable);
            heads.find(|(_, line)| self.kind(kind_of(*line)).is_open()).map(|(_, line)| *line)
        })?;
        self.head(line).map(|(_, at)| at)
    }

    /// The rank and the slot of the one that has the least rank and is not paused.
    pub(crate) fn oldest(&self) -> Option<(u64, u32)> {
        self.heads.first().and_then(|(_, line)| self.head(*line))
    }

    fn head(&self, line: u32) -> Option<(u64, u32)> {
        self.rows.get(&line).and_then(|row| row.line.first())
    }

    /// Changes a type, of which all lines have their turns by what it is.
    fn change(&mut self, slots: &Slots, kind: u32, change: impl FnOnce(&mut Kind)) {
        self.unplace_all(kind);
        change(self.kind_mut(kind));
        self.place_all(slots, kind);
    }

    fn unplace_all(&mut self, kind: u32) {
        self.kind(kind).priorities().for_each(|priority| self.unplace(line_of(kind, priority)));
    }

    fn place_all(&mut self, slots: &Slots, kind: u32) {
        self.kind(kind).priorities().for_each(|priority| self.place(slots, line_of(kind, priority)));
    }

    /// Takes its turn from a line whose head, or whose type, is about to change.
    fn unplace(&mut self, line: u32) {
        if self.at_turn == Some(kind_of(line)) {
            return;
        }
        let Some(row) = self.rows.get_mut(&line) else { return };
        let Some((rank, _)) = row.line.first() else { return };
        self.heads.remove(&(rank, line));
        let Some(level) = row.level.take() else { return };
        if level > 0 {
            self.steps.remove(&(row.step_at, line));
        }
        let turn = self.turn(line, rank);
        if let Some(turns) = self.levels.get_mut(usize::from(level)) {
            turns.remove(&turn);
        }
    }

    /// Gives a line its turn, if it may have one.
    fn place(&mut self, slots: &Slots, line: u32) {
        let Some((rank, at)) = self.head(line) else { return };
        let kind = self.kind(kind_of(line));
        if kind.paused || self.at_turn == Some(kind_of(line)) {
            return;
        }
        let is_open = kind.is_open();
        self.heads.insert((rank, line));
        if !is_open || rank > self.durable {
            return;
        }
        let (priority, since) = (slots[at].priority(), slots.since(at));
        let level = level(priority, since, self.wall);
        let turn = self.turn(line, rank);
        let Some(row) = self.rows.get_mut(&line) else { return };
        row.level = Some(level);
        if level > 0 {
            row.step_at = since.saturating_add(STEP_MICROS * i64::from(priority - level + 1));
            self.steps.insert((row.step_at, line));
        }
        if let Some(turns) = self.levels.get_mut(usize::from(level)) {
            turns.insert(turn);
        }
    }

    fn turn(&self, line: u32, rank: u64) -> Turn {
        let kind = kind_of(line);
        Turn { last_run: self.kind(kind).last_run, kind, rank, line }
    }

    /// Panics unless exactly those in the lane are here, each in its line, and lines have the turns that are theirs.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self, slots: &Slots, leftovers: &crate::state::leftovers::Leftovers) {
        use crate::state::slot::{Fact, Lane};
        let (mut len, mut paused_len) = (0, 0);
        let (mut heads, mut turns, mut steps) = (0, 0, 0);
        for (line, row) in &self.rows {
            row.line.check();
            for (rank, at) in row.line.iter() {
                let slot = &slots[at];
                assert_eq!(slot.lane(), Lane::Ready, "seq {} is in one lane and knows which", slot.seq);
                assert_eq!((line_of(slot.kind(), slot.priority()), slots.rank(at)), (*line, rank), "seq {}", slot.seq);
                len += 1;
                paused_len += u64::from(self.is_paused(slot.kind()));
            }
            let kind = self.kind(kind_of(*line));
            let (rank, _) = self.head(*line).expect("a line is not empty");
            assert!(kind.lines & 1 << (line & 15) != 0, "a type knows its lines");
            assert_eq!(self.heads.contains(&(rank, *line)), !kind.paused, "line {line} shows its head");
            assert_eq!(row.level.is_some(), kind.is_open() && rank <= self.durable, "line {line} has its turn");
            heads += usize::from(!kind.paused);
            turns += usize::from(row.level.is_some());
            steps += usize::from(row.level > Some(0));
            let turn = self.turn(*line, rank);
            assert!(
                row.level
                    .is_none_or(|level| self.levels.get(usize::from(level)).is_some_and(|turns| turns.contains(&turn))),
                "{turn:?}"
            );
        }
        let all = slots.iter().filter(|(_, slot)| slot.lane() == Lane::Ready).count();
        assert_eq!(len, all, "all that is ready is in a line");
        assert_eq!((len as u64, paused_len), (self.len, self.paused_len), "what is ready is counted");
        let found = (self.heads.len(), self.levels.iter().map(BTreeSet::len).sum(), self.steps.len());
        assert_eq!(found, (heads, turns, steps), "only lines have turns");
        let lines: usize = self.kinds.iter().map(|kind| kind.lines.count_ones() as usize).sum();
        assert_eq!(lines, self.rows.len(), "types know no other lines");
        let mut in_flight = vec![0; self.kinds.len()];
        let running = slots.iter().filter(|(_, slot)| slot.lane() == Lane::InFlight && !slot.is(Fact::STUCK));
        let kinds = running.map(|(_, slot)| slot.kind()).chain(leftovers.kinds());
        kinds.for_each(|kind| *in_flight.get_mut(kind as usize).expect("a type is known") += 1);
        assert!(self.kinds.iter().map(|kind| kind.in_flight).eq(in_flight), "runs are counted by type");
    }
}

/// The level at which an event of this priority counts that has waited since then.
pub(crate) fn level(priority: u8, since: i64, now: i64) -> u8 {
    let steps = now.saturating_sub(since).max(0) / STEP_MICROS;
    priority.saturating_sub(u8::try_from(steps).unwrap_or(u8::MAX))
}
