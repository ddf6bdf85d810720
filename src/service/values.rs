//! Each setting's value: the one that wins, judged.
//!
//! Flags win over the environment, that over the file, that over the default; within the environment a setting's first name wins.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::config::SecretFrom;
use super::config_file::ConfigFile;
use super::given::Given;
use super::setting::{Kind, Meaning, Setting, Unit, Variable};
use super::settings;
use crate::env::{Dir, may_be_there};
use crate::error::Error;

/// What the place is called that a default comes from.
const DEFAULT: &str = "the default";

/// One setting's values, and what to call the place they came from.
struct Chosen {
    values: Vec<OsString>,
    from: String,
    meaning: Meaning,
}

impl Chosen {
    /// The last value: flags may be repeated to change one's mind.
    fn last(&self) -> OsString {
        self.values.last().cloned().unwrap_or_default()
    }

    fn refused(&self, setting: &Setting) -> Error {
        let value = self.last();
        Error::invalid(format!("{} is {:?}, but {}", self.from, value.to_string_lossy(), setting.must_be(self.meaning)))
    }
}

/// All that was given, in order of precedence.
pub(super) struct Values<'a> {
    pub(super) given: &'a Given,
    pub(super) file: Option<ConfigFile>,
}

impl Values<'_> {
    fn choose(&self, setting: &Setting) -> Chosen {
        let values = if setting.default.is_empty() { Vec::new() } else { vec![setting.default.into()] };
        let default = Chosen { values, from: DEFAULT.to_owned(), meaning: Meaning::Same };
        self.given(setting).next().unwrap_or(default)
    }

    /// What was said of a setting, and where: what comes first wins.
    fn given(&self, setting: &Setting) -> impl Iterator<Item = Chosen> {
        let flag = self.given.flags.get(setting.flag).map(|values| {
            let from = format!("--{}", setting.flag);
            Chosen { values: values.clone(), from, meaning: Meaning::Same }
        });
        let environment = setting.environment.iter().filter_map(|Variable { name, meaning }| {
            let value = self.given.environment.get(*name)?;
            Some(Chosen { values: vec![value.clone()], from: (*name).to_owned(), meaning: *meaning })
        });
        let file = self.file.as_ref().and_then(|file| {
            let values = file.values.get(setting.key)?;
            let from = format!("{} in {}", setting.key, file.path.display());
            Some(Chosen { values: values.clone(), from, meaning: Meaning::Same })
        });
        flag.into_iter().chain(environment).chain(file)
    }

    /// Whether nobody has said anything about it.
    pub(super) fn is_default(&self, setting: &Setting) -> bool {
        self.choose(setting).from == DEFAULT
    }

    pub(super) fn text(&self, setting: &Setting) -> Result<String, Error> {
        let chosen = self.choose(setting);
        let text = chosen.last().into_string().map_err(|_| chosen.refused(setting))?;
        if text.is_empty() { Err(chosen.refused(setting)) } else { Ok(text) }
    }

    pub(super) fn choice(&self, setting: &Setting) -> Result<&'static str, Error> {
        let chosen = self.choose(setting);
        let Kind::Choice(words) = setting.kind else { return Err(chosen.refused(setting)) };
        words.iter().find(|word| chosen.last() == ***word).copied().ok_or_else(|| chosen.refused(setting))
    }

    pub(super) fn whole(&self, setting: &Setting) -> Result<u64, Error> {
        let chosen = self.choose(setting);
        let Kind::Whole { min, max, .. } = setting.kind else { return Err(chosen.refused(setting)) };
        // With a sign, because it is that in a file: -0 is 0 there.
        let number = chosen.last().to_str().and_then(|text| text.parse::<i64>().ok());
        let number = number.and_then(|number| u64::try_from(number).ok());
        number.filter(|number| (min..=max).contains(number)).ok_or_else(|| chosen.refused(setting))
    }

    /// What bounds a delivery's body: no more than `most`, which a record may have.
    pub(super) fn body_bytes(&self, most: usize) -> Result<usize, Error> {
        let bytes = usize::try_from(self.whole(&settings::BODY_BYTES_MAX)?).unwrap_or(usize::MAX);
        if bytes <= most || self.is_default(&settings::BODY_BYTES_MAX) {
            return Ok(bytes.min(most));
        }
        let from = self.choose(&settings::BODY_BYTES_MAX).from;
        Err(Error::invalid(format!(
            "{from} is {bytes}, but a record has at most {most} bytes, a quarter of a segment: give longer segments, too"
        )))
    }

    /// What bounds the log: nothing, or `least` and more.
    pub(super) fn log_bytes(&self, least: u64) -> Result<u64, Error> {
        let bytes = self.whole(&settings::LOG_BYTES_MAX)?;
        if bytes == 0 || bytes >= least {
            return Ok(bytes);
        }
        let from = self.choose(&settings::LOG_BYTES_MAX).from;
        Err(Error::invalid(format!(
            "{from} is {bytes}, but the log size must be 0 (no bound) or at least {least} bytes: four segments"
        )))
    }

    pub(super) fn time(&self, setting: &Setting) -> Result<Duration, Error> {
        let chosen = self.choose(setting);
        let Kind::Time { unit, min, max } = setting.kind else { return Err(chosen.refused(setting)) };
        let unit = if chosen.meaning == Meaning::Seconds { Unit::Seconds } else { unit };
        let number = chosen.last().to_str().and_then(|text| text.parse::<f64>().ok());
        let time = number.and_then(|number| Duration::try_from_secs_f64(number * unit.seconds()).ok());
        time.filter(|time| (min..=max).contains(time)).ok_or_else(|| chosen.refused(setting))
    }

    /// The data directory. Where events are `in_memory`, nobody misses what the former program has kept.
    pub(super) fn data(&self, in_memory: bool) -> Result<PathBuf, Error> {
        let chosen = self.choose(&settings::DATA);
        let path = PathBuf::from(chosen.last());
        match (chosen.meaning, path.as_os_str().is_empty()) {
            (Meaning::FormerFile, true) => {
                Err(Error::invalid(format!("{} is empty: it must name a file, or be unset", chosen.from)))
            }
            (Meaning::FormerFile, false) => {
                if !in_memory && !self.given.is_for_import {
                    check_former_file(&chosen.from, &path)?;
                }
                beside_former_file(&chosen.from, &path)
            }
            (_, true) => Err(chosen.refused(&settings::DATA)),
            (_, false) => Ok(path),
        }
    }

    pub(super) fn listen(&self) -> Result<String, Error> {
        let address = self.text(&settings::LISTEN)?;
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        if matches!(port, Some(Ok(_))) {
            return Ok(address);
        }
        let from = self.choose(&settings::LISTEN).from;
        Err(Error::invalid(format!("{from} is {address:?}; it must be an address and a port, such as 127.0.0.1:8787")))
    }

    /// The places that give secrets, but for the one that wins.
    pub(super) fn unused_secrets(&self) -> Vec<String> {
        self.given(&settings::SECRET).skip(1).map(|chosen| chosen.from).collect()
    }

    pub(super) fn secret(&self) -> Result<SecretFrom, Error> {
        let chosen = self.choose(&settings::SECRET);
        if chosen.meaning == Meaning::Secret {
            return Ok(SecretFrom::Variable(chosen.last().into_encoded_bytes()));
        }
        let paths: Vec<_> = chosen.values.iter().map(PathBuf::from).collect();
        if paths.iter().any(|path| path.as_os_str().is_empty()) {
            return Err(Error::invalid(format!("{} names no file", chosen.from)));
        }
        Ok(if paths.is_empty() { SecretFrom::Directory } else { SecretFrom::Files(paths) })
    }
}

/// Refuses the former program's file if it is there: what it holds would be passed over in silence.
fn check_former_file(variable: &str, file: &Path) -> Result<(), Error> {
    let path = file.display();
    if Dir::open(file).is_ok() {
        return Err(Error::invalid(format!(
            "{variable} names {path}, a directory, where the former program had a file: give --data DIR or LEDGERLINE_DATA instead"
        )));
    }
    if may_be_there(file) {
        return Err(Error::invalid(format!(
            "{variable} names {path}, a file of the former program, which would be passed over: `ledgerline import {path} --data \
             {path}.ledgerline` keeps its events, then move it away; or give --data DIR"
        )));
    }
    Ok(())
}

/// `F.ledgerline` for the former program's file F.
fn beside_former_file(variable: &str, file: &Path) -> Result<PathBuf, Error> {
    match file.file_name().and_then(|name| name.to_str()) {
        Some(name) => Ok(file.with_file_name(format!("{name}.ledgerline"))),
        None => Err(Error::invalid(format!("{variable} is {}, which is no name of a file in UTF-8", file.display()))),
    }
}
