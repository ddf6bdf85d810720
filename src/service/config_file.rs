//! The configuration file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, stat};

use super::named_file;
use super::setting::{Kind, Meaning, Setting};
use crate::error::Error;

/// A configuration file is a page, not a book.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The configuration file, as one list of texts for each key. Paths that it names start from its own directory: commands that are called
/// from elsewhere must find what the service found.
pub(super) struct ConfigFile {
    pub(super) path: PathBuf,
    pub(super) values: BTreeMap<&'static str, Vec<OsString>>,
}

impl ConfigFile {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        // A pipe lies nowhere; whoever wrote to it means paths as on the command line.
        let is_file = stat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        let base = if is_file { path.parent().unwrap_or(Path::new("")) } else { Path::new("") };
        Self::parse(path, base, named_file::read(path, FILE_BYTES_MAX)?)
    }

    /// What the file at `path` says, which holds `bytes`. Relative paths in it start from `base`.
    pub(super) fn parse(path: &Path, base: &Path, bytes: Vec<u8>) -> Result<Self, Error> {
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
            if texts.is_empty() {
                return Err(Error::invalid(format!("{key} in {} names no file", path.display())));
            }
            let texts = texts.into_iter().map(|text| placed(text, setting, base)).collect();
            values.insert(setting.key, texts);
        }
        Ok(Self { path: path.to_owned(), values })
    }
}

/// The text as a flag would give it: what is a path starts from `base`.
fn placed(text: String, setting: &Setting, base: &Path) -> OsString {
    if !setting.is_path() || text.is_empty() || base.as_os_str().is_empty() {
        return text.into();
    }
    base.join(text).into()
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
