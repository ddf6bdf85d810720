//! The dump tool, as an auditor calls it: what it prints, and what its exit status says.
#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what its own scaffolding cannot do fails a test")]
#![expect(clippy::disallowed_methods, reason = "a test that damages files touches them")]

use std::fs;
use std::path::Path;
use std::process::Command;

use ledgerline::{NewEvent, Store, StoreOptions};
use serde_json::Value;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

/// Exit status, standard output and standard error of a dump that runs among the fixtures.
fn dump(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_ledgerline-dump")).args(arguments).current_dir(FIXTURES).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A copy of the fixture's store in which one byte of a file is another.
fn damaged(name: &str, at: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["MANIFEST", "0000000002.seg", "0000000003.seg"] {
        let mut bytes = fs::read(Path::new(FIXTURES).join("store-v1").join(file)).unwrap();
        if file == name {
            bytes[at] ^= 0x40;
        }
        fs::write(dir.path().join(file), bytes).unwrap();
    }
    dir
}

#[test]
fn a_store_is_printed_record_by_record_with_foreign_text_escaped() {
    let as_expected = |store: &str| {
        let (code, printed, said) = dump(&[store]);
        assert_eq!((code, said.as_str()), (Some(0), ""));
        // Printed by this tool once, then read by a person against FORMAT.md.
        let expected = fs::read_to_string(Path::new(FIXTURES).join(format!("{store}.dump"))).unwrap();
        assert_eq!(printed, expected);
        printed
    };
    as_expected("store-v1-kinds-19");
    let printed = as_expected("store-v1");
    assert!(printed.contains("first\\u{1b}[31m error") && !printed.contains('\u{1b}'));
}

#[test]
fn nothing_foreign_reaches_the_terminal_unescaped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let store = Store::open(&path, StoreOptions::default()).unwrap();
    let event = NewEvent::new("T\u{1b}]0;evil\u{7}", &1).unwrap().id("id\u{9b}31m\u{202e}\u{7f} \u{1f980}");
    store.append(event.key("\u{85}\u{200f}")).unwrap();
    store.close().unwrap();
    for arguments in [&["--json"][..], &[]] {
        let arguments = [&[path.to_str().unwrap()], arguments].concat();
        let (code, printed, _) = dump(&arguments);
        assert_eq!(code, Some(0));
        let acts =
            |character: char| character != '\n' && (character.is_control() || "\u{202e}\u{200f}".contains(character));
        assert!(!printed.contains(acts), "{printed:?}");
        assert!(printed.contains("u{9b}") || printed.contains("u009b"), "{printed:?}");
    }
}

#[test]
fn a_single_segment_is_read_without_its_store() {
    let (code, printed, _) = dump(&["store-v1/0000000003.seg"]);
    assert_eq!(code, Some(0));
    assert!(printed.ends_with("checksums sound: 1 segments, 4 records, 0 damaged places\n"), "{printed}");
}

#[test]
fn json_is_one_object_a_line_and_ends_with_the_report() {
    let (code, printed, _) = dump(&["store-v1", "--json"]);
    assert_eq!(code, Some(0));
    let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let report = lines.last().unwrap();
    assert_eq!((&report["item"], &report["damage"]), (&"report".into(), &0.into()));
    let records = lines.iter().filter(|line| line["item"] == "record");
    assert_eq!(Value::from(records.clone().count()), report["records"]);
    for record in records {
        for field in ["seq", "segment", "offset", "length", "checksum", "kind", "id", "says"] {
            assert!(record.get(field).is_some(), "{field} in {record}");
        }
    }
}

#[test]
fn the_exit_status_tells_sound_from_damaged_from_unreadable() {
    // A body in the middle, a header, the manifest's own bytes, and an unfinished tail that nobody was promised.
    let tail = fs::metadata(Path::new(FIXTURES).join("store-v1/0000000003.seg")).unwrap().len();
    let tail = usize::try_from(tail).unwrap() - 1;
    for (name, at, code, says) in [
        ("0000000002.seg", 600, 1, "DAMAGE segment 2"),
        ("0000000002.seg", 20, 1, "the segment header's checksum"),
        ("0000000003.seg", 110, 1, "DAMAGE segment 3"),
        ("0000000003.seg", tail, 0, "unfinished tail of 72 bytes, which nothing shows to have been acknowledged"),
    ] {
        let dir = damaged(name, at);
        let (found, printed, said) = dump(&[dir.path().to_str().unwrap()]);
        assert_eq!(found, Some(code), "{name} at {at}: {said}\n{printed}");
        assert!(printed.contains(says), "{name} at {at}: {printed}");
    }
    for (path, says) in [
        ("nowhere", "no store at nowhere"),
        ("nowhere.seg", "no segment at nowhere.seg"),
        ("linear", "no store at linear"),
    ] {
        let (code, printed, said) = dump(&[path]);
        assert_eq!((code, printed.as_str()), (Some(2), ""), "{path}");
        assert!(said.contains(says), "{path}: {said}");
        let (code, printed, said) = dump(&["--json", path]);
        assert_eq!((code, printed.as_str()), (Some(2), ""), "{path}");
        let told: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(told["error"], "not_found");
        assert!(told["message"].as_str().unwrap().contains(says), "{path}: {said}");
    }
    assert_eq!(dump(&[]).0, Some(2));
}

#[test]
fn without_a_manifest_all_segments_are_printed_and_the_manifest_is_the_one_damaged_place() {
    let dir = damaged("MANIFEST", 20);
    let path = dir.path().to_str().unwrap();
    for says in ["DAMAGE the manifest does not verify", "DAMAGE segments are there, but the manifest is missing"] {
        let (code, printed, said) = dump(&[path]);
        assert_eq!((code, said.as_str()), (Some(1), ""));
        assert!(printed.contains(says), "{printed}");
        assert!(printed.ends_with("DAMAGED: 2 segments, 32 records, 1 damaged places\n"), "{printed}");
        let _ = fs::remove_file(dir.path().join("MANIFEST"));
    }
}
