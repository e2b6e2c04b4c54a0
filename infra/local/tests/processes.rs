//! Nothing is left behind, however it ends; and what cannot start says why.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use local::{Emulator, EmulatorOptions, Progress};

fn options(name: &str, port: u16) -> EmulatorOptions {
    EmulatorOptions { name: name.to_owned(), port, ..EmulatorOptions::default() }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

async fn poll(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(120), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A cargo that builds nothing and waits for as long as its parent is there, so that the emulator alone comes up.
fn idle_cargo() -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("idle-cargo");
    fs::write(&path, "#!/bin/sh\nwhile kill -0 $PPID; do sleep 0.1; done\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn spawn_local(name: &str, port: u16) -> Child {
    Command::new(env!("CARGO_BIN_EXE_local"))
        .args(["--no-demo", "--stack", name, "--port", &port.to_string()])
        .env("CARGO", idle_cargo())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_dropped_emulator_is_gone_at_once() {
    let emulator = Emulator::start(options("processes-dropped", 0), Progress::Quiet).await.unwrap();
    let port = emulator.port();
    assert!(emulator.is_running() && !is_free(port));
    drop(emulator);
    assert!(is_free(port));
}

#[tokio::test]
async fn two_emulators_run_side_by_side() {
    let (first, second) = tokio::join!(
        Emulator::start(options("processes-first", 0), Progress::Quiet),
        Emulator::start(options("processes-second", 0), Progress::Quiet),
    );
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(first.is_running() && second.is_running());
    assert_ne!(first.url(), second.url());
}

#[tokio::test]
async fn two_emulators_of_one_name_write_to_two_logs() {
    let (first, second) = tokio::join!(
        Emulator::start(options("processes-namesake", 0), Progress::Quiet),
        Emulator::start(options("processes-namesake", 0), Progress::Quiet),
    );
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_ne!(first.log(), second.log());
    for emulator in [&first, &second] {
        let log = fs::read_to_string(emulator.log()).unwrap();
        let name = emulator.log().file_name().unwrap().to_str().unwrap();
        assert_eq!(name, format!("processes-namesake-{}.log", emulator.port()));
        assert!(log.contains(&emulator.port().to_string()), "{name} is not this emulator's log: {log}");
    }
}

#[tokio::test]
async fn data_is_kept_for_a_port_that_was_chosen() {
    let options = EmulatorOptions { keep_data: true, ..options("processes-kept", 0) };
    let error = Emulator::start(options, Progress::Quiet).await.unwrap_err().to_string();
    assert!(error.contains("--port"), "{error}");
    let port = Emulator::free_port().unwrap();
    let kept = EmulatorOptions { keep_data: true, ..self::options("processes-kept", port) };
    let emulator = Emulator::start(kept, Progress::Quiet).await.unwrap();
    let data = emulator.log().with_file_name(format!("processes-kept-{port}-data"));
    drop(emulator);
    assert!(data.is_dir(), "there is no {}", data.display());
    fs::remove_dir_all(data).unwrap();
}

#[tokio::test]
async fn a_taken_port_is_named_with_what_to_do() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = other.local_addr().unwrap().port();
    let error = Emulator::start(options("processes-taken", port), Progress::Quiet).await.unwrap_err();
    let error = error.to_string();
    assert!(error.starts_with(&format!("port {port} is taken")) && error.contains("--port"), "{error}");
}

#[tokio::test]
async fn a_killed_command_takes_its_emulator_along() {
    for signal in ["KILL", "INT", "TERM", "HUP"] {
        let port = Emulator::free_port().unwrap();
        let mut command = spawn_local("processes-killed", port);
        let answers = || std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
        poll("the emulator starts", answers).await;
        let kill = format!("kill -s {signal} {}", command.id());
        let told = Command::new("sh").args(["-c", &kill]).status();
        assert!(told.unwrap().success());
        let status = command.wait().unwrap();
        assert_eq!(status.success(), signal != "KILL", "{signal} ended it with {status}");
        if signal != "KILL" {
            assert!(is_free(port), "after {signal} it did not wait for its emulator's end");
        }
        poll("the emulator ends", || is_free(port)).await;
    }
}
