//! Bodies of records, decoded from FORMAT.md alone: only what the fold and the ledger ask of them.

use std::collections::BTreeMap;

/// Pauses and cursors, each under its kind and name, with what is said of it.
pub(super) type Posts = BTreeMap<String, String>;

/// One record's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Begun {
        epoch: u64,
        /// Ordinal, last seq, length, digest.
        predecessor: Option<(u64, u64, u64, u32)>,
    },
    State {
        finished_before: i64,
        remembered_before: i64,
        posts: Posts,
    },
    Mark,
    Received {
        id: String,
        received_at: i64,
        made_up: bool,
        text: String,
    },
    Started {
        of: u64,
    },
    Completed {
        of: u64,
        at: i64,
    },
    Failed {
        of: u64,
        again: bool,
    },
    Released {
        of: u64,
    },
    Replayed {
        of: u64,
    },
    Cancelled {
        of: u64,
        at: i64,
    },
    Condemned {
        of: u64,
    },
    Snoozed {
        of: u64,
    },
    Handled {
        of: u64,
        handler: String,
    },
    Horizon {
        finished_before: i64,
        remembered_before: i64,
    },
    Remembered {
        /// Hash of the id, and when it was received.
        ids: Vec<(u128, i64)>,
    },
    /// A pause or a cursor is set; none: it is over.
    Posted {
        name: String,
        value: Option<String>,
    },
}

impl Entry {
    /// The reception that it is about, if it is a transition.
    pub(super) fn of(&self) -> Option<u64> {
        match self {
            Self::Started { of }
            | Self::Completed { of, .. }
            | Self::Failed { of, .. }
            | Self::Released { of }
            | Self::Replayed { of }
            | Self::Cancelled { of, .. }
            | Self::Condemned { of }
            | Self::Snoozed { of }
            | Self::Handled { of, .. } => Some(*of),
            _ => None,
        }
    }
}

/// Decodes a body, all of it.
pub(super) fn decode(body: &[u8]) -> Result<Entry, String> {
    let mut fields = Fields(body);
    let (kind, version) = (fields.short()?, fields.short()?);
    let entry = match (kind, version) {
        (2, 1 | 2) => state(version, &mut fields)?,
        (_, 1) => of_kind(kind, &mut fields)?,
        _ => return Err(format!("kind {kind} has version {version}")),
    };
    if fields.0.is_empty() { Ok(entry) } else { Err(format!("{} bytes remain after {entry:?}", fields.0.len())) }
}

fn of_kind(kind: u16, fields: &mut Fields<'_>) -> Result<Entry, String> {
    Ok(match kind {
        1 => begun(fields)?,
        3 => {
            fields.u()?;
            Entry::Mark
        }
        4 => received(fields)?,
        12 => Entry::Horizon { finished_before: fields.i()?, remembered_before: fields.i()? },
        13 => remembered(fields)?,
        15 => {
            let (name, value) = paused(fields)?;
            Entry::Posted { name, value: Some(value) }
        }
        16 => {
            let name = scope(fields)?;
            fields.i()?;
            Entry::Posted { name, value: None }
        }
        19 => {
            let name = format!("cursor {}", fields.text()?);
            let value = if fields.byte()? == 1 { Some(fields.u()?.to_string()) } else { None };
            fields.i()?;
            Entry::Posted { name, value }
        }
        _ => transition(kind, fields)?,
    })
}

fn transition(kind: u16, fields: &mut Fields<'_>) -> Result<Entry, String> {
    Ok(match kind {
        5 => {
            let of = fields.of()?;
            fields.skip("uubbi")?;
            Entry::Started { of }
        }
        6 => Entry::Completed { of: fields.of_and_token()?, at: fields.i()? },
        7 => {
            let of = fields.of_and_token()?;
            fields.skip("ti")?;
            let again = fields.byte()? == 1;
            if again {
                fields.skip("iu")?;
            }
            Entry::Failed { of, again }
        }
        8 => {
            let of = fields.of_and_token()?;
            fields.i()?;
            Entry::Released { of }
        }
        9 => {
            let of = fields.of()?;
            fields.i()?;
            Entry::Replayed { of }
        }
        10 => {
            let of = fields.of()?;
            fields.text()?;
            Entry::Cancelled { of, at: fields.i()? }
        }
        11 => {
            let of = fields.of()?;
            fields.skip("ti")?;
            Entry::Condemned { of }
        }
        17 => {
            let of = fields.of_and_token()?;
            fields.skip("iiuu")?;
            Entry::Snoozed { of }
        }
        18 => {
            let (of, handler) = (fields.of_and_token()?, fields.text()?);
            fields.i()?;
            Entry::Handled { of, handler }
        }
        _ => return Err(format!("unknown kind {kind}")),
    })
}

fn state(version: u16, fields: &mut Fields<'_>) -> Result<Entry, String> {
    fields.skip("uuuuu")?;
    let (finished_before, remembered_before) = (fields.i()?, fields.i()?);
    let mut posts = Posts::new();
    if version == 2 {
        for _ in 0..fields.u()? {
            posts.extend([paused(fields)?]);
        }
        for _ in 0..fields.u()? {
            posts.insert(format!("cursor {}", fields.text()?), fields.u()?.to_string());
        }
    }
    Ok(Entry::State { finished_before, remembered_before, posts })
}

fn scope(fields: &mut Fields<'_>) -> Result<String, String> {
    let what = match fields.u()? {
        0 => "type",
        1 => "key",
        other => return Err(format!("there is no scope {other}")),
    };
    Ok(format!("{what} {}", fields.text()?))
}

fn paused(fields: &mut Fields<'_>) -> Result<(String, String), String> {
    let name = scope(fields)?;
    let since = fields.i()?;
    let until = if fields.byte()? == 1 { Some(fields.i()?) } else { None };
    Ok((name, format!("since {since} until {until:?}: {}", fields.text()?)))
}

fn begun(fields: &mut Fields<'_>) -> Result<Entry, String> {
    fields.u()?;
    let epoch = fields.u()?;
    fields.skip("ui")?;
    let predecessor = if fields.byte()? == 1 {
        let (ordinal, last_seq, length, digest) = (fields.u()?, fields.u()?, fields.u()?, fields.u()?);
        Some((ordinal, last_seq, length, u32::try_from(digest).map_err(|_| "a digest is too long")?))
    } else {
        None
    };
    Ok(Entry::Begun { epoch, predecessor })
}

fn received(fields: &mut Fields<'_>) -> Result<Entry, String> {
    let id = fields.text()?;
    fields.text()?;
    if fields.byte()? == 1 {
        fields.text()?;
    }
    fields.text()?;
    if fields.byte()? == 1 {
        fields.text()?;
    }
    let received_at = fields.i()?;
    if fields.byte()? == 1 {
        fields.i()?;
    }
    fields.skip("bu")?;
    let made_up = fields.u()? & 2 != 0;
    if fields.byte()? == 1 {
        fields.take(32)?;
    }
    for _ in 0..fields.u()? {
        fields.skip("tt")?;
    }
    Ok(Entry::Received { id, received_at, made_up, text: fields.text()? })
}

fn remembered(fields: &mut Fields<'_>) -> Result<Entry, String> {
    let mut ids = Vec::new();
    for _ in 0..fields.u()? {
        fields.u()?;
        let hash = fields.wide()?;
        if fields.byte()? == 1 {
            fields.wide()?;
        }
        fields.byte()?;
        ids.push((hash, fields.i()?));
    }
    Ok(Entry::Remembered { ids })
}

/// What is left of a body.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("the body is too short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn short(&mut self) -> Result<u16, String> {
        let bytes = self.take(2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    /// An unsigned integer of any length.
    fn wide(&mut self) -> Result<u128, String> {
        let first = self.byte()?;
        let count = match first {
            0..=250 => return Ok(u128::from(first)),
            251 => 2,
            252 => 4,
            253 => 8,
            254 => 16,
            255 => return Err("no integer begins with 255".into()),
        };
        Ok(self.take(count)?.iter().rev().fold(0, |value, byte| value << 8 | u128::from(*byte)))
    }

    fn u(&mut self) -> Result<u64, String> {
        u64::try_from(self.wide()?).map_err(|_| "an integer is too long".into())
    }

    fn i(&mut self) -> Result<i64, String> {
        let zigzag = self.u()?;
        Ok((zigzag >> 1).cast_signed() ^ -((zigzag & 1).cast_signed()))
    }

    fn text(&mut self) -> Result<String, String> {
        let length = usize::try_from(self.u()?).map_err(|_| "a length is too long")?;
        String::from_utf8(self.take(length)?.to_vec()).map_err(|_| "bytes are no text".into())
    }

    /// Passes over fields: `u` and `i` are integers, `b` is a byte, `t` a text.
    fn skip(&mut self, layout: &str) -> Result<(), String> {
        for field in layout.chars() {
            match field {
                'b' => self.byte().map(drop)?,
                't' => self.text().map(drop)?,
                _ => self.wide().map(drop)?,
            }
        }
        Ok(())
    }

    fn of(&mut self) -> Result<u64, String> {
        let seq = self.u()?;
        self.u()?;
        Ok(seq)
    }

    fn of_and_token(&mut self) -> Result<u64, String> {
        let seq = self.of()?;
        self.skip("uu")?;
        Ok(seq)
    }
}
