//! Lets in requests with the key of a known client, and tells the server which client it is.

use std::collections::HashMap;

use waypost_sdk::{Call, Hook, OnRequest, Settings, SettingsError, Sharing, Verdict};

struct ApiKey {
    /// The header with the key.
    header: String,
    /// The names of clients, by key.
    clients: HashMap<Vec<u8>, String>,
    /// For each place the clients that it is for. Empty: for all.
    places: Vec<Vec<String>>,
}

impl Hook for ApiKey {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let header = settings.text("header")?;
        let named = settings.texts_by_name("clients")?;
        if named.is_empty() {
            return Err(settings.missing("clients"));
        }
        let mut clients = HashMap::new();
        for (name, key) in named {
            if key.is_empty() || clients.contains_key(key.as_bytes()) {
                let message = "a key must not be empty, and no two clients may have the same";
                return Err(settings.error(&format!("clients.{name}"), message));
            }
            clients.insert(key.into_bytes(), name);
        }
        settings.finish()?;
        Ok(ApiKey {
            header: header.unwrap_or_else(|| "X-API-Key".to_owned()),
            clients,
            places: Vec::new(),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }

    fn attach(&mut self, _place: usize, mut settings: Settings) -> Result<(), SettingsError> {
        let only = settings.texts("only")?;
        let is_known = |name: &String| self.clients.values().any(|known| known == name);
        if let Some(unknown) = only.iter().find(|name| !is_known(name)) {
            let message = format!("no client is called `{unknown}`");
            return Err(settings.error("only", &message));
        }
        settings.finish()?;
        self.places.push(only);
        Ok(())
    }
}

impl OnRequest for ApiKey {
    fn on_request(&mut self, call: &Call) -> Verdict {
        let changes = call.changes();
        let key = call.request().header(&self.header);
        let Some(client) = key.and_then(|key| self.clients.get(&key)) else {
            changes.set_response_header("WWW-Authenticate", "ApiKey");
            changes.answer(401, "this needs a key\n");
            return Verdict::Answer;
        };
        let only = &self.places[call.place];
        if !only.is_empty() && !only.contains(client) {
            changes.answer(403, "this is not for you\n");
            return Verdict::Answer;
        }
        changes.set_request_header("X-API-Client", client);
        changes.set_attribute("api_client", client);
        Verdict::Proceed
    }
}

waypost_sdk::export_hook!(ApiKey, on_request);

#[cfg(test)]
mod tests {
    use super::ApiKey;
    use waypost_sdk::Verdict;
    use waypost_sdk::testing::{HookExchange, Hooked, Request};

    const SETTINGS: &str = r#"{"clients": {"acme": "a", "globex": "g"}}"#;

    /// What becomes of a request with this key: at place 0, for all, or at place 1, for `acme`.
    fn asked(place: usize, key: Option<&str>) -> (Verdict, HookExchange) {
        let places = ["{}", r#"{"only": ["acme"]}"#];
        let mut hooked = Hooked::<ApiKey>::new(SETTINGS, &places).unwrap();
        let request = Request::new("GET", "/").header("X-API-Client", "forged");
        let request = match key {
            Some(key) => request.header("x-api-key", key),
            None => request,
        };
        let mut exchange = hooked.exchange_at(place, request);
        (hooked.on_request(&mut exchange), exchange)
    }

    #[test]
    fn a_known_key_goes_on_under_the_name_of_its_client() {
        let (verdict, exchange) = asked(0, Some("g"));
        assert_eq!(verdict, Verdict::Proceed);
        assert_eq!(exchange.request_header("X-API-Client"), ["globex"]);
        assert_eq!(exchange.attribute("api_client").as_deref(), Some("globex"));
    }

    #[test]
    fn no_key_and_a_wrong_one_are_a_401() {
        for key in [None, Some("x"), Some("")] {
            let (verdict, exchange) = asked(0, key);
            assert_eq!(verdict, Verdict::Answer);
            assert_eq!(exchange.answer(), Some((401, "this needs a key\n")));
            assert_eq!(exchange.response_header("WWW-Authenticate"), ["ApiKey"]);
        }
    }

    #[test]
    fn a_place_for_others_is_a_403() {
        assert_eq!(asked(1, Some("a")).0, Verdict::Proceed);
        let (_, exchange) = asked(1, Some("g"));
        assert_eq!(exchange.answer(), Some((403, "this is not for you\n")));
    }

    #[test]
    fn wrong_settings_are_refused_at_their_key() {
        let refused = |settings: &str, place: &str| {
            let error = Hooked::<ApiKey>::new(settings, &[place]).err().unwrap();
            (error.key, error.message)
        };
        let twice = r#"{"clients": {"acme": "k", "globex": "k"}}"#;
        assert_eq!(refused(twice, "{}").0, "clients.globex");
        assert_eq!(refused("{}", "{}").1, "`clients` is missing");
        let (key, message) = refused(SETTINGS, r#"{"only": "initech"}"#);
        assert_eq!(key, "only");
        assert_eq!(message, "no client is called `initech`");
    }

    #[test]
    fn a_misspelled_setting_is_refused() {
        let error = Hooked::<ApiKey>::new(SETTINGS, &[r#"{"olny": "acme"}"#]).err();
        assert_eq!(
            error.map(|error| error.message).as_deref(),
            Some("unknown key `olny`; did you mean `only`?")
        );
    }
}
