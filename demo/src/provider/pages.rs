//! What people see of the provider.

use http::{HeaderValue, Response, StatusCode, Uri, header};

use super::authorize::AuthorizationRequest;
use super::login::offered;
use crate::html::{Escaped, page};
use crate::web::{self, Body};

/// Returns the page on which one picks whom to be.
pub(super) fn login(interaction: &str, request: &AuthorizationRequest) -> Response<Body> {
    let client = Escaped(&request.client_id);
    let interaction = Escaped(interaction);
    let mut buttons = String::new();
    for (index, user) in offered(request).into_iter().enumerate() {
        let class = if index == 0 { " class=\"first\"" } else { "" };
        let (sub, name) = (Escaped(user.sub), Escaped(user.name));
        let (email, rights) = (Escaped(user.email), Escaped(user.rights));
        buttons.push_str(&format!(
            "<button{class} name=\"user\" value=\"{sub}\">{name}<small>{email}, {rights}</small></button>\n"
        ));
    }
    let scopes = request.scopes.join(", ");
    let scopes = Escaped(&scopes);
    let apis = match request.audiences.as_slice() {
        [] => String::new(),
        some => format!(" for <code>{}</code>", Escaped(&some.join(", "))),
    };
    let main = format!(
        "<div class=\"narrow\">\n<h1>Who are you today?</h1>\n\
         <p><strong>{client}</strong> asks to know who you are, and for: {scopes}{apis}.</p>\n\
         <form method=\"post\" action=\"/login\">\n\
         <input type=\"hidden\" name=\"interaction\" value=\"{interaction}\">\n{buttons}\
         <button class=\"plain\" name=\"cancel\" value=\"1\">Cancel</button>\n</form>\n\
         <p class=\"quiet\">A development provider: no passwords, invented people, this machine only.</p>\n\
         </div>\n"
    );
    show(
        StatusCode::OK,
        "Sign in - airside demo provider",
        &main,
        origin(&request.redirect_uri),
    )
}

/// Returns the page that asks before a logout nobody vouched for.
pub(super) fn confirm_logout(interaction: &str, redirect: Option<&str>) -> Response<Body> {
    let interaction = Escaped(interaction);
    let main = format!(
        "<div class=\"narrow\">\n<h1>Sign out?</h1>\n\
         <p>You will have to pick a user again at the next sign-in.</p>\n\
         <form method=\"post\" action=\"/logout/confirm\">\n\
         <input type=\"hidden\" name=\"interaction\" value=\"{interaction}\">\n\
         <button class=\"first\" name=\"logout\" value=\"1\">Sign out</button>\n\
         <button class=\"plain\" name=\"stay\" value=\"1\">Stay signed in</button>\n\
         </form>\n</div>\n"
    );
    show(
        StatusCode::OK,
        "Sign out - airside demo provider",
        &main,
        redirect.and_then(origin),
    )
}

/// Returns a page with one sentence.
pub(super) fn message(title: &str, text: &str) -> Response<Body> {
    show(StatusCode::OK, title, &sentence(title, text), None)
}

/// Returns the page of a request that cannot go on.
pub(super) fn refused(text: &str) -> Response<Body> {
    let title = "This did not work";
    show(StatusCode::BAD_REQUEST, title, &sentence(title, text), None)
}

fn sentence(title: &str, text: &str) -> String {
    let (title, text) = (Escaped(title), Escaped(text));
    format!("<div class=\"narrow\">\n<h1>{title}</h1>\n<p>{text}</p>\n</div>\n")
}

/// Browsers apply `form-action` to the redirect that answers a form as well, so the page must
/// name the origin its form ends up at.
fn show(
    status: StatusCode,
    title: &str,
    main: &str,
    form_target: Option<String>,
) -> Response<Body> {
    let content = page(title, "/style.css", main);
    let mut response = web::response(status, "text/html; charset=utf-8", content);
    let policy = format!(
        "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' {}",
        form_target.unwrap_or_default()
    );
    let headers = response.headers_mut();
    // An origin parsed from a URI has no character a header could not have.
    if let Ok(policy) = HeaderValue::try_from(policy.trim_end()) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    );
    response
}

fn origin(uri: &str) -> Option<String> {
    let uri: Uri = uri.parse().ok()?;
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))
}
