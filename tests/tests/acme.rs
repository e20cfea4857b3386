//! Certificates that the proxy orders and renews by itself.

mod pebble; // of a real authority
mod failures; // of one that does not issue
mod renewal; // before they end
mod sharing; // by several processes
mod keys; // of which type
mod restarts; // and upgrades, and what is broken meanwhile
mod commands; // seen, and ordered at once

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;
use waypost_tests::acme::{Directory, Mode};
use waypost_tests::admin::ADMIN;
use waypost_tests::tls::{self, Authority};
use waypost_tests::{Gate, Proxy, eventually, proxy};

/// A listener without TLS, one with, and a route. `acme`: what the latter says of it.
fn file(acme: &str, store: &TempDir) -> String {
    let store = store.path().display();
    format!(
        "[server]\nworkers = 2\naccess_log = false\n\
         [[listen]]\naddress = \"127.0.0.1:0\"\n\
         [[listen]]\naddress = \"127.0.0.1:0\"\n\
         tls = {{ acme = {{ store = \"{store}\", {acme} }} }}\n\
         [[route]]\nhost = [\"a.test\"]\nreturn = {{ status = 200, body = \"hello\" }}\n\
         {ADMIN}"
    )
}

fn store() -> TempDir {
    TempDir::new().unwrap()
}

/// What the admin API shows of a certificate, once that is as it should be.
async fn shown(proxy: &Proxy, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let mut found = Value::Null;
    eventually(what, async || {
        let all = proxy.shows("/certificates").await["certificates"].take();
        let mut all = all.as_array().unwrap().clone().into_iter();
        found = all.find(|of| of["name"] == name).unwrap_or_default();
        holds(&found)
    })
    .await;
    found
}

async fn is_valid(proxy: &Proxy, name: &str) -> Value {
    shown(proxy, name, "a certificate", |of| {
        of["state"] == "valid" && !of["issuer"].is_null()
    })
    .await
}

/// Seconds from now until a moment that the admin API shows.
fn seconds_until(moment: &Value) -> i64 {
    let Some(moment) = moment.as_str() else {
        return i64::MIN; // it is not told yet
    };
    let moment: jiff::Timestamp = moment.parse().unwrap();
    moment.as_second() - jiff::Timestamp::now().as_second()
}

/// Puts a certificate of a domain into a store, good from and until so many days from now.
fn seed(directory: &Directory, store: &Path, domain: &str, (from, to): (i64, i64)) {
    let of = directory
        .authority
        .certificate_with(tls::Kind::Ecdsa, &[domain], |params| {
            let at = |days: i64| {
                let distance = Duration::from_secs(days.unsigned_abs() * 86_400);
                let now = SystemTime::now();
                if days < 0 {
                    now - distance
                } else {
                    now + distance
                }
            };
            params.use_authority_key_identifier_extension = true;
            (params.not_before, params.not_after) = (at(from).into(), at(to).into());
        });
    let folder = store.join(directory.folder());
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{domain}.pem")), of.key + &of.chain).unwrap();
}

/// The lines of the error log with this in them.
fn lines(proxy: &Proxy, part: &str) -> usize {
    proxy
        .log()
        .lines()
        .filter(|line| line.contains(part))
        .count()
}
