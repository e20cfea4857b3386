//! `waypost certificate`: the certificates that clients are shown, and ordering one at once.

use clap::Subcommand;
use hyper::Method;

use super::client::{AdminClient, Content, PATIENT, segment};
use super::table::aligned;
use super::{CommandFailed, OutputFormat, Reach};
use crate::admin_api::{CertificateList, CertificateStatus};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CertificateCommand {
    /// Print the certificates, when they end, when they are renewed, and why not
    List {
        #[command(flatten)]
        reach: Reach,
        #[command(flatten)]
        form: OutputFormat,
    },
    /// Order a certificate at once, whenever it ends, and wait for what comes of it
    Renew {
        /// Its domain, as `waypost certificate list` has it
        name: String,
        #[command(flatten)]
        reach: Reach,
        #[command(flatten)]
        form: OutputFormat,
    },
}

pub(super) async fn answer(command: CertificateCommand) -> Result<String, CommandFailed> {
    match command {
        CertificateCommand::List { reach, form } => {
            let answer = reach.client()?.get("/certificates").await?;
            form.of(answer, |CertificateList { certificates }| {
                in_words(&certificates)
            })
        }
        CertificateCommand::Renew { name, reach, form } => {
            renew(&reach.client()?, &name, &form).await
        }
    }
}

async fn renew(
    client: &AdminClient,
    name: &str,
    form: &OutputFormat,
) -> Result<String, CommandFailed> {
    let path = format!("/certificates/{}/renew", segment(name));
    let answer = client.ask(Method::POST, &path, Content::Nothing, PATIENT);
    form.of(answer.await?, |renewed: CertificateStatus| {
        in_words(&[renewed])
    })
}

/// A table, and a line for each that could not be ordered.
fn in_words(certificates: &[CertificateStatus]) -> String {
    if certificates.is_empty() {
        return "no listener has a certificate\n".to_owned();
    }
    let heads = ["NAME", "STATE", "ENDS", "LEFT", "RENEWAL", "ISSUER"];
    let mut rows = vec![heads.map(str::to_owned)];
    let or_none = |text: Option<&String>| text.cloned().unwrap_or_else(|| "-".to_owned());
    for of in certificates {
        let left = of.days_left.map(|days| format!("{days}d"));
        let ordered = of.ordered.as_ref();
        let renewal = ordered.map(|ordered| ordered.next.clone());
        rows.push([
            of.name.clone(),
            of.state.clone(),
            or_none(of.not_after.as_ref()),
            or_none(left.as_ref()),
            renewal.unwrap_or_else(|| "by file".to_owned()),
            or_none(of.issuer.as_ref()),
        ]);
    }
    let mut text = aligned(&rows);
    for of in certificates {
        let error = of.ordered.as_ref();
        if let Some(error) = error.and_then(|ordered| ordered.last_error.as_ref()) {
            text += &format!("\n{}: {error}\n", of.name);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin_api::OrderedStatus;

    #[test]
    fn certificates_are_told_with_what_went_wrong() {
        let of_file = CertificateStatus {
            name: "b.example".to_owned(),
            state: "valid".to_owned(),
            not_after: Some("2030-01-01T00:00:00Z".to_owned()),
            days_left: Some(12),
            issuer: Some("CN=R".to_owned()),
            ..CertificateStatus::default()
        };
        let ordered = CertificateStatus {
            name: "a.example".to_owned(),
            state: "failing".to_owned(),
            ordered: Some(OrderedStatus {
                directory: "https://ca.example/".to_owned(),
                next: "2029-01-01T00:00:00Z".to_owned(),
                last_error: Some("no route".to_owned()),
            }),
            ..CertificateStatus::default()
        };
        assert_eq!(
            in_words(&[of_file, ordered]),
            "NAME       STATE    ENDS                  LEFT  RENEWAL               ISSUER\n\
             b.example  valid    2030-01-01T00:00:00Z  12d   by file               CN=R\n\
             a.example  failing  -                     -     2029-01-01T00:00:00Z  -\n\
             \na.example: no route\n"
        );
    }
}
