//! What is noted while a route is looked for and hooks are asked, and which hooks are not.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::super::admit::Admitted;
use super::super::conditions::shown;
use super::super::fault::Fault;
use super::super::hooks::Decided;
use super::super::state::Exchange;
use super::super::watch::{ToAsk, Watch};
use super::told::{HookStep, Step};
use super::witness::{Facts, Witness};
use super::{HookOf, routes};
use crate::config::model::{Config, HookUse};
use crate::data_plane::worker_config::WorkerConfig;
use crate::http::framing::Framing;
use crate::http::head::{FieldChange, FieldOperation};
use crate::plugin::{Asked, Changes, ExchangeAtHand, Verdict, WorkerHook};

/// In place of a verdict.
const NOT_ASKED: &str = "not asked";

/// Looks on, and takes notes.
pub(super) struct LookingOn<'a> {
    config: &'a Config,
    /// Index of the listener.
    listener: usize,
    hooks: HookOf<'a>,
    /// By index into the configuration's hooks: each is made when its turn comes.
    made: Vec<OnceCell<Result<Rc<WorkerHook>, String>>>,
    steps: RefCell<Vec<Step>>,
    notes: RefCell<Vec<String>>,
    /// The hook whose turn it is.
    at: RefCell<HookStep>,
    facts: Rc<Facts>,
    has_body: Cell<bool>,
}

impl<'a> LookingOn<'a> {
    pub(super) fn new(
        worker_config: &'a WorkerConfig,
        listener: usize,
        hooks: HookOf<'a>,
    ) -> LookingOn<'a> {
        let config = &worker_config.snapshot.config;
        LookingOn {
            config,
            listener,
            hooks,
            made: config.hooks.iter().map(|_| OnceCell::new()).collect(),
            steps: RefCell::default(),
            notes: RefCell::default(),
            at: RefCell::default(),
            facts: Rc::default(),
            has_body: Cell::default(),
        }
    }

    /// How the body of the request is framed, of which there is nothing here.
    pub(super) fn note_body(&self, framing: Framing) {
        self.has_body.set(framing.length() == Some(0));
    }

    pub(super) fn finish(self) -> (Vec<Step>, Vec<String>) {
        (self.steps.into_inner(), self.notes.into_inner())
    }

    fn note(&self, note: String) {
        self.notes.borrow_mut().push(note);
    }

    /// What is known of a hook before it is asked.
    fn begun(&self, place: &HookUse) -> HookStep {
        let hook = &self.config.hooks[place.hook];
        let listener = &self.config.listeners[self.listener];
        let is_listeners = listener.hooks.iter().any(|own| std::ptr::eq(own, place));
        HookStep {
            name: hook.name.clone(),
            plugin: hook.plugin.clone(),
            of: if is_listeners { "listener" } else { "route" }.to_owned(),
            ..HookStep::default()
        }
    }

    /// What a hook wants changed, in words.
    fn changes(&self, changes: &Changes) -> Vec<String> {
        let mut told = Vec::new();
        let request = &changes.request;
        if let Some(method) = &request.method {
            told.push(format!("method becomes `{}`", shown(method.as_ref())));
        }
        if let Some(path) = &request.path {
            told.push(format!("path becomes `{}`", shown(path.as_ref())));
        }
        if let Some(query) = &request.query {
            told.push(format!("query becomes `{}`", shown(query.as_ref())));
        }
        let fields = request.fields.iter();
        told.extend(fields.map(|change| field("request header", &change)));
        let fields = changes.response.iter();
        told.extend(fields.map(|change| field("answer's header", &change)));
        let attributes = changes.attributes.iter();
        told.extend(
            attributes
                .map(|(name, value)| format!("$hook_{} becomes `{}`", shown(name), shown(value))),
        );
        let upstream = changes
            .upstream
            .and_then(|index| self.config.upstreams.get(index));
        told.extend(upstream.map(|upstream| format!("upstream becomes `{}`", upstream.name)));
        if !changes.delay.is_zero() {
            told.push(format!("the request is held back for {:?}", changes.delay));
        }
        if changes.wish.is_some() {
            told.push("it wants to see the body".to_owned());
        }
        told
    }
}

/// A change of a header, in words.
fn field(of: &str, change: &FieldChange<'_>) -> String {
    let (name, value) = (shown(change.name), shown(change.value));
    match change.operation {
        FieldOperation::Set => format!("{of} `{name}` becomes `{value}`"),
        FieldOperation::Add => format!("{of} `{name}: {value}` is added"),
        FieldOperation::Remove => format!("{of} `{name}` is removed"),
    }
}

impl Watch for LookingOn<'_> {
    fn hook<'a>(&'a self, _: &'a WorkerConfig, place: &HookUse, _: &Exchange) -> Option<ToAsk<'a>> {
        let made = self.made.get(place.hook)?;
        let step = self.begun(place);
        match made.get_or_init(|| (self.hooks)(place.hook)) {
            Ok(hook) => {
                self.at.replace(step);
                self.facts.take();
                Some((hook, None))
            }
            Err(why) => {
                self.steps.borrow_mut().push(Step::Hook(HookStep {
                    verdict: NOT_ASKED.to_owned(),
                    detail: Some(why.clone()),
                    ..step
                }));
                None
            }
        }
    }

    fn at_hand(&self, exchange: &Rc<Exchange>) -> ExchangeAtHand {
        Rc::new(Witness {
            exchange: exchange.clone(),
            facts: self.facts.clone(),
        })
    }

    fn answered(&self, hook: &WorkerHook, asked: &mut Asked) {
        let mut at = self.at.borrow_mut();
        if hook.shared().plugin().lacked_store() {
            at.verdict = NOT_ASKED.to_owned();
            at.detail = Some("it asks the store, which is left as it is".to_owned());
            asked.verdict = Verdict::Proceed;
            (asked.changes, asked.check) = (None, None);
        }
        if let Some(changes) = &asked.changes {
            at.changes = self.changes(changes);
        }
        if asked.check.is_some() {
            at.changes.push("it has a password checked".to_owned());
        }
    }

    fn decided(&self, decided: Result<&Decided, &str>) {
        let mut step = self.at.take();
        step.asked = self.facts.take();
        if step.verdict == NOT_ASKED {
            return self.steps.borrow_mut().push(Step::Hook(step));
        }
        let (verdict, detail) = match decided {
            Ok(Decided::Proceed) => ("proceed", None),
            Ok(Decided::Answer(answer)) => ("answer", Some(format!("status {}", answer.status))),
            Ok(Decided::Reroute(None)) => ("reroute", None),
            Ok(Decided::Reroute(Some(route))) => {
                let route = self.config.routes.get(*route);
                let name = route.and_then(|route| route.name.clone());
                ("reroute", name.map(|name| format!("to route `{name}`")))
            }
            Err(why) => ("failed", Some(why.to_owned())),
        };
        (step.verdict, step.detail) = (verdict.to_owned(), detail);
        self.steps.borrow_mut().push(Step::Hook(step));
    }

    fn has_body(&self) -> bool {
        if !self.has_body.get() {
            let note = "a hook decides again once it has seen the body, which is not known here";
            self.note(note.to_owned());
        }
        self.has_body.get()
    }

    fn holds_back(&self, delay: Duration) -> bool {
        self.note(format!(
            "the request is held back for {delay:?} before it goes on"
        ));
        false
    }

    fn found(&self, exchange: &Exchange, found: &Result<Admitted, Fault>) {
        let step = routes::step(exchange, found);
        self.steps.borrow_mut().push(Step::Route(step));
    }
}
