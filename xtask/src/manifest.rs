//! spin.toml, as far as permissions and routes go.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use toml_edit::{DocumentMut, Item};

/// What the app declares.
#[derive(Debug, Default)]
pub(crate) struct Manifest {
    /// By name.
    pub(crate) components: BTreeMap<String, Component>,
    /// The names in `[variables]`.
    pub(crate) variables: BTreeSet<String>,
}

/// What one component is reached by and may reach.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Component {
    /// `allowed_outbound_hosts`, as written.
    pub(crate) allowed_outbound_hosts: BTreeSet<String>,
    /// `files`, as written.
    pub(crate) files: BTreeSet<String>,
    /// `key_value_stores`.
    pub(crate) key_value_stores: BTreeSet<String>,
    /// Whether a trigger says `route = { private = true }`.
    pub(crate) private: bool,
    /// The routes of its triggers.
    pub(crate) routes: BTreeSet<String>,
    /// Granted variables and their templates.
    pub(crate) variables: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// When it is no TOML or has another form than Spin's.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let document: DocumentMut = text.parse()?;
        let mut manifest = Self::default();
        if let Some(variables) = document.get("variables").and_then(Item::as_table_like) {
            manifest.variables = variables.iter().map(|(name, _)| name.to_owned()).collect();
        }
        let components = document
            .get("component")
            .and_then(Item::as_table_like)
            .context("no [component.*]")?;
        for (name, item) in components.iter() {
            manifest
                .components
                .insert(name.to_owned(), component(item)?);
        }
        let triggers = document
            .get("trigger")
            .and_then(|trigger| trigger.get("http"))
            .and_then(Item::as_array_of_tables)
            .context("no [[trigger.http]]")?;
        for trigger in triggers {
            let name = trigger.get("component").and_then(Item::as_str);
            let name = name.context("a trigger without a component's name")?;
            let component = manifest
                .components
                .get_mut(name)
                .with_context(|| format!("no [component.{name}] for a trigger"))?;
            let route = trigger
                .get("route")
                .with_context(|| format!("{name}: no route"))?;
            match route.as_str() {
                Some(route) => {
                    component.routes.insert(route.to_owned());
                }
                None => {
                    let private = route.get("private").and_then(Item::as_bool);
                    component.private |= private.with_context(|| format!("{name}: odd route"))?;
                }
            }
        }
        Ok(manifest)
    }
}

fn component(item: &Item) -> Result<Component> {
    let mut variables = BTreeMap::new();
    if let Some(table) = item.get("variables").and_then(Item::as_table_like) {
        for (name, value) in table.iter() {
            let template = value
                .as_str()
                .with_context(|| format!("variable {name}: no string"))?;
            variables.insert(name.to_owned(), template.to_owned());
        }
    }
    Ok(Component {
        allowed_outbound_hosts: strings(item, "allowed_outbound_hosts")?,
        files: strings(item, "files")?,
        key_value_stores: strings(item, "key_value_stores")?,
        private: false,
        routes: BTreeSet::new(),
        variables,
    })
}

fn strings(item: &Item, key: &str) -> Result<BTreeSet<String>> {
    let Some(value) = item.get(key) else {
        return Ok(BTreeSet::new());
    };
    let array = value
        .as_array()
        .with_context(|| format!("{key} is no array"))?;
    let string = |value: &toml_edit::Value| value.as_str().map(str::to_owned);
    array
        .iter()
        .map(|value| string(value).with_context(|| format!("{key}: no string")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_collected_from_the_triggers() {
        let manifest = Manifest::parse(
            "[[trigger.http]]\nroute = \"/a\"\ncomponent = \"x\"\n\
             [[trigger.http]]\nroute = \"/b/...\"\ncomponent = \"x\"\n\
             [[trigger.http]]\nroute = { private = true }\ncomponent = \"y\"\n\
             [component.x]\nsource = \"x.wasm\"\n[component.y]\nsource = \"y.wasm\"\n",
        )
        .unwrap();
        let routes: Vec<_> = manifest.components["x"].routes.iter().cloned().collect();
        assert_eq!(routes, ["/a", "/b/..."]);
        assert!(!manifest.components["x"].private);
        assert!(manifest.components["y"].private);
    }

    #[test]
    fn a_trigger_of_nothing_is_refused() {
        let text = "[[trigger.http]]\nroute = \"/a\"\ncomponent = \"z\"\n[component.x]\n";
        assert!(Manifest::parse(text).is_err());
    }
}
