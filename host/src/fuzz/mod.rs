//! What peers, users and plugins can send, taken apart as it would be: the targets of `tests/fuzz`.
//!
//! Each takes any bytes and panics where a promise does not hold. The promises are about meaning,
//! not only about panics: what was cut means what the whole does, what is written again is read the
//! same, and a second, plainer reading of the same rules agrees. Compiled for the fuzzer and for
//! tests, which replay the corpus; no other build has it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a target reports by panicking"
)]

mod head; // heads of HTTP/1 and their framing
mod http2_head; // heads between HTTP/2 and text
mod chunked; // bodies in chunks
mod frames; // frames of HTTP/2, counted
mod proxy_header; // the PROXY protocol
mod client_hello; // the name that a TLS client asks for
mod target; // request targets, hosts and paths
mod cookie; // the cookies that requests and responses bring
mod traceparent; // which trace a request belongs to
pub(crate) mod route; // which route a request takes
mod log_line; // log formats and what clients put into them
mod config; // configurations
mod server_list; // lists of servers, and answers of those who have them
mod import; // configurations of nginx
mod component; // plugins before they are compiled

/// A target: takes any bytes, returns if all is well.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also that of its program and its corpus in `tests/fuzz`.
pub const TARGETS: [(&str, Target); 15] = [
    ("head", head::run),
    ("http2_head", http2_head::run),
    ("chunked", chunked::run),
    ("frames", frames::run),
    ("proxy_header", proxy_header::run),
    ("client_hello", client_hello::run),
    ("target", target::run),
    ("cookie", cookie::run),
    ("traceparent", traceparent::run),
    ("route", route::run),
    ("log_line", log_line::run),
    ("config", config::run),
    ("server_list", server_list::run),
    ("import", import::run),
    ("component", component::run),
];

/// The target of this name.
///
/// # Panics
/// If there is none.
pub fn target(name: &str) -> Target {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no target `{name}`")).1
}

/// The pieces that `bytes` are cut into on their way, as long as the bytes themselves say: what is
/// found by one input is found again by it.
fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = 1 + usize::from(*rest.first()? & 15);
        let (piece, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        Some(piece)
    })
}

/// The same, a byte each.
fn single_bytes(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.chunks(1)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::{fs, panic};

    use super::{TARGETS, Target};

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz")
    }

    /// Runs a target on every file of its corpus, and on every beginning of it. The files that it
    /// fails on.
    fn failures(name: &str, target: Target) -> Vec<PathBuf> {
        let corpus = fs::read_dir(folder().join("corpus").join(name)).unwrap();
        let seeds: Vec<PathBuf> = corpus.map(|seed| seed.unwrap().path()).collect();
        assert!(seeds.len() > 1, "the corpus of `{name}` is next to empty");
        let fails = |seed: &PathBuf| {
            let bytes = fs::read(seed).unwrap();
            let all = || (0..=bytes.len()).for_each(|end| target(&bytes[..end]));
            panic::catch_unwind(all).is_err()
        };
        seeds.into_iter().filter(fails).collect()
    }

    #[test]
    fn every_target_holds_on_its_corpus_and_on_every_beginning_of_it() {
        let failed = TARGETS
            .iter()
            .flat_map(|(name, target)| failures(name, *target));
        let failed: Vec<PathBuf> = failed.collect();
        assert!(
            failed.is_empty(),
            "see above for why these fail: {failed:#?}"
        );
    }

    #[test]
    fn every_target_is_a_program_of_the_fuzzer() {
        let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
        for (name, _) in TARGETS {
            assert!(
                manifest.contains(&format!("name = \"{name}\"")),
                "`{name}` has no program"
            );
            let program = folder().join("fuzz_targets").join(format!("{name}.rs"));
            let program = fs::read_to_string(program).unwrap();
            assert!(program.contains(&format!("target(\"{name}\")")), "{name}");
        }
    }
}
