//! Programs of others, for a proxy to stand between: what they understand is not what we think that
//! the wire means. `.ci/run` installs all of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::child::{self, Child};
use crate::installed;

/// Whether a program is installed; `package` is Debian's name for it.
pub fn installed(program: &str, package: &str) -> bool {
    installed::program(program, "--version", package)
}

/// A Python that has the modules: `WAYPOST_PYTHON`, that of `target/peers`, or the system's own.
pub fn python(modules: &[&str]) -> Option<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers/bin/python");
    let candidates = [
        std::env::var_os("WAYPOST_PYTHON").map(PathBuf::from),
        Some(PathBuf::from(folder)),
        Some(PathBuf::from("python3")),
    ];
    let import = format!("import {}", modules.join(", "));
    let found = candidates.into_iter().flatten().find(|python| {
        let imports = Command::new(python)
            .args(["-c", &import])
            .stderr(Stdio::null())
            .status();
        imports.is_ok_and(|status| status.success())
    });
    if found.is_none() {
        let how = "python3 -m venv target/peers && \
                   target/peers/bin/python -m pip install -r tests/peers/requirements.txt";
        installed::there_is(
            false,
            &format!("a Python with {}", modules.join(" and ")),
            how,
        );
    }
    found
}

/// The path of one of the scripts in `tests/peers`.
pub fn script(name: &str) -> PathBuf {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/peers"));
    folder.join(name)
}

/// A script that serves, and its address.
pub struct Server {
    process: Child,
    address: String,
}

impl Server {
    /// Starts a script that says `listening on ADDRESS`, and ends when its standard input does.
    pub async fn start(python: &Path, name: &str) -> Server {
        let mut command = Command::new(python);
        command.arg("-uB").arg(script(name));
        let process = Child::start_with(command, Stdio::piped());
        let said = "listening on ";
        let log = process
            .stdout
            .wait_until(said, |text| text.contains(said) && text.ends_with('\n'))
            .await;
        let address = log.split(said).nth(1).and_then(|rest| rest.lines().next());
        Server {
            address: address.expect("it says where").to_owned(),
            process,
        }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it has said since.
    pub fn said(&self) -> &child::Output {
        &self.process.stdout
    }
}

/// Runs a script to its end, which must be a good one; what it said.
pub async fn run(python: &Path, name: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(python);
    command.arg("-uB").arg(script(name)).args(arguments);
    run_program(command).await
}

/// Runs a program to its end, which must be a good one; what it said on standard output.
pub async fn run_program(command: Command) -> String {
    let what = format!("{command:?}");
    // The spec's own servers have to go on meanwhile.
    let run = tokio::task::spawn_blocking(move || child::run(command));
    let (code, stdout, stderr) = run.await.expect("it can be waited for");
    assert_eq!(code, 0, "{what}\n{stdout}\n{stderr}");
    stdout
}
