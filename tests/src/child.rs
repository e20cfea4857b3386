//! A child process: its output is collected as it comes, it is ended by its own process id, and
//! never outlives its spec.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tokio::sync::watch;

use crate::{PATIENCE, eventually, in_time};

/// What a stream of the process said so far.
pub struct Output {
    text: watch::Receiver<String>,
    /// Which stream of which program, for messages.
    name: String,
}

impl Output {
    /// Everything so far.
    pub fn text(&self) -> String {
        self.text.borrow().clone()
    }

    /// Waits until the output meets the condition, and returns all of it; panics with `what` and
    /// the output if it does not do so in time, or ends before.
    pub async fn wait_until(&self, what: &str, met: impl FnMut(&String) -> bool) -> String {
        let mut text = self.text.clone();
        match tokio::time::timeout(PATIENCE, text.wait_for(met)).await {
            Ok(Ok(text)) => text.clone(),
            Ok(Err(_)) => panic!(
                "{} ended without {what}; it said:\n{}",
                self.name,
                self.text()
            ),
            Err(_) => panic!(
                "{} does not say {what}; it said:\n{}",
                self.name,
                self.text()
            ),
        }
    }

    /// Waits until the stream has ended: what the process has said at its end may still be on its
    /// way when the process is gone.
    async fn end(&self) {
        let mut text = self.text.clone();
        let what = format!("the end of {}", self.name);
        in_time(&what, async { while text.changed().await.is_ok() {} }).await;
    }

    /// Waits until the output contains `part`.
    pub async fn contains(&self, part: &str) {
        self.wait_until(&format!("{part:?}"), |text| text.contains(part))
            .await;
    }

    fn collect(stream: impl Read + Send + 'static, name: String) -> Output {
        let (sender, text) = watch::channel(String::new());
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stream);
            let mut line = Vec::new();
            while lines
                .read_until(b'\n', &mut line)
                .is_ok_and(|length| length > 0)
            {
                sender.send_modify(|text| text.push_str(&String::from_utf8_lossy(&line)));
                line.clear();
            }
        });
        Output { text, name }
    }
}

/// A running program.
pub struct Child {
    process: std::process::Child,
    pub stdout: Output,
    pub stderr: Output,
}

impl Child {
    /// Starts a program with its output collected. It gets a process group of its own, so that a
    /// Ctrl-C at the terminal does not reach it before the spec's own clean-up.
    pub fn start(command: Command) -> Child {
        Child::start_with(command, Stdio::null())
    }

    /// As [`Child::start`], with something to read.
    pub fn start_with(mut command: Command, stdin: Stdio) -> Child {
        let program = command.get_program().to_string_lossy().into_owned();
        command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut process = command
            .spawn()
            .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        let stdout = process.stdout.take().expect("stdout is piped");
        let stderr = process.stderr.take().expect("stderr is piped");
        Child {
            process,
            stdout: Output::collect(stdout, format!("stdout of {program}")),
            stderr: Output::collect(stderr, format!("stderr of {program}")),
        }
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        let id = Pid::from_child(&self.process);
        rustix::process::kill_process(id, signal).expect("the process still runs");
    }

    /// Waits for the process to end by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the process to end", async || {
            status = self
                .process
                .try_wait()
                .expect("the child can be waited for");
            status.is_some()
        })
        .await;
        status.expect("it has ended")
    }

    /// As [`Child::ended`], and all that it has said is there. Not for one whose output a successor
    /// goes on with.
    pub async fn ended_and_heard(&mut self) -> ExitStatus {
        let status = self.ended().await;
        self.stdout.end().await;
        self.stderr.end().await;
        status
    }

    /// Whether the process still runs.
    pub fn runs(&mut self) -> bool {
        self.process
            .try_wait()
            .expect("the child can be waited for")
            .is_none()
    }

    /// CPU time that the process has used up to now, user and system, in the kernel's ticks of 10
    /// ms.
    pub fn cpu_time(&self) -> Duration {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("the process runs");
        let fields = stat.rsplit_once(')').expect("stat names the program").1;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let sum: u64 = ticks
            .map(|field| field.parse::<u64>().expect("a number of ticks"))
            .sum();
        Duration::from_millis(sum * 10)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only when the process has ended already, which is what they are for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a command to its end, within [`PATIENCE`]: its exit code, stdout and stderr. A command
/// ended by a signal (also that of an expired patience) has code -1.
pub fn run(command: Command) -> (i32, String, String) {
    run_within(command, PATIENCE)
}

/// As [`run`], with a patience of its own.
pub fn run_within(mut command: Command, patience: Duration) -> (i32, String, String) {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let stdout = collect_all(process.stdout.take().expect("stdout is piped"));
    let stderr = collect_all(process.stderr.take().expect("stderr is piped"));
    let deadline = Instant::now() + patience;
    let status = loop {
        if let Some(status) = process.try_wait().expect("the child can be waited for") {
            break status;
        }
        if Instant::now() > deadline {
            process.kill().expect("the child can be killed");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = |reader: std::thread::JoinHandle<String>| {
        reader.join().expect("the reader ends with the child")
    };
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

fn collect_all(mut stream: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("a pipe can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
