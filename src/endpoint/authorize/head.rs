//! The head of a request at the gate, as the host gives it.

use std::cell::OnceCell;
use std::fmt;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// A header field: its name, and its value.
pub type Field = (String, Vec<u8>);

/// Method, target and header fields of a request.
///
/// The fields stay the list that the host gives: most requests need two or three of them, and
/// to put all into a map and out of it again would cost more than the decision.
pub struct Head<'t> {
    /// The method.
    pub method: Method,
    /// What should be a path with an optional query, as received.
    pub target: &'t str,
    fields: Vec<Field>,
    map: OnceCell<HeaderMap>,
}

impl<'t> Head<'t> {
    /// Nothing is judged yet.
    pub fn new(method: Method, target: &'t str, fields: Vec<Field>) -> Self {
        Head {
            method,
            target,
            fields,
            map: OnceCell::new(),
        }
    }

    /// The target up to its query.
    pub fn path(&self) -> &'t str {
        let end = self.target.find('?').unwrap_or(self.target.len());
        self.target.get(..end).unwrap_or_default()
    }

    /// What follows the first `?` of the target.
    pub fn query(&self) -> Option<&'t str> {
        Some(self.target.split_once('?')?.1)
    }

    /// Takes all fields out: they go on, changed, and none is copied for it.
    pub(super) fn take_fields(&mut self) -> Vec<Field> {
        std::mem::take(&mut self.fields)
    }

    /// All fields, in the order they came.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The values of the fields of that name, in the order they came.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        values(&self.fields, name)
    }

    /// The one value of the fields of that name; `None` when there is none, or several.
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        let mut values = self.values(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// True for the opening handshake of a WebSocket (RFC 6455 section 4.1), or what may be one.
    pub(super) fn wants_websocket(&self) -> bool {
        let mut upgrade = self.values("upgrade");
        self.values("sec-websocket-key").next().is_some()
            || upgrade.any(|value| {
                let value = value.to_ascii_lowercase();
                value.windows(9).any(|word| word == b"websocket")
            })
    }

    /// The fields as a map, made at its first use: for what is not on the way of every request.
    /// A field that `http` cannot express is not in it.
    pub fn headers(&self) -> &HeaderMap {
        self.map.get_or_init(|| header_map(&self.fields))
    }
}

impl fmt::Debug for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("method", &self.method)
            .field("fields", &Names(&self.fields))
            .finish_non_exhaustive()
    }
}

/// The names of fields, for `Debug`: among the values are tokens and cookies.
pub(super) struct Names<'f>(pub(super) &'f [Field]);

impl fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

impl<'t> From<&'t Parts> for Head<'t> {
    fn from(parts: &'t Parts) -> Self {
        let target = parts.uri.path_and_query();
        let target = target.map_or("", |target| target.as_str());
        Head::new(parts.method.clone(), target, list(&parts.headers))
    }
}

/// The values of the fields of that name, in the order they came.
pub fn values<'f>(fields: &'f [Field], name: &str) -> impl Iterator<Item = &'f [u8]> {
    let mut fields = fields.iter();
    // A loop that looks at the length first: some ten names are looked for in every request, and
    // the library is built for size.
    std::iter::from_fn(move || {
        loop {
            let (known, value) = fields.next()?;
            if known.len() == name.len() && known.eq_ignore_ascii_case(name) {
                return Some(value.as_slice());
            }
        }
    })
}

/// `fields` as a map, without those that `http` cannot express.
pub fn header_map(fields: &[Field]) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        let (name, value) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_bytes(value),
        );
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

/// `headers` as a list.
pub fn list(headers: &HeaderMap) -> Vec<Field> {
    let fields = headers.iter();
    fields
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_owned()))
        .collect()
}
