//! A real nginx, with a configuration made for the spec.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::child::Child;
use crate::{eventually, wire::Wire};

/// A running nginx: one process, no daemon. Dropping it ends it.
pub struct Nginx {
    process: Child,
    address: String,
    directory: TempDir,
}

/// Whether nginx is installed. Where it is not, says so loudly; where `CI` is set, fails, so that nobody believes in
/// specs that never run.
pub fn installed() -> bool {
    let found = Command::new("nginx")
        .arg("-v")
        .stderr(Stdio::null())
        .status()
        .is_ok();
    if !found {
        eprintln!("SKIPPED: nginx is not installed (apt-get install nginx)");
        assert!(
            std::env::var_os("CI").is_none(),
            "CI compares with nginx, and it is not installed"
        );
    }
    found
}

impl Nginx {
    /// Starts nginx with these lines in `http { }` besides a server whose own lines are `server`, and waits until it
    /// accepts connections.
    pub async fn start(http: &str, server: &str) -> Nginx {
        Nginx::start_listening("", http, server).await
    }

    /// As [`start`](Self::start), with TLS as these lines say.
    pub async fn start_with_tls(tls: &str, server: &str) -> Nginx {
        Nginx::start_listening(
            " ssl",
            "",
            &format!("ssl_protocols TLSv1.2 TLSv1.3;\n{tls}\n{server}"),
        )
        .await
    }

    async fn start_listening(parameters: &str, http: &str, server: &str) -> Nginx {
        let directory = TempDir::new().expect("there is room for a directory");
        // Free at this moment; nginx cannot choose a port and tell.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
        let address = free
            .local_addr()
            .expect("a bound socket has an address")
            .to_string();
        drop(free);
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("    {name}_temp_path {name};\n"))
            .concat();
        let file = format!(
            "daemon off;\nmaster_process off;\nworker_processes 1;\npid nginx.pid;\nerror_log stderr info;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n{temporary}    access_log off;\n{http}\n    server {{\n        listen {address}{parameters};\n{server}\n    }}\n}}\n"
        );
        let path = directory.path().join("nginx.conf");
        std::fs::write(&path, file).expect("the directory is ours");
        let mut command = Command::new("nginx");
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
