//! Whom a listener believes about its clients, and by which header.

use std::net::IpAddr;

/// Peers whose `X-Forwarded-For` and its like, and whose PROXY header are believed. Default: none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    pub networks: Vec<ipnet::IpNet>,
    /// Peers that connect to a unix socket.
    pub unix: bool,
}

impl TrustedProxies {
    /// Whether the client address that a peer reports is believed; `None` is the peer of a unix
    /// socket.
    pub fn trust(&self, peer: Option<IpAddr>) -> bool {
        match peer {
            Some(peer) => self.networks.iter().any(|network| network.contains(&peer)),
            None => self.unix,
        }
    }
}

/// Where a trusted proxy names its client (`real_ip_header`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RealIpHeader {
    /// In `X-Forwarded-For`, else in `X-Real-IP`.
    #[default]
    Usual,
    /// In this header of the request, and in no other.
    Named(Box<str>),
    /// In the PROXY header of the connection, and in no header of the request.
    ProxyProtocol,
}

/// Which client a listener sees behind the proxies in front of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RealIp {
    pub trusted: TrustedProxies,
    pub header: RealIpHeader,
    /// Trusted proxies that a header lists are passed over, default yes (`real_ip_recursive`, off);
    /// else its last address counts.
    pub recursive: bool,
}
