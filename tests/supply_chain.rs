//! What is built into the program: from one registry, under licences of a list, few crates, and no unsafe code of ours
//! but in one small file.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test that cannot go on fails; it tells what it counted

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Crates in the tree of the program and its tests.
const MOST_CRATES: usize = 180;
/// Lines of the only file with unsafe code.
const MOST_UNSAFE_LINES: usize = 150;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What cargo prints, with the crates that are locked.
fn cargo(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(words).arg("--locked").current_dir(root()).output();
    let output = output.expect("cargo runs");
    assert!(output.status.success(), "cargo {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints text")
}

/// The texts of a list in `deny.toml`.
fn listed(name: &str) -> Vec<String> {
    let text = read("deny.toml");
    let list = text.split(&format!("\n{name} = [")).nth(1).and_then(|rest| rest.split(']').next());
    list.unwrap_or_else(|| panic!("no {name}")).split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The packages of a lock file as (name, source, whether there is a checksum).
fn locked(text: &str) -> Vec<(String, Option<String>, bool)> {
    let value = |package: &str, key: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")))?;
        line.strip_suffix('"').map(str::to_owned)
    };
    let of = |package: &str| {
        let name = value(package, "name").expect("a package has a name");
        (name, value(package, "source"), value(package, "checksum").is_some())
    };
    text.split("[[package]]").skip(1).map(of).collect()
}

/// What is wrong with where the packages of a lock file come from.
fn strangers(text: &str, registries: &[String]) -> Vec<String> {
    let is_fine = |(name, source, has_checksum): &(String, Option<String>, bool)| match source {
        None => name == "dvidfs" || name == "dvidfs-fuzz" || name == "zarrs-read",
        Some(source) => {
            let registry = source.strip_prefix("registry+");
            *has_checksum && registry.is_some_and(|registry| registries.iter().any(|known| known == registry))
        }
    };
    locked(text)
        .into_iter()
        .filter(|package| !is_fine(package))
        .map(|(name, source, _)| format!("{name} {source:?}"))
        .collect()
}

/// Whether a licence expression can be met by licences of the list. `a/b` is an old way to write `a OR b`.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let (result, rest) = any_of(&words, allowed);
    assert!(rest.is_empty(), "{expression:?} is not understood");
    result
}

fn any_of<'a>(words: &'a [&'a str], allowed: &[String]) -> (bool, &'a [&'a str]) {
    let (mut result, mut rest) = all_of(words, allowed);
    while let Some((&"OR", behind)) = rest.split_first() {
        let (other, left) = all_of(behind, allowed);
        (result, rest) = (result || other, left);
    }
    (result, rest)
}

fn all_of<'a>(words: &'a [&'a str], allowed: &[String]) -> (bool, &'a [&'a str]) {
    let (mut result, mut rest) = one(words, allowed);
    while let Some((&"AND", behind)) = rest.split_first() {
        let (other, left) = one(behind, allowed);
        (result, rest) = (result && other, left);
    }
    (result, rest)
}

fn one<'a>(words: &'a [&'a str], allowed: &[String]) -> (bool, &'a [&'a str]) {
    match words {
        ["(", inner @ ..] => {
            let (result, rest) = any_of(inner, allowed);
            assert_eq!(rest.first(), Some(&")"), "a bracket is open");
            (result, &rest[1..])
        }
        [name, "WITH", exception, rest @ ..] => {
            let name = format!("{name} WITH {exception}");
            (allowed.contains(&name), rest)
        }
        [name, rest @ ..] => (allowed.iter().any(|known| known == name), rest),
        [] => panic!("a licence is missing"),
    }
}

#[test]
fn all_crates_come_from_one_registry() {
    let registries = listed("allow-registry");
    assert_eq!(registries.len(), 1);
    for file in ["Cargo.lock", "fuzz/Cargo.lock", "tests/readers/zarrs/Cargo.lock"] {
        let text = read(file);
        let found = strangers(&text, &registries);
        println!("{file}, crates from elsewhere: {} / 0", found.len());
        assert!(found.is_empty() && locked(&text).len() > 20, "{file}: {found:?}");
    }
}

#[test]
fn a_crate_from_elsewhere_is_found() {
    let registries = listed("allow-registry");
    let package = |source: &str| format!("[[package]]\nname = \"x\"\nversion = \"1.0.0\"\n{source}\n");
    let good = "source = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"12\"";
    assert_eq!(strangers(&package(good), &registries), [""; 0]);
    for source in [
        "",
        "source = \"registry+https://github.com/rust-lang/crates.io-index\"",
        "source = \"registry+https://elsewhere.example/index\"\nchecksum = \"12\"",
        "source = \"git+https://github.com/rust-lang/crates.io-index#abc\"",
    ] {
        assert_eq!(strangers(&package(source), &registries).len(), 1, "{source}");
    }
}

#[test]
fn there_are_few_crates() {
    let tree = cargo(&["tree", "--workspace", "-e", "normal,dev,build", "--prefix", "none"]);
    let n_crates = tree.lines().collect::<BTreeSet<_>>().len();
    println!("crates in the tree: {n_crates} / {MOST_CRATES}");
    assert!((50..=MOST_CRATES).contains(&n_crates), "{n_crates} crates");
}

#[test]
fn every_licence_is_on_the_list() {
    let allowed = listed("allow");
    let metadata: Value = serde_json::from_str(&cargo(&["metadata", "--format-version", "1"])).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let licence = |package: &Value| package["license"].as_str().unwrap_or("none").to_owned();
    let refused: Vec<_> = packages
        .iter()
        .filter(|package| !is_allowed(&licence(package), &allowed))
        .map(|package| format!("{}: {}", package["name"], licence(package)))
        .collect();
    println!("licences off the list: {} / 0 of {} crates", refused.len(), packages.len());
    assert!(refused.is_empty() && packages.len() > 50, "{refused:?}");
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
    for (expression, result) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("none", false),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("ISC AND MIT", true),
        ("(GPL-3.0 OR ISC) AND MIT", true),
        ("(GPL-3.0 OR ISC) AND BSD-3-Clause", false),
        ("ISC OR GPL-3.0 AND BSD-3-Clause", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
        ("MIT WITH an-exception", false),
    ] {
        assert_eq!(is_allowed(expression, &allowed), result, "{expression}");
    }
}

/// The source files of the program.
fn sources() -> Vec<PathBuf> {
    let (mut files, mut open) = (Vec::new(), vec![root().join("src")]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { files.push(path) }
        }
    }
    files
}

/// Lines that allow unsafe code or have some; the lint `unsafe_code` refuses all that this does not see.
fn unsafe_lines(text: &str) -> usize {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let has_word = |line: &&str| line.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == "unsafe");
    let allows =
        |line: &&str| ["allow", "expect"].iter().any(|word| line.contains(word)) && line.contains("unsafe_code");
    text.lines().filter(is_code).filter(|line| has_word(line) || allows(line)).count()
}

#[test]
fn unsafe_code_stands_in_one_small_file() {
    let sys = root().join("src/sys.rs");
    let elsewhere: Vec<_> = sources()
        .into_iter()
        .filter(|path| *path != sys)
        .filter(|path| unsafe_lines(&fs::read_to_string(path).unwrap()) > 0)
        .collect();
    let n_lines = fs::read_to_string(sys).unwrap().lines().count();
    println!("files with unsafe code beside sys.rs: {} / 0", elsewhere.len());
    println!("lines of sys.rs: {n_lines} / {MOST_UNSAFE_LINES}");
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    assert!(n_lines <= MOST_UNSAFE_LINES);
    assert!(read("Cargo.toml").contains("\nunsafe_code = \"deny\"\n"), "the compiler refuses unsafe code");
    assert_eq!(unsafe_lines("fn f() { unsafe { g() } }\n#[allow(unsafe_code)]\n// unsafe\nlet unsafely = 1;"), 2);
}

#[test]
fn no_code_of_ours_runs_while_the_program_is_built() {
    assert!(!root().join("build.rs").exists());
    assert!(!read("Cargo.toml").lines().any(|line| line.trim_start().starts_with("build =")), "a build script");
}
