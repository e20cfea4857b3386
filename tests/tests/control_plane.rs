//! The control plane answers, and ends when it is told to, also while name servers, pipes and disks
//! hang.
//!
//! Each of these was a wait without end. What is allowed here is 3 seconds, for what takes
//! milliseconds.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;
use waypost_tests::admin::{ADMIN, request};
use waypost_tests::names::Scripted;
use waypost_tests::{Client, Origin, Proxy, child, origin, plugin, proxy, waypost};

/// Far more than an answer takes on a busy machine, and a tenth of what the name server keeps its
/// clients waiting.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Fails unless the process says how it is doing, and then ends, without having waited for
/// anything.
async fn answers_and_ends(proxy: &mut Proxy) {
    let since = Instant::now();
    assert_eq!(proxy.shows("/status").await["state"], "serving");
    assert!(since.elapsed() < AT_ONCE, "{:?}", since.elapsed());
    assert_eq!(proxy.get("/").await.text(), "hello");
    let since = Instant::now();
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.process().ended().await.code(), Some(0));
    assert!(since.elapsed() < AT_ONCE, "{:?}", since.elapsed());
}

fn make_pipe(path: &Path) {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, path, mode).expect("a pipe can be made");
}

/// A proxy before this origin, which asks that name server for as long as half a minute.
async fn asking(names: &Scripted, origin: &Origin) -> Proxy {
    let resolver = format!(
        "resolver = {{ addresses = [\"{}\"], timeout = \"30s\" }}",
        names.address()
    );
    let setup = proxy::to([origin]).server(&resolver);
    setup.more(ADMIN).start().await
}

#[tokio::test]
async fn a_server_added_by_command_whose_name_is_not_answered_for_holds_up_nothing() {
    let names = Scripted::silent().await;
    let origin = origin::says("hello").await;
    let mut proxy = asking(&names, &origin).await;
    let mut asker = Client::connect(&proxy.admin_address()).await;
    let add = request(
        "POST",
        "/upstreams/backend/servers",
        "{\"address\": \"slow.test:80\"}",
    );
    asker.send(add).await;
    names.is_asked(1).await;
    answers_and_ends(&mut proxy).await;
}

#[tokio::test]
async fn a_reload_with_a_name_that_is_not_answered_for_holds_up_nothing() {
    let names = Scripted::silent().await;
    let origin = origin::says("hello").await;
    let mut proxy = asking(&names, &origin).await;
    proxy.append("[upstream.slow]\nservers = [\"slow.test:80\"]");
    proxy.signal(Signal::HUP);
    names.is_asked(1).await;
    answers_and_ends(&mut proxy).await;
}

#[tokio::test]
async fn a_configuration_that_is_still_being_written_holds_up_nothing() {
    let origin = origin::says("hello").await;
    let mut proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let mut held = proxy.hold_file();
    proxy.signal(Signal::HUP);
    held.is_read().await;
    answers_and_ends(&mut proxy).await;
}

/// Runs a command on a configuration in a directory: its exit code and all that it says.
fn on(command: &str, directory: &Path) -> (i32, String) {
    let mut waypost = Command::new(waypost());
    waypost.arg(command).args(["-c", "waypost.toml"]);
    waypost.current_dir(directory);
    let (code, out, err) = child::run(waypost);
    (code, out + &err)
}

const SERVES: &str = "[[listen]]\naddress = \"127.0.0.1:0\"\n[upstream.backend]\nservers = [\"127.0.0.1:9\"]\n\
                      [[route]]\nproxy = \"backend\"\n";

#[test]
fn a_pipe_in_the_place_of_any_file_is_refused_at_once() {
    let certificate = SERVES.replace(
        "\"127.0.0.1:0\"\n",
        "\"127.0.0.1:0\"\ntls = { certificate = \"pipe\", key = \"pipe\" }\n",
    );
    let custom = format!("[plugin.mine]\nfile = \"pipe\"\n{SERVES}");
    for (command, text) in [
        ("run", format!("[server]\naccess_log = \"pipe\"\n{SERVES}")),
        ("run", format!("[server]\nerror_log = \"pipe\"\n{SERVES}")),
        ("run", certificate.clone()),
        ("check", certificate),
        ("run", custom.clone()),
        ("check", custom),
    ] {
        let directory = TempDir::new().unwrap();
        make_pipe(&directory.path().join("pipe"));
        std::fs::write(directory.path().join("waypost.toml"), &text).unwrap();
        let (code, said) = on(command, directory.path());
        assert_eq!(code, 1, "{command} of\n{text}\n{said}");
        assert!(said.contains("pipe"), "{command} of\n{text}\n{said}");
    }
}

#[test]
fn what_is_no_file_is_not_read_without_end() {
    let directory = TempDir::new().unwrap();
    let text = format!("include = [\"/dev/tty\", \"/\"]\n{SERVES}");
    std::fs::write(directory.path().join("waypost.toml"), text).unwrap();
    let (code, said) = on("check", directory.path());
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("cannot read `/dev/tty`"), "{said}");
    // More than any configuration has.
    let large = "# large\n".repeat(3 << 20);
    std::fs::write(directory.path().join("waypost.toml"), large + SERVES).unwrap();
    let (code, said) = on("check", directory.path());
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("larger than 16 MiB"), "{said}");
}

#[test]
fn a_pipe_among_the_compiled_plugins_is_no_entry() {
    let directory = TempDir::new().unwrap();
    let custom = plugin("round_robin", "wasm32-unknown-unknown");
    std::fs::copy(custom, directory.path().join("mine.wasm")).unwrap();
    let grants = "grants = [\"request\", \"exchange\"]";
    let text = format!(
        "[server]\nplugin_cache = \"cache\"\n[plugin.mine]\nfile = \"mine.wasm\"\n{grants}\n{SERVES}"
    );
    std::fs::write(directory.path().join("waypost.toml"), text).unwrap();
    assert_eq!(on("check", directory.path()).0, 0);
    let mut entries = 0;
    for entry in std::fs::read_dir(directory.path().join("cache")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::remove_file(&path).unwrap();
        make_pipe(&path);
        entries += 1;
    }
    assert_eq!(entries, 1, "it was kept");
    let (code, said) = on("check", directory.path());
    assert_eq!(code, 0, "{said}");
}

#[tokio::test]
async fn logs_that_have_become_pipes_stay_what_they_were() {
    let origin = origin::says("hello").await;
    let setup = proxy::to([&origin])
        .server("access_log = \"access.log\"")
        .more(ADMIN);
    let mut proxy = setup.start().await;
    let log = proxy.directory().join("access.log");
    std::fs::remove_file(&log).unwrap();
    make_pipe(&log);
    proxy.signal(Signal::USR1);
    proxy.log_contains("cannot open access log").await;
    answers_and_ends(&mut proxy).await;
}

/// A pipe takes 64 KiB, and then its writer waits for a reader that never comes.
#[tokio::test]
async fn a_log_that_nobody_takes_holds_up_neither_requests_nor_the_end() {
    use rustix::fs::{Mode, OFlags};
    let origin = origin::says("hello").await;
    let setup = proxy::to([&origin])
        .server("access_log = \"pipe\"")
        .more(ADMIN);
    let pipe = setup.directory().join("pipe");
    make_pipe(&pipe);
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let _reader = rustix::fs::open(&pipe, flags, Mode::empty()).expect("it is ours");
    let mut proxy = setup.start().await;
    let target = format!("/{}", "x".repeat(4000));
    let mut client = proxy.client().await;
    for _ in 0..100 {
        assert_eq!(client.get(&target).await.text(), "hello");
    }
    proxy.signal(Signal::USR1);
    assert_eq!(proxy.shows("/status").await["state"], "serving");
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.process().ended().await.code(), Some(0));
}

/// `/dev/full` says of each write that there is no room left.
#[tokio::test]
async fn a_full_disk_holds_up_nothing() {
    let origin = origin::says("hello").await;
    let setup = proxy::to([&origin])
        .server("access_log = \"/dev/full\"")
        .more(ADMIN);
    let mut proxy = setup.start().await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    proxy.log_contains("lines lost: No space left").await;
    proxy.signal(Signal::USR1);
    proxy.log_contains("logs reopened").await;
    proxy.reload().await;
    answers_and_ends(&mut proxy).await;
}
