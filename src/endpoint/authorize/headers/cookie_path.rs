//! The `Path` of an upstream's cookies, where a route shows the upstream other paths than the
//! public ones.

use crate::policy::Route;

/// `cookie` with a `Path` (RFC 6265 section 5.2.4) that means at the client what the upstream
/// meant, if that is another. A cookie for more than the route leads to is for all of the route.
pub(super) fn public(route: &Route, cookie: &[u8]) -> Option<String> {
    let to = route.proxying.upstream_path.as_ref()?;
    let text = std::str::from_utf8(cookie).ok()?;
    let mut parts = text.split(';');
    let pair = parts.next()?;
    let mut changed = false;
    let mut public = pair.to_owned();
    for attribute in parts {
        public.push(';');
        let path = attribute
            .split_once('=')
            .filter(|(name, _)| name.trim().eq_ignore_ascii_case("path"))
            .map(|(_, path)| path.trim())
            .and_then(|path| {
                // Without a path of its own it is for that of the request, as the client sees it.
                let path = path.starts_with('/').then_some(path)?;
                if covers(path, &to.base) {
                    return Some(route.path.base.clone());
                }
                route.proxying.public_target(&route.path, path)
            });
        match path {
            Some(path) => {
                changed = true;
                public.push_str(" Path=");
                public.push_str(if path.is_empty() { "/" } else { &path });
            }
            None => public.push_str(attribute),
        }
    }
    // The name itself promises `Path=/` (RFC 6265bis section 4.1.3.2).
    let host_bound = pair
        .trim_start()
        .get(..7)
        .is_some_and(|name| name.eq_ignore_ascii_case("__host-"));
    (changed && !host_bound).then_some(public)
}

/// True when a cookie for `path` is sent to `base` and what is below (RFC 6265 section 5.1.4).
fn covers(path: &str, base: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    base.strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
