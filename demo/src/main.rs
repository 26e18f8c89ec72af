//! `airside-demo`: the development provider, the sample upstream, and tokens for the command
//! line.

use std::future::Future;
use std::net::SocketAddr;
use std::process::ExitCode;

use airside_demo::provider::{Api, NotAnOrigin, Provider, Settings};
use airside_demo::token::{self, Wish};
use airside_demo::upstream::Upstream;
use airside_demo::web::{self, ListenError};
use anyhow::{Context, Result, anyhow, bail};
use lexopt::prelude::*;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else {
        return ExitCode::SUCCESS;
    };
    // What another command line would avoid is 2, what went wrong underway is 1.
    let usage = error.is::<lexopt::Error>() || error.is::<NotAnOrigin>();
    if usage || error.is::<ListenError>() {
        eprintln!("airside-demo: {error}");
        return ExitCode::from(2);
    }
    eprintln!("airside-demo: {error:#}");
    ExitCode::FAILURE
}

async fn run() -> Result<()> {
    let mut arguments = lexopt::Parser::from_env();
    match arguments.next()? {
        Some(Value(command)) if command == "provider" => provider(arguments).await,
        Some(Value(command)) if command == "token" => get_token(arguments).await,
        Some(Value(command)) if command == "upstream" => upstream(arguments).await,
        Some(Long("help") | Short('h')) => {
            println!("{USAGE}");
            Ok(())
        }
        Some(other) => Err(other.unexpected().into()),
        None => Err(lexopt::Error::from(format!("a command is missing\n{USAGE}")).into()),
    }
}

async fn provider(mut arguments: lexopt::Parser) -> Result<()> {
    let mut settings = Settings::new(SocketAddr::from(([127, 0, 0, 1], 3001)), GATEWAY);
    settings.client_secret = secret_from_environment()?;
    let (mut gateways, mut apis, mut opaque) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("listen") => settings.listen = arguments.value()?.parse()?,
            Long("issuer") => settings.issuer = Some(arguments.value()?.parse()?),
            Long("gateway") => gateways.push(arguments.value()?.parse()?),
            Long("client-secret") => settings.client_secret = Some(arguments.value()?.parse()?),
            Long("api") => apis.push(arguments.value()?.parse()?),
            Long("opaque-api") => {
                let api: Api = arguments.value()?.parse()?;
                opaque.push(Api {
                    opaque: true,
                    ..api
                });
            }
            Long("only") => {
                settings.default_algorithm = arguments.value()?.parse()?;
                settings.algorithms = vec![settings.default_algorithm];
            }
            Long("keys") => settings.keys = arguments.value()?.parse()?,
            Long("alg") => settings.default_algorithm = arguments.value()?.parse()?,
            Long("access-token-seconds") => {
                settings.lifetimes.access_token = arguments.value()?.parse()?;
            }
            Long("id-token-seconds") => settings.lifetimes.id_token = arguments.value()?.parse()?,
            Long("refresh-token-seconds") => {
                settings.lifetimes.refresh_token = arguments.value()?.parse()?;
            }
            Long("session-seconds") => settings.lifetimes.session = arguments.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    if !gateways.is_empty() {
        settings.gateways = gateways;
    }
    if !apis.is_empty() {
        settings.apis = apis;
    }
    settings.apis.append(&mut opaque);
    let has_secret = settings.client_secret.is_some();
    let (provider, listener) = Provider::bind(settings).await?;
    eprintln!("airside-demo: a provider for development: on loopback only, without passwords");
    if !has_secret {
        eprintln!(
            "airside-demo: no client secret, so airside-demo and airside-machine are not registered ({SECRET_VARIABLE} or --client-secret)"
        );
    }
    let address = listener.local_addr()?;
    until_told_to_stop(address, provider.serve(listener)).await
}

async fn upstream(mut arguments: lexopt::Parser) -> Result<()> {
    let mut listen = SocketAddr::from(([127, 0, 0, 1], 3002));
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("listen") => listen = arguments.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    let (listener, address) = web::listen(listen).await?;
    until_told_to_stop(address, Upstream::default().serve(listener)).await
}

async fn get_token(mut arguments: lexopt::Parser) -> Result<()> {
    let mut wish = Wish {
        provider: "http://127.0.0.1:3001".to_owned(),
        client_id: String::new(),
        user: "alice".to_owned(),
        audience: None,
        scope: "openid profile email".to_owned(),
    };
    let (mut member, mut machine, mut alg) = ("access_token", false, None);
    let mut count = 1_u32;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("provider") => wish.provider = arguments.value()?.parse()?,
            Long("client-id") => wish.client_id = arguments.value()?.parse()?,
            Long("user") => wish.user = arguments.value()?.parse()?,
            Long("audience") => wish.audience = Some(arguments.value()?.parse()?),
            Long("scope") => wish.scope = arguments.value()?.parse()?,
            Long("alg") => alg = Some(arguments.value()?.string()?.to_ascii_lowercase()),
            Long("count") => count = arguments.value()?.parse()?,
            Long("id-token") => member = "id_token",
            Long("refresh-token") => member = "refresh_token",
            Long("json") => member = "",
            Long("machine") => machine = true,
            other => return Err(other.unexpected().into()),
        }
    }
    if wish.client_id.is_empty() {
        wish.client_id = match (machine, alg) {
            (true, _) => "airside-machine".to_owned(),
            (false, Some(alg)) => format!("airside-public-{alg}"),
            (false, None) => "airside-public".to_owned(),
        };
    }
    for _ in 0..count {
        print_token(&wish, member, machine).await?;
    }
    Ok(())
}

/// Gets what `wish` says and prints its `member`, or all of it where that is empty.
async fn print_token(wish: &Wish, member: &str, machine: bool) -> Result<()> {
    let answer = match machine {
        true => {
            let secret = secret_from_environment()?
                .with_context(|| format!("the machine's secret is missing ({SECRET_VARIABLE})"))?;
            token::get_for_machine(wish, &secret).await?
        }
        false => token::get(wish).await?,
    };
    if member.is_empty() {
        println!("{}", serde_json::Value::Object(answer));
        return Ok(());
    }
    match answer.get(member).and_then(serde_json::Value::as_str) {
        Some(token) => println!("{token}"),
        None => {
            bail!("no {member} in the answer: ask for the scope it needs (openid, offline_access)")
        }
    }
    Ok(())
}

/// Says where it serves, and serves until SIGINT or SIGTERM.
async fn until_told_to_stop(address: SocketAddr, serving: impl Future<Output = ()>) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    println!("Serving http://{address}");
    tokio::select! {
        () = serving => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn secret_from_environment() -> Result<Option<String>> {
    match std::env::var(SECRET_VARIABLE) {
        Ok(secret) if secret.is_empty() => Ok(None),
        Ok(secret) => Ok(Some(secret)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(anyhow!("{SECRET_VARIABLE} is not text")),
    }
}

const GATEWAY: &str = "http://127.0.0.1:3000";
const SECRET_VARIABLE: &str = "AIRSIDE_DEMO_CLIENT_SECRET";

const USAGE: &str = "\
airside-demo provider [--listen 127.0.0.1:3001] [--issuer URL] [--gateway ORIGIN]...
                      [--client-secret SECRET] [--api 'AUDIENCE=SCOPE SCOPE']...
                      [--opaque-api 'AUDIENCE=SCOPE SCOPE']... [--only ALG] [--keys N]
                      [--alg RS256|PS256|ES256|ES384|EdDSA] [--access-token-seconds 300]
                      [--id-token-seconds 300] [--refresh-token-seconds 28800]
                      [--session-seconds 28800]
    An OpenID Provider for development. The secret may also come from the environment,
    AIRSIDE_DEMO_CLIENT_SECRET. An opaque API asks at /introspect. --keys makes a larger key
    set, with keys that sign nothing.

airside-demo upstream [--listen 127.0.0.1:3002]
    An invoices page and API that show what they received.

airside-demo token [--provider http://127.0.0.1:3001] [--user alice|bob|carol]
                   [--audience AUDIENCE] [--scope 'openid profile email'] [--alg ALG]
                   [--id-token | --refresh-token | --json] [--client-id ID] [--machine]
                   [--count N]
    Signs in with the code flow and prints a token, N times if told so. --machine uses client_credentials.";
