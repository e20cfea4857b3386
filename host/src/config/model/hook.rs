//! Hooks: what is declared once and shared, and the places that use it.

use serde_json::Value as Json;

use super::SettingsPlace;

/// One hook, with the settings that all of its uses share.
#[derive(Debug, Clone, PartialEq)]
pub struct HookConfig {
    /// That of `[hook.NAME]`. The plugin's own where the hook is declared by its use; several may
    /// have that. No `[hook.NAME]` has the name of a plugin.
    pub name: String,
    pub plugin: String,
    /// Its table without the words that are the host's, as JSON; `{}` where there is none.
    pub settings: Json,
    pub place: SettingsPlace,
}

impl HookConfig {
    /// Whether both say the same, though they may stand at other places of the file. A reload keeps
    /// what did not change.
    pub fn means_the_same_as(&self, other: &HookConfig) -> bool {
        let HookConfig {
            name,
            plugin,
            settings,
            place: _,
        } = self;
        (name, plugin, settings) == (&other.name, &other.plugin, &other.settings)
    }

    /// Whether it is declared by `[hook.NAME]`, not where it is used.
    pub fn is_named(&self) -> bool {
        self.name != self.plugin
    }
}

/// A place that uses a hook.
#[derive(Debug, Clone, PartialEq)]
pub struct HookUse {
    /// Index into [`Config::hooks`](super::Config::hooks).
    pub hook: usize,
    /// Counts the uses of one hook, from 0.
    pub place_number: u32,
    /// What this place says besides, as JSON; `{}` where it says nothing.
    pub settings: Json,
    pub place: SettingsPlace,
    pub on_error: OnError,
}

impl HookUse {
    /// As [`HookConfig::means_the_same_as`], for two uses of one hook.
    pub fn means_the_same_as(&self, other: &HookUse) -> bool {
        let HookUse {
            hook: _,
            place_number,
            settings,
            place: _,
            on_error,
        } = self;
        (place_number, settings, on_error)
            == (&other.place_number, &other.settings, &other.on_error)
    }
}

/// What becomes of an exchange when a hook fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// It is answered with a 500.
    #[default]
    Fail,
    /// It goes on as if the hook were not there.
    Skip,
}

impl OnError {
    /// As the file has it.
    pub fn spelling(self) -> &'static str {
        match self {
            OnError::Fail => "fail",
            OnError::Skip => "skip",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::path::Path;

    use crate::config::model::Config;

    fn config(text: &str) -> Config {
        let rest = "[[listen]]\naddress = \"127.0.0.1:8080\"\n[plugin.p]\nfile = \"p.wasm\"\n\
                    [plugin.q]\nfile = \"q.wasm\"";
        crate::config::parse(&format!("{text}\n{rest}"), Path::new("test.toml")).unwrap()
    }

    #[test]
    fn a_hook_that_moved_in_the_file_means_the_same_until_anything_else_changes() {
        let lines =
            "[server]\nhooks = [{ use = \"h\", burst = 1 }]\n[hook.h]\nplugin = \"p\"\nrate = 1";
        let here = config(lines);
        let same = |other: &Config| {
            here.hooks[0].means_the_same_as(&other.hooks[0])
                && here.server.hooks[0].means_the_same_as(&other.server.hooks[0])
        };
        let moved = config(&format!("\n# Moved.\n{}", lines.replace("= 1", "=  1")));
        assert_ne!(here.hooks, moved.hooks, "places are part of it");
        assert!(same(&moved));
        for (from, to) in [
            ("\"p\"", "\"q\""),
            ("rate = 1", "rate = 2"),
            ("burst = 1", "burst = 2"),
            ("burst = 1", "on_error = \"skip\", burst = 1"),
            ("[{", "[\"h\", {"),
        ] {
            assert!(
                !same(&config(&lines.replacen(from, to, 1))),
                "{from} -> {to}"
            );
        }
        assert!(!same(&config(
            &lines.replace("h\"", "i\"").replace("hook.h", "hook.i")
        )));
    }
}
