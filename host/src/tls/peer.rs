//! What a certificate says, as nginx's variables have it (`ngx_event_openssl.c`).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::{Any, Tag, ToDer as _};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

/// Whose certificate it is, as `$ssl_client_s_dn`: `CN=client,O=Example`. Empty for one that cannot
/// be read.
pub(crate) fn subject(certificate: &CertificateDer<'_>) -> String {
    parsed(certificate).map_or(String::new(), |parsed| distinguished_name(parsed.subject()))
}

/// Who issued it, as `$ssl_client_i_dn`.
pub(crate) fn issuer(certificate: &CertificateDer<'_>) -> String {
    parsed(certificate).map_or(String::new(), |parsed| distinguished_name(parsed.issuer()))
}

/// Its number, as `$ssl_client_serial`: upper-case hexadecimal.
pub(crate) fn serial(certificate: &CertificateDer<'_>) -> String {
    let Some(parsed) = parsed(certificate) else {
        return String::new();
    };
    // A leading zero only tells that the number is positive.
    let raw = match parsed.raw_serial() {
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    raw.iter().fold(String::new(), |mut out, byte| {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02X}");
        out
    })
}

/// The SHA-1 of it, as `$ssl_client_fingerprint`: lower-case hexadecimal. A name for it, not a
/// proof.
pub(crate) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate);
    digest.as_ref().iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// The SHA-256 of it.
pub(crate) fn sha256(certificate: &CertificateDer<'_>) -> [u8; 32] {
    use aws_lc_rs::digest::{SHA256, digest};
    let digest = digest(&SHA256, certificate);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// In PEM, percent-encoded, as `$ssl_client_escaped_cert`.
pub(crate) fn escaped_pem(certificate: &CertificateDer<'_>) -> String {
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let encoded = STANDARD.encode(certificate);
    for line in encoded.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    let mut out = String::with_capacity(pem.len() + pem.len() / 8);
    for byte in pem.bytes() {
        // RFC 3986 section 2.3
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn parsed<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(certificate)
        .ok()
        .map(|(_, parsed)| parsed)
}

/// RFC 2253: last part first; as OpenSSL does, also within a part of several attributes.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut out = String::new();
    for part in name.iter_rdn().collect::<Vec<_>>().into_iter().rev() {
        let attributes: Vec<_> = part.iter().collect();
        for (index, attribute) in attributes.into_iter().rev().enumerate() {
            if !out.is_empty() {
                out.push(if index == 0 { ',' } else { '+' });
            }
            let number = attribute.attr_type().to_id_string();
            let short = short_name(&number);
            let value = short.and_then(|_| text(attribute.attr_value()));
            let value = value.map_or_else(|| dump(attribute.attr_value()), |text| escaped(&text));
            out.push_str(short.unwrap_or(&number));
            out.push('=');
            out.push_str(&value);
        }
    }
    out
}

/// OpenSSL's short name of an attribute; none of one that it would call by its number.
fn short_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "title",
        "2.5.4.13" => "description",
        "2.5.4.15" => "businessCategory",
        "2.5.4.17" => "postalCode",
        "2.5.4.41" => "name",
        "2.5.4.42" => "GN",
        "2.5.4.43" => "initials",
        "2.5.4.44" => "generationQualifier",
        "2.5.4.45" => "x500UniqueIdentifier",
        "2.5.4.46" => "dnQualifier",
        "2.5.4.65" => "pseudonym",
        "2.5.4.97" => "organizationIdentifier",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        "1.2.840.113549.1.9.2" => "unstructuredName",
        "1.3.6.1.4.1.311.60.2.1.1" => "jurisdictionL",
        "1.3.6.1.4.1.311.60.2.1.2" => "jurisdictionST",
        "1.3.6.1.4.1.311.60.2.1.3" => "jurisdictionC",
        _ => return None,
    })
}

/// A value that is a string of any kind (RFC 5280 section 4.1.2.4).
fn text(value: &Any<'_>) -> Option<String> {
    let bytes = value.data;
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::NumericString | Tag::Ia5String => {
            String::from_utf8(bytes.to_vec()).ok()
        }
        // Taken for Latin-1, as OpenSSL and others do.
        Tag::T61String => Some(bytes.iter().copied().map(char::from).collect()),
        Tag::BmpString => {
            let (units, []) = bytes.as_chunks() else {
                return None;
            };
            let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        _ => None,
    }
}

/// RFC 2253 section 2.4: what is no string, or of an unknown kind, is written as it is encoded.
fn dump(value: &Any<'_>) -> String {
    let encoded = value.to_der_vec().unwrap_or_default();
    let hex = encoded.iter().map(|byte| format!("{byte:02X}"));
    format!("#{}", hex.collect::<String>())
}

/// RFC 2253 section 2.4; bytes outside ASCII in hexadecimal, as OpenSSL writes them, so that the
/// value fits into a header.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => out.extend(['\\', char::from(byte)]),
            b'#' if at == 0 => out.push_str("\\#"),
            b' ' if at == 0 || at == last => out.push_str("\\ "),
            0x20..=0x7e => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_take_a_name_apart_is_escaped() {
        assert_eq!(escaped("a,b+c"), r"a\,b\+c");
        assert_eq!(escaped(" #x "), r"\ #x\ ");
        assert_eq!(escaped("#x"), r"\#x");
        assert_eq!(escaped("Müller\r\n"), r"M\C3\BCller\0D\0A");
    }
}
