//! A URL that is polled. What has not changed is not sent again (RFC 9110, section 13.1).

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{
    ETAG, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};

use super::client::{Asked, Client};
use super::reader::{Again, Answer, Reader, Reading};
use crate::config::model::SourceUrl;
use crate::config::{ListFormat, list_items};

pub(super) struct Polled {
    client: Client,
    url: SourceUrl,
    interval: Duration,
    /// By which the next answer is told from the last one: `ETag`, or else `Last-Modified`.
    validator: Option<(HeaderName, HeaderValue)>,
}

impl Polled {
    pub(super) fn new(client: Client, url: SourceUrl, interval: Duration) -> Polled {
        Polled {
            client,
            url,
            interval,
            validator: None,
        }
    }

    async fn poll(&mut self) -> Result<Answer, String> {
        let mut asked = Asked::get(&self.url.path);
        asked.headers.extend(self.validator.clone());
        let again = Again::After(self.interval);
        // An error leaves none behind.
        let validator = self.validator.take();
        let response = self.client.ask(&self.url, asked).await?;
        match response.status {
            StatusCode::NOT_MODIFIED if validator.is_some() => {
                self.validator = validator;
                Ok(Answer { items: None, again })
            }
            status if status.is_success() => {
                let header = |name: HeaderName| response.headers.get(name).cloned();
                let etag = header(ETAG).map(|etag| (IF_NONE_MATCH, etag));
                let modified = || header(LAST_MODIFIED).map(|date| (IF_MODIFIED_SINCE, date));
                let validator = etag.or_else(modified);
                let items = list_items(&response.whole().await?, ListFormat::Json)?;
                self.validator = validator;
                Ok(Answer {
                    items: Some(items),
                    again,
                })
            }
            status => Err(format!("it answers {}", status.as_u16())),
        }
    }
}

impl Reader for Polled {
    fn next(&mut self) -> Reading<'_> {
        Box::pin(self.poll())
    }

    fn refuse(&mut self) {
        self.validator = None;
    }
}
