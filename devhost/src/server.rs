//! The HTTP server: what Spin's HTTP trigger does to a request on its way to a component.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;
use wasmtime_wasi_http::{Error, WasiBody};

use crate::app::App;
use crate::routes::{Matched, WELL_KNOWN};

/// Serves `app` for as long as it is polled, HTTP/1.1 and HTTP/2 without TLS.
///
/// Like Spin's trigger it sets no limits beyond hyper's own (100 headers) and leaves
/// `TCP_NODELAY` off, so that a missing `Content-Length` is felt in development too.
pub async fn serve(app: Arc<App>, listener: TcpListener) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(connection) => connection,
            Err(error) => {
                // Out of file descriptors, or a connection gone already: the next may work.
                eprintln!("airside-devhost: accept: {error}");
                tokio::task::yield_now().await;
                continue;
            }
        };
        let app = Arc::clone(&app);
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let app = Arc::clone(&app);
                async move {
                    let request = request.map(|body| body.map_err(Error::from).boxed_unsync());
                    handle(&app, request, peer).await
                }
            });
            // Errors here are the client's: a malformed head, a connection closed halfway.
            let builder = Builder::new(TokioExecutor::new());
            let _ = builder
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// Answers a request from outside. An error closes the connection, as it does in Spin.
async fn handle(
    app: &Arc<App>,
    mut request: Request<WasiBody>,
    peer: SocketAddr,
) -> Result<Response<WasiBody>, Closed> {
    // A client cannot pose as a chained call by `Host`; by authority it can (and can in Spin).
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    if host.is_some_and(is_internal) {
        request.headers_mut().remove(header::HOST);
    }
    // About the connection to us; a guest that forwards it could not take it out.
    request.headers_mut().remove(header::CONNECTION);
    let path = request.uri().path();
    if let Some(name) = path.strip_prefix(WELL_KNOWN) {
        return Ok(match name {
            "health" => answer(StatusCode::OK, "OK"),
            "info" => {
                let about = serde_json::to_string_pretty(&app.about).unwrap_or_default();
                let mut response = answer(StatusCode::OK, about);
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(header::CONTENT_TYPE, json);
                response
            }
            _ => answer(StatusCode::NOT_FOUND, ""),
        });
    }
    let Some(matched) = app.routes.find(path) else {
        return Ok(answer(StatusCode::NOT_FOUND, ""));
    };
    ask(app, matched, request, peer).await.map_err(Closed)
}

/// Gives `request` to the component of `matched` with what Spin adds to it.
///
/// # Errors
///
/// The request's authority is missing or ambiguous.
pub async fn ask(
    app: &Arc<App>,
    matched: Matched,
    mut request: Request<WasiBody>,
    client: SocketAddr,
) -> Result<Response<WasiBody>> {
    set_authority(&mut request)?;
    let component = &matched.component;
    let service = app.service(component).context("no such component")?;
    let outcome = match add_spin_headers(&mut request, &matched, client) {
        Ok(()) => service
            .call(request)
            .await
            .map_err(|error| anyhow!("{error:#}")),
        Err(error) => Err(error),
    };
    Ok(outcome.unwrap_or_else(|error| {
        eprintln!("{component}: no answer: {error:#}");
        answer(StatusCode::INTERNAL_SERVER_ERROR, "")
    }))
}

/// Completes the URI from `Host`, or checks that both say the same.
fn set_authority(request: &mut Request<WasiBody>) -> Result<()> {
    let host = match request.headers().get(header::HOST) {
        None => None,
        Some(host) => Some(
            host.to_str()?
                .parse::<Authority>()
                .context("malformed Host")?,
        ),
    };
    let mut parts = request.uri().clone().into_parts();
    parts.authority = Some(match (host, parts.authority.take()) {
        (None, None) => bail!("no Host"),
        (Some(one), None) | (None, Some(one)) => one,
        (Some(host), Some(authority)) => {
            ensure!(host == authority, "Host and authority differ");
            host
        }
    });
    parts.scheme = Some(Scheme::HTTP);
    *request.uri_mut() = Uri::from_parts(parts)?;
    Ok(())
}

/// Appends the `spin-*` headers: what the client sent under these names stays, and comes first.
fn add_spin_headers(
    request: &mut Request<WasiBody>,
    matched: &Matched,
    client: SocketAddr,
) -> Result<()> {
    for (name, value) in request.headers() {
        ensure!(
            str::from_utf8(value.as_bytes()).is_ok(),
            "the header `{name}` is not UTF-8"
        );
    }
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let host = request.headers().get(header::HOST);
    let host = host.map_or(Ok("localhost"), |host| str::from_utf8(host.as_bytes()))?;
    let mut added = vec![
        ("spin-path-info".to_owned(), matched.path_info.clone()),
        ("spin-full-url".to_owned(), format!("http://{host}{path}")),
        ("spin-matched-route".to_owned(), matched.route.clone()),
        ("spin-base-path".to_owned(), "/".to_owned()),
        ("spin-raw-component-route".to_owned(), matched.route.clone()),
        (
            "spin-component-route".to_owned(),
            matched.prefix().to_owned(),
        ),
        ("spin-client-addr".to_owned(), client.to_string()),
    ];
    added.extend(matched.captures.iter().map(|(name, value)| {
        (
            format!("spin-path-match-{}", name.to_ascii_lowercase()),
            value.clone(),
        )
    }));
    for (name, value) in added {
        let name = HeaderName::from_bytes(name.as_bytes())?;
        request
            .headers_mut()
            .try_append(name, HeaderValue::from_bytes(value.as_bytes())?)?;
    }
    Ok(())
}

/// Whether `host` is a name for service chaining, with or without a port.
fn is_internal(host: &str) -> bool {
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    host.split_once('.')
        .is_some_and(|(_, domain)| domain == "spin.internal")
}

fn answer(status: StatusCode, text: impl Into<Bytes>) -> Response<WasiBody> {
    let body = Full::new(text.into());
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}

/// Why a connection is closed without an answer.
#[derive(Debug)]
struct Closed(anyhow::Error);

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Closed {}
