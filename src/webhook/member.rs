//! Where a member of the outermost object stands in a JSON text.
//!
//! ```text
//! {"type": "Issue" , "webhookTimestamp" : 17 , "webhookId": "x"}
//!                                         └┘                        value
//!                 └────────────────────────┘                        whole: from the end of the value before it
//!
//! { "webhookTimestamp":17, "type":"Issue"}     { "webhookTimestamp":17 }
//!   └──────────────────────┘                     └───────────────────┘
//!   whole of a first one: up to the next name    whole of an only one: name to value
//! ```
//!
//! Taking the whole away leaves what would have been there without the member: one comma goes with it, and the whitespace on its own
//! side of that comma. Putting it back where [`Spot::Absent`] points gives the same bytes again.
//!
//! The scanner goes over the text once, keeps no stack and copies nothing. It looks for structure only: whether the text is JSON is
//! judged elsewhere, and on bytes that are not it finds nothing or something, but always within them. Names are compared as a JSON
//! parser does: `"webhook\u0054imestamp"` is `webhookTimestamp`, so that what is cut here is what is read there. Of two members with
//! one name the first is found; the envelope refuses such bodies.

use std::ops::Range;

/// Where a member is, or would be. Ranges and offsets are in bytes of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Spot {
    /// It is there.
    Present { value: Range<usize>, whole: Range<usize> },
    /// It is not: a new one goes to `offset`, after a comma unless the object is empty.
    Absent { offset: usize, empty: bool },
}

/// Looks for the member `name` in the object that `text` is; none if it is not an object, or ends too early to tell.
pub(super) fn locate(text: &[u8], name: &str) -> Option<Spot> {
    let mut cursor = Cursor { text, offset: 0 };
    cursor.skip_whitespace();
    cursor.take(b'{')?;
    let inside = cursor.offset;
    cursor.skip_whitespace();
    if cursor.peek()? == b'}' {
        return Some(Spot::Absent { offset: inside, empty: true });
    }
    let mut before = None;
    loop {
        let start = cursor.offset;
        let found = cursor.string()?;
        cursor.skip_whitespace();
        cursor.take(b':')?;
        cursor.skip_whitespace();
        let value = cursor.value()?;
        cursor.skip_whitespace();
        let last = match cursor.peek()? {
            b',' => false,
            b'}' => true,
            _ => return None,
        };
        if !last {
            cursor.take(b',')?;
            cursor.skip_whitespace();
        }
        if is_named(found, name) {
            let whole = match before {
                Some(end) => end..value.end,
                None if last => start..value.end,
                None => start..cursor.offset,
            };
            return Some(Spot::Present { value, whole });
        }
        if last {
            return Some(Spot::Absent { offset: value.end, empty: false });
        }
        before = Some(value.end);
    }
}

/// The whole of the member whose value stands at `value` in the outermost object: what [`locate`] finds, without going over everything
/// that stands before it. `text` must be JSON, and the name hold no quote.
pub(super) fn whole(text: &[u8], value: &Range<usize>) -> Option<Range<usize>> {
    let named = text.get(..value.start)?.trim_ascii_end().strip_suffix(b":")?;
    let name = named.trim_ascii_end().strip_suffix(b"\"")?;
    let start = name.iter().rposition(|byte| *byte == b'"')?;
    if let Some(before) = name.get(..start)?.trim_ascii_end().strip_suffix(b",") {
        return Some(before.trim_ascii_end().len()..value.end);
    }
    let mut cursor = Cursor { text, offset: value.end };
    cursor.skip_whitespace();
    if cursor.take(b',').is_none() {
        return Some(start..value.end);
    }
    cursor.skip_whitespace();
    Some(start..cursor.offset)
}

/// What stands before and after `range`.
pub(super) fn around<'a>(text: &'a [u8], range: &Range<usize>) -> Option<(&'a [u8], &'a [u8])> {
    Some((text.get(..range.start)?, text.get(range.end..)?))
}

/// Whether `quoted`, a string with its quotes, says `name`.
fn is_named(quoted: &[u8], name: &str) -> bool {
    if quoted.contains(&b'\\') {
        return serde_json::from_slice::<String>(quoted).is_ok_and(|unescaped| unescaped == name);
    }
    let inner = quoted.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    inner == Some(name.as_bytes())
}

/// A place in a text; every step goes forward, or the text has ended.
struct Cursor<'a> {
    text: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.offset).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.offset += 1)
    }

    fn skip_while(&mut self, keep: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&keep) {
            self.offset += 1;
        }
    }

    fn skip_whitespace(&mut self) {
        self.skip_while(is_whitespace);
    }

    /// A string, with its quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        let start = self.offset;
        self.take(b'"')?;
        loop {
            self.skip_while(|byte| byte != b'"' && byte != b'\\');
            match self.peek()? {
                // Whatever is escaped is part of the string; of `\u0022` the digits are, too.
                b'\\' => self.offset += 2,
                _ => break,
            }
        }
        self.take(b'"')?;
        self.text.get(start..self.offset)
    }

    /// Where a value stands. Brackets are counted and not matched: that is enough in a text that is JSON.
    fn value(&mut self) -> Option<Range<usize>> {
        let start = self.offset;
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.offset += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.offset += 1;
                }
                _ if depth > 0 => self.offset += 1,
                _ => self.skip_while(|byte| !is_whitespace(byte) && !matches!(byte, b',' | b'}' | b']')),
            }
            if depth == 0 {
                return Some(start..self.offset);
            }
        }
    }
}

fn is_whitespace(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::samples;

    fn text(text: &str, range: &Range<usize>) -> String {
        text[range.clone()].to_owned()
    }

    #[test]
    fn the_drawing_in_the_module_is_what_the_scanner_does() {
        for (body, value, whole) in [
            (
                r#"{"type": "Issue" , "webhookTimestamp" : 17 , "webhookId": "x"}"#,
                "17",
                r#" , "webhookTimestamp" : 17"#,
            ),
            (r#"{ "webhookTimestamp":17, "type":"Issue"}"#, "17", r#""webhookTimestamp":17, "#),
            (r#"{ "webhookTimestamp":17 }"#, "17", r#""webhookTimestamp":17"#),
        ] {
            let Some(Spot::Present { value: found, whole: all }) = locate(body.as_bytes(), "webhookTimestamp") else {
                panic!("it is there: {body}")
            };
            assert_eq!((text(body, &found).as_str(), text(body, &all).as_str()), (value, whole), "{body}");
        }
    }

    #[test]
    fn values_of_every_shape_are_found_whole_and_nested_names_are_not_names() {
        for value in [
            "0",
            "-1.5e+3",
            "null",
            r#""""#,
            r#""a\"}],\\""#,
            r#""\u0022,\"m\":1""#,
            "{}",
            r#"{"m":{"m":[1,"]}",{}]}}"#,
            r#"[[],[{"m":2}, "\\"] ]"#,
            "\"h\u{e5}kansson\"",
        ] {
            for body in [
                format!(r#"{{"m":{value}}}"#),
                format!("\n{{ \"m\" :\t{value}\r\n}} "),
                format!(r#"{{"x":{{"m":0}},"m":{value},"y":"m"}}"#),
                format!(r#"{{"x":{value},"\"m":{value},"m":{value},"m":1}}"#),
            ] {
                let Some(Spot::Present { value: found, .. }) = locate(body.as_bytes(), "m") else { panic!("{body}") };
                assert_eq!(text(&body, &found), value, "{body}");
            }
        }
    }

    #[test]
    fn an_escaped_name_is_the_name_it_stands_for() {
        for (name, is) in [
            (r"\u006d", true),
            (r"\u006D", true),
            (r"\u006e", false),
            (r"\ud800", false),
            (r"\x", false),
            (r"m\u0000", false),
        ] {
            let found = locate(format!(r#"{{"{name}":1}}"#).as_bytes(), "m");
            assert_eq!(matches!(found, Some(Spot::Present { .. })), is, "{name}");
        }
    }

    #[test]
    fn an_absent_member_has_a_place_to_go() {
        for (body, offset, empty) in [
            ("{}", 1, true),
            (" { } ", 2, true),
            (r#"{"a":1}"#, 6, false),
            ("{\n  \"a\": [1]\n}\n", 12, false),
            (r#"{"a":{"m":1}}"#, 12, false),
        ] {
            assert_eq!(locate(body.as_bytes(), "m"), Some(Spot::Absent { offset, empty }), "{body}");
        }
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for body in
            ["", " ", "1", "\"m\"", "[{\"m\":1}]", "{", "{\"m", "{\"m\"", "{\"m\":", "{\"m\":1", "{\"m\":]}", "{m:1}"]
        {
            assert_eq!(locate(body.as_bytes(), "m"), None, "{body}");
        }
    }

    #[test]
    fn the_scanner_and_the_parser_agree_on_every_sample() {
        for (name, body) in samples::ALL {
            let parsed: serde_json::Map<String, serde_json::Value> = serde_json::from_str(body).unwrap();
            for (member, expected) in parsed {
                let Some(Spot::Present { value, .. }) = locate(body.as_bytes(), &member) else {
                    panic!("{name}: {member}")
                };
                assert_eq!(
                    serde_json::from_str::<serde_json::Value>(&text(body, &value)).unwrap(),
                    expected,
                    "{name}: {member}"
                );
            }
        }
    }

    #[test]
    fn any_bytes_are_survived_and_what_is_found_lies_within_them() {
        const PIECES: [&[u8]; 16] = [
            b"{",
            b"}",
            b"[",
            b"]",
            b"\"",
            b",",
            b":",
            b"\\",
            b"\"m\"",
            b"\"m\":",
            b"1",
            b" ",
            b"\\u006d",
            b"\xff",
            b"null",
            b"\xc3\xa5",
        ];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..200_000 {
            let mut body = b"{".to_vec();
            for _ in 0..12 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                body.extend_from_slice(PIECES[usize::try_from(state >> 60).unwrap()]);
            }
            match locate(&body, "m") {
                Some(Spot::Present { value, whole }) => {
                    assert!(whole.start < value.start && value.end <= whole.end && whole.end <= body.len(), "{body:?}");
                    around(&body, &whole).unwrap();
                }
                Some(Spot::Absent { offset, .. }) => assert!(offset < body.len(), "{body:?}"),
                None => {}
            }
        }
    }

    #[test]
    fn a_megabyte_of_brackets_needs_no_stack() {
        let body = format!(r#"{{"a":{}{},"m":1}}"#, "[".repeat(1 << 19), "]".repeat(1 << 19));
        assert!(matches!(locate(body.as_bytes(), "m"), Some(Spot::Present { .. })));
        assert_eq!(locate("{\"a\":".repeat(1 << 18).as_bytes(), "m"), None);
    }
}
