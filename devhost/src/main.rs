//! airside-devhost: serves a Spin application on wasmtime, for development and tests only.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use airside_devhost::app::{App, Settings};
use airside_devhost::manifest::Manifest;
use airside_devhost::options::{HELP, Options};
use airside_devhost::runtime_config::RuntimeConfig;
use airside_devhost::{instance, key_value, server, stats};
use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("airside-devhost: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<()> {
    let Some(options) = Options::parse(env::args_os().skip(1))? else {
        print!("{HELP}");
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(serve(options));
    // A guest in an endless loop must not hold up the end.
    runtime.shutdown_background();
    outcome
}

async fn serve(options: Options) -> Result<()> {
    // Listened to first, so that a signal during a long compilation counts.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let manifest = Manifest::read(&options.app)?;
    let runtime_config = match &options.runtime_config {
        Some(path) => RuntimeConfig::read(path)?,
        None => RuntimeConfig::default(),
    };
    let cache = options
        .cache_dir
        .unwrap_or_else(|| manifest.folder.join(".spin").join("devhost-cache"));
    let settings = Settings {
        variables: options.variables,
        runtime_config,
        key_value: options.key_value,
        reuse: options.reuse,
        cache,
        clock_ahead: options.clock_ahead,
        output: options.output,
        instructions: options.instructions,
    };
    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("cannot listen on {}", options.listen))?;
    let start = tokio::task::spawn_blocking(move || {
        let stores = &settings.runtime_config.key_value_stores;
        key_value::fill(stores, &manifest.folder, options.fill)?;
        App::start(manifest, settings)
    });
    let (app, companions) = tokio::select! {
        started = start => started??,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    eprintln!("airside-devhost: for development and tests only; deploy on Spin");
    let mut stdout = io::stdout();
    writeln!(stdout, "Serving http://{}", listener.local_addr()?)?;
    stdout.flush()?;
    tokio::select! {
        () = server::serve(Arc::clone(&app), listener) => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    instance::ending();
    if let Some(path) = options.stats {
        fs::write(&path, stats::report(&companions.stats))
            .with_context(|| format!("--stats {}", path.display()))?;
    }
    Ok(())
}
