//! A demo server in a network namespace of its own, where links go down and packets are lost without harm to anyone.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::mounted::Mounted;
use super::mounts::reports::skipped;

/// A demo server and everything on its loopback. It ends when it is dropped, and the namespace with it.
pub struct Namespace {
    demo: Child,
    uuid: String,
    pub port: u16,
    /// Holds the files that programs in it see in place of those in `/etc`.
    etc: tempfile::TempDir,
}

fn program() -> &'static str {
    env!("CARGO_BIN_EXE_dvidfs")
}

impl Namespace {
    /// Starts one, or says which faults are skipped for lack of rights.
    pub fn new(faults: &str, options: &[&str]) -> Option<Self> {
        let allowed = Command::new("unshare").args(["-n", "-m", "true"]).stderr(Stdio::null()).status();
        if !allowed.is_ok_and(|status| status.success()) {
            skipped(&format!("network namespaces: faults {faults} need root"));
            return None;
        }
        for tool in ["ip", "nft", "tc", "nsenter"] {
            let found = Command::new(tool).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
            assert!(found.is_ok(), "no {tool}: install iproute2, nftables and util-linux");
        }
        let mut demo = Command::new("unshare")
            .args(["-n", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh", program(), "demo", "--serve", "0"])
            .args(["--dataset", "test"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut source = String::new();
        BufReader::new(demo.stdout.take().unwrap()).read_line(&mut source).unwrap();
        let (origin, uuid) = source.trim().rsplit_once('/').unwrap();
        let port = origin.rsplit_once(':').unwrap().1.parse().unwrap();
        let etc = tempfile::tempdir().unwrap();
        fs::write(etc.path().join("host.conf"), "multi on\n").unwrap();
        let namespace = Self { demo, uuid: uuid.to_owned(), port, etc };
        namespace.resolver("files", "");
        namespace.hosts("");
        Some(namespace)
    }

    /// The node by some name of the server.
    pub fn source(&self, host: &str) -> String {
        format!("http://{host}:{}/{}", self.port, self.uuid)
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.demo.id()
    }

    /// What starts a program in it.
    pub fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.pid().to_string(), "-n"]);
        command
    }

    /// Runs a tool in it.
    #[track_caller]
    pub fn run(&self, tool: &str, args: &[&str]) -> String {
        let output = self.enter().arg(tool).args(args).output().unwrap();
        assert!(output.status.success(), "{tool} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Packets that come in meet these rules alone from now on, and are counted. `PORT` is the server's.
    #[track_caller]
    pub fn rules(&self, rules: &[&str]) {
        self.clear();
        let mut script = "add table ip f; add chain ip f in { type filter hook input priority 0; }; \
            add chain ip f nat { type nat hook output priority -100; }; "
            .to_owned();
        for rule in rules {
            let (chain, rule) = rule.strip_prefix("nat ").map_or(("in", *rule), |rule| ("nat", rule));
            script.push_str(&format!("add rule ip f {chain} {}; ", rule.replace("PORT", &self.port.to_string())));
        }
        self.run("nft", &[&script]);
    }

    /// No rule at all.
    pub fn clear(&self) {
        self.run("nft", &["add table ip f; delete table ip f"]);
    }

    /// Packets that met a rule.
    pub fn packets(&self) -> u64 {
        let listed = self.run("nft", &["list table ip f"]);
        let counts = listed.split("counter packets ").skip(1);
        counts.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// Mounts by a program in it.
    pub fn mount(&self, options: &[&str]) -> Mounted {
        let mut command = self.enter();
        command.arg(program());
        Mounted::started(command, &self.source("127.0.0.1"), options)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.etc.path().join(name)
    }

    /// What programs with names of their own know of hosts.
    pub fn hosts(&self, text: &str) {
        write_in_place(&self.file("hosts"), text);
    }

    /// Where such programs look for hosts, and which name server they ask.
    pub fn resolver(&self, services: &str, name_server: &str) {
        write_in_place(&self.file("nsswitch.conf"), &format!("hosts: {services}\n"));
        let asked = if name_server.is_empty() { String::new() } else { format!("nameserver {name_server}\n") };
        write_in_place(&self.file("resolv.conf"), &format!("{asked}options timeout:1 attempts:1\n"));
    }

    /// The program with names of its own: it sees these hosts, in mounts of its own.
    pub fn named(&self) -> Command {
        let mut command = self.enter();
        let script = "for name in hosts host.conf nsswitch.conf resolv.conf; do mount --bind \"$0/$name\" /etc/$name || exit 99; done; exec \"$@\"";
        command.args(["unshare", "-m", "--propagation", "slave", "sh", "-c", script]);
        command.arg(self.etc.path()).arg(program());
        command
    }

    /// Mounts by such a program.
    pub fn mount_named(&self, host: &str, options: &[&str]) -> Mounted {
        Mounted::elsewhere(self.named(), &self.source(host), options)
    }
}

/// The file that is bound elsewhere must stay the same one.
fn write_in_place(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // It may be stopped.
        let _ = self.demo.kill();
        let _ = self.demo.wait();
    }
}
