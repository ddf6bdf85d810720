//! What the fuzzer calls of the service: configuration, requests, answers. Each gets bytes, and asserts what must hold for any.

use std::ffi::OsString;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;

use super::config::Config;
use super::config_file::ConfigFile;
use super::control::{self, Failure, Hello, Lines, Reply, VERSION};
use super::former::FormerFile;
use super::given::Given;
use super::operations::{Operation, Operations};
use super::printable::{json_line, printable};
use super::setting::{Kind, Setting};
use super::settings;
use crate::error::{Error, ErrorKind};
use crate::event::Timestamp;
use crate::store::{Store, StoreOptions};

/// No path that is given names a file: what is configured here is not read.
const PATH: &str = "c.toml";
/// A value that must not show itself, whatever is said about it.
const CANARY: &str = "canary in a coal mine";

/// The first byte chooses how the rest is taken:
///
/// * 0: as the number of a setting and as its value, given in the file and in the environment. Both mean the same.
/// * otherwise: as a configuration file and then, each after a zero, variables of the environment (`NAME=value`).
pub fn configuration(bytes: &[u8]) {
    match bytes.split_first() {
        None => {}
        Some((0, rest)) => both_ways(rest),
        Some((_, rest)) => {
            let mut pieces = rest.split(|byte| *byte == 0);
            let file = pieces.next().unwrap_or_default();
            let variables: Vec<_> = pieces.filter_map(variable).collect();
            let first = judge(file, variables.clone());
            let again = judge(file, variables);
            assert_eq!(first.map_err(|error| error.to_string()), again.map_err(|error| error.to_string()));
        }
    }
}

/// A file of the former program. It is read whole or refused, the same each time; what is read could be kept and is within its bounds, and
/// the requests that keep it hold all of it.
pub fn former(bytes: &[u8]) {
    let (now, interval) = (Timestamp::from_unix_micros(1_700_000_000_000_000), Duration::from_mins(1));
    let parse = || FormerFile::parse(bytes, now, interval).map_err(|error| (error.kind(), error.to_string()));
    let parsed = parse();
    assert_eq!(parsed, parse());
    let file = match parsed {
        Ok(file) => file,
        Err((kind, text)) => return assert_eq!(kind, ErrorKind::InvalidInput, "{text}"),
    };
    let mut missing = file.to_run() + file.failed();
    for operation in file.into_operations() {
        operation.check().expect("what is read could be kept");
        let line = serde_json::to_string(&operation).expect("a request is JSON");
        assert_eq!(serde_json::from_str::<Operation>(&line).expect("it is read again"), operation);
        let Operation::Import { events } = operation else { continue };
        missing -= events.len() as u64;
        for event in events {
            let (event, _) = event.read().expect("it was checked");
            assert!(event.starts_at(now).is_none_or(|start| start <= now.saturating_add(interval)));
        }
    }
    assert_eq!(missing, 0, "events that nothing keeps");
}

fn variable(piece: &[u8]) -> Option<(OsString, OsString)> {
    let (name, value) = str::from_utf8(piece).ok()?.split_once('=')?;
    // These two make somebody look for files.
    let is_looked_for = name == settings::CONFIG_VARIABLE || name == "LINEAR_EVENT_PERSISTENCE_FILE";
    (!is_looked_for).then(|| (name.into(), value.into()))
}

/// The configuration as text, or why it is refused.
fn judge(file: &[u8], mut variables: Vec<(OsString, OsString)>) -> Result<String, Error> {
    variables.push((settings::SECRET_VARIABLE.into(), CANARY.into()));
    let given = Given::new().environment(variables);
    let judged =
        ConfigFile::parse(Path::new(PATH), Path::new(""), file.to_vec()).and_then(|file| given.judge(Some(file)));
    match judged {
        Ok(config) => {
            bounded(&config);
            let told = format!("{config:?} {given:?}");
            assert!(!told.contains(CANARY), "a secret shows itself");
            Ok(told)
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            let (told, source) = (error.to_string(), std::error::Error::source(&error));
            let names = || Setting::all().iter().flat_map(|setting| setting.environment).map(|variable| variable.name);
            let is_named = told.contains(PATH) || names().chain(settings::SWITCHES).any(|name| told.contains(name));
            assert!(is_named, "what does not fit is refused by name: {told}");
            assert!(!format!("{told} {source:?}").contains(CANARY), "a secret shows itself: {told}");
            Err(error)
        }
    }
}

/// Numbers that others rely on are within their bounds.
fn bounded(config: &Config) {
    let Config { batch_size, concurrency, queue_size, body_bytes_max, connections_max, .. } = *config;
    for (number, setting) in [
        (batch_size, &settings::BATCH_SIZE),
        (concurrency, &settings::CONCURRENCY),
        (queue_size, &settings::QUEUE_SIZE),
        (body_bytes_max, &settings::BODY_BYTES_MAX),
        (connections_max, &settings::CONNECTIONS_MAX),
    ] {
        let Kind::Whole { min, max, .. } = setting.kind else { unreachable!("it is a number") };
        assert!((min..=max).contains(&(number as u64)), "{} is {number}", setting.flag);
    }
    let Config { processing_interval, handler_timeout, stale_tolerance, .. } = *config;
    for (time, setting) in [
        (processing_interval, &settings::PROCESSING_INTERVAL),
        (handler_timeout, &settings::HANDLER_TIMEOUT),
        (stale_tolerance, &settings::STALE_TOLERANCE),
    ] {
        let Kind::Time { min, max, .. } = setting.kind else { unreachable!("it is a time") };
        assert!((min..=max).contains(&time), "{} is {time:?}", setting.flag);
    }
}

fn both_ways(bytes: &[u8]) {
    let Some((number, value)) = bytes.split_first() else { return };
    let settings = Setting::all();
    let Some(setting) = settings.get(usize::from(*number) % settings.len()) else { return };
    let Some(variable) = setting.environment.first().filter(|variable| variable.name != settings::SECRET_VARIABLE)
    else {
        return;
    };
    let Ok(text) = str::from_utf8(value) else { return };
    let written = match setting.kind {
        // JSON's escapes are TOML's, but for the one character that JSON lets stand.
        Kind::Text(_) | Kind::Choice(_) | Kind::Files if text.contains('\u{7f}') => return,
        Kind::Text(_) | Kind::Choice(_) | Kind::Files => Value::from(text).to_string(),
        // As a number and as text in the environment; a file that says it in quotes is refused.
        Kind::Whole { .. } | Kind::Time { .. } => match text.parse::<i64>() {
            Ok(number) => number.to_string(),
            Err(_) => return,
        },
    };
    let in_file = judge(format!("{} = {written}\n", setting.key).as_bytes(), Vec::new());
    let in_environment = judge(b"", vec![(variable.name.into(), text.into())]);
    assert_eq!(in_file.is_ok(), in_environment.is_ok(), "{} = {written}: {in_file:?}, {in_environment:?}", setting.key);
    if let (Ok(in_file), Ok(in_environment)) = (in_file, in_environment) {
        // What was given is told too, and differs; what it means is told first.
        let meant = |told: &str| told.split_once(" Given ").map(|(config, _)| config.to_owned());
        assert_eq!(meant(&in_file), meant(&in_environment), "{} = {written}", setting.key);
    }
}

/// Requests, one a line. What is understood means the same when it is written by a command; and it is done to a store in memory, which
/// answers in single lines that are safe to print.
pub fn request(bytes: &[u8]) {
    let understood: Vec<Operation> = bytes.split(|byte| *byte == b'\n').filter_map(understood).collect();
    if understood.is_empty() {
        return;
    }
    let store = Store::in_memory(StoreOptions::default().segment_bytes(64 * 1024));
    let store = store.unwrap_or_else(|error| unreachable!("memory can be had: {error}"));
    let operations = Operations::of_store(store.clone());
    for operation in understood {
        // What is to be done slowly would be.
        let written = serde_json::to_value(&operation).unwrap_or_default();
        if written.pointer("/selection/rate").is_some_and(|rate| !rate.is_null()) {
            continue;
        }
        let performed = operations.perform(operation.clone(), &mut |line| {
            assert_eq!(printable(&line), line, "a line is safe to print");
            assert!(serde_json::from_str::<serde::de::IgnoredAny>(&line).is_ok(), "a line is JSON: {line}");
            ControlFlow::Continue(())
        });
        if let Err(error) = performed {
            let kind = error.kind();
            let is_ours = matches!(kind, ErrorKind::Io | ErrorKind::Corrupt | ErrorKind::Poisoned | ErrorKind::Closed);
            assert!(!is_ours, "{operation:?} harms the store: {error:?}");
            let again = Error::from(Failure::from(&error));
            assert_eq!(again.kind(), kind, "an error keeps its kind on the way");
        }
    }
    assert!(store.close().is_ok(), "the store is well");
}

fn understood(line: &[u8]) -> Option<Operation> {
    let operation = control::request(line).ok()?;
    let _ = operation.access();
    let written = control::line(&operation).unwrap_or_else(|error| unreachable!("it is text and numbers: {error}"));
    assert_eq!(written.find('\n'), Some(written.len() - 1), "a request is one line: {written}");
    let again = control::request(written.as_bytes());
    assert_eq!(again.as_ref().ok(), Some(&operation), "a request says the same on the way: {written}");
    Some(operation)
}

/// The first byte chooses how the rest is taken:
///
/// * 0: as documents, one a line, that a service answers. A command gets the same ones.
/// * otherwise: as all that a service says on its socket, whatever it is.
pub fn answer(bytes: &[u8]) {
    match bytes.split_first() {
        None => {}
        Some((0, rest)) => answered(rest),
        Some((_, said)) => {
            let (first, again) = (told(said), told(said));
            assert_eq!(first.0, again.0);
            assert_eq!(first.1.map_err(|error| error.to_string()), again.1.map_err(|error| error.to_string()));
            let lines = said.split(|byte| *byte == b'\n').count();
            assert!(first.0.len() < lines.max(1), "a document is a line, and the greeting another");
        }
    }
}

/// The documents of one answer, and how it ended.
fn told(said: &[u8]) -> (Vec<String>, Result<bool, Error>) {
    let mut documents = Vec::new();
    let mut lines = Lines::new(PathBuf::from("control.sock"), said);
    let answered = lines.greeting().and_then(|greeted| {
        if greeted {
            lines.answer(&mut |document| {
                assert!(!document.contains('\n'), "a document is one line: {document:?}");
                documents.push(document);
                ControlFlow::Continue(())
            })?;
        }
        Ok(greeted)
    });
    (documents, answered)
}

fn answered(bytes: &[u8]) {
    let hello = Hello { ledgerline: VERSION, store: "ab".to_owned(), epoch: 1, pid: 2 };
    let mut said = written(&hello);
    let mut documents = Vec::new();
    for text in bytes.split(|byte| *byte == b'\n') {
        let Ok(text) = str::from_utf8(text) else { continue };
        let Ok(raw) = RawValue::from_string(text.to_owned()) else { continue };
        let Ok(line) = json_line(&raw) else { unreachable!("it is JSON") };
        assert_eq!(printable(&line), line, "a line is safe to print");
        let values = [text, &line].map(|text| serde_json::from_str::<Value>(text).ok());
        let [before, after] = values;
        // One that holds half a surrogate pair is none before, and has another character there afterwards.
        assert!(before.is_none() || before == after, "a value stays the same on its line");
        let Ok(document) = RawValue::from_string(line.clone()) else { unreachable!("it is JSON still") };
        said.push_str(&written(&Reply::Line(document)));
        documents.push(line);
    }
    said.push_str(&written(&Reply::Done(true)));
    let (found, ended) = told(said.as_bytes());
    assert!(matches!(ended, Ok(true)), "{ended:?}");
    assert_eq!(found, documents, "a command is told what the service says");
}

fn written(value: &impl serde::Serialize) -> String {
    control::line(value).unwrap_or_else(|error| unreachable!("it is JSON: {error}"))
}
