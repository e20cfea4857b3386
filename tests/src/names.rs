//! A name server that receives questions and never answers, and a proxy that asks it.
//!
//! glibc reads `/etc/resolv.conf` and asks port 53, neither of which a program can be told
//! otherwise. So the proxy runs in a mount namespace with a file of its own there, and the server
//! listens on a loopback address of its own. Both need root.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use tempfile::NamedTempFile;
use tokio::net::UdpSocket;

use crate::in_time;

/// The server. A question that comes to it is an event; its client waits for 30 seconds.
pub struct SilentNameServer {
    socket: UdpSocket,
    resolv_conf: NamedTempFile,
}

impl SilentNameServer {
    /// Starts it. `None` where this process may not have one, which is said loudly; where `CI` is
    /// set, that is a failure.
    pub async fn start() -> Option<SilentNameServer> {
        match SilentNameServer::bind().await {
            Ok(server) => Some(server),
            Err(why) => {
                eprintln!("SKIPPED: no silent name server: {why}");
                assert!(
                    std::env::var_os("CI").is_none(),
                    "CI runs this as root, with `unshare` installed: {why}"
                );
                None
            }
        }
    }

    async fn bind() -> Result<SilentNameServer, String> {
        let mut unshare = Command::new("unshare");
        unshare.args(["-m", "true"]);
        unshare.stdout(Stdio::null()).stderr(Stdio::null());
        if !unshare.status().is_ok_and(|status| status.success()) {
            return Err("`unshare -m` is not there or not allowed".to_owned());
        }
        // Each of its own, so that specs run side by side.
        let address = Ipv4Addr::new(
            127,
            fastrand::u8(1..),
            fastrand::u8(..),
            fastrand::u8(1..255),
        );
        let socket = UdpSocket::bind((address, 53)).await;
        let socket = socket.map_err(|error| format!("port 53 of {address}: {error}"))?;
        let resolv_conf = NamedTempFile::new().expect("there is room for a file");
        let text = format!("nameserver {address}\noptions timeout:30 attempts:1\n");
        std::fs::write(&resolv_conf, text).expect("the file is ours");
        Ok(SilentNameServer {
            socket,
            resolv_conf,
        })
    }

    /// The line of shell that a proxy runs from, so that it asks this server.
    pub fn shell(&self) -> String {
        let file = self.resolv_conf.path().display();
        format!(
            "exec unshare -m sh -c 'mount --bind {file} /etc/resolv.conf && exec \"$@\"' sh \"$@\""
        )
    }

    /// Waits until a query arrives.
    pub async fn is_asked(&self) {
        let mut question = [0; 512];
        let asked = in_time(
            "a question to the name server",
            self.socket.recv(&mut question),
        );
        asked.await.expect("the socket is open");
    }
}
