//! Pebble, the authority of Let's Encrypt for tests: signatures, nonces and challenges are those of
//! the real thing.

use std::net::TcpListener;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::child::Child;
use crate::names::{self, Dnsmasq};
use crate::tls::Authority;
use crate::{acme, installed, origin, tls};

/// A running pebble, and the name server that it asks. Dropping it ends both.
pub struct Pebble {
    _process: Child,
    _names: Dnsmasq,
    /// Of its own certificate, not of those that it issues.
    pub authority: Authority,
    directory: String,
    management: String,
    /// Where it looks for tokens, and for certificates with `acme-tls/1`, whatever the domain.
    pub http: String,
    pub tls: String,
    files: TempDir,
}

/// Whether pebble and what it needs are installed.
pub fn installed() -> bool {
    installed::program("pebble", "-version", "pebble") && names::installed()
}

impl Pebble {
    /// One that knows `a.test`, `b.test` and `c.test`. `more`: of its configuration.
    pub async fn start(more: serde_json::Value) -> Pebble {
        let (listen, management) = (origin::reserved(), origin::reserved());
        let authority = Authority::new("Pebble's");
        let files = acme::authority_file(&authority.pem());
        let hosts = [host(&listen), host(&management)];
        authority.certificate(&hosts).write(files.path(), "own");
        // Of the proxy: one host, two ports.
        let http = origin::reserved();
        let domain = host(&http);
        let tls = TcpListener::bind((domain, 0)).and_then(|listener| listener.local_addr());
        let tls = tls.expect("a loopback port is free").to_string();
        let mut settings = json!({
            "listenAddress": listen,
            "managementListenAddress": management,
            "certificate": files.path().join("own.pem"),
            "privateKey": files.path().join("own.key"),
            "httpPort": port(&http),
            "tlsPort": port(&tls),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            settings[key] = value.clone();
        }
        let file = files.path().join("pebble.json");
        let text = json!({ "pebble": settings }).to_string();
        std::fs::write(&file, text).expect("the directory is ours");
        let known = ["a", "b", "c"].map(|name| format!("{domain} {name}.test\n"));
        let names = Dnsmasq::start(&known.concat(), 60, &[]).await;
        let mut command = Command::new("pebble");
        command
            .arg("-config")
            .arg(&file)
            .args(["-dnsserver", &names.address()])
            // It refuses and waits by chance otherwise.
            .env("PEBBLE_WFE_NONCEREJECT", "0")
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_AUTHZREUSE", "0");
        let process = Child::start(command);
        process.stdout.contains("ACME directory available").await;
        Pebble {
            _process: process,
            _names: names,
            authority,
            directory: format!("https://{listen}/dir"),
            management,
            http,
            tls,
            files,
        }
    }

    /// What `acme` has to say of it.
    pub fn settings(&self) -> String {
        acme::settings(&self.directory, &self.files)
    }

    /// A client that trusts what it issues.
    pub async fn trusting(&self) -> rustls::ClientConfig {
        let (address, own) = (&self.management, self.authority.trusting());
        let root = tls::get(address, own, host(address), "/roots/0").await;
        Authority::trusting_pem(&root.text())
    }
}

fn host(address: &str) -> &str {
    address.rsplit_once(':').expect("host and port").0
}

fn port(address: &str) -> u16 {
    let port = address.rsplit_once(':').expect("host and port").1;
    port.parse().expect("a port")
}
