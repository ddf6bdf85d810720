//! The command as a person types it: the real binary, its exit codes, and every word of what it prints that others rely on.
//!
//! Nothing here waits for a time or knows a port: a service says on stderr where it listens, and ends when its handle is dropped.
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
mod serving;

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ledgerline::service::Setting;
use ledgerline::{NewEvent, Store, StoreOptions};
use scaffold::command;
use serde_json::{Value, json};
use serving::Serving;

/// What a command said, and how it ended.
#[derive(Debug)]
struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

fn output(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn run(directory: &Path, arguments: &[&str]) -> Said {
    output(&mut command(directory, arguments))
}

/// What a command printed that did its work.
fn done(directory: &Path, arguments: &[&str]) -> String {
    let said = run(directory, arguments);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{arguments:?}");
    said.stdout
}

fn documents(directory: &Path, arguments: &[&str]) -> Vec<Value> {
    done(directory, arguments).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/linear/{name}.json", env!("CARGO_MANIFEST_DIR"))
}

fn directory() -> (tempfile::TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().to_owned();
    (temporary, path)
}

#[test]
fn a_sample_is_kept_and_then_known_by_its_delivery_and_by_its_body() {
    let (_temporary, directory) = directory();
    let mut service = Serving::start(&directory, &[]);
    let sample = fixture("issue_create");
    let send = |more: &[&str]| done(&directory, &[&["send", &sample, "--url", &service.url], more].concat());
    assert_eq!(send(&["--delivery", "first"]), "kept first\n");
    assert_eq!(send(&["--delivery", "first"]), "duplicate of first (same delivery)\n");
    assert_eq!(send(&[]), "duplicate of first (same body)\n");
    assert_eq!(send(&["--keep-timestamp"]), "duplicate of first (same body)\n");
    let again = send(&["--again"]);
    let id = again.strip_prefix("kept ").unwrap().trim_end();
    assert_eq!((id.len(), &id[14..15]), (36, "4"), "a fresh UUID: {id}");

    let (first, second) = (service.event(), service.event());
    assert_eq!((&first["id"], &second["id"]), (&json!("first"), &json!(id)));
    let sample: Value = serde_json::from_str(&std::fs::read_to_string(sample).unwrap()).unwrap();
    assert_eq!(first["data"]["data"], sample["data"]);
    assert_ne!(first["data"]["webhookTimestamp"], sample["webhookTimestamp"]);
    assert_ne!(second["data"]["createdAt"], sample["createdAt"]);
}

#[test]
fn the_line_that_serve_tells_to_try_works_as_it_stands() {
    let (_temporary, directory) = directory();
    std::fs::create_dir_all(directory.join("tests/fixtures/linear")).unwrap();
    std::fs::copy(fixture("issue_create"), directory.join("tests/fixtures/linear/issue_create.json")).unwrap();
    let service = Serving::start(&directory, &["--data", "a directory"]);
    let line = service.banner.lines().find_map(|line| line.trim_start().strip_prefix("try ")).unwrap();
    let said = output(Command::new("sh").args(["-c", line]).current_dir(&directory));
    assert!(said.code == 0 && said.stdout.starts_with("kept "), "{line}: {said:?}");
}

#[test]
fn every_sample_is_kept_by_one_send() {
    let (_temporary, directory) = directory();
    let mut service = Serving::start(&directory, &[]);
    let samples = std::fs::read_dir(format!("{}/tests/fixtures/linear", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let samples: Vec<_> = samples.map(|entry| entry.unwrap().path().to_str().unwrap().to_owned()).collect();
    assert_eq!(samples.len(), 16);
    let mut arguments = vec!["send", "--url", &service.url];
    arguments.extend(samples.iter().map(String::as_str));
    let told = done(&directory, &arguments);
    assert_eq!(told.lines().filter(|line| line.starts_with("kept ")).count(), 16, "{told}");
    for _ in 0..16 {
        assert_eq!(service.event()["source"], json!("linear"));
    }
    let said = run(&directory, &["send", &samples[0], &samples[1], "--delivery", "x", "--url", &service.url]);
    assert_eq!(said.code, 2);
    assert!(said.stderr.contains("--delivery names one delivery"), "{}", said.stderr);
}

#[test]
fn send_names_the_secret_that_the_receiver_does_not_have() {
    let (_temporary, directory) = directory();
    let service = Serving::start(&directory, &[]);
    let sample = fixture("issue_create");
    std::fs::write(directory.join("mine"), "a secret that nobody else has").unwrap();
    let arguments = ["send", &sample, "--url", &service.url];
    let file = run(&directory, &[&arguments[..], &["--secret-file", "mine"]].concat());
    let variable =
        output(command(&directory, &arguments).env("LINEAR_WEBHOOK_SECRET", "a secret that nobody else has"));
    for (said, source) in [(file, "the file mine"), (variable, "LINEAR_WEBHOOK_SECRET")] {
        assert_eq!((said.code, said.stdout.as_str()), (2, ""));
        assert!(said.stderr.starts_with("ledgerline: ") && said.stderr.contains("401"), "{}", said.stderr);
        assert!(said.stderr.contains(source) && !said.stderr.contains("nobody else"), "{}", said.stderr);
    }
    // The same secret on both sides, and the generated one is no longer active.
    let configured = Serving::start(&directory, &["--secret-file", "mine", "--data", "other"]);
    let arguments = ["send", &sample, "--url", &configured.url];
    assert!(done(&directory, &[&arguments[..], &["--secret-file", "mine"]].concat()).starts_with("kept "));
    assert_eq!(run(&directory, &arguments).code, 2);
    assert!(!directory.join("other/secret").exists());
}

#[test]
fn send_says_what_to_do_about_what_it_cannot_send() {
    let (_temporary, directory) = directory();
    let sample = fixture("issue_create");
    std::fs::write(directory.join("list.json"), "[]").unwrap();
    std::fs::write(directory.join("mine"), "a secret that nobody else has").unwrap();
    let service = Serving::start(&directory, &["--secret-file", "mine"]);
    let (url, mine) = (service.url.as_str(), ["--secret-file", "mine"]);
    // Somebody else listens there, and hangs up on everyone.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    std::thread::spawn(move || other.incoming().for_each(drop));
    let nobody = format!("http://{address}/webhooks/linear");
    for (arguments, says) in [
        (vec!["send", &sample, "--url", "https://example.com/x"], "TLS, which is not built in"),
        (vec!["send", &sample, "--data", "nowhere"], "no secret to sign with: nowhere/secret is not there"),
        (vec!["send", &sample, "--secret-file", "absent"], "absent"),
        (vec!["send", "absent.json", "--url", url, mine[0], mine[1]], "absent.json"),
        (vec!["send", "list.json", "--url", url, mine[0], mine[1]], "--keep-timestamp posts it as it is"),
        (vec!["send", "list.json", "--keep-timestamp", "--url", url, mine[0], mine[1]], "answer 400 (invalid_input)"),
        (vec!["send", &sample, "--url", &url.replace("webhooks", "hooks"), mine[0], mine[1]], "answer 404"),
        (vec!["send", &sample, "--url", &nobody, mine[0], mine[1]], "is `ledgerline serve` running there?"),
    ] {
        let said = run(&directory, &arguments);
        assert_eq!((said.code, said.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(
            said.stderr.starts_with("ledgerline: ") && said.stderr.contains(says),
            "{arguments:?}: {}",
            said.stderr
        );
    }
}

#[test]
fn a_second_serve_is_refused_with_the_holders_process() {
    let (_temporary, directory) = directory();
    let service = Serving::start(&directory, &[]);
    let said = run(&directory, &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!((said.code, said.stdout.as_str()), (2, ""));
    assert!(said.stderr.contains(&format!("process {}", service.child.id())), "{}", said.stderr);
    assert!(said.stderr.starts_with("ledgerline: ") && said.stderr.contains("ledgerline-data"), "{}", said.stderr);
}

#[test]
fn a_service_that_was_asked_to_end_closes_the_store_and_one_that_was_killed_recovers_it() {
    let (_temporary, directory) = directory();
    let first = Serving::start(&directory, &[]);
    assert!(first.banner.contains("a new store was created"), "{}", first.banner);
    let mode = directory.join("ledgerline-data/secret").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(first.end().code(), Some(0));

    let mut second = Serving::start(&directory, &[]);
    assert!(second.banner.contains("closed in good order"), "{}", second.banner);
    done(&directory, &["emit", "Deploy", "1", "--id", "one"]);
    assert_eq!(second.event()["id"], json!("one"));
    drop(second);

    let third = Serving::start(&directory, &[]);
    assert!(third.banner.contains("ended without closing it"), "{}", third.banner);
    assert_eq!(documents(&directory, &["show", "one", "--json"])[0]["id"], json!("one"));
}

#[test]
fn a_closed_stdout_ends_serve_with_2_and_keeps_the_events() {
    let (_temporary, directory) = directory();
    let mut service = Serving::start(&directory, &[]);
    drop(service.stdout.take());
    assert_eq!(done(&directory, &["emit", "Deploy", "1", "--id", "unread"]), "kept unread\n");
    assert_eq!(service.child.wait().unwrap().code(), Some(2));
    let event = documents(&directory, &["list", "--json"]).remove(0);
    assert_eq!(
        (&event["id"], &event["status"], &event["retry_count"]),
        (&json!("unread"), &json!("pending"), &json!(0))
    );
}

/// Has every reading and writing command do its work, beside a service or without one.
fn every_command_answers(directory: &Path, status: &str) {
    let event = documents(directory, &["list", "--json"]).remove(0);
    let names: Vec<_> = event.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = vec![
        "id",
        "event_type",
        "action",
        "source",
        "key",
        "data",
        "timestamp",
        "status",
        "retry_count",
        "seq",
        "last_attempt",
        "error_message",
        "max_retries",
        "priority",
        "not_before",
        "stale",
        "waiting",
    ];
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!((&event["id"], &event["status"], &event["data"]), (&json!("one"), &json!(status), &json!({ "a": 1.0 })));
    assert!(event["timestamp"].as_str().unwrap().ends_with('Z'), "{event}");

    let listed = done(directory, &["list", "--status", status, "--type", "Deploy"]);
    let mut lines = listed.lines();
    assert_eq!(lines.next().unwrap().split_whitespace().collect::<Vec<_>>()[..3], ["STATUS", "RECEIVED", "RETRIES"]);
    assert!(lines.next().unwrap().starts_with(status), "{listed}");
    assert_eq!(done(directory, &["list", "--type", "Other"]), "");

    let shown = done(directory, &["show", "one"]);
    let told = done(directory, &["show", "one", "--history"]);
    for part in
        ["id            one\n", "key           k\n", "history\n", "  received", "→ pending", "data\n{ \"a\": 1.0}"]
    {
        assert!(shown.contains(part) || told.contains(part), "{part:?} in {shown}{told}");
    }
    let shown = documents(directory, &["show", "one", "--json"]).remove(0);
    assert_eq!((&shown["history"][0]["what"], &shown["stale"]), (&json!("received"), &json!(false)));
    let said = run(directory, &["show", "none"]);
    assert_eq!((said.code, said.stdout.as_str()), (2, ""));
    assert!(said.stderr.starts_with("ledgerline: no event \"none\" is kept in "), "{}", said.stderr);

    let numbers = documents(directory, &["stats", "--json"]).remove(0);
    for name in
        ["events_processed", "events_failed", "events_retried", "batch_operations", "pending_events", "failed_events"]
    {
        assert!(numbers[name].is_u64(), "{name} in {numbers}");
    }
    for name in ["held_events", "uptime_seconds", "last_persistence", "last_cleanup", "is_running"] {
        assert!(numbers.get(name).is_some(), "{name} in {numbers}");
    }
    assert!(done(directory, &["stats"]).contains("events_processed"));

    assert!(done(directory, &["compact"]).starts_with("0 events forgotten, "));
    assert_eq!(documents(directory, &["compact", "--json"])[0]["events_forgotten"], json!(0));
    assert_eq!(done(directory, &["replay", "--failed"]), "nothing to replay\n");
    assert_eq!(done(directory, &["emit", "Deploy", "{ \"a\": 1.0}", "--id", "one"]), "duplicate of one\n");
    let said = run(directory, &["emit", "Deploy", "2", "--id", "one"]);
    assert_eq!((said.code, said.stdout.as_str()), (2, ""), "{}", said.stderr);
    let said = run(directory, &["emit", "Deploy", "{"]);
    assert_eq!(said.code, 2);
    assert!(said.stderr.contains("is not JSON"), "{}", said.stderr);
    let said = run(directory, &["replay", "none"]);
    assert_eq!(said.code, 2);
    assert!(said.stdout.starts_with("refused none: "), "{}", said.stdout);
}

#[test]
fn every_command_answers_beside_a_service_and_without_one() {
    let (_temporary, directory) = directory();
    let emit = ["emit", "Deploy", "-", "--id", "one", "--key", "k"];
    let mut emitting = command(&directory, &emit).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    emitting.stdin.take().unwrap().write_all(b"{ \"a\": 1.0}").unwrap();
    assert!(emitting.wait_with_output().unwrap().stdout.starts_with(b"kept one"));
    every_command_answers(&directory, "pending");
    let said = run(&directory, &["health"]);
    assert_eq!((said.code, said.stderr.as_str()), (1, ""));
    assert!(said.stdout.starts_with("not healthy: not running"), "{}", said.stdout);

    let mut service = Serving::start(&directory, &[]);
    assert_eq!(service.event()["id"], json!("one"));
    // Printed is not completed yet; the next event of the same key starts only once it is.
    done(&directory, &["emit", "Later", "2", "--id", "two", "--key", "k"]);
    assert_eq!(service.event()["id"], json!("two"));
    every_command_answers(&directory, "completed");
    assert_eq!(done(&directory, &["health"]), "healthy\n");
    assert_eq!(documents(&directory, &["health", "--json"]), [json!({ "healthy": true, "reasons": [] })]);
    assert_eq!(done(&directory, &["replay", "one"]), "replayed one\n");
    assert_eq!(service.event()["id"], json!("one"));
}

#[test]
fn only_serve_and_emit_create_a_store() {
    let (_temporary, directory) = directory();
    for verb in [
        &["list"][..],
        &["show", "x"],
        &["stats"],
        &["replay", "x"],
        &["replay", "--failed"],
        &["pause", "--type", "x"],
        &["resume", "--type", "x"],
        &["pauses"],
        &["compact"],
    ] {
        for there in [false, true] {
            let data = if there { "." } else { "ledgerline-data" };
            let said = run(&directory, &[verb, &["--data", data]].concat());
            assert_eq!((said.code, said.stdout.as_str()), (2, ""), "{verb:?} {data}");
            assert!(said.stderr.starts_with(&format!("ledgerline: no store at {data}: ")), "{verb:?}: {}", said.stderr);
        }
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0, "{verb:?} left something behind");
    }
    assert!(done(&directory, &["emit", "Deploy", "1"]).starts_with("kept "));
    assert_eq!(done(&directory, &["list"]).lines().count(), 2);
}

#[test]
fn without_a_service_nobody_writes_to_a_store_of_another_user() {
    let (_temporary, directory) = directory();
    done(&directory, &["emit", "Deploy", "1", "--data", "data"]);
    let before = std::fs::read_dir(directory.join("data")).unwrap().count();
    // Only root may give files away.
    if std::os::unix::fs::chown(directory.join("data/LOCK"), Some(65_534), None).is_err() {
        return;
    }
    for verb in [&["emit", "Deploy", "1"][..], &["replay", "--failed"], &["compact"]] {
        let said = run(&directory, &[verb, &["--data", "data"]].concat());
        assert_eq!(said.code, 2, "{verb:?}");
        assert!(said.stderr.contains("belongs to user 65534"), "{verb:?}: {}", said.stderr);
    }
    assert_eq!(done(&directory, &["list", "--data", "data"]).lines().count(), 2);
    assert_eq!(std::fs::read_dir(directory.join("data")).unwrap().count(), before, "nothing was written");
}

#[test]
fn beside_a_program_without_a_socket_reading_works_and_writing_names_the_holder() {
    let (_temporary, directory) = directory();
    let store = Store::open(directory.join("ledgerline-data"), StoreOptions::default()).unwrap();
    store.append(NewEvent::new("Deploy", &1).unwrap().id("one")).unwrap();
    assert_eq!(documents(&directory, &["list", "--json"])[0]["id"], json!("one"));
    assert_eq!(documents(&directory, &["show", "one", "--json"])[0]["status"], json!("pending"));
    let said = run(&directory, &["health"]);
    let holds = format!(
        "not healthy: no service answers for this directory, but process {} holds the store: ",
        std::process::id()
    );
    assert!(
        said.code == 1 && said.stdout.starts_with(&holds) && said.stdout.contains("it is starting, or"),
        "{said:?}"
    );
    let verbs = [&["emit", "Deploy", "2"][..], &["replay", "one"], &["pause", "--key", "k"], &["compact"]];
    // Each tries for some seconds.
    std::thread::scope(|scope| {
        let tries = verbs.map(|verb| (verb, scope.spawn(|| run(&directory, verb))));
        for (verb, said) in tries.map(|(verb, said)| (verb, said.join().unwrap())) {
            assert_eq!(said.code, 2, "{verb:?}");
            assert!(said.stderr.contains(&format!("process {}", std::process::id())), "{verb:?}: {}", said.stderr);
        }
    });
}

#[test]
fn a_setting_comes_from_its_flag_else_the_environment_else_the_file_else_its_default() {
    let (_temporary, directory) = directory();
    std::fs::write(directory.join("c.toml"), "data = \"from-file\"\n").unwrap();
    let emit = ["emit", "Deploy", "1"];
    let file = [&emit[..], &["--config", "c.toml"]].concat();
    let flag = [&file[..], &["--data", "from-flag"]].concat();
    let variable =
        |arguments: &[&str]| output(command(&directory, arguments).env("LEDGERLINE_DATA", "from-environment"));
    assert_eq!(variable(&flag).code, 0);
    assert_eq!(variable(&file).code, 0);
    assert_eq!(run(&directory, &file).code, 0);
    assert_eq!(run(&directory, &emit).code, 0);
    let mut names: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["c.toml", "from-environment", "from-file", "from-flag", "ledgerline-data"]);
    for name in &names[1..] {
        assert_eq!(done(&directory, &["list", "--data", name]).lines().count(), 2, "{name}");
    }
    let said = output(command(&directory, &["list"]).env("LEDGERLINE_CONFIG", "c.toml"));
    assert_eq!(said.stdout.lines().count(), 2, "{said:?}");
}

#[test]
fn wrong_values_and_unknown_keys_are_refused_by_name_before_anything_is_created() {
    let (_temporary, directory) = directory();
    std::fs::write(directory.join("c.toml"), "batch_sise = 3\n").unwrap();
    std::fs::write(directory.join("former.json"), "{}").unwrap();
    for (arguments, variable, says) in [
        (vec!["serve", "--batch-size", "0"], None, "--batch-size is \"0\""),
        (vec!["serve", "--config", "c.toml"], None, "c.toml has the unknown key \"batch_sise\""),
        (vec!["serve", "--batch-sise", "3"], None, "unexpected argument '--batch-sise'"),
        (vec!["serve", "--log", "=="], None, "log filter"),
        (vec!["serve", "--log", "info, hyper="], None, "\"hyper=\" is neither a level nor module=level"),
        (vec!["serve", "--log", "[span]=debug"], None, "neither a level nor module=level"),
        (vec!["serve"], Some(("LINEAR_EVENT_QUEUE_SIZE", "0")), "LINEAR_EVENT_QUEUE_SIZE is \"0\""),
        (vec!["serve"], Some(("LINEAR_WEBHOOK_SECRET", "short")), "LINEAR_WEBHOOK_SECRET: a signing secret of 5 bytes"),
        (vec!["serve"], Some(("LINEAR_BACKGROUND_PROCESSING", "maybe")), "LINEAR_BACKGROUND_PROCESSING is \"maybe\""),
        (
            vec!["emit", "D", "1"],
            Some(("LINEAR_EVENT_PERSISTENCE_ENABLED", "false")),
            "LINEAR_EVENT_PERSISTENCE_ENABLED",
        ),
        (
            vec!["list"],
            Some(("LINEAR_EVENT_PERSISTENCE_FILE", "former.json")),
            "`ledgerline import former.json --data former.json.ledgerline` keeps its events",
        ),
        (vec!["list", "--status", "odd"], None, "is no status: use pending"),
        (vec!["replay"], None, "<ID>"),
        (vec!["nonsense"], None, "unrecognized subcommand"),
    ] {
        let mut command = command(&directory, &arguments);
        command.envs(variable);
        let said = output(&mut command);
        assert_eq!((said.code, said.stdout.as_str()), (2, ""), "{arguments:?} {variable:?}");
        assert!(said.stderr.starts_with("ledgerline: ") && said.stderr.contains(says), "{says:?} in {}", said.stderr);
    }
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 2);
}

#[test]
fn wherever_a_command_is_called_from_the_file_means_the_same_store() {
    let (_temporary, directory) = directory();
    for name in ["project", "elsewhere"] {
        std::fs::create_dir(directory.join(name)).unwrap();
    }
    std::fs::write(directory.join("project/l.toml"), "data = \"kept\"\nsecret_files = [\"secret\"]\n").unwrap();
    std::fs::write(directory.join("project/secret"), "a secret that nobody else has\n").unwrap();
    let service = Serving::start(&directory, &["--config", "project/l.toml"]);
    for (from, config) in [("elsewhere", "../project/l.toml"), ("project", "l.toml"), (".", "project/l.toml")] {
        let from = directory.join(from);
        assert!(done(&from, &["emit", "Deploy", "1", "--config", config]).starts_with("kept "), "{config}");
        let send = ["send", &fixture("issue_create"), "--config", config, "--url", &service.url];
        done(&from, &send);
    }
    assert_eq!(done(&directory, &["list", "--data", "project/kept"]).lines().count(), 5);
    assert_eq!(std::fs::read_dir(directory.join("elsewhere")).unwrap().count(), 0);
    // What comes through a pipe lies nowhere.
    let mut emit = command(&directory.join("project"), &["emit", "Deploy", "1", "--config", "/dev/stdin"]);
    let mut emitting = emit.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    emitting.stdin.take().unwrap().write_all(b"data = \"kept\"\n").unwrap();
    assert!(emitting.wait().unwrap().success());
    assert_eq!(done(&directory, &["list", "--data", "project/kept"]).lines().count(), 6);
}

#[test]
fn what_is_passed_over_is_told_once_at_the_start() {
    let (_temporary, directory) = directory();
    std::fs::write(directory.join("linear_events.json"), "{}").unwrap();
    std::fs::write(directory.join("secret"), " a secret that somebody has pasted\n\n").unwrap();
    let said = Serving::of(
        command(&directory, &["serve", "--listen", "127.0.0.1:0", "--secret-file", "secret"])
            .env("LINEAR_WEBHOOK_SECERT", "x"),
    );
    for says in [
        "linear_events.json in the working directory holds events of the former program",
        "LINEAR_WEBHOOK_SECERT in the environment is no setting",
        "the secret in the file secret begins or ends with white space",
    ] {
        assert_eq!(said.banner.matches(says).count(), 1, "{says}: {}", said.banner);
    }
    assert!(!said.banner.contains("pasted"), "{}", said.banner);
    drop(said);
    let elsewhere = Serving::start(&directory, &["--data", "ledgerline-data"]);
    assert!(!elsewhere.banner.contains("linear_events.json"), "{}", elsewhere.banner);
}

#[test]
fn the_former_programs_file_name_means_a_directory_beside_it() {
    let (_temporary, directory) = directory();
    let said =
        output(command(&directory, &["emit", "D", "1"]).env("LINEAR_EVENT_PERSISTENCE_FILE", "linear_events.json"));
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(done(&directory, &["list", "--data", "linear_events.json.ledgerline"]).lines().count(), 2);
}

#[test]
fn nothing_foreign_reaches_the_terminal_as_it_came() {
    let (_temporary, directory) = directory();
    let evil = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}";
    let data = json!({ "x": evil }).to_string().replace("\\u001b", "\u{7f}");
    done(
        &directory,
        &["emit", &format!("Type{evil}"), &data, "--id", &format!("id{evil}"), "--key", &format!("key{evil}")],
    );
    let id = format!("id{evil}");
    for arguments in [
        &["list"][..],
        &["list", "--json"],
        &["show", &id],
        &["show", &id, "--json"],
        &["show", evil],
        &["replay", evil],
        &["list", "--data", evil],
        &["list", "--status", evil],
        &["list", evil],
    ] {
        let said = run(&directory, arguments);
        for text in [said.stdout, said.stderr] {
            let odd: Vec<_> = text.chars().filter(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}').collect();
            assert!(odd.is_empty(), "{arguments:?}: {odd:?} in {text:?}");
        }
    }
    assert_eq!(documents(&directory, &["show", &id, "--json"])[0]["id"], json!(id));
}

#[test]
fn a_list_says_when_there_may_be_more() {
    let (_temporary, directory) = directory();
    for id in ["one", "two", "three"] {
        done(&directory, &["emit", "Deploy", "1", "--id", id]);
    }
    let said = run(&directory, &["list", "--limit", "2", "--json"]);
    assert_eq!((said.code, said.stdout.lines().count()), (0, 2));
    let last: Value = serde_json::from_str(said.stdout.lines().last().unwrap()).unwrap();
    let hint = format!("--limit NUMBER lists more, and --after {} what comes behind", last["seq"]);
    assert!(said.stderr.contains(&hint), "{}", said.stderr);
    let after = last["seq"].to_string();
    assert_eq!(documents(&directory, &["list", "--json", "--after", &after])[0]["id"], json!("three"));
    assert!(run(&directory, &["list", "--limit", "2"]).stderr.contains(&hint));
    assert_eq!(documents(&directory, &["list", "--json"]).len(), 3);
}

#[test]
fn help_names_every_setting_and_every_field() {
    let (_temporary, directory) = directory();
    let serve = done(&directory, &["serve", "--help"]);
    let told: String = serve.split_whitespace().collect::<Vec<_>>().join(" ");
    for setting in Setting::all() {
        assert!(told.contains(&format!("--{} <", setting.flag())), "{}", setting.flag());
        assert!(told.contains(&setting.help()), "{}", setting.help());
    }
    for (verb, names) in [
        (
            "list",
            "id, seq (number of the record that keeps it), event_type, action, source, key, data, timestamp, status, retry_count, last_attempt, error_message, max_retries, priority (0 first to 9), not_before, stale (its sender's time was off), waiting",
        ),
        ("show", "seq"),
        ("health", "healthy, reasons"),
        ("replay", "id, refused"),
        ("compact", "events_forgotten, segments_deleted, segments_rewritten"),
        ("emit", "id, duplicate"),
        ("send", "LINEAR_WEBHOOK_SECRET"),
    ] {
        let help = done(&directory, &[verb, "--help"]);
        let told: String = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains(names), "{verb}: {help}");
    }
    done(&directory, &["emit", "Deploy", "1"]);
    let help = done(&directory, &["stats", "--help"]);
    let told: Vec<_> = help.split(|c: char| c != '_' && !c.is_ascii_alphanumeric()).collect();
    for name in documents(&directory, &["stats", "--json"])[0].as_object().unwrap().keys() {
        assert!(told.contains(&name.as_str()), "{name}: {help}");
    }
    assert!(done(&directory, &["--version"]).starts_with("ledgerline "));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_trouble() {
    let (_temporary, directory) = directory();
    let mut emitting = command(&directory, &["emit", "Deploy", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    emitting.stdin.take().unwrap().write_all(format!("\"{}\"", "x".repeat(1_000_000)).as_bytes()).unwrap();
    assert!(emitting.wait().unwrap().success());
    let mut listing =
        command(&directory, &["list", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 10];
    listing.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = listing.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn damage_is_told_and_what_verifies_is_shown_all_the_same() {
    let (_temporary, directory) = directory();
    for id in ["one", "two"] {
        done(&directory, &["emit", "Deploy", "1", "--id", id]);
    }
    let mut segments: Vec<_> =
        std::fs::read_dir(directory.join("ledgerline-data")).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    segments.sort_unstable();
    let mut bytes = std::fs::read(&segments[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segments[0], bytes).unwrap();

    let said = run(&directory, &["list", "--json"]);
    assert_eq!(said.code, 2);
    assert!(said.stdout.contains("\"two\""), "{said:?}");
    let told: Value = serde_json::from_str(&said.stderr).unwrap();
    let message = told["message"].as_str().unwrap();
    assert!(message.contains("is damaged") && message.contains("ledgerline verify"), "{message}");
    assert_eq!(told["error"], "corrupt", "as beside a service");
    for arguments in [&["serve", "--listen", "127.0.0.1:0"][..], &["emit", "Deploy", "1"]] {
        let said = run(&directory, arguments);
        assert_eq!((said.code, said.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(said.stderr.contains("ledgerline salvage"), "{}", said.stderr);
    }
}

#[test]
fn the_readme_shows_the_table_of_settings() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, rest) = readme.split_once("<!-- settings -->\n").unwrap();
    let (shown, _) = rest.split_once("<!-- /settings -->").unwrap();
    assert_eq!(shown, Setting::markdown());
}
