//! The algorithms of RFC 7518, section 3, and RFC 8037: those that this hook knows, and no others.
//! There is no `none` here, and so no spelling of it is known.

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

use Algorithm::{
    EdDsa, Es256, Es384, Hs256, Hs384, Hs512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512,
};

impl Algorithm {
    /// All of them, with their names.
    pub(crate) const ALL: [(&str, Algorithm); 12] = [
        ("HS256", Hs256),
        ("HS384", Hs384),
        ("HS512", Hs512),
        ("RS256", Rs256),
        ("RS384", Rs384),
        ("RS512", Rs512),
        ("PS256", Ps256),
        ("PS384", Ps384),
        ("PS512", Ps512),
        ("ES256", Es256),
        ("ES384", Es384),
        ("EdDSA", EdDsa),
    ];
    /// What an RSA key may be for.
    pub(crate) const RSA: [Algorithm; 6] = [Rs256, Rs384, Rs512, Ps256, Ps384, Ps512];

    /// The algorithm of this name, letter for letter.
    pub(crate) fn named(name: &str) -> Option<Algorithm> {
        let all = Algorithm::ALL.iter();
        let mut named = all.filter(|(each, _)| *each == name);
        named.next().map(|(_, algorithm)| *algorithm)
    }

    /// Those that a secret of so many bytes is long enough for (RFC 7518, section 3.2).
    pub(crate) fn of_secret(length: usize) -> Vec<Algorithm> {
        let all = [(Hs256, 32), (Hs384, 48), (Hs512, 64)].into_iter();
        all.filter(|(_, least)| length >= *least)
            .map(|(algorithm, _)| algorithm)
            .collect()
    }
}
