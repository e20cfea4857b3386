//! The origins whose pages may read answers: named one by one, by pattern, or all of them.

use waypost_sdk::{Settings, SettingsError};

/// Which origins are allowed.
pub(crate) enum Origins {
    Any,
    These {
        /// Sorted.
        exact: Vec<String>,
        patterns: Vec<Pattern>,
    },
}

/// `https://*.example.com` or `http://localhost:*`, both at once too.
pub(crate) struct Pattern {
    /// `https://`
    scheme: String,
    /// `.example.com` where any host below it is meant, else the host itself.
    host: String,
    is_below: bool,
    port: Port,
}

enum Port {
    /// `:8443`, or nothing for the scheme's own.
    Only(String),
    Any,
}

impl Origins {
    /// Reads `origins`.
    pub(crate) fn configure(
        settings: &mut Settings,
        credentials: bool,
    ) -> Result<Self, SettingsError> {
        let texts = settings.texts("origins")?;
        if texts.is_empty() {
            return Err(settings.missing("origins"));
        }
        let refuse = |message: &str| Err(settings.error("origins", message));
        if texts.iter().any(|text| text == "*") {
            if credentials {
                return refuse(
                    "`*` with `credentials` would let every page on the web act as its visitor: \
                     name the origins",
                );
            }
            if texts.len() > 1 {
                return refuse("`*` stands for all: leave the others out");
            }
            return Ok(Origins::Any);
        }
        if credentials && texts.iter().any(|text| text == "null") {
            return refuse(
                "every page can have the origin `null` (in a sandboxed frame), so it goes with no \
                 `credentials`: leave one of them out",
            );
        }
        let (mut exact, mut patterns) = (Vec::new(), Vec::new());
        for text in texts {
            match parse(&text) {
                Ok(None) => exact.push(text),
                Ok(Some(pattern)) => patterns.push(pattern),
                Err(message) => return refuse(&message),
            }
        }
        exact.sort_unstable();
        Ok(Origins::These { exact, patterns })
    }

    pub(crate) fn is_any(&self) -> bool {
        matches!(self, Origins::Any)
    }

    /// Whether pages of this origin may read answers. Browsers write origins in one way only, in
    /// lower case and without default ports, so bytes are compared.
    pub(crate) fn allow(&self, origin: &[u8]) -> bool {
        match self {
            Origins::Any => true,
            Origins::These { exact, patterns } => {
                let exact = exact.binary_search_by(|known| known.as_bytes().cmp(origin));
                exact.is_ok() || patterns.iter().any(|pattern| pattern.matches(origin))
            }
        }
    }
}

impl Pattern {
    fn matches(&self, origin: &[u8]) -> bool {
        let Some(authority) = origin.strip_prefix(self.scheme.as_bytes()) else {
            return false;
        };
        let colon = authority.iter().position(|&byte| byte == b':');
        let (host, port) = authority.split_at(colon.unwrap_or(authority.len()));
        let is_port = match &self.port {
            Port::Only(only) => port == only.as_bytes(),
            Port::Any => match port.split_first() {
                None => true,
                Some((_, digits)) => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
            },
        };
        is_port && self.is_host(host)
    }

    fn is_host(&self, host: &[u8]) -> bool {
        if !self.is_below {
            return host == self.host.as_bytes();
        }
        match host.strip_suffix(self.host.as_bytes()) {
            Some(labels) => labels.split(|&byte| byte == b'.').all(|label| {
                let allowed = |&byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
                !label.is_empty() && label.iter().all(allowed)
            }),
            None => false,
        }
    }
}

/// `None` for an origin without `*`.
fn parse(text: &str) -> Result<Option<Pattern>, String> {
    if text == "null" {
        return Ok(None);
    }
    let example =
        "such as `https://app.example.com`, `https://*.example.com` or `http://localhost:*`";
    let no_origin = || format!("`{text}` is no origin {example}");
    let (scheme, authority) = text.split_once("://").ok_or_else(no_origin)?;
    if let Some(slash) = authority.find('/') {
        let (origin, path) = authority.split_at(slash);
        return Err(format!(
            "an origin has no path: write `{scheme}://{origin}` without `{path}`"
        ));
    }
    if text.contains(|letter: char| letter.is_ascii_uppercase()) {
        let lower = text.to_ascii_lowercase();
        return Err(format!("browsers write origins in lower case: `{lower}`"));
    }
    let is_scheme =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    if scheme.is_empty() || !scheme.bytes().all(is_scheme) {
        return Err(no_origin());
    }
    // The colons within the brackets of an IPv6 address are its own.
    let behind_bracket = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let colon = authority[behind_bracket..]
        .find(':')
        .map(|at| behind_bracket + at);
    let (host, port) = authority.split_at(colon.unwrap_or(authority.len()));
    if matches!((scheme, port), ("http", ":80") | ("https", ":443")) {
        return Err(format!(
            "browsers leave a default port out: `{scheme}://{host}`"
        ));
    }
    let is_any_port = port == ":*";
    let is_port = |digits: &str| {
        digits
            .parse::<u16>()
            .is_ok_and(|port| port.to_string() == digits)
    };
    if !(port.is_empty() || is_any_port || is_port(&port[1..])) {
        return Err(no_origin());
    }
    let (host, is_below) = match host.strip_prefix('*') {
        Some(host) if host.starts_with('.') => (host, true),
        Some(_) => return Err(no_origin()),
        None => (host, false),
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    if host.trim_start_matches('.').is_empty() || !host.bytes().all(is_host) {
        return Err(no_origin());
    }
    Ok((is_below || is_any_port).then(|| Pattern {
        scheme: format!("{scheme}://"),
        host: host.to_owned(),
        is_below,
        port: match is_any_port {
            true => Port::Any,
            false => Port::Only(port.to_owned()),
        },
    }))
}
