//! `rewrite`: changes paths by regular expressions, or redirects, as nginx's directive of that name
//! (`ngx_http_rewrite_module.c`, `ngx_http_script.c`).
//!
//! The rules of one hook are a block of nginx's configuration: one after the other, each sees what
//! those before it have made of the path. Patterns match the path as routes do: decoded and
//! normalised; the new path is percent-encoded on its way out. Matching takes time linear in the
//! path's length, whatever a client sends.
//!
//! Nothing depends on earlier requests, so each worker has an instance.

mod condition;
mod escape;
mod line;
mod pattern;
mod replacement;
mod rule;
mod target;

use waypost_sdk::{
    About, Call, Describe, Hook, OnRequest, Schema, Settings, SettingsError, Sharing, Verdict, log,
};

use rule::{Flag, Rule};
use target::Target;

/// Rules for paths.
pub struct Rewrite {
    rules: Vec<Rule>,
}

impl Hook for Rewrite {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        settings.refuse_streams("use it at a listener or a route")?;
        let rules = rule::configure(&mut settings)?;
        settings.finish()?;
        Ok(Rewrite { rules })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }
}

impl OnRequest for Rewrite {
    fn on_request(&mut self, call: &Call) -> Verdict {
        let mut target = Target::of(call);
        let mut is_rerouted = false;
        for rule in &mut self.rules {
            if !rule.applies(&target) {
                continue;
            }
            let made = match rule.redirect_status() {
                Some(status) => {
                    return answer_or_fail(
                        call,
                        rule.location(&target).map(|location| {
                            call.changes().set_response_header("Location", location);
                            status
                        }),
                    );
                }
                None => rule.rewrite(&mut target),
            };
            if let Err(why) = made {
                return answer_or_fail(call, Err(why));
            }
            is_rerouted = rule.flag != Some(Flag::Break);
            if rule.flag.is_some() {
                break;
            }
        }
        match target.set() {
            Ok(()) if is_rerouted => Verdict::Reroute,
            Ok(()) => Verdict::Proceed,
            Err(why) => answer_or_fail(call, Err(why)),
        }
    }
}

/// Answers with a status, or with 500 where there is a problem: the request must not go on with a
/// path that no rule has allowed for.
fn answer_or_fail(call: &Call, status: Result<u16, String>) -> Verdict {
    let status = status.unwrap_or_else(|why| {
        log::exchange(log::Level::Error, &format!("rewrite: {why}"));
        500
    });
    call.changes().answer(status, "");
    Verdict::Answer
}

impl Describe for Rewrite {
    fn describe() -> About {
        let rule = Schema::new()
            .text("from", "a regular expression that the path has to match")
            .required()
            .text(
                "to",
                "the new path, or the URL to redirect to, with captures and variables",
            )
            .required()
            .choice(
                "flag",
                "what follows",
                &["last", "break", "redirect", "permanent"],
            )
            .text(
                "when",
                "a condition: `$variable`, or `$variable` compared by `=` or `~`",
            );
        let about = "as in nginx: `PATTERN REPLACEMENT [last | break | redirect | permanent]`";
        About::new("nginx's rewrite: paths changed or redirected by regular expressions")
            .settings(Schema::new().items("rules", about, rule).required())
            .no_streams()
    }
}

waypost_sdk::export_hook!(Rewrite, on_request, describe);

#[cfg(test)]
mod tests;
