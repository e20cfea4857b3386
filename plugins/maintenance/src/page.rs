//! What is answered: a text of the settings, or a file.

use waypost_sdk::{Settings, SettingsError, log};

/// The most bytes of a page: all changes of a call may have 64 KiB, headers among them.
const LARGEST: usize = 60 * 1024;

/// The body of the answer. Without one, the host's own page for the status is answered.
pub(crate) struct Page {
    body: Vec<u8>,
    /// As the settings have it.
    content_type: Option<String>,
    /// The file that it is from.
    path: Option<String>,
}

impl Page {
    /// Reads `page`, `page_file` and `content_type`.
    pub(crate) fn configure(settings: &mut Settings) -> Result<Self, SettingsError> {
        let text = settings.text("page")?;
        let file = settings.file("page_file")?;
        let content_type = settings.text("content_type")?;
        let (body, path, key) = match (text, file) {
            (Some(_), Some(_)) => {
                let message = "a page is either `page` or `page_file`";
                return Err(settings.error("page_file", message));
            }
            (Some(text), None) => (text.into_bytes(), None, "page"),
            (None, Some(file)) => match file.content {
                Some(content) => (content, Some(file.path), "page_file"),
                None => {
                    let message = format!("`{}` does not exist", file.path);
                    return Err(settings.error("page_file", &message));
                }
            },
            (None, None) => (Vec::new(), None, "page"),
        };
        if body.len() > LARGEST {
            let message = format!(
                "a page may have {LARGEST} bytes, this one has {}",
                body.len()
            );
            return Err(settings.error(key, &message));
        }
        if let Some(given) = &content_type {
            if given.is_empty() || given.contains(|letter: char| letter.is_control()) {
                return Err(settings.error("content_type", "`content_type` is no media type"));
            }
            if body.is_empty() && path.is_none() {
                let message = "`content_type` is for a `page` or a `page_file`";
                return Err(settings.error("content_type", message));
            }
        }
        Ok(Page {
            body,
            content_type,
            path,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(crate) fn content_type(&self) -> &str {
        let given = self.content_type.as_deref();
        given.unwrap_or_else(|| guess(&self.body))
    }

    /// A page that is gone or too large stays as it was: it is needed most while people change
    /// things.
    pub(crate) fn file_changed(&mut self, path: &str, content: Option<&[u8]>) {
        if self.path.as_deref() != Some(path) {
            return;
        }
        match content {
            Some(content) if content.len() <= LARGEST => self.body = content.to_vec(),
            Some(content) => log::warn(&format!(
                "maintenance: `{path}` has {} bytes, and a page may have {LARGEST}; the page stays \
                 as it was",
                content.len()
            )),
            None => log::warn(&format!(
                "maintenance: `{path}` is gone; the page stays as it was"
            )),
        }
    }
}

/// Markup begins with `<`.
fn guess(body: &[u8]) -> &'static str {
    match body.trim_ascii_start().first() {
        Some(b'<') => "text/html; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    }
}
