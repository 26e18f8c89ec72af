//! The headers of an upstream's answer on their way to the client.

use crate::endpoint::authorize::forward::Forward;
use crate::endpoint::authorize::head::values;
use crate::endpoint::authorize::headers::cookie_path;
use crate::endpoint::authorize::headers::names::{is_among, is_hop_by_hop, named_by_connection};
use crate::endpoint::authorize::{Field, cors};
use crate::policy::proxying::Preflight;
use crate::session::cookie::is_own;
use crate::url::Origin;

/// Makes the headers of the upstream's answer those of the answer to the client; true when that
/// changed anything.
pub(in crate::endpoint::authorize) fn response(
    plan: &Forward<'_>,
    fields: &mut Vec<Field>,
) -> bool {
    let cors = plan.route.proxying.cors.as_ref();
    let by_gate = cors.is_some_and(|cors| cors.preflight == Preflight::Gate);
    let listed = named_by_connection(fields);
    let mut sets_cookie = !plan.set_cookies.is_empty();
    let mut changed = sets_cookie || by_gate;
    fields.retain_mut(|(name, value)| {
        // The host gives names in lower case; nothing here depends on it.
        name.make_ascii_lowercase();
        let is_cookie = name == "set-cookie";
        let drop = is_hop_by_hop(name)
            || is_among(name, &listed)
            || (is_cookie && sets_own_cookie(value))
            // The gate answered the preflight: what the upstream says would contradict it.
            || (by_gate && name.starts_with("access-control-"));
        sets_cookie |= is_cookie && !drop;
        let public = match name.as_str() {
            "content-location" | "location" => public_location(plan, value),
            "set-cookie" => cookie_path::public(plan.route, value),
            _ => None,
        };
        if let Some(public) = public {
            changed |= public.as_bytes() != value;
            *value = public.into_bytes();
        }
        changed |= drop;
        !drop
    });
    if plan.by_session && (sets_cookie || !is_private(fields)) {
        changed = true;
        // A shared cache that keeps a Set-Cookie gives one person's session to another.
        let control = match sets_cookie {
            true => "no-store".to_owned(),
            false => privatised(fields),
        };
        fields.retain(|(name, _)| {
            // The others speak to shared caches alone, past `Cache-Control` (RFC 9213).
            !matches!(
                name.as_str(),
                "cache-control" | "cdn-cache-control" | "surrogate-control"
            )
        });
        add(fields, "cache-control", control.as_bytes());
    }
    for cookie in &plan.set_cookies {
        add(fields, "set-cookie", cookie.as_bytes());
    }
    if by_gate && let Some(cors) = cors {
        for (name, value) in cors::allowing(cors, plan.allowed_origin.as_ref()) {
            add(fields, name.as_str(), value.as_bytes());
        }
    }
    changed
}

fn add(fields: &mut Vec<Field>, name: &str, value: &[u8]) {
    fields.push((name.to_owned(), value.to_owned()));
}

fn sets_own_cookie(value: &[u8]) -> bool {
    let text = value.trim_ascii_start();
    // A cookie without a name is sent back as its mere value, which may look like one with a name.
    let text = text.strip_prefix(b"=").unwrap_or(text);
    let name = text.split(|b| *b == b'=').next().unwrap_or_default();
    std::str::from_utf8(name.trim_ascii()).is_ok_and(is_own)
}

/// True for an answer that shared caches leave alone as it is (RFC 9111 section 5.2.2).
fn is_private(fields: &[Field]) -> bool {
    let mut private = false;
    for (name, value) in fields {
        match name.as_str() {
            "cdn-cache-control" | "surrogate-control" => return false,
            "cache-control" => {}
            _ => continue,
        }
        let Ok(text) = std::str::from_utf8(value) else {
            return false;
        };
        for directive in text.split(',').map(str::trim) {
            let is = |name: &str| directive.eq_ignore_ascii_case(name);
            // With field names behind it, `private` is about these alone.
            private |= is("private") || is("no-store");
            let name = directive.split('=').next().unwrap_or_default().trim();
            let opens = ["must-understand", "proxy-revalidate", "public", "s-maxage"];
            if opens.iter().any(|other| name.eq_ignore_ascii_case(other)) {
                return false;
            }
        }
    }
    private
}

/// The `Cache-Control` of an answer to a session: unfit for shared caches (RFC 9111 section
/// 5.2.2.7).
fn privatised(fields: &[Field]) -> String {
    let mut control = "private".to_owned();
    for value in values(fields, "cache-control") {
        // What is not text tells nobody anything.
        let text = std::str::from_utf8(value).unwrap_or("no-store");
        for directive in text.split(',').map(str::trim).filter(|d| !d.is_empty()) {
            let name = directive.split('=').next().unwrap_or_default().trim();
            let shared = ["private", "proxy-revalidate", "public", "s-maxage"];
            if !shared.iter().any(|other| name.eq_ignore_ascii_case(other)) {
                control.push_str(", ");
                control.push_str(directive);
            }
        }
    }
    control
}

/// `Location` as the client must see it, if that is another: an address of the upstream is one
/// of the public site, and a path is that of the route.
fn public_location(plan: &Forward<'_>, value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    let route = plan.route;
    let target = match own_target(&plan.upstream.origin, text) {
        Some(target) => target,
        // Another path of this site. One of another site stays as it is, and so does one that is
        // relative to the path at hand.
        None if text.starts_with('/') && !text.starts_with("//") => text,
        None => return None,
    };
    let target = match target {
        "" => "/",
        target => target,
    };
    let path = if target.starts_with('/') {
        target.to_owned()
    } else {
        format!("/{target}")
    };
    let public = route.proxying.public_target(&route.path, &path);
    let public = public.unwrap_or(path);
    let origin = if text.starts_with('/') && !text.starts_with("//") {
        ""
    } else {
        plan.public_url.as_str()
    };
    Some([origin, &public].concat())
}

/// What follows the upstream's own origin in an absolute address.
fn own_target<'t>(upstream: &Origin, text: &'t str) -> Option<&'t str> {
    let authority = match text.strip_prefix("//") {
        Some(rest) => rest,
        None => text.split_once("://")?.1,
    };
    let end = authority.find(['/', '?', '#']).unwrap_or(authority.len());
    let (authority, target) = authority.split_at(end);
    let scheme = match text.split_once("://") {
        Some((scheme, _)) if !text.starts_with("//") => scheme,
        _ => upstream.scheme(),
    };
    let origin = format!("{}://{authority}", scheme.to_ascii_lowercase());
    // Parsed, so that case and a default port make no difference.
    let origin = Origin::parse_plaintext(&origin).ok()?;
    (origin == *upstream).then_some(target)
}

#[cfg(test)]
mod tests;
