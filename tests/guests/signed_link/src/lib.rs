//! A hook that lets in who has a link that was signed and has not expired: as `docs/cookbook.md` shows
//! it.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use waypost_sdk::{Call, Hook, OnRequest, Settings, SettingsError, Sharing, Verdict, clock};

/// Links like `/report.pdf?expires=1790000000&signature=HEX`: an HMAC with SHA-256 over the path, a
/// blank and the time.
struct SignedLink {
    secret: String,
}

impl Hook for SignedLink {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let secret = settings
            .text("secret")?
            .ok_or_else(|| settings.missing("secret"))?;
        settings.finish()?;
        Ok(SignedLink { secret })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }
}

impl SignedLink {
    fn lets_in(&self, path: &str, query: &str) -> bool {
        let argument = |name| {
            let mut arguments = query.split('&').filter_map(|one| one.split_once('='));
            arguments
                .find(|(key, _)| *key == name)
                .map_or("", |(_, value)| value)
        };
        let expires = argument("expires");
        let has_expired = expires
            .parse()
            .map_or(true, |seconds: u64| clock::wall_ms() / 1000 >= seconds);
        let Some(signature) = bytes(argument("signature")) else {
            return false;
        };
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()) else {
            return false;
        };
        mac.update(format!("{path} {expires}").as_bytes());
        // In a time that does not tell how much of it is right.
        mac.verify_slice(&signature).is_ok() && !has_expired
    }
}

/// Of hexadecimal digits.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(byte).collect()
}

impl OnRequest for SignedLink {
    fn on_request(&mut self, call: &Call) -> Verdict {
        let request = call.request();
        if self.lets_in(&request.path(), &request.query()) {
            return Verdict::Proceed;
        }
        call.changes().answer(403, "this link is not valid\n");
        Verdict::Answer
    }
}

waypost_sdk::export_hook!(SignedLink, on_request);
