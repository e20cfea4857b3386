//! A WASI that reaches nothing: for plugins whose toolchain brings one along, such as Rust's
//! `wasm32-wasip2`.
//!
//! Lines on standard output and standard error go to the error log. There are no arguments, no
//! environment but what a route gives a handler, no files and no network; clocks and randomness work; nothing ever blocks, so that
//! waiting is over at once. `wasmtime-wasi` is not used: its synchronous calls block on the event
//! loop that the plugin is called from, which panics.
//!
//! Interfaces and types: the WIT of WASI 0.2. The linker takes any 0.2.x for the version named
//! here.

use std::time::{SystemTime, UNIX_EPOCH};

use tracing::Level;
use wasmtime::component::{
    ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType, WasmList,
};
use wasmtime::{Result, StoreContextMut};

use super::host_state::HostState;

/// Bytes that one call may ask for: of randomness, or of zeroes to write.
const BYTES: u64 = 64 << 10;
/// What `check-write` permits at a time.
const WRITE: u64 = 4096;
/// Representations of the two output streams.
const STDOUT: u32 = 1;
const STDERR: u32 = 2;

type WasiCaller<'a> = StoreContextMut<'a, HostState>;

/// `wasi:io` resources. They hold nothing: a handle's number is all there is.
enum IoError {}
enum Pollable {}
enum InputStream {}
enum OutputStream {}
enum TerminalInput {}
enum TerminalOutput {}

/// `wasi:io/streams.stream-error`.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum WasiStreamError {
    #[component(name = "last-operation-failed")]
    #[allow(dead_code, reason = "part of the type; writing to a log cannot fail")]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

/// `wasi:clocks/wall-clock.datetime`.
#[derive(ComponentType, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

/// Adds every interface of it that a plugin may import.
pub(super) fn add_to(linker: &mut Linker<HostState>) -> Result<()> {
    let mut error = linker.instance("wasi:io/error@0.2.6")?;
    resource::<IoError>(&mut error, "error")?;
    error.func_wrap(
        "[method]error.to-debug-string",
        |_: WasiCaller<'_>, (_,): (Resource<IoError>,)| Ok((String::new(),)),
    )?;

    let mut poll = linker.instance("wasi:io/poll@0.2.6")?;
    resource::<Pollable>(&mut poll, "pollable")?;
    poll.func_wrap(
        "[method]pollable.ready",
        |_: WasiCaller<'_>, (_,): (Resource<Pollable>,)| Ok((true,)),
    )?;
    poll.func_wrap(
        "[method]pollable.block",
        |_: WasiCaller<'_>, (_,): (Resource<Pollable>,)| Ok(()),
    )?;
    poll.func_wrap(
        "poll",
        |_: WasiCaller<'_>, (all,): (Vec<Resource<Pollable>>,)| {
            Ok(((0..u32::try_from(all.len())?).collect::<Vec<u32>>(),))
        },
    )?;

    let mut streams = linker.instance("wasi:io/streams@0.2.6")?;
    input_stream(&mut streams)?;
    output_stream(&mut streams)?;
    stdio(linker)?;
    clocks(linker)?;
    random(linker)?;
    add_surroundings_to(linker)
}

/// Adds what is the same for plugins that [wait](super::waiting): an environment, empty for most, an
/// exit that is not allowed, no terminal, randomness that needs not be secret.
pub(super) fn add_surroundings_to(linker: &mut Linker<HostState>) -> Result<()> {
    environment(linker)?;
    terminals(linker)?;
    insecure_random(linker)
}

fn resource<T: 'static>(instance: &mut LinkerInstance<'_, HostState>, name: &str) -> Result<()> {
    instance.resource(name, ResourceType::host::<T>(), |_, _| Ok(()))
}

/// Standard input is at its end.
fn input_stream(streams: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    resource::<InputStream>(streams, "input-stream")?;
    for name in ["read", "blocking-read"] {
        let name = format!("[method]input-stream.{name}");
        streams.func_wrap(
            &name,
            |_: WasiCaller<'_>, (_, _): (Resource<InputStream>, u64)| {
                Ok((Err::<Vec<u8>, _>(WasiStreamError::Closed),))
            },
        )?;
    }
    for name in ["skip", "blocking-skip"] {
        let name = format!("[method]input-stream.{name}");
        streams.func_wrap(
            &name,
            |_: WasiCaller<'_>, (_, _): (Resource<InputStream>, u64)| {
                Ok((Err::<u64, _>(WasiStreamError::Closed),))
            },
        )?;
    }
    streams.func_wrap(
        "[method]input-stream.subscribe",
        |_: WasiCaller<'_>, (_,): (Resource<InputStream>,)| pollable(),
    )
}

/// Standard output and standard error are the log.
fn output_stream(streams: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    resource::<OutputStream>(streams, "output-stream")?;
    streams.func_wrap(
        "[method]output-stream.check-write",
        |_: WasiCaller<'_>, (_,): (Resource<OutputStream>,)| Ok((Ok::<_, WasiStreamError>(WRITE),)),
    )?;
    for name in ["write", "blocking-write-and-flush"] {
        let name = format!("[method]output-stream.{name}");
        streams.func_wrap(
            &name,
            |mut host: WasiCaller<'_>, (stream, bytes): (Resource<OutputStream>, WasmList<u8>)| {
                let bytes = bytes.as_le_slice(&host).to_vec();
                let HostState {
                    log,
                    stdout,
                    stderr,
                    ..
                } = host.data_mut();
                match stream.rep() {
                    STDERR => stderr.write(log, Level::WARN, &bytes),
                    _ => stdout.write(log, Level::INFO, &bytes),
                }
                Ok((Ok::<_, WasiStreamError>(()),))
            },
        )?;
    }
    for name in ["write-zeroes", "blocking-write-zeroes-and-flush"] {
        let name = format!("[method]output-stream.{name}");
        streams.func_wrap(
            &name,
            |_: WasiCaller<'_>, (_, _): (Resource<OutputStream>, u64)| {
                Ok((Ok::<_, WasiStreamError>(()),))
            },
        )?;
    }
    // Lines are logged as they are completed: there is nothing to flush.
    for name in ["flush", "blocking-flush"] {
        let name = format!("[method]output-stream.{name}");
        streams.func_wrap(
            &name,
            |_: WasiCaller<'_>, (_,): (Resource<OutputStream>,)| {
                Ok((Ok::<_, WasiStreamError>(()),))
            },
        )?;
    }
    for name in ["splice", "blocking-splice"] {
        let name = format!("[method]output-stream.{name}");
        streams.func_wrap(
            &name,
            |_: WasiCaller<'_>, (_, _, _): (Resource<OutputStream>, Resource<InputStream>, u64)| {
                Ok((Err::<u64, _>(WasiStreamError::Closed),))
            },
        )?;
    }
    streams.func_wrap(
        "[method]output-stream.subscribe",
        |_: WasiCaller<'_>, (_,): (Resource<OutputStream>,)| pollable(),
    )
}

fn environment(linker: &mut Linker<HostState>) -> Result<()> {
    let mut environment = linker.instance("wasi:cli/environment@0.2.6")?;
    environment.func_wrap("get-environment", |host: WasiCaller<'_>, (): ()| {
        Ok((host.data().surroundings.environment.to_vec(),))
    })?;
    environment.func_wrap("get-arguments", |_: WasiCaller<'_>, (): ()| {
        Ok((Vec::<String>::new(),))
    })?;
    environment.func_wrap("initial-cwd", |_: WasiCaller<'_>, (): ()| {
        Ok((None::<String>,))
    })?;

    linker.instance("wasi:cli/exit@0.2.6")?.func_wrap(
        "exit",
        |_: WasiCaller<'_>, (_,): (Result<(), ()>,)| {
            Err::<(), _>(wasmtime::Error::msg("called exit, which a plugin must not"))
        },
    )
}

fn stdio(linker: &mut Linker<HostState>) -> Result<()> {
    linker
        .instance("wasi:cli/stdin@0.2.6")?
        .func_wrap("get-stdin", |_: WasiCaller<'_>, (): ()| {
            Ok((Resource::<InputStream>::new_own(0),))
        })?;
    linker
        .instance("wasi:cli/stdout@0.2.6")?
        .func_wrap("get-stdout", |_: WasiCaller<'_>, (): ()| {
            Ok((Resource::<OutputStream>::new_own(STDOUT),))
        })?;
    linker
        .instance("wasi:cli/stderr@0.2.6")?
        .func_wrap("get-stderr", |_: WasiCaller<'_>, (): ()| {
            Ok((Resource::<OutputStream>::new_own(STDERR),))
        })
}

fn terminals(linker: &mut Linker<HostState>) -> Result<()> {
    resource::<TerminalInput>(
        &mut linker.instance("wasi:cli/terminal-input@0.2.6")?,
        "terminal-input",
    )?;
    resource::<TerminalOutput>(
        &mut linker.instance("wasi:cli/terminal-output@0.2.6")?,
        "terminal-output",
    )?;
    linker
        .instance("wasi:cli/terminal-stdin@0.2.6")?
        .func_wrap("get-terminal-stdin", |_: WasiCaller<'_>, (): ()| {
            Ok((None::<Resource<TerminalInput>>,))
        })?;
    linker
        .instance("wasi:cli/terminal-stdout@0.2.6")?
        .func_wrap("get-terminal-stdout", |_: WasiCaller<'_>, (): ()| {
            Ok((None::<Resource<TerminalOutput>>,))
        })?;
    linker
        .instance("wasi:cli/terminal-stderr@0.2.6")?
        .func_wrap("get-terminal-stderr", |_: WasiCaller<'_>, (): ()| {
            Ok((None::<Resource<TerminalOutput>>,))
        })
}

fn clocks(linker: &mut Linker<HostState>) -> Result<()> {
    let mut monotonic = linker.instance("wasi:clocks/monotonic-clock@0.2.6")?;
    monotonic.func_wrap("now", |host: WasiCaller<'_>, (): ()| {
        Ok((u64::try_from(host.data().epoch.elapsed().as_nanos()).unwrap_or(u64::MAX),))
    })?;
    monotonic.func_wrap("resolution", |_: WasiCaller<'_>, (): ()| Ok((1u64,)))?;
    monotonic.func_wrap("subscribe-instant", |_: WasiCaller<'_>, (_,): (u64,)| {
        pollable()
    })?;
    monotonic.func_wrap("subscribe-duration", |_: WasiCaller<'_>, (_,): (u64,)| {
        pollable()
    })?;

    let mut wall = linker.instance("wasi:clocks/wall-clock@0.2.6")?;
    wall.func_wrap("now", |_: WasiCaller<'_>, (): ()| {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Ok((Datetime {
            seconds: now.as_secs(),
            nanoseconds: now.subsec_nanos(),
        },))
    })?;
    wall.func_wrap("resolution", |_: WasiCaller<'_>, (): ()| {
        Ok((Datetime {
            seconds: 0,
            nanoseconds: 1,
        },))
    })
}

fn random(linker: &mut Linker<HostState>) -> Result<()> {
    random_of(linker, "random", "")
}

fn insecure_random(linker: &mut Linker<HostState>) -> Result<()> {
    random_of(linker, "insecure", "insecure-")?;
    linker
        .instance("wasi:random/insecure-seed@0.2.6")?
        .func_wrap("insecure-seed", |_: WasiCaller<'_>, (): ()| {
            Ok(((getrandom::u64()?, getrandom::u64()?),))
        })
}

/// The functions of one interface, whose names have this part.
fn random_of(linker: &mut Linker<HostState>, interface: &str, part: &str) -> Result<()> {
    let mut random = linker.instance(&format!("wasi:random/{interface}@0.2.6"))?;
    random.func_wrap(
        &format!("get-{part}random-bytes"),
        |_: WasiCaller<'_>, (count,): (u64,)| {
            if count > BYTES {
                return Err(wasmtime::Error::msg(format!(
                    "asked for {count} random bytes at once, the limit is {BYTES}"
                )));
            }
            let mut bytes = vec![0; usize::try_from(count)?];
            getrandom::fill(&mut bytes)?;
            Ok((bytes,))
        },
    )?;
    random.func_wrap(
        &format!("get-{part}random-u64"),
        |_: WasiCaller<'_>, (): ()| Ok((getrandom::u64()?,)),
    )
}

/// Whatever it stands for, it is ready.
fn pollable() -> Result<(Resource<Pollable>,)> {
    Ok((Resource::new_own(0),))
}
