//! What operators, machines and networks do while the clients go on: once a second, one thing.

use std::time::Instant;

use waypost_tests::admin::{load_request, request};
use waypost_tests::{Response, client};

use super::servers::Servers;
use super::site::{PLUGIN, Site};
use super::tally::Tally;

/// The next thing that happens.
pub(crate) async fn next(
    servers: &mut Servers,
    site: &Site,
    tally: &Tally,
    random: &mut fastrand::Rng,
) {
    let began = Instant::now();
    let all_serve = servers.return_in_time().await;
    let (what, met) = match random.u32(..10) {
        0..3 if all_serve => {
            let what = servers.lose_one(random).await;
            (what, Ok(()))
        }
        0..5 => ("reloads", reload(site, random).await),
        5..7 => ("versions of a plugin", swap(site, random).await),
        7 => {
            servers.rename(random);
            ("a name changed", Ok(()))
        }
        8 => (
            "servers out and in again",
            drain(servers, site, random).await,
        ),
        _ => ("files that are no plugins", refused(site).await),
    };
    match met {
        Ok(()) => tally.answered(what, began.elapsed()),
        Err(text) => tally.failed(what, &text),
    }
}

async fn admin(site: &Site, bytes: impl AsRef<[u8]>) -> Response {
    client::exchange(&site.proxy.admin_address(), bytes).await
}

fn status(response: &Response, expected: u16) -> Result<(), String> {
    match response.status == expected {
        true => Ok(()),
        false => Err(format!("{}: {}", response.status, response.text())),
    }
}

/// With other weights, other bounds and a route more or less.
async fn reload(site: &Site, random: &mut fastrand::Rng) -> Result<(), String> {
    let route = match random.bool() {
        true => "\n[[route]]\npath = \"/new/\"\nreturn = { body = \"new\" }\n",
        false => "",
    };
    let keepalive = format!("keepalive = {}", random.u32(4..64));
    let busy = format!("busy = {}", random.u32(1..9));
    let text = site.file.replace("keepalive = 32", &keepalive);
    let text = text.replace("busy = 4", &busy) + route;
    std::fs::write(site.proxy.file(), text).map_err(|error| error.to_string())?;
    status(&admin(site, request("POST", "/reload", "")).await, 200)
}

/// The same policy, as another version.
async fn swap(site: &Site, random: &mut fastrand::Rng) -> Result<(), String> {
    let mut component = site.component.clone();
    // A custom section of no meaning makes it another file.
    component.extend([0, 6, 1, b'n']);
    component.extend(random.u32(..).to_le_bytes());
    status(&admin(site, load_request(PLUGIN, &component)).await, 200)
}

/// What is refused changes nothing.
async fn refused(site: &Site) -> Result<(), String> {
    let response = admin(site, load_request(PLUGIN, b"no plugin at all")).await;
    match response.status {
        400..500 => Ok(()),
        status => Err(format!("{status}: it was not refused")),
    }
}

/// One of those that never fail, by command, while the other one serves.
async fn drain(servers: &Servers, site: &Site, random: &mut fastrand::Rng) -> Result<(), String> {
    let address = servers.steady[random.usize(..servers.steady.len())].address();
    for down in [true, false] {
        let path = format!("/upstreams/steady/servers/{address}");
        let body = format!("{{\"down\": {down}}}");
        status(&admin(site, request("PATCH", &path, &body)).await, 200)?;
    }
    Ok(())
}
