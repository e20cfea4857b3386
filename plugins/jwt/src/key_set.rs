//! The keys of a file: a public key in PEM, or a set of them in JSON (RFC 7517, JWKS).

use base64::Engine;
use p256::pkcs8::DecodePublicKey;
use rsa::PublicKey as RsaPublicKey;
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::traits::PublicKeyParts;
use serde_json::Value;

use crate::algorithm::Algorithm;
use crate::key::Key;
use crate::token::BASE64URL;

/// Keys of one set.
const MOST_KEYS: usize = 64;
/// Keys that are tried for a token that does not name its own.
const MOST_TRIED: usize = 4;
/// What they may take together, as [`Key::cost_us`] has it. A call has 5 ms, and whoever makes up a
/// token must not be able to have it run past them.
const MOST_TRIED_US: u64 = 3_500;

/// Keys that tokens are verified with.
pub(crate) struct KeySet {
    keys: Vec<Key>,
    /// One key that has no name: whatever name a token gives, it is this one.
    is_single: bool,
}

impl KeySet {
    /// A set of one key.
    pub(crate) fn of(key: Key) -> KeySet {
        KeySet::new(vec![key], true)
    }

    fn new(keys: Vec<Key>, is_single: bool) -> KeySet {
        let set = KeySet { keys, is_single };
        // Those that one call may have to try. A key further behind has a name, and is prepared for
        // the first token that gives it: a set has up to 64, and no time for all of them.
        for key in set.candidates(Algorithm::Es384, None) {
            key.prepare();
        }
        set
    }

    /// Reads a file, and what was skipped of it.
    ///
    /// # Errors
    /// What is wrong with it, in one line: it has no key that can be used.
    pub(crate) fn read(content: &[u8]) -> Result<(KeySet, Vec<String>), String> {
        if content.trim_ascii_start().starts_with(b"{") {
            return jwks(content);
        }
        let key = pem(content.trim_ascii_start())?;
        Ok((KeySet::of(key), Vec::new()))
    }

    /// Leaves the keys to these algorithms.
    ///
    /// # Errors
    /// No key serves any of them.
    pub(crate) fn keep(&mut self, allowed: &[Algorithm]) -> Result<(), String> {
        self.keys.retain_mut(|key| key.keep(allowed));
        match self.keys.is_empty() {
            true => Err("no key is for these algorithms".to_owned()),
            false => Ok(()),
        }
    }

    /// The keys that a token may be signed with: those of its name, if it gives one. The first, and
    /// others that there is time for.
    pub(crate) fn candidates(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
    ) -> impl Iterator<Item = &Key> {
        let is_named = move |key: &&Key| match id {
            Some(id) if !self.is_single => key.id.as_deref() == Some(id),
            _ => true,
        };
        let keys = self.keys.iter().filter(is_named);
        let keys = keys.filter(move |key| key.serves(algorithm));
        let mut taken_us = 0;
        let in_time = move |key: &&Key| {
            let is_first = taken_us == 0;
            taken_us += key.cost_us();
            is_first || taken_us <= MOST_TRIED_US
        };
        keys.take(MOST_TRIED).take_while(in_time)
    }
}

fn pem(content: &[u8]) -> Result<Key, String> {
    let no_pem = |error| format!("it is neither PEM nor a JSON object: {error}");
    let (label, der) = pem_rfc7468::decode_vec(content).map_err(no_pem)?;
    match label {
        "PUBLIC KEY" => public_key(&der),
        "RSA PUBLIC KEY" => match RsaPublicKey::from_pkcs1_der(&der) {
            Ok(key) => rsa(&key),
            Err(error) => Err(format!("it is no RSA public key: {error}")),
        },
        "CERTIFICATE" => {
            Err("it is a certificate: take its key by `openssl x509 -pubkey -noout`".to_owned())
        }
        label if label.contains("PRIVATE KEY") => Err(
            "it is a private key, which has no place here: take the public one by `openssl pkey \
             -pubout`"
                .to_owned(),
        ),
        label => Err(format!("it is no public key but `{label}`")),
    }
}

/// SubjectPublicKeyInfo (RFC 5280) of any kind that is known.
fn public_key(der: &[u8]) -> Result<Key, String> {
    if let Ok(key) = RsaPublicKey::from_public_key_der(der) {
        return rsa(&key);
    }
    if let Ok(key) = p256::ecdsa::VerifyingKey::from_public_key_der(der) {
        return Key::p256(key.to_sec1_point(false).as_bytes());
    }
    if let Ok(key) = p384::ecdsa::VerifyingKey::from_public_key_der(der) {
        return Key::p384(key.to_sec1_point(false).as_bytes());
    }
    if let Ok(key) = ed25519_dalek::VerifyingKey::from_public_key_der(der) {
        return Key::ed25519(key.as_bytes());
    }
    Err("it is no public key of RSA, P-256, P-384 or Ed25519".to_owned())
}

fn rsa(key: &RsaPublicKey) -> Result<Key, String> {
    Key::rsa(&key.n_bytes(), &key.e_bytes())
}

fn jwks(content: &[u8]) -> Result<(KeySet, Vec<String>), String> {
    let set: Value =
        serde_json::from_slice(content).map_err(|error| format!("it is no JSON: {error}"))?;
    let values = match set["keys"].as_array() {
        Some(values) => values.as_slice(),
        // A key alone.
        None if set["kty"].is_string() => std::slice::from_ref(&set),
        None => return Err("it has no list of `keys`".to_owned()),
    };
    if values.len() > MOST_KEYS {
        return Err(format!(
            "it has {} keys, {MOST_KEYS} are the most",
            values.len()
        ));
    }
    let (mut keys, mut skipped) = (Vec::new(), Vec::new());
    for (number, value) in values.iter().enumerate() {
        match jwk(value) {
            Ok(key) => keys.push(key),
            Err(why) => skipped.push(format!("keys[{number}]: {why}")),
        }
    }
    if keys.is_empty() {
        let why = skipped.first().map_or("`keys` is empty", String::as_str);
        return Err(format!("it has no key that can be used: {why}"));
    }
    let is_single = keys.len() == 1 && keys[0].id.is_none();
    Ok((KeySet::new(keys, is_single), skipped))
}

/// A key in JSON: RFC 7517, section 4; RFC 7518, section 6; RFC 8037.
fn jwk(value: &Value) -> Result<Key, String> {
    let is_for_signatures = value["use"].as_str().is_none_or(|purpose| purpose == "sig");
    let operations = value["key_ops"].as_array();
    let verifies = |operations: &Vec<Value>| operations.iter().any(|each| each == "verify");
    if !is_for_signatures || !operations.is_none_or(verifies) {
        return Err("it is not for signatures".to_owned());
    }
    let bytes = |name: &str| {
        let encoded = value[name]
            .as_str()
            .ok_or_else(|| format!("`{name}` is missing"))?;
        let bytes = BASE64URL.decode(encoded);
        bytes.map_err(|_| format!("`{name}` is no base64url"))
    };
    let (kind, curve) = (value["kty"].as_str(), value["crv"].as_str());
    let mut key = match (kind.unwrap_or_default(), curve.unwrap_or_default()) {
        ("oct", _) => Key::secret(&bytes("k")?),
        ("RSA", _) => Key::rsa(&bytes("n")?, &bytes("e")?),
        ("EC", "P-256") => Key::p256(&point(bytes("x")?, bytes("y")?)),
        ("EC", "P-384") => Key::p384(&point(bytes("x")?, bytes("y")?)),
        ("OKP", "Ed25519") => Key::ed25519(&bytes("x")?),
        (kind, curve) => Err(format!("keys of `{kind}` `{curve}` are not known here")),
    }?;
    if let Some(name) = value["alg"].as_str() {
        let algorithm = Algorithm::named(name);
        if !algorithm.is_some_and(|algorithm| key.keep(&[algorithm])) {
            return Err(format!("its `alg`, `{name}`, does not go with it"));
        }
    }
    key.id = value["kid"].as_str().map(str::to_owned);
    Ok(key)
}

/// Both coordinates, as SEC1 writes a point that is not compressed.
fn point(x: Vec<u8>, y: Vec<u8>) -> Vec<u8> {
    [vec![4], x, y].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn keys_that_a_call_may_have_to_try_are_prepared_beforehand_and_no_others() {
        let key = |number: u8| {
            let key = p384::ecdsa::SigningKey::from_slice(&[number; 48]).unwrap();
            Key::p384(key.verifying_key().to_sec1_point(false).as_bytes()).unwrap()
        };
        let set = KeySet::new((1..=64).map(key).collect(), false);
        let prepared = set.keys.iter().map(Key::is_prepared);
        let expected = (0..64).map(|number| number < 3);
        assert!(prepared.eq(expected));
    }
}
