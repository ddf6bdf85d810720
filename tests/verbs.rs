//! The verbs of whoever must rely on a store's evidence, as a person types them: verify, salvage, backup, status, show --history.
#![cfg(feature = "cli")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "what its own scaffolding cannot do fails a test, and that includes files"
)]

#[path = "program/scaffold.rs"]
mod scaffold;
#[path = "program/serving.rs"]
#[expect(dead_code, reason = "each test uses a part")]
mod serving;

use std::fs;
use std::io::BufRead as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use ledgerline::{NewEvent, Outcome, Store, StoreOptions, Timestamp};
use scaffold::command;
use serde_json::Value;
use serving::Serving;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/store-v1");

/// Exit code, standard output and standard error of the command in `directory`.
fn run(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = command(directory, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn json(directory: &Path, arguments: &[&str]) -> Value {
    let (code, stdout, stderr) = run(directory, arguments);
    assert!(code < 2, "{arguments:?}: {stderr}");
    serde_json::from_str(&stdout).unwrap()
}

/// The fixture's store in a directory of its own, as `store`; damaged in one byte if `at` says where.
fn fixture(at: Option<usize>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    fs::create_dir(&store).unwrap();
    for name in ["MANIFEST", "0000000002.seg", "0000000003.seg"] {
        let mut bytes = fs::read(Path::new(FIXTURE).join(name)).unwrap();
        if let Some(at) = at.filter(|_| name == "0000000002.seg") {
            bytes[at] ^= 1;
        }
        fs::write(store.join(name), bytes).unwrap();
    }
    dir
}

#[test]
fn an_event_says_why_it_does_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let emit = |id: &str, more: &[&str]| {
        let arguments = [&["emit", "Deploy", "1", "--data", "store", "--id", id], more].concat();
        run(dir.path(), &arguments)
    };
    assert_eq!(emit("first", &["--key", "k"]).0, 0);
    assert_eq!(emit("second", &["--key", "k", "--priority", "7"]).0, 0);
    assert_eq!(emit("later", &["--not-before", "2999-01-01T00:00:00Z"]).0, 0);
    let (code, _, stderr) = emit("odd", &["--priority", "10"]);
    assert!(code == 2 && stderr.contains("priority is 10; it must be from 0 (first) to 9 (last)"), "{stderr}");
    let (code, _, stderr) = emit("odd", &["--not-before", "tomorrow"]);
    assert!(code == 2 && stderr.contains("is not an RFC 3339 time"), "{stderr}");
    let (_, listed, _) = run(dir.path(), &["list", "--data", "store"]);
    for (id, waits) in [
        ("first", "for its turn"),
        ("second", "for event \"first\" of its key"),
        ("later", "until 2999-01-01T00:00:00.000000Z"),
    ] {
        assert!(listed.lines().any(|line| line.contains(&format!(" {id} ")) && line.contains(waits)), "{id}: {listed}");
    }
    let (_, shown, _) = run(dir.path(), &["show", "second", "--data", "store"]);
    for part in ["priority      7\n", "not before    -\n", "waits         for event \"first\" of its key\n"] {
        assert!(shown.contains(part), "{part:?} in {shown}");
    }
    let shown = json(dir.path(), &["show", "later", "--json", "--data", "store"]);
    assert_eq!((&shown["waiting"]["why"], &shown["priority"]), (&"time".into(), &0.into()));
    assert_eq!(shown["not_before"], "2999-01-01T00:00:00.000000Z");
}

#[test]
fn verify_tells_what_it_covered_and_its_exit_code_tells_sound_from_damaged() {
    let dir = fixture(None);
    let (code, stdout, stderr) = run(dir.path(), &["verify", "store"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    for part in
        ["files       2 segments", "log         32 records in 15 groups, up to seq 41", "of 5 events", "\nsound\n"]
    {
        assert!(stdout.contains(part), "{part:?} in {stdout}");
    }
    let verification = json(dir.path(), &["verify", "store", "--json"]);
    assert_eq!((&verification["events"]["completed"], &verification["damage"]), (&1.into(), &Value::Array(Vec::new())));
    let dir = fixture(Some(600));
    let (code, stdout, _) = run(dir.path(), &["verify", "store"]);
    assert_eq!(code, 1);
    assert!(stdout.contains("DAMAGE  store/0000000002.seg, offset 520, seq 14: the body of record 14"), "{stdout}");
    assert!(stdout.contains("put the file back from a backup, or keep what verifies with `ledgerline salvage`"));
    let (code, _, stderr) = run(dir.path(), &["verify", "nowhere"]);
    assert_eq!((code, stderr.as_str()), (2, "ledgerline: no store at nowhere\n"));
}

#[test]
fn what_to_do_about_damage_is_said_once() {
    let dir = fixture(Some(600));
    let (code, _, stderr) = run(dir.path(), &["backup", "--data", "store", "to"]);
    assert_eq!((code, stderr.matches("ledgerline salvage").count()), (2, 1), "{stderr}");
    let dir = fixture(None);
    fs::remove_file(dir.path().join("store/0000000002.seg")).unwrap();
    let (code, stdout, _) = run(dir.path(), &["verify", "store"]);
    assert_eq!((code, stdout.matches("back from a backup").count()), (1, 1), "{stdout}");
}

#[test]
fn salvage_takes_no_file_for_lost_that_another_user_may_read() {
    let dir = fixture(None);
    let path = dir.path().join("store/0000000002.seg");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    // Whoever may read everything is never refused.
    if fs::File::open(&path).is_ok() {
        return;
    }
    let (code, _, stderr) = run(dir.path(), &["salvage", "store", "--to", "new", "--accept-damage", "all"]);
    assert!(code == 2 && stderr.contains("as the user that the service runs as"), "{stderr}");
    assert!(!dir.path().join("new").exists());
}

#[test]
fn salvage_writes_nothing_before_each_loss_is_accepted() {
    let dir = fixture(Some(600));
    let (code, stdout, _) = run(dir.path(), &["salvage", "store", "--to", "new"]);
    assert_eq!(code, 1);
    assert!(stdout.starts_with("store   6cafef588f99c1b1a4f6c115fff1f730\n"), "{stdout}");
    assert!(stdout.contains("LOST    records 14 to 14\n") && stdout.contains("nothing was written"), "{stdout}");
    assert!(!dir.path().join("new").exists());
    assert_eq!(run(dir.path(), &["salvage", "store", "--to", "new", "--accept-damage", "15"]).0, 1, "another record");
    assert!(!dir.path().join("new").exists());
    let (code, stdout, _) = run(dir.path(), &["salvage", "store", "--to", "new", "--accept-damage", "14"]);
    assert_eq!(code, 1, "something was lost");
    assert!(
        stdout.contains("the last that survives of it: completed at 28") && stdout.contains("is verified"),
        "{stdout}"
    );
    assert_eq!(run(dir.path(), &["verify", "new"]).0, 0);
    let (_, dumped, _) = run(dir.path(), &["list", "--data", "new"]);
    assert!(dumped.contains("second error"), "{dumped}");
    let (code, stdout, _) = run(dir.path(), &["salvage", "new", "--to", "newer"]);
    assert!(code == 0 && stdout.contains("nothing was lost"), "{stdout}");
    let (code, _, stderr) = run(dir.path(), &["salvage", "store", "--to", "new", "--accept-damage", "all"]);
    assert!(code == 2 && stderr.contains("the directory is not empty"), "{stderr}");
    assert_eq!(run(dir.path(), &["salvage", "store", "--to", "x", "--accept-damage", "some"]).0, 2);
}

#[test]
fn backup_and_status_answer_beside_whoever_holds_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("store"), StoreOptions::default()).unwrap();
    let append = |id: &str| store.append(NewEvent::new("Issue", &1).unwrap().id(id)).unwrap().seq;
    let first = append("first");
    let claim = store.claim(1).unwrap().remove(0);
    store.settle(&claim, Outcome::Done).unwrap();
    let second = append("second");
    let made = json(dir.path(), &["backup", "copy", "--data", "store", "--json"]);
    assert_eq!((&made["last_seq"], &made["segments"]), (&second.into(), &1.into()));
    assert_eq!(run(dir.path(), &["verify", "copy"]).0, 0);
    let to_seq = second.to_string();
    let (code, stdout, _) = run(dir.path(), &["backup", "earlier", "--data", "store", "--to-seq", &to_seq]);
    assert!(code == 0 && stdout.contains(&format!("up to record {second} is in earlier")), "{stdout}");
    let (code, _, stderr) = run(dir.path(), &["backup", "copy", "--data", "store"]);
    assert!(code == 2 && stderr.contains("is not empty"), "{stderr}");

    let at = first.to_string();
    let (code, stdout, _) = run(dir.path(), &["status", "--at", &at, "--data", "store"]);
    assert!(code == 0 && stdout.contains("pending     1\n") && stdout.contains("completed   0\n"), "{stdout}");
    let (_, stdout, _) = run(dir.path(), &["status", "first", "--at", &to_seq, "--data", "store"]);
    assert!(stdout.contains("status   completed"), "{stdout}");
    let (code, _, stderr) = run(dir.path(), &["status", "second", "--at", &at, "--data", "store"]);
    assert!(code == 2 && stderr.contains("no event \"second\" is known to have been there at record"), "{stderr}");
    assert_eq!(run(dir.path(), &["status", "--at", "noon", "--data", "store"]).0, 2);
    let (code, stdout, _) = run(dir.path(), &["status", "--at", "0", "--data", "store"]);
    assert_eq!((code, stdout.as_str()), (0, "record 0 lies before the first record of all: record 1\n"));
    let (_, stdout, _) = run(dir.path(), &["show", "first", "--history", "--data", "store"]);
    assert!(
        stdout.contains("started    → processing  attempt 1") && stdout.contains("completed  → completed"),
        "{stdout}"
    );
}

#[test]
fn backup_up_to_a_record_exits_with_1_where_events_are_missing() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions::default().segment_bytes(64 * 1024).max_event_age(Duration::from_secs(1));
    let store = Store::open(dir.path().join("store"), options.dedup_window(Duration::ZERO)).unwrap();
    let append = |number: u32| {
        let event = NewEvent::new("Issue", &"x".repeat(1_000)).unwrap().id(format!("e{number}"));
        store.append(event).unwrap().seq
    };
    let to_seq = (0..80).map(append).max().unwrap().to_string();
    for claim in store.claim(100).unwrap() {
        store.settle(&claim, Outcome::Done).unwrap();
    }
    std::thread::sleep(Duration::from_millis(1_050));
    assert!(store.compact().unwrap().segments_deleted > 0);
    let (code, stdout, _) = run(dir.path(), &["backup", "earlier", "--data", "store", "--to-seq", &to_seq]);
    let missing = format!("\nMAY LACK events that counted at record {to_seq}, and were forgotten and dropped since");
    assert!(code == 1 && stdout.contains(&missing), "{stdout}");
    let (code, stdout, _) = run(dir.path(), &["backup", "same", "--data", "store", "--to-seq", &to_seq, "--json"]);
    assert!(code == 1 && stdout.contains("\"complete\":false"), "{stdout}");
    let (code, stdout, _) = run(dir.path(), &["backup", "now", "--data", "store", "--json"]);
    assert!(code == 0 && stdout.contains("\"complete\":true"), "{stdout}");
    assert_eq!(run(dir.path(), &["verify", "earlier"]).0, 0);
}

#[test]
fn replay_and_cancel_select_by_conditions_and_rehearse() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("store"), StoreOptions::default()).unwrap();
    for (id, event_type) in [("a", "Issue"), ("b", "Comment"), ("c", "Issue"), ("d", "Issue")] {
        store.append(NewEvent::new(event_type, &1).unwrap().id(id)).unwrap();
    }
    for claim in store.claim(3).unwrap() {
        store.settle(&claim, Outcome::Fail("no".to_owned())).unwrap();
    }
    store.close().unwrap();
    let verb = |verb: &str, arguments: &[&str]| run(dir.path(), &[&[verb, "--data", "store"], arguments].concat());
    let told = |stdout: &str| (0, stdout.to_owned(), String::new());
    assert_eq!(
        verb("replay", &["--failed", "--type", "Issue", "--dry-run"]),
        told("would be replayed a\nwould be replayed c\n2 of 2 events would be replayed\n")
    );
    assert_eq!(
        verb("replay", &["--failed", "--type", "Issue", "--rate", "1000"]),
        told("replayed a\nreplayed c\n2 of 2 events replayed\n")
    );
    let (code, stdout, stderr) = verb("replay", &["--type", "Issue"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stdout.contains("refused a: the event is pending and cannot be replayed\n"), "{stdout}");
    assert_eq!(stderr, "ledgerline: 3 of 3 events were not replayed\n");
    let (code, stdout, _) = verb("cancel", &["d", "b", "nobody", "--reason", "not wanted", "--json"]);
    assert_eq!(code, 2, "an id that no event has");
    assert_eq!(
        stdout,
        "{\"id\":\"d\",\"refused\":null,\"kind\":null}\n{\"id\":\"b\",\"refused\":null,\"kind\":null}\n\
         {\"id\":\"nobody\",\"refused\":\"there is no such event\",\"kind\":\"not_found\"}\n\
         {\"selected\":{\"matched\":3,\"done\":2,\"refused\":1,\"dry_run\":false}}\n"
    );
    assert!(run(dir.path(), &["show", "d", "--data", "store"]).1.contains("not wanted"));
    let none = verb("cancel", &["--status", "pending", "--since", "2999-01-01T00:00:00Z"]);
    assert_eq!(none, told("0 of 0 events cancelled\n"));
    // Whoever names an event twice wants no more than once.
    assert_eq!(verb("cancel", &["c", "a", "c"]), told("cancelled c\ncancelled a\n2 of 2 events cancelled\n"));
    assert_eq!(verb("replay", &["c", "c"]), told("replayed c\n"));
    assert_eq!(verb("replay", &["a", "a", "--dry-run"]), told("would be replayed a\n1 of 1 event would be replayed\n"));
    for (ids, says) in [(&["c"][..], "1 of 1 event was not replayed"), (&["c", "a"], "1 of 2 events was not replayed")]
    {
        let (code, _, stderr) = verb("replay", ids);
        assert_eq!((code, stderr), (2, format!("ledgerline: {says}\n")));
    }
    for (arguments, says) in [
        (&[][..], "<ID>"),
        (&["--dry-run"], "<ID>"),
        (&["--rate", "5"], "<ID>"),
        (&["a", "--failed"], "cannot be used with"),
        (&["--failed", "--status", "pending"], "cannot be used with"),
        (&["--since", "yesterday"], "is not an RFC 3339 time"),
        (&["--status", "asleep"], "is no status"),
        (&["--failed", "--rate", "0"], "rate is 0 events a second; it must be from 1 to 100000"),
        (&["--type", ""], "event_type is empty"),
    ] {
        let (code, stdout, stderr) = verb("replay", arguments);
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(stderr.contains(says), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_type_or_a_key_is_paused_and_resumed_and_what_cannot_be_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let verb = |verb: &str, arguments: &[&str]| run(dir.path(), &[&[verb, "--data", "store"], arguments].concat());
    let told = |stdout: &str| (0, stdout.to_owned(), String::new());
    assert_eq!(verb("emit", &["Issue", "1", "--id", "a", "--key", "k"]).0, 0);
    assert_eq!(verb("pauses", &[]), told(""));
    assert_eq!(verb("pause", &["--key", "k"]), told("key \"k\" is paused until it is resumed\n"));
    let until = "2999-01-01T00:00:00.000000Z";
    assert_eq!(
        verb("pause", &["--type", "Issue", "--until", until, "--reason", "a\u{1b}release"]),
        told(&format!("type \"Issue\" is paused until {until}\n"))
    );
    let (code, stdout, stderr) = verb("pauses", &[]);
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!((code, lines.len(), stderr.as_str()), (0, 3, ""), "{stdout}");
    assert!(
        lines[1].starts_with("type    Issue  ") && lines[1].ends_with(&format!("{until}  a\\u{{1b}}release")),
        "{stdout}"
    );
    assert!(
        lines[2].starts_with("key     k  ") && lines[2].ends_with("  it is resumed                paused by hand"),
        "{stdout}"
    );
    let (_, stdout, _) = verb("pauses", &["--json"]);
    let first: Value = serde_json::from_str(stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&first["scope"]["type"], &first["until"]), (&"Issue".into(), &until.into()));
    assert!(first["since"].is_string() && first["reason"] == "a\u{1b}release", "{first}");
    assert_eq!(json(dir.path(), &["stats", "--data", "store", "--json"])["pauses"], 2);
    assert!(verb("stats", &[]).1.lines().any(|line| line.starts_with("pauses  ") && line.contains("  2  ")));
    assert!(verb("list", &[]).1.contains("key \"k\" is paused"), "the first of the two is named");

    let before = std::time::SystemTime::now();
    let paused = json(dir.path(), &["pause", "--data", "store", "--key", "k", "--for", "90m", "--json"]);
    let until: Timestamp = paused["until"].as_str().unwrap().parse().unwrap();
    let lasts = until.saturating_since(before.into()).as_secs();
    assert!((5_400..5_460).contains(&lasts) && paused["scope"]["key"] == "k", "{paused}");
    assert_eq!(verb("resume", &["--key", "k"]), told("key \"k\" is resumed\n"));
    assert!(verb("list", &[]).1.contains("type \"Issue\" is paused until 2999-01-01"));
    let nothing = "ledgerline: key \"k\" is not paused (`ledgerline pauses` lists what is)\n";
    assert_eq!(verb("resume", &["--key", "k"]), (2, String::new(), nothing.to_owned()));
    let answer = "{\"scope\":{\"key\":\"k\"},\"resumed\":false}\n";
    let (code, stdout, stderr) = verb("resume", &["--key", "k", "--json"]);
    assert_eq!((code, stdout.as_str()), (2, answer));
    let message = serde_json::from_str::<Value>(&stderr).unwrap()["message"].as_str().map(str::to_owned);
    assert_eq!(message.as_deref(), nothing.trim_end().strip_prefix("ledgerline: "));
    for (arguments, says) in [
        (&[][..], "<--type <TYPE>|--key <KEY>>"),
        (&["--type", "a", "--key", "b"], "cannot be used with"),
        (&["--type", ""], "the type to pause is empty"),
        (&["--key", &"x".repeat(257)], "the key to pause has 257 bytes; at most 256 are allowed"),
        (&["--key", "k", "--until", "tomorrow"], "\"tomorrow\" is not an RFC 3339 time"),
        (&["--key", "k", "--until", "2001-01-01T00:00:00Z"], "the pause would be over at 2001-01-01T00:00:00.000000Z"),
        (&["--key", "k", "--for", "30"], "\"30\" is no duration such as 90s, 30m, 2h or 1d"),
        (&["--key", "k", "--for", "0s"], "the pause is to last 0 ms; it must be from 1 to 3153600000000"),
        (&["--key", "k", "--for", "36501d"], "the pause is to last 3153686400000 ms"),
        (&["--key", "k", "--for", "1h", "--until", "2999-01-01T00:00:00Z"], "cannot be used with"),
    ] {
        let (code, stdout, stderr) = verb("pause", arguments);
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(stderr.contains(says), "{arguments:?}: {stderr}");
    }
    assert_eq!(verb("pauses", &[]).1.lines().count(), 2, "nothing changed");
}

#[test]
fn a_service_that_runs_nothing_by_itself_is_told_when_to_and_calls_off_what_is_selected() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path(), &["serve", "--listen", "127.0.0.1:0", "--data", "store"]);
    command.envs([("LINEAR_BACKGROUND_PROCESSING", "false"), ("LINEAR_EVENT_BATCHSIZE", "5")]);
    let mut serving = Serving::of(&mut command);
    let banner = &serving.banner;
    assert_eq!(banner.matches("LINEAR_EVENT_BATCHSIZE in the environment is no setting").count(), 1, "{banner}");
    let verb = |verb: &str, arguments: &[&str]| run(dir.path(), &[&[verb, "--data", "store"], arguments].concat());
    for id in ["a", "b", "c"] {
        assert_eq!(verb("emit", &["D", "1", "--id", id]).0, 0);
    }
    assert_eq!(verb("emit", &["E", "1", "--id", "e"]).0, 0);
    assert_eq!(verb("pause", &["--type", "D"]).1, "type \"D\" is paused until it is resumed\n");
    assert_eq!(verb("pauses", &[]).1.lines().count(), 2);
    let (code, stdout, _) = verb("cancel", &["--type", "E", "--status", "pending", "--rate", "100"]);
    assert_eq!((code, stdout.as_str()), (0, "cancelled e\n1 of 1 event cancelled\n"));
    assert_eq!(verb("process", &[]).1, "0 runs: 0 done, 0 failed\n", "it is paused");
    assert_eq!(verb("resume", &["--type", "D"]).1, "type \"D\" is resumed\n");
    let (code, stdout, stderr) = verb("process", &[]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "3 runs: 3 done, 0 failed\n", ""));
    let mut lines = serving.stdout.take().unwrap().lines();
    assert!(lines.next().unwrap().unwrap().contains("\"event_type\":\"D\""));
    let stats = json(dir.path(), &["stats", "--data", "store", "--json"]);
    let done = &stats["types"][0];
    assert_eq!(
        (&done["event_type"], &done["completed"], &done["attempts"]["done"]),
        (&"D".into(), &3.into(), &3.into())
    );
    assert!(done["end_to_end"]["p99_ms"].as_f64().unwrap() >= done["handling"]["p50_ms"].as_f64().unwrap());
    let (_, stdout, _) = verb("stats", &[]);
    assert!(stdout.contains("\nD     0        0           0         3 "), "{stdout}");
    assert!(stdout.contains("3 done, 0 failed, 0 panicked"), "{stdout}");
    drop(serving);
    let (code, _, stderr) = verb("process", &[]);
    assert!(code == 2 && stderr.contains("not running: no service answers"), "{stderr}");
}
