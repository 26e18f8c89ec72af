//! Which headers a guest sees and which it may write, as on Spin 4.1.

use http::{HeaderMap, HeaderName, Request};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, RequestOptions, WasiBody, WasiHttpHooks,
};

use crate::outbound::Sent;

/// wasmtime's list of forbidden headers, for writing only.
///
/// Spin stands on wasmtime 47, where a guest *sees* these headers in what it receives (an
/// upstream's `connection: keep-alive` is in a copy of the fields too) and is refused when it
/// sets, appends or deletes one. Version 48 puts the same question also to filter what is
/// received. So the names of a received response are let through by their number: the host asks
/// once for each, right when the response arrives and before the guest runs again.
#[derive(Clone, Debug, Default)]
pub struct Forbidden(Arc<AtomicUsize>);

impl Forbidden {
    /// A response with these headers is handed to the guest next.
    pub fn received(&self, headers: &HeaderMap) {
        self.0.store(headers.keys_len(), Ordering::Relaxed);
    }

    /// Whether `name` may not pass.
    pub fn forbids(&self, name: &HeaderName) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        let received = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        received.is_err() && DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }
}

/// The view of a request from outside: all of its headers, `host` among them.
pub struct Inbound;

impl WasiHttpHooks for Inbound {
    fn is_forbidden_header(&mut self, _: &HeaderName) -> bool {
        false
    }

    /// Not used: requests are sent through the guest's own view.
    fn send_request(
        &mut self,
        _: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::{CONNECTION, CONTENT_TYPE};

    #[test]
    fn a_guest_sees_what_it_may_not_write() {
        let forbidden = Forbidden::default();
        assert!(forbidden.forbids(&CONNECTION));
        assert!(!forbidden.forbids(&CONTENT_TYPE));

        let mut headers = HeaderMap::new();
        headers.append(CONNECTION, HeaderValue::from_static("keep-alive"));
        headers.append(CONNECTION, HeaderValue::from_static("x-other"));
        headers.append(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        forbidden.received(&headers);
        assert!(!forbidden.forbids(&CONNECTION));
        assert!(!forbidden.forbids(&CONTENT_TYPE));

        assert!(forbidden.forbids(&CONNECTION));
    }
}
