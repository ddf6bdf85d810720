//! The committed inputs, replayed.
#![expect(clippy::disallowed_methods, reason = "the corpus lies in files")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

type Target = fn(&[u8]);

/// Every target of this build.
const TARGETS: &[(&str, Target)] = &[
    #[cfg(feature = "service")]
    ("answer", super::answer),
    #[cfg(feature = "service")]
    ("configuration", super::configuration),
    #[cfg(feature = "webhook")]
    ("delivery", super::delivery),
    #[cfg(feature = "service")]
    ("former", super::former),
    ("group", super::group),
    ("manifest", super::manifest),
    ("record", super::record),
    #[cfg(feature = "service")]
    ("request", super::request),
    ("segment", super::segment),
    ("state", super::state),
    ("text", super::text),
];

/// The fuzzer's folder; none in a published package, which lacks it.
fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    folder.is_dir().then_some(folder)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn no_input_of_the_corpus_finds_anything() {
    let Some(folder) = folder() else { return };
    for (name, target) in TARGETS {
        let corpus = folder.join("corpus").join(name);
        let inputs = names(&corpus);
        assert!(inputs.len() >= 5, "the corpus of {name} has {} inputs", inputs.len());
        for input in inputs {
            // Whatever panics is preceded by its name.
            println!("{name}/{input}");
            target(&std::fs::read(corpus.join(&input)).unwrap());
        }
    }
}

#[cfg(feature = "service")]
#[test]
fn every_target_has_a_program_and_a_corpus() {
    let Some(folder) = folder() else { return };
    let known: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&folder.join("fuzz_targets")), known);
    assert_eq!(names(&folder.join("corpus")), known);
}
