//! The rules of the house, read off the source text.
//!
//! Compilers and linters do not see layers, sizes and names; this file does. It cuts every source into tokens (so that comments
//! and strings name nothing), gathers the paths the code names, and holds both against the tables below. Each rule is first shown
//! invented texts that break it and others that keep it, and only then the project, so none can pass by looking at nothing.
//!
//! A rule that stands in somebody's way is changed here, in its table, with the reason in the commit.

#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;

use source::{Source, functions, paths, project, strata};

/// Each stratum, the row it stands in (0 is the bottom), and what it may name. Its tests may name everything in lower rows too.
const STRATA: &[(&str, u8, &[&str])] = &[
    (
        "lib",
        8,
        &[
            "service",
            "testing",
            "torture",
            "manager",
            "processor",
            "queue",
            "store",
            "state",
            "webhook",
            "log",
            "event",
            "env",
            "error",
            "mutants",
            "sync",
        ],
    ),
    ("command", 8, &[]),
    ("tools", 8, &[]),
    ("tools/torture", 8, &[]),
    ("fuzzing", 8, &["service", "store", "state", "webhook", "log", "event"]),
    ("service", 7, &["manager", "store", "webhook", "event", "env", "error"]),
    ("testing", 7, &["manager", "store", "event", "error"]),
    ("manager", 6, &["processor", "queue", "store", "event", "error"]),
    ("processor", 5, &["queue", "event", "error"]),
    ("queue", 4, &["store", "event", "error"]),
    ("torture", 4, &["store", "error"]),
    ("store", 3, &["state", "log", "event", "env", "error", "mutants", "sync"]),
    ("state", 2, &["event", "error", "mutants"]),
    ("webhook", 2, &["event", "error"]),
    ("log", 2, &["env", "mutants", "sync"]),
    ("event", 1, &["error"]),
    ("env", 1, &["mutants"]),
    ("error", 0, &[]),
    ("mutants", 0, &[]),
    ("sync", 0, &[]),
];

/// Foreign paths that few strata may name, whether at the start of a longer path or within it.
/// (`fuzzing` and `tools/torture` are no part of a build for users: the test of the one reads the corpus; the other breaks files, keeps
/// what it found, and bounds its runs by time. The tests of `mutants` read the sources.)
const OWNED: &[(&[&str], &[&str])] = &[
    (&["std", "fs"], &["env", "fuzzing", "mutants", "tools/torture"]),
    (&["memmap2"], &["env"]),
    (&["Instant", "now"], &["env", "tools/torture"]),
    (&["SystemTime", "now"], &["env", "tools/torture"]),
    (&["tokio"], &["queue", "processor", "manager", "service", "command", "tools/torture"]),
    (&["tokio", "fs"], &[]),
    (&["bincode"], &["event"]),
];

/// The runtime's own clock, which tests can hold still: a file that imports it, and not std's, means this one by `Instant`.
const RUNTIME_CLOCK: &[&str] = &["tokio", "time", "Instant"];

/// Where code may speak of Linear; elsewhere a delivery is an event like any other.
const LINEAR: &[&str] = &["webhook", "service", "command", "fuzzing", "tools/torture"];

/// What may stand at the top of the repository.
const TOP_LEVEL: &[&str] = &[
    ".ci",
    ".clippy.toml",
    ".git",
    ".github",
    ".gitignore",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "RELIABILITY.json",
    "benches",
    "deny.toml",
    "fuzz",
    "ledgerline-data",
    "rustfmt.toml",
    "src",
    "target",
    "tests",
    "tools",
    "torture-violations",
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc", "data", "info", "stuff"];

/// Promises to do something later, which do not land. Written in halves, as this file is read too.
const LEFT_OPEN: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];

/// Places outside the project, which a reader of it cannot follow.
const OUTSIDE: &[&str] = &[concat!("../sh", "ared"), concat!("/wo", "rk/"), concat!(".lib", "rary")];

/// The promises of `src/store/RULES.md` are R1 to this one.
const PROMISE_LAST: u32 = 17;

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

type Rule = fn(&[Source]) -> Vec<String>;
type Texts<'s> = &'s [(&'s str, &'s str)];

// ---------------------------------------------------------------------------------------------------------------- the rules

#[test]
fn imports_point_down_only() {
    let wrong: Texts = &[
        ("src/log/scan.rs", "use crate::store::Store;"),
        ("src/log/scan.rs", "use std::io;\nuse crate::{env::File, event::{Event, Status}};"),
        ("src/log/scan.rs", "fn f() { let _ = r#\"a \" b\"#; let c = '\"'; crate::state::apply(c) }"),
        ("src/log/mod.rs", "use super::event;"),
        ("src/log/deep/scan.rs", "use super::super::super::store;"),
        ("src/log/scan.rs", "fn f<'a>(a: &'a str) { super::super::queue::f(a, '\\'') }"),
        ("src/log/scan.rs", "use crate::*;"),
        ("src/log/scan.rs", "use crate::Error;"),
        ("src/log/scan.rs", "mod tests { use crate::event::Event; }"),
        ("src/state/mod.rs", "#[cfg(test)]\nmod tests { use crate::log::Log; }"),
        ("src/env/file.rs", "use crate::error::Error;"),
        ("src/error.rs", "use crate::event::Event;"),
        ("src/manager.rs", "use crate::webhook;"),
        ("src/main.rs", "use crate::log::Log;"),
        ("src/command/serve.rs", "#[path = \"../log/mod.rs\"]\nmod log;"),
        ("src/command/serve.rs", "include!(\"../log/mod.rs\");"),
        ("tools/dump.rs", "use crate::log::Log;"),
        ("tools/torture/trial.rs", "use crate::log::Log;"),
        ("src/cellar/mod.rs", "//! A stratum that the table lacks."),
    ];
    let right: Texts = &[
        ("src/lib.rs", "pub use crate::error::Error;\npub(crate) use service::serve;"),
        (
            "src/log/scan.rs",
            "// crate::store\n/* crate::store /* nested */ crate::queue */ const A: &str = \"crate::store\";",
        ),
        ("src/log/scan.rs", "const A: &[u8] = br##\"\"# crate::store\"##; const B: &str = \"\\\" crate::store\";"),
        ("src/log/scan.rs", "use crate::env::{self, File};\nuse super::format::Head;\npub(crate) struct A;"),
        (
            "src/log/scan.rs",
            "#[cfg(test)]\nmod tests { use super::*; use super::super::Error; use crate::event::Event; }",
        ),
        ("src/error.rs", "#[cfg(test)]\nmod tests { use super::*; }"),
        ("src/command/serve.rs", "use ledgerline::Store;\nuse crate::command::answer;"),
        ("tools/dump.rs", "use ledgerline::Store;\nmod tests { use super::*; }"),
        ("tools/torture/trial.rs", "use ledgerline::Store;\nuse super::progress::Progress;"),
    ];
    check(layering, wrong, right);
}

#[test]
fn the_table_of_strata_points_down() {
    for &(stratum, row, named) in STRATA {
        for target in named {
            assert!(row_of(target).is_some_and(|below| below < row), "{stratum} stands above {target}");
        }
    }
}

#[test]
fn only_its_owner_names_what_is_owned() {
    let wrong: Texts = &[
        ("src/store/open.rs", "use std::fs;"),
        ("src/store/open.rs", "use std::{fmt, fs::{File, read}};"),
        ("src/main.rs", "fn f() { ::std::fs::read(\"a\") }"),
        ("src/queue/mod.rs", "let now = std::time::Instant::now();"),
        ("src/queue/mod.rs", "use tokio::time::Instant as Timer;\nuse std::time::Instant;\nfn f() { Instant::now() }"),
        ("src/event/timestamp.rs", "let now = SystemTime::now();"),
        ("src/store/mod.rs", "#[tokio::test]\nasync fn f() {}"),
        ("src/manager.rs", "use tokio::{fs, sync::Notify};"),
        ("src/log/source.rs", "use memmap2::Mmap;"),
        ("tools/dump.rs", "use std::fs::File;"),
    ];
    let right: Texts = &[
        ("src/env/file.rs", "use std::fs::File;\nfn f() { SystemTime::now(); Instant::now(); }"),
        ("src/event/timestamp.rs", "use std::time::SystemTime;\nfn f() { SystemTime::UNIX_EPOCH }"),
        ("src/store/mod.rs", "//! std::fs and tokio are for others.\nconst A: &str = \"Instant::now()\";"),
        ("src/queue/mod.rs", "use tokio::{sync::Notify, time::{self, Instant}};\nfn f() { Instant::now() }"),
        ("tests/crash.rs", "use std::fs;"),
        ("tools/torture/trial.rs", "fn f() { std::fs::write(a, b); Instant::now(); }"),
    ];
    check(ownership, wrong, right);
}

#[test]
fn only_what_stands_before_the_log_speaks_of_linear() {
    let wrong: Texts = &[
        ("src/event/entry.rs", "struct LinearEvent;"),
        ("src/store/mod.rs", "const SOURCE: &str = \"linear\";"),
        ("tools/dump.rs", "fn f() { linear_id() }"),
    ];
    let right: Texts = &[
        ("src/webhook/mod.rs", "struct LinearEvent;"),
        ("src/main.rs", "const SECRET: &str = \"LINEAR_WEBHOOK_SECRET\";"),
        ("src/event/entry.rs", "//! Linear's events.\n#[cfg(test)]\nmod tests { const SOURCE: &str = \"linear\"; }"),
    ];
    check(linear, wrong, right);
}

#[test]
fn unsafe_is_in_one_function_of_env() {
    let wrong: Texts = &[
        ("src/log/scan.rs", "fn f() { unsafe { g() } }"),
        ("src/env/map.rs", "fn f() { unsafe { g() } }\nfn h() { unsafe { g() } }"),
        ("src/env/map.rs", "fn f() { unsafe { g() } }\nunsafe impl Send for A {}"),
        ("tools/dump.rs", "unsafe fn f() {}"),
    ];
    let right: Texts = &[
        ("src/env/map.rs", "#[expect(unsafe_code)]\nfn f() { unsafe { g() }; unsafe { g() } }"),
        ("src/log/scan.rs", "// unsafe\nfn f() {}"),
    ];
    check(unsafety, wrong, right);
}

#[test]
fn no_file_is_too_long() {
    let (most, over) = ("\n".repeat(FILE_LINES_MAX), "\n".repeat(FILE_LINES_MAX + 1));
    check(file_sizes, &[("src/log/scan.rs", &over), ("tools/dump.rs", &over)], &[("src/log/scan.rs", &most)]);
}

#[test]
fn no_function_is_too_long() {
    let body = |lines: usize| format!("fn f(a: [u8; 4]) -> [u8; 4]\n{{{}}}\n", "g('}');\n".repeat(lines));
    let (most, over) = (body(FUNCTION_LINES_MAX - 2), body(FUNCTION_LINES_MAX - 1));
    let method = format!("trait A {{\n fn declared();\n }}\nimpl A {{\n {over} }}");
    let right =
        format!("type F = fn(u8);\ntrait A {{\n fn f(self);\n{}}}\n{most}{most}", "\n".repeat(FUNCTION_LINES_MAX));
    check(function_sizes, &[("src/log/scan.rs", &over), ("tools/dump.rs", &method)], &[("src/log/scan.rs", &right)]);
}

#[test]
fn no_name_is_empty() {
    let wrong: Texts = &[
        ("src/log/util.rs", ""),
        ("src/helpers/scan.rs", ""),
        ("tests/common/mod.rs", ""),
        ("src/log/mod.rs", "pub(crate) mod data;"),
        ("src/log/mod.rs", "mod misc { }"),
    ];
    check(names, wrong, &[("src/log/reader.rs", "mod database; fn info() {} // mod data")]);
}

#[test]
fn nothing_is_left_to_do() {
    for word in LEFT_OPEN {
        let (wrong, right) = (format!("// {word}: later"), format!("mktemp -d check.{word}{word}"));
        check(promises, &[("src/log/scan.rs", &wrong), ("README.md", &wrong)], &[("tools/check", &right)]);
    }
}

#[test]
fn every_source_opens_with_its_story() {
    let wrong: Texts =
        &[("src/log/scan.rs", "use std::io;\n//! Late."), ("src/main.rs", ""), ("tools/dump.rs", "// A.")];
    let right: Texts =
        &[("src/log/scan.rs", "//! A scan."), ("src/log/mod.rs", "#![doc = include_str!(\"FORMAT.md\")]\n")];
    check(stories, wrong, right);
}

#[test]
fn a_mod_file_holds_no_logic() {
    let wrong: Texts = &[("src/log/mod.rs", "//! A.\npub(crate) fn f() {}"), ("src/log/mod.rs", "impl A for B {}")];
    let right: Texts = &[("src/log/mod.rs", "//! It would impl fn f.\nmod scan;"), ("src/log/scan.rs", "fn f() {}")];
    check(logic, wrong, right);
}

#[test]
fn the_top_level_holds_what_is_listed() {
    check(top_level, &[("NOTES.md", ""), ("docs/design.md", "")], &[("Cargo.toml", ""), ("src/docs/a.rs", "")]);
}

#[test]
fn a_test_is_named_for_its_claim() {
    let wrong: Texts = &[
        ("tests/queue.rs", "#[test]\nfn test_claims() {}"),
        ("tests/queue.rs", "#[tokio::test]\nasync fn test_claims() {}"),
        ("src/log/scan.rs", "mod tests { #[test] fn test_scan() {} }"),
    ];
    let right: Texts = &[("tests/queue.rs", "// fn test_a\n#[test]\nfn a_claim_is_given_once() { test_it() }")];
    check(claims, wrong, right);
}

#[test]
fn the_project_speaks_of_itself_alone() {
    for place in OUTSIDE {
        let wrong = format!("see {place}");
        check(
            places,
            &[("README.md", &wrong), ("src/lib.rs", &wrong)],
            &[("README.md", "the work is shared in a library")],
        );
    }
}

#[test]
fn every_promise_has_a_test_that_cites_it() {
    let test = |cited: &str| format!("/// {cited}.\n#[test]\nfn f() {{\n    g();\n}}\n");
    let list = |promises: &mut dyn Iterator<Item = u32>| {
        promises.map(|promise| format!("R{promise}")).collect::<Vec<_>>().join(", ")
    };
    let all = list(&mut (1..=PROMISE_LAST));
    let (first, rest) = (test("R1: and what follows"), list(&mut (2..=PROMISE_LAST)));
    let wrong = [
        test(&list(&mut (1..PROMISE_LAST))),
        test(&rest),
        test(&all.replace("R7,", "R77, xR7, R7x,")),
        format!("// {all}\nfn f() {{}}\n\n#[test]\nfn g() {{}}\n"),
        format!("#[test]\nfn f() {{ g(\"{all}\") }}\n\n// {all}\n"),
    ];
    let right = [
        test(&all),
        format!("#[tokio::test]\nasync fn f() {{\n    // {all}.\n    g();\n}}\n"),
        format!("{first}\n// Between.\n#[test]\n#[ignore]\nfn g() {{ // {rest}\n}}\n"),
    ];
    let wrong = wrong.each_ref().map(|text| ("tests/store.rs", text.as_str()));
    let right = right.each_ref().map(|text| ("src/store/commit.rs", text.as_str()));
    check(guards, &wrong, &right);
}

/// Shows `rule` what is wrong and what is right, then holds the project against it.
fn check(rule: Rule, wrong: Texts, right: Texts) {
    let invent = |&(path, text): &(&str, &str)| [Source { path: path.to_owned(), text: text.to_owned() }];
    for text in wrong {
        assert!(!rule(&invent(text)).is_empty(), "the rule overlooks what is wrong in {text:?}");
    }
    for text in right {
        assert_eq!(rule(&invent(text)), Vec::<String>::new(), "the rule refuses what is right in {text:?}");
    }
    let project = project();
    for path in ["Cargo.toml", "src/lib.rs", "tests/tidy.rs"] {
        assert!(project.iter().any(|source| source.path == path), "{path} was not read");
    }
    let found = rule(&project);
    assert!(found.is_empty(), "{} found:\n  {}", found.len(), found.join("\n  "));
}

// ------------------------------------------------------------------------------------------------------ the rules, as checks

fn layering(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for (source, home) in strata(sources) {
        let Some(&stratum) = home.first() else { continue };
        let Some(&(_, row, named)) = STRATA.iter().find(|(name, ..)| *name == stratum) else {
            found.push(source.at(1, &format!("`{stratum}` has no line in the table of strata")));
            continue;
        };
        let tokens = source.tokens();
        for path in paths(&tokens) {
            let Some(target) = path.target(home.len()) else { continue };
            let may = target == stratum || named.contains(&target);
            let test_may = path.in_test && row_of(target).is_some_and(|below| below < row);
            if !may && !test_may {
                found.push(source.at(path.line, &format!("{stratum} may not name `{}`", path.segments.join("::"))));
            }
        }
        // Both would take a source in by its place on disk, past every rule about paths.
        for next in tokens.windows(3) {
            if let [first, second, third] = next
                && matches!((first.text, second.text, third.text), ("[", "path", "=") | ("include", "!", _))
            {
                found.push(source.at(first.line, "sources are not taken in by file name"));
            }
        }
    }
    found
}

fn ownership(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for (source, home) in strata(sources) {
        let tokens = source.tokens();
        let paths = paths(&tokens);
        let names = |name: &[&str]| paths.iter().any(|path| path.segments.starts_with(name));
        let runtime_clock = names(RUNTIME_CLOCK) && !names(&["std", "time", "Instant"]);
        for path in &paths {
            for (owned, owners) in OWNED {
                let matches = path.segments.windows(owned.len()).any(|segments| segments == *owned);
                let owner = home.first().is_some_and(|stratum| owners.contains(stratum));
                if matches && !owner && !(runtime_clock && *owned == ["Instant", "now"]) {
                    found.push(source.at(path.line, &format!("`{}` is for {owners:?} only", owned.join("::"))));
                }
            }
        }
    }
    found
}

fn linear(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for (source, home) in strata(sources) {
        if home.first().is_some_and(|stratum| LINEAR.contains(stratum)) {
            continue;
        }
        // The tests below may well take a delivery as their example.
        for token in source.tokens().iter().filter(|token| !token.in_test) {
            if token.text.to_ascii_lowercase().contains("linear") {
                found.push(source.at(token.line, &format!("{} is for {LINEAR:?} only", token.text)));
            }
        }
    }
    found
}

fn unsafety(sources: &[Source]) -> Vec<String> {
    let mut sites = BTreeSet::new();
    let mut outside = false;
    for (source, home) in strata(sources) {
        let tokens = source.tokens();
        let functions = functions(&tokens);
        for (index, token) in tokens.iter().enumerate().filter(|(_, token)| token.is("unsafe")) {
            let within = functions.iter().rfind(|function| function.tokens.contains(&index));
            let line = within.map_or(token.line, |function| function.first_line);
            outside |= home.first() != Some(&"env") || within.is_none();
            sites.insert(source.at(line, "`unsafe` is for one function of env"));
        }
    }
    if outside || sites.len() > 1 { sites.into_iter().collect() } else { Vec::new() }
}

fn file_sizes(sources: &[Source]) -> Vec<String> {
    let long = |(source, _): (&Source, Vec<&str>)| {
        let lines = source.text.lines().count();
        (lines > FILE_LINES_MAX).then(|| source.at(lines, &format!("a file has at most {FILE_LINES_MAX} lines")))
    };
    strata(sources).filter_map(long).collect()
}

fn function_sizes(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for (source, _) in strata(sources) {
        let tokens = source.tokens();
        for function in functions(&tokens) {
            let lines = function.last_line - function.first_line + 1;
            if lines > FUNCTION_LINES_MAX {
                let told = format!("`{}` has {lines} lines, at most {FUNCTION_LINES_MAX} are read", function.name);
                found.push(source.at(function.first_line, &told));
            }
        }
    }
    found
}

fn names(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        if source.path.trim_end_matches(".rs").split('/').any(|part| EMPTY_NAMES.contains(&part)) {
            found.push(source.at(1, "the file's name says nothing"));
        }
        for pair in source.tokens().windows(2) {
            if let [first, second] = pair
                && first.is("mod")
                && EMPTY_NAMES.contains(&second.text)
            {
                found.push(source.at(first.line, &format!("`mod {}` says nothing", second.text)));
            }
        }
    }
    found
}

fn promises(sources: &[Source]) -> Vec<String> {
    let between = |c: char| !c.is_alphanumeric() && c != '_';
    in_lines(sources, |line| line.split(between).find(|word| LEFT_OPEN.contains(word)))
}

fn stories(sources: &[Source]) -> Vec<String> {
    let untold =
        |source: &Source| !source.text.starts_with("//!") && !source.text.starts_with("#![doc = include_str!(");
    let untold = strata(sources).filter(|(source, _)| untold(source));
    untold.map(|(source, _)| source.at(1, "a source opens with `//!` and what it is")).collect()
}

fn logic(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for (source, _) in strata(sources).filter(|(source, _)| source.path.ends_with("/mod.rs")) {
        for token in source.tokens().iter().filter(|token| token.is("fn") || token.is("impl")) {
            found.push(source.at(token.line, "a mod.rs is a chapter's first page: prose and names, no logic"));
        }
    }
    found
}

fn top_level(sources: &[Source]) -> Vec<String> {
    let tops: BTreeSet<&str> = sources.iter().filter_map(|source| source.path.split('/').next()).collect();
    tops.iter().filter(|top| !TOP_LEVEL.contains(*top)).map(|top| format!("{top}: not for the top level")).collect()
}

fn claims(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let tokens = source.tokens();
        for function in functions(&tokens).iter().filter(|function| function.name.starts_with("test_")) {
            found.push(source.at(function.first_line, &format!("`{}`: a test's name is a claim", function.name)));
        }
    }
    found
}

fn places(sources: &[Source]) -> Vec<String> {
    in_lines(sources, |line| OUTSIDE.iter().copied().find(|place| line.contains(place)))
}

fn guards(sources: &[Source]) -> Vec<String> {
    let mut cited = BTreeSet::new();
    for source in sources.iter().filter(|source| source.is_rust() && !source.path.starts_with("tests/tidy")) {
        let lines: Vec<&str> = source.text.lines().collect();
        let tokens = source.tokens();
        for function in functions(&tokens) {
            let before = lines.get(..function.first_line - 1).unwrap_or_default();
            let above = before.iter().rev().take_while(|line| line.trim_start().starts_with(['#', '/'])).count();
            let head = lines.get(before.len() - above..before.len()).unwrap_or_default();
            if !head.iter().any(|line| line.contains("#[test]") || line.contains("#[tokio::test")) {
                continue;
            }
            let within = lines.get(before.len() - above..function.last_line).unwrap_or_default();
            let comments = within.iter().filter_map(|line| line.split_once("//"));
            cited.extend(comments.flat_map(|(_, comment)| promises_in(comment)));
        }
    }
    let missing = (1..=PROMISE_LAST).filter(|promise| !cited.contains(promise));
    missing.map(|promise| format!("R{promise}: no test cites it")).collect()
}

/// The promises that a comment cites.
fn promises_in(comment: &str) -> impl Iterator<Item = u32> {
    let words = comment.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.filter_map(|word| word.strip_prefix('R')?.parse().ok())
}

/// What `fault` finds in the lines of all texts, sources or not.
fn in_lines(sources: &[Source], fault: impl Fn(&str) -> Option<&str>) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for (index, line) in source.text.lines().enumerate() {
            if let Some(fault) = fault(line) {
                found.push(source.at(index + 1, &format!("`{fault}` does not land")));
            }
        }
    }
    found
}

/// The row in which `stratum` stands.
fn row_of(stratum: &str) -> Option<u8> {
    STRATA.iter().find(|(name, ..)| *name == stratum).map(|(_, row, _)| *row)
}
