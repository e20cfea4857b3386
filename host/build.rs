//! Prepares what the host embeds.

#[path = "build/versions.rs"]
mod versions;

fn main() {
    versions::export();
}
