//! Waypost as a child process, with a configuration made for the spec.
//!
//! ```text
//! let proxy = proxy::to([&a, &b]).upstream("next_upstream = [\"error\"]").start().await;
//! ```
//!
//! What most specs need is one listener, one upstream and one route to it; each of the builder's
//! methods adds lines to one of those tables. [`run`] takes a whole file instead. In either,
//! `{dir}` stands for the directory of the file.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::admin::end_all_with;
use crate::child::Child;
use crate::client::{self, Client, Response};
use crate::origin::Origin;
use crate::{PATIENCE, waypost};

/// A running proxy. Dropping it ends it, and fails the spec if it panicked.
pub struct Proxy {
    process: Child,
    directory: TempDir,
    listeners: Vec<String>,
    /// How often it was made to panic.
    panics: usize,
}

/// A configuration in the making.
pub struct Setup {
    directory: TempDir,
    server: String,
    listen: String,
    upstream: String,
    route: String,
    more: String,
    wrap: Option<String>,
    stdin: Stdio,
}

/// Something that stands in `servers`.
pub trait Server {
    fn line(&self) -> String;
}

impl Server for &Origin {
    fn line(&self) -> String {
        format!("{{ address = \"{}\" }}", self.address())
    }
}

impl Server for String {
    fn line(&self) -> String {
        self.clone()
    }
}

/// A proxy with one upstream of these servers: origins, or origins [with](Origin::with) parameters.
pub fn to<S: Server>(servers: impl IntoIterator<Item = S>) -> Setup {
    let lines: Vec<String> = servers
        .into_iter()
        .map(|server| format!("  {},\n", server.line()))
        .collect();
    Setup {
        directory: TempDir::new().expect("there is room for a directory"),
        server: String::new(),
        listen: String::new(),
        upstream: format!("servers = [\n{}]\n", lines.concat()),
        route: String::new(),
        more: String::new(),
        wrap: None,
        stdin: Stdio::null(),
    }
}

impl Setup {
    /// Adds lines to `[server]`.
    pub fn server(mut self, lines: &str) -> Setup {
        self.server.push_str(&format!("{lines}\n"));
        self
    }

    /// Adds lines to `[[listen]]`.
    pub fn listen(mut self, lines: &str) -> Setup {
        self.listen.push_str(&format!("{lines}\n"));
        self
    }

    /// Adds lines to `[upstream.backend]`.
    pub fn upstream(mut self, lines: &str) -> Setup {
        self.upstream.push_str(&format!("{lines}\n"));
        self
    }

    /// Adds lines to the `[[route]]` that leads to the upstream.
    pub fn route(mut self, lines: &str) -> Setup {
        self.route.push_str(&format!("{lines}\n"));
        self
    }

    /// Adds tables after all others.
    pub fn more(mut self, tables: &str) -> Setup {
        self.more.push_str(&format!("{tables}\n"));
        self
    }

    /// Runs the proxy from a line of shell, in which `"$@"` is its command:
    /// `ulimit -n 64; exec "$@"`.
    pub fn through_shell(mut self, line: &str) -> Setup {
        self.wrap = Some(line.to_owned());
        self
    }

    /// Gives it an open descriptor as its standard input, for the shell to pass on.
    pub fn stdin(mut self, descriptor: impl Into<OwnedFd>) -> Setup {
        self.stdin = Stdio::from(descriptor.into());
        self
    }

    /// The directory of the proxy's files, for a configuration that names one of them.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts the proxy, and waits until it listens.
    pub async fn start(self) -> Proxy {
        let mut server = self.server;
        // Two workers, so that what only holds for one is noticed; no access log, unless the spec
        // is about it.
        for (key, default) in [
            ("workers", "workers = 2\n"),
            ("access_log", "access_log = false\n"),
        ] {
            if !server.contains(key) {
                server.push_str(default);
            }
        }
        let mut listen = self.listen;
        if !listen.contains("address =") {
            listen.push_str("address = \"127.0.0.1:0\"\n");
        }
        let file = format!(
            "[server]\n{server}\n[[listen]]\n{listen}\n[upstream.backend]\n{}\n[[route]]\nproxy = \"backend\"\n{}\n{}",
            self.upstream, self.route, self.more
        );
        start(self.directory, &file, &[], self.wrap, self.stdin).await
    }
}

/// A proxy with a configuration file of its own, and variables for its environment.
pub async fn run(file: &str, environment: &[(&str, &str)]) -> Proxy {
    start(
        TempDir::new().expect("there is room for a directory"),
        file,
        environment,
        None,
        Stdio::null(),
    )
    .await
}

async fn start(
    directory: TempDir,
    file: &str,
    environment: &[(&str, &str)],
    wrap: Option<String>,
    stdin: Stdio,
) -> Proxy {
    let path = directory.path().join("waypost.toml");
    std::fs::write(&path, in_directory(file, directory.path())).expect("the directory is ours");
    let listeners = file
        .lines()
        .filter(|line| matches!(line.trim(), "[[listen]]" | "[[stream]]"))
        .count();

    let mut command = match wrap {
        Some(line) => {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(line).arg("sh").arg(waypost());
            shell
        }
        None => Command::new(waypost()),
    };
    command
        .arg("run")
        .arg("-c")
        .arg(&path)
        .current_dir(directory.path())
        .env("XDG_CACHE_HOME", waypost().with_file_name("specs-cache"))
        .envs(environment.iter().copied());
    let process = Child::start_with(command, stdin);
    let said = "listening on ";
    let log = process
        .stderr
        .wait_until(&format!("{listeners} listeners"), |log| {
            log.matches(said).count() >= listeners && log.ends_with('\n')
        })
        .await;
    let addresses = log
        .lines()
        .filter_map(|line| Some(line.split_once(said)?.1.trim().to_owned()));
    let listeners = addresses.collect();
    Proxy {
        process,
        directory,
        listeners,
        panics: 0,
    }
}

/// A configuration in which `{dir}` stands for the proxy's directory.
pub(crate) fn in_directory(file: &str, directory: &Path) -> String {
    file.replace("{dir}", &directory.display().to_string())
}

impl Proxy {
    /// It is made to panic so often.
    pub fn panicking(mut self, times: usize) -> Proxy {
        self.panics = times;
        self
    }

    /// The address of the first listener.
    pub fn address(&self) -> &str {
        &self.listeners[0]
    }

    /// The address of a listener, in file order; those of streams follow.
    pub fn listener(&self, index: usize) -> &str {
        &self.listeners[index]
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.address()).await
    }

    /// A GET on a connection of its own.
    pub async fn get(&self, target: &str) -> Response {
        client::get_with(self.address(), target, "").await
    }

    /// A GET on a connection of its own, with more header lines, each ended by CRLF.
    pub async fn get_with(&self, target: &str, lines: &str) -> Response {
        client::get_with(self.address(), target, lines).await
    }

    /// Sends exactly these bytes on a connection of their own, and reads the response.
    pub async fn exchange(&self, bytes: impl AsRef<[u8]>) -> Response {
        client::exchange(self.address(), bytes).await
    }

    /// Everything in the error log so far.
    pub fn log(&self) -> String {
        self.process.stderr.text()
    }

    /// The error log.
    pub fn stderr(&self) -> &crate::Output {
        &self.process.stderr
    }

    /// Waits until the error log contains `part`.
    pub async fn log_contains(&self, part: &str) {
        self.process.stderr.contains(part).await;
    }

    /// The process itself.
    pub fn process(&mut self) -> &mut Child {
        &mut self.process
    }

    /// Standard output so far, where `access_log = { path = "stdout" }` sends its lines.
    pub fn stdout(&self) -> &crate::Output {
        &self.process.stdout
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// The directory of the configuration file, in which the proxy runs.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// How many of its workers send by io_uring.
    pub fn rings(&self) -> usize {
        // One that is closed meanwhile is none.
        let open = self.open_files().flatten();
        let of = open.filter_map(|one| std::fs::read_link(one.path()).ok());
        of.filter(|of| of.as_os_str() == "anon_inode:[io_uring]")
            .count()
    }

    /// Open file descriptors of the process.
    pub fn descriptors(&self) -> usize {
        self.open_files().count()
    }

    fn open_files(&self) -> std::fs::ReadDir {
        let folder = format!("/proc/{}/fd", self.process.id());
        std::fs::read_dir(folder).expect("the process runs")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let log = self.log();
        if log.contains("upgrading: ") {
            end_all_with(&self.file());
        }
        if std::thread::panicking() {
            // The reason is most often in here.
            eprintln!("the proxy's error log:\n{log}");
        } else {
            // As it reports it, or Rust where it does not; a plugin's own panic is a line of the
            // log like any other.
            let is_panic = |line: &&str| {
                line.contains("internal error: thread ")
                    || line.starts_with("thread '") && line.contains(" panicked at ")
            };
            let panics = || self.log().lines().filter(is_panic).count();
            // The last line may still be on its way; a thread reads it.
            let asked = Instant::now();
            while panics() < self.panics && asked.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert!(
                panics() == self.panics,
                "the proxy panicked {} times:\n{}",
                panics(),
                self.log()
            );
        }
    }
}
