//! A program that maps files: to do that in this process would need `unsafe`.

use std::io::{Read, Write};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::io::Errno;

/// Reads lines `path TAB begin TAB end TAB advice TAB shared`; answers each with the mapped bytes of that range.
const PROGRAM: &str = r#"
import mmap, os, sys
ADVICE = [mmap.MADV_NORMAL, mmap.MADV_RANDOM, mmap.MADV_SEQUENTIAL, mmap.MADV_WILLNEED, mmap.MADV_DONTNEED]
for line in sys.stdin:
    path, *numbers = line.rstrip("\n").split("\t")
    begin, end, advice, shared = map(int, numbers)
    base = begin - begin % mmap.PAGESIZE
    fd = os.open(path, os.O_RDONLY)
    flags = mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE
    with mmap.mmap(fd, end - base, flags=flags, prot=mmap.PROT_READ, offset=base) as mapped:
        os.close(fd)
        mapped.madvise(ADVICE[advice])
        # From back to front first, by pages: then nothing foretells what comes next.
        sum(mapped[at] for at in range(end - base - 1, begin - base, -7 * mmap.PAGESIZE))
        sys.stdout.buffer.write(mapped[begin - base:])
    sys.stdout.buffer.flush()
"#;

/// The program, until it is dropped.
pub(super) struct Mapper {
    child: Child,
    answers: ChildStdout,
}

impl Mapper {
    pub(super) fn start() -> Self {
        let mut child = Command::new("python3")
            .args(["-c", PROGRAM])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let answers = child.stdout.take().unwrap();
        Self { child, answers }
    }

    /// The bytes of a range that the file has, through a map of it. A map of nothing cannot be made.
    pub(super) fn read(
        &mut self,
        path: &Path,
        held: Range<usize>,
        advice: u64,
        shared: bool,
    ) -> Result<Vec<u8>, Errno> {
        if held.is_empty() {
            return Ok(Vec::new());
        }
        let (begin, end) = (held.start, held.end);
        let line = format!("{}\t{begin}\t{end}\t{advice}\t{}\n", path.display(), u8::from(shared));
        self.child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        let mut bytes = vec![0xEE; held.len()];
        self.answers.read_exact(&mut bytes).unwrap_or_else(|error| panic!("mapping {line}: {error}"));
        Ok(bytes)
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        // Without words it ends.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
