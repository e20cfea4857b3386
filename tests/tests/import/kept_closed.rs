//! `waypost import --force`: what is lost of a configuration is closed, so that no request gets an
//! answer that nginx does not give it.

use fastrand::Rng;
use tempfile::TempDir;
use waypost_tests::nginx::{self, seed};
use waypost_tests::{Nginx, Proxy, Response, proxy};

use super::served_files;
use super::{OWN, ask, blocks, can_be_run, configurations, imported, is_lossy, moved};
use super::{placed, requests, shown};

/// What cannot be compared like this, and why.
const ELSEWHERE: [(&str, &str); 7] = [
    ("plus_and_unknown", "nginx knows not all of its directives"),
    ("plus_upstreams", "likewise"),
    ("php", "its files are beside it"),
    ("traces", "its module is none of the package's"),
    ("substitutions", "nginx takes neither of its lost texts"),
    ("logs_elsewhere", "it names a format that is not there"),
    (
        "files_that_differ",
        "its names are joined otherwise, as the report says",
    ),
];

#[tokio::test]
async fn what_is_lost_of_a_configuration_lets_nobody_in_whom_nginx_keeps_out() {
    if !nginx::installed() {
        return;
    }
    let seed = seed();
    eprintln!("WAYPOST_PARITY_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let only = std::env::var("WAYPOST_IMPORT_ONLY").ok();
    let mut compared = 0;
    for (name, text) in configurations() {
        let is_wanted = only.as_ref().is_none_or(|only| *only == name);
        let is_known = ELSEWHERE.iter().all(|(other, _)| *other != name);
        if is_wanted && is_known && is_lossy(&name) && can_be_run(&name, &text) {
            compare(&name, &text, &mut rng).await;
            compared += 1;
        }
    }
    assert!(
        only.is_some() || compared > 2,
        "only {compared} were compared"
    );
}

async fn compare(name: &str, text: &str, rng: &mut Rng) {
    let directory = TempDir::new().expect("there is room for a directory");
    let placed = placed(text, directory.path()).await;
    let toml = match imported(directory.path(), &placed, true) {
        Ok(toml) => toml,
        Err(report) => panic!("nothing of {name} is lost:\n{report}"),
    };
    let nginx = Nginx::configured(&blocks(&placed.text), &placed.listeners[0]).await;
    let waypost: Proxy = proxy::run(&toml, &[]).await;
    for (number, request) in requests(name, text, rng).into_iter().enumerate() {
        let listener = &placed.listeners[rng.usize(..placed.listeners.len())];
        let expected = ask(listener, &request).await;
        let got = ask(&moved(listener), &request).await;
        assert!(
            !lets_in(&got, &expected) || served_files::departs(text, &request, &got, &expected),
            "{name}, request {number}\n{request}\nnginx:\n{}\nwaypost:\n{}\n{toml}\n{}",
            shown(&expected),
            shown(&got),
            placed.text,
        );
    }
    drop(waypost);
    drop(nginx);
}

/// Whether a request has got an answer that is not nginx's and no refusal: what it tells is the file,
/// or the server, what that was asked for, and with which headers.
fn lets_in(got: &Response, expected: &Response) -> bool {
    let (told, of_nginx) = (served_files::told(got), served_files::told(expected));
    let mut lines = told.lines();
    let is_same = got.status / 100 == expected.status / 100
        && lines.next() == of_nginx.lines().next()
        && lines.all(|line| {
            let name = line.split(": ").next().unwrap_or_default();
            OWN.contains(&name) || of_nginx.lines().any(|known| known == line)
        });
    got.status < 400 && !is_same
}
