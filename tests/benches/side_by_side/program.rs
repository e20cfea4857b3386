//! A running program on one core, and what it has used.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::PATIENCE;

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener
        .local_addr()
        .expect("a listener has an address")
        .port()
}

/// Resident memory in KiB.
pub(crate) struct Memory {
    pub(crate) resident: u64,
    /// The program's own, such as its heap.
    pub(crate) anonymous: u64,
    /// Pages of its binary and of libraries.
    pub(crate) of_files: u64,
}

/// A running program on one core; ended by its process id.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    child: Child,
    /// The process that serves: a worker of nginx, else the program itself.
    worker: u32,
    /// Where it is loaded.
    pub(crate) port: u16,
    /// Where it speaks HTTP/1.1 without TLS.
    probe: u16,
}

impl Program {
    /// `ports`: where it is loaded, and where it answers plain HTTP/1.1, which may be the same.
    /// Waits until it does. `None` when it ends before that, as a program does that is not
    /// installed.
    pub(crate) fn start(
        name: &'static str,
        core: &str,
        command: &[&str],
        ports: [u16; 2],
        has_worker: bool,
    ) -> Option<Program> {
        let child = Command::new("taskset") // becomes the program, which keeps the process id
            .args(["-c", core])
            .args(command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("taskset is installed (util-linux)");
        let worker = child.id();
        let mut program = Program {
            name,
            child,
            worker,
            port: ports[0],
            probe: ports[1],
        };
        let begun = Instant::now();
        while program.ask("/small").is_none() {
            if program.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return None;
            }
            assert!(begun.elapsed() < PATIENCE, "{name} does not answer");
            thread::sleep(Duration::from_millis(20));
        }
        if has_worker {
            let children = fs::read_to_string(format!("/proc/{worker}/task/{worker}/children"))
                .unwrap_or_default();
            program.worker = children.trim().parse().expect("nginx has one worker");
        }
        Some(program)
    }

    /// A connection on which one request was answered, kept open. `None` when it was not.
    pub(crate) fn ask(&self, path: &str) -> Option<TcpStream> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.probe));
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?; // in one piece: Nagle would hold back a second
        let mut answer = Vec::new();
        let mut part = [0; 4096];
        while !answer.windows(100).any(|part| part == [b'x'; 100]) {
            match stream.read(&mut part).ok()? {
                0 => return None,
                read => answer.extend_from_slice(&part[..read]),
            }
            if answer.len() > 12 && !answer.starts_with(b"HTTP/1.1 200") {
                return None; // as one does that listens before it has its routes
            }
        }
        answer.starts_with(b"HTTP/1.1 200").then_some(stream)
    }

    /// Processor time of all its threads in user and kernel mode, in ticks (`proc_pid_stat(5)`,
    /// fields 14 and 15).
    pub(crate) fn ticks(&self) -> [u64; 2] {
        let stat =
            fs::read_to_string(format!("/proc/{}/stat", self.worker)).expect("the proxy runs");
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        [11, 12].map(|field: usize| fields[field].parse().expect("a number of ticks"))
    }

    /// Resident memory in KiB.
    pub(crate) fn rss(&self) -> u64 {
        self.memory().resident
    }

    /// Resident memory, of what kinds it is (`proc_pid_status(5)`).
    pub(crate) fn memory(&self) -> Memory {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.worker)).expect("the proxy runs");
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next());
            let kib = kib.and_then(|kib| kib.parse().ok());
            kib.expect("a process has resident memory")
        };
        Memory {
            resident: kib("VmRSS:"),
            anonymous: kib("RssAnon:"),
            of_files: kib("RssFile:"),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return; // its process id may be another's by now
        }
        // TERM rather than KILL, so that a master takes its worker with it.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let begun = Instant::now();
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if begun.elapsed() > PATIENCE {
                let _ = self.child.kill();
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}
