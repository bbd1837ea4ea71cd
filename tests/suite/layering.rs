//! The floors of the house: which room may import which, and what may stand in one place only.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room and all that it may import besides itself, lowest first. A row may name rows above it in this list only.
const FLOORS: &[(&str, &[&str])] = &[
    ("geometry", &[]),
    ("metrics", &[]),
    ("logging", &[]),
    ("sys", &[]),
    ("sandbox", &[]),
    ("voxels", &["geometry"]),
    ("demo", &["geometry", "voxels"]), // never dvid: client and server must be able to disagree
    ("dvid", &["voxels", "geometry", "metrics"]),
    ("cache", &["dvid", "voxels", "geometry", "metrics", "sys"]),
    ("array", &["cache", "dvid", "voxels", "geometry", "metrics"]),
    ("layout", &["array", "voxels", "geometry"]),
    ("vfs", &["layout", "array", "metrics", "logging"]),
    ("fuse", &["vfs", "metrics", "logging", "sys", "array", "dvid"]), // array and dvid for error kinds
    (
        "cli",
        &[
            "fuse", "vfs", "layout", "array", "cache", "dvid", "demo", "voxels", "geometry", "metrics", "logging",
            "sys", "sandbox",
        ],
    ),
    (
        "lib",
        &[
            "array", "cache", "cli", "demo", "dvid", "fuse", "geometry", "layout", "logging", "metrics", "sandbox",
            "vfs", "voxels",
        ],
    ),
    ("main", &["cli"]),
];

/// A word, and the only places (path prefixes below `src/`) whose code may hold it.
const AT_HOME: &[(&str, &[&str])] = &[
    ("ureq", &["dvid/http.rs", "dvid/http/"]),
    ("rustls", &["dvid/tls.rs"]),
    ("fuser", &["fuse/"]),
    ("landlock", &["sandbox/"]),
    ("seccompiler", &["sandbox/"]),
    ("rustix", &["sandbox/"]),
    ("unsafe", &["sys.rs"]),
    ("println", &["cli/"]),
    ("eprintln", &["cli/"]),
    ("std::env", &["cli/args.rs"]),
    ("from_xyz", &["dvid/", "layout/", "demo/"]),
    ("to_xyz", &["dvid/", "layout/", "demo/"]),
];

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 60;
const MAX_UNSAFE_FILE_LINES: usize = 150;

/// One source file: where it is below `src/`, and its code without comments, strings and test modules, line by line.
struct Source {
    path: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), code: without_tests(&without_comments_and_strings(text)) }
    }

    /// The room that the file belongs to.
    fn room(&self) -> &str {
        let first = self.path.split('/').next().expect("a path has a first part");
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Lines of the file that are code or comments of the code, not tests.
    fn n_lines(&self) -> usize {
        self.code.lines().count()
    }

    /// Rooms named behind `crate::` or, in the binary, behind the crate's name.
    fn imports(&self) -> BTreeSet<String> {
        let mut rooms = BTreeSet::new();
        for root in ["crate::", "dvidfs::"] {
            for (at, _) in self.code.match_indices(root) {
                rooms.extend(first_names(&self.code[at + root.len()..]));
            }
        }
        if self.room() == "lib" {
            let declared = self.code.lines().filter_map(|line| line.trim_start().strip_prefix("pub mod "));
            rooms.extend(declared.map(|name| name.trim_end_matches([';', ' ', '{']).to_owned()));
        }
        rooms
    }

    /// Whether a word, or a path with `::` in it, stands in the code by itself.
    fn names(&self, word: &str) -> bool {
        if word.contains("::") {
            return self.code.contains(word);
        }
        self.code.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|found| found == word)
    }

    /// (first line, number of lines) of each function.
    fn functions(&self) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for (at, _) in self.code.match_indices("fn ") {
            let starts_word = self.code[..at].chars().next_back().is_none_or(|c| !(c.is_alphanumeric() || c == '_'));
            let Some(open) = self.code[at..].find(['{', ';']).map(|n| at + n) else { continue };
            if !starts_word || self.code.as_bytes()[open] == b';' {
                continue;
            }
            let end = closing_brace(&self.code, open);
            let lines = self.code[at..end].matches('\n').count() + 1;
            found.push((self.code[..at].matches('\n').count() + 1, lines));
        }
        found
    }
}

/// The first names of an import: one, or those of a list in braces.
fn first_names(rest: &str) -> Vec<String> {
    let name = |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    if !rest.starts_with('{') {
        return vec![name(rest)];
    }
    let end = closing_brace(rest, 0);
    let (mut depth, mut names, mut start) = (0, Vec::new(), 1);
    for (at, c) in rest[..end].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => {
                names.push(name(&rest[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    names.push(name(&rest[start..end - 1]));
    names.retain(|found| !found.is_empty());
    names
}

/// The position behind the brace that closes the one at `open`.
fn closing_brace(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return open + at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// The text with comments and the insides of strings and characters blanked; line breaks stay.
fn without_comments_and_strings(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = span_end(&chars, at);
        match end {
            Some(end) => out.extend(chars[at..end].iter().filter(|c| **c == '\n')),
            None => out.push(chars[at]),
        }
        at = end.unwrap_or(at + 1);
    }
    out
}

/// The end of the comment, string or character literal that begins at `at`, if one does.
fn span_end(chars: &[char], at: usize) -> Option<usize> {
    let next = chars.get(at + 1).copied().unwrap_or(' ');
    let until =
        |from: usize, stop: &dyn Fn(usize) -> bool| (from..chars.len()).find(|i| stop(*i)).unwrap_or(chars.len());
    match (chars[at], next) {
        ('/', '/') => Some(until(at, &|i| chars[i] == '\n')),
        ('/', '*') => {
            Some((until(at + 2, &|i| chars[i] == '*' && chars.get(i + 1) == Some(&'/')) + 2).min(chars.len()))
        }
        ('r', '"' | '#') if at == 0 || !chars[at - 1].is_alphanumeric() => {
            let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
            if chars.get(at + 1 + hashes) != Some(&'"') {
                return None; // a raw identifier
            }
            let closes = |i: usize| {
                chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
            };
            Some((until(at + 2 + hashes, &closes) + 1 + hashes).min(chars.len()))
        }
        ('"', _) => {
            let mut i = at + 1;
            while i < chars.len() && chars[i] != '"' {
                i += if chars[i] == '\\' { 2 } else { 1 };
            }
            Some((i + 1).min(chars.len()))
        }
        ('\'', '\\') => Some((until(at + 3, &|i| chars[i] == '\'') + 1).min(chars.len())),
        ('\'', _) if chars.get(at + 2) == Some(&'\'') => Some(at + 3),
        _ => None,
    }
}

/// What marks code that is in no program: tests, those of schedules, and the bodies of fuzz targets.
const TEST_MARKS: [&str; 3] = ["#[cfg(test)]", "#[cfg(all(test, shuttle))]", "#[cfg(any(test, fuzzing))]"];

/// The code without modules that are marked so. Their line breaks go, too: tests beside the code are not counted.
fn without_tests(code: &str) -> String {
    let mut rest = code.to_owned();
    while let Some((start, mark)) = TEST_MARKS.iter().find_map(|mark| Some((rest.find(mark)?, mark))) {
        let behind = start + mark.len();
        let Some(end) = rest[behind..].find(['{', ';']).map(|n| behind + n) else { break };
        let end = if rest.as_bytes()[end] == b'{' { closing_brace(&rest, end) } else { end + 1 };
        rest.replace_range(start..end, "");
    }
    rest
}

/// All files below `src/` but those of test modules.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut queue) = (Vec::new(), vec![root.clone()]);
    while let Some(directory) = queue.pop() {
        for entry in fs::read_dir(directory).expect("src/ can be listed") {
            let path = entry.expect("an entry of src/").path();
            if path.is_dir() { queue.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let tests = test_modules(&files);
    let below = |path: &PathBuf| path.strip_prefix(&root).expect("below src/").display().to_string();
    files
        .iter()
        .filter(|path| !tests.iter().any(|test| path.starts_with(test) || path.with_extension("") == *test))
        .map(|path| Source::new(&below(path), &fs::read_to_string(path).expect("a source file")))
        .collect()
}

/// Modules declared as `#[cfg(test)] mod name;` or behind another of the marks, as paths without `.rs`.
fn test_modules(files: &[PathBuf]) -> Vec<PathBuf> {
    let mut modules = Vec::new();
    for path in files {
        let text = without_comments_and_strings(&fs::read_to_string(path).expect("a source file"));
        for (at, mark) in TEST_MARKS.iter().flat_map(|mark| text.match_indices(mark)) {
            let behind = text[at + mark.len()..].trim_start();
            let Some((head, _)) = behind.split_once(';') else { continue };
            let head =
                ["pub(super) ", "pub(crate) ", "pub "].iter().find_map(|face| head.strip_prefix(face)).unwrap_or(head);
            let Some(name) = head.strip_prefix("mod ") else { continue };
            let is_face =
                path.file_name().is_some_and(|file| file == "mod.rs" || file == "lib.rs" || file == "main.rs");
            let home =
                if is_face { path.parent().expect("a file has a folder").to_owned() } else { path.with_extension("") };
            modules.push(home.join(name.trim()));
        }
    }
    modules
}

/// What a file does against the floors, one line each.
fn breaches(source: &Source) -> Vec<String> {
    let (path, room) = (&source.path, source.room());
    let Some((_, allowed)) = FLOORS.iter().find(|(name, _)| *name == room) else {
        return vec![format!("src/{path} stands in {room}, which has no row")];
    };
    let rooms: BTreeSet<&str> = FLOORS.iter().map(|(name, _)| *name).collect();
    let mut found = Vec::new();
    for import in source.imports() {
        if import != room && !allowed.contains(&import.as_str()) {
            let what = if rooms.contains(import.as_str()) { "imports" } else { "imports from the crate's root:" };
            found.push(format!("src/{path} {what} {import}"));
        }
    }
    for (word, homes) in AT_HOME {
        if source.names(word) && !homes.iter().any(|home| path.starts_with(home)) {
            found.push(format!("src/{path} holds `{word}`, whose place is {}", homes.join(", ")));
        }
    }
    found
}

#[track_caller]
fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn imports_run_downstairs_and_each_thing_is_at_home() {
    let all = sources();
    assert!(all.len() > 50, "only {} source files were found", all.len());
    assert_none(&all.iter().flat_map(breaches).collect::<Vec<_>>());
}

#[test]
fn rows_of_the_table_name_rows_above_them_only() {
    for (n, (room, allowed)) in FLOORS.iter().enumerate() {
        for name in *allowed {
            assert!(
                FLOORS[..n].iter().any(|(above, _)| above == name),
                "{room} names {name}, which stands no higher in the list"
            );
        }
    }
}

#[test]
fn files_and_functions_are_short() {
    let mut found = Vec::new();
    for source in sources() {
        if source.n_lines() >= MAX_FILE_LINES {
            found.push(format!("src/{} has {} lines", source.path, source.n_lines()));
        }
        for (line, lines) in source.functions() {
            if lines > MAX_FUNCTION_LINES {
                found.push(format!("src/{}: the function at code line {line} has {lines} lines", source.path));
            }
        }
        if source.path == "sys.rs" && source.n_lines() > MAX_UNSAFE_FILE_LINES {
            found.push(format!("src/sys.rs has {} lines", source.n_lines()));
        }
    }
    assert_none(&found);
}

#[test]
fn a_forbidden_import_is_found() {
    //                    path             code                                              breach
    let cases: &[(&str, &str, Option<&str>)] = &[
        ("vfs/mod.rs", "use crate::fuse::Mounted;", Some("src/vfs/mod.rs imports fuse")),
        ("vfs/mod.rs", "use crate::{array::Entry, fuse::{self, Mounted}};", Some("src/vfs/mod.rs imports fuse")),
        ("vfs/mod.rs", "use crate::{\n    array::{A, fuse},\n};", None),
        ("vfs/mod.rs", "fn f() { crate::dvid::Node::open() }", Some("src/vfs/mod.rs imports dvid")),
        ("demo/wire.rs", "use crate::dvid::Error;", Some("src/demo/wire.rs imports dvid")),
        (
            "geometry/roi.rs",
            "use crate::Coordinate;",
            Some("src/geometry/roi.rs imports from the crate's root: Coordinate"),
        ),
        ("vfs/mod.rs", "// use crate::fuse::Mounted;\nlet x = \"crate::fuse\"; /* crate::fuse */", None),
        ("vfs/mod.rs", "#[cfg(test)]\nmod tests { use crate::fuse::Mounted; }", None),
        ("vfs/mod.rs", "#[cfg(test)]\nmod tests;\nuse crate::fuse::Mounted;", Some("src/vfs/mod.rs imports fuse")),
        ("attic/mod.rs", "", Some("src/attic/mod.rs stands in attic, which has no row")),
        (
            "dvid/node.rs",
            "use ureq::Agent;",
            Some("src/dvid/node.rs holds `ureq`, whose place is dvid/http.rs, dvid/http/"),
        ),
        ("dvid/http.rs", "use ureq::Agent;", None),
        ("vfs/tree.rs", "fn f() -> fuser::FileType {}", Some("src/vfs/tree.rs holds `fuser`, whose place is fuse/")),
        (
            "array/spec.rs",
            "Coordinate::from_xyz(1, 2, 3)",
            Some("src/array/spec.rs holds `from_xyz`, whose place is dvid/, layout/, demo/"),
        ),
        ("cache/disk.rs", "unsafe { x() }", Some("src/cache/disk.rs holds `unsafe`, whose place is sys.rs")),
        ("cache/disk.rs", "#![deny(unsafe_code)] let c = '\"'; let d = r#\"unsafe \" \"#; // unsafe", None),
        ("array/mod.rs", "println!(\"x\")", Some("src/array/mod.rs holds `println`, whose place is cli/")),
        ("cli/open.rs", "std::env::var(\"X\")", Some("src/cli/open.rs holds `std::env`, whose place is cli/args.rs")),
        ("dvid/http.rs", "env!(\"CARGO_PKG_VERSION\")", None),
    ];
    for (path, code, breach) in cases {
        let found = breaches(&Source::new(path, code));
        assert_eq!(found.first().map(String::as_str), *breach, "{path}: {code}");
    }
}

#[test]
fn a_long_function_is_found() {
    let body = "    x();\n".repeat(70);
    let source = Source::new(
        "array/spec.rs",
        &format!("struct S;\n\npub fn long() {{\n{body}}}\n\nfn short() {{}}\ntrait T {{ fn none(&self); }}\n"),
    );
    assert_eq!(source.functions(), [(3, 72), (76, 1)]);
}
