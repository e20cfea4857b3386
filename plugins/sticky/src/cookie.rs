//! The cookie that names a client's server: `name=id; expires=...; domain=...; httponly; secure;
//! samesite=...; path=...`, letter for letter as `ngx_http_upstream_sticky_cookie_insert` writes
//! it. No attribute is there unless it was asked for.

use waypost_sdk::{Request, Schema, Settings, SettingsError, Template, parse_duration};

/// What every cookie of this upstream has in common.
pub(crate) struct Cookie {
    name: String,
    expires: Expires,
    /// May contain variables.
    domain: Option<Template>,
    httponly: bool,
    secure: bool,
    /// May contain variables.
    samesite: Option<Template>,
    path: Option<String>,
}

/// How long the client keeps it.
enum Expires {
    /// Until the browser is closed.
    Session,
    /// So many seconds from each response on.
    After(u64),
    /// `max`: nginx's far future.
    Max,
}

impl Cookie {
    /// The table `cookie`.
    pub(crate) fn schema() -> Schema {
        Schema::new()
            .text("name", "the cookie's name")
            .required()
            .text(
                "expires",
                "how long the client keeps it: a duration, or \"max\"",
            )
            .template("domain", "its `domain`")
            .text("path", "its `path`")
            .flag("httponly", "scripts do not see it")
            .flag("secure", "it is sent by TLS only")
            .template(
                "samesite",
                "its `samesite`: \"strict\", \"lax\" or \"none\"",
            )
    }

    /// Reads the table `cookie`.
    pub(crate) fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let name = settings
            .text("name")?
            .ok_or_else(|| settings.missing("name"))?;
        // RFC 6265, 4.1.1: a token.
        if name.is_empty()
            || !name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        {
            return Err(settings.error("name", &format!("`{name}` cannot be a cookie's name")));
        }
        let expires = match settings.text("expires")? {
            None => Expires::Session,
            Some(text) if text == "max" => Expires::Max,
            Some(text) => match parse_duration(&text) {
                Some(duration) => Expires::After(duration.as_secs()),
                None => {
                    return Err(settings.error(
                        "expires",
                        "`expires` must be a duration such as \"1h\", or \"max\"",
                    ));
                }
            },
        };
        let domain = template(&mut settings, "domain")?;
        let samesite = template(&mut settings, "samesite")?;
        if let Some(fixed) = samesite.as_ref().and_then(Template::literal)
            && !is_samesite(fixed.as_bytes())
        {
            return Err(settings.error(
                "samesite",
                "`samesite` must be \"strict\", \"lax\" or \"none\"",
            ));
        }
        let path = attribute(&mut settings, "path")?;
        let (httponly, secure) = (settings.flag("httponly")?, settings.flag("secure")?);
        settings.finish()?;
        Ok(Cookie {
            name,
            expires,
            domain,
            httponly,
            secure,
            samesite,
            path,
        })
    }

    /// The cookie's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The value of the header `Set-Cookie` that names this server.
    pub(crate) fn render(&self, id: &str, request: Request) -> Vec<u8> {
        let mut cookie = Vec::with_capacity(256);
        let mut add =
            |parts: &[&[u8]]| parts.iter().for_each(|part| cookie.extend_from_slice(part));
        add(&[self.name.as_bytes(), b"=", id.as_bytes()]);
        match self.expires {
            Expires::Session => {}
            Expires::Max => add(&[b"; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000"]),
            Expires::After(seconds) => {
                if let Some(now) = unix_time(request) {
                    add(&[b"; expires=", cookie_date(now + seconds).as_bytes()]);
                }
                add(&[b"; max-age=", seconds.to_string().as_bytes()]);
            }
        }
        let domain = self
            .domain
            .as_ref()
            .map(|domain| domain.render(request))
            .unwrap_or_default();
        if !domain.is_empty() {
            add(&[b"; domain=", &domain]);
        }
        if self.httponly {
            add(&[b"; httponly"]);
        }
        if self.secure {
            add(&[b"; secure"]);
        }
        let samesite = self
            .samesite
            .as_ref()
            .map(|samesite| samesite.render(request))
            .unwrap_or_default();
        if !samesite.is_empty() {
            add(&[
                b"; samesite=",
                if is_samesite(&samesite) {
                    &samesite
                } else {
                    b"strict"
                },
            ]);
        }
        if let Some(path) = &self.path {
            add(&[b"; path=", path.as_bytes()]);
        }
        cookie
    }
}

/// An attribute's text (RFC 6265, 4.1.1): with a control character in it, no response could have
/// the cookie.
fn attribute(settings: &mut Settings, key: &'static str) -> Result<Option<String>, SettingsError> {
    let text = settings.text(key)?;
    let wrong = match &text {
        Some(text) if text.is_empty() => "is empty",
        Some(text) if text.contains(|letter: char| letter.is_control() || letter == ';') => {
            "must not have `;` or control characters"
        }
        _ => return Ok(text),
    };
    Err(settings.error(key, &format!("`{key}` {wrong}")))
}

fn template(settings: &mut Settings, key: &'static str) -> Result<Option<Template>, SettingsError> {
    let text = attribute(settings, key)?;
    text.map(|text| settings.as_template(key, &text))
        .transpose()
}

fn is_samesite(value: &[u8]) -> bool {
    [b"strict".as_slice(), b"lax", b"none"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(value))
}

/// Seconds since 1970, from `$msec`: the clock of `pick` knows no date.
fn unix_time(request: Request) -> Option<u64> {
    let msec = String::from_utf8(request.variable("msec")?).ok()?;
    msec.split('.').next()?.parse().ok()
}

/// A date as `ngx_http_cookie_time` writes it: two digits for the year, but four after 2037, where
/// two-digit years run out.
fn cookie_date(unix_time: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (days, seconds) = (unix_time / 86_400, unix_time % 86_400);
    // Days from 1970 to year, month and day by 400-year eras that begin on 1 March, after H.
    // Hinnant's `civil_from_days`.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = 400 * era + year_of_era + u64::from(month < 2);
    let year = if year > 2037 {
        year.to_string()
    } else {
        format!("{:02}", year % 100)
    };
    format!(
        "{}, {day:02}-{}-{year} {:02}:{:02}:{:02} GMT",
        DAYS[(days % 7) as usize],
        MONTHS[month as usize],
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::cookie_date;

    #[test]
    fn dates_have_two_digits_for_the_year_until_2037() {
        assert_eq!(cookie_date(0), "Thu, 01-Jan-70 00:00:00 GMT");
        assert_eq!(cookie_date(951_782_400), "Tue, 29-Feb-00 00:00:00 GMT");
        assert_eq!(cookie_date(1_234_567_890), "Fri, 13-Feb-09 23:31:30 GMT");
        assert_eq!(cookie_date(2_145_916_555), "Thu, 31-Dec-37 23:55:55 GMT");
        assert_eq!(cookie_date(2_145_916_800), "Fri, 01-Jan-2038 00:00:00 GMT");
    }
}
