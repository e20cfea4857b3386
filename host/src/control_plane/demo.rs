//! A proxy to look at: three small origins, Waypost before them, nine requests through it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;

use super::assemble::{Parts, assemble};
use super::inherited::Inherited;
use super::plugins::PluginRegistry;
use super::sockets::Sockets;
use super::tls_files::TlsFiles;
use crate::access_log::AccessLogs;
use crate::config::{self, problem::Problem};
use crate::data_plane::process::{ConnectionBounds, Process};
use crate::data_plane::scrapes::Scrapes;
use crate::data_plane::serve::{self, Order};
use crate::data_plane::wanted::WantedUpstreams;
use crate::names::Resolution;
use crate::plugin::{Compiler, Runtime};
use crate::traces::Exporters;

const ORIGINS: [&str; 3] = ["a", "b", "c"];
const REQUESTS: usize = 9;
/// Nothing on loopback takes longer, unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the demonstration and prints what it does.
///
/// # Errors
/// Where a part of it does not work on this machine.
pub fn demo() -> anyhow::Result<ExitCode> {
    let mut servers = Vec::new();
    for name in ORIGINS {
        let socket =
            TcpListener::bind("127.0.0.1:0").context("cannot listen on a port of 127.0.0.1")?;
        servers.push((name, socket.local_addr()?));
        thread::spawn(move || origin(name, &socket));
    }
    let list: Vec<String> = servers
        .iter()
        .map(|(_, address)| format!("  {{ address = \"{address}\" }},"))
        .collect();
    let toml = format!(
        "[server]\nworkers = 1\naccess_log = false\n\n[[listen]]\naddress = \"127.0.0.1:0\"\n\n\
         [upstream.demo]\npolicy = \"round_robin\"\nservers = [\n{}\n]\n\n[[route]]\npath = \"/\"\nproxy = \"demo\"\n",
        list.join("\n"),
    );
    println!("Three origins are up, and this configuration before them:\n\n{toml}");

    let config = config::parse(&toml, Path::new("demo.toml"))
        .map_err(|problems| anyhow::anyhow!("{}", problems[0]))?;
    let logs = AccessLogs::start()?;
    let sockets = Sockets::bind(
        &config.binds(),
        1,
        &Sockets::default(),
        &mut Inherited::default(),
        None,
    )
    .map_err(|problem| anyhow::anyhow!("{}", problem.message))?;
    let wrong = |problems: Vec<Problem>| anyhow::anyhow!("{}", problems[0]);
    let registry = PluginRegistry::new(Runtime::new(Compiler::Here)?, &config).map_err(wrong)?;
    let snapshot = assemble(Parts {
        config,
        plugins: registry.selection(),
        trials: Vec::new(),
        resolution: &Resolution::default(), // its servers are addresses
        files: TlsFiles::Read,
        listeners: sockets.ids(),
        previous: None,
        logs: &logs,
        exporters: &Exporters::new(None),
    })
    .map_err(wrong)?;
    let proxy = sockets
        .addresses()
        .next()
        .context("there is one listener")?;
    let proxy: SocketAddr = proxy.parse()?;
    let sockets = sockets.of_worker(0, 1)?;
    let (order, orders) = tokio::sync::mpsc::unbounded_channel();
    let buffers = logs.buffers();
    let bounds = ConnectionBounds {
        clients: REQUESTS,
        descriptors: 2 * REQUESTS,
    };
    let process = Arc::new(Process::new(
        bounds,
        1,
        "demo".into(),
        (WantedUpstreams::new().0, Scrapes::new().0),
    ));
    let worker =
        thread::spawn(move || serve::run(0, Arc::new(snapshot), process, buffers, sockets, orders));

    println!(
        "Nine requests through http://{proxy}/, each decided by the `round_robin` component:\n"
    );
    let mut counts = [0; ORIGINS.len()];
    for number in 1..=REQUESTS {
        let answer = get(proxy)?;
        println!("  {number}. {answer}");
        for (count, name) in counts.iter_mut().zip(ORIGINS) {
            *count += usize::from(answer.ends_with(name));
        }
    }
    // A worker that has ended needs no order; its result tells.
    let _ = order.send(Order::Stop);
    worker
        .join()
        .map_err(|_| anyhow::anyhow!("the worker has panicked"))??;
    let spread: Vec<String> = ORIGINS
        .iter()
        .zip(counts)
        .map(|(name, count)| format!("{name}: {count}"))
        .collect();
    println!("\n{}", spread.join(", "));
    let even = counts
        .iter()
        .all(|count| *count == REQUESTS / ORIGINS.len());
    Ok(if even {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Answers every request with its name, until the process ends.
fn origin(name: &str, socket: &TcpListener) {
    let body = format!("hello from {name}");
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    for connection in socket.incoming().flatten() {
        // A proxy that went away does not end the origin.
        let _ = read_head(&connection).and_then(|_| (&connection).write_all(answer.as_bytes()));
    }
}

fn read_head(mut connection: &TcpStream) -> std::io::Result<Vec<u8>> {
    connection.set_read_timeout(Some(PATIENCE))?;
    let (mut head, mut part) = (Vec::new(), [0; 1024]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match connection.read(&mut part)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            length => head.extend_from_slice(&part[..length]),
        }
    }
    Ok(head)
}

fn get(proxy: SocketAddr) -> anyhow::Result<String> {
    let mut connection = TcpStream::connect_timeout(&proxy, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.write_all(
        format!("GET / HTTP/1.1\r\nHost: {proxy}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the proxy's answer has no end of header")?;
    anyhow::ensure!(
        head.starts_with("HTTP/1.1 200"),
        "the proxy answered: {answer}"
    );
    Ok(body.to_owned())
}
