//! Whether what is loaded as a plugin is what the operator trusts: its content, by hash, and who
//! signed it, in minisign's format. Asked before anything of it is read, let alone compiled.

use std::path::Path;

use minisign_verify::{Error, PublicKey, Signature};

use crate::config::model::Trust;
use crate::config::reason;
use crate::file::read_regular;

use super::component::Plugin;
use super::error::PluginError;
use super::hash::Hash;
use super::untrusted::few;

/// Bytes of a signature: minisign's own bounds on its two comments, and the signatures.
pub const SIGNATURE_SIZE: u64 = 16 << 10;

/// Where the signature of a plugin is.
#[derive(Debug, Clone, Copy)]
pub enum SignedIn<'a> {
    File(&'a Path),
    /// It came with the component, if it did.
    Text(Option<&'a str>),
}

impl Trust {
    /// Whether a version that was loaded would be loaded by this.
    pub fn covers(&self, plugin: &Plugin) -> bool {
        let signer = |key: &String| plugin.signer() == Some(key);
        self.has(plugin.hash()) && (self.signed_by.is_empty() || self.signed_by.iter().any(signer))
    }

    fn has(&self, hash: Hash) -> bool {
        let hash = hash.to_string();
        self.sha256.is_empty() || self.sha256.contains(&hash)
    }

    /// Holds the bytes of a plugin's file against this: the key that has signed them, if one has to.
    ///
    /// # Errors
    /// It is something else, or nobody who is trusted has signed it.
    pub fn signer(
        &self,
        plugin: &str,
        bytes: &[u8],
        signature: SignedIn<'_>,
    ) -> Result<Option<&str>, PluginError> {
        let hash = Hash::of(bytes);
        if !self.has(hash) {
            return Err(PluginError::Pinned {
                plugin: plugin.to_owned(),
                hash,
                pinned: few(&self.sha256, "` and `"),
            });
        }
        if self.signed_by.is_empty() {
            return Ok(None);
        }
        let unsigned = |reason: String| PluginError::Unsigned {
            plugin: plugin.to_owned(),
            reason,
        };
        let text = match signature {
            SignedIn::Text(Some(text)) => text.to_owned(),
            SignedIn::Text(None) => return Err(unsigned("no signature came with it".to_owned())),
            SignedIn::File(path) => {
                let read = read_regular(path, SIGNATURE_SIZE);
                let bytes = read.map_err(|error| {
                    let path = path.display();
                    unsigned(format!("cannot read `{path}`: {}", reason(&error)))
                })?;
                String::from_utf8_lossy(&bytes).into_owned()
            }
        };
        let signature = Signature::decode(&text)
            .map_err(|_| unsigned("its signature is none of minisign's".to_owned()))?;
        let signer = self.signed_by.iter().find_map(|text| {
            let key = PublicKey::from_base64(text).ok()?;
            match key.verify(bytes, &signature, false) {
                Err(Error::UnexpectedKeyId) => None,
                verified => Some(verified.map(|()| text.as_str())),
            }
        });
        match signer {
            Some(Ok(key)) => Ok(Some(key)),
            None => Err(unsigned("another key has signed it".to_owned())),
            Some(Err(Error::UnexpectedAlgorithm)) => Err(unsigned(
                "its signature is of minisign's old form: sign it with minisign 0.10 or later"
                    .to_owned(),
            )),
            Some(Err(_)) => Err(unsigned(
                "its signature is of other content, or was changed".to_owned(),
            )),
        }
    }
}
