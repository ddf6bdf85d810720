//! What the former program has left goes on here: imported from its file by the real binary, alone and beside a service.
#![cfg(feature = "cli")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "what its own scaffolding cannot do fails a test, and that includes files"
)]

#[path = "program/scaffold.rs"]
mod scaffold;
#[path = "program/serving.rs"]
#[expect(dead_code, reason = "each test uses a part")]
mod serving;

use std::path::{Path, PathBuf};
use std::process::Command;

use scaffold::command;
use serde_json::{Value, json};
use serving::Serving;

const FILE: &str = "linear_events.json";
/// The events of the queue that are to run, by the ends of their ids, and the one that has failed for good.
const TO_RUN: [&str; 4] = ["0001", "0002", "0005", "0006"];
const FAILED: &str = "0b7e1f6a-0004-4c3d-8e5f-000000000004";

/// A directory in which the former program has left this file.
fn left(name: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(fixture(name), directory.path().join(FILE)).unwrap();
    directory
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/former").join(name)
}

/// The command where the former program's environment still stands.
fn run(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = in_its_environment(directory, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn in_its_environment(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = command(directory, arguments);
    command.env("LINEAR_EVENT_PERSISTENCE_FILE", FILE);
    command
}

fn done(directory: &Path, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = run(directory, arguments);
    assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}");
    stdout
}

fn documents(directory: &Path, arguments: &[&str]) -> Vec<Value> {
    done(directory, arguments).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A service where the former program's environment still stands.
fn serve(directory: &Path) -> Serving {
    Serving::of(&mut in_its_environment(directory, &["serve", "--listen", "127.0.0.1:0"]))
}

/// The next events that it prints.
fn events<const N: usize>(service: &mut Serving) -> [Value; N] {
    std::array::from_fn(|_| service.event())
}

fn moved_away(directory: &Path) {
    std::fs::rename(directory.join(FILE), directory.join("imported.json")).unwrap();
}

/// The second group of an event's id, which tells those of the queue apart.
fn number(event: &Value) -> &str {
    event["id"].as_str().unwrap().split('-').nth(1).unwrap()
}

#[test]
fn what_waited_runs_and_what_had_failed_waits_for_a_person() {
    let directory = left("queue.json");
    let directory = directory.path();
    let told = done(directory, &["import", FILE]);
    assert_eq!(
        told,
        "linear_events.json holds 4 events to run, 1 that failed for good, and 1 that completed and are left out\n\
         3 numbers (NaN, Infinity) that JSON does not know became null\n\
         5 events kept in linear_events.json.ledgerline, 0 there before; now move linear_events.json away\n"
    );
    let (code, _, stderr) = run(directory, &["serve"]);
    assert_eq!(code, 2);
    assert!(
        stderr.contains("`ledgerline import linear_events.json --data linear_events.json.ledgerline` keeps its events"),
        "{stderr}"
    );
    assert_eq!(std::fs::read(directory.join(FILE)).unwrap(), std::fs::read(fixture("queue.json")).unwrap());

    moved_away(directory);
    let mut service = serve(directory);
    // Those that were due for a retry were so long ago.
    let events = events::<4>(&mut service);
    let mut numbers: Vec<_> = events.iter().map(number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, TO_RUN);
    let first = events.iter().find(|event| number(event) == "0001").unwrap();
    let shown = &documents(directory, &["show", first["id"].as_str().unwrap(), "--json"])[0];
    assert_eq!(shown["headers"], json!([{"name": "former-timestamp", "value": "2026-11-20T08:00:00.000000Z"}]));
    assert_eq!((&first["source"], &first["event_type"]), (&json!("import"), &json!("Issue")));
    assert_eq!(first["data"]["title"], "naïve 🧨");

    let failed = documents(directory, &["list", "--status", "failed", "--json"]);
    assert_eq!((failed.len(), failed[0]["id"].as_str()), (1, Some(FAILED)));
    let reason = "given up by the former program after 3 failures: the other side said “no”, then \u{fffd}";
    assert_eq!(failed[0]["error_message"], reason);
    done(directory, &["replay", "--failed"]);
    assert_eq!(service.event()["id"], FAILED);
}

#[test]
fn a_file_may_be_imported_again_also_beside_a_service() {
    let directory = left("queue.json");
    let directory = directory.path();
    let first = documents(directory, &["import", FILE, "--json"]);
    let [kept @ .., last] = first.as_slice() else { panic!("nothing was said") };
    let statuses: Vec<_> = kept.iter().map(|event| (number(event), event["status"].as_str().unwrap())).collect();
    let (pending, failed) = ("pending", "failed");
    assert_eq!(
        statuses,
        [("0001", pending), ("0002", pending), ("0004", failed), ("0005", pending), ("0006", pending)]
    );
    assert!(kept.iter().all(|event| event["duplicate"] == false));
    let imported = |kept: u64, duplicates: u64| {
        json!({"imported": {
            "to_run": 4, "failed": 1, "kept": kept, "duplicates": duplicates, "completed": 1, "numbers": 3, "dry_run": false,
            "data": "linear_events.json.ledgerline"
        }})
    };
    assert_eq!(last, &imported(5, 0));

    moved_away(directory);
    let mut service = serve(directory);
    let events = events::<4>(&mut service);
    let again = documents(directory, &["import", "imported.json", "--json"]);
    let [known @ .., last] = again.as_slice() else { panic!("nothing was said") };
    assert!(known.iter().all(|event| event["duplicate"] == true && event["status"].is_null()), "{known:?}");
    assert_eq!(last, &imported(0, 5));
    for event in &events {
        let known = known.iter().find(|known| known["id"] == event["id"]).unwrap();
        assert_eq!(known["seq"], event["seq"]);
    }
    let ids: Vec<_> = documents(directory, &["list", "--json"]).iter().map(|event| event["id"].clone()).collect();
    assert_eq!(ids.len(), 5, "{ids:?}");
}

#[test]
fn a_service_runs_what_is_imported_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut service = serve(directory);
    let list = fixture("deliveries.json");
    let told = done(directory, &["import", list.to_str().unwrap()]);
    assert!(
        told.contains("holds 3 events to run, 0 that failed")
            && told.contains("2 events kept in linear_events.json.ledgerline, 1 there before"),
        "{told}"
    );
    let [issue, comment] = events::<2>(&mut service);
    assert_eq!((&issue["event_type"], &issue["action"]), (&json!("Issue"), &json!("create")));
    assert_eq!((&comment["event_type"], &comment["source"]), (&json!("Comment"), &json!("linear")));
    assert_eq!(issue["data"]["data"]["identifier"], "ENG-1778");
    assert_eq!((&issue["stale"], &issue["key"]), (&json!(false), &issue["data"]["data"]["id"]));
}

#[test]
fn a_file_that_is_cut_short_and_a_dry_run_change_nothing() {
    let directory = left("queue.json");
    let directory = directory.path();
    let told = done(directory, &["import", FILE, "--dry-run"]);
    assert!(told.ends_with("because this was a dry run; it would be in linear_events.json.ledgerline\n"), "{told}");
    let whole = std::fs::read(directory.join(FILE)).unwrap();
    std::fs::write(directory.join(FILE), &whole[..whole.len() / 2]).unwrap();
    let (code, stdout, stderr) = run(directory, &["import", FILE]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    for says in ["nothing of linear_events.json was kept", "cut short", "EOF while parsing", " line "] {
        assert!(stderr.contains(says), "{stderr}");
    }
    let (code, _, stderr) = run(directory, &["import", "nowhere.json", "--json"]);
    let told: Value = serde_json::from_str(&stderr).unwrap();
    assert_eq!((code, &told["error"]), (2, &json!("not_found")));
    assert!(!directory.join("linear_events.json.ledgerline").exists(), "a store was made");
}

#[test]
fn what_was_kept_before_a_refusal_stays_and_is_counted() {
    let directory = left("queue.json");
    let directory = directory.path();
    moved_away(directory);
    done(directory, &["emit", "Other", "1", "--id", FAILED]);
    let (code, stdout, stderr) = run(directory, &["import", "imported.json", "--json"]);
    assert_eq!((code, stdout.lines().count()), (2, 2));
    let told: Value = serde_json::from_str(&stderr).unwrap();
    assert_eq!(told["error"], "id_conflict");
    let message = told["message"].as_str().unwrap();
    assert!(message.contains(FAILED) && message.contains("before that 2 events had been kept"), "{message}");
    assert_eq!(documents(directory, &["list", "--json"]).len(), 3);
}
