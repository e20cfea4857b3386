//! A running proxy as its operator sees it: the admin API, the configuration file, the process and
//! those that took over.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::client::{self, Response};
use crate::proxy::{Proxy, in_directory};
use crate::{Child, eventually};

/// The `[admin]` of specs: a socket beside the configuration file.
pub const ADMIN: &str = "[admin]\naddress = \"unix:{dir}/admin.sock\"\n";

impl Proxy {
    /// The address of its admin API, where the configuration has [`ADMIN`].
    pub fn admin_address(&self) -> String {
        format!("unix:{}", self.directory().join("admin.sock").display())
    }

    /// Asks the admin API. A body is sent as JSON; none where it is empty.
    pub async fn admin(&self, method: &str, path: &str, body: &str) -> Response {
        client::exchange(&self.admin_address(), request(method, path, body)).await
    }

    /// What the admin API shows at a path.
    pub async fn shows(&self, path: &str) -> Value {
        let response = self.admin("GET", path, "").await;
        assert_eq!(response.status, 200, "{path}: {response:?}");
        response.json()
    }

    /// What the admin API shows of a server of the upstream `backend`.
    pub async fn server(&self, address: &str) -> Value {
        let upstream = self.shows("/upstreams/backend").await;
        let servers = upstream["servers"].as_array().expect("a list of servers");
        let server = servers.iter().find(|server| server["address"] == address);
        server
            .unwrap_or_else(|| panic!("no {address} in {upstream}"))
            .clone()
    }

    /// Loads a version of a plugin.
    pub async fn load_plugin(&self, name: &str, component: &[u8]) -> Response {
        self.send_version(name, "load", component).await
    }

    /// Sends a version of a plugin; `way`: what it is for, as `load`, `shadow`, `canary?share=5%25`.
    pub async fn send_version(&self, name: &str, way: &str, component: &[u8]) -> Response {
        let request = version_request(name, way, component);
        client::exchange(&self.admin_address(), request).await
    }

    /// Has it read its file again, which must go well; the warnings.
    pub async fn reload(&self) -> Vec<String> {
        let response = self.admin("POST", "/reload", "").await;
        assert_eq!(response.status, 200, "{}", response.text());
        let warnings = response.json()["warnings"].take();
        serde_json::from_value(warnings).expect("a list of warnings")
    }

    /// Its configuration file.
    pub fn file(&self) -> PathBuf {
        self.directory().join("waypost.toml")
    }

    /// Replaces a part of the file wherever it occurs, which it must.
    pub fn edit(&self, part: &str, replacement: &str) {
        let text = std::fs::read_to_string(self.file()).expect("the file is ours");
        let part = in_directory(part, self.directory());
        assert!(text.contains(&part), "no {part:?} in the file:\n{text}");
        self.write(&text.replace(&part, replacement));
    }

    /// Adds tables to the file.
    pub fn append(&self, tables: &str) {
        let text = std::fs::read_to_string(self.file()).expect("the file is ours");
        self.write(&format!("{text}\n{tables}\n"));
    }

    /// Replaces the file atomically: a reader never sees half of it.
    pub fn write(&self, text: &str) {
        let new = self.directory().join("new.toml");
        std::fs::write(&new, in_directory(text, self.directory())).expect("the directory is ours");
        std::fs::rename(new, self.file()).expect("the directory is ours");
    }

    /// Replaces the file by a pipe: a reader of the configuration waits until [`Held::release`].
    pub fn hold_file(&self) -> Held {
        let text = std::fs::read_to_string(self.file()).expect("the file is ours");
        std::fs::remove_file(self.file()).expect("the file is ours");
        Held::at(self.file(), text)
    }

    /// Has it wait at this point, which `WAYPOST_FAULTS` names, until [`Held::release`].
    pub fn hold_at(&self, point: &str) -> Held {
        Held::at(self.directory().join(point), String::new())
    }

    /// Sends a signal, and waits until another process has taken over from this one.
    pub async fn upgrade(&self) -> Successor {
        let known = self.log().len();
        self.signal(Signal::USR2);
        let said = " has taken over the listeners";
        let stderr = self.stderr();
        let log = stderr
            .wait_until(said, |log| log[known..].contains(said))
            .await;
        let pid = log[known..].split_once(said).expect("it is there").0;
        let pid = pid.rsplit(' ').next().expect("a split has a last part");
        Successor::of(pid.parse().expect("a process id"))
    }
}

/// A request to the admin API, after which the connection is closed.
pub fn request(method: &str, path: &str, body: &str) -> String {
    let lines = match body {
        "" => String::new(),
        _ => format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        ),
    };
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n{body}")
}

/// A request to load a version of a plugin.
pub fn load_request(name: &str, component: &[u8]) -> Vec<u8> {
    version_request(name, "load", component)
}

fn version_request(name: &str, way: &str, component: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /plugins/{name}/{way} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        component.len()
    );
    [head.as_bytes(), component].concat()
}

/// A file that cannot be read to its end yet: that of the configuration, or one that is waited for.
pub struct Held {
    file: PathBuf,
    text: String,
    /// The end to write to, once a reader has opened the other one.
    pipe: Option<std::fs::File>,
}

impl Held {
    fn at(file: PathBuf, text: String) -> Held {
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &file, mode).expect("a pipe can be made");
        let pipe = None;
        Held { file, text, pipe }
    }

    /// Waits until a process reads the file.
    pub async fn is_read(&mut self) {
        use rustix::fs::{Mode, OFlags};
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        eventually("somebody to read the file", async || {
            let pipe = rustix::fs::open(&self.file, flags, Mode::empty());
            self.pipe = pipe.ok().map(Into::into);
            self.pipe.is_some()
        })
        .await;
    }

    /// Gives the waiting reader the content, and puts an ordinary file in the place of the pipe.
    pub fn release(self) {
        std::fs::remove_file(&self.file).expect("the file is ours");
        std::fs::write(&self.file, &self.text).expect("the directory is ours");
        let mut pipe = self.pipe.expect("somebody reads it");
        std::io::Write::write_all(&mut pipe, self.text.as_bytes()).expect("it is being read");
    }
}

/// A process that took over from another one. It is not a child of the spec: the `Proxy` that it
/// came from ends it when it is dropped.
#[derive(Debug, Clone, Copy)]
pub struct Successor {
    pub pid: u32,
}

impl Successor {
    pub fn of(pid: u32) -> Successor {
        Successor { pid }
    }

    /// Whether it runs. A zombie does not.
    pub fn runs(self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        !state.is_empty() && !state.starts_with('Z')
    }

    pub fn signal(self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        rustix::process::kill_process(pid.expect("a process id"), signal).expect("it runs");
    }

    /// Waits for it to end by itself.
    pub async fn ended(self) {
        eventually("the successor to end", async || !self.runs()).await;
    }
}

/// Ends all processes that were started with a configuration file, by their ids: a successor may
/// have started another one.
pub(crate) fn end_all_with(file: &std::path::Path) {
    use std::os::unix::ffi::OsStrExt;
    let file = file.as_os_str().as_bytes();
    let has_file = |pid: u32| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments
            .split(|byte| *byte == 0)
            .any(|argument| argument == file)
    };
    loop {
        let processes = std::fs::read_dir("/proc").expect("/proc is mounted");
        let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let ours: Vec<u32> = pids.filter(|pid| has_file(*pid)).collect();
        if ours.is_empty() {
            return;
        }
        for pid in ours {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            // It may have ended meanwhile.
            let _ = rustix::process::kill_process(pid.expect("a process id"), Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Child {
    /// Memory that it has in use, in KiB (`VmRSS`).
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))
            .expect("the process runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let size = line.and_then(|line| line.split_whitespace().nth(1));
        size.and_then(|size| size.parse().ok())
            .expect("a size in kB")
    }
}
