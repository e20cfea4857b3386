//! The hosts that requests name, as they were parsed before.
//!
//! Nearly all requests name a host that one a moment ago has named, letter by letter. To check it, to
//! fold it and to have it in memory of its own takes far longer than to find it here.

use std::cell::RefCell;
use std::rc::Rc;

use crate::http::authority::{Authority, BadAuthority};

/// How many are kept, each in the one place that its bytes lead to; a power of two.
const PLACES: usize = 64;
/// Bytes of one that is kept: no host in the DNS is longer, with a port.
const LONGEST: usize = 264;

/// A worker's.
pub(crate) struct HostNames {
    places: RefCell<[Option<Known>; PLACES]>,
    none: Rc<str>,
}

struct Known {
    /// As a request had it.
    text: Box<[u8]>,
    host: Rc<str>,
}

impl Default for HostNames {
    fn default() -> HostNames {
        HostNames {
            places: RefCell::new([const { None }; PLACES]),
            none: Rc::default(),
        }
    }
}

impl HostNames {
    /// That of a request which names none.
    pub(crate) fn none(&self) -> Rc<str> {
        self.none.clone()
    }

    /// The host of an authority, as [`Authority::parse`] has it.
    ///
    /// # Errors
    /// Those of [`Authority::parse`].
    pub(crate) fn host_of(&self, text: &[u8]) -> Result<Rc<str>, BadAuthority> {
        let mut places = self.places.borrow_mut();
        let place = &mut places[place_of(text)];
        if let Some(known) = place
            && *known.text == *text
        {
            return Ok(known.host.clone());
        }
        let host: Rc<str> = Authority::parse(text)?.host.into();
        if text.len() <= LONGEST {
            *place = Some(Known {
                text: text.into(),
                host: host.clone(),
            });
        }
        Ok(host)
    }
}

/// Which place such a text has: by its length and its last eight bytes, where hosts of one process
/// differ, or their ports.
fn place_of(text: &[u8]) -> usize {
    let mut last = [0; 8];
    let end = &text[text.len().saturating_sub(8)..];
    last[..end.len()].copy_from_slice(end);
    let mixed = (u64::from_le_bytes(last) ^ text.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 32) as usize % PLACES
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_host_is_parsed_once_and_shared() {
        let names = HostNames::default();
        let first = names.host_of(b"Example.com:8080").unwrap();
        let second = names.host_of(b"Example.com:8080").unwrap();
        assert_eq!(&*first, "example.com");
        assert!(Rc::ptr_eq(&first, &second));
    }

    #[test]
    fn what_is_too_long_or_wrong_is_not_kept() {
        let names = HostNames::default();
        let long = "a".repeat(LONGEST + 1);
        assert_eq!(&*names.host_of(long.as_bytes()).unwrap(), long);
        assert!(names.host_of(b"a b").is_err());
        assert!(names.places.borrow().iter().all(Option::is_none));
    }

    proptest! {
        #[test]
        fn it_is_as_the_parser_has_it_whatever_came_before(texts: Vec<Vec<u8>>, hosts: Vec<[char; 3]>) {
            let names = HostNames::default();
            let hosts = hosts.iter().map(|host| String::from_iter(host).into_bytes());
            for text in texts.into_iter().chain(hosts) {
                let parsed = Authority::parse(&text).map(|parsed| parsed.host.into_owned());
                for _ in 0..2 {
                    let host = names.host_of(&text).map(|host| host.to_string());
                    prop_assert_eq!(&host, &parsed);
                }
            }
        }
    }
}
