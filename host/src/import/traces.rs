//! `otel_exporter` and its like (`ngx_otel_module`): `[traces]`, and `traces` of routes.

use super::Translator;
use super::scope::Scope;
use super::tree::Directive;
use super::writer::{Block, Table, text};
use crate::http::variable::Phase;

/// Directives that say which requests are traced, and how.
const OF_RULE: [&str; 3] = ["otel_trace", "otel_trace_context", "otel_span_attr"];

/// Which of them hold somewhere, by number.
pub(super) type OfRule = [Option<usize>; OF_RULE.len()];

fn of_rule(scope: &Scope<'_>) -> OfRule {
    OF_RULE.map(|name| scope.one(name).map(|directive| directive.id))
}

impl Translator<'_> {
    /// `[traces]`, of what `http` says; none where nothing is exported.
    pub(super) fn traces(&mut self, http: &Scope<'_>) {
        let Some(exporter) = http.one("otel_exporter") else {
            return;
        };
        self.traced = Some(of_rule(http));
        let mut block = Block::new("[traces]");
        let within = http.within(exporter);
        let endpoint = within.value("endpoint").unwrap_or_default();
        let endpoint = match endpoint.contains("://") {
            true => endpoint.to_owned(),
            false => format!("http://{endpoint}"),
        };
        block.keys.set("endpoint", text(&endpoint));
        block.keys.set("protocol", text("grpc"));
        self.accounts.translated(exporter, "`[traces]`");
        if let Some(directive) = within.one("endpoint") {
            self.accounts.translated(directive, "`endpoint`");
        }
        for name in ["interval", "batch_size", "batch_count"] {
            if let Some(directive) = within.one(name) {
                let why = "a batch has 512 spans, or is a second old";
                self.accounts.built_in(directive, why);
            }
        }
        if let Some(directive) = within.one("trusted_certificate") {
            block.keys.set("ca", text(directive.argument(0)));
            self.accounts.translated(directive, "`ca`");
        }
        for (key, directives) in [
            ("headers", within.own("header")),
            ("resource", http.own("otel_resource_attr")),
        ] {
            let mut pairs = Table::new();
            for directive in directives {
                pairs.set(directive.argument(0), text(directive.argument(1)));
                self.accounts.translated(directive, format!("`{key}`"));
            }
            if !pairs.is_empty() {
                block.keys.set(key, pairs.inline());
            }
        }
        match http.one("otel_service_name") {
            Some(directive) => {
                block.keys.set("service_name", text(directive.argument(0)));
                self.accounts.translated(directive, "`service_name`");
            }
            None => block
                .keys
                .set("service_name", text("unknown_service:nginx")),
        }
        // What no route says is as in nginx, which traces nothing by itself.
        let rule = self.trace_rule(http);
        let rule = rule.unwrap_or_else(|| Table::new().with("sample", text("0%")));
        let has_context = rule.get("context").is_some();
        block.keys = block.keys.followed_by(rule);
        if !has_context {
            block.keys.set("context", text("ignore"));
        }
        self.out.traces.push(block);
    }

    /// The `traces` of a route; none where nothing is exported, or it is as `http` has it.
    pub(super) fn traces_of(&self, scope: &Scope<'_>) -> Option<String> {
        // As `http` says it, unless something stands nearer.
        if self.traced? == of_rule(scope) {
            return None;
        }
        let rule = self.trace_rule(scope).map(|mut rule| {
            if rule.get("sample").is_none() {
                rule.set("sample", text("100%"));
            }
            if rule.get("context").is_none() {
                rule.set("context", text("ignore"));
            }
            rule.inline()
        });
        Some(rule.unwrap_or_else(|| "false".to_owned()))
    }

    /// How requests are traced here; none where they are not.
    fn trace_rule(&self, scope: &Scope<'_>) -> Option<Table> {
        let (trace, context) = (scope.one("otel_trace"), scope.one("otel_trace_context"));
        let mut rule = Table::new();
        let traced = trace.map_or("off", |trace| trace.argument(0));
        let is_traced = match traced {
            "on" => true,
            "$otel_parent_sampled" => {
                rule.set("sample", text("0%"));
                true
            }
            "off" => false,
            _ => {
                self.note(
                    trace,
                    false,
                    "write the share of it that is traced as `sample`",
                );
                return None;
            }
        };
        let heeds = context.map_or("", |context| context.argument(0));
        match trace {
            Some(trace) if traced == "on" && matches!(heeds, "extract" | "propagate") => {
                let note = "`traces`; what a heeded caller does not record is not recorded here";
                self.accounts.changed(trace, note);
            }
            trace => self.note(trace, true, "`traces`"),
        }
        if let Some(context) = context {
            rule.set("context", text(context.argument(0)));
        }
        self.note(context, true, "`context`");
        let mut attributes = Table::new();
        for directive in scope.nearest("otel_span_attr") {
            match self
                .words
                .text(directive.argument(1), &scope.constants, Phase::Log)
            {
                Ok(value) => {
                    attributes.set(directive.argument(0), text(&value));
                    self.note(Some(directive), true, "`attributes`");
                }
                Err(why) => self.accounts.lost(directive, why),
            }
        }
        if !attributes.is_empty() {
            rule.set("attributes", attributes.inline());
        }
        is_traced.then_some(rule)
    }

    fn note(&self, directive: Option<&Directive>, is_said: bool, note: &str) {
        match directive {
            Some(directive) if is_said => self.accounts.translated(directive, note),
            Some(directive) => self.accounts.lost(directive, note),
            None => {}
        }
    }
}
