//! All certificates of one authority, ordered one after the other: what is due, what has failed and
//! for how long it is left alone, who is waited for.
//!
//! Another process may order the same: whoever has the lock does, and the others take what it wrote.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use instant_acme::{Account, Error};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::attempts::{Attempts, Failed, fingerprint};
use super::challenges;
use super::failure::Failure;
use super::http::AuthorityClient;
use super::order::{self, Wanted};
use super::renewal;
use super::store::{self, Lock};
use super::thread::{OrderStatus, Shared};
use crate::config::model::{AcmeAuthority, KeyType};
use crate::file::read_regular;
use crate::tls::{self, CertificateFacts};

/// How often files are looked at that another process may have written, and the clock.
const LOOK: Duration = Duration::from_secs(60);
/// Until the lock is tried again.
const LOCKED: Duration = Duration::from_secs(1);
/// For an order as a whole.
const ORDER: Duration = Duration::from_secs(300);
/// Between two questions whether the authority wants a certificate renewed, unless it says how long
/// (RFC 9773 section 4.3).
const ASK: Duration = Duration::from_secs(6 * 3600);
const ASK_LEAST: Duration = Duration::from_secs(60);
/// Bytes of a certificate's file.
const MOST: u64 = 1 << 20;

/// Where the outcome of an order is awaited.
pub(super) type Asker = oneshot::Sender<Result<(), String>>;

/// What the task is told.
pub(super) enum Told {
    /// These domains, with these settings, and no others.
    Follow(Arc<AcmeAuthority>, BTreeMap<String, Followed>),
    /// Order at once.
    Renew(String, Asker),
}

/// What a domain is to have.
#[derive(Clone)]
pub(super) struct Followed {
    pub(super) file: PathBuf,
    pub(super) key_type: KeyType,
}

/// The task of an authority.
pub(super) struct Authority {
    pub(super) settings: Arc<AcmeAuthority>,
    pub(super) certificates: BTreeMap<String, Certificate>,
    pub(super) shared: Arc<Shared>,
    /// Of failures before this start, those of domains that are not followed yet.
    remembered: Attempts,
    has_told_of_held: bool,
    /// Nothing is asked before, and how often that went wrong in a row.
    held_until: Option<Instant>,
    failures: u32,
    locked_until: Option<Instant>,
    /// The authority has no renewal information, or cannot be asked for it.
    silent_until: Option<Instant>,
}

/// A certificate of it.
pub(super) struct Certificate {
    file: PathBuf,
    key_type: KeyType,
    /// It is ordered for if the file has another key. Not where another process has written that one
    /// meanwhile: whose configuration differs, the two would order in turn.
    wants_key: bool,
    was_looked_at: bool,
    seen: Option<Seen>,
    facts: Option<CertificateFacts>,
    /// The moment that was chosen in the window that the authority has suggested.
    suggested: Option<i64>,
    ask_at: Instant,
    held_until: Option<Instant>,
    failures: u32,
    /// How often in a row the authority's window had it ordered anew before half of its life was over.
    early: u32,
    last_error: Option<String>,
    asked: Vec<Asker>,
}

/// What tells a file from the one before it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen(SystemTime, u64);

impl Certificate {
    fn new(followed: Followed) -> Certificate {
        Certificate {
            file: followed.file,
            key_type: followed.key_type,
            wants_key: true,
            was_looked_at: false,
            seen: None,
            facts: None,
            suggested: None,
            ask_at: Instant::now(),
            held_until: None,
            failures: 0,
            early: 0,
            last_error: None,
            asked: Vec::new(),
        }
    }

    /// Looks at its file. True if it is another one than before.
    fn look(&mut self) -> bool {
        let is_first = !std::mem::replace(&mut self.was_looked_at, true);
        let seen = std::fs::metadata(&self.file).ok();
        let seen = seen.and_then(|seen| Some(Seen(seen.modified().ok()?, seen.len())));
        if seen == self.seen {
            return false;
        }
        let read = read_regular(&self.file, MOST).ok();
        // One that cannot be used is ordered anew.
        self.facts = read.and_then(|pem| tls::usable(&pem).ok());
        self.seen = seen;
        (self.suggested, self.ask_at) = (None, Instant::now());
        self.wants_key &= is_first;
        (self.failures, self.held_until) = (0, None);
        if self.facts.is_some() {
            self.last_error = None;
        }
        true
    }

    /// Whether nothing but the authority's window has it ordered, and that before half of its life is
    /// over.
    fn is_early(&self) -> bool {
        // One without a certificate, or with another key than is wanted, has always been due.
        let of_window = self.asked.is_empty() && self.due() > i64::MIN;
        of_window
            && self.facts.as_ref().is_some_and(|facts| {
                let life = facts.not_after.saturating_sub(facts.not_before);
                renewal::now().saturating_sub(facts.not_before) < life / 2
            })
    }

    /// In seconds since 1970.
    fn due(&self) -> i64 {
        match &self.facts {
            Some(facts) if !self.wants_key || facts.key_type == Some(self.key_type) => {
                renewal::due(facts, self.suggested)
            }
            _ => i64::MIN,
        }
    }

    /// What has failed before this start, or in another process, is left alone for as long as it would
    /// have been there; unless somebody has ordered it since.
    fn remember(&mut self, failed: Failed) {
        let written = self.seen.and_then(|Seen(at, _)| renewal::seconds(at));
        if written.is_some_and(|written| !failed.is_since(written)) {
            return;
        }
        self.held_until = failed.left().map(in_seconds);
        (self.failures, self.early) = (failed.failures, failed.early);
        self.last_error = Some(failed.error).filter(|error| !error.is_empty());
    }

    fn is_due(&self, now: Instant) -> bool {
        !self.asked.is_empty()
            || (self.due() <= renewal::now() && self.held_until.is_none_or(|held| held <= now))
    }

    /// Tells whoever waits for it.
    fn answer(&mut self, outcome: &Result<(), String>) {
        for asker in self.asked.drain(..) {
            // The caller may have gone meanwhile.
            let _ = asker.send(outcome.clone());
        }
    }
}

impl Authority {
    pub(super) fn new(settings: Arc<AcmeAuthority>, shared: Arc<Shared>) -> Authority {
        let mut remembered = Attempts::read(&settings);
        let own = fingerprint(&settings, None);
        let failed = remembered.authority.take();
        let failed = failed.filter(|failed| failed.is_of(&own));
        Authority {
            settings,
            certificates: BTreeMap::new(),
            shared,
            remembered,
            held_until: failed.as_ref().and_then(Failed::left).map(in_seconds),
            failures: failed.map_or(0, |failed| failed.failures),
            has_told_of_held: false,
            locked_until: None,
            silent_until: None,
        }
    }

    /// Until nobody is left who could want anything.
    pub(super) async fn run(mut self, mut told: UnboundedReceiver<Told>) {
        loop {
            while let Ok(told) = told.try_recv() {
                self.hear(told);
            }
            self.look();
            if let Some(domain) = self.next_due() {
                self.attend(&domain).await;
                self.publish();
                // Panics and endless loops of ours must not become a load for others.
                tokio::task::yield_now().await;
                continue;
            }
            if let Some(domain) = self.next_to_ask() {
                self.ask_when(&domain).await;
                continue;
            }
            self.publish();
            tokio::select! {
                told = told.recv() => match told {
                    Some(told) => self.hear(told),
                    None => return,
                },
                () = tokio::time::sleep_until(self.wakes_at()) => {}
            }
        }
    }

    fn hear(&mut self, told: Told) {
        match told {
            Told::Follow(settings, files) => {
                if *settings != *self.settings {
                    // What was wrong may be mended.
                    self.remembered = Attempts::default();
                    (self.failures, self.held_until) = (0, None);
                    for certificate in self.certificates.values_mut() {
                        (certificate.failures, certificate.held_until) = (0, None);
                    }
                }
                self.settings = settings;
                self.certificates
                    .retain(|domain, _| files.contains_key(domain));
                for (domain, followed) in files {
                    self.follow(domain, followed);
                }
                self.tell_of_held();
            }
            Told::Renew(domain, asker) => match self.certificates.get_mut(&domain) {
                Some(certificate) => certificate.asked.push(asker),
                // It was taken out of the configuration a moment ago.
                None => drop(asker),
            },
        }
    }

    fn follow(&mut self, domain: String, followed: Followed) {
        if let Some(known) = self.certificates.get_mut(&domain) {
            if known.key_type != followed.key_type {
                known.key_type = followed.key_type;
                known.wants_key = true;
                // The authority may have refused the key of the type before.
                (known.failures, known.held_until) = (0, None);
            }
            return;
        }
        let own = fingerprint(&self.settings, Some(followed.key_type));
        let failed = self.remembered.domains.remove(&domain);
        let mut new = Certificate::new(followed);
        new.look();
        // An order under way may be that of the process before, which hands over.
        if let Some(failed) = failed.filter(|failed| failed.is_of(&own) && !failed.is_under_way) {
            new.remember(failed);
        }
        self.certificates.insert(domain, new);
    }

    /// One line at the start for whoever wonders why nothing is ordered.
    fn tell_of_held(&mut self) {
        if std::mem::replace(&mut self.has_told_of_held, true) {
            return;
        }
        let due = |of: &&Certificate| of.due() <= renewal::now();
        let held = |of: &Certificate| of.held_until.max(self.held_until);
        let held: Vec<Instant> =
            (self.certificates.values().filter(due).filter_map(held)).collect();
        if let Some(first) = held.iter().min() {
            let wait = first.saturating_duration_since(Instant::now());
            let (number, wait) = (held.len(), Duration::from_secs(wait.as_secs()));
            tracing::warn!(
                "certificates that are held back by earlier failures: {number}; the next attempt is in \
                 {wait:?}, or by `waypost certificate renew`"
            );
        }
    }

    /// Looks at all files: another process may have written one.
    fn look(&mut self) {
        let mut changed = false;
        for certificate in self.certificates.values_mut() {
            changed |= certificate.look();
        }
        if changed {
            self.shared.tell();
        }
    }

    fn next_due(&self) -> Option<String> {
        let now = Instant::now();
        if self.locked_until.is_some_and(|until| until > now) {
            return None;
        }
        let is_held = self.held_until.is_some_and(|until| until > now);
        let mut due: Vec<_> = self
            .certificates
            .iter()
            .filter(|(_, of)| of.is_due(now) && (!is_held || !of.asked.is_empty()))
            .collect();
        // Whoever waits goes first, then what ends first.
        due.sort_by_key(|(_, of)| (of.asked.is_empty(), of.failures, of.due()));
        due.first().map(|(domain, _)| (*domain).clone())
    }

    fn next_to_ask(&self) -> Option<String> {
        let now = Instant::now();
        let mut held = self.held_until.into_iter().chain(self.silent_until);
        if held.any(|until| until > now) {
            return None;
        }
        let mut all = self.certificates.iter();
        let next = all.find(|(_, of)| of.facts.is_some() && of.ask_at <= now);
        next.map(|(domain, _)| domain.clone())
    }

    /// When there may be something to do.
    fn wakes_at(&self) -> Instant {
        let (now, clock) = (Instant::now(), renewal::now());
        let of = |certificate: &Certificate| {
            let until = certificate.due().saturating_sub(clock);
            let until = u64::try_from(until).unwrap_or_default();
            let due = now + Duration::from_secs(until).min(LOOK);
            let held = certificate.held_until.into_iter();
            let held = held.chain(self.held_until).chain(self.locked_until);
            held.fold(due, Instant::max)
        };
        let first = self.certificates.values().map(of).min();
        let look = now + LOOK;
        first
            .map_or(look, |first| first.min(look))
            // The clock that tells what is due has seconds.
            .max(now + Duration::from_millis(200))
    }

    /// Orders a certificate, unless another process does.
    async fn attend(&mut self, domain: &str) {
        let folder = self.settings.folder();
        let lock = match Lock::take(&folder) {
            Ok(Some(lock)) => lock,
            Ok(None) => {
                self.locked_until = Some(Instant::now() + LOCKED);
                return;
            }
            Err(error) => {
                let outcome = self.failed(domain, Failure::of_store(&folder, &error));
                return self.answer(domain, &outcome);
            }
        };
        // Another process may have ordered it a moment ago.
        let Some(certificate) = self.certificates.get_mut(domain) else {
            return;
        };
        if certificate.look() {
            self.shared.tell();
            if certificate.facts.is_some() && certificate.due() > renewal::now() {
                certificate.last_error = None;
                certificate.answer(&Ok(()));
                return;
            }
        }
        if self.is_left_alone(domain) {
            return;
        }
        let begun = self.begin(domain);
        self.note(domain, "ordering");
        challenges::forget_old(&self.settings.store);
        let ordered = timeout(ORDER, self.order(domain)).await;
        let ordered = ordered.unwrap_or_else(|_| {
            Err(Failure::of_authority(format!(
                "the authority did not come to an end with it within {ORDER:?}"
            )))
        });
        let written = ordered.and_then(|pem| {
            let file = &self.certificates[domain].file;
            let written = store::write(file, pem.as_bytes());
            written.map_err(|error| Failure::of_store(file, &error))
        });
        let outcome = match written {
            Ok(()) => {
                self.succeeded(domain);
                Ok(())
            }
            Err(failure) => self.failed(domain, failure),
        };
        self.remember(domain);
        begun.ended();
        drop(lock);
        self.answer(domain, &outcome);
    }

    fn answer(&mut self, domain: &str, outcome: &Result<(), String>) {
        if let Some(certificate) = self.certificates.get_mut(domain) {
            certificate.answer(outcome);
        }
    }

    /// Whether an order is to be left alone, as one was under way when its process died, or as another
    /// process was early with it a moment ago: whoever has the lock finds it so.
    fn is_left_alone(&mut self, domain: &str) -> bool {
        let Some(certificate) = self.certificates.get_mut(domain) else {
            return false;
        };
        let own = fingerprint(&self.settings, Some(certificate.key_type));
        let failed = Attempts::read(&self.settings).domains.remove(domain);
        let heeded = |failed: &Failed| failed.is_under_way || failed.early > 0;
        let Some(failed) = failed.filter(|failed| heeded(failed) && failed.is_of(&own)) else {
            return false;
        };
        certificate.remember(failed);
        let Some(until) = certificate.held_until else {
            return false;
        };
        if !certificate.asked.is_empty() {
            return false;
        }
        if let Some(error) = &certificate.last_error {
            let wait = until.saturating_duration_since(Instant::now()).as_secs();
            tracing::warn!(
                "certificate for `{domain}` not ordered: {error}; next attempt in {wait}s"
            );
        }
        true
    }

    /// Has the store tell of an order before the authority is asked for it.
    fn begin(&self, domain: &str) -> Begun {
        let certificate = &self.certificates[domain];
        let own = fingerprint(&self.settings, Some(certificate.key_type));
        let begun = Failed::begun(certificate.failures.saturating_add(1), own);
        let mut before = None;
        Attempts::change(&self.settings, |attempts| {
            before = attempts.domains.insert(domain.to_owned(), begun);
        });
        Begun {
            settings: self.settings.clone(),
            domain: domain.to_owned(),
            before,
            has_ended: false,
        }
    }

    /// How an order went, for the next start.
    fn remember(&self, domain: &str) {
        let Some(certificate) = self.certificates.get(domain) else {
            return;
        };
        let error = certificate.last_error.as_deref().unwrap_or_default();
        let of_all = fingerprint(&self.settings, None);
        let own = fingerprint(&self.settings, Some(certificate.key_type));
        let held = self.held_until.map(moment_of);
        let of_authority =
            (self.failures > 0).then(|| Failed::now(self.failures, held, "", of_all.clone()));
        let of_domain = match (certificate.last_error.is_some(), certificate.held_until) {
            (false, None) => None,
            (_, held) => {
                let held = held.map(moment_of);
                let failed = Failed::now(certificate.failures, held, error, own);
                Some(failed.early(certificate.early))
            }
        };
        Attempts::change(&self.settings, |attempts| {
            let others = attempts.authority.take();
            let others = others.filter(|failed| !failed.is_of(&of_all));
            attempts.authority = of_authority.or(others);
            match of_domain {
                Some(failed) => attempts.domains.insert(domain.to_owned(), failed),
                None => attempts.domains.remove(domain),
            };
        });
    }

    async fn order(&self, domain: &str) -> Result<String, Failure> {
        let client = self.client()?;
        let ordered = self.order_by(domain, &client).await;
        ordered.map_err(|failure| Failure {
            retry_after: client.retry_after(),
            ..failure
        })
    }

    async fn order_by(&self, domain: &str, client: &AuthorityClient) -> Result<String, Failure> {
        let certificate = &self.certificates[domain];
        let account = order::account(&self.settings, client).await?;
        // Only where the authority has told of a window for it, and so knows it.
        let known = certificate.suggested.and(certificate.facts.as_ref());
        let wanted = Wanted {
            authority: &self.settings,
            domain,
            key_type: certificate.key_type,
            failures: certificate.failures,
            replaces: known.and_then(order::identifier),
        };
        match wanted.order(&account).await {
            Err(failure) if wanted.replaces.is_some() && failure.not_replaced => {
                let wanted = Wanted {
                    replaces: None,
                    ..wanted
                };
                wanted.order(&account).await
            }
            ordered => ordered,
        }
    }

    fn client(&self) -> Result<AuthorityClient, Failure> {
        let ca = self.settings.trusted_certificate.clone();
        AuthorityClient::new(ca).map_err(Failure::of_authority)
    }

    fn succeeded(&mut self, domain: &str) {
        let Some(certificate) = self.certificates.get_mut(domain) else {
            return;
        };
        let failures = certificate.failures;
        certificate.early = match certificate.is_early() {
            true => certificate.early.saturating_add(1),
            false => 0,
        };
        certificate.look();
        // What the new one's window is, nobody has said yet.
        certificate.suggested = None;
        certificate.last_error = None;
        (self.failures, self.held_until) = (0, None);
        let left = certificate.due().saturating_sub(renewal::now());
        if left <= 0 {
            // Of an authority, or a machine, whose clock is wrong: not to be ordered again and again.
            certificate.failures = failures.saturating_add(1);
            let pause = renewal::pause(certificate.failures, None);
            certificate.held_until = Some(Instant::now() + pause);
        } else if certificate.early > 0 {
            // Its window may have passed as well, as of an authority that is wrong about all of them.
            let left = Duration::from_secs(left.unsigned_abs());
            let pause = renewal::pause(certificate.early, None).min(left);
            certificate.held_until = Some(Instant::now() + pause);
        }
        let end = certificate
            .facts
            .as_ref()
            .map_or(0, |facts| facts.not_after);
        tracing::info!(
            "certificate for `{domain}` ordered: it ends {}",
            moment(end)
        );
        self.shared.count(true);
        self.shared.tell();
    }

    /// One line in the log, and a pause: for the domain, or for all that the authority is asked for.
    fn failed(&mut self, domain: &str, failure: Failure) -> Result<(), String> {
        if failure.account_unknown {
            order::forget_account(&self.settings);
        }
        let message = failure.message;
        let Some(certificate) = self.certificates.get_mut(domain) else {
            return Err(message);
        };
        let failures = match failure.of_authority {
            true => &mut self.failures,
            false => &mut certificate.failures,
        };
        *failures = failures.saturating_add(1);
        let pause = renewal::pause(*failures, failure.retry_after);
        let until = Some(Instant::now() + pause);
        match failure.of_authority {
            true => self.held_until = until,
            false => certificate.held_until = until,
        }
        let meanwhile = match &certificate.facts {
            Some(facts) if facts.not_after > renewal::now() => {
                format!(
                    "the one before is served, and ends {}",
                    moment(facts.not_after)
                )
            }
            Some(facts) => format!("the one before has ended {}", moment(facts.not_after)),
            None => "there is none yet".to_owned(),
        };
        let next = Duration::from_secs(pause.as_secs());
        let is_due = certificate.due() <= renewal::now();
        let next = match (is_due, failure.of_authority) {
            (false, _) => "when it is due".to_owned(),
            (true, true) => format!("of any in {next:?}"),
            (true, false) => format!("in {next:?}"),
        };
        tracing::error!(
            "certificate for `{domain}` not ordered: {message} ({meanwhile}; next attempt {next})"
        );
        self.shared.count(false);
        certificate.last_error = Some(message.clone());
        Err(message)
    }

    /// Asks when the authority wants a certificate renewed. What goes wrong here is no news: it is
    /// renewed in time anyway.
    async fn ask_when(&mut self, domain: &str) {
        let asked = timeout(ASK_LEAST, self.window(domain)).await;
        let Some(certificate) = self.certificates.get_mut(domain) else {
            return;
        };
        certificate.ask_at = Instant::now() + ASK;
        match asked {
            Ok(Ok(Some((start, end, again)))) => {
                let is_within = |chosen: &i64| (start..=end).contains(chosen);
                let chosen = certificate.suggested.filter(is_within);
                certificate.suggested = Some(chosen.unwrap_or_else(|| renewal::within(start, end)));
                let again = again.clamp(ASK_LEAST, renewal::LONGEST_ASKED);
                certificate.ask_at = Instant::now() + again;
            }
            Ok(Ok(None)) => self.silent_until = Some(Instant::now() + ASK),
            Ok(Err(why)) => {
                self.silent_until = Some(Instant::now() + ASK_LEAST * 10);
                tracing::debug!("renewal information of `{domain}`: {why}");
            }
            Err(_) => self.silent_until = Some(Instant::now() + ASK_LEAST * 10),
        }
    }

    /// The window that the authority suggests, and when it wants to be asked again; none where it has
    /// no such information.
    async fn window(&self, domain: &str) -> Result<Option<(i64, i64, Duration)>, String> {
        let facts = self.certificates[domain].facts.as_ref();
        let identifier = facts.and_then(order::identifier);
        let identifier = identifier.ok_or("the certificate does not say whose it is")?;
        let client = self.client().map_err(|failure| failure.message)?;
        let account: Option<Account> = order::known_account(&self.settings, &client)
            .await
            .map_err(|failure| failure.message)?;
        let Some(account) = account else {
            return Err("there is no account".to_owned());
        };
        match account.renewal_info(&identifier).await {
            Ok((information, again)) => {
                let window = information.suggested_window;
                let (start, end) = (window.start.unix_timestamp(), window.end.unix_timestamp());
                Ok(Some((start, end, again)))
            }
            Err(Error::Unsupported(_)) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What operators see.
    fn publish(&self) {
        for domain in self.certificates.keys() {
            let certificate = &self.certificates[domain];
            let state = match (&certificate.facts, &certificate.last_error) {
                (_, Some(_)) => "failing",
                (None, None) => "waiting",
                (Some(_), None) => "valid",
            };
            self.note(domain, state);
        }
    }

    fn note(&self, domain: &str, state: &'static str) {
        let certificate = &self.certificates[domain];
        let held = certificate
            .held_until
            .into_iter()
            .chain(self.held_until)
            .max();
        let held = held.map_or(0, moment_of);
        let status = OrderStatus {
            domain: domain.to_owned(),
            directory: self.settings.directory.clone(),
            state,
            next: certificate.due().max(renewal::now()).max(held),
            last_error: certificate.last_error.clone(),
        };
        self.shared.note(certificate.file.clone(), status);
    }
}

/// An order that the store tells of. One that is given up, as another process takes over, was none; one
/// that a panic ended is left there.
struct Begun {
    settings: Arc<AcmeAuthority>,
    domain: String,
    before: Option<Failed>,
    has_ended: bool,
}

impl Begun {
    /// The store tells how.
    fn ended(mut self) {
        self.has_ended = true;
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if self.has_ended || std::thread::panicking() {
            return;
        }
        let (domain, before) = (std::mem::take(&mut self.domain), self.before.take());
        Attempts::change(&self.settings, |attempts| {
            match before {
                Some(before) => attempts.domains.insert(domain, before),
                None => attempts.domains.remove(&domain),
            };
        });
    }
}

fn in_seconds(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

/// In seconds since 1970.
fn moment_of(instant: Instant) -> i64 {
    let left = instant.saturating_duration_since(Instant::now());
    renewal::now().saturating_add(i64::try_from(left.as_secs()).unwrap_or(i64::MAX))
}

/// `2026-01-02T03:04:05Z`
fn moment(seconds: i64) -> String {
    let moment = jiff::Timestamp::from_second(seconds);
    moment.map_or_else(|_| "at no time".to_owned(), |moment| moment.to_string())
}

#[cfg(test)]
mod tests;
