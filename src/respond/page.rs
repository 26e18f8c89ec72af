//! Pages for people: plain HTML and CSS, nothing from elsewhere, no script.

use bytes::Bytes;
use ct_codecs::{Base64, Encoder};
use http::{Response, StatusCode};

use crate::respond::{LOGIN_PATH, own};

/// What a page offers to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Choose one of these: label and link each.
    Choose(Vec<(String, String)>),
    /// To the start page.
    Home,
    /// Log out: a form that posts to the logout.
    LogOut {
        /// Hidden fields of the form.
        fields: Vec<(String, String)>,
    },
    /// To this local address, with this label.
    Link(&'static str, String),
    /// To the login, where another account can be chosen.
    OtherAccount,
    /// The same address again.
    Reload,
    /// To the login.
    SignIn,
    /// To the login again.
    StartAgain,
}

impl Action {
    /// The same action, with `login` as the address of the login.
    pub(super) fn with_login(self, login: &str) -> Self {
        match self {
            Action::OtherAccount => {
                let separator = if login.contains('?') { '&' } else { '?' };
                let href = format!("{login}{separator}prompt=select_account");
                Action::Link("Use another account", href)
            }
            Action::SignIn => Action::Link("Sign in", login.to_owned()),
            Action::StartAgain => Action::Link("Start again", login.to_owned()),
            other => other,
        }
    }
}

/// A page.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// Its status.
    pub status: StatusCode,
    /// The one line that says it.
    pub heading: &'a str,
    /// One or two sentences.
    pub message: &'a str,
    /// Label and value each, shown below the message.
    pub details: &'a [(&'a str, &'a str)],
    /// The one obvious next click.
    pub action: Action,
    /// Shown on error pages, to be found again in the log.
    pub request_id: Option<&'a str>,
    /// Origins, beside our own, that a form of the page may lead to (CSP `form-action`
    /// applies to redirects too).
    pub form_targets: &'a [&'a str],
}

/// Renders `page`. Every value is escaped.
pub fn render(page: &Page<'_>) -> Response<Bytes> {
    let mut body = String::with_capacity(4_096);
    body.push_str("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\"><title>");
    escape(page.heading, &mut body);
    body.push_str("</title><style>");
    body.push_str(STYLE);
    body.push_str("</style></head><body><main><h1>");
    escape(page.heading, &mut body);
    body.push_str("</h1><p>");
    escape(page.message, &mut body);
    body.push_str("</p>");
    if !page.details.is_empty() {
        body.push_str("<dl>");
        for (label, value) in page.details {
            body.push_str("<dt>");
            escape(label, &mut body);
            body.push_str("</dt><dd>");
            escape(value, &mut body);
            body.push_str("</dd>");
        }
        body.push_str("</dl>");
    }
    action(&page.action, &mut body);
    if let Some(id) = page.request_id {
        body.push_str("<footer>If you ask for help, give this code: <code>");
        escape(id, &mut body);
        body.push_str("</code></footer>");
    }
    body.push_str("</main></body></html>\n");

    let digest = hmac_sha256::Hash::hash(STYLE.as_bytes());
    let hash = Base64::encode_to_string(digest).unwrap_or_default();
    let posts = matches!(page.action, Action::LogOut { .. });
    let mut form_action = if posts {
        "'self'".to_owned()
    } else {
        "'none'".to_owned()
    };
    for target in page.form_targets {
        form_action.push(' ');
        form_action.push_str(target);
    }
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action {form_action}; base-uri 'none'; frame-ancestors 'none'"
    );
    // With no-referrer a form would post `Origin: null`, which proves nothing.
    let referrer = if posts { "same-origin" } else { "no-referrer" };
    own(
        page.status,
        "text/html; charset=utf-8",
        body,
        &policy,
        referrer,
    )
}

fn link(label: &str, href: &str, body: &mut String) {
    body.push_str("<a class=\"button\" href=\"");
    escape(href, body);
    body.push_str("\">");
    escape(label, body);
    body.push_str("</a>");
}

fn action(action: &Action, body: &mut String) {
    body.push_str("<nav>");
    match action {
        Action::Choose(choices) => {
            for (label, href) in choices {
                link(label, href, body);
            }
        }
        Action::Home => link("To the start page", "/", body),
        Action::LogOut { fields } => {
            body.push_str("<form method=\"post\" action=\"/auth/logout\">");
            for (name, value) in fields {
                body.push_str("<input type=\"hidden\" name=\"");
                escape(name, body);
                body.push_str("\" value=\"");
                escape(value, body);
                body.push_str("\">");
            }
            body.push_str(
                "<button class=\"button\">Sign out</button></form><a href=\"/\">Stay signed in</a>",
            );
        }
        // An empty reference is the document itself, without its fragment.
        Action::Reload => link("Try again", "", body),
        Action::Link(label, href) => link(label, href, body),
        Action::OtherAccount | Action::SignIn | Action::StartAgain => {
            link("Sign in", LOGIN_PATH, body);
        }
    }
    body.push_str("</nav>");
}

/// Appends `text` so that it is nothing but text, in an element or in a quoted attribute.
fn escape(text: &str, body: &mut String) {
    for c in text.chars() {
        match c {
            '&' => body.push_str("&amp;"),
            '<' => body.push_str("&lt;"),
            '>' => body.push_str("&gt;"),
            '"' => body.push_str("&quot;"),
            '\'' => body.push_str("&#39;"),
            _ => body.push(c),
        }
    }
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#16202c;--quiet:#556372;--paper:#f4f6f8;--card:#fff;--line:#d8dfe6;--go:#0b5cad;--on-go:#fff}\
@media (prefers-color-scheme:dark){:root{--ink:#e8edf2;--quiet:#9fb0c0;--paper:#10161d;--card:#18212b;--line:#2b3947;--go:#7db8f5;--on-go:#0b1622}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1rem;background:var(--paper);color:var(--ink);font:1.0625rem/1.55 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}\
main{width:100%;max-width:29rem;padding:2rem 1.75rem;background:var(--card);border:1px solid var(--line);border-radius:.9rem}\
h1{margin:0 0 .6rem;font-size:1.45rem;line-height:1.25;overflow-wrap:anywhere}\
p{margin:0 0 1.4rem;color:var(--quiet)}\
dl{margin:0 0 1.4rem;display:grid;grid-template-columns:auto 1fr;gap:.25rem 1rem}\
dt{color:var(--quiet)}dd{margin:0;overflow-wrap:anywhere}\
nav,form{display:flex;flex-direction:column;gap:.75rem;margin:0;text-align:center}\
.button{display:block;width:100%;padding:.7rem 1rem;border:0;border-radius:.55rem;background:var(--go);color:var(--on-go);font:inherit;font-weight:600;text-align:center;text-decoration:none;cursor:pointer}\
.button:hover{filter:brightness(1.08)}\
a,.button{outline-offset:3px}a{color:var(--go)}a.button{color:var(--on-go)}\
footer{margin-top:1.6rem;padding-top:1rem;border-top:1px solid var(--line);color:var(--quiet);font-size:.85rem}\
code{font:inherit;font-family:ui-monospace,Consolas,monospace;overflow-wrap:anywhere;user-select:all}";
