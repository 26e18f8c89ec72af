//! `cargo xtask build`: the wasm files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::toolchain::{Std, TARGET, WasmStd};
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
    let signers = signers(&packages);
    let rsa = asks_for_rsa(workspace)?;
    let folder = release(workspace);
    cargo_build(workspace, &std, &packages, rsa)?;
    report(&folder, &packages, if rsa { &signers } else { &[] })
}

/// Builds the components that sign with code for RSA keys, into a folder beside the others: for
/// tests of what few configurations ask for.
///
/// # Errors
/// As [`run`].
pub(crate) fn rsa_signing(workspace: &Workspace, std: &Std) -> Result<()> {
    let packages = SIGNERS.map(str::to_owned);
    step("Building the components that sign once more, with code for RSA keys");
    cargo_build(workspace, std, &packages, true)?;
    let folder = workspace.path("target").join(TARGET).join("rsa-signing");
    fs::create_dir_all(&folder)?;
    for package in &packages {
        let name = file_name(package);
        fs::copy(release(workspace).join(&name), folder.join(&name))?;
    }
    report(&folder, &packages, &packages).map(drop)
}

fn cargo_build(workspace: &Workspace, std: &Std, packages: &[String], rsa: bool) -> Result<()> {
    let mut cargo = workspace.cargo("build");
    cargo.args(["--release", "--target", TARGET]);
    for package in packages {
        cargo.args(["--package", package]);
    }
    if rsa {
        for package in signers(packages) {
            cargo.args(["--features", &format!("{package}/rsa-signing")]);
        }
    }
    std.apply(&mut cargo);
    workspace::run("building the wasm files", &mut cargo)
}

/// The packages that sign as a client, with a feature for RSA keys.
const SIGNERS: [&str; 2] = ["airside-callback", "airside-tokens"];

fn signers(packages: &[String]) -> Vec<String> {
    let signs = |package: &&String| SIGNERS.contains(&package.as_str());
    packages.iter().filter(signs).cloned().collect()
}

/// True when airside.toml has a client that signs with RS256. RSA private-key operations are
/// built in only then: few providers demand them, and they are a tenth of the file.
fn asks_for_rsa(workspace: &Workspace) -> Result<bool> {
    let file = workspace.path("airside.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    // What is no TOML is told by the doctor; it does not load either way.
    Ok(text.parse().is_ok_and(|document| has_rs256(&document)))
}

fn has_rs256(document: &toml_edit::DocumentMut) -> bool {
    let tables = ["providers", "issuers"].into_iter();
    tables
        .filter_map(|name| document.get(name)?.as_table_like())
        .flat_map(|table| table.iter())
        .filter_map(|(_, entry)| entry.get("client_assertion_algorithm")?.as_str())
        .any(|algorithm| algorithm == "RS256")
}

fn release(workspace: &Workspace) -> PathBuf {
    workspace.path("target").join(TARGET).join("release")
}

fn file_name(package: &str) -> String {
    format!("{}.wasm", package.replace('-', "_"))
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

/// The files of `packages` and their sizes, less what code for RSA keys may add to `rsa`.
fn report(folder: &Path, packages: &[String], rsa: &[String]) -> Result<Vec<(String, u64)>> {
    let mut files = Vec::new();
    for package in packages {
        let name = file_name(package);
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
        let allowance = if rsa.contains(package) {
            RSA_ALLOWANCE
        } else {
            0
        };
        files.push((name, size.saturating_sub(allowance)));
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
/// What code for RSA private keys may add where it is asked for.
const RSA_ALLOWANCE: u64 = 120_000;

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
    fn code_for_rsa_keys_is_for_whoever_asks_for_it() {
        let has = |text: &str| has_rs256(&text.parse().unwrap());
        let key = "client_assertion_algorithm";
        assert!(has(&format!("[providers.a]\n{key} = 'RS256'")));
        assert!(has(&format!("[issuers]\na = {{ {key} = 'RS256' }}")));
        assert!(!has(&format!("[providers.a]\n{key} = 'ES256'")));
        assert!(!has(include_str!("../../airside.toml")));
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
