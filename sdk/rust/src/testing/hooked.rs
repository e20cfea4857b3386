//! A hook under test, and the exchanges that it is asked about.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::mem;
use std::rc::Rc;

use super::host::{ExchangeState, Host, enter, rendered};
use super::{Changed, Request, Response, Services, description};
use crate::log::Level;
use crate::{
    Body, Call, Describe, Draws, FileChanges, Hook, Keeper, OnCheck, OnEnd, OnRequest,
    OnRequestBody, OnResponse, OnResponseBody, Settings, SettingsError, Sharing, Summary, Template,
    Ticker, Verdict,
};

/// A hook at its places. Nothing in it moves by itself: a test sets the time and the files.
///
/// ```
/// # use waypost_sdk::{Call, Hook, OnRequest, Settings, SettingsError, Sharing, Verdict};
/// # struct Closed;
/// # impl Hook for Closed {
/// #     fn configure(_: Settings) -> Result<Self, SettingsError> { Ok(Closed) }
/// #     fn sharing(&self) -> Sharing { Sharing::PerWorker }
/// # }
/// # impl OnRequest for Closed {
/// #     fn on_request(&mut self, call: &Call) -> Verdict {
/// #         call.changes().answer(503, "closed");
/// #         call.changes().set_response_header("Retry-After", "60");
/// #         Verdict::Answer
/// #     }
/// # }
/// use waypost_sdk::testing::{Hooked, Request};
///
/// let mut hooked = Hooked::<Closed>::of("{}");
/// let mut exchange = hooked.exchange(Request::new("GET", "/path").header("Host", "a.example"));
/// assert_eq!(hooked.on_request(&mut exchange), Verdict::Answer);
/// assert_eq!(exchange.answer(), Some((503, "closed")));
/// assert_eq!(exchange.response_header("Retry-After"), ["60"]);
/// ```
pub struct Hooked<H> {
    /// The hook, for a look at its state.
    pub hook: H,
    /// The clock, in microseconds.
    pub now_us: u64,
    key: Option<Template>,
    places: usize,
    host: Rc<Host>,
    random: Draws,
    exchanges: u64,
}

/// An exchange of a [`Hooked`]: what is known of it, and what the hook has changed.
pub struct HookExchange {
    number: u64,
    place: usize,
    state: ExchangeState,
}

impl<H: Hook> Hooked<H> {
    /// Configures a hook and gives it these places, without files and in 1970.
    ///
    /// # Errors
    /// What the hook has against the settings.
    pub fn new(settings: &str, places: &[&str]) -> Result<Self, SettingsError> {
        Self::with(Services::new(), settings, places)
    }

    /// As [`new`](Hooked::new), with one place that says nothing, and settings that are known to be
    /// good.
    ///
    /// # Panics
    /// If the hook refuses the settings.
    pub fn of(settings: &str) -> Self {
        Self::new(settings, &["{}"]).unwrap_or_else(|error| panic!("{}", error.message))
    }

    /// As [`new`](Hooked::new), with files, a time of day and so on.
    ///
    /// # Errors
    /// What the hook has against the settings.
    ///
    /// # Panics
    /// If it wants instances by a key that is no template.
    pub fn with(
        services: Services,
        settings: &str,
        places: &[&str],
    ) -> Result<Self, SettingsError> {
        let host = Rc::new(Host {
            services: RefCell::new(services),
            ..Host::default()
        });
        let entered = enter(&host);
        let mut hook = H::configure(Settings::parse(settings)?)?;
        for (place, settings) in places.iter().enumerate() {
            hook.attach(place, Settings::parse(settings)?)?;
        }
        let key = match hook.sharing() {
            Sharing::PerKey(key) => {
                Some(Template::parse(&key).unwrap_or_else(|error| panic!("{error}")))
            }
            Sharing::PerWorker | Sharing::PerProcess => None,
        };
        drop(entered);
        Ok(Hooked {
            hook,
            now_us: 1_000_000,
            key,
            places: places.len(),
            host,
            random: Draws::from_seed(1),
            exchanges: 0,
        })
    }

    /// Holds what the hook says of itself against what it does, by settings that are good, of the
    /// hook and of its places.
    ///
    /// # Panics
    /// If both do not fit together.
    pub fn check_description(services: &Services, good: &[&str], places: &[&str])
    where
        H: Describe,
    {
        let about = H::describe();
        let configure = |services: Services, settings: &str, places: &[&str]| {
            Self::with(services, settings, places).map(|_| ())
        };
        description::check_schema(&about.settings, good, |settings| {
            configure(services.clone(), settings, &[])
        });
        let settings = good.first().unwrap_or(&"{}");
        description::check_schema(&about.place_settings, places, |place| {
            configure(services.clone(), settings, &[place])
        });
        let with_streams = configure(services.clone().streams(), settings, &[]);
        assert_eq!(with_streams.is_ok(), about.streams, "`streams`");
    }

    /// Another version of the hook, or the same one with other settings, takes over: it is
    /// configured, gets its places, and then the state of this one. Files and times stay.
    ///
    /// # Errors
    /// What it has against the settings.
    ///
    /// # Panics
    /// If it refuses the state.
    pub fn swap<Next: Hook + Keeper>(
        self,
        settings: &str,
        places: &[&str],
    ) -> Result<Hooked<Next>, SettingsError>
    where
        H: Keeper,
    {
        let services = self.host.services.borrow().clone();
        let mut next = Hooked::<Next>::with(services, settings, places)?;
        let _entered = enter(&next.host);
        let state = self.hook.export_state();
        next.hook
            .import_state(&state)
            .unwrap_or_else(|error| panic!("{error}"));
        next.now_us = self.now_us;
        next.random = self.random;
        next.exchanges = self.exchanges;
        drop(_entered);
        Ok(next)
    }

    /// Begins an exchange at place 0. Several may be under way.
    pub fn exchange(&mut self, request: Request) -> HookExchange {
        self.exchange_at(0, request)
    }

    /// As [`exchange`](Hooked::exchange), at another place.
    ///
    /// # Panics
    /// If there is no such place.
    pub fn exchange_at(&mut self, place: usize, request: Request) -> HookExchange {
        assert!(place < self.places, "the hook has no place {place}");
        self.exchanges += 1;
        HookExchange {
            number: self.exchanges,
            place,
            state: ExchangeState::of(request),
        }
    }

    /// Asks the hook about the request.
    ///
    /// # Panics
    /// If the verdict makes no sense: the host would end the hook's instance.
    pub fn on_request(&mut self, exchange: &mut HookExchange) -> Verdict
    where
        H: OnRequest,
    {
        let random = self.random.draw();
        let key = self.key.as_ref();
        let key = key.map(|key| rendered(key, exchange.state.request.clone()));
        exchange.state.key = key.unwrap_or_default();
        let verdict = self.call(exchange, random, |hook, call| hook.on_request(call));
        exchange.check(verdict);
        verdict
    }

    /// Tells the hook what came of the check that it has asked for.
    ///
    /// # Panics
    /// If it has asked for none, or the verdict makes no sense.
    pub fn on_check(&mut self, exchange: &mut HookExchange, passed: bool) -> Verdict
    where
        H: OnCheck,
    {
        let asked = exchange.state.changed.check.take();
        assert!(asked.is_some(), "the hook has asked for no check");
        let verdict = self.call(exchange, 0, |hook, call| hook.on_check(call, passed));
        exchange.check(verdict);
        verdict
    }

    /// Shows the hook the head of an answer.
    pub fn on_response(&mut self, exchange: &mut HookExchange, response: Response)
    where
        H: OnResponse,
    {
        exchange.state.response = response;
        self.call(exchange, 0, |hook, call| hook.on_response(call));
    }

    /// Shows the hook the body of the request, or a piece of it: what goes on, unless it answers.
    ///
    /// # Panics
    /// If the verdict makes no sense.
    pub fn on_request_body(
        &mut self,
        exchange: &mut HookExchange,
        bytes: impl AsRef<[u8]>,
        last: bool,
    ) -> (Verdict, Vec<u8>)
    where
        H: OnRequestBody,
    {
        let bytes = bytes.as_ref().to_vec();
        self.body(exchange, bytes, last, |hook, call, body| {
            hook.on_request_body(call, body)
        })
    }

    /// As [`on_request_body`](Hooked::on_request_body), of the answer.
    ///
    /// # Panics
    /// If the verdict makes no sense.
    pub fn on_response_body(
        &mut self,
        exchange: &mut HookExchange,
        bytes: impl AsRef<[u8]>,
        last: bool,
    ) -> (Verdict, Vec<u8>)
    where
        H: OnResponseBody,
    {
        let bytes = bytes.as_ref().to_vec();
        self.body(exchange, bytes, last, |hook, call, body| {
            hook.on_response_body(call, body)
        })
    }

    fn body(
        &mut self,
        exchange: &mut HookExchange,
        bytes: Vec<u8>,
        last: bool,
        ask: impl FnOnce(&mut H, &Call, Body) -> Verdict,
    ) -> (Verdict, Vec<u8>) {
        exchange.state.changed.body = None;
        let body = Body {
            bytes: bytes.clone(),
            last,
        };
        let verdict = self.call(exchange, 0, |hook, call| ask(hook, call, body));
        exchange.check(verdict);
        let instead = exchange.state.changed.body.take();
        (verdict, instead.unwrap_or(bytes))
    }

    /// Tells the hook that the exchange has ended, with this status and complete.
    pub fn on_end(&mut self, exchange: HookExchange, status: u16)
    where
        H: OnEnd,
    {
        let summary = Summary {
            status,
            complete: true,
            duration_us: 1000,
            bytes_sent: 0,
            bytes_received: 0,
        };
        self.ended(exchange, &summary);
    }

    /// As [`on_end`](Hooked::on_end), with all there is to tell.
    pub fn ended(&mut self, mut exchange: HookExchange, summary: &Summary)
    where
        H: OnEnd,
    {
        self.call(&mut exchange, 0, |hook, call| hook.on_end(call, summary));
    }

    /// Lets so much time pass, in microseconds.
    pub fn pass_us(&mut self, us: u64) {
        self.now_us += us;
    }

    /// The hook's tick.
    pub fn tick(&mut self) -> u32
    where
        H: Ticker,
    {
        let _entered = enter(&self.host);
        self.hook.tick(self.now_us)
    }

    /// A file has changed: `None` where it is gone.
    pub fn change_file(&mut self, path: &str, content: Option<&str>)
    where
        H: FileChanges,
    {
        let content = content.map(str::as_bytes);
        // Not borrowed any more when the hook is asked: it may well log a line.
        let change = |services: &mut Services| match content {
            Some(content) => drop(services.files.insert(path.to_owned(), Ok(content.to_vec()))),
            None => drop(services.files.remove(path)),
        };
        change(&mut self.host.services.borrow_mut());
        let _entered = enter(&self.host);
        self.hook.changed(path, content);
    }

    /// Sets the time of day, in milliseconds since 1970-01-01 UTC.
    pub fn set_wall_ms(&mut self, wall_ms: u64) {
        self.host.services.borrow_mut().wall_ms = wall_ms;
    }

    /// From now on there is no route by any name, whatever was said while it was configured.
    pub fn lose_routes(&mut self) {
        self.host.services.borrow_mut().routes = Some(Vec::new());
    }

    /// The lines that were logged since the last call of this function.
    pub fn log_lines(&mut self) -> Vec<(Level, String)> {
        mem::take(&mut self.host.services.borrow_mut().lines)
    }

    /// What a counter has counted.
    pub fn counter(&self, name: &str) -> u64 {
        self.host.services.borrow().counted(name)
    }

    fn call<T>(
        &mut self,
        exchange: &mut HookExchange,
        random: u64,
        ask: impl FnOnce(&mut H, &Call) -> T,
    ) -> T {
        let _entered = enter(&self.host);
        self.host.services.borrow().store.pass_until(self.now_us);
        mem::swap(&mut *self.host.exchange.borrow_mut(), &mut exchange.state);
        let place = u32::try_from(exchange.place).unwrap_or(u32::MAX);
        let call = Call::new(exchange.number, place, self.now_us, random);
        let answer = ask(&mut self.hook, &call);
        mem::swap(&mut *self.host.exchange.borrow_mut(), &mut exchange.state);
        exchange.apply();
        answer
    }
}

impl HookExchange {
    /// The same exchange at another place of the hook.
    pub fn at_place(self, place: usize) -> Self {
        HookExchange { place, ..self }
    }

    /// All that the hook has changed so far.
    pub fn changed(&self) -> &Changed {
        &self.state.changed
    }

    /// The answer of the hook's own: status and body.
    ///
    /// # Panics
    /// If the body is no UTF-8.
    pub fn answer(&self) -> Option<(u16, &str)> {
        let (status, body) = self.state.changed.answer.as_ref()?;
        match std::str::from_utf8(body) {
            Ok(body) => Some((*status, body)),
            Err(error) => panic!("the body of the answer: {error}"),
        }
    }

    /// The request's target, with the hook's changes.
    pub fn target(&self) -> &str {
        &self.state.request.target
    }

    /// The request's method, with the hook's changes.
    pub fn method(&self) -> &str {
        &self.state.request.method
    }

    /// The values of a request header, with the hook's changes.
    pub fn request_header(&self, name: &str) -> Vec<String> {
        texts(self.state.request.values(name))
    }

    /// The values of a header of the answer, with the hook's changes.
    pub fn response_header(&self, name: &str) -> Vec<String> {
        let mut headers = self.state.response.headers.clone();
        for edit in &self.state.changed.response {
            edit.apply(&mut headers);
        }
        texts(super::request::values(&headers, name))
    }

    /// An attribute of the exchange.
    pub fn attribute(&self, name: &str) -> Option<String> {
        let value = self.state.attributes.get(name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// Sets an attribute, as another hook would.
    pub fn set_attribute(&mut self, name: &str, value: &str) {
        let value = value.as_bytes().to_vec();
        self.state.attributes.insert(name.to_owned(), value);
    }

    /// What the hook has noted.
    pub fn notes(&self) -> &[String] {
        &self.state.notes
    }

    /// Makes the changes of a call that has returned.
    fn apply(&mut self) {
        let ExchangeState {
            request,
            changed,
            attributes,
            ..
        } = &mut self.state;
        changed.apply(request);
        attributes.extend(changed.attributes.drain(..));
    }

    fn check(&self, verdict: Verdict) {
        let changed = &self.state.changed;
        match verdict {
            Verdict::Answer => assert!(changed.answer.is_some(), "`Answer` without `answer`"),
            Verdict::Wait => assert!(changed.check.is_some(), "`Wait` without a check"),
            Verdict::Proceed | Verdict::Reroute => {}
        }
    }
}

fn texts(values: Vec<Vec<u8>>) -> Vec<String> {
    let values = values.into_iter();
    values
        .map(|value| String::from_utf8_lossy(&value).into_owned())
        .collect()
}
