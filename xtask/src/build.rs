//! `cargo xtask build`: the wasm files.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::toolchain::{TARGET, WasmStd};
use crate::workspace::{self, Install, Workspace, step};

/// The components of the app, as in spin.toml.
pub(crate) const COMPONENTS: [&str; 6] = [
    "login",
    "callback",
    "logout",
    "session",
    "tokens",
    "authorize",
];

/// Builds what `names` says (nothing: all components) and holds the files to the limit.
///
/// # Errors
/// As [`compile`], and when a file is above the limit.
pub(crate) fn run(
    workspace: &Workspace,
    wasm_std: WasmStd,
    install: Install,
    names: &[String],
) -> Result<()> {
    let built = compile(workspace, wasm_std, install, names)?;
    for (name, _) in &built {
        let file = workspace
            .path("target")
            .join(TARGET)
            .join("release")
            .join(name);
        let bytes = fs::read(&file).with_context(|| format!("no {}", file.display()))?;
        counters(name, &bytes)?;
    }
    let too_large: Vec<_> = built
        .into_iter()
        .filter(|(_, size)| *size > SIZE_LIMIT)
        .map(|(name, _)| name)
        .collect();
    if !too_large.is_empty() {
        bail!(
            "above {} bytes: {}",
            grouped(SIZE_LIMIT),
            too_large.join(", ")
        );
    }
    Ok(())
}

/// Builds what `names` says (nothing: all components); returns the files' names and sizes.
///
/// # Errors
/// When the target's std cannot be had or the build fails.
pub(crate) fn compile(
    workspace: &Workspace,
    wasm_std: WasmStd,
    install: Install,
    names: &[String],
) -> Result<Vec<(String, u64)>> {
    let packages = packages(workspace, names)?;
    let std = wasm_std.provide(workspace, install)?;
    step(&format!("Building {} for {TARGET}", packages.join(", ")));
    let mut cargo = workspace.cargo("build");
    cargo.args(["--release", "--target", TARGET]);
    for package in &packages {
        cargo.args(["--package", package]);
    }
    std.apply(&mut cargo);
    workspace::run("building the wasm files", &mut cargo)?;
    report(workspace, &packages)
}

/// The packages of the test guests: those in `devhost/guests`.
pub(crate) fn guests(workspace: &Workspace) -> Result<Vec<String>> {
    let folder = workspace.path("devhost/guests");
    let mut packages = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        let manifest = entry?.path().join("Cargo.toml");
        let Ok(text) = fs::read_to_string(&manifest) else {
            continue;
        };
        let document: toml_edit::DocumentMut = text
            .parse()
            .with_context(|| format!("reading {}", manifest.display()))?;
        let name = document
            .get("package")
            .and_then(|package| package.get("name"));
        if let Some(name) = name.and_then(|name| name.as_str()) {
            packages.push(name.to_owned());
        }
    }
    packages.sort();
    Ok(packages)
}

fn packages(workspace: &Workspace, names: &[String]) -> Result<Vec<String>> {
    if names.is_empty() {
        return Ok(COMPONENTS
            .iter()
            .map(|name| format!("airside-{name}"))
            .collect());
    }
    let mut packages = Vec::new();
    for name in names {
        match name.as_str() {
            "guests" => packages.extend(guests(workspace)?),
            component if COMPONENTS.contains(&component) => {
                packages.push(format!("airside-{component}"));
            }
            package => packages.push(package.to_owned()),
        }
    }
    Ok(packages)
}

fn report(workspace: &Workspace, packages: &[String]) -> Result<Vec<(String, u64)>> {
    let folder = workspace.path("target").join(TARGET).join("release");
    let mut files = Vec::new();
    for package in packages {
        let name = format!("{}.wasm", package.replace('-', "_"));
        let file = folder.join(&name);
        let built = fs::read(&file).with_context(|| format!("no {}", file.display()))?;
        let bare = without_names(&built);
        if let Some(bare) = &bare {
            // In place of the file: cargo keeps the same one under another name.
            let beside = file.with_extension("bare");
            fs::write(&beside, bare)?;
            fs::rename(&beside, &file)?;
        }
        let size = u64::try_from(bare.as_ref().unwrap_or(&built).len())?;
        println!("{:>12} bytes  {name}", grouped(size));
        files.push((name, size));
    }
    Ok(files)
}

/// The component without the section of names that the linker leaves for debuggers, 12 kB;
/// `None` when it has none, or is not as it should be.
fn without_names(component: &[u8]) -> Option<Vec<u8>> {
    const MAGIC: usize = 8;
    let mut kept = component.get(..MAGIC)?.to_vec();
    let mut rest = component.get(MAGIC..)?;
    while let Some((id, behind)) = rest.split_first() {
        let (length, body) = leb128(behind)?;
        let (section, next) = body.split_at_checked(length)?;
        let named = leb128(section).and_then(|(length, name)| name.get(..length));
        if *id != 0 || named != Some(b"component-name") {
            kept.extend_from_slice(rest.get(..rest.len() - next.len())?);
        }
        rest = next;
    }
    (kept.len() < component.len()).then_some(kept)
}

/// A number in wasm's variable length, and what is behind it.
fn leb128(mut bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0;
    for shift in (0..32).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        number |= usize::from(byte & 0x7f) << shift;
        bytes = rest;
        if byte & 0x80 == 0 {
            return Some((number, bytes));
        }
    }
    None
}

/// Holds which component has the counters of the key-value store: a platform that has none does
/// not start a component that imports them.
fn counters(name: &str, component: &[u8]) -> Result<()> {
    const INTERFACE: &[u8] = b"wasi:keyvalue/atomics@";
    let imports = component
        .windows(INTERFACE.len())
        .any(|bytes| bytes == INTERFACE);
    match (name, imports) {
        (WITH_COUNTERS, false) => bail!("{name} does not import wasi:keyvalue/atomics"),
        (WITH_COUNTERS, true) | (_, false) => Ok(()),
        (_, true) => bail!("{name} imports wasi:keyvalue/atomics: only {WITH_COUNTERS} may"),
    }
}

/// The one component with counters.
const WITH_COUNTERS: &str = "airside_tokens.wasm";

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Platforms load a component anew on many machines: what does not fit here is a fault.
const SIZE_LIMIT: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_out_and_nothing_else() {
        let head = b"\0asm\x0d\0\x01\0";
        let custom = |name: &str, body: &[u8]| {
            let length = u8::try_from(1 + name.len() + body.len()).unwrap();
            [&[0, length, name.len() as u8][..], name.as_bytes(), body].concat()
        };
        // A section of 200 bytes, whose length takes two.
        let code = [&[1, 0xc8, 1][..], &[7; 200]].concat();
        let names = custom("component-name", b"xyz");
        let kept = [&head[..], &code, &custom("producers", b"x")].concat();
        let whole = [&head[..], &code, &names, &custom("producers", b"x")].concat();
        assert_eq!(without_names(&whole).as_deref(), Some(&kept[..]));
        assert_eq!(without_names(&kept), None);
        assert_eq!(without_names(&whole[..whole.len() - 1]), None);
        assert_eq!(without_names(b""), None);
    }

    #[test]
    fn tokens_alone_has_counters() {
        let (with, without) = (
            b"..wasi:keyvalue/atomics@0.2.0-draft2..",
            b"..wasi:keyvalue/store@",
        );
        assert!(counters("airside_tokens.wasm", with).is_ok());
        assert!(counters("airside_tokens.wasm", without).is_err());
        assert!(counters("airside_login.wasm", with).is_err());
        assert!(counters("airside_login.wasm", without).is_ok());
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(1_062_059), "1,062,059");
    }

    #[test]
    fn no_name_means_every_component_and_a_name_means_its_package() {
        let workspace = Workspace::find().unwrap();
        assert_eq!(packages(&workspace, &[]).unwrap().len(), COMPONENTS.len());
        let names = ["tokens".to_owned(), "airside-bench-noop".to_owned()];
        assert_eq!(
            packages(&workspace, &names).unwrap(),
            ["airside-tokens", "airside-bench-noop"]
        );
    }
}
