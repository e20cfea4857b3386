//! Certificates: of files and those that are ordered, seen and ordered anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Json, State};
use axum::http::StatusCode;

use super::Admin;
use super::routes::{ApiError, Named, wait};
use crate::acme::OrderStatus;
use crate::admin_api::{CertificateList, CertificateStatus, OrderedStatus};
use crate::control_plane::operator::ChangeRefused;
use crate::tls::CertificateFacts;

const DAY: i64 = 86_400;

pub(super) async fn list(State(admin): State<Admin>) -> Json<CertificateList> {
    Json(CertificateList {
        certificates: all(&admin),
    })
}

/// Has a certificate ordered at once, and waits for what comes of it.
pub(super) async fn renew(
    State(admin): State<Admin>,
    Named(name): Named<String>,
) -> Result<Json<CertificateStatus>, ApiError> {
    let name = name.to_ascii_lowercase();
    let is_of = |of: &&CertificateStatus| of.name == name;
    let certificates = all(&admin);
    let Some(known) = certificates.iter().find(is_of) else {
        let names = certificates.iter().map(|of| of.name.as_str());
        return Err(ApiError::unknown("certificate", &name, names));
    };
    if known.ordered.is_none() {
        let message = format!(
            "the certificate `{name}` is that of `{}`: whoever wrote the file renews it",
            known.file
        );
        return Err(ApiError::new(StatusCode::CONFLICT, message));
    }
    let _leave = wait(&admin)?;
    match admin.acme.renew(name.clone()).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => {
            let message = format!("no certificate for `{name}`: {why}");
            return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, message));
        }
        Err(_) => return Err(ChangeRefused::ending().into()),
    }
    // Whoever asks next gets it.
    super::routes::serve_certificates(&admin).await?;
    let renewed = all(&admin).into_iter().find(|of| of.name == name);
    renewed
        .map(Json)
        .ok_or_else(|| ChangeRefused::ending().into())
}

/// Those that are served, then those that are not there yet.
fn all(admin: &Admin) -> Vec<CertificateStatus> {
    let published = admin.published.load();
    let snapshot = &published.snapshot;
    let mut ordered = admin.acme.statuses();
    let binds = snapshot.config.binds();
    let mut found = Vec::<CertificateStatus>::new();
    let mut places = BTreeMap::<PathBuf, usize>::new();
    for (bind, tls) in binds.iter().zip(&snapshot.tls) {
        let listener = bind.address.to_string();
        for (file, facts) in tls.iter().flat_map(|tls| tls.certificate_facts()) {
            match places.get(file) {
                // A listener may have one file twice, for other names.
                Some(known) => {
                    if !found[*known].listeners.contains(&listener) {
                        found[*known].listeners.push(listener.clone());
                    }
                }
                None => {
                    places.insert(file.to_owned(), found.len());
                    let of = status(file, Some(&facts), ordered.get(file));
                    let listeners = vec![listener.clone()];
                    found.push(CertificateStatus { listeners, ..of });
                }
            }
        }
    }
    ordered.retain(|file, _| !places.contains_key(file));
    let missing = ordered.iter();
    found.extend(missing.map(|(file, order)| status(file, None, Some(order))));
    found
}

fn status(
    file: &Path,
    facts: Option<&CertificateFacts>,
    order: Option<&OrderStatus>,
) -> CertificateStatus {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = i64::try_from(now.unwrap_or_default().as_secs()).unwrap_or(i64::MAX);
    let file = file.display().to_string();
    let of_file = match facts {
        Some(facts) if facts.not_after < now => "expired",
        Some(facts) if facts.not_before > now => "not yet valid",
        _ => "valid",
    };
    let first = facts.and_then(|facts| facts.names.first().cloned());
    let domain = order.map(|order| order.domain.clone());
    CertificateStatus {
        name: domain.or(first).unwrap_or_else(|| file.clone()),
        names: facts.map_or_else(Vec::new, |facts| facts.names.clone()),
        state: match order {
            Some(order) if of_file == "valid" || order.state != "valid" => order.state.to_owned(),
            _ => of_file.to_owned(),
        },
        issuer: facts.map(|facts| facts.issuer.clone()),
        not_before: facts.map(|facts| moment(facts.not_before)),
        not_after: facts.map(|facts| moment(facts.not_after)),
        days_left: facts.map(|facts| (facts.not_after - now).div_euclid(DAY)),
        file,
        listeners: Vec::new(),
        ordered: order.map(|order| OrderedStatus {
            directory: order.directory.clone(),
            next: moment(order.next),
            last_error: order.last_error.clone(),
        }),
    }
}

/// RFC 3339, in UTC.
fn moment(seconds: i64) -> String {
    let moment = jiff::Timestamp::from_second(seconds);
    moment.map_or_else(|_| String::new(), |moment| moment.to_string())
}
