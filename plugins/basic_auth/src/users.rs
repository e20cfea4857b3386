//! Users and the hashes of their passwords, of the settings or of a file as `htpasswd` makes it.

use std::collections::HashMap;

use base64::Engine;
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;
use waypost_sdk::{Checks, Settings, SettingsError, log};

use crate::credentials::BASE64;

/// What the host verifies, by the beginning of a hash.
const OF_THE_HOST: [&str; 9] = [
    "$2a$",
    "$2b$",
    "$2y$",
    "$argon2d$",
    "$argon2i$",
    "$argon2id$",
    "$5$",
    "$6$",
    "$apr1$",
];

/// The hash of a password.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    text: String,
    kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    /// SHA-1 over password and salt.
    Sha1 {
        digest: [u8; 20],
        salt: Vec<u8>,
    },
    /// Too slow to be computed here.
    Slow,
}

impl Stored {
    /// Reads a hash.
    fn parse(text: &str) -> Result<Stored, String> {
        let (scheme, rest) = text.split_at(text.find('}').map_or(0, |end| end + 1));
        let salted = |(digest, salt)| Kind::Sha1 { digest, salt };
        let kind = match scheme {
            "{PLAIN}" => Some(Kind::Plain),
            "{SHA}" => sha1(rest).filter(|(_, salt)| salt.is_empty()).map(salted),
            "{SSHA}" => sha1(rest).map(salted),
            "" if OF_THE_HOST.iter().any(|kind| text.starts_with(kind)) => {
                if let Some(why) = Checks::problem_of_hash(text) {
                    return Err(why);
                }
                Some(Kind::Slow)
            }
            _ => None,
        };
        let text = text.to_owned();
        kind.map(|kind| Stored { text, kind }).ok_or_else(|| {
            "a hash is one of bcrypt, argon2, SHA-crypt (`$5$`, `$6$`), `$apr1$`, `{SHA}`, \
             `{SSHA}` or `{PLAIN}`; make one by `htpasswd -nB USER` or `openssl passwd -6`"
                .to_owned()
        })
    }

    /// The hash as it was written.
    pub(crate) fn hash(&self) -> &str {
        &self.text
    }

    /// Whether a password belongs to it, in constant time for passwords of a length. None where
    /// that is the host's to find out.
    pub(crate) fn matches(&self, password: &[u8]) -> Option<bool> {
        match &self.kind {
            Kind::Plain => Some(
                self.text.as_bytes()["{PLAIN}".len()..]
                    .ct_eq(password)
                    .into(),
            ),
            Kind::Sha1 { digest, salt } => {
                let computed = Sha1::new().chain_update(password).chain_update(salt);
                let computed: [u8; 20] = computed.finalize().into();
                Some(computed.ct_eq(digest).into())
            }
            Kind::Slow => None,
        }
    }
}

/// A digest, and the salt behind it.
fn sha1(encoded: &str) -> Option<([u8; 20], Vec<u8>)> {
    let bytes = BASE64.decode(encoded).ok()?;
    let (digest, salt) = bytes.split_first_chunk::<20>()?;
    Some((*digest, salt.to_vec()))
}

/// Who may come in.
#[derive(Debug)]
pub(crate) struct Users {
    /// The file's path, or the key that has them.
    name: String,
    stored: HashMap<Vec<u8>, Stored>,
    /// The first one that was named: what unknown users are compared with.
    first: Option<Vec<u8>>,
    are_gone: bool,
}

impl Users {
    /// Reads `users` or `users_file`.
    pub(crate) fn read(settings: &mut Settings) -> Result<Users, SettingsError> {
        let named = settings.texts_by_name("users")?;
        let file = settings.file("users_file")?;
        match (named.is_empty(), file) {
            (true, Some(file)) => {
                let content = file.content.ok_or_else(|| {
                    let missing = format!("there is no file `{}`", file.path);
                    settings.error("users_file", &missing)
                })?;
                let mut users = Users::named(&file.path);
                users.take(&content);
                Ok(users)
            }
            (false, None) => {
                let mut users = Users::named("users");
                for (user, hash) in named {
                    let stored = Stored::parse(&hash)
                        .map_err(|message| settings.error(&format!("users.{user}"), &message))?;
                    if user.is_empty() || user.contains(':') {
                        let message = format!("`{user}` cannot be the name of a user");
                        return Err(settings.error(&format!("users.{user}"), &message));
                    }
                    users.add(user.into_bytes(), stored);
                }
                Ok(users)
            }
            (true, None) => {
                let missing = "`users` or `users_file` is missing";
                Err(settings.error("users_file", missing))
            }
            (false, Some(_)) => {
                let both = "there are `users` already: put all into one of the two";
                Err(settings.error("users_file", both))
            }
        }
    }

    fn named(name: &str) -> Users {
        Users {
            name: name.to_owned(),
            stored: HashMap::new(),
            first: None,
            are_gone: false,
        }
    }

    /// The file is another one now.
    pub(crate) fn changed(&mut self, path: &str, content: Option<&[u8]>) {
        if path != self.name {
            return;
        }
        *self = Users::named(path);
        match content {
            Some(content) => self.take(content),
            None => {
                self.are_gone = true;
                log::error(&format!("users_file `{path}` is gone: nobody is let in"));
            }
        }
    }

    /// Takes the users of a file: `NAME:HASH` on each line, anything behind a further colon.
    fn take(&mut self, content: &[u8]) {
        let (mut skipped, mut first) = (0, None);
        for (number, line) in (1..).zip(content.split(|&byte| byte == b'\n')) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            match entry(line) {
                // The first one counts, as in nginx.
                Ok((user, _)) if self.stored.contains_key(user) => {}
                Ok((user, stored)) => self.add(user.to_vec(), stored),
                Err(why) => {
                    skipped += 1;
                    first.get_or_insert((number, why));
                }
            }
        }
        if let Some((number, why)) = first {
            let name = &self.name;
            log::error(&format!(
                "users_file `{name}`: {skipped} lines are skipped, the first is {number}: {why}"
            ));
        }
    }

    fn add(&mut self, user: Vec<u8>, stored: Stored) {
        self.first.get_or_insert_with(|| user.clone());
        self.stored.insert(user, stored);
    }

    /// What lines of the log call them.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether their file is not there any more.
    pub(crate) fn are_gone(&self) -> bool {
        self.are_gone
    }

    pub(crate) fn find(&self, user: &[u8]) -> Option<&Stored> {
        self.stored.get(user)
    }

    /// Someone's hash: what unknown users are compared with.
    pub(crate) fn any(&self) -> Option<&Stored> {
        self.first.as_ref().and_then(|first| self.find(first))
    }
}

/// A line of a file.
fn entry(line: &[u8]) -> Result<(&[u8], Stored), String> {
    let colon = line.iter().position(|&byte| byte == b':');
    let Some(colon) = colon.filter(|&colon| colon > 0) else {
        return Err("a line is `NAME:HASH`".to_owned());
    };
    let hash = line[colon + 1..].split(|&byte| byte == b':').next();
    let hash = std::str::from_utf8(hash.unwrap_or_default());
    let hash = hash.map_err(|_| "the hash is no text".to_owned())?;
    Ok((&line[..colon], Stored::parse(hash)?))
}
