//! What runs for the bench, and on which ports.
//!
//! The demo's provider and upstream, the app in three configurations, the guests, and later the
//! peers: all of them from the beginning to the end. What is only counted comes and goes.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::bench::peers::{AUDIENCE, SCOPE};
use crate::bench::public_key::PublicKey;
use crate::bench::rows::{ELSEWHERE, OPAQUE};
use crate::env_file::EnvFile;
use crate::keys;
use crate::toolchain::TARGET;
use crate::up::processes::{End, Processes};
use crate::up::{self, App, Ports};
use crate::workspace::{Host, Workspace};

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// The app.
    Gate(Variant),
    /// A component of `devhost/guests`.
    Guest(&'static str),
    /// Another program for the same task.
    Peer(&'static str, u16),
}

/// A configuration of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Variant {
    /// That of the checkout.
    Plain,
    /// Sessions are in the key-value store.
    Stored,
    /// No revocations; beside the API itself there are `/asserted/*` and `/bound/*`, whose
    /// upstream is sent assertions, and `/opaque/*`, whose tokens are opaque.
    Trusting,
}

impl Place {
    /// The process that answers.
    pub(crate) fn process(self) -> &'static str {
        match self {
            Place::Gate(Variant::Plain) => "gateway",
            Place::Gate(Variant::Stored) => "stored",
            Place::Gate(Variant::Trusting) => "trusting",
            Place::Guest(VERIFYING) => "verifying",
            Place::Guest(WHOLE) => "whole",
            Place::Guest(_) => "guests",
            Place::Peer(name, _) => name,
        }
    }

    /// Where it listens.
    pub(crate) fn port(self, ports: Ports) -> u16 {
        match self {
            Place::Gate(Variant::Plain) => ports.gateway,
            Place::Gate(Variant::Stored) => nth(ports, 4),
            Place::Gate(Variant::Trusting) => nth(ports, 5),
            Place::Guest(VERIFYING) => nth(ports, 6),
            Place::Guest(WHOLE) => nth(ports, 7),
            Place::Guest(_) => nth(ports, 3),
            Place::Peer(_, port) => port,
        }
    }
}

impl Variant {
    /// The text of airside.toml, whose ports are already `ports`.
    pub(crate) fn edit(self, text: &str, ports: Ports) -> Result<String> {
        let session = |line: &str| {
            let head = "[session]\n";
            let (before, after) = text.split_once(head).context("no [session]")?;
            Ok::<_, anyhow::Error>(format!("{before}{head}{line}\n{after}"))
        };
        match self {
            Variant::Plain => Ok(text.to_owned()),
            Variant::Stored => session("store = \"key-value\""),
            Variant::Trusting => {
                let text = session("danger_skip_revocation = true")?;
                let issuer = "[issuers.demo]\n";
                let (before, after) = text.split_once(issuer).context("no [issuers.demo]")?;
                Ok(format!("{before}{issuer}{CLIENT}{after}") + &more(ports))
            }
        }
    }
}

/// Who the gate is at the issuer, so that it may ask about opaque tokens.
const CLIENT: &str = "introspection = true\nclient_id = \"airside-demo\"\n\
     client_authentication = \"client_secret_basic\"\nclient_secret_variable = \"client_secret\"\n";

/// More names for the upstream, and a route to each.
fn more(ports: Ports) -> String {
    let upstream = |name: &str, keys: &str, audience: &str| {
        format!(
            "\n[upstreams.{name}]\nurl = \"{url}\"\n{keys}\n\
             [[routes]]\npath = \"/{name}/*\"\nupstream_path = \"/api/invoices/*\"\n\
             access = \"token\"\nissuer = \"demo\"\naudience = \"{audience}\"\n\
             scopes = [\"{SCOPE}\"]\nupstream = \"{name}\"\n",
            url = Ports::url(ports.upstream)
        )
    };
    let bound = "assertion = true\nassertion_binding = true";
    upstream("asserted", "assertion = true", AUDIENCE)
        + &upstream("bound", bound, AUDIENCE)
        + &upstream("opaque", "", OPAQUE)
}

/// The bench's processes and how to start more.
pub(crate) struct Servers<'w> {
    pub(crate) workspace: &'w Workspace,
    pub(crate) host: Host,
    pub(crate) ports: Ports,
    pub(crate) processes: Processes,
    /// The key that signs RS256 tokens.
    pub(crate) key: PublicKey,
    secrets: EnvFile,
    assertion_keys: String,
    apps: Vec<(Place, App)>,
}

impl<'w> Servers<'w> {
    /// Starts all but the peers; `None` when told to stop before they serve.
    ///
    /// # Errors
    /// When one of them cannot be started, ends, or is not ready in time.
    pub(crate) fn start(
        workspace: &'w Workspace,
        host: Host,
        ports: Ports,
    ) -> Result<Option<Self>> {
        let secrets = keys::ensure_demo_secrets(workspace)?;
        let mut processes = Processes::new()?;
        let mut provider = up::provider(workspace, ports, &secrets);
        // Nothing may end while it is measured.
        provider.args(["--access-token-seconds", "7200"]);
        for audience in [AUDIENCE, ELSEWHERE] {
            provider.args(["--api", &format!("{audience}={SCOPE} write:invoices")]);
        }
        provider.args(["--opaque-api", &format!("{OPAQUE}={SCOPE}")]);
        for port in [Place::Gate(Variant::Stored), Place::Gate(Variant::Trusting)]
            .map(|place| place.port(ports))
            .into_iter()
            .chain((0..SESSION_GATES).map(|number| session_gate(ports, number)))
        {
            provider.args(["--gateway", &Ports::url(port)]);
        }
        processes.start("provider", provider)?;
        processes.start("upstream", up::upstream(workspace, ports))?;
        if !ready(&mut processes)? {
            return Ok(None);
        }
        let mut servers = Self {
            workspace,
            host,
            ports,
            processes,
            key: PublicKey::fetch(ports.provider)?,
            secrets,
            assertion_keys: keys::new_set()?,
            apps: Vec::new(),
        };
        for variant in [Variant::Plain, Variant::Stored, Variant::Trusting] {
            let place = Place::Gate(variant);
            let app = servers.app(place.process(), place.port(ports), |text, ports| {
                variant.edit(text, ports)
            })?;
            let command = servers.gate(&app, place.port(ports));
            servers.processes.start(place.process(), command)?;
            servers.apps.push((place, app));
            // One after the other: the first compiles, and the others find it done.
            if !ready(&mut servers.processes)? {
                return Ok(None);
            }
        }
        for guests in [
            &PLAIN_GUESTS[..],
            &[(VERIFYING, "/...")],
            &[(WHOLE, "/...")],
        ] {
            let place = guests.first().map(|(guest, _)| Place::Guest(guest));
            let place = place.context("no guest")?;
            let app = servers.guests(place.process(), guests)?;
            let command = servers.gate(&app, place.port(ports));
            servers.processes.start(place.process(), command)?;
            servers.apps.push((place, app));
        }
        Ok(ready(&mut servers.processes)?.then_some(servers))
    }

    /// The app that answers at `place`.
    pub(crate) fn app_of(&self, place: Place) -> Result<&App> {
        let same = |(known, _): &&(Place, App)| known.process() == place.process();
        let found = self.apps.iter().find(same);
        Ok(&found.with_context(|| format!("no app for {place:?}"))?.1)
    }

    /// A folder of the bench.
    pub(crate) fn folder(&self) -> PathBuf {
        self.workspace.path(FOLDER)
    }

    /// An app in a folder of its own, with a changed airside.toml.
    pub(crate) fn app(
        &self,
        name: &str,
        port: u16,
        edit: impl FnOnce(&str, Ports) -> Result<String>,
    ) -> Result<App> {
        let ports = Ports {
            gateway: port,
            ..self.ports
        };
        self.app_with(name, ports, edit)
    }

    /// The same with other servers around it.
    pub(crate) fn app_with(
        &self,
        name: &str,
        ports: Ports,
        edit: impl FnOnce(&str, Ports) -> Result<String>,
    ) -> Result<App> {
        let folder = format!("{FOLDER}/{name}");
        let app = App::derived(self.workspace, ports, &folder)?;
        let file = self.workspace.path(&folder).join("airside.toml");
        let text = fs::read_to_string(&file)?;
        fs::write(&file, edit(&text, ports)?)?;
        // A store that a former run left behind would not be empty.
        for store in ["default.db", "default.db-wal", "default.db-shm"] {
            let _ = fs::remove_file(self.workspace.path(&folder).join(store));
        }
        Ok(app)
    }

    /// The command that serves `app`.
    pub(crate) fn gate(&self, app: &App, port: u16) -> Command {
        let ports = Ports {
            gateway: port,
            ..self.ports
        };
        let mut command = up::gateway(self.workspace, self.host, app, ports, &self.secrets);
        command.env(keys::ASSERTION_KEYS, &self.assertion_keys);
        // A line for each refusal, on this screen, would be measured too. Both hosts know the word.
        command.arg("--quiet");
        if self.host == Host::Devhost {
            // Compiled once for all of them.
            command.arg("--cache-dir").arg(self.folder().join("cache"));
        }
        command
    }

    /// The command of one more provider.
    pub(crate) fn provider(&self, ports: Ports) -> Command {
        up::provider(self.workspace, ports, &self.secrets)
    }

    /// Starts a process and waits until it serves.
    ///
    /// # Errors
    /// When it cannot be started, ends, or is not ready in time, and when told to stop.
    pub(crate) fn run(&mut self, name: &'static str, command: Command) -> Result<()> {
        self.processes.start(name, command)?;
        if !ready(&mut self.processes)? {
            bail!("told to stop");
        }
        Ok(())
    }

    /// An app of guests. The raw row passes paths on as they are, and so must own all of them.
    fn guests(&self, name: &str, guests: &[(&str, &str)]) -> Result<App> {
        let wasm = self.workspace.path("target").join(TARGET).join("release");
        let folder = self.folder().join(name);
        fs::create_dir_all(&folder)?;
        let manifest = folder.join("spin.toml");
        let text = guests_manifest(&wasm, self.ports, guests, &self.key.pem()?)?;
        fs::write(&manifest, text)?;
        let runtime_config = folder.join("runtime-config.toml");
        fs::write(&runtime_config, "")?;
        Ok(App {
            manifest,
            runtime_config,
        })
    }
}

/// True when all serve, false when told to stop.
fn ready(processes: &mut Processes) -> Result<bool> {
    match processes.wait_until_ready(up::READY_LIMIT)? {
        None => Ok(true),
        Some(End::Asked) => Ok(false),
        Some(End::Died(name)) => bail!("the {name} ended before it served (see above)"),
    }
}

/// Holds that all ports of the bench are free.
///
/// # Errors
/// Names the first one that is not.
pub(crate) fn check_free(ports: Ports) -> Result<()> {
    for port in (0..PORTS).map(|number| nth(ports, number)) {
        TcpListener::bind(("127.0.0.1", port)).with_context(|| {
            format!(
                "port {port} cannot be used: stop what listens there, or choose others with \
                 --port N"
            )
        })?;
    }
    Ok(())
}

/// A port by its distance from the first one.
fn nth(ports: Ports, number: u16) -> u16 {
    ports.gateway.saturating_add(number)
}

/// Where a peer listens.
pub(crate) fn peer(ports: Ports, number: u16) -> u16 {
    nth(ports, 10 + number)
}

/// Where a gate listens whose store has many sessions; its callback is registered.
pub(crate) fn session_gate(ports: Ports, number: u16) -> u16 {
    nth(ports, 15 + number)
}

/// Where something listens that comes and goes.
pub(crate) fn passing(ports: Ports, number: u16) -> u16 {
    nth(ports, 15 + SESSION_GATES + number)
}

fn guests_manifest(
    folder: &Path,
    ports: Ports,
    guests: &[(&str, &str)],
    pem: &str,
) -> Result<String> {
    let mut text = "spin_manifest_version = 2\n[application]\nname = \"bench\"\n".to_owned();
    let upstream = Ports::url(ports.upstream);
    for (guest, route) in guests {
        let file = folder.join(format!("airside_bench_{}.wasm", guest.replace('-', "_")));
        let file = file.to_str().context("a path that is not UTF-8")?;
        text += &format!(
            "[[trigger.http]]\nroute = \"{route}\"\ncomponent = \"{guest}\"\n\
             [component.{guest}]\nsource = {source}\n\
             allowed_outbound_hosts = [\"{upstream}\"]\n\
             [component.{guest}.variables]\nupstream = \"{upstream}\"\n",
            source = toml_edit::Value::from(file)
        );
        if *guest == VERIFYING {
            text += &format!("key = {}\n", toml_edit::Value::from(pem));
        }
    }
    Ok(text)
}

/// Where the derived files go.
pub(crate) const FOLDER: &str = "target/airside/bench";

/// The guest that verifies each token with jwt-simple.
pub(crate) const VERIFYING: &str = "jwt-simple";

/// The guest that hands answers on whole.
pub(crate) const WHOLE: &str = "whole";

/// The other guests and their routes; all are in `devhost/guests`.
const PLAIN_GUESTS: [(&str, &str); 2] = [("noop", "/noop"), ("passthrough", "/...")];

/// The guests' names.
pub(crate) const GUESTS: [&str; 4] = ["noop", "passthrough", VERIFYING, WHOLE];

/// Gates with sessions of their own.
pub(crate) const SESSION_GATES: u16 = 3;

/// How many ports are used, from the first on.
pub(crate) const PORTS: u16 = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;

    #[test]
    fn the_guests_are_an_app() {
        let ports = Ports::from_first(4000).unwrap();
        let guests = [("passthrough", "/..."), (VERIFYING, "/x")];
        let text = guests_manifest(Path::new("/w \"x"), ports, &guests, "-----\nx\n").unwrap();
        let manifest = Manifest::parse(&text).unwrap();
        let guest = &manifest.components["passthrough"];
        assert!(guest.routes.contains("/..."));
        assert!(
            guest
                .allowed_outbound_hosts
                .contains("http://127.0.0.1:4002")
        );
        assert_eq!(guest.variables["upstream"], "http://127.0.0.1:4002");
        assert!(!guest.variables.contains_key("key"));
        assert_eq!(
            manifest.components[VERIFYING].variables["key"],
            "-----\nx\n"
        );
    }

    #[test]
    fn each_place_has_a_port_of_its_own() {
        let ports = Ports::from_first(4000).unwrap();
        let gates = [Variant::Plain, Variant::Stored, Variant::Trusting].map(Place::Gate);
        let places = gates
            .into_iter()
            .chain(["noop", VERIFYING, WHOLE].map(Place::Guest));
        let mut all: Vec<u16> = places.map(|place| place.port(ports)).collect();
        all.extend([ports.provider, ports.upstream]);
        all.extend((0..4).map(|number| peer(ports, number)));
        all.extend((0..SESSION_GATES).map(|number| session_gate(ports, number)));
        all.push(passing(ports, 0));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(all.iter().all(|port| *port < nth(ports, PORTS)));
    }

    #[test]
    fn variants_are_configurations_that_load() {
        let ports = Ports::from_first(3000).unwrap();
        let text = include_str!("../../../airside.toml");
        for variant in [Variant::Plain, Variant::Stored, Variant::Trusting] {
            let text = variant.edit(text, ports).unwrap();
            let config = airside::config::Config::parse(&text);
            assert!(config.is_ok(), "{variant:?}: {:?}", config.err());
        }
        assert!(Variant::Stored.edit("", ports).is_err());
    }
}
