//! What specs need of the machine besides Waypost. Where that is not there, it is said loudly, and
//! the spec is skipped; where `CI` is set it fails, so that skipped specs do not count as passed.

use std::process::{Command, Stdio};

use io_uring::{IoUring, squeue};

/// Whether a program runs, and ends when it is asked for its version.
pub(crate) fn program(program: &str, version: &str, package: &str) -> bool {
    let ran = Command::new(program)
        .arg(version)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    there_is(ran.is_ok(), program, &format!("apt-get install {package}"))
}

/// The same of anything. `how`: it can be installed.
pub(crate) fn there_is(found: bool, what: &str, how: &str) -> bool {
    if !found {
        eprintln!("SKIPPED: {what} is not installed ({how})");
        assert!(
            std::env::var_os("CI").is_none(),
            "CI runs with {what}, and it is not installed"
        );
    }
    found
}

/// Whether the kernel lets this process, and so the proxies that it starts, use io_uring.
pub fn io_uring_is_allowed() -> bool {
    let mut builder = IoUring::<squeue::Entry>::builder();
    let asked = builder.setup_single_issuer().setup_defer_taskrun();
    let allowed = asked.build(1);
    let how = "Linux 6.1, kernel.io_uring_disabled=0, and no seccomp profile against it";
    there_is(allowed.is_ok(), "io_uring", how)
}
