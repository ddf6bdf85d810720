//! Every setting, once: the table that parsing, `--help` and the README are made from.
//!
//! A setting comes from its flag, else from the environment, else from the configuration file, else from its default. Names of the
//! former program's environment keep their units, and their meaning as far as there still is such a thing. A value that does not fit is
//! refused by the name it came under, and so is a key that is not in the table.
//!
//! Deliberately absent: where values come from ([`super::values`]).

use std::time::Duration;

use super::setting::{Kind, Meaning, Setting, Unit, Variable};

/// Off: events are kept in memory, and do not outlive the process.
pub(super) const PERSISTENCE: &str = "LINEAR_EVENT_PERSISTENCE_ENABLED";

/// Off: events are claimed one by one.
pub(super) const BATCHES: &str = "LINEAR_BATCH_PROCESSING_ENABLED";

/// Off: events wait for `ledgerline process`.
pub(super) const BACKGROUND: &str = "LINEAR_BACKGROUND_PROCESSING";

/// Variables of the former program, each of which says whether a part is on.
pub(super) const SWITCHES: [&str; 3] = [PERSISTENCE, BATCHES, BACKGROUND];

/// Where the former program kept its events unless it was told otherwise.
pub(super) const FORMER_EVENTS: &str = "linear_events.json";

/// Names the configuration file in the environment.
pub(super) const CONFIG_VARIABLE: &str = "LEDGERLINE_CONFIG";

/// Holds a signing secret itself.
pub(super) const SECRET_VARIABLE: &str = "LINEAR_WEBHOOK_SECRET";

const YEARS: Duration = Duration::from_hours(10 * 366 * 24);

const fn same(name: &'static str) -> Variable {
    Variable { name, meaning: Meaning::Same }
}

pub(super) static DATA: Setting = Setting {
    name: "data directory",
    flag: "data",
    environment: &[
        same("LEDGERLINE_DATA"),
        Variable { name: "LINEAR_EVENT_PERSISTENCE_FILE", meaning: Meaning::FormerFile },
    ],
    key: "data",
    kind: Kind::Text("DIR"),
    default: "ledgerline-data",
    purpose: "Where the events are kept; LINEAR_EVENT_PERSISTENCE_FILE=F means F.ledgerline",
};

pub(super) static LISTEN: Setting = Setting {
    name: "address",
    flag: "listen",
    environment: &[same("LEDGERLINE_LISTEN")],
    key: "listen",
    kind: Kind::Text("ADDR"),
    default: "127.0.0.1:8787",
    purpose: "Where the receiver listens: an address and a port (0: any free one)",
};

pub(super) static SECRET: Setting = Setting {
    name: "signing secret",
    flag: "secret-file",
    environment: &[Variable { name: SECRET_VARIABLE, meaning: Meaning::Secret }],
    key: "secret_files",
    kind: Kind::Files,
    default: "",
    purpose: "Files that hold Linear's signing secrets, all of which are tried; the variable, used where no flag is given, holds \
              one itself; without any, one for trying is generated as `secret` in the data directory",
};

pub(super) static LOG: Setting = Setting {
    name: "log filter",
    flag: "log",
    environment: &[same("LEDGERLINE_LOG")],
    key: "log",
    kind: Kind::Text("FILTER"),
    default: "info",
    purpose: "What is logged to stderr: a level, or levels by module; without colours where NO_COLOR is set or TERM is dumb",
};

pub(super) static BATCH_SIZE: Setting = Setting {
    name: "batch size",
    flag: "batch-size",
    environment: &[same("LINEAR_EVENT_BATCH_SIZE")],
    key: "batch_size",
    kind: Kind::Whole { unit: "events", min: 1, max: 10_000 },
    default: "10",
    purpose: "How many events are claimed at once; ten times as many pending ones are called unhealthy",
};

pub(super) static PROCESSING_INTERVAL: Setting = Setting {
    name: "processing interval",
    flag: "processing-interval",
    environment: &[same("LINEAR_EVENT_PROCESSING_INTERVAL")],
    key: "processing_interval",
    kind: Kind::Time { unit: Unit::Seconds, min: Duration::from_millis(1), max: Duration::from_hours(1) },
    default: "5",
    purpose: "How late a look for work may be; events that arrive are processed at once",
};

pub(super) static QUEUE_SIZE: Setting = Setting {
    name: "queue size",
    flag: "queue-size",
    environment: &[same("LINEAR_EVENT_QUEUE_SIZE")],
    key: "queue_size",
    kind: Kind::Whole { unit: "events", min: 1, max: 1_000_000 },
    default: "1000",
    purpose: "How many events may wait for the disk at once; beyond it the receiver answers 503",
};

pub(super) static RETRY_INTERVAL: Setting = Setting {
    name: "retry interval",
    flag: "retry-interval",
    environment: &[same("LINEAR_EVENT_RETRY_INTERVAL")],
    key: "retry_interval",
    kind: Kind::Time { unit: Unit::Seconds, min: Duration::from_millis(1), max: Duration::from_hours(1) },
    default: "60",
    purpose: "Wait before the first retry; it doubles with each further one, up to an hour",
};

pub(super) static MAX_RETRIES: Setting = Setting {
    name: "max retries",
    flag: "max-retries",
    environment: &[same("LINEAR_EVENT_MAX_RETRIES")],
    key: "max_retries",
    kind: Kind::Whole { unit: "runs", min: 0, max: 1_000 },
    default: "3",
    purpose: "Runs after the first counted failure",
};

pub(super) static MAX_AGE: Setting = Setting {
    name: "max age",
    flag: "max-age-hours",
    environment: &[
        same("LINEAR_EVENT_MAX_AGE_HOURS"),
        Variable { name: "LINEAR_MAX_EVENT_AGE", meaning: Meaning::Seconds },
    ],
    key: "max_age_hours",
    kind: Kind::Time { unit: Unit::Hours, min: Duration::from_secs(1), max: YEARS },
    default: "24",
    purpose: "How long completed and cancelled events are kept; LINEAR_MAX_EVENT_AGE is in seconds",
};

pub(super) static CONCURRENCY: Setting = Setting {
    name: "concurrency",
    flag: "concurrency",
    environment: &[same("LEDGERLINE_CONCURRENCY")],
    key: "concurrency",
    kind: Kind::Whole { unit: "handlers", min: 1, max: 10_000 },
    default: "16",
    purpose: "How many handlers run at once",
};

pub(super) static HANDLER_TIMEOUT: Setting = Setting {
    name: "handler timeout",
    flag: "handler-timeout",
    environment: &[same("LEDGERLINE_HANDLER_TIMEOUT")],
    key: "handler_timeout",
    kind: Kind::Time { unit: Unit::Seconds, min: Duration::from_millis(1), max: Duration::from_hours(24) },
    default: "60",
    purpose: "A run that takes longer has failed",
};

pub(super) static DEDUP_HOURS: Setting = Setting {
    name: "dedup window",
    flag: "dedup-hours",
    environment: &[same("LEDGERLINE_DEDUP_HOURS")],
    key: "dedup_hours",
    kind: Kind::Time { unit: Unit::Hours, min: Duration::ZERO, max: YEARS },
    default: "24",
    purpose: "How long after its reception an event's id is remembered, to refuse duplicates",
};

pub(super) static DEDUP_MAX: Setting = Setting {
    name: "remembered ids",
    flag: "dedup-max",
    environment: &[same("LEDGERLINE_DEDUP_MAX")],
    key: "dedup_max",
    kind: Kind::Whole { unit: "ids", min: 0, max: 100_000_000 },
    default: "4000000",
    purpose: "How many ids of forgotten events are remembered, at about 100 bytes of memory each",
};

pub(super) static LOG_BYTES_MAX: Setting = Setting {
    name: "log size",
    flag: "log-bytes-max",
    environment: &[same("LEDGERLINE_LOG_BYTES_MAX")],
    key: "log_bytes_max",
    kind: Kind::Whole { unit: "bytes", min: 0, max: 1 << 50 },
    default: "0",
    purpose: "Over it finished events are forgotten before their age, the oldest first; at least four segments, or 0: no bound",
};

pub(super) static SEGMENT_BYTES: Setting = Setting {
    name: "segment size",
    flag: "segment-bytes",
    environment: &[same("LEDGERLINE_SEGMENT_BYTES")],
    key: "segment_bytes",
    kind: Kind::Whole { unit: "bytes", min: 64 * 1_024, max: 1_024 * 1_024 * 1_024 },
    default: "67108864",
    purpose: "One file of the log; an event takes at most a quarter of it",
};

pub(super) static PROCESS_DEATHS_MAX: Setting = Setting {
    name: "process deaths",
    flag: "process-deaths-max",
    environment: &[same("LEDGERLINE_PROCESS_DEATHS_MAX")],
    key: "process_deaths_max",
    kind: Kind::Whole { unit: "deaths", min: 0, max: 15 },
    default: "3",
    purpose: "How often the process may die while an event runs alone before the event has failed; 0: for ever",
};

pub(super) static BODY_BYTES_MAX: Setting = Setting {
    name: "body limit",
    flag: "body-bytes-max",
    environment: &[same("LEDGERLINE_BODY_BYTES_MAX")],
    key: "body_bytes_max",
    kind: Kind::Whole { unit: "bytes", min: 1_024, max: 15 * 1_024 * 1_024 },
    default: "1048576",
    purpose: "Longer deliveries are answered with 413; at most a quarter of a segment",
};

pub(super) static STALE_TOLERANCE: Setting = Setting {
    name: "stale tolerance",
    flag: "stale-tolerance",
    environment: &[same("LEDGERLINE_STALE_TOLERANCE")],
    key: "stale_tolerance",
    kind: Kind::Time { unit: Unit::Seconds, min: Duration::ZERO, max: YEARS },
    default: "60",
    purpose: "Deliveries whose own time is further off are stale",
};

pub(super) static STALE_DELIVERIES: Setting = Setting {
    name: "stale deliveries",
    flag: "stale-deliveries",
    environment: &[same("LEDGERLINE_STALE_DELIVERIES")],
    key: "stale_deliveries",
    kind: Kind::Choice(&["keep", "reject"]),
    default: "keep",
    purpose: "What becomes of stale deliveries: kept and flagged, or answered with 401 and lost once Linear has given up",
};

pub(super) static CONNECTIONS_MAX: Setting = Setting {
    name: "connections",
    flag: "connections-max",
    environment: &[same("LEDGERLINE_CONNECTIONS_MAX")],
    key: "connections_max",
    kind: Kind::Whole { unit: "connections", min: 1, max: 65_536 },
    default: "1024",
    purpose: "How many connections the receiver serves at once; further ones wait",
};

/// All of them, in the order in which they are told.
pub(super) static TABLE: [&Setting; 21] = [
    &DATA,
    &LISTEN,
    &SECRET,
    &LOG,
    &BATCH_SIZE,
    &PROCESSING_INTERVAL,
    &QUEUE_SIZE,
    &RETRY_INTERVAL,
    &MAX_RETRIES,
    &MAX_AGE,
    &CONCURRENCY,
    &HANDLER_TIMEOUT,
    &DEDUP_HOURS,
    &DEDUP_MAX,
    &LOG_BYTES_MAX,
    &SEGMENT_BYTES,
    &PROCESS_DEATHS_MAX,
    &BODY_BYTES_MAX,
    &STALE_TOLERANCE,
    &STALE_DELIVERIES,
    &CONNECTIONS_MAX,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_stands_for_two_settings() {
        let mut names = BTreeSet::new();
        for setting in TABLE {
            assert!(names.insert(format!("--{}", setting.flag)), "{}", setting.flag);
            assert!(names.insert(setting.key.to_owned()), "{}", setting.key);
            for variable in setting.environment {
                assert!(names.insert(variable.name.to_owned()), "{}", variable.name);
            }
        }
        for switch in SWITCHES {
            assert!(names.insert(switch.to_owned()), "{switch}");
        }
    }

    #[test]
    fn every_name_of_the_former_programs_environment_is_known() {
        let known: BTreeSet<_> = TABLE
            .iter()
            .flat_map(|setting| setting.environment)
            .map(|variable| variable.name)
            .chain(SWITCHES)
            .filter(|name| name.starts_with("LINEAR_"))
            .collect();
        let former = BTreeSet::from([
            "LINEAR_EVENT_PERSISTENCE_ENABLED",
            "LINEAR_EVENT_PERSISTENCE_FILE",
            "LINEAR_EVENT_MAX_AGE_HOURS",
            "LINEAR_EVENT_BATCH_SIZE",
            "LINEAR_EVENT_PROCESSING_INTERVAL",
            "LINEAR_EVENT_QUEUE_SIZE",
            "LINEAR_EVENT_RETRY_INTERVAL",
            "LINEAR_EVENT_MAX_RETRIES",
            "LINEAR_BATCH_PROCESSING_ENABLED",
            "LINEAR_BACKGROUND_PROCESSING",
            "LINEAR_MAX_EVENT_AGE",
            "LINEAR_WEBHOOK_SECRET",
        ]);
        assert_eq!(known, former);
    }

    #[test]
    fn help_and_readme_tell_what_the_table_says() {
        assert_eq!(
            RETRY_INTERVAL.help(),
            "Wait before the first retry; it doubles with each further one, up to an hour \
             [environment: LINEAR_EVENT_RETRY_INTERVAL] [file: retry_interval] [default: 60 seconds] [1 ms to 3,600 s]"
        );
        let markdown = Setting::markdown();
        for row in [
            "| max age | `--max-age-hours` | `LINEAR_EVENT_MAX_AGE_HOURS`, `LINEAR_MAX_EVENT_AGE` | `max_age_hours` | hours | `24` | 1 s to 3,660 days |\n",
            "| signing secret | `--secret-file` | `LINEAR_WEBHOOK_SECRET` | `secret_files` | files | – | – |\n",
            "| body limit | `--body-bytes-max` | `LEDGERLINE_BODY_BYTES_MAX` | `body_bytes_max` | bytes | `1048576` | 1,024 to 15,728,640 |\n",
        ] {
            assert!(markdown.contains(row), "{markdown}");
        }
        assert_eq!(markdown.lines().count(), 2 + TABLE.len());
    }
}
