//! What has to hold for a request to take a route (nginx: `if`, `limit_except`).

use std::net::IpAddr;

use ipnet::IpNet;
use regex::Regex;

use crate::http::variable::Variable;

/// What a route says of the requests that it takes, beside host and path. All of it has to hold.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// One of these; any where there is none.
    pub methods: Vec<String>,
    pub clients: Option<Networks>,
    pub values: Vec<ValueCondition>,
}

/// Where a client is: in one of `within`, if there are any, and in none of `outside`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    pub within: Vec<IpNet>,
    pub outside: Vec<IpNet>,
}

/// What a value has to be: one of `any_of`, if there are any, and none of `none_of`.
#[derive(Debug, Clone)]
pub struct ValueCondition {
    /// The key of `when` that says so: `header`, `query`, `cookie` or `variable`.
    pub key: &'static str,
    /// The name below that key, as written.
    pub name: String,
    /// The same, for a request to be asked.
    pub variable: Variable,
    pub any_of: Vec<ValuePattern>,
    pub none_of: Vec<ValuePattern>,
}

/// What a value is held against. A value that is not there is empty.
#[derive(Debug, Clone)]
pub enum ValuePattern {
    Exact(String),
    /// Found anywhere in the value.
    Regex(Regex),
    /// Anything but empty.
    Present,
}

impl Conditions {
    /// Whether there is nothing that has to hold.
    pub fn is_empty(&self) -> bool {
        self.methods.is_empty() && self.clients.is_none() && self.values.is_empty()
    }
}

impl Networks {
    /// Whether an address is where it has to be; None, of a client behind a unix socket, is in no
    /// network.
    pub fn has(&self, ip: Option<IpAddr>) -> bool {
        let any = |networks: &[IpNet]| {
            ip.is_some_and(|ip| networks.iter().any(|network| network.contains(&ip)))
        };
        (self.within.is_empty() || any(&self.within)) && !any(&self.outside)
    }
}

impl ValueCondition {
    /// Whether it holds for a value.
    pub fn holds(&self, value: &[u8]) -> bool {
        let fits = |patterns: &[ValuePattern]| patterns.iter().any(|each| each.fits(value));
        (self.any_of.is_empty() || fits(&self.any_of)) && !fits(&self.none_of)
    }
}

impl ValuePattern {
    /// Whether a value is like it. A value that is no UTF-8 is taken to have replacement characters.
    pub fn fits(&self, value: &[u8]) -> bool {
        match self {
            ValuePattern::Exact(text) => value == text.as_bytes(),
            ValuePattern::Regex(regex) => regex.is_match(&String::from_utf8_lossy(value)),
            ValuePattern::Present => !value.is_empty(),
        }
    }

    /// As written in the file.
    pub fn spelling(&self) -> String {
        match self {
            ValuePattern::Exact(text) if text.starts_with(['=', '~', '!', '*']) => {
                format!("={text}")
            }
            ValuePattern::Exact(text) => text.clone(),
            ValuePattern::Regex(regex) => format!("~{}", regex.as_str()),
            ValuePattern::Present => "*".to_owned(),
        }
    }
}
