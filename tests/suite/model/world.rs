//! A server, a mount of it, and what is done to both; every answer is judged.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dvidfs::demo::{Dataset, Demo, DemoOptions, Fault, VERSIONS, lasting_port};
use nix::libc::{EIO, ENOENT, ESTALE};

use super::ops::{Damage, Op, Setting, Window, faults};
use super::truth::{File, NAMES, Truth};
use crate::support::caches::Caches;

/// What became of a read.
pub(super) type Outcome = Result<Vec<u8>, Failed>;

/// The errno of a read, and all that is known of it.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub(super) errno: i32,
    pub(super) why: String,
}

/// Part of a file of a tree: its path, where it begins, how long it is, and whether it is read past the kernel's pages.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) path: String,
    pub(super) offset: u64,
    pub(super) size: u32,
    pub(super) direct: bool,
}

/// A node as a tree of files, with a mount or without.
pub(super) trait Tree: Sized {
    /// Whether pages that were read stay for a while, whatever happens to the server.
    const KEEPS_PAGES: bool;
    /// How long a failure may be answered again after its cause is gone.
    const FAILURE_MEMORY: Duration;

    fn make(source: &str, setting: Setting, caches: &Path) -> Self;
    /// Reads at once, does something meanwhile, and waits for all.
    fn read(&self, parts: &[Part], meanwhile: impl FnOnce()) -> Vec<Outcome>;
    fn list(&self, path: &str) -> Result<Vec<String>, i32>;
    fn size(&self, path: &str) -> Result<u64, i32>;
    /// Forgets what is held of these files in memory. Whether it can.
    fn drop_caches(&self, paths: &[String]) -> bool;
    /// Waits until what is to be kept on disk was written.
    fn settle(&self);
    /// Ends as if killed; what was being read meanwhile came to this.
    fn kill(self, parts: &[Part]) -> Vec<Outcome>;
    /// Whether anybody still waits for something.
    fn is_quiet(&self) -> bool;
}

/// A demo server that can be stopped and started again at the same port. It outlives the worlds, since its blocks cost time.
pub(super) struct Host {
    port: u16,
    demo: Option<Demo>,
}

impl Host {
    pub(super) fn new() -> Self {
        Self { port: lasting_port().unwrap(), demo: None }
    }

    fn serve(&mut self, dataset: Dataset) {
        match &self.demo {
            Some(demo) => demo.set_dataset(dataset),
            None => self.restart(dataset),
        }
    }

    fn restart(&mut self, dataset: Dataset) {
        drop(self.demo.take());
        let options = DemoOptions { dataset, port: Some(self.port), ..DemoOptions::default() };
        self.demo = Some(Demo::start(options).unwrap());
    }

    fn demo(&self) -> &Demo {
        self.demo.as_ref().unwrap()
    }
}

/// How often something was seen, so that a model that checks nothing cannot pass for one that does.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) ops: u64,
    pub(super) reads: u64,
    pub(super) bytes: u64,
    pub(super) failed: u64,
    pub(super) stale: u64,
    pub(super) mixed: u64,
    pub(super) damaged: u64,
}

pub(super) struct World<'a, T: Tree> {
    host: &'a mut Host,
    setting: Setting,
    truth: Truth,
    caches: Caches,
    /// `None` only while it is made anew.
    tree: Option<T>,
    listings: Vec<(String, Vec<String>)>,
    /// Reads that begin before may fail.
    may_fail_until: Option<Instant>,
    pub(super) seen: Seen,
}

impl<'a, T: Tree> World<'a, T> {
    pub(super) fn new(host: &'a mut Host, setting: Setting) -> Result<Self, String> {
        let truth = Truth::new(setting);
        host.serve(truth.dataset());
        let mut world = Self {
            host,
            setting,
            truth,
            caches: Caches::new(),
            tree: None,
            listings: Vec::new(),
            may_fail_until: None,
            seen: Seen::default(),
        };
        world.mount()?;
        Ok(world)
    }

    fn tree(&self) -> &T {
        self.tree.as_ref().unwrap()
    }

    fn mount(&mut self) -> Result<(), String> {
        let uuid = VERSIONS[if self.setting.is_open { 2 } else { 0 }].uuid;
        let source = format!("{}/{uuid}", self.host.demo().origin());
        self.tree = Some(T::make(&source, self.setting, self.caches.directory()));
        self.truth.mounted();
        for file in self.truth.files.clone().iter().filter(|file| file.path.ends_with(".npy")) {
            self.stat(file)?;
        }
        Ok(())
    }

    pub(super) fn step(&mut self, op: &Op) -> Result<(), String> {
        self.seen.ops += 1;
        match op {
            Op::Read(windows) => self.read(windows, |_, _| ()),
            Op::List(n) => self.list(*n),
            Op::Stat(n) => {
                let file = self.file(*n);
                self.stat(&file)
            }
            Op::Miss(n) => self.miss(*n),
            Op::Mutate(n, windows) => {
                let instance = n % NAMES.len();
                self.read(windows, |host, truth| {
                    if truth.mutate(instance) {
                        host.serve(truth.dataset());
                        truth.changed();
                    }
                })
            }
            Op::Restart(windows) => self.read(windows, |host, truth| host.restart(truth.dataset())),
            Op::RestartOther(n, windows) => {
                let instance = n % NAMES.len();
                self.read(windows, |host, truth| {
                    truth.replace(instance);
                    host.restart(truth.dataset());
                    truth.changed();
                })
            }
            Op::Fault(kind, count, windows) => self.fault(*kind, *count, windows),
            Op::DropCaches => {
                let paths: Vec<_> = self.truth.files.iter().map(|file| file.path.clone()).collect();
                if self.tree().drop_caches(&paths) {
                    return Ok(());
                }
                self.tree().settle();
                self.kill(&[])
            }
            Op::Kill(windows) => self.kill(windows),
            Op::Corrupt(damages) => self.corrupt(damages),
            Op::Wait => {
                std::thread::sleep(Duration::from_millis(40));
                Ok(())
            }
        }
    }

    fn file(&self, n: usize) -> File {
        self.truth.files[n % self.truth.files.len()].clone()
    }

    /// Reads all windows at once, and judges what comes.
    fn read(&mut self, windows: &[Window], meanwhile: impl FnOnce(&mut Host, &mut Truth)) -> Result<(), String> {
        let parts: Vec<_> = windows.iter().map(|window| self.part(window)).collect();
        let asked = Instant::now();
        let tree = self.tree.take().unwrap();
        let outcomes = tree.read(&parts, || meanwhile(self.host, &mut self.truth));
        self.tree = Some(tree);
        self.judge(windows, &parts, outcomes, asked)
    }

    fn part(&self, window: &Window) -> Part {
        let file = self.file(window.file);
        let (offset, size, _) = self.truth.bytes_of(&file, window);
        Part { path: file.path, offset, size, direct: window.direct }
    }

    fn judge(
        &mut self,
        windows: &[Window],
        parts: &[Part],
        outcomes: Vec<Outcome>,
        asked: Instant,
    ) -> Result<(), String> {
        let mut stale = Vec::new();
        for ((window, part), outcome) in windows.iter().zip(parts).zip(outcomes) {
            let file = self.file(window.file);
            let wanted = self.truth.bytes_of(&file, window).2;
            self.seen.reads += 1;
            match outcome {
                Ok(bytes) if bytes.len() != wanted => {
                    return Err(format!("{part:?}: {} bytes of {wanted}", bytes.len()));
                }
                Ok(bytes) => {
                    self.seen.bytes += bytes.len() as u64;
                    let is_gone = self.truth.was_stale(file.instance) && !T::KEEPS_PAGES;
                    let editions = if is_gone { Vec::new() } else { self.truth.editions(file.instance, asked) };
                    self.seen.mixed += u64::from(editions.len() > 1);
                    self.truth
                        .compare(&file, part.offset, &bytes, &editions)
                        .map_err(|why| format!("{part:?}: {why}"))?;
                }
                Err(Failed { errno: ESTALE, .. }) if self.truth.may_be_stale(file.instance) => {
                    self.seen.stale += 1;
                    stale.push(file.instance);
                }
                Err(Failed { errno: EIO, .. }) if self.may_fail_until.is_some_and(|until| asked < until) => {
                    self.seen.failed += 1;
                }
                Err(Failed { errno, why }) => {
                    let errno = std::io::Error::from_raw_os_error(errno);
                    return Err(format!("{part:?}: {errno}: {why}, after {:?}", asked.elapsed()));
                }
            }
        }
        stale.into_iter().for_each(|instance| self.truth.note_stale(instance));
        Ok(())
    }

    fn stat(&mut self, file: &File) -> Result<(), String> {
        let size = self.tree().size(&file.path).map_err(|errno| format!("stat of {}: errno {errno}", file.path))?;
        self.truth.check_size(file, size)
    }

    /// Lists the directory of a file: the same names as ever, this one among them.
    fn list(&mut self, n: usize) -> Result<(), String> {
        let path = self.file(n).path;
        let (directory, name) = path.rsplit_once('/').unwrap();
        let names = self.tree().list(directory).map_err(|errno| format!("list of {directory}: errno {errno}"))?;
        if !names.iter().any(|found| found == name) {
            return Err(format!("{directory} lists {names:?}"));
        }
        match self.listings.iter().find(|(known, _)| known == directory) {
            Some((_, known)) if *known != names => Err(format!("{directory} lists {names:?}, and did {known:?}")),
            Some(_) => Ok(()),
            None => {
                self.listings.push((directory.to_owned(), names));
                Ok(())
            }
        }
    }

    fn miss(&mut self, n: usize) -> Result<(), String> {
        let path = format!("{}99", self.file(n).path);
        match self.tree().size(&path) {
            Err(ENOENT) => Ok(()),
            other => Err(format!("{path} should not be there: {other:?}")),
        }
    }

    fn fault(&mut self, kind: usize, count: u64, windows: &[Window]) -> Result<(), String> {
        let all = faults();
        let (kind, may_fail) = all[kind % all.len()].clone();
        let fault = Fault { matches: "blocks/".into(), nth: 0, count, kind };
        self.host.demo().set_faults(vec![fault]);
        if may_fail {
            self.may_fail_until = Some(Instant::now() + Duration::from_secs(3600));
        }
        let read = self.read(windows, |_, _| ());
        self.host.demo().set_faults(Vec::new());
        if may_fail {
            // What shared its request, or was fetched ahead, may be told of its failure later.
            let end = Instant::now() + Duration::from_secs(60);
            while !self.tree().is_quiet() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.may_fail_until = Some(Instant::now() + T::FAILURE_MEMORY + Duration::from_millis(500));
        }
        read
    }

    fn kill(&mut self, windows: &[Window]) -> Result<(), String> {
        let parts: Vec<_> = windows.iter().map(|window| self.part(window)).collect();
        let asked = Instant::now();
        let outcomes = self.tree.take().unwrap().kill(&parts);
        // Whoever loses its daemon is told so; bytes must be right all the same.
        let answered = |at: &usize| outcomes[*at].as_ref().map_or_else(|failed| failed.errno == ENOENT, |_| true);
        let kept: Vec<usize> = (0..parts.len()).filter(answered).collect();
        let windows: Vec<_> = kept.iter().map(|&at| windows[at]).collect();
        let parts: Vec<_> = kept.iter().map(|&at| parts[at].clone()).collect();
        let outcomes = kept.iter().map(|&at| outcomes[at].clone()).collect();
        self.judge(&windows, &parts, outcomes, asked)?;
        self.mount()
    }

    /// Damages entries, and mounts again so that they are sought.
    fn corrupt(&mut self, damages: &[(u16, Damage)]) -> Result<(), String> {
        self.tree().settle();
        let files = self.caches.files();
        if files.is_empty() {
            return Ok(());
        }
        for &(which, damage) in damages {
            spoil(&files, usize::from(which), damage);
            self.seen.damaged += 1;
        }
        self.kill(&[])
    }

    /// Everything is right again when nothing goes wrong any more, and nobody waits.
    pub(super) fn end(mut self) -> Result<Seen, String> {
        if let Some(until) = self.may_fail_until.take() {
            std::thread::sleep(until.saturating_duration_since(Instant::now()));
        }
        let window = |file| Window { file, at: [100, 50, 30], shift: 0, size: 3000, direct: true };
        let windows: Vec<_> = (0..self.truth.files.len()).map(window).collect();
        self.read(&windows, |_, _| ())?;
        let end = Instant::now() + Duration::from_secs(60);
        while !self.tree().is_quiet() {
            if Instant::now() > end {
                return Err("somebody still waits".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.tree().settle();
        if self.setting.is_open && !self.caches.files().is_empty() {
            return Err("blocks of an open node are on disk".into());
        }
        Ok(self.seen)
    }
}

/// Damages one of these files, or takes it away.
fn spoil(files: &[PathBuf], which: usize, damage: Damage) {
    let path = &files[which % files.len()];
    let Ok(mut bytes) = fs::read(path) else { return };
    let at = |n: u16| usize::from(n) % bytes.len().max(1);
    match damage {
        _ if bytes.is_empty() => {}
        Damage::FlippedBit(n) => {
            let at = at(n);
            bytes[at] ^= 1 << (n % 8);
            put(path, &bytes);
        }
        Damage::Cut(n) => put(path, &bytes[..at(n)]),
        Damage::ZeroPage(n) => {
            let from = at(n) / 512 * 512;
            let to = bytes.len().min(from + 4096);
            bytes[from..to].fill(0);
            put(path, &bytes);
        }
        Damage::Swapped(n) => {
            let other = &files[usize::from(n) % files.len()];
            if let Ok(others) = fs::read(other) {
                put(path, &others);
                put(other, &bytes);
            }
        }
        Damage::Removed => fs::remove_file(path).unwrap(),
        Damage::Symlink => {
            fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink(&files[(which + 1) % files.len()], path).unwrap();
        }
    }
}

/// Writes a file anew. One that became a link stays as it is.
fn put(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::OpenOptionsExt;
    if path.is_symlink() {
        return;
    }
    let _ = fs::remove_file(path);
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    std::io::Write::write_all(&mut file.unwrap(), bytes).unwrap();
}
