//! The value at a JSON pointer, whatever stands beside it.
//!
//! JSON has texts for which serde_json has no value: half of a surrogate pair, a number beyond any `f64`, nesting without end. Data may
//! hold such (its bytes are kept as they came), so nothing is decoded but what is asked for.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// The value in `text`, which is JSON, at an RFC 6901 pointer; none if there is none, or none that serde_json can give.
pub(super) fn find(text: &str, pointer: &str) -> Option<Value> {
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return None;
    }
    let mut found: &RawValue = serde_json::from_str(text).ok()?;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        found = serde_json::Deserializer::from_str(found.get()).deserialize_any(Within(&token)).ok()??;
    }
    serde_json::from_str(found.get()).ok()
}

/// Looks in an object for the member of this name, or in an array for the item of this number.
struct Within<'t>(&'t str);

impl Within<'_> {
    /// Whether a member's name, as it stands in the text, is the one.
    fn is(&self, name: &RawValue) -> bool {
        let name = name.get();
        if name.contains('\\') {
            return serde_json::from_str::<String>(name).is_ok_and(|name| name == self.0);
        }
        name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) == Some(self.0)
    }

    fn number(&self) -> Option<usize> {
        // `01` and `+1` number nothing.
        self.0.parse().ok().filter(|number: &usize| number.to_string() == self.0)
    }
}

impl<'d> Visitor<'d> for Within<'_> {
    type Value = Option<&'d RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'d>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = members.next_key::<&RawValue>()? {
            let value = members.next_value()?;
            if self.is(name) {
                // Of several with one name the last counts, as for serde_json.
                found = Some(value);
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'d>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        if let Some(number) = self.number() {
            for _ in 0..number {
                if items.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(None);
                }
            }
            found = items.next_element()?;
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_lead_to_what_serde_json_finds_by_them() {
        let text = r#" { "a" : [1, {"b\u0063": null, "": "x"}, [[]], "s"], "x/y": {"~": true}, "é": 1.5, "d": 1, "d": {"e": 2} } "#;
        let value: Value = serde_json::from_str(text).unwrap();
        let mut found = 0;
        for pointer in [
            "",
            "/",
            "a",
            "/a",
            "/a/0",
            "/a/1",
            "/a/1/bc",
            "/a/1/",
            "/a/2/0",
            "/a/2/0/0",
            "/a/3",
            "/a/3/0",
            "/a/4",
            "/a/-",
            "/a/00",
            "/a/+1",
            "/a/18446744073709551616",
            "/a/1/bc/d",
            "/x~1y/~0",
            "/x/y",
            "/é",
            "/d",
            "/d/e",
            "/d/e/f",
            "/D",
        ] {
            assert_eq!(find(text, pointer), value.pointer(pointer).cloned(), "{pointer:?}");
            found += usize::from(find(text, pointer).is_some());
        }
        assert_eq!(found, 12);
    }

    #[test]
    fn what_has_no_value_hides_nothing_beside_it() {
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        let long = "9".repeat(400);
        for odd in [r#""\ud83d""#, "1e999", &*deep, &*long] {
            for text in [
                format!(r#"{{"odd":{odd},"title":"New","in":[{odd},{{"it":1,"odd":{odd}}}]}}"#),
                format!(r#"{{"\ud83d":{odd},"title":"New","in":[0,{{"it":1}},{odd}]}}"#),
            ] {
                assert_eq!(find(&text, "/title"), Some("New".into()), "{text}");
                assert_eq!(find(&text, "/in/1/it"), Some(1.into()), "{text}");
                assert_eq!(find(&text, "/odd"), None, "{text}");
            }
        }
    }
}
