//! `connection` in the WIT.

use std::net::IpAddr;

use wasmtime::Result;
use wasmtime::component::{ComponentType, LinkerInstance, Lower};

use super::answers::{bytes, variable_text};
use super::{Caller, at_hand};
use crate::http::variable::Variable;
use crate::plugin::host_state::HostState;

/// `types.ip-address` in the WIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lower)]
#[component(variant)]
enum WitAddress {
    #[component(name = "ipv4")]
    Ipv4((u8, u8, u8, u8)),
    #[component(name = "ipv6")]
    Ipv6((u16, u16, u16, u16, u16, u16, u16, u16)),
}

impl From<IpAddr> for WitAddress {
    fn from(address: IpAddr) -> WitAddress {
        match address.to_canonical() {
            IpAddr::V4(address) => WitAddress::Ipv4(address.octets().into()),
            IpAddr::V6(address) => WitAddress::Ipv6(address.segments().into()),
        }
    }
}

pub(super) fn add_to(connection: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    connection.func_wrap("client-address", |_: Caller<'_>, (): ()| {
        let address = at_hand(|exchange| exchange.client_address());
        Ok((address.map(WitAddress::from),))
    })?;
    connection.func_wrap("peer-address", |_: Caller<'_>, (): ()| {
        Ok((address(&Variable::RealipRemoteAddr),))
    })?;
    connection.func_wrap("local-address", |_: Caller<'_>, (): ()| {
        Ok((address(&Variable::ServerAddr),))
    })?;
    connection.func_wrap("peer-port", |_: Caller<'_>, (): ()| {
        Ok((parsed::<u16>(&Variable::RealipRemotePort).unwrap_or(0),))
    })?;
    connection.func_wrap("local-port", |_: Caller<'_>, (): ()| {
        Ok((parsed::<u16>(&Variable::ServerPort).unwrap_or(0),))
    })?;
    connection.func_wrap("server-name", |mut host: Caller<'_>, (): ()| {
        let of_tls = variable_text(&mut host, &Variable::SslServerName);
        Ok((match of_tls {
            Some(name) => Some(name),
            None => variable_text(&mut host, &Variable::SslPrereadServerName),
        },))
    })?;
    connection.func_wrap("alpn", |mut host: Caller<'_>, (): ()| {
        Ok((variable_text(&mut host, &Variable::SslAlpnProtocol),))
    })?;
    connection.func_wrap("tls-version", |mut host: Caller<'_>, (): ()| {
        Ok((variable_text(&mut host, &Variable::SslProtocol),))
    })?;
    connection.func_wrap("certificate-subject", |mut host: Caller<'_>, (): ()| {
        // That of a certificate that nothing vouches for says nothing.
        let is_valid = at_hand(|exchange| exchange.certificate_fingerprint().is_some());
        let subject = is_valid.then(|| variable_text(&mut host, &Variable::SslClientSDn));
        Ok((subject.flatten(),))
    })?;
    connection.func_wrap("certificate-fingerprint", |mut host: Caller<'_>, (): ()| {
        let fingerprint = at_hand(|exchange| exchange.certificate_fingerprint());
        let answer = fingerprint
            .map(|fingerprint| bytes(&mut host, |out| out.extend_from_slice(&fingerprint)));
        Ok((answer,))
    })
}

/// The address that a variable has in text.
fn address(variable: &Variable) -> Option<WitAddress> {
    parsed::<IpAddr>(variable).map(WitAddress::from)
}

fn parsed<T: std::str::FromStr>(variable: &Variable) -> Option<T> {
    let mut text = Vec::new();
    at_hand(|exchange| exchange.append(variable, &mut text))
        .then(|| std::str::from_utf8(&text).ok()?.parse().ok())
        .flatten()
}
