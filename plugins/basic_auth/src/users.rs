//! Users and the hashes of their passwords, of the settings or of a file as `htpasswd` makes it.
//!
//! Each worker has all of them, so they take little: a file stays the bytes that it is, with the
//! places of its good lines beside it, and a hash is taken apart when it is looked at.

use std::ops::Range;

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

/// Bytes of a file: some 35,000 users.
pub(crate) const MOST_BYTES: usize = 2 << 20;

/// The hash of a password.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored<'a> {
    text: &'a str,
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

impl<'a> Stored<'a> {
    /// Reads a hash.
    fn parse(text: &'a str) -> Option<Stored<'a>> {
        let (scheme, rest) = text.split_at(text.find('}').map_or(0, |end| end + 1));
        let salted = |(digest, salt)| Kind::Sha1 { digest, salt };
        let kind = match scheme {
            "{PLAIN}" => Some(Kind::Plain),
            "{SHA}" => sha1(rest).filter(|(_, salt)| salt.is_empty()).map(salted),
            "{SSHA}" => sha1(rest).map(salted),
            "" if OF_THE_HOST.iter().any(|kind| text.starts_with(kind)) => Some(Kind::Slow),
            _ => None,
        };
        kind.map(|kind| Stored { text, kind })
    }

    /// Whether passwords can be verified by a hash; the host says that of its own.
    fn check(text: &str) -> Result<(), String> {
        let stored = Stored::parse(text).ok_or_else(|| {
            "a hash is one of bcrypt, argon2, SHA-crypt (`$5$`, `$6$`), `$apr1$`, `{SHA}`, \
             `{SSHA}` or `{PLAIN}`; make one by `htpasswd -nB USER` or `openssl passwd -6`"
                .to_owned()
        })?;
        match stored.kind {
            Kind::Slow => Checks::problem_of_hash(text).map_or(Ok(()), Err),
            Kind::Plain | Kind::Sha1 { .. } => Ok(()),
        }
    }

    /// The hash as it was written.
    pub(crate) fn hash(&self) -> &'a str {
        self.text
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
    /// What has the names and hashes.
    bytes: Vec<u8>,
    /// Sorted by name.
    entries: Vec<Entry>,
    /// The first one that was named: what unknown users are compared with.
    first: Option<Entry>,
    are_gone: bool,
}

/// Where a user stands: the name, and the hash behind it and a colon.
#[derive(Debug, Clone, Copy)]
struct Entry {
    name: u32,
    hash: u32,
    end: u32,
}

impl Entry {
    fn new(name: Range<usize>, end: usize) -> Entry {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Entry {
            name: place(name.start),
            hash: place(name.end + 1),
            end: place(end),
        }
    }

    fn name(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.name as usize..self.hash as usize - 1]
    }

    fn hash(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.hash as usize..self.end as usize]
    }
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
                if content.len() > MOST_BYTES {
                    let large = "`users_file` has more than 2 MiB: take several hooks with a file \
                                 each, or `jwt`";
                    return Err(settings.error("users_file", large));
                }
                let mut users = Users::named(&file.path);
                users.take(content);
                Ok(users)
            }
            (false, None) => {
                let mut users = Users::named("users");
                for (user, hash) in named {
                    Stored::check(&hash)
                        .map_err(|message| settings.error(&format!("users.{user}"), &message))?;
                    if user.is_empty() || user.contains(':') {
                        let message = format!("`{user}` cannot be the name of a user");
                        return Err(settings.error(&format!("users.{user}"), &message));
                    }
                    let start = users.bytes.len();
                    users.bytes.extend_from_slice(user.as_bytes());
                    users.bytes.push(b':');
                    users.bytes.extend_from_slice(hash.as_bytes());
                    let name = start..start + user.len();
                    users.entries.push(Entry::new(name, users.bytes.len()));
                }
                users.sort();
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
            bytes: Vec::new(),
            entries: Vec::new(),
            first: None,
            are_gone: false,
        }
    }

    /// The file is another one now.
    pub(crate) fn changed(&mut self, path: &str, content: Option<&[u8]>) {
        if path != self.name {
            return;
        }
        if content.is_some_and(|content| content.len() > MOST_BYTES) {
            log::error(&format!(
                "users_file `{path}` has more than 2 MiB: the users from before stay"
            ));
            return;
        }
        *self = Users::named(path);
        match content {
            Some(content) => self.take(content.to_vec()),
            None => {
                self.are_gone = true;
                log::error(&format!("users_file `{path}` is gone: nobody is let in"));
            }
        }
    }

    /// Takes the users of a file: `NAME:HASH` on each line, anything behind a further colon.
    fn take(&mut self, content: Vec<u8>) {
        let (mut skipped, mut first) = (0, None);
        let mut start = 0;
        for (number, line) in (1..).zip(content.split(|&byte| byte == b'\n')) {
            let at = start;
            start += line.len() + 1;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            match entry(line) {
                Ok((name, end)) => {
                    let entry = Entry::new(at..at + name, at + end);
                    self.entries.push(entry);
                }
                Err(why) => {
                    skipped += 1;
                    first.get_or_insert((number, why));
                }
            }
        }
        self.bytes = content;
        self.sort();
        if let Some((number, why)) = first {
            let name = &self.name;
            log::error(&format!(
                "users_file `{name}`: {skipped} lines are skipped, the first is {number}: {why}"
            ));
        }
    }

    /// Brings the entries, which are as they were written, into the order of their names. Of equal
    /// names the first one counts, as in nginx.
    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.first = self.entries.first().copied();
        self.entries
            .sort_unstable_by_key(|entry| (entry.name(bytes), entry.name));
        self.entries
            .dedup_by(|later, first| later.name(bytes) == first.name(bytes));
        self.entries.shrink_to_fit();
    }

    /// What lines of the log call them.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether their file is not there any more.
    pub(crate) fn are_gone(&self) -> bool {
        self.are_gone
    }

    pub(crate) fn find(&self, user: &[u8]) -> Option<Stored<'_>> {
        let bytes = &self.bytes;
        // As many steps for a user who is there as for another one.
        let found = self
            .entries
            .binary_search_by_key(&user, |entry| entry.name(bytes));
        self.stored(self.entries[found.ok()?])
    }

    /// Someone's hash: what unknown users are compared with.
    pub(crate) fn any(&self) -> Option<Stored<'_>> {
        self.first.and_then(|first| self.stored(first))
    }

    fn stored(&self, entry: Entry) -> Option<Stored<'_>> {
        let hash = std::str::from_utf8(entry.hash(&self.bytes));
        hash.ok().and_then(Stored::parse)
    }
}

/// A line of a file: where its name and its hash end.
fn entry(line: &[u8]) -> Result<(usize, usize), String> {
    let colon = line.iter().position(|&byte| byte == b':');
    let Some(colon) = colon.filter(|&colon| colon > 0) else {
        return Err("a line is `NAME:HASH`".to_owned());
    };
    let hash = line[colon + 1..].split(|&byte| byte == b':').next();
    let hash = std::str::from_utf8(hash.unwrap_or_default());
    let hash = hash.map_err(|_| "the hash is no text".to_owned())?;
    Stored::check(hash)?;
    Ok((colon, colon + 1 + hash.len()))
}
