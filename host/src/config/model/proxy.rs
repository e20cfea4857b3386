//! `proxy` and the keys beside it: where a request goes and as what, and what becomes of what its
//! server says of itself.

use std::sync::Arc;

use regex::bytes::Regex;

use super::DynamicProxy;
use crate::http::template::Template;

/// Send the request to an upstream.
#[derive(Debug, Clone)]
pub struct Proxy {
    pub upstream: ProxyUpstream,
    /// `None`: the target is sent on as it was received.
    pub uri: Option<ProxyUri>,
    pub redirects: RedirectRules,
    /// `None`: cookies are passed on as the server sets them.
    pub cookies: Option<Arc<CookieRules>>,
    /// What stands in place of the client's method, but of `HEAD`, whose answer has no body
    /// (`proxy_method`).
    pub method: Option<Box<str>>,
    pub body: RequestBody,
}

/// Which upstream requests go to.
#[derive(Debug, Clone)]
pub enum ProxyUpstream {
    /// Index into [`Config::upstreams`](super::Config::upstreams).
    Fixed(usize),
    /// The one that the request names.
    Dynamic(Arc<DynamicProxy>),
}

/// What becomes of the path.
#[derive(Debug, Clone)]
pub enum ProxyUri {
    /// `http://backend/part/`: replaces the part of the path that the route matched.
    Part(String),
    /// `http://backend/get?name=$arg_name`, with variables: the whole target.
    Whole(Template),
    /// `strip_prefix` and `add_prefix`; both without a slash at the end, and empty for nothing.
    Prefix { strip: String, add: String },
}

/// The body that a server gets.
#[derive(Debug, Clone, Default)]
pub enum RequestBody {
    /// The client's.
    #[default]
    Client,
    /// None; the client's is read and dropped (`proxy_pass_request_body off`).
    Nothing,
    /// A text in its place (`proxy_set_body`).
    Text(Template),
}

/// How `Location` and `Refresh` of responses are rewritten (`proxy_redirect`).
#[derive(Debug, Clone)]
pub enum RedirectRules {
    /// nginx's `default`: what `proxy` says becomes what the route's path says.
    Default { from: String, to: String },
    /// By the first rule that fits; none at all is nginx's `off`.
    Given(Vec<Replacement>),
}

/// What a server says, and what takes its place.
#[derive(Debug, Clone)]
pub struct Replacement {
    pub from: Replaced,
    pub to: Template,
}

/// What is replaced of what a server says.
#[derive(Debug, Clone)]
pub enum Replaced {
    /// A text; whether as a whole or where a value begins so is the place's to say.
    Text(Template),
    /// The whole of a value that the regex finds something in, as it is written and compiled.
    Regex(Box<str>, Regex),
}

impl std::fmt::Display for Replaced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Replaced::Text(text) => text.fmt(f),
            Replaced::Regex(written, _) => f.write_str(written),
        }
    }
}

/// What becomes of the cookies that a server sets.
#[derive(Debug, Clone, Default)]
pub struct CookieRules {
    /// Of `Domain`, in any case and as a whole (`proxy_cookie_domain`). The first that fits counts.
    pub domains: Vec<Replacement>,
    /// Of what `Path` begins with (`proxy_cookie_path`). The first that fits counts.
    pub paths: Vec<Replacement>,
    /// The first whose names fit counts (`proxy_cookie_flags`).
    pub flags: Vec<(CookieNames, CookieFlags)>,
}

/// Names of cookies.
#[derive(Debug, Clone)]
pub enum CookieNames {
    All,
    /// In any case, as nginx has it.
    Name(Box<str>),
    /// As it is written and compiled.
    Regex(Box<str>, Regex),
}

impl CookieNames {
    pub fn contain(&self, name: &[u8]) -> bool {
        match self {
            CookieNames::All => true,
            CookieNames::Name(known) => known.as_bytes().eq_ignore_ascii_case(name),
            CookieNames::Regex(_, regex) => regex.is_match(name),
        }
    }
}

impl std::fmt::Display for CookieNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CookieNames::All => f.write_str("*"),
            CookieNames::Name(name) | CookieNames::Regex(name, _) => f.write_str(name),
        }
    }
}

/// What a cookie's attributes become. `None`: as the server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CookieFlags {
    /// Whether it has `Secure`.
    pub secure: Option<bool>,
    /// Whether it has `HttpOnly`.
    pub http_only: Option<bool>,
    /// What it has as `SameSite`; none at all where that is `Some(None)`.
    pub same_site: Option<Option<SameSite>>,
}

/// A value of `SameSite` (RFC 6265bis section 5.6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    Strict,
    Lax,
    None,
}

impl SameSite {
    pub fn name(self) -> &'static str {
        match self {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        }
    }
}

impl CookieFlags {
    /// The words of the file, in the order in which they are declared.
    pub fn words(self) -> Vec<String> {
        let flag = |name: &str, is_set: Option<bool>| match is_set? {
            true => Some(name.to_owned()),
            false => Some(format!("no{name}")),
        };
        let same_site = self.same_site.map(|value| match value {
            Some(value) => format!("samesite={}", value.name().to_ascii_lowercase()),
            None => "nosamesite".to_owned(),
        });
        let flags = [
            flag("secure", self.secure),
            flag("httponly", self.http_only),
        ];
        flags.into_iter().flatten().chain(same_site).collect()
    }
}
