//! The settings: zones, and how places use them. The words are nginx's.

use waypost_sdk::log::Level;
use waypost_sdk::{KeyTable, Settings, SettingsError};

use crate::bucket::{MOST, REQUEST, Rate};
use crate::decision::Limit;
use crate::shared;
use crate::zone::Zone;

/// Instances that a host is thought to have for a hook with a key: a zone's room is divided by it.
const INSTANCES: u64 = 64;

/// The least room of an instance, since keys are not spread evenly: 128 buckets.
const LEAST_ROOM: u64 = 8 << 10;

/// As nginx's: eight pages.
const SMALLEST_ZONE: u64 = 32 << 10;

/// An instance's part is 4 MiB of the 16 MiB that it has unless its limit was raised.
const LARGEST_ZONE: u64 = 256 << 20;

/// What several zones may have together, in one instance.
const LARGEST_SUM: u64 = 10 << 20;

/// `nodelay`: nothing that a burst allows is delayed.
const ALL: i64 = i64::MAX / 2;

/// Whether zones are one, whose keys are spread over instances, or several in one instance.
pub(crate) enum Zones {
    One(Zone),
    Several(Vec<Zone>),
}

/// What a place says, as far as it says something.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Said {
    size: Size,
    status: Option<u16>,
    dry_run: Option<bool>,
    log_level: Option<Level>,
}

/// The size of a burst, and how much of it is delayed.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    burst: Option<i64>,
    undelayed: Option<i64>,
}

/// How a place limits requests.
#[derive(Debug)]
pub(crate) struct Place {
    /// In the order in which they are asked.
    pub(crate) limits: Vec<Limit>,
    pub(crate) status: u16,
    pub(crate) dry_run: bool,
    /// Of lines about rejected and about delayed requests.
    pub(crate) log_levels: (Level, Level),
}

/// Reads the zones of a declaration. `is_shared`: they are in the store.
pub(crate) fn zones(settings: &mut Settings, is_shared: bool) -> Result<Zones, SettingsError> {
    let several = settings.tables_by_name("zones")?;
    if several.is_empty() {
        let name = settings.text("zone")?;
        let is_named = name.is_some();
        let name = name.unwrap_or_else(|| "limit_req".to_owned());
        let mut has_size = false;
        let zone = zone(settings, name, LARGEST_ZONE, |size| {
            has_size = size.is_some();
            match is_shared {
                true => LEAST_ROOM,
                false => (size.unwrap_or(10 << 20) / INSTANCES).max(LEAST_ROOM),
            }
        })?;
        if is_shared {
            shared::check(settings, &zone, is_named, has_size)?;
        }
        return Ok(Zones::One(zone));
    }
    if is_shared {
        return Err(settings.error(
            "zones",
            "zones that are decided at once cannot be in the store: declare a hook for each, and \
             use both",
        ));
    }
    if settings.text("key")?.is_some() {
        let wrong = "`zones` have a `key` each: there is none beside them";
        return Err(settings.error("key", wrong));
    }
    let (mut zones, mut sum) = (Vec::new(), 0);
    for (name, mut table) in several {
        let mut room = 0;
        let read = zone(&mut table, name, LARGEST_SUM, |size| {
            room = size.unwrap_or(1 << 20);
            room
        })?;
        table.finish()?;
        zones.push(read);
        sum += room;
    }
    if sum > LARGEST_SUM {
        return Err(settings.error(
            "zones",
            "the sizes of zones that are decided at once must not exceed \"10m\" together: about \
             16,000 keys take \"1m\"",
        ));
    }
    Ok(Zones::Several(zones))
}

/// Reads one zone; `room` makes bytes of its `size`.
fn zone(
    settings: &mut Settings,
    name: String,
    largest: u64,
    room: impl FnOnce(Option<u64>) -> u64,
) -> Result<Zone, SettingsError> {
    let key = settings.text("key")?;
    let key = key.ok_or_else(|| settings.missing("key"))?;
    let template = settings.as_template("key", &key)?;
    let rate = settings.text("rate")?;
    let rate = rate.ok_or_else(|| settings.missing("rate"))?;
    let rate = Rate::parse(&rate).ok_or_else(|| {
        let wrong =
            format!("`{rate}` is not a rate such as \"10r/s\" or \"100r/m\", from 1 to {MOST}");
        settings.error("rate", &wrong)
    })?;
    let size = settings.size("size")?;
    if size.is_some_and(|size| !(SMALLEST_ZONE..=largest).contains(&size)) {
        let largest = largest >> 20;
        let wrong =
            format!("`size` must be from \"32k\" to \"{largest}m\": about 16,000 keys take \"1m\"");
        return Err(settings.error("size", &wrong));
    }
    Ok(Zone {
        name,
        key,
        template,
        rate,
        buckets: KeyTable::with_room(room(size) as usize),
        evicted: 0,
    })
}

impl Said {
    /// Reads what a place, or a declaration for all of its places, says of the answers, and of the
    /// burst if there is one zone.
    pub(crate) fn read(settings: &mut Settings, one_zone: bool) -> Result<Self, SettingsError> {
        const LEVELS: [(&str, Level); 4] = [
            ("error", Level::Error),
            ("warn", Level::Warn),
            ("notice", Level::Info),
            ("info", Level::Info),
        ];
        Ok(Said {
            size: match one_zone {
                true => Size::read(settings)?,
                false => Size::default(),
            },
            status: settings
                .number_within("status", 400..=599)?
                .map(|status| status as u16),
            dry_run: settings.optional_flag("dry_run")?,
            log_level: settings.choice("log_level", &LEVELS)?,
        })
    }

    /// The place that says this, where the declaration says `all`.
    pub(crate) fn place(self, all: Said, limits: Vec<Limit>) -> Place {
        // As in nginx, where `notice` is between the last two.
        let log_levels = match self.log_level.or(all.log_level) {
            None | Some(Level::Error) => (Level::Error, Level::Warn),
            Some(Level::Warn) => (Level::Warn, Level::Info),
            Some(Level::Info | Level::Debug) => (Level::Info, Level::Info),
        };
        Place {
            limits,
            status: self.status.or(all.status).unwrap_or(503),
            dry_run: self.dry_run.or(all.dry_run).unwrap_or(false),
            log_levels,
        }
    }

    /// The limit of a place, where there is one zone.
    pub(crate) fn limit(self, all: Said) -> Limit {
        let size = self.size;
        Limit {
            zone: 0,
            burst: size.burst.or(all.size.burst).unwrap_or(0),
            undelayed: size.undelayed.or(all.size.undelayed).unwrap_or(0),
        }
    }
}

impl Size {
    fn read(settings: &mut Settings) -> Result<Self, SettingsError> {
        let burst = settings.number_within("burst", 0..=MOST)?;
        let delay = settings.number_within("delay", 0..=MOST)?;
        let nodelay = settings.optional_flag("nodelay")?;
        if delay.is_some() && nodelay == Some(true) {
            return Err(settings.error(
                "delay",
                "`delay` and `nodelay` exclude each other: leave one of them out",
            ));
        }
        let undelayed = match (delay, nodelay) {
            (Some(delay), _) => Some(delay as i64 * REQUEST),
            (None, Some(true)) => Some(ALL),
            (None, Some(false)) => Some(0),
            (None, None) => None,
        };
        Ok(Size {
            burst: burst.map(|burst| burst as i64 * REQUEST),
            undelayed,
        })
    }
}

/// Reads the limits of a place, where there are several zones.
pub(crate) fn limits(settings: &mut Settings, zones: &[Zone]) -> Result<Vec<Limit>, SettingsError> {
    let mut limits: Vec<Limit> = Vec::new();
    for mut table in settings.tables("zones")? {
        let name = table.text("zone")?;
        let name = name.ok_or_else(|| table.missing("zone"))?;
        let zone = zones.iter().position(|zone| zone.name == name);
        let Some(zone) = zone else {
            let names = zones.iter().map(|zone| format!("`{}`", zone.name));
            let names: Vec<String> = names.collect();
            let wrong = format!(
                "no zone `{name}` is declared; there are {}",
                names.join(", ")
            );
            return Err(table.error("zone", &wrong));
        };
        if limits.iter().any(|limit| limit.zone == zone) {
            let wrong = format!("`{name}` is there twice: a request counts once in a zone");
            return Err(table.error("zone", &wrong));
        }
        let Size { burst, undelayed } = Size::read(&mut table)?;
        table.finish()?;
        limits.push(Limit {
            zone,
            burst: burst.unwrap_or(0),
            undelayed: undelayed.unwrap_or(0),
        });
    }
    if limits.is_empty() {
        return Err(settings.error(
            "zones",
            "say which zones count here, in the order in which they are asked (several zones are \
             declared in a `[hook.NAME]`, and places use it): `zones = [{ zone = \
             \"NAME\", burst = 5 }]`",
        ));
    }
    Ok(limits)
}
