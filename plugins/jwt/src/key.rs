//! A key, and the algorithms that it is for. A key of one kind never serves another: which
//! signatures it can verify is part of it, and no token has a say in that.

use ed25519_dalek::VerifyingKey as Ed25519;
use hmac::{Hmac, KeyInit, Mac};
use rsa::signature::Verifier;
use rsa::traits::PublicKeyParts;
use rsa::{BoxedUint, PublicKey as RsaPublicKey, pkcs1v15, pss};
use sha2::{Sha256, Sha384, Sha512};

use crate::algorithm::Algorithm;
use crate::es384::Es384Key;

/// Bits of an RSA key: RFC 7518, section 3.3, and what a worker has time for.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// A key that signatures are verified with.
pub(crate) struct Key {
    pub(crate) id: Option<String>,
    algorithms: Vec<Algorithm>,
    material: Material,
}

enum Material {
    Secret(Vec<u8>),
    Rsa(Box<RsaPublicKey>),
    P256(Box<p256::ecdsa::VerifyingKey>),
    P384(Box<Es384Key>),
    Ed25519(Box<Ed25519>),
}

impl Key {
    /// A secret that both sides share.
    ///
    /// # Errors
    /// It is too short for any algorithm.
    pub(crate) fn secret(secret: &[u8]) -> Result<Key, String> {
        let algorithms = Algorithm::of_secret(secret.len());
        match algorithms.is_empty() {
            true => Err(format!(
                "a secret of {} bytes is too short: HS256 wants 32, HS384 48, HS512 64",
                secret.len()
            )),
            false => Ok(Key::new(algorithms, Material::Secret(secret.to_vec()))),
        }
    }

    /// An RSA key, by the bytes of its numbers.
    ///
    /// # Errors
    /// It is too small or too large, or makes no sense.
    pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Key, String> {
        let key = RsaPublicKey::new_with_size_limits(
            BoxedUint::from_be_slice_vartime(modulus),
            BoxedUint::from_be_slice_vartime(exponent),
            RSA_BITS,
        );
        let key = key.map_err(|error| {
            format!("an RSA key must be sound, and have from 2,048 to 4,096 bits: {error}")
        })?;
        let algorithms = Algorithm::RSA.to_vec();
        Ok(Key::new(algorithms, Material::Rsa(Box::new(key))))
    }

    /// A point on P-256, as SEC1 writes it.
    pub(crate) fn p256(point: &[u8]) -> Result<Key, String> {
        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point);
        let key = key.map_err(|_| "the point is not on P-256".to_owned())?;
        Ok(Key::new(
            vec![Algorithm::Es256],
            Material::P256(Box::new(key)),
        ))
    }

    /// A point on P-384, as SEC1 writes it.
    pub(crate) fn p384(point: &[u8]) -> Result<Key, String> {
        let key = Es384Key::from_sec1(point);
        let key = key.ok_or_else(|| "the point is not on P-384".to_owned())?;
        Ok(Key::new(
            vec![Algorithm::Es384],
            Material::P384(Box::new(key)),
        ))
    }

    /// A key of Ed25519.
    pub(crate) fn ed25519(bytes: &[u8]) -> Result<Key, String> {
        let key = bytes.try_into().ok();
        let key = key.and_then(|bytes| Ed25519::from_bytes(bytes).ok());
        let key = key.filter(|key| !key.is_weak());
        let key = key.ok_or_else(|| "it is no key of Ed25519".to_owned())?;
        Ok(Key::new(
            vec![Algorithm::EdDsa],
            Material::Ed25519(Box::new(key)),
        ))
    }

    fn new(algorithms: Vec<Algorithm>, material: Material) -> Key {
        Key {
            id: None,
            algorithms,
            material,
        }
    }

    /// Leaves it to these algorithms. Whether any is left.
    pub(crate) fn keep(&mut self, allowed: &[Algorithm]) -> bool {
        self.algorithms.retain(|each| allowed.contains(each));
        !self.algorithms.is_empty()
    }

    /// Computes what is the same for each signature, once it is known that there will be some.
    pub(crate) fn prepare(&self) {
        if let Material::P384(key) = &self.material {
            key.prepare();
        }
    }

    #[cfg(test)]
    pub(crate) fn is_prepared(&self) -> bool {
        matches!(&self.material, Material::P384(key) if key.is_prepared())
    }

    /// What a signature takes, in microseconds on a machine of 2026.
    pub(crate) fn cost_us(&self) -> u64 {
        match &self.material {
            Material::Secret(_) => 10,
            Material::Rsa(key) => 400 * (key.size() as u64).pow(2) / 256_u64.pow(2),
            Material::P256(_) => 600,
            Material::P384(_) => 900,
            Material::Ed25519(_) => 100,
        }
    }

    /// Whether it is for this algorithm.
    pub(crate) fn serves(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Whether a signature is this key's, by an algorithm that it [serves](Key::serves).
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.serves(algorithm) {
            return false;
        }
        match &self.material {
            Material::Secret(secret) => match algorithm {
                Algorithm::Hs256 => mac::<Hmac<Sha256>>(secret, message, signature),
                Algorithm::Hs384 => mac::<Hmac<Sha384>>(secret, message, signature),
                Algorithm::Hs512 => mac::<Hmac<Sha512>>(secret, message, signature),
                _ => false,
            },
            Material::Rsa(key) => rsa_verifies(key, algorithm, message, signature),
            Material::P256(key) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Material::P384(key) => key.verifies(message, signature),
            Material::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
        }
    }
}

/// Compares in constant time, and whole codes only.
fn mac<M: Mac + KeyInit>(secret: &[u8], message: &[u8], code: &[u8]) -> bool {
    let mac = <M as KeyInit>::new_from_slice(secret);
    mac.is_ok_and(|mac| mac.chain_update(message).verify_slice(code).is_ok())
}

fn rsa_verifies(
    key: &RsaPublicKey,
    algorithm: Algorithm,
    message: &[u8],
    signature: &[u8],
) -> bool {
    macro_rules! verifies {
        ($scheme:ident, $hash:ty) => {
            $scheme::Signature::try_from(signature).is_ok_and(|signature| {
                let key = $scheme::VerifyingKey::<$hash>::new(key.clone());
                key.verify(message, &signature).is_ok()
            })
        };
    }
    match algorithm {
        Algorithm::Rs256 => verifies!(pkcs1v15, Sha256),
        Algorithm::Rs384 => verifies!(pkcs1v15, Sha384),
        Algorithm::Rs512 => verifies!(pkcs1v15, Sha512),
        Algorithm::Ps256 => verifies!(pss, Sha256),
        Algorithm::Ps384 => verifies!(pss, Sha384),
        Algorithm::Ps512 => verifies!(pss, Sha512),
        _ => false,
    }
}
