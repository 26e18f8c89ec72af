//! The upstream's pages.

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};

use super::{Invoice, account};
use crate::html::{Escaped, page};
use crate::web::{self, Body};

/// Returns the public page.
pub(super) fn landing() -> Response<Body> {
    let main = "<h1>Wonderland Invoices</h1>\n\
        <p>A sample application behind airside. This page is public; your invoices are not.</p>\n\
        <p><a class=\"button first\" href=\"/invoices\">See my invoices</a></p>\n\
        <p><a class=\"button\" href=\"/app\">The same, by a script</a></p>\n";
    show(StatusCode::OK, "Wonderland Invoices", main)
}

/// Returns the page whose script asks the API: docs/frontend.md.
pub(super) fn app() -> Response<Body> {
    let main = "<div class=\"row\"><h1>Invoices</h1>\
        <a class=\"button\" href=\"/auth/logout\">Log out</a></div>\n\
        <p id=\"status\" class=\"quiet\" role=\"status\">One moment.</p>\n\
        <table><tbody id=\"rows\"></tbody></table>\n\
        <p><button id=\"reload\">Reload</button></p>\n\
        <script type=\"module\" src=\"/assets/app.js\"></script>\n";
    show(StatusCode::OK, "Invoices", main)
}

/// The script of [`app`].
pub(super) const SCRIPT: &str = include_str!("../app.js");

/// Returns the invoices of the signed-in person and the request that asked for them.
pub(super) fn invoices(head: &Parts, invoices: &[Invoice]) -> Response<Body> {
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let sub = account(&head.headers).unwrap_or_default();
    let name = text("x-forwarded-name").unwrap_or(sub);
    let mut rows = String::new();
    for invoice in invoices {
        let (number, customer) = (Escaped(&invoice.number), Escaped(&invoice.customer));
        let (whole, cents) = (invoice.amount_cents / 100, invoice.amount_cents % 100);
        rows.push_str(&format!(
            "<tr><td>{number}</td><td>{customer}</td><td class=\"number\">{whole}.{cents:02}</td></tr>\n"
        ));
    }
    let mut fields = String::new();
    for (field, value) in &head.headers {
        let field = Escaped(field.as_str());
        let value = String::from_utf8_lossy(value.as_bytes());
        let value = Escaped(&value);
        fields.push_str(&format!(
            "<tr><th><code>{field}</code></th><td><code>{value}</code></td></tr>\n"
        ));
    }
    let (name, sub) = (Escaped(name), Escaped(sub));
    let main = format!(
        "<div class=\"row\"><h1>Invoices of {name}</h1>\
         <a class=\"button\" href=\"/auth/logout\">Log out</a></div>\n\
         <p class=\"quiet\">Account <code id=\"sub\">{sub}</code>, as told by the gateway.</p>\n\
         <div class=\"scroll\"><table id=\"invoices\">\n\
         <thead><tr><th>Number</th><th>Customer</th><th>Amount</th></tr></thead>\n\
         <tbody>\n{rows}</tbody></table></div>\n\
         <h2>What this application received</h2>\n\
         <div class=\"scroll\"><table id=\"received\"><tbody>\n{fields}</tbody></table></div>\n"
    );
    show(StatusCode::OK, "Invoices", &main)
}

/// Returns the page for a request without a person.
pub(super) fn nobody() -> Response<Body> {
    let main = "<h1>Nobody is signed in</h1>\n\
        <p>There is no <code>X-Forwarded-Sub</code>: this page answers behind the gateway.</p>\n";
    show(StatusCode::UNAUTHORIZED, "Nobody is signed in", main)
}

fn show(status: StatusCode, title: &str, main: &str) -> Response<Body> {
    let content = page(title, "/assets/style.css", main);
    let mut response = web::response(status, "text/html; charset=utf-8", content);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; connect-src 'self'; script-src 'self'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    );
    response
}
