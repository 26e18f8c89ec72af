//! `cargo xtask`: the only vocabulary of the project. Continuous integration and people use
//! the same commands.

mod build;
mod env_file;
mod keys;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};
use lexopt::prelude::*;

use crate::toolchain::WasmStd;
use crate::workspace::Workspace;

const HELP: &str = "\
cargo xtask <command>

  build [NAME...]   build the wasm files: all components, or those named
                    (login, callback, logout, session, tokens, authorize, guests, a package)
      --wasm-std auto|rustup|debian   where the target's std comes from (AIRSIDE_WASM_STD)
  keys              make the session keys in ./.env where there are none
      --rotate      put a new key in front, keep the ones that opened before
      --print       print a new value for `session_keys` and write nothing
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
        "build" => {
            build::run(&workspace, options.wasm_std, &options.names)?;
        }
        "keys" => keys::run(&workspace, options.keys)?,
        other => bail!("unknown command `{other}`\n\n{HELP}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// What the commands can be told; each reads what concerns it.
#[derive(Default)]
struct Options {
    help: bool,
    keys: keys::Mode,
    names: Vec<String>,
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
                Long("print") => options.keys = keys::Mode::Print,
                Long("rotate") => options.keys = keys::Mode::Rotate,
                Long("wasm-std") => options.wasm_std = arguments.value()?.parse()?,
                Value(name) => options.names.push(name.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(options)
    }
}
