//! Every target over its seeds and the kept corpus.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

/// The files of a target's kept corpus, by name.
fn kept(target: Target) -> Vec<PathBuf> {
    let entries = fs::read_dir(corpus().join(target.name)).expect("every target has a kept corpus");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry of the corpus").path()).collect();
    files.sort();
    files
}

#[track_caller]
fn replay(name: &str) {
    let target = target(name);
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{name} has no seeds");
    seeds.iter().step_by(STEP).for_each(|seed| (target.run)(seed));
    let files = kept(target);
    assert!(!files.is_empty(), "{name} has no corpus");
    for file in files.into_iter().step_by(STEP) {
        // The name of the input that fails is the last in the output.
        eprintln!("{}", file.display());
        (target.run)(&fs::read(file).expect("a file of the corpus"));
    }
}

macro_rules! replayed {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        /// A target without a test would be found here.
        #[test]
        fn every_target_is_replayed() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

replayed! {
    label_block block_stream inflate instance_info repo_info name_codec path_to_chunk roi_math cache_entry http_reply cli_ref
}

#[test]
fn the_kept_corpus_is_small() {
    let sizes = TARGETS.iter().flat_map(|&target| kept(target)).map(|file| fs::metadata(file).expect("a file").len());
    let n_bytes: u64 = sizes.sum();
    assert!(n_bytes < 1 << 20, "{n_bytes} bytes");
}

#[test]
fn the_fuzz_package_has_each_target() {
    let manifest = fs::read_to_string(corpus().with_file_name("Cargo.toml")).expect("fuzz/Cargo.toml");
    for Target { name, .. } in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in fuzz/Cargo.toml");
        let body = corpus().with_file_name("fuzz_targets").join(format!("{name}.rs"));
        assert!(fs::read_to_string(body).expect("a target").contains(&format!("\"{name}\"")), "{name}");
    }
}
