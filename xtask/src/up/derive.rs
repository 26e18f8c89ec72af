//! The app's files for other ports than those they name.

use std::path::Path;

use anyhow::{Context, Result};
use toml_edit::{DocumentMut, Item, Value};

use crate::up::{DEFAULT_PORT, Ports};

/// From text, ports, the checkout and the folder of the result to the new text.
type Derive = fn(&str, Ports, &Path, &Path) -> Result<String>;

/// What is derived, and how.
pub(crate) const FILES: [(&str, Derive); 3] = [
    ("airside.toml", |text, ports, _, _| {
        Ok(shift_ports(text, ports))
    }),
    ("runtime-config.toml", |text, _, _, folder| {
        runtime_config(text, folder)
    }),
    ("spin.toml", |text, ports, root, _| {
        manifest(&shift_ports(text, ports), root)
    }),
];

/// Replaces each of the three loopback addresses, all at once: the new ports may be among the
/// old ones.
fn shift_ports(text: &str, ports: Ports) -> String {
    const HOST: &str = "127.0.0.1:";
    let mut pieces = text.split(HOST);
    let mut shifted = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = piece.len() - piece.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (port, rest) = piece.split_at(digits);
        let offset = port
            .parse::<u16>()
            .ok()
            .and_then(|port| port.checked_sub(DEFAULT_PORT));
        let new = match offset {
            Some(0) => ports.gateway.to_string(),
            Some(1) => ports.provider.to_string(),
            Some(2) => ports.upstream.to_string(),
            _ => port.to_owned(),
        };
        shifted.push_str(HOST);
        shifted.push_str(&new);
        shifted.push_str(rest);
    }
    shifted
}

/// The manifest lies elsewhere, the wasm files do not.
fn manifest(text: &str, root: &Path) -> Result<String> {
    let mut document: DocumentMut = text.parse()?;
    let components = document
        .get_mut("component")
        .and_then(Item::as_table_like_mut)
        .context("no [component.*]")?;
    for (name, component) in components.iter_mut() {
        let source = component
            .get_mut("source")
            .and_then(Item::as_value_mut)
            .with_context(|| format!("[component.{name}] has no source"))?;
        let relative = source
            .as_str()
            .with_context(|| format!("source of {name}"))?
            .to_owned();
        *source = path_value(&root.join(relative))?;
    }
    Ok(document.to_string())
}

/// Each demo keeps its own database beside its manifest.
fn runtime_config(text: &str, folder: &Path) -> Result<String> {
    let mut document: DocumentMut = text.parse()?;
    let stores = document
        .get_mut("key_value_store")
        .and_then(Item::as_table_like_mut);
    if let Some(stores) = stores {
        for (name, store) in stores.iter_mut() {
            if let Some(path) = store.get_mut("path").and_then(Item::as_value_mut) {
                *path = path_value(&folder.join(format!("{name}.db")))?;
            }
        }
    }
    Ok(document.to_string())
}

fn path_value(path: &Path) -> Result<Value> {
    let text = path
        .to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(Value::from(text).decorated(" ", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_shifted_at_once_and_others_stay() {
        let ports = Ports::from_first(3001).unwrap();
        let text = "a 127.0.0.1:3000 b 127.0.0.1:3001/x c 127.0.0.1:3002 d 127.0.0.1:6379 \
                    127.0.0.1:30001 127.0.0.1:3003 127.0.0.1:";
        let expected = "a 127.0.0.1:3001 b 127.0.0.1:3002/x c 127.0.0.1:3003 d 127.0.0.1:6379 \
                        127.0.0.1:30001 127.0.0.1:3003 127.0.0.1:";
        assert_eq!(shift_ports(text, ports), expected);
    }

    #[test]
    fn a_derived_manifest_finds_the_wasm_files_and_keeps_the_rest() {
        let text = "[component.a]\nsource = \"target/a.wasm\" # why\nfiles = [\"airside.toml\"]\n";
        let expected = "[component.a]\nsource = \"/r/target/a.wasm\"\nfiles = [\"airside.toml\"]\n";
        assert_eq!(manifest(text, Path::new("/r")).unwrap(), expected);
        assert!(manifest("[component.a]\n", Path::new("/r")).is_err());
    }

    #[test]
    fn a_derived_store_is_beside_its_manifest_and_a_redis_stays() {
        let text = "[key_value_store.default]\ntype = \"spin\"\npath = \".spin/airside.db\"\n\
                    [key_value_store.other]\ntype = \"redis\"\nurl = \"redis://localhost\"\n";
        let expected = text.replace(".spin/airside.db", "/d/default.db");
        assert_eq!(runtime_config(text, Path::new("/d")).unwrap(), expected);
    }

    #[test]
    fn the_checkout_s_files_can_be_derived() {
        let workspace = crate::workspace::Workspace::find().unwrap();
        let ports = Ports::from_first(4000).unwrap();
        for (name, derive) in FILES {
            let text = std::fs::read_to_string(workspace.path(name)).unwrap();
            let derived = derive(&text, ports, workspace.root(), Path::new("/d")).unwrap();
            for port in ["127.0.0.1:3000", "127.0.0.1:3001", "127.0.0.1:3002"] {
                assert!(!derived.contains(port), "{name} still names {port}");
            }
        }
    }
}
