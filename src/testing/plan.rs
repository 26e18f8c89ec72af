//! A plan's fields as the maps that tests read.

use http::HeaderMap;

use crate::endpoint::Forward;
use crate::endpoint::authorize::{header_map, list};

/// Header fields as maps.
pub trait PlanHeaders {
    /// Those of the request to the upstream.
    fn headers(&self) -> HeaderMap;
    /// Those of the answer to the client, from those of the upstream.
    fn response_headers(&self, upstream: HeaderMap) -> HeaderMap;
}

impl PlanHeaders for Forward<'_> {
    fn headers(&self) -> HeaderMap {
        header_map(&self.fields)
    }

    fn response_headers(&self, upstream: HeaderMap) -> HeaderMap {
        let upstream = list(&upstream);
        let mut fields = upstream.clone();
        let changed = self.change_response(&mut fields);
        assert!(changed || fields == upstream, "it is handed on as it came");
        header_map(&fields)
    }
}
