//! The command line.

use std::collections::HashMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lexopt::prelude::*;

use crate::instance::Reuse;
use crate::key_value;
use crate::stdio::Output;

/// What the command line asks for.
#[derive(Debug)]
pub struct Options {
    /// The manifest.
    pub app: PathBuf,
    /// The address to serve; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The runtime configuration.
    pub runtime_config: Option<PathBuf>,
    /// Values of the application's variables.
    pub variables: HashMap<String, String>,
    /// Where key-value data lives.
    pub key_value: key_value::Kind,
    /// How many records are put into each key-value file that is new.
    pub fill: u32,
    /// How instances are reused.
    pub reuse: Reuse,
    /// Where compiled components are kept; by default below the manifest's folder.
    pub cache_dir: Option<PathBuf>,
    /// How far components' wall clock runs ahead.
    pub clock_ahead: Duration,
    /// What happens to the output of components.
    pub output: Output,
    /// Where the counters are written at the end.
    pub stats: Option<PathBuf>,
    /// Whether the instructions of each request are counted, which makes it slower.
    pub instructions: bool,
}

/// The text of `--help`.
pub const HELP: &str = "\
airside-devhost: serves a Spin application on wasmtime. For development and tests only.

Usage: airside-devhost [options]
  --app FILE                                 manifest [spin.toml]
  --listen ADDRESS:PORT                      port 0 takes a free one [127.0.0.1:3000]
  --runtime-config FILE                      runtime configuration
  --variable NAME=VALUE                      value of a variable, repeatable
  --key-value memory                         keep key-value data in memory only
  --fill-key-value N                         N records of 1,500 bytes in each new key-value file
  --max-instance-reuse-count N               requests per instance [128]
  --max-instance-concurrent-reuse-count N    requests at once per instance [16]
  --idle-instance-timeout TIME               such as 500ms or 1s [1s]
  --cache-dir FOLDER                         compiled components [.spin/devhost-cache]
  --clock-ahead TIME                         the wall clock that components see runs ahead
  --quiet                                    without the output of components
  --stats FILE                               write counters as JSON at the end
  --instructions                             count each request's wasm instructions, for --stats
";

impl Options {
    /// Reads the arguments after the program's name; `None` when help was asked for.
    ///
    /// # Errors
    ///
    /// Names the argument that is unknown, incomplete or malformed.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Self>> {
        let mut options = Self {
            app: PathBuf::from("spin.toml"),
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            runtime_config: None,
            variables: HashMap::new(),
            key_value: key_value::Kind::File,
            fill: 0,
            reuse: Reuse::default(),
            cache_dir: None,
            clock_ahead: Duration::ZERO,
            output: Output::Shown,
            stats: None,
            instructions: false,
        };
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("app") => options.app = parser.value()?.into(),
                Long("listen") => options.listen = parser.value()?.parse()?,
                Long("runtime-config") => options.runtime_config = Some(parser.value()?.into()),
                Long("variable") => {
                    let text = parser.value()?.string()?;
                    let (name, value) = text.split_once('=').context("--variable NAME=VALUE")?;
                    options.variables.insert(name.to_owned(), value.to_owned());
                }
                Long("fill-key-value") => options.fill = parser.value()?.parse()?,
                Long("key-value") => {
                    ensure!(
                        parser.value()? == "memory",
                        "--key-value can only be `memory`"
                    );
                    options.key_value = key_value::Kind::Memory;
                }
                Long("max-instance-reuse-count") => options.reuse.count = count(&mut parser)?,
                Long("max-instance-concurrent-reuse-count") => {
                    options.reuse.concurrent_count = count(&mut parser)?;
                }
                Long("idle-instance-timeout") => {
                    options.reuse.idle_timeout = time(&parser.value()?.string()?)?;
                }
                Long("cache-dir") => options.cache_dir = Some(parser.value()?.into()),
                Long("clock-ahead") => {
                    options.clock_ahead = time(&parser.value()?.string()?)?;
                }
                Long("quiet") => options.output = Output::Dropped,
                Long("instructions") => options.instructions = true,
                Long("stats") => options.stats = Some(parser.value()?.into()),
                Long("help") | Short('h') => return Ok(None),
                _ => bail!(argument.unexpected()),
            }
        }
        Ok(Some(options))
    }
}

fn count(parser: &mut lexopt::Parser) -> Result<usize> {
    let count: usize = parser.value()?.parse()?;
    ensure!(count > 0, "an instance must be allowed one request");
    Ok(count)
}

fn time(text: &str) -> Result<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u32 = digits
        .parse()
        .with_context(|| format!("`{text}` is not a time"))?;
    match text.get(digits.len()..) {
        Some("ms") => Ok(Duration::from_millis(number.into())),
        Some("s") => Ok(Duration::from_secs(number.into())),
        Some("m") => Ok(Duration::from_secs(u64::from(number) * 60)),
        _ => bail!("`{text}` needs a unit: ms, s or m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Option<Options>> {
        Options::parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn the_defaults_are_spins() {
        let options = parse(&[]).unwrap().unwrap();
        assert_eq!(options.listen.to_string(), "127.0.0.1:3000");
        assert_eq!(options.reuse.count, 128);
        assert_eq!(options.reuse.concurrent_count, 16);
        assert_eq!(options.reuse.idle_timeout, Duration::from_secs(1));
    }

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(time("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(time("2s").unwrap(), Duration::from_secs(2));
        assert!(time("2").is_err());
        assert!(time("s").is_err());
    }

    #[test]
    fn what_is_unknown_or_malformed_is_refused() {
        for arguments in [
            &["--unknown"][..],
            &["spin.toml"],
            &["--variable", "name"],
            &["--key-value", "redis"],
            &["--max-instance-reuse-count", "0"],
        ] {
            assert!(parse(arguments).is_err(), "{arguments:?}");
        }
        let options = parse(&["--variable", "a=b=c", "--key-value", "memory"])
            .unwrap()
            .unwrap();
        assert_eq!(options.variables["a"], "b=c");
        assert_eq!(options.key_value, key_value::Kind::Memory);
    }
}
