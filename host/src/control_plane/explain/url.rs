//! What is asked for: a URL taken apart as a client does it, and the listener that it leads to.

use std::net::{IpAddr, SocketAddr};

use crate::admin_api::ExplainRequest;
use crate::config::model::{Address, Config};
use crate::http::headers::{is_token, is_value};

/// A request as a client would send it.
pub(super) struct Asked {
    pub(super) is_https: bool,
    /// Without a port.
    host: String,
    port: u16,
    pub(super) client: Option<SocketAddr>,
    listener: Option<String>,
    /// In bytes.
    pub(super) head: Vec<u8>,
}

impl Asked {
    /// # Errors
    /// What is wrong with it, and the way out.
    pub(super) fn of(request: &ExplainRequest) -> Result<Asked, String> {
        let url = request.url.trim();
        let example = "write it as `http://shop.example/cart?id=1`";
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| format!("`{}` is no URL: {example}", short(url)))?;
        let is_https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            other => {
                return Err(format!(
                    "`{}` is not `http` or `https`: {example}",
                    short(other)
                ));
            }
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let authority = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        // Clients keep what follows a `#` to themselves.
        let target = target.split('#').next().unwrap_or_default();
        let (host, port) = host_and_port(authority)
            .ok_or_else(|| format!("`{}` names no host and port: {example}", short(url)))?;
        let target = match target.starts_with('/') {
            true => target.to_owned(),
            false => format!("/{target}"),
        };
        if !is_token(request.method.as_bytes()) {
            let method = short(&request.method);
            return Err(format!("`{method}` is no method: write one such as `POST`"));
        }
        if target.bytes().any(|byte| byte <= b' ' || byte >= 0x7f) {
            return Err(
                "the URL has blanks or letters that a client would escape: write `%20` for a blank"
                    .into(),
            );
        }
        let mut head = format!("{} {target} HTTP/1.1\r\n", request.method).into_bytes();
        let is_host = |name: &str| name.eq_ignore_ascii_case("host");
        if !request.headers.iter().any(|(name, _)| is_host(name)) {
            head.extend_from_slice(format!("Host: {authority}\r\n").as_bytes());
        }
        for (name, value) in &request.headers {
            if !is_token(name.as_bytes()) || !is_value(value.as_bytes()) {
                let header = short(&format!("{name}: {value}"));
                return Err(format!(
                    "`{header}` is no header: write `Name: value`, in one line"
                ));
            }
            head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        let client = request.from.as_deref().map(|from| {
            address(from).ok_or_else(|| {
                format!(
                    "`{}` is no address of a client: write one such as `203.0.113.7`",
                    short(from)
                )
            })
        });
        Ok(Asked {
            is_https,
            port: port.unwrap_or(if is_https { 443 } else { 80 }),
            host,
            client: client.transpose()?,
            listener: request.listener.clone(),
            head,
        })
    }

    /// What a client asks for in its handshake: no address (RFC 6066 section 3).
    pub(super) fn server_name(&self) -> Option<String> {
        let is_address = self.host.parse::<IpAddr>().is_ok();
        (!is_address).then(|| self.host.to_ascii_lowercase())
    }

    /// The index of the listener that takes it. `addresses`: where the listeners really are.
    ///
    /// # Errors
    /// There is none, but others.
    pub(super) fn listener(&self, config: &Config, addresses: &[String]) -> Result<usize, String> {
        let listeners = || config.listeners.iter().zip(addresses).enumerate();
        let told = || {
            let told = listeners().map(|(_, (listener, address))| {
                let scheme = if listener.tls.is_some() {
                    "https"
                } else {
                    "http"
                };
                format!("{scheme}://{address}")
            });
            told.collect::<Vec<_>>().join(", ")
        };
        if let Some(named) = &self.listener {
            let mut listeners = listeners();
            let is_it = |(_, (listener, address)): &(usize, (&_, &String))| {
                let listener: &crate::config::model::ListenerConfig = listener;
                *address == named || listener.address.to_string() == *named
            };
            let found = listeners.find(is_it).map(|(index, _)| index);
            return found.ok_or_else(|| {
                format!(
                    "there is no listener `{}`: there are {}",
                    short(named),
                    told()
                )
            });
        }
        let ip: Option<IpAddr> = match self.host.as_str() {
            "localhost" => None,
            host => host.parse().ok(),
        };
        let fits = |address: &str| {
            let address: SocketAddr = address.parse().ok()?;
            if address.port() != self.port {
                return None;
            }
            // The very address goes before all addresses, and those before another one.
            Some(match (ip, address.ip()) {
                (Some(ip), of_listener) if ip == of_listener => 0,
                (_, of_listener) if of_listener.is_unspecified() => 1,
                _ => 2,
            })
        };
        let ranked = listeners().filter_map(|(index, (listener, address))| {
            let other_scheme = listener.tls.is_some() != self.is_https;
            Some(((fits(address)?, other_scheme), index))
        });
        let best = ranked.min();
        let port = self.port;
        let (_, index) = best.ok_or_else(|| {
            let listeners = told();
            format!(
                "no listener has port {port}: there are {listeners}; say which by the URL's port, or by `--listener`"
            )
        })?;
        let has_tls = config.listeners[index].tls.is_some();
        if self.is_https && !has_tls {
            let address = &addresses[index];
            return Err(format!(
                "the listener {address} speaks without TLS: ask for `http://`"
            ));
        }
        Ok(index)
    }
}

/// Whether a text is a URL that can be explained.
///
/// # Errors
/// Why it is not.
pub(crate) fn explained_url(url: &str) -> Result<String, String> {
    let request = ExplainRequest::of(url);
    Asked::of(&request).map(|_| url.to_owned())
}

/// The addresses of listeners as the configuration has them.
pub(super) fn configured(config: &Config) -> Vec<String> {
    let addresses = config.listeners.iter();
    let told = addresses.map(|listener| match &listener.address {
        Address::Tcp(address) => address.to_string(),
        unix @ Address::Unix(_) => unix.to_string(),
    });
    told.collect()
}

/// `shop.example:8080`, `[::1]:8080`, `[::1]`; none where there is no host, or a port that is none.
fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (
                host,
                port.strip_prefix(':').or(port.is_empty().then_some("")),
            )
        }
        None => match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, Some("")),
        },
    };
    let port = match port? {
        "" => None,
        port => Some(port.parse().ok()?),
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// An address with or without a port.
fn address(text: &str) -> Option<SocketAddr> {
    let ip: Option<IpAddr> = text
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok();
    let ip = ip.map(|ip| SocketAddr::new(ip, 0));
    text.parse().ok().or(ip)
}

/// As much of a text as is shown.
fn short(text: &str) -> String {
    let part = &text[..text.floor_char_boundary(80)];
    let more = if part.len() < text.len() { "..." } else { "" };
    format!("{}{more}", part.escape_debug())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    use super::ExplainRequest as Request;

    fn request(url: &str) -> Request {
        Request::of(url)
    }

    fn head(url: &str) -> String {
        String::from_utf8(Asked::of(&request(url)).unwrap().head).unwrap()
    }

    #[test]
    fn a_url_becomes_the_head_that_a_client_would_send() {
        let expected = "GET /a?b=c HTTP/1.1\r\nHost: a.example:81\r\n\r\n";
        assert_eq!(head("HTTP://a.example:81/a?b=c#d"), expected);
        assert_eq!(head("http://u:p@a.example:81/a?b=c"), expected);
        assert_eq!(
            head("http://[::1]"),
            "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n"
        );
        assert_eq!(head("http://a?b"), "GET /?b HTTP/1.1\r\nHost: a\r\n\r\n");
    }

    #[test]
    fn what_is_no_url_is_told_with_an_example() {
        for url in [
            "",
            "/a",
            "a.example/",
            "ftp://a/",
            "http://",
            "http:///a",
            "http://:80/",
            "http://a:b/",
            "http://[::1/",
        ] {
            let error = Asked::of(&request(url)).err().unwrap();
            assert!(error.contains("http://shop.example"), "{url}: {error}");
        }
        let error = Asked::of(&request("http://a/b c")).err().unwrap();
        assert!(error.contains("%20"), "{error}");
    }

    #[test]
    fn a_header_cannot_bring_others_in() {
        let mut asked = request("http://a/");
        asked.headers = vec![("X-A".to_owned(), "b\r\nX-C: d".to_owned())];
        assert!(Asked::of(&asked).err().unwrap().contains("is no header"));
        asked.headers = vec![("host".to_owned(), "b".to_owned())];
        let head = Asked::of(&asked).unwrap().head;
        assert_eq!(head, b"GET / HTTP/1.1\r\nhost: b\r\n\r\n");
    }
}
