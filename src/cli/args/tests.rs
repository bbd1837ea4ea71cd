#![allow(clippy::wildcard_enum_match_arm)] // any other command is the failure

use std::path::Path;

use super::*;

fn command(line: &str) -> Command {
    match parse(line.split(' ').map(OsString::from).collect()) {
        Ok(Words::Do(command, _)) => *command,
        other => panic!("{line:?}: {other:?}"),
    }
}

fn mount_args(line: &str) -> MountArgs {
    match command(line) {
        Command::Mount(args) => args,
        other => panic!("{line:?}: {other:?}"),
    }
}

fn refusal(line: &str) -> String {
    let failure = parse(line.split_whitespace().map(OsString::from).collect()).expect_err(line);
    assert_eq!(failure.code, 1, "{line}");
    assert!(!failure.line.contains('\n') && !failure.line.starts_with("error"), "{}", failure.line);
    failure.line
}

#[test]
fn the_bare_form_is_a_mount() {
    for line in ["mount host:1/abc /m", "host:1/abc /m", "host:1/abc /m -f", "-f host:1/abc /m"] {
        let args = mount_args(line);
        assert_eq!((args.source.as_str(), args.dir.to_str()), ("host:1/abc", Some("/m")), "{line}");
        assert_eq!(args.place.foreground, line.contains("-f"), "{line}");
    }
    let args = mount_args("--memory 1G host:1/abc /m");
    assert_eq!(args.server.memory_bytes(), 1 << 30);
}

#[test]
fn defaults_are_those_of_the_help() {
    let MountArgs { place, server, log, .. } = mount_args("host:1/abc /m");
    assert!(!place.foreground && !place.allow_other && !place.replace && !place.daemon_child);
    assert_eq!((place.threads, place.read_ahead, place.fsname), (3, 4 << 20, None));
    assert_eq!((server.max_connections, server.patience), (4, Duration::from_secs(900)));
    assert_eq!((server.mount_wait, server.ttl), (Duration::from_secs(10), Duration::from_secs(5)));
    assert_eq!(server.settle, Duration::from_secs(600));
    assert!((64 << 20..=1 << 30).contains(&server.memory_bytes()));
    assert_eq!(log.filter(), "dvidfs=warn");
    assert_eq!(mount_args("host:1/abc /m --log-file log").log.filter(), "dvidfs=info");
}

#[test]
fn options_reach_their_place() {
    let MountArgs { place, layouts, server, log, .. } = mount_args(
        "host:1/abc /m --allow-other --flat-limit 2T --memory 64M --max-connections 8 --patience 20s --ttl 1 --settle 0 --mount-wait 3s \
         --extents a=0:1,0:2,0:3 --extents b=0:1,0:2,0:3 --metadata meta.json --token-file token --insecure-token \
         --no-prefetch --log-file log -vv --threads 2 --fsname x --read-ahead 128K --replace -o ro,_netdev,x-systemd.automount",
    );
    assert!(place.allow_other && place.replace);
    assert_eq!(layouts.options().flat_limit_bytes, 2 << 40);
    assert_eq!((place.threads, place.read_ahead, place.fsname.as_deref()), (2, 128 << 10, Some("x")));
    assert_eq!((server.memory_bytes(), server.max_connections), (64 << 20, 8));
    assert_eq!((server.patience, server.ttl), (Duration::from_secs(20), Duration::from_secs(1)));
    assert_eq!((server.settle, server.mount_wait), (Duration::ZERO, Duration::from_secs(3)));
    assert_eq!(server.extents.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(server.insecure_token && server.no_prefetch);
    assert_eq!(server.token_file, Some(PathBuf::from("token")));
    assert_eq!((log.log_file.clone(), log.filter()), (Some(PathBuf::from("log")), "dvidfs=trace".into()));
}

#[test]
fn mount_options_of_habit_are_taken_and_others_refused() {
    let place = mount_args("host:1/abc /m -o ro,allow_other,fsname=brain,umask=027 -o noauto,user").place;
    assert!(place.allow_other && place.umask == 0o27);
    assert!(refusal("host:1/abc /m -o umask=9").contains("027"));
    assert_eq!(place.fsname.as_deref(), Some("brain"));
    assert!(refusal("host:1/abc /m -o auto_unmount").contains("read as zeros"));
    assert!(refusal("host:1/abc /m -o allow_root").contains("allow_other"));
    assert!(refusal("host:1/abc /m -o suid").contains("\"suid\" is not known"));
    assert!(refusal("host:1/abc /m -o ro,nonsense=1").contains("nonsense=1"));
}

#[test]
fn other_commands_have_their_own_words() {
    assert!(matches!(command("umount /m"), Command::Umount(UmountArgs { lazy: false, .. })));
    assert!(matches!(command("unmount /m --lazy"), Command::Umount(UmountArgs { lazy: true, .. })));
    assert!(matches!(command("info host:1/abc --json"), Command::Info(InfoArgs { json: true, .. })));
    match command("demo /m -f") {
        Command::Demo(args) => assert_eq!((args.dir, args.serve), (Some(PathBuf::from("/m")), None)),
        other => panic!("{other:?}"),
    }
    match command("demo --serve 0 --dataset test --delay 5") {
        Command::Demo(args) => {
            assert_eq!((args.serve, args.delay, args.dataset.as_str()), (Some(0), 5, "test"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wrong_line_is_refused_in_one_line_that_says_where_help_is() {
    for (line, word) in [
        ("", "no SOURCE"),
        ("host:1/abc", "<DIR>"),
        ("mount", "<SOURCE>"),
        ("host:1/abc /m /n", "/n"),
        ("host:1/abc /m --nonsense", "--nonsense"),
        ("host:1/abc /m --memory much", "512M"),
        ("host:1/abc /m --memory 15M", "16M or more"),
        ("host:1/abc /m --memory 0", "16M or more"),
        ("host:1/abc /m --memory 500T", "that this machine has"),
        ("host:1/abc /m --patience long", "15m"),
        ("host:1/abc /m --threads 0", "--threads"),
        ("host:1/abc /m --max-connections 0", "--max-connections"),
        ("host:1/abc /m --extents gray", "z0:z1"),
        ("host:1/abc /m -q -v", "--quiet"),
        ("demo", "<DIR>"),
        ("umount", "<DIR>"),
        ("info", "<SOURCE>"),
    ] {
        let said = refusal(line);
        assert!(said.contains(word) && said.contains("--help"), "{line:?}: {said}");
    }
}

#[test]
fn a_refusal_names_the_help_that_has_the_options_of_its_command() {
    for (line, help) in [
        ("host:1/abc /m --nonsense", "dvidfs mount --help"),
        ("--nonsense", "dvidfs mount --help"),
        ("host:1/abc /m -o suid", "dvidfs mount --help"),
        ("umount /m --nonsense", "dvidfs umount --help"),
        ("info host:1/abc --nonsense", "dvidfs info --help"),
        ("demo /m --nonsense", "dvidfs demo --help"),
        ("bla", "dvidfs --help"),
    ] {
        let said = refusal(line);
        assert!(said.contains(&format!("`{help}`")), "{line:?}: {said}");
    }
}

#[test]
fn a_first_word_that_is_nothing_is_told_so() {
    for line in ["bla", "bla /m", "mont host:1/abc /m"] {
        assert!(refusal(line).contains("is neither a command nor an address"), "{line:?}");
    }
}

#[test]
fn help_and_version_are_printed_without_an_error() {
    for (line, words) in [
        ("--help", &["Examples:", "dvidfs demo", "umount", "Exit codes", "dvidfs mount --help"][..]),
        ("help mount", &["--patience"]),
        ("mount --help", &["--patience", "--allow-other", "SOURCE"]),
        ("--version", &[env!("CARGO_PKG_VERSION")]),
    ] {
        match parse(line.split(' ').map(OsString::from).collect()) {
            Ok(Words::Print(text)) => {
                for word in words {
                    assert!(text.contains(word), "{line}: {word} in {text}");
                }
                assert!(!text.contains("daemon-child"), "{line}");
            }
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn every_path_means_what_it_did_where_it_was_written() {
    let files = "--metadata rel/m --token-file rel/t --cacert rel/c --log-file rel/l";
    for line in [
        format!("mount host:1/abc rel/d {files} --cache-dir rel/e --cache-key-file rel/k"),
        format!("demo rel/d {files} --faults rel/f --volume a=rel/a.npy"),
        format!("info host:1/abc {files}"),
        "cache ls --cache-dir rel/c --cache-key-file rel/k".to_owned(),
        "umount rel/d".to_owned(),
        "check rel/d".to_owned(),
    ] {
        let mut command = command(&line);
        assert!(command.has_relative_path(), "{line}");
        command.make_absolute(Path::new("/from/./here"));
        let told = format!("{command:?}");
        assert_eq!(told.matches("\"/from/here/rel/").count(), line.matches("rel/").count(), "{line}: {told}");
        assert!(!told.contains("\"rel/") && !command.has_relative_path(), "{told}");
        command.make_absolute(Path::new("/elsewhere"));
        assert!(format!("{command:?}") == told, "an absolute path stays");
    }
}

#[test]
fn words_that_start_the_daemon_say_where_they_were_written() {
    let Words::Do(mut command, mut again) = parse(vec!["host:1/abc".into(), "m".into()]).unwrap() else { panic!() };
    from_here(&mut command, &mut again).unwrap();
    let here = std::env::current_dir().unwrap();
    assert_eq!(again[1].to_str().unwrap(), format!("--written-in={}", here.display()));
    again[1] = "--written-in=/there".into();
    let words = again.clone();
    let Words::Do(mut command, mut again) = parse(again).unwrap() else { panic!() };
    from_here(&mut command, &mut again).unwrap();
    let Command::Mount(MountArgs { dir, .. }) = *command else { panic!() };
    assert_eq!((dir, again), (PathBuf::from("/there/m"), words));
}
