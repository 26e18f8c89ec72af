//! Reads `runtime-config.toml`: where the key-value stores are, static variables, pooling.
//!
//! Unknown keys are errors, as under Spin; what Spin has and devhost has not is named as such.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The runtime configuration, with Spin's defaults where it is silent.
#[derive(Debug, Default)]
pub struct RuntimeConfig {
    /// Key-value stores by label.
    pub key_value_stores: BTreeMap<String, StoreConfig>,
    /// The values of the static variable providers, the strongest first.
    pub variables: Vec<BTreeMap<String, String>>,
    /// Whether connections to other servers are kept for the next request.
    pub connection_pooling: Pooling,
}

/// A SQLite key-value store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// The file, relative to the working folder once it was read from a file.
    pub path: PathBuf,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::from(".spin/sqlite_key_value.db"),
        }
    }
}

/// Whether idle outbound connections are kept.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// They are.
    #[default]
    On,
    /// Each request has its own connection.
    Off,
}

impl RuntimeConfig {
    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// Names what is unknown or not supported by devhost.
    pub fn read(path: &Path) -> Result<Self> {
        let name = || format!("the runtime configuration {}", path.display());
        let text = fs::read_to_string(path).with_context(name)?;
        let mut config = Self::parse(&text).with_context(name)?;
        // As on Spin, what the file says is relative to where it is.
        let folder = std::path::absolute(path).with_context(name)?;
        let folder = folder.parent().unwrap_or(Path::new("/"));
        for store in config.key_value_stores.values_mut() {
            store.path = folder.join(&store.path);
        }
        Ok(config)
    }

    /// Reads a runtime configuration's text.
    ///
    /// # Errors
    ///
    /// As [`RuntimeConfig::read`].
    pub fn parse(text: &str) -> Result<Self> {
        let raw: Raw = toml::from_str(text)?;
        let mut config = Self::default();
        for (label, store) in raw.key_value_store {
            if store.kind != "spin" {
                bail!(
                    "key_value_store.{label}: devhost has no type `{}`, only `spin`",
                    store.kind
                );
            }
            let path = store
                .path
                .map_or_else(|| StoreConfig::default().path, PathBuf::from);
            config.key_value_stores.insert(label, StoreConfig { path });
        }
        for provider in raw.variables_provider {
            if provider.kind != "static" {
                bail!(
                    "variables_provider: devhost has no type `{}`, only `static`",
                    provider.kind
                );
            }
            config.variables.push(provider.values);
        }
        // Spin: a table that does not ask for pooling turns it off.
        if raw
            .outbound_http
            .is_some_and(|outbound| !outbound.connection_pooling)
        {
            config.connection_pooling = Pooling::Off;
        }
        Ok(config)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    key_value_store: BTreeMap<String, RawStore>,
    #[serde(default)]
    variables_provider: Vec<RawProvider>,
    outbound_http: Option<RawOutbound>,
}

#[derive(Deserialize)]
struct RawStore {
    #[serde(rename = "type")]
    kind: String,
    path: Option<String>,
}

#[derive(Deserialize)]
struct RawProvider {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    values: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOutbound {
    #[serde(default)]
    connection_pooling: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_keeps_its_path() {
        let text = "[key_value_store.default]\ntype = \"spin\"\npath = \".spin/airside.db\"\n";
        let config = RuntimeConfig::parse(text).unwrap();
        assert_eq!(
            config.key_value_stores["default"].path,
            Path::new(".spin/airside.db")
        );
        assert_eq!(config.connection_pooling, Pooling::On);
    }

    #[test]
    fn what_devhost_has_not_is_refused() {
        assert!(RuntimeConfig::parse("[key_value_store.default]\ntype = \"redis\"\n").is_err());
        assert!(RuntimeConfig::parse("[sqlite_database.default]\ntype = \"spin\"\n").is_err());
        assert!(RuntimeConfig::parse("").is_ok());
    }

    #[test]
    fn an_outbound_table_without_pooling_turns_it_off() {
        let pooling = |text| RuntimeConfig::parse(text).unwrap().connection_pooling;
        assert_eq!(pooling("[outbound_http]\n"), Pooling::Off);
        assert_eq!(
            pooling("[outbound_http]\nconnection_pooling = true\n"),
            Pooling::On
        );
    }
}
