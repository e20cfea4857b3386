//! stub
use crate::config::model;
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hash([u8; 32]);
impl Hash {
    pub fn of(bytes: &[u8]) -> Hash {
        use sha2::Digest;
        Hash(sha2::Sha256::digest(bytes).into())
    }
}
impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for b in self.0 {
            write!(f, "{b:02x}")?;
        }
        Ok(())
    }
}
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    pub limits: model::PluginLimits,
    pub compile: model::CompileLimits,
    pub grants: model::Grants,
    pub max_faults: u32,
    pub fault_window: std::time::Duration,
}
impl Terms {
    pub fn stock() -> Terms {
        Terms {
            limits: Default::default(),
            compile: Default::default(),
            grants: model::Grants::ALL,
            max_faults: 10,
            fault_window: std::time::Duration::from_secs(60),
        }
    }
}
impl From<&model::Plugin> for Terms {
    fn from(p: &model::Plugin) -> Terms {
        Terms {
            limits: p.limits,
            compile: p.compile,
            grants: p.grants,
            max_faults: p.max_faults,
            fault_window: p.fault_window,
        }
    }
}
pub enum Compiler {
    Here,
    Aside {
        program: std::path::PathBuf,
        cache: Option<std::path::PathBuf>,
    },
}
impl super::Runtime {
    pub fn read(
        &self,
        name: &str,
        file: &std::path::Path,
        _c: &model::CompileLimits,
    ) -> Result<Vec<u8>, super::PluginError> {
        std::fs::read(file).map_err(|source| super::PluginError::Read {
            plugin: name.into(),
            file: file.into(),
            source,
        })
    }
}
