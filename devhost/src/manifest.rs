//! Reads `spin.toml` (manifest version 2) into what devhost serves.
//!
//! What devhost does not have (middleware, other triggers, sources to download) is refused by
//! name: an application that starts here must mean the same as under Spin.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::routes::Route;

/// The application a manifest describes, with paths relative to nothing but the file system.
#[derive(Debug)]
pub struct Manifest {
    /// The folder of the manifest.
    pub folder: PathBuf,
    /// What the application says about itself.
    pub about: About,
    /// The application's variables.
    pub variables: BTreeMap<String, Variable>,
    /// Every component that has a trigger, by its id.
    pub components: BTreeMap<String, Component>,
    /// The routes of the HTTP triggers in the manifest's order; the second is the component.
    pub routes: Vec<(Route, String)>,
}

/// The application's name and version.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Its name.
    pub name: String,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, rename = "description", skip_serializing)]
    _description: Option<String>,
    #[serde(default, rename = "authors", skip_serializing)]
    _authors: Vec<String>,
}

/// An application variable.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Used when no provider has a value.
    pub default: Option<String>,
    #[serde(default)]
    required: bool,
    #[serde(default, rename = "secret")]
    _secret: bool,
    #[serde(default, rename = "description")]
    _description: Option<String>,
}

/// A component and everything it is granted.
#[derive(Debug)]
pub struct Component {
    /// The wasm file.
    pub source: PathBuf,
    /// What is mounted, read-only.
    pub files: Vec<Mount>,
    /// Hosts as written in the manifest, with templates.
    pub allowed_outbound_hosts: Vec<String>,
    /// Labels of the granted stores.
    pub key_value_stores: Vec<String>,
    /// The component's own variables: templates over the application's.
    pub variables: BTreeMap<String, String>,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
}

/// One file that a component sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The file on this machine.
    pub source: PathBuf,
    /// Its path below the guest's root folder.
    pub destination: PathBuf,
}

impl Manifest {
    /// Reads the manifest at `path`.
    ///
    /// # Errors
    ///
    /// Says which key is wrong, missing or not supported by devhost.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("the manifest {} cannot be read", path.display()))?;
        let folder = fs::canonicalize(path)?
            .parent()
            .map(Path::to_path_buf)
            .context("the manifest has no folder")?;
        Self::parse(&text, &folder)
            .with_context(|| format!("the manifest {} is not usable", path.display()))
    }

    /// Reads a manifest's text; its paths are relative to `folder`.
    ///
    /// # Errors
    ///
    /// As [`Manifest::read`].
    pub fn parse(text: &str, folder: &Path) -> Result<Self> {
        let raw: Raw = toml::from_str(text)?;
        ensure!(
            raw.spin_manifest_version == 2,
            "spin_manifest_version must be 2"
        );
        for (name, variable) in &raw.variables {
            ensure!(
                variable.required != variable.default.is_some(),
                "variables.{name}: needs either `required = true` or a `default`"
            );
        }
        let mut routes = Vec::new();
        for trigger in &raw.trigger.http {
            let route = match &trigger.route {
                RawRoute::Path(path) => Route::parse(path)?,
                RawRoute::Private { private: true } => Route::Private,
                RawRoute::Private { private: false } => bail!("trigger.http: `private = false`"),
            };
            ensure!(
                raw.component.contains_key(&trigger.component),
                "trigger.http: no component is called `{}`",
                trigger.component
            );
            routes.push((route, trigger.component.clone()));
        }
        ensure!(!routes.is_empty(), "the manifest has no [[trigger.http]]");
        let mut components = BTreeMap::new();
        for (id, component) in raw.component {
            let component = component
                .resolve(folder)
                .with_context(|| format!("component.{id}"))?;
            components.insert(id, component);
        }
        Ok(Self {
            folder: folder.to_path_buf(),
            about: raw.application,
            variables: raw.variables,
            components,
            routes,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    spin_manifest_version: u32,
    application: About,
    #[serde(default)]
    variables: BTreeMap<String, Variable>,
    trigger: RawTriggers,
    component: BTreeMap<String, RawComponent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTriggers {
    #[serde(default)]
    http: Vec<RawTrigger>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTrigger {
    route: RawRoute,
    component: String,
    #[serde(default, rename = "id")]
    _id: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawRoute {
    Path(String),
    Private { private: bool },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawComponent {
    source: String,
    #[serde(default)]
    files: Vec<RawFiles>,
    #[serde(default)]
    allowed_outbound_hosts: Vec<String>,
    #[serde(default)]
    key_value_stores: Vec<String>,
    #[serde(default)]
    variables: BTreeMap<String, String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default, rename = "build")]
    _build: Option<toml::Table>,
    #[serde(default, rename = "tool")]
    _tool: Option<toml::Table>,
    #[serde(default, rename = "targets")]
    _targets: Option<toml::Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawFiles {
    Pattern(String),
    Mount { source: String, destination: String },
}

impl RawComponent {
    fn resolve(self, folder: &Path) -> Result<Component> {
        let mut files = Vec::new();
        for entry in &self.files {
            match entry {
                RawFiles::Pattern(pattern) => files.extend(matches(folder, pattern)?),
                RawFiles::Mount {
                    source,
                    destination,
                } => {
                    let inside = destination.trim_start_matches('/');
                    below(folder.join(source), PathBuf::from(inside), &mut files)?;
                }
            }
        }
        for mount in &files {
            ensure!(
                mount.destination.components().all(|part| {
                    matches!(
                        part,
                        std::path::Component::Normal(_) | std::path::Component::CurDir
                    )
                }),
                "files: {} would leave the mounted folder",
                mount.destination.display()
            );
        }
        Ok(Component {
            source: folder.join(self.source),
            files,
            allowed_outbound_hosts: self.allowed_outbound_hosts,
            key_value_stores: self.key_value_stores,
            variables: self.variables,
            environment: self.environment,
        })
    }
}

/// The files a pattern names, at the same place below the guest's root.
fn matches(folder: &Path, pattern: &str) -> Result<Vec<Mount>> {
    let mut files = Vec::new();
    let anchored = Path::new(&glob::Pattern::escape(&folder.to_string_lossy())).join(pattern);
    for path in glob::glob(&anchored.to_string_lossy()).context("files")? {
        let path = path?;
        let destination = path.strip_prefix(folder).unwrap_or(&path).to_path_buf();
        below(path, destination, &mut files)?;
    }
    ensure!(!files.is_empty(), "files: nothing matches `{pattern}`");
    Ok(files)
}

/// Adds the file `source`, or every file below the folder `source`.
fn below(source: PathBuf, destination: PathBuf, files: &mut Vec<Mount>) -> Result<()> {
    if source.is_dir() {
        for entry in fs::read_dir(&source)? {
            let entry = entry?;
            below(entry.path(), destination.join(entry.file_name()), files)?;
        }
        return Ok(());
    }
    ensure!(
        source.is_file(),
        "files: {} is not a file",
        source.display()
    );
    files.push(Mount {
        source,
        destination,
    });
    Ok(())
}
