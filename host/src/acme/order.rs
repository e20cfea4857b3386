//! One certificate, from the first request to the last: the account, the order, its challenge, the
//! chain.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, CertificateIdentifier, ChallengeType,
    ExternalAccountKey, Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{
    CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
    RsaKeySize,
};
use rustls::pki_types::Der;
use serde::{Deserialize, Serialize};

use super::challenges::{self, Answered};
use super::failure::Failure;
use super::http::AuthorityClient;
use super::store;
use crate::config::model::{AcmeAuthority, ChallengeKind, KeyType};
use crate::file::read_regular;
use crate::tls::{self, CertificateFacts};

/// Bytes of the file of an account.
const MOST: u64 = 64 << 10;
/// For the authority to look at a challenge, and to issue.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is kept of an account.
#[derive(Serialize, Deserialize)]
struct Kept {
    email: Option<String>,
    credentials: AccountCredentials,
}

fn account_file(authority: &AcmeAuthority) -> PathBuf {
    authority.folder().join("account.json")
}

/// Has the account made anew with the next order.
pub(super) fn forget_account(authority: &AcmeAuthority) {
    // It may not be there.
    let _ = std::fs::remove_file(account_file(authority));
}

/// The account, if one was made. Asks for the authority's directory.
///
/// # Errors
/// It cannot be read, or the authority does not answer.
pub(super) async fn known_account(
    authority: &AcmeAuthority,
    client: &AuthorityClient,
) -> Result<Option<Account>, Failure> {
    let path = account_file(authority);
    let bytes = match read_regular(&path, MOST) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&path, &error.to_string())),
    };
    let kept: Kept = serde_json::from_slice(&bytes)
        .map_err(|error| unreadable(&path, &format!("it is no account: {error}")))?;
    let builder = Account::builder_with_http(Box::new(client.clone()));
    let account = builder.from_credentials(kept.credentials).await;
    let account = account.map_err(of_authority)?;
    if kept.email != authority.email {
        let contact = contact(authority);
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let updated = account.update_contacts(&contact).await;
        updated.map_err(of_authority)?;
        let mut kept: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        kept["email"] = authority.email.clone().into();
        keep(&path, &kept)?;
    }
    Ok(Some(account))
}

fn unreadable(path: &Path, why: &str) -> Failure {
    let path = path.display();
    Failure::of_authority(format!(
        "the account cannot be read from `{path}`: {why}; without the file, one is made anew"
    ))
}

fn keep(path: &Path, kept: &impl Serialize) -> Result<(), Failure> {
    let bytes = serde_json::to_vec_pretty(kept).unwrap_or_default();
    store::write(path, &bytes).map_err(|error| Failure::of_store(path, &error))
}

fn contact(authority: &AcmeAuthority) -> Option<String> {
    authority
        .email
        .as_ref()
        .map(|email| format!("mailto:{email}"))
}

/// An account that is not known, or not wanted, is nothing about one domain.
fn of_authority(error: instant_acme::Error) -> Failure {
    Failure {
        of_authority: true,
        ..Failure::of(error, "", None)
    }
}

/// The account; a new one where there was none.
///
/// # Errors
/// There is none.
pub(super) async fn account(
    authority: &AcmeAuthority,
    client: &AuthorityClient,
) -> Result<Account, Failure> {
    if let Some(known) = known_account(authority, client).await? {
        return Ok(known);
    }
    let contact = contact(authority);
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let new = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let binding = authority.eab.as_ref().map(|eab| {
        // It was found to be base64url when it was read.
        let key = BASE64_URL_SAFE_NO_PAD.decode(&eab.key).unwrap_or_default();
        ExternalAccountKey::new(eab.kid.clone(), &key)
    });
    let builder = Account::builder_with_http(Box::new(client.clone()));
    let created = builder.create(&new, authority.directory.clone(), binding.as_ref());
    let (account, credentials) = created.await.map_err(of_authority)?;
    let email = authority.email.clone();
    keep(&account_file(authority), &Kept { email, credentials })?;
    Ok(account)
}

/// How a certificate is named to its authority (RFC 9773 section 4.1); none where it does not say
/// whose it is.
pub(super) fn identifier(facts: &CertificateFacts) -> Option<CertificateIdentifier<'static>> {
    let authority = Der::from_slice(facts.authority_key.as_deref()?);
    let serial = Der::from_slice(&facts.serial);
    Some(CertificateIdentifier::new(authority, serial).into_owned())
}

/// What is ordered.
pub(super) struct Wanted<'a> {
    pub(super) authority: &'a AcmeAuthority,
    pub(super) domain: &'a str,
    pub(super) key_type: KeyType,
    /// How often that has failed: another challenge has its turn each time.
    pub(super) failures: u32,
    /// The certificate whose place it takes, where the authority wants to know.
    pub(super) replaces: Option<CertificateIdentifier<'static>>,
}

impl Wanted<'_> {
    /// Orders, and returns a key and a chain in PEM.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn order(&self, account: &Account) -> Result<String, Failure> {
        let identifiers = [Identifier::Dns(self.domain.to_owned())];
        let new = NewOrder::new(&identifiers);
        let new = match &self.replaces {
            Some(replaced) => new.replaces(replaced.clone()),
            None => new,
        };
        let order = account.new_order(&new).await;
        let mut order = order.map_err(|error| Failure::of(error, self.domain, None))?;
        let mut tried = None;
        let answered = self.answer(&mut order, &mut tried).await?;
        if !answered.is_empty() {
            let ready = order.poll_ready(&patience()).await;
            if !matches!(ready, Ok(OrderStatus::Ready)) {
                return Err(self.refused(order, ready.err(), tried).await);
            }
        }
        drop(answered);
        let failed = |error| Failure::of(error, self.domain, None);
        let (key, request) = self.request().map_err(|error| {
            Failure::of_domain(format!("no key for `{}` can be made: {error}", self.domain))
        })?;
        order.finalize_csr(&request).await.map_err(failed)?;
        let chain = order.poll_certificate(&patience()).await.map_err(failed)?;
        let pem = key + &chain;
        let facts = tls::usable(pem.as_bytes()).map_err(|why| {
            Failure::of_authority(format!(
                "the certificate that was issued cannot be used: {why}"
            ))
        })?;
        match facts.names.iter().any(|name| name == self.domain) {
            true => Ok(pem),
            false => Err(Failure::of_authority(format!(
                "the certificate that was issued is not made out for `{}`",
                self.domain
            ))),
        }
    }

    /// Answers the challenges of an order, and tells the authority that it may look. None where the
    /// domain was shown to be ours before.
    async fn answer(
        &self,
        order: &mut Order,
        tried: &mut Option<ChallengeKind>,
    ) -> Result<Vec<Answered>, Failure> {
        let mut answered = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let authorization =
                authorization.map_err(|error| Failure::of(error, self.domain, None));
            let mut authorization = authorization?;
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                status => {
                    return Err(Failure::of_domain(format!(
                        "the authority has ended the validation of `{}` ({status:?})",
                        self.domain
                    )));
                }
            }
            let offered = |kind: &ChallengeKind| {
                let mut offered = authorization.challenges.iter();
                offered.any(|challenge| challenge.r#type == of_protocol(*kind))
            };
            let ours = self.authority.challenges.iter().copied();
            let usable: Vec<ChallengeKind> = ours.filter(offered).collect();
            let Some(kind) = usable
                .get(self.failures as usize % usable.len().max(1))
                .copied()
            else {
                let ours = self.authority.challenges.iter().map(|kind| kind.spelling());
                let ours = ours.collect::<Vec<_>>().join(", ");
                return Err(Failure::of_domain(format!(
                    "the authority offers no challenge for `{}` that can be answered here: {ours}",
                    self.domain
                )));
            };
            *tried = Some(kind);
            let Some(mut challenge) = authorization.challenge(of_protocol(kind)) else {
                continue; // it was offered
            };
            let proof = challenge.key_authorization();
            let digest = proof.digest();
            let given = (challenge.token.as_str(), proof.as_str(), digest.as_ref());
            let store = &self.authority.store;
            let answer = challenges::answer(kind, store, self.domain, given);
            answered.push(answer.map_err(|error| Failure::of_store(&store.path, &error))?);
            let told = challenge.set_ready().await;
            told.map_err(|error| Failure::of(error, self.domain, Some(kind)))?;
        }
        Ok(answered)
    }

    /// Why an order is not ready: the challenge says it better than the order.
    async fn refused(
        &self,
        mut order: Order,
        error: Option<instant_acme::Error>,
        tried: Option<ChallengeKind>,
    ) -> Failure {
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let Ok(state) = authorization.refresh().await else {
                continue;
            };
            let mut problems = state.challenges.iter();
            if let Some(problem) = problems.find_map(|challenge| challenge.error.clone()) {
                let error = instant_acme::Error::Api(problem);
                return Failure::of(error, self.domain, tried);
            }
        }
        match error {
            Some(error) => Failure::of(error, self.domain, tried),
            None => Failure::of_domain("the authority has given the order up".to_owned()),
        }
    }

    /// A new key in PEM, and a request for a certificate of it (RFC 2986).
    fn request(&self) -> Result<(String, Vec<u8>), rcgen::Error> {
        let mut params = CertificateParams::new([self.domain.to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        let key = new_key(self.key_type)?;
        let request = params.serialize_request(&key)?;
        Ok((key.serialize_pem(), request.der().to_vec()))
    }
}

fn new_key(key_type: KeyType) -> Result<KeyPair, rcgen::Error> {
    let rsa = |size| KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size);
    match key_type {
        KeyType::Ecdsa => KeyPair::generate(),
        KeyType::Ecdsa384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
        KeyType::Rsa2048 => rsa(RsaKeySize::_2048),
        KeyType::Rsa3072 => rsa(RsaKeySize::_3072),
        KeyType::Rsa4096 => rsa(RsaKeySize::_4096),
    }
}

fn of_protocol(kind: ChallengeKind) -> ChallengeType {
    match kind {
        ChallengeKind::Http01 => ChallengeType::Http01,
        ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
    }
}

fn patience() -> RetryPolicy {
    RetryPolicy::new().timeout(PATIENCE)
}
