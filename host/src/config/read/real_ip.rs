//! `trusted_proxies`, `real_ip_header` and `real_ip_recursive`.

use ipnet::IpNet;

use super::{Complaint, noted};
use crate::config::model::{RealIp, RealIpHeader, TrustedProxies};
use crate::config::section::Section;
use crate::config::tree::Node;
use crate::http::headers::{is_framing, is_token};

/// Of a listener, or of `[server]`.
pub(super) fn real_ip(section: &Section<'_>) -> RealIp {
    let header = section.text_given("real_ip_header");
    let header = header.and_then(|(text, node)| noted(header_of(text), node, section.problems));
    RealIp {
        trusted: trusted_proxies(section),
        header: header.unwrap_or_default(),
        recursive: section.boolean("real_ip_recursive"),
    }
}

fn header_of(text: &str) -> Result<RealIpHeader, Complaint> {
    if text.eq_ignore_ascii_case("proxy_protocol") {
        return Ok(RealIpHeader::ProxyProtocol);
    }
    if !is_token(text.as_bytes()) || is_framing(text.as_bytes()) {
        let complaint = Complaint::new(format!("`{text}` cannot be a header that names a client"));
        return Err(complaint.hint(
            "name the one that the proxies in front set: `CF-Connecting-IP`, `X-Real-IP`, or \
             `proxy_protocol`",
        ));
    }
    Ok(RealIpHeader::Named(text.into()))
}

pub(super) fn trusted_proxies(section: &Section<'_>) -> TrustedProxies {
    let mut trusted = TrustedProxies::default();
    let network = |(text, node): (&str, &Node)| {
        let parsed = text
            .parse::<IpNet>()
            .or_else(|_| text.parse().map(|ip: std::net::IpAddr| ip.into()));
        let parsed = parsed.map_err(|_| {
            Complaint::new(format!("`{text}` is not an address or a network"))
                .hint("write it as `10.0.0.1`, `10.0.0.0/8`, `2001:db8::/32` or `unix:`")
        });
        noted(parsed, node, section.problems)
    };
    for (text, node) in section.texts("trusted_proxies") {
        if text == "unix:" {
            trusted.unix = true;
        } else {
            trusted.networks.extend(network((text, node)));
        }
    }
    trusted
}
