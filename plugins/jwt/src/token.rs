//! A token as it was received: RFC 7515, section 3.1 (JWS, compact).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::algorithm::Algorithm;

/// base64url without padding, in the one form that there is for some bytes.
pub(crate) const BASE64URL: GeneralPurpose = URL_SAFE_NO_PAD;

/// The longest token, in bytes: that of a request's whole head is not much more.
pub(crate) const LONGEST: usize = 8 << 10;

/// A token, before its signature was verified.
pub(crate) struct Token<'a> {
    /// What is signed.
    pub(crate) message: &'a [u8],
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<String>,
    pub(crate) signature: Vec<u8>,
    payload: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(token: &'a [u8]) -> Result<Token<'a>, &'static str> {
        if token.len() > LONGEST {
            return Err("it is longer than 8 KiB");
        }
        let mut parts = token.split(|&byte| byte == b'.');
        let parts = (parts.next(), parts.next(), parts.next(), parts.next());
        let (Some(header), Some(payload), Some(signature), None) = parts else {
            return Err("it does not have three parts");
        };
        let decode = |part| BASE64URL.decode(part).map_err(|_| "it is no base64url");
        let Object(mut fields) = object(&decode(header)?, "its header is no object of JSON")?;
        if fields.contains_key("crit") {
            return Err("it has an extension that must be understood, and is not");
        }
        let algorithm = fields.get("alg").and_then(Value::as_str);
        let algorithm = algorithm.and_then(Algorithm::named);
        let key_id = match fields.remove("kid") {
            None => None,
            Some(Value::String(id)) => Some(id),
            Some(_) => return Err("its `kid` is no text"),
        };
        Ok(Token {
            message: &token[..header.len() + 1 + payload.len()],
            algorithm: algorithm.ok_or("its algorithm is not known")?,
            key_id,
            signature: decode(signature)?,
            payload: decode(payload)?,
        })
    }

    /// What it claims. To be asked when the signature was verified.
    ///
    /// # Errors
    /// It is no object, or has a claim twice.
    pub(crate) fn claims(&self) -> Result<Map<String, Value>, &'static str> {
        object(&self.payload, "its claims are no object of JSON").map(|Object(claims)| claims)
    }
}

fn object(json: &[u8], what: &'static str) -> Result<Object, &'static str> {
    serde_json::from_slice(json).map_err(|_| what)
}

/// An object that has each of its keys once: of two, other readers may take the other one.
struct Object(Map<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Object;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Object, A::Error> {
                let mut map = Map::new();
                while let Some((key, value)) = access.next_entry::<String, Value>()? {
                    if map.insert(key, value).is_some() {
                        return Err(A::Error::custom("a key is there twice"));
                    }
                }
                Ok(Object(map))
            }
        }
        deserializer.deserialize_map(Once)
    }
}
