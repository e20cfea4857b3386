//! `waypost plugin dev`, with a project whose build copies a component: which one stands in its
//! source.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;
use waypost_tests::child::Child;
use waypost_tests::{Client, waypost};

use crate::misbehaving::in_mode;

/// The policy that always takes the first server, the one that takes the last one, and one that does not
/// take its settings.
const FIRST: &str = "picks_what_was_tried";
const LAST: &str = "behaves";
const REFUSES: &str = "refuses_its_settings";
/// A policy that logs a line, of the level `info`, for each request.
const TALKS: &str = "logs_control_characters";

/// A project; the temporary directory of its commands lies beside it.
fn project(begins_with: &str) -> TempDir {
    let within = TempDir::new().unwrap();
    let folder = within.path().join("mine");
    std::fs::create_dir(&folder).unwrap();
    std::fs::create_dir(within.path().join("tmp")).unwrap();
    for mode in [FIRST, LAST, REFUSES, TALKS] {
        std::fs::write(folder.join(format!("{mode}.wasm")), in_mode(mode)).unwrap();
    }
    change(&folder, begins_with);
    let text = "name = \"mine\"\ncomponent = \"plugin.wasm\"\nsources = [\"source\"]\n\
                build = [\"cp \\\"$(cat source).wasm\\\" plugin.wasm\"]\n";
    std::fs::write(folder.join("waypost-plugin.toml"), text).unwrap();
    within
}

fn change(folder: &Path, source: &str) {
    std::fs::write(folder.join("source"), source).unwrap();
}

fn dev(within: &TempDir, arguments: &[&str]) -> Child {
    let mut command = Command::new(waypost());
    command
        .args(["plugin", "dev", "mine"])
        .args(arguments)
        .current_dir(within.path())
        .env("TMPDIR", within.path().join("tmp"))
        .env("XDG_CACHE_HOME", waypost().with_file_name("specs-cache"));
    Child::start(command)
}

/// Where the proxy listens.
async fn address(child: &Child) -> String {
    let is_there = |text: &String| text.contains(" decides at http://");
    let said = child.stdout.wait_until("where it listens", is_there).await;
    let address = said.split(" decides at http://").nth(1).unwrap();
    address.split('/').next().unwrap().to_owned()
}

/// What was said behind the last line with this.
fn behind<'a>(said: &'a str, line: &str) -> &'a str {
    said.rsplit_once(line).map_or("", |(_, behind)| behind)
}

#[tokio::test]
async fn each_change_is_built_and_loaded_and_what_is_wrong_keeps_the_version_before() {
    let within = project(FIRST);
    let folder = within.path().join("mine");
    let mut child = dev(&within, &["--rate", "50"]);
    let address = address(&child).await;

    // Its own requests, and those of others.
    child.stdout.contains(" -> s1, 200\n").await;
    let mut client = Client::connect(&address).await;
    client
        .send("GET /mine HTTP/1.1\r\nHost: test\r\nX-Tenant: me\r\n\r\n")
        .await;
    assert_eq!(client.response().await.text(), "s1\n");
    child.stdout.contains("  GET /mine  x-tenant: me  ").await;

    change(&folder, "nothing_that_is_there");
    child.stdout.contains("failed: exit status: 1").await;
    child.stderr.contains("nothing_that_is_there.wasm").await;
    let goes_on = |text: &String| behind(text, "\nversion 1 goes on\n").contains(" -> s1, 200\n");
    let what = "decisions of version 1";
    child.stdout.wait_until(what, goes_on).await;

    change(&folder, REFUSES);
    let twice = |text: &String| text.matches("\nversion 1 goes on\n").count() == 2 && goes_on(text);
    let said = child.stdout.wait_until(what, twice).await;
    assert!(!said.contains(" -> s3,"), "{said}");

    change(&folder, LAST);
    // The one that was refused has a number too.
    let loaded = "\nversion 3 decides from here on\n";
    let decides = |text: &String| behind(text, loaded).contains(" -> s3, 200\n");
    child
        .stdout
        .wait_until("decisions of version 3", decides)
        .await;

    child.signal(Signal::INT);
    assert!(child.ended().await.success());
    let left = std::fs::read_dir(within.path().join("tmp"))
        .unwrap()
        .count();
    assert_eq!(left, 0, "its folder is gone");
}

#[tokio::test]
async fn a_plugin_that_cannot_serve_yet_is_waited_for() {
    let within = project(REFUSES);
    let child = dev(&within, &["--rate", "0", "--servers", "1"]);
    child.stdout.contains("waiting for a change\n").await;
    change(&within.path().join("mine"), TALKS);
    let address = address(&child).await;
    let mut client = Client::connect(&address).await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(client.response().await.text(), "s1\n");
    child.stdout.contains("    1  GET / ").await;
    // What it says of itself.
    child.stderr.contains(" INFO before").await;
}

/// A reader that has gone, as `head` does.
#[tokio::test]
async fn it_ends_when_nobody_looks_any_more() {
    let within = project(LAST);
    let mut command = Command::new("sh");
    let dev = format!("{} plugin dev --rate 50 | head -n 12", waypost().display());
    command
        .args(["-c", &dev])
        .current_dir(within.path().join("mine"))
        .env("TMPDIR", within.path().join("tmp"))
        .env("XDG_CACHE_HOME", waypost().with_file_name("specs-cache"));
    let mut child = Child::start(command);
    assert!(child.ended().await.success());
    child.stdout.contains(" -> s").await;
}

#[test]
fn it_listens_on_loopback_alone() {
    let within = project(LAST);
    let mut command = Command::new(waypost());
    command
        .args(["plugin", "dev", "mine", "--listen", "0.0.0.0:0"])
        .current_dir(within.path());
    let (code, _, said) = waypost_tests::child::run(command);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("`--listen` has to be an address of loopback"),
        "{said}"
    );
}
