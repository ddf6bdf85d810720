//! What was given on the command line, in the environment and in a file, joined into one configuration.
//!
//! Nothing here reads the environment: it comes in as pairs. Whatever is wrong is refused by the name under which it was given.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::config::{Config, Stale};
use super::config_file::ConfigFile;
use super::setting::Setting;
use super::settings;
use super::values::Values;
use crate::error::Error;
use crate::store::StoreOptions;

/// How names of ours begin. Other names of `LINEAR_` are those of clients of its API, such as `LINEAR_API_KEY`.
const OURS: [&str; 6] =
    ["LEDGERLINE_", "LINEAR_EVENT_", "LINEAR_WEBHOOK_", "LINEAR_BACKGROUND_", "LINEAR_BATCH_", "LINEAR_MAX_"];

/// What was given, not judged yet.
#[derive(Default)]
pub struct Given {
    pub(super) flags: BTreeMap<&'static str, Vec<OsString>>,
    pub(super) environment: BTreeMap<String, OsString>,
    file: Option<PathBuf>,
    /// Whether the former program's file may be there.
    pub(super) is_for_import: bool,
}

impl Given {
    /// Nothing: all defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the value of a flag; a repeatable one may be given again, of the others the last counts.
    #[must_use]
    pub fn flag(mut self, setting: &'static Setting, value: impl Into<OsString>) -> Self {
        self.flags.entry(setting.flag).or_default().push(value.into());
        self
    }

    /// Names the data directory, as `--data` does.
    #[must_use]
    pub fn data(self, path: impl Into<PathBuf>) -> Self {
        self.flag(&settings::DATA, path.into())
    }

    /// Adds a file that holds a signing secret, as `--secret-file` does.
    #[must_use]
    pub fn secret_file(self, path: impl Into<PathBuf>) -> Self {
        self.flag(&settings::SECRET, path.into())
    }

    /// Names the configuration file; it wins over `LEDGERLINE_CONFIG`.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Takes it for settings of an import: the former program's file may be where the environment says, as nobody passes over it.
    #[must_use]
    pub fn for_import(mut self) -> Self {
        self.is_for_import = true;
        self
    }

    /// Adds what the environment holds; names of others are passed over.
    #[must_use]
    pub fn environment(mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let ours = |name: &String| name.starts_with("LEDGERLINE_") || name.starts_with("LINEAR_");
        let named = variables.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        self.environment.extend(named.filter(|(name, _)| ours(name)));
        self
    }

    /// Judges all of it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] names the flag, variable or key whose value does not fit, or the key that is unknown.
    pub fn resolve(self) -> Result<Config, Error> {
        let variable = || self.environment.get(settings::CONFIG_VARIABLE).map(PathBuf::from);
        let path = self.file.clone().or_else(variable);
        if path.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            let from = if self.file.is_some() { "--config" } else { settings::CONFIG_VARIABLE };
            return Err(Error::invalid(format!("{from} names no file")));
        }
        let file = path.map(|path| ConfigFile::read(&path)).transpose()?;
        self.judge(file)
    }

    /// Judges all of it, with what the configuration file says.
    pub(super) fn judge(&self, file: Option<ConfigFile>) -> Result<Config, Error> {
        let (batches, background) = (self.is_on(settings::BATCHES)?, self.is_on(settings::BACKGROUND)?);
        let values = Values { given: self, file };
        let count = |setting| values.whole(setting);
        let in_memory = !self.is_on(settings::PERSISTENCE)?;
        let segment_bytes = count(&settings::SEGMENT_BYTES)?;
        let store = StoreOptions::default();
        // The store's own default depends on where it is kept.
        let is_default = values.is_default(&settings::SEGMENT_BYTES);
        let store = if is_default { store } else { store.segment_bytes(segment_bytes) };
        let (log_bytes_max, body_bytes_max) = {
            let store = if in_memory { store.clone().for_memory() } else { store.clone() };
            (values.log_bytes(store.log_bytes_min())?, values.body_bytes(store.record_bytes_max())?)
        };
        Ok(Config {
            data: values.data(in_memory)?,
            former_events: (values.is_default(&settings::DATA) && !in_memory).then_some(settings::FORMER_EVENTS),
            in_memory,
            listen: values.listen()?,
            secret: values.secret()?,
            log: values.text(&settings::LOG)?,
            store: store
                .max_retries(bounded(count(&settings::MAX_RETRIES)?))
                .retry_interval(values.time(&settings::RETRY_INTERVAL)?)
                .max_event_age(values.time(&settings::MAX_AGE)?)
                .dedup_window(values.time(&settings::DEDUP_HOURS)?)
                .dedup_max(bounded(count(&settings::DEDUP_MAX)?))
                .log_bytes_max(log_bytes_max)
                .process_deaths_max(bounded(count(&settings::PROCESS_DEATHS_MAX)?)),
            queue_size: bounded(count(&settings::QUEUE_SIZE)?),
            batch_processing: batches,
            background_processing: background,
            batch_size: bounded(count(&settings::BATCH_SIZE)?),
            processing_interval: values.time(&settings::PROCESSING_INTERVAL)?,
            concurrency: bounded(count(&settings::CONCURRENCY)?),
            handler_timeout: values.time(&settings::HANDLER_TIMEOUT)?,
            body_bytes_max,
            stale_tolerance: values.time(&settings::STALE_TOLERANCE)?,
            stale: if values.choice(&settings::STALE_DELIVERIES)? == "keep" { Stale::Kept } else { Stale::Rejected },
            connections_max: bounded(count(&settings::CONNECTIONS_MAX)?),
            unknown_variables: self.unknown_variables(),
            unused_secrets: values.unused_secrets(),
        })
    }

    /// Whether a part is on, as it is unless the environment says otherwise.
    fn is_on(&self, switch: &str) -> Result<bool, Error> {
        let Some(value) = self.environment.get(switch) else { return Ok(true) };
        match value.to_str().map(str::to_ascii_lowercase).as_deref() {
            Some("true" | "1" | "yes" | "on") => Ok(true),
            Some("false" | "0" | "no" | "off") => Ok(false),
            _ => Err(Error::invalid(format!("{switch} is {:?}; it must be true or false", value.to_string_lossy()))),
        }
    }

    /// Ours by their prefix, but no setting's. They are told and not refused: orchestrators set such names for a service of this name.
    fn unknown_variables(&self) -> Vec<String> {
        let known = |name: &str| {
            name == settings::CONFIG_VARIABLE
                || settings::SWITCHES.contains(&name)
                || Setting::all().iter().flat_map(|setting| setting.environment).any(|variable| variable.name == name)
        };
        let ours = |name: &&String| OURS.iter().any(|prefix| name.starts_with(prefix));
        let ours = self.environment.keys().filter(ours);
        ours.filter(|name| !known(name)).cloned().collect()
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The environment may hold a secret.
        f.debug_struct("Given").field("flags", &self.flags).field("file", &self.file).finish_non_exhaustive()
    }
}

/// A number that its setting's bounds have already made to fit.
fn bounded<T: TryFrom<u64> + Default>(number: u64) -> T {
    T::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::service::config::SecretFrom;

    fn environment(pairs: &[(&str, &str)]) -> Given {
        Given::new().environment(pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
    }

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        crate::env::Dir::open(directory.path()).unwrap().replace("c.toml", text.as_bytes()).unwrap();
        let path = directory.path().join("c.toml");
        (directory, path)
    }

    #[test]
    fn flags_win_over_the_environment_that_over_the_file_and_that_over_the_defaults() {
        let (_directory, path) = file("batch_size = 2\nconcurrency = 2\nprocessing_interval = 0.5\n");
        let variables = [("LINEAR_EVENT_BATCH_SIZE", "3"), ("LEDGERLINE_CONCURRENCY", "3")];
        let config = environment(&variables).file(path).flag(&settings::BATCH_SIZE, "4").resolve().unwrap();
        assert_eq!((config.batch_size, config.concurrency), (4, 3));
        assert_eq!(config.processing_interval, Duration::from_millis(500));
        assert_eq!(config.handler_timeout, Duration::from_mins(1));
    }

    #[test]
    fn the_defaults_are_those_of_the_store_and_within_their_bounds() {
        let config = Given::new().resolve().unwrap();
        assert_eq!(format!("{:?}", config.store), format!("{:?}", StoreOptions::default()));
        assert_eq!((config.listen(), config.log()), ("127.0.0.1:8787", "info"));
        assert_eq!((config.body_bytes_max, config.connections_max, config.queue_size), (1_048_576, 1_024, 1_000));
        assert_eq!((config.batch_size, config.concurrency), (10, 16));
        assert_eq!(config.stale_tolerance, Duration::from_mins(1));
        assert_eq!(config.secret, SecretFrom::Directory);
    }

    #[test]
    fn of_two_names_for_the_age_the_one_in_hours_wins() {
        let age = |pairs: &[(&str, &str)]| format!("{:?}", environment(pairs).resolve().unwrap().store);
        let hours = |hours: u64| {
            let options = StoreOptions::default().max_event_age(Duration::from_secs(hours * 3_600));
            format!("{options:?}")
        };
        assert_eq!(age(&[("LINEAR_MAX_EVENT_AGE", "7200")]), hours(2));
        assert_eq!(age(&[("LINEAR_MAX_EVENT_AGE", "7200"), ("LINEAR_EVENT_MAX_AGE_HOURS", "3")]), hours(3));
    }

    #[test]
    fn without_persistence_events_are_in_memory_in_segments_as_long_as_was_said() {
        for (value, in_memory) in [("False", true), ("0", true), ("true", false)] {
            let config = environment(&[("LINEAR_EVENT_PERSISTENCE_ENABLED", value)]).resolve().unwrap();
            assert_eq!(config.in_memory, in_memory, "{value}");
            assert_eq!((config.store.segment_bytes, config.store.for_memory().segment_bytes), (64 << 20, 8 << 20));
        }
        let off = [("LINEAR_EVENT_PERSISTENCE_ENABLED", "off"), ("LEDGERLINE_SEGMENT_BYTES", "67108864")];
        assert_eq!(environment(&off).resolve().unwrap().store.for_memory().segment_bytes, 64 << 20);
    }

    #[test]
    fn what_does_not_fit_is_refused_by_the_name_it_came_under() {
        for (given, says) in [
            (
                environment(&[("LINEAR_EVENT_BATCH_SIZE", "many")]),
                "LINEAR_EVENT_BATCH_SIZE is \"many\", but the batch size must be a whole number of events from 1 to 10,000",
            ),
            (environment(&[("LINEAR_EVENT_BATCH_SIZE", "")]), "LINEAR_EVENT_BATCH_SIZE is \"\""),
            (
                environment(&[("LINEAR_MAX_EVENT_AGE", "0.5")]),
                "LINEAR_MAX_EVENT_AGE is \"0.5\", but the max age must be a number of seconds from 1 s to 3,660 days",
            ),
            (
                environment(&[("LINEAR_EVENT_MAX_AGE_HOURS", "0")]),
                "LINEAR_EVENT_MAX_AGE_HOURS is \"0\", but the max age must be a number of hours from 1 s to 3,660 days",
            ),
            (environment(&[("LINEAR_EVENT_RETRY_INTERVAL", "NaN")]), "LINEAR_EVENT_RETRY_INTERVAL is \"NaN\""),
            (
                environment(&[("LINEAR_EVENT_PERSISTENCE_ENABLED", "never")]),
                "LINEAR_EVENT_PERSISTENCE_ENABLED is \"never\"; it must be true or false",
            ),
            (
                environment(&[("LINEAR_BATCH_PROCESSING_ENABLED", "")]),
                "LINEAR_BATCH_PROCESSING_ENABLED is \"\"; it must be",
            ),
            (environment(&[("LINEAR_BACKGROUND_PROCESSING", "maybe")]), "it must be true or false"),
            (Given::new().flag(&settings::LISTEN, "8787"), "--listen is \"8787\"; it must be an address and a port"),
            (Given::new().flag(&settings::LISTEN, ":8787"), "--listen"),
            (Given::new().flag(&settings::STALE_TOLERANCE, "-1"), "--stale-tolerance is \"-1\""),
            (
                environment(&[("LEDGERLINE_STALE_DELIVERIES", "drop")]),
                "LEDGERLINE_STALE_DELIVERIES is \"drop\", but the stale deliveries must be keep or reject",
            ),
            (
                Given::new().flag(&settings::LOG_BYTES_MAX, "1000"),
                "--log-bytes-max is 1000, but the log size must be 0 (no bound) or at least 268435456 bytes: four segments",
            ),
            (
                environment(&[("LEDGERLINE_SEGMENT_BYTES", "65536"), ("LEDGERLINE_BODY_BYTES_MAX", "20000")]),
                "LEDGERLINE_BODY_BYTES_MAX is 20000, but a record has at most 16",
            ),
            (environment(&[("LEDGERLINE_CONFIG", "")]), "LEDGERLINE_CONFIG names no file"),
            (Given::new().secret_file(""), "--secret-file names no file"),
            (Given::new().data(""), "--data is \"\""),
        ] {
            let error = given.resolve().unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn the_file_is_refused_by_line_or_key() {
        for (text, says) in [
            ("batch_size = 2\nbatchsize = 3\n", "has the unknown key \"batchsize\": use data, listen, "),
            ("batch_size = \"2\"\n", "batch_size in "),
            ("batch_size = 2.5\n", "is of the sort \"float\", but the batch size must be a whole number"),
            ("batch_size = 0\n", "c.toml is \"0\", but the batch size"),
            ("data = 3\n", "is of the sort \"integer\", but the data directory must be text"),
            ("secret_files = [1]\n", "secret_files in "),
            ("secret_files = []\n", "c.toml names no file"),
            ("secret_files = [\"a\", \"\"]\n", "c.toml names no file"),
            ("data = \"\"\n", "c.toml is \"\", but the data directory must be text"),
            ("data = \"d\"\nlisten = \n", "is not TOML: line 2: "),
        ] {
            let (_directory, path) = file(text);
            let error = Given::new().file(&path).resolve().unwrap_err();
            assert!(error.to_string().contains(says) && error.to_string().contains("c.toml"), "{error}");
        }
        let error = environment(&[("LEDGERLINE_CONFIG", "/nowhere/c.toml")]).resolve().unwrap_err();
        assert!(error.to_string().contains("/nowhere/c.toml"), "{error}");
    }

    #[test]
    fn paths_in_the_file_start_from_its_directory() {
        let (directory, path) = file("data = \"d\"\nsecret_files = [\"../s\", \"/t\"]\n");
        let config = Given::new().file(&path).resolve().unwrap();
        assert_eq!(config.data(), directory.path().join("d"));
        assert_eq!(config.secret, SecretFrom::Files(vec![directory.path().join("../s"), PathBuf::from("/t")]));
        let config = Given::new().file(&path).data("d").secret_file("s").resolve().unwrap();
        assert_eq!(config.data(), Path::new("d"));
        assert_eq!(config.secret, SecretFrom::Files(vec![PathBuf::from("s")]));
    }

    #[test]
    fn the_former_programs_file_means_a_directory_beside_it_unless_it_is_there() {
        let (directory, path) = file("");
        let given = |name: &str| {
            let file = directory.path().join(name);
            Given::new().environment([("LINEAR_EVENT_PERSISTENCE_FILE".into(), file.into_os_string())])
        };
        let config = given("events.json").resolve().unwrap();
        assert_eq!(config.data(), directory.path().join("events.json.ledgerline"));
        for (name, says) in [
            ("c.toml", "c.toml, a file of the former program, which would be passed over: `ledgerline import /"),
            ("", "a directory, where the former program had a file: give --data DIR or LEDGERLINE_DATA instead"),
            ("x/..", "is no name of a file in UTF-8"),
        ] {
            let error = given(name).resolve().unwrap_err();
            assert!(
                error.to_string().contains("LINEAR_EVENT_PERSISTENCE_FILE") && error.to_string().contains(says),
                "{error}"
            );
        }
        let error = environment(&[("LINEAR_EVENT_PERSISTENCE_FILE", "")]).resolve().unwrap_err();
        assert_eq!(error.to_string(), "LINEAR_EVENT_PERSISTENCE_FILE is empty: it must name a file, or be unset");
        let config = given("c.toml").for_import().resolve().unwrap();
        assert_eq!(config.data(), directory.path().join("c.toml.ledgerline"));
        assert_eq!(given("c.toml").data(&path).resolve().unwrap().data(), path);
        // Where nothing is kept, the former program did not look at its file either.
        let off = [("LINEAR_EVENT_PERSISTENCE_ENABLED".into(), "false".into())];
        let config = given("c.toml").environment(off).resolve().unwrap();
        assert_eq!(config.data(), directory.path().join("c.toml.ledgerline"));
    }

    #[test]
    fn a_secret_in_the_environment_never_shows() {
        let given = environment(&[("LINEAR_WEBHOOK_SECRET", "a secret of the team")]);
        assert!(!format!("{given:?}").contains("secret of"));
        let config = given.resolve().unwrap();
        assert!(!format!("{config:?}").contains("secret of"));
        assert_eq!(config.secret, SecretFrom::Variable(b"a secret of the team".to_vec()));
    }

    #[test]
    fn a_body_is_no_longer_than_a_record_may_be() {
        let most = |pairs: &[(&str, &str)]| environment(pairs).resolve().unwrap().body_bytes_max;
        assert_eq!(most(&[]), 1_048_576);
        let short = most(&[("LEDGERLINE_SEGMENT_BYTES", "65536")]);
        assert!((16_000..16_384).contains(&short), "{short}");
        assert_eq!(
            most(&[("LINEAR_EVENT_PERSISTENCE_ENABLED", "0"), ("LEDGERLINE_BODY_BYTES_MAX", "2000000")]),
            2_000_000
        );
    }

    #[test]
    fn a_secret_that_is_given_and_not_used_is_told() {
        let (_directory, path) = file("secret_files = [\"a\"]\n");
        let variable = [("LINEAR_WEBHOOK_SECRET", "a secret of the team")];
        for (given, unused) in [
            (environment(&variable), &[][..]),
            (environment(&variable).file(&path), &["secret_files"]),
            (environment(&variable).secret_file("b"), &["LINEAR_WEBHOOK_SECRET"]),
            (environment(&variable).secret_file("b").file(&path), &["LINEAR_WEBHOOK_SECRET", "secret_files"]),
            (Given::new().secret_file("b").secret_file("c"), &[]),
        ] {
            let config = given.resolve().unwrap();
            let told = config.unused_secrets();
            assert!(
                told.len() == unused.len() && told.iter().zip(unused).all(|(told, name)| told.starts_with(name)),
                "{told:?}"
            );
        }
    }

    #[test]
    fn names_of_ours_that_are_no_setting_are_told_and_passed_over() {
        let pairs = [
            ("LEDGERLINE_DAAT", "x"),
            ("LEDGERLINE_DATA", "d"),
            ("LINEAR_API_KEY", "x"),
            ("LINEAR_BACKGROUND_PROCESSING", "true"),
            ("LINEAR_BACKGROUND_WORK", "true"),
            ("LINEAR_BATCH_PROCESSING", "true"),
            ("LINEAR_EVENT_BATCHSIZE", "5"),
            ("LINEAR_EVENT_BATCH_SIZE", "5"),
            ("LINEAR_EVENT_PERSISTENCE_ENABLED", "true"),
            ("LINEAR_MAX_AGE", "5"),
            ("LINEAR_WEBHOOK_SECRETS", "x"),
            ("PATH", "x"),
        ];
        let config = environment(&pairs).resolve().unwrap();
        let unknown = [
            "LEDGERLINE_DAAT",
            "LINEAR_BACKGROUND_WORK",
            "LINEAR_BATCH_PROCESSING",
            "LINEAR_EVENT_BATCHSIZE",
            "LINEAR_MAX_AGE",
            "LINEAR_WEBHOOK_SECRETS",
        ];
        assert_eq!(config.unknown_variables(), unknown);
    }

    #[test]
    fn switches_are_on_unless_they_are_switched_off() {
        let switched = |pairs: &[(&str, &str)]| {
            let config = environment(pairs).resolve().unwrap();
            (config.batch_processing, config.background_processing)
        };
        assert_eq!(switched(&[]), (true, true));
        assert_eq!(switched(&[("LINEAR_BATCH_PROCESSING_ENABLED", "0")]), (false, true));
        assert_eq!(switched(&[("LINEAR_BACKGROUND_PROCESSING", "False")]), (true, false));
        assert_eq!(switched(&[("LINEAR_BACKGROUND_PROCESSING", "yes")]), (true, true));
    }
}
