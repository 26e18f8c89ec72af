//! Protected resource metadata (RFC 9728): what an API says of itself to its clients.
//!
//! Not signed (section 2.2): it is only as good as the TLS connection it comes over.

use serde_json::{Value, json};

/// The path below which metadata is.
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// An API, by its resource identifier (section 1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectedResource {
    /// The origin of the identifier, which is `public_url`.
    pub origin: String,
    /// Its path, without a slash at its end; empty for the whole site.
    pub path: String,
    /// `resource_name`, for people.
    pub name: Option<String>,
    /// `authorization_servers`: the issuers of the tokens that count there.
    pub authorization_servers: Vec<String>,
    /// `scopes_supported`: the scopes that routes of the resource ask for.
    pub scopes: Vec<String>,
}

impl ProtectedResource {
    /// `resource`, exactly as configured.
    pub fn identifier(&self) -> String {
        format!("{}{}", self.origin, self.path)
    }

    /// The path of the metadata: the well-known path is put between host and path (section
    /// 3.1).
    pub fn metadata_path(&self) -> String {
        format!("{WELL_KNOWN}{}", self.path)
    }

    /// The URL of the metadata.
    pub fn metadata_url(&self) -> String {
        format!("{}{}", self.origin, self.metadata_path())
    }

    /// The metadata (section 2). What there is nothing to say about is left out.
    pub fn metadata(&self) -> Value {
        let mut document = json!({
            "resource": self.identifier(),
            "authorization_servers": self.authorization_servers,
            // The header only: RFC 6750 sections 2.2 and 2.3 are not supported.
            "bearer_methods_supported": ["header"],
        });
        if let Value::Object(members) = &mut document {
            if !self.scopes.is_empty() {
                members.insert("scopes_supported".to_owned(), json!(self.scopes));
            }
            if let Some(name) = &self.name {
                members.insert("resource_name".to_owned(), json!(name));
            }
        }
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_well_known_path_is_put_before_the_path_of_the_resource() {
        let mut resource = ProtectedResource {
            origin: "https://app.example".to_owned(),
            path: "/api/v1".to_owned(),
            name: None,
            authorization_servers: vec!["https://op.example".to_owned()],
            scopes: Vec::new(),
        };
        let url = "https://app.example/.well-known/oauth-protected-resource/api/v1";
        assert_eq!(resource.metadata_url(), url);
        assert_eq!(resource.identifier(), "https://app.example/api/v1");
        let expected = json!({
            "resource": "https://app.example/api/v1",
            "authorization_servers": ["https://op.example"],
            "bearer_methods_supported": ["header"],
        });
        assert_eq!(resource.metadata(), expected);
        resource.path.clear();
        let url = "https://app.example/.well-known/oauth-protected-resource";
        assert_eq!(resource.metadata_url(), url);
        assert_eq!(resource.identifier(), "https://app.example");
    }
}
