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

/// A key-value store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreConfig {
    /// Shared by many machines.
    Redis {
        /// The server.
        url: String,
    },
    /// In a file.
    Sqlite {
        /// The file, relative to the working folder once it was read from a file.
        path: PathBuf,
    },
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self::Sqlite {
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
            if let StoreConfig::Sqlite { path } = store {
                *path = folder.join(&*path);
            }
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
            let store = match (store.kind.as_str(), store.path, store.url) {
                ("redis", None, Some(url)) => StoreConfig::Redis { url },
                ("redis", _, _) => bail!("key_value_store.{label}: `redis` needs `url` alone"),
                ("spin", Some(path), None) => StoreConfig::Sqlite { path: path.into() },
                ("spin", None, None) => StoreConfig::default(),
                ("spin", _, Some(_)) => bail!("key_value_store.{label}: `spin` has no `url`"),
                (kind, _, _) => bail!(
                    "key_value_store.{label}: devhost has no type `{kind}`, only `spin` and `redis`"
                ),
            };
            config.key_value_stores.insert(label, store);
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
    url: Option<String>,
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
        let path = PathBuf::from(".spin/airside.db");
        let expected = StoreConfig::Sqlite { path };
        assert_eq!(config.key_value_stores["default"], expected);
        assert_eq!(config.connection_pooling, Pooling::On);
    }

    #[test]
    fn the_commented_block_for_many_machines_is_right() {
        let text = include_str!("../../runtime-config.toml");
        let (_, block) = text.split_once("# [key_value_store.default]").unwrap();
        let block = block.replace("\n# ", "\n");
        let config = RuntimeConfig::parse(&format!("[key_value_store.default]{block}")).unwrap();
        let url = "redis://127.0.0.1:6379".to_owned();
        let expected = StoreConfig::Redis { url };
        assert_eq!(config.key_value_stores["default"], expected);
    }

    #[test]
    fn what_devhost_has_not_is_refused() {
        for store in [
            "type = \"redis\"",
            "type = \"redis\"\nurl = \"redis://127.0.0.1\"\npath = \"x\"",
            "type = \"spin\"\nurl = \"redis://127.0.0.1\"",
            "type = \"azure_cosmos\"",
        ] {
            let text = format!("[key_value_store.default]\n{store}\n");
            assert!(RuntimeConfig::parse(&text).is_err(), "{store}");
        }
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
