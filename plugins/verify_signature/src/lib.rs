//! `verify_signature`: lets webhooks in that their sender has signed: an HMAC with SHA-256 over the
//! body, and the time where the sender tells it, as GitHub, Stripe and Slack have it.
//!
//! A request without a signature is refused before its body is read. Signatures are compared in a
//! time that does not depend on where they differ, and what was wrong is told the log alone.
//!
//! Nothing depends on other requests, so each worker has an instance.

mod form;

use std::time::Duration;

use waypost_sdk::log::{self, Level};
use waypost_sdk::metrics::Counter;
use waypost_sdk::{
    About, Beyond, Body, Bound, Call, Describe, FileChanges, Hook, Manner, OnRequest,
    OnRequestBody, Schema, Settings, SettingsError, Sharing, Verdict, clock,
};

use form::Form;

/// What a body has unless the settings say otherwise.
const LIMIT: u64 = 1 << 20;
/// Half of the memory that an instance has: it is there as it came and as it is looked at.
const LARGEST: u64 = 8 << 20;
/// How old a signature may be: Stripe's and Slack's own choice.
const TOLERANCE: Duration = Duration::from_secs(300);
const REFUSED: u16 = 401;

/// The senders that it believes.
pub struct VerifySignature {
    form: Form,
    /// Any of them may have signed: so one can be replaced by another.
    secrets: Vec<Vec<u8>>,
    /// Where they are read from; none where the settings have them.
    file: Option<String>,
    tolerance: Duration,
    limit: u32,
    refused: Counter,
}

impl Hook for VerifySignature {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        settings.refuse_streams("use it at a listener or a route")?;
        let forms = [
            ("github", Form::GitHub),
            ("stripe", Form::Stripe),
            ("slack", Form::Slack),
        ];
        let form = settings.choice("form", &forms)?;
        let form = form.ok_or_else(|| settings.missing("form"))?;
        let written = settings.texts("secret")?;
        let file = settings.file("secret_file")?;
        let (secrets, file) = match (written.is_empty(), file) {
            (true, None) => return Err(settings.missing("secret_file")),
            (false, Some(_)) => {
                let message = "`secret` and `secret_file` do not go together";
                return Err(settings.error("secret_file", message));
            }
            (false, None) => {
                let secrets = written.into_iter().map(String::into_bytes);
                (secrets.collect(), None)
            }
            (true, Some(file)) => {
                let secrets = of_file(file.content.as_deref());
                if secrets.is_empty() {
                    let message = format!("`{}` has no secret: one in a line", file.path);
                    return Err(settings.error("secret_file", &message));
                }
                (secrets, Some(file.path))
            }
        };
        if secrets.iter().any(|secret: &Vec<u8>| secret.is_empty()) {
            return Err(settings.error("secret", "a secret must not be empty"));
        }
        let tolerance = settings.duration("tolerance")?;
        if tolerance.is_some() && !form.has_time() {
            let message = "GitHub's signatures have no time: leave `tolerance` out";
            return Err(settings.error("tolerance", message));
        }
        let limit = settings.size("limit")?.unwrap_or(LIMIT);
        if limit > LARGEST {
            return Err(settings.error("limit", "a body that is signed has 8m at most"));
        }
        settings.finish()?;
        Ok(VerifySignature {
            form,
            secrets,
            file,
            tolerance: tolerance.unwrap_or(TOLERANCE),
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            refused: Counter::named("refused"),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }
}

/// The secrets in a file, one in a line.
fn of_file(content: Option<&[u8]>) -> Vec<Vec<u8>> {
    let lines = content.unwrap_or_default().split(|byte| *byte == b'\n');
    let secrets = lines.map(|line| line.trim_ascii().to_vec());
    secrets.filter(|secret| !secret.is_empty()).collect()
}

impl VerifySignature {
    fn refuse(&self, call: &Call, why: &str) -> Verdict {
        log::exchange(Level::Info, &format!("the signature was refused: {why}"));
        self.refused.add(1);
        call.changes().answer(REFUSED, "");
        Verdict::Answer
    }
}

impl OnRequest for VerifySignature {
    fn on_request(&mut self, call: &Call) -> Verdict {
        if let Err(why) = self.form.signed(call, self.tolerance, clock::wall_ms()) {
            return self.refuse(call, why);
        }
        let bound = Bound {
            at_most: self.limit,
            beyond: Beyond::Refuse,
        };
        match call.bodies().want_request(Manner::Whole(bound)) {
            true => Verdict::Proceed,
            false => self.refuse(call, "the body cannot be had"),
        }
    }
}

impl OnRequestBody for VerifySignature {
    fn on_request_body(&mut self, call: &Call, body: Body) -> Verdict {
        // The time counts when the head was there: a body may take longer than it is good for.
        match self.form.signed(call, Duration::MAX, 0) {
            Ok(signed) if signed.is_by(&self.secrets, &body.bytes) => Verdict::Proceed,
            Ok(_) => self.refuse(call, "none of the secrets has made it"),
            Err(why) => self.refuse(call, why),
        }
    }
}

impl FileChanges for VerifySignature {
    fn changed(&mut self, path: &str, content: Option<&[u8]>) {
        if self.file.as_deref() == Some(path) {
            self.secrets = of_file(content);
            if self.secrets.is_empty() {
                log::warn(&format!(
                    "`{path}` has no secret: every signature is refused"
                ));
            }
        }
    }
}

impl Describe for VerifySignature {
    fn describe() -> About {
        About::new("lets webhooks in that their sender has signed")
            .settings(
                Schema::new()
                    .choice("form", "how it is signed", &["github", "stripe", "slack"])
                    .required()
                    .texts("secret", "what it is signed with; any of several")
                    .text("secret_file", "a file with the secrets, one in a line")
                    .duration("tolerance", "how old a signature may be")
                    .size("limit", "the largest body"),
            )
            .no_streams()
    }
}

waypost_sdk::export_hook!(
    VerifySignature,
    on_request,
    on_request_body,
    file_changes,
    describe
);

#[cfg(test)]
mod tests;
