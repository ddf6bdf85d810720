//! The configuration file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::named_file;
use super::setting::{Kind, Meaning, Setting};
use crate::error::Error;

/// A configuration file is a page, not a book.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The configuration file, as one list of texts for each key.
pub(super) struct ConfigFile {
    pub(super) path: PathBuf,
    pub(super) values: BTreeMap<&'static str, Vec<String>>,
}

impl ConfigFile {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        Self::parse(path, named_file::read(path, FILE_BYTES_MAX)?)
    }

    /// What the file at `path` says, which holds `bytes`.
    pub(super) fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self, Error> {
        let text = String::from_utf8(bytes)
            .map_err(|cause| Error::invalid(format!("{} is not UTF-8", path.display())).caused_by(cause))?;
        let table: toml::Table = text.parse().map_err(|cause: toml::de::Error| {
            let before = cause.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            Error::invalid(format!("{} is not TOML: line {line}: {}", path.display(), cause.message()))
        })?;
        let mut values = BTreeMap::new();
        for (key, value) in table {
            let setting = Setting::all().iter().find(|setting| setting.key == key).ok_or_else(|| {
                let known: Vec<_> = Setting::all().iter().map(|setting| setting.key).collect();
                Error::invalid(format!("{} has the unknown key {key:?}: use {}", path.display(), known.join(", ")))
            })?;
            let texts = texts(&value, setting).ok_or_else(|| {
                let (path, sort, must_be) = (path.display(), value.type_str(), setting.must_be(Meaning::Same));
                Error::invalid(format!("{key} in {path} is of the sort {sort:?}, but {must_be}"))
            })?;
            values.insert(setting.key, texts);
        }
        Ok(Self { path: path.to_owned(), values })
    }
}

/// The values in the file as flags would give them; none if they are of another sort.
fn texts(value: &toml::Value, setting: &Setting) -> Option<Vec<String>> {
    match (value, &setting.kind) {
        (toml::Value::String(text), Kind::Text(_) | Kind::Choice(_) | Kind::Files) => Some(vec![text.clone()]),
        (toml::Value::Array(items), Kind::Files) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        (toml::Value::Integer(number), Kind::Whole { .. } | Kind::Time { .. }) => Some(vec![number.to_string()]),
        (toml::Value::Float(number), Kind::Time { .. }) => Some(vec![number.to_string()]),
        _ => None,
    }
}
