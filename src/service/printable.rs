//! Foreign text on its way to a terminal.
//!
//! An event's data, a header, an error message: whoever sent it chose every character, and a terminal obeys some of them. Nothing here
//! is printed before those are escaped.

use std::fmt::Write as _;

use serde::Serialize;

use crate::error::Error;

/// Whether a terminal or an editor would act on `character` instead of showing it: control characters, line and paragraph separators,
/// and marks that reorder text.
fn acts(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` with everything escaped that a terminal would act on, line ends included.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if acts(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// `value` as JSON on one line that is safe to print. Escapes of half a surrogate pair, which stand for no character, are written as
/// `\ufffd`: JavaScript makes them where it cuts a text, and most parsers refuse the whole line for one.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput): the value cannot be written as JSON, such as a map whose keys are no texts.
pub fn json_line(value: &impl Serialize) -> Result<String, Error> {
    let json = serde_json::to_string(value)
        .map_err(|cause| Error::invalid("an answer cannot be written as JSON").caused_by(cause))?;
    Ok(one_line(json))
}

/// Whether every character is one of ASCII that shows, as most JSON is. All bytes are looked at, which is faster than to stop early.
fn is_plain(text: &str) -> bool {
    text.bytes().fold(true, |is_plain, byte| is_plain & matches!(byte, b' '..=b'~'))
}

/// Whether there is an escaped surrogate, or what looks like one. Most JSON has no backslash, and bytes are searched faster than texts.
fn has_surrogates(json: &str) -> bool {
    json.as_bytes().contains(&b'\\') && (json.contains("\\ud") || json.contains("\\uD"))
}

/// The same JSON with the escape of each surrogate that lacks its other half replaced. Backslashes stand within texts alone.
fn paired(json: &str) -> String {
    let mut whole = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        whole.push_str(before);
        let next = escape.get(UNIT_LEN..).unwrap_or_default();
        let (written, len) = match (unit(escape), unit(next)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (None, 2 * UNIT_LEN),
            (Some(0xd800..=0xdfff), _) => (Some("\\ufffd"), UNIT_LEN),
            (Some(_), _) => (None, UNIT_LEN),
            // The backslash and one character, which may be another backslash.
            (None, _) => (None, escape.chars().take(2).map(char::len_utf8).sum()),
        };
        let (as_it_is, after) = escape.split_at_checked(len).unwrap_or((escape, ""));
        whole.push_str(written.unwrap_or(as_it_is));
        rest = after;
    }
    whole + rest
}

/// Bytes of an escape such as `\u00e5`.
const UNIT_LEN: usize = 6;

/// The unit of UTF-16 whose escape `text` begins with.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..UNIT_LEN - 2)?;
    u16::from_str_radix(digits, 16).ok()
}

/// The same JSON value on one line: line ends, which can only stand between tokens, become spaces; within texts, what a terminal would
/// act on is written as JSON's own escapes.
fn one_line(json: String) -> String {
    let json = if has_surrogates(&json) { paired(&json) } else { json };
    if is_plain(&json) || !json.contains(acts) {
        return json;
    }
    let mut line = String::with_capacity(json.len() + 64);
    for character in json.chars() {
        match character {
            '\n' | '\r' | '\t' => line.push(' '),
            character if acts(character) => {
                // All of them lie in the basic plane, so one escape is enough. Writing to a String does not fail.
                let _ = write!(line, "\\u{:04x}", u32::from(character));
            }
            character => line.push(character),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_on_is_left() {
        let foreign = "a\u{1b}[31mred\r\n\tb\u{7f}\u{9b}2J\u{202e}txt\u{2028}é ✓";
        assert_eq!(printable(foreign), "a\\u{1b}[31mred\\r\\n\\tb\\u{7f}\\u{9b}2J\\u{202e}txt\\u{2028}é ✓");
    }

    #[test]
    fn half_a_surrogate_pair_is_printed_as_a_replacement_and_everything_else_as_it_came() {
        for (raw, expected) in [
            (r#""a\ud83d""#, r#""a\ufffd""#),
            (r#""\uD83Dx\uDE00""#, r#""\ufffdx\ufffd""#),
            (r#""\uDe00\ud83D""#, r#""\ufffd\ufffd""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ud83d\n\ude00""#, r#""\ufffd\n\ufffd""#),
            (r#"{"\udbff":["\udfff","é\ud800é"]}"#, r#"{"\ufffd":["\ufffd","é\ufffdé"]}"#),
            (r#""\ud83d\ude00 \uD83D\uDE00 \uDBFF\udfff""#, r#""\ud83d\ude00 \uD83D\uDE00 \uDBFF\udfff""#),
            (
                r#""\\ud83d \\\\ud83d \\\ud83d \ud7ff \ue000 \u00D8""#,
                r#""\\ud83d \\\\ud83d \\\ufffd \ud7ff \ue000 \u00D8""#,
            ),
            (r#""\ud83d\\ude00 \"\ud83d""#, r#""\ufffd\\ude00 \"\ufffd""#),
        ] {
            let value = serde_json::value::RawValue::from_string(raw.to_owned()).unwrap();
            let line = json_line(&value).unwrap();
            assert_eq!(line, expected);
            serde_json::from_str::<serde_json::Value>(&line).unwrap();
        }
        assert_eq!(paired("\"\\ud83"), "\"\\ud83", "whatever it is given");
        assert_eq!(paired("\\"), "\\");
    }

    #[test]
    fn a_json_value_stays_the_same_on_its_one_line() {
        let raw = "{\n\t\"a\": \"\u{9b}2J\u{7f}\u{202e}é\",\r\n  \"b\": [1.0, 2e400]\n}";
        let raw = serde_json::value::RawValue::from_string(raw.to_owned()).unwrap();
        let line = json_line(&raw).unwrap();
        assert_eq!(line, r#"{  "a": "\u009b2J\u007f\u202eé",    "b": [1.0, 2e400] }"#);
        let value: serde_json::Value = serde_json::from_str(r#"{"a": "\u009b2J\u007f\u202eé"}"#).unwrap();
        assert_eq!(value["a"], "\u{9b}2J\u{7f}\u{202e}é");
    }
}
