//! The settings: a zone, and how places use it. The words are nginx's, `connections` apart.

use waypost_sdk::log::Level;
use waypost_sdk::{Settings, SettingsError};

/// Instances that a host is thought to have for a hook with a key: a zone's room is divided by it.
const INSTANCES: u64 = 64;

/// The least room of an instance, since keys are not spread evenly: some 150 keys.
const LEAST_ROOM: u64 = 8 << 10;

/// As nginx's: eight pages.
const SMALLEST_ZONE: u64 = 32 << 10;

/// An instance's part is 4 MiB of the 16 MiB that it has unless its limit was raised.
const LARGEST_ZONE: u64 = 256 << 20;

/// As in nginx.
const MOST_CONNECTIONS: u64 = 65_535;

/// What all places share.
pub(crate) struct Zone {
    /// What log lines call it.
    pub(crate) name: String,
    /// The key as it is written.
    pub(crate) key: String,
    /// Bytes for keys in one instance.
    pub(crate) room: usize,
}

/// What a place, or the declaration for all places, says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Said {
    connections: Option<u32>,
    status: Option<u16>,
    dry_run: Option<bool>,
    log_level: Option<Level>,
}

/// How a place limits requests.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) connections: u32,
    pub(crate) status: u16,
    pub(crate) dry_run: bool,
    pub(crate) log_level: Level,
}

impl Zone {
    /// Reads what a declaration says once.
    pub(crate) fn read(settings: &mut Settings) -> Result<Self, SettingsError> {
        let key = settings.text("key")?;
        let key = key.ok_or_else(|| settings.missing("key"))?;
        settings.as_template("key", &key)?;
        let name = settings.text("zone")?;
        let size = settings.size("size")?.unwrap_or(10 << 20);
        if !(SMALLEST_ZONE..=LARGEST_ZONE).contains(&size) {
            return Err(settings.error(
                "size",
                "`size` must be from \"32k\" to \"256m\": about 20,000 keys take \"1m\"",
            ));
        }
        Ok(Zone {
            name: name.unwrap_or_else(|| "limit_conn".to_owned()),
            key,
            room: (size / INSTANCES).max(LEAST_ROOM) as usize,
        })
    }
}

impl Said {
    /// Reads what a place may say.
    pub(crate) fn read(settings: &mut Settings) -> Result<Self, SettingsError> {
        const LEVELS: [(&str, Level); 4] = [
            ("error", Level::Error),
            ("warn", Level::Warn),
            ("notice", Level::Info),
            ("info", Level::Info),
        ];
        Ok(Said {
            connections: settings
                .number_within("connections", 1..=MOST_CONNECTIONS)?
                .map(|connections| connections as u32),
            status: settings
                .number_within("status", 400..=599)?
                .map(|status| status as u16),
            dry_run: settings.optional_flag("dry_run")?,
            log_level: settings.choice("log_level", &LEVELS)?,
        })
    }

    /// The place that says this, where the declaration says `all`. `None` without a number of
    /// connections.
    pub(crate) fn place(self, all: Said) -> Option<Place> {
        Some(Place {
            connections: self.connections.or(all.connections)?,
            status: self.status.or(all.status).unwrap_or(503),
            dry_run: self.dry_run.or(all.dry_run).unwrap_or(false),
            log_level: self.log_level.or(all.log_level).unwrap_or(Level::Error),
        })
    }
}
