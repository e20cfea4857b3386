//! `[admin]`: where commands such as `waypost reload` reach the process, and who may give them.

use super::{Address, ListenerTls, NamedFile};
use crate::config::problem::Place;

/// Where, and who.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// A unix socket, a loopback address, or another one where there are `tls` and tokens.
    pub address: Address,
    /// Where the address stands.
    pub place: Place,
    pub tls: Option<ListenerTls>,
    /// Over TCP one of `tokens` is asked for. They may be none: then nobody is let in that way.
    pub asks_for_tokens: bool,
    pub tokens: Vec<AdminToken>,
    /// A file that has a line for each action; without it, they are in the error log.
    pub audit: Option<NamedFile>,
}

/// A secret that a client shows, known by its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminToken {
    pub name: String,
    pub role: Role,
    /// In hexadecimal digits, in lower case.
    pub sha256: String,
}

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// See everything, change nothing.
    Read,
    Operate,
}

impl Role {
    pub const WORDS: &[&str] = &["read", "operate"];

    pub fn word(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Operate => "operate",
        }
    }
}
