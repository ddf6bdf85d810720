//! Numbers that Python writes and JSON does not know.

use std::borrow::Cow;

/// As Python's `json` writes them. A minus sign is no part of a word here, so it is looked for before it.
const WORDS: [&str; 3] = ["NaN", "-Infinity", "Infinity"];

/// The same text with each of these numbers as `null`, and how many there were.
pub(super) fn finite(text: &str) -> (Cow<'_, str>, u64) {
    if !WORDS.iter().any(|word| text.contains(word)) {
        return (Cow::Borrowed(text), 0);
    }
    let (mut finite, mut count, mut rest) = (String::with_capacity(text.len()), 0, text);
    while let Some(at) = rest.find(['"', 'N', 'I', '-']) {
        let (before, found) = rest.split_at(at);
        finite.push_str(before);
        rest = if let Some(after) = WORDS.iter().find_map(|word| found.strip_prefix(word)) {
            count += 1;
            finite.push_str("null");
            after
        } else {
            let (as_it_is, after) = found.split_at(if found.starts_with('"') { text_len(found) } else { 1 });
            finite.push_str(as_it_is);
            after
        };
    }
    finite.push_str(rest);
    (Cow::Owned(finite), count)
}

/// The length of the text, with its quotes, that `json` begins with.
fn text_len(json: &str) -> usize {
    let mut is_escaped = false;
    let end = json.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    });
    end.map_or(json.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_json_does_not_know_are_null_but_never_within_a_text() {
        for (text, expected, count) in [
            ("{\"a\": NaN, \"b\": [Infinity,-Infinity]}", "{\"a\": null, \"b\": [null,null]}", 3),
            ("[-1, -0.5, 1e-7, NaN]", "[-1, -0.5, 1e-7, null]", 1),
            ("{\"NaN\": \"Infinity\"}", "{\"NaN\": \"Infinity\"}", 0),
            (r#"["\"NaN", NaN, "\\", NaN, "\\\"NaN\\"]"#, r#"["\"NaN", null, "\\", null, "\\\"NaN\\"]"#, 2),
            ("[\"é NaN ü\", NaN, \"é\"]", "[\"é NaN ü\", null, \"é\"]", 1),
            ("[1, 2]", "[1, 2]", 0),
            ("[NaN, \"cut NaN", "[null, \"cut NaN", 1),
            ("\"NaN\\", "\"NaN\\", 0),
            ("", "", 0),
        ] {
            assert_eq!(finite(text), (Cow::Borrowed(expected), count), "{text}");
        }
    }
}
