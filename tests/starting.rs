//! How `serve` begins, as a supervisor sees it: what it does with an output that a crash has left amid a line, with few file descriptors,
//! and with what makes a start fail; and what commands say of troubles of that sort.
#![cfg(feature = "cli")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "what its own scaffolding cannot do fails a test, and that includes files"
)]

#[path = "program/scaffold.rs"]
mod scaffold;

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use ledgerline::{Filter, NewEvent, Status, Store, StoreOptions};
use scaffold::{PROGRAM, READY, command, read_until, said_until};

/// A store with one event that nobody has run.
fn keep_one(directory: &Path, data: &str) {
    let store = Store::open(directory.join(data), StoreOptions::default()).unwrap();
    store.append(NewEvent::new("Deploy", &1).unwrap().id("one")).unwrap();
    store.close().unwrap();
}

fn status_of_one(directory: &Path, data: &str) -> Status {
    Store::open_read_only(directory.join(data)).unwrap().get("one").unwrap().unwrap().status()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_is_appended_to_a_file_that_ends_amid_a_line_begins_a_line_of_its_own() {
    for (before, after) in [("", ""), ("{}\n", "{}\n"), ("{\"id\":\"o", "{\"id\":\"o\n")] {
        let directory = tempfile::tempdir().unwrap();
        keep_one(directory.path(), "ledgerline-data");
        let path = directory.path().join("events");
        fs::write(&path, before).unwrap();
        let events = OpenOptions::new().append(true).open(&path).unwrap();
        let mut serve = command(directory.path(), &["serve", "--listen", "127.0.0.1:0"]);
        let mut serving = serve.stdout(events).stderr(Stdio::null()).spawn().unwrap();
        let printed = loop {
            let text = fs::read_to_string(&path).unwrap();
            if text.len() > after.len() && text.ends_with('\n') {
                break text;
            }
            assert!(serving.try_wait().unwrap().is_none(), "it has ended");
            std::thread::sleep(Duration::from_millis(10));
        };
        serving.kill().unwrap();
        serving.wait().unwrap();
        let event: serde_json::Value = serde_json::from_str(printed.strip_prefix(after).unwrap()).unwrap();
        assert_eq!((event["id"].as_str(), event["stale"].as_bool()), (Some("one"), Some(false)));
    }
}

#[test]
fn where_what_is_printed_is_discarded_serve_says_so_and_goes_on() {
    let null = |read| OpenOptions::new().read(read).write(true).open("/dev/null").unwrap();
    let closed = "exec \"$0\" serve --listen 127.0.0.1:0 >&-";
    for (stdout, shell) in [(Some(null(true)), None), (Some(null(false)), None), (None, Some(closed)), (None, None)] {
        let directory = tempfile::tempdir().unwrap();
        keep_one(directory.path(), "ledgerline-data");
        let mut serve = command(directory.path(), &["serve", "--listen", "127.0.0.1:0"]);
        if let Some(script) = shell {
            serve = Command::new("sh");
            serve.args(["-c", script, PROGRAM]).current_dir(directory.path()).env_clear();
        }
        let discards = stdout.is_some() || shell.is_some();
        serve.stdout(stdout.map_or_else(Stdio::piped, Stdio::from)).stderr(Stdio::piped());
        let mut serving = serve.spawn().unwrap();
        let said = said_until(&mut serving, READY);
        assert_eq!(
            said.matches("WARN ledgerline::command::serve: what is printed is discarded").count(),
            usize::from(discards),
            "{said}"
        );
        while status_of_one(directory.path(), "ledgerline-data") != Status::Completed {
            assert!(serving.try_wait().unwrap().is_none(), "it has ended");
            std::thread::sleep(Duration::from_millis(10));
        }
        serving.kill().unwrap();
        serving.wait().unwrap();
    }
}

#[test]
fn a_stdout_that_can_only_be_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    keep_one(directory.path(), "ledgerline-data");
    let mut serve = command(directory.path(), &["serve", "--listen", "127.0.0.1:0"]);
    let refused = serve.stdout(fs::File::open("/dev/null").unwrap()).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("stdout is open for reading only: nothing was started"), "{}", stderr(&refused));
    assert_eq!(status_of_one(directory.path(), "ledgerline-data"), Status::Pending);
}

/// What a program of its own does: it keeps events in a directory that it names relative to where it began, and goes elsewhere.
#[test]
#[ignore = "goes elsewhere: the next test runs it in a process of its own"]
fn goes_elsewhere() {
    let store = Store::open("data", StoreOptions::default().segment_bytes(64 * 1024)).unwrap();
    std::env::set_current_dir("elsewhere").unwrap();
    for number in 0..100 {
        store.append(NewEvent::new("Deploy", &"x".repeat(3_000)).unwrap().id(number.to_string())).unwrap();
    }
    store.close().unwrap();
}

#[test]
fn a_store_stays_in_its_directory_wherever_the_process_goes() {
    let directory = tempfile::tempdir().unwrap();
    // There is one of that name where it goes, too.
    fs::create_dir_all(directory.path().join("elsewhere/data")).unwrap();
    let mut program = Command::new(std::env::current_exe().unwrap());
    let output = program.args(["--exact", "--ignored", "goes_elsewhere"]).current_dir(&directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(fs::read_dir(directory.path().join("elsewhere/data")).unwrap().count(), 0);
    let store = Store::open_existing(directory.path().join("data"), StoreOptions::default()).unwrap();
    assert!(store.stats().pending_events == 100 && store.recovery().segments > 4);
}

#[test]
fn a_start_that_fails_processes_nothing() {
    let long = "d".repeat(120);
    for (data, says) in [("data", "the generated data/secret: "), (&long, "is too long for the name of a socket")] {
        let directory = tempfile::tempdir().unwrap();
        keep_one(directory.path(), data);
        let secret = if data == "data" { "" } else { "a secret for these tests" };
        fs::write(directory.path().join(data).join("secret"), secret).unwrap();
        let failed = command(directory.path(), &["serve", "--listen", "127.0.0.1:0", "--data", data]).output().unwrap();
        assert_eq!((failed.status.code(), failed.stdout.len()), (Some(2), 0), "{}", stderr(&failed));
        assert!(stderr(&failed).contains(says), "{}", stderr(&failed));
        assert_eq!(status_of_one(directory.path(), data), Status::Pending);
    }
}

#[test]
fn where_there_are_few_file_descriptors_connections_leave_half_of_them_to_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let script = format!("ulimit -n 64; exec {PROGRAM} serve --listen 127.0.0.1:0 --segment-bytes 65536");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(directory.path()).env_clear();
    let mut serving = shell.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let said = said_until(&mut serving, READY);
    assert!(said.contains("this process may have 64 file descriptors: 32 connections are served at once"), "{said}");
    let address = said.split("http://").nth(1).unwrap().split('/').next().unwrap();
    let idle: Vec<_> = (0..120).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    // Several segments, while whoever idles has taken all connections.
    for number in 0..30 {
        let mut emit = command(directory.path(), &["emit", "Deploy", "-"]);
        let mut emitting = emit.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        emitting.stdin.take().unwrap().write_all(format!("\"{number} {}\"", "x".repeat(10_000)).as_bytes()).unwrap();
        let emitted = emitting.wait_with_output().unwrap();
        assert!(emitted.status.success(), "event {number}: {}", stderr(&emitted));
    }
    drop(idle);
    serving.kill().unwrap();
    serving.wait().unwrap();
}

#[test]
fn where_files_may_not_grow_events_wait_and_the_service_lives() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions::default().segment_bytes(64 * 1024);
    let store = Store::open(directory.path().join("data"), options).unwrap();
    // More than stdout may take, whichever unit this shell counts in.
    for _ in 0..400 {
        store.append(NewEvent::new("Deploy", &"x".repeat(300)).unwrap()).unwrap();
    }
    store.close().unwrap();
    let script =
        format!("ulimit -f 128; exec {PROGRAM} serve --data data --listen 127.0.0.1:0 --segment-bytes 65536 >printed");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(directory.path()).env_clear();
    let mut serving = shell.stderr(Stdio::piped()).spawn().unwrap();
    said_until(&mut serving, "events cannot be printed: they wait until there is room");
    let emitted = command(directory.path(), &["emit", "Deploy", "1", "--data", "data"]).output().unwrap();
    assert!(emitted.status.success(), "{}", stderr(&emitted));
    // Those that wait for room would hold up its end.
    serving.kill().unwrap();
    serving.wait().unwrap();
    let stats = Store::open_read_only(directory.path().join("data")).unwrap().stats();
    assert_eq!(
        (stats.pending_events + stats.processing_events + stats.completed_events, stats.events_failed),
        (401, 0)
    );
}

#[test]
fn a_command_says_that_files_may_not_grow() {
    let directory = tempfile::tempdir().unwrap();
    let script = format!("ulimit -f 64; exec {PROGRAM} emit Deploy 1");
    let mut shell = Command::new("sh");
    let said = shell.args(["-c", &script]).current_dir(directory.path()).env_clear().output().unwrap();
    let told = stderr(&said);
    assert_eq!(said.status.code(), Some(2), "{told}");
    assert!(told.starts_with("ledgerline: cannot reserve space for ledgerline-data/0000000001.seg"), "{told}");
    assert!(told.contains("raise `ulimit -f`") && told.matches("ledgerline-data").count() == 1, "{told}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_service_whose_store_has_failed_ends_with_what_to_do_about_it() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let directory = tempfile::tempdir().unwrap();
    let mut serve = command(directory.path(), &["serve", "--listen", "127.0.0.1:0"]);
    let mut serving = serve.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(serving.stderr.take().unwrap());
    read_until(&mut said, READY);
    // From here on no write to a file goes through.
    let nothing = Rlimit { current: Some(0), maximum: Some(0) };
    prlimit(Pid::from_child(&serving).into(), Resource::Fsize, nothing).unwrap();
    let emitted = command(directory.path(), &["emit", "Deploy", "1"]).output().unwrap();
    assert_eq!(emitted.status.code(), Some(2), "{}", stderr(&emitted));
    let asked = Command::new("kill").arg(serving.id().to_string()).status().unwrap();
    assert!(asked.success());
    let last = said.lines().map(Result::unwrap).last().unwrap();
    assert_eq!(serving.wait().unwrap().code(), Some(2));
    assert!(last.starts_with("ledgerline: the store has failed (cannot write "), "{last}");
    assert!(last.contains("see to the disk, then start the service again"), "{last}");
}

#[test]
fn whoever_writes_without_a_service_waits_for_others_that_do_and_so_does_a_service_that_starts() {
    let directory = tempfile::tempdir().unwrap();
    let held = Store::open(directory.path().join("ledgerline-data"), StoreOptions::default()).unwrap();
    let emits: Vec<_> = (0..8)
        .map(|number: u8| {
            let mut emit = command(directory.path(), &["emit", "Deploy", &number.to_string()]);
            emit.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut serve = command(directory.path(), &["serve", "--listen", "127.0.0.1:0"]);
    let mut serving = serve.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // It listens before it has the store, and asks for that again and again.
    held.close().unwrap();
    said_until(&mut serving, READY);
    for emit in emits {
        let said = emit.wait_with_output().unwrap();
        assert!(said.status.success(), "{}", stderr(&said));
    }
    serving.kill().unwrap();
    serving.wait().unwrap();
    let kept = Store::open_read_only(directory.path().join("ledgerline-data")).unwrap();
    assert_eq!(kept.list(&Filter::all()).unwrap().len(), 8);
}

#[test]
fn a_pipe_may_be_named_where_a_file_may() {
    let directory = tempfile::tempdir().unwrap();
    let mut health = command(directory.path(), &["health", "--config", "/dev/stdin"]);
    let mut asking = health.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    asking.stdin.take().unwrap().write_all(b"batch_size = 0\n").unwrap();
    let refused = asking.wait_with_output().unwrap();
    assert!(stderr(&refused).contains("batch_size in /dev/stdin is \"0\""), "{}", stderr(&refused));
}

#[test]
fn where_no_directory_can_be_created_it_is_said_that_it_cannot() {
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("nowhere", directory.path().join("link")).unwrap();
    for data in ["link", "link/data", "/proc/ledgerline-data"] {
        for verb in [&["serve", "--listen", "127.0.0.1:0"][..], &["emit", "Deploy", "1"]] {
            let refused = command(directory.path(), verb).args(["--data", data]).output().unwrap();
            let says = format!("ledgerline: no directory can be created at {data}: ");
            assert_eq!(refused.status.code(), Some(2), "{data}");
            assert!(stderr(&refused).contains(&says), "{}", stderr(&refused));
        }
    }
}

#[test]
fn where_no_service_runs_it_is_not_healthy_whether_there_is_a_store_or_not() {
    let directory = tempfile::tempdir().unwrap();
    keep_one(directory.path(), "data");
    for data in ["data", "nothing", "."] {
        let said = command(directory.path(), &["health", "--data", data]).output().unwrap();
        assert_eq!((said.status.code(), stderr(&said).as_str()), (Some(1), ""), "{data}");
        assert!(said.stdout.starts_with(b"not healthy: not running"), "{data}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing was made");
}

#[test]
fn whoever_asks_for_json_is_told_the_kind_of_an_error() {
    let directory = tempfile::tempdir().unwrap();
    keep_one(directory.path(), "data");
    for (arguments, kind) in [
        (&["show", "nope", "--json", "--data", "data"][..], Some("not_found")),
        (&["list", "--json", "--data", "nothing"], Some("not_found")),
        (&["list", "--json", "--data", "data", "--limit", "0"], Some("invalid_input")),
        (&["status", "--json", "--data", "data", "--at", "1", "nope"], Some("not_found")),
        (&["status", "--json", "--data", "data", "--at", "never"], Some("invalid_input")),
        (&["resume", "--json", "--data", "data", "--type", "Deploy"], Some("not_found")),
        (&["salvage", "data", "--json", "--to", "copy", "--accept-damage", "x"], Some("invalid_input")),
        (&["emit", "Deploy", "2", "--json", "--data", "data", "--id", "one"], Some("id_conflict")),
        (&["replay", "nope", "--json", "--data", "data"], None),
    ] {
        let said = command(directory.path(), arguments).output().unwrap();
        assert_eq!(said.status.code(), Some(2), "{arguments:?}");
        let told: serde_json::Value = serde_json::from_slice(&said.stderr).unwrap();
        assert_eq!(told["error"].as_str(), kind, "{told}");
        assert!(told["message"].as_str().is_some_and(|message| message.len() > 10), "{told}");
    }
}
