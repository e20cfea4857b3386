//! Signatures of ES384, with what can be computed once for each key.
//!
//! `p384` verifies one in some 2.3 ms here, of 5 that a call may have: most of it are the 384
//! doublings of a point that a scalar of 384 bits takes. A key stays, so they are made beforehand:
//! a scalar is cut into eight parts, and the table of a point has it doubled up to where each part
//! begins. That leaves 48 doublings, and 0.9 ms.
//!
//! Nothing here is secret, so nothing has to take the same time each time. The arithmetic of points
//! and scalars is that of `p384`, and tests compare the answers with its own.

use std::array;
use std::cell::OnceCell;
use std::sync::OnceLock;

use p384::ecdsa::{Signature, VerifyingKey};
use p384::elliptic_curve::Group;
use p384::elliptic_curve::consts::U5;
use p384::elliptic_curve::ff::PrimeField;
use p384::elliptic_curve::ops::Reduce;
use p384::elliptic_curve::point::AffineCoordinates;
use p384::{FieldBytes, ProjectivePoint, Scalar};
use sha2::{Digest, Sha384};
use wnaf::{WnafBase, WnafScalar};

/// More of them would save doublings that are few already; each takes a kilobyte and 0.2 ms.
const PARTS: usize = 8;
const BYTES_OF_PART: usize = 48 / PARTS;

/// A point on P-384 that signatures are verified with.
pub(crate) struct Es384Key {
    point: ProjectivePoint,
    table: OnceCell<Box<Table>>,
}

impl Es384Key {
    /// The key that is this point, as SEC1 writes it. None if it is not on the curve.
    pub(crate) fn from_sec1(point: &[u8]) -> Option<Es384Key> {
        let key = VerifyingKey::from_sec1_bytes(point).ok()?;
        Some(Es384Key {
            point: key.as_affine().into(),
            table: OnceCell::new(),
        })
    }

    /// Makes the tables, unless they are there: 2 ms that a request is to be spared.
    pub(crate) fn prepare(&self) {
        generator();
        self.table();
    }

    #[cfg(test)]
    pub(crate) fn is_prepared(&self) -> bool {
        self.table.get().is_some()
    }

    fn table(&self) -> &Table {
        self.table.get_or_init(|| Table::new(self.point).into())
    }

    /// Whether a signature is this key's: FIPS 186-5, section 6.4.2.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        // It sees to both numbers being from 1 to the order of the curve less 1.
        let Ok(signature) = Signature::from_slice(signature) else {
            return false;
        };
        let (r, s) = signature.split_scalars();
        let Some(inverse) = s.invert_vartime().into_option() else {
            return false;
        };
        // As long as the order, and so none of its bits is cut off.
        let digest = <Scalar as Reduce<FieldBytes>>::reduce(&Sha384::digest(message));
        let of_generator = parts(&(digest * inverse));
        let of_key = parts(&(*r * inverse));
        let pairs = generator().0.iter().zip(&of_generator);
        let sum = WnafBase::multiscalar_mul(pairs.chain(self.table().0.iter().zip(&of_key)));
        // The point at infinity has 0 here, which `r` is not.
        let x = sum.to_affine().x();
        <Scalar as Reduce<FieldBytes>>::reduce(&x) == *r
    }
}

/// A point, and what it is multiplied with where each part of a scalar begins, lowest first; of
/// each, the odd multiples up to 15.
struct Table([WnafBase<ProjectivePoint, U5>; PARTS]);

impl Table {
    fn new(point: ProjectivePoint) -> Table {
        let mut next = point;
        Table(array::from_fn(|part| {
            if part > 0 {
                for _ in 0..8 * BYTES_OF_PART {
                    next = next.double();
                }
            }
            WnafBase::new(&next)
        }))
    }
}

fn generator() -> &'static Table {
    static TABLE: OnceLock<Box<Table>> = OnceLock::new();
    TABLE.get_or_init(|| Table::new(ProjectivePoint::GENERATOR).into())
}

fn parts(scalar: &Scalar) -> [WnafScalar<Scalar, U5>; PARTS] {
    let mut bytes = scalar.to_repr();
    bytes.reverse();
    array::from_fn(|part| {
        let bytes = &bytes[part * BYTES_OF_PART..][..BYTES_OF_PART];
        WnafScalar::from_le_bytes(bytes)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use p384::ecdsa::SigningKey;
    use p384::ecdsa::signature::{Signer, Verifier};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn every_signature_is_judged_as_by_the_library(
            secret: [u8; 32], message: Vec<u8>, byte in 0..96_usize, change: u8,
        ) {
            let mut padded = [1; 48];
            padded[16..].copy_from_slice(&secret);
            let signing = SigningKey::from_slice(&padded).unwrap();
            let library = signing.verifying_key();
            let key = Es384Key::from_sec1(library.to_sec1_point(false).as_bytes()).unwrap();
            let signature: Signature = signing.sign(&message);
            let mut bytes = signature.to_bytes();
            prop_assert!(key.verifies(&message, &bytes));
            bytes[byte] ^= change;
            let expected = Signature::from_slice(&bytes)
                .is_ok_and(|signature| library.verify(&message, &signature).is_ok());
            prop_assert_eq!(key.verifies(&message, &bytes), expected);
            prop_assert_eq!(key.verifies(b"another", &signature.to_bytes()), message == b"another");
        }
    }

    #[test]
    fn numbers_out_of_range_are_no_signature() {
        let signing = SigningKey::from_slice(&[7; 48]).unwrap();
        let point = signing.verifying_key().to_sec1_point(false);
        let key = Es384Key::from_sec1(point.as_bytes()).unwrap();
        let good: Signature = signing.sign(b"message");
        let good = good.to_bytes();
        let order = <p384::NistP384 as p384::elliptic_curve::Curve>::ORDER;
        let order = order.to_be_bytes();
        for half in [0..48, 48..96] {
            for wrong in [[0; 48].as_slice(), order.as_ref(), &[0xff; 48]] {
                let mut bytes = good;
                bytes[half.clone()].copy_from_slice(wrong);
                assert!(!key.verifies(b"message", &bytes));
            }
        }
        assert!(!key.verifies(b"message", &good[..95]));
        assert!(!key.verifies(b"message", &[good.as_slice(), &[0]].concat()));
        assert!(!key.verifies(b"message", b""));
    }

    #[test]
    fn a_point_that_is_not_on_the_curve_is_no_key() {
        let signing = SigningKey::from_slice(&[7; 48]).unwrap();
        let mut point = signing
            .verifying_key()
            .to_sec1_point(false)
            .as_bytes()
            .to_vec();
        assert!(Es384Key::from_sec1(&point).is_some());
        point[96] ^= 1;
        assert!(Es384Key::from_sec1(&point).is_none());
        assert!(Es384Key::from_sec1(&[0]).is_none());
    }
}
