//! `cargo xtask`: the only vocabulary of the project. Continuous integration and people use
//! the same commands.

mod bench;
mod build;
#[cfg(any(test, feature = "doctor"))]
#[cfg_attr(
    not(feature = "doctor"),
    allow(dead_code, reason = "only tests use it then")
)]
mod check;
mod env_file;
#[cfg(any(test, feature = "doctor"))]
#[cfg_attr(
    not(feature = "doctor"),
    allow(dead_code, reason = "only tests use it then")
)]
mod explain;
mod keys;
#[cfg(any(test, feature = "doctor"))]
#[cfg_attr(
    not(feature = "doctor"),
    allow(dead_code, reason = "only tests use it then")
)]
mod manifest;
#[cfg(any(test, feature = "doctor"))]
#[cfg_attr(
    not(feature = "doctor"),
    allow(dead_code, reason = "only tests use it then")
)]
mod permissions;
mod test;
mod tidy;
mod toolchain;
mod up;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use lexopt::prelude::*;

use crate::toolchain::WasmStd;
use crate::workspace::{Host, Install, Workspace};

const HELP: &str = "\
cargo xtask <command>

  up                set up, build and run the demo, and say what to try
      --port N      the gateway's port (3000); the next two are used as well
      --host devhost|spin   what serves the wasm files (devhost)
      --no-install  download and install nothing
  test              format, tidy, unit tests, devhost's conformance, end-to-end, lints
      --host devhost|spin   only this host (else each that is there)
      --no-install  as above
  build [NAME...]   build the wasm files: all components, or those named
                    (login, callback, logout, session, tokens, authorize, guests, a package)
      --wasm-std auto|rustup|debian   where the target's std comes from (AIRSIDE_WASM_STD)
  check             list everything in airside.toml and spin.toml that does not fit
      --app FILE    another spin.toml; airside.toml is taken from beside it
  explain           say which route a request takes, by which rule it passes or not, and what the
                    caller would see; nothing is sent anywhere
      --path P      path and query; --method M (GET)
      --token FILE  with the access token in it, which is never printed
      --jwks FILE   the issuer's key set; without it the signature is not checked
      --cookie      as a browser, with the token in a session
      --app FILE    as above
  keys              make the session keys in ./.env where there are none
      --add         add a key that opens sessions, --rotate let it seal, --retire drop the others
      --print       print a new value for `session_keys` and write nothing
      --assertion   the same, and the same steps, for the keys that sign assertions to upstreams
      --client ALG  a private key of `private_key_jwt` (ES256, EdDSA, RS256) where there is none,
                    with --print or --rotate; prints its public half
  bench [ROW..]     what the gate costs, as ratios of one run and in wasm instructions
      ROW           only the rows with this in their names, and the raw pass-through
      --quick       one short round
      --no-peers    without HAProxy, Apache, Envoy and Node beside it, which are installed
      --port N, --host devhost|spin   as above
  tidy              check the rules about the sources that no compiler checks
";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let mut arguments = lexopt::Parser::from_env();
    let command = match arguments.next()? {
        Some(Value(command)) => command.string()?,
        Some(Short('h') | Long("help")) | None => {
            print!("{HELP}");
            return Ok(ExitCode::SUCCESS);
        }
        Some(other) => return Err(other.unexpected().into()),
    };
    let options = Options::parse(arguments)?;
    if options.help {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    }
    let workspace = Workspace::find()?;
    match command.as_str() {
        "bench" => bench::run(
            &workspace,
            bench::Settings {
                host: options.host.unwrap_or_default(),
                install: options.install,
                only: options.names,
                peers: !options.no_peers,
                port: options.port.unwrap_or(3100),
                quick: options.quick,
                wasm_std: options.wasm_std,
            },
        )?,
        "build" => {
            build::run(
                &workspace,
                options.wasm_std,
                options.install,
                &options.names,
            )?;
        }
        "check" => return check(&workspace, options.app),
        "keys" => {
            let mode = keys::Mode::new(options.assertion, &options.key_steps)?;
            match options.client {
                Some(algorithm) => return client_key(&workspace, mode, &algorithm),
                None => keys::run(&workspace, mode)?,
            }
        }
        "explain" => return explain(&workspace, options),
        "test" => test::run(
            &workspace,
            test::Settings {
                host: options.host,
                install: options.install,
                wasm_std: options.wasm_std,
            },
        )?,
        "tidy" => tidy::run(&workspace)?,
        "up" => up::run(
            &workspace,
            up::Settings {
                host: options.host.unwrap_or_default(),
                install: options.install,
                port: options.port.unwrap_or(up::DEFAULT_PORT),
                wasm_std: options.wasm_std,
            },
        )?,
        other => bail!("unknown command `{other}`\n\n{HELP}"),
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(feature = "doctor")]
fn check(workspace: &Workspace, app: Option<PathBuf>) -> Result<ExitCode> {
    let app = app.unwrap_or_else(|| workspace.path("spin.toml"));
    Ok(if check::run(&app)? > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

#[cfg(not(feature = "doctor"))]
fn check(workspace: &Workspace, app: Option<PathBuf>) -> Result<ExitCode> {
    let mut arguments = vec!["check".into()];
    push(&mut arguments, "--app", app)?;
    with_doctor(workspace, &arguments)
}

#[cfg(feature = "doctor")]
fn explain(workspace: &Workspace, options: Options) -> Result<ExitCode> {
    let app = options.app.unwrap_or_else(|| workspace.path("spin.toml"));
    let question = explain::Question {
        config: std::fs::read_to_string(app.with_file_name("airside.toml"))?,
        path: options.path.unwrap_or_else(|| "/".to_owned()),
        method: options.method.unwrap_or_else(|| "GET".to_owned()),
        token: options.token.map(std::fs::read_to_string).transpose()?,
        jwks: options.jwks.map(std::fs::read_to_string).transpose()?,
        cookie: options.cookie,
        now: std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)?
            .as_secs(),
    };
    print!("{}", explain::explain(&question)?);
    Ok(ExitCode::SUCCESS)
}

#[cfg(not(feature = "doctor"))]
fn explain(workspace: &Workspace, options: Options) -> Result<ExitCode> {
    let mut arguments = vec!["explain".into()];
    push(&mut arguments, "--app", options.app)?;
    push(&mut arguments, "--token", options.token)?;
    push(&mut arguments, "--jwks", options.jwks)?;
    for (name, value) in [("--path", options.path), ("--method", options.method)] {
        if let Some(value) = value {
            arguments.extend([name.into(), value.into()]);
        }
    }
    if options.cookie {
        arguments.push("--cookie".into());
    }
    with_doctor(workspace, &arguments)
}

#[cfg(not(feature = "doctor"))]
fn push(arguments: &mut Vec<std::ffi::OsString>, name: &str, file: Option<PathBuf>) -> Result<()> {
    if let Some(file) = file {
        arguments.extend([name.into(), std::path::absolute(file)?.into()]);
    }
    Ok(())
}

#[cfg(feature = "doctor")]
fn client_key(workspace: &Workspace, mode: keys::Mode, algorithm: &str) -> Result<ExitCode> {
    keys::client::run(workspace, mode, algorithm)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(not(feature = "doctor"))]
fn client_key(workspace: &Workspace, mode: keys::Mode, algorithm: &str) -> Result<ExitCode> {
    let mode = match mode {
        keys::Mode::Assertion(_) => Some("--assertion"),
        keys::Mode::Ensure => None,
        keys::Mode::Print => Some("--print"),
        keys::Mode::Session(keys::Step::Add) => Some("--add"),
        keys::Mode::Session(keys::Step::Retire) => Some("--retire"),
        keys::Mode::Session(_) => Some("--rotate"),
    };
    let arguments = ["keys", "--client", algorithm].into_iter().chain(mode);
    let arguments: Vec<std::ffi::OsString> = arguments.map(Into::into).collect();
    with_doctor(workspace, &arguments)
}

/// Runs this program again, built with the doctor (see Cargo.toml).
#[cfg(not(feature = "doctor"))]
fn with_doctor(workspace: &Workspace, arguments: &[std::ffi::OsString]) -> Result<ExitCode> {
    use anyhow::Context;

    let mut cargo = workspace.cargo("run");
    cargo.args([
        "--quiet",
        "--package",
        "xtask",
        "--features",
        "doctor",
        "--",
    ]);
    cargo.args(arguments);
    let passed = cargo.status().context("cannot start cargo")?.success();
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What the commands can be told; each reads what concerns it.
#[derive(Default)]
struct Options {
    app: Option<PathBuf>,
    assertion: bool,
    client: Option<String>,
    help: bool,
    host: Option<Host>,
    install: Install,
    key_steps: Vec<keys::Step>,
    cookie: bool,
    jwks: Option<PathBuf>,
    method: Option<String>,
    names: Vec<String>,
    no_peers: bool,
    path: Option<String>,
    port: Option<u16>,
    quick: bool,
    token: Option<PathBuf>,
    wasm_std: WasmStd,
}

impl Options {
    fn parse(mut arguments: lexopt::Parser) -> Result<Self> {
        let mut options = Self {
            wasm_std: WasmStd::from_environment()?,
            ..Self::default()
        };
        while let Some(argument) = arguments.next()? {
            match argument {
                Short('h') | Long("help") => options.help = true,
                Long("add") => options.key_steps.push(keys::Step::Add),
                Long("app") => options.app = Some(arguments.value()?.into()),
                Long("client") => options.client = Some(arguments.value()?.string()?),
                Long("cookie") => options.cookie = true,
                Long("host") => options.host = Some(arguments.value()?.parse()?),
                Long("jwks") => options.jwks = Some(arguments.value()?.into()),
                Long("method") => options.method = Some(arguments.value()?.string()?),
                Long("no-peers") => options.no_peers = true,
                Long("no-install") => options.install = Install::Forbidden,
                Long("path") => options.path = Some(arguments.value()?.string()?),
                Long("port") => options.port = Some(arguments.value()?.parse()?),
                Long("assertion") => options.assertion = true,
                Long("print") => options.key_steps.push(keys::Step::Print),
                Long("quick") => options.quick = true,
                Long("retire") => options.key_steps.push(keys::Step::Retire),
                Long("rotate") => options.key_steps.push(keys::Step::Rotate),
                Long("token") => options.token = Some(arguments.value()?.into()),
                Long("wasm-std") => options.wasm_std = arguments.value()?.parse()?,
                Value(name) => options.names.push(name.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(options)
    }
}
