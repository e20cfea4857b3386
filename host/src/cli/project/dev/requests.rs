//! Requests through the proxy: several at a time, of tenants, zones and paths that come again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// Clients that ask at the same time.
const CLIENTS: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read.
const ANSWER: u64 = 1 << 20;

const PATHS: [&str; 4] = ["/", "/cart", "/item/17", "/search?q=shoes"];
/// Empty: without the header.
const TENANTS: [&str; 5] = ["acme", "globex", "", "initech", "acme"];
const ZONES: [&str; 3] = ["", "a", "b"];

/// Asks so many times in a second, until the process ends; not while it is paused.
pub(super) fn start(proxy: SocketAddr, rate: u16, paused: &Arc<AtomicBool>) {
    if rate == 0 {
        return;
    }
    let pause = Duration::from_secs(1) * CLIENTS / u32::from(rate);
    let number = Arc::new(AtomicU64::new(0));
    for _ in 0..CLIENTS {
        let (paused, number) = (paused.clone(), number.clone());
        thread::spawn(move || {
            loop {
                if !paused.load(Relaxed) {
                    // What became of it, the proxy's log tells.
                    let _ = ask(proxy, &request(number.fetch_add(1, Relaxed)));
                }
                thread::sleep(pause);
            }
        });
    }
}

/// The request of this number.
fn request(number: u64) -> String {
    let of = |all: &[&'static str]| all[number as usize % all.len()];
    let mut head = format!("GET {} HTTP/1.1\r\nHost: dev.test\r\n", of(&PATHS));
    for (name, value) in [("X-Tenant", of(&TENANTS)), ("X-Zone", of(&ZONES))] {
        if !value.is_empty() {
            head += &format!("{name}: {value}\r\n");
        }
    }
    head + "Connection: close\r\n\r\n"
}

fn ask(proxy: SocketAddr, request: &str) -> std::io::Result<()> {
    let mut connection = TcpStream::connect_timeout(&proxy, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    connection.write_all(request.as_bytes())?;
    connection.take(ANSWER).read_to_end(&mut Vec::new())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_and_zones_come_in_all_combinations_and_some_requests_have_neither() {
        let requests: Vec<String> = (0..60).map(request).collect();
        let has = |part: &str| requests.iter().any(|request| request.contains(part));
        assert!(has("X-Tenant: acme\r\nX-Zone: a") && has("X-Tenant: acme\r\nX-Zone: b"));
        assert!(requests.iter().any(|request| !request.contains("X-")));
        assert!(requests.iter().all(|request| request.ends_with("\r\n\r\n")));
    }
}
