//! Compiles a plugin in a process of its own, which may be stopped: a compiler that takes too long,
//! too much memory or a wrong turn is the end of that process, and of no other.
//!
//! The parent runs `waypost compile-plugin`, hands it the plugin's bytes on its standard input, and
//! takes its lines and the machine code from its standard output. What went wrong is told by the
//! exit status and the standard error. Both halves are here.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use wasmtime::Engine;

use crate::config::model::CompileLimits;

use super::component;
use super::debug_lines::DebugLines;
use super::engine_config::engine_config;
use super::error::PluginError;
use super::untrusted::Untrusted;

/// The hidden command.
pub const COMMAND: &str = "compile-plugin";
/// Traffic comes first; but on a busy machine a plugin is still compiled in seconds, which the
/// lowest priority would not give.
const NICE: i32 = 10;
/// Exit statuses of the child, besides 0 and those of a panic and of wrong usage.
const NOT_ENCODED: u8 = 3;
const NOT_COMPILED: u8 = 4;
/// Bytes of the child's stack: what a main thread has.
const STACK: usize = 8 << 20;
/// Bytes of the child's standard error that are read.
const MAX_STDERR: u64 = 4096;

/// How often its bound on processor time a compiler may take by the wall clock. It gives way to
/// everything else, so on a busy machine it takes long without working much.
const WALL: u32 = 10;
/// How often the log says that a plugin is still being compiled.
const REMINDER: Duration = Duration::from_secs(10);

/// Bytes of machine code that a file of so many bytes may become. Compilers multiply by two to
/// five.
pub(super) fn most_code(file: usize) -> u64 {
    (file as u64).saturating_mul(16).saturating_add(64 << 20)
}

/// Has `program` compile the bytes of the plugin `name`, within its bounds. Blocks.
pub(super) fn compile(
    program: &Path,
    name: &str,
    bytes: &[u8],
    limits: &CompileLimits,
) -> Result<Vec<u8>, PluginError> {
    let not_started = |error: io::Error| PluginError::Compile {
        plugin: name.to_owned(),
        reason: Untrusted::message(format_args!("cannot run {}: {error}", program.display())),
    };
    let began = Instant::now();
    let (size, time) = (bytes.len(), limits.time);
    tracing::info!(
        plugin = name,
        "compiling plugin `{name}` ({size} bytes), in {time:?} of processor time at most"
    );
    let mut child = start(program, limits).map_err(not_started)?;
    let remind = || {
        let took = began.elapsed();
        tracing::info!(
            plugin = name,
            "still compiling plugin `{name}` ({took:.0?})"
        );
    };
    let ended = converse(&mut child, bytes, time.saturating_mul(WALL), remind);
    let ended = ended.map_err(not_started)?;
    let bound = |what: String, key| {
        Err(PluginError::Bound {
            plugin: name.to_owned(),
            what,
            key,
        })
    };
    if ended.status.success() && !ended.too_much {
        let took = began.elapsed();
        tracing::info!(plugin = name, "compiled plugin `{name}` in {took:.1?}");
        return Ok(ended.code);
    }
    if ended.too_much {
        return Err(PluginError::Compile {
            plugin: name.to_owned(),
            reason: Untrusted::message(format_args!(
                "it becomes more than {} bytes of machine code",
                most_code(bytes.len())
            )),
        });
    }
    if ended.status.signal() == Some(Signal::XCPU.as_raw()) {
        let what = format!("is not compiled within {time:?} of processor time");
        return bound(what, "compile_time");
    }
    if ended.late {
        let wall = time.saturating_mul(WALL);
        let what =
            format!("is not compiled within {wall:?}, {WALL} times its `limits.compile_time`");
        return bound(what, "compile_time");
    }
    // Rust's allocator aborts with these words; see also `compile_plugin`.
    if ended.stderr.contains("memory allocation of ") {
        let what = format!(
            "takes more than {} bytes of memory to compile",
            limits.memory
        );
        return bound(what, "compile_memory");
    }
    let plugin = name.to_owned();
    match ended.status.code() {
        Some(code) if code == i32::from(NOT_ENCODED) => Err(PluginError::Encode {
            plugin,
            reason: Untrusted::message(ended.stderr),
        }),
        Some(code) if code == i32::from(NOT_COMPILED) => Err(PluginError::Compile {
            plugin,
            reason: Untrusted::message(ended.stderr),
        }),
        _ => Err(PluginError::Compile {
            plugin,
            reason: Untrusted::message(format_args!(
                "the compiler failed ({}): {}",
                ended.status, ended.stderr
            )),
        }),
    }
}

fn start(program: &Path, limits: &CompileLimits) -> io::Result<Child> {
    Command::new(program)
        .arg(COMMAND)
        .args(["--memory", &limits.memory.to_string()])
        .args(["--seconds", &whole_seconds(limits.time).to_string()])
        // The compiler has no use for what may be secret in it. The allocator would reserve 1 GiB
        // at once, and all of it counts against the bound.
        .env_clear()
        .env("MIMALLOC_ARENA_RESERVE", "64MiB")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// What a compiler left.
struct Ended {
    status: ExitStatus,
    code: Vec<u8>,
    /// It wrote more code than it may.
    too_much: bool,
    /// It was stopped because of the time.
    late: bool,
    stderr: String,
}

/// Hands the child its input and takes its output, each on a thread of its own, so that neither
/// side ever waits for the other one's pipe. The child has ended when this returns.
fn converse(
    child: &mut Child,
    bytes: &[u8],
    time: Duration,
    remind: impl Fn(),
) -> io::Result<Ended> {
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(io::Error::other("it has no pipes"));
    };
    let most = most_code(bytes.len());
    let (sender, code) = mpsc::sync_channel(1);
    std::thread::scope(|scope| {
        let aside = || thread::Builder::new().name("plugin-compile".into());
        // A child that does not read to the end has its reasons, which it tells otherwise.
        let writes = aside().spawn_scoped(scope, move || stdin.write_all(bytes));
        let stderr = aside().spawn_scoped(scope, move || up_to(stderr, MAX_STDERR));
        let reads = aside().spawn_scoped(scope, move || sender.send(up_to(stdout, most + 1)));
        // Its output ends when it does, or when it is too much; at once where there is no thread to
        // read it.
        let in_time = wait(&code, time, remind);
        let late = in_time == Err(RecvTimeoutError::Timeout);
        let code = in_time.unwrap_or_default();
        let too_much = code.len() as u64 > most;
        if late || too_much || writes.is_err() || stderr.is_err() || reads.is_err() {
            child.kill()?;
        }
        let status = child.wait()?;
        writes?;
        reads?;
        let stderr = stderr?.join().unwrap_or_default();
        Ok(Ended {
            status,
            code,
            too_much,
            late,
            stderr: String::from_utf8_lossy(&stderr).trim().to_owned(),
        })
    })
}

/// What arrives within `time`; reminds now and then that it is waited for.
fn wait<T>(
    receiver: &mpsc::Receiver<T>,
    time: Duration,
    remind: impl Fn(),
) -> Result<T, RecvTimeoutError> {
    let began = Instant::now();
    loop {
        let left = time.saturating_sub(began.elapsed());
        match receiver.recv_timeout(left.min(REMINDER)) {
            Err(RecvTimeoutError::Timeout) if left > REMINDER => remind(),
            arrived => return arrived,
        }
    }
}

/// What there is to read, cut at `most` bytes. The pipe is closed behind it.
fn up_to(pipe: impl Read, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What was read before an error tells more than the error.
    let _ = pipe.take(most).read_to_end(&mut bytes);
    bytes
}

/// The other side, `waypost compile-plugin`: reads a plugin, and writes its machine code.
///
/// Gives way to every other process first, and bounds itself: `memory` in bytes of address space,
/// `seconds` of processor time.
pub fn compile_plugin(memory: u64, seconds: u64) -> ExitCode {
    let told = |code: u8, stderr: &str| {
        let _ = writeln!(io::stderr(), "{stderr}");
        ExitCode::from(code)
    };
    if let Err(error) = lower(memory, seconds) {
        return told(1, &format!("cannot bound the compiler: {error}"));
    }
    // A stack that is there as a whole: one that cannot grow at the bound would end the process
    // without a word.
    let compiler = thread::Builder::new()
        .stack_size(STACK)
        .spawn(from_pipe_to_pipe);
    match compiler.map(thread::JoinHandle::join) {
        Ok(Ok(Ok(()))) => ExitCode::SUCCESS,
        Ok(Ok(Err((code, reason)))) => told(code, &reason),
        // The panic has spoken for itself.
        Ok(Err(_)) => ExitCode::FAILURE,
        // The words that the allocator would use.
        Err(error) => told(
            1,
            &format!("memory allocation of the stack failed: {error}"),
        ),
    }
}

/// The exit status and the reason, where it fails.
fn from_pipe_to_pipe() -> Result<(), (u8, String)> {
    let mut bytes = Vec::new();
    let read = io::stdin().lock().read_to_end(&mut bytes);
    read.map_err(|error| (1, format!("cannot read the plugin: {error}")))?;
    let component = component::encode(&bytes).map_err(|reason| (NOT_ENCODED, reason))?;
    let mut config = engine_config();
    config.parallel_compilation(false); // the other processors are for requests
    let code = Engine::new(&config).and_then(|engine| engine.precompile_component(&component));
    let code = code.map_err(|error| (NOT_COMPILED, format!("{error:#}")))?;
    let mut lines = Vec::new();
    DebugLines::of(&component).write(&mut lines);
    let mut out = io::stdout().lock();
    let written = out
        .write_all(&lines)
        .and_then(|()| out.write_all(&code))
        .and_then(|()| out.flush());
    written.map_err(|error| (1, format!("cannot write the machine code: {error}")))
}

fn lower(memory: u64, seconds: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::process::nice(NICE)?;
    limit(Resource::Core, 0, 0)?;
    // The hard limit comes a second later: the soft one kills with a signal that says why.
    limit(Resource::Cpu, seconds, seconds.saturating_add(1))?;
    limit(Resource::As, memory, memory)
}

/// Lowers a limit. One that is lower already stays.
fn limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let limit = Rlimit {
        current: Some(soft.min(most)),
        maximum: Some(hard.min(most)),
    };
    Ok(setrlimit(resource, limit)?)
}
