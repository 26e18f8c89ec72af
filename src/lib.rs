//! airside: an OpenID Connect login and an access-token gate for the edge.
#![forbid(unsafe_code)]
