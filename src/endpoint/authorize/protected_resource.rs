//! Protected resource metadata (RFC 9728): for clients that learn from a challenge, or from the
//! resource's address, whose tokens are wanted. It is public, and the same for everybody.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, WWW_AUTHENTICATE,
};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::config::Config;
use crate::endpoint::authorize::Head;
use crate::error::Error;
use crate::oauth::protected_resource::{ProtectedResource, WELL_KNOWN};
use crate::policy::Route;
use crate::respond;

/// The answer to a request for metadata; `None` for every other request.
pub(super) fn answer(head: &Head<'_>, config: &Config) -> Option<Result<Response<Bytes>, Error>> {
    let path = head.path();
    let rest = path.strip_prefix(WELL_KNOWN)?;
    if !rest.is_empty() && !rest.starts_with('/') {
        return None;
    }
    Some(of_resource(head, path, config))
}

fn of_resource(head: &Head<'_>, path: &str, config: &Config) -> Result<Response<Bytes>, Error> {
    let mut resources = config.resources.iter();
    let resource: &ProtectedResource = resources
        .find(|resource| resource.metadata_path() == path)
        .ok_or(Error::NoRoute)?;
    let (mut response, more) = match head.method {
        Method::GET | Method::HEAD => {
            let cache = (
                CACHE_CONTROL,
                HeaderValue::from_static("public, max-age=300"),
            );
            (
                respond::json(StatusCode::OK, &resource.metadata()),
                vec![cache],
            )
        }
        // A script that sends a header of its own, as MCP clients do, asks first.
        Method::OPTIONS => {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::NO_CONTENT;
            let fixed = [
                (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
                (ACCESS_CONTROL_ALLOW_HEADERS, "*"),
                (ACCESS_CONTROL_MAX_AGE, "86400"),
                (CACHE_CONTROL, "no-store"),
            ];
            let fixed = fixed.map(|(name, value)| (name, HeaderValue::from_static(value)));
            (response, fixed.to_vec())
        }
        _ => {
            let allow = "GET, HEAD, OPTIONS".to_owned();
            return Err(Error::MethodNotAllowed { allow });
        }
    };
    let headers = response.headers_mut();
    headers.extend(more.into_iter().collect::<Vec<(HeaderName, HeaderValue)>>());
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    Ok(response)
}

/// Adds to a challenge where the metadata of the route's resource is (RFC 9728 section 5.1),
/// and lets scripts read it where the route lets them read anything.
pub(super) fn point_at(response: &mut Response<Bytes>, route: Option<&Route>, config: &Config) {
    let resource = route.and_then(|route| config.resources.get(route.resource?));
    let headers = response.headers_mut();
    let (Some(resource), Some(challenge)) = (resource, headers.get(WWW_AUTHENTICATE)) else {
        return;
    };
    let challenge = challenge.to_str().unwrap_or_default();
    let value = format!(
        "{challenge}, resource_metadata=\"{}\"",
        resource.metadata_url()
    );
    if let Ok(value) = HeaderValue::from_str(&value) {
        headers.insert(WWW_AUTHENTICATE, value);
    }
    let exposed = HeaderValue::from_static("WWW-Authenticate");
    headers.append(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
}
