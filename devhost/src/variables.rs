//! `spin:variables@3.0.0`: the values a component was granted, by Spin's order of providers.

use std::collections::{BTreeMap, HashMap};
use std::env;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use wasmtime::component::{Accessor, HasSelf};

use crate::bindings::spin::variables::variables::{Error, Host, HostWithStore};
use crate::manifest::Manifest;

/// Where the application's variables get their values, the strongest first.
pub struct Providers {
    given: HashMap<String, String>,
    runtime: Vec<BTreeMap<String, String>>,
    dotenv: HashMap<String, String>,
    defaults: HashMap<String, Option<String>>,
}

impl Providers {
    /// The providers of one run: `--variable`, the static providers of the runtime configuration,
    /// `SPIN_VARIABLE_<NAME>` in the environment, the same in `.env` (in the working folder, then
    /// beside the manifest), the manifest's default.
    ///
    /// # Errors
    ///
    /// A value is given for a variable that the manifest does not have, or a `.env` is malformed.
    pub fn new(
        manifest: &Manifest,
        given: HashMap<String, String>,
        runtime: Vec<BTreeMap<String, String>>,
    ) -> Result<Self> {
        for name in given.keys() {
            ensure!(
                manifest.variables.contains_key(name),
                "--variable: no variable `{name}`"
            );
        }
        let mut dotenv = read_dotenv(&manifest.folder.join(".env"))?;
        dotenv.extend(read_dotenv(Path::new(".env"))?);
        let defaults = manifest
            .variables
            .iter()
            .map(|(k, v)| (k.clone(), v.default.clone()));
        Ok(Self {
            given,
            runtime,
            dotenv,
            defaults: defaults.collect(),
        })
    }

    /// The text of `template` with every `{{ name }}` replaced.
    ///
    /// # Errors
    ///
    /// The template is malformed, or a variable of it is unknown or has no value.
    pub fn resolve(&self, template: &str) -> Result<String> {
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").context("`{{` without `}}`")?;
            text.push_str(before);
            text.push_str(&self.value(name.trim())?);
            rest = after;
        }
        text.push_str(rest);
        Ok(text)
    }

    fn value(&self, name: &str) -> Result<String> {
        let Some(default) = self.defaults.get(name) else {
            bail!("no variable is called `{name}`");
        };
        let variable = format!("SPIN_VARIABLE_{}", name.to_ascii_uppercase());
        self.given
            .get(name)
            .or_else(|| self.runtime.iter().find_map(|provider| provider.get(name)))
            .cloned()
            .or_else(|| env::var(&variable).ok())
            .or_else(|| self.dotenv.get(&variable).cloned())
            .or_else(|| default.clone())
            .with_context(|| format!("the variable `{name}` has no value"))
    }
}

/// What one component may read.
#[derive(Clone)]
pub struct Granted {
    providers: Arc<Providers>,
    templates: Arc<BTreeMap<String, String>>,
}

impl Granted {
    /// The variables of a component, as templates over the application's.
    pub fn new(providers: Arc<Providers>, templates: BTreeMap<String, String>) -> Self {
        Self {
            providers,
            templates: Arc::new(templates),
        }
    }

    /// Checks that every granted variable has a value now, so that a missing secret stops the
    /// start and not the first request.
    ///
    /// # Errors
    ///
    /// Names the variable, never a value.
    pub fn check(&self) -> Result<()> {
        for (name, template) in self.templates.iter() {
            self.providers
                .resolve(template)
                .with_context(|| format!("variables.{name}"))?;
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Result<String, Error> {
        let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(valid) {
            return Err(Error::InvalidName(format!(
                "`{name}` is not a variable's name"
            )));
        }
        let Some(template) = self.templates.get(name) else {
            return Err(Error::Undefined(format!(
                "no variable `{name}` for this component"
            )));
        };
        self.providers
            .resolve(template)
            .map_err(|error| Error::Undefined(format!("{error:#}")))
    }
}

impl Host for Granted {}

impl<T: AsMut<Granted> + Send> HostWithStore<T> for HasSelf<Granted> {
    async fn get(store: &Accessor<T, Self>, name: String) -> Result<String, Error> {
        let granted = store.with(|mut access| access.get().clone());
        granted.get(&name)
    }
}

/// `NAME=value` lines; blank lines and lines beginning with `#` do not count.
fn read_dotenv(path: &Path) -> Result<HashMap<String, String>> {
    if !path.is_file() {
        return Ok(HashMap::new());
    }
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut values = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line
            .split_once('=')
            .with_context(|| format!("{}: line {} has no `=`", path.display(), number + 1))?;
        values.insert(name.trim().to_owned(), unquoted(value.trim()).to_owned());
    }
    Ok(values)
}

fn unquoted(value: &str) -> &str {
    ['"', '\'']
        .iter()
        .find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(value)
}
