//! `trusted_proxies`, `real_ip_header` and `real_ip_recursive`.

use super::{Complaint, condition, noted};
use crate::config::model::{RealIp, RealIpHeader, TrustedProxies};
use crate::config::section::Section;
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
    const HINT: &str = "write it as `10.0.0.1`, `10.0.0.0/8`, `2001:db8::/32` or `unix:`";
    let mut trusted = TrustedProxies::default();
    for (text, node) in section.texts("trusted_proxies") {
        if text == "unix:" {
            trusted.unix = true;
        } else {
            let network = condition::network(text, &node.place, section.problems);
            let network = network.map_err(|complaint| complaint.hint(HINT));
            let network = noted(network, node, section.problems);
            trusted.networks.extend(network);
        }
    }
    trusted
}
