//! What a configuration asks of the machine it is read on: files, environment, names.
//!
//! Behind a trait, so that tests read hostile and mutated files without a disk or a resolver.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;

pub trait System {
    /// An environment variable; `None` where it is not set, or not Unicode.
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    /// All addresses of a name, in the resolver's order. Blocks.
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok((host, port).to_socket_addrs()?.collect())
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(file)
    }

    /// Names in a directory, in any order. Those that are not Unicode are left out.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }
}

/// The machine that this process runs on.
#[derive(Debug, Clone, Copy)]
pub struct ThisMachine;

impl System for ThisMachine {}
