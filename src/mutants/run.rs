//! The mutants against the tests: each of those that the table names fails while the mutant lives, and passes otherwise.
//!
//! One binary holds them all. It runs itself once for each mutant and test, with the mutant named in the environment.
#![expect(
    clippy::disallowed_methods,
    reason = "it holds the table against the sources, which no part of the crate reads"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::switch::VARIABLE;
use super::table::{Mutant, all};

/// The promises of `RULES.md` are R1 to this one; all of them can be broken within one process.
const PROMISE_LAST: u32 = 17;

/// A test that takes longer has found nothing: whether it hangs, or the machine is busy, nobody can tell. They take seconds at most.
const TEST_TIME_MAX: Duration = Duration::from_mins(2);

/// Writes the document anew instead of comparing it.
const REWRITE: &str = "LEDGERLINE_MUTANTS_REWRITE";

const DOCUMENT: &str = "src/mutants/MUTANTS.md";

/// What came of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    Passed,
    Failed,
    Hung,
    /// It was not run at all.
    Nothing,
}

/// This binary, asked to run just these tests.
fn child(tests: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(tests).args(["--exact", "--test-threads=1"]);
    // What a panic prints is read by nobody.
    command.env_remove(VARIABLE).env("RUST_BACKTRACE", "0");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn run(test: &str, mutant: &str) -> Came {
    let mut child = child(&[test]).env(VARIABLE, mutant).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (sender, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut printed = String::new();
        let _ = stdout.read_to_string(&mut printed);
        let _ = sender.send(printed);
    });
    let Ok(printed) = told.recv_timeout(TEST_TIME_MAX) else {
        child.kill().unwrap();
        child.wait().unwrap();
        return Came::Hung;
    };
    let passed = child.wait().unwrap().success();
    match (printed.contains("running 1 test"), passed) {
        (false, _) => Came::Nothing,
        (true, true) => Came::Passed,
        // A panic within a panic ends the process at once, and it tells no more.
        (true, false) => Came::Failed,
    }
}

/// Judges one mutant; what is wrong, in words.
fn judge(mutant: &Mutant) -> Vec<String> {
    let mut wrong = Vec::new();
    for test in mutant.killers {
        let came = run(test, mutant.name);
        println!("mutant: {}: {test}: {came:?}", mutant.name);
        if came != Came::Failed {
            wrong.push(format!("{} outlives {test}: {came:?}", mutant.name));
        }
    }
    wrong
}

#[test]
#[ignore = "it runs a process for each mutant and test: `./tools/check` does"]
fn every_mutant_is_found_by_each_test_that_is_to_find_it() {
    let mutants = all();
    let tests: BTreeSet<&str> = mutants.iter().flat_map(|mutant| mutant.killers.iter().copied()).collect();
    let tests: Vec<&str> = tests.into_iter().collect();
    let sound = child(&tests).output().unwrap();
    let text = String::from_utf8_lossy(&sound.stdout);
    assert!(sound.status.success() && text.contains(&format!("{} passed", tests.len())), "without a mutant: {text}");
    let (next, wrong) = (AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
    let work = || {
        while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
            let found = judge(mutant);
            wrong.lock().unwrap().extend(found);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    println!("mutant: {} in all, found by {} tests", mutants.len(), tests.len());
    assert_eq!(wrong.into_inner().unwrap(), [""; 0]);
}

#[test]
fn the_table_lists_just_the_mutants_that_are_in_the_sources() {
    let mutants = all();
    let listed: Vec<&str> = mutants.iter().map(|mutant| mutant.name).collect();
    let once: BTreeSet<&str> = listed.iter().copied().collect();
    assert_eq!(listed.len(), once.len(), "each has one line");
    let mut found = BTreeSet::new();
    for text in sources() {
        for rest in text.split("mutant!(\"").skip(1) {
            let name = rest.split('"').next().unwrap_or_default().to_owned();
            found.insert(name);
        }
    }
    assert_eq!(once, found.iter().map(String::as_str).collect::<BTreeSet<_>>());
}

/// A name that was misspelt would let none live, and whatever passes then would seem to have missed it.
#[test]
fn the_mutant_that_is_to_live_is_one_of_the_table() {
    if let Ok(name) = std::env::var(VARIABLE) {
        assert!(all().iter().any(|mutant| mutant.name == name), "{VARIABLE} is {name}, and there is no such mutant");
    }
}

#[test]
fn every_test_that_is_to_find_a_mutant_is_there() {
    let listed = Command::new(std::env::current_exe().unwrap()).arg("--list").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let there: BTreeSet<&str> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    for mutant in all() {
        assert!(!mutant.killers.is_empty(), "{} has a test that finds it", mutant.name);
        for test in mutant.killers {
            assert!(there.contains(test), "{}: there is no test {test}", mutant.name);
        }
    }
}

#[test]
fn every_promise_is_broken_by_a_mutant() {
    let mutants = all();
    let broken: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.promise).collect();
    for promise in (1..=PROMISE_LAST).map(|number| format!("R{number}")) {
        assert!(broken.contains(promise.as_str()), "{promise}");
    }
}

/// The table as people read it is written anew by a run of this with `LEDGERLINE_MUTANTS_REWRITE` set.
#[test]
fn the_document_says_what_the_table_says() {
    let path = root().join(DOCUMENT);
    let document = document();
    if std::env::var_os(REWRITE).is_some() {
        std::fs::write(&path, &document).unwrap();
    }
    let found = std::fs::read(&path).map(|bytes| String::from_utf8(bytes).unwrap()).unwrap_or_default();
    assert!(found == document, "{DOCUMENT} is out of date: run this test with {REWRITE}=1");
}

fn document() -> String {
    use std::fmt::Write as _;
    let mutants = all();
    let mut by_promise: BTreeMap<(u32, &str), Vec<&Mutant>> = BTreeMap::new();
    for mutant in &mutants {
        let number = mutant.promise.strip_prefix('R').and_then(|number| number.parse().ok()).unwrap_or(u32::MAX);
        by_promise.entry((number, mutant.promise)).or_default().push(mutant);
    }
    let mut text = format!("# The {} mutants\n\n", mutants.len());
    text.push_str("| promise | mutant | what it breaks | found by |\n|---|---|---|---|\n");
    for ((_, promise), mutants) in by_promise {
        for mutant in mutants {
            let tests: Vec<String> = mutant.killers.iter().map(|test| format!("`{test}`")).collect();
            writeln!(text, "| {promise} | `{}` | {} | {} |", mutant.name, mutant.breaks, tests.join("<br>")).unwrap();
        }
    }
    text
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The sources of the crate but for these.
fn sources() -> Vec<String> {
    let (mut sources, mut folders) = (Vec::new(), vec![root().join("src")]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("mutants") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(String::from_utf8(std::fs::read(&path).unwrap()).unwrap());
            }
        }
    }
    sources
}
