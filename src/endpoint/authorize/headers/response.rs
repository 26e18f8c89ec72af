//! The headers of an upstream's answer on their way to the client.

use http::header::{CACHE_CONTROL, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

use crate::endpoint::authorize::cors;
use crate::endpoint::authorize::forward::Forward;
use crate::endpoint::authorize::headers::names::{is_hop_by_hop, named_by_connection};
use crate::policy::proxying::Preflight;
use crate::session::cookie::is_own;
use crate::url::Origin;

/// The headers of the answer to the client, from those of the upstream.
pub(in crate::endpoint::authorize) fn response(
    plan: &Forward<'_>,
    upstream: HeaderMap,
) -> HeaderMap {
    let cors = plan.route.proxying.cors.as_ref();
    let by_gate = cors.is_some_and(|cors| cors.preflight == Preflight::Gate);
    let listed = named_by_connection(&upstream);
    let mut headers = HeaderMap::with_capacity(upstream.len() + plan.set_cookies.len());
    let mut sets_cookie = !plan.set_cookies.is_empty();
    for (name, value) in &upstream {
        let drop = is_hop_by_hop(name.as_str())
            || listed.iter().any(|listed| listed == name.as_str())
            || (name == SET_COOKIE && sets_own_cookie(value))
            // The gate answered the preflight: what the upstream says would contradict it.
            || (by_gate && name.as_str().starts_with("access-control-"));
        if drop {
            continue;
        }
        sets_cookie |= name == SET_COOKIE;
        if name == LOCATION
            && let Some(public) = public_location(plan, value)
        {
            headers.append(LOCATION, public);
        } else {
            headers.append(name, value.clone());
        }
    }
    if plan.by_session && sets_cookie {
        // A shared cache that keeps a Set-Cookie gives one person's session to another.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        forget_shared_caches(&mut headers);
    } else if plan.by_session {
        privatise(&mut headers);
        forget_shared_caches(&mut headers);
    }
    for cookie in &plan.set_cookies {
        headers.append(SET_COOKIE, cookie.clone());
    }
    if by_gate && let Some(cors) = cors {
        cors::allow(&mut headers, cors, plan.allowed_origin.as_ref());
    }
    headers
}

fn sets_own_cookie(value: &HeaderValue) -> bool {
    let text = value.as_bytes().trim_ascii_start();
    // A cookie without a name is sent back as its mere value, which may look like one with a name.
    let text = text.strip_prefix(b"=").unwrap_or(text);
    let name = text.split(|b| *b == b'=').next().unwrap_or_default();
    std::str::from_utf8(name.trim_ascii()).is_ok_and(is_own)
}

/// Makes an answer to a session unfit for shared caches (RFC 9111 section 5.2.2.7).
fn privatise(headers: &mut HeaderMap) {
    let mut kept: Vec<String> = vec!["private".to_owned()];
    for value in headers.get_all(CACHE_CONTROL) {
        let text = value.to_str().unwrap_or_default();
        for directive in text.split(',').map(str::trim).filter(|d| !d.is_empty()) {
            let name = directive
                .split('=')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase();
            if !matches!(
                name.as_str(),
                "private" | "proxy-revalidate" | "public" | "s-maxage"
            ) {
                kept.push(directive.to_owned());
            }
        }
    }
    let value = HeaderValue::from_str(&kept.join(", "));
    headers.insert(
        CACHE_CONTROL,
        value.unwrap_or(HeaderValue::from_static("no-store")),
    );
}

/// Takes away what speaks to shared caches alone, past `Cache-Control` (RFC 9213).
fn forget_shared_caches(headers: &mut HeaderMap) {
    for name in ["cdn-cache-control", "surrogate-control"] {
        headers.remove(name);
    }
}

/// `Location` as the client must see it, if that is another: an address of the upstream is one
/// of the public site, and a path is that of the route.
fn public_location(plan: &Forward<'_>, value: &HeaderValue) -> Option<HeaderValue> {
    let text = value.to_str().ok()?;
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
    HeaderValue::from_str(&[origin, &public].concat()).ok()
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
