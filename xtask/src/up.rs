//! `cargo xtask up`: from a checkout to a running demo.

mod derive;
pub(crate) mod processes;
mod steps;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::env_file::EnvFile;
use crate::toolchain::WasmStd;
use crate::up::processes::{End, Processes};
use crate::workspace::{self, Host, Install, Workspace, on_path, step};
use crate::{build, keys};

/// What `up` can be told.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// What serves the wasm files.
    pub(crate) host: Host,
    /// Whether missing things may be installed.
    pub(crate) install: Install,
    /// The gateway's port; the provider and the upstream have the next two.
    pub(crate) port: u16,
    /// Where the target's std comes from.
    pub(crate) wasm_std: WasmStd,
}

/// Sets up, builds, starts everything and waits for Ctrl-C.
///
/// # Errors
/// When a port is busy, something does not build, or a process ends by itself.
pub(crate) fn run(workspace: &Workspace, settings: Settings) -> Result<()> {
    let started = Instant::now();
    let ports = Ports::from_first(settings.port)?;
    ports.check_free()?;
    if settings.host == Host::Spin && !on_path("spin") {
        bail!("there is no `spin` on PATH; without --host spin the project's own devhost is used");
    }
    build::compile(workspace, settings.wasm_std, settings.install, &[])?;
    native_tools(workspace, settings.host)?;
    let secrets = keys::ensure_demo_secrets(workspace)?;
    let app = App::prepare(workspace, ports)?;

    let Some(processes) = start(workspace, settings.host, &app, ports, &secrets)? else {
        return Ok(());
    };
    step(&format!(
        "Ready after {:.1} s",
        started.elapsed().as_secs_f32()
    ));
    println!(
        "\n{}",
        steps::text(ports, &demo_binary(workspace).display().to_string())
    );
    match processes.wait() {
        End::Asked => {
            step("Stopping");
            Ok(())
        }
        End::Died(name) => bail!("the {name} ended by itself (see above), so everything stops"),
    }
}

/// Starts provider, upstream and gateway and waits until all of them serve; `None` when told to
/// stop before.
///
/// # Errors
/// When one of them cannot be started, ends, or is not ready in time.
pub(crate) fn start(
    workspace: &Workspace,
    host: Host,
    app: &App,
    ports: Ports,
    secrets: &EnvFile,
) -> Result<Option<Processes>> {
    let mut processes = Processes::new()?;
    processes.start("provider", provider(workspace, ports, secrets))?;
    processes.start("upstream", upstream(workspace, ports))?;
    processes.start("gateway", gateway(workspace, host, app, ports, secrets))?;
    match processes.wait_until_ready(READY_LIMIT)? {
        Some(End::Asked) => Ok(None),
        Some(End::Died(name)) => bail!("the {name} ended before it served (see above)"),
        None => Ok(Some(processes)),
    }
}

/// Builds devhost and the demo servers.
pub(crate) fn native_tools(workspace: &Workspace, host: Host) -> Result<()> {
    step("Building the native tools");
    let mut cargo = workspace.cargo("build");
    cargo.args(["--profile", "native", "--package", "airside-demo"]);
    if host == Host::Devhost {
        cargo.args(["--package", "airside-devhost"]);
    }
    workspace::run("building the native tools", &mut cargo)
}

/// The built `airside-demo`.
pub(crate) fn demo_binary(workspace: &Workspace) -> PathBuf {
    workspace.path("target/native/airside-demo")
}

/// The built `airside-devhost`.
pub(crate) fn devhost_binary(workspace: &Workspace) -> PathBuf {
    workspace.path("target/native/airside-devhost")
}

/// Three ports in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ports {
    pub(crate) gateway: u16,
    pub(crate) provider: u16,
    pub(crate) upstream: u16,
}

impl Ports {
    /// The gateway's port and the two after it.
    pub(crate) fn from_first(gateway: u16) -> Result<Self> {
        match (gateway.checked_add(1), gateway.checked_add(2)) {
            (Some(provider), Some(upstream)) if gateway > 0 => Ok(Self {
                gateway,
                provider,
                upstream,
            }),
            _ => bail!(
                "--port is a number from 1 to {}: the next two are used as well",
                u16::MAX - 2
            ),
        }
    }

    /// Whether all of them can be listened on.
    pub(crate) fn check_free(self) -> Result<()> {
        for (name, port) in [
            ("gateway", self.gateway),
            ("provider", self.provider),
            ("upstream", self.upstream),
        ] {
            TcpListener::bind(("127.0.0.1", port)).with_context(|| {
                format!(
                    "port {port}, for the {name}, cannot be used: stop what listens there, \
                     or choose others with --port N"
                )
            })?;
        }
        Ok(())
    }

    /// As `--listen` takes it.
    pub(crate) fn address(port: u16) -> String {
        format!("127.0.0.1:{port}")
    }

    /// The origin.
    pub(crate) fn url(port: u16) -> String {
        format!("http://127.0.0.1:{port}")
    }
}

/// The three files a host reads.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) manifest: PathBuf,
    pub(crate) runtime_config: PathBuf,
}

impl App {
    /// The checkout's own files on the ports they name, else copies with others.
    fn prepare(workspace: &Workspace, ports: Ports) -> Result<Self> {
        if ports == Ports::from_first(DEFAULT_PORT)? {
            return Ok(Self {
                manifest: workspace.path("spin.toml"),
                runtime_config: workspace.path("runtime-config.toml"),
            });
        }
        Self::derived(
            workspace,
            ports,
            &format!("target/airside/up-{}", ports.gateway),
        )
    }

    /// Copies for these ports, in a folder below the root.
    pub(crate) fn derived(workspace: &Workspace, ports: Ports, folder: &str) -> Result<Self> {
        let folder = workspace.path(folder);
        std::fs::create_dir_all(&folder)?;
        for (name, derive) in derive::FILES {
            let original = workspace.path(name);
            let text = std::fs::read_to_string(&original)
                .with_context(|| format!("reading {}", original.display()))?;
            let derived = derive(&text, ports, workspace.root(), &folder)
                .with_context(|| format!("deriving {name} for other ports"))?;
            std::fs::write(folder.join(name), derived)?;
        }
        Ok(Self {
            manifest: folder.join("spin.toml"),
            runtime_config: folder.join("runtime-config.toml"),
        })
    }

    /// The host's command that serves this app.
    pub(crate) fn serve(&self, workspace: &Workspace, host: Host, port: u16) -> Command {
        let address = Ports::address(port);
        match host {
            Host::Devhost => {
                let mut command = workspace.program(devhost_binary(workspace));
                command
                    .arg("--app")
                    .arg(&self.manifest)
                    .args(["--listen", &address]);
                command.arg("--runtime-config").arg(&self.runtime_config);
                command
            }
            Host::Spin => {
                let mut command = workspace.program("spin");
                command
                    .args(["up", "--from"])
                    .arg(&self.manifest)
                    .args(["--listen", &address]);
                command
                    .arg("--runtime-config-file")
                    .arg(&self.runtime_config);
                command
            }
        }
    }
}

/// The command of the demo's provider.
pub(crate) fn provider(workspace: &Workspace, ports: Ports, secrets: &EnvFile) -> Command {
    let mut command = workspace.program(demo_binary(workspace));
    command.args(["provider", "--listen", &Ports::address(ports.provider)]);
    command.args(["--gateway", &Ports::url(ports.gateway)]);
    // What the gateway will use: the environment wins over .env, as on Spin.
    let secret = std::env::var(keys::CLIENT_SECRET).ok();
    if let Some(secret) = secret
        .as_deref()
        .or_else(|| secrets.value(keys::CLIENT_SECRET))
    {
        command.env("AIRSIDE_DEMO_CLIENT_SECRET", secret);
    }
    command
}

/// The command of the demo's upstream.
pub(crate) fn upstream(workspace: &Workspace, ports: Ports) -> Command {
    let mut command = workspace.program(demo_binary(workspace));
    command.args(["upstream", "--listen", &Ports::address(ports.upstream)]);
    command
}

/// The command that serves `app` as the gateway.
pub(crate) fn gateway(
    workspace: &Workspace,
    host: Host,
    app: &App,
    ports: Ports,
    secrets: &EnvFile,
) -> Command {
    let mut command = app.serve(workspace, host, ports.gateway);
    for (name, value) in secrets.entries() {
        if name.starts_with("SPIN_VARIABLE_") && std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    command
}

/// The first of the ports that the files in the checkout name.
pub(crate) const DEFAULT_PORT: u16 = 3000;

/// A host compiles the wasm files before it serves, on a slow machine for some seconds.
pub(crate) const READY_LIMIT: Duration = Duration::from_secs(90);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_ports_in_a_row_must_exist() {
        assert_eq!(Ports::from_first(65_533).unwrap().upstream, 65_535);
        assert!(Ports::from_first(65_534).is_err());
        assert!(Ports::from_first(0).is_err());
    }

    #[test]
    fn a_busy_port_is_found_before_anything_is_built() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let busy = listener.local_addr().unwrap().port();
        let ports = Ports {
            gateway: busy,
            provider: busy,
            upstream: busy,
        };
        assert!(ports.check_free().is_err());
        drop(listener);
        assert!(ports.check_free().is_ok());
    }
}
