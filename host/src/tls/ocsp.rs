//! OCSP responses (RFC 6960 section 4.2.1): whether one is worth stapling.
//!
//! One that has expired, or is about another certificate, is worse than none: a client that is
//! shown it ends the handshake, where it would go on without. So it is left out, with a warning.
//! Its signature is for clients to check, and so are the certificates in it: none of that is read.
//! What is read goes by the few elements that matter here, each taken apart by asn1-rs.

use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::asn1_rs::Any;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use super::Warnings;
use super::file::{FileReader, MAX_SIZE, problem};
use crate::config::model::NamedFile;
use crate::config::problem::Problem;

/// A response to be shown with a certificate.
#[derive(Debug)]
pub(super) struct Staple {
    pub(super) response: Vec<u8>,
    /// Where the responder says when there is a newer one.
    pub(super) until: Option<UnixTime>,
}

/// The response in a file, unless clients had better not see it, which is a warning.
///
/// # Errors
/// Where the file cannot be read, or is no response at all.
pub(super) fn staple(
    file: &NamedFile,
    certificate: &CertificateDer<'_>,
    files: &mut FileReader,
    warnings: &mut Warnings,
) -> Result<Option<Staple>, Problem> {
    let response = files.read(file, "OCSP response", MAX_SIZE)?;
    let path = file.path.display();
    let Some(answer) = answer(&response) else {
        let message = format!("`{path}` is not an OCSP response in DER");
        return Err(problem(file, message).hint("`openssl ocsp -respout FILE` writes one"));
    };
    let parsed = X509Certificate::from_der(certificate);
    let serial = parsed
        .as_ref()
        .map_or(&[][..], |(_, parsed)| parsed.raw_serial());
    match worth(&answer, serial, UnixTime::now()) {
        Ok(until) => Ok(Some(Staple { response, until })),
        Err(why) => {
            let message = format!("the OCSP response `{path}` is not stapled: {why}");
            warnings.push(problem(file, message).hint("have the responder asked for another one"));
            Ok(None)
        }
    }
}

/// What a responder answers.
#[derive(Debug, PartialEq)]
enum OcspResponse<'a> {
    /// Nothing, by this number (`OCSPResponseStatus`).
    Refused(u8),
    About(Vec<Single<'a>>),
}

/// What it says of one certificate.
#[derive(Debug, PartialEq)]
struct Single<'a> {
    serial: &'a [u8],
    status: OcspStatus,
    /// Seconds since 1970.
    this_update: i64,
    next_update: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum OcspStatus {
    Good,
    Revoked,
    Unknown,
}

/// Until when the certificate of that number may be shown with an answer; else why it should not
/// be.
fn worth(
    answer: &OcspResponse<'_>,
    serial: &[u8],
    now: UnixTime,
) -> Result<Option<UnixTime>, String> {
    let singles = match answer {
        OcspResponse::Refused(number) => {
            let words = match number {
                1 => "malformed request",
                2 => "internal error",
                3 => "try later",
                5 => "signature required",
                6 => "unauthorized",
                _ => "no answer",
            };
            return Err(format!("all that it says is \"{words}\""));
        }
        OcspResponse::About(singles) => singles,
    };
    let Some(single) = singles.iter().find(|single| single.serial == serial) else {
        return Err("it is about another certificate".to_owned());
    };
    match single.status {
        OcspStatus::Good => {}
        OcspStatus::Revoked => return Err("it says that the certificate is revoked".to_owned()),
        OcspStatus::Unknown => return Err("it says that the certificate is unknown".to_owned()),
    }
    let now = now.as_secs().cast_signed();
    if single.this_update > now {
        return Err("it is not valid yet: is the clock right?".to_owned());
    }
    if single.next_update.is_some_and(|next| next < now) {
        return Err("it has expired".to_owned());
    }
    let until = single.next_update.and_then(|next| next.try_into().ok());
    Ok(until.map(|seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds))))
}

/// Identifier octets (X.690 section 8.1.2) of what a response is made of.
mod identifier {
    pub(super) const INTEGER: u8 = 0x02;
    pub(super) const OCTET_STRING: u8 = 0x04;
    pub(super) const OID: u8 = 0x06;
    pub(super) const ENUMERATED: u8 = 0x0a;
    pub(super) const TIME: u8 = 0x18;
    pub(super) const SEQUENCE: u8 = 0x30;
    pub(super) const GOOD: u8 = 0x80;
    pub(super) const UNKNOWN: u8 = 0x82;
    pub(super) const TAGGED_0: u8 = 0xa0;
    pub(super) const TAGGED_1: u8 = 0xa1;
    pub(super) const TAGGED_2: u8 = 0xa2;
}

/// `OCSPResponse`. None where it is none.
fn answer(mut bytes: &[u8]) -> Option<OcspResponse<'_>> {
    use identifier::*;
    let mut response = take(&mut bytes, SEQUENCE)?;
    match take(&mut response, ENUMERATED)? {
        [0] => {}
        [status] => return Some(OcspResponse::Refused(*status)),
        _ => return None,
    }
    let mut response = take(&mut response, TAGGED_0)?;
    let mut response = take(&mut response, SEQUENCE)?;
    take(&mut response, OID)?;
    let mut basic = take(&mut response, OCTET_STRING)?;
    let mut basic = take(&mut basic, SEQUENCE)?;
    let mut data = take(&mut basic, SEQUENCE)?;
    let _version = take(&mut data, TAGGED_0);
    let _responder = take(&mut data, TAGGED_1).or_else(|| take(&mut data, TAGGED_2))?;
    take(&mut data, TIME)?;
    let mut list = take(&mut data, SEQUENCE)?;
    let mut singles = Vec::new();
    while !list.is_empty() {
        singles.push(single(take(&mut list, SEQUENCE)?)?);
    }
    Some(OcspResponse::About(singles))
}

/// `SingleResponse`.
fn single(mut bytes: &[u8]) -> Option<Single<'_>> {
    use identifier::*;
    let mut id = take(&mut bytes, SEQUENCE)?;
    take(&mut id, SEQUENCE)?;
    take(&mut id, OCTET_STRING)?;
    take(&mut id, OCTET_STRING)?;
    let serial = take(&mut id, INTEGER)?;
    let status = if take(&mut bytes, GOOD).is_some() {
        OcspStatus::Good
    } else if take(&mut bytes, TAGGED_1).is_some() {
        OcspStatus::Revoked
    } else {
        take(&mut bytes, UNKNOWN)?;
        OcspStatus::Unknown
    };
    let this_update = time(&mut bytes)?;
    let next_update = match take(&mut bytes, TAGGED_0) {
        Some(mut tagged) => Some(time(&mut tagged)?),
        None => None,
    };
    Some(Single {
        serial,
        status,
        this_update,
        next_update,
    })
}

/// The content of an element that begins with this octet, which is then behind us.
fn take<'a>(bytes: &mut &'a [u8], identifier: u8) -> Option<&'a [u8]> {
    if bytes.first() != Some(&identifier) {
        return None;
    }
    let (rest, element) = Any::from_der(bytes).ok()?;
    *bytes = rest;
    Some(element.data)
}

fn time(bytes: &mut &[u8]) -> Option<i64> {
    let (rest, time) = ASN1Time::from_der(bytes).ok()?;
    *bytes = rest;
    Some(time.timestamp())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    const SERIAL: [u8; 3] = [0, 0x8f, 1];
    /// The first second of 2026.
    const NOW: u64 = 1_767_225_600;

    fn element(identifier: u8, content: &[&[u8]]) -> Vec<u8> {
        let content = content.concat();
        let length = u8::try_from(content.len()).unwrap();
        let length = if length < 0x80 {
            vec![length]
        } else {
            vec![0x81, length]
        };
        [vec![identifier], length, content].concat()
    }

    fn at(time: &str) -> Vec<u8> {
        element(0x18, &[time.as_bytes()])
    }

    fn response(serial: &[u8], status: &[u8], from: &str, to: Option<&str>) -> Vec<u8> {
        let algorithm = element(0x30, &[&element(6, &[&[0x2b, 14, 3, 2, 26]])]);
        let hash = element(4, &[&[7; 20]]);
        let id = element(0x30, &[&algorithm, &hash, &hash, &element(2, &[serial])]);
        let to = to.map(|to| element(0xa0, &[&at(to)])).unwrap_or_default();
        let single = element(0x30, &[&id, status, &at(from), &to]);
        let responder = element(0xa2, &[&hash]);
        let list = element(0x30, &[&single]);
        let data = element(0x30, &[&responder, &at(from), &list]);
        let basic = element(0x30, &[&data]);
        let kind = element(6, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1]]);
        let inner = element(0x30, &[&kind, &element(4, &[&basic])]);
        element(0x30, &[&element(10, &[&[0]]), &element(0xa0, &[&inner])])
    }

    fn said(response: &[u8]) -> Result<Option<u64>, String> {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW));
        let until = worth(&answer(response).unwrap(), &SERIAL, now)?;
        Ok(until.map(|until| until.as_secs()))
    }

    const GOOD: &[u8] = &[0x80, 0];
    const REVOKED: &[u8] = &[
        0xa1, 17, 0x18, 15, b'2', b'0', b'2', b'5', b'0', b'1', b'0', b'1', b'0', b'0', b'0', b'0',
        b'0', b'0', b'Z',
    ];

    #[test]
    fn a_good_answer_is_shown_until_there_is_a_newer_one() {
        let (from, to) = ("20251231000000Z", "20260101000100Z");
        assert_eq!(
            said(&response(&SERIAL, GOOD, from, Some(to))),
            Ok(Some(NOW + 60))
        );
        assert_eq!(said(&response(&SERIAL, GOOD, from, None)), Ok(None));
    }

    #[test]
    fn an_answer_that_would_break_handshakes_is_not_shown() {
        let (from, to) = ("20251231000000Z", "20260102000000Z");
        for (serial, status, from, to, why) in [
            (&[5][..], GOOD, from, to, "another certificate"),
            (&SERIAL, REVOKED, from, to, "revoked"),
            (&SERIAL, &[0x82, 0], from, to, "unknown"),
            (&SERIAL, GOOD, from, "20251231235959Z", "expired"),
            (&SERIAL, GOOD, "20260101000001Z", to, "not valid yet"),
        ] {
            let said = said(&response(serial, status, from, Some(to))).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        let later = said(&[0x30, 3, 10, 1, 3]).unwrap_err();
        assert!(later.contains("try later"), "{later}");
    }

    #[test]
    fn what_is_cut_off_is_no_answer() {
        let whole = response(&SERIAL, GOOD, "20251231000000Z", Some("20260102000000Z"));
        for length in 0..whole.len() {
            assert_eq!(answer(&whole[..length]), None, "{length}");
        }
        assert_eq!(answer(b"-----BEGIN"), None);
    }
}
