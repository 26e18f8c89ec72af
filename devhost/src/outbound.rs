//! What a component sends out: allowed hosts, service chaining, one pooled client for the rest.

use std::error::Error as _;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderName, Request, Response, Uri, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::allowed_hosts::AllowedHosts;
use crate::connector::{CONNECT_TIMEOUT, Connector};
use crate::headers::Forbidden;
use crate::runtime_config::Pooling;

/// The client every component shares.
pub type HttpClient = Client<Connector, WasiBody>;

/// A client that keeps idle connections, or not.
pub fn client(pooling: Pooling) -> HttpClient {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new());
    if pooling == Pooling::Off {
        builder.pool_max_idle_per_host(0);
    }
    builder.build(Connector::new())
}

/// Answers calls to `http://<component>.spin.internal`.
pub trait Chain: Send + Sync {
    /// The answer of `component`, on any path, whatever its routes.
    fn call(&self, component: String, request: Request<WasiBody>) -> Answer;
}

/// An answer to come.
pub type Answer = Pin<Box<dyn Future<Output = Result<Response<WasiBody>, Error>> + Send>>;

/// The outbound side of one component.
#[derive(Clone)]
pub struct Outbound {
    /// The component's grants.
    pub allowed: Arc<AllowedHosts>,
    /// The shared client.
    pub client: HttpClient,
    /// The application; set once everything is built.
    pub chain: Arc<OnceLock<Arc<dyn Chain>>>,
    /// The headers that it may not write; every instance has its own.
    pub forbidden: Forbidden,
}

impl WasiHttpHooks for Outbound {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        self.forbidden.forbids(name)
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let outbound = self.clone();
        let forbidden = self.forbidden.clone();
        Box::new(async move {
            let response = outbound.send(request, options.unwrap_or_default()).await?;
            forbidden.received(response.headers());
            // Errors of the connection arrive through the body.
            let done: Box<dyn Future<Output = _> + Send> = Box::new(async { Ok(()) });
            Ok((response, done))
        })
    }
}

/// What the host gets for a request: the response, and how sending it went.
pub type Sent = Result<
    (
        Response<WasiBody>,
        Box<dyn Future<Output = Result<(), Error>> + Send>,
    ),
    Error,
>;

impl Outbound {
    async fn send(
        self,
        mut request: Request<WasiBody>,
        options: RequestOptions,
    ) -> Result<Response<WasiBody>, Error> {
        if !self.allowed.allows(request.uri()) {
            return Err(Error::HttpRequestDenied);
        }
        // The client writes it from the URI; a chained component sees none.
        request.headers_mut().remove(header::HOST);
        if let Some(component) = chained_component(request.uri()) {
            let chain = self.chain.get().ok_or(Error::DestinationNotFound)?;
            return chain.call(component, request).await;
        }
        let connect = options.connect_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let first_byte = options.first_byte_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let between_bytes = options.between_bytes_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let answer = CONNECT_TIMEOUT.scope(connect, async { self.client.request(request).await });
        let response = timeout(first_byte, answer)
            .await
            .map_err(|_| Error::ConnectionReadTimeout)?
            .map_err(|error| error_of(&error))?;
        Ok(response.map(|body| TimedBody::new(body, between_bytes).boxed_unsync()))
    }
}

/// Spin's own defaults.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// The component a chained call names: `<component>.spin.internal` over plain HTTP.
fn chained_component(uri: &Uri) -> Option<String> {
    let (component, domain) = uri.host()?.split_once('.')?;
    (domain == "spin.internal" && uri.scheme() == Some(&Scheme::HTTP)).then(|| component.to_owned())
}

/// The error a guest sees, as Spin chooses it.
fn error_of(error: &hyper_util::client::legacy::Error) -> Error {
    let connect = error
        .source()
        .and_then(|source| source.downcast_ref::<crate::connector::Error>());
    match connect {
        Some(crate::connector::Error::Dns) => Error::DnsError {
            rcode: Some("address not available".to_owned()),
            info_code: Some(0),
        },
        Some(crate::connector::Error::Refused) => Error::ConnectionRefused,
        Some(crate::connector::Error::Timeout) => Error::ConnectionTimeout,
        Some(crate::connector::Error::Tls) => Error::TlsProtocolError,
        Some(crate::connector::Error::Uri) => Error::HttpRequestUriInvalid,
        None => Error::HttpProtocolError,
    }
}

/// A response body that fails when it pauses for longer than the guest's option allows.
struct TimedBody {
    body: Incoming,
    limit: Duration,
    pause: Option<Pin<Box<Sleep>>>,
}

impl TimedBody {
    fn new(body: Incoming, limit: Duration) -> Self {
        Self {
            body,
            limit,
            pause: None,
        }
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.pause = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::from)));
        }
        let limit = self.limit;
        let pause = self.pause.get_or_insert_with(|| {
            // A limit beyond what the clock can count is none.
            let far = Duration::from_secs(u64::from(u32::MAX));
            Box::pin(sleep_until(Instant::now() + limit.min(far)))
        });
        ready!(pause.as_mut().poll(context));
        Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
