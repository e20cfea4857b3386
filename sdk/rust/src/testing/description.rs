//! Holds what a plugin says of its settings against what it takes.

use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::{Map, Value};

use super::Services;
use super::host::{Host, enter};
use crate::{Describe, Filter, Scorer, Settings, SettingsError};

/// A key that is like no other.
const UNKNOWN: &str = "~";

/// Holds what a filter says of itself against what it does, by settings that are good.
///
/// # Panics
/// If both do not fit together.
pub fn check_filter_description<F: Filter + Describe>(good: &[&str]) {
    check_plugin::<F>(good, |settings| F::configure(settings).map(|_| ()));
}

/// Holds what a scorer says of itself against what it does, by settings that are good.
///
/// # Panics
/// If both do not fit together.
pub fn check_scorer_description<S: Scorer + Describe>(good: &[&str]) {
    check_plugin::<S>(good, |settings| S::configure(settings).map(|_| ()));
}

fn check_plugin<D: Describe>(
    good: &[&str],
    configure: impl Fn(Settings) -> Result<(), SettingsError>,
) {
    let about = D::describe();
    let configure = |services, settings: &str| {
        let host = Host::default();
        *host.services.borrow_mut() = services;
        let _entered = enter(&Rc::new(host));
        configure(Settings::parse(settings)?)
    };
    let plain = |settings: &str| configure(Services::new(), settings);
    check_schema(&about.settings, good, plain);
    check_services((about.backups, about.streams), good, configure);
}

/// Panics where settings that are `good` are refused, or have keys that the schema does not know;
/// where the schema and the plugin know different keys; where what is required may be left out.
pub(super) fn check_schema(
    schema: &str,
    good: &[&str],
    configure: impl Fn(&str) -> Result<(), SettingsError>,
) {
    let schema: Value = parsed(schema);
    for settings in good {
        if let Err(error) = configure(settings) {
            panic!("{settings}: {}", error.message);
        }
        let configure = |settings: &Value| configure(&settings.to_string());
        check_table(&schema, &parsed(settings), &|table| table, &configure);
    }
}

/// Panics where what is said of `backup` servers and streams is not so.
pub(super) fn check_services(
    (backups, streams): (bool, bool),
    good: &[&str],
    configure: impl Fn(Services, &str) -> Result<(), SettingsError>,
) {
    for settings in good {
        let with_backups = configure(Services::new().backups(), settings);
        assert_eq!(with_backups.is_ok(), backups, "`backups`: {settings}");
        let with_streams = configure(Services::new().streams(), settings);
        assert_eq!(with_streams.is_ok(), streams, "`streams`: {settings}");
    }
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

/// Looks at one table of the settings; `whole` puts another one in its place.
fn check_table(
    schema: &Value,
    table: &Value,
    whole: &dyn Fn(Value) -> Value,
    configure: &dyn Fn(&Value) -> Result<(), SettingsError>,
) {
    let Some(table) = table.as_object() else {
        return;
    };
    let empty = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&empty);
    let described: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
    let mut with_unknown = table.clone();
    with_unknown.insert(UNKNOWN.to_owned(), Value::Null);
    let error = match configure(&whole(Value::Object(with_unknown))) {
        Ok(()) => panic!("an unknown key is taken"),
        Err(error) => error.message,
    };
    assert!(error.contains(UNKNOWN), "{error}");
    // Every second piece between backticks is a name: the unknown key, then the known ones.
    let known: BTreeSet<&str> = error.split('`').skip(3).step_by(2).collect();
    assert_eq!(
        known, described,
        "the keys that are read and those of the schema"
    );
    for key in schema["required"].as_array().into_iter().flatten() {
        let key = key.as_str().unwrap_or_default();
        let mut without = table.clone();
        without.remove(key);
        let taken = configure(&whole(Value::Object(without)));
        assert!(taken.is_err(), "`{key}` is not required");
    }
    for (key, value) in table {
        let property = &properties[key];
        if property["type"] == "object" && property["properties"].is_object() {
            let put = |other: Value| {
                let mut table = table.clone();
                table.insert(key.clone(), other);
                whole(Value::Object(table))
            };
            check_table(property, value, &put, configure);
        }
    }
}
