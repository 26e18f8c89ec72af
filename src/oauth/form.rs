//! The form that a client posts to an endpoint of the authorization server: token, revocation,
//! introspection and pushed authorization requests have it in common (RFC 6749 section 4.1.3,
//! RFC 7009 section 2.1, RFC 7662 section 2.1, RFC 9126 section 2.1).

use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};

use crate::oauth::client_auth::ClientProof;
use crate::url::HttpsUrl;

/// Parameters, without those by which the client authenticates.
pub struct Form(form_urlencoded::Serializer<'static, String>);

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Form(..)")
    }
}

impl Default for Form {
    fn default() -> Self {
        Form(form_urlencoded::Serializer::new(String::new()))
    }
}

impl Form {
    /// A form with one parameter.
    pub fn new(name: &str, value: &str) -> Self {
        Form::default().with(name, value)
    }

    /// With one more parameter.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.append_pair(name, value);
        self
    }

    /// With `name` once for each of `values`.
    pub fn with_each(mut self, name: &str, values: &[String]) -> Self {
        for value in values {
            self.0.append_pair(name, value);
        }
        self
    }

    /// The request to `endpoint`, with the client's proof; `None` when it cannot be expressed.
    pub fn post(mut self, endpoint: &HttpsUrl, proof: ClientProof) -> Option<Request<Bytes>> {
        for (name, value) in &proof.parameters {
            self.0.append_pair(name, value.expose());
        }
        let mut request = Request::post(endpoint.as_str())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(authorization) = proof.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(Bytes::from(self.0.finish())).ok()
    }
}
