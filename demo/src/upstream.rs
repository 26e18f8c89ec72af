//! A sample upstream: invoices, and a look at what the gateway sent.
//!
//! It trusts `X-Forwarded-Sub` and keeps an account for each, as an upstream that only the
//! gateway can reach may do. Under `/api/invoices/` there are also the odd answers that
//! tests of a gateway need: streams, long bodies, statuses, a cut connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::html::STYLESHEET;
use crate::web::{self, Body, Parameters};

mod pages;
mod probes;

/// The upstream; [`Upstream::serve`] makes it answer.
#[derive(Default)]
pub struct Upstream {
    /// Added invoices by account.
    added: Mutex<HashMap<String, Vec<Invoice>>>,
    /// Streams that wait for their second half, by id.
    held: Mutex<HashMap<String, Arc<Notify>>>,
}

/// One invoice.
#[derive(Clone, Debug, Serialize)]
struct Invoice {
    number: String,
    customer: String,
    amount_cents: u64,
}

/// What `POST /api/invoices/` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewInvoice {
    customer: String,
    amount_cents: u64,
}

impl Upstream {
    /// Answers until the future is dropped.
    pub async fn serve(self, listener: TcpListener) {
        let upstream = Arc::new(self);
        let handler = move |request| {
            let upstream = Arc::clone(&upstream);
            async move { upstream.route(request).await }
        };
        web::serve(listener, handler).await;
    }

    async fn route(&self, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let query = Parameters::parse(head.uri.query().unwrap_or_default().as_bytes());
        match (head.method.as_str(), head.uri.path()) {
            ("GET" | "HEAD", "/") => pages::landing(),
            ("GET" | "HEAD", "/app") => pages::app(),
            ("GET" | "HEAD", "/assets/app.js") => {
                web::response(StatusCode::OK, "text/javascript", pages::SCRIPT)
            }
            ("GET" | "HEAD", "/assets/style.css") => {
                web::response(StatusCode::OK, "text/css", STYLESHEET)
            }
            ("GET" | "HEAD", "/invoices") => match account(&head.headers) {
                Some(account) => pages::invoices(&head, &self.invoices(account)),
                None => pages::nobody(),
            },
            ("GET" | "HEAD", "/api/invoices" | "/api/invoices/") => self.list(&head),
            ("POST", "/api/invoices" | "/api/invoices/") => self.create(&head, body).await,
            (_, path) => match path.strip_prefix("/api/invoices/") {
                Some(probe) => self.probe(probe, &head, &query, body).await,
                None => not_found(),
            },
        }
    }

    fn list(&self, head: &Parts) -> Response<Body> {
        let Some(account) = account(&head.headers) else {
            return nobody();
        };
        let answer = json!({
            "sub": account,
            "invoices": self.invoices(account),
            "received": received(head),
        });
        personal(StatusCode::OK, &answer)
    }

    async fn create(&self, head: &Parts, body: Incoming) -> Response<Body> {
        let Some(account) = account(&head.headers) else {
            return nobody();
        };
        let body = match web::read_body(body, MAX_INVOICE_BYTES).await {
            Ok(body) => body,
            Err(status) => return personal(status, &json!({ "error": "unreadable body" })),
        };
        let Ok(new) = serde_json::from_slice::<NewInvoice>(&body) else {
            let expected =
                json!({ "error": "expected {\"customer\": ..., \"amount_cents\": ...}" });
            return personal(StatusCode::BAD_REQUEST, &expected);
        };
        let mut added = self.added.lock().unwrap_or_else(PoisonError::into_inner);
        if added.len() >= MAX_ACCOUNTS && !added.contains_key(account) {
            return personal(
                StatusCode::INSUFFICIENT_STORAGE,
                &json!({ "error": "full" }),
            );
        }
        let own = added.entry(account.to_owned()).or_default();
        if own.len() >= MAX_INVOICES {
            return personal(
                StatusCode::INSUFFICIENT_STORAGE,
                &json!({ "error": "full" }),
            );
        }
        let invoice = Invoice {
            number: format!("2026-{:03}", FIRST.len() + own.len() + 1),
            customer: new.customer,
            amount_cents: new.amount_cents,
        };
        own.push(invoice.clone());
        let answer = json!({ "sub": account, "invoice": invoice, "received": received(head) });
        personal(StatusCode::CREATED, &answer)
    }

    fn invoices(&self, account: &str) -> Vec<Invoice> {
        let first = FIRST
            .iter()
            .enumerate()
            .map(|(index, (customer, amount_cents))| Invoice {
                number: format!("2026-{:03}", index + 1),
                customer: (*customer).to_owned(),
                amount_cents: *amount_cents,
            });
        let added = self.added.lock().unwrap_or_else(PoisonError::into_inner);
        first
            .chain(added.get(account).into_iter().flatten().cloned())
            .collect()
    }
}

/// Returns whose invoices are asked for. Two answers are as good as none.
fn account(headers: &HeaderMap) -> Option<&str> {
    let mut lines = headers.get_all("x-forwarded-sub").iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => line.to_str().ok().filter(|sub| !sub.is_empty()),
        _ => None,
    }
}

/// Returns the request as it arrived: header fields in their order, repeated ones repeated.
fn received(head: &Parts) -> Value {
    let headers: Vec<_> = head
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    json!({
        "method": head.method.as_str(),
        "path": head.uri.path(),
        "query": head.uri.query(),
        "headers": headers,
    })
}

fn nobody() -> Response<Body> {
    let answer = json!({ "error": "no X-Forwarded-Sub: this API answers behind the gateway" });
    personal(StatusCode::UNAUTHORIZED, &answer)
}

fn not_found() -> Response<Body> {
    personal(StatusCode::NOT_FOUND, &json!({ "error": "not found" }))
}

/// Returns a JSON response that is one person's alone.
fn personal(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let mut response = web::json(status, value);
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The invoices everybody starts with.
const FIRST: [(&str, u64); 3] = [
    ("Hatter & Sons", 12_900),
    ("March Hare Catering", 48_050),
    ("Cheshire Optics", 7_325),
];
const MAX_ACCOUNTS: usize = 100;
const MAX_INVOICES: usize = 100;
const MAX_INVOICE_BYTES: usize = 16 * 1024;
